"""The evidence on one security's membership: what its sources list and state.

A *list* observes: it has the security on its day, or lacks it. A *statement* dates: a member from
one day to another, joined on a day, left on a day. What follows from the evidence is decided in
``decision``.
"""

from __future__ import annotations

import datetime as dt
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

RANKS = {"wikipedia": 0, "simulated": 0, "list": 1, "bundled": 2}
"""Which source family is believed where lists disagree, best first."""

LIBRARY = "bundled"
"""The source family of an installed library."""

LISTED, INTERVAL, ADDED, REMOVED = "listed", "interval", "added", "removed"

SILENCE = dt.timedelta(days=40)
"""How long after a family's last list another family may take its place."""

BRIEF = dt.timedelta(days=10)
"""A member missing from lists for no longer than this, and back again, was not away; a security on
lists for no longer was not a member. Also how late a list may be edited after a change."""

AHEAD = dt.timedelta(days=40)
"""How long before its effective day a change may be announced."""

SAME_EVENT = dt.timedelta(days=100)
"""Two dates of joining closer than this are dates of one joining."""

UNWATCHED = dt.timedelta(days=45)
"""Between two lists farther apart than this a security may have joined and left."""

BY_HAND = dt.timedelta(days=400)
"""How far a list that is kept by hand and gives no dates may be behind: one was found to lack a
member for a year. A history file then knows the day better."""

ROUNDED = dt.timedelta(days=4)
"""A list's date of joining may be that of the close before, or a day of the weekend; a history file
this close to it has the session."""

MONTH = dt.timedelta(days=31)

WEEKEND = dt.timedelta(days=3)
"""From a Friday's close to the open of Monday, before which changes take effect."""

DAY = dt.timedelta(days=1)


@dataclass(frozen=True)
class ListRun:
    """Consecutive lists of a family that have a security, from ``listed_on`` to before ``gone_on``.

    ``gone_on`` is the day of the first list without it, None while the latest list has it.
    ``added_on`` is the date of joining that the lists give. As stored, a run ends too where the
    lists give another ticker or date; the next one begins on the same day.
    """

    listed_on: dt.date
    gone_on: dt.date | None
    symbol: str
    added_on: dt.date | None = None

    def covers(self, day: dt.date) -> bool:
        return self.listed_on <= day and (self.gone_on is None or day < self.gone_on)


@dataclass(frozen=True)
class Statement:
    """A dated statement of a source: a member from ``from_on`` until the day before ``until_on``
    (``interval``), joined (``added``) or left (``removed``) on ``from_on``. ``reported_on`` is the
    day of the list or page that first had the statement. A page that has a joining or leaving no
    longer is its ``until_on``: one page proves nothing.
    """

    source: str
    kind: str
    from_on: dt.date
    until_on: dt.date | None
    symbol: str
    reason: str | None = None
    reported_on: dt.date | None = None


@dataclass(frozen=True)
class Evidence:
    """All evidence on one security: its runs of lists by source family, and its statements.

    ``known_since`` is its first day, where somebody looked that up: lists date a successor by its
    predecessor's joining.
    """

    runs: Mapping[str, tuple[ListRun, ...]] = field(default_factory=dict)
    statements: tuple[Statement, ...] = ()
    known_since: dt.date | None = None


@dataclass(frozen=True)
class ListChange:
    """A change after the list of ``after`` and by the list of ``by``, which ``family`` gave.

    ``after`` is None where the list of ``by`` is the first of all.
    """

    after: dt.date | None
    by: dt.date
    family: str


@dataclass(frozen=True)
class Lists:
    """The days, ascending, on which each source family gave a list that was accepted.

    ``changed`` are the days of lists that differ from the list before, which proves that somebody
    keeps them. ``joined`` has, for each day, the dates of joining that the list gives for its new
    members. ``trusted`` lists were accepted by a user and need no second list to confirm a leaving.
    ``file_periods`` are the first and last day that each history file covers; ``moved`` has the
    days of a file on which members joined of whom lists know better, with the day that they give.
    """

    days: Mapping[str, tuple[dt.date, ...]]
    changed: Mapping[str, tuple[dt.date, ...]] = field(default_factory=dict)
    joined: Mapping[str, Mapping[dt.date, tuple[dt.date, ...]]] = field(default_factory=dict)
    trusted: frozenset[tuple[str, dt.date]] = frozenset()
    file_periods: Mapping[str, tuple[dt.date, dt.date]] = field(default_factory=dict)
    moved: Mapping[tuple[str, dt.date], dt.date] = field(default_factory=dict)

    @cached_property
    def by_day(self) -> tuple[tuple[dt.date, str, bool], ...]:
        """Each list in the order of days: its day, its family, and whether it decides who is a
        member; if not, it only shows what changed since the family's last list.
        """
        lists = [(day, rank(family), family) for family in self.days for day in self.days[family]]
        return tuple((day, family, self._decides(family, day)) for day, _, family in sorted(lists))

    def _decides(self, family: str, day: dt.date) -> bool:
        if (family, day) in self.trusted:
            return True
        if rank(family) == RANKS["bundled"]:
            # A library's list is somebody's idea of last year's index.
            return len(self.days) == 1
        return not self._better_between(family, day - SILENCE, day)

    def overruled(self, family: str, day: dt.date) -> bool:
        """Whether a better family gave a list on that day or a day next to it."""
        return self._better_between(family, day - DAY, day + DAY)

    def _better_between(self, family: str, start: dt.date, end: dt.date) -> bool:
        better = (days for other, days in self.days.items() if rank(other) < rank(family))
        return any(_any_between(days, start, end) for days in better)

    def count(self, family: str, start: dt.date, end: dt.date | None) -> int:
        """The number of a family's lists from ``start`` until the day before ``end``."""
        days = self.days.get(family, ())
        return (bisect_left(days, end) if end else len(days)) - bisect_left(days, start)

    def before(self, family: str, day: dt.date) -> dt.date | None:
        days = self.days.get(family, ())
        at = bisect_left(days, day)
        return days[at - 1] if at else None

    def earliest_day(self, change: ListChange) -> dt.date:
        """The first day on which a change shown by two lists can have happened: some days before
        the last day on which the family's lists are known to have been kept.
        """
        after = change.after or change.by
        if rank(change.family):
            return after - BY_HAND
        changed = self.changed.get(change.family, ())
        at = bisect_right(changed, after)
        return (changed[at - 1] if at else after) - BRIEF

    def confirmed(self, statement: Statement) -> bool:
        """Whether a row of a table of changes stood on a second page."""
        family, reported = statement.source.split(":", 1)[0], statement.reported_on
        return (
            reported is None
            or not self.days.get(family)
            or self.count(family, reported + DAY, None) > 0
        )

    def late(self, statement: Statement) -> bool:
        """Whether a row of a table of changes came long after its day, on one page so far, though
        pages in between lacked it.
        """
        if statement.kind == INTERVAL or self.confirmed(statement):
            return False
        family, reported = statement.source.split(":", 1)[0], statement.reported_on
        before = self.before(family, reported) if reported else None
        return before is not None and statement.from_on < before - BRIEF

    @cached_property
    def last(self) -> dt.date | None:
        return max((day for day, _, decides in self.by_day if decides), default=None)


def rank(family: str) -> int:
    """The place of a source family among RANKS; 0 is the best."""
    return RANKS.get(family, 1)


def intervals(evidence: Evidence) -> Iterator[Statement]:
    """The intervals that each source states, those that follow one another merged: a file ends an
    interval and begins another where a ticker changes.
    """
    last: Statement | None = None
    stated = (s for s in evidence.statements if s.kind == INTERVAL)
    for statement in sorted(stated, key=lambda s: (s.source, s.from_on)):
        if last is None:
            last = statement
        elif (
            statement.source == last.source
            and last.until_on is not None
            and statement.from_on <= last.until_on + ROUNDED
        ):
            until = statement.until_on and max(last.until_on, statement.until_on)
            last = replace(statement, from_on=last.from_on, until_on=until)
        else:
            yield last
            last = statement
    if last is not None:
        yield last


_Leaving = tuple[dt.date, str | None]


def leavings(evidence: Evidence) -> tuple[list[_Leaving], list[_Leaving]]:
    """The days of leaving, with reasons, that tables of changes state, and those that files do."""
    removed = [(s.from_on, s.reason) for s in evidence.statements if s.kind == REMOVED]
    ended = [(s.until_on, s.reason) for s in intervals(evidence) if s.until_on]
    return removed, ended


def _any_between(days: Sequence[dt.date], start: dt.date, end: dt.date) -> bool:
    at = bisect_left(days, start)
    return at < len(days) and days[at] <= end
