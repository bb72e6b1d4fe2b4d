"""Runs launched from a process that has the libraries imported already.

Stock Dagster starts a fresh Python for every run, which takes three seconds of a core before the
run begins; a backfill of a year is 250 runs. Here a server that has imported the libraries, and
nothing of ours, forks a process for each. Our own code and the settings are loaded in the run, so
that it always has the latest.

A run holds a lock for as long as its process lives, so any process can find out whether it died.
Leans on private parts of Dagster; without ``run_launcher`` in ``dagster.yaml`` its own is used.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Mapping
from functools import cache
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._cli.api import _execute_run_command_body
from dagster._core.instance.ref import InstanceRef
from dagster._core.launcher import CheckRunHealthResult, LaunchRunContext, RunLauncher, WorkerStatus
from dagster._serdes import ConfigurableClass, ConfigurableClassData
from dagster._utils.interrupts import capture_interrupts, setup_interrupt_handlers

from quant_assets.orchestration.instance.instance import PROCESS_TAG
from quant_assets.warehouse.liveness import alive, is_alive

LIBRARIES = (
    "dagster._cli.api",
    "dagster_duckdb",
    "duckdb",
    "exchange_calendars",
    "pandas",
    "pyarrow.compute",
    "requests",
    "sqlalchemy.dialects.sqlite",
    "dagster._core.storage.event_log.sqlite.consolidated_sqlite_event_log",
)


class WarmRunLauncher(RunLauncher[dg.DagsterInstance], ConfigurableClass):
    """Forks the process of each run; ``runs_dir`` is where runs hold their locks."""

    def __init__(self, runs_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._runs = Path(runs_dir)
        self._inst_data = inst_data
        super().__init__()  # type: ignore[no-untyped-call]  # Dagster's own

    @property
    def inst_data(self) -> ConfigurableClassData | None:
        return self._inst_data

    @classmethod
    def config_type(cls) -> dict[str, type]:
        return {"runs_dir": str}

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> WarmRunLauncher:
        return cls(config_value["runs_dir"], inst_data)

    def launch_run(self, context: LaunchRunContext) -> None:
        run_id = context.dagster_run.run_id
        # As a daemon it ends with the process that launched it: no run outlives the UI unseen.
        process = _server().Process(
            target=_execute, args=(self._instance.get_ref(), str(self._runs), run_id), daemon=True
        )
        process.start()
        self._instance.add_run_tags(run_id, {PROCESS_TAG: str(process.pid)})

    def terminate(self, run_id: str) -> bool:
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return False
        self._instance.report_run_canceling(run)
        process = run.tags.get(PROCESS_TAG)
        if process is None or not is_alive(self._runs, run_id):
            self._instance.report_run_canceled(run, "The process of this run is gone.")
            return False
        os.kill(int(process), signal.SIGINT)
        return True

    @property
    def supports_check_run_worker_health(self) -> bool:
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        if is_alive(self._runs, run.run_id):
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(WorkerStatus.FAILED, "The process of this run is gone.")


@cache
def _server() -> ForkServerContext:
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(list(LIBRARIES))
    return server


def _execute(instance_ref: InstanceRef, runs: str, run_id: str) -> None:
    """What the forked process does: execute one run, as ``dagster api execute_run`` would."""
    setup_interrupt_handlers()
    threading.Thread(target=_end_with_launcher, daemon=True).start()
    with (
        capture_interrupts(),
        alive(Path(runs), run_id),
        dg.DagsterInstance.from_ref(instance_ref) as instance,
    ):
        _execute_run_command_body(run_id, instance, lambda event: None, False)


def _end_with_launcher() -> None:
    """Interrupt this run once the process that launched it is gone, however that ended: one that
    was killed leaves its runs behind.
    """
    launcher = multiprocessing.parent_process()
    if launcher is not None:
        launcher.join()
        os.kill(os.getpid(), signal.SIGTERM)
