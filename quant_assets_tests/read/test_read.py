"""The read API over tiny markets: which rows and actions a reader gets, how they look."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from quant_assets.contracts.membership import Constituent, MembershipInterval, UniverseAnswer
from quant_assets.contracts.prices import ACTION_COLUMNS, PRICE_COLUMNS, PriceAnswer, PriceProfile
from quant_assets.contracts.source import Request
from quant_assets.loading.work import Window
from quant_assets.membership.take_over import import_universe
from quant_assets.membership.unknown import UnknownUniverseError
from quant_assets.read.adjusted_rows import UnknownSourceError
from quant_assets.read.membership_frames import (
    BeforeHistoryWarning,
    delistings,
    universe,
    universe_changes,
    universe_conflicts,
    universes,
)
from quant_assets.read.opening import connect
from quant_assets.read.price_frames import prices
from quant_assets.reference.calendars import Calendar
from quant_assets.reference.identity import (
    AmbiguousSymbolError,
    InvalidSymbolError,
    KnownIdentity,
    UnknownSymbolError,
)
from quant_assets.schema.membership import MEMBERSHIP_CHANGES, MEMBERSHIP_CONFLICTS, UNIVERSES
from quant_assets.schema.securities import DELISTINGS
from quant_assets.schema.table import Table
from quant_assets.settings.settings import Settings
from quant_assets.warehouse.published_copy import publish
from quant_assets.warehouse.warehouse import Warehouse
from quant_assets.warehouse.writer_lock import WarehouseMissingError
from quant_assets.warehouse.writing import Writing
from quant_assets_tests.conftest import NOW
from quant_assets_tests.standins.loads import load_prices

MONDAY, TUESDAY, WEDNESDAY, THURSDAY, FRIDAY = (dt.date(2024, 5, day) for day in range(20, 25))
WEEK = (MONDAY, TUESDAY, WEDNESDAY, THURSDAY, FRIDAY)
Row = dict[str, object]


def bars(symbol: str, closes: Sequence[float | None], start: int = 0) -> list[Row]:
    """A week of rows by their closes, None for a day without one."""
    return [
        {
            "symbol": symbol,
            "session": day,
            **dict.fromkeys(("open", "high", "low", "close"), close),
            "volume": 100.0,
            "currency": "USD",
        }
        for day, close in zip(WEEK[start:], closes, strict=False)
        if close is not None
    ]


def event(symbol: str, day: dt.date, kind: str, **numbers: float) -> Row:
    told = {"symbol": symbol, "ex_date": day, "kind": kind, **numbers}
    return {**told, "currency": "USD", "kind_by": "rule"}


@dataclass
class FakeSource:
    """A market in a few literals; ``basis_on`` makes it a split-adjusted archive."""

    rows: Sequence[Row]
    actions: Sequence[Row] = ()
    name: str = "fake"
    basis_on: dt.date | None = None
    has_splits: bool = True
    has_distributions: bool = True
    names_on: dt.date | None = FRIDAY

    @property
    def profile(self) -> PriceProfile:
        return PriceProfile(
            self.name,
            price_basis="split_adjusted" if self.basis_on else "as_traded",
            has_splits=self.has_splits,
            has_distributions=self.has_distributions,
            names_on=self.names_on,
        )

    def symbols(self) -> tuple[str, ...]:
        return tuple(sorted({str(row["symbol"]) for row in self.rows}))

    def fetch(self, requests: Sequence[Request]) -> Iterator[PriceAnswer]:
        wanted = [request.symbol for request in requests]
        rows = [
            {**row, "basis_on": self.basis_on or row["session"]}
            for row in self.rows
            if row["symbol"] in wanted
        ]
        actions = [
            {**row, "basis_on": self.basis_on or row["ex_date"]}
            for row in self.actions
            if row["symbol"] in wanted
        ]
        yield PriceAnswer(
            tuple(wanted),
            pa.Table.from_pylist(rows, schema=PRICE_COLUMNS),
            pa.Table.from_pylist(actions, schema=ACTION_COLUMNS),
        )


@dataclass
class Shelf:
    """A data folder to fill and to read."""

    warehouse: Warehouse
    calendar: Calendar
    home: Path
    order: tuple[str, ...] = ()
    identities: tuple[KnownIdentity, ...] = field(default=())

    def put(self, *sources: FakeSource) -> Shelf:
        for source in sources:
            window = Window(source.symbols(), MONDAY, FRIDAY)
            load_prices(self.warehouse, source, window, self.calendar, identities=self.identities)
        return self

    def read(
        self,
        symbols: object = None,
        start: object = MONDAY,
        end: object = FRIDAY,
        **options: object,
    ) -> pd.DataFrame:
        settings = Settings(home=self.home, source_order=self.order)
        return prices(symbols, start, end, settings=settings, **options)  # type: ignore[arg-type]

    def closes(self, symbols: object = None, **options: object) -> list[float]:
        found = self.read(symbols, **options)["close"].tolist()
        return [round(close, 9) for close in found]


@pytest.fixture
def shelf(warehouse: Warehouse, calendar: Calendar, tmp_path: Path) -> Shelf:
    return Shelf(warehouse, calendar, tmp_path)


@pytest.fixture
def two(shelf: Shelf) -> Shelf:
    return shelf.put(FakeSource([*bars("MSFT", [30, 31]), *bars("AAPL", [10, 11])]))


def test_a_tidy_frame_has_one_row_a_symbol_day_sorted_and_typed(two: Shelf) -> None:
    frame = two.read()
    assert frame.to_dict("list") == {
        "symbol": ["AAPL", "AAPL", "MSFT", "MSFT"],
        "session": [pd.Timestamp(day) for day in (MONDAY, TUESDAY)] * 2,
        "open": [10, 11, 30, 31],
        "high": [10, 11, 30, 31],
        "low": [10, 11, 30, 31],
        "close": [10, 11, 30, 31],
        "volume": [100] * 4,
    }
    assert frame.dtypes.astype(str).to_dict() == {
        "symbol": "str",
        "session": "datetime64[s]",
        **dict.fromkeys(("open", "high", "low", "close", "volume"), "float64"),
    }
    assert isinstance(frame.index, pd.RangeIndex)


def test_a_wide_frame_of_one_field_has_a_column_a_symbol(two: Shelf) -> None:
    frame = two.read(fields=["close"], shape="wide")
    assert frame.to_dict("list") == {"AAPL": [10, 11], "MSFT": [30, 31]}
    assert frame.index.tolist() == [pd.Timestamp(MONDAY), pd.Timestamp(TUESDAY)]
    assert (frame.index.name, frame.columns.name) == ("session", "symbol")


def test_a_wide_frame_of_several_fields_has_a_column_a_field_and_symbol(two: Shelf) -> None:
    frame = two.read("AAPL", fields=["close", "volume"], shape="wide")
    assert frame.to_dict("list") == {("close", "AAPL"): [10, 11], ("volume", "AAPL"): [100, 100]}


def test_fields_are_given_in_the_order_asked_for(two: Shelf) -> None:
    assert list(two.read(fields=["volume", "open"])) == ["symbol", "session", "volume", "open"]


@pytest.mark.parametrize("wrong", [["vwap"], "close", ["close", "vwap"]])
def test_an_unknown_field_is_refused_with_those_there_are(two: Shelf, wrong: object) -> None:
    with pytest.raises(ValueError, match="fields is a list of open, high, low, close, volume"):
        two.read(fields=wrong)


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("AAPL", ["AAPL"]),
        ("aapl", ["AAPL"]),
        (["MSFT", "AAPL"], ["AAPL", "MSFT"]),
        (("AAPL", "AAPL"), ["AAPL"]),
        (pd.Series(["AAPL"]), ["AAPL"]),
        (None, ["AAPL", "MSFT"]),
        ([], []),
    ],
)
def test_symbols_may_be_one_several_or_all(two: Shelf, asked: object, found: list[str]) -> None:
    assert two.read(asked)["symbol"].unique().tolist() == found


def test_securities_may_be_asked_for_by_id_even_by_one_that_numpy_made(two: Shelf) -> None:
    with two.warehouse.reading() as con:
        ids = con.execute("select security_id from symbol_history where symbol = 'MSFT'").df()
    number = ids["security_id"].iloc[0]
    assert two.read(int(number))["symbol"].unique().tolist() == ["MSFT"]
    assert two.read(ids["security_id"])["symbol"].unique().tolist() == ["MSFT"]
    assert two.read([number, "AAPL"])["symbol"].unique().tolist() == ["AAPL", "MSFT"]


@pytest.mark.parametrize("day", [TUESDAY, "2024-05-21", pd.Timestamp("2024-05-21 15:00")])
def test_days_may_be_dates_text_or_timestamps(two: Shelf, day: object) -> None:
    assert two.closes("AAPL", start=day, end=day) == [11]


def test_days_without_rows_give_an_empty_frame_of_the_same_types(two: Shelf) -> None:
    for adjust in ("none", "split", "total_return"):
        empty = two.read(start="2020-01-01", end="2020-12-31", adjust=adjust)
        assert len(empty) == 0
        assert empty.dtypes.to_dict() == two.read().dtypes.to_dict()
    assert two.read([], shape="wide", fields=["close"]).shape == (0, 0)


def test_a_frame_may_be_written_into(two: Shelf) -> None:
    for adjust in ("none", "split"):
        frame = two.read(adjust=adjust)
        frame.loc[0, ["symbol", "session", "close"]] = ["MSFT", pd.Timestamp(FRIDAY), 9.0]
        assert frame.iloc[0].tolist() == ["MSFT", pd.Timestamp(FRIDAY), 10, 10, 10, 9, 100]


def test_securities_between_those_asked_for_are_left_out(shelf: Shelf) -> None:
    shelf.put(FakeSource([*bars("A", [1]), *bars("B", [2]), *bars("C", [3]), *bars("D", [4])]))
    assert shelf.closes(["A", "C", "D"]) == [1, 3, 4]
    assert shelf.closes(["A", "D"]) == [1, 4]


def test_an_unknown_symbol_says_how_to_get_it(two: Shelf) -> None:
    with pytest.raises(UnknownSymbolError, match=r"ORCL is not known here\. Load it with quant-"):
        two.read(["AAPL", "ORCL"])
    with pytest.raises(UnknownSymbolError, match="Security 99"):
        two.read(99)
    with pytest.raises(InvalidSymbolError, match="'A B' is not a symbol"):
        two.read("A B")


def test_an_unknown_source_is_told_with_those_stored(two: Shelf) -> None:
    with pytest.raises(UnknownSourceError, match="No rows of source nope are stored; stored: fake"):
        two.read(source="nope")


def test_without_a_warehouse_the_reader_says_where_it_looked(tmp_path: Path) -> None:
    with pytest.raises(WarehouseMissingError, match=str(tmp_path)):
        prices("AAPL", MONDAY, FRIDAY, home=tmp_path)


RENAMED = (
    KnownIdentity("meta", "FB", dt.date(2012, 5, 18), WEDNESDAY, "Meta", None),
    KnownIdentity("meta", "META", WEDNESDAY, None, "Meta", None),
)


def test_a_renamed_company_is_found_whole_under_either_name(shelf: Shelf) -> None:
    shelf.identities = RENAMED
    shelf.put(FakeSource(bars("META", [10, 11, 12, 13, 14])))
    for name in ("FB", "META"):
        frame = shelf.read(name)
        assert frame["symbol"].unique().tolist() == [name]
        assert frame["close"].tolist() == [10, 11, 12, 13, 14]
    assert shelf.read(["FB", "META"])["symbol"].unique().tolist() == ["FB"]
    assert shelf.read()["symbol"].unique().tolist() == ["META"]
    assert shelf.read(end=TUESDAY)["symbol"].unique().tolist() == ["FB"]


REUSED = (
    KnownIdentity("old", "CEG", dt.date(1999, 4, 30), WEDNESDAY, "Old Energy", None),
    KnownIdentity("new", "CEG", WEDNESDAY, None, "New Energy", None),
)


@pytest.fixture
def reused(shelf: Shelf) -> Shelf:
    """One ticker, borne by one company until Tuesday and by another from Wednesday on."""
    shelf.identities = REUSED
    return shelf.put(FakeSource(bars("CEG", [10, 11, 50, 51, 52]), names_on=None))


def test_a_ticker_of_two_companies_is_refused_with_both_of_them(reused: Shelf) -> None:
    with pytest.raises(AmbiguousSymbolError) as caught:
        reused.read("CEG")
    assert str(caught.value).startswith("CEG named 2 companies in these days: Old Energy (")
    assert "New Energy (" in str(caught.value)
    assert "give the security id" in str(caught.value)


def test_days_in_which_a_ticker_named_one_company_mean_that_one(reused: Shelf) -> None:
    assert reused.closes("CEG", end=TUESDAY) == [10, 11]
    assert reused.closes("CEG", start=WEDNESDAY) == [50, 51, 52]


def test_an_archive_that_goes_back_under_its_latest_ticker_is_read_so(shelf: Shelf) -> None:
    shelf.identities = REUSED
    shelf.put(FakeSource([*bars("CEG", [40, 41, 50, 51, 52]), *bars("AAPL", [10])]))
    assert shelf.closes("CEG") == [40, 41, 50, 51, 52]
    # On Monday the ticker was the old company's, of which nothing is stored.
    assert shelf.closes("CEG", end=MONDAY) == [40]


def test_alone_a_ticker_is_refused_if_only_the_later_company_is_stored(shelf: Shelf) -> None:
    shelf.identities = REUSED
    shelf.put(FakeSource([*bars("CEG", [50, 51, 52], start=2), *bars("AAPL", [10])]))
    with pytest.raises(AmbiguousSymbolError, match=r"Old Energy .*New Energy"):
        shelf.read("CEG")


def test_in_a_list_a_ticker_means_the_company_stored_under_it(shelf: Shelf) -> None:
    shelf.identities = REUSED
    shelf.put(FakeSource([*bars("CEG", [50, 51, 52], start=2), *bars("AAPL", [10])]))
    assert shelf.closes(["AAPL", "CEG"]) == [10, 50, 51, 52]


def test_in_a_list_too_a_ticker_is_refused_if_both_its_companies_are_stored(
    reused: Shelf,
) -> None:
    reused.put(FakeSource(bars("AAPL", [10]), name="other"))
    with pytest.raises(AmbiguousSymbolError, match=r"Old Energy .*New Energy"):
        reused.read(["AAPL", "CEG"])


def test_two_companies_of_one_ticker_are_labelled_apart(reused: Shelf) -> None:
    frame = reused.read()
    by_symbol = frame.groupby("symbol")["close"].apply(list).to_dict()
    [other] = [symbol for symbol in by_symbol if symbol != "CEG"]
    assert other.startswith("CEG#")
    assert by_symbol == {"CEG": [50, 51, 52], other: [10, 11]}
    wide = reused.read(fields=["close"], shape="wide")
    assert wide["CEG"].dropna().tolist() == [50, 51, 52]
    number = int(other.removeprefix("CEG#"))
    assert reused.closes(number) == [10, 11]


def test_two_companies_of_one_ticker_asked_for_by_their_ids_are_kept_apart(reused: Shelf) -> None:
    with reused.warehouse.reading() as con:
        ids = [
            row[0]
            for row in con.execute(
                "select security_id from symbol_history where symbol = 'CEG' order by valid_from"
            ).fetchall()
        ]
    frame = reused.read(ids)
    by_symbol = frame.groupby("symbol")["close"].apply(list).to_dict()
    assert by_symbol == {"CEG": [50, 51, 52], f"CEG#{ids[0]}": [10, 11]}
    assert reused.read(ids, fields=["close"], shape="wide").shape == (5, 2)


A = FakeSource(bars("AAPL", [10, 11, 12]), name="a")
B = FakeSource(bars("AAPL", [20, 21, 22, 23]), name="b")


def test_the_preferred_source_wins_a_day_and_others_fill_its_gaps(shelf: Shelf) -> None:
    shelf.put(A, B)
    found = {}
    for order in ((), ("b",), ("b", "a"), ("a", "b"), ("gone", "b")):
        shelf.order = order
        found[order] = shelf.closes("AAPL")
    assert found == {
        (): [10, 11, 12, 23],  # by name
        ("b",): [20, 21, 22, 23],
        ("b", "a"): [20, 21, 22, 23],
        ("a", "b"): [10, 11, 12, 23],
        ("gone", "b"): [20, 21, 22, 23],
    }
    shelf.order = ("b",)
    assert shelf.closes("AAPL", source="a") == [10, 11, 12]
    assert shelf.closes("AAPL", source="b") == [20, 21, 22, 23]


SPLIT = event("AAPL", WEDNESDAY, "split", ratio=2.0)


def test_a_split_is_taken_out_of_earlier_prices(shelf: Shelf) -> None:
    shelf.put(FakeSource(bars("AAPL", [100, 104, 53]), [SPLIT]))
    assert shelf.closes(adjust="none") == [100, 104, 53]
    assert shelf.closes(adjust="split") == [50, 52, 53]
    assert shelf.closes(adjust="split", adjust_to=TUESDAY) == [100, 104, 106]
    assert shelf.closes(adjust="split", adjust_to=WEDNESDAY) == [50, 52, 53]
    assert shelf.read(adjust="split")["volume"].tolist() == [200, 200, 100]
    assert shelf.closes(adjust="none", adjust_to=TUESDAY) == [100, 104, 106]


def test_a_split_after_the_days_asked_for_counts_as_well(shelf: Shelf) -> None:
    shelf.put(FakeSource(bars("AAPL", [100, 104, 53]), [SPLIT]))
    assert shelf.closes(adjust="split", end=TUESDAY) == [50, 52]


def test_a_split_told_by_two_sources_is_counted_once(shelf: Shelf) -> None:
    closes = [100, 104, 53]
    late = event("AAPL", WEDNESDAY, "split", ratio=2.01)
    shelf.put(
        FakeSource(bars("AAPL", closes), [SPLIT], name="a"),
        FakeSource(bars("AAPL", closes), [late], name="b"),
    )
    assert shelf.closes(adjust="split") == [50, 52, 53]
    shelf.order = ("b",)
    assert shelf.closes(adjust="split") == [round(c / 2.01, 9) for c in (100, 104)] + [53]


def test_a_dividend_told_by_two_sources_is_reinvested_once(shelf: Shelf) -> None:
    def told(amount: float) -> list[Row]:
        return [event("AAPL", TUESDAY, "cash_dividend", amount=amount)]

    shelf.put(
        FakeSource(bars("AAPL", [100, 45]), told(5), name="a"),
        FakeSource(bars("AAPL", [100, 45]), told(9), name="b"),
    )
    assert shelf.closes(adjust="total_return") == [90, 45]


def test_the_other_source_s_action_counts_where_the_preferred_has_no_such_class(
    shelf: Shelf,
) -> None:
    dividend = event("AAPL", TUESDAY, "cash_dividend", amount=5.0)
    bare = FakeSource(bars("AAPL", [100, 45]), name="a", has_splits=False, has_distributions=False)
    shelf.put(bare, FakeSource(bars("AAPL", [100, 45]), [dividend], name="b"))
    assert shelf.closes(adjust="total_return") == [90, 45]


def test_an_action_the_believed_source_does_not_confirm_is_not_counted(shelf: Shelf) -> None:
    dividend = event("AAPL", TUESDAY, "cash_dividend", amount=5.0)
    shelf.put(
        FakeSource(bars("AAPL", [100, 45]), name="a"),
        FakeSource(bars("AAPL", [100, 45]), [dividend], name="b"),
    )
    assert shelf.closes(adjust="total_return") == [100, 45]
    assert shelf.closes(adjust="total_return", source="b") == [90, 45]


def test_a_split_adjusted_archive_without_actions_stands_beside_an_as_traded_one(
    shelf: Shelf,
) -> None:
    """Monday and Tuesday from the archive, in Friday's shares; the rest as traded."""
    shelf.put(
        FakeSource(
            bars("AAPL", [50, 52, 53]),
            name="archive",
            basis_on=FRIDAY,
            has_splits=False,
            has_distributions=False,
        ),
        FakeSource(bars("AAPL", [104, 53, 54], start=1), [SPLIT], name="traded"),
    )
    shelf.order = ("traded", "archive")
    assert shelf.closes() == [50, 104, 53, 54]
    assert shelf.closes(adjust="split") == [50, 52, 53, 54]
    assert shelf.closes(adjust="total_return") == [50, 52, 53, 54]
    assert shelf.closes(adjust="split", adjust_to=MONDAY) == [100, 104, 106, 108]
    shelf.order = ("archive", "traded")
    assert shelf.closes() == [50, 52, 53, 54]
    assert shelf.closes(adjust="split") == [50, 52, 53, 54]
    assert shelf.closes(adjust_to=MONDAY) == [100, 104, 106, 108]


def test_a_spin_off_is_out_of_split_prices_unless_left_in(shelf: Shelf) -> None:
    # Ten of fifty are distributed: 50 / (50 - 10) = 1.25.
    spin_off = event("AAPL", WEDNESDAY, "spin_off", amount=10.0)
    shelf.put(FakeSource(bars("AAPL", [None, 50, 41]), [spin_off]))
    assert shelf.closes(adjust="split") == [40, 41]
    assert shelf.closes(adjust="split", spin_offs=False) == [50, 41]
    assert shelf.closes(adjust="total_return") == [round(50 * 41 / 51, 9), 41]


def test_the_close_before_a_spin_off_is_found_before_the_days_asked_for(shelf: Shelf) -> None:
    spin_off = event("AAPL", WEDNESDAY, "spin_off", amount=10.0)
    shelf.put(FakeSource(bars("AAPL", [49, 50, 41]), [spin_off]))
    assert shelf.closes(adjust="split", start=MONDAY, end=MONDAY) == [39.2]


def test_a_dividend_whose_ex_date_has_no_row_is_reinvested_at_the_next_close(
    shelf: Shelf,
) -> None:
    dividend = event("AAPL", TUESDAY, "cash_dividend", amount=5.0)
    shelf.put(FakeSource(bars("AAPL", [100, None, 45]), [dividend]))
    assert shelf.closes(adjust="total_return") == [90, 45]


@pytest.mark.parametrize("closes", [[100, 45], [100, None, 45]])
@pytest.mark.parametrize("shape", ["tidy", "wide"])
def test_an_amount_in_another_currency_is_left_out_and_the_frame_says_so(
    shelf: Shelf, closes: list[float | None], shape: str
) -> None:
    paid = event("AAPL", TUESDAY, "cash_dividend", amount=50.0) | {"currency": "JPY"}
    shelf.put(FakeSource([*bars("AAPL", closes), *bars("MSFT", [9, 9])], [paid]))
    frame = shelf.read(["AAPL", "MSFT"], adjust="total_return", shape=shape)
    assert shelf.closes("AAPL", adjust="total_return") == [100, 45]
    assert frame.attrs["left_out"] == [
        {
            "symbol": "AAPL",
            "ex_date": "2024-05-21",
            "kind": "cash_dividend",
            "amount": 50.0,
            "currency": "JPY",
            "prices_in": "USD",
        }
    ]
    # Neither takes account of dividends, so nothing is left out.
    assert "left_out" not in shelf.read("AAPL", adjust="split").attrs
    assert "left_out" not in shelf.read("AAPL").attrs


@pytest.mark.parametrize(
    ("paid_in", "prices_in", "amount"), [("GBP", "GBX", 0.05), ("GBX", "GBP", 500.0)]
)
def test_pounds_and_pence_are_one_currency(
    shelf: Shelf, paid_in: str, prices_in: str, amount: float
) -> None:
    paid = event("AAPL", TUESDAY, "cash_dividend", amount=amount) | {"currency": paid_in}
    rows = [row | {"currency": prices_in} for row in bars("AAPL", [100, 45])]
    shelf.put(FakeSource(rows, [paid]))
    frame = shelf.read(adjust="total_return")
    assert frame["close"].tolist() == pytest.approx([90, 45])
    assert "left_out" not in frame.attrs


def test_a_spin_off_valued_in_another_currency_is_left_out_of_split_prices(shelf: Shelf) -> None:
    spin_off = event("AAPL", WEDNESDAY, "spin_off", amount=10.0) | {"currency": "EUR"}
    shelf.put(FakeSource(bars("AAPL", [None, 50, 41]), [spin_off]))
    frame = shelf.read(adjust="split")
    assert frame["close"].tolist() == [50, 41]
    assert [event["currency"] for event in frame.attrs["left_out"]] == ["EUR"]
    assert "left_out" not in shelf.read(adjust="split", spin_offs=False).attrs


def test_a_vendor_s_error_changes_no_price(shelf: Shelf) -> None:
    wrong = event("AAPL", TUESDAY, "vendor_error", amount=5.0)
    shelf.put(FakeSource(bars("AAPL", [100, 45]), [wrong]))
    assert shelf.closes(adjust="total_return") == [100, 45]


def test_an_action_later_than_the_last_price_changes_no_return(shelf: Shelf) -> None:
    coming = event("AAPL", dt.date(2024, 5, 30), "cash_dividend", amount=5.0)
    shelf.put(FakeSource(bars("AAPL", [100, 45]), [coming]))
    assert shelf.closes(adjust="total_return") == [100, 45]


MEMBERS = UniverseAnswer(
    "list",
    constituents=(
        Constituent("AAPL", "Apple Inc.", "Information Technology", added_on=MONDAY),
        Constituent("MSFT", "Microsoft", "Information Technology", added_on=WEDNESDAY),
    ),
    intervals=(MembershipInterval("GONE", dt.date(2020, 1, 2), TUESDAY),),
)


def test_a_universe_has_the_members_of_the_day(shelf: Shelf) -> None:
    shelf.put(FakeSource(bars("AAPL", [10] * 5)))
    import_universe(shelf.warehouse, MEMBERS, (), universe="tiny", on=FRIDAY)
    found = []
    with pytest.warns(BeforeHistoryWarning, match="from 2020-01-02 on, not on 2019-12-31"):
        assert universe("tiny", on="2019-12-31", home=shelf.home).empty
    for on in ("2020-01-02", MONDAY, TUESDAY, FRIDAY):
        frame = universe("tiny", on=on, home=shelf.home)
        found.append((frame["symbol"].tolist(), frame.attrs["members"], frame.attrs["with_prices"]))
    assert found == [
        (["GONE"], 1, 0),
        (["AAPL", "GONE"], 2, 1),
        (["AAPL"], 1, 1),
        (["AAPL", "MSFT"], 2, 1),
    ]
    assert frame.attrs["universe"] == "tiny"


def test_a_universe_that_is_not_stored_is_told_with_those_that_are(two: Shelf) -> None:
    with pytest.raises(UnknownUniverseError, match=r"no universe sp999; stored: none\. Import one"):
        universe("sp999", home=two.home)


@pytest.fixture(scope="module")
def told(calendar: Calendar, tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    """A universe of which all that can be said has been said once, by literal rows; only read."""
    home = tmp_path_factory.mktemp("told")
    shelf = Shelf(Warehouse(home / "warehouse.duckdb", clock=lambda: NOW), calendar, home)
    import_universe(shelf.warehouse, MEMBERS, (), universe="tiny", on=FRIDAY)
    with shelf.warehouse.reading() as con:
        ids = dict(con.execute("select symbol, security_id from symbol_history").fetchall())
    with shelf.warehouse.writing(str(uuid.uuid4())) as writing:
        for table in (MEMBERSHIP_CHANGES, MEMBERSHIP_CONFLICTS, DELISTINGS):
            writing.con.execute(f"delete from {table.name}")
        put = partial(_put, writing)
        put(UNIVERSES, universe="own", kind="custom", source="user")
        put(
            UNIVERSES,
            universe="tiny",
            kind="index",
            source="list",
            passed_over="wikipedia: 403.",
            listed_on=FRIDAY,
        )
        change = {"change_id": 1, "kind": "removed", "symbol": "GONE", "security_id": ids["GONE"]}
        put(MEMBERSHIP_CHANGES, **change, universe="tiny", effective_on=TUESDAY, source="list")
        change = {"change_id": 2, "kind": "renamed", "symbol": "AAPL", "former_symbol": "APLE"}
        change |= {"security_id": ids["AAPL"], "announced_on": MONDAY, "reason": "it said so"}
        put(MEMBERSHIP_CHANGES, **change, universe="tiny", effective_on=THURSDAY, source="list")
        conflict = {"universe": "tiny", "source": "other", "decided_by": "list"}
        late = {"says_member": True, "cause": "lets it leave 3 days later"}
        put(
            MEMBERSHIP_CONFLICTS,
            **(conflict | late),
            security_id=ids["GONE"],
            symbol="GONE",
            from_on=TUESDAY,
            until_on=FRIDAY,
        )
        put(
            MEMBERSHIP_CONFLICTS,
            **conflict,
            says_member=False,
            cause="does not know of the stay",
            security_id=ids["MSFT"],
            symbol="MSFT",
            from_on=WEDNESDAY,
        )
        put(
            DELISTINGS,
            security_id=ids["GONE"],
            symbol="GONE",
            last_session=MONDAY,
            reason="unknown",
            currency="USD",
            source="fake",
        )
    return shelf


def _put(writing: Writing, table: Table, **row: object) -> None:
    fields = [field for field in table.arrow_schema if field.name in row]
    writing.upsert(table, pa.Table.from_pylist([row], schema=pa.schema(fields)))


def types(frame: pd.DataFrame) -> dict[str, str]:
    return {str(name): str(kind) for name, kind in frame.dtypes.items()}


def test_a_universe_says_where_it_comes_from_and_who_is_disputed(told: Shelf) -> None:
    frame = universe("tiny", on=WEDNESDAY, home=told.home)
    rows = list(zip(frame["symbol"], frame["disputed"], strict=True))
    assert rows == [("AAPL", False), ("MSFT", True)]
    assert frame.attrs == {
        "universe": "tiny",
        "on": "2024-05-22",
        "members": 2,
        "with_prices": 0,
        "claimed": 1,
        "tickers_unknown": ["AAPL", "MSFT"],
        "kind": "index",
        "known_from": "2020-01-02",
        "source": "list",
        "passed_over": "wikipedia: 403.",
        "listed_on": "2024-05-24",
        "looked_at": "2024-06-03T12:00:00+00:00",
        "updated_at": "2024-06-03T12:00:00+00:00",
    }
    assert universe("tiny", on=FRIDAY, home=told.home).attrs["claimed"] == 0
    assert universe("own", home=told.home).attrs["known_from"] is None


def test_universes_are_listed_with_kind_size_source_and_times(told: Shelf) -> None:
    frame = universes(home=told.home)
    assert frame[["universe", "kind", "members", "source"]].values.tolist() == [
        ["own", "custom", 0, "user"],
        ["tiny", "index", 2, "list"],
    ]
    assert types(frame) == {
        **dict.fromkeys(("universe", "kind", "source", "passed_over"), "str"),
        "members": "int64",
        **dict.fromkeys(("known_from", "listed_on"), "datetime64[us]"),
        **dict.fromkeys(("looked_at", "updated_at"), "datetime64[us, UTC]"),
    }


def test_changes_are_told_by_universe_day_and_symbol(told: Shelf) -> None:
    def found(*args: str, **options: object) -> list[str]:
        frame = universe_changes(*args, home=told.home, **options)  # type: ignore[arg-type]
        return frame["symbol"].tolist()

    assert found() == found("tiny") == ["GONE", "AAPL"]
    assert found("own") == []
    assert found(since=WEDNESDAY) == found(symbol="aapl") == ["AAPL"]
    assert found(since="2024-05-24") == found(symbol="NOPE") == []
    with pytest.raises(UnknownUniverseError, match="stored: own, tiny"):
        found("sp999")
    with pytest.raises(InvalidSymbolError):
        found(symbol="A B")


def test_conflicts_say_who_disagrees_in_which_days_and_whom_we_followed(told: Shelf) -> None:
    frame = universe_conflicts("tiny", home=told.home)
    facts = frame[["symbol", "source", "says_member", "cause", "decided_by"]].values.tolist()
    assert facts == [
        ["GONE", "other", True, "lets it leave 3 days later", "list"],
        ["MSFT", "other", False, "does not know of the stay", "list"],
    ]
    assert frame["until_on"].tolist() == [pd.Timestamp(FRIDAY), pd.NaT]
    still = universe_conflicts(open_only=True, home=told.home)
    assert still["symbol"].tolist() == ["MSFT"]
    assert universe_conflicts(symbol="GONE", open_only=True, home=told.home).empty


def test_a_delisting_says_its_last_session_its_reason_and_what_is_unknown(told: Shelf) -> None:
    frame = delistings(home=told.home)
    [row] = frame.to_dict("records")
    assert (row["symbol"], row["last_session"]) == ("GONE", pd.Timestamp(MONDAY))
    assert (row["reason"], row["currency"], row["source"]) == ("unknown", "USD", "fake")
    assert pd.isna(row["terminal_value"])
    assert str(row["detected_at"]) == "2024-06-03 12:00:00+00:00"


def test_a_frame_has_the_same_types_with_rows_and_without(told: Shelf, shelf: Shelf) -> None:
    with shelf.warehouse.writing(str(uuid.uuid4())):
        pass
    for read_all in (universes, universe_changes, universe_conflicts, delistings):
        full, empty = read_all(home=told.home), read_all(home=shelf.home)
        assert (full.empty, empty.empty) == (False, True)
        assert types(empty) == types(full)
        assert {kind for name, kind in types(full).items() if name.endswith("_at")} == {
            "datetime64[us, UTC]"
        }


def test_what_is_known_of_a_universe_can_be_saved_with_its_members(
    told: Shelf, tmp_path: Path
) -> None:
    universe("tiny", on=FRIDAY, home=told.home).to_parquet(tmp_path / "members.parquet")
    assert pd.read_parquet(tmp_path / "members.parquet").attrs["known_from"] == "2020-01-02"


def test_connect_reads_the_copy_published_last(two: Shelf) -> None:
    publish(two.warehouse)
    count = "select count(*) from daily_prices"
    with connect(home=two.home) as db:
        assert db.sql(count).fetchone() == (4,)
        two.put(FakeSource(bars("ORCL", [1, 2]), name="other"))
        assert db.sql(count).fetchone() == (4,), "nothing is seen until it is published"
    with connect(home=two.home) as db:
        assert db.sql(count).fetchone() == (4,)
    publish(two.warehouse)
    with connect(home=two.home) as db:
        assert db.sql(count).fetchone() == (6,)


def test_connect_says_so_where_nothing_is_published(two: Shelf) -> None:
    with pytest.raises(WarehouseMissingError, match="published"):
        connect(home=two.home)
