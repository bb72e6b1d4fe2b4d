"""Real processes of the command line, killed, stopped and set upon one another.

Whatever happens to them, the next run and ``reconcile`` lead to partitions that say what is in the
warehouse, no error about a lock is ever shown, and nothing that was stored is lost.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep

import pyarrow as pa
import pytest

from quant_assets.orchestration.instance.instance import open_instance
from quant_assets_tests.standins.faults import (
    DataFolder,
    Ended,
    Nursery,
    State,
    clean_environment,
    end_group,
    nursing,
    window,
)
from quant_assets_tests.warehouse.test_durability import FACTS, duplicates, facts

KILLS = int(os.environ.get("KILLS", "5"))
SECONDS_OF_WRITERS = float(os.environ.get("SECONDS_OF_WRITERS", "3"))
"""``make faults`` has 50 kills and a minute of writers."""
COMPANIES = 12
AT_ONCE = 3
"""Symbols in an answer of the market: a load then has four of them."""

TROUBLE = re.compile(r"traceback|error|\block|in use|exception", re.IGNORECASE)
STOPPED = "Stopped. What was stored stays; the same command goes on from there."


@pytest.fixture(scope="module")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    with nursing(tmp_path_factory.mktemp("commands")) as under_way:
        assert under_way.run(["--help"], {}).code == 0
        yield under_way


@dataclass(frozen=True)
class Undisturbed:
    """A backfill done in one go: what it stored, by table, and how long it took."""

    folder: DataFolder
    facts: dict[str, pa.Table]
    keys: set[str]
    seconds: float


@pytest.fixture(scope="module")
def undisturbed(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    folder = DataFolder(tmp_path_factory.mktemp("undisturbed"), COMPANIES)
    with open_instance(folder.path / "data"):
        pass
    began = monotonic()
    ended = nursery.run(folder.backfill(), folder.environment, at_once=AT_ONCE)
    seconds = monotonic() - began
    assert ended.code == 0, ended.printed
    state = folder.state()
    assert state.differing == state.red == state.lacking == set()
    assert len(state.green) == len(window()) * COMPANIES
    stored = {table.name: facts(folder.warehouse, table) for table in FACTS}
    return Undisturbed(folder, stored, state.green, seconds)


@pytest.fixture
def copied(undisturbed: Undisturbed, tmp_path: Path) -> DataFolder:
    """A folder in which all is loaded and green."""
    return copy_of(undisturbed.folder, tmp_path)


def copy_of(folder: DataFolder, path: Path) -> DataFolder:
    """The folder at another place, with its history."""
    shutil.copytree(folder.path / "data", path / "data")
    (path / "data" / "dagster" / "dagster.yaml").unlink()  # it names the folder
    return DataFolder(path, folder.companies)


def assert_as_undisturbed(folder: DataFolder, undisturbed: Undisturbed) -> State:
    """All is loaded and green, nothing is held, and the rows are those of one quiet load."""
    state = folder.state()
    assert state.lacking == state.red == state.differing == set()
    assert state.green == undisturbed.keys
    assert state.held == {}
    for table in FACTS:
        assert facts(folder.warehouse, table).equals(undisturbed.facts[table.name]), table.name
    assert duplicates(folder.warehouse) == []
    with folder.platform().warehouse.reading() as con:
        assert con.execute("select count(*) from daily_prices_revisions").fetchall() == [(0,)]
    return state


def run_to_the_end(nursery: Nursery, folder: DataFolder, undisturbed: Undisturbed) -> None:
    ended = nursery.run(folder.backfill(), folder.environment, at_once=AT_ONCE)
    assert ended.code == 0, ended.printed
    assert not TROUBLE.search(ended.printed), ended.printed
    assert_as_undisturbed(folder, undisturbed)


def reconcile(nursery: Nursery, folder: DataFolder, *words: str) -> Ended:
    return nursery.run(["reconcile", *words], folder.environment)


def differences(nursery: Nursery, folder: DataFolder, *words: str) -> dict[str, list[str]]:
    """What ``reconcile --json`` names, without what it counts."""
    ended = reconcile(nursery, folder, "--json", *words)
    found = json.loads(ended.printed)
    return {name: found[name] for name in ("unseen", "lost", "unseen_failures", "tickers", "busy")}


AGREED: dict[str, list[str]] = {
    "unseen": [],
    "lost": [],
    "unseen_failures": [],
    "tickers": [],
    "busy": [],
}


# --- kill -9 -------------------------------------------------------------------------------------


FOLLOWS = ("another kill",) * 5 + ("reconcile",) * 2 + ("the next run",)


@dataclass
class Killing:
    """Backfills of folders that are killed over and over, and what was under way each time."""

    nursery: Nursery
    undisturbed: Undisturbed
    path: Path
    hit: Counter[str] = field(default_factory=Counter)
    folders: int = 0

    @property
    def empty(self) -> DataFolder:
        return DataFolder(self.path / "empty", COMPANIES)

    def new_folder(self) -> DataFolder:
        """A new folder; four in five have a history in which nothing has happened yet."""
        self.folders += 1
        path = self.path / str(self.folders)
        path.mkdir()
        if self.folders % 5 == 0:
            return DataFolder(path, COMPANIES)
        if not self.empty.path.exists():
            with open_instance(self.empty.path / "data"):
                pass
        return copy_of(self.empty, path)

    def kill(self, folder: DataFolder, seconds: float) -> bool:
        """Kill a backfill so long after it began; False if it had ended before."""
        before = set(self._runs(folder))
        command = self.nursery.start(folder.backfill(), folder.environment, at_once=AT_ONCE)
        ended = command.wait(seconds)
        if ended is None:
            ended = command.end(signal.SIGKILL)
        assert ended.code in (0, -signal.SIGKILL), ended.printed
        if ended.code == 0:
            return False
        runs = self._runs(folder)
        new = next(iter(runs.keys() - before), None)
        self.hit[self._stage(folder, new, runs.get(new or "", ""))] += 1
        return True

    def _runs(self, folder: DataFolder) -> dict[str, str]:
        if not (folder.path / "data" / "dagster").exists():
            return {}
        with open_instance(folder.path / "data") as instance:
            return {run.run_id: run.status.value for run in instance.get_runs()}

    def _stage(self, folder: DataFolder, run: str | None, status: str) -> str:
        if run is None:
            return "starting"
        if status in ("NOT_STARTED", "SUCCESS"):
            return {"NOT_STARTED": "creating its run", "SUCCESS": "leaving"}[status]
        if not folder.warehouse.exists():
            return "fetching"
        query = "select count(*) from load_run_symbols where run_id = ?"
        with folder.platform().warehouse.reading() as con:
            [(stored,)] = con.execute(query, [run]).fetchall()
        return "storing and telling" if stored else "fetching"

    def reconciled(self, folder: DataFolder) -> None:
        """After a kill and ``reconcile`` alone, partitions are what the warehouse has."""
        assert reconcile(self.nursery, folder).code == 0
        state = folder.state()
        assert state.differing == state.red == set()
        assert state.busy == set()


@pytest.mark.slow
def test_a_backfill_killed_at_any_moment_of_its_life_is_made_good_each_time(
    nursery: Nursery, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    chance = random.Random(50)
    moments = [(number + chance.random()) / KILLS for number in range(KILLS)]
    chance.shuffle(moments)
    killing = Killing(nursery, undisturbed, tmp_path)
    folder = killing.new_folder()
    while moments:
        if not killing.kill(folder, moments[-1] * undisturbed.seconds):
            assert_as_undisturbed(folder, undisturbed)
            folder = killing.new_folder()
            # The machine has been faster than for the undisturbed one.
            moments[-1] *= 0.8
            continue
        moments.pop()
        follows = chance.choice(FOLLOWS)
        if follows == "reconcile":
            killing.reconciled(folder)
        elif follows == "the next run":
            run_to_the_end(nursery, folder, undisturbed)
            folder = killing.new_folder()
    run_to_the_end(nursery, folder, undisturbed)
    print(f"\n{dict(killing.hit)}, {killing.folders} folders, {undisturbed.seconds:.1f} s a run")
    assert killing.hit.total() == KILLS
    # A few kills need not have met every stage.
    stages = {"starting", "fetching", "storing and telling"}
    assert len(killing.hit.keys() & stages) >= (2 if KILLS < 20 else 3)


@pytest.mark.slow
def test_the_command_itself_killed_from_its_start_on_is_made_good(
    nursery: Nursery, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    """As a user starts it, imports included; the moments are told by what stands in the folder."""
    folder = DataFolder(tmp_path, COMPANIES)
    history = tmp_path / "data" / "dagster"
    for moment in (tmp_path, history / "history" / "runs.db", tmp_path / "data" / "runs"):
        process = begin(folder)
        wait_for(moment, process)
        process.kill()
        assert process.wait(timeout=30) == -signal.SIGKILL
        end_group(process.pid)
    run_to_the_end(nursery, folder, undisturbed)
    assert differences(nursery, folder, "--dry-run") == AGREED


def begin(folder: DataFolder) -> subprocess.Popen[bytes]:
    """The real command line, in a group of its own."""
    with (folder.path / "log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "quant_assets.cli", *folder.backfill()],
            cwd=folder.path,
            env={**clean_environment(), **folder.environment},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def wait_for(path: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = monotonic() + 60
    while not path.exists():
        assert process.poll() is None, process.returncode
        assert monotonic() < deadline, path
        sleep(0.005)


def test_a_dead_run_does_not_keep_the_next_from_its_pool(
    nursery: Nursery, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    folder = DataFolder(tmp_path, COMPANIES)
    command = nursery.start(folder.backfill(), folder.environment, at_once=1, slow=60)
    wait_until(lambda: bool(folder.busy()))
    before = folder.state()
    assert before.slots_held == 1
    assert before.busy == set(folder.platform().simulated_market().symbols())
    assert list(before.unfinished.values()) == ["STARTED"]
    command.end(signal.SIGKILL)
    run_to_the_end(nursery, folder, undisturbed)
    with open_instance(tmp_path / "data") as instance:
        statuses = {run.run_id: run.status.value for run in instance.get_runs()}
    assert sorted(statuses.values()) == ["FAILURE", "SUCCESS"]
    assert statuses[next(iter(before.unfinished))] == "FAILURE"


def wait_until(true: Callable[[], bool], *, seconds: float = 60) -> None:
    deadline = monotonic() + seconds
    while not true():
        assert monotonic() < deadline
        sleep(0.02)


# --- SIGTERM and Ctrl-C --------------------------------------------------------------------------


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_command_that_is_stopped_says_so_and_the_next_goes_on(
    nursery: Nursery,
    undisturbed: Undisturbed,
    tmp_path: Path,
    number: signal.Signals,
    code: int,
) -> None:
    """In its run, as chunks are stored; the first one is there already."""
    folder = DataFolder(tmp_path, COMPANIES)
    command = nursery.start(folder.backfill(), folder.environment, at_once=AT_ONCE, slow=0.3)
    wait_until(lambda: folder.warehouse.exists() and stored_symbols(folder) > 0)
    ended = command.end(number)
    assert ended.code == code
    assert ended.printed.splitlines()[-1] == STOPPED
    assert not TROUBLE.search(ended.printed), ended.printed
    kept = stored_symbols(folder)
    assert 0 < kept < COMPANIES
    assert folder.state().held == {}
    asked = tmp_path / "asked"
    again = nursery.run(folder.backfill(), folder.environment, asked=str(asked))
    assert again.code == 0, again.printed
    assert len(asked.read_text().splitlines()) <= COMPANIES - kept
    assert_as_undisturbed(folder, undisturbed)


def stored_symbols(folder: DataFolder) -> int:
    with folder.platform().warehouse.reading() as con:
        [(number,)] = con.execute("select count(*) from load_run_symbols").fetchall()
    return int(number)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_command_stopped_at_any_moment_ends_with_a_sentence(
    nursery: Nursery,
    undisturbed: Undisturbed,
    tmp_path: Path,
    number: signal.Signals,
    code: int,
) -> None:
    moments = random.Random(int(number))
    folder = DataFolder(tmp_path, COMPANIES)
    everything = [*folder.backfill(), "--force"]
    stopped = 0
    for _ in range(4):
        # The market takes two seconds to answer, however fast the machine is.
        command = nursery.start(everything, folder.environment, at_once=AT_ONCE, slow=0.5)
        ended = command.wait(moments.uniform(0.1, 2))
        if ended is None:
            ended = command.end(number)
        if ended.code == -number:
            assert ended.printed == ""  # it had not begun
        elif ended.code:
            assert ended.code == code, ended.printed
            assert ended.printed.splitlines()[-1] == STOPPED
            stopped += 1
    assert stopped > 1
    run_to_the_end(nursery, folder, undisturbed)


def test_a_backfill_without_dagster_that_is_stopped_ends_the_same_way(
    nursery: Nursery, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    folder = DataFolder(tmp_path, COMPANIES)
    words = [word for word in folder.backfill() if word != "--dagster"]
    command = nursery.start(words, folder.environment, at_once=AT_ONCE, slow=0.3)
    wait_until(lambda: folder.warehouse.exists() and stored_symbols(folder) > 0)
    ended = command.end(signal.SIGTERM)
    assert ended.code == 143
    assert ended.printed.splitlines()[-1] == STOPPED
    assert not TROUBLE.search(ended.printed), ended.printed
    run_to_the_end(nursery, folder, undisturbed)


# --- at once -------------------------------------------------------------------------------------


@pytest.mark.parametrize("other", ["--dagster", ""])
def test_two_backfills_of_the_same_symbols_ask_for_each_once_between_them(
    nursery: Nursery, undisturbed: Undisturbed, tmp_path: Path, other: str
) -> None:
    folder = DataFolder(tmp_path, COMPANIES)
    words = [
        [word for word in folder.backfill() if word != "--dagster" or which]
        for which in ("--dagster", other)
    ]
    asked = tmp_path / "asked"
    both = [
        nursery.start(each, folder.environment, at_once=AT_ONCE, slow=0.05, asked=str(asked))
        for each in words
    ]
    for command in both:
        ended = command.wait(120)
        assert ended is not None
        assert ended.code == 0, ended.printed
        assert not TROUBLE.search(ended.printed), ended.printed
    times = Counter(line.split()[1] for line in asked.read_text().splitlines())
    assert set(times.values()) == {1}
    assert times.keys() == set(folder.platform().simulated_market().symbols())
    assert differences(nursery, folder) == AGREED
    assert_as_undisturbed(folder, undisturbed)


def test_a_run_that_waits_for_its_pool_goes_on_when_the_other_is_killed(
    nursery: Nursery, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    folder = DataFolder(tmp_path, COMPANIES)
    first = nursery.start(folder.backfill(), folder.environment, at_once=1, slow=60)
    wait_until(lambda: bool(folder.busy()))
    second = nursery.start(folder.backfill(), folder.environment, at_once=AT_ONCE)
    wait_until(lambda: len(folder.unfinished()) == 2)
    first.end(signal.SIGKILL)
    ended = second.wait(30)
    assert ended is not None, second.log.read_text()
    assert ended.code == 0, ended.printed
    run_to_the_end(nursery, folder, undisturbed)


@pytest.mark.slow
def test_five_writers_and_two_readers_never_see_an_error(
    nursery: Nursery, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    """Each loads other spans of some of the symbols, with Dagster and without, again and again."""
    folder = DataFolder(tmp_path, COMPANIES)
    seconds, chance = SECONDS_OF_WRITERS, random.Random(5)
    symbols, days = folder.platform().simulated_market().symbols(), window()
    assert nursery.run(folder.backfill(days[:5], symbols[:2]), folder.environment).code == 0
    everyone = []
    for writer in range(5):
        each = []
        for number in range(40):
            last = min(len(days), 5 + number * 2 + chance.randrange(8))
            words = folder.backfill(days[:last], chance.sample(symbols, 6))
            plain = number % 3 == writer % 3
            each.append([word for word in words if not (plain and word == "--dagster")])
        work = {"seconds": seconds, "each": each}
        everyone.append(nursery.start(["write", json.dumps(work)], folder.environment, at_once=2))
    for _ in range(2):
        work = {
            "seconds": seconds,
            "pause": 0.2,
            "symbols": symbols[:2],
            "days": [str(days[0]), str(days[-1])],
        }
        everyone.append(nursery.start(["read", json.dumps(work)], folder.environment))
    done = []
    for command in everyone:
        ended = command.wait(seconds + 90)
        assert ended is not None, command.log.read_text()
        assert ended.code == 0, ended.printed
        assert not TROUBLE.search(ended.printed), ended.printed
        done.append(ended.printed.splitlines()[-1])
    print("\n" + "; ".join(done))
    assert all(re.match(r"[1-9]\d* ", line) for line in done), done
    assert differences(nursery, folder) | {"unseen": [], "tickers": []} == AGREED
    state = folder.state()
    assert state.differing == state.red == set()
    assert state.held == {}
    run_to_the_end(nursery, folder, undisturbed)


# --- another file in its place -------------------------------------------------------------------


def test_a_restored_older_warehouse_shows_exactly_what_is_green_without_data(
    nursery: Nursery, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    folder = DataFolder(tmp_path, COMPANIES)
    days, symbols = window(), folder.platform().simulated_market().symbols()
    early, late = days[:20], days[20:]
    first = nursery.run(folder.backfill(early, symbols[:8]), folder.environment)
    assert first.code == 0, first.printed
    older = tmp_path / "older.duckdb"
    shutil.copyfile(folder.warehouse, older)
    run_to_the_end(nursery, folder, undisturbed)
    older.replace(folder.warehouse)

    lost = folder.state().lacking
    assert lost >= {f"{day}|{symbol}" for day in late[:2] for symbol in symbols[:4]}
    assert lost < undisturbed.keys
    planned = differences(nursery, folder, "--dry-run")
    assert len(planned["lost"]) == len(lost)
    assert planned == {**AGREED, "lost": planned["lost"], "tickers": planned["tickers"]}
    assert set(planned["lost"]) == lost
    assert folder.state().green == undisturbed.keys

    assert reconcile(nursery, folder).code == 1
    state = folder.state()
    assert (state.red, state.green) == (lost, undisturbed.keys - lost)
    assert differences(nursery, folder, "--dry-run") == AGREED
    run_to_the_end(nursery, folder, undisturbed)


def test_a_lost_history_is_restored_from_the_warehouse(
    nursery: Nursery, undisturbed: Undisturbed, copied: DataFolder
) -> None:
    shutil.rmtree(copied.path / "data" / "dagster")
    found = differences(nursery, copied, "--dry-run")
    symbols = set(copied.platform().simulated_market().symbols())
    # A ticker that was given up is no longer a partition of its own, until somebody asks for it.
    assert symbols - set(found["tickers"]) == {"XDAFU"}
    borne = undisturbed.keys - copied.state().unborne
    assert set(found["unseen"]) >= {key for key in borne if not key.endswith("|XDAFU")}
    assert found["lost"] == found["unseen_failures"] == []
    assert reconcile(nursery, copied).code == 0
    state = copied.state()
    assert {key for key in state.differing if not key.endswith("|XDAFU")} == state.red == set()
    run_to_the_end(nursery, copied, undisturbed)
