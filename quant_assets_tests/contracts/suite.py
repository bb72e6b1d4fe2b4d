"""What every source owes its dataset: one suite for all pairs, each supplies only its answers.

A test module derives a class from ``SymbolSourceContract`` where each request is a symbol, from
``PriceSourceContract`` where the dataset is daily prices, or from ``MarketSourceContract`` where it
is the whole market, and gives it a fixture ``pair``.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from quant_assets.contracts.market import SECURITY_TYPES
from quant_assets.contracts.prices import (
    ACTION_COLUMNS,
    EMPTY_COLUMNS,
    PRICE_COLUMNS,
    UNREADABLE_COLUMNS,
)
from quant_assets.contracts.source import Request, SourceError
from quant_assets.loading.dataset import Dataset
from quant_assets.loading.load import load
from quant_assets.loading.work import Window
from quant_assets.reference.calendars import exchange_calendar
from quant_assets.reference.identity import canonical_symbol
from quant_assets.schema.catalog import SCHEMA, Schema
from quant_assets.schema.prices import ACTION_KINDS
from quant_assets.warehouse.warehouse import Warehouse

XNYS = exchange_calendar("XNYS")
START, END = dt.date(2023, 1, 3), dt.date(2023, 6, 30)
WIDE = (dt.date(2022, 12, 1), dt.date(2023, 7, 31))
NOBODY = "QQQQQQ"
LATER = dt.datetime(2023, 7, 3, 12, 0, tzinfo=dt.UTC)
"""A moment when all sessions of START to END have closed."""

PRICE_TABLES = {
    "rows": PRICE_COLUMNS,
    "actions": ACTION_COLUMNS,
    "empty": EMPTY_COLUMNS,
    "unreadable": UNREADABLE_COLUMNS,
}


def price_tables(answer: Any) -> Mapping[str, pa.Table]:
    return {name: getattr(answer, name) for name in PRICE_TABLES}


@dataclass(frozen=True)
class Pair:
    """A dataset, a source of it, and a way to make the source again from nothing.

    The source has several symbols with rows from START to END. ``columns`` are those of the tables
    of an answer, which ``tables`` gives. ``subject`` is the column that says which request a row
    answers, ``wide`` a window that reaches beyond START. ``prepare`` puts on record what a first
    load needs, such as the securities of a dataset that adds none.
    """

    dataset: Dataset[Any, Any]
    source: Any
    again: Callable[[], Any]
    columns: Mapping[str, pa.Schema]
    tables: Callable[[Any], Mapping[str, pa.Table]]
    schema: Schema = SCHEMA
    subject: str = "symbol"
    wide: tuple[dt.date, dt.date] = WIDE
    prepare: Callable[[Warehouse], None] = lambda warehouse: None


def answers(
    source: Any, symbols: Sequence[str], start: dt.date = START, end: dt.date = END
) -> list[Any]:
    return list(source.fetch([Request(symbol, start, end) for symbol in symbols]))


class SourceContract:
    """Of any dataset."""

    def test_tables_have_exactly_the_columns_of_the_contract(self, pair: Pair) -> None:
        for window in ((START, END), pair.wide, (dt.date(2001, 1, 2), dt.date(2001, 3, 1))):
            for answer in answers(pair.source, [*pair.source.symbols(), NOBODY], *window):
                if NOBODY not in answer.failures or len(answer.symbols) > 1:
                    found = {name: table.schema for name, table in pair.tables(answer).items()}
                    assert found == pair.columns

    def test_its_symbols_are_sorted_and_distinct(self, pair: Pair) -> None:
        symbols = pair.source.symbols()
        assert symbols
        assert list(symbols) == sorted(set(symbols))

    def test_every_request_is_answered_exactly_once(self, pair: Pair) -> None:
        asked = [NOBODY, *pair.source.symbols()]
        told = [symbol for answer in answers(pair.source, asked) for symbol in answer.symbols]
        assert sorted(told) == sorted(asked)

    def test_an_answer_speaks_only_of_its_own_symbols(self, pair: Pair) -> None:
        for answer in answers(pair.source, [*pair.source.symbols(), NOBODY]):
            for table in pair.tables(answer).values():
                assert set(table[pair.subject].to_pylist()) <= set(answer.symbols)
            assert set(answer.failures) <= set(answer.symbols)

    def test_an_unknown_symbol_fails_alone(self, pair: Pair) -> None:
        known = pair.source.symbols()[:3]
        with_it, without = answers(pair.source, [*known, NOBODY]), answers(pair.source, known)
        failures = {symbol: why for answer in with_it for symbol, why in answer.failures.items()}
        assert list(failures) == [NOBODY]
        assert isinstance(failures[NOBODY], SourceError)
        assert NOBODY in str(failures[NOBODY])
        others = [answer for answer in with_it if answer.symbols != (NOBODY,)]
        for one, two in zip(others, without, strict=True):
            for name, table in pair.tables(one).items():
                assert table == pair.tables(two)[name]

    def test_asking_twice_and_asking_anew_give_the_same(self, pair: Pair) -> None:
        symbols = [*pair.source.symbols(), NOBODY]
        first = answers(pair.source, symbols, *pair.wide)
        for other in (pair.source, pair.again()):
            for one, two in zip(first, answers(other, symbols, *pair.wide), strict=True):
                assert (one.symbols, one.notices) == (two.symbols, two.notices)
                assert list(one.failures) == list(two.failures)
                for name, table in pair.tables(one).items():
                    assert table.to_pylist() == pair.tables(two)[name].to_pylist()

    def test_a_symbol_is_answered_alike_alone_and_among_others(self, pair: Pair) -> None:
        symbol = pair.source.symbols()[:5][-1]
        [alone] = answers(pair.source, [symbol])
        [among] = [a for a in answers(pair.source, pair.source.symbols()) if symbol in a.symbols]
        for name, table in pair.tables(alone).items():
            of_it = pair.tables(among)[name].filter(pc.field(pair.subject) == symbol)
            assert table.to_pylist() == of_it.to_pylist()

    def test_asking_for_nothing_is_answered_with_nothing(self, pair: Pair) -> None:
        assert answers(pair.source, []) == []

    def test_its_profile_stays_the_same(self, pair: Pair) -> None:
        profile = pair.source.profile
        answers(pair.source, pair.source.symbols()[:1])
        assert pair.source.profile == pair.again().profile == profile
        assert profile.name

    def test_a_second_load_finds_nothing_due_and_a_forced_one_changes_nothing(
        self, pair: Pair, tmp_path: Path
    ) -> None:
        warehouse = Warehouse(tmp_path / "w.duckdb", clock=lambda: LATER, schema=pair.schema)
        pair.prepare(warehouse)
        window = Window(pair.source.symbols(), START, END)
        first = load(warehouse, pair.dataset, pair.source, window)
        assert first.total("inserted") > 0
        assert first.total("quarantined") == 0
        again = load(warehouse, pair.dataset, pair.again(), window)
        done = [report.symbol for report in first.symbols if not report.failed]
        assert again.up_to_date == len(done)
        forced = load(warehouse, pair.dataset, pair.again(), window, force=True)
        assert (forced.total("inserted"), forced.total("revised")) == (0, 0)


class SymbolSourceContract(SourceContract):
    """Of a dataset whose requests are symbols."""

    def test_its_symbols_are_canonical_sorted_and_distinct(self, pair: Pair) -> None:
        symbols = pair.source.symbols()
        assert len(symbols) > 4
        assert list(symbols) == sorted({canonical_symbol(symbol) for symbol in symbols})

    @pytest.mark.parametrize("times", [1, 15], ids=["few symbols", "many symbols"])
    def test_every_symbol_asked_for_is_answered_exactly_once(self, pair: Pair, times: int) -> None:
        unknown = [f"QQ{chr(65 + n)}{chr(65 + m)}" for n in range(times) for m in range(20)]
        asked = [*unknown, *pair.source.symbols()][:: 1 if times > 1 else 5]
        told = [symbol for answer in answers(pair.source, asked) for symbol in answer.symbols]
        assert sorted(told) == sorted(asked)


class MarketSourceContract(SourceContract):
    """Of the whole market: a source answers for the last closed session, whatever is requested."""

    def test_every_row_is_of_the_last_session_and_of_a_type_that_is_known(self, pair: Pair) -> None:
        for window in ((START, END), pair.wide, (dt.date(2001, 1, 2), dt.date(2001, 3, 1))):
            rows = [
                row
                for answer in answers(pair.source, pair.source.symbols(), *window)
                for table in pair.tables(answer).values()
                for row in table.to_pylist()
            ]
            assert {row["session"] for row in rows} == {END}
            assert {row["type"] for row in rows} <= set(SECURITY_TYPES)
            assert {row["feed"] for row in rows} == set(pair.source.symbols())

    def test_every_row_has_a_canonical_symbol_and_an_exchange_and_none_comes_twice(
        self, pair: Pair
    ) -> None:
        for answer in answers(pair.source, pair.source.symbols()):
            for table in pair.tables(answer).values():
                symbols = table["symbol"].to_pylist()
                assert len(symbols) > 4
                assert symbols == [canonical_symbol(symbol) for symbol in symbols]
                assert len(symbols) == len(set(symbols))
                assert all(table["exchange"].to_pylist())

    def test_a_figure_is_positive_or_absent(self, pair: Pair) -> None:
        for answer in answers(pair.source, pair.source.symbols()):
            for table in pair.tables(answer).values():
                for name in ("last_sale", "market_cap", "volume"):
                    given = table[name].drop_null()
                    assert pc.all(pc.is_finite(given)).as_py() in (True, None)
                    assert pc.all(pc.greater_equal(given, 0)).as_py() in (True, None)
                assert 0.0 not in table["last_sale"].to_pylist()


class PriceSourceContract(SymbolSourceContract):
    """Of daily prices: of two symbols at least one session is confirmed empty or there is none."""

    def test_its_convention_is_said(self, pair: Pair) -> None:
        assert pair.source.profile.convention

    def test_rows_come_in_order_without_a_double(self, pair: Pair) -> None:
        for answer in answers(pair.source, pair.source.symbols(), *WIDE):
            keys = list(
                zip(*answer.rows.select(["symbol", "session"]).to_pydict().values(), strict=True)
            )
            assert keys == sorted(set(keys))

    def test_every_row_is_a_session_with_numbers_a_basis_and_a_currency(self, pair: Pair) -> None:
        for answer in answers(pair.source, pair.source.symbols(), *WIDE):
            assert set(answer.rows["session"].to_pylist()) <= set(XNYS.between(*WIDE))
            assert all(column.null_count == 0 for column in answer.rows.columns)
            assert pc.all(pc.is_finite(answer.rows["close"])).as_py()
            as_traded = pair.source.profile.price_basis == "as_traded"
            assert (answer.rows["basis_on"] == answer.rows["session"]) == as_traded

    def test_actions_have_a_kind_an_effect_and_no_double(self, pair: Pair) -> None:
        seen = [
            row
            for answer in answers(pair.source, pair.source.symbols())
            for row in answer.actions.to_pylist()
        ]
        assert len(seen) > 5
        for row in seen:
            assert row["kind"] in ACTION_KINDS
            effects = [row[name] for name in ("ratio", "amount", "value_factor")]
            assert all(effect is None or effect > 0 for effect in effects), row
            assert any(effects) or row["kind"] == "vendor_error"
            assert row["currency"]
            assert row["basis_on"]
            assert row["kind_by"]
        keys = [(row["symbol"], row["ex_date"], row["kind"]) for row in seen]
        assert len(keys) == len(set(keys))

    def test_no_symbol_day_is_both_a_row_and_empty(self, pair: Pair) -> None:
        confirmed = 0
        for answer in answers(pair.source, pair.source.symbols(), *WIDE):
            rows, empty = (
                set(zip(table["symbol"].to_pylist(), table["session"].to_pylist(), strict=True))
                for table in (answer.rows, answer.empty)
            )
            assert rows.isdisjoint(empty)
            assert len(empty) == answer.empty.num_rows
            assert {day for _, day in empty} <= set(XNYS.between(*WIDE))
            assert all(answer.empty["reason"].to_pylist())
            confirmed += len(empty)
        assert confirmed > 0

    def test_a_day_after_the_last_the_source_knows_is_not_confirmed_empty(self, pair: Pair) -> None:
        after = END + dt.timedelta(days=1)
        for answer in answers(pair.source, pair.source.symbols(), after, WIDE[1]):
            assert answer.rows.num_rows == 0
            assert answer.empty.num_rows == 0


class NarrowPriceSourceContract(PriceSourceContract):
    """Of a source that answers with the days of its requests alone, as live ones do not."""

    def test_nothing_lies_outside_the_days_asked_for(self, pair: Pair) -> None:
        first, second = pair.source.symbols()[:2]
        windows = {
            first: (dt.date(2023, 2, 1), dt.date(2023, 2, 28)),
            second: (dt.date(2023, 4, 1), dt.date(2023, 6, 15)),
        }
        rows = 0
        for answer in pair.source.fetch([Request(s, *window) for s, window in windows.items()]):
            days = {"rows": "session", "empty": "session", "actions": "ex_date"}
            for table, day in days.items():
                for told in getattr(answer, table).to_pylist():
                    start, end = windows[told["symbol"]]
                    assert start <= told[day] <= end, (table, told)
            rows += answer.rows.num_rows
        assert rows == 19 + 52

    def test_a_single_session_can_be_asked_for(self, pair: Pair) -> None:
        symbol, day = pair.source.symbols()[0], dt.date(2023, 3, 15)
        [answer] = answers(pair.source, [symbol], day, day)
        assert [(row["symbol"], row["session"]) for row in answer.rows.to_pylist()] == [
            (symbol, day)
        ]
