"""Runs of lists that have a security, and which of their cells are proven.

A run ends where the lists give another ticker or date of joining, and the next one begins on the
same day: so it is known how many lists had a cell. One list proves nothing.
"""

from __future__ import annotations

import datetime as dt
from bisect import bisect_left
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TypeVar

from quant_assets.membership.deciding.evidence import ListRun

_Cell = TypeVar("_Cell")


@dataclass(frozen=True)
class ListEntry:
    """A security on a list: its ticker there, and the date of joining that the list gives."""

    symbol: str
    added_on: dt.date | None = None


def entry_on(runs: Sequence[ListRun], day: dt.date) -> ListEntry | None:
    run = next((run for run in runs if run.covers(day)), None)
    return ListEntry(run.symbol, run.added_on) if run else None


def runs_of(cells: Iterable[tuple[dt.date, ListEntry | None]]) -> list[ListRun]:
    """The runs of a security from what the list of each day has of it."""
    found: list[ListRun] = []
    for day, entry in cells:
        last = found[-1] if found and found[-1].gone_on is None else None
        if last and entry == ListEntry(last.symbol, last.added_on):
            continue
        if last:
            found[-1] = replace(last, gone_on=day)
        if entry:
            found.append(ListRun(day, None, entry.symbol, entry.added_on))
    return found


def unbroken(runs: Sequence[ListRun]) -> Iterable[list[ListRun]]:
    """Runs that follow one another without a list between them that lacks the security."""
    same: list[ListRun] = []
    for run in runs:
        if same and same[-1].gone_on != run.listed_on:
            yield same
            same = []
        same.append(run)
    if same:
        yield same


def proven(
    cells: Sequence[tuple[ListRun, _Cell]], days: Sequence[dt.date], trusted: Collection[dt.date]
) -> list[_Cell]:
    """The values that two lists gave one after another, or one that a user accepted.

    ``days`` are those of the family's lists, ``trusted`` those of accepted ones.
    """
    found = []
    for value, group in groupby(cells, key=lambda each: each[1]):
        same = [run for run, _ in group]
        start = bisect_left(days, same[0].listed_on)
        end = bisect_left(days, same[-1].gone_on or dt.date.max)
        if end - start > 1 or any(day in trusted for day in days[start:end]):
            found.append(value)
    return found
