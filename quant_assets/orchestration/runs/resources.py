"""The warehouse as a Dagster resource, for assets that only read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
from dagster_duckdb import DuckDBResource

from quant_assets.warehouse.warehouse import Warehouse


class WarehouseResource(DuckDBResource):
    """dagster-duckdb's resource, read-only, one connection at a time, closed after use; waits while
    a writer is at work. Raises as ``Warehouse.reading``.

    The base class leaves its connection open after an exception and waits 102 s for a lock.
    """

    @contextmanager
    def get_connection(self) -> Iterator[duckdb.DuckDBPyConnection]:
        with Warehouse(Path(self.database)).reading() as connection:
            yield connection
