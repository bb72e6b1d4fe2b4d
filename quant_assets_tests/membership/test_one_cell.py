"""One mangled cell, pair of cells or row of an index's page changes nothing for good."""

from __future__ import annotations

import datetime as dt
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quant_assets.warehouse.warehouse import Warehouse
from quant_assets_tests.conftest import NOW, examples
from quant_assets_tests.membership.index_page import (
    CHANGES,
    MEMBERS,
    Cells,
    bring,
    left_behind,
    page,
    with_cell,
)

BEFORE, AFTER = ("2024-08-26", "2024-08-29", "2024-09-09"), ("2024-09-11", "2024-09-12")
WALGREENS = ("WBA", "Walgreens", "Consumer", "Drugs", "1979-12-31", "0001618921")


def followed(path: Path) -> Warehouse:
    """A warehouse that followed the page for some days."""
    warehouse = Warehouse(path, clock=lambda: NOW)
    for on in BEFORE:
        first = on == BEFORE[0]
        members = (*MEMBERS[:-1], WALGREENS) if first else MEMBERS
        bring(warehouse, page(members, CHANGES[1:] if first else CHANGES), on)
    return warehouse


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return followed(tmp_path_factory.mktemp("followed") / "warehouse.duckdb").path


@pytest.fixture(scope="module")
def expected(start: Path) -> list[list[tuple[object, ...]]]:
    path = start.with_name("expected.duckdb")
    shutil.copyfile(start, path)
    warehouse = Warehouse(path, clock=lambda: NOW)
    for on in AFTER:
        bring(warehouse, page(), on)
    return left_behind(warehouse)


CELLS = [(0, r, c) for r, row in enumerate(MEMBERS) for c in range(len(row))]
CELLS += [(1, r, c) for r, row in enumerate(CHANGES) for c in range(len(row))]
OTHERS = sorted({cell for rows in (MEMBERS, CHANGES) for row in rows for cell in row})
TEXTS = st.one_of(
    st.sampled_from(OTHERS),
    st.sampled_from(
        ("", "†", "ZZZZ", "MS FT", "UA/UAA", "MSFT*", "MSFT.US", "September 3, 2024", "2024-09-05")
    ),
    st.dates(dt.date(1990, 1, 1), dt.date(2026, 1, 1)).map(str),
    st.dates(dt.date(2024, 8, 1), dt.date(2024, 10, 1)).map(lambda d: f"{d:%B %d, %Y}"),
    st.from_regex(r"[A-Z]{1,4}|[0-9]{7}", fullmatch=True),
    st.text(max_size=5),
)


@examples(25)
@given(cell=st.sampled_from(CELLS), text=TEXTS)
def test_one_mangled_cell_changes_no_member_no_name_and_no_date_for_good(
    start: Path, expected: list[list[tuple[object, ...]]], cell: tuple[int, int, int], text: str
) -> None:
    table, row, column = cell
    rows = [MEMBERS, CHANGES]
    rows[table] = with_cell(rows[table], row, column, text)
    assert left_after(start, rows) == expected


def left_after(start: Path, rows: list[Cells]) -> list[list[tuple[object, ...]]]:
    """What one page of ``rows`` leaves behind, once good pages follow."""
    path = start.with_name("mangled.duckdb")
    shutil.copyfile(start, path)
    warehouse = Warehouse(path, clock=lambda: NOW)
    bring(warehouse, page(*rows), "2024-09-10")
    for on in AFTER:
        bring(warehouse, page(), on)
    return left_behind(warehouse)


def with_mangled_rows(rows: Cells, how: str, one: int, other: int, column: int) -> Cells:
    one, other = one % len(rows), other % len(rows)
    first, second = rows[one], rows[other]
    if how == "cells swapped":
        swapped = with_cell(rows, one, column, second[column])
        return with_cell(swapped, other, column, first[column])
    changed = {
        "removed": (),
        "doubled": (first, first),
        "shifted": ((*first[1:], first[0]),),
        "emptied": (("",) * len(first),),
        "another's": (second,),
    }[how]
    return (*rows[:one], *changed, *rows[one + 1 :])


@examples(25)
@given(
    table=st.sampled_from((0, 1)),
    how=st.sampled_from(("cells swapped", "removed", "doubled", "shifted", "emptied", "another's")),
    one=st.integers(0, 7),
    other=st.integers(0, 7),
    column=st.integers(0, 5),
)
def test_one_mangled_row_or_pair_of_cells_changes_nothing_for_good(
    start: Path,
    expected: list[list[tuple[object, ...]]],
    *,
    table: int,
    how: str,
    one: int,
    other: int,
    column: int,
) -> None:
    rows = [MEMBERS, CHANGES]
    rows[table] = with_mangled_rows(rows[table], how, one, other, column)
    assert left_after(start, rows) == expected
