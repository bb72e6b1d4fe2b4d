"""Assets materialized from the command line, in this process, into the instance the UI shows."""

from __future__ import annotations

import datetime as dt
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg
from dagster._core.events import DagsterEvent, DagsterEventType, RunFailureReason
from dagster._core.utils import make_new_run_id

from quant_assets.definitions import build_definitions
from quant_assets.journal.progress import Progress, unwatched
from quant_assets.orchestration.instance.history_files import said_of
from quant_assets.orchestration.instance.instance import (
    IN_PROCESS,
    PROCESS_TAG,
    end_dead_runs,
    open_instance,
)
from quant_assets.orchestration.runs.partitions import SYMBOLS, range_tags
from quant_assets.warehouse.liveness import alive
from quant_assets.wiring.platform import Platform

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
"""The terminal belongs to the command; Dagster's own lines are in the UI."""

QUERY_INTERRUPTED = "RuntimeError: Query interrupted"
"""What DuckDB makes of a signal during a query."""

SEARCH_EVERY_SECONDS = 5.0
"""Pause between two searches for dead runs."""


@dataclass(frozen=True)
class Materialized:
    """One run: its id, whether it succeeded, and why not.

    ``facts`` is the metadata of its ops' outputs, or of their failures.
    """

    run_id: str
    success: bool
    failure: str = ""
    facts: Mapping[str, object] = field(default_factory=dict)


def materialize_asset(platform: Platform, name: str) -> Materialized:
    """Materialize an asset without partitions.

    Raises KeyboardInterrupt where a signal ended the run, as does every function here.
    """
    return _run(platform, "__ASSET_JOB", QUIET, selection=[dg.AssetKey(name)])


def materialize_all_prices(
    platform: Platform, start: dt.date, end: dt.date, *, progress: Progress = unwatched
) -> Materialized:
    """Materialize ``daily_prices`` for every symbol partition from ``start`` to ``end``."""
    with open_instance(platform.settings.home_path) as instance:
        tickers = instance.get_dynamic_partitions(SYMBOLS)
    return _run(
        platform,
        "__ASSET_JOB",
        QUIET,
        selection=[dg.AssetKey("daily_prices")],
        tags=range_tags(tickers[0], tickers[-1], start, end),
        progress=progress,
    )


def backfill_prices(
    platform: Platform,
    tickers: Sequence[str],
    start: dt.date,
    end: dt.date,
    *,
    source: str = "",
    force: bool = False,
    progress: Progress = unwatched,
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
    return _run(platform, "backfill_prices", run_config, progress=progress)


def reconcile_prices(platform: Platform, *, progress: Progress = unwatched) -> Materialized:
    """Make the partitions of ``daily_prices`` agree with the warehouse, in one run."""
    return _run(platform, "reconcile_prices", QUIET, progress=progress)


def _run(
    platform: Platform,
    job: str,
    run_config: Mapping[str, object],
    *,
    selection: Sequence[dg.AssetKey] | None = None,
    tags: Mapping[str, str] | None = None,
    progress: Progress = unwatched,
) -> Materialized:
    definitions = build_definitions(platform, progress)
    job_definition = (
        definitions.resolve_implicit_global_asset_job_def()
        if job == "__ASSET_JOB"
        else definitions.resolve_job_def(job)
    )
    run_id = make_new_run_id()
    runs = platform.warehouse.runs
    home = platform.settings.home_path
    with (
        said_of(home / "dagster"),
        open_instance(home) as instance,
        alive(runs, run_id),
        _ending_dead_runs(instance, runs),
    ):
        result = job_definition.execute_in_process(
            run_config=run_config,
            instance=instance,
            asset_selection=selection,
            tags={**IN_PROCESS, PROCESS_TAG: str(os.getpid()), **(tags or {})},
            raise_on_error=False,
            run_id=run_id,
        )
        failures: list[str] = []
        facts: dict[str, dg.MetadataValue] = {}
        for event in result.all_events:
            if _was_interrupted(event):
                raise KeyboardInterrupt
            if event.is_step_failure:
                user = event.step_failure_data.user_failure_data
                error = event.step_failure_data.error_display_string
                failures.append(user.description or "" if user else error)
                facts |= user.metadata if user else {}
            elif event.is_successful_output:
                facts |= event.step_output_data.metadata
    plain = {name: value.value for name, value in facts.items()}
    return Materialized(result.run_id, result.success, "\n".join(failures), plain)


@contextmanager
def _ending_dead_runs(instance: dg.DagsterInstance, runs: Path) -> Iterator[None]:
    """End dead runs, now and while the block runs: they may occupy the pool that it waits for."""
    end_dead_runs(instance, runs)
    finished = threading.Event()

    def search() -> None:
        while not finished.wait(SEARCH_EVERY_SECONDS):
            end_dead_runs(instance, runs)

    searching = threading.Thread(target=search, name="ending dead runs", daemon=True)
    searching.start()
    try:
        yield
    finally:
        finished.set()
        searching.join()


def _was_interrupted(event: DagsterEvent) -> bool:
    """Whether a run failed because Dagster caught a signal that was meant for this process, or
    DuckDB did, which makes an exception of its own of it.
    """
    if event.is_step_failure:
        error = event.step_failure_data.error
        while error is not None:
            if QUERY_INTERRUPTED in error.message:
                return True
            error = error.cause
    return (
        event.event_type is DagsterEventType.RUN_FAILURE
        and event.job_failure_data.failure_reason is RunFailureReason.UNEXPECTED_TERMINATION
    )
