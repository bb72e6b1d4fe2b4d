"""The evidence on a universe's members, as stored: read, added to, written back.

Nothing is decided here; ``deciding`` does that, without a warehouse.
"""

from __future__ import annotations

import datetime as dt
from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import TypeVar

import duckdb

from quant_assets.membership.deciding.evidence import (
    ADDED,
    INTERVAL,
    LISTED,
    LOOKED_UP,
    Evidence,
    ListRun,
    Lists,
    Statement,
)
from quant_assets.membership.stored import replace_rows
from quant_assets.schema.membership import MEMBERSHIP_EVIDENCE
from quant_assets.warehouse.writing import Writing

AFFECTED = dt.timedelta(days=60)
"""A list may change what was decided about dates up to this long before it."""


def source_family(source: str) -> str:
    """The part of a source's name before the colon: lists in files are one family, kept by hand,
    whatever the files are called.
    """
    return source.split(":", 1)[0]


_Cell = TypeVar("_Cell")


@dataclass(frozen=True)
class ListEntry:
    """A security on a list: its ticker there, and the date of joining that the list gives."""

    symbol: str
    added_on: dt.date | None = None


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

    def names(self, security: int, symbol: str, family: str, day: dt.date) -> bool:
        """Whether evidence other than a family's list of ``day`` has a security under a ticker."""
        lists = (
            (other, run) for other, runs in self.runs.items() for run in runs.get(security, ())
        )
        return any(
            run.symbol == symbol and run.covers(day) and (other, run.listed_on) != (family, day)
            for other, run in lists
        ) or any(
            s.symbol == symbol and s.kind in (INTERVAL, ADDED) and s.from_on <= day
            for s in self.statements.get(security, ())
        )

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
            if (days or entry is None) and entry == _entry_on(held, day):
                continue
            cells = {each: _entry_on(held, each) for each in days} | {day: entry}
            self._keep_runs(family, security, cells)
        if day not in days:
            insort(days, day)

    def remove_list(self, family: str, day: dt.date) -> None:
        """Forget the list of a day."""
        self.trusted.discard((family, day))
        self.days[family].remove(day)
        for security, held in list(self.runs[family].items()):
            if any(day in (run.listed_on, run.gone_on) for run in held):
                cells = {each: _entry_on(held, each) for each in self.days[family]}
                self._keep_runs(family, security, cells)

    def _keep_runs(
        self, family: str, security: int, cells: Mapping[dt.date, ListEntry | None]
    ) -> None:
        runs = _runs(sorted(cells.items(), key=lambda each: each[0]))
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
        for same in _unbroken(self.runs[family].get(security, ())):
            symbols = self._proven(family, [(run, run.symbol) for run in same])
            dates = self._proven(family, [(run, run.added_on) for run in same])
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

    def _proven(self, family: str, cells: Sequence[tuple[ListRun, _Cell]]) -> list[_Cell]:
        """The values that two lists gave one after another, or one that a user accepted."""
        days = self.days[family]
        found = []
        for value, group in groupby(cells, key=lambda each: each[1]):
            same = [run for run, _ in group]
            start = bisect_left(days, same[0].listed_on)
            end = bisect_left(days, same[-1].gone_on or dt.date.max)
            if end - start > 1 or any((family, day) in self.trusted for day in days[start:end]):
                found.append(value)
        return found

    def lists(self) -> Lists:
        changed: dict[str, set[dt.date]] = defaultdict(set)
        joined: dict[str, dict[dt.date, list[dt.date]]] = defaultdict(lambda: defaultdict(list))
        for family, runs in self.runs.items():
            first = self.days[family][0]
            for run in (run for security in runs for run in self.believed(family, security)):
                changed[family].add(run.listed_on)
                if run.gone_on:
                    changed[family].add(run.gone_on)
                if run.added_on and run.listed_on > first:
                    joined[family][run.listed_on].append(run.added_on)
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
        )

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


def _entry_on(runs: Sequence[ListRun], day: dt.date) -> ListEntry | None:
    run = next((run for run in runs if run.covers(day)), None)
    return ListEntry(run.symbol, run.added_on) if run else None


def _runs(cells: Iterable[tuple[dt.date, ListEntry | None]]) -> list[ListRun]:
    """The runs of a security from what the list of each day has of it."""
    found: list[ListRun] = []
    for day, entry in cells:
        last = found[-1] if found and found[-1].gone_on is None else None
        if last and entry == ListEntry(last.symbol, last.added_on):
            continue
        if last:
            found[-1] = replace(last, gone_on=day)
        if entry:
            found.append(ListRun(day, None, entry.symbol, entry.added_on))
    return found


def _unbroken(runs: Sequence[ListRun]) -> Iterable[list[ListRun]]:
    """Runs that follow one another without a list between them that lacks the security."""
    same: list[ListRun] = []
    for run in runs:
        if same and same[-1].gone_on != run.listed_on:
            yield same
            same = []
        same.append(run)
    if same:
        yield same


def _latest(runs: Sequence[ListRun], first: dt.date) -> dt.date:
    """The last date in ``runs`` other than the day of the family's ``first`` list."""
    dates = [d for run in runs for d in (run.listed_on, run.gone_on, run.added_on)]
    return max((d for d in dates if d and d != first), default=dt.date.min)
