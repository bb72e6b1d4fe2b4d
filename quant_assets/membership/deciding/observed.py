"""From lists to spans: from when until when the lists, taken together, have a security.

One list that lacks a member proves nothing; a second list or a dated removal does. The best source
family with a recent list decides who is a member; another only shows what changed between two lists
of its own.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from quant_assets.membership.deciding.evidence import (
    ADDED,
    BRIEF,
    DAY,
    INTERVAL,
    Evidence,
    ListChange,
    ListRun,
    Lists,
    intervals,
    leavings,
    rank,
)


@dataclass(frozen=True)
class Span:
    """A membership as lists show it; ``left`` is None while it lasts."""

    joined: ListChange
    left: ListChange | None


def without_slips(
    family: str, evidence: Evidence, lists: Lists
) -> tuple[tuple[ListRun, ...], dt.date | None]:
    """A family's runs without gaps and appearances that are slips, and the day of the latest list
    where that list alone lacks the security, so that a second one has to confirm the leaving.
    """
    result: list[ListRun] = []
    for run in evidence.runs[family]:
        before = result[-1] if result else None
        if before and before.gone_on and _is_slip(family, before.gone_on, run, evidence, lists):
            result[-1] = replace(run, listed_on=before.listed_on)
        else:
            result.append(run)
    kept = [run for run in result if not _is_stray(family, run, evidence, lists)]
    last = kept[-1] if kept else None
    if (
        last
        and last.gone_on
        and lists.count(family, last.gone_on, None) == 1
        and (family, last.gone_on) not in lists.trusted
        and not _leaving_is_stated(evidence, lists.before(family, last.gone_on), last.gone_on)
    ):
        kept[-1] = replace(last, gone_on=None)
        return tuple(kept), last.gone_on
    return tuple(kept), None


def _is_slip(family: str, gone: dt.date, back: ListRun, evidence: Evidence, lists: Lists) -> bool:
    """Whether a gap between two runs means nothing: it is one list long, or brief, or a history
    file has the member all the while and the list is kept by hand.
    """
    if (family, gone) in lists.trusted:
        return False
    once = lists.count(family, gone, back.listed_on) == 1
    brief = back.listed_on - gone <= BRIEF
    if (once or brief) and not _leaving_is_stated(
        evidence, lists.before(family, gone), back.listed_on - DAY
    ):
        return True
    return rank(family) > 0 and any(
        s.from_on <= gone and (s.until_on is None or back.listed_on <= s.until_on)
        for s in intervals(evidence)
    )


def _is_stray(family: str, run: ListRun, evidence: Evidence, lists: Lists) -> bool:
    """Whether a run is a short appearance, without lists before and after, that means nothing."""
    return bool(
        run.gone_on
        and (family, run.gone_on) not in lists.trusted
        and run.gone_on - run.listed_on <= BRIEF
        and lists.before(family, run.listed_on)
        and not any(
            s.kind in (ADDED, INTERVAL) and abs(s.from_on - run.listed_on) <= BRIEF
            for s in evidence.statements
        )
    )


def _leaving_is_stated(evidence: Evidence, listed: dt.date | None, gone: dt.date) -> bool:
    """Whether a statement dates the leaving near the first list without the security."""
    since = (listed or gone) - BRIEF
    removed, ended = leavings(evidence)
    return any(since <= day <= gone + BRIEF for day, _ in (*removed, *ended))


def observed(runs: Mapping[str, Sequence[ListRun]], lists: Lists) -> list[Span]:
    """The spans in which the lists, taken together, have the security."""
    spans: list[Span] = []
    joined: ListChange | None = None
    member = False
    last: dt.date | None = None
    own: dict[str, tuple[bool, dt.date]] = {}
    for day, family, decides in lists.by_day:
        present = any(run.covers(day) for run in runs.get(family, ()))
        before, own[family] = own.get(family), (present, day)
        changed = before is not None and before[0] != present
        if not decides and (not changed or lists.overruled(family, day)):
            continue
        if present != member:
            change = ListChange(last if decides or not before else before[1], day, family)
            if present:
                joined = change
            elif joined:
                spans.append(Span(joined, change))
                joined = None
        member, last = present, day
    return [*spans, Span(joined, None)] if joined else spans
