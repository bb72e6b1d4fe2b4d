"""What Dagster's history holds beside what happened to assets: log lines of runs, old backfills.

Their sizes, and deleting them in the SQLite tables, since Dagster deletes a run's events only all
together. How long they are kept is ``retention.py``'s.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterable, Sequence

import sqlalchemy as db
from dagster._core.events import ASSET_CHECK_EVENTS, ASSET_EVENTS, DagsterEventType
from dagster._core.execution.backfill import BULK_ACTION_TERMINAL_STATUSES
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable
from dagster._core.storage.runs.schema import BackfillTagsTable, BulkActionsTable
from dagster._core.storage.runs.sql_run_storage import SqlRunStorage

from quant_assets.orchestration.instance.event_storage import ROWS_AT_ONCE, BatchedEventLogStorage

RUNS_AT_ONCE = 200
BREATH_SECONDS = 0.05
"""The pause between two transactions that delete, so that a waiting writer gets its turn."""

OF_ASSETS = ASSET_EVENTS | ASSET_CHECK_EVENTS
"""Types of events that happened to an asset. They are history, not mere log lines of a run."""

_LOG_TYPES = sorted(kind.value for kind in DagsterEventType if kind not in OF_ASSETS)
_EVENT = SqlEventLogStorageTable.c
_IS_LOG_LINE = db.and_(
    db.or_(_EVENT.dagster_event_type.is_(None), _EVENT.dagster_event_type.in_(_LOG_TYPES)),
    # SQLite gives the number of a deleted last row to the next one, and cursors would skip that.
    _EVENT.id != db.select(db.func.max(SqlEventLogStorageTable.alias().c.id)).scalar_subquery(),
)
"""What ``delete_logs`` deletes. A type that a later Dagster adds is not known here, and stays."""


def log_sizes(events: BatchedEventLogStorage) -> dict[str, tuple[int, int]]:
    """Log lines and their bytes, by run; found through their types, not among all events."""
    sizes = db.select(_EVENT.run_id, db.func.count(), db.func.sum(db.func.length(_EVENT.event)))
    with events.index_connection() as connection:
        found = connection.execute(sizes.where(_IS_LOG_LINE).group_by(_EVENT.run_id))
        return {run_id: (lines, size) for run_id, lines, size in found}


def with_more_than_a_log(events: BatchedEventLogStorage, run_ids: Iterable[str]) -> set[str]:
    """The runs that have events beside their log lines."""
    other = db.select(_EVENT.id).where(_EVENT.run_id == db.bindparam("run"), ~_IS_LOG_LINE).limit(1)
    with events.index_connection() as connection:
        return {each for each in run_ids if connection.execute(other, {"run": each}).first()}


def delete_logs(events: BatchedEventLogStorage, run_ids: Sequence[str]) -> None:
    """Delete the log lines of runs, some in a transaction; between them others may write."""
    for start in range(0, len(run_ids), RUNS_AT_ONCE):
        of_runs = _EVENT.run_id.in_(run_ids[start : start + RUNS_AT_ONCE])
        with events.index_connection() as connection:
            ids = connection.scalars(db.select(_EVENT.id).where(of_runs, _IS_LOG_LINE)).all()
        for at in range(0, len(ids), ROWS_AT_ONCE):
            chunk = _EVENT.id.in_(ids[at : at + ROWS_AT_ONCE])
            with events.index_connection() as connection:
                connection.execute(SqlEventLogStorageTable.delete().where(of_runs, chunk))
            time.sleep(BREATH_SECONDS)


def ended_backfills(runs: SqlRunStorage, before: dt.datetime) -> dict[str, int]:
    """Backfills that ended before a moment, and the bytes of their records."""
    row = BulkActionsTable.c
    ended = row.status.in_([status.value for status in BULK_ACTION_TERMINAL_STATUSES])
    query = db.select(row.key, db.func.length(row.body)).where(ended, row.timestamp < before)
    with runs.connect() as connection:
        sizes = {key: size for key, size in connection.execute(query)}  # noqa: C416 - rows, not pairs
    return {key: size for key, size in sizes.items() if _ended(runs, key) < before.timestamp()}


def _ended(runs: SqlRunStorage, backfill_id: str) -> float:
    """When a backfill ended, which only its body holds; without that, when it was made."""
    backfill = runs.get_backfill(backfill_id)
    return (backfill.backfill_end_timestamp or backfill.backfill_timestamp) if backfill else 0.0


def delete_backfill(runs: SqlRunStorage, backfill_id: str) -> None:
    """Delete the record of a backfill and its tags together; Dagster has no call for it."""
    with runs.connect() as connection:
        of_it = BackfillTagsTable.c.backfill_id == backfill_id
        connection.execute(BackfillTagsTable.delete().where(of_it))
        connection.execute(BulkActionsTable.delete().where(BulkActionsTable.c.key == backfill_id))
