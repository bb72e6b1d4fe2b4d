"""Turns, back-off and the circuit breaker, on a clock that only sleeping and working moves."""

from __future__ import annotations

import datetime as dt
import multiprocessing
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quant_assets.fetching.pace import (
    BudgetSpent,
    CircuitOpen,
    Fault,
    Pace,
    PacingFileError,
    StillThrottled,
    utc,
)
from quant_assets.fetching.pacer import Pacer
from quant_assets_tests.conftest import examples

NOON = dt.datetime(2024, 6, 3, 12, tzinfo=dt.UTC)
PROCESSES = multiprocessing.get_context("forkserver")


class ThrottledError(Exception):
    """A 429; ``retry_after`` as its header says."""

    def __init__(self, retry_after: float | None = None) -> None:
        super().__init__("429")
        self.retry_after = retry_after


def judge(error: Exception) -> Fault | None:
    if isinstance(error, ThrottledError):
        return Fault("throttled", error.retry_after)
    return Fault("transient") if isinstance(error, ConnectionError) else None


@dataclass
class World:
    """A source and a clock. Each request takes the next of ``answers``: None succeeds.

    ``meanwhile`` is done during the next sleep, which lasts longer if that takes longer.
    """

    folder: Path
    now: float = NOON.timestamp()
    answers: list[BaseException | None] = field(default_factory=list)
    started: list[float] = field(default_factory=list)
    meanwhile: Callable[[], object] | None = None

    def pacer(self, source: str = "yahoo", **pace: object) -> Pacer:
        return Pacer(
            self.folder / "data" / "pacing.sqlite",
            source,
            Pace(**pace),  # type: ignore[arg-type]
            judge=judge,
            clock=lambda: self.now,
            sleep=self.sleep,
            jitter=lambda wait: 0.0,
        )

    def sleep(self, seconds: float) -> None:
        meanwhile, self.meanwhile = self.meanwhile, None
        wakes_at = self.now + seconds
        if meanwhile:
            meanwhile()
        self.now = max(self.now, wakes_at)

    def request(self) -> str:
        self.started.append(self.now)
        answer = self.answers.pop(0) if self.answers else None
        if answer is not None:
            raise answer
        return "data"

    def seconds(self) -> list[float]:
        """When the requests started, after noon."""
        return [round(start - NOON.timestamp(), 6) for start in self.started]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def fail(world: World, pacer: Pacer) -> None:
    world.answers.append(ConnectionError("down"))
    with pytest.raises(ConnectionError):
        pacer.call(world.request)


# --- turns ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("on_the_way", "next_at"), [(0.008, 0.508), (0.3, 0.52)])
def test_the_delay_counts_from_when_a_request_arrives_as_far_as_that_is_known(
    world: World, on_the_way: float, next_at: float
) -> None:
    """It has by its answer; of a slow one, the way there may have been short."""

    def slowly() -> str:
        answer = world.request()
        world.now += on_the_way
        return answer

    pacer = world.pacer()
    pacer.call(slowly)
    pacer.call(slowly)
    assert world.seconds() == [0.0, next_at]


def test_requests_start_a_delay_apart_whichever_pacer_makes_them(world: World) -> None:
    one, other = world.pacer(), world.pacer()
    assert [one.call(world.request), other.call(world.request), one.call(world.request)] == [
        "data",
        "data",
        "data",
    ]
    assert world.seconds() == [0, 0.5, 1]


def test_sources_in_one_file_do_not_wait_for_each_other(world: World) -> None:
    yahoo, sec = world.pacer("yahoo"), world.pacer("sec")
    yahoo.call(world.request)
    sec.call(world.request)
    assert world.seconds() == [0, 0]
    assert (yahoo.budget().requests_in_all, sec.budget().requests_in_all) == (1, 1)


def test_the_cap_holds_in_a_sliding_hour(world: World) -> None:
    pacer = world.pacer(hourly_cap=2, patience_seconds=4_000)
    for _ in range(4):
        pacer.call(world.request)
    assert world.seconds() == [0, 0.5, 3_600, 3_600.5]


def test_a_turn_further_away_than_patience_is_refused_and_leaves_no_trace(world: World) -> None:
    pacer = world.pacer(hourly_cap=1)
    pacer.call(world.request)
    with pytest.raises(BudgetSpent, match="yahoo is not asked again before 2024-06-03 13:00") as e:
        pacer.call(world.request)
    assert e.value.retry_at == NOON + dt.timedelta(hours=1)
    assert world.now == NOON.timestamp()
    world.now += 3_600
    pacer.call(world.request)
    assert world.seconds() == [0, 3_600]


def test_a_turn_whose_sleep_was_interrupted_is_not_counted(world: World) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    pacer = world.pacer()
    pacer.call(world.request)
    world.meanwhile = interrupt
    with pytest.raises(KeyboardInterrupt):
        pacer.call(world.request)
    assert pacer.budget().requests_in_all == 1
    pacer.call(world.request)
    assert world.seconds() == [0, 0.5]


def test_who_oversleeps_goes_to_the_end_of_the_queue(world: World) -> None:
    pacer = world.pacer()

    def others() -> None:
        for _ in range(3):
            world.pacer().call(world.request)

    pacer.call(world.request)
    world.meanwhile = others
    pacer.call(world.request)
    assert world.seconds() == [0, 1, 1.5, 2, 2.5]


def test_a_process_that_was_killed_in_the_queue_costs_its_turn_and_no_more(world: World) -> None:
    pacer = world.pacer()
    pacer.call(world.request)
    with closing(sqlite3.connect(world.folder / "data" / "pacing.sqlite")) as db:
        db.execute("insert into turns values ('killed', 'yahoo', ?, 0)", [world.now + 0.5])
        db.commit()
        pacer.call(world.request)
        assert db.execute("select turn from turns where not begun").fetchall() == []
    assert world.seconds() == [0, 1]


def test_after_one_who_woke_late_the_next_waits_for_the_whole_delay(world: World) -> None:
    def oversleep() -> None:
        world.now += 0.9

    def another() -> None:
        world.meanwhile = oversleep
        world.pacer(min_delay_seconds=0).call(world.request)

    pacer = world.pacer()
    pacer.call(world.request)
    world.meanwhile = another
    pacer.call(world.request)
    assert world.seconds() == [0, 0.9, 1.4]


def test_a_clock_that_is_set_back_keeps_waits_and_counts(world: World) -> None:
    pacer = world.pacer()
    pacer.call(world.request)
    world.now -= 7_200
    pacer.call(world.request)
    assert world.seconds() == [0, -7_199.5]
    assert pacer.budget().requests_last_hour == 2


def test_what_is_expected_is_what_it_takes(world: World) -> None:
    pacer = world.pacer(hourly_cap=3, patience_seconds=10_000)
    pacer.call(world.request)
    expected = pacer.expected_seconds(5)
    for _ in range(5):
        pacer.call(world.request)
    assert (expected, world.seconds()[-1]) == (3_601, 3_601)
    assert pacer.expected_seconds(0) == 0


# --- counters ------------------------------------------------------------------------------------


def test_counters_survive_a_restart_and_know_days_and_hours(world: World) -> None:
    world.answers = [ThrottledError(), ConnectionError(), None]
    world.pacer().call(world.request)
    budget = world.pacer().budget()
    assert (budget.requests_last_hour, budget.requests_today, budget.requests_in_all) == (3, 3, 3)
    assert (budget.throttled_today, budget.failed_today) == (1, 1)
    assert budget.next_at == NOON + dt.timedelta(seconds=6.5)
    world.now += 86_400
    world.pacer().call(world.request)
    budget = world.pacer().budget()
    assert (budget.requests_last_hour, budget.requests_today, budget.requests_in_all) == (1, 1, 4)
    assert (budget.throttled_today, budget.failed_today) == (0, 0)


def test_a_deleted_file_is_made_again(world: World) -> None:
    pacer = world.pacer()
    pacer.call(world.request)
    (world.folder / "data" / "pacing.sqlite").unlink()
    pacer.call(world.request)
    assert pacer.budget().requests_in_all == 1


def test_a_damaged_file_is_left_alone_and_named(world: World) -> None:
    file = world.folder / "data" / "pacing.sqlite"
    file.parent.mkdir()
    file.write_bytes(b"not a database, but long enough to be looked at as one" * 20)
    with pytest.raises(PacingFileError, match=r"pacing\.sqlite can't be used .* delete it"):
        world.pacer().call(world.request)
    assert world.started == []
    assert file.read_bytes().startswith(b"not a database")


# --- throttling ----------------------------------------------------------------------------------


def test_throttled_requests_wait_5_10_20_40_80_seconds_and_then_give_up(world: World) -> None:
    world.answers = [ThrottledError() for _ in range(6)]
    pacer = world.pacer()
    with pytest.raises(StillThrottled) as refused:
        pacer.call(world.request)
    assert world.seconds() == [0, 5, 15, 35, 75, 155]
    assert refused.value.source == "yahoo"
    assert refused.value.retry_at == NOON + dt.timedelta(seconds=235)
    assert isinstance(refused.value.__context__, ThrottledError)


def test_after_giving_up_nobody_asks_or_waits_until_then_one_request_tells(world: World) -> None:
    world.answers = [ThrottledError() for _ in range(7)]
    with pytest.raises(StillThrottled):
        world.pacer().call(world.request)
    with pytest.raises(StillThrottled):
        world.pacer().call(world.request)
    assert len(world.started) == 6
    world.now += 80
    with pytest.raises(StillThrottled):
        world.pacer().call(world.request)
    assert len(world.started) == 7
    world.now += 80
    assert world.pacer().call(world.request) == "data"


def test_an_answer_ends_the_row_and_so_does_an_hour(world: World) -> None:
    world.answers = [ThrottledError(), ThrottledError(), None, ThrottledError()]
    pacer = world.pacer()
    pacer.call(world.request)
    pacer.call(world.request)
    assert world.seconds() == [0, 5, 15, 15.5, 20.5]
    world.answers = [ThrottledError() for _ in range(6)]
    with pytest.raises(StillThrottled):
        pacer.call(world.request)
    world.now += 3_700
    world.answers = [ThrottledError()]
    assert pacer.call(world.request) == "data"


def test_retry_after_is_waited_for_by_every_pacer_on_the_file(world: World) -> None:
    world.answers = [ThrottledError(retry_after=33)]
    world.pacer().call(world.request)
    assert world.seconds() == [0, 33]
    world.answers = [ThrottledError(retry_after=1_000)]
    with pytest.raises(StillThrottled):
        world.pacer().call(world.request)
    with pytest.raises(StillThrottled) as refused:
        world.pacer().call(world.request)
    assert world.seconds() == [0, 33, 33.5]
    assert refused.value.retry_at == NOON + dt.timedelta(seconds=1_033.5)


def test_nobody_is_shut_out_for_longer_than_an_hour(world: World) -> None:
    world.answers = [ThrottledError(retry_after=1e12)]
    with pytest.raises(StillThrottled) as refused:
        world.pacer().call(world.request)
    assert refused.value.retry_at == NOON + dt.timedelta(hours=1)
    assert isinstance(refused.value.__cause__, ThrottledError)


def test_a_call_gives_up_after_its_own_waits_though_others_were_answered(world: World) -> None:
    pacer = world.pacer(min_delay_seconds=0, throttle_waits_seconds=(5.0,))
    world.answers = [ThrottledError(), None, ThrottledError()]
    world.meanwhile = lambda: pacer.call(world.request)
    with pytest.raises(StillThrottled):
        pacer.call(world.request)
    assert world.seconds() == [0, 5, 5]


def test_a_block_postpones_those_who_wait_already(world: World) -> None:
    def another_is_refused() -> None:
        world.answers = [ThrottledError(retry_after=60)]
        with pytest.raises(StillThrottled):
            world.pacer(min_delay_seconds=0, patience_seconds=10).call(world.request)

    pacer = world.pacer()
    pacer.call(world.request)
    world.meanwhile = another_is_refused
    pacer.call(world.request)
    assert world.seconds() == [0, 0.5, 60.5]


def test_refusals_of_requests_under_way_together_are_one_step(world: World) -> None:
    def refused_after_another() -> str:
        if not world.started:
            world.now += 1
            world.answers = [ThrottledError(), ThrottledError()]
            with pytest.raises(StillThrottled):
                world.pacer(min_delay_seconds=0, patience_seconds=1).call(world.request)
        return world.request()

    world.pacer().call(refused_after_another)
    assert world.seconds() == [1, 1, 6]


# --- transient faults and the circuit breaker ----------------------------------------------------


def test_transient_faults_are_tried_again_after_1_2_4_up_to_30_seconds(world: World) -> None:
    world.answers = [ConnectionError("down") for _ in range(8)]
    with pytest.raises(ConnectionError, match="down") as failed:
        world.pacer(attempts=8).call(world.request)
    assert world.seconds() == [0, 1, 3, 7, 15, 31, 61, 91]
    assert failed.value.__notes__ == ["yahoo was asked 8 times."]


def test_waiting_for_another_try_holds_up_nobody_else(world: World) -> None:
    world.answers = [ConnectionError("down")]
    world.meanwhile = lambda: world.pacer().call(world.request)
    world.pacer().call(world.request)
    assert world.seconds() == [0, 0.5, 1]


def test_an_exception_that_is_no_fault_is_an_answer(world: World) -> None:
    world.answers = [LookupError("no such symbol")]
    with pytest.raises(LookupError):
        world.pacer().call(world.request)
    assert (world.seconds(), world.pacer().budget().failed_today) == ([0], 0)


def test_the_breaker_opens_for_all_after_five_calls_in_a_row(world: World) -> None:
    pacer = world.pacer(attempts=1)
    for _ in range(4):
        fail(world, pacer)
    pacer.call(world.request)
    for _ in range(5):
        assert pacer.budget().breaker_until is None
        fail(world, pacer)
    with pytest.raises(CircuitOpen) as refused:
        world.pacer().call(world.request)
    assert len(world.started) == 10
    assert refused.value.retry_at == NOON + dt.timedelta(seconds=64.5)
    assert pacer.budget().breaker_until == refused.value.retry_at


def test_each_failed_trial_doubles_the_break_up_to_900_seconds_and_success_closes(
    world: World,
) -> None:
    pacer = world.pacer(breaker_after=1)
    world.answers = [ConnectionError("down"), ConnectionError("down")]
    fail(world, pacer)
    breaks = []
    for _ in range(6):
        with pytest.raises(CircuitOpen) as refused:
            pacer.call(world.request)
        breaks.append(round(refused.value.retry_at.timestamp() - world.now))
        world.now = refused.value.retry_at.timestamp()
        asked = len(world.started)
        fail(world, pacer)
        assert len(world.started) == asked + 1  # a trial is one request
    assert breaks == [60, 120, 240, 480, 900, 900]
    world.now += 900
    assert pacer.call(world.request) == "data"
    assert pacer.call(world.request) == "data"


def test_one_trial_at_a_time_and_an_interrupted_one_makes_room(world: World) -> None:
    pacer = world.pacer(attempts=1, breaker_after=1, breaker_seconds=1)
    fail(world, pacer)
    world.now += 1

    def trial() -> None:
        world.now += 10
        with pytest.raises(CircuitOpen):
            world.pacer().call(world.request)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pacer.call(trial)
    assert pacer.call(world.request) == "data"


def test_a_call_that_began_before_the_circuit_opened_does_not_prolong_the_break(
    world: World,
) -> None:
    pacer = world.pacer(attempts=1, breaker_after=1, min_delay_seconds=0)

    def fails_after_another() -> None:
        fail(world, pacer)
        raise ConnectionError("down too")

    with pytest.raises(ConnectionError, match="down too"):
        pacer.call(fails_after_another)
    assert pacer.budget().breaker_until == NOON + dt.timedelta(seconds=60)


def test_a_source_that_throttles_a_trial_is_up(world: World) -> None:
    pacer = world.pacer(attempts=1, breaker_after=1)
    fail(world, pacer)
    world.now += 60
    world.answers = [ThrottledError()]
    assert pacer.call(world.request) == "data"
    assert world.seconds() == [0, 60, 65]


@pytest.mark.parametrize(
    "wrong",
    [
        {"hourly_cap": 0},
        {"attempts": 0},
        {"breaker_after": 0},
        {"throttle_waits_seconds": ()},
    ],
    ids=str,
)
def test_a_pace_that_allows_nothing_is_refused(world: World, wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="must be at least 1"):
        world.pacer(**wrong)


# --- properties ----------------------------------------------------------------------------------

ANSWERS = st.lists(
    st.sampled_from(["ok", "ok", "throttled", "retry after", "down", "not found"]), max_size=25
)


def made(answers: Sequence[str]) -> list[BaseException | None]:
    kinds: dict[str, Callable[[], BaseException | None]] = {
        "ok": lambda: None,
        "throttled": ThrottledError,
        "retry after": lambda: ThrottledError(3),
        "down": lambda: ConnectionError("down"),
        "not found": lambda: LookupError("no such symbol"),
    }
    return [kinds[answer]() for answer in answers]


def run(world: World, pacers: Sequence[Pacer]) -> list[int]:
    """Ask until every answer is used, in turns; the number of requests of each call."""
    sizes = []
    while world.answers:
        before = len(world.started)
        try:
            pacers[len(sizes) % len(pacers)].call(world.request)
        except (StillThrottled, BudgetSpent, CircuitOpen) as refusal:
            world.now = max(world.now, refusal.retry_at.timestamp())
        except (ConnectionError, LookupError):
            pass
        sizes.append(len(world.started) - before)
    return sizes


@examples(15)
@given(ANSWERS, st.sampled_from([0.25, 1.0, 7.0]), st.integers(1, 8))
def test_requests_keep_the_delay_and_the_cap_and_are_counted_exactly(
    answers: list[str], delay: float, cap: int
) -> None:
    """Properties 9 (minimum delay) and 10 (request counter). Caught: half the delay; a delay of
    each pacer and not of all together; a hundredth of an hour for the cap; a request that failed
    and is not counted.
    """
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder), answers=made(answers))
        pacers = [world.pacer(min_delay_seconds=delay, hourly_cap=cap) for _ in range(2)]
        run(world, pacers)
        starts = world.started
        assert all(b - a >= delay - 1e-6 for a, b in pairwise(starts))
        assert all(b - a >= 3_600 - 1e-6 for a, b in zip(starts, starts[cap:], strict=False))
        budget = world.pacer().budget()
        happened = [*answers, "ok"][: len(starts)]  # the last call may have asked once more
        day = utc(world.now).date()
        today = [a for a, start in zip(happened, starts, strict=True) if utc(start).date() == day]
        assert budget.requests_in_all == len(starts) >= len(answers)
        assert budget.requests_today == len(today)
        assert budget.throttled_today == sum(a in ("throttled", "retry after") for a in today)
        assert budget.failed_today == today.count("down")
        assert budget.requests_last_hour == sum(start > world.now - 3_600 for start in starts)


@examples(15)
@given(ANSWERS, st.integers(1, 4), st.integers(1, 3))
def test_no_call_asks_more_often_than_its_limits_allow(
    answers: list[str], attempts: int, waits: int
) -> None:
    """Property 13 (retry limit), of many calls. Caught: one attempt too many."""
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder), answers=made(answers))
        pacer = world.pacer(attempts=attempts, throttle_waits_seconds=(5.0,) * waits)
        assert all(size <= attempts + waits for size in run(world, [pacer]))


def requests_of_one_call(answers: Sequence[str], attempts: int, waits: int) -> int:
    """How often a first call asks: until an answer, the last attempt or a 429 after the last
    wait.
    """
    down = throttled = 0
    for number, answer in enumerate([*answers, "ok"], start=1):
        down += answer == "down"
        throttled += answer in ("throttled", "retry after")
        if answer in ("ok", "not found") or down == attempts or throttled > waits:
            return number
    raise AssertionError("an answer ends every call")


@examples(25)
@given(
    st.lists(st.sampled_from(["throttled", "retry after", "down", "down", "ok"]), max_size=8),
    st.integers(1, 4),
    st.integers(1, 3),
)
def test_a_call_asks_again_exactly_as_often_as_its_limits_say(
    answers: list[str], attempts: int, waits: int
) -> None:
    """Property 13 (retry limit), of one call. Caught: no second attempt; a wait left out."""
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder), answers=made(answers))
        with suppress(ConnectionError, StillThrottled):
            world.pacer(attempts=attempts, throttle_waits_seconds=(5.0,) * waits).call(
                world.request
            )
        assert len(world.started) == requests_of_one_call(answers, attempts, waits)


# --- real time -----------------------------------------------------------------------------------


def ask(file: Path, calls: int) -> list[float]:
    """Make requests in real time; when they began, by the clock the pacer read last."""
    read: list[float] = []
    began: list[float] = []

    def clock() -> float:
        read.append(time.time())
        return read[-1]

    pacer = Pacer(file, "yahoo", Pace(min_delay_seconds=0.01), judge=judge, clock=clock)
    for _ in range(calls):
        pacer.call(lambda: began.append(read[-1]))
    return began


def test_processes_keep_one_delay_and_one_exact_counter(tmp_path: Path) -> None:
    file = tmp_path / "pacing.sqlite"
    with PROCESSES.Pool(2) as pool:
        parts = pool.starmap(ask, [(file, 20), (file, 20)], chunksize=1)
        pool.close()
        pool.join()
    starts = sorted(parts[0] + parts[1])
    assert min(b - a for a, b in pairwise(starts)) >= 0.01
    assert Pacer(file, "yahoo", judge=judge).budget().requests_in_all == 40


def test_threads_on_one_pacer_keep_the_delay_too(tmp_path: Path) -> None:
    pacer = Pacer(tmp_path / "pacing.sqlite", "yahoo", Pace(min_delay_seconds=0.01), judge=judge)
    expected = pacer.expected_seconds(20)
    began = time.monotonic()
    threads = [
        threading.Thread(target=lambda: [pacer.call(int) for _ in range(5)]) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert time.monotonic() - began >= expected == pytest.approx(0.19)
    assert pacer.budget().requests_in_all == 20
