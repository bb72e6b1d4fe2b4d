"""The symbol directory: its rows, the day it is of, and files that are cut short or changed."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pytest

from quant_assets.contracts.market import MARKET_COLUMNS
from quant_assets.contracts.source import (
    BadAnswer,
    Request,
    SourceError,
    SourceUnavailable,
    UnknownSymbolAtSource,
)
from quant_assets.fetching.http import Refused
from quant_assets.reference.calendars import Calendar
from quant_assets.sources.nasdaq.symbol_directory import SymbolDirectory, read_directory
from quant_assets_tests.standins.nasdaq import (
    NASDAQLISTED,
    OTHERLISTED,
    PAGE,
    Misbehaviour,
    NasdaqStandIn,
    directory_file,
    half_the_rows,
    renamed,
    says,
    status,
)

SATURDAY = dt.datetime(2021, 1, 30, 21, 35, tzinfo=dt.UTC)
FRIDAY = dt.date(2021, 1, 29)
NASDAQ_LINES = [
    "AACG|ATA Creativity Global - American Depositary Shares|G|N|D|100|N|N",
    "AADR|AdvisorShares Dorsey Wright ADR ETF|G|N|N|100|Y|N",
    "AAPL|Apple Inc. - Common Stock|Q|N|N|100|N|N",
    "EVGBC|Eaton Vance Global Income Builder|G|N|N|100|N|Y",
    "ZVZZT|NASDAQ TEST STOCK|G|Y|N|100||N",
]
OTHER_LINES = [
    "AA|Alcoa Corporation Common Stock |N|AA|N|100|N|AA",
    "AAC.W|Ares Acquisition Corporation Redeemable Warrants|N|AAC.WS|N|100|N|AAC+",
    "AGM.A|Federal Agricultural Mortgage Corporation Common Stock|N|AGM.A|N|100|N|AGM.A",
    "BAC$L|Bank of America Corporation Non Cumulative Perpetual Conv Pfd|N|BACpL|N|100|N|BAC-L",
    "HWM$|Howmet Aerospace Inc. $3.75 Preferred Stock|A|HWMp|N|100|N|HWM-",
    "IP.V|International Paper Company Common Stock When Issued|N|IPw|N|100|N|IP#",
    "MIMO.A|Airspan Networks Holdings Inc. Warrants|A|MIMO.WS.A|N|100|N|MIMO+A",
    "OPP.R|RiverNorth Opportunity Fund, Inc. Rights|N|OPPr|N|100|N|OPP^",
    "SPY|SPDR S&P 500|P|SPY|Y|100|N|SPY",
    "VXX|iPath Series B S&P 500 VIX Short-Term Futures ETN|Z|VXX|N|100|N|VXX",
    "ZXIET|IEX|V|ZXIET|N|100|Y|ZXIET",
]


@pytest.fixture
def nasdaq() -> Iterator[NasdaqStandIn]:
    files = {
        "nasdaqlisted": directory_file(NASDAQLISTED, NASDAQ_LINES),
        "otherlisted": directory_file(OTHERLISTED, OTHER_LINES),
    }
    with NasdaqStandIn(files=files) as serving:
        yield serving


def requests(*files: str) -> list[Request]:
    return [Request(file, FRIDAY, FRIDAY) for file in files]


def directory(nasdaq: NasdaqStandIn, calendar: Calendar) -> SymbolDirectory:
    return SymbolDirectory(calendar, lambda request: request(), lambda: SATURDAY, nasdaq.url)


def test_each_file_lists_symbols_types_and_exchanges(
    nasdaq: NasdaqStandIn, calendar: Calendar
) -> None:
    source = directory(nasdaq, calendar)
    (answer,) = source.fetch(requests(*source.symbols()))
    rows = answer.tables["market_snapshot"].to_pylist()
    assert [
        (row["symbol"], row["type"], row["exchange"], row["feed"], row["session"])
        for row in rows
        if row["feed"] == "nasdaqlisted"
    ] == [
        ("AACG", "adr", "nasdaq", "nasdaqlisted", FRIDAY),
        ("AADR", "etf", "nasdaq", "nasdaqlisted", FRIDAY),
        ("AAPL", "common_stock", "nasdaq", "nasdaqlisted", FRIDAY),
        ("EVGBC", "fund", "nasdaq", "nasdaqlisted", FRIDAY),
    ]
    assert [
        (row["symbol"], row["type"], row["exchange"])
        for row in rows
        if row["feed"] == "otherlisted"
    ] == [
        ("AA", "common_stock", "nyse"),
        ("AAC.WS", "warrant", "nyse"),
        ("AGM.A", "common_stock", "nyse"),
        ("BAC.PRL", "preferred", "nyse"),
        ("HWM.PR", "preferred", "amex"),
        ("IP.WI", "common_stock", "nyse"),
        ("MIMO.WS.A", "warrant", "amex"),
        ("OPP.RT", "right", "nyse"),
        ("SPY", "etf", "arca"),
        ("VXX", "note", "bats"),
    ]
    assert answer.notices == ()
    assert [nasdaq.requested(file) for file in source.symbols()] == [1, 1]


def test_figures_are_missing() -> None:
    file = directory_file(OTHERLISTED, OTHER_LINES[:1])
    table, _ = read_directory(file, "otherlisted", FRIDAY)
    assert table.schema == MARKET_COLUMNS
    assert table.to_pylist() == [
        {
            "feed": "otherlisted",
            "session": FRIDAY,
            "symbol": "AA",
            "name": "Alcoa Corporation Common Stock",
            "exchange": "nyse",
            "type": "common_stock",
            "last_sale": None,
            "net_change": None,
            "volume": None,
            "market_cap": None,
            "country": None,
            "ipo_year": None,
            "sector": None,
            "industry": None,
        }
    ]


@pytest.mark.parametrize(
    ("created", "session"),
    [
        ("0129202121:31", FRIDAY),
        ("0129202116:00", FRIDAY),
        ("0129202115:59", dt.date(2021, 1, 28)),
    ],
)
def test_a_file_is_of_the_session_before_it_was_made(
    nasdaq: NasdaqStandIn, calendar: Calendar, created: str, session: dt.date
) -> None:
    nasdaq.files["otherlisted"] = directory_file(OTHERLISTED, OTHER_LINES[:2], created)
    (answer,) = directory(nasdaq, calendar).fetch([Request("otherlisted", session, session)])
    assert answer.tables["market_snapshot"]["session"].to_pylist() == [session, session]


def test_an_old_copy_is_not_taken_for_the_session_asked_for(
    nasdaq: NasdaqStandIn, calendar: Calendar
) -> None:
    nasdaq.files["otherlisted"] = directory_file(OTHERLISTED, OTHER_LINES[:2], "0128202121:31")
    (answer,) = directory(nasdaq, calendar).fetch(requests("otherlisted"))
    assert str(answer.failures["otherlisted"]) == (
        "otherlisted was made after the close of 2021-01-28; that of 2021-01-29 is not there yet. "
        "Load it again later."
    )


@pytest.mark.parametrize(
    ("misbehave", "error", "complaint"),
    [
        (half_the_rows, BadAnswer, "otherlisted does not end with the time it was made"),
        (says(b""), BadAnswer, "does not end with the time it was made.*begins ''"),
        (says(PAGE), BadAnswer, "does not end with.*begins '<!DOCTYPE html>"),
        (renamed("0129202121:31", "1329202121:31"), BadAnswer, "does not end with the time"),
        (renamed("0129202121:31", "0129205121:31"), BadAnswer, "made at 2051.*outside the calend"),
        (renamed("0129202121:31", "0201202121:31"), BadAnswer, "a close that is still to come"),
        (renamed("CQS Symbol", "Tape"), BadAnswer, "no column CQS Symbol; its first line is 'ACT"),
        (renamed("ETF|R", "Fund|R"), BadAnswer, "otherlisted has no column ETF"),
        (says(directory_file(OTHERLISTED, [])), BadAnswer, "otherlisted lists no security"),
        (status(403), Refused, "403 Client Error"),
        (status(500), SourceUnavailable, "500 Server Error"),
    ],
)
def test_what_is_no_directory_fails_its_file_alone(
    nasdaq: NasdaqStandIn,
    calendar: Calendar,
    misbehave: Misbehaviour,
    error: type[SourceError],
    complaint: str,
) -> None:
    nasdaq.order(misbehave, feed="otherlisted")
    (answer,) = directory(nasdaq, calendar).fetch(requests("otherlisted", "nasdaqlisted"))
    assert list(answer.failures) == ["otherlisted"]
    assert set(answer.tables["market_snapshot"]["feed"].to_pylist()) == {"nasdaqlisted"}
    with pytest.raises(error, match=complaint):
        raise answer.failures["otherlisted"]


def test_a_file_it_does_not_have_is_not_asked_for(
    nasdaq: NasdaqStandIn, calendar: Calendar
) -> None:
    (answer,) = directory(nasdaq, calendar).fetch(requests("bonds"))
    assert isinstance(answer.failures["bonds"], UnknownSymbolAtSource)
    assert nasdaq.requests == []


def test_unknown_exchanges_odd_rows_and_odd_symbols_are_told() -> None:
    lines = [
        "AA|Alcoa Corporation Common Stock|M|AA|N|100|N|AA",
        "AB|AllianceBernstein Holding L.P. Units||AB|N|100|N|AB",
        "AC|Half a row",
        "A_D|Odd Inc. Common Stock|N|A_D|N|100|N|A_D",
        "AE|No tape Inc. Common Stock|Z||N|100|N|AE",
    ]
    file = directory_file(OTHERLISTED, lines)
    table, notices = read_directory(file, "otherlisted", FRIDAY)
    assert table.select(["symbol", "exchange"]).to_pylist() == [
        {"symbol": "AA", "exchange": "m"},
        {"symbol": "AB", "exchange": "unknown"},
        {"symbol": "AE", "exchange": "bats"},
    ]
    assert notices == (
        "otherlisted: 1 row left out, not of 8 cells, such as 'AC|Half a row'.",
        "otherlisted: 1 row left out, whose symbol can't be spelt, such as 'A_D'.",
        "otherlisted: 1 row of an exchange not known here, 'M'.",
        "otherlisted: 1 row of an exchange not known here, ''.",
    )


@pytest.mark.parametrize(
    ("file", "session", "size", "etfs"),
    [
        ("nasdaqlisted", dt.date(2024, 10, 10), 4824, 725),
        ("otherlisted", dt.date(2021, 9, 17), 6116, 2157),
    ],
)
def test_recorded_files_are_read_without_a_loss(
    real: Path, calendar: Calendar, *, file: str, session: dt.date, size: int, etfs: int
) -> None:
    body = (real / "symbol_directory" / f"{file}.txt").read_bytes()
    clock = lambda: dt.datetime(2024, 10, 11, 12, 0, tzinfo=dt.UTC)  # noqa: E731
    with NasdaqStandIn(files={file: body}) as nasdaq:
        source = SymbolDirectory(calendar, lambda request: request(), clock, nasdaq.url)
        (answer,) = source.fetch([Request(file, session, session)])
    table = answer.tables["market_snapshot"]
    assert (table.num_rows, answer.notices) == (size, ())
    assert len(set(table["symbol"].to_pylist())) == size  # no two are spelt alike
    assert set(table["session"].to_pylist()) == {session}
    assert table["type"].to_pylist().count("etf") == etfs
