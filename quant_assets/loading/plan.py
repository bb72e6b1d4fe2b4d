"""The requests of a load and their order, made from the warehouse alone.

Requests are scarce and rows are free, so there is one request a symbol, which also looks back at
what is stored. No source is asked, and nothing is written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

from quant_assets.contracts.source import Request, SourceProfile
from quant_assets.loading.dataset import Dataset, Due, Look
from quant_assets.loading.pending import Pending
from quant_assets.loading.tasks import Task
from quant_assets.loading.work import Asking, Plan, Window
from quant_assets.schema.loads import PRIORITIES
from quant_assets.warehouse.warehouse import Warehouse


def plan(
    warehouse: Warehouse,
    dataset: Dataset[Any, Any],
    source: SourceProfile,
    window: Window,
    *,
    force: bool = False,
    backfill: str | None = None,
    asking: Asking | None = None,
) -> Plan:
    """Find out what is due, and in which order to request it.

    Each symbol is requested once, over the span of its due days. At a live source the symbols of
    the highest priority come first, and of these the most stale; what failed last time comes last.
    Before all come a few of those that had to wait. With ``force`` all is due. A Dagster
    ``backfill`` arrives as many runs; each symbol is requested in the first of them alone. Raises
    what the dataset's rule raises where no day of the window can be requested.
    """
    asking = asking or Asking()
    now = warehouse.clock()
    days = dataset.rule.days(window, now)
    with warehouse.reading() if warehouse.exists() and days else nullcontext() as con:
        pending = Pending(dataset.name, source)
        if con is not None:
            pending = Pending.read(con, dataset.name, source, backfill)
        look = Look(con, source, window, days, now, pending.asked_at)
        found = dataset.rule.due(look, force=force)
    due = {symbol: _from_start(each, window, symbol) for symbol, each in found.items()}
    before = pending.requested_before
    wanted = [symbol for symbol in due if due[symbol].days and symbol not in before]
    tasks = {s: pending.task(s, due[s], asking.priority) for s in wanted}
    left = pending.left_alone(tasks, now) if asking.heed_tasks else {}
    ordered = [symbol for symbol in wanted if symbol not in left]
    probes: tuple[str, ...] = ()
    if source.live:
        ordered = _most_stale_first(ordered, due, tasks, pending)
        probes = pending.probes([s for s in ordered if due[s].days[-1] == days[-1]])
        ordered = [*probes, *(symbol for symbol in ordered if symbol not in probes)]
    most = len(ordered) if asking.most_requests is None else asking.most_requests
    ordered, postponed = ordered[:most], tuple(ordered[most:])
    up_to_date = tuple(symbol for symbol in due if symbol in before or not due[symbol].days)
    return Plan(
        source,
        window,
        days,
        tuple(
            Request(s, due[s].days[0], due[s].days[-1], pending.since(s, due[s], asking, now))
            for s in ordered
        ),
        up_to_date,
        sum(len(due[symbol].days) for symbol in wanted),
        {symbol: before[symbol] for symbol in up_to_date if symbol in before},
        pending.recorded,
        left,
        {symbol: tasks[symbol] for symbol in ordered},
        tuple(
            pending.tasks[symbol].fulfilled()
            for symbol in up_to_date
            if not due[symbol].days and symbol in pending.tasks and pending.tasks[symbol].unfinished
        ),
        postponed,
        probes,
    )


def _from_start(due: Due, window: Window, symbol: str) -> Due:
    """Without the days before the first one wanted of the symbol."""
    start = window.starts.get(symbol)
    return replace(due, days=[day for day in due.days if day >= start]) if start else due


def _most_stale_first(
    symbols: Sequence[str], due: Mapping[str, Due], tasks: Mapping[str, Task], pending: Pending
) -> list[str]:
    return sorted(
        symbols,
        key=lambda symbol: (
            PRIORITIES.index(tasks[symbol].priority),
            # Several bad symbols in a row look like a source that is down.
            pending.failed_before(symbol),
            due[symbol].days[0],
        ),
    )
