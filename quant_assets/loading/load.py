"""How rows get into the warehouse: plan → claim → fetch → commit → report, for any dataset.

A chunk of symbols is fetched with no connection open, then stored in one short transaction together
with the record that it arrived: a kill at any moment loses nothing committed and leaves nothing
half. What is due, what an answer must be and where it goes is the dataset's.
"""

from __future__ import annotations

import uuid

from quant_assets.contracts.source import Source
from quant_assets.journal.handlers import to_files
from quant_assets.journal.progress import Progress, unwatched
from quant_assets.loading.dataset import A, C, Dataset
from quant_assets.loading.lag import LagWatch
from quant_assets.loading.market import refuse_mixing
from quant_assets.loading.recording import Recording
from quant_assets.loading.report import LoadReport
from quant_assets.loading.run import Decided, LoadRun
from quant_assets.loading.work import Asking, Window
from quant_assets.warehouse.liveness import alive
from quant_assets.warehouse.warehouse import Warehouse

CLAIM_WAIT_SECONDS = 900.0
"""How long to wait for another load that is asking for the same symbols."""


def load(
    warehouse: Warehouse,
    dataset: Dataset[A, C],
    source: Source[A],
    window: Window,
    *,
    force: bool = False,
    dry_run: bool = False,
    fail_fast: bool = False,
    allow_mixing: bool = False,
    run_id: str | None = None,
    backfill: str | None = None,
    asking: Asking | None = None,
    claim_wait_seconds: float = CLAIM_WAIT_SECONDS,
    on_progress: Progress = unwatched,
    on_decided: Decided = lambda symbols, errors: None,
) -> LoadReport:
    """Bring ``dataset`` up to date with ``source`` for ``window``.

    Returns a LoadReport; a second call finds nothing due and writes nothing. One bad symbol never
    costs another its data; with ``fail_fast`` the first one ends the load instead. Raises
    MixedMarketsError, AnotherMarketError, what the dataset's rule raises where nothing of the
    window can be requested, SourceError where the source as a whole can't answer, and
    WarehouseError; what was stored before stays.

    A symbol that another live load requests is waited for, then found there. Runs of one
    Dagster ``backfill`` request each symbol once between them. Stopped by an exception, a load puts
    back what it was requesting. Where a live source lags behind the newest day, and nothing is
    forced, a few symbols show it, and the others wait (``lag``).
    """
    if not dry_run:
        warehouse.migrate()
    refuse_mixing(warehouse, source.profile, allow_mixing=allow_mixing)
    recording = Recording.of(
        warehouse, dataset.name, source.profile.name, run_id or str(uuid.uuid4()), backfill
    )
    newest = dataset.rule.newest(window, recording.started_at) if source.profile.live else None
    run = LoadRun(dataset, source, window, asking or Asking(), force, recording, LagWatch(newest))
    planned = run.plan(window)
    if dry_run:
        return run.dry(planned)
    run.take_plan(planned, on_decided)
    if not planned.requests:
        return run.report()
    done, total = run.tally.up_to_date, len(window.symbols)
    on_progress = recording.logged(on_progress)
    with (
        to_files(warehouse.path.parent, recording.run_id, recording.started_at),
        alive(warehouse.runs, recording.run_id),
        run.put_back_if_stopped(),
    ):
        on_progress(done, total, "asking the source")
        while planned.requests:
            later = run.begin(planned)
            now = [request for request in planned.requests if request.symbol not in later]
            for answer in run.answers(planned, now):
                on_decided(answer.symbols, run.store(answer, planned))
                done += len(answer.symbols)
                on_progress(done, total, answer.symbols[-1] if answer.symbols else "")
                if fail_fast and run.tally.failed:
                    return run.finish(on_decided)
            if not later:
                break
            on_progress(done, total, f"waiting for another load of {', '.join(later[:3])}")
            planned = run.after_waiting(planned, later, claim_wait_seconds, on_decided)
            done = total - len(planned.requests)
        return run.finish(on_decided)
