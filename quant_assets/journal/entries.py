"""The log entries of a load, for the console, a file per run and a table of the warehouse.

They go through ``logging``, so that Dagster and a user's own handlers see them too. The load writes
the table, in the transaction of its data; no connection is known here. No entry holds a secret.
"""

from __future__ import annotations

import datetime as dt
import logging
import threading
import traceback
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from quant_assets.journal.masking import plain
from quant_assets.schema.loads import LOG_ENTRIES

if TYPE_CHECKING:
    import pyarrow as pa

LOGGER = logging.getLogger("quant_assets")


@dataclass(frozen=True)
class Entry:
    """One entry with its context; ``said_at`` is naive UTC, texts are plain and without secrets."""

    entry_id: str
    said_at: dt.datetime
    level: str
    message: str
    run_id: str
    dataset: str
    source: str
    symbol: str | None
    task: str | None
    """The task, such as daily_prices/yahoo/AAPL; null where the entry is of no single symbol."""
    error_class: str | None
    stack: str | None


def entry_columns() -> pa.Schema:
    """The columns of entries as rows. The ids of a journal rise: in order of ``said_at, entry_id``
    they stand as they were logged, even where the clock did not move between two.
    """
    import pyarrow as pa

    names = Entry.__dataclass_fields__
    return pa.schema([field for field in LOG_ENTRIES.arrow_schema if field.name in names])


class Journal:
    """The log of one load. Threads may share it: all places have its entries in the same order."""

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
        self._count = 0
        self._entries: list[Entry] = []
        self._returned: list[pa.Table] = []

    def info(
        self, message: str, *, symbol: str | None = None, error: BaseException | None = None
    ) -> None:
        self._log(logging.INFO, message, symbol, error)

    def warning(
        self, message: str, *, symbol: str | None = None, error: BaseException | None = None
    ) -> None:
        self._log(logging.WARNING, message, symbol, error)

    def error(
        self, message: str, *, symbol: str | None = None, error: BaseException | None = None
    ) -> None:
        """An entry with a stack in any case: that of ``error`` and its causes, or of the caller."""
        self._log(logging.ERROR, message, symbol, error)

    def take(self) -> pa.Table:
        """The entries not taken yet, as rows; the caller stores them or gives them back."""
        import pyarrow as pa

        with self._lock:
            fresh = pa.Table.from_pylist([asdict(e) for e in self._entries], schema=entry_columns())
            taken = pa.concat_tables([*self._returned, fresh])
            self._entries.clear()
            self._returned.clear()
        return taken

    def give_back(self, taken: pa.Table) -> None:
        """Put back entries that could not be stored; the next ``take`` returns them again."""
        with self._lock:
            self._returned.insert(0, taken)

    def _log(
        self, level: int, message: str, symbol: str | None, error: BaseException | None
    ) -> None:
        wants_stack = error is None and level >= logging.ERROR
        # Two frames of ours, then the caller of the journal.
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
            # Not exc_info: a formatter would print its secrets unmasked.
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
        self._count += 1
        return Entry(
            str(uuid.UUID(int=self._first_id + self._count)),
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
