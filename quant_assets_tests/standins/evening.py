"""An index of three companies whose evenings a test plays through: clock, source, list, Dagster.

Nothing is asserted here. ``World.look`` has a sensor of the definitions look as the daemon would,
``World.run`` executes the run it requested, in this process.
"""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import dagster as dg
import pyarrow as pa
from dagster._core.storage.dagster_run import DagsterRunStatus
from dagster._core.utils import make_new_run_id

from quant_assets.contracts.membership import Constituent, UniverseAnswer, UniverseSource
from quant_assets.contracts.prices import PRICE_COLUMNS, PriceAnswer, PriceProfile, PriceSource
from quant_assets.contracts.source import BadAnswer, Request, SourceUnavailable
from quant_assets.definitions import build_definitions
from quant_assets.loading.work import Window
from quant_assets.membership.take_over import import_universe
from quant_assets.orchestration.automation.run_requests import TRIGGER, WHY
from quant_assets.orchestration.instance.instance import open_instance
from quant_assets.orchestration.runs.partitions import SYMBOLS
from quant_assets.reference.calendars import Calendar, exchange_calendar
from quant_assets.schema.loads import LOAD_TASKS
from quant_assets.schema.membership import MEMBERSHIP_CHANGES
from quant_assets.schema.table import Table
from quant_assets.settings.settings import load_settings
from quant_assets.wiring.platform import Platform
from quant_assets.wiring.sources import SIMULATED, YAHOO
from quant_assets_tests.standins.loads import load_prices

XNYS = exchange_calendar("XNYS")
TUE, WED, THU, FRI, MON = XNYS.between(dt.date(2024, 5, 28), dt.date(2024, 6, 3))
"""The Monday before was a holiday."""
MEMBERS = ("AAA", "BBB", "CCC")
RUN = "00000000-0000-0000-0000-000000000001"


def new_york(day: dt.date, clock: str) -> dt.datetime:
    """A time of day in New York in the summer of 2024, in UTC."""
    return dt.datetime.fromisoformat(f"{day}T{clock}-04:00").astimezone(dt.UTC)


@dataclass
class Market:
    """A live source. It has nothing after ``until``, and answers ``failing`` with rubbish."""

    until: dt.date = THU
    failing: set[str] = field(default_factory=set)
    requested: list[str] = field(default_factory=list)
    calendar: Calendar = XNYS

    @property
    def profile(self) -> PriceProfile:
        return PriceProfile(
            YAHOO, price_basis="as_traded", has_splits=True, has_distributions=True, live=True
        )

    def symbols(self) -> tuple[str, ...]:
        return ()

    def fetch(self, requests: Sequence[Request]) -> Iterator[PriceAnswer]:
        """One answer to all: storing each by itself would take a test most of its time."""
        self.requested += [request.symbol for request in requests]
        failures = {
            request.symbol: BadAnswer(YAHOO, "no data in the answer")
            for request in requests
            if request.symbol in self.failing
        }
        rows = [row for each in requests if each.symbol not in failures for row in self._rows(each)]
        yield PriceAnswer(
            tuple(request.symbol for request in requests),
            pa.Table.from_pylist(rows, schema=PRICE_COLUMNS),
            failures=failures,
        )

    def _rows(self, request: Request) -> list[dict[str, object]]:
        end = min(request.end, self.until)
        days = self.calendar.between(request.first, end) if request.first <= end else ()
        row = {"symbol": request.symbol, "currency": "USD", "volume": 10.0}
        row |= dict.fromkeys(("open", "high", "low", "close"), 10.0)
        return [{**row, "session": day, "basis_on": day} for day in days]


@dataclass
class Index:
    """A list of members, which may be out of reach."""

    members: tuple[str, ...] = MEMBERS
    reachable: bool = True

    def fetch_universe(self) -> UniverseAnswer:
        if not self.reachable:
            raise SourceUnavailable("the list", "the list is out of reach")
        # A made-up index may have any size.
        return UniverseAnswer(SIMULATED, constituents=tuple(map(Constituent, self.members)))


@dataclass(frozen=True)
class Fed(Platform):
    """A platform with one market and one list, given."""

    market: Market = field(default_factory=Market)
    index: Index = field(default_factory=Index)

    def price_source(self, name: str = "", calendar: Calendar | None = None) -> PriceSource:
        self.market.calendar = calendar or self.calendar
        return self.market

    def universe_source(self) -> UniverseSource:
        return self.index


@dataclass
class World:
    """A data folder, its Dagster instance, and a clock that a test sets."""

    path: Path
    now: dt.datetime
    market: Market = field(default_factory=Market)
    index: Index = field(default_factory=Index)

    @cached_property
    def instance(self) -> dg.DagsterInstance:
        return open_instance(self.path)

    def close(self) -> None:
        if "instance" in vars(self):
            self.instance.dispose()

    @cached_property
    def platform(self) -> Platform:
        flags = {"home": self.path, "partition_start": TUE, "default_days": 2}
        flags["look_back_days"] = 5
        settings = load_settings({}, flags=flags, working_directory=self.path)
        return Fed(settings, lambda: self.now, self.market, self.index)

    @cached_property
    def definitions(self) -> dg.Definitions:
        return build_definitions(self.platform)

    def load(self, *symbols: str, end: dt.date = THU) -> None:
        """Load prices without Dagster."""
        window = Window(symbols or MEMBERS, TUE, end)
        load_prices(self.platform.warehouse, self.market, window, XNYS)

    def import_members(self) -> None:
        """Import the list without Dagster."""
        day = self.now.date()
        answer = self.index.fetch_universe()
        import_universe(self.platform.warehouse, answer, (), on=day, accept=True)

    def look(self, name: str, cursor: str | None = None) -> Seen:
        """A look of a sensor; the runs it requests are not executed."""
        # An instance takes half a second to open, and this sensor does not use it.
        instance = None if name == "index_membership_sensor" else self.instance
        context = dg.build_sensor_context(
            instance, cursor, definitions=self.definitions, resources={"platform": self.platform}
        )
        tick = self.definitions.get_repository_def().get_sensor_def(name).evaluate_tick(context)
        tickers = [
            key for each in tick.dynamic_partitions_requests or () for key in each.partition_keys
        ]
        requests = tuple(tick.run_requests or ())
        return Seen(requests, tick.skip_message or "", tick.cursor, tuple(tickers))

    def scheduled(self, name: str, at: dt.datetime) -> Seen:
        """A tick of a schedule at the time it was scheduled for."""
        repository = self.definitions.get_repository_def()
        context = dg.build_schedule_context(
            None, at, {"platform": self.platform}, repository_def=repository
        )
        tick = repository.get_schedule_def(name).evaluate_tick(context)
        return Seen(tuple(tick.run_requests or ()), tick.skip_message or "")

    def run(self, request: dg.RunRequest) -> str:
        """Execute a requested run; returns why it failed, if it did."""
        assert request.job_name is not None
        result = self.definitions.resolve_job_def(request.job_name).execute_in_process(
            {**request.run_config, "loggers": QUIET},
            self.instance,
            tags=dict(request.tags),
            raise_on_error=False,
        )
        return _failure(result)

    def materialize(self, asset: str) -> str:
        job = self.definitions.resolve_implicit_global_asset_job_def()
        result = job.execute_in_process(
            {"loggers": QUIET},
            self.instance,
            asset_selection=[dg.AssetKey(asset)],
            raise_on_error=False,
        )
        return _failure(result)

    def begin(
        self, job: str, tags: Mapping[str, str] | None = None, *, ended: bool = False
    ) -> None:
        """A run that goes on elsewhere, or that ended in vain."""
        status = DagsterRunStatus.FAILURE if ended else DagsterRunStatus.STARTED
        run = dg.DagsterRun(job, make_new_run_id(), status=status, tags=tags)
        self.instance.add_run(run)

    def write(self, table: Table, *rows: dict[str, object]) -> None:
        fields = [f for f in table.arrow_schema if f.name in rows[0]]
        with self.platform.warehouse.writing(RUN) as writing:
            writing.upsert(table, pa.Table.from_pylist(list(rows), schema=pa.schema(fields)))

    def task(self, symbol: str, state: str, **more: object) -> None:
        """A load task of the Friday."""
        row = {"dataset": "daily_prices", "source": YAHOO, "symbol": symbol, "state": state}
        row |= {"attempts": 1, "priority": "normal", "retry_at": None, "error": None}
        row |= {"start_session": FRI, "end_session": FRI, "run_id": RUN}
        self.write(LOAD_TASKS, row | more)

    def change(self, number: int, kind: str, symbol: str, on: dt.date, **more: object) -> None:
        """An event of the index."""
        row = {"change_id": number, "universe": "sp500", "kind": kind, "security_id": number}
        row |= {"symbol": symbol, "former_symbol": None, "effective_on": on, "source": "the list"}
        row |= {"detected_at": self.now.replace(tzinfo=None), "run_id": RUN}
        self.write(MEMBERSHIP_CHANGES, row | more)


@dataclass(frozen=True)
class Seen:
    """What a look came to: runs requested, or why none, and tickers that become partitions."""

    requests: tuple[dg.RunRequest, ...]
    skipped: str
    cursor: str | None = None
    tickers: tuple[str, ...] = ()

    @property
    def request(self) -> dg.RunRequest:
        [request] = self.requests
        return request

    @property
    def requested(self) -> list[tuple[str | None, str | None]]:
        """Job and key of each run."""
        return [(request.job_name, request.run_key) for request in self.requests]


def why(request: dg.RunRequest) -> tuple[str, str]:
    """The schedule or sensor that requested a run, and the reason."""
    return request.tags[TRIGGER], request.tags[WHY]


def config_of(request: dg.RunRequest) -> dict[str, object]:
    """The config of a run, but its reason."""
    [op] = request.run_config["ops"].values()
    return {name: value for name, value in op["config"].items() if name != "why"}


def _failure(result: dg.ExecuteInProcessResult) -> str:
    failures = [e.step_failure_data for e in result.all_events if e.is_step_failure]
    assert result.success is not bool(failures)
    return "\n".join(
        (f.user_failure_data.description or "") if f.user_failure_data else str(f.error)
        for f in failures
    )


def thursday_night(path: Path) -> Path:
    """A data folder with three members, priced until Thursday; making one takes a second."""
    world = World(path, new_york(THU, "20:00"))
    world.import_members()
    world.load()
    # Its tables are made now, and copied for each test.
    assert world.instance.get_dynamic_partitions(SYMBOLS) == []
    world.close()
    return path


def copied(prepared: Path, path: Path) -> Iterator[World]:
    """A world of a test's own, on Friday at 18:40, with the day's prices at the source."""
    home = Path(shutil.copytree(prepared, path / "data"))
    world = World(home, new_york(FRI, "18:40"), Market(until=FRI))
    yield world
    world.close()


QUIET = {"console": {"config": {"log_level": "CRITICAL"}}}
