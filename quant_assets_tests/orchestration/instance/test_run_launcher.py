"""Runs in processes of their own, launched as Dagster's daemon does, ended in every way they can.

The code of a run is a file that the test writes; a run says how far it is through files as well.
"""

from __future__ import annotations

import inspect
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest
from dagster._cli.api import _execute_run_command_body
from dagster._core.definitions.reconstruct import ReconstructableRepository
from dagster._core.launcher import (
    CheckRunHealthResult,
    LaunchRunContext,
    RunLauncher,
    WorkerStatus,
)
from dagster._core.storage.dagster_run import FINISHED_STATUSES
from dagster._core.test_utils import create_test_daemon_workspace_context
from dagster._core.workspace.load_target import PythonFileTarget

from quant_assets.orchestration.instance.instance import PROCESS_TAG, end_dead_runs, open_instance
from quant_assets.orchestration.instance.run_launcher import LIBRARIES, WarmRunLauncher
from quant_assets.warehouse.liveness import alive, is_alive

CODE = """
import json, os, sys, time
from pathlib import Path
import dagster as dg

HERE = Path(__file__).parent

@dg.op(pool="prices")
def work(context):
    (HERE / "says.json").write_text(json.dumps({"version": VERSION, "process": os.getpid()}))
    (HERE / "started").touch()
    deadline = time.monotonic() + 60
    while (HERE / "hold").exists() and time.monotonic() < deadline:
        time.sleep(0.02)

@dg.op(pool="prices")
def broken():
    raise ValueError("it is broken")

@dg.job(executor_def=dg.in_process_executor)
def a_job():
    work()

@dg.job(executor_def=dg.in_process_executor)
def a_broken_job():
    broken()

@dg.repository
def a_repository():
    return [a_job, a_broken_job]
"""

DONE, FAILED, CANCELED = (
    dg.DagsterRunStatus.SUCCESS,
    dg.DagsterRunStatus.FAILURE,
    dg.DagsterRunStatus.CANCELED,
)


@dataclass
class Launching:
    """An instance with the launcher, and code for it to run."""

    path: Path
    instance: dg.DagsterInstance

    @property
    def runs(self) -> Path:
        return self.path / "runs"

    @property
    def launcher(self) -> RunLauncher[dg.DagsterInstance]:
        return self.instance.run_launcher

    def code(self, version: str) -> None:
        (self.path / "code.py").write_text(f"VERSION = {version!r}\n{CODE}", "utf-8")

    def create(self, job: str = "a_job") -> str:
        """A run that has not been launched."""
        repository = ReconstructableRepository.for_file(
            str(self.path / "code.py"), "a_repository", str(self.path)
        )
        found = repository.get_reconstructable_job(job)
        run = self.instance.create_run_for_job(
            found.get_definition(), job_code_origin=found.get_python_origin()
        )
        return run.run_id

    def launch(self, job: str = "a_job") -> str:
        run_id = self.create(job)
        self.launcher.launch_run(LaunchRunContext(self.run(run_id), None))
        return run_id

    def held(self) -> str:
        """A run that is under way and goes on until it is ended."""
        (self.path / "hold").touch()
        run_id = self.launch()
        wait_for((self.path / "started").exists)
        return run_id

    def run(self, run_id: str) -> dg.DagsterRun:
        run = self.instance.get_run_by_id(run_id)
        assert run is not None
        return run

    def ended(self, run_id: str) -> dg.DagsterRunStatus:
        """How a run ended, once it has."""
        wait_for(lambda: self.run(run_id).status in FINISHED_STATUSES)
        return self.run(run_id).status

    def health(self, run_id: str) -> CheckRunHealthResult:
        return self.launcher.check_run_worker_health(self.run(run_id))

    def says(self) -> dict[str, object]:
        found: dict[str, object] = json.loads((self.path / "says.json").read_text("utf-8"))
        return found

    def pool(self) -> list[str]:
        """The runs that hold a place in the pool."""
        claimed = self.instance.event_log_storage.get_concurrency_info("prices").claimed_slots
        return [slot.run_id for slot in claimed]


def wait_for(happened: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder in which nothing has happened yet; making one takes a second."""
    path = tmp_path_factory.mktemp("prepared")
    open_instance(path).dispose()
    return path


@pytest.fixture
def launching(prepared: Path, tmp_path: Path) -> Iterator[Launching]:
    path = Path(shutil.copytree(prepared, tmp_path / "data"))
    with open_instance(path) as instance:
        found = Launching(path, instance)
        found.code("one")
        yield found
        (path / "hold").unlink(missing_ok=True)
        for run in instance.get_runs():
            wait_for(lambda run_id=run.run_id: not is_alive(found.runs, run_id))  # type: ignore[misc]


def test_a_run_happens_in_a_process_of_its_own(launching: Launching) -> None:
    run_id = launching.launch()
    assert launching.ended(run_id) is DONE
    process = launching.says()["process"]
    assert process != os.getpid()
    assert launching.run(run_id).tags[PROCESS_TAG] == str(process)
    assert launching.pool() == []
    wait_for(lambda: not is_alive(launching.runs, run_id))


def test_a_run_that_fails_says_why(launching: Launching) -> None:
    run_id = launching.launch("a_broken_job")
    assert launching.ended(run_id) is FAILED
    failures = [
        event.get_dagster_event().step_failure_data.error_display_string
        for event in launching.instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
    ]
    assert len(failures) == 1
    assert "it is broken" in failures[0]
    assert launching.pool() == []


def test_a_run_has_the_code_as_it_is_when_it_starts(launching: Launching) -> None:
    assert launching.ended(launching.launch()) is DONE
    assert launching.says()["version"] == "one"
    launching.code("two, which is longer")
    assert launching.ended(launching.launch()) is DONE
    assert launching.says()["version"] == "two, which is longer"


def test_dagster_launches_a_run_of_its_workspace(launching: Launching) -> None:
    target = PythonFileTarget(
        python_file=str(launching.path / "code.py"),
        attribute="a_repository",
        working_directory=str(launching.path),
        location_name="here",
    )
    run_id = launching.create()
    with create_test_daemon_workspace_context(target, launching.instance) as context:
        launching.instance.launch_run(run_id, context.create_request_context())
        assert launching.ended(run_id) is DONE


def test_a_run_under_way_is_seen_to_be(launching: Launching) -> None:
    run_id = launching.held()
    assert launching.launcher.supports_check_run_worker_health
    assert launching.health(run_id).status is WorkerStatus.RUNNING
    assert end_dead_runs(launching.instance, launching.runs) == []
    assert launching.pool() == [run_id]
    (launching.path / "hold").unlink()
    assert launching.ended(run_id) is DONE


def test_a_run_that_is_terminated_is_cancelled_and_gives_up_its_place(
    launching: Launching,
) -> None:
    run_id = launching.held()
    assert launching.launcher.terminate(run_id) is True
    assert launching.ended(run_id) is CANCELED
    wait_for(lambda: not is_alive(launching.runs, run_id))
    assert launching.pool() == []
    assert launching.launcher.terminate(run_id) is False
    assert launching.run(run_id).status is CANCELED


def test_a_killed_run_is_seen_ended_and_its_place_freed(launching: Launching) -> None:
    run_id = launching.held()
    assert launching.pool() == [run_id]
    os.kill(int(launching.run(run_id).tags[PROCESS_TAG]), signal.SIGKILL)
    wait_for(lambda: launching.health(run_id).status is WorkerStatus.FAILED)
    assert launching.health(run_id).msg == "The process of this run is gone."
    assert launching.run(run_id).status is dg.DagsterRunStatus.STARTED
    assert end_dead_runs(launching.instance, launching.runs) == [run_id]
    assert launching.run(run_id).status is FAILED
    assert launching.pool() == []
    assert end_dead_runs(launching.instance, launching.runs) == []


def launch_and_stay(home: Path, run_id: str) -> None:
    """What a daemon does that is killed while a run is under way."""
    with open_instance(home) as instance:
        run = instance.get_run_by_id(run_id)
        assert run is not None
        instance.run_launcher.launch_run(LaunchRunContext(run, None))
        threading.Event().wait()


def test_a_run_ends_with_the_process_that_launched_it_even_if_that_is_killed(
    launching: Launching,
) -> None:
    (launching.path / "hold").touch()
    run_id = launching.create()
    launcher = multiprocessing.get_context("spawn").Process(
        target=launch_and_stay, args=(launching.path, run_id)
    )
    launcher.start()
    wait_for((launching.path / "started").exists)
    launcher.kill()
    assert launching.ended(run_id) is FAILED
    launcher.join()


def test_a_run_that_ends_while_it_is_looked_at_stays_as_it_ended(
    launching: Launching, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was under way when the runs were listed, and has let go of its lock since."""
    run_id = launching.held()
    listed = launching.instance.get_runs()
    (launching.path / "hold").unlink()
    assert launching.ended(run_id) is DONE
    wait_for(lambda: not is_alive(launching.runs, run_id))
    monkeypatch.setattr(launching.instance, "get_runs", lambda filters=None: listed)
    assert end_dead_runs(launching.instance, launching.runs) == []
    assert launching.run(run_id).status is DONE


def test_a_killed_run_that_is_terminated_is_cancelled_at_once(launching: Launching) -> None:
    run_id = launching.held()
    os.kill(int(launching.run(run_id).tags[PROCESS_TAG]), signal.SIGKILL)
    wait_for(lambda: not is_alive(launching.runs, run_id))
    assert launching.launcher.terminate(run_id) is False
    assert launching.run(run_id).status is CANCELED


def test_a_run_killed_while_it_is_cancelled_is_cancelled(launching: Launching) -> None:
    run_id = launching.held()
    launching.instance.report_run_canceling(launching.run(run_id))
    assert end_dead_runs(launching.instance, launching.runs) == []
    os.kill(int(launching.run(run_id).tags[PROCESS_TAG]), signal.SIGKILL)
    wait_for(lambda: not is_alive(launching.runs, run_id))
    assert end_dead_runs(launching.instance, launching.runs) == [run_id]
    assert launching.run(run_id).status is CANCELED
    assert launching.pool() == []


def test_a_run_that_was_never_launched_is_not_ended(launching: Launching) -> None:
    run_id = launching.create()
    assert end_dead_runs(launching.instance, launching.runs) == []
    assert launching.run(run_id).status is dg.DagsterRunStatus.NOT_STARTED
    assert launching.launcher.terminate("00000000-0000-0000-0000-000000000000") is False


def test_the_lock_of_a_run_is_what_tells_that_it_lives(launching: Launching) -> None:
    run_id = launching.create()
    assert launching.health(run_id).status is WorkerStatus.FAILED
    with alive(launching.runs, run_id):
        assert launching.health(run_id).status is WorkerStatus.RUNNING


def test_a_launcher_is_made_from_the_configuration(launching: Launching) -> None:
    with dg.DagsterInstance.from_ref(launching.instance.get_ref()) as again:
        assert type(again.run_launcher) is WarmRunLauncher
        assert vars(again.run_launcher)["_runs"] == launching.runs


def test_the_process_that_forks_has_the_libraries_and_nothing_of_ours() -> None:
    assert [name for name in LIBRARIES if name.split(".")[0] == "quant_assets"] == []
    # A name that can't be imported is passed over in silence, and every run would import it.
    look = (
        "import importlib, json, sys, threading\n"
        f"for name in {LIBRARIES!r}: importlib.import_module(name)\n"
        "ours = [name for name in sys.modules if name.split('.')[0] == 'quant_assets']\n"
        "print(json.dumps([ours, [thread.name for thread in threading.enumerate()]]))"
    )
    found = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", look], capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr
    # A process that forks must have no thread: its locks would stay locked in the child.
    assert json.loads(found.stdout) == [[], ["MainThread"]]


def test_dagster_executes_a_run_with_what_the_launcher_gives_it() -> None:
    parameters = list(inspect.signature(_execute_run_command_body).parameters)
    assert parameters == ["run_id", "instance", "write_stream_fn", "set_exit_code_on_failure"]
    for name in ("launch_run", "terminate", "check_run_worker_health"):
        assert name in vars(RunLauncher), f"Dagster does not call a launcher's {name} any more"
