"""Which of our fields a column's name stands for, as vendors call them."""

from __future__ import annotations

import re
import unicodedata
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
        *("time", "caldt", "index", "t", "datum", "fecha", "data", "unnamed0", "indexlevel0"),
    ),
    "open": (
        *("open", "openprice", "openingprice", "priceopen", "o", "eroffnung", "erffnung"),
        *("eroffnungskurs", "erffnungskurs", "ouverture", "ouv", "apertura"),
    ),
    "high": (
        *("high", "highprice", "pricehigh", "h", "hoch", "tageshoch", "hochstkurs", "hchstkurs"),
        *("haut", "plushaut", "massimo", "maximo"),
    ),
    "low": (
        *("low", "lowprice", "pricelow", "l", "tief", "tagestief", "tiefstkurs", "bas", "plusbas"),
        *("minimo",),
    ),
    "close": (
        *("close", "closeprice", "closingprice", "priceclose", "closelast", "last", "lastprice"),
        *("price", "c", "schluss", "schlusskurs", "cloture", "clture", "clot", "clt", "dernier"),
        *("chiusura", "cierre", "closeclosepriceadjustedforsplits"),
    ),
    "volume": (
        *("volume", "vol", "sharevolume", "totalvolume", "tradedvolume", "v", "volumen", "stuck"),
        *("stcke", "stucke"),
    ),
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
        # The page's own words, with the explanation that a copy of its table has beside them.
        "adjcloseadjustedclosepriceadjustedforsplitsanddividendandorcapitalgaindistributions",
    ),
}
"""Our fields, each with the plain names that stand for it, the most telling first."""

NEEDED = ("session", "open", "high", "low", "close", "volume")
"""Fields without which no row can be stored; a symbol may also be in a file's name."""

NUMBERS = ("open", "high", "low", "close", "volume", "split", "dividend", "adjusted_close")


def plain(name: str) -> str:
    """A column's name in lower case, without marks and numbering: ``<TICKER>``, ``1. open``."""
    letters = unicodedata.normalize("NFKD", name.lower())
    return re.sub(r"^\d+(?=[a-z])", "", re.sub(r"[^a-z0-9]", "", letters))


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
