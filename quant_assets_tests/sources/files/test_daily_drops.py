"""Thirteen days of July 2015 as they were collected: each file tells of two sessions.

They are loaded evening by evening from a folder that grows, and once more in one go on the last
evening. Their prices are as traded; a split shows in the adjusted close, and in the volumes that
are told again (NFLX, 7:1 on 2015-07-15).
"""

from __future__ import annotations

import datetime as dt
import tarfile
from pathlib import Path

import pytest

from quant_assets.loading.work import Asking, Window
from quant_assets.reference.calendars import Calendar, exchange_calendar
from quant_assets.settings.sources import FilesArchive
from quant_assets.sources.files.archive import FilesSource
from quant_assets.warehouse.warehouse import Warehouse
from quant_assets_tests.standins.loads import load_prices

pytestmark = pytest.mark.slow

FIRST = dt.date(2015, 6, 30)
SPLIT = {"AXPW", "BGMD", "KBIO", "KR", "LEI", "MPET", "NFLX", "VPCO", "ZGNX"}
CORRECTED = {"BBDO", "CSB", "CUI"}
# fmt: off
ON_THE_HOLIDAY = [
    "AIRI", "CBFV", "CLNT", "CPAH", "CPSH", "CREG", "CUI", "ETAK", "EVAR", "HLG", "LFVN", "LTBR",
    "MAMS", "PCYG", "QKLS", "RDIB", "SSE", "STRZB", "TENX", "TRXC", "WETF", "XPLR",
]
# fmt: on
EVERY = 25
"""One in so many of the 6,100 symbols is loaded, beside those named."""

Rows = list[tuple[object, ...]]


def unpack(drop: Path, folder: Path) -> tuple[dt.date, set[str]]:
    """Write the prices of a drop's chosen symbols to a folder named after its day."""
    day = drop.name.removesuffix(".tar.gz")
    with tarfile.open(drop) as archive:
        member = archive.extractfile("prices.csv")
        assert member is not None
        header, *lines = member.read().decode().splitlines()
    symbols = sorted({line.partition(",")[0] for line in lines})
    chosen = {"AAPL", *SPLIT, *CORRECTED, *ON_THE_HOLIDAY}
    chosen |= {symbol for symbol in symbols if sum(symbol.encode()) % EVERY == 0}
    kept = [line for line in lines if line.partition(",")[0] in chosen]
    (folder / day).mkdir(parents=True)
    (folder / day / "prices.csv").write_text("\n".join([header, *kept, ""]), "utf-8")
    return dt.date.fromisoformat(day), chosen & set(symbols)


def archive(folder: Path, calendar: Calendar) -> FilesSource:
    declared = FilesArchive.model_validate(
        {
            "paths": [],
            "price_basis": "as_traded",
            "deliveries": True,
            "columns": {"adjusted_close": "adj_close"},
        }
    )
    return FilesSource("pystock", declared, (str(folder / "*" / "prices.csv"),), calendar)


class Evening:
    """A clock that stands late on a day, after the close of New York."""

    def __init__(self, day: dt.date) -> None:
        self.day = day

    def __call__(self) -> dt.datetime:
        return dt.datetime.combine(self.day, dt.time(23, 59), dt.UTC)


@pytest.fixture(scope="module")
def loaded(real: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Warehouse, Warehouse]:
    """The drops loaded day by day, and the same in one go."""
    home, calendar = tmp_path_factory.mktemp("drops"), exchange_calendar("XNYS")
    clock, symbols = Evening(FIRST), set[str]()
    window = Window((), FIRST, FIRST)
    by_day = Warehouse(home / "by_day.duckdb", lock_wait_seconds=5, clock=clock)
    for drop in sorted((real / "prices" / "pystock_daily_drops").glob("*.tar.gz")):
        clock.day, told = unpack(drop, home / "drops")
        symbols |= told
        window = Window(tuple(sorted(symbols)), FIRST, clock.day)
        source = archive(home / "drops", calendar)
        load_prices(by_day, source, window, calendar, asking=Asking(look_back_days=365))
    at_once = Warehouse(home / "at_once.duckdb", lock_wait_seconds=5, clock=clock)
    load_prices(at_once, archive(home / "drops", calendar), window, calendar)
    return by_day, at_once


def query(warehouse: Warehouse, sql: str) -> Rows:
    with warehouse.reading() as con:
        return con.execute(sql).fetchall()


NAMED = "join symbol_history using (security_id)"
REVISED = f"select symbol, session, close, volume, difference from daily_prices_revisions {NAMED}"


def test_a_split_that_no_file_lists_is_one_record(loaded: tuple[Warehouse, Warehouse]) -> None:
    splits = f"select symbol, ex_date, ratio from corporate_actions {NAMED} where kind = 'split'"
    assert query(loaded[0], f"{splits} order by ex_date, symbol") == [
        ("ZGNX", dt.date(2015, 7, 1), 1 / 8),
        ("BGMD", dt.date(2015, 7, 9), 1 / 4),
        ("VPCO", dt.date(2015, 7, 9), 1 / 5),
        ("MPET", dt.date(2015, 7, 13), 1 / 8),
        ("AXPW", dt.date(2015, 7, 14), 1 / 35),
        ("KBIO", dt.date(2015, 7, 14), 1 / 8),
        ("KR", dt.date(2015, 7, 14), 2.0),
        ("LEI", dt.date(2015, 7, 15), 1 / 25),
        ("NFLX", dt.date(2015, 7, 15), 7.0),
    ]


def test_the_bars_before_a_split_stay_as_traded(loaded: tuple[Warehouse, Warehouse]) -> None:
    bars = f"select session, close, volume from daily_prices {NAMED} where symbol = 'NFLX'"
    assert query(loaded[0], f"{bars} and session between '2015-07-13' and '2015-07-15'") == [
        (dt.date(2015, 7, 13), 707.609985, 4711700),  # told again as 32,981,900
        (dt.date(2015, 7, 14), 702.599976, 2819500),  # told as 2,811,200, then as 19,736,500
        (dt.date(2015, 7, 15), 98.129997, 30898600),
    ]
    assert query(loaded[0], f"{REVISED} where symbol = 'NFLX' order by session") == [
        ("NFLX", dt.date(2015, 7, 14), 702.599976, 2811200, "restatement"),
        ("NFLX", dt.date(2015, 7, 15), 98.129997, 28070500, "restatement"),
        ("NFLX", dt.date(2015, 7, 16), 115.809998, 62912600, "restatement"),
    ]


def test_what_was_told_otherwise_the_next_day_is_a_revision(
    loaded: tuple[Warehouse, Warehouse],
) -> None:
    classes = "select difference, count(*) from daily_prices_revisions group by 1 order by 1"
    assert query(loaded[0], classes) == [("restatement", 52), ("unexplained", 2)]
    assert query(loaded[0], f"{REVISED} where symbol in ('AAPL', 'BBDO', 'CSB', 'CUI')") == [
        ("BBDO", dt.date(2015, 7, 6), 8.6, 0, "restatement"),
        ("CSB", dt.date(2015, 7, 14), 10.1, 0, "unexplained"),
        ("CUI", dt.date(2015, 7, 15), 0.015, 0, "unexplained"),
    ]
    assert query(loaded[1], REVISED) == []


def test_rows_of_a_holiday_are_quarantined(loaded: tuple[Warehouse, Warehouse]) -> None:
    told = "select symbol from quarantine where session = '2015-07-03' and reason"
    for warehouse in loaded:
        rows = query(warehouse, f"{told} = 'XNYS had no session that day' order by 1")
        assert [symbol for (symbol,) in rows] == ON_THE_HOLIDAY


@pytest.mark.parametrize(
    "columns",
    [
        "symbol, session, open, high, low, close, volume, basis_on, currency from daily_prices",
        "symbol, ex_date, kind, ratio, amount, kind_by, basis_on from corporate_actions",
        "symbol, session, reason, raw from quarantine",
    ],
)
def test_day_by_day_ends_as_in_one_go(loaded: tuple[Warehouse, Warehouse], columns: str) -> None:
    named = "" if columns.endswith("quarantine") else NAMED
    by_day, at_once = (query(w, f"select {columns} {named} order by all") for w in loaded)
    assert len(by_day) > 20
    assert by_day == at_once
