"""Whether the files of Dagster's history can be read, and what to do where they can't."""

from __future__ import annotations

import datetime as dt
import shlex
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from quant_assets.reference.errors import BrokenError

_DAMAGED = ("file is not a database", "database disk image is malformed")
"""What SQLite says, also within an error of SQLAlchemy's."""


TOLERANCE = dt.timedelta(minutes=10)
"""How far the clocks of two machines may differ."""


_NEVER = dt.datetime(1970, 1, 1)  # noqa: DTZ001 - as Dagster stores times, UTC without a zone


class HistoryDamagedError(BrokenError):
    """A file of Dagster's history that SQLite can't read."""

    def __init__(self, folder: Path, file: str, cause: str) -> None:
        super().__init__(
            f"Dagster's history in {file} is damaged: {cause}. What was loaded is in the warehouse "
            "and not concerned; past runs, ticks and the logs of runs are lost with that file. End "
            "quant-assets ui, then begin a new history, in which partitions are as the warehouse "
            f"has them: {_begun_anew(folder)}"
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


def ahead_of(folder: Path, now: dt.datetime) -> str:
    """A sentence where Dagster's history in ``folder`` is of days to come; ``now`` is aware.

    A schedule or sensor does nothing until its newest tick is past.
    """
    newest = max(
        (
            _newest(folder / "history" / "runs.db", "select max(update_timestamp) from runs"),
            _newest(folder / "schedules" / "schedules.db", "select max(timestamp) from job_ticks"),
        )
    )
    present = now.astimezone(dt.UTC).replace(tzinfo=None)
    if newest <= present + TOLERANCE:
        return ""
    return (
        f"Dagster's history goes up to {newest:%Y-%m-%d %H:%M} UTC, and this machine's clock is at "
        f"{present:%Y-%m-%d %H:%M}: it ran ahead then, or is behind now. Until then schedules and "
        "sensors wait. Set the clock right; or, if it is right now, begin a new history, with "
        f"partitions as the warehouse has them: {_begun_anew(folder)}"
    )


def _newest(path: Path, query: str) -> dt.datetime:
    try:
        with closing(sqlite3.connect(path.as_uri() + "?mode=ro", uri=True)) as file:
            [(found,)] = file.execute(query).fetchall()
            return dt.datetime.fromisoformat(found) if found else _NEVER
    except sqlite3.OperationalError:  # not there yet
        return _NEVER


def _begun_anew(folder: Path) -> str:
    aside = _free(folder.with_name(f"{folder.name}.aside"))
    return f"{shlex.join(['mv', str(folder), str(aside)])} && quant-assets reconcile"


def _free(path: Path) -> Path:
    number, free = 1, path
    while free.exists():
        number, free = number + 1, path.with_name(f"{path.name}-{number}")
    return free
