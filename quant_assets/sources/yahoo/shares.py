"""Numbers that Yahoo gives in today's shares, put back into the shares of their own day.

Every split between that day and now is undone, which is right only if the response reaches the
present and so lists all of them.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

import numpy as np

from quant_assets.sources.yahoo.chart import Days
from quant_assets.sources.yahoo.fields import Floats

FLOAT_ERROR = 2.0**-24
"""Largest relative rounding error of a 32-bit number."""

SLACK = 4
"""How many such errors a price may be off: Yahoo rounds at each split it adjusts for."""

ROUNDING_ERROR = 0.5e-6
"""Yahoo rounds adjusted prices and dividends to six decimals, and then to 32 bits."""

DIGITS = 8
"""Significant digits kept of a number that is no short decimal; 32 bits hold less than that."""


def factors(days: Days, splits: Mapping[dt.date, float]) -> Floats:
    """The factor by which the splits after each day multiplied its shares."""
    dates = np.array(sorted(splits), dtype="datetime64[D]")
    ratios = np.array([splits[day] for day in sorted(splits)])
    later = np.append(np.cumprod(ratios[::-1])[::-1], 1.0)
    found: Floats = later[np.searchsorted(dates, days, side="right")]
    return found


def as_traded(adjusted: Floats, factor: Floats, error: Floats | float = 0.0) -> Floats:
    """Undo ``factor`` on 32-bit prices: the shortest decimal that Yahoo's rounding leaves possible.

    A price in cents comes back exactly up to 20,971 (0.005 / (4 × 2⁻²⁴)) however often it was
    rounded within ``SLACK``, and up to 83,886 (0.005 × 2²⁴) if only once; above, two decimals are
    coarser than 32 bits. ``error`` is what ``adjusted`` may be off besides. NaN stays NaN.
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        product = adjusted * factor
        possible = np.abs(product) * (FLOAT_ERROR * SLACK) + error * factor
        digits = DIGITS - 1 - np.floor(np.log10(np.abs(product)))
        scale = 10.0 ** np.clip(np.where(np.isfinite(digits), digits, 0), 0, 300)
        restored: Floats = np.where(np.isfinite(product), np.rint(product * scale) / scale, product)
        for decimals in (4, 3, 2):  # the fewest last: they win
            rounded = np.round(product, decimals)
            restored = np.where(np.abs(rounded - product) <= possible, rounded, restored)
    return restored
