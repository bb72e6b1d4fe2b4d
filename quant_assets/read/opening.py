"""Opening the warehouse for a reader."""

from __future__ import annotations

import os
from pathlib import Path

import duckdb

from quant_assets.settings.settings import Settings, load_settings
from quant_assets.warehouse.published_copy import open_published
from quant_assets.warehouse.warehouse import Warehouse


def connect(*, home: Path | str | None = None) -> duckdb.DuckDBPyConnection:
    """A read-only DuckDB connection of your own, to the copy published after the last load.

    It may stay open as long as you like: loads work on the warehouse itself and publish the next
    copy beside yours. Raises WarehouseMissingError where nothing has been published.
    """
    return open_published(settings_of(home).home_path)


def settings_of(home: Path | str | None) -> Settings:
    flags = {} if home is None else {"home": Path(home).absolute()}
    return load_settings(os.environ, flags=flags)


def warehouse_of(settings: Settings) -> Warehouse:
    return Warehouse(settings.warehouse_path, lock_wait_seconds=settings.lock_wait_seconds)
