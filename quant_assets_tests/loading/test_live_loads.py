"""Loads of Yahoo end to end: the real yfinance, a stand-in on loopback, what the warehouse holds.

One clock serves the platform, its pacing and the stand-in; whoever waits moves it on. What the
source itself answers is in ``test_yahoo.py``, the command line in ``test_refresh.py``.
"""

from __future__ import annotations

import datetime as dt
import functools
import math
import shutil
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from quant_assets.definitions import build_definitions
from quant_assets.fetching.http import judge
from quant_assets.fetching.pace import Pace
from quant_assets.fetching.pacer import Pacer
from quant_assets.loading.report import COUNTS, LoadReport
from quant_assets.loading.work import Asking
from quant_assets.orchestration.runs.partitions import SYMBOLS
from quant_assets.reference.calendars import Calendar, exchange_calendar
from quant_assets.refreshing.steps import Step, open_steps, refresh_steps
from quant_assets.settings.settings import load_settings
from quant_assets.sources.yahoo.daily_prices import YahooSource
from quant_assets.wiring.platform import Platform
from quant_assets_tests.conftest import examples
from quant_assets_tests.orchestration.runs.test_backfilling import (
    BACKFILL,
    Folder,
    folder,  # noqa: F401 - a fixture
    prepared,  # noqa: F401 - a fixture
)
from quant_assets_tests.standins.loads import load_prices
from quant_assets_tests.standins.yahoo_listings import (
    CHART,
    CRUMB,
    CRYPTO,
    Listing,
    Reply,
    invented_market,
    yahoo_price_set,
)
from quant_assets_tests.standins.yahoo_misbehaviours import (
    Misbehaviour,
    cut,
    doubled,
    empty,
    html,
    reset,
    restated,
    silence,
    split_not_applied,
    status,
    truncated,
    without_events,
    without_prices,
    without_session,
    words,
)
from quant_assets_tests.standins.yahoo_standin import StandIn

XNYS = exchange_calendar("XNYS")
WED, THU, FRI = (dt.date(2024, 5, day) for day in (29, 30, 31))
MON, TUE = dt.date(2024, 6, 3), dt.date(2024, 6, 4)

Row = tuple[Any, ...]


class Clock:
    """One time for all; sleeping moves it on."""

    def __init__(self, yahoo: StandIn) -> None:
        self.yahoo = yahoo
        self.slept: list[float] = []
        self.set(FRI)

    def __call__(self) -> dt.datetime:
        return self.now

    def set(self, day: dt.date, hour: int = 22) -> None:
        """Move to an hour of the day, UTC; at 22 the session of the day has closed."""
        self.now = self.yahoo.now = dt.datetime.combine(day, dt.time(hour), dt.UTC)

    def sleep(self, seconds: float) -> None:
        self.slept.append(round(seconds, 6))
        self.now += dt.timedelta(seconds=seconds)


@dataclass(frozen=True)
class Unhurried(Platform):
    """A platform that waits by moving its clock."""

    sleep: Callable[[float], None] = field(default=lambda seconds: None, repr=False)
    at_least_every_seconds: float = 1.0

    def yahoo(self, calendar: Calendar) -> YahooSource:
        often = self.at_least_every_seconds
        return replace(super().yahoo(calendar), at_least_every_seconds=often)

    def pacer(self, source: str) -> Pacer:
        return Pacer(
            self.settings.home_path / "pacing.sqlite",
            source,
            Pace(min_delay_seconds=0),
            judge=judge,
            clock=lambda: self.clock().timestamp(),
            sleep=self.sleep,
            jitter=lambda wait: 0.0,
        )


class Desk:
    """A data folder, and a Yahoo that is asked for one symbol after the other."""

    def __init__(
        self,
        home: Path,
        yahoo: StandIn,
        *,
        timeout_seconds: float = 20.0,
        at_least_every_seconds: float = 1.0,
    ) -> None:
        asked = {"in_flight": 1, "timeout_seconds": timeout_seconds}
        flags = {"home": home, "source": "yahoo", "yahoo_url": yahoo.url, "yahoo": asked}
        self.yahoo = yahoo
        self.clock = Clock(yahoo)
        self.platform = Unhurried(
            load_settings({}, flags=flags, working_directory=home),
            self.clock,
            self.clock.sleep,
            at_least_every_seconds,
        )
        self._heard = 0

    def refresh(self, *symbols: str, start: dt.date = WED, **how: Any) -> LoadReport:
        """What ``quant-assets refresh`` does for symbols of one calendar; a new one from
        ``start``."""
        [report] = self.run(refresh_steps(self.platform, symbols=symbols, start=start), **how)
        return report

    def evening(self, day: dt.date, *symbols: str, **how: Any) -> LoadReport:
        """A refresh in the evening of that day; of all that was loaded unless told."""
        self.clock.set(day)
        return self.refresh(*symbols, **{"asking": Asking(heed_tasks=not symbols), **how})

    def run(self, steps: Sequence[Step], **how: Any) -> list[LoadReport]:
        return [
            load_prices(
                self.platform.warehouse,
                source := self.platform.price_source(step.source, step.calendar),
                step.window,
                step.calendar,
                identities=self.platform.identities(source),
                **how,
            )
            for step in steps
        ]

    def query(self, sql: str, *values: object) -> list[Row]:
        with self.platform.warehouse.reading() as con:
            return con.execute(sql, list(values)).fetchall()

    def rows(self, symbol: str, what: str = "close") -> dict[dt.date, Any]:
        """What is stored of a symbol by session."""
        return dict(
            self.query(
                f"select session, {what} from daily_prices p join symbol_history h"
                " using (security_id) where h.symbol = ? order by 1",
                symbol,
            )
        )

    def ledger(self) -> list[Row]:
        return self.query(
            "select symbol, session, outcome, reason from symbol_day_ledger"
            " join symbol_history using (security_id) order by 1, 2"
        )

    def revisions(self, what: str = "close, volume, difference") -> list[Row]:
        return self.query(
            f"select symbol, session, {what} from daily_prices_revisions"
            " join symbol_history using (security_id) order by 1, 2"
        )

    def tasks(self) -> dict[str, Row]:
        """State and attempts by symbol."""
        found = self.query("select symbol, state, attempts from load_tasks order by 1")
        return {symbol: tuple(rest) for symbol, *rest in found}

    def actions(self, symbol: str = "AAA") -> list[Row]:
        return self.query(
            "select ex_date, kind, ratio, amount from corporate_actions"
            " join symbol_history using (security_id) where symbol = ? order by 1, 2",
            symbol,
        )

    def asked(self) -> list[str | None]:
        """The symbols asked for since this was last called."""
        charts = [each.symbol for each in self.yahoo.requests if each.path.startswith(CHART)]
        new, self._heard = charts[self._heard :], len(charts)
        return new


ROWS = (
    (WED, 100.0, 101.0, 99.0, 100.0, 4000),
    (THU, 100.5, 102.0, 99.5, 101.0, 5000),
    (FRI, 101.0, 103.0, 100.0, 102.0, 6000),
    (MON, 102.0, 104.0, 101.0, 103.0, 7000),
    (TUE, 103.0, 105.0, 102.0, 104.0, 8000),
)
CLOSES = {WED: 100.0, THU: 101.0, FRI: 102.0, MON: 103.0, TUE: 104.0}
NAMES = ("AAA", "BBB", "CCC")


def up_to(last: dt.date) -> dict[dt.date, float]:
    return {day: close for day, close in CLOSES.items() if day <= last}


@pytest.fixture
def yahoo() -> Iterator[StandIn]:
    with StandIn([Listing.of(symbol, *ROWS) for symbol in NAMES]) as standin:
        yield standin


@pytest.fixture
def desk(tmp_path: Path, yahoo: StandIn) -> Desk:
    return Desk(tmp_path, yahoo)


@pytest.fixture(scope="module")
def friday(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder on Friday night, with the three symbols loaded; making one takes a second."""
    home = tmp_path_factory.mktemp("friday")
    with StandIn([Listing.of(symbol, *ROWS) for symbol in NAMES]) as yahoo:
        Desk(home, yahoo).evening(FRI, *NAMES)
    return home


@pytest.fixture
def loaded(friday: Path, tmp_path: Path, yahoo: StandIn) -> Desk:
    """A desk on Friday night, with the three symbols loaded."""
    return Desk(Path(shutil.copytree(friday, tmp_path / "data")), yahoo)


# From one evening to the next


def test_a_first_load_stores_every_session_and_a_second_one_asks_nothing(desk: Desk) -> None:
    report = desk.evening(FRI, "AAA")
    assert [report.total(name) for name in ("requested", "inserted", "failed")] == [3, 3, 0]
    assert desk.query(
        "select session, open, high, low, close, volume, currency, basis_on, provisional, source"
        " from daily_prices order by 1"
    ) == [
        (WED, 100.0, 101.0, 99.0, 100.0, 4000, "USD", WED, False, "yahoo"),
        (THU, 100.5, 102.0, 99.5, 101.0, 5000, "USD", THU, False, "yahoo"),
        (FRI, 101.0, 103.0, 100.0, 102.0, 6000, "USD", FRI, True, "yahoo"),
    ]
    assert desk.tasks() == {"AAA": ("completed", 0)}
    assert desk.asked() == ["AAA"]
    again = desk.evening(FRI, "AAA")
    assert (again.symbols, again.up_to_date, again.needs_attention) == ((), 1, False)
    assert desk.asked() == []


def test_the_next_evening_costs_one_request_and_confirms_the_newest_session(loaded: Desk) -> None:
    report = loaded.evening(MON)
    assert loaded.asked() == list(NAMES)
    counts = [report.total(name) for name in ("requested", "inserted", "revised", "unchanged")]
    assert counts == [3, 3, 0, 9]
    assert loaded.rows("AAA", "provisional") == {WED: False, THU: False, FRI: False, MON: True}
    assert loaded.revisions() == []


def test_nothing_is_due_over_a_weekend_and_before_the_close(loaded: Desk) -> None:
    for day, hour in ((dt.date(2024, 6, 1), 22), (MON, 12), (MON, 19)):
        loaded.clock.set(day, hour)
        assert loaded.refresh().up_to_date == 3
    assert loaded.asked() == []


def test_a_volume_restated_the_next_day_moves_the_old_row_to_the_revisions(
    loaded: Desk, yahoo: StandIn
) -> None:
    yahoo.order(restated("2024-05-31", "volume", 6600), symbol="AAA", times=math.inf)
    for day in (MON, TUE):
        loaded.evening(day)
    assert loaded.rows("AAA", "volume") == {WED: 4000, THU: 5000, FRI: 6600, MON: 7000, TUE: 8000}
    assert loaded.revisions() == [("AAA", FRI, 102.0, 6000, "restatement")]


def test_tracking_metadata_follows_every_answer(desk: Desk) -> None:
    """As ``test_any_answer`` has it of any source."""
    seen = "select symbol, asked_at, asked_since, asked_for_all_at, updated_at from source_symbols"
    when = [dt.datetime.fromisoformat(f"{day} 22:00") for day in (FRI, MON)]
    desk.evening(FRI, "AAA")
    year = [dt.date(2023, 6, 1), dt.date(2023, 6, 4)]
    assert desk.query(seen) == [("AAA", when[0], year[0], when[0], when[0])]
    desk.evening(MON)
    assert desk.query(seen) == [("AAA", when[1], year[1], when[1], when[1])]
    fetched_at = dict(zip((WED, THU, FRI, MON), (when[0], when[0], when[1], when[1]), strict=True))
    assert desk.rows("AAA", "fetched_at") == fetched_at
    states = "select state, created_at, updated_at from load_tasks"
    assert desk.query(states) == [("completed", when[0], when[1])]


# Splits and dividends

SPLIT_ROWS = (*ROWS[:3], (MON, 51.0, 52.0, 50.5, 51.5, 14000), (TUE, 51.5, 52.5, 51.0, 52.0, 16000))
PAID = ((THU, 0.82), (TUE, 0.21))
AS_TRADED = {WED: 100.0, THU: 101.0, FRI: 102.0, MON: 51.5, TUE: 52.0}
DIVIDEND, SPLIT = (THU, "cash_dividend", None, 0.82), (MON, "split", 2.0, None)
LATER_DIVIDEND = (TUE, "cash_dividend", None, 0.21)


@pytest.fixture
def splitting(yahoo: StandIn) -> StandIn:
    """AAA splits 2:1 on Monday; the others do not."""
    yahoo.listings["AAA"] = Listing.of(
        "AAA", *SPLIT_ROWS, splits=((MON, 2.0, 1.0),), dividends=PAID
    )
    return yahoo


def test_a_split_announced_today_is_recorded_once_and_restates_nothing(
    desk: Desk, splitting: StandIn
) -> None:
    desk.evening(FRI, "AAA")
    desk.clock.set(MON, 12)  # Yahoo has halved the past by now, and Monday has not traded
    before_the_open = desk.refresh("AAA", force=True)
    assert (before_the_open.total("unchanged"), before_the_open.total("revised")) == (3, 0)
    for day in (MON, TUE):
        assert desk.evening(day).needs_attention is False
    assert desk.rows("AAA") == AS_TRADED
    assert desk.rows("AAA", "volume") == {WED: 4000, THU: 5000, FRI: 6000, MON: 14000, TUE: 16000}
    assert desk.actions() == [DIVIDEND, SPLIT, LATER_DIVIDEND]
    assert desk.revisions() == []
    assert desk.query("select count(*) from quarantine") == [(0,)]


RATIOS = {"R0": (3, 2), "R1": (1, 15), "R2": (20, 1), "R3": (11, 10)}


def test_no_split_whatever_its_ratio_is_a_restatement(desk: Desk, yahoo: StandIn) -> None:
    """After a reverse split Yahoo knows volumes in whole new shares only, 4003 as 267 × 15."""
    volumes = {WED: 4003, THU: 5009, FRI: 6007, MON: 7001}
    for symbol, (new, old) in RATIOS.items():
        prices = [round(price * old / new, 2) for price in ROWS[3][1:5]]
        bars = [(*row[:5], volumes[row[0]]) for row in ROWS[:3]] + [(MON, *prices, 7001)]
        yahoo.listings[symbol] = Listing.of(symbol, *bars, splits=((MON, new, old),))
    desk.evening(FRI, *RATIOS)
    assert desk.evening(MON).needs_attention is False
    assert desk.revisions() == []
    for symbol, (new, old) in RATIOS.items():
        assert desk.rows(symbol) == {**up_to(FRI), MON: round(103.0 * old / new, 2)}
        assert desk.rows(symbol, "volume") == volumes
        assert [row[::2] for row in desk.actions(symbol)] == [(MON, new / old)]


HELD = (
    "AAA: The 3 sessions before 2024-06-03 that came again are off from the stored ones by the "
    "ratio of a split, 2:1 (close of 2024-05-31: stored 102, now 51); no such split is listed. "
    "Nothing of AAA was stored; the next load looks again, and --accept takes the source at its "
    "word."
)


def test_a_split_missing_from_the_list_holds_its_symbol_until_it_is_listed(
    loaded: Desk, splitting: StandIn
) -> None:
    splitting.order(without_events("splits"), symbol="AAA")
    report = loaded.evening(MON)
    assert [(failure.symbol, failure.error) for failure in report.failures] == [("AAA", HELD)]
    assert loaded.rows("AAA") == up_to(FRI)
    assert loaded.actions() == []
    assert loaded.rows("BBB") == up_to(MON)
    assert loaded.ledger() == [("AAA", MON, "failed", HELD)]
    assert loaded.tasks() == dict.fromkeys(NAMES, ("completed", 0)) | {"AAA": ("failed", 1)}
    assert loaded.evening(TUE).failures == ()
    assert loaded.rows("AAA") == AS_TRADED
    assert loaded.actions() == [DIVIDEND, SPLIT, LATER_DIVIDEND]
    assert (loaded.ledger(), loaded.revisions()) == ([], [])
    assert loaded.tasks() == dict.fromkeys(NAMES, ("completed", 0))


def test_accept_takes_yahoo_at_its_word_and_keeps_the_old_rows(
    loaded: Desk, splitting: StandIn
) -> None:
    splitting.order(without_events("splits"), symbol="AAA", times=math.inf)
    loaded.evening(MON, "AAA")
    report = loaded.evening(MON, "AAA", accept=True)
    assert (report.total("revised"), report.failures) == (3, ())
    assert loaded.rows("AAA") == {WED: 50.0, THU: 50.5, FRI: 51.0, MON: 51.5}
    assert loaded.revisions() == [
        ("AAA", WED, 100.0, 4000, "split"),
        ("AAA", THU, 101.0, 5000, "split"),
        ("AAA", FRI, 102.0, 6000, "split"),
    ]
    assert loaded.evening(TUE, "AAA").failures == ()


def test_a_split_listed_before_the_prices_show_it_changes_no_stored_row(
    loaded: Desk, splitting: StandIn
) -> None:
    splitting.order(split_not_applied("2024-06-03"), symbol="AAA")
    loaded.evening(MON)
    assert loaded.rows("AAA") == {**up_to(FRI), MON: 51.5}
    loaded.evening(TUE)
    assert loaded.rows("AAA") == AS_TRADED
    assert loaded.revisions() == []
    assert loaded.actions() == [DIVIDEND, SPLIT, LATER_DIVIDEND]


# What Yahoo lacks


def test_a_session_missing_for_one_symbol_fails_it_until_it_is_there(
    desk: Desk, yahoo: StandIn
) -> None:
    desk.evening(WED, *NAMES)
    yahoo.order(without_session("2024-05-31"), symbol="BBB")
    report = desk.evening(FRI)
    [failure] = report.failures
    assert (failure.symbol, failure.inserted, failure.failed) == ("BBB", 1, 1)
    assert report.outages == ()
    assert desk.rows("BBB") == up_to(THU)
    assert desk.rows("CCC") == up_to(FRI)
    assert [row[:3] for row in desk.ledger()] == [("BBB", FRI, "failed")]
    assert desk.tasks()["BBB"] == ("failed", 1)
    desk.asked()
    assert desk.evening(FRI).needs_attention is False
    assert desk.asked() == ["BBB"]
    assert desk.rows("BBB") == up_to(FRI)
    assert desk.ledger() == []


MANY = tuple(f"S{number:02}" for number in range(20))


def test_a_session_missing_for_most_symbols_is_one_outage_and_nobodys_failure(
    desk: Desk, yahoo: StandIn
) -> None:
    yahoo.listings = {symbol: Listing.of(symbol, *ROWS) for symbol in MANY}
    desk.evening(THU, *MANY)
    lagging = (*MANY[:6], *MANY[14:])
    for symbol in lagging:
        yahoo.order(without_session("2024-05-31"), symbol=symbol)
    report = desk.evening(FRI)
    [outage] = report.outages
    assert (outage.session, outage.symbols, outage.asked) == (FRI, 12, 20)
    assert report.failures == ()
    assert (report.total("failed"), report.needs_attention) == (12, True)
    assert desk.rows("S00") == up_to(THU)
    assert desk.rows("S13") == up_to(FRI)
    told = "select message from log_entries where level = 'WARNING'"
    assert desk.query(told) == [
        (
            "yahoo has no row of 2024-05-31 for 12 of 20 symbols. The exchange was open: the "
            "source lags, or had an outage. 12 symbols wait and are asked for again from 22:30 UTC;"
            " nothing was made up, and no symbol is to blame.",
        )
    ]
    desk.asked()
    desk.clock.sleep(1800)
    assert desk.refresh(asking=Asking(heed_tasks=True)).needs_attention is False
    assert desk.asked() == list(lagging)
    assert desk.ledger() == []


def test_a_renamed_symbol_is_reported_and_keeps_its_history(loaded: Desk, yahoo: StandIn) -> None:
    yahoo.rename("AAA", "ZZZ")
    report = loaded.evening(MON)
    [failure] = report.failures
    assert failure.symbol == "AAA"
    assert "AAA" in str(failure.error)
    assert loaded.rows("AAA") == up_to(FRI)
    assert loaded.rows("BBB") == loaded.rows("CCC") == up_to(MON)
    assert [row[:3] for row in loaded.ledger()] == [("AAA", MON, "failed")]


def test_no_security_is_made_up_for_an_unknown_symbol(desk: Desk) -> None:
    report = desk.evening(FRI, "NOPE", "BBB")
    assert [failure.symbol for failure in report.failures] == ["NOPE"]
    assert desk.query("select distinct symbol from symbol_history where symbol = 'NOPE'") == []
    assert desk.query("select count(*) from daily_prices") == [(3,)]
    assert desk.tasks() == {"BBB": ("completed", 0), "NOPE": ("failed", 1)}


def test_a_delisted_symbol_is_empty_with_the_reason_and_not_asked_for_again(
    desk: Desk, yahoo: StandIn
) -> None:
    spring = XNYS.between(dt.date(2024, 4, 1), dt.date(2024, 5, 17))
    yahoo.listings["AAA"] = Listing.of("AAA", *((day, 9.0, 9.0, 9.0, 9.0, 100) for day in spring))
    start = dt.date(2024, 3, 28)
    report = desk.evening(FRI, "AAA", start=start)
    assert [report.total(name) for name in ("inserted", "empty", "failed")] == [35, 10, 0]
    days = XNYS.between(dt.date(2024, 5, 20), FRI)
    assert desk.ledger() == [
        ("AAA", start, "empty", "not listed before 2024-04-01"),
        *(("AAA", day, "empty", "no trade since 2024-05-17") for day in days),
    ]
    desk.asked()
    assert desk.evening(FRI, "AAA", start=start).up_to_date == 1
    assert desk.asked() == []


# Yahoo in trouble

TROUBLE: dict[str, tuple[Misbehaviour, str, str, Sequence[int]]] = {
    "T0": (status(500), "SourceUnavailable", "yahoo answered with HTTP 500.", (3,)),
    # One more, with another cookie.
    "T1": (status(403), "SourceUnavailable", "yahoo answered with HTTP 403.", (4,)),
    "T2": (silence(), "SourceUnavailable", "yahoo could not be reached: ", (3,)),
    "T3": (cut(), "SourceUnavailable", "yahoo could not be reached: ", (3,)),
    "T4": (truncated(), "BadAnswer", "that are no JSON: ", (3,)),
    "T5": (html(), "BadAnswer", "that are no JSON: ", (3,)),
    "T6": (words("Will be right back"), "BadAnswer", "no JSON: 'Will be right back'.", (3,)),
    "T7": (words("{}"), "BadAnswer", "yahoo answered for T7 with neither data nor a reason.", (1,)),
    "T8": (empty(), "MissingAtSource", "yahoo has no row of T8 for 2024-05-31", (1,)),
    # A connection in use before that breaks is opened anew by libcurl itself.
    "T9": (reset(), "SourceUnavailable", "yahoo could not be reached: ", range(3, 7)),
}
FINE = tuple(f"{symbol}A" for symbol in TROUBLE)


def test_one_symbols_trouble_leaves_its_rows_as_they_were_and_the_others_load(
    tmp_path: Path, yahoo: StandIn
) -> None:
    """Of every kind at once. In between others answer: the source as a whole is not down."""
    desk = Desk(tmp_path, yahoo, timeout_seconds=0.5)
    everyone = sorted((*TROUBLE, *FINE))
    yahoo.listings = {symbol: Listing.of(symbol, *ROWS) for symbol in everyone}
    desk.evening(THU, *everyone)
    desk.asked()
    for symbol, (misbehave, *_) in TROUBLE.items():
        yahoo.order(misbehave, symbol=symbol, times=math.inf)
    report = desk.evening(FRI)
    asked = desk.asked()
    for symbol, (_, error, said, requests) in TROUBLE.items():
        [(told, stack)] = desk.query(
            "select message, stack from log_entries where symbol = ? and level = 'ERROR'"
            " and error_class = ?",
            *(symbol, error),
        )
        assert said in str(told)
        assert f"{error}: {told}" in str(stack)
        assert asked.count(symbol) in requests, symbol
        assert desk.rows(symbol) == up_to(THU)
    for symbol in FINE:
        assert desk.rows(symbol) == up_to(FRI)
    assert [failure.symbol for failure in report.failures] == list(TROUBLE)
    assert [row[:3] for row in desk.ledger()] == [(symbol, FRI, "failed") for symbol in TROUBLE]
    well = dict.fromkeys(everyone, ("completed", 0))
    assert desk.tasks() == well | dict.fromkeys(TROUBLE, ("failed", 1))
    yahoo.relent()
    assert desk.evening(FRI).needs_attention is False
    assert desk.asked() == list(TROUBLE)
    for symbol in TROUBLE:
        assert desk.rows(symbol) == up_to(FRI)
    assert (desk.ledger(), desk.tasks()) == ([], well)


def test_a_passing_fault_costs_a_second_request_and_nothing_else(
    desk: Desk, yahoo: StandIn
) -> None:
    yahoo.order(status(500), symbol="AAA")
    assert desk.evening(FRI, "AAA").needs_attention is False
    assert desk.asked() == ["AAA", "AAA"]
    assert desk.clock.slept == [1.0]
    assert desk.rows("AAA") == up_to(FRI)
    assert desk.tasks() == {"AAA": ("completed", 0)}


@pytest.mark.parametrize(
    ("misbehaviour", "slept"),
    [
        (status(429), [5.0, 10.0]),
        (status(429, 7), [7.0, 7.0]),
        (words("Too Many Requests\r\n"), [5.0, 10.0]),
    ],
    ids=["429", "Retry-After", "words"],
)
def test_a_limit_that_passes_is_waited_for(
    desk: Desk, yahoo: StandIn, misbehaviour: Misbehaviour, slept: list[float]
) -> None:
    yahoo.order(misbehaviour, symbol="AAA", times=2)
    assert desk.evening(FRI, *NAMES).needs_attention is False
    assert desk.clock.slept == slept
    assert desk.asked() == ["AAA", "AAA", "AAA", "BBB", "CCC"]
    for symbol in NAMES:
        assert desk.rows(symbol) == up_to(FRI)


def test_a_limit_that_stays_leaves_the_rest_to_a_later_load_without_blaming_it(
    desk: Desk, yahoo: StandIn
) -> None:
    yahoo.order(status(429), symbol="BBB", times=6)
    report = desk.evening(FRI, *NAMES)
    assert desk.clock.slept == [5.0, 10.0, 20.0, 40.0, 80.0]
    assert desk.asked() == ["AAA", *["BBB"] * 6]
    assert desk.rows("AAA") == up_to(FRI)
    limited = ("rate_limited", 0)
    assert desk.tasks() == {"AAA": ("completed", 0), "BBB": limited, "CCC": limited}
    # 155 s were waited for, and 80 s are to come.
    retry_at = dt.datetime.fromisoformat("2024-05-31 22:03:55")
    assert desk.query("select distinct retry_at from load_tasks where state = 'rate_limited'") == [
        (retry_at,)
    ]
    assert len(report.notices) == 1
    again = desk.refresh(*NAMES, asking=Asking(heed_tasks=True))
    assert dict(again.left) == dict.fromkeys(
        ("BBB", "CCC"), "not to be asked before 2024-05-31 22:03:55 UTC"
    )
    desk.clock.sleep(80)
    assert desk.refresh(*NAMES, asking=Asking(heed_tasks=True)).needs_attention is False
    assert desk.asked() == ["BBB", "CCC"]
    for symbol in NAMES:
        assert desk.rows(symbol) == up_to(FRI)


def test_without_a_crumb_everything_is_loaded_all_the_same(desk: Desk, yahoo: StandIn) -> None:
    yahoo.order(words("Too Many Requests\r\n"), path=CRUMB, times=math.inf)
    assert desk.evening(FRI, *NAMES).needs_attention is False
    assert (desk.asked(), desk.clock.slept) == (list(NAMES), [])
    assert desk.rows("CCC") == up_to(FRI)


def test_once_the_source_is_down_the_rest_is_not_asked_and_not_blamed(
    desk: Desk, yahoo: StandIn
) -> None:
    yahoo.order(status(500), times=math.inf)
    report = desk.evening(FRI, *MANY[:8])
    assert desk.asked() == [symbol for symbol in MANY[:5] for _ in range(3)]
    assert desk.tasks() == {
        **dict.fromkeys(MANY[:5], ("failed", 1)),
        **dict.fromkeys(MANY[5:8], ("rate_limited", 0)),
    }
    [(retry_at,)] = desk.query(
        "select distinct retry_at from load_tasks where state = 'rate_limited'"
    )
    # Each of the five took 1 + 2 s; the circuit is open for a minute.
    assert retry_at == dt.datetime.fromisoformat("2024-05-31 22:01:15")
    [notice] = report.notices
    assert "No further symbol is asked for in this load." in notice
    assert report.total("inserted") == 0
    yahoo.relent()
    yahoo.listings = {symbol: Listing.of(symbol, *ROWS) for symbol in MANY[:8]}
    desk.clock.sleep(60)
    assert desk.refresh(*MANY[:8], asking=Asking(heed_tasks=True)).needs_attention is False
    assert desk.query("select count(*) from daily_prices") == [(24,)]


def test_after_five_failures_a_symbol_is_left_alone_until_something_is_new(
    desk: Desk, yahoo: StandIn
) -> None:
    desk.evening(THU, "AAA", "BBB")
    yahoo.order(empty(), symbol="AAA", times=math.inf)
    desk.evening(FRI)
    assert desk.tasks()["AAA"] == ("failed", 1)
    with desk.platform.warehouse.writing(str(uuid.uuid4())) as writing:
        writing.con.execute("update load_tasks set attempts = 4 where symbol = 'AAA'")
    desk.evening(FRI)
    desk.asked()
    [left] = desk.evening(FRI).left.values()
    assert left.startswith("given up after 5 attempts: ")
    assert desk.run(open_steps(desk.platform), asking=Asking(heed_tasks=True)) == []
    assert desk.asked() == []
    desk.evening(FRI, "AAA")  # whoever names it is heard
    assert desk.asked() == ["AAA"]
    assert desk.tasks()["AAA"] == ("failed", 6)
    desk.run(open_steps(desk.platform, given_up=True), asking=Asking())
    assert desk.asked() == ["AAA"]
    desk.evening(MON)  # a new session
    assert desk.asked() == ["BBB", "AAA"]
    assert desk.tasks()["AAA"] == ("failed", 1)
    yahoo.relent()
    assert desk.evening(MON).needs_attention is False
    assert desk.rows("AAA") == up_to(MON)


# Bars that are not simply there


def test_a_session_under_way_is_left_out_and_stored_once_it_is_over(desk: Desk) -> None:
    desk.clock.set(FRI, 16)
    assert desk.refresh("AAA").needs_attention is False
    assert desk.rows("AAA") == up_to(THU)
    desk.evening(FRI)
    assert desk.rows("AAA") == up_to(FRI)
    assert desk.query("select count(*) from quarantine") == [(0,)]


MORNING = int(dt.datetime(2024, 5, 31, 12, tzinfo=dt.UTC).timestamp())
FLAWS: dict[str, tuple[Misbehaviour, str]] = {
    "F0": (without_prices("2024-05-31", volume=6000), "open is missing"),
    "F1": (restated("2024-05-31", "close", math.nan), "close is missing"),
    "F2": (restated("2024-05-31", "low", -1.0), "low is not positive"),
    "F3": (restated("2024-05-31", "close", 500.0), "close is above high"),
    "F4": (
        doubled("2024-05-30", seconds_later=60, close=101.5),
        "another row of the same symbol and session differs",
    ),
}


def test_no_flawed_bar_is_stored_and_none_in_its_place(desk: Desk, yahoo: StandIn) -> None:
    symbols = (*FLAWS, "G0", "G1")
    yahoo.listings = {symbol: Listing.of(symbol, *ROWS) for symbol in symbols}
    desk.evening(THU, *symbols)
    for symbol, (misbehave, _) in FLAWS.items():
        yahoo.order(misbehave, symbol=symbol)
    yahoo.order(doubled("2024-05-30"), symbol="G0")  # says the same twice
    report = desk.evening(FRI)
    assert report.failures == ()
    set_aside = ["F0", "F1", "F2", "F3"]
    for symbol in symbols:
        assert desk.rows(symbol) == up_to(THU if symbol in set_aside else FRI)
    assert desk.ledger() == [(s, FRI, "quarantined", FLAWS[s][1]) for s in set_aside]
    reasons = desk.query("select symbol, session, reason from quarantine group by all order by all")
    assert reasons == [
        *((symbol, "2024-05-31", FLAWS[symbol][1]) for symbol in set_aside),
        ("F4", "2024-05-30", FLAWS["F4"][1]),
    ]
    assert (report.total("quarantined"), report.needs_attention) == (6, True)
    desk.asked()
    assert desk.evening(FRI).needs_attention is False
    assert desk.asked() == set_aside
    for symbol in symbols:
        assert desk.rows(symbol) == up_to(FRI)


# Markets


def test_a_stock_a_fund_and_a_coin_keep_their_own_days_in_one_refresh(
    desk: Desk, yahoo: StandIn
) -> None:
    days = [dt.date(2024, 5, 30) + dt.timedelta(days=n) for n in range(5)]
    bars = [(day, 9.0, 9.5, 8.5, 9.0 + day.day / 100, 10**10) for day in days]
    yahoo.listings |= {
        "BTC-USD": Listing.of("BTC-USD", *bars, kind="CRYPTOCURRENCY", market=CRYPTO),
        "SPY": Listing.of("SPY", *ROWS, kind="ETF"),
    }
    desk.clock.set(dt.date(2024, 6, 2), 12)  # a Sunday
    steps = refresh_steps(desk.platform, symbols=("AAA", "BTC-USD", "SPY"), start=THU)
    assert [step.calendar.name for step in steps] == ["XNYS", "24/7"]
    assert [report.needs_attention for report in desk.run(steps)] == [False, False]
    assert desk.rows("AAA") == desk.rows("SPY") == up_to(FRI)
    assert desk.rows("BTC-USD") == {THU: 9.3, FRI: 9.31, dt.date(2024, 6, 1): 9.01}
    assert desk.query(
        "select h.symbol, s.type, s.exchange, s.currency from securities s join symbol_history h"
        " using (security_id) where s.slug is null order by 1"
    ) == [
        ("AAA", "stock", "XNYS", "USD"),
        ("BTC-USD", "crypto", "24/7", "USD"),
        ("SPY", "etf", "XNYS", "USD"),
    ]
    desk.clock.set(MON, 12)
    desk.asked()
    desk.run(refresh_steps(desk.platform))
    assert desk.asked() == ["BTC-USD"]
    assert list(desk.rows("BTC-USD"))[-1] == dt.date(2024, 6, 2)


# How far back, and in which order


def test_it_looks_back_a_year_each_night_and_at_everything_once_a_month(
    desk: Desk, yahoo: StandIn
) -> None:
    opening, later = dt.date(2022, 1, 3), dt.date(2024, 7, 1)
    sessions = XNYS.between(opening, later)
    yahoo.listings["AAA"] = Listing.of("AAA", *((day, 9.0, 9.0, 9.0, 9.0, 100) for day in sessions))
    asked_for_all = []
    for day in (FRI, MON, later):
        desk.evening(day, "AAA", start=opening)
        asked_for_all += desk.query("select asked_for_all_at::date from source_symbols")
    since = [
        dt.datetime.fromtimestamp(int(each.params["period1"]), dt.UTC).date()
        for each in yahoo.requests
        if each.path.startswith(CHART)
    ]
    # A day more than asked for, which some zones need.
    assert since == [dt.date(2022, 1, 2), dt.date(2023, 6, 3), dt.date(2022, 1, 2)]
    assert asked_for_all == [(FRI,), (FRI,), (later,)]
    assert len(desk.rows("AAA")) == len(sessions)


def test_of_a_few_requests_the_urgent_and_then_the_stale_get_theirs(
    desk: Desk, yahoo: StandIn
) -> None:
    desk.evening(WED, "CCC")
    desk.evening(THU, "BBB")
    desk.evening(FRI, "AAA")
    desk.asked()
    report = desk.evening(MON, asking=Asking(most_requests=2))
    assert desk.asked() == ["CCC", "BBB"]
    assert (report.left, report.postponed) == ({}, ("AAA",))
    yahoo.order(empty(), symbol="BBB")
    desk.evening(TUE, "BBB", asking=Asking(priority="high"))
    desk.asked()
    desk.evening(TUE)  # what was urgent and has failed still is
    assert desk.asked() == ["BBB", "AAA", "CCC"]


# What it costs


def test_thirty_symbols_cost_thirty_requests_and_at_once_again_none(
    desk: Desk, yahoo: StandIn
) -> None:
    many = [f"S{number:02}" for number in range(30)]
    yahoo.listings = {each.symbol: each for each in invented_market(many, 2, FRI)}
    seen: list[int] = []
    start = dt.date(2023, 1, 3)
    desk.evening(FRI, *many, start=start, on_progress=lambda done, total, what: seen.append(done))
    assert desk.asked() == many
    days = len(XNYS.between(start, FRI))
    assert desk.query("select count(*), count(distinct security_id) from daily_prices") == [
        (30 * days, 30)
    ]
    assert (seen[0], seen[-1], seen == sorted(seen)) == (0, 30, True)
    assert desk.evening(FRI).up_to_date == 30
    assert desk.asked() == []


class AtYahoo(Folder):
    """A folder of symbol-days whose source is a desk's."""

    desk: Desk

    @functools.cached_property
    def definitions(self) -> dg.Definitions:
        return build_definitions(self.desk.platform)


# Dagster's own record of a backfill uses what Dagster has deprecated.
@pytest.mark.filterwarnings("ignore:Function `AssetSelection.sources`")
def test_a_backfill_of_twenty_symbols_in_many_runs_costs_twenty_requests(
    folder: Folder,  # noqa: F811 - the fixture
    yahoo: StandIn,
) -> None:
    yahoo.listings = {each.symbol: each for each in invented_market(MANY, 2, FRI)}
    days = XNYS.between(dt.date(2024, 4, 1), FRI)[-30:]
    runs = AtYahoo(folder.path, folder.instance)
    runs.desk = desk = Desk(folder.path, yahoo)
    runs.instance.add_dynamic_partitions(SYMBOLS, list(MANY))
    runs.backfill(dict.fromkeys(MANY, days))
    for day in days[::6]:  # a run a session, of which these few will do
        assert runs.run(MANY[0], MANY[-1], day, backfill=BACKFILL) == ""
    assert sorted(map(str, desk.asked())) == list(MANY)
    covered = "select count(*) from daily_prices where session between ? and ?"
    assert desk.query(covered, days[0], days[-1]) == [(600,)]


# Stopped and gone on with

SIX = tuple(f"S{number}" for number in range(6))
KEPT = (
    "select symbol, session, open, high, low, close, volume, currency, basis_on, provisional"
    " from daily_prices join symbol_history using (security_id) union all"
    " select symbol, ex_date, ratio, amount, null, null, null, kind, basis_on, null"
    " from corporate_actions join symbol_history using (security_id) union all"
    " select symbol, end_session, attempts, null, null, null, null, state, null, null"
    " from load_tasks order by all"
)


def six() -> StandIn:
    facts = {"splits": ((MON, 2.0, 1.0),), "dividends": PAID}
    return StandIn([Listing.of(symbol, *SPLIT_ROWS, **facts) for symbol in SIX])


@functools.cache
def undisturbed() -> list[Row]:
    with tempfile.TemporaryDirectory() as path, six() as yahoo:
        desk = Desk(Path(path), yahoo)
        desk.evening(MON, *SIX)
        return desk.query(KEPT)


def interrupt_at(stored: int) -> Callable[[int, int, str], None]:
    def watched(done: int, total: int, what: str) -> None:
        if done >= stored:
            raise KeyboardInterrupt

    return watched


def let_requests_end() -> None:
    for thread in threading.enumerate():
        if thread.name == "yahoo":
            thread.join(30)


@examples(2)
@given(st.integers(min_value=1, max_value=6))
def test_a_load_stopped_anywhere_and_resumed_ends_as_if_undisturbed(stored: int) -> None:
    """Property 22: resume, at Yahoo. Caught: symbols stored before the stop asked for again."""
    with tempfile.TemporaryDirectory() as path, six() as yahoo:
        desk = Desk(Path(path), yahoo, at_least_every_seconds=0)
        with pytest.raises(KeyboardInterrupt):
            desk.evening(MON, *SIX, on_progress=interrupt_at(stored))
        let_requests_end()
        states = desk.query("select state from load_tasks order by symbol")
        done = states.count(("completed",))
        assert done >= stored
        assert states == [("completed",)] * done + [("pending",)] * (6 - done)
        desk.asked()
        desk.run(open_steps(desk.platform), asking=Asking(heed_tasks=True))
        assert sorted(map(str, desk.asked())) == list(SIX[done:])
        assert desk.query(KEPT) == undisturbed()


def test_a_load_that_is_stopped_asks_for_nothing_more(tmp_path: Path) -> None:
    stopped = threading.Event()

    def once_stopped(reply: Reply) -> Reply:
        stopped.wait(30)
        return reply

    with six() as yahoo:
        yahoo.order(once_stopped, symbol="S1")
        desk = Desk(tmp_path, yahoo, at_least_every_seconds=0)
        with pytest.raises(KeyboardInterrupt) as told:
            desk.evening(MON, *SIX, on_progress=interrupt_at(1))
        stopped.set()
        let_requests_end()
        assert desk.asked() == ["S0", "S1"]
        assert told.traceback  # which holds on to all that was under way


# What is said of it all

SORTS: dict[str, Misbehaviour | None] = {
    "fine": None,
    "down": status(500),
    "missing": without_session("2024-05-31"),
    "bad": restated("2024-05-31", "low", -1.0),
    "gone": words('{"chart":{"result":null,"error":{"code":"Not Found"}}}', 404),
}


@examples(1)
@given(st.lists(st.sampled_from(sorted(SORTS)), min_size=6, max_size=6))
@example([*SORTS, "fine"])
def test_the_summary_is_what_the_tables_hold_and_both_logs_name_every_failure(
    sorts: list[str],
) -> None:
    """Properties 16, 17 and 18, at Yahoo."""
    with (
        tempfile.TemporaryDirectory() as path,
        StandIn([Listing.of(symbol, *ROWS) for symbol in SIX]) as yahoo,
    ):
        desk = Desk(Path(path), yahoo)
        desk.evening(THU, *SIX)
        for symbol, sort in zip(SIX, sorts, strict=True):
            if misbehave := SORTS[sort]:
                yahoo.order(misbehave, symbol=symbol, times=math.inf)
        report = desk.evening(FRI)
        [log] = Path(path, "logs").glob(f"2024-05-31/*-{report.run_id[:8]}.log")
        in_file = log.read_text()
        of_run = "where run_id = ? and level = 'ERROR' order by symbol"
        errors = desk.query(
            f"select symbol, message, stack from log_entries {of_run}", report.run_id
        )
        [recounted] = desk.query(
            "select (select count(*) from daily_prices where session = '2024-05-31'),"
            " (select count(*) from symbol_day_ledger where outcome = 'failed'),"
            " (select count(*) from quarantine)"
        )
        totals = f"select {', '.join(COUNTS)} from load_runs where run_id = ?"
        assert desk.query(totals, report.run_id) == [tuple(report.total(n) for n in COUNTS)]
    count = {sort: sorts.count(sort) for sort in SORTS}
    lost = count["down"] + count["missing"] + count["gone"]
    assert recounted == (count["fine"], lost, count["bad"])
    assert [report.total(n) for n in ("inserted", "failed", "quarantined")] == list(recounted)
    failed = [s for s, sort in zip(SIX, sorts, strict=True) if sort not in ("fine", "bad")]
    assert [failure.symbol for failure in report.failures] == failed
    assert [symbol for symbol, _, _ in errors] == failed
    lines = {line.strip() for line in in_file.splitlines()}
    for symbol, message, stack in errors:
        assert f"ERROR {symbol} {message}" in in_file
        assert {line.strip() for line in str(stack).splitlines()} <= lines


# Reality

LATER_SPLITS = {"NVDA": 4, "TSLA": 3}
"""Between the price set's splits, which end in 2021, and its last day, in whose shares it is."""


def as_traded(listing: Listing) -> Listing:
    """Before those splits, in cents."""
    ratio = LATER_SPLITS.get(listing.symbol, 1)
    prices = listing.rows[["open", "high", "low", "close"]] * ratio
    volume = listing.rows["volume"] // ratio
    return replace(listing, rows=listing.rows.assign(**prices.round(2), volume=volume))


def test_real_companies_walked_over_their_splits_are_as_if_loaded_in_one_go(
    real: Path, tmp_path: Path
) -> None:
    symbols = ("AAPL", "MSFT", "NVDA", "TSLA")
    start, end = dt.date(2019, 6, 3), dt.date(2020, 9, 2)
    with StandIn(map(as_traded, yahoo_price_set(real, symbols))) as yahoo:
        walked, at_once = Desk(tmp_path / "walked", yahoo), Desk(tmp_path / "once", yahoo)
        for day in XNYS.between(dt.date(2020, 8, 28), end):
            assert walked.evening(day, *symbols, start=start).needs_attention is False
        at_once.evening(end, *symbols, start=start)
    assert walked.query(KEPT) == at_once.query(KEPT)
    assert walked.revisions() == []
    splits = "select symbol, ex_date, ratio from corporate_actions join symbol_history"
    assert walked.query(f"{splits} using (security_id) where kind = 'split' order by 1") == [
        ("AAPL", dt.date(2020, 8, 31), 4.0),
        ("TSLA", dt.date(2020, 8, 31), 5.0),
    ]
    assert (dt.date(2020, 8, 7), "cash_dividend", None, 0.82) in walked.actions("AAPL")
    [(close,)] = walked.query(
        "select close from daily_prices join symbol_history using (security_id)"
        " where symbol = 'AAPL' and session = '2020-08-28'"
    )
    assert close == 499.23
