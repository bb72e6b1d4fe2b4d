"""Where an archive has its symbols: in a column, in the header, or in the names of its files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from quant_assets.reference.identity import is_pair
from quant_assets.reference.listings import ForeignListing, foreign_listing
from quant_assets.schema.table import CURRENCIES
from quant_assets.sources.files.cells import CellForms, spelled
from quant_assets.sources.files.inspection.names import others, plain
from quant_assets.sources.files.inspection.opening import NotReadable, Opening
from quant_assets.sources.files.reading import bare_name

_NO_TICKERS = frozenset(
    (
        *(
            "adjusted",
            "archive",
            "bars",
            "book",
            "candles",
            "chart",
            "close",
            "csv",
            "daily",
            "data",
        ),
        *("download", "eod", "eodhd", "etf", "equities", "export", "file", "final", "full", "hist"),
        *("historic", "historical", "historicaldata", "history", "index", "input", "list", "main"),
        *(
            "market",
            "massive",
            "ohlc",
            "ohlcv",
            "out",
            "output",
            "part",
            "price",
            "prices",
            "query",
        ),
        *("quote", "quotes", "raw", "result", "results", "sample", "sheet", "sp500", "stock"),
        *("stocks", "stooq", "table", "temp", "test", "time", "tmp", "series", "values", "wiki"),
        *("yahoo",),
    )
)
"""Names of files that are no ticker, though some look like one."""

_TICKERS_TOO = frozenset(("all", "day", "new", "us"))
"""Names that are a ticker only in capitals."""

_OF_SYMBOLS = frozenset(("symbol", "ticker", "actsymbol", "tickersymbol", "sym"))
"""Names of columns that can't have anything else; a name or a code may be a company's."""

_CURRENCIES = frozenset(CURRENCIES)

_OTHER_KINDS = "^=:$"
"""Marks of indices, currencies and futures (^GSPC, EURUSD=X, X:BTCUSD)."""

_WORDS = _NO_TICKERS | frozenset(
    (
        *(
            "a",
            "adj",
            "all",
            "d",
            "day",
            "db",
            "dl",
            "my",
            "nasdaq",
            "new",
            "nyse",
            "q",
            "us",
            "usa",
        ),
        *("wiki", "yahoo", "yf", "yfinance", "alphavantage", "massive", "polygon", "eodhd"),
        *("stooq", "tiingo", "to", "from"),
    )
)
"""Parts of a file's name beside its ticker."""

_SEPARATED = re.compile(r"[A-Za-z]+(?:[-^.][A-Za-z]{1,2}(?![A-Za-z]))?|\d+|[^A-Za-z\d]+")
_NOT_A_SYMBOL = 0.02
"""Share of the cells of a column of symbols that may be none."""


Spelling = Literal["usual", "tape", "stooq"]


@dataclass(frozen=True)
class Symbols:
    """The column of the symbols, or none where the name of a file has them by ``pattern``."""

    column: str = ""
    in_header: bool = False
    pattern: str = "*"
    spelling: Spelling = "usual"

    @property
    def from_filename(self) -> bool:
        return not (self.column or self.in_header)

    @property
    def forms(self) -> CellForms:
        return CellForms(symbol_pattern=self.pattern, spelling=self.spelling)


def find_symbols(openings: Sequence[Opening], spelling: Spelling) -> Symbols:
    """Raises NotReadable where neither a column nor the names of the files have any."""
    first, strange = openings[0], list[str]()
    if first.symbols:
        return Symbols(in_header=True)
    for column in others(first.columns, "symbol"):
        texts = [text for opening in openings for text in opening.texts(column)]
        known = [spelled(text, CellForms(spelling=spelling)) for text in texts]
        if texts and known.count(None) <= _NOT_A_SYMBOL * len(texts):
            return Symbols(column, spelling=spelling)
        apart = [_any_known(opening.texts(column), spelling) for opening in openings]
        if any(map(foreign_listing, texts)) or (any(apart) and not all(apart)):
            return Symbols(column, spelling=spelling)  # whose files are looked at one by one
        odd = [f"{column} has {text}" for text, one in zip(texts, known, strict=True) if not one]
        if odd and plain(column) in _OF_SYMBOLS:
            raise NotReadable(f"has symbols that are none of stocks, funds or pairs: {odd[0]}.")
        strange += odd[:1]
    names = [bare_name(opening.path) for opening in openings]
    strange += [f"it is called {each}" for each in names if set(each) & set(_OTHER_KINDS)][:1]
    pattern = pattern_of(names, spelling)
    if pattern is None and strange:
        raise NotReadable(f"has symbols that are none of stocks, funds or pairs: {strange[0]}.")
    if pattern is None:
        name = first.path.name
        raise NotReadable(
            f"has no column of symbols, and its name has no ticker. Call it after its symbol "
            f"(AAPL{name[len(bare_name(first.path)) :]}), or add a column."
        )
    return Symbols(pattern=pattern, spelling=spelling)


def _any_known(texts: Sequence[str], spelling: Spelling) -> bool:
    return any(spelled(text, CellForms(spelling=spelling)) for text in dict.fromkeys(texts))


def pattern_of(names: Sequence[str], spelling: Spelling = "usual") -> str | None:
    """How file names have their symbol, as a symbol_pattern; None where most have none.

    Whole names come first: ``brk-b.us`` is a symbol with the suffix of the United States.
    """
    candidates = dict.fromkeys(["*", *(each for name in names[:20] for each in _cut(name))])
    shares = {
        pattern: _share(names, CellForms(symbol_pattern=pattern, spelling=spelling))
        for pattern in candidates
    }
    best = max(shares, key=lambda pattern: shares[pattern])
    return best if shares[best] >= 0.5 else None


def _share(names: Sequence[str], forms: CellForms) -> float:
    return sum(_has_a_ticker(name, forms) for name in names) / len(names)


def _has_a_ticker(name: str, forms: CellForms) -> bool:
    """Whether a name has a ticker, here or abroad, and not just some word."""
    inner = symbol_in(name, forms.symbol_pattern).lower()
    if foreign_listing(inner):
        return True
    symbol = spelled(name, forms)
    if symbol is None or inner in _NO_TICKERS or (inner in _TICKERS_TOO and inner in name):
        return False
    return is_pair(symbol) or len(symbol.partition(".")[0]) <= 5


def _cut(name: str) -> list[str]:
    """Patterns by which one part of a name is the symbol."""
    parts = _SEPARATED.findall(name)
    found: list[str] = []
    if any(mark in name for mark in _OTHER_KINDS):
        return found
    for at, part in enumerate(parts):
        if part.lower() in _WORDS or not part[0].isalpha():
            continue
        rest = [other for other in parts[:at] + parts[at + 1 :] if other[0].isalpha()]
        if all(other.lower() in _WORDS for other in rest):
            found.append("".join(parts[:at]) + "*" + "".join(parts[at + 1 :]))
    return found


def symbol_in(name: str, pattern: str) -> str:
    """The part of a file's name that its symbol is."""
    before, _, after = pattern.partition("*")
    return name[len(before) : len(name) - len(after)]


def written_symbols(opening: Opening, symbols: Symbols) -> Iterable[str]:
    """The symbols of a file's opening as they are written."""
    if symbols.in_header:
        return opening.symbols
    if symbols.column:
        return dict.fromkeys(opening.texts(symbols.column))
    return (symbol_in(bare_name(opening.path), symbols.pattern),)


def first_abroad(opening: Opening, symbols: Symbols) -> ForeignListing | None:
    return next(filter(None, map(foreign_listing, written_symbols(opening, symbols))), None)


def first_other(opening: Opening, symbols: Symbols, *, with_us: bool) -> str:
    """A symbol of a currency, or at Stooq of what else has no .US; empty where there is none.

    ``with_us`` is whether other files of the archive have stocks with .US."""
    for written in map(str.upper, written_symbols(opening, symbols)):
        currencies = len(written) == 6 and {written[:3], written[3:]} <= _CURRENCIES
        at_stooq = symbols.spelling == "stooq" and not written.endswith(".US")
        if currencies or (at_stooq and (with_us or "." in written)):
            return written
    return ""


def any_with_us(openings: Iterable[Opening], symbols: Symbols) -> bool:
    written = (each for opening in openings for each in written_symbols(opening, symbols))
    return any(each.upper().endswith(".US") for each in written)


def has_symbol(opening: Opening, symbols: Symbols) -> bool:
    """Whether the name of a file, or else any cell of its opening, is a symbol that is known."""
    if symbols.from_filename:
        return spelled(bare_name(opening.path), symbols.forms) is not None
    return _any_known(tuple(written_symbols(opening, symbols)), symbols.spelling)
