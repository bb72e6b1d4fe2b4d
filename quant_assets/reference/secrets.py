"""Secrets in settings and addresses, masked."""

from __future__ import annotations

import re

SECRET_WORDS = ("token", "secret", "password", "api_key", "webhook")
MASK = "********"
_BEFORE_HOST = re.compile(r"(://)[^/?#\s]+@")
_IN_QUERY = re.compile(r"([?&][^=&#\s]+=)[^&#\s]+")


def masked_addresses(text: str) -> str:
    """``text`` without what addresses in it may give away: user names, passwords, query values."""
    return _IN_QUERY.sub(rf"\1{MASK}", _BEFORE_HOST.sub(rf"\1{MASK}@", text))
