"""The command line ``quant-assets``: words in, plain objects called.

``terminal`` prints the results, ``exits`` turns errors into exit codes. A command imports in its
body what only it needs, so that no command waits for libraries of another one.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quant_assets.cli import options
from quant_assets.cli.data_folder import data_folder_app
from quant_assets.cli.examples import give_examples
from quant_assets.cli.exits import ATTENTION, BROKEN, DONE, Commands
from quant_assets.cli.files import files_app
from quant_assets.cli.loads import live_app, symbols_in, workplace
from quant_assets.cli.terminal.console import complain, counted, progress, say, show_json, working
from quant_assets.cli.universes import universe_app

if TYPE_CHECKING:
    from quant_assets.cli.in_process import Materialized
    from quant_assets.loading.work import Window
    from quant_assets.wiring.platform import Platform

app = typer.Typer(
    cls=Commands,
    help="An S&P 500 research database in DuckDB, kept by a Dagster asset graph.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(live_app)
app.add_typer(data_folder_app)
app.add_typer(universe_app, name="universe")
app.add_typer(files_app, name="files")


@app.callback()
def common(
    context: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option(help="Settings file; else QUANT_ASSETS_CONFIG, else ./quant_assets.toml."),
    ] = None,
    log_level: options.LogLevel = None,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error, and warnings.")
    ] = False,
) -> None:
    """The options before the command; ``options.platform_of`` reads them."""


@app.command()
def demo(
    context: typer.Context,
    symbols: Annotated[
        int | None,
        typer.Option(help="Companies in the market; by default as in the settings, 20.", min=2),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Materialize the whole asset graph on a simulated market; no network is used."""
    from quant_assets.cli.in_process import materialize_all_prices, materialize_asset
    from quant_assets.cli.terminal.load_reports import print_demo
    from quant_assets.health.status import warehouse_status
    from quant_assets.loading.market import refuse_mixing
    from quant_assets.warehouse.published_copy import publish
    from quant_assets.wiring.sources import SIMULATED

    size = {} if symbols is None else {"symbols": symbols}
    platform = options.platform_of(context, source=SIMULATED, simulated=size, universe={})
    calendar = platform.calendar
    end = calendar.last_closed_session(platform.clock())
    window_start = max(platform.simulated_market().start, platform.settings.partition_start)
    start = calendar.between(window_start, end)[0]
    refuse_mixing(platform.warehouse, platform.simulated_market().profile)
    began = time.monotonic()
    steps: list[tuple[str, Callable[[], Materialized]]] = [
        ("sp500_universe", lambda: materialize_asset(platform, "sp500_universe")),
        ("daily_prices", lambda: materialize_all_prices(platform, start, end)),
        ("corporate_actions", lambda: materialize_asset(platform, "corporate_actions")),
        ("market_snapshot", lambda: materialize_asset(platform, "market_snapshot")),
    ]
    for name, run in steps:
        with working(f"materializing {name}"):
            result = run()
        if not result.success:
            complain(f"Error: {name} failed in run {result.run_id}: {result.failure}")
            raise typer.Exit(BROKEN)
        complain(f"✓ {name}")
    publish(platform.warehouse)
    found = warehouse_status(platform.warehouse)
    market = next(row for row in found["sources"] if row["source"] == SIMULATED)
    first, last = market["first_session"], market["last_session"]
    facts = {
        "symbols": market["symbols"],
        "sessions": len(calendar.between(first, last)),
        "rows": market["rows"],
        "corporate_actions": sum(row["events"] for row in found["actions"]),
        "listed": sum(row["securities"] for row in found["market"]),
        "first_session": first,
        "last_session": last,
        "seconds": round(time.monotonic() - began, 1),
        "data": str(platform.settings.home_path),
    }
    if as_json:
        show_json(facts)
    else:
        print_demo(facts)
        if symbols is not None:
            say(f"The UI and backfills need QUANT_ASSETS_SIMULATED__SYMBOLS={symbols} as well.")


@app.command()
def backfill(
    context: typer.Context,
    source: options.Source = "",
    start: options.Start = None,
    end: options.End = None,
    days: options.Days = None,
    symbols: options.Symbols = "",
    force: options.Force = False,
    dry_run: options.DryRun = False,
    fail_fast: options.FailFast = False,
    allow_mixing: options.AllowMixing = False,
    dagster: options.AsDagsterRun = False,
    as_json: options.Json = False,
) -> None:
    """Load daily prices and corporate actions: only what is missing, unless --force."""
    from quant_assets.operations import loads

    if dagster and (fail_fast or allow_mixing):
        raise typer.BadParameter("--fail-fast and --allow-mixing are not for a --dagster run.")
    platform = options.platform_of(context)
    work = workplace(platform, quiet=as_json, dry_run=dry_run)
    named = symbols_in(symbols)
    if dagster and not dry_run:
        window = loads.backfill_window(work, named, start, end, days=days, source=source)
        _backfill_in_dagster(platform, window, source, force=force, as_json=as_json)
        return
    reports = loads.backfill(
        named,
        start,
        end,
        days=days,
        source=source,
        force=force,
        dry_run=dry_run,
        fail_fast=fail_fast,
        allow_mixing=allow_mixing,
        within=work,
    )
    if as_json:
        for report in reports:
            print(report.to_json())
    raise typer.Exit(ATTENTION if any(report.needs_attention for report in reports) else DONE)


def _backfill_in_dagster(
    platform: Platform, window: Window, source: str, *, force: bool, as_json: bool
) -> None:
    from quant_assets.cli.in_process import backfill_prices
    from quant_assets.loading.market import refuse_mixing
    from quant_assets.warehouse.published_copy import publish

    profile = platform.price_source(source).profile
    refuse_mixing(platform.warehouse, profile)
    tickers, start, end = window.symbols, window.start, window.end
    what = f"{counted(len(tickers), 'symbol')}, {start} to {end}"
    with progress(quiet=as_json) as step:
        result = backfill_prices(
            platform, tickers, start, end, source=source, force=force, progress=step
        )
    if platform.warehouse.exists():
        publish(platform.warehouse)
    if as_json:
        request = {"source": profile.name, "symbols": tickers, "start": start, "end": end}
        show_json({**vars(result), **request})
    elif result.success:
        say(f"Materialized {what}, in run {result.run_id}.")
    if not result.success:
        complain(f"Run {result.run_id} needs attention: {result.failure}")
        raise typer.Exit(ATTENTION)


@app.command()
def prices(
    context: typer.Context,
    symbols: Annotated[
        list[str], typer.Argument(help="Tickers or security ids, such as AAPL MSFT 17.")
    ],
    start: Annotated[
        dt.date | None, options.day_option("First day; by default 30 days before --end.")
    ] = None,
    end: options.End = None,
    adjust: Annotated[str, typer.Option(help="none, split or total_return.")] = "none",
    adjust_to: Annotated[
        dt.date | None,
        options.day_option("Day in whose shares adjusted prices count; by default the latest."),
    ] = None,
    source: Annotated[str | None, typer.Option(help="Only rows of this source.")] = None,
    csv: options.Csv = False,
    as_json: options.Json = False,
) -> None:
    """Daily prices of some symbols; by default the last 30 days."""
    from quant_assets import read
    from quant_assets.cli.terminal.tables import print_prices

    platform = options.platform_of(context)
    last_closed = platform.calendar.last_closed_session(platform.clock())
    until = end or max(last_closed, start or last_closed)
    since = start or until - dt.timedelta(days=30)
    frame = read.prices(
        [int(text) if text.isdecimal() else text for text in symbols],
        since,
        until,
        adjust=adjust,  # type: ignore[arg-type]
        adjust_to=adjust_to,
        source=source,
        settings=platform.settings,
        clock=platform.clock,
    )
    print_prices(frame, options.form_of(csv, as_json))
    for event in frame.attrs.get("left_out", ()):
        complain(
            "{symbol} paid {amount:g} {currency} on {ex_date} and is priced in {prices_in}: no "
            "rate is known, so it is left out.".format(**event)
        )
    missing = frame.attrs.get("missing", {})
    for symbol, why in missing.items():
        complain(f"Missing: {symbol}: {why}.")
    if frame.empty:
        complain(f"There are no rows of {', '.join(symbols)} from {since} to {until}.")
    raise typer.Exit(ATTENTION if frame.empty or missing else DONE)


@app.command()
def market(
    context: typer.Context,
    on: Annotated[
        dt.date | None, options.day_option("By the last snapshot up to this day; else today.")
    ] = None,
    top: Annotated[int, typer.Option(help="How many the table shows.", min=1)] = 20,
    csv: options.Csv = False,
    as_json: options.Json = False,
) -> None:
    """The largest of the market; with --csv or --json every listed security, by symbol."""
    from quant_assets import read
    from quant_assets.cli.terminal.tables import print_frame

    platform = options.platform_of(context)
    frame = read.market(on=on, settings=platform.settings, clock=platform.clock)
    form = options.form_of(csv, as_json)
    if frame.empty:
        what = f"No snapshot up to {on} is stored" if on else "No snapshot is stored"
        complain(f"{what}. quant-assets refresh --datasets market_snapshot loads today's.")
        raise typer.Exit(ATTENTION)
    if form == "table":
        largest = frame.nlargest(top, "market_cap")
        billions = (largest["market_cap"] / 1e9).round(1)
        shown = largest[["symbol", "name", "last_sale"]].assign(bn_usd=billions)
        print_frame(shown.assign(market_cap_on=largest["market_cap_on"]), form)
        days = sorted(set(frame.attrs["lists"].values()))
        lists = counted(len(frame.attrs["lists"]), "list")
        say(f"{len(shown)} of {len(frame):,} securities, on {lists} of {' and '.join(days)}.")
    else:
        print_frame(frame, form)


give_examples(app)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point; raises SystemExit with an exit code of ``exits``."""
    app(args=list(arguments) if arguments is not None else None)
