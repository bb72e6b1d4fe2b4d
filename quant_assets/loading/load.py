"""How symbol-days get into the warehouse: plan → fetch → validate → compare → store → record.

The whole of a load, for any source that keeps the contract. A chunk of symbols is fetched with no
connection open, then stored (``storing``) in one short transaction together with the record that it
arrived: a kill at any moment loses nothing committed and leaves nothing half.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from quant_assets.contracts.prices import PriceSource
from quant_assets.journal.handlers import to_files
from quant_assets.journal.progress import Progress
from quant_assets.loading.report import LoadReport
from quant_assets.loading.run import Decided, _Run, _told, unwatched
from quant_assets.loading.work import Asking, Window
from quant_assets.reference.calendars import Calendar
from quant_assets.reference.identity import KnownIdentity, known_identities
from quant_assets.warehouse.liveness import alive
from quant_assets.warehouse.warehouse import Warehouse

CLAIM_WAIT_SECONDS = 900.0
"""How long to wait for another load that is asking for the same symbols."""


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
    backfill: str | None = None,
    asking: Asking | None = None,
    accept: bool = False,
    claim_wait_seconds: float = CLAIM_WAIT_SECONDS,
    on_progress: Progress = unwatched,
    on_decided: Decided = lambda symbols, errors: None,
) -> LoadReport:
    """Bring the warehouse up to date with ``source`` for ``window``.

    Returns a LoadReport; a second call finds nothing due and writes nothing. One bad symbol never
    costs another its data; with ``fail_fast`` the first one ends the load instead. Raises
    MixedMarketsError, AnotherMarketError, OpenSessionError, SourceError where the source as a whole
    can't answer, and WarehouseError; what was stored before stays.

    A symbol that another live load is asking for is waited for, then found there. Runs of one
    Dagster ``backfill`` ask for each symbol once between them. Where a source's prices are off from
    what it said before as if by a split it does not list, that symbol is held; with ``accept`` the
    source is taken at its word. Stopped by an exception, it puts back what it was asking for.

    Where a live source lags behind the last closed session, and nothing is forced, a few symbols
    tell, and what is due of no other is put to wait (``holding``).
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
        backfill,
        asking or Asking(),
        accept,
        force,
    )
    run.check_market(allow_mixing)
    due = run.plan(window, force=force)
    if dry_run:
        return run.dry(due)
    run.settle(due, on_decided)
    if not due.requests:
        return run.report()
    done, total = run.settled, len(window.symbols)
    on_progress = run.noted(on_progress)
    on_progress(done, total, "asking the source")
    with (
        to_files(warehouse.path.parent, run.run_id, run.started_at),
        alive(run.claims.runs, run.run_id),
        run.put_back_if_stopped(),
    ):
        while due.requests:
            later = run.begin(due)
            now = [request for request in due.requests if request.symbol not in later]
            for answer in run.answers(source, due, now):
                reports = run.store(answer, due)
                on_decided(answer.symbols, _told({r.symbol: r.error for r in reports}))
                done += len(answer.symbols)
                on_progress(done, total, answer.symbols[-1] if answer.symbols else "")
                if fail_fast and run.failures:
                    return run.finish(on_decided)
            if not later:
                break
            on_progress(done, total, f"waiting for another load of {', '.join(later[:3])}")
            due = run.after_waiting(due, later, claim_wait_seconds, on_decided)
            done = total - len(due.requests)
        return run.finish(on_decided)
