"""The page a user opens: ``quant-assets ui`` in a real headless browser, clicked through.

One server over a simulated market that lacks its last three sessions; the tests go on from one
another in the order of the file. With ``UI_SCREENSHOTS`` set, pictures are written to
``docs/images``.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from quant_assets.instance import open_instance
from quant_assets.materialize import materialize_all_prices, materialize_asset
from quant_assets.partitions import SYMBOLS as PARTITIONED
from quant_assets.platform import Platform
from quant_assets.read import prices
from quant_assets.settings import load_settings
from quant_assets_tests.browser import (
    MARKS,
    RUNS_WITHIN_SECONDS,
    Server,
    browsing,
    launch,
    open_partitions,
    picture,
    serving,
    shown_errors,
)

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = MARKS

EXPANDED = "global@global:universe,global@global:prices"
"""Asset groups to open, as the graph's own address names them."""
SYMBOLS = ("XDADA", "XDADE")
"""The first two companies of the simulated market; nothing befalls them in its last weeks."""


@dataclass(frozen=True)
class Market(Server):
    """A UI and the market it shows.

    ``lacking`` are the sessions not loaded yet, ``loaded`` the number of symbol-days that are.
    """

    platform: Platform
    lacking: tuple[dt.date, ...]
    loaded: int


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
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
    with serving(home, settings) as under_way:
        yield Market(under_way.url, platform, (one, two, three), loaded)


@pytest.fixture(scope="module")
def page(server: Market) -> Iterator[Page]:
    with browsing(server) as opened:
        yield opened


def test_the_graph_shows_every_asset(page: Page) -> None:
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


def test_the_partitions_are_the_sessions_and_the_symbols(page: Page, server: Market) -> None:
    open_partitions(page)
    for key in (*map(str, server.lacking), *SYMBOLS):
        page.get_by_text(key, exact=True).first.wait_for()
    assert page.get_by_text(f"Materialized ({server.loaded})").is_visible()
    assert page.get_by_text("Failed (0)").is_visible()


def test_a_rectangle_launched_by_clicking_turns_green(page: Page, server: Market) -> None:
    sessions = server.lacking
    launch(page, sessions, SYMBOLS)
    green = page.get_by_text(f"Materialized ({server.loaded + 6})")
    green.wait_for(timeout=RUNS_WITHIN_SECONDS * 1000)
    assert page.get_by_text("Failed (0)").is_visible()
    assert shown_errors(page) == []
    stored = prices(SYMBOLS, sessions[0], sessions[-1], home=server.platform.settings.home_path)
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


def test_the_pages_open_without_an_error(page: Page) -> None:
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
