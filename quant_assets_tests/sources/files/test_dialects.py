"""What a declaration can say of a vendor's way of writing: headers, symbols, dates, numbers."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pyarrow as pa
import pytest

from quant_assets.contracts.source import BadAnswer
from quant_assets.settings.sources import FilesArchive
from quant_assets_tests.sources.files.test_files_source import (
    DAY_ROWS,
    GOOD,
    HEADER,
    MONDAY,
    as_parquet,
    ask,
    prices,
    source,
    unreadable,
    write,
)


@pytest.mark.parametrize("place", ["a.csv", "*.csv", "", "**/*.csv"])
def test_brackets_in_a_folders_name_are_no_glob(tmp_path: Path, place: str) -> None:
    folder = tmp_path / "prices [2024]"
    write(folder / "a.csv", HEADER, *GOOD)
    assert prices(ask(source(str(folder / place)))) == DAY_ROWS


def test_hidden_files_are_left_out(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", HEADER, *GOOD)
    (tmp_path / "._a.csv").write_bytes(b"\x00\x05\x16\x07")
    for place in ("", "*.csv"):
        answer = ask(source(str(tmp_path / place)))
        assert (prices(answer), answer.notices) == (DAY_ROWS, ())


def test_headers_in_angle_brackets_are_no_html(tmp_path: Path) -> None:
    path = write(
        tmp_path / "aapl.us.txt",
        "<TICKER>,<DATE>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>",
        "AAPL.US,20240520,189.33,191.92,189.01,191.04,44361300",
    )
    theirs = ("TICKER", "DATE", "OPEN", "HIGH", "LOW", "CLOSE", "VOL")
    names = ("symbol", "session", "open", "high", "low", "close", "volume")
    columns = {ours: f"<{name}>" for ours, name in zip(names, theirs, strict=True)}
    assert prices(ask(source(path, columns=columns, date_format="%Y%m%d"))) == DAY_ROWS[:1]


@pytest.mark.parametrize("kind", [pa.float32(), pa.float64()])
def test_prices_of_32_bits_are_their_shortest_decimals(tmp_path: Path, kind: pa.DataType) -> None:
    table = pa.table({"symbol": ["AAPL"], "date": [MONDAY]})
    for name, value in (("open", 101.1), ("high", 102.3), ("low", 100.7), ("close", 101.9)):
        table = table.append_column(name, pa.array([value], kind))
    table = table.append_column("volume", pa.array([16777216.0], kind))
    path = as_parquet(tmp_path / "a.parquet", table)
    row = ("AAPL", MONDAY, 101.1, 102.3, 100.7, 101.9, 16777216.0)
    assert prices(ask(source(path))) == [row]


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("1716177600000000000", "epoch_ns"),  # midnight in New York
        ("1716163200000000", "epoch_us"),  # midnight UTC
        ("1716163200000", "epoch_ms"),
        ("1716211800", "epoch_s"),  # the opening
        ("1716211800.0", "epoch_s"),
    ],
)
def test_dates_may_be_counted_from_1970(tmp_path: Path, text: str, unit: str) -> None:
    path = write(tmp_path / "a.csv", HEADER, f"AAPL,{text},1,2,1,2,5", "AAPL,soon,1,2,1,2,5")
    answer = ask(source(path, date_format=unit))
    assert prices(answer)[0][1] == MONDAY
    assert unreadable(answer) == [("AAPL", "soon", "session can't be read: 'soon'")]


def test_an_epoch_may_be_a_whole_number_in_parquet(tmp_path: Path) -> None:
    table = pa.table(
        {"symbol": ["AAPL"], "date": [1716177600000000000]}
        | {name: [2.0] for name in ("open", "high", "low", "close", "volume")}
    )
    path = as_parquet(tmp_path / "a.parquet", table)
    assert prices(ask(source(path, date_format="epoch_ns")))[0][1] == MONDAY


@pytest.mark.parametrize(
    ("numbers", "declared"),
    [
        ('"1.191,04";"1.192,5";"1.190,00";"1.191,04";"44.361.300"', (",", ".")),
        ("1191,04;1192,5;1190;1191,04;44361300", (",", "")),
        ("1 191.04;1 192.50;1 190;1 191.04;44 361 300", (".", " ")),
        ('"$1,191.04";"$1,192.50";"$1,190.00";"$1,191.04";"44,361,300"', (".", "$,")),
    ],
)
def test_numbers_are_read_with_the_marks_declared(
    tmp_path: Path, numbers: str, declared: tuple[str, str]
) -> None:
    path = write(tmp_path / "a.csv", HEADER.replace(",", ";"), f"AAPL;2024-05-20;{numbers}")
    mark, ignored = declared
    read = ask(source(path, delimiter=";", decimal_mark=mark, ignore_in_numbers=ignored))
    assert prices(read) == [("AAPL", MONDAY, 1191.04, 1192.5, 1190.0, 1191.04, 44361300.0)]


def test_a_point_among_decimal_commas_is_not_read_and_stays_as_written(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.csv",
        HEADER.replace(",", ";"),
        "AAPL;2024-05-20;1.5;2;1;1,5;5",
        "A;2024-05-20;1;2;1;1;5",
    )
    answer = ask(source(path, delimiter=";", decimal_mark=","))
    assert unreadable(answer) == [("AAPL", "2024-05-20", "open can't be read: '1.5'")]


@pytest.mark.parametrize(
    ("name", "pattern", "symbol"),
    [
        ("daily_adjusted_AAPL.csv", "daily_adjusted_*", "AAPL"),
        ("WIKI-BRK_B.csv", "wiki-*", "BRK.B"),
        ("WIKI-BRK_2.csv", "wiki-*", None),
        ("brk-b_daily.csv", "*_DAILY", "BRK.B"),
        ("AAPL.csv", "*_daily", None),
        ("_daily.csv", "*_daily", None),
    ],
)
def test_a_symbol_is_read_by_its_pattern(
    tmp_path: Path, name: str, pattern: str, symbol: str | None
) -> None:
    write(tmp_path / "MSFT.csv", HEADER, "MSFT,2024-05-20,1,2,1,2,5")
    path = write(tmp_path / name, "date,open,high,low,close,volume", "2024-05-20,1,2,1,2,5")
    files = source(path, symbol_from_filename=True, symbol_pattern=pattern)
    if symbol:
        assert prices(ask(files))[0][0] == symbol
    else:
        with pytest.raises(BadAnswer, match=r"no readable row.*symbol can't be read"):
            files.symbols()


def test_symbols_may_be_spelt_as_on_the_tape(tmp_path: Path) -> None:
    row = "2024-05-20,1,2,1,2,5"
    path = write(tmp_path / "a.csv", HEADER, f"BACpL,{row}", f"AAPL,{row}", f"BRK.B,{row}")
    assert source(path, symbol_spelling="tape").symbols() == ("AAPL", "BAC.PRL", "BRK.B")


YFINANCE = [
    "Price,Close,Close,High,High,Low,Low,Open,Open,Volume,Volume",
    "Ticker,AAPL,MSFT,AAPL,MSFT,AAPL,MSFT,AAPL,MSFT,AAPL,MSFT",
    "Date,,,,,,,,,,",
    "2024-05-20,191.04,425.34,191.92,426.77,189.01,419.99,189.33,420.21,44361300,16272100",
    "2024-05-21,192.35,429.04,192.73,432.97,190.92,424.85,191.09,426.83,42309400,21453300",
]
TITLES = dict(
    zip(
        ("open", "high", "low", "close", "volume"),
        ("Open", "High", "Low", "Close", "Volume"),
        strict=True,
    )
)
LINES = ["field", "symbol", "skip"]


def test_a_header_may_have_a_line_of_symbols(tmp_path: Path) -> None:
    files = source(
        write(tmp_path / "a.csv", *YFINANCE), header=LINES, columns={"session": "Price", **TITLES}
    )
    assert prices(ask(files)) == DAY_ROWS


def test_the_lines_of_a_header_come_in_any_order(tmp_path: Path) -> None:
    lines = ["", YFINANCE[1], YFINANCE[0].replace("Price", ""), *YFINANCE[2:]]
    files = source(
        write(tmp_path / "a.csv", *lines),
        header=["skip", "symbol", "field", "skip"],
        columns={"session": "Date", **TITLES},
    )
    assert prices(ask(files)) == DAY_ROWS


def test_lines_before_a_header_can_be_skipped(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "Prices, adjusted", "made 2024-05-22", HEADER, *GOOD)
    assert prices(ask(source(path, header=["skip", "skip", "field"]))) == DAY_ROWS


def test_a_blank_cell_of_one_symbol_costs_no_other_its_row(tmp_path: Path) -> None:
    blank = "2024-05-22,,430.52,,432.41,,427.13,,430.09,,18073700"
    files = source(
        write(tmp_path / "a.csv", *YFINANCE, blank, "2024-05-23,1,2"),
        header=LINES,
        columns={"session": "Price", **TITLES},
    )
    answer = ask(files)
    wednesday = ("MSFT", dt.date(2024, 5, 22), 430.09, 432.41, 427.13, 430.52, 18073700.0)
    assert prices(answer) == [*DAY_ROWS, wednesday]
    assert "a line of 3 fields where 11 belong" in answer.notices[0]


@pytest.mark.parametrize(
    ("declared", "complaint"),
    [
        ({"symbol_pattern": "daily"}, "a pattern has * once"),
        ({"header": ["symbol", "skip"]}, 'a header has one line "field"'),
        ({"ignore_in_numbers": "."}, "ignore_in_numbers has '.', which numbers need"),
        ({"decimal_mark": ",", "ignore_in_numbers": "-"}, "ignore_in_numbers has '-'"),
    ],
)
def test_a_declaration_that_cannot_be_followed_is_refused(
    declared: dict[str, object], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint.replace("*", r"\*")):
        FilesArchive.model_validate({"paths": ["a"], "price_basis": "as_traded", **declared})


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ((400.0, 99.0), (100.0, 99.0), [("split", 4.0, None)]),
        ((400.0, 98.01), (100.0, 99.0), [("split", 4.0, None), ("cash_dividend", None, 1.0)]),
        ((150.0, 99.0), (100.0, 99.0), [("split", 1.5, None)]),
        ((10.0, 99.0), (100.0, 99.0), [("split", 0.1, None)]),
        ((137.0, 100.0), (100.0, 100.0), [("spin_off", None, None)]),
        ((100.0, 99.0), (99.5, 99.5), [("cash_dividend", None, 1.0)]),
        ((400.0, 400.0), (100.0, 100.0), []),
    ],
)
def test_an_adjusted_close_beside_prices_as_traded_shows_splits_and_dividends(
    tmp_path: Path,
    before: tuple[float, float],
    after: tuple[float, float],
    expected: list[tuple[object, ...]],
) -> None:
    lines = [
        f"AAPL,{day},{close},{close},{close},{close},5,{adjusted}"
        for day, (close, adjusted) in (("2024-05-20", before), ("2024-05-21", after))
    ]
    path = write(tmp_path / "a.csv", f"{HEADER},adj", *lines)
    answer = ask(source(path, columns={"adjusted_close": "adj"}))
    found = [
        (row["kind"], row["ratio"], row["amount"] and round(row["amount"], 6))
        for row in answer.actions.to_pylist()
    ]
    assert sorted(found) == sorted(expected)
