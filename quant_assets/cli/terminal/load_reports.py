"""What loads print: the report, the request budget, the demo, a first chart."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from quant_assets.cli.terminal.console import complain, counted, say
from quant_assets.cli.terminal.tables import print_rows
from quant_assets.fetching.pace import Budget
from quant_assets.loading.report import LoadReport
from quant_assets.refreshing.whole_steps import WHOLE
from quant_assets.schema.prices import DAILY_PRICES

TROUBLED_SHOWN = 20
"""Symbols a report lists before it says how many more there are."""


def print_demo(facts: Mapping[str, Any]) -> None:
    """The size of the demo's market, and what to do next."""
    first, last = facts["first_session"], facts["last_session"]
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(justify="right", style="bold", no_wrap=True)
    table.add_column()
    for number, what in (
        (facts["symbols"], "symbols"),
        (facts["sessions"], f"sessions, {first} to {last}"),
        (facts["rows"], "rows of daily prices, one a symbol-day"),
        (facts["corporate_actions"], "corporate actions: splits, dividends, spin-offs"),
        (facts["listed"], "listed securities in the snapshot of the market"),
        (facts["seconds"], "seconds"),
    ):
        table.add_row(f"{number:,}", what)
    command = as_typed()
    say("A simulated market, materialized through Dagster into DuckDB:")
    Console().print(table)
    say(
        f"The data is in {facts['data']}\n\n"
        "What to do next:\n"
        f"  {command} ui            the asset graph and its symbol-days in the browser\n"
        f"  {command} status        what the database holds\n"
        f"  {command} prices XDADA  its last 30 days\n"
        f"  {command} market        every listed security with its size\n"
        "  README.md goes on from there, with an archive of yours and with real prices, each in a "
        "data folder of its own"
    )


def as_typed() -> str:
    """The command line's name as a user can type it: with its path, where a shell would not find
    it or would find another.
    """
    ours = Path(sys.executable).with_name("quant-assets")
    found = shutil.which("quant-assets")
    if (found and os.path.samefile(found, ours)) or not ours.exists():
        return "quant-assets"
    path = os.path.relpath(ours)
    return shlex.quote(path if not path.startswith("..") else str(ours))


def print_report(report: LoadReport) -> None:
    """The summary of a load, and the symbols with trouble."""
    if report.dataset == DAILY_PRICES.name:
        _print_prices(report)
    else:
        _print_rows(report)
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


def _print_rows(report: LoadReport) -> None:
    """The totals of a dataset without a grid of sessions."""
    what = f"{report.dataset} from {report.source}"
    noun = "list" if report.dataset in WHOLE else "symbol"
    asked, done = counted(len(report.symbols), noun), counted(report.up_to_date, noun)
    if report.dry_run and report.symbols:
        say(f"Would ask for {what}: {asked}. Nothing was requested and nothing written.")
    elif report.symbols:
        seconds = (report.finished_at - report.started_at).total_seconds()
        say(
            f"{what}: {counted(report.total('inserted'), 'row')} new, "
            f"{report.total('revised'):,} revised, {report.total('unchanged'):,} unchanged; "
            f"{report.total('quarantined'):,} quarantined, {report.total('failed'):,} failed; "
            f"{asked}, {seconds:.1f} s."
        )
    elif report.up_to_date or not (report.left or report.postponed):
        say(f"Nothing due: {what}, {done} up to date. Nothing was written.")


def _print_prices(report: LoadReport) -> None:
    """The totals of symbol-days."""
    seconds = (report.finished_at - report.started_at).total_seconds()
    window = f"{report.window.start} to {report.window.end}"
    symbols = counted(len(report.symbols), "symbol")
    settled = (
        f"{counted(report.up_to_date, 'symbol')} {'has' if report.up_to_date == 1 else 'have'}"
    )
    if report.dry_run and report.symbols:
        say(
            f"Would ask {report.source} for {symbols}, "
            f"{counted(report.total('requested'), 'symbol-day')}, {window}; {settled} "
            "everything already. Nothing was requested and nothing written."
        )
    elif report.symbols:
        say(
            f"{report.source}: {report.total('inserted'):,} rows new, "
            f"{report.total('revised'):,} revised, {report.total('unchanged'):,} unchanged; "
            f"{report.total('quarantined'):,} quarantined, "
            f"{counted(report.total('empty'), 'symbol-day')} confirmed empty, "
            f"{report.total('failed'):,} failed; {symbols}, {window}, {seconds:.1f} s."
        )
    elif report.up_to_date or not (report.left or report.postponed):
        say(
            f"Nothing due: {settled} every session from {window}. Nothing was written. "
            f"({seconds:.1f} s)"
        )


def _print_left(left: Mapping[str, str]) -> None:
    """Symbols with something due that were not requested, those of one reason together."""
    by_reason: dict[str, list[str]] = {}
    for symbol, reason in left.items():
        by_reason.setdefault(reason, []).append(symbol)
    for reason, symbols in by_reason.items():
        complain(f"Not requested: {_few(symbols)}; {reason}.")


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
    command = as_typed()
    say(
        f"\nThe data is in {home}\n\n"
        "What to do next:\n"
        f"  {command} prices {symbols[0]}   its last 30 days, as traded\n"
        f"  {command} refresh        up to the last closed session, whenever you like\n"
        f"  {command} ui             the asset graph in the browser"
    )


def print_budget(source: str, budget: Budget) -> None:
    """The requests a source had lately, and whether its circuit breaker is open."""
    used = f"{budget.requests_last_hour:,} of {budget.hourly_cap:,} requests in the last hour"
    until = budget.breaker_until
    down = f"; it was down, and gets no request until {until:%H:%M:%S} UTC" if until else ""
    complain(f"{source}: {used}{down}.")


def print_sources(rows: Sequence[Mapping[str, Any]]) -> None:
    """Each source: whether it can be reached, and how much of its request budget is used."""
    for row in rows:
        say(
            f"{row['source']}: {row['state']} in {row['seconds']:.1f} s; {row['detail']}\n"
            f"  {row['requests_last_hour']:,} of {row['hourly_cap']:,} requests in the last hour; "
            f"today {row['requests_today']:,}, of which {row['throttled_today']:,} were limited "
            f"and {row['failed_today']:,} failed."
        )
