"""A split written as a text, as vendors do: ``4:1``, ``4/1``, ``4 for 1``."""

from __future__ import annotations

import math
import re

_NUMBER = r"(\d{1,12}(?:\.\d{1,12})?|\.\d{1,12})"
_RATIO = re.compile(rf"{_NUMBER}\s*(?:[:/]|-?\s*for\s*-?)\s*{_NUMBER}", re.IGNORECASE | re.ASCII)


def ratio_in(text: str) -> float | None:
    """New shares for each old one; None for a text that is no such ratio."""
    found = _RATIO.fullmatch(text.strip())
    if not found:
        return None
    new, old = float(found[1]), float(found[2])
    ratio = new / old if old else math.inf
    return ratio if 0 < ratio < math.inf else None
