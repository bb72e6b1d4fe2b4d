"""The stand-in for Yahoo tells what Yahoo tells, misbehaves just as ordered, and counts exactly."""

from __future__ import annotations

import datetime as dt
import json
import math
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pandas as pd
import pytest
import requests
import yfinance.cache
from yfinance.data import YfData
from yfinance.exceptions import YFRateLimitError
from yfinance.scrapers.history import PriceHistory

from quant_assets_tests.standins import yahoo_listings as listings
from quant_assets_tests.standins import yahoo_misbehaviours as misbehaviours
from quant_assets_tests.standins.yahoo_listings import CHART, CRUMB, Listing
from quant_assets_tests.standins.yahoo_misbehaviours import Misbehaviour
from quant_assets_tests.standins.yahoo_standin import StandIn

PROJECT = Path(__file__).parents[3]
RECORDINGS = "yahoo_http/yahoo-finance2_recorded_2025"
SPLIT = dt.date(2020, 8, 31), 4, 1
BEFORE_SPLIT = dt.datetime(2020, 8, 29, tzinfo=dt.UTC)
AFTER_SPLIT = dt.datetime(2020, 9, 2, 1, 0, tzinfo=dt.UTC)
OPENS = [1598535000, 1598621400, 1598880600, 1598967000]
"""09:30 in New York on the four sessions of ``apple``."""


def apple() -> Listing:
    """Two sessions in old shares, two in new ones."""
    return Listing.of(
        "AAPL",
        (dt.date(2020, 8, 27), 508.57, 509.94, 495.33, 500.04, 38_888_100),
        (dt.date(2020, 8, 28), 504.05, 505.77, 498.31, 499.23, 46_907_500),
        (dt.date(2020, 8, 31), 127.58, 131.0, 126.0, 129.04, 225_702_700),
        (dt.date(2020, 9, 1), 132.76, 134.8, 130.53, 134.18, 151_948_100),
        splits=[SPLIT],
        dividends=[(dt.date(2020, 8, 28), 0.82)],
        name="Apple Inc.",
        first_trade_on=dt.date(1980, 12, 12),
    )


@pytest.fixture
def standin() -> Iterator[StandIn]:
    with StandIn([apple()], now=AFTER_SPLIT) as serving:
        yield serving


def ask(standin: StandIn, symbol: str = "AAPL", **params: Any) -> requests.Response:
    everything: dict[str, Any] = {"period1": 0, "period2": 2**34, "events": listings.ALL_EVENTS}
    with requests.Session() as session:
        return session.get(f"{standin.url}{CHART}{symbol}", params=everything | params, timeout=10)


def chart(standin: StandIn, **params: Any) -> dict[str, Any]:
    (result,) = ask(standin, **params).json()["chart"]["result"]
    return result  # type: ignore[no-any-return]


def column(result: dict[str, Any], name: str) -> list[Any]:
    return result["indicators"]["quote"][0][name]  # type: ignore[no-any-return]


# What it says.


def test_before_a_split_prices_are_as_traded_and_the_split_is_unheard_of(standin: StandIn) -> None:
    standin.now = BEFORE_SPLIT
    said = chart(standin)
    assert said["timestamp"] == OPENS[:2]
    assert column(said, "close") == [float(np.float32(500.04)), float(np.float32(499.23))]
    assert column(said, "volume") == [38_888_100, 46_907_500]
    assert said["events"] == {"dividends": {"1598621400": {"date": 1598621400, "amount": 0.82}}}


def test_after_a_split_all_history_is_in_new_shares(standin: StandIn) -> None:
    said = chart(standin)
    assert said["timestamp"] == OPENS
    closes = [125.01000213623047, 124.80750274658203, 129.0399932861328, 134.17999267578125]
    assert column(said, "close") == closes
    assert column(said, "volume") == [155_552_400, 187_630_000, 225_702_700, 151_948_100]
    split = {"date": OPENS[2], "numerator": 4.0, "denominator": 1.0, "splitRatio": "4:1"}
    assert said["events"] == {
        "dividends": {"1598621400": {"date": 1598621400, "amount": 0.205}},
        "splits": {"1598880600": split},
    }


def test_a_dividend_takes_its_share_off_the_adjusted_close_of_earlier_sessions(
    standin: StandIn,
) -> None:
    adjusted = chart(standin)["indicators"]["adjclose"][0]["adjclose"]
    assert adjusted[:2] == [float(np.float32(125.01 * (1 - 0.82 / 500.04))), 124.80750274658203]


def test_both_ends_of_a_range_are_included_and_events_outside_are_not_told(
    standin: StandIn,
) -> None:
    said = chart(standin, period1=OPENS[1] + 1, period2=OPENS[3])
    assert said["timestamp"] == OPENS[2:]
    assert list(said["events"]) == ["splits"]
    assert said["meta"]["chartPreviousClose"] == 124.808


def test_only_the_events_asked_for_are_told(standin: StandIn) -> None:
    assert list(chart(standin, events="div")["events"]) == ["dividends"]
    assert "events" not in chart(standin, events="")


def test_a_session_under_way_is_a_live_bar_stamped_with_the_time(standin: StandIn) -> None:
    standin.now = dt.datetime(2020, 9, 1, 16, 45, tzinfo=dt.UTC)  # half of the session is over
    said = chart(standin)
    assert said["timestamp"] == [*OPENS[:3], 1598978700]
    assert said["meta"]["regularMarketTime"] == 1598978700
    assert column(said, "close")[-1] == float(np.float32(133.47))
    assert column(said, "volume")[-1] == 75_974_050


def test_a_range_name_counts_back_from_now(standin: StandIn) -> None:
    url = f"{standin.url}{CHART}AAPL"
    said = requests.get(url, params={"range": "1d", "interval": "1d"}, timeout=10).json()
    (result,) = said["chart"]["result"]
    assert (result["timestamp"], result["meta"]["range"]) == ([OPENS[3]], "1d")


def test_an_unknown_symbol_is_not_found(standin: StandIn) -> None:
    reply = ask(standin, "NOSUCH")
    assert reply.status_code == 404
    error = {"code": "Not Found", "description": "No data found, symbol may be delisted"}
    assert reply.json() == {"chart": {"result": None, "error": error}}


def test_a_renamed_symbol_is_found_under_its_new_name_only(standin: StandIn) -> None:
    standin.rename("AAPL", "PEAR")
    assert ask(standin).status_code == 404
    assert ask(standin, "PEAR").json()["chart"]["result"][0]["meta"]["symbol"] == "PEAR"


@pytest.mark.parametrize("bounds", [(0, 86_400), (1_600_000_000, 1_700_000_000)])
def test_a_range_beyond_the_first_or_last_trade_is_refused(
    standin: StandIn, bounds: tuple[int, int]
) -> None:
    reply = ask(standin, period1=bounds[0], period2=bounds[1])
    assert reply.status_code == 400
    assert reply.json()["chart"]["error"] == {
        "code": "Bad Request",
        "description": f"Data doesn't exist for startDate = {bounds[0]}, endDate = {bounds[1]}",
    }


def test_a_weekend_between_sessions_has_meta_data_only(standin: StandIn) -> None:
    said = chart(standin, period1=OPENS[1] + 86_400, period2=OPENS[1] + 2 * 86_400)
    assert list(said) == ["meta", "indicators"]
    assert said["indicators"] == {"quote": [{}], "adjclose": [{}]}


def test_coins_trade_every_day_from_midnight_utc() -> None:
    day = dt.date(2020, 1, 4), 7345.38, 7433.0, 7291.4, 7410.66, 18_444_271_275
    coin = Listing.of("BTC-USD", day, kind="CRYPTOCURRENCY", market=listings.CRYPTO)
    said = json.loads(coin.chart(0, 2**40, AFTER_SPLIT).body)["chart"]["result"][0]
    assert said["timestamp"] == [1578096000]
    assert said["meta"]["exchangeTimezoneName"] == "UTC"


# Beside what Yahoo said.


def shape(value: Any) -> Any:
    """Names and kinds. Times as keys are one name; JSON has one kind of number."""
    if isinstance(value, dict):
        return {"time" if key.isdigit() else key: shape(each) for key, each in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return "number" if isinstance(value, int | float) else type(value).__name__


@pytest.mark.parametrize(
    ("recording", "facts", "query"),
    [
        ("chart-AAPL-2020-08-31-to-2020-11-07", {}, (1598832000, 1604707200)),
        ("chart-QQQ-2020-01-01-to-2020-01-03", {"kind": "ETF"}, (OPENS[3], OPENS[3])),
        (
            "chart-BTC-USD-2020-01-01-to-2020-01-03",
            {"kind": "CRYPTOCURRENCY", "market": listings.CRYPTO},
            (OPENS[3] - 48_600, OPENS[3]),
        ),
    ],
)
def test_an_answer_has_the_shape_of_the_recorded_one(
    real: Path, recording: str, facts: dict[str, Any], query: tuple[int, int]
) -> None:
    said = listings.recorded(real / RECORDINGS / f"{recording}.json")
    rows = apple().rows.itertuples(index=False, name=None)
    ours = Listing.of(
        said.symbol, *rows, splits=[SPLIT], dividends=[(dt.date(2020, 9, 1), 0.2)], **facts
    )
    has_events = b'"events"' in said.reply.body
    reply = ours.chart(*query, said.at, events=listings.ALL_EVENTS if has_events else "")
    theirs, rendered = json.loads(said.reply.body), json.loads(reply.body)
    assert shape(rendered) == shape(theirs)
    for name in ("instrumentType", "exchangeTimezoneName", "validRanges", "dataGranularity"):
        assert (
            rendered["chart"]["result"][0]["meta"][name]
            == (theirs["chart"]["result"][0]["meta"][name])
        )


def test_the_trading_periods_of_the_day_are_the_recorded_ones(real: Path) -> None:
    for recording in (
        "chart-AAPL-2020-01-01-to-2020-01-03",  # on a Thursday before the open
        "historical-via-chart-AAPL-2020-01-01-to-2020-01-03",  # on a Saturday
    ):
        said = listings.recorded(real / RECORDINGS / f"{recording}.json")
        day_before = said.at.date() - dt.timedelta(days=1)
        ours = Listing.of("AAPL", (day_before, 1.0, 1.0, 1.0, 1.0, 1)).chart(0, 2**40, said.at)
        metas = [
            json.loads(body)["chart"]["result"][0]["meta"] for body in (ours.body, said.reply.body)
        ]
        assert metas[0]["currentTradingPeriod"] == metas[1]["currentTradingPeriod"]
        assert metas[0]["gmtoffset"] == metas[1]["gmtoffset"]
        assert metas[0]["timezone"] == metas[1]["timezone"]


@pytest.mark.parametrize(
    ("recording", "splits", "sessions", "alike"),
    [
        (
            "historical-via-chart-NVDA-split-2021-02-01-to-2022-01-31.csv",
            [(dt.date(2021, 7, 20), 4, 1), (dt.date(2024, 6, 10), 10, 1)],
            56,
            1.0,
        ),
        # Two vendors differ on some closes; 0.81 is what comes without rounding to six decimals.
        (
            "historical-via-chart-dividends-TSLA-no-dividends",
            [(dt.date(2020, 8, 31), 5, 1), (dt.date(2022, 8, 25), 3, 1)],
            2090,
            0.98,
        ),
    ],
)
def test_closes_as_traded_become_the_recorded_ones_bit_for_bit(
    real: Path, recording: str, splits: list[listings.Split], sessions: int, alike: float
) -> None:
    said = listings.recorded(real / RECORDINGS / f"{recording}.json")
    traded = pd.read_parquet(
        real / "prices/alphavantage_sp500_daily_adjusted_20130102_20210421.parquet",
        filters=[("symbol", "==", said.symbol)],
    )
    ours = Listing(said.symbol, traded.rename(columns={"date": "session"}), splits)
    bodies = (ours.chart(0, 2**40, said.at).body, said.reply.body)
    results = [json.loads(body)["chart"]["result"][0] for body in bodies]
    rendered, theirs = (
        pd.Series(column(result, "close"), index=result["timestamp"]) for result in results
    )
    both = rendered.index.intersection(theirs.index)
    assert len(both) == sessions
    assert (rendered[both] == theirs[both]).mean() >= alike


def test_a_split_adjusted_set_is_restored_to_the_cents_that_were_paid(real: Path) -> None:
    (listing,) = listings.yahoo_price_set(real, ["AAPL"])
    assert listing.splits == [(dt.date(2014, 6, 9), 7, 1), SPLIT]
    closes = dict(zip(listing.rows["session"], listing.rows["close"], strict=True))
    assert (closes[dt.date(2020, 8, 28)], closes[dt.date(2014, 6, 6)]) == (499.23, 645.57)


def test_a_recording_is_said_again_for_its_symbol(real: Path) -> None:
    said = listings.recorded(real / RECORDINGS / "chart-BTC-USD-2020-01-01-to-2020-01-03.json")
    with StandIn([said]) as standin:
        assert ask(standin, "BTC-USD", period1=5).content == said.reply.body
    assert said.at == dt.datetime(2025, 2, 20, 11, 47, 41, tzinfo=dt.UTC)


# How it misbehaves.


def test_a_refusal_may_say_when_to_come_back(standin: StandIn) -> None:
    standin.order(misbehaviours.status(429, retry_after=7))
    standin.order(misbehaviours.status(429))
    replies = [ask(standin) for _ in range(3)]
    assert [reply.status_code for reply in replies] == [429, 429, 200]
    assert [reply.headers.get("Retry-After") for reply in replies] == ["7", None, None]
    assert replies[0].text == "Too Many Requests\r\n"


def test_an_order_may_be_for_one_symbol_and_for_ever(standin: StandIn) -> None:
    standin.order(misbehaviours.status(500), symbol="AAPL", times=math.inf)
    assert [ask(standin).status_code for _ in range(3)] == [500, 500, 500]
    assert ask(standin, "MSFT").status_code == 404
    standin.relent()
    assert ask(standin).status_code == 200


def test_the_crumb_may_be_refused_with_either_status(standin: StandIn) -> None:
    standin.order(misbehaviours.words("Too Many Requests", code=429), path=CRUMB)
    standin.order(misbehaviours.words("Too Many Requests"), path=CRUMB)
    with requests.Session() as session:
        session.get(standin.url, timeout=10)
        replies = [session.get(standin.url + CRUMB, timeout=10) for _ in range(3)]
    assert [(reply.status_code, reply.text) for reply in replies] == [
        (429, "Too Many Requests"),
        (200, "Too Many Requests"),
        (200, "haT3oykhHqZ"),
    ]


@pytest.mark.parametrize(
    ("misbehave", "error"),
    [
        (misbehaviours.reset(), requests.ConnectionError),
        (misbehaviours.cut(), requests.exceptions.ChunkedEncodingError),
        (misbehaviours.silence(seconds=0.01), requests.ConnectionError),
    ],
)
def test_a_broken_connection_is_felt_once(
    standin: StandIn, misbehave: Misbehaviour, error: type[Exception]
) -> None:
    standin.order(misbehave)
    with pytest.raises(error):
        ask(standin)
    assert ask(standin).status_code == 200


def test_silence_outlasts_the_client_and_ends_with_the_stand_in() -> None:
    with StandIn([apple()]) as standin:
        standin.order(misbehaviours.silence(seconds=3600))
        with pytest.raises(requests.Timeout):
            requests.get(f"{standin.url}{CHART}AAPL", timeout=0.05)
    assert [asked.status for asked in standin.requests] == [None]


def test_a_held_connection_can_be_released(standin: StandIn) -> None:
    standin.order(misbehaviours.silence(seconds=3600))
    with ThreadPoolExecutor() as pool:
        held = pool.submit(ask, standin)
        while not held.done():
            standin.release()
    assert isinstance(held.exception(), requests.ConnectionError)


@pytest.mark.parametrize("misbehave", [misbehaviours.truncated(), misbehaviours.html()])
def test_what_should_be_json_may_not_be(standin: StandIn, misbehave: Misbehaviour) -> None:
    standin.order(misbehave)
    reply = ask(standin)
    assert reply.status_code == 200
    with pytest.raises(requests.exceptions.JSONDecodeError):
        reply.json()


def test_a_chart_may_be_empty(standin: StandIn) -> None:
    standin.order(misbehaviours.empty())
    assert list(chart(standin)) == ["meta", "indicators"]


def closes_and_volumes(result: dict[str, Any]) -> list[tuple[Any, ...]]:
    closes = [close and round(close, 2) for close in column(result, "close")]
    return list(zip(result["timestamp"], closes, column(result, "volume"), strict=True))


FIRST, SECOND, THIRD = (
    (OPENS[0], 125.01, 155_552_400),
    (OPENS[1], 124.81, 187_630_000),
    (OPENS[2], 129.04, 225_702_700),
)
FOURTH = OPENS[3], 134.18, 151_948_100


@pytest.mark.parametrize(
    ("misbehave", "rows"),
    [
        (misbehaviours.without_session("2020-08-28"), [FIRST, THIRD, FOURTH]),
        (
            misbehaviours.restated("2020-08-31", "volume", 9),
            [FIRST, SECOND, (OPENS[2], 129.04, 9), FOURTH],
        ),
        (
            misbehaviours.without_prices("2020-09-01", volume=5),
            [FIRST, SECOND, THIRD, (OPENS[3], None, 5)],
        ),
        (misbehaviours.doubled("2020-08-31"), [FIRST, SECOND, THIRD, THIRD, FOURTH]),
        (
            misbehaviours.doubled("2020-09-01", seconds_later=60, close=134.5),
            [FIRST, SECOND, THIRD, FOURTH, (OPENS[3] + 60, 134.5, 151_948_101)],
        ),
        (
            misbehaviours.with_live_bar(1599055200, 137.0),
            [FIRST, SECOND, THIRD, FOURTH, (1599055200, 137.0, 1000)],
        ),
        (
            misbehaviours.split_not_applied("2020-08-31"),
            [(OPENS[0], 500.04, 38_888_100), (OPENS[1], 499.23, 46_907_500), THIRD, FOURTH],
        ),
        (misbehaviours.without_session("2020-08-30"), [FIRST, SECOND, THIRD, FOURTH]),
    ],
)
def test_rows_may_be_wrong_in_one_answer(
    standin: StandIn, misbehave: Misbehaviour, rows: list[tuple[Any, ...]]
) -> None:
    standin.order(misbehave)
    assert closes_and_volumes(chart(standin)) == rows
    assert closes_and_volumes(chart(standin)) == [FIRST, SECOND, THIRD, FOURTH]


def test_a_split_may_be_left_out_though_prices_are_adjusted_for_it(standin: StandIn) -> None:
    standin.order(misbehaviours.without_events("splits"))
    said = chart(standin)
    assert list(said["events"]) == ["dividends"]
    assert column(said, "close")[0] == 125.01000213623047


def test_anything_else_can_be_ordered_as_an_edit(standin: StandIn) -> None:
    standin.order(misbehaviours.edited(lambda result: result["meta"].pop("currency")))
    assert "currency" not in chart(standin)["meta"]


def test_charts_beyond_the_rate_of_any_second_are_refused_and_cookies_are_not() -> None:
    seconds = iter([0.0, 0.4, 0.9, 1.0, 1.1, 1.2])
    with StandIn(
        [apple()], now=AFTER_SPLIT, requests_per_second=2, monotonic=lambda: next(seconds)
    ) as standin:
        assert [ask(standin).status_code for _ in range(5)] == [200, 200, 429, 200, 429]
        assert requests.get(standin.url, timeout=10).status_code == 404


def test_answers_may_take_their_time() -> None:
    with StandIn([apple()], now=AFTER_SPLIT, latency_seconds=0.05) as standin:
        assert ask(standin).elapsed >= dt.timedelta(seconds=0.05)


# How it counts.


def test_every_request_is_on_record(standin: StandIn) -> None:
    host = {"X-Forwarded-Host": "query2.finance.yahoo.com"}
    requests.get(f"{standin.url}{CHART}AAPL", params={"range": "1d"}, headers=host, timeout=10)
    requests.get(f"{standin.url}/v10/finance/quoteSummary/AAPL", timeout=10)
    first, second = standin.requests
    assert (first.method, first.host, first.path) == (
        "GET",
        host["X-Forwarded-Host"],
        CHART + "AAPL",
    )
    assert (first.symbol, first.params, first.status) == ("AAPL", {"range": "1d"}, 200)
    assert (second.symbol, second.status) == (None, 404)
    assert first.at < second.at


def test_counts_and_orders_are_exact_under_threads(standin: StandIn) -> None:
    standin.order(misbehaviours.status(500), times=30)
    symbols = ["AAPL", "MSFT"] * 100
    with ThreadPoolExecutor(8) as pool:
        codes = [reply.status_code for reply in pool.map(lambda s: ask(standin, s), symbols)]
    assert codes.count(500) == 30
    assert standin.price_requests() == 200
    assert standin.price_requests("AAPL") == 100
    statuses = [asked.status for asked in standin.requests]
    assert statuses.count(200) == codes.count(200)


# The real yfinance, sent here.


class Rewriting(requests.Session):
    """Whatever host is asked for, the stand-in answers, and learns which it was."""

    def __init__(self, base: str) -> None:
        super().__init__()
        self.base = base

    def request(self, method: Any, url: Any, *args: Any, **rest: Any) -> requests.Response:
        asked = urlsplit(url)
        rest["headers"] = {**(rest.get("headers") or {}), "X-Forwarded-Host": asked.netloc}
        there = f"{self.base}{asked.path or '/'}{'?' + asked.query if asked.query else ''}"
        return super().request(method, there, *args, **rest)


@pytest.fixture
def yf(standin: StandIn, monkeypatch: pytest.MonkeyPatch) -> Iterator[YfData]:
    """An instance of its own, past the one that yfinance shares, and without a cache on disk."""
    forgetful = yfinance.cache._CookieCacheDummy()
    monkeypatch.setattr(yfinance.cache._CookieCacheManager, "_Cookie_cache", forgetful)
    YfData.cache_get.cache_clear()
    with Rewriting(standin.url) as session:
        data = YfData.__new__(YfData)
        data.__init__(session)
        yield data
    YfData.cache_get.cache_clear()


# yfinance 1.7 still uses what pandas 4 will change.
yfinance_warns = pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning")


def history(yf: YfData, symbol: str = "AAPL") -> pd.DataFrame:
    prices = PriceHistory(yf, symbol, "America/New_York")
    got: pd.DataFrame = prices.history(start="2020-08-27", end="2020-09-02", auto_adjust=False)
    return got


@yfinance_warns
def test_yfinance_reads_prices_and_events(standin: StandIn, yf: YfData) -> None:
    got = history(yf)
    assert [str(day.date()) for day in got.index] == [
        *("2020-08-27", "2020-08-28", "2020-08-31", "2020-09-01"),
    ]
    assert got["Close"].round(4).tolist() == [125.01, 124.8075, 129.04, 134.18]
    assert got["Stock Splits"].tolist() == [0, 0, 4, 0]
    assert got["Dividends"].tolist() == [0, 0.205, 0, 0]
    assert [(asked.host, asked.path, asked.status) for asked in standin.requests] == [
        ("fc.yahoo.com", "/", 404),
        ("fc.yahoo.com", "/", 404),  # it forgets that it has just asked
        ("query1.finance.yahoo.com", CRUMB, 200),
        ("query2.finance.yahoo.com", CHART + "AAPL", 200),
    ]
    assert standin.requests[-1].params["crumb"] == "haT3oykhHqZ"


def test_yfinance_walks_through_the_consent_form_after_a_refusal(
    standin: StandIn, yf: YfData
) -> None:
    standin.order(misbehaviours.status(401))
    assert yf.get(f"https://query2.finance.yahoo.com{CHART}AAPL").status_code == 200
    paths = [f"{asked.method} {asked.path}" for asked in standin.requests]
    assert "POST /v2/collectConsent" in paths
    assert paths[-1] == f"GET {CHART}AAPL"


def test_yfinance_asks_twice_on_a_429_and_then_says_so(standin: StandIn, yf: YfData) -> None:
    standin.order(misbehaviours.status(429), times=math.inf)
    with pytest.raises(YFRateLimitError):
        history(yf)
    assert standin.price_requests() == 2


@yfinance_warns
def test_yfinance_keeps_a_refused_crumb(standin: StandIn, yf: YfData) -> None:
    """Its fault, not ours: the stand-in must be able to show it."""
    standin.order(misbehaviours.words("Too Many Requests"), path=CRUMB)
    assert len(history(yf)) == 4
    assert yf._crumb == "Too Many Requests"


# In a process of its own.


def test_it_runs_by_itself_takes_orders_and_ends_on_sigterm() -> None:
    command = [sys.executable, "-m", "quant_assets_tests.standins.yahoo_standin"]
    options = ["--symbols", "AAA,BBB", "--years", "0.5", "--now", "2024-06-03T12:00:00+00:00"]
    with subprocess.Popen(
        [*command, *options], cwd=PROJECT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        order: dict[str, Any] = {"kind": "status", "arguments": {"code": 503}, "symbol": "BBB"}
        requests.post(f"{url}/_order", json=order, timeout=10)
        codes = [requests.get(f"{url}{CHART}{s}", timeout=10).status_code for s in ("AAA", "BBB")]
        with urllib.request.urlopen(f"{url}/_stats", timeout=10) as reply:
            counts = json.load(reply)
        process.terminate()
        assert process.wait(10) == 0
    assert codes == [200, 503]
    assert counts == {
        "requests": 2,
        "price_requests": 2,
        "by_status": {"200": 1, "503": 1},
    }


def test_an_invented_market_is_the_same_every_time() -> None:
    markets = [listings.invented_market(["AAA", "BBB"], 1, dt.date(2020, 8, 31)) for _ in range(2)]
    first, second = (
        [listing.chart(0, 2**40, AFTER_SPLIT).body for listing in market] for market in markets
    )
    assert first == second
    assert first[0] != first[1]
