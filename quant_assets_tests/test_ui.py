"""The page a user opens: ``quant-assets ui`` in a real headless browser, clicked through.

One server over a simulated market that lacks its last three sessions; the tests go on from one
another in the order of the file. With ``UI_SCREENSHOTS`` set, pictures are written to
``docs/images``.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from quant_assets.instance import open_instance
from quant_assets.materialize import materialize_all_prices, materialize_asset
from quant_assets.partitions import SYMBOLS as PARTITIONED
from quant_assets.platform import Platform
from quant_assets.read import prices
from quant_assets.settings import load_settings

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine"),
]

BROWSER_OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PICTURES = Path(__file__).parents[1] / "docs" / "images"
STARTS_WITHIN_SECONDS = 90
RUNS_WITHIN_SECONDS = 90
EXPANDED = "global@global:universe,global@global:prices"
"""Asset groups to open, as the graph's own address names them."""
SYMBOLS = ("XDADA", "XDADE")
"""The first two companies of the simulated market; nothing befalls them in its last weeks."""


@dataclass(frozen=True)
class Server:
    """A UI under way, and the folder it shows.

    ``lacking`` are the sessions not loaded yet, ``loaded`` the number of symbol-days that are.
    """

    url: str
    platform: Platform
    lacking: tuple[dt.date, ...]
    loaded: int

    def ask(self, query: str) -> dict[str, object]:
        """The answer of Dagster's own API, which the pages draw."""
        body = json.dumps({"query": query}).encode()
        request = urllib.request.Request(
            f"{self.url}/graphql", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            data: dict[str, object] = json.load(answer)["data"]
        return data

    def backfills(self) -> list[str]:
        """The state of each backfill, newest first."""
        answer = self.ask(
            "{partitionBackfillsOrError {... on PartitionBackfills {results {status}}}}"
        )
        return [row["status"] for row in answer["partitionBackfillsOrError"]["results"]]  # type: ignore[index]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("ui")
    settings = {
        "QUANT_ASSETS_HOME": str(home / "data"),
        "QUANT_ASSETS_SOURCE": "simulated",
        "QUANT_ASSETS_SIMULATED__SYMBOLS": "20",
    }
    today = Platform(load_settings(settings, working_directory=home))
    last = today.calendar.last_closed_session(today.clock())
    *here, one, two, three = today.calendar.between(last - dt.timedelta(days=28), last)
    settings["QUANT_ASSETS_PARTITION_START"] = str(here[0])
    platform = Platform(load_settings(settings, working_directory=home))
    for run in (
        materialize_asset(platform, "sp500_universe"),
        materialize_all_prices(platform, here[0], here[-1]),
        materialize_asset(platform, "corporate_actions"),
    ):
        assert run.success, run.failure
    with open_instance(platform.settings.home_path) as instance:
        loaded = len(here) * len(instance.get_dynamic_partitions(PARTITIONED))
    port = free_port()
    with (home / "ui.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "quant_assets.cli", "ui", "--port", str(port)],
            cwd=home,
            env={**without_ours(os.environ), **settings},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            wait_until_ready(process, port, home / "ui.log")
            yield Server(f"http://127.0.0.1:{port}", platform, (one, two, three), loaded)
        finally:
            end_group(process)
    assert not listening(port), f"port {port} is still in use"


def without_ours(environment: Mapping[str, str]) -> dict[str, str]:
    mine = ("QUANT_ASSETS_", "DAGSTER_")
    kept = {name: value for name, value in environment.items() if not name.startswith(mine)}
    project = str(Path(__file__).parents[1])
    return {**kept, "PYTHONPATH": os.pathsep.join(filter(None, (project, kept.get("PYTHONPATH"))))}


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port: int = held.getsockname()[1]
    return port


def listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_until_ready(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + STARTS_WITHIN_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/server_info", timeout=5).close()
            return
        time.sleep(0.2)
    raise AssertionError(f"The UI did not start:\n{log.read_text('utf-8', 'replace')[-3000:]}")


def end_group(process: subprocess.Popen[bytes]) -> None:
    """End the server with everything it started: Dagster's children outlive a SIGTERM at times."""
    for number, patience in ((signal.SIGTERM, 10.0), (signal.SIGKILL, 5.0)):
        deadline = time.monotonic() + patience
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
            while time.monotonic() < deadline:
                process.poll()  # takes leave of the leader, which would count as alive
                os.killpg(process.pid, 0)
                time.sleep(0.1)
    process.wait(timeout=5)


@pytest.fixture(scope="module")
def page(server: Server) -> Iterator[playwright.Page]:
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=list(BROWSER_OPTIONS))
        page = browser.new_page(viewport={"width": 1400, "height": 900}, base_url=server.url)
        page.set_default_timeout(30_000)
        yield page
        browser.close()


def picture(page: playwright.Page, name: str) -> None:
    if os.environ.get("UI_SCREENSHOTS"):
        PICTURES.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=PICTURES / f"{name}.png")


def shown_errors(page: playwright.Page) -> list[str]:
    """Messages of the kind that slides in when something went wrong."""
    texts = page.get_by_role("alert").all_inner_texts()
    return [text for text in texts if "rror" in text or "ailed" in text]


def open_partitions(page: playwright.Page) -> None:
    page.goto("/assets/daily_prices?view=partitions")
    page.get_by_text("Partitions Selected").wait_for()


def test_the_graph_shows_every_asset(page: playwright.Page) -> None:
    page.goto("/asset-groups")
    nodes = page.locator("svg foreignObject")
    for group, assets in (
        ("universe", ("sp500_universe",)),
        ("prices", ("daily_prices", "corporate_actions")),
    ):
        nodes.filter(has_text=group).last.click()
        for asset in assets:
            nodes.filter(has_text=asset).last.wait_for()
    assert shown_errors(page) == []


def test_the_partitions_are_the_sessions_and_the_symbols(
    page: playwright.Page, server: Server
) -> None:
    open_partitions(page)
    for key in (*map(str, server.lacking), *SYMBOLS):
        page.get_by_text(key, exact=True).first.wait_for()
    assert page.get_by_text(f"Materialized ({server.loaded})").is_visible()
    assert page.get_by_text("Failed (0)").is_visible()


def launch(page: playwright.Page, sessions: tuple[dt.date, ...]) -> None:
    """Choose a rectangle in the dialog, as a user does, and launch it."""
    open_partitions(page)
    page.get_by_role("button", name="Materialize").first.click()
    dialog = page.get_by_role("dialog")
    dates = dialog.get_by_placeholder("ex: ")
    dates.fill(f"[{sessions[0]}...{sessions[-1]}]")
    dates.press("Enter")
    dialog.get_by_text("Select a partition or create one").click()
    for symbol in SYMBOLS:
        page.get_by_role("menuitem", name=symbol).click()
    dialog.get_by_text(f"{len(sessions) * len(SYMBOLS)} partitions", exact=True).click()
    dialog.get_by_role("button", name="Launch backfill").click()
    page.get_by_text("Created backfill").wait_for()


def test_a_rectangle_launched_by_clicking_turns_green(
    page: playwright.Page, server: Server
) -> None:
    sessions = server.lacking
    launch(page, sessions)
    green = page.get_by_text(f"Materialized ({server.loaded + 6})")
    green.wait_for(timeout=RUNS_WITHIN_SECONDS * 1000)
    assert page.get_by_text("Failed (0)").is_visible()
    assert shown_errors(page) == []
    stored = prices(SYMBOLS, sessions[0], sessions[-1], home=server.platform.settings.home_path)
    found = sorted(zip(stored["symbol"], stored["session"].dt.date, strict=True))
    assert found == [(symbol, day) for symbol in SYMBOLS for day in sessions]
    assert (stored["close"] > 0).all()


def test_a_green_symbol_day_says_what_was_stored(page: playwright.Page, server: Server) -> None:
    page.goto(f"/assets/daily_prices?view=partitions&partition={server.lacking[-1]}%7CXDADA")
    page.get_by_role("cell", name="outcome", exact=True).wait_for()
    assert page.get_by_role("cell", name="present", exact=True).is_visible()
    assert page.get_by_role("cell", name="simulated", exact=True).is_visible()
    picture(page, "partitions")


def test_a_backfill_of_what_is_there_already_ends_well(
    page: playwright.Page, server: Server
) -> None:
    deadline = time.monotonic() + RUNS_WITHIN_SECONDS
    launch(page, server.lacking)
    while "REQUESTED" in server.backfills() and time.monotonic() < deadline:
        time.sleep(0.5)
    assert server.backfills() == ["COMPLETED_SUCCESS", "COMPLETED_SUCCESS"]


def test_the_pages_open_without_an_error(page: playwright.Page) -> None:
    for name, address, text in (
        ("asset-graph", f"/asset-groups?expanded={EXPANDED}", "corporate_actions"),
        ("runs", "/runs", "Success"),
        ("universe", "/assets/sp500_universe", "The member."),
    ):
        page.goto(address)
        page.get_by_text(text, exact=True).first.wait_for()
        page.wait_for_load_state("networkidle")
        assert shown_errors(page) == []
        picture(page, name)
