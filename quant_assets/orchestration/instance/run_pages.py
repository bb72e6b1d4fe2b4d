"""What Dagster reads when it opens the page of a run: its log, without the events of partitions.

A load of a year has 131,000 of them between its first line and its summary. They stay in the
history, and on the pages of the asset and of its partitions.
"""

from __future__ import annotations

import glob
from collections.abc import Callable
from typing import Any

import sqlalchemy as db
from dagster._core.event_api import EventLogCursor, EventLogRecord
from dagster._core.events import DagsterEventType
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.event_log.base import EventLogConnection
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable
from dagster._core.storage.event_log.sqlite.consolidated_sqlite_event_log import (
    ConsolidatedSqliteEventLogStorage,
    ConsolidatedSqliteEventLogStorageWatchdog,
)
from dagster._serdes import deserialize_value
from watchdog.observers import Observer

SHOWN_AT_MOST = 100
"""Events of partitions that a run's log may have and still be read whole."""

_EVENT = SqlEventLogStorageTable.c
_OF_PARTITION = db.and_(
    _EVENT.partition.is_not(None),
    _EVENT.dagster_event_type.in_(
        [
            DagsterEventType.ASSET_MATERIALIZATION.value,
            DagsterEventType.ASSET_MATERIALIZATION_PLANNED.value,
            DagsterEventType.ASSET_OBSERVATION.value,
        ]
    ),
)


class RunPages(ConsolidatedSqliteEventLogStorage):
    """Dagster's storage, with the logs of large runs as short as those of small ones."""

    def get_records_for_run(
        self,
        run_id: str,
        cursor: str | None = None,
        of_type: DagsterEventType | set[DagsterEventType] | None = None,
        limit: int | None = None,
        ascending: bool = True,
    ) -> EventLogConnection:
        """The log of a run. Where no type is asked for, a run with many events of partitions has
        none of them in it.
        """
        after = EventLogCursor.parse(cursor) if cursor else None
        if of_type or (after and after.is_offset_cursor()) or not self._has_many(run_id):
            return super().get_records_for_run(run_id, cursor, of_type, limit, ascending)
        query = db.select(_EVENT.id, _EVENT.event).where(_EVENT.run_id == run_id, ~_OF_PARTITION)
        if after:
            at = after.storage_id()
            query = query.where(_EVENT.id > at if ascending else _EVENT.id < at)
        query = query.order_by(_EVENT.id.asc() if ascending else _EVENT.id.desc()).limit(limit)
        with self.run_connection(run_id) as connection:
            rows = connection.execute(query).fetchall()
        records = [
            EventLogRecord(
                storage_id=number, event_log_entry=deserialize_value(text, EventLogEntry)
            )
            for number, text in rows
        ]
        last = EventLogCursor.from_storage_id(rows[-1][0]).to_string() if rows else cursor
        return EventLogConnection(
            records=records,
            cursor=last or EventLogCursor.from_storage_id(-1).to_string(),
            has_more=bool(limit and len(rows) == limit),
        )

    def watch(
        self, run_id: str, cursor: str | None, callback: Callable[[EventLogEntry, str], Any]
    ) -> None:
        """Tell ``callback`` of the events of a run as they come, for open pages.

        Dagster takes the path for a pattern, and would hear nothing in a folder with brackets.
        """
        if not self._obs:
            handler = ConsolidatedSqliteEventLogStorageWatchdog(self)  # type: ignore[no-untyped-call]
            handler._patterns = [glob.escape(handler._log_path)]
            observer = Observer()
            observer.start()
            observer.schedule(handler, self._base_dir)
            self._obs = observer  # type: ignore[assignment]
        super().watch(run_id, cursor, callback)  # type: ignore[no-untyped-call]

    def _has_many(self, run_id: str) -> bool:
        some = (
            db.select(_EVENT.id)
            .where(_EVENT.run_id == run_id, _OF_PARTITION)
            .limit(SHOWN_AT_MOST + 1)
        )
        with self.run_connection(run_id) as connection:
            return len(connection.execute(some).fetchall()) > SHOWN_AT_MOST
