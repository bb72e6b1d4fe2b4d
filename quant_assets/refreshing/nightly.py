"""What an evening expects of the data and what it lacks: the rules of the nightly refresh.

Decided from a calendar, a moment and the warehouse. No source is requested, nothing is written, and
nothing here knows of Dagster: schedules and sensors turn the findings into runs.
"""

from __future__ import annotations

import datetime as dt
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

import duckdb

from quant_assets.loading.recording import naive_utc
from quant_assets.loading.tasks import FAILED, Task, read_tasks
from quant_assets.reference.calendars import Calendar
from quant_assets.refreshing.steps import NothingToRefreshError, wanted_symbols
from quant_assets.schema.table import Table
from quant_assets.wiring.platform import Platform
from quant_assets.wiring.sources import FILES

NEW_YORK = ZoneInfo("America/New_York")

EVENING = dt.time(18, 30)
"""New York time from which a session's prices are expected: two and a half hours after a full day's
close, when late prints and corrections are in."""

LOOK_AGAIN = dt.timedelta(minutes=30)
"""How long to leave a source alone that lacks a requested session."""

BACK_OFF_MINUTES = (15, 30, 60, 120)
"""How long a symbol is left alone after its first, second, third and fourth failure."""

KEPT_UP_SESSIONS = 20
"""An archive of files whose newest row is older than this was loaded once and is not kept up:
tonight's session is not expected of it."""

NAMED = 20
"""Symbols that a sentence names, at most."""


def evening_of(session: dt.date) -> dt.datetime:
    """The moment from which a session's prices are expected, in UTC."""
    return dt.datetime.combine(session, EVENING, NEW_YORK).astimezone(dt.UTC)


def expected_session(calendar: Calendar, now: dt.datetime) -> dt.date:
    """The newest session of the exchange whose evening has come; ``now`` is aware."""
    last = calendar.last_closed_session(now)
    if evening_of(last) <= now:
        return last
    return calendar.sessions[bisect_left(calendar.sessions, last) - 1]


def session_after(calendar: Calendar, day: dt.date) -> dt.date:
    """The first session after ``day``."""
    return calendar.sessions[bisect_right(calendar.sessions, day)]


def in_words(day: dt.date) -> str:
    return f"{day:%A} {day}"


@dataclass(frozen=True)
class SessionCoverage:
    """Which of the symbols that are kept up have one session.

    ``present`` have its row and ``empty`` are confirmed to have none; ``lacking`` have neither,
    each with its task if it was ever requested. ``unattended`` are those of archives that are not
    kept up.
    """

    session: dt.date
    present: int = 0
    empty: int = 0
    lacking: Mapping[str, Task | None] = field(default_factory=dict)
    unattended: frozenset[str] = frozenset()

    @property
    def symbols(self) -> int:
        return self.present + self.empty + len(self.lacking)

    @property
    def complete(self) -> bool:
        return self.symbols > 0 and not self.lacking

    def to_request(self, now: dt.datetime) -> tuple[str, ...]:
        """The symbols to be requested at ``now`` (aware). Those that wait hold no others; those
        that failed on the session have a back-off of their own, and those given up on it are left
        to a user.
        """
        failed = {
            symbol
            for symbol, task in self.lacking.items()
            if task and task.state == FAILED and task.covers(self.session, self.session)
        }
        waiting = {s for s, task in self.lacking.items() if task and task.waits(naive_utc(now))}
        return tuple(s for s in self.lacking if s not in self.unattended | failed | waiting)

    def waiting_until(self, now: dt.datetime) -> dt.datetime | None:
        """When a source that is being left alone may be requested again, if any is; UTC, naive."""
        waiting = (task for task in self.lacking.values() if task and task.waits(naive_utc(now)))
        return min((task.retry_at for task in waiting if task.retry_at), default=None)

    def describe(self) -> str:
        """Which symbols lack the session and why, in words."""
        if not self.symbols:
            return "No symbols are known here yet, so none are expected."
        if not self.lacking:
            return f"All {self.symbols} symbols have {self.session}."
        errors = Counter(task.error for task in self.lacking.values() if task and task.error)
        return " ".join(
            [
                f"{len(self.lacking)} of {self.symbols} symbols lack {self.session}:",
                f"{named(list(self.lacking))}.",
                *(f"{error.rstrip('.')}." for error, _ in errors.most_common(1)),
            ]
        )


def session_coverage(
    platform: Platform, table: Table, session: dt.date, calendar: Calendar | None = None
) -> SessionCoverage:
    """Which symbols of a calendar, by default the exchange's, have ``session`` in ``table``.

    The symbols are those that a refresh would bring up to date.
    """
    from quant_assets.datasets.daily_prices.key_states import key_states

    market = calendar or platform.calendar
    try:
        wanted = wanted_symbols(platform, table)
    except NothingToRefreshError:
        return SessionCoverage(session)
    sources = {
        each.symbol: each.source
        for each in wanted
        if each.calendar.name == market.name and each.last >= session
    }
    found = key_states(platform.warehouse, table, dict.fromkeys(sources, (session,)), session)
    with platform.warehouse.reading() as con:
        tasks = read_tasks(con, table.name)
        newest = newest_sessions(con, table)
    lacking = {
        symbol: tasks.get((sources[symbol], symbol))
        for symbol in sorted(symbol for symbol, _ in found.failed)
    }
    unattended = frozenset(
        symbol
        for symbol in lacking
        if is_unattended(sources[symbol], newest.get(sources[symbol]), session, market)
    )
    return SessionCoverage(session, len(found.good), len(found.empty), lacking, unattended)


def newest_sessions(con: duckdb.DuckDBPyConnection, table: Table) -> dict[str, dt.date]:
    """The newest session of each source in ``table``."""
    return dict(
        con.execute(
            f"select source, max(session) from {table.name} group by 1"  # noqa: S608 - our own
        ).fetchall()
    )


def is_unattended(
    source: str, newest: dt.date | None, session: dt.date, calendar: Calendar
) -> bool:
    """Whether a source, with ``newest`` as its last row, is an archive that is not kept up."""
    at = bisect_left(calendar.sessions, session)
    oldest = calendar.sessions[max(at - KEPT_UP_SESSIONS, 0)]
    return source.startswith(FILES) and newest is not None and newest < oldest


@dataclass(frozen=True)
class Retries:
    """Tasks that failed: those ``due`` again, the number still left alone, and the symbols
    ``given_up``, which are left to a user.
    """

    due: tuple[Task, ...] = ()
    waiting: int = 0
    given_up: tuple[str, ...] = ()


def retries(platform: Platform, table: Table, now: dt.datetime) -> Retries:
    """Which failed tasks of ``table`` are to be requested again at ``now``."""
    if not platform.warehouse.exists():
        return Retries()
    platform.warehouse.migrate()
    with platform.warehouse.reading() as con:
        tasks = read_tasks(con, table.name)
        failed = [
            (tasks[source, symbol], failed_at)
            for source, symbol, failed_at in con.execute(
                "select source, symbol, updated_at from load_tasks"
                " where dataset = ? and state = ? order by 1, 2",
                [table.name, FAILED],
            ).fetchall()
        ]
    given_up = tuple(task.symbol for task, _ in failed if task.given_up)
    due = tuple(
        task
        for task, failed_at in failed
        if not task.given_up
        and not failed_at <= naive_utc(now) < failed_at + back_off(task.attempts)
    )
    return Retries(due, len(failed) - len(due) - len(given_up), given_up)


def back_off(attempts: int) -> dt.timedelta:
    """How long a symbol is left alone after failing so many times in a row."""
    return dt.timedelta(minutes=BACK_OFF_MINUTES[min(attempts, len(BACK_OFF_MINUTES)) - 1])


def named(symbols: Sequence[str]) -> str:
    """Symbols in a sentence: the first of them, and how many more."""
    more = len(symbols) - NAMED
    return f"{', '.join(symbols[:NAMED])}{f' and {more} more' if more > 0 else ''}"
