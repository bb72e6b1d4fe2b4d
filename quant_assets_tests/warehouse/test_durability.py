"""Loads that are killed, and loads that run side by side: real processes, real SIGKILLs.

Whenever a load dies, each of its chunks is in the warehouse whole or not at all, nothing committed
before is gone, and the next load ends with what an undisturbed one would have brought.
"""

from __future__ import annotations

import datetime as dt
import multiprocessing
import os
import random
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from time import monotonic

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from quant_assets.contracts.prices import PriceAnswer
from quant_assets.contracts.source import Request, SourceProfile
from quant_assets.loading.load import LoadReport, Window
from quant_assets.reference.calendars import Calendar
from quant_assets.schema.catalog import SCHEMA
from quant_assets.schema.loads import LEDGER
from quant_assets.schema.prices import CORPORATE_ACTIONS, DAILY_PRICES
from quant_assets.schema.table import Table
from quant_assets.sources.simulated.market import SimulatedMarket
from quant_assets.warehouse.warehouse import Warehouse
from quant_assets.warehouse.writer_lock import Clock
from quant_assets_tests.conftest import NOW
from quant_assets_tests.standins.loads import load_prices

START, END = dt.date(2023, 6, 1), dt.date(2024, 5, 31)
SYMBOLS_AT_ONCE = 5

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(
    ["quant_assets.loading.load", "quant_assets.read.price_frames", __name__]
)


@dataclass(frozen=True)
class SmallAnswers:
    """A market that answers five symbols at a time, so that a load has many transactions."""

    market: SimulatedMarket

    @property
    def profile(self) -> SourceProfile:
        return self.market.profile

    def symbols(self) -> tuple[str, ...]:
        return self.market.symbols()

    def fetch(self, requests: Sequence[Request]) -> Iterator[PriceAnswer]:
        for at in range(0, len(requests), SYMBOLS_AT_ONCE):
            yield from self.market.fetch(requests[at : at + SYMBOLS_AT_ONCE])


def year_of(securities: int, calendar: Calendar) -> SimulatedMarket:
    """A market on a calendar of that year and a month: it travels to each process."""
    days = calendar.between(START, dt.date(2024, 6, 28))
    first = calendar.sessions.index(days[0])
    closes_at = calendar.closes_at[first : first + len(days)]
    return SimulatedMarket(Calendar(calendar.name, days, closes_at), START, END, securities)


@pytest.fixture(scope="module")
def market(calendar: Calendar) -> SimulatedMarket:
    return year_of(20, calendar)


def load_all(
    path: Path, market: SimulatedMarket, symbols: Sequence[str] = (), clock: Clock = lambda: NOW
) -> LoadReport:
    warehouse = Warehouse(path, clock=clock)
    window = Window(tuple(symbols) or market.symbols(), START, END)
    names = market.fetch_universe().names
    return load_prices(warehouse, SmallAnswers(market), window, market.calendar, identities=names)


def report_load(
    pipe: Connection, path: Path, market: SimulatedMarket, symbols: Sequence[str] = ()
) -> None:
    """A load in a process of its own, begun when told to."""
    pipe.send("ready")
    pipe.recv()
    report = load_all(path, market, symbols)
    pipe.send(report.total("inserted"))


def load_until_the_clock_is_read(
    pipe: Connection, path: Path, market: SimulatedMarket, symbols: Sequence[str], times: int
) -> None:
    """A load that dies by SIGKILL when it looks at the clock for the so many-th time."""
    looks = count(1)

    def deadly_clock() -> dt.datetime:
        if next(looks) == times:
            os.kill(os.getpid(), signal.SIGKILL)
        return NOW

    load_all(path, market, symbols, deadly_clock)


def create_only(pipe: Connection, path: Path) -> None:
    pipe.send("ready")
    pipe.recv()
    with Warehouse(path).writing("00000000-0000-0000-0000-000000000001"):
        pass
    pipe.send("created")


def create_until_told(pipe: Connection, path: Path) -> None:
    """Stop within the transaction that makes the tables, where the clock is read."""

    def stopped_clock() -> dt.datetime:
        if path.with_suffix(".new").exists():
            pipe.send("creating")
            pipe.poll(60)
        return NOW

    with Warehouse(path, clock=stopped_clock).writing("00000000-0000-0000-0000-000000000001"):
        pass


def begun(work: Callable[..., None], *args: object) -> tuple[BaseProcess, Connection]:
    here, there = PROCESSES.Pipe()
    process = PROCESSES.Process(target=work, args=(there, *args), daemon=True)
    process.start()
    there.close()
    return process, here


def killed_after(seconds: float, work: Callable[..., None], *args: object) -> bool:
    """Start ``work``, kill it so long after it began; whether it had finished before."""
    process, pipe = begun(work, *args)
    with pipe:
        assert pipe.recv() == "ready"
        pipe.send("go")
        finished = pipe.poll(seconds)
        process.kill()
        process.join()
        assert not finished or pipe.recv() is not None
    return finished


def facts(path: Path, table: Table) -> pa.Table:
    """What a table says, by name in place of the number a security happened to get."""
    told = (*table.key, *table.values)
    columns = [f"t.{name}" for name in table.names if name in told and name != "security_id"]
    with Warehouse(path).reading() as con:
        return con.execute(
            f"select s.slug, {', '.join(columns)} from {table.name} t join securities s "
            "using (security_id) order by all"
        ).to_arrow_table()


def row_counts(path: Path) -> dict[str, int]:
    with Warehouse(path).reading() as con:
        tables = [table.name for table in SCHEMA.with_revisions]
        each = [f"select '{name}', count(*) from {name}" for name in tables]
        return dict(con.execute(" union all ".join(each)).fetchall())


def duplicates(path: Path) -> list[str]:
    """Tables in which two rows have one key."""
    with Warehouse(path).reading() as con:
        return [
            table.name
            for table in SCHEMA.with_revisions
            if con.execute(
                f"select 1 from {table.name} group by {', '.join(table.key)} having count(*) > 1"
            ).fetchall()
        ]


FACTS = (DAILY_PRICES, CORPORATE_ACTIONS, LEDGER)


@dataclass(frozen=True)
class Undisturbed:
    """A load done in one go: what it stored, by table, and how long it took."""

    facts: dict[str, pa.Table]
    seconds: float

    def of(self, table: Table, slugs: pa.Array) -> pa.Table:
        whole = self.facts[table.name]
        return whole.filter(pc.is_in(whole["slug"], slugs))


def load_undisturbed(path: Path, market: SimulatedMarket) -> Undisturbed:
    process, pipe = begun(report_load, path, market)
    with pipe:
        assert pipe.recv() == "ready"
        began = monotonic()
        pipe.send("go")
        inserted = pipe.recv()
        seconds = monotonic() - began
        process.join()
    stored = {table.name: facts(path, table) for table in FACTS}
    assert stored["daily_prices"].num_rows == inserted
    return Undisturbed(stored, seconds)


@pytest.fixture(scope="module")
def undisturbed(market: SimulatedMarket, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    stored = load_undisturbed(tmp_path_factory.mktemp("undisturbed") / "warehouse.duckdb", market)
    assert stored.facts["daily_prices"].num_rows == 4667
    return stored


def assert_same(path: Path, undisturbed: Undisturbed) -> None:
    for table in FACTS:
        assert facts(path, table).equals(undisturbed.facts[table.name]), table.name
    assert duplicates(path) == []


def assert_all_or_nothing(path: Path, undisturbed: Undisturbed) -> None:
    """Each security has all its prices, actions and ledger rows and a report, or none of them."""
    with Warehouse(path).reading() as con:
        reported = (
            con.execute(
                "select distinct s.slug from load_run_symbols r join symbol_history h "
                "using (symbol) join securities s on s.security_id = h.security_id"
            )
            .to_arrow_table()["slug"]
            .combine_chunks()
        )
        inserted = con.execute("select coalesce(sum(inserted), 0) from load_run_symbols").fetchall()
    for table in FACTS:
        assert facts(path, table).equals(undisturbed.of(table, reported)), table.name
    assert inserted == [(row_counts(path)["daily_prices"],)]
    assert duplicates(path) == []


def kill_loads(
    folder: Path, market: SimulatedMarket, undisturbed: Undisturbed, *, kills: int, within: float
) -> int:
    """Kill ``kills`` loads, each within that part of its time, and look at what each left.

    A load goes on where the one before it died; once one gets through, a new warehouse is begun.
    Returns the number of rows found after kills, at most.
    """
    moments = random.Random(f"{kills} kills")
    warehouses, died = 1, 0
    before: dict[str, int] = {}
    most = 0
    # On a busy machine a dozen may all die before they stored anything.
    while died < kills or (most == 0 and died < 5 * kills):
        path = folder / str(warehouses) / "warehouse.duckdb"
        delay = moments.uniform(0, within * undisturbed.seconds)
        if killed_after(delay, report_load, path, market):
            assert_same(path, undisturbed)
            warehouses, before = warehouses + 1, {}
            continue
        died += 1
        if path.exists():
            assert_all_or_nothing(path, undisturbed)
            after = row_counts(path) | {"load_claims": 0}  # given up as a load goes on
            assert [name for name, number in before.items() if after[name] < number] == []
            before, most = after, max(most, after["daily_prices"])
        else:
            assert before == {}
    load_all(path, market)
    assert_same(path, undisturbed)
    return most


def test_a_load_killed_at_any_moment_leaves_whole_chunks_and_the_next_completes_it(
    tmp_path: Path, market: SimulatedMarket, undisturbed: Undisturbed
) -> None:
    assert kill_loads(tmp_path, market, undisturbed, kills=12, within=0.6) > 0


def test_a_load_killed_at_each_of_its_looks_at_the_clock_leaves_all_or_nothing(
    tmp_path: Path, market: SimulatedMarket, undisturbed: Undisturbed
) -> None:
    """It looks before and within every transaction, so this dies between any two of them."""
    for times in count(1):
        path = tmp_path / str(times) / "warehouse.duckdb"
        symbols = market.symbols()[:SYMBOLS_AT_ONCE]
        process, pipe = begun(load_until_the_clock_is_read, path, market, symbols, times)
        process.join()
        pipe.close()
        if path.exists():
            assert_all_or_nothing(path, undisturbed)
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL
    assert times > 8
    assert row_counts(path)["load_run_symbols"] == 5


@pytest.mark.slow
def test_a_longer_load_killed_at_any_moment_leaves_whole_chunks(
    tmp_path: Path, calendar: Calendar
) -> None:
    market = year_of(40, calendar)
    undisturbed = load_undisturbed(tmp_path / "undisturbed.duckdb", market)
    assert kill_loads(tmp_path, market, undisturbed, kills=12, within=0.3) > 500


def test_a_first_load_killed_while_it_creates_the_file_leaves_no_half_of_it(
    tmp_path: Path,
) -> None:
    path = tmp_path / "warehouse.duckdb"
    process, pipe = begun(create_until_told, path)
    with pipe:
        assert pipe.recv() == "creating"
        assert not path.exists()
        process.kill()
        process.join()
    assert not path.exists()
    with Warehouse(path, lock_wait_seconds=0).writing("00000000-0000-0000-0000-000000000002"):
        pass
    assert row_counts(path)["daily_prices"] == 0


def test_a_creation_killed_at_any_moment_can_be_done_again(tmp_path: Path) -> None:
    moments = random.Random("creation")
    finished = []
    for number in range(6):
        path = tmp_path / str(number) / "warehouse.duckdb"
        finished.append(killed_after(moments.uniform(0, 0.12), create_only, path))
        with Warehouse(path, lock_wait_seconds=0).writing("00000000-0000-0000-0000-000000000002"):
            pass
        assert row_counts(path)["load_runs"] == 0
    assert False in finished


def side_by_side(path: Path, market: SimulatedMarket, *shares: Sequence[str]) -> list[int]:
    """Load each share of the symbols in a process of its own, at once; what each inserted."""
    loads = [begun(report_load, path, market, share) for share in shares]
    for _, pipe in loads:
        assert pipe.recv() == "ready"
    for _, pipe in loads:
        pipe.send("go")
    inserted: list[int] = []
    for process, pipe in loads:
        with pipe:
            assert wait([pipe, process.sentinel], timeout=60)
            inserted.append(pipe.recv())
            process.join()
            assert process.exitcode == 0
    return inserted


def test_two_loads_at_once_lose_nothing_and_store_what_both_ask_for_once(
    tmp_path: Path, market: SimulatedMarket, undisturbed: Undisturbed
) -> None:
    path = tmp_path / "warehouse.duckdb"
    symbols = market.symbols()
    assert sum(side_by_side(path, market, symbols[:15], symbols[5:])) == 4667
    assert_same(path, undisturbed)
    assert row_counts(path)["daily_prices_revisions"] == 0


@pytest.mark.slow
def test_three_loads_at_once_of_the_same_symbols_store_each_row_once(
    tmp_path: Path, market: SimulatedMarket, undisturbed: Undisturbed
) -> None:
    path = tmp_path / "warehouse.duckdb"
    assert sum(side_by_side(path, market, *[market.symbols()] * 3)) == 4667
    assert_same(path, undisturbed)
    assert row_counts(path)["daily_prices_revisions"] == 0
