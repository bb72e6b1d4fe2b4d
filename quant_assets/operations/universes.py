"""Changes of universes as Python functions. The command line calls the same ones."""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from quant_assets.contracts.source import BadAnswer
from quant_assets.fetching.http import fetch, is_address, read_path
from quant_assets.journal.progress import unwatched
from quant_assets.loading.market import is_simulated
from quant_assets.membership.custom import (
    CustomChange,
    MemberChange,
    add_members,
    create_universe,
    is_custom,
    remove_members,
)
from quant_assets.membership.custom_errors import CustomUniverseError, SymbolListError
from quant_assets.membership.report import UniverseReport
from quant_assets.membership.take_back import take_back
from quant_assets.operations.workplace import Workplace, workplace_of
from quant_assets.read.arguments import Day, day_of
from quant_assets.reference.identity import (
    InvalidSymbolError,
    canonical_symbol,
    known_identities,
)
from quant_assets.reference.listings import WHY_NOT, foreign_listing, refuse_foreign
from quant_assets.reference.secrets import masked
from quant_assets.refreshing.membership import INDEX, refresh_membership
from quant_assets.settings.settings import Settings
from quant_assets.sources.index_members.lists import MembershipLists
from quant_assets.sources.index_members.rows import read_symbols

Symbols = str | int | Iterable[str | int]
Lists = str | Path | Iterable[str | Path]


class NothingNamedError(CustomUniverseError):
    """A change of a universe that names no symbol."""

    def __init__(self) -> None:
        super().__init__(
            "No symbol was named. Give some, or a list (--from FILE; lists= in Python)."
        )


class NotInSimulationError(CustomUniverseError):
    """Real symbols on their way into a folder of the simulated market."""

    def __init__(self, symbols: Sequence[str]) -> None:
        super().__init__(
            f"{', '.join(symbols[:5])}: not in the simulated market that this data folder holds, "
            "so no refresh could load it. Nothing was changed. Real symbols need a data folder of "
            "their own (QUANT_ASSETS_HOME)."
        )


class NotForCustomError(CustomUniverseError):
    """An argument of index lists, for a universe that users decide."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{name} is a universe of your own: no on (--on) and no accept (--accept)."
        )


def universe_create(
    name: str,
    symbols: Symbols = (),
    *,
    lists: Lists = (),
    since: Day | None = None,
    skip_invalid: bool = False,
    home: Path | str | None = None,
    settings: Settings | None = None,
    within: Workplace | None = None,
) -> CustomChange:
    """Make a universe of your own, with its first members if you name some. They belong to it
    ``since`` a day, by default today, the day in UTC.

    ``symbols`` are tickers or security ids; ``lists`` files or URLs of symbols, CSV or JSON. A text
    that can't be a symbol is refused and nothing changed, or left out with ``skip_invalid``.
    ``settings`` are used as they are, in place of those found for ``home``. ``within`` is for the
    command line.

    Returns the number of members, and what became of each symbol. Raises CustomUniverseError,
    ForeignListingError, AmbiguousSymbolError, UnknownSymbolError, SourceError (a list can't be
    read) and WarehouseError, such as WarehouseBusyError where another writer holds the lock.
    """
    work = within or workplace_of(home, settings, unwatched)

    given = _on_the_market(work, _given(symbols, lists), skip_invalid=skip_invalid)
    warehouse = work.platform.warehouse
    changed = create_universe(
        warehouse,
        name,
        given.symbols,
        known_identities(),
        since=_since(since),
        skip_invalid=skip_invalid,
    )
    return given.changed(work, changed)


def universe_add(
    name: str,
    symbols: Symbols = (),
    *,
    lists: Lists = (),
    since: Day | None = None,
    skip_invalid: bool = False,
    home: Path | str | None = None,
    settings: Settings | None = None,
    within: Workplace | None = None,
) -> CustomChange:
    """Make symbols members of a universe of your own, from today on or ``since`` a day; a member
    stays one.

    An unknown symbol becomes a security without prices, until ``refresh`` loads them. Arguments,
    result and errors are as for ``universe_create``; also UnknownUniverseError.
    """
    work = within or workplace_of(home, settings, unwatched)

    given = _on_the_market(work, _named(symbols, lists), skip_invalid=skip_invalid)
    changed = add_members(
        work.platform.warehouse,
        name,
        given.symbols,
        known_identities(),
        since=_since(since),
        skip_invalid=skip_invalid,
    )
    return given.changed(work, changed)


def universe_remove(
    name: str,
    symbols: Symbols = (),
    *,
    lists: Lists = (),
    skip_invalid: bool = False,
    home: Path | str | None = None,
    settings: Settings | None = None,
    within: Workplace | None = None,
) -> CustomChange:
    """End memberships of a universe of your own today; its past stays on record.

    Arguments, result and errors are as for ``universe_create``; also UnknownUniverseError.
    """
    work = within or workplace_of(home, settings, unwatched)

    changed = remove_members(
        work.platform.warehouse, name, _named(symbols, lists), skip_invalid=skip_invalid
    )
    work.publish()
    return changed


def universe_import(
    name: str = INDEX,
    lists: Lists = (),
    *,
    on: Day | None = None,
    accept: bool = False,
    home: Path | str | None = None,
    settings: Settings | None = None,
    within: Workplace | None = None,
) -> UniverseReport | CustomChange:
    """Import members and membership history from ``lists``, files or URLs of constituents or
    intervals; without any, from the sources of the settings.

    ``on`` is the day of the list, by default the list's own, else today in UTC; ``accept`` takes
    the list whatever its size and changes. Into a universe of your own, a list adds its symbols.

    Returns what changed: of an index a UniverseReport, of a universe of your own a CustomChange.
    Raises ArgumentError, NoListsError, SourceError where no source answers, RefusedUniverseError
    where the only list is refused, CustomUniverseError and WarehouseError.
    """
    work = within or workplace_of(home, settings, unwatched)
    locations = _locations(lists)
    if is_custom(work.platform.warehouse, name):
        if on is not None or accept:
            raise NotForCustomError(name)
        return universe_add(name, lists=locations, within=work)
    day = None if on is None else day_of("on", on)
    source = MembershipLists(tuple(locations)) if locations else None
    report = refresh_membership(work.platform, name, source, on=day, accept=accept)
    work.publish()
    return report


def universe_take_back(
    name: str,
    on: Day,
    *,
    source: str | None = None,
    home: Path | str | None = None,
    settings: Settings | None = None,
    within: Workplace | None = None,
) -> UniverseReport:
    """Undo the accepted list of the day ``on``, such as one with a wrong day, and decide the
    members anew. ``source`` is the list's, where lists of several have that day.

    Returns what changed. Raises ArgumentError, UsageError where there is no such list, and
    WarehouseError.
    """
    work = within or workplace_of(home, settings, unwatched)
    day = day_of("on", on)
    report = take_back(work.platform.warehouse, name, day, known_identities(), source)
    work.publish()
    return report


@dataclass(frozen=True)
class _OnTheMarket:
    """Symbols to add, and those that were left out, each with why."""

    symbols: list[str]
    left_out: tuple[MemberChange, ...]

    def changed(self, work: Workplace, change: CustomChange) -> CustomChange:
        """The change with those left out, published and noted."""
        work.publish()
        for each in self.left_out:
            work.on_note(f"Left out: {each.note}")
        return replace(change, changes=(*change.changes, *self.left_out))


def _on_the_market(work: Workplace, given: list[str], *, skip_invalid: bool) -> _OnTheMarket:
    """Raises ForeignListingError for a listing abroad, and NotInSimulationError for a symbol that
    the simulated market of this folder does not have; ``skip_invalid`` leaves these out.
    """
    if not skip_invalid:
        refuse_foreign(given)
    found = {symbol: foreign_listing(symbol) for symbol in given}
    out = {symbol: f"{listing}. {WHY_NOT}." for symbol, listing in found.items() if listing}
    if is_simulated(work.platform.warehouse):
        unknown = _unknown(work, [symbol for symbol in given if symbol not in out])
        if unknown and not skip_invalid:
            raise NotInSimulationError(unknown)
        out |= dict.fromkeys(unknown, "It is not in the simulated market of this data folder.")
    left_out = tuple(MemberChange(symbol, "invalid", why) for symbol, why in out.items())
    return _OnTheMarket([symbol for symbol in given if symbol not in out], left_out)


def _unknown(work: Workplace, given: list[str]) -> list[str]:
    """The texts that are a symbol, and none of the simulated market."""
    known = set(work.platform.simulated_market().symbols())
    unknown = []
    for text in given:
        try:
            if not text.isdecimal() and canonical_symbol(text) not in known:
                unknown.append(text)
        except InvalidSymbolError:
            continue
    return unknown


def _since(since: Day | None) -> dt.date | None:
    return None if since is None else day_of("since", since)


def _named(symbols: Symbols, lists: Lists) -> list[str]:
    """As ``_given``; raises NothingNamedError where neither symbols nor lists are."""
    some = [symbols] if isinstance(symbols, str | int) else list(symbols)
    if not (some or _locations(lists)):
        raise NothingNamedError
    return _given(some, lists)


def _given(symbols: Symbols, lists: Lists) -> list[str]:
    some = [symbols] if isinstance(symbols, str | int) else symbols
    given = [str(symbol) for symbol in some]
    for location in _locations(lists):
        given += _symbols_of(location)
    return given


def _locations(lists: Lists) -> list[str]:
    return [str(at) for at in ([lists] if isinstance(lists, str | Path) else lists)]


def _symbols_of(location: str) -> tuple[str, ...]:
    """The symbols of a list; ``-`` is standard input. Raises SymbolListError and SourceError."""
    if location == "-":
        body, shown = sys.stdin.read().encode(), "standard input"
    elif is_address(location):
        body, shown = fetch(location, "list", headers={}).body, masked(location)
    else:
        body, shown = read_path(location, "list"), masked(location)
    try:
        return read_symbols(body, shown, "list")
    except BadAnswer as error:
        raise SymbolListError(str(error)) from error
