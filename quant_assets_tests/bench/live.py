"""What bringing prices up to date costs, asked of a stand-in for Yahoo; part of ``make bench``.

The stand-in has a process of its own, so that its work is not counted as ours, and it counts what
it is asked. Every load is the command line's. A plain loop over yfinance is measured beside it.

By itself, without ``docs/benchmarks.md``: ``python -m quant_assets_tests.bench.live [--all]``.
"""

from __future__ import annotations

import datetime as dt
import json
import multiprocessing
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import duckdb
import yfinance

from quant_assets.contracts.source import Request
from quant_assets.reference.calendars import exchange_calendar
from quant_assets.sources.yahoo.daily_prices import YahooSource
from quant_assets.warehouse.writer_lock import utc_now
from quant_assets_tests.bench import command
from quant_assets_tests.bench.command import Ran
from quant_assets_tests.sources.yahoo.test_yahoo_standin import Rewriting
from quant_assets_tests.standins.yahoo_listings import invented_market
from quant_assets_tests.standins.yahoo_standin import StandIn

Row = tuple[str, str, str, str]

SYMBOLS = [f"Y{number:03d}" for number in range(503)]
YEARS = 5
LIMITED_SYMBOLS = 60
"""Symbols of the refresh under a rate limit, which takes half a second for each, unless all are
asked for."""
PER_SECOND = 2
READ_SYMBOLS = SYMBOLS[:50]

_SPAWN = multiprocessing.get_context("spawn")


def live_rows(folder: Path, *, limited: int = LIMITED_SYMBOLS) -> Iterator[Row]:
    """Evenings of the index, the last two closed sessions being the last two of the market."""
    calendar = exchange_calendar("XNYS")
    last = calendar.last_closed_session(utc_now())
    before = calendar.sessions[calendar.sessions.index(last) - 1]
    start = calendar.between(last - dt.timedelta(days=round(365.25 * YEARS)), last)[0]
    home = folder / "live"
    with standing_in(last) as standin:
        standin.set(now=dt.datetime.combine(before, dt.time(23), dt.UTC))
        yield from backfills(home, standin, start, before)
        (home / "limited").mkdir()
        shutil.copy(home / "dagster/warehouse.duckdb", home / "limited")
        standin.set(now=None)
        yield from refreshes(home / "dagster", standin)
        yield limited_refresh(home / "limited", standin, SYMBOLS[:limited])
        yield reading(standin, start)


# The stand-in, elsewhere.


@dataclass
class Served:
    """A stand-in in another process."""

    url: str
    _pipe: Connection
    _counted: int = 0

    def set(self, **facts: object) -> None:
        """Set its clock (``now``) or its ``requests_per_second``."""
        self._told(facts)

    def counted(self) -> tuple[int, int, int]:
        """Charts asked for, requests in all and those answered 429, since the last count."""
        asked = self._told({})[self._counted :]
        self._counted += len(asked)
        charts = sum(symbol is not None for symbol, _ in asked)
        return charts, len(asked), sum(status == 429 for _, status in asked)

    def _told(self, facts: Mapping[str, object]) -> list[tuple[str | None, int | None]]:
        self._pipe.send(facts)
        asked: list[tuple[str | None, int | None]] = self._pipe.recv()
        return asked


def _serve(pipe: Connection, until: dt.date) -> None:
    listings = invented_market(SYMBOLS, YEARS, until)
    for listing in listings:
        listing.chart(0, 2**40, utc_now())  # so that the first request is as quick as the next
    with StandIn(listings) as standin:
        pipe.send(standin.url)
        while (facts := pipe.recv()) is not None:
            for name, value in facts.items():
                setattr(standin, name, value)
            pipe.send([(asked.symbol, asked.status) for asked in standin.requests])


@contextmanager
def standing_in(until: dt.date) -> Iterator[Served]:
    ours, theirs = _SPAWN.Pipe()
    process = _SPAWN.Process(target=_serve, args=(theirs, until), daemon=True)
    process.start()
    try:
        yield Served(ours.recv(), ours)
    finally:
        ours.send(None)
        process.join()


# Commands.


def quant_assets(home: Path, standin: Served, *words: str, min_delay_seconds: float = 0) -> Ran:
    return command.quant_assets(
        words, home, yahoo_url=standin.url, yahoo__min_delay_seconds=min_delay_seconds
    )


def backfills(home: Path, standin: Served, start: dt.date, end: dt.date) -> Iterator[Row]:
    span = ("--start", str(start), "--end", str(end), "--symbols", ",".join(SYMBOLS))
    what = f"{len(SYMBOLS)} symbols × {YEARS} years from Yahoo"
    plain = elsewhere(looped, standin.url, SYMBOLS, start, home / "loop")
    asked, *_ = standin.counted()
    beside = (
        f"a loop over yfinance's history, nothing checked, compared or recorded: "
        f"{plain.seconds:.0f} s, {asked:,} price requests"
    )
    for name, words, target in (
        ("backfill", (), ""),
        ("backfill --dagster", ("--dagster",), "≤ 240 s, ≤ 1.5 GB, ≤ 503 requests"),
    ):
        at = home / ("dagster" if words else "plain")
        ran = quant_assets(at, standin, "backfill", "--source", "yahoo", *words, *span)
        charts, *_ = standin.counted()
        measured = f"{ran.seconds:.0f} s, {ran.gigabytes:.2f} GB, {charts:,} price requests"
        yield f"quant-assets {name}, {what}", measured, target, beside


def refreshes(home: Path, standin: Served) -> Iterator[Row]:
    for name, target in (
        ("the next evening", f"≤ {len(SYMBOLS)} requests"),
        ("at once again", "0 requests"),
    ):
        ran = quant_assets(home, standin, "refresh")
        charts, *_ = standin.counted()
        measured = f"{ran.seconds:.1f} s, {ran.gigabytes:.2f} GB, {charts:,} price requests"
        yield f"quant-assets refresh of {len(SYMBOLS)} symbols, {name}", measured, target, ""


def limited_refresh(home: Path, standin: Served, symbols: Sequence[str]) -> Row:
    """The limit's own time is that of every request, those for cookie and crumb included."""
    standin.set(requests_per_second=PER_SECOND)
    words = ("refresh", "--json", "--symbols", ",".join(symbols))
    ran = quant_assets(home, standin, *words, min_delay_seconds=1 / PER_SECOND)
    standin.set(requests_per_second=None)
    [load] = json.loads(ran.printed)["loads"]
    _, requests, refused = standin.counted()
    least = (requests - refused - 1) / PER_SECOND
    return (
        f"quant-assets refresh of {len(symbols)} symbols, {PER_SECOND} requests a second allowed",
        f"{load['seconds'] / least - 1:+.1%} over {least:.1f} s, {ran.seconds:.1f} s with the "
        f"command's start and end; {refused} times 429",
        "≤ 5 %, 0 times 429",
        "",
    )


# One symbol.


def reading(standin: Served, start: dt.date) -> Row:
    ours = elsewhere(read, standin.url, READ_SYMBOLS, start)
    theirs = elsewhere(looped, standin.url, READ_SYMBOLS, start)
    standin.counted()
    return (
        f"{YEARS} years of a symbol requested and read, CPU time",
        f"{ours.cpu_milliseconds:.1f} ms",
        "",
        f"yfinance's history: {theirs.cpu_milliseconds:.1f} ms",
    )


@dataclass(frozen=True)
class Took:
    """``cpu_milliseconds`` are those of asking and reading, for each symbol."""

    seconds: float
    cpu_milliseconds: float


def elsewhere(measure: Any, *arguments: object) -> Took:
    """What ``measure`` takes in a process of its own, which nothing else has warmed or worn."""
    with ProcessPoolExecutor(1, mp_context=_SPAWN) as pool:
        took: Took = pool.submit(measure, *arguments).result()
        return took


def read(url: str, symbols: Sequence[str], start: dt.date) -> Took:
    """By our source, which nobody keeps waiting."""
    calendar = exchange_calendar("XNYS")
    source = YahooSource(calendar, lambda request: request(), clock=utc_now, base_url=url)
    end = calendar.last_closed_session(utc_now())
    requests = [Request(symbol, start, end) for symbol in symbols]
    began, used = time.perf_counter(), time.process_time()
    answers = list(source.fetch(requests))
    spent = time.process_time() - used
    assert not any(answer.failures for answer in answers), answers
    return Took(time.perf_counter() - began, spent / len(symbols) * 1e3)


def looped(url: str, symbols: Sequence[str], start: dt.date, folder: Path | None = None) -> Took:
    """What one would write without us; with a ``folder``, into DuckDB there."""
    warnings.simplefilter("ignore")  # yfinance 1.7 uses what pandas 4 will change
    session = Rewriting(url)
    with tempfile.TemporaryDirectory() as cache:
        yfinance.set_tz_cache_location(cache)
        began, spent = time.perf_counter(), 0.0
        if folder:
            folder.mkdir(parents=True, exist_ok=True)
        with duckdb.connect(str(folder / "loop.duckdb") if folder else ":memory:") as con:
            for number, symbol in enumerate(symbols):
                used = time.process_time()
                ticker = yfinance.Ticker(symbol, session=session)
                rows = ticker.history(start=start, auto_adjust=False)
                spent += time.process_time() - used
                assert len(rows) > 1_000, symbol
                con.register("told", rows.reset_index().assign(symbol=symbol))
                verb = "insert into daily_prices" if number else "create table daily_prices as"
                con.execute(f"{verb} select * from told")
        return Took(time.perf_counter() - began, spent / len(symbols) * 1e3)


def main() -> None:
    limited = len(SYMBOLS) if "--all" in sys.argv else LIMITED_SYMBOLS
    with tempfile.TemporaryDirectory() as folder:
        for row in live_rows(Path(folder), limited=limited):
            print("| " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main()
