"""Everything put together for Dagster, explicitly. No logic lives here."""

from __future__ import annotations

import os

import dagster as dg

from quant_assets.assets.prices import corporate_actions, daily_prices_asset
from quant_assets.assets.universe import sp500_universe
from quant_assets.automation import (
    backfill_prices,
    dead_runs,
    prune_history,
    prune_history_daily,
    reconcile_prices,
)
from quant_assets.loading import Progress, unwatched
from quant_assets.partitions import symbol_days
from quant_assets.platform import Platform
from quant_assets.resources import WarehouseResource
from quant_assets.settings import load_settings


def build_definitions(platform: Platform, progress: Progress = unwatched) -> dg.Definitions:
    """The definitions over a platform; ``progress`` is told how far a load has come."""
    settings = platform.settings
    partitions = symbol_days(platform.calendar, settings.partition_start)
    return dg.Definitions(
        assets=[sp500_universe, daily_prices_asset(partitions), corporate_actions],
        jobs=[backfill_prices, reconcile_prices, prune_history],
        schedules=[prune_history_daily],
        sensors=[dead_runs],
        resources={
            "platform": platform,
            "progress": progress,
            "warehouse": WarehouseResource(database=str(settings.warehouse_path)),
        },
        executor=dg.in_process_executor,
    )


@dg.definitions
def defs() -> dg.Definitions:
    """The definitions over the settings of this process's environment."""
    return build_definitions(Platform(load_settings(os.environ)))
