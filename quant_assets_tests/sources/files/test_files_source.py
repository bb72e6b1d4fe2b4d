"""A vendor's archive on disk: every dialect that can be declared, and every kind of damage."""

from __future__ import annotations

import datetime as dt
import gzip
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet
import pytest

from quant_assets.contracts.prices import PriceAnswer
from quant_assets.contracts.source import (
    BadAnswer,
    Request,
    SourceError,
    SourceUnavailable,
    UnknownSymbolAtSource,
)
from quant_assets.price_rules.decisions import DecisionError
from quant_assets.reference.calendars import exchange_calendar
from quant_assets.settings.sources import FilesArchive
from quant_assets.sources.files.archive import FilesSource

XNYS = exchange_calendar("XNYS")
HEADER = "symbol,date,open,high,low,close,volume"
MONDAY, TUESDAY, WEDNESDAY, THURSDAY, FRIDAY = XNYS.between(
    dt.date(2024, 5, 20), dt.date(2024, 5, 24)
)
GOOD = [
    "AAPL,2024-05-20,189.33,191.92,189.01,191.04,44361300",
    "AAPL,2024-05-21,191.09,192.73,190.92,192.35,42309400",
    "MSFT,2024-05-20,420.21,426.77,419.99,425.34,16272100",
    "MSFT,2024-05-21,426.83,432.97,424.85,429.04,21453300",
]
DAY_ROWS = [
    ("AAPL", MONDAY, 189.33, 191.92, 189.01, 191.04, 44361300.0),
    ("AAPL", TUESDAY, 191.09, 192.73, 190.92, 192.35, 42309400.0),
    ("MSFT", MONDAY, 420.21, 426.77, 419.99, 425.34, 16272100.0),
    ("MSFT", TUESDAY, 426.83, 432.97, 424.85, 429.04, 21453300.0),
]
PRICES = ("open", "high", "low", "close", "volume")


def write(path: Path, *lines: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return str(path)


def source(
    *paths: str,
    beside: Path | None = None,
    kinds: Path | None = None,
    columns: Mapping[str, str] | None = None,
    **declared: object,
) -> FilesSource:
    said = {"price_basis": "as_traded", "columns": dict(columns or {}), **declared}
    if beside is not None:
        said["actions"] = {"path": str(beside), **(said.get("actions") or {})}  # type: ignore[dict-item]
    archive = FilesArchive.model_validate({"paths": paths, **said})
    return FilesSource("ours", archive, tuple(paths), XNYS, beside, kinds)


def ask(
    files: FilesSource, *symbols: str, start: dt.date = MONDAY, end: dt.date = FRIDAY
) -> PriceAnswer:
    requests = [Request(symbol, start, end) for symbol in symbols or files.symbols()]
    [answer] = files.fetch(requests)
    return answer


def prices(answer: PriceAnswer) -> list[tuple[object, ...]]:
    return [
        tuple(row[n] for n in ("symbol", "session", *PRICES)) for row in answer.rows.to_pylist()
    ]


def actions(answer: PriceAnswer) -> list[tuple[object, ...]]:
    wanted = ("symbol", "ex_date", "kind", "ratio", "amount")
    return [tuple(row[name] for name in wanted) for row in answer.actions.to_pylist()]


def unreadable(answer: PriceAnswer) -> list[tuple[str, str, str]]:
    return [(r["symbol"], r["session"], r["reason"]) for r in answer.unreadable.to_pylist()]


def as_parquet(path: Path, table: pa.Table | None = None) -> str:
    columns = zip(("symbol", "date", *PRICES), zip(*DAY_ROWS, strict=True), strict=True)
    pyarrow.parquet.write_table(table or pa.table(dict(columns)), path)
    return str(path)


# Shapes of an archive


def test_one_csv_file_holds_every_symbol(tmp_path: Path) -> None:
    files = source(write(tmp_path / "prices.csv", HEADER, *GOOD))
    assert files.symbols() == ("AAPL", "MSFT")
    assert prices(ask(files)) == DAY_ROWS
    assert prices(ask(files, "MSFT", start=TUESDAY, end=TUESDAY)) == DAY_ROWS[3:]
    assert ask(files).notices == ()


def test_one_parquet_file_holds_every_symbol(tmp_path: Path) -> None:
    files = source(as_parquet(tmp_path / "prices.parquet"))
    assert prices(ask(files)) == DAY_ROWS


def test_rows_come_sorted_whatever_their_order_in_the_file(tmp_path: Path) -> None:
    assert prices(ask(source(write(tmp_path / "a.csv", HEADER, *GOOD[::-1])))) == DAY_ROWS


@pytest.mark.parametrize("place", ["*.csv", "", "A*.csv,M*.csv"])
def test_many_files_are_one_archive(tmp_path: Path, place: str) -> None:
    write(tmp_path / "AAPL.csv", HEADER, *GOOD[:2])
    write(tmp_path / "MSFT.csv", HEADER, *GOOD[2:])
    write(tmp_path / "README.md", "not data")
    paths = [str(tmp_path / part) for part in place.split(",")]
    assert prices(ask(source(*paths))) == DAY_ROWS


def test_csv_and_parquet_can_stand_side_by_side(tmp_path: Path) -> None:
    write(tmp_path / "1.csv", HEADER, *GOOD[:2])
    columns = zip(("symbol", "date", *PRICES), zip(*DAY_ROWS[2:], strict=True), strict=True)
    as_parquet(tmp_path / "2.parquet", pa.table(dict(columns)))
    assert prices(ask(source(str(tmp_path)))) == DAY_ROWS


@pytest.mark.parametrize("suffix", [".csv", ".CSV", ".txt", ".csv.gz"])
def test_the_symbol_can_be_the_name_of_the_file(tmp_path: Path, suffix: str) -> None:
    for name, line in (("brk-b", "2024-05-20,1,2,1,2,5"), ("AAPL", "2024-05-20,3,4,3,4,5")):
        text = f"date,open,high,low,close,volume\n{line}\n".encode()
        path = tmp_path / f"{name}{suffix}"
        path.write_bytes(gzip.compress(text) if suffix.endswith("gz") else text)
    answer = ask(source(str(tmp_path), symbol_from_filename=True))
    assert prices(answer) == [
        ("AAPL", MONDAY, 3.0, 4.0, 3.0, 4.0, 5.0),
        ("BRK.B", MONDAY, 1.0, 2.0, 1.0, 2.0, 5.0),
    ]


def test_a_compressed_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "prices.csv.gz"
    path.write_bytes(gzip.compress("\n".join([HEADER, *GOOD]).encode()))
    assert prices(ask(source(str(path)))) == DAY_ROWS


def test_columns_are_mapped_and_others_ignored(tmp_path: Path) -> None:
    path = write(
        tmp_path / "prices.csv",
        "Ticker;Comment;Date;Open;High;Low;Close/Last;Volume",
        "AAPL;x;05/20/2024;189.33;191.92;189.01;191.04;44361300",
    )
    theirs = ("Ticker", "Date", "Open", "High", "Low", "Close/Last", "Volume")
    mapped = dict(zip(("symbol", "session", *PRICES), theirs, strict=True))
    files = source(path, columns=mapped, date_format="%m/%d/%Y", delimiter=";")
    assert prices(ask(files)) == DAY_ROWS[:1]


@pytest.mark.parametrize(
    ("text", "date_format"),
    [
        ("2024-05-20", "%Y-%m-%d"),
        ("2024-05-20 16:00:00", "%Y-%m-%d"),
        ("2024-05-20T00:00:00Z", "%Y-%m-%d"),
        ("20240520", "%Y%m%d"),
        ("5/20/2024", "%m/%d/%Y"),
        ("20.5.2024", "%d.%m.%Y"),
        ("20-May-24", "%d-%b-%y"),
        ("20 May 2024", "%d %B %Y"),
    ],
)
def test_dates_are_read_in_the_format_declared(tmp_path: Path, text: str, date_format: str) -> None:
    path = write(tmp_path / "a.csv", HEADER, f"AAPL,{text},1,2,1,2,5")
    assert prices(ask(source(path, date_format=date_format)))[0][1] == MONDAY


def test_month_names_of_any_length_are_read(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.csv", HEADER, "A,30 September 2024,1,2,1,2,5", "A,31 May 2024,1,2,1,2,5"
    )
    files = source(path, date_format="%d %B %Y")
    answer = ask(files, "A", start=dt.date(2024, 5, 1), end=dt.date(2024, 12, 31))
    assert [row[1] for row in prices(answer)] == [dt.date(2024, 5, 31), dt.date(2024, 9, 30)]


@pytest.mark.parametrize(
    "dates",
    [
        pa.array([MONDAY]),
        pa.array([dt.datetime(2024, 5, 20)]),  # noqa: DTZ001 - as files hold it
        pa.array(["2024-05-20"], pa.large_string()),
        pa.array(pd.to_datetime(["2024-05-20"]).tz_localize("America/New_York")),
        pa.array(pd.to_datetime(["2024-05-20"]).tz_localize("Europe/London")),
        pa.array(pd.to_datetime(["2024-05-20"]).tz_localize("Asia/Tokyo")),
    ],
    ids=["date", "timestamp", "text", "New York", "London", "Tokyo"],
)
def test_a_parquet_date_is_the_day_its_own_clock_shows(tmp_path: Path, dates: pa.Array) -> None:
    numbers = {name: [5.0] for name in PRICES}
    path = as_parquet(tmp_path / "a.parquet", pa.table({"symbol": ["A"], "date": dates, **numbers}))
    assert prices(ask(source(path)))[0][1] == MONDAY


@pytest.mark.parametrize(
    "numbers",
    [
        pa.array([5.0], pa.float32()),
        pa.array([5], pa.int64()),
        pa.array(["5"]),
        pa.array(["5"], pa.large_string()),
        pa.array([5]).cast(pa.decimal128(25, 4)),
    ],
    ids=lambda array: str(array.type),
)
def test_parquet_numbers_of_any_type_are_read(tmp_path: Path, numbers: pa.Array) -> None:
    table = pa.table({"symbol": ["A"], "date": [MONDAY], **dict.fromkeys(PRICES, numbers)})
    assert prices(ask(source(as_parquet(tmp_path / "a.parquet", table)))) == [
        ("A", MONDAY, 5.0, 5.0, 5.0, 5.0, 5.0)
    ]


@pytest.mark.parametrize("text", [pa.string(), pa.large_string()], ids=str)
def test_a_parquet_cell_that_is_no_number_costs_its_own_row(
    tmp_path: Path, text: pa.DataType
) -> None:
    numbers = dict.fromkeys(PRICES, pa.array(["5", "abc"], text))
    days = {"symbol": ["A", "A"], "date": [MONDAY, TUESDAY]}
    answer = ask(source(as_parquet(tmp_path / "a.parquet", pa.table({**days, **numbers}))))
    assert prices(answer) == [("A", MONDAY, 5.0, 5.0, 5.0, 5.0, 5.0)]
    assert unreadable(answer) == [("A", "2024-05-21", "open can't be read: 'abc'")]


# What prices are expressed in


def test_as_traded_rows_have_the_basis_of_their_own_session(tmp_path: Path) -> None:
    answer = ask(source(write(tmp_path / "a.csv", HEADER, *GOOD), currency="EUR"))
    assert answer.rows["basis_on"] == answer.rows["session"]
    assert set(answer.rows["currency"].to_pylist()) == {"EUR"}


def test_split_adjusted_rows_all_have_the_basis_declared(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", HEADER + ",dividend", *(line + ",0.25" for line in GOOD))
    files = source(
        path,
        price_basis="split_adjusted",
        basis_on="2024-06-07",
        columns={"dividend": "dividend"},
    )
    answer = ask(files)
    assert set(answer.rows["basis_on"].to_pylist()) == {dt.date(2024, 6, 7)}
    assert set(answer.actions["basis_on"].to_pylist()) == {dt.date(2024, 6, 7)}
    assert files.profile.price_basis == "split_adjusted"


def test_the_profile_says_what_the_archive_tells(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", HEADER + ",s,d,a", *(line + ",1,0,1" for line in GOOD))
    plain, full = source(path), source(path, columns={"split": "s", "dividend": "d"})
    assert (plain.profile.name, plain.profile.simulated) == ("files:ours", False)
    assert (plain.profile.has_splits, plain.profile.has_distributions) == (False, False)
    assert (full.profile.has_splits, full.profile.has_distributions) == (True, True)
    assert plain.profile.names_on == TUESDAY
    said = source(path, symbols_on="2024-06-07")
    assert said.profile.names_on == dt.date(2024, 6, 7)


# Corporate actions

SPLIT_AND_DIVIDEND = [
    ("AAPL", MONDAY, "split", 4.0, None),
    ("AAPL", TUESDAY, "cash_dividend", None, 0.25),
]


def test_splits_and_dividends_stand_in_columns(tmp_path: Path) -> None:
    tails = (",4.0,0.0", ",1.0,0.25", ",,", ",1,0")
    lines = [line + tail for line, tail in zip(GOOD, tails, strict=True)]
    path = write(tmp_path / "a.csv", HEADER + ",s,d", *lines)
    answer = ask(source(path, columns={"split": "s", "dividend": "d"}))
    assert actions(answer) == SPLIT_AND_DIVIDEND
    assert prices(answer) == DAY_ROWS


def test_splits_and_dividends_stand_in_a_file_of_their_own(tmp_path: Path) -> None:
    path = write(tmp_path / "prices" / "a.csv", HEADER, *GOOD)
    write(
        tmp_path / "actions.csv",
        "symbol,date,split,dividend",
        "AAPL,2024-05-20,4,",
        "aapl,2024-05-21,1,0.25",
        "AAPL,2023-05-12,1,0.24",
        "NVDA,2024-05-20,10,",
    )
    files = source(path, beside=tmp_path / "actions.csv")
    assert actions(ask(files)) == SPLIT_AND_DIVIDEND
    assert (files.profile.has_splits, files.profile.has_distributions) == (True, True)


def test_an_actions_file_that_can_not_be_read_is_an_error_and_not_a_history_without_dividends(
    tmp_path: Path,
) -> None:
    path = write(tmp_path / "a.csv", HEADER, *GOOD)
    beside = Path(
        write(tmp_path / "actions.txt", "symbol,date,split,dividend", "AAPL,2024-05-20,x,")
    )
    with pytest.raises(
        BadAnswer, match=r"actions.txt: 1 rows can't be read; the first: .*split can't"
    ):
        ask(source(path, beside=beside))
    with pytest.raises(SourceUnavailable, match=r"missing.csv can't be read"):
        ask(source(path, beside=tmp_path / "missing.csv"))


@pytest.mark.parametrize(
    ("convention", "monday"), [("previous_close", 100 * 0.98), ("ex_close", 100 * 99 / 101)]
)
def test_dividends_are_derived_from_an_adjusted_close(
    tmp_path: Path, convention: str, monday: float
) -> None:
    # A dividend of 2 on the Tuesday: close 100, then 99.
    path = write(
        tmp_path / "a.csv",
        HEADER + ",adj",
        f"AAPL,2024-05-20,100,100,100,100,1,{monday:.10f}",
        "AAPL,2024-05-21,99,99,99,99,1,99",
        "AAPL,2024-05-22,99,99,99,99,1,99",
    )
    files = source(
        path,
        price_basis="split_adjusted",
        basis_on="2024-06-07",
        columns={"adjusted_close": "adj"},
        adjusted_close_convention=convention,
    )
    expected = [("AAPL", TUESDAY, "cash_dividend", None, pytest.approx(2.0))]
    assert actions(ask(files)) == expected
    # The step of the window's first session begins the session before.
    assert actions(ask(files, start=TUESDAY)) == expected
    assert actions(ask(files, start=WEDNESDAY)) == []


def test_a_split_is_not_taken_for_a_dividend_where_dividends_are_derived(tmp_path: Path) -> None:
    # As traded, a 2:1 split on the Tuesday and no dividend: the adjusted close knows the split.
    path = write(
        tmp_path / "a.csv",
        HEADER + ",s,adj",
        "AAPL,2024-05-20,100,100,100,100,1,1,50",
        "AAPL,2024-05-21,50,50,50,50,1,2,50",
    )
    answer = ask(source(path, columns={"split": "s", "adjusted_close": "adj"}))
    assert actions(answer) == [("AAPL", TUESDAY, "split", 2.0, None)]


def test_a_line_that_stands_twice_reports_its_dividend_once(tmp_path: Path) -> None:
    line = GOOD[0] + ",0.25"
    answer = ask(
        source(write(tmp_path / "a.csv", HEADER + ",d", line, line), columns={"dividend": "d"})
    )
    assert actions(answer) == [("AAPL", MONDAY, "cash_dividend", None, 0.25)]


def test_two_dividends_of_one_day_in_an_actions_file_are_added(tmp_path: Path) -> None:
    path = write(tmp_path / "prices" / "a.csv", HEADER, *GOOD)
    lines = ["AAPL,2024-05-20,,0.25", "AAPL,2024-05-20,2,1.0", "AAPL,2024-05-20,,0.25"]
    beside = Path(write(tmp_path / "actions.csv", "symbol,date,split,dividend", *lines))
    assert actions(ask(source(path, beside=beside))) == [
        ("AAPL", MONDAY, "split", 2.0, None),
        ("AAPL", MONDAY, "cash_dividend", None, 1.25),
    ]


def test_price_rows_that_contradict_each_other_on_a_dividend_report_none(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", HEADER + ",d", GOOD[0] + ",0.25", GOOD[0] + ",0.24")
    answer = ask(source(path, columns={"dividend": "d"}))
    assert actions(answer) == []
    assert unreadable(answer) == [
        ("AAPL", "2024-05-20", "another row of the same symbol and session has another dividend")
    ]


def test_a_split_and_a_dividend_of_one_day_are_told_apart_in_an_adjusted_close(
    tmp_path: Path,
) -> None:
    # Close 100, then 2:1 and a dividend of 1 per new share: 100 / 2 * (1 - 1 / 50) = 49.
    lines = ["AAPL,2024-05-20,100,100,100,100,1,1,49", "AAPL,2024-05-21,49,49,49,49,1,2,49"]
    path = write(tmp_path / "a.csv", HEADER + ",s,adj", *lines)
    assert actions(ask(source(path, columns={"split": "s", "adjusted_close": "adj"}))) == [
        ("AAPL", TUESDAY, "split", 2.0, None),
        ("AAPL", TUESDAY, "cash_dividend", None, pytest.approx(1.0)),
    ]


def test_a_symbol_of_which_no_row_can_be_read_is_not_lost_without_a_word(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", HEADER, *GOOD, "NVDA,2024-05-20,x,2,1,2,5")
    [notice] = ask(source(path)).notices
    assert notice.startswith("a.csv: 1 rows are of no symbol that can be read; the first: open can")


def test_a_column_nobody_asked_for_fells_no_file(tmp_path: Path) -> None:
    rest = [f"{line},{n}" for n, line in enumerate(GOOD[:1] * 40_000)]
    path = write(tmp_path / "a.csv", HEADER + ",comment", *rest, GOOD[1] + ",a word")
    assert prices(ask(source(path)))[-1] == DAY_ROWS[1]


@pytest.mark.parametrize("cell", ["nan", "inf", "-inf", "-2", "0", "1e999"])
def test_an_impossible_split_or_dividend_is_no_action_and_fells_nothing(
    tmp_path: Path, cell: str
) -> None:
    lines = [GOOD[0] + f",{cell},{cell}", GOOD[1] + ",1,0.25"]
    path = write(tmp_path / "a.csv", HEADER + ",s,d", *lines)
    answer = ask(source(path, columns={"split": "s", "dividend": "d"}))
    assert actions(answer) == [("AAPL", TUESDAY, "cash_dividend", None, 0.25)]
    assert DAY_ROWS[1] in prices(answer)


def test_decisions_of_a_kinds_file_are_followed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", HEADER + ",d", *(line + ",0.25" for line in GOOD))
    kinds = Path(
        write(
            tmp_path / "kinds.txt",
            "symbol,ex_date,kind,made_from,repeats,ratio,amount,note",
            "AAPL,2024-05-20,vendor_error,dividend,,,,duplicate",
            "AAPL,2024-05-22,spin_off,none,,1.08,,missing from the vendor",
            "AAPL,2024-06-20,spin_off,none,,1.08,,after the window",
            "NVDA,2024-05-22,spin_off,none,,1.08,,not asked for",
        )
    )
    answer = ask(source(path, kinds=kinds, columns={"dividend": "d"}, currency="EUR"), "AAPL")
    assert [(r["ex_date"], r["kind"], r["kind_by"]) for r in answer.actions.to_pylist()] == [
        (MONDAY, "vendor_error", "kinds.txt"),
        (TUESDAY, "cash_dividend", "rule"),
        (WEDNESDAY, "spin_off", "kinds.txt"),
    ]
    assert set(answer.actions["currency"].to_pylist()) == {"EUR"}


def test_a_decision_in_the_vendors_spelling_is_followed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", HEADER + ",d", "BF-B,2024-05-20,1,2,1,2,5,0.25")
    kinds = Path(
        write(
            tmp_path / "kinds.txt",
            "symbol,ex_date,kind,made_from,repeats,ratio,amount,note",
            "BF-B,2024-05-20,vendor_error,dividend,,,,duplicate",
        )
    )
    answer = ask(source(path, kinds=kinds, columns={"dividend": "d"}))
    assert [(row["symbol"], row["kind"]) for row in answer.actions.to_pylist()] == [
        ("BF.B", "vendor_error")
    ]


def test_a_missing_kinds_file_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", HEADER, *GOOD)
    with pytest.raises((DecisionError, SourceError), match=r"kinds\.csv"):
        ask(source(path, kinds=tmp_path / "kinds.csv"))


# Damage


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("abc", "close can't be read: 'abc'"),
        ('"1,234"', "close can't be read: '1,234'"),
        ("12.3.4", "close can't be read: '12.3.4'"),
        ("$191.04", "close can't be read: '$191.04'"),
        ("0x10", "close can't be read: '0x10'"),
        ("1_0", "close can't be read: '1_0'"),
        ("null", "close can't be read: 'null'"),
    ],
)
def test_a_cell_that_is_no_number_costs_its_own_row(tmp_path: Path, cell: str, reason: str) -> None:
    broken = f"AAPL,2024-05-20,189.33,191.92,189.01,{cell},44361300"
    answer = ask(source(write(tmp_path / "a.csv", HEADER, broken, *GOOD[1:])))
    assert prices(answer) == DAY_ROWS[1:]
    assert unreadable(answer) == [("AAPL", "2024-05-20", reason)]
    assert '"close": ' in answer.unreadable["raw"][0].as_py()


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("", "None"),
        ('""', "None"),
        ("NaN", "nan"),
        ("inf", "inf"),
        ("-Infinity", "-inf"),
        ("1e999", "inf"),
        ("+5", "5.0"),
        (" 5 ", "5.0"),
        (".5", "0.5"),
        ("5.", "5.0"),
        ("1.5E2", "150.0"),
    ],
)
def test_a_number_is_read_as_it_stands_and_judged_later(
    tmp_path: Path, cell: str, value: str
) -> None:
    line = f"AAPL,2024-05-20,189.33,191.92,189.01,{cell},44361300"
    answer = ask(source(write(tmp_path / "a.csv", HEADER, line)))
    assert [str(row[5]) for row in prices(answer)] == [value]
    assert unreadable(answer) == []


@pytest.mark.parametrize(
    ("symbol", "cell"), [("BTC-USD", "0.35"), ("BTC-USD", "12.75"), ("AAPL", "6321507.562155")]
)
def test_a_volume_keeps_its_fraction(tmp_path: Path, symbol: str, cell: str) -> None:
    path = write(tmp_path / "a.csv", HEADER, f"{symbol},2024-05-20,1,2,1,2,{cell}")
    assert prices(ask(source(path)))[0][-1] == float(cell)
    delivery = write(tmp_path / "20240520" / "a.csv", HEADER, f"{symbol},2024-05-20,1,2,1,2,{cell}")
    assert prices(ask(source(delivery, deliveries=True)))[0][-1] == float(cell)


@pytest.mark.parametrize(
    "day", ["2024-02-31", "2023-02-29", "2024-13-01", "20.05.2024", "", "soon"]
)
def test_a_date_that_is_none_costs_its_own_row(tmp_path: Path, day: str) -> None:
    path = write(tmp_path / "a.csv", HEADER, f"AAPL,{day},1,2,1,2,5", *GOOD)
    answer = ask(source(path), "AAPL", start=dt.date(2023, 1, 3))
    assert prices(answer) == DAY_ROWS[:2]
    expected = f"session can't be read: {day or None!r}"
    assert [reason for _, _, reason in unreadable(answer)] == [expected]


@pytest.mark.parametrize("symbol", ["", "not a symbol", "^GSPC"])
def test_a_row_whose_symbol_can_not_be_read_is_not_lost_without_a_word(
    tmp_path: Path, symbol: str
) -> None:
    path = write(tmp_path / "prices.csv", HEADER, f"{symbol},2024-05-20,1,2,1,2,5", *GOOD)
    answer = ask(source(path))
    assert prices(answer) == DAY_ROWS
    told = [reason for _, _, reason in unreadable(answer)] + list(answer.notices)
    assert any("symbol can't be read" in sentence for sentence in told)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_torn_line_costs_itself_and_is_shown(tmp_path: Path, delimiter: str) -> None:
    lines = [HEADER, GOOD[0], "AAPL,2024-05-21,191.09", *GOOD[2:]]
    path = write(tmp_path / "prices.csv", *(line.replace(",", delimiter) for line in lines))
    answer = ask(source(path, delimiter=delimiter))
    assert prices(answer) == [DAY_ROWS[0], *DAY_ROWS[2:]]
    assert unreadable(answer) == [
        ("AAPL", "2024-05-21", "prices.csv: a line of 3 fields where 7 belong"),
    ]
    assert "2024-05-21" in answer.unreadable["raw"][0].as_py()


@pytest.mark.parametrize("name", ["brk-b.csv", "BRK.B.csv"])
def test_a_torn_line_of_a_file_named_after_its_symbol_is_shown_with_that_symbol(
    tmp_path: Path, name: str
) -> None:
    lines = ("date,open,high,low,close,volume", "2024-05-20,1,2,1,2,5", "2024-05-21,1,2")
    answer = ask(source(write(tmp_path / name, *lines), symbol_from_filename=True))
    reason = f"{name}: a line of 3 fields where 6 belong"
    assert unreadable(answer) == [("BRK.B", "2024-05-21", reason)]


def test_a_torn_line_without_a_symbol_is_not_lost_without_a_word(tmp_path: Path) -> None:
    answer = ask(source(write(tmp_path / "prices.csv", HEADER, *GOOD, "###,2024-05-22")))
    told = [reason for _, _, reason in unreadable(answer)] + list(answer.notices)
    assert any("2 fields where 7 belong" in sentence for sentence in told)


BROKEN_FILES = [
    ("", "is empty."),
    ("\n\n", "is not CSV"),
    (HEADER + "\n", "has a header and no rows."),
    ("<!DOCTYPE html><html>Too many requests</html>", "is HTML or XML, not CSV."),
    ("\ufeff \n<html>", "is HTML or XML, not CSV."),
    ('{"Note": "5 calls per minute"}', "is JSON, not CSV."),
    ("[1, 2]", "is JSON, not CSV."),
    (
        "symbol,date,open,high,low,volume\nAAPL,2024-05-20,1,2,1,5\n",
        "has no column close; it has symbol, date, open, high, low, volume. Map the names in "
        "quant_assets.toml under files.<archive>.columns.",
    ),
    ("\x00\x01\x02", "is not CSV"),
    (f"{HEADER},close\n{GOOD[0]},5\n", "close"),
]


@pytest.mark.parametrize(("content", "complaint"), BROKEN_FILES)
def test_a_file_that_is_no_price_file_is_named_with_what_is_wrong(
    tmp_path: Path, content: str, complaint: str
) -> None:
    (tmp_path / "AAPL.csv").write_text(content, "utf-8")
    with pytest.raises(BadAnswer) as refused:
        ask(source(str(tmp_path)), "AAPL")
    assert "AAPL.csv" in str(refused.value)
    assert complaint in str(refused.value)


@pytest.mark.parametrize(("content", "complaint"), BROKEN_FILES)
def test_a_broken_file_among_good_ones_costs_only_itself_and_is_noticed(
    tmp_path: Path, content: str, complaint: str
) -> None:
    write(tmp_path / "good.csv", HEADER, *GOOD)
    (tmp_path / "bad.csv").write_text(content, "utf-8")
    answer = ask(source(str(tmp_path)), "AAPL", "MSFT", "NVDA")
    assert prices(answer) == DAY_ROWS
    [notice] = answer.notices
    assert notice.startswith("bad.csv")
    assert complaint in notice
    assert str(answer.failures["NVDA"]) == (
        "files:ours has no symbol NVDA. 1 of its files could not be read."
    )


@pytest.mark.parametrize("name", ["bad.parquet", "bad.csv.gz", "bad.csv"])
def test_a_file_of_bytes_that_are_not_its_format_costs_only_itself(
    tmp_path: Path, name: str
) -> None:
    write(tmp_path / "good.csv", HEADER, *GOOD)
    (tmp_path / name).write_bytes(b"\xff\xfe\x00PAR1 is not here \xe9\n\x80,\x81\n")
    answer = ask(source(str(tmp_path)))
    assert prices(answer) == DAY_ROWS
    assert len(answer.notices) == 1
    assert name in answer.notices[0]


def test_a_torn_compressed_file_costs_only_itself(tmp_path: Path) -> None:
    write(tmp_path / "good.csv", HEADER, *GOOD)
    whole = gzip.compress("\n".join([HEADER, *GOOD * 500]).encode())
    (tmp_path / "torn.csv.gz").write_bytes(whole[:-40])
    answer = ask(source(str(tmp_path)))
    assert prices(answer) == DAY_ROWS
    assert [notice.split()[0] for notice in answer.notices] == ["torn.csv.gz"]


def test_a_parquet_file_without_a_column_says_which_it_has(tmp_path: Path) -> None:
    path = as_parquet(tmp_path / "a.parquet", pa.table({"symbol": ["A"], "Datum": ["x"]}))
    with pytest.raises(
        BadAnswer, match=r"a.parquet has no column date, open, .*; it has symbol, Datum"
    ):
        ask(source(path), "A")


@pytest.mark.parametrize("name", ["missing.csv", "*.parquet", "empty"])
def test_a_path_that_matches_no_file_is_an_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceUnavailable) as refused:
        ask(source(str(tmp_path / name)), "AAPL")
    assert str(refused.value) == f"No file matches {tmp_path / name}."


def test_a_file_that_is_neither_csv_nor_parquet_by_its_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadAnswer, match=r"prices\.xlsx is neither CSV nor Parquet by its name"):
        ask(source(write(tmp_path / "prices.xlsx", HEADER, *GOOD)), "AAPL")


def test_an_archive_in_which_no_row_can_be_read_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", HEADER, "AAPL,soon,1,2,1,2,5")
    with pytest.raises(BadAnswer, match="The archive ours holds no readable row"):
        ask(source(path), "AAPL")


# What the archive's silence means


def test_an_unknown_symbol_fails_alone(tmp_path: Path) -> None:
    answer = ask(source(write(tmp_path / "a.csv", HEADER, *GOOD)), "AAPL", "NVDA")
    assert answer.symbols == ("AAPL", "NVDA")
    assert prices(answer) == DAY_ROWS[:2]
    assert isinstance(answer.failures["NVDA"], UnknownSymbolAtSource)
    assert str(answer.failures["NVDA"]) == "files:ours has no symbol NVDA."
    assert list(answer.failures) == ["NVDA"]


def test_empty_is_what_lies_before_and_after_a_symbol_and_not_a_hole(tmp_path: Path) -> None:
    bar = "1,2,1,2,5"
    lines = [f"LONG,{day},{bar}" for day in (MONDAY, TUESDAY, WEDNESDAY, THURSDAY, FRIDAY)]
    late_and_holed = [f"LATE,{TUESDAY},{bar}", f"LATE,{THURSDAY},{bar}"]
    files = source(write(tmp_path / "a.csv", HEADER, *lines, *late_and_holed))
    answer = ask(files, start=dt.date(2024, 5, 13), end=dt.date(2024, 5, 31))
    # Monday: not listed yet. Wednesday: a hole, no word. Friday: gone. And nothing about the weeks
    # before and after, which the archive does not reach.
    assert answer.empty.to_pylist() == [
        {"symbol": "LATE", "session": MONDAY, "reason": "the archive begins with 2024-05-21"},
        {"symbol": "LATE", "session": FRIDAY, "reason": "the archive ends with 2024-05-23"},
    ]


@pytest.mark.parametrize("day", ["2099-01-02", "1900-01-02"])
def test_one_absurd_date_does_not_stretch_what_the_archive_vouches_for(
    tmp_path: Path, day: str
) -> None:
    path = write(tmp_path / "a.csv", HEADER, *GOOD, f"NVDA,{day},1,2,1,2,5")
    files = source(path)
    answer = ask(files, "AAPL", start=dt.date(2024, 5, 13))
    # The archive goes from Monday to Tuesday; about other days its silence says nothing.
    assert answer.empty.to_pylist() == []
    assert files.profile.names_on == TUESDAY


@pytest.mark.parametrize("spelling", ["BRK-B", "brk.b", "BRK/B", " BRK.B "])
def test_every_spelling_of_a_symbol_is_one_symbol(tmp_path: Path, spelling: str) -> None:
    path = write(
        tmp_path / "a.csv", HEADER, f"{spelling},2024-05-20,1,2,1,2,5", "BRK.B,2024-05-21,1,2,1,2,5"
    )
    files = source(path)
    assert files.symbols() == ("BRK.B",)
    assert [row[:2] for row in prices(ask(files))] == [("BRK.B", MONDAY), ("BRK.B", TUESDAY)]


def test_the_same_day_of_two_files_is_left_for_the_row_rules_to_judge(tmp_path: Path) -> None:
    write(tmp_path / "1.csv", HEADER, GOOD[0])
    write(tmp_path / "2.csv", HEADER, GOOD[0])
    answer = ask(source(str(tmp_path)))
    assert prices(answer) == [DAY_ROWS[0]] * 2
    assert pc.count_distinct(answer.rows["session"]).as_py() == 1


# Deliveries

DELIVERED = HEADER + ",adj"


def delivered(folder: Path, **declared: object) -> FilesSource:
    columns = {"adjusted_close": "adj"}
    said = {"columns": columns, "deliveries": True, **declared}
    return source(str(folder / "*" / "prices.csv"), **said)  # type: ignore[arg-type]


def test_a_later_delivery_corrects_an_earlier_one_by_the_date_in_its_path(tmp_path: Path) -> None:
    bar = "AAPL,2024-05-20,1,2,1,2"
    write(tmp_path / "new 2024-05-20" / "prices.csv", DELIVERED, f"{bar},500,2")
    write(tmp_path / "a 20240521" / "prices.csv", DELIVERED, f"{bar},700,2")
    assert prices(ask(delivered(tmp_path))) == [("AAPL", MONDAY, 1.0, 2.0, 1.0, 2.0, 700.0)]


def test_prices_told_again_in_new_shares_give_a_split_away(tmp_path: Path) -> None:
    bars = ["AAPL,2024-05-20,180,192,180,190,800,190", "AAPL,2024-05-21,45,48,45,47.5,4000,47.5"]
    again = "AAPL,2024-05-20,45,48,45,47.5,3200,47.5"
    write(tmp_path / "20240520" / "prices.csv", DELIVERED, bars[0])
    write(tmp_path / "20240521" / "prices.csv", DELIVERED, again, bars[1])
    answer = ask(delivered(tmp_path))
    assert actions(answer) == [("AAPL", TUESDAY, "split", 4.0, None)]
    assert answer.actions["kind_by"].to_pylist() == ["overlap"]
    assert prices(answer)[0] == ("AAPL", MONDAY, 180.0, 192.0, 180.0, 190.0, 800.0)


@pytest.mark.parametrize(("ratio", "before", "after"), [(4.0, 190, 47.5), (0.04, 0.12, 3)])
def test_an_adjusted_close_gives_a_split_away(
    tmp_path: Path, ratio: float, before: float, after: float
) -> None:
    # The first delivery knows of the split to come, but for the volume of its newest bar.
    flat = f"{before},{before},{before},{before}"
    friday = f"AAPL,2024-05-17,{flat},{600 * ratio},{before / ratio}"
    monday = f"AAPL,2024-05-20,{flat}"
    tuesday = f"AAPL,2024-05-21,{after},{after},{after},{after},5000,{after}"
    write(tmp_path / "20240520" / "prices.csv", DELIVERED, friday, f"{monday},800,{before / ratio}")
    write(
        tmp_path / "20240521" / "prices.csv",
        DELIVERED,
        f"{monday},{900 * ratio},{before / ratio}",
        tuesday,
    )
    answer = ask(delivered(tmp_path), start=dt.date(2024, 5, 17))
    assert actions(answer) == [("AAPL", TUESDAY, "split", pytest.approx(ratio), None)]
    assert answer.actions["kind_by"].to_pylist() == ["adjusted close"]
    assert [(row[5], row[6]) for row in prices(answer)] == [
        (before, pytest.approx(600)),
        (before, pytest.approx(900)),
        (after, 5000),
    ]


def test_what_a_delivery_gives_away_follows_the_kinds_file(tmp_path: Path) -> None:
    write(tmp_path / "20240520" / "prices.csv", DELIVERED, "AAPL,2024-05-20,4,4,4,4,8,4")
    write(tmp_path / "20240521" / "prices.csv", DELIVERED, "AAPL,2024-05-20,2,2,2,2,16,2")
    with (tmp_path / "20240521" / "prices.csv").open("a", encoding="utf-8") as lines:
        lines.write("AAPL,2024-05-21,2,2,2,2,16,2\n")
    said = "AAPL,2024-05-21,stock_dividend,split,,,,both classes"
    header = "symbol,ex_date,kind,made_from,repeats,ratio,amount,note"
    kinds = Path(write(tmp_path / "kinds.txt", header, said))
    answer = ask(delivered(tmp_path, kinds=kinds))
    assert actions(answer) == [("AAPL", TUESDAY, "stock_dividend", 2.0, None)]


def test_dividends_are_read_off_the_adjusted_close_of_each_delivery(tmp_path: Path) -> None:
    # By the second delivery 100 has become 98; beside the 100 of the first it would say nothing.
    flat = "AAPL,2024-05-20,100,100,100,100,1"
    write(tmp_path / "20240520" / "prices.csv", DELIVERED, f"{flat},100")
    write(
        tmp_path / "20240521" / "prices.csv",
        DELIVERED,
        f"{flat},98",
        "AAPL,2024-05-21,99,99,99,99,1,99",
    )
    assert actions(ask(delivered(tmp_path))) == [
        ("AAPL", TUESDAY, "cash_dividend", None, pytest.approx(2.0))
    ]


def test_a_row_that_breaks_a_rule_corrects_nothing(tmp_path: Path) -> None:
    write(tmp_path / "20240520" / "prices.csv", DELIVERED, "AAPL,2024-05-20,1,2,1,2,5,2")
    later = ["AAPL,2024-05-20,1,2,1,0,5,2", "MSFT,2024-05-20,1,2,1,2,5,2"]
    twice = ["AAPL,2024-05-21,1,2,1,2,5,2", "AAPL,2024-05-21,1,2,1,2,6,2"]
    sunday = "AAPL,2024-05-19,1,2,1,2,5,2"
    write(tmp_path / "20240521" / "prices.csv", DELIVERED, *later, *twice, sunday)
    answer = ask(delivered(tmp_path))
    bar = (MONDAY, 1.0, 2.0, 1.0, 2.0, 5.0)
    assert prices(answer) == [("AAPL", *bar), ("MSFT", *bar)]
    assert unreadable(answer) == [
        ("AAPL", "2024-05-19", "XNYS had no session that day"),
        ("AAPL", "2024-05-20", "close is not positive"),
        ("AAPL", "2024-05-21", "another row of the same symbol and session differs"),
        ("AAPL", "2024-05-21", "another row of the same symbol and session differs"),
    ]


def test_deliveries_are_refused_beside_what_they_tell_themselves(tmp_path: Path) -> None:
    for said in ({"price_basis": "split_adjusted", "basis_on": FRIDAY}, {"beside": tmp_path}):
        with pytest.raises(ValueError, match="deliveries become as_traded prices"):
            source("a.csv", deliveries=True, **said)  # type: ignore[arg-type]


def test_a_request_that_looks_back_is_answered_from_there_on(tmp_path: Path) -> None:
    files = source(write(tmp_path / "a.csv", HEADER, *GOOD))
    [answer] = files.fetch([Request("AAPL", TUESDAY, TUESDAY, since=MONDAY)])
    assert prices(answer) == DAY_ROWS[:2]
