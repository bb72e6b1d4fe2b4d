"""Claims on symbols and the locks that say whose process is alive, with real processes and threads.

Two loads that meet are started by one another's answers, so nothing here waits for the clock.
"""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from quant_assets.contracts.prices import PriceAnswer
from quant_assets.contracts.source import Request, SourceProfile
from quant_assets.loading.claims import Claims, claimed_symbols
from quant_assets.loading.report import LoadReport
from quant_assets.loading.run import ClaimedElsewhereError
from quant_assets.loading.work import Window
from quant_assets.reference.calendars import Calendar
from quant_assets.schema.prices import DAILY_PRICES
from quant_assets.sources.simulated.market import SimulatedMarket
from quant_assets.warehouse.liveness import alive, is_alive
from quant_assets.warehouse.warehouse import Warehouse
from quant_assets_tests.standins.loads import load_prices
from quant_assets_tests.warehouse.test_durability import END, year_of

START = END.replace(day=1)
OURS, THEIRS, THIRD = (f"00000000-0000-0000-0000-00000000000{number}" for number in (1, 2, 3))
TWO = ("XDADA", "XDADE")

PROCESSES = multiprocessing.get_context("forkserver")


def be_alive(pipe: Connection, folder: Path, name: str) -> None:
    with alive(folder, name):
        pipe.send("alive")
        pipe.recv()


@contextmanager
def another_process(folder: Path, name: str) -> Iterator[Callable[[], None]]:
    """A process that is alive under a name; gives what kills it."""
    here, there = PROCESSES.Pipe()
    process = PROCESSES.Process(target=be_alive, args=(there, folder, name), daemon=True)
    process.start()
    there.close()

    def kill() -> None:
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL

    with here:
        assert here.recv() == "alive"
        yield kill
        process.kill()
        process.join()


# --- alive ---------------------------------------------------------------------------------------


def test_work_is_alive_from_its_beginning_to_its_end(tmp_path: Path) -> None:
    assert not is_alive(tmp_path, OURS)
    with alive(tmp_path, OURS):
        assert is_alive(tmp_path, OURS)
        assert not is_alive(tmp_path, THEIRS)
    assert not is_alive(tmp_path, OURS)
    assert list(tmp_path.iterdir()) == []


def test_work_within_work_of_the_same_name_does_not_end_it(tmp_path: Path) -> None:
    with alive(tmp_path, OURS):
        with alive(tmp_path, OURS):
            assert is_alive(tmp_path, OURS)
        assert is_alive(tmp_path, OURS)
    assert not is_alive(tmp_path, OURS)


def test_work_that_fails_is_over(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="broken"), alive(tmp_path, OURS):
        raise ValueError("broken")
    assert not is_alive(tmp_path, OURS)


def test_looking_at_live_work_does_not_end_it(tmp_path: Path) -> None:
    with another_process(tmp_path, OURS) as kill:
        assert [is_alive(tmp_path, OURS) for _ in range(3)] == [True] * 3
        kill()
        assert not is_alive(tmp_path, OURS)


def test_a_killed_process_leaves_a_file_that_the_next_look_removes(tmp_path: Path) -> None:
    with another_process(tmp_path, OURS) as kill:
        kill()
    assert [path.name for path in tmp_path.iterdir()] == [f"{OURS}.alive"]
    assert not is_alive(tmp_path, OURS)
    assert list(tmp_path.iterdir()) == []


def test_a_name_whose_process_was_killed_can_be_borne_again(tmp_path: Path) -> None:
    with another_process(tmp_path, OURS) as kill:
        kill()
    with alive(tmp_path, OURS):
        assert is_alive(tmp_path, OURS)


# --- claims --------------------------------------------------------------------------------------


def claims(warehouse: Warehouse, run_id: str, source: str = "simulated") -> Claims:
    return Claims(warehouse.runs, DAILY_PRICES.name, source, run_id)


def take(warehouse: Warehouse, run_id: str, *symbols: str, source: str = "simulated") -> object:
    with warehouse.writing(run_id) as writing:
        return claims(warehouse, run_id, source).take(writing, symbols)


def claimed(warehouse: Warehouse) -> dict[str, str]:
    with warehouse.reading() as con:
        return dict(con.execute("select symbol, run_id::varchar from load_claims").fetchall())


def test_a_symbol_that_a_live_run_has_is_not_given_away(warehouse: Warehouse) -> None:
    with another_process(warehouse.runs, THEIRS):
        assert take(warehouse, THEIRS, "AAPL", "IBM") == {}
        assert take(warehouse, OURS, "AAPL", "KO") == {"AAPL": THEIRS}
        assert claimed(warehouse) == {"AAPL": THEIRS, "IBM": THEIRS, "KO": OURS}


def test_the_claim_of_a_killed_process_is_taken_over(warehouse: Warehouse) -> None:
    with another_process(warehouse.runs, THEIRS) as kill:
        take(warehouse, THEIRS, "AAPL", "IBM")
        kill()
    assert take(warehouse, OURS, "AAPL") == {}
    assert claimed(warehouse) == {"AAPL": OURS, "IBM": THEIRS}


def test_a_run_meets_no_claim_of_its_own(warehouse: Warehouse) -> None:
    with alive(warehouse.runs, OURS):
        take(warehouse, OURS, "AAPL")
        assert take(warehouse, OURS, "AAPL", "IBM") == {}
        assert claims(warehouse, OURS).wait(warehouse, ["AAPL"], 0) == {}


def test_claims_are_of_one_source(warehouse: Warehouse) -> None:
    with another_process(warehouse.runs, THEIRS):
        take(warehouse, THEIRS, "AAPL")
        assert take(warehouse, OURS, "AAPL", source="files:ours") == {}
        with warehouse.writing(OURS) as writing:
            claims(warehouse, OURS, "files:ours").release(writing, ["AAPL"])
        assert claimed(warehouse) == {"AAPL": THEIRS}


def test_a_run_gives_up_its_own_claims_alone(warehouse: Warehouse) -> None:
    with alive(warehouse.runs, OURS), another_process(warehouse.runs, THEIRS):
        take(warehouse, OURS, "AAPL", "IBM")
        take(warehouse, THEIRS, "KO")
        with warehouse.writing(OURS) as writing:
            claims(warehouse, OURS).release(writing, ["AAPL", "KO"])
        assert claimed(warehouse) == {"IBM": OURS, "KO": THEIRS}


def test_waiting_ends_with_those_still_held(warehouse: Warehouse) -> None:
    with another_process(warehouse.runs, THEIRS):
        take(warehouse, THEIRS, "AAPL")
        held = claims(warehouse, OURS).wait(warehouse, ["AAPL", "IBM"], 0)
        assert held == {"AAPL": THEIRS}


def test_the_symbols_claimed_are_those_of_live_runs(warehouse: Warehouse) -> None:
    with another_process(warehouse.runs, THEIRS), another_process(warehouse.runs, THIRD) as kill:
        take(warehouse, THEIRS, "AAPL")
        take(warehouse, THIRD, "IBM")
        kill()
        with warehouse.reading() as con:
            assert claimed_symbols(con, warehouse.runs, DAILY_PRICES.name) == {"AAPL"}


# --- loads that meet -----------------------------------------------------------------------------


@dataclass
class Watched:
    """A market that keeps what it was asked for, and calls ``before`` with it first."""

    market: SimulatedMarket
    before: Callable[[Sequence[str]], None] = lambda symbols: None
    asked: list[str] = field(default_factory=list)

    @property
    def profile(self) -> SourceProfile:
        return self.market.profile

    def symbols(self) -> tuple[str, ...]:
        return self.market.symbols()

    def fetch(self, requests: Sequence[Request]) -> Iterator[PriceAnswer]:
        symbols = [request.symbol for request in requests]
        self.asked += symbols
        self.before(symbols)
        yield from self.market.fetch(requests)


@pytest.fixture(scope="module")
def market(calendar: Calendar) -> SimulatedMarket:
    return year_of(2, calendar)


def load_two(
    warehouse: Warehouse,
    source: Watched,
    *,
    symbols: Sequence[str] = TWO,
    run_id: str | None = None,
    seconds: float = 60.0,
    on_progress: Callable[[int, int, str], None] = lambda done, total, what: None,
) -> LoadReport:
    return load_prices(
        warehouse,
        source,
        Window(tuple(symbols), START, END),
        source.market.calendar,
        identities=source.market.fetch_universe().names,
        run_id=run_id,
        claim_wait_seconds=seconds,
        on_progress=on_progress,
    )


def test_a_load_waits_for_another_and_finds_the_rows_there(
    warehouse: Warehouse, market: SimulatedMarket
) -> None:
    """The first one's source answers once the second is waiting."""
    asked, waits = threading.Event(), threading.Event()

    def answer_late(symbols: Sequence[str]) -> None:
        asked.set()
        assert waits.wait(30)

    def watch(done: int, total: int, what: str) -> None:
        if what.startswith("waiting"):
            waits.set()

    first, second = Watched(market, answer_late), Watched(market)
    thread = threading.Thread(target=load_two, args=(warehouse, first))
    thread.start()
    assert asked.wait(30)
    report = load_two(warehouse, second, on_progress=watch)
    thread.join()
    assert (first.asked, second.asked) == (list(TWO), [])
    assert (report.up_to_date, report.symbols) == (2, ())
    assert claimed(warehouse) == {}


def test_a_load_takes_over_what_a_killed_one_had_claimed(
    warehouse: Warehouse, market: SimulatedMarket
) -> None:
    with another_process(warehouse.runs, THEIRS) as kill:
        take(warehouse, THEIRS, *TWO)
        kill()
    source = Watched(market)
    said: list[str] = []
    report = load_two(warehouse, source, on_progress=lambda done, total, what: said.append(what))
    assert source.asked == list(TWO)
    assert report.total("failed") == 0
    assert not [what for what in said if what.startswith("waiting")]
    assert claimed(warehouse) == {}


def test_a_load_goes_on_when_the_one_it_waits_for_is_killed(
    warehouse: Warehouse, market: SimulatedMarket
) -> None:
    with another_process(warehouse.runs, THEIRS) as kill:
        take(warehouse, THEIRS, TWO[0])

        def watch(done: int, total: int, what: str) -> None:
            if what.startswith("waiting"):
                kill()

        source = Watched(market)
        report = load_two(warehouse, source, on_progress=watch)
    assert source.asked == [TWO[1], TWO[0]]
    assert report.total("failed") == 0


def test_a_wait_in_vain_fails_the_symbol_and_says_what_to_do(
    warehouse: Warehouse, market: SimulatedMarket
) -> None:
    source = Watched(market)
    with another_process(warehouse.runs, THEIRS):
        take(warehouse, THEIRS, TWO[0])
        report = load_two(warehouse, source, run_id=OURS, seconds=0)
        assert claimed(warehouse) == {TWO[0]: THEIRS}
    assert source.asked == [TWO[1]]
    errors = {row.symbol: row.error for row in report.symbols}
    assert errors == {
        TWO[0]: str(ClaimedElsewhereError("simulated", TWO[0], THEIRS, 0)),
        TWO[1]: None,
    }
    assert f"{TWO[0]} has been asked for by run {THEIRS}" in str(errors[TWO[0]])
    assert "Look at that run, or end it; then load the symbol again." in str(errors[TWO[0]])
    assert report.needs_attention
    assert load_two(warehouse, source).total("failed") == 0
    assert source.asked == [TWO[1], TWO[0]]


def test_what_another_load_recorded_since_the_plan_is_not_asked_for_again(
    warehouse: Warehouse, market: SimulatedMarket
) -> None:
    """Between its plan and its claim a load tells that it is asking; another runs just then."""
    source, other = Watched(market), Watched(market)
    overtaken: list[str] = []

    def overtake(done: int, total: int, what: str) -> None:
        if what == "asking the source" and not overtaken:
            overtaken.append(what)
            load_two(warehouse, other, symbols=TWO[:1])

    report = load_two(warehouse, source, on_progress=overtake)
    assert other.asked == [TWO[0]]
    assert source.asked == [TWO[1]]
    assert report.up_to_date == 1
    with warehouse.reading() as con:
        rows = con.execute("select count(*) from daily_prices_revisions").fetchall()
    assert rows == [(0,)]


def test_a_load_that_waits_holds_nothing_that_another_may_wait_for(
    warehouse: Warehouse, calendar: Calendar
) -> None:
    """Two that each kept a symbol and waited for the other's would wait for ever."""
    market = year_of(3, calendar)
    third = market.symbols()[2]
    source, other = Watched(market), Watched(market)
    held: list[dict[str, str]] = []
    with another_process(warehouse.runs, THEIRS) as kill:
        take(warehouse, THEIRS, TWO[0])

        def watch(done: int, total: int, what: str) -> None:
            if what == "asking the source" and not other.asked:
                load_two(warehouse, other, symbols=[third])
            if what.startswith("waiting"):
                held.append(claimed(warehouse))
                kill()

        load_two(warehouse, source, on_progress=watch)
    assert held[0] == {TWO[0]: THEIRS}
    assert sorted(source.asked) == sorted(TWO)


def test_a_claim_is_gone_with_the_rows_it_was_for(
    warehouse: Warehouse, market: SimulatedMarket
) -> None:
    held: list[dict[str, str]] = []
    source = Watched(market, lambda symbols: held.append(claimed(warehouse)))
    load_two(warehouse, source, run_id=OURS)
    assert held == [dict.fromkeys(TWO, OURS)]
    assert claimed(warehouse) == {}
    assert not is_alive(warehouse.runs, OURS)
