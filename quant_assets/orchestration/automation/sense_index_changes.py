"""The sensor that turns changes of a universe into work."""

import datetime as dt
from collections.abc import Sequence

import dagster as dg

from quant_assets.orchestration.automation.jobs import (
    refresh_prices,
    refresh_request,
    tell_prices,
    tell_request,
)
from quant_assets.orchestration.automation.run_requests import PlatformParam, running_sensor
from quant_assets.orchestration.runs.dataset_asset import PRICES
from quant_assets.orchestration.runs.partitions import symbols
from quant_assets.reference.identity import is_pair
from quant_assets.refreshing.index_changes import DueChanges, UniverseChange, due_changes
from quant_assets.refreshing.nightly import named

CHANGES_NAMED = 3
"""Changes that the reason of a run names, at most."""


@running_sensor(
    jobs=[refresh_prices, tell_prices],
    minimum_interval_seconds=60,
    description="Turns changes of a universe into work, on the day they take effect: a newcomer's "
    "partition and history, a last full look at who left, the history under a new ticker.",
)
def index_membership_sensor(
    context: dg.SensorEvaluationContext, platform: PlatformParam
) -> dg.SensorResult:
    due = due_changes(platform, context.cursor)
    requests = _requests(due)
    newcomers = [c.symbol for c in (*due.added, *due.renamed) if not is_pair(c.symbol)]
    return dg.SensorResult(
        requests,
        skip_reason=None if requests else _nothing_to_do(due, first=context.cursor is None),
        cursor=due.cursor.to_text(),
        dynamic_partitions_requests=[symbols.build_add_request(newcomers)] if newcomers else [],
    )


def _requests(due: DueChanges) -> list[dg.RunRequest]:
    """One run for each kind of change."""
    trigger = index_membership_sensor.name
    requests = []
    if due.added:
        why, key, tickers = _summary(due.added)
        requests.append(
            refresh_request(trigger, why, key, asset=PRICES, symbols=tickers, priority="high")
        )
    if due.removed:
        why, key, tickers = _summary(due.removed)
        why = f"{why}: a last full look"
        # Sessions after its last day may be missing for good: it may no longer be traded.
        end = str(max(change.effective_on for change in due.removed) - dt.timedelta(days=1))
        requests.append(
            refresh_request(trigger, why, key, asset=PRICES, symbols=tickers, end=end, full=True)
        )
    if due.renamed:
        why, key, tickers = _summary(due.renamed)
        requests.append(tell_request(trigger, why, tickers, key))
    return requests


def _summary(changes: Sequence[UniverseChange]) -> tuple[str, str, list[str]]:
    """Changes of a kind: in words, as the key of their run, and their tickers."""
    more = len(changes) - CHANGES_NAMED
    why = "; ".join(change.describe() for change in changes[:CHANGES_NAMED])
    ids = [change.change_id for change in changes]
    return (
        f"{why}; and {more} more" if more > 0 else why,
        f"{changes[0].kind} {min(ids)}-{max(ids)}",
        sorted({change.symbol for change in changes}),
    )


def _nothing_to_do(due: DueChanges, *, first: bool) -> str:
    waiting = [f"{change.symbol} on {change.effective_on}" for change in due.waiting]
    if waiting:
        return f"Changes wait for their day: {named(waiting)}."
    if first and not due.cursor.last:
        return "No universe has changed so far."
    if first:
        return f"Begins behind change {due.cursor.last}: what was before is history."
    return "No universe has changed since the last look."
