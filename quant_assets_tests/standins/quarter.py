"""A quarter of the platform's life, replayed: a small world, and a daemon that looks at it.

``Script`` lists what happens and when, ``World`` lets it happen at the stand-ins of Yahoo and
Wikipedia, and ``Daemon`` plays Dagster's daemon with the real schedules, sensors, conditions and
jobs on a real instance. One clock serves them all, and nothing sleeps. What should have come of it
is for ``test_quarter``.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import math
import zlib
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import dagster as dg
from dagster._core.definitions.asset_daemon_cursor import AssetDaemonCursor
from dagster._core.definitions.freshness import FreshnessState
from dagster._core.definitions.freshness_evaluator import FRESHNESS_EVALUATORS_BY_POLICY_TYPE
from dagster._core.loader import LoadingContextForTest
from dagster._core.test_utils import freeze_time
from dagster._utils.schedules import cron_string_iterator

from quant_assets.definitions import build_definitions
from quant_assets.fetching.http import judge
from quant_assets.fetching.pace import Pace
from quant_assets.fetching.pacer import Pacer
from quant_assets.orchestration.automation.run_requests import TRIGGER, WHY
from quant_assets.orchestration.instance.instance import open_instance
from quant_assets.reference.calendars import exchange_calendar
from quant_assets.refreshing.nightly import NEW_YORK, expected_session
from quant_assets.refreshing.steps import LAST_LOOK_SESSIONS
from quant_assets.settings.settings import load_settings
from quant_assets.sources.index_members import wikipedia
from quant_assets.wiring.platform import Platform
from quant_assets.wiring.sources import YAHOO
from quant_assets_tests.standins.wikipedia_standin import (
    Change,
    Member,
    Membership,
    WikipediaStandIn,
    without,
)
from quant_assets_tests.standins.yahoo_listings import CHART, Listing
from quant_assets_tests.standins.yahoo_misbehaviours import status, without_session
from quant_assets_tests.standins.yahoo_standin import StandIn

XNYS = exchange_calendar("XNYS")
JOIN, LEFT = "JOIN", "LEFT"
NEXT, SOLD = "NEXT", "SOLD"
OLD, NEW = "OLD", "NEW"
SPLIT, MISSED = "SPLT", "MISD"
ACQUIRED = "Buyer Corp. acquired Sold Corp."
SESSIONS_BEFORE = 5
"""How many sessions before the first day everything has been traded."""


def new_york(text: str) -> dt.datetime:
    """A time of day in New York, in UTC."""
    return dt.datetime.fromisoformat(text).replace(tzinfo=NEW_YORK).astimezone(dt.UTC)


@dataclass(frozen=True)
class Spell:
    """From when until when something goes wrong, New York time, and how often the daemon then looks
    from the evening on; also for ``after_hours``.
    """

    start: str
    end: str
    every_minutes: int = 30
    after_hours: float = 1

    def __contains__(self, at: dt.datetime) -> bool:
        return new_york(self.start) <= at < new_york(self.end)

    @property
    def looks(self) -> Iterator[dt.datetime]:
        at, end = new_york(f"{self.start[:10]} 18:30"), new_york(self.end)
        while at <= end + dt.timedelta(hours=self.after_hours):
            yield at
            at += dt.timedelta(minutes=self.every_minutes)


@dataclass(frozen=True)
class Script:
    """What happens. Changes take effect before the open of their day.

    The daemon looks at the ``clocks`` of New York, on days without a session at ``clocks_off``, in
    the morning of a change, and often where Yahoo is in trouble; where a look led to a run, again a
    minute later, until nothing is left to do.
    """

    first: dt.date
    last: dt.date
    members: int
    clocks: Sequence[str]
    clocks_off: Sequence[str]
    missed: Spell
    announced_on: dt.date
    joins_on: dt.date
    sold_on: dt.date
    renamed_on: dt.date
    splits_on: dt.date
    lag: Spell
    outage: Spell
    throttled: Spell
    redesign: Spell
    off: Spell

    @property
    def days(self) -> list[dt.date]:
        return [self.first + dt.timedelta(days=n) for n in range((self.last - self.first).days + 1)]

    @property
    def sessions(self) -> tuple[dt.date, ...]:
        return XNYS.between(self.first, self.last)

    @property
    def traded(self) -> tuple[dt.date, ...]:
        """The sessions that Yahoo knows."""
        at = bisect_left(XNYS.sessions, self.first)
        return XNYS.between(XNYS.sessions[at - SESSIONS_BEFORE], self.last)

    @property
    def ticks(self) -> list[dt.datetime]:
        """When the daemon looks."""
        changes = (self.joins_on, self.sold_on, self.renamed_on)
        found = {new_york(self.off.end), *(new_york(f"{day} 08:05") for day in changes)}
        for day in self.days:
            clocks = self.clocks if XNYS.is_session(day) else self.clocks_off
            found |= {new_york(f"{day} {clock}") for clock in clocks}
        for spell in (self.lag, self.outage, self.throttled):
            found |= set(spell.looks)
        return sorted(at for at in found if at not in self.off)


def last_look(left_on: dt.date) -> dt.date:
    """The session on which leavers are looked at for the last time."""
    return XNYS.sessions[bisect_left(XNYS.sessions, left_on) + LAST_LOOK_SESSIONS - 1]


# The world


def price(symbol: str, session: dt.date, script: Script) -> tuple[float, float, float, float, int]:
    """Open, high, low, close and volume as traded, in whole cents."""
    seed = zlib.crc32(f"{symbol}{session}".encode())
    close, ratio = 100 + seed % 997 / 100, 4 if session >= script.splits_on else 1
    volume = 1000 + seed % 499
    if symbol == SPLIT:
        close, volume = round(close / ratio, 2), volume * ratio
    return close, round(close + 1, 2), round(close - 1, 2), round(close + 0.25, 2), volume


def listing(symbol: str, script: Script) -> Listing:
    days = [d for d in script.traded if symbol != SOLD or d < script.sold_on]
    rows = [(day, *price(symbol, day, script)) for day in days]
    splits = [(script.splits_on, 4, 1)] if symbol == SPLIT else []
    return Listing.of(symbol, *rows, splits=splits)


def membership(script: Script) -> Membership:
    roles = (LEFT, SOLD, OLD, SPLIT, MISSED)
    others = (f"M{number:03}" for number in range(script.members - len(roles)))
    members = [Member(s, cik=f"{n:010}") for n, s in enumerate((*roles, *others), start=1)]
    changes = [
        Change(script.joins_on, JOIN, LEFT, cik="0000009001", announced_on=script.announced_on),
        Change(script.sold_on, NEXT, SOLD, ACQUIRED, cik="0000009002"),
        Change(script.renamed_on, NEW, OLD, renamed=True),
    ]
    return Membership(members, changes)


class Clock:
    """One time for all; whoever waits moves it on."""

    def __init__(self, now: dt.datetime) -> None:
        self.now = now

    def __call__(self) -> dt.datetime:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += dt.timedelta(seconds=seconds)


@dataclass(frozen=True)
class Unhurried(Platform):
    """A platform that waits by moving its clock."""

    sleep: Callable[[float], None] = field(default=lambda seconds: None, repr=False)

    def pacer(self, source: str) -> Pacer:
        return Pacer(
            self.settings.home_path / "pacing.sqlite",
            source,
            Pace() if source == YAHOO else wikipedia.PACE,
            judge=judge,
            clock=lambda: self.clock().timestamp(),
            sleep=self.sleep,
            jitter=lambda wait: 0.0,
        )


class World:
    """Yahoo and Wikipedia as the script has them, and a platform that requests them."""

    def __init__(self, home: Path, script: Script, yahoo: StandIn, clock: Clock) -> None:
        self.script, self.clock, self.yahoo = script, clock, yahoo
        self.membership = membership(script)
        symbols = [member.symbol for member in self.membership.members]
        yahoo.listings |= {s: listing(s, script) for s in (*symbols, JOIN, NEXT)}
        self.wikipedia = WikipediaStandIn(self.membership, clock)
        universe = {"wikipedia_url": self.wikipedia.url, "contact": "a@b.example"}
        flags = {
            "home": home,
            "partition_start": script.traded[0],
            "default_days": 7,
            "yahoo_url": yahoo.url,
            "yahoo": {"in_flight": 1},
            "universe": {**universe, "sizes": (script.members - 5, script.members + 5)},
            "datasets": {"market_snapshot": {"enabled": False}},
        }
        settings = load_settings({}, flags=flags, working_directory=home)
        self.platform = Unhurried(settings, clock, clock.sleep)

    def turn_to(self, at: dt.datetime) -> None:
        """Let everything be as it is at a moment."""
        script = self.script
        self.clock.now = self.yahoo.now = at
        self.yahoo.relent()
        self.wikipedia.relent()
        if at in script.lag:
            session = script.lag.start[:10]
            self.yahoo.order(without_session(session), times=math.inf)
        if at in script.outage:
            self.yahoo.order(status(503), times=math.inf)
        if at in script.throttled:
            self.yahoo.order(status(429), times=math.inf)
        if at in script.redesign:
            self.wikipedia.order(without(b"<th>Symbol\n</th>"), times=math.inf)
        if at >= new_york(f"{script.renamed_on} 00:00") and OLD in self.yahoo.listings:
            self.yahoo.rename(OLD, NEW)
        forgotten = {MISSED} if at in script.missed else {}
        listed = [m for m in self.membership.members if m.symbol not in forgotten]
        self.wikipedia.membership = replace(self.membership, members=listed)

    def members_on(self, session: dt.date) -> set[str]:
        """Tickers of that day."""
        return {member.symbol for member in self.membership.members_on(session)}

    def rows(self) -> dict[tuple[str, dt.date], tuple[float, ...]]:
        """The rows to be stored of every member, by the last ticker: also of before it joined, and
        of the sessions after it left until the last look."""
        rows = {}
        for symbol in self.yahoo.listings:
            of = OLD if symbol == NEW else symbol
            for day in self.script.traded:
                gone = symbol == LEFT and day > last_look(self.script.joins_on)
                if not gone and not (symbol == SOLD and day >= self.script.sold_on):
                    rows[symbol, day] = price(of, day, self.script)
        return rows

    @property
    def charts(self) -> list[tuple[str | None, int | None]]:
        """Symbol and status of each request for prices."""
        requests = self.yahoo.requests
        return [(each.symbol, each.status) for each in requests if each.path.startswith(CHART)]


# The daemon


@dataclass(frozen=True)
class Run:
    """A run that was launched: its trigger, what became of it, and what it requested of Yahoo."""

    at: dt.datetime
    job: str
    tags: Mapping[str, str]
    failure: str
    asked: Sequence[tuple[str | None, int | None]]

    @property
    def session(self) -> dt.date:
        """The session that was the newest one expected."""
        return expected_session(XNYS, self.at)

    @property
    def trigger(self) -> str:
        return self.tags.get(TRIGGER, "")

    @property
    def why(self) -> str:
        return self.tags.get(WHY, "")


class Daemon:
    """Dagster's daemon on the world's clock: schedules by their time, of those missed the last
    alone; sensors by their interval and with their cursor; a run key once; conditions last.
    """

    def __init__(self, world: World, instance: dg.DagsterInstance) -> None:
        self.world, self.instance = world, instance
        self.definitions = build_definitions(world.platform)
        self.repository = self.definitions.get_repository_def()
        self.resources = {"platform": world.platform}
        self.runs: list[Run] = []
        started = world.clock()
        self.scheduled_at = {each.name: started for each in self.repository.schedule_defs}
        self.looked_at: dict[str, dt.datetime] = {}
        self.cursors: dict[str, str | None] = {}
        self.run_keys: set[tuple[str, str]] = set()
        self.conditions: AssetDaemonCursor | None = None
        with freeze_time(started):
            self._conditions(started)

    def tick(self, at: dt.datetime) -> None:
        """Look, and again a minute later as long as that leads to anything."""
        for _ in range(20):
            before = len(self.runs)
            self.world.turn_to(at)
            with freeze_time(at):
                self._schedules(at)
                self._sensors(at)
                self._conditions(at)
            if len(self.runs) == before:
                return
            at = max(at, self.world.clock()) + dt.timedelta(minutes=1)
        raise AssertionError(f"it does not come to rest: {self.runs[-6:]}")

    def _schedules(self, at: dt.datetime) -> None:
        for schedule in self.repository.schedule_defs:
            missed = self._missed(schedule, at)
            if missed is None:
                continue
            self.scheduled_at[schedule.name] = missed
            with dg.build_schedule_context(
                self.instance, missed, self.resources, self.repository
            ) as context:
                context._instance = self.instance  # or it opens one of its own, slowly
                tick = schedule.evaluate_tick(context)
            self._launch(schedule.name, schedule.job_name, tick.run_requests or ())

    def _missed(self, schedule: dg.ScheduleDefinition, at: dt.datetime) -> dt.datetime | None:
        latest = None
        for moment in _times(schedule, self.scheduled_at[schedule.name]):
            if moment > at:
                return latest
            latest = moment
        return latest

    def _sensors(self, at: dt.datetime) -> None:
        for sensor in self.repository.sensor_defs:
            if isinstance(sensor, dg.AutomationConditionSensorDefinition):
                continue
            interval = dt.timedelta(seconds=sensor.minimum_interval_seconds or 30)
            if sensor.name in self.looked_at and at < self.looked_at[sensor.name] + interval:
                continue
            self.looked_at[sensor.name] = at
            with dg.build_sensor_context(
                self.instance,
                self.cursors.get(sensor.name),
                definitions=self.definitions,
                resources=self.resources,
            ) as context:
                tick = sensor.evaluate_tick(context)
            for request in tick.dynamic_partitions_requests or ():
                self.instance.add_dynamic_partitions(
                    request.partitions_def_name, list(request.partition_keys)
                )
            self._launch(sensor.name, None, tick.run_requests or ())
            self.cursors[sensor.name] = tick.cursor

    def _conditions(self, at: dt.datetime) -> None:
        found = dg.evaluate_automation_conditions(
            self.definitions,
            self.instance,
            dg.AssetSelection.all(),
            cursor=self.conditions,
            evaluation_time=at,
        )
        self.conditions = found.cursor
        wanted = [key for key in self._conditioned if found.get_num_requested(key)]
        if wanted:
            request = dg.RunRequest(
                asset_selection=wanted, tags=self.repository.get_sensor_def("after_prices").run_tags
            )
            self._run(self.definitions.resolve_implicit_global_asset_job_def(), request)

    @cached_property
    def _conditioned(self) -> list[dg.AssetKey]:
        graph = self.definitions.resolve_asset_graph()
        return [key for key in graph.get_all_asset_keys() if graph.get(key).automation_condition]

    def _launch(self, by: str, job: str | None, requests: Sequence[dg.RunRequest]) -> None:
        for request in requests:
            if request.run_key:
                if (by, request.run_key) in self.run_keys:
                    continue
                self.run_keys.add((by, request.run_key))
            name = request.job_name or job
            assert name is not None
            self._run(self.definitions.resolve_job_def(name), request)

    def _run(self, job: dg.JobDefinition, request: dg.RunRequest) -> None:
        before, at = len(self.world.charts), self.world.clock()
        result = job.execute_in_process(
            {**request.run_config, "loggers": QUIET},
            self.instance,
            tags=dict(request.tags),
            asset_selection=list(request.asset_selection) if request.asset_selection else None,
            raise_on_error=False,
        )
        asked = self.world.charts[before:]
        self.runs.append(Run(at, job.name, dict(request.tags), _failure(result), asked))

    def freshness(self, at: dt.datetime) -> dict[str, FreshnessState]:
        """What the freshness daemon makes of each asset at a moment."""
        graph = self.definitions.resolve_asset_graph()
        found = {}
        with freeze_time(at):
            for key in graph.get_all_asset_keys():
                node = graph.get(key)
                policy = node.freshness_policy_or_from_metadata
                evaluator = FRESHNESS_EVALUATORS_BY_POLICY_TYPE[type(policy)]()
                state = evaluator.evaluate_freshness(LoadingContextForTest(self.instance), node)
                found[key.to_user_string()] = asyncio.run(state)
        return found


QUIET = {"console": {"config": {"log_level": "CRITICAL"}}}


def _times(schedule: dg.ScheduleDefinition, after: dt.datetime) -> Iterator[dt.datetime]:
    """The times of a schedule after a moment."""
    zone = schedule.execution_timezone or "UTC"
    return cron_string_iterator(after.timestamp() + 1, str(schedule.cron_schedule), zone)


def _failure(result: dg.ExecuteInProcessResult) -> str:
    failures = [e.step_failure_data for e in result.all_events if e.is_step_failure]
    return "\n".join(
        (f.user_failure_data.description or "") if f.user_failure_data else str(f.error)
        for f in failures
    )


@dataclass
class Life:
    """What became of a script: its world, the runs, and how fresh things were each morning."""

    world: World
    daemon: Daemon
    mornings: dict[dt.date, dict[str, FreshnessState]] = field(default_factory=dict)

    def live(self) -> None:
        for at in self.world.script.ticks:
            self._see_mornings_before(at)
            self.daemon.tick(at)
        self._see_mornings_before(at + dt.timedelta(days=1))

    def _see_mornings_before(self, at: dt.datetime) -> None:
        script = self.world.script
        for day in script.days[1:]:
            nine = new_york(f"{day} 09:01")
            if nine < at and day not in self.mornings:
                self.mornings[day] = self.daemon.freshness(nine)

    def requests(self) -> dict[dt.date, Counter[str]]:
        """Requests for prices, by the session expected then, and by what they were for."""
        found: dict[dt.date, Counter[str]] = defaultdict(Counter)
        for run in self.daemon.runs:
            for symbol, _ in run.asked:
                found[run.session][self._purpose(run, symbol)] += 1
        return found

    def _purpose(self, run: Run, symbol: str | None) -> str:
        script = self.world.script
        trouble = (script.lag, script.outage, script.throttled)
        if any(run.at in spell for spell in trouble):
            return "in trouble"
        if run.trigger == "index_membership_sensor":
            return "joined" if " joined " in run.why else "left"
        return "members" if symbol in self.world.members_on(run.session) else "last look"

    def table(self) -> str:
        """Requests for prices session by session."""
        kinds = ("members", "joined", "left", "last look", "in trouble")
        lines = [f"{'session':10} {'members':>8}  asked: " + "  ".join(kinds)]
        requests = self.requests()
        for day in self.world.script.sessions:
            counts = "  ".join(f"{requests[day][kind] or '·':>{len(kind)}}" for kind in kinds)
            lines.append(f"{day} {len(self.world.members_on(day)):>8}         {counts}")
        total = sum((each for each in requests.values()), Counter())
        sums = "  ".join(f"{total[kind]:>{len(kind)}}" for kind in kinds)
        return "\n".join([*lines, f"{'in all':10} {'':8}         {sums}"])


@contextmanager
def life(home: Path, script: Script) -> Iterator[Life]:
    """The whole of it, lived."""
    with ExitStack() as stack:
        clock = Clock(new_york(f"{script.first} 00:00"))
        yahoo = stack.enter_context(StandIn())
        world = World(home, script, yahoo, clock)
        stack.enter_context(world.wikipedia)
        instance = stack.enter_context(open_instance(home))
        lived = Life(world, Daemon(world, instance))
        lived.live()
        yield lived


TWO_WEEKS = Script(
    first=dt.date(2024, 12, 24),
    last=dt.date(2025, 1, 8),
    members=14,
    clocks=("18:35",),
    clocks_off=("20:35",),
    announced_on=dt.date(2024, 12, 26),
    missed=Spell("2024-12-26 02:00", "2024-12-26 18:50"),
    sold_on=dt.date(2024, 12, 27),
    joins_on=dt.date(2024, 12, 30),
    splits_on=dt.date(2024, 12, 30),
    lag=Spell("2024-12-31 16:00", "2024-12-31 20:10", 40),
    renamed_on=dt.date(2024, 12, 31),
    outage=Spell("2025-01-02 09:00", "2025-01-03 06:00", 240, 0),
    redesign=Spell("2025-01-03 12:00", "2025-01-05 12:00"),
    throttled=Spell("2025-01-06 18:00", "2025-01-06 19:00", 40),
    off=Spell("2025-01-07 00:00", "2025-01-08 07:00"),
)
"""Everything, in as few days as hold it."""

QUARTER = Script(
    first=dt.date(2024, 11, 1),
    last=dt.date(2025, 1, 31),
    members=30,
    clocks=("08:35", "18:30", "20:35"),
    clocks_off=("20:35",),
    missed=Spell("2024-11-05 02:00", "2024-11-05 18:50"),
    announced_on=dt.date(2024, 11, 11),
    joins_on=dt.date(2024, 11, 18),
    lag=Spell("2024-11-20 16:00", "2024-11-20 22:10"),
    renamed_on=dt.date(2024, 12, 3),
    splits_on=dt.date(2024, 12, 10),
    outage=Spell("2024-12-12 00:00", "2024-12-13 10:00", 60),
    redesign=Spell("2024-12-16 10:00", "2024-12-19 10:00"),
    sold_on=dt.date(2024, 12, 23),
    off=Spell("2025-01-07 00:00", "2025-01-08 07:00"),
    throttled=Spell("2025-01-15 18:00", "2025-01-15 20:00"),
)
"""With Thanksgiving, two early closes, Christmas, New Year and a day of mourning."""
