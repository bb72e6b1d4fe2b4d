"""The verdict on the data: which symbols have the session expected of them, what the others lack,
why, and the command that mends it.

One function for ``status``, its JSON and Dagster. Reads only; no source is requested.
"""

from __future__ import annotations

import datetime as dt
import shlex
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from operator import attrgetter
from typing import Any

import duckdb

from quant_assets.health.lacking import Gap, Gaps, read_gaps
from quant_assets.loading.recording import naive_utc
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

REASONS, SYMBOLS = 3, 5
"""How many reasons the sentence gives, and how many symbols it names for each."""

_, QUARANTINED, _ = OUTCOMES


@dataclass(frozen=True)
class Lack:
    """What one symbol lacks of a dataset: ``sessions`` of them from ``first`` to ``last``, the one
    expected last among them if ``newest``.

    ``next_at`` is when it is requested again by itself, in UTC and naive; ``attempts`` the loads in
    a row that failed. ``mend`` is the command that mends it, with ``{}`` for the
    symbol. ``loaded`` is whether any of its sessions is stored.
    """

    dataset: str
    symbol: str
    source: str
    reason: str
    mend: str
    sessions: int = 0
    first: dt.date | None = None
    last: dt.date | None = None
    newest: bool = False
    loaded: bool = True
    attempts: int = 0
    next_at: dt.datetime | None = None

    @property
    def command(self) -> str:
        return self.mend.format(shlex.quote(self.symbol))

    def why(self, at: dt.datetime) -> str:
        """The reason, the attempts and when the next one comes, in words."""
        parts = [self.reason.rstrip(".")]
        if self.attempts:
            parts.append(f"attempt {self.attempts}")
        if self.next_at and self.next_at > naive_utc(at):
            parts.append(f"next {when(self.next_at, naive_utc(at))}")
        return ", ".join(parts)

    @property
    def only_newest(self) -> bool:
        return self.newest and self.sessions == 1

    def span(self) -> str:
        """The sessions it lacks, in words."""
        if self.first == self.last:
            return str(self.first)
        return f"{self.sessions:,} sessions, {self.first} to {self.last}"


@dataclass(frozen=True)
class Stand:
    """How many symbols of a calendar have the session expected of them, and how many of those by a
    confirmation that it is empty.
    """

    calendar: str
    session: dt.date
    symbols: int = 0
    rows: int = 0
    empty: int = 0

    @property
    def have(self) -> int:
        return self.rows + self.empty

    def in_words(self) -> str:
        """Such as "502 of 503 have 2026-11-27"."""
        noun = "pair" if self.calendar == ALWAYS_OPEN else "symbol"
        if self.have == self.symbols > 1:
            return f"all {self.symbols:,} {noun}s have {self.session}"
        which = f" {noun}s" if noun == "pair" and self.symbols > 1 else ""
        verb = "has" if self.have == 1 else "have"
        return f"{self.have:,} of {self.symbols:,}{which} {verb} {self.session}"


@dataclass(frozen=True)
class Verdict:
    """The stands, newest first, and all that is lacking, by symbol.

    ``unknown`` are symbols with the reason that no source has, nobody's index names, and that were
    given up: most likely typing errors.
    """

    at: dt.datetime
    stands: Sequence[Stand] = ()
    lacking: Sequence[Lack] = ()
    unknown: Mapping[str, str] = field(default_factory=dict)

    @property
    def has_newest(self) -> bool:
        """Whether any symbol is expected to have the exchange's newest session, and all have it."""
        stands = [stand for stand in self.stands if stand.calendar != ALWAYS_OPEN]
        return bool(stands) and all(stand.have == stand.symbols for stand in stands)

    def sentence(self) -> str:
        """The verdict in a line."""
        if not self.stands:
            text = "No symbols are known here yet, so none are expected."
            return " ".join([text, *(f"Lacking: {x}." for x in [self._lacking_in_words()] if x)])
        text = ", ".join(stand.in_words() for stand in self.stands)
        text = text[0].upper() + text[1:]
        return f"{text}; lacking: {self._lacking_in_words()}" if self.lacking else f"{text}."

    def _lacking_in_words(self) -> str:
        by_reason: dict[str, list[str]] = defaultdict(list)
        for lack in self.lacking:
            by_reason[_in_short(lack, self.at)].append(lack.symbol)
        groups = sorted(by_reason.items(), key=lambda group: -len(group[1]))
        texts = [f"{few(symbols)} ({why})" for why, symbols in groups[:REASONS]]
        more = sum(len(symbols) for _, symbols in groups[REASONS:])
        return ", ".join(texts) + (f", and {more:,} more" if more else "")

    def commands(self) -> list[str]:
        """The commands that mend all of it, one for all symbols that need the same."""
        by_command: dict[str, list[str]] = defaultdict(list)
        for lack in self.lacking:
            by_command[lack.mend].append(lack.symbol)
        return [mend.format(shlex.quote(",".join(some))) for mend, some in by_command.items()]

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        return {
            "sentence": self.sentence(),
            "expected": [asdict(stand) | {"have": stand.have} for stand in self.stands],
            "lacking": [_plain(lack) for lack in self.lacking],
            "unknown": dict(self.unknown),
        }


def _plain(lack: Lack) -> dict[str, Any]:
    values = asdict(lack) | {"command": lack.command}
    return {name: value for name, value in values.items() if name != "mend"}


def few(symbols: Sequence[str]) -> str:
    more = len(symbols) - SYMBOLS
    return ", ".join(symbols[:SYMBOLS]) + (f" and {more:,} more" if more > 0 else "")


def when(moment: dt.datetime, now: dt.datetime) -> str:
    """A moment to come in UTC, with its day unless that is today."""
    day = "" if moment.date() == now.date() else f"{moment:%Y-%m-%d} "
    return f"{day}{moment:%H:%M} UTC"


def _in_short(lack: Lack, at: dt.datetime) -> str:
    """What lacks and why in a few words, the same for symbols that share it."""
    reason = lack.reason.partition(". ")[0].replace(
        f"has no symbol {lack.symbol}", "has no such symbol"
    )
    text = replace(lack, reason=reason).why(at)
    return f"{lack.span()}: {text}" if lack.loaded and not lack.only_newest else text


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
