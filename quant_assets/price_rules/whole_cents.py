"""Whole cents in prices that a source has multiplied: whether a factor was there, and which.

Shares in the United States trade in cents from 2001-04-09 on, and in hundredths of cents below a
dollar. Prices that were multiplied by a factor are whole cents of that factor, so the prices
themselves show it. Pure rules; which factor to look for is the matter of ``spin_offs``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

Floats = np.ndarray[tuple[int], np.dtype[np.float64]]
Days = np.ndarray[tuple[int], np.dtype[np.datetime64]]
Mask = np.ndarray[tuple[int], np.dtype[np.bool_]]

DECIMAL_FROM = np.datetime64("2001-04-09")
"""From this day on all shares trade in cents: Securities and Exchange Commission, order 34-42914 of
June 2000, whose last phase is that of Nasdaq. Before it they trade in fractions of a dollar."""

CENT, BELOW_A_DOLLAR = 0.01, 0.0001
"""The tick of prices from one dollar on, and below: Regulation NMS, rule 612."""

FLOAT_ERROR, SLACK = 2.0**-24, 4
"""Largest relative rounding error of a 32-bit number, and how many of them a price may be off."""

ROUNDING_ERROR = 0.5e-6
"""A source rounds multiplied prices to six decimals, in dollars."""

WIDER = (1, 4, 16, 64)
"""Multiples of these errors that are tried: undoing a split multiplies them too."""

WIDEST = 0.125
"""Ticks that widened errors reach at the most: beyond, 3/5 of a tick would pass for a whole one."""

ODD = 0.1
"""Share of prices that may be no whole ticks: bad prints, half cents, averages."""

MOST = 0.8
"""Share of the prices that must be whole ticks for all to count as such."""

CLEAR = 14.0
"""Log-likelihood by which whole ticks must stand clear of chance, e^14 being a million to one."""

SAME = 0.05
"""Ticks of the largest price by which a factor may be off that is known exactly."""

PEAK = 0.6
"""Mean cosine of a factor worth a closer look: that of MOST, between two that are tried."""

AT_A_TIME = 4
"""Rows of a matrix product."""

SAMPLE, FEW, PEAKS, BEST = 128, 64, 1024, 16
"""Prices that the search looks at, and each peak of it, then peaks, and those looked at closely."""


@dataclass(frozen=True)
class Fit:
    """A factor and how well prices divided by it are whole ticks.

    ``evidence`` is the log-likelihood against prices without ticks, less that of the number of
    factors tried; ``wider`` the multiple of the rounding errors that fits best; ``only`` is False
    where another factor fits as well and the known one is not exact.
    """

    factor: float
    evidence: float
    wider: int
    only: bool


def slack(prices: np.ndarray) -> np.ndarray:
    """How far, in dollars, a source's rounding may move a price: 32 bits and six decimals."""
    moved: np.ndarray = np.abs(prices) * (FLOAT_ERROR * SLACK) + ROUNDING_ERROR
    return moved


def fit(prices: Floats, ticks: Floats, factor: float) -> Fit | None:
    """Whether ``prices``, distinct and ascending, are whole ticks of ``factor``; else None."""
    return _best(prices, ticks, np.array([1 / factor]), factor, 1.0)


def nearest_fit(
    prices: Floats, ticks: Floats, factor: float, low: float, high: float
) -> Fit | None:
    """The factor from ``low`` to ``high`` by which ``prices`` are whole ticks, if there is one.

    Where several fit equally well it is the nearest to ``factor``.
    """
    sample = _spread(len(prices), SAMPLE)
    inverse, tried = _peaks((prices / ticks)[sample], 1 / high, 1 / low)
    few = sample[_spread(len(sample), FEW)]
    inverse = _refined((prices / ticks)[few], inverse)
    inverse = inverse[(inverse >= 1 / high) & (inverse <= 1 / low)]
    if len(inverse) == 0:
        return None
    evidence, _ = _evidence(prices[few], ticks[few], inverse)
    best = inverse[np.argsort(-evidence, kind="stable")[:BEST]]
    return _best(prices, ticks, _refined(prices / ticks, best), factor, tried)


def _spread(count: int, most: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Places spread over ``count``, not more than ``most``."""
    return np.linspace(0, count - 1, min(count, most)).astype(np.int64)


def _peaks(counts: Floats, low: float, high: float) -> tuple[Floats, float]:
    """Where the mean of cos(2π · count · x) peaks for x from ``low`` to ``high``, and how many x
    were told apart.

    cos(a + b) makes a matrix product of it: as many rows as columns, in place of a row for each x.
    It is taken a few rows at a time, too few for the library to start threads, which cost more.
    """
    step = 1 / (8 * counts.max())
    side = AT_A_TIME * math.ceil(math.sqrt((high - low) / step + 1) / AT_A_TIME)
    coarse = (low + np.arange(side) * side * step)[:, None] * counts
    a = 2 * np.pi * (coarse % 1).reshape(-1, AT_A_TIME, len(counts))
    b = 2 * np.pi * counts[:, None] * (np.arange(side) * step)
    mean = ((np.cos(a) @ np.cos(b) - np.sin(a) @ np.sin(b)) / len(counts)).ravel()
    around = np.concatenate([[-1], mean, [-1]])
    tops = np.flatnonzero((mean >= around[:-2]) & (mean > around[2:]) & (mean > PEAK))
    tops = tops[np.argsort(-mean[tops], kind="stable")[:PEAKS]]
    found: Floats = low + tops * step
    return found, side * side / 8


def _refined(counts: Floats, inverse: Floats) -> Floats:
    """Each x moved to where the counts it makes whole are so by least squares."""
    for near in (0.25, 0.1, 0.05):
        product = inverse[:, None] * counts
        whole = np.rint(product)
        weight = (np.abs(product - whole) <= near) * counts
        below = weight @ counts
        moved = (weight * whole).sum(axis=1) / np.where(below > 0, below, 1)
        inverse = np.where(below > 0, moved, inverse)
    return inverse


def _evidence(
    prices: Floats, ticks: Floats, inverse: Floats
) -> tuple[Floats, np.ndarray[tuple[int], np.dtype[np.int64]]]:
    """For each x: the log-likelihood of whole ticks against none, -inf where too few prices are
    whole, and which of WIDER it takes."""
    product = inverse[:, None] * (prices / ticks)
    off = np.abs(product - np.rint(product))
    bound = inverse.mean() * (slack(prices) / ticks)  # x differ by a few per cent at the most
    likelihood = []
    for wider in WIDER:
        allowed = np.maximum(np.minimum(bound * wider, WIDEST), np.minimum(bound, 0.5))
        hit = off <= allowed
        gain = np.log(ODD + (1 - ODD) / (2 * allowed))
        total = np.where(hit, gain, math.log(ODD)).sum(axis=1) - math.log(len(WIDER))
        likelihood.append(np.where(hit.mean(axis=1) >= MOST, total, -np.inf))
    return np.max(likelihood, axis=0), np.argmax(likelihood, axis=0)


def _best(prices: Floats, ticks: Floats, inverse: Floats, near: float, tried: float) -> Fit | None:
    evidence, at = _evidence(prices, ticks, inverse)
    evidence = evidence - math.log(tried)
    if not evidence.max() >= CLEAR:
        return None
    close = np.flatnonzero(evidence >= evidence.max() - CLEAR)
    chosen = close[np.argmin(np.abs(1 / inverse[close] - near))]
    largest = inverse[chosen] * (prices / ticks).max()
    moved = np.abs(inverse[close] / inverse[chosen] - 1) * largest
    only = bool((moved < 0.5).all() or abs(inverse[chosen] * near - 1) * largest < SAME)
    return Fit(1 / float(inverse[chosen]), float(evidence[chosen]), WIDER[int(at[chosen])], only)


def whole(prices: Floats) -> Mask:
    """Which prices are whole cents, within what 32 bits leave of them."""
    cents = prices / CENT
    near: Mask = np.abs(cents - np.rint(cents)) <= slack(prices) / CENT
    return near
