"""A warehouse made by an earlier version: the next load brings it up to date."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

from quant_assets.loading.work import Window
from quant_assets.reference.calendars import Calendar
from quant_assets.schema.catalog import SCHEMA, Schema
from quant_assets.schema.table import Column
from quant_assets.sources.simulated import SimulatedMarket
from quant_assets.warehouse.warehouse import Warehouse
from quant_assets_tests.standins.loads import load_prices

START, END = dt.date(2024, 5, 1), dt.date(2024, 5, 31)


def test_a_load_migrates_an_older_warehouse_before_it_looks(
    warehouse: Warehouse, calendar: Calendar
) -> None:
    market = SimulatedMarket(calendar, START, END, securities_count=3)
    window = Window(market.symbols(), START, END)
    names = market.fetch_universe().names
    load_prices(warehouse, market, window, calendar, identities=names)
    mood = Column("mood", "VARCHAR", "A column of the next version.", required=False)
    tables = tuple(
        replace(table, columns=(*table.columns, mood)) if table.name == "daily_prices" else table
        for table in SCHEMA.tables
    )
    newer = Warehouse(
        warehouse.path, clock=warehouse.clock, schema=Schema(SCHEMA.version + 1, tables)
    )
    again = load_prices(newer, market, window, calendar, identities=names)
    assert (again.total("inserted"), again.up_to_date) == (0, 3)
    with newer.reading() as con:
        rows = con.execute("select count(*), count(mood) from daily_prices").fetchone()
        revisions = con.execute("select count(mood) from daily_prices_revisions").fetchone()
    assert rows == (66, 0)
    assert revisions == (0,)
