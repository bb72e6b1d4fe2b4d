"""What happens by itself, as its user finds it in the browser: schedules, sensors and freshness.

One server that refreshes by itself, over a simulated market that lacks its last two sessions; the
tests go on from one another in the order of the file. With ``UI_SCREENSHOTS`` set, pictures are
written to ``docs/images``.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from quant_assets.cli.in_process import materialize_all_prices, materialize_asset
from quant_assets.read.price_frames import prices
from quant_assets.refreshing.nightly import expected_session
from quant_assets.refreshing.steps import known_symbols
from quant_assets.settings.settings import load_settings
from quant_assets.wiring.platform import Platform
from quant_assets_tests.standins.browser import (
    MARKS,
    RUNS_WITHIN_SECONDS,
    Server,
    browsing,
    picture,
    serving,
    shown_errors,
)

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = MARKS

SCHEDULES = (
    "crypto_hourly",
    "market_nightly",
    "membership_hourly",
    "nightly",
    "prune_history_daily",
)
SENSORS = (
    "after_prices",
    "dead_runs",
    "failed_partitions",
    "index_membership_sensor",
    "prices_due",
)
MAY_TICK_WITHIN_MILLISECONDS = 90_000


@dataclass(frozen=True)
class Evening(Server):
    """A UI whose daemon was off for two evenings, and what it lacks at first."""

    platform: Platform
    lacking: tuple[dt.date, dt.date]
    log: Path

    @property
    def complete(self) -> str:
        return f"All {len(known_symbols(self.platform))} symbols have {self.lacking[-1]}."

    def freshness(self) -> str:
        """How fresh the marker is, in the words of Dagster's API."""
        answer = self.ask(
            '{assetNodeOrError(assetKey: {path: ["latest_session"]})'
            " {... on AssetNode {freshnessStatusInfo {freshnessStatus}}}}"
        )
        status: str = answer["assetNodeOrError"]["freshnessStatusInfo"]["freshnessStatus"]
        return status

    def wait_until_fresh(self) -> None:
        """An open page keeps the freshness it was drawn with, so the API is asked."""
        deadline = time.monotonic() + RUNS_WITHIN_SECONDS
        while self.freshness() != "HEALTHY" and time.monotonic() < deadline:
            time.sleep(5)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Evening]:
    home = tmp_path_factory.mktemp("automation")
    settings = {
        "QUANT_ASSETS_HOME": str(home / "data"),
        "QUANT_ASSETS_SOURCE": "simulated",
        "QUANT_ASSETS_AUTOMATION": "true",
    }
    today = Platform(load_settings(settings, working_directory=home))
    last = expected_session(today.calendar, today.clock())
    *here, one, two = today.calendar.between(last - dt.timedelta(days=14), last)
    settings["QUANT_ASSETS_PARTITION_START"] = str(here[0])
    platform = Platform(load_settings(settings, working_directory=home))
    for run in (
        materialize_asset(platform, "sp500_universe"),
        materialize_all_prices(platform, here[0], here[-1]),
        materialize_asset(platform, "market_snapshot"),
    ):
        assert run.success, run.failure
    with serving(home, settings) as under_way:
        yield Evening(under_way.url, platform, (one, two), home / "ui.log")


@pytest.fixture(scope="module")
def page(server: Evening) -> Iterator[Page]:
    with browsing(server) as opened:
        yield opened


def reason_of_tick(page: Page, sensor: str, *, oldest: bool = False) -> str:
    """What a sensor says of a look that came to nothing, the newest one unless told."""
    page.goto(f"/locations/quant_assets/sensors/{sensor}")
    looks = page.get_by_role("button", name="0 runs requested")
    looks.first.wait_for(timeout=MAY_TICK_WITHIN_MILLISECONDS)
    (looks.last if oldest else looks.first).click()
    dialog = page.get_by_role("dialog")
    reason = dialog.get_by_text("Skip reason").locator("xpath=..").inner_text()
    dialog.get_by_role("button", name="Close").click()
    return reason.removeprefix("Skip reason:").strip()


def test_the_missed_sessions_are_made_up_for_and_the_marker_turns_fresh(
    page: Page, server: Evening
) -> None:
    server.wait_until_fresh()
    page.goto("/assets/latest_session")
    page.get_by_text("Passing").first.wait_for()
    page.get_by_text(server.complete).first.wait_for()
    picture(page, "latest-session")
    stored = prices("XDADA", *server.lacking, settings=server.platform.settings)
    assert [stamp.date() for stamp in stored["session"]] == list(server.lacking)


def test_the_graph_is_open_and_its_checks_have_passed(page: Page) -> None:
    page.goto("/asset-groups")
    page.get_by_text("2 / 2 Passed").wait_for(timeout=MAY_TICK_WITHIN_MILLISECONDS)
    for check in ("1 / 1 Passed", "2 / 2 Passed"):
        assert page.get_by_text(check).first.is_visible()
    picture(page, "asset-graph")


def test_the_page_of_prices_says_what_loads_them(page: Page) -> None:
    page.goto("/assets/daily_prices?view=overview")
    for name in ("refresh_prices", "prices_due", "nightly", "backfill_prices"):
        page.get_by_role("link", name=name, exact=True).first.wait_for()
    page.wait_for_load_state("networkidle")
    picture(page, "daily-prices")


def test_every_schedule_and_sensor_is_listed_and_switched_on(page: Page) -> None:
    page.goto("/automation")
    for name in (*SCHEDULES, *SENSORS):
        page.get_by_text(name, exact=True).wait_for()
    switches = page.get_by_role("checkbox", checked=True)
    expected = len(SCHEDULES) + len(SENSORS)
    switches.nth(expected - 1).wait_for(state="attached")  # Dagster draws over the box itself
    assert switches.count() == expected
    assert shown_errors(page) == []
    picture(page, "automation")


def test_a_run_that_began_by_itself_says_what_for(page: Page, server: Evening) -> None:
    page.goto("/runs")
    page.get_by_text(f"quant_assets/why: nightly {server.lacking[-1]}").wait_for()
    assert page.get_by_text("prices_due", exact=True).first.is_visible()
    for noise in ("process", "in_process", "trigger", "asked_at"):
        assert page.get_by_text(f"quant_assets.{noise}").count() == 0
    assert page.get_by_text("Success", exact=True).first.is_visible()
    assert page.get_by_text("Failure", exact=True).count() == 0


def test_a_look_that_came_to_nothing_says_why(page: Page, server: Evening) -> None:
    assert reason_of_tick(page, "prices_due").startswith(server.complete)
    beginning = reason_of_tick(page, "index_membership_sensor", oldest=True)
    assert beginning == "No universe has changed so far."
    assert reason_of_tick(page, "dead_runs") == "Every run under way has its process."


def test_the_log_of_the_server_has_no_error(server: Evening) -> None:
    said = server.log.read_text("utf-8")
    assert "RUN_SUCCESS" in said
    for trouble in ("ERROR", "WARNING", "Traceback"):
        assert trouble not in said
