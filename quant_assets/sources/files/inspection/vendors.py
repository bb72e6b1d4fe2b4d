"""The layouts of known vendors, and in which shares each has its prices.

A layout is recognised by its columns. What a vendor does to its prices is no column: it is what the
vendor's documentation says, and is told with the proposal.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from quant_assets.sources.files.inspection.names import FIELDS, plain

Basis = Literal["as_traded", "split_adjusted", "unknown"]


@dataclass(frozen=True)
class Vendor:
    """``columns`` are plain names that a layout has, ``without`` those it lacks. ``uses`` are our
    optional fields that are taken from it; ``spelling`` is how symbols are spelt.
    """

    name: str
    title: str
    columns: frozenset[str]
    basis: Basis
    why: str
    uses: tuple[str, ...] = ()
    without: frozenset[str] = frozenset()
    exactly: bool = False
    spelling: Literal["usual", "tape", "stooq"] = "usual"
    symbols_of_their_day: bool = False


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_ALL_ADJUSTED = (
    "{who} adjusts them for dividends as well. Read them with adjust=none: their returns are total "
    "returns, and dividends of another source would count twice"
)

_EVENTS = frozenset([*FIELDS["split"], *FIELDS["dividend"]])

VENDORS = (
    Vendor(
        "stooq",
        "Stooq's bulk file (ASCII)",
        _names("ticker per date time open high low close vol"),
        "split_adjusted",
        _ALL_ADJUSTED.format(who="Stooq"),
        spelling="stooq",
    ),
    Vendor(
        "stooq",
        "a data set made from Stooq's files",
        _names("date open high low close volume openint"),
        "split_adjusted",
        _ALL_ADJUSTED.format(who="Stooq"),
        spelling="stooq",
    ),
    Vendor(
        "massive",
        "Massive's (Polygon's) day aggregates",
        _names("ticker volume open close high low windowstart transactions"),
        "as_traded",
        "day aggregates of Massive are not adjusted; their tickers are those of the day",
        spelling="tape",
        symbols_of_their_day=True,
    ),
    Vendor(
        "quandl_wiki",
        "Quandl's WIKI prices",
        _names("date open high low close volume exdividend splitratio"),
        "as_traded",
        "open to close are as traded; splits and dividends are in split_ratio and ex-dividend",
        uses=("split", "dividend"),
    ),
    Vendor(
        "tiingo",
        "Tiingo's daily prices",
        _names("date close high low open volume adjclose divcash splitfactor"),
        "as_traded",
        "close is as traded; dividends and splits are in divCash and splitFactor",
        uses=("split", "dividend"),
    ),
    Vendor(
        "alphavantage",
        "Alpha Vantage's daily adjusted prices",
        _names("timestamp adjustedclose dividendamount splitcoefficient"),
        "as_traded",
        "close is as traded; dividend_amount and split_coefficient have the events",
        uses=("split", "dividend"),
    ),
    Vendor(
        "alphavantage",
        "Alpha Vantage's daily prices",
        _names("timestamp open high low close volume"),
        "as_traded",
        "TIME_SERIES_DAILY is as traded, without a list of splits and dividends",
        exactly=True,
    ),
    Vendor(
        "sharadar",
        "Sharadar's equity prices",
        _names("ticker date close closeadj closeunadj"),
        "split_adjusted",
        "close is adjusted for splits; closeadj for dividends too",
        uses=("adjusted_close",),
    ),
    Vendor(
        "yfinance",
        "yfinance's history with Adj Close",
        _names("dividends stocksplits adjclose close"),
        "split_adjusted",
        "Close is adjusted for splits up to the day of download",
        uses=("split", "dividend"),
    ),
    Vendor(
        "yfinance",
        "yfinance's history",
        _names("dividends stocksplits close"),
        "split_adjusted",
        _ALL_ADJUSTED.format(who="yfinance, unless auto_adjust=False,"),
        without=_names("adjclose"),
    ),
    Vendor(
        "eodhd",
        "EODHD's end-of-day prices",
        _names("date open high low close adjustedclose volume"),
        "as_traded",
        "EODHD's close is as traded; splits and dividends show in its adjusted close",
        uses=("adjusted_close",),
        without=_EVENTS,
    ),
    Vendor(
        "yahoo",
        "Yahoo's download",
        _names("open high low close adjclose volume"),
        "split_adjusted",
        "with Adj Close beside it, Yahoo's Close is adjusted for splits up to the day of download; "
        "dividends show in Adj Close",
        uses=("adjusted_close",),
        without=_EVENTS,
    ),
    Vendor(
        "nasdaq",
        "Nasdaq's historical quotes",
        _names("closelast"),
        "split_adjusted",
        "Nasdaq adjusts them for splits up to the day of download",
    ),
)

YFINANCE = Vendor(
    "yfinance",
    "yfinance's download",
    frozenset(),
    "split_adjusted",
    _ALL_ADJUSTED.format(who="yfinance, where it writes no Adj Close,"),
)

UNKNOWN = Vendor("", "a layout of no vendor known here", frozenset(), "unknown", "")


def vendor_of(columns: Iterable[str], *, several_header_lines: bool) -> Vendor:
    names = {plain(column) for column in columns if plain(column)}
    for vendor in VENDORS:
        alike = vendor.columns <= names and not vendor.without & names
        if alike and (names == vendor.columns or not vendor.exactly):
            return vendor
    return YFINANCE if several_header_lines else UNKNOWN
