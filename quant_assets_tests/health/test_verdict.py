"""The verdict: what is expected, what lacks, why, and the command that mends it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pytest

from quant_assets.health.judging import verdict
from quant_assets.health.verdict import Lack, Stand, Verdict
from quant_assets.loading.work import Window
from quant_assets.settings.settings import load_settings
from quant_assets_tests.standins.evening import (
    FRI,
    RUN,
    THU,
    TUE,
    WED,
    Fed,
    World,
    copied,
    new_york,
    thursday_night,
)
from quant_assets_tests.standins.loads import load_prices

EVENING = new_york(FRI, "18:40")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return thursday_night(tmp_path_factory.mktemp("thursday"))


@pytest.fixture
def world(prepared: Path, tmp_path: Path) -> Iterator[World]:
    yield from copied(prepared, tmp_path)


def said(world: World) -> str:
    return verdict(world.platform).sentence()


def change(world: World, sql: str) -> None:
    with world.platform.warehouse.writing(RUN) as writing:
        writing.con.execute(sql)


def test_a_folder_without_a_symbol_expects_none(tmp_path: Path) -> None:
    world = World(tmp_path, EVENING)
    assert said(world) == "No symbols are known here yet, so none are expected."
    assert not verdict(world.platform).has_newest


def test_where_nothing_lacks_all_have_the_session(world: World) -> None:
    world.load(end=FRI)
    found = verdict(world.platform)
    assert found.sentence() == "All 3 symbols have 2024-05-31."
    assert (found.lacking, found.has_newest) == ([], True)
    assert found.stands == [Stand("XNYS", FRI, 3, 3, 0)]


def test_a_session_is_expected_from_its_evening_on(world: World) -> None:
    world.now = new_york(FRI, "18:29")
    assert said(world) == "All 3 symbols have 2024-05-30."


def test_one_that_failed_is_told_with_its_attempts_and_the_next(world: World) -> None:
    world.market.failing = {"AAA"}
    world.load(end=FRI)
    assert said(world) == (
        "2 of 3 have 2024-05-31; lacking: AAA (no data in the answer, attempt 1, next 22:55 UTC)"
    )
    [lack] = verdict(world.platform).lacking
    assert lack.command == "quant-assets refresh --symbols AAA"
    assert (lack.newest, lack.sessions, lack.first, lack.last) == (True, 1, FRI, FRI)


def test_members_without_a_price_are_counted(tmp_path: Path) -> None:
    world = World(tmp_path, EVENING)
    world.import_members()
    assert said(world) == "0 of 3 have 2024-05-31; lacking: AAA, BBB, CCC (never loaded)"
    assert verdict(world.platform).commands() == ["quant-assets refresh --symbols AAA,BBB,CCC"]


def test_a_hole_inside_is_lacking_though_all_have_the_newest_session(world: World) -> None:
    world.load(end=FRI)
    change(
        world,
        f"delete from daily_prices where security_id = 2 and session between '{WED}' and '{THU}'",
    )
    found = verdict(world.platform)
    assert found.has_newest
    assert found.sentence() == (
        "All 3 symbols have 2024-05-31; lacking: "
        "BBB (2 sessions, 2024-05-29 to 2024-05-30: not requested yet)"
    )


def test_a_hole_before_a_confirmed_session_is_found_as_well(world: World) -> None:
    world.market.failing = {"AAA"}
    world.load(end=FRI)
    change(world, "update symbol_day_ledger set outcome = 'empty'")
    change(world, "delete from load_tasks")
    change(world, f"delete from daily_prices where security_id = 1 and session = '{WED}'")
    assert said(world) == (
        "All 3 symbols have 2024-05-31; lacking: AAA (2024-05-29: not requested yet)"
    )


def test_all_that_is_lacking_of_a_symbol_is_one_line(world: World) -> None:
    change(world, f"delete from daily_prices where security_id = 2 and session = '{WED}'")
    change(world, f"delete from daily_prices where security_id = 3 and session = '{THU}'")
    assert said(world) == (
        "0 of 3 have 2024-05-31; lacking: AAA (not requested yet), "
        "BBB (2 sessions, 2024-05-29 to 2024-05-31: not requested yet), "
        "CCC (2 sessions, 2024-05-30 to 2024-05-31: not requested yet)"
    )


def test_what_the_source_confirms_to_be_empty_lacks_nothing(world: World) -> None:
    world.market.failing = {"AAA"}
    world.load(end=FRI)
    change(world, "update symbol_day_ledger set outcome = 'empty'")
    change(world, "delete from load_tasks")
    assert said(world) == "All 3 symbols have 2024-05-31."
    assert verdict(world.platform).stands == [Stand("XNYS", FRI, 3, 2, 1)]


def test_a_row_in_quarantine_is_lacking_with_its_reason(world: World) -> None:
    world.market.failing = {"AAA"}
    world.load(end=FRI)
    change(world, "delete from load_tasks")
    change(world, "update symbol_day_ledger set outcome = 'quarantined', reason = 'close is 0'")
    assert said(world) == "2 of 3 have 2024-05-31; lacking: AAA (in quarantine: close is 0)"


def test_a_closure_named_late_ends_what_failed_on_that_day(world: World) -> None:
    world.market.failing = {"AAA", "BBB", "CCC"}
    world.load(end=FRI)
    assert len(verdict(world.platform).lacking) == 3
    flags = {"home": world.path, "extra_closures": [FRI], "default_days": 2}
    settings = load_settings({}, flags=flags, working_directory=world.path)
    named = verdict(Fed(settings, lambda: world.now, world.market, world.index))
    assert named.sentence() == "All 3 symbols have 2024-05-30."
    assert named.lacking == []


def test_a_pair_is_counted_by_its_own_calendar(world: World) -> None:
    world.load(end=FRI)
    always, day = world.platform.always_open, dt.date(2024, 5, 30)
    world.market.calendar = always
    window = Window(("BTC-USD",), TUE, day)
    load_prices(world.platform.warehouse, world.market, window, always)
    assert said(world) == "All 3 symbols have 2024-05-31, 1 of 1 has 2024-05-30."
    world.now = new_york(dt.date(2024, 6, 1), "12:00")
    assert said(world) == (
        "All 3 symbols have 2024-05-31, 0 of 1 have 2024-05-31; lacking: "
        "BTC-USD (not requested yet)"
    )


def test_an_archive_that_is_not_kept_up_is_complete_up_to_its_newest_row(world: World) -> None:
    change(world, "update daily_prices set source = 'files:old'")
    world.now = new_york(dt.date(2024, 8, 30), "19:00")
    assert said(world) == "All 3 symbols have 2024-05-30."
    change(world, f"delete from daily_prices where security_id = 2 and session = '{THU}'")
    assert said(world) == "2 of 3 have 2024-05-30; lacking: BBB (not requested yet)"


def test_days_that_failed_of_what_is_no_longer_kept_up_count_while_it_was_listed(
    world: World,
) -> None:
    world.load(end=FRI)
    change(
        world,
        "insert into symbol_day_ledger by name select 'daily_prices' as dataset, 1 as security_id,"
        " unnest([date '2020-05-21', date '2020-05-22']) as session, 'yahoo' as source,"
        f" 'failed' as outcome, 'no answer' as reason, now()::timestamp as asked_at, '{RUN}' as"
        " run_id, now()::timestamp as created_at, now()::timestamp as updated_at",
    )
    [lack] = verdict(world.platform).lacking
    assert lack.command == (
        "quant-assets backfill --symbols AAA --start 2020-05-21 --end 2020-05-22 --source yahoo"
    )
    change(world, "update securities set delisted_on = '2020-05-22' where security_id = 1")
    [lack] = verdict(world.platform).lacking
    assert (lack.symbol, lack.sessions) == ("AAA", 1)
    change(world, "update universe_membership set removed_on = '2020-05-21' where security_id = 1")
    assert said(world) == "All 2 symbols have 2024-05-31."


def test_a_chosen_symbol_that_was_never_stored_counts_until_it_is_given_up(world: World) -> None:
    world.load(end=FRI)
    error = "yahoo has no symbol NOPE. Look up its ticker."
    world.task("NOPE", "failed", attempts=3, error=error)
    change(
        world, f"update load_tasks set updated_at = '{EVENING:%Y-%m-%d %H:%M}' where attempts = 3"
    )
    assert said(world) == (
        "3 of 4 have 2024-05-31; lacking: "
        "NOPE (yahoo has no such symbol, attempt 3, next 23:40 UTC)"
    )
    world.task("NOPE", "failed", attempts=5, error=error)
    found = verdict(world.platform)
    assert (found.sentence(), found.unknown) == ("All 3 symbols have 2024-05-31.", {"NOPE": error})


def test_what_a_load_did_not_finish_is_resumed(world: World) -> None:
    world.load(end=FRI)
    world.task("NEW", "in_progress", attempts=0)
    listed = {"dataset": "market_snapshot", "source": "nasdaq", "attempts": 5}
    world.task("stocks", "failed", error="no answer", **listed)
    found = verdict(world.platform)
    assert found.sentence() == (
        "3 of 4 have 2024-05-31; lacking: NEW (its load is under way, or was stopped), "
        "stocks (given up: no answer, attempt 5)"
    )
    assert found.commands() == ["quant-assets resume", "quant-assets resume --retry-failed"]


def test_reasons_are_gathered_and_only_some_symbols_are_named() -> None:
    lacks = [
        Lack("daily_prices", f"S{n:03}", "yahoo", "yahoo is down. Wait", "x {}", 1, newest=True)
        for n in range(500)
    ]
    lacks += [
        Lack("daily_prices", f"T{n}", "yahoo", f"reason {n}", "x {}", newest=True, loaded=False)
        for n in range(4)
    ]
    found = Verdict(EVENING, [Stand("XNYS", FRI, 504)], lacks)
    assert found.sentence() == (
        "0 of 504 have 2024-05-31; lacking: S000, S001, S002, S003, S004 and 495 more "
        "(yahoo is down), T0 (reason 0), T1 (reason 1), and 2 more"
    )
