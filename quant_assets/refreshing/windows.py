"""The window of a load that names its days: checked, and cut to the sessions that are known."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence

from quant_assets.loading.work import Window
from quant_assets.reference.calendars import Calendar, CalendarRangeError, OpenSessionError
from quant_assets.reference.errors import UsageError
from quant_assets.wiring.platform import Platform

Note = Callable[[str], None]
"""Called with a sentence that a user should read and that ends nothing."""


class NoSymbolsError(UsageError, ValueError):
    """A load that names symbols, and none."""

    def __init__(self) -> None:
        super().__init__("No symbol is named, so there is nothing to load. Name at least one.")


class ReversedDaysError(UsageError, ValueError):
    """A first day after the last."""

    def __init__(self, start: dt.date, end: dt.date) -> None:
        super().__init__(f"start {start} is after end {end}, so there is nothing to load.")


class NoSessionError(UsageError, ValueError):
    """Days of which none is a session."""

    def __init__(self, start: dt.date, end: dt.date) -> None:
        days = f"{start} is not" if start == end else f"None of {start} to {end} is"
        super().__init__(f"{days} a session of the exchange, so there is nothing to load.")


def window_of(
    platform: Platform,
    symbols: Sequence[str],
    start: dt.date | None = None,
    end: dt.date | None = None,
    *,
    days: int | None = None,
    on_note: Note = lambda text: None,
) -> Window:
    """Symbols from ``start`` to ``end``, by default the last closed session; without ``start`` from
    ``days`` before, by default those of the settings.

    A start before the first known session becomes that session, which is noted. Raises
    NoSymbolsError, ReversedDaysError, NoSessionError, OpenSessionError, CalendarRangeError.
    """
    if not symbols:
        raise NoSymbolsError
    if start and end and start > end:
        raise ReversedDaysError(start, end)
    calendars = [calendar for calendar, _ in platform.by_calendar(symbols)]
    known_from = min(calendar.sessions[0] for calendar in calendars)
    last_closed = max(calendar.last_closed_session(platform.clock()) for calendar in calendars)
    until = end or last_closed
    if until < known_from:
        raise CalendarRangeError(until, known_from, calendars[0].last_day)
    back = days or platform.settings.default_days
    since = start or until - dt.timedelta(days=min(back, until.toordinal() - 1))
    if since < known_from:
        on_note(f"Sessions are known from {known_from} on; the load begins there, not on {since}.")
        since = known_from
    if since > last_closed:
        raise OpenSessionError(since, last_closed)
    if not any(calendar.between(since, until) for calendar in calendars):
        raise NoSessionError(since, until)
    return Window(tuple(symbols), since, until)


def days_before(calendar: Calendar, until: dt.date, days: int) -> dt.date:
    """The day so many days before ``until``, or the first one that the calendar knows."""
    return until - dt.timedelta(days=min(days, (until - calendar.sessions[0]).days))
