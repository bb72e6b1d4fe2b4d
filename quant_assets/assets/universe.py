"""The asset ``sp500_universe``: who belongs to the index, and when."""

import dagster as dg

from quant_assets.assets.metadata import column_schema, preview
from quant_assets.partitions import add_tickers
from quant_assets.platform import SIMULATED, Platform
from quant_assets.read import universe
from quant_assets.tables import MEMBERSHIP
from quant_assets.universe import import_universe

CONTRACT = dg.DataVersion("universe-1")
"""Version of what the asset means, not of who is a member: a new member must not make a million
symbol-days stale."""


@dg.asset(
    group_name="universe",
    kinds={"duckdb", "csv"},
    owners=["team:data"],
    code_version=CONTRACT.value,
    pool="universe",
    description="Members of the S&P 500 as dated intervals, each security with its dated names. "
    "Adds the members' tickers to the symbol partitions.",
)
def sp500_universe(
    context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform]
) -> dg.MaterializeResult[None]:
    source = platform.universe_source()
    today = platform.clock().date()
    answer = source.fetch_universe()
    report = import_universe(
        platform.warehouse,
        answer,
        platform.identities(source),
        on=today,
        # A made-up index may have any size.
        accept=answer.source == SIMULATED,
        run_id=context.run.run_id,
    )
    tickers = report.tickers_since(platform.settings.partition_start)
    add_tickers(context.instance, list(tickers))
    for notice in report.notices:
        context.log.warning(notice)
    members = universe("sp500", on=today, settings=platform.settings)
    return dg.MaterializeResult(
        data_version=CONTRACT,
        metadata={
            "members": report.members,
            "added": ", ".join(report.added[:50]) or "none",
            "removed": ", ".join(report.removed) or "none",
            "intervals": len(report.intervals),
            "source": report.source,
            "dagster/row_count": report.members,
            "dagster/column_schema": column_schema(MEMBERSHIP),
            "preview": preview(members),
        },
    )
