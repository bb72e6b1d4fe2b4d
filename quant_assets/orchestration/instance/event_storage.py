"""Dagster's SQLite storage, with partition events written in batches.

Stock storage spends some 20 ms on each event of a partition, which makes a year of symbol-days take
an hour to report. Here a batch is one transaction, and an asset's planned partitions are one event.
This leans on private parts of Dagster; ``docs/event-storage.md`` lists them, and says how to try a
new version. Stock storage works too, slowly. Nothing of our own tables is known here.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from functools import cached_property
from itertools import zip_longest
from pathlib import Path
from typing import Any

import dagster as dg
import filelock
import sqlalchemy as db
from dagster._core.definitions.partitions.context import partition_loading_context
from dagster._core.events import ASSET_EVENTS, DagsterEventType
from dagster._core.events.log import EventLogEntry
from dagster._core.loader import LoadingContext
from dagster._core.storage.base_storage import DagsterStorage
from dagster._core.storage.event_log.base import (
    AssetRecord,
    PlannedMaterializationInfo,
)
from dagster._core.storage.event_log.schema import (
    AssetEventTagsTable,
    SqlEventLogStorageTable,
)
from dagster._core.storage.partition_status_cache import AssetStatusCacheValue
from dagster._core.storage.runs.sqlite.sqlite_run_storage import SqliteRunStorage
from dagster._core.storage.schedules.sqlite.sqlite_schedule_storage import SqliteScheduleStorage
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._record import copy
from dagster._serdes import ConfigurableClassData, deserialize_value
from dagster._utils.concurrency import ConcurrencyClaimStatus

from quant_assets.orchestration.instance.event_json import without_empty_fields
from quant_assets.orchestration.instance.run_pages import RunPages

ROWS_AT_ONCE = 2_000
"""Events in one transaction; one of 10,000 keeps other writers waiting for two seconds."""

PAGE_BYTES = 32_768
"""Page size of a new history file. A page holds 25 events of symbol-days; SQLite's 4 KB hold three,
or two that are a little longer. A file keeps the page size it was made with."""

POOL_LOOK_SECONDS = 0.2
"""How often a run that waits for its place in a pool looks whether it is free."""

PLACEHOLDER = "<partition of quant_assets>"
"""Stands for the partition in an event that is to be stored for many."""

TEXT = "<text of quant_assets>"
"""Stands for a text that such an event has of its own for each partition."""


class BatchedEventLogStorage(RunPages):
    """All runs in one SQLite file, and batches of asset events in one transaction each."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", str(ROWS_AT_ONCE))
        Path(base_dir).mkdir(parents=True, exist_ok=True)
        self._colouring = threading.Lock()
        super().__init__(base_dir, inst_data)
        self._conn_string = _address(Path(self.get_db_path()))  # type: ignore[no-untyped-call]

    def _init_db(self) -> None:
        # The page size has to be there before the first write, which is that of the journal mode.
        with closing(sqlite3.connect(self.get_db_path())) as file:  # type: ignore[no-untyped-call]
            file.execute(f"pragma page_size = {PAGE_BYTES}")
            file.execute("pragma journal_mode = wal")
        super()._init_db()  # type: ignore[no-untyped-call]  # Dagster's own

    @cached_property
    def _engine(self) -> db.Engine:
        return db.create_engine(
            self._conn_string,
            poolclass=db.NullPool,
            connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS},
        )

    @contextmanager
    def _connect(self) -> Iterator[db.Connection]:
        """A transaction. Dagster makes an engine for each, and with it spells every statement out
        anew, which takes longer than SQLite does.
        """
        with self._engine.begin() as connection:
            yield connection

    def index_connection(self) -> AbstractContextManager[db.Connection]:
        return self._connect()

    @property
    def supports_partition_subset_in_asset_materialization_planned_events(self) -> bool:
        return True

    @property
    def asset_records_have_last_planned_and_failed_materializations(self) -> bool:
        return True

    def get_asset_records(
        self, asset_keys: Sequence[dg.AssetKey] | None = None
    ) -> Sequence[AssetRecord]:
        """Assets with their latest materialization and the latest planned one, as of one moment.

        Stock storage reads the two one after the other. A page that falls in between notes how far
        it has read and skips what was stored meanwhile: those partitions would stay grey for ever.
        """
        while True:
            planned = self._latest_planned(asset_keys)
            records = super().get_asset_records(asset_keys)
            if planned == self._latest_planned(asset_keys):
                return [_with_planned(record, planned) for record in records]

    def _latest_planned(
        self, asset_keys: Sequence[dg.AssetKey] | None
    ) -> Mapping[str, tuple[int, str]]:
        """Storage id and run of the latest planned materialization, by asset."""
        table = SqlEventLogStorageTable.c
        query = db.select(table.asset_key, db.func.max(table.id), table.run_id).where(
            table.dagster_event_type == DagsterEventType.ASSET_MATERIALIZATION_PLANNED.value,
            table.asset_key.is_not(None),
        )
        if asset_keys is not None:
            query = query.where(table.asset_key.in_([key.to_string() for key in asset_keys]))
        with self._connect() as connection:
            rows = connection.execute(query.group_by(table.asset_key)).fetchall()
        return {key: (storage_id, run_id) for key, storage_id, run_id in rows}

    def get_latest_planned_materialization_info(
        self, asset_key: dg.AssetKey, partition: str | None = None
    ) -> PlannedMaterializationInfo | None:
        """The run that last was to materialize an asset, or one partition of it.

        A run over many partitions plans them in one event that names none, so a partition's own
        materialization counts as well; or its page would go on showing a failure long mended.
        """
        if partition is None:
            return super().get_latest_planned_materialization_info(asset_key)
        table = SqlEventLogStorageTable.c
        query = (
            db.select(table.id, table.run_id)
            .where(
                table.asset_key == asset_key.to_string(),
                table.partition == partition,
                table.dagster_event_type.in_(
                    [
                        DagsterEventType.ASSET_MATERIALIZATION.value,
                        DagsterEventType.ASSET_MATERIALIZATION_PLANNED.value,
                    ]
                ),
            )
            .order_by(table.id.desc())
            .limit(1)
        )
        with self._connect() as connection:
            row = connection.execute(query).first()
        return PlannedMaterializationInfo(storage_id=row[0], run_id=row[1]) if row else None

    def get_asset_status_cache_values(
        self,
        partitions_defs_by_key: Iterable[tuple[dg.AssetKey, dg.PartitionsDefinition | None]],
        context: LoadingContext,
    ) -> Sequence[AssetStatusCacheValue | None]:
        found: list[AssetStatusCacheValue | None] = []
        # A page asks for the colours twice at once; the second then finds what the first made.
        with self._colouring:
            for asked in partitions_defs_by_key:
                kept = self._colours_as_kept(*asked, context)
                found += [kept] if kept else super().get_asset_status_cache_values([asked], context)
        return found

    def _colours_as_kept(
        self,
        asset_key: dg.AssetKey,
        partitions: dg.PartitionsDefinition | None,
        context: LoadingContext,
    ) -> AssetStatusCacheValue | None:
        """The colours as they were last worked out, where nothing has happened since.

        Dagster would work them out again to find out that they are the same.
        """
        record = AssetRecord.blocking_get(context, asset_key)
        kept = record.asset_entry.cached_status if record else None
        if record is None or kept is None or partitions is None:
            return None
        entry = record.asset_entry
        newest = max(
            entry.last_materialization_storage_id or 0,
            entry.last_planned_materialization_storage_id or 0,
        )
        under_way = kept.earliest_in_progress_materialization_event_id is not None
        if under_way or kept.latest_storage_id != newest:
            return None
        with partition_loading_context(None, self._instance):
            same = kept.partitions_def_id == partitions.get_serializable_unique_identifier()
        return kept if same else None

    def claim_concurrency_slot(
        self, concurrency_key: str, run_id: str, step_key: str, priority: int | None = None
    ) -> ConcurrencyClaimStatus:
        """Claim a place in a pool, or wait a moment; Dagster then asks again.

        Left to itself it would keep a core busy until it does, since it never sleeps for longer
        than 0 s, and would let up to 15 s go by after the place is free. And a run that lines up
        while another gives its place back would wait for ever: it saw the place taken, the other
        saw nobody waiting. So who waits hands out a place that has become free.
        """
        status = super().claim_concurrency_slot(concurrency_key, run_id, step_key, priority)
        if not status.is_claimed and self.has_unassigned_slots(concurrency_key):
            self.assign_pending_steps([concurrency_key])
            status = super().claim_concurrency_slot(concurrency_key, run_id, step_key, priority)
        if status.is_claimed:
            return status
        time.sleep(POOL_LOOK_SECONDS)
        rested: ConcurrencyClaimStatus = status.with_sleep_interval(0.0)
        return rested

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

    def store_partition_events(
        self, event: EventLogEntry, partitions: Sequence[str], texts: Sequence[str] = ()
    ) -> None:
        """Store one event for each of ``partitions``, which ``event`` names ``PLACEHOLDER``, with
        its own of ``texts`` for ``TEXT``.

        Spelling an event out as JSON takes three times as long as storing it, so that is done once.
        """
        row = self._event_to_row(event)
        short = without_empty_fields(row["event"])
        # An event that would not read the same, one with a NaN say, stays as Dagster spells it.
        if deserialize_value(short, EventLogEntry) == event:
            row["event"] = short
        tags = self._tags_for_asset_event(event)
        for at in range(0, len(partitions), ROWS_AT_ONCE):
            chunk = partitions[at : at + ROWS_AT_ONCE]
            rows = [
                {**row, "event": _filled(row["event"], key, text), "partition": key}
                for key, text in zip_longest(chunk, texts[at : at + ROWS_AT_ONCE], fillvalue="")
            ]
            last = deserialize_value(rows[-1]["event"], EventLogEntry)
            with self._connect() as connection:
                connection.execute(SqlEventLogStorageTable.insert(), rows)
                # No other writer comes between a transaction's first insert and its end, so the
                # ids are consecutive.
                newest: int = connection.exec_driver_sql("select last_insert_rowid()").scalar_one()
                labels = [
                    {
                        "event_id": newest - len(chunk) + 1 + place,
                        "asset_key": row["asset_key"],
                        "key": name,
                        "value": value,
                        "event_timestamp": row["timestamp"],
                    }
                    for place in range(len(chunk))
                    for name, value in tags.items()
                ]
                if labels:
                    connection.execute(AssetEventTagsTable.insert(), labels)
                self._store_asset_event(connection, last, newest)

    def _store_asset_events(self, events: Sequence[EventLogEntry]) -> None:
        rows = [self._event_to_row(event) for event in events]
        latest = {_kind(event): at for at, event in enumerate(events)}
        insert = SqlEventLogStorageTable.insert().returning(
            SqlEventLogStorageTable.c.id, sort_by_parameter_order=True
        )
        with self._connect() as connection:
            # The ids come from the insert itself: another writer may have moved max(id) on.
            ids = [row[0] for row in connection.execute(insert, rows)]
            self._store_asset_event_tags(connection, events, ids)
            for at in sorted(latest.values()):
                self._store_asset_event(connection, events[at], ids[at])


def _filled(event: str, partition: str, text: str) -> str:
    """The JSON of an event with what its placeholders stand for."""
    filled = event.replace(json.dumps(PLACEHOLDER), json.dumps(partition))
    return filled.replace(json.dumps(TEXT), json.dumps(text)) if text else filled


def _with_planned(record: AssetRecord, planned: Mapping[str, tuple[int, str]]) -> AssetRecord:
    storage_id, run_id = planned.get(record.asset_entry.asset_key.to_string(), (None, None))
    entry = copy(
        record.asset_entry,
        last_planned_materialization_storage_id=storage_id,
        last_planned_materialization_run_id=run_id,
    )
    return copy(record, asset_entry=entry)


def _kind(event: EventLogEntry) -> tuple[str, str]:
    """Type and asset of an event; Dagster notes the latest of each beside the asset."""
    found = event.get_dagster_event()
    return found.event_type_value, str(found.asset_key)


def _is_of_asset(event: EventLogEntry) -> bool:
    return (
        event.dagster_event is not None
        and event.dagster_event.asset_key is not None
        and event.dagster_event_type in ASSET_EVENTS
    )


def _address(file: Path) -> str:
    """The URL of a database file. Dagster joins a path to ``sqlite:///`` as it stands, and a ``?``
    or ``%`` in a folder's name then means another file.
    """
    return db.URL.create("sqlite", database=os.path.abspath(file)).render_as_string()


HISTORY = "history"
EVENTS = f"{HISTORY}/events"


def _create(base: Path) -> None:
    """Make all databases beside their place and move them there, the history last.

    Dagster takes a file that is there for one that has its tables: a process killed while it
    created them would leave a history that never works.
    """
    beside = base / "creating"
    shutil.rmtree(beside, ignore_errors=True)
    with tempfile.TemporaryDirectory() as plain:  # whatever the name of the data folder
        DagsterSqliteStorage(plain)
        BatchedEventLogStorage(f"{plain}/{EVENTS}")
        shutil.copytree(plain, beside)
    for made in sorted(beside.iterdir(), key=lambda path: path.name == HISTORY):
        if not (base / made.name).exists():
            made.rename(base / made.name)
    shutil.rmtree(beside)


class BatchedSqliteStorage(DagsterSqliteStorage):
    """Runs, events and schedules under one folder, events in batches.

    Set as the whole ``storage`` in ``dagster.yaml``; the event log alone would be wrapped, and its
    batch method never called.
    """

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        base = Path(base_dir)
        base.mkdir(parents=True, exist_ok=True)
        # Two processes that meet an empty folder would both try to create the tables.
        with filelock.FileLock(base / "creation.lock"):
            if not (base / HISTORY).exists():
                _create(base)
        # Without DagsterSqliteStorage.__init__, which has addresses of its own.
        self.base_dir, self._inst_data = base_dir, inst_data
        self._run_storage = SqliteRunStorage(_address(base / HISTORY / "runs.db"))
        self._schedule_storage = SqliteScheduleStorage(_address(base / "schedules/schedules.db"))
        self._event_log_storage = BatchedEventLogStorage(str(base / EVENTS))  # type: ignore[assignment]
        DagsterStorage.__init__(self)  # type: ignore[no-untyped-call,arg-type]

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> BatchedSqliteStorage:
        return cls(config_value["base_dir"], inst_data)
