"""What changed of a universe: the membership before and after a look, told as events."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import duckdb

from quant_assets.membership.constituents import Renamed
from quant_assets.membership.deciding.dates import Stay
from quant_assets.membership.deciding.decision import Decision
from quant_assets.schema.membership import MEMBERSHIP_CHANGES
from quant_assets.warehouse.writing import Writing


@dataclass(frozen=True)
class Interval:
    """A security's stay in a universe; ``removed_on`` is exclusive, or None while it lasts."""

    security_id: int
    effective_on: dt.date
    removed_on: dt.date | None
    symbol: str
    source: str
    announced_on: dt.date | None = None


@dataclass(frozen=True)
class Event:
    """A row of ``membership_changes``."""

    kind: str
    security_id: int
    symbol: str
    effective_on: dt.date
    source: str
    former_symbol: str | None = None
    announced_on: dt.date | None = None
    reason: str | None = None


def events_of(
    before: Mapping[int, Sequence[Interval]],
    after: Mapping[int, Sequence[Interval]],
    decided: Mapping[int, Decision],
    day: dt.date,
    source: str,
) -> list[Event]:
    """What changed of the membership of ``day`` and of later days."""
    events = []
    for security, decision in decided.items():
        old = _last(before.get(security, ()), day)
        new = _last(after.get(security, ()), day)
        stay = decision.stays[-1] if decision.stays else None
        if old is None and new is not None and stay:
            reason = stay.reason or _came_back(before.get(security, ()), new)
            events.append(_event("added", new, new.effective_on, source, reason))
            if new.removed_on:
                events.append(_event("removed", new, new.removed_on, source, stay.removal_reason))
        elif old is not None and new is None:
            events.append(_gone(old, after.get(security, ()), stay, day, source))
        elif old and new and old.removed_on != new.removed_on:
            if new.removed_on and not old.removed_on:
                why = stay.removal_reason if stay else None
                events.append(_event("removed", new, new.removed_on, source, why))
            elif old.removed_on and not new.removed_on:
                why = f"it was to leave on {old.removed_on}"
                events.append(_event("withdrawn", new, old.removed_on, source, why))
    return events


def unheard(con: duckdb.DuckDBPyConnection, renamed: Sequence[Renamed]) -> list[Renamed]:
    """The renamings that no other list told of before."""
    heard = con.execute(
        "select security_id, symbol, former_symbol from membership_changes where kind = 'renamed'"
    ).fetchall()
    return [r for r in renamed if (r.security_id, r.symbol, r.former_symbol) not in heard]


def _last(stays: Sequence[Interval], day: dt.date) -> Interval | None:
    """The stay that lasts on ``day`` or is to begin."""
    last = stays[-1] if stays else None
    return last if last and (last.removed_on is None or last.removed_on > day) else None


def _came_back(before: Sequence[Interval], new: Interval) -> str | None:
    left = before[-1].removed_on if before else None
    if left and new.effective_on < left:
        return f"the lists that left it out from {left} on were wrong; it never left"
    return None


def _gone(
    old: Interval, after: Sequence[Interval], stay: Stay | None, day: dt.date, source: str
) -> Event:
    if old.effective_on > day:
        why = f"it was to join on {old.effective_on}"
        return _event("withdrawn", old, old.effective_on, source, why)
    ended = after[-1].removed_on if after else None
    return _event("removed", old, ended or day, source, stay.removal_reason if stay else None)


def _event(kind: str, stay: Interval, on: dt.date, source: str, reason: str | None) -> Event:
    announced = stay.announced_on if kind == "added" else None
    return Event(
        kind, stay.security_id, stay.symbol, on, source, announced_on=announced, reason=reason
    )


def write_events(writing: Writing, universe: str, events: Sequence[Event]) -> None:
    """Number the events and write them."""
    if not events:
        return
    [(last,)] = writing.con.execute(
        "select coalesce(max(change_id), 0) from membership_changes"
    ).fetchall()
    rows = [
        {"change_id": last + place, "universe": universe, "detected_at": writing.now, **vars(event)}
        for place, event in enumerate(sorted(events, key=lambda e: (e.effective_on, e.symbol)), 1)
    ]
    writing.upsert(MEMBERSHIP_CHANGES, MEMBERSHIP_CHANGES.arrow(rows))
