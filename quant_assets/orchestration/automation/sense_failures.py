"""The sensors for failures: failed symbols are requested again, dead runs are ended."""

from collections import defaultdict
from collections.abc import Sequence

import dagster as dg

from quant_assets.loading.tasks import MOST_ATTEMPTS, Task
from quant_assets.orchestration.automation.jobs import (
    refresh_market,
    refresh_prices,
    refresh_request,
)
from quant_assets.orchestration.automation.run_requests import (
    PlatformParam,
    is_under_way,
    running_sensor,
)
from quant_assets.orchestration.instance.instance import end_dead_runs
from quant_assets.orchestration.runs.dataset_asset import DATASET_ASSETS, DatasetAsset
from quant_assets.refreshing.nightly import Retries, named, retries


@running_sensor(
    jobs=[refresh_prices, refresh_market],
    minimum_interval_seconds=300,
    description="Asks again for what failed, each time after a longer while; five times at most.",
)
def failed_partitions(
    context: dg.SensorEvaluationContext, platform: PlatformParam
) -> list[dg.RunRequest] | dg.SkipReason:
    requests: list[dg.RunRequest] = []
    reasons = []
    for asset in DATASET_ASSETS:
        if not platform.sources_of(asset.table.name):
            continue
        found = retries(platform, asset.table, platform.clock())
        if is_under_way(context.instance, asset.refresh_job):
            reasons.append(f"{asset.table.name} is being refreshed, or about to be.")
        elif not found.due:
            reasons += _why_no_retry(found)
        elif asset.partitions == "whole":
            # Its lists have no date of their own while a session is under way.
            under_way = platform.calendar.session_under_way(platform.clock())
            lists = named([task.symbol for task in found.due])
            if under_way:
                later = f"is requested again after the close of {under_way}"
                reasons.append(f"{asset.table.name}: {lists} failed, and {later}.")
            else:
                why = f"failed before: {lists}"
                requests.append(refresh_request(failed_partitions.name, why, asset=asset))
        else:
            requests += _retry_symbols(asset, found.due)
    return requests or dg.SkipReason(" ".join(reasons) or "Nothing has failed.")


def _retry_symbols(asset: DatasetAsset, tasks: Sequence[Task]) -> list[dg.RunRequest]:
    by_source: dict[str, list[Task]] = defaultdict(list)
    for task in tasks:
        by_source[task.source].append(task)
    return [_retry(asset, source, some) for source, some in by_source.items()]


def _retry(asset: DatasetAsset, source: str, tasks: Sequence[Task]) -> dg.RunRequest:
    tickers = [task.symbol for task in tasks]
    return refresh_request(
        failed_partitions.name,
        f"failed before: {named(tickers)}",
        symbols=tickers,
        source=source,
        start=str(min(task.start_session for task in tasks)),
        # Not beyond: with a later session its attempts would start anew.
        end=str(max(task.end_session for task in tasks)),
        priority="high",
        heed_tasks=True,
        asset=asset,
    )


def _why_no_retry(found: Retries) -> list[str]:
    parts = []
    if found.waiting:
        parts.append(f"{found.waiting} that failed are left alone for a while.")
    if found.given_up:
        parts.append(
            f"{len(found.given_up)} given up after {MOST_ATTEMPTS} attempts: "
            f"{named(found.given_up)}. Load them by name, or quant-assets resume --retry-failed."
        )
    return parts


@running_sensor(
    minimum_interval_seconds=30,
    description="Marks runs as failed whose process was killed.",
)
def dead_runs(context: dg.SensorEvaluationContext, platform: PlatformParam) -> dg.SkipReason:
    ended = end_dead_runs(context.instance, platform.warehouse.runs)
    if not ended:
        return dg.SkipReason("Every run under way has its process.")
    return dg.SkipReason(f"Marked as failed, their process being gone: {', '.join(ended)}.")
