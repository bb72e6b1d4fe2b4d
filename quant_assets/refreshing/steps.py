"""What a refresh asks for: each symbol from the source that loaded it, to the last closed session.

From symbols or a universe to one window a source and calendar, which ``loading`` then plans in
detail. Nothing is asked and nothing written here.
"""

from __future__ import annotations

import datetime as dt
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from quant_assets.loading.tasks import Task, read_tasks
from quant_assets.loading.work import Window
from quant_assets.membership.unknown import UnknownUniverseError
from quant_assets.reference.calendars import Calendar
from quant_assets.reference.errors import UsageError
from quant_assets.reference.identity import Name, bearer_on
from quant_assets.schema.prices import DAILY_PRICES
from quant_assets.securities.names import read_names
from quant_assets.wiring.platform import Platform
from quant_assets.wiring.sources import YAHOO

DATASETS = (DAILY_PRICES.name,)
"""What can be refreshed so far."""

LAST_LOOK_SESSIONS = 6
"""Sessions after which a symbol that left its universes is asked for once more: so many does it
take until a source confirms that trading ended. Till then a last session may be missing too."""

LAST_LOOK_DAYS = 60
"""How long after it left; further back nobody looks."""


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

    With ``force`` all of them are to be asked for, also where nothing is due.
    """

    source: str
    calendar: Calendar
    window: Window
    force: bool = False
    dataset: str = DAILY_PRICES.name


@dataclass(frozen=True)
class _Loaded:
    """What a source has loaded of a security: its first session, and when it was last asked."""

    source: str
    first_session: dt.date
    fetched_at: dt.datetime


@dataclass(frozen=True)
class _Known:
    """What is on record: names by symbol, loads by security, the present members of each universe,
    everybody who ever was one, and who is traded no more.
    """

    today: dt.date
    names: Mapping[str, Sequence[Name]] = field(default_factory=dict)
    loaded: Mapping[int, Sequence[_Loaded]] = field(default_factory=dict)
    members: Mapping[str, Sequence[int]] = field(default_factory=dict)
    ever_members: frozenset[int] = frozenset()
    delisted: frozenset[int] = frozenset()

    @classmethod
    def of(cls, platform: Platform) -> _Known:
        platform.warehouse.migrate()
        today = platform.clock().date()
        if not platform.warehouse.exists():
            return cls(today)
        names: dict[str, list[Name]] = {}
        loaded: dict[int, list[_Loaded]] = {}
        with platform.warehouse.reading() as con:
            for name in read_names(con):
                names.setdefault(name.symbol, []).append(name)
            for security, *what in con.execute(
                "select security_id, source, min(session), max(fetched_at) from daily_prices"
                " group by all order by 1, 2"
            ).fetchall():
                loaded.setdefault(security, []).append(_Loaded(*what))
            stays = con.execute(
                "select u.universe, m.security_id, coalesce(m.effective_on <= $today"
                " and (m.removed_on is null or m.removed_on > $today), false) from universes u"
                " left join universe_membership m using (universe) order by 1, 2",
                {"today": today},
            ).fetchall()
            gone = con.execute(
                "select security_id from securities where delisted_on <= ?", [today]
            ).fetchall()
        members: dict[str, list[int]] = {}
        for universe, security, present in stays:
            members.setdefault(universe, []).extend([security] if present else [])
        ever = frozenset(security for _, security, _ in stays if security is not None)
        return cls(today, names, loaded, members, ever, frozenset(row[0] for row in gone))

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
        held = self.loaded.get(security, ()) if security is not None else ()
        return next((each.first_session for each in held if each.source == source), None)

    def first_session_beside(self, security: int) -> dt.date | None:
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
) -> list[Step]:
    """The steps that bring symbols up to date: those named, the members of a universe, or else
    every member of any universe and whatever was loaded and never was a member, as long as it is
    traded. Who left every universe is asked for once more some sessions later, and then no more.

    A symbol comes from ``source``, else from the one that loaded it last, else from that of the
    settings, else from Yahoo. It is wanted from its first stored session on; a new one from
    ``start``, else from the earliest session stored of a universe it is in, else the settings'
    default_days back; up to the last closed session, or to ``end`` before. With ``full`` all of
    that is asked for again. Raises NothingToRefreshError, UnknownUniverseError.
    """
    known = _Known.of(platform)
    wanted = symbols or _wanted(known, universe)
    groups: dict[tuple[str, str], dict[str, dt.date | None]] = {}
    for symbol in dict.fromkeys(wanted):
        chosen, first = _chosen(platform, known, symbol, source, start)
        calendar = platform.calendar_of(symbol)
        groups.setdefault((chosen, calendar.name), {})[symbol] = first
    steps = [
        _step(platform, chosen, firsts, end or dt.date.max, force=full)
        for (chosen, _), firsts in groups.items()
    ]
    return steps if symbols or universe else [*steps, *_last_looks(platform, known, source)]


def window_steps(
    platform: Platform, source: str, window: Window, dataset: str = DAILY_PRICES.name
) -> list[Step]:
    """The symbols of one window as steps, one a calendar."""
    return [
        Step(source, calendar, replace(window, symbols=symbols), dataset=dataset)
        for calendar, symbols in platform.by_calendar(window.symbols)
    ]


def known_symbols(platform: Platform) -> tuple[str, ...]:
    """The present members of all universes, and whatever was loaded and never was one. Raises
    NothingToRefreshError.
    """
    return _wanted(_Known.of(platform), "")


def open_steps(platform: Platform, *, given_up: bool = False) -> list[Step]:
    """The steps that go on with what was planned and has not been completed; with ``given_up``
    also what failed too often. Tickers that nobody bears any more but who was delisted stay out.
    """
    if not platform.warehouse.exists():
        return []
    with platform.warehouse.reading() as con:
        held = read_tasks(con, DAILY_PRICES.name).values()
    gone = _delisted_tickers(platform)
    tasks = [
        task
        for task in held
        if (task.open or (given_up and task.given_up)) and task.symbol not in gone
    ]
    # A window that ended later than a task would make its attempts start anew.
    groups: dict[tuple[str, str, dt.date], list[Task]] = {}
    for task in tasks:
        calendar = platform.calendar_of(task.symbol)
        groups.setdefault((task.source, calendar.name, task.end_session), []).append(task)
    return [
        Step(
            source,
            platform.calendar_of(some[0].symbol),
            Window(
                tuple(task.symbol for task in some),
                min(task.start_session for task in some),
                end,
                {task.symbol: task.start_session for task in some},
            ),
        )
        for (source, _, end), some in groups.items()
    ]


def _delisted_tickers(platform: Platform) -> set[str]:
    """Tickers all of whose bearers are traded no more."""
    with platform.warehouse.reading() as con:
        rows = con.execute(
            "select symbol from symbol_history join securities using (security_id)"
            " group by 1 having bool_and(coalesce(delisted_on <= ?, false))",
            [platform.clock().date()],
        ).fetchall()
    return {row[0] for row in rows}


def _chosen(
    platform: Platform, known: _Known, symbol: str, source: str, start: dt.date | None
) -> tuple[str, dt.date | None]:
    """The source to ask for a symbol, and the first day wanted; None where nothing says."""
    security = bearer_on(known.names.get(symbol, ()), known.today)
    held = known.loaded.get(security, ()) if security is not None else ()
    chosen = source or _source_of(platform, held)
    first = known.first_of(security, chosen) or start
    if first is None and security is not None and not held:
        first = known.first_session_beside(security)
    return chosen, first


def _step(
    platform: Platform,
    source: str,
    firsts: Mapping[str, dt.date | None],
    until: dt.date,
    *,
    force: bool,
) -> Step:
    calendar = platform.calendar_of(next(iter(firsts)))
    end = min(calendar.last_closed_session(platform.clock()), until)
    new = end - dt.timedelta(days=platform.settings.default_days)
    starts = {symbol: first or new for symbol, first in firsts.items()}
    return Step(source, calendar, Window(tuple(starts), min(starts.values()), end, starts), force)


def _source_of(platform: Platform, held: Sequence[_Loaded]) -> str:
    if held:
        return max(held, key=lambda each: each.fetched_at).source
    return platform.settings.source or YAHOO


def _wanted(known: _Known, universe: str) -> tuple[str, ...]:
    """Tickers of the present: members of the universe, or of all and who never was in any."""
    if universe and universe not in known.members:
        raise UnknownUniverseError(universe, sorted(known.members))
    if universe:
        found = known.tickers(known.members[universe])
    else:
        members = [number for some in known.members.values() for number in some]
        others = [number for number in known.loaded if number not in known.ever_members]
        found = known.tickers([*members, *others])
    if not found:
        raise NothingToRefreshError
    return found


def _last_looks(platform: Platform, known: _Known, source: str) -> list[Step]:
    """One more look at who left, to learn whether it is traded still.

    It ends on the same session however often it fails, so that its attempts add up.
    """
    groups: dict[tuple[str, str, dt.date], dict[str, dt.date]] = {}
    for left in _leavers(platform, known):
        calendar = platform.calendar_of(left.symbol)
        at = bisect_left(calendar.sessions, left.removed_on) + LAST_LOOK_SESSIONS - 1
        end = calendar.sessions[at]
        first = known.first_of(left.security_id, left.source)
        if (
            first is not None
            and source in ("", left.source)
            and end <= calendar.last_closed_session(platform.clock())
            and left.is_wanted(calendar, end)
        ):
            groups.setdefault((left.source, calendar.name, end), {})[left.symbol] = first
    return [
        Step(
            asked,
            platform.calendar_of(next(iter(starts))),
            Window(tuple(starts), min(starts.values()), end, starts),
        )
        for (asked, _, end), starts in groups.items()
    ]


@dataclass(frozen=True)
class _Leaver:
    """Who left the last of its universes, as a live source knows it; ``asked_at`` is UTC, naive."""

    security_id: int
    removed_on: dt.date
    source: str
    symbol: str
    asked_at: dt.datetime
    task: Task | None

    def is_wanted(self, calendar: Calendar, end: dt.date) -> bool:
        """Whether nobody has asked since the session ``end`` closed, or that has failed so far."""
        if self.task is not None and self.task.end_session == end:
            return self.task.open
        return calendar.last_closed_session(self.asked_at.replace(tzinfo=dt.UTC)) < end


def _leavers(platform: Platform, known: _Known) -> list[_Leaver]:
    if not platform.warehouse.exists():
        return []
    with platform.warehouse.reading() as con:
        rows = con.execute(
            "select security_id, max(removed_on) as left_on, s.source, s.symbol, max(s.asked_at)"
            " from universe_membership join source_symbols s using (security_id)"
            " where s.dataset = 'daily_prices' group by all"
            " having bool_and(coalesce(removed_on <= $today, false)) and left_on >= $since"
            " order by 1",
            {"today": known.today, "since": known.today - dt.timedelta(days=LAST_LOOK_DAYS)},
        ).fetchall()
        tasks = read_tasks(con, DAILY_PRICES.name)
    leavers = [
        _Leaver(security, left_on, source, symbol, asked_at, tasks.get((source, symbol)))
        for security, left_on, source, symbol, asked_at in rows
    ]
    return [each for each in leavers if known.tickers([each.security_id]) == (each.symbol,)]
