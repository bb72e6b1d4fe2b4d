"""Secrets and control characters taken out of log messages."""

from __future__ import annotations

import re

from quant_assets.reference.secrets import MASK, SECRET_WORDS, masked_addresses

_QUOTED = r"""b?'(?:[^'\\\n]|\\.)*'|b?"(?:[^"\\\n]|\\.)*\""""
_IS = r"""[\w-]{0,40}(?:['"]\s*[:=,]|\s*[:=])\s*"""

_SECRETS = (
    re.compile(r"(headers\b['\"]?\s*[:=(]+\s*)[\[{].*", re.IGNORECASE),
    re.compile(rf"((?:authorization|cookie){_IS})(?:{_QUOTED}|[^\r\n]+)", re.IGNORECASE),
    re.compile(
        rf"((?:{'|'.join(SECRET_WORDS)}|api-key|apikey|crumb){_IS})(?:{_QUOTED}|[^\s,;)}}\]]+)",
        re.IGNORECASE,
    ),
    re.compile(r"(\bbearer\s+)[\w.~+/=-]+", re.IGNORECASE),
)

_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f]")


def masked(text: str) -> str:
    """``text`` without the values of headers, of queries, and of names like a secret's.

    It masks too much rather than too little: in a stack also the code beside such a name.
    """
    for secret in _SECRETS:
        text = secret.sub(rf"\g<1>{MASK}", text)
    return masked_addresses(text)


def plain(text: str) -> str:
    """``text`` masked, in lines, without characters that a file or a terminal can't show.

    A source may send anything: lone surrogates that UTF-8 can't encode, terminal escapes.
    """
    lines = masked(text).encode("utf-8", "backslashreplace").decode("utf-8").splitlines()
    return "\n".join(_CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", line) for line in lines)
