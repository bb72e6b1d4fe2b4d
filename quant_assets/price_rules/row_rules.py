"""Rules a row must pass before it is stored. Pure: rows in, accepted and quarantined rows out.

Bounds come from ``tables.py``; what spans columns or rows (low ≤ close, one row a key, a day that
is a session) is said here. Nothing is written, and one bad row never costs a good one its place.
"""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quant_assets.reference.calendars import Calendar
from quant_assets.schema.table import (
    ACTION_KINDS,
    CORPORATE_ACTIONS,
    CURRENCIES,
    DAILY_PRICES,
    Table,
)

Mask = np.ndarray[tuple[int], np.dtype[np.bool_]]

ROUNDING = 1e-6
"""Relative slack of low ≤ open, close ≤ high: vendors keep prices as 32-bit floats."""

REJECTED = pa.schema(
    [
        ("symbol", pa.string()),
        ("session", pa.string()),
        ("reason", pa.string()),
        ("raw", pa.string()),
    ]
)
"""A quarantined row: what it named, the rule it broke, and the row as JSON."""


@dataclass(frozen=True)
class Checked:
    """``accepted`` keeps the columns of the input; ``rejected`` has those of ``REJECTED``.

    ``repeated`` counts rows dropped because an identical one was accepted.
    """

    accepted: pa.Table
    rejected: pa.Table
    repeated: int = 0


class _Verdict:
    """The first rule each row broke."""

    def __init__(self, rows: int) -> None:
        self._reasons: list[str] = []
        self._broken = np.full(rows, -1, dtype=np.int16)

    def reject(self, mask: Mask, reason: str) -> None:
        if mask.any():
            self._broken[mask & (self._broken < 0)] = len(self._reasons)
            self._reasons.append(reason)

    @property
    def bad(self) -> Mask:
        return self._broken >= 0

    def reasons(self) -> list[str]:
        return [self._reasons[code] for code in self._broken[self.bad]]


def check_prices(
    rows: pa.Table, calendar: Calendar, last_closed: dt.date, table: Table = DAILY_PRICES
) -> Checked:
    """Sort price rows of any symbols into accepted and rejected.

    ``rows`` has the columns of ``sources.contract.PRICE_COLUMNS``. A row is rejected where a field
    is missing or not finite, a price is not positive, a volume negative or beyond 64 bits, the
    currency unknown, open or close lies outside low to high, the day is no session of ``calendar``
    or later than ``last_closed``, or another row of the same symbol and session says something
    else. Of identical rows one is accepted.
    """
    if rows.num_rows == 0:
        return Checked(rows, REJECTED.empty_table())
    verdict = _Verdict(rows.num_rows)
    _check_days(rows, calendar, last_closed, verdict)
    _check_fields(rows, table, verdict)
    _check_bounds(rows, table, verdict)
    with np.errstate(invalid="ignore"):  # of infinite prices, which are rejected by now
        _check_order(rows, verdict)
    dropped = _check_keys(rows, verdict)
    return Checked(
        rows.filter(pa.array(~verdict.bad & ~dropped)) if (verdict.bad | dropped).any() else rows,
        _rejected(rows, verdict),
        int((dropped & ~verdict.bad).sum()),
    )


def _check_days(
    rows: pa.Table, calendar: Calendar, last_closed: dt.date, verdict: _Verdict
) -> None:
    days = rows["session"].to_numpy().astype("datetime64[D]")
    verdict.reject(np.isnat(days), "session is missing")
    verdict.reject(
        days > np.datetime64(last_closed), f"the session has not closed (last: {last_closed})"
    )
    sessions = calendar.session_array
    at = np.minimum(np.searchsorted(sessions, days), len(sessions) - 1)
    verdict.reject(sessions[at] != days, f"{calendar.name} had no session that day")


def _check_fields(rows: pa.Table, table: Table, verdict: _Verdict) -> None:
    """Reject what lacks a required field, or names what no row may name."""
    names = pc.fill_null(pc.not_equal(rows["symbol"], ""), False)
    verdict.reject(~names.to_numpy(), "symbol is missing")
    for column in table.columns:
        if column.name not in rows.column_names:
            continue
        if column.required:
            verdict.reject(rows[column.name].is_null().to_numpy(), f"{column.name} is missing")
        if column.type == "CURRENCY":
            known = pc.is_in(rows[column.name], pa.array(CURRENCIES))
            verdict.reject(~known.to_numpy(), f"{column.name} is none of tables.CURRENCIES")


def _check_bounds(rows: pa.Table, table: Table, verdict: _Verdict) -> None:
    for column in table.columns:
        if column.name not in rows.column_names or not (column.positive or column.non_negative):
            continue
        values = _floats(rows, column.name)
        if column.required:
            verdict.reject(np.isnan(values), f"{column.name} is missing")
        given = rows[column.name].is_valid().to_numpy()
        verdict.reject(given & ~np.isfinite(values), f"{column.name} is not finite")
        if column.positive:
            verdict.reject(values <= 0, f"{column.name} is not positive")
        else:
            verdict.reject(values < 0, f"{column.name} is negative")
        if column.type == "BIGINT":
            verdict.reject(values >= 2.0**63, f"{column.name} is too large for 64 bits")


def _check_order(rows: pa.Table, verdict: _Verdict) -> None:
    # The slack is that of the bound itself: an absurd high must not excuse a close below low.
    low, high = _floats(rows, "low"), _floats(rows, "high")
    least, most = low - ROUNDING * np.abs(low), high + ROUNDING * np.abs(high)
    verdict.reject(low > most, "low is above high")
    for name in ("open", "close"):
        value = _floats(rows, name)
        verdict.reject(value < least, f"{name} is below low")
        verdict.reject(value > most, f"{name} is above high")


def _check_keys(rows: pa.Table, verdict: _Verdict) -> Mask:
    """Reject good rows that contradict each other; return the mask of superfluous twins."""
    dropped: Mask = np.zeros(rows.num_rows, dtype=bool)
    codes = rows["symbol"].combine_chunks().dictionary_encode().indices.fill_null(-1).to_numpy()
    days = rows["session"].cast(pa.int32()).fill_null(0).to_numpy()
    keys = (codes.astype(np.int64) << 32) + days
    good = ~verdict.bad
    if not _repeats(keys[good]):
        return dropped
    numbers, counts = np.unique(keys[good], return_counts=True)
    doubles = np.flatnonzero(good & np.isin(keys, numbers[counts > 1]))
    first: dict[int, dict[str, object]] = {}
    contradicted: set[int] = set()
    for number, row in zip(doubles, rows.take(pa.array(doubles)).to_pylist(), strict=True):
        key = int(keys[number])
        if key not in first:
            first[key] = row
        elif first[key] == row:
            dropped[number] = True
        else:
            contradicted.add(key)
    conflict = good & np.isin(keys, list(contradicted)) if contradicted else ~good & good
    verdict.reject(conflict, "another row of the same symbol and session differs")
    return dropped


def _repeats(keys: np.ndarray[tuple[int], np.dtype[np.int64]]) -> bool:
    steps = np.diff(keys)
    if (steps > 0).all():  # most answers arrive sorted, and then one look is enough
        return False
    return len(np.unique(keys)) < len(keys)


def _floats(rows: pa.Table, name: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    values: np.ndarray[tuple[int], np.dtype[np.float64]] = rows[name].cast(pa.float64()).to_numpy()
    return values


def _rejected(rows: pa.Table, verdict: _Verdict, day: str = "session") -> pa.Table:
    if not verdict.bad.any():
        return REJECTED.empty_table()
    bad = rows.filter(pa.array(verdict.bad)).to_pylist()
    return pa.table(
        {
            "symbol": [row["symbol"] or "" for row in bad],
            "session": [str(row[day] or "") for row in bad],
            "reason": verdict.reasons(),
            "raw": [json.dumps(row, default=str, sort_keys=True) for row in bad],
        },
        schema=REJECTED,
    )


def check_actions(actions: pa.Table, table: Table = CORPORATE_ACTIONS) -> Checked:
    """Sort corporate actions into accepted and rejected; a symbol, day and kind is one record.

    ``actions`` has the columns of ``sources.contract.ACTION_COLUMNS``. A record is rejected where a
    required field is missing, a number is not positive and finite, the kind or currency unknown, or
    it has no effect and is no vendor error. Records of one symbol, day and kind are merged into the
    first, and counted in ``repeated``: amounts add up, ratios and value factors multiply. Where
    they can't be merged, being in different currencies, shares or terms, all are rejected. The
    session of a rejected row is its ex-date.
    """
    if actions.num_rows == 0:
        return Checked(actions, REJECTED.empty_table())
    verdict = _Verdict(actions.num_rows)
    _check_fields(actions, table, verdict)
    _check_bounds(actions, table, verdict)
    kinds = pc.is_in(actions["kind"], pa.array(ACTION_KINDS)).to_numpy()
    verdict.reject(~kinds, "kind is none of tables.ACTION_KINDS")
    silent = np.all([~actions[name].is_valid().to_numpy() for name in _EFFECTS], axis=0)
    silent &= ~pc.fill_null(pc.equal(actions["kind"], "vendor_error"), False).to_numpy()
    verdict.reject(silent, f"none of {', '.join(_EFFECTS)} is given")
    merged, superfluous = _one_record_each(actions, verdict)
    accepted = pa.Table.from_pylist(merged, schema=actions.schema) if superfluous else actions
    if verdict.bad.any() and not superfluous:
        accepted = actions.filter(pa.array(~verdict.bad))
    return Checked(accepted, _rejected(actions, verdict, "ex_date"), superfluous)


_EFFECTS = ("ratio", "amount", "value_factor")


def _one_record_each(actions: pa.Table, verdict: _Verdict) -> tuple[list[dict[str, object]], int]:
    """The good records, those of one key merged, and how many that made superfluous."""
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
    """What two records must share for their numbers to be put together."""
    return (row["currency"], row["basis_on"], *(row[name] is None for name in _EFFECTS))


def _merge(rows: list[dict[str, object]]) -> dict[str, object]:
    merged = dict(rows[0])
    if len(rows) == 1:
        return merged
    for name, together in _TOGETHER.items():
        numbers = [row[name] for row in rows if row[name] is not None]
        merged[name] = together(numbers) if numbers else None
    for name in ("kind_by", "note"):
        merged[name] = "; ".join(dict.fromkeys(str(row[name]) for row in rows if row[name])) or None
    return merged


_TOGETHER: dict[str, Callable[[list[Any]], float]] = {
    "ratio": math.prod,
    "amount": math.fsum,
    "value_factor": math.prod,
    "reported_ratio": math.prod,
    "reported_amount": math.fsum,
}
