"""The warehouse as a Dagster resource: it reads as the warehouse does, and never longer."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from quant_assets.orchestration.assets.prices import corporate_actions
from quant_assets.orchestration.runs.resources import WarehouseResource
from quant_assets.warehouse.warehouse import Warehouse
from quant_assets.warehouse.writer_lock import WarehouseMissingError

RUN = "00000000-0000-4000-8000-000000000001"


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    made = Warehouse(tmp_path / "warehouse.duckdb")
    with made.writing(RUN):
        pass
    return made


@pytest.fixture
def resource(warehouse: Warehouse) -> WarehouseResource:
    return WarehouseResource(database=str(warehouse.path))


def test_a_read_that_raises_leaves_nothing_open(
    warehouse: Warehouse, resource: WarehouseResource
) -> None:
    with pytest.raises(ZeroDivisionError), resource.get_connection() as con:
        _ = con.execute("select 1").fetchall()[0][0] / 0
    with warehouse.writing(RUN) as writing:
        assert writing.con.execute("select count(*) from daily_prices").fetchall() == [(0,)]


def test_a_read_waits_for_the_writer_and_for_the_read_before_it(
    warehouse: Warehouse, resource: WarehouseResource
) -> None:
    order = []

    def read(name: str) -> None:
        with resource.get_connection() as con:
            order.append(f"{name} begins")
            con.execute("select 1").fetchall()
            order.append(f"{name} ends")

    readers = [threading.Thread(target=read, args=(name,)) for name in ("one", "other")]
    with warehouse.writing(RUN):
        for reader in readers:
            reader.start()
        order.append("committed")
    for reader in readers:
        reader.join(60)
    assert order[0] == "committed"
    assert [text.split()[1] for text in order[1:]] == ["begins", "ends"] * 2


def test_there_is_nothing_to_read_where_nothing_was_loaded(tmp_path: Path) -> None:
    resource = WarehouseResource(database=str(tmp_path / "warehouse.duckdb"))
    with pytest.raises(WarehouseMissingError), resource.get_connection():
        pass


def test_corporate_actions_are_read_through_the_resource(resource: WarehouseResource) -> None:
    result = corporate_actions(warehouse=resource)
    assert result.metadata["dagster/row_count"] == 0
