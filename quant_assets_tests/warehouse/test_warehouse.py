"""The warehouse: upserts, transactions, schema versions, the writer lock and published copies.

Other processes are real ones, forked ready-made; each says over a pipe how far it is.
"""

from __future__ import annotations

import datetime as dt
import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import Event

import duckdb
import pyarrow as pa
import pytest

from quant_assets.read.opening import connect
from quant_assets.schema.catalog import SCHEMA, SCHEMA_VERSION, Schema
from quant_assets.schema.membership import UNIVERSES
from quant_assets.schema.prices import CORPORATE_ACTIONS, DAILY_PRICES
from quant_assets.schema.securities import SYMBOL_HISTORY
from quant_assets.warehouse.damage import copies_of
from quant_assets.warehouse.published_copy import open_published, publish
from quant_assets.warehouse.warehouse import STORAGE_VERSION, Warehouse
from quant_assets.warehouse.writer_lock import (
    SchemaVersionError,
    WarehouseBusyError,
    WarehouseMissingError,
)
from quant_assets.warehouse.writing import DuplicateKeyError, Upserted, Writing
from quant_assets_tests.conftest import NOW

RUN = "00000000-0000-0000-0000-000000000001"
NEXT_RUN = "00000000-0000-0000-0000-000000000002"
FIRST = NOW.replace(tzinfo=None)
"""``NOW`` as the warehouse keeps it: UTC, no zone."""
LATER = FIRST + dt.timedelta(days=1)

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(
    ["quant_assets.loading.load", "quant_assets.read.price_frames", __name__]
)


def day(text: str) -> dt.date:
    return dt.date.fromisoformat(text)


def prices(*rows: tuple[int, str, float]) -> pa.Table:
    """Rows of security, session and price; open, high, low and close are that one price."""
    securities, sessions, closes = zip(*rows, strict=True)
    days = pa.array([day(text) for text in sessions])
    bars = {name: pa.array(closes) for name in ("open", "high", "low", "close")}
    keys = {"security_id": pa.array(securities), "session": days, "basis_on": days}
    return pa.table(keys | bars)


@pytest.fixture
def warehouse(no_warehouse: Warehouse) -> Warehouse:
    """Its file is not there yet: how it is made is tested here."""
    return no_warehouse


BAR = {"source": "test", "volume": 1000, "currency": "USD", "provisional": False}


def action(security: int, ex_date: str, kind: str, ratio: float | None = None) -> pa.Table:
    row = {"security_id": security, "ex_date": day(ex_date), "kind": kind, "ratio": ratio}
    fields = [CORPORATE_ACTIONS.arrow_schema.field(name) for name in row]
    return pa.Table.from_pylist([row], schema=pa.schema(fields))


EVENT = {"source": "test", "currency": "USD", "basis_on": day("2024-06-03"), "kind_by": "rule"}


def universes(*names: str) -> pa.Table:
    return pa.table({"universe": list(names), "source": ["test"] * len(names)})


def add(warehouse: Warehouse, *names: str) -> None:
    with warehouse.writing(RUN) as writing:
        writing.upsert(UNIVERSES, universes(*names))


def named(con: duckdb.DuckDBPyConnection) -> list[str]:
    rows = con.execute("select universe from universes order by universe").fetchall()
    return [row[0] for row in rows]


def held(warehouse: Warehouse) -> list[str]:
    with warehouse.reading() as con:
        return named(con)


def rows_of(warehouse: Warehouse, query: str) -> list[tuple[object, ...]]:
    with warehouse.reading() as con:
        return con.execute(query).fetchall()


def later(warehouse: Warehouse) -> Warehouse:
    """The same warehouse a day on."""
    return Warehouse(warehouse.path, lock_wait_seconds=5, clock=lambda: NOW + dt.timedelta(days=1))


def impatient(warehouse: Warehouse, wait: float = 0.1) -> Warehouse:
    return Warehouse(warehouse.path, lock_wait_seconds=wait, clock=lambda: NOW)


@contextmanager
def other_process(
    work: Callable[..., None], *args: object
) -> Iterator[tuple[BaseProcess, Connection]]:
    """A process at ``work``, and the pipe to it; it is let go, and awaited, on leaving."""
    here, there = PROCESSES.Pipe()
    process = PROCESSES.Process(target=work, args=(there, *args))
    process.start()
    there.close()
    try:
        yield process, here
    finally:
        here.close()
        process.join(10)
        process.kill()
        process.join()


def hear(pipe: Connection, seconds: float = 30) -> object:
    assert pipe.poll(seconds), f"the other process said nothing for {seconds} s"
    return pipe.recv()


def stay_in_a_load(pipe: Connection, path: Path) -> None:
    with Warehouse(path).writing(RUN, "a long load") as writing:
        writing.upsert(UNIVERSES, universes("unfinished"))
        pipe.send("writing")
        pipe.poll(60)


def stay_connected(pipe: Connection, path: Path) -> None:
    with duckdb.connect(str(path)):
        pipe.send("connected")
        pipe.poll(60)


def try_to_connect(pipe: Connection, path: Path) -> None:
    try:
        duckdb.connect(str(path)).close()
    except duckdb.IOException:
        pipe.send("refused")
    else:
        pipe.send("let in")


def look_at_a_copy_twice(pipe: Connection, home: Path) -> None:
    with connect(home=home) as con:
        pipe.send(named(con))
        pipe.poll(60)
        pipe.send(named(con))


def read_and_fork(pipe: Connection, path: Path) -> None:
    held(Warehouse(path))
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    pipe.send(os.getpid())
    pipe.send(held(Warehouse(path)))
    os._exit(0)


def commit_and_die(pipe: Connection, path: Path) -> None:
    """Stop after the commit, before closing the file brings the commit into it."""
    con = duckdb.connect(str(path))
    con.execute(
        "insert into universes (universe, source, created_at, updated_at)"
        " values ('committed', 'test', now(), now())"
    )
    pipe.send("committed")
    os.kill(os.getpid(), signal.SIGKILL)


def publish_half(pipe: Connection, path: Path) -> None:
    def stop_halfway(source: Path, target: Path) -> None:
        content = source.read_bytes()
        target.write_bytes(content[: len(content) // 2])
        pipe.send("halfway")
        pipe.poll(60)

    shutil.copy2 = stop_halfway  # type: ignore[assignment]  # in a process that is about to die
    publish(Warehouse(path))


def whether_another_process_gets_in(path: Path) -> object:
    with other_process(try_to_connect, path) as (_, pipe):
        return hear(pipe)


# Upserts


def test_new_rows_are_inserted_with_their_run_and_times(warehouse: Warehouse) -> None:
    with warehouse.writing(RUN) as writing:
        done = writing.upsert(
            DAILY_PRICES, prices((1, "2024-05-30", 10.0), (2, "2024-05-30", 20.0)), constants=BAR
        )
    assert done == Upserted(2, 0, 0, {1: (1, 0, 0), 2: (1, 0, 0)})
    columns = "security_id, close, volume, currency, created_at, updated_at, fetched_at"
    assert rows_of(warehouse, f"select {columns} from daily_prices order by 1") == [
        (1, 10.0, 1000, "USD", FIRST, FIRST, FIRST),
        (2, 20.0, 1000, "USD", FIRST, FIRST, FIRST),
    ]
    assert rows_of(warehouse, "select distinct cast(run_id as varchar) from daily_prices") == [
        (RUN,)
    ]


def test_storing_the_same_values_again_changes_nothing_at_all(warehouse: Warehouse) -> None:
    rows = prices((1, "2024-05-30", 10.0), (1, "2024-05-31", 11.0))
    with warehouse.writing(RUN) as writing:
        writing.upsert(DAILY_PRICES, rows, constants=BAR)
    before = rows_of(warehouse, "from daily_prices order by session")
    with later(warehouse).writing(NEXT_RUN) as writing:
        fetched = BAR | {"fetched_at": LATER}
        done = writing.upsert(DAILY_PRICES, rows, constants=fetched)
    assert done == Upserted(0, 0, 2, {1: (0, 0, 2)})
    assert rows_of(warehouse, "from daily_prices order by session") == before
    assert rows_of(warehouse, "from daily_prices_revisions") == []


def test_a_changed_value_moves_the_old_row_to_the_revisions(warehouse: Warehouse) -> None:
    with warehouse.writing(RUN) as writing:
        old = prices((1, "2024-05-30", 10.0), (1, "2024-05-31", 11.0))
        writing.upsert(DAILY_PRICES, old, constants=BAR)
    with later(warehouse).writing(NEXT_RUN) as writing:
        new = prices((1, "2024-05-30", 10.5), (1, "2024-05-31", 11.0), (2, "2024-05-31", 7.0))
        classes = pa.table(
            {
                "security_id": pa.array([1], pa.int32()),
                "session": pa.array([day("2024-05-30")], pa.date32()),
                "difference": ["unexplained"],
            }
        )
        done = writing.upsert(DAILY_PRICES, new, constants=BAR, differences=classes)
    assert done == Upserted(1, 1, 1, {1: (0, 1, 1), 2: (1, 0, 0)})
    columns = "security_id, session, close, created_at, updated_at"
    assert rows_of(warehouse, f"select {columns} from daily_prices order by 1, 2") == [
        (1, day("2024-05-30"), 10.5, FIRST, LATER),
        (1, day("2024-05-31"), 11.0, FIRST, FIRST),
        (2, day("2024-05-31"), 7.0, LATER, LATER),
    ]
    extra = "difference, revised_at, cast(revised_by_run as varchar), cast(run_id as varchar)"
    assert rows_of(warehouse, f"select {columns}, {extra} from daily_prices_revisions") == [
        (1, day("2024-05-30"), 10.0, FIRST, FIRST, "unexplained", LATER, NEXT_RUN, RUN)
    ]


def test_a_row_seen_again_is_confirmed_without_a_revision(warehouse: Warehouse) -> None:
    row = prices((1, "2024-05-31", 11.0))
    with warehouse.writing(RUN) as writing:
        writing.upsert(DAILY_PRICES, row, constants=BAR | {"provisional": True})
    with later(warehouse).writing(NEXT_RUN) as writing:
        done = writing.upsert(DAILY_PRICES, row, constants=BAR | {"provisional": False})
    assert done == Upserted(0, 0, 1, {1: (0, 0, 1)})
    columns = "close, provisional, created_at, updated_at"
    assert rows_of(warehouse, f"select {columns} from daily_prices") == [
        (11.0, False, FIRST, LATER)
    ]
    assert rows_of(warehouse, "from daily_prices_revisions") == []


def test_a_value_that_becomes_null_or_stops_being_null_is_a_change(warehouse: Warehouse) -> None:
    for ratio in (2.0, None, None, 2.0):
        with warehouse.writing(RUN) as writing:
            writing.upsert(
                CORPORATE_ACTIONS, action(1, "2024-06-03", "split", ratio), constants=EVENT
            )
    ratios = "select ratio from corporate_actions"
    assert rows_of(warehouse, ratios) == [(2.0,)]
    assert rows_of(warehouse, f"{ratios}_revisions order by ratio nulls last") == [(2.0,), (None,)]


def test_a_table_without_revisions_replaces_its_rows(warehouse: Warehouse) -> None:
    def name(security: int) -> pa.Table:
        row = {"symbol": "META", "valid_from": day("2022-06-09"), "security_id": security}
        return pa.Table.from_pylist([row])

    with warehouse.writing(RUN) as writing:
        writing.upsert(SYMBOL_HISTORY, name(1), constants={"source": "test"})
        done = writing.upsert(SYMBOL_HISTORY, name(2), constants={"source": "test"})
    assert (done.inserted, done.revised, done.unchanged) == (0, 1, 0)
    assert rows_of(warehouse, "select symbol, security_id from symbol_history") == [("META", 2)]


def test_no_rows_are_no_work(warehouse: Warehouse) -> None:
    with warehouse.writing(RUN) as writing:
        assert writing.upsert(UNIVERSES, universes()) == Upserted()


def test_two_rows_for_one_key_are_refused_and_none_is_written(warehouse: Warehouse) -> None:
    twice = prices((1, "2024-05-30", 10.0), (2, "2024-05-30", 1.0), (1, "2024-05-30", 10.0))

    def write(writing: Writing) -> None:
        writing.upsert(DAILY_PRICES, prices((3, "2024-05-30", 3.0)), constants=BAR)
        writing.upsert(DAILY_PRICES, twice, constants=BAR)

    with pytest.raises(DuplicateKeyError) as caught, warehouse.writing(RUN) as writing:
        write(writing)
    assert str(caught.value) == (
        "Two rows for one key of daily_prices: "
        "{'security_id': 1, 'session': datetime.date(2024, 5, 30)}."
    )
    assert rows_of(warehouse, "from daily_prices") == []


def test_a_refused_batch_leaves_the_rest_of_its_transaction_usable(warehouse: Warehouse) -> None:
    with warehouse.writing(RUN) as writing:
        with pytest.raises(DuplicateKeyError):
            writing.upsert(UNIVERSES, universes("twice", "twice"))
        writing.upsert(UNIVERSES, universes("once"))
    assert held(warehouse) == ["once"]


def test_an_action_that_changes_its_kind_is_reclassified(warehouse: Warehouse) -> None:
    whole = {"constants": EVENT, "supersede": ("security_id", "ex_date", "source")}
    with warehouse.writing(RUN) as writing:
        writing.upsert(CORPORATE_ACTIONS, action(1, "2024-06-03", "split", 1.1), **whole)
        writing.upsert(CORPORATE_ACTIONS, action(1, "2024-06-04", "split", 2.0), **whole)
        writing.upsert(CORPORATE_ACTIONS, action(2, "2024-06-03", "split", 3.0), **whole)
    with later(warehouse).writing(NEXT_RUN) as writing:
        writing.upsert(CORPORATE_ACTIONS, action(1, "2024-06-03", "spin_off"), **whole)
    columns = "select security_id, ex_date, kind, ratio"
    assert rows_of(warehouse, f"{columns} from corporate_actions order by 1, 2") == [
        (1, day("2024-06-03"), "spin_off", None),
        (1, day("2024-06-04"), "split", 2.0),
        (2, day("2024-06-03"), "split", 3.0),
    ]
    assert rows_of(warehouse, f"{columns}, difference from corporate_actions_revisions") == [
        (1, day("2024-06-03"), "split", 1.1, "reclassified")
    ]


# Transactions


def test_an_exception_inside_a_transaction_undoes_all_of_it(warehouse: Warehouse) -> None:
    add(warehouse, "before")

    def fail_halfway(writing: Writing) -> None:
        writing.upsert(UNIVERSES, universes("lost"))
        writing.upsert(DAILY_PRICES, prices((1, "2024-05-30", 10.0)), constants=BAR)
        raise RuntimeError("halfway")

    with pytest.raises(RuntimeError, match="halfway"), warehouse.writing(RUN) as writing:
        fail_halfway(writing)
    assert held(warehouse) == ["before"]
    assert rows_of(warehouse, "from daily_prices") == []
    add(impatient(warehouse, wait=0), "after")
    assert held(warehouse) == ["after", "before"]


def test_a_reader_can_not_write(warehouse: Warehouse) -> None:
    add(warehouse, "kept")
    with warehouse.reading() as con, pytest.raises(duckdb.InvalidInputException, match="read-only"):
        con.execute("delete from universes")
    assert held(warehouse) == ["kept"]


# Schema versions


def test_reading_a_missing_warehouse_says_how_to_make_one(tmp_path: Path) -> None:
    missing = Warehouse(tmp_path / "nothing" / "warehouse.duckdb")
    with pytest.raises(WarehouseMissingError) as caught, missing.reading():
        pass
    assert str(caught.value) == (
        f"There is no warehouse at {missing.path}. Make one with quant-assets demo or "
        "quant-assets backfill, or set QUANT_ASSETS_HOME to the folder that holds it."
    )
    assert list(tmp_path.iterdir()) == []


def test_a_newer_schema_is_refused_and_left_untouched(warehouse: Warehouse) -> None:
    newer = SCHEMA_VERSION + 1
    add(Warehouse(warehouse.path, schema=Schema(newer, SCHEMA.tables)), "of tomorrow")
    before = warehouse.path.read_bytes()
    for use in (warehouse.reading(), warehouse.writing(RUN)):
        with pytest.raises(SchemaVersionError) as caught, use:
            pass
        assert str(caught.value) == (
            f"The warehouse at {warehouse.path} has schema version {newer}, this quant_assets "
            f"knows {SCHEMA_VERSION}. Use the newer quant_assets that made it; nothing was changed."
        )
        assert warehouse.path.read_bytes() == before


def test_an_older_schema_is_migrated_by_a_writer_and_not_by_a_reader(warehouse: Warehouse) -> None:
    older = Schema(0, tuple(table for table in SCHEMA.tables if table is not DAILY_PRICES))
    with duckdb.connect(str(warehouse.path)) as con:
        for table in older.with_revisions:
            con.execute(table.ddl)
        con.execute(
            "insert into universes (universe, source, created_at, updated_at)"
            " values ('kept', 'test', now(), now())"
        )
    before = warehouse.path.read_bytes()
    with pytest.raises(SchemaVersionError, match="any other load migrates it"), warehouse.reading():
        pass
    assert warehouse.path.read_bytes() == before
    add(warehouse, "new")
    assert held(warehouse) == ["kept", "new"]
    assert rows_of(warehouse, "from daily_prices") == []
    assert rows_of(warehouse, "from schema_version") == [(SCHEMA_VERSION, FIRST)]


def test_an_empty_file_becomes_a_warehouse_when_written_to(warehouse: Warehouse) -> None:
    duckdb.connect(str(warehouse.path)).close()
    add(warehouse, "first")
    assert held(warehouse) == ["first"]


def test_files_are_written_for_the_oldest_duckdb_that_reads_them(warehouse: Warehouse) -> None:
    add(warehouse, "first")
    with duckdb.connect(str(warehouse.path), read_only=True) as con:
        stored = con.execute(
            "select tags['storage_version'] from duckdb_databases() where not internal"
        ).fetchall()
        assert named(con) == ["first"]
    assert STORAGE_VERSION == "v1.5.0"
    assert stored == [("v1.5.0+",)]


def test_a_creation_that_was_killed_leaves_nothing_in_the_way(warehouse: Warehouse) -> None:
    warehouse.path.with_suffix(".new").write_bytes(b"half a file")
    warehouse.path.with_suffix(".new.wal").write_bytes(b"half a log")
    add(warehouse, "first")
    assert held(warehouse) == ["first"]


# The ledger


def outcomes(*rows: tuple[int, str, str]) -> pa.Table:
    columns = ("security_id", "session", "outcome")
    whole = [dict(zip(columns, row, strict=True)) | {"reason": "no trade"} for row in rows]
    return pa.Table.from_pylist([row | {"session": day(str(row["session"]))} for row in whole])


LEDGER_ROWS = "select security_id, session, source, outcome from symbol_day_ledger order by 1, 2"


def test_days_that_are_present_stay_out_of_the_ledger(warehouse: Warehouse) -> None:
    asked = outcomes((1, "2024-05-30", "failed"), (1, "2024-05-31", "empty"))
    with warehouse.writing(RUN) as writing:
        writing.upsert(DAILY_PRICES, prices((1, "2024-05-30", 10.0)), constants=BAR)
        done = writing.record_outcomes(DAILY_PRICES, "test", asked)
        writing.record_outcomes(DAILY_PRICES, "another", asked.slice(0, 1))
    assert done.inserted == 1
    assert rows_of(warehouse, LEDGER_ROWS) == [
        (1, day("2024-05-30"), "another", "failed"),
        (1, day("2024-05-31"), "test", "empty"),
    ]


def test_days_that_became_present_leave_the_ledger(warehouse: Warehouse) -> None:
    asked = outcomes(
        (1, "2024-05-30", "failed"), (1, "2024-05-31", "empty"), (2, "2024-05-30", "failed")
    )
    arrived = prices((1, "2024-05-30", 10.0), (2, "2024-05-30", 20.0))
    with warehouse.writing(RUN) as writing:
        writing.record_outcomes(DAILY_PRICES, "test", asked)
        writing.record_outcomes(DAILY_PRICES, "another", asked)
        writing.upsert(DAILY_PRICES, arrived, constants=BAR)
        writing.clear_outcomes(DAILY_PRICES, "test", [1])
    of_test = [row for row in rows_of(warehouse, LEDGER_ROWS) if row[2] == "test"]
    assert of_test == [
        (1, day("2024-05-31"), "test", "empty"),
        (2, day("2024-05-30"), "test", "failed"),
    ]
    assert len(rows_of(warehouse, LEDGER_ROWS)) == 5


def test_what_is_found_out_later_replaces_what_the_ledger_said(warehouse: Warehouse) -> None:
    with warehouse.writing(RUN) as writing:
        writing.record_outcomes(DAILY_PRICES, "test", outcomes((1, "2024-05-30", "failed")))
        writing.record_outcomes(DAILY_PRICES, "test", outcomes((1, "2024-05-30", "empty")))
    assert rows_of(warehouse, LEDGER_ROWS) == [(1, day("2024-05-30"), "test", "empty")]


# Threads and connections of one process


def test_threads_read_and_write_at_once_and_see_whole_transactions(warehouse: Warehouse) -> None:
    add(warehouse, "pair 0 a", "pair 0 b")
    written = Event()

    def write() -> None:
        try:
            for number in range(1, 5):
                add(warehouse, f"pair {number} a", f"pair {number} b")
        finally:
            written.set()

    def read() -> list[int]:
        seen = [len(held(warehouse))]
        while not written.is_set():
            seen.append(len(held(warehouse)))
        return seen

    with ThreadPoolExecutor(3) as threads:
        readers = [threads.submit(read), threads.submit(read)]
        threads.submit(write).result()
        for seen in (reader.result() for reader in readers):
            assert seen == sorted(seen)
            assert all(count % 2 == 0 for count in seen)
    assert len(held(warehouse)) == 10


def test_two_threads_writing_lose_nothing(warehouse: Warehouse) -> None:
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda number: add(warehouse, f"universe {number}"), range(5)))
    assert held(warehouse) == [f"universe {number}" for number in range(5)]


def test_reading_beside_a_reader_of_this_process_keeps_its_lock(warehouse: Warehouse) -> None:
    add(warehouse, "first")
    with duckdb.connect(str(warehouse.path), read_only=True) as con:
        assert held(warehouse) == ["first"]
        assert whether_another_process_gets_in(warehouse.path) == "refused"
        assert named(con) == ["first"]


def test_reading_beside_a_writer_of_this_process_says_so_and_keeps_its_lock(
    warehouse: Warehouse,
) -> None:
    add(warehouse, "first")
    with duckdb.connect(str(warehouse.path)):
        with pytest.raises(WarehouseBusyError, match=rf"\b{os.getpid()}\b"):
            held(impatient(warehouse))
        assert whether_another_process_gets_in(warehouse.path) == "refused"


def test_publishing_beside_a_writer_of_this_process_keeps_its_lock(warehouse: Warehouse) -> None:
    add(warehouse, "first")
    with duckdb.connect(str(warehouse.path)):
        with suppress(WarehouseBusyError):
            publish(impatient(warehouse))
        assert whether_another_process_gets_in(warehouse.path) == "refused"


def test_a_path_spelt_differently_is_still_the_same_file(warehouse: Warehouse) -> None:
    add(warehouse, "first")
    (warehouse.path.parent / "sub").mkdir()
    respelt = Warehouse(
        warehouse.path.parent / "sub" / ".." / warehouse.path.name, lock_wait_seconds=0.1
    )
    with warehouse.reading():
        with suppress(WarehouseBusyError), respelt.reading():
            pass
        assert whether_another_process_gets_in(warehouse.path) == "refused"


def test_a_forked_process_reads_on_its_own(warehouse: Warehouse) -> None:
    add(warehouse, "first")
    with other_process(read_and_fork, warehouse.path) as (_, pipe):
        forked = hear(pipe)
        assert isinstance(forked, int)
        try:
            assert hear(pipe, seconds=3) == ["first"]
        finally:
            with suppress(ProcessLookupError):
                os.kill(forked, signal.SIGKILL)


# The lock, across processes


def test_a_writer_that_waits_in_vain_is_told_who_writes(warehouse: Warehouse) -> None:
    add(warehouse, "first")
    with other_process(stay_in_a_load, warehouse.path) as (process, pipe):
        assert hear(pipe) == "writing"
        with pytest.raises(WarehouseBusyError) as caught:
            add(impatient(warehouse), "from the loser")
        assert f"process {process.pid} on " in caught.value.holder
        assert "a long load" in caught.value.holder
        assert "Nothing was written." in str(caught.value)
    assert process.exitcode == 0
    assert held(warehouse) == ["first", "unfinished"]


def test_a_reader_that_waits_in_vain_is_told_who_writes(warehouse: Warehouse) -> None:
    add(warehouse, "first")
    with other_process(stay_in_a_load, warehouse.path) as (process, pipe):
        assert hear(pipe) == "writing"
        with pytest.raises(WarehouseBusyError, match=rf"process {process.pid}\b"):
            held(impatient(warehouse))


def test_whoever_keeps_the_file_open_with_plain_duckdb_is_named(warehouse: Warehouse) -> None:
    add(warehouse, "first")
    with other_process(stay_connected, warehouse.path) as (process, pipe):
        assert hear(pipe) == "connected"
        with pytest.raises(WarehouseBusyError, match=rf"process {process.pid} \(python"):
            add(impatient(warehouse), "from the loser")
        with pytest.raises(WarehouseBusyError, match=rf"process {process.pid} \(python"):
            held(impatient(warehouse))
    assert held(warehouse) == ["first"]


def test_the_lock_of_a_killed_process_is_taken_over_at_once(warehouse: Warehouse) -> None:
    add(warehouse, "first")
    with other_process(stay_in_a_load, warehouse.path) as (process, pipe):
        assert hear(pipe) == "writing"
        process.kill()
        process.join()
        add(impatient(warehouse, wait=0), "second")
    assert held(warehouse) == ["first", "second"]


# Published copies


def test_a_copy_is_published_only_where_something_changed(warehouse: Warehouse) -> None:
    add(warehouse, "first")
    copy = publish(warehouse)
    assert copy == warehouse.path.parent / "published" / "warehouse-00000001.duckdb"
    assert publish(warehouse) is None
    with warehouse.reading():
        pass
    assert publish(warehouse) is None
    add(warehouse, "second")
    newer = publish(warehouse)
    assert newer == copies_of(warehouse.path)[-1]
    assert newer == copy.with_name("warehouse-00000002.duckdb")
    with open_published(warehouse.path.parent) as con:
        assert named(con) == ["first", "second"]


def test_nothing_to_publish_and_nothing_published_are_said(warehouse: Warehouse) -> None:
    with pytest.raises(WarehouseMissingError):
        publish(warehouse)
    with pytest.raises(WarehouseMissingError):
        connect(home=warehouse.path.parent)


def test_an_open_copy_neither_changes_nor_delays_a_load(warehouse: Warehouse) -> None:
    home = warehouse.path.parent
    add(warehouse, "first")
    publish(warehouse)
    unwaiting = impatient(warehouse, wait=0)
    with connect(home=home) as con, other_process(look_at_a_copy_twice, home) as (_, pipe):
        assert hear(pipe) == ["first"]
        for name in ("second", "third", "fourth"):
            add(unwaiting, name)
            assert publish(unwaiting) is not None
        with connect(home=home) as fresh:
            assert named(fresh) == ["first", "fourth", "second", "third"]
        assert named(con) == ["first"]
        pipe.send("look again")
        assert hear(pipe) == ["first"]


def test_copies_are_whole_whenever_they_are_opened(warehouse: Warehouse) -> None:
    home = warehouse.path.parent
    add(warehouse, "pair 0 a", "pair 0 b")
    publish(warehouse)
    published = Event()

    def look() -> list[int]:
        seen = []
        while not published.is_set() or not seen:
            with ExitStack() as stack:
                seen.append(len(named(stack.enter_context(connect(home=home)))))
        return seen

    with ThreadPoolExecutor(1) as threads:
        looking = threads.submit(look)
        try:
            for number in range(1, 5):
                add(warehouse, f"pair {number} a", f"pair {number} b")
                publish(warehouse)
        finally:
            published.set()
        seen = looking.result()
    assert seen == sorted(seen)
    assert all(count % 2 == 0 for count in seen)


def test_a_copy_that_was_killed_halfway_is_never_seen(warehouse: Warehouse) -> None:
    add(warehouse, "first")
    first = publish(warehouse)
    add(warehouse, "second")
    with other_process(publish_half, warehouse.path) as (process, pipe):
        assert hear(pipe) == "halfway"
        assert copies_of(warehouse.path)[-1] == first
        process.kill()
        process.join()
    assert copies_of(warehouse.path)[-1] == first
    publish(impatient(warehouse, wait=0))
    with connect(home=warehouse.path.parent) as con:
        assert named(con) == ["first", "second"]


def test_what_a_killed_process_had_committed_is_published(warehouse: Warehouse) -> None:
    add(warehouse, "first")
    publish(warehouse)
    with other_process(commit_and_die, warehouse.path) as (process, pipe):
        assert hear(pipe) == "committed"
        process.join()
    assert held(warehouse) == ["committed", "first"]
    publish(warehouse)
    with connect(home=warehouse.path.parent) as con:
        assert named(con) == ["committed", "first"]


def test_an_older_warehouse_put_back_in_place_is_published(warehouse: Warehouse) -> None:
    add(warehouse, "first")
    kept = Path(shutil.copy2(warehouse.path, warehouse.path.with_suffix(".kept")))
    add(warehouse, "mistake")
    publish(warehouse)
    kept.replace(warehouse.path)
    publish(warehouse)
    with connect(home=warehouse.path.parent) as con:
        assert named(con) == ["first"]
