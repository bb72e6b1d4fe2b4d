"""What a load says, to three places at once: the console, a file per run, a table of the warehouse.

Plain ``logging`` underneath, so that Dagster and a user's own handlers see every entry as well; and
how often progress is told. Writing the table is the load's, in the transaction of its data, and no
connection is known here. What comes out anywhere is free of secrets.
"""

from __future__ import annotations

import datetime as dt
import logging
import threading
import traceback
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass

import pyarrow as pa

from quant_assets.journal.masking import plain

LOGGER = logging.getLogger("quant_assets")

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
                with_symbol(entry),
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
        symbol = plain(symbol) if symbol else None
        self._said += 1
        return Entry(
            str(uuid.UUID(int=self._first_id + self._said)),
            self._clock().astimezone(dt.UTC).replace(tzinfo=None),
            logging.getLevelName(level),
            plain(message),
            self.run_id,
            self.dataset,
            self.source,
            symbol,
            f"{self.dataset}/{self.source}/{symbol}" if symbol else None,
            type(error).__qualname__ if error is not None else None,
            plain(stack) if stack else None,
        )


def with_symbol(entry: Entry) -> str:
    return f"{entry.symbol} {entry.message}" if entry.symbol else entry.message


# Progress

Progress = Callable[[int, int, str], None]
"""Called with items done, items in all, and what is happening."""
