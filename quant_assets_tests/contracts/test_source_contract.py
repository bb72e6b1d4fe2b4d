"""Pairs of dataset and source that keep the contract: prices, made up or from files, the market,
and notes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.csv
import pyarrow.parquet
import pytest

from quant_assets.contracts.market import MARKET_COLUMNS
from quant_assets.contracts.prices import PriceSource
from quant_assets.contracts.rows import RowAnswer
from quant_assets.contracts.source import Request, Source
from quant_assets.datasets.daily_prices.dataset import DailyPrices
from quant_assets.datasets.market_snapshot.dataset import market_snapshot
from quant_assets.settings.sources import FilesArchive
from quant_assets.sources.files.archive import FilesSource
from quant_assets.sources.nasdaq.screener import Screener
from quant_assets.sources.nasdaq.symbol_directory import SymbolDirectory
from quant_assets.sources.simulated.market import SimulatedMarket
from quant_assets.sources.simulated.snapshot import SimulatedSnapshot
from quant_assets_tests.contracts.suite import (
    END,
    LATER,
    PRICE_TABLES,
    START,
    WIDE,
    XNYS,
    MarketSourceContract,
    NarrowPriceSourceContract,
    Pair,
    SymbolSourceContract,
    price_tables,
)
from quant_assets_tests.standins.nasdaq import (
    NASDAQLISTED,
    OTHERLISTED,
    NasdaqStandIn,
    directory_file,
    stock,
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
    @pytest.fixture(params=[*SOURCES.values()], ids=[*SOURCES], scope="class")
    @classmethod
    def pair(cls, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
        folder = tmp_path_factory.mktemp("source")
        source = request.param(folder)
        names = market().fetch_universe().names if source.profile.simulated else ()
        dataset = DailyPrices(source.profile, XNYS, names)
        again = lambda: request.param(folder)  # noqa: E731
        return Pair(dataset, source, again, PRICE_TABLES, price_tables)


STOCKS = {
    "amex": [
        stock("AAMC", "Altisource Asset Management Corp Com", volume="0"),
        stock("ACU", "Acme United Corporation. Common Stock", lastsale="$26.08", netchange="-0.16"),
        stock("AIRI", "Air Industries Group Common Stock", marketCap="0.00"),
        stock("EVV", "Eaton Vance Limited Duration Income Fund Common Shares"),
    ],
    "nasdaq": [
        stock("AACG", "ATA Creativity Global American Depositary Shares", country="China"),
        stock("AAPL", "Apple Inc. Common Stock", lastsale="$193.97", marketCap="3050896315520.00"),
        stock("BRPMW", "B. Riley Principal 150 Merger Corp. Warrant", marketCap="", netchange=""),
        stock("LCUT", "Lifetime Brands Inc. Common Stock", lastsale="NA", volume=""),
    ],
    "nyse": [
        stock("BAC", "Bank of America Corporation Common Stock", ipoyear="1978"),
        stock("BAC^L", "Bank of America Corporation Series L Preferred Stock"),
        stock("BRK/A", "Berkshire Hathaway Inc. Common Stock", lastsale="$517,810.00"),
        stock("BRK/B", "Berkshire Hathaway Inc. New Common Stock", lastsale="$341.00"),
    ],
}
FILES = {
    "nasdaqlisted": directory_file(
        NASDAQLISTED,
        [
            "AAPL|Apple Inc. - Common Stock|Q|N|N|100|N|N",
            "BRPMW|B. Riley Principal 150 Merger Corp. - Warrant|S|N|N|100|N|N",
            "QQQ|Invesco QQQ Trust, Series 1|G|N|N|100|Y|N",
            "ZXYZ.A|Nasdaq Symbology Test Common Stock|Q|Y|N|100|N|N",
        ],
        created="0630202321:31",
    ),
    "otherlisted": directory_file(
        OTHERLISTED,
        [
            "BAC|Bank of America Corporation Common Stock|N|BAC|N|100|N|BAC",
            "BAC$L|Bank of America Corporation Series L Preferred|N|BACpL|N|100|N|BAC-L",
            "BRK.B|Berkshire Hathaway Inc. New Common Stock|N|BRK.B|N|100|N|BRK.B",
            "EVV|Eaton Vance Limited Duration Income Fund|A|EVV|N|100|N|EVV",
            "SPY|SPDR S&P 500|P|SPY|Y|100|N|SPY",
        ],
        created="0630202321:31",
    ),
}
MARKETS: dict[str, Callable[[str], Source[RowAnswer]]] = {
    "screener": lambda url: Screener(XNYS, lambda request: request(), lambda: LATER, url),
    "symbol directory": lambda url: SymbolDirectory(
        XNYS, lambda request: request(), lambda: LATER, url
    ),
    "simulated": lambda url: SimulatedSnapshot(market()),
}


class TestMarket(MarketSourceContract):
    @pytest.fixture(params=[*MARKETS.values()], ids=[*MARKETS], scope="class")
    @classmethod
    def pair(cls, request: pytest.FixtureRequest) -> Iterator[Pair]:
        with NasdaqStandIn(STOCKS, FILES) as nasdaq:
            again: Callable[[], Any] = lambda: request.param(nasdaq.url)  # noqa: E731
            yield Pair(
                market_snapshot(XNYS),
                again(),
                again,
                {"market_snapshot": MARKET_COLUMNS},
                lambda answer: answer.tables,
                subject="feed",
                wide=(WIDE[0], END),  # a file of an earlier session is no answer for a later one
            )


class TestNotes(SymbolSourceContract):
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
