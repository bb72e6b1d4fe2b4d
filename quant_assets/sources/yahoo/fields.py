"""Fields of Yahoo's JSON, any of which may be missing, null or of another type."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from quant_assets.contracts.source import BadAnswer
from quant_assets.reference.texts import LONGEST_TEXT, plain_text, shortened

SOURCE = "yahoo"
Floats = npt.NDArray[np.float64]


def mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def first(values: object) -> Mapping[str, Any]:
    return mapping(values[0]) if isinstance(values, list) and values else {}


def text(value: object) -> str | None:
    """A text fit to store; None where there is none."""
    return plain_text(str(value)) or None if value not in (None, "") else None


def refuse_unless(kind: type, value: object, symbol: str, name: str) -> None:
    """Raise BadAnswer where something else stands in place of a list or an object."""
    if value is not None and not isinstance(value, kind):
        shown = shortened(repr(value), LONGEST_TEXT)
        raise BadAnswer(SOURCE, f"{SOURCE}'s {name} of {symbol} can't be read: {shown}.")


def number(value: object) -> float:
    """A number, NaN for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.inf


def moment(value: object) -> dt.datetime | None:
    seconds = number(value)
    # Within the years that a date can have, a day's room for the zone left.
    if not -6.2e10 < seconds < 2.5e11:
        return None
    return dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=seconds)


def floats(values: Sequence[object]) -> Floats:
    try:
        return np.array(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        return np.array([number(value) for value in values], dtype=np.float64)
