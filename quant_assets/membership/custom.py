"""Universes that users make: sets of securities changed by hand, and dated as an index is.

A member added today belongs from today on, one removed belongs no longer; the days before stay as
they were. Who belongs to an index is decided in ``universe.py``. Nothing is fetched here.
"""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import re
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from quant_assets.membership.unknown import UnknownUniverseError
from quant_assets.reference.errors import UsageError
from quant_assets.reference.identity import (
    AmbiguousSymbolError,
    InvalidSymbolError,
    KnownIdentity,
    UnknownSymbolError,
    canonical_symbol,
)
from quant_assets.schema.membership import MEMBERSHIP, MEMBERSHIP_CHANGES, UNIVERSES
from quant_assets.securities.register import Register
from quant_assets.warehouse.warehouse import Warehouse, Writing
from quant_assets.warehouse.writing import listed_ids

CUSTOM = "custom"
BY_USER = "user"
INDEXES = ("sp500",)
"""Names that are an index's, whether it is stored yet or not."""

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")

Kind = Literal["added", "removed"]
_COLUMNS = ("symbol", "ticker")

What = Literal["added", "removed", "already a member", "not a member", "invalid"]


class CustomUniverseError(UsageError, ValueError):
    """A change of a universe that can't be made; nothing was changed."""


class UniverseNameError(CustomUniverseError):
    """A text that can't name a universe."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{name!r} can't name a universe. A name is up to 40 lower-case letters, digits, _ and "
            "-, and begins with a letter or a digit."
        )


class IndexUniverseError(CustomUniverseError):
    """An attempt to change an index by hand."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{name} is an index: its members come from lists and can't be changed by hand. If a "
            f"list is wrong, import a better one (quant-assets universe import --name {name} "
            "--from FILE); for members of your own choice, make a universe of your own "
            "(quant-assets universe create NAME SYMBOLS)."
        )


class UniverseExistsError(CustomUniverseError):
    """A universe to be made that is there already."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"There is a universe {name} already. quant-assets universe add {name} adds to it."
        )


class InvalidSymbolsError(CustomUniverseError):
    """Texts that can't be symbols, among those given."""

    def __init__(self, texts: Sequence[str], given: int) -> None:
        super().__init__(
            f"Of {given}, these can't be symbols: {', '.join(map(repr, texts))}. A symbol is "
            "a letter and up to nine letters or digits, with a share class after a dot (AAPL, "
            "BRK.B), or a pair such as BTC-USD. Nothing was changed; --skip-invalid leaves them "
            "out."
        )
        self.texts = tuple(texts)


class SymbolListError(CustomUniverseError):
    """A list from which no symbols can be read."""

    def __init__(self, trouble: str) -> None:
        super().__init__(
            f"{trouble} A list of symbols is CSV with a column {' or '.join(_COLUMNS)}, JSON (an "
            "array of symbols, or of objects that have one), or just symbols. Nothing was changed."
        )


@dataclass(frozen=True)
class Outcome:
    """What became of one of the symbols given; ``symbol`` is the ticker of today."""

    symbol: str
    what: What
    note: str = ""


@dataclass(frozen=True)
class Changed:
    """What a command did to a universe: an outcome a symbol given, in their order."""

    universe: str
    members: int
    outcomes: tuple[Outcome, ...]
    without_prices: tuple[str, ...] = ()
    """Members it added of which no price is stored yet."""

    def those(self, what: What) -> tuple[str, ...]:
        return tuple(outcome.symbol for outcome in self.outcomes if outcome.what == what)


def create_universe(
    warehouse: Warehouse,
    name: str,
    symbols: Sequence[str] = (),
    known: Sequence[KnownIdentity] = (),
    *,
    skip_invalid: bool = False,
) -> Changed:
    """Make a universe of one's own, with its first members.

    Raises CustomUniverseError, AmbiguousSymbolError, UnknownSymbolError, WarehouseError.
    """
    if not _NAME.fullmatch(name):
        raise UniverseNameError(name)
    if name in INDEXES:
        raise IndexUniverseError(name)
    return _change(warehouse, name, symbols, known, kind="added", new=True, skip=skip_invalid)


def add_members(
    warehouse: Warehouse,
    name: str,
    symbols: Sequence[str],
    known: Sequence[KnownIdentity] = (),
    *,
    skip_invalid: bool = False,
) -> Changed:
    """Make symbols (or security ids) members from today on; who is one already stays one.

    A symbol that is not known here becomes a security without prices. Raises CustomUniverseError,
    UnknownUniverseError, AmbiguousSymbolError, UnknownSymbolError, WarehouseError.
    """
    return _change(warehouse, name, symbols, known, kind="added", skip=skip_invalid)


def remove_members(
    warehouse: Warehouse,
    name: str,
    symbols: Sequence[str],
    *,
    skip_invalid: bool = False,
) -> Changed:
    """End memberships today. Raises CustomUniverseError, UnknownUniverseError, WarehouseError."""
    return _change(warehouse, name, symbols, (), kind="removed", skip=skip_invalid)


def is_custom(warehouse: Warehouse, name: str) -> bool:
    """Whether users decide who belongs to the universe. Raises WarehouseError."""
    warehouse.migrate()
    if not warehouse.exists():
        return False
    with warehouse.reading() as con:
        found = con.execute("select kind from universes where universe = ?", [name]).fetchall()
    return found == [(CUSTOM,)]


def symbols_in(text: str, location: str) -> tuple[str, ...]:
    """The symbols of a list, as they are written there; ``location`` is what errors call it.

    Raises SymbolListError.
    """
    text = text.removeprefix("\ufeff").strip()
    if text[:1] in ("[", "{"):
        found = _in_json(text, location)
    elif text.startswith("<"):
        raise SymbolListError(f"{location} is HTML.")
    else:
        lines = list(csv.reader(io.StringIO(text, newline="")))
        header = [cell.strip().lower() for cell in lines[0]] if lines else []
        column = next((header.index(name) for name in _COLUMNS if name in header), None)
        if column is not None:
            found = [line[column] for line in lines[1:] if len(line) > column]
        elif len(lines) > 1 and len(header) > 1:
            # The words of a table without such a column would pass for symbols.
            raise SymbolListError(f"{location} has no column {' or '.join(_COLUMNS)}.")
        else:
            found = re.split(r"[\s,;]+", text)
    symbols = tuple(each.strip() for each in found if each.strip())
    if not symbols:
        raise SymbolListError(f"{location} holds no symbols.")
    return symbols


def _in_json(text: str, location: str) -> list[str]:
    try:
        items = json.loads(text)
    except json.JSONDecodeError as error:
        raise SymbolListError(f"{location} is not JSON: {error}.") from error
    if isinstance(items, dict):
        items = items.get("symbols", items.get("members", []))
    if not isinstance(items, list):
        raise SymbolListError(f"{location} holds no array of symbols.")
    found = []
    for item in items:
        named = (
            {key.lower(): value for key, value in item.items()} if isinstance(item, dict) else {}
        )
        symbol = next((named[name] for name in _COLUMNS if name in named), item)
        found.append(symbol if isinstance(symbol, str) else json.dumps(symbol))
    return found


@dataclass(frozen=True)
class _Stay:
    """A row of universe_membership."""

    security_id: int
    effective_on: dt.date
    removed_on: dt.date | None
    symbol: str


def _change(
    warehouse: Warehouse,
    name: str,
    symbols: Sequence[str],
    known: Sequence[KnownIdentity],
    *,
    kind: Kind,
    skip: bool,
    new: bool = False,
) -> Changed:
    wanted, invalid = _spelt(symbols)
    if invalid and not skip:
        raise InvalidSymbolsError(invalid, len(wanted) + len(invalid))
    skipped = [Outcome(text, "invalid") for text in invalid]
    with _open(warehouse, name, new=new) as writing:
        register = Register.read(writing.con, known, BY_USER)
        latest = _latest_stays(writing, name)
        today = writing.now.date()
        decide = _added if kind == "added" else _removed
        outcomes, stays = decide(wanted, register, latest, today)
        register.write(writing)
        _write(writing, name, stays, kind)
        members = {i for i, s in {**latest, **stays}.items() if s.removed_on is None}
        return Changed(
            name,
            len(members),
            (*outcomes, *skipped),
            _without_prices(writing, stays) if kind == "added" else (),
        )


@contextmanager
def _open(warehouse: Warehouse, name: str, *, new: bool) -> Iterator[Writing]:
    """A transaction on a universe that users decide, which is made where it is ``new``."""
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


def _spelt(symbols: Iterable[str]) -> tuple[list[str], list[str]]:
    """Canonical symbols and security ids, each once, and what can't be either."""
    wanted: dict[str, None] = {}
    invalid: dict[str, None] = {}
    for text in symbols:
        try:
            wanted[text.strip() if text.strip().isdecimal() else canonical_symbol(text)] = None
        except InvalidSymbolError:
            invalid[text] = None
    return list(wanted), list(invalid)


def _latest_stays(writing: Writing, name: str) -> dict[int, _Stay]:
    """The latest stay of each security that ever was a member."""
    rows = writing.con.execute(
        "select security_id, effective_on, removed_on, symbol from universe_membership"
        " where universe = ? order by effective_on",
        [name],
    ).fetchall()
    return {row[0]: _Stay(*row) for row in rows}


def _added(
    wanted: Iterable[str], register: Register, latest: dict[int, _Stay], today: dt.date
) -> tuple[list[Outcome], dict[int, _Stay]]:
    """What becomes of each symbol to be added, and the stays that begin or go on."""
    outcomes: list[Outcome] = []
    stays: dict[int, _Stay] = {}
    for text in wanted:
        security = _named(text, register, today)
        ticker = _ticker(security, text, register, today)
        note = "" if ticker == text or text.isdecimal() else f"{text} goes by {ticker} today"
        before = stays.get(security) or latest.get(security)
        if before and before.removed_on is None:
            outcomes.append(Outcome(ticker, "already a member", note))
            continue
        # Who was removed today was never away: no day passed without him.
        start = before.effective_on if before and before.removed_on == today else today
        stays[security] = _Stay(security, start, None, ticker)
        outcomes.append(Outcome(ticker, "added", note))
    return outcomes, stays


def _removed(
    wanted: Iterable[str], register: Register, latest: dict[int, _Stay], today: dt.date
) -> tuple[list[Outcome], dict[int, _Stay]]:
    """What becomes of each symbol to be removed, and the stays that end."""
    outcomes: list[Outcome] = []
    stays: dict[int, _Stay] = {}
    members = {s: stay for s, stay in latest.items() if stay.removed_on is None}
    for text in wanted:
        security = _member(text, register, members, today)
        if security is None or security in stays:
            outcomes.append(Outcome(text, "not a member"))
            continue
        stay = members[security]
        ticker = _ticker(security, stay.symbol, register, today)
        stays[security] = _Stay(security, stay.effective_on, today, ticker)
        outcomes.append(Outcome(ticker, "removed"))
    return outcomes, stays


def _named(text: str, register: Register, today: dt.date) -> int:
    """The security meant by a symbol or an id: whoever bears the symbol today, else whoever bore it
    and goes by another one now; a new security where it is not known at all.
    """
    if text.isdecimal():
        if all(name.security_id != int(text) for name in register.names()):
            raise UnknownSymbolError(f"Security {text}")
        return int(text)
    bearers = register.bearers(text)
    now = [name for name in bearers if name.overlaps(today, today)]
    if not now and bearers:
        active = {name.security_id for name in register.names() if name.overlaps(today, today)}
        now = [name for name in bearers if name.security_id in active]
    securities = {name.security_id for name in now}
    if len(securities) > 1:
        raise AmbiguousSymbolError(text, now)
    return securities.pop() if securities else register.on(text, today)


def _member(text: str, register: Register, members: dict[int, _Stay], today: dt.date) -> int | None:
    """The member meant by a symbol or an id: by its ticker of today, else by an earlier one."""
    if text.isdecimal():
        return int(text) if int(text) in members else None
    names = [name for name in register.bearers(text) if name.security_id in members]
    names.sort(key=lambda name: (name.overlaps(today, today), name.valid_from))
    return names[-1].security_id if names else None


def _ticker(security: int, text: str, register: Register, today: dt.date) -> str:
    """The ticker a security goes by today: ``text`` if that is one, else its latest."""
    own = [name for name in register.names() if name.security_id == security]
    current = [name for name in own if name.overlaps(today, today)] or own
    if any(name.symbol == text for name in current):
        return text
    return max(current, key=lambda name: name.valid_from).symbol


def _without_prices(writing: Writing, stays: dict[int, _Stay]) -> tuple[str, ...]:
    priced = writing.con.execute(
        "select distinct security_id from daily_prices"  # noqa: S608 - whole numbers of ours
        f" where security_id in ({listed_ids(sorted(stays))})"
    ).fetchall()
    return tuple(stay.symbol for number, stay in stays.items() if (number,) not in priced)


def _write(writing: Writing, name: str, stays: dict[int, _Stay], kind: Kind) -> None:
    rows = [{"universe": name, "source": BY_USER, **vars(stay)} for stay in stays.values()]
    writing.upsert(MEMBERSHIP, MEMBERSHIP.arrow(rows))
    [(latest,)] = writing.con.execute(
        "select coalesce(max(change_id), 0) from membership_changes"
    ).fetchall()
    changes = [
        {
            "change_id": latest + number,
            "universe": name,
            "kind": kind,
            "security_id": stay.security_id,
            "symbol": stay.symbol,
            "effective_on": writing.now.date(),
            "source": BY_USER,
        }
        for number, stay in enumerate(stays.values(), start=1)
    ]
    writing.upsert(MEMBERSHIP_CHANGES, MEMBERSHIP_CHANGES.arrow(changes))
