"""The days on which a source contradicts what was decided, and in what way."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from quant_assets.membership.deciding.dates import Membership
from quant_assets.membership.deciding.evidence import (
    ADDED,
    BRIEF,
    DAY,
    Evidence,
    Lists,
    Statement,
    intervals,
)


@dataclass(frozen=True)
class Conflict:
    """Days on which a source contradicts what was decided; ``until_on`` is the first day after.

    ``says_member`` is whether the source has the security as a member on these days.
    """

    source: str
    from_on: dt.date
    until_on: dt.date | None
    symbol: str
    says_member: bool
    cause: str
    decided_by: str


def conflicts(
    memberships: Sequence[Membership], evidence: Evidence, lists: Lists
) -> tuple[Conflict, ...]:
    """The conflicts of each history file and of each family's lists with ``memberships``."""
    found: list[Conflict] = []
    decided = [(m.effective_on, m.removed_on or dt.date.max) for m in memberships]
    for source, (first, until) in lists.file_periods.items():
        stated = [s for s in intervals(evidence) if s.source == source]
        theirs = [(s.from_on, s.until_on or dt.date.max) for s in stated]
        symbols = [s.symbol for s in stated[-1:]] + [m.symbol for m in memberships[-1:]]
        ours = [(max(start, first), end) for start, end in decided if end > first]
        found += [
            _conflict(source, symbols[0], difference, memberships, theirs)
            for difference in _differences(theirs, ours)
            if difference[0] < until
        ]
    for family, runs in evidence.runs.items():
        days = lists.days.get(family, ())
        theirs = [(run.listed_on, run.gone_on or dt.date.max) for run in runs]
        for start, end, says in _differences(theirs, _clipped(decided, days)):
            # A list is edited some days early or late; its own date of the change is the true one.
            within = lists.count(family, start, None if end == dt.date.max else end)
            at_change = any(start == e or end == s for s, e in decided)
            late = end != dt.date.max and end - start <= BRIEF and at_change
            if within and not late and not (end == dt.date.max and start > days[-1]):
                difference = start, end, says
                found.append(_conflict(family, runs[-1].symbol, difference, memberships, theirs))
    return tuple(found)


def unconfirmed(row: Statement) -> Conflict:
    """The conflict of a row of a table of changes that is not followed yet."""
    joined = row.kind == ADDED
    cause = (
        f"has a row of its changes that lets it {'join' if joined else 'leave'}, on one page so far"
    )
    return Conflict(row.source, row.from_on, None, row.symbol, joined, cause, "lists")


def _clipped(
    decided: Sequence[tuple[dt.date, dt.date]], days: Sequence[dt.date]
) -> list[tuple[dt.date, dt.date]]:
    """The decided memberships on the days that a family's lists cover."""
    if not days:
        return []
    after = days[-1] + DAY
    return [
        (max(start, days[0]), dt.date.max if end > after else end)
        for start, end in decided
        if end > days[0] and start <= days[-1]
    ]


def _differences(
    theirs: Sequence[tuple[dt.date, dt.date]], ours: Sequence[tuple[dt.date, dt.date]]
) -> Iterator[tuple[dt.date, dt.date, bool]]:
    """The periods in which exactly one of two sets of intervals holds, and whether it is theirs."""
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
    memberships: Sequence[Membership],
    theirs: Sequence[tuple[dt.date, dt.date]],
) -> Conflict:
    start, end, says = difference
    near = next(
        (s for s in memberships if s.effective_on in (start, end) or s.removed_on in (start, end)),
        None,
    ) or next((s for s in memberships if s.covers(start)), None)
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
