"""Loads as Python functions: refresh, backfill, resume. The command line calls the same ones.

They work under the same locks as every other load, so that notebooks, commands and the Dagster UI
may work on one data folder at a time. They need no event loop and heed none. Ctrl-C stops them
between two symbols: what was stored stays, and the same call goes on from there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path

from quant_assets.journal.progress import Progress, unwatched
from quant_assets.loading.report import LoadReport
from quant_assets.loading.work import Window
from quant_assets.operations.workplace import Workplace, workplace_of
from quant_assets.read.arguments import Day, day_of
from quant_assets.reference.calendars import SessionUnderWayError
from quant_assets.reference.errors import UsageError
from quant_assets.reference.identity import canonical_symbol
from quant_assets.reference.listings import refuse_foreign
from quant_assets.refreshing.load_steps import How, load_steps
from quant_assets.refreshing.steps import (
    NothingToRefreshError,
    Step,
    known_symbols,
    open_steps,
    refresh_steps,
    window_steps,
)
from quant_assets.refreshing.whole_steps import WHOLE, open_datasets, whole_steps
from quant_assets.refreshing.windows import NoSymbolsError, window_of
from quant_assets.schema.catalog import DATASETS, SCHEMA
from quant_assets.schema.loads import PRIORITIES
from quant_assets.settings.settings import Settings
from quant_assets.wiring.platform import NotEnabledError, Platform

ALL = "all"
"""The word for every dataset that is enabled."""


class LoadArgumentError(UsageError, ValueError):
    """Arguments of a load that contradict each other, or a choice that is none."""


def refresh(
    symbols: str | Iterable[str] | None = None,
    *,
    universe: str = "",
    datasets: str | Iterable[str] = "daily_prices",
    source: str = "",
    start: Day | None = None,
    priority: str = "",
    force: bool = False,
    max_requests: int | None = None,
    fail_fast: bool = False,
    accept: bool = False,
    dry_run: bool = False,
    on_progress: Progress = unwatched,
    home: Path | str | None = None,
    settings: Settings | None = None,
    within: Workplace | None = None,
) -> list[LoadReport]:
    """Bring datasets up to the last closed session, with as few requests as possible.

    ``symbols`` are tickers, by default the members of ``universe``, else those of every universe
    and all symbols loaded before. ``datasets`` names datasets, or ``"all"`` that are enabled;
    ``market_snapshot`` comes whole, without symbols. A symbol comes from ``source``, else from the
    one that loaded it, else from that of the settings. A symbol without rows is loaded from
    ``start``, else as far back as its universe or the settings' ``default_days``. ``priority`` is
    ``"high"``, ``"normal"`` or ``"low"``. ``force`` requests also what is stored; ``max_requests``
    bounds the requests of all datasets together; ``fail_fast`` stops at the first symbol that
    fails; ``accept`` stores answers that contradict stored rows; ``dry_run`` requests and writes
    nothing.

    ``on_progress`` is called with symbols done, symbols in all, and the present step.
    ``settings`` are used as they are, in place of those found for ``home``. ``within`` is for the
    command line.

    Returns a report for each dataset, source and market, in symbol-days and rows; its times are
    aware, in UTC. One bad symbol costs no other its data: ``report.needs_attention`` tells of it.
    A dataset of several that can't be requested now is passed over with a warning.

    Raises LoadArgumentError, NothingToRefreshError, NoSymbolsError, UnknownUniverseError,
    UnknownSourceNameError, ForeignListingError, SourceError where a source as a whole can't answer,
    and WarehouseError, such as WarehouseBusyError where another writer holds the lock.
    """
    work = within or workplace_of(home, settings, on_progress)
    named = _symbols(symbols)
    chosen = _datasets(work.platform, datasets)
    _check(chosen, named, universe, source, priority)
    first = None if start is None else day_of("start", start, work.platform.clock)
    first = first and max(first, work.platform.calendar.sessions[0])
    steps: list[Step] = []
    for name in chosen:
        try:
            steps += (
                whole_steps(work.platform, name, source)
                if name in WHOLE
                else refresh_steps(
                    work.platform,
                    symbols=named or (),
                    universe=universe,
                    source=source,
                    start=first,
                    table=SCHEMA[name],
                )
            )
        except (NothingToRefreshError, SessionUnderWayError, NotEnabledError) as error:
            if len(chosen) == 1:
                raise
            work.on_note(f"{name} is passed over: {error}")
    refuse_foreign(named or ())
    asking = dataclasses.replace(
        work.platform.asking,
        look_back_everywhere=True,
        priority=priority or None,
        most_requests=max_requests,
        # A symbol that is named is loaded even where its task waits or was given up.
        heed_tasks=not (named or force),
    )
    how = How(asking, force=force, dry_run=dry_run, fail_fast=fail_fast, accept=accept)
    return _load(work, steps, how)


def backfill(
    symbols: str | Iterable[str] | None = None,
    start: Day | None = None,
    end: Day | None = None,
    *,
    days: int | None = None,
    source: str = "",
    force: bool = False,
    dry_run: bool = False,
    fail_fast: bool = False,
    allow_mixing: bool = False,
    on_progress: Progress = unwatched,
    home: Path | str | None = None,
    settings: Settings | None = None,
    within: Workplace | None = None,
) -> list[LoadReport]:
    """Load daily prices and corporate actions from ``start`` to ``end``, both included: only what
    is missing, unless ``force`` is set.

    ``symbols`` are tickers, by default all of the source, else all that are known here. ``end`` is
    by default the last closed session; ``days`` before it may be given in place of ``start``.
    ``source`` is by default that of the settings. ``allow_mixing`` lets simulated and real rows
    share a warehouse. The other arguments and the reports are as for ``refresh``.

    Raises ArgumentError, LoadArgumentError, NoSymbolsError, ReversedDaysError, NoSessionError,
    OpenSessionError (none of the days has closed), CalendarRangeError, NothingToRefreshError,
    UnknownSourceNameError, ForeignListingError, MixedMarketsError, SourceError and WarehouseError.
    """
    work = within or workplace_of(home, settings, on_progress)
    window = backfill_window(work, symbols, start, end, days=days, source=source)
    how = How(
        work.platform.asking,
        force=force,
        dry_run=dry_run,
        fail_fast=fail_fast,
        allow_mixing=allow_mixing,
    )
    return _load(work, window_steps(work.platform, source, window), how)


def resume(
    *,
    retry_failed: bool = False,
    dry_run: bool = False,
    on_progress: Progress = unwatched,
    home: Path | str | None = None,
    settings: Settings | None = None,
    within: Workplace | None = None,
) -> list[LoadReport]:
    """Continue loads that were stopped, rate-limited or failed; with ``retry_failed`` also symbols
    that were given up. Arguments, reports and errors are as for ``refresh``; no report where there
    is nothing to resume.
    """
    work = within or workplace_of(home, settings, on_progress)
    asking = dataclasses.replace(work.platform.asking, heed_tasks=not retry_failed)
    return _load(work, steps_to_resume(work, retry_failed), How(asking, dry_run=dry_run))


def backfill_window(
    work: Workplace,
    symbols: str | Iterable[str] | None,
    start: Day | None,
    end: Day | None,
    *,
    days: int | None,
    source: str,
) -> Window:
    """What ``backfill`` loads. Raises as it does."""
    platform, named = work.platform, _symbols(symbols)
    if start is not None and days is not None:
        raise LoadArgumentError(
            "start and days (--start and --days) say the same; give one of them."
        )
    if days is not None and days < 1:
        raise LoadArgumentError(f"days is 1 or more; got {days}.")
    chosen = platform.price_source(source)
    refuse_foreign(named or ())
    return window_of(
        platform,
        named or chosen.symbols() or known_symbols(platform),
        None if start is None else day_of("start", start),
        None if end is None else day_of("end", end),
        days=days,
        on_note=work.on_note,
    )


def steps_to_resume(work: Workplace, given_up: bool) -> list[Step]:
    """What ``resume`` loads; a dataset that can't be requested now is noted and left out."""
    steps: list[Step] = []
    for name in DATASETS:
        if name not in WHOLE:
            steps += open_steps(work.platform, given_up=given_up, table=SCHEMA[name])
    for name in open_datasets(work.platform, given_up=given_up):
        try:
            steps += whole_steps(work.platform, name)
        except (SessionUnderWayError, NotEnabledError) as error:
            work.on_note(str(error))
    return steps


def _load(work: Workplace, steps: Iterable[Step], how: How) -> list[LoadReport]:
    reports = []
    for report in load_steps(work.platform, steps, how, watch=work.watch):
        reports.append(report)
        work.on_report(report)
    if not how.dry_run:
        work.publish()
    return reports


def _symbols(given: str | Iterable[str] | None) -> tuple[str, ...] | None:
    """Canonical symbols, each once. Raises NoSymbolsError, InvalidSymbolError."""
    if given is None:
        return None
    some = given if isinstance(given, Iterable) and not isinstance(given, str) else (given,)
    named = tuple(dict.fromkeys(canonical_symbol(text) for text in some))
    if not named:
        raise NoSymbolsError
    return named


def _datasets(platform: Platform, given: str | Iterable[str]) -> tuple[str, ...]:
    named = tuple(dict.fromkeys((given,) if isinstance(given, str) else given))
    for name in named or ("",):
        if name not in (*DATASETS, ALL):
            known = ", ".join((*DATASETS, ALL))
            raise LoadArgumentError(f"There is no dataset {name!r}; known are {known}.")
    if ALL in named:
        return tuple(name for name in DATASETS if platform.sources_of(name))
    return named


def _check(
    datasets: Sequence[str],
    symbols: Sequence[str] | None,
    universe: str,
    source: str,
    priority: str,
) -> None:
    whole = [name for name in datasets if name in WHOLE]
    if whole and (universe or symbols):
        raise LoadArgumentError(f"{whole[0]} comes whole; symbols and universe are not for it.")
    if source and len(datasets) > 1:
        raise LoadArgumentError("source is for one dataset; name it with datasets.")
    if priority and priority not in PRIORITIES:
        raise LoadArgumentError(f"priority is one of {', '.join(PRIORITIES)}; got {priority!r}.")
