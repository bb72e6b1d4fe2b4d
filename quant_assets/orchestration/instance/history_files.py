"""Whether the files of Dagster's history can be read, and what to do where they can't."""

from __future__ import annotations

import shlex
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from quant_assets.reference.errors import BrokenError

_DAMAGED = ("file is not a database", "database disk image is malformed")
"""What SQLite says, also within an error of SQLAlchemy's."""


class HistoryDamagedError(BrokenError):
    """A file of Dagster's history that SQLite can't read."""

    def __init__(self, folder: Path, file: str, cause: str) -> None:
        aside = _free(folder.with_name(f"{folder.name}.aside"))
        moved = shlex.join(["mv", str(folder), str(aside)])
        super().__init__(
            f"Dagster's history in {file} is damaged: {cause}. What was loaded is in the warehouse "
            "and not concerned; past runs, ticks and the logs of runs are lost with that file. End "
            "quant-assets ui, then begin a new history, in which partitions are as the warehouse "
            f"has them: {moved} && quant-assets reconcile"
        )


def check_history(folder: Path) -> None:
    """Raises HistoryDamagedError where a database below Dagster's ``folder`` is none."""
    for path in sorted(folder.rglob("*.db")):
        try:
            with closing(sqlite3.connect(path.as_uri() + "?mode=ro", uri=True)) as file:
                file.execute("select count(*) from sqlite_master").fetchall()
        except sqlite3.OperationalError:
            continue  # in use, or gone
        except sqlite3.DatabaseError as error:
            raise HistoryDamagedError(folder, str(path), str(error)) from error


@contextmanager
def said_of(folder: Path) -> Iterator[None]:
    """Raise the damage that shows while the history is used as HistoryDamagedError."""
    try:
        yield
    except Exception as error:
        found = next((text for text in _DAMAGED if text in str(error)), None)
        if found is None or isinstance(error, HistoryDamagedError):
            raise
        raise HistoryDamagedError(folder, str(folder), found) from error


def _free(path: Path) -> Path:
    number, free = 1, path
    while free.exists():
        number, free = number + 1, path.with_name(f"{path.name}-{number}")
    return free
