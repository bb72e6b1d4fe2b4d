"""How text reaches the terminal: sentences, JSON, progress.

Results go to standard output; progress, notes and errors to standard error.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

from rich.console import Console

from quant_assets.reference.secrets import masked
from quant_assets.reference.texts import printable

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn


def say(text: str) -> None:
    """A sentence to standard output: at a terminal broken between words, elsewhere one line."""
    _print(Console(), text)


def complain(text: str) -> None:
    """A sentence to standard error; it may quote what was typed, so it is masked."""
    _print(Console(stderr=True), masked(text))


def _print(console: Console, text: str) -> None:
    console.print(
        printable(text),
        markup=False,
        highlight=False,
        emoji=False,
        soft_wrap=not console.is_terminal,
    )


def counted(number: int, noun: str) -> str:
    """A number and its noun: 1 symbol, 1,200 symbols."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def show_json(value: object) -> None:
    print(json.dumps(value, default=str))


@contextmanager
def progress(*, quiet: bool) -> Iterator[Callable[[int, int, str], None]]:
    """Print the number of symbols done, of all, to standard error at most once a second.

    A bar at a terminal, removed when the work is done; lines elsewhere.
    """
    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield _silent if quiet else _lines(console)
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn

    with _bar(console, BarColumn(), MofNCompleteColumn(), TextColumn("symbols")) as bar:
        task = bar.add_task("loading", total=None)

        def step(done: int, total: int, what: str) -> None:
            bar.update(task, completed=done, total=total, description=f"loading {what}"[:40])

        yield step


def working(what: str) -> AbstractContextManager[Progress]:
    """A sign of life at a terminal, while ``what`` goes on."""
    from rich.progress import SpinnerColumn

    bar = _bar(Console(stderr=True), SpinnerColumn())
    bar.add_task(what, total=None)
    return bar


def _bar(console: Console, *columns: ProgressColumn) -> Progress:
    from rich.progress import Progress, TextColumn, TimeElapsedColumn

    return Progress(
        TextColumn("{task.description}"),
        *columns,
        TimeElapsedColumn(),
        console=console,
        transient=True,
        refresh_per_second=1,
        disable=not console.is_terminal,
    )


def _silent(done: int, total: int, what: str) -> None:
    return


def _lines(console: Console) -> Callable[[int, int, str], None]:
    printed_at = time.monotonic()

    def step(done: int, total: int, what: str) -> None:
        nonlocal printed_at
        if time.monotonic() - printed_at >= 1:
            printed_at = time.monotonic()
            _print(console, f"loading: {done:,} of {total:,} symbols done")

    return step
