"""What an import or a user changed of a universe, as rows of ``membership_changes``."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import duckdb

from quant_assets.membership.constituents import Renaming
from quant_assets.membership.deciding.dates import Membership
from quant_assets.membership.deciding.decision import Decision
from quant_assets.membership.stored import MembershipRow, last_membership
from quant_assets.schema.membership import MEMBERSHIP_CHANGES
from quant_assets.warehouse.writing import Writing


@dataclass(frozen=True)
class ChangeRow:
    """A row of ``membership_changes`` before it is numbered."""

    kind: str
    security_id: int
    symbol: str
    effective_on: dt.date
    source: str
    former_symbol: str | None = None
    announced_on: dt.date | None = None
    reason: str | None = None


def changes_between(
    before: Mapping[int, Sequence[MembershipRow]],
    after: Mapping[int, Sequence[MembershipRow]],
    decided: Mapping[int, Decision],
    day: dt.date,
    source: str,
) -> list[ChangeRow]:
    """What changed of the memberships that last on ``day`` or begin later."""
    changes = []
    for security, decision in decided.items():
        old = last_membership(before.get(security, ()), day)
        new = last_membership(after.get(security, ()), day)
        latest = decision.memberships[-1] if decision.memberships else None
        why_removed = latest.removal_reason if latest else None
        if old is None and new is not None and latest:
            why_added = latest.reason or _correction(before.get(security, ()), new)
            changes.append(_change("added", new, new.effective_on, source, why_added))
            if new.removed_on:
                changes.append(_change("removed", new, new.removed_on, source, why_removed))
        elif old is not None and new is None:
            changes.append(_ended(old, latest, day, source))
        elif old and new and old.removed_on != new.removed_on:
            if new.removed_on and not old.removed_on:
                changes.append(_change("removed", new, new.removed_on, source, why_removed))
            elif old.removed_on and not new.removed_on:
                why = f"it was to leave on {old.removed_on}"
                changes.append(_change("withdrawn", new, old.removed_on, source, why))
    return changes


def _correction(before: Sequence[MembershipRow], new: MembershipRow) -> str | None:
    left = before[-1].removed_on if before else None
    if left and new.effective_on < left:
        return f"the lists that left it out from {left} on were wrong; it never left"
    return None


def _ended(old: MembershipRow, latest: Membership | None, day: dt.date, source: str) -> ChangeRow:
    if old.effective_on > day:
        why = f"it was to join on {old.effective_on}"
        return _change("withdrawn", old, old.effective_on, source, why)
    if latest is None:
        return _change("removed", old, day, source, None)
    return _change("removed", old, latest.removed_on or day, source, latest.removal_reason)


def _change(
    kind: str, row: MembershipRow, on: dt.date, source: str, reason: str | None
) -> ChangeRow:
    announced = row.announced_on if kind == "added" else None
    return ChangeRow(
        kind, row.security_id, row.symbol, on, source, announced_on=announced, reason=reason
    )


def new_renamings(con: duckdb.DuckDBPyConnection, renamed: Sequence[Renaming]) -> list[Renaming]:
    """The renamings that are not on record yet."""
    recorded = con.execute(
        "select security_id, symbol, former_symbol from membership_changes where kind = 'renamed'"
    ).fetchall()
    return [r for r in renamed if (r.security_id, r.symbol, r.former_symbol) not in recorded]


def write_changes(writing: Writing, universe: str, changes: Sequence[ChangeRow]) -> None:
    """Number the changes, in their order, and write them."""
    [(last,)] = writing.con.execute(
        "select coalesce(max(change_id), 0) from membership_changes"
    ).fetchall()
    rows = [
        {"change_id": number, "universe": universe, **vars(change)}
        for number, change in enumerate(changes, last + 1)
    ]
    writing.upsert(MEMBERSHIP_CHANGES, MEMBERSHIP_CHANGES.arrow(rows))
