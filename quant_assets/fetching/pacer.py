"""How often a source may be asked: rate limit, back-off and circuit breaker around any callable.

Every request takes a turn. A turn is reserved in one short transaction, waited for outside of it,
and begun in another one, so that all threads and processes on one file keep one queue. What a turn
is used for, and which exception means what, the caller says (``Judge``); no HTTP library and no
warehouse is known here.

    PacingError           nothing was asked, or nothing more will be, before ``retry_at``
    ├── StillThrottled    the source asks us to slow down, and we have waited often enough
    ├── BudgetSpent       the next turn is further away than we are told to wait
    └── CircuitOpen       the source is down
    PacingFileError       the counters can't be read or written
"""

from __future__ import annotations

import random
import sqlite3
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

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
from quant_assets.fetching.pace_counters import BUSY_SECONDS, SCHEMA, Counters, Turn, explained


def a_little_more(wait_seconds: float) -> float:
    """Up to a quarter of a wait on top, so that those who failed together don't return together."""
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
        jitter: Callable[[float], float] = a_little_more,
    ) -> None:
        """``path`` may be shared by sources; ``jitter`` gives the seconds to add to a wait."""
        self._path, self._source, self._pace = path, source, pace
        self._judge, self._clock, self._sleep, self._jitter = judge, clock, sleep, jitter

    def call(self, request: Callable[[], T]) -> T:
        """Call ``request`` in its turn, and again after faults that may pass.

        Raises PacingError where that has to end, else what ``request`` raised last.
        """
        with self._open() as counters:
            return self._call(counters, request)

    def budget(self) -> Budget:
        """What was asked so far, and when the next request may start."""
        with self._open() as counters, counters.books() as books:
            (last_hour,) = books.db.execute(
                "select count(*) from turns where source = ? and begun", [self._source]
            ).fetchone()
            days = books.db.execute(
                "select day = ?, requests, throttled, failed from days where source = ?",
                [str(utc(books.now).date()), self._source],
            ).fetchall()
            open_until = books.standing.open_until
            next_at = max(books.free_from(self._pace, waiting_too=True), open_until, books.now)
            today = next((row[1:] for row in days if row[0]), (0, 0, 0))
            return Budget(
                requests_last_hour=last_hour,
                hourly_cap=self._pace.hourly_cap,
                requests_today=today[0],
                throttled_today=today[1],
                failed_today=today[2],
                requests_in_all=sum(row[1] for row in days),
                next_at=utc(next_at),
                breaker_until=utc(open_until) if open_until > books.now else None,
            )

    def expected_seconds(self, requests: int) -> float:
        """Until the last of so many requests could start, from now, were each answered at once."""
        with self._open() as counters, counters.books() as books:
            standing = books.standing
            now, start = books.now, max(books.now, standing.blocked_until, standing.open_until)
            cap = self._pace.hourly_cap
            starts = deque([0.0] * cap + books.starts(), cap)
        for _ in range(requests):
            start = max(start, earliest_start(starts[-1], starts[0], self._pace))
            starts.append(start)
        return start - now if requests else 0.0

    def _call(self, counters: Counters, request: Callable[[], T]) -> T:
        throttled = failed = 0
        fault: Exception | None = None
        while True:
            try:
                turn = self._take_turn(counters)
            except PacingError as refusal:
                raise refusal from fault
            try:
                answer = request()
            except Exception as error:
                judged = self._judge(error)
                fault = error
                if judged is None:
                    self._note_answer(counters, turn)
                    raise
                if judged.kind == "throttled":
                    throttled += 1
                    self._note_throttled(counters, turn, judged, throttled)
                else:
                    failed += 1
                    if self._note_failed(counters, turn, failed):
                        error.add_note(f"{self._source} was asked {throttled + failed} times.")
                        raise
            except BaseException:
                self._note_interrupted(counters, turn)
                raise
            else:
                self._note_answer(counters, turn)
                return answer
            if judged.kind == "transient":
                self._sleep(self._wait_seconds(failed))

    def _take_turn(self, counters: Counters) -> Turn:
        """Wait for a turn and begin it; one that is not begun leaves no trace."""
        turn, until = uuid.uuid4().hex, self._clock() + self._pace.patience_seconds
        try:
            while not isinstance(step := self._step(counters, turn, until), Turn):
                self._sleep(step)
        except PacingFileError:
            raise  # there is nothing to tidy up in
        except BaseException:
            with counters.books() as books:
                books.give_up(turn)
            raise
        return step

    def _step(self, counters: Counters, turn: str, until: float) -> Turn | float:
        """Begin ``turn`` if it is due, else keep its place and return the seconds to wait."""
        with counters.books() as books:
            books.refuse_if_hopeless(self._pace, until)
            due_at = books.place_of(turn)
            if due_at is None:
                due_at = max(books.now, books.free_from(self._pace, waiting_too=True))
                books.place(turn, due_at)
            elif due_at <= books.now < (free := books.free_from(self._pace, waiting_too=False)):
                # Others began late, or were told to wait, after the place was reserved.
                books.postpone_queue(free, self._pace)
                due_at = free
            if due_at > until:
                raise BudgetSpent(self._source, due_at)
            if due_at > books.now:
                return due_at - books.now
            return books.begin(turn, due_at)

    def _note_answer(self, counters: Counters, turn: Turn) -> None:
        with counters.books() as books:
            books.note_arrival(turn)
            books.note_contact()
            if turn.began_at >= books.standing.throttled_at:
                books.standing.throttled_in_a_row = 0

    def _note_throttled(self, counters: Counters, turn: Turn, fault: Fault, tries: int) -> None:
        """Raises StillThrottled once the waits are used up, by this call or by all of them."""
        with counters.books() as books:
            books.note_arrival(turn)
            books.note_throttled(turn, fault.retry_after_seconds, self._pace)
            standing = books.standing
        if max(tries, standing.throttled_in_a_row) > len(self._pace.throttle_waits_seconds):
            raise StillThrottled(self._source, standing.blocked_until)

    def _note_failed(self, counters: Counters, turn: Turn, tries: int) -> bool:
        """Whether the call has failed for good. A trial gets one request, not several."""
        for_good = turn.is_trial or tries >= self._pace.attempts
        with counters.books() as books:
            books.count(failed=1)
            if for_good:
                books.note_failed_call(turn, self._pace)
        return for_good

    def _note_interrupted(self, counters: Counters, turn: Turn) -> None:
        """Nobody knows how the request ended: let the next one be the trial, if this was it."""
        if turn.is_trial:
            with counters.books() as books:
                books.standing.open_until = min(books.standing.open_until, books.now)

    def _wait_seconds(self, failed: int) -> float:
        wait = self._pace.first_wait_seconds * 2.0 ** (failed - 1)
        return min(wait + self._jitter(wait), self._pace.longest_wait_seconds)

    @contextmanager
    def _open(self) -> Iterator[Counters]:
        with explained(self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            db = sqlite3.connect(self._path, BUSY_SECONDS, isolation_level=None)
        with closing(db):
            with explained(self._path):
                with suppress(sqlite3.OperationalError):
                    # Locked at once, without waiting, where two processes open a new file; whoever
                    # opens it next switches over. Until then only commits are slower.
                    db.execute("pragma journal_mode = wal")
                db.execute("pragma synchronous = normal")
                with db:
                    db.execute("begin immediate")
                    for statement in SCHEMA.split(";"):
                        db.execute(statement)
            yield Counters(db, self._path, self._source, self._clock)
