"""What assets are given: the platform of the settings, and the warehouse for free SQL.

Thin: each resource returns a plain object that works without Dagster.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
from dagster_duckdb import DuckDBResource

from quant_assets.warehouse.warehouse import Warehouse


class WarehouseResource(DuckDBResource):
    """dagster-duckdb's resource, read-only and closed after use.

    The base class leaves its connection open after an exception and waits 102 s for a lock.
    """

    @contextmanager
    def get_connection(self) -> Iterator[duckdb.DuckDBPyConnection]:
        with Warehouse(Path(self.database)).reading() as connection:
            yield connection
