"""Whatever a source answers: what a load stores, reports and logs, and what the next one asks for.

Each answer is drawn, day by day or as a failure of a whole symbol; what must come of it is counted
here, apart from the code.
"""

from __future__ import annotations

import datetime as dt
import io
import json
import math
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from quant_assets.contracts.prices import Instrument, PriceAnswer, PriceProfile
from quant_assets.contracts.source import Request
from quant_assets.journal.handlers import to_console
from quant_assets.loading.report import LoadReport
from quant_assets.loading.work import Asking
from quant_assets.warehouse.warehouse import Warehouse
from quant_assets_tests.conftest import examples
from quant_assets_tests.loading.test_loading import (
    CALENDAR,
    NOW,
    WEEK,
    XNYS,
    FakeSource,
    Row,
    bar,
    bring,
    contents,
    query,
    window,
)
from quant_assets_tests.standins.loads import load_prices

NAMES = ("AAPL", "IBM", "JPM", "MSFT", "ORCL", "T", "WMT", "XOM")
EARLIER = dt.date(2024, 5, 17)
COUNTS = ("requested", "inserted", "revised", "unchanged", "quarantined", "empty", "failed")

BAD: Mapping[str, tuple[str, float]] = {
    "low is not positive": ("low", -1.0),
    "volume is negative": ("volume", -1.0),
    "close is not finite": ("close", math.inf),
}
GOOD_DAYS, BAD_DAYS = ("present", "empty"), ("no word", *BAD)
DAYS = st.sampled_from(["present", "present", "empty", "no word", *BAD])
WEEKS = st.lists(DAYS, min_size=5, max_size=5)
FATES = st.one_of(WEEKS, WEEKS, st.just(["timed out"] * 5))
"""What a source says of each day of a week, or that it fails."""
ANSWERS = st.lists(FATES, min_size=1, max_size=8)
AT_ONCE = st.integers(1, 8)
"""Symbols an answer holds."""

Fates = Mapping[str, Mapping[dt.date, str]]


def named(fates: Sequence[Sequence[str]]) -> Fates:
    return {
        symbol: dict(zip(WEEK, fate, strict=True))
        for symbol, fate in zip(NAMES, fates, strict=False)
    }


def answering(fates: Fates, at_once: int = 8) -> FakeSource:
    """A source that says so; a day "restated" has a close a little higher."""
    closes = {"present": 10.0, "restated": 10.01, **dict.fromkeys(BAD, 10.0)}
    rows: list[Row] = [
        bar(symbol, day, closes[what]) | dict([BAD[what]] if what in BAD else [])
        for symbol, days in fates.items()
        for day, what in days.items()
        if what in closes
    ]
    empty = {s: [d for d, what in days.items() if what == "empty"] for s, days in fates.items()}
    failing = {s: "timed out" for s, days in fates.items() if "timed out" in days.values()}
    return FakeSource(rows, empty, failing, at_once=at_once)


@pytest.fixture(scope="module")
def known(blank: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A warehouse that knows every symbol by an earlier row."""
    path = tmp_path_factory.mktemp("known") / "warehouse.duckdb"
    shutil.copyfile(blank, path)
    earlier = FakeSource([bar(symbol, EARLIER) for symbol in NAMES])
    bring(Warehouse(path, clock=lambda: NOW), earlier, window(*NAMES, start=EARLIER, end=EARLIER))
    return path


@contextmanager
def copy_of(path: Path) -> Iterator[Warehouse]:
    with tempfile.TemporaryDirectory() as folder:
        copied = Path(shutil.copyfile(path, Path(folder) / "warehouse.duckdb"))
        yield Warehouse(copied, clock=lambda: NOW)


def rows_of_week(warehouse: Warehouse) -> list[tuple[object, ...]]:
    return query(
        warehouse,
        "select symbol, session, close from daily_prices join symbol_history using (security_id)"
        f" where session > '{EARLIER}' order by all",
    )


# What is stored


@examples(4)
@given(ANSWERS, AT_ONCE)
@example([["timed out"] * 5] * 5, 2)
@example([["timed out"] * 5, ["present"] * 5, [*BAD, "no word", "empty"]], 3)
def test_trouble_with_some_symbols_and_days_costs_no_other_a_row(
    known: Path, fates: list[list[str]], at_once: int
) -> None:
    """Property 2: error isolation. Caught: an answer set aside whole where one of its symbols
    failed; a symbol without its good days where one is bad; a load that ends at a failure.
    """
    told = named(fates)
    with copy_of(known) as warehouse:
        bring(warehouse, answering(told, at_once), window(*told))
        assert rows_of_week(warehouse) == sorted(
            (symbol, day, 10.0)
            for symbol, days in told.items()
            for day, what in days.items()
            if what == "present"
        )
        outcomes = {"empty": "empty", "no word": "failed", "timed out": "failed"}
        ledger = query(
            warehouse,
            "select symbol, session, outcome from symbol_day_ledger"
            " join symbol_history using (security_id) order by all",
        )
        assert ledger == sorted(
            (symbol, day, outcomes.get(what, "quarantined"))
            for symbol, days in told.items()
            for day, what in days.items()
            if what != "present"
        )
        tasks = query(warehouse, "select symbol, state, attempts from load_tasks order by 1")
    stops = {"no word", "timed out"}
    assert [task for task in tasks if task[0] in told] == [
        (s, *(("failed", 1) if stops & {*days.values()} else ("completed", 0)))
        for s, days in told.items()
    ]


# What is said


@dataclass
class Said:
    """What a load said in each of the three places, entry by entry, and its report."""

    report: LoadReport
    console: list[str]
    file: list[str]
    rows: list[dict[str, object]]
    quarantine: list[tuple[object, ...]]


def entries(text: str) -> list[str]:
    """The entries of a console or file: level, symbol and message, further lines as they were."""
    found = re.split(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ ", text, flags=re.MULTILINE)
    assert found[0] == ""
    return [entry.removesuffix("\n").replace("\n    ", "\n") for entry in found[1:]]


def told_of(known: Path, fates: Fates, at_once: int) -> Said:
    stream = io.StringIO()
    with copy_of(known) as warehouse:
        with to_console(stream):
            report = bring(warehouse, answering(fates, at_once), window(*fates))
        [log] = warehouse.path.parent.glob(f"logs/*/*-{report.run_id[:8]}.log")
        names = ("level", "symbol", "message", "error_class", "stack", "said_at")
        rows = query(
            warehouse,
            f"select {', '.join(names)} from log_entries where run_id = '{report.run_id}'"
            " order by said_at, entry_id",
        )
        quarantine = query(warehouse, "select symbol, session, reason from quarantine order by all")
        return Said(
            report,
            entries(stream.getvalue()),
            entries(log.read_text("utf-8")),
            [dict(zip(names, row, strict=True)) for row in rows],
            quarantine,
        )


@examples(3)
@given(ANSWERS, AT_ONCE)
def test_console_file_and_warehouse_have_every_entry_of_a_load_once_and_in_order(
    known: Path, fates: list[list[str]], at_once: int
) -> None:
    """Property 18: dual logging. Caught: rows that lack the entries of the last transaction; a
    file or console without stacks.
    """
    said = told_of(known, named(fates), at_once)
    as_lines = [
        " ".join(str(row[name]) for name in ("level", "symbol", "message") if row[name])
        + (f"\n{row['stack']}" if row["stack"] else "")
        for row in said.rows
    ]
    assert said.console == said.file == [line.removesuffix("\n") for line in as_lines]
    assert as_lines[0] == f"INFO 0 of {len(fates)} symbols done; asking the source"
    assert as_lines[-1] == f"INFO {said.report.sentence()}"


@examples(3)
@given(ANSWERS, AT_ONCE)
@example([["timed out"] * 5, ["no word"] * 5, ["present"] * 4 + ["no word"]], 2)
def test_every_failure_is_an_entry_with_symbol_cause_and_stack_and_nothing_else_is(
    known: Path, fates: list[list[str]], at_once: int
) -> None:
    """Property 16: the error log is complete. Caught: a symbol without a word from its source that
    is not logged; an error without the stack.
    """
    told = named(fates)
    said = told_of(known, told, at_once)
    expected = {}
    for symbol, days in told.items():
        silent = [day for day, what in days.items() if what == "no word"]
        if "timed out" in days.values():
            expected[symbol] = ("timed out", "BadAnswer")
        elif silent:
            why = f"{silent[0]}: the source answered without a row for this session"
            expected[symbol] = (why, None)
    errors = [row for row in said.rows if row["level"] == "ERROR"]
    assert {e["symbol"]: (e["message"], e["error_class"]) for e in errors} == expected
    assert len(errors) == len(expected)
    assert all(error["stack"] for error in errors)
    assert {f.symbol: f.error for f in said.report.failures} == {
        symbol: why for symbol, (why, _) in expected.items()
    }


@examples(3)
@given(ANSWERS, AT_ONCE)
@example([[*BAD, "present", "low is not positive"]], 1)
def test_bad_rows_are_set_aside_with_their_reason_and_logged(
    known: Path, fates: list[list[str]], at_once: int
) -> None:
    """Property 20: invalid rows are skipped and logged. Caught: no entry for a row set aside; a
    row set aside without a trace.
    """
    told = named(fates)
    said = told_of(known, told, at_once)
    bad = [
        (symbol, day, what)
        for symbol, days in told.items()
        for day, what in days.items()
        if what in BAD
    ]
    assert said.quarantine == sorted((symbol, f"{day}", why) for symbol, day, why in bad)
    warned = [
        (row["symbol"], str(row["message"])) for row in said.rows if row["level"] == "WARNING"
    ]
    expected = {}
    for symbol, _, why in bad:
        days = [day for s, day, w in bad if (s, w) == (symbol, why)]
        expected[symbol, why] = (
            f"a row is in quarantine ({days[0]}): {why}"
            if len(days) == 1
            else f"{len(days)} rows are in quarantine ({days[0]} to {days[-1]}): {why}"
        )
    assert sorted(warned) == sorted((symbol, text) for (symbol, _), text in expected.items())
    for symbol, text in warned:
        assert f"WARNING {symbol} {text}" in said.file
        assert f"WARNING {symbol} {text}" in said.console


# What is counted


@examples(3)
@given(ANSWERS, AT_ONCE)
@example([["present"] * 5, ["empty"] * 5, [*BAD] + ["no word"] * 2, ["timed out"] * 5], 8)
def test_completeness_is_what_is_present_or_confirmed_empty_over_what_was_requested(
    known: Path, fates: list[list[str]], at_once: int
) -> None:
    """Property 21: completeness. Caught: confirmed days counted as lacking; quarantined ones
    counted as present.
    """
    told = named(fates)
    well = {
        symbol: sum(what in GOOD_DAYS for what in days.values()) / 5
        for symbol, days in told.items()
    }
    with copy_of(known) as warehouse:
        report = bring(warehouse, answering(told, at_once), window(*told))
        in_table = query(
            warehouse,
            f"select symbol, completeness from load_run_symbols where run_id = '{report.run_id}'",
        )
    assert {s.symbol: s.completeness for s in report.symbols} == pytest.approx(well)
    assert dict(in_table) == pytest.approx(well)


SECOND = st.sampled_from(["present", "restated", "restated", "empty", "no word", *BAD])
TWO_WEEKS = st.lists(
    st.tuples(
        st.lists(st.sampled_from(["present", "no word"]), min_size=5, max_size=5),
        st.one_of(st.lists(SECOND, min_size=5, max_size=5), st.just(["timed out"] * 5)),
    ),
    min_size=1,
    max_size=8,
)


@examples(3)
@given(TWO_WEEKS, AT_ONCE)
def test_the_summary_is_what_the_tables_hold(
    known: Path, weeks: list[tuple[list[str], list[str]]], at_once: int
) -> None:
    """Property 17: the summary is accurate, of a load that meets rows of an earlier one. Caught:
    replaced rows counted as new; totals of the beginning; a symbol counted twice.
    """
    first, second = named([one for one, _ in weeks]), named([two for _, two in weeks])
    told = {}
    for symbol, days in second.items():
        came = {d: what for d, what in days.items() if what in ("present", "restated")}
        had = {d for d in came if first[symbol][d] == "present"}
        lacking = [what in ("no word", "timed out") for what in days.values()]
        told[symbol] = (
            5,
            len(came) - len(had),
            sum(came[d] == "restated" for d in had),
            sum(came[d] == "present" for d in had),
            sum(what in BAD for what in days.values()),
            sum(what == "empty" for what in days.values()),
            sum(lacking),
        )
    totals = tuple(map(sum, zip(*told.values(), strict=True)))
    with copy_of(known) as warehouse:
        bring(warehouse, answering(first, at_once), window(*first))
        report = bring(warehouse, answering(second, at_once), window(*second), force=True)
        run = f"where run_id = '{report.run_id}'"
        names = ", ".join(COUNTS)
        by_symbol = query(warehouse, f"select symbol, {names} from load_run_symbols {run}")
        [in_all] = query(warehouse, f"select symbols, {names} from load_runs {run}")
        [written] = query(warehouse, f"select count(*) from daily_prices {run}")
        [replaced] = query(warehouse, "select count(*) from daily_prices_revisions")
    assert {s.symbol: tuple(getattr(s, n) for n in COUNTS) for s in report.symbols} == told
    assert {symbol: tuple(counts) for symbol, *counts in by_symbol} == told
    assert in_all == (len(told), *totals)
    assert tuple(report.total(name) for name in COUNTS) == totals
    assert written == (totals[1] + totals[2],)
    assert replaced == (totals[2],)
    as_json = json.loads(report.to_json())["totals"]
    assert tuple(as_json[name] for name in COUNTS) == totals
    lacking = {s for s, days in second.items() if {"no word", "timed out"} & {*days.values()}}
    assert {failure.symbol for failure in report.failures} == lacking
    assert report.needs_attention == bool(totals[4] or totals[6])


# What the next load does


@examples(3)
@given(ANSWERS, AT_ONCE)
@example([["present"] * 5, ["present", "no word", "empty", "no word", "present"]], 1)
def test_what_is_there_or_confirmed_empty_is_not_asked_for_again(
    known: Path, fates: list[list[str]], at_once: int
) -> None:
    """Property 23: what exists is skipped. Caught: a confirmed day that is due again; a symbol
    asked for from its first day on; a load without anything due that writes.
    """
    told = named(fates)
    missing = {
        symbol: [day for day, what in days.items() if what not in GOOD_DAYS]
        for symbol, days in told.items()
    }
    mended = answering(
        {s: {d: "present" if d in missing[s] else w for d, w in told[s].items()} for s in told},
        at_once,
    )
    with copy_of(known) as warehouse:
        bring(warehouse, answering(told, at_once), window(*told))
        second = bring(warehouse, mended, window(*told))
        assert mended.asked == [
            Request(symbol, days[0], days[-1]) for symbol, days in missing.items() if days
        ]
        assert second.up_to_date == sum(not days for days in missing.values())
        before = contents(warehouse)
        mended.asked.clear()
        third = bring(warehouse, mended, window(*told))
        assert (mended.asked, third.symbols, third.up_to_date) == ([], (), len(told))
        assert contents(warehouse) == before


CLEAN = st.lists(
    st.lists(st.sampled_from(GOOD_DAYS), min_size=5, max_size=5), min_size=1, max_size=8
)
KEPT = (
    "select symbol, session::varchar, close, '' from daily_prices"
    " join symbol_history using (security_id)"
    " union all select symbol, session::varchar, null, outcome from symbol_day_ledger"
    " join symbol_history using (security_id)"
    " union all select symbol, start_session || ' ' || end_session, attempts, state from load_tasks"
    " order by all"
)


@dataclass
class Stopped(FakeSource):
    """One that is stopped before it gives so many answers."""

    after: int = -1

    def fetch(self, requests: Sequence[Request]) -> Iterator[PriceAnswer]:
        for number, answer in enumerate(super().fetch(requests)):
            if number == self.after:
                raise KeyboardInterrupt
            yield answer


@examples(6)
@given(CLEAN, AT_ONCE, st.sampled_from(["asking", "telling", "deciding"]), st.integers(0, 8))
def test_a_load_stopped_anywhere_and_gone_on_with_ends_as_if_undisturbed(
    known: Path, fates: list[list[str]], at_once: int, where: str, place: int
) -> None:
    """Property 22: resume. Caught: what was stored before the stop asked for again; tasks left in
    progress; claims kept.
    """
    told = named(fates)
    answers = math.ceil(len(told) / at_once)
    # Before the first answer there is one call of the other two.
    place %= answers + (where != "asking")
    calls = count()

    def stop(*_: object) -> None:
        if next(calls) == place:
            raise KeyboardInterrupt

    at = {"telling": {"on_progress": stop}, "deciding": {"on_decided": stop}}.get(where, {})
    source = Stopped(**vars(answering(told, at_once)), after=place if where == "asking" else -1)
    with copy_of(known) as warehouse:
        with pytest.raises(KeyboardInterrupt):
            bring(warehouse, source, window(*told), **at)
        stored = list(told)[: place * at_once]
        tasks = query(warehouse, "select symbol, state from load_tasks order by 1")
        assert query(warehouse, "from load_claims") == []
        states = {symbol: state for symbol, state in tasks if symbol in told}
        assert [states[symbol] for symbol in stored] == ["completed"] * len(stored)
        assert set(states.values()) <= {"completed", "pending"}
        again = answering(told, at_once)
        bring(warehouse, again, window(*told))
        assert [request.symbol for request in again.asked] == list(told)[len(stored) :]
        ended = query(warehouse, KEPT)
    with copy_of(known) as undisturbed:
        bring(undisturbed, answering(told, at_once), window(*told))
        assert ended == query(undisturbed, KEPT)


# What is noted of each request

SESSIONS = CALENDAR.between(dt.date(2024, 5, 1), dt.date(2024, 5, 31))


@dataclass
class Live(FakeSource):
    """A source that is asked over a network, and says what each symbol is."""

    @property
    def profile(self) -> PriceProfile:
        return replace(super().profile, live=True)

    def _answer(self, chunk: Sequence[Request]) -> PriceAnswer:
        answer = super()._answer(chunk)
        known = [symbol for symbol in answer.symbols if symbol not in self.failing]
        return replace(answer, instruments=tuple(Instrument(symbol, "stock") for symbol in known))


REQUESTS = st.lists(
    st.tuples(
        st.sampled_from([1, 5, 20, 35]),  # days since the last load
        st.sets(st.sampled_from(NAMES[:2]), min_size=1),
        st.one_of(st.just(set()), st.sets(st.sampled_from(NAMES[:2]))),  # those that fail
        st.lists(st.integers(0, len(SESSIONS) - 2), min_size=2, max_size=2).map(sorted),
        st.sampled_from([0, 15, 25, 90]),  # days to look back
    ),
    min_size=2,
    max_size=4,
)


@examples(8)
@given(REQUESTS)
def test_what_is_noted_of_a_symbol_follows_every_answer_and_no_failure(
    blank: Path, loads: list[tuple[int, set[str], set[str], list[int], int]]
) -> None:
    """Property 8: tracking metadata is updated. Caught: a failed request noted as an answer; a
    look-back over a part noted as one over all; a row seen again that loses when it came.
    """
    now = dt.datetime(2024, 6, 3, 12, tzinfo=dt.UTC)
    noted: dict[str, tuple[dt.datetime, dt.date, dt.datetime | None, dt.datetime]] = {}
    came: dict[tuple[str, dt.date], dt.datetime] = {}
    states: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(shutil.copyfile(blank, Path(folder) / "warehouse.duckdb"))
        for days_later, symbols, failing, (first, last), look_back in loads:
            now += dt.timedelta(days=days_later)
            moment = now.replace(tzinfo=None)
            warehouse = Warehouse(path, clock=lambda now=now: now)  # type: ignore[misc]
            source = Live(
                [bar(s, day) for s in NAMES[:2] for day in SESSIONS if s not in failing],
                failing=dict.fromkeys(failing, "timed out"),
            )
            wanted = window(*sorted(symbols), start=SESSIONS[first], end=SESSIONS[last])
            asking = Asking(look_back_days=look_back)
            load_prices(warehouse, source, wanted, XNYS, identities=(), force=True, asking=asking)
            for symbol in symbols:
                states[symbol] = "failed" if symbol in failing else "completed"
                if symbol in failing:
                    continue
                had = [day for s, day in came if s == symbol]
                all_at = noted[symbol][2] if symbol in noted else None
                since = min(SESSIONS[first], now.date() - dt.timedelta(days=look_back))
                if had and (all_at is None or moment - all_at >= dt.timedelta(days=30)):
                    since = min(since, *had)
                for day in SESSIONS[first : last + 1]:
                    came.setdefault((symbol, day), moment)
                if since <= min(day for s, day in came if s == symbol):
                    all_at = moment
                noted[symbol] = (moment, since, all_at, moment)
        seen = "select symbol, asked_at, asked_since, asked_for_all_at, updated_at"
        assert {s: tuple(rest) for s, *rest in query(warehouse, f"{seen} from source_symbols")} == (
            noted
        )
        rows = query(
            warehouse,
            "select symbol, session, fetched_at from daily_prices"
            " join symbol_history using (security_id)",
        )
        assert sorted(rows) == sorted((*key, at) for key, at in came.items())
        assert dict(query(warehouse, "select symbol, state from load_tasks")) == states
