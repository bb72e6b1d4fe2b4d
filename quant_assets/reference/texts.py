"""Texts of strangers made fit to store and to show. The one bound on their length."""

from __future__ import annotations

import re

LONGEST_TEXT = 200
"""Characters kept of a name; no company's has as many."""

LONGEST_NOTE = 1_000
"""Characters kept of a reason, which may be a sentence or two."""

LONGEST_MESSAGE = 4_000
"""Characters kept of an error, which may quote several texts."""

_UNFIT = re.compile(
    # Control and escape characters but for line ends and tabs; marks that turn the direction of
    # what follows or show nothing; halves of surrogate pairs, which no file can hold.
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff"
    "\ud800-\udfff\ufff9-\ufffb]"
)
_FORMULA = ("=", "+", "-", "@")


def plain_text(text: str, longest: int = LONGEST_TEXT) -> str:
    """A text on one line, without what can't be shown, cut where it is too long."""
    return shortened(" ".join(printable(text[: 16 * longest]).split()), longest)


def printable(text: str) -> str:
    """A text that can be stored and shown as it stands; its lines stay lines."""
    return _UNFIT.sub("", text)


def shortened(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def spreadsheet_text(text: str) -> str:
    """A text that no spreadsheet takes for a formula; numbers stay as they are."""
    shown = printable(text)
    return f"'{shown}" if shown.lstrip().startswith(_FORMULA) and not _is_number(shown) else shown


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
