"""The command line: ``quant-assets``. Words in, plain objects called, words out; no logic.

Exit codes: 0 done, 1 done but something needs attention, 2 wrong usage or settings, 3 broken.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from quant_assets import read
from quant_assets.backups import publish
from quant_assets.calendars import CalendarRangeError
from quant_assets.corporate_actions import DecisionError
from quant_assets.derive.price_rows import UnknownSourceError
from quant_assets.identity import (
    AmbiguousSymbolError,
    InvalidSymbolError,
    UnknownSymbolError,
    canonical_symbol,
)
from quant_assets.load_report import LoadReport
from quant_assets.loading import MixedMarketsError, load
from quant_assets.planning import OpenSessionError, Window
from quant_assets.platform import Platform, UnknownSourceNameError
from quant_assets.settings import SettingsError, load_settings, shown
from quant_assets.sources.contract import SourceError
from quant_assets.sources.membership import MembershipLists
from quant_assets.status import warehouse_status
from quant_assets.tables import data_dictionary
from quant_assets.universe import ImplausibleUniverseError, import_universe
from quant_assets.warehouse import WarehouseError

DONE, ATTENTION, USAGE, BROKEN = 0, 1, 2, 3

_WRONG = (
    SettingsError,
    UnknownSourceNameError,
    UnknownSourceError,
    UnknownSymbolError,
    AmbiguousSymbolError,
    InvalidSymbolError,
    CalendarRangeError,
    OpenSessionError,
    MixedMarketsError,
    ImplausibleUniverseError,
    DecisionError,
)

app = typer.Typer(
    help="An S&P 500 research database in DuckDB, kept by a Dagster asset graph.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
universe_app = typer.Typer(help="Who belongs to an index, and when.", no_args_is_help=True)
config_app = typer.Typer(help="The settings in force.", no_args_is_help=True)
app.add_typer(universe_app, name="universe")
app.add_typer(config_app, name="config")

out = Console()
err = Console(stderr=True)

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
Day = Annotated[dt.datetime | None, typer.Option(formats=["%Y-%m-%d"])]


@app.callback()
def common(
    context: typer.Context,
    config: Annotated[
        Path | None, typer.Option(help="Settings file; else QUANT_ASSETS_CONFIG.")
    ] = None,
) -> None:
    context.obj = config


def _platform(context: typer.Context, **flags: object) -> Platform:
    given = {key: value for key, value in flags.items() if value is not None}
    config = context.find_root().obj
    return Platform(load_settings(os.environ, config=config, flags=given))


@app.command()
def demo(
    context: typer.Context,
    symbols: Annotated[int, typer.Option(help="Companies in the market.", min=2)] = 20,
    years: Annotated[int, typer.Option(help="Years of history.", min=1)] = 1,
    as_json: Json = False,
) -> None:
    """Materialize the whole asset graph on a simulated market; no network is used."""
    from quant_assets.materialize import Materialized, materialize_all_prices, materialize_asset

    size = {"symbols": symbols, "years": years}
    platform = _platform(context, source="simulated", simulated=size, universe={})
    calendar = platform.calendar
    end = calendar.last_closed_session(platform.clock())
    window_start = max(platform.simulated_market().start, platform.settings.partition_start)
    start = calendar.between(window_start, end)[0]
    _refuse_real_data(platform)
    began = time.monotonic()
    steps: list[tuple[str, Callable[[], Materialized]]] = [
        ("sp500_universe", lambda: materialize_asset(platform, "sp500_universe")),
        ("daily_prices", lambda: materialize_all_prices(platform, start, end)),
        ("corporate_actions", lambda: materialize_asset(platform, "corporate_actions")),
    ]
    for name, run in steps:
        with err.status(f"materializing {name} …"):
            result = run()
        if not result.success:
            err.print(f"[red]{name} failed[/red] (run {result.run_id}): {result.failure}")
            raise typer.Exit(BROKEN)
        err.print(f"[green]✓[/green] {name}")
    publish(platform.warehouse)
    status = warehouse_status(platform.warehouse)
    _print_demo(status, time.monotonic() - began, platform, as_json=as_json)


def _refuse_real_data(platform: Platform) -> None:
    if not platform.warehouse.exists():
        return
    with platform.warehouse.reading() as con:
        real = con.execute("select source from sources where not simulated limit 1").fetchone()
    if real:
        raise MixedMarketsError("simulated", real[0])


def _print_demo(
    status: Mapping[str, Any], seconds: float, platform: Platform, *, as_json: bool
) -> None:
    prices = status["sources"][0]
    home = platform.settings.home_path
    facts = {
        "symbols": prices["symbols"],
        "sessions": len(platform.calendar.between(prices["first_session"], prices["last_session"])),
        "rows": prices["rows"],
        "corporate_actions": sum(row["events"] for row in status["actions"]),
        "first_session": prices["first_session"],
        "last_session": prices["last_session"],
        "seconds": round(seconds, 1),
        "data": str(home),
    }
    if as_json:
        print(json.dumps(facts, default=str))
        return
    table = Table(title="A simulated market, materialized through Dagster into DuckDB", box=None)
    table.add_column(justify="right", style="bold")
    table.add_column()
    table.add_row(f"{facts['symbols']}", "symbols")
    span = f"{facts['first_session']} to {facts['last_session']}"
    table.add_row(f"{facts['sessions']}", f"sessions, {span}")
    table.add_row(f"{facts['rows']:,}", "rows of daily prices, one a symbol-day")
    table.add_row(f"{facts['corporate_actions']:,}", "corporate actions (splits, dividends, …)")
    table.add_row(f"{facts['seconds']}", "seconds")
    out.print(table)
    out.print(f"\nThe data is in {home}", soft_wrap=True)
    out.print(
        "What to do next:\n"
        "  quant-assets ui          the asset graph and its symbol-days, http://127.0.0.1:3000\n"
        "  quant-assets status      what the database holds\n"
        '  python -c "from quant_assets.read import prices; '
        "print(prices(None, '2026-01-02', '2026-12-31', adjust='total_return'))\"\n"
        "  README.md                the tour goes on there, with your own archive",
        highlight=False,
        soft_wrap=True,
    )


@app.command()
def backfill(
    context: typer.Context,
    source: Annotated[
        str, typer.Option(help="files, files:<archive> or simulated; else the settings' source.")
    ] = "",
    start: Day = None,
    end: Day = None,
    days: Annotated[
        int | None, typer.Option(help="Days up to --end, in place of --start.", min=1)
    ] = None,
    symbols: Annotated[
        str, typer.Option(help="Tickers, separated by commas; else all the source holds.")
    ] = "",
    force: Annotated[bool, typer.Option(help="Ask again for what is here already.")] = False,
    dry_run: Annotated[
        bool, typer.Option(help="Say what would be asked for; ask nothing.")
    ] = False,
    fail_fast: Annotated[bool, typer.Option(help="Stop at the first symbol that fails.")] = False,
    allow_mixing: Annotated[
        bool, typer.Option(help="Let simulated and real rows share a warehouse.")
    ] = False,
    dagster: Annotated[
        bool, typer.Option(help="As a Dagster run, its symbol-days shown in the UI.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Load daily prices and corporate actions: only what is missing, unless --force."""
    platform = _platform(context)
    chosen = platform.price_source(source)
    last = platform.calendar.last_closed_session(platform.clock())
    until = end.date() if end else last
    length = dt.timedelta(days=days or platform.settings.default_days)
    since = start.date() if start else until - length
    if since > until:
        raise typer.BadParameter(f"--start {since} is after --end {until}.")
    tickers = (
        tuple(canonical_symbol(text) for text in symbols.split(","))
        if symbols
        else chosen.symbols()
    )
    if dagster:
        _backfill_in_dagster(platform, tickers, since, until, source=source, force=force)
        return
    with _progress(len(tickers), quiet=as_json) as step:
        report = load(
            platform.warehouse,
            chosen,
            Window(tickers, since, until),
            platform.calendar,
            force=force,
            dry_run=dry_run,
            fail_fast=fail_fast,
            allow_mixing=allow_mixing,
            identities=platform.identities(chosen),
            on_progress=step,
        )
    if not dry_run and platform.warehouse.exists():
        publish(platform.warehouse)
    _print_report(report, as_json=as_json)
    raise typer.Exit(ATTENTION if report.needs_attention else DONE)


def _backfill_in_dagster(
    platform: Platform,
    tickers: Sequence[str],
    start: dt.date,
    end: dt.date,
    *,
    source: str,
    force: bool,
) -> None:
    from quant_assets.materialize import backfill_prices

    with err.status(f"materializing {len(tickers)} symbols …"):
        result = backfill_prices(platform, tickers, start, end, source=source, force=force)
    publish(platform.warehouse)
    if result.success:
        out.print(f"Materialized {len(tickers)} symbols, {start} to {end}, in run {result.run_id}.")
        return
    err.print(f"Run {result.run_id} needs attention: {result.failure}", markup=False)
    raise typer.Exit(ATTENTION)


@contextmanager
def _progress(total: int, *, quiet: bool) -> Iterator[Any]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("symbols"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err, disable=quiet, refresh_per_second=1) as bar:
        task = bar.add_task("loading", total=total)

        def step(done: int, all_of: int, what: str) -> None:
            bar.update(task, completed=done, total=all_of, description=f"loading {what}"[:40])

        yield step


def _print_report(report: LoadReport, *, as_json: bool) -> None:
    if as_json:
        print(report.to_json())
        return
    seconds = (report.finished_at - report.started_at).total_seconds()
    window = f"{report.window.start} to {report.window.end}"
    if report.dry_run:
        out.print(
            f"Would ask {report.source} for {len(report.symbols)} symbols, "
            f"{report.total('requested'):,} symbol-days, {window}; {report.settled} symbols have "
            "everything already. Nothing was asked for and nothing written."
        )
        return
    if not report.symbols:
        out.print(
            f"Nothing due: {report.settled} symbols have every session from {window}. "
            f"Nothing was written. ({seconds:.1f} s)"
        )
    else:
        out.print(
            f"{report.source}: {report.total('inserted'):,} rows new, "
            f"{report.total('revised'):,} revised, {report.total('unchanged'):,} unchanged; "
            f"{report.total('quarantined'):,} quarantined, {report.total('empty'):,} symbol-days "
            f"confirmed empty, {report.total('failed'):,} failed; {len(report.symbols)} symbols, "
            f"{window}, {seconds:.1f} s."
        )
    _print_trouble(report)


def _print_trouble(report: LoadReport) -> None:
    for notice in report.notices:
        err.print(f"Note: {notice}", markup=False)
    troubled = [r for r in report.symbols if r.failed or r.quarantined or r.error]
    if not troubled:
        return
    table = Table("symbol", "quarantined", "failed", "why", title="Needs attention", box=None)
    for row in troubled[:20]:
        table.add_row(
            row.symbol, str(row.quarantined), str(row.failed), row.error or "see quarantine"
        )
    out.print(table)
    if len(troubled) > 20:
        out.print(f"… and {len(troubled) - 20} more. quant-assets status shows the reasons.")


@app.command()
def prices(
    context: typer.Context,
    symbols: Annotated[
        list[str], typer.Argument(help="Tickers, or security ids, such as AAPL MSFT.")
    ],
    start: Day = None,
    end: Day = None,
    adjust: Annotated[str, typer.Option(help="none, split or total_return.")] = "none",
    adjust_to: Day = None,
    source: Annotated[str | None, typer.Option(help="Rows of this source alone.")] = None,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    as_json: Json = False,
) -> None:
    """Daily prices of some symbols; by default the last 30 days."""
    if adjust not in ("none", "split", "total_return"):
        raise typer.BadParameter("--adjust is none, split or total_return.")
    platform = _platform(context)
    until = end.date() if end else platform.calendar.last_closed_session(platform.clock())
    since = start.date() if start else until - dt.timedelta(days=30)
    frame = read.prices(
        [int(text) if text.isdigit() else text for text in symbols],
        since,
        until,
        adjust=adjust,  # type: ignore[arg-type]
        adjust_to=adjust_to.date() if adjust_to else None,
        source=source,
        home=platform.settings.home_path,
    )
    if csv:
        print(frame.to_csv(index=False), end="")
    elif as_json:
        frame["session"] = frame["session"].dt.strftime("%Y-%m-%d")
        print(frame.to_json(orient="records"))
    elif frame.empty:
        out.print(f"No rows of {', '.join(symbols)} from {since} to {until}.")
        raise typer.Exit(ATTENTION)
    else:
        out.print(frame.to_string(index=False), highlight=False)


@app.command()
def status(context: typer.Context, as_json: Json = False) -> None:
    """What the database holds, what it lacks, and the last loads."""
    found = warehouse_status(_platform(context).warehouse)
    if as_json:
        print(json.dumps(found, default=str))
    else:
        out.print(f"{found['warehouse']}, {found['bytes'] / 1e6:.1f} MB", soft_wrap=True)
        titles = {
            "sources": "Daily prices by source",
            "universes": "Universes",
            "actions": "Corporate actions",
            "ledger": "Symbol-days that are not simply present",
            "quarantine": "Rows in quarantine",
            "runs": "The last loads",
        }
        for key, title in titles.items():
            _print_rows(title, found[key])
    trouble = any(row["outcome"] != "empty" for row in found["ledger"])
    raise typer.Exit(ATTENTION if trouble else DONE)


def _print_rows(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    if not rows:
        return
    table = Table(*rows[0], title=title, title_justify="left", box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(_shown(value) for value in row.values()))
    out.print()
    out.print(table)


def _shown(value: object) -> str:
    if isinstance(value, dt.datetime):
        return f"{value:%Y-%m-%d %H:%M} UTC"
    if isinstance(value, int):
        return f"{value:,}"
    return "" if value is None else str(value)


@app.command()
def ui(
    context: typer.Context,
    port: Annotated[int, typer.Option(help="Port of the web page.")] = 3000,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
) -> None:
    """The Dagster UI over this data folder, on http://127.0.0.1:3000 unless told otherwise."""
    from quant_assets.instance import prepare

    platform = _platform(context)
    folder = prepare(platform.settings.home_path)
    environment = {**os.environ, "DAGSTER_HOME": str(folder)}
    environment["QUANT_ASSETS_HOME"] = str(platform.settings.home_path)
    config = context.find_root().obj
    if config is not None:
        environment["QUANT_ASSETS_CONFIG"] = str(Path(config).absolute())
    command = [
        *(sys.executable, "-m", "dagster", "dev", "--workspace", str(folder / "workspace.yaml")),
        *("--host", host, "--port", str(port)),
    ]
    err.print(f"Dagster UI on http://{host}:{port} over {platform.settings.home_path}")
    os.execve(sys.executable, command, environment)  # noqa: S606 - our own interpreter


@universe_app.command("import")
def universe_import(
    context: typer.Context,
    sources: Annotated[
        list[str] | None,
        typer.Option("--from", help="CSV file or URL: constituents or intervals; repeatable."),
    ] = None,
    name: Annotated[str, typer.Option(help="Universe to import into.")] = "sp500",
    on: Day = None,
    accept: Annotated[bool, typer.Option(help="Accept a list of an unusual size.")] = False,
    as_json: Json = False,
) -> None:
    """Import members and membership history; without --from, from the settings' lists."""
    platform = _platform(context)
    source = MembershipLists(tuple(sources)) if sources else platform.universe_source()
    report = import_universe(
        platform.warehouse,
        source.fetch_universe(),
        platform.identities(source),
        universe=name,
        on=on.date() if on else platform.clock().date(),
        accept=accept,
    )
    publish(platform.warehouse)
    if as_json:
        facts = {
            "universe": report.universe,
            "source": report.source,
            "members": report.members,
            "intervals": len(report.intervals),
            "added": report.added,
            "removed": report.removed,
            "notices": report.notices,
        }
        print(json.dumps(facts))
    else:
        out.print(
            f"{report.universe}: {report.members} members, {len(report.intervals)} intervals in "
            f"all; {len(report.added)} added, {len(report.removed)} removed. "
            f"Source: {report.source}."
        )
        for notice in report.notices:
            err.print(f"Note: {notice}", markup=False)
    raise typer.Exit(ATTENTION if report.notices else DONE)


@universe_app.command("show")
def universe_show(
    context: typer.Context,
    on: Day = None,
    name: Annotated[str, typer.Option(help="Universe to show.")] = "sp500",
    as_json: Json = False,
) -> None:
    """The members on a day, and how many of them have prices here."""
    home = _platform(context).settings.home_path
    frame = read.universe(name, on=on.date() if on else None, home=home)
    if as_json:
        print(frame.to_json(orient="records", date_format="iso"))
        return
    out.print(
        f"{name} on {frame.attrs['on']}: {frame.attrs['members']} members, "
        f"{frame.attrs['with_prices']} of them with prices here."
    )
    columns = ["symbol", "name", "sector", "effective_on", "has_prices"]
    if not frame.empty:
        out.print(frame[columns].to_string(index=False), highlight=False)


@config_app.command("show")
def config_show(context: typer.Context, as_json: Json = False) -> None:
    """The settings in force: file, then environment, then flags; secrets masked."""
    values = shown(_platform(context).settings)
    if as_json:
        print(json.dumps(values))
        return
    for key, value in values.items():
        out.print(f"{key} = {json.dumps(value)}", highlight=False, markup=False, soft_wrap=True)


@config_app.command("dictionary")
def config_dictionary() -> None:
    """The data dictionary as Markdown."""
    print(data_dictionary(), end="")


def main() -> None:
    """Entry point: run the command, turn what a user can act on into a sentence and a code."""
    try:
        app()
    except _WRONG as error:
        err.print(f"Error: {error}", markup=False, highlight=False, soft_wrap=True)
        sys.exit(USAGE)
    except (WarehouseError, SourceError, LookupError) as error:
        err.print(f"Error: {error}", markup=False, highlight=False, soft_wrap=True)
        sys.exit(BROKEN)
    except KeyboardInterrupt:
        err.print("Stopped. What was stored stays; the same command goes on from there.")
        sys.exit(130)


if __name__ == "__main__":
    main()
