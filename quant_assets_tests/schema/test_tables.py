"""The tables as described: DDL, dictionary, and keys that hold whatever is stored in any order."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import replace

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quant_assets.contracts.membership import MembershipInterval
from quant_assets.schema.catalog import SCHEMA, data_dictionary
from quant_assets.schema.membership import UNIVERSES
from quant_assets.schema.prices import ACTION_KINDS, CORPORATE_ACTIONS, DAILY_PRICES
from quant_assets.schema.securities import SECURITIES, SECURITY_PROFILES, SYMBOL_HISTORY
from quant_assets.schema.table import CURRENCIES, Table
from quant_assets.securities.register import Register
from quant_assets.warehouse.warehouse import Warehouse
from quant_assets.warehouse.writing import Writing
from quant_assets_tests.conftest import NOW, examples

RUN = "00000000-0000-0000-0000-000000000001"
NEXT_RUN = "00000000-0000-0000-0000-000000000002"
ALL_TABLES = pytest.mark.parametrize("table", SCHEMA.tables, ids=lambda table: table.name)


@pytest.fixture(scope="module")
def writing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Writing]:
    """One transaction for all examples; each begins by emptying what it uses."""
    path = tmp_path_factory.mktemp("tables") / "warehouse.duckdb"
    with Warehouse(path, clock=lambda: NOW).writing(RUN) as writing:
        yield writing


def emptied(writing: Writing, *tables: Table) -> duckdb.DuckDBPyConnection:
    for table in tables:
        writing.con.execute(f"delete from {table.name}")
        if table.revised:
            writing.con.execute(f"delete from {table.revisions.name}")
    return writing.con


# What the description says


def test_ddl_is_made_from_the_description() -> None:
    assert UNIVERSES.ddl == (
        "create table if not exists universes (universe VARCHAR not null, kind VARCHAR,"
        " source VARCHAR not null, passed_over VARCHAR, listed_on DATE,"
        " created_at TIMESTAMP not null, updated_at TIMESTAMP not null)"
    )
    assert "delisted_on DATE," in SECURITIES.ddl
    assert "currency enum('USD', 'EUR', 'GBP'," in DAILY_PRICES.ddl


def test_the_file_has_the_tables_and_columns_described(writing: Writing) -> None:
    described = {
        (table.name, column.name, not column.required, column.type)
        for table in SCHEMA.with_revisions
        for column in table.columns
    }
    found = writing.con.execute(
        "select table_name, column_name, is_nullable, "
        "case when data_type like 'ENUM(%' then 'CURRENCY' else data_type end "
        "from duckdb_columns() where table_name <> 'schema_version' and schema_name = 'main' "
        "and database_name = current_database()"
    ).fetchall()
    assert set(found) == described
    assert len(found) == len(described)


@ALL_TABLES
def test_every_table_says_when_its_rows_came_and_changed(table: Table) -> None:
    for name in ("created_at", "updated_at"):
        column = table.column(name)
        assert (column.type, column.required, column.provenance) == ("TIMESTAMP", True, True)


@ALL_TABLES
def test_a_key_is_made_of_required_columns_that_are_no_provenance(table: Table) -> None:
    assert table.key
    assert all(table.column(name).required for name in table.key)
    assert not any(table.column(name).provenance for name in table.key)
    assert len(set(table.names)) == len(table.names)


@ALL_TABLES
def test_columns_are_keys_or_values_or_provenance_or_standing(table: Table) -> None:
    provenance = {column.name for column in table.columns if column.provenance}
    parts = [*table.key, *table.values, *table.standings, *provenance]
    assert sorted(parts) == sorted(table.names)


@ALL_TABLES
def test_names_follow_the_conventions_of_times_and_money(table: Table) -> None:
    for column in table.columns:
        assert column.name.endswith("_at") == (column.type == "TIMESTAMP")
        assert (column.name == "currency") == (column.type == "CURRENCY")
    if "amount" in table.names or "close" in table.names:
        assert table.column("currency").required


def test_facts_that_sources_restate_keep_what_is_replaced() -> None:
    revised = [table for table in SCHEMA.tables if table.revised]
    assert {DAILY_PRICES, CORPORATE_ACTIONS} <= set(revised)
    assert [*SCHEMA.with_revisions] == [*SCHEMA.tables, *(table.revisions for table in revised)]
    for table in revised:
        extra = ("revised_at", "revised_by_run", "difference")
        assert table.revisions.name == f"{table.name}_revisions"
        assert table.revisions.names == table.names + extra
        assert table.revisions.key == (*table.key, "revised_at")
        assert not table.revisions.revised


def test_currencies_are_three_letters_and_listed_once() -> None:
    assert len(set(CURRENCIES)) == len(CURRENCIES)
    assert all(len(code) == 3 and code.isalpha() and code.isupper() for code in CURRENCIES)


@ALL_TABLES
def test_the_dictionary_tells_every_column_of_a_table(table: Table) -> None:
    section = data_dictionary().split(f"\n## {table.name}\n")[1].split("\n## ")[0]
    assert table.doc in section
    assert f"Key: {', '.join(table.key)}." in section
    assert ("Replaced rows move to" in section) == table.revised
    lines = section.splitlines()
    for column in table.columns:
        null = "" if column.required else "yes"
        assert lines.count(f"| {column.name} | {column.type} | {null} | {column.doc} |") == 1


def test_the_dictionary_tells_what_a_revision_adds() -> None:
    for column in DAILY_PRICES.revisions.columns[-3:]:
        assert column.name in data_dictionary()


def test_every_row_of_the_dictionary_has_four_cells() -> None:
    rows = [line for line in data_dictionary().splitlines() if line.startswith("|")]
    assert {row.count("|") for row in rows} == {5}


# No duplicates: property 7

SECURITIES_MADE_UP = st.integers(1, 3)
DAYS = st.sampled_from([dt.date(2024, 5, 29), dt.date(2024, 5, 30), dt.date(2024, 5, 31)])
NUMBERS = st.sampled_from([1.0, 2.0])
PRICE_KEYS = st.tuples(SECURITIES_MADE_UP, DAYS, st.sampled_from(["one", "another"]))
PRICE_BATCHES = st.lists(st.dictionaries(PRICE_KEYS, NUMBERS, min_size=1), max_size=4)


def bars(batch: dict[tuple[int, dt.date, str], float]) -> pa.Table:
    rows = [
        {"security_id": key[0], "session": key[1], "source": key[2], "basis_on": key[1]}
        | dict.fromkeys(("open", "high", "low", "close"), price)
        for key, price in batch.items()
    ]
    return pa.Table.from_pylist(rows)


@examples(15)
@given(batches=PRICE_BATCHES)
def test_no_batches_in_any_order_leave_two_rows_for_one_key(
    writing: Writing, batches: list[dict[tuple[int, dt.date, str], float]]
) -> None:
    """Property 7: no duplicates. Caught: a row inserted beside the one it replaces; a replaced row
    that is not kept.
    """
    con = emptied(writing, DAILY_PRICES)
    expected: dict[tuple[int, dt.date, str], float] = {}
    replaced = 0
    for batch in batches:
        done = writing.upsert(
            DAILY_PRICES,
            bars(batch),
            constants={"volume": 0, "currency": "USD", "provisional": False},
        )
        changed = sum(key in expected and expected[key] != batch[key] for key in batch)
        assert (done.inserted, done.revised) == (len(batch.keys() - expected.keys()), changed)
        expected |= batch
        replaced += changed
    stored = con.execute("select security_id, session, source, close from daily_prices").fetchall()
    assert sorted(stored) == sorted((*key, price) for key, price in expected.items())
    revisions = con.execute("select count(*) from daily_prices_revisions").fetchall()
    assert revisions == [(replaced,)]


EVENT_DAYS = st.tuples(SECURITIES_MADE_UP, DAYS)
EVENTS = st.dictionaries(st.sampled_from(ACTION_KINDS[:3]), NUMBERS, min_size=1)
EVENT_BATCHES = st.lists(st.dictionaries(EVENT_DAYS, EVENTS, min_size=1), max_size=4)


@examples(15)
@given(batches=EVENT_BATCHES)
def test_an_event_told_anew_takes_the_place_of_all_that_was_told_of_its_day(
    writing: Writing, batches: list[dict[tuple[int, dt.date], dict[str, float]]]
) -> None:
    """Property 7, of events. Caught: an event left beside the one that supersedes it."""
    con = emptied(writing, CORPORATE_ACTIONS)
    expected: dict[tuple[int, dt.date], dict[str, float]] = {}
    for batch in batches:
        rows = [
            {"security_id": security, "ex_date": day, "basis_on": day, "kind": kind, "ratio": ratio}
            for (security, day), events in batch.items()
            for kind, ratio in events.items()
        ]
        writing.upsert(
            CORPORATE_ACTIONS,
            pa.Table.from_pylist(rows),
            constants={"source": "one", "currency": "USD", "kind_by": "rule"},
            supersede=("security_id", "ex_date", "source"),
        )
        expected |= batch
    stored = con.execute("select security_id, ex_date, kind, ratio from corporate_actions")
    assert sorted(stored.fetchall()) == sorted(
        (*day, kind, ratio) for day, events in expected.items() for kind, ratio in events.items()
    )


# Creating a security twice: property 6

REGISTERED = (SECURITIES, SYMBOL_HISTORY, SECURITY_PROFILES)
SYMBOLS = st.from_regex(r"[A-C]{1,2}(\.[AB])?", fullmatch=True)
"""Few enough that they meet again."""


def on_record(con: duckdb.DuckDBPyConnection) -> list[list[tuple[object, ...]]]:
    return [con.execute(f"from {table.name} order by all").fetchall() for table in REGISTERED]


def a_day_on(writing: Writing) -> Writing:
    return replace(writing, run_id=NEXT_RUN, now=writing.now + dt.timedelta(days=1))


@examples(15)
@given(asked=st.lists(st.tuples(SYMBOLS, DAYS), max_size=6))
def test_asking_for_symbols_twice_gives_the_same_securities_and_writes_nothing(
    writing: Writing, asked: list[tuple[str, dt.date]]
) -> None:
    """Property 6: creating an asset is idempotent. Caught: a second security for a symbol that is
    on record.
    """
    con = emptied(writing, *REGISTERED)
    register = Register.read(con, (), "test")
    first = [register.security_on(symbol, day) for symbol, day in asked]
    register.write(writing)
    before = on_record(con)

    again = Register.read(con, (), "test")
    assert [again.security_on(symbol, day) for symbol, day in asked] == first
    again.write(a_day_on(writing))
    assert on_record(con) == before
    assert len(set(first)) == len({symbol for symbol, _ in asked}) == len(before[0])


def stays_of(symbol: str, days: list[dt.date], still_in: bool) -> list[MembershipInterval]:
    """Stays that begin and end by turns on ``days``; the last one may last to this day."""
    ends: list[dt.date | None] = [*days[1::2]]
    if len(days) % 2:
        ends.append(None)
    elif still_in and ends:
        ends[-1] = None
    return [
        MembershipInterval(symbol, start, end) for start, end in zip(days[::2], ends, strict=True)
    ]


STAYS = st.dictionaries(
    SYMBOLS,
    st.tuples(
        st.lists(st.dates(dt.date(2020, 1, 1), dt.date(2020, 1, 20)), unique=True, max_size=6),
        st.booleans(),
    ),
    max_size=4,
)


@examples(15)
@given(listed=STAYS)
def test_telling_stays_twice_gives_the_same_securities_and_writes_nothing(
    writing: Writing, listed: dict[str, tuple[list[dt.date], bool]]
) -> None:
    """Property 6, of stays in an index. Caught: a second security for a stay told again."""
    con = emptied(writing, *REGISTERED)
    stays = [
        stay
        for symbol, (days, still_in) in listed.items()
        for stay in stays_of(symbol, sorted(days), still_in)
    ]
    register = Register.read(con, (), "test")
    first = register.identify_intervals(stays)
    register.write(writing)
    before = on_record(con)

    again = Register.read(con, (), "test")
    assert again.identify_intervals(stays) == first
    again.write(a_day_on(writing))
    assert on_record(con) == before
    assert len({security for _, security in first}) == len(stays) == len(before[0])
