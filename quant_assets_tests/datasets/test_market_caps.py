"""Which market capitalisation of the whole market is stored, and what a reader sees of it."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from quant_assets.read.market_frames import market as read_market
from quant_assets.reference.calendars import Calendar
from quant_assets.schema.prices import CORPORATE_ACTIONS
from quant_assets.settings.settings import Settings
from quant_assets.warehouse.warehouse import Warehouse
from quant_assets_tests.standins.market import Evenings, Row, listed

WEDNESDAY, THURSDAY, FRIDAY = (dt.date(2024, 5, day) for day in (22, 23, 24))
TUESDAY_AFTER = dt.date(2024, 5, 28)


@pytest.fixture
def market(warehouse: Warehouse, calendar: Calendar) -> Evenings:
    """ACME and LCUT of 5e6 shares each, at 10 USD on Thursday; SHEL never had a capitalisation."""
    evenings = Evenings.of(
        warehouse,
        calendar,
        nyse=[listed("ACME"), listed("LCUT"), listed("SHEL", market_cap=None)],
    )
    evenings.on(THURSDAY)
    return evenings


def stored(market: Evenings, symbol: str = "ACME") -> list[tuple[Any, ...]]:
    """Session, capitalisation with its day, as reported, and shares in millions, of each row."""
    return market.rows(
        "select session, market_cap, market_cap_on, reported_market_cap, implied_shares / 1e6"
        f" from market_snapshot where symbol = '{symbol}' order by session"
    )


def on_friday(market: Evenings, acme: Row) -> None:
    market.source.lists["nyse"][0] = acme
    market.on(FRIDAY)


def split(market: Evenings, ratio: float, ex_date: dt.date) -> None:
    told = {
        "security_id": market.ids()["ACME"],
        "ex_date": ex_date,
        "kind": "split",
        "source": "another",
        "ratio": ratio,
        "currency": "USD",
        "basis_on": ex_date,
        "kind_by": "rule",
    }
    with market.warehouse.writing("00000000-0000-0000-0000-000000000001") as writing:
        writing.upsert(CORPORATE_ACTIONS, CORPORATE_ACTIONS.arrow([told]))


def test_a_change_of_the_price_changes_the_capitalisation_and_no_shares(market: Evenings) -> None:
    on_friday(market, listed("ACME", 10.5))
    assert stored(market) == [
        (THURSDAY, 50.0e6, THURSDAY, 50.0e6, 5.0),
        (FRIDAY, 52.5e6, FRIDAY, 52.5e6, 5.0),
    ]
    assert market.quarantine() == []


@pytest.mark.parametrize(
    ("reported", "why"),
    [
        (
            100e6,
            "A market capitalisation of 1e+08 implies 2 times the shares of 2024-05-23, and no "
            "split explains it.",
        ),
        (
            1000e6,
            "A market capitalisation of 1e+09 implies 20 times the shares of 2024-05-23, and no "
            "split explains it.",
        ),
        (2e13, "A market capitalisation of 2e+13 is beyond that of any company (1e+13)."),
        (0.0, "No market capitalisation; that of 2024-05-23 was 5e+07."),
        (None, "No market capitalisation; that of 2024-05-23 was 5e+07."),
    ],
)
def test_what_is_not_believed_leaves_the_last_good_one_with_its_day(
    market: Evenings, reported: float | None, why: str
) -> None:
    on_friday(market, listed("ACME", 10.0, market_cap=reported))
    assert stored(market) == [
        (THURSDAY, 50e6, THURSDAY, 50e6, 5.0),
        (FRIDAY, 50e6, THURSDAY, reported, 5.0),
    ]
    assert market.quarantine() == [("ACME", why)]


def test_a_capitalisation_that_is_not_believed_costs_neither_its_row_nor_its_list(
    market: Evenings,
) -> None:
    market.source.lists["nyse"][0] = listed("ACME", 10.2, market_cap=102e6)
    [report] = market.on(FRIDAY).symbols
    assert (report.inserted, report.quarantined, report.failed, report.error) == (3, 1, 0, None)
    assert market.rows(
        "select last_sale, volume from market_snapshot"
        " where symbol = 'ACME' and session = '2024-05-24'"
    ) == [(10.2, 1_000)]
    assert market.on(FRIDAY).up_to_date == 1


def test_the_last_good_one_is_kept_for_days_and_followed_by_the_next_good_one(
    market: Evenings,
) -> None:
    on_friday(market, listed("ACME", 10.0, market_cap=150e6))
    market.source.lists["nyse"][0] = listed("ACME", 10.1, market_cap=151.5e6)
    market.on(TUESDAY_AFTER)
    market.source.lists["nyse"][0] = listed("ACME", 10.2)
    market.on(dt.date(2024, 5, 29))
    assert stored(market) == [
        (THURSDAY, 50e6, THURSDAY, 50e6, 5.0),
        (FRIDAY, 50e6, THURSDAY, 150e6, 5.0),
        (TUESDAY_AFTER, 50e6, THURSDAY, 151.5e6, 5.0),
        (dt.date(2024, 5, 29), 51e6, dt.date(2024, 5, 29), 51e6, 5.0),
    ]


def test_no_capitalisation_where_there_never_was_one_is_nothing_to_set_aside(
    market: Evenings,
) -> None:
    market.on(FRIDAY)
    assert stored(market, "SHEL") == [
        (THURSDAY, None, None, None, None),
        (FRIDAY, None, None, None, None),
    ]
    assert market.quarantine() == []


def test_a_list_without_any_figure_is_stored_day_after_day(market: Evenings) -> None:
    """As the symbol directory is."""
    bare = dict.fromkeys(("net_change", "volume", "market_cap"))
    market.source.lists = {"nasdaqlisted": [listed("QQQ", None, **bare)]}
    for day in (FRIDAY, TUESDAY_AFTER):
        assert market.on(day).total("inserted") == 1
    assert market.quarantine() == []
    assert stored(market, "QQQ") == [
        (FRIDAY, None, None, None, None),
        (TUESDAY_AFTER, None, None, None, None),
    ]


@pytest.mark.parametrize(
    ("ratio", "ex_date", "market_cap", "shares"),
    [
        (2.0, FRIDAY, 50e6, 10.0),
        (2.0, THURSDAY, None, 5.0),  # it is in the shares of Thursday already
        (2.0, TUESDAY_AFTER, None, 5.0),  # it is still to come
    ],
)
def test_a_split_on_record_explains_twice_the_shares_from_its_day_on(
    market: Evenings, ratio: float, ex_date: dt.date, market_cap: float | None, shares: float
) -> None:
    split(market, ratio, ex_date)
    # A net change from the close as it was before the split: by itself it tells of none.
    on_friday(market, listed("ACME", 5.0, net_change=-5.0, market_cap=50e6))
    _, (_, cap, on, reported, implied) = stored(market)
    believed = (50e6, FRIDAY) if market_cap else (50e6, THURSDAY)
    assert ((cap, on), reported) == (believed, 50e6)
    assert implied == shares
    assert len(market.quarantine()) == (0 if market_cap else 1)


def test_shares_that_do_not_follow_a_split_are_not_believed(market: Evenings) -> None:
    split(market, 2.0, FRIDAY)
    on_friday(market, listed("ACME", 5.0, net_change=-5.0, market_cap=25e6))
    assert stored(market)[-1] == (FRIDAY, 50e6, THURSDAY, 25e6, 10.0)
    assert market.quarantine() == [
        (
            "ACME",
            "A market capitalisation of 2.5e+07 does not follow the split of 2 new shares for one "
            "old.",
        )
    ]


def test_a_split_that_only_the_net_change_tells_of_is_believed_too(market: Evenings) -> None:
    on_friday(market, listed("ACME", 5.1, net_change=0.1, market_cap=51e6))
    assert stored(market)[-1] == (FRIDAY, 51e6, FRIDAY, 51e6, 10.0)
    assert market.quarantine() == []


def test_all_is_believed_where_a_user_accepts_it(market: Evenings) -> None:
    market.source.lists["nyse"][0] = listed("ACME", 10.0, market_cap=100e6)
    market.on(FRIDAY)
    market.on(FRIDAY, accept=True, force=True)
    assert stored(market)[-1] == (FRIDAY, 100e6, FRIDAY, 100e6, 10.0)


@pytest.mark.parametrize(
    ("day", "believed"), [(dt.date(2024, 6, 24), 50e6), (dt.date(2024, 6, 25), 100e6)]
)
def test_a_security_that_was_away_for_more_than_twenty_sessions_has_no_past(
    market: Evenings, day: dt.date, believed: float
) -> None:
    market.source.lists["nyse"][0] = listed("ACME", 10.0, market_cap=100e6)
    market.on(day)
    assert [(on, cap) for on, cap, *_ in stored(market)] == [(THURSDAY, 50e6), (day, believed)]


def test_the_frame_says_how_many_rows_show_an_earlier_capitalisation(market: Evenings) -> None:
    on_friday(market, listed("ACME", 10.0, market_cap=100e6))
    frame = read_market(on=FRIDAY, settings=Settings(home=market.warehouse.path.parent))
    assert frame.attrs["not_believed"] == 1
    columns = ["symbol", "market_cap", "market_cap_on", "reported_market_cap"]
    priced = frame[frame["market_cap"].notna()][columns].astype({"market_cap_on": str})
    assert priced.to_dict("split")["data"] == [
        ["ACME", 50e6, "2024-05-23", 100e6],
        ["LCUT", 50e6, "2024-05-24", 50e6],
    ]
