"""When a market was open: sessions, holidays and the last session that has closed.

Those of New York are a list in the package, a copy from exchange_calendars; any other market's come
from exchange_calendars itself. A closure neither knows yet is added with ``extra_closures``.
Nothing here knows of Dagster, and nothing is computed at import.
"""

from __future__ import annotations

import csv
import datetime as dt
import warnings
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from importlib import resources
from zoneinfo import ZoneInfo

import numpy as np

from quant_assets.reference.errors import UsageError

FIRST_DAY = dt.date(1990, 1, 2)
"""Sessions are known from here on; the index membership begins in 1996."""

YEAR_AHEAD = dt.timedelta(days=366)
"""A calendar knows the sessions of the coming year at least."""

YEARS_AHEAD = 5 * YEAR_AHEAD
"""How far the library is asked: partitions are made of it once in the life of a process."""

NEW_YORK = ZoneInfo("America/New_York")

SETTLING = dt.timedelta(minutes=20)
"""How long after its close the figures of a session may still be those of before the auction."""

OPENS = dt.time(9, 30)
"""When a session of the exchange opens, in New York time."""

ALWAYS_OPEN = "24/7"
"""The calendar of markets that never close: every day is a session, and ends at midnight UTC."""

QUIET_SESSIONS = 5
"""Sessions without a trade after which trading in a security counts as ended."""


class CalendarRangeError(UsageError, ValueError):
    """A day outside the years a calendar knows."""

    def __init__(self, day: dt.date, first: dt.date, last: dt.date) -> None:
        super().__init__(f"{day} is outside the calendar, which knows {first} to {last}.")
        self.day = day


class OpenSessionError(UsageError, ValueError):
    """A load of sessions that have not closed."""

    def __init__(self, start: dt.date, last_closed: dt.date) -> None:
        super().__init__(
            f"No session from {start} on has closed yet; the last closed one is {last_closed}. "
            "Nothing was fetched and nothing stored."
        )


class SessionUnderWayError(OpenSessionError):
    """A request whose answer has no date of its own, while a session is under way."""

    def __init__(self, what: str, session: dt.date, closes_at: dt.datetime) -> None:
        closes = (closes_at + SETTLING).astimezone(NEW_YORK)
        UsageError.__init__(
            self,
            f"{what} is not requested while a session is under way: its rows have no date of their "
            f"own. Request it from {closes:%H:%M} New York time on, {session}.",
        )


@dataclass(frozen=True)
class Calendar:
    """The sessions of one market.

    ``sessions`` and ``closes_at`` (UTC, naive) run in parallel, ascending.
    """

    name: str
    sessions: tuple[dt.date, ...] = field(repr=False)
    closes_at: tuple[dt.datetime, ...] = field(repr=False)

    def is_session(self, day: dt.date) -> bool:
        at = bisect_left(self.sessions, day)
        return at < len(self.sessions) and self.sessions[at] == day

    def between(self, start: dt.date, end: dt.date) -> tuple[dt.date, ...]:
        """Sessions from ``start`` to ``end``, both included.

        Raises CalendarRangeError where the answer would silently stop at the calendar's edge.
        """
        for day in (start, end):
            if not self.sessions[0] <= day <= self.last_day:
                raise CalendarRangeError(day, self.sessions[0], self.last_day)
        return self.sessions[bisect_left(self.sessions, start) : bisect_right(self.sessions, end)]

    @property
    def last_day(self) -> dt.date:
        return self.sessions[-1]

    def last_closed_session(self, now: dt.datetime) -> dt.date:
        """The newest session whose close is not after ``now`` (aware, any zone).

        Raises CalendarRangeError before the first close, and after the last one: what has closed
        since then is not known here.
        """
        moment = now.astimezone(dt.UTC).replace(tzinfo=None)
        if not self.closes_at[0] <= moment <= self.closes_at[-1]:
            raise CalendarRangeError(moment.date(), self.sessions[0], self.last_day)
        return self.sessions[bisect_right(self.closes_at, moment) - 1]

    def session_under_way(self, now: dt.datetime) -> dt.date | None:
        """The session that has opened at ``now`` (aware, any zone) and is not SETTLING behind its
        close, if any.

        A session of an exchange opens at 09:30 New York time; a market that never closes is always
        in one.
        """
        zone, opens = (NEW_YORK, OPENS) if self.name != ALWAYS_OPEN else (dt.UTC, dt.time())
        local = now.astimezone(zone)
        if not self.is_session(local.date()) or local.time() < opens:
            return None
        return local.date() if now < self.closes_at_of(local.date()) + SETTLING else None

    def closes_at_of(self, session: dt.date) -> dt.datetime:
        """The moment, in UTC, at which a session closes."""
        return self.closes_at[bisect_left(self.sessions, session)].replace(tzinfo=dt.UTC)

    @cached_property
    def session_array(self) -> np.ndarray[tuple[int], np.dtype[np.datetime64]]:
        """The sessions as a sorted ``datetime64[D]`` array, for bulk look-ups."""
        return np.array(self.sessions, dtype="datetime64[D]")

    def holidays(self, start: dt.date, end: dt.date) -> tuple[dt.date, ...]:
        """Weekdays from ``start`` to ``end`` on which the market stayed closed."""
        open_days = set(self.between(start, end))
        return tuple(day for day in weekdays(start, end) if day not in open_days)


def exchange_calendar(
    name: str, extra_closures: tuple[dt.date, ...] = (), today: dt.date | None = None
) -> Calendar:
    """The calendar of an exchange, by its ISO 10383 code such as ``XNYS``.

    ``extra_closures`` are days off that the library does not know, such as a day of mourning
    announced last week. It reaches a year beyond ``today`` at least, by default the machine's; a
    process that runs for long asks for it anew, and so never comes to its end.
    """
    day = today or dt.datetime.now(dt.UTC).date()
    return _calendar(name, extra_closures, day.replace(day=1))


@lru_cache(maxsize=8)
def _calendar(name: str, extra_closures: tuple[dt.date, ...], month: dt.date) -> Calendar:
    known = known_closes(name, month + dt.timedelta(days=31))
    for day in extra_closures:
        known.pop(day, None)
    return Calendar(name, tuple(known), tuple(known.values()))


def known_closes(name: str, today: dt.date) -> dict[dt.date, dt.datetime]:
    """Each session and its close (UTC, naive): of the stored list while it reaches a year ahead."""
    if name == ALWAYS_OPEN:
        return always_open_closes(today + YEARS_AHEAD)
    stored = stored_closes() if name == "XNYS" else {}
    enough = max(stored, default=FIRST_DAY) >= today + YEAR_AHEAD
    return stored if enough else library_closes(name, today + YEARS_AHEAD)


def stored_closes() -> dict[dt.date, dt.datetime]:
    """Each session of XNYS and its close (UTC, naive), by ``reference/xnys_closures.csv``.

    The list holds the weekdays without a close at 16:00 New York: an early close has its time, a
    day off has none. The first and last row state the first and last day the list covers.
    """
    stored = resources.files("quant_assets").joinpath("reference/xnys_closures.csv")
    rows = csv.DictReader(stored.read_text("utf-8").splitlines())
    listed = {dt.date.fromisoformat(row["day"]): row["closes"] for row in rows}
    found = {}
    for day in weekdays(min(listed), max(listed)):
        if closes := listed.get(day, "16:00"):
            local = dt.datetime.combine(day, dt.time.fromisoformat(closes))
            offset = NEW_YORK.utcoffset(local)  # ten times as fast as astimezone
            assert offset is not None
            found[day] = local - offset
    return found


def always_open_closes(until: dt.date) -> dict[dt.date, dt.datetime]:
    """Each day and the midnight, in UTC, at which it ends: the library would load pandas for it."""
    days = map(dt.date.fromordinal, range(FIRST_DAY.toordinal(), until.toordinal() + 1))
    return {day: dt.datetime.combine(day, dt.time()) + dt.timedelta(days=1) for day in days}


def library_closes(name: str, until: dt.date) -> dict[dt.date, dt.datetime]:
    """Each session and its close (UTC, naive), by exchange_calendars."""
    import exchange_calendars  # noqa: PLC0415 - slow to import, seldom needed
    import pandas as pd  # noqa: PLC0415

    with warnings.catch_warnings():
        # exchange_calendars 4.13 still uses what pandas 4 will change.
        warnings.filterwarnings("ignore", category=pd.errors.Pandas4Warning)
        raw = exchange_calendars.get_calendar(name, start=FIRST_DAY.isoformat(), end=until)
    closes = raw.closes.dt.tz_convert("UTC").dt.tz_localize(None)
    return dict(zip(raw.sessions.date, closes.dt.to_pydatetime(), strict=True))


def weekdays(start: dt.date, end: dt.date) -> list[dt.date]:
    """Mondays to Fridays from ``start`` to ``end``, both included."""
    days = map(dt.date.fromordinal, range(start.toordinal(), end.toordinal() + 1))
    return [day for day in days if day.weekday() < 5]
