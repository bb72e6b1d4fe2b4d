"""The SQLite file with the request counters of all sources, shared by threads and processes."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from quant_assets.fetching.pace import PacingFileError
from quant_assets.fetching.pace_counters import SourceCounters

BUSY_SECONDS = 30.0
"""How long SQLite waits for another process's transaction."""

SCHEMA = """
create table if not exists sources (
    source text primary key, seen_at real, blocked_until real, throttled_at real,
    throttled_in_a_row integer, failed_in_a_row integer, open_seconds real, open_until real
) strict;
create table if not exists turns (
    turn text primary key, source text, starts_at real, begun integer
) strict, without rowid;
create index if not exists turns_by_start on turns (source, starts_at, begun);
create table if not exists days (
    source text, day text, requests integer, throttled integer, failed integer,
    primary key (source, day)
) strict, without rowid;
"""


@dataclass(frozen=True)
class CounterFile:
    """The file of counters, open for one call.

    A connection that is kept for longer breaks where a process forks; one for every transaction
    makes the start of a request wait for the disk.
    """

    db: sqlite3.Connection
    path: Path
    source: str
    clock: Callable[[], float]

    @contextmanager
    def transaction(self) -> Iterator[SourceCounters]:
        """The counters of the source in one transaction, which an exception undoes.

        The clock is read inside, so that times are stored in the order in which they are read.
        """
        with _explained(self.path), self.db:
            self.db.execute("begin immediate")
            counters = SourceCounters(self.db, self.source, self.clock())
            yield counters
            counters.save()


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn an error of the file at ``path`` into PacingFileError."""
    try:
        yield
    except (sqlite3.DatabaseError, OSError) as error:
        raise PacingFileError(path, error) from error


@contextmanager
def open_counters(path: Path, source: str, clock: Callable[[], float]) -> Iterator[CounterFile]:
    """The counters of a source, in a file that is created where there is none; times in seconds."""
    with _explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        db = sqlite3.connect(path, BUSY_SECONDS, isolation_level=None)
    with closing(db):
        with _explained(path):
            with suppress(sqlite3.OperationalError):
                # Where two processes open a new file, it is locked at once, without a wait; the
                # next to open it switches over. Until then only commits are slower.
                db.execute("pragma journal_mode = wal")
            db.execute("pragma synchronous = normal")
            with db:
                db.execute("begin immediate")
                for statement in SCHEMA.split(";"):
                    db.execute(statement)
        yield CounterFile(db, path, source, clock)
