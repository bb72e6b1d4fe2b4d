"""What a source of index members answers: constituents, intervals, changes."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Protocol

from quant_assets.reference.identity import KnownIdentity


@dataclass(frozen=True)
class Constituent:
    """A member of an index as a list gives it today."""

    symbol: str
    name: str | None = None
    sector: str | None = None
    industry: str | None = None
    cik: str | None = None
    added_on: dt.date | None = None
    previous_symbol: str | None = None
    """The ticker it went by before, where the list says so."""


@dataclass(frozen=True)
class MembershipInterval:
    """A ticker's stay in an index: from ``effective_on`` until the day before ``removed_on``."""

    symbol: str
    effective_on: dt.date
    removed_on: dt.date | None
    slug: str | None = None
    """Which of several securities of that symbol, where the source itself can tell."""


@dataclass(frozen=True)
class MembershipChange:
    """A row of a table of changes: who joined, who left, or both, before the open of ``on``."""

    on: dt.date
    added: str | None = None
    removed: str | None = None
    added_name: str | None = None
    removed_name: str | None = None
    reason: str | None = None


@dataclass(frozen=True)
class UniverseAnswer:
    """The members of a universe, now (``constituents``) and over time (``intervals``).

    ``names`` are the dated names of its securities, where the source knows of renames and reuse.
    ``changes`` are dated additions and removals. ``listed_on`` is the day of the list, where that
    is not the day it was asked for. ``passed_over`` says why each better source did not answer;
    whatever comes after such a one is a fallback.
    """

    source: str
    names: tuple[KnownIdentity, ...] = ()
    constituents: tuple[Constituent, ...] = ()
    intervals: tuple[MembershipInterval, ...] = ()
    changes: tuple[MembershipChange, ...] = ()
    listed_on: dt.date | None = None
    passed_over: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()


class UniverseSource(Protocol):
    """Members of an index."""

    def fetch_universe(self) -> UniverseAnswer: ...
