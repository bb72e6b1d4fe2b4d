"""``quant-assets ui`` under way and a real headless browser on it, for tests and the benchmark.

What the pages show is said in the test files; nothing is asserted of it here.
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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from re import Pattern
from typing import Any

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from playwright.sync_api import Page, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

MARKS = [
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
PROJECT = Path(__file__).parents[2]
PICTURES = PROJECT / "docs" / "images"
STARTS_WITHIN_SECONDS = 90
RUNS_WITHIN_SECONDS = 180


@dataclass(frozen=True)
class Server:
    """A UI under way."""

    url: str

    def ask(self, query: str, **variables: object) -> dict[str, Any]:
        """The answer of Dagster's own API, which the pages draw."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(
            f"{self.url}/graphql", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=120) as answer:
            data: dict[str, Any] = json.load(answer)["data"]
        return data

    def launch_backfill(self, asset: str, keys: Sequence[str]) -> str:
        """Launch a backfill as the dialog of the Partitions page does; returns its id."""
        answer = self.ask(
            "mutation Launch($what: LaunchBackfillParams!) {launchPartitionBackfill("
            "backfillParams: $what) {... on LaunchBackfillSuccess {backfillId}}}",
            what={"assetSelection": [{"path": [asset]}], "partitionNames": keys, "tags": []},
        )
        backfill: str = answer["launchPartitionBackfill"]["backfillId"]
        return backfill

    def backfills(self) -> dict[str, str]:
        """The state of each backfill by its id, newest first."""
        answer = self.ask(
            "{partitionBackfillsOrError {... on PartitionBackfills {results {id status}}}}"
        )
        return {row["id"]: row["status"] for row in answer["partitionBackfillsOrError"]["results"]}

    def keys_of_backfill(self, backfill: str) -> set[str]:
        """The partitions that a backfill asked for."""
        what = "... on PartitionBackfill {partitionNames}"
        answer = self.ask(f'{{partitionBackfillOrError(backfillId: "{backfill}") {{{what}}}}}')
        return set(answer["partitionBackfillOrError"]["partitionNames"])

    def wait_for_backfills(self) -> list[str]:
        """The state of each backfill once none is under way, newest first."""
        deadline = time.monotonic() + RUNS_WITHIN_SECONDS
        under_way = {"REQUESTED", "CANCELING", "FAILING"}
        while under_way & set(self.backfills().values()) and time.monotonic() < deadline:
            time.sleep(0.5)
        return list(self.backfills().values())


@contextmanager
def serving(
    home: Path, settings: Mapping[str, str], module: str = "", *, pages_only: bool = False
) -> Iterator[Server]:
    """``quant-assets ui`` on a free port with ``home`` as its working directory.

    ``settings`` are environment variables; ``module`` holds other definitions than the platform's.
    Nothing runs by itself unless told to; with ``pages_only`` nothing can be run at all: two of the
    UI's five processes do for looking at what is there. Ends the server with all that it started.
    """
    port = free_port()
    command = ["quant_assets.cli", "ui", "--port", str(port)]
    quiet = {"QUANT_ASSETS_AUTOMATION": "false"}
    environment = {**without_ours(os.environ), **quiet, **settings}
    if module or pages_only:
        folder = Path(settings["QUANT_ASSETS_HOME"]) / "dagster"
        environment["DAGSTER_HOME"] = str(folder)
    if module:
        command = ["dagster", "dev", "--module-name", module, "--port", str(port)]
    if pages_only:
        command = ["dagster_webserver", "-w", str(folder / "workspace.yaml"), "-p", str(port)]
    with (home / "ui.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=home,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            wait_until_ready(process, port, home / "ui.log")
            yield Server(f"http://127.0.0.1:{port}")
        finally:
            end_group(process)
    assert not listening(port), f"port {port} is still in use"


def without_ours(environment: Mapping[str, str]) -> dict[str, str]:
    mine = ("QUANT_ASSETS_", "DAGSTER_")
    kept = {name: value for name, value in environment.items() if not name.startswith(mine)}
    paths = filter(None, (str(PROJECT), kept.get("PYTHONPATH")))
    return {**kept, "PYTHONPATH": os.pathsep.join(paths)}


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


@contextmanager
def browsing(server: Server) -> Iterator[Page]:
    """A page of a browser that has never been there before."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=list(BROWSER_OPTIONS))
        page = browser.new_page(viewport={"width": 1400, "height": 900}, base_url=server.url)
        page.set_default_timeout(30_000)
        yield page
        browser.close()


def picture(page: Page, name: str) -> None:
    """Keep a picture in ``docs/images`` if ``UI_SCREENSHOTS`` is set."""
    if os.environ.get("UI_SCREENSHOTS"):
        PICTURES.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=PICTURES / f"{name}.png")


def shown_errors(page: Page) -> list[str]:
    """Messages of the kind that slides in when something went wrong."""
    texts = page.get_by_role("alert").all_inner_texts()
    return [text for text in texts if "rror" in text or "ailed" in text]


def open_partitions(page: Page, key: str = "") -> None:
    """The Partitions page of ``daily_prices``, at one of its keys if one is given."""
    at = f"&partition={key.replace('|', '%7C')}" if key else ""
    page.goto(f"/assets/daily_prices?view=partitions{at}")
    page.get_by_text("Partitions Selected").wait_for()


def choose(page: Page, sessions: Sequence[dt.date], symbols: Sequence[str]) -> None:
    """Choose a rectangle of ``daily_prices`` in the dialog, as a user does."""
    open_partitions(page)
    page.get_by_role("button", name="Materialize").first.click()
    dialog = page.get_by_role("dialog")
    dates = dialog.get_by_placeholder("ex: ")
    dates.fill(f"[{sessions[0]}...{sessions[-1]}]")
    dates.press("Enter")
    dialog.get_by_text("Select a partition or create one").click()
    for symbol in symbols:
        page.get_by_role("menuitem", name=symbol).click()
    dialog.get_by_text(f"{len(sessions) * len(symbols)} partitions", exact=True).click()


def launch(page: Page, sessions: Sequence[dt.date], symbols: Sequence[str]) -> None:
    """Choose a rectangle of ``daily_prices`` in the dialog, and launch it."""
    choose(page, sessions, symbols)
    page.get_by_role("dialog").get_by_role("button", name="Launch backfill").click()
    page.get_by_text("Created backfill").wait_for()


def seconds_until_partitions_show(
    page: Page, text: str | Pattern[str], *, timeout_seconds: float
) -> float:
    """Seconds from asking for the Partitions page of ``daily_prices`` until it shows ``text``."""
    began = time.perf_counter()
    page.goto("/assets/daily_prices?view=partitions")
    page.get_by_text(text).first.wait_for(timeout=timeout_seconds * 1000)
    return time.perf_counter() - began
