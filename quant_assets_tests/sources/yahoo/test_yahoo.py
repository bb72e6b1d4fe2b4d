"""Yahoo asked: the real yfinance against a stand-in on loopback that misbehaves on order."""

from __future__ import annotations

import datetime as dt
import email.utils
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest
from yfinance import cache
from yfinance.data import YfData

from quant_assets.contracts.prices import PriceAnswer
from quant_assets.contracts.source import (
    BadAnswer,
    MissingAtSource,
    RateLimited,
    Request,
    SourceUnavailable,
)
from quant_assets.datasets.daily_prices.dataset import DailyPrices
from quant_assets.fetching.http import judge
from quant_assets.fetching.pace import Pace
from quant_assets.fetching.pacer import Pacer
from quant_assets.reference.calendars import exchange_calendar
from quant_assets.sources.yahoo.daily_prices import YahooSource
from quant_assets_tests.conftest import NOW
from quant_assets_tests.contracts.suite import (
    END,
    PRICE_TABLES,
    START,
    Pair,
    PriceSourceContract,
    price_tables,
)
from quant_assets_tests.standins.yahoo_listings import CHART, CRUMB, Listing
from quant_assets_tests.standins.yahoo_misbehaviours import (
    Misbehaviour,
    cut,
    doubled,
    empty,
    html,
    reset,
    silence,
    status,
    truncated,
    with_live_bar,
    without_prices,
    without_session,
    words,
)
from quant_assets_tests.standins.yahoo_standin import StandIn

T = TypeVar("T")

XNYS = exchange_calendar("XNYS")
TUESDAY, WEDNESDAY, THURSDAY, FRIDAY = (dt.date(2024, 5, day) for day in range(28, 32))


def listing(symbol: str, close: float = 100.0) -> Listing:
    rows = [
        (TUESDAY, 400.0, 404.0, 396.0, 4 * close, 1000),
        (WEDNESDAY, 100.0, 101.0, 99.0, close, 4000),
        (THURSDAY, 100.5, 102.0, 99.5, close + 1, 5000),
        (FRIDAY, 101.0, 103.0, 100.0, close + 2, 6000),
    ]
    return Listing.of(
        symbol,
        *rows,
        splits=((WEDNESDAY, 4.0, 1.0),),
        dividends=((TUESDAY, 0.82), (FRIDAY, 0.25)),
    )


@pytest.fixture
def standin() -> Iterator[StandIn]:
    with StandIn([listing(symbol) for symbol in ("AAA", "BBB", "CCC", "BRK-B")], now=NOW) as yahoo:
        yield yahoo


def at_once(request: Callable[[], T]) -> T:
    return request()


class Timepiece:
    """A clock that sleeping moves on."""

    def __init__(self) -> None:
        self.now = NOW.timestamp()
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(round(seconds, 6))
        self.now += seconds


@pytest.fixture
def timepiece() -> Timepiece:
    return Timepiece()


def paced(folder: Path, timepiece: Timepiece, pace: Pace) -> Pacer:
    return Pacer(
        folder / "pacing.sqlite",
        "yahoo",
        pace,
        judge=judge,
        clock=timepiece,
        sleep=timepiece.sleep,
        jitter=lambda wait: 0.0,
    )


def ask(
    source: YahooSource,
    symbols: Sequence[str] = ("AAA",),
    start: dt.date = TUESDAY,
    end: dt.date = FRIDAY,
) -> list[PriceAnswer]:
    return list(source.fetch([Request(symbol, start, end) for symbol in symbols]))


def yahoo(standin: StandIn, **options: object) -> YahooSource:
    """One symbol after the other, all of them in one answer, however slow the machine."""
    made = {"paced": at_once, "clock": lambda: NOW, "base_url": standin.url}
    one_answer = {"in_flight": 1, "at_least_every_seconds": 60}
    return YahooSource(XNYS, **(made | one_answer | options))  # type: ignore[arg-type]


def closes(answer: PriceAnswer, symbol: str = "AAA") -> dict[dt.date, float | None]:
    return {
        row["session"]: row["close"] for row in answer.rows.to_pylist() if row["symbol"] == symbol
    }


RESET = reset()
AS_TRADED = {TUESDAY: 400.0, WEDNESDAY: 100.0, THURSDAY: 101.0, FRIDAY: 102.0}


def test_prices_volumes_and_dividends_arrive_as_traded(standin: StandIn) -> None:
    [answer] = ask(yahoo(standin))
    assert answer.rows.to_pylist()[0] == {
        "symbol": "AAA",
        "session": TUESDAY,
        "open": 400.0,
        "high": 404.0,
        "low": 396.0,
        "close": 400.0,
        "volume": 1000.0,
        "basis_on": TUESDAY,
        "currency": "USD",
    }
    assert closes(answer) == AS_TRADED
    events = answer.actions.select(["ex_date", "kind", "ratio", "amount", "reported_amount"])
    assert [tuple(row.values()) for row in events.to_pylist()] == [
        (WEDNESDAY, "split", 4.0, None, None),
        (TUESDAY, "cash_dividend", None, 0.82, 0.205),
        (FRIDAY, "cash_dividend", None, 0.25, 0.25),
    ]
    assert (answer.symbols, answer.failures, answer.notices) == (("AAA",), {}, ())
    assert [what.type for what in answer.instruments] == ["stock"]


def test_it_asks_to_the_present_whatever_end_is_wanted(standin: StandIn) -> None:
    request = Request("AAA", WEDNESDAY, WEDNESDAY, since=TUESDAY)
    [answer] = yahoo(standin).fetch([request])
    assert closes(answer) == AS_TRADED
    [asked] = [asked for asked in standin.requests if asked.path.startswith(CHART)]
    span = [int(asked.params[name]) for name in ("period1", "period2")]
    assert [dt.datetime.fromtimestamp(at, dt.UTC) for at in span] == [
        dt.datetime(2024, 5, 27, tzinfo=dt.UTC),
        NOW + dt.timedelta(days=1),
    ]
    named = {name: asked.params[name] for name in ("interval", "events", "includePrePost")}
    assert named == {
        "interval": "1d",
        "events": "div,splits,capitalGains",
        "includePrePost": "false",
    }


def test_a_symbol_costs_one_request_after_one_cookie_and_one_crumb(standin: StandIn) -> None:
    source = yahoo(standin)
    ask(source, ["AAA", "BBB"])
    ask(source, ["CCC"])
    assert [asked.path for asked in standin.requests] == [
        "/",
        CRUMB,
        f"{CHART}AAA",
        f"{CHART}BBB",
        f"{CHART}CCC",
    ]
    assert {asked.params.get("crumb") for asked in standin.requests[2:]} == {"haT3oykhHqZ"}


def test_a_share_class_is_asked_for_in_yahoos_spelling(standin: StandIn) -> None:
    [answer] = ask(yahoo(standin), ["BRK.B"])
    assert set(answer.rows["symbol"].to_pylist()) == {"BRK.B"}
    assert standin.price_requests("BRK-B") == 1


def test_a_listing_abroad_fails_without_a_request_and_the_others_are_told(standin: StandIn) -> None:
    refused, told = ask(yahoo(standin), ["AAA", "VOD.L"])
    assert refused.symbols == ("VOD.L",)
    assert str(refused.failures["VOD.L"]).startswith("VOD.L is a listing of London, the United")
    assert told.symbols == ("AAA",)
    assert standin.price_requests("VOD-L") == 0


def test_answers_come_in_the_order_asked_for_and_once_each(standin: StandIn) -> None:
    [answer] = ask(yahoo(standin, in_flight=4), ["CCC", "NOPE", "AAA", "BBB"])
    assert answer.symbols == ("CCC", "NOPE", "AAA", "BBB")
    assert answer.rows.num_rows == 12
    assert list(answer.failures) == ["NOPE"]


def test_what_is_ready_is_told_without_waiting_for_the_rest(standin: StandIn) -> None:
    standin.order(silence(60), symbol="CCC")
    requests = [Request(symbol, TUESDAY, WEDNESDAY) for symbol in ("AAA", "BBB", "CCC")]
    answers = yahoo(standin, at_least_every_seconds=0).fetch(requests)
    assert next(answers).symbols[0] == "AAA"
    standin.release()
    assert [symbol for answer in answers for symbol in answer.symbols][-1] == "CCC"


# The contract of every source, but for two tests: what lies after a request is told here too.


class Known(YahooSource):
    """Yahoo, if it could tell which symbols it has."""

    def symbols(self) -> tuple[str, ...]:
        return tuple(f"Y{number:03d}" for number in range(12))


class TestYahooKeepsTheContract(PriceSourceContract):
    @pytest.fixture(scope="class")
    @classmethod
    def pair(cls) -> Iterator[Pair]:
        evening = dt.datetime.combine(END, dt.time(22, 0), dt.UTC)
        sessions = XNYS.between(START, END)
        listings = [Listing.invented(f"Y{number:03d}", sessions) for number in range(12)]
        with StandIn(listings, now=evening) as standin:
            again = partial(
                Known, XNYS, at_once, lambda: evening, standin.url, at_least_every_seconds=60
            )
            source = again()
            dataset = DailyPrices(source.profile, XNYS)
            yield Pair(dataset, source, again, PRICE_TABLES, price_tables)


# Yahoo in trouble.


@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [
        (None, None),
        ("7", 7.0),
        (email.utils.format_datetime(NOW + dt.timedelta(seconds=90), usegmt=True), 90.0),
        ("soon", None),
    ],
)
def test_a_429_is_told_with_its_retry_after_and_not_resent(
    standin: StandIn, retry_after: str | None, seconds: float | None
) -> None:
    standin.order(status(429, retry_after))
    [answer] = ask(yahoo(standin), ["AAA", "BBB"])
    [(symbol, error)] = answer.failures.items()
    assert symbol == "AAA"
    assert isinstance(error, RateLimited)
    assert error.retry_after == seconds
    assert standin.price_requests("AAA") == 1
    assert closes(answer, "BBB") == AS_TRADED


@pytest.mark.parametrize(
    ("misbehaviour", "error"),
    [
        (status(500), SourceUnavailable),
        (status(503), SourceUnavailable),
        (silence(), SourceUnavailable),
        (RESET, SourceUnavailable),
        (cut(), SourceUnavailable),
        (truncated(), BadAnswer),
        (html(), BadAnswer),
        (words("Will be right back"), BadAnswer),
        (words("Too Many Requests"), RateLimited),
        (empty(), MissingAtSource),
    ],
    ids=["500", "503", "silence", "reset", "cut", "truncated", "html", "words", "429", "empty"],
)
def test_one_symbols_trouble_costs_no_other_its_data(
    standin: StandIn, misbehaviour: Misbehaviour, error: type[Exception]
) -> None:
    standin.order(misbehaviour, symbol="AAA", times=math.inf)
    [answer] = ask(yahoo(standin, timeout_seconds=0.3), ["AAA", "BBB"])
    assert [type(failure) for failure in answer.failures.values()] == [error]
    assert closes(answer) == {}
    assert closes(answer, "BBB") == AS_TRADED
    assert answer.empty.num_rows == 0
    # A connection in use before that breaks is opened anew by libcurl itself, once.
    assert standin.price_requests("AAA") == (2 if misbehaviour is RESET else 1)


def test_a_retry_reaches_the_server(standin: StandIn, tmp_path: Path, timepiece: Timepiece) -> None:
    pacer = paced(tmp_path, timepiece, Pace(min_delay_seconds=0))
    standin.order(status(500))
    [answer] = ask(yahoo(standin, paced=pacer.call))
    assert closes(answer) == AS_TRADED
    assert standin.price_requests("AAA") == 2
    assert timepiece.slept == [1.0]
    assert pacer.budget().requests_in_all == len(standin.requests) == 4


def test_a_throttled_request_waits_as_long_as_yahoo_says(
    standin: StandIn, tmp_path: Path, timepiece: Timepiece
) -> None:
    pacer = paced(tmp_path, timepiece, Pace(min_delay_seconds=0))
    standin.order(status(429, 7))
    [answer] = ask(yahoo(standin, paced=pacer.call))
    assert closes(answer) == AS_TRADED
    assert timepiece.slept == [7.0]


def test_once_throttled_for_good_nothing_more_is_asked_and_one_notice_says_so(
    standin: StandIn, tmp_path: Path, timepiece: Timepiece
) -> None:
    pacer = paced(tmp_path, timepiece, Pace(min_delay_seconds=0, throttle_waits_seconds=(5, 10)))
    standin.order(status(429), times=math.inf)
    [answer] = ask(yahoo(standin, paced=pacer.call), ["AAA", "BBB", "CCC"])
    assert [type(error) for error in answer.failures.values()] == [RateLimited] * 3
    assert (standin.price_requests("AAA"), standin.price_requests()) == (3, 3)
    [notice] = answer.notices
    assert notice.endswith("No further symbol is asked for in this load.")


def test_once_the_circuit_is_open_nothing_more_is_asked(
    standin: StandIn, tmp_path: Path, timepiece: Timepiece
) -> None:
    pace = Pace(min_delay_seconds=0, attempts=1, breaker_after=2)
    source = yahoo(standin, paced=paced(tmp_path, timepiece, pace).call)
    standin.order(status(500), times=math.inf)
    [answer] = ask(source, ["AAA", "BBB", "CCC", "DDD"])
    assert [type(error) for error in answer.failures.values()] == [SourceUnavailable] * 4
    assert standin.price_requests() == 2
    assert len(answer.notices) == 1


@pytest.mark.parametrize(
    "misbehaviour",
    [
        status(429),
        words("Too Many Requests"),
        words(""),
        words("Edge: Too Many Requests", 999),
        html(),
        status(500),
        silence(),
    ],
    ids=["429", "words", "nothing", "999", "html", "500", "silence"],
)
def test_without_a_crumb_the_charts_are_asked_for_and_the_crumb_not_again(
    standin: StandIn, misbehaviour: Misbehaviour
) -> None:
    standin.order(misbehaviour, path=CRUMB, times=math.inf)
    [answer] = ask(yahoo(standin, timeout_seconds=0.3, in_flight=2), ["AAA", "BBB"])
    assert answer.failures == {}
    assert closes(answer) == AS_TRADED
    paths = [asked.path for asked in standin.requests]
    assert paths.count(CRUMB) == 1
    assert all("crumb" not in asked.params for asked in standin.requests)


def test_a_refused_crumb_is_no_reason_to_wait(
    standin: StandIn, tmp_path: Path, timepiece: Timepiece
) -> None:
    standin.order(status(429), path=CRUMB, times=math.inf)
    pacer = paced(tmp_path, timepiece, Pace(min_delay_seconds=0))
    [answer] = ask(yahoo(standin, paced=pacer.call))
    assert closes(answer) == AS_TRADED
    assert timepiece.slept == []


def test_a_refused_cookie_is_renewed_once(standin: StandIn) -> None:
    standin.order(status(401))
    [answer] = ask(yahoo(standin))
    assert closes(answer) == AS_TRADED
    assert standin.price_requests() == 2
    assert "/consent" in [asked.path for asked in standin.requests]


def test_when_no_cookie_helps_each_symbol_costs_one_request(standin: StandIn) -> None:
    standin.order(status(403), times=math.inf)
    [answer] = ask(yahoo(standin), ["AAA", "BBB", "CCC"])
    assert [str(error) for error in answer.failures.values()] == [
        "yahoo answered with HTTP 403."
    ] * 3
    assert standin.price_requests() == 4


# Bars that are not simply there.


def test_the_live_bar_is_dropped_before_the_close_and_kept_after(standin: StandIn) -> None:
    noon = dt.datetime(2024, 5, 31, 16, 0, tzinfo=dt.UTC)
    standin.now = noon
    [during] = ask(yahoo(standin, clock=lambda: noon), end=THURSDAY)
    assert list(closes(during)) == [TUESDAY, WEDNESDAY, THURSDAY]
    assert during.failures == {}
    standin.now = NOW
    standin.order(with_live_bar(int(NOW.timestamp()), 107.0))
    [after] = ask(yahoo(standin))
    assert closes(after) == AS_TRADED


def test_a_session_left_out_is_a_failure_and_the_others_are_told(standin: StandIn) -> None:
    standin.order(without_session("2024-05-30"))
    [answer] = ask(yahoo(standin))
    error = answer.failures["AAA"]
    assert isinstance(error, MissingAtSource)
    assert error.sessions == (THURSDAY,)
    assert list(closes(answer)) == [TUESDAY, WEDNESDAY, FRIDAY]


def test_null_prices_beside_a_volume_shift_no_other_row(standin: StandIn) -> None:
    standin.order(without_prices("2024-05-29", volume=4000))
    [answer] = ask(yahoo(standin))
    assert closes(answer) == AS_TRADED | {WEDNESDAY: None}


def test_a_bar_told_twice_counts_once_and_the_last_ones_twin_counts_for_it(
    standin: StandIn,
) -> None:
    standin.order(doubled("2024-05-29"), symbol="AAA")
    standin.order(doubled("2024-05-31", seconds_later=23_400, close=102.5), symbol="BBB")
    [answer] = ask(yahoo(standin), ["AAA", "BBB"])
    assert closes(answer) == AS_TRADED
    assert closes(answer, "BBB") == AS_TRADED | {FRIDAY: 102.5}
    assert answer.rows.num_rows == 8


# Threads.


def test_several_symbols_are_under_way_at_a_time(standin: StandIn) -> None:
    together: list[threading.Barrier] = []

    def in_pairs(request: Callable[[], T]) -> T:
        for barrier in together:
            barrier.wait()
        return request()

    source = yahoo(standin, paced=in_pairs, in_flight=2)
    ask(source)  # for the cookie, which is asked for by one alone
    together.append(threading.Barrier(2, timeout=20))
    [answer] = ask(source, ["AAA", "BBB"])
    assert answer.rows.num_rows == 8


def test_closing_drops_what_is_waiting_and_waits_for_nobody(standin: StandIn) -> None:
    asked: list[int] = []
    turn = threading.Event()

    def second_waits(request: Callable[[], T]) -> T:
        asked.append(1)
        if len(asked) == 4:  # cookie, crumb and the first chart came before
            turn.wait(20)
        return request()

    source = yahoo(standin, paced=second_waits, at_least_every_seconds=0)
    answers = source.fetch([Request(s, TUESDAY, FRIDAY) for s in ("AAA", "BBB", "CCC")])
    first = next(answers)
    answers.close()  # type: ignore[attr-defined]
    [worker] = [thread for thread in threading.enumerate() if thread.name == "yahoo"]
    assert worker.daemon
    assert first.symbols == ("AAA",)
    turn.set()
    worker.join(20)
    assert len(asked) == 4
    assert standin.price_requests("CCC") == 0


def test_symbols_under_way_are_named(standin: StandIn) -> None:
    asked: list[int] = []
    turn, waiting = threading.Event(), threading.Event()

    def second_waits(request: Callable[[], T]) -> T:
        asked.append(1)
        if len(asked) == 4:
            waiting.set()
            turn.wait(20)
        return request()

    source = yahoo(
        standin,
        paced=second_waits,
        at_least_every_seconds=0,
        keep=lambda symbol, body: waiting.wait(20),
    )
    answers = source.fetch([Request(s, TUESDAY, FRIDAY) for s in ("AAA", "BBB")])
    assert next(answers).under_way == ("BBB",)
    turn.set()
    assert next(answers).under_way == ()


# The rest.


def test_bodies_can_be_kept(standin: StandIn) -> None:
    kept: list[tuple[str, bytes]] = []
    ask(yahoo(standin, keep=lambda symbol, body: kept.append((symbol, body))), ["NOPE", "AAA"])
    assert [(symbol, body[:10]) for symbol, body in kept] == [
        ("NOPE", b'{"chart": '),
        ("AAA", b'{"chart":{'),
    ]


def test_a_check_says_whether_yahoo_can_be_reached(standin: StandIn) -> None:
    source = yahoo(standin, timeout_seconds=0.3)
    reachable = source.check("AAA")
    assert (reachable.state, reachable.detail) == ("reachable", "4 sessions of AAA")
    standin.order(status(429))
    assert source.check("AAA").state == "limited"
    assert source.check("NOPE").state == "reachable"
    standin.order(reset(), times=2)
    assert source.check("AAA").state == "down"
    assert 0 < reachable.seconds < 60


def test_nothing_of_a_users_own_yfinance_is_touched_and_nothing_is_printed(
    standin: StandIn, capfd: pytest.CaptureFixture[str]
) -> None:
    before = (dict(type(YfData)._instances), cache._CookieDBManager._db)
    standin.order(status(500), path="/", times=math.inf)
    ask(yahoo(standin), ["AAA", "NOPE"])
    assert (dict(type(YfData)._instances), cache._CookieDBManager._db) == before
    assert capfd.readouterr() == ("", "")


def test_its_profile_names_the_last_closed_session(standin: StandIn) -> None:
    profile = yahoo(standin).profile
    assert (profile.name, profile.price_basis, profile.live) == ("yahoo", "as_traded", True)
    assert profile.names_on == FRIDAY
    assert yahoo(standin).symbols() == ()
