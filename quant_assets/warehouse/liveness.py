"""Whether the process of a piece of work is still alive, shown by a lock that dies with it.

The operating system releases a file lock when its process ends, however it ends. So a lock held
during a piece of work shows other processes whether that work can still be running; a process id
could not, since ids are used again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock


@contextmanager
def alive(folder: Path, name: str) -> Iterator[None]:
    """Show other processes, in ``folder``, that the work ``name`` is running.

    Work may nest: where this process holds the lock of ``name`` already, nothing happens.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = _lock_file(folder, name)
    lock = filelock.FileLock(path, thread_local=False)
    if not _acquired(lock):
        yield
        return
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        lock.release()


def is_alive(folder: Path, name: str) -> bool:
    """Whether the work ``name`` is still running, in this process or in another."""
    path = _lock_file(folder, name)
    if not path.exists():
        return False
    lock = filelock.FileLock(path, thread_local=False)
    if not _acquired(lock):
        return True
    path.unlink(missing_ok=True)
    lock.release()
    return False


def _acquired(lock: filelock.BaseFileLock) -> bool:
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        return False
    return True


def _lock_file(folder: Path, name: str) -> Path:
    return folder / f"{name}.alive"
