"""Universes that users make: sets of securities changed by hand, and dated as an index is.

A symbol added today is a member from today on, one removed today is a member no longer; earlier
days stay as they were. "Today" is the day in UTC. Nothing is fetched here.
"""

from __future__ import annotations

import datetime as dt
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from quant_assets.membership.changes import ChangeRow, write_changes
from quant_assets.membership.custom_errors import (
    IndexUniverseError,
    InvalidSymbolsError,
    MemberSinceError,
    UniverseExistsError,
    UniverseNameError,
)
from quant_assets.membership.custom_symbols import (
    canonical_texts,
    member_to_remove,
    security_to_add,
    ticker_of,
)
from quant_assets.membership.stored import MembershipRow, stored_memberships
from quant_assets.membership.unknown import UnknownUniverseError
from quant_assets.reference.identity import KnownIdentity
from quant_assets.schema.membership import MEMBERSHIP, UNIVERSES
from quant_assets.securities.register import Register
from quant_assets.warehouse.warehouse import Warehouse
from quant_assets.warehouse.writing import Writing, listed_ids

CUSTOM = "custom"
BY_USER = "user"
INDEXES = ("sp500",)
"""Names that are reserved for an index, whether it is stored yet or not."""

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")

Kind = Literal["added", "removed"]
ChangeResult = Literal["added", "removed", "already a member", "not a member", "invalid"]


@dataclass(frozen=True)
class MemberChange:
    """What became of one of the given symbols; ``symbol`` is its ticker of today."""

    symbol: str
    what: ChangeResult
    note: str = ""


@dataclass(frozen=True)
class CustomChange:
    """What a command did to a universe, with a change for each given symbol, in their order.

    ``without_prices`` are added members of which no price is stored yet.
    """

    universe: str
    members: int
    changes: tuple[MemberChange, ...]
    without_prices: tuple[str, ...] = ()

    def symbols(self, what: ChangeResult) -> tuple[str, ...]:
        return tuple(change.symbol for change in self.changes if change.what == what)


def create_universe(
    warehouse: Warehouse,
    name: str,
    symbols: Sequence[str] = (),
    known: Sequence[KnownIdentity] = (),
    *,
    since: dt.date | None = None,
    skip_invalid: bool = False,
) -> CustomChange:
    """Create a universe with its first members, who belong to it ``since`` a day, by default today.

    Raises CustomUniverseError, AmbiguousSymbolError, UnknownSymbolError, WarehouseError.
    """
    if not _NAME.fullmatch(name):
        raise UniverseNameError(name)
    if name in INDEXES:
        raise IndexUniverseError(name)
    return _change(
        warehouse, name, symbols, known, kind="added", new=True, since=since, skip=skip_invalid
    )


def add_members(
    warehouse: Warehouse,
    name: str,
    symbols: Sequence[str],
    known: Sequence[KnownIdentity] = (),
    *,
    since: dt.date | None = None,
    skip_invalid: bool = False,
) -> CustomChange:
    """Make symbols (or security ids) members from today on, or ``since`` a day; a member stays one.

    An unknown symbol becomes a security without prices. Raises CustomUniverseError,
    UnknownUniverseError, AmbiguousSymbolError, UnknownSymbolError, WarehouseError.
    """
    return _change(warehouse, name, symbols, known, kind="added", since=since, skip=skip_invalid)


def remove_members(
    warehouse: Warehouse,
    name: str,
    symbols: Sequence[str],
    *,
    skip_invalid: bool = False,
) -> CustomChange:
    """End memberships today. Raises CustomUniverseError, UnknownUniverseError, WarehouseError."""
    return _change(warehouse, name, symbols, (), kind="removed", skip=skip_invalid)


def is_custom(warehouse: Warehouse, name: str) -> bool:
    """Whether users decide who is a member of the universe. Raises WarehouseError."""
    warehouse.migrate()
    if not warehouse.exists():
        return False
    with warehouse.reading() as con:
        found = con.execute("select kind from universes where universe = ?", [name]).fetchall()
    return found == [(CUSTOM,)]


def _change(
    warehouse: Warehouse,
    name: str,
    symbols: Sequence[str],
    known: Sequence[KnownIdentity],
    *,
    kind: Kind,
    skip: bool,
    new: bool = False,
    since: dt.date | None = None,
) -> CustomChange:
    wanted, invalid = canonical_texts(symbols)
    if invalid and not skip:
        raise InvalidSymbolsError(invalid, len(wanted) + len(invalid))
    skipped = [MemberChange(text, "invalid") for text in invalid]
    with _open(warehouse, name, new=new) as writing:
        register = Register.read(writing.con, known, BY_USER)
        stored = stored_memberships(writing.con, name)
        latest = {security: rows[-1] for security, rows in stored.items()}
        today = writing.now.date()
        if since and since > today:
            raise MemberSinceError(since, f"today is {today}")
        if kind == "added":
            changes, changed = _added(wanted, register, latest, today, since or today)
        else:
            changes, changed = _removed(wanted, register, latest, today)
        register.write(writing)
        _write(writing, name, changed, kind, since or today)
        members = sum(row.removed_on is None for row in {**latest, **changed}.values())
        without_prices = _without_prices(writing, changed) if kind == "added" else ()
        return CustomChange(name, members, (*changes, *skipped), without_prices)


@contextmanager
def _open(warehouse: Warehouse, name: str, *, new: bool) -> Iterator[Writing]:
    """A transaction on a universe that users decide; a ``new`` universe is created in it."""
    if not (new or warehouse.exists()):
        raise UnknownUniverseError(name, ())
    with warehouse.writing(str(uuid.uuid4()), f"a change of {name}") as writing:
        kinds = dict(writing.con.execute("select universe, kind from universes").fetchall())
        if new and name in kinds:
            raise UniverseExistsError(name)
        if not new and name not in kinds:
            raise UnknownUniverseError(name, sorted(kinds))
        if not new and kinds[name] != CUSTOM:
            raise IndexUniverseError(name)
        if new:
            row: dict[str, object] = {"universe": name, "kind": CUSTOM, "source": BY_USER}
            writing.upsert(UNIVERSES, UNIVERSES.arrow([row]))
        yield writing


_Changes = tuple[list[MemberChange], dict[int, MembershipRow]]
"""What becomes of each symbol, and the rows of the memberships that change, by security."""


def _added(
    wanted: Iterable[str],
    register: Register,
    latest: Mapping[int, MembershipRow],
    today: dt.date,
    since: dt.date,
) -> _Changes:
    changes: list[MemberChange] = []
    changed: dict[int, MembershipRow] = {}
    for text in wanted:
        security = security_to_add(text, register, today)
        ticker = ticker_of(security, text, register, today)
        note = "" if ticker == text or text.isdecimal() else f"{text} goes by {ticker} today"
        before = changed.get(security) or latest.get(security)
        if before and before.removed_on is None:
            changes.append(MemberChange(ticker, "already a member", note))
            continue
        start = since
        if before and before.removed_on and since < before.removed_on:
            was = f"{ticker} was a member from {before.effective_on} until {before.removed_on}"
            raise MemberSinceError(since, was)
        if before and before.removed_on == since:
            # No day passed without it: it goes on as before.
            start = before.effective_on
        changed[security] = MembershipRow(security, start, None, ticker, BY_USER)
        changes.append(MemberChange(ticker, "added", note))
    return changes, changed


def _removed(
    wanted: Iterable[str], register: Register, latest: Mapping[int, MembershipRow], today: dt.date
) -> _Changes:
    changes: list[MemberChange] = []
    changed: dict[int, MembershipRow] = {}
    members = {security: row for security, row in latest.items() if row.removed_on is None}
    for text in wanted:
        security = member_to_remove(text, register, members, today)
        if security is None or security in changed:
            changes.append(MemberChange(text, "not a member"))
            continue
        row = members[security]
        ticker = ticker_of(security, row.symbol, register, today)
        changed[security] = MembershipRow(security, row.effective_on, today, ticker, BY_USER)
        changes.append(MemberChange(ticker, "removed"))
    return changes, changed


def _without_prices(writing: Writing, rows: Mapping[int, MembershipRow]) -> tuple[str, ...]:
    priced = writing.con.execute(
        "select distinct security_id from daily_prices"  # noqa: S608 - whole numbers of ours
        f" where security_id in ({listed_ids(sorted(rows))})"
    ).fetchall()
    return tuple(row.symbol for security, row in rows.items() if (security,) not in priced)


def _write(
    writing: Writing, name: str, rows: Mapping[int, MembershipRow], kind: Kind, day: dt.date
) -> None:
    stored = [{"universe": name, **vars(row)} for row in rows.values()]
    writing.upsert(MEMBERSHIP, MEMBERSHIP.arrow(stored))
    changes = [
        ChangeRow(kind, r.security_id, r.symbol, r.removed_on or day, BY_USER)
        for r in rows.values()
    ]
    write_changes(writing, name, changes)
