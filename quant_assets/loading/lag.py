"""When a live source lags: how a load finds out, and how long it then leaves the source alone.

Some evenings a source has the newest session hours after the close. A load that requests every
symbol meanwhile learns one thing five hundred times. So it requests in batches, and once nearly all
symbols that were answered lack the newest session, the rest of them wait; the next load asks for a
few of those first.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from quant_assets.contracts.source import Request
from quant_assets.loading.report import OUTAGE_SYMBOLS, SymbolReport
from quant_assets.loading.work import PROBES

WAIT_FROM = 0.9
"""The share of the symbols answered that lack the newest session where the source lags. It is
higher than that of an outage, since it decides for symbols that were not requested."""

LAG_SECONDS = 1800.0
"""How long symbols then wait."""


def batches(requests: Sequence[Request], probes: int) -> Iterator[tuple[Sequence[Request], int]]:
    """Requests in the order given, with how many answers show a lag once they are answered.

    First the ``probes``, symbols that have waited before, if there are enough to tell; then ten,
    and twice as many each time.
    """
    done, size = 0, OUTAGE_SYMBOLS
    if probes >= PROBES:
        done = probes
        yield requests[:done], PROBES
    while done < len(requests):
        yield requests[done : done + size], OUTAGE_SYMBOLS
        done, size = done + size, size * 2


@dataclass
class LagWatch:
    """What a load learns of the ``newest`` day, which a live source may deliver late; None where
    the load does not wait for it.

    ``answered`` counts the symbols requested for that day, ``lacking_from`` has for each that lacks
    it the first of the days in a row that it lacks. ``since`` is the day from which on the source
    was found to lag, ``unrequested`` are symbols that were put to wait without a request.
    """

    newest: dt.date | None
    answered: int = 0
    lacking_from: list[dt.date] = field(default_factory=list)
    since: dt.date | None = None
    unrequested: tuple[str, ...] = ()

    def lags(self, report: SymbolReport) -> bool:
        """Whether the source was silent on the newest day of a symbol."""
        return self.newest is not None and self.newest in report.silent

    def note(self, report: SymbolReport, requested: Sequence[dt.date]) -> None:
        """Take in what became of a symbol; an error says nothing of what the source has."""
        if not requested or requested[-1] != self.newest or (report.error and not report.silent):
            return
        self.answered += 1
        first = None
        for day in reversed(requested):
            if day not in report.silent:
                break
            first = day
        if first is not None:
            self.lacking_from.append(first)

    def lagging_since(self, enough: int) -> dt.date | None:
        """The day from which on nearly all answered lack everything; None where the source does
        not lag, or fewer than ``enough`` were answered.
        """
        most = math.ceil(WAIT_FROM * self.answered)
        if self.answered < enough or len(self.lacking_from) < most:
            return None
        return sorted(self.lacking_from)[most - 1]

    def sentence(self, source: str, retry_at: dt.datetime) -> str:
        """Why a symbol waits; ``retry_at`` is UTC."""
        return (
            f"{source} has no {self.newest} yet: {len(self.lacking_from)} of {self.answered} "
            f"symbols asked lack it. Held until {retry_at:%H:%M} UTC."
        )
