"""Jobs: what can be run besides an asset, from the launchpad or by a schedule or sensor."""

import dataclasses
import datetime as dt
from collections.abc import Mapping, Sequence

import dagster as dg
from pydantic import Field

from quant_assets.journal.progress import Progress
from quant_assets.journal.pruning import prune_logs
from quant_assets.loading.work import Asking
from quant_assets.orchestration.automation.run_requests import reason
from quant_assets.orchestration.instance.retention import prune
from quant_assets.orchestration.runs.dataset_asset import PRICES
from quant_assets.orchestration.runs.partitions import add_tickers
from quant_assets.orchestration.runs.reconcile import reconcile
from quant_assets.orchestration.runs.symbol_days import (
    LoadConfig,
    load_and_report,
    refresh_and_report,
    report_stored,
)
from quant_assets.reference.identity import canonical_symbol
from quant_assets.refreshing.load_steps import How
from quant_assets.refreshing.steps import NothingToRefreshError, refresh_steps
from quant_assets.warehouse.published_copy import publish
from quant_assets.wiring.platform import Platform


class BackfillConfig(LoadConfig):
    """A rectangle of symbols × sessions; dates as YYYY-MM-DD, both included."""

    symbols: list[str]
    start: str
    end: str


@dg.op(pool=PRICES.pool, description="Load any rectangle of daily_prices in one run.")
def load_rectangle(
    context: dg.OpExecutionContext,
    config: BackfillConfig,
    platform: dg.ResourceParam[Platform],
    progress: dg.ResourceParam[Progress],
) -> None:
    tickers = [canonical_symbol(symbol) for symbol in config.symbols]
    window = dt.date.fromisoformat(config.start), dt.date.fromisoformat(config.end)
    sessions = platform.calendar.between(*window)
    # A ticker the source does not know gets its partition too, to be red in: who asked should see.
    add_tickers(context.instance, tickers)
    load_and_report(context, platform, config, dict.fromkeys(tickers, sessions), progress)


@dg.job(description="Symbols × sessions of daily_prices in one run, said in the launchpad.")
def backfill_prices() -> None:
    load_rectangle()


class RefreshConfig(LoadConfig):
    """Who is to be brought up to date, as for ``quant-assets refresh``: the symbols named, else the
    members of a universe, else all that is kept up.

    A symbol without rows is wanted from ``start`` on, all of them up to ``end`` where that is said.
    With ``full`` everything that is stored is
    asked for again. Symbols named are asked whatever became of them before, unless told to
    ``heed_tasks``. ``priority`` is high, normal or low; ``why`` is said in the log.
    """

    symbols: list[str] = Field(default_factory=list)
    universe: str = ""
    start: str = ""
    end: str = ""
    full: bool = False
    heed_tasks: bool = False
    priority: str = ""
    why: str = ""

    def asking(self, usual: Asking) -> Asking:
        return dataclasses.replace(
            usual,
            look_back_everywhere=True,
            priority=self.priority or None,
            heed_tasks=self.heed_tasks or not (self.symbols or self.force),
        )


@dg.op(pool=PRICES.pool, description="Load what is due, and publish the warehouse.")
def load_what_is_due(
    context: dg.OpExecutionContext,
    config: RefreshConfig,
    platform: dg.ResourceParam[Platform],
    progress: dg.ResourceParam[Progress],
) -> None:
    context.log.info(config.why or "Started by hand.")
    try:
        steps = refresh_steps(
            platform,
            symbols=[canonical_symbol(symbol) for symbol in config.symbols],
            universe=config.universe,
            source=config.source,
            start=dt.date.fromisoformat(config.start) if config.start else None,
            end=dt.date.fromisoformat(config.end) if config.end else None,
            full=config.full,
        )
    except NothingToRefreshError as error:
        context.log.info(str(error))
        return
    how = How(config.asking(platform.asking), force=config.force)
    try:
        refresh_and_report(context, platform, steps, how, progress)
    finally:
        if platform.warehouse.exists():
            publish(platform.warehouse)


@dg.job(description="Prices up to the last closed session, with as few requests as possible.")
def refresh_prices() -> None:
    load_what_is_due()


def refresh_request(
    trigger: str,
    why: str,
    run_key: str | None = None,
    tags: Mapping[str, str] | None = None,
    **config: object,
) -> dg.RunRequest:
    """What a schedule or sensor returns to refresh prices; ``config`` as of ``RefreshConfig``."""
    return dg.RunRequest(
        run_key,
        job_name=refresh_prices.name,
        run_config={"ops": {load_what_is_due.name: {"config": {**config, "why": why}}}},
        tags={**reason(trigger, why), **(tags or {})},
    )


refresh_membership = dg.define_asset_job(
    "refresh_membership",
    selection=[PRICES.upstream],
    description="A look at who belongs to the index.",
)


class TellConfig(dg.Config):
    """Tickers whose stored prices Dagster is to be told of."""

    symbols: list[str]


@dg.op(pool=PRICES.pool, description="Tell Dagster what is stored under tickers; ask for nothing.")
def tell_of_tickers(
    context: dg.OpExecutionContext, config: TellConfig, platform: dg.ResourceParam[Platform]
) -> None:
    reported = report_stored(
        context, platform, [canonical_symbol(symbol) for symbol in config.symbols]
    )
    context.log.info(f"{reported.good} symbol-days present, {reported.written} events written.")


@dg.job(description="What is stored under tickers shown in their partitions, unfetched.")
def tell_prices() -> None:
    tell_of_tickers()


def tell_request(
    trigger: str, why: str, symbols: Sequence[str], run_key: str | None = None
) -> dg.RunRequest:
    """What a sensor returns to have stored prices shown under a new ticker."""
    return dg.RunRequest(
        run_key,
        job_name=tell_prices.name,
        run_config={"ops": {tell_of_tickers.name: {"config": {"symbols": list(symbols)}}}},
        tags=reason(trigger, why),
    )


@dg.op(description="Turn green what the warehouse has, and red what it has lost.")
def reconcile_partitions(
    context: dg.OpExecutionContext,
    platform: dg.ResourceParam[Platform],
    progress: dg.ResourceParam[Progress],
) -> None:
    found = reconcile(context, platform, progress)
    counts = found.counts
    context.log.info(f"Reconciled: {counts}.")
    if found.lost or found.unseen_failures:
        # Only a run that fails turns the keys it planned red.
        raise dg.Failure(found.describe(), metadata=counts, allow_retries=False)
    context.add_output_metadata(counts)


@dg.job(description="The partitions of daily_prices made to agree with the warehouse, unfetched.")
def reconcile_prices() -> None:
    reconcile_partitions()


@dg.op(description="Delete the logs of runs older than the setting history_days.")
def delete_old_logs(context: dg.OpExecutionContext, platform: dg.ResourceParam[Platform]) -> None:
    before = platform.clock() - dt.timedelta(days=platform.settings.history_days)
    pruned = prune(context.instance, before)
    files, _ = prune_logs(platform.settings.home_path, before)
    context.log.info(
        f"Deleted of the time before {before:%Y-%m-%d %H:%M %Z}: {pruned}, and {files} log files."
    )
    for note in pruned.left_alone:
        context.log.info(note)


@dg.job(description="Old logs, runs without assets and finished backfills; no materialization.")
def prune_history() -> None:
    delete_old_logs()
