"""From spans to memberships: the days on which a security joined and left, by the best statement.

A statement is believed where lists bear it out. Days that no list covers: ``unlisted``.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from quant_assets.membership.deciding.evidence import (
    ADDED,
    AHEAD,
    BRIEF,
    DAY,
    ROUNDED,
    SAME_EVENT,
    WEEKEND,
    Evidence,
    ListChange,
    ListRun,
    Lists,
    Statement,
    intervals,
    leavings,
)
from quant_assets.membership.deciding.observed import Span


@dataclass(frozen=True)
class Membership:
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
    span: Span, runs: Mapping[str, Sequence[ListRun]], evidence: Evidence, lists: Lists
) -> Membership:
    """The membership of a span, with the dates of statements that lists bear out, else of lists."""
    own = [r for r in runs[span.joined.family] if r.covers(span.joined.by)]
    run = own[0] if own else ListRun(span.joined.by, None, "")
    start, source, reason = _start(span.joined, run, evidence, lists)
    last = [r for r in runs.get(span.joined.family, ()) if r.listed_on >= run.listed_on]
    symbol = _symbol(last[-1:] or [run], evidence)
    end, why = _end(span.left, evidence, lists) if span.left else (None, None)
    end = end and max(end, start + DAY)
    return Membership(start, end, symbol, source, reason=reason, removal_reason=why)


def _symbol(runs: Sequence[ListRun], evidence: Evidence) -> str:
    return next(
        (run.symbol for run in runs if run.symbol),
        next((s.symbol for s in evidence.statements), ""),
    )


_Joining = tuple[dt.date, str, str | None]
"""A day of joining, its source and its reason."""


def _start(change: ListChange, run: ListRun, evidence: Evidence, lists: Lists) -> _Joining:
    added = [(s.from_on, s.source, s.reason) for s in evidence.statements if s.kind == ADDED]
    earliest = evidence.known_since or dt.date.min  # a successor has its predecessor's date
    column = [(max(run.added_on, earliest), change.family, None)] if run.added_on else []
    files = [(s.from_on, s.source, s.reason) for s in intervals(evidence)]
    if change.after is None:
        return _start_of_first(change, added, column, evidence)
    since = lists.earliest_day(change)
    possible = [j for j in (*added, *column, *files) if since <= j[0] <= change.by + AHEAD]
    if not possible:
        return change.by, change.family, None
    return _sharpened(possible[0], files, ROUNDED if possible[0] in column else WEEKEND)


def _sharpened(joining: _Joining, files: Sequence[_Joining], by: dt.timedelta) -> _Joining:
    """A joining with the more exact day of a history file, where there is one within ``by``.

    Nobody joins on a day off. A Friday may be the last close before, where a file has Monday.
    """
    day, source, reason = joining
    exact = [file for file, _, _ in files if abs(file - day) <= by]
    if by == WEEKEND:
        exact = [file for file in exact if day.weekday() == 4 and file == day + WEEKEND]
    if exact:
        return min(exact, key=lambda file: abs(file - day)), source, reason
    return day + DAY * (7 - day.weekday() if day.weekday() > 4 else 0), source, reason


def _start_of_first(
    change: ListChange, added: Sequence[_Joining], column: Sequence[_Joining], evidence: Evidence
) -> _Joining:
    """The joining of a member of the very first list."""
    earliest = evidence.known_since or dt.date.min
    possible = [j for j in (*added, *column) if earliest <= j[0] <= change.by + AHEAD]
    covering = _interval_at(evidence, change.by)
    if covering:
        file = covering.from_on, covering.source, covering.reason
        close = [
            j
            for j in possible
            if abs(j[0] - covering.from_on) <= SAME_EVENT
            and (j in added or not stands_for_month(j[0]))
        ]
        if not close:
            return file
        return _sharpened(close[0], [file], ROUNDED if close[0] in column else WEEKEND)
    removed, ended = leavings(evidence)
    left = max((d for d, _ in (*removed, *ended) if d <= change.by), default=dt.date.min)
    possible = [j for j in possible if j[0] >= left]
    if possible:
        return possible[0]
    listed = column[0][0] if column else change.by
    return max(min(listed, change.by), left, earliest), change.family, None


def stands_for_month(day: dt.date) -> bool:
    """Whether a date is the first day or last weekday of a month, and so stands for the month.

    Of 13 joinings before 2013 that a list dates more than four days off a history file, eight are
    dated so; of the seven after 2022 that observed lists bear out, none.
    """
    later = day + DAY * (3 if day.weekday() == 4 else 1)
    return day.day == 1 or later.month != day.month


def _interval_at(evidence: Evidence, day: dt.date) -> Statement | None:
    """The stated interval that covers ``day``."""
    return next(
        (
            s
            for s in intervals(evidence)
            if s.from_on <= day and (s.until_on is None or day < s.until_on)
        ),
        None,
    )


def _end(change: ListChange, evidence: Evidence, lists: Lists) -> tuple[dt.date, str | None]:
    """The day of leaving and its reason: of a table of changes, else of the successor's joining,
    else of a file.
    """
    since, until = lists.earliest_day(change), change.by + BRIEF
    removed, ended = leavings(evidence)
    possible = [each for each in removed if since <= each[0] <= until]
    successors = [] if possible else _successors(change, lists)
    possible += [(day, None) for day in successors[:1]]
    possible += [each for each in ended if since <= each[0] <= until]
    return possible[0] if possible else (change.by, None)


def _successors(change: ListChange, lists: Lists) -> list[dt.date]:
    """The joining dates of those on the lists in its place, nearest lists first: the index replaces
    a member before the same open.
    """
    joined = lists.joined.get(change.family, {})
    if change.after is None:
        return []
    since = change.after - BRIEF
    near = (change.by + DAY * offset for offset in (0, -1, 1, -2, 2, -3, 3))
    found = [[d for d in joined.get(day, ()) if since <= d <= change.by + BRIEF] for day in near]
    if change.by - change.after > BRIEF and len({day for days in found for day in days}) > 1:
        return []  # several joined between lists far apart: which one is the successor is unknown
    if any(found):
        return [max(days) for days in found if days]
    # The successor may be listed once it is announced, and the member until somebody thinks of it.
    listed = (d for day, days in joined.items() if abs(day - change.by) <= AHEAD for d in days)
    return sorted({d for d in listed if change.by - BRIEF <= d <= change.by}, reverse=True)


def merged(memberships: Iterable[Membership]) -> list[Membership]:
    """Memberships in order, those that touch merged: a change of ticker is no leaving."""
    result: list[Membership] = []
    for membership in sorted(memberships, key=lambda m: m.effective_on):
        last = result[-1] if result else None
        if last is None or (
            last.removed_on is not None and last.removed_on < membership.effective_on
        ):
            result.append(membership)
            continue
        ends = (last.removed_on, membership.removed_on)
        end = None if None in ends else max(e for e in ends if e)
        later = membership if end == membership.removed_on else last
        result[-1] = replace(
            last, removed_on=end, symbol=later.symbol, removal_reason=later.removal_reason
        )
    return result
