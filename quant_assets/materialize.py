"""Assets materialized from the command line, in this process, into the instance the UI shows."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import dagster as dg

from quant_assets.definitions import build_definitions
from quant_assets.instance import open_instance
from quant_assets.partitions import SYMBOLS, key_of
from quant_assets.platform import Platform

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
"""The terminal belongs to the command; Dagster's own lines are in the UI."""


@dataclass(frozen=True)
class Materialized:
    """One run: its id, whether all went well, and if not, why."""

    run_id: str
    success: bool
    failure: str = ""


def materialize_asset(platform: Platform, name: str) -> Materialized:
    """Materialize an asset without partitions."""
    return _run(platform, "__ASSET_JOB", QUIET, selection=[dg.AssetKey(name)])


def materialize_all_prices(platform: Platform, start: dt.date, end: dt.date) -> Materialized:
    """Materialize ``daily_prices`` for every symbol partition from ``start`` to ``end``."""
    with open_instance(platform.settings.home_path) as instance:
        tickers = instance.get_dynamic_partitions(SYMBOLS)
    tags = {
        "dagster/asset_partition_range_start": key_of(tickers[0], start),
        "dagster/asset_partition_range_end": key_of(tickers[-1], end),
    }
    selection = [dg.AssetKey("daily_prices")]
    return _run(platform, "__ASSET_JOB", QUIET, selection=selection, tags=tags)


def backfill_prices(
    platform: Platform,
    tickers: Sequence[str],
    start: dt.date,
    end: dt.date,
    *,
    source: str = "",
    force: bool = False,
) -> Materialized:
    """Materialize a rectangle of ``daily_prices`` in one run of the job ``backfill_prices``."""
    config = {
        "symbols": list(tickers),
        "start": start.isoformat(),
        "end": end.isoformat(),
        "source": source,
        "force": force,
    }
    run_config = {**QUIET, "ops": {"load_rectangle": {"config": config}}}
    return _run(platform, "backfill_prices", run_config)


def _run(
    platform: Platform,
    job: str,
    run_config: Mapping[str, object],
    *,
    selection: Sequence[dg.AssetKey] | None = None,
    tags: Mapping[str, str] | None = None,
) -> Materialized:
    definitions = build_definitions(platform)
    named = (
        definitions.resolve_implicit_global_asset_job_def()
        if job == "__ASSET_JOB"
        else definitions.resolve_job_def(job)
    )
    with open_instance(platform.settings.home_path) as instance:
        result = named.execute_in_process(
            run_config=run_config,
            instance=instance,
            asset_selection=selection,
            tags=dict(tags or {}),
            raise_on_error=False,
        )
        failures = [
            event.step_failure_data.user_failure_data.description or ""
            if event.step_failure_data.user_failure_data
            else event.step_failure_data.error_display_string
            for event in result.all_events
            if event.is_step_failure
        ]
    return Materialized(result.run_id, result.success, "\n".join(failures))
