"""Load tasks: what is to be asked of a source, symbol by symbol, and how far it has got.

    pending → in_progress → completed
                          → failed         up to five times; then only where a user asks for it
                          → rate_limited   not to be asked before ``retry_at``

Kept in the warehouse, so that an interrupted load can be gone on with. What a task asks for, and
whether it is due, is for ``plan``.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import duckdb

from quant_assets.fetching.pace_counters import LONGEST_BLOCK_SECONDS
from quant_assets.schema.loads import LOAD_TASKS, PRIORITIES, TASK_STATES
from quant_assets.warehouse.writing import Writing

MOST_ATTEMPTS = 5

LONGEST_WAIT = dt.timedelta(seconds=LONGEST_BLOCK_SECONDS)
"""For how long a source is left alone, at most."""

PENDING, IN_PROGRESS, COMPLETED, FAILED, RATE_LIMITED = TASK_STATES

FOLLOWS: Mapping[str, tuple[str, ...]] = {
    PENDING: (IN_PROGRESS,),
    # A load that is stopped puts back what it was asking for.
    IN_PROGRESS: (COMPLETED, FAILED, RATE_LIMITED, PENDING),
    COMPLETED: (PENDING,),
    FAILED: (PENDING,),
    RATE_LIMITED: (PENDING,),
}
"""The states a task can go to from each."""


class TaskStateError(ValueError):
    """A task that can't go from its state to another."""

    def __init__(self, task: Task, state: str) -> None:
        super().__init__(
            f"The task of {task.symbol} at {task.source} is {task.state}, and from there goes to "
            f"{' or '.join(FOLLOWS[task.state])}, not to {state}."
        )


@dataclass(frozen=True)
class Task:
    """One symbol to be asked of one source, over ``start_session`` to ``end_session``.

    ``attempts`` counts the loads in a row that failed on these sessions; ``retry_at`` is UTC,
    naive.
    """

    dataset: str
    source: str
    symbol: str
    start_session: dt.date
    end_session: dt.date
    state: str = PENDING
    attempts: int = 0
    priority: str = PRIORITIES[1]
    retry_at: dt.datetime | None = None
    error: str | None = None

    def to(self, state: str, **facts: object) -> Task:
        """The task in another state. Raises TaskStateError."""
        if state not in FOLLOWS[self.state]:
            raise TaskStateError(self, state)
        return replace(self, state=state, **facts)  # type: ignore[arg-type]

    def planned(
        self, start: dt.date, end: dt.date, priority: str, *, new_days_count: bool = True
    ) -> Task:
        """The task as a new load sets out on it. Sessions that were not wanted before, such as
        last night's, make its attempts start anew.
        """
        new = new_days_count and not self.covers(start, end)
        again = self if self.state in (PENDING, IN_PROGRESS) else self.to(PENDING)
        return replace(
            again,
            state=PENDING,
            start_session=start,
            end_session=end,
            priority=priority,
            attempts=0 if new else self.attempts,
        )

    def begun(self) -> Task:
        return self if self.state == IN_PROGRESS else self.to(IN_PROGRESS)

    def fulfilled(self) -> Task:
        """Completed by another load, which brought what was wanted."""
        return self.planned(self.start_session, self.end_session, self.priority).completed()

    def completed(self) -> Task:
        return self.begun().to(COMPLETED, attempts=0, retry_at=None, error=None)

    def failed(self, error: str) -> Task:
        return self.begun().to(FAILED, attempts=self.attempts + 1, retry_at=None, error=error)

    def limited(self, error: str, retry_at: dt.datetime) -> Task:
        """Not asked, or turned away: no fault of the symbol, and so no attempt."""
        return self.begun().to(RATE_LIMITED, retry_at=retry_at, error=error)

    def put_back(self) -> Task:
        return self.to(PENDING) if self.state == IN_PROGRESS else self

    @property
    def unfinished(self) -> bool:
        return self.state != COMPLETED

    @property
    def open(self) -> bool:
        """Whether a load that goes on would ask for it."""
        return self.unfinished and not self.given_up

    @property
    def given_up(self) -> bool:
        return self.state == FAILED and self.attempts >= MOST_ATTEMPTS

    def waits(self, now: dt.datetime) -> bool:
        """Whether it is not to be asked yet; ``now`` is UTC, naive.

        A time further off than any wait was stored by a clock that ran ahead, and holds nothing.
        """
        return (
            self.state == RATE_LIMITED
            and self.retry_at is not None
            and now < self.retry_at <= now + LONGEST_WAIT
        )

    def covers(self, start: dt.date, end: dt.date) -> bool:
        return self.start_session <= start and end <= self.end_session


_COLUMNS = tuple(Task.__dataclass_fields__)


def read_tasks(
    con: duckdb.DuckDBPyConnection, dataset: str, source: str | None = None
) -> dict[tuple[str, str], Task]:
    """Tasks of a dataset, of one source or of all, by source and symbol."""
    rows = con.execute(
        f"select {', '.join(_COLUMNS)} from load_tasks"  # noqa: S608 - our own field names
        " where dataset = $dataset and ($source is null or source = $source)",
        {"dataset": dataset, "source": source},
    ).fetchall()
    tasks = [Task(*row) for row in rows]
    return {(task.source, task.symbol): task for task in tasks}


def ended_tasks(con: duckdb.DuckDBPyConnection, dataset: str, source: str) -> set[str]:
    """The symbols whose task is not being worked on."""
    tasks = read_tasks(con, dataset, source)
    return {s for (_, s), task in tasks.items() if task.state not in (PENDING, IN_PROGRESS)}


def write_tasks(writing: Writing, tasks: Sequence[Task]) -> None:
    fields = [LOAD_TASKS.arrow_schema.field(name) for name in _COLUMNS]
    import pyarrow as pa

    rows = pa.Table.from_pylist([vars(task) for task in tasks], schema=pa.schema(fields))
    writing.upsert(LOAD_TASKS, rows)


def withdraw_of_former_tickers(writing: Writing) -> None:
    """Forget what is unfinished under a ticker on days since its company has another: those days
    are due under the new ticker.
    """
    writing.con.execute(
        f"delete from {LOAD_TASKS.name} t where state <> '{COMPLETED}' and exists ("  # noqa: S608 - our names
        " from symbol_history former join symbol_history later using (security_id)"
        " where former.symbol = t.symbol and former.valid_to <= t.start_session"
        " and later.valid_from >= former.valid_to"
        ") and not exists (from symbol_history bearer where bearer.symbol = t.symbol"
        "  and (bearer.valid_to is null or bearer.valid_to > t.start_session))"
    )
