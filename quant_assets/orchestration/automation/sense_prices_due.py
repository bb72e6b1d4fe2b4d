"""Sensors: what follows from data in the warehouse, looked at again and again.

Each look goes by the platform's clock and by what is stored, so a look that was missed costs
nothing: the next one finds the same work.
"""

import datetime as dt
from collections.abc import Sequence

import dagster as dg

from quant_assets.loading.tasks import MOST_ATTEMPTS, Task
from quant_assets.orchestration.assets.universe import LOOKED_AT
from quant_assets.orchestration.automation.jobs import (
    TRIGGER,
    reason,
    refresh_membership,
    refresh_prices,
    refresh_request,
    tell_prices,
    tell_request,
)
from quant_assets.orchestration.automation.schedules import SESSION, membership_request
from quant_assets.orchestration.instance.instance import end_dead_runs
from quant_assets.orchestration.runs.partitions import symbols
from quant_assets.orchestration.runs.symbol_days import UPSTREAM
from quant_assets.reference.identity import is_pair
from quant_assets.refreshing.index_changes import Change, Work, membership_work
from quant_assets.refreshing.nightly import (
    LOOK_AGAIN,
    Retries,
    Standing,
    evening_of,
    expected_session,
    in_words,
    named,
    retries,
    session_after,
    standing,
)
from quant_assets.wiring.platform import NoListsError, Platform

PROBE = "quant_assets/probe"
"""Run tag: how often a session's prices had been asked for then, this time included."""

ASKED_AT = "quant_assets/asked_at"
"""Run tag: when that was, by the platform's clock."""

NIGHTLY_COMES_WITHIN = dt.timedelta(minutes=5)
"""How long the schedule may take to have the index looked at, before that is done from here."""

CHANGES_TOLD = 3
"""Changes that the reason of a run names, at most."""

RUNNING = dg.DefaultSensorStatus.RUNNING
UNDER_WAY = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
IN_VAIN = [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]


@dg.sensor(
    jobs=[refresh_membership, refresh_prices],
    minimum_interval_seconds=60,
    default_status=RUNNING,
    description="Asks for a session's prices once its evening has come and the index was looked "
    "at, and every half hour while the source lags.",
)
def prices_due(
    context: dg.SensorEvaluationContext, platform: dg.ResourceParam[Platform]
) -> dg.RunRequest | dg.SkipReason:
    instance, now = context.instance, platform.clock()
    if _is_under_way(instance, refresh_prices.name):
        return dg.SkipReason("Prices are being refreshed, or about to be.")
    session = expected_session(platform.calendar, now)
    stand = standing(platform, session)
    if not stand.symbols:
        return dg.SkipReason(stand.describe())
    if stand.complete:
        following = in_words(session_after(platform.calendar, session))
        return dg.SkipReason(f"{stand.describe()} The next one expected is {following}.")
    first_look = _look_at_membership(instance, platform, session, now)
    if first_look:
        return first_look
    return _probe(instance, platform, stand, now)


def _look_at_membership(
    instance: dg.DagsterInstance, platform: Platform, session: dt.date, now: dt.datetime
) -> dg.RunRequest | dg.SkipReason | None:
    """What has to come before prices: the look at the index of that evening, unless it was made."""
    evening = evening_of(session)
    if _membership_known(instance, platform, session):
        return None
    if _is_under_way(instance, refresh_membership.name):
        return dg.SkipReason(f"The index is being looked at; the prices of {session} come next.")
    if now < evening + NIGHTLY_COMES_WITHIN:
        return dg.SkipReason(f"The look at the index of {session} is about to begin.")
    why = f"nightly {session}, made up for"
    return membership_request(prices_due.name, why, session, run_key=f"{session}/membership")


def _membership_known(instance: dg.DagsterInstance, platform: Platform, session: dt.date) -> bool:
    """Whether the index was looked at since a session's evening, or can't be."""
    event = instance.get_latest_materialization_event(UPSTREAM)
    if event and event.asset_materialization:
        looked_at = event.asset_materialization.metadata.get(LOOKED_AT)
        moment = dt.datetime.fromisoformat(str(looked_at.value)) if looked_at else None
        if moment and moment >= evening_of(session):
            return True
    if _looked_in_vain(instance, session):
        return True
    try:
        platform.universe_source()
    except NoListsError:
        return True
    return False


def _looked_in_vain(instance: dg.DagsterInstance, session: dt.date) -> bool:
    """Whether a look at the index on a session's evening failed."""
    tags = {SESSION: str(session)}
    return bool(
        instance.get_runs(dg.RunsFilter(None, refresh_membership.name, IN_VAIN, tags), limit=1)
    )


def _probe(
    instance: dg.DagsterInstance, platform: Platform, stand: Standing, now: dt.datetime
) -> dg.RunRequest | dg.SkipReason:
    """Ask for a session's prices, unless its source is to be left alone."""
    held = stand.held_until(now)
    if held:
        return dg.SkipReason(f"{stand.describe()} Left alone until {held:%H:%M} UTC.")
    due = stand.to_ask()
    if not due:
        return dg.SkipReason(f"{stand.describe()} There is nobody to ask for now.")
    before, asked_at = _last_probe(instance, stand.session)
    if asked_at and now < asked_at + LOOK_AGAIN:
        again = asked_at + LOOK_AGAIN
        return dg.SkipReason(f"{stand.describe()} To be asked again at {again:%H:%M} UTC.")
    why = f"nightly {stand.session}" if not before else f"the source lagged: probe {before + 1}"
    if _looked_in_vain(instance, stand.session):
        why += "; the index could not be looked at, so its last known members are asked for"
    tags = {
        SESSION: str(stand.session),
        PROBE: str(before + 1),
        ASKED_AT: now.isoformat(),
    }
    key = f"{stand.session}/probe-{before + 1}"
    # Nobody named means everybody, and who left an index of late.
    asked = [] if len(due) == len(stand.lacking) else list(due)
    return refresh_request(prices_due.name, why, key, tags, symbols=asked, heed_tasks=True)


def _last_probe(instance: dg.DagsterInstance, session: dt.date) -> tuple[int, dt.datetime | None]:
    """How often a session's prices have been asked for from here, and when that was last."""
    tags = {SESSION: str(session), TRIGGER: prices_due.name}
    runs = instance.get_runs(dg.RunsFilter(job_name=refresh_prices.name, tags=tags), limit=1)
    if not runs:
        return 0, None
    said = runs[0].tags
    return int(said[PROBE]), dt.datetime.fromisoformat(said[ASKED_AT])


@dg.sensor(
    jobs=[refresh_prices, tell_prices],
    minimum_interval_seconds=60,
    default_status=RUNNING,
    description="Turns changes of a universe into work, on the day they take effect: a newcomer's "
    "partition and history, a last full look at who left, the history under a new ticker.",
)
def index_membership_sensor(
    context: dg.SensorEvaluationContext, platform: dg.ResourceParam[Platform]
) -> dg.SensorResult:
    work = membership_work(platform, context.cursor)
    requests = _requests(work)
    newcomers = [c.symbol for c in (*work.added, *work.renamed) if not is_pair(c.symbol)]
    return dg.SensorResult(
        requests,
        skip_reason=None if requests else _nothing_to_do(work, first=context.cursor is None),
        cursor=work.seen.to_text(),
        dynamic_partitions_requests=[symbols.build_add_request(newcomers)] if newcomers else [],
    )


def _requests(work: Work) -> list[dg.RunRequest]:
    """One run for each kind of change."""
    trigger = index_membership_sensor.name
    requests = []
    if work.added:
        why, key, tickers = _told(work.added)
        requests.append(refresh_request(trigger, why, key, symbols=tickers, priority="high"))
    if work.removed:
        why, key, tickers = _told(work.removed)
        last = f"{why}: a last full look"
        # What comes after its last day may be missing for good: it may be traded no more.
        end = max(change.effective_on for change in work.removed) - dt.timedelta(days=1)
        requests.append(
            refresh_request(trigger, last, key, symbols=tickers, end=str(end), full=True)
        )
    if work.renamed:
        why, key, tickers = _told(work.renamed)
        requests.append(tell_request(trigger, why, tickers, key))
    return requests


def _told(changes: Sequence[Change]) -> tuple[str, str, list[str]]:
    """Changes of a kind: in words, as the key of their run, and their tickers."""
    more = len(changes) - CHANGES_TOLD
    why = "; ".join(change.describe() for change in changes[:CHANGES_TOLD])
    ids = [change.change_id for change in changes]
    return (
        f"{why}; and {more} more" if more > 0 else why,
        f"{changes[0].kind} {min(ids)}-{max(ids)}",
        sorted({change.symbol for change in changes}),
    )


def _nothing_to_do(work: Work, *, first: bool) -> str:
    waiting = [f"{change.symbol} on {change.effective_on}" for change in work.waiting]
    if waiting:
        return f"Changes wait for their day: {named(waiting)}."
    if first and not work.seen.last:
        return "No universe has changed so far."
    if first:
        return f"Begins behind change {work.seen.last}: what was before is history."
    return "No universe has changed since the last look."


@dg.sensor(
    job=refresh_prices,
    minimum_interval_seconds=300,
    default_status=RUNNING,
    description="Asks again for what failed, each time after a longer while; five times at most.",
)
def failed_partitions(
    context: dg.SensorEvaluationContext, platform: dg.ResourceParam[Platform]
) -> list[dg.RunRequest] | dg.SkipReason:
    if _is_under_way(context.instance, refresh_prices.name):
        return dg.SkipReason("Prices are being refreshed, or about to be.")
    found = retries(platform, platform.clock())
    if not found.due:
        return dg.SkipReason(_why_no_retry(found))
    by_source: dict[str, list[Task]] = {}
    for task in found.due:
        by_source.setdefault(task.source, []).append(task)
    return [_retry(source, tasks) for source, tasks in by_source.items()]


def _retry(source: str, tasks: Sequence[Task]) -> dg.RunRequest:
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
    )


def _why_no_retry(found: Retries) -> str:
    parts = []
    if found.waiting:
        parts.append(f"{found.waiting} that failed are left alone for a while.")
    if found.given_up:
        parts.append(
            f"{len(found.given_up)} given up after {MOST_ATTEMPTS} attempts: "
            f"{named(found.given_up)}. Load them by name, or quant-assets resume --retry-failed."
        )
    return " ".join(parts) or "Nothing has failed."


@dg.sensor(
    minimum_interval_seconds=30,
    default_status=RUNNING,
    description="Marks runs as failed whose process was killed.",
)
def dead_runs(
    context: dg.SensorEvaluationContext, platform: dg.ResourceParam[Platform]
) -> dg.SkipReason:
    ended = end_dead_runs(context.instance, platform.warehouse.runs)
    if not ended:
        return dg.SkipReason("Every run under way has its process.")
    return dg.SkipReason(f"Marked as failed, their process being gone: {', '.join(ended)}.")


after_prices = dg.AutomationConditionSensorDefinition(
    "after_prices",
    target=dg.AssetSelection.all(),
    minimum_interval_seconds=60,
    default_status=RUNNING,
    run_tags=reason("after_prices", "prices changed, or the hour to confirm them has come"),
    description="Brings up to date what is computed from prices.",
)


def _is_under_way(instance: dg.DagsterInstance, job: str) -> bool:
    return bool(instance.get_runs(dg.RunsFilter(job_name=job, statuses=UNDER_WAY), limit=1))
