"""Pairs of dataset and source that keep the contract: prices, made up or from files, and notes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow.csv
import pyarrow.parquet
import pytest

from quant_assets.contracts.prices import PriceSource
from quant_assets.contracts.source import Request
from quant_assets.datasets.daily_prices.dataset import DailyPrices
from quant_assets.settings.sources import FilesArchive
from quant_assets.sources.files.archive import FilesSource
from quant_assets.sources.simulated.market import SimulatedMarket
from quant_assets_tests.contracts.suite import (
    END,
    PRICE_TABLES,
    START,
    XNYS,
    NarrowPriceSourceContract,
    Pair,
    SourceContract,
    price_tables,
)
from quant_assets_tests.standins.notes import (
    DATASET,
    NOTE_ROWS,
    TAG_ROWS,
    WITH_NOTES,
    NoteSource,
)


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


class TestPrices(NarrowPriceSourceContract):
    @pytest.fixture(params=SOURCES.values(), ids=SOURCES.keys(), scope="class")
    @classmethod
    def pair(cls, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
        folder = tmp_path_factory.mktemp("source")
        source = request.param(folder)
        names = market().fetch_universe().names if source.profile.simulated else ()
        dataset = DailyPrices(source.profile, XNYS, names)
        again = lambda: request.param(folder)  # noqa: E731
        return Pair(dataset, source, again, PRICE_TABLES, price_tables)


class TestNotes(SourceContract):
    @pytest.fixture(scope="class")
    @classmethod
    def pair(cls) -> Pair:
        def source() -> NoteSource:
            return NoteSource(
                {f"N{letter}": [(1, f"On {letter}.", 1.0, ("a", "b"))] for letter in "ABCDEF"}
            )

        columns = {"notes": NOTE_ROWS, "note_tags": TAG_ROWS}
        tables = lambda answer: answer.tables  # noqa: E731
        return Pair(DATASET, source(), source, columns, tables, WITH_NOTES)
