"""The asset ``market_snapshot``: every listed security of the market, once a session."""

import dagster as dg

from quant_assets.journal.progress import Progress
from quant_assets.orchestration.assets.metadata import column_schema, preview
from quant_assets.orchestration.assets.prices import UNTIL_A_LONG_WEEKEND_IS_OVER
from quant_assets.orchestration.runs.dataset_asset import MARKET
from quant_assets.orchestration.runs.symbol_days import LoadConfig, load_whole
from quant_assets.read.market_frames import market
from quant_assets.schema.market import MARKET_SNAPSHOT
from quant_assets.wiring.platform import Platform


@dg.asset(
    key=MARKET.key,
    group_name="market_data",
    kinds={"duckdb"},
    owners=["team:data"],
    code_version=MARKET.code_version,
    pool=MARKET.pool,
    freshness_policy=UNTIL_A_LONG_WEEKEND_IS_OVER,
    description="Last sale, size, type and description of every listed security as of the last "
    "closed session. A market capitalisation that is not believed leaves the last good one in its "
    "place, with its day; a list of its source that is stale or cut short is set aside.",
)
def market_snapshot(
    context: dg.AssetExecutionContext,
    config: LoadConfig,
    platform: dg.ResourceParam[Platform],
    progress: dg.ResourceParam[Progress],
) -> dg.MaterializeResult[None]:
    reports = load_whole(context, platform, config, progress, asset=MARKET)
    frame = market(settings=platform.settings, clock=platform.clock)
    largest = frame.nlargest(8, "market_cap")
    return dg.MaterializeResult(
        data_version=dg.DataVersion(MARKET.code_version),
        metadata={
            "dagster/row_count": len(frame),
            "session": str(frame["session"].max().date()) if len(frame) else "",
            "sources": ", ".join(report.source for report in reports),
            "new": sum(report.total("inserted") for report in reports),
            "quarantined": sum(report.total("quarantined") for report in reports),
            "not believed": frame.attrs["not_believed"],
            **{str(name): int(count) for name, count in frame["type"].value_counts().items()},
            "dagster/column_schema": column_schema(MARKET_SNAPSHOT),
            "preview": preview(largest[["symbol", "name", "last_sale", "market_cap", "session"]]),
        },
    )
