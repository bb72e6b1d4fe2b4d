"""Sensors: what follows from data in the warehouse, looked at again and again.

Each look goes by the platform's clock and by what is stored, so a look that was missed costs
nothing: the next one finds the same work.
"""

import datetime as dt

import dagster as dg

from quant_assets.orchestration.assets.universe import LOOKED_AT
from quant_assets.orchestration.automation.jobs import (
    refresh_membership,
    refresh_prices,
    refresh_request,
)
from quant_assets.orchestration.automation.run_requests import (
    PlatformParam,
    Request,
    is_under_way,
    reason,
    running_sensor,
)
from quant_assets.orchestration.automation.schedules import SESSION, membership_request
from quant_assets.orchestration.runs.dataset_asset import PRICES, UNIVERSE
from quant_assets.refreshing.following import following
from quant_assets.refreshing.nightly import (
    LOOK_AGAIN,
    SessionCoverage,
    evening_of,
    expected_session,
    in_words,
    session_after,
    session_coverage,
)
from quant_assets.wiring.platform import NoListsError, NotEnabledError, Platform

ASKED_AT = ".dagster/quant_assets.asked_at"
"""Run tag, which Dagster's pages leave out: when prices were requested, by the platform's clock."""

NIGHTLY_COMES_WITHIN = dt.timedelta(minutes=5)
"""How long the schedule may take to have the index looked at, before that is done from here."""

IN_VAIN = [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]


@running_sensor(
    jobs=[refresh_membership, refresh_prices],
    minimum_interval_seconds=60,
    description="Asks for a session's prices once its evening has come and the index was looked "
    "at, and every half hour while the source lags.",
)
def prices_due(context: dg.SensorEvaluationContext, platform: PlatformParam) -> Request:
    instance, now = context.instance, platform.clock()
    if not platform.settings.dataset(PRICES.table.name).enabled:
        return dg.SkipReason(str(NotEnabledError(PRICES.table.name, switched_off=True)))
    if is_under_way(instance, refresh_prices.name):
        return dg.SkipReason("Prices are being refreshed, or about to be.")
    session = expected_session(platform.calendar, now)
    coverage = session_coverage(platform, PRICES.table, session)
    if not coverage.symbols:
        return dg.SkipReason(coverage.describe())
    if coverage.complete:
        following = in_words(session_after(platform.calendar, session))
        return dg.SkipReason(f"{coverage.describe()} The next one expected is {following}.")
    first_look = _look_at_membership(instance, platform, session, now)
    return first_look or _probe(instance, coverage, now)


def _look_at_membership(
    instance: dg.DagsterInstance, platform: Platform, session: dt.date, now: dt.datetime
) -> Request | None:
    """The look at the index of that evening, which comes before prices, unless it was made."""
    if _membership_known(instance, platform, session):
        return None
    if is_under_way(instance, refresh_membership.name):
        return dg.SkipReason(f"The index is being looked at; the prices of {session} come next.")
    if now < evening_of(session) + NIGHTLY_COMES_WITHIN:
        return dg.SkipReason(f"The look at the index of {session} is about to begin.")
    why = f"nightly {session}, made up for"
    return membership_request(prices_due.name, why, session, run_key=f"{session}/membership")


def _membership_known(instance: dg.DagsterInstance, platform: Platform, session: dt.date) -> bool:
    """Whether the index was looked at since a session's evening, or is not to be, or can't be."""
    if not following(platform).follows:
        return True
    event = instance.get_latest_materialization_event(UNIVERSE)
    made = event.asset_materialization if event else None
    looked_at = made.metadata.get(LOOKED_AT) if made else None
    if looked_at and dt.datetime.fromisoformat(str(looked_at.value)) >= evening_of(session):
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
    failed = dg.RunsFilter(None, refresh_membership.name, IN_VAIN, {SESSION: str(session)})
    return bool(instance.get_runs(failed, limit=1))


def _probe(instance: dg.DagsterInstance, coverage: SessionCoverage, now: dt.datetime) -> Request:
    """Request a session's prices, unless their source is to be left alone."""
    due, waiting_until = coverage.to_request(now), coverage.waiting_until(now)
    if not due:
        why = "No symbol is to be requested now."
        if waiting_until:
            why = f"Left alone until {waiting_until:%H:%M} UTC."
        return dg.SkipReason(f"{coverage.describe()} {why}")
    session = coverage.session
    before, asked_at = _last_probe(instance, session)
    if asked_at and now < asked_at + LOOK_AGAIN:
        again = f"{asked_at + LOOK_AGAIN:%H:%M}"
        return dg.SkipReason(f"{coverage.describe()} To be requested again at {again} UTC.")
    why = f"nightly {session}" if not before else f"the source lagged: probe {before + 1}"
    if _looked_in_vain(instance, session):
        why += "; the index could not be looked at, so its last known members are requested"
    tags = {SESSION: str(session), ASKED_AT: now.isoformat()}
    key = f"{session}/probe-{before + 1}"
    # No symbols named means all of them, and those that left an index of late.
    symbols = [] if len(due) == len(coverage.lacking) else list(due)
    return refresh_request(
        prices_due.name, why, key, tags, asset=PRICES, symbols=symbols, heed_tasks=True
    )


def _last_probe(instance: dg.DagsterInstance, session: dt.date) -> tuple[int, dt.datetime | None]:
    """How often this sensor has requested a session's prices, and when it last did.

    No other run of the job names a session.
    """
    runs = instance.get_runs(dg.RunsFilter(None, refresh_prices.name, tags={SESSION: str(session)}))
    asked_at = runs[0].tags.get(ASKED_AT) if runs else None
    return len(runs), dt.datetime.fromisoformat(asked_at) if asked_at else None


after_prices = dg.AutomationConditionSensorDefinition(
    "after_prices",
    target=dg.AssetSelection.all(),
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    run_tags=reason("after_prices", "prices changed, or the hour to confirm them has come"),
    description="Brings up to date what is computed from prices.",
)
