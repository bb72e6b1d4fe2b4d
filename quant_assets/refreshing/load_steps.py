"""Steps loaded one after another, each from its own source; the only loop over loads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

from quant_assets.contracts.source import SourceError, SourceProfile
from quant_assets.journal.progress import Progress, unwatched
from quant_assets.loading.load import load
from quant_assets.loading.report import LoadReport
from quant_assets.loading.run import Decided
from quant_assets.loading.work import Asking
from quant_assets.reference.errors import UsageError
from quant_assets.refreshing.steps import Step
from quant_assets.wiring.platform import Platform


@dataclass(frozen=True)
class How:
    """How steps are loaded; each fact as of ``load``. The limit that ``asking`` sets to requests
    is that of all steps together.
    """

    asking: Asking
    force: bool = False
    dry_run: bool = False
    fail_fast: bool = False
    allow_mixing: bool = False
    accept: bool = False
    run_id: str | None = None
    backfill: str | None = None


Watch = Callable[[Step, SourceProfile], AbstractContextManager[Progress]]
"""Called as a step begins; gives the progress that its load calls."""


def load_steps(
    platform: Platform,
    steps: Iterable[Step],
    how: How,
    *,
    watch: Watch = lambda step, source: nullcontext(unwatched),
    on_decided: Decided = lambda symbols, errors: None,
    on_error: Callable[[Step, Exception], None] | None = None,
) -> Iterator[LoadReport]:
    """Load each step and give its report. With ``fail_fast`` the first failure is the end.

    What keeps a step as a whole from being loaded is raised: a source that can't be had or is of
    another market, sessions that have not closed. With ``on_error`` it is handed to that instead,
    and costs no other step its data.
    """
    asking = how.asking
    if how.accept:
        # What is believed is believed of a whole series.
        asking = replace(asking, look_back_everywhere=True, full_look_back_days=0)
    for step in steps:
        try:
            dataset, source = platform.feed(
                step.dataset, step.source, step.calendar, accept=how.accept
            )
            with watch(step, source.profile) as progress:
                report = load(
                    platform.warehouse,
                    dataset,
                    source,
                    step.window,
                    force=how.force or step.force,
                    dry_run=how.dry_run,
                    fail_fast=how.fail_fast,
                    allow_mixing=how.allow_mixing,
                    run_id=how.run_id,
                    backfill=how.backfill,
                    asking=asking,
                    on_progress=progress,
                    on_decided=on_decided,
                )
        except (UsageError, SourceError) as error:
            if on_error is None:
                raise
            on_error(step, error)
            continue
        yield report
        if asking.most_requests is not None:
            left = max(asking.most_requests - len(report.symbols), 0)
            asking = replace(asking, most_requests=left)
        if how.fail_fast and report.total("failed"):
            return
