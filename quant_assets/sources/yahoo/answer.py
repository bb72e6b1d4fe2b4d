"""A chart as our answer: prices and payments as traded, sessions without a bar explained or not."""

from __future__ import annotations

import datetime as dt
import json
import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from quant_assets.contracts.prices import (
    ACTION_COLUMNS,
    EMPTY_COLUMNS,
    PRICE_COLUMNS,
    UNREADABLE_COLUMNS,
    Instrument,
    PriceAnswer,
    PriceRequest,
)
from quant_assets.contracts.source import BadAnswer, MissingAtSource
from quant_assets.price_rules.corporate_actions import Reported, records
from quant_assets.reference.calendars import QUIET_SESSIONS, Calendar
from quant_assets.schema.table import CURRENCIES
from quant_assets.sources.yahoo.chart import BAR, Chart, Days
from quant_assets.sources.yahoo.fields import SOURCE, Floats
from quant_assets.sources.yahoo.shares import ROUNDING_ERROR, as_traded, factors

TELLING_RATIO = 2.0
"""Splits from here on are too large for a price not to show whether they are applied."""


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
