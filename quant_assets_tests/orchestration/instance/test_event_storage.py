"""The batched event storage against Dagster's own: the same rows, and nothing skipped by a page.

What is written many at a time is compared, column by column, with what Dagster's two SQLite
storages write for the same events one by one. The last section names what the storage relies on in
Dagster: where a new version changes that, one of its tests says what to look at.
"""

from __future__ import annotations

import inspect
import json
import multiprocessing
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, ClassVar

import dagster as dg
import pytest
import sqlalchemy
import yaml
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluation,
    AssetCheckEvaluationPlanned,
    AssetCheckEvaluationTargetMaterializationData,
)
from dagster._core.definitions.partitions.subset import DefaultPartitionsSubset
from dagster._core.events import (
    AssetMaterializationPlannedData,
    AssetObservationData,
    DagsterEvent,
    DagsterEventType,
    StepMaterializationData,
)
from dagster._core.events.log import EventLogEntry
from dagster._core.execution.plan.objects import StepFailureData
from dagster._core.loader import LoadingContextForTest
from dagster._core.storage.event_log.base import AssetRecord, EventLogStorage
from dagster._core.storage.event_log.schema import (
    AssetEventTagsTable,
    AssetKeyTable,
    SqlEventLogStorageMetadata,
    SqlEventLogStorageTable,
)
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from dagster._core.storage.event_log.sqlite.consolidated_sqlite_event_log import (
    ConsolidatedSqliteEventLogStorage,
)
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from dagster._core.storage.partition_status_cache import (
    AssetStatusCacheValue,
    get_and_update_asset_status_cache_value,
)
from dagster._core.storage.runs.schema import BackfillTagsTable, BulkActionsTable
from dagster._core.storage.runs.sql_run_storage import SqlRunStorage
from dagster._core.storage.runs.sqlite.sqlite_run_storage import SqliteRunStorage
from dagster._core.storage.schedules.sqlite.sqlite_schedule_storage import SqliteScheduleStorage
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._core.utils import make_new_run_id
from dagster._serdes import deserialize_value, serialize_value
from dagster._utils.error import SerializableErrorInfo

from quant_assets.orchestration.instance.event_json import without_empty_fields
from quant_assets.orchestration.instance.event_storage import (
    PAGE_BYTES,
    PLACEHOLDER,
    ROWS_AT_ONCE,
    BatchedEventLogStorage,
    BatchedSqliteStorage,
)
from quant_assets.orchestration.instance.instance import (
    TooLongAPathError,
    instance_config,
    open_instance,
)

PRICES, OTHER = dg.AssetKey("daily_prices"), dg.AssetKey(["other", "asset"])
OURS, THEIRS, THIRD = (f"00000000-0000-0000-0000-00000000000{number}" for number in (1, 2, 3))
EVENTS = "dagster/history/events"
AT = 1_717_416_000.123456

Rows = list[dict[str, object]]

Stock = Callable[[str], SqlEventLogStorage]
STOCK: Mapping[Stock, str] = {
    ConsolidatedSqliteEventLogStorage: "event_log.db",
    SqliteEventLogStorage: "index.db",
}
"""Dagster's own storages, and the file each keeps the events of assets in."""


def entry(event: DagsterEvent | None, run_id: str = OURS, at: float = AT) -> EventLogEntry:
    return EventLogEntry(  # type: ignore[no-untyped-call]  # Dagster's own
        error_info=None,
        level="INFO",
        user_message="",
        run_id=run_id,
        timestamp=at,
        step_key="daily_prices",
        job_name="backfill_prices",
        dagster_event=event,
    )


def event_of(kind: DagsterEventType, data: Any) -> DagsterEvent:
    return DagsterEvent(
        kind.value, "backfill_prices", step_key="daily_prices", event_specific_data=data
    )


def made(
    partition: str | None,
    run_id: str = OURS,
    at: float = AT,
    *,
    asset: dg.AssetKey = PRICES,
    reason: str = "",
    tags: Mapping[str, str] | None = None,
) -> EventLogEntry:
    """A materialization."""
    found = dg.AssetMaterialization(
        asset,
        partition=partition,
        metadata={"outcome": dg.MetadataValue.text(reason), "rows": dg.MetadataValue.int(1)},
        tags=tags,
    )
    return entry(
        event_of(DagsterEventType.ASSET_MATERIALIZATION, StepMaterializationData(found)), run_id, at
    )


def planned(
    partition: str | None, run_id: str = OURS, at: float = AT, *, asset: dg.AssetKey = PRICES
) -> EventLogEntry:
    data = AssetMaterializationPlannedData(asset, partition=partition)
    return entry(event_of(DagsterEventType.ASSET_MATERIALIZATION_PLANNED, data), run_id, at)


def observed(partition: str | None, run_id: str = OURS, at: float = AT) -> EventLogEntry:
    data = AssetObservationData(
        dg.AssetObservation(PRICES, partition=partition, tags={"dagster/data_version": "seen"})
    )
    return entry(event_of(DagsterEventType.ASSET_OBSERVATION, data), run_id, at)


def rows(path: Path) -> dict[str, Rows]:
    """Every row that tells of assets; when an asset's row was made is the database's own clock."""
    found = {}
    with closing(sqlite3.connect(path)) as con:
        con.row_factory = sqlite3.Row
        for table in ("event_logs", "asset_event_tags", "asset_keys"):
            found[table] = [dict(row) for row in con.execute(f"select * from {table} order by id")]
    for row in found["asset_keys"]:
        del row["create_timestamp"]
    return found


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder in which nothing has happened yet; making one takes a second."""
    path = tmp_path_factory.mktemp("prepared")
    open_instance(path).dispose()
    return path


@pytest.fixture
def home(tmp_path: Path, prepared: Path) -> Path:
    return Path(shutil.copytree(prepared, tmp_path / "home"))


@pytest.fixture
def storage(home: Path) -> BatchedEventLogStorage:
    return BatchedEventLogStorage(str(home / EVENTS))


@pytest.fixture
def instance(home: Path) -> Iterator[dg.DagsterInstance]:
    with open_instance(home) as instance:
        yield instance


OneByOne = Callable[..., dict[str, Rows]]


@pytest.fixture
def one_by_one(tmp_path: Path, prepared: Path) -> OneByOne:
    """What a storage of Dagster's own writes for events."""
    shutil.copytree(prepared / EVENTS, tmp_path / "stock")

    def write(
        events: Sequence[EventLogEntry], make: Stock = ConsolidatedSqliteEventLogStorage
    ) -> dict[str, Rows]:
        storage = make(str(tmp_path / "stock"))
        for event in events:
            storage.store_event(event)
        storage.dispose()
        return rows(tmp_path / "stock" / STOCK[make])

    return write


def ours(storage: BatchedEventLogStorage) -> dict[str, Rows]:
    return rows(Path(storage.get_db_path()))  # type: ignore[no-untyped-call]  # Dagster's own


def as_read(found: dict[str, Rows]) -> dict[str, Rows]:
    """The rows with each event as Dagster reads it, however it is spelled."""
    events = [
        {**row, "event": deserialize_value(str(row["event"]), EventLogEntry)}
        for row in found["event_logs"]
    ]
    return {**found, "event_logs": events}


# --- many events of one shape --------------------------------------------------------------------


KEYS = (
    "2024-05-28|AAPL",
    "2024-05-28|BRK.B",
    "2024-05-28|BF-B",
    "2024-05-29|^GSPC",
    '2024-05-29|QUO"TE',
    "2024-05-29|O'NEIL",
    "2024-05-30|back\\slash",
    "2024-05-30|a|b",
    "2024-05-31|ÄÖÜ",
    "2024-05-31|東証😀",
    "2024-05-31|%s {0} :key",
)
REASON = 'the archive says “nothing”, or "nothing"\n\t\\ \u2028 of the partition — 東証 😀'
TAGS = {
    "dagster/data_version": "prices-1",
    "dagster/code_version": "prices-1",
    "plain": "not-indexed",
}


@pytest.mark.parametrize("tags", [TAGS, {"plain": "not-indexed"}, {}, None])
def test_materializations_are_stored_as_dagster_stores_them_one_by_one(
    storage: BatchedEventLogStorage, one_by_one: OneByOne, tags: Mapping[str, str] | None
) -> None:
    storage.store_partition_events(made(PLACEHOLDER, reason=REASON, tags=tags), KEYS)
    each = [made(key, reason=REASON, tags=tags) for key in KEYS]
    assert as_read(ours(storage)) == as_read(one_by_one(each))


def test_planned_events_are_stored_as_dagster_stores_them_one_by_one(
    storage: BatchedEventLogStorage, one_by_one: OneByOne
) -> None:
    storage.store_partition_events(planned(PLACEHOLDER), KEYS)
    assert as_read(ours(storage)) == as_read(one_by_one([planned(key) for key in KEYS]))


@pytest.mark.parametrize("stock", STOCK)
def test_a_run_that_tells_good_empty_and_failed_keys_leaves_the_same_history(
    storage: BatchedEventLogStorage, one_by_one: OneByOne, stock: Stock
) -> None:
    storage.store_partition_events(made(PLACEHOLDER, THEIRS, AT - 9, tags=TAGS), KEYS[:2])
    storage.store_partition_events(made(PLACEHOLDER, OURS, AT, tags=TAGS), KEYS[:4])
    storage.store_partition_events(made(PLACEHOLDER, OURS, AT + 1, reason=REASON), KEYS[4:6])
    storage.store_partition_events(planned(PLACEHOLDER, OURS, AT + 2), KEYS[6:])
    each = [
        *(made(key, THEIRS, AT - 9, tags=TAGS) for key in KEYS[:2]),
        *(made(key, OURS, AT, tags=TAGS) for key in KEYS[:4]),
        *(made(key, OURS, AT + 1, reason=REASON) for key in KEYS[4:6]),
        *(planned(key, OURS, AT + 2) for key in KEYS[6:]),
    ]
    assert as_read(ours(storage)) == as_read(one_by_one(each, stock))


def test_no_partitions_are_no_rows(storage: BatchedEventLogStorage) -> None:
    storage.store_partition_events(made(PLACEHOLDER, tags=TAGS), [])
    assert ours(storage) == {"event_logs": [], "asset_event_tags": [], "asset_keys": []}


def test_more_partitions_than_fit_a_transaction_are_stored_in_their_order(
    storage: BatchedEventLogStorage,
) -> None:
    keys = [f"2024-05-28|{number:05d}" for number in range(2 * ROWS_AT_ONCE + 1)]
    storage.store_partition_events(made(PLACEHOLDER, tags={"dagster/data_version": "1"}), keys)
    found = ours(storage)
    assert [row["partition"] for row in found["event_logs"]] == keys
    assert [row["id"] for row in found["event_logs"]] == list(range(1, len(keys) + 1))
    assert [row["event_id"] for row in found["asset_event_tags"]] == list(range(1, len(keys) + 1))
    (asset,) = found["asset_keys"]
    assert json.loads(str(asset["last_materialization"]))["storage_id"] == len(keys)


PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(
    [
        "quant_assets.orchestration.instance.event_storage",
        "quant_assets.orchestration.instance.instance",
        __name__,
    ]
)


def keep_writing(pipe: Connection, folder: str) -> None:
    """Store one event after the other until told to stop."""
    storage = BatchedEventLogStorage(folder)
    pipe.send("writing")
    while not pipe.poll():
        storage.store_event(made("theirs", THEIRS, tags={"dagster/data_version": "theirs"}))


def test_another_writer_gets_no_row_in_between(home: Path, storage: BatchedEventLogStorage) -> None:
    here, there = PROCESSES.Pipe()
    other = PROCESSES.Process(target=keep_writing, args=(there, str(home / EVENTS)), daemon=True)
    other.start()
    there.close()
    assert here.recv() == "writing"
    keys = [f"2024-05-28|{number:05d}" for number in range(ROWS_AT_ONCE)]
    tags = {"dagster/data_version": "ours"}
    deadline = time.monotonic() + 30
    written = 0
    while time.monotonic() < deadline:
        storage.store_partition_events(made(PLACEHOLDER, tags=tags), keys)
        storage.store_event_batch([made(key, tags=tags) for key in keys[:500]])
        written += 1
        if len(_blocks(ours(storage)["event_logs"])) > 1:
            break
    here.send("stop")
    other.join(30)
    assert other.exitcode == 0
    found = ours(storage)
    blocks = _blocks(found["event_logs"])
    told = [key for block in blocks for key in block]
    assert told == (keys + keys[:500]) * written
    assert len(blocks) > 1, "the other process never wrote between two batches"
    # A transaction of ours may follow another at once; it is never cut in two.
    assert all(len(block) >= 500 for block in blocks)
    run_of = {row["id"]: row["run_id"] for row in found["event_logs"]}
    said = {(run_of[row["event_id"]], row["value"]) for row in found["asset_event_tags"]}
    assert said == {(OURS, "ours"), (THEIRS, "theirs")}
    assert len(found["asset_event_tags"]) == len(found["event_logs"])


def _blocks(events: Rows) -> list[list[str]]:
    """The partitions of our run, split where another's event or a hole lies between two."""
    blocks: list[list[str]] = []
    before = None
    for row in events:
        if row["run_id"] == OURS:
            assert isinstance(row["id"], int)
            if before != row["id"] - 1:
                blocks.append([])
            blocks[-1].append(str(row["partition"]))
            before = row["id"]
    return blocks


# --- a history that stays small ------------------------------------------------------------------


EVERY_VALUE = {
    "text": "nothing but “null”",
    "nothing": None,
    "json": {"null": None, "nested": [{"null": None}]},
    "url": dg.MetadataValue.url("https://example.com"),
    "table": dg.MetadataValue.table([dg.TableRecord({"close": 1.5})]),
    "columns": dg.TableSchema([dg.TableColumn("close", "float")]),
    "lineage": dg.TableColumnLineage({"close": [dg.TableColumnDep(PRICES, "close")]}),
    "asset": PRICES,
    "run": dg.MetadataValue.dagster_run(OURS),
    "timestamp": dg.MetadataValue.timestamp(AT),
    "truth": True,
}
DAYS = dg.DailyPartitionsDefinition("2024-05-28")
CHECKED = AssetCheckEvaluation(
    asset_key=PRICES,
    check_name="no_gaps",
    passed=False,
    metadata=EVERY_VALUE,
    target_materialization_data=AssetCheckEvaluationTargetMaterializationData(
        storage_id=1, run_id=OURS, timestamp=AT
    ),
)
KINDS = {
    "a materialization": made("a", tags=TAGS),
    "a materialization without partition and tags": made(None),
    "a materialization with metadata of every kind": entry(
        event_of(
            DagsterEventType.ASSET_MATERIALIZATION,
            StepMaterializationData(dg.AssetMaterialization(PRICES, "said", EVERY_VALUE)),
        )
    ),
    "a planned one": planned("a"),
    "keys planned at once": entry(
        event_of(
            DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
            AssetMaterializationPlannedData(
                PRICES, partitions_subset=DefaultPartitionsSubset({"a", "b"})
            ),
        )
    ),
    "sessions planned at once": entry(
        event_of(
            DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
            AssetMaterializationPlannedData(
                PRICES,
                partitions_subset=DAYS.subset_with_partition_keys(
                    ["2024-05-28"]
                ).to_serializable_subset(),
            ),
        )
    ),
    "an observation": observed("a"),
    "a check": entry(event_of(DagsterEventType.ASSET_CHECK_EVALUATION, CHECKED)),
    "a planned check": entry(
        event_of(
            DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED,
            AssetCheckEvaluationPlanned(asset_key=PRICES, check_name="no_gaps"),
        )
    ),
    "a failed step": entry(
        event_of(
            DagsterEventType.STEP_FAILURE,
            StepFailureData(SerializableErrorInfo("gone", [], "Failure"), user_failure_data=None),
        )
    ),
    "a log line": entry(None),
}


@pytest.mark.parametrize("event", KINDS.values(), ids=KINDS)
def test_an_event_without_its_empty_fields_reads_the_same(event: EventLogEntry) -> None:
    long = serialize_value(event)
    short = without_empty_fields(long)
    assert len(short) < len(long)
    read = deserialize_value(short, EventLogEntry)
    assert read == deserialize_value(long, EventLogEntry) == event
    assert serialize_value(read) == long


STORED = (
    '{"__class__":"EventLogEntry","dagster_event":{"__class__":"DagsterEvent",'
    '"event_specific_data":{"__class__":"StepMaterializationData","materialization":'
    '{"__class__":"AssetMaterialization","asset_key":{"__class__":"AssetKey","path":["daily_prices"]},'
    '"metadata_entries":[{"__class__":"EventMetadataEntry","entry_data":'
    '{"__class__":"TextMetadataEntryData","text":"present"},"label":"outcome"},'
    '{"__class__":"EventMetadataEntry","entry_data":{"__class__":"IntMetadataEntryData","value":1},'
    '"label":"rows"}],"partition":"2024-05-28|AAPL","tags":{"dagster/data_version":"prices-1"}}},'
    '"event_type_value":"ASSET_MATERIALIZATION","pipeline_name":"backfill_prices",'
    '"step_key":"daily_prices"},"error_info":null,"level":20,"pipeline_name":"backfill_prices",'
    '"run_id":"00000000-0000-0000-0000-000000000001","step_key":"daily_prices",'
    '"timestamp":1717416000.123456,"user_message":""}'
)
"""A symbol-day in a history that Dagster 1.13.27 wrote."""


def test_a_stored_symbol_day_is_read_and_spelled_as_ever(storage: BatchedEventLogStorage) -> None:
    tags = {"dagster/data_version": "prices-1"}
    event = made("2024-05-28|AAPL", reason="present", tags=tags)
    assert deserialize_value(STORED, EventLogEntry) == event, (
        "Dagster wants a field that was optional: histories that lack it can't be read"
    )
    symbol_days = made(PLACEHOLDER, reason="present", tags=tags)
    storage.store_partition_events(symbol_days, ["2024-05-28|AAPL"])
    [row] = ours(storage)["event_logs"]
    assert row["event"] == STORED


def test_an_event_that_would_not_read_the_same_is_spelled_as_dagster_does(
    storage: BatchedEventLogStorage, one_by_one: OneByOne
) -> None:
    def with_a_nan(partition: str) -> EventLogEntry:
        found = dg.AssetMaterialization(PRICES, None, {"close": float("nan")}, partition)
        data = StepMaterializationData(found)
        return entry(event_of(DagsterEventType.ASSET_MATERIALIZATION, data))

    storage.store_partition_events(with_a_nan(PLACEHOLDER), KEYS)
    assert ours(storage) == one_by_one([with_a_nan(key) for key in KEYS])


def test_dagsters_own_storage_reads_what_is_stored(storage: BatchedEventLogStorage) -> None:
    storage.store_partition_events(made(PLACEHOLDER, tags=TAGS), KEYS)
    storage.store_partition_events(observed(PLACEHOLDER), KEYS)
    storage.store_partition_events(planned(PLACEHOLDER), KEYS)
    batch = [event for event in KINDS.values() if event.dagster_event]
    storage.store_event_batch(batch)
    stock = ConsolidatedSqliteEventLogStorage(storage._base_dir)
    assert list(stock.get_logs_for_run(OURS)) == [
        *(made(key, tags=TAGS) for key in KEYS),
        *(observed(key) for key in KEYS),
        *(planned(key) for key in KEYS),
        *batch,
    ]


def ask(path: Path, query: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as con:
        return con.execute(query).fetchall()


@pytest.fixture(scope="module")
def made_by_dagster(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A history that Dagster's own storage has made."""
    path = tmp_path_factory.mktemp("made_by_dagster")
    ConsolidatedSqliteEventLogStorage(str(path)).dispose()
    return path


def test_a_new_history_has_dagsters_tables_on_large_pages(
    prepared: Path, made_by_dagster: Path
) -> None:
    ours, theirs = prepared / EVENTS / "event_log.db", made_by_dagster / "event_log.db"
    for query in (
        "select type, name, sql from sqlite_master order by type, name",
        "select version_num from alembic_version",
        "select name from secondary_indexes order by name",
        "pragma journal_mode",
    ):
        assert ask(ours, query) == ask(theirs, query)
    assert ask(ours, "pragma page_size") == [(PAGE_BYTES,)]


def test_a_history_on_small_pages_is_read_and_added_to(
    tmp_path: Path, made_by_dagster: Path
) -> None:
    folder = shutil.copytree(made_by_dagster, tmp_path / "old")
    old = [made(key, THEIRS, tags=TAGS) for key in KEYS]
    stock = ConsolidatedSqliteEventLogStorage(str(folder))
    for event in old:
        stock.store_event(event)
    storage = BatchedEventLogStorage(str(folder))
    storage.store_partition_events(made(PLACEHOLDER, OURS, tags=TAGS), KEYS)
    storage.store_event_batch([planned("new"), made("new")])
    new = [*(made(key, OURS, tags=TAGS) for key in KEYS), planned("new"), made("new")]
    for reader in (storage, stock):
        assert list(reader.get_logs_for_run(THEIRS)) == old
        assert list(reader.get_logs_for_run(OURS)) == new
        assert reader.get_materialized_partitions(PRICES) == {*KEYS, "new"}
    assert ask(folder / "event_log.db", "pragma page_size") == [(4096,)]


def test_a_symbol_day_takes_less_than_1_8_kilobytes(storage: BatchedEventLogStorage) -> None:
    """As a load from the archive reports it; ``make bench`` measures a year of the index."""
    path = Path(storage.get_db_path())  # type: ignore[no-untyped-call]  # Dagster's own
    provenance = {
        "dagster/data_version": "prices-1",
        "dagster/code_version": "prices-1",
        "dagster/input_data_version/sp500_universe": "universe-1",
        "dagster/input_event_pointer/sp500_universe": "1234567",
    }
    found = dg.AssetMaterialization(
        PRICES,
        partition=PLACEHOLDER,
        metadata={"outcome": "present", "rows": 1, "source": "files:alphavantage"},
        tags=provenance,
    )
    event = event_of(DagsterEventType.ASSET_MATERIALIZATION, StepMaterializationData(found))
    keys = [f"2024-05-28|{number:05d}" for number in range(2 * ROWS_AT_ONCE)]
    before = path.stat().st_size
    storage.store_partition_events(entry(event), keys)
    assert (path.stat().st_size - before) / len(keys) < 1_800


# --- batches of events as they come --------------------------------------------------------------


BATCHES = {
    "ends with a planned one": [
        made("a", OURS, AT),
        made("b", OURS, AT + 1),
        planned("c", OURS, AT + 2),
    ],
    "ends with a materialization": [planned("a", OURS, AT), made("b", THEIRS, AT + 1)],
    "mixes both": [made("a", OURS, AT), planned("b", THEIRS, AT + 1), made("c", THIRD, AT + 2)],
    "mixes both, planned last": [
        planned("a", OURS, AT),
        made("b", THEIRS, AT + 1),
        planned("c", THIRD, AT + 2),
    ],
    "observes": [made("a", OURS, AT), observed("a", THEIRS, AT + 1), made("b", THIRD, AT + 2)],
    "two assets": [
        made("a", OURS, AT, tags=TAGS),
        made(None, THEIRS, AT + 1, asset=OTHER, tags=TAGS),
        planned("b", OURS, AT + 2),
        planned(None, THIRD, AT + 3, asset=OTHER),
    ],
}


@pytest.mark.parametrize("batch", BATCHES.values(), ids=BATCHES)
def test_a_batch_is_stored_as_dagster_stores_its_events_one_by_one(
    storage: BatchedEventLogStorage, one_by_one: OneByOne, batch: Sequence[EventLogEntry]
) -> None:
    storage.store_event_batch(batch)
    assert ours(storage) == one_by_one(batch)


def test_a_batch_that_ends_with_a_planned_event_notes_its_latest_materialization(
    storage: BatchedEventLogStorage,
) -> None:
    storage.store_event_batch([made("a"), made("b"), planned("c", THEIRS)])
    (record,) = storage.get_asset_records([PRICES])
    assert record.asset_entry.last_materialization_storage_id == 2
    assert record.asset_entry.last_materialization_record is not None
    assert record.asset_entry.last_materialization_record.partition_key == "b"
    assert record.asset_entry.last_planned_materialization_storage_id == 3
    assert record.asset_entry.last_planned_materialization_run_id == THEIRS


def test_an_asset_without_planned_events_has_no_latest_one(
    storage: BatchedEventLogStorage,
) -> None:
    storage.store_event_batch([made("a"), made("b"), planned(None, asset=OTHER)])
    found = {
        record.asset_entry.asset_key: (
            record.asset_entry.last_materialization_storage_id,
            record.asset_entry.last_planned_materialization_storage_id,
        )
        for record in storage.get_asset_records()
    }
    assert found == {PRICES: (2, None), OTHER: (None, 3)}


# --- a page that is drawn while a run stores -----------------------------------------------------


LETTERS = dg.StaticPartitionsDefinition(list("abc"))


def shown(instance: dg.DagsterInstance) -> dict[str, set[str]]:
    """The green and the red keys as a page that is opened now shows them."""
    status = get_and_update_asset_status_cache_value(instance, PRICES, LETTERS)
    assert status is not None
    return {
        "green": set(
            status.deserialize_materialized_partition_subsets(LETTERS).get_partition_keys()
        ),
        "red": set(status.deserialize_failed_partition_subsets(LETTERS).get_partition_keys()),
    }


def a_run(instance: dg.DagsterInstance) -> dg.DagsterRun:
    @dg.op
    def nothing() -> None: ...

    @dg.job
    def a_job() -> None:
        nothing()

    return instance.create_run_for_job(a_job)


def failed_run(instance: dg.DagsterInstance) -> str:
    run = a_run(instance)
    instance.report_run_failed(run)
    return run.run_id


def store(instance: dg.DagsterInstance, event: EventLogEntry, *keys: str) -> None:
    storage = instance.event_log_storage
    assert isinstance(storage, BatchedEventLogStorage)
    storage.store_partition_events(event, keys)


def test_a_run_that_ends_with_failed_keys_shows_its_good_ones(
    instance: dg.DagsterInstance,
) -> None:
    run_id = failed_run(instance)
    store(instance, made(PLACEHOLDER, run_id), "a")
    assert shown(instance) == {"green": {"a"}, "red": set()}
    store(instance, made(PLACEHOLDER, run_id), "b")
    store(instance, planned(PLACEHOLDER, run_id), "c")
    assert shown(instance) == {"green": {"a", "b"}, "red": {"c"}}


def test_what_is_stored_while_a_page_is_drawn_is_shown_by_the_next(
    instance: dg.DagsterInstance,
) -> None:
    run_id = failed_run(instance)
    store(instance, made(PLACEHOLDER, run_id), "a")
    assert shown(instance) == {"green": {"a"}, "red": set()}
    page = LoadingContextForTest(instance)
    # The page begins with the asset's record, a run stores meanwhile, and then the page is drawn.
    AssetRecord.blocking_get(page, PRICES)
    store(instance, made(PLACEHOLDER, run_id), "b")
    store(instance, planned(PLACEHOLDER, run_id), "c")
    get_and_update_asset_status_cache_value(instance, PRICES, LETTERS, loading_context=page)
    assert shown(instance) == {"green": {"a", "b"}, "red": {"c"}}


class Meanwhile(BatchedEventLogStorage):
    """A storage in which, once, something is stored between two reads of one look."""

    def __init__(self, base_dir: str) -> None:
        super().__init__(base_dir)
        self.first: list[EventLogEntry] = []

    def _fetch_asset_rows(self, asset_keys: Any = None, *args: Any, **how: Any) -> Any:
        found = super()._fetch_asset_rows(asset_keys, *args, **how)
        while self.first:
            self.store_event(self.first.pop(0))
        return found


def test_an_assets_record_is_of_one_moment(home: Path) -> None:
    storage = Meanwhile(str(home / EVENTS))
    storage.store_event_batch([made("a"), planned("b")])
    storage.first = [made("b", THEIRS), planned("c", THEIRS)]
    (record,) = storage.get_asset_records([PRICES])
    assert record.asset_entry.last_materialization_storage_id == 3
    assert record.asset_entry.last_planned_materialization_storage_id == 4


def test_two_pages_at_once_work_the_colours_out_one_after_the_other(
    instance: dg.DagsterInstance,
) -> None:
    store(instance, made(PLACEHOLDER, OURS), "a", "b")
    storage = instance.event_log_storage
    seen = [
        storage.get_asset_status_cache_values([(PRICES, LETTERS)], LoadingContextForTest(instance))
        for _ in range(2)
    ]
    assert all(isinstance(value, AssetStatusCacheValue) for (value,) in seen)
    assert seen[0] == seen[1]


def page(instance: dg.DagsterInstance, partitions: dg.PartitionsDefinition = LETTERS) -> set[str]:
    """The green keys that a page asks the storage for."""
    context = LoadingContextForTest(instance)
    [found] = instance.event_log_storage.get_asset_status_cache_values(
        [(PRICES, partitions)], context
    )
    assert found is not None
    return set(found.deserialize_materialized_partition_subsets(partitions).get_partition_keys())


def test_colours_that_were_worked_out_are_kept_until_something_happens(
    instance: dg.DagsterInstance,
) -> None:
    store(instance, made(PLACEHOLDER, OURS), "a", "b")
    assert page(instance) == {"a", "b"}
    [record] = instance.get_asset_records([PRICES])
    kept = record.asset_entry.cached_status
    assert kept is not None
    only_a = LETTERS.subset_with_partition_keys(["a"]).serialize()
    instance.update_asset_cached_status_data(
        PRICES, kept._replace(serialized_materialized_partition_subset=only_a)
    )
    assert page(instance) == {"a"}  # taken as it was kept
    store(instance, made(PLACEHOLDER, OURS), "c")
    assert page(instance) == {"a", "c"}  # what is new is added
    assert page(instance, dg.StaticPartitionsDefinition(list("abcd"))) == {"a", "b", "c"}


def test_colours_are_worked_out_again_while_a_run_is_under_way(
    instance: dg.DagsterInstance,
) -> None:
    run = a_run(instance)
    store(instance, planned(PLACEHOLDER, run.run_id), "a")
    assert page(instance) == set()
    instance.report_run_failed(run)
    context = LoadingContextForTest(instance)
    [found] = instance.event_log_storage.get_asset_status_cache_values([(PRICES, LETTERS)], context)
    assert found is not None
    assert set(found.deserialize_failed_partition_subsets(LETTERS).get_partition_keys()) == {"a"}


def test_a_run_that_waits_for_its_pool_rests_between_its_looks(
    storage: BatchedEventLogStorage,
) -> None:
    storage.set_concurrency_slots("prices", 1)
    assert storage.claim_concurrency_slot("prices", OURS, "step").is_claimed
    began = time.process_time(), time.monotonic()
    waiting = storage.claim_concurrency_slot("prices", THEIRS, "step")
    worked, waited = time.process_time() - began[0], time.monotonic() - began[1]
    assert not waiting.is_claimed
    assert waiting.sleep_interval == 0  # Dagster is to ask again at once: the rest was had here
    assert waited > worked
    storage.free_concurrency_slot_for_step(OURS, "step")
    assert storage.claim_concurrency_slot("prices", THEIRS, "step").is_claimed


def test_a_run_that_lines_up_as_the_place_is_given_back_gets_it(
    storage: BatchedEventLogStorage,
) -> None:
    storage.set_concurrency_slots("prices", 1)
    assert storage.claim_concurrency_slot("prices", OURS, "step").is_claimed
    # Dagster looks, then lines up; in between the other ends, and sees nobody to give it to.
    taken = storage.has_unassigned_slots("prices")
    storage.free_concurrency_slot_for_step(OURS, "step")
    storage.add_pending_step("prices", THEIRS, "step", should_assign=taken)
    assert storage.claim_concurrency_slot("prices", THEIRS, "step").is_claimed


def test_a_place_that_is_free_goes_to_who_has_waited_longest(
    storage: BatchedEventLogStorage,
) -> None:
    storage.set_concurrency_slots("prices", 1)
    storage.add_pending_step("prices", OURS, "step", should_assign=False)
    storage.add_pending_step("prices", THEIRS, "step", should_assign=False)
    assert not storage.claim_concurrency_slot("prices", THEIRS, "step").is_claimed
    assert storage.claim_concurrency_slot("prices", OURS, "step").is_claimed
    storage.free_concurrency_slot_for_step(OURS, "step")
    assert storage.claim_concurrency_slot("prices", THEIRS, "step").is_claimed


# --- which run a partition's page points to ------------------------------------------------------


def test_the_latest_planned_run_of_a_partition_is_its_own(
    storage: BatchedEventLogStorage,
) -> None:
    latest = storage.get_latest_planned_materialization_info
    assert latest(PRICES, "a") is None
    assert latest(PRICES) is None
    storage.store_event_batch(
        [
            planned(None, OURS),
            planned("a", OURS),
            made("b", THEIRS),
            planned("a", THIRD, asset=OTHER),
        ]
    )
    found = {key: latest(PRICES, key) for key in ("a", "b", "c")}
    assert {
        key: (info.storage_id, info.run_id) if info else None for key, info in found.items()
    } == {
        "a": (2, OURS),
        # A run over a range plans its keys in one event that names none of them.
        "b": (3, THEIRS),
        "c": None,
    }
    whole = latest(PRICES)
    assert whole is not None
    assert (whole.storage_id, whole.run_id) == (2, OURS)


def test_a_failure_that_was_mended_is_not_the_latest_of_its_partition(
    storage: BatchedEventLogStorage,
) -> None:
    storage.store_event_batch([planned("a", OURS), made("a", THEIRS)])
    mended = storage.get_latest_planned_materialization_info(PRICES, "a")
    assert mended is not None
    assert mended.run_id == THEIRS
    storage.store_event_batch([planned("a", THIRD)])
    again = storage.get_latest_planned_materialization_info(PRICES, "a")
    assert again is not None
    assert again.run_id == THIRD


# --- one folder, several processes ---------------------------------------------------------------


def open_folder(pipe: Connection, folder: Path) -> None:
    pipe.send("ready")
    pipe.recv()
    storage = BatchedSqliteStorage(str(folder))
    storage.event_log_storage.store_event(made("a"))
    pipe.send(
        (
            storage.run_storage.get_run_ids(),
            storage.schedule_storage.all_instigator_state(),
            storage.event_log_storage.get_materialized_partitions(PRICES),
        )
    )


def test_processes_that_meet_an_empty_folder_all_open_it(tmp_path: Path) -> None:
    pipes = []
    for _ in range(3):
        here, there = PROCESSES.Pipe()
        PROCESSES.Process(target=open_folder, args=(there, tmp_path / "new"), daemon=True).start()
        there.close()
        pipes.append(here)
    assert [pipe.recv() for pipe in pipes] == ["ready"] * 3
    for pipe in pipes:
        pipe.send("go")
    # A process that failed has closed its end, and reading that raises EOFError.
    assert [pipe.recv() for pipe in pipes] == [([], [], {"a"})] * 3


class Killed(BaseException):
    """Not an error that anything on the way would handle."""


def test_a_creation_that_is_cut_short_is_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dagster takes a file that is there for one that has its tables."""

    create_all = SqlEventLogStorageMetadata.create_all

    def make_the_file_alone(engine: sqlalchemy.Engine) -> None:
        if not str(engine.url).endswith("history/events/event_log.db"):
            create_all(engine)
            return
        with engine.connect() as connection:
            connection.execute(sqlalchemy.text("create table half (made text)"))
            connection.commit()
        raise Killed

    base = str(tmp_path / "dagster")
    with monkeypatch.context() as patch:
        patch.setattr(SqlEventLogStorageMetadata, "create_all", make_the_file_alone)
        with pytest.raises(Killed):
            BatchedSqliteStorage(base)
    storage = BatchedSqliteStorage(base)
    storage.event_log_storage.add_dynamic_partitions("symbols", ["AAPL"])
    assert storage.event_log_storage.get_dynamic_partitions("symbols") == ["AAPL"]
    assert storage.run_storage.get_run_ids() == []
    assert sorted(path.name for path in (tmp_path / "dagster").iterdir()) == [
        "creation.lock",
        "history",
        "schedules",
    ]


# --- what the storage relies on in Dagster -------------------------------------------------------


COLUMNS = {
    SqlEventLogStorageTable: [
        "id",
        "run_id",
        "event",
        "dagster_event_type",
        "timestamp",
        "step_key",
        "asset_key",
        "partition",
    ],
    AssetEventTagsTable: ["id", "event_id", "asset_key", "key", "value", "event_timestamp"],
    AssetKeyTable: [
        "id",
        "asset_key",
        "last_materialization",
        "last_run_id",
        "asset_details",
        "wipe_timestamp",
        "last_materialization_timestamp",
        "tags",
        "create_timestamp",
        "cached_status_data",
    ],
}


@pytest.mark.parametrize("table", COLUMNS, ids=lambda table: str(table.name))
def test_dagsters_tables_have_the_columns_that_are_written(table: Any) -> None:
    assert [column.name for column in table.columns] == COLUMNS[table], (
        f"Dagster's table {table.name} has changed: store_partition_events has to fill what is new"
    )


def test_dagsters_tables_of_backfills_have_the_columns_that_pruning_reads() -> None:
    assert {"key", "status", "timestamp", "body"} <= set(BulkActionsTable.c.keys())
    assert "backfill_id" in BackfillTagsTable.c


RELIED_UPON = [
    (ConsolidatedSqliteEventLogStorage, "__init__", "base_dir inst_data"),
    (ConsolidatedSqliteEventLogStorage, "_connect", ""),
    (ConsolidatedSqliteEventLogStorage, "_init_db", ""),
    (ConsolidatedSqliteEventLogStorage, "get_db_path", ""),
    (SqlEventLogStorage, "_event_to_row", "event"),
    (SqlEventLogStorage, "_tags_for_asset_event", "event"),
    (SqlEventLogStorage, "_store_asset_event", "conn event event_id"),
    (SqlEventLogStorage, "_store_asset_event_tags", "conn events event_ids"),
    (SqlEventLogStorage, "store_event", "event"),
    (SqlEventLogStorage, "get_asset_records", "asset_keys"),
    (SqlEventLogStorage, "get_records_for_run", "run_id cursor of_type limit ascending"),
    (SqlEventLogStorage, "get_latest_planned_materialization_info", "asset_key partition"),
    (EventLogStorage, "store_event_batch", "events"),
    (EventLogStorage, "get_asset_status_cache_values", "partitions_defs_by_key context"),
    (EventLogStorage, "free_concurrency_slots_for_run", "run_id"),
    (DagsterSqliteStorage, "__init__", "base_dir inst_data"),
    (SqliteRunStorage, "__init__", "conn_string inst_data"),
    (SqliteScheduleStorage, "__init__", "conn_string inst_data"),
    (SqlRunStorage, "connect", ""),
    (SqlRunStorage, "get_backfill", "backfill_id"),
]


@pytest.mark.parametrize(
    ("owner", "name", "parameters"),
    RELIED_UPON,
    ids=lambda value: getattr(value, "__name__", value),
)
def test_dagsters_methods_that_are_called_or_replaced_take_what_they_took(
    owner: type, name: str, parameters: str
) -> None:
    method = owner.__dict__.get(name)
    assert method is not None, f"{owner.__name__} has no {name} any more"
    found = list(inspect.signature(inspect.unwrap(method)).parameters)
    assert found == ["self", *parameters.split()], f"{owner.__name__}.{name} has changed"


@pytest.mark.parametrize(
    "name",
    [
        "supports_partition_subset_in_asset_materialization_planned_events",
        "asset_records_have_last_planned_and_failed_materializations",
    ],
)
def test_dagsters_own_storage_still_lacks_what_ours_claims(name: str) -> None:
    stock = getattr(EventLogStorage, name, None)
    assert isinstance(stock, property), f"Dagster does not ask for {name} any more"
    assert name not in vars(ConsolidatedSqliteEventLogStorage)
    assert name in vars(BatchedEventLogStorage)


def test_nothing_lies_between_the_batch_and_what_dagster_does_with_one_event() -> None:
    for name in ("store_event", "store_event_batch", "get_asset_records"):
        assert name not in vars(ConsolidatedSqliteEventLogStorage), (
            f"Dagster's consolidated storage has its own {name} now: the batch has to do as it does"
        )


def test_dagster_uses_the_storage_of_the_configuration_itself(home: Path) -> None:
    with open_instance(home) as instance:
        assert type(instance.event_log_storage) is BatchedEventLogStorage, (
            "Dagster wraps the storage, so its batch method may never be called"
        )
        assert instance.event_log_storage.has_instance
        assert instance.run_storage.has_instance
        with dg.DagsterInstance.from_ref(instance.get_ref()) as in_a_run:
            assert type(in_a_run.event_log_storage) is BatchedEventLogStorage
            folders = [
                Path(each.event_log_storage.get_db_path())  # type: ignore[attr-defined]
                for each in (instance, in_a_run)
            ]
    assert folders == [home / EVENTS / "event_log.db"] * 2


@pytest.mark.parametrize(
    "name", ["100%25", 'a b\'s "q"', "[ab]*{c}", "#é中😀\\$HOME;", "-x", "new\nline", "x" * 240]
)
def test_a_folder_of_any_name_keeps_its_history_to_itself(
    tmp_path: Path, prepared: Path, name: str
) -> None:
    home = Path(shutil.copytree(prepared, tmp_path / name))
    with open_instance(home) as instance:
        instance.add_dynamic_partitions("letters", ["a"])
        instance.event_log_storage.store_event_batch([])
        assert instance.get_runs_count() == 0
        assert instance.all_instigator_state() == []
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert ask(home / EVENTS / "event_log.db", "select partition from dynamic_partitions") == [
        ("a",)
    ]


def test_an_open_page_hears_of_events_in_a_folder_with_brackets(
    tmp_path: Path, prepared: Path
) -> None:
    home = Path(shutil.copytree(prepared, tmp_path / "[ab]"))
    heard = threading.Event()
    with open_instance(home) as instance, open_instance(home) as elsewhere:
        run = a_run(instance)
        instance.watch_event_logs(run.run_id, None, lambda _event, _cursor: heard.set())
        elsewhere.report_engine_event("begun", run)
        # SQLite writes beside its file until the last connection is closed.
        assert heard.wait(20)


def test_the_history_is_made_in_a_folder_of_any_name(tmp_path: Path) -> None:
    home = tmp_path / "100%25 [ab]"
    with open_instance(home) as instance:
        assert instance.get_runs_count() == 0
    assert [path.name for path in tmp_path.iterdir()] == [home.name]
    assert {"history", "schedules"} <= {path.name for path in (home / "dagster").iterdir()}


def test_a_path_too_long_for_sqlite_is_refused_and_left_alone(tmp_path: Path) -> None:
    home = tmp_path / ("x" * 240) / ("y" * 240)
    with pytest.raises(TooLongAPathError, match="Nothing was changed; use a data folder with a"):
        open_instance(home)
    assert list(tmp_path.iterdir()) == []


class Counting(BatchedEventLogStorage):
    """Counts the events of each batch."""

    sizes: ClassVar[list[int]] = []

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        self.sizes.append(len(events))
        super().store_event_batch(events)


class CountingStorage(BatchedSqliteStorage):
    def __init__(self, base_dir: str, inst_data: Any = None) -> None:
        super().__init__(base_dir, inst_data)
        self._event_log_storage = Counting(str(Path(base_dir) / "history" / "events"))


@pytest.fixture
def counted(home: Path) -> Iterator[dg.DagsterInstance]:
    config = instance_config(str(home))
    where = {"module": __name__, "class": CountingStorage.__name__}
    config["storage"] = {"custom": {**where, "config": {"base_dir": str(home / "dagster")}}}
    (home / "dagster.yaml").write_text(yaml.safe_dump(config), "utf-8")
    Counting.sizes.clear()
    with dg.DagsterInstance.from_config(str(home)) as instance:
        yield instance


RANGE = {"dagster/asset_partition_range_start": "a", "dagster/asset_partition_range_end": "c"}


def letters_job() -> dg.JobDefinition:
    policy = dg.BackfillPolicy.single_run()

    @dg.asset(name="daily_prices", partitions_def=LETTERS, backfill_policy=policy)
    def of_letters() -> None: ...

    return dg.Definitions(assets=[of_letters]).resolve_implicit_global_asset_job_def()


@pytest.mark.filterwarnings("ignore::dagster.BetaWarning")
def test_dagster_hands_the_events_of_an_assets_partitions_over_in_one_batch(
    counted: dg.DagsterInstance,
) -> None:
    assert letters_job().execute_in_process(instance=counted, tags=RANGE).success
    assert 3 in Counting.sizes, (
        "Dagster stores the materializations of a run one by one: see DAGSTER_EVENT_BATCH_SIZE"
    )
    assert counted.get_materialized_partitions(PRICES) == set("abc")


@pytest.mark.filterwarnings("ignore::dagster.BetaWarning")
def test_the_partitions_a_run_plans_are_one_event(instance: dg.DagsterInstance) -> None:
    run = instance.create_run_for_job(letters_job(), tags=RANGE)
    records = instance.event_log_storage.get_event_records(
        dg.EventRecordsFilter(DagsterEventType.ASSET_MATERIALIZATION_PLANNED, PRICES)
    )
    assert [(record.run_id, record.partition_key) for record in records] == [(run.run_id, None)], (
        "Dagster plans each partition of a run in an event of its own again"
    )
    event = records[0].event_log_entry.get_dagster_event()
    subset = event.asset_materialization_planned_data.partitions_subset
    assert subset is not None
    assert set(subset.get_partition_keys()) == set("abc")


def test_a_run_that_was_only_planned_turns_no_partition_red(instance: dg.DagsterInstance) -> None:
    store(instance, made(PLACEHOLDER, make_new_run_id()), "a")
    instance.event_log_storage.store_event(planned(None, failed_run(instance)))
    assert shown(instance) == {"green": {"a"}, "red": set()}
