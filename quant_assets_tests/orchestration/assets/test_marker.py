"""``latest_session``: fresh only when no symbol lacks the newest session, however old events look.

Freshness is what Dagster's own daemon computes, at moments of a spring and an autumn.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.freshness import FreshnessState
from dagster._core.definitions.freshness_evaluator import FRESHNESS_EVALUATORS_BY_POLICY_TYPE
from dagster._core.events import DagsterEvent, DagsterEventType, StepMaterializationData
from dagster._core.events.log import EventLogEntry
from dagster._core.loader import LoadingContextForTest
from dagster._core.test_utils import freeze_time

from quant_assets.orchestration.assets.latest_session import severity
from quant_assets.orchestration.runs.dataset_asset import PRICES as DATASET
from quant_assets.orchestration.runs.partitions import SYMBOLS
from quant_assets.refreshing.nightly import NEW_YORK
from quant_assets_tests.standins.evening import (
    FRI,
    MEMBERS,
    MON,
    RUN,
    THU,
    TUE,
    World,
    copied,
    new_york,
    thursday_night,
)

PRICES, UNIVERSE = DATASET.key, DATASET.upstream

MARKER = dg.AssetKey("latest_session")
ACTIONS = dg.AssetKey("corporate_actions")
PASS, WARN, FAIL = FreshnessState.PASS, FreshnessState.WARN, FreshnessState.FAIL


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return thursday_night(tmp_path_factory.mktemp("thursday"))


@pytest.fixture
def world(prepared: Path, tmp_path: Path) -> Iterator[World]:
    yield from copied(prepared, tmp_path)


def confirmed(world: World) -> list[str]:
    """The sessions that the marker stood for, newest first."""
    records = world.instance.fetch_materializations(MARKER, limit=9).records
    events = [record.asset_materialization for record in records]
    return [str(each.metadata["session"].value) for each in events if each]


def observed(world: World) -> list[str]:
    """The words of the marker when it was not materialized, newest first."""
    records = world.instance.fetch_observations(MARKER, limit=9).records
    events = [record.event_log_entry.asset_observation for record in records]
    return [str(each.metadata["stand"].value) for each in events if each]


def test_it_is_materialized_when_no_symbol_lacks_the_newest_session(world: World) -> None:
    world.load(end=FRI)
    assert world.materialize("latest_session") == ""
    [record] = world.instance.fetch_materializations(MARKER, limit=2).records
    assert record.asset_materialization is not None
    metadata = {name: each.value for name, each in record.asset_materialization.metadata.items()}
    assert metadata == {
        "session": "2024-05-31",
        "symbols": 3,
        "rows": 3,
        "empty": 0,
        "lacking": 0,
        "stand": "All 3 symbols have 2024-05-31.",
        "looked_at": "2024-05-31T22:40:00+00:00",
    }


def test_where_one_lacks_it_nothing_is_materialized_and_it_is_named(world: World) -> None:
    world.load("AAA", "BBB", end=FRI)
    world.task("CCC", "rate_limited", error="yahoo has no 2024-05-31 yet")
    assert world.materialize("latest_session") == ""
    assert confirmed(world) == []
    assert observed(world) == [
        "2 of 3 have 2024-05-31; lacking: CCC (yahoo has no 2024-05-31 yet, attempt 1)"
    ]


def checks(world: World) -> list[tuple[bool, str, str]]:
    """The results of the check, newest first: whether it passed, its severity, its words."""
    key = dg.AssetCheckKey(MARKER, "nothing_lacks")
    records = world.instance.event_log_storage.get_asset_check_execution_history(key, limit=9)
    found = []
    for record in records:
        assert record.event is not None
        assert record.event.dagster_event is not None
        result = record.event.dagster_event.asset_check_evaluation_data
        found.append((result.passed, result.severity.value, result.description or ""))
    return found


def test_the_check_has_a_result_from_the_first_evening_and_tells_one_from_all(world: World) -> None:
    assert world.materialize("latest_session") == ""
    world.load("AAA", "BBB", end=FRI)
    assert world.materialize("latest_session") == ""
    world.load("CCC", end=FRI)
    assert world.materialize("latest_session") == ""
    assert checks(world) == [
        (True, "WARN", "All 3 symbols have 2024-05-31."),
        (False, "WARN", "2 of 3 have 2024-05-31; lacking: CCC (not requested yet)"),
        (False, "ERROR", "0 of 3 have 2024-05-31; lacking: AAA, BBB, CCC (not requested yet)"),
    ]
    assert confirmed(world) == ["2024-05-31"]


@pytest.mark.parametrize(
    ("without", "symbols", "expected"),
    [(0, 503, "WARN"), (1, 503, "WARN"), (252, 503, "ERROR"), (503, 503, "ERROR"), (1, 1, "ERROR")],
)
def test_the_check_is_an_error_where_half_of_the_symbols_lack_the_session(
    without: int, symbols: int, expected: str
) -> None:
    assert severity(without, symbols).value == expected


def test_a_backfill_of_an_old_session_does_not_make_it_fresh(world: World) -> None:
    request = dg.RunRequest(
        job_name="backfill_prices",
        run_config={
            "ops": {
                "load_rectangle": {
                    "config": {"symbols": list(MEMBERS), "start": str(TUE), "end": str(TUE)}
                }
            }
        },
    )
    assert world.run(request) == ""
    assert world.instance.get_latest_materialization_event(PRICES) is not None
    assert world.materialize("latest_session") == ""
    assert confirmed(world) == []


def test_on_a_day_off_the_session_before_is_confirmed_again(world: World) -> None:
    world.load(end=FRI)
    world.now = new_york(dt.date(2024, 6, 2), "20:30")
    assert world.materialize("latest_session") == ""
    assert confirmed(world) == ["2024-05-31"]
    world.now = new_york(MON, "18:30")
    assert world.materialize("latest_session") == ""
    assert confirmed(world) == ["2024-05-31"]


def test_an_empty_folder_is_not_fresh(tmp_path: Path) -> None:
    world = World(tmp_path, new_york(FRI, "20:00"))
    assert world.materialize("latest_session") == ""
    assert (confirmed(world), observed(world)) == (
        [],
        ["No symbols are known here yet, so none are expected."],
    )
    world.close()


# --- when it runs --------------------------------------------------------------------------------


def test_what_follows_prices_runs_after_them_and_in_the_evening_of_a_day_off(world: World) -> None:
    selection = dg.AssetSelection.assets(ACTIONS, MARKER)
    cursor = None
    requested = []

    def tick(at: dt.datetime) -> None:
        nonlocal cursor
        found = dg.evaluate_automation_conditions(
            world.definitions, world.instance, selection, cursor=cursor, evaluation_time=at
        )
        cursor = found.cursor
        requested.append(
            {k.to_user_string() for k in (ACTIONS, MARKER) if found.get_num_requested(k)}
        )

    world.instance.add_dynamic_partitions(SYMBOLS, list(MEMBERS))
    tick(new_york(FRI, "18:00"))
    report(world, PRICES, new_york(FRI, "18:41"), "2024-05-31|AAA")
    tick(new_york(FRI, "18:42"))
    tick(new_york(FRI, "18:43"))
    tick(new_york(dt.date(2024, 6, 1), "20:31"))
    tick(new_york(dt.date(2024, 6, 1), "20:32"))
    assert requested == [
        set(),
        {"corporate_actions", "latest_session"},
        set(),
        {"latest_session"},
        set(),
    ]


# --- freshness as Dagster shows it ---------------------------------------------------------------


def report(world: World, key: dg.AssetKey, at: dt.datetime, partition: str | None = None) -> None:
    """A materialization at a moment."""
    event = DagsterEvent(
        event_type_value=DagsterEventType.ASSET_MATERIALIZATION.value,
        job_name="a_job",
        event_specific_data=StepMaterializationData(
            dg.AssetMaterialization(key, partition=partition)
        ),
    )
    entry = EventLogEntry(None, "INFO", "", RUN, at.timestamp(), dagster_event=event)
    world.instance.event_log_storage.store_event(entry)


def freshness(world: World, key: dg.AssetKey, at: dt.datetime) -> FreshnessState:
    """What the freshness daemon makes of an asset at a moment."""
    node = world.definitions.resolve_asset_graph().get(key)
    evaluator = FRESHNESS_EVALUATORS_BY_POLICY_TYPE[type(node.freshness_policy_or_from_metadata)]()
    with freeze_time(at):
        context = LoadingContextForTest(world.instance)
        return asyncio.run(evaluator.evaluate_freshness(context, node))


def test_the_marker_fails_the_morning_after_a_session_that_is_incomplete(world: World) -> None:
    report(world, MARKER, new_york(THU, "20:30"))
    assert freshness(world, MARKER, new_york(FRI, "20:00")) is PASS
    assert freshness(world, MARKER, new_york(dt.date(2024, 6, 1), "08:59")) is PASS
    assert freshness(world, MARKER, new_york(dt.date(2024, 6, 1), "09:01")) is FAIL
    report(world, MARKER, new_york(dt.date(2024, 6, 1), "10:00"))
    assert freshness(world, MARKER, new_york(dt.date(2024, 6, 1), "10:01")) is PASS


@pytest.mark.parametrize(
    "friday", [dt.date(2024, 5, 24), dt.date(2024, 3, 8), dt.date(2024, 11, 1)]
)
def test_long_weekends_and_changed_clocks_leave_everything_fresh(
    world: World, friday: dt.date
) -> None:
    """Memorial Day; the nights in which the clocks go forward and back."""
    for key in (PRICES, ACTIONS):
        report(world, key, _wall(friday, "18:40"))
    for day in range(4):
        evening = _wall(friday + dt.timedelta(days=day), "20:31")
        morning = _wall(friday + dt.timedelta(days=day + 1), "09:01")
        report(world, MARKER, evening)
        assert freshness(world, MARKER, morning) is PASS, morning
        for key in (PRICES, ACTIONS):
            assert freshness(world, key, evening) is PASS, (key, evening)
    after_a_tuesday_that_brought_nothing = _wall(friday + dt.timedelta(days=5), "12:00")
    assert freshness(world, PRICES, after_a_tuesday_that_brought_nothing) is FAIL


def _wall(day: dt.date, clock: str) -> dt.datetime:
    return dt.datetime.combine(day, dt.time.fromisoformat(clock), NEW_YORK)


def test_the_index_wants_to_be_looked_at_by_the_hour(world: World) -> None:
    at = new_york(FRI, "12:05")
    report(world, UNIVERSE, at)
    assert [freshness(world, UNIVERSE, at + dt.timedelta(hours=hours)) for hours in (1, 3, 25)] == [
        PASS,
        WARN,
        FAIL,
    ]


def test_the_daemon_that_shows_freshness_is_on(world: World) -> None:
    assert world.instance.freshness_enabled
    assert "FRESHNESS_DAEMON" in world.instance.get_required_daemon_types()
