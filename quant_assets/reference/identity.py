"""Which security a symbol names on a day, and how symbols are spelt. Pure rules, no storage.

A symbol is a dated name of one security (FB and META are one company, the CEG of 2010 and the CEG
of 2022 are two). Everything that turns a symbol into a security passes through ``resolve``.
"""

from __future__ import annotations

import csv
import datetime as dt
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

from quant_assets.reference.errors import UsageError

_STOCK = re.compile(r"[A-Z][A-Z0-9]{0,9}(\.[A-Z]{1,2})?")
_PAIR = re.compile(r"[A-Z0-9]{1,12}-[A-Z]{3,4}")
_CURRENCIES = ("USD", "EUR", "GBP", "USDT", "BTC")


class InvalidSymbolError(UsageError, ValueError):
    """A text that can't be a symbol."""

    def __init__(self, text: object) -> None:
        super().__init__(
            f"{text!r} is not a symbol. A symbol is a letter and up to nine letters or digits, "
            "with a share class after a dot (AAPL, BRK.B), or a pair such as BTC-USD."
        )
        self.text = text


def canonical_symbol(text: str) -> str:
    """The one spelling used here: upper case, a dot before the share class.

    ``BRK-B``, ``BRK/B`` and ``brk.b`` all become ``BRK.B``; ``BTC-USD`` stays a pair. Applying it
    twice changes nothing. Raises InvalidSymbolError.
    """
    written = text.strip() if isinstance(text, str) else ""
    # Upper case turns letters of other alphabets into ASCII: a ligature into FI, which is a ticker.
    symbol = written.upper() if written.isascii() else ""
    if _PAIR.fullmatch(symbol) and symbol.rsplit("-", 1)[1] in _CURRENCIES:
        return symbol
    symbol = symbol.replace("-", ".").replace("/", ".")
    if not _STOCK.fullmatch(symbol):
        raise InvalidSymbolError(text)
    return symbol


def is_pair(symbol: str) -> bool:
    """Whether a canonical symbol is a pair such as BTC-USD."""
    return "-" in symbol


@dataclass(frozen=True)
class Name:
    """One interval in which a symbol named a security; ``valid_to`` is exclusive, or None."""

    symbol: str
    valid_from: dt.date
    valid_to: dt.date | None
    security_id: int
    company: str | None = None

    def overlaps(self, start: dt.date, end: dt.date) -> bool:
        """Whether it held on any day from ``start`` to ``end``, both included."""
        return self.valid_from <= end and (self.valid_to is None or self.valid_to > start)

    def describe(self) -> str:
        until = f"until {self.valid_to}" if self.valid_to else "to this day"
        who = self.company or "a company whose name is not known here"
        return f"{who} (security {self.security_id}, {self.symbol} from {self.valid_from} {until})"


def bearer_on(names: Iterable[Name], day: dt.date) -> int | None:
    """The security that bore one of ``names`` of a symbol on ``day``, if any did."""
    return next((name.security_id for name in names if name.overlaps(day, day)), None)


class UnknownSymbolError(UsageError, LookupError):
    """No security bears the symbol in the days asked for."""

    def __init__(self, symbol: str, elsewhere: Sequence[Name] = ()) -> None:
        hint = "; it was ".join(name.describe() for name in elsewhere)
        super().__init__(
            f"{symbol} names no security in these days; it was {hint}."
            if elsewhere
            else f"{symbol} is not known here. Load it with quant-assets backfill, or import a "
            "universe that lists it."
        )
        self.symbol = symbol


class AmbiguousSymbolError(UsageError, LookupError):
    """A symbol that named more than one security in the days asked for."""

    def __init__(self, symbol: str, names: Sequence[Name]) -> None:
        could_be = "; or ".join(name.describe() for name in names)
        super().__init__(
            f"{symbol} named {len(names)} companies in these days: {could_be}. "
            "Ask for days in which it named one, or give the security id in place of the symbol."
        )
        self.symbol = symbol
        self.names = tuple(names)


def resolve(names: Iterable[Name], symbol: str, start: dt.date, end: dt.date) -> int:
    """The security that ``symbol`` names over ``start`` to ``end``, both included.

    A symbol whose only holder got it later, or gave it up before, still means that holder: META
    asked for 2015 is the company then called FB. Only where several companies held the symbol do
    the days decide. Raises UnknownSymbolError or AmbiguousSymbolError.
    """
    held = sorted((n for n in names if n.symbol == symbol), key=lambda name: name.valid_from)
    if len({name.security_id for name in held}) == 1:
        return held[0].security_id
    within = [name for name in held if name.overlaps(start, end)]
    securities = {name.security_id for name in within}
    if len(securities) == 1:
        return securities.pop()
    if not within:
        raise UnknownSymbolError(symbol, held)
    raise AmbiguousSymbolError(symbol, within)


@dataclass(frozen=True)
class KnownIdentity:
    """A row of ``reference/identities.csv``: a dated name of a company, looked up by hand."""

    slug: str
    symbol: str
    valid_from: dt.date
    valid_to: dt.date | None
    company: str
    cik: str | None


@lru_cache(maxsize=1)
def known_identities() -> tuple[KnownIdentity, ...]:
    """Reused tickers and renames that no membership list tells apart by itself.

    Source: the notes in ``reference/identities.csv``, explained in ``docs/data-quality.md``.
    """
    text = resources.files("quant_assets").joinpath("reference/identities.csv").read_text("utf-8")
    return tuple(
        KnownIdentity(
            slug=row["security"],
            symbol=row["symbol"],
            valid_from=dt.date.fromisoformat(row["valid_from"]),
            valid_to=dt.date.fromisoformat(row["valid_to"]) if row["valid_to"] else None,
            company=row["name"],
            cik=row["cik"].zfill(10) if row["cik"] else None,
        )
        for row in csv.DictReader(text.splitlines())
    )
