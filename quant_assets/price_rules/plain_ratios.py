"""Plain ratios, such as 3:2, in the quotients of prices that are rounded."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

from quant_assets.price_rules.corporate_actions import LARGEST_DENOMINATOR, SPLIT_FROM

CLEAR = 0.2
"""How wide the range a ratio n:m may lie in can be, times m²: the plainer, the less it takes. A
price off by some random factor passes for a split in less than one of fifteen cases at the worst,
and then all four prices of its row must be off by the same."""

FOLLOWING = 0.9
"""Share of the rows before a split that must follow it: others may be corrected at the same
time."""

HALF_A_CENT = 0.005

MANY_ROWS = 10
"""So many rows off by one factor that is no split's ratio are no corrections of single rows, even
where not all of their prices are."""

NOISE = 1e-6
"""Relative difference up to which two prices, or volumes, are the same: vendors keep 32 bits."""

SLIP = 1e-3
"""What a price may be off by once a factor known to eight digits was undone."""

SEVERAL_ROWS = 3
"""Rows needed to distinguish a stock dividend, such as 11:10, from a correction by a tenth."""

Floats = np.ndarray[tuple[int], np.dtype[np.float64]]

Grid = np.ndarray[tuple[int, int], np.dtype[np.float64]]

Mask = np.ndarray[tuple[int], np.dtype[np.bool_]]


def plain_split(stored: Grid, reported: Grid, shares: Floats) -> tuple[int, float] | None:
    """How many rows, from the first on, are off by one plain ratio, and that ratio.

    ``reported`` was multiplied by ``shares``, after it had been rounded to cents.
    """
    # What was stored may be rounded too: a price of cents that a reverse split made dollars.
    half, exact = HALF_A_CENT * shares[:, None], np.zeros((len(shares), 1))
    tries = (
        (stored, reported, exact, half),
        (reported, stored, half, exact),
        (reported, stored, half, half),
    )
    for larger, smaller, of_larger, of_smaller in tries:
        low, high = _ranges(larger, smaller, of_larger, of_smaller)
        possible = (low <= high) & (low > 1)
        ratio = _common_ratio(low[possible], high[possible])
        if ratio is None:
            continue
        follows = possible & (low <= ratio) & (ratio <= high)
        count = int(np.flatnonzero(follows)[-1]) + 1
        if ratio < SPLIT_FROM and count < SEVERAL_ROWS:
            continue
        if follows[:count].mean() >= FOLLOWING:
            return count, ratio if larger is stored else 1 / ratio
    return None


def _ranges(
    larger: Grid, smaller: Grid, of_larger: Grid, of_smaller: Grid
) -> tuple[Floats, Floats]:
    """The smallest and largest ratio that each row allows, by all its prices and their slack."""
    above, below = of_larger + NOISE * larger, of_smaller + NOISE * smaller
    low: Floats = ((larger - above) / (smaller + below)).max(axis=1)
    with np.errstate(divide="ignore"):
        high: Floats = ((larger + above) / np.maximum(smaller - below, 0.0)).min(axis=1)
    return low, high


def _common_ratio(low: Floats, high: Floats) -> float | None:
    """The plain ratio in the range that most of the ranges ``low`` to ``high`` share."""
    if len(low) == 0:
        return None
    begun = np.searchsorted(np.sort(low), low, side="right")
    ended = np.searchsorted(np.sort(high), low, side="left")
    start = low[np.argmax(begun - ended)]
    end = high[(low <= start) & (high >= start)].min()
    if not math.isfinite(end):
        return None
    ratio = _simplest(float(start), float(end))
    clear = (end - start) * ratio.denominator**2 <= CLEAR
    return float(ratio) if clear and ratio.denominator <= LARGEST_DENOMINATOR else None


def _simplest(low: float, high: float) -> Fraction:
    """The fraction with the smallest denominator in a range of positive numbers."""
    whole = math.ceil(low)
    if whole <= high:
        return Fraction(whole)
    below = math.floor(low)
    return below + 1 / _simplest(1 / (high - below), 1 / (low - below))


def common_factor(stored: Grid, reported: Grid) -> tuple[int, float] | None:
    """How many rows, from the first on, are off by one common factor, and that factor.

    No correction multiplies a whole past by one factor. The source has adjusted its prices for an
    event that it does not list, such as a spin-off. Of a few rows all four prices must be off by
    it, by more than a cent could; they must be dollars, and not all the same.
    """
    ratios = reported / stored
    ratio = np.median(ratios, axis=1)
    slack = NOISE + HALF_A_CENT / stored.min(axis=1)
    off = np.flatnonzero(np.abs(ratio - 1) > 2 * slack)
    if len(off) == 0 or off[-1] + 1 - len(off) > (1 - FOLLOWING) * len(off):
        return None
    factor = float(np.median(ratio[off]))
    if len(off) < MANY_ROWS:
        of_all = np.abs(ratios[off] - factor) <= 2 * slack[off, None] * factor
        clear = slack[off].max() <= HALF_A_CENT and abs(factor - 1) > 4 * slack[off].max()
        clear = clear and len(np.unique(stored[off])) > 1
        return (int(off[-1]) + 1, factor) if clear and of_all.all() else None
    same = np.abs(ratio[off] - factor) <= 2 * slack[off] * max(factor, 1.0)
    if same.mean() < FOLLOWING:
        return None
    factor = float(reported[off[same]].sum() / stored[off[same]].sum())
    return int(off[-1]) + 1, factor


def multiplied(stored: Grid, reported: Grid) -> Mask:
    """The rows of which all four prices are off by one factor, of each row its own, by more than a
    cent could.
    """
    ratios = reported / stored
    factor = np.median(ratios, axis=1)
    slack = NOISE + HALF_A_CENT / stored.min(axis=1)
    clear = (np.abs(factor - 1) > 4 * slack) & (slack <= HALF_A_CENT)
    clear &= stored.min(axis=1) < stored.max(axis=1)
    near = np.abs(ratios - factor[:, None]) <= (2 * slack * np.maximum(factor, 1.0))[:, None]
    found: Mask = clear & near.all(axis=1)
    return found


def in_cents(prices: Grid) -> Grid:
    """Prices with those that are whole cents but for a factor's last digit made whole cents."""
    cents = np.round(prices, 2)
    near: Grid = np.where(np.abs(prices - cents) <= SLIP + NOISE * prices, cents, prices)
    return near
