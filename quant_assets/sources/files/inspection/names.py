"""Which of our fields a column's name stands for, as vendors call them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

FIELDS: Mapping[str, tuple[str, ...]] = {
    "symbol": (
        "symbol",
        "ticker",
        "actsymbol",
        "tickersymbol",
        "code",
        "sym",
        "instrument",
        "name",
    ),
    "session": (
        *("date", "tradedate", "tradingdate", "tradingday", "session", "sessiondate", "pricedate"),
        *("quotedate", "day", "datetime", "timestamp", "windowstart", "dtyyyymmdd", "dateutc"),
        *("time", "caldt", "index", "t"),
    ),
    "open": ("open", "openprice", "openingprice", "priceopen", "o"),
    "high": ("high", "highprice", "pricehigh", "h"),
    "low": ("low", "lowprice", "pricelow", "l"),
    "close": (
        *("close", "closeprice", "closingprice", "priceclose", "closelast", "last", "lastprice"),
        *("price", "c"),
    ),
    "volume": ("volume", "vol", "sharevolume", "totalvolume", "tradedvolume", "v"),
    "split": ("splitratio", "splitfactor", "splitcoefficient", "stocksplits", "split", "splits"),
    "dividend": (
        *("dividend", "dividends", "dividendamount", "exdividend", "divcash", "cashdividend"),
        "div",
    ),
    "adjusted_close": (
        "adjclose",
        "adjustedclose",
        "closeadj",
        "adjustedcloseprice",
        "adjcloseprice",
    ),
}
"""Our fields, each with the plain names that stand for it, the most telling first."""

NEEDED = ("session", "open", "high", "low", "close", "volume")
"""Fields without which no row can be stored; a symbol may also be in a file's name."""

NUMBERS = ("open", "high", "low", "close", "volume", "split", "dividend", "adjusted_close")


def plain(name: str) -> str:
    """A column's name in lower case, without marks and numbering: ``<TICKER>``, ``1. open``."""
    return re.sub(r"^\d+(?=[a-z])", "", re.sub(r"[^a-z0-9]", "", name.lower()))


def fields(columns: Iterable[str]) -> dict[str, str]:
    """The column of each of our fields, where there is one; the most telling of several."""
    by_name: dict[str, str] = {}
    for column in columns:
        by_name.setdefault(plain(column), column)
    return {
        field: next(by_name[name] for name in names if name in by_name)
        for field, names in FIELDS.items()
        if any(name in by_name for name in names)
    }


def others(columns: Iterable[str], field: str) -> list[str]:
    """All columns whose names stand for a field."""
    return [column for column in columns if plain(column) in FIELDS[field]]
