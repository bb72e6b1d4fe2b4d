"""Several deliveries of the same symbols folded into one, as if loaded day by day."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quant_assets.price_rules.corporate_actions import InferredEvent
from quant_assets.price_rules.overlap import UNLIKE_ITS_NEIGHBOURS, compare
from quant_assets.price_rules.pairs import (
    Dated,
    Mask,
    coins,
    marked_rows,
    price_grid,
    volume_slack,
)
from quant_assets.price_rules.plain_ratios import NOISE
from quant_assets.schema.row_rules import REJECTED, floats, rejected_for

Keys = np.ndarray[tuple[int], np.dtype[np.int64]]


@dataclass(frozen=True)
class Folded:
    """Several deliveries as one: one row a symbol and session, sorted by both.

    ``rejected`` are those left out, as ``schema.row_rules.REJECTED``.
    """

    rows: pa.Table
    events: Mapping[str, tuple[InferredEvent, ...]]
    rejected: pa.Table


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
    events, rejected = {}, [REJECTED.empty_table()]
    for symbol in symbols.dictionary.take(pa.array(disputed)).to_pylist():
        of_symbol = (each.filter(pc.equal(each["symbol"], symbol)) for each in deliveries)
        part, events[symbol], left_out = _fold_symbol(
            [each for each in of_symbol if each.num_rows], splits.get(symbol, ())
        )
        parts.append(part)
        rejected += left_out
    whole = pa.concat_tables(parts)
    ordered = whole.sort_by([("symbol", "ascending"), ("session", "ascending")])
    return Folded(ordered, events, pa.concat_tables(rejected))


def _latest_volumes(rows: pa.Table, keys: Keys) -> pa.Table:
    """Of each key the first row, whose prices the others repeat, with the latest volume."""
    if rows.num_rows == 0:
        return rows
    first = np.insert(np.flatnonzero(np.diff(keys)) + 1, 0, 0)
    times = np.diff(np.append(first, len(keys)))
    volume = floats(rows, "volume")
    latest, of_coins = volume[first], coins(rows["symbol"])[first]
    for time in range(1, int(times.max())):
        again = times > time
        corrected = volume[first[again] + time]
        slack = volume_slack(latest[again], corrected, of_coins[again])
        other = np.abs(corrected - latest[again]) > slack
        latest[again] = np.where(other, corrected, latest[again])
    place = rows.schema.get_field_index("volume")
    return rows.take(pa.array(first)).set_column(place, "volume", pa.array(latest))


def _fold_symbol(
    deliveries: Sequence[pa.Table], splits: Dated
) -> tuple[pa.Table, tuple[InferredEvent, ...], list[pa.Table]]:
    """The rows of one symbol, oldest delivery first, and the events that they show.

    Left out are a delivery that tells the past in a basis that nothing explains, and a row unlike
    those around it, which the stored one is not, until a later delivery has it again.
    """
    stored, *later = deliveries
    inferred: tuple[InferredEvent, ...] = ()
    held: list[pa.Table] = []
    doubted: dict[dt.date, pa.Table] = {}
    for reported in later:
        seen = [(event.ex_date, event.factor) for event in inferred if not event.spin_off]
        overlap = compare(
            stored,
            reported,
            reports_splits=False,
            splits=[*splits, *seen],
            inferred=seen,
            whole=stored["session"][0].as_py() >= reported["session"][0].as_py(),
        )
        if overlap.hold:
            held.append(rejected_for(reported, overlap.hold))
            continue
        rows = overlap.rows
        for day in overlap.disputed:
            row = rows.filter(pc.equal(rows["session"], pa.scalar(day)))
            if doubted.get(day) != row:
                rows = rows.filter(pc.not_equal(rows["session"], pa.scalar(day)))
            doubted[day] = row
        again = pc.is_in(stored["session"], rows["session"].combine_chunks())
        kept = stored.filter(pc.invert(again))
        stored = pa.concat_tables([kept, rows]).sort_by("session")
        inferred = (*(e for e in inferred if e.ex_date not in overlap.moved), *overlap.events)
    unlike = [rejected_for(row, UNLIKE_ITS_NEIGHBOURS) for row in doubted.values()]
    return stored, inferred, held + unlike
