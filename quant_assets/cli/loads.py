"""Commands that keep the database up to date: refresh, resume, quickstart, sources, runs.

Part of the command line in ``app``: words in, plain objects called.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
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
    from quant_assets.refreshing.load_steps import How
    from quant_assets.refreshing.steps import Step
    from quant_assets.wiring.platform import Platform

ALL = "all"
"""The word for every dataset that is enabled."""

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
    from quant_assets.reference.listings import refuse_foreign
    from quant_assets.refreshing.load_steps import How
    from quant_assets.refreshing.steps import NothingToRefreshError, refresh_steps
    from quant_assets.refreshing.whole_steps import WHOLE
    from quant_assets.schema.catalog import SCHEMA

    platform = options.platform_of(context)
    chosen = _datasets(platform, datasets)
    _check(chosen, priority, universe=universe, source=source, symbols=symbols)
    named = symbols_in(symbols)
    steps: list[Step] = []
    for name in chosen:
        if name in WHOLE:
            steps += _whole_steps(platform, name, source, pass_over=len(chosen) > 1)
            continue
        try:
            steps += refresh_steps(
                platform, symbols=named, universe=universe, source=source, table=SCHEMA[name]
            )
        except NothingToRefreshError as error:
            if len(chosen) == 1:
                raise
            complain(f"{name}: {error}")
    refuse_foreign(named)
    asking = dataclasses.replace(
        platform.asking,
        look_back_everywhere=True,
        priority=priority or None,
        most_requests=max_requests,
        # A symbol that is named is loaded even where its task waits or was given up.
        heed_tasks=not (named or force),
    )
    how = How(asking, force=force, dry_run=dry_run, fail_fast=fail_fast, accept=accept)
    reports = load_and_show(platform, steps, how, quiet=as_json)
    _end(platform, reports, as_json=as_json)


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
    from quant_assets.refreshing.load_steps import How

    platform = options.platform_of(context)
    steps = _steps_to_resume(platform, given_up=retry_failed)
    if not steps and not as_json:
        say("There is nothing to resume.")
        if _steps_to_resume(platform, given_up=True):
            say("Some symbols were given up; resume --retry-failed loads them again.")
    asking = dataclasses.replace(platform.asking, heed_tasks=not retry_failed)
    reports = load_and_show(platform, steps, How(asking, dry_run=dry_run), quiet=as_json)
    _end(platform, reports, as_json=as_json)


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
    from quant_assets.reference.identity import canonical_symbol
    from quant_assets.reference.listings import refuse_foreign
    from quant_assets.refreshing.load_steps import How
    from quant_assets.refreshing.steps import refresh_steps
    from quant_assets.wiring.sources import YAHOO

    platform = options.platform_of(context)
    named = tuple(dict.fromkeys(canonical_symbol(text) for text in symbols))
    end = platform.calendar.last_closed_session(platform.clock())
    start = end - dt.timedelta(days=days)
    chosen = source or platform.settings.source or YAHOO
    refuse_foreign(named)
    steps = refresh_steps(platform, symbols=named, source=chosen, start=start)
    reports = load_and_show(platform, steps, How(platform.asking))
    frame = (
        read.prices(
            [symbol for report in reports for symbol in _stored_symbols(report)],
            start,
            platform.clock().date(),
            adjust="split",
            settings=platform.settings,
        )
        if any(_stored_symbols(report) for report in reports)
        else None
    )
    if frame is not None and not frame.empty:
        print_charts(frame)
        print_next_steps(platform.settings.home_path, named)
    _end(platform, reports, shown=True)


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
    from quant_assets.cli.terminal.tables import print_frame
    from quant_assets.health.status import load_history, run_log, run_symbols

    platform = options.platform_of(context)
    if log and not run:
        raise typer.BadParameter("--log needs the id of a run.")
    if log:
        frame = run_log(platform.warehouse, run)
    elif run:
        frame = run_symbols(platform.warehouse, run)
    else:
        frame = load_history(platform.warehouse, last)
    print_frame(frame, options.form_of(csv, as_json))


def _datasets(platform: Platform, text: str) -> tuple[str, ...]:
    """The datasets that ``--datasets`` names."""
    from quant_assets.schema.catalog import DATASETS

    named = tuple(dict.fromkeys(part.strip() for part in text.split(",")))
    for name in named:
        if name not in (*DATASETS, ALL):
            known = ", ".join((*DATASETS, ALL))
            raise typer.BadParameter(f"--datasets {name or '(none)'}: known are {known}.")
    if ALL in named:
        return tuple(name for name in DATASETS if platform.sources_of(name))
    return named


def _check(
    datasets: Sequence[str], priority: str, *, universe: str, source: str, symbols: str
) -> None:
    from quant_assets.refreshing.whole_steps import WHOLE
    from quant_assets.schema.loads import PRIORITIES

    whole = [name for name in datasets if name in WHOLE]
    if whole and (universe or symbols):
        raise typer.BadParameter(
            f"{whole[0]} comes whole; --symbols and --universe are not for it."
        )
    if source and len(datasets) > 1:
        raise typer.BadParameter("--source is for one dataset; name it with --datasets.")
    if priority and priority not in PRIORITIES:
        raise typer.BadParameter(f"--priority {priority}: it is {', '.join(PRIORITIES)}.")


def _steps_to_resume(platform: Platform, *, given_up: bool) -> list[Step]:
    from quant_assets.refreshing.steps import open_steps
    from quant_assets.refreshing.whole_steps import WHOLE, open_datasets
    from quant_assets.schema.catalog import DATASETS, SCHEMA

    steps: list[Step] = []
    for name in DATASETS:
        if name not in WHOLE:
            steps += open_steps(platform, given_up=given_up, table=SCHEMA[name])
    for name in open_datasets(platform, given_up=given_up):
        steps += _whole_steps(platform, name, pass_over=True)
    return steps


def _whole_steps(
    platform: Platform, dataset: str, source: str = "", *, pass_over: bool
) -> list[Step]:
    """The steps of a dataset that comes whole; with ``pass_over`` none where it can't be requested
    now, which is told.
    """
    from quant_assets.reference.calendars import SessionUnderWayError
    from quant_assets.refreshing.whole_steps import whole_steps
    from quant_assets.wiring.platform import NotEnabledError

    try:
        return whole_steps(platform, dataset, source)
    except (SessionUnderWayError, NotEnabledError) as error:
        if not pass_over:
            raise
        complain(str(error))
        return []


def symbols_in(text: str) -> tuple[str, ...]:
    from quant_assets.reference.identity import canonical_symbol

    named = [canonical_symbol(part) for part in text.split(",") if part.strip()]
    return tuple(dict.fromkeys(named))


def load_and_show(
    platform: Platform, steps: Sequence[Step], how: How, *, quiet: bool = False
) -> list[LoadReport]:
    """Load each step, and print its report unless ``quiet``."""
    from quant_assets.cli.terminal.load_reports import print_budget, print_report
    from quant_assets.refreshing.load_steps import load_steps

    @contextmanager
    def watch(step: Step, source: SourceProfile) -> Iterator[Progress]:
        if platform.is_paced(source.name) and not quiet:
            print_budget(source.name, platform.pacer(source.name).budget())
        with progress(quiet=quiet) as watched:
            yield watched

    reports: list[LoadReport] = []
    for report in load_steps(platform, steps, how, watch=watch):
        reports.append(report)
        if quiet:
            continue
        print_report(report)
        if how.dry_run and report.symbols and platform.is_paced(report.source):
            seconds = platform.pacer(report.source).expected_seconds(len(report.symbols))
            requests = counted(len(report.symbols), "request")
            say(f"{requests} to {report.source}, about {seconds:,.0f} s.")
    return reports


def _stored_symbols(report: LoadReport) -> list[str]:
    """The symbols of a report that are stored as securities."""
    return [row.symbol for row in report.symbols if row.security_id is not None]


def _end(
    platform: Platform, reports: Sequence[LoadReport], *, as_json: bool = False, shown: bool = False
) -> None:
    """Publish the warehouse, and end the command: 1 where a load needs attention."""
    from quant_assets.warehouse.published_copy import publish

    if platform.warehouse.exists() and not any(report.dry_run for report in reports):
        publish(platform.warehouse)
    if as_json:
        show_json({"loads": [json.loads(report.to_json()) for report in reports]})
    attention = any(report.needs_attention for report in reports)
    if attention and shown:
        complain("Some symbols need attention; see above.")
    raise typer.Exit(ATTENTION if attention else DONE)
