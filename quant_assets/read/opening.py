"""Opening the warehouse for a reader, and the days that readers may give."""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path

import duckdb

from quant_assets.settings.settings import Settings, load_settings
from quant_assets.warehouse.published_copy import open_published
from quant_assets.warehouse.warehouse import Warehouse

Day = dt.date | str
"""A date, a text such as 2024-05-21, or a datetime or pandas Timestamp, whose time is dropped."""


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


def day_of(day: Day) -> dt.date:
    import pandas as pd  # noqa: PLC0415 - importing a reading function loads no pandas

    return pd.Timestamp(day).date()
