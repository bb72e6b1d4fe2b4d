"""How symbol-days get into the warehouse: plan → fetch → validate → store → record.

One function a stage, top to bottom, for any source that keeps the contract. A chunk of symbols is
fetched with no connection open, then stored in one short transaction together with the record that
it arrived: a kill at any moment loses nothing committed and leaves nothing half.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import pyarrow as pa

from quant_assets.answers import Identified, first_of_each, identify, outcomes, symbol_reports
from quant_assets.calendars import Calendar
from quant_assets.identity import KnownIdentity, known_identities
from quant_assets.load_report import COUNTS, LoadReport, SymbolReport, symbol_rows
from quant_assets.planning import Plan, Window, plan
from quant_assets.quality import Checked, check_actions, check_prices
from quant_assets.securities import Register
from quant_assets.sources.contract import PriceAnswer, PriceSource, SourceProfile
from quant_assets.tables import (
    CORPORATE_ACTIONS,
    DAILY_PRICES,
    LOAD_RUN_SYMBOLS,
    LOAD_RUNS,
    QUARANTINE,
    SOURCES,
    Table,
)
from quant_assets.warehouse import Upserted, Warehouse, Writing


class AnotherMarketError(Exception):
    """A simulated market on its way into a warehouse that holds another one."""

    def __init__(self, incoming: str, held: str) -> None:
        super().__init__(
            f"The warehouse holds the simulated market [{held}]; this is [{incoming}]. Set "
            "simulated.symbols, simulated.start and simulated.seed as they were, or use another "
            "data folder (QUANT_ASSETS_HOME)."
        )


class MixedMarketsError(Exception):
    """Simulated rows on their way into real data, or the other way round."""

    def __init__(self, incoming: str, held: str) -> None:
        super().__init__(
            f"The warehouse holds rows of {held}; loading {incoming} would mix a simulated market "
            "with a real one. Use another data folder (QUANT_ASSETS_HOME), or say "
            "--allow-mixing if that is what you want."
        )


Progress = Callable[[int, int, str], None]
"""Called with symbols done, symbols in all, and what is happening."""


def load(
    warehouse: Warehouse,
    source: PriceSource,
    window: Window,
    calendar: Calendar,
    *,
    force: bool = False,
    dry_run: bool = False,
    fail_fast: bool = False,
    allow_mixing: bool = False,
    identities: Sequence[KnownIdentity] | None = None,
    run_id: str | None = None,
    on_progress: Progress = lambda done, total, what: None,
) -> LoadReport:
    """Bring the warehouse up to date with ``source`` for ``window``.

    Returns a LoadReport; a second call finds nothing due and writes nothing. One bad symbol never
    costs another its data; with ``fail_fast`` the first one ends the load instead. Raises
    MixedMarketsError, AnotherMarketError, OpenSessionError, SourceError where the source as a whole
    can't answer, and WarehouseError; what was stored before stays.
    """
    if not dry_run:
        warehouse.migrate()
    run = _Run(
        warehouse,
        source.profile,
        window,
        calendar,
        tuple(identities if identities is not None else known_identities()),
        run_id or str(uuid.uuid4()),
        warehouse.clock(),
    )
    run.check_market(allow_mixing)
    planned = plan(warehouse, source.profile, window, calendar, force=force)
    if dry_run or not planned.requests:
        return run.report(planned, dry_run=dry_run)
    run.begin(planned)
    done, total = len(planned.settled), len(window.symbols)
    on_progress(done, total, "asking the source")
    for answer in source.fetch(planned.requests):
        run.store(answer, planned)
        done += len(answer.symbols)
        on_progress(done, total, answer.symbols[-1] if answer.symbols else "")
        if fail_fast and run.failures:
            break
    return run.finish(planned)


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
    reports: list[SymbolReport] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    failures: int = 0

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

    def begin(self, planned: Plan) -> None:
        with self._writing() as writing:
            writing.upsert(SOURCES, _source_row(self.profile))
            writing.upsert(LOAD_RUNS, self._totals(planned, None))

    def store(self, answer: PriceAnswer, planned: Plan) -> None:
        """Validate one answer and commit it whole: rows, actions, ledger, quarantine, summary."""
        last_closed = self.calendar.last_closed_session(self.warehouse.clock())
        checked = check_prices(answer.rows, self.calendar, last_closed)
        actions = check_actions(answer.actions)
        with self._writing() as writing:
            register = Register.read(writing.con, self.identities, self.profile.name)
            identified = identify(answer, checked.accepted, register, self.profile.names_on)
            register.write(writing)
            rejected = pa.concat_tables([checked.rejected, identified.rejected, answer.unreadable])
            stored = self._store(writing, identified, actions)
            self._quarantine(writing, DAILY_PRICES, rejected)
            self._quarantine(writing, CORPORATE_ACTIONS, actions.rejected)
            became = outcomes(answer, identified, rejected, planned)
            writing.record_outcomes(
                DAILY_PRICES, self.profile.name, became.drop_columns(["symbol"])
            )
            reports = symbol_reports(
                answer,
                identified,
                stored,
                rejected=pa.concat_tables([rejected, actions.rejected]),
                became=became,
                planned=planned,
            )
            writing.upsert(LOAD_RUN_SYMBOLS, symbol_rows(self.run_id, reports))
        self.notices += answer.notices
        self.reports += reports
        self.failures += sum(bool(report.failed) for report in reports)

    def _store(self, writing: Writing, identified: Identified, actions: Checked) -> Upserted:
        source = {"source": self.profile.name}
        prices = identified.keyed(identified.accepted, "session")
        same: dict[str, object] = {**source, "provisional": False}
        currencies = prices["currency"].unique()
        if len(currencies) == 1:
            # Said once for all rows: a million equal texts take as long as the prices.
            same["currency"] = currencies[0].as_py()
            prices = prices.drop_columns(["currency"])
        stored = writing.upsert(DAILY_PRICES, prices, constants=same)
        writing.clear_outcomes(DAILY_PRICES, self.profile.name, list(stored.by_security))
        events = identified.keyed(actions.accepted, "ex_date")
        writing.upsert(
            CORPORATE_ACTIONS,
            first_of_each(events, ("security_id", "ex_date", "kind")),
            constants=source,
            supersede=("security_id", "ex_date", "source"),
        )
        return stored

    def _quarantine(self, writing: Writing, meant_for: Table, rejected: pa.Table) -> None:
        writing.upsert(
            QUARANTINE,
            rejected.group_by(rejected.column_names).aggregate([]),
            constants={"source": self.profile.name, "dataset": meant_for.name},
        )

    def _writing(self) -> AbstractContextManager[Writing]:
        return self.warehouse.writing(self.run_id, f"load from {self.profile.name}")

    def finish(self, planned: Plan) -> LoadReport:
        finished = self.warehouse.clock()
        with self._writing() as writing:
            writing.upsert(LOAD_RUNS, self._totals(planned, finished))
        return self.report(planned)

    def report(self, planned: Plan, *, dry_run: bool = False) -> LoadReport:
        reports = self.reports
        if dry_run:
            reports = [
                SymbolReport(
                    request.symbol,
                    None,
                    len(self.calendar.between(request.start, request.end)),
                    first_session=request.start,
                    last_session=request.end,
                )
                for request in planned.requests
            ]
        return LoadReport(
            self.run_id,
            self.profile.name,
            self.window,
            self.started_at,
            self.warehouse.clock(),
            tuple(sorted(reports, key=lambda report: report.symbol)),
            len(planned.settled),
            tuple(self.notices),
            dry_run,
        )

    def _totals(self, planned: Plan, finished: dt.datetime | None) -> pa.Table:
        totals = {name: sum(getattr(report, name) for report in self.reports) for name in COUNTS}
        row = {
            "run_id": self.run_id,
            "dataset": DAILY_PRICES.name,
            "source": self.profile.name,
            "start_session": self.window.start,
            "end_session": self.window.end,
            "started_at": _naive(self.started_at),
            "finished_at": _naive(finished) if finished else None,
            "symbols": len(self.window.symbols),
            **totals,
        }
        fields = [f for f in LOAD_RUNS.arrow_schema if f.name in row]
        return pa.Table.from_pylist([row], schema=pa.schema(fields))


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
