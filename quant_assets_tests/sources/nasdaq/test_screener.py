"""The screener: its rows, the session they are dated with, and all that is no list of stocks."""

from __future__ import annotations

import datetime as dt
import gzip
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from quant_assets.contracts.market import MARKET_COLUMNS, SECURITY_TYPES
from quant_assets.contracts.source import (
    BadAnswer,
    RateLimited,
    Request,
    SourceError,
    SourceUnavailable,
    UnknownSymbolAtSource,
)
from quant_assets.fetching.http import Refused, judge
from quant_assets.fetching.pacer import Pacer
from quant_assets.reference.calendars import Calendar
from quant_assets.sources.nasdaq.screener import BROWSER, PACE, Screener, read_screener
from quant_assets_tests.standins.nasdaq import (
    PAGE,
    Misbehaviour,
    NasdaqStandIn,
    half_the_rows,
    renamed,
    says,
    screener_body,
    status,
    stock,
)

SATURDAY = dt.datetime(2021, 1, 30, 21, 35, tzinfo=dt.UTC)
FRIDAY = dt.date(2021, 1, 29)
STOCKS = {
    "amex": [stock("AAMC", "Altisource Asset Management Corp Com")],
    "nasdaq": [stock("AACG", "ATA Creativity Global American Depositary Shares"), stock("AAPL")],
    "nyse": [stock("BAC^L", "Bank of America Corporation"), stock("BRK/B", "Berkshire Hathaway")],
}


@pytest.fixture
def nasdaq() -> Iterator[NasdaqStandIn]:
    with NasdaqStandIn(STOCKS) as serving:
        yield serving


def requests(*exchanges: str) -> list[Request]:
    return [Request(exchange, FRIDAY, FRIDAY) for exchange in exchanges]


def screener(
    nasdaq: NasdaqStandIn,
    calendar: Calendar,
    *times: dt.datetime,
    keep: Callable[[str, bytes], None] | None = None,
) -> Screener:
    """One whose clock shows ``times`` one after the other, then stands still at the last."""
    left = list(times or [SATURDAY])
    clock = lambda: left.pop(0) if len(left) > 1 else left[0]  # noqa: E731
    return Screener(calendar, lambda request: request(), clock, nasdaq.url, keep=keep)


def rows(*stocks: Mapping[str, object]) -> list[dict[str, Any]]:
    read: list[dict[str, Any]] = read_screener(screener_body(stocks), "nasdaq", FRIDAY)[
        0
    ].to_pylist()
    return read


def notices(*stocks: Mapping[str, object]) -> tuple[str, ...]:
    return read_screener(screener_body(stocks), "nasdaq", FRIDAY)[1]


def test_a_row_has_every_column_of_the_market() -> None:
    given = {
        "symbol": "AACG",
        "name": "ATA Creativity Global American Depositary Shares",
        "lastsale": "$1.3137",
        "netchange": "-0.0437",
        "pctchange": "-3.441%",
        "volume": "103994",
        "marketCap": "41185153.00",
        "country": "China",
        "ipoyear": "2008",
        "industry": "Other Consumer Services",
        "sector": "Consumer Services",
        "url": "/market-activity/stocks/aacg",
    }
    table, told = read_screener(screener_body([given]), "nasdaq", FRIDAY)
    assert table.schema == MARKET_COLUMNS
    assert table.to_pylist() == [
        {
            "feed": "nasdaq",
            "session": FRIDAY,
            "symbol": "AACG",
            "name": "ATA Creativity Global American Depositary Shares",
            "exchange": "nasdaq",
            "type": "adr",
            "last_sale": 1.3137,
            "net_change": -0.0437,
            "volume": 103994,
            "market_cap": 41185153.0,
            "country": "China",
            "ipo_year": 2008,
            "sector": "Consumer Services",
            "industry": "Other Consumer Services",
        }
    ]
    assert told == ()


def test_each_exchange_is_one_request_of_a_browser(
    nasdaq: NasdaqStandIn, calendar: Calendar
) -> None:
    kept: list[tuple[str, bytes]] = []
    source = screener(nasdaq, calendar, keep=lambda exchange, body: kept.append((exchange, body)))
    (answer,) = source.fetch(requests(*source.symbols()))
    assert answer.symbols == ("amex", "nasdaq", "nyse")
    assert [
        (row["feed"], row["symbol"], row["session"])
        for row in answer.tables["market_snapshot"].to_pylist()
    ] == [
        ("amex", "AAMC", FRIDAY),
        ("nasdaq", "AACG", FRIDAY),
        ("nasdaq", "AAPL", FRIDAY),
        ("nyse", "BAC.PRL", FRIDAY),
        ("nyse", "BRK.B", FRIDAY),
    ]
    assert [(asked.query, asked.user_agent) for asked in nasdaq.requests] == [
        ({"tableonly": "true", "download": "true", "exchange": exchange}, BROWSER["User-Agent"])
        for exchange in source.symbols()
    ]
    assert kept == [(exchange, screener_body(STOCKS[exchange])) for exchange in source.symbols()]


@pytest.mark.parametrize(
    ("column", "written", "field", "read"),
    [
        ("lastsale", "$1,234.50", "last_sale", 1234.5),
        ("lastsale", "$0.00", "last_sale", None),
        ("lastsale", "NA", "last_sale", None),
        ("lastsale", "", "last_sale", None),
        ("netchange", "-0.50", "net_change", -0.5),
        ("volume", "0", "volume", 0),
        ("volume", "3,000,000,000", "volume", 3_000_000_000),
        ("marketCap", "0.00", "market_cap", 0.0),
        ("marketCap", "", "market_cap", None),
        ("marketCap", None, "market_cap", None),
        ("marketCap", 12.5, "market_cap", 12.5),
        ("ipoyear", "1999", "ipo_year", 1999),
        ("ipoyear", "n/a", "ipo_year", None),
        ("country", " ", "country", None),
        ("sector", "Technology ", "sector", "Technology"),
        ("industry", "N/A", "industry", None),
    ],
)
def test_a_value_is_read_or_missing(column: str, written: object, field: str, read: object) -> None:
    given = stock("AAPL") | {column: written}
    assert rows(given)[0][field] == read
    assert notices(given) == ()


def test_values_that_cannot_be_read_are_missing_and_counted() -> None:
    given = [
        stock("AACG", lastsale="none", volume="1.5"),
        stock("AAPL", lastsale="nan"),
        stock("MSFT", lastsale="1e400"),
    ]
    assert [row["last_sale"] for row in rows(*given)] == [None, None, None]
    assert notices(*given) == (
        "nasdaq: 3 values of lastsale can't be read, the first 'none' of AACG.",
        "nasdaq: 1 value of volume can't be read, the first '1.5' of AACG.",
    )


def test_a_column_that_is_not_required_may_be_gone() -> None:
    given = {name: value for name, value in stock("AAPL").items() if name != "sector"}
    assert rows(given)[0]["sector"] is None
    assert notices(given) == ("nasdaq: no column sector, so those values are missing.",)


def test_symbols_that_cannot_be_spelt_are_left_out_and_named() -> None:
    given = [stock("AAPL"), stock("MSFT           "), stock("A B"), stock("1X"), stock("NVDA")]
    assert [row["symbol"] for row in rows(*given)] == ["AAPL", "MSFT", "NVDA"]
    assert notices(*given) == (
        "nasdaq: 2 rows left out, whose symbol can't be spelt, such as 'A B', '1X'.",
    )


def test_a_list_of_which_most_symbols_cannot_be_spelt_is_refused() -> None:
    with pytest.raises(BadAnswer, match="has 2 symbols of 3 that can't be spelt, such as 'A B'"):
        rows(stock("AAPL"), stock("A B"), stock("1X"))


def test_test_symbols_are_no_securities_and_test_makers_are() -> None:
    given = [
        stock("ZVZZT", "NASDAQ TEST STOCK"),
        stock("CTEST/E", "NYSE Test One Common Stock"),
        stock("ZZZ", "Tick Pilot Test Stock Class A Common Stock"),
        stock("AEHR", "Aehr Test Systems Common Stock"),
        stock("USER", "UserTesting Inc. Common Stock"),
    ]
    assert [row["symbol"] for row in rows(*given)] == ["AEHR", "USER"]


@pytest.mark.parametrize(
    ("misbehave", "error", "complaint"),
    [
        (says(PAGE), BadAnswer, "list of nyse is no JSON.*begins '<!DOCTYPE html>"),
        (says(b""), BadAnswer, "list of nyse is empty.*Expected is JSON with data.rows"),
        (says(b"[]"), BadAnswer, r"has no rows.*begins '\[\]'"),
        (says(b'{"data":null,"status":{"rCode":400}}'), BadAnswer, "has no rows.*rCode"),
        (says(b'{"data":{"rows":null}}'), BadAnswer, "has no rows"),
        (says(b'{"data":{"rows":[]}}'), BadAnswer, "has no rows"),
        (says(b'{"data":{"rows":["AAPL"]}}'), BadAnswer, "has rows that are no objects"),
        (renamed('"symbol":', '"ticker":'), BadAnswer, "lacks the column symbol in 2 of 2 rows"),
        (renamed('"lastsale":', '"last":'), BadAnswer, "lacks the column lastsale"),
        (renamed('"marketCap":', '"cap":'), BadAnswer, "lacks the column marketCap"),
        (renamed('"name": "B', '"n": "B'), BadAnswer, "lacks the column name in 2 of 2 rows"),
        (status(403), Refused, "403 Client Error"),
        (status(429, "7"), RateLimited, "limits our requests; it says to wait 7 s"),
        (status(500), SourceUnavailable, "500 Server Error"),
    ],
)
def test_what_is_no_list_fails_its_exchange_alone(
    nasdaq: NasdaqStandIn,
    calendar: Calendar,
    misbehave: Misbehaviour,
    error: type[SourceError],
    complaint: str,
) -> None:
    nasdaq.order(misbehave, feed="nyse")
    (answer,) = screener(nasdaq, calendar).fetch(requests("amex", "nyse", "nasdaq"))
    assert list(answer.failures) == ["nyse"]
    assert set(answer.tables["market_snapshot"]["feed"].to_pylist()) == {"amex", "nasdaq"}
    with pytest.raises(error, match=complaint):
        raise answer.failures["nyse"]


def test_a_python_client_is_refused_by_the_stand_in(
    nasdaq: NasdaqStandIn, calendar: Calendar, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(BROWSER, "User-Agent", "python-requests/2.32")
    (answer,) = screener(nasdaq, calendar).fetch(requests("amex"))
    assert isinstance(answer.failures["amex"], Refused)


def test_half_a_list_is_read_as_far_as_it_goes(nasdaq: NasdaqStandIn, calendar: Calendar) -> None:
    # Nothing in the body says how many rows there are: a rule of the dataset has to notice.
    nasdaq.order(half_the_rows)
    (answer,) = screener(nasdaq, calendar).fetch(requests("nasdaq"))
    assert answer.tables["market_snapshot"]["symbol"].to_pylist() == ["AACG"]


def test_an_exchange_it_does_not_have_is_not_asked_for(
    nasdaq: NasdaqStandIn, calendar: Calendar
) -> None:
    (answer,) = screener(nasdaq, calendar).fetch(requests("lse"))
    assert isinstance(answer.failures["lse"], UnknownSymbolAtSource)
    assert nasdaq.requests == []


@pytest.mark.parametrize(
    ("now", "session"),
    [
        (SATURDAY, FRIDAY),
        (dt.datetime(2021, 1, 29, 21, 20, tzinfo=dt.UTC), FRIDAY),
        (dt.datetime(2021, 2, 1, 14, 29, tzinfo=dt.UTC), FRIDAY),
        (dt.datetime(2021, 1, 18, 16, 0, tzinfo=dt.UTC), dt.date(2021, 1, 15)),  # a holiday
        (dt.datetime(2020, 11, 27, 18, 21, tzinfo=dt.UTC), dt.date(2020, 11, 27)),  # closes early
    ],
)
def test_figures_are_of_the_last_closed_session(
    nasdaq: NasdaqStandIn, calendar: Calendar, now: dt.datetime, session: dt.date
) -> None:
    (answer,) = screener(nasdaq, calendar, now).fetch(requests("amex"))
    assert answer.tables["market_snapshot"]["session"].to_pylist() == [session]


@pytest.mark.parametrize("minute", [30, 59])
def test_a_session_under_way_is_not_asked_for(
    nasdaq: NasdaqStandIn, calendar: Calendar, minute: int
) -> None:
    now = dt.datetime(2021, 1, 29, 14, minute, tzinfo=dt.UTC)
    (answer,) = screener(nasdaq, calendar, now).fetch(requests("amex"))
    assert str(answer.failures["amex"]) == (
        "The session of 2021-01-29 is under way, and nasdaq shows live figures until its close. "
        "Load them after the close."
    )
    assert isinstance(answer.failures["amex"], SourceUnavailable)
    assert nasdaq.requests == []


@pytest.mark.parametrize(
    ("before", "after", "complaint"),
    [
        ((2021, 1, 29, 14, 29), (2021, 1, 29, 14, 31), "2021-01-29 is under way"),
        ((2021, 1, 29, 14, 29), (2021, 1, 29, 21, 1), "2021-01-29 closed during this load"),
    ],
)
def test_an_answer_that_comes_after_a_bell_is_refused(
    nasdaq: NasdaqStandIn,
    calendar: Calendar,
    before: tuple[int, ...],
    after: tuple[int, ...],
    complaint: str,
) -> None:
    began, arrived = (dt.datetime(*time, tzinfo=dt.UTC) for time in (before, after))  # type: ignore[misc, arg-type]
    (answer,) = screener(nasdaq, calendar, began, began, arrived).fetch(requests("amex"))
    assert nasdaq.requested("amex") == 1
    with pytest.raises(SourceUnavailable, match=complaint):
        raise answer.failures["amex"]


def test_an_error_of_pacing_is_an_error_of_the_source(
    nasdaq: NasdaqStandIn, calendar: Calendar, tmp_path: Path
) -> None:
    now = [SATURDAY.timestamp()]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    pacer = Pacer(
        tmp_path / "pacing.sqlite", "nasdaq", PACE, judge=judge, clock=lambda: now[0], sleep=sleep
    )
    clock = lambda: dt.datetime.fromtimestamp(now[0], dt.UTC)  # noqa: E731
    nasdaq.order(status(429), times=10)
    (answer,) = Screener(calendar, pacer.call, clock, nasdaq.url).fetch(requests("amex"))
    assert isinstance(answer.failures["amex"], RateLimited)
    assert nasdaq.requested("amex") == 3


def bodies(real: Path, day: str) -> dict[str, Sequence[Mapping[str, str]]]:
    """The rows of each exchange as recorded."""
    recorded = sorted((real / "screener").glob(f"raw_{day}_*.json.gz"))
    return {path.name.split("_")[2]: json.loads(gzip.open(path).read()) for path in recorded}


@pytest.mark.parametrize(
    ("now", "session", "sizes"),
    [
        (SATURDAY, FRIDAY, {"amex": 298, "nasdaq": 3689, "nyse": 3310}),
        (
            dt.datetime(2022, 6, 7, 21, 35, tzinfo=dt.UTC),
            dt.date(2022, 6, 7),
            {"amex": 282, "nasdaq": 5094, "nyse": 3165},
        ),
    ],
)
def test_recorded_days_are_read_without_a_loss(
    real: Path, calendar: Calendar, now: dt.datetime, session: dt.date, sizes: dict[str, int]
) -> None:
    recorded = bodies(real, f"{now:%Y-%m-%d}")
    with NasdaqStandIn(recorded) as nasdaq:
        (answer,) = screener(nasdaq, calendar, now).fetch(requests(*sizes))
    found = answer.tables["market_snapshot"].to_pylist()
    assert Counter(row["feed"] for row in found) == sizes
    assert answer.notices == ()
    assert {row["session"] for row in found} == {session}
    assert {row["type"] for row in found} <= set(SECURITY_TYPES)
    assert len({row["symbol"] for row in found}) == len(found)  # no two are spelt alike
    by_symbol = {row["symbol"]: row for row in found}
    assert by_symbol["BRK.B"]["type"] == "common_stock"
    assert by_symbol["BAC.PRL"]["type"] == "preferred"
    assert by_symbol["AAPL"]["market_cap"] > 2e12
