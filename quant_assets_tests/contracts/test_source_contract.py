"""What every price source owes its callers: one suite, each source supplies only itself.

A source brings two symbols with history, of which one has a session confirmed empty or none at all;
nothing else is known of it here.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet
import pytest

from quant_assets.contracts.prices import (
    ACTION_COLUMNS,
    EMPTY_COLUMNS,
    PRICE_COLUMNS,
    UNREADABLE_COLUMNS,
    PriceAnswer,
    PriceSource,
)
from quant_assets.contracts.source import Request, SourceError
from quant_assets.reference.calendars import exchange_calendar
from quant_assets.reference.identity import canonical_symbol
from quant_assets.schema.prices import ACTION_KINDS
from quant_assets.settings.sources import FilesArchive
from quant_assets.sources.files.archive import FilesSource
from quant_assets.sources.simulated import SimulatedMarket

XNYS = exchange_calendar("XNYS")
START, END = dt.date(2023, 1, 3), dt.date(2023, 6, 30)
WIDE = (dt.date(2022, 12, 1), dt.date(2023, 7, 31))
NOBODY = "QQQQQQ"


def market() -> SimulatedMarket:
    return SimulatedMarket(XNYS, START, END)


def exported(folder: Path, *, parquet: bool) -> FilesSource:
    """The simulated market as a vendor's archive: one with actions in columns, one beside."""
    [answer] = market().fetch([Request(symbol, START, END) for symbol in market().symbols()])
    paths = ("prices.parquet",) if parquet else ("prices.csv",)
    by_day = answer.actions.group_by(["symbol", "ex_date"], use_threads=False)
    actions = by_day.aggregate([("ratio", "max"), ("amount", "sum")])
    told = {"symbol": "symbol", "session": "session"}
    if parquet:
        beside = None
        joined = answer.rows.join(actions, ["symbol", "session"], ["symbol", "ex_date"])
        pyarrow.parquet.write_table(joined, folder / paths[0])
        columns = told | {"split": "ratio_max", "dividend": "amount_sum"}
    else:
        beside, columns = folder / "actions.csv", told
        pyarrow.csv.write_csv(answer.rows, folder / paths[0])
        pyarrow.csv.write_csv(actions, beside)
    names = {"path": "actions.csv", "ex_date": "ex_date", "split": "ratio_max"}
    archive = FilesArchive.model_validate(
        {
            "paths": paths,
            "price_basis": "as_traded",
            "columns": columns,
            "actions": None if beside is None else names | {"dividend": "amount_sum"},
        }
    )
    return FilesSource("ours", archive, tuple(str(folder / path) for path in paths), XNYS, beside)


SOURCES: dict[str, Callable[[Path], PriceSource]] = {
    "simulated": lambda folder: market(),
    "files, CSV": lambda folder: exported(folder, parquet=False),
    "files, Parquet": lambda folder: exported(folder, parquet=True),
}


@dataclass(frozen=True)
class Case:
    """A source, and a way to make it again from nothing."""

    source: PriceSource
    again: Callable[[], PriceSource]


@pytest.fixture(params=SOURCES.values(), ids=SOURCES.keys(), scope="module")
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    folder = tmp_path_factory.mktemp("source")
    return Case(request.param(folder), lambda: request.param(folder))


def answers(
    source: PriceSource, symbols: Sequence[str], start: dt.date = START, end: dt.date = END
) -> list[PriceAnswer]:
    return list(source.fetch([Request(symbol, start, end) for symbol in symbols]))


def test_tables_have_exactly_the_columns_of_the_contract(case: Case) -> None:
    for window in ((START, END), WIDE, (dt.date(2001, 1, 2), dt.date(2001, 3, 1))):
        for answer in answers(case.source, [*case.source.symbols(), NOBODY], *window):
            assert answer.rows.schema == PRICE_COLUMNS
            assert answer.actions.schema == ACTION_COLUMNS
            assert answer.empty.schema == EMPTY_COLUMNS
            assert answer.unreadable.schema == UNREADABLE_COLUMNS


def test_its_symbols_are_canonical_sorted_and_distinct(case: Case) -> None:
    symbols = case.source.symbols()
    assert len(symbols) > 10
    assert list(symbols) == sorted({canonical_symbol(symbol) for symbol in symbols})


@pytest.mark.parametrize("times", [1, 15], ids=["few symbols", "many symbols"])
def test_every_symbol_asked_for_is_answered_exactly_once(case: Case, times: int) -> None:
    unknown = [f"QQ{chr(65 + n)}{chr(65 + m)}" for n in range(times) for m in range(20)]
    asked = [*unknown, *case.source.symbols()][:: 1 if times > 1 else 5]
    told = [symbol for answer in answers(case.source, asked) for symbol in answer.symbols]
    assert sorted(told) == sorted(asked)


def test_an_answer_speaks_only_of_its_own_symbols(case: Case) -> None:
    for answer in answers(case.source, [*case.source.symbols(), NOBODY]):
        for table in (answer.rows, answer.actions, answer.empty, answer.unreadable):
            assert set(table["symbol"].to_pylist()) <= set(answer.symbols)
        assert set(answer.failures) <= set(answer.symbols)


def test_nothing_lies_outside_the_days_asked_for(case: Case) -> None:
    first, second = case.source.symbols()[:2]
    windows = {
        first: (dt.date(2023, 2, 1), dt.date(2023, 2, 28)),
        second: (dt.date(2023, 4, 1), dt.date(2023, 6, 15)),
    }
    rows = 0
    for answer in case.source.fetch([Request(s, *window) for s, window in windows.items()]):
        days = {"rows": "session", "empty": "session", "actions": "ex_date"}
        for table, day in days.items():
            for told in getattr(answer, table).to_pylist():
                start, end = windows[told["symbol"]]
                assert start <= told[day] <= end, (table, told)
        rows += answer.rows.num_rows
    assert rows == 19 + 52


def test_a_single_session_can_be_asked_for(case: Case) -> None:
    symbol, day = case.source.symbols()[0], dt.date(2023, 3, 15)
    [answer] = answers(case.source, [symbol], day, day)
    assert [(row["symbol"], row["session"]) for row in answer.rows.to_pylist()] == [(symbol, day)]


def test_rows_come_in_order_without_a_double(case: Case) -> None:
    for answer in answers(case.source, case.source.symbols(), *WIDE):
        keys = list(
            zip(*answer.rows.select(["symbol", "session"]).to_pydict().values(), strict=True)
        )
        assert keys == sorted(set(keys))


def test_every_row_is_a_session_with_numbers_a_basis_and_a_currency(case: Case) -> None:
    for answer in answers(case.source, case.source.symbols(), *WIDE):
        assert set(answer.rows["session"].to_pylist()) <= set(XNYS.between(*WIDE))
        assert all(column.null_count == 0 for column in answer.rows.columns)
        assert pc.all(pc.is_finite(answer.rows["close"])).as_py()
        as_traded = case.source.profile.price_basis == "as_traded"
        assert (answer.rows["basis_on"] == answer.rows["session"]) == as_traded


def test_actions_have_a_kind_an_effect_and_no_double(case: Case) -> None:
    seen = [
        row
        for answer in answers(case.source, case.source.symbols())
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


def test_no_symbol_day_is_both_a_row_and_empty(case: Case) -> None:
    confirmed = 0
    for answer in answers(case.source, case.source.symbols(), *WIDE):
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


def test_a_day_after_the_last_the_source_knows_is_not_confirmed_empty(case: Case) -> None:
    after = END + dt.timedelta(days=1)
    for answer in answers(case.source, case.source.symbols(), after, WIDE[1]):
        assert answer.rows.num_rows == 0
        assert answer.empty.num_rows == 0


def test_an_unknown_symbol_fails_alone(case: Case) -> None:
    known = case.source.symbols()[:3]
    with_it, without = answers(case.source, [*known, NOBODY]), answers(case.source, known)
    failures = {symbol: why for answer in with_it for symbol, why in answer.failures.items()}
    assert list(failures) == [NOBODY]
    assert isinstance(failures[NOBODY], SourceError)
    assert NOBODY in str(failures[NOBODY])
    assert [a.rows for a in with_it] == [a.rows for a in without]
    assert [a.actions for a in with_it] == [a.actions for a in without]
    assert [a.empty for a in with_it] == [a.empty for a in without]


def test_asking_twice_and_asking_anew_give_the_same(case: Case) -> None:
    symbols = [*case.source.symbols(), NOBODY]
    first = answers(case.source, symbols, *WIDE)
    for other in (case.source, case.again()):
        for one, two in zip(first, answers(other, symbols, *WIDE), strict=True):
            assert (one.symbols, one.notices, list(one.failures)) == (
                two.symbols,
                two.notices,
                list(two.failures),
            )
            for table in ("rows", "actions", "empty", "unreadable"):
                held = [pa.Table.to_pylist(getattr(answer, table)) for answer in (one, two)]
                assert held[0] == held[1]


def test_a_symbol_is_answered_alike_alone_and_among_others(case: Case) -> None:
    symbol = case.source.symbols()[4]
    [alone] = answers(case.source, [symbol])
    [among] = [a for a in answers(case.source, case.source.symbols()) if symbol in a.symbols]
    for table in ("rows", "actions", "empty"):
        of_it = getattr(among, table).filter(pc.field("symbol") == symbol)
        assert getattr(alone, table).to_pylist() == of_it.to_pylist()


def test_asking_for_nothing_is_answered_with_nothing(case: Case) -> None:
    assert answers(case.source, []) == []


def test_its_profile_stays_the_same(case: Case) -> None:
    profile = case.source.profile
    answers(case.source, case.source.symbols()[:1])
    assert case.source.profile == case.again().profile == profile
    assert profile.name
    assert profile.convention
