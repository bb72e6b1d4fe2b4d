"""Secrets, taken out of whatever is shown, logged, noted or kept."""

from __future__ import annotations

import re

SECRET_WORDS = (
    *("token", "secret", "password", "passwd", "crumb", "webhook"),
    *("api_key", "api-key", "apikey", "access_key", "private_key"),
)
MASK = "********"

_QUOTED = r"""b?'(?:[^'\\\n]|\\.)*'|b?"(?:[^"\\\n]|\\.)*\""""
_IS = r"""[\w-]{0,40}(?:['"]\s*[:=,]|\s*[:=])\s*"""
_WORDS = "|".join(map(re.escape, SECRET_WORDS))

_SECRETS = (
    # Not of JSON, where headers are as often those of a table.
    re.compile(r"""((?<!")headers\b['"]?\s*[:=(]+\s*)[\[{].*""", re.IGNORECASE),
    re.compile(rf"((?:authorization|cookie){_IS})(?:{_QUOTED}|[^\r\n]+)", re.IGNORECASE),
    re.compile(rf"((?:{_WORDS}){_IS})(?:{_QUOTED}|[^\s,;)}}\]]+)", re.IGNORECASE),
    re.compile(r"(\bbearer\s+)[\w.~+/=-]+", re.IGNORECASE),
    # The names before a host, where a path has lost a slash too; a password may hold a slash.
    re.compile(r"(:/{1,2})(?:[^/?#\s]+|[^/?#\s:]+:[^\s]+)(?=@)"),
    re.compile(r"([?&#][^=&#\s]+=)[^&#\s\"'<>]+"),
)


def masked(text: str) -> str:
    """``text`` without passwords, cookies, values of queries, headers, and of names like a
    secret's; the quotes around a value stay.

    It masks too much rather than too little: in a stack also the code beside such a name.
    """
    for secret in _SECRETS:
        text = secret.sub(_without_value, text)
    return text


def masked_bytes(body: bytes) -> bytes:
    """A body masked as text is; its other bytes stay as they are."""
    return masked(body.decode("latin-1")).encode("latin-1")


def _without_value(found: re.Match[str]) -> str:
    value = found[0][len(found[1]) :].removeprefix("b")
    quote = value[0] if value[:1] in ("'", '"') and value[-1:] == value[0] else ""
    return f"{found[1]}{quote}{MASK}{quote}"
