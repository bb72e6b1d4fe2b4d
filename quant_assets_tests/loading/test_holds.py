"""A source that lags: a few symbols tell, the rest waits, and nobody is given up over it (L11).

Against the stand-in for Yahoo, whose requests are counted; the rule by itself first.
"""

from __future__ import annotations

import datetime as dt
import math
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quant_assets.contracts.source import Request
from quant_assets.loading.lag import LagWatch, batches
from quant_assets.loading.report import LoadReport, SymbolReport
from quant_assets.loading.work import Asking
from quant_assets.refreshing.steps import open_steps
from quant_assets_tests.conftest import examples
from quant_assets_tests.loading.test_live_loads import FRI, MON, ROWS, THU, WED, Desk, up_to
from quant_assets_tests.standins.yahoo_listings import Listing, Reply
from quant_assets_tests.standins.yahoo_misbehaviours import empty, status, without_session
from quant_assets_tests.standins.yahoo_standin import StandIn

MANY = tuple(f"S{number:02}" for number in range(16))
HALF_AN_HOUR = 1800


@pytest.fixture
def yahoo() -> Iterator[StandIn]:
    with StandIn([Listing.of(symbol, *ROWS) for symbol in MANY]) as standin:
        yield standin


@pytest.fixture(scope="module")
def thursday(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder on Thursday night, with sixteen symbols loaded."""
    home = tmp_path_factory.mktemp("thursday")
    with StandIn([Listing.of(symbol, *ROWS) for symbol in MANY]) as yahoo:
        Desk(home, yahoo).evening(THU, *MANY)
    return home


@pytest.fixture
def desk(thursday: Path, tmp_path: Path, yahoo: StandIn) -> Desk:
    return Desk(Path(shutil.copytree(thursday, tmp_path / "data")), yahoo)


def lag(yahoo: StandIn, *days: dt.date, symbols: Sequence[str] = MANY) -> None:
    """Have Yahoo lack days of symbols until it relents."""

    def without_days(reply: Reply) -> Reply:
        for day in days:
            reply = without_session(f"{day}")(reply)
        return reply

    for symbol in symbols:
        yahoo.order(without_days, symbol=symbol, times=math.inf)


def again(desk: Desk, seconds: float = HALF_AN_HOUR) -> LoadReport:
    """What a scheduled load does after a while."""
    desk.clock.sleep(seconds)
    return desk.refresh(asking=Asking(heed_tasks=True))


def states(desk: Desk) -> set[object]:
    return set(desk.tasks().values())


# The rule


def test_a_load_asks_ten_then_twice_as_many_each_time() -> None:
    requests = [Request(f"S{number}", FRI, FRI) for number in range(90)]
    assert [len(some) for some, _ in batches(requests, 0)] == [10, 20, 40, 20]
    assert [(len(some), enough) for some, enough in batches(requests[:20], 3)] == [
        (3, 3),
        (10, 10),
        (7, 10),
    ]
    assert [len(some) for some, _ in batches(requests[:5], 2)] == [5]


def heard(*silent: Sequence[dt.date]) -> LagWatch:
    found = LagWatch(MON)
    for days in silent:
        report = SymbolReport("AAA", 1, 4, error="missing", silent=frozenset(days))
        found.note(report, (WED, THU, FRI, MON))
    return found


def test_nine_of_ten_that_lack_the_newest_session_make_a_lag() -> None:
    assert heard(*[[MON]] * 10).lagging_since(10) == MON
    assert heard(*[[MON]] * 9).lagging_since(10) is None
    some = heard(*[[MON]] * 9)
    some.note(SymbolReport("BBB", 2, 4), (MON,))
    assert some.lagging_since(10) == MON
    some.note(SymbolReport("CCC", 3, 4), (MON,))
    assert some.lagging_since(10) is None


def test_a_lag_begins_where_nearly_all_lack_everything_from_there_on() -> None:
    assert heard(*[[FRI, MON]] * 9, [MON]).lagging_since(10) == FRI
    assert heard(*[[FRI, MON]] * 8, [MON], [MON]).lagging_since(10) == MON
    assert heard(*[[WED, MON]] * 10).lagging_since(10) == MON


def test_an_error_and_a_question_about_older_sessions_say_nothing_of_a_lag() -> None:
    found = LagWatch(MON)
    found.note(SymbolReport("AAA", None, 1, error="yahoo has no symbol AAA."), (MON,))
    found.note(SymbolReport("BBB", 2, 1, error="x", silent=frozenset([FRI])), (FRI,))
    assert found == LagWatch(MON)


# A lag from its first load to its last


def test_a_lag_costs_ten_requests_and_three_a_load_until_it_is_over(
    desk: Desk, yahoo: StandIn
) -> None:
    lag(yahoo, FRI)
    report = desk.evening(FRI)
    assert desk.asked() == list(MANY[:10])
    [outage] = report.outages
    assert (outage.symbols, outage.asked, outage.waiting) == (10, 10, 16)
    assert (report.failures, report.left, report.waiting) == ((), {}, MANY)
    assert desk.query("select distinct state, attempts, retry_at, error from load_tasks") == [
        (
            "rate_limited",
            0,
            dt.datetime.fromisoformat("2024-05-31 22:30"),
            "yahoo has no 2024-05-31 yet: 10 of 10 symbols asked lack it. Held until 22:30 UTC.",
        )
    ]
    assert len(again(desk, HALF_AN_HOUR - 1).left) == 16
    assert desk.run(open_steps(desk.platform), asking=Asking(heed_tasks=True))[0].left
    assert desk.asked() == []
    report = again(desk, 1)
    assert desk.asked() == list(MANY[10:13])  # asked longest ago
    assert (report.failures, report.waiting) == ((), MANY)
    assert [(found.symbols, found.asked) for found in report.outages] == [(3, 3)]
    again(desk)
    assert desk.asked() == list(MANY[13:])
    yahoo.relent()
    assert again(desk).needs_attention is False
    assert desk.asked() == list(MANY)
    assert all(desk.rows(symbol) == up_to(FRI) for symbol in MANY)
    assert states(desk) == {("completed", 0)}
    assert desk.ledger() == []


def test_a_second_session_of_lag_is_told_by_the_same_few_requests(
    desk: Desk, yahoo: StandIn
) -> None:
    lag(yahoo, FRI, MON)
    desk.evening(FRI)
    desk.asked()
    report = desk.evening(MON)
    assert desk.asked() == list(MANY[10:13])
    assert [outage.session for outage in report.outages] == [FRI, MON]
    assert states(desk) == {("rate_limited", 0)}


def test_symbols_with_older_sessions_due_are_asked_all_the_same(desk: Desk, yahoo: StandIn) -> None:
    yahoo.order(empty(), symbol="S15")
    desk.evening(FRI)
    desk.asked()
    lag(yahoo, MON)
    report = desk.evening(MON)
    assert desk.asked() == [*MANY[:10], "S15"]
    assert desk.rows("S15") == up_to(FRI)
    assert (report.failures, report.waiting) == ((), MANY)


def test_a_few_symbols_that_lack_the_session_themselves_fail(desk: Desk, yahoo: StandIn) -> None:
    lag(yahoo, FRI, symbols=MANY[:8])
    report = desk.evening(FRI)
    assert [failure.symbol for failure in report.failures] == list(MANY[:8])
    assert (report.outages, report.waiting) == ((), ())
    assert desk.asked() == list(MANY)
    assert [desk.tasks()[symbol] for symbol in MANY[:8]] == [("failed", 1)] * 8


def test_three_halted_symbols_do_not_hold_up_the_rest_for_ever(desk: Desk, yahoo: StandIn) -> None:
    lag(yahoo, FRI)
    desk.evening(FRI)
    yahoo.relent()
    lag(yahoo, FRI, symbols=MANY[10:13])
    assert again(desk).waiting == MANY  # it was these three that were asked
    report = again(desk)
    assert (report.waiting, [each.symbol for each in report.failures]) == ((), list(MANY[10:13]))
    assert desk.rows("S15") == up_to(FRI)


def test_whoever_forces_a_load_asks_for_everything(desk: Desk, yahoo: StandIn) -> None:
    lag(yahoo, FRI)
    desk.clock.set(FRI)
    desk.refresh(force=True)
    assert desk.asked() == list(MANY)


def test_a_limit_in_an_early_stage_keeps_the_rest_from_being_asked(
    desk: Desk, yahoo: StandIn
) -> None:
    yahoo.order(status(429), symbol="S03", times=math.inf)
    report = desk.evening(FRI)
    assert set(desk.asked()) == set(MANY[:4])
    assert len(report.notices) == 1
    assert [desk.tasks()[s] for s in MANY[3:]] == [("rate_limited", 0)] * 13


@examples(2)
@given(st.sets(st.sampled_from(MANY)), st.integers(min_value=1, max_value=2))
def test_whoever_lagged_one_more_load_brings_everything_and_nobody_was_given_up(
    thursday: Path, lagging: set[str], loads: int
) -> None:
    with (
        tempfile.TemporaryDirectory() as path,
        StandIn([Listing.of(symbol, *ROWS) for symbol in MANY]) as yahoo,
    ):
        desk = Desk(Path(shutil.copytree(thursday, f"{path}/data")), yahoo)
        lag(yahoo, FRI, symbols=sorted(lagging))
        desk.clock.set(FRI)
        for _ in range(loads):
            again(desk)
        assert desk.query("select symbol from load_tasks where attempts >= 5") == []
        yahoo.relent()
        assert again(desk).needs_attention is False
        assert all(desk.rows(symbol) == up_to(FRI) for symbol in MANY)
        assert (states(desk), desk.ledger()) == ({("completed", 0)}, [])
