"""Commands that keep the database up to date: refresh, resume, quickstart, sources, runs.

Part of the command line in ``app``: words in, plain objects called.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quant_assets.cli import options
from quant_assets.cli.exits import ATTENTION, DONE
from quant_assets.cli.terminal.console import complain, counted, progress, say, show_json, working

if TYPE_CHECKING:
    from quant_assets.contracts.source import SourceProfile
    from quant_assets.journal.progress import Progress
    from quant_assets.loading.report import LoadReport
    from quant_assets.operations.workplace import Workplace
    from quant_assets.refreshing.steps import Step
    from quant_assets.wiring.platform import Platform

live_app = typer.Typer()
sources_app = typer.Typer(help="Where the data comes from.", no_args_is_help=True)
live_app.add_typer(sources_app, name="sources")


@live_app.command()
def refresh(
    context: typer.Context,
    symbols: Annotated[str, typer.Option(help="Tickers, separated by commas.")] = "",
    universe: Annotated[str, typer.Option(help="The members of this universe.")] = "",
    datasets: Annotated[
        str, typer.Option(help="What to refresh, separated by commas, or all that is enabled.")
    ] = "daily_prices",
    source: options.Source = "",
    priority: Annotated[str, typer.Option(help="high, normal, low.")] = "",
    force: options.Force = False,
    max_requests: Annotated[
        int | None, typer.Option(help="Make at most this many requests.", min=1)
    ] = None,
    fail_fast: options.FailFast = False,
    accept: options.Accept = False,
    dry_run: options.DryRun = False,
    as_json: options.Json = False,
) -> None:
    """Bring datasets up to the last closed session, with as few requests as possible.

    Of prices without --symbols or --universe: the members of the index and all symbols loaded
    before. market_snapshot comes whole.
    """
    from quant_assets.operations import loads

    platform = options.platform_of(context)
    reports = loads.refresh(
        symbols_in(symbols),
        universe=universe,
        datasets=[part.strip() for part in datasets.split(",")],
        source=source,
        priority=priority,
        force=force,
        max_requests=max_requests,
        fail_fast=fail_fast,
        accept=accept,
        dry_run=dry_run,
        within=workplace(platform, quiet=as_json, dry_run=dry_run),
    )
    _end(reports, as_json=as_json)


@live_app.command()
def resume(
    context: typer.Context,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Also load symbols that were given up.")
    ] = False,
    dry_run: options.DryRun = False,
    as_json: options.Json = False,
) -> None:
    """Continue loads that were stopped, rate-limited or failed."""
    from quant_assets.operations import loads

    work = workplace(options.platform_of(context), quiet=as_json, dry_run=dry_run)
    reports = loads.resume(retry_failed=retry_failed, dry_run=dry_run, within=work)
    if not reports and not as_json:
        say("There is nothing to resume.")
        if loads.steps_to_resume(work, given_up=True):
            say("Some symbols were given up; resume --retry-failed loads them again.")
    _end(reports, as_json=as_json)


@live_app.command()
def quickstart(
    context: typer.Context,
    symbols: Annotated[list[str], typer.Argument(help="Tickers, such as AAPL MSFT.")],
    days: Annotated[int, typer.Option(help="Days of history.", min=2)] = 365,
    source: options.Source = "",
) -> None:
    """From an empty folder to prices and a first chart."""
    from quant_assets import read
    from quant_assets.cli.terminal.load_reports import print_charts, print_next_steps
    from quant_assets.operations import loads
    from quant_assets.refreshing.windows import days_before
    from quant_assets.wiring.sources import YAHOO

    platform = options.platform_of(context)
    end = platform.calendar.last_closed_session(platform.clock())
    start = days_before(platform.calendar, end, days)
    reports = loads.refresh(
        symbols,
        source=source or platform.settings.source or YAHOO,
        start=start,
        within=workplace(platform),
    )
    stored = [symbol for report in reports for symbol in _stored_symbols(report)]
    if stored:
        frame = read.prices(
            stored,
            start,
            platform.clock().date(),
            adjust="split",
            settings=platform.settings,
            clock=platform.clock,
        )
        if not frame.empty:
            print_charts(frame)
            print_next_steps(platform.settings.home_path, stored)
    _end(reports, shown=True)


@sources_app.command("check")
def sources_check(context: typer.Context, as_json: options.Json = False) -> None:
    """Whether each source can be reached, and how much of its request budget is used."""
    from quant_assets.cli.terminal.load_reports import print_sources
    from quant_assets.wiring.sources import YAHOO

    platform = options.platform_of(context)
    rows: list[dict[str, Any]] = []
    with working("asking"):
        found = platform.yahoo(platform.calendar).check()
    budget = platform.pacer(YAHOO).budget()
    rows.append(
        {
            "source": YAHOO,
            "state": found.state,
            "seconds": round(found.seconds, 2),
            "requests_last_hour": budget.requests_last_hour,
            "hourly_cap": budget.hourly_cap,
            "requests_today": budget.requests_today,
            "throttled_today": budget.throttled_today,
            "failed_today": budget.failed_today,
            "detail": found.detail,
        }
    )
    if as_json:
        show_json(rows)
    else:
        print_sources(rows)
    raise typer.Exit(DONE if all(row["state"] == "reachable" for row in rows) else ATTENTION)


@live_app.command()
def runs(
    context: typer.Context,
    run: Annotated[str, typer.Argument(help="A run's id, or its first characters.")] = "",
    last: Annotated[int, typer.Option(help="How many loads to show.", min=1)] = 20,
    log: Annotated[bool, typer.Option("--log", help="The log of the run.")] = False,
    csv: options.Csv = False,
    as_json: options.Json = False,
) -> None:
    """Past loads and their totals; for one run, the outcome of each symbol."""
    from quant_assets.cli.terminal.status import print_endings
    from quant_assets.cli.terminal.tables import print_frame
    from quant_assets.health.past_loads import (
        FINISHED,
        load_history,
        past_loads,
        run_log,
        run_symbols,
    )

    platform = options.platform_of(context)
    if log and not run:
        raise typer.BadParameter("--log needs the id of a run.")
    if log:
        frame = run_log(platform.warehouse, run)
    elif run:
        frame = run_symbols(platform.warehouse, run)
        print_endings(past_loads(platform.warehouse, run))
    else:
        frame = load_history(platform.warehouse, last)
        if options.form_of(csv, as_json) == "table":
            # A table has room for one of them.
            frame = frame.drop(columns="state" if (frame["state"] == FINISHED).all() else "seconds")
    print_frame(frame, options.form_of(csv, as_json))


def symbols_in(text: str) -> list[str] | None:
    """The tickers of an option; None where it was not given."""
    return [part.strip() for part in text.split(",") if part.strip()] if text else None


def workplace(platform: Platform, *, quiet: bool = False, dry_run: bool = False) -> Workplace:
    """The platform of a command, which prints its progress and each report unless ``quiet``."""
    from quant_assets.cli.terminal.load_reports import print_budget, print_report
    from quant_assets.operations.workplace import Workplace

    @contextmanager
    def watch(step: Step, source: SourceProfile) -> Iterator[Progress]:
        if platform.is_paced(source.name) and not quiet:
            print_budget(source.name, platform.pacer(source.name).budget())
        with progress(quiet=quiet) as watched:
            yield watched

    def show(report: LoadReport) -> None:
        if quiet:
            return
        print_report(report)
        if dry_run and report.symbols and platform.is_paced(report.source):
            seconds = platform.pacer(report.source).expected_seconds(len(report.symbols))
            requests = counted(len(report.symbols), "request")
            say(f"{requests} to {report.source}, about {seconds:,.0f} s.")

    return Workplace(platform, watch, show, complain)


def _stored_symbols(report: LoadReport) -> list[str]:
    """The symbols of a report that are stored as securities."""
    return [row.symbol for row in report.symbols if row.security_id is not None]


def _end(reports: Sequence[LoadReport], *, as_json: bool = False, shown: bool = False) -> None:
    """End the command: 1 where a load needs attention."""
    if as_json:
        show_json({"loads": [json.loads(report.to_json()) for report in reports]})
    attention = any(report.needs_attention for report in reports)
    if attention and shown:
        complain("Some symbols need attention; see above.")
    raise typer.Exit(ATTENTION if attention else DONE)
