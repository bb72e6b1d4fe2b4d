"""The assets of prices: ``daily_prices``, a partition per symbol-day, and ``corporate_actions``."""

import datetime as dt
import warnings
from collections.abc import Iterator
from functools import partial
from typing import Any

import dagster as dg
import pandas as pd

from quant_assets.journal.progress import Progress
from quant_assets.orchestration.assets.metadata import column_schema, preview
from quant_assets.orchestration.instance.instance import LOCATION
from quant_assets.orchestration.runs.dataset_asset import PRICES, UNIVERSE
from quant_assets.orchestration.runs.resources import WarehouseResource
from quant_assets.orchestration.runs.symbol_days import LoadConfig, load_partitions
from quant_assets.schema.prices import CORPORATE_ACTIONS, DAILY_PRICES
from quant_assets.wiring.platform import Platform

UNTIL_A_LONG_WEEKEND_IS_OVER = dg.FreshnessPolicy.time_window(
    fail_window=dt.timedelta(days=4, hours=15)
)
"""From the evening of a session to that of the next one it is four days over a weekend with a
holiday, and the morning after is 14½ hours later: only then is something amiss. This looks at the
newest event alone, of whichever session; ``latest_session`` shows what a single evening lacks."""


def once_quiet(trigger: dg.AutomationCondition[Any]) -> dg.AutomationCondition[Any]:
    """When ``trigger`` has come up since the last run, and nothing upstream is at work.

    As ``eager``, which never fires here, since the next session's keys are always missing upstream;
    and without its first run, which would find no warehouse.
    """
    return (
        trigger.since_last_handled()
        & ~dg.AutomationCondition.any_deps_in_progress()
        & ~dg.AutomationCondition.in_progress()
    )


PRICES_CHANGED: dg.AutomationCondition[Any] = dg.AutomationCondition.any_deps_updated()


SYMBOL_DAYS_A_RUN = 10_000
"""Symbol-days in one run of a backfill, at most. Dagster makes a run for each session, or for each
symbol where those are fewer, whatever the policy; only this one says so in its dialog."""

_LOCATION = f"/locations/{LOCATION}"
LOADED_BY = {
    name: dg.MetadataValue.job(name, LOCATION)
    for name in (PRICES.refresh_job, "backfill_prices", "reconcile_prices")
}
"""The jobs that load the asset. Dagster finds none by itself: they are made of ops, since a run of
an asset would plan keys that it has no need to load."""

DESCRIPTION = f"""\
Open, high, low, close and volume of one security on one exchange session, in shares of basis_on.

- **Green**: the row is in the warehouse, or the source confirmed that there is none (outcome =
  empty). **Red**: neither; the reason is under *View all historical events* on the key's page.
  **Grey**: never requested, such as the next session, which is listed before it opens.
- **Loaded each evening** by the job [{PRICES.refresh_job}]({_LOCATION}/jobs/{PRICES.refresh_job}),
  which the sensor [prices_due]({_LOCATION}/sensors/prices_due) starts once the schedule
  [nightly]({_LOCATION}/schedules/nightly) has had the index looked at. The sensor
  [failed_partitions]({_LOCATION}/sensors/failed_partitions) has failed symbols requested again.
- **Loaded by hand**: *Materialize*, which makes a run for each session; or the job
  [backfill_prices]({_LOCATION}/jobs/backfill_prices/playground), one run for symbols × days.
"""

_asset_of_prices = partial(
    dg.asset,
    group_name="market_data",
    kinds={"duckdb"},
    owners=["team:data"],
    code_version=PRICES.code_version,
    pool=PRICES.pool,
    freshness_policy=UNTIL_A_LONG_WEEKEND_IS_OVER,
)


def daily_prices_asset(partitions: dg.MultiPartitionsDefinition) -> dg.AssetsDefinition:
    """The asset on the partitions of the settings' window."""

    def daily_prices(
        context: dg.AssetExecutionContext,
        config: LoadConfig,
        platform: dg.ResourceParam[Platform],
        progress: dg.ResourceParam[Progress],
    ) -> Iterator[dg.Output[None]]:
        load_partitions(context, platform, config, partitions, progress, asset=PRICES)
        # An output would mark every key of the run, so none is yielded.
        yield from ()

    with warnings.catch_warnings():
        # Backfill policies are in beta; without one Dagster launches a run for every symbol-day.
        warnings.simplefilter("ignore", dg.BetaWarning)
        return _asset_of_prices(
            partitions_def=partitions,
            deps=[UNIVERSE],
            output_required=False,
            backfill_policy=dg.BackfillPolicy.multi_run(SYMBOL_DAYS_A_RUN),
            metadata={"dagster/column_schema": column_schema(DAILY_PRICES), **LOADED_BY},
            description=DESCRIPTION,
        )(daily_prices)


@_asset_of_prices(
    deps=[PRICES.key],
    automation_condition=once_quiet(PRICES_CHANGED),
    description="Splits, dividends, spin-offs and other events, stored by kind as they arrive with "
    "the prices. Stored prices are never adjusted by them; readers do that.",
)
def corporate_actions(warehouse: WarehouseResource) -> dg.MaterializeResult[None]:
    with warehouse.get_connection() as con:
        kinds = con.execute(
            "select kind, count(*), min(ex_date), max(ex_date) from corporate_actions "
            "group by 1 order by 1"
        ).fetchall()
        latest: pd.DataFrame = con.execute(
            "select s.name, a.ex_date, a.kind, a.ratio, a.amount, a.source "
            "from corporate_actions a join securities s using (security_id) "
            "order by a.ex_date desc, a.security_id limit 8"
        ).df()
    return dg.MaterializeResult(
        metadata={
            **{kind: count for kind, count, _, _ in kinds},
            "dagster/row_count": sum(row[1] for row in kinds),
            "first_ex_date": str(min((row[2] for row in kinds), default="")),
            "last_ex_date": str(max((row[3] for row in kinds), default="")),
            "dagster/column_schema": column_schema(CORPORATE_ACTIONS),
            "preview": preview(latest),
        }
    )
