"""Schedules: on which evenings and hours each requests a run, and its reason when it does not."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from quant_assets.contracts.membership import UniverseSource
from quant_assets.wiring.platform import NoListsError
from quant_assets_tests.standins.evening import (
    FRI,
    Fed,
    World,
    config_of,
    copied,
    new_york,
    thursday_night,
    why,
)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return thursday_night(tmp_path_factory.mktemp("thursday"))


@pytest.fixture
def world(prepared: Path, tmp_path: Path) -> Iterator[World]:
    yield from copied(prepared, tmp_path)


@pytest.mark.parametrize(
    ("at", "session"),
    [
        pytest.param("2024-05-31T18:30-04:00", "2024-05-31", id="a Friday"),
        pytest.param("2024-07-03T18:30-04:00", "2024-07-03", id="an early close"),
        pytest.param("2024-03-08T18:30-05:00", "2024-03-08", id="before the clocks go forward"),
        pytest.param("2024-03-11T18:30-04:00", "2024-03-11", id="after they went forward"),
        pytest.param("2024-11-01T18:30-04:00", "2024-11-01", id="before they go back"),
        pytest.param("2024-11-04T18:30-05:00", "2024-11-04", id="after they went back"),
    ],
)
def test_the_evening_of_a_session_begins_with_a_look_at_the_index(
    world: World, at: str, session: str
) -> None:
    request = world.scheduled("nightly", dt.datetime.fromisoformat(at)).request
    assert (request.job_name, request.run_key) == ("refresh_membership", session)
    assert why(request) == ("nightly", f"nightly {session}")


@pytest.mark.parametrize(
    ("at", "reason"),
    [
        ("2024-06-01T18:30-04:00", "Saturday 2024-06-01 is no session of the exchange; the next "),
        ("2024-06-02T18:30-04:00", "Sunday 2024-06-02 is no session of the exchange; the next "),
        ("2024-07-04T18:30-04:00", "Thursday 2024-07-04 is no session of the exchange; the next "),
    ],
)
def test_a_day_off_begins_nothing_and_says_when_it_goes_on(
    world: World, at: str, reason: str
) -> None:
    seen = world.scheduled("nightly", dt.datetime.fromisoformat(at))
    assert seen.requests == ()
    assert seen.skipped.startswith(reason)
    following = {"2024-07-04": "Friday 2024-07-05."}.get(at[:10], "Monday 2024-06-03.")
    assert seen.skipped.endswith(f"one is {following}")


def test_a_closure_that_was_announced_is_no_session(world: World) -> None:
    settings = world.platform.settings.model_copy(update={"extra_closures": (FRI,)})
    world.platform = Fed(settings, lambda: world.now, world.market, world.index)
    assert world.scheduled("nightly", new_york(FRI, "18:30")).requests == ()


def test_the_index_is_looked_at_every_hour_on_days_off_too(world: World) -> None:
    request = world.scheduled("membership_hourly", new_york(dt.date(2024, 6, 2), "08:05")).request
    assert request.job_name == "refresh_membership"
    assert why(request) == ("membership_hourly", "the look of 12:05 UTC")


class Listless(Fed):
    """A platform whose settings name no list."""

    def universe_source(self) -> UniverseSource:
        raise NoListsError


def test_without_lists_no_index_is_looked_at_and_prices_come_all_the_same(world: World) -> None:
    world.platform = Listless(world.platform.settings, lambda: world.now, world.market, world.index)
    assert world.scheduled("membership_hourly", world.now).skipped.startswith("The settings name")
    assert world.look("prices_due").request.job_name == "refresh_prices"


def test_a_look_that_finds_nothing_new_is_a_look_all_the_same(world: World) -> None:
    for _ in range(2):
        assert world.run(world.scheduled("nightly", world.now).request) == ""
        world.now += dt.timedelta(hours=1)
    records = world.instance.fetch_materializations(dg.AssetKey("sp500_universe"), limit=9).records
    made = [record.asset_materialization for record in records]
    assert [each.metadata["looked_at"].value for each in made if each] == [
        "2024-05-31T23:40:00+00:00",
        "2024-05-31T22:40:00+00:00",
    ]
    assert {(each.tags or {})["dagster/data_version"] for each in made if each} == {"universe-1"}


def test_without_pairs_there_is_nothing_to_do_by_the_hour(world: World) -> None:
    assert world.scheduled("crypto_hourly", world.now).skipped == (
        "No pairs are known here; load one to have it kept up."
    )


def test_pairs_are_requested_once_their_day_is_over_and_are_not_reported(
    world: World,
) -> None:
    world.market.until = dt.date(2024, 6, 1)
    world.now = dt.datetime(2024, 5, 31, 12, 0, tzinfo=dt.UTC)
    request = dg.RunRequest(
        job_name="refresh_prices",
        run_config={"ops": {"load_what_is_due": {"config": {"symbols": ["BTC-USD"]}}}},
    )
    assert world.run(request) == ""
    assert world.scheduled("crypto_hourly", world.now).skipped == ("All 1 symbols have 2024-05-30.")
    world.now = dt.datetime(2024, 6, 1, 0, 6, tzinfo=dt.UTC)
    request = world.scheduled("crypto_hourly", world.now).request
    assert request.run_key == "2024-06-01T00"
    assert why(request) == ("crypto_hourly", "BTC-USD up to 2024-05-31")
    assert config_of(request) == {"symbols": ["BTC-USD"], "heed_tasks": True}
    world.market.requested.clear()
    assert world.run(request) == ""
    assert world.market.requested == ["BTC-USD"]
    assert world.instance.get_dynamic_partitions("symbols") == []
