"""A vendor's file that is broken in two places, as its user meets it in the browser.

One server over an archive of four companies and the last three sessions; the tests go on from one
another in the order of the file.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from quant_assets.cli.in_process import materialize_asset
from quant_assets.settings.settings import load_settings
from quant_assets.wiring.platform import Platform
from quant_assets_tests.standins.browser import (
    MARKS,
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

SYMBOLS = ("AAPL", "IBM", "KO", "MSFT")
HEADER = "symbol,date,open,high,low,close,volume"
MEMBERS = "ticker,start_date,end_date\n" + "".join(f"{s},1996-01-02,\n" for s in SYMBOLS)
SETTINGS = """\
source = "files:ours"
partition_start = {start}

[universe]
intervals = "members.csv"

[files.ours]
paths = ["prices.csv"]
price_basis = "as_traded"
"""


@dataclass(frozen=True)
class Archive(Server):
    """A UI and the archive it shows, with three sessions of each symbol."""

    home: Path
    days: tuple[dt.date, dt.date, dt.date]

    @property
    def red(self) -> dict[str, str]:
        """The symbol-days that can't be had at first, and why."""
        one, two, _ = self.days
        return {
            f"{one}|MSFT": f"MSFT {one}: low is above high",
            f"{two}|MSFT": f"MSFT {two}: the source answered without a row",
        }

    @property
    def green(self) -> list[str]:
        keys = (f"{day}|{symbol}" for symbol in SYMBOLS for day in self.days)
        return [key for key in keys if key not in self.red]


def write_archive(home: Path, days: tuple[dt.date, dt.date, dt.date], *, broken: bool) -> None:
    rows = [f"{symbol},{day},20,22,19,21,100" for symbol in SYMBOLS for day in days]
    if broken:  # Microsoft's high is below its low on the first day, and the second is missing.
        rows[-3:] = [f"MSFT,{days[0]},20,18,19,21,100", f"MSFT,{days[2]},20,22,19,21,100"]
    (home / "prices.csv").write_text("\n".join([HEADER, *rows, ""]), "utf-8")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    home = tmp_path_factory.mktemp("failures")
    today = Platform(load_settings({}, working_directory=home))
    last = today.calendar.last_closed_session(today.clock())
    one, two, three = today.calendar.between(last - dt.timedelta(days=14), last)[-3:]
    (home / "members.csv").write_text(MEMBERS, "utf-8")
    (home / "quant_assets.toml").write_text(SETTINGS.format(start=one), "utf-8")
    write_archive(home, (one, two, three), broken=True)
    run = materialize_asset(Platform(load_settings({}, working_directory=home)), "sp500_universe")
    assert run.success, run.failure
    with serving(home, {}) as under_way:
        yield Archive(under_way.url, home, (one, two, three))


@pytest.fixture(scope="module")
def page(server: Archive) -> Iterator[Page]:
    with browsing(server) as opened:
        yield opened


def test_a_backfill_ends_with_the_failed_symbol_days_red_and_the_others_green(
    page: Page, server: Archive
) -> None:
    open_partitions(page)
    page.get_by_text("Missing (16)").wait_for()
    launch(page, server.days, SYMBOLS)
    assert server.wait_for_backfills() == ["COMPLETED_FAILED"]
    open_partitions(page)
    page.get_by_text("Failed (2)").wait_for()
    assert page.get_by_text("Materialized (10)").is_visible()
    assert page.get_by_text("Missing (4)").is_visible()  # the session that has not begun
    assert shown_errors(page) == []


def test_the_page_of_each_symbol_day_has_its_colour(page: Page, server: Archive) -> None:
    for key in server.red:
        open_partitions(page, key)
        page.get_by_text("failed, and did not materialize this asset").wait_for()
    for key in server.green[-2:]:
        open_partitions(page, key)
        page.get_by_role("cell", name="present", exact=True).wait_for()
        assert page.get_by_text("did not materialize").count() == 0


def test_a_failed_symbol_day_leads_to_its_reason(page: Page, server: Archive) -> None:
    for key, reason in server.red.items():
        open_partitions(page, key)
        page.get_by_role("button", name="View logs").click()
        page.get_by_role("dialog").get_by_text(reason).first.wait_for()
        page.get_by_role("button", name="Done").click()


def test_the_events_of_a_failed_symbol_day_have_its_own_reason(page: Page, server: Archive) -> None:
    for key, reason in server.red.items():
        open_partitions(page, key)
        page.get_by_text("View all historical events (1)").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_text("Observation").click()
        dialog.get_by_text(reason.split(": ", maxsplit=1)[1]).wait_for()
    picture(page, "reason")


def test_a_check_names_the_row_in_quarantine_and_says_what_to_do(
    page: Page, server: Archive
) -> None:
    page.goto("/assets/daily_prices?view=checks&checkDetail=rows_in_quarantine")
    page.get_by_text("To mend: correct the file").wait_for()
    page.get_by_text(f"1 of MSFT. First: MSFT, {server.days[0]}, files:ours, low is").wait_for()
    picture(page, "checks")


def test_the_failed_ones_can_be_picked_out(page: Page, server: Archive) -> None:
    open_partitions(page, next(iter(server.red)))
    page.get_by_text("failed, and did not materialize this asset").wait_for()
    picture(page, "partial-failure")
    open_partitions(page)
    page.get_by_text("Failed (2)").wait_for()
    for others in ("Materialized (10)", "Missing (4)"):
        page.get_by_text(others).click()
    page.get_by_text("2 Partitions Selected").wait_for()
    one, two, three = map(str, server.days)
    for shown in (one, two, "MSFT"):
        page.get_by_text(shown, exact=True).first.wait_for()
    for hidden in (three, "AAPL", "IBM", "KO"):
        assert page.get_by_text(hidden, exact=True).count() == 0


def test_a_mended_file_turns_all_green_by_a_retry_of_the_failed_ones(
    page: Page, server: Archive
) -> None:
    write_archive(server.home, server.days, broken=False)
    failed = next(iter(server.backfills()))
    page.goto(f"/runs/b/{failed}")
    page.get_by_text("100% completed").wait_for()
    page.get_by_role("button").filter(has=page.get_by_label("expand_more")).click()
    page.get_by_role("menuitem", name="Re-execute from failure").click()
    page.get_by_text("Created backfill").wait_for()
    assert server.wait_for_backfills() == ["COMPLETED_SUCCESS", "COMPLETED_FAILED"]
    retry = next(iter(server.backfills()))
    assert server.keys_of_backfill(retry) == set(server.red)
    open_partitions(page)
    page.get_by_text("Failed (0)").wait_for()
    assert page.get_by_text("Materialized (12)").is_visible()
    assert shown_errors(page) == []


def test_no_symbol_day_is_called_unsynced(page: Page, server: Archive) -> None:
    for key in (*server.red, *server.green[:1]):
        open_partitions(page, key)
        page.get_by_role("cell", name="present", exact=True).wait_for()
        page.wait_for_load_state("networkidle")
        assert page.get_by_text("Unsynced").count() == 0, key


def test_a_mended_symbol_day_is_not_called_failed_any_more(page: Page, server: Archive) -> None:
    for key in server.red:
        open_partitions(page, key)
        page.get_by_role("cell", name="present", exact=True).wait_for()
        assert page.get_by_text("did not materialize").count() == 0, key


def test_the_graph_calls_nothing_failed_or_unsynced(page: Page) -> None:
    for view in ("overview", "lineage"):
        page.goto(f"/assets/daily_prices?view={view}")
        page.get_by_text("sp500_universe").first.wait_for()
        page.wait_for_load_state("networkidle")
        for tag in ("Failed in", "failed)", "Unsynced", "code version"):
            assert page.get_by_text(tag).count() == 0, (view, tag)
