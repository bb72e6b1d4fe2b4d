"""A ticker whose earlier bearer is known is borne anew: lists and prices find one security."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from itertools import permutations
from pathlib import Path

import pytest

from quant_assets import read
from quant_assets.contracts.membership import Constituent, MembershipInterval, UniverseAnswer
from quant_assets.loading.work import Window
from quant_assets.membership.take_over import import_universe
from quant_assets.reference.calendars import Calendar
from quant_assets.reference.identity import known_identities
from quant_assets.settings.sources import FilesArchive
from quant_assets.sources.files.archive import FilesSource
from quant_assets.warehouse.warehouse import Warehouse
from quant_assets_tests.standins.loads import load_prices

LISTED = dt.date(2024, 5, 31)
WEEK = [dt.date(2024, 5, day) for day in (20, 21, 22, 23, 24)]
ORDERS = list(permutations(range(3)))
YEARS_AGO = [dt.date(2019, 5, 20), dt.date(2019, 5, 21)]


class Given:
    """A warehouse, and the lists and archives that reach it in any order."""

    def __init__(self, warehouse: Warehouse, calendar: Calendar, folder: Path) -> None:
        self.warehouse, self.calendar, self.folder = warehouse, calendar, folder

    def bring(self, *constituents: Constituent, on: dt.date = LISTED) -> None:
        answer = UniverseAnswer("list:now.csv", constituents=constituents)
        import_universe(self.warehouse, answer, known_identities(), universe="ours", on=on)

    def history(self, *stays: MembershipInterval) -> None:
        answer = UniverseAnswer("list:then.csv", intervals=stays)
        import_universe(self.warehouse, answer, known_identities(), universe="ours", on=LISTED)

    def load(self, symbol: str, sessions: Sequence[dt.date], close: float) -> None:
        """Load an archive that ends with the last of ``sessions``; its tickers are of that day."""
        bars = [f"{symbol},{day},{close},{close},{close},{close},100" for day in sessions]
        path = self.folder / f"{symbol}-{sessions[-1]}.csv"
        path.write_text("\n".join(["symbol,date,open,high,low,close,volume", *bars, ""]))
        archive = FilesArchive(paths=(str(path),), price_basis="as_traded")
        source = FilesSource(path.stem, archive, (str(path),), self.calendar)
        window = Window((symbol,), sessions[0], sessions[-1])
        load_prices(self.warehouse, source, window, self.calendar)
        again = load_prices(self.warehouse, source, window, self.calendar)
        assert (again.symbols, again.up_to_date) == ((), 1)

    def histories(self) -> list[list[float]]:
        """The closes of each security that has any."""
        with self.warehouse.reading() as con:
            rows = con.execute(
                "select list(close order by session) from daily_prices group by security_id"
            ).fetchall()
        return sorted(row[0] for row in rows)

    def closes(self, security: int) -> list[float]:
        frame = read.prices(
            [security], "2019-01-02", "2024-05-31", adjust="none", home=self.warehouse.path.parent
        )
        return list(frame["close"])


@pytest.fixture
def given(warehouse: Warehouse, calendar: Calendar, tmp_path: Path) -> Given:
    return Given(warehouse, calendar, tmp_path)


def in_order(given: Given, order: Sequence[int], *steps: Callable[[], None]) -> None:
    for place in order:
        steps[place]()


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (2, 1, 0)])
@pytest.mark.parametrize("symbol", ["ABC", "ACE", "AGN"])
def test_a_new_bearer_of_a_used_ticker_has_its_whole_history(
    given: Given, symbol: str, order: Sequence[int]
) -> None:
    # AmerisourceBergen gave up ABC in 2023, ACE Ltd ACE in 2016, Allergan AGN in 2020.
    in_order(
        given,
        order,
        lambda: given.bring(Constituent(symbol), Constituent("AAPL")),
        lambda: given.load(symbol, WEEK, 12.5),
        lambda: given.load(symbol, [dt.date(2024, 3, 4), dt.date(2024, 3, 5)], 11.5),
    )
    members = read.universe("ours", on="2024-05-31", home=given.warehouse.path.parent)
    member = members.set_index("symbol").loc[symbol]
    assert given.histories() == [[11.5] * 2 + [12.5] * 5]
    assert given.closes(int(member["security_id"])) == [11.5] * 2 + [12.5] * 5


@pytest.mark.parametrize("order", ORDERS)
def test_the_dead_bearer_of_a_used_ticker_keeps_its_history(
    given: Given, order: Sequence[int]
) -> None:
    in_order(
        given,
        order,
        lambda: given.bring(Constituent("AGN")),
        lambda: given.load("AGN", YEARS_AGO, 150.0),
        lambda: given.load("AGN", WEEK, 12.5),
    )
    assert given.histories() == [[12.5] * 5, [150.0] * 2]
    [member] = read.universe("ours", on="2024-05-31", home=given.warehouse.path.parent)[
        "security_id"
    ]
    assert given.closes(int(member)) == [12.5] * 5


@pytest.mark.parametrize("order", ORDERS)
def test_a_newcomer_on_two_lists_and_in_an_archive_is_one_security(
    given: Given, order: Sequence[int]
) -> None:
    in_order(
        given,
        order,
        lambda: given.bring(Constituent("ABC"), Constituent("AAPL"), on=dt.date(2024, 1, 31)),
        lambda: given.bring(Constituent("ABC"), Constituent("AAPL"), on=LISTED),
        lambda: given.load("ABC", WEEK, 12.5),
    )
    with given.warehouse.reading() as con:
        bearers = con.execute(
            "select count(distinct security_id) from symbol_history where symbol = 'ABC'"
        ).fetchall()
    assert bearers == [(2,)]
    assert given.histories() == [[12.5] * 5]


def test_a_newcomer_under_the_ticker_of_a_former_member_gets_none_of_its_prices(
    given: Given,
) -> None:
    given.history(MembershipInterval("QQZ", dt.date(2015, 1, 2), dt.date(2019, 6, 3)))
    given.load("QQZ", YEARS_AGO, 150.0)
    newcomer = Constituent("QQZ", added_on=dt.date(2024, 5, 28))
    given.bring(newcomer, Constituent("AAPL"), on=LISTED)
    given.load("QQZ", WEEK, 12.5)
    assert given.histories() == [[12.5] * 5, [150.0] * 2]
    members = read.universe("ours", on="2024-05-31", home=given.warehouse.path.parent)
    member = members.set_index("symbol").loc["QQZ"]
    assert given.closes(int(member["security_id"])) == [12.5] * 5


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_newcomer_under_the_ticker_that_a_renamed_company_gave_up_is_another_security(
    given: Given, order: Sequence[int]
) -> None:
    acme, other = (
        Constituent("QQZ", name="Acme", cik="1"),
        Constituent("AAPL", name="Apple", cik="320193"),
    )
    renamed = Constituent("QQY", name="Acme", cik="1")
    given.bring(acme, other, on=dt.date(2023, 6, 1))
    given.bring(renamed, other, on=dt.date(2023, 6, 5))
    newcomer = Constituent("QQZ", name="Zinc", cik="2")
    in_order(
        given,
        order,
        lambda: given.bring(renamed, other, newcomer, on=LISTED),
        lambda: given.load("QQZ", WEEK, 12.5),
    )
    members = read.universe("ours", on="2024-05-31", home=given.warehouse.path.parent)
    by_symbol = members.set_index("symbol")["security_id"]
    assert given.closes(int(by_symbol["QQZ"])) == [12.5] * 5
    assert given.closes(int(by_symbol["QQY"])) == []


def test_a_membership_long_after_a_ticker_was_given_up_is_of_its_new_bearer(given: Given) -> None:
    given.history(MembershipInterval("ACE", dt.date(2024, 2, 1), None))
    given.load("ACE", WEEK, 12.5)
    [member] = read.universe("ours", on="2024-05-24", home=given.warehouse.path.parent).to_dict(
        "records"
    )
    assert (member["symbol"], member["has_prices"]) == ("ACE", True)
