"""What a load says reaches console, file and warehouse rows: once each, in order, with no secret.

Every test speaks through a logger of its own, so that none hears another.
"""

from __future__ import annotations

import datetime as dt
import io
import logging
import re
import tempfile
import uuid
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from threading import Barrier, Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quant_assets.journal.entries import Journal, entry_columns
from quant_assets.journal.handlers import UnknownLevelError, parse_level, to_console, to_files
from quant_assets.journal.progress import Every
from quant_assets.journal.pruning import prune_logs
from quant_assets.reference.secrets import masked

AT = dt.datetime(2026, 11, 22, 18, 31, 5, 250_000, tzinfo=dt.UTC)
RUN = "0f1e2d3c-4b5a-4978-8695-a4b3c2d1e0f9"
OTHER_RUN = "aaaaaaaa-4b5a-4978-8695-a4b3c2d1e0f9"
DISK_FULL = Path("/dev/full")


def own_logger() -> logging.Logger:
    logger = logging.getLogger(f"journal_test.{uuid.uuid4()}")
    logger.propagate = False
    return logger


def journal(logger: logging.Logger, run_id: str = RUN) -> Journal:
    return Journal(run_id, "daily_prices", "yahoo", clock=lambda: AT, logger=logger)


@pytest.fixture
def logger() -> logging.Logger:
    return own_logger()


@pytest.fixture
def console(logger: logging.Logger) -> Iterator[io.StringIO]:
    stream = io.StringIO()
    with to_console(stream, logger=logger):
        yield stream


def raised(error: Exception, cause: Exception | None = None) -> Exception:
    """An error that has been on its way, with its stack and what caused it."""
    try:
        raise error from cause
    except type(error) as caught:
        return caught


def told(text: str) -> list[str]:
    """The entries of a log file: what follows time and level, further lines as they were."""
    entries = re.split(r"^2026-11-22T18:31:05Z (?:INFO|WARNING|ERROR) ", text, flags=re.MULTILINE)
    return [entry.removesuffix("\n").replace("\n    ", "\n") for entry in entries[1:]]


# Entries


def test_an_entry_is_a_row_with_run_symbol_and_task(logger: logging.Logger) -> None:
    said = journal(logger)
    said.info("starts")
    said.warning("close is negative", symbol="AAPL")
    rows = said.take()
    assert rows.schema == entry_columns()
    assert rows.drop_columns(["entry_id"]).to_pylist() == [
        {
            "said_at": AT.replace(tzinfo=None),
            "level": "INFO",
            "message": "starts",
            "run_id": RUN,
            "dataset": "daily_prices",
            "source": "yahoo",
            "symbol": None,
            "task": None,
            "error_class": None,
            "stack": None,
        },
        {
            "said_at": AT.replace(tzinfo=None),
            "level": "WARNING",
            "message": "close is negative",
            "run_id": RUN,
            "dataset": "daily_prices",
            "source": "yahoo",
            "symbol": "AAPL",
            "task": "daily_prices/yahoo/AAPL",
            "error_class": None,
            "stack": None,
        },
    ]


def test_an_error_carries_class_stack_and_causes(logger: logging.Logger) -> None:
    said = journal(logger)
    cause = raised(ConnectionError("reset by peer"))
    said.error("no answer", symbol="AAPL", error=raised(TimeoutError("10 s"), cause))
    [row] = said.take().to_pylist()
    assert (row["symbol"], row["error_class"]) == ("AAPL", "TimeoutError")
    first, second = row["stack"].split("\n\nThe above exception was the direct cause", 1)
    assert "in raised\n" in first
    assert "in raised\n" in second
    assert first.endswith("\nConnectionError: reset by peer")
    assert second.endswith("\nTimeoutError: 10 s")


def test_an_error_without_exception_has_the_stack_of_who_reports_it(
    logger: logging.Logger,
) -> None:
    said = journal(logger)
    said.error("no rows", symbol="AAPL")
    [row] = said.take().to_pylist()
    assert row["error_class"] is None
    assert row["stack"].splitlines()[-1].strip() == 'said.error("no rows", symbol="AAPL")'


def test_what_was_given_back_comes_first_and_once(logger: logging.Logger) -> None:
    said = journal(logger)
    said.info("one")
    first = said.take()
    said.info("two")
    second = said.take()
    said.info("three")
    said.give_back(second)
    said.give_back(first)
    assert said.take()["message"].to_pylist() == ["one", "two", "three"]
    assert said.take().num_rows == 0


def test_a_user_s_own_handler_gets_message_symbol_and_place(logger: logging.Logger) -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(filename)s %(funcName)s %(levelname)s %(message)s"))
    logger.addHandler(handler)
    journal(logger).warning("closed", symbol="AAPL", error=ValueError("token=abc"))
    function = "test_a_user_s_own_handler_gets_message_symbol_and_place"
    assert stream.getvalue() == (
        f"test_journal.py {function} WARNING AAPL closed\nValueError: token=********\n"
    )


# Lines


def test_the_file_is_named_after_day_time_and_run(tmp_path: Path, logger: logging.Logger) -> None:
    with to_files(tmp_path, RUN, AT, logger=logger) as path:
        journal(logger).warning("closed", symbol="AAPL")
    assert path == tmp_path / "logs" / "2026-11-22" / "183105-0f1e2d3c.log"
    assert path.read_text("utf-8") == "2026-11-22T18:31:05Z WARNING AAPL closed\n"


def test_a_day_is_a_day_of_utc(tmp_path: Path, logger: logging.Logger) -> None:
    in_new_york = dt.datetime(2026, 11, 22, 20, 0, tzinfo=dt.timezone(dt.timedelta(hours=-5)))
    with to_files(tmp_path, RUN, in_new_york, logger=logger) as path:
        pass
    assert path == tmp_path / "logs" / "2026-11-23" / "010000-0f1e2d3c.log"


def test_lines_of_a_message_and_stacks_are_indented(
    logger: logging.Logger, console: io.StringIO
) -> None:
    forged = "bad\r\n2026-11-22T18:31:05Z INFO all is well"
    journal(logger).error(forged, symbol="AAPL", error=ValueError("x"))
    assert console.getvalue() == (
        "2026-11-22T18:31:05Z ERROR AAPL bad\n"
        "    2026-11-22T18:31:05Z INFO all is well\n"
        "    ValueError: x\n"
    )


def test_characters_that_no_place_can_hold_are_spelt_out(logger: logging.Logger) -> None:
    said = journal(logger)
    said.info("nul \0, half \ud800, clear \x1b[2J, tab\tand \u2028line")
    assert said.take()["message"].to_pylist() == [
        "nul \\x00, half \\ud800, clear \\x1b[2J, tab\tand \nline"
    ]


def test_a_file_has_its_run_and_what_belongs_to_none(
    tmp_path: Path, logger: logging.Logger
) -> None:
    with to_files(tmp_path, RUN, AT, logger=logger) as path:
        journal(logger).info("mine")
        journal(logger, OTHER_RUN).info("another's")
        logger.warning("of %s", "no run")
    lines = [line[21:] for line in path.read_text("utf-8").splitlines()]
    assert lines == ["INFO mine", "WARNING of no run"]


def test_a_record_of_no_run_is_masked_with_its_stack(
    logger: logging.Logger, console: io.StringIO
) -> None:
    logger.error("see https://x.test/?crumb=abc", exc_info=raised(ValueError("Cookie: A1=secret")))
    first, *_, last = console.getvalue().splitlines()
    assert first.endswith("ERROR see https://x.test/?crumb=********")
    assert last == "    ValueError: Cookie: ********"


def test_less_than_the_level_stays_out_of_a_place_and_not_of_the_rows(
    tmp_path: Path, logger: logging.Logger
) -> None:
    stream, said = io.StringIO(), journal(logger)
    with (
        to_console(stream, "error", logger=logger),
        to_files(tmp_path, RUN, AT, level="warning", logger=logger) as path,
    ):
        said.info("one")
        said.warning("two")
        said.error("three", error=ValueError("x"))
    assert told(stream.getvalue()) == ["three\nValueError: x"]
    assert told(path.read_text("utf-8")) == ["two", "three\nValueError: x"]
    assert said.take()["message"].to_pylist() == ["one", "two", "three"]


def test_the_logger_is_left_as_it_was_found_in_whatever_order_runs_end(
    tmp_path: Path, logger: logging.Logger
) -> None:
    before = list(logger.handlers)
    first = to_files(tmp_path, RUN, AT, level="info", logger=logger)
    second = to_files(tmp_path, OTHER_RUN, AT, level="debug", logger=logger)
    first.__enter__()
    second.__enter__()
    assert logger.level == logging.DEBUG
    first.__exit__(None, None, None)
    assert logger.level == logging.DEBUG
    second.__exit__(None, None, None)
    assert (logger.level, logger.handlers) == (logging.NOTSET, before)


def test_a_talkative_logger_of_a_user_stays_so(logger: logging.Logger) -> None:
    logger.setLevel(logging.DEBUG)
    with to_console(io.StringIO(), "error", logger=logger):
        assert logger.level == logging.DEBUG


def test_levels_are_read_in_any_case_and_others_refused() -> None:
    assert [parse_level(text) for text in ("debug", "INFO", " Warning ", "error")] == [
        10,
        20,
        30,
        40,
    ]
    with pytest.raises(UnknownLevelError) as refused:
        parse_level("loud")
    assert str(refused.value) == (
        "'loud' is no level of the log; take one of debug, info, warning, error."
    )


# Secrets


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "Max retries exceeded with url: /v8/chart/AAPL?crumb=a.B/c&events=div (Caused by X)",
            "Max retries exceeded with url: /v8/chart/AAPL?crumb=******** (Caused by X)",
        ),
        ("get /v8/chart/AAPL?range=1d&id=7", "get /v8/chart/AAPL?range=********&id=********"),
        ("https://me:pw@x.test/a", "https://********@x.test/a"),
        ("Authorization: Bearer abc.def", "Authorization: ********"),
        ("sent 'Cookie': 'A1=d=1; B=2', then", "sent 'Cookie': '********', then"),
        ("('Set-Cookie', 'A1=d')", "('Set-Cookie', '********')"),
        ("cookie: A1=1; A2=2\nnext", "cookie: ********\nnext"),
        ("headers={'Accept': 'x', 'X-Id': '7'})", "headers=********"),
        ('{"X-Api-Key": "k\\"ey", "a": 1}', '{"X-Api-Key": "********", "a": 1}'),
        ("api_token=abc, symbol=AAPL", "api_token=********, symbol=AAPL"),
        ("password = hunter2", "password = ********"),
        ("got bearer abc123==", "got bearer ********"),
    ],
)
def test_secrets_are_masked(text: str, expected: str) -> None:
    assert masked(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "yahoo sent no cookie, asked again",
        "Invalid Crumb",
        "The token of the day is missing.",
        "Basic Materials has 28 members",
        "close 17.5: open < low?",
    ],
)
def test_what_is_no_secret_stays_readable(text: str) -> None:
    assert masked(text) == text


def test_a_long_answer_in_a_message_is_masked_in_no_time() -> None:
    assert len(masked("token" * 20_000 + "?&" * 20_000 + "a" * 200_000)) == 340_000


def test_no_place_shows_a_secret(tmp_path: Path, logger: logging.Logger) -> None:
    stream, said = io.StringIO(), journal(logger)
    with (
        to_console(stream, logger=logger),
        to_files(tmp_path, RUN, AT, logger=logger) as path,
    ):
        error = raised(ValueError("401 for ?crumb=s3cret"), OSError("Cookie: s3cret"))
        said.error("asked with token=s3cret", symbol="AAPL", error=error)
    rows = said.take().to_pylist()
    assert "s3cret" not in stream.getvalue() + path.read_text("utf-8") + repr(rows)


# When writing fails


@pytest.mark.skipif(not DISK_FULL.exists(), reason="no device here plays a full disk")
def test_a_full_disk_is_complained_about_once_and_the_load_goes_on(
    tmp_path: Path, logger: logging.Logger, console: io.StringIO
) -> None:
    said = journal(logger)
    with to_files(tmp_path, RUN, AT, logger=logger) as path:
        path.parent.mkdir(parents=True)
        path.symlink_to(DISK_FULL)
        said.info("one")
        said.info("two")
    lines = [line[21:] for line in console.getvalue().splitlines()]
    complaint = (
        f"WARNING The log {path} can't be written: No space left on device. The load goes on, and "
        "the warehouse keeps its entries; free the disk, or set the rights of the folder."
    )
    assert sorted(lines) == ["INFO one", "INFO two", complaint]
    assert said.take()["message"].to_pylist() == ["one", "two"]


def test_a_folder_that_is_none_ends_no_load_and_is_tried_again(
    tmp_path: Path, logger: logging.Logger, console: io.StringIO
) -> None:
    (tmp_path / "logs").write_text("in the way")
    said = journal(logger)
    with to_files(tmp_path, RUN, AT, logger=logger) as path:
        said.info("one")
        (tmp_path / "logs").unlink()
        said.info("two")
    assert console.getvalue().count("can't be written") == 1
    assert told(path.read_text("utf-8")) == ["two"]


def test_one_run_s_complaint_is_no_other_run_s_to_write(
    tmp_path: Path, logger: logging.Logger, console: io.StringIO
) -> None:
    (tmp_path / "logs").write_text("in the way")
    with (
        to_files(tmp_path, RUN, AT, logger=logger),
        to_files(tmp_path / "elsewhere", OTHER_RUN, AT, logger=logger) as path,
    ):
        journal(logger).info("one")
    assert console.getvalue().count("can't be written") == 1
    assert not path.exists()


# Pruning


def test_pruning_deletes_logs_of_earlier_days_and_nothing_else(tmp_path: Path) -> None:
    logs, elsewhere = tmp_path / "logs", tmp_path / "elsewhere" / "183105-0f1e2d3c.log"
    kept = [
        logs / "2026-11-22" / "183105-0f1e2d3c.log",
        logs / "2026-11-20" / "notes.txt",
        logs / "archive" / "183105-0f1e2d3c.log",
        logs / "2026-11-01.txt",
        elsewhere,
    ]
    gone = [
        logs / "2026-11-21" / "183105-0f1e2d3c.log",
        logs / "2026-11-20" / "000000-aaaaaaaa.log",
    ]
    for path in kept + gone:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("12345")
    (logs / "2026-11-02").symlink_to(elsewhere.parent)
    assert prune_logs(tmp_path, AT, dry_run=True) == (2, 10)
    assert all(path.exists() for path in kept + gone)
    assert prune_logs(tmp_path, AT) == (2, 10)
    assert all(path.exists() for path in kept)
    assert sorted(path.name for path in logs.iterdir()) == [
        "2026-11-01.txt",
        "2026-11-02",
        "2026-11-20",
        "2026-11-22",
        "archive",
    ]
    assert prune_logs(tmp_path, AT) == (0, 0)


def test_pruning_where_nothing_was_ever_logged_makes_nothing(tmp_path: Path) -> None:
    assert prune_logs(tmp_path, AT) == (0, 0)
    assert list(tmp_path.iterdir()) == []


# Properties

ANYTHING = st.text(st.characters(codec=None, exclude_categories=()))
SYMBOLS = st.none() | st.sampled_from(["AAPL", "BRK.B"])
FORGED = "bad\n2026-11-22T18:31:05Z INFO all is well"
HARMLESS = "abc XYZ.,'()-é\U0001f4c8"
PLAIN = st.text(HARMLESS, min_size=1)


@given(st.lists(st.tuples(SYMBOLS, PLAIN, st.booleans())))
def test_property_18_console_file_and_rows_hold_every_entry_once_and_in_order(
    entries: list[tuple[str | None, str, bool]],
) -> None:
    """Property 18: dual logging. Caught: an entry that the console, the file or the rows lack; a
    journal that forgets what was taken only in part.
    """
    logger, stream = own_logger(), io.StringIO()
    said = journal(logger)
    taken: list[dict[str, str]] = []
    with (
        tempfile.TemporaryDirectory() as home,
        to_console(stream, logger=logger),
        to_files(Path(home), RUN, AT, logger=logger) as path,
    ):
        for symbol, message, takes in entries:
            said.info(message, symbol=symbol)
            taken += said.take().to_pylist() if takes else []
        taken += said.take().to_pylist()
        lines = told(path.read_text("utf-8")) if entries else []
    assert [(row["symbol"], row["message"]) for row in taken] == [e[:2] for e in entries]
    assert lines == [f"{e[0]} {e[1]}" if e[0] else e[1] for e in entries]
    assert told(stream.getvalue()) == lines
    ids = [row["entry_id"] for row in taken]
    assert ids == sorted(set(ids))


@given(st.lists(ANYTHING | st.just(FORGED), min_size=1))
def test_property_18_holds_for_texts_that_no_one_expects(messages: list[str]) -> None:
    """Caught: further lines of a message that stand in a place like entries of their own."""
    logger, stream = own_logger(), io.StringIO()
    said = journal(logger)
    with (
        tempfile.TemporaryDirectory() as home,
        to_console(stream, logger=logger),
        to_files(Path(home), RUN, AT, logger=logger) as path,
    ):
        for message in messages:
            said.info(message)
        lines = told(path.read_text("utf-8"))
    rows = said.take()["message"].to_pylist()
    assert len(rows) == len(messages)
    assert lines == rows
    assert told(stream.getvalue()) == rows


def test_property_18_holds_for_threads_of_one_source(
    tmp_path: Path, logger: logging.Logger
) -> None:
    said, together = journal(logger), Barrier(8)

    def speak(number: int) -> None:
        together.wait()
        for i in range(50):
            said.info(f"{number} {i}")

    with to_files(tmp_path, RUN, AT, logger=logger) as path:
        threads = [Thread(target=speak, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    rows = said.take().sort_by("entry_id")["message"].to_pylist()
    assert told(path.read_text("utf-8")) == rows
    assert sorted(rows) == sorted(f"{number} {i}" for number in range(8) for i in range(50))


ERRORS = st.builds(
    lambda kind, text, on_its_way: raised(kind(text)) if on_its_way else kind(text),
    st.sampled_from([ValueError, OSError, KeyError]),
    ANYTHING,
    st.booleans(),
)


@given(st.lists(st.tuples(SYMBOLS, PLAIN | ANYTHING, st.none() | ERRORS)))
def test_property_16_every_error_has_its_message_symbol_and_stack(
    errors: list[tuple[str | None, str, Exception | None]],
) -> None:
    """Property 16: the error log is complete. Caught: an error without its stack, its symbol, its
    class or its message; an error left out.
    """
    said = journal(own_logger())
    for symbol, message, error in errors:
        said.error(message, symbol=symbol, error=error)
    rows = said.take().to_pylist()
    assert [row["symbol"] for row in rows] == [symbol for symbol, _, _ in errors]
    assert [row["error_class"] for row in rows] == [
        type(error).__name__ if error else None for _, _, error in errors
    ]
    assert [row["level"] for row in rows] == ["ERROR"] * len(errors)
    for row, (_, message, _) in zip(rows, errors, strict=True):
        assert row["message"] == message or not set(message) <= set(HARMLESS)
    assert all(row["stack"] for row in rows)
    assert all(
        (error is not None and error.__traceback__ is None) or "test_journal.py" in row["stack"]
        for row, (_, _, error) in zip(rows, errors, strict=True)
    )


def watched(steps: list[tuple[int, float]], total: int) -> tuple[list[int], list[float]]:
    """What an Every tells and when it writes to the screen, of items at seconds."""
    now = 0.0
    to_log: list[int] = []
    on_screen: list[float] = []
    every = Every(
        lambda done, total, what: to_log.append(done),
        lambda done, total, what: on_screen.append(now),
        monotonic=lambda: now,
    )
    for done, at in steps:
        now = at
        every(done, total, "AAPL")
    return to_log, on_screen


def test_each_tenth_item_is_told_and_a_line_a_second_is_shown() -> None:
    assert watched([(done, done * 0.125) for done in range(1, 26)], 25) == (
        [1, 10, 20, 25],
        [0.125, 1.125, 2.125, 3.125],
    )


def test_items_that_come_many_at_once_are_told_as_they_come() -> None:
    steps = [(0, 0.0), (7, 0.1), (31, 0.2), (39, 0.3), (40, 1.5), (40, 1.6)]
    assert watched(steps, 40) == ([0, 31, 40], [0.0, 1.5])


@given(
    st.lists(st.tuples(st.integers(0, 25), st.floats(0, 3)), min_size=1),
    st.integers(0, 40),
)
def test_property_15_tenth_items_first_and_end_are_told_and_the_screen_stays_calm(
    moves: list[tuple[int, float]], further: int
) -> None:
    """Property 15: progress frequency. Caught: tenth items told only where one is hit exactly; the
    end left out; a screen written at every item.
    """
    done, now = 0, 0.0
    steps: list[tuple[int, float]] = []
    for more, seconds in moves:
        done, now = done + more, now + seconds
        steps.append((done, now))
    total = done + further
    to_log, on_screen = watched(steps, total)
    tens = {number // 10 for number, _ in steps}
    assert {number // 10 for number in to_log} == tens
    assert to_log[0] == steps[0][0]
    assert len(to_log) <= len(tens) + 1
    assert on_screen[0] == steps[0][1]
    first_end = next((at for number, at in steps if number == total), None)
    if first_end is not None:
        assert to_log[-1] == total
        assert first_end in on_screen
    assert all(b - a >= 1 or b == first_end for a, b in pairwise(on_screen))
