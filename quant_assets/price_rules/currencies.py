"""Amounts of money beside prices in another currency. Only minor units have a known rate here."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Floats = np.ndarray[tuple[int], np.dtype[np.float64]]

_RATES = {("GBP", "GBX"): 100.0, ("GBX", "GBP"): 0.01}
"""What one of the first currency is in the second: a pound is a hundred pence."""


def rate(currency: str, into: str) -> float | None:
    """What one of ``currency`` is in ``into``; None where that depends on the day."""
    return 1.0 if currency == into else _RATES.get((currency, into))


def rates(currencies: Sequence[str | None], into: Sequence[str | None]) -> Floats:
    """The rate of each amount into the currency beside it, NaN where none is known.

    An amount without a price beside it stays as it is: it is compared with none.
    """
    pairs = zip(currencies, into, strict=True)
    known = [1.0 if a is None or b is None else rate(a, b) for a, b in pairs]
    return np.array(known, dtype=np.float64)
