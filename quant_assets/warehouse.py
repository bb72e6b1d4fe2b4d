"""The one place that opens the DuckDB warehouse: connections, transactions, upserts, the lock.

A writer of one process keeps every other process out, and an idle reader keeps the writer out, so
connections here are opened late and closed at once: ``writing`` is one short transaction under the
writer lock, ``reading`` one read-only look. No source is called in here, and nothing of Dagster.
"""

from __future__ import annotations

import datetime as dt
import itertools
import json
import os
import re
import socket
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import duckdb
import filelock
import numpy as np
import pyarrow as pa

from quant_assets.tables import LEDGER, SCHEMA, Schema, Table

STORAGE_VERSION = "v1.5.0"
"""Files are written so that DuckDB 1.5 can read them, whichever version writes."""

Clock = Callable[[], dt.datetime]
T = TypeVar("T")


def utc_now() -> dt.datetime:
    """The time as an aware UTC datetime; the default clock."""
    return dt.datetime.now(dt.UTC)


class WarehouseError(Exception):
    """Something about the warehouse that its user can act on."""


class WarehouseMissingError(WarehouseError):
    def __init__(self, path: Path) -> None:
        super().__init__(
            f"There is no warehouse at {path}. Make one with quant-assets demo or "
            "quant-assets backfill, or set QUANT_ASSETS_HOME to the folder that holds it."
        )


class SchemaVersionError(WarehouseError):
    def __init__(self, path: Path, found: int, known: int) -> None:
        if found > known:
            advice = "Use the newer quant_assets that made it; nothing was changed."
        else:
            advice = "Any load migrates it; readers never do."
        super().__init__(
            f"The warehouse at {path} has schema version {found}, this quant_assets knows "
            f"{known}. {advice}"
        )


class WarehouseBusyError(WarehouseError):
    """Another process kept the warehouse for longer than we were told to wait."""

    def __init__(self, path: Path, waited: float, holder: str) -> None:
        super().__init__(
            f"The warehouse at {path} has been in use for {waited:.0f} s by {holder}. Nothing was "
            "written. Wait for that process or end it, then run this again; "
            "QUANT_ASSETS_LOCK_WAIT_SECONDS sets how long to wait."
        )
        self.holder = holder


class DuplicateKeyError(ValueError):
    """Rows handed to an upsert that name one key twice."""

    def __init__(self, table: Table, key: Mapping[str, object]) -> None:
        super().__init__(f"Two rows for one key of {table.name}: {dict(key)}.")


@dataclass(frozen=True)
class Upserted:
    """What an upsert did, in rows; ``by_security`` splits it by the table's security_id."""

    inserted: int = 0
    revised: int = 0
    unchanged: int = 0
    by_security: Mapping[int, tuple[int, int, int]] = field(default_factory=dict)


class WriterLock:
    """One writer at a time, across processes and threads.

    The operating system drops the lock of a process that dies, so the next one simply takes it
    over. A note beside the lock says who holds it, for the error message of whoever waits in vain.
    """

    def __init__(self, path: Path, clock: Clock = utc_now) -> None:
        self._lock = filelock.FileLock(path, thread_local=False)
        self._note = path.with_suffix(".holder.json")
        self._clock = clock

    @contextmanager
    def held(self, wait_seconds: float, purpose: str) -> Iterator[None]:
        try:
            self._lock.acquire(timeout=wait_seconds)
        except filelock.Timeout as timeout:
            path = Path(self._lock.lock_file).with_suffix(".duckdb")
            raise WarehouseBusyError(path, wait_seconds, self.holder()) from timeout
        try:
            self._note.write_text(
                json.dumps(
                    {
                        "pid": os.getpid(),
                        "host": socket.gethostname(),
                        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:4]]),
                        "purpose": purpose,
                        "since": self._clock().isoformat(timespec="seconds"),
                    }
                )
            )
            yield
        finally:
            self._note.unlink(missing_ok=True)
            self._lock.release()

    def holder(self) -> str:
        """Who holds the lock, in words."""
        try:
            note = json.loads(self._note.read_text())
        except (OSError, ValueError):
            return "a process that left no note"
        return (
            f"process {note['pid']} on {note['host']} ({note['command']}; {note['purpose']}, "
            f"since {note['since']})"
        )


@dataclass
class Writing:
    """One open write transaction; made by ``Warehouse.writing`` only."""

    con: duckdb.DuckDBPyConnection
    run_id: str
    now: dt.datetime

    def upsert(
        self,
        table: Table,
        rows: pa.Table,
        *,
        constants: Mapping[str, object] | None = None,
        difference: str = "restatement",
        supersede: Sequence[str] = (),
    ) -> Upserted:
        """Insert new rows, replace those whose values differ, leave the rest alone.

        ``rows`` holds the key and value columns of ``table``, ``constants`` those that are the same
        in every row, and there is at most one row a key; a column in neither is null, and run and
        times are filled in here. A replaced row of a ``revised`` table moves to its revisions with
        the class of the difference. With ``supersede``, rows that agree with an incoming one on
        these columns but have another key are replaced too. Raises DuplicateKeyError.
        """
        if rows.num_rows == 0:
            return Upserted()
        self.con.register("arrow_rows", rows.combine_chunks())
        try:
            self._stage(table, set(rows.column_names), dict(constants or {}))
            self._check_keys(
                table, rows, [key for key in table.key if key not in (constants or {})]
            )
            if not self._meets(table, supersede or table.key):
                self.con.execute(f"insert into {table.name} by name select * from incoming")
                return self._count(table, "incoming", "'inserted'")
            self._compare(table)
        finally:
            self.con.execute("drop view if exists incoming")
            self.con.unregister("arrow_rows")
        if supersede:
            self._retire(
                table,
                f"semi join staged s on {_equal('t', 's', supersede)} "
                f"where not exists (from staged k where {_equal('t', 'k', table.key)})",
                "reclassified",
            )
        self._retire(
            table,
            f"semi join staged s on {_equal('t', 's', table.key)} and s.status = 'revised'",
            difference,
        )
        self.con.execute(
            f"insert into {table.name} by name "
            "select * exclude (status) from staged where status <> 'unchanged'"
        )
        return self._count(table, "staged", "status")

    def _stage(self, table: Table, given: set[str], constants: dict[str, object]) -> None:
        """Make the view ``incoming``: the rows with every column of the table, typed."""
        times = ("created_at", "updated_at", "fetched_at", "asked_at", "detected_at")
        fills: dict[str, object] = dict.fromkeys(times, self.now) | {"run_id": self.run_id}
        fills |= constants
        parts = []
        for column in table.columns:
            value = f"i.{column.name}" if column.name in given else _literal(fills.get(column.name))
            parts.append(f"cast({value} as {column.sql}) as {column.name}")
        self.con.execute(
            f"create or replace temp view incoming as select {', '.join(parts)} from arrow_rows i"
        )

    def _check_keys(self, table: Table, rows: pa.Table, varying: Sequence[str]) -> None:
        if _rising(rows, varying):
            return
        keys = ", ".join(varying)
        twice = self.con.execute(
            f"select {keys} from incoming group by all having count(*) > 1 limit 1"
        ).fetchone()
        if twice:
            raise DuplicateKeyError(table, dict(zip(varying, twice, strict=True)))

    def _meets(self, table: Table, columns: Sequence[str]) -> bool:
        """Whether the table holds any row that agrees with an incoming one on ``columns``."""
        row = self.con.execute(
            f"select exists (from incoming i semi join {table.name} t "
            f"on {_equal('i', 't', columns)})"
        ).fetchone()
        return bool(row and row[0])

    def _compare(self, table: Table) -> None:
        """Make the temporary table ``staged``: incoming rows, each with what is to become of it."""
        changed = " or ".join(f"i.{name} is distinct from t.{name}" for name in table.values)
        self.con.execute(
            "create or replace temp table staged as "
            "select i.* replace (coalesce(t.created_at, i.created_at) as created_at), "
            f"case when t.{table.key[0]} is null then 'inserted' "
            f"when {changed or 'false'} then 'revised' else 'unchanged' end as status "
            f"from incoming i left join {table.name} t on {_equal('i', 't', table.key)}"
        )

    def _retire(self, table: Table, which: str, difference: str) -> None:
        """Delete the rows ``t`` of ``table`` that ``which`` selects, keeping them as revisions."""
        self.con.execute(
            f"create or replace temp table retired as select t.* from {table.name} t {which}"
        )
        if not self.con.execute("select exists (from retired)").fetchone()[0]:  # type: ignore[index]
            return
        if table.revised:
            self.con.execute(
                f"insert into {table.revisions.name} by name select *, cast(? as timestamp) as "
                "revised_at, cast(? as uuid) as revised_by_run, ? as difference from retired",
                [self.now, self.run_id, difference],
            )
        self.con.execute(
            f"delete from {table.name} t using retired r where {_equal('t', 'r', table.key)}"
        )

    def _count(self, table: Table, rows: str, status: str) -> Upserted:
        by = "security_id" if "security_id" in table.names else "null"
        counts = self.con.execute(
            f"select {by}, count(*) filter ({status} = 'inserted'), "
            f"count(*) filter ({status} = 'revised'), count(*) filter ({status} = 'unchanged') "
            f"from {rows} group by 1"
        ).fetchall()
        return Upserted(
            sum(row[1] for row in counts),
            sum(row[2] for row in counts),
            sum(row[3] for row in counts),
            {row[0]: (row[1], row[2], row[3]) for row in counts if row[0] is not None},
        )

    def record_outcomes(self, dataset: Table, source: str, outcomes: pa.Table) -> Upserted:
        """Note in the ledger what became of symbol-days that are not simply present.

        ``outcomes`` has security_id, session, outcome and reason. A symbol-day of ``source`` that
        is present stays out of the ledger.
        """
        if outcomes.num_rows == 0:
            return Upserted()
        self.con.register("asked", outcomes)
        try:
            absent = self.con.execute(
                f"select a.* from asked a anti join {dataset.name} p "
                f"on {_equal('p', 'a', ('security_id', 'session'))} and p.source = ?",
                [source],
            ).to_arrow_table()
        finally:
            self.con.unregister("asked")
        constants = {"dataset": dataset.name, "source": source}
        return self.upsert(LEDGER, absent, constants=constants)

    def clear_outcomes(self, dataset: Table, source: str, securities: Sequence[int]) -> None:
        """Take symbol-days of ``source`` that have become present out of the ledger."""
        self.con.execute(
            f"delete from {LEDGER.name} l using {dataset.name} p "
            f"where l.dataset = ? and l.source = ? and list_contains(?, l.security_id) "
            f"and {_equal('l', 'p', ('security_id', 'session', 'source'))}",
            [dataset.name, source, list(securities)],
        )


def _rising(rows: pa.Table, keys: Sequence[str]) -> bool:
    """Whether rows are keyed by two whole numbers or dates that only ever rise: then none repeats.

    Prices arrive so, and one look costs a tenth of grouping a million rows.
    """
    if len(keys) != 2 or any(not _countable(rows[key].type) for key in keys):
        return False
    first, second = (
        rows[key].cast(pa.int32()).fill_null(0).to_numpy().astype(np.int64) for key in keys
    )
    return bool((np.diff((first << 32) + second) > 0).all())


def _countable(kind: pa.DataType) -> bool:
    return bool(pa.types.is_int32(kind) or pa.types.is_date32(kind))


def _literal(value: object) -> str:
    """A value of our own as SQL: a view can't bind parameters."""
    if value is None:
        return "null"
    if isinstance(value, bool | int | float):
        return str(value)
    return "'" + str(value).replace("'", "''") + "'"


def _equal(left: str, right: str, columns: Sequence[str]) -> str:
    return " and ".join(f"{left}.{name} = {right}.{name}" for name in columns)


class Warehouse:
    """The warehouse of one data folder.

    Nothing is opened until ``writing`` or ``reading`` is entered. ``lock_wait_seconds`` bounds how
    long either waits for other processes.
    """

    def __init__(
        self,
        path: Path,
        *,
        lock_wait_seconds: float = 30.0,
        clock: Clock = utc_now,
        schema: Schema = SCHEMA,
    ) -> None:
        self.path = path
        self.clock = clock
        self._wait = lock_wait_seconds
        self._schema = schema

    def exists(self) -> bool:
        return self.path.exists()

    @contextmanager
    def writing(self, run_id: str, purpose: str = "a load") -> Iterator[Writing]:
        """One transaction under the writer lock: committed on leaving, undone on any exception.

        Creates or migrates the schema first. Raises WarehouseBusyError, SchemaVersionError.
        """
        with self.locked(purpose):
            if not self.exists():
                self._create()
            con = self._open()
            try:
                self._migrate(con)
                con.execute("begin")
                try:
                    now = self.clock().astimezone(dt.UTC).replace(tzinfo=None)
                    yield Writing(con, run_id, now)
                except BaseException:
                    with suppress(duckdb.Error):
                        con.execute("rollback")
                    raise
                con.execute("commit")
            finally:
                con.close()

    @contextmanager
    def locked(self, purpose: str) -> Iterator[None]:
        """The writer lock alone, for work on the file itself."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lock = WriterLock(self.path.with_suffix(".lock"), self.clock)
        with lock.held(self._wait, purpose), self._turn():
            yield

    @contextmanager
    def settled(self) -> Iterator[None]:
        """The file at rest, with nothing left in its write-ahead log; for copying it.

        To be entered under ``locked``.
        """
        con = self._open()
        try:
            con.execute("checkpoint")
        finally:
            con.close()
        yield

    @contextmanager
    def reading(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A read-only connection, closed on leaving; waits while a writer is at work.

        One at a time in a process, and never inside ``writing``. Raises WarehouseMissingError,
        WarehouseBusyError, SchemaVersionError.
        """
        if not self.exists():
            raise WarehouseMissingError(self.path)
        with self._turn(), self._attached() as con:
            found = _schema_version(con)
            if found != self._schema.version:
                raise SchemaVersionError(self.path, found, self._schema.version)
            yield con

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """One thread of this process at a time.

        The system's file locks belong to a process: a second handle on the file, once closed, would
        give up the lock of the first.
        """
        turn = _turns[self.path.absolute()]
        if not turn.acquire(timeout=max(self._wait, 0)):
            raise WarehouseBusyError(self.path, self._wait, "another thread of this process")
        try:
            yield
        finally:
            turn.release()

    @contextmanager
    def _attached(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """The file attached read-only to a DuckDB kept in this process.

        Starting a DuckDB takes 25 ms, attaching a file 3 ms. Where someone in this process has the
        file open already, DuckDB's own sharing of it is used instead.
        """
        if _open_here(self.path):
            con = self._patiently(lambda: duckdb.connect(str(self.path), read_only=True))
            try:
                yield con
            finally:
                con.close()
            return
        con = _reader(os.getpid()).cursor()
        name = f"warehouse_{next(_numbers)}"
        quoted = str(self.path).replace("'", "''")
        try:
            self._patiently(lambda: con.execute(f"attach '{quoted}' as {name} (read_only)"))
            con.execute(f"use {name}")
            try:
                yield con
            finally:
                con.execute("use memory")
                con.execute(f"detach {name}")
        finally:
            con.close()

    def _create(self) -> None:
        """Make the file beside its place and rename it, so that no kill leaves half a file."""
        beside = self.path.with_suffix(".new")
        beside.unlink(missing_ok=True)
        con = duckdb.connect(str(beside), config={"storage_compatibility_version": STORAGE_VERSION})
        try:
            self._migrate(con)
        finally:
            con.close()
        beside.replace(self.path)

    def _open(self) -> duckdb.DuckDBPyConnection:
        return self._patiently(lambda: duckdb.connect(str(self.path)))

    def _patiently(self, connect: Callable[[], T]) -> T:
        """Try to connect until other processes let go of the file, or the wait is over."""
        deadline = time.monotonic() + self._wait
        pause = 0.005
        while True:
            try:
                return connect()
            except (duckdb.IOException, duckdb.ConnectionException) as error:
                if not _is_lock_conflict(error):
                    raise
                if time.monotonic() >= deadline:
                    holder = self._holder(error)
                    raise WarehouseBusyError(self.path, self._wait, holder) from error
            time.sleep(pause)
            pause = min(pause * 1.5, 0.1)

    def _holder(self, error: duckdb.Error) -> str:
        conflict = re.search(r"held in (\S+) \(PID (\d+)\)", str(error))
        if conflict:
            return f"process {conflict[2]} ({Path(conflict[1]).name})"
        return WriterLock(self.path.with_suffix(".lock")).holder()

    def _migrate(self, con: duckdb.DuckDBPyConnection) -> None:
        """Bring the schema up to date; the tables and the record that they exist commit together."""
        found = _schema_version(con)
        if found > self._schema.version:
            raise SchemaVersionError(self.path, found, self._schema.version)
        if found == self._schema.version:
            return
        con.execute("begin")
        con.execute(
            "create table if not exists schema_version (version integer, applied_at timestamp)"
        )
        for table in self._schema.with_revisions:
            con.execute(table.ddl)
        con.execute(
            "insert into schema_version values (?, ?)",
            [self._schema.version, self.clock().astimezone(dt.UTC).replace(tzinfo=None)],
        )
        con.execute("commit")


_turns: defaultdict[Path, threading.Lock] = defaultdict(threading.Lock)
_numbers = itertools.count()


@lru_cache(maxsize=1)
def _reader(process: int) -> duckdb.DuckDBPyConnection:
    """The in-memory DuckDB that readers of this process attach the warehouse to.

    A child process must not use its parent's, so the process id is part of the key.
    """
    return duckdb.connect()


def _open_here(path: Path) -> bool:
    """Whether this process has the file open already; True where the system can't tell."""
    handles = Path("/proc/self/fd")
    if not handles.exists():
        return True
    try:
        target = path.stat()
    except OSError:
        return True
    for handle in os.listdir(handles):
        with suppress(OSError):
            if os.path.samestat(os.fstat(int(handle)), target):
                return True
    return False


def _schema_version(con: duckdb.DuckDBPyConnection) -> int:
    """The newest schema version applied; 0 for a file without one."""
    try:
        row = con.execute("select max(version) from schema_version").fetchone()
    except duckdb.CatalogException:
        return 0
    return int(row[0]) if row and row[0] is not None else 0


def _is_lock_conflict(error: duckdb.Error) -> bool:
    text = str(error)
    return "Could not set lock" in text or "different configuration" in text
