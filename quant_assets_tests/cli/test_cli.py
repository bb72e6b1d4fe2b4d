"""The command line: what it prints, where, and the code it ends with."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import duckdb
import pytest
import typer.main
from typer.testing import CliRunner, Result

from quant_assets.cli.app import app
from quant_assets.cli.terminal import status
from quant_assets.cli.terminal.tables import print_rows
from quant_assets.journal.handlers import LEVELS
from quant_assets.schema.loads import PRIORITIES
from quant_assets.warehouse.writer_lock import WriterLock

ROOT = Path(__file__).parents[2]
DONE, ATTENTION, USAGE, BROKEN = 0, 1, 2, 3

ARCHIVE = """\
symbol,date,open,high,low,close,volume,div,split_ratio
AAPL,2024-05-20,100,101,99,100,1000,0,1
AAPL,2024-05-21,50,51,49,50.5,2000,0,2
AAPL,2024-05-22,50,51,44,45,2000,5,1
MSFT,2024-05-20,30,31,29,30,500,0,1
MSFT,2024-05-21,30,31,29,31,500,0,1
MSFT,2024-05-22,30,32,29,32,500,0,1
"""
SETTINGS = """\
home = "data"
source = "files:mine"

[files.mine]
paths = ["prices.csv"]
price_basis = "as_traded"
columns = { dividend = "div", split = "split_ratio" }

[files.other]
paths = ["gone/*.csv"]
price_basis = "as_traded"
"""
WEEK = ("--start", "2024-05-20", "--end", "2024-05-22")


class Shell:
    """A folder with an archive and settings, and the command line over it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "quant_assets.toml"
        (folder / "prices.csv").write_text(ARCHIVE)
        self.config.write_text(SETTINGS)

    def __call__(self, *words: str, env: Mapping[str, str] | None = None) -> Result:
        """Run a command; a flag before it may be given as the first word."""
        environment = {"QUANT_ASSETS_CONFIG": str(self.config), "COLUMNS": "80", **(env or {})}
        return CliRunner().invoke(app, list(words), env=environment)


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A shell whose archive is loaded; tests only read it."""
    shell = Shell(tmp_path_factory.mktemp("loaded"))
    assert shell("backfill", *WEEK).exit_code == DONE
    return shell


def commands() -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        inner = getattr(command, "commands", None)
        found += [(name, each) for each in inner] if inner else [(name,)]
    return found


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_every_command_explains_itself_and_its_options(
    shell: Shell, words: tuple[str, ...]
) -> None:
    shown = shell(*words, "--help")
    assert shown.exit_code == DONE
    assert "Usage:" in shown.stdout
    command = typer.main.get_command(app)
    for word in words:
        command = command.commands[word]  # type: ignore[attr-defined]
    assert command.help
    unexplained = [each.name for each in command.params if not getattr(each, "help", "")]
    assert unexplained == []


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_every_command_is_in_the_readme(words: tuple[str, ...]) -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    assert " ".join(words) in readme


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (("--help",), (*LEVELS, "off")),
        (("refresh", "--help"), PRIORITIES),
        (("refresh", "--help"), ("default: daily_prices",)),
    ],
)
def test_the_help_names_every_value_that_an_option_takes(
    shell: Shell, words: tuple[str, ...], names: tuple[str, ...]
) -> None:
    told = " ".join(shell(*words).stdout.replace("│", " ").split())
    assert [name for name in names if name not in told] == []


@pytest.mark.parametrize(
    ("words", "unneeded"),
    [
        (("--help",), {"dagster", "duckdb", "numpy", "pandas", "pyarrow", "pydantic", "requests"}),
        (("status", "--help"), {"dagster", "duckdb", "numpy", "pandas", "pyarrow", "requests"}),
        (("status",), {"dagster", "lxml", "pandas", "requests", "yfinance"}),
    ],
)
def test_a_command_starts_without_the_libraries_that_it_does_not_need(
    loaded: Shell, words: tuple[str, ...], unneeded: set[str]
) -> None:
    code = (
        "import atexit, sys\n"
        "atexit.register(lambda: sys.stderr.write(' '.join(sys.modules)))\n"
        "from quant_assets.cli.app import main\n"
        "main(sys.argv[1:])\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", code, *words],
        env={**os.environ, "PYTHONPATH": str(ROOT), "QUANT_ASSETS_CONFIG": str(loaded.config)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert unneeded & set(told.stderr.split()) == set()


def test_without_a_command_the_help_is_shown(shell: Shell) -> None:
    assert "backfill" in shell().output


def test_a_backfill_says_what_it_loaded_and_a_second_one_that_nothing_is_due(
    shell: Shell,
) -> None:
    first = shell("backfill", *WEEK)
    assert first.exit_code == DONE
    assert first.stdout.startswith("files:mine: 6 rows new, 0 revised, 0 unchanged;")
    assert "2 symbols, 2024-05-20 to 2024-05-22" in first.stdout
    second = shell("backfill", *WEEK)
    assert second.exit_code == DONE
    assert second.stdout.startswith("Nothing due: 2 symbols have every session")
    assert second.stderr == ""


def test_a_dry_run_says_what_it_would_ask_for_and_writes_nothing(shell: Shell) -> None:
    for more in ((), ("--dagster",)):
        told = shell("backfill", *WEEK, "--dry-run", *more)
        assert told.exit_code == DONE
        assert told.stdout.startswith("Would ask files:mine for 2 symbols, 6 symbol-days")
    as_json = json.loads(shell("backfill", *WEEK, "--dry-run", "--json").stdout)
    assert as_json["dry_run"]
    assert as_json["totals"]["requested"] == 6
    assert not (shell.folder / "data").exists()


def test_symbols_may_be_spelt_in_any_way_and_twice(shell: Shell) -> None:
    told = shell("backfill", *WEEK, "--symbols", "aapl, AAPL,", "--json")
    report = json.loads(told.stdout)
    assert told.stderr == ""
    assert [row["symbol"] for row in report["symbols"]] == ["AAPL"]
    assert report["totals"]["inserted"] == 3


def test_bad_rows_and_unknown_symbols_need_attention_and_are_listed(shell: Shell) -> None:
    bad = ARCHIVE.replace("MSFT,2024-05-22,30,32,29,32", "MSFT,2024-05-22,30,32,29,-32")
    (shell.folder / "prices.csv").write_text(bad)
    told = shell("backfill", *WEEK, "--symbols", "AAPL,MSFT,NOPE")
    assert told.exit_code == ATTENTION
    assert "5 rows new" in told.stdout
    table = told.stdout.split("Needs attention")[1]
    assert "NOPE" in table
    assert "has no symbol NOPE" in " ".join(table.split())
    assert "MSFT" in table
    assert "AAPL" not in table
    assert json.loads(shell("status", "--json").stdout)["quarantine"]
    assert shell("status").exit_code == ATTENTION


WRONG: list[tuple[tuple[str, ...], str]] = [
    (("backfill", "--source", "nope"), "There is no source 'nope'"),
    (
        ("backfill", "--source", "files"),
        "settings know files:mine, files:other, yahoo, simulated",
    ),
    (("backfill", "--start", "2024-13-01"), "'2024-13-01' is not a day; write one like 2024-05-31"),
    (("backfill", "--start", "May"), "'May' is not a day"),
    (
        ("backfill", "--start", "2024-06-01", "--end", "2024-05-01"),
        "start 2024-06-01 is after end 2024-05-01",
    ),
    (("backfill", "--start", "2024-06-01", "--days", "3"), "--start and --days"),
    (
        ("backfill", "--start", "2024-05-25", "--end", "2024-05-26"),
        "None of 2024-05-25 to 2024-05-",
    ),
    (("backfill", "--symbols", ","), "No symbol is named"),
    (("prices", "AAPL", "--start", "2024-05-22", "--end", "2024-05-21"), "2024-05-22 is after end"),
    (("prices", "AAPL", "--end", "2999-01-01"), "end=2999-01-01 is in the future"),
    (("market", "--on", "2999-01-01"), "on=2999-01-01 is in the future"),
    (("universe", "show", "--on", "2999-01-01"), "on=2999-01-01 is in the future"),
    (("backfill", "--start", "2030-01-02", "--end", "2030-01-05"), "No session from 2030-01-02 on"),
    (("backfill", *WEEK, "--symbols", "A B"), "'A B' is not a symbol"),
    (("backfill", "--dagster", "--fail-fast"), "not for a --dagster run"),
    (("backfill", "--source", "simulated", *WEEK), "The warehouse holds rows of files:mine"),
    (
        ("backfill", "--source", "simulated", "--dagster", *WEEK),
        "The warehouse holds rows of files:mine",
    ),
    (("demo",), "Use another data folder (QUANT_ASSETS_HOME)"),
    (("prices", "NOPE"), "NOPE is not known here"),
    (("prices", "99"), "Security 99 is not known here"),
    (
        ("prices", "AAPL", "--adjust", "full"),
        "adjust is one of 'none', 'split', 'total_return'; got 'full'",
    ),
    (("prices", "AAPL", "--source", "nope"), "No rows of source nope are stored"),
    (("prices",), "Missing argument"),
    (("nonsense",), "No such command 'nonsense'"),
    (("status", "--nonsense"), "No such option"),
    (("--config", "gone.toml", "status"), "There is no settings file"),
]


@pytest.mark.parametrize(("words", "message"), WRONG, ids=[" ".join(words) for words, _ in WRONG])
def test_wrong_usage_ends_with_2_and_says_what_is_wrong_on_standard_error(
    loaded: Shell, words: tuple[str, ...], message: str
) -> None:
    if "files" in words:
        loaded.config.write_text(SETTINGS.replace('source = "files:mine"', ""))
    told = loaded(*words)
    loaded.config.write_text(SETTINGS)
    assert message in " ".join(told.stderr.replace("│", " ").split())
    assert (told.exit_code, told.stdout) == (USAGE, "")


def test_a_misspelt_setting_ends_with_2(shell: Shell) -> None:
    told = shell("status", env={"QUANT_ASSETS_HOEM": "x"})
    assert (told.exit_code, told.stdout) == (USAGE, "")
    assert "Unknown setting hoem" in told.stderr


@pytest.mark.parametrize("where", ["environment", "file"])
def test_a_day_that_is_none_in_the_settings_is_told_by_its_key(shell: Shell, where: str) -> None:
    environment = {"QUANT_ASSETS_PARTITION_START": "2024-13-01"}
    if where == "file":
        environment = {}
        shell.config.write_text('partition_start = "2024-13-01"\n' + SETTINGS)
    told = shell("status", env=environment)
    assert (told.exit_code, told.stdout) == (USAGE, "")
    assert "partition_start" in told.stderr


def test_a_missing_warehouse_ends_with_3_and_the_way_to_one(shell: Shell) -> None:
    for words in (("status", "--json"), ("prices", "AAPL"), ("universe", "show")):
        told = shell(*words)
        assert (told.exit_code, told.stdout) == (BROKEN, "")
        assert "Make one with quant-assets demo" in told.stderr


def test_an_unreadable_source_ends_with_3(shell: Shell) -> None:
    told = shell("backfill", "--source", "files:other", *WEEK, "--json")
    assert (told.exit_code, told.stdout) == (BROKEN, "")
    assert "gone" in told.stderr


def test_a_busy_warehouse_ends_with_3_and_names_its_holder(shell: Shell) -> None:
    assert shell("backfill", *WEEK).exit_code == DONE
    lock = WriterLock(shell.folder / "data" / "warehouse.lock")
    with lock.held(1, "a load elsewhere"):
        told = shell("backfill", "--force", *WEEK, env={"QUANT_ASSETS_LOCK_WAIT_SECONDS": "0"})
    assert (told.exit_code, told.stdout) == (BROKEN, "")
    assert "a load elsewhere" in told.stderr


def test_a_newer_schema_ends_with_3(shell: Shell) -> None:
    assert shell("backfill", *WEEK).exit_code == DONE
    with duckdb.connect(str(shell.folder / "data" / "warehouse.duckdb")) as con:
        con.execute("insert into schema_version values (999, now()::timestamp)")
    told = shell("status")
    assert (told.exit_code, told.stdout) == (BROKEN, "")
    assert "schema version 999" in told.stderr


def test_a_data_folder_that_can_t_be_made_ends_with_3(shell: Shell) -> None:
    (shell.folder / "data").write_text("a file where the folder should be")
    told = shell("backfill", *WEEK)
    assert (told.exit_code, told.stdout) == (BROKEN, "")
    assert "Check that the folder exists, may be written" in told.stderr


def test_what_was_not_foreseen_is_one_line_and_the_traceback_only_with_debug(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(values: object) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr(status, "print_settings", breaks)
    told = shell("config", "show")
    assert (told.exit_code, told.stdout) == (BROKEN, "")
    assert told.stderr.startswith("Error: KeyError: 'a bug'\n")
    assert "quant-assets --debug" in told.stderr
    assert isinstance(shell("--debug", "config", "show").exception, KeyError)


def test_prices_are_a_table_csv_or_json(loaded: Shell) -> None:
    asked = ("prices", "AAPL", *WEEK)
    table = loaded(*asked).stdout.splitlines()
    assert table[0].split() == ["symbol", "session", "open", "high", "low", "close", "volume"]
    assert table[1].split() == ["AAPL", "2024-05-20", "100.0", "101.0", "99.0", "100.0", "1,000"]
    rows = list(csv.DictReader(io.StringIO(loaded(*asked, "--csv").stdout)))
    assert len(rows) == 3
    assert rows[1] == {
        "symbol": "AAPL",
        "session": "2024-05-21",
        "open": "50.0",
        "high": "51.0",
        "low": "49.0",
        "close": "50.5",
        "volume": "2000",
    }
    found = json.loads(loaded(*asked, "--json", "--adjust", "total_return").stdout)
    assert [row["close"] for row in found] == pytest.approx([45, 45.45, 45])
    assert [row["session"] for row in found] == ["2024-05-20", "2024-05-21", "2024-05-22"]
    to = loaded(*asked, "--json", "--adjust", "split", "--adjust-to", "2024-05-20").stdout
    assert [row["close"] for row in json.loads(to)] == [100, 101, 90]


def test_prices_may_be_asked_for_by_security_id(loaded: Shell) -> None:
    with duckdb.connect(str(loaded.folder / "data" / "warehouse.duckdb"), read_only=True) as con:
        found = con.execute("select security_id from symbol_history where symbol = 'MSFT'")
        number = str((found.fetchone() or ("",))[0])
    rows = json.loads(loaded("prices", number, *WEEK, "--json").stdout)
    assert [(row["symbol"], row["close"]) for row in rows] == [
        ("MSFT", 30),
        ("MSFT", 31),
        ("MSFT", 32),
    ]


@pytest.mark.parametrize(
    ("form", "printed"),
    [((), ""), (("--json",), "[]\n"), (("--csv",), "symbol,session,open,high,low,close,volume\n")],
)
def test_days_without_prices_need_attention(
    loaded: Shell, form: tuple[str, ...], printed: str
) -> None:
    told = loaded("prices", "AAPL", "--start", "2020-01-02", "--end", "2020-02-01", *form)
    assert (told.exit_code, told.stdout) == (ATTENTION, printed)
    assert "no rows of AAPL from 2020-01-02 to 2020-02-01" in told.stderr
    assert "Missing: AAPL: nothing in this range; stored are 2024-05-20 to" in told.stderr


def test_a_symbol_that_lacks_sessions_needs_attention_and_says_which(loaded: Shell) -> None:
    told = loaded("prices", "AAPL", "--start", "2024-05-20", "--end", "2024-05-24", "--csv")
    assert (told.exit_code, len(told.stdout.splitlines())) == (ATTENTION, 4)
    assert told.stderr == (
        "Missing: AAPL: 2 of 5 sessions lacking, 2024-05-23 to 2024-05-24: never requested.\n"
    )


def test_a_backfill_begins_with_the_first_session_known(shell: Shell) -> None:
    for words in (("--start", "1990-01-01"), ("--days", "20000")):
        told = shell("backfill", *words, "--end", "2024-05-22", "--dry-run")
        assert told.exit_code == DONE
        assert "2 symbols, " in told.stdout
        assert ", 1990-01-02 to 2024-05-22; " in told.stdout
        assert told.stderr.startswith("Sessions are known from 1990-01-02 on; the load begins the")


@pytest.mark.parametrize("columns", ["80", "120"])
def test_status_fits_the_terminal_without_cutting_a_name(loaded: Shell, columns: str) -> None:
    told = loaded("status", env={"COLUMNS": columns})
    assert told.exit_code == DONE
    # Below the verdict stands the path, and is as long as that is.
    lines = told.stdout.splitlines()[2:]
    assert max(map(len, lines)) <= int(columns)
    assert "…" not in told.stdout
    runs = lines[lines.index(next(line for line in lines if line.startswith("The last loads"))) :]
    assert len(runs) == 4, runs
    assert runs[-1].split()[4:] == ["done", "6", "0", "0", "0"]
    assert json.loads(loaded("status", "--json").stdout)["sources"][0]["rows"] == 6


def test_numbers_stand_to_the_right_under_one_another(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows("T", [{"what": "a", "rows": 5}, {"what": "b", "rows": 12_345}])
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines[-2:] == ["a          5", "b     12,345"]


def test_a_flag_beats_the_environment_which_beats_the_file(shell: Shell) -> None:
    def seen(*words: str, env: Mapping[str, str] | None = None) -> object:
        values = json.loads(shell(*words, "config", "show", "--json", env=env).stdout)
        return values["source"], values["default_days"]

    other = shell.folder / "other.toml"
    other.write_text('source = "simulated"\ndefault_days = 7\n')
    assert seen() == ("files:mine", 365)
    assert seen(env={"QUANT_ASSETS_SOURCE": "simulated"}) == ("simulated", 365)
    assert seen("--config", str(other)) == ("simulated", 7)
    assert seen("--config", str(other), env={"QUANT_ASSETS_DEFAULT_DAYS": "9"}) == ("simulated", 9)
    told = shell("backfill", *WEEK, "--dry-run", env={"QUANT_ASSETS_SOURCE": "simulated"})
    assert told.stdout.startswith("Would ask simulated")
    told = shell(
        *("backfill", *WEEK, "--dry-run", "--source", "files:mine"),
        env={"QUANT_ASSETS_SOURCE": "simulated"},
    )
    assert told.stdout.startswith("Would ask files:mine")


def test_settings_are_shown_a_line_each(shell: Shell) -> None:
    lines = shell("config", "show").stdout.splitlines()
    assert 'source = "files:mine"' in lines
    assert "simulated.symbols = 20" in lines
    assert 'files.mine.columns.dividend = "div"' in lines
    assert f'home = "{shell.folder / "data"}"' in lines


def test_the_data_dictionary_is_printed_as_markdown(shell: Shell) -> None:
    assert "daily_prices" in shell("config", "dictionary").stdout


def test_progress_goes_to_standard_error_and_says_symbols_done() -> None:
    code = (
        "import time; from quant_assets.cli.terminal.console import progress\n"
        "with progress(quiet=False) as step:\n"
        "    for done in range(5):\n"
        "        step(done, 5, 'x'); time.sleep(0.4)\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert told.stdout == ""
    assert told.stderr.splitlines() == ["loading: 3 of 5 symbols done"]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("config", "show", "--json"), DONE),
        (("prices", "AAPL", "--start", "2020-01-02", "--end", "2020-01-03"), ATTENTION),
        (("prices", "NOPE"), USAGE),
        (("--config", "gone.toml", "status"), USAGE),
    ],
)
def test_a_shell_gets_the_exit_code_and_no_traceback(
    loaded: Shell, words: tuple[str, ...], code: int
) -> None:
    told = subprocess.run(
        [sys.executable, "-W", "default", "-m", "quant_assets.cli", *words],
        env={**os.environ, "PYTHONPATH": str(ROOT), "QUANT_ASSETS_CONFIG": str(loaded.config)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert told.returncode == code, told.stderr
    assert "Traceback" not in told.stderr
    assert (told.stderr == "") == (code == DONE)


@pytest.mark.slow
def test_the_demo_and_a_backfill_through_dagster_print_nothing_but_json(shell: Shell) -> None:
    opening = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=60)
    env = {"QUANT_ASSETS_SIMULATED__START": f"{opening}", "QUANT_ASSETS_SIMULATED__SYMBOLS": "2"}
    told = shell("demo", "--json", env=env)
    assert told.exit_code == DONE, told.stderr
    assert told.stderr.split() == [
        "✓",
        "sp500_universe",
        "✓",
        "daily_prices",
        "✓",
        "corporate_actions",
        "✓",
        "market_snapshot",
    ]
    facts = json.loads(told.stdout)
    assert facts["symbols"] == 2
    assert facts["rows"] == 2 * facts["sessions"]
    asked = ("--start", facts["first_session"], "--end", facts["first_session"])
    told = shell("backfill", "--source", "simulated", "--dagster", *asked, "--json", env=env)
    assert (told.exit_code, told.stderr) == (DONE, "")
    assert json.loads(told.stdout)["success"]


@pytest.mark.parametrize(
    "words",
    [
        ("backfill", "--source", "yahoo", "--symbols", "AAPL,VOD.L", *WEEK),
        ("backfill", "--source", "simulated", "--symbols", "AAPL,VOD.L", *WEEK),
        ("refresh", "--source", "yahoo", "--symbols", "VOD.L"),
        ("refresh", "--source", "simulated", "--symbols", "VOD.L"),
        ("quickstart", "VOD.L"),
    ],
    ids=lambda words: words[0],
)
def test_a_listing_abroad_is_refused_before_anything_is_asked(
    shell: Shell, words: tuple[str, ...]
) -> None:
    refused = shell(*words, env={"QUANT_ASSETS_SOURCE": "yahoo"})
    assert refused.exit_code == USAGE
    assert "VOD.L is a listing of London, the United Kingdom." in refused.stderr
    assert not (shell.folder / "data" / "warehouse.duckdb").exists()
