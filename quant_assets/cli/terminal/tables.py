"""Rows as tables, CSV or JSON."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from quant_assets.cli.terminal.console import say, show_json
from quant_assets.reference.texts import printable, spreadsheet_text

if TYPE_CHECKING:
    import pandas as pd

Form = Literal["table", "csv", "json"]

_WRAPPING = (
    "reason",
    "message",
    "notice",
    "error",
    "for_example",
    "why",
    "name",
    "sector",
    "source",
    "we followed",
)
"""Columns that may wrap; numbers and days never do."""

_DAYS = ("session", "_on", "_from")
"""Endings of columns that hold days, which frames keep as times at midnight."""

_LONG = (
    "dataset",
    "start_session",
    "end_session",
    "requested",
    "unchanged",
    "completeness",
    "first_session",
    "last_session",
    "stack",
    "finished_at",
)
"""Columns of past loads that CSV and JSON have, and a table has no room for."""


def print_frame(frame: pd.DataFrame, form: Form) -> None:
    """Rows as a table, as CSV or as JSON."""
    if form == "csv":
        print_csv(frame)
        return
    days = {str(name): frame[name].dt.date for name in frame if str(name).endswith(_DAYS)}
    plain = frame.assign(**days).astype(object).where(frame.notna(), None)
    rows: list[dict[str, Any]] = [
        {str(key): value for key, value in row.items()} for row in plain.to_dict("records")
    ]
    if form == "json":
        show_json(rows)
        return
    if not rows:
        say("There is nothing to show.")
    for row in rows:
        if "run_id" in row:
            row["run_id"] = row["run_id"][:8]
    empty = {key for key in frame.columns if all(row[key] in (None, "", 0) for row in rows)}
    print_rows("", [{k: v for k, v in row.items() if k not in {*_LONG, *empty}} for row in rows])


def print_csv(frame: pd.DataFrame) -> None:
    """A frame as CSV; texts that a spreadsheet would run as a formula begin with an apostrophe."""
    safe = frame.copy()
    for name in frame:
        if frame[name].dtype in (object, "str"):
            safe[name] = [spreadsheet_text(x) if isinstance(x, str) else x for x in frame[name]]
    print(safe.to_csv(index=False), end="")


def _volume(volume: float) -> str:
    """Without a decimal point, but for a fraction of a few coins."""
    return f"{volume:,.8g}" if volume < 1_000 else f"{volume:,.0f}"


def print_prices(frame: pd.DataFrame, form: Form) -> None:
    """The tidy frame of ``read.prices``, plainly: it may have thousands of lines."""
    if form == "table":
        if not frame.empty:
            volume = {"volume": _volume}
            print(frame.to_string(index=False, na_rep="", formatters=volume))
        return
    volumes = frame["volume"]
    whole = bool((volumes.isna() | (volumes == volumes.round())).all())
    plain = frame.assign(
        session=frame["session"].dt.strftime("%Y-%m-%d"),
        # Whole shares without a decimal point; adjusted volumes may have parts.
        volume=volumes.astype("Int64") if whole else volumes,
    )
    if form == "csv":
        print_csv(plain)
    else:
        print(plain.to_json(orient="records", double_precision=12))


def print_rows(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Print rows that have the same keys as a table; no rows print nothing.

    Numbers are right-aligned. In a narrow terminal columns move together before text wraps.
    """
    if not rows:
        return
    console = Console()
    table = Table(title=title or None, title_justify="left", box=None, pad_edge=False)
    for key, value in rows[0].items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        wraps = key in _WRAPPING
        table.add_column(
            key.replace("_", " "),
            justify="right" if number else "left",
            vertical="top",
            no_wrap=not wraps,
            overflow="fold",
        )
    for row in rows:
        table.add_row(*(_shown(value) for value in row.values()))
    needed = Measurement.get(console, console.options, table).maximum
    if needed >= console.width:
        table.padding = (0, 1, 0, 0)
    console.print()
    console.print(table, markup=False, highlight=False)


def _shown(value: object) -> str:
    if isinstance(value, dt.datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    if isinstance(value, int):
        return f"{value:,}"
    return "" if value is None else printable(str(value))
