"""``reconcile``: what it calls a difference, what it leaves alone, and its messages.

Runs happen in this process, over an archive of three companies; loads beside Dagster stand for
whatever made the two sides differ.
"""

from __future__ import annotations

import datetime as dt
import json
import re
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from quant_assets.cli.app import app
from quant_assets.cli.in_process import backfill_prices, materialize_asset, reconcile_prices
from quant_assets.loading.work import Window
from quant_assets.orchestration.instance.instance import open_instance
from quant_assets.orchestration.runs.dataset_asset import PRICES
from quant_assets.orchestration.runs.partitions import SYMBOLS
from quant_assets.orchestration.runs.reconcile import Differences, compare
from quant_assets.settings.settings import load_settings
from quant_assets.warehouse.liveness import alive
from quant_assets.wiring.platform import Platform
from quant_assets_tests.orchestration.test_dagster import (
    ALL,
    BROKEN,
    EMPTY_ONES,
    FRI,
    GOOD,
    HEADER,
    MEMBERS,
    MENDED,
    RED_ONES,
    THU,
    TUE,
    WED,
    Folder,
    colours,
)
from quant_assets_tests.standins.loads import load_prices

RUN = "00000000-0000-0000-0000-000000000001"


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data folders to copy: one with the universe alone, and one in which all is green."""
    path = tmp_path_factory.mktemp("prepared")
    folder = with_archive(path)
    folder.load_universe()
    shutil.copytree(path / "data", path / "universe")
    assert folder.materialize().success
    (path / "data").rename(path / "green")
    return path


def with_archive(path: Path) -> Folder:
    """Three tickers and a good archive of them."""
    (path / "members.csv").write_text(MEMBERS, "utf-8")
    folder = Folder(path)
    folder.archive(GOOD, MENDED)
    return folder


@pytest.fixture
def folder(tmp_path: Path, prepared: Path) -> Folder:
    """The universe, and nothing loaded."""
    shutil.copytree(prepared / "universe", tmp_path / "data")
    return with_archive(tmp_path)


@pytest.fixture
def green(tmp_path: Path, prepared: Path) -> Folder:
    """The universe, and every symbol-day materialized."""
    shutil.copytree(prepared / "green", tmp_path / "data")
    return with_archive(tmp_path)


def found(folder: Folder) -> Differences:
    with folder.instance() as instance:
        return compare(folder.platform(), instance, asset=PRICES)


def keys(differences: Differences, which: str) -> set[str]:
    listed = differences.to_dict()[which]
    assert isinstance(listed, list)
    return set(listed)


def forget(folder: Folder, where: str) -> None:
    """Delete some prices of the warehouse, and their rows of the ledger."""
    with folder.platform().warehouse.writing(RUN) as writing:
        for table in ("daily_prices", "symbol_day_ledger"):
            writing.con.execute(f"delete from {table} where {where}")


# --- what is stored and not green ----------------------------------------------------------------


def test_where_both_sides_agree_there_is_nothing_to_do(green: Folder) -> None:
    differences = found(green)
    assert not differences.any
    assert differences.compared == len(ALL)


def test_what_was_never_loaded_is_no_difference(folder: Folder) -> None:
    differences = found(folder)
    assert not differences.any
    assert differences.compared == len(ALL)
    assert folder.colours() == {"green": set(), "red": set()}


def test_rows_loaded_without_dagster_turn_green(folder: Folder) -> None:
    folder.load_without_dagster("AAPL", "MSFT")
    expected = {key for key in ALL if not key.endswith("PLTR")}
    assert keys(found(folder), "unseen") == expected
    assert reconcile_prices(folder.platform()).success
    assert folder.colours() == {"green": expected, "red": set()}
    assert not found(folder).any


def test_a_confirmed_absence_turns_green_as_an_absence(folder: Folder) -> None:
    folder.load_without_dagster("PLTR")
    assert reconcile_prices(folder.platform()).success
    assert folder.colours()["green"] == {f"{d}|PLTR" for d in (TUE, WED, THU, FRI)}
    for key in EMPTY_ONES:
        assert folder.materialization(key).metadata["outcome"].value == "empty"
    assert folder.materialization(f"{FRI}|PLTR").metadata["outcome"].value == "present"


def test_reconciling_twice_tells_nothing_new(folder: Folder) -> None:
    folder.load_without_dagster("AAPL", "MSFT", "PLTR")
    assert reconcile_prices(folder.platform()).success
    before = folder.events()
    assert before == {"ASSET_MATERIALIZATION": len(ALL)}
    assert reconcile_prices(folder.platform()).success
    assert folder.events() == before


def test_a_ticker_with_data_gets_its_partitions(folder: Folder) -> None:
    folder.archive(GOOD, MENDED, "IBM,2024-05-31,10,11,9,10.5,100\n")
    folder.load_without_dagster("IBM")
    assert found(folder).tickers == ("IBM",)
    assert reconcile_prices(folder.platform()).success
    with folder.instance() as instance:
        assert set(instance.get_dynamic_partitions(SYMBOLS)) == {"AAPL", "IBM", "MSFT", "PLTR"}
    assert f"{FRI}|IBM" in folder.colours()["green"]
    assert not found(folder).any


# --- what is green and not stored ----------------------------------------------------------------


def test_exactly_what_is_green_without_data_turns_red_and_a_backfill_mends_it(
    green: Folder,
) -> None:
    forget(green, f"session = '{THU}'")
    lost = {f"{THU}|{symbol}" for symbol in ("AAPL", "MSFT", "PLTR")}
    assert keys(found(green), "lost") == lost
    assert green.colours() == {"green": ALL, "red": set()}
    run = reconcile_prices(green.platform())
    assert not run.success
    assert "3 symbol-days were green and the warehouse does not have them" in run.failure
    assert run.facts["lost"] == 3
    assert green.colours() == {"green": ALL - lost, "red": lost}
    assert not found(green).any
    assert green.backfill("AAPL", "MSFT", "PLTR").success
    assert green.colours() == {"green": ALL, "red": set()}


def test_a_lost_warehouse_turns_everything_red(green: Folder) -> None:
    green.platform().settings.warehouse_path.unlink()
    assert keys(found(green), "lost") == ALL
    assert not reconcile_prices(green.platform()).success
    assert green.colours() == {"green": set(), "red": ALL}


def test_a_lost_history_is_reported_again(green: Folder) -> None:
    shutil.rmtree(green.path / "data" / "dagster")
    differences = found(green)
    assert differences.tickers == ("AAPL", "MSFT", "PLTR")
    assert keys(differences, "unseen") == ALL
    assert reconcile_prices(green.platform()).success
    assert green.colours() == {"green": ALL, "red": set()}


# --- failures ------------------------------------------------------------------------------------


def test_a_failure_on_record_turns_red(folder: Folder) -> None:
    folder.archive(GOOD, BROKEN)
    folder.load_without_dagster("MSFT")
    assert keys(found(folder), "unseen_failures") == RED_ONES
    run = reconcile_prices(folder.platform())
    assert not run.success
    assert "2 had failed to load unnoticed" in run.failure
    good = {f"{TUE}|MSFT", f"{FRI}|MSFT"}
    assert folder.colours() == {"green": good, "red": RED_ONES}
    assert not found(folder).any


def test_what_is_red_already_is_no_difference(folder: Folder) -> None:
    folder.archive(GOOD, BROKEN)
    assert not folder.materialize().success
    assert folder.colours()["red"] == RED_ONES
    assert not found(folder).any


def test_what_is_red_and_has_been_loaded_since_turns_green(folder: Folder) -> None:
    folder.archive(GOOD, BROKEN)
    assert not folder.materialize().success
    folder.archive(GOOD, MENDED)
    folder.load_without_dagster("MSFT")
    assert keys(found(folder), "unseen") == RED_ONES
    assert reconcile_prices(folder.platform()).success
    assert folder.colours() == {"green": ALL, "red": set()}


# --- loads under way -----------------------------------------------------------------------------


def claim(folder: Folder, *symbols: str) -> None:
    with folder.platform().warehouse.writing(RUN) as writing:
        for symbol in symbols:
            writing.con.execute(
                "insert into load_claims by name select 'daily_prices' as dataset,"
                " 'files:ours' as source, ? as symbol, cast(? as uuid) as run_id,"
                " now()::timestamp as created_at, now()::timestamp as updated_at",
                [symbol, RUN],
            )


def test_symbols_of_a_load_under_way_are_left_out(folder: Folder) -> None:
    folder.load_without_dagster("AAPL", "MSFT")
    claim(folder, "AAPL")
    with alive(folder.platform().warehouse.runs, RUN):
        differences = found(folder)
        assert differences.busy == ("AAPL",)
        assert {key.split("|")[1] for key in keys(differences, "unseen")} == {"MSFT"}
        assert reconcile_prices(folder.platform()).success
        assert {key.split("|")[1] for key in folder.colours()["green"]} == {"MSFT"}
    assert found(folder).busy == ()
    assert {key.split("|")[1] for key in keys(found(folder), "unseen")} == {"AAPL"}


def test_the_claim_of_a_dead_load_leaves_nothing_out(folder: Folder) -> None:
    folder.load_without_dagster("AAPL")
    claim(folder, "AAPL")
    differences = found(folder)
    assert differences.busy == ()
    assert {key.split("|")[1] for key in keys(differences, "unseen")} == {"AAPL"}


# --- tickers that were not always borne ----------------------------------------------------------


def simulated(folder: Path, start: dt.date, now: dt.datetime) -> Platform:
    """A market in which the tenth company is renamed at its session 119; seen at ``now``."""
    flags = {
        "home": folder / "data",
        "source": "simulated",
        "partition_start": start,
        "simulated": {"symbols": 10, "start": dt.date(2024, 1, 2)},
    }
    settings = load_settings({}, flags=flags, working_directory=folder)
    return Platform(settings, clock=lambda: now)


def sides(platform: Platform) -> dict[str, set[str]]:
    with open_instance(platform.settings.home_path) as instance:
        return colours(instance, platform)


def test_a_renamed_ticker_gets_partitions_and_its_history_without_fetching(tmp_path: Path) -> None:
    """2024-06-24 is the first day of the new ticker; there are sessions on both sides of it."""
    start, renamed = dt.date(2024, 6, 17), dt.date(2024, 6, 24)
    before = simulated(tmp_path, start, dt.datetime(2024, 6, 22, 12, tzinfo=dt.UTC))
    after = simulated(tmp_path, start, dt.datetime(2024, 6, 29, 12, tzinfo=dt.UTC))
    old, new = "XDAFU", "ZDAFU"
    assert materialize_asset(before, "sp500_universe").success
    assert backfill_prices(before, [old], start, dt.date(2024, 6, 21)).success
    assert {key.split("|")[1] for key in sides(before)["green"]} == {old}
    source = after.price_source()
    assert new in source.symbols()
    load_prices(
        after.warehouse,
        source,
        Window((new,), renamed, dt.date(2024, 6, 28)),
        after.calendar,
        identities=after.identities(source),
    )
    with open_instance(after.settings.home_path) as instance:
        assert compare(after, instance, asset=PRICES).tickers == (new,)
    assert reconcile_prices(after).success
    green = sides(after)["green"]
    for day in after.calendar.between(start, dt.date(2024, 6, 28)):
        assert f"{day}|{new}" in green
    assert sides(after)["red"] == set()
    with open_instance(after.settings.home_path) as instance:
        assert not compare(after, instance, asset=PRICES).any


def test_days_on_which_a_ticker_had_no_bearer_stay_grey_unless_requested(tmp_path: Path) -> None:
    """XDALI is delisted after session 87 and comes to another company with session 148."""
    start, end = dt.date(2024, 7, 29), dt.date(2024, 8, 9)
    platform = simulated(tmp_path, start, dt.datetime(2024, 8, 10, 12, tzinfo=dt.UTC))
    reused = next(s for s, of in platform.simulated_market()._by_ticker.items() if len(of) > 1)
    source = platform.price_source()
    days = platform.calendar.between(start, end)
    load_prices(
        platform.warehouse,
        source,
        Window((reused,), days[-2], end),
        platform.calendar,
        identities=platform.identities(source),
    )
    assert reconcile_prices(platform).success
    assert sides(platform)["green"] == {f"{day}|{reused}" for day in days[-2:]}
    assert backfill_prices(platform, [reused], start, end).success
    assert sides(platform)["green"] == {f"{day}|{reused}" for day in days}
    with open_instance(platform.settings.home_path) as instance:
        assert not compare(platform, instance, asset=PRICES).any


# --- the command ---------------------------------------------------------------------------------

SETTINGS = """\
home = "data"
source = "files:ours"
partition_start = 2024-05-28

[universe]
intervals = "members.csv"

[files.ours]
paths = ["prices.csv"]
price_basis = "as_traded"
"""


def shell(folder: Folder, *words: str) -> Result:
    config = folder.path / "quant_assets.toml"
    config.write_text(SETTINGS, "utf-8")
    environment = {"QUANT_ASSETS_CONFIG": str(config), "COLUMNS": "100"}
    return CliRunner().invoke(app, ["reconcile", *words], env=environment)


def cells(text: str, what: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.rstrip().endswith(what)]
    return [re.split(r"\s{2,}", line.strip()) for line in lines]


def test_the_command_says_that_all_agrees(green: Folder) -> None:
    shown = shell(green)
    assert shown.exit_code == 0
    assert shown.stdout.endswith("symbol-days compared; Dagster and the warehouse agree.\n")


def test_a_dry_run_lists_stretches_changes_nothing_and_asks_for_attention(green: Folder) -> None:
    forget(green, f"session in ('{WED}', '{THU}')")
    before = green.events()
    shown = shell(green, "--dry-run")
    assert shown.exit_code == 1
    assert cells(shown.stdout, "green without data") == [
        [symbol, str(WED), str(THU), "2", "green without data"]
        for symbol in ("AAPL", "MSFT", "PLTR")
    ]
    assert "6 green without data" in shown.stdout
    assert "Nothing was changed. quant-assets reconcile mends it." in shown.stdout
    assert green.events() == before


def test_the_command_turns_what_was_lost_red_and_says_to_load_it(green: Folder) -> None:
    forget(green, f"session = '{THU}'")
    shown = shell(green)
    assert shown.exit_code == 1
    assert len(cells(shown.stdout, "was green without data; red now")) == 3
    assert "Load the red ones again: quant-assets backfill --dagster" in shown.stdout
    assert len(green.colours()["red"]) == 3
    assert shell(green).exit_code == 0


def test_the_command_ends_well_where_it_only_turned_things_green(folder: Folder) -> None:
    folder.load_without_dagster("AAPL")
    assert shell(folder, "--dry-run").exit_code == 1
    shown = shell(folder)
    assert shown.exit_code == 0
    assert cells(shown.stdout, "in the warehouse; green now") == [
        ["AAPL", str(TUE), str(FRI), "4", "in the warehouse; green now"]
    ]


def test_the_command_names_failures_and_symbols_being_loaded(folder: Folder) -> None:
    folder.archive(GOOD, BROKEN)
    folder.load_without_dagster("AAPL", "MSFT")
    claim(folder, "AAPL")
    with alive(folder.platform().warehouse.runs, RUN):
        shown = shell(folder, "--dry-run")
    assert shown.exit_code == 1
    assert cells(shown.stdout, "failed, not red") == [
        ["MSFT", str(WED), str(THU), "2", "failed, not red"]
    ]
    assert "AAPL is being loaded, and was left out." in shown.stdout


def test_the_machine_readable_form_names_every_key(green: Folder) -> None:
    forget(green, f"session = '{FRI}'")
    planned = json.loads(shell(green, "--dry-run", "--json").stdout)
    assert planned["lost"] == [f"{FRI}|{symbol}" for symbol in ("AAPL", "MSFT", "PLTR")]
    assert planned["unseen"] == planned["unseen_failures"] == planned["tickers"] == []
    assert (planned["dry_run"], planned["run_id"]) == (True, None)
    done = json.loads(shell(green, "--json").stdout)
    assert done["lost"] == planned["lost"]
    assert done["run_id"]


def test_the_command_on_an_empty_folder_finds_nothing(tmp_path: Path) -> None:
    (tmp_path / "members.csv").write_text(MEMBERS, "utf-8")
    (tmp_path / "prices.csv").write_text(HEADER, "utf-8")
    shown = shell(Folder(tmp_path))
    assert shown.exit_code == 0
    assert shown.stdout == "0 symbol-days compared; Dagster and the warehouse agree.\n"
