"""Which security a symbol names on a day, and how symbols are spelt. Pure rules, no storage.

A symbol is a dated name of one security (FB and META are one company, the CEG of 2010 and the CEG
of 2022 are two); ``resolve`` turns a symbol and days into a security.
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
from quant_assets.reference.listings import WHY_NOT, foreign_listing
from quant_assets.reference.texts import LONGEST_TEXT, shortened

_STOCK = re.compile(r"[A-Z][A-Z0-9]{0,9}(?:\.[A-Z]{1,2}|\.PR[A-Z]|\.WS\.[A-Z])?(?:\.WI)?")
_ON_TAPE = re.compile(r"([A-Z][A-Z0-9.]*)(?:p([A-Z]?)|(r))?(w?)")
_PAIR = re.compile(r"[A-Z0-9]{1,12}-[A-Z]{3,4}")
_IN_THE_UNITED_STATES = re.compile(r"(?:[-./]US)+$")
_EXCHANGE = re.compile(
    r"(?:(?:US|NASDAQ|NYSE|NYSEARCA|NYSEAMERICAN|ARCA|AMEX|BATS|OTC|OTCMKTS|XNAS|XNYS|XASE|ARCX):)?"
    r"(\S+?)(?::US| U[AFNPQRSVW](?: EQUITY)?)?"
)
"""The exchange in the United States before or behind a symbol, at TradingView and Bloomberg."""

_CLASS_BY_QUANDL = re.compile(r"([A-Z]{1,5})_([AB])")
_PREFERRED_AT_YAHOO = re.compile(r"-P([A-QS-Z])$")
"""Not ``-PR``, which is as often written for preferred stock without a series."""

_CURRENCIES = ("USD", "EUR", "GBP", "USDT", "BTC")


class InvalidSymbolError(UsageError, ValueError):
    """A text that can't be a symbol."""

    def __init__(self, text: object) -> None:
        shown = shortened(text, LONGEST_TEXT) if isinstance(text, str) else text
        listing = foreign_listing(text) if isinstance(text, str) else None
        super().__init__(
            f"{listing}. {WHY_NOT}."
            if listing
            else f"{shown!r} is not a symbol. A symbol is a letter and up to nine letters or "
            "digits, with a share class after a dot (AAPL, BRK.B), or a pair such as BTC-USD."
        )
        self.text = text


def canonical_symbol(text: str) -> str:
    """A symbol in the one spelling used here: upper case, with a dot before the share class.

    ``BRK-B``, ``BRK/B`` and ``brk.b`` all become ``BRK.B``; ``BTC-USD`` stays a pair. Applying it
    twice changes nothing. Raises InvalidSymbolError. The exchange in the United States is left out:
    ``AAPL.US`` (Stooq, EODHD), ``NASDAQ:AAPL``, ``AAPL US Equity`` are ``AAPL``. ``BRK_B``
    (Quandl) is ``BRK.B``, and ``BTC/USD`` is ``BTC-USD``.

    Preferred stock ends in PR and its series: ``BAC^L``, ``BAC$L`` and ``BAC-PL`` (Yahoo) become
    ``BAC.PRL``, ``HWM^`` becomes ``HWM.PR``. Warrants are ``X.WS``, a series of them ``X.WS.A``
    (``X/WS/A``); units ``X.U``; rights ``X.RT``; a last ``.WI`` is when issued. ``X.W`` stays
    ``X.W``: it may be a class W of shares, and only its source can tell.
    """
    written = text.strip() if isinstance(text, str) else ""
    # Upper case turns letters of other alphabets into ASCII: a ligature into FI, which is a ticker.
    symbol = written.upper() if written.isascii() else ""
    if found := _EXCHANGE.fullmatch(symbol):
        symbol = found[1]
    pair = symbol.replace("/", "-")
    if _PAIR.fullmatch(pair) and pair.rsplit("-", 1)[1] in _CURRENCIES:
        return pair
    # Before the endings that tell what a symbol is: BAC-PL.US is preferred stock (EODHD).
    symbol = _IN_THE_UNITED_STATES.sub("", symbol)
    symbol = (
        _CLASS_BY_QUANDL.sub(r"\1.\2", symbol) if _CLASS_BY_QUANDL.fullmatch(symbol) else symbol
    )
    symbol = _PREFERRED_AT_YAHOO.sub(r".PR\1", symbol)
    symbol = symbol.replace("-", ".").replace("/", ".").replace("^", ".PR").replace("$", ".PR")
    if not _STOCK.fullmatch(symbol):
        raise InvalidSymbolError(text)
    return symbol


def symbol_of_tape(text: str) -> str:
    """A symbol in our spelling, from that of the consolidated tape (a CQS symbol).

    The tape tells classes by lower case: ``BACpL`` is preferred stock (BAC.PRL), ``OPPr`` rights
    (OPP.RT), ``IPw`` when issued (IP.WI). Raises InvalidSymbolError.
    Source: https://www.nasdaqtrader.com/trader.aspx?id=CQSsymbolconvention.
    """
    found = _ON_TAPE.fullmatch(text.strip())
    if not found:
        raise InvalidSymbolError(text)
    root, series, rights, when_issued = found.groups()
    preferred = "" if series is None else f".PR{series}"
    return canonical_symbol(
        f"{root}{preferred}{'.RT' if rights else ''}{'.WI' if when_issued else ''}"
    )


def is_pair(symbol: str) -> bool:
    """Whether a canonical symbol is a pair such as BTC-USD."""
    return "-" in symbol


@dataclass(frozen=True)
class Name:
    """A symbol that named a security from ``valid_from`` until the day before ``valid_to``."""

    symbol: str
    valid_from: dt.date
    valid_to: dt.date | None
    security_id: int
    company: str | None = None

    def overlaps(self, start: dt.date, end: dt.date) -> bool:
        """Whether the name was valid on any day from ``start`` to ``end``, both included."""
        return self.valid_from <= end and (self.valid_to is None or self.valid_to > start)

    def covers(self, day: dt.date) -> bool:
        return self.overlaps(day, day)

    def describe(self) -> str:
        until = f"until {self.valid_to}" if self.valid_to else "to this day"
        company = self.company or "a company whose name is not known here"
        return (
            f"{company} (security {self.security_id}, {self.symbol} from {self.valid_from} {until})"
        )


def bearer_on(names: Iterable[Name], day: dt.date) -> int | None:
    """The security that has one of ``names``, all of one symbol, on ``day``."""
    return next((name.security_id for name in names if name.covers(day)), None)


class UnknownSymbolError(UsageError, LookupError):
    """No security had the symbol on the requested days."""

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
    """A symbol that named more than one security on the requested days."""

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

    A symbol that only one company ever had means that company on all days: META in 2015 is the
    company then called FB. Where several companies had the symbol, the days decide. Raises
    UnknownSymbolError or AmbiguousSymbolError.
    """
    dated = sorted((n for n in names if n.symbol == symbol), key=lambda name: name.valid_from)
    if len({name.security_id for name in dated}) == 1:
        return dated[0].security_id
    within = [name for name in dated if name.overlaps(start, end)]
    securities = {name.security_id for name in within}
    if len(securities) == 1:
        return securities.pop()
    if not within:
        raise UnknownSymbolError(symbol, dated)
    raise AmbiguousSymbolError(symbol, within)


@dataclass(frozen=True)
class KnownIdentity:
    """A dated name of a company, looked up by hand: a row of ``reference/identities.csv``."""

    slug: str
    symbol: str
    valid_from: dt.date
    valid_to: dt.date | None
    company: str
    cik: str | None

    def covers(self, day: dt.date) -> bool:
        return self.valid_from <= day and (self.valid_to is None or day < self.valid_to)


@lru_cache(maxsize=1)
def known_identities() -> tuple[KnownIdentity, ...]:
    """The reused tickers and renamings that no membership list tells apart by itself.

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
