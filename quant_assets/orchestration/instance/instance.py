"""The one Dagster instance of a data folder: its configuration, and opening it.

``dagster.yaml`` at the top of the project is what ``instance_config`` gives for ``data``; a test
keeps the two the same. Command line and UI use absolute paths, so they see one history from
wherever they are called.
"""

from __future__ import annotations

import os
from pathlib import Path

import dagster as dg
import yaml
from dagster._core.instance.ref import InstanceRef

from quant_assets.orchestration.instance.history_files import check_history
from quant_assets.reference.errors import UsageError
from quant_assets.warehouse.liveness import is_alive

MODULE = "quant_assets.definitions"
LOCATION = "quant_assets"

PROCESS_TAG = ".dagster/quant_assets.process"
"""Tag with the process id of a run. Dagster's pages leave out tags that begin like this."""

IN_PROCESS = {".dagster/quant_assets.in_process": "true"}
"""Tag of runs executed by the command line in its own process."""

LONGEST_PATH_BYTES = 460
"""SQLite opens no file whose path is longer than 512 bytes, its own endings included."""

TICK_DAYS = {"skipped": 3, "success": 30, "failure": 30}
"""How long a tick of a schedule or sensor is kept, by what came of it. Most come to nothing."""


def instance_config(home: str) -> dict[str, object]:
    """The instance configuration with everything kept under ``home``."""
    ours, dagster_home = "quant_assets.orchestration.instance", f"{home}/dagster"
    core = "dagster._core.storage"
    storage = _component(f"{ours}.event_storage", "BatchedSqliteStorage", base_dir=dagster_home)
    return {
        "storage": {"custom": storage},
        "compute_logs": _component(
            f"{core}.local_compute_log_manager",
            "LocalComputeLogManager",
            base_dir=f"{dagster_home}/compute_logs",
        ),
        "local_artifact_storage": _component(
            f"{core}.root", "LocalArtifactStorage", base_dir=f"{dagster_home}/artifacts"
        ),
        "run_launcher": _component(
            f"{ours}.run_launcher", "WarmRunLauncher", runs_dir=f"{home}/runs"
        ),
        "run_coordinator": _component(
            "dagster.core.run_coordinator", "QueuedRunCoordinator", dequeue_interval_seconds=1
        ),
        "concurrency": {
            "runs": {"max_concurrent_runs": 2},
            # One load at a time in a pool; the next run starts up meanwhile.
            "pools": {"default_limit": 1, "op_granularity_run_buffer": 1},
        },
        "run_monitoring": {
            "enabled": True,
            "poll_interval_seconds": 15,
            "free_slots_after_run_end_seconds": 60,
        },
        "retention": {
            "schedule": {"purge_after_days": {**TICK_DAYS}},
            "sensor": {"purge_after_days": {**TICK_DAYS}},
        },
        "telemetry": {"enabled": False},
        "nux": {"enabled": False},
    }


def _component(module: str, name: str, **config: object) -> dict[str, object]:
    return {"module": module, "class": name, "config": config}


class TooLongAPathError(UsageError, ValueError):
    """A data folder so deep that SQLite can't open the files of Dagster's history in it."""

    def __init__(self, home: Path) -> None:
        super().__init__(
            f"The path of the data folder has {len(os.fsencode(home))} bytes, and Dagster's "
            f"history takes one of up to {LONGEST_PATH_BYTES}. Nothing was changed; use a data "
            "folder with a shorter path (QUANT_ASSETS_HOME)."
        )


def prepare(home: Path) -> Path:
    """Write the configuration of a data folder; returns the folder to use as DAGSTER_HOME.

    Raises TooLongAPathError, HistoryDamagedError.
    """
    if len(os.fsencode(home)) > LONGEST_PATH_BYTES:
        raise TooLongAPathError(home)
    folder = home / "dagster"
    folder.mkdir(parents=True, exist_ok=True)
    check_history(folder)
    workspace = {
        "load_from": [{"python_module": {"module_name": MODULE, "location_name": LOCATION}}]
    }
    _keep(folder / "dagster.yaml", yaml.safe_dump(instance_config(str(home))))
    _keep(folder / "workspace.yaml", yaml.safe_dump(workspace))
    return folder


def _keep(path: Path, text: str) -> None:
    """Write a file whole or not at all: a running UI may be reading it."""
    if path.exists() and path.read_text("utf-8") == text:
        return
    beside = path.with_suffix(f".{os.getpid()}.tmp")
    beside.write_text(text, "utf-8")
    beside.replace(path)


def open_instance(home: Path) -> dg.DagsterInstance:
    """The instance of a data folder, made on first use.

    Its configuration is handed over, since Dagster takes the path of ``dagster.yaml`` for a pattern
    and falls back on its own storage where a folder's name has brackets. Raises TooLongAPathError.
    """
    overrides = {**instance_config(str(home))}
    return dg.DagsterInstance.from_ref(
        InstanceRef.from_dir(str(prepare(home)), overrides=overrides)
    )


def end_dead_runs(instance: dg.DagsterInstance, runs: Path) -> list[str]:
    """Mark as failed the runs whose process is gone; returns their ids.

    Otherwise a run that was killed would keep its place in its pool, and look busy, for ever.
    """
    ended = []
    for run in instance.get_runs(dg.RunsFilter(statuses=[*_NOT_FINISHED])):
        # A launched run takes its lock as it starts, one of the command line before it is recorded.
        launched = PROCESS_TAG in run.tags and run.status in _BEGUN
        ours = launched or IN_PROCESS.items() <= run.tags.items()
        if ours and not is_alive(runs, run.run_id) and _unfinished(instance, run.run_id):
            message = "The process of this run is gone: it was killed, or the machine went down."
            # First, or a kill between the two would leave the place to a run that looks finished.
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
            if run.status == dg.DagsterRunStatus.CANCELING:
                instance.report_run_canceled(run, message)
            else:
                instance.report_run_failed(run, message)
            ended.append(run.run_id)
    return ended


def _unfinished(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Whether a run whose process is gone has left no end behind.

    A run notes its end before it lets go of its lock. So this is only sure when read after the
    lock: one that ended well since the runs were listed is not dead.
    """
    run = instance.get_run_by_id(run_id)
    return run is not None and not run.is_finished


_BEGUN = (dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING)
_NOT_FINISHED = (dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING, *_BEGUN)
