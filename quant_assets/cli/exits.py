"""How a command ends: its exit code, and an error as a sentence.

The message of a ``ForeseenError`` is printed as it stands; any other error becomes one line that
says how to get its traceback.
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
from quant_assets.reference.errors import BrokenError, ForeseenError, UsageError
from quant_assets.reference.secrets import masked

DONE, ATTENTION, USAGE, BROKEN = 0, 1, UsageError.ends_with, BrokenError.ends_with
STOPPED = {signal.SIGINT: 130, signal.SIGTERM: 143}
"""What a shell expects of a command ended by Ctrl-C, and by a supervisor or ``kill``."""


class Commands(TyperGroup):
    """All commands: an error becomes a sentence on standard error and an exit code."""

    def invoke(self, ctx: typer.Context) -> object:  # type: ignore[override]
        if ctx.params["debug"]:
            return super().invoke(ctx)
        with warnings.catch_warnings(), _stopping() as stopped_by:
            # Warnings of libraries are for maintainers; the tests turn them into errors.
            warnings.simplefilter("ignore")
            try:
                return super().invoke(ctx)
            except BaseException as error:
                if _is_typers(error):
                    if isinstance(text := getattr(error, "message", None), str):
                        error.message = masked(text)  # type: ignore[attr-defined]
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
                raise typer.Exit(explain(error)) from error


@contextmanager
def _stopping() -> Iterator[Callable[[], signal.Signals | None]]:
    """Let SIGTERM interrupt as Ctrl-C does; yields a function that returns the signal received.

    While a run is under way, Dagster's own handlers replace all others, and they do not tell which
    signal they were called for. So the signals are read from Python's wakeup descriptor.
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
            received = os.read(reading, 4096)
        except BlockingIOError:
            return None
        return next((number for number in STOPPED if number in received), None)

    try:
        yield stopped_by
    finally:
        signal.signal(signal.SIGTERM, before)
        signal.set_wakeup_fd(outer)
        os.close(reading)
        os.close(writing)


def _is_typers(error: BaseException) -> bool:
    """Whether Typer reports the error itself, as wrong usage; its base class has no public name."""
    broken_pipe = isinstance(error, OSError) and error.errno == errno.EPIPE
    return broken_pipe or isinstance(error, typer.Abort) or hasattr(error, "exit_code")


def explain(error: Exception) -> int:
    """Print what went wrong to standard error; returns the exit code."""
    if isinstance(error, ForeseenError):
        complain(f"Error: {error}")
        return error.ends_with
    if isinstance(error, OSError):
        complain(
            f"Error: {error}. Check that the folder exists, may be written and has room, then run "
            "this again; what was stored stays."
        )
        return BROKEN
    complain(
        f"Error: {type(error).__name__}: {error}\n"
        "This error was not expected. For its traceback put --debug before the command: "
        "quant-assets --debug …"
    )
    return BROKEN
