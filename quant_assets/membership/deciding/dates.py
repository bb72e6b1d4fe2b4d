"""From spans to stays: the days on which a security joined and left, by whom they are known best.

A statement is believed where lists bear it out, and for days of which no list speaks.
"""

from __future__ import annotations

import datetime as dt
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from quant_assets.membership.deciding.evidence import (
    ADDED,
    AHEAD,
    BRIEF,
    DAY,
    INTERVAL,
    REMOVED,
    ROUNDED,
    SAME_EVENT,
    UNWATCHED,
    WEEKEND,
    Edge,
    Evidence,
    Listed,
    Lists,
    Said,
    intervals,
    leavings,
)
from quant_assets.membership.deciding.observed import Span


@dataclass(frozen=True)
class Stay:
    """A decided membership, from ``effective_on`` until the day before ``removed_on``."""

    effective_on: dt.date
    removed_on: dt.date | None
    symbol: str
    source: str
    announced_on: dt.date | None = None
    reason: str | None = None
    removal_reason: str | None = None

    def covers(self, day: dt.date) -> bool:
        return self.effective_on <= day and (self.removed_on is None or day < self.removed_on)


def dated(
    span: Span, runs: Mapping[str, Sequence[Listed]], evidence: Evidence, lists: Lists
) -> Stay:
    """A stay with the dates of the statements that lists bear out, else those of the lists."""
    own = [r for r in runs[span.joined.voice] if r.covers(span.joined.by)]
    run = own[0] if own else Listed(span.joined.by, None, "")
    start, source, reason = _start(span.joined, run, evidence, lists)
    last = [r for r in runs.get(span.joined.voice, ()) if r.listed_on >= run.listed_on]
    symbol = _symbol(last[-1:] or [run], evidence)
    if span.left is None:
        return Stay(start, None, symbol, source, reason=reason)
    end, why = _end(span.left, evidence, lists)
    return Stay(start, max(end, start + DAY), symbol, source, reason=reason, removal_reason=why)


def _symbol(runs: Sequence[Listed], evidence: Evidence) -> str:
    return next(
        (run.symbol for run in runs if run.symbol), next((s.symbol for s in evidence.said), "")
    )


_Dating = tuple[dt.date, str, str | None]


def _start(
    edge: Edge, run: Listed, evidence: Evidence, lists: Lists
) -> tuple[dt.date, str, str | None]:
    """When it joined, who says so, and why."""
    added = [(s.from_on, s.source, s.reason) for s in evidence.said if s.kind == ADDED]
    column = [(run.said_added_on, edge.voice, None)] if run.said_added_on else []
    files = [(s.from_on, s.source, s.reason) for s in intervals(evidence)]
    if edge.after is None:
        return _start_of_first(edge, added, column, evidence)
    since = lists.true_since(edge)
    told = [d for d in (*added, *column, *files) if since <= d[0] <= edge.by + AHEAD]
    if not told:
        return edge.by, edge.voice, None
    return _sharpened(told[0], files, ROUNDED if told[0] in column else WEEKEND)


def _sharpened(told: _Dating, files: Sequence[_Dating], by: dt.timedelta) -> _Dating:
    """A date of joining, or that of a history file which says more exactly the same.

    Nobody joins on a day off. A Friday may be the last close before, where a file says Monday; a
    column is taken to be off by up to ``by``.
    """
    day = told[0]
    exact = [file for file, _, _ in files if abs(file - day) <= by]
    if by == WEEKEND:
        exact = [file for file in exact if day.weekday() == 4 and file == day + WEEKEND]
    if exact:
        return (min(exact, key=lambda file: abs(file - day)), *told[1:])
    return (day + DAY * max(0, 7 - day.weekday() if day.weekday() > 4 else 0), *told[1:])


def _start_of_first(
    edge: Edge, added: Sequence[_Dating], column: Sequence[_Dating], evidence: Evidence
) -> _Dating:
    """When somebody joined who is on the first list of all."""
    earliest = evidence.known_since or dt.date.min
    told = [d for d in (*added, *column) if earliest <= d[0] <= edge.by + AHEAD]
    covering = _interval_at(evidence, edge.by)
    if covering:
        file = covering.from_on, covering.source, covering.reason
        close = [
            d
            for d in told
            if abs(d[0] - covering.from_on) <= SAME_EVENT and (d in added or not _of_a_month(d[0]))
        ]
        if not close:
            return file
        return _sharpened(close[0], [file], ROUNDED if close[0] in column else WEEKEND)
    removed, ended = leavings(evidence)
    left = max((d for d, _ in (*removed, *ended) if d <= edge.by), default=dt.date.min)
    told = [d for d in told if d[0] >= left]
    if told:
        return told[0]
    said = column[0][0] if column else edge.by
    return max(min(said, edge.by), left, earliest), edge.voice, None


def _of_a_month(day: dt.date) -> bool:
    """Whether a date is the first day of a month or its last weekday: then it stands for a month.

    Of 13 joinings before 2013 that a list dates more than four days off a history file, eight are
    dated so; of the seven after 2022 that observed lists bear out, none.
    """
    later = day + DAY * (3 if day.weekday() == 4 else 1)
    return day.day == 1 or later.month != day.month


def _interval_at(evidence: Evidence, day: dt.date) -> Said | None:
    """The stated stay that has the security as a member on ``day``."""
    return next(
        (
            s
            for s in intervals(evidence)
            if s.from_on <= day and (s.until_on is None or day < s.until_on)
        ),
        None,
    )


def _end(edge: Edge, evidence: Evidence, lists: Lists) -> tuple[dt.date, str | None]:
    """When it left, and why: by a table of changes, else with its successor, else by a file."""
    since, until = lists.true_since(edge), edge.by + BRIEF
    removed, ended = leavings(evidence)
    told = [each for each in removed if since <= each[0] <= until]
    successors = [] if told else _successors(edge, lists)
    told += [(day, None) for day in successors[:1]]
    told += [each for each in ended if since <= each[0] <= until]
    return told[0] if told else (edge.by, None)


def _successors(edge: Edge, lists: Lists) -> list[dt.date]:
    """The dates on which those joined whom lists have instead, nearest lists first: who leaves is
    replaced by somebody before the same open.
    """
    joined = lists.joined.get(edge.voice, {})
    if edge.after is None:
        return []
    since = edge.after - BRIEF
    near = (edge.by + DAY * offset for offset in (0, -1, 1, -2, 2, -3, 3))
    found = [[d for d in joined.get(day, ()) if since <= d <= edge.by + BRIEF] for day in near]
    if edge.by - edge.after > BRIEF and len({day for days in found for day in days}) > 1:
        return []  # several joined between lists far apart, and nobody knows who came for whom
    return [max(days) for days in found if days]


# Where no list was


def unobserved(observed: Sequence[Span], evidence: Evidence, lists: Lists) -> list[Stay]:
    """Stated stays, or parts of them, of days that no list speaks of."""
    days = sorted({day for day, _, asserts in lists.voices if asserts})
    stated = [*intervals(evidence), *_pairs(evidence)]
    found = []
    for said in stated:
        for start, end in _unwatched(said, days):
            if not any(_meets(span, said, start, end) for span in observed):
                found.append(Stay(start, end, said.symbol, said.source, removal_reason=said.reason))
    return found


def _unwatched(said: Said, days: Sequence[dt.date]) -> Iterator[tuple[dt.date, dt.date | None]]:
    """The parts of a stated stay before the first list, after the last, or between far ones."""
    if not days:
        yield said.from_on, said.until_on
        return
    end = said.until_on or dt.date.max
    first, last = days[0], days[-1]
    if said.from_on < first:
        yield said.from_on, said.until_on if end <= first + BRIEF else first
    elif said.from_on > last:
        yield said.from_on, said.until_on
    else:
        at = bisect_left(days, said.from_on)
        far = 0 < at < len(days) and days[at] - days[at - 1] > UNWATCHED
        if far and end <= days[at]:
            yield said.from_on, said.until_on


def _pairs(evidence: Evidence) -> Iterator[Said]:
    """Joinings and leavings of a table of changes, paired to stays."""
    told = sorted((s for s in evidence.said if s.kind in (ADDED, REMOVED)), key=lambda s: s.from_on)
    for one, other in pairwise(told):
        if (one.kind, other.kind) == (ADDED, REMOVED) and one.from_on < other.from_on:
            yield Said(one.source, INTERVAL, one.from_on, other.from_on, one.symbol, other.reason)


def _meets(span: Span, said: Said, start: dt.date, end: dt.date | None) -> bool:
    """Whether an observed span and a stated stay, or its part, tell of the same membership."""
    joined, left = span.joined.by, span.left.by if span.left else dt.date.max
    if span.joined.after is None and (end is None or end >= joined):
        return True
    late = joined < (said.until_on or dt.date.max) and said.from_on <= joined
    if late and joined - said.from_on <= SAME_EVENT:
        return True
    return joined < (end or dt.date.max) and start < left


# All of them together


def joined(stays: Iterable[Stay]) -> list[Stay]:
    """Stays in order, those that touch made one: a change of ticker is no leaving."""
    result: list[Stay] = []
    for stay in sorted(stays, key=lambda s: s.effective_on):
        last = result[-1] if result else None
        if last is None or (last.removed_on is not None and last.removed_on < stay.effective_on):
            result.append(stay)
            continue
        ends = (last.removed_on, stay.removed_on)
        end = None if None in ends else max(e for e in ends if e)
        later = stay if end == stay.removed_on else last
        result[-1] = replace(
            last, removed_on=end, symbol=later.symbol, removal_reason=later.removal_reason
        )
    return result


def announced(stays: Sequence[Stay], evidence: Evidence, lists: Lists) -> list[Stay]:
    """``stays`` with what is announced for days after the latest list, and since when.

    A table of changes is believed of the days just before too: the list beside it is edited later.
    """
    last = lists.last
    result = list(stays)
    if last is not None:
        told = [s for s in evidence.said if s.kind in (ADDED, REMOVED) and s.from_on > last - BRIEF]
        told += [s for s in _endings(evidence) if s.from_on > last]
        for said in sorted(told, key=lambda s: s.from_on):
            if said.from_on <= last + AHEAD:
                _apply(said, result)
    return [_with_announcement(stay, evidence) for stay in result]


def _apply(said: Said, stays: list[Stay]) -> None:
    """Let a joining begin a stay, and a leaving end the one that lasts."""
    last = stays[-1] if stays else None
    lasts = last is not None and last.removed_on is None
    if said.kind == ADDED:
        if last is None or (last.removed_on is not None and last.removed_on <= said.from_on):
            stays.append(Stay(said.from_on, None, said.symbol, said.source, reason=said.reason))
    elif last is not None and lasts and last.effective_on < said.from_on:
        stays[-1] = replace(last, removed_on=said.from_on, removal_reason=said.reason)


def _endings(evidence: Evidence) -> Iterator[Said]:
    """The ends of stated intervals as removals."""
    return (
        Said(s.source, REMOVED, s.until_on, None, s.symbol, s.reason)
        for s in intervals(evidence)
        if s.until_on
    )


def _with_announcement(stay: Stay, evidence: Evidence) -> Stay:
    """The stay with the first day on which it was heard of, where that was before it began."""
    heard = [
        s.said_on
        for s in evidence.said
        if s.kind == ADDED and s.said_on and s.from_on == stay.effective_on
    ]
    heard += [
        run.listed_on
        for runs in evidence.runs.values()
        for run in runs
        if run.said_added_on == stay.effective_on
    ]
    early = [day for day in heard if day < stay.effective_on]
    return replace(stay, announced_on=min(early)) if early else stay
