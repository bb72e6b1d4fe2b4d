"""What sources say of one security's membership: the terms in which it is decided.

A *list* observes: it has the security on its day, or lacks it. A *statement* dates: a member from
one day to another, joined on a day, left on a day. What follows from them is not said here.
"""

from __future__ import annotations

import datetime as dt
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

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

WEEKEND = dt.timedelta(days=3)
"""From a Friday's close to the open of Monday, before which changes take effect."""

DAY = dt.timedelta(days=1)


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
class Edge:
    """A change of what lists say, between the day ``after`` and the day ``by`` of two lists."""

    after: dt.date | None
    by: dt.date
    voice: str


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
        return not any(any_between(days, day - SILENCE, day) for days in better)

    def hushed(self, voice: str, day: dt.date) -> bool:
        """Whether a better source gave its own list on that day or next to it."""
        rank = RANKS.get(voice, 1)
        return any(
            any_between(days, day - DAY, day + DAY)
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

    def true_since(self, edge: Edge) -> dt.date:
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


def intervals(evidence: Evidence) -> Iterator[Said]:
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


_Leaving = tuple[dt.date, str | None]


def leavings(evidence: Evidence) -> tuple[list[_Leaving], list[_Leaving]]:
    """The days on which tables of changes let the security leave, and those on which files do."""
    removed = [(s.from_on, s.reason) for s in evidence.said if s.kind == REMOVED]
    ended = [(s.until_on, s.reason) for s in intervals(evidence) if s.until_on]
    return removed, ended


def any_between(days: Sequence[dt.date], start: dt.date, end: dt.date) -> bool:
    at = bisect_left(days, start)
    return at < len(days) and days[at] <= end
