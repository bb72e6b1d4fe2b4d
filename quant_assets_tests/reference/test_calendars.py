"""Sessions of the real exchange: holidays, sudden closures, and when a session has closed.

``python -m quant_assets_tests.reference.test_calendars`` writes the stored list anew from the
library.
"""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

import quant_assets
from quant_assets.reference.calendars import (
    ALWAYS_OPEN,
    FIRST_DAY,
    YEAR_AHEAD,
    YEARS_AHEAD,
    Calendar,
    CalendarRangeError,
    exchange_calendar,
    known_closes,
    library_closes,
    stored_closes,
    weekdays,
)

NEW_YORK = ZoneInfo("America/New_York")
STORED = Path(quant_assets.__file__).parent / "reference" / "xnys_closures.csv"
LAST_STORED = dt.date(2030, 12, 31)
XNYS = exchange_calendar("XNYS")


@pytest.mark.parametrize(
    "day",
    [
        "2024-01-01",  # New Year
        "2024-01-15",  # Martin Luther King
        "2024-03-29",  # Good Friday
        "2024-07-04",
        "2024-11-28",  # Thanksgiving
        "2024-12-25",
        "2022-06-20",  # Juneteenth, observed on a Monday
        "2001-09-11",
        "2001-09-12",
        "2001-09-13",
        "2001-09-14",
        "2012-10-29",  # Hurricane Sandy
        "2012-10-30",
        "2018-12-05",  # mourning of G. H. W. Bush
        "2025-01-09",  # mourning of J. Carter
        "2024-06-01",  # a Saturday
        "2024-06-02",  # a Sunday
    ],
)
def test_the_exchange_was_closed(day: str) -> None:
    assert not XNYS.is_session(dt.date.fromisoformat(day))


@pytest.mark.parametrize(
    "day",
    [
        "2001-09-10",
        "2001-09-17",
        "2012-10-31",
        "2018-12-06",
        "2021-06-18",
        "2024-11-29",
        "2024-12-24",
    ],
)
def test_the_exchange_was_open(day: str) -> None:
    assert XNYS.is_session(dt.date.fromisoformat(day))


def test_years_have_as_many_sessions_as_the_exchange_had() -> None:
    counts = {
        year: len(XNYS.between(dt.date(year, 1, 1), dt.date(year, 12, 31)))
        for year in (2001, 2012, 2018, 2020, 2024)
    }
    assert counts == {2001: 248, 2012: 250, 2018: 251, 2020: 253, 2024: 252}


def test_holidays_are_the_weekdays_without_a_session() -> None:
    assert XNYS.holidays(dt.date(2001, 9, 1), dt.date(2001, 9, 30)) == (
        dt.date(2001, 9, 3),
        dt.date(2001, 9, 11),
        dt.date(2001, 9, 12),
        dt.date(2001, 9, 13),
        dt.date(2001, 9, 14),
    )


def test_a_closure_no_library_knows_yet_can_be_added() -> None:
    mourning = dt.date(2024, 6, 5)
    closed = exchange_calendar("XNYS", extra_closures=(mourning,))
    assert XNYS.is_session(mourning)
    assert not closed.is_session(mourning)
    assert closed.holidays(dt.date(2024, 6, 3), dt.date(2024, 6, 7)) == (mourning,)
    assert closed.last_closed_session(dt.datetime(2024, 6, 5, 23, tzinfo=dt.UTC)) == dt.date(
        2024, 6, 4
    )
    assert len(closed.sessions) == len(closed.closes_at) == len(XNYS.sessions) - 1


@pytest.mark.parametrize(
    ("new_york", "last_closed"),
    [
        ("2024-06-03 09:29", "2024-05-31"),  # a Monday before the open
        ("2024-06-03 15:59", "2024-05-31"),
        ("2024-06-03 16:00", "2024-06-03"),
        ("2024-06-03 23:59", "2024-06-03"),
        ("2024-06-04 00:01", "2024-06-03"),
        ("2024-06-08 12:00", "2024-06-07"),  # a Saturday
        ("2024-06-09 12:00", "2024-06-07"),
        ("2024-07-04 18:00", "2024-07-03"),  # a holiday
        ("2024-11-29 12:55", "2024-11-27"),  # the exchange closes at one that day
        ("2024-11-29 13:05", "2024-11-29"),
        ("2024-12-24 13:00", "2024-12-24"),
        ("2024-01-16 15:30", "2024-01-12"),  # in winter the close is an hour later in UTC
        ("2024-01-16 16:00", "2024-01-16"),
    ],
)
def test_a_session_counts_from_its_close_on(new_york: str, last_closed: str) -> None:
    now = dt.datetime.fromisoformat(new_york).replace(tzinfo=NEW_YORK)
    assert XNYS.last_closed_session(now) == dt.date.fromisoformat(last_closed)
    assert XNYS.last_closed_session(now.astimezone(dt.UTC)) == dt.date.fromisoformat(last_closed)
    in_tokyo = now.astimezone(ZoneInfo("Asia/Tokyo"))
    assert XNYS.last_closed_session(in_tokyo) == dt.date.fromisoformat(last_closed)


@pytest.mark.parametrize("day", [dt.date(1989, 12, 29), dt.date(2200, 1, 2)])
def test_a_day_outside_the_calendar_is_an_error_and_not_an_empty_answer(day: dt.date) -> None:
    for start, end in ((day, TODAY), (TODAY, day)):
        with pytest.raises(CalendarRangeError) as outside:
            XNYS.between(start, end)
        assert outside.value.day == day
        assert str(outside.value) == (
            f"{day} is outside the calendar, which knows {XNYS.sessions[0]} to {XNYS.last_day}."
        )


def test_a_clock_before_the_first_session_is_an_error_and_not_the_last_session() -> None:
    with pytest.raises(CalendarRangeError):
        XNYS.last_closed_session(dt.datetime(1980, 1, 2, tzinfo=dt.UTC))


def test_a_clock_after_the_last_session_known_is_an_error() -> None:
    # Otherwise every load of a machine with an old library would call itself up to date.
    with pytest.raises(CalendarRangeError):
        XNYS.last_closed_session(dt.datetime(2200, 1, 2, tzinfo=dt.UTC))


def test_the_session_array_holds_the_sessions() -> None:
    assert XNYS.session_array.tolist() == list(XNYS.sessions)
    assert XNYS.sessions[0] == FIRST_DAY
    assert list(XNYS.sessions) == sorted(set(XNYS.sessions))
    assert list(XNYS.closes_at) == sorted(set(XNYS.closes_at))


TODAY = dt.date(2024, 5, 31)
days = st.dates(dt.date(1990, 1, 2), dt.date(2025, 12, 31))


@given(days, days)
def test_a_range_holds_the_sessions_from_start_to_end(start: dt.date, end: dt.date) -> None:
    """Property 3: date ranges. Caught: the last day left out."""
    expected = tuple(day for day in XNYS.sessions if start <= day <= end)
    assert XNYS.between(start, end) == expected


@given(days, days, days)
def test_adjacent_ranges_join_to_the_whole(one: dt.date, two: dt.date, three: dt.date) -> None:
    """Property 3: a range cut in two is the two, without a session lost or doubled. Caught: a
    range that begins after its first day.
    """
    start, cut, end = sorted((one, two, three))
    after = cut + dt.timedelta(days=1)
    assert XNYS.between(start, cut) + XNYS.between(after, end) == XNYS.between(start, end)


@given(days)
def test_a_day_is_a_session_if_its_own_range_holds_it(day: dt.date) -> None:
    assert XNYS.is_session(day) == (XNYS.between(day, day) == (day,))


def test_a_market_open_every_day_can_be_described() -> None:
    days = tuple(dt.date(2024, 6, 1) + dt.timedelta(days=n) for n in range(3))
    closes = tuple(dt.datetime(2024, 6, 2 + n) for n in range(3))  # noqa: DTZ001 - naive UTC
    always = Calendar("24/7", days, closes)
    assert always.between(days[0], days[-1]) == days
    assert always.last_closed_session(dt.datetime(2024, 6, 3, 0, 0, tzinfo=dt.UTC)) == days[1]


def list_of_the_library() -> str:
    """The stored list as the library would have it."""
    closes = {
        day: f"{close.replace(tzinfo=dt.UTC).astimezone(NEW_YORK):%H:%M}"
        for day, close in library_closes("XNYS", LAST_STORED).items()
    }
    rows = [
        f"{day},{closes.get(day, '')}"
        for day in weekdays(FIRST_DAY, LAST_STORED)
        if closes.get(day) != "16:00" or day in (FIRST_DAY, LAST_STORED)
    ]
    return "\n".join(["day,closes", *rows, ""])


def test_the_stored_list_is_the_library_s() -> None:
    assert STORED.read_text("utf-8") == list_of_the_library(), __doc__


def test_each_stored_session_and_close_is_the_library_s() -> None:
    library = library_closes("XNYS", LAST_STORED)
    assert stored_closes() == library
    assert XNYS.sessions == tuple(library)
    assert XNYS.closes_at == tuple(library.values())


def test_a_stored_list_that_ends_within_the_year_gives_way_to_the_library() -> None:
    assert known_closes("XNYS", dt.date(2029, 12, 30)) == stored_closes()
    day = dt.date(2029, 12, 31)
    assert known_closes("XNYS", day) == library_closes("XNYS", day + YEARS_AHEAD)


@pytest.mark.parametrize("market", ["XNYS", ALWAYS_OPEN, "XLON"])
def test_a_process_that_has_run_for_years_knows_the_sessions_of_the_next(market: str) -> None:
    for year in (2026, 2027, 2030, 2034):
        now = dt.datetime(year, 11, 29, 2, tzinfo=dt.UTC)
        calendar = exchange_calendar(market, today=now.date())
        assert calendar.last_closed_session(now) > now.date() - dt.timedelta(days=5)
        assert calendar.last_day >= now.date() + YEAR_AHEAD
        assert calendar.is_session(dt.date(year, 12, 25)) == (market == ALWAYS_OPEN)


def test_other_markets_are_the_library_s() -> None:
    london = exchange_calendar("XLON")
    assert london.is_session(dt.date(2024, 7, 4))
    assert not london.is_session(dt.date(2024, 8, 26))  # the summer bank holiday
    known = dict(zip(london.sessions, london.closes_at, strict=True))
    assert known == library_closes("XLON", london.last_day)


ASK_FOR_SESSIONS = """
import datetime as dt, sys
from quant_assets.reference.calendars import exchange_calendar

xnys = exchange_calendar("XNYS", (dt.date(2024, 6, 5),))
print(*xnys.between(dt.date(1996, 1, 1), dt.date(1996, 1, 3)))
print(*xnys.holidays(dt.date(2024, 6, 1), dt.date(2024, 6, 30)))
print(xnys.last_closed_session(dt.datetime(2024, 7, 3, 17, tzinfo=dt.UTC)))
print(xnys.session_array[0], xnys.last_day, xnys.closes_at[-1])
print(*{"pandas", "exchange_calendars"} & sys.modules.keys())
"""


def test_sessions_of_new_york_need_neither_pandas_nor_the_library() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ASK_FOR_SESSIONS],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "1996-01-02 1996-01-03",
        "2024-06-05 2024-06-19",
        "2024-07-03",
        "1990-01-02 2030-12-31 2030-12-31 21:00:00",
        "",
    ]


if __name__ == "__main__":
    STORED.write_text(list_of_the_library(), "utf-8")
