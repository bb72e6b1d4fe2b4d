"""One load under way: its requests made, its answers committed, its tasks brought to an end."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Generic

import duckdb

from quant_assets.contracts.one_subject import UnforeseenAnswerError, concerns_all, each_apart
from quant_assets.contracts.source import RateLimited, Request, Source, SourceError
from quant_assets.fetching.pace import PacingError, PacingFileError
from quant_assets.loading.dataset import A, C, Dataset, Stored
from quant_assets.loading.lag import LAG_SECONDS, LagWatch, batches
from quant_assets.loading.pending import recorded_symbols
from quant_assets.loading.plan import plan
from quant_assets.loading.recording import Recording, naive_utc
from quant_assets.loading.report import LoadReport, Outage, SymbolReport, outages
from quant_assets.loading.tally import Tally
from quant_assets.loading.tasks import Task, ended_tasks, write_tasks
from quant_assets.loading.work import Asking, Plan, Window
from quant_assets.warehouse.writer_lock import WarehouseBusyError

Decided = Callable[[Sequence[str], Mapping[str, str]], None]
"""Called with symbols that are done with, no connection open, and what went wrong by symbol."""

LIMITED_SECONDS = 900.0
"""How long to leave a source alone that limits our requests and does not say for how long."""


class ClaimedElsewhereError(SourceError):
    """Another load has been requesting the symbol all the time that this one waited for it."""

    def __init__(self, source: str, symbol: str, run_id: str, seconds: float) -> None:
        super().__init__(
            source,
            f"{symbol} has been asked for by run {run_id} for more than {seconds:.0f} s, and was "
            "not asked for again. Look at that run, or end it; then load the symbol again.",
        )


@dataclass
class LoadRun(Generic[A, C]):
    """One load of a dataset from a source. ``tasks`` are begun and have not ended; ``lagging`` are
    those of symbols without the newest day, which end when the load knows whether the source lags.
    ``refusal`` is why pacing lets no further request through.
    """

    dataset: Dataset[A, C]
    source: Source[A]
    window: Window
    asking: Asking
    force: bool
    recording: Recording
    lag: LagWatch
    tally: Tally = field(default_factory=Tally)
    tasks: dict[str, Task] = field(default_factory=dict)
    lagging: dict[str, Task] = field(default_factory=dict)
    refusal: SourceError | None = None
    waiting: tuple[str, ...] = ()
    waiting_until: dt.datetime | None = None

    def __post_init__(self) -> None:
        self.profile = self.source.profile

    def plan(self, window: Window) -> Plan:
        return plan(
            self.recording.warehouse,
            self.dataset,
            self.profile,
            window,
            force=self.force,
            backfill=self.recording.backfill,
            asking=self.asking,
        )

    def take_plan(self, planned: Plan, on_decided: Decided) -> None:
        """Take note of symbols that need not be requested."""
        self.tally.take_plan(planned)
        if planned.fulfilled:
            with self.recording.writing() as writing:
                write_tasks(writing, planned.fulfilled)
        on_decided(planned.up_to_date, _errors(planned.requested_before))

    def begin(self, planned: Plan) -> tuple[str, ...]:
        """Record the load and claim its symbols; returns those to plan again later.

        These are the symbols that another live run has claimed, and all of them where a load of the
        dataset has recorded anything since the plan was made: what is due may be there by now.
        """
        symbols = tuple(request.symbol for request in planned.requests)
        with self.recording.writing() as writing:
            self.recording.source(writing, self.profile)
            self.recording.totals(writing, self.window)
            recorded = recorded_symbols(writing.con, self.dataset.name, self.profile.name)
            if recorded != planned.recorded:
                # Nothing is claimed: two loads that wait must not claim what the other waits for.
                return symbols
            claimed_elsewhere = self.recording.claims.take(writing, symbols)
            self.tasks = {s: t for s, t in planned.tasks.items() if s not in claimed_elsewhere}
            write_tasks(writing, list(self.tasks.values()))
            self.recording.journal.info(f"asking {self.profile.name} for {len(self.tasks)} symbols")
        return tuple(claimed_elsewhere)

    def answers(self, planned: Plan, requests: Sequence[Request]) -> Iterator[A]:
        """Request a few symbols at first, until all are answered or the source is found to lag."""
        if not requests:
            return
        if self.lag.newest is None or self.force:
            yield from self.source.fetch(requests)
            return
        left = list(requests)
        probes = sum(request.symbol in planned.probes for request in requests)
        for batch, enough in batches(requests, probes):
            yield from self.source.fetch(batch)
            left = left[len(batch) :]
            if self.refusal and left:
                symbols = tuple(request.symbol for request in left)
                yield self.dataset.no_answer(symbols, dict.fromkeys(symbols, self.refusal))
                return
            since = self.lag.lagging_since(enough)
            if since:
                self._let_wait([r.symbol for r in left if r.start >= since], since)
                older = [request for request in left if request.start < since]
                if older:
                    yield from self.source.fetch(older)
                return

    def _let_wait(self, symbols: Sequence[str], since: dt.date) -> None:
        """Request these symbols no more; other loads need not wait for that to be noted."""
        self.lag.since = since
        self.lag.unrequested += tuple(symbols)
        self.lagging |= {symbol: self.tasks.pop(symbol) for symbol in symbols}
        with self.recording.writing() as writing:
            self.recording.claims.release(writing, symbols)

    def after_waiting(
        self, planned: Plan, symbols: Sequence[str], seconds: float, on_decided: Decided
    ) -> Plan:
        """What is still due of ``symbols`` once no other run requests them.

        Those that another keeps for longer than ``seconds`` are recorded as failed.
        """
        kept = self.recording.claims.wait(self.recording.warehouse, symbols, seconds)
        if kept:
            failures = {
                symbol: ClaimedElsewhereError(self.profile.name, symbol, run, seconds)
                for symbol, run in kept.items()
            }
            self.store(self.dataset.no_answer(tuple(kept), failures), planned)
            on_decided(tuple(kept), {symbol: str(error) for symbol, error in failures.items()})
        window = replace(self.window, symbols=tuple(s for s in symbols if s not in kept))
        again = self.plan(window)
        self.take_plan(again, on_decided)
        return again

    def store(self, answer: A, planned: Plan) -> dict[str, str]:
        """Commit one answer whole: its rows, its reports, its tasks, its log entries. Returns the
        error of each symbol that has one.

        Where something of it can't be stored, the symbol to blame fails, and the rest is stored in
        parts.
        """

        def failed(symbol: str, error: Exception) -> Stored[A]:
            why = UnforeseenAnswerError(self.profile.name, symbol, error)
            return self._commit(self.dataset.no_answer((symbol,), {symbol: why}), planned)

        def work(symbols: Sequence[str]) -> Stored[A]:
            whole = len(symbols) == len(answer.symbols)
            return self._commit(answer if whole else self.dataset.part(answer, symbols), planned)

        errors: dict[str, str] = {}
        for stored in each_apart(answer.symbols, work, failed, _concerns_all):
            errors |= self._account(stored, planned)
        return errors

    def _commit(self, answer: A, planned: Plan) -> Stored[A]:
        checked = self.dataset.check(answer, self.recording.warehouse.clock())
        with self.recording.writing() as writing:
            stored = self.dataset.store(writing, checked, planned)
            self.recording.symbols(writing, stored.reports)
            self.recording.set_aside(stored.rejected)
            left = self._end_tasks(stored.answer, stored.reports, writing.now)
            write_tasks(writing, left.changed)
            self.recording.claims.release(writing, answer.symbols)
        self.lagging |= left.lagging
        self.tasks = left.open
        return stored

    def _account(self, stored: Stored[A], planned: Plan) -> dict[str, str]:
        requests = {request.symbol: request for request in planned.requests}
        for report in stored.reports:
            self.lag.note(report, planned.requested_days(requests[report.symbol]))
        for error in stored.answer.failures.values():
            if isinstance(error.__cause__, PacingError | PacingFileError):
                self.refusal = error
        self.tally.take_answer(stored.answer, stored.reports)
        return _errors({report.symbol: report.error for report in stored.reports})

    def _end_tasks(self, answer: A, reports: Sequence[SymbolReport], now: dt.datetime) -> _Tasks:
        """Where the tasks stand after an answer, which the log hears of."""
        tasks = _Tasks(dict(self.tasks))
        for report in reports:
            error = answer.failures.get(report.symbol)
            task = tasks.open.pop(report.symbol, None)
            if task is not None and self.lag.lags(report):
                tasks.lagging[report.symbol] = task
            elif task is not None:
                tasks.changed.append(_ended(task, report, error, now))
            if report.error:
                self.recording.journal.error(report.error, symbol=report.symbol, error=error)
        for symbol in answer.under_way:
            if symbol in tasks.open:
                tasks.open[symbol] = tasks.open[symbol].begun()
                tasks.changed.append(tasks.open[symbol])
        for notice in answer.notices:
            self.recording.journal.warning(notice)
        return tasks

    @contextmanager
    def put_back_if_stopped(self) -> Iterator[None]:
        """On any exception put back the tasks that were begun, and let go of the symbols."""
        try:
            yield
        except WarehouseBusyError:
            # It was waited for once. What was begun here, the next load takes over.
            raise
        except BaseException as error:
            journal = self.recording.journal
            try:
                with self.recording.writing() as writing:
                    self.recording.totals(writing, self.window)
                    # An answer may have been committed in the moment of the stop.
                    ended = ended_tasks(writing.con, self.dataset.name, self.profile.name)
                    ours = self.tasks | self.lagging
                    tasks = {s: task for s, task in ours.items() if s not in ended}
                    write_tasks(writing, [task.put_back() for task in tasks.values()])
                    self.recording.claims.release(writing, tuple(tasks))
                    journal.info(f"stopped by {type(error).__name__}")
            except Exception as trouble:  # noqa: BLE001 - why it was stopped is what matters
                journal.error("what was being asked for was not put back", error=trouble)
            raise

    def finish(self, on_decided: Decided) -> LoadReport:
        recording, finished = self.recording, self.recording.warehouse.clock()
        with recording.writing() as writing:
            recording.totals(writing, self.window, finished)
            write_tasks(writing, self._last_tasks(finished))
            self.tally.notices += self.dataset.finished(writing, self.profile, self.tally.reports)
            report = self.report()
            for outage in report.outages:
                recording.journal.warning(outage.describe(self.profile.name))
            recording.journal.info(report.sentence())
        if self.lag.unrequested and self.waiting_until:
            why = self.lag.sentence(self.profile.name, self.waiting_until)
            on_decided(self.lag.unrequested, dict.fromkeys(self.lag.unrequested, why))
        return report

    def _last_tasks(self, now: dt.datetime) -> list[Task]:
        """The tasks that are left, once it is known whether the source lags: those of symbols it
        does not have yet wait, those it merely lacks a day of have failed, the rest is put back.
        """
        out = {outage.session for outage in self._outages()}
        lacking = {r.symbol: r for r in self.tally.reports if r.symbol in self.lagging}
        late = [s for s, r in lacking.items() if self.lag.newest in out and r.silent <= out]
        self.waiting = tuple(sorted((*late, *self.lag.unrequested)))
        until = now.astimezone(dt.UTC) + dt.timedelta(seconds=LAG_SECONDS)
        if self.waiting:
            self.waiting_until = until
        ended = []
        for symbol, task in (self.tasks | self.lagging).items():
            if symbol in self.waiting:
                why = self.lag.sentence(self.profile.name, until)
                ended.append(task.limited(why, naive_utc(until)))
            elif symbol in lacking:
                ended.append(task.failed(str(lacking[symbol].error)))
            else:
                ended.append(task.put_back())
        return ended

    def _outages(self) -> tuple[Outage, ...]:
        found = outages(self.tally.silent, len(self.tally.reports), self.lag.since)
        waiting, until = len(self.waiting), self.waiting_until
        return tuple(
            replace(outage, waiting=waiting, waiting_until=until)
            if outage.session == self.lag.newest
            else outage
            for outage in found
        )

    def dry(self, planned: Plan) -> LoadReport:
        """The report of what would be requested."""
        self.tally.take_plan(planned)
        self.tally.reports = [
            SymbolReport(
                request.symbol,
                None,
                len(planned.requested_days(request)),
                first_session=request.start,
                last_session=request.end,
            )
            for request in planned.requests
        ]
        return self.report(dry_run=True)

    def report(self, *, dry_run: bool = False) -> LoadReport:
        return LoadReport(
            self.recording.run_id,
            self.dataset.name,
            self.profile.name,
            self.window,
            self.recording.started_at,
            self.recording.warehouse.clock(),
            tuple(sorted(self.tally.reports, key=lambda report: report.symbol)),
            self.tally.up_to_date,
            tuple(self.tally.notices),
            dry_run,
            self.tally.left,
            self._outages(),
            self.tally.postponed,
            self.waiting,
        )


@dataclass(frozen=True)
class _Tasks:
    """Tasks after an answer: still open, lagging, and those whose state changed."""

    open: dict[str, Task]
    lagging: dict[str, Task] = field(default_factory=dict)
    changed: list[Task] = field(default_factory=list)


def _ended(task: Task, report: SymbolReport, error: SourceError | None, now: dt.datetime) -> Task:
    if isinstance(error, SourceError) and isinstance(error.__cause__, PacingError):
        return task.limited(str(error), naive_utc(error.__cause__.retry_at))
    if isinstance(error, RateLimited):
        wait = LIMITED_SECONDS if error.retry_after is None else error.retry_after
        return task.limited(str(error), now + dt.timedelta(seconds=wait))
    return task.failed(report.error) if report.error else task.completed()


def _concerns_all(error: Exception) -> bool:
    """As ``concerns_all``; of DuckDB's errors, those that are not about a value."""
    of_a_value = (duckdb.DataError, duckdb.IntegrityError, duckdb.InvalidInputException)
    by_duckdb = isinstance(error, duckdb.Error) and not isinstance(error, of_a_value)
    return by_duckdb or concerns_all(error)


def _errors(errors: Mapping[str, str | None]) -> dict[str, str]:
    """Without the symbols that have none."""
    return {symbol: error for symbol, error in errors.items() if error}
