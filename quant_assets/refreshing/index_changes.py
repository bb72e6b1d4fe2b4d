"""What changes of a universe call for: a newcomer's history, a last look at who left, a new name.

Read from ``membership_changes`` and decided here; the sensor turns it into runs. A change counts
from its effective day on, so one that is announced waits until then, or until it is withdrawn.
"""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass

import duckdb

from quant_assets.schema.membership import CHANGE_KINDS
from quant_assets.wiring.platform import Platform

ADDED, REMOVED, RENAMED, WITHDRAWN = CHANGE_KINDS

NEWS_DAYS = 90
"""A change noticed later than this is history that was imported, and calls for nothing."""


@dataclass(frozen=True)
class Change:
    """A row of ``membership_changes``, as far as it matters here."""

    change_id: int
    universe: str
    kind: str
    security_id: int
    symbol: str
    former_symbol: str | None
    effective_on: dt.date

    def describe(self) -> str:
        if self.kind == RENAMED:
            return f"{self.former_symbol} became {self.symbol} on {self.effective_on}"
        did = "joined" if self.kind == ADDED else "left"
        return f"{self.symbol} {did} {self.universe} on {self.effective_on}"


@dataclass(frozen=True)
class Seen:
    """How far the changes have been seen: all up to ``last``, but those ``waiting`` for their day.
    Kept as text between two looks.
    """

    last: int = 0
    waiting: tuple[int, ...] = ()

    @classmethod
    def of(cls, text: str) -> Seen:
        held = json.loads(text)
        return cls(held["last"], tuple(held["waiting"]))

    def to_text(self) -> str:
        return json.dumps({"last": self.last, "waiting": self.waiting})


@dataclass(frozen=True)
class Work:
    """The changes that are due, by what they call for, in their order; ``waiting`` are those of
    days to come.
    """

    seen: Seen
    added: tuple[Change, ...] = ()
    removed: tuple[Change, ...] = ()
    renamed: tuple[Change, ...] = ()
    waiting: tuple[Change, ...] = ()


def membership_work(platform: Platform, cursor: str | None) -> Work:
    """What is due since the last look; a first look begins behind the newest change."""
    seen = Seen.of(cursor) if cursor else Seen()
    if not platform.warehouse.exists():
        return Work(seen)
    platform.warehouse.migrate()
    today = platform.clock().date()
    with platform.warehouse.reading() as con:
        changes = _news(con, seen)
        due = [change for change in changes if cursor and change.effective_on <= today]
        [(last,)] = con.execute(
            "select coalesce(max(change_id), 0) from membership_changes"
        ).fetchall()
    waiting = tuple(change for change in changes if change.effective_on > today)
    return Work(
        Seen(last, tuple(change.change_id for change in waiting)),
        added=tuple(change for change in due if change.kind == ADDED),
        removed=tuple(change for change in due if change.kind == REMOVED),
        renamed=tuple(change for change in due if change.kind == RENAMED),
        waiting=waiting,
    )


def _news(con: duckdb.DuckDBPyConnection, seen: Seen) -> list[Change]:
    """Changes not dealt with yet, in their order, without those taken back."""
    rows = con.execute(
        "select change_id, universe, kind, security_id, symbol, former_symbol, effective_on"
        " from membership_changes c"
        " where (change_id > $last or list_contains($waiting::bigint[], change_id))"
        " and kind <> $withdrawn"
        " and effective_on > detected_at::date - $news_days::integer"
        " and not exists (from membership_changes w where w.kind = $withdrawn"
        "  and w.change_id > c.change_id and w.universe = c.universe"
        "  and w.security_id = c.security_id and w.effective_on = c.effective_on)"
        " order by change_id",
        {
            "last": seen.last,
            "waiting": list(seen.waiting),
            "withdrawn": WITHDRAWN,
            "news_days": NEWS_DAYS,
        },
    ).fetchall()
    return [Change(*row) for row in rows]
