"""Who belonged to a universe, decided from all that its sources say of one security.

Pure: evidence in, stays out. Everything is decided anew from all of the evidence, so the order in
which lists and histories arrived does not matter. The rules, with examples: ``docs/membership.md``.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from quant_assets.membership.deciding.conflicts import Conflict, conflicts
from quant_assets.membership.deciding.dates import Stay, announced, dated, joined, unobserved
from quant_assets.membership.deciding.evidence import RANKS, Evidence, Listed, Lists
from quant_assets.membership.deciding.observed import observed, smoothed


@dataclass(frozen=True)
class Decision:
    """What became of one security's membership; ``waiting`` is set where a single list lacks it."""

    stays: tuple[Stay, ...]
    conflicts: tuple[Conflict, ...] = ()
    waiting: dt.date | None = None


def decide(evidence: Evidence, lists: Lists) -> Decision:
    """The stays of one security, in order, and the sources that disagree."""
    runs: dict[str, tuple[Listed, ...]] = {}
    waiting: dt.date | None = None
    best = min((RANKS.get(voice, 1) for voice in evidence.runs), default=0)
    for voice in evidence.runs:
        runs[voice], missing = smoothed(voice, evidence, lists)
        if missing and RANKS.get(voice, 1) == best:
            waiting = missing
    spans = observed(runs, lists)
    stays = [dated(span, runs, evidence, lists) for span in spans]
    stays += unobserved(spans, evidence, lists)
    stays = announced(joined(stays), evidence, lists)
    return Decision(tuple(stays), conflicts(stays, evidence, lists), waiting)
