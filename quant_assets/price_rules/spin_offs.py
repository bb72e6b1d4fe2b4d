"""Spin-offs that a source has worked into its prices, undone. Pure rules.

On the evening of the ex-date of a spin-off some sources multiply all prices before it by a factor
below 1, leave volumes alone and list no event. Such prices are not as traded, and no whole cents.
``undo`` decides by the numbers alone whether a known spin-off is in them; ``basis_unknown`` finds
the rows that some event, known to nobody here, is in. Splits are undone before.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from quant_assets.price_rules.whole_cents import (
    BELOW_A_DOLLAR,
    CENT,
    CLEAR,
    DECIMAL_FROM,
    Days,
    Fit,
    Floats,
    Mask,
    fit,
    nearest_fit,
    slack,
    whole,
)

Grid = np.ndarray[tuple[int, int], np.dtype[np.float64]]

NEAR = 0.02
"""How far the factor of a source may be from the one that is known, relatively."""

TOWARDS_ONE = 0.75
"""How far it may lie towards 1, which stands for a spin-off that is not worked in."""

LATEST = 250
"""Rows before an ex-date that are looked at, a year: an older event may be in the older ones."""

QUIET = 0.015
"""Standard deviation of a step overnight, as a logarithm, that is taken for the smallest."""

APART = 4
"""Standard deviations by which the step over an ex-date must be nearer to one of two answers."""

NIGHTS = 60
"""Nights around an ex-date by which its step is measured."""

GREW = 8
"""How many rounding errors whole cents may be off once most prices have turned out to be some: the
factor was found by prices as inexact, and a split that was undone rounded them again."""

DIGITS = 8
"""Significant digits kept of a price that is no short decimal."""


@dataclass(frozen=True)
class SpinOff:
    """What the numbers say of one spin-off.

    ``worked_in`` is None where they don't tell; the prices are then left as they are. ``factor`` is
    the source's where its whole cents show it (``exact``), else the known one.
    """

    ex_date: dt.date
    worked_in: bool | None
    factor: float
    exact: bool


@dataclass(frozen=True)
class Undone:
    """``prices`` as traded, in the shape given, and what was found of each event, oldest first."""

    prices: Grid
    spin_offs: tuple[SpinOff, ...]


@dataclass(frozen=True)
class _Total:
    """The product of the factors in the prices of some days, and how well it is known."""

    factor: float = 1.0
    exact: bool = True
    wider: int = 1


def undo(days: Days, prices: Grid, events: Sequence[tuple[dt.date, float]]) -> Undone:
    """Prices as traded, from prices that may have spin-offs worked in.

    ``days`` (n, ascending), ``prices`` (n × 4: open, high, low, close, dollars a share of their own
    day, NaN where missing) of one security. ``events`` are ex-dates with the approximate factor of
    each, below 1: the price after over the price before. Of several on a day the product counts.

    From the newest event to the oldest, the rows back to the event before it are looked at. They
    are whole cents either as they are or divided by a factor within NEAR of the known one. Where
    neither stands clear of chance, the step over the ex-date decides if it is large: the last close
    before and the first price after differ by the factor unless it is worked in.
    """
    restored = prices.copy()
    found: list[SpinOff] = []
    total = _Total()
    dates = sorted({day for day, _ in events}, reverse=True)
    edges = [int(np.searchsorted(days, np.datetime64(day, "D"))) for day in dates] + [0]
    for place, day in enumerate(dates):
        start, end = edges[place + 1], edges[place]
        known = math.prod(factor for ex_date, factor in events if ex_date == day)
        event, total = _decided(days, prices, slice(start, end), (day, known), total)
        found.append(event)
        if total.factor != 1.0:
            restored[start:end] = _as_traded(days[start:end], prices[start:end], total)
    return Undone(restored, tuple(reversed(found)))


def _decided(
    days: Days, prices: Grid, rows: slice, event: tuple[dt.date, float], later: _Total
) -> tuple[SpinOff, _Total]:
    """An event by the rows before it, and the factor of those rows; ``later`` is that of newer
    events."""
    day, known = event
    values, ticks = _evidence(days[rows], prices[rows], later.factor, known)
    without = _fit(values, ticks, later, 1.0)
    if without and later.exact:  # prices divided by a factor too many are no whole cents
        return SpinOff(day, False, known, False), replace(later, wider=without.wider)
    within = _fit(values, ticks, later, known)
    if within and (not without or within.evidence > without.evidence + CLEAR):
        factor = within.factor / later.factor if within.only else known
        total = _Total(later.factor * factor, within.only, within.wider)
        return SpinOff(day, True, factor, within.only and later.exact), total
    if without and (not within or without.evidence > within.evidence + CLEAR):
        exact = without.only
        return SpinOff(day, False, known, False), (
            _Total(without.factor, True, without.wider) if exact else later
        )
    by_step = _by_step(prices / later.factor, rows.stop, known)
    total = _Total(later.factor * known, False) if by_step else later
    return SpinOff(day, by_step, known, False), total


def _evidence(days: Days, prices: Grid, later: float, known: float) -> tuple[Floats, Floats]:
    """Distinct prices that have a tick, whether or not the event is in them, and that tick."""
    values = np.unique(prices[-LATEST:][days[-LATEST:] >= DECIMAL_FROM])
    values = values[np.isfinite(values) & (values > 0)]
    dollars, cents = values / later >= 1, values / (later * known) < 1
    ticks = np.where(dollars, CENT, BELOW_A_DOLLAR)
    kept = (dollars | cents) & (slack(values) < ticks * later * known / 4)  # coarser: no evidence
    return values[kept], ticks[kept]


def _fit(values: Floats, ticks: Floats, later: _Total, known: float) -> Fit | None:
    """The factor of newer events times one near ``known``, which is 1 for none, if it fits."""
    if len(values) == 0:
        return None
    factor = later.factor * known
    if known == 1.0 and later.exact:
        return fit(values, ticks, factor)
    high = 1 + NEAR if known == 1.0 else min(1 + NEAR, 1 + (1 / known - 1) * TOWARDS_ONE)
    return nearest_fit(values, ticks, factor, factor * (1 - NEAR), factor * high)


def _by_step(prices: Grid, end: int, known: float) -> bool | None:
    """Whether the step over the row ``end`` says that a factor is worked in; None for no answer."""
    near = prices[max(end - NIGHTS, 0) : end + NIGHTS]
    at = min(end, NIGHTS)
    first = np.where(np.isfinite(near[:, 0]), near[:, 0], near[:, 3])
    with np.errstate(divide="ignore", invalid="ignore"):
        steps = np.log(first[1:] / near[:-1, 3])
    if not 0 < at < len(near) or not np.isfinite(steps[at - 1]):
        return None
    step = steps[at - 1]
    others = np.abs(np.delete(steps, at - 1))
    others = others[np.isfinite(others)]
    deviation = max(QUIET, 1.48 * float(np.median(others))) if len(others) else QUIET
    as_traded, worked_in = abs(step - math.log(known)), abs(step)
    if abs(as_traded - worked_in) < APART * deviation:
        return None
    return bool(worked_in < as_traded)


def _as_traded(days: Days, prices: Grid, total: _Total) -> Grid:
    """Prices divided by a factor; with an exact one, the shortest decimal it leaves possible."""
    quotient: Grid = prices / total.factor
    possible = slack(prices) * (total.wider / total.factor)
    with np.errstate(divide="ignore", invalid="ignore"):  # missing prices, and worse
        digits = DIGITS - 1 - np.floor(np.log10(np.abs(quotient)))
        scale = 10.0 ** np.where(np.isfinite(digits), digits, 0)
        restored: Grid = np.where(np.isfinite(quotient), np.rint(quotient * scale) / scale, prices)
        if not total.exact:
            return restored
        fractions = np.round(quotient * 64) / 64
        fits = (np.abs(fractions - quotient) <= possible) & (days < DECIMAL_FROM)[:, None]
        restored = np.where(fits, fractions, restored)
        cents = np.minimum(possible * GREW, CENT / 4)
        for decimals, allowed in ((4, possible), (3, possible), (2, cents)):  # the last wins
            rounded = np.round(quotient, decimals)
            restored = np.where(np.abs(rounded - quotient) <= allowed, rounded, restored)
    return restored


COARSEST = CENT / 50
"""Rounding up to which a price shows whether it is whole cents: that of 837 dollars."""

CHANGED, IN_CENTS = 0.95, 0.1
"""Share of closes off whole cents in prices of an unknown basis, and in others at the most: Nasdaq
closed some weeks of 2013 and 2015 at half cents and averages, a third of the time."""

OFF, ON = math.log(CHANGED / IN_CENTS), math.log((1 - CHANGED) / (1 - IN_CENTS))
"""What a close off or on whole cents adds to the log-likelihood of a stretch."""


def basis_unknown(days: Days, closes: Floats) -> Mask:
    """The rows whose closes (dollars, as traded, one security, ``days`` ascending) are of no known
    basis, as an event that nobody lists was worked in.

    A stretch is a run of rows that are not in whole cents, up to the day from which on they are
    again; it reaches back to the last rows in whole cents before it, if any. A few odd closes are
    no stretch. Prices that are not in whole cents up to the newest row are not marked: whole cents
    are not their tick. Closes count from DECIMAL_FROM on, of a dollar or more and up to COARSEST.
    """
    marked = np.zeros(len(closes), dtype=np.bool_)
    counted = np.flatnonzero((days >= DECIMAL_FROM) & (closes >= 1) & (slack(closes) <= COARSEST))
    off = ~whole(closes[counted])
    stretches = _stretches(off, 0, len(off))
    for (start, stop), (end, _) in pairwise([*stretches, (len(off), 0)]):
        if _in_cents_again(off[start:stop], off[stop:end]):
            marked[counted[start] if start else 0 : counted[stop - 1] + 1] = True
    return marked


def _stretches(off: Mask, begin: int, end: int) -> list[tuple[int, int]]:
    """All runs between two places that are unlike prices in whole cents, as slices, ascending."""
    start, stop = _stretch(off[begin:end])
    if stop == 0:
        return []
    start, stop = start + begin, stop + begin
    return [*_stretches(off, begin, start), (start, stop), *_stretches(off, stop, end)]


def _stretch(off: Mask) -> tuple[int, int]:
    """The run that is least like prices in whole cents, as a slice; empty unless it is clear."""
    running = np.concatenate([[0.0], np.cumsum(np.where(off, OFF, ON))])
    rise = running - np.minimum.accumulate(running)
    stop = int(np.argmax(rise))
    if rise[stop] < CLEAR:
        return 0, 0
    return int(np.flatnonzero(running[:stop] == running[:stop].min())[-1]), stop


def _in_cents_again(off: Mask, after: Mask) -> bool:
    """Whether the closes after a stretch are in whole cents, and not so by chance."""
    by_chance = (len(off) - off.sum() + 1) / (len(off) + 2)
    changed = after.sum()
    likelihood = changed * math.log(IN_CENTS / (1 - by_chance))
    likelihood += (len(after) - changed) * math.log((1 - IN_CENTS) / by_chance)
    return bool(likelihood >= CLEAR)
