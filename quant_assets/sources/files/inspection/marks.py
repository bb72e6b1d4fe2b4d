"""Which marks the numbers of a file have: decimals, thousands, a currency's sign."""

from __future__ import annotations

import re
from collections.abc import Sequence

from quant_assets.sources.files.inspection.opening import NotReadable

_SIGNS = "$€£¥"
_SPACES = (" ", "\u00a0", "\u202f", "'", "\u2019", "_")
_GROUPED = re.compile(r"^\d{1,3}([.,])\d{3}$")
_SHORTENED = re.compile(r"^[\d.,]+\s?[KMBkmb]$")

WORDS = {
    ",": "commas",
    ".": "points",
    " ": "spaces",
    "\u00a0": "spaces that do not break",
    "\u202f": "narrow spaces",
    "'": "apostrophes",
    "\u2019": "apostrophes",
    "_": "underscores",
}


def marks_of(texts: Sequence[str]) -> tuple[str, str]:
    """The decimal mark, and the characters to be ignored. Raises NotReadable."""
    ignored = ""
    shortened = next((text for text in texts if _SHORTENED.match(text)), None)
    if shortened:
        raise NotReadable(
            f"has shortened numbers such as {shortened}: they are rounded, and not read. Export "
            "them in full."
        )
    cells = list(texts)
    for mark in (*_SIGNS, *_SPACES):
        if any(mark in cell and cell.strip(mark) for cell in cells):
            ignored += mark
            cells = [cell.replace(mark, "") for cell in cells]
    cells = [cell.strip("-+ ") for cell in cells]
    decimal, thousands = _points_and_commas(cells)
    return decimal, ignored + thousands


def _points_and_commas(cells: Sequence[str]) -> tuple[str, str]:
    both = next((cell for cell in cells if "." in cell and "," in cell), None)
    if both:
        return (",", ".") if both.rfind(",") > both.rfind(".") else (".", ",")
    for mark, other in ((",", "."), (".", ",")):
        if any(cell.count(mark) > 1 for cell in cells):
            return other, mark
    commas = [cell for cell in cells if "," in cell]
    points = [cell for cell in cells if "." in cell]
    if not commas:
        return ".", ""
    grouped = all(_GROUPED.match(cell) for cell in commas)
    if not grouped and all(_GROUPED.match(cell) for cell in points):
        return ",", "." if points else ""
    if grouped and any(not _GROUPED.match(cell) for cell in points):
        return ".", ","
    raise NotReadable(
        f"has numbers such as {commas[0]}: whether the comma is a decimal mark or one of thousands "
        "can't be told. Set decimal_mark and ignore_in_numbers by hand."
    )
