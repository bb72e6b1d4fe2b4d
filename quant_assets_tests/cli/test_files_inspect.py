"""``files inspect``: what is recognised, and that what is printed loads the files as they are."""

from __future__ import annotations

import bz2
import gzip
import json
import os
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet
import pytest
from typer.testing import CliRunner, Result

from quant_assets.cli.app import app
from quant_assets.settings.settings import load_settings
from quant_assets_tests.cli.vendor_layouts import DAYS, LAYOUTS, OHLCV, PRICES, STOOQ, rows

DONE, ATTENTION, USAGE = 0, 1, 2


def run(*words: str, home: Path) -> Result:
    environment = {"QUANT_ASSETS_CONFIG": "", "QUANT_ASSETS_HOME": str(home), "COLUMNS": "80"}
    return CliRunner().invoke(app, list(words), env=environment)


def written(folder: Path, files: Mapping[str, list[str]]) -> Path:
    for name, lines in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        text = ("\n".join(lines) + "\n").encode()
        path.write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    return folder


@pytest.mark.parametrize("name", LAYOUTS)
def test_what_is_printed_loads_the_files_as_they_stand(tmp_path: Path, name: str) -> None:
    layout = LAYOUTS[name]
    folder = written(tmp_path / "in [2025]", layout.files)
    shown = run("files", "inspect", str(folder), home=tmp_path / "none")
    beside = [name for name in layout.files if name.endswith(".md")]
    named = [f"Not loaded: {name} is neither CSV nor Parquet by its name.\n" for name in beside]
    assert (shown.exit_code, shown.stderr) == (DONE, "".join(named))
    assert [part for part in layout.block if part not in shown.stdout] == []
    assert layout.told in shown.stdout
    # The block and the command are taken from the screen, as a user takes them.
    after = shown.stdout[shown.stdout.index("[files.") :]
    block, _, rest = after.partition("Then load it:")
    command = rest.split()
    config = tmp_path / "quant_assets.toml"
    config.write_text(f'home = "data"\n{block}', "utf-8")
    loaded = CliRunner().invoke(app, ["--config", str(config), *command[1:]])
    assert loaded.exit_code == DONE, loaded.output
    with duckdb.connect(tmp_path / "data" / "warehouse.duckdb", read_only=True) as con:
        stored = con.execute(
            "select symbol, session::varchar, open, high, low, close, volume from daily_prices"
            " join symbol_history using (security_id) order by 1, 2"
        ).fetchall()
        actions = con.execute(
            "select kind, ratio, round(amount, 4) from corporate_actions order by ex_date, kind"
        ).fetchall()
    assert stored == layout.stored
    assert actions == layout.actions


GOOD = ["Date,Open,High,Low,Close,Volume", *rows(DAYS, PRICES, f"{{day}},{OHLCV}")]

REFUSED = {
    "a column a symbol": (
        {"closes.csv": ["Date,AAPL,MSFT", "2025-11-18,1,2"]},
        "closes.csv has a column a symbol (AAPL, MSFT) and one number a day.",
    ),
    "intraday": (
        {"AAPL.csv": ["timestamp,open,high,low,close,volume"]
         + [f"2025-11-18 09:3{n}:00,1,2,1,2,5" for n in range(3)]},
        "AAPL.csv has several bars a day (at 09:30:00, 09:31:00, …), 3 rows for 1 symbol-days.",
    ),
    "five minutes of stooq": (
        {"aapl.us.txt": [STOOQ, "AAPL.US,5,20251118,153000,1,2,1,2,5,0"]},
        "aapl.us.txt has bars of 5 minutes (its column <PER> has 5).",
    ),
    "two dates": (
        {"AAPL.csv": ["date,trade_date,open,high,low,close,volume",
                      "2025-11-19,2025-11-18,1,2,1,2,5"]},
        "two columns of dates that disagree: date has 2025-11-19 where trade_date has 2025-11-18",
    ),
    "no close": (
        {"AAPL.csv": ["Date,Open,High,Low,Adj Close,Volume", "2025-11-18,1,2,1,2,5"]},
        "AAPL.csv has no close; it has Date, Open, High, Low, Adj Close, Volume. An adjusted close",
    ),
    "no header": (
        {"AAPL.csv": ["2025-11-18,1,2,1,2,5"]},
        "AAPL.csv has no header: its first line is a row (2025-11-18,1,2,1,2,5).",
    ),
    "no symbol": ({"prices.csv": GOOD}, "has no column of symbols, and its name has no ticker."),
    "shortened": (
        {"AAPL.csv": ["Date,Price,Open,High,Low,Vol.", "2025-11-18,2,1,2,1,44.36M"]},
        "has shortened numbers such as 44.36M",
    ),
    "both orders": (
        {"AAPL.csv": ["Date,Open,High,Low,Close,Volume", "03/04/2025,1,2,1,2,5"]},
        "has dates such as 03/04/2025, which may be month/day/year or day/month/year",
    ),
    "a listing abroad": (
        {"VOD.L.csv": GOOD},
        "VOD.L.csv holds a listing of London (VOD.L). Listings outside the United States are not",
    ),
    "a listing abroad among others": (
        {"all.csv": [f"Symbol,{GOOD[0]}", *[f"AAPL,{GOOD[1]}"] * 300, f"VOD.L,{GOOD[1]}"]},
        "all.csv holds a listing of London (VOD.L).",
    ),
    "an index": (
        {"^GSPC.csv": GOOD},
        "^GSPC.csv has symbols that are none of stocks, funds or pairs: it is called ^GSPC.",
    ),
    "several currencies": (
        {"BTC-USD.csv": GOOD, "BTC-EUR.csv": GOOD},
        "Each has prices in EUR and USD. An archive is in one currency",
    ),
    "an exchange abroad": (
        {"all.csv": ["Code,Ex,Date,Open,High,Low,Close,Volume", "VOD,LSE,2025-11-18,1,2,1,2,5"]},
        "all.csv holds listings of London (its column Ex).",
    ),
    "days of another exchange": (
        {"AAPL.csv": ["Date,Open,High,Low,Close,Volume"]
         + [f"{day},1,2,1,2,5" for day in ("2025-07-04", "2025-09-01", "2025-12-25")]},
        "has rows on 3 of 3 days when New York was closed",
    ),
    "weekly": (
        {"AAPL.csv": ["Date,Open,High,Low,Close,Volume"]
         + [f"2025-{day},1,2,1,2,5" for day in ("10-06", "10-13", "10-20", "10-27", "11-03")]},
        "has a row every 7 days or more: weekly or monthly bars.",
    ),
    "events alone": (
        {"actions.csv": ["date,symbol,dividend,split", "2025-11-18,AAPL,1,0"]},
        "actions.csv has splits or dividends and no prices.",
    ),
    "a page": ({"AAPL.csv": ["<!DOCTYPE html><html>"]}, "AAPL.csv is a page (HTML or XML)"),
    "json": ({"AAPL.csv": ['{"error": "no key"}']}, "AAPL.csv is JSON."),
    "a currency of stooq": (
        {"eurusd.txt": [STOOQ, "EURUSD,D,20251118,000000,1,2,1,2,5,0"]},
        "eurusd.txt holds EURUSD: a currency, an index, a future or a coin, and no stock.",
    ),
    "odd tickers": (
        {"2025-11-18.csv": [f"Ticker,{GOOD[0]}", f"AAPL,{GOOD[1]}", f"X:Y,{GOOD[1]}"]},
        "has symbols that are none of stocks, funds or pairs: Ticker has X:Y.",
    ),
    "a close alone": (
        {"AAPL.csv": ["Date,Close", "2025-11-18,2"]},
        "AAPL.csv has no open, high, low, volume; it has Date, Close.",
    ),
    "blanks for commas": (
        {"AAPL.txt": [line.replace(",", "  ") for line in GOOD]},
        "AAPL.txt has blanks between its fields. Write commas, semicolons, tabs or bars",
    ),
    "longer rows": (
        {"AAPL.csv": [GOOD[0], *(f"{line}," for line in GOOD[1:])]},
        "AAPL.csv has rows of 7 fields under a header of 6.",
    ),
    "older than the calendar": (
        {"IBM.csv": ["Date,Open,High,Low,Close,Volume", "1961-12-29,1,2,1,2,5"]},
        "has no row that can be stored: all are older than 1990-01-02, where the known sessions",
    ),
    "two files that disagree": (
        {
            "a.csv": [f"Symbol,{GOOD[0]}", f"A,{GOOD[1]}"],
            "b.csv": [f"Symbol,{GOOD[0]}", "A,2025-11-18,1,2,1,2,5"],
        },
        "Each has no row that can be stored: another row of the same symbol and session differs.",
    ),
    "illegible dates": (
        {"AAPL.csv": [GOOD[0], "9999-12-31,1,2,1,2,5", "2025-13-45,1,2,1,2,5"]},
        "AAPL.csv has dates that can't be read, such as Date",
    ),
    "empty": ({"AAPL.csv": [""]}, "AAPL.csv is empty."),
    "header alone": ({"AAPL.csv": GOOD[:1]}, "AAPL.csv has a header and no rows."),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_can_t_be_loaded_is_refused_with_its_reason(tmp_path: Path, name: str) -> None:
    files, reason = REFUSED[name]
    shown = run("files", "inspect", str(written(tmp_path / "in", files)), home=tmp_path)
    assert (shown.exit_code, shown.stdout) == (ATTENTION, "")
    assert reason in shown.stderr
    assert "There is nothing here that can be loaded as it is." in shown.stderr


def test_a_workbook_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "prices.xlsx", "w") as book:
        book.writestr("xl/workbook.xml", "<workbook/>")
    shown = run("files", "inspect", str(tmp_path / "prices.xlsx"), home=tmp_path)
    assert shown.exit_code == ATTENTION
    assert "prices.xlsx is a workbook. Save each of its sheets as CSV" in shown.stderr


def test_files_that_do_not_belong_are_left_out_of_the_paths(tmp_path: Path) -> None:
    files = {
        "AAPL.csv": GOOD,
        "MSFT.csv": GOOD,
        "VOD.L.csv": GOOD,
        "meta.csv": ["Symbol,Name", "A,B"],
    }
    folder = written(tmp_path / "in", files)
    shown = run("files", "inspect", str(folder), "--json", home=tmp_path)
    assert shown.exit_code == DONE
    told = json.loads(shown.stdout)
    [archive] = told["archives"]
    assert archive["settings"]["paths"] == [str(folder / "AAPL.csv"), str(folder / "MSFT.csv")]
    assert (archive["rows"], archive["symbols"]) == (4, ["AAPL", "MSFT"])
    assert {Path(each["files"][0]).name for each in told["not_loaded"]} == {"VOD.L.csv", "meta.csv"}


def test_files_of_two_layouts_are_two_archives(tmp_path: Path) -> None:
    files = {"AAPL.csv": GOOD, "MSFT.txt": [line.replace(",", ";") for line in GOOD]}
    shown = run("files", "inspect", str(written(tmp_path / "in", files)), "--json", home=tmp_path)
    archives = json.loads(shown.stdout)["archives"]
    assert [each["name"] for each in archives] == ["in", "in_2"]
    assert [Path(*each["settings"]["paths"]).name for each in archives] == ["*.csv", "*.txt"]


def test_a_glob_is_kept_and_a_name_can_be_given(tmp_path: Path) -> None:
    folder = written(tmp_path, {"AAPL.csv": GOOD, "notes.csv": ["a"]})
    shown = run("files", "inspect", str(folder / "A*.csv"), "--name", "mine", home=tmp_path)
    assert f'[files.mine]\npaths = ["{folder}/A*.csv"]' in shown.stdout


def test_rows_that_will_not_be_stored_and_missing_sessions_are_told(tmp_path: Path) -> None:
    files = {"AAPL.csv": [
        GOOD[0], "1984-09-07,1,2,1,2,5", "2025-11-17,1,2,1,2,5", "2025-11-18,1,2,3,2,5",
        "2025-11-20,1,2,1,x,5", "2025-11-21,1,2,1,2,5",
    ]}  # fmt: skip
    shown = run("files", "inspect", str(written(tmp_path, files)), home=tmp_path)
    assert "2 rows of AAPL, 2025-11-17 to 2025-11-21, can be stored" in shown.stdout
    assert "one row is older than 1990-01-02, where the known sessions begin" in shown.stdout
    assert "2 rows go to quarantine, and a load then ends with 1" in shown.stdout
    assert "sessions are missing between the rows of a symbol" in shown.stdout


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("nowhere.csv",), "There is no file or folder"),
        (("empty",), "has no files."),
        ((".", "--name", "a b"), "letters, digits, - and _ only."),
    ],
)
def test_wrong_usage_is_told(tmp_path: Path, words: tuple[str, ...], complaint: str) -> None:
    (tmp_path / "empty").mkdir()
    refused = run("files", "inspect", str(tmp_path / words[0]), *words[1:], home=tmp_path)
    assert refused.exit_code == USAGE
    assert complaint in " ".join(refused.stderr.replace("│", " ").split())


def test_inspecting_stores_nothing(tmp_path: Path) -> None:
    written(tmp_path / "in", {"AAPL.csv": GOOD})
    run("files", "inspect", str(tmp_path / "in"), home=tmp_path / "data")
    assert not (tmp_path / "data").exists()
    assert load_settings({}, working_directory=tmp_path).files == {}


@pytest.mark.parametrize(
    ("name", "packed"),
    [
        ("AAPL.csv", lambda text: text.encode("utf-16")),
        ("AAPL.csv.bz2", lambda text: bz2.compress(text.encode())),
        ("AAPL.txt.gz", lambda text: gzip.compress(text.encode("utf-16"))),
    ],
)
def test_whatever_a_load_can_read_an_inspection_can(
    tmp_path: Path, name: str, packed: Callable[[str], bytes]
) -> None:
    lines = ["Date,Open,High,Low,Close,Volume", *rows(DAYS, PRICES, f"{{day}},{OHLCV}")]
    (tmp_path / name).write_bytes(packed("\n".join(lines) + "\n"))
    shown = run("files", "inspect", str(tmp_path), home=tmp_path / "none")
    assert shown.exit_code == DONE
    assert f"in the name of each file: {name} is AAPL." in shown.stdout
    assert f"{len(DAYS)} rows of AAPL" in shown.stdout


def test_a_packed_file_whose_name_hides_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "AAPL.csv").write_bytes(gzip.compress(b"Date,Open,High,Low,Close,Volume\n"))
    shown = run("files", "inspect", str(tmp_path), home=tmp_path / "none")
    assert shown.exit_code == ATTENTION
    assert "AAPL.csv has a name that does not tell its kind" in shown.stderr


def test_what_is_no_stock_of_stooqs_is_left_out_file_by_file(tmp_path: Path) -> None:
    symbols = ("AAPL.US", "EURUSD", "^SPX", "BTC.V", "VOD.UK", "GME.US")
    files = {
        f"world/{symbol.lower()}.txt": [STOOQ, f"{symbol},D,20251118,000000,1,2,1,2,5,0"]
        for symbol in symbols
    }
    shown = run("files", "inspect", str(written(tmp_path, files)), "--json", home=tmp_path)
    told = json.loads(shown.stdout)
    [archive] = told["archives"]
    assert archive["symbols"] == ["AAPL", "GME"]
    assert archive["settings"]["paths"] == [f"{tmp_path}/**/*.us.txt"]
    assert len(told["not_loaded"]) == 4


def test_columns_of_two_levels_in_parquet_are_refused_with_the_way_out(tmp_path: Path) -> None:
    names = [f"('{field}', 'AAPL')" for field in ("Open", "High", "Low", "Close", "Volume")]
    table = pa.table({**{name: [1.0] for name in names}, "Date": ["2025-11-18"]})
    pa.parquet.write_table(table, tmp_path / "d.parquet")
    shown = run("files", "inspect", str(tmp_path), home=tmp_path / "none")
    assert "d.parquet has a column for each field and symbol" in shown.stderr
    assert "frame.stack(level=1).reset_index()" in shown.stderr


def test_pipes_and_links_that_lead_nowhere_are_named_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "AAPL.csv").symlink_to("nowhere")
    piped = run("files", "inspect", str(tmp_path / "pipe.csv"), home=tmp_path / "none")
    assert piped.stderr.startswith("Not loaded: pipe.csv is no file, but a pipe of the system.")
    led = run("files", "inspect", str(tmp_path), home=tmp_path / "none")
    assert led.stderr.startswith("Not loaded: AAPL.csv can't be read: [Errno 2] No such file")
    nobody = run("files", "inspect", "~nobody-at-all/x", home=tmp_path / "none")
    assert (nobody.exit_code, nobody.stdout) == (USAGE, "")


def test_a_torn_line_below_the_header_is_no_part_of_it(tmp_path: Path) -> None:
    files = {"AAPL.csv": [GOOD[0], f'"{GOOD[1]}', *GOOD[2:]]}
    shown = run("files", "inspect", str(written(tmp_path, files)), home=tmp_path)
    assert shown.exit_code == DONE
    assert "header =" not in shown.stdout
    assert "one row of AAPL" in shown.stdout
