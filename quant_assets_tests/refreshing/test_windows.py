"""The days of a load that names them: what is taken, what is cut, what is refused and how."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from quant_assets.loading.work import Window
from quant_assets.reference.calendars import OpenSessionError
from quant_assets.refreshing.windows import days_before, window_of
from quant_assets.settings.settings import load_settings
from quant_assets.wiring.platform import Platform
from quant_assets_tests.conftest import NOW

FRIDAY = dt.date(2024, 5, 31)
SATURDAY = dt.datetime(2024, 6, 1, 16, 0, tzinfo=dt.UTC)
FIRST = dt.date(1990, 1, 2)


def platform(folder: Path, now: dt.datetime = NOW) -> Platform:
    settings = load_settings({}, flags={"home": folder}, working_directory=folder)
    return Platform(settings, clock=lambda: now)


def test_a_window_ends_with_the_last_closed_session_and_begins_days_before(tmp_path: Path) -> None:
    shop = platform(tmp_path)
    assert window_of(shop, ["AAPL"], days=2) == Window(("AAPL",), dt.date(2024, 5, 29), FRIDAY)
    assert window_of(shop, ["AAPL"], dt.date(2024, 5, 1), FRIDAY).start == dt.date(2024, 5, 1)
    usual = shop.settings.default_days
    assert window_of(shop, ["AAPL"]).start == FRIDAY - dt.timedelta(days=usual)


def test_a_start_today_at_a_weekend_is_told_the_last_session_and_no_end(tmp_path: Path) -> None:
    with pytest.raises(OpenSessionError) as told:
        window_of(platform(tmp_path, SATURDAY), ["AAPL"], SATURDAY.date())
    assert str(told.value) == (
        "No session from 2024-06-01 on has closed yet; the last closed one is 2024-05-31. Nothing "
        "was fetched and nothing stored."
    )


@pytest.mark.parametrize(
    ("start", "days", "shown"),
    [
        (dt.date(1990, 1, 1), None, "1990-01-01"),
        (None, 20_000, "1969-08-28"),
        (None, 999_999_999, "0001-01-01"),
    ],
)
def test_a_window_begins_with_the_first_session_known_and_says_so(
    tmp_path: Path, start: dt.date | None, days: int | None, shown: str
) -> None:
    notes: list[str] = []
    found = window_of(platform(tmp_path), ["AAPL"], start, days=days, on_note=notes.append)
    assert (found.start, found.end) == (FIRST, FRIDAY)
    assert notes == [
        f"Sessions are known from 1990-01-02 on; the load begins there, not on {shown}."
    ]


@pytest.mark.parametrize(
    ("symbols", "start", "end", "sentence"),
    [
        ([], FRIDAY, FRIDAY, "No symbol is named, so there is nothing to load."),
        (["AAPL"], "2024-05-31", "2024-05-01", "start 2024-05-31 is after end 2024-05-01, so"),
        (["AAPL"], "2024-05-25", "2024-05-26", "None of 2024-05-25 to 2024-05-26 is a session of"),
        (["AAPL"], "2024-05-25", "2024-05-25", "2024-05-25 is not a session of the exchange, so"),
        (["AAPL"], "1980-01-01", "1980-12-31", "1980-12-31 is outside the calendar, which knows"),
        (["AAPL"], "2024-05-01", "2099-01-01", "2099-01-01 is outside the calendar, which knows"),
    ],
)
def test_what_can_load_nothing_is_refused_in_a_sentence(
    tmp_path: Path, symbols: list[str], start: str | dt.date, end: str | dt.date, sentence: str
) -> None:
    first, last = (dt.date.fromisoformat(str(day)) for day in (start, end))
    with pytest.raises(ValueError, match=sentence):
        window_of(platform(tmp_path), symbols, first, last)


def test_a_pair_has_sessions_at_a_weekend(tmp_path: Path) -> None:
    shop = platform(tmp_path, SATURDAY + dt.timedelta(days=1))
    saturday = SATURDAY.date()
    assert window_of(shop, ["BTC-USD", "AAPL"], saturday).end == saturday


def test_days_before_a_day_end_where_the_calendar_begins(tmp_path: Path) -> None:
    calendar = platform(tmp_path).calendar
    assert days_before(calendar, FRIDAY, 30) == dt.date(2024, 5, 1)
    assert days_before(calendar, FRIDAY, 999_999_999) == FIRST
