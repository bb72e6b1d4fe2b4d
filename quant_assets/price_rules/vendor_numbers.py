"""A vendor's columns of splits, dividends and adjusted closes, as one ratio and amount a day."""

from __future__ import annotations

import datetime as dt
import json
import math

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quant_assets.price_rules.corporate_actions import SPLIT_FROM, plain_ratio

SMALLEST_YIELD = 3e-5
"""A step in adjusted over unadjusted close below this is rounding, not a distribution."""


def eventful(numbers: pa.Table) -> pa.Table:
    """Rows that report something: a ``split`` other than 0 and 1, or a ``dividend`` other than 0.

    A number that is missing, null or NaN, reports nothing.
    """
    split, dividend = numbers["split"], numbers["dividend"]
    reports = (
        pc.and_(
            pc.not_equal(split, 1.0), pc.and_(pc.not_equal(split, 0.0), pc.equal(split, split))
        ),
        pc.and_(pc.not_equal(dividend, 0.0), pc.equal(dividend, dividend)),  # NaN is not itself
    )
    return numbers.filter(pc.or_(*(pc.fill_null(mask, False) for mask in reports)))


Numbers = dict[tuple[str, dt.date], tuple[float | None, float | None]]


def numbers_by_day(events: pa.Table, *, add_up: bool) -> tuple[Numbers, list[dict[str, str]]]:
    """Ratio and amount of each symbol and day, and the unusable numbers, each with a reason.

    ``events`` has symbol, session, split and dividend. Of equal lines one counts. Lines
    of one day that differ are several events in a file of actions (``add_up``: amounts add up,
    ratios multiply), and a contradiction in a file of prices.
    """
    lines: dict[tuple[str, dt.date], dict[tuple[float | None, float | None], None]] = {}
    for row in events.to_pylist():
        key, line = (row["symbol"], row["session"]), (row["split"], row["dividend"])
        lines.setdefault(key, {})[line] = None
    found: Numbers = {}
    unusable: list[dict[str, str]] = []
    for (symbol, day), pairs in lines.items():
        splits = [split for split, _ in pairs if split not in (None, 0.0, 1.0)]
        dividends = [dividend for _, dividend in pairs if dividend not in (None, 0.0)]
        numbers: list[float | None] = []
        for name, given in (("split", splits), ("dividend", dividends)):
            number, reason = _one_number(name, [n for n in given if n is not None], add_up=add_up)
            numbers.append(number)
            if reason:
                raw = json.dumps({"symbol": symbol, "session": str(day), name: given})
                row = {"symbol": symbol, "session": str(day), "reason": reason, "raw": raw}
                unusable.append(row)
        if numbers != [None, None]:
            found[symbol, day] = (numbers[0], numbers[1])
    return found, unusable


def _one_number(name: str, reported: list[float], *, add_up: bool) -> tuple[float | None, str]:
    """The number of a day, and the reason why some of those reported don't count."""
    if len(reported) == 1 and 0 < reported[0] < math.inf:  # nearly always
        return reported[0], ""
    given = [number for number in reported if not math.isnan(number)]
    possible = [number for number in given if 0 < number < math.inf]
    reason = f"{name} is not positive and finite" if len(possible) < len(given) else ""
    if not add_up and len(set(possible)) > 1:
        return None, f"another row of the same symbol and session has another {name}"
    usable = possible if add_up else possible[:1]
    combine = math.prod if name == "split" else math.fsum
    return (combine(usable) if usable else None), reason


def splits_from_adjusted_close(rows: pa.Table) -> pa.Table:
    """``rows`` with the splits that an adjusted close shows in their column split.

    ``rows`` has symbol, session, close as traded and adjusted_close, sorted by symbol and session,
    and no split that a vendor reports. A step by SPLIT_FROM or more is no dividend: it is a split
    where it is a whole number of new shares for one, of old shares for one, or halves, up to the
    dividend of the same day; else a factor, which counts as a spin-off.
    """
    symbol = rows["symbol"].to_numpy()
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = rows["adjusted_close"].to_numpy() / rows["close"].to_numpy()
        shares = factor[1:] / factor[:-1]
    same = (symbol[1:] == symbol[:-1]) & np.isfinite(shares) & (shares > 0)
    large = (shares >= SPLIT_FROM) | (shares <= 1 / SPLIT_FROM)
    split = np.full(rows.num_rows, np.nan)
    for at in np.flatnonzero(same & large):
        split[at + 1] = _shares_for_one(float(shares[at]))
    place = rows.schema.get_field_index("split")
    return rows.set_column(place, "split", pa.array(split, from_pandas=True))


BESIDE_A_SPLIT = 0.03
"""Largest yield of a dividend on the day of a split; the step of both is above the split's."""


def _shares_for_one(factor: float) -> float:
    """The new shares for one old that a factor stands for; the factor itself where for none."""
    if factor < 1:
        old = max(round(1 / factor + BESIDE_A_SPLIT / 2), 2)
        ratio = 1 / old
    else:
        ratio = max(round(2 * factor / (1 + BESIDE_A_SPLIT / 2)) / 2, 1.5)
    if -LARGE_ROUNDING <= factor / ratio - 1 <= BESIDE_A_SPLIT:
        return ratio
    return plain_ratio(factor) or factor


LARGE_ROUNDING = 0.005
"""Relative error of an adjusted close of a dollar, in cents."""


def distributions_from_adjusted_close(rows: pa.Table, convention: str) -> pa.Table:
    """Distributions that explain the steps of an adjusted close, one row a step.

    ``rows`` has symbol, session, close and adjusted_close, sorted by symbol and session, the closes
    free of splits; or as traded, with a column split, and amounts are per share of the ex-date.
    With f = adjusted / close and k = f₀ / f over consecutive rows, ``convention``
    ``previous_close`` (Yahoo, CRSP: k = 1 - D / P₀) gives D = P₀ (1 - k), and ``ex_close`` (here:
    k = P / (P + D)) gives D = P (1 / k - 1). Returns symbol, ex_date and amount.
    """
    symbol = rows["symbol"].to_numpy()
    close = rows["close"].to_numpy()
    with np.errstate(divide="ignore", invalid="ignore"):
        before = close[:-1]
        if "split" in rows.column_names:
            split = rows["split"].to_numpy()[1:]
            before = before / np.where(np.isfinite(split) & (split > 0), split, 1.0)
        adjusted = rows["adjusted_close"].to_numpy()
        step = (adjusted[:-1] / before) / (adjusted[1:] / close[1:])
    same = (symbol[1:] == symbol[:-1]) & np.isfinite(step) & (step > 0)
    found = np.flatnonzero(same & (1 - step > SMALLEST_YIELD))
    if convention == "previous_close":
        amount = before[found] * (1 - step[found])
    else:
        amount = close[found + 1] * (1 / step[found] - 1)
    return pa.table(
        {
            "symbol": rows["symbol"].take(pa.array(found + 1)),
            "ex_date": rows["session"].take(pa.array(found + 1)),
            "amount": pa.array(amount),
        }
    )
