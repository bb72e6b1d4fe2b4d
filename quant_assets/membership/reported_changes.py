"""The dated additions and removals that a source reports, each given its security."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from quant_assets.contracts.membership import Constituent, MembershipChange, UniverseAnswer
from quant_assets.membership.constituents import IdentifiedList, identify_members
from quant_assets.membership.deciding.evidence import ADDED, AHEAD, REMOVED, SAME_EVENT, Statement
from quant_assets.membership.evidence_store import EvidenceStore, source_family
from quant_assets.membership.stored import MembershipRow
from quant_assets.securities.register import Register

BEFORE_FIRST_LIST = dt.timedelta(days=400)
"""A table of changes counts from this long before the first list: on earlier days its tickers may
mean other companies, and a history file knows more."""


@dataclass(frozen=True)
class ReportedChanges:
    """The changes of one answer; ``members`` are the tickers of the members by security, and
    ``identified`` is the list that came with the changes, of ``day``. ``before`` are the
    memberships stored so far.
    """

    answer: UniverseAnswer
    day: dt.date
    identified: IdentifiedList
    members: Mapping[int, str]
    before: Mapping[int, Sequence[MembershipRow]]

    def add_to(self, evidence: EvidenceStore, register: Register) -> None:
        """Add the changes whose security is known; drop those that the source reports no longer."""
        if not self.answer.changes:
            return
        statements = list(self._statements(evidence, register))
        evidence.replace_statements(
            self.answer.source, (ADDED, REMOVED), statements, kept=list(self._missed(evidence))
        )

    def _missed(self, evidence: EvidenceStore) -> Iterator[tuple[int, Statement]]:
        """The statements that stay although this page may lack them.

        Of a row that two pages had, one page without it proves nothing; a table may be cut to its
        last years.
        """
        earlier = [
            day for day in evidence.days[source_family(self.answer.source)] if day < self.day
        ]
        last = earlier[-1] if earlier else self.day
        for security, several in evidence.statements.items():
            for row in several:
                ours = row.source == self.answer.source and row.kind in (ADDED, REMOVED)
                once = row.reported_on is None or row.reported_on >= last
                if not ours or once:
                    continue
                if row.until_on in (None, self.day):
                    yield security, replace(row, until_on=self.day)
                elif row.from_on < self.day - BEFORE_FIRST_LIST:
                    yield security, row

    def _statements(
        self, evidence: EvidenceStore, register: Register
    ) -> Iterator[tuple[int, Statement]]:
        source = self.answer.source
        first_list = min((days[0] for days in evidence.days.values() if days), default=self.day)
        listed = {line.symbol: security for security, line in self.identified.constituents.items()}
        tickers = {symbol: security for security, symbol in self.members.items()}
        tickers |= {each.former_symbol: each.security_id for each in self.identified.renamed}
        # A member that left long ago is on no list now; its row was identified when it was.
        reported = {
            (s.kind, s.from_on, s.symbol): security
            for security, several in evidence.statements.items()
            for s in several
            if s.source == source
        }
        for change in self.answer.changes:
            for kind, symbol in ((ADDED, change.added), (REMOVED, change.removed)):
                if symbol is None:
                    continue
                security = reported.get((kind, change.on, symbol))
                security = listed.get(symbol, tickers.get(symbol, security))
                if security is None:
                    security = self._former_member(symbol, change.on)
                if change.on < first_list - BEFORE_FIRST_LIST and not (
                    kind == ADDED and self._dates_joining(security, change.on)
                ):
                    continue
                if security is None and kind == ADDED and change.on > self.day:
                    security = self._newcomer(symbol, change, register)
                if security is not None:
                    yield (
                        security,
                        Statement(source, kind, change.on, None, symbol, change.reason, self.day),
                    )

    def _former_member(self, symbol: str, day: dt.date) -> int | None:
        """The security that was a member under that ticker about ``day``."""
        near = [
            security
            for security, rows in self.before.items()
            for row in rows
            if row.symbol == symbol
            and row.effective_on <= day + AHEAD
            and (row.removed_on is None or day <= row.removed_on + AHEAD)
        ]
        return near[0] if len(near) == 1 else None

    def _dates_joining(self, security: int | None, day: dt.date) -> bool:
        """Whether a row of long ago is the joining of the security that has the ticker now."""
        line = self.identified.constituents.get(security) if security is not None else None
        return bool(line and line.added_on and abs(line.added_on - day) <= SAME_EVENT)

    def _newcomer(self, symbol: str, change: MembershipChange, register: Register) -> int:
        line = Constituent(symbol, change.added_name, added_on=change.on)
        found = identify_members([line], register, self.day, {}, {}, latest=False)
        return next(iter(found.constituents))
