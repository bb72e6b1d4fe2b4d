"""What a frame of prices says that it lacks: in ``attrs["missing"]`` and in one warning."""

from __future__ import annotations

import datetime as dt
import uuid
import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest

from quant_assets.contracts.membership import Constituent, UniverseAnswer
from quant_assets.membership.take_over import import_universe
from quant_assets.read.missing import MissingDataWarning, Span
from quant_assets.read.price_frames import prices
from quant_assets.reference.calendars import Calendar
from quant_assets.schema.loads import LEDGER, LOAD_TASKS
from quant_assets.warehouse.writing import Writing
from quant_assets_tests.read.test_read import (
    FRIDAY,
    MONDAY,
    THURSDAY,
    TUESDAY,
    WEDNESDAY,
    FakeSource,
    Shelf,
    bars,
    shelf,
)

__all__ = ["shelf"]

SATURDAY, SUNDAY = FRIDAY + dt.timedelta(days=1), FRIDAY + dt.timedelta(days=2)
FULL = [10, 11, 12, 13, 14]


@pytest.fixture
def full(shelf: Shelf) -> Shelf:
    return shelf.put(FakeSource([*bars("AAPL", FULL), *bars("MSFT", FULL)]))


def read(shelf: Shelf, symbols: object = None, **options: object) -> tuple[pd.DataFrame, str]:
    """A frame, and the one warning that came with it."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        frame = shelf.read(symbols, **options)
    assert [warning.category for warning in caught] in ([], [MissingDataWarning])
    return frame, str(caught[0].message) if caught else ""


def lacks(shelf: Shelf, symbols: object = None, **options: object) -> dict[str, str]:
    frame, text = read(shelf, symbols, **options)
    assert bool(text) == ("missing" in frame.attrs)
    return dict(frame.attrs.get("missing", {}))


def outcome(shelf: Shelf, symbol: str, days: Sequence[dt.date], what: str, why: str) -> None:
    """Have the ledger say what became of days without a row."""
    with shelf.warehouse.writing(str(uuid.uuid4())) as writing:
        security = security_of(writing, symbol)
        rows = [
            {
                "dataset": "daily_prices",
                "security_id": security,
                "session": day,
                "source": "fake",
                "outcome": what,
                "reason": why,
            }
            for day in days
        ]
        writing.upsert(LEDGER, LEDGER.arrow(rows))


def security_of(writing: Writing, symbol: str) -> int:
    [(found,)] = writing.con.execute(
        "select security_id from symbol_history where symbol = ?", [symbol]
    ).fetchall()
    return int(found)


def hole(shelf: Shelf, symbol: str, *days: dt.date) -> None:
    """Delete rows and what the ledger says of their days."""
    with shelf.warehouse.writing(str(uuid.uuid4())) as writing:
        security = security_of(writing, symbol)
        for table in ("daily_prices", "symbol_day_ledger"):
            writing.con.execute(
                f"delete from {table} where security_id = ? and list_contains(?, session)",
                [security, list(days)],
            )


def test_a_frame_that_lacks_nothing_says_nothing(full: Shelf) -> None:
    for options in ({}, {"shape": "wide"}, {"adjust": "split"}, {"end": TUESDAY}):
        assert lacks(full, **options) == {}
    assert full.read().attrs == {}


@pytest.mark.parametrize("shape", ["tidy", "wide"])
def test_sessions_that_were_never_requested_are_lacking(full: Shelf, shape: str) -> None:
    hole(full, "AAPL", TUESDAY, THURSDAY)
    frame, text = read(full, ["AAPL", "MSFT"], shape=shape, fields=["close"])
    why = "2 of 5 sessions lacking, 2024-05-21 to 2024-05-23: never requested"
    assert frame.attrs["missing"] == {"AAPL": why}
    assert text == (
        f"Data is missing of 1 of 2 symbols: AAPL: {why}. "
        'attrs["missing"] of the frame has the reason of each.'
    )


def test_a_user_can_make_an_error_of_it(full: Shelf) -> None:
    hole(full, "AAPL", FRIDAY)
    with warnings.catch_warnings():
        warnings.simplefilter("error", MissingDataWarning)
        with pytest.raises(MissingDataWarning, match="1 of 5 sessions lacking, 2024-05-24"):
            full.read()


def test_the_warning_points_at_the_line_that_reads(full: Shelf) -> None:
    hole(full, "AAPL", FRIDAY)
    with pytest.warns(MissingDataWarning) as caught:
        prices("AAPL", MONDAY, FRIDAY, home=full.home)
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    ("what", "why", "told"),
    [
        ("failed", "fake has no symbol AAPL.", "fake has no symbol AAPL"),
        ("quarantined", "high below low: 1 < 2", "in quarantine: high below low: 1 < 2"),
    ],
)
def test_the_reason_is_the_ledgers(full: Shelf, what: str, why: str, told: str) -> None:
    hole(full, "AAPL", WEDNESDAY)
    outcome(full, "AAPL", [WEDNESDAY], what, why)
    assert lacks(full) == {"AAPL": f"1 of 5 sessions lacking, 2024-05-22: {told}"}


def test_days_confirmed_empty_are_not_lacking_but_a_symbol_without_a_row_is_told(
    full: Shelf,
) -> None:
    hole(full, "AAPL", MONDAY, TUESDAY)
    outcome(full, "AAPL", [MONDAY, TUESDAY], "empty", "not listed before 2024-05-22")
    assert lacks(full) == {}
    assert lacks(full, "AAPL", end=TUESDAY) == {
        "AAPL": "nothing in this range: not listed before 2024-05-22"
    }
    assert lacks(full, None, end=TUESDAY) == {}  # what nobody named is not lacking


def test_a_blocked_symbol_says_why_it_was_not_requested(full: Shelf) -> None:
    hole(full, "AAPL", FRIDAY)
    with full.warehouse.writing(str(uuid.uuid4())) as writing:
        task = {
            "dataset": "daily_prices",
            "source": "fake",
            "symbol": "AAPL",
            "state": "failed",
            "attempts": 1,
            "priority": "normal",
            "start_session": FRIDAY,
            "end_session": FRIDAY,
            "error": "fake: AAPL: its prices contradict those stored.",
        }
        writing.upsert(LOAD_TASKS, LOAD_TASKS.arrow([task]))
    assert lacks(full)["AAPL"].endswith(
        "2024-05-24: fake: AAPL: its prices contradict those stored"
    )


def test_a_member_that_was_never_loaded_is_told(full: Shelf) -> None:
    members = tuple(Constituent(symbol, symbol, "X") for symbol in ("AAPL", "ORCL"))
    answer = UniverseAnswer("list", constituents=members)
    import_universe(full.warehouse, answer, (), universe="tiny", on=FRIDAY, accept=True)
    frame, _ = read(full, ["AAPL", "ORCL"], shape="wide", fields=["close"])
    assert list(frame.columns) == ["AAPL"]
    assert frame.attrs["missing"] == {"ORCL": "never loaded"}


def test_a_range_beside_what_is_stored_names_what_is(full: Shelf) -> None:
    assert lacks(full, "AAPL", start="2024-05-27", end="2024-05-31") == {
        "AAPL": "nothing in this range; stored are 2024-05-20 to 2024-05-24"
    }


def test_days_off_the_market_are_not_lacking(full: Shelf) -> None:
    hole(full, "AAPL", MONDAY, FRIDAY)
    with full.warehouse.writing(str(uuid.uuid4())) as writing:
        writing.con.execute(
            "update securities set listed_on = ?, delisted_on = ? where security_id = ?",
            [TUESDAY, FRIDAY, security_of(writing, "AAPL")],
        )
    assert lacks(full) == {}
    hole(full, "AAPL", WEDNESDAY)
    assert lacks(full) == {"AAPL": "1 of 3 sessions lacking, 2024-05-22: never requested"}
    assert lacks(full, "AAPL", start=FRIDAY) == {
        "AAPL": "nothing in this range: off the market since 2024-05-24"
    }
    assert lacks(full, "AAPL", end=MONDAY) == {
        "AAPL": "nothing in this range: listed on 2024-05-21"
    }


def test_the_commonest_reason_is_told_and_none_where_most_days_were_never_requested(
    full: Shelf,
) -> None:
    hole(full, "AAPL", MONDAY, TUESDAY, WEDNESDAY)
    outcome(full, "AAPL", [MONDAY], "failed", "timed out")
    assert lacks(full)["AAPL"].endswith("2024-05-20 to 2024-05-22: never requested")
    outcome(full, "AAPL", [TUESDAY, WEDNESDAY], "failed", "no such symbol")
    assert lacks(full)["AAPL"].endswith("2024-05-20 to 2024-05-22: no such symbol")


def test_a_source_that_is_named_lacks_what_only_another_has(full: Shelf) -> None:
    full.put(FakeSource(bars("MSFT", FULL), name="other"))
    assert lacks(full, ["AAPL", "MSFT"], source="other") == {"AAPL": "never loaded"}


def test_the_preferred_source_tells_of_a_day_that_several_lack(full: Shelf) -> None:
    full.put(FakeSource(bars("AAPL", [10, 11, 12, None, None]), name="other"))
    hole(full, "AAPL", FRIDAY)
    outcome(full, "AAPL", [FRIDAY], "empty", "halted")
    full.order = ("fake", "other")
    assert lacks(full) == {}


@pytest.mark.parametrize("symbols", ["AAPL", None])
@pytest.mark.parametrize("shape", ["tidy", "wide"])
def test_a_weekend_alone_is_empty_and_says_so(full: Shelf, symbols: object, shape: str) -> None:
    frame, text = read(full, symbols, start=SATURDAY, end=SUNDAY, shape=shape)
    assert frame.empty
    assert text.startswith("No session has closed from 2024-05-25 to 2024-05-26: the frame has no")
    assert frame.attrs["missing"]["AAPL"] == "no session has closed from 2024-05-25 to 2024-05-26"


def test_a_session_counts_once_it_has_closed(full: Shelf) -> None:
    hole(full, "AAPL", FRIDAY)
    before_the_close = dt.datetime(2024, 5, 24, 19, 59, tzinfo=dt.UTC)
    assert lacks(full, clock=lambda: before_the_close) == {}
    after = before_the_close + dt.timedelta(minutes=1)
    assert lacks(full, clock=lambda: after).keys() == {"AAPL"}


def test_a_pair_has_a_session_each_day(calendar: Calendar) -> None:
    now = dt.datetime(2024, 5, 27, 0, 0, tzinfo=dt.UTC)
    span = Span.of(FRIDAY, dt.date(2024, 5, 27), calendar, now)
    assert span.exchange.tolist() == [True, False, False, False]  # Monday was Memorial Day
    assert span.pairs.tolist() == [True, True, True, False]


def test_the_days_after_the_calendars_end_are_no_sessions(calendar: Calendar) -> None:
    last = calendar.sessions[-1]
    late = dt.datetime.combine(last + dt.timedelta(days=400), dt.time(), dt.UTC)
    span = Span.of(last, last + dt.timedelta(days=3), calendar, late)
    assert np.flatnonzero(span.exchange).tolist() == [0]


def test_a_load_that_failed_in_part_shows_in_the_frame(shelf: Shelf) -> None:
    shelf.put(FakeSource([*bars("AAPL", FULL), *bars("MSFT", [10, 11, None, 13, 14])]))
    assert lacks(shelf) == {
        "MSFT": "1 of 5 sessions lacking, 2024-05-22: the source answered without a row for this "
        "session"
    }
