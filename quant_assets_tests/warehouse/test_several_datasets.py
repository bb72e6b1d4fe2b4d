"""Several datasets of one vendor, and several sources in one run, keep apart in the warehouse."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from quant_assets.contracts.prices import Instrument, PriceAnswer, PriceProfile
from quant_assets.contracts.source import Request
from quant_assets.health.past_loads import load_history, run_symbols
from quant_assets.loading.work import Window
from quant_assets.reference.calendars import Calendar
from quant_assets.schema.loads import SOURCES
from quant_assets.securities.instruments import note_asked
from quant_assets.sources.simulated.market import SimulatedMarket
from quant_assets.warehouse.warehouse import Warehouse
from quant_assets_tests.conftest import NOW
from quant_assets_tests.standins.loads import load_prices

RUN = "00000000-0000-0000-0000-000000000001"
START, END = dt.date(2024, 5, 28), dt.date(2024, 5, 31)
NEXT_DAY = NOW + dt.timedelta(days=1)


@dataclass(frozen=True)
class Renamed:
    """A simulated market under the name of another source."""

    market: SimulatedMarket
    name: str

    @property
    def profile(self) -> PriceProfile:
        return replace(self.market.profile, name=self.name)

    def symbols(self) -> tuple[str, ...]:
        return self.market.symbols()

    def fetch(self, requests: Sequence[Request]) -> Iterator[PriceAnswer]:
        return self.market.fetch(requests)


def test_two_datasets_of_one_vendor_keep_their_own_asked_times(warehouse: Warehouse) -> None:
    request = Request("AAPL", START, END)
    answered = {"instruments": [Instrument("AAPL")], "securities": {"AAPL": 1}}
    later = Warehouse(warehouse.path, clock=lambda: NEXT_DAY)
    with warehouse.writing(RUN) as writing:
        note_asked(writing, "daily_prices", "yahoo", [request], **answered)
    with later.writing(RUN) as writing:
        note_asked(writing, "news", "yahoo", [request], **answered)
    with warehouse.reading() as con:
        asked = con.execute(
            "select dataset, source, symbol, asked_at from source_symbols order by dataset"
        ).fetchall()
    assert asked == [
        ("daily_prices", "yahoo", "AAPL", NOW.replace(tzinfo=None)),
        ("news", "yahoo", "AAPL", NEXT_DAY.replace(tzinfo=None)),
    ]


def test_two_sources_in_one_run_keep_both_totals(warehouse: Warehouse, calendar: Calendar) -> None:
    market = SimulatedMarket(calendar, START, END, securities_count=2)
    names = market.fetch_universe().names
    for source, symbols in (("one", market.symbols()), ("two", market.symbols()[:1])):
        load_prices(
            warehouse,
            Renamed(market, source),
            Window(symbols, START, END),
            calendar,
            identities=names,
            run_id=RUN,
        )
    totals = load_history(warehouse, 5).sort_values("source")
    assert totals[["source", "symbols", "requested", "inserted"]].to_numpy().tolist() == [
        ["one", 2, 8, 8],
        ["two", 1, 4, 4],
    ]
    first, second = market.symbols()
    reports = run_symbols(warehouse, RUN)[["dataset", "source", "symbol", "inserted"]]
    assert reports.to_numpy().tolist() == [
        ["daily_prices", "one", first, 4],
        ["daily_prices", "one", second, 4],
        ["daily_prices", "two", first, 4],
    ]


def test_two_steps_of_one_run_are_one_row_of_totals(
    warehouse: Warehouse, calendar: Calendar
) -> None:
    market = SimulatedMarket(calendar, START, END, securities_count=3)
    names = market.fetch_universe().names
    first, *others = market.symbols()
    for symbols, start in (((first,), START), (tuple(others), END)):
        window = Window(symbols, start, END)
        load_prices(warehouse, market, window, calendar, identities=names, run_id=RUN)
    with warehouse.reading() as con:
        rows = con.execute(
            "select symbols, requested, inserted, start_session, end_session,"
            " finished_at is not null from load_runs"
        ).fetchall()
    assert rows == [(3, 6, 6, START, END, True)]


def test_a_source_without_prices_needs_no_price_basis(warehouse: Warehouse) -> None:
    row = {"source": "sec", "simulated": False, "convention": "As filed."}
    with warehouse.writing(RUN) as writing:
        writing.upsert(SOURCES, SOURCES.arrow([row]))
    with warehouse.reading() as con:
        basis = con.execute("select price_basis, has_splits, has_distributions from sources")
        assert basis.fetchall() == [(None, None, None)]
