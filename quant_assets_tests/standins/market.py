"""The whole market in a few literals: a source of lists, and the evenings on which it is loaded."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from quant_assets.contracts.market import MARKET_COLUMNS
from quant_assets.contracts.rows import RowAnswer, joined
from quant_assets.contracts.source import Request, SourceError, SourceProfile
from quant_assets.datasets.market_snapshot.dataset import market_snapshot
from quant_assets.loading.load import load
from quant_assets.loading.report import LoadReport
from quant_assets.loading.work import Window
from quant_assets.reference.calendars import Calendar
from quant_assets.reference.identity import KnownIdentity
from quant_assets.warehouse.warehouse import Warehouse

Row = dict[str, object]


def listed(symbol: str, last_sale: float | None = 10.0, **columns: object) -> Row:
    """A row of the market; columns that are not given are as of a quiet stock of 5e6 shares."""
    return {
        "symbol": symbol,
        "name": f"{symbol} Inc. Common Stock",
        "type": "common_stock",
        "last_sale": last_sale,
        "net_change": 0.1,
        "volume": 1_000,
        "market_cap": 5e6 * last_sale if last_sale else None,
        "country": "United States",
        "sector": "Technology",
        "industry": "Semiconductors",
    } | columns


@dataclass
class ListSource:
    """Answers all requests at once with the rows of ``lists``, dated with the session requested,
    or fails as ``failures`` say; remembers what it was asked.
    """

    lists: dict[str, list[Row]]
    name: str = "lists"
    simulated: bool = False
    failures: Mapping[str, SourceError] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)

    @property
    def profile(self) -> SourceProfile:
        return SourceProfile(self.name, simulated=self.simulated, live=True)

    def symbols(self) -> tuple[str, ...]:
        return tuple(sorted(self.lists))

    def fetch(self, requests: Sequence[Request]) -> Iterator[RowAnswer]:
        self.requests += [request.symbol for request in requests]
        yield joined([self._answer(request) for request in requests])

    def _answer(self, request: Request) -> RowAnswer:
        feed = request.symbol
        if feed in self.failures:
            return RowAnswer((feed,), failures={feed: self.failures[feed]})
        about = {"feed": feed, "session": request.end, "exchange": feed}
        rows = [about | row for row in self.lists[feed]]
        return RowAnswer(
            (feed,), {"market_snapshot": pa.Table.from_pylist(rows, schema=MARKET_COLUMNS)}
        )


@dataclass
class Evenings:
    """A warehouse, and the whole market loaded into it on one evening after another."""

    warehouse: Warehouse
    calendar: Calendar
    source: Any
    known: Sequence[KnownIdentity] = ()

    @classmethod
    def of(cls, warehouse: Warehouse, calendar: Calendar, **lists: list[Row]) -> Evenings:
        return cls(warehouse, calendar, ListSource(dict(lists)))

    def at(self, now: dt.datetime, *, accept: bool = False, **how: Any) -> LoadReport:
        """Load all lists at a moment."""
        day = self.calendar.last_closed_session(now)
        self.warehouse.clock = lambda: now
        dataset = market_snapshot(self.calendar, self.known, accept)
        window = Window(self.source.symbols(), day, day)
        return load(self.warehouse, dataset, self.source, window, **how)

    def on(self, day: dt.date, *, hour: int = 23, **how: Any) -> LoadReport:
        """Load all lists on the evening of a day."""
        return self.at(dt.datetime(day.year, day.month, day.day, hour, tzinfo=dt.UTC), **how)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with self.warehouse.reading() as con:
            return con.execute(sql).fetchall()

    def ids(self) -> dict[str, int]:
        """The security of each symbol on the last session stored."""
        return dict(
            self.rows(
                "select symbol, security_id from market_snapshot"
                " where session = (select max(session) from market_snapshot)"
            )
        )

    def quarantine(self) -> list[tuple[str, str]]:
        return self.rows("select symbol, reason from quarantine order by all")
