"""One load under way."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import pyarrow as pa

from quant_assets.contracts.prices import PRICE_COLUMNS, PriceAnswer, PriceRequest, PriceSource
from quant_assets.contracts.source import RateLimited, SourceError, SourceProfile
from quant_assets.datasets.daily_prices.store import Storing
from quant_assets.fetching.pace import PacingError, PacingFileError
from quant_assets.journal.entries import ENTRY_COLUMNS, Journal
from quant_assets.journal.progress import Every, Progress
from quant_assets.loading.claims import Claims
from quant_assets.loading.lag import LAG_SECONDS, Heard, in_stages, lag_sentence
from quant_assets.loading.plan import plan
from quant_assets.loading.report import (
    COUNTS,
    LoadReport,
    Outage,
    SymbolReport,
    outages,
    symbol_rows,
)
from quant_assets.loading.tasks import Task, write_tasks
from quant_assets.loading.work import Asking, Plan, Window
from quant_assets.reference.calendars import Calendar
from quant_assets.reference.errors import UsageError
from quant_assets.reference.identity import KnownIdentity
from quant_assets.schema.loads import LOAD_RUN_SYMBOLS, LOAD_RUNS, LOG_ENTRIES, SOURCES
from quant_assets.schema.prices import DAILY_PRICES
from quant_assets.securities.delistings import note_delistings
from quant_assets.securities.instruments import note_asked
from quant_assets.warehouse.warehouse import Warehouse, Writing


class AnotherMarketError(UsageError):
    """A simulated market on its way into a warehouse that holds another one."""

    def __init__(self, incoming: str, held: str) -> None:
        super().__init__(
            f"The warehouse holds the simulated market [{held}]; this is [{incoming}]. Set "
            "simulated.symbols, simulated.start and simulated.seed as they were, or use another "
            "data folder (QUANT_ASSETS_HOME)."
        )


class MixedMarketsError(UsageError):
    """Simulated rows on their way into real data, or the other way round."""

    def __init__(self, incoming: str, held: str) -> None:
        super().__init__(
            f"The warehouse holds rows of {held}; loading {incoming} would mix a simulated market "
            "with a real one. Use another data folder (QUANT_ASSETS_HOME), or say "
            "--allow-mixing if that is what you want."
        )


class ClaimedElsewhereError(SourceError):
    """Another load has been asking for the symbol all the time that this one waited for it."""

    def __init__(self, source: str, symbol: str, run_id: str, seconds: float) -> None:
        super().__init__(
            source,
            f"{symbol} has been asked for by run {run_id} for more than {seconds:.0f} s, and was "
            "not asked for again. Look at that run, or end it; then load the symbol again.",
        )


def unwatched(done: int, total: int, what: str) -> None:
    """The progress of a load that nobody watches."""


Decided = Callable[[Sequence[str], Mapping[str, str]], None]
"""Called with symbols that are done with, no connection open, and what went wrong by symbol."""

LIMITED_SECONDS = 900.0
"""How long to leave a source alone that limits our requests and does not say for how long."""


def _told(errors: Mapping[str, str | None]) -> dict[str, str]:
    return {symbol: error for symbol, error in errors.items() if error}


@dataclass
class _Run:
    """One load under way: stores answers, collects what became of each symbol."""

    warehouse: Warehouse
    profile: SourceProfile
    window: Window
    calendar: Calendar
    identities: tuple[KnownIdentity, ...]
    run_id: str
    started_at: dt.datetime
    backfill: str | None
    asking: Asking
    accept: bool
    force: bool
    reports: list[SymbolReport] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    failures: int = 0
    settled: int = 0
    left: dict[str, str] = field(default_factory=dict)
    postponed: tuple[str, ...] = ()
    lacking: Counter[dt.date] = field(default_factory=Counter)
    tasks: dict[str, Task] = field(default_factory=dict)
    heard: Heard = field(default_factory=Heard)
    lagging: dict[str, Task] = field(default_factory=dict)
    """Tasks of symbols that lack the newest session, or were not asked for because others do; what
    becomes of them is decided at the end."""
    lags_from: dt.date | None = None
    unasked: tuple[str, ...] = ()
    """Symbols put to wait without being asked for."""
    refusal: SourceError | None = None
    held: tuple[str, ...] = ()
    held_until: dt.datetime | None = None

    def __post_init__(self) -> None:
        last_closed = self.calendar.last_closed_session(self.started_at)
        # What is long over, a source does not have later on: nobody waits for that.
        watched = self.profile.live and self.window.end >= last_closed
        self.newest = last_closed if watched else None
        self.journal = Journal(
            self.run_id, DAILY_PRICES.name, self.profile.name, clock=self.warehouse.clock
        )
        self.storing = Storing(self.profile, self.calendar, self.identities, accept=self.accept)

    def plan(self, window: Window, *, force: bool = False) -> Plan:
        return plan(
            self.warehouse,
            self.profile,
            window,
            self.calendar,
            force=force,
            backfill=self.backfill,
            asking=self.asking,
        )

    def check_market(self, allow_mixing: bool) -> None:
        if not self.warehouse.exists():
            return
        with self.warehouse.reading() as con:
            held = con.execute("select source, simulated, convention from sources").fetchall()
        for source, simulated, convention in held:
            if simulated != self.profile.simulated and not allow_mixing:
                raise MixedMarketsError(self.profile.name, source)
            if simulated and source == self.profile.name and convention != self.profile.convention:
                raise AnotherMarketError(self.profile.convention, convention)

    @property
    def claims(self) -> Claims:
        return Claims(self.warehouse.runs, DAILY_PRICES, self.profile.name, self.run_id)

    def settle(self, planned: Plan, on_decided: Decided) -> None:
        """Take note of symbols that need not be asked for."""
        self.settled += len(planned.settled)
        self.left |= planned.left
        self.postponed += planned.postponed
        if planned.fulfilled:
            with self._writing() as writing:
                write_tasks(writing, planned.fulfilled)
        on_decided(planned.settled, _told(planned.asked_before))

    def begin(self, planned: Plan) -> tuple[str, ...]:
        """Record the load and claim its symbols; returns those to plan again later.

        These are the symbols that another live run has claimed, and all of them where a load has
        recorded anything since the plan was made: what is due may be there by now.
        """
        symbols = tuple(request.symbol for request in planned.requests)
        with self._writing() as writing:
            writing.upsert(SOURCES, _source_row(self.profile))
            writing.upsert(LOAD_RUNS, self._totals(None))
            [(recorded,)] = writing.con.execute("select count(*) from load_run_symbols").fetchall()
            if recorded != planned.recorded:
                # Nothing is claimed: two loads that wait must not hold what the other waits for.
                return symbols
            held = self.claims.take(writing, symbols)
            self.tasks = {s: task for s, task in planned.tasks.items() if s not in held}
            write_tasks(writing, list(self.tasks.values()))
            self.journal.info(f"asking {self.profile.name} for {len(self.tasks)} symbols")
        return tuple(held)

    def answers(
        self, source: PriceSource, planned: Plan, requests: Sequence[PriceRequest]
    ) -> Iterator[PriceAnswer]:
        """Ask, for a few symbols at first, until all are answered or the source is found to lag."""
        if not requests:
            return
        if self.newest is None or self.force:
            yield from source.fetch(requests)
            return
        left = list(requests)
        probes = sum(request.symbol in planned.probes for request in requests)
        for some, enough in in_stages(requests, probes):
            yield from source.fetch(some)
            left = left[len(some) :]
            if self.refusal and left:
                yield _refused(left, self.refusal)
                return
            since = self.heard.lags_from(enough)
            if since:
                self._hold([request.symbol for request in left if request.start >= since], since)
                older = [request for request in left if request.start < since]
                if older:
                    yield from source.fetch(older)
                return

    def _hold(self, symbols: Sequence[str], since: dt.date) -> None:
        """Ask for these symbols no more; other loads need not wait for that to be noted."""
        self.lags_from = since
        self.unasked += tuple(symbols)
        self.lagging |= {symbol: self.tasks.pop(symbol) for symbol in symbols}
        with self._writing() as writing:
            self.claims.release(writing, symbols)

    def after_waiting(
        self, planned: Plan, symbols: Sequence[str], seconds: float, on_decided: Decided
    ) -> Plan:
        """What is still due of ``symbols`` once no other run is asking for them.

        Those that another keeps for longer than ``seconds`` are recorded as failed.
        """
        kept = self.claims.wait(self.warehouse, symbols, seconds)
        if kept:
            failures = {
                symbol: ClaimedElsewhereError(self.profile.name, symbol, run, seconds)
                for symbol, run in kept.items()
            }
            nothing = PRICE_COLUMNS.empty_table()
            self.store(PriceAnswer(tuple(kept), nothing, failures=failures), planned)
            on_decided(tuple(kept), {symbol: str(error) for symbol, error in failures.items()})
        window = replace(self.window, symbols=tuple(s for s in symbols if s not in kept))
        again = self.plan(window)
        self.settle(again, on_decided)
        return again

    def store(self, answer: PriceAnswer, planned: Plan) -> list[SymbolReport]:
        """Commit one answer whole: what it says, what became of its symbols, and what was said."""
        valid = self.storing.validated(answer, self.warehouse.clock())
        with self._writing() as writing:
            answer, securities, reports = self.storing.store(writing, valid, planned)
            writing.upsert(LOAD_RUN_SYMBOLS, symbol_rows(self.run_id, reports))
            tasks = self._note(writing, answer, securities, reports, planned)
            self.claims.release(writing, answer.symbols)
        self.lagging |= {
            report.symbol: self.tasks[report.symbol]
            for report in reports
            if self._lags(report) and report.symbol in self.tasks
        }
        self.tasks = tasks
        if self.newest:
            requests = {request.symbol: request for request in planned.requests}
            for report in reports:
                asked = planned.asked(requests[report.symbol])
                self.heard.note(report, asked, self.newest)
        for error in answer.failures.values():
            if isinstance(error.__cause__, PacingError | PacingFileError):
                self.refusal = error
        self.notices += answer.notices
        self.reports += reports
        self.failures += sum(bool(report.failed) for report in reports)
        self.lacking.update(day for report in reports for day in report.silent)
        return reports

    def _lags(self, report: SymbolReport) -> bool:
        return self.newest is not None and self.newest in report.silent

    def _note(
        self,
        writing: Writing,
        answer: PriceAnswer,
        securities: Mapping[str, int],
        reports: Sequence[SymbolReport],
        planned: Plan,
    ) -> dict[str, Task]:
        """Keep what is known of the symbols by now, where their tasks stand, and what was said;
        returns the tasks that are left.
        """
        if self.profile.live:
            told = {instrument.symbol for instrument in answer.instruments}
            requests = [request for request in planned.requests if request.symbol in told]
            note_asked(writing, self.profile.name, requests, answer.instruments, securities)
        left, changed = dict(self.tasks), []
        for report in reports:
            error = answer.failures.get(report.symbol)
            task = left.pop(report.symbol, None)
            if task is not None and not self._lags(report):
                changed.append(_ended(task, report, error, writing.now))
            if report.error:
                self.journal.error(report.error, symbol=report.symbol, error=error)
        for symbol in answer.under_way:
            if symbol in left:
                left[symbol] = left[symbol].begun()
                changed.append(left[symbol])
        write_tasks(writing, changed)
        for notice in answer.notices:
            self.journal.warning(notice)
        return left

    def noted(self, on_progress: Progress) -> Progress:
        """A progress that the log hears of too, at each tenth symbol."""

        def note(done: int, total: int, what: str) -> None:
            self.journal.info(f"{done} of {total} symbols done; {what}")

        tenth = Every(note, unwatched)

        def both(done: int, total: int, what: str) -> None:
            tenth(done, total, what)
            on_progress(done, total, what)

        return both

    @contextmanager
    def put_back_if_stopped(self) -> Iterator[None]:
        """On any exception put back the tasks that were begun, and let go of the symbols."""
        try:
            yield
        except BaseException as error:
            try:
                with self._writing() as writing:
                    tasks = self.tasks | self.lagging
                    write_tasks(writing, [task.put_back() for task in tasks.values()])
                    self.claims.release(writing, tuple(tasks))
                    self.journal.info(f"stopped by {type(error).__name__}")
            except Exception as trouble:  # noqa: BLE001 - why it was stopped is what matters
                self.journal.error("what was being asked for was not put back", error=trouble)
            raise

    @contextmanager
    def _writing(self) -> Iterator[Writing]:
        """A transaction, which takes along what was said up to its end."""
        said = ENTRY_COLUMNS.empty_table()
        try:
            with self.warehouse.writing(self.run_id, f"load from {self.profile.name}") as writing:
                yield writing
                said = self.journal.take()
                writing.upsert(LOG_ENTRIES, said)
        except BaseException:
            self.journal.give_back(said)
            raise

    def finish(self, on_decided: Decided) -> LoadReport:
        finished = self.warehouse.clock()
        with self._writing() as writing:
            writing.upsert(LOAD_RUNS, self._totals(finished))
            write_tasks(writing, self._ended_last(finished))
            if self.profile.live:
                asked = {report.security_id for report in self.reports}
                self.notices += note_delistings(writing, self.calendar, self.profile.name, asked)
            report = self.report()
            for outage in report.outages:
                self.journal.warning(outage.describe(self.profile.name))
            self.journal.info(report.sentence())
        if self.unasked:
            on_decided(self.unasked, dict.fromkeys(self.unasked, self._why_held()))
        return report

    def _ended_last(self, now: dt.datetime) -> list[Task]:
        """The tasks that are left, once it is known whether the source lags: those of symbols it
        does not have yet wait, of those it merely lacks a session of have failed, and the rest is
        put back.
        """
        out = {outage.session for outage in self._outages()}
        lacking = {r.symbol: r for r in self.reports if r.symbol in self.lagging}
        waiting = [s for s, r in lacking.items() if self.newest in out and r.silent <= out]
        self.held = tuple(sorted((*waiting, *self.unasked)))
        if self.held:
            self.held_until = now.astimezone(dt.UTC) + dt.timedelta(seconds=LAG_SECONDS)
        ended = []
        for symbol, task in (self.tasks | self.lagging).items():
            if self.held_until and symbol in self.held:
                ended.append(task.limited(self._why_held(), _naive(self.held_until)))
            elif symbol in lacking:
                ended.append(task.failed(str(lacking[symbol].error)))
            else:
                ended.append(task.put_back())
        return ended

    def _why_held(self) -> str:
        if self.newest is None or self.held_until is None:
            return ""
        lacking, answered = len(self.heard.lacking_from), self.heard.answered
        return lag_sentence(self.profile.name, self.newest, lacking, answered, self.held_until)

    def _outages(self) -> tuple[Outage, ...]:
        found = outages(self.lacking, len(self.reports), self.lags_from)
        return tuple(
            replace(outage, held=len(self.held), held_until=self.held_until)
            if outage.session == self.newest
            else outage
            for outage in found
        )

    def dry(self, planned: Plan) -> LoadReport:
        """What would be asked for."""
        self.settled, self.left = len(planned.settled), dict(planned.left)
        self.postponed = planned.postponed
        self.reports = [
            SymbolReport(
                request.symbol,
                None,
                len(planned.asked(request)),
                first_session=request.start,
                last_session=request.end,
            )
            for request in planned.requests
        ]
        return self.report(dry_run=True)

    def report(self, *, dry_run: bool = False) -> LoadReport:
        return LoadReport(
            self.run_id,
            self.profile.name,
            self.window,
            self.started_at,
            self.warehouse.clock(),
            tuple(sorted(self.reports, key=lambda report: report.symbol)),
            self.settled,
            tuple(self.notices),
            dry_run,
            self.left,
            self._outages(),
            self.postponed,
            self.held,
        )

    def _totals(self, finished: dt.datetime | None) -> pa.Table:
        totals = {name: sum(getattr(report, name) for report in self.reports) for name in COUNTS}
        row = {
            "run_id": self.run_id,
            "dataset": DAILY_PRICES.name,
            "source": self.profile.name,
            "start_session": self.window.start,
            "end_session": self.window.end,
            "started_at": _naive(self.started_at),
            "finished_at": _naive(finished) if finished else None,
            "backfill": self.backfill,
            "symbols": len(self.window.symbols),
            **totals,
        }
        return LOAD_RUNS.arrow([row])


def _ended(task: Task, report: SymbolReport, error: SourceError | None, now: dt.datetime) -> Task:
    if isinstance(error, SourceError) and isinstance(error.__cause__, PacingError):
        return task.limited(str(error), _naive(error.__cause__.retry_at))
    if isinstance(error, RateLimited):
        wait = LIMITED_SECONDS if error.retry_after is None else error.retry_after
        return task.limited(str(error), now + dt.timedelta(seconds=wait))
    return task.failed(report.error) if report.error else task.completed()


def _refused(requests: Sequence[PriceRequest], error: SourceError) -> PriceAnswer:
    """What becomes of requests that are not made any more, as if the source had said so."""
    symbols = tuple(request.symbol for request in requests)
    failures = dict.fromkeys(symbols, error)
    return PriceAnswer(symbols, PRICE_COLUMNS.empty_table(), failures=failures)


def _source_row(profile: SourceProfile) -> pa.Table:
    return pa.Table.from_pylist(
        [
            {
                "source": profile.name,
                "price_basis": profile.price_basis,
                "has_splits": profile.has_splits,
                "has_distributions": profile.has_distributions,
                "simulated": profile.simulated,
                "convention": profile.convention,
            }
        ]
    )


def _naive(moment: dt.datetime) -> dt.datetime:
    return moment.astimezone(dt.UTC).replace(tzinfo=None)
