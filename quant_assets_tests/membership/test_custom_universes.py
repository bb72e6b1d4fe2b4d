"""Universes that users make: their members by day, and the report on each symbol."""

from __future__ import annotations

import datetime as dt
import uuid

import pyarrow as pa
import pytest

from quant_assets import read
from quant_assets.contracts.membership import Constituent, UniverseAnswer
from quant_assets.loading.work import Window
from quant_assets.membership.custom import (
    MemberChange,
    add_members,
    create_universe,
    is_custom,
    remove_members,
)
from quant_assets.membership.custom_errors import (
    IndexUniverseError,
    InvalidSymbolsError,
    MemberSinceError,
    UniverseExistsError,
    UniverseNameError,
)
from quant_assets.membership.take_over import import_universe
from quant_assets.membership.unknown import UnknownUniverseError
from quant_assets.reference.calendars import Calendar
from quant_assets.reference.identity import (
    AmbiguousSymbolError,
    UnknownSymbolError,
    known_identities,
)
from quant_assets.schema.securities import SECURITIES, SYMBOL_HISTORY
from quant_assets.schema.table import Table
from quant_assets.sources.simulated.market import SimulatedMarket
from quant_assets.warehouse.warehouse import Warehouse
from quant_assets_tests.standins.loads import load_prices

MONDAY, TUESDAY, WEDNESDAY = (dt.date(2024, 6, day) for day in (3, 4, 5))
KNOWN = known_identities()


def at(warehouse: Warehouse, day: dt.date) -> Warehouse:
    """The same warehouse on another day."""
    noon = dt.datetime.combine(day, dt.time(12), dt.UTC)
    return Warehouse(warehouse.path, lock_wait_seconds=5, clock=lambda: noon)


def members(warehouse: Warehouse, on: dt.date, name: str = "mine") -> list[str]:
    return list(read.universe(name, on=on, home=warehouse.path.parent)["symbol"])


def changes(warehouse: Warehouse) -> list[tuple[object, ...]]:
    frame = read.universe_changes(home=warehouse.path.parent)
    days = frame["effective_on"].dt.strftime("%m-%d")
    return list(zip(frame["change_id"], frame["kind"], frame["symbol"], days, strict=True))


def put(warehouse: Warehouse, table: Table, *rows: dict[str, object]) -> None:
    fields = [field for field in table.arrow_schema if field.name in rows[0]]
    with warehouse.writing(str(uuid.uuid4())) as writing:
        writing.upsert(table, pa.Table.from_pylist(list(rows), schema=pa.schema(fields)))


def test_members_belong_from_the_day_they_are_added_until_the_day_they_are_removed(
    warehouse: Warehouse,
) -> None:
    create_universe(warehouse, "mine", ["AAPL", "MSFT"])
    removed = remove_members(at(warehouse, TUESDAY), "mine", ["msft"])
    assert (removed.members, removed.symbols("removed")) == (1, ("MSFT",))
    added = add_members(at(warehouse, WEDNESDAY), "mine", ["MSFT", "NVDA"])
    assert (added.members, added.symbols("added")) == (3, ("MSFT", "NVDA"))
    assert members(warehouse, MONDAY - dt.timedelta(days=1)) == []
    assert members(warehouse, MONDAY) == ["AAPL", "MSFT"]
    assert members(warehouse, TUESDAY) == ["AAPL"]
    assert members(warehouse, WEDNESDAY) == ["AAPL", "MSFT", "NVDA"]
    assert changes(warehouse) == [
        (1, "added", "AAPL", "06-03"),
        (2, "added", "MSFT", "06-03"),
        (3, "removed", "MSFT", "06-04"),
        (4, "added", "MSFT", "06-05"),
        (5, "added", "NVDA", "06-05"),
    ]


def test_adding_and_removing_twice_changes_nothing(warehouse: Warehouse) -> None:
    create_universe(warehouse, "mine", ["AAPL", "MSFT", "AAPL"])
    again = add_members(at(warehouse, TUESDAY), "mine", ["aapl"])
    assert again.changes == (MemberChange("AAPL", "already a member"),)
    remove_members(at(warehouse, TUESDAY), "mine", ["MSFT"])
    again = remove_members(at(warehouse, WEDNESDAY), "mine", ["MSFT", "NVDA"])
    assert again.changes == (
        MemberChange("MSFT", "not a member"),
        MemberChange("NVDA", "not a member"),
    )
    assert members(warehouse, WEDNESDAY) == ["AAPL"]
    assert len(changes(warehouse)) == 3


def test_a_member_removed_and_added_on_one_day_was_never_away(warehouse: Warehouse) -> None:
    create_universe(warehouse, "mine", ["AAPL"])
    tuesday = at(warehouse, TUESDAY)
    remove_members(tuesday, "mine", ["AAPL"])
    add_members(tuesday, "mine", ["AAPL", "MSFT"])
    remove_members(tuesday, "mine", ["MSFT"])
    with warehouse.reading() as con:
        rows = con.execute(
            "select symbol, effective_on, removed_on from universe_membership order by 1"
        ).fetchall()
    assert rows == [("AAPL", MONDAY, None), ("MSFT", TUESDAY, TUESDAY)]
    assert [members(warehouse, day) for day in (MONDAY, TUESDAY)] == [["AAPL"], ["AAPL"]]
    assert [change[1:3] for change in changes(warehouse)] == [
        ("added", "AAPL"),
        ("removed", "AAPL"),
        ("added", "AAPL"),
        ("added", "MSFT"),
        ("removed", "MSFT"),
    ]


def test_every_invalid_symbol_is_named_and_nothing_applied(warehouse: Warehouse) -> None:
    create_universe(warehouse, "mine")
    wanted = ["brk-b", "A B", "x_y", "btc-usd"]
    with pytest.raises(InvalidSymbolsError, match="'A B', 'x_y'") as refused:
        add_members(warehouse, "mine", wanted)
    assert refused.value.texts == ("A B", "x_y")
    assert members(warehouse, MONDAY) == []
    changed = add_members(warehouse, "mine", wanted, skip_invalid=True)
    assert changed.symbols("added") == ("BRK.B", "BTC-USD")
    assert changed.symbols("invalid") == ("A B", "x_y")


def test_an_unknown_symbol_is_accepted_and_reported_without_prices(
    warehouse: Warehouse, calendar: Calendar
) -> None:
    market = SimulatedMarket(calendar, dt.date(2024, 5, 20), dt.date(2024, 5, 31), 3)
    window = Window(market.symbols(), dt.date(2024, 5, 20), dt.date(2024, 5, 31))
    load_prices(warehouse, market, window, calendar, identities=market.fetch_universe().names)
    loaded = market.symbols()[0]
    changed = create_universe(warehouse, "mine", [loaded, "ZZZQ"])
    assert changed.symbols("added") == (loaded, "ZZZQ")
    assert changed.without_prices == ("ZZZQ",)


def test_a_former_ticker_means_the_company_that_goes_by_another_one_now(
    warehouse: Warehouse,
) -> None:
    changed = create_universe(warehouse, "mine", ["FB", "META"], KNOWN)
    assert changed.changes == (
        MemberChange("META", "added", "FB goes by META today"),
        MemberChange("META", "already a member"),
    )
    assert members(warehouse, MONDAY) == ["META"]
    assert remove_members(warehouse, "mine", ["FB"]).symbols("removed") == ("META",)


def test_a_ticker_that_changed_hands_means_its_bearer_of_today(warehouse: Warehouse) -> None:
    create_universe(warehouse, "mine", ["CEG"], KNOWN)
    with warehouse.reading() as con:
        [row] = con.execute(
            "select slug from universe_membership join securities using (security_id)"
        ).fetchall()
    assert row == ("constellation_energy",)


def test_a_ticker_of_two_companies_is_refused_with_both_named_and_an_id_chooses(
    warehouse: Warehouse,
) -> None:
    base = {"type": "stock", "exchange": "XNYS", "currency": "USD"}
    put(
        warehouse,
        SECURITIES,
        {"security_id": 7, "name": "Old Twin", **base},
        {"security_id": 8, "name": "New Twin", **base},
    )
    put(
        warehouse,
        SYMBOL_HISTORY,
        {"symbol": "TWIN", "valid_from": dt.date(2001, 1, 2), "security_id": 7, "source": "a"},
        {"symbol": "TWIN", "valid_from": dt.date(2020, 1, 2), "security_id": 8, "source": "b"},
    )
    with pytest.raises(AmbiguousSymbolError, match=r"Old Twin \(security 7.*New Twin \(security 8"):
        create_universe(warehouse, "mine", ["TWIN"])
    create_universe(warehouse, "mine", ["8"])
    with pytest.raises(UnknownSymbolError, match="Security 9 is not known here"):
        add_members(warehouse, "mine", ["9"])
    assert members(warehouse, MONDAY) == ["TWIN"]
    assert remove_members(warehouse, "mine", ["7"]).symbols("not a member") == ("7",)
    assert remove_members(warehouse, "mine", ["TWIN"]).symbols("removed") == ("TWIN",)


@pytest.mark.parametrize("name", ["", "My", "a b", "-x", "ä", "x" * 41])
def test_a_name_is_lower_case_letters_digits_underscores_and_hyphens(
    no_warehouse: Warehouse, name: str
) -> None:
    with pytest.raises(UniverseNameError, match="lower-case letters, digits, _ and -"):
        create_universe(no_warehouse, name)
    assert not no_warehouse.exists()


def test_an_index_is_not_changed_by_hand(warehouse: Warehouse) -> None:
    with pytest.raises(IndexUniverseError, match="sp500 is an index"):
        create_universe(warehouse, "sp500")
    answer = UniverseAnswer("list:now.csv", constituents=(Constituent("AAPL"),))
    import_universe(warehouse, answer, (), universe="other", on=MONDAY)
    for change in (add_members, remove_members):
        with pytest.raises(IndexUniverseError, match="universe import --name other --from FILE"):
            change(warehouse, "other", ["AAPL"])
    assert not is_custom(warehouse, "other")


def test_a_universe_is_made_once_and_must_exist_to_be_changed(no_warehouse: Warehouse) -> None:
    with pytest.raises(UnknownUniverseError, match="universe create NAME"):
        add_members(no_warehouse, "mine", ["AAPL"])
    assert not no_warehouse.exists()
    assert not is_custom(no_warehouse, "mine")
    create_universe(no_warehouse, "mine")
    assert is_custom(no_warehouse, "mine")
    with pytest.raises(UniverseExistsError, match="universe add mine"):
        create_universe(no_warehouse, "mine", ["AAPL"])
    with pytest.raises(UnknownUniverseError, match="stored: mine"):
        remove_members(no_warehouse, "yours", ["AAPL"])


def test_members_may_belong_since_a_day_in_the_past(warehouse: Warehouse) -> None:
    last_year = dt.date(2023, 6, 1)
    create_universe(at(warehouse, MONDAY), "mine", ["AAPL"], KNOWN, since=last_year)
    add_members(at(warehouse, TUESDAY), "mine", ["MSFT", "AAPL"], KNOWN, since=MONDAY)
    assert members(warehouse, dt.date(2023, 5, 31)) == []
    assert members(warehouse, last_year) == ["AAPL"]
    assert members(warehouse, MONDAY) == ["AAPL", "MSFT"]
    assert [row[1:] for row in changes(warehouse)] == [
        ("added", "AAPL", "06-01"),
        ("added", "MSFT", "06-03"),
    ]


def test_a_day_that_members_cant_begin_on_is_refused(warehouse: Warehouse) -> None:
    with pytest.raises(MemberSinceError, match="since 2024-06-04: today is 2024-06-03"):
        create_universe(at(warehouse, MONDAY), "mine", ["AAPL"], KNOWN, since=TUESDAY)
    create_universe(at(warehouse, MONDAY), "mine", ["AAPL"], KNOWN)
    remove_members(at(warehouse, TUESDAY), "mine", ["AAPL"])
    again = at(warehouse, WEDNESDAY)
    with pytest.raises(MemberSinceError, match="from 2024-06-03 until 2024-06-04"):
        add_members(again, "mine", ["AAPL"], KNOWN, since=MONDAY)
    add_members(again, "mine", ["AAPL"], KNOWN, since=TUESDAY)
    assert members(warehouse, TUESDAY) == ["AAPL"]
