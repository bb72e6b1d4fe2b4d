"""What commands about the data folder print: status, differences, pruned history, settings."""

from __future__ import annotations

import datetime as dt
import json
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from quant_assets.cli.terminal.console import complain, counted, say
from quant_assets.cli.terminal.tables import print_rows
from quant_assets.health.past_loads import AT_WORK, FINISHED
from quant_assets.reference.texts import printable
from quant_assets.schema.prices import DAILY_PRICES

if TYPE_CHECKING:
    from quant_assets.health.past_loads import PastLoad
    from quant_assets.health.verdict import Verdict
    from quant_assets.orchestration.instance.retention import Pruned
    from quant_assets.orchestration.runs.reconcile import Differences

_STATUS_TITLES = {
    "sources": "Daily prices by source",
    "market": "The market, the latest of each list",
    "universes": "Universes",
    "actions": "Corporate actions",
    "to_confirm": "Spin-offs that only prices show, to be confirmed",
    "ledger": "Symbol-days that are empty, failed or in quarantine",
    "quarantine": "Rows in quarantine",
    "unexplained": "Prices that a source changed, and nothing explains it",
    "basis_unknown": "Closes in no whole cents: an event that is not known is worked in",
    "tasks": "Load tasks",
    "delistings": "Delisted",
    "possibly_delisted": "Possibly delisted: the source no longer has the symbol",
    "notices": "What the last load of each source noted",
    "runs": "The last loads",
}


def print_differences(found: Differences, sessions: Sequence[dt.date], *, dry_run: bool) -> None:
    """Where Dagster and the warehouse differ, in stretches of consecutive sessions."""
    from quant_assets.datasets.daily_prices.key_states import stretches

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


def print_status(verdict: Verdict, found: Mapping[str, Any]) -> None:
    """The verdict, then the result of ``warehouse_status``, a table for each topic."""
    say(verdict.sentence())
    if verdict.lacking:
        say("quant-assets status --lacking lists each, with the command that mends it.")
    _print_unknown(verdict)
    say(f"{found['warehouse']}, {found['bytes'] / 1e6:,.1f} MB. Times are UTC.")
    shown = {key: found[key] for key in _STATUS_TITLES}
    shown["runs"] = [
        {
            "run": run["run_id"][:8],
            "source": _source_of(run),
            "started": run["started_at"],
            "state": run["state"],
            "inserted": run["inserted"],
            "revised": run["revised"],
            "quaran-\ntined": run["quarantined"],
            "failed": run["failed"],
        }
        for run in found["runs"]
    ]
    for key in ("tasks", "notices"):
        shown[key] = [
            {name: value for name, value in row.items() if name != "dataset"}
            | {"source": _source_of(row)}
            for row in found[key]
        ]
    for key, title in _STATUS_TITLES.items():
        print_rows(title, shown[key])


def print_lacking(verdict: Verdict) -> None:
    """What is lacking, a line for each symbol, and the commands that mend it."""
    say(verdict.sentence())
    _print_unknown(verdict)
    rows = [
        {
            "symbol": lack.symbol,
            "source": _source_of(vars(lack)),
            "sessions": lack.sessions or None,
            "first": lack.first,
            "last": lack.last,
            "why": lack.why(verdict.at),
        }
        for lack in verdict.lacking
    ]
    print_rows("Lacking", rows)
    if verdict.lacking:
        say("\nWhat mends it:")
        for command in verdict.commands():
            # One line each, however long, so that it can be copied.
            sys.stdout.write(f"  {printable(command)}\n")


def _print_unknown(verdict: Verdict) -> None:
    for symbol, why in verdict.unknown.items():
        say(f"Not counted: {symbol}, which no index has and which was given up. {why}")


def print_endings(loads: Sequence[PastLoad]) -> None:
    """How the loads of a run ended, where that was not of themselves."""
    for load in loads:
        if load.state == FINISHED:
            continue
        stored = f"{counted(load.inserted, 'row')} new"
        done = f"{load.answered:,} of {counted(load.symbols, 'symbol')} done, {stored}"
        what = f"Load {load.run_id[:8]} of {load.dataset} from {load.source}"
        if load.state.startswith(AT_WORK):
            complain(f"Note: {what} is {load.state}: {done} so far.")
        else:
            complain(
                f"Note: {what} was {load.state}: {done}. What it stored stays; quant-assets resume "
                "loads what is still lacking."
            )


def _source_of(row: Mapping[str, Any]) -> str:
    """The source of a load or task, with its dataset unless that is daily prices."""
    prices = row["dataset"] == DAILY_PRICES.name
    return str(row["source"]) if prices else f"{row['source']} {row['dataset']}"


def print_pruned(pruned: Pruned, before: dt.datetime, *, dry_run: bool) -> None:
    """The part of Dagster's history that was deleted, or would be."""
    since = f"{before:%Y-%m-%d %H:%M} UTC"
    if not pruned:
        say(f"Nothing to delete of the time before {since}.")
    else:
        say(f"{'Would delete' if dry_run else 'Deleted'} of the time before {since}: {pruned}.")
    for note in pruned.left_alone:
        complain(f"Note: {note}")


def print_settings(values: Mapping[str, Any], prefix: str = "") -> None:
    """One line for each setting, nested ones with dots."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            print_settings(value, f"{prefix}{key}.")
        else:
            sys.stdout.write(f"{prefix}{key} = {json.dumps(value)}\n")
