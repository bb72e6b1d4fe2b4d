"""Sensors: what each requests, given what is stored and the time.

Evenings of an index of three companies, played through with the real sensors; see ``evening``.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from quant_assets.orchestration.assets.universe import LOOKED_AT
from quant_assets.orchestration.runs.dataset_asset import PRICES
from quant_assets.schema.securities import SYMBOL_HISTORY
from quant_assets_tests.standins.evening import (
    FRI,
    MEMBERS,
    MON,
    THU,
    World,
    config_of,
    copied,
    new_york,
    thursday_night,
    why,
)

SATURDAY = dt.date(2024, 6, 1)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return thursday_night(tmp_path_factory.mktemp("thursday"))


@pytest.fixture
def world(prepared: Path, tmp_path: Path) -> Iterator[World]:
    yield from copied(prepared, tmp_path)


def looked_at_the_index(world: World) -> World:
    """The list imported, and reported to Dagster as the asset does."""
    world.import_members()
    metadata = {LOOKED_AT: world.now.isoformat()}
    world.instance.report_runless_asset_event(
        dg.AssetMaterialization(PRICES.upstream, metadata=metadata)
    )
    return world


# --- prices_due ----------------------------------------------------------------------------------


def test_an_evening_goes_from_the_index_to_its_prices(world: World) -> None:
    first = world.look("prices_due")
    assert first.requested == [("refresh_membership", "2024-05-31/membership")]
    assert world.run(first.request) == ""
    second = world.look("prices_due")
    assert second.requested == [("refresh_prices", "2024-05-31/probe-1")]
    assert why(second.request) == ("prices_due", "nightly 2024-05-31")
    assert config_of(second.request) == {"symbols": [], "heed_tasks": True}
    world.market.requested.clear()
    assert world.run(second.request) == ""
    assert world.market.requested == ["AAA", "BBB", "CCC"]
    assert world.look("prices_due").skipped == (
        "All 3 symbols have 2024-05-31. The next one expected is Monday 2024-06-03."
    )
    keys = world.instance.get_materialized_partitions(PRICES.key)
    assert len(keys) == 12
    assert (world.path / "published").exists()


def test_before_the_evening_nothing_is_expected_of_the_day(world: World) -> None:
    world.now = new_york(FRI, "18:29")
    assert world.look("prices_due").skipped == (
        "All 3 symbols have 2024-05-30. The next one expected is Friday 2024-05-31."
    )


def test_the_schedule_is_given_a_few_minutes_to_have_the_index_looked_at(world: World) -> None:
    world.now = new_york(FRI, "18:31")
    assert world.look("prices_due").skipped == (
        "The look at the index of 2024-05-31 is about to begin."
    )
    world.begin("refresh_membership")
    world.now = new_york(FRI, "18:40")
    assert world.look("prices_due").skipped == (
        "The index is being looked at; the prices of 2024-05-31 come next."
    )


def test_a_look_that_failed_leaves_the_members_known_last(world: World) -> None:
    world.index.reachable = False
    request = world.look("prices_due").request
    assert "out of reach" in world.run(request)
    again = world.look("prices_due").request
    assert again.job_name == "refresh_prices"
    assert why(again)[1] == (
        "nightly 2024-05-31; the index could not be looked at, so its last known members are "
        "requested"
    )


def test_while_prices_are_being_refreshed_nothing_is_requested(world: World) -> None:
    world.begin("refresh_prices")
    said = {sensor: world.look(sensor).skipped for sensor in ("prices_due", "failed_partitions")}
    assert said == {
        "prices_due": "Prices are being refreshed, or about to be.",
        "failed_partitions": "daily_prices is being refreshed, or about to be.",
    }


def test_a_source_that_lags_is_requested_every_half_hour_and_by_few(world: World) -> None:
    ten = world.index.members = (*MEMBERS, *(f"S{number}" for number in range(7)))
    looked_at_the_index(world).market.until = THU
    world.load(*ten)
    world.market.requested.clear()
    assert "10 symbol-days failed." in world.run(world.look("prices_due").request)
    assert len(world.market.requested) == 10
    world.now = new_york(FRI, "19:09")
    assert world.look("prices_due").skipped == (
        "10 of 10 symbols lack 2024-05-31: AAA, BBB, CCC, S0, S1, S2, S3, S4, S5, S6. yahoo has no "
        "2024-05-31 yet: 10 of 10 symbols asked lack it. Held until 23:10 UTC. "
        "Left alone until 23:10 UTC."
    )
    world.now = new_york(FRI, "19:10")
    second = world.look("prices_due").request
    assert second.run_key == "2024-05-31/probe-2"
    assert why(second) == ("prices_due", "the source lagged: probe 2")
    assert "10 symbol-days failed." in world.run(second)
    assert len(world.market.requested) == 13
    world.now = new_york(FRI, "19:40")
    world.market.until = FRI
    assert world.run(world.look("prices_due").request) == ""
    assert len(world.market.requested) == 23
    assert world.look("prices_due").skipped.startswith("All 10 symbols have 2024-05-31.")


def test_a_source_that_was_just_requested_is_left_alone_whatever_came_of_it(world: World) -> None:
    request = looked_at_the_index(world).look("prices_due").request
    world.begin(request.job_name or "", dict(request.tags), ended=True)
    assert world.look("prices_due").skipped == (
        "3 of 3 symbols lack 2024-05-31: AAA, BBB, CCC. To be requested again at 23:10 UTC."
    )


def test_what_failed_by_itself_is_not_probed_for(world: World) -> None:
    looked_at_the_index(world).market.failing = {"BBB"}
    failed = world.run(world.look("prices_due").request)
    assert failed.splitlines() == [
        "1 symbol-day failed.",
        "BBB 2024-05-31: no data in the answer",
    ]
    world.now += dt.timedelta(minutes=40)
    assert world.look("prices_due").skipped == (
        "1 of 3 symbols lack 2024-05-31: BBB. no data in the answer. "
        "No symbol is to be requested now."
    )


def test_sessions_that_were_missed_come_in_one_load(world: World) -> None:
    world.now = new_york(dt.date(2024, 6, 5), "09:00")
    world.market.until = dt.date(2024, 6, 4)
    looked_at_the_index(world)
    request = world.look("prices_due").request
    assert request.run_key == "2024-06-04/probe-1"
    world.market.requested.clear()
    assert world.run(request) == ""
    assert world.market.requested == ["AAA", "BBB", "CCC"]
    assert world.look("prices_due").skipped.startswith("All 3 symbols have 2024-06-04.")


def test_a_weekend_expects_nothing_new(world: World) -> None:
    world.load(end=FRI)
    for hour in ("00:00", "12:00", "19:00"):
        world.now = new_york(SATURDAY, hour)
        assert world.look("prices_due").skipped == (
            "All 3 symbols have 2024-05-31. The next one expected is Monday 2024-06-03."
        )


def test_without_symbols_nothing_is_expected(tmp_path: Path) -> None:
    empty = World(tmp_path, new_york(FRI, "18:40"))
    assert empty.look("prices_due").skipped.startswith("No symbols are known here yet")
    assert empty.look("failed_partitions").skipped == "Nothing has failed."
    first = empty.look("index_membership_sensor")
    assert (first.requests, first.cursor) == ((), '{"last": 0, "waiting": []}')
    empty.close()


# --- index_membership_sensor ---------------------------------------------------------------------

START = '{"last": 0, "waiting": []}'


def test_a_first_look_makes_no_work_of_history(world: World) -> None:
    for number in range(1, 6):
        world.change(number, "added", f"N{number}", FRI)
    first = world.look("index_membership_sensor")
    assert first.requests == ()
    assert first.skipped == "Begins behind change 5: what was before is history."
    later = world.look("index_membership_sensor", first.cursor)
    assert later.skipped == "No universe has changed since the last look."


def test_a_newcomer_gets_its_partition_and_its_history(world: World) -> None:
    world.index.members = (*MEMBERS, "DDD")
    looked_at_the_index(world)
    world.change(1_001, "added", "DDD", FRI)
    seen = world.look("index_membership_sensor", '{"last": 1000, "waiting": []}')
    assert seen.requested == [("refresh_prices", "added 1001-1001")]
    assert why(seen.request) == ("index_membership_sensor", "DDD joined sp500 on 2024-05-31")
    assert config_of(seen.request) == {"symbols": ["DDD"], "priority": "high"}
    assert seen.tickers == ("DDD",)
    world.market.requested.clear()
    assert world.run(seen.request) == ""
    assert world.market.requested == ["DDD"]
    held = "select max(session) from daily_prices join symbol_history using"
    with world.platform.warehouse.reading() as con:
        rows = con.execute(f"{held} (security_id) where symbol = 'DDD'").fetchall()
    assert rows == [(FRI,)]


def test_a_leaver_is_looked_at_in_full_once_more(world: World) -> None:
    world.load(end=FRI)
    world.change(1, "removed", "CCC", FRI)
    seen = world.look("index_membership_sensor", START)
    assert seen.requested == [("refresh_prices", "removed 1-1")]
    assert why(seen.request)[1] == "CCC left sp500 on 2024-05-31: a last full look"
    # Up to the day before: after it it may be traded no more.
    assert config_of(seen.request) == {"symbols": ["CCC"], "end": "2024-05-30", "full": True}
    world.market.requested.clear()
    assert world.run(seen.request) == ""
    assert world.market.requested == ["CCC"]


def test_a_renamed_one_shows_its_history_under_the_new_ticker_unfetched(world: World) -> None:
    world.write(
        SYMBOL_HISTORY,
        {"symbol": "CCC", "valid_from": dt.date(1990, 1, 2), "valid_to": FRI}
        | {"security_id": 3, "source": "simulated"},
        {"symbol": "ZZZ", "valid_from": FRI, "valid_to": None}
        | {"security_id": 3, "source": "simulated"},
    )
    world.change(1, "renamed", "ZZZ", FRI, former_symbol="CCC", security_id=3)
    seen = world.look("index_membership_sensor", START)
    assert seen.requested == [("tell_prices", "renamed 1-1")]
    assert why(seen.request)[1] == "CCC became ZZZ on 2024-05-31"
    world.market.requested.clear()
    assert world.run(seen.request) == ""
    assert world.market.requested == []
    green = world.instance.get_materialized_partitions(PRICES.key)
    assert green == {"2024-05-28|ZZZ", "2024-05-29|ZZZ", "2024-05-30|ZZZ"}


def test_a_change_of_a_day_to_come_waits_for_it(world: World) -> None:
    world.change(7, "added", "DDD", MON)
    world.change(8, "removed", "CCC", MON)
    friday = world.look("index_membership_sensor", START)
    assert friday.requests == ()
    assert friday.skipped == "Changes wait for their day: DDD on 2024-06-03, CCC on 2024-06-03."
    assert friday.cursor == '{"last": 8, "waiting": [7, 8]}'
    world.now = new_york(MON, "08:00")
    monday = world.look("index_membership_sensor", friday.cursor)
    assert monday.requested == [
        ("refresh_prices", "added 7-7"),
        ("refresh_prices", "removed 8-8"),
    ]
    assert monday.cursor == '{"last": 8, "waiting": []}'
    assert world.look("index_membership_sensor", monday.cursor).requests == ()


def test_a_first_look_keeps_what_is_still_to_come(world: World) -> None:
    world.change(7, "added", "DDD", MON)
    first = world.look("index_membership_sensor")
    world.now = new_york(MON, "08:00")
    assert world.look("index_membership_sensor", first.cursor).requested == [
        ("refresh_prices", "added 7-7")
    ]


def test_what_is_taken_back_before_its_day_calls_for_nothing(world: World) -> None:
    world.change(1, "added", "NEW", MON, security_id=97)
    world.change(2, "removed", "GONE", MON, security_id=99)
    world.change(3, "added", "NOT", MON, security_id=98)
    friday = world.look("index_membership_sensor", START)
    world.change(4, "withdrawn", "NOT", MON, security_id=98)
    world.now = new_york(MON, "08:00")
    monday = world.look("index_membership_sensor", friday.cursor)
    assert [(why(r)[1], config_of(r)["symbols"]) for r in monday.requests] == [
        ("NEW joined sp500 on 2024-06-03", ["NEW"]),
        ("GONE left sp500 on 2024-06-03: a last full look", ["GONE"]),
    ]


def test_changes_of_a_kind_are_one_run(world: World) -> None:
    for number, symbol in enumerate(("W", "X", "Y", "Z"), start=11):
        world.change(number, "added", symbol, FRI)
    request = world.look("index_membership_sensor", START).request
    assert request.run_key == "added 11-14"
    assert why(request)[1] == (
        "W joined sp500 on 2024-05-31; X joined sp500 on 2024-05-31; "
        "Y joined sp500 on 2024-05-31; and 1 more"
    )


def test_imported_history_is_no_news(world: World) -> None:
    world.change(1, "added", "OLD", dt.date(2019, 1, 2))
    world.change(2, "removed", "OLD", dt.date(2021, 1, 4))
    seen = world.look("index_membership_sensor", START)
    assert (seen.requests, seen.cursor) == ((), '{"last": 2, "waiting": []}')


def test_a_look_repeated_after_a_crash_asks_under_the_same_keys(world: World) -> None:
    world.change(1, "added", "DDD", FRI)
    first, second = (world.look("index_membership_sensor", START) for _ in range(2))
    assert first.requested == second.requested == [("refresh_prices", "added 1-1")]


# --- failed_partitions ---------------------------------------------------------------------------


def test_what_failed_is_requested_again_after_a_longer_while(world: World) -> None:
    for attempts, minutes in ((1, 15), (2, 30), (3, 60), (4, 120)):
        world.task("BBB", "failed", attempts=attempts, error="no data")
        failed_at = world.now
        world.now = failed_at + dt.timedelta(minutes=minutes, seconds=-1)
        left_alone = world.look("failed_partitions")
        assert left_alone.skipped == "1 that failed are left alone for a while."
        world.now = failed_at + dt.timedelta(minutes=minutes)
        request = world.look("failed_partitions").request
        assert why(request) == ("failed_partitions", "failed before: BBB")
        assert config_of(request) == {
            "symbols": ["BBB"],
            "source": "yahoo",
            "start": "2024-05-31",
            "end": "2024-05-31",
            "priority": "high",
            "heed_tasks": True,
        }


def test_what_was_given_up_is_named_and_left(world: World) -> None:
    world.task("BBB", "failed", attempts=5, error="no data")
    world.now += dt.timedelta(days=1)
    assert world.look("failed_partitions").skipped == (
        "1 given up after 5 attempts: BBB. Load them by name, or quant-assets resume "
        "--retry-failed."
    )


def test_a_retry_that_succeeds_is_the_last(world: World) -> None:
    looked_at_the_index(world).market.failing = {"BBB"}
    assert world.run(world.look("prices_due").request) != ""
    world.market.failing.clear()
    world.now += dt.timedelta(minutes=15)
    assert world.run(world.look("failed_partitions").request) == ""
    assert world.look("failed_partitions").skipped == "Nothing has failed."
    assert world.look("prices_due").skipped.startswith("All 3 symbols have 2024-05-31.")
