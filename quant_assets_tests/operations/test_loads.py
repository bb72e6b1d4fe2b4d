"""Loads as Python functions, as a notebook calls them."""

from __future__ import annotations

import asyncio
import datetime as dt
import inspect
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from quant_assets.loading.report import LoadReport
from quant_assets.operations.loads import LoadArgumentError, backfill, refresh, resume
from quant_assets.operations.workplace import Workplace
from quant_assets.read.arguments import ArgumentError
from quant_assets.read.opening import connect
from quant_assets.read.price_frames import prices
from quant_assets.reference.calendars import exchange_calendar
from quant_assets.reference.identity import InvalidSymbolError
from quant_assets.refreshing.steps import NothingToRefreshError
from quant_assets.refreshing.windows import NoSymbolsError, ReversedDaysError
from quant_assets.settings.settings import Settings, load_settings
from quant_assets.warehouse.writer_lock import WarehouseBusyError, WriterLock, utc_now
from quant_assets.wiring.platform import Platform
from quant_assets_tests.conftest import NOW
from quant_assets_tests.standins.yahoo_listings import invented_market
from quant_assets_tests.standins.yahoo_standin import StandIn

LAST = exchange_calendar("XNYS").last_closed_session(utc_now())
NAMES = ("AAA", "BBB", *(f"S{number:02}" for number in range(10)))
"""More than a live source is asked for at first."""
FRIDAY = dt.date(2024, 5, 31)


@pytest.fixture
def yahoo() -> Iterator[StandIn]:
    with StandIn(invented_market(NAMES, 0.2, utc_now().date())) as standin:
        yield standin


def settings_of(folder: Path, **flags: object) -> Settings:
    return load_settings({}, flags={"home": folder, **flags}, working_directory=folder)


@pytest.fixture
def live(tmp_path: Path, yahoo: StandIn) -> Settings:
    asked = {"in_flight": 1, "min_delay_seconds": 0}
    return settings_of(tmp_path, yahoo_url=yahoo.url, yahoo=asked, default_days=20)


@pytest.fixture
def simulated(tmp_path: Path) -> Workplace:
    """A simulated market of five on a Monday of 2024, before the open."""
    market = {"symbols": 5, "start": "2024-05-01"}
    settings = settings_of(tmp_path, source="simulated", simulated=market)
    return Workplace(Platform(settings, lambda: NOW), lambda step, source: nullcontext(ignored))


def ignored(done: int, total: int, what: str) -> None:
    return


def test_a_refresh_reports_what_it_loaded_and_a_second_one_that_nothing_is_due(
    live: Settings,
) -> None:
    seen: list[tuple[int, int, str]] = []
    found = refresh(
        ["aaa", "BBB", "AAA"],
        settings=live,
        on_progress=lambda done, total, what: seen.append((done, total, what)),
    )
    assert [type(report) for report in found] == [LoadReport]
    assert [row.symbol for row in found[0].symbols] == ["AAA", "BBB"]
    assert found[0].window.end == LAST
    assert not found[0].needs_attention
    assert (seen[0], seen[-1]) == ((0, 2, "asking the source"), (2, 2, "BBB"))
    [again] = refresh(settings=live)
    assert (again.symbols, again.up_to_date) == ((), 2)
    frame = prices(["AAA", "BBB"], found[0].window.start, LAST, settings=live)
    assert set(frame["symbol"]) == {"AAA", "BBB"}
    with connect(home=live.home) as db:
        assert db.execute("select max(session) from daily_prices").fetchone() == (LAST,)


def test_a_load_runs_inside_an_event_loop(live: Settings) -> None:
    async def cell() -> list[LoadReport]:
        return refresh("AAA", settings=live)

    [report] = asyncio.run(cell())
    assert report.total("inserted") > 0


def test_a_load_that_is_interrupted_keeps_what_was_stored_and_resume_loads_the_rest(
    live: Settings,
) -> None:
    stored = 0

    def interrupt(done: int, total: int, what: str) -> None:
        nonlocal stored
        stored = done
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        refresh(NAMES, settings=live, on_progress=interrupt)
    assert 0 < stored < len(NAMES)
    assert prices(None, LAST, LAST, settings=live)["symbol"].tolist() == [*NAMES[:stored]]
    [report] = resume(settings=live)
    assert [row.symbol for row in report.symbols] == [*NAMES[stored:]]
    assert prices(None, LAST, LAST, settings=live)["symbol"].tolist() == [*NAMES]
    assert resume(settings=live) == []


def test_a_load_waits_for_the_lock_of_every_other_writer(simulated: Workplace) -> None:
    backfill(end=FRIDAY, days=5, within=simulated)
    home = simulated.platform.settings.home_path
    hurried = simulated.platform.settings.model_copy(update={"lock_wait_seconds": 0})
    within = Workplace(Platform(hurried, lambda: NOW), simulated.watch)
    with (
        WriterLock(home / "warehouse.lock").held(1, "a load elsewhere"),
        pytest.raises(WarehouseBusyError, match="a load elsewhere"),
    ):
        backfill(end=FRIDAY, days=5, force=True, within=within)


def test_a_backfill_loads_days_that_are_named_in_any_way(simulated: Workplace) -> None:
    [report] = backfill(None, "2024-05-20", dt.date(2024, 5, 24), within=simulated)
    assert (report.window.start, report.window.end) == (dt.date(2024, 5, 20), dt.date(2024, 5, 24))
    assert (len(report.symbols), report.total("requested")) == (5, 25)
    [dry] = backfill(None, days=5, dry_run=True, within=simulated)
    assert (dry.dry_run, dry.window.end) == (True, FRIDAY)


def test_a_refresh_of_all_datasets_passes_over_what_is_not_to_be_had_now(
    simulated: Workplace,
) -> None:
    notes: list[str] = []
    within = Workplace(simulated.platform, simulated.watch, on_note=notes.append)
    [market] = refresh(datasets="all", within=within)
    assert market.dataset == "market_snapshot"
    assert notes[0].startswith("daily_prices is passed over: There are no symbols to load yet.")
    with pytest.warns(UserWarning, match="daily_prices is passed over") as caught:
        refresh(datasets=["daily_prices", "market_snapshot"], within=simulated)
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda at: refresh(within=at), NothingToRefreshError, "no symbols to load yet"),
        (lambda at: refresh([], within=at), NoSymbolsError, "No symbol is named"),
        (lambda at: refresh("A B", within=at), InvalidSymbolError, "'A B' is not a symbol"),
        (lambda at: refresh(datasets="news", within=at), LoadArgumentError, "known are daily_p"),
        (lambda at: refresh(datasets=[], within=at), LoadArgumentError, "known are daily_prices"),
        (lambda at: refresh("A", priority="soon", within=at), LoadArgumentError, "high, normal, l"),
        (lambda at: refresh("A", start="2030-01-01", within=at), ArgumentError, "in the future"),
        (lambda at: backfill([], within=at), NoSymbolsError, "nothing to load"),
        (lambda at: backfill("A", 20240501, within=at), ArgumentError, "start is a date, or a tex"),
        (lambda at: backfill("A", "2024-05-02", "2024-05-01", within=at), ReversedDaysError, "aft"),
        (lambda at: backfill("A", "2024-05-02", days=3, within=at), LoadArgumentError, "the same"),
        (lambda at: backfill("A", days=0, within=at), LoadArgumentError, "days is 1 or more"),
    ],
)
def test_what_loads_nothing_is_refused_in_a_sentence(
    simulated: Workplace, call: Callable[[Workplace], Any], error: type[Exception], sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        call(simulated)
    assert not simulated.platform.warehouse.exists()


@pytest.mark.parametrize("function", [refresh, backfill, resume])
def test_every_argument_is_described(function: Callable[..., object]) -> None:
    described = " ".join(inspect.getdoc(each) or "" for each in (refresh, backfill, function))
    names = inspect.signature(function).parameters
    assert [name for name in names if f"``{name}``" not in described and name != "home"] == []
