"""Which sessions a run's keys request of each symbol, and in which windows they are loaded."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

import dagster as dg

from quant_assets.loading.work import Window
from quant_assets.refreshing.steps import Step
from quant_assets.wiring.platform import Platform

SYMBOL_DAYS_AT_ONCE = 65_536
"""Symbol-days whose states are in memory together."""

SPANS_AT_MOST = 8
"""Loads a ragged selection is split into; with more spans than that, one load covers them all."""

Requested = Mapping[str, Sequence[dt.date]]
"""Sessions requested by symbol, ascending."""

Span = tuple[dt.date, dt.date]


def spans(requested: Requested) -> dict[str, Span]:
    """First and last session requested of each symbol."""
    return {symbol: (days[0], days[-1]) for symbol, days in requested.items() if days}


def spans_of_backfill(
    instance: dg.DagsterInstance, backfill: str, asset: dg.AssetKey, symbols: Iterable[str]
) -> dict[str, Span]:
    """First and last session that a backfill requests of each of ``symbols``."""
    record = instance.get_backfill(backfill)
    data = record.asset_backfill_data if record else None
    subset = data.target_subset.partitions_subsets_by_asset_key.get(asset) if data else None
    ours = set(symbols)
    days: dict[str, set[str]] = defaultdict(set)
    for key in subset.get_partition_keys() if subset else ():
        # Split as text: a backfill may name a hundred thousand keys, and dates are made of few.
        day, symbol = key.split("|", maxsplit=1)
        if symbol in ours:
            days[symbol].add(day)
    return {
        symbol: (dt.date.fromisoformat(min(some)), dt.date.fromisoformat(max(some)))
        for symbol, some in days.items()
    }


def windows(wanted: Mapping[str, Span]) -> Iterator[Window]:
    """Symbols of one span together."""
    by_span: dict[Span, list[str]] = defaultdict(list)
    for symbol, span in wanted.items():
        by_span[span].append(symbol)
    if len(by_span) > SPANS_AT_MOST:
        widest = min(start for start, _ in by_span), max(end for _, end in by_span)
        by_span = {widest: list(wanted)}
    for (start, end), symbols in sorted(by_span.items()):
        yield Window(tuple(symbols), start, end)


def partition_days(platform: Platform, start: dt.date, end: dt.date) -> Sequence[dt.date]:
    """The sessions from ``start`` to ``end`` that have partitions."""
    first = max(start, platform.settings.partition_start)
    return platform.calendar.between(first, end) if first <= end else ()


def requested_by_step(platform: Platform, step: Step) -> Iterator[tuple[str, Sequence[dt.date]]]:
    """The symbols of a step that have partitions, with the sessions it requests of each."""
    if step.calendar.name != platform.calendar.name:
        return
    window = step.window
    by_start: dict[dt.date, Sequence[dt.date]] = {}
    for symbol in window.symbols:
        start = window.starts.get(symbol, window.start)
        if start not in by_start:
            by_start[start] = partition_days(platform, start, window.end)
        yield symbol, by_start[start]


def portions(requested: Requested) -> Iterator[Requested]:
    """``requested`` in parts of some ``SYMBOL_DAYS_AT_ONCE``."""
    part: dict[str, Sequence[dt.date]] = {}
    size = 0
    for symbol, days in requested.items():
        part[symbol] = days
        size += len(days)
        if size >= SYMBOL_DAYS_AT_ONCE:
            yield part
            part, size = {}, 0
    if part:
        yield part
