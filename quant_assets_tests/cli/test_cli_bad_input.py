"""What could not be read reaches the person: in the output of the command and in its exit code."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from quant_assets.cli.app import app
from quant_assets.cli.terminal.console import say
from quant_assets.cli.terminal.tables import print_csv

SETTINGS = (
    'home = "data"\nsource = "files:v"\n[files.v]\npaths = ["in"]\nprice_basis = "as_traded"\n'
)
TEXT = "symbol,date,open,high,low,close,volume\nAAA,2024-05-20,1,2,1,2,5\n"
WEEK = ("--start", "2024-05-20", "--end", "2024-05-20")

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    (tmp_path / "quant_assets.toml").write_text(SETTINGS)
    (tmp_path / "in").mkdir()
    environment = {"QUANT_ASSETS_CONFIG": str(tmp_path / "quant_assets.toml"), "COLUMNS": "200"}
    return lambda *words: CliRunner().invoke(app, list(words), env=environment)


def test_a_file_that_is_not_read_is_named_and_sets_the_exit_code(run: Run, tmp_path: Path) -> None:
    (tmp_path / "in" / "AAA.csv").write_text(TEXT)
    (tmp_path / "in" / "BBB.zip").write_text(TEXT)
    found = run("backfill", *WEEK)
    assert found.exit_code == 1
    assert "1 rows new" in found.output
    assert "Note: BBB.zip is neither CSV nor Parquet by its name." in found.output


def test_where_nothing_can_be_read_the_reason_is_told(run: Run, tmp_path: Path) -> None:
    (tmp_path / "in" / "day.csv").write_text(TEXT.replace("2024-05-20", "1763442000000000000"))
    for words in (("backfill", *WEEK), ("backfill", *WEEK, "--symbols", "AAA")):
        found = run(*words)
        assert found.exit_code == 3
        assert (
            "day.csv: 1 rows can't be read; the first: session can't be read: "
            "'1763442000000000000'" in found.output
        )


@pytest.mark.parametrize(
    ("text", "sentence", "code"),
    [
        ('["AAA", null]', "'JSON null'", 2),
        ('["AAA", true, NaN]', "'JSON true'", 2),
        ('[{"ticker": "AAA"}, {"ticker": null}]', "'JSON null'", 2),
        ("[" * 300_000, "is not JSON: it is nested too deeply.", 2),
        ("[" + "9" * 6_000 + "]", "is not JSON: Exceeds the limit", 2),
        ('ticker\nAAA\n"' + "x" * 140_000 + '"\n', "is not CSV: field larger than", 2),
        ("AAA " + "x" * 14_000, "xxx…", 2),
        ("AAA " + "x" * 140_000, "is not CSV: field larger than", 2),
    ],
)
def test_a_list_that_can_not_be_read_is_an_ordinary_error(
    run: Run, tmp_path: Path, text: str, sentence: str, code: int
) -> None:
    path = tmp_path / "list.txt"
    path.write_text(text)
    found = run("universe", "create", "mine", "--from", str(path))
    assert sentence in found.output.replace("\n", " ")
    assert "was not expected" not in found.output
    assert found.exit_code == code
    assert len(found.output) < 2_000


def test_a_list_with_a_name_that_can_not_be_stored_is_imported(run: Run, tmp_path: Path) -> None:
    members = [{"symbol": f"A{chr(65 + n)}", "name": "\ud800=cmd|x \x1b[31m"} for n in range(20)]
    path = tmp_path / "list.json"
    path.write_text(json.dumps(members))
    config = tmp_path / "quant_assets.toml"
    config.write_text(SETTINGS + "[universe]\nsizes = [1, 515]\n")
    assert run("universe", "import", "--from", str(path)).exit_code == 0
    shown = run("universe", "show", "sp500", "--csv").output
    assert "'=cmd|x [31m" in shown
    assert "\x1b" not in shown


def test_an_export_has_texts_that_no_spreadsheet_runs_and_its_numbers_unchanged(
    capsys: pytest.CaptureFixture[str],
) -> None:
    frame = pd.DataFrame({"name": ["=1+1", "Apple", None, "-5"], "net": [-1.5, 2.0, None, -0.25]})
    print_csv(frame)
    assert capsys.readouterr().out == "name,net\n'=1+1,-1.5\nApple,2.0\n,\n-5,-0.25\n"


def test_no_sentence_steers_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    say("\x1b]0;title\x07\x1b[31mred \ud800end")
    assert capsys.readouterr().out == "]0;title[31mred end\n"
