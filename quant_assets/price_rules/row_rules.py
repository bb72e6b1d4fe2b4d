"""Rules a row must pass before it is stored. Pure: rows in, accepted and quarantined rows out.

Bounds of one column are in ``schema``; the rules over several columns or rows (low ≤ close, one row
a key, a day that is a session) are here. A bad row never causes a good one to be rejected.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quant_assets.reference.calendars import Calendar
from quant_assets.schema.prices import ACTION_KINDS, CORPORATE_ACTIONS, DAILY_PRICES
from quant_assets.schema.row_rules import (
    REJECTED,
    Checked,
    Verdict,
    check_bounds,
    check_fields,
    check_keys,
    floats,
    rejected_rows,
)
from quant_assets.schema.table import Table

ROUNDING = 1e-6
"""Relative slack of low ≤ open, close ≤ high: vendors keep prices as 32-bit floats."""


def check_prices(
    rows: pa.Table, calendar: Calendar, last_closed: dt.date, table: Table = DAILY_PRICES
) -> Checked:
    """Sort price rows of any symbols into accepted and rejected.

    ``rows`` has the columns of ``contracts.prices.PRICE_COLUMNS``. A row is rejected where a field
    is missing or not finite, a price is not positive, a volume negative or beyond 64 bits, the
    currency unknown, open or close lies outside low to high, the day is no session of ``calendar``
    or later than ``last_closed``, or another row of the same symbol and session differs. Of
    identical rows one is accepted.
    """
    if rows.num_rows == 0:
        return Checked(rows, REJECTED.empty_table())
    verdict = Verdict(rows.num_rows)
    _check_days(rows, calendar, last_closed, verdict)
    check_fields(rows, table, verdict)
    check_bounds(rows, table, verdict)
    with np.errstate(invalid="ignore"):  # of infinite prices, which are rejected by now
        _check_order(rows, verdict)
    dropped = check_keys(rows, verdict)
    return Checked(
        rows.filter(pa.array(~verdict.bad & ~dropped)) if (verdict.bad | dropped).any() else rows,
        rejected_rows(rows, verdict),
        int((dropped & ~verdict.bad).sum()),
    )


def _check_days(rows: pa.Table, calendar: Calendar, last_closed: dt.date, verdict: Verdict) -> None:
    days = rows["session"].to_numpy().astype("datetime64[D]")
    verdict.reject(np.isnat(days), "session is missing")
    verdict.reject(
        days > np.datetime64(last_closed), f"the session has not closed (last: {last_closed})"
    )
    sessions = calendar.session_array
    at = np.minimum(np.searchsorted(sessions, days), len(sessions) - 1)
    verdict.reject(sessions[at] != days, f"{calendar.name} had no session that day")


def _check_order(rows: pa.Table, verdict: Verdict) -> None:
    # The slack is that of the bound itself: an absurd high must not excuse a close below low.
    low, high = floats(rows, "low"), floats(rows, "high")
    least, most = low - ROUNDING * np.abs(low), high + ROUNDING * np.abs(high)
    verdict.reject(low > most, "low is above high")
    for name in ("open", "close"):
        value = floats(rows, name)
        verdict.reject(value < least, f"{name} is below low")
        verdict.reject(value > most, f"{name} is above high")


def check_actions(actions: pa.Table, table: Table = CORPORATE_ACTIONS) -> Checked:
    """Sort corporate actions into accepted and rejected; a symbol, day and kind is one record.

    ``actions`` has the columns of ``contracts.prices.ACTION_COLUMNS``. A record is rejected where a
    required field is missing, a number is not positive and finite, the kind or currency unknown, or
    it has no effect and is no vendor error. Records of one symbol, day and kind are merged into the
    first, and counted in ``repeated``: amounts add up, ratios and value factors multiply. Where
    they can't be merged, being in different currencies, shares or terms, all are rejected. The
    session of a rejected row is its ex-date.
    """
    if actions.num_rows == 0:
        return Checked(actions, REJECTED.empty_table())
    verdict = Verdict(actions.num_rows)
    check_fields(actions, table, verdict)
    check_bounds(actions, table, verdict)
    kinds = pc.is_in(actions["kind"], pa.array(ACTION_KINDS)).to_numpy()
    verdict.reject(~kinds, "kind is none of tables.ACTION_KINDS")
    without_effect = np.all([~actions[name].is_valid().to_numpy() for name in _EFFECTS], axis=0)
    without_effect &= ~pc.fill_null(pc.equal(actions["kind"], "vendor_error"), False).to_numpy()
    verdict.reject(without_effect, f"none of {', '.join(_EFFECTS)} is given")
    merged, superfluous = _one_record_each(actions, verdict)
    accepted = pa.Table.from_pylist(merged, schema=actions.schema) if superfluous else actions
    if verdict.bad.any() and not superfluous:
        accepted = actions.filter(pa.array(~verdict.bad))
    return Checked(accepted, rejected_rows(actions, verdict, "ex_date"), superfluous)


_EFFECTS = ("ratio", "amount", "value_factor")


def _one_record_each(actions: pa.Table, verdict: Verdict) -> tuple[list[dict[str, object]], int]:
    """The good records, those of one key merged, and how many records were merged away."""
    key = ["symbol", "ex_date", "kind"]
    if actions.group_by(key).aggregate([]).num_rows == actions.num_rows:
        return [], 0  # no two share a key, as nearly always
    groups: dict[tuple[object, ...], list[int]] = {}
    rows = actions.to_pylist()
    for number in np.flatnonzero(~verdict.bad):
        row = rows[number]
        groups.setdefault((row["symbol"], row["ex_date"], row["kind"]), []).append(int(number))
    conflict = np.zeros(len(rows), dtype=bool)
    for numbers in groups.values():
        if len({_terms(rows[number]) for number in numbers}) > 1:
            conflict[numbers] = True
    verdict.reject(conflict, "another record of the same symbol, day and kind is in other terms")
    kept = [numbers for numbers in groups.values() if not conflict[numbers[0]]]
    merged = [_merge([rows[number] for number in numbers]) for numbers in kept]
    return merged, sum(len(numbers) - 1 for numbers in kept)


def _terms(row: dict[str, object]) -> tuple[object, ...]:
    """The values that two records must share to be merged."""
    return (row["currency"], row["basis_on"], *(row[name] is None for name in _EFFECTS))


def _merge(rows: list[dict[str, object]]) -> dict[str, object]:
    merged = dict(rows[0])
    if len(rows) == 1:
        return merged
    for name, combine in _COMBINE.items():
        numbers = [row[name] for row in rows if row[name] is not None]
        merged[name] = combine(numbers) if numbers else None
    for name in ("kind_by", "note"):
        merged[name] = "; ".join(dict.fromkeys(str(row[name]) for row in rows if row[name])) or None
    return merged


_COMBINE: dict[str, Callable[[list[Any]], float]] = {
    "ratio": math.prod,
    "amount": math.fsum,
    "value_factor": math.prod,
    "reported_ratio": math.prod,
    "reported_amount": math.fsum,
}
