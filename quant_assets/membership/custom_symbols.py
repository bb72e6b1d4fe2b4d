"""The securities that a user means by symbols and security ids, as of a day."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable

from quant_assets.reference.identity import (
    AmbiguousSymbolError,
    InvalidSymbolError,
    UnknownSymbolError,
    canonical_symbol,
)
from quant_assets.securities.register import Register


def canonical_texts(texts: Iterable[str]) -> tuple[list[str], list[str]]:
    """Canonical symbols and security ids, each once, and the texts that can't be either."""
    symbols: dict[str, None] = {}
    invalid: dict[str, None] = {}
    for text in texts:
        try:
            symbols[text.strip() if text.strip().isdecimal() else canonical_symbol(text)] = None
        except InvalidSymbolError:
            invalid[text] = None
    return list(symbols), list(invalid)


def security_to_add(text: str, register: Register, today: dt.date) -> int:
    """The security with that id, or whose ticker the symbol is today; else the one that had the
    ticker once and has another today; else a new security.

    Raises UnknownSymbolError for an id, AmbiguousSymbolError for a symbol.
    """
    if text.isdecimal():
        if all(name.security_id != int(text) for name in register.names()):
            raise UnknownSymbolError(f"Security {text}")
        return int(text)
    bearers = register.bearers(text)
    now = [name for name in bearers if name.covers(today)]
    if not now and bearers:
        active = {name.security_id for name in register.names() if name.covers(today)}
        now = [name for name in bearers if name.security_id in active]
    securities = {name.security_id for name in now}
    if len(securities) > 1:
        raise AmbiguousSymbolError(text, now)
    return securities.pop() if securities else register.security_on(text, today)


def member_to_remove(
    text: str, register: Register, members: Collection[int], today: dt.date
) -> int | None:
    """The member with that id, or whose ticker the symbol is today, else was before."""
    if text.isdecimal():
        return int(text) if int(text) in members else None
    names = [name for name in register.bearers(text) if name.security_id in members]
    names.sort(key=lambda name: (name.covers(today), name.valid_from))
    return names[-1].security_id if names else None


def ticker_of(security: int, text: str, register: Register, today: dt.date) -> str:
    """The ticker of a security today: ``text`` if that is one of its tickers, else its latest."""
    own = [name for name in register.names() if name.security_id == security]
    current = [name for name in own if name.covers(today)] or own
    if any(name.symbol == text for name in current):
        return text
    return max(current, key=lambda name: name.valid_from).symbol
