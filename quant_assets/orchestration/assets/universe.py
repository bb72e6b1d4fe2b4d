"""The asset ``sp500_universe``: the members of the index, and when they belonged to it."""

import datetime as dt

import dagster as dg

from quant_assets.orchestration.assets.metadata import column_schema, preview
from quant_assets.orchestration.runs.partitions import add_tickers
from quant_assets.read.membership_frames import universe
from quant_assets.refreshing.membership import refresh_membership
from quant_assets.schema.membership import MEMBERSHIP
from quant_assets.sources.index_members.chain import LAST_ACCEPTED
from quant_assets.wiring.platform import Platform

CONTRACT = dg.DataVersion("universe-1")
"""Version of what the asset means, not of its members: a new member must not make a million
symbol-days stale."""

LOOKED_AT = "looked_at"
"""Metadata: when the source was requested, by the platform's clock. A look that finds nothing new
counts as well."""

LOOKED_AT_OFTEN = dg.FreshnessPolicy.time_window(
    fail_window=dt.timedelta(days=1), warn_window=dt.timedelta(hours=2)
)
"""The index is looked at every hour, on days off too."""


@dg.asset(
    group_name="market_data",
    kinds={"duckdb"},
    owners=["team:data"],
    code_version=CONTRACT.value,
    pool="universe",
    freshness_policy=LOOKED_AT_OFTEN,
    description="Members of the S&P 500 as dated intervals, each security with its dated names. "
    "Adds the members' tickers to the symbol partitions.",
)
def sp500_universe(
    context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform]
) -> dg.MaterializeResult[None]:
    looked_at = platform.clock()
    report = refresh_membership(platform, run_id=context.run.run_id)
    tickers = report.tickers_since(platform.settings.partition_start)
    add_tickers(context.instance, list(tickers))
    for notice in (*report.passed_over, *report.notices):
        context.log.warning(notice)
    if report.source == LAST_ACCEPTED:
        reasons = "\n".join(f"- {reason}" for reason in report.passed_over)
        raise dg.Failure(
            f"No source names the index's members; the {report.members} known stay.\n{reasons}",
            allow_retries=False,
        )
    members = universe(
        "sp500", on=looked_at.date(), settings=platform.settings, clock=platform.clock
    )
    return dg.MaterializeResult(
        data_version=CONTRACT,
        metadata={
            "members": report.members,
            "added": ", ".join(report.added[:50]) or "none",
            "removed": ", ".join(report.removed) or "none",
            "renamed": ", ".join(report.renamed) or "none",
            "waited for": ", ".join(report.waiting) or "none",
            "conflicts": report.conflicts,
            "intervals": len(report.intervals),
            "source": report.source,
            "fallback for": "; ".join(report.passed_over) or "none",
            LOOKED_AT: looked_at.isoformat(timespec="seconds"),
            "dagster/row_count": report.members,
            "dagster/column_schema": column_schema(MEMBERSHIP),
            "preview": preview(members),
        },
    )
