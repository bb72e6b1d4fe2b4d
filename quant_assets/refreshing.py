"""What a refresh asks for: each symbol from the source that loaded it, to the last closed session.

From symbols or a universe to one window a source and calendar, which ``loading`` then plans in
detail. Nothing is asked and nothing written here.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from quant_assets.calendars import Calendar
from quant_assets.identity import Name, bearer_on
from quant_assets.planning import Window
from quant_assets.platform import YAHOO, Platform
from quant_assets.read import UnknownUniverseError
from quant_assets.securities import read_names
from quant_assets.tables import DAILY_PRICES
from quant_assets.tasks import Task, read_tasks

DATASETS = (DAILY_PRICES.name,)
"""What can be refreshed so far."""

DEFAULT_UNIVERSE = "sp500"


class NothingToRefreshError(ValueError):
    """No symbols were named, and none are known."""

    def __init__(self) -> None:
        super().__init__(
            "There are no symbols to load yet. Name them (--symbols AAPL,MSFT), import an index "
            "(quant-assets universe import) or load something first (quant-assets quickstart AAPL)."
        )


@dataclass(frozen=True)
class Step:
    """Symbols of one source and one calendar, with the sessions wanted of them."""

    source: str
    calendar: Calendar
    window: Window


@dataclass(frozen=True)
class _Loaded:
    """What a source has loaded of a security: its first session, and when it was last asked."""

    source: str
    first_session: dt.date
    fetched_at: dt.datetime


def refresh_steps(
    platform: Platform,
    *,
    symbols: Sequence[str] = (),
    universe: str = "",
    source: str = "",
    start: dt.date | None = None,
) -> list[Step]:
    """The steps that bring symbols up to date: those named, the members of a universe, or else
    every member and every symbol that was ever loaded and still trades.

    A symbol comes from ``source``, else from the one that loaded it last, else from that of the
    settings, else from Yahoo. It is wanted from its first stored session on; a new one from
    ``start`` or the settings' default_days back. Raises NothingToRefreshError,
    UnknownUniverseError.
    """
    names, loaded = _names_and_loaded(platform)
    wanted = symbols or _wanted(platform, names, loaded, universe)
    today = platform.clock().date()
    groups: dict[tuple[str, str], dict[str, dt.date | None]] = {}
    for symbol in dict.fromkeys(wanted):
        security = bearer_on(names.get(symbol, ()), today)
        held = loaded.get(security, ()) if security is not None else ()
        chosen = source or _source_of(platform, held)
        first = next((each.first_session for each in held if each.source == chosen), None)
        calendar = platform.calendar_of(symbol)
        groups.setdefault((chosen, calendar.name), {})[symbol] = first
    return [_step(platform, chosen, firsts, start) for (chosen, _), firsts in groups.items()]


def known_symbols(platform: Platform) -> tuple[str, ...]:
    """The index's present members, and whatever was loaded and still trades. Raises
    NothingToRefreshError.
    """
    return _wanted(platform, *_names_and_loaded(platform), "")


def open_steps(platform: Platform, *, given_up: bool = False) -> list[Step]:
    """The steps that go on with what was planned and has not been completed; with ``given_up``
    also what failed too often.
    """
    if not platform.warehouse.exists():
        return []
    with platform.warehouse.reading() as con:
        held = read_tasks(con, DAILY_PRICES.name).values()
    tasks = [task for task in held if task.open or (given_up and task.given_up)]
    groups: dict[tuple[str, str], list[Task]] = {}
    for task in tasks:
        groups.setdefault((task.source, platform.calendar_of(task.symbol).name), []).append(task)
    return [
        Step(
            source,
            platform.calendar_of(some[0].symbol),
            Window(
                tuple(task.symbol for task in some),
                min(task.start_session for task in some),
                max(task.end_session for task in some),
                {task.symbol: task.start_session for task in some},
            ),
        )
        for (source, _), some in groups.items()
    ]


def _step(
    platform: Platform,
    source: str,
    firsts: Mapping[str, dt.date | None],
    start: dt.date | None,
) -> Step:
    calendar = platform.calendar_of(next(iter(firsts)))
    end = calendar.last_closed_session(platform.clock())
    new = start or end - dt.timedelta(days=platform.settings.default_days)
    starts = {symbol: first or new for symbol, first in firsts.items()}
    return Step(source, calendar, Window(tuple(starts), min(starts.values()), end, starts))


def _source_of(platform: Platform, held: Sequence[_Loaded]) -> str:
    if held:
        return max(held, key=lambda each: each.fetched_at).source
    return platform.settings.source or YAHOO


def _wanted(
    platform: Platform,
    names: Mapping[str, Sequence[Name]],
    loaded: Mapping[int, Sequence[_Loaded]],
    universe: str,
) -> tuple[str, ...]:
    """Tickers of the present: members of the universe, or of the index and whatever was loaded."""
    today = platform.clock().date()
    bearers = {
        name.security_id: symbol
        for symbol, some in names.items()
        for name in some
        if name.overlaps(today, today)
    }
    members = _members(platform)
    if universe and universe not in members:
        raise UnknownUniverseError(universe, sorted(members))
    in_it = members.get(universe or DEFAULT_UNIVERSE, ())
    securities = [*in_it, *(() if universe else loaded)]
    found = tuple(bearers[number] for number in dict.fromkeys(securities) if number in bearers)
    if not found:
        raise NothingToRefreshError
    return found


def _members(platform: Platform) -> dict[str, list[int]]:
    """The present members of each universe."""
    members: dict[str, list[int]] = {}
    if not platform.warehouse.exists():
        return members
    with platform.warehouse.reading() as con:
        rows = con.execute(
            "select u.universe, m.security_id from universes u left join universe_membership m"
            " on m.universe = u.universe and (m.removed_on is null or m.removed_on > ?)"
            " order by 1, 2",
            [platform.clock().date()],
        ).fetchall()
    for universe, security in rows:
        members.setdefault(universe, []).extend([] if security is None else [security])
    return members


def _names_and_loaded(
    platform: Platform,
) -> tuple[dict[str, list[Name]], dict[int, list[_Loaded]]]:
    names: dict[str, list[Name]] = {}
    loaded: dict[int, list[_Loaded]] = {}
    platform.warehouse.migrate()
    if not platform.warehouse.exists():
        return names, loaded
    with platform.warehouse.reading() as con:
        for name in read_names(con):
            names.setdefault(name.symbol, []).append(name)
        rows = con.execute(
            "select security_id, source, min(session), max(fetched_at) from daily_prices"
            " group by all order by 1, 2"
        ).fetchall()
    for security, source, first, fetched_at in rows:
        loaded.setdefault(security, []).append(_Loaded(source, first, fetched_at))
    return names, loaded
