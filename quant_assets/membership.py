"""Who belonged to a universe, decided from all that its sources say of one security.

Pure: evidence in, stays out. Everything is decided anew from all of the evidence, so the order in
which lists and histories arrived does not matter. The rules, with examples: ``docs/membership.md``.

- A *list* observes: it has the security on its day, or lacks it. One list alone that lacks a member
  proves nothing; the second one, or a dated removal, does.
- A *statement* dates: a table of changes, the column "date added", a file of intervals. It is
  believed where lists don't contradict it.
- The best source heard of late says who is a member. Another list only tells what changed between
  two of its own.
"""

from __future__ import annotations

import datetime as dt
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise

RANKS = {"wikipedia": 0, "simulated": 0, "list": 1, "bundled": 2}
"""Whom to believe where lists disagree, best first."""

LISTED, INTERVAL, ADDED, REMOVED = "listed", "interval", "added", "removed"

SILENCE = dt.timedelta(days=40)
"""How long after a source's last list another one may take its place."""

BRIEF = dt.timedelta(days=10)
"""Who is missing from lists for no longer than this, and comes back, was not away; who is on lists
for no longer was not there. Also how late after a change a list may still be without it."""

AHEAD = dt.timedelta(days=40)
"""How long before it takes effect a change may be announced."""

SAME_EVENT = dt.timedelta(days=100)
"""Two dates of joining that are closer than this tell of one joining."""

UNWATCHED = dt.timedelta(days=45)
"""Between two lists farther apart than this somebody may have come and gone."""

BY_HAND = dt.timedelta(days=400)
"""How far a list that is kept by hand and gives no dates may be behind: one was found to lack for a
year who had joined. A history file then knows the day better."""

ROUNDED = dt.timedelta(days=4)
"""A date of joining on a list may be that of the last close before, or a day of the weekend; a
history file that is this close to it tells the session."""

_DAY = dt.timedelta(days=1)


@dataclass(frozen=True)
class Listed:
    """A run of lists that have the security: from ``listed_on`` to the last before ``gone_on``.

    ``gone_on`` is the day of the first list without it, None while the latest one has it.
    """

    listed_on: dt.date
    gone_on: dt.date | None
    symbol: str
    said_added_on: dt.date | None = None

    def covers(self, day: dt.date) -> bool:
        return self.listed_on <= day and (self.gone_on is None or day < self.gone_on)


@dataclass(frozen=True)
class Said:
    """A dated statement: a member from one day to another (``interval``), or joined (``added``) or
    left (``removed``) on ``from_on``. ``said_on`` is the day it was first heard here.
    """

    source: str
    kind: str
    from_on: dt.date
    until_on: dt.date | None
    symbol: str
    reason: str | None = None
    said_on: dt.date | None = None


@dataclass(frozen=True)
class Evidence:
    """All that is said of one security: runs of lists by voice, and statements.

    ``known_since`` is its first day, where that was looked up: lists date a successor by its
    predecessor's joining.
    """

    runs: Mapping[str, tuple[Listed, ...]] = field(default_factory=dict)
    said: tuple[Said, ...] = ()
    known_since: dt.date | None = None


@dataclass(frozen=True)
class Lists:
    """The days on which each voice gave a list that was believed, ascending.

    ``changed`` are those on which the list was not the one before: proof that somebody keeps it.
    ``joined`` says of each day who was new on it and since when, by the list's own word.
    ``spoken_of`` are the first and the last day that each history file speaks of. ``trusted`` lists
    need no second one to confirm that somebody is gone: a user said so.
    """

    days: Mapping[str, tuple[dt.date, ...]]
    changed: Mapping[str, tuple[dt.date, ...]] = field(default_factory=dict)
    joined: Mapping[str, Mapping[dt.date, tuple[dt.date, ...]]] = field(default_factory=dict)
    trusted: frozenset[tuple[str, dt.date]] = frozenset()
    spoken_of: Mapping[str, tuple[dt.date, dt.date]] = field(default_factory=dict)

    @cached_property
    def voices(self) -> tuple[tuple[dt.date, str, bool], ...]:
        """Each list in the order of days: its day, its voice, and whether it says who is a member;
        if not, it only tells what changed since its last.
        """
        told = [
            (day, RANKS.get(voice, 1), voice) for voice in self.days for day in self.days[voice]
        ]
        return tuple((day, voice, self._asserts(voice, day)) for day, _, voice in sorted(told))

    def _asserts(self, voice: str, day: dt.date) -> bool:
        if (voice, day) in self.trusted:
            return True
        rank = RANKS.get(voice, 1)
        if rank == RANKS["bundled"]:
            # A library's list is somebody's idea of last year's index.
            return len(self.days) == 1
        better = [days for other, days in self.days.items() if RANKS.get(other, 1) < rank]
        return not any(_any_between(days, day - SILENCE, day) for days in better)

    def hushed(self, voice: str, day: dt.date) -> bool:
        """Whether a better source gave its own list on that day or next to it."""
        rank = RANKS.get(voice, 1)
        return any(
            _any_between(days, day - _DAY, day + _DAY)
            for other, days in self.days.items()
            if RANKS.get(other, 1) < rank
        )

    def count(self, voice: str, start: dt.date, end: dt.date | None) -> int:
        """How many lists a voice gave from ``start`` until the day before ``end``."""
        days = self.days.get(voice, ())
        return (bisect_left(days, end) if end else len(days)) - bisect_left(days, start)

    def before(self, voice: str, day: dt.date) -> dt.date | None:
        days = self.days.get(voice, ())
        at = bisect_left(days, day)
        return days[at - 1] if at else None

    def true_since(self, edge: _Edge) -> dt.date:
        """The first day on which a change can have happened that lists show by ``edge``: the last
        one on which somebody is known to have kept the list, or some days before.
        """
        after = edge.after or edge.by
        if RANKS.get(edge.voice, 1):
            return after - BY_HAND
        changed = self.changed.get(edge.voice, ())
        at = bisect_right(changed, after)
        return (changed[at - 1] if at else after) - BRIEF

    @cached_property
    def first(self) -> dt.date | None:
        return next((day for day, _, asserts in self.voices if asserts), None)

    @cached_property
    def last(self) -> dt.date | None:
        return max((day for day, _, asserts in self.voices if asserts), default=None)


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


@dataclass(frozen=True)
class Conflict:
    """Days on which a source says other than what was decided."""

    source: str
    from_on: dt.date
    until_on: dt.date | None
    symbol: str
    says_member: bool
    cause: str
    decided_by: str


@dataclass(frozen=True)
class Decision:
    """What became of one security's membership; ``waiting`` is set where a single list lacks it."""

    stays: tuple[Stay, ...]
    conflicts: tuple[Conflict, ...] = ()
    waiting: dt.date | None = None


def decide(evidence: Evidence, lists: Lists) -> Decision:
    """The stays of one security, in order, and the sources that disagree."""
    smoothed: dict[str, tuple[Listed, ...]] = {}
    waiting: dt.date | None = None
    for voice, runs in evidence.runs.items():
        smoothed[voice], missing = _smoothed(voice, runs, evidence, lists)
        if missing and RANKS.get(voice, 1) == min(RANKS.get(v, 1) for v in evidence.runs):
            waiting = missing
    observed = _observed(smoothed, lists)
    stays = [_dated(span, smoothed, evidence, lists) for span in observed]
    stays += _unobserved(observed, evidence, lists)
    stays = _announced(_joined(stays), evidence, lists)
    return Decision(tuple(stays), _conflicts(stays, evidence, lists), waiting)


# From lists to observed spans


@dataclass(frozen=True)
class _Edge:
    """A change of what lists say, between the day ``after`` and the day ``by`` of two lists."""

    after: dt.date | None
    by: dt.date
    voice: str


@dataclass(frozen=True)
class _Span:
    joined: _Edge
    left: _Edge | None


def _smoothed(
    voice: str, runs: Sequence[Listed], evidence: Evidence, lists: Lists
) -> tuple[tuple[Listed, ...], dt.date | None]:
    """Runs without the gaps and appearances that are slips; and since when it waits for a second
    list to confirm that it is gone.
    """
    result: list[Listed] = []
    for run in runs:
        before = result[-1] if result else None
        if before and before.gone_on and _slip(voice, before.gone_on, run, evidence, lists):
            result[-1] = Listed(before.listed_on, run.gone_on, run.symbol, run.said_added_on)
        else:
            result.append(run)
    kept = [run for run in result if not _stray(voice, run, evidence, lists)]
    last = kept[-1] if kept else None
    if (
        last
        and last.gone_on
        and lists.count(voice, last.gone_on, None) == 1
        and (voice, last.gone_on) not in lists.trusted
        and not _left_by_word(evidence, lists.before(voice, last.gone_on), last.gone_on)
    ):
        kept[-1] = Listed(last.listed_on, None, last.symbol, last.said_added_on)
        return tuple(kept), last.gone_on
    return tuple(kept), None


def _slip(voice: str, gone: dt.date, back: Listed, evidence: Evidence, lists: Lists) -> bool:
    if (voice, gone) in lists.trusted:
        return False
    once = lists.count(voice, gone, back.listed_on) == 1
    brief = back.listed_on - gone <= BRIEF
    return (once or brief) and not _left_by_word(
        evidence, lists.before(voice, gone), back.listed_on - _DAY
    )


def _stray(voice: str, run: Listed, evidence: Evidence, lists: Lists) -> bool:
    """Whether a short appearance on lists, with none before and after, counts for nothing."""
    return bool(
        run.gone_on
        and (voice, run.gone_on) not in lists.trusted
        and run.gone_on - run.listed_on <= BRIEF
        and lists.before(voice, run.listed_on)
        and not any(
            s.kind in (ADDED, INTERVAL) and abs(s.from_on - run.listed_on) <= BRIEF
            for s in evidence.said
        )
    )


def _left_by_word(evidence: Evidence, listed: dt.date | None, gone: dt.date) -> bool:
    """Whether a statement dates the leaving about when lists stop having the security."""
    since = (listed or gone) - BRIEF
    removed, ended = _leavings(evidence)
    return any(since <= day <= gone + BRIEF for day, _ in (*removed, *ended))


def _observed(runs: Mapping[str, Sequence[Listed]], lists: Lists) -> list[_Span]:
    """Spans between which lists, taken together, change their mind."""
    spans: list[_Span] = []
    joined: _Edge | None = None
    state: bool | None = None
    last: dt.date | None = None
    own: dict[str, tuple[bool, dt.date]] = {}
    for day, voice, asserts in lists.voices:
        present = any(run.covers(day) for run in runs.get(voice, ()))
        before, own[voice] = own.get(voice), (present, day)
        news = before is not None and before[0] != present and not lists.hushed(voice, day)
        if not (asserts or news):
            continue
        if present != state and not (state is None and not present):
            edge = _Edge(last if asserts or not before else before[1], day, voice)
            if present:
                joined = edge
            elif joined:
                spans.append(_Span(joined, edge))
                joined = None
        state, last = present, day
    return [*spans, _Span(joined, None)] if joined else spans


# From spans to dates


def _dated(
    span: _Span, runs: Mapping[str, Sequence[Listed]], evidence: Evidence, lists: Lists
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
    return Stay(start, max(end, start + _DAY), symbol, source, reason=reason, removal_reason=why)


def _symbol(runs: Sequence[Listed], evidence: Evidence) -> str:
    return next(
        (run.symbol for run in runs if run.symbol), next((s.symbol for s in evidence.said), "")
    )


def _start(
    edge: _Edge, run: Listed, evidence: Evidence, lists: Lists
) -> tuple[dt.date, str, str | None]:
    """When it joined, who says so, and why."""
    added = [(s.from_on, s.source, s.reason) for s in evidence.said if s.kind == ADDED]
    column = [(run.said_added_on, edge.voice, None)] if run.said_added_on else []
    files = [(s.from_on, s.source, s.reason) for s in _intervals(evidence)]
    if edge.after is None:
        return _start_of_first(edge, added, column, evidence)
    since = lists.true_since(edge)
    told = [d for d in (*added, *column, *files) if since <= d[0] <= edge.by + AHEAD]
    if not told:
        return edge.by, edge.voice, None
    return _sharpened(told[0], files) if told[0] in column else told[0]


_Dating = tuple[dt.date, str, str | None]


def _sharpened(told: _Dating, files: Sequence[_Dating]) -> _Dating:
    """A date of joining, or that of a history file which says more exactly the same."""
    exact = [day for day, _, _ in files if abs(day - told[0]) <= ROUNDED]
    return (min(exact, key=lambda day: abs(day - told[0])), *told[1:]) if exact else told


def _start_of_first(
    edge: _Edge, added: Sequence[_Dating], column: Sequence[_Dating], evidence: Evidence
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
        return _sharpened(close[0], [file]) if close[0] in column else close[0]
    removed, ended = _leavings(evidence)
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
    later = day + _DAY * (3 if day.weekday() == 4 else 1)
    return day.day == 1 or later.month != day.month


def _interval_at(evidence: Evidence, day: dt.date) -> Said | None:
    """The stated stay that has the security as a member on ``day``."""
    return next(
        (
            s
            for s in _intervals(evidence)
            if s.from_on <= day and (s.until_on is None or day < s.until_on)
        ),
        None,
    )


def _end(edge: _Edge, evidence: Evidence, lists: Lists) -> tuple[dt.date, str | None]:
    """When it left, and why: by a table of changes, else with its successor, else by a file."""
    since, until = lists.true_since(edge), edge.by + BRIEF
    removed, ended = _leavings(evidence)
    told = [each for each in removed if since <= each[0] <= until]
    successors = [] if told else _successors(edge, lists)
    told += [(day, None) for day in successors[:1]]
    told += [each for each in ended if since <= each[0] <= until]
    return told[0] if told else (edge.by, None)


def _successors(edge: _Edge, lists: Lists) -> list[dt.date]:
    """The dates on which those joined whom lists have instead, nearest lists first: who leaves is
    replaced by somebody before the same open.
    """
    joined = lists.joined.get(edge.voice, {})
    if edge.after is None or edge.by - edge.after > BRIEF:
        return []  # of lists far apart, nobody knows who came for whom
    since = edge.after - BRIEF
    near = (edge.by + _DAY * offset for offset in (0, -1, 1, -2, 2, -3, 3))
    return [
        max(dates)
        for day in near
        if (dates := [d for d in joined.get(day, ()) if since <= d <= edge.by + BRIEF])
    ]


_Leaving = tuple[dt.date, str | None]


def _leavings(evidence: Evidence) -> tuple[list[_Leaving], list[_Leaving]]:
    """The days on which tables of changes let the security leave, and those on which files do."""
    removed = [(s.from_on, s.reason) for s in evidence.said if s.kind == REMOVED]
    ended = [(s.until_on, s.reason) for s in _intervals(evidence) if s.until_on]
    return removed, ended


def _intervals(evidence: Evidence) -> Iterator[Said]:
    """The stated stays of each source, those that follow one another made one: a file ends a stay
    and begins another where a ticker changes.
    """
    last: Said | None = None
    stated = (s for s in evidence.said if s.kind == INTERVAL)
    for said in sorted(stated, key=lambda s: (s.source, s.from_on)):
        if last is None:
            last = said
        elif (
            said.source == last.source
            and last.until_on is not None
            and said.from_on <= last.until_on + ROUNDED
        ):
            until = None if said.until_on is None else max(last.until_on, said.until_on)
            last = replace(said, from_on=last.from_on, until_on=until)
        else:
            yield last
            last = said
    if last is not None:
        yield last


# Where no list was


def _unobserved(observed: Sequence[_Span], evidence: Evidence, lists: Lists) -> list[Stay]:
    """Stated stays, or parts of them, of days that no list speaks of."""
    days = sorted({day for day, _, asserts in lists.voices if asserts})
    stated = [*_intervals(evidence), *_pairs(evidence)]
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


def _meets(span: _Span, said: Said, start: dt.date, end: dt.date | None) -> bool:
    """Whether an observed span and a stated stay, or its part, tell of the same membership."""
    joined, left = span.joined.by, span.left.by if span.left else dt.date.max
    if span.joined.after is None and (end is None or end >= joined):
        return True
    late = joined < (said.until_on or dt.date.max) and said.from_on <= joined
    if late and joined - said.from_on <= SAME_EVENT:
        return True
    return joined < (end or dt.date.max) and start < left


def _joined(stays: Iterable[Stay]) -> list[Stay]:
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
        result[-1] = Stay(
            last.effective_on,
            end,
            later.symbol,
            last.source,
            reason=last.reason,
            removal_reason=later.removal_reason,
        )
    return result


def _announced(stays: Sequence[Stay], evidence: Evidence, lists: Lists) -> list[Stay]:
    """``stays`` with what is announced for days after the latest list, and since when."""
    last = lists.last
    result = list(stays)
    if last is not None:
        ahead = [
            s
            for s in (*evidence.said, *_endings(evidence))
            if s.kind in (ADDED, REMOVED) and last < s.from_on <= last + AHEAD
        ]
        for said in sorted(ahead, key=lambda s: s.from_on):
            open_now = result and result[-1].removed_on is None
            if said.kind == ADDED and not open_now:
                result.append(
                    Stay(said.from_on, None, said.symbol, said.source, reason=said.reason)
                )
            elif said.kind == REMOVED and open_now and result[-1].effective_on < said.from_on:
                result[-1] = _ended(result[-1], said)
    return [_with_announcement(stay, evidence) for stay in result]


def _endings(evidence: Evidence) -> Iterator[Said]:
    """The ends of stated intervals as removals."""
    return (
        Said(s.source, REMOVED, s.until_on, None, s.symbol, s.reason)
        for s in _intervals(evidence)
        if s.until_on
    )


def _ended(stay: Stay, said: Said) -> Stay:
    return Stay(
        stay.effective_on,
        said.from_on,
        stay.symbol,
        stay.source,
        reason=stay.reason,
        removal_reason=said.reason,
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
    if not early:
        return stay
    return Stay(
        stay.effective_on,
        stay.removed_on,
        stay.symbol,
        stay.source,
        min(early),
        stay.reason,
        stay.removal_reason,
    )


# Who disagrees


def _conflicts(stays: Sequence[Stay], evidence: Evidence, lists: Lists) -> tuple[Conflict, ...]:
    found: list[Conflict] = []
    decided = [(s.effective_on, s.removed_on or dt.date.max) for s in stays]
    for source, (first, until) in lists.spoken_of.items():
        said = [s for s in _intervals(evidence) if s.source == source]
        theirs = [(s.from_on, s.until_on or dt.date.max) for s in said]
        symbol = next(iter([s.symbol for s in said[::-1]] + [s.symbol for s in stays[::-1]]), "")
        ours = [(max(start, first), end) for start, end in decided if end > first]
        found += [
            _conflict(source, symbol, difference, stays, theirs)
            for difference in _differences(theirs, ours)
            if difference[0] < until
        ]
    for voice, runs in evidence.runs.items():
        days = lists.days.get(voice, ())
        theirs = [(run.listed_on, run.gone_on or dt.date.max) for run in runs]
        watched = [(s, e) for s, e in _clipped(decided, days)]
        for start, end, says in _differences(theirs, watched):
            # A list is edited some days early or late; its own date of the change says when.
            within = lists.count(voice, start, None if end == dt.date.max else end)
            edge = any(start == e or end == s for s, e in decided)
            late = end != dt.date.max and end - start <= BRIEF and edge
            if within and not late and not (end == dt.date.max and start > days[-1]):
                difference = start, end, says
                found.append(_conflict(voice, runs[-1].symbol, difference, stays, theirs))
    return tuple(found)


def _clipped(
    decided: Sequence[tuple[dt.date, dt.date]], days: Sequence[dt.date]
) -> list[tuple[dt.date, dt.date]]:
    """The decided stays within the days that a voice's lists speak of."""
    if not days:
        return []
    after = days[-1] + _DAY
    return [
        (max(start, days[0]), dt.date.max if end > after else end)
        for start, end in decided
        if end > days[0] and start <= days[-1]
    ]


def _differences(
    theirs: Sequence[tuple[dt.date, dt.date]], ours: Sequence[tuple[dt.date, dt.date]]
) -> Iterator[tuple[dt.date, dt.date, bool]]:
    """Stretches in which exactly one of two sets of intervals holds, and whether it is theirs."""
    edges = sorted({day for interval in (*theirs, *ours) for day in interval})
    open_at: tuple[dt.date, bool] | None = None
    for day in edges:
        one = any(start <= day < end for start, end in theirs)
        other = any(start <= day < end for start, end in ours)
        says = one if one != other else None
        if open_at and (says is None or says != open_at[1]):
            yield open_at[0], day, open_at[1]
            open_at = None
        if says is not None and open_at is None:
            open_at = day, says


def _conflict(
    source: str,
    symbol: str,
    difference: tuple[dt.date, dt.date, bool],
    stays: Sequence[Stay],
    theirs: Sequence[tuple[dt.date, dt.date]],
) -> Conflict:
    start, end, says = difference
    near = next(
        (s for s in stays if s.effective_on in (start, end) or s.removed_on in (start, end)), None
    ) or next((s for s in stays if s.covers(start)), None)
    days = f"{(end - start).days} day{'' if (end - start).days == 1 else 's'}"
    if near is None:
        cause = "has a stay that nobody else knows"
    elif says:
        cause = (
            f"lets it join {days} earlier"
            if near.effective_on == end
            else f"lets it leave {days} later"
            if near.removed_on == start and end != dt.date.max
            else "has it as a member still"
        )
    elif not any(s < near.effective_on or e > near.effective_on for s, e in theirs):
        cause = "does not know of the stay"
    elif near.effective_on == start and any(s == end for s, _ in theirs):
        cause = f"lets it join {days} later"
    elif any(e == start for _, e in theirs) and any(s == end for s, _ in theirs):
        cause = "left it out for a time"
    elif end == dt.date.max:
        cause = "has it as a member no longer"
    else:
        cause = f"lets it leave {days} earlier"
    return Conflict(
        source,
        start,
        None if end == dt.date.max else end,
        symbol,
        says,
        cause,
        near.source if near else "lists",
    )


def _any_between(days: Sequence[dt.date], start: dt.date, end: dt.date) -> bool:
    at = bisect_left(days, start)
    return at < len(days) and days[at] <= end
