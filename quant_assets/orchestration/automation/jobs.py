"""Jobs: what can be run besides an asset, from the launchpad or by a schedule or sensor."""

import dataclasses
import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import dagster as dg
from pydantic import Field

from quant_assets.journal.progress import Progress
from quant_assets.journal.pruning import prune_logs
from quant_assets.orchestration.automation.run_requests import PlatformParam, reason
from quant_assets.orchestration.instance.retention import prune
from quant_assets.orchestration.runs.dataset_asset import MARKET, PRICES, UNIVERSE, DatasetAsset
from quant_assets.orchestration.runs.partitions import add_tickers
from quant_assets.orchestration.runs.reconcile import reconcile
from quant_assets.orchestration.runs.symbol_days import (
    LoadConfig,
    load_and_report,
    refresh_and_report,
    report_stored,
)
from quant_assets.reference.errors import UsageError
from quant_assets.reference.identity import canonical_symbol
from quant_assets.refreshing.load_steps import How
from quant_assets.refreshing.steps import refresh_steps
from quant_assets.refreshing.windows import NoSymbolsError, ReversedDaysError, window_of
from quant_assets.warehouse.published_copy import publish

ProgressParam = dg.ResourceParam[Progress]


class BackfillConfig(LoadConfig):
    """A rectangle of symbols × sessions; dates as YYYY-MM-DD, both included.

    Every field has a default, or the launchpad would open on an error.
    """

    symbols: list[str] = Field([], description="Symbols to load, such as [AAPL, MSFT].")
    start: str = Field(
        "", description="First day, as 2024-05-28; empty for default_days before the end."
    )
    end: str = Field("", description="Last day, as 2024-05-31; empty for the last closed session.")


class ConfigError(UsageError, ValueError):
    """A value of a launchpad's config that can't be used."""


@contextmanager
def _failing_in_a_sentence() -> Iterator[None]:
    """Fail the run with the message of a usage error, and no traceback; another try is no use."""
    try:
        yield
    except UsageError as error:
        raise dg.Failure(str(error), allow_retries=False) from error


def _day(name: str, text: str) -> dt.date | None:
    if not text:
        return None
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{name} {text!r} is not a day; write one like 2024-05-31.") from None


@dg.op(pool=PRICES.pool, description="Load any rectangle of daily_prices in one run.")
def load_rectangle(
    context: dg.OpExecutionContext,
    config: BackfillConfig,
    platform: PlatformParam,
    progress: ProgressParam,
) -> None:
    with _failing_in_a_sentence():
        tickers = [canonical_symbol(symbol) for symbol in config.symbols]
        start, end = _day("start", config.start), _day("end", config.end)
        window = window_of(platform, tickers, start, end, on_note=context.log.info)
        sessions = platform.calendar.between(window.start, window.end)
    # A ticker the source does not know gets its partition too, where it is shown red.
    add_tickers(context.instance, tickers)
    requested = dict.fromkeys(tickers, sessions)
    load_and_report(context, platform, config, requested, progress, asset=PRICES)


@dg.job(description="Symbols × sessions of daily_prices in one run, named in the launchpad.")
def backfill_prices() -> None:
    load_rectangle()


class RefreshConfig(LoadConfig):
    """What to bring up to date, as for ``quant-assets refresh``."""

    symbols: list[str] = Field(
        [], description="Symbols to bring up to date; empty for those of the universe."
    )
    universe: str = Field(
        "", description="Universe whose members are brought up to date; empty for all symbols kept."
    )
    start: str = Field(
        "", description="First day wanted of a symbol without rows, as 2024-05-28; may be empty."
    )
    end: str = Field("", description="Last day, as 2024-05-31; empty for the last closed session.")
    full: bool = Field(default=False, description="Request everything that is stored again.")
    heed_tasks: bool = Field(
        default=False,
        description="Leave out symbols that wait or were given up, even where they are named.",
    )
    priority: str = Field("", description="high, normal or low; empty for normal.")
    why: str = Field("", description="Reason of the run, for its log.")


def _op_of(asset: DatasetAsset) -> str:
    """The name of the one op of an asset's refresh job."""
    return "load_what_is_due" if asset is PRICES else f"load_{asset.table.name}"


def refresh_job(asset: DatasetAsset, description: str) -> dg.JobDefinition:
    """The job that brings a dataset with partitions up to date."""

    @dg.op(
        name=_op_of(asset),
        pool=asset.pool,
        description="Load what is due, and publish the warehouse.",
    )
    def load_what_is_due(
        context: dg.OpExecutionContext,
        config: RefreshConfig,
        platform: PlatformParam,
        progress: ProgressParam,
    ) -> None:
        context.log.info(config.why or "Started by hand.")
        with _failing_in_a_sentence():
            start, end = _day("start", config.start), _day("end", config.end)
            if start and end and start > end:
                raise ReversedDaysError(start, end)
            steps = refresh_steps(
                platform,
                symbols=[canonical_symbol(symbol) for symbol in config.symbols],
                universe=config.universe,
                source=config.source,
                start=start,
                end=end,
                full=config.full,
                table=asset.table,
            )
        asking = dataclasses.replace(
            platform.asking,
            look_back_everywhere=True,
            priority=config.priority or None,
            heed_tasks=config.heed_tasks or not (config.symbols or config.force),
        )
        how = How(asking, force=config.force)
        try:
            refresh_and_report(context, platform, steps, how, progress, asset=asset)
        finally:
            if platform.warehouse.exists():
                publish(platform.warehouse)

    @dg.job(name=asset.refresh_job, description=description)
    def refresh() -> None:
        load_what_is_due()

    return refresh


refresh_prices = refresh_job(
    PRICES, "Prices up to the last closed session, with as few requests as possible."
)

refresh_market = dg.define_asset_job(
    MARKET.refresh_job,
    selection=[MARKET.key],
    description="A snapshot of every listed security, as of the last closed session.",
)


def refresh_request(
    trigger: str,
    why: str,
    run_key: str | None = None,
    tags: Mapping[str, str] | None = None,
    *,
    asset: DatasetAsset,
    **config: object,
) -> dg.RunRequest:
    """The run that a schedule or sensor requests to bring ``asset`` up to date; ``config`` as of
    ``RefreshConfig``, of which a dataset that comes whole has none.
    """
    run_config = (
        {}
        if asset.partitions == "whole"
        else {"ops": {_op_of(asset): {"config": {**config, "why": why}}}}
    )
    tags = {**reason(trigger, why), **(tags or {})}
    return dg.RunRequest(run_key, run_config, tags, job_name=asset.refresh_job)


refresh_membership = dg.define_asset_job(
    "refresh_membership",
    selection=[UNIVERSE],
    description="A look at who belongs to the index.",
)


class TellConfig(dg.Config):
    """Tickers whose stored prices are to be reported to Dagster."""

    symbols: list[str] = Field([], description="Tickers whose stored prices are shown.")


@dg.op(
    pool=PRICES.pool, description="Report what is stored under tickers to Dagster; fetch nothing."
)
def tell_of_tickers(
    context: dg.OpExecutionContext, config: TellConfig, platform: PlatformParam
) -> None:
    with _failing_in_a_sentence():
        tickers = [canonical_symbol(symbol) for symbol in config.symbols]
        if not tickers:
            raise NoSymbolsError
    reported = report_stored(context, platform, tickers, asset=PRICES)
    context.log.info(f"{reported.good} symbol-days present, {reported.written} events written.")


@dg.job(description="What is stored under tickers shown in their partitions, unfetched.")
def tell_prices() -> None:
    tell_of_tickers()


def tell_request(
    trigger: str, why: str, symbols: Sequence[str], run_key: str | None = None
) -> dg.RunRequest:
    """The run of ``tell_prices`` that a sensor requests, for stored prices under new tickers."""
    run_config = {"ops": {tell_of_tickers.name: {"config": {"symbols": list(symbols)}}}}
    return dg.RunRequest(run_key, run_config, reason(trigger, why), job_name=tell_prices.name)


@dg.op(description="Turn green what the warehouse has, and red what it has lost.")
def reconcile_partitions(
    context: dg.OpExecutionContext, platform: PlatformParam, progress: ProgressParam
) -> None:
    found = reconcile(context, platform, progress, asset=PRICES)
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
def delete_old_logs(context: dg.OpExecutionContext, platform: PlatformParam) -> None:
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
