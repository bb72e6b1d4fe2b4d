"""The command line over datasets: which of them a refresh brings up to date, and what it says."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from quant_assets.cli.app import app
from quant_assets.cli.exits import DONE, USAGE
from quant_assets.reference.calendars import NEW_YORK, exchange_calendar
from quant_assets.warehouse.warehouse import Warehouse
from quant_assets.warehouse.writer_lock import utc_now

TODAY = utc_now().astimezone(NEW_YORK).date()
CLOSED = (TODAY, TODAY + dt.timedelta(days=1))
"""A holiday, so that at no time of day a session is under way."""
LAST = exchange_calendar("XNYS", CLOSED).last_closed_session(utc_now())


class Shell:
    """A data folder of simulated prices, on a holiday, and the command line over it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            "QUANT_ASSETS_HOME": str(folder),
            "QUANT_ASSETS_SOURCE": "simulated",
            "QUANT_ASSETS_SIMULATED__SYMBOLS": "5",
            "QUANT_ASSETS_SIMULATED__START": str(LAST - dt.timedelta(days=10)),
            "QUANT_ASSETS_EXTRA_CLOSURES": ",".join(map(str, CLOSED)),
            "COLUMNS": "200",
        }

    def __call__(self, *words: str, env: Mapping[str, str] | None = None) -> Result:
        return CliRunner().invoke(app, list(words), env={**self.environment, **(env or {})})


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def said(result: Result) -> str:
    """What stands on standard error, without the frame around it."""
    return " ".join(result.stderr.replace("│", " ").split())


def test_a_refresh_of_the_market_brings_it_once_and_the_second_finds_nothing_due(
    shell: Shell,
) -> None:
    first = shell("refresh", "--datasets", "market_snapshot")
    assert first.exit_code == DONE, first.output
    assert first.stdout.startswith(
        "market_snapshot from simulated: 5 rows new, 0 revised, 0 unchanged; 0 quarantined, "
        "0 failed; 1 list, "
    )
    second = shell("refresh", "--datasets", "market_snapshot")
    assert second.exit_code == DONE, second.output
    assert second.stdout == (
        "Nothing due: market_snapshot from simulated, 1 list up to date. Nothing was written.\n"
    )
    with Warehouse(shell.folder / "warehouse.duckdb").reading() as con:
        stored = con.execute(
            "select feed, session, count(*) from market_snapshot group by all"
        ).fetchall()
    assert stored == [("simulated", LAST, 5)]


def test_the_report_of_the_market_is_json_where_asked(shell: Shell) -> None:
    told = shell("refresh", "--datasets", "market_snapshot", "--json")
    [report] = json.loads(told.stdout)["loads"]
    assert (told.exit_code, told.stderr, report["source"]) == (DONE, "", "simulated")
    assert [(row["symbol"], row["inserted"]) for row in report["symbols"]] == [("simulated", 5)]
    assert not report["needs_attention"]


def test_a_dry_run_of_the_market_writes_nothing(shell: Shell) -> None:
    told = shell("refresh", "--datasets", "market_snapshot", "--dry-run")
    assert told.exit_code == DONE
    assert told.stdout == (
        "Would ask for market_snapshot from simulated: 1 list. Nothing was requested and nothing "
        "written.\n"
    )
    assert not (shell.folder / "warehouse.duckdb").exists()


@pytest.mark.parametrize("datasets", ["daily_prices,market_snapshot", "all"])
def test_prices_and_the_market_come_one_after_the_other_in_one_command(
    shell: Shell, datasets: str
) -> None:
    assert shell("backfill", "--days", "10").exit_code == DONE
    told = shell("refresh", "--datasets", datasets, "--json")
    loads = json.loads(told.stdout)["loads"]
    assert told.exit_code == DONE, told.output
    assert [[row["symbol"] for row in load["symbols"]] for load in loads] == [[], ["simulated"]]
    again = json.loads(shell("refresh", "--datasets", datasets, "--json").stdout)["loads"]
    assert [load["totals"]["settled"] for load in again] == [5, 1]


def test_a_refresh_that_names_no_dataset_is_of_prices_alone(shell: Shell) -> None:
    assert shell("backfill", "--days", "10").exit_code == DONE
    assert shell("refresh").stdout.startswith("Nothing due: 5 symbols")
    with Warehouse(shell.folder / "warehouse.duckdb").reading() as con:
        assert con.execute("select count(*) from market_snapshot").fetchall() == [(0,)]


WRONG: list[tuple[tuple[str, ...], str]] = [
    (
        ("--datasets", "nonsense"),
        "There is no dataset 'nonsense'; known are daily_prices, market_snapshot, all.",
    ),
    (
        ("--datasets", "market_snapshot,nonsense"),
        "There is no dataset 'nonsense'; known are daily_prices, market_snapshot, all.",
    ),
    (
        ("--datasets", "market_snapshot", "--symbols", "AAPL"),
        "market_snapshot comes whole; symbols and universe are not for it.",
    ),
    (
        ("--datasets", "daily_prices,market_snapshot", "--universe", "sp500"),
        "market_snapshot comes whole; symbols and universe are not for it.",
    ),
    (
        ("--datasets", "daily_prices,market_snapshot", "--source", "simulated"),
        "source is for one dataset; name it with datasets.",
    ),
    (
        ("--datasets", "market_snapshot", "--source", "yahoo"),
        "There is no source 'yahoo'. The settings know nasdaq, nasdaqtrader, simulated.",
    ),
    (
        ("--datasets", "market_snapshot", "--source", "nasdaq"),
        "The prices of this data folder are simulated, so nasdaq is not asked for market_snapshot.",
    ),
]


@pytest.mark.parametrize(("words", "message"), WRONG, ids=[" ".join(words) for words, _ in WRONG])
def test_what_makes_no_sense_ends_with_2_and_says_why(
    shell: Shell, words: tuple[str, ...], message: str
) -> None:
    told = shell("refresh", *words)
    assert message in said(told)
    assert (told.exit_code, told.stdout) == (USAGE, "")
    assert not (shell.folder / "warehouse.duckdb").exists()


def test_a_dataset_that_the_settings_leave_out_ends_with_2_and_is_no_part_of_all(
    shell: Shell,
) -> None:
    without = {"QUANT_ASSETS_DATASETS__MARKET_SNAPSHOT__ENABLED": "false"}
    told = shell("refresh", "--datasets", "market_snapshot", env=without)
    assert (told.exit_code, told.stdout) == (USAGE, "")
    assert "market_snapshot is switched off here: " in said(told)
    assert shell("backfill", "--days", "10").exit_code == DONE
    told = shell("refresh", "--datasets", "all", "--json", env=without)
    assert len(json.loads(told.stdout)["loads"]) == 1


def test_there_is_nothing_to_resume_after_a_market_that_came_whole(shell: Shell) -> None:
    assert shell("refresh", "--datasets", "market_snapshot").exit_code == DONE
    told = shell("resume")
    assert (told.exit_code, told.stdout) == (DONE, "There is nothing to resume.\n")


def test_prices_that_are_switched_off_are_loaded_where_a_source_is_named(shell: Shell) -> None:
    off = {"QUANT_ASSETS_DATASETS__DAILY_PRICES__ENABLED": "false"}
    told = shell("refresh", "--symbols", "XDADA", env=off)
    assert told.exit_code == USAGE
    assert "daily_prices is switched off here: " in said(told)
    assert (
        shell("refresh", "--symbols", "XDADA", "--source", "simulated", env=off).exit_code == DONE
    )
