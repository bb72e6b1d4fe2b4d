"""Several deliveries of the same symbols folded into one, as if loaded day by day."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quant_assets.price_rules.overlap import InferredSplit, compare
from quant_assets.price_rules.pairs import (
    Dated,
    Mask,
    marked_rows,
    price_grid,
    volume_slack,
)
from quant_assets.price_rules.plain_ratios import NOISE
from quant_assets.schema.row_rules import floats

Keys = np.ndarray[tuple[int], np.dtype[np.int64]]


@dataclass(frozen=True)
class Folded:
    """Several deliveries as one: one row a symbol and session, sorted by both."""

    rows: pa.Table
    splits: Mapping[str, tuple[InferredSplit, ...]]


def fold(deliveries: Sequence[pa.Table], splits: Mapping[str, Dated]) -> Folded:
    """Compare deliveries of the same symbols one after the other, as if loaded day by day.

    Each has the columns of ``contracts.prices.PRICE_COLUMNS`` and is sorted by symbol and session,
    with one row of each; ``splits`` are those that are known, by symbol.
    """
    rows = pa.concat_tables(deliveries)
    symbols = rows["symbol"].combine_chunks().dictionary_encode()
    codes = symbols.indices.to_numpy().astype(np.int64)
    keys = (codes << 32) + rows["session"].cast(pa.int32()).to_numpy()
    order = np.argsort(keys, kind="stable")  # of one key, in the order they were delivered
    rows, codes, keys = rows.take(pa.array(order)), codes[order], keys[order]
    prices, again = price_grid(rows), np.diff(keys) == 0
    off: Mask = again & marked_rows(np.abs(np.diff(prices, axis=0)) > NOISE * prices[:-1])
    disputed = np.unique(codes[1:][off])
    unchanged = ~np.isin(codes, disputed)
    parts = [_latest_volumes(rows.filter(pa.array(unchanged)), keys[unchanged])]
    inferred = {}
    for symbol in symbols.dictionary.take(pa.array(disputed)).to_pylist():
        of_symbol = (each.filter(pc.equal(each["symbol"], symbol)) for each in deliveries)
        part, found = _fold_symbol(
            [each for each in of_symbol if each.num_rows], splits.get(symbol, ())
        )
        parts.append(part)
        inferred[symbol] = found
    whole = pa.concat_tables(parts)
    return Folded(whole.sort_by([("symbol", "ascending"), ("session", "ascending")]), inferred)


def _latest_volumes(rows: pa.Table, keys: Keys) -> pa.Table:
    """Of each key the first row, whose prices the others repeat, with the latest volume."""
    if rows.num_rows == 0:
        return rows
    first = np.insert(np.flatnonzero(np.diff(keys)) + 1, 0, 0)
    times = np.diff(np.append(first, len(keys)))
    volume = floats(rows, "volume")
    latest = volume[first]
    for time in range(1, int(times.max())):
        again = times > time
        corrected = volume[first[again] + time]
        other = np.abs(corrected - latest[again]) > volume_slack(latest[again])
        latest[again] = np.where(other, corrected, latest[again])
    place = rows.schema.get_field_index("volume")
    return rows.take(pa.array(first)).set_column(place, "volume", pa.array(latest))


def _fold_symbol(
    deliveries: Sequence[pa.Table], splits: Dated
) -> tuple[pa.Table, tuple[InferredSplit, ...]]:
    """The rows of one symbol, oldest delivery first, and the splits that they show."""
    stored, *later = deliveries
    inferred: tuple[InferredSplit, ...] = ()
    for reported in later:
        known = [*splits, *((split.ex_date, split.ratio) for split in inferred)]
        overlap = compare(stored, reported, reports_splits=False, splits=known)
        again = pc.is_in(stored["session"], reported["session"].combine_chunks())
        kept = stored.filter(pc.invert(again))
        stored = pa.concat_tables([kept, overlap.rows]).sort_by("session")
        inferred += overlap.splits
    return stored, inferred
