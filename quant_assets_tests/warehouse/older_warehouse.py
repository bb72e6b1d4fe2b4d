"""A warehouse of schema version 4, as SQL text: made by the code of that time, read by tests.

``python -m quant_assets_tests.warehouse.older_warehouse`` writes ``schema_4.sql`` anew. It takes
that code from the git history; the tests need the text alone. Its market is simulated.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import duckdb

COMMIT = "bd319e4"
DUMP = Path(__file__).with_name("schema_4.sql")

MAKE = """
import datetime as dt, pathlib, sys
from quant_assets.calendars import exchange_calendar
from quant_assets.claims import Claims
from quant_assets.loading import load
from quant_assets.planning import Window
from quant_assets.sources.simulated import SimulatedMarket
from quant_assets.tables import DAILY_PRICES, LOAD_CLAIMS, SCHEMA, SOURCE_SYMBOLS
from quant_assets.warehouse import Warehouse

assert SCHEMA.version == 4
NOW = dt.datetime(2024, 6, 3, 12, tzinfo=dt.UTC)
START, END = dt.date(2024, 5, 20), dt.date(2024, 5, 31)
RUNS = [f"00000000-0000-0000-0000-00000000000{number}" for number in range(4)]
calendar = exchange_calendar("XNYS")
warehouse = Warehouse(pathlib.Path(sys.argv[1]), clock=lambda: NOW)
market = SimulatedMarket(calendar, START, END, securities_count=3)
names = market.fetch_universe().names
for run, start in zip(RUNS[1:3], (START, dt.date(2024, 5, 28))):
    load(
        warehouse, market, Window(market.symbols(), start, END), calendar,
        identities=names, run_id=run, force=True,
    )
PLAIN = {
    "VARCHAR": "it's a text", "INTEGER": 7, "BIGINT": 7, "DOUBLE": 0.1, "DATE": END,
    "TIMESTAMP": NOW.replace(tzinfo=None), "BOOLEAN": True, "UUID": RUNS[3], "CURRENCY": "USD",
}
OTHER = PLAIN | {"VARCHAR": "another text", "DOUBLE": 0.2}
with warehouse.writing(RUNS[3]) as writing:
    Claims(warehouse.runs, DAILY_PRICES, "yahoo", RUNS[3]).take(writing, market.symbols())
    for number, symbol in enumerate(market.symbols()):
        writing.upsert(SOURCE_SYMBOLS, SOURCE_SYMBOLS.arrow([{
            "source": "yahoo", "symbol": symbol, "security_id": number + 1, "type": "stock",
            "currency": "USD", "asked_since": START, "asked_for_all_at": NOW.replace(tzinfo=None),
        }]))
    # A row in every table that the loads left empty, and a revision in every table that has any.
    for table in SCHEMA.tables:
        if not writing.con.execute(f"select count(*) from {table.name}").fetchone()[0]:
            row = {column.name: PLAIN[column.type] for column in table.columns}
            writing.upsert(table, table.arrow([row]))
        if table.revised:
            first = writing.con.execute(f"select * from {table.name} limit 1").df().iloc[0]
            row = {column.name: OTHER[column.type] for column in table.columns}
            row |= {name: first[name] for name in table.key}
            writing.upsert(table, table.arrow([row]))
"""
"""What the code of version 4 does, told the path of the file to make."""


def build(path: Path, dump: Path = DUMP) -> None:
    """Make the older warehouse file from its text."""
    with duckdb.connect(str(path)) as con:
        con.execute(dump.read_text("utf-8"))


def written(path: Path) -> str:
    """A warehouse file as SQL: its tables, then their rows."""
    lines = []
    with duckdb.connect(str(path), read_only=True) as con:
        tables = con.execute("select table_name, sql from duckdb_tables() order by 1").fetchall()
        lines += [sql for _, sql in tables]
        for table, _ in tables:
            rows = con.execute(f"select columns(*)::varchar from {table} order by all").fetchall()
            lines += [f"INSERT INTO {table} VALUES ({', '.join(map(_literal, r))});" for r in rows]
    return "\n".join(lines) + "\n"


def _literal(value: str | None) -> str:
    return "NULL" if value is None else "'" + value.replace("'", "''") + "'"


def main() -> None:
    root = Path(__file__).parents[2]
    with tempfile.TemporaryDirectory() as folder:
        archive = subprocess.run(
            ["git", "archive", COMMIT, "quant_assets"], cwd=root, check=True, capture_output=True
        )
        subprocess.run(["tar", "x"], cwd=folder, input=archive.stdout, check=True)
        made = Path(folder, "made", "warehouse.duckdb")
        subprocess.run(
            [sys.executable, "-c", MAKE, str(made)],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": folder},
            check=True,
        )
        DUMP.write_text(written(made), "utf-8")


if __name__ == "__main__":
    main()
