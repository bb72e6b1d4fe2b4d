"""What was decided from one answer of a source: written to the warehouse, and reported."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import duckdb

from quant_assets.contracts.membership import UniverseAnswer
from quant_assets.membership.changes import (
    ChangeRow,
    changes_between,
    new_renamings,
    write_changes,
)
from quant_assets.membership.constituents import Renaming
from quant_assets.membership.deciding.decision import Decision
from quant_assets.membership.report import UniverseReport
from quant_assets.membership.stored import MembershipRow, last_membership, replace_rows
from quant_assets.schema.membership import MEMBERSHIP, MEMBERSHIP_CONFLICTS, UNIVERSES
from quant_assets.warehouse.writing import Writing


@dataclass(frozen=True)
class ImportResult:
    """What was decided, by security: the memberships ``before`` and the ``decisions``.

    ``last_list`` is the day of the latest list and ``day`` the later of that day and the answer's:
    an older list changes history, and what changed is what changed on the latest day.
    """

    universe: str
    answer: UniverseAnswer
    before: Mapping[int, Sequence[MembershipRow]]
    decisions: Mapping[int, Decision]
    renamed: Sequence[Renaming]
    last_list: dt.date | None
    day: dt.date

    def write(self, writing: Writing) -> UniverseReport:
        """Write memberships, conflicts, changes and the universe, and report what changed."""
        after = dict(self.before)
        conflicts: list[dict[str, object]] = []
        for security, decision in self.decisions.items():
            after[security] = tuple(MembershipRow.of(security, m) for m in decision.memberships)
            conflicts += [
                {"universe": self.universe, "security_id": security, **vars(conflict)}
                for conflict in decision.conflicts
            ]
        memberships = [
            {"universe": self.universe, **vars(row)} for s in self.decisions for row in after[s]
        ]
        replace_rows(writing, MEMBERSHIP, self.universe, self.decisions, memberships)
        replace_rows(writing, MEMBERSHIP_CONFLICTS, self.universe, self.decisions, conflicts)
        if self.before:
            self._write_changes(writing, after)
        self._write_universe(writing)
        return self._report(writing.con, after)

    def _write_changes(
        self, writing: Writing, after: Mapping[int, Sequence[MembershipRow]]
    ) -> None:
        source = self.answer.source
        changes = [
            ChangeRow("renamed", r.security_id, r.symbol, r.on, source, r.former_symbol)
            for r in new_renamings(writing.con, self.renamed)
        ]
        changes += changes_between(self.before, after, self.decisions, self.day, source)
        changes.sort(key=lambda change: (change.effective_on, change.symbol))
        write_changes(writing, self.universe, changes)

    def _write_universe(self, writing: Writing) -> None:
        """Note the source of the members; a history beside their list is not that source."""
        history = bool(self.answer.intervals or self.answer.changes)
        if history and not self.answer.constituents and self.last_list:
            return
        row = {
            "universe": self.universe,
            "kind": "index",
            "source": self.answer.source,
            "passed_over": " ".join(self.answer.passed_over) or None,
            "listed_on": self.last_list,
        }
        writing.upsert(UNIVERSES, UNIVERSES.arrow([row]))

    def _report(
        self, con: duckdb.DuckDBPyConnection, after: Mapping[int, Sequence[MembershipRow]]
    ) -> UniverseReport:
        old, new = _tickers(self.before, self.day), _tickers(after, self.day)
        [(conflicts,)] = con.execute(
            "select count(*) from membership_conflicts where universe = ?", [self.universe]
        ).fetchall()
        waiting = (security for security, decision in self.decisions.items() if decision.waiting)
        return UniverseReport(
            universe=self.universe,
            source=self.answer.source,
            members=len(new),
            added=tuple(sorted(new[s] for s in new.keys() - old.keys())),
            removed=tuple(sorted(old[s] for s in old.keys() - new.keys())),
            intervals=tuple(row for rows in after.values() for row in rows),
            notices=self.answer.notices,
            renamed=tuple(f"{each.former_symbol} → {each.symbol}" for each in self.renamed),
            waiting=tuple(sorted(new[s] for s in waiting if s in new)),
            conflicts=conflicts,
            passed_over=self.answer.passed_over,
        )


def _tickers(memberships: Mapping[int, Sequence[MembershipRow]], day: dt.date) -> dict[int, str]:
    """The tickers of the members on ``day`` and of those that join later."""
    return {
        security: last.symbol
        for security, rows in memberships.items()
        if (last := last_membership(rows, day))
    }
