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

import datetime as dt
import random
import sqlite3
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Literal, TypeVar

T = TypeVar("T")

HOUR_SECONDS = 3600.0
LONGEST_BLOCK_SECONDS = HOUR_SECONDS
"""However long a source says to wait, it is asked again after this."""
LONGEST_BREAK_SECONDS = 900.0
TRIAL_SECONDS = 60.0
"""A trial request without a result for so long was killed, and another may be made."""
BUSY_SECONDS = 30.0
LONGEST_WAY_SECONDS = 0.02
"""How long after its start a request may have arrived. Requests sent at even distances arrive at
uneven ones, and at a delay that is a limit's own, one in twelve would come too early."""

_SCHEMA = """
create table if not exists sources (
    source text primary key, seen_at real, blocked_until real, throttled_at real,
    throttled_in_a_row integer, failed_in_a_row integer, open_seconds real, open_until real
) strict;
create table if not exists turns (
    turn text primary key, source text, starts_at real, begun integer
) strict, without rowid;
create index if not exists turns_by_start on turns (source, starts_at, begun);
create table if not exists days (
    source text, day text, requests integer, throttled integer, failed integer,
    primary key (source, day)
) strict, without rowid;
"""


@dataclass(frozen=True)
class Pace:
    """How a source may be asked. The defaults are ours: cautious enough for a free web source."""

    min_delay_seconds: float = 0.5
    """Between the starts of two requests, over all processes."""
    hourly_cap: int = 2_000
    """Requests in any sliding hour."""
    attempts: int = 3
    """Requests for one call while the source fails."""
    first_wait_seconds: float = 1.0
    """After the first fault; then twice as long each time, jitter included up to the longest."""
    longest_wait_seconds: float = 30.0
    throttle_waits_seconds: tuple[float, ...] = (5.0, 10.0, 20.0, 40.0, 80.0)
    """After the first, second … 429 in a row that came without Retry-After."""
    breaker_after: int = 5
    """Calls in a row that failed for good; then nothing is asked."""
    breaker_seconds: float = 60.0
    """For so long, and twice as long after each trial that fails, up to 900 s."""
    patience_seconds: float = 900.0
    """The longest that a request waits for its turn."""

    def __post_init__(self) -> None:
        counts = (
            self.hourly_cap,
            self.attempts,
            self.breaker_after,
            len(self.throttle_waits_seconds),
        )
        if min(counts) < 1:
            raise ValueError(f"A cap, a number of attempts and waits must be at least 1: {self}.")


@dataclass(frozen=True)
class Fault:
    """What an exception means for pacing."""

    kind: Literal["throttled", "transient"]
    retry_after_seconds: float | None = None


Judge = Callable[[Exception], Fault | None]
"""The fault behind an exception; None: the source answered, and what it said is not our affair."""


@dataclass(frozen=True)
class Budget:
    """Requests made of a source, those that failed among them, and when the next may start.

    Days are UTC days.
    """

    requests_last_hour: int
    hourly_cap: int
    requests_today: int
    throttled_today: int
    failed_today: int
    requests_in_all: int
    next_at: dt.datetime
    breaker_until: dt.datetime | None
    """Until when the circuit breaker is open; None while it is closed or due for a trial."""


class PacingError(Exception):
    """``source`` is asked for nothing before ``retry_at`` (UTC)."""

    reason = "it has to wait"

    def __init__(self, source: str, retry_at: float) -> None:
        self.source = source
        self.retry_at = _utc(retry_at)
        super().__init__(
            f"{source} is not asked again before {self.retry_at:%Y-%m-%d %H:%M:%S} UTC: "
            f"{self.reason}."
        )


class StillThrottled(PacingError):  # noqa: N818 - names the fact, as the tree above draws it
    reason = "it wants fewer requests"


class BudgetSpent(PacingError):  # noqa: N818
    reason = "the requests allowed until then are made or spoken for"


class CircuitOpen(PacingError):  # noqa: N818
    reason = "it has failed too often in a row"


class PacingFileError(Exception):
    """The counters can't be used.

    Starting anew by ourselves would forget how much was asked in the last hour and that a source
    told us to stop, and the price of that is being shut out; so a person decides.
    """

    def __init__(self, path: Path, cause: Exception) -> None:
        super().__init__(
            f"The request counters in {path} can't be used ({cause}). Nothing was asked. If the "
            "file is damaged, delete it: counting then starts anew."
        )
        self.path = path


@dataclass(frozen=True)
class _Turn:
    """A request that has begun."""

    name: str
    began_at: float
    is_trial: bool


@dataclass
class _Standing:
    """How we stand with a source; a row of ``sources`` in the order of its columns."""

    source: str
    seen_at: float = 0.0
    blocked_until: float = 0.0
    throttled_at: float = 0.0
    throttled_in_a_row: int = 0
    failed_in_a_row: int = 0
    open_seconds: float = 0.0
    """How long the circuit breaker opened for; 0: it is closed."""
    open_until: float = 0.0


class _Books:
    """The books on one source, within one transaction."""

    def __init__(self, db: sqlite3.Connection, source: str, now: float) -> None:
        self.db, self.source, self.now = db, source, now
        row = db.execute("select * from sources where source = ?", [source]).fetchone()
        self.standing = _Standing(*row) if row else _Standing(source, seen_at=now)
        self._follow_the_clock()
        db.execute(
            "delete from turns where source = ? and starts_at <= ?", [source, now - HOUR_SECONDS]
        )

    def _follow_the_clock(self) -> None:
        """A clock that was set back takes all that was noted back with it: waits stay as long."""
        back = self.standing.seen_at - self.now
        self.standing.seen_at = self.now
        if back > 0:
            self.standing.blocked_until -= back
            self.standing.throttled_at -= back
            self.standing.open_until -= back
            self.db.execute(
                "update turns set starts_at = starts_at - ? where source = ?", [back, self.source]
            )

    def save(self) -> None:
        self.db.execute(
            "insert or replace into sources values (?, ?, ?, ?, ?, ?, ?, ?)",
            astuple(self.standing),
        )

    def count(self, *, requests: int = 0, throttled: int = 0, failed: int = 0) -> None:
        self.db.execute(
            "insert into days values (?, ?, ?, ?, ?) on conflict do update set"
            " requests = requests + excluded.requests, throttled = throttled + excluded.throttled,"
            " failed = failed + excluded.failed",
            [self.source, str(_utc(self.now).date()), requests, throttled, failed],
        )

    def refuse_if_hopeless(self, pace: Pace, until: float) -> None:
        """Raise where waiting ``until`` then can't help."""
        standing = self.standing
        if standing.open_seconds and self.now < standing.open_until:
            raise CircuitOpen(self.source, standing.open_until)
        given_up = standing.throttled_in_a_row > len(pace.throttle_waits_seconds)
        if standing.blocked_until > (self.now if given_up else until):
            raise StillThrottled(self.source, standing.blocked_until)

    def free_from(self, pace: Pace, *, waiting_too: bool) -> float:
        """When the next request may start, after those begun or also after those in the queue."""
        newest, oldest_of_cap = (
            self.db.execute(
                "select max(starts_at) from (select starts_at from turns where source = ?"
                " and begun >= ? order by starts_at desc limit 1 offset ?)",
                [self.source, 0 if waiting_too else 1, back],
            ).fetchone()[0]
            or 0.0
            for back in (0, pace.hourly_cap - 1)
        )
        return max(self.standing.blocked_until, _after(newest, oldest_of_cap, pace))

    def starts(self) -> list[float]:
        """Every start in the last hour and in the queue, oldest first."""
        rows = self.db.execute(
            "select starts_at from turns where source = ? order by starts_at", [self.source]
        )
        return [start for (start,) in rows]

    def place_of(self, turn: str) -> float | None:
        """When ``turn`` is due; None if it isn't reserved, or was overtaken."""
        row = self.db.execute("select starts_at from turns where turn = ?", [turn]).fetchone()
        return row[0] if row else None

    def place(self, turn: str, starts_at: float, *, begun: bool = False) -> None:
        self.db.execute(
            "insert or replace into turns values (?, ?, ?, ?)",
            [turn, self.source, starts_at, begun],
        )

    def give_up(self, turn: str) -> None:
        self.db.execute("delete from turns where turn = ? and not begun", [turn])

    def postpone_queue(self, until: float, pace: Pace) -> None:
        """Let no waiting turn be due before ``until``; their order and distance stay."""
        waiting = self.db.execute(
            "select turn, starts_at from turns where source = ? and not begun order by starts_at",
            [self.source],
        ).fetchall()
        for turn, starts_at in waiting:
            if starts_at >= until:
                break
            self.place(turn, until)
            until += pace.min_delay_seconds

    def begin(self, turn: str, place: float) -> _Turn:
        """Begin ``turn``. Who was due before it and didn't come, was killed or slept: out."""
        self.db.execute(
            "delete from turns where source = ? and not begun and starts_at < ?",
            [self.source, place],
        )
        self.place(turn, self.now, begun=True)
        self.count(requests=1)
        is_trial = self.standing.open_seconds > 0
        if is_trial:
            self.standing.open_until = self.now + max(self.standing.open_seconds, TRIAL_SECONDS)
        return _Turn(turn, self.now, is_trial)

    def note_arrival(self, turn: _Turn) -> None:
        """A request has arrived when it is answered, at the latest; a source counts from there."""
        arrived = min(self.now, turn.began_at + LONGEST_WAY_SECONDS)
        self.db.execute(
            "update turns set starts_at = max(starts_at, ?) where turn = ?", [arrived, turn.name]
        )

    def note_contact(self) -> None:
        """The source is up."""
        self.standing.failed_in_a_row = 0
        self.standing.open_seconds = self.standing.open_until = 0.0

    def note_throttled(self, turn: _Turn, retry_after_seconds: float | None, pace: Pace) -> None:
        """Block everybody. Requests under way together that are all refused count as one step."""
        standing, waits = self.standing, pace.throttle_waits_seconds
        self.note_contact()
        self.count(throttled=1)
        wait = retry_after_seconds
        if turn.began_at >= standing.throttled_at:
            if self.now - standing.throttled_at > HOUR_SECONDS:
                standing.throttled_in_a_row = 0
            standing.throttled_in_a_row += 1
            standing.throttled_at = self.now
            if wait is None:
                wait = waits[min(standing.throttled_in_a_row, len(waits)) - 1]
        if wait is not None:
            until = self.now + min(max(0.0, wait), LONGEST_BLOCK_SECONDS)
            standing.blocked_until = max(standing.blocked_until, until)

    def note_failed_call(self, turn: _Turn, pace: Pace) -> None:
        """One more call failed for good. The last straw opens the circuit, and so does a trial."""
        standing = self.standing
        if standing.open_seconds and not turn.is_trial:
            return  # it began before the circuit opened, and tells nothing new
        standing.failed_in_a_row += 1
        if turn.is_trial or standing.failed_in_a_row >= pace.breaker_after:
            longer = standing.open_seconds * 2 or pace.breaker_seconds
            standing.open_seconds = min(longer, LONGEST_BREAK_SECONDS)
            standing.open_until = self.now + standing.open_seconds


@dataclass(frozen=True)
class _Counters:
    """The file, open for one call.

    A connection that is kept for longer breaks where a process forks; one for every transaction
    makes the start of a request wait for the disk.
    """

    db: sqlite3.Connection
    path: Path
    source: str
    clock: Callable[[], float]

    @contextmanager
    def books(self) -> Iterator[_Books]:
        """The books in one transaction, which an exception undoes.

        The clock is read inside, so that times are noted in the order in which they are read.
        """
        with _explained(self.path), self.db:
            self.db.execute("begin immediate")
            books = _Books(self.db, self.source, self.clock())
            yield books
            books.save()


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
                [str(_utc(books.now).date()), self._source],
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
                next_at=_utc(next_at),
                breaker_until=_utc(open_until) if open_until > books.now else None,
            )

    def expected_seconds(self, requests: int) -> float:
        """Until the last of so many requests could start, from now, were each answered at once."""
        with self._open() as counters, counters.books() as books:
            standing = books.standing
            now, start = books.now, max(books.now, standing.blocked_until, standing.open_until)
            cap = self._pace.hourly_cap
            starts = deque([0.0] * cap + books.starts(), cap)
        for _ in range(requests):
            start = max(start, _after(starts[-1], starts[0], self._pace))
            starts.append(start)
        return start - now if requests else 0.0

    def _call(self, counters: _Counters, request: Callable[[], T]) -> T:
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

    def _take_turn(self, counters: _Counters) -> _Turn:
        """Wait for a turn and begin it; one that is not begun leaves no trace."""
        turn, until = uuid.uuid4().hex, self._clock() + self._pace.patience_seconds
        try:
            while not isinstance(step := self._step(counters, turn, until), _Turn):
                self._sleep(step)
        except PacingFileError:
            raise  # there is nothing to tidy up in
        except BaseException:
            with counters.books() as books:
                books.give_up(turn)
            raise
        return step

    def _step(self, counters: _Counters, turn: str, until: float) -> _Turn | float:
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

    def _note_answer(self, counters: _Counters, turn: _Turn) -> None:
        with counters.books() as books:
            books.note_arrival(turn)
            books.note_contact()
            if turn.began_at >= books.standing.throttled_at:
                books.standing.throttled_in_a_row = 0

    def _note_throttled(self, counters: _Counters, turn: _Turn, fault: Fault, tries: int) -> None:
        """Raises StillThrottled once the waits are used up, by this call or by all of them."""
        with counters.books() as books:
            books.note_arrival(turn)
            books.note_throttled(turn, fault.retry_after_seconds, self._pace)
            standing = books.standing
        if max(tries, standing.throttled_in_a_row) > len(self._pace.throttle_waits_seconds):
            raise StillThrottled(self._source, standing.blocked_until)

    def _note_failed(self, counters: _Counters, turn: _Turn, tries: int) -> bool:
        """Whether the call has failed for good. A trial gets one request, not several."""
        for_good = turn.is_trial or tries >= self._pace.attempts
        with counters.books() as books:
            books.count(failed=1)
            if for_good:
                books.note_failed_call(turn, self._pace)
        return for_good

    def _note_interrupted(self, counters: _Counters, turn: _Turn) -> None:
        """Nobody knows how the request ended: let the next one be the trial, if this was it."""
        if turn.is_trial:
            with counters.books() as books:
                books.standing.open_until = min(books.standing.open_until, books.now)

    def _wait_seconds(self, failed: int) -> float:
        wait = self._pace.first_wait_seconds * 2.0 ** (failed - 1)
        return min(wait + self._jitter(wait), self._pace.longest_wait_seconds)

    @contextmanager
    def _open(self) -> Iterator[_Counters]:
        with _explained(self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            db = sqlite3.connect(self._path, BUSY_SECONDS, isolation_level=None)
        with closing(db):
            with _explained(self._path):
                with suppress(sqlite3.OperationalError):
                    # Locked at once, without waiting, where two processes open a new file; whoever
                    # opens it next switches over. Until then only commits are slower.
                    db.execute("pragma journal_mode = wal")
                db.execute("pragma synchronous = normal")
                with db:
                    db.execute("begin immediate")
                    for statement in _SCHEMA.split(";"):
                        db.execute(statement)
            yield _Counters(db, self._path, self._source, self._clock)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.DatabaseError, OSError) as error:
        raise PacingFileError(path, error) from error


def _after(newest: float, oldest_of_cap: float, pace: Pace) -> float:
    """When a request may follow the newest one, and the one that is as many back as the cap."""
    return max(newest + pace.min_delay_seconds, oldest_of_cap + HOUR_SECONDS)


def _utc(timestamp: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(timestamp, dt.UTC)
