"""What is due, and in which order to ask: requests, made from the warehouse alone.

Due are the sessions of a window that a source has neither delivered nor confirmed empty. Requests
are scarce and rows are free, so there is one a symbol, which also looks back at what is stored. No
source is asked, and nothing is written.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

from quant_assets.contracts.prices import PriceRequest
from quant_assets.contracts.source import SourceProfile
from quant_assets.datasets.daily_prices.due import OpenSessionError, PriceCoverage
from quant_assets.loading.tasks import Task
from quant_assets.loading.work import Asking, Plan, Window
from quant_assets.reference.calendars import Calendar
from quant_assets.schema.loads import PRIORITIES
from quant_assets.warehouse.warehouse import Warehouse


def plan(
    warehouse: Warehouse,
    source: SourceProfile,
    window: Window,
    calendar: Calendar,
    *,
    force: bool = False,
    backfill: str | None = None,
    asking: Asking | None = None,
) -> Plan:
    """Find out what is due: sessions neither present nor confirmed empty for this source.

    A symbol is asked for over the span of its due sessions, one request a symbol; at a live source
    those of the highest priority come first, and of these the most stale; what failed last time
    comes last. Before all come a few of those that had to wait. With ``force`` all is due. A
    Dagster ``backfill`` arrives as many runs; each symbol is asked for in the first of them alone.
    Raises OpenSessionError where no session of the window has closed.
    """
    asking = asking or Asking()
    now = warehouse.clock()
    last_closed = calendar.last_closed_session(now)
    if window.start > last_closed:
        raise OpenSessionError(window.start, last_closed)
    sessions = calendar.between(window.start, min(window.end, last_closed))
    stand = PriceCoverage.of(warehouse, source, sessions)
    before = _asked_before(warehouse, source, backfill) if backfill else {}
    due: dict[str, list[dt.date]] = {}
    for symbol in dict.fromkeys(window.symbols):
        days = list(sessions) if force else stand.due(symbol, source.names_on, sessions)
        start = window.starts.get(symbol)
        due[symbol] = [day for day in days if day >= start] if start else days
    wanted = [symbol for symbol, days in due.items() if days and symbol not in before]
    tasks = {symbol: stand.task(source, symbol, due[symbol], asking.priority) for symbol in wanted}
    left = _left_alone(stand, tasks, now) if asking.heed_tasks else {}
    ordered = [symbol for symbol in wanted if symbol not in left]
    probes: tuple[str, ...] = ()
    if source.live:
        ordered.sort(
            key=lambda symbol: (
                PRIORITIES.index(tasks[symbol].priority),
                # Several bad symbols in a row look like a source that is down.
                stand.failed_before(symbol),
                due[symbol][0],
            )
        )
        newest = [symbol for symbol in ordered if due[symbol][-1] == sessions[-1]]
        probes = stand.probes(newest)
        ordered = [*probes, *(symbol for symbol in ordered if symbol not in probes)]
    postponed: tuple[str, ...] = ()
    if asking.most_requests is not None:
        postponed = tuple(ordered[asking.most_requests :])
        ordered = ordered[: asking.most_requests]
    settled = tuple(symbol for symbol in due if symbol in before or not due[symbol])
    return Plan(
        window,
        sessions,
        tuple(
            PriceRequest(
                symbol,
                due[symbol][0],
                due[symbol][-1],
                stand.since(symbol, source, asking, due[symbol][0], now),
            )
            for symbol in ordered
        ),
        settled,
        sum(len(due[symbol]) for symbol in wanted),
        {symbol: before[symbol] for symbol in settled if symbol in before},
        stand.recorded,
        left,
        {symbol: tasks[symbol] for symbol in ordered},
        tuple(
            stand.tasks[symbol].fulfilled()
            for symbol in settled
            if not due[symbol] and symbol in stand.tasks and stand.tasks[symbol].unfinished
        ),
        postponed,
        probes,
    )


def _left_alone(
    stand: PriceCoverage, tasks: Mapping[str, Task], now: dt.datetime
) -> dict[str, str]:
    """Symbols whose task says not to ask: it was given up on these sessions, or has to wait."""
    moment = now.astimezone(dt.UTC).replace(tzinfo=None)
    left = {}
    for symbol, task in tasks.items():
        before = stand.tasks.get(symbol)
        if before is None:
            continue
        if before.given_up and before.covers(task.start_session, task.end_session):
            why = (before.error or "").rstrip(".")
            left[symbol] = f"given up after {before.attempts} attempts: {why}"
        elif before.waits(moment):
            left[symbol] = f"not to be asked before {before.retry_at:%Y-%m-%d %H:%M:%S} UTC"
    return left


def _asked_before(
    warehouse: Warehouse, source: SourceProfile, backfill: str
) -> dict[str, str | None]:
    """Symbols that earlier runs of a backfill were sent for, each with its error if any."""
    if not warehouse.exists():
        return {}
    with warehouse.reading() as con:
        rows = con.execute(
            "select s.symbol, max(s.error) from load_run_symbols s"
            " join load_runs r using (run_id, dataset, source)"
            " where backfill = ? and dataset = 'daily_prices' and source = ? group by 1",
            [backfill, source.name],
        ).fetchall()
    return dict(rows)
