"""The whole market and daily prices in one warehouse: what either leaves to the other."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from quant_assets.loading.market import AnotherMarketError
from quant_assets.loading.work import Window
from quant_assets.read.price_frames import prices
from quant_assets.reference.calendars import Calendar
from quant_assets.refreshing.steps import known_symbols, open_steps, refresh_steps
from quant_assets.schema.market import MARKET_SNAPSHOT
from quant_assets.schema.prices import DAILY_PRICES
from quant_assets.securities.names import answered_symbols, tickers_with_data
from quant_assets.settings.settings import Settings
from quant_assets.sources.simulated.market import SimulatedMarket
from quant_assets.sources.simulated.snapshot import SimulatedSnapshot
from quant_assets.wiring.platform import Platform
from quant_assets_tests.standins.loads import load_prices
from quant_assets_tests.standins.market import Evenings, ListSource, listed

START, THURSDAY, FRIDAY = dt.date(2024, 5, 20), dt.date(2024, 5, 23), dt.date(2024, 5, 24)
EVENING = dt.datetime(2024, 5, 24, 23, 0, tzinfo=dt.UTC)


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    return Platform(Settings(home=tmp_path), lambda: EVENING)


@pytest.fixture
def made_up(calendar: Calendar) -> SimulatedMarket:
    """Prices of XDADA and XDADE, from Monday to Friday."""
    return SimulatedMarket(calendar, START, FRIDAY, securities_count=2)


@pytest.fixture
def market(platform: Platform, calendar: Calendar) -> Evenings:
    """Lists of a hundred stocks, those two among them."""
    others = [listed(f"{first}{second}") for first in "ABCDEFGHIJ" for second in "ABCDEFGHIJ"]
    lists = {"nasdaq": [listed("XDADA"), *others[:60]], "nyse": [listed("XDADE"), *others[60:]]}
    return Evenings(platform.warehouse, calendar, ListSource(lists, simulated=True))


def bring_prices(platform: Platform, made_up: SimulatedMarket, *symbols: str) -> None:
    window = Window(symbols or made_up.symbols(), START, FRIDAY)
    load_prices(platform.warehouse, made_up, window, made_up.calendar, identities=())


def what_is_of_prices(platform: Platform) -> dict[str, Any]:
    """All that a load of another dataset leaves as it is."""
    with platform.warehouse.reading() as con:
        found = {
            table: con.execute(f"select * from {table} where {which} order by all").fetchall()
            for table, which in {
                "daily_prices": "true",
                "corporate_actions": "true",
                "symbol_day_ledger": "true",
                "load_tasks": "dataset = 'daily_prices'",
                "source_symbols": "dataset = 'daily_prices'",
                "load_runs": "dataset = 'daily_prices'",
                "universe_membership": "true",
            }.items()
        }
        tickers = tickers_with_data(con, DAILY_PRICES, START)
    frame = prices(None, START, FRIDAY, settings=platform.settings)
    return {
        **found,
        "tickers of partitions": tickers,
        "refresh": refresh_steps(platform),
        "known symbols": known_symbols(platform),
        "open": open_steps(platform, given_up=True),
        "labels": sorted(set(frame["symbol"])),
        "columns": list(frame.columns),
        "attrs": dict(frame.attrs),
        "rows": frame.to_csv(),
    }


def test_a_load_of_the_market_leaves_all_that_is_of_prices_as_it_was(
    platform: Platform, made_up: SimulatedMarket, market: Evenings
) -> None:
    bring_prices(platform, made_up)
    before = what_is_of_prices(platform)
    assert before["labels"] == ["XDADA", "XDADE"]
    assert before["tickers of partitions"] == ["XDADA", "XDADE"]
    assert market.on(THURSDAY).total("inserted") == 102
    assert market.on(FRIDAY).total("inserted") == 102
    after = what_is_of_prices(platform)
    for what, was in before.items():
        assert after[what] == was, what
    assert market.rows("select count(*) from securities") == [(102,)]


def test_the_two_parts_of_the_market_are_its_lists_and_no_symbols(
    platform: Platform, made_up: SimulatedMarket, market: Evenings
) -> None:
    bring_prices(platform, made_up)
    market.on(FRIDAY)
    with platform.warehouse.reading() as con:
        assert answered_symbols(con, MARKET_SNAPSHOT.name) == ["nasdaq", "nyse"]
    assert market.rows(
        "select dataset, symbol, state from load_tasks order by dataset, symbol"
    ) == [
        ("daily_prices", "XDADA", "completed"),
        ("daily_prices", "XDADE", "completed"),
        ("market_snapshot", "nasdaq", "completed"),
        ("market_snapshot", "nyse", "completed"),
    ]
    assert market.rows("select dataset, symbols, inserted from load_runs order by 1") == [
        ("daily_prices", 2, 10),
        ("market_snapshot", 2, 102),
    ]


def test_prices_that_come_after_the_market_are_of_the_same_security_from_their_first_session_on(
    platform: Platform, made_up: SimulatedMarket, market: Evenings
) -> None:
    market.on(THURSDAY)
    number = market.ids()["XDADA"]
    name = "select valid_from, valid_to, security_id from symbol_history where symbol = 'XDADA'"
    assert market.rows(name) == [(THURSDAY, None, number)]
    bring_prices(platform, made_up, "XDADA")
    assert market.rows(name) == [(START, None, number)]
    assert market.rows("select distinct security_id from daily_prices") == [(number,)]
    assert market.rows("select count(*) from securities") == [(102,)]
    market.on(FRIDAY)
    assert market.ids()["XDADA"] == number


def test_the_market_after_prices_of_its_last_session_gives_no_second_identity(
    platform: Platform, made_up: SimulatedMarket, calendar: Calendar
) -> None:
    bring_prices(platform, made_up)
    snapshot = Evenings(platform.warehouse, calendar, SimulatedSnapshot(made_up))
    assert snapshot.on(FRIDAY).total("inserted") == 2
    assert snapshot.rows(
        "select m.symbol, m.last_sale = p.close from market_snapshot m join daily_prices p"
        " using (security_id, session) order by 1"
    ) == [("XDADA", True), ("XDADE", True)]
    assert snapshot.rows("select count(*) from securities") == [(2,)]
    assert prices("XDADA", FRIDAY, FRIDAY, settings=platform.settings).shape[0] == 1


def test_a_snapshot_of_another_simulated_market_is_refused(
    platform: Platform, made_up: SimulatedMarket, calendar: Calendar
) -> None:
    bring_prices(platform, made_up)
    other = SimulatedMarket(calendar, START, FRIDAY, securities_count=2, seed=8)
    snapshot = Evenings(platform.warehouse, calendar, SimulatedSnapshot(other))
    with pytest.raises(AnotherMarketError, match="The warehouse holds the simulated market"):
        snapshot.on(FRIDAY)
