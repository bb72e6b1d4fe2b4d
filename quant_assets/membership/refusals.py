"""The limits of a believable list of members, and the errors of lists that break them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from quant_assets.reference.errors import UsageError

PLAUSIBLE_SIZE = {"sp500": range(490, 516)}
"""Plausible sizes of the list of an index; with share classes the S&P 500 has some 503 lines."""

CHANGES_AT_ONCE = 10

CHANGES_A_MONTH = 6
"""Changes that a list may bring, in all and more for each month since the last list. The index has
about 1.5 a month and four at a quarter's end, and lists of others are up to half a year behind."""


def allowed_changes(since: dt.date, day: dt.date) -> int:
    """The changes that the time between two lists explains, in either direction."""
    return CHANGES_AT_ONCE + round(CHANGES_A_MONTH * abs((day - since).days) / 30.4)


class RefusedUniverseError(UsageError, ValueError):
    """A list that was refused; nothing was changed. ``why`` is the reason as a sentence."""

    advice = "If it is right, say quant-assets universe import --accept."

    def __init__(self, universe: str, source: str, why: str) -> None:
        super().__init__(
            f"{why} The list of {source} was refused and nothing of {universe} was changed. "
            f"{self.advice}"
        )
        self.universe = universe
        self.source = source
        self.why = why


class FutureListError(RefusedUniverseError):
    """A list of a day that has not come, which would overrule every list until then."""

    advice = "Give the day of the list with --on, or set the clock right."

    def __init__(self, universe: str, source: str, listed_on: dt.date, today: dt.date) -> None:
        super().__init__(universe, source, f"The list is of {listed_on}, and today is {today}.")


class ImplausibleUniverseError(RefusedUniverseError):
    """A list whose size no list of the index can have."""

    def __init__(self, universe: str, source: str, size: int, sizes: range) -> None:
        super().__init__(
            universe,
            source,
            f"The list has {size} members; {universe} has {sizes.start} to {sizes.stop - 1}.",
        )


class TooManyChangesError(RefusedUniverseError):
    """A list that differs too much from the last accepted list of its source, or from what is known
    where it is the first.
    """

    advice = (
        "If it is of another day, give that day with --on; if the list before it was wrong, undo "
        "that one with quant-assets universe take-back; if it is right, say quant-assets universe "
        "import --accept."
    )

    def __init__(
        self,
        universe: str,
        source: str,
        changes: tuple[Sequence[str], Sequence[str], Sequence[str]],
        since: dt.date,
        allowed: int,
    ) -> None:
        new, gone, renamed = changes
        tickers = f", and new tickers of {len(renamed)} ({_first_five(renamed)})" if renamed else ""
        super().__init__(
            universe,
            source,
            f"The list brings {len(new)} new members ({_first_five(new)}) and lacks {len(gone)} "
            f"({_first_five(gone)}){tickers}; the time since {since} explains {allowed} at most.",
        )


def _first_five(symbols: Sequence[str]) -> str:
    more = f", … {len(symbols) - 5} more" if len(symbols) > 5 else ""
    return f"{', '.join(symbols[:5])}{more}" if symbols else "none"
