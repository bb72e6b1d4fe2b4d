"""Files that are damaged, packed or in another encoding: bad rows are named, good ones are kept."""

from __future__ import annotations

import bz2
import codecs
import datetime as dt
import gzip
import json
from itertools import count
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quant_assets.contracts.prices import PriceAnswer
from quant_assets.contracts.source import BadAnswer, Request
from quant_assets.price_rules.row_rules import check_prices
from quant_assets.reference.calendars import exchange_calendar
from quant_assets.settings.sources import FilesArchive
from quant_assets.sources.files.archive import FilesSource
from quant_assets.sources.files.contents import without_repeats
from quant_assets.sources.files.lines import LONGEST_LINE, Lines

XNYS = exchange_calendar("XNYS")
MONDAY, TUESDAY, WEDNESDAY = (dt.date(2024, 5, day) for day in (20, 21, 22))
HEADER = "symbol,date,open,high,low,close,volume"
TEXT = f"{HEADER}\nAAA,2024-05-20,1,2,1,2,5\nAAA,2024-05-21,1,2,1,2,6\nBBB,2024-05-20,1,2,1,2,7\n"
ROWS = [("AAA", MONDAY, 5.0), ("AAA", TUESDAY, 6.0), ("BBB", MONDAY, 7.0)]


def source(folder: Path, **declared: object) -> FilesSource:
    paths = (str(folder),)
    said = {"paths": paths, "price_basis": "as_traded", **declared}
    beside = folder.parent / "actions.csv" if "actions" in declared else None
    return FilesSource("v", FilesArchive.model_validate(said), paths, XNYS, beside)


def ask(folder: Path, **declared: object) -> PriceAnswer:
    files = source(folder, **declared)
    [answer] = files.fetch([Request(symbol, MONDAY, WEDNESDAY) for symbol in files.symbols()])
    return answer


def rows(answer: PriceAnswer) -> list[tuple[object, ...]]:
    columns = answer.rows.select(["symbol", "session", "volume"])
    return [tuple(row.values()) for row in columns.to_pylist()]


def unreadable(answer: PriceAnswer) -> list[tuple[str, ...]]:
    columns = answer.unreadable.select(["symbol", "session", "reason"])
    return [tuple(row.values()) for row in columns.to_pylist()]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.csv", codecs.BOM_UTF8 + TEXT.encode()),
        ("a.csv", TEXT.encode("utf-16")),
        ("a.csv", codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be")),
        ("a.txt", TEXT.encode("utf-16-le")),
        ("a.csv", TEXT.encode("utf-16-be")),
        ("a.csv", TEXT.encode("utf-32")),
        ("a.csv", TEXT.replace("\n", "\r\n").encode()),
        ("a.csv", TEXT.replace("\n", "\r").encode()),
        ("a.csv", TEXT.rstrip().encode()),
        ("a.txt.gz", gzip.compress(TEXT.encode())),
        ("a.CSV.BZ2", bz2.compress(TEXT.encode("utf-16"))),
        ("a.csv.zst", pa.compress(TEXT.encode(), "zstd", asbytes=True)),
    ],
    ids=count(),
)
def test_a_file_is_read_whatever_its_encoding_and_packing(
    tmp_path: Path, name: str, data: bytes
) -> None:
    (tmp_path / name).write_bytes(data)
    answer = ask(tmp_path)
    assert (rows(answer), unreadable(answer), answer.notices) == (ROWS, [], ())


def test_a_byte_of_another_encoding_costs_its_row_and_only_where_it_is_read(
    tmp_path: Path,
) -> None:
    header, *lines = TEXT.splitlines()
    names = ["Soci\u00e9t\u00e9", "B", "C", "D"]
    lines.append("AAA,2024-05-22,1,2,1,2\u00b0,8")
    text = "\n".join([f"{header},name", *map(",".join, zip(lines, names, strict=True))])
    (tmp_path / "a.csv").write_bytes(text.encode("latin-1"))
    answer = ask(tmp_path)
    assert rows(answer) == ROWS
    assert unreadable(answer) == [("AAA", "2024-05-22", "close can't be read: '2\ufffd'")]


@pytest.mark.parametrize("size", [LONGEST_LINE - 100, 3_000_000])
def test_a_huge_cell_costs_its_row(tmp_path: Path, size: int) -> None:
    text = f"{TEXT}AAA,2024-05-22,1,2,1,{'x' * size},8\n"
    (tmp_path / "a.csv").write_text(text)
    answer = ask(tmp_path)
    assert rows(answer) == ROWS
    [(symbol, session, reason)] = unreadable(answer)
    assert (symbol, session) == ("AAA", "2024-05-22")
    assert len(reason) < 300
    assert reason.startswith("a.csv: a line of 3,000,023 bytes" if size > 10**6 else "close can't")
    assert len(answer.unreadable["raw"][0].as_py()) < 2_000


@pytest.mark.parametrize("cell", ["9" * 6_000, "x" * 140_000])
def test_a_cell_of_thousands_of_characters_costs_its_row(tmp_path: Path, cell: str) -> None:
    torn = f"AAA,2024-05-22,{cell}\n"
    (tmp_path / "a.csv").write_text(f"{TEXT}AAA,2024-05-22,1,2,1,2,{cell}\n{torn}")
    answer = ask(tmp_path)
    assert rows(answer) == ROWS
    reasons = [reason for _, _, reason in unreadable(answer)]
    assert reasons[0].startswith("volume can't be read: ")
    assert reasons[1] == "a.csv: a line of 3 fields where 7 belong"


def test_bytes_in_parquet_are_texts(tmp_path: Path) -> None:
    numbers = dict.fromkeys(("open", "high", "low", "close", "volume"), (1.0, 1.0))
    table = pa.table({"symbol": [b"AAA", b"B\xe9"], "date": [MONDAY, MONDAY], **numbers})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    answer = ask(tmp_path)
    assert rows(answer) == [("AAA", MONDAY, 1.0)]
    assert answer.notices[0].startswith(
        "a.parquet: 1 rows are of no symbol that can be read; the first: symbol can't be read"
    )


@given(
    st.lists(st.one_of(st.binary(max_size=30), st.none()), max_size=8),
    st.integers(5_000, 200_000),
)
def test_lines_come_whole_and_in_order_however_the_file_is_cut(
    given: list[bytes | None], size: int
) -> None:
    long = b"y" * (LONGEST_LINE + 70_000)
    whole = [long if x is None else x.replace(b"\n", b"").replace(b"\r", b"") for x in given]
    data = b"".join(line + b"\n" for line in whole)
    lines = Lines()
    read = b"".join(lines(data[at : at + size]) for at in range(0, len(data), size)) + lines(b"")
    short = [line.decode("utf-8", "replace") for line in whole if len(line) <= LONGEST_LINE]
    assert [line for line in read.decode().split("\n") if line] == [line for line in short if line]
    assert [length for length, _ in lines.overlong] == [
        len(line) for line in whole if len(line) > LONGEST_LINE
    ]


def test_a_packed_file_that_unpacks_without_end_is_given_up(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(TEXT)
    bomb = HEADER + "\n" + ",,,,,,\n" * ((40 << 20) // 7)
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress(bomb.encode(), 1))
    answer = ask(tmp_path)
    assert rows(answer) == ROWS
    [notice] = answer.notices
    assert notice == "b.csv.gz can't be read: it unpacks to more than 40 times its size."


# A folder


def test_every_file_of_a_folder_that_is_not_read_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    for name in ("AAA.csv", "BBB.zip", "notes.xlsx", "sub/DDD.csv", ".hidden", "v.toml"):
        (folder / name).write_text(TEXT)
    answer = ask(folder)
    assert rows(answer) == ROWS
    assert answer.notices == (
        "BBB.zip is neither CSV nor Parquet by its name.",
        "notes.xlsx is neither CSV nor Parquet by its name.",
        "sub is a folder in a folder, and was not read. Name it in paths.",
    )


def test_a_folder_that_is_named_beside_its_parent_is_no_complaint(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.csv").write_text(TEXT)
    (tmp_path / "sub" / "b.csv").write_text(TEXT.replace("AAA", "CCC").replace("BBB", "DDD"))
    paths = (str(tmp_path), str(tmp_path / "sub"))
    archive = FilesArchive.model_validate({"paths": paths, "price_basis": "as_traded"})
    files = FilesSource("v", archive, paths, XNYS)
    [answer] = files.fetch([Request(symbol, MONDAY, MONDAY) for symbol in files.symbols()])
    assert (answer.symbols, answer.notices) == (("AAA", "BBB", "CCC", "DDD"), ())


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("AAA,1763442000000000000,1,2,1,2,5", "session can't be read: '1763442000000000000'"),
        ("AAA,2024-05-20,'1,50',2,1,2,5", "a line of 8 fields where 7 belong"),
        ('AAA,2024-05-20,"100,50",2,1,2,5', "open can't be read: '100,50'"),
    ],
)
def test_where_no_row_can_be_read_the_first_reason_is_told(
    tmp_path: Path, line: str, reason: str
) -> None:
    (tmp_path / "day.csv").write_text("\n".join([HEADER, line, line, line]))
    with pytest.raises(BadAnswer) as refused:
        source(tmp_path).symbols()
    assert str(refused.value).startswith(
        "The archive v holds no readable row. day.csv: 3 rows can't be read; the first: "
    )
    assert reason in str(refused.value)


# Splits as texts


@pytest.mark.parametrize(
    ("written", "ratio"),
    [
        ("4.000000/1.000000", 4.0),
        ("7:1", 7.0),
        ("4/1", 4.0),
        ("4 for 1", 4.0),
        ("4-for-1", 4.0),
        ("1:10", 0.1),
        ("4", 4.0),
    ],
)
def test_a_split_may_be_a_text(tmp_path: Path, written: str, ratio: float) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.csv").write_text(TEXT)
    actions = f"symbol,date,dividend,split\nAAA,2024-05-21,,{written}\n"
    (tmp_path / "actions.csv").write_text(actions)
    answer = ask(folder, actions={"path": "actions.csv"})
    assert rows(answer) == ROWS
    assert answer.actions.select(["symbol", "ex_date", "reported_ratio"]).to_pylist() == [
        {"symbol": "AAA", "ex_date": TUESDAY, "reported_ratio": ratio}
    ]
    header, first, second, third = TEXT.splitlines()
    lines = [f"{header},split", f"{first},", f"{second},{written}", f"{third},"]
    (folder / "a.csv").write_text("\n".join(lines))
    answer = ask(folder, columns={"split": "split"})
    assert (rows(answer), unreadable(answer)) == (ROWS, [])
    assert answer.actions["reported_ratio"].to_pylist() == [ratio]


@pytest.mark.parametrize("written", ["4:0", "0:4", "four to one", "4:1:2", "4;1", "1/\u0661"])
def test_a_split_that_can_not_be_read_is_set_aside_with_its_reason(
    tmp_path: Path, written: str
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.csv").write_text(TEXT)
    lines = ["symbol,date,dividend,split", f"AAA,2024-05-21,,{written}", "BBB,2024-05-20,0.5,"]
    (tmp_path / "actions.csv").write_text("\n".join([*lines, "?,2024-05-20,1,"]))
    answer = ask(folder, actions={"path": "actions.csv"})
    assert rows(answer) == ROWS
    assert answer.actions["amount"].to_pylist() == [0.5]
    assert unreadable(answer) == [("AAA", "2024-05-21", f"split can't be read: {written!r}")]
    [notice] = answer.notices
    assert notice.startswith("actions.csv: 1 rows are of no symbol that can be read; the first: ")
    header, first, second, third = TEXT.splitlines()
    lines = [f"{header},split", f"{first},", f"{second},{written}", f"{third},"]
    (folder / "a.csv").write_text("\n".join(lines))
    answer = ask(folder, columns={"split": "split"})
    assert rows(answer) == [ROWS[0], ROWS[2]]
    assert unreadable(answer) == [("AAA", "2024-05-21", f"split can't be read: {written!r}")]
    assert json.loads(answer.unreadable["raw"][0].as_py())["split"] == written


# Rows that come again


def test_rows_that_come_again_are_one_row(tmp_path: Path) -> None:
    header, first, second, third = TEXT.splitlines()
    lines = [header, *[first] * 3, second, *[third] * 2, first]
    (tmp_path / "a.csv").write_text("\n".join(lines))
    answer = ask(tmp_path)
    checked = check_prices(answer.rows, XNYS, WEDNESDAY)
    assert [row["volume"] for row in checked.accepted.to_pylist()] == [5.0, 6.0, 7.0]
    assert (checked.repeated, checked.rejected.num_rows) == (1, 0)


def test_a_million_equal_rows_are_read_without_a_look_at_each(tmp_path: Path) -> None:
    day, count = pa.scalar(MONDAY, pa.date32()), 1_000_000
    numbers = {name: pa.repeat(1.0, count) for name in ("open", "high", "low", "close", "volume")}
    table = pa.table({"symbol": pa.repeat("AAA", count), "date": pa.repeat(day, count), **numbers})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    answer = ask(tmp_path)
    assert rows(answer) == [("AAA", MONDAY, 1.0)]


def test_rows_that_differ_in_a_blank_alone_are_two() -> None:
    table = pa.table({"symbol": ["A", "A", "A", "A"], "volume": [None, None, 1.0, None]})
    assert without_repeats(table)["volume"].to_pylist() == [None, 1.0, None]
    assert without_repeats(table.slice(0, 0)).num_rows == 0


@pytest.mark.parametrize(
    "line",
    ['AAA,2024-05-20,1,2,1,"2,5', 'AAA,2024-05-20,1,2,1,2,5,"', 'AAA,2024-05-20,1,"2",1,"2,5'],
)
def test_a_quote_that_is_never_closed_costs_its_own_line(tmp_path: Path, line: str) -> None:
    good = ["AAA,2024-05-21,1,2,1,2,6", 'BBB,2024-05-20,1,2,1,2,"7"']
    (tmp_path / "day.csv").write_text("\n".join([HEADER, line, *good, ""]))
    answer = ask(tmp_path)
    assert rows(answer) == ROWS[1:]
    [(symbol, day, reason)] = unreadable(answer)
    assert (symbol, day) == ("AAA", "2024-05-20")
    assert "fields where 7 belong" in reason


def test_lines_with_a_quote_each_are_told_line_by_line(tmp_path: Path) -> None:
    bad = [f'AAA,2024-05-20,1,2,1,"2,{n}' for n in range(101)]
    good = "BBB,2024-05-20,1,2,1,2,7"
    (tmp_path / "day.csv").write_text("\n".join([HEADER, *bad, good, ""]))
    answer = ask(tmp_path)
    assert ("BBB", MONDAY, 7.0) in rows(answer)


def test_listings_abroad_among_others_are_not_stored_and_are_named(tmp_path: Path) -> None:
    abroad = ["VOD.L", "7203.T", "SAP.DE", "VOD LN Equity", "LON:VOD"]
    lines = [f"{symbol},2024-05-20,1,2,1,2,5" for symbol in ["AAPL US Equity", *abroad]]
    (tmp_path / "day.csv").write_text("\n".join([HEADER, *lines, ""]))
    answer = ask(tmp_path)
    assert rows(answer) == [("AAPL", MONDAY, 5.0)]
    [notice] = answer.notices
    assert notice.startswith(
        "day.csv: 5 rows are of no symbol that can be read; the first: VOD.L is a listing of "
        "London, the United Kingdom, and those outside the United States are not loaded ("
    )


def test_a_listing_abroad_leaves_no_doubt_about_a_symbol_of_its_letters(tmp_path: Path) -> None:
    lines = ["L,2024-05-21,1,2,1,2,5", "AAA,2024-05-20,1,2,1,2,5", "L.L,2024-05-20,1,2,1,2,5"]
    (tmp_path / "day.csv").write_text("\n".join([HEADER, *lines, ""]))
    empty = ask(tmp_path).empty.select(["symbol", "session"]).to_pylist()
    assert {"symbol": "L", "session": MONDAY} in empty


def test_a_first_column_without_a_name_is_called_as_pandas_calls_it(tmp_path: Path) -> None:
    text = "date,open,high,low,close,volume\n2024-05-20,1,2,1,2,5\n"
    (tmp_path / "AAA.csv").write_text(text.removeprefix("date"))
    (tmp_path / "BBB.csv").write_text(text.replace("date", '""', 1))
    answer = ask(tmp_path, symbol_from_filename=True, columns={"session": "Unnamed: 0"})
    assert rows(answer) == [("AAA", MONDAY, 5.0), ("BBB", MONDAY, 5.0)]


def test_decimals_of_parquet_are_the_numbers_they_say(tmp_path: Path) -> None:
    price = pa.array(["189.325"]).cast(pa.decimal128(18, 4))
    names = ("open", "high", "low", "close")
    day = {"symbol": ["AAA"], "date": [MONDAY], **dict.fromkeys(names, price), "volume": [5]}
    pa.parquet.write_table(pa.table(day), tmp_path / "day.parquet")
    assert ask(tmp_path).rows["close"].to_pylist() == [189.325]
