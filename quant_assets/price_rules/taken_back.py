"""Events on record that their source no longer lists, or lists otherwise. Pure.

A source may take back what it said: a split moves by a day, a dividend is withdrawn, an amount is
corrected. An answer that lists the events of a span is believed for all of that span, so that any
order of answers ends where the last one alone would have.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

MOVED_DAYS = 10
"""Days by which an event may move and still be the same one."""

SAME_NUMBER = 0.01
"""Relative difference up to which two events are of one size."""

SEEN_IN_PRICES = ("overlap", "adjusted close")
"""``kind_by`` of events that only prices show: no list has named them, so none takes them back."""

ON_THE_LIST = "reference list"
"""``kind_by`` of events that the list of known spin-offs names."""


@dataclass(frozen=True)
class Event:
    """A corporate action of one security; ``recorded_at`` (UTC, naive) and the whole ``record``
    where it is on record.
    """

    ex_date: dt.date
    kind: str
    ratio: float | None = None
    amount: float | None = None
    value_factor: float | None = None
    kind_by: str = "rule"
    note: str | None = None
    recorded_at: dt.datetime | None = None
    record: Mapping[str, object] = field(default_factory=dict, compare=False, repr=False)

    @property
    def shares(self) -> float | None:
        """What a source that adjusts for the event divides earlier prices by; None of a payment."""
        return self.ratio if self.ratio is not None else self.value_factor

    @property
    def in_prices_only(self) -> bool:
        """Whether a source that adjusts for it leaves its volumes as they were."""
        return self.kind == "spin_off" and not self.is_listed

    @property
    def is_listed(self) -> bool:
        """Whether it comes from the source's own list."""
        return self.kind_by not in (*SEEN_IN_PRICES, ON_THE_LIST)

    def is_as_large_as(self, other: Event) -> bool:
        """Whether both do the same, on whichever day."""
        for mine, theirs in ((self.shares, other.shares), (self.amount, other.amount)):
            if (mine is None) != (theirs is None):
                return False
            if mine is not None and not math.isclose(mine, theirs or 0.0, rel_tol=SAME_NUMBER):
                return False
        return True

    def __str__(self) -> str:
        if self.ratio is not None:
            return f"the split of {self.ex_date} ({self.ratio:g} for 1)"
        if self.value_factor is not None:
            return f"the spin-off of {self.ex_date} (value factor {self.value_factor:.6g})"
        return f"the {self.kind.replace('_', ' ')} of {self.amount or 0:g} on {self.ex_date}"


@dataclass(frozen=True)
class TakenBack:
    """An event on record that stands no longer; ``successor`` is what it became, if anything.

    ``difference`` is its class: ``moved``, ``withdrawn``, ``corrected``, or ``reclassified`` where
    another kind of event has taken its place on its day. A corrected event keeps its key, all
    others leave the table.
    """

    event: Event
    difference: str
    successor: Event | None = None

    @property
    def sentence(self) -> str:
        if self.difference == "moved" and self.successor:
            return f"{self.event} is now listed on {self.successor.ex_date}"
        if self.difference == "corrected" and self.successor:
            return f"{self.event} is now {self.successor}"
        return f"{self.event} is no longer listed, and was withdrawn"


def taken_back(
    stored: Sequence[Event], reported: Sequence[Event], first: dt.date, last: dt.date
) -> list[TakenBack]:
    """The events ``stored`` that an answer takes back, which lists ``reported``.

    The answer lists all events from ``first`` to ``last``; what is older is beyond its reach,
    unless it has moved into it. An event that only prices show stays until a list names it on
    another day.
    """
    known = {(event.ex_date, event.kind) for event in stored}
    new = [event for event in reported if (event.ex_date, event.kind) not in known]
    found = []
    for event in stored:
        same = [r for r in reported if (r.ex_date, r.kind) == (event.ex_date, event.kind)]
        if same:
            if event.is_listed and not event.is_as_large_as(same[0]):
                found.append(TakenBack(event, "corrected", same[0]))
            continue
        successor = _successor(event, new)
        if not first <= event.ex_date <= last and not successor:
            continue
        if successor:
            new.remove(successor)
            moved = successor.ex_date != event.ex_date
            found.append(TakenBack(event, "moved" if moved else "reclassified", successor))
        elif event.is_listed and event.ex_date in {other.ex_date for other in new}:
            found.append(TakenBack(event, "reclassified"))
        elif event.is_listed:
            found.append(TakenBack(event, "withdrawn"))
    return found


def _successor(event: Event, new: Sequence[Event]) -> Event | None:
    """The event that is as large on the nearest other day, none of which was on record."""
    near = [
        other
        for other in new
        if other.is_as_large_as(event) and abs((other.ex_date - event.ex_date).days) <= MOVED_DAYS
    ]
    return min(near, key=lambda other: abs(other.ex_date - event.ex_date), default=None)
