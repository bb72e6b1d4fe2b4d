"""A Dagster run over symbol-days: what its keys request, or a refresh, loaded and reported.

A rectangle launched from the UI arrives as many runs, one a session. The first of them requests of
the source the span that the whole backfill requests of a symbol; the later ones find their rows
stored and only report them.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace

import dagster as dg
from dagster._core.storage.partition_status_cache import get_and_update_asset_status_cache_value
from dagster._core.storage.tags import BACKFILL_ID_TAG, PARENT_RUN_ID_TAG
from pydantic import Field

from quant_assets.contracts.source import SourceProfile
from quant_assets.datasets.daily_prices.key_states import all_failed
from quant_assets.journal.progress import Progress
from quant_assets.loading.report import LoadReport
from quant_assets.orchestration.runs.dataset_asset import DatasetAsset
from quant_assets.orchestration.runs.partitions import add_tickers, rectangle, symbol_days
from quant_assets.orchestration.runs.reporting import Reporter, RunStep
from quant_assets.orchestration.runs.requested import (
    Requested,
    partition_days,
    portions,
    requested_by_step,
    spans,
    spans_of_backfill,
    windows,
)
from quant_assets.orchestration.runs.states import states
from quant_assets.reference.calendars import OpenSessionError
from quant_assets.refreshing.load_steps import How, load_steps
from quant_assets.refreshing.steps import Step, window_steps
from quant_assets.refreshing.whole_steps import whole_steps
from quant_assets.warehouse.published_copy import publish
from quant_assets.wiring.platform import Platform

MANY_EVENTS = 10_000
"""Events after which a run works out the partitions' colours itself."""

Context = dg.AssetExecutionContext | dg.OpExecutionContext


class LoadConfig(dg.Config):
    """The source of a run, and whether to request what is stored."""

    source: str = Field(
        "", description="Source to load from, such as yahoo; empty for the settings' own."
    )
    force: bool = Field(
        default=False, description="Request again what is stored or was confirmed to be empty."
    )


def load_partitions(
    context: dg.AssetExecutionContext,
    platform: Platform,
    config: LoadConfig,
    partitions: dg.MultiPartitionsDefinition,
    progress: Progress,
    *,
    asset: DatasetAsset,
) -> None:
    """Load the symbol-days of the run's partition keys. Raises as ``load_and_report``."""
    tickers, days = rectangle(partitions, context.partition_key_range, context.instance)
    requested = dict.fromkeys(tickers, days)
    load_and_report(context, platform, config, requested, progress, asset=asset)


def load_symbols(
    context: dg.AssetExecutionContext,
    platform: Platform,
    config: LoadConfig,
    progress: Progress,
    *,
    asset: DatasetAsset,
) -> None:
    """Load today's state of the symbols of the run's partition keys. Raises as
    ``load_and_report``.
    """
    today = platform.clock().date()
    requested = dict.fromkeys(context.partition_keys, (today,))
    load_and_report(context, platform, config, requested, progress, asset=asset)


def load_whole(
    context: dg.AssetExecutionContext,
    platform: Platform,
    config: LoadConfig,
    progress: Progress,
    *,
    asset: DatasetAsset,
) -> list[LoadReport]:
    """Load every list of a dataset that comes whole, each from its own source.

    Raises dagster.Failure where any failed, after the good ones are stored, and what
    ``whole_steps`` raises.
    """
    steps = whole_steps(platform, asset.table.name, config.source)
    how = How(platform.asking, force=config.force, run_id=context.run.run_id)
    failures: list[str] = []

    def failed(step: Step, error: Exception) -> None:
        failures.append(str(error))

    reports = list(
        load_steps(
            platform,
            steps,
            how,
            watch=lambda step, source: nullcontext(progress),
            on_error=failed,
        )
    )
    for report in reports:
        log_report(context, report)
        failures += [f"{each.symbol}: {each.error}" for each in report.symbols if each.error]
        failures += [f"{symbol}: {why}" for symbol, why in report.left.items()]
    if platform.warehouse.exists():
        publish(platform.warehouse)
    if failures:
        raise dg.Failure(_failures(len(failures), "list", failures), allow_retries=False)
    return reports


def load_and_report(
    context: Context,
    platform: Platform,
    config: LoadConfig,
    requested: Requested,
    progress: Progress,
    *,
    asset: DatasetAsset,
) -> None:
    """Load the sessions requested of each symbol and report to Dagster what became of them.

    Raises dagster.Failure where any failed, after the good ones are reported.
    """
    tags, wanted = context.run.tags, spans(requested)
    # The runs of a backfill share their requests; a run that is tried again makes its own.
    backfill = None if PARENT_RUN_ID_TAG in tags else tags.get(BACKFILL_ID_TAG)
    if backfill:
        wanted |= spans_of_backfill(context.instance, backfill, asset.key, wanted)
    steps = [
        step
        for window in windows(wanted)
        for step in window_steps(platform, config.source, window, asset.table)
    ]
    how = How(platform.asking, force=config.force, backfill=backfill)
    _Run(context, platform, progress, asset, dict(requested), how).load_and_report(steps)


def refresh_and_report(
    context: Context,
    platform: Platform,
    steps: Sequence[Step],
    how: How,
    progress: Progress,
    *,
    asset: DatasetAsset,
) -> None:
    """Load the steps of a refresh one after another, and report their symbol-days within the
    partitions; pairs have none, so they are loaded and not reported.

    Raises dagster.Failure where any failed, after the good ones are reported.
    """
    requested = {
        symbol: days for step in steps for symbol, days in requested_by_step(platform, step)
    }
    add_tickers(context.instance, list(requested))
    run = _Run(context, platform, progress, asset, requested, how)
    run.load_and_report(steps)
    if run.errors:
        # Those of pairs, and of sessions before the first partition: no key shows them.
        shown = [f"{symbol}: {why}" for symbol, why in sorted(run.errors.items())[:10]]
        raise dg.Failure(_failures(len(run.errors), "symbol", shown), allow_retries=False)


def report_stored(
    context: Context, platform: Platform, tickers: Sequence[str], *, asset: DatasetAsset
) -> Reporter:
    """Report to Dagster what is stored under tickers, over all of their partitions. Nothing is
    fetched; symbol-days that are not stored stay as they are.
    """
    add_tickers(context.instance, tickers)
    reporter = Reporter(context.instance, RunStep.of(context, asset))
    last_closed = platform.calendar.last_closed_session(platform.clock())
    days = partition_days(platform, platform.settings.partition_start, last_closed)
    for some in portions(dict.fromkeys(tickers, days)):
        found = states(asset, platform.warehouse, some, last_closed)
        borne = {day: why for day, why in found.empty.items() if day not in found.unborne}
        reporter.report(replace(found, empty=borne, failed={}))
    return reporter


@dataclass
class _Run:
    """One run under way: ``requested`` are the symbol-days that are still to be reported."""

    context: Context
    platform: Platform
    progress: Progress
    asset: DatasetAsset
    requested: dict[str, Sequence[dt.date]]
    how: How
    errors: dict[str, str] = field(default_factory=dict)
    source: SourceProfile | None = None

    def __post_init__(self) -> None:
        self.how = replace(self.how, run_id=self.context.run.run_id)
        step = RunStep.of(self.context, self.asset)
        self.reporter = Reporter(self.context.instance, step)
        self.last_closed = self.platform.calendar.last_closed_session(self.platform.clock())

    def load_and_report(self, steps: Sequence[Step]) -> None:
        """Load steps, each from its own source. A source that can't be had costs no other."""
        for report in load_steps(
            self.platform,
            steps,
            self.how,
            watch=self._begin,
            on_decided=self._report,
            on_error=self._failed,
        ):
            log_report(self.context, report)
            self.errors |= {each.symbol: each.error for each in report.symbols if each.error}
            self.errors |= report.left
            self._report(report.window.symbols, report.left)
            self.source = None
        self._finish()

    @contextmanager
    def _begin(self, step: Step, source: SourceProfile) -> Iterator[Progress]:
        """Report symbol-days as those of ``source`` from here on."""
        self.source = source
        self.reporter.step = replace(self.reporter.step, source=source.name)
        yield self._progressed

    def _failed(self, step: Step, error: Exception) -> None:
        """Report a step that brought nothing: what is not stored could not be found out."""
        symbols = step.window.symbols
        errors = {}
        if isinstance(error, OpenSessionError):
            self.context.log.warning(str(error))
        else:
            self.context.log.error(str(error))
            errors = dict.fromkeys(symbols, str(error))
        self.errors |= errors
        self._report(symbols, errors)
        self.source = None

    def _report(self, symbols: Sequence[str], errors: Mapping[str, str]) -> None:
        """Read back what became of the symbols' requested days and report it; once each."""
        left = {s: self.requested.pop(s) for s in symbols if s in self.requested}
        for some in portions(left):
            if self.source is None:
                why = next(iter(errors.values()), "")
                found = all_failed(some, self.last_closed, why, errors)
            else:
                found = states(
                    self.asset,
                    self.platform.warehouse,
                    some,
                    self.last_closed,
                    source=self.source.name,
                    names_on=self.source.names_on,
                    run_id=self.context.run.run_id,
                    errors=errors,
                )
            self.reporter.report(found)

    def _progressed(self, done: int, total: int, what: str) -> None:
        self.progress(done, total, what)
        self.context.log.info(f"{done} of {total} symbols; {what}")

    def _finish(self) -> None:
        """Log the totals; raises dagster.Failure where any symbol-day failed."""
        reported = self.reporter
        if reported.written >= MANY_EVENTS and self.asset.partitions == "symbol_day":
            # Or the next page to open waits until Dagster has worked them out.
            partitions = symbol_days(self.platform.calendar, self.platform.settings.partition_start)
            instance, key = self.context.instance, self.asset.key
            get_and_update_asset_status_cache_value(instance, key, partitions)
        self.context.log.info(
            f"{reported.good} symbol-days present, {reported.empty} confirmed empty, "
            f"{reported.failed} failed, {reported.open} not closed yet; "
            f"{reported.written} events written."
        )
        if reported.failed:
            failures = reported.first_failures.items()
            shown = [f"{symbol} {day}: {why}" for (symbol, day), why in failures]
            where = "; symbol_day_ledger in the warehouse lists them"
            raise dg.Failure(
                _failures(reported.failed, "symbol-day", shown, where),
                metadata={"failed": reported.failed, "good": reported.good},
                allow_retries=False,
            )


def log_report(context: Context, loaded: LoadReport) -> None:
    """Log what a load brought, its notices and errors."""
    context.log.info(
        f"{loaded.source}: {loaded.total('inserted')} rows new, "
        f"{loaded.total('revised')} revised, {loaded.total('unchanged')} unchanged, "
        f"{loaded.total('quarantined')} quarantined, {loaded.up_to_date} symbols had everything"
        " already."
    )
    for notice in loaded.notices:
        context.log.warning(notice)
    for symbol in loaded.symbols:
        if symbol.error:
            context.log.error(f"{symbol.symbol}: {symbol.error}")


def _failures(number: int, noun: str, shown: Sequence[str], where: str = "") -> str:
    """How many failed, those shown, and where the others are listed."""
    failed = f"1 {noun} failed." if number == 1 else f"{number:,} {noun}s failed."
    more = number - len(shown)
    return "\n".join([failed, *shown, *([f"and {more} more{where}."] if more else [])])
