"""All rows of an archive, sorted, and the places of each symbol's rows among them."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quant_assets.contracts.source import Request
from quant_assets.price_rules.corporate_actions import InferredEvent

Days = np.ndarray[tuple[int], np.dtype[np.datetime64]]


@dataclass(frozen=True)
class Contents:
    """All rows of the archive, sorted by symbol and session, and the cells that can't be read.

    Of deliveries ``reported`` holds the numbers of splits and dividends, and ``inferred`` the
    events that only prices show, by symbol and ex-date, each with the rule that found it.
    """

    rows: pa.Table
    unreadable: pa.Table
    notices: tuple[str, ...]
    files_unread: tuple[Path, ...] = ()
    reported: pa.Table | None = None
    inferred: Mapping[tuple[str, dt.date], tuple[InferredEvent, str]] = field(default_factory=dict)

    @cached_property
    def days(self) -> Days:
        days: Days = self.rows["session"].to_numpy().astype("datetime64[D]")
        return days

    @cached_property
    def symbols(self) -> tuple[str, ...]:
        """Every symbol that a row names, also one that can't be read; ascending."""
        return tuple(sorted({*self.extents, *self.unreadable["symbol"].to_pylist()} - {""}))

    @cached_property
    def extents(self) -> dict[str, tuple[int, int]]:
        """First row of each symbol, and the one after its last; symbols ascending."""
        symbols = self.rows["symbol"].combine_chunks().dictionary_encode()
        codes = symbols.indices.to_numpy()
        edges = np.flatnonzero(np.diff(codes)) + 1
        starts = np.concatenate([[0], edges]) if len(codes) else np.array([], dtype=int)
        stops = np.append(edges, len(codes))
        names = symbols.dictionary.to_pylist()
        return {
            names[codes[start]]: (int(start), int(stop))
            for start, stop in zip(starts, stops, strict=False)
        }

    def days_of(self, symbol: str) -> Days:
        start, stop = self.extents[symbol]
        return self.days[start:stop]

    def rows_for(self, request: Request) -> pa.Table:
        """The rows of one request, by binary search in the sorted days of its symbol."""
        if request.symbol not in self.extents:
            return self.rows.slice(0, 0)
        start, _ = self.extents[request.symbol]
        days = self.days_of(request.symbol)
        first = int(np.searchsorted(days, np.datetime64(request.first)))
        stop = int(np.searchsorted(days, np.datetime64(request.end), side="right"))
        return self.rows.slice(start + first, stop - first)

    def unreadable_for(self, requests: Sequence[Request]) -> pa.Table:
        symbols = pa.array([request.symbol for request in requests])
        return self.unreadable.filter(pc.is_in(self.unreadable["symbol"], symbols))


def symbol_cell(raw: str) -> str | None:
    """What an unreadable row has in place of a symbol; None where there is no such cell."""
    row = json.loads(raw)
    cell = row.get("symbol") if isinstance(row, dict) else None
    return cell if isinstance(cell, str) else None


def sorted_rows(rows: pa.Table) -> pa.Table:
    return rows.sort_by([("symbol", "ascending"), ("session", "ascending")])


def without_repeats(rows: pa.Table) -> pa.Table:
    """Rows without those that say again, at once, what the row before them says.

    A file of millions of equal rows then costs no more than its reading.
    """
    rows = rows.combine_chunks()
    same = np.ones(max(rows.num_rows - 1, 0), dtype=bool)
    for column in rows.columns:
        cells = column.combine_chunks()
        if pa.types.is_string(cells.type):
            cells = cells.dictionary_encode().indices
        elif not pa.types.is_floating(cells.type):
            cells = cells.cast(pa.int32())
        values = cells.to_numpy(zero_copy_only=False)  # NaN where null
        before, after = values[:-1], values[1:]
        same &= (before == after) | (np.isnan(before) & np.isnan(after))
    return rows.filter(pa.array(np.concatenate([[True], ~same]))) if same.any() else rows
