"""What brings an older warehouse file to today's schema, and the copy made of it beforehand.

Opening the file, and waiting for it, is ``warehouse.py``'s.
"""

from __future__ import annotations

import datetime as dt
import filecmp
import logging
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import duckdb

from quant_assets.schema.catalog import Schema
from quant_assets.warehouse.writer_lock import WarehouseError

LOGGER = logging.getLogger("quant_assets")


@dataclass(frozen=True)
class Step:
    """Statements that bring a file of the version before ``version`` to it.

    New tables and new columns that may be null need no step: ``bring_up_to_date`` adds them. A step
    names its columns itself, since ``schema/`` moves on to later versions. DuckDB alters no table
    that was updated in the same transaction, so updates come last.
    """

    version: int
    statements: tuple[str, ...]


def _filled_column(table: str, column: str, value: str) -> tuple[str, ...]:
    """Statements that add a text column that is never null, with ``value`` in the rows there."""
    alter = f"alter table if exists {table}"
    return (
        f"{alter} add column {column} varchar default '{value}'",
        f"{alter} alter column {column} drop default",
        f"{alter} alter column {column} set not null",
    )


STEPS = (
    Step(
        5,
        (
            *_filled_column("source_symbols", "dataset", "daily_prices"),
            *_filled_column("load_run_symbols", "dataset", "daily_prices"),
            *_filled_column("load_run_symbols", "source", "unknown"),
            "alter table sources alter column price_basis drop not null",
            "alter table sources alter column has_splits drop not null",
            "alter table sources alter column has_distributions drop not null",
            "update load_run_symbols s set dataset = r.dataset, source = r.source"
            " from load_runs r where r.run_id = s.run_id",
            # A run that loaded from several sources kept the last one only; its rows know better.
            "update load_run_symbols s set source = p.source from"
            " (select run_id, security_id, min(source) as source from daily_prices group by all"
            " having count(distinct source) = 1) p"
            " where p.run_id = s.run_id and p.security_id = s.security_id",
        ),
    ),
    # Coins trade in fractions.
    Step(
        7,
        tuple(
            f"alter table if exists {table} alter column volume type double"
            for table in ("daily_prices", "daily_prices_revisions")
        ),
    ),
)


def applied_version(con: duckdb.DuckDBPyConnection) -> int:
    """The newest schema version applied; 0 for a file without one."""
    try:
        # Read to the end: DuckDB 2 refuses other work on a connection with a result left open.
        # Where there is no such table, DuckDB takes a Python object of its name for one.
        [row] = con.execute("select max(version) from schema_version").fetchall()
    except duckdb.CatalogException:
        return 0
    return int(row[0]) if row[0] is not None else 0


def bring_up_to_date(
    con: duckdb.DuckDBPyConnection, schema: Schema, found: int, now: dt.datetime
) -> None:
    """Bring a file of version ``found`` to ``schema``, and record it, in one transaction.

    A file without a version gets the tables only. ``now`` is UTC without a zone.
    """
    con.execute("begin")
    for step in STEPS:
        if 0 < found < step.version <= schema.version:
            for statement in step.statements:
                con.execute(statement)
    con.execute("create table if not exists schema_version (version integer, applied_at timestamp)")
    for table in schema.with_revisions:
        con.execute(table.ddl)
        for addition in table.additions(_columns(con, table.name)):
            con.execute(addition)
    con.execute("insert into schema_version values (?, ?)", [schema.version, now])
    con.execute("commit")


def _columns(con: duckdb.DuckDBPyConnection, table: str) -> set[str]:
    rows = con.execute(
        "select column_name from duckdb_columns() where table_name = ?", [table]
    ).fetchall()
    return {row[0] for row in rows}


def keep_copy(path: Path, found: int, now: dt.datetime, free_bytes: int | None = None) -> Path:
    """Copy a warehouse of version ``found`` beside it before it is migrated; returns the copy.

    The file has to be at rest (``Warehouse.checkpointed``); ``now`` is UTC, ``free_bytes`` the room
    on the disk, measured where it is not given. No copy is deleted here, since only the user knows
    whether it is still needed. Retries share one: a failed migration changes no byte of the file,
    so an equal copy is there and is returned. Raises WarehouseError where no copy can be made.
    """
    name = f"{path.stem}.schema-{found}"
    copy = path.with_name(f"{name}.{now:%Y%m%dT%H%M%S}{path.suffix}")
    try:
        earlier = path.parent.glob(f"{name}.*{path.suffix}")
        same = next((file for file in earlier if filecmp.cmp(path, file, shallow=False)), None)
        if same is None:
            free = shutil.disk_usage(path.parent).free if free_bytes is None else free_bytes
            _copy(path, copy, free)
    except (OSError, duckdb.Error) as error:
        raise WarehouseError(
            f"The warehouse at {path} has an older schema and is copied before it is migrated, "
            f"but no copy can be made: {error}. Nothing was changed. Free some disk or check the "
            "rights of the folder, then run this again."
        ) from error
    LOGGER.warning(
        "The warehouse at %s has schema version %s and is migrated. A copy of it as it was is kept "
        "at %s; delete the copy once you no longer need it.",
        path,
        found,
        same or copy,
    )
    return same or copy


def _copy(path: Path, copy: Path, free: int) -> None:
    """Copy a file at rest, under the name ``copy`` only once it is whole and on disk."""
    needed = path.stat().st_size * 5 // 4  # the copy, and what the migration itself writes
    if free < needed:
        raise OSError(f"it takes {needed / 1e6:,.1f} MB of disk, and {free / 1e6:,.1f} MB are free")
    if copy.exists():
        raise FileExistsError(f"{copy} is there already, and differs")
    beside = path.with_suffix(".copying")
    try:
        shutil.copyfile(path, beside)
        _verify(beside, path)
        beside.replace(copy)
    except BaseException:
        with suppress(OSError):
            beside.unlink()
        raise
    if os.name == "posix":  # Windows can't, and need not, sync a folder
        folder = os.open(path.parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)


def _verify(copy: Path, original: Path) -> None:
    """Put a copy on disk for good. Raises OSError unless it reads back with the same rows."""
    with copy.open("rb+") as file:
        os.fsync(file.fileno())
    if _row_counts(copy) != _row_counts(original):
        raise OSError(f"{copy} does not read back with the same rows")


def _row_counts(path: Path) -> dict[str, int]:
    """The rows of each table of a file at rest."""
    with duckdb.connect(str(path), read_only=True) as con:
        tables = con.execute("select schema_name, table_name from duckdb_tables()").fetchall()
        counts = {}
        for schema, name in tables:
            table = f'"{schema}"."{name}"'
            [(counts[table],)] = con.execute(f"select count(*) from {table}").fetchall()
        return counts
