"""The whole market as a frame: which rows a reader gets of several lists and days."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest

from quant_assets.contracts.source import SourceUnavailable
from quant_assets.read.adjusted_rows import UnknownSourceError
from quant_assets.read.market_frames import market as read_market
from quant_assets.read.missing import MissingDataWarning
from quant_assets.reference.calendars import Calendar
from quant_assets.settings.settings import Settings
from quant_assets.warehouse.warehouse import Warehouse
from quant_assets.warehouse.writer_lock import WarehouseMissingError
from quant_assets_tests.standins.market import Evenings, ListSource, listed

WEDNESDAY, THURSDAY, FRIDAY = (dt.date(2024, 5, day) for day in (22, 23, 24))
TEXT = pd.StringDtype("pyarrow", na_value=np.nan)
DAY = np.dtype("datetime64[s]")
BARE = dict.fromkeys(("net_change", "volume", "market_cap", "country", "sector", "industry"))

COLUMNS = {
    "symbol": TEXT,
    "security_id": np.dtype("int32"),
    "name": TEXT,
    "type": TEXT,
    "exchange": TEXT,
    "session": DAY,
    "last_sale": np.dtype("float64"),
    "net_change": np.dtype("float64"),
    "volume": pd.Int64Dtype(),
    "market_cap": np.dtype("float64"),
    "market_cap_on": DAY,
    "reported_market_cap": np.dtype("float64"),
    "implied_shares": np.dtype("float64"),
    "country": TEXT,
    "ipo_year": pd.Int64Dtype(),
    "sector": TEXT,
    "industry": TEXT,
    "source": TEXT,
}


@pytest.fixture
def screener(warehouse: Warehouse, calendar: Calendar) -> Evenings:
    lists = {"nasdaq": [listed("AAPL", 190.0, ipo_year=1980)], "nyse": [listed("IBM", 171.0)]}
    return Evenings(warehouse, calendar, ListSource(lists, "nasdaq"))


@pytest.fixture
def directory(warehouse: Warehouse, calendar: Calendar) -> Evenings:
    lists = {
        "nasdaqlisted": [
            listed("AAPL", None, exchange="nasdaq", **BARE),
            listed("QQQ", None, exchange="nasdaq", type="etf", **BARE),
        ]
    }
    return Evenings(warehouse, calendar, ListSource(lists, "nasdaqtrader"))


def seen(evenings: Evenings, on: dt.date | str | None = None, source: str = "") -> pd.DataFrame:
    settings = Settings(home=evenings.warehouse.path.parent)
    return read_market(on=on, source=source or None, settings=settings)


def shown(frame: pd.DataFrame, *columns: str) -> list[tuple[object, ...]]:
    asked = frame[list(columns)].astype({"session": str})
    return list(asked.itertuples(index=False, name=None))


def test_a_frame_has_these_columns_of_these_types_and_a_row_a_security(screener: Evenings) -> None:
    screener.on(THURSDAY)
    frame = seen(screener, THURSDAY)
    assert dict(frame.dtypes) == COLUMNS
    assert frame.iloc[0].to_dict() == {
        "symbol": "AAPL",
        "security_id": 1,
        "name": "AAPL Inc. Common Stock",
        "type": "common_stock",
        "exchange": "nasdaq",
        "session": pd.Timestamp("2024-05-23"),
        "last_sale": 190.0,
        "net_change": 0.1,
        "volume": 1000,
        "market_cap": 950e6,
        "market_cap_on": pd.Timestamp("2024-05-23"),
        "reported_market_cap": 950e6,
        "implied_shares": 5e6,
        "country": "United States",
        "ipo_year": 1980,
        "sector": "Technology",
        "industry": "Semiconductors",
        "source": "nasdaq",
    }
    assert list(frame["symbol"]) == ["AAPL", "IBM"]
    assert list(frame.index) == [0, 1]
    assert frame.attrs == {
        "on": "2024-05-23",
        "lists": {"nasdaq nasdaq": "2024-05-23", "nasdaq nyse": "2024-05-23"},
        "not_believed": 0,
    }


def test_an_empty_warehouse_gives_an_empty_frame_of_the_same_types(screener: Evenings) -> None:
    for on in (THURSDAY, None):
        with pytest.warns(MissingDataWarning, match=r"no snapshot up to 20.* is stored; quant-ass"):
            frame = seen(screener, on)
        assert frame.empty
        assert frame.attrs["missing"].keys() == {"market_snapshot"}
        assert dict(frame.dtypes) == COLUMNS
        assert (frame.attrs["lists"], frame.attrs["not_believed"]) == ({}, 0)


def test_no_warehouse_at_all_is_said(no_warehouse: Warehouse) -> None:
    with pytest.raises(WarehouseMissingError):
        read_market(settings=Settings(home=no_warehouse.path.parent))


@pytest.mark.parametrize(
    ("on", "expected"),
    [
        ("2024-05-21", []),
        ("2024-05-22", [("AAPL", "2024-05-22", 189.0)]),
        (dt.date(2024, 5, 23), [("AAPL", "2024-05-23", 190.0), ("IBM", "2024-05-23", 171.0)]),
        (pd.Timestamp("2024-06-30"), [("AAPL", "2024-05-23", 190.0), ("IBM", "2024-05-23", 171.0)]),
        (None, [("AAPL", "2024-05-23", 190.0), ("IBM", "2024-05-23", 171.0)]),
    ],
)
def test_a_day_shows_the_last_snapshot_up_to_it(
    screener: Evenings, on: dt.date | str | None, expected: list[tuple[str, str, float]]
) -> None:
    screener.source.lists = {"nasdaq": [listed("AAPL", 189.0)]}
    screener.on(WEDNESDAY)
    screener.source.lists = {"nasdaq": [listed("AAPL", 190.0)], "nyse": [listed("IBM", 171.0)]}
    screener.on(THURSDAY)
    assert shown(seen(screener, on), "symbol", "session", "last_sale") == expected


def test_of_two_sources_the_row_with_a_last_sale_is_shown_and_what_only_one_has(
    screener: Evenings, directory: Evenings
) -> None:
    directory.on(THURSDAY)
    screener.on(THURSDAY)
    frame = seen(screener, THURSDAY)
    assert shown(frame, "symbol", "type", "exchange", "session", "source") == [
        ("AAPL", "common_stock", "nasdaq", "2024-05-23", "nasdaq"),
        ("IBM", "common_stock", "nyse", "2024-05-23", "nasdaq"),
        ("QQQ", "etf", "nasdaq", "2024-05-23", "nasdaqtrader"),
    ]
    assert frame["security_id"].is_unique
    assert frame.attrs["lists"] == {
        "nasdaq nasdaq": "2024-05-23",
        "nasdaq nyse": "2024-05-23",
        "nasdaqtrader nasdaqlisted": "2024-05-23",
    }
    assert dict(frame.dtypes) == COLUMNS


def test_a_source_that_is_named_is_shown_alone(screener: Evenings, directory: Evenings) -> None:
    directory.on(THURSDAY)
    screener.on(THURSDAY)
    frame = seen(screener, THURSDAY, "nasdaqtrader")
    assert shown(frame, "symbol", "session", "source") == [
        ("AAPL", "2024-05-23", "nasdaqtrader"),
        ("QQQ", "2024-05-23", "nasdaqtrader"),
    ]
    assert frame["last_sale"].isna().all()
    assert frame["volume"].isna().all()
    assert dict(frame.dtypes) == COLUMNS
    with pytest.raises(UnknownSourceError, match="nobody are stored; stored: nasdaq, nasdaqtrader"):
        seen(screener, THURSDAY, "nobody")


def test_the_last_sale_of_the_day_before_is_shown_rather_than_none_of_today(
    screener: Evenings, directory: Evenings
) -> None:
    screener.on(WEDNESDAY)
    directory.on(THURSDAY)
    frame = seen(screener, THURSDAY)
    assert shown(frame, "symbol", "session", "source") == [
        ("AAPL", "2024-05-22", "nasdaq"),
        ("IBM", "2024-05-22", "nasdaq"),
        ("QQQ", "2024-05-23", "nasdaqtrader"),
    ]


def test_a_list_that_failed_is_shown_as_of_the_session_before(screener: Evenings) -> None:
    screener.on(THURSDAY)
    screener.source.failures = {"nyse": SourceUnavailable("nasdaq", "Nobody answers.")}
    screener.source.lists["nasdaq"] = [listed("AAPL", 191.0)]
    screener.on(FRIDAY)
    frame = seen(screener, FRIDAY)
    assert shown(frame, "symbol", "session", "last_sale") == [
        ("AAPL", "2024-05-24", 191.0),
        ("IBM", "2024-05-23", 171.0),
    ]
    assert frame.attrs["lists"] == {"nasdaq nasdaq": "2024-05-24", "nasdaq nyse": "2024-05-23"}
    assert frame.attrs["not_believed"] == 0


def test_a_security_that_left_a_list_is_not_shown_any_more(screener: Evenings) -> None:
    screener.source.lists["nyse"] += [listed(symbol) for symbol in ("BAC", "CAT", "DIS", "GE")]
    screener.on(THURSDAY)
    screener.source.lists["nyse"].pop()
    screener.on(FRIDAY)
    assert list(seen(screener, FRIDAY)["symbol"]) == ["AAPL", "BAC", "CAT", "DIS", "IBM"]
    assert "GE" in set(seen(screener, THURSDAY)["symbol"])


def test_a_security_that_moved_to_another_list_is_shown_once_as_of_the_newer(
    screener: Evenings,
) -> None:
    screener.on(THURSDAY)
    screener.source.lists = {"nasdaq": [listed("AAPL", 191.0), listed("IBM", 172.0)]}
    screener.on(FRIDAY)
    assert shown(seen(screener, FRIDAY), "symbol", "exchange", "session", "last_sale") == [
        ("AAPL", "nasdaq", "2024-05-24", 191.0),
        ("IBM", "nasdaq", "2024-05-24", 172.0),
    ]


def test_a_list_without_a_snapshot_for_ten_days_is_not_shown_beside_newer_ones(
    screener: Evenings,
) -> None:
    screener.on(THURSDAY)
    screener.source.lists = {"nasdaq": [listed("AAPL", 191.0)]}
    for day, symbols in (
        (dt.date(2024, 5, 31), ["AAPL", "IBM"]),
        (dt.date(2024, 6, 3), ["AAPL"]),
    ):
        screener.on(day)
        assert list(seen(screener, day)["symbol"]) == symbols
