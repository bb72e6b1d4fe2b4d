"""Row rules that follow from a table's columns: required fields, bounds, one row a key."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quant_assets.schema.table import CURRENCIES, Table

Mask = np.ndarray[tuple[int], np.dtype[np.bool_]]
Keys = np.ndarray[tuple[int], np.dtype[np.int64]]

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")

REJECTED = pa.schema(
    [
        ("symbol", pa.string()),
        ("session", pa.string()),
        ("reason", pa.string()),
        ("raw", pa.string()),
    ]
)
"""A quarantined row: its symbol and day, the broken rule, and the row as JSON."""


@dataclass(frozen=True)
class Checked:
    """``accepted`` keeps the columns of the input; ``rejected`` has those of ``REJECTED``.

    ``repeated`` counts rows dropped because an identical one was accepted.
    """

    accepted: pa.Table
    rejected: pa.Table = field(default_factory=REJECTED.empty_table)
    repeated: int = 0


class Verdict:
    """The first rule that each row broke."""

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


def check_fields(rows: pa.Table, table: Table, verdict: Verdict) -> None:
    """Reject rows without a symbol, a required field or a known currency."""
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


def check_bounds(rows: pa.Table, table: Table, verdict: Verdict) -> None:
    """Reject rows with a number that is missing, infinite or out of its column's bounds."""
    for column in table.columns:
        if column.name not in rows.column_names or not (column.positive or column.non_negative):
            continue
        values = floats(rows, column.name)
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
        if column.below is not None:
            verdict.reject(values >= column.below, f"{column.name} is too large")


def check_keys(rows: pa.Table, verdict: Verdict) -> Mask:
    """Reject good rows that contradict each other; returns the mask of repeated identical rows."""
    dropped: Mask = np.zeros(rows.num_rows, dtype=bool)
    codes = rows["symbol"].combine_chunks().dictionary_encode().indices.fill_null(-1).to_numpy()
    days = rows["session"].cast(pa.int32()).fill_null(0).to_numpy()
    keys = (codes.astype(np.int64) << 32) + days
    good = ~verdict.bad
    if not _repeats(keys[good]):
        return dropped
    doubles = np.flatnonzero(good & np.isin(keys, _repeated(keys[good])))
    placed = rows.take(pa.array(doubles)).append_column("place", pa.array(doubles))
    distinct = placed.group_by(rows.column_names, use_threads=False)
    firsts = distinct.aggregate([("place", "min")])["place_min"].to_numpy()
    dropped[doubles] = True
    dropped[firsts] = False
    conflict = good & np.isin(keys, _repeated(keys[firsts]))
    verdict.reject(conflict, "another row of the same symbol and session differs")
    return dropped


def _repeated(keys: Keys) -> Keys:
    numbers, counts = np.unique(keys, return_counts=True)
    return numbers[counts > 1]


def _repeats(keys: Keys) -> bool:
    steps = np.diff(keys)
    if (steps > 0).all():  # most answers arrive sorted, and then nothing else is needed
        return False
    return len(np.unique(keys)) < len(keys)


def floats(rows: pa.Table, name: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """A column as floats, NaN where null."""
    values: np.ndarray[tuple[int], np.dtype[np.float64]] = rows[name].cast(pa.float64()).to_numpy()
    return values


def rejected_days(rejected: pa.Table) -> pa.Array:
    """The day that each row of REJECTED names, null where it is no date in full.

    Arrow's own parser takes 2024-02-31 for the second of March.
    """
    texts = rejected["session"].combine_chunks().dictionary_encode()
    days = [_day_in(text) for text in texts.dictionary.to_pylist()]
    return pa.array(days, pa.date32()).take(texts.indices)


def _day_in(text: str) -> dt.date | None:
    try:
        return dt.date.fromisoformat(text) if _DAY.fullmatch(text) else None
    except ValueError:
        return None


def rejected_for(rows: pa.Table, reason: str) -> pa.Table:
    """Rows all rejected for one reason, as REJECTED."""
    verdict = Verdict(rows.num_rows)
    verdict.reject(np.ones(rows.num_rows, dtype=bool), reason)
    return rejected_rows(rows, verdict)


def rejected_rows(rows: pa.Table, verdict: Verdict, day: str = "session") -> pa.Table:
    """The rejected rows as REJECTED; ``day`` is the column that holds their day."""
    places = np.flatnonzero(verdict.bad).tolist()
    return rejected_as(rows, dict(zip(places, verdict.reasons(), strict=True)), day)


def rejected_as(rows: pa.Table, reasons: Mapping[int, str], day: str = "session") -> pa.Table:
    """The rows at some places as REJECTED, each for its reason; ``day`` is the column of their
    day.
    """
    if not reasons:
        return REJECTED.empty_table()
    bad = rows.take(pa.array(list(reasons), pa.int64())).to_pylist()
    return pa.table(
        {
            "symbol": [row["symbol"] or "" for row in bad],
            "session": [str(row.get(day) or "") for row in bad],
            "reason": list(reasons.values()),
            "raw": [json.dumps(row, default=str, sort_keys=True) for row in bad],
        },
        schema=REJECTED,
    )
