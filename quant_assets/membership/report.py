"""What an import did to a universe."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from quant_assets.membership.stored import MembershipRow


@dataclass(frozen=True)
class UniverseReport:
    """What an import did to a universe; ``intervals`` are all its memberships, past and present.

    ``waiting`` are members that the latest list lacks, and that leave if the next list lacks them
    too; ``conflicts`` counts the disagreements on record.
    """

    universe: str
    source: str
    members: int
    added: tuple[str, ...]
    removed: tuple[str, ...]
    intervals: tuple[MembershipRow, ...]
    notices: tuple[str, ...] = ()
    renamed: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()
    conflicts: int = 0
    passed_over: tuple[str, ...] = ()

    def tickers_since(self, day: dt.date) -> tuple[str, ...]:
        """The tickers of the members on ``day`` or later, sorted."""
        return tuple(
            sorted({i.symbol for i in self.intervals if i.removed_on is None or i.removed_on > day})
        )
