"""Days of which an archive has no usable row: confirmed empty, quarantined, or a hole."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from pathlib import Path

import pytest

from quant_assets.loading.report import LoadReport
from quant_assets.loading.work import Window
from quant_assets.reference.calendars import exchange_calendar
from quant_assets.settings.sources import FilesArchive
from quant_assets.sources.files.archive import FilesSource
from quant_assets.warehouse.warehouse import Warehouse
from quant_assets_tests.standins.loads import load_prices

XNYS = exchange_calendar("XNYS")
WEEK = MONDAY, TUESDAY, WEDNESDAY, THURSDAY, FRIDAY = XNYS.between(
    dt.date(2024, 5, 20), dt.date(2024, 5, 24)
)
HEADER = "symbol,date,open,high,low,close,volume"
BAR = "1,2,1,2,5"
WHOLE_WEEK = [f"LONG,{day},{BAR}" for day in WEEK]
"""A symbol with a row for every day: the archive reaches them all."""

Outcomes = dict[tuple[str, dt.date], str]


class Folder:
    """An archive in a folder, loaded into a warehouse of its own."""

    def __init__(self, path: Path, **declared: object) -> None:
        self.files, self.declared = path / "in", {"price_basis": "as_traded", **declared}
        self.files.mkdir(parents=True)
        self.warehouse = Warehouse(path / "warehouse.duckdb")

    def write(self, name: str, *lines: str) -> None:
        (self.files / name).write_text("\n".join(lines) + "\n", "utf-8")

    def load(
        self, *symbols: str, start: dt.date = MONDAY, end: dt.date = FRIDAY, force: bool = False
    ) -> LoadReport:
        paths = (str(self.files),)
        archive = FilesArchive.model_validate({"paths": paths, **self.declared})
        source = FilesSource("ours", archive, paths, XNYS)
        window = Window(symbols or source.symbols(), start, end)
        return load_prices(self.warehouse, source, window, XNYS, identities=(), force=force)

    def outcomes(self, symbol: str | None = None) -> Outcomes:
        """The outcome of each symbol-day without a row."""
        return {key: outcome for key, (outcome, _) in self.ledger(symbol).items()}

    def ledger(self, symbol: str | None = None) -> Mapping[tuple[str, dt.date], tuple[str, str]]:
        with self.warehouse.reading() as con:
            rows = con.execute(
                "select h.symbol, l.session, l.outcome, l.reason from symbol_day_ledger l"
                " join symbol_history h using (security_id) order by all"
            ).fetchall()
        return {(s, d): (what, why) for s, d, what, why in rows if symbol in (None, s)}

    def sessions(self, symbol: str) -> list[dt.date]:
        with self.warehouse.reading() as con:
            rows = con.execute(
                "select session from daily_prices join symbol_history using (security_id)"
                " where symbol = ? order by all",
                [symbol],
            ).fetchall()
        return [day for (day,) in rows]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


# A row that can't be used is no absence


@pytest.mark.parametrize("bad", ["1,2,1,2,12x", "1,2,1,two,5", "1,2,1,-2,5", "1,2", "1,2,1,2,5,6"])
@pytest.mark.parametrize("day", [MONDAY, WEDNESDAY, FRIDAY])
def test_an_unusable_row_is_quarantined_and_loaded_once_it_is_mended(
    folder: Folder, bad: str, day: dt.date
) -> None:
    lines = {each: f"AAA,{each},{BAR}" for each in WEEK}
    folder.write("a.csv", HEADER, *WHOLE_WEEK, *(lines | {day: f"AAA,{day},{bad}"}).values())
    [report] = [each for each in folder.load().symbols if each.symbol == "AAA"]
    assert folder.outcomes() == {("AAA", day): "quarantined"}
    assert (report.quarantined, report.set_aside, report.empty) == (1, 1, 0)
    folder.write("a.csv", HEADER, *WHOLE_WEEK, *lines.values())
    folder.load()
    assert folder.sessions("AAA") == list(WEEK)
    assert folder.outcomes() == {}


@pytest.mark.parametrize("bad", ["1,2,1,2,12x", "1,2,1,-2,5", "1,2"])
def test_the_only_row_of_a_symbol_is_quarantined_and_its_other_days_are_empty(
    folder: Folder, bad: str
) -> None:
    folder.write("a.csv", HEADER, *WHOLE_WEEK, f"AAA,{WEDNESDAY},{bad}")
    folder.load()
    others = {("AAA", day): "empty" for day in WEEK if day != WEDNESDAY}
    assert folder.outcomes() == {**others, ("AAA", WEDNESDAY): "quarantined"}
    folder.write("a.csv", HEADER, *WHOLE_WEEK, f"AAA,{WEDNESDAY},{BAR}")
    folder.load()
    assert folder.sessions("AAA") == [WEDNESDAY]


def test_days_between_the_readable_rows_and_an_unreadable_last_one_are_holes(
    folder: Folder,
) -> None:
    lines = [f"AAA,{MONDAY},{BAR}", f"AAA,{THURSDAY},1,2,1,2,12x"]
    folder.write("a.csv", HEADER, *WHOLE_WEEK, *lines)
    folder.load()
    assert folder.outcomes() == {
        ("AAA", TUESDAY): "failed",
        ("AAA", WEDNESDAY): "failed",
        ("AAA", THURSDAY): "quarantined",
        ("AAA", FRIDAY): "empty",
    }


def test_an_unreadable_row_has_its_day_in_whatever_format_the_vendor_writes_it(
    tmp_path: Path,
) -> None:
    folder = Folder(tmp_path, date_format="%d/%m/%Y")
    rows = [f"LONG,{day:%d/%m/%Y},{BAR}" for day in WEEK]
    bad = [f"AAA,{MONDAY:%d/%m/%Y},{BAR}", f"AAA,{TUESDAY:%d/%m/%Y},1,2,1,2,12x"]
    folder.write("a.csv", HEADER, *rows, *bad)
    folder.load(end=TUESDAY)
    assert folder.outcomes() == {("AAA", TUESDAY): "quarantined"}


@pytest.mark.parametrize("day", ["soon", "2024-02-31", "", "2024-05-2x", "20240524"])
def test_a_row_of_an_illegible_day_may_be_of_any_day(folder: Folder, day: str) -> None:
    folder.write("a.csv", HEADER, *WHOLE_WEEK, f"AAA,{TUESDAY},{BAR}", f"AAA,{day},{BAR}")
    [report] = [each for each in folder.load().symbols if each.symbol == "AAA"]
    assert set(folder.outcomes("AAA").values()) == {"failed"}
    assert len(folder.outcomes("AAA")) == 4
    assert report.error is not None
    assert "a row that can't be read may be its row" in report.error
    folder.write("a.csv", HEADER, *WHOLE_WEEK, f"AAA,{TUESDAY},{BAR}", f"AAA,{FRIDAY},{BAR}")
    folder.load()
    assert folder.outcomes() == {
        ("AAA", MONDAY): "empty",
        ("AAA", WEDNESDAY): "failed",
        ("AAA", THURSDAY): "failed",
    }


def test_a_symbol_with_rows_of_illegible_days_alone_has_failed(folder: Folder) -> None:
    folder.write("a.csv", HEADER, *WHOLE_WEEK, f"AAA,soon,{BAR}")
    [report] = [each for each in folder.load().symbols if each.symbol == "AAA"]
    assert (report.failed, report.empty) == (5, 0)
    assert report.error is not None


@pytest.mark.parametrize("cell", ["AAA*", "AA A", "", "???", "A\u2020A", "AAA US Stock"])
def test_a_row_of_an_illegible_symbol_may_be_of_a_symbol_it_resembles(
    folder: Folder, cell: str
) -> None:
    lines = [f"AAA,{TUESDAY},{BAR}", f"{cell},{FRIDAY},{BAR}"]
    folder.write("a.csv", HEADER, *WHOLE_WEEK, *lines)
    folder.load("AAA", "LONG")
    doubted = "failed" if cell != "A\u2020A" else "empty"
    assert folder.outcomes("AAA")["AAA", FRIDAY] == doubted
    assert folder.outcomes("AAA")["AAA", MONDAY] == "empty"


def test_a_row_of_another_instrument_casts_no_doubt(folder: Folder) -> None:
    index = [f"^GSPC,{day},{BAR}" for day in WEEK]
    folder.write("a.csv", HEADER, *WHOLE_WEEK, *index, f"AAA,{TUESDAY},{BAR}")
    folder.load("AAA")
    assert set(folder.outcomes().values()) == {"empty"}


@pytest.mark.parametrize("torn", ["AA", "AAA", "", "AAA,2024-05-2", "x,2024-05-24,1,2,1,2,5,6"])
def test_a_line_torn_before_its_symbol_or_day_ends_confirms_nothing(
    folder: Folder, torn: str
) -> None:
    lines = [f"AAA,{day},{BAR}" for day in WEEK[:4]]
    folder.write("a.csv", HEADER, *WHOLE_WEEK, *lines, torn or ",")
    folder.load("AAA", "LONG")
    doubted = "empty" if torn.startswith("x") else "failed"
    assert folder.outcomes() == {("AAA", FRIDAY): doubted}


def test_days_are_not_confirmed_while_a_file_of_the_archive_can_not_be_read(folder: Folder) -> None:
    folder.write("a.csv", HEADER, *WHOLE_WEEK, f"AAA,{TUESDAY},{BAR}")
    folder.write("b.csv", "<html>Will be right back</html>")
    folder.load()
    reasons = {why for _, why in folder.ledger("AAA").values()}
    assert set(folder.outcomes("AAA").values()) == {"failed"}
    assert all(why.endswith("and 1 of its files could not be read.") for why in reasons)
    folder.write("b.csv", HEADER, f"AAA,{FRIDAY},{BAR}")
    folder.load()
    assert folder.sessions("AAA") == [TUESDAY, FRIDAY]


def test_an_unread_file_named_after_a_symbol_casts_doubt_on_that_symbol_alone(
    tmp_path: Path,
) -> None:
    folder = Folder(tmp_path, symbol_from_filename=True)
    header = HEADER.removeprefix("symbol,")
    folder.write("LONG.csv", header, *(line.removeprefix("LONG,") for line in WHOLE_WEEK))
    for name in ("AAA.csv", "BBB.csv"):
        folder.write(name, header, f"{TUESDAY},{BAR}")
    folder.write("AAA.txt", "<html>Will be right back</html>")
    folder.load()
    assert set(folder.outcomes("AAA").values()) == {"failed"}
    assert set(folder.outcomes("BBB").values()) == {"empty"}


def test_a_day_of_which_the_archive_has_impossible_rows_alone_is_not_reached(
    folder: Folder,
) -> None:
    lines = [f"LONG,{MONDAY},{BAR}", f"LONG,{TUESDAY},-1,2,-1,2,5", f"AAA,{MONDAY},{BAR}"]
    folder.write("a.csv", HEADER, *lines)
    folder.load(end=TUESDAY)
    assert folder.outcomes() == {("LONG", TUESDAY): "quarantined", ("AAA", TUESDAY): "failed"}


def test_a_row_dated_in_the_future_does_not_end_the_archive(folder: Folder) -> None:
    next_year = XNYS.sessions[-1]
    folder.write("a.csv", HEADER, *WHOLE_WEEK, f"AAA,{MONDAY},{BAR}", f"LONG,{next_year},{BAR}")
    folder.load("AAA", start=FRIDAY, end=dt.date(2024, 5, 31))
    assert folder.outcomes() == {("AAA", FRIDAY): "empty"} | {
        ("AAA", day): "failed" for day in XNYS.between(dt.date(2024, 5, 28), dt.date(2024, 5, 31))
    }


def test_a_delivered_row_that_breaks_a_rule_is_quarantined_and_not_empty(tmp_path: Path) -> None:
    folder = Folder(tmp_path, deliveries=True)
    for day in WEEK:
        close = "-2" if day == FRIDAY else "2"
        rows = [f"LONG,{day},{BAR}", f"AAA,{day},1,2,1,{close},5"]
        folder.write(f"{day}.csv", HEADER, *rows)
    folder.load()
    assert folder.outcomes() == {("AAA", FRIDAY): "quarantined"}


# The same day, the same answer


@pytest.mark.parametrize("force", [False, True])
def test_a_day_has_the_same_answer_whatever_else_is_requested(
    tmp_path: Path, *, force: bool
) -> None:
    lines = [f"LATE,{THURSDAY},{BAR}", f"LATE,{FRIDAY},{BAR}"]
    requests: dict[str, list[tuple[tuple[str, ...], dt.date, dt.date]]] = {
        "all at once": [((), MONDAY, FRIDAY)],
        "alone": [(("LATE",), MONDAY, WEDNESDAY)],
        "with another": [(("LATE", "LONG"), MONDAY, WEDNESDAY)],
        "day by day": [(("LATE",), day, day) for day in WEEK],
        "backwards": [(("LATE",), day, day) for day in reversed(WEEK)],
    }
    for name, windows in requests.items():
        folder = Folder(tmp_path / name)
        folder.write("a.csv", HEADER, *WHOLE_WEEK, *lines)
        for symbols, start, end in windows:
            folder.load(*symbols, start=start, end=end, force=force)
        days = {("LATE", day): "empty" for day in (MONDAY, TUESDAY, WEDNESDAY)}
        assert folder.outcomes("LATE") == days, name
        with folder.warehouse.reading() as con:
            names = con.execute(
                "select count(*) from symbol_history where symbol = 'LATE'"
            ).fetchall()
        assert names == [(1,)]


# Blank rows


@pytest.mark.parametrize("blank", ["", "NaN", "null", "None", "-", "n/a"])
@pytest.mark.parametrize("volume", ["blank", "0", "0.0"])
def test_blank_rows_are_no_rows(folder: Folder, blank: str, volume: str) -> None:
    def row(day: dt.date) -> str:
        return ",".join(["AAA", str(day), *[blank] * 4, blank if volume == "blank" else volume])

    with_blanks = [
        row(MONDAY), f"AAA,{TUESDAY},{BAR}", row(WEDNESDAY), f"AAA,{THURSDAY},{BAR}", row(FRIDAY)
    ]  # fmt: skip
    folder.write("a.csv", HEADER, *WHOLE_WEEK, *with_blanks)
    [report] = [each for each in folder.load().symbols if each.symbol == "AAA"]
    assert folder.ledger() == {
        ("AAA", MONDAY): ("empty", f"the archive begins with {TUESDAY}"),
        ("AAA", WEDNESDAY): ("failed", "the source answered without a row for this session"),
        ("AAA", FRIDAY): ("empty", f"the archive ends with {THURSDAY}"),
    }
    assert report.quarantined == 0


def test_a_row_with_a_volume_or_an_event_and_no_price_is_not_blank(tmp_path: Path) -> None:
    columns = {"dividend": "dividend", "split": "split"}
    folder = Folder(tmp_path, columns=columns)
    lines = [f"LONG,{day},{BAR},0,1" for day in WEEK]
    bad = [f"AAA,{TUESDAY},,,,,5,,", f"AAA,{WEDNESDAY},,,,,,0.5,", f"AAA,{THURSDAY},,,,,,,2"]
    blank = f"AAA,{FRIDAY},,,,,0,0,1"
    folder.write("a.csv", HEADER + ",dividend,split", *lines, *bad, blank)
    folder.load()
    assert folder.outcomes() == {
        ("AAA", MONDAY): "empty",
        ("AAA", TUESDAY): "quarantined",
        ("AAA", WEDNESDAY): "quarantined",
        ("AAA", THURSDAY): "quarantined",
        ("AAA", FRIDAY): "empty",
    }


def test_a_symbol_of_blank_rows_alone_is_not_in_the_archive(folder: Folder) -> None:
    blanks = [f"AAA,{day},,,,," for day in WEEK]
    folder.write("a.csv", HEADER, *WHOLE_WEEK, *blanks, ",,,,,,")
    report = folder.load()
    assert [each.symbol for each in report.symbols] == ["LONG"]
    assert report.notices == ()
