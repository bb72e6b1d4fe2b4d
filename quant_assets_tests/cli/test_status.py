"""``status`` and ``runs``: the verdict, the commands that mend, loads that failed or died."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import duckdb
import pytest

from quant_assets_tests.cli.test_cli import ARCHIVE, ATTENTION, BROKEN, DONE, WEEK, Shell

BAD = ARCHIVE.replace("MSFT,2024-05-22,30,32,29,32", "MSFT,2024-05-22,30,32,29,-32")


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def change(shell: Shell, sql: str) -> None:
    with duckdb.connect(str(shell.folder / "data" / "warehouse.duckdb")) as con:
        con.execute(sql)


def commands(told: str) -> list[str]:
    """The commands under "What mends it"."""
    return [line.strip() for line in told.split("What mends it:")[1].splitlines() if line]


def test_status_opens_with_the_verdict_and_ends_with_0_where_nothing_lacks(shell: Shell) -> None:
    shell("backfill", *WEEK)
    told = shell("status")
    assert told.exit_code == DONE
    assert told.stdout.splitlines()[0] == "All 2 symbols have 2024-05-22."
    assert shell("status", "--lacking").stdout == "All 2 symbols have 2024-05-22.\n"


def test_without_a_warehouse_lacking_ends_with_3_too(shell: Shell) -> None:
    assert shell("status", "--lacking").exit_code == BROKEN


def test_a_row_in_quarantine_is_mended_by_the_command_that_status_names(shell: Shell) -> None:
    (shell.folder / "prices.csv").write_text(BAD)
    shell("backfill", *WEEK)
    told = shell("status")
    assert told.exit_code == ATTENTION
    assert told.stdout.splitlines()[:2] == [
        "1 of 2 has 2024-05-22; lacking: MSFT (in quarantine: close is not positive)",
        "quant-assets status --lacking lists each, with the command that mends it.",
    ]
    assert "Rows in quarantine" in told.stdout
    (shell.folder / "prices.csv").write_text(ARCHIVE)
    [command] = commands(shell("status", "--lacking").stdout)
    day = "2024-05-22"
    assert command == (
        f"quant-assets backfill --symbols MSFT --start {day} --end {day} --source files:mine"
    )
    assert shell(*shlex.split(command)[1:]).exit_code == DONE
    told = shell("status")
    assert told.exit_code == DONE
    assert "Rows in quarantine" not in told.stdout


def test_what_lacks_is_listed_as_json_with_a_command_each(shell: Shell) -> None:
    (shell.folder / "prices.csv").write_text(BAD)
    shell("backfill", *WEEK)
    told = shell("status", "--lacking", "--json")
    found = json.loads(told.stdout)
    [row] = found["lacking"]
    assert told.exit_code == ATTENTION
    assert (row["symbol"], row["dataset"], row["source"]) == ("MSFT", "daily_prices", "files:mine")
    assert (row["first"], row["last"], row["sessions"]) == ("2024-05-22", "2024-05-22", 1)
    assert row["command"].startswith("quant-assets backfill --symbols MSFT --start 2024-05-22")
    assert json.loads(shell("status", "--json").stdout)["verdict"] == found


def test_a_symbol_that_was_never_stored_is_lacking(shell: Shell) -> None:
    assert shell("backfill", *WEEK, "--symbols", "AAPL,NOPE").exit_code == ATTENTION
    told = shell("status")
    assert told.exit_code == ATTENTION
    assert "NOPE (files:mine has no such symbol, attempt 1, next" in " ".join(told.stdout.split())


@pytest.mark.parametrize("columns", ["80", "120"])
def test_what_lacks_fits_the_terminal_but_for_the_commands(shell: Shell, columns: str) -> None:
    (shell.folder / "prices.csv").write_text(BAD)
    shell("backfill", *WEEK, "--symbols", "AAPL,MSFT,NOPE")
    told = shell("status", "--lacking", env={"COLUMNS": columns})
    table = told.stdout.split("\nLacking")[1].split("What mends it")[0]
    assert max(map(len, table.splitlines())) <= int(columns)
    assert "…" not in told.stdout


def test_a_vendor_file_that_can_t_be_read_is_in_status_until_a_load_reads_it(shell: Shell) -> None:
    shell.config.write_text(shell.config.read_text().replace("prices.csv", "*.csv"))
    (shell.folder / "second.csv").write_text("<html>503</html>")
    assert shell("backfill", *WEEK).exit_code == ATTENTION
    assert "second.csv" in shell("status").stdout
    [notice] = json.loads(shell("status", "--json").stdout)["notices"]
    assert notice["source"] == "files:mine"
    (shell.folder / "second.csv").unlink()
    shell("backfill", *WEEK, "--force")
    assert json.loads(shell("status", "--json").stdout)["notices"] == []


def test_the_failed_symbols_of_a_run_come_first(shell: Shell) -> None:
    shell("backfill", *WEEK, "--symbols", "AAPL,MSFT,NOPE")
    [run] = json.loads(shell("runs", "--json").stdout)
    assert run["state"] == "done"
    rows = json.loads(shell("runs", run["run_id"], "--json").stdout)
    assert [row["symbol"] for row in rows] == ["NOPE", "AAPL", "MSFT"]


def test_a_load_that_was_killed_says_so_with_what_it_stored(shell: Shell) -> None:
    shell("backfill", *WEEK)
    # As a kill leaves them: the totals are written at the end.
    change(shell, "update load_runs set finished_at = null, inserted = 0, requested = 0")
    change(shell, "update load_tasks set state = 'in_progress' where symbol = 'MSFT'")
    [run] = json.loads(shell("runs", "--json").stdout)
    assert (run["state"], run["inserted"]) == ("killed", 6)
    told = shell("runs", run["run_id"])
    assert " ".join(told.stderr.split()).endswith(
        "of daily_prices from files:mine was killed: 2 of 2 symbols done, 6 rows new. What it "
        "stored stays; quant-assets resume loads what is still lacking."
    )
    assert "killed" in shell("status").stdout
    change(
        shell,
        "insert into log_entries by name select uuid() as entry_id, now()::timestamp as"
        " said_at, 'INFO' as level, 'stopped by KeyboardInterrupt' as message, run_id, dataset,"
        " source, now()::timestamp as created_at, now()::timestamp as updated_at from load_runs",
    )
    assert "was stopped" in shell("runs", run["run_id"]).stderr
