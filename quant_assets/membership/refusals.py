"""Lists of members that are refused, and the limits that they break."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from quant_assets.reference.errors import UsageError

PLAUSIBLE_SIZE = {"sp500": range(490, 516)}
"""Sizes of a list that can be the index: share classes make the S&P 500 some 503 lines."""

CHANGES_AT_ONCE = 10

CHANGES_A_MONTH = 6
"""Changes that a list may bring: the index has about 1.5 a month, four at a quarter's end, and the
lists of others are sometimes half a year behind."""


class RefusedUniverseError(UsageError, ValueError):
    """A list that is not believed; nothing was changed."""

    def __init__(self, universe: str, source: str, why: str) -> None:
        super().__init__(
            f"{why} The list of {source} was refused and nothing of {universe} was changed. If it "
            "is right, say quant-assets universe import --accept."
        )
        self.universe = universe
        self.source = source
        self.why = why


class ImplausibleUniverseError(RefusedUniverseError):
    """A list that can't be the index it claims to be."""

    def __init__(self, universe: str, source: str, size: int, sizes: range) -> None:
        super().__init__(
            universe,
            source,
            f"The list has {size} members; {universe} has {sizes.start} to {sizes.stop - 1}.",
        )


class TooManyChangesError(RefusedUniverseError):
    """A list that differs too much from the last one that was believed."""

    def __init__(
        self,
        universe: str,
        source: str,
        changes: tuple[Sequence[str], Sequence[str]],
        since: dt.date,
        allowed: int,
    ) -> None:
        new, gone = changes
        super().__init__(
            universe,
            source,
            f"The list brings {len(new)} new members ({some_of(new)}) and lacks {len(gone)} "
            f"({some_of(gone)}); the time since {since} explains {allowed} at most.",
        )


def some_of(symbols: Sequence[str]) -> str:
    more = f", … {len(symbols) - 5} more" if len(symbols) > 5 else ""
    return f"{', '.join(symbols[:5])}{more}" if symbols else "none"
