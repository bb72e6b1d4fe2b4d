"""Which changes of universes are due to cause work: joinings, leavings and renamings.

They are read from ``membership_changes``; ``sense_index_changes`` turns them into runs. A change is
due from its effective day on, so an announced one waits until that day, or until it is withdrawn.
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
"""A change that was recorded this many days after its effective day is imported history and causes
no work."""


@dataclass(frozen=True)
class UniverseChange:
    """The columns of a row of ``membership_changes`` that decide what work it causes."""

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
        verb = "joined" if self.kind == ADDED else "left"
        return f"{self.symbol} {verb} {self.universe} on {self.effective_on}"


@dataclass(frozen=True)
class Cursor:
    """How far changes were handled: all ids up to ``last``, except those ``waiting`` for their day.

    The sensor keeps it as text between two evaluations.
    """

    last: int = 0
    waiting: tuple[int, ...] = ()

    @classmethod
    def of(cls, text: str) -> Cursor:
        stored = json.loads(text)
        return cls(stored["last"], tuple(stored["waiting"]))

    def to_text(self) -> str:
        return json.dumps({"last": self.last, "waiting": self.waiting})


@dataclass(frozen=True)
class DueChanges:
    """Due changes by kind, in the order of their ids; ``waiting`` take effect on a later day."""

    cursor: Cursor
    added: tuple[UniverseChange, ...] = ()
    removed: tuple[UniverseChange, ...] = ()
    renamed: tuple[UniverseChange, ...] = ()
    waiting: tuple[UniverseChange, ...] = ()


def due_changes(platform: Platform, cursor_text: str | None) -> DueChanges:
    """The changes due since the cursor was kept, and the next cursor.

    Without a cursor no recorded change is due, only those of days to come.
    """
    cursor = Cursor.of(cursor_text) if cursor_text else Cursor()
    if not platform.warehouse.exists():
        return DueChanges(cursor)
    platform.warehouse.migrate()
    today = platform.clock().date()
    with platform.warehouse.reading() as con:
        changes = _unhandled(con, cursor)
        [(last,)] = con.execute(
            "select coalesce(max(change_id), 0) from membership_changes"
        ).fetchall()
    due = [change for change in changes if cursor_text and change.effective_on <= today]
    waiting = tuple(change for change in changes if change.effective_on > today)
    added, removed, renamed = (
        tuple(change for change in due if change.kind == kind) for kind in (ADDED, REMOVED, RENAMED)
    )
    next_cursor = Cursor(last, tuple(change.change_id for change in waiting))
    return DueChanges(next_cursor, added, removed, renamed, waiting)


def _unhandled(con: duckdb.DuckDBPyConnection, cursor: Cursor) -> list[UniverseChange]:
    """Changes that the cursor has not passed, in the order of their ids, without withdrawn ones."""
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
            "last": cursor.last,
            "waiting": list(cursor.waiting),
            "withdrawn": WITHDRAWN,
            "news_days": NEWS_DAYS,
        },
    ).fetchall()
    return [UniverseChange(*row) for row in rows]
