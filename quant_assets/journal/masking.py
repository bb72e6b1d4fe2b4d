"""Secrets and control characters taken out of log messages."""

from __future__ import annotations

import re

from quant_assets.reference.secrets import masked

_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f]")


def plain(text: str) -> str:
    """``text`` masked, in lines, without characters that a file or a terminal can't show.

    A source may send anything: lone surrogates that UTF-8 can't encode, terminal escapes.
    """
    lines = masked(text).encode("utf-8", "backslashreplace").decode("utf-8").splitlines()
    return "\n".join(_CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", line) for line in lines)
