"""Commands about a data folder: status, ui, reconcile, prune, config.

Part of the command line in ``app``: words in, plain objects called.
"""

from __future__ import annotations

import datetime as dt
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from quant_assets.cli import options
from quant_assets.cli.exits import ATTENTION, BROKEN, DONE
from quant_assets.cli.terminal.console import complain, counted, progress, say, show_json, working

if TYPE_CHECKING:
    from quant_assets.wiring.platform import Platform

data_folder_app = typer.Typer()
config_app = typer.Typer(help="The settings in force.", no_args_is_help=True)
data_folder_app.add_typer(config_app, name="config")


@data_folder_app.command()
def status(
    context: typer.Context,
    lacking: Annotated[
        bool,
        typer.Option("--lacking", help="List what is lacking, why, and what mends it."),
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Whether the data is complete, what it lacks, what the database holds, and the last loads."""
    from quant_assets.cli.terminal.status import print_lacking, print_status
    from quant_assets.health.judging import verdict
    from quant_assets.health.status import warehouse_status

    platform = options.platform_of(context)
    # First, since it refuses a warehouse of an earlier version, which the verdict would migrate.
    found = warehouse_status(platform.warehouse)
    judged = verdict(platform)
    if as_json:
        show_json(judged.to_dict() if lacking else {"verdict": judged.to_dict(), **found})
    elif lacking:
        print_lacking(judged)
    else:
        print_status(judged, found)
    raise typer.Exit(ATTENTION if judged.lacking or found["unexplained"] else DONE)


@data_folder_app.command()
def ui(
    context: typer.Context,
    port: Annotated[int, typer.Option(help="Port of the web page.", min=1, max=65535)] = 3000,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    read_only: Annotated[
        bool,
        typer.Option(
            "--read-only", help="Pages to look at: nothing can be changed, nothing runs by itself."
        ),
    ] = False,
) -> None:
    """The Dagster UI over this data folder, by default on http://127.0.0.1:3000."""
    from quant_assets.orchestration.instance.history_files import ahead_of
    from quant_assets.serving.ui import serving, wait

    platform = options.platform_of(context)
    settings, config = platform.settings, context.find_root().params["config"]
    ask = _confirm if sys.stdin.isatty() and sys.stderr.isatty() else None
    kept_up = "Nothing can be changed here." if read_only else what_is_kept_up(platform, ask)
    with serving(
        settings.home_path,
        host,
        port,
        config,
        os.environ,
        allowed_hosts=settings.allowed_hosts,
        read_only=read_only,
    ) as services:
        shown = f"[{host}]" if ":" in host else host
        complain(f"Dagster UI on http://{shown}:{port} over {settings.home_path}")
        complain(kept_up)
        if ahead := ahead_of(settings.home_path / "dagster", platform.clock()):
            complain(ahead)
        wait(services)
        complain("Stopping." if read_only else "Stopping; a run under way ends, its rows stay.")


def what_is_kept_up(platform: Platform, ask: Callable[[str], bool] | None) -> str:
    """The sentence that says which symbols the daemon keeps up. ``ask`` is asked once whether to
    follow the index where a folder has chosen symbols; None where no terminal is attached.
    """
    from quant_assets.refreshing.following import following, keep_answer
    from quant_assets.warehouse.writer_lock import WarehouseError

    if not platform.settings.automation:
        return "Nothing is refreshed by itself, as automation = false is set."
    try:
        found = following(platform)
        if found.chosen and ask:
            some = counted(len(found.chosen), "symbol")
            question = f"This folder has {some} of your choice. Add the some 500 of the S&P 500?"
            keep_answer(platform, follows=ask(question))
            found = following(platform)
    except WarehouseError as error:
        return str(error)
    return found.why


def _confirm(question: str) -> bool:
    return typer.confirm(question, default=False, err=True)


@data_folder_app.command()
def reconcile(
    context: typer.Context, dry_run: options.ChangeNothing = False, as_json: options.Json = False
) -> None:
    """Make Dagster's partitions agree with the warehouse, without a request to any source."""
    from quant_assets.cli.in_process import reconcile_prices
    from quant_assets.cli.terminal.status import print_differences
    from quant_assets.orchestration.instance.instance import open_instance
    from quant_assets.orchestration.runs.dataset_asset import PRICES
    from quant_assets.orchestration.runs.reconcile import compare

    platform = options.platform_of(context)
    home = platform.settings.home_path
    with open_instance(home) as instance, progress(quiet=as_json) as step:
        found = compare(platform, instance, step, asset=PRICES)
    run = None
    if found.any and not dry_run:
        with progress(quiet=as_json) as step:
            run = reconcile_prices(platform, progress=step)
        if not run.success and "lost" not in run.facts:
            complain(f"Error: run {run.run_id} failed: {run.failure}")
            raise typer.Exit(BROKEN)
    if as_json:
        show_json({**found.to_dict(), "dry_run": dry_run, "run_id": run.run_id if run else None})
    else:
        print_differences(found, platform.calendar.sessions, dry_run=dry_run)
    amiss = found.lost or found.unseen_failures or (dry_run and found.any)
    raise typer.Exit(ATTENTION if amiss else DONE)


@data_folder_app.command()
def prune(
    context: typer.Context,
    days: Annotated[
        int | None,
        typer.Option(help="Days to keep; by default the history_days set.", min=1, max=36_500),
    ] = None,
    dry_run: options.DeleteNothing = False,
    as_json: options.Json = False,
) -> None:
    """Delete the logs of old loads and Dagster runs; materializations and prices stay."""
    from quant_assets.cli.terminal.status import print_pruned
    from quant_assets.journal.pruning import prune_logs
    from quant_assets.orchestration.instance.retention import prune_folder

    platform = options.platform_of(context)
    before = platform.clock() - dt.timedelta(days=days or platform.settings.history_days)
    home = platform.settings.home_path
    with working("pruning"):
        pruned = prune_folder(home, before, dry_run=dry_run)
        files, size = prune_logs(home, before, dry_run=dry_run)
    if as_json:
        log_files = {"log_files": files, "log_file_bytes": size}
        show_json({**vars(pruned), **log_files, "before": before, "dry_run": dry_run})
    else:
        print_pruned(pruned, before, dry_run=dry_run)
        if files:
            verb = "Would delete" if dry_run else "Deleted"
            say(f"{verb} {counted(files, 'log file')} of loads ({size / 1e6:,.1f} MB).")


@config_app.command("show")
def config_show(context: typer.Context, as_json: options.Json = False) -> None:
    """The settings in force: file, then environment, then flags; secrets masked."""
    from quant_assets.cli.terminal.status import print_settings
    from quant_assets.settings.settings import shown

    values = shown(options.platform_of(context).settings)
    if as_json:
        show_json(values)
    else:
        print_settings(values)


@config_app.command("dictionary")
def config_dictionary() -> None:
    """The data dictionary as Markdown."""
    from quant_assets.schema.catalog import data_dictionary

    print(data_dictionary(), end="")
