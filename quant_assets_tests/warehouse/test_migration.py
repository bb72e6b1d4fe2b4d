"""A warehouse made by an earlier version: copied, then brought up to date without losing a row.

The older file is built from ``schema_4.sql``, which the code of that version made.
"""

from __future__ import annotations

import datetime as dt
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path

import duckdb
import pytest

from quant_assets.loading.work import Window
from quant_assets.reference.calendars import Calendar
from quant_assets.schema.catalog import SCHEMA, SCHEMA_VERSION, Schema
from quant_assets.schema.table import Column
from quant_assets.sources.simulated.market import SimulatedMarket
from quant_assets.warehouse.migrations import keep_copy
from quant_assets.warehouse.warehouse import Warehouse
from quant_assets.warehouse.writer_lock import (
    SchemaVersionError,
    WarehouseBusyError,
    WarehouseError,
)
from quant_assets_tests.conftest import NOW
from quant_assets_tests.standins.loads import load_prices
from quant_assets_tests.warehouse.older_warehouse import build

START, END = dt.date(2024, 5, 20), dt.date(2024, 5, 31)
COPY = f"warehouse.schema-4.{NOW:%Y%m%dT%H%M%S}.duckdb"

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(
    ["quant_assets.loading.load", "quant_assets.read.price_frames", __name__]
)

Rows = dict[str, list[dict[str, object]]]


@pytest.fixture
def older(no_warehouse: Warehouse) -> Warehouse:
    """A warehouse whose file has schema version 4."""
    build(no_warehouse.path)
    return no_warehouse


def rows_of(path: Path) -> Rows:
    """Every row of every table."""
    found: Rows = {}
    with duckdb.connect(str(path), read_only=True) as con:
        for (table,) in con.execute("select table_name from duckdb_tables()").fetchall():
            cursor = con.execute(f"select * from {table} order by all")
            names = [column[0] for column in cursor.description or ()]
            found[table] = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    return found


def columns_of(path: Path) -> set[tuple[str, str, str, bool]]:
    """Every column with its table, type, and whether it may be null."""
    with duckdb.connect(str(path), read_only=True) as con:
        return set(
            con.execute(
                "select table_name, column_name, data_type, is_nullable from duckdb_columns()"
                " where not internal"
            ).fetchall()
        )


def as_migrated(rows: Rows) -> Rows:
    """Rows of version 4 as they are to be once migrated at ``NOW``."""
    dataset, source = {"dataset": "daily_prices"}, {"source": "simulated"}
    known = {"basis_unknown": None}
    return rows | {
        "daily_prices": [row | known for row in rows["daily_prices"]],
        "daily_prices_revisions": [row | known for row in rows["daily_prices_revisions"]],
        "membership_evidence": [row | {"reported_on": None} for row in rows["membership_evidence"]],
        "source_symbols": [row | dataset for row in rows["source_symbols"]],
        "load_run_symbols": [row | dataset | source for row in rows["load_run_symbols"]],
        "schema_version": [
            *rows["schema_version"],
            {"version": SCHEMA_VERSION, "applied_at": NOW.replace(tzinfo=None)},
        ],
        **{table.name: [] for table in SCHEMA.with_revisions if table.name not in rows},
    }


def copies(warehouse: Warehouse) -> list[str]:
    return sorted(path.name for path in warehouse.path.parent.glob("*schema-*"))


def left_beside(warehouse: Warehouse) -> list[str]:
    """What lies in the folder beside the file, its copies and its lock."""
    known = {warehouse.path.name, "warehouse.lock", *copies(warehouse)}
    return sorted({path.name for path in warehouse.path.parent.iterdir()} - known)


def test_every_table_of_the_older_file_has_a_row(older: Warehouse) -> None:
    assert [table for table, rows in rows_of(older.path).items() if not rows] == []


def test_a_migration_keeps_every_row(older: Warehouse) -> None:
    before = rows_of(older.path)
    older.migrate()
    assert rows_of(older.path) == as_migrated(before)


def test_volumes_of_a_migrated_warehouse_take_fractions(older: Warehouse) -> None:
    with duckdb.connect(str(older.path)) as con:
        before = con.execute("select sum(volume), count(*) from daily_prices").fetchall()
    older.migrate()
    with duckdb.connect(str(older.path)) as con:
        assert con.execute("select sum(volume), count(*) from daily_prices").fetchall() == before
        for table in ("daily_prices", "daily_prices_revisions"):
            con.execute(f"update {table} set volume = 0.35")
            assert con.execute(f"select distinct volume from {table}").fetchall() == [(0.35,)]


def test_a_migrated_file_has_the_columns_of_a_new_one(older: Warehouse, blank: Path) -> None:
    older.migrate()
    assert columns_of(older.path) == columns_of(blank)


def test_a_file_of_the_first_version_is_migrated_too(older: Warehouse, blank: Path) -> None:
    with duckdb.connect(str(older.path)) as con:
        for table in (
            *("source_symbols", "load_claims", "load_tasks", "log_entries", "delistings"),
            *("delistings_revisions", "membership_lists", "membership_evidence"),
            *("membership_changes", "membership_conflicts"),
        ):
            con.execute(f"drop table {table}")
        con.execute("alter table load_runs drop backfill")
        con.execute("update schema_version set version = 1")
    before = rows_of(older.path)
    older.migrate()
    after = rows_of(older.path)
    assert columns_of(older.path) == columns_of(blank)
    assert {table: len(rows) for table, rows in after.items() if table in before} == {
        table: len(rows) + (table == "schema_version") for table, rows in before.items()
    }
    assert {row["source"] for row in after["load_run_symbols"]} == {"simulated"}


def test_a_migrated_warehouse_loads_on(older: Warehouse, calendar: Calendar) -> None:
    market = SimulatedMarket(calendar, START, END, securities_count=3)
    window = Window(market.symbols(), dt.date(2024, 5, 28), END)
    names = market.fetch_universe().names
    report = load_prices(older, market, window, calendar, identities=names)
    assert (report.up_to_date, report.symbols) == (3, ())
    forced = load_prices(older, market, window, calendar, identities=names, force=True)
    assert (forced.total("unchanged"), forced.total("failed")) == (12, 0)


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
        warehouse.path, clock=warehouse.clock, schema=Schema(SCHEMA_VERSION + 1, tables)
    )
    again = load_prices(newer, market, window, calendar, identities=names)
    assert (again.total("inserted"), again.up_to_date) == (0, 3)
    with newer.reading() as con:
        rows = con.execute("select count(*), count(mood) from daily_prices").fetchone()
        revisions = con.execute("select count(mood) from daily_prices_revisions").fetchone()
    assert rows == (27, 0)
    assert revisions == (0,)


# The copy made beforehand


def test_the_file_is_copied_before_and_a_warning_names_the_copy(
    older: Warehouse, caplog: pytest.LogCaptureFixture
) -> None:
    before = rows_of(older.path)
    older.migrate()
    copy = older.path.with_name(COPY)
    assert (copies(older), left_beside(older)) == ([COPY], [])
    assert rows_of(copy) == before
    assert [(record.levelno, str(copy) in record.message) for record in caplog.records] == [
        (logging.WARNING, True)
    ]
    older.migrate()
    assert (copies(older), len(caplog.records)) == ([COPY], 1)


def test_what_a_killed_writer_left_in_the_log_is_in_the_copy(older: Warehouse) -> None:
    con = duckdb.connect(str(older.path))
    con.execute("pragma disable_checkpoint_on_shutdown")
    con.execute("update securities set name = 'written last'")
    con.close()
    assert older.path.with_suffix(".duckdb.wal").exists()
    older.migrate()
    names = {row["name"] for row in rows_of(older.path.with_name(COPY))["securities"]}
    assert names == {"written last"}


@pytest.mark.parametrize("level", ["warning", "off"])
def test_the_command_line_shows_the_copy_once(older: Warehouse, level: str) -> None:
    environment = os.environ | {
        "QUANT_ASSETS_HOME": str(older.path.parent),
        "QUANT_ASSETS_SIMULATED__SYMBOLS": "3",
        "QUANT_ASSETS_SIMULATED__START": str(START),
    }
    # A process of its own: without a handler Python shows warnings itself, though not under pytest.
    told = subprocess.run(
        [
            *(sys.executable, "-m", "quant_assets.cli", "--log-level", level, "backfill"),
            *("--source", "simulated", "--start", str(START), "--end", str(END)),
        ],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    [copy] = copies(older)
    assert told.stderr.count(copy) == 1


def test_tables_and_schemas_of_a_user_are_in_the_copy(older: Warehouse) -> None:
    with duckdb.connect(str(older.path)) as con:
        con.execute("create schema mine")
        con.execute('create table mine."my notes" as select 1 as note')
    older.migrate()
    for path in (older.path, older.path.with_name(COPY)):
        with duckdb.connect(str(path), read_only=True) as con:
            assert con.execute('from mine."my notes"').fetchall() == [(1,)]


def test_reading_an_older_file_neither_copies_nor_migrates(older: Warehouse) -> None:
    before = older.path.read_bytes()
    with pytest.raises(SchemaVersionError, match="any other load migrates it"), older.reading():
        pass
    assert (older.path.read_bytes(), copies(older)) == (before, [])


def test_too_little_disk_ends_a_migration_before_it_begins(older: Warehouse) -> None:
    before = older.path.read_bytes()
    with pytest.raises(WarehouseError) as caught:
        keep_copy(older.path, 4, NOW, free_bytes=1_000_000)
    needed = len(before) * 5 / 4 / 1e6
    assert str(caught.value) == (
        f"The warehouse at {older.path} has an older schema and is copied before it is migrated, "
        f"but no copy can be made: it takes {needed:,.1f} MB of disk, and 1.0 MB are free. Nothing "
        "was changed. Free some disk or check the rights of the folder, then run this again."
    )
    assert (older.path.read_bytes(), copies(older), left_beside(older)) == (before, [], [])


def test_a_copy_that_can_t_be_made_ends_a_migration_before_it_begins(older: Warehouse) -> None:
    before = older.path.read_bytes()
    older.path.with_suffix(".copying").mkdir()
    with pytest.raises(WarehouseError, match=r"no copy can be made.*then run this again"):
        older.migrate()
    assert (older.path.read_bytes(), copies(older)) == (before, [])


def test_an_unreadable_copy_ends_a_migration_before_it_begins(older: Warehouse) -> None:
    older.path.write_bytes(older.path.read_bytes()[:5000])
    with pytest.raises(WarehouseError, match="no copy can be made"):
        keep_copy(older.path, 4, NOW)
    assert (copies(older), left_beside(older)) == ([], [])


def test_a_copy_is_never_replaced_by_another(older: Warehouse) -> None:
    older.path.with_name(COPY).write_bytes(b"another")
    with pytest.raises(WarehouseError, match="is there already"):
        older.migrate()
    assert older.path.with_name(COPY).read_bytes() == b"another"


def test_a_file_open_in_this_process_is_not_migrated_under_its_hands(older: Warehouse) -> None:
    with duckdb.connect(str(older.path)), pytest.raises(WarehouseBusyError):
        older.migrate()
    assert copies(older) == []


# Migrations that fail, are killed, or meet


def later(warehouse: Warehouse, hours: int) -> Warehouse:
    return Warehouse(warehouse.path, clock=lambda: NOW + dt.timedelta(hours=hours))


def test_a_failing_step_leaves_the_file_as_it_was_and_retries_share_one_copy(
    older: Warehouse,
) -> None:
    # DuckDB alters no table with an index, and other tables come before this one.
    with duckdb.connect(str(older.path)) as con:
        con.execute("create index of_a_user on sources (price_basis)")
    before, rows = older.path.read_bytes(), rows_of(older.path)
    for hours in range(3):
        with pytest.raises(WarehouseError) as caught:
            later(older, hours).migrate()
        assert f"can't be migrated from schema version 4 to {SCHEMA_VERSION}: " in str(caught.value)
        assert f"It is as it was, and {older.path.with_name(COPY)} is a copy" in str(caught.value)
        assert older.path.read_bytes() == before
    assert (copies(older), left_beside(older)) == ([COPY], [])
    with duckdb.connect(str(older.path)) as con:
        con.execute("drop index of_a_user")
    older = later(older, 3)
    older.migrate()
    assert rows_of(older.path)["source_symbols"] == as_migrated(rows)["source_symbols"]


def migrate_until_the_clock_is_read(pipe: Connection, path: Path, times: int) -> None:
    """A migration that dies by SIGKILL when it looks at the clock for the so many-th time."""
    looks = count(1)

    def deadly_clock() -> dt.datetime:
        if next(looks) == times:
            os.kill(os.getpid(), signal.SIGKILL)
        return NOW

    Warehouse(path, clock=deadly_clock).migrate()
    pipe.send("migrated")


def migrate_when_told(pipe: Connection, path: Path) -> None:
    pipe.send("ready")
    pipe.recv()
    Warehouse(path, clock=lambda: NOW).migrate()
    pipe.send("migrated")


def begun(work: object, *args: object) -> tuple[multiprocessing.process.BaseProcess, Connection]:
    here, there = PROCESSES.Pipe()
    process = PROCESSES.Process(target=work, args=(there, *args), daemon=True)  # type: ignore[arg-type]
    process.start()
    there.close()
    return process, here


def ended(processes: Sequence[multiprocessing.process.BaseProcess]) -> list[int | None]:
    for process in processes:
        process.join(60)
    return [process.exitcode for process in processes]


def test_a_migration_killed_in_the_middle_leaves_the_file_as_it_was(older: Warehouse) -> None:
    before = rows_of(older.path)
    codes = []
    for times in count(1):
        process, pipe = begun(migrate_until_the_clock_is_read, older.path, times)
        with pipe:
            codes += ended([process])
        if codes[-1] != -signal.SIGKILL:
            break
        assert rows_of(older.path) == before
        assert copies(older) in ([], [COPY])
    # Killed while taking the lock, before the copy, and in the transaction after it.
    assert codes == [-signal.SIGKILL] * 3 + [0]
    assert rows_of(older.path) == as_migrated(before)
    assert copies(older) == [COPY]


def test_of_two_processes_one_migrates_and_the_other_finds_it_done(older: Warehouse) -> None:
    before = rows_of(older.path)
    running = [begun(migrate_when_told, older.path) for _ in range(2)]
    for _, pipe in running:
        assert pipe.recv() == "ready"
    for _, pipe in running:
        pipe.send("go")
    assert [pipe.recv() for _, pipe in running] == ["migrated", "migrated"]
    assert ended([process for process, _ in running]) == [0, 0]
    assert rows_of(older.path) == as_migrated(before)
    assert copies(older) == [COPY]
