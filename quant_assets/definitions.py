"""Everything put together for Dagster, explicitly. No logic lives here."""

from __future__ import annotations

import os
import warnings

import dagster as dg

from quant_assets.journal.progress import Progress, unwatched
from quant_assets.orchestration.assets.checks import asset_checks
from quant_assets.orchestration.assets.latest_session import latest_session
from quant_assets.orchestration.assets.market import market_snapshot
from quant_assets.orchestration.assets.prices import corporate_actions, daily_prices_asset
from quant_assets.orchestration.assets.universe import sp500_universe
from quant_assets.orchestration.automation import jobs, schedules
from quant_assets.orchestration.automation.sense_failures import dead_runs, failed_partitions
from quant_assets.orchestration.automation.sense_index_changes import index_membership_sensor
from quant_assets.orchestration.automation.sense_prices_due import after_prices, prices_due
from quant_assets.orchestration.runs.partitions import symbol_days
from quant_assets.orchestration.runs.resources import WarehouseResource
from quant_assets.settings.settings import load_settings
from quant_assets.wiring.platform import Platform

_SCHEDULES = (
    schedules.nightly,
    schedules.market_nightly,
    schedules.membership_hourly,
    schedules.crypto_hourly,
    schedules.prune_history_daily,
)
_SENSORS = (prices_due, index_membership_sensor, failed_partitions, after_prices)


def build_definitions(platform: Platform, progress: Progress = unwatched) -> dg.Definitions:
    """The definitions over a platform; ``progress`` is called as a load advances."""
    settings = platform.settings
    partitions = symbol_days(platform.calendar, settings.partition_start)
    definitions = dg.Definitions(
        assets=[
            sp500_universe,
            daily_prices_asset(partitions),
            corporate_actions,
            latest_session,
            market_snapshot,
        ],
        asset_checks=[asset_checks],
        jobs=[
            jobs.backfill_prices,
            jobs.prune_history,
            jobs.reconcile_prices,
            jobs.refresh_market,
            jobs.refresh_membership,
            jobs.refresh_prices,
            jobs.tell_prices,
        ],
        schedules=_SCHEDULES if settings.automation else [],
        sensors=[*(_SENSORS if settings.automation else ()), dead_runs],
        resources={
            "platform": platform,
            "progress": progress,
            "warehouse": WarehouseResource(database=str(settings.warehouse_path)),
        },
        executor=dg.in_process_executor,
    )
    with warnings.catch_warnings():
        # Dagster makes sensors of several jobs anew, with an argument of its own that is in beta.
        warnings.simplefilter("ignore", dg.BetaWarning)
        definitions.get_repository_def()
    return definitions


@dg.definitions
def defs() -> dg.Definitions:
    """The definitions over the settings of this process's environment."""
    return build_definitions(Platform(load_settings(os.environ)))
