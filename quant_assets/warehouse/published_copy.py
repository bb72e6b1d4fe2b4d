"""Published copies of the warehouse, which SQL of users reads.

A published copy is written beside and renamed when whole, under a name never used before: a reader
sees all of it or none, and a reader with an older copy open keeps it.
"""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

import duckdb

from quant_assets.warehouse.warehouse import Warehouse
from quant_assets.warehouse.writer_lock import WarehouseMissingError

FOLDER = "published"


def publish(warehouse: Warehouse) -> Path | None:
    """Publish a copy of the warehouse; None where the newest copy is up to date.

    Raises WarehouseMissingError, WarehouseBusyError.
    """
    folder = warehouse.path.parent / FOLDER
    with warehouse.locked("publishing a copy"):
        if not warehouse.exists():
            raise WarehouseMissingError(warehouse.path)
        # The commits of a killed process may still be in the log beside the file.
        with warehouse.checkpointed():
            copies = _copies(folder)
            stamp = warehouse.path.stat().st_mtime_ns
            if copies and copies[-1].stat().st_mtime_ns == stamp:
                return None
            folder.mkdir(exist_ok=True)
            number = int(copies[-1].stem.rsplit("-", 1)[1]) + 1 if copies else 1
            beside = folder / "copying.tmp"
            shutil.copy2(warehouse.path, beside)
        target = folder / f"warehouse-{number:08d}.duckdb"
        beside.replace(target)
    for old in copies[:-1]:
        # A copy still open keeps its content until it is closed; where the system refuses to
        # remove an open file, the next publication tries again.
        with contextlib.suppress(OSError):
            old.unlink()
    return target


def newest_published(home: Path) -> Path | None:
    """The latest published copy, or None."""
    copies = _copies(home / FOLDER)
    return copies[-1] if copies else None


def open_published(home: Path) -> duckdb.DuckDBPyConnection:
    """A read-only connection to the newest published copy. Raises WarehouseMissingError."""
    for _ in range(3):
        path = newest_published(home)
        if path is None:
            break
        with contextlib.suppress(duckdb.IOException):
            # Between listing and opening, two publications may have removed the copy.
            return duckdb.connect(str(path), read_only=True)
    raise WarehouseMissingError(home / FOLDER)


def _copies(folder: Path) -> list[Path]:
    return sorted(folder.glob("warehouse-*.duckdb"))
