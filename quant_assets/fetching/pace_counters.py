"""The request counters of one source: its turns, its waits and its circuit breaker."""

from __future__ import annotations

import sqlite3
from dataclasses import astuple, dataclass

from quant_assets.fetching.pace import (
    HOUR_SECONDS,
    CircuitOpen,
    Pace,
    StillThrottled,
    earliest_start,
    utc,
)

LONGEST_BLOCK_SECONDS = HOUR_SECONDS
"""A source that wants a longer wait is asked again after this one."""

LONGEST_BREAK_SECONDS = 900.0
"""The longest that the circuit breaker stays open."""

TRIAL_SECONDS = 60.0
"""A trial request without a result for this long counts as killed; another may be made."""

LONGEST_TRANSIT_SECONDS = 0.02
"""How long after its start a request may arrive. Requests sent at even intervals arrive at uneven
ones: at the delay of the source's own limit, one in twelve would come too early."""


@dataclass(frozen=True)
class Turn:
    """A request that has begun."""

    name: str
    began_at: float
    is_trial: bool


@dataclass
class SourceState:
    """A row of ``sources``, in the order of its columns; times are Unix seconds."""

    source: str
    seen_at: float = 0.0
    blocked_until: float = 0.0
    throttled_at: float = 0.0
    throttled_in_a_row: int = 0
    failed_in_a_row: int = 0
    open_seconds: float = 0.0
    """For how long the circuit breaker opened last; 0 while it is closed."""
    open_until: float = 0.0


class SourceCounters:
    """The counters of one source, within one transaction."""

    def __init__(self, db: sqlite3.Connection, source: str, now: float) -> None:
        self.db, self.source, self.now = db, source, now
        row = db.execute("select * from sources where source = ?", [source]).fetchone()
        self.state = SourceState(*row) if row else SourceState(source, seen_at=now)
        self._follow_the_clock()
        db.execute(
            "delete from turns where source = ? and starts_at <= ?", [source, now - HOUR_SECONDS]
        )

    def _follow_the_clock(self) -> None:
        """Where the clock was set back, move all times back with it: waits stay as long."""
        back = self.state.seen_at - self.now
        self.state.seen_at = self.now
        if back > 0:
            self.state.blocked_until -= back
            self.state.throttled_at -= back
            self.state.open_until -= back
            self.db.execute(
                "update turns set starts_at = starts_at - ? where source = ?", [back, self.source]
            )

    def save(self) -> None:
        self.db.execute(
            "insert or replace into sources values (?, ?, ?, ?, ?, ?, ?, ?)",
            astuple(self.state),
        )

    def count(self, *, requests: int = 0, throttled: int = 0, failed: int = 0) -> None:
        self.db.execute(
            "insert into days values (?, ?, ?, ?, ?) on conflict do update set"
            " requests = requests + excluded.requests, throttled = throttled + excluded.throttled,"
            " failed = failed + excluded.failed",
            [self.source, str(utc(self.now).date()), requests, throttled, failed],
        )

    def refuse_if_blocked(self, pace: Pace, until: float) -> None:
        """Raise CircuitOpen or StillThrottled where no request may start by ``until``."""
        state = self.state
        if state.open_seconds and self.now < state.open_until:
            raise CircuitOpen(self.source, state.open_until)
        given_up = state.throttled_in_a_row > len(pace.throttle_waits_seconds)
        if state.blocked_until > (self.now if given_up else until):
            raise StillThrottled(self.source, state.blocked_until)

    def next_start(self, pace: Pace, *, after_queue: bool) -> float:
        """When a request may start after those begun, or also after those in the queue."""
        newest, oldest_of_cap = (
            self.db.execute(
                "select max(starts_at) from (select starts_at from turns where source = ?"
                " and begun >= ? order by starts_at desc limit 1 offset ?)",
                [self.source, 0 if after_queue else 1, back],
            ).fetchone()[0]
            or 0.0
            for back in (0, pace.hourly_cap - 1)
        )
        return max(self.state.blocked_until, earliest_start(newest, oldest_of_cap, pace))

    def starts(self) -> list[float]:
        """Every start in the last hour and in the queue, oldest first."""
        rows = self.db.execute(
            "select starts_at from turns where source = ? order by starts_at", [self.source]
        )
        return [start for (start,) in rows]

    def due_at(self, turn: str) -> float | None:
        """When ``turn`` is due; None if it isn't reserved, or was removed by a later one."""
        row = self.db.execute("select starts_at from turns where turn = ?", [turn]).fetchone()
        return row[0] if row else None

    def reserve(self, turn: str, starts_at: float, *, begun: bool = False) -> None:
        self.db.execute(
            "insert or replace into turns values (?, ?, ?, ?)",
            [turn, self.source, starts_at, begun],
        )

    def withdraw(self, turn: str) -> None:
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
            self.reserve(turn, until)
            until += pace.min_delay_seconds

    def begin(self, turn: str, due_at: float) -> Turn:
        """Begin ``turn``, and remove turns due before it that were killed or slept."""
        self.db.execute(
            "delete from turns where source = ? and not begun and starts_at < ?",
            [self.source, due_at],
        )
        self.reserve(turn, self.now, begun=True)
        self.count(requests=1)
        is_trial = self.state.open_seconds > 0
        if is_trial:
            self.state.open_until = self.now + max(self.state.open_seconds, TRIAL_SECONDS)
        return Turn(turn, self.now, is_trial)

    def note_arrival(self, turn: Turn) -> None:
        """Move the start of a turn to its arrival, from which on a source counts."""
        arrived = min(self.now, turn.began_at + LONGEST_TRANSIT_SECONDS)
        self.db.execute(
            "update turns set starts_at = max(starts_at, ?) where turn = ?", [arrived, turn.name]
        )

    def note_contact(self) -> None:
        """The source is up."""
        self.state.failed_in_a_row = 0
        self.state.open_seconds = self.state.open_until = 0.0

    def note_throttled(self, turn: Turn, retry_after_seconds: float | None, pace: Pace) -> None:
        """Block all requests. Those under way together that are all refused count as one step."""
        state, waits = self.state, pace.throttle_waits_seconds
        self.note_contact()
        self.count(throttled=1)
        wait = retry_after_seconds
        if turn.began_at >= state.throttled_at:
            if self.now - state.throttled_at > HOUR_SECONDS:
                state.throttled_in_a_row = 0
            state.throttled_in_a_row += 1
            state.throttled_at = self.now
            if wait is None:
                wait = waits[min(state.throttled_in_a_row, len(waits)) - 1]
        if wait is not None:
            until = self.now + min(max(0.0, wait), LONGEST_BLOCK_SECONDS)
            state.blocked_until = max(state.blocked_until, until)

    def note_failed_call(self, turn: Turn, pace: Pace) -> None:
        """Count a call that failed for good; the last one allowed or a trial opens the circuit."""
        state = self.state
        if state.open_seconds and not turn.is_trial:
            return  # it began before the circuit opened, and adds nothing
        state.failed_in_a_row += 1
        if turn.is_trial or state.failed_in_a_row >= pace.breaker_after:
            longer = state.open_seconds * 2 or pace.breaker_seconds
            state.open_seconds = min(longer, LONGEST_BREAK_SECONDS)
            state.open_until = self.now + state.open_seconds
