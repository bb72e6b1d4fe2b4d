"""Volumes and splits of a delivery, as its adjusted close shows them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from quant_assets.price_rules.corporate_actions import SPLIT_FROM, plain_ratio


def in_shares_of_their_day(rows: pa.Table) -> pa.Table:
    """A sorted delivery whose prices are as traded, with its volumes as traded too, and its splits.

    In Yahoo's files of 2015 the adjusted close and the volume, and nothing else, are in the shares
    after a split; except for the newest bar, whose volume is in the shares of its own day even
    where its adjusted close includes the split to come (NFLX, 2015-07-14).
    """
    symbol = rows["symbol"].combine_chunks().dictionary_encode().indices.to_numpy()
    volume, split = rows["volume"].to_numpy().copy(), np.full(rows.num_rows, np.nan)
    newest = np.append(symbol[1:] != symbol[:-1], True)
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = rows["adjusted_close"].to_numpy() / rows["close"].to_numpy()
        step = factor / np.where(newest, 1.0, np.append(factor[1:], 1.0))
    for at in np.flatnonzero((step <= 1 / SPLIT_FROM) | (step >= SPLIT_FROM)):
        ratio = _share_ratio(float(step[at]))
        if ratio is None:
            continue
        first = np.searchsorted(symbol, symbol[at])
        before = slice(first, at if newest[at] else at + 1)
        volume[before] = np.rint(volume[before] / ratio)
        if not newest[at]:
            split[at + 1] = ratio
    columns = {"volume": pa.array(volume), "split": pa.array(split, from_pandas=True)}
    for name, values in columns.items():
        rows = rows.set_column(rows.schema.get_field_index(name), name, values)
    return rows


def _share_ratio(step: float) -> float | None:
    """The plain ratio that a step in adjusted over unadjusted close stands for."""
    if step <= 1:
        return plain_ratio(1 / step) if step > 0 else None
    backward = plain_ratio(step)
    return 1 / backward if backward else None
