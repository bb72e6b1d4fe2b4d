"""Speed and memory, side by side with what one would use instead: ``make bench``.

Uses the real as-traded archive where it is beside the checkout, else a simulated market of the same
size. Prints a table and keeps it in ``docs/benchmarks.md``. Nothing here is a test.
"""

from __future__ import annotations

import datetime as dt
import os
import platform as machine
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import duckdb
import pandas as pd

from quant_assets import prices
from quant_assets.contracts.prices import PriceAnswer, PriceSource
from quant_assets.contracts.source import Request, SourceProfile
from quant_assets.loading.work import Window
from quant_assets.reference.calendars import exchange_calendar
from quant_assets.settings.settings import load_settings
from quant_assets.sources.simulated.market import SimulatedMarket
from quant_assets.warehouse.warehouse import Warehouse
from quant_assets.wiring.platform import Platform
from quant_assets_tests.bench.command import quant_assets
from quant_assets_tests.bench.dagster import dagster_rows
from quant_assets_tests.bench.live import live_rows
from quant_assets_tests.bench.market import market_rows
from quant_assets_tests.standins.loads import load_prices

ROOT = Path(__file__).parents[2]
ARCHIVE = (
    ROOT.parent / "shared/real/prices/alphavantage_sp500_daily_adjusted_20130102_20210421.parquet"
)
START, END = dt.date(2013, 1, 2), dt.date(2021, 4, 21)


class Answered:
    """A source whose answers are in memory already, so that storing alone is measured."""

    def __init__(self, source: PriceSource) -> None:
        self.profile: SourceProfile = source.profile
        self._symbols = source.symbols()
        self._answers = list(
            source.fetch([Request(symbol, START, END) for symbol in self._symbols])
        )

    def symbols(self) -> tuple[str, ...]:
        return self._symbols

    def fetch(self, requests: Sequence[Request]) -> Iterator[PriceAnswer]:
        yield from self._answers


def median(runs: int, call: Callable[[], object]) -> float:
    """Median seconds of several calls after one that does not count."""
    call()
    taken = []
    for _ in range(runs):
        began = time.perf_counter()
        call()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        rows = []
        for part in (live_rows, backfill, market_rows, dagster_rows, ingest, reading):
            for row in part(home):
                print(" · ".join(filter(None, row)), file=sys.stderr, flush=True)
                rows.append(row)
    show(rows)


def source_of(home: Path) -> tuple[PriceSource, str]:
    if ARCHIVE.exists():
        settings = load_settings({}, config=ROOT / "examples/real.toml", flags={"home": home})
        return Platform(settings).price_source("files:alphavantage"), "the as-traded archive"
    calendar = exchange_calendar("XNYS")
    return SimulatedMarket(calendar, START, END, securities_count=504), "a simulated market"


def ingest(home: Path) -> Iterator[tuple[str, str, str, str]]:
    source, what = source_of(home)
    answered = Answered(source)
    calendar = exchange_calendar("XNYS")
    rows = sum(answer.rows.num_rows for answer in answered._answers)
    number = iter(range(1_000))

    def store() -> None:
        target = Warehouse(home / f"ingest{next(number)}" / "warehouse.duckdb")
        window = Window(answered.symbols(), START, END)
        report = load_prices(target, answered, window, calendar, identities=())
        assert report.total("inserted") == rows, report

    frames = pd.concat([answer.rows.to_pandas() for answer in answered._answers])

    def plain() -> None:
        with duckdb.connect(str(home / f"plain{next(number)}.duckdb")) as con:
            con.register("frame", frames)
            con.execute("create table daily_prices as select * from frame")

    ours, theirs = median(3, store), median(3, plain)
    yield (
        f"ingest {rows:,} rows of {what}: validate, compare, store, record",
        f"{rows / ours:,.0f} rows/s",
        "≥ 500,000 rows/s",
        f"pandas into DuckDB, nothing checked or compared: {rows / theirs:,.0f} rows/s",
    )


def backfill(home: Path) -> Iterator[tuple[str, str, str, str]]:
    if not ARCHIVE.exists():
        return
    words = (
        *("--config", str(ROOT / "examples/real.toml")),
        *("backfill", "--source", "files", "--start", str(START), "--end", str(END)),
    )
    for name, target in (("the whole archive", ""), ("once more, nothing due", "≤ 2 s + start")):
        ran = quant_assets(words, home / "real")
        measured = f"{ran.seconds:.1f} s, {ran.gigabytes:.2f} GB"
        yield (f"quant-assets backfill, {name}", measured, target, "")


def reading(home: Path) -> Iterator[tuple[str, str, str, str]]:
    warehouse = Warehouse(home / "read" / "warehouse.duckdb")
    source, _ = source_of(home)
    calendar = exchange_calendar("XNYS")
    load_prices(warehouse, source, Window(source.symbols(), START, END), calendar)
    at = home / "read"
    symbols = source.symbols()[:500]
    year = dt.date(2020, 1, 2), dt.date(2020, 12, 31)
    for what, asked, days, target in (
        ("prices of one symbol, 8 years", symbols[0], (START, END), "≤ 50 ms"),
        (
            f"prices of {len(symbols)} symbols, 1 year",
            symbols,
            year,
            "≤ 2 × unadjusted",
        ),
    ):
        parquet = home / "prices.parquet"
        prices(asked, *days, home=at).to_parquet(parquet)
        beside = median(9, lambda: duckdb.sql(f"from '{parquet}'").df())  # noqa: B023
        for adjust in ("none", "split", "total_return"):
            ours = median(9, lambda: prices(asked, *days, adjust=adjust, home=at))  # type: ignore[arg-type]  # noqa: B023
            yield (
                f"{what}, adjust={adjust}",
                f"{ours * 1e3:.0f} ms",
                target,
                f"DuckDB on a Parquet file of just these rows: {beside * 1e3:.0f} ms",
            )


def show(rows: Sequence[tuple[str, str, str, str]]) -> None:
    header = ("what", "measured", "target", "for comparison")
    lines = ["| " + " | ".join(cells) + " |" for cells in (header, ("---",) * 4, *rows)]
    about = (
        f"{os.cpu_count()} cores, {machine.machine()}, Python {machine.python_version()}, "
        f"DuckDB {duckdb.__version__}, {dt.datetime.now(dt.UTC):%Y-%m-%d}"
    )
    text = (
        "# Benchmarks\n\nMade by `make bench`. Times are medians, in one process unless a row "
        f"names a command. Machine: {about}.\n\n" + "\n".join(lines) + "\n"
    )
    (ROOT / "docs" / "benchmarks.md").write_text(text, "utf-8")
    print(text)


if __name__ == "__main__":
    main()
