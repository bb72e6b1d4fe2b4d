"""What a source of daily prices is asked and answers: columns, request, answer."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from quant_assets.contracts.source import Source, SourceError, SourceProfile
from quant_assets.schema.row_rules import REJECTED

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

UNREADABLE_COLUMNS = REJECTED
"""Rows the source sent that could not be typed, as text."""


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
    """Prices and corporate actions of some symbols; the tables have the columns named above.

    ``ranges`` are the first and last day that the source is known to have of a symbol, whatever
    was requested: what a symbol means must not depend on the days requested.
    """

    symbols: tuple[str, ...]
    rows: pa.Table
    actions: pa.Table = field(default_factory=ACTION_COLUMNS.empty_table)
    empty: pa.Table = field(default_factory=EMPTY_COLUMNS.empty_table)
    unreadable: pa.Table = field(default_factory=UNREADABLE_COLUMNS.empty_table)
    failures: Mapping[str, SourceError] = field(default_factory=dict)
    notices: tuple[str, ...] = ()
    instruments: tuple[Instrument, ...] = ()
    ranges: Mapping[str, tuple[dt.date, dt.date]] = field(default_factory=dict)
    under_way: tuple[str, ...] = ()

    def part(self, symbols: Collection[str]) -> PriceAnswer:
        """The answer for some of its symbols; what is about the whole goes with its first one."""
        named = pa.array(list(symbols), pa.string())
        whole = self.symbols[0] in symbols
        rows, actions, empty, unreadable = (
            table.filter(pc.is_in(table["symbol"], named))
            for table in (self.rows, self.actions, self.empty, self.unreadable)
        )
        return PriceAnswer(
            tuple(symbol for symbol in self.symbols if symbol in symbols),
            rows,
            actions,
            empty,
            unreadable,
            {symbol: error for symbol, error in self.failures.items() if symbol in symbols},
            self.notices if whole else (),
            tuple(each for each in self.instruments if each.symbol in symbols),
            {symbol: days for symbol, days in self.ranges.items() if symbol in symbols},
            self.under_way if whole else (),
        )


@dataclass(frozen=True, kw_only=True)
class PriceProfile(SourceProfile):
    """What holds for all prices of a source: in which shares they are, and which events it lists.

    ``convention`` says how the source itself computes total returns.
    """

    price_basis: Literal["as_traded", "split_adjusted"]
    has_splits: bool
    has_distributions: bool
    convention: str = "total return (P + D) * S / P0"


class PriceSource(Source[PriceAnswer], Protocol):
    """A source of daily prices and corporate actions."""

    @property
    def profile(self) -> PriceProfile: ...
