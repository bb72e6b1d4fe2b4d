"""What is due, and in which order to ask: requests, made from the warehouse alone.

Due are the sessions of a window that a source has neither delivered nor confirmed empty. Requests
are scarce and rows are free, so there is one a symbol, which also looks back at what is stored. No
source is asked, and nothing is written.
"""

from __future__ import annotations

import datetime as dt
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import duckdb
import pyarrow as pa

from quant_assets.contracts.source import PriceRequest, SourceProfile
from quant_assets.loading.tasks import FAILED, RATE_LIMITED, Task, read_tasks
from quant_assets.reference.calendars import Calendar
from quant_assets.reference.identity import Name, bearer_on
from quant_assets.schema.table import DAILY_PRICES, PRIORITIES
from quant_assets.securities.register import read_names
from quant_assets.warehouse.warehouse import Warehouse

PROBES = 3
"""Symbols to ask first of those that had to wait: they tell whether it is time for the rest."""


class OpenSessionError(ValueError):
    """A load asked for sessions that have not closed."""

    def __init__(self, start: dt.date, last_closed: dt.date) -> None:
        super().__init__(
            f"No session from {start} on has closed yet; the last closed one is {last_closed}. "
            "Nothing was asked for and nothing stored."
        )


@dataclass(frozen=True)
class Window:
    """Symbols over ``start`` to ``end``, both included; what a user or a partition asks for.

    ``starts`` are the first days wanted of symbols that begin later than ``start``.
    """

    symbols: tuple[str, ...]
    start: dt.date
    end: dt.date
    starts: Mapping[str, dt.date] = field(default_factory=dict)


@dataclass(frozen=True)
class Asking:
    """How to ask, beyond what is due.

    A request at a source that is live or restates looks back ``look_back_days``, and at all that is
    stored where that was last done ``full_look_back_days`` ago; with ``look_back_everywhere`` so do
    others, whose archive may have been corrected. With ``heed_tasks`` symbols are left alone that
    were given up, or that are not to be asked yet. At most ``most_requests`` are made.
    ``priority`` is that of the symbols; None keeps what they have.
    """

    look_back_days: int = 365
    full_look_back_days: int = 30
    look_back_everywhere: bool = False
    priority: str | None = None
    most_requests: int | None = None
    heed_tasks: bool = False


@dataclass(frozen=True)
class Plan:
    """What a load will ask a source for.

    ``requests`` are due, ``settled`` symbols have everything already. ``sessions`` are those of the
    window that have closed, ``due`` the number of symbol-days missing. ``asked_before``
    are symbols that another run of the same backfill was sent for, each with its error if any;
    ``recorded`` counts what loads had recorded of symbols when the plan was made. ``left`` are
    symbols with something due that are not to be asked for now, each with why not; ``postponed``
    those that no request was left for. ``tasks`` are the tasks of the requests, by symbol;
    ``fulfilled`` those that are open although nothing is due. ``probes`` are the first of the
    symbols requested: a few of those that had to wait.
    """

    window: Window
    sessions: tuple[dt.date, ...]
    requests: tuple[PriceRequest, ...]
    settled: tuple[str, ...]
    due: int
    asked_before: Mapping[str, str | None] = field(default_factory=dict)
    recorded: int = 0
    left: Mapping[str, str] = field(default_factory=dict)
    tasks: Mapping[str, Task] = field(default_factory=dict)
    fulfilled: tuple[Task, ...] = ()
    postponed: tuple[str, ...] = ()
    probes: tuple[str, ...] = ()

    def asked(self, request: PriceRequest) -> tuple[dt.date, ...]:
        """The sessions a request covers."""
        first = bisect_left(self.sessions, request.start)
        return self.sessions[first : bisect_right(self.sessions, request.end)]


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
    stand = _Stand.of(warehouse, source, sessions)
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


def _left_alone(stand: _Stand, tasks: Mapping[str, Task], now: dt.datetime) -> dict[str, str]:
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
            "select s.symbol, max(s.error) from load_run_symbols s join load_runs r using (run_id)"
            " where r.backfill = ? and r.source = ? group by 1",
            [backfill, source.name],
        ).fetchall()
    return dict(rows)


@dataclass(frozen=True)
class _Stand:
    """How things stand in the warehouse: names on record by symbol, the missing sessions and the
    first stored one of each security that has any row in the window, tasks by symbol, when each was
    last asked for at all, and for all that is stored, and how much loads have recorded.

    A security without a row in the window is absent: all of it is missing.
    """

    names: Mapping[str, Sequence[Name]] = field(default_factory=dict)
    missing: Mapping[int, Sequence[dt.date]] = field(default_factory=dict)
    first_stored: Mapping[int, dt.date] = field(default_factory=dict)
    tasks: Mapping[str, Task] = field(default_factory=dict)
    asked_at: Mapping[str, dt.datetime] = field(default_factory=dict)
    asked_for_all_at: Mapping[str, dt.datetime] = field(default_factory=dict)
    recorded: int = 0

    @classmethod
    def of(cls, warehouse: Warehouse, source: SourceProfile, sessions: Sequence[dt.date]) -> _Stand:
        if not warehouse.exists() or not sessions:
            return cls()
        names: dict[str, list[Name]] = {}
        with warehouse.reading() as con:
            [(recorded,)] = con.execute("select count(*) from load_run_symbols").fetchall()
            for name in read_names(con):
                names.setdefault(name.symbol, []).append(name)
            missing = _missing(con, source.name, sessions)
            tasks = read_tasks(con, DAILY_PRICES.name, source.name)
            asked = con.execute(
                "select symbol, asked_at, asked_for_all_at from source_symbols where source = ?",
                [source.name],
            ).fetchall()
            first = con.execute(
                "select security_id, min(session) from daily_prices where source = ? group by 1",
                [source.name],
            ).fetchall()
        by_symbol = {symbol: task for (_, symbol), task in tasks.items()}
        at = {symbol: moment for symbol, moment, _ in asked}
        for_all_at = {symbol: moment for symbol, _, moment in asked}
        return cls(names, missing, dict(first), by_symbol, at, for_all_at, recorded)

    def due(
        self, symbol: str, names_on: dt.date | None, sessions: Sequence[dt.date]
    ) -> list[dt.date]:
        """The sessions of a symbol to ask for; all of them where it is not on record.

        A source that speaks the symbol of the day tells a symbol's companies apart by the day; for
        one that speaks the symbols of one day, that day decides.
        """
        names = self.names.get(symbol, ())
        if not names or not sessions:
            return list(sessions)
        if names_on is not None:
            # Whether a name not borne that day means its bearer all the same is for the register.
            security = bearer_on(names, names_on)
            return list(sessions if security is None else self.missing.get(security, sessions))
        if len({name.security_id for name in names}) == 1:
            return list(self.missing.get(names[0].security_id, sessions))
        return sorted(
            day
            for name in names
            for day in self.missing.get(name.security_id, sessions)
            if name.overlaps(day, day)
        )

    def task(
        self, source: SourceProfile, symbol: str, due: Sequence[dt.date], priority: str | None
    ) -> Task:
        """The task of asking for the due sessions of a symbol."""
        held = self.tasks.get(symbol)
        start, end = min(due), max(due)
        if held is None:
            given = priority or PRIORITIES[1]
            return Task(DAILY_PRICES.name, source.name, symbol, start, end, priority=given)
        return held.planned(start, end, priority or (held.priority if held.open else PRIORITIES[1]))

    def failed_before(self, symbol: str) -> bool:
        return symbol in self.tasks and self.tasks[symbol].state == FAILED

    def probes(self, symbols: Sequence[str]) -> tuple[str, ...]:
        """Of the symbols that were put to wait the few asked longest ago, so that it is others each
        time: what halted itself must not hold up the rest for ever.
        """
        waited = [s for s in symbols if s in self.tasks and self.tasks[s].state == RATE_LIMITED]
        never = [symbol for symbol in waited if symbol not in self.asked_at]
        asked = [symbol for symbol in waited if symbol in self.asked_at]
        return (*never, *sorted(asked, key=self.asked_at.__getitem__))[:PROBES]

    def since(
        self,
        symbol: str,
        source: SourceProfile,
        asking: Asking,
        start: dt.date,
        now: dt.datetime,
    ) -> dt.date | None:
        """The first day to look back to from ``start``; None where there is no need to."""
        if not (source.live or source.restates or asking.look_back_everywhere):
            return None
        since = now.date() - dt.timedelta(days=asking.look_back_days)
        stored = [
            self.first_stored[name.security_id]
            for name in self.names.get(symbol, ())
            if name.security_id in self.first_stored
        ]
        if stored and self._is_long_ago(symbol, asking.full_look_back_days, now):
            since = min(since, *stored)
        return since if since < start else None

    def _is_long_ago(self, symbol: str, days: int, now: dt.datetime) -> bool:
        asked = self.asked_for_all_at.get(symbol)
        if asked is None:
            return True
        return now - asked.replace(tzinfo=dt.UTC) >= dt.timedelta(days=days)


def _missing(
    con: duckdb.DuckDBPyConnection, source: str, sessions: Sequence[dt.date]
) -> dict[int, list[dt.date]]:
    """The sessions that each security with any row or confirmed gap among them lacks."""
    con.register("sessions", pa.table({"session": pa.array(sessions, pa.date32())}))
    rows = con.execute(
        "with seen as ("
        "  select security_id, session from daily_prices"
        "  where source = $source and session between $first and $last"
        "  union all select security_id, session from symbol_day_ledger"
        "  where dataset = 'daily_prices' and source = $source and outcome = 'empty'"
        "  and session between $first and $last"
        "), counted as (select security_id, count(*) as n from seen group by 1),"
        "short as (select security_id from counted where n < (select count(*) from sessions)),"
        "missing as ("
        "  select security_id, session from short cross join sessions"
        "  except select security_id, session from seen)"
        "select security_id, list(m.session order by m.session)"
        " filter (m.session is not null)"
        " from counted left join missing m using (security_id) group by 1",
        {"source": source, "first": sessions[0], "last": sessions[-1]},
    ).fetchall()
    return {row[0]: row[1] or [] for row in rows}
