"""In which shares prices are: what a vendor says of them, and what the rows show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa

from quant_assets.price_rules.corporate_actions import SPLIT_FROM
from quant_assets.price_rules.vendor_numbers import SMALLEST_YIELD
from quant_assets.sources.files.inspection.vendors import Vendor

SHARE_RATIOS = (1.5, 2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 20, 25, 30, 50, 100)

NEAR = 0.03
"""How far an opening may be from the ratio of a split that it follows."""


FEW = 0.02
"""Steps like a split's that an archive must have for each of its symbols to count as one."""


ROUNDED = 0.2
"""Steps up of an adjusted close, for each down, from which on it is rounded: dividends go down."""


@dataclass(frozen=True)
class PriceBasis:
    """``uses`` are optional fields of ours to be mapped. ``sure`` is False where rows and columns
    alone can't tell."""

    basis: Literal["as_traded", "split_adjusted"]
    because: str
    uses: tuple[str, ...] = ()
    sure: bool = True


def price_basis(rows: pa.Table, vendor: Vendor, available: frozenset[str]) -> PriceBasis:
    """``rows`` are typed and sorted by symbol and session; ``available`` our fields they have."""
    uses = tuple(name for name in vendor.uses if name in available)
    large, upward = _adjusted_steps(rows)
    beside = "adjusted_close" in available
    if vendor.basis == "split_adjusted" and beside and large and "split" not in uses:
        return PriceBasis(
            "as_traded",
            f"the adjusted close steps away from the close as a split does ({large}), so the close "
            "is as traded; splits and dividends are taken from these steps",
            ("adjusted_close",),
        )
    if vendor.basis == "unknown":
        return _by_the_rows(rows, available, large)
    if "adjusted_close" in uses and upward:
        return PriceBasis(
            vendor.basis,
            f"{vendor.why}. The adjusted close is not used: it is rounded too much to tell "
            f"dividends from rounding ({upward})",
        )
    return PriceBasis(vendor.basis, vendor.why, uses)


def _by_the_rows(rows: pa.Table, available: frozenset[str], large: str) -> PriceBasis:
    events = tuple(name for name in ("split", "dividend") if name in available)
    steps = _split_like_steps(rows)
    if "split" in available:
        splits = rows["split"].to_numpy()
        some = bool((np.isfinite(splits) & (splits > 0) & (splits != 1)).any())
        if some and not steps:
            return PriceBasis(
                "split_adjusted", "splits are listed, and prices do not step at them", events
            )
        return PriceBasis(
            "as_traded",
            f"prices step at the splits that are listed ({steps})"
            if some
            else "there is a column of splits, and no split in it to judge by. A vendor that lists "
            "splits beside prices usually has them as traded",
            events,
            sure=some,
        )
    if large:
        return PriceBasis(
            "as_traded",
            f"the adjusted close steps away from the close as a split does ({large})",
            ("adjusted_close",),
        )
    if steps:
        return PriceBasis(
            "as_traded",
            f"a price opens as after a split ({steps}), and no column lists splits. Until another "
            "source has them, adjusted prices step there too",
            events,
            sure=False,
        )
    more = ("adjusted_close",) if "adjusted_close" in available and not events else events
    return PriceBasis(
        "split_adjusted",
        "no column lists splits and no price steps as at a split: downloads of this kind are "
        "nearly always adjusted for splits. If yours are as traded, set price_basis = "
        '"as_traded" and drop basis_on',
        more,
        sure=False,
    )


def _adjusted_steps(rows: pa.Table) -> tuple[str, str]:
    """The first step of an adjusted close over the close that a split would make, and the first
    that no dividend makes: a small one upward is rounding."""
    symbol, close = rows["symbol"].to_numpy(), rows["close"].to_numpy()
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = rows["adjusted_close"].to_numpy() / close
        step = factor[1:] / factor[:-1]
        moved = close[1:] / close[:-1]
        same = (symbol[1:] == symbol[:-1]) & np.isfinite(step)
        large = same & ((step >= SPLIT_FROM) | (step <= 1 / SPLIT_FROM))
        # The close itself makes the step, up to a day's ups and downs.
        large &= (step * moved > 1 / SPLIT_FROM) & (step * moved < SPLIT_FROM)
        large &= _near_a_ratio(np.where(step < 1, 1 / step, step))
        # One spin-off among many symbols is no sign of prices as traded.
        large &= large.sum() >= FEW * len(np.unique(symbol))
        upward = same & (step < 1 - SMALLEST_YIELD) & (step > 1 / SPLIT_FROM)
        downward = same & (step > 1 + SMALLEST_YIELD) & (step < SPLIT_FROM)
        # Rounding goes both ways; a single step upward may be a merger.
        upward &= upward.sum() >= max(2, ROUNDED * downward.sum())
    return _where(rows, large), _where(rows, upward)


def _split_like_steps(rows: pa.Table) -> str:
    """The first opening that follows the close before by the ratio of a split, where enough do."""
    symbol = rows["symbol"].to_numpy()
    with np.errstate(divide="ignore", invalid="ignore"):
        change = rows["open"].to_numpy()[1:] / rows["close"].to_numpy()[:-1]
    ratio = np.where(change < 1, 1 / change, change)
    same = (symbol[1:] == symbol[:-1]) & np.isfinite(ratio)
    near = _near_a_ratio(ratio)
    near &= same
    several = near & (ratio > 2.5)
    # Prices halve or double overnight without a split too; those of many symbols do not.
    symbols = len(np.unique(symbol))
    for found in (several, near):
        if found.sum() >= FEW * symbols:
            return _where(rows, found)
    return ""


def _near_a_ratio(values: np.ndarray) -> np.ndarray:
    near = np.zeros(len(values), dtype=bool)
    for ratio in SHARE_RATIOS:
        near |= np.abs(values / ratio - 1) <= NEAR
    return near


def _where(rows: pa.Table, steps: np.ndarray) -> str:
    found = np.flatnonzero(steps)
    if not len(found):
        return ""
    at = int(found[0])
    before, after = (rows.slice(place, 1).to_pylist()[0] for place in (at, at + 1))
    return f"{after['symbol']} on {after['session']}: {before['close']:g}, then {after['close']:g}"
