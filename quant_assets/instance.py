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

MODULE = "quant_assets.definitions"
LOCATION = "quant_assets"


def instance_config(home: str) -> dict[str, object]:
    """The instance configuration with everything kept under ``home``."""
    return {
        "storage": {
            "custom": {
                "module": "quant_assets.event_storage",
                "class": "BatchedSqliteStorage",
                "config": {"base_dir": f"{home}/dagster"},
            }
        },
        "compute_logs": {
            "module": "dagster._core.storage.local_compute_log_manager",
            "class": "LocalComputeLogManager",
            "config": {"base_dir": f"{home}/dagster/compute_logs"},
        },
        "local_artifact_storage": {
            "module": "dagster._core.storage.root",
            "class": "LocalArtifactStorage",
            "config": {"base_dir": f"{home}/dagster/artifacts"},
        },
        "run_coordinator": {
            "module": "dagster.core.run_coordinator",
            "class": "QueuedRunCoordinator",
            "config": {"dequeue_interval_seconds": 1},
        },
        "concurrency": {"runs": {"max_concurrent_runs": 2}, "pools": {"default_limit": 1}},
        "run_monitoring": {"enabled": True, "free_slots_after_run_end_seconds": 60},
        "telemetry": {"enabled": False},
        "nux": {"enabled": False},
    }


def prepare(home: Path) -> Path:
    """Write the configuration of a data folder; returns the folder to use as DAGSTER_HOME."""
    folder = home / "dagster"
    folder.mkdir(parents=True, exist_ok=True)
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
    """The instance of a data folder, made on first use."""
    return dg.DagsterInstance.from_config(str(prepare(home)))
