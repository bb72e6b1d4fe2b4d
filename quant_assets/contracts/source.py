"""What a source promises, and how it fails. No concrete source lives here.

A source turns its own dialect into our columns and answers in chunks. Of each symbol-day asked for
it says one of: here is the row; there is nothing, and this is why (``empty``); this row can't be
read (``unreadable``); or, for a whole symbol, it could not be found out (``failures``). "Nothing
for that day" is an answer, "could not find out" an error; a source never turns one into the other.

    SourceError
    ├── UnknownSymbolAtSource    the source was reached and has never heard of the symbol
    ├── MissingAtSource          it knows the symbol and has a hole where a row should be
    ├── BadAnswer                it answered with something that is not data
    ├── RateLimited              it asks us to slow down
    └── SourceUnavailable        it could not be reached, or a file could not be read
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from quant_assets.reference.errors import BrokenError


class SourceError(BrokenError):
    """Something kept a source from answering."""

    def __init__(self, source: str, message: str) -> None:
        super().__init__(message)
        self.source = source


class UnknownSymbolAtSource(SourceError):  # noqa: N818 - names the fact, as the tree above draws it
    """The source was reached and does not have the symbol."""

    def __init__(self, source: str, symbol: str, hint: str = "") -> None:
        super().__init__(source, f"{source} has no symbol {symbol}.{' ' + hint if hint else ''}")
        self.symbol = symbol


class MissingAtSource(SourceError):  # noqa: N818
    """The source knows the symbol, and says nothing of sessions on which it was to have traded."""

    def __init__(self, source: str, symbol: str, sessions: Sequence[dt.date]) -> None:
        shown = ", ".join(str(day) for day in sessions[:5])
        more = f" and {len(sessions) - 5} more" if len(sessions) > 5 else ""
        super().__init__(
            source,
            f"{source} has no row of {symbol} for {shown}{more}, and does not say why.",
        )
        self.symbol = symbol
        self.sessions = tuple(sessions)


class BadAnswer(SourceError):  # noqa: N818
    """The source answered with something that is not data, such as an HTML page."""


class RateLimited(SourceError):  # noqa: N818
    """The source asks for fewer requests."""

    def __init__(self, source: str, retry_after: float | None = None) -> None:
        when = f"; it says to wait {retry_after:.0f} s" if retry_after is not None else ""
        super().__init__(source, f"{source} limits our requests{when}.")
        self.retry_after = retry_after


class SourceUnavailable(SourceError):  # noqa: N818
    """The source could not be reached or read at all."""


@dataclass(frozen=True)
class SourceProfile:
    """The convention a source speaks in, kept beside its rows."""

    name: str
    price_basis: Literal["as_traded", "split_adjusted"]
    has_splits: bool
    has_distributions: bool
    simulated: bool = False
    convention: str = "total return (P + D) * S / P0"
    names_on: dt.date | None = None
    """The day whose tickers the source uses for all of its history; None for the ticker of the
    day itself."""
    live: bool = False
    """Whether it is asked over a network about markets under way: a request costs the same for a
    day and for ten years, so it looks back, and the newest session may change once more."""
    restates: bool = False
    """Whether it is known to say otherwise later what it said before, as deliveries do."""
