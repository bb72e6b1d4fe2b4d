"""The asset ``latest_session``: materialized only when no symbol lacks the newest expected session.

Dagster's freshness looks at an asset's last event, which a backfill of an old session renews as
well. So this asset stands for the whole: whether the data is up to date is read off the data.
"""

import datetime as dt
from collections.abc import Iterator
from typing import Any

import dagster as dg

from quant_assets.orchestration.assets.prices import PRICES_CHANGED, once_quiet
from quant_assets.orchestration.runs.dataset_asset import PRICES
from quant_assets.refreshing.nightly import NEW_YORK, expected_session, session_coverage
from quant_assets.wiring.platform import Platform

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
    group_name="freshness",
    kinds={"duckdb"},
    owners=["team:data"],
    # A load under way is waited for: before its end the answer would be no.
    pool=PRICES.pool,
    freshness_policy=CONFIRMED_BY_MORNING,
    automation_condition=once_quiet(PRICES_CHANGED | TO_CONFIRM),
    description="Fresh when every active symbol has the latest expected session, or the source "
    "has confirmed that there is none. A session is expected from 18:30 New York time on. Where "
    "any is lacking nothing is materialized; an observation and the run's log say which and why.",
)
def latest_session(
    context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform]
) -> Iterator[dg.MaterializeResult[None] | dg.AssetObservation]:
    now = platform.clock()
    session = expected_session(platform.calendar, now)
    found = session_coverage(platform, PRICES.table, session)
    metadata: dict[str, str | int] = {
        "session": str(session),
        "symbols": found.symbols,
        "rows": found.present,
        "empty": found.empty,
        "lacking": len(found.lacking),
        "stand": found.describe(),
        "looked_at": now.isoformat(timespec="seconds"),
    }
    if found.complete:
        yield dg.MaterializeResult(metadata=metadata)
        return
    context.log.warning(found.describe())
    yield dg.AssetObservation(context.asset_key, metadata=metadata)
