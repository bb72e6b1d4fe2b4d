"""What a refresh requests: each symbol from the source that loaded it, to the last closed session.

From symbols or a universe to one window a source and calendar, which ``loading`` then plans in
detail. No source is requested and nothing written here.
"""

from __future__ import annotations

import datetime as dt
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import groupby
from operator import attrgetter

from quant_assets.loading.tasks import read_tasks
from quant_assets.loading.work import Window
from quant_assets.membership.unknown import UnknownUniverseError
from quant_assets.reference.calendars import Calendar
from quant_assets.reference.errors import UsageError
from quant_assets.reference.identity import Name, bearer_on
from quant_assets.refreshing.windows import days_before
from quant_assets.schema.prices import DAILY_PRICES
from quant_assets.schema.table import Table
from quant_assets.securities.names import read_names
from quant_assets.wiring.platform import Platform

LAST_LOOK_SESSIONS = 6
"""Sessions after which a symbol that left its universes is requested once more: a source takes so
many to confirm that trading ended. Until then a last session may be missing too."""

LAST_LOOK_DAYS = 60
"""Symbols that left longer ago than this are not requested."""


class NothingToRefreshError(UsageError, ValueError):
    """No symbols were named, and none are known."""

    def __init__(self) -> None:
        super().__init__(
            "There are no symbols to load yet. Name them (--symbols AAPL,MSFT), import an index "
            "(quant-assets universe import) or load something first (quant-assets quickstart AAPL)."
        )


@dataclass(frozen=True)
class Step:
    """Symbols of one dataset, source and calendar, with the sessions wanted of them.

    With ``force`` all of them are requested, also where nothing is due.
    """

    source: str
    calendar: Calendar
    window: Window
    force: bool = False
    dataset: str = DAILY_PRICES.name


@dataclass(frozen=True)
class Wanted:
    """A symbol to be kept up, its present bearer and source, and the sessions wanted of it."""

    symbol: str
    security: int | None
    source: str
    calendar: Calendar
    first: dt.date
    last: dt.date


_Groups = dict[tuple[str, str, dt.date], dict[str, dt.date]]
"""The first session wanted of each symbol, by source, calendar and last session."""


@dataclass(frozen=True)
class _Loaded:
    """What a source has loaded of a security: its first session, and when it was last fetched."""

    source: str
    first_session: dt.date
    fetched_at: dt.datetime


def _loads_of(table: Table) -> str:
    """SQL for the security, source, first day and last arrival of what is loaded of ``table``: by
    its rows where it has sessions, and those set aside, which a source may mend; else by what was
    requested.
    """
    if "session" in table.names:
        return (
            "select security_id, source, min(session), max(seen_at) from ("  # noqa: S608 - our own table
            f"select security_id, source, session, fetched_at as seen_at from {table.name}"
            " union all select security_id, source, session, asked_at from symbol_day_ledger"
            f" where dataset = '{table.name}' and outcome = 'quarantined'"
            ") group by all order by 1, 2"
        )
    return (
        "select security_id, source, min(asked_since), max(asked_at) from source_symbols"  # noqa: S608
        f" where dataset = '{table.name}' group by all order by 1, 2"
    )


@dataclass(frozen=True)
class _Known:
    """What is on record: names by symbol, loads by security, the present members of each universe,
    all members of any time, and the securities that are no longer traded.
    """

    today: dt.date
    names: Mapping[str, Sequence[Name]] = field(default_factory=dict)
    loaded: Mapping[int | None, Sequence[_Loaded]] = field(default_factory=dict)
    members: Mapping[str, Sequence[int]] = field(default_factory=dict)
    ever_members: frozenset[int] = frozenset()
    delisted: frozenset[int] = frozenset()

    @classmethod
    def of(cls, platform: Platform, table: Table, symbols: Sequence[str] = ()) -> _Known:
        """What is on record of those loaded, of members, and of further ``symbols``."""
        platform.warehouse.migrate()
        today = platform.clock().date()
        if not platform.warehouse.exists():
            return cls(today)
        loaded: dict[int | None, list[_Loaded]] = defaultdict(list)
        members: dict[str, list[int]] = defaultdict(list)
        with platform.warehouse.reading() as con:
            for security, *what in con.execute(_loads_of(table)).fetchall():
                loaded[security].append(_Loaded(*what))
            # Days as literals: DuckDB loads pandas for the first value that is bound, which takes
            # longer than all of this.
            memberships = con.execute(
                f"select u.universe, m.security_id, coalesce(m.effective_on <= date '{today}'"  # noqa: S608 - a day
                f" and (m.removed_on is null or m.removed_on > date '{today}'), false)"
                " from universes u left join universe_membership m using (universe) order by 1, 2",
            ).fetchall()
            delisted = con.execute(
                f"select security_id from securities where delisted_on <= date '{today}'"  # noqa: S608 - a day
            ).fetchall()
            ever = frozenset(security for _, security, _ in memberships if security is not None)
            found = read_names(con, symbols, ever.union(s for s in loaded if s is not None))
        names = {symbol: list(some) for symbol, some in groupby(found, attrgetter("symbol"))}
        for universe, security, present in memberships:
            members[universe] += [security] if present else []
        return cls(today, names, loaded, members, ever, frozenset(row[0] for row in delisted))

    def tickers(self, securities: Iterable[int]) -> tuple[str, ...]:
        """The present tickers of those that are still traded, in order."""
        bearers = {
            name.security_id: symbol
            for symbol, some in self.names.items()
            for name in some
            if name.overlaps(self.today, self.today)
        }
        return tuple(
            bearers[number]
            for number in dict.fromkeys(securities)
            if number in bearers and number not in self.delisted
        )

    def first_of(self, security: int | None, source: str) -> dt.date | None:
        """The first session that a source has loaded of a security."""
        loads = self.loaded.get(security, ())
        return next((each.first_session for each in loads if each.source == source), None)

    def first_session_beside(self, security: int | None) -> dt.date | None:
        """The earliest session stored of any member of a universe that a security is in."""
        return min(
            (
                each.first_session
                for members in self.members.values()
                if security in members
                for member in members
                for each in self.loaded.get(member, ())
            ),
            default=None,
        )


def refresh_steps(
    platform: Platform,
    *,
    symbols: Sequence[str] = (),
    universe: str = "",
    source: str = "",
    start: dt.date | None = None,
    end: dt.date | None = None,
    full: bool = False,
    table: Table = DAILY_PRICES,
) -> list[Step]:
    """The steps that bring symbols of ``table`` up to date: those named, the members of a universe,
    or else every member of any universe and whatever was loaded and never was a member, as long as
    it is traded. A symbol that left every universe is requested once more some sessions later.

    A symbol comes from ``source``, else from the one that loaded it last, else from that of the
    settings, else from Yahoo, or from the simulated market where that was loaded. It is wanted from
    its first stored session on; a new one from ``start``, else from the earliest session stored of
    a universe it is in, else the settings' default_days back; up to the last closed session, or to
    ``end`` before. With ``full`` all of that is requested again. Raises NothingToRefreshError,
    UnknownUniverseError.
    """
    known = _Known.of(platform, table, symbols)
    groups: _Groups = defaultdict(dict)
    tickers = symbols or _wanted(known, universe)
    for each in _each_wanted(platform, known, tickers, table, source=source, start=start, end=end):
        groups[each.source, each.calendar.name, each.last][each.symbol] = each.first
    steps = _steps(platform, groups, table, force=full)
    if not (symbols or universe):
        steps += _steps(platform, _last_looks(platform, known, source, table), table)
    return steps


def wanted_symbols(platform: Platform, table: Table = DAILY_PRICES) -> list[Wanted]:
    """What a refresh without symbols or a universe keeps up, each with its sessions. Raises
    NothingToRefreshError.
    """
    known = _Known.of(platform, table)
    return list(_each_wanted(platform, known, _wanted(known, ""), table))


def _each_wanted(
    platform: Platform,
    known: _Known,
    symbols: Sequence[str],
    table: Table,
    *,
    source: str = "",
    start: dt.date | None = None,
    end: dt.date | None = None,
) -> Iterator[Wanted]:
    usual = cache(lambda: platform.usual_source(table.name))
    for symbol in dict.fromkeys(symbols):
        security = bearer_on(known.names.get(symbol, ()), known.today)
        loads = known.loaded.get(security, ())
        newest = max(loads, key=lambda load: load.fetched_at).source if loads else ""
        chosen = source or newest or usual()
        calendar = platform.calendar_of(symbol)
        last = min(calendar.last_closed_session(platform.clock()), end or dt.date.max)
        first = known.first_of(security, chosen) or start
        if first is None and not loads:
            first = known.first_session_beside(security)
        new = days_before(calendar, last, platform.settings.default_days)
        yield Wanted(symbol, security, chosen, calendar, first or new, last)


def _steps(platform: Platform, groups: _Groups, table: Table, *, force: bool = False) -> list[Step]:
    return [
        Step(
            source,
            platform.calendar_of(next(iter(starts))),
            Window(tuple(starts), min(starts.values()), end, starts),
            force,
            table.name,
        )
        for (source, _, end), starts in groups.items()
    ]


def window_steps(
    platform: Platform, source: str, window: Window, table: Table = DAILY_PRICES
) -> list[Step]:
    """The symbols of one window as steps, one a calendar."""
    return [
        Step(source, calendar, replace(window, symbols=symbols), dataset=table.name)
        for calendar, symbols in platform.by_calendar(window.symbols)
    ]


def known_symbols(platform: Platform, table: Table = DAILY_PRICES) -> tuple[str, ...]:
    """The present members of all universes, and whatever was loaded and never was one. Raises
    NothingToRefreshError.
    """
    return _wanted(_Known.of(platform, table), "")


def open_steps(
    platform: Platform, *, given_up: bool = False, table: Table = DAILY_PRICES
) -> list[Step]:
    """The steps that go on with what was planned and has not been completed; with ``given_up``
    also what failed too often. Tickers all of whose bearers are delisted stay out.
    """
    if not platform.warehouse.exists():
        return []
    with platform.warehouse.reading() as con:
        tasks = read_tasks(con, table.name).values()
        delisted = set(
            con.execute(
                "select symbol from symbol_history join securities using (security_id)"
                " group by 1 having bool_and(coalesce(delisted_on <= ?, false))",
                [platform.clock().date()],
            ).fetchall()
        )
    groups: _Groups = defaultdict(dict)
    for task in tasks:
        if (task.open or (given_up and task.given_up)) and (task.symbol,) not in delisted:
            # A window that ended later than a task would make its attempts start anew.
            group = task.source, platform.calendar_of(task.symbol).name, task.end_session
            groups[group][task.symbol] = task.start_session
    return _steps(platform, groups, table)


def _wanted(known: _Known, universe: str) -> tuple[str, ...]:
    """The present tickers of a universe; without one, of all and of what never was in any."""
    if universe and universe not in known.members:
        raise UnknownUniverseError(universe, sorted(known.members))
    if universe:
        found = known.tickers(known.members[universe])
    else:
        members = [number for some in known.members.values() for number in some]
        others = [n for n in known.loaded if n is not None and n not in known.ever_members]
        found = known.tickers([*members, *others])
    if not found:
        raise NothingToRefreshError
    return found


def _last_looks(platform: Platform, known: _Known, only_source: str, table: Table) -> _Groups:
    """Symbols that left the last of their universes, requested of a live source once more to learn
    whether they are still traded.

    The window ends on the same session however often it fails, so that its attempts add up.
    """
    groups: _Groups = defaultdict(dict)
    if not platform.warehouse.exists():
        return groups
    with platform.warehouse.reading() as con:
        leavers = con.execute(
            "select security_id, max(removed_on) as left_on, s.source, s.symbol, max(s.asked_at)"
            " from universe_membership join source_symbols s using (security_id)"
            " where s.dataset = $dataset and ($source = '' or s.source = $source) group by all"
            " having bool_and(coalesce(removed_on <= $today, false)) and left_on >= $since"
            " order by 1",
            {
                "dataset": table.name,
                "source": only_source,
                "today": known.today,
                "since": known.today - dt.timedelta(days=LAST_LOOK_DAYS),
            },
        ).fetchall()
        tasks = read_tasks(con, table.name)
    for security, left_on, source, symbol, requested_at in leavers:
        calendar = platform.calendar_of(symbol)
        at = bisect_left(calendar.sessions, left_on) + LAST_LOOK_SESSIONS - 1
        end, first = calendar.sessions[at], known.first_of(security, source)
        task = tasks.get((source, symbol))
        if task is not None and task.end_session == end:
            wanted = task.open
        else:
            wanted = calendar.last_closed_session(requested_at.replace(tzinfo=dt.UTC)) < end
        closed = end <= calendar.last_closed_session(platform.clock())
        if wanted and closed and first and known.tickers([security]) == (symbol,):
            groups[source, calendar.name, end][symbol] = first
    return groups
