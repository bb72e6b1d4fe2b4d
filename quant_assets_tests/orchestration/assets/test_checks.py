"""The asset checks: what each finds in the warehouse, and when they run."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.asset_daemon_cursor import AssetDaemonCursor

from quant_assets.orchestration.assets.checks import AGE, BLOCKED, QUARANTINED, look_over
from quant_assets.orchestration.runs.dataset_asset import PRICES, UNIVERSE
from quant_assets.orchestration.runs.partitions import add_tickers, range_tags
from quant_assets.schema.loads import LEDGER, LOG_ENTRIES
from quant_assets_tests.standins.evening import (
    FRI,
    RUN,
    TUE,
    World,
    copied,
    new_york,
    thursday_night,
)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return thursday_night(tmp_path_factory.mktemp("thursday"))


@pytest.fixture
def world(prepared: Path, tmp_path: Path) -> Iterator[World]:
    yield from copied(prepared, tmp_path)


def found(world: World) -> dict[str | None, tuple[bool, str | None]]:
    """Whether each check passed, and what it says."""
    results = look_over(world.platform)
    return {result.check_name: (result.passed, result.description) for result in results}


def evaluated(world: World) -> dict[str, bool]:
    """The checks that Dagster has results of, and whether they passed."""
    storage = world.instance.event_log_storage
    keys = [dg.AssetCheckKey(PRICES.key, name) for name in (QUARANTINED, BLOCKED)]
    keys.append(dg.AssetCheckKey(UNIVERSE, AGE))
    latest = storage.get_latest_asset_check_execution_by_key(keys)
    events = {key.name: record.event for key, record in latest.items()}
    return {
        name: event.dagster_event.asset_check_evaluation_data.passed
        for name, event in events.items()
        if event and event.dagster_event
        if event.dagster_event.event_type is dg.DagsterEventType.ASSET_CHECK_EVALUATION
    }


def test_all_pass_where_nothing_is_amiss(world: World) -> None:
    assert found(world) == {
        QUARANTINED: (True, "None."),
        BLOCKED: (True, "None."),
        AGE: (True, f"The list is of {world.now.date()}, 0 days ago."),
    }


def test_all_pass_in_an_empty_folder(tmp_path: Path) -> None:
    world = World(tmp_path, new_york(FRI, "18:40"))
    assert {passed for passed, _ in found(world).values()} == {True}


def test_rows_in_quarantine_are_those_without_a_good_row_since(world: World) -> None:
    at = world.now.replace(tzinfo=None)
    row = {"dataset": "daily_prices", "security_id": 1, "session": TUE, "source": "yahoo"}
    row |= {"reason": "low is above high", "asked_at": at, "run_id": RUN}
    world.write(LEDGER, row | {"outcome": "quarantined"})
    world.write(LEDGER, row | {"outcome": "empty", "session": FRI})
    assert found(world)[QUARANTINED] == (
        False,
        "1 of AAA. First: AAA, 2024-05-28, yahoo, low is above high.",
    )


def test_a_symbol_is_blocked_where_its_source_contradicts_or_it_was_given_up(world: World) -> None:
    world.task("AAA", "failed", attempts=5, error="no data")
    world.task("BBB", "failed", error="a split that nobody lists")
    world.task("CCC", "failed", error="timed out")
    entry = {"entry_id": RUN, "said_at": world.now.replace(tzinfo=None), "level": "ERROR"}
    entry |= {"message": "", "run_id": RUN, "dataset": "daily_prices", "source": "yahoo"}
    world.write(LOG_ENTRIES, entry | {"symbol": "BBB", "error_class": "BlockedSymbolError"})
    assert found(world)[BLOCKED] == (
        False,
        "2 of AAA, BBB. First: AAA, yahoo, 5, no data.",
    )


def test_a_list_of_more_than_a_week_ago_is_old(world: World) -> None:
    world.now += dt.timedelta(days=7)
    assert found(world)[AGE][0]
    world.now += dt.timedelta(days=1)
    passed, said = found(world)[AGE]
    assert (passed, (said or "")[-11:]) == (False, "8 days ago.")


def test_they_run_with_their_asset_even_where_it_fails(world: World) -> None:
    world.index.reachable = False
    assert "out of reach" in world.materialize("sp500_universe")
    assert evaluated(world) == {AGE: True}


def requested(world: World, cursor: AssetDaemonCursor | None) -> tuple[set[str], AssetDaemonCursor]:
    """The checks that a tick of ``after_prices`` requests, and its cursor."""
    found = dg.evaluate_automation_conditions(
        world.definitions, world.instance, dg.AssetSelection.all(), cursor=cursor
    )
    names = {
        result.key.name
        for result in found.results
        if isinstance(result.key, dg.AssetCheckKey) and not result.true_subset.is_empty
    }
    return names, found.cursor


def load(world: World, *symbols: str) -> None:
    config = {"symbols": list(symbols), "start": str(TUE), "end": str(TUE)}
    run_config = {"ops": {"load_rectangle": {"config": config}}}
    assert world.run(dg.RunRequest(None, run_config, job_name="backfill_prices")) == ""


def test_what_a_job_loaded_is_checked_as_soon_as_changes_are_looked_for(world: World) -> None:
    load(world, "AAA")
    first, cursor = requested(world, None)
    second, _ = requested(world, cursor)
    assert first | second == {QUARANTINED, BLOCKED}


def test_what_came_after_a_check_is_checked_again_and_nothing_else_is(world: World) -> None:
    job = world.definitions.resolve_implicit_global_asset_job_def()
    keys = [dg.AssetKey("daily_prices")]
    tags = range_tags("AAA", "AAA", TUE, TUE)
    add_tickers(world.instance, ["AAA", "BBB"])
    result = job.execute_in_process(instance=world.instance, asset_selection=keys, tags=tags)
    assert result.success
    assert set(evaluated(world)) >= {QUARANTINED, BLOCKED}
    _, cursor = requested(world, None)
    nothing, cursor = requested(world, cursor)
    assert nothing == set()
    load(world, "BBB")
    again, cursor = requested(world, cursor)
    assert again == {QUARANTINED, BLOCKED}
    nothing, _ = requested(world, cursor)
    assert nothing == set()


def test_each_says_what_to_do(world: World) -> None:
    graph = world.definitions.resolve_asset_graph()
    described = {key.name: graph.get_check_spec(key).description for key in graph.asset_check_keys}
    for name in (QUARANTINED, BLOCKED, AGE):
        assert "To mend: " in (described[name] or ""), name
