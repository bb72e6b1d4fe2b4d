"""The answer of a source of index members: today's constituents, intervals, dated changes."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Protocol

from quant_assets.reference.identity import KnownIdentity


@dataclass(frozen=True)
class Constituent:
    """A line of a list of members; ``added_on`` is the date of joining that the list gives."""

    symbol: str
    name: str | None = None
    sector: str | None = None
    industry: str | None = None
    cik: str | None = None
    added_on: dt.date | None = None
    previous_symbol: str | None = None
    """The ticker before a renaming, where the list gives it."""


@dataclass(frozen=True)
class MembershipInterval:
    """A ticker's membership of an index, as a source states it: from ``effective_on`` until the day
    before ``removed_on``, which is None while it lasts.
    """

    symbol: str
    effective_on: dt.date
    removed_on: dt.date | None
    slug: str | None = None
    """The one of several securities of that symbol, where the source itself can tell."""
    source: str | None = None
    """The source of this interval, where it is not that of the answer."""
    company: Constituent | None = None
    """What the source knows of the company today."""


@dataclass(frozen=True)
class MembershipChange:
    """A row of a table of changes: a joining, a leaving, or both, before the open of ``on``."""

    on: dt.date
    added: str | None = None
    removed: str | None = None
    added_name: str | None = None
    removed_name: str | None = None
    reason: str | None = None


@dataclass(frozen=True)
class UniverseAnswer:
    """The members of a universe now (``constituents``) and over time (``intervals``, ``changes``).

    ``names`` are dated names of its securities, where the source knows of renamings and reused
    tickers. ``listed_on`` is the day of the list, where it is not the day of the request.
    ``passed_over`` has the reason why each better source did not answer; an answer that has some
    is a fallback's. ``unread`` are rows of the list without a symbol of their own.
    """

    source: str
    names: tuple[KnownIdentity, ...] = ()
    constituents: tuple[Constituent, ...] = ()
    intervals: tuple[MembershipInterval, ...] = ()
    changes: tuple[MembershipChange, ...] = ()
    listed_on: dt.date | None = None
    passed_over: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()
    unread: tuple[Constituent, ...] = ()


class Remark(str):
    """A notice that asks nothing of the user: nothing was lost."""


class UniverseSource(Protocol):
    """A source of the members of an index."""

    def fetch_universe(self) -> UniverseAnswer: ...
