"""Pacing of any callable: rate limit, back-off and circuit breaker around requests of a source.

Every request takes a turn. A turn is reserved in one short transaction, waited for outside of it,
and begun in another one, so that all threads and processes on one file keep one queue. The caller
decides what a request does and what its errors mean (``Judge``); no HTTP library and no warehouse
is known here. The errors are drawn in ``pace.py``.
"""

from __future__ import annotations

import random
import time
import uuid
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path

from quant_assets.fetching.counter_file import CounterFile, open_counters
from quant_assets.fetching.pace import (
    Budget,
    BudgetSpent,
    Fault,
    Judge,
    Pace,
    PacingError,
    PacingFileError,
    StillThrottled,
    T,
    earliest_start,
    utc,
)
from quant_assets.fetching.pace_counters import Turn


def extra_wait(wait_seconds: float) -> float:
    """Up to a quarter of a wait, so that requests that failed together don't come back together."""
    return random.uniform(0, wait_seconds / 4)


class Pacer:
    """Makes requests of one source, each in its turn; any number of threads may call at once."""

    def __init__(
        self,
        path: Path,
        source: str,
        pace: Pace = Pace(),
        *,
        judge: Judge,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[float], float] = extra_wait,
    ) -> None:
        """``path`` may be shared by sources; ``jitter`` gives the seconds to add to a wait."""
        self._source, self._pace = source, pace
        self._open = partial(open_counters, path, source, clock)
        self._judge, self._clock, self._sleep, self._jitter = judge, clock, sleep, jitter

    def call(self, request: Callable[[], T]) -> T:
        """Call ``request`` in its turn, and again after faults that may pass.

        Raises PacingError where that has to end, else what ``request`` raised last.
        """
        with self._open() as file:
            return self._call(file, request)

    def budget(self) -> Budget:
        """The requests made so far, and when the next one may start."""
        with self._open() as file, file.transaction() as counters:
            (last_hour,) = counters.db.execute(
                "select count(*) from turns where source = ? and begun", [self._source]
            ).fetchone()
            days = counters.db.execute(
                "select day = ?, requests, throttled, failed from days where source = ?",
                [str(utc(counters.now).date()), self._source],
            ).fetchall()
            now, open_until = counters.now, counters.state.open_until
            next_at = max(counters.next_start(self._pace, after_queue=True), open_until, now)
            today = next((row[1:] for row in days if row[0]), (0, 0, 0))
            return Budget(
                requests_last_hour=last_hour,
                hourly_cap=self._pace.hourly_cap,
                requests_today=today[0],
                throttled_today=today[1],
                failed_today=today[2],
                requests_in_all=sum(row[1] for row in days),
                next_at=utc(next_at),
                breaker_until=utc(open_until) if open_until > now else None,
            )

    def expected_seconds(self, requests: int) -> float:
        """Seconds until the last of so many requests starts, if each is answered at once."""
        with self._open() as file, file.transaction() as counters:
            state = counters.state
            now, start = counters.now, max(counters.now, state.blocked_until, state.open_until)
            cap = self._pace.hourly_cap
            starts = deque([0.0] * cap + counters.starts(), cap)
        for _ in range(requests):
            start = max(start, earliest_start(starts[-1], starts[0], self._pace))
            starts.append(start)
        return start - now if requests else 0.0

    def _call(self, file: CounterFile, request: Callable[[], T]) -> T:
        throttled = failed = 0
        fault: Exception | None = None
        while True:
            try:
                turn = self._take_turn(file)
            except PacingError as refusal:
                raise refusal from fault
            try:
                answer = request()
            except Exception as error:
                judged = self._judge(error)
                fault = error
                if judged is None:
                    self._note_answer(file, turn)
                    raise
                if judged.kind == "throttled":
                    throttled += 1
                    self._note_throttled(file, turn, judged, throttled)
                else:
                    failed += 1
                    if self._note_failed(file, turn, failed):
                        error.add_note(f"{self._source} was asked {throttled + failed} times.")
                        raise
            except BaseException:
                self._note_interrupted(file, turn)
                raise
            else:
                self._note_answer(file, turn)
                return answer
            if judged.kind == "transient":
                self._sleep(self._wait_seconds(failed))

    def _take_turn(self, file: CounterFile) -> Turn:
        """Wait for a turn and begin it; withdraw one that does not begin."""
        turn, until = uuid.uuid4().hex, self._clock() + self._pace.patience_seconds
        try:
            while not isinstance(step := self._step(file, turn, until), Turn):
                self._sleep(step)
        except PacingFileError:
            raise  # there is no file to withdraw the turn from
        except BaseException:
            with file.transaction() as counters:
                counters.withdraw(turn)
            raise
        return step

    def _step(self, file: CounterFile, turn: str, until: float) -> Turn | float:
        """Begin ``turn`` if it is due, else keep its place and return the seconds to wait."""
        with file.transaction() as counters:
            counters.refuse_if_blocked(self._pace, until)
            now, due_at = counters.now, counters.due_at(turn)
            if due_at is None:
                due_at = max(now, counters.next_start(self._pace, after_queue=True))
                counters.reserve(turn, due_at)
            elif due_at <= now < (free := counters.next_start(self._pace, after_queue=False)):
                # Other turns began late, or were blocked, after this one was reserved.
                counters.postpone_queue(free, self._pace)
                due_at = free
            if due_at > until:
                raise BudgetSpent(self._source, due_at)
            if due_at > now:
                return due_at - now
            return counters.begin(turn, due_at)

    def _note_answer(self, file: CounterFile, turn: Turn) -> None:
        with file.transaction() as counters:
            counters.note_arrival(turn)
            counters.note_contact()
            if turn.began_at >= counters.state.throttled_at:
                counters.state.throttled_in_a_row = 0

    def _note_throttled(self, file: CounterFile, turn: Turn, fault: Fault, tries: int) -> None:
        """Raises StillThrottled once the waits are used up, by this call or by all of them."""
        with file.transaction() as counters:
            counters.note_arrival(turn)
            counters.note_throttled(turn, fault.retry_after_seconds, self._pace)
            state = counters.state
        if max(tries, state.throttled_in_a_row) > len(self._pace.throttle_waits_seconds):
            raise StillThrottled(self._source, state.blocked_until)

    def _note_failed(self, file: CounterFile, turn: Turn, tries: int) -> bool:
        """Whether the call has failed for good. A trial gets one request, not several."""
        for_good = turn.is_trial or tries >= self._pace.attempts
        with file.transaction() as counters:
            counters.count(failed=1)
            if for_good:
                counters.note_failed_call(turn, self._pace)
        return for_good

    def _note_interrupted(self, file: CounterFile, turn: Turn) -> None:
        """Let the next request be the trial if this one was: its result is unknown."""
        if turn.is_trial:
            with file.transaction() as counters:
                counters.state.open_until = min(counters.state.open_until, counters.now)

    def _wait_seconds(self, failed: int) -> float:
        wait = self._pace.first_wait_seconds * 2.0 ** (failed - 1)
        return min(wait + self._jitter(wait), self._pace.longest_wait_seconds)
