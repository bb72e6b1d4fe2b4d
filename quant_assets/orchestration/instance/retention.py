"""How long Dagster's own history is kept: the logs of old runs go, what happened to assets stays.

Materializations are history and are never deleted, nor is anything the colour of a partition is
made of: a red one is a planned event *and* the record of the run that failed on it. What goes is
what a run logged along the way, its captured output, runs that concern no asset, and the records of
finished backfills. Our own tables are not known here.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
from dagster._core.execution.backfill import (
    BULK_ACTION_TERMINAL_STATUSES,
    BulkActionsFilter,
    BulkActionStatus,
)
from dagster._core.storage.dagster_run import FINISHED_STATUSES
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager
from dagster._core.storage.runs.sql_run_storage import SqlRunStorage
from dagster._core.storage.tags import BACKFILL_ID_TAG

from quant_assets.orchestration.instance.event_storage import BatchedEventLogStorage
from quant_assets.orchestration.instance.instance import open_instance
from quant_assets.orchestration.instance.run_logs import (
    OF_ASSETS,
    delete_backfill,
    delete_logs,
    ended_backfills,
    log_sizes,
    with_more_than_a_log,
)


@dataclass(frozen=True)
class Pruned:
    """What was deleted, or in a dry run would be; ``left_alone`` names what could not be."""

    log_lines: int = 0
    log_bytes: int = 0
    output_folders: int = 0
    output_bytes: int = 0
    runs: int = 0
    backfills: int = 0
    backfill_bytes: int = 0
    left_alone: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.log_lines or self.output_folders or self.runs or self.backfills)

    def __str__(self) -> str:
        return (
            f"{_counted(self.log_lines, 'log line')} ({self.log_bytes / 1e6:,.1f} MB), "
            f"the output of {_counted(self.output_folders, 'run')} "
            f"({self.output_bytes / 1e6:,.1f} MB), "
            f"{_counted(self.runs, 'record')} of runs that concern no asset, "
            f"{_counted(self.backfills, 'record')} of backfills "
            f"({self.backfill_bytes / 1e6:,.1f} MB)"
        )


def prune_folder(home: Path, before: dt.datetime, *, dry_run: bool = False) -> Pruned:
    """Prune the history of a data folder; where there is none yet, none is made."""
    if not (home / "dagster" / "history").exists():
        return Pruned()
    with open_instance(home) as instance:
        return prune(instance, before, dry_run=dry_run)


def prune(instance: dg.DagsterInstance, before: dt.datetime, *, dry_run: bool = False) -> Pruned:
    """Delete the logs of runs that finished before a moment; materializations stay.

    Runs not finished, and those of a backfill not finished, are not touched. Everything is deleted
    in short transactions and a run's record last, so that it can be stopped at any moment: the
    next call goes on from there.
    """
    before = before.astimezone(dt.UTC)
    old = _finished_runs(instance, before)
    notes: list[str] = []
    folders, output_bytes = _prune_output(instance, old, notes, dry_run=dry_run)
    lines, log_bytes, runs = _prune_logs(instance, old, notes, dry_run=dry_run)
    backfills, backfill_bytes = _prune_backfills(instance, before, notes, dry_run=dry_run)
    return Pruned(
        lines, log_bytes, folders, output_bytes, runs, backfills, backfill_bytes, tuple(notes)
    )


def _finished_runs(instance: dg.DagsterInstance, before: dt.datetime) -> list[str]:
    """Runs that finished before a moment, without those a backfill at work still counts on."""
    finished = dg.RunsFilter(statuses=FINISHED_STATUSES, updated_before=before)
    at_work = [s for s in BulkActionStatus if s not in BULK_ACTION_TERMINAL_STATUSES]
    backfills = instance.get_backfills(filters=BulkActionsFilter(statuses=at_work))
    needed: set[str] = set()
    if backfills:
        tags = {BACKFILL_ID_TAG: [each.backfill_id for each in backfills]}
        needed = set(instance.get_run_ids(dg.RunsFilter(tags=tags)))
    return [run_id for run_id in instance.get_run_ids(finished) if run_id not in needed]


def _prune_output(
    instance: dg.DagsterInstance, old: Collection[str], notes: list[str], *, dry_run: bool
) -> tuple[int, int]:
    """Delete what steps printed; returns folders and bytes."""
    logs = instance.compute_log_manager
    if not isinstance(logs, LocalComputeLogManager):
        notes.append(f"{type(logs).__name__} keeps what steps printed by rules of its own.")
        return 0, 0
    top = Path(logs.get_captured_local_path(["any"], "out")).parent
    present = {path.name for path in top.iterdir()} if top.exists() else set()
    folders = [run_id for run_id in old if run_id in present]
    files = [path for run_id in folders for path in (top / run_id).rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    for run_id in folders if not dry_run else ():
        # Gone already where two prune at once.
        with suppress(FileNotFoundError):
            logs.delete_logs(prefix=[run_id])
    return len(folders), size


def _prune_logs(
    instance: dg.DagsterInstance, old: Collection[str], notes: list[str], *, dry_run: bool
) -> tuple[int, int, int]:
    """Delete what runs logged, and the runs that concern no asset; returns lines, bytes, runs."""
    events = instance.event_log_storage
    if not isinstance(events, BatchedEventLogStorage):
        notes.append(
            f"{type(events).__name__} deletes a run's events only all together: "
            "the logs of runs that concern assets stay."
        )
        return _prune_whole_runs(instance, old, dry_run=dry_run)
    sizes = log_sizes(events)
    logs = {run_id: sizes[run_id] for run_id in old if run_id in sizes}
    kept = with_more_than_a_log(events, old)
    needless = [run_id for run_id in old if run_id not in kept]
    if not dry_run:
        delete_logs(events, list(logs))
        for run_id in needless:
            instance.run_storage.delete_run(run_id)
    return sum(n for n, _ in logs.values()), sum(size for _, size in logs.values()), len(needless)


def _prune_whole_runs(
    instance: dg.DagsterInstance, old: Iterable[str], *, dry_run: bool
) -> tuple[int, int, int]:
    """As ``_prune_logs`` with any storage, by what all of them can do."""
    events = instance.event_log_storage
    lines = runs = 0
    for run_id in old:
        if events.get_records_for_run(run_id, of_type=OF_ASSETS, limit=1).records:
            continue
        lines += len(events.get_logs_for_run(run_id))
        runs += 1
        if not dry_run:
            events.delete_events(run_id)
            instance.run_storage.delete_run(run_id)
    return lines, 0, runs


def _prune_backfills(
    instance: dg.DagsterInstance, before: dt.datetime, notes: list[str], *, dry_run: bool
) -> tuple[int, int]:
    """Delete finished backfills, each of which lists all its keys; returns records and bytes."""
    runs = instance.run_storage
    if not isinstance(runs, SqlRunStorage):
        notes.append(f"{type(runs).__name__} can't delete records of backfills: they stay.")
        return 0, 0
    sizes = ended_backfills(runs, before)
    for backfill_id in sizes if not dry_run else ():
        delete_backfill(runs, backfill_id)
    return len(sizes), sum(sizes.values())


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
