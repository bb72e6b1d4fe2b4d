"""Command lines in processes of their own, begun at once and ended at any moment, for tests.

Importing the platform takes seconds, so a ``Nursery`` does it once and forks: what a child then
runs is ``quant_assets.cli.main`` from its first line, over the environment it is given.
``DataFolder`` gives the state after a fault; nothing is asserted here.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.definitions.partitions.context import partition_loading_context
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES
from dagster._core.storage.partition_status_cache import AssetPartitionStatus

import quant_assets.cli.in_process  # noqa: F401 - the command line imports it late
from quant_assets.cli.app import main
from quant_assets.contracts.prices import PriceAnswer
from quant_assets.contracts.source import Request
from quant_assets.datasets.daily_prices.key_states import KeyStates, key_states
from quant_assets.loading.claims import claimed_symbols
from quant_assets.orchestration.instance.instance import open_instance
from quant_assets.orchestration.runs.dataset_asset import PRICES
from quant_assets.orchestration.runs.partitions import SYMBOLS, key_text, symbol_days
from quant_assets.read.price_frames import prices
from quant_assets.reference.calendars import exchange_calendar
from quant_assets.schema.prices import DAILY_PRICES
from quant_assets.settings.settings import load_settings
from quant_assets.sources.simulated import market as simulated
from quant_assets.wiring.platform import Platform

PROJECT = Path(__file__).parents[2]
BEFORE, SESSIONS = 117, 32
"""Sessions of the market before the window, and in it: into it fall a rename, a delisted company
and the second one to bear its ticker."""

OURS = ("QUANT_ASSETS_", "DAGSTER_")


@cache
def window() -> tuple[dt.date, ...]:
    """The sessions to load, which have all closed some days ago."""
    calendar = exchange_calendar("XNYS")
    week_ago = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=7)
    return calendar.between(week_ago - dt.timedelta(days=400), week_ago)[-SESSIONS:]


@dataclass(frozen=True)
class DataFolder:
    """A data folder, the simulated market it is loaded from, and what stands in it."""

    path: Path
    companies: int = 12

    @property
    def environment(self) -> dict[str, str]:
        calendar = exchange_calendar("XNYS")
        first = window()[0]
        start = calendar.sessions[calendar.sessions.index(first) - BEFORE]
        return {
            "QUANT_ASSETS_HOME": str(self.path / "data"),
            "QUANT_ASSETS_SOURCE": "simulated",
            "QUANT_ASSETS_SIMULATED__SYMBOLS": str(self.companies),
            "QUANT_ASSETS_SIMULATED__START": str(start),
            "QUANT_ASSETS_PARTITION_START": str(first),
        }

    def platform(self) -> Platform:
        return Platform(load_settings(self.environment, working_directory=self.path))

    @property
    def warehouse(self) -> Path:
        return self.path / "data" / "warehouse.duckdb"

    def backfill(self, sessions: Sequence[dt.date] = (), symbols: Sequence[str] = ()) -> list[str]:
        """The words of a backfill; by default of everything."""
        days = sessions or window()
        some = ["--symbols", ",".join(symbols)] if symbols else []
        span = ["--start", str(days[0]), "--end", str(days[-1])]
        return ["backfill", "--dagster", "--source", "simulated", *span, *some]

    def outcomes(self) -> KeyStates:
        """The state of every symbol-day of the window in the warehouse."""
        platform = self.platform()
        requested = dict.fromkeys(platform.simulated_market().symbols(), window())
        return key_states(platform.warehouse, DAILY_PRICES, requested, window()[-1])

    def busy(self) -> set[str]:
        """Symbols with a live claim; far cheaper to read over and over than the whole state."""
        warehouse = self.platform().warehouse
        if not warehouse.exists():
            return set()
        with warehouse.reading() as con:
            return claimed_symbols(con, warehouse.runs, DAILY_PRICES.name)

    def unfinished(self) -> dict[str, str]:
        """Runs that have not ended, with their status."""
        with open_instance(self.path / "data") as instance:
            runs = instance.get_runs(dg.RunsFilter(statuses=NOT_FINISHED_STATUSES))
        return {run.run_id: run.status.value for run in runs}

    def state(self) -> State:
        """Dagster's side and the warehouse's."""
        platform = self.platform()
        found = self.outcomes()
        with open_instance(platform.settings.home_path) as instance:
            colours = _colours(instance, platform)
            pool = instance.event_log_storage.get_concurrency_info("prices")
        return State(
            green=colours["green"],
            red=colours["red"],
            stored={key_text(*day) for day in (*found.good, *found.empty)},
            rows=len(found.good),
            unborne={key_text(*day) for day in found.unborne},
            lacking={key_text(*day) for day in found.failed},
            unfinished=self.unfinished(),
            slots_held=pool.active_slot_count,
            busy=self.busy(),
        )


@dataclass(frozen=True)
class State:
    """Partition keys of the window by their state on each side, and what is still held.

    ``stored`` have a row or are confirmed empty, ``unborne`` those of them whose ticker had no
    bearer; ``unfinished`` are runs with their status, ``busy`` symbols with a live claim.
    """

    green: set[str]
    red: set[str]
    stored: set[str]
    rows: int
    unborne: set[str]
    lacking: set[str]
    unfinished: dict[str, str]
    slots_held: int
    busy: set[str]

    @property
    def differing(self) -> set[str]:
        """Keys on which the two sides differ; ``unborne`` ones may be green or not."""
        return (self.green ^ self.stored) - (self.unborne - self.green)

    @property
    def held(self) -> dict[str, object]:
        """What no process that is gone may hold any longer."""
        started = {run: is_ for run, is_ in self.unfinished.items() if is_ != "NOT_STARTED"}
        found = {"runs": started, "slots": self.slots_held, "symbols": self.busy}
        return {name: what for name, what in found.items() if what}


def _colours(instance: dg.DagsterInstance, platform: Platform) -> dict[str, set[str]]:
    partitions = symbol_days(platform.calendar, platform.settings.partition_start)
    days = [day.isoformat() for day in window()]
    keys = [f"{day}|{s}" for s in instance.get_dynamic_partitions(SYMBOLS) for day in days]
    with partition_loading_context(dynamic_partitions_store=instance):
        status = instance.get_status_by_partition(PRICES.key, keys, partitions) or {}
    kinds = {"green": AssetPartitionStatus.MATERIALIZED, "red": AssetPartitionStatus.FAILED}
    return {name: {k for k, is_ in status.items() if is_ is kind} for name, kind in kinds.items()}


def clean_environment() -> dict[str, str]:
    """This process's environment without anything that names a data folder."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith(OURS)}
    paths = filter(None, (str(PROJECT), kept.get("PYTHONPATH")))
    return {**kept, "PYTHONPATH": os.pathsep.join(paths), "COLUMNS": "200"}


def end_group(leader: int) -> None:
    """End what a process that is gone has left of its group: Dagster's followers of its output."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code, negative for a signal, and what it printed."""

    code: int
    printed: str


@dataclass
class Command:
    """A command under way in a process of a nursery."""

    nursery: Nursery
    pid: int
    log: Path

    def wait(self, seconds: float) -> Ended | None:
        """How it ended, or None if it has not within so many seconds."""
        code = self.nursery.ask(do="wait", pid=self.pid, seconds=seconds)
        if code is None:
            return None
        end_group(self.pid)
        return Ended(code, self.log.read_text("utf-8", "replace"))

    def end(self, number: signal.Signals, *, patience: float = 60) -> Ended:
        """Send it a signal and wait for its end."""
        os.kill(self.pid, number)
        ended = self.wait(patience)
        assert ended is not None, f"process {self.pid} outlived {number.name}"
        return ended


@dataclass
class Nursery:
    """A process that has everything imported and forks into commands."""

    process: subprocess.Popen[str]
    folder: Path
    started: list[int] = field(default_factory=list)

    def start(
        self, words: Sequence[str], environment: Mapping[str, str], **special: object
    ) -> Command:
        """Begin a command; ``special`` is for ``_prepare``."""
        log = self.folder / f"{len(self.started)}.log"
        pid = self.ask(
            do="start", words=words, env=dict(environment), log=str(log), special=special
        )
        assert pid is not None
        self.started.append(pid)
        return Command(self, pid, log)

    def run(self, words: Sequence[str], environment: Mapping[str, str], **special: object) -> Ended:
        """A command from its beginning to its end."""
        ended = self.start(words, environment, **special).wait(60)
        assert ended is not None, f"{words} is still at work after a minute"
        return ended

    def ask(self, **what: object) -> int | None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(what) + "\n")
        self.process.stdin.flush()
        answer: int | None = json.loads(self.process.stdout.readline())
        return answer


@contextmanager
def nursing(folder: Path) -> Iterator[Nursery]:
    """A nursery whose children keep what they print in ``folder``; ends them all."""
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", __name__],
        cwd=folder,
        env=clean_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    nursery = Nursery(process, folder)
    try:
        yield nursery
    finally:
        for pid in nursery.started:
            end_group(pid)
        with process:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(timeout=30)


def _serve() -> None:
    """Obey the lines of standard input, one answer each, until it ends."""
    exchange_calendar("XNYS", ())
    for line in sys.stdin:
        asked = json.loads(line)
        begins = asked["do"] == "start"
        answer = _fork(asked) if begins else _code(asked["pid"], asked["seconds"])
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _code(pid: int, seconds: float) -> int | None:
    deadline = time.monotonic() + seconds
    while True:
        # Seen, and left as it is: its number is not given out again before it is ended here.
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() >= deadline:
            return None
        time.sleep(min(0.005, max(deadline - time.monotonic(), 0)))


def _fork(asked: Mapping[str, Any]) -> int:
    pid = os.fork()
    if pid:
        with suppress(OSError):
            os.setpgid(pid, pid)
        return pid
    code = 70
    try:
        code = _child(asked)
    except BaseException:  # noqa: BLE001 - the parent's code must not go on here
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _child(asked: Mapping[str, Any]) -> int:
    """Be the command; returns its exit code."""
    with suppress(OSError):
        os.setpgid(0, 0)
    log = os.open(asked["log"], os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for ours, standard in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(ours, standard)
    os.environ.update(asked["env"])
    _prepare(**asked["special"])
    if asked["words"][0] == "write":
        return _write(json.loads(asked["words"][1]))
    if asked["words"][0] == "read":
        return _read(json.loads(asked["words"][1]))
    return _main(asked["words"])


def _main(words: Sequence[str]) -> int:
    try:
        main(words)
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def _prepare(*, at_once: int = 0, asked: str = "", slow: float = 0.0) -> None:
    """Change the market of this process: how many symbols an answer holds, a file in which to keep
    which symbols were requested, and seconds that each answer takes.
    """
    if at_once:
        simulated._CHUNK = at_once
    fetch = simulated.SimulatedMarket.fetch

    def noted(
        market: simulated.SimulatedMarket, requests: Sequence[Request]
    ) -> Iterator[PriceAnswer]:
        if asked:
            with Path(asked).open("a", encoding="utf-8") as file:
                file.write("".join(f"{os.getpid()} {request.symbol}\n" for request in requests))
        for answer in fetch(market, requests):
            time.sleep(slow)
            yield answer

    simulated.SimulatedMarket.fetch = noted  # type: ignore[assignment, method-assign]


def _write(commands: Mapping[str, Any]) -> int:
    """Run commands in turn until the time is over; the first code that is not 0 ends it."""
    deadline = time.monotonic() + commands["seconds"]
    done = 0
    while time.monotonic() < deadline:
        code = _main(commands["each"][done % len(commands["each"])])
        if code:
            return code
        done += 1
    print(f"{done} commands done")
    return 0


def _read(wanted: Mapping[str, Any]) -> int:
    """Read the prices of some symbols until the time is over, with a pause between two looks."""
    deadline = time.monotonic() + wanted["seconds"]
    done = rows = 0
    while time.monotonic() < deadline:
        found = len(prices(wanted["symbols"], *wanted["days"]))
        assert found >= rows, f"{found} rows after {rows}"
        done, rows = done + 1, found
        time.sleep(wanted["pause"])
    print(f"{done} reads done, {rows} rows")
    return 0


if __name__ == "__main__":
    _serve()
