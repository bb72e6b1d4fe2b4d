"""Imports what a source reports of a universe: judge → identify → add as evidence → decide → write.

A list of an impossible size, or with more changes than the time since the last list explains, is
refused, so no list can empty a universe. The steps have files of their own: ``refusals`` judges,
``constituents`` and ``reported_changes`` identify securities, ``evidence_store`` keeps evidence,
``deciding`` decides, ``import_result`` writes and reports. Nothing is fetched here.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from quant_assets.contracts.membership import Constituent, UniverseAnswer
from quant_assets.membership.constituents import (
    Claim,
    IdentifiedList,
    Renaming,
    identify_members,
)
from quant_assets.membership.deciding.decision import Decision, decide
from quant_assets.membership.deciding.evidence import BRIEF, DAY, INTERVAL, SILENCE, Statement
from quant_assets.membership.evidence_store import (
    EvidenceStore,
    source_family,
)
from quant_assets.membership.import_result import ImportResult
from quant_assets.membership.list_runs import ListEntry
from quant_assets.membership.refusals import (
    PLAUSIBLE_SIZE,
    FutureListError,
    ImplausibleUniverseError,
    RefusedUniverseError,
    TooManyChangesError,
    allowed_changes,
)
from quant_assets.membership.report import UniverseReport
from quant_assets.membership.reported_changes import ReportedChanges
from quant_assets.membership.stored import (
    each_symbol_once,
    first_listed,
    last_sessions,
    stored_memberships,
    traded_since,
    write_list,
)
from quant_assets.reference.identity import KnownIdentity
from quant_assets.reference.index_removals import index_removals
from quant_assets.securities.register import Register
from quant_assets.warehouse.warehouse import Warehouse
from quant_assets.warehouse.writing import Writing


def import_universe(
    warehouse: Warehouse,
    answer: UniverseAnswer,
    known: Sequence[KnownIdentity],
    *,
    universe: str = "sp500",
    on: dt.date,
    accept: bool = False,
    sizes: range | None = None,
    run_id: str | None = None,
) -> UniverseReport:
    """Import what a source reports of a universe; importing it twice changes nothing.

    ``on`` is the day of the list where the answer has no day of its own. Lists and histories may
    come in any order. ``sizes`` are the plausible sizes of a list, by default those of
    PLAUSIBLE_SIZE. Raises WarehouseError, and RefusedUniverseError unless ``accept`` or this is the
    first list; FutureListError in any case.
    """
    run = run_id or str(uuid.uuid4())
    day = answer.listed_on or on
    sizes = sizes or PLAUSIBLE_SIZE.get(universe)
    # Where the day has begun already somewhere, it is no day to come.
    if day > on + DAY:
        raise FutureListError(universe, answer.source, day, on)
    try:
        with warehouse.writing(run, f"import of {universe}") as writing:
            return _Import(writing, answer, known, universe, day, accept, sizes).run()
    except RefusedUniverseError as error:
        with warehouse.writing(run, f"import of {universe}") as writing:
            write_list(writing, universe, answer, day, refused=error.why)
        raise


@dataclass
class _Import:
    """One answer on its way into a universe; ``before`` are the memberships stored so far."""

    writing: Writing
    answer: UniverseAnswer
    known: Sequence[KnownIdentity]
    universe: str
    day: dt.date
    accept: bool
    sizes: range | None

    def __post_init__(self) -> None:
        con, answer = self.writing.con, self.answer
        self.family = source_family(answer.source)
        self.evidence = EvidenceStore.read(con, self.universe)
        self.before = stored_memberships(con, self.universe)
        self.register = Register.read(con, (*self.known, *answer.names), answer.source)
        if not self.evidence.securities:
            self._make_evidence_of_stored()

    def run(self) -> UniverseReport:
        self._refuse_custom()
        # Puts the names of the answer on record, also those that no list has.
        for identity in self.answer.names:
            self.register.bearers(identity.symbol)
        self._add_intervals()
        identified = self._add_list() if self.answer.constituents else IdentifiedList({}, ())
        changes = ReportedChanges(self.answer, self.day, identified, self._members(), self.before)
        changes.add_to(self.evidence, self.register)
        decisions = self._decide()
        self.register.write(self.writing)
        self.evidence.write(self.writing)
        last_list = self.evidence.last_list()
        result = ImportResult(
            universe=self.universe,
            answer=self.answer,
            before=self.before,
            decisions=decisions,
            renamed=identified.renamed,
            last_list=last_list,
            day=max(self.day, last_list or self.day),
        )
        return result.write(self.writing)

    def _refuse_custom(self) -> None:
        """Raises RefusedUniverseError for a universe that users decide."""
        custom = self.writing.con.execute(
            "select 1 from universes where universe = ? and kind = 'custom'", [self.universe]
        ).fetchall()
        if custom:
            why = f"{self.universe} is a universe that users decide, and follows no list."
            raise RefusedUniverseError(self.universe, self.answer.source, why)

    def _make_evidence_of_stored(self) -> None:
        """Make evidence of memberships that were stored before evidence was kept."""
        for security, rows in self.before.items():
            for row in rows:
                statement = Statement(
                    row.source, INTERVAL, row.effective_on, row.removed_on, row.symbol
                )
                self.evidence.add_statement(security, statement)

    def _add_intervals(self) -> None:
        """Add the intervals of a history as evidence."""
        joined = {
            security: rows[-1].effective_on
            for security, rows in self.before.items()
            if rows[-1].removed_on is None
        } | first_listed(self.writing.con)
        statements: dict[str, list[tuple[int, Statement]]] = defaultdict(list)
        for i, security in self.register.identify_intervals(self.answer.intervals, joined):
            source = i.source or self.answer.source
            start, end = i.effective_on, i.removed_on
            statement = Statement(source, INTERVAL, start, end, i.symbol, reported_on=self.day)
            statements[source].append((security, statement))
            if i.company and not self._knows(security, i.company):
                self.register.describe(security, i.company)
        for source, some in statements.items():
            self.evidence.replace_statements(source, (INTERVAL,), some)
        if self.known:
            self.evidence.add_looked_up(
                [row for row in index_removals() if row.universe == self.universe]
            )

    def _knows(self, security: int, company: Constituent) -> bool:
        """Whether the company's name and SEC number are on record."""
        has_number = bool(self.register.cik_of(security)) or not company.cik
        return has_number and self.register.name_of(security) is not None

    def _add_list(self) -> IdentifiedList:
        """Add the list of members as evidence, unless it is refused."""
        lines = each_symbol_once(self.answer.constituents)
        last_list = self.evidence.last_list()
        # The list of a universe without known sizes is what a user wants, not a report.
        trusted = self.accept or not self.sizes
        latest = last_list is None or self.day >= last_list
        left = self._left()
        identified = identify_members(
            lines,
            self.register,
            self.day,
            self._members(),
            left,
            latest=latest,
            last_sessions=last_sessions(self.writing.con, left),
            unread=self.answer.unread,
            claims=self._claims(),
            proven=lambda security, symbol: trusted or self._is_proven(security, symbol),
        )
        entries = {
            security: ListEntry(line.symbol, line.added_on)
            for security, line in identified.constituents.items()
        }
        before = self.evidence.on_list(self.family, self.day)
        lacking = {
            s: ListEntry(r.symbol, r.added_on) for s, r in before.items() if s not in entries
        }
        if len(lacking) <= identified.unknown:
            entries |= lacking  # rows that can't be read are no absence
        if not self.accept and self.sizes:
            if last_list is not None and len(entries) not in self.sizes:
                raise ImplausibleUniverseError(
                    self.universe, self.answer.source, len(entries), self.sizes
                )
            renamed = (*identified.renamed, *identified.claimed)
            if self.evidence.days.get(self.family):
                self._refuse_upheaval(entries, renamed, self.sizes)
            elif len(entries) in self.sizes:
                self._refuse_strangers(entries, renamed, self.sizes)
        self.evidence.add_list(self.family, self.day, entries, trusted=trusted)
        if latest:
            for security, line in identified.constituents.items():
                self.register.describe(security, line)
        write_list(self.writing, self.universe, self.answer, self.day, trusted=trusted)
        return identified

    def _members(self) -> dict[int, str]:
        """The members about the day of the list, with the tickers of the family's latest list."""
        members = {
            security: row.symbol
            for security, rows in self.before.items()
            for row in rows
            if row.effective_on <= self.day + BRIEF
            and (row.removed_on is None or self.day < row.removed_on + BRIEF)
        }
        believed = (
            (security, run.symbol)
            for security in self.evidence.on_list(self.family, self.day)
            for run in self.evidence.believed(
                self.family, security, self.register.ticker_of(security, self.day)
            )
            if run.symbol and run.covers(self.day)
        )
        return members | dict(believed)

    def _claims(self) -> dict[str, Claim]:
        """What the family's last list says, by ticker, and since when its lists have said so."""
        return {
            run.symbol: Claim(security, self.evidence.named_since(self.family, security, run))
            for security, run in self.evidence.on_list(self.family, self.day).items()
        }

    def _is_proven(self, security: int, symbol: str) -> bool:
        """Whether a list of another day or source, a dated row or a look-up has the new ticker."""
        return (
            self.register.looked_up(symbol, self.day) == security
            or self.evidence.names(security, symbol, self.family, self.day)
            or any(
                change.added == symbol and change.removed in self._former(security)
                for change in self.answer.changes
            )
        )

    def _former(self, security: int) -> set[str]:
        return {row.symbol for row in self.before.get(security, ())}

    def _left(self) -> dict[int, dt.date]:
        """The day of leaving of each former member, except of those that have traded ever since."""
        left = {
            security: rows[-1].removed_on
            for security, rows in self.before.items()
            if rows[-1].removed_on is not None and rows[-1].removed_on <= self.day
        }
        traded = traded_since(self.writing.con, left, self.day)
        return {security: day for security, day in left.items() if security not in traded}

    def _refuse_upheaval(
        self, entries: Mapping[int, ListEntry], renamed: Sequence[Renaming], sizes: range
    ) -> None:
        """Raises TooManyChangesError by the family's last list before, else its first after.

        What goes back to a list of the days before is no change, and every new ticker is one. A
        list whose size is impossible proves nothing against a possible one.
        """
        days = self.evidence.days[self.family]
        since = max((d for d in days if d <= self.day), default=days[0])
        before = self.evidence.on_list(self.family, since)
        if len(before) not in sizes:
            return
        earlier = [d for d in days if d < since]
        recent = [d for d in earlier if d >= since - SILENCE] or earlier[-1:]
        was_listed = partial(self.evidence.listed, self.family)
        new = [
            entry.symbol
            for s, entry in entries.items()
            if s not in before and not any(was_listed(s, d) for d in recent)
        ]
        gone = [
            run.symbol
            for s, run in before.items()
            if s not in entries and all(was_listed(s, d) for d in recent)
        ]
        self._refuse_too_many(new, gone, renamed, since)

    def _refuse_strangers(
        self, entries: Mapping[int, ListEntry], renamed: Sequence[Renaming], sizes: range
    ) -> None:
        """Raises TooManyChangesError for a family's first list, by the members as decided so far:
        a history or another family's lists know them.
        """
        members = {
            security: row.symbol
            for security, rows in self.before.items()
            for row in rows
            if row.effective_on <= self.day
            and (row.removed_on is None or self.day < row.removed_on)
        }
        since = self._last_known()
        if since is None or len(members) not in sizes:
            return
        new = [entry.symbol for s, entry in entries.items() if s not in members]
        gone = [symbol for s, symbol in members.items() if s not in entries]
        self._refuse_too_many(new, gone, renamed, since)

    def _last_known(self) -> dt.date | None:
        """The last day, until that of the list, of a list or of a date that a source states."""
        listed = {day for days in self.evidence.days.values() for day in days}
        stated = (s for several in self.evidence.statements.values() for s in several)
        dated = {day for s in stated for day in (s.from_on, s.until_on)}
        return max((d for d in listed | dated if d and d <= self.day), default=None)

    def _refuse_too_many(
        self, new: list[str], gone: list[str], renamed: Sequence[Renaming], since: dt.date
    ) -> None:
        """Raises TooManyChangesError; changes that the page announces count as well."""
        listed = {line.symbol for line in self.answer.constituents}
        ahead = [change for change in self.answer.changes if change.on > self.day]
        joining = {c.added for c in ahead if c.added} - listed
        leaving = {c.removed for c in ahead if c.removed} & listed
        new, gone = sorted({*new, *joining}), sorted({*gone, *leaving})
        allowed = allowed_changes(since, self.day)
        if max(len(new), len(gone)) + len(renamed) > allowed:
            raise TooManyChangesError(
                self.universe,
                self.answer.source,
                (new, gone, [f"{r.former_symbol} → {r.symbol}" for r in renamed]),
                since,
                allowed,
            )

    def _decide(self) -> dict[int, Decision]:
        """Decide anew about every security that the answer may concern."""
        everybody = bool(self.answer.intervals)
        concerned = self.evidence.securities if everybody else self.evidence.affected(self.day)
        lists = self.evidence.lists(self.register.known_since)
        return {
            security: decide(
                self.evidence.of(
                    security,
                    self.register.known_since(security),
                    self.register.ticker_of(security, self.day),
                ),
                lists,
            )
            for security in sorted(concerned)
        }
