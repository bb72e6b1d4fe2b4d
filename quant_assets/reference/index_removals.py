"""Days on which members left an index, looked up where a history file has another day and nothing
in it tells which of the members that left with it are concerned.
"""

from __future__ import annotations

import csv
import datetime as dt
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

LOOKED_UP = "looked up"
"""The source of what somebody looked up: these days, and the memberships in ``memberships.csv``."""


@dataclass(frozen=True)
class IndexRemoval:
    """A member that left an index before the open of ``removed_on``."""

    universe: str
    symbol: str
    removed_on: dt.date
    reason: str


@lru_cache
def index_removals() -> tuple[IndexRemoval, ...]:
    """The looked-up removals, from ``index_removals.csv``."""
    path = resources.files("quant_assets.reference") / "index_removals.csv"
    with path.open(encoding="utf-8") as lines:
        return tuple(
            IndexRemoval(
                row["universe"],
                row["symbol"],
                dt.date.fromisoformat(row["removed_on"]),
                row["reason"],
            )
            for row in csv.DictReader(lines)
        )
