"""The writer lock, and the errors of a warehouse that a user can act on."""

from __future__ import annotations

import datetime as dt
import json
import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from quant_assets.reference.errors import BrokenError
from quant_assets.reference.secrets import masked

Clock = Callable[[], dt.datetime]


def utc_now() -> dt.datetime:
    """The time as an aware UTC datetime; the default clock."""
    return dt.datetime.now(dt.UTC)


class WarehouseError(BrokenError):
    """A problem of the warehouse that a user can act on."""


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
            advice = "quant-assets refresh or any other load migrates it; readers never do."
        super().__init__(
            f"The warehouse at {path} has schema version {found}, this quant_assets knows "
            f"{known}. {advice}"
        )


class WarehouseBusyError(WarehouseError):
    """Another process, or thread, kept the warehouse for longer than the wait allowed."""

    def __init__(self, path: Path, waited: float, holder: str) -> None:
        super().__init__(
            f"The warehouse at {path} has been in use for {waited:.0f} s by {holder}. Nothing was "
            "written. Wait for that process or end it, then run this again; "
            "QUANT_ASSETS_LOCK_WAIT_SECONDS sets how long to wait."
        )
        self.holder = holder


class WriterLock:
    """One writer at a time, across processes and threads.

    The operating system drops the lock of a process that dies, so the next process takes it over.
    A note beside the lock names its holder, for the error message of a process that waits in vain.
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
                        "command": masked(" ".join([Path(sys.argv[0]).name, *sys.argv[1:4]])),
                        "purpose": purpose,
                        "since": self._clock().isoformat(timespec="seconds"),
                    }
                )
            )
            yield
        finally:
            self._note.unlink(missing_ok=True)
            self._lock.release()

    def is_held(self) -> bool:
        """Whether any process holds the lock; who may not write the folder takes the word of the
        note. The note of a holder that died is deleted.
        """
        if not self._note.exists():
            return False
        try:
            self._lock.acquire(timeout=0)
            self._note.unlink(missing_ok=True)
        except (filelock.Timeout, OSError):
            return True
        finally:
            self._lock.release()
        return False

    def holder(self) -> str:
        """The holder of the lock, in words."""
        try:
            note = json.loads(self._note.read_text())
        except (OSError, ValueError):
            return "a process that left no note"
        return (
            f"process {note['pid']} on {note['host']} ({note['command']}; {note['purpose']}, "
            f"since {note['since']})"
        )
