"""What a snapshot of the whole market costs, asked of a stand-in for Nasdaq; in ``make bench``.

7,000 made-up names in three lists. Beside it: the same lists into pandas and DuckDB, nothing
checked, compared or identified. By itself, without ``docs/benchmarks.md``:
``python -m quant_assets_tests.bench.market``.
"""

from __future__ import annotations

import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import duckdb
import pandas as pd
import requests

from quant_assets import market
from quant_assets.reference.calendars import SETTLING, exchange_calendar
from quant_assets.refreshing.load_steps import How, load_steps
from quant_assets.refreshing.whole_steps import whole_steps
from quant_assets.settings.settings import load_settings
from quant_assets.sources.nasdaq.screener import BROWSER
from quant_assets.warehouse.writer_lock import utc_now
from quant_assets.wiring.platform import Platform
from quant_assets_tests.bench.command import quant_assets
from quant_assets_tests.standins.nasdaq import NasdaqStandIn, stock

NAMES = {"amex": 300, "nasdaq": 3_700, "nyse": 3_000}

_SPAWN = multiprocessing.get_context("spawn")


def market_rows(home: Path) -> Iterator[tuple[str, str, str, str]]:
    """The last two sessions loaded, the second by the command line, and read."""
    now = utc_now()
    calendar = exchange_calendar("XNYS")
    if calendar.session_under_way(now):
        yield "a snapshot of the market", "not measured: a session is under way", "", ""
        return
    last = calendar.last_closed_session(now)
    before = calendar.sessions[calendar.sessions.index(last) - 1]
    folder, count = home / "market", sum(NAMES.values())
    with standing_in(0) as url:
        settings = load_settings(
            {},
            flags={"home": folder, "nasdaq": {"screener_url": url}},
            working_directory=home,
        )
        platform = Platform(settings, clock=lambda: calendar.closes_at_of(before) + SETTLING)
        steps = whole_steps(platform, "market_snapshot", "nasdaq")
        assert [
            report.total("inserted") for report in load_steps(platform, steps, How(platform.asking))
        ] == [count]
    words = ("refresh", "--datasets", "market_snapshot", "--source", "nasdaq")
    with standing_in(1) as url:
        ran = quant_assets(words, folder, nasdaq__screener_url=url)
        plain = _processor(lambda: _plainly(url, home / "plain.duckdb"))
    yield (
        f"quant-assets refresh --datasets market_snapshot, {count:,} names",
        f"{ran.processor:.1f} s of processor, {ran.gigabytes:.2f} GB",
        "≤ 2 s of processor",
        f"three requests into pandas and DuckDB, start and imports not counted: {plain:.1f} s",
    )
    frame = market(settings=settings)
    assert len(frame) == count, len(frame)
    parquet = home / "market.parquet"
    frame.to_parquet(parquet)
    yield (
        f"market(), {count:,} names",
        f"{_median(lambda: market(settings=settings)) * 1e3:.0f} ms",
        "≤ 30 ms",
        f"pandas on Parquet: {_median(lambda: pd.read_parquet(parquet)) * 1e3:.0f} ms",
    )


def _plainly(url: str, path: Path) -> None:
    lists = [
        requests.get(
            f"{url}/api/screener/stocks",
            params={"tableonly": "true", "download": "true", "exchange": exchange},
            headers=BROWSER,
            timeout=60,
        ).json()["data"]["rows"]
        for exchange in NAMES
    ]
    rows = pd.concat([pd.DataFrame(some) for some in lists])
    with duckdb.connect(str(path)) as con:
        con.register("rows", rows)
        con.execute("create or replace table market as select * from rows")


def _processor(call: Callable[[], object]) -> float:
    began = time.process_time()
    call()
    return time.process_time() - began


def _median(call: Callable[[], object]) -> float:
    call()
    taken = []
    for _ in range(15):
        began = time.perf_counter()
        call()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def _lists(session: int) -> Mapping[str, Sequence[dict[str, str]]]:
    """The three lists on a session: each price moves by up to two per cent."""
    lists = {}
    number = 0
    for exchange, count in NAMES.items():
        rows = []
        for _ in range(count):
            number += 1
            before = 5 + number % 300
            move = (number * 7_919 + session * 104_729) % 401 / 10_000 - 0.02
            price = before * (1 + move * session)
            rows.append(
                stock(
                    _symbol(number),
                    f"Made-up Company {number} Inc. Common Stock",
                    lastsale=f"${price:.4f}",
                    netchange=f"{price - before:.4f}",
                    volume=str(1_000 * (number % 997 + 1)),
                    marketCap=f"{price * 1e6 * (number % 89 + 1):.2f}",
                )
            )
        lists[exchange] = rows
    return lists


def _symbol(number: int) -> str:
    letters = ""
    for _ in range(4):
        number, at = divmod(number, 26)
        letters += chr(ord("A") + at)
    return letters


def _serve(pipe: Connection, session: int) -> None:
    with NasdaqStandIn(_lists(session), {}) as nasdaq:
        pipe.send(nasdaq.url)
        pipe.recv()


@contextmanager
def standing_in(session: int) -> Iterator[str]:
    ours, theirs = _SPAWN.Pipe()
    process = _SPAWN.Process(target=_serve, args=(theirs, session), daemon=True)
    process.start()
    try:
        yield ours.recv()
    finally:
        ours.send(None)
        process.join()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for row in market_rows(Path(folder)):
            print(" · ".join(filter(None, row)), file=sys.stderr)


if __name__ == "__main__":
    main()
