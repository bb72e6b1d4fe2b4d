"""Which security each row of the whole market is: tickers on record, new ones, renamings."""

from __future__ import annotations

import datetime as dt

import pytest

from quant_assets.contracts.source import SourceUnavailable
from quant_assets.datasets.market_snapshot.identify import company_of
from quant_assets.reference.calendars import Calendar
from quant_assets.reference.identity import KnownIdentity, known_identities
from quant_assets.schema.membership import MEMBERSHIP
from quant_assets.schema.securities import SECURITIES, SYMBOL_HISTORY
from quant_assets.warehouse.warehouse import Warehouse
from quant_assets_tests.standins.market import Evenings, listed

WEDNESDAY, THURSDAY, FRIDAY = (dt.date(2024, 5, day) for day in (22, 23, 24))
TUESDAY_AFTER = dt.date(2024, 5, 28)
RUN = "00000000-0000-0000-0000-000000000001"
Dated = tuple[str, dt.date, dt.date | None, int]


@pytest.fixture
def market(warehouse: Warehouse, calendar: Calendar) -> Evenings:
    return Evenings.of(warehouse, calendar, nasdaq=[listed("LCUT"), listed("ZION")], nyse=[])


def on_record(warehouse: Warehouse, *names: Dated, member: int = 0, **columns: object) -> None:
    """Put dated names on record, each of a security named Acme Inc. unless told otherwise."""
    about = {"name": "Acme Inc.", "type": "stock", "exchange": "XNYS", "currency": "USD"} | columns
    keys = ("symbol", "valid_from", "valid_to", "security_id")
    dated = [{**dict(zip(keys, name, strict=True)), "source": "here"} for name in names]
    numbers = sorted({number for *_, number in names})
    with warehouse.writing(RUN) as writing:
        writing.upsert(SECURITIES, SECURITIES.arrow([{"security_id": n, **about} for n in numbers]))
        writing.upsert(SYMBOL_HISTORY, SYMBOL_HISTORY.arrow(dated))
        if member:
            joined = {"universe": "sp500", "security_id": member, "effective_on": names[0][1]}
            row = {**joined, "symbol": names[0][0], "source": "here"}
            writing.upsert(MEMBERSHIP, MEMBERSHIP.arrow([row]))


def names(market: Evenings, *symbols: str) -> list[tuple[object, ...]]:
    found = market.rows(
        "select symbol, valid_from, valid_to, security_id from symbol_history order by 2, 1"
    )
    return [name for name in found if name[0] in symbols]


def test_a_ticker_on_record_keeps_its_security(market: Evenings) -> None:
    on_record(market.warehouse, ("ACME", dt.date(2010, 1, 4), None, 7))
    market.source.lists["nyse"] = [listed("ACME", name="Acme Incorporated Common Shares")]
    market.on(THURSDAY)
    market.on(FRIDAY)
    assert market.ids() == {"ACME": 7, "LCUT": 8, "ZION": 9}
    assert names(market, "ACME") == [("ACME", dt.date(2010, 1, 4), None, 7)]
    assert market.rows("select name from securities where security_id = 7") == [("Acme Inc.",)]


def test_a_security_without_a_name_gets_that_of_the_list(market: Evenings) -> None:
    on_record(market.warehouse, ("ACME", dt.date(2010, 1, 4), None, 7), name=None, member=7)
    market.source.lists["nyse"] = [listed("ACME", name="Acme Incorporated Common Shares")]
    market.on(THURSDAY)
    assert market.rows("select name from securities where security_id = 7") == [
        ("Acme Incorporated Common Shares",)
    ]


@pytest.mark.parametrize(
    ("of_list", "of_security"),
    [("common_stock", "stock"), ("adr", "stock"), ("etf", "etf"), ("warrant", "warrant")],
)
def test_an_unknown_ticker_is_a_new_security_with_its_type_from_that_session_on(
    market: Evenings, of_list: str, of_security: str
) -> None:
    market.source.lists["nyse"] = [listed("ACME", name="Acme Inc.", type=of_list)]
    market.on(THURSDAY)
    number = market.ids()["ACME"]
    assert names(market, "ACME") == [("ACME", THURSDAY, None, number)]
    assert market.rows(
        f"select name, type, currency from securities where security_id = {number}"
    ) == [("Acme Inc.", of_security, "USD")]


def test_a_ticker_that_its_bearer_has_lost_is_another_company(market: Evenings) -> None:
    lost = dt.date(2020, 3, 2)
    on_record(market.warehouse, ("ACME", dt.date(2010, 1, 4), lost, 7))
    market.source.lists["nyse"] = [listed("ACME", name="Acme Robotics Corp. Common Stock")]
    market.on(THURSDAY)
    number = market.ids()["ACME"]
    assert number != 7
    assert names(market, "ACME") == [
        ("ACME", dt.date(2010, 1, 4), lost, 7),
        ("ACME", THURSDAY, None, number),
    ]


def test_a_newcomer_that_a_list_of_members_knows_from_a_later_day_is_that_company(
    market: Evenings,
) -> None:
    lost = dt.date(2020, 3, 2)
    on_record(market.warehouse, ("ACME", dt.date(2010, 1, 4), lost, 7))
    on_record(market.warehouse, ("ACME", FRIDAY, None, 8), name="Acme Robotics", member=8)
    market.source.lists["nyse"] = [listed("ACME", name="Acme Robotics Corp. Common Stock")]
    market.on(THURSDAY)
    assert market.ids()["ACME"] == 8
    assert names(market, "ACME") == [
        ("ACME", dt.date(2010, 1, 4), lost, 7),
        ("ACME", THURSDAY, None, 8),
    ]


def test_a_company_whose_ticker_left_the_lists_is_renamed_on_the_second_evening(
    market: Evenings,
) -> None:
    market.source.lists["nyse"] = [listed("ACME", name="Acme Inc. Common Stock")]
    market.on(THURSDAY)
    number = market.ids()["ACME"]
    market.source.lists["nyse"] = [listed("ROAD", name="ACME, Inc. Common Shares")]
    market.on(FRIDAY)
    assert [symbol for symbol, _ in market.quarantine()] == ["ROAD"]
    market.on(TUESDAY_AFTER)
    assert market.ids()["ROAD"] == number
    assert names(market, "ACME", "ROAD") == [
        ("ACME", THURSDAY, TUESDAY_AFTER, number),
        ("ROAD", TUESDAY_AFTER, None, number),
    ]


def test_a_company_whose_row_can_not_be_used_is_still_listed(market: Evenings) -> None:
    acme = listed("ACME", name="Acme Inc. Common Stock")
    market.source.lists["nyse"] = [acme]
    market.on(THURSDAY)
    number = market.ids()["ACME"]
    second = listed("ROAD", name="ACME, Inc. Common Shares")
    market.source.lists["nyse"] = [acme | {"last_sale": -1.0}, second]
    market.on(FRIDAY)
    market.on(TUESDAY_AFTER)
    assert market.ids()["ROAD"] != number
    assert names(market, "ACME") == [("ACME", THURSDAY, None, number)]


def test_two_companies_that_swap_tickers_keep_their_histories(market: Evenings) -> None:
    alpha, beta = "Alpha Inc. Common Stock", "Beta Inc. Common Stock"
    market.source.lists["nyse"] = [listed("AAA", name=alpha), listed("BBB", name=beta)]
    market.on(THURSDAY)
    before = market.ids()
    market.source.lists["nyse"] = [listed("AAA", name=beta), listed("BBB", name=alpha)]
    market.on(FRIDAY)
    assert market.ids()["AAA"] == before["BBB"]
    assert market.ids()["BBB"] == before["AAA"]


def test_a_ticker_whose_bearer_is_long_gone_is_another_company(market: Evenings) -> None:
    on_record(market.warehouse, ("PD", dt.date(1996, 1, 2), None, 7), name=None)
    market.source.lists["nyse"] = [listed("PD", name="PagerDuty Inc. Common Stock")]
    market.on(THURSDAY)
    number = market.ids()["PD"]
    assert number != 7
    assert names(market, "PD") == [
        ("PD", dt.date(1996, 1, 2), THURSDAY, 7),
        ("PD", THURSDAY, None, number),
    ]


def test_a_class_is_not_taken_for_the_other_that_is_missing(market: Evenings) -> None:
    market.source.lists["nyse"] = [listed("HEI", name="Heico Corporation Common Stock")]
    market.on(THURSDAY)
    number = market.ids()["HEI"]
    market.source.lists["nyse"] = [listed("HEI.A", name="Heico Corporation")]
    for day in (FRIDAY, TUESDAY_AFTER):
        market.on(day)
    assert names(market, "HEI") == [("HEI", THURSDAY, None, number)]
    assert market.ids()["HEI.A"] != number


def test_a_company_on_two_lists_is_on_the_one_that_it_moved_to(market: Evenings) -> None:
    market.source.lists["nyse"] = [listed("ACME", 10.0), *map(listed, ("F", "GE", "GM", "IBM"))]
    market.on(THURSDAY)
    number = market.ids()["ACME"]
    market.source.lists["nasdaq"].append(listed("ACME", 11.0))
    market.on(FRIDAY)
    assert market.rows(
        "select feed, last_sale from market_snapshot"
        f" where security_id = {number} and session = '{FRIDAY}'"
    ) == [("nasdaq", 11.0)]
    assert market.quarantine() == [("ACME", "ACME stands on another list as well")]


def test_a_member_that_no_list_ever_had_is_not_renamed_by_its_name_alone(
    market: Evenings,
) -> None:
    joined = dt.date(2010, 1, 4)
    on_record(market.warehouse, ("ACME", joined, None, 7), member=7)
    market.source.lists["nyse"] = [listed("ROAD", name="Acme Inc. Common Stock")]
    [_, first] = market.on(THURSDAY).symbols
    assert (first.inserted, first.quarantined, first.failed) == (0, 1, 0)
    assert market.quarantine() == [
        (
            "ROAD",
            "Acme Inc. Common Stock is known here as ACME, which is on none of these lists. It is "
            "taken for a renaming on the second evening that its own list comes without it.",
        )
    ]
    assert names(market, "ACME", "ROAD") == [("ACME", joined, None, 7)]
    market.on(FRIDAY)
    assert names(market, "ACME", "ROAD") == [("ACME", joined, None, 7)]


def test_a_company_whose_list_failed_that_evening_is_not_renamed(market: Evenings) -> None:
    """Its ticker may well be on the list that failed; the row of the same company waits."""
    market.source.lists["nasdaq"].append(listed("ACME", name="Acme Inc. Common Stock"))
    market.on(THURSDAY)
    number = market.ids()["ACME"]
    market.source.lists["nyse"] = [listed("ROAD", name="Acme Inc. Common Stock")]
    market.source.failures = {"nasdaq": SourceUnavailable("lists", "Nobody answers.")}
    market.on(FRIDAY)
    assert names(market, "ACME", "ROAD") == [("ACME", THURSDAY, None, number)]
    assert [symbol for symbol, _ in market.quarantine()] == ["ROAD"]
    market.source.failures = {}
    market.on(FRIDAY, force=True)
    found = market.ids()
    assert found["ACME"] == number
    assert found["ROAD"] != number


def test_a_company_whose_list_was_cut_short_that_evening_is_not_renamed(market: Evenings) -> None:
    whole = [*market.source.lists["nasdaq"], listed("ACME", name="Acme Inc. Common Stock")]
    market.source.lists = {"nasdaq": whole, "nyse": [listed("IBM")]}
    market.on(THURSDAY)
    number = market.ids()["ACME"]
    market.source.lists["nasdaq"] = whole[:2]
    market.source.lists["nyse"].append(listed("ROAD", name="Acme Inc. Common Stock"))
    market.on(FRIDAY)
    market.source.lists["nasdaq"] = whole
    market.on(FRIDAY)
    assert market.ids()["ACME"] == number
    assert names(market, "ACME", "ROAD") == [("ACME", THURSDAY, None, number)]


def test_two_companies_of_one_name_are_never_taken_for_a_renaming(market: Evenings) -> None:
    market.source.lists["nyse"] = [
        listed(symbol, name="Acme Inc. Common Stock") for symbol in ("ACME", "ACMF")
    ]
    market.on(THURSDAY)
    market.source.lists["nyse"] = [
        listed(symbol, name="Acme Inc. Common Stock") for symbol in ("ROAD", "RUNN")
    ]
    before = market.rows("select count(*) from securities")
    market.on(FRIDAY)
    assert before == [(4,)]
    assert market.rows("select count(*) from securities") == [(6,)]


def test_a_warrant_of_a_known_company_is_a_security_of_its_own(market: Evenings) -> None:
    market.source.lists["nyse"] = [listed("ACME", name="Acme Inc. Common Stock")]
    market.on(THURSDAY)
    market.source.lists["nyse"] = [listed("ACME.WS", name="Acme Inc.", type="warrant")]
    market.on(FRIDAY)
    assert names(market, "ACME.WS") == [("ACME.WS", FRIDAY, None, market.ids()["ACME.WS"])]
    assert len(market.rows("select 1 from securities")) == 4


def test_known_names_by_hand_are_never_joined_with_an_earlier_company_of_the_ticker(
    market: Evenings,
) -> None:
    """COR was CoreSite's until 2021-12-28, and is Cencora's since 2023-08-30, once ABC's."""
    market.known = known_identities()
    market.source.lists["nyse"] = [
        listed("ABC", name="AmerisourceBergen Corporation Common Stock"),
        listed("COR", name="CoreSite Realty Corporation Common Stock"),
    ]
    market.on(dt.date(2021, 9, 30))
    then = market.ids()
    market.source.lists["nyse"] = [listed("COR", name="Cencora Inc. Common Stock")]
    market.on(dt.date(2023, 8, 30))
    now = market.ids()
    assert then["ABC"] == now["COR"] != then["COR"]
    assert names(market, "ABC", "COR") == [
        ("ABC", dt.date(2001, 8, 30), dt.date(2023, 8, 30), now["COR"]),
        ("COR", dt.date(2021, 9, 30), dt.date(2023, 8, 30), then["COR"]),
        ("COR", dt.date(2023, 8, 30), None, now["COR"]),
    ]


def test_a_name_by_hand_that_begins_later_is_another_company_though_its_name_is_the_same(
    market: Evenings,
) -> None:
    later = dt.date(2024, 9, 3)
    market.known = [KnownIdentity("acme", "ACME", later, None, "Acme Inc.", None)]
    market.source.lists["nyse"] = [listed("ACME", name="Acme Inc. Common Stock")]
    market.on(THURSDAY)
    number = market.ids()["ACME"]
    [(named,)] = market.rows("select security_id from securities where slug = 'acme'")
    assert number != named
    assert names(market, "ACME") == [
        ("ACME", THURSDAY, later, number),
        ("ACME", later, None, named),
    ]


def test_a_renaming_that_was_looked_up_is_one_security_under_both_tickers(
    market: Evenings,
) -> None:
    market.known = known_identities()
    renamed = dt.date(2022, 6, 9)
    market.source.lists["nyse"] = [listed("FB", name="Meta Platforms Inc. Class A Common Stock")]
    market.on(dt.date(2022, 6, 8))
    before = market.ids()["FB"]
    market.source.lists["nyse"] = [listed("META", name="Meta Platforms Inc. Class A Common Stock")]
    market.on(renamed)
    assert market.ids()["META"] == before
    assert names(market, "FB", "META") == [
        ("FB", dt.date(2012, 5, 18), renamed, before),
        ("META", renamed, None, before),
    ]
    market.source.lists["nyse"] += [listed("FB", name="Another Fund", type="etf")]
    market.on(dt.date(2022, 6, 10))
    assert market.ids()["FB"] != before


@pytest.mark.parametrize(
    ("name", "company"),
    [
        ("Apple Inc. Common Stock", "apple"),
        ("The Coca-Cola Company Common Stock", "coca cola"),
        ("Alphabet Inc. Class A Common Stock", "alphabet a"),
        ("Alphabet Inc. Class C Capital Stock", "alphabet capital stock c"),
        ("Shell PLC American Depositary Shares (each representing two)", "shell"),
        ("", ""),
        (None, ""),
    ],
)
def test_a_company_is_its_name_without_kind_of_share_or_legal_form(
    name: str | None, company: str
) -> None:
    assert company_of(name) == company
