"""Loads that are killed, and loads that run side by side: real processes, real SIGKILLs.

Whenever a load dies, each of its chunks is in the warehouse whole or not at all, nothing committed
before is gone, and the next load ends with what an undisturbed one would have brought.
"""

from __future__ import annotations

import datetime as dt
import multiprocessing
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from time import monotonic

import pyarrow as pa
import pytest

from quant_assets.calendars import Calendar
from quant_assets.loading import LoadReport, Window, load
from quant_assets.sources.contract import PriceAnswer, PriceRequest, SourceProfile
from quant_assets.sources.simulated import SimulatedMarket
from quant_assets.tables import CORPORATE_ACTIONS, DAILY_PRICES, LEDGER, SCHEMA, UNIVERSES, Table
from quant_assets.warehouse import Warehouse
from quant_assets_tests.conftest import NOW

START, END = dt.date(2023, 6, 1), dt.date(2024, 5, 31)
SESSIONS = 252
SYMBOLS = 40
SYMBOLS_AT_ONCE = 5

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["quant_assets.loading", "quant_assets.read", __name__])


@dataclass(frozen=True)
class SmallAnswers:
    """A market that answers five symbols at a time, so that a load has many transactions."""

    market: SimulatedMarket

    @property
    def profile(self) -> SourceProfile:
        return self.market.profile

    def symbols(self) -> tuple[str, ...]:
        return self.market.symbols()

    def fetch(self, requests: Sequence[PriceRequest]) -> Iterator[PriceAnswer]:
        for at in range(0, len(requests), SYMBOLS_AT_ONCE):
            yield from self.market.fetch(requests[at : at + SYMBOLS_AT_ONCE])


@pytest.fixture(scope="module")
def market(calendar: Calendar) -> SimulatedMarket:
    """A year of forty securities, on a calendar of that year only: it travels to each process."""
    days = calendar.between(START, END)
    first = calendar.sessions.index(days[0])
    closes_at = calendar.closes_at[first : first + len(days)]
    return SimulatedMarket(Calendar(calendar.name, days, closes_at), START, END, SYMBOLS)


def load_all(path: Path, market: SimulatedMarket, symbols: Sequence[str] = ()) -> LoadReport:
    warehouse = Warehouse(path, clock=lambda: NOW)
    window = Window(tuple(symbols) or market.symbols(), START, END)
    names = market.fetch_universe().names
    return load(warehouse, SmallAnswers(market), window, market.calendar, identities=names)


def report_load(
    pipe: Connection, path: Path, market: SimulatedMarket, symbols: Sequence[str] = ()
) -> None:
    """A load in a process of its own, begun when told to."""
    pipe.send("ready")
    pipe.recv()
    report = load_all(path, market, symbols)
    pipe.send(report.total("inserted"))


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


def counts(path: Path) -> dict[str, int]:
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


def half_stored(path: Path, market: SimulatedMarket) -> list[tuple[object, ...]]:
    """Securities of which some days are stored and others not, or whose record says otherwise.

    A whole one has every session as a price or in the ledger, its names on record, all its
    corporate actions, and counts in load_run_symbols that agree.
    """
    del market
    with Warehouse(path).reading() as con:
        return con.execute(
            "with prices as (select security_id, count(*) as n from daily_prices group by 1),"
            "ledger as (select security_id, count(*) as n from symbol_day_ledger group by 1),"
            "told as (select security_id, sum(inserted) as inserted, max(empty) as empty"
            " from load_run_symbols group by 1) "
            "select security_id, p.n, l.n, t.inserted, t.empty from securities"
            " left join prices p using (security_id) left join ledger l using (security_id)"
            " left join told t using (security_id)"
            " where coalesce(p.n, 0) + coalesce(l.n, 0) <> $sessions"
            " or t.inserted is distinct from coalesce(p.n, 0) or t.empty <> coalesce(l.n, 0)"
            " or not exists (from symbol_history h where h.security_id = securities.security_id)",
            {"sessions": SESSIONS},
        ).fetchall()


@dataclass(frozen=True)
class Undisturbed:
    """A load done in one go: what it stored, and how long it took."""

    prices: pa.Table
    actions: pa.Table
    ledger: pa.Table
    seconds: float


@pytest.fixture(scope="module")
def undisturbed(
    market: SimulatedMarket, tmp_path_factory: pytest.TempPathFactory
) -> Undisturbed:
    path = tmp_path_factory.mktemp("undisturbed") / "warehouse.duckdb"
    process, pipe = begun(report_load, path, market)
    with pipe:
        assert pipe.recv() == "ready"
        began = monotonic()
        pipe.send("go")
        inserted = pipe.recv()
        seconds = monotonic() - began
        print('SECONDS', seconds)
        process.join()
    prices = facts(path, DAILY_PRICES)
    assert prices.num_rows == inserted == 9273
    return Undisturbed(
        prices, facts(path, CORPORATE_ACTIONS), facts(path, LEDGER), seconds
    )


def assert_as_undisturbed(path: Path, undisturbed: Undisturbed) -> None:
    assert facts(path, DAILY_PRICES) == undisturbed.prices
    assert facts(path, CORPORATE_ACTIONS) == undisturbed.actions
    assert facts(path, LEDGER) == undisturbed.ledger
    assert duplicates(path) == []


def kill_loads(
    folder: Path, market: SimulatedMarket, undisturbed: Undisturbed, *, kills: int, within: float
) -> int:
    """Kill ``kills`` loads, each ``within`` that part of its time, and look after each.

    A load goes on where the one before it died; once one gets through, a new warehouse is begun.
    Returns how many warehouses were begun.
    """
    moments = random.Random(f"{kills} kills")
    warehouses, died = 1, 0
    before: dict[str, int] = {}
    while died < kills:
        path = folder / str(warehouses) / "warehouse.duckdb"
        delay = moments.uniform(0, within * undisturbed.seconds)
        finished = killed_after(delay, report_load, path, market)
        if finished:
            assert_as_undisturbed(path, undisturbed)
            warehouses, before = warehouses + 1, {}
            continue
        died += 1
        if not path.exists():
            assert not before
            continue
        after = counts(path)
        assert half_stored(path, market) == []
        lost = {name: (n, after[name]) for name, n in before.items() if after[name] < n}
        assert lost == {}
        before = after
    path = folder / str(warehouses) / "warehouse.duckdb"
    load_all(path, market)
    assert_as_undisturbed(path, undisturbed)
    assert half_stored(path, market) == []
    return warehouses


def test_a_load_killed_at_any_moment_leaves_whole_chunks_and_is_completed_by_the_next(
    tmp_path: Path, market: SimulatedMarket, undisturbed: Undisturbed
) -> None:
    kill_loads(tmp_path, market, undisturbed, kills=25, within=0.2)


@pytest.mark.slow
def test_a_load_killed_at_any_of_its_moments_leaves_whole_chunks(
    tmp_path: Path, market: SimulatedMarket, undisturbed: Undisturbed
) -> None:
    begun = kill_loads(tmp_path, market, undisturbed, kills=50, within=0.6)
    assert begun > 5


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
    assert counts(path)["daily_prices"] == 0


def test_a_creation_killed_at_any_moment_can_be_done_again(tmp_path: Path) -> None:
    moments = random.Random("creation")
    finished = []
    for number in range(15):
        path = tmp_path / str(number) / "warehouse.duckdb"
        finished.append(killed_after(moments.uniform(0, 0.12), create_only, path))
        with Warehouse(path, lock_wait_seconds=0).writing("00000000-0000-0000-0000-000000000002"):
            pass
        assert counts(path)["load_runs"] == 0
    assert False in finished


def side_by_side(
    path: Path, market: SimulatedMarket, *shares: Sequence[str]
) -> list[object]:
    """Load each share of the symbols in a process of its own, at once; what each inserted."""
    loads = [begun(report_load, path, market, share) for share in shares]
    for _, pipe in loads:
        assert pipe.recv() == "ready"
    for _, pipe in loads:
        pipe.send("go")
    inserted = []
    for process, pipe in loads:
        with pipe:
            assert wait([pipe, process.sentinel], timeout=60)
            inserted.append(pipe.recv())
            process.join()
            assert process.exitcode == 0
    return inserted


def test_two_loads_of_different_symbols_at_once_lose_nothing(
    tmp_path: Path, market: SimulatedMarket, undisturbed: Undisturbed
) -> None:
    path = tmp_path / "warehouse.duckdb"
    symbols = market.symbols()
    inserted = side_by_side(path, market, symbols[::2], symbols[1::2])
    assert sum(map(int, map(str, inserted))) == undisturbed.prices.num_rows
    assert_as_undisturbed(path, undisturbed)


def test_two_loads_of_the_same_symbols_at_once_store_each_row_once(
    tmp_path: Path, market: SimulatedMarket, undisturbed: Undisturbed
) -> None:
    path = tmp_path / "warehouse.duckdb"
    inserted = side_by_side(path, market, market.symbols(), market.symbols())
    assert sum(map(int, map(str, inserted))) == undisturbed.prices.num_rows
    assert_as_undisturbed(path, undisturbed)
    assert counts(path)["daily_prices_revisions"] == 0
    assert counts(path)[UNIVERSES.name] == 0
