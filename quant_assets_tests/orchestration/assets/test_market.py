"""The asset ``market_snapshot``: what a run stores and says, and when it is requested."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg
import pytest

from quant_assets.cli.in_process import Materialized, materialize_asset
from quant_assets.contracts.rows import RowAnswer
from quant_assets.contracts.source import Request, Source, SourceProfile, SourceUnavailable
from quant_assets.definitions import build_definitions
from quant_assets.orchestration.instance.instance import open_instance
from quant_assets.orchestration.runs.dataset_asset import MARKET
from quant_assets.read.market_frames import market
from quant_assets.settings.settings import load_settings
from quant_assets.sources.simulated.snapshot import SimulatedSnapshot
from quant_assets.wiring.platform import Platform
from quant_assets_tests.conftest import NOW

EVENING = dt.datetime(2024, 5, 31, 22, 30, tzinfo=dt.UTC)
MONDAY_NOON = dt.datetime(2024, 6, 3, 16, 0, tzinfo=dt.UTC)


@dataclass(frozen=True)
class Down:
    """A live source of one list that can't be reached."""

    profile: SourceProfile = field(default_factory=lambda: SourceProfile("nasdaq", live=True))

    def symbols(self) -> tuple[str, ...]:
        return ("nyse",)

    def fetch(self, requests: Sequence[Request]) -> Iterator[RowAnswer]:
        down = SourceUnavailable("nasdaq", "nasdaq can't be reached.")
        yield RowAnswer(("nyse",), failures={"nyse": down})


@dataclass(frozen=True)
class Evening(Platform):
    """A platform whose market comes from ``sources``, by name."""

    sources: dict[str, Source[RowAnswer]] = field(default_factory=dict)

    def market(self, name: str) -> Source[RowAnswer]:
        return self.sources[name] if self.sources else super().market(name)


def platform_of(path: Path, now: dt.datetime = NOW, **flags: object) -> Evening:
    settings = load_settings(
        {},
        flags={"home": path / "data", "simulated": {"symbols": 20}, **flags},
        working_directory=path,
    )
    return Evening(settings, clock=lambda: now)


def simulated(path: Path) -> Evening:
    return platform_of(path, source="simulated")


def materialize(platform: Platform) -> Materialized:
    return materialize_asset(platform, "market_snapshot")


def latest(platform: Platform) -> dict[str, object]:
    """The metadata of the latest materialization; empty where there is none."""
    with open_instance(platform.settings.home_path) as instance:
        event = instance.get_latest_materialization_event(MARKET.key)
    made = event.asset_materialization if event else None
    return {name: each.value for name, each in made.metadata.items()} if made else {}


def test_a_run_stores_a_snapshot_and_says_what_it_is(tmp_path: Path) -> None:
    platform = simulated(tmp_path)
    assert materialize(platform).success
    said = latest(platform)
    frame = market(on=NOW.date(), settings=platform.settings)
    assert len(frame) == said["dagster/row_count"] == said["new"] == said["common_stock"]
    assert (said["session"], said["sources"]) == ("2024-05-31", "simulated")
    assert (said["not believed"], said["quarantined"]) == (0, 0)
    assert materialize(platform).success
    assert latest(platform)["new"] == 0


def test_a_list_that_fails_turns_the_run_red_and_leaves_no_event(tmp_path: Path) -> None:
    platform = platform_of(tmp_path, datasets={"market_snapshot": {"source": "nasdaq"}})
    platform.sources["nasdaq"] = Down()
    run = materialize(platform)
    assert not run.success
    assert "nyse: nasdaq can't be reached." in run.failure
    assert latest(platform) == {}


def scheduled(platform: Platform, at: dt.datetime) -> dg.RunRequest | str:
    """What the schedule requests, or why nothing."""
    repository = build_definitions(platform).get_repository_def()
    context = dg.build_schedule_context(None, at, {"platform": platform}, repository_def=repository)
    tick = repository.get_schedule_def("market_nightly").evaluate_tick(context)
    return tick.run_requests[0] if tick.run_requests else str(tick.skip_message)


def test_the_evening_of_a_session_requests_a_snapshot(tmp_path: Path) -> None:
    request = scheduled(platform_of(tmp_path), EVENING)
    assert isinstance(request, dg.RunRequest)
    assert (request.job_name, request.run_key) == ("refresh_market", "2024-05-31")
    assert request.tags["quant_assets/why"] == "nightly 2024-05-31"


def test_a_day_off_requests_none(tmp_path: Path) -> None:
    assert scheduled(platform_of(tmp_path), EVENING + dt.timedelta(days=1)) == (
        "Saturday 2024-06-01 is no session of the exchange; the next one is Monday 2024-06-03."
    )


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        pytest.param(
            {"datasets": {"market_snapshot": {"enabled": False}}},
            "market_snapshot is switched off here: ",
            id="switched off",
        ),
        pytest.param(
            {
                "source": "files:ours",
                "files": {"ours": {"paths": ["p.csv"], "price_basis": "as_traded"}},
            },
            "market_snapshot is not kept up here: ",
            id="archives of files",
        ),
    ],
)
def test_a_dataset_that_is_not_enabled_is_not_requested(
    tmp_path: Path, flags: dict[str, object], reason: str
) -> None:
    assert str(scheduled(platform_of(tmp_path, **flags), EVENING)).startswith(reason)


def sensed(platform: Platform) -> list[tuple[str | None, str]] | str:
    """The jobs that the sensor of failures requests with why, or why it requests none."""
    built = build_definitions(platform)
    with open_instance(platform.settings.home_path) as instance:
        context = dg.build_sensor_context(
            instance, definitions=built, resources={"platform": platform}
        )
        sensor = built.get_repository_def().get_sensor_def("failed_partitions")
        tick = sensor.evaluate_tick(context)
    asked = [(each.job_name, each.tags["quant_assets/why"]) for each in tick.run_requests or ()]
    return asked or str(tick.skip_message)


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        pytest.param(
            NOW + dt.timedelta(minutes=5), "1 that failed are left alone for a while.", id="at once"
        ),
        pytest.param(
            NOW + dt.timedelta(minutes=20), [("refresh_market", "failed before: nyse")], id="later"
        ),
        pytest.param(
            MONDAY_NOON,
            "market_snapshot: nyse failed, and is requested again after the close of 2024-06-03.",
            id="during a session",
        ),
    ],
)
def test_a_list_that_failed_is_requested_again_after_a_while(
    tmp_path: Path, now: dt.datetime, expected: object
) -> None:
    platform = platform_of(tmp_path, datasets={"market_snapshot": {"source": "nasdaq"}})
    platform.sources["nasdaq"] = Down()
    materialize(platform)
    assert sensed(platform_of(tmp_path, now)) == expected


def test_a_list_that_failed_and_came_is_not_requested_again(tmp_path: Path) -> None:
    platform = simulated(tmp_path)
    platform.sources["simulated"] = Down(SourceProfile("simulated", simulated=True))
    assert not materialize(platform).success
    platform.sources["simulated"] = SimulatedSnapshot(platform.simulated_market())
    assert materialize(platform).success
    assert latest(platform)["session"] == "2024-05-31"
