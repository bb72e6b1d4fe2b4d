"""How a command ends: its exit code, and what went wrong as a sentence.

Errors that a user can act on are told as they are; anything else is named in one line, with the way
to its traceback.
"""

from __future__ import annotations

import errno
import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer
from typer.core import TyperGroup

from quant_assets.cli.terminal.console import complain
from quant_assets.contracts.source import SourceError
from quant_assets.datasets.daily_prices.due import OpenSessionError
from quant_assets.fetching.pace import PacingError, PacingFileError
from quant_assets.loading.run import AnotherMarketError, MixedMarketsError
from quant_assets.membership.custom import CustomUniverseError
from quant_assets.membership.refusals import RefusedUniverseError
from quant_assets.membership.unknown import UnknownUniverseError
from quant_assets.price_rules.decisions import DecisionError
from quant_assets.read.adjusted_rows import UnknownSourceError
from quant_assets.reference.calendars import CalendarRangeError
from quant_assets.reference.identity import (
    AmbiguousSymbolError,
    InvalidSymbolError,
    UnknownSymbolError,
)
from quant_assets.refreshing.steps import NothingToRefreshError
from quant_assets.settings.settings import SettingsError
from quant_assets.warehouse.warehouse import WarehouseError
from quant_assets.wiring.platform import NoListsError, UnknownSourceNameError

DONE, ATTENTION, USAGE, BROKEN = 0, 1, 2, 3
STOPPED = {signal.SIGINT: 130, signal.SIGTERM: 143}
"""What a shell expects of a command ended by Ctrl-C, and by a supervisor or ``kill``."""

_WRONG = (
    SettingsError,
    NoListsError,
    UnknownSourceNameError,
    UnknownSourceError,
    UnknownSymbolError,
    AmbiguousSymbolError,
    InvalidSymbolError,
    CalendarRangeError,
    OpenSessionError,
    MixedMarketsError,
    AnotherMarketError,
    RefusedUniverseError,
    CustomUniverseError,
    DecisionError,
    UnknownUniverseError,
    NothingToRefreshError,
)
_FAILED = (WarehouseError, SourceError, PacingError, PacingFileError)


class Commands(TyperGroup):
    """Every command: what a user can act on becomes a sentence and an exit code."""

    def invoke(self, ctx: typer.Context) -> object:  # type: ignore[override]
        if ctx.params["debug"]:
            return super().invoke(ctx)
        with warnings.catch_warnings(), _stopping() as stopped_by:
            # Those of the libraries are for whoever maintains this; the tests see them.
            warnings.simplefilter("ignore")
            try:
                return super().invoke(ctx)
            except BaseException as error:
                if _is_typers(error):
                    raise
                # DuckDB and Dagster have exceptions of their own for being interrupted.
                number = stopped_by()
                if number is None and isinstance(error, KeyboardInterrupt):
                    number = signal.SIGINT
                if number is not None:
                    complain("Stopped. What was stored stays; the same command goes on from there.")
                    raise typer.Exit(STOPPED[number]) from None
                if not isinstance(error, Exception):
                    raise
                raise typer.Exit(_explained(error)) from error


@contextmanager
def _stopping() -> Iterator[Callable[[], signal.Signals | None]]:
    """Let SIGTERM interrupt as Ctrl-C does; gives what tells which of the two has come, if any.

    Dagster puts its own handlers in the place of any other while a run is under way, and they do
    not say what they were called for. So the signals are read from Python's wakeup descriptor.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    outer = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)

    def stopped_by() -> signal.Signals | None:
        try:
            come = os.read(reading, 4096)
        except BlockingIOError:
            return None
        return next((number for number in STOPPED if number in come), None)

    try:
        yield stopped_by
    finally:
        signal.signal(signal.SIGTERM, before)
        signal.set_wakeup_fd(outer)
        os.close(reading)
        os.close(writing)


def _is_typers(error: BaseException) -> bool:
    """Whether typer tells of it, as of wrong usage; its base class has no public name."""
    broken_pipe = isinstance(error, OSError) and error.errno == errno.EPIPE
    return broken_pipe or isinstance(error, typer.Abort) or hasattr(error, "exit_code")


def _explained(error: Exception) -> int:
    """Say what went wrong; returns the exit code."""
    if isinstance(error, _WRONG):
        complain(f"Error: {error}")
        return USAGE
    if isinstance(error, _FAILED):
        complain(f"Error: {error}")
        return BROKEN
    if isinstance(error, OSError):
        complain(
            f"Error: {error}. Check that the folder exists, may be written and has room, then run "
            "this again; what was stored stays."
        )
        return BROKEN
    complain(
        f"Error: {type(error).__name__}: {error}\n"
        "This was not foreseen. For the whole traceback put --debug before the command: "
        "quant-assets --debug …"
    )
    return BROKEN
