"""The log of a run, as Dagster reads it for the run's page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.events import (
    AssetMaterializationPlannedData,
    DagsterEvent,
    DagsterEventType,
    StepMaterializationData,
)
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.event_log.base import EventLogConnection

from quant_assets.orchestration.instance.event_storage import PLACEHOLDER, BatchedEventLogStorage
from quant_assets.orchestration.instance.run_pages import SHOWN_AT_MOST

RUN = "a-run"
PRICES = dg.AssetKey("daily_prices")


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BatchedEventLogStorage]:
    path: Path = tmp_path_factory.mktemp("pages")
    storage = BatchedEventLogStorage(str(path / "events"))
    yield storage
    storage.dispose()


def entry(run: str, event: DagsterEvent | None = None, message: str = "") -> EventLogEntry:
    return EventLogEntry(None, "INFO", message, run, 1.0, "a-step", "a-job", event)  # type: ignore[no-untyped-call]


def load(storage: BatchedEventLogStorage, run: str, keys: int) -> None:
    """A run with a line, a plan of the whole, so many symbol-days, a failed one and a summary."""
    partitions = [f"2024-05-28|{number}" for number in range(keys)]
    made = dg.AssetMaterialization(PRICES, partition=PLACEHOLDER)
    kind = DagsterEventType.ASSET_MATERIALIZATION.value
    event = DagsterEvent(
        kind, "a-job", step_key="a-step", event_specific_data=StepMaterializationData(made)
    )
    planned = DagsterEvent.build_asset_materialization_planned_event(
        "a-job", "a-step", AssetMaterializationPlannedData(PRICES)
    )
    failed = DagsterEvent.build_asset_materialization_planned_event(
        "a-job", "a-step", AssetMaterializationPlannedData(PRICES, partition="2024-05-28|failed")
    )
    storage.store_event(entry(run, message="first"))
    storage.store_event(entry(run, planned))
    storage.store_partition_events(entry(run, event), partitions)
    storage.store_event(entry(run, failed))
    storage.store_event(entry(run, message="summary"))


def shown(connection: EventLogConnection) -> list[str]:
    return [
        record.event_log_entry.user_message or str(record.event_log_entry.dagster_event_type)
        for record in connection.records
    ]


def test_a_large_run_shows_its_lines_and_no_symbol_day(storage: BatchedEventLogStorage) -> None:
    load(storage, RUN, 2 * SHOWN_AT_MOST)
    lines = ["first", "DagsterEventType.ASSET_MATERIALIZATION_PLANNED", "summary"]
    assert shown(storage.get_records_for_run(RUN)) == lines
    assert shown(storage.get_records_for_run(RUN, ascending=False)) == lines[::-1]


def test_its_pages_follow_from_one_another(storage: BatchedEventLogStorage) -> None:
    load(storage, "paged", 2 * SHOWN_AT_MOST)
    first = storage.get_records_for_run("paged", limit=2)
    assert first.has_more
    second = storage.get_records_for_run("paged", first.cursor, limit=2)
    assert (shown(second), second.has_more) == (["summary"], False)
    third = storage.get_records_for_run("paged", second.cursor, limit=2)
    assert (shown(third), third.cursor) == ([], second.cursor)


def test_its_symbol_days_are_had_where_they_are_asked_for(storage: BatchedEventLogStorage) -> None:
    load(storage, "typed", 2 * SHOWN_AT_MOST)
    kind = DagsterEventType.ASSET_MATERIALIZATION
    assert len(storage.get_records_for_run("typed", of_type=kind).records) == 2 * SHOWN_AT_MOST


def test_a_small_run_shows_everything(storage: BatchedEventLogStorage) -> None:
    load(storage, "small", 5)
    assert len(storage.get_records_for_run("small").records) == 9
