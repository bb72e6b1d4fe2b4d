"""What a load says, to three places at once: the console, a file per run, a table of the warehouse.

Plain ``logging`` underneath, so that Dagster and a user's own handlers see every entry as well; and
how often progress is told. Writing the table is the load's, in the transaction of its data, and no
connection is known here. What comes out anywhere is free of secrets.
"""

from __future__ import annotations

import datetime as dt
import logging
import re
import sys
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO

import pyarrow as pa

from quant_assets.settings.settings import MASK, SECRET_WORDS, masked_addresses

LOGGER = logging.getLogger("quant_assets")

LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}

ENTRY_COLUMNS = pa.schema(
    [
        ("entry_id", pa.string()),
        ("said_at", pa.timestamp("us")),
        ("level", pa.string()),
        ("message", pa.string()),
        ("run_id", pa.string()),
        ("dataset", pa.string()),
        ("source", pa.string()),
        ("symbol", pa.string()),
        ("task", pa.string()),
        ("error_class", pa.string()),
        ("stack", pa.string()),
    ]
)
"""Entries as rows. The ids of a journal rise: in order of ``said_at, entry_id`` they stand as they
were said, even where the clock did not move between two."""


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


@dataclass(frozen=True)
class Entry:
    """One thing said, with its context; ``said_at`` is UTC, texts are plain and without secrets."""

    entry_id: str
    said_at: dt.datetime
    level: str
    message: str
    run_id: str
    dataset: str
    source: str
    symbol: str | None
    task: str | None
    """What was at work, such as daily_prices/yahoo/AAPL; null where it was no single symbol."""
    error_class: str | None
    stack: str | None


class Journal:
    """What one load says. Threads may share it: all places hold its entries in the same order."""

    def __init__(
        self,
        run_id: str,
        dataset: str,
        source: str,
        *,
        clock: Callable[[], dt.datetime],
        logger: logging.Logger = LOGGER,
    ) -> None:
        self.run_id = run_id
        self.dataset = dataset
        self.source = source
        self._clock = clock
        self._logger = logger
        self._lock = threading.RLock()
        self._first_id = uuid.uuid4().int & ~0xFFFFFFFF
        self._said = 0
        self._entries: list[Entry] = []
        self._given_back: list[pa.Table] = []

    def info(
        self, message: str, *, symbol: str | None = None, error: BaseException | None = None
    ) -> None:
        self._say(logging.INFO, message, symbol, error)

    def warning(
        self, message: str, *, symbol: str | None = None, error: BaseException | None = None
    ) -> None:
        self._say(logging.WARNING, message, symbol, error)

    def error(
        self, message: str, *, symbol: str | None = None, error: BaseException | None = None
    ) -> None:
        """An entry with a stack in any case: that of ``error`` and its causes, or of the caller."""
        self._say(logging.ERROR, message, symbol, error)

    def take(self) -> pa.Table:
        """The entries no one has taken yet, as ENTRY_COLUMNS; from now on the caller has them."""
        with self._lock:
            fresh = pa.Table.from_pylist([asdict(e) for e in self._entries], schema=ENTRY_COLUMNS)
            taken = pa.concat_tables([*self._given_back, fresh])
            self._entries.clear()
            self._given_back.clear()
        return taken

    def give_back(self, taken: pa.Table) -> None:
        """Put back what ``take`` gave and could not be stored; the next one gives it again."""
        with self._lock:
            self._given_back.insert(0, taken)

    def _say(
        self, level: int, message: str, symbol: str | None, error: BaseException | None
    ) -> None:
        wants_stack = error is None and level >= logging.ERROR
        # Two frames of ours, then whoever has something to say.
        file, line, function, stack = self._logger.findCaller(wants_stack, stacklevel=3)
        if error is not None:
            stack = "".join(traceback.format_exception(error))
        with self._lock:
            entry = self._entry(level, message, symbol, error, stack)
            self._entries.append(entry)
            if not self._logger.isEnabledFor(level):
                return
            record = self._logger.makeRecord(
                self._logger.name,
                level,
                file,
                line,
                _with_symbol(entry),
                (),
                None,
                function,
                {"entry": entry},
            )
            # Not exc_info: whoever formats that meets the secrets again.
            record.exc_text = entry.stack
            self._logger.handle(record)

    def _entry(
        self,
        level: int,
        message: str,
        symbol: str | None,
        error: BaseException | None,
        stack: str | None,
    ) -> Entry:
        symbol = _plain(symbol) if symbol else None
        self._said += 1
        return Entry(
            str(uuid.UUID(int=self._first_id + self._said)),
            self._clock().astimezone(dt.UTC).replace(tzinfo=None),
            logging.getLevelName(level),
            _plain(message),
            self.run_id,
            self.dataset,
            self.source,
            symbol,
            f"{self.dataset}/{self.source}/{symbol}" if symbol else None,
            type(error).__qualname__ if error is not None else None,
            _plain(stack) if stack else None,
        )


def _with_symbol(entry: Entry) -> str:
    return f"{entry.symbol} {entry.message}" if entry.symbol else entry.message


# Secrets and stray characters

_QUOTED = r"""b?'(?:[^'\\\n]|\\.)*'|b?"(?:[^"\\\n]|\\.)*\""""
_IS = r"""[\w-]{0,40}(?:['"]\s*[:=,]|\s*[:=])\s*"""
_SECRETS = (
    re.compile(r"(headers\b['\"]?\s*[:=(]+\s*)[\[{].*", re.IGNORECASE),
    re.compile(rf"((?:authorization|cookie){_IS})(?:{_QUOTED}|[^\r\n]+)", re.IGNORECASE),
    re.compile(
        rf"((?:{'|'.join(SECRET_WORDS)}|api-key|apikey|crumb){_IS})(?:{_QUOTED}|[^\s,;)}}\]]+)",
        re.IGNORECASE,
    ),
    re.compile(r"(\bbearer\s+)[\w.~+/=-]+", re.IGNORECASE),
)
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f]")


def masked(text: str) -> str:
    """``text`` without values of headers, of queries, and of what is named like a secret.

    Rather too much is masked than too little: in a stack also the code beside such a name.
    """
    for secret in _SECRETS:
        text = secret.sub(rf"\g<1>{MASK}", text)
    return masked_addresses(text)


def _plain(text: str) -> str:
    """``text`` masked, in lines, and of characters that every place can hold and show.

    A source may send anything: half characters that UTF-8 has no bytes for, orders to a terminal.
    """
    lines = masked(text).encode("utf-8", "backslashreplace").decode("utf-8").splitlines()
    return "\n".join(_CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", line) for line in lines)


# Console and file


class _Lines(logging.Formatter):
    """``2026-11-22T18:31:05Z WARNING AAPL message``; further lines and the stack are indented."""

    def format(self, record: logging.LogRecord) -> str:
        entry = getattr(record, "entry", None)
        if isinstance(entry, Entry):
            at, text, stack = entry.said_at, _with_symbol(entry), entry.stack
        else:
            at = dt.datetime.fromtimestamp(record.created, dt.UTC)
            text = _plain(record.getMessage())
            raised = self.formatException(record.exc_info) if record.exc_info else record.exc_text
            stack = _plain(raised) if raised else None
        told = text if stack is None else f"{text}\n{stack}"
        # Indented, no line of a message can pass for an entry.
        return f"{at:%Y-%m-%dT%H:%M:%SZ} {record.levelname} {told}".replace("\n", "\n    ")


class _Handler(logging.StreamHandler[TextIO]):
    """A handler of ours; knows the level that its logger had before any of them came."""

    def __init__(self, stream: TextIO, level: str) -> None:
        super().__init__(stream)
        self.setLevel(parse_level(level))
        self.setFormatter(_Lines())
        self.found_level = logging.NOTSET


class _RunFile:
    """The file of a run as a stream: opened for each entry, so that none waits in a buffer.

    A kill loses nothing said, and a folder that was unwritable for a while is tried again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, text: str) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(text)


class _FileHandler(_Handler):
    """Entries of one run, and records that belong to none."""

    def __init__(self, path: Path, run_id: str, level: str, logger: logging.Logger) -> None:
        super().__init__(_RunFile(path), level)  # type: ignore[arg-type]  # write is all it takes
        self.path = path
        self.run_id = run_id
        self.logger = logger
        self.complained = False

    def filter(self, record: logging.LogRecord) -> bool:
        if hasattr(record, "unwritable"):
            # Two files on one full disk would wait for each other to write the complaint.
            return False
        entry = getattr(record, "entry", None)
        return not isinstance(entry, Entry) or entry.run_id == self.run_id

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Say once that the file can't be written; a load does not end for want of its log."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
        elif not self.complained:
            self.complained = True
            self.logger.warning(
                "The log %s can't be written: %s. The load goes on, and the warehouse keeps what "
                "it says; free the disk, or set the rights of the folder.",
                self.path,
                error.strerror,
                extra={"unwritable": self.path},
            )


@contextmanager
def to_console(
    stream: TextIO, level: str = "info", *, logger: logging.Logger = LOGGER
) -> Iterator[None]:
    """Write what is said to ``stream``, one plain line an entry, its stack beneath."""
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
    """Write what a run says to ``logs/<day>/<HHMMSS>-<first 8 of run_id>.log`` below ``home``.

    Gives the path; the file is made by the first entry. Records that belong to no run are written
    too. A file that can't be written is complained about once, as a warning of ``logger``.
    """
    begun = started_at.astimezone(dt.UTC)
    name = f"{begun:%H%M%S}-{uuid.UUID(run_id).hex[:8]}.log"
    path = home / "logs" / begun.date().isoformat() / name
    with _attached(_FileHandler(path, run_id, level, logger), logger):
        yield path


_ATTACHING = threading.Lock()


@contextmanager
def _attached(handler: _Handler, logger: logging.Logger) -> Iterator[None]:
    """Let ``logger`` speak to ``handler`` too, and be as talkative as its handlers want.

    Runs of several threads come and go in any order; the last one leaves the level as it was found.
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
    # Never less talkative than a user had made it.
    logger.setLevel(min(found_level or above, *wanted) if wanted else found_level)


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


# Progress

Progress = Callable[[int, int, str], None]
"""Called with items done, items in all, and what is happening."""


class Every:
    """A Progress that passes on what is worth telling: each tenth item to ``told``, and at most
    one line a second to ``screen``; the first call and the end go to both.

    Items may come several at once: a call that passes a tenth item counts as reaching it.
    """

    def __init__(
        self, told: Progress, screen: Progress, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._told = told
        self._screen = screen
        self._monotonic = monotonic
        self._last: tuple[int, int] | None = None
        self._shown_at: float | None = None

    def __call__(self, done: int, total: int, what: str) -> None:
        last, self._last = self._last, (done, total)
        ended = done >= total and last != (done, total)
        if last is None or ended or done // 10 != last[0] // 10:
            self._told(done, total, what)
        now = self._monotonic()
        if self._shown_at is None or ended or now - self._shown_at >= 1:
            self._shown_at = now
            self._screen(done, total, what)
