"""The whole market through ``load``: when it is due, and what becomes of a list that is no list.

What is believed of a capitalisation is in ``test_market_caps.py``, which security a row is in
``test_market_identity.py``.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import pytest

from quant_assets.datasets.market_snapshot.dataset import market_snapshot
from quant_assets.loading.load import load
from quant_assets.loading.tasks import read_tasks
from quant_assets.loading.work import Window
from quant_assets.reference.calendars import Calendar
from quant_assets.sources.nasdaq.screener import Screener
from quant_assets.warehouse.warehouse import Warehouse
from quant_assets_tests.standins.market import Evenings, Row, listed
from quant_assets_tests.standins.nasdaq import (
    PAGE,
    Misbehaviour,
    NasdaqStandIn,
    half_the_rows,
    renamed,
    says,
    status,
    stock,
)

WEDNESDAY, THURSDAY, FRIDAY, SATURDAY = (dt.date(2024, 5, day) for day in (22, 23, 24, 25))
TUESDAY_AFTER = dt.date(2024, 5, 28)
"""Monday, the 27th, is Memorial Day."""


@pytest.fixture
def market(warehouse: Warehouse, calendar: Calendar) -> Evenings:
    """Two lists of a source: three stocks, and one."""
    return Evenings.of(
        warehouse,
        calendar,
        nasdaq=[listed("AAPL", 190.0), listed("LCUT"), listed("NVDA", 1037.99)],
        nyse=[listed("IBM", 171.0)],
    )


@pytest.fixture
def nasdaq() -> Iterator[NasdaqStandIn]:
    stocks = {
        "amex": [stock("ACU"), stock("AIRI")],
        "nasdaq": [stock("AAPL"), stock("LCUT"), stock("NVDA"), stock("ZION")],
        "nyse": [stock("BAC"), stock("IBM")],
    }
    with NasdaqStandIn(stocks) as standin:
        yield standin


@pytest.fixture
def screened(warehouse: Warehouse, calendar: Calendar, nasdaq: NasdaqStandIn) -> Evenings:
    """The screener's lists of three exchanges, from the stand-in, stored on Thursday."""

    def clock() -> dt.datetime:
        return warehouse.clock()

    source = Screener(calendar, lambda request: request(), clock, nasdaq.url)
    evenings = Evenings(warehouse, calendar, source)
    assert evenings.on(THURSDAY).total("inserted") == 8
    return evenings


def test_each_row_is_stored_under_its_session_with_a_security_and_counted_in_its_list(
    market: Evenings,
) -> None:
    report = market.on(THURSDAY)
    assert [(r.symbol, r.requested, r.inserted, r.failed) for r in report.symbols] == [
        ("nasdaq", 1, 3, 0),
        ("nyse", 1, 1, 0),
    ]
    assert not report.needs_attention
    assert market.rows(
        "select security_id, session, source, feed, symbol, exchange, type, last_sale, net_change,"
        " volume, currency, market_cap, market_cap_on, reported_market_cap, implied_shares, sector"
        " from market_snapshot where symbol in ('AAPL', 'IBM') order by 1"
    ) == [
        (
            *(number, THURSDAY, "lists", feed, symbol, feed, "common_stock", price, 0.1, 1000),
            *("USD", cap, THURSDAY, cap, 5e6, "Technology"),
        )
        for number, feed, symbol, price, cap in (
            (1, "nasdaq", "AAPL", 190.0, 950e6),
            (4, "nyse", "IBM", 171.0, 855e6),
        )
    ]
    assert market.rows("select security_id, name, type, exchange from securities order by 1") == [
        (1, "AAPL Inc. Common Stock", "stock", "XNYS"),
        (2, "LCUT Inc. Common Stock", "stock", "XNYS"),
        (3, "NVDA Inc. Common Stock", "stock", "XNYS"),
        (4, "IBM Inc. Common Stock", "stock", "XNYS"),
    ]
    assert market.rows("select symbol, valid_from, valid_to from symbol_history order by 1") == [
        (symbol, THURSDAY, None) for symbol in ("AAPL", "IBM", "LCUT", "NVDA")
    ]


def test_each_list_is_requested_once_a_session(market: Evenings) -> None:
    moments = [
        ("2024-05-23 19:59", WEDNESDAY, True),
        ("2024-05-23 20:01", THURSDAY, True),
        ("2024-05-23 23:00", THURSDAY, False),
        ("2024-05-24 12:00", THURSDAY, False),
        ("2024-05-24 23:00", FRIDAY, True),
        ("2024-05-25 15:00", FRIDAY, False),
        ("2024-05-27 23:00", FRIDAY, False),
        ("2024-05-28 23:00", TUESDAY_AFTER, True),
    ]
    for moment, session, requested in moments:
        market.source.requests.clear()
        report = market.at(dt.datetime.fromisoformat(f"{moment}+00:00"))
        assert market.source.requests == (["nasdaq", "nyse"] if requested else []), moment
        assert report.up_to_date == (0 if requested else 2)
        assert market.rows("select max(session) from market_snapshot") == [(session,)]
    assert market.rows("select session, count(*) from market_snapshot group by 1 order by 1") == [
        (day, 4) for day in (WEDNESDAY, THURSDAY, FRIDAY, TUESDAY_AFTER)
    ]


def test_a_saturday_belongs_to_friday(market: Evenings) -> None:
    assert market.on(SATURDAY).total("inserted") == 4
    assert market.rows("select distinct session from market_snapshot") == [(FRIDAY,)]


def test_a_forced_load_changes_nothing_and_a_corrected_figure_is_a_revision(
    market: Evenings,
) -> None:
    market.on(THURSDAY)
    assert market.on(THURSDAY, force=True).total("unchanged") == 4
    market.source.lists["nyse"] = [listed("IBM", 171.5)]
    forced = market.on(THURSDAY, force=True)
    assert (forced.total("revised"), forced.total("unchanged")) == (1, 3)
    assert market.rows("select symbol, last_sale from market_snapshot_revisions") == [
        ("IBM", 171.0)
    ]


def test_a_window_that_ended_before_the_last_closed_session_has_nothing_to_request(
    market: Evenings,
) -> None:
    market.on(THURSDAY)
    window = Window(("nasdaq", "nyse"), WEDNESDAY, WEDNESDAY)
    market.source.requests.clear()
    report = load(market.warehouse, market_snapshot(market.calendar), market.source, window)
    assert (report.symbols, report.up_to_date, market.source.requests) == ((), 2, [])


BAD: dict[str, tuple[Misbehaviour, str]] = {
    "HTML": (says(PAGE), "is no JSON"),
    "nothing": (says(b""), "is empty"),
    "no rows": (says(b'{"data": {"rows": []}}'), "has no rows"),
    "another column": (renamed("marketCap", "cap"), "lacks the column marketCap in 4 of 4 rows"),
    "half the rows": (
        half_the_rows,
        "The feed nasdaq is cut short: 2 rows, where 2024-05-23 had 4.",
    ),
    "an error": (status(500), "500"),
}


@pytest.mark.parametrize(("misbehave", "why"), BAD.values(), ids=BAD.keys())
def test_a_list_that_is_none_fails_alone_and_is_requested_again(
    screened: Evenings, nasdaq: NasdaqStandIn, misbehave: Misbehaviour, why: str
) -> None:
    before = screened.rows("select * from market_snapshot order by all")
    nasdaq.order(misbehave, feed="nasdaq", times=9)
    report = screened.on(FRIDAY)
    assert [(r.symbol, r.inserted, r.failed) for r in report.symbols] == [
        ("amex", 2, 0),
        ("nasdaq", 0, 1),
        ("nyse", 2, 0),
    ]
    assert why in str(report.symbols[1].error)
    assert report.needs_attention
    of_friday = "select feed, count(*) from market_snapshot where session = '2024-05-24' group by 1"
    assert sorted(screened.rows(of_friday)) == [("amex", 2), ("nyse", 2)]
    thursday = "select * from market_snapshot where session = '2024-05-23' order by all"
    assert screened.rows(thursday) == before
    with screened.warehouse.reading() as con:
        tasks = read_tasks(con, "market_snapshot")
    states = {symbol: (task.state, task.attempts) for (_, symbol), task in tasks.items()}
    assert states == {
        "amex": ("completed", 0),
        "nasdaq": ("failed", 1),
        "nyse": ("completed", 0),
    }
    nasdaq.relent()
    nasdaq.requests.clear()
    again = screened.on(FRIDAY)
    assert [asked.feed for asked in nasdaq.requests] == ["nasdaq"]
    assert (again.up_to_date, again.total("inserted"), again.total("failed")) == (2, 4, 0)


def test_the_rows_of_a_list_cut_short_are_kept_in_quarantine(
    screened: Evenings, nasdaq: NasdaqStandIn
) -> None:
    nasdaq.order(half_the_rows, feed="nasdaq")
    [_, of_nasdaq, _] = screened.on(FRIDAY).symbols
    assert of_nasdaq.quarantined == 2
    why = "The feed nasdaq is cut short: 2 rows, where 2024-05-23 had 4."
    assert screened.quarantine() == [("AAPL", why), ("LCUT", why)]


def test_a_list_cut_short_is_stored_where_a_user_accepts_it(
    screened: Evenings, nasdaq: NasdaqStandIn
) -> None:
    nasdaq.order(half_the_rows, feed="nasdaq", times=2)
    assert screened.on(FRIDAY).total("failed") == 1
    accepted = screened.on(FRIDAY, accept=True)
    assert (accepted.total("inserted"), accepted.total("failed")) == (2, 0)
    assert screened.on(FRIDAY).up_to_date == 3


def liquid(*, last_sale: float) -> list[Row]:
    """Stocks of a turnover that lets their last sale change nearly every day."""
    symbols = [f"S{letter}" for letter in "ABCDEFGHIJKLMNOPQRSTUVWXY"]
    return [listed(symbol, last_sale, volume=200_000) for symbol in symbols]


def test_a_list_of_the_session_before_is_set_aside_and_stored_where_a_user_accepts_it(
    market: Evenings,
) -> None:
    market.source.lists["nasdaq"] = liquid(last_sale=10.0)
    market.on(THURSDAY)
    stale = market.on(FRIDAY)
    why = (
        "The feed nasdaq is that of a session before: 25 of 25 securities with a turnover above "
        "1e+06 have the last sale stored before."
    )
    assert [(r.symbol, r.inserted, r.quarantined, r.error) for r in stale.symbols] == [
        ("nasdaq", 0, 25, why),
        ("nyse", 1, 0, None),
    ]
    assert market.quarantine() == [(f"S{letter}", why) for letter in "ABCDEFGHIJKLMNOPQRSTUVWXY"]
    assert market.rows("select max(session) from market_snapshot where feed = 'nasdaq'") == [
        (THURSDAY,)
    ]
    accepted = market.on(FRIDAY, accept=True)
    assert (accepted.up_to_date, accepted.total("inserted")) == (1, 25)


def test_the_list_that_comes_later_that_evening_is_stored(market: Evenings) -> None:
    market.source.lists["nasdaq"] = liquid(last_sale=10.0)
    market.on(THURSDAY)
    market.on(FRIDAY, hour=21)
    market.source.lists["nasdaq"] = liquid(last_sale=10.1)
    report = market.on(FRIDAY, hour=23)
    assert (report.total("inserted"), report.total("quarantined")) == (25, 0)


def test_a_symbol_twice_with_the_same_row_is_one_row(market: Evenings) -> None:
    market.source.lists["nyse"] *= 2
    report = market.on(THURSDAY)
    assert (report.total("inserted"), report.total("quarantined")) == (4, 0)


def test_a_symbol_twice_with_different_rows_is_set_aside_and_costs_no_other(
    market: Evenings,
) -> None:
    market.source.lists["nasdaq"].append(listed("AAPL", 191.0))
    report = market.on(THURSDAY)
    assert [(r.symbol, r.inserted, r.quarantined, r.failed) for r in report.symbols] == [
        ("nasdaq", 2, 2, 0),
        ("nyse", 1, 0, 0),
    ]
    assert market.quarantine() == [("AAPL", "another row of the same key differs")] * 2


def test_a_row_without_a_type_or_with_a_negative_figure_is_set_aside_alone(
    market: Evenings,
) -> None:
    market.source.lists["nyse"] += [
        listed("BAC", type=None),
        listed("CAT", volume=-1),
        listed("DIS", last_sale=-2.0),
    ]
    assert market.on(THURSDAY).total("inserted") == 4
    assert market.quarantine() == [
        ("BAC", "type is missing"),
        ("CAT", "volume is negative"),
        ("DIS", "last_sale is not positive"),
    ]


def test_an_exchange_that_the_source_does_not_have_fails_alone(
    screened: Evenings, calendar: Calendar
) -> None:
    class More(Screener):
        def symbols(self) -> tuple[str, ...]:
            return (*super().symbols(), "otc")

    asked = screened.source
    screened.source = More(calendar, asked.paced, asked.clock, asked.base_url)
    report = screened.on(FRIDAY)
    assert [(r.symbol, r.inserted, r.failed) for r in report.symbols] == [
        ("amex", 2, 0),
        ("nasdaq", 4, 0),
        ("nyse", 2, 0),
        ("otc", 0, 1),
    ]
    assert report.symbols[3].error == "nasdaq has no symbol otc. It has amex, nasdaq, nyse."


def test_an_exchange_whose_rows_say_another_one_is_stored_as_they_say(market: Evenings) -> None:
    market.source.lists["nyse"] = [listed("TXNM", exchange="txse")]
    market.on(THURSDAY)
    assert market.rows("select feed, exchange from market_snapshot where symbol = 'TXNM'") == [
        ("nyse", "txse")
    ]
