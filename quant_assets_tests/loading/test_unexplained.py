"""Prices that a source changes and nobody explains: in the load's report, and in the status."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from quant_assets.health.status import warehouse_status
from quant_assets.warehouse.warehouse import Warehouse
from quant_assets_tests.loading.test_loading import (
    FRIDAY,
    NOW,
    TUESDAY,
    WEDNESDAY,
    WEEK,
    FakeSource,
    bar,
    bring,
    window,
)


def told(day: dt.date, times: float) -> FakeSource:
    """A week of AAPL in which one bar is so many times as large."""
    closes = {each: 10.0 + place for place, each in enumerate(WEEK)}
    closes[day] *= times
    return FakeSource([bar("AAPL", each, close) for each, close in closes.items()])


def test_a_bar_a_hundred_times_as_large_is_stored_once_it_is_told_twice(
    warehouse: Warehouse,
) -> None:
    wanted = window("AAPL", end=FRIDAY)
    bring(warehouse, told(WEDNESDAY, 1.0), wanted)
    first = bring(warehouse, told(WEDNESDAY, 100.0), wanted, force=True)
    assert (first.total("revised"), first.total("quarantined")) == (0, 1)
    assert first.needs_attention
    assert warehouse_status(warehouse)["unexplained"] == []
    [aside] = warehouse_status(warehouse)["quarantine"]
    assert aside["for_example"] == f"AAPL {WEDNESDAY}"
    second = bring(warehouse, told(WEDNESDAY, 100.0), wanted, force=True)
    assert (second.total("revised"), second.total("quarantined")) == (1, 0)
    assert second.notices == (
        "AAPL: fake now tells other prices of 2024-05-22. They are stored, the earlier ones are"
        " kept as revisions, and nothing that is listed explains them.",
    )
    assert second.needs_attention
    [row] = warehouse_status(warehouse)["unexplained"]
    assert (row["symbol"], row["session"]) == ("AAPL", WEDNESDAY)
    assert (row["close_before"], row["close"]) == (12.0, 1200.0)


def test_a_bar_that_comes_back_right_is_believed_at_once(warehouse: Warehouse) -> None:
    wanted = window("AAPL", end=FRIDAY)
    bring(warehouse, told(TUESDAY, 0.01), wanted)
    report = bring(warehouse, told(TUESDAY, 1.0), wanted, force=True)
    assert (report.total("revised"), report.total("quarantined")) == (1, 0)
    [row] = warehouse_status(warehouse)["unexplained"]
    assert (row["close_before"], row["close"]) == (0.11, 11.0)


def test_what_was_changed_long_ago_is_shown_no_more(tmp_path: Path) -> None:
    now = [NOW]
    warehouse = Warehouse(tmp_path / "warehouse.duckdb", clock=lambda: now[0])
    wanted = window("AAPL", end=FRIDAY)
    bring(warehouse, told(TUESDAY, 0.01), wanted)
    bring(warehouse, told(TUESDAY, 1.0), wanted, force=True)
    now[0] += dt.timedelta(days=31)
    assert warehouse_status(warehouse)["unexplained"] == []
