"""A full disk and a damaged or missing file, said in a sentence with the way back.

DuckDB has one exception for all of them; what happened stands in its text.
"""

from __future__ import annotations

import datetime as dt
import itertools
import os
import shlex
from contextlib import closing
from pathlib import Path

import duckdb

from quant_assets.warehouse.in_memory import in_memory_duckdb
from quant_assets.warehouse.writer_lock import WarehouseError, WarehouseMissingError

PUBLISHED = "published"
"""The folder of published copies, beside the warehouse."""

_FULL = ("No space left", "Disk quota exceeded", "File too large", "Could not write")
_DAMAGED = ("Corrupt database file", "Could not read enough bytes", "not a valid DuckDB database")
_numbers = itertools.count()
_OF_ANOTHER_FILE = "replaying WAL file"


class WarehouseFullError(WarehouseError):
    def __init__(self, path: Path, error: Exception) -> None:
        super().__init__(
            f"There is no room to write {path}: {_first_line(error)}. What is stored stays whole. "
            "Make room on that disk, then run this again; it goes on from there."
        )


class WarehouseDamagedError(WarehouseError):
    """A file that DuckDB can't read, whole or in part."""

    def __init__(self, path: Path, error: Exception) -> None:
        super().__init__(f"{path} is damaged: {_first_line(error)}. {_way_back(path)}")


class PublishedCopyDamagedError(WarehouseError):
    def __init__(self, copy: Path, error: Exception) -> None:
        super().__init__(
            f"The published copy {copy} is damaged: {_first_line(error)}. That is no word on the "
            "warehouse itself: quant-assets refresh publishes another copy of it, also where no "
            "rows are due."
        )


class WarehouseLogError(WarehouseError):
    """The log of another file lies beside the warehouse."""

    def __init__(self, path: Path) -> None:
        log = _log_of(path)
        super().__init__(
            f"{log} belongs to a newer {path.name} than the one beside it, so an older copy was "
            "put in its place. Nothing was changed. Put the newer file back; or, to go on from the "
            f"older one without what that log holds: {_moved_away(log)}"
        )


class WarehouseGoneError(WarehouseError):
    """No warehouse where published copies show that there was one."""

    def __init__(self, path: Path) -> None:
        copies = path.parent / PUBLISHED
        super().__init__(
            f"There is no warehouse at {path}, though copies of one are in {copies}: it was moved "
            f"or deleted. Nothing was changed. Put it back. {_way_back(path)}; or, to begin anew: "
            f"{_moved_away(copies)}"
        )


def explained(error: duckdb.Error, path: Path) -> WarehouseError | None:
    """The error that tells a user what happened to the warehouse at ``path``, if it is known."""
    text = str(error)
    if _OF_ANOTHER_FILE in text and not any(each in text for each in _FULL):
        return WarehouseLogError(path)
    if any(each in text for each in _FULL):
        return WarehouseFullError(path, error)
    if any(each in text for each in _DAMAGED):
        return WarehouseDamagedError(path, error)
    return None


def missing(path: Path) -> WarehouseError:
    """The error for a file that is not there."""
    return WarehouseGoneError(path) if copies_of(path) else WarehouseMissingError(path)


def copies_of(path: Path) -> list[Path]:
    """The published copies of the warehouse at ``path``, oldest first."""
    return sorted((path.parent / PUBLISHED).glob("warehouse-*.duckdb"))


def read_whole(path: Path) -> None:
    """Read every column of a file, so that DuckDB checks all its blocks. Raises duckdb.Error."""
    name, quoted = f"copy_{next(_numbers)}", str(path).replace("'", "''")
    with closing(in_memory_duckdb(os.getpid()).cursor()) as con:
        con.execute(f"attach '{quoted}' as {name} (read_only)")
        try:
            tables = con.execute(
                f"select table_name from duckdb_tables() where database_name = '{name}'"
                " and estimated_size > 0"
            ).fetchall()
            for (table,) in tables:
                con.execute(f'select bit_xor(hash(t)) from {name}."{table}" t').fetchall()
        finally:
            con.execute(f"detach {name}")


def is_whole(path: Path) -> bool:
    try:
        read_whole(path)
    except duckdb.Error:
        return False
    return True


def _way_back(path: Path) -> str:
    copy = next((each for each in reversed(copies_of(path)) if is_whole(each)), None)
    if copy is None:
        return "No published copy of it can be read either: put a backup of yours in its place."
    made = dt.datetime.fromtimestamp(copy.stat().st_mtime, dt.UTC)
    steps = [_moved_away(each) for each in (path, _log_of(path)) if each.exists()]
    steps.append(shlex.join(["cp", str(copy), str(path)]))
    return (
        f"Its published copy of {made:%Y-%m-%d %H:%M} UTC is whole. To go on from it, after which "
        f"quant-assets refresh loads what is newer: {' && '.join(steps)}"
    )


def _moved_away(path: Path) -> str:
    number, free = 1, path.with_name(f"{path.name}.aside")
    while free.exists():
        number, free = number + 1, path.with_name(f"{path.name}.aside-{number}")
    return shlex.join(["mv", str(path), str(free)])


def _log_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.wal")


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].rstrip(".")
