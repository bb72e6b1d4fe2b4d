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
    RUNNING,
    TRIGGER,
    is_under_way,
    reason,
)
from quant_assets.orchestration.automation.schedules import SESSION, membership_request
from quant_assets.orchestration.runs.dataset_asset import PRICES
from quant_assets.refreshing.nightly import (
    LOOK_AGAIN,
    Standing,
    evening_of,
    expected_session,
    in_words,
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
    if is_under_way(instance, refresh_prices.name):
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
    if is_under_way(instance, refresh_membership.name):
        return dg.SkipReason(f"The index is being looked at; the prices of {session} come next.")
    if now < evening + NIGHTLY_COMES_WITHIN:
        return dg.SkipReason(f"The look at the index of {session} is about to begin.")
    why = f"nightly {session}, made up for"
    return membership_request(prices_due.name, why, session, run_key=f"{session}/membership")


def _membership_known(instance: dg.DagsterInstance, platform: Platform, session: dt.date) -> bool:
    """Whether the index was looked at since a session's evening, or can't be."""
    event = instance.get_latest_materialization_event(PRICES.upstream)
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


after_prices = dg.AutomationConditionSensorDefinition(
    "after_prices",
    target=dg.AssetSelection.all(),
    minimum_interval_seconds=60,
    default_status=RUNNING,
    run_tags=reason("after_prices", "prices changed, or the hour to confirm them has come"),
    description="Brings up to date what is computed from prices.",
)
