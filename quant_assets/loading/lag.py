"""When a live source lags: how a load finds out, and how long it then leaves the source alone.

Some evenings a source has the newest session hours after the close. Whoever asks for every symbol
meanwhile learns one thing five hundred times. So a load asks in stages, and once nearly all that
were answered lack the newest session, what is due of no other is put to wait; the next load asks a
few of those first. Pure: what is put to wait, and where that is noted, is for ``loading``.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from quant_assets.contracts.prices import PriceRequest
from quant_assets.loading.report import OUTAGE_SYMBOLS, SymbolReport
from quant_assets.loading.work import PROBES

HOLD_FROM = 0.9
"""The share of the symbols answered that lack the newest session where the source lags. Higher than
that of an outage: that is told of what was asked, this decides for symbols that were not."""

LAG_SECONDS = 1800.0
"""How long symbols then wait."""


def in_stages(
    requests: Sequence[PriceRequest], probes: int
) -> Iterator[tuple[Sequence[PriceRequest], int]]:
    """Requests in the order given, with how many answers tell of a lag once they are answered.

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
class Heard:
    """What a load has heard of the newest sessions: of how many symbols, and for each that lacks
    the newest, the first of the sessions in a row that it lacks.
    """

    answered: int = 0
    lacking_from: list[dt.date] = field(default_factory=list)

    def note(self, report: SymbolReport, asked: Sequence[dt.date], newest: dt.date) -> None:
        """Take in what became of a symbol; an error says nothing of what the source has."""
        if not asked or asked[-1] != newest or (report.error and not report.silent):
            return
        self.answered += 1
        first = None
        for day in reversed(asked):
            if day not in report.silent:
                break
            first = day
        if first is not None:
            self.lacking_from.append(first)

    def lags_from(self, enough: int) -> dt.date | None:
        """The session from which on nearly all answered lack everything; None where the source
        does not lag, or fewer than ``enough`` were answered.
        """
        most = math.ceil(HOLD_FROM * self.answered)
        if self.answered < enough or len(self.lacking_from) < most:
            return None
        return sorted(self.lacking_from)[most - 1]


def lag_sentence(
    source: str, newest: dt.date, lacking: int, asked: int, retry_at: dt.datetime
) -> str:
    """Why a symbol waits; ``retry_at`` is UTC."""
    return (
        f"{source} has no {newest} yet: {lacking} of {asked} symbols asked lack it. "
        f"Held until {retry_at:%H:%M} UTC."
    )
