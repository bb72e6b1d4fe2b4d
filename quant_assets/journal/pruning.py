"""Old log files of loads, deleted."""

from __future__ import annotations

import datetime as dt
import re
from contextlib import suppress
from pathlib import Path

_DAY_FOLDER = re.compile(r"\d{4}-\d{2}-\d{2}")
_LOG_FILE = re.compile(r"\d{6}-[0-9a-f]{8}\.log")


def prune_logs(home: Path, before: dt.datetime, *, dry_run: bool = False) -> tuple[int, int]:
    """Delete the logs of the days that ended before a moment; returns files and their bytes.

    Only files named like a log, in real folders named like a day; a folder goes once it is empty.
    """
    files = size = 0
    for folder in _day_folders(home / "logs", before.astimezone(dt.UTC).date()):
        logs = [path for path in folder.iterdir() if _LOG_FILE.fullmatch(path.name)]
        files += len(logs)
        size += sum(path.lstat().st_size for path in logs)
        if dry_run:
            continue
        for path in logs:
            path.unlink(missing_ok=True)
        with suppress(OSError):  # it holds something else, or another process was faster
            folder.rmdir()
    return files, size


def _day_folders(logs: Path, before: dt.date) -> list[Path]:
    """Folders of the days before one; names of the form YYYY-MM-DD sort like their days."""
    return [
        folder
        for folder in (sorted(logs.iterdir()) if logs.is_dir() else ())
        if _DAY_FOLDER.fullmatch(folder.name)
        and folder.name < before.isoformat()
        and folder.is_dir()
        and not folder.is_symlink()
    ]
