"""Dagster's SQLite storage, with partition events written in batches.

Stock storage spends some 20 ms on each event of a partition, which makes a year of symbol-days take
an hour to report. Here a batch is one transaction, and an asset's planned partitions are one event.
This leans on private parts of Dagster, each marked below; stock storage works too, slowly. Nothing
of our own tables is known here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import filelock
from dagster import DagsterInstance
from dagster._core.events import ASSET_EVENTS
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.event_log.base import EventLogStorage
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable
from dagster._core.storage.event_log.sqlite.consolidated_sqlite_event_log import (
    ConsolidatedSqliteEventLogStorage,
)
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClassData

ROWS_AT_ONCE = 2_000
"""Events in one transaction; one of 10,000 keeps other writers waiting for two seconds."""


class BatchedEventLogStorage(ConsolidatedSqliteEventLogStorage):
    """All runs in one SQLite file, and batches of asset events in one transaction each."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", str(ROWS_AT_ONCE))
        Path(base_dir).mkdir(parents=True, exist_ok=True)
        super().__init__(base_dir, inst_data)

    @property
    def supports_partition_subset_in_asset_materialization_planned_events(self) -> bool:
        return True

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Store events in their order; those of assets many to a transaction."""
        for at in range(0, len(events), ROWS_AT_ONCE):
            chunk = events[at : at + ROWS_AT_ONCE]
            if all(_is_of_asset(event) for event in chunk):
                self._store_asset_events(chunk)
            else:
                # Asset checks and plain log lines need more than the event table.
                for event in chunk:
                    self.store_event(event)

    def _store_asset_events(self, events: Sequence[EventLogEntry]) -> None:
        rows = [self._event_to_row(event) for event in events]
        latest = {event.dagster_event.asset_key: at for at, event in enumerate(events)}  # type: ignore[union-attr]
        insert = SqlEventLogStorageTable.insert().returning(
            SqlEventLogStorageTable.c.id, sort_by_parameter_order=True
        )
        with self._connect() as connection:
            # The ids come from the insert itself: another writer may have moved max(id) on.
            ids = [row[0] for row in connection.execute(insert, rows)]
            self._store_asset_event_tags(connection, events, ids)
            for at in latest.values():
                self._store_asset_event(connection, events[at], ids[at])


def _is_of_asset(event: EventLogEntry) -> bool:
    return (
        event.dagster_event is not None
        and event.dagster_event.asset_key is not None
        and event.dagster_event_type in ASSET_EVENTS
    )


class BatchedSqliteStorage(DagsterSqliteStorage):
    """Runs, events and schedules under one folder, events in batches.

    Set as the whole ``storage`` in ``dagster.yaml``; the event log alone would be wrapped, and its
    batch method never called.
    """

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        Path(base_dir).mkdir(parents=True, exist_ok=True)
        # Two processes that meet an empty folder would both try to create the tables.
        with filelock.FileLock(Path(base_dir) / "creation.lock"):
            super().__init__(base_dir, inst_data)
            self._batched = BatchedEventLogStorage(str(Path(base_dir) / "history" / "events"))

    @property
    def event_log_storage(self) -> EventLogStorage:
        return self._batched

    def register_instance(self, instance: DagsterInstance) -> None:
        super().register_instance(instance)
        if not self._batched.has_instance:
            self._batched.register_instance(instance)

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> BatchedSqliteStorage:
        return cls(config_value["base_dir"], inst_data)
