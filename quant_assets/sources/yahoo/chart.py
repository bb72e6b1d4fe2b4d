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
import math
import zoneinfo
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from quant_assets.contracts.source import (
    ACTION_COLUMNS,
    EMPTY_COLUMNS,
    PRICE_COLUMNS,
    UNREADABLE_COLUMNS,
    BadAnswer,
    Instrument,
    MissingAtSource,
    PriceAnswer,
    PriceRequest,
    RateLimited,
    UnknownSymbolAtSource,
)
from quant_assets.price_rules.corporate_actions import Reported, records
from quant_assets.reference.calendars import Calendar
from quant_assets.schema.table import CURRENCIES

Floats = npt.NDArray[np.float64]
Days = npt.NDArray[np.datetime64]

SOURCE = "yahoo"
BAR = ("open", "high", "low", "close", "volume")

FLOAT_ERROR = 2.0**-24
"""Largest relative rounding error of a 32-bit number."""

SLACK = 4
"""How many such errors a price may be off: Yahoo rounds at each split it adjusts for."""

ROUNDING_ERROR = 0.5e-6
"""Yahoo rounds what it adjusts, prices and dividends, to six decimals, and to 32 bits then."""

DIGITS = 8
"""Significant digits kept of a number that is no short decimal; 32 bits hold less than that."""

QUIET_SESSIONS = 5
"""Sessions without a trade after which the last trade is taken for the last."""

TELLING_RATIO = 2.0
"""Splits from here on are too large for a price not to show whether they are applied."""

_Unclear = tuple[dt.date | None, Mapping[str, Any]]
"""An event as Yahoo tells it, and its day where that is legible."""

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
    impossible: tuple[_Unclear, ...] = ()
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
    chart = _mapping(answered.get("chart"))
    result = _first(chart.get("result"))
    meta = _mapping(result.get("meta"))
    if not meta:
        return _refusal(symbol, _mapping(chart.get("error")))
    told = str(meta.get("symbol") or symbol)
    if yahoo_symbol(told).upper() != yahoo_symbol(symbol):
        raise BadAnswer(SOURCE, f"{SOURCE} was asked for {symbol} and answered with {told}.")
    zone = _zone(symbol, meta)
    days, bars = _bars(symbol, result, zone)
    if len(days) and meta.get("dataGranularity") not in (None, "1d"):
        step = meta["dataGranularity"]
        raise BadAnswer(SOURCE, f"{SOURCE} answered for {symbol} in steps of {step}, not of a day.")
    events = _mapping(result.get("events"))
    payments, impossible = _payments(events, zone)
    return Chart(
        _instrument(symbol, meta, zone),
        zone,
        days,
        bars,
        _splits(symbol, events, zone),
        payments,
        impossible,
    )


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _first(values: object) -> Mapping[str, Any]:
    return _mapping(values[0]) if isinstance(values, list) and values else {}


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
        offset = _number(meta.get("gmtoffset"))
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
    first = _moment(meta.get("firstTradeDate"))
    return Instrument(
        symbol,
        type=_TYPES.get(kind, kind.lower()) if kind else None,
        exchange=exchange,
        currency=_CURRENCIES.get(currency, currency) if currency else None,
        zone=zone_name,
        name=long_name or short_name,
        first_trade_on=first.astimezone(zone).date() if first else None,
        last_trade_at=_moment(meta.get("regularMarketTime")),
    )


def _number(value: object) -> float:
    """A number, NaN for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _moment(value: object) -> dt.datetime | None:
    seconds = _number(value)
    # Within the years that a date can have, a day's room for the zone left.
    if not -6.2e10 < seconds < 2.5e11:
        return None
    return dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=seconds)


def _floats(values: Sequence[object]) -> Floats:
    try:
        return np.array(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        return np.array([_number(value) for value in values], dtype=np.float64)


def _bars(symbol: str, result: Mapping[str, Any], zone: dt.tzinfo) -> tuple[Days, Floats]:
    stamps = result.get("timestamp")
    at = _floats(stamps if isinstance(stamps, list) else [])
    quote = _first(_mapping(result.get("indicators")).get("quote"))
    bars = np.full((len(at), len(BAR)), np.nan)
    for place, name in enumerate(BAR):
        values = quote.get(name)
        if not isinstance(values, list):
            continue
        if len(values) != len(at):
            said = f"{len(at)} days and {len(values)} numbers as {name}"
            message = f"{SOURCE} answered for {symbol} with {said}: which is whose can't be told."
            raise BadAnswer(SOURCE, message)
        bars[:, place] = _floats(values)
    return _days(at, zone), bars


def _days(at: Floats, zone: dt.tzinfo) -> Days:
    legible = np.abs(at) < 1e10  # the years 1653 to 2286; NaN is not among them
    moments = pd.DatetimeIndex(np.where(legible, at, 0).astype("datetime64[s]"), tz="UTC")
    days: Days = moments.tz_convert(zone).tz_localize(None).to_numpy().astype("datetime64[D]")
    days[~legible] = np.datetime64("NaT")
    return days


def _listed(
    events: Mapping[str, Any], kind: str, zone: dt.tzinfo
) -> Iterator[tuple[dt.date | None, Mapping[str, Any]]]:
    """Each event of a kind with its local day, None where that can't be read."""
    for key, event in _mapping(events.get(kind)).items():
        told = _mapping(event)
        spare = int(key) if key.removeprefix("-").isdecimal() and key.isascii() else None
        at = _moment(told.get("date")) or _moment(spare)
        yield (at.astimezone(zone).date() if at else None), told


def _splits(symbol: str, events: Mapping[str, Any], zone: dt.tzinfo) -> dict[dt.date, float]:
    """Ratios by ex-date; one told twice counts once.

    Raises BadAnswer for one that can't be read: no earlier price could be trusted.
    """
    found: dict[dt.date, dict[float, None]] = {}
    for day, told in _listed(events, "splits", zone):
        ratio = _ratio(told)
        if day is None or not 0 < ratio < math.inf:
            message = f"{SOURCE} lists a split of {symbol} that can't be read: {dict(told)}."
            raise BadAnswer(SOURCE, message)
        found.setdefault(day, {})[ratio] = None
    ratios = {day: math.prod(told) for day, told in sorted(found.items())}
    return {day: ratio for day, ratio in ratios.items() if ratio != 1}


def _ratio(split: Mapping[str, Any]) -> float:
    above, below = _number(split.get("numerator")), _number(split.get("denominator"))
    if math.isnan(above) or math.isnan(below):
        sides = str(split.get("splitRatio") or "").replace("/", ":").split(":")
        try:
            above, below = map(float, sides)
        except ValueError:
            return math.nan
    return above / below if below else math.nan


_PAYMENTS = {"dividends": "cash_dividend", "capitalGains": "capital_gain"}


def _payments(
    events: Mapping[str, Any], zone: dt.tzinfo
) -> tuple[dict[tuple[dt.date, str], float], tuple[_Unclear, ...]]:
    """Amounts by ex-date and kind; different ones of a day add up, one told twice counts once."""
    found: dict[tuple[dt.date, str], dict[float, None]] = {}
    impossible = []
    for name, kind in _PAYMENTS.items():
        for day, told in _listed(events, name, zone):
            amount = _number(told.get("amount"))
            if day is None or not 0 <= amount < math.inf:
                impossible.append((day, told))
            elif amount:
                found.setdefault((day, kind), {})[amount] = None
    return {key: math.fsum(told) for key, told in sorted(found.items())}, tuple(impossible)


def factors(days: Days, splits: Mapping[dt.date, float]) -> Floats:
    """By how much the splits that took effect after each day multiplied its shares."""
    dates = np.array(sorted(splits), dtype="datetime64[D]")
    ratios = np.array([splits[day] for day in sorted(splits)])
    later = np.append(np.cumprod(ratios[::-1])[::-1], 1.0)
    found: Floats = later[np.searchsorted(dates, days, side="right")]
    return found


def as_traded(adjusted: Floats, factor: Floats, error: Floats | float = 0.0) -> Floats:
    """Undo ``factor`` on 32-bit prices: the shortest decimal that Yahoo's rounding leaves possible.

    A price in cents comes back exactly up to 20,971 (0.005 / (4 × 2⁻²⁴)) however often it was
    rounded within ``SLACK``, and up to 83,886 (0.005 × 2²⁴) if only once; above, two decimals say
    less than 32 bits do. ``error`` is what ``adjusted`` may be off besides. NaN stays NaN.
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        product = adjusted * factor
        possible = np.abs(product) * (FLOAT_ERROR * SLACK) + error * factor
        digits = DIGITS - 1 - np.floor(np.log10(np.abs(product)))
        scale = 10.0 ** np.clip(np.where(np.isfinite(digits), digits, 0), 0, 300)
        restored: Floats = np.where(np.isfinite(product), np.rint(product * scale) / scale, product)
        for decimals in (4, 3, 2):  # the fewest last: they win
            rounded = np.round(product, decimals)
            restored = np.where(np.abs(rounded - product) <= possible, rounded, restored)
    return restored


def answer_for(
    chart: Chart, request: PriceRequest, calendar: Calendar, now: dt.datetime
) -> PriceAnswer:
    """What a chart says about a request, up to the last session closed at ``now`` (aware).

    All from ``request.first`` on is told, also what lies after the request; its sessions without a
    row are empty where Yahoo gives evidence, and a MissingAtSource failure where it does not.
    """
    symbol, what, currency = request.symbol, chart.instrument, chart.instrument.currency or ""
    last_closed = calendar.last_closed_session(now)
    today = max(last_closed, now.astimezone(chart.zone).date())
    chart = _within(chart, request.first, today)
    days, bars = _settled(chart.days, chart.bars, last_closed)
    sure_from = _sure_from(chart)
    actions = _actions(chart, sure_from)
    if (len(days) or actions) and currency not in CURRENCIES:
        return _foreign(what)
    missing = _missing(days, request, calendar, last_closed)
    empty = _confirmed(missing, days, chart, calendar, last_closed)
    unexplained = [day for day in missing if day not in empty]
    sure = days >= np.datetime64(sure_from)
    unreadable = _illegible(chart) + _doubtful(chart, days[~sure], bars[~sure], sure_from)
    return PriceAnswer(
        (symbol,),
        _rows(symbol, currency, days[sure], bars[sure], chart.splits),
        pa.Table.from_pylist(actions, ACTION_COLUMNS),
        pa.Table.from_pylist(
            [{"symbol": symbol, "session": day, "reason": why} for day, why in empty.items()],
            EMPTY_COLUMNS,
        ),
        pa.Table.from_pylist(unreadable, UNREADABLE_COLUMNS),
        failures={symbol: MissingAtSource(SOURCE, symbol, unexplained)} if unexplained else {},
        instruments=(what if currency in CURRENCIES else replace(what, currency=None),),
    )


def _within(chart: Chart, first: dt.date, today: dt.date) -> Chart:
    """The chart from ``first`` on, without events to come; bars without a day stay."""
    kept = ~(chart.days < np.datetime64(first))
    return replace(
        chart,
        days=chart.days[kept],
        bars=chart.bars[kept],
        splits={day: ratio for day, ratio in chart.splits.items() if first <= day <= today},
        payments={key: paid for key, paid in chart.payments.items() if first <= key[0] <= today},
    )


def _foreign(what: Instrument) -> PriceAnswer:
    """A failure: its prices can't be stored, and no other currency is put in place of theirs."""
    said = f"prices {what.symbol} in {what.currency}, which is no currency known here."
    if not what.currency:
        said = f"names no currency for {what.symbol}."
    error = BadAnswer(SOURCE, f"{SOURCE} {said}")
    return PriceAnswer(
        (what.symbol,),
        PRICE_COLUMNS.empty_table(),
        failures={what.symbol: error},
        instruments=(replace(what, currency=None),),
    )


def _settled(days: Days, bars: Floats, last_closed: dt.date) -> tuple[Days, Floats]:
    """Bars of closed sessions, ascending: without the live bar, blank bars and superfluous twins.

    A blank bar has no price and no volume. Of equal bars of a day one is kept. Of two last bars of
    one day the second is the live quote, and the final one now that the day is over; other bars of
    one day that differ all stay, for ``quality`` to reject.
    """
    blank = np.isnan(bars[:, :4]).all(axis=1) & ~(bars[:, 4] > 0)
    kept = (days <= np.datetime64(last_closed)) & ~blank
    days, bars = days[kept], bars[kept]
    if len(days) > 1 and days[-1] == days[-2]:
        days, bars = np.delete(days, -2), np.delete(bars, -2, axis=0)
    if (np.diff(days) > np.timedelta64(0)).all():  # as nearly always
        return days, bars
    order = np.argsort(days, kind="stable")
    first: dict[tuple[object, ...], int] = {}
    for at in order:
        first.setdefault((days[at], bars[at].tobytes()), int(at))
    distinct = np.array(list(first.values()), dtype=np.int64)
    return days[distinct], bars[distinct]


def _sure_from(chart: Chart) -> dt.date:
    """The ex-date of the latest split that is listed and that prices do not seem adjusted for.

    In the hours around a split, and sometimes for good, Yahoo lists it before its prices show it.
    Undoing it then would make them wrong by the ratio. The step from the last close before to the
    first price after tells: near 1 where adjusted, near the ratio where not.
    """
    order = np.argsort(chart.days, kind="stable")  # NaT last
    days, first, last = chart.days[order], chart.bars[order, 0], chart.bars[order, 3]
    known = ~np.isnat(days) & (last > 0) & np.isfinite(last)
    first = np.where((first > 0) & np.isfinite(first), first, last)
    days, first, last = days[known], first[known], last[known]
    for day, ratio in sorted(chart.splits.items(), reverse=True):
        at = int(np.searchsorted(days, np.datetime64(day)))
        if not 0 < at < len(days) or 1 / TELLING_RATIO < ratio < TELLING_RATIO:
            continue
        step = math.log(last[at - 1]) - math.log(first[at])
        if abs(step - math.log(ratio)) < abs(step):
            return day
    return dt.date.min


def _missing(
    days: Days, request: PriceRequest, calendar: Calendar, last_closed: dt.date
) -> list[dt.date]:
    start, end = max(request.start, calendar.sessions[0]), min(request.end, last_closed)
    if start > end:
        return []
    held = set(days.tolist())
    return [day for day in calendar.between(start, end) if day not in held]


def _confirmed(
    missing: Sequence[dt.date], days: Days, chart: Chart, calendar: Calendar, last_closed: dt.date
) -> dict[dt.date, str]:
    """The missing sessions that Yahoo itself explains, with its explanation."""
    if chart.nothing:
        return dict.fromkeys(missing, f"Yahoo: {chart.nothing}")
    found: dict[dt.date, str] = {}
    listed, traded = chart.instrument.first_trade_on, chart.instrument.last_trade_at
    if listed:
        reason = f"not listed before {listed}"
        found |= {day: reason for day in missing if day < listed}
    if traded:
        ended = traded.astimezone(chart.zone).date()
        since = bisect_right(calendar.sessions, last_closed) - bisect_right(
            calendar.sessions, ended
        )
        if since > QUIET_SESSIONS and not (days > np.datetime64(ended)).any():
            found |= {day: f"no trade since {ended}" for day in missing if day > ended}
    return found


def _rows(
    symbol: str, currency: str, days: Days, bars: Floats, splits: Mapping[dt.date, float]
) -> pa.Table:
    factor = factors(days, splits)
    error = np.where(factor == 1, 0.0, ROUNDING_ERROR)
    session = pa.array(days, pa.date32())
    prices = {
        name: pa.array(as_traded(bars[:, place], factor, error), from_pandas=True)
        for place, name in enumerate(BAR[:4])
    }
    return pa.table(
        {
            "symbol": pa.repeat(symbol, len(days)),
            "session": session,
            **prices,
            "volume": pa.array(np.rint(bars[:, 4] / factor), from_pandas=True),
            "basis_on": session,
            "currency": pa.repeat(currency, len(days)),
        },
        schema=PRICE_COLUMNS,
    )


def _unreadable(symbol: str, days: Days, bars: Floats, reason: str) -> list[dict[str, str]]:
    return [
        _aside(symbol, day, reason, dict(zip(BAR, bar, strict=True)))
        for day, bar in zip(days.tolist(), bars.tolist(), strict=True)
    ]


def _aside(
    symbol: str, day: dt.date | None, reason: str, told: Mapping[str, object]
) -> dict[str, str]:
    raw = json.dumps(dict(told), sort_keys=True)
    return {"symbol": symbol, "session": str(day or ""), "reason": reason, "raw": raw}


def _doubtful(chart: Chart, days: Days, bars: Floats, sure_from: dt.date) -> list[dict[str, str]]:
    symbol = chart.instrument.symbol
    reason = f"whose shares it is in can't be told: the split of {sure_from} is listed, not seen"
    return _unreadable(symbol, days, bars, reason) + [
        _aside(symbol, day, reason, {kind: amount})
        for (day, kind), amount in chart.payments.items()
        if day < sure_from
    ]


def _illegible(chart: Chart) -> list[dict[str, str]]:
    """Bars whose day can't be read, and payments that can be none."""
    symbol, lost = chart.instrument.symbol, np.isnat(chart.days)
    rows = _unreadable(symbol, chart.days[lost], chart.bars[lost], "its time can't be read")
    reason = "a payment without a day or an amount"
    return rows + [_aside(symbol, day, reason, told) for day, told in chart.impossible]


def _actions(chart: Chart, since: dt.date) -> list[dict[str, object]]:
    """All splits, and payments from ``since`` on, per share of the ex-date."""
    symbol, currency = chart.instrument.symbol, chart.instrument.currency or ""
    splits = [Reported(symbol, day, n, None, day, currency) for day, n in chart.splits.items()]
    rows = records(splits, {})
    paid = {key: amount for key, amount in chart.payments.items() if key[0] >= since}
    days = np.array([day for day, _ in paid], dtype="datetime64[D]")
    reported = np.array(list(paid.values()), dtype=np.float64)
    amounts = as_traded(reported, factors(days, chart.splits), ROUNDING_ERROR).tolist()
    for ((day, kind), told), amount in zip(paid.items(), amounts, strict=True):
        [row] = records([Reported(symbol, day, None, amount, day, currency)], {})
        rows.append(row | {"kind": kind, "reported_amount": told})
    return rows
