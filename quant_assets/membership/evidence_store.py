"""The evidence on a universe's members, as stored: read, added to, written back.

Nothing is decided here; ``deciding`` does that, without a warehouse.
"""

from __future__ import annotations

import datetime as dt
from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import duckdb

from quant_assets.membership.deciding.dates import stands_for_month
from quant_assets.membership.deciding.evidence import (
    ADDED,
    BRIEF,
    BY_HAND,
    INTERVAL,
    LISTED,
    MONTH,
    REMOVED,
    ROUNDED,
    SAME_EVENT,
    Evidence,
    ListRun,
    Lists,
    Statement,
    intervals,
)
from quant_assets.membership.list_runs import ListEntry, entry_on, proven, runs_of, unbroken
from quant_assets.membership.stored import replace_rows
from quant_assets.reference.index_removals import LOOKED_UP, IndexRemoval
from quant_assets.schema.membership import MEMBERSHIP_EVIDENCE
from quant_assets.warehouse.writing import Writing

AFFECTED = dt.timedelta(days=60)
"""A list may change what was decided about dates up to this long before it."""


def source_family(source: str) -> str:
    """The part of a source's name before the colon: lists in files are one family, kept by hand,
    whatever the files are called.
    """
    return source.split(":", 1)[0]


@dataclass
class EvidenceStore:
    """The evidence on one universe.

    ``days`` are the days of accepted lists and ``runs`` the runs of lists that have a security
    under the same ticker and date of joining, both by source family; ``trusted`` are the lists
    that a user accepted. ``touched`` are the
    securities whose evidence was changed since it was read.
    """

    universe: str
    days: dict[str, list[dt.date]] = field(default_factory=lambda: defaultdict(list))
    runs: dict[str, dict[int, list[ListRun]]] = field(default_factory=lambda: defaultdict(dict))
    statements: dict[int, list[Statement]] = field(default_factory=lambda: defaultdict(list))
    trusted: set[tuple[str, dt.date]] = field(default_factory=set)
    touched: set[int] = field(default_factory=set)

    @classmethod
    def read(cls, con: duckdb.DuckDBPyConnection, universe: str) -> EvidenceStore:
        store = cls(universe)
        for source, day, trusted in con.execute(
            "select source, listed_on, trusted from membership_lists"
            " where universe = ? and accepted order by 2",
            [universe],
        ).fetchall():
            insort(store.days[source_family(source)], day)
            if trusted:
                store.trusted.add((source_family(source), day))
        for source, kind, security, start, end, symbol, added, reason, reported in con.execute(
            "select source, kind, security_id, from_on, until_on, symbol, said_added_on, reason,"
            " coalesce(reported_on, created_at::date) from membership_evidence where universe = ?"
            " order by from_on, source",
            [universe],
        ).fetchall():
            if kind == LISTED:
                run = ListRun(start, end, symbol, added)
                store.runs[source].setdefault(security, []).append(run)
            else:
                statement = Statement(source, kind, start, end, symbol, reason, reported)
                store.statements[security].append(statement)
        store.days = defaultdict(list, {f: sorted(set(days)) for f, days in store.days.items()})
        return store

    @property
    def securities(self) -> set[int]:
        return {s for runs in self.runs.values() for s in runs} | set(self.statements)

    def last_list(self) -> dt.date | None:
        return max((days[-1] for days in self.days.values() if days), default=None)

    def on_list(self, family: str, day: dt.date) -> dict[int, ListRun]:
        """The securities on a family's list of ``day``, or on its last list before."""
        found = {}
        for security, runs in self.runs.get(family, {}).items():
            covering = next((run for run in runs if run.covers(day)), None)
            if covering:
                found[security] = covering
        return found

    def listed(self, family: str, security: int, day: dt.date) -> bool:
        """Whether a family's list of ``day`` has a security."""
        return any(run.covers(day) for run in self.runs[family].get(security, ()))

    def named_since(self, family: str, security: int, last: ListRun) -> dt.date:
        """Since when a family's lists have had a security under the ticker of its run ``last``."""
        since = last.listed_on
        for run in reversed(self.runs[family][security]):
            if run.symbol == last.symbol and run.gone_on == since:
                since = run.listed_on
        return since

    def names(self, security: int, symbol: str, family: str, day: dt.date) -> bool:
        """Whether evidence other than a family's list of ``day`` has a security under a ticker."""
        lists = (
            (other, run) for other, runs in self.runs.items() for run in runs.get(security, ())
        )
        return any(
            run.symbol == symbol and run.covers(day) and (other, run.listed_on) != (family, day)
            for other, run in lists
        ) or any(
            s.symbol == symbol
            and s.kind in (INTERVAL, ADDED)
            and s.from_on <= day < (s.until_on or dt.date.max)
            for s in self.statements.get(security, ())
        )

    def tickers(self, security: int) -> set[str]:
        """The tickers that the evidence on a security proves."""
        runs = (run for family in self.runs for run in self.believed(family, security))
        return {each.symbol for each in (*runs, *self.statements.get(security, ()))}

    def add_list(
        self, family: str, day: dt.date, members: Mapping[int, ListEntry], *, trusted: bool = False
    ) -> None:
        """Add the list of a day; it replaces another list of the same family and day."""
        if trusted:
            self.trusted.add((family, day))
        days = self.days[family]
        runs = self.runs[family]
        for security in {*runs, *members}:
            entry = members.get(security)
            held = runs.get(security, [])
            if (days or entry is None) and entry == entry_on(held, day):
                continue
            cells = {each: entry_on(held, each) for each in days} | {day: entry}
            self._keep_runs(family, security, cells)
        if day not in days:
            insort(days, day)

    def remove_list(self, family: str, day: dt.date) -> None:
        """Forget the list of a day."""
        self.trusted.discard((family, day))
        self.days[family].remove(day)
        for security, held in list(self.runs[family].items()):
            if any(day in (run.listed_on, run.gone_on) for run in held):
                cells = {each: entry_on(held, each) for each in self.days[family]}
                self._keep_runs(family, security, cells)
        if not self.days[family]:
            del self.days[family], self.runs[family]

    def _keep_runs(
        self, family: str, security: int, cells: Mapping[dt.date, ListEntry | None]
    ) -> None:
        runs = runs_of(sorted(cells.items(), key=lambda each: each[0]))
        if runs:
            self.runs[family][security] = runs
        else:
            self.runs[family].pop(security, None)
        self.touched.add(security)

    def add_statement(self, security: int, statement: Statement) -> None:
        """Add a statement; the same statement again changes nothing."""
        same = [
            s
            for s in self.statements[security]
            if (s.source, s.kind, s.from_on)
            == (statement.source, statement.kind, statement.from_on)
        ]
        if same:
            if (same[0].until_on, same[0].reason) == (statement.until_on, statement.reason):
                return
            statement = replace(statement, reported_on=same[0].reported_on)
        self.statements[security] = [
            *(s for s in self.statements[security] if s not in same),
            statement,
        ]
        self.touched.add(security)

    def replace_statements(
        self,
        source: str,
        kinds: Sequence[str],
        statements: Sequence[tuple[int, Statement]],
        kept: Iterable[tuple[int, Statement]] = (),
    ) -> None:
        """Let ``statements``, and those ``kept``, be all that ``source`` states in these kinds."""
        stated = {(security, s.kind, s.from_on) for security, s in statements}
        kept = [(sec, s) for sec, s in kept if (sec, s.kind, s.from_on) not in stated]
        current = stated | {(security, s.kind, s.from_on) for security, s in kept}
        for security, several in self.statements.items():
            withdrawn = [
                s
                for s in several
                if s.source == source
                and s.kind in kinds
                and (security, s.kind, s.from_on) not in current
            ]
            if withdrawn:
                self.statements[security] = [s for s in several if s not in withdrawn]
                self.touched.add(security)
        for security, statement in (*statements, *kept):
            self.add_statement(security, statement)

    def add_looked_up(self, removals: Iterable[IndexRemoval]) -> None:
        """Add the looked-up removals of members that a history file lets leave about then."""
        for row in removals:
            statement = Statement(
                LOOKED_UP, REMOVED, row.removed_on, None, row.symbol, row.reason, row.removed_on
            )
            for security, several in list(self.statements.items()):
                if any(
                    s.kind == INTERVAL
                    and s.symbol == row.symbol
                    and s.until_on
                    and abs(s.until_on - row.removed_on) <= SAME_EVENT
                    for s in several
                ):
                    self.add_statement(security, statement)

    def affected(self, day: dt.date) -> set[int]:
        """The securities about which a list of ``day`` may change what was decided."""
        if any(len(days) == 1 for days in self.days.values()):
            return self.securities
        since = day - AFFECTED
        found = set(self.touched)
        for family, runs in self.runs.items():
            first = self.days[family][0]
            found |= {s for s, several in runs.items() if _latest(several, first) >= since}
        listed = {
            s for runs in self.runs.values() for s, held in runs.items() if not held[-1].gone_on
        }
        for security, several in self.statements.items():
            if not several:  # its statements were withdrawn
                continue
            ends = [s.until_on or dt.date.max for s in several]
            starts = [s.from_on for s in several]
            begun = security in listed and max(starts) < since
            if max([*starts, *ends]) >= since and not (begun and dt.date.max in ends):
                found.add(security)
        return found

    def of(
        self, security: int, known_since: dt.date | None = None, ticker: str | None = None
    ) -> Evidence:
        """The evidence on a security; ``ticker`` is its proven ticker, where one is known."""
        runs = {
            family: self.believed(family, security, ticker)
            for family, runs in self.runs.items()
            if runs.get(security)
        }
        return Evidence(runs, tuple(self.statements.get(security, ())), known_since)

    def believed(
        self, family: str, security: int, ticker: str | None = None
    ) -> tuple[ListRun, ...]:
        """The runs of lists that have a security, each with the ticker and date to be believed."""
        found = []
        days = self.days[family]
        trusted = {day for other, day in self.trusted if other == family}
        for same in unbroken(self.runs[family].get(security, ())):
            symbols = proven([(run, run.symbol) for run in same], days, trusted)
            dates = proven([(run, run.added_on) for run in same], days, trusted)
            symbol = symbols[-1] if symbols else same[0].symbol
            added_on = next((date for date in reversed(dates) if date), None)
            if not added_on and not (dates and len(same) > 1):
                added_on = same[0].added_on
            found.append(
                ListRun(
                    same[0].listed_on,
                    same[-1].gone_on,
                    ticker if ticker == same[-1].symbol else symbol,
                    added_on,
                )
            )
        return tuple(found)

    def lists(self, known_since: Callable[[int], dt.date | None] = lambda security: None) -> Lists:
        """What the evidence on all securities tells; ``known_since`` is a security's first day."""
        changed: dict[str, set[dt.date]] = defaultdict(set)
        joined: dict[str, dict[dt.date, list[dt.date]]] = defaultdict(lambda: defaultdict(list))
        for family, runs in self.runs.items():
            days = self.days[family]
            for security, run in ((s, run) for s in runs for run in self.believed(family, s)):
                changed[family].add(run.listed_on)
                if run.gone_on:
                    changed[family].add(run.gone_on)
                if run.listed_on > days[0]:
                    day = max(run.added_on or dt.date.min, known_since(security) or dt.date.min)
                    # A newcomer may have its predecessor's date; one that comes back has its own.
                    new = runs[security][0].listed_on == run.listed_on
                    if run.listed_on - BY_HAND < day or not new:
                        joined[family][run.listed_on].append(day)
                    # Between lists far apart the day of the list says nothing.
                    elif run.listed_on - days[bisect_left(days, run.listed_on) - 1] <= BRIEF:
                        joined[family][run.listed_on].append(run.listed_on)
        file_periods: dict[str, tuple[dt.date, dt.date]] = {}
        for statement in (s for several in self.statements.values() for s in several):
            if statement.kind == INTERVAL and statement.source != LOOKED_UP:
                start, end = statement.from_on, statement.until_on or statement.from_on
                first, last = file_periods.get(statement.source, (start, end))
                file_periods[statement.source] = min(first, start), max(last, end)
        return Lists(
            {family: tuple(days) for family, days in self.days.items() if days},
            {family: tuple(sorted(days)) for family, days in changed.items()},
            {f: {d: tuple(dates) for d, dates in days.items()} for f, days in joined.items()},
            frozenset(self.trusted),
            file_periods,
            self._moved(),
        )

    def _moved(self) -> dict[tuple[str, dt.date], dt.date]:
        """The days on which a history file has members joining of whom lists give another day.

        One date proves nothing about others: there have to be two of the same day, or a difference
        of more than a month.
        """
        given: dict[tuple[str, dt.date], list[dt.date]] = defaultdict(list)
        for security in self.statements:
            evidence = self.of(security)
            dates = [run.added_on for runs in evidence.runs.values() for run in runs]
            for stated in intervals(evidence):
                near = [
                    d
                    for d in dates
                    if d and abs(d - stated.from_on) <= SAME_EVENT and not stands_for_month(d)
                ]
                given[stated.source, stated.from_on] += near[:1]
        return {
            key: dates[0]
            for key, dates in given.items()
            if len(set(dates)) == 1
            and abs(dates[0] - key[1]) > (ROUNDED if len(dates) > 1 else MONTH)
        }

    def write(self, writing: Writing) -> None:
        """Write back the evidence on the securities that were touched."""
        securities = sorted(self.touched)
        rows = [row for security in securities for row in self._rows(security)]
        replace_rows(writing, MEMBERSHIP_EVIDENCE, self.universe, securities, rows)
        self.touched.clear()

    def _rows(self, security: int) -> list[dict[str, object]]:
        key = {"universe": self.universe, "security_id": security}
        listed = [
            {
                **key,
                "source": family,
                "kind": LISTED,
                "from_on": run.listed_on,
                "until_on": run.gone_on,
                "symbol": run.symbol,
                "said_added_on": run.added_on,
                "reason": None,
                "reported_on": None,
            }
            for family, runs in self.runs.items()
            for run in runs.get(security, ())
        ]
        stated = [
            {
                **key,
                "source": s.source,
                "kind": s.kind,
                "from_on": s.from_on,
                "until_on": s.until_on,
                "symbol": s.symbol,
                "said_added_on": None,
                "reason": s.reason,
                "reported_on": s.reported_on,
            }
            for s in self.statements.get(security, ())
        ]
        return listed + stated


def _latest(runs: Sequence[ListRun], first: dt.date) -> dt.date:
    """The last date in ``runs`` other than the day of the family's ``first`` list."""
    dates = [d for run in runs for d in (run.listed_on, run.gone_on, run.added_on)]
    return max((d for d in dates if d and d != first), default=dt.date.min)
