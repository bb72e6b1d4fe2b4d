"""The platform's definitions with what later issues put below ``daily_prices``, for benchmarks."""

import os

import dagster as dg

from quant_assets.definitions import build_definitions
from quant_assets.orchestration.runs.dataset_asset import PRICES
from quant_assets.orchestration.runs.partitions import SYMBOLS, range_tags, symbols
from quant_assets.settings.settings import load_settings
from quant_assets.wiring.platform import Platform

WHEN_UPSTREAM_CHANGED = dg.AutomationCondition.eager().without(
    ~dg.AutomationCondition.any_deps_missing()
)
"""The next session is always missing upstream, and would hold ``eager`` back for ever."""

RECTANGLE = 503, 250


@dg.asset(
    partitions_def=symbols,
    deps=[
        dg.AssetDep(
            "daily_prices",
            partition_mapping=dg.MultiToSingleDimensionPartitionMapping("symbol"),
        )
    ],
    automation_condition=WHEN_UPSTREAM_CHANGED,
)
def by_symbol() -> None:
    """A partition a symbol."""


@dg.asset(deps=["daily_prices"], automation_condition=WHEN_UPSTREAM_CHANGED)
def of_all() -> None:
    """No partitions."""


def definitions() -> dg.Definitions:
    """Over the settings of this process's environment."""
    platform = Platform(load_settings(os.environ))

    @dg.sensor(asset_selection=["daily_prices"], default_status=dg.DefaultSensorStatus.RUNNING)
    def rectangle(context: dg.SensorEvaluationContext) -> dg.RunRequest:
        many, sessions = RECTANGLE
        tickers = context.instance.get_dynamic_partitions(SYMBOLS)[:many]
        last = platform.calendar.last_closed_session(platform.clock())
        at = platform.calendar.sessions.index(last)
        start = platform.calendar.sessions[at - sessions + 1]
        tags = range_tags(tickers[0], tickers[-1], start, last)
        return dg.RunRequest("once", asset_selection=[PRICES.key], tags=tags)

    below = dg.Definitions(assets=[by_symbol, of_all], sensors=[rectangle])
    return dg.Definitions.merge(build_definitions(platform), below)


@dg.definitions
def defs() -> dg.Definitions:
    return definitions()
