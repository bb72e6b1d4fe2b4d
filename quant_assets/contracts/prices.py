"""What a source of daily prices is asked and answers: columns, request, answer."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import pyarrow as pa

from quant_assets.contracts.source import SourceError, SourceProfile

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
