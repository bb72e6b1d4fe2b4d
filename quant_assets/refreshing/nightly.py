"""What an evening expects of the data and what it lacks: the rules of the nightly refresh.

Decided from a calendar, a moment and the warehouse. No source is asked, nothing is written, and
nothing here knows of Dagster: schedules and sensors turn the answers into runs.
"""

from __future__ import annotations

import datetime as dt
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

from quant_assets.datasets.daily_prices.key_states import key_states
from quant_assets.loading.tasks import FAILED, Task, read_tasks
from quant_assets.reference.calendars import Calendar
from quant_assets.refreshing.steps import NothingToRefreshError, known_symbols, refresh_steps
from quant_assets.schema.prices import DAILY_PRICES
from quant_assets.wiring.platform import Platform
from quant_assets.wiring.sources import FILES

NEW_YORK = ZoneInfo("America/New_York")

EVENING = dt.time(18, 30)
"""New York time from which a session's prices are expected: two and a half hours after a full day's
close, when late prints and corrections are in."""

LOOK_AGAIN = dt.timedelta(minutes=30)
"""How long to leave a source alone that lacks a session it was asked for."""

BACK_OFF_MINUTES = (15, 30, 60, 120)
"""How long a symbol that failed is left alone, after its first, second, third and fourth time."""

KEPT_UP_SESSIONS = 20
"""An archive of files whose newest row is older than this was loaded once and is not kept up:
nobody expects tonight's session of it."""

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
class Standing:
    """Where the symbols that are kept up stand on one session.

    ``present`` have its row and ``empty`` are confirmed to have none; ``lacking`` have neither,
    each with its task if it was ever asked for. ``unattended`` are those of archives that nobody
    keeps up.
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

    def to_ask(self) -> tuple[str, ...]:
        """The symbols to be asked for. Those that failed on the session have a back-off of their
        own, and those given up on it are left to a user.
        """
        return tuple(
            symbol
            for symbol, task in self.lacking.items()
            if symbol not in self.unattended and not self._failed(task)
        )

    def held_until(self, now: dt.datetime) -> dt.datetime | None:
        """Until when a source is not to be asked, if it is being left alone; UTC, naive."""
        waiting = (task for task in self.lacking.values() if task and task.waits(_naive(now)))
        return min((task.retry_at for task in waiting if task.retry_at), default=None)

    def describe(self) -> str:
        """Who lacks the session and why, in words."""
        if not self.symbols:
            return "No symbols are known here yet: nothing is expected of anyone."
        if not self.lacking:
            return f"All {self.symbols} symbols have {self.session}."
        said = (
            f"{len(self.lacking)} of {self.symbols} symbols lack {self.session}: "
            f"{named(list(self.lacking))}."
        )
        errors = Counter(task.error for task in self.lacking.values() if task and task.error)
        if not errors:
            return said
        [(error, _)] = errors.most_common(1)
        return f"{said} {error.rstrip('.')}."

    def _failed(self, task: Task | None) -> bool:
        return task is not None and task.state == FAILED and task.covers(self.session, self.session)


def standing(platform: Platform, session: dt.date, calendar: Calendar | None = None) -> Standing:
    """Where the symbols of a calendar, the exchange's unless told, stand on ``session``.

    They are the ones that a refresh would bring up to date.
    """
    market = calendar or platform.calendar
    try:
        steps = refresh_steps(platform, symbols=known_symbols(platform))
    except NothingToRefreshError:
        return Standing(session)
    sources = {
        symbol: step.source
        for step in steps
        if step.calendar.name == market.name and step.window.end >= session
        for symbol in step.window.symbols
    }
    asked = dict.fromkeys(sources, (session,))
    found = key_states(platform.warehouse, DAILY_PRICES, asked, session)
    lacking = sorted(symbol for symbol, _ in found.failed)
    with platform.warehouse.reading() as con:
        tasks = read_tasks(con, DAILY_PRICES.name)
        newest = dict(
            con.execute("select source, max(session) from daily_prices group by 1").fetchall()
        )
    at = bisect_left(market.sessions, session)
    oldest = market.sessions[max(at - KEPT_UP_SESSIONS, 0)]
    return Standing(
        session,
        len(found.good),
        len(found.empty),
        {symbol: tasks.get((sources[symbol], symbol)) for symbol in lacking},
        frozenset(s for s in lacking if _is_unattended(sources[s], newest, oldest)),
    )


def _is_unattended(source: str, newest: Mapping[str, dt.date], oldest: dt.date) -> bool:
    return source.startswith(FILES) and source in newest and newest[source] < oldest


@dataclass(frozen=True)
class Retries:
    """Tasks that failed: those ``due`` again, how many are still left alone, and who was given up;
    ``given_up`` are left to a user.
    """

    due: tuple[Task, ...] = ()
    waiting: int = 0
    given_up: tuple[str, ...] = ()


def retries(platform: Platform, now: dt.datetime) -> Retries:
    """What of the tasks that failed is to be asked for again at ``now``."""
    if not platform.warehouse.exists():
        return Retries()
    platform.warehouse.migrate()
    with platform.warehouse.reading() as con:
        tasks = read_tasks(con, DAILY_PRICES.name)
        failed_at = con.execute(
            "select source, symbol, updated_at from load_tasks"
            " where dataset = ? and state = ? order by 1, 2",
            [DAILY_PRICES.name, FAILED],
        ).fetchall()
    due, waiting, given_up = [], 0, []
    for source, symbol, at in failed_at:
        task = tasks[source, symbol]
        if task.given_up:
            given_up.append(symbol)
        elif at + back_off(task.attempts) <= _naive(now):
            due.append(task)
        else:
            waiting += 1
    return Retries(tuple(due), waiting, tuple(given_up))


def back_off(attempts: int) -> dt.timedelta:
    """How long a symbol is left alone that failed so many times in a row."""
    return dt.timedelta(minutes=BACK_OFF_MINUTES[min(attempts, len(BACK_OFF_MINUTES)) - 1])


def named(symbols: Sequence[str]) -> str:
    """Symbols in a sentence: the first of them, and how many more."""
    more = len(symbols) - NAMED
    return f"{', '.join(symbols[:NAMED])}{f' and {more} more' if more > 0 else ''}"


def _naive(moment: dt.datetime) -> dt.datetime:
    return moment.astimezone(dt.UTC).replace(tzinfo=None)
