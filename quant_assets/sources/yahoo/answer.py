"""A chart turned into our answer: rows and actions as traded, and sessions without a bar."""

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
)
from quant_assets.contracts.source import BadAnswer, MissingAtSource, Request
from quant_assets.price_rules.corporate_actions import Reported, records
from quant_assets.reference.calendars import QUIET_SESSIONS, Calendar
from quant_assets.schema.table import CURRENCIES
from quant_assets.sources.yahoo.chart import BAR, Chart, Days
from quant_assets.sources.yahoo.fields import SOURCE, Floats
from quant_assets.sources.yahoo.shares import ROUNDING_ERROR, as_traded, factors

VISIBLE_RATIO = 2.0
"""From this ratio on, prices show whether they are adjusted for a split."""

PATIENCE = dt.timedelta(days=30)
"""How long Yahoo is given to show a split that it lists."""

PLAIN_STEP = 0.25
"""How far a step may be from a ratio, as a logarithm, to be that of prices not adjusted for it."""


def answer_for(chart: Chart, request: Request, calendar: Calendar, now: dt.datetime) -> PriceAnswer:
    """The answer of a chart to a request, up to the last session closed at ``now`` (aware).

    It has every row and action from ``request.first`` on, also those after the request. Requested
    sessions without a row are empty where Yahoo gives a reason, else a MissingAtSource failure.
    """
    symbol, instrument = request.symbol, chart.instrument
    currency = instrument.currency or ""
    last_closed = calendar.last_closed_session(now)
    today = max(last_closed, now.astimezone(chart.zone).date())
    chart = _within(chart, request.first, today)
    days, bars = _closed_bars(chart.days, chart.bars, last_closed)
    adjusted_from, undone = _adjusted_from(chart, today)
    actions = _actions(chart, adjusted_from, undone)
    if (len(days) or actions) and currency not in CURRENCIES:
        return _unknown_currency(instrument)
    missing = _missing(days, request, calendar, last_closed)
    empty = _explained(missing, days, chart, calendar, last_closed)
    unexplained = [day for day in missing if day not in empty]
    known = days >= np.datetime64(adjusted_from)
    unreadable = _undated(chart) + _unknown_shares(chart, days[~known], bars[~known], adjusted_from)
    return PriceAnswer(
        (symbol,),
        _rows(symbol, currency, days[known], bars[known], undone),
        pa.Table.from_pylist(actions, ACTION_COLUMNS),
        pa.Table.from_pylist(
            [{"symbol": symbol, "session": day, "reason": why} for day, why in empty.items()],
            EMPTY_COLUMNS,
        ),
        pa.Table.from_pylist(unreadable, UNREADABLE_COLUMNS),
        failures={symbol: MissingAtSource(SOURCE, symbol, unexplained)} if unexplained else {},
        instruments=(instrument if currency in CURRENCIES else replace(instrument, currency=None),),
    )


def _within(chart: Chart, first: dt.date, today: dt.date) -> Chart:
    """The chart from ``first`` on, without future events; bars without a readable day are kept."""
    kept = ~(chart.days < np.datetime64(first))
    return replace(
        chart,
        days=chart.days[kept],
        bars=chart.bars[kept],
        splits={day: ratio for day, ratio in chart.splits.items() if first <= day <= today},
        payments={key: paid for key, paid in chart.payments.items() if first <= key[0] <= today},
    )


def _unknown_currency(instrument: Instrument) -> PriceAnswer:
    """A failure: prices in an unknown currency can't be stored, and no other one is assumed."""
    symbol, currency = instrument.symbol, instrument.currency
    prices = f"prices {symbol} in {currency}, which is no currency known here."
    reason = prices if currency else f"names no currency for {symbol}."
    return PriceAnswer(
        (symbol,),
        PRICE_COLUMNS.empty_table(),
        failures={symbol: BadAnswer(SOURCE, f"{SOURCE} {reason}")},
        instruments=(replace(instrument, currency=None),),
    )


def _closed_bars(days: Days, bars: Floats, last_closed: dt.date) -> tuple[Days, Floats]:
    """Bars of closed sessions, ascending: without the live bar, blank bars and duplicates.

    A blank bar has no price and no volume. Of equal bars of a day one is kept. Where the last two
    bars are of one day, the second is its live quote, and final now that the day is over; other
    unequal bars of one day are all kept, and ``price_rules.row_rules`` rejects them.
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


def _adjusted_from(chart: Chart, today: dt.date) -> tuple[dt.date, Mapping[dt.date, float]]:
    """The ex-date of the latest listed split that prices do not show yet, before which rows are of
    unknown shares; and the splits for which prices are adjusted.

    In the hours around a split, and sometimes for good, Yahoo lists it before its prices show it.
    Undoing it then would make them wrong by the ratio. The step from the last close before to the
    first price after is near 1 where they are adjusted, and near the ratio where they are not. One
    that is not shown after PATIENCE never will be: the prices before are those of their own day.
    """
    order = np.argsort(chart.days, kind="stable")  # NaT last
    days, first, last = chart.days[order], chart.bars[order, 0], chart.bars[order, 3]
    known = ~np.isnat(days) & (last > 0) & np.isfinite(last)
    first = np.where((first > 0) & np.isfinite(first), first, last)
    days, first, last = days[known], first[known], last[known]
    shown = dict(chart.splits)
    for day, ratio in sorted(chart.splits.items(), reverse=True):
        at = int(np.searchsorted(days, np.datetime64(day)))
        if not 0 < at < len(days) or 1 / VISIBLE_RATIO < ratio < VISIBLE_RATIO:
            continue
        step = math.log(last[at - 1]) - math.log(first[at])
        off = abs(step - math.log(ratio))
        if off >= abs(step):
            continue
        if off > PLAIN_STEP or today - day <= PATIENCE:
            return day, shown
        del shown[day]
    return dt.date.min, shown


def _missing(
    days: Days, request: Request, calendar: Calendar, last_closed: dt.date
) -> list[dt.date]:
    start, end = max(request.start, calendar.sessions[0]), min(request.end, last_closed)
    if start > end:
        return []
    present = set(days.tolist())
    return [day for day in calendar.between(start, end) if day not in present]


def _explained(
    missing: Sequence[dt.date], days: Days, chart: Chart, calendar: Calendar, last_closed: dt.date
) -> dict[dt.date, str]:
    """The missing sessions that Yahoo itself explains, each with the reason."""
    if chart.no_data:
        return dict.fromkeys(missing, f"Yahoo: {chart.no_data}")
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
        undated = np.isnat(chart.days).any()  # a bar that may be of any day
        if since > QUIET_SESSIONS and not undated and not (days > np.datetime64(ended)).any():
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
            "volume": pa.array(
                np.where(factor == 1, bars[:, 4], np.rint(bars[:, 4] / factor)), from_pandas=True
            ),
            "basis_on": session,
            "currency": pa.repeat(currency, len(days)),
        },
        schema=PRICE_COLUMNS,
    )


def _unreadable_bars(symbol: str, days: Days, bars: Floats, reason: str) -> list[dict[str, str]]:
    return [
        _unreadable_row(symbol, day, reason, dict(zip(BAR, bar, strict=True)))
        for day, bar in zip(days.tolist(), bars.tolist(), strict=True)
    ]


def _unreadable_row(
    symbol: str, day: dt.date | None, reason: str, fields: Mapping[str, object]
) -> dict[str, str]:
    raw = json.dumps(dict(fields), sort_keys=True)
    return {"symbol": symbol, "session": str(day or ""), "reason": reason, "raw": raw}


def _unknown_shares(
    chart: Chart, days: Days, bars: Floats, adjusted_from: dt.date
) -> list[dict[str, str]]:
    symbol = chart.instrument.symbol
    reason = f"its share basis is unknown: the split of {adjusted_from} is listed, not seen"
    return _unreadable_bars(symbol, days, bars, reason) + [
        _unreadable_row(symbol, day, reason, {kind: amount})
        for (day, kind, _), amount in chart.payments.items()
        if day < adjusted_from
    ]


def _undated(chart: Chart) -> list[dict[str, str]]:
    """Bars whose day can't be read, and payments without a day or an amount."""
    symbol, lost = chart.instrument.symbol, np.isnat(chart.days)
    rows = _unreadable_bars(symbol, chart.days[lost], chart.bars[lost], "its time can't be read")
    reason = "a payment without a day or an amount"
    return rows + [
        _unreadable_row(symbol, day, reason, payment) for day, payment in chart.unreadable_payments
    ]


def _actions(
    chart: Chart, since: dt.date, undone: Mapping[dt.date, float]
) -> list[dict[str, object]]:
    """All splits, and payments from ``since`` on, per share of the ex-date, as they were paid; they
    are told adjusted for the splits ``undone``.
    """
    symbol, currency = chart.instrument.symbol, chart.instrument.currency or ""
    splits = [Reported(symbol, day, n, None, day, currency) for day, n in chart.splits.items()]
    rows = records(splits, {})
    paid = {key: amount for key, amount in chart.payments.items() if key[0] >= since}
    days = np.array([day for day, _, _ in paid], dtype="datetime64[D]")
    reported = np.array(list(paid.values()), dtype=np.float64)
    amounts = as_traded(reported, factors(days, undone), ROUNDING_ERROR).tolist()
    for ((day, kind, paid_in), paid_today), amount in zip(paid.items(), amounts, strict=True):
        [row] = records([Reported(symbol, day, None, amount, day, paid_in)], {})
        rows.append(row | {"kind": kind, "reported_amount": paid_today})
    return rows
