"""Which history is believed where several state when one security was a member.

A file that a user imports is believed on the days that it covers, the history of an installed
library on the days before and after. What somebody looked up is always believed.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import replace

from quant_assets.membership.deciding.evidence import (
    INTERVAL,
    LIBRARY,
    Evidence,
    Lists,
    Statement,
    intervals,
)
from quant_assets.reference.index_removals import LOOKED_UP


def without_overruled(evidence: Evidence, lists: Lists) -> Evidence:
    """``evidence`` without what the library states of the days of a file that has the security.

    Where a file's interval and the library's touch at the end of the file, they are one.
    """
    stated = list(intervals(evidence))
    library = [s for s in stated if s.source.startswith(LIBRARY)]
    files = [s for s in stated if s not in library and s.source != LOOKED_UP]
    if not library or not files:
        return evidence
    periods = [lists.file_periods[s.source] for s in files]
    first, last = min(p[0] for p in periods), max(p[1] for p in periods)
    if last < lists.file_periods[library[0].source][1]:
        # What the file has as lasting, it has so on its last day.
        files = [s if s.until_on else replace(s, until_on=last) for s in files]
    outside = [part for s in library for part in _outside(s, first, last)]
    others = [s for s in evidence.statements if s.kind != INTERVAL]
    others += [s for s in stated if s.source == LOOKED_UP]
    return replace(evidence, statements=(*others, *_joined([*files, *outside])))


def _outside(stated: Statement, first: dt.date, last: dt.date) -> Iterator[Statement]:
    """The parts of an interval before ``first`` and from ``last`` on."""
    end = stated.until_on or dt.date.max
    if stated.from_on < first:
        yield replace(stated, until_on=min(end, first))
    if end > last:
        yield replace(stated, from_on=max(stated.from_on, last))


def _joined(stated: list[Statement]) -> Iterator[Statement]:
    """Intervals in order, those that touch made one, which has the source of its beginning."""
    before: Statement | None = None
    for each in sorted(stated, key=lambda s: s.from_on):
        if before and (before.until_on or dt.date.max) >= each.from_on:
            end = max(before.until_on or dt.date.max, each.until_on or dt.date.max)
            before = replace(before, until_on=None if end == dt.date.max else end)
            continue
        if before:
            yield before
        before = each
    if before:
        yield before
