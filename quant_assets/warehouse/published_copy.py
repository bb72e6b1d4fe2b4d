"""Published copies of the warehouse, which SQL of users reads.

A published copy is written beside, read whole, brought to the disk and renamed, under a name never
used before: a reader sees all of it or none, and a reader with an older copy open keeps it. The one
before it stays.
"""

from __future__ import annotations

import contextlib
import filecmp
import os
import shutil
import warnings
from pathlib import Path

import duckdb

from quant_assets.warehouse.damage import (
    PUBLISHED,
    PublishedCopyDamagedError,
    WarehouseDamagedError,
    copies_of,
    missing,
    read_whole,
)
from quant_assets.warehouse.warehouse import Warehouse
from quant_assets.warehouse.writer_lock import WarehouseMissingError


def publish(warehouse: Warehouse) -> Path | None:
    """Publish a copy of the warehouse; None where the newest copy is up to date.

    A copy that can't be read takes no other's place. Raises WarehouseMissingError,
    WarehouseGoneError, WarehouseBusyError, WarehouseFullError, WarehouseDamagedError.
    """
    folder = warehouse.path.parent / PUBLISHED
    with warehouse.locked("publishing a copy"):
        if not warehouse.exists():
            raise missing(warehouse.path)
        # The commits of a killed process may still be in the log beside the file.
        with warehouse.checkpointed():
            copies = copies_of(warehouse.path)
            if copies and _same(copies[-1], warehouse.path):
                return None
            folder.mkdir(exist_ok=True)
            number = int(copies[-1].stem.rsplit("-", 1)[1]) + 1 if copies else 1
            beside = folder / "copying.tmp"
            shutil.copy2(warehouse.path, beside)
        try:
            read_whole(beside)
        except duckdb.Error as error:
            beside.unlink()
            raise WarehouseDamagedError(warehouse.path, error) from error
        _to_disk(beside)
        target = folder / f"warehouse-{number:08d}.duckdb"
        beside.replace(target)
        _to_disk(folder)
    for old in copies[:-1]:
        # A copy still open keeps its content until it is closed; where the system refuses to
        # remove an open file, the next publication tries again.
        with contextlib.suppress(OSError):
            old.unlink()
    return target


def open_published(home: Path) -> duckdb.DuckDBPyConnection:
    """A read-only connection to the newest published copy; where that is damaged, to the one
    before, with a warning.

    Raises WarehouseMissingError, PublishedCopyDamagedError.
    """
    path = home / "warehouse.duckdb"
    damaged: dict[Path, duckdb.Error] = {}
    for _ in range(3):
        copies = copies_of(path)
        for copy in reversed(copies):
            try:
                con = duckdb.connect(str(copy), read_only=True)
            except duckdb.IOException as error:
                # Between listing and opening, two publications may have removed the copy.
                if copy.exists():
                    damaged[copy] = error
                continue
            if copies[-1] in damaged:
                warnings.warn(
                    f"{copies[-1]} can't be read, so this is the copy before it, {copy.name}. The "
                    "next load publishes a whole one: quant-assets refresh.",
                    stacklevel=3,
                )
            return con
    if damaged:
        raise PublishedCopyDamagedError(*damaged.popitem())
    raise WarehouseMissingError(home / PUBLISHED)


def _same(copy: Path, original: Path) -> bool:
    """Whether a copy is still what it was copied from, byte for byte."""
    if copy.stat().st_mtime_ns != original.stat().st_mtime_ns:
        return False
    filecmp.clear_cache()
    return filecmp.cmp(copy, original, shallow=False)


def _to_disk(path: Path) -> None:
    """Wait until a file, or the names in a folder, would outlive a loss of power."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
