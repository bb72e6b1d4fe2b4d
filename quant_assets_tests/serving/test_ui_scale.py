"""The Partitions page over a year of the index: 131,000 symbol-days.

How long it takes is measured and printed here; what it should take is said in the benchmarks.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from quant_assets.cli.in_process import materialize_all_prices, materialize_asset
from quant_assets.orchestration.instance.instance import open_instance
from quant_assets.orchestration.runs.partitions import SYMBOLS
from quant_assets.settings.settings import load_settings
from quant_assets.wiring.platform import Platform
from quant_assets_tests.standins.browser import (
    MARKS,
    Server,
    browsing,
    open_partitions,
    picture,
    seconds_until_partitions_show,
    serving,
    shown_errors,
)

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [*MARKS, pytest.mark.many_rows]

SYMBOL_DAYS = 131_000
PATIENCE_SECONDS = 60
"""Far more than the page takes: a slow machine is no failure."""
COUNTED = re.compile(r"Materialized \(131\d{3}\)")


@dataclass(frozen=True)
class Year(Server):
    """A UI over a year of the index, all of it green to the ``last`` session."""

    last: dt.date


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Year]:
    home = tmp_path_factory.mktemp("scale")
    settings = {
        "QUANT_ASSETS_HOME": str(home / "data"),
        "QUANT_ASSETS_SOURCE": "simulated",
        "QUANT_ASSETS_SIMULATED__SYMBOLS": "560",
    }
    platform = Platform(load_settings(settings, working_directory=home))
    run = materialize_asset(platform, "sp500_universe")
    assert run.success, run.failure
    with open_instance(platform.settings.home_path) as instance:
        symbols = len(instance.get_dynamic_partitions(SYMBOLS))
    sessions = -(-SYMBOL_DAYS // symbols)
    last = platform.calendar.last_closed_session(platform.clock())
    start = platform.calendar.sessions[platform.calendar.sessions.index(last) - sessions + 1]
    settings["QUANT_ASSETS_PARTITION_START"] = str(start)
    platform = Platform(load_settings(settings, working_directory=home))
    run = materialize_all_prices(platform, start, last)
    assert run.success, run.failure
    with serving(home, settings, pages_only=True) as under_way:
        yield Year(under_way.url, last)


@pytest.fixture(scope="module")
def page(server: Year) -> Iterator[Page]:
    with browsing(server) as opened:
        yield opened


def test_the_partitions_of_a_year_of_the_index_are_counted(page: Page) -> None:
    for which in ("first", "second"):
        seconds = seconds_until_partitions_show(page, COUNTED, timeout_seconds=PATIENCE_SECONDS)
        print(f"131,000 symbol-days, the {which} time: {seconds:.1f} s")
        assert page.get_by_text("Failed (0)").is_visible()
        assert shown_errors(page) == []


def test_one_of_131_000_symbol_days_says_what_was_stored(page: Page, server: Year) -> None:
    open_partitions(page, f"{server.last}|XDADA")
    page.get_by_role("cell", name="present", exact=True).wait_for()
    page.wait_for_load_state("networkidle")
    picture(page, "partitions-131000")
    assert shown_errors(page) == []
