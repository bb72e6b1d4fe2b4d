"""Yahoo's daily chart: the bytes of a response read as a ``Chart``, in Yahoo's own terms.

Requests are in ``transport.py``; the rows and actions of a chart are in ``answer.py``. The JSON is
read here and not by yfinance, whose ``Ticker.history`` makes a missing volume 0, drops and sorts
rows without notice and reports a time-out as a delisting.
"""

from __future__ import annotations

import datetime as dt
import math
import zoneinfo
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from quant_assets.contracts.prices import Instrument
from quant_assets.contracts.source import BadAnswer, RateLimited, UnknownSymbolAtSource
from quant_assets.fetching.json_body import read_json
from quant_assets.sources.yahoo.events import (
    Payment,
    UnreadEvent,
    currency_of,
    read_payments,
    read_splits,
)
from quant_assets.sources.yahoo.fields import (
    SOURCE,
    Floats,
    first,
    floats,
    mapping,
    moment,
    number,
    refuse_unless,
    text,
)

Days = npt.NDArray[np.datetime64]
BAR = ("open", "high", "low", "close", "volume")

_TYPES = {"EQUITY": "stock", "ETF": "etf", "CRYPTOCURRENCY": "crypto"}
_NO_DATA = "data doesn't exist"


@dataclass(frozen=True)
class Chart:
    """One response, in Yahoo's terms: prices, volumes and dividends in today's shares.

    ``bars`` has a row per entry of ``days`` and the columns ``BAR``, NaN where nothing is given and
    infinite where it is no number;
    a day is NaT where its time can't be read. ``splits`` are new shares per old one by ex-date,
    ``payments`` amounts by ex-date, kind and currency, ``unreadable_payments`` those without day
    or amount.
    ``no_data`` is Yahoo's sentence where it confirms that it has none for the days requested.
    """

    instrument: Instrument
    zone: dt.tzinfo
    days: Days
    bars: Floats
    splits: Mapping[dt.date, float]
    payments: Mapping[Payment, float]
    unreadable_payments: tuple[UnreadEvent, ...] = ()
    no_data: str = ""


def yahoo_symbol(symbol: str) -> str:
    """Yahoo's spelling of one of ours: BRK.B is BRK-B there, BAC.PRL is BAC-PL, BTC-USD stays."""
    return symbol.replace(".PR", "-P").replace(".", "-")


def read_body(body: bytes) -> Mapping[str, Any]:
    """The JSON object in a body. Raises RateLimited, or BadAnswer where there is none."""
    try:
        payload = read_json(body)
    except ValueError as error:
        opening = " ".join(body[:200].decode("utf-8", "replace").split())
        if "too many requests" in opening.lower():
            raise RateLimited(SOURCE) from error
        message = f"{SOURCE} answered with {len(body)} bytes that are no JSON: {opening[:80]!r}"
        # Of what begins as JSON, the reason is worth more than the beginning.
        message += f" ({error})." if opening.startswith(("{", "[")) else "."
        raise BadAnswer(SOURCE, message) from error
    if not isinstance(payload, dict):
        raise BadAnswer(SOURCE, f"{SOURCE} answered with JSON that is no object.")
    return payload


def read_chart(symbol: str, payload: Mapping[str, Any]) -> Chart:
    """The chart of ``symbol`` (our spelling) in the JSON of a response.

    Raises UnknownSymbolAtSource where Yahoo reports that it has no such symbol, and BadAnswer for
    any other JSON that is no daily chart of it.
    """
    chart = mapping(payload.get("chart"))
    result = first(chart.get("result"))
    meta = mapping(result.get("meta"))
    if not meta:
        return _refusal(symbol, mapping(chart.get("error")))
    answered = str(meta.get("symbol") or symbol)
    if yahoo_symbol(answered).upper() != yahoo_symbol(symbol):
        raise BadAnswer(SOURCE, f"{SOURCE} was asked for {symbol} and answered with {answered}.")
    zone = _zone(symbol, meta)
    days, bars = _bars(symbol, result, zone)
    if len(days) and meta.get("dataGranularity") not in (None, "1d"):
        step = meta["dataGranularity"]
        raise BadAnswer(SOURCE, f"{SOURCE} answered for {symbol} in steps of {step}, not of a day.")
    refuse_unless(dict, result.get("events") or None, symbol, "list of events")
    events = mapping(result.get("events"))
    instrument = _instrument(symbol, meta, zone)
    payments, unreadable = read_payments(events, zone, instrument.currency or "")
    return Chart(
        instrument,
        zone,
        days,
        bars,
        read_splits(symbol, events, zone),
        payments,
        unreadable,
    )


def _refusal(symbol: str, error: Mapping[str, Any]) -> Chart:
    code, words = text(error.get("code")) or "", text(error.get("description")) or ""
    if words.lower().startswith(_NO_DATA):
        days, bars = np.array([], "datetime64[D]"), np.empty((0, len(BAR)))
        return Chart(Instrument(symbol), dt.UTC, days, bars, {}, {}, no_data=words)
    if code == "Not Found":
        hint = "Yahoo answers the same for a symbol it never had and for one it has dropped."
        raise UnknownSymbolAtSource(SOURCE, symbol, hint)
    reason = f"{code}: {words}" if error else "neither data nor a reason"
    raise BadAnswer(SOURCE, f"{SOURCE} answered for {symbol} with {reason}.")


def _zone(symbol: str, meta: Mapping[str, Any]) -> dt.tzinfo:
    """The exchange's zone, or where it has no name its present offset, without summer time."""
    try:
        return zoneinfo.ZoneInfo(str(meta.get("exchangeTimezoneName")))
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):  # of a name that is no name
        offset = number(meta.get("gmtoffset"))
    if abs(offset) < 86_400:
        return dt.timezone(dt.timedelta(seconds=offset))
    raise BadAnswer(SOURCE, f"{SOURCE} names no time zone for {symbol}.")


def _instrument(symbol: str, meta: Mapping[str, Any], zone: dt.tzinfo) -> Instrument:
    kind, exchange, zone_name, long_name, short_name = (
        text(meta.get(name))
        for name in (
            *("instrumentType", "exchangeName"),
            *("exchangeTimezoneName", "longName", "shortName"),
        )
    )
    listed = moment(meta.get("firstTradeDate"))
    return Instrument(
        symbol,
        type=_TYPES.get(kind, kind.lower()) if kind else None,
        exchange=exchange,
        currency=currency_of(meta),
        zone=zone_name,
        name=long_name or short_name,
        first_trade_on=listed.astimezone(zone).date() if listed else None,
        last_trade_at=moment(meta.get("regularMarketTime")),
    )


def _bars(symbol: str, result: Mapping[str, Any], zone: dt.tzinfo) -> tuple[Days, Floats]:
    stamps, indicators = result.get("timestamp"), result.get("indicators")
    refuse_unless(list, stamps, symbol, "list of days")
    refuse_unless(dict, indicators, symbol, "list of prices")
    quotes = mapping(indicators).get("quote")
    refuse_unless(list, quotes, symbol, "list of prices")
    at, quote = floats(stamps or []), first(quotes)
    bars = np.full((len(at), len(BAR)), np.nan)
    for place, name in enumerate(BAR):
        values = quote.get(name)
        refuse_unless(list, values, symbol, f"column {name}")
        if values is None:
            continue
        if len(values) != len(at):
            counts = f"{len(at)} days and {len(values)} numbers as {name}"
            message = f"{SOURCE} answered for {symbol} with {counts}, which can't be matched."
            raise BadAnswer(SOURCE, message)
        bars[:, place] = floats(values)
        for row in np.flatnonzero(np.isnan(bars[:, place])):
            if not _is_null(values[row]):  # no blank: the row rules are to reject it
                bars[row, place] = np.inf
    return _days(at, zone), bars


def _is_null(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _days(at: Floats, zone: dt.tzinfo) -> Days:
    import pandas as pd  # noqa: PLC0415 - it takes 0.6 s; yfinance needs it too, once Yahoo is used

    legible = np.abs(at) < 1e10  # the years 1653 to 2286; NaN is not among them
    moments = pd.DatetimeIndex(np.where(legible, at, 0).astype("datetime64[s]"), tz="UTC")
    days: Days = moments.tz_convert(zone).tz_localize(None).to_numpy().astype("datetime64[D]")
    days[~legible] = np.datetime64("NaT")
    return days
