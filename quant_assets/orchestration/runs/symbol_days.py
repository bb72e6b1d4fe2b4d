"""A Dagster run over symbol-days: what its keys ask for, or a refresh, loaded and told to Dagster.

A rectangle launched from the UI arrives as many runs, one a session. Each asks the source for the
span that the whole backfill wants of a symbol, unless an earlier run of it did; the later ones find
their rows there and have them only to tell of.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import dagster as dg
from dagster._core.storage.partition_status_cache import get_and_update_asset_status_cache_value
from dagster._core.storage.tags import BACKFILL_ID_TAG, PARENT_RUN_ID_TAG

from quant_assets.contracts.prices import PriceSource
from quant_assets.contracts.source import SourceError
from quant_assets.datasets.daily_prices.due import OpenSessionError
from quant_assets.datasets.daily_prices.key_states import nothing_found, outcomes_of
from quant_assets.journal.progress import Progress
from quant_assets.loading.load import load
from quant_assets.loading.report import LoadReport
from quant_assets.loading.work import Asking, Window
from quant_assets.orchestration.runs.partitions import add_tickers, rectangle, symbol_days
from quant_assets.orchestration.runs.reporting import Reporter, RunStep
from quant_assets.reference.calendars import Calendar
from quant_assets.refreshing.steps import Step
from quant_assets.wiring.platform import Platform, UnknownSourceNameError

ASSET = dg.AssetKey("daily_prices")
UPSTREAM = dg.AssetKey("sp500_universe")
CODE_VERSION = "prices-1"

SYMBOL_DAYS_AT_ONCE = 65_536
"""Symbol-days whose outcomes are in memory together."""

MANY_EVENTS = 10_000
"""Events after which a run works out the partitions' colours itself."""

SPANS_AT_MOST = 8
"""Loads a ragged selection is split into; with more spans than that, one load covers them all."""

Context = dg.AssetExecutionContext | dg.OpExecutionContext
Asked = Mapping[str, Sequence[dt.date]]
"""Sessions asked for by symbol, ascending."""


class PricesConfig(dg.Config):
    """What a run may be told: the source (the settings' own if empty), and whether to ask again."""

    source: str = ""
    force: bool = False


def load_partitions(
    context: dg.AssetExecutionContext,
    platform: Platform,
    config: PricesConfig,
    partitions: dg.MultiPartitionsDefinition,
    progress: Progress,
) -> None:
    """Load the symbol-days of the run's partition keys. Raises as ``load_and_tell``."""
    tickers, days = rectangle(partitions, context.partition_key_range, context.instance)
    backfill = _backfill(context)
    asked: dict[str, Sequence[dt.date]] = dict.fromkeys(tickers, days)
    wanted = _spans(asked)
    if backfill:
        wanted |= _spans_of_backfill(context.instance, backfill, wanted)
    run = _Run(context, platform, progress, asked, platform.asking, config.force, backfill)
    run.load_and_tell(config.source, wanted)


def load_and_tell(
    context: Context, platform: Platform, config: PricesConfig, asked: Asked, progress: Progress
) -> None:
    """Load the sessions asked for of each symbol and tell Dagster what became of them.

    Raises dagster.Failure where any failed, after the good ones are told.
    """
    run = _Run(context, platform, progress, dict(asked), platform.asking, config.force)
    run.load_and_tell(config.source, _spans(asked))


def refresh_and_tell(
    context: Context,
    platform: Platform,
    steps: Sequence[Step],
    asking: Asking,
    progress: Progress,
    *,
    force: bool = False,
) -> None:
    """Load the steps of a refresh one after another, and tell Dagster of their symbol-days within
    the partitions; pairs have none, so they are loaded and not told.

    Raises dagster.Failure where any failed, after the good ones are told.
    """
    asked = {symbol: days for step in steps for symbol, days in _partitioned(platform, step)}
    add_tickers(context.instance, list(asked))
    _Run(context, platform, progress, asked, asking, force).refresh(steps)


def tell_of(context: Context, platform: Platform, tickers: Sequence[str]) -> Reporter:
    """Tell Dagster what is stored under tickers, over all of their partitions. Nothing is asked
    for; what is not there stays as it is.
    """
    add_tickers(context.instance, tickers)
    reporter = Reporter(context.instance, RunStep.of(context, ASSET, CODE_VERSION), UPSTREAM)
    last_closed = platform.calendar.last_closed_session(platform.clock())
    days = _partition_days(platform, platform.settings.partition_start, last_closed)
    for some in portions(dict.fromkeys(tickers, days)):
        found = outcomes_of(platform.warehouse, None, None, some, last_closed)
        borne = {day: why for day, why in found.empty.items() if day not in found.unborne}
        reporter.tell(replace(found, empty=borne, failed={}))
    return reporter


def _partitioned(platform: Platform, step: Step) -> Iterator[tuple[str, Sequence[dt.date]]]:
    """The symbols of a step that have partitions, with the sessions it asks for of each."""
    if step.calendar.name != platform.calendar.name:
        return
    window = step.window
    by_start: dict[dt.date, Sequence[dt.date]] = {}
    for symbol in window.symbols:
        start = window.starts.get(symbol, window.start)
        if start not in by_start:
            by_start[start] = _partition_days(platform, start, window.end)
        yield symbol, by_start[start]


def _partition_days(platform: Platform, start: dt.date, end: dt.date) -> Sequence[dt.date]:
    first = max(start, platform.settings.partition_start)
    return platform.calendar.between(first, end) if first <= end else ()


def _backfill(context: Context) -> str | None:
    """The backfill whose runs share their requests; a run that is tried again asks for itself."""
    tags = context.run.tags
    return None if PARENT_RUN_ID_TAG in tags else tags.get(BACKFILL_ID_TAG)


Span = tuple[dt.date, dt.date]


def _spans(asked: Asked) -> dict[str, Span]:
    return {symbol: (days[0], days[-1]) for symbol, days in asked.items() if days}


def _spans_of_backfill(
    instance: dg.DagsterInstance, backfill: str, symbols: Iterable[str]
) -> dict[str, Span]:
    """First and last session that a backfill wants of each of ``symbols``."""
    record = instance.get_backfill(backfill)
    if record is None or record.asset_backfill_data is None:
        return {}
    subset = record.asset_backfill_data.target_subset.partitions_subsets_by_asset_key.get(ASSET)
    if subset is None:
        return {}
    mine = set(symbols)
    days: dict[str, set[str]] = defaultdict(set)
    for key in subset.get_partition_keys():
        # Split as text: a backfill may name a hundred thousand keys, and dates are made of few.
        day, symbol = key.split("|", maxsplit=1)
        if symbol in mine:
            days[symbol].add(day)
    return {
        symbol: (dt.date.fromisoformat(min(some)), dt.date.fromisoformat(max(some)))
        for symbol, some in days.items()
    }


def _windows(wanted: Mapping[str, Span]) -> Iterator[Window]:
    """Symbols of one span together."""
    by_span: dict[Span, list[str]] = defaultdict(list)
    for symbol, span in wanted.items():
        by_span[span].append(symbol)
    if len(by_span) > SPANS_AT_MOST:
        widest = min(start for start, _ in by_span), max(end for _, end in by_span)
        by_span = {widest: list(wanted)}
    for (start, end), symbols in sorted(by_span.items()):
        yield Window(tuple(symbols), start, end)


@dataclass
class _Run:
    """One run under way: ``asked`` are the symbol-days to tell of, as long as they are not told."""

    context: Context
    platform: Platform
    progress: Progress
    asked: dict[str, Sequence[dt.date]]
    asking: Asking
    force: bool
    backfill: str | None = None
    errors: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.step = RunStep.of(self.context, ASSET, CODE_VERSION)
        self.reporter = Reporter(self.context.instance, self.step, UPSTREAM)
        self.last_closed = self.platform.calendar.last_closed_session(self.platform.clock())

    def load_and_tell(self, name: str, wanted: Mapping[str, Span]) -> None:
        """Load the spans wanted from the source of that name."""
        source = self.platform.price_source(name)
        if self._turn_to(source, tuple(self.asked)):
            for window in _windows(wanted):
                for calendar, symbols in self.platform.by_calendar(window.symbols):
                    source = self.platform.price_source(name, calendar)
                    self._load(source, replace(window, symbols=symbols), calendar)
        self._finish()

    def refresh(self, steps: Sequence[Step]) -> None:
        """Load steps, each from its own source. A source that can't be had costs no other."""
        for step in steps:
            try:
                source = self.platform.price_source(step.source, step.calendar)
            except UnknownSourceNameError as error:
                self._nothing_from(step.window.symbols, error)
                continue
            if self._turn_to(source, step.window.symbols):
                self._load(source, step.window, step.calendar, force=step.force)
        self._finish()
        if self.errors:
            # Those of pairs, and of sessions before the first partition: no key shows them.
            raise dg.Failure(_in_words(self.errors), allow_retries=False)

    def _turn_to(self, source: PriceSource, symbols: Sequence[str]) -> bool:
        """Speak of ``source`` from here on; False where it can't say what it is."""
        try:
            self.profile = source.profile
        except SourceError as error:
            self._nothing_from(symbols, error)
            return False
        self.reporter.step = self.step.from_source(self.profile.name)
        return True

    def _nothing_from(self, symbols: Sequence[str], error: Exception) -> None:
        self.context.log.error(str(error))
        self.errors |= dict.fromkeys(symbols, str(error))
        asked = {symbol: self.asked.pop(symbol) for symbol in symbols if symbol in self.asked}
        self.reporter.tell(nothing_found(asked, self.last_closed, str(error)))

    def _load(
        self, source: PriceSource, window: Window, calendar: Calendar, *, force: bool = False
    ) -> None:
        errors: Mapping[str, str] = {}
        try:
            report = load(
                self.platform.warehouse,
                source,
                window,
                calendar,
                asking=self.asking,
                force=self.force or force,
                identities=self.platform.identities(source),
                run_id=self.context.run.run_id,
                backfill=self.backfill,
                on_progress=self._progressed,
                on_decided=self._tell,
            )
        except OpenSessionError as error:
            self.context.log.warning(str(error))
        except SourceError as error:
            # The source as a whole can't be read: what is not here could not be found out.
            self.context.log.error(str(error))  # noqa: TRY400 - the sentence is the message
            errors = dict.fromkeys(window.symbols, str(error))
        else:
            self._log(report)
            errors = report.left
            self.errors |= {each.symbol: each.error for each in report.symbols if each.error}
        self.errors |= errors
        self._tell(window.symbols, errors)

    def _tell(self, symbols: Sequence[str], errors: Mapping[str, str]) -> None:
        """Read back what became of the symbols' days asked for, and tell Dagster; once each."""
        for some in portions({s: self.asked.pop(s) for s in symbols if s in self.asked}):
            self.reporter.tell(
                outcomes_of(
                    self.platform.warehouse,
                    self.profile.name,
                    self.profile.names_on,
                    some,
                    self.last_closed,
                    run_id=self.context.run.run_id,
                    errors=errors,
                )
            )

    def _progressed(self, done: int, total: int, what: str) -> None:
        self.progress(done, total, what)
        self.context.log.info(f"{done} of {total} symbols; {what}")

    def _log(self, loaded: LoadReport) -> None:
        self.context.log.info(
            f"{loaded.source}: {loaded.total('inserted')} rows new, "
            f"{loaded.total('revised')} revised, {loaded.total('unchanged')} unchanged, "
            f"{loaded.total('quarantined')} quarantined, {loaded.settled} symbols had everything "
            "already."
        )
        for notice in loaded.notices:
            self.context.log.warning(notice)
        for symbol in loaded.symbols:
            if symbol.error:
                self.context.log.error(f"{symbol.symbol}: {symbol.error}")

    def _finish(self) -> None:
        """Say what became of it all; raises dagster.Failure where any symbol-day failed."""
        told = self.reporter
        if told.written >= MANY_EVENTS:
            self._colour()
        self.context.log.info(
            f"{told.good} symbol-days present, {told.empty} confirmed empty, {told.failed} failed, "
            f"{told.open} not closed yet; {told.written} events written."
        )
        if told.failed:
            raise dg.Failure(
                description=_failures(told),
                metadata={"failed": told.failed, "good": told.good},
                allow_retries=False,
            )

    def _colour(self) -> None:
        """Have Dagster work out its partitions' colours now, or the next page to open waits."""
        partitions = symbol_days(self.platform.calendar, self.platform.settings.partition_start)
        get_and_update_asset_status_cache_value(self.context.instance, ASSET, partitions)


def portions(asked: Asked) -> Iterator[Asked]:
    """``asked`` in parts of some ``SYMBOL_DAYS_AT_ONCE``."""
    part: dict[str, Sequence[dt.date]] = {}
    size = 0
    for symbol, days in asked.items():
        part[symbol] = days
        size += len(days)
        if size >= SYMBOL_DAYS_AT_ONCE:
            yield part
            part, size = {}, 0
    if part:
        yield part


def _in_words(errors: Mapping[str, str]) -> str:
    shown = [f"{symbol}: {why}" for symbol, why in sorted(errors.items())[:10]]
    rest = [f"and {len(errors) - 10} more."] if len(errors) > 10 else []
    return "\n".join(
        [
            "1 symbol failed." if len(errors) == 1 else f"{len(errors)} symbols failed.",
            *shown,
            *rest,
        ]
    )


def _failures(told: Reporter) -> str:
    shown = [f"{symbol} {day}: {why}" for (symbol, day), why in told.first_failures.items()]
    more = told.failed - len(shown)
    rest = [f"and {more} more; symbol_day_ledger in the warehouse lists them."] if more else []
    days = "1 symbol-day" if told.failed == 1 else f"{told.failed:,} symbol-days"
    return "\n".join([f"{days} failed.", *shown, *rest])
