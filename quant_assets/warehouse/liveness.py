"""Whether the process that works under an id is still alive, told by a lock that dies with it.

The operating system lets go of a file lock when its process ends, however it ends. So a lock held
for as long as a piece of work lasts tells everybody else whether that work can still be going on;
a process id could not, since ids are given out again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock


@contextmanager
def alive(folder: Path, name: str) -> Iterator[None]:
    """Be known in ``folder`` as alive under ``name`` until this is left.

    Work may nest: under a name this process is alive under already, nothing happens.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = _lock_file(folder, name)
    lock = filelock.FileLock(path, thread_local=False)
    if not _taken(lock):
        yield
        return
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        lock.release()


def is_alive(folder: Path, name: str) -> bool:
    """Whether the work of that name is still going on, in this process or in another."""
    path = _lock_file(folder, name)
    if not path.exists():
        return False
    lock = filelock.FileLock(path, thread_local=False)
    if not _taken(lock):
        return True
    path.unlink(missing_ok=True)
    lock.release()
    return False


def _taken(lock: filelock.BaseFileLock) -> bool:
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        return False
    return True


def _lock_file(folder: Path, name: str) -> Path:
    return folder / f"{name}.alive"
