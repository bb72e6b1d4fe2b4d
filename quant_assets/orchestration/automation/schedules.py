"""Schedules: what happens by the time of day. What follows from data is for sensors.

A schedule goes by the time it was scheduled for: a tick made up for later requests the same.
"""

import datetime as dt
from functools import partial

import dagster as dg

from quant_assets.orchestration.automation.jobs import (
    prune_history,
    refresh_market,
    refresh_membership,
    refresh_prices,
    refresh_request,
)
from quant_assets.orchestration.automation.run_requests import PlatformParam, Request, reason
from quant_assets.orchestration.runs.dataset_asset import MARKET, PRICES
from quant_assets.refreshing.following import following
from quant_assets.refreshing.nightly import (
    EVENING,
    NEW_YORK,
    expected_session,
    in_words,
    named,
    session_after,
    session_coverage,
)
from quant_assets.wiring.platform import NoListsError, NotEnabledError, Platform

SESSION = "quant_assets/session"
"""Run tag: the session that was the newest expected one when a run was started."""

RUNNING = dg.DefaultScheduleStatus.RUNNING

running_schedule = partial(dg.schedule, default_status=RUNNING)
hourly = partial(running_schedule, cron_schedule="5 * * * *", execution_timezone="UTC")


@running_schedule(
    job=refresh_membership,
    cron_schedule=f"{EVENING.minute} {EVENING.hour} * * *",
    execution_timezone=NEW_YORK.key,
    description="The evening of a session: a look at the index, and then (prices_due) its prices.",
)
def nightly(context: dg.ScheduleEvaluationContext, platform: PlatformParam) -> Request:
    day = context.scheduled_execution_time.astimezone(NEW_YORK).date()
    return (
        _day_off(platform, day)
        or _not_followed(platform)
        or membership_request(nightly.name, f"nightly {day}", day, run_key=str(day))
    )


@hourly(
    job=refresh_membership,
    description="A look at who belongs to the index, on days off too: changes are announced then.",
)
def membership_hourly(context: dg.ScheduleEvaluationContext, platform: PlatformParam) -> Request:
    at = context.scheduled_execution_time
    try:
        platform.universe_source()
    except NoListsError as error:
        return dg.SkipReason(str(error))
    session = expected_session(platform.calendar, at)
    return _not_followed(platform) or membership_request(
        membership_hourly.name, f"the look of {at:%H:%M} UTC", session
    )


def _not_followed(platform: Platform) -> dg.SkipReason | None:
    found = following(platform)
    return None if found.follows else dg.SkipReason(found.why)


def _day_off(platform: Platform, day: dt.date) -> dg.SkipReason | None:
    if platform.calendar.is_session(day):
        return None
    following = in_words(session_after(platform.calendar, day))
    why = f"{in_words(day)} is no session of the exchange; the next one is {following}."
    return dg.SkipReason(why)


@running_schedule(
    job=refresh_market,
    cron_schedule=f"{EVENING.minute} {EVENING.hour} * * *",
    execution_timezone=NEW_YORK.key,
    description="The evening of a session: a snapshot of the whole market.",
)
def market_nightly(context: dg.ScheduleEvaluationContext, platform: PlatformParam) -> Request:
    day = context.scheduled_execution_time.astimezone(NEW_YORK).date()
    try:
        platform.required_sources(MARKET.table.name)
    except NotEnabledError as error:
        return dg.SkipReason(str(error))
    why, tags = f"nightly {day}", {SESSION: str(day)}
    return _day_off(platform, day) or refresh_request(
        market_nightly.name, why, str(day), tags, asset=MARKET
    )


def membership_request(
    trigger: str, why: str, session: dt.date, run_key: str | None = None
) -> dg.RunRequest:
    """The run of ``refresh_membership`` that a schedule or sensor requests."""
    tags = {**reason(trigger, why), SESSION: str(session)}
    return dg.RunRequest(run_key, job_name=refresh_membership.name, tags=tags)


@hourly(
    job=refresh_prices,
    description="Pairs such as BTC-USD, whose day ends at midnight UTC; only where any are loaded.",
)
def crypto_hourly(context: dg.ScheduleEvaluationContext, platform: PlatformParam) -> Request:
    always, at = platform.always_open, context.scheduled_execution_time
    pairs = session_coverage(platform, PRICES.table, always.last_closed_session(at), always)
    if not pairs.symbols:
        return dg.SkipReason("No pairs are known here; load one to have it kept up.")
    due = list(pairs.to_request(at))
    if not due:
        return dg.SkipReason(pairs.describe())
    why, key = f"{named(due)} up to {pairs.session}", f"{at:%Y-%m-%dT%H}"
    return refresh_request(crypto_hourly.name, why, key, asset=PRICES, symbols=due, heed_tasks=True)


prune_history_daily = dg.ScheduleDefinition(
    name="prune_history_daily",
    job=prune_history,
    cron_schedule="30 3 * * *",
    execution_timezone=NEW_YORK.key,
    default_status=RUNNING,
    description="While markets and people sleep.",
)
