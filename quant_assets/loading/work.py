"""What a load is asked to do: the window, how far to look back, and the plan made from both."""

from __future__ import annotations

import datetime as dt
from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field

from quant_assets.contracts.source import Request, SourceProfile
from quant_assets.loading.tasks import Task

PROBES = 3
"""How many waiting symbols are requested first: they tell whether it is time for the rest."""


@dataclass(frozen=True)
class Window:
    """Symbols over ``start`` to ``end``, both included; what a user or a partition asks for.

    ``starts`` are the first days wanted of symbols that begin later than ``start``.
    """

    symbols: tuple[str, ...]
    start: dt.date
    end: dt.date
    starts: Mapping[str, dt.date] = field(default_factory=dict)


@dataclass(frozen=True)
class Asking:
    """How to ask, beyond what is due.

    A request at a source that is live or restates looks back ``look_back_days``, and at all that is
    stored where that was last done ``full_look_back_days`` ago; with ``look_back_everywhere`` so do
    others, whose archive may have been corrected. With ``heed_tasks`` symbols are left alone that
    were given up, or that are not to be requested yet. At most ``most_requests`` are made.
    ``priority`` is that of the symbols; None keeps what they have.
    """

    look_back_days: int = 365
    full_look_back_days: int = 30
    look_back_everywhere: bool = False
    priority: str | None = None
    most_requests: int | None = None
    heed_tasks: bool = False

    def looks_back_at(self, source: SourceProfile) -> bool:
        return source.live or source.restates or self.look_back_everywhere


@dataclass(frozen=True)
class Plan:
    """What a load will ask a source for.

    ``requests`` are due, ``up_to_date`` symbols have everything already. ``days`` are those of the
    window that can be requested, ``due`` the number of symbol-days missing. ``requested_before``
    are symbols that another run of the same backfill was sent for, each with its error if any;
    ``recorded`` counts the symbols that loads of this dataset and source had recorded when the plan
    was made. ``left`` are symbols with something due that are not to be requested now, each with
    why not; ``postponed`` those that no request was left for. ``tasks`` are the tasks of the
    requests, by symbol; ``fulfilled`` those that are open although nothing is due. ``probes`` are
    the first of the symbols requested: a few of those that had to wait.
    """

    source: SourceProfile
    window: Window
    days: tuple[dt.date, ...]
    requests: tuple[Request, ...]
    up_to_date: tuple[str, ...]
    due: int
    requested_before: Mapping[str, str | None] = field(default_factory=dict)
    recorded: int = 0
    left: Mapping[str, str] = field(default_factory=dict)
    tasks: Mapping[str, Task] = field(default_factory=dict)
    fulfilled: tuple[Task, ...] = ()
    postponed: tuple[str, ...] = ()
    probes: tuple[str, ...] = ()

    def requested_days(self, request: Request) -> tuple[dt.date, ...]:
        """The days a request covers, ascending."""
        first = bisect_left(self.days, request.start)
        return self.days[first : bisect_right(self.days, request.end)]
