"""The ``universe`` commands: what they print, where, and the code they end with."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import threading
import uuid
from collections.abc import Mapping, Sequence
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow as pa
import pytest
from typer.testing import CliRunner, Result

from quant_assets.cli.app import app
from quant_assets.schema.membership import MEMBERSHIP_CHANGES, MEMBERSHIP_CONFLICTS, UNIVERSES
from quant_assets.schema.table import Table
from quant_assets.warehouse.warehouse import Warehouse

DONE, ATTENTION, USAGE, BROKEN = 0, 1, 2, 3

SETTINGS = """\
home = "data"
source = "files:mine"

[files.mine]
paths = ["prices.csv"]
price_basis = "as_traded"
"""
PRICES = """\
symbol,date,open,high,low,close,volume
AAPL,2024-05-21,50,51,49,50.5,2000
AAPL,2024-05-22,50,51,44,45,2000
"""
LIST = """\
Symbol,Security,GICS Sector,GICS Sub-Industry,Date added,CIK
AAPL,Apple Inc.,Information Technology,Hardware,1982-11-30,320193
MSFT,Microsoft,Information Technology,Software,1994-06-01,789019
"""


class Shell:
    """A folder with settings and a list of two members, and the command line over it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.list = str(folder / "list.csv")
        (folder / "prices.csv").write_text(PRICES)
        (folder / "list.csv").write_text(LIST)
        (folder / "quant_assets.toml").write_text(SETTINGS)

    def __call__(
        self, *words: str, typed: str | None = None, env: Mapping[str, str] | None = None
    ) -> Result:
        config = str(self.folder / "quant_assets.toml")
        environment = {"QUANT_ASSETS_CONFIG": config, "COLUMNS": "80", **(env or {})}
        return CliRunner().invoke(app, ["universe", *words], input=typed, env=environment)

    def put(self, table: Table, *rows: Mapping[str, object]) -> None:
        fields = [field for field in table.arrow_schema if field.name in rows[0]]
        warehouse = Warehouse(self.folder / "data" / "warehouse.duckdb", lock_wait_seconds=5)
        with warehouse.writing(str(uuid.uuid4())) as writing:
            given = pa.Table.from_pylist(list(rows), schema=pa.schema(fields))  # type: ignore[arg-type]
            writing.upsert(table, given)


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """An index of two members with prices of one, and a change and a conflict; only read."""
    shell = Shell(tmp_path_factory.mktemp("two"))
    told = shell("import", "--from", shell.list, "--name", "two", "--on", "2024-05-22")
    assert told.exit_code == DONE, told.stderr
    config = {"QUANT_ASSETS_CONFIG": str(shell.folder / "quant_assets.toml")}
    backfill = ["backfill", "--start", "2024-05-21", "--end", "2024-05-22"]
    assert CliRunner().invoke(app, backfill, env=config).exit_code == DONE
    told_by = {"universe": "two", "kind": "index", "source": "list:list.csv"}
    passed = {"passed_over": "wikipedia: 403 Forbidden.", "listed_on": dt.date(2024, 5, 22)}
    shell.put(UNIVERSES, {**told_by, **passed})
    change = {"universe": "two", "security_id": 1, "source": "wikipedia"}
    shell.put(
        MEMBERSHIP_CHANGES,
        {
            **change,
            "change_id": 1,
            "kind": "added",
            "symbol": "MSFT",
            "former_symbol": None,
            "effective_on": dt.date(1994, 6, 1),
            "announced_on": dt.date(1994, 5, 25),
            "detected_at": dt.datetime(2024, 5, 22, 13, 5, tzinfo=dt.UTC),
            "reason": "Large.",
        },
        {
            **change,
            "change_id": 2,
            "kind": "renamed",
            "symbol": "AAPL",
            "former_symbol": "APLE",
            "effective_on": dt.date(2024, 5, 20),
            "announced_on": None,
            "detected_at": dt.datetime(2024, 5, 22, 13, 5, tzinfo=dt.UTC),
            "reason": None,
        },
    )
    conflict = {"universe": "two", "security_id": 1, "symbol": "AAPL", "source": "bundled"}
    shell.put(
        MEMBERSHIP_CONFLICTS,
        {
            **conflict,
            "from_on": dt.date(2024, 5, 22),
            "says_member": False,
            "cause": "does not know of the stay",
            "decided_by": "list",
        },
    )
    return shell


class QuietServer(SimpleHTTPRequestHandler):
    def log_message(self, *words: object) -> None:
        return


def lines(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines() if line.strip()]


def test_an_import_says_who_joined_and_a_second_one_that_nobody_did(shell: Shell) -> None:
    words = ("import", "--from", shell.list, "--name", "two", "--on", "2024-05-22")
    told = shell(*words, "--json")
    assert told.exit_code == DONE, told.stderr
    assert json.loads(told.stdout)["members"] == 2
    again = shell(*words)
    assert again.stdout.startswith("two: 2 members, 2 intervals in all; 0 added, 0 removed.")
    assert shell(*words, "--csv").stdout.split() == ["symbol,what"]


def test_a_universe_is_imported_from_the_simulated_market_where_that_is_the_source(
    shell: Shell,
) -> None:
    env = {"QUANT_ASSETS_SOURCE": "simulated", "QUANT_ASSETS_SIMULATED__SYMBOLS": "2"}
    told = shell("import", "--json", env=env)
    assert told.exit_code == DONE, told.stderr
    assert json.loads(told.stdout)["members"] == 2


def test_a_member_whose_ticker_of_the_day_is_not_known_is_named(
    shell: Shell, tmp_path: Path
) -> None:
    history = tmp_path / "history.csv"
    history.write_text("ticker,start_date,end_date\nQQZZQ,1996-01-02,2003-03-14\nKO,1996-01-02,\n")
    assert shell("import", "--from", str(history)).exit_code == DONE
    shown = shell("show", "--on", "2000-06-30")
    assert (
        "ticker these had on 2000-06-30 is not known here; shown is the one of the list: QQZZQ."
    ) in " ".join(shown.stdout.split())


@pytest.mark.parametrize("words", [("two",), ("--name", "two"), ("two", "--name", "two")])
def test_members_are_shown_with_how_many_have_prices_and_where_they_come_from(
    two: Shell, words: Sequence[str]
) -> None:
    shown = two("show", *words, "--on", "2024-05-22")
    assert (shown.exit_code, shown.stderr) == (DONE, "")
    found = lines(shown.stdout)
    assert found[1][:4] == ["AAPL", "*", "Apple", "Inc."]
    assert found[2][:2] == ["MSFT", "Microsoft"]
    foot = shown.stdout.split("two on ")[1]
    assert foot.startswith("2024-05-22: 2 members, 1 of them with prices here.\nFrom list:list.csv")
    assert "its list of 2024-05-22" in foot
    assert "A fallback; better sources did not answer: wikipedia: 403 Forbidden." in foot
    assert "* Of 1 member a source says otherwise." in foot


def test_members_are_rows_as_json_and_as_csv(two: Shell) -> None:
    rows = json.loads(two("show", "two", "--on", "2024-05-22", "--json").stdout)
    assert [(row["symbol"], row["removed_on"]) for row in rows] == [("AAPL", None), ("MSFT", None)]
    assert [row["disputed"] for row in rows] == [True, False]
    table = csv.DictReader(io.StringIO(two("show", "two", "--csv").stdout))
    assert [row["effective_on"] for row in table] == ["1982-11-30", "1994-06-01"]


def test_a_day_before_the_history_is_said_to_be_one(two: Shell) -> None:
    partly = two("show", "two", "--on", "1990-01-02")
    assert partly.exit_code == DONE
    assert partly.stderr.startswith(
        "Members of two are known from 2024-05-22 on; shown are those of later lists that had "
        "joined by then. A history imported with"
    )
    empty = two("show", "two", "--on", "1970-01-02", "--json")
    assert (empty.exit_code, json.loads(empty.stdout)) == (ATTENTION, [])
    assert empty.stderr.startswith("Members of two are known from 2024-05-22 on. A history")


def test_universes_are_listed_and_a_fallback_flagged(two: Shell) -> None:
    [head, row] = lines(two("list").stdout)
    assert head == ["universe", "kind", "members", "known", "from", "updated", "source"]
    assert row[:4] == ["two", "index", "2", "2024-05-22"]
    assert row[-3:] == ["list:list.csv", "(a", "fallback)"]
    [as_json] = json.loads(two("list", "--json").stdout)
    assert as_json["passed_over"] == "wikipedia: 403 Forbidden."
    assert as_json["known_from"] == "2024-05-22"


def test_changes_are_shown_by_universe_day_and_symbol(two: Shell) -> None:
    [head, added, renamed] = lines(two("changes", "two").stdout)
    assert head == ["detected", "effective", "announced", "kind", "symbol", "source", "reason"]
    assert " ".join(added) == "2024-05-22 1994-06-01 1994-05-25 added MSFT wikipedia Large."
    assert renamed == ["2024-05-22", "2024-05-20", "renamed", "APLE", "→", "AAPL", "wikipedia"]
    since = two("changes", "--since", "2024-05-01", "--csv").stdout
    assert [row["symbol"] for row in csv.DictReader(io.StringIO(since))] == ["AAPL"]
    of_one = json.loads(two("changes", "--symbol", "msft", "--json").stdout)
    assert [(row["kind"], row["effective_on"]) for row in of_one] == [("added", "1994-06-01")]


def test_a_conflict_says_who_disagrees_why_and_whom_we_followed(two: Shell) -> None:
    told = two("conflicts", "two", "--open", "--symbol", "AAPL").stdout
    [head, *rows] = told.strip().split("\n\n")
    assert head == "bundled says otherwise:"
    [columns, row] = lines(rows[0])
    assert " ".join(columns) == "symbol it says from why we followed"
    assert " ".join(row) == "AAPL no member 2024-05-22 does not know of the stay list"
    assert json.loads(two("conflicts", "--json").stdout)[0]["says_member"] is False


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("changes", "--since", "2100-01-01"), "No such change is on record"),
        (("conflicts", "--symbol", "MSFT"), "No such disagreement is on record"),
    ],
)
def test_nothing_to_show_is_a_sentence_with_what_to_do_next(
    two: Shell, words: Sequence[str], sentence: str
) -> None:
    told = two(*words)
    assert told.exit_code == DONE
    assert told.stdout.startswith(sentence)
    assert "quant-assets universe import" in told.stdout
    assert json.loads(two(*words, "--json").stdout) == []


def test_a_universe_of_ones_own_is_made_changed_and_shown(shell: Shell) -> None:
    made = shell("create", "mine", "aapl,MSFT", "brk-b")
    assert (made.exit_code, made.stderr) == (DONE, "")
    assert made.stdout.splitlines() == [
        "mine: 3 added (AAPL, MSFT, BRK.B). It has 3 members now.",
        "Not loaded yet: AAPL, MSFT, BRK.B. quant-assets refresh --universe mine loads what is "
        "missing.",
    ]
    again = shell("add", "mine", "AAPL")
    assert again.exit_code == DONE
    assert again.stdout.splitlines() == [
        "mine: nothing to change. It has 3 members now.",
        "Already a member: AAPL.",
    ]
    removed = shell("remove", "mine", "MSFT,XOM", "--json")
    assert json.loads(removed.stdout) == [
        {"symbol": "MSFT", "what": "removed", "note": ""},
        {"symbol": "XOM", "what": "not a member", "note": ""},
    ]
    shown = shell("show", "mine")
    assert [line[0] for line in lines(shown.stdout)[1:3]] == ["AAPL", "BRK.B"]
    assert "A universe of your own, last changed on" in shown.stdout
    kinds = [row["kind"] for row in json.loads(shell("changes", "mine", "--json").stdout)]
    assert kinds == ["added", "added", "added", "removed"]


def test_symbols_come_from_a_file_or_standard_input_too(shell: Shell) -> None:
    assert "2 added (AAPL, MSFT)" in shell("create", "mine", "--from", shell.list).stdout
    typed = shell("add", "mine", "--from", "-", typed='[{"ticker": "JPM"}, "C"]')
    assert "2 added (JPM, C)" in typed.stdout
    assert "1 removed (C)" in shell("remove", "mine", "--from", "-", typed="C\n").stdout
    imported = shell("import", "--name", "mine", "--from", "-", typed="GE\nF\n")
    assert (imported.exit_code, imported.stderr) == (DONE, "")
    assert "2 added (GE, F). It has 5 members now." in imported.stdout
    assert json.loads(shell("list", "--json").stdout)[0]["kind"] == "custom"


def test_symbols_come_from_an_address_too(shell: Shell) -> None:
    serve = partial(QuietServer, directory=str(shell.folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), serve) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        made = shell("create", "mine", "--from", f"{address}/list.csv")
        missing = shell("add", "mine", "--from", f"{address}/gone.csv?key=secret")
        server.shutdown()
    assert "2 added (AAPL, MSFT)" in made.stdout
    assert (missing.exit_code, missing.stdout) == (BROKEN, "")
    assert "404" in missing.stderr
    assert "secret" not in missing.stderr


def test_invalid_symbols_are_named_and_left_out_only_when_told_so(shell: Shell) -> None:
    refused = shell("create", "mine", "AAPL", "A B", "?")
    assert (refused.exit_code, refused.stdout) == (USAGE, "")
    assert refused.stderr.startswith("Error: Of 3, these can't be symbols: 'A B', '?'.")
    assert not (shell.folder / "data").exists()
    made = shell("create", "mine", "AAPL", "A B", "?", "--skip-invalid")
    assert made.exit_code == ATTENTION
    assert "1 added (AAPL)" in made.stdout
    assert "Invalid: A B, ?." in made.stdout


def test_listings_abroad_are_refused_or_left_out_by_their_exchange(shell: Shell) -> None:
    refused = shell("create", "mine", "AAPL", "VOD.L", "7203 JP")
    assert (refused.exit_code, refused.stdout) == (USAGE, "")
    assert refused.stderr.startswith("Error: VOD.L is a listing of London, the United Kingdom.")
    assert not (shell.folder / "data").exists()
    made = shell("create", "mine", "AAPL", "VOD.L", "7203 JP", "--skip-invalid")
    assert made.exit_code == ATTENTION
    assert "1 added (AAPL)" in made.stdout
    assert "Left out: VOD.L is a listing of London, the United Kingdom." in made.stderr
    assert "Left out: 7203 JP is a listing of Tokyo, Japan." in made.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("show",), "There is no universe sp500; stored: two."),
        (("show", "two", "--name", "one"), "two and --name one are two universes"),
        (("changes", "nope"), "There is no universe nope; stored: two."),
        (("conflicts", "--symbol", "A B"), "'A B' is not a symbol"),
        (("create", "Two"), "'Two' can't name a universe"),
        (("create", "sp500", "AAPL"), "sp500 is an index"),
        (("create", "two"), "There is a universe two already"),
        (("add", "two", "AAPL"), "two is an index: its members come from lists"),
        (("add", "nope", "AAPL"), "There is no universe nope; stored: two."),
        (("add", "two"), "No symbol was named"),
        (("remove", "two", "AAPL"), "universe import --name two --from FILE"),
        (("create", "mine", "--from", "settings.py"), "settings.py can't be read"),
    ],
)
def test_wrong_usage_says_what_is_wrong_on_standard_error(
    two: Shell, words: Sequence[str], message: str
) -> None:
    told = two(*words)
    said = " ".join(told.stderr.replace("│", " ").split())
    assert message in said
    assert told.stdout == ""
    assert told.exit_code == (BROKEN if "--from" in words else USAGE)


def test_a_list_without_symbols_is_refused_with_the_forms_there_are(shell: Shell) -> None:
    shell("create", "mine")
    refused = shell("add", "mine", "--from", "-", typed="name,sector\nApple,IT\n")
    assert refused.exit_code == USAGE
    assert refused.stderr.startswith(
        "Error: standard input has no column symbol or ticker. A list of symbols is CSV"
    )


def test_an_empty_universe_says_how_to_fill_it(shell: Shell) -> None:
    assert shell("create", "mine").exit_code == DONE
    told = shell("show", "mine")
    assert told.exit_code == ATTENTION
    assert told.stderr == "mine has no members yet: quant-assets universe add mine AAPL MSFT.\n"


def test_a_list_of_a_day_to_come_is_refused_and_an_accepted_one_taken_back(shell: Shell) -> None:
    words = ("import", "--from", shell.list, "--name", "two")
    refused = shell(*words, "--on", "2962-11-27")
    assert refused.exit_code == USAGE
    assert "The list is of 2962-11-27, and today is" in " ".join(refused.stderr.split())
    assert shell(*words, "--on", "2024-05-22").exit_code == DONE
    assert shell("take-back", "two", "--on", "2024-05-21").exit_code == USAGE
    undone = shell("take-back", "two", "--on", "2024-05-22", "--json")
    assert undone.exit_code == DONE
    assert json.loads(undone.stdout)["members"] == 0


def test_a_page_without_a_table_of_changes_is_imported_without_a_fault(shell: Shell) -> None:
    page = shell.folder / "page.html"
    page.write_text(
        "<table><tr><th>Symbol</th><th>Security</th></tr><tr><td>AAPL</td><td>Apple</td></tr>"
        "</table>"
    )
    told = shell("import", "--from", str(page), "--name", "two")
    assert told.exit_code == DONE
    assert "has no table of changes" in " ".join((told.stdout + told.stderr).split())
