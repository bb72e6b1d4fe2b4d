"""Rules a row must pass before it is stored. Pure: rows in, accepted and quarantined rows out.

Bounds come from ``tables.py``; what spans columns or rows (low ≤ close, one row a key, a day that
is a session) is said here. Nothing is written, and one bad row never costs a good one its place.
"""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from quant_assets.calendars import Calendar
from quant_assets.tables import DAILY_PRICES, Table

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
    is missing or not finite, a price is not positive, a volume negative, open or close lies outside
    low to high, the day is no session of ``calendar`` or later than ``last_closed``, or another row
    of the same symbol and session says something else. Of identical rows one is accepted.
    """
    if rows.num_rows == 0:
        return Checked(rows, REJECTED.empty_table())
    verdict = _Verdict(rows.num_rows)
    _check_days(rows, calendar, last_closed, verdict)
    _check_bounds(rows, table, verdict)
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


def _check_bounds(rows: pa.Table, table: Table, verdict: _Verdict) -> None:
    for column in table.columns:
        if column.name not in rows.column_names or not (column.positive or column.non_negative):
            continue
        values = _floats(rows, column.name)
        missing = rows[column.name].is_null().to_numpy() | np.isnan(values)
        verdict.reject(missing, f"{column.name} is missing")
        verdict.reject(np.isinf(values), f"{column.name} is not finite")
        if column.positive:
            verdict.reject(values <= 0, f"{column.name} is not positive")
        else:
            verdict.reject(values < 0, f"{column.name} is negative")


def _check_order(rows: pa.Table, verdict: _Verdict) -> None:
    low, high = _floats(rows, "low"), _floats(rows, "high")
    slack = ROUNDING * np.abs(high)
    verdict.reject(low > high + slack, "low is above high")
    for name in ("open", "close"):
        value = _floats(rows, name)
        verdict.reject(value < low - slack, f"{name} is below low")
        verdict.reject(value > high + slack, f"{name} is above high")


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


def _rejected(rows: pa.Table, verdict: _Verdict) -> pa.Table:
    if not verdict.bad.any():
        return REJECTED.empty_table()
    bad = rows.filter(pa.array(verdict.bad)).to_pylist()
    return pa.table(
        {
            "symbol": [row["symbol"] or "" for row in bad],
            "session": [str(row["session"] or "") for row in bad],
            "reason": verdict.reasons(),
            "raw": [json.dumps(row, default=str, sort_keys=True) for row in bad],
        },
        schema=REJECTED,
    )
