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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import pyarrow as pa

from quant_assets.reference.identity import KnownIdentity

PRICE_COLUMNS = pa.schema(
    [
        ("symbol", pa.string()),
        ("session", pa.date32()),
        ("open", pa.float64()),
        ("high", pa.float64()),
        ("low", pa.float64()),
        ("close", pa.float64()),
        ("volume", pa.float64()),
        ("basis_on", pa.date32()),
        ("currency", pa.string()),
    ]
)
"""Rows of an answer; prices in ``currency`` per share of ``basis_on``, null where not given."""

ACTION_COLUMNS = pa.schema(
    [
        ("symbol", pa.string()),
        ("ex_date", pa.date32()),
        ("kind", pa.string()),
        ("ratio", pa.float64()),
        ("amount", pa.float64()),
        ("value_factor", pa.float64()),
        ("currency", pa.string()),
        ("basis_on", pa.date32()),
        ("reported_ratio", pa.float64()),
        ("reported_amount", pa.float64()),
        ("kind_by", pa.string()),
        ("note", pa.string()),
    ]
)
"""Corporate actions of an answer; see ``tables.CORPORATE_ACTIONS`` for what each column means."""

EMPTY_COLUMNS = pa.schema(
    [("symbol", pa.string()), ("session", pa.date32()), ("reason", pa.string())]
)
"""Symbol-days for which the source confirmed that there is nothing."""

UNREADABLE_COLUMNS = pa.schema(
    [
        ("symbol", pa.string()),
        ("session", pa.string()),
        ("reason", pa.string()),
        ("raw", pa.string()),
    ]
)
"""Rows the source sent that could not be typed, as text."""


class SourceError(Exception):
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


@dataclass(frozen=True)
class PriceRequest:
    """One symbol over ``start`` to ``end``, both included.

    With ``since``, an earlier day, what the source says of the days from then on is wanted as
    well, to be compared with what is stored.
    """

    symbol: str
    start: dt.date
    end: dt.date
    since: dt.date | None = None

    @property
    def first(self) -> dt.date:
        """The first day to ask for."""
        return min(self.start, self.since) if self.since else self.start


@dataclass(frozen=True)
class Instrument:
    """What a source says a symbol is; None where it does not say.

    ``type`` is stock, etf, crypto or the source's own word in lower case, ``zone`` an IANA time
    zone, ``last_trade_at`` aware UTC.
    """

    symbol: str
    type: str | None = None
    exchange: str | None = None
    currency: str | None = None
    zone: str | None = None
    name: str | None = None
    first_trade_on: dt.date | None = None
    last_trade_at: dt.datetime | None = None


@dataclass(frozen=True)
class PriceAnswer:
    """What a source said about some of the symbols it was asked for.

    ``symbols`` are those the answer is complete for, failures included; the tables have the columns
    named above. ``notices`` are sentences about the answer as a whole, such as one unreadable file
    among many. ``under_way`` are symbols that the source is asking for meanwhile.
    """

    symbols: tuple[str, ...]
    rows: pa.Table
    actions: pa.Table = field(default_factory=ACTION_COLUMNS.empty_table)
    empty: pa.Table = field(default_factory=EMPTY_COLUMNS.empty_table)
    unreadable: pa.Table = field(default_factory=UNREADABLE_COLUMNS.empty_table)
    failures: Mapping[str, SourceError] = field(default_factory=dict)
    notices: tuple[str, ...] = ()
    instruments: tuple[Instrument, ...] = ()
    under_way: tuple[str, ...] = ()


class PriceSource(Protocol):
    """Daily prices and corporate actions."""

    @property
    def profile(self) -> SourceProfile: ...

    def symbols(self) -> tuple[str, ...]:
        """Every symbol the source holds, sorted; empty where it can't tell."""
        ...

    def fetch(self, requests: Sequence[PriceRequest]) -> Iterator[PriceAnswer]:
        """Answer every request, a chunk of symbols at a time.

        Raises SourceUnavailable or BadAnswer where nothing at all can be read; anything that
        concerns one symbol comes back in ``failures``.
        """
        ...


@dataclass(frozen=True)
class Constituent:
    """A member of an index as a list gives it today."""

    symbol: str
    name: str | None = None
    sector: str | None = None
    industry: str | None = None
    cik: str | None = None
    added_on: dt.date | None = None
    previous_symbol: str | None = None
    """The ticker it went by before, where the list says so."""


@dataclass(frozen=True)
class MembershipInterval:
    """A ticker's stay in an index: from ``effective_on`` until the day before ``removed_on``."""

    symbol: str
    effective_on: dt.date
    removed_on: dt.date | None
    slug: str | None = None
    """Which of several securities of that symbol, where the source itself can tell."""


@dataclass(frozen=True)
class MembershipChange:
    """A row of a table of changes: who joined, who left, or both, before the open of ``on``."""

    on: dt.date
    added: str | None = None
    removed: str | None = None
    added_name: str | None = None
    removed_name: str | None = None
    reason: str | None = None


@dataclass(frozen=True)
class UniverseAnswer:
    """The members of a universe, now (``constituents``) and over time (``intervals``).

    ``names`` are the dated names of its securities, where the source knows of renames and reuse.
    ``changes`` are dated additions and removals. ``listed_on`` is the day of the list, where that
    is not the day it was asked for. ``passed_over`` says why each better source did not answer;
    whatever comes after such a one is a fallback.
    """

    source: str
    names: tuple[KnownIdentity, ...] = ()
    constituents: tuple[Constituent, ...] = ()
    intervals: tuple[MembershipInterval, ...] = ()
    changes: tuple[MembershipChange, ...] = ()
    listed_on: dt.date | None = None
    passed_over: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()


class UniverseSource(Protocol):
    """Members of an index."""

    def fetch_universe(self) -> UniverseAnswer: ...
