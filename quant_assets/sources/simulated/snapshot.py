"""A snapshot of the simulated market: each security listed on its last session, with its size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from quant_assets.contracts.market import MARKET_COLUMNS
from quant_assets.contracts.rows import RowAnswer
from quant_assets.contracts.source import Request, SourceProfile, UnknownSymbolAtSource
from quant_assets.sources.simulated.market import SimulatedMarket

FEED = "simulated"
"""The one list of the simulated market."""


@dataclass(frozen=True)
class SimulatedSnapshot:
    """The securities of a simulated market on its last session. It has no other day."""

    market: SimulatedMarket

    @property
    def profile(self) -> SourceProfile:
        of_prices = self.market.profile
        return SourceProfile(of_prices.name, simulated=True, convention=of_prices.convention)

    def symbols(self) -> tuple[str, ...]:
        return (FEED,)

    def fetch(self, requests: Sequence[Request]) -> Iterator[RowAnswer]:
        for request in requests:
            feed = request.symbol
            if feed != FEED:
                unknown = UnknownSymbolAtSource(self.profile.name, feed)
                yield RowAnswer((feed,), failures={feed: unknown})
            else:
                yield RowAnswer((feed,), {"market_snapshot": self._rows()})

    def _rows(self) -> pa.Table:
        rows = []
        for listed in self.market.listed():
            day_before, last = listed.closes
            shares = round(1e7 * (1 + 99 * np.random.default_rng(listed.number).random()))
            rows.append(
                {
                    "feed": FEED,
                    "session": self.market.end,
                    "symbol": listed.symbol,
                    "name": f"{listed.company} Common Stock",
                    "exchange": FEED,
                    "type": "common_stock",
                    "last_sale": last,
                    "net_change": round(last - day_before, 4),
                    "volume": listed.volume,
                    "market_cap": round(shares * listed.shares_for_one * last, 2),
                    "country": "United States",
                    "ipo_year": self.market.start.year,
                    "sector": listed.sector,
                    "industry": listed.industry,
                }
            )
        return pa.Table.from_pylist(rows, schema=MARKET_COLUMNS)
