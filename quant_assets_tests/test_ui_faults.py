"""Runs of the UI that are cancelled, and workers that are killed, through Dagster's own API.

One server over a simulated market; each test loads sessions of its own.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import monotonic, sleep

import psutil
import pytest

from quant_assets.instance import open_instance
from quant_assets.materialize import materialize_asset, reconcile_prices
from quant_assets.reconcile import compare
from quant_assets_tests.browser import MARKS, Server, serving
from quant_assets_tests.faults import DataFolder, window

pytestmark = MARKS

COMPANIES = 250
ENDED = {"SUCCESS", "FAILURE", "CANCELED"}


@dataclass(frozen=True)
class Loading(Server):
    """A UI, and runs of its job."""

    folder: DataFolder

    def launch(self, first: int, last: int) -> str:
        """Begin the job ``backfill_prices`` over some sessions of every symbol; the run's id."""
        platform, days = self.folder.platform(), window()
        config = {
            "symbols": list(platform.simulated_market().symbols()),
            "start": str(days[first]),
            "end": str(days[last]),
        }
        run_config = json.dumps({"ops": {"load_rectangle": {"config": config}}})
        selector = (
            '{repositoryName: "__repository__", repositoryLocationName: "quant_assets",'
            ' jobName: "backfill_prices"}'
        )
        answer = self.ask(
            f"mutation {{launchRun(executionParams: {{selector: {selector},"
            f" runConfigData: {json.dumps(run_config)}}})"
            " {__typename ... on LaunchRunSuccess {run {runId}}"
            " ... on PythonError {message}}}"
        )["launchRun"]
        assert answer["__typename"] == "LaunchRunSuccess", answer
        run: str = answer["run"]["runId"]
        return run

    def status(self, run: str) -> str:
        answer = self.ask(f'{{runOrError(runId: "{run}") {{... on Run {{status}}}}}}')
        status: str = answer["runOrError"]["status"]
        return status

    def wait(self, run: str, true: Callable[[str], bool], seconds: float = 60) -> str:
        deadline = monotonic() + seconds
        while not true(status := self.status(run)):
            assert monotonic() < deadline, status
            sleep(0.1)
        return status

    def wait_until_it_stores(self, run: str) -> None:
        """Until something of the run is in the warehouse, and not all."""
        deadline = monotonic() + 60
        while not self.stored_by(run):
            assert self.status(run) not in ENDED
            assert monotonic() < deadline
            sleep(0.02)

    def stored_by(self, run: str) -> int:
        warehouse = self.folder.platform().warehouse
        if not warehouse.exists():
            return 0
        query = "select count(*) from load_run_symbols where run_id = ?"
        with warehouse.reading() as con:
            [(number,)] = con.execute(query, [run]).fetchall()
        return int(number)

    def worker(self, run: str) -> int:
        """The process of a run: the one that holds its lock."""
        lock = str(self.folder.platform().warehouse.runs / f"{run}.alive")
        for process in psutil.process_iter():
            try:
                if any(file.path == lock for file in process.open_files()):
                    return process.pid
            except psutil.Error:
                continue
        raise AssertionError(f"no process works for {run}")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loading]:
    folder = DataFolder(tmp_path_factory.mktemp("ui"), COMPANIES)
    assert materialize_asset(folder.platform(), "sp500_universe").success
    with serving(folder.path, folder.environment) as under_way:
        yield Loading(under_way.url, folder)


def assert_all_agrees(server: Loading, first: int, last: int) -> None:
    """The same again loads what is missing, and ``reconcile`` finds nothing left to do."""
    began = monotonic()
    run = server.launch(first, last)
    assert server.wait(run, ENDED.__contains__, 120) == "SUCCESS"
    assert monotonic() - began < 100
    assert reconcile_prices(server.folder.platform()).success
    state = server.folder.state()
    days = {str(day) for day in window()[first : last + 1]}
    lacking = {key for key in state.lacking if key.split("|")[0] in days}
    assert lacking == state.red == state.differing == set()
    assert state.held == {}
    platform = server.folder.platform()
    with open_instance(platform.settings.home_path) as instance:
        assert not compare(platform, instance).any


@pytest.mark.parametrize("policy", ["SAFE_TERMINATE"])
def test_a_run_that_is_cancelled_keeps_what_it_stored(server: Loading, policy: str) -> None:
    run = server.launch(0, 9)
    server.wait_until_it_stores(run)
    answer = server.ask(
        f'mutation {{terminateRun(runId: "{run}", terminatePolicy: {policy})'
        " {__typename ... on TerminateRunFailure {message}}}"
    )["terminateRun"]
    assert answer == {"__typename": "TerminateRunSuccess"}
    assert server.wait(run, ENDED.__contains__) == "CANCELED"
    kept = server.stored_by(run)
    assert 0 < kept < COMPANIES
    assert_all_agrees(server, 0, 9)
    assert server.stored_by(run) == kept


def test_a_worker_that_is_killed_is_marked_failed_and_lets_the_next_run_through(
    server: Loading,
) -> None:
    run = server.launch(10, 19)
    server.wait_until_it_stores(run)
    os.kill(server.worker(run), signal.SIGKILL)
    kept = server.stored_by(run)
    assert 0 < kept < COMPANIES
    assert_all_agrees(server, 10, 19)
    assert server.wait(run, ENDED.__contains__) == "FAILURE"
    assert server.stored_by(run) == kept
