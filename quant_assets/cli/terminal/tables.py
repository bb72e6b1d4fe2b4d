"""What a person sees: tables, progress and reports of the command line. Nothing is decided here.

Results go to standard output; progress, notes and errors to standard error.
"""

from __future__ import annotations

import datetime as dt
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from rich.console import Console
from rich.measure import Measurement
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from quant_assets.datasets.daily_prices.key_states import stretches
from quant_assets.fetching.pacer import Budget
from quant_assets.loading.report import LoadReport

if TYPE_CHECKING:
    from quant_assets.orchestration.instance.retention import Pruned
    from quant_assets.orchestration.runs.reconcile import Differences

TROUBLED_SHOWN = 20
"""Symbols a report lists before it says how many more there are."""

_WRAPPING = (
    "reason",
    "message",
    "error",
    "for_example",
    "why",
    "name",
    "sector",
    "source",
    "we followed",
)
"""Columns that may go on in a second line; numbers and days never do."""

_DAYS = ("_session", "_on", "_from")
"""Endings of columns that hold days, which frames keep as times at midnight."""

_STATUS_TITLES = {
    "sources": "Daily prices by source",
    "universes": "Universes",
    "actions": "Corporate actions",
    "ledger": "Symbol-days that are not simply present",
    "quarantine": "Rows in quarantine",
    "tasks": "Load tasks",
    "delistings": "Delisted",
    "possibly_delisted": "Possibly delisted: the source knows them no longer",
    "runs": "The last loads",
}


def say(text: str) -> None:
    """A sentence to standard output: at a terminal broken between words, elsewhere one line."""
    _print(Console(), text)


def complain(text: str) -> None:
    """A sentence to standard error."""
    _print(Console(stderr=True), text)


def _print(console: Console, text: str) -> None:
    console.print(
        text, markup=False, highlight=False, emoji=False, soft_wrap=not console.is_terminal
    )


def counted(number: int, noun: str) -> str:
    """A number and its noun: 1 symbol, 1,200 symbols."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def show_json(value: object) -> None:
    print(json.dumps(value, default=str))


@contextmanager
def progress(*, quiet: bool) -> Iterator[Callable[[int, int, str], None]]:
    """Symbols done and in all, on standard error, at most once a second.

    At a terminal a bar that goes when the work is done, elsewhere lines.
    """
    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield _silent if quiet else _lines(console)
        return
    with _bar(console, BarColumn(), MofNCompleteColumn(), TextColumn("symbols")) as bar:
        task = bar.add_task("loading", total=None)

        def step(done: int, total: int, what: str) -> None:
            bar.update(task, completed=done, total=total, description=f"loading {what}"[:40])

        yield step


def working(what: str) -> AbstractContextManager[Progress]:
    """A sign of life at a terminal, while ``what`` goes on."""
    bar = _bar(Console(stderr=True), SpinnerColumn())
    bar.add_task(what, total=None)
    return bar


def _bar(console: Console, *columns: ProgressColumn) -> Progress:
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
    told = time.monotonic()

    def step(done: int, total: int, what: str) -> None:
        nonlocal told
        if time.monotonic() - told >= 1:
            told = time.monotonic()
            _print(console, f"loading: {done:,} of {total:,} symbols done")

    return step


def print_differences(found: Differences, sessions: Sequence[dt.date], *, dry_run: bool) -> None:
    """Where Dagster and the warehouse differ, in stretches of consecutive sessions."""
    table = Table("symbol", "first", "last", "sessions", "what", box=None, pad_edge=False)
    for days, before, after in (
        (found.unseen, "in the warehouse, not green", "in the warehouse; green now"),
        (found.lost, "green without data", "was green without data; red now"),
        (found.unseen_failures, "failed, not red", "failed; red now"),
    ):
        for symbol, first, last, number in stretches(days, sessions):
            what = before if dry_run else after
            table.add_row(symbol, str(first), str(last), f"{number:,}", what)
    if table.row_count:
        Console(highlight=False).print(table)
    if found.tickers:
        verb = "lack" if dry_run else "lacked"
        say(f"Tickers that {verb} their partitions: {', '.join(found.tickers)}.")
    for symbol in found.busy:
        say(f"{symbol} is being loaded, and was left out.")
    if not found.any:
        say(f"{counted(found.compared, 'symbol-day')} compared; Dagster and the warehouse agree.")
        return
    say(
        f"{counted(found.compared, 'symbol-day')} compared: {len(found.unseen):,} in the warehouse "
        f"and not green, {len(found.lost):,} green without data, "
        f"{len(found.unseen_failures):,} failed and not red."
    )
    if dry_run:
        say("Nothing was changed. quant-assets reconcile mends it.")
    elif found.lost or found.unseen_failures:
        say("Load the red ones again: quant-assets backfill --dagster, or a backfill in the UI.")


def print_demo(facts: Mapping[str, Any]) -> None:
    """What the demo made, and what to do next."""
    first, last = facts["first_session"], facts["last_session"]
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(justify="right", style="bold", no_wrap=True)
    table.add_column()
    for number, what in (
        (facts["symbols"], "symbols"),
        (facts["sessions"], f"sessions, {first} to {last}"),
        (facts["rows"], "rows of daily prices, one a symbol-day"),
        (facts["corporate_actions"], "corporate actions: splits, dividends, spin-offs"),
        (facts["seconds"], "seconds"),
    ):
        table.add_row(f"{number:,}", what)
    say("A simulated market, materialized through Dagster into DuckDB:")
    Console().print(table)
    say(
        f"The data is in {facts['data']}\n\n"
        "What to do next:\n"
        "  quant-assets ui            the asset graph and its symbol-days in the browser\n"
        "  quant-assets status        what the database holds\n"
        "  quant-assets prices XDADA  its last 30 days\n"
        "  README.md                  the tour goes on there, with your own archive"
    )


def print_report(report: LoadReport) -> None:
    """The summary of a load, and the symbols with trouble."""
    seconds = (report.finished_at - report.started_at).total_seconds()
    window = f"{report.window.start} to {report.window.end}"
    symbols = counted(len(report.symbols), "symbol")
    settled = f"{counted(report.settled, 'symbol')} {'has' if report.settled == 1 else 'have'}"
    if report.dry_run and report.symbols:
        say(
            f"Would ask {report.source} for {symbols}, "
            f"{counted(report.total('requested'), 'symbol-day')}, {window}; {settled} "
            "everything already. Nothing was asked for and nothing written."
        )
    elif report.symbols:
        say(
            f"{report.source}: {report.total('inserted'):,} rows new, "
            f"{report.total('revised'):,} revised, {report.total('unchanged'):,} unchanged; "
            f"{report.total('quarantined'):,} quarantined, "
            f"{counted(report.total('empty'), 'symbol-day')} confirmed empty, "
            f"{report.total('failed'):,} failed; {symbols}, {window}, {seconds:.1f} s."
        )
    elif report.settled or not (report.left or report.postponed):
        say(
            f"Nothing due: {settled} every session from {window}. Nothing was written. "
            f"({seconds:.1f} s)"
        )
    for notice in report.notices:
        complain(f"Note: {notice}")
    for outage in report.outages:
        complain(f"Note: {outage.describe(report.source)}")
    _print_left(report.left)
    if report.postponed:
        complain(f"Left for the next time: {_few(report.postponed)}.")
    alone = {failure.symbol for failure in report.failures}
    troubled = [r for r in report.symbols if r.symbol in alone or r.quarantined]
    rows = [
        {
            "symbol": row.symbol,
            "quarantined": row.quarantined,
            "failed": row.failed,
            "why": row.error or "quant-assets status shows the reasons",
        }
        for row in troubled[:TROUBLED_SHOWN]
    ]
    print_rows("Needs attention", rows)
    if len(troubled) > len(rows):
        say(f"… and {len(troubled) - len(rows):,} more. quant-assets status shows the reasons.")


def _print_left(left: Mapping[str, str]) -> None:
    """Symbols with something due that were not asked for, those of one reason together."""
    by_reason: dict[str, list[str]] = {}
    for symbol, reason in left.items():
        by_reason.setdefault(reason, []).append(symbol)
    for reason, symbols in by_reason.items():
        complain(f"Not asked for: {_few(symbols)}; {reason}.")


def _few(symbols: Sequence[str]) -> str:
    more = f" and {len(symbols) - 5:,} more" if len(symbols) > 5 else ""
    return ", ".join(symbols[:5]) + more


def print_charts(frame: pd.DataFrame) -> None:
    """The closes of each symbol of a price frame as a chart of blocks, the newest on the right."""
    for symbol, rows in frame.groupby("symbol", sort=False):
        closes = rows.set_index("session")["close"]
        first, last = closes.index[0].date(), closes.index[-1].date()
        change = closes.iloc[-1] / closes.iloc[0] - 1
        say(
            f"\n{symbol}  {closes.iloc[-1]:,.2f}  {change:+.1%} from {first} to {last}, "
            f"{counted(len(closes), 'session')}, split-adjusted"
        )
        for line in _blocks(closes.to_numpy(dtype=float)):
            say(line)


def _blocks(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> list[str]:
    """Values as columns of block characters, six lines of up to 72 columns, with a scale."""
    columns = np.array([some.mean() for some in np.array_split(values, min(72, len(values)))])
    low, high = columns.min(), columns.max()
    eighths = np.round((columns - low) / (high - low or 1.0) * (6 * 8 - 1)).astype(int) + 1
    lines = []
    for row in reversed(range(6)):
        filled = "".join(" ▁▂▃▄▅▆▇█"[max(0, min(8, each - 8 * row))] for each in eighths)
        label = {5: f"{high:,.2f}", 0: f"{low:,.2f}"}.get(row, "")
        lines.append(f"{label:>12} {filled}")
    return lines


def print_next_steps(home: Path, symbols: Sequence[str]) -> None:
    say(
        f"\nThe data is in {home}\n\n"
        "What to do next:\n"
        f"  quant-assets prices {symbols[0]}   its last 30 days, as traded\n"
        "  quant-assets refresh        up to the last closed session, whenever you like\n"
        "  quant-assets ui             the asset graph in the browser"
    )


def print_budget(source: str, budget: Budget) -> None:
    """Before a source is asked: how much it was asked lately, and whether it is left alone."""
    used = f"{budget.requests_last_hour:,} of {budget.hourly_cap:,} requests in the last hour"
    until = budget.breaker_until
    down = f"; it was down, and is left alone until {until:%H:%M:%S} UTC" if until else ""
    complain(f"{source}: {used}{down}.")


def print_sources(rows: Sequence[Mapping[str, Any]]) -> None:
    """Each source: whether it can be reached, and what is left of its budget."""
    for row in rows:
        say(
            f"{row['source']}: {row['state']} in {row['seconds']:.1f} s; {row['detail']}\n"
            f"  {row['requests_last_hour']:,} of {row['hourly_cap']:,} requests in the last hour; "
            f"today {row['requests_today']:,}, of which {row['throttled_today']:,} were limited "
            f"and {row['failed_today']:,} failed."
        )


_LONG = (
    "dataset",
    "start_session",
    "end_session",
    "requested",
    "unchanged",
    "stack",
    "finished_at",
)
"""Columns of past loads that CSV and JSON have, and a table has no room for."""


def print_frame(frame: pd.DataFrame, form: Literal["table", "csv", "json"]) -> None:
    """Rows as a table, as CSV or as JSON."""
    if form == "csv":
        print(frame.to_csv(index=False), end="")
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


def print_status(found: Mapping[str, Any]) -> None:
    """What ``warehouse_status`` found, a table a topic."""
    say(f"{found['warehouse']}, {found['bytes'] / 1e6:,.1f} MB. Times are UTC.")
    shown = {key: found[key] for key in _STATUS_TITLES}
    shown["runs"] = [
        {
            "run": run["run_id"][:8],
            "source": run["source"],
            "started": run["started_at"],
            "inserted": run["inserted"],
            "revised": run["revised"],
            "quaran-\ntined": run["quarantined"],
            "failed": run["failed"],
        }
        for run in found["runs"]
    ]
    for key, title in _STATUS_TITLES.items():
        print_rows(title, shown[key])
    for run in found["runs"]:
        if run["finished_at"] is None:
            complain(
                f"Note: load {run['run_id'][:8]} has no end on record: it is at work, or was "
                "stopped. What it stored stays; the same command goes on from there."
            )


def print_pruned(pruned: Pruned, before: dt.datetime, *, dry_run: bool) -> None:
    """What was deleted of Dagster's history, or would be."""
    since = f"{before:%Y-%m-%d %H:%M} UTC"
    if not pruned:
        say(f"Nothing to delete of the time before {since}.")
    else:
        say(f"{'Would delete' if dry_run else 'Deleted'} of the time before {since}: {pruned}.")
    for note in pruned.left_alone:
        complain(f"Note: {note}")


def print_prices(frame: pd.DataFrame, form: Literal["table", "csv", "json"]) -> None:
    """The tidy frame of ``read.prices``, plainly: it may have thousands of lines."""
    if form == "table":
        if not frame.empty:
            volume = {"volume": "{:,.0f}".format}
            print(frame.to_string(index=False, na_rep="", formatters=volume))
        return
    volumes = frame["volume"]
    whole = bool((volumes.isna() | (volumes == np.floor(volumes))).all())
    plain = frame.assign(
        session=frame["session"].dt.strftime("%Y-%m-%d"),
        # Whole shares without a decimal point; adjusted volumes may have parts.
        volume=volumes.astype("Int64") if whole else volumes,
    )
    if form == "csv":
        print(plain.to_csv(index=False), end="")
    else:
        print(plain.to_json(orient="records", double_precision=12))


def print_settings(values: Mapping[str, Any], prefix: str = "") -> None:
    """A line a setting, nested ones with dots."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            print_settings(value, f"{prefix}{key}.")
        else:
            sys.stdout.write(f"{prefix}{key} = {json.dumps(value)}\n")


def print_rows(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """A table of rows that have the same keys; nothing where there are none.

    Numbers stand to the right. Where the terminal is narrow, columns move together before text is
    broken between words.
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
    return "" if value is None else str(value)
