"""The one place that opens the DuckDB warehouse: connections and transactions.

A writer of one process keeps every other process out, and an idle reader keeps the writer out, so
connections here are opened late and closed at once: ``writing`` is one short transaction under the
writer lock, ``reading`` one read-only look. No source is called in here, and nothing of Dagster.
"""

from __future__ import annotations

import datetime as dt
import itertools
import os
import re
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import duckdb

from quant_assets.schema.catalog import SCHEMA, Schema
from quant_assets.warehouse.damage import WarehouseGoneError, explained, missing
from quant_assets.warehouse.in_memory import in_memory_duckdb
from quant_assets.warehouse.migrations import applied_version, bring_up_to_date, keep_copy
from quant_assets.warehouse.writer_lock import (
    Clock,
    SchemaVersionError,
    WarehouseBusyError,
    WarehouseError,
    WriterLock,
    utc_now,
)
from quant_assets.warehouse.writing import Writing

STORAGE_VERSION = "v1.5.0"
"""Files are written so that DuckDB 1.5 can read them, whichever version writes."""

COURTESY_SECONDS = 0.25
"""How long a reader gives way to a writer. Some writers hold the lock for longer, and readers may
read beside them."""

T = TypeVar("T")


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

    @property
    def runs(self) -> Path:
        """The folder in which running loads hold their locks; see ``liveness``."""
        return self.path.parent / "runs"

    @contextmanager
    def writing(self, run_id: str, purpose: str = "a load") -> Iterator[Writing]:
        """One transaction under the writer lock: committed on leaving, undone on any exception.

        Creates the file, or copies and migrates an older one, first. Raises WarehouseBusyError,
        SchemaVersionError, and the errors of ``damage``.
        """
        with self.locked(purpose), closing(self._open_migrated()) as con:
            con.execute("begin")
            try:
                yield Writing(con, run_id, self._now())
            except BaseException:
                with suppress(duckdb.Error):
                    con.execute("rollback")
                raise
            con.execute("commit")

    def migrate(self) -> None:
        """Copy an older file and bring its schema up to date, as every load does before it reads.

        Does nothing where the file has this schema or does not exist. Raises SchemaVersionError for
        a newer one, WarehouseError where the copy or the migration fails.
        """
        if not self.exists():
            return
        with self._one_thread(), self._attached() as con:
            current = applied_version(con) == self._schema.version
        if not current:
            with self.locked("migrating the schema"):
                self._open_migrated().close()

    @contextmanager
    def locked(self, purpose: str) -> Iterator[None]:
        """The writer lock alone, for work on the file itself."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lock = WriterLock(self.path.with_suffix(".lock"), self.clock)
        with lock.held(self._wait, purpose), self._one_thread():
            yield

    @contextmanager
    def checkpointed(self) -> Iterator[None]:
        """The file at rest, with nothing left in its write-ahead log; for copying it.

        To be entered under ``locked``. Raises WarehouseBusyError where this process has the file
        open elsewhere: reading it beside would give up that connection's lock.
        """
        with closing(self._open()) as con:
            con.execute("checkpoint")
        if Path("/proc/self/fd").exists() and _open_here(self.path):
            raise WarehouseBusyError(self.path, 0, _this_process())
        yield

    @contextmanager
    def reading(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A read-only connection, closed on leaving; waits while a writer is at work.

        One at a time in a process, and never inside ``writing``. Raises WarehouseMissingError,
        WarehouseBusyError, SchemaVersionError.
        """
        if not self.exists():
            raise missing(self.path)
        with self._one_thread(), self._attached() as con:
            found = applied_version(con)
            if found != self._schema.version:
                raise SchemaVersionError(self.path, found, self._schema.version)
            yield con

    @contextmanager
    def _one_thread(self) -> Iterator[None]:
        """One thread of this process at a time.

        The system's file locks belong to a process: a second handle on the file, once closed, would
        give up the lock of the first.
        """
        lock = _thread_locks[self.path.resolve()]
        if not lock.acquire(timeout=max(self._wait, 0)):
            raise WarehouseBusyError(self.path, self._wait, "another thread of this process")
        try:
            yield
        except RuntimeError as error:
            # DuckDB makes an error of an interrupt, and a stopped run would count as a failed one.
            interrupt = error.__cause__
            if interrupt is None or isinstance(interrupt, Exception):
                raise
            raise interrupt from None
        except duckdb.Error as error:
            raise explained(error, self.path) or error from error
        finally:
            lock.release()

    def _give_way(self) -> None:
        """Give way to a waiting writer, which readers one after another would keep out for long."""
        lock = WriterLock(self.path.with_suffix(".lock"), self.clock)
        deadline = time.monotonic() + COURTESY_SECONDS
        while lock.is_held() and time.monotonic() < deadline:
            time.sleep(0.005)

    @contextmanager
    def _attached(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """The file attached read-only to a DuckDB kept in this process.

        Starting a DuckDB takes 25 ms, attaching a file 3 ms. Where this process has the file open
        already, DuckDB's own sharing of it is used instead.
        """
        self._give_way()
        if _open_here(self.path):
            with closing(
                self._retry_while_locked(lambda: duckdb.connect(str(self.path), read_only=True))
            ) as con:
                yield con
            return
        name = f"warehouse_{next(_numbers)}"
        quoted = str(self.path).replace("'", "''")
        with closing(in_memory_duckdb(os.getpid()).cursor()) as con:
            attach = f"attach '{quoted}' as {name} (read_only)"
            self._retry_while_locked(lambda: con.execute(attach))
            con.execute(f"use {name}")
            try:
                yield con
            finally:
                con.execute("use memory")
                con.execute(f"detach {name}")

    def _create(self) -> None:
        """Make the file beside its place and rename it, so that no kill leaves half a file.

        Raises WarehouseGoneError where published copies show that there was one.
        """
        gone = missing(self.path)
        if isinstance(gone, WarehouseGoneError):
            raise gone
        beside = self.path.with_suffix(".new")
        beside.unlink(missing_ok=True)
        con = duckdb.connect(str(beside), config={"storage_compatibility_version": STORAGE_VERSION})
        with closing(con):
            bring_up_to_date(con, self._schema, 0, self._now())
        beside.replace(self.path)

    def _open_migrated(self) -> duckdb.DuckDBPyConnection:
        """Open the file for writing, made or migrated first where needed; under ``locked``."""
        if not self.exists():
            self._create()
        con = self._open()
        found, known = applied_version(con), self._schema.version
        if found == known:
            return con
        con.close()
        if found > known:
            raise SchemaVersionError(self.path, found, known)
        with self.checkpointed():
            copy = keep_copy(self.path, found, self._now())
        con = self._open()
        try:
            bring_up_to_date(con, self._schema, found, self._now())
        except BaseException as error:
            con.close()
            if not isinstance(error, duckdb.Error):
                raise
            raise WarehouseError(
                f"The warehouse at {self.path} can't be migrated from schema version {found} to "
                f"{known}: {error}. It is as it was, and {copy} is a copy of it. Mend what the "
                "error names, or go on with the earlier quant_assets."
            ) from error
        return con

    def _open(self) -> duckdb.DuckDBPyConnection:
        return self._retry_while_locked(lambda: duckdb.connect(str(self.path)))

    def _retry_while_locked(self, connect: Callable[[], T]) -> T:
        """Try to connect until other processes let go of the file, or the wait is over."""
        deadline = time.monotonic() + self._wait
        pause = 0.005
        while True:
            try:
                return connect()
            except (duckdb.IOException, duckdb.ConnectionException) as error:
                if not _is_lock_conflict(error):
                    raise explained(error, self.path) or WarehouseError(
                        f"{self.path} can't be opened as a DuckDB database: {error}"
                    ) from error
                if time.monotonic() >= deadline:
                    holder = self._holder(error)
                    raise WarehouseBusyError(self.path, self._wait, holder) from error
            time.sleep(pause)
            # Short pauses: between two reads of a busy notebook the file is free for a moment only.
            pause = min(pause * 1.5, 0.02)

    def _holder(self, error: duckdb.Error) -> str:
        if "different configuration" in str(error):
            return _this_process()
        conflict = re.search(r"held in (\S+) \(PID (\d+)\)", str(error))
        if conflict:
            return f"process {conflict[2]} ({Path(conflict[1]).name})"
        return WriterLock(self.path.with_suffix(".lock")).holder()

    def _now(self) -> dt.datetime:
        return self.clock().astimezone(dt.UTC).replace(tzinfo=None)


def _this_process() -> str:
    return (
        f"process {os.getpid()}, this one: it has the file open through duckdb.connect. Close that "
        "connection, or use quant_assets.read.connect, which opens a copy"
    )


_thread_locks: defaultdict[Path, threading.Lock] = defaultdict(threading.Lock)
_numbers = itertools.count()


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


def _is_lock_conflict(error: duckdb.Error) -> bool:
    text = str(error)
    return "Could not set lock" in text or "different configuration" in text
