"""The asset ``latest_session``: materialized only when no symbol lacks the newest expected session.

Dagster's freshness looks at an asset's last event, which a backfill of an old session renews as
well. So this asset stands for the whole: whether the data is up to date is read off the data.
"""

import datetime as dt
from collections.abc import Iterator
from typing import Any

import dagster as dg

from quant_assets.health.judging import verdict
from quant_assets.orchestration.assets.prices import PRICES_CHANGED, once_quiet
from quant_assets.orchestration.runs.dataset_asset import PRICES
from quant_assets.reference.calendars import ALWAYS_OPEN
from quant_assets.refreshing.nightly import NEW_YORK, expected_session
from quant_assets.wiring.platform import Platform

NOTHING_LACKS = "nothing_lacks"
"""The check, which has a result from the first evening on: freshness has none before the first
materialization, and then does not say how many symbols lack the session."""

CONFIRM_AT = "30 8,20 * * *"
"""When the session is confirmed once more, New York time, on days off as well: in the evening, and
before the deadline for what was loaded without Dagster over night."""

CONFIRMED_BY_MORNING = dg.FreshnessPolicy.cron(
    deadline_cron="0 9 * * *",
    lower_bound_delta=dt.timedelta(hours=14, minutes=30),
    timezone=NEW_YORK.key,
)
"""By nine in the morning the newest session, expected from 18:30 the evening before, must have been
confirmed since then. On a day off that is the session before, so weekends and holidays stay fresh;
in the night the clocks go back the window begins at 19:30, still before the evening's look."""

TO_CONFIRM: dg.AutomationCondition[Any] = dg.AutomationCondition.cron_tick_passed(
    CONFIRM_AT, NEW_YORK.key
)


@dg.asset(
    deps=[PRICES.key],
    output_required=False,
    group_name="market_data",
    kinds={"duckdb"},
    owners=["team:data"],
    # A load under way is waited for: before its end the answer would be no.
    pool=PRICES.pool,
    freshness_policy=CONFIRMED_BY_MORNING,
    automation_condition=once_quiet(PRICES_CHANGED | TO_CONFIRM),
    check_specs=[
        dg.AssetCheckSpec(
            NOTHING_LACKS,
            asset="latest_session",
            description="Whether any symbol lacks a session, and which: the verdict of "
            "quant-assets status. A warning where some do, an error where half of them or more "
            "lack the newest session.",
        )
    ],
    description="Fresh when every active symbol has the latest expected session, or the source "
    "has confirmed that there is none. A session is expected from 18:30 New York time on. Where "
    "any is lacking nothing is materialized; the check, an observation and the run's log say which "
    "and why.",
)
def latest_session(
    context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform]
) -> Iterator[dg.MaterializeResult[None] | dg.AssetObservation | dg.AssetCheckResult]:
    platform.warehouse.migrate()
    found = verdict(platform)
    stands = [stand for stand in found.stands if stand.calendar != ALWAYS_OPEN]
    symbols = sum(stand.symbols for stand in stands)
    without = symbols - sum(stand.have for stand in stands)
    metadata: dict[str, str | int] = {
        "session": str(expected_session(platform.calendar, found.at)),
        "symbols": symbols,
        "rows": sum(stand.rows for stand in stands),
        "empty": sum(stand.empty for stand in stands),
        "lacking": without,
        "stand": found.sentence(),
        "looked_at": found.at.isoformat(timespec="seconds"),
    }
    if found.has_newest:
        yield dg.MaterializeResult(metadata=metadata)
    else:
        context.log.warning(found.sentence())
        yield dg.AssetObservation(context.asset_key, metadata=metadata)
    yield dg.AssetCheckResult(
        passed=bool(symbols) and not found.lacking,
        check_name=NOTHING_LACKS,
        severity=severity(without, symbols),
        description=found.sentence(),
        metadata={
            "lacking_symbols": len(found.lacking),
            "without_the_newest_session": without,
            "symbols": symbols,
            "mended_by": "quant-assets status --lacking",
        },
    )


def severity(without: int, symbols: int) -> dg.AssetCheckSeverity:
    """An error where half of the symbols or more lack the newest session, or none is known."""
    return dg.AssetCheckSeverity.ERROR if 2 * without >= symbols else dg.AssetCheckSeverity.WARN
