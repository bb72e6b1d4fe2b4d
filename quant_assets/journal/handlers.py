"""Handlers of log entries: the console, and a dated file per run."""

from __future__ import annotations

import datetime as dt
import logging
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from quant_assets.journal.entries import LOGGER, Entry, with_symbol
from quant_assets.journal.masking import plain

LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


class UnknownLevelError(ValueError):
    """A level that is none of LEVELS."""

    def __init__(self, text: str) -> None:
        super().__init__(f"{text!r} is no level of the log; take one of {', '.join(LEVELS)}.")


def parse_level(text: str) -> int:
    """The level of this name, in capitals or not. Raises UnknownLevelError."""
    try:
        return LEVELS[text.strip().lower()]
    except KeyError:
        raise UnknownLevelError(text) from None


class _Lines(logging.Formatter):
    """``2026-11-22T18:31:05Z WARNING AAPL message``; further lines and the stack are indented."""

    def format(self, record: logging.LogRecord) -> str:
        entry = getattr(record, "entry", None)
        if isinstance(entry, Entry):
            at, text, stack = entry.said_at, with_symbol(entry), entry.stack
        else:
            at = dt.datetime.fromtimestamp(record.created, dt.UTC)
            text = plain(record.getMessage())
            raised = self.formatException(record.exc_info) if record.exc_info else record.exc_text
            stack = plain(raised) if raised else None
        lines = text if stack is None else f"{text}\n{stack}"
        # Indented, no line of a message can pass for an entry.
        return f"{at:%Y-%m-%dT%H:%M:%SZ} {record.levelname} {lines}".replace("\n", "\n    ")


class _Handler(logging.StreamHandler[TextIO]):
    """A handler of ours; ``found_level`` is its logger's level before the first of them came."""

    def __init__(self, stream: TextIO, level: str) -> None:
        super().__init__(stream)
        self.setLevel(parse_level(level))
        self.setFormatter(_Lines())
        self.found_level = logging.NOTSET


class _RunFile:
    """The file of a run as a stream: opened for each entry, so that none waits in a buffer.

    A kill loses no entry, and a folder that was unwritable for a while is tried again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, text: str) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(text)


class _FileHandler(_Handler):
    """Entries of one run, and records that belong to no run."""

    def __init__(self, path: Path, run_id: str, level: str, logger: logging.Logger) -> None:
        super().__init__(_RunFile(path), level)  # type: ignore[arg-type]  # write is all it takes
        self.path = path
        self.run_id = run_id
        self.logger = logger
        self.warned = False

    def filter(self, record: logging.LogRecord) -> bool:
        if hasattr(record, "unwritable"):
            # Two files on one full disk would wait for each other to write the complaint.
            return False
        entry = getattr(record, "entry", None)
        return not isinstance(entry, Entry) or entry.run_id == self.run_id

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Warn once that the file can't be written; a load goes on without it."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
        elif not self.warned:
            self.warned = True
            self.logger.warning(
                "The log %s can't be written: %s. The load goes on, and the warehouse keeps its "
                "entries; free the disk, or set the rights of the folder.",
                self.path,
                error.strerror,
                extra={"unwritable": self.path},
            )


@contextmanager
def to_console(
    stream: TextIO, level: str = "info", *, logger: logging.Logger = LOGGER
) -> Iterator[None]:
    """Write entries to ``stream``, one plain line each, with their stacks below."""
    with _attached(_Handler(stream, level), logger):
        yield


@contextmanager
def to_files(
    home: Path,
    run_id: str,
    started_at: dt.datetime,
    *,
    level: str = "info",
    logger: logging.Logger = LOGGER,
) -> Iterator[Path]:
    """Write the entries of a run to ``logs/<day>/<HHMMSS>-<first 8 of run_id>.log`` in ``home``.

    Yields the path; day and time are UTC. The first entry creates the file. Records that belong to
    no run are written too. A file that can't be written gives one warning of ``logger``.
    """
    begun = started_at.astimezone(dt.UTC)
    name = f"{begun:%H%M%S}-{uuid.UUID(run_id).hex[:8]}.log"
    path = home / "logs" / begun.date().isoformat() / name
    with _attached(_FileHandler(path, run_id, level, logger), logger):
        yield path


_ATTACHING = threading.Lock()


@contextmanager
def _attached(handler: _Handler, logger: logging.Logger) -> Iterator[None]:
    """Add ``handler`` to ``logger``, and lower the logger's level to that of its handlers.

    Runs of several threads come and go in any order; the last one restores the level.
    """
    with _ATTACHING:
        present = _ours(logger)
        handler.found_level = present[0].found_level if present else logger.level
        logger.addHandler(handler)
        _set_level(logger, handler.found_level)
    try:
        yield
    finally:
        with _ATTACHING:
            logger.removeHandler(handler)
            _set_level(logger, handler.found_level)
        handler.close()


def _ours(logger: logging.Logger) -> list[_Handler]:
    return [handler for handler in logger.handlers if isinstance(handler, _Handler)]


def _set_level(logger: logging.Logger, found_level: int) -> None:
    above = logger.parent.getEffectiveLevel() if logger.parent else logging.NOTSET
    wanted = [handler.level for handler in _ours(logger)]
    # Never above the level that a user had set.
    logger.setLevel(min(found_level or above, *wanted) if wanted else found_level)
