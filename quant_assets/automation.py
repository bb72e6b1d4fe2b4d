"""Jobs, schedules and sensors."""

import datetime as dt

import dagster as dg

from quant_assets.backfilling import ASSET, PricesConfig, load_and_tell
from quant_assets.identity import canonical_symbol
from quant_assets.instance import end_dead_runs
from quant_assets.journal import prune_logs
from quant_assets.loading import Progress
from quant_assets.partitions import add_tickers, range_tags
from quant_assets.platform import Platform
from quant_assets.reconcile import reconcile
from quant_assets.retention import prune


class BackfillConfig(PricesConfig):
    """A rectangle of symbols × sessions; dates as YYYY-MM-DD, both included."""

    symbols: list[str]
    start: str
    end: str


@dg.op(pool="prices", description="Load any rectangle of daily_prices in one run.")
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
    load_and_tell(context, platform, config, dict.fromkeys(tickers, sessions), progress)


@dg.job(description="Symbols × sessions of daily_prices in one run, said in the launchpad.")
def backfill_prices() -> None:
    load_rectangle()


def rectangle_request(
    first: str, last: str, start: dt.date, end: dt.date, run_key: str | None = None
) -> dg.RunRequest:
    """What a schedule or sensor returns to load a rectangle of ``daily_prices`` in one run.

    The rectangle is that of ``partitions.range_tags``.
    """
    return dg.RunRequest(run_key, asset_selection=[ASSET], tags=range_tags(first, last, start, end))


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


@dg.sensor(
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Marks runs as failed whose process was killed.",
)
def dead_runs(
    context: dg.SensorEvaluationContext, platform: dg.ResourceParam[Platform]
) -> dg.SkipReason:
    ended = end_dead_runs(context.instance, platform.warehouse.runs)
    return dg.SkipReason(f"Ended {', '.join(ended) or 'none'}.")


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


prune_history_daily = dg.ScheduleDefinition(
    name="prune_history_daily",
    job=prune_history,
    cron_schedule="30 3 * * *",
    execution_timezone="America/New_York",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="While markets and people sleep.",
)
