"""Decides when one security belonged to a universe, from all evidence on it.

Pure: evidence in, memberships out. Everything is decided anew from all evidence, so the order in
which lists and histories arrived does not matter. The rules, with examples: ``docs/membership.md``.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace

from quant_assets.membership.deciding.conflicts import Conflict, conflicts, unconfirmed
from quant_assets.membership.deciding.dates import Membership, dated, merged
from quant_assets.membership.deciding.evidence import Evidence, ListRun, Lists, rank
from quant_assets.membership.deciding.histories import without_overruled
from quant_assets.membership.deciding.observed import observed, without_slips
from quant_assets.membership.deciding.unlisted import contradicted, unlisted, with_announced


@dataclass(frozen=True)
class Decision:
    """The memberships of one security, in order, and the sources that disagree.

    ``waiting`` is the day of the latest list where that list alone lacks the member.
    """

    memberships: tuple[Membership, ...]
    conflicts: tuple[Conflict, ...] = ()
    waiting: dt.date | None = None


def decide(evidence: Evidence, lists: Lists) -> Decision:
    """Decide when the security of ``evidence`` was a member."""
    shown = [*contradicted(evidence, lists), *(s for s in evidence.statements if lists.late(s))]
    known = tuple(s for s in evidence.statements if not lists.late(s))
    everything = replace(evidence, statements=known)
    evidence = without_overruled(everything, lists)
    runs: dict[str, tuple[ListRun, ...]] = {}
    waiting: dt.date | None = None
    best = min(map(rank, evidence.runs), default=0)
    for family in evidence.runs:
        runs[family], missing = without_slips(family, evidence, lists)
        if missing and rank(family) == best:
            waiting = missing
    spans = observed(runs, lists)
    memberships = [dated(span, runs, evidence, lists) for span in spans]
    memberships += unlisted(spans, evidence, lists)
    memberships = with_announced(merged(memberships), evidence, lists)
    disputed = {
        (conflict.source, conflict.from_on): conflict
        for conflict in (*map(unconfirmed, shown), *conflicts(memberships, everything, lists))
    }
    return Decision(tuple(memberships), tuple(disputed.values()), waiting)
