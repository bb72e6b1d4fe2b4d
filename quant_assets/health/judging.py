"""The verdict reached: what is expected by now, beside what is stored and what loads left open.

One function for ``status``, its JSON and Dagster. Reads only; no source is requested.
"""

from __future__ import annotations

import datetime as dt
import shlex
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from operator import attrgetter

import duckdb

from quant_assets.health.lacking import Gap, Gaps, read_gaps
from quant_assets.health.verdict import Lack, Stand, Verdict
from quant_assets.loading.tasks import COMPLETED, FAILED, RATE_LIMITED, Task
from quant_assets.reference.calendars import ALWAYS_OPEN, Calendar
from quant_assets.refreshing.nightly import (
    back_off,
    expected_session,
    is_unattended,
    newest_sessions,
)
from quant_assets.refreshing.steps import NothingToRefreshError, Wanted, wanted_symbols
from quant_assets.schema.loads import OUTCOMES
from quant_assets.schema.prices import DAILY_PRICES
from quant_assets.wiring.platform import NotEnabledError, Platform
from quant_assets.wiring.sources import FILES

_, QUARANTINED, _ = OUTCOMES


def verdict(platform: Platform) -> Verdict:
    """Whether every symbol that is kept up has its sessions, by the platform's clock.

    Expected of a symbol is what a refresh would bring: from its first session on to the newest one
    whose evening has come; of a pair, to the last day that is over; of an archive that is not kept
    up, to its newest row. Symbols chosen for a load that never stored them count too, and so does
    each day that a load failed on or set aside. Raises WarehouseError.
    """
    now = platform.clock()
    if not platform.warehouse.exists():
        return Verdict(now)
    try:
        wanted = wanted_symbols(platform)
    except (NothingToRefreshError, NotEnabledError):
        wanted = []
    with platform.warehouse.reading() as con:
        newest = newest_sessions(con, DAILY_PRICES)
        calendar, session = platform.calendar, expected_session(platform.calendar, now)
        expected = [_until(session, each, newest, calendar) for each in wanted]
        gaps = read_gaps(con, expected, platform.calendar_of)
        tasks = _unfinished(con)
        names = dict(con.execute("select distinct symbol, true from symbol_history").fetchall())
    found = _Found(expected, gaps, tasks, frozenset(names))
    chosen = [
        _until(session, _chosen(platform, task, now), newest, calendar) for task in found.chosen
    ]
    lacking = sorted([*found.lacking(), *found.unfinished()], key=attrgetter("symbol", "dataset"))
    return Verdict(now, _stands([*expected, *chosen], gaps), lacking, found.unknown)


def _until(
    session: dt.date, each: Wanted, newest: Mapping[str, dt.date], calendar: Calendar
) -> Wanted:
    """A symbol with the last session expected of it, where ``session`` is that of the exchange."""
    if each.calendar.name == ALWAYS_OPEN:
        return each
    own = newest.get(each.source)
    unattended = own and is_unattended(each.source, own, session, calendar)
    return replace(each, last=own if own and unattended else session)


@dataclass(frozen=True)
class _Unfinished:
    """A task that has not been completed, and when its symbol is requested again by itself."""

    task: Task
    next_at: dt.datetime | None

    @property
    def of_prices(self) -> bool:
        return self.task.dataset == DAILY_PRICES.name


def _unfinished(con: duckdb.DuckDBPyConnection) -> list[_Unfinished]:
    names = tuple(Task.__dataclass_fields__)
    found = []
    for *values, changed_at in con.execute(
        f"select {', '.join(names)}, updated_at from load_tasks where state <> '{COMPLETED}'"  # noqa: S608 - our own names
        " order by dataset, symbol, source"
    ).fetchall():
        task = Task(*values)
        next_at = task.retry_at if task.state == RATE_LIMITED else None
        if task.state == FAILED and not task.given_up:
            next_at = changed_at + back_off(task.attempts)
        found.append(_Unfinished(task, next_at))
    return found


@dataclass(frozen=True)
class _Found:
    """All that is on record of what is expected; ``names`` are the symbols of any security."""

    expected: Sequence[Wanted]
    gaps: Gaps
    tasks: Sequence[_Unfinished]
    names: frozenset[str]

    def lacking(self) -> Iterator[Lack]:
        """What lacks sessions, by what is stored."""
        tasks = {(u.task.source, u.task.symbol): u for u in self.tasks if u.of_prices}
        for each in self.expected:
            if each.security is not None and each.security in self.gaps.found:
                task = tasks.get((each.source, each.symbol))
                loaded = each.security in self.gaps.loaded
                yield _lack_of(each, self.gaps.found[each.security], task, loaded=loaded)
        for security, symbol in self.gaps.tickers.items():
            if security in self.gaps.found:
                yield _lack_of_other(symbol, self.gaps.found[security])

    def unfinished(self) -> Iterator[Lack]:
        """What a load was sent for and did not finish, where no session tells: lists, symbols that
        were never stored, and loads that were stopped.
        """
        told = {each.symbol for each in self.expected if each.security in self.gaps.found}
        told |= {s for security, s in self.gaps.tickers.items() if security in self.gaps.found}
        for each in self.tasks:
            ours = each.of_prices and (each.task.symbol in self.names)
            failed = each.task.state == FAILED
            if each.task.symbol in self.unknown or (ours and (each.task.symbol in told or failed)):
                continue
            yield _lack_of_task(each, newest=each.of_prices and not ours)

    @property
    def chosen(self) -> list[Task]:
        """The tasks of symbols that are no security here."""
        tasks = [each.task for each in self.tasks if each.of_prices]
        return [t for t in tasks if t.symbol not in self.names and t.symbol not in self.unknown]

    @cached_property
    def unknown(self) -> dict[str, str]:
        """Symbols given up that are no security here and not at their source, with its words."""
        return {
            each.task.symbol: str(each.task.error)
            for each in self.tasks
            if each.of_prices
            and each.task.given_up
            and each.task.symbol not in self.names
            and f"has no symbol {each.task.symbol}" in (each.task.error or "")
        }


def _chosen(platform: Platform, task: Task, now: dt.datetime) -> Wanted:
    calendar = platform.calendar_of(task.symbol)
    last = calendar.last_closed_session(now)
    return Wanted(task.symbol, None, task.source, calendar, task.start_session, last)


def _stands(expected: Sequence[Wanted], gaps: Gaps) -> list[Stand]:
    groups: dict[tuple[dt.date, str], list[Wanted]] = defaultdict(list)
    for each in expected:
        groups[each.last, each.calendar.name].append(each)
    return [
        Stand(
            calendar,
            session,
            len(some),
            sum(each.security in gaps.rows for each in some),
            sum(each.security in gaps.empty for each in some),
        )
        for (session, calendar), some in sorted(
            groups.items(), key=lambda group: (-len(group[1]), group[0])
        )
    ]


def _lack_of(each: Wanted, gap: Gap, found: _Unfinished | None, *, loaded: bool) -> Lack:
    """What a symbol that is kept up lacks; its task tells the reason of the newest sessions."""
    newest = gap.last >= each.last
    task = found.task if found and (newest or not gap.reason) else None
    # A refresh would request an archive's days up to today, and most archives end before.
    days_alone = gap.first < each.first or each.source.startswith(FILES)
    return Lack(
        DAILY_PRICES.name,
        each.symbol,
        each.source,
        _reason(gap, task, loaded=loaded),
        _backfill(gap, each.source) if days_alone else _refresh(task),
        gap.sessions,
        gap.first,
        gap.last,
        newest,
        loaded,
        task.attempts if task else 0,
        found.next_at if found and task else None,
    )


def _lack_of_other(symbol: str, gap: Gap) -> Lack:
    """Days that failed of a security that is not kept up."""
    source, reason = str(gap.source), _reason(gap, None, loaded=True)
    command = _backfill(gap, source)
    days = gap.sessions, gap.first, gap.last
    return Lack(DAILY_PRICES.name, symbol, source, reason, command, *days)


def _lack_of_task(found: _Unfinished, *, newest: bool) -> Lack:
    """What a load did not finish, of which no session is on record."""
    task = found.task
    return Lack(
        task.dataset,
        task.symbol,
        task.source,
        _reason(None, task, loaded=False),
        f"quant-assets resume{' --retry-failed' if task.given_up else ''}",
        newest=newest,
        loaded=False,
        attempts=task.attempts,
        next_at=found.next_at,
    )


def _reason(gap: Gap | None, task: Task | None, *, loaded: bool) -> str:
    if task and task.given_up:
        return f"given up: {task.error}"
    if task and task.error and task.state in (FAILED, RATE_LIMITED):
        return task.error
    if task:
        return "its load is under way, or was stopped"
    if gap and gap.reason:
        return f"in quarantine: {gap.reason}" if gap.outcome == QUARANTINED else gap.reason
    return "not requested yet" if loaded else "never loaded"


def _refresh(task: Task | None) -> str:
    accept = " --accept" if task and "--accept" in (task.error or "") else ""
    return f"quant-assets refresh --symbols {{}}{accept}"


def _backfill(gap: Gap, source: str) -> str:
    days = f"--start {gap.first} --end {gap.last}"
    return f"quant-assets backfill --symbols {{}} {days} --source {shlex.quote(source)}"
