"""What a refresh requests of the whole market: the sources by the settings, and when none is."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from quant_assets.contracts.rows import RowAnswer
from quant_assets.contracts.source import Source
from quant_assets.loading.report import LoadReport
from quant_assets.loading.work import Asking, Window
from quant_assets.reference.calendars import SessionUnderWayError
from quant_assets.refreshing.load_steps import How, load_steps
from quant_assets.refreshing.steps import Step
from quant_assets.refreshing.whole_steps import WHOLE, open_datasets, whole_steps
from quant_assets.settings.settings import Settings, SettingsError, load_settings
from quant_assets.sources.nasdaq.screener import Screener
from quant_assets.sources.simulated.market import SimulatedMarket
from quant_assets.wiring.platform import (
    LiveSourceError,
    NotEnabledError,
    Platform,
    UnknownDatasetError,
)
from quant_assets.wiring.sources import UnknownSourceNameError
from quant_assets_tests.standins.loads import load_prices
from quant_assets_tests.standins.nasdaq import NasdaqStandIn, status, stock

SNAPSHOT = "market_snapshot"
FRIDAY = dt.date(2024, 5, 24)
EVENING = dt.datetime(2024, 5, 24, 23, 0, tzinfo=dt.UTC)
SCREENER = ("nasdaq", ("amex", "nasdaq", "nyse"))
DIRECTORY = ("nasdaqtrader", ("nasdaqlisted", "otherlisted"))
SIMULATED = ("simulated", ("simulated",))
ARCHIVE = {"mine": {"paths": ("prices.csv",), "price_basis": "as_traded"}}
Requested = list[tuple[str, tuple[str, ...]]]


def platform(
    folder: Path, settings: Mapping[str, object] | None = None, now: dt.datetime = EVENING
) -> Platform:
    return Platform(Settings.model_validate({"home": folder, **(settings or {})}), lambda: now)


def requested(steps: list[Step]) -> Requested:
    return [(step.source, step.window.symbols) for step in steps]


@pytest.fixture
def simulated(tmp_path: Path) -> Platform:
    """A folder whose prices are simulated, though its settings name no source."""
    made = platform(tmp_path)
    days = dt.date(2024, 5, 23), FRIDAY
    market = SimulatedMarket(made.calendar, *days, securities_count=2)
    window = Window(market.symbols(), *days)
    load_prices(made.warehouse, market, window, market.calendar, identities=())
    return made


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, [SCREENER, DIRECTORY]),
        ({"source": "yahoo"}, [SCREENER, DIRECTORY]),
        ({"datasets": {SNAPSHOT: {"source": "nasdaq"}}}, [SCREENER]),
        ({"datasets": {SNAPSHOT: {"source": "nasdaqtrader"}}}, [DIRECTORY]),
        ({"source": "simulated"}, [SIMULATED]),
        ({"datasets": {SNAPSHOT: {"source": "simulated"}}}, [SIMULATED]),
        (
            {
                "source": "files:mine",
                "files": ARCHIVE,
                "datasets": {SNAPSHOT: {"source": "nasdaq"}},
            },
            [SCREENER],
        ),
    ],
)
def test_the_settings_say_from_which_sources_the_market_comes(
    tmp_path: Path, settings: dict[str, object], expected: Requested
) -> None:
    assert requested(whole_steps(platform(tmp_path, settings), SNAPSHOT)) == expected


SWITCHED_OFF = (
    "market_snapshot is switched off here: datasets.market_snapshot.enabled = false. Set it to "
    "true, or name a source with --source to load it once."
)
NOT_KEPT_UP = (
    "market_snapshot is not kept up here: nothing is requested over a network by itself where "
    "prices are simulated or come from archives. Set datasets.market_snapshot.source in "
    "quant_assets.toml, or name one with --source."
)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"datasets": {SNAPSHOT: {"enabled": False}}}, SWITCHED_OFF),
        ({"datasets": {SNAPSHOT: {"enabled": False, "source": "nasdaq"}}}, SWITCHED_OFF),
        ({"source": "simulated", "datasets": {SNAPSHOT: {"enabled": False}}}, SWITCHED_OFF),
        ({"source": "files:mine", "files": ARCHIVE}, NOT_KEPT_UP),
    ],
)
def test_a_dataset_that_is_left_out_is_requested_of_nobody(
    tmp_path: Path, settings: dict[str, object], message: str
) -> None:
    without = platform(tmp_path, settings)
    assert without.sources_of(SNAPSHOT) == ()
    with pytest.raises(NotEnabledError) as caught:
        whole_steps(without, SNAPSHOT)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("settings", "sources"),
    [
        ({}, ("yahoo",)),
        ({"source": "files:mine", "files": ARCHIVE}, ("files:mine",)),
        ({"datasets": {"daily_prices": {"source": "simulated"}}}, ("simulated",)),
        ({"datasets": {"daily_prices": {"enabled": False}}}, ()),
    ],
)
def test_prices_are_a_dataset_with_a_source_too(
    tmp_path: Path, settings: dict[str, object], sources: tuple[str, ...]
) -> None:
    made = platform(tmp_path, settings)
    assert made.sources_of("daily_prices") == sources
    assert made.settings.source == ("" if sources in {("yahoo",), ()} else sources[0])


def test_a_source_that_is_named_is_asked_alone_whatever_the_settings_say(tmp_path: Path) -> None:
    without = platform(tmp_path, {"source": "files:mine", "files": ARCHIVE})
    assert requested(whole_steps(without, SNAPSHOT, "nasdaqtrader")) == [DIRECTORY]


def test_each_step_is_of_its_dataset_for_the_last_closed_session_alone(tmp_path: Path) -> None:
    for now in (EVENING, dt.datetime(2024, 5, 25, 15, 0, tzinfo=dt.UTC)):
        made = platform(tmp_path, now=now)
        assert whole_steps(made, SNAPSHOT) == [
            Step(source, made.calendar, Window(lists, FRIDAY, FRIDAY), dataset=SNAPSHOT)
            for source, lists in (SCREENER, DIRECTORY)
        ]
    assert not made.warehouse.exists()


def test_a_folder_of_simulated_prices_asks_the_simulated_market_alone(simulated: Platform) -> None:
    assert requested(whole_steps(simulated, SNAPSHOT)) == [SIMULATED]


def test_a_folder_of_simulated_prices_asks_no_live_source_that_is_named(
    simulated: Platform,
) -> None:
    message = (
        "The prices of this data folder are simulated, so nasdaq is not asked for market_snapshot. "
        "Leave datasets.market_snapshot.source out, or use another data folder"
    )
    with pytest.raises(LiveSourceError, match=message):
        whole_steps(simulated, SNAPSHOT, "nasdaq")
    named = {"datasets": {SNAPSHOT: {"source": "nasdaq"}}}
    with pytest.raises(LiveSourceError, match=message):
        whole_steps(platform(simulated.settings.home_path, named), SNAPSHOT)


@pytest.mark.parametrize(
    ("now", "closes"),
    [
        (dt.datetime(2024, 5, 24, 13, 30, tzinfo=dt.UTC), "16:20 New York time on, 2024-05-24"),
        (dt.datetime(2024, 5, 24, 20, 19, tzinfo=dt.UTC), "16:20 New York time on, 2024-05-24"),
        (dt.datetime(2024, 7, 3, 16, 59, tzinfo=dt.UTC), "13:20 New York time on, 2024-07-03"),
        (dt.datetime(2024, 12, 6, 20, 30, tzinfo=dt.UTC), "16:20 New York time on, 2024-12-06"),
    ],
)
def test_while_a_session_is_under_way_nothing_is_requested(
    tmp_path: Path, now: dt.datetime, closes: str
) -> None:
    message = (
        "market_snapshot is not requested while a session is under way: its rows have no date of "
        f"their own. Request it from {closes}."
    )
    with pytest.raises(SessionUnderWayError, match=message):
        whole_steps(platform(tmp_path, now=now), SNAPSHOT)


@pytest.mark.parametrize(
    "now",
    [
        dt.datetime(2024, 5, 24, 13, 29, tzinfo=dt.UTC),
        dt.datetime(2024, 5, 24, 20, 20, tzinfo=dt.UTC),
        dt.datetime(2024, 7, 3, 17, 20, tzinfo=dt.UTC),
        dt.datetime(2024, 5, 27, 15, 0, tzinfo=dt.UTC),
    ],
    ids=["before the open", "after the close", "after an early close", "a holiday"],
)
def test_between_sessions_it_is_requested(tmp_path: Path, now: dt.datetime) -> None:
    assert requested(whole_steps(platform(tmp_path, now=now), SNAPSHOT)) == [SCREENER, DIRECTORY]


def test_a_dataset_or_a_source_that_there_is_none_of_is_told_with_those_there_are(
    tmp_path: Path,
) -> None:
    made = platform(tmp_path)
    known = "There is no dataset 'nonsense'; known are daily_prices, market_snapshot"
    with pytest.raises(UnknownDatasetError, match=known):
        whole_steps(made, "nonsense")
    known = "There is no source 'yahoo'. The settings know nasdaq, nasdaqtrader, simulated"
    with pytest.raises(UnknownSourceNameError, match=known):
        whole_steps(made, SNAPSHOT, "yahoo")


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        (
            {"QUANT_ASSETS_DATASETS__NONSENSE__ENABLED": "false"},
            "there is no dataset nonsense; known are daily_prices, market_snapshot",
        ),
        (
            {
                "QUANT_ASSETS_DATASETS__DAILY_PRICES__SOURCE": "yahoo",
                "QUANT_ASSETS_SOURCE": "simulated",
            },
            "source and datasets.daily_prices.source name two sources of prices",
        ),
        ({"QUANT_ASSETS_DATASETS__MARKET_SNAPSHOT__SUORCE": "nasdaq"}, "suorce"),
    ],
)
def test_settings_of_a_dataset_that_mean_nothing_are_refused(
    tmp_path: Path, environment: dict[str, str], message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        load_settings(environment, working_directory=tmp_path)


def test_the_whole_datasets_are_all_but_the_prices() -> None:
    assert WHOLE == (SNAPSHOT,)


@pytest.fixture
def nasdaq() -> Iterator[NasdaqStandIn]:
    stocks = {exchange: [stock(exchange[:4].upper())] for exchange in SCREENER[1]}
    with NasdaqStandIn(stocks) as standin:
        yield standin


@dataclass(frozen=True)
class Unpaced(Platform):
    """Waits for no turn between two requests."""

    def market(self, name: str) -> Source[RowAnswer]:
        found = super().market(name)
        assert isinstance(found, Screener)
        return replace(found, paced=lambda request: request())


def test_a_dataset_is_open_while_one_of_its_lists_has_failed_and_not_too_often(
    tmp_path: Path, nasdaq: NasdaqStandIn
) -> None:
    settings = {"nasdaq": {"screener_url": nasdaq.url}, "home": tmp_path}
    made = Unpaced(Settings.model_validate(settings), lambda: EVENING)

    def bring() -> LoadReport:
        steps = whole_steps(made, SNAPSHOT, "nasdaq")
        [report] = load_steps(made, steps, How(Asking(heed_tasks=True)))
        return report

    assert open_datasets(made) == []
    nasdaq.order(status(404), feed="nyse", times=math.inf)
    assert bring().total("inserted") == 2
    assert open_datasets(made) == [SNAPSHOT]
    for _ in range(4):
        assert [report.symbol for report in bring().failures] == ["nyse"]
    assert open_datasets(made) == []
    assert open_datasets(made, given_up=True) == [SNAPSHOT]
    requests = nasdaq.requested("nyse")
    assert list(bring().left) == ["nyse"]
    assert (nasdaq.requested("nyse"), nasdaq.requested("amex")) == (requests, 1)
