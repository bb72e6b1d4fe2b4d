"""What earlier loads of a dataset left behind: tasks, and each symbol's last request."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import duckdb

from quant_assets.contracts.source import SourceProfile
from quant_assets.loading.dataset import Due
from quant_assets.loading.tasks import FAILED, RATE_LIMITED, Task, read_tasks
from quant_assets.loading.work import PROBES, Asking
from quant_assets.schema.loads import PRIORITIES


@dataclass(frozen=True)
class Pending:
    """The record of one dataset at one source, by symbol; times are UTC, naive.

    ``requested_before`` are symbols that earlier runs of the same backfill were sent for, each with
    its error if any. ``recorded`` counts the symbols of all its loads so far.
    """

    dataset: str
    source: SourceProfile
    tasks: Mapping[str, Task] = field(default_factory=dict)
    asked_at: Mapping[str, dt.datetime] = field(default_factory=dict)
    asked_for_all_at: Mapping[str, dt.datetime] = field(default_factory=dict)
    requested_before: Mapping[str, str | None] = field(default_factory=dict)
    recorded: int = 0

    @classmethod
    def read(
        cls,
        con: duckdb.DuckDBPyConnection,
        dataset: str,
        source: SourceProfile,
        backfill: str | None,
    ) -> Pending:
        ours = [dataset, source.name]
        asked = con.execute(
            "select symbol, asked_at, asked_for_all_at from source_symbols"
            " where dataset = ? and source = ?",
            ours,
        ).fetchall()
        before = con.execute(
            "select s.symbol, max(s.error) from load_run_symbols s"
            " join load_runs r using (run_id, dataset, source)"
            " where r.backfill = ? and dataset = ? and source = ? group by 1",
            [backfill, *ours],
        ).fetchall()
        return cls(
            dataset,
            source,
            {symbol: task for (_, symbol), task in read_tasks(con, *ours).items()},
            {symbol: moment for symbol, moment, _ in asked},
            {symbol: moment for symbol, _, moment in asked if moment is not None},
            dict(before),
            recorded_symbols(con, *ours),
        )

    def task(self, symbol: str, due: Due, priority: str | None) -> Task:
        """The task of requesting the due days of a symbol."""
        known = self.tasks.get(symbol)
        start, end = min(due.days), max(due.days)
        usual = PRIORITIES[1]
        if known is None:
            given = priority or usual
            return Task(self.dataset, self.source.name, symbol, start, end, priority=given)
        given = priority or (known.priority if known.open else usual)
        return known.planned(start, end, given, new_days_count=due.new_days_count)

    def failed_before(self, symbol: str) -> bool:
        return symbol in self.tasks and self.tasks[symbol].state == FAILED

    def left_alone(self, tasks: Mapping[str, Task], now: dt.datetime) -> dict[str, str]:
        """Symbols that are not to be requested, with why: given up on these days, or waiting."""
        moment = now.astimezone(dt.UTC).replace(tzinfo=None)
        left = {}
        for symbol, task in tasks.items():
            known = self.tasks.get(symbol)
            if known is None:
                continue
            if known.given_up and task.attempts >= known.attempts:
                why = (known.error or "").rstrip(".")
                left[symbol] = f"given up after {known.attempts} attempts: {why}"
            elif known.waits(moment):
                left[symbol] = f"not to be asked before {known.retry_at:%Y-%m-%d %H:%M:%S} UTC"
        return left

    def probes(self, symbols: Sequence[str]) -> tuple[str, ...]:
        """The few waiting symbols requested longest ago, so that they are others each time: one
        that halted must not hold up the rest for ever.
        """
        waiting = [s for s in symbols if s in self.tasks and self.tasks[s].state == RATE_LIMITED]
        never = [symbol for symbol in waiting if symbol not in self.asked_at]
        asked = [symbol for symbol in waiting if symbol in self.asked_at]
        return (*never, *sorted(asked, key=self.asked_at.__getitem__))[:PROBES]

    def since(self, symbol: str, due: Due, asking: Asking, now: dt.datetime) -> dt.date | None:
        """The first day to look back to; None where there is no need to."""
        if not asking.looks_back_at(self.source):
            return None
        since = now.date() - dt.timedelta(days=asking.look_back_days)
        if due.first_stored and self._is_long_ago(symbol, asking.full_look_back_days, now):
            since = min(since, due.first_stored)
        return since if since < due.days[0] else None

    def _is_long_ago(self, symbol: str, days: int, now: dt.datetime) -> bool:
        asked = self.asked_for_all_at.get(symbol)
        if asked is None:
            return True
        passed = now - asked.replace(tzinfo=dt.UTC)
        # A time to come was stored by a clock that ran ahead.
        return not dt.timedelta(0) <= passed < dt.timedelta(days=days)


def recorded_symbols(con: duckdb.DuckDBPyConnection, dataset: str, source: str) -> int:
    """How many symbols the loads of a dataset from a source have recorded."""
    [(count,)] = con.execute(
        "select count(*) from load_run_symbols where dataset = ? and source = ?",
        [dataset, source],
    ).fetchall()
    return int(count)
