"""``quant-assets ui``: runs that are cut short, and the page a user opens in a real browser.

One server over a simulated market that lacks its last three sessions; the tests go on from one
another in the order of the file. First, through Dagster's own API, runs of earlier sessions are
cancelled and their workers killed; then the pages are clicked through, last because Dagster can't
be asked in this process while a browser is open. With ``UI_SCREENSHOTS`` set, pictures are written
to ``docs/images``.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import monotonic, sleep
from typing import TYPE_CHECKING

import psutil
import pytest

from quant_assets.cli.in_process import materialize_all_prices, materialize_asset, reconcile_prices
from quant_assets.orchestration.instance.instance import open_instance
from quant_assets.orchestration.runs.dataset_asset import PRICES
from quant_assets.orchestration.runs.partitions import SYMBOLS as PARTITIONED
from quant_assets.orchestration.runs.reconcile import compare
from quant_assets.read.price_frames import prices
from quant_assets_tests.standins.browser import (
    MARKS,
    RUNS_WITHIN_SECONDS,
    Server,
    browsing,
    choose,
    launch,
    open_partitions,
    picture,
    serving,
    shown_errors,
)
from quant_assets_tests.standins.faults import DataFolder, window

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = MARKS

SYMBOLS = ("XDADA", "XDADE")
"""The first two companies of the simulated market; nothing befalls them in its last weeks."""
COMPANIES = 250
"""So many that a run can be met under way."""
ENDED = {"SUCCESS", "FAILURE", "CANCELED"}


@dataclass(frozen=True)
class Market(Server):
    """A UI, the market it shows, and runs of its job.

    ``lacking`` are the latest sessions, which are not loaded yet.
    """

    folder: DataFolder
    lacking: tuple[dt.date, ...]

    def green(self) -> int:
        """How many symbol-days are green in Dagster's history."""
        with open_instance(self.folder.path / "data") as instance:
            return len(instance.get_materialized_partitions(PRICES.key))

    def launch_run(self, first: int, last: int) -> str:
        """Begin the job ``backfill_prices`` over some sessions of every symbol; the run's id."""
        days = window()
        config = {
            "symbols": list(self.folder.platform().simulated_market().symbols()),
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
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    folder = DataFolder(tmp_path_factory.mktemp("ui"), COMPANIES)
    platform = folder.platform()
    last = platform.calendar.last_closed_session(platform.clock())
    *here, one, two, three = platform.calendar.between(last - dt.timedelta(days=21), last)
    assert window()[19] < here[0]
    for run in (
        materialize_asset(platform, "sp500_universe"),
        materialize_all_prices(platform, here[0], here[-1]),
        materialize_asset(platform, "corporate_actions"),
    ):
        assert run.success, run.failure
    with open_instance(platform.settings.home_path) as instance:
        tickers = instance.get_dynamic_partitions(PARTITIONED)
    with serving(folder.path, folder.environment) as under_way:
        market = Market(under_way.url, folder, (one, two, three))
        assert market.green() == len(here) * len(tickers)
        yield market


# --- runs that are cut short ----------------------------------------------------------------------


def assert_all_agrees(server: Market, first: int, last: int) -> None:
    """The same again loads what is missing, and ``reconcile`` finds nothing left to do."""
    began = monotonic()
    run = server.launch_run(first, last)
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
        assert not compare(platform, instance, asset=PRICES).any


@pytest.mark.parametrize("policy", ["SAFE_TERMINATE"])
def test_a_run_that_is_cancelled_keeps_what_it_stored(server: Market, policy: str) -> None:
    run = server.launch_run(0, 9)
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
    server: Market,
) -> None:
    run = server.launch_run(10, 19)
    server.wait_until_it_stores(run)
    os.kill(server.worker(run), signal.SIGKILL)
    kept = server.stored_by(run)
    assert 0 < kept < COMPANIES
    assert_all_agrees(server, 10, 19)
    assert server.wait(run, ENDED.__contains__) == "FAILURE"
    assert server.stored_by(run) == kept


# --- in the browser ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def page(server: Market) -> Iterator[Page]:
    with browsing(server) as opened:
        yield opened


def test_the_graph_shows_every_asset(page: Page) -> None:
    page.goto("/asset-groups")
    nodes = page.locator("svg foreignObject")
    for asset in ("sp500_universe", "daily_prices", "corporate_actions", "market_snapshot"):
        nodes.filter(has_text=asset).last.wait_for()
    assert shown_errors(page) == []


def test_the_partitions_are_the_sessions_and_the_symbols(page: Page, server: Market) -> None:
    open_partitions(page)
    for key in (*map(str, server.lacking), *SYMBOLS):
        page.get_by_text(key, exact=True).first.wait_for()
    assert page.get_by_text(f"Materialized ({server.green()})").is_visible()
    assert page.get_by_text("Failed (0)").is_visible()


def test_a_rectangle_launched_by_clicking_turns_green(page: Page, server: Market) -> None:
    sessions = server.lacking
    before = server.green()
    launch(page, sessions, SYMBOLS)
    page.get_by_text(f"Materialized ({before + 6})").wait_for(timeout=RUNS_WITHIN_SECONDS * 1000)
    assert page.get_by_text("Failed (0)").is_visible()
    assert shown_errors(page) == []
    stored = prices(SYMBOLS, sessions[0], sessions[-1], home=server.folder.path / "data")
    found = sorted(zip(stored["symbol"], stored["session"].dt.date, strict=True))
    assert found == [(symbol, day) for symbol in SYMBOLS for day in sessions]
    assert (stored["close"] > 0).all()


def test_a_green_symbol_day_says_what_was_stored(page: Page, server: Market) -> None:
    open_partitions(page, f"{server.lacking[-1]}|XDADA")
    page.get_by_role("cell", name="outcome", exact=True).wait_for()
    assert page.get_by_role("cell", name="present", exact=True).is_visible()
    assert page.get_by_role("cell", name="simulated", exact=True).is_visible()
    picture(page, "partitions")


def test_a_backfill_of_what_is_there_already_ends_well(page: Page, server: Market) -> None:
    launch(page, server.lacking, SYMBOLS)
    assert server.wait_for_backfills() == ["COMPLETED_SUCCESS", "COMPLETED_SUCCESS"]


def test_the_dialog_of_a_backfill_says_what_happens(page: Page, server: Market) -> None:
    choose(page, server.lacking, SYMBOLS)
    dialog = page.get_by_role("dialog")
    dialog.get_by_text("Backfills in multiple runs").wait_for()
    dialog.get_by_text("Backfill only failed and missing partitions").wait_for()
    picture(page, "backfill-dialog")


def test_the_log_of_a_load_opens_on_its_summary(page: Page, server: Market) -> None:
    those = '{pipelineName: "backfill_prices", statuses: [SUCCESS]}'
    found = server.ask(f"{{runsOrError(filter: {those}) {{... on Runs {{results {{runId}}}}}}}}")
    page.goto(f"/runs/{found['runsOrError']['results'][-1]['runId']}")
    page.get_by_text("symbol-days present").wait_for()
    page.get_by_text("Finished execution of run").wait_for()
    assert page.get_by_text("ASSET_MATERIALIZATION", exact=True).count() == 0
    picture(page, "run-log")


def test_a_launchpad_opens_without_errors_and_says_what_its_fields_are_for(page: Page) -> None:
    page.goto("/locations/quant_assets/jobs/backfill_prices/playground")
    page.get_by_text("No errors").wait_for()
    page.locator(".CodeMirror-line", has_text="symbols").first.click()
    page.get_by_text("Last day, as 2024-05-31; empty for the").wait_for()
    picture(page, "launchpad")


def test_the_pages_open_without_an_error(page: Page) -> None:
    for name, address, text in (
        ("runs", "/runs", "Success"),
        ("universe", "/assets/sp500_universe", "The member."),
    ):
        page.goto(address)
        page.get_by_text(text, exact=True).first.wait_for()
        page.wait_for_load_state("networkidle")
        assert shown_errors(page) == []
        picture(page, name)
