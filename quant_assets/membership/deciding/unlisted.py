"""Memberships on days that no list covers: before the first list, after the last, between far ones.

There statements are believed as they are: history files for the past, announcements for the future.
"""

from __future__ import annotations

import datetime as dt
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

from quant_assets.membership.deciding.dates import Membership
from quant_assets.membership.deciding.evidence import (
    ADDED,
    AHEAD,
    BRIEF,
    DAY,
    INTERVAL,
    REMOVED,
    SAME_EVENT,
    UNWATCHED,
    Evidence,
    Lists,
    Statement,
    intervals,
    leavings,
)
from quant_assets.membership.deciding.observed import Span


def unlisted(spans: Sequence[Span], evidence: Evidence, lists: Lists) -> list[Membership]:
    """Stated intervals, or the parts of them on days that no list covers."""
    days = sorted({day for day, _, decides in lists.by_day if decides})
    return [
        Membership(start, end, stated.symbol, stated.source, removal_reason=stated.reason)
        for stated in (*_moved(evidence, lists), *_pairs(evidence))
        for start, end in _uncovered(stated, days)
        if not any(_overlap(span, stated, start, end) for span in spans)
    ]


def _moved(evidence: Evidence, lists: Lists) -> Iterator[Statement]:
    """The intervals of history files, with an end that a dated removal knows better, and with days
    on which lists know better of others: the index swaps members before one open.
    """
    removed, _ = leavings(evidence)
    for stated in intervals(evidence):
        start, end = (
            day and lists.moved.get((stated.source, day), day)
            for day in (stated.from_on, stated.until_on)
        )
        if stated.until_on:
            near = [day for day, _ in removed if abs(day - stated.until_on) <= SAME_EVENT]
            end = near[0] if near else end
        start = start or stated.from_on
        yield replace(stated, from_on=start, until_on=end and max(end, start + DAY))


def _uncovered(
    stated: Statement, days: Sequence[dt.date]
) -> Iterator[tuple[dt.date, dt.date | None]]:
    """The parts of a stated interval that lists of ``days`` do not cover."""
    if not days:
        yield stated.from_on, stated.until_on
        return
    end = stated.until_on or dt.date.max
    first, last = days[0], days[-1]
    if stated.from_on < first:
        yield stated.from_on, stated.until_on if end <= first + BRIEF else first
    elif stated.from_on > last:
        yield stated.from_on, stated.until_on
    else:
        at = bisect_left(days, stated.from_on)
        far = 0 < at < len(days) and days[at] - days[at - 1] > UNWATCHED
        if far and end <= days[at]:
            yield stated.from_on, stated.until_on


def _pairs(evidence: Evidence) -> Iterator[Statement]:
    """The joinings and leavings of a table of changes, paired to intervals."""
    for one, other in pairwise(sorted(_dated_changes(evidence), key=lambda s: s.from_on)):
        if (one.kind, other.kind) == (ADDED, REMOVED) and one.from_on < other.from_on:
            yield replace(one, kind=INTERVAL, until_on=other.from_on, reason=other.reason)


def _dated_changes(evidence: Evidence) -> Iterator[Statement]:
    return (s for s in evidence.statements if s.kind in (ADDED, REMOVED))


def _overlap(span: Span, stated: Statement, start: dt.date, end: dt.date | None) -> bool:
    """Whether a span of lists and a stated interval, or its part, are one membership."""
    joined, left = span.joined.by, span.left.by if span.left else dt.date.max
    if span.joined.after is None and (end is None or end >= joined):
        return True
    late = stated.from_on <= joined < (stated.until_on or dt.date.max)
    if late and joined - stated.from_on <= SAME_EVENT:
        return True
    return joined < (end or dt.date.max) and start < left


def with_announced(
    memberships: Sequence[Membership], evidence: Evidence, lists: Lists
) -> list[Membership]:
    """``memberships`` with the changes announced for days after the latest list.

    A table of changes counts for the days just before too: the list beside it is edited later. A
    row that contradicts the list of its own page has to stand on a second page.
    """
    last = lists.last
    result = list(memberships)
    if last is not None:
        announced = [
            s
            for s in _dated_changes(evidence)
            if last - BRIEF < s.from_on <= last + AHEAD and (s.from_on > last or lists.confirmed(s))
        ]
        # A history may go on long after the last list.
        announced += [s for s in _endings(evidence) if s.from_on > last]
        for statement in sorted(announced, key=lambda s: s.from_on):
            _apply(statement, result)
    return [_with_first_report(membership, evidence) for membership in result]


def contradicted(evidence: Evidence, lists: Lists) -> Iterator[Statement]:
    """The rows of a table of changes that stand on one page so far and are not followed."""
    last = lists.last
    for statement in _dated_changes(evidence):
        if last is None or statement.from_on > last or lists.confirmed(statement):
            continue
        family = statement.source.split(":", 1)[0]
        listed = any(run.covers(last) for run in evidence.runs.get(family, ()))
        if listed == (statement.kind == REMOVED) and statement.from_on > last - BRIEF:
            yield statement


def _apply(statement: Statement, memberships: list[Membership]) -> None:
    """Begin a membership by a joining, or end the one that lasts by a leaving."""
    day, reason = statement.from_on, statement.reason
    last = memberships[-1] if memberships else None
    if statement.kind == ADDED:
        if last is None or (last.removed_on is not None and last.removed_on <= day):
            new = Membership(day, None, statement.symbol, statement.source, reason=reason)
            memberships.append(new)
    elif last is not None and last.removed_on is None and last.effective_on < day:
        memberships[-1] = replace(last, removed_on=day, removal_reason=reason)


def _endings(evidence: Evidence) -> Iterator[Statement]:
    """The ends of stated intervals as leavings."""
    return (
        replace(s, kind=REMOVED, from_on=s.until_on, until_on=None)
        for s in intervals(evidence)
        if s.until_on
    )


def _with_first_report(membership: Membership, evidence: Evidence) -> Membership:
    """``membership`` with the day of its first report, where that day is before it began."""
    start = membership.effective_on
    reports = [
        s.reported_on
        for s in evidence.statements
        if s.kind == ADDED and s.reported_on and s.from_on == start
    ]
    reports += [r.listed_on for runs in evidence.runs.values() for r in runs if r.added_on == start]
    early = [day for day in reports if day < start]
    return replace(membership, announced_on=min(early)) if early else membership
