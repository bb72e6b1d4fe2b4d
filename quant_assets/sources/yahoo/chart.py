"""Yahoo's daily chart: bytes to a ``Chart``, a ``Chart`` to rows, actions and confirmed gaps.

Pure: how Yahoo is asked is in ``sources/yahoo.py``. The JSON is read here and not by yfinance,
whose ``Ticker.history`` makes a missing volume 0, drops and sorts rows without a word and calls a
time-out a delisting. Any field may be missing or null.

Yahoo's prices, volumes and dividends are in today's shares. They come out in the shares of their
own day: every split between that day and now is undone, which is right only if the answer reaches
the present and so lists all of them.
"""

from __future__ import annotations

import datetime as dt
import json
import zoneinfo
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from quant_assets.contracts.prices import Instrument
from quant_assets.contracts.source import BadAnswer, RateLimited, UnknownSymbolAtSource
from quant_assets.sources.yahoo.events import UnreadEvent, read_payments, read_splits
from quant_assets.sources.yahoo.fields import SOURCE, Floats, first, floats, mapping, moment, number

Days = npt.NDArray[np.datetime64]
BAR = ("open", "high", "low", "close", "volume")

_TYPES = {"EQUITY": "stock", "ETF": "etf", "CRYPTOCURRENCY": "crypto"}
_CURRENCIES = {"GBp": "GBX"}
_NOTHING = "data doesn't exist"


@dataclass(frozen=True)
class Chart:
    """One answer, in Yahoo's terms.

    ``bars`` has a row per entry of ``days`` and the columns ``BAR``, NaN where nothing is given;
    a day is NaT where its time can't be read. ``splits`` are new shares per old one by ex-date,
    ``payments`` amounts by ex-date and kind; ``impossible`` are those that can be none.
    ``nothing`` holds Yahoo's words where it confirms that it has no data for the days asked for.
    """

    instrument: Instrument
    zone: dt.tzinfo
    days: Days
    bars: Floats
    splits: Mapping[dt.date, float]
    payments: Mapping[tuple[dt.date, str], float]
    impossible: tuple[UnreadEvent, ...] = ()
    nothing: str = ""


def yahoo_symbol(symbol: str) -> str:
    """Yahoo's spelling of one of ours: BRK.B is BRK-B there, BTC-USD stays."""
    return symbol.replace(".", "-")


def read_body(body: bytes) -> Mapping[str, Any]:
    """The JSON object of a body. Raises RateLimited or BadAnswer for what is none."""
    try:
        answered = json.loads(body)
    except ValueError as error:
        opening = " ".join(body[:200].decode("utf-8", "replace").split())
        if "too many requests" in opening.lower():
            raise RateLimited(SOURCE) from error
        message = f"{SOURCE} answered with {len(body)} bytes that are no JSON: {opening[:80]!r}."
        raise BadAnswer(SOURCE, message) from error
    if not isinstance(answered, dict):
        raise BadAnswer(SOURCE, f"{SOURCE} answered with JSON that is no object.")
    return answered


def read_chart(symbol: str, answered: Mapping[str, Any]) -> Chart:
    """The chart in an answer for ``symbol`` (our spelling).

    Raises UnknownSymbolAtSource where Yahoo says that it has no such symbol, and BadAnswer for
    anything else that is no daily chart of it.
    """
    chart = mapping(answered.get("chart"))
    result = first(chart.get("result"))
    meta = mapping(result.get("meta"))
    if not meta:
        return _refusal(symbol, mapping(chart.get("error")))
    told = str(meta.get("symbol") or symbol)
    if yahoo_symbol(told).upper() != yahoo_symbol(symbol):
        raise BadAnswer(SOURCE, f"{SOURCE} was asked for {symbol} and answered with {told}.")
    zone = _zone(symbol, meta)
    days, bars = _bars(symbol, result, zone)
    if len(days) and meta.get("dataGranularity") not in (None, "1d"):
        step = meta["dataGranularity"]
        raise BadAnswer(SOURCE, f"{SOURCE} answered for {symbol} in steps of {step}, not of a day.")
    events = mapping(result.get("events"))
    payments, impossible = read_payments(events, zone)
    return Chart(
        _instrument(symbol, meta, zone),
        zone,
        days,
        bars,
        read_splits(symbol, events, zone),
        payments,
        impossible,
    )


def _refusal(symbol: str, error: Mapping[str, Any]) -> Chart:
    code, words = str(error.get("code") or ""), str(error.get("description") or "")
    if words.lower().startswith(_NOTHING):
        days, bars = np.array([], "datetime64[D]"), np.empty((0, len(BAR)))
        return Chart(Instrument(symbol), dt.UTC, days, bars, {}, {}, nothing=words)
    if code == "Not Found":
        hint = "Yahoo says the same of a symbol it never had and of one it has dropped."
        raise UnknownSymbolAtSource(SOURCE, symbol, hint)
    said = f"{code}: {words}" if error else "neither data nor a reason"
    raise BadAnswer(SOURCE, f"{SOURCE} answered for {symbol} with {said}.")


def _zone(symbol: str, meta: Mapping[str, Any]) -> dt.tzinfo:
    """The exchange's zone. Its present offset is the last resort: it knows no summer time."""
    try:
        return zoneinfo.ZoneInfo(str(meta.get("exchangeTimezoneName")))
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):  # of a name that is no name
        offset = number(meta.get("gmtoffset"))
    if abs(offset) < 86_400:
        return dt.timezone(dt.timedelta(seconds=offset))
    raise BadAnswer(SOURCE, f"{SOURCE} doesn't say in which time zone {symbol} trades.")


def _instrument(symbol: str, meta: Mapping[str, Any], zone: dt.tzinfo) -> Instrument:
    kind, currency, exchange, zone_name, long_name, short_name = (
        str(meta[name]) if meta.get(name) else None
        for name in (
            *("instrumentType", "currency", "exchangeName"),
            *("exchangeTimezoneName", "longName", "shortName"),
        )
    )
    first = moment(meta.get("firstTradeDate"))
    return Instrument(
        symbol,
        type=_TYPES.get(kind, kind.lower()) if kind else None,
        exchange=exchange,
        currency=_CURRENCIES.get(currency, currency) if currency else None,
        zone=zone_name,
        name=long_name or short_name,
        first_trade_on=first.astimezone(zone).date() if first else None,
        last_trade_at=moment(meta.get("regularMarketTime")),
    )


def _bars(symbol: str, result: Mapping[str, Any], zone: dt.tzinfo) -> tuple[Days, Floats]:
    stamps = result.get("timestamp")
    at = floats(stamps if isinstance(stamps, list) else [])
    quote = first(mapping(result.get("indicators")).get("quote"))
    bars = np.full((len(at), len(BAR)), np.nan)
    for place, name in enumerate(BAR):
        values = quote.get(name)
        if not isinstance(values, list):
            continue
        if len(values) != len(at):
            said = f"{len(at)} days and {len(values)} numbers as {name}"
            message = f"{SOURCE} answered for {symbol} with {said}: which is whose can't be told."
            raise BadAnswer(SOURCE, message)
        bars[:, place] = floats(values)
    return _days(at, zone), bars


def _days(at: Floats, zone: dt.tzinfo) -> Days:
    import pandas as pd  # noqa: PLC0415 - it takes 0.6 s; yfinance needs it too, once Yahoo is used

    legible = np.abs(at) < 1e10  # the years 1653 to 2286; NaN is not among them
    moments = pd.DatetimeIndex(np.where(legible, at, 0).astype("datetime64[s]"), tz="UTC")
    days: Days = moments.tz_convert(zone).tz_localize(None).to_numpy().astype("datetime64[D]")
    days[~legible] = np.datetime64("NaT")
    return days
