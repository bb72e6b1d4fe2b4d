"""The rows of memberships and lists as stored: read and replaced."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import duckdb

from quant_assets.contracts.membership import Constituent, UniverseAnswer
from quant_assets.membership.deciding.dates import Membership
from quant_assets.schema.membership import MEMBERSHIP_LISTS
from quant_assets.schema.table import Table
from quant_assets.warehouse.writing import Writing, listed_ids


@dataclass(frozen=True)
class MembershipRow:
    """A row of ``universe_membership``; ``removed_on`` is exclusive, or None while it lasts."""

    security_id: int
    effective_on: dt.date
    removed_on: dt.date | None
    symbol: str
    source: str
    announced_on: dt.date | None = None

    @classmethod
    def of(cls, security_id: int, membership: Membership) -> MembershipRow:
        return cls(
            security_id,
            membership.effective_on,
            membership.removed_on,
            membership.symbol,
            membership.source,
            membership.announced_on,
        )


def stored_memberships(
    con: duckdb.DuckDBPyConnection, universe: str
) -> dict[int, tuple[MembershipRow, ...]]:
    """The memberships of each security in a universe, in order."""
    rows = con.execute(
        "select security_id, effective_on, removed_on, symbol, source, announced_on"
        " from universe_membership where universe = ? order by security_id, effective_on",
        [universe],
    ).fetchall()
    found: dict[int, tuple[MembershipRow, ...]] = {}
    for row in rows:
        found[row[0]] = (*found.get(row[0], ()), MembershipRow(*row))
    return found


def last_membership(rows: Sequence[MembershipRow], day: dt.date) -> MembershipRow | None:
    """The membership that lasts on ``day`` or begins later."""
    last = rows[-1] if rows else None
    return last if last and (last.removed_on is None or last.removed_on > day) else None


def first_listed(con: duckdb.DuckDBPyConnection) -> dict[int, dt.date]:
    """The first session of each security that only snapshots of the market know: it bore its
    ticker from then on, and what a list says of earlier days may be of another company.
    """
    rows = con.execute(
        "select security_id, min(session) from market_snapshot m"
        " where not exists (from daily_prices p where p.security_id = m.security_id)"
        "  and not exists (from universe_membership u where u.security_id = m.security_id)"
        " group by 1"
    ).fetchall()
    return dict(rows)


def traded_since(
    con: duckdb.DuckDBPyConnection, left: Mapping[int, dt.date | None], day: dt.date
) -> set[int]:
    """The securities among ``left`` whose prices go on until ``day`` without a pause of 30 days."""
    return {
        row[0]
        for row in con.execute(
            "select security_id from (select security_id, session, session - lag(session) over"  # noqa: S608 - ids of ours
            " (partition by security_id order by session) as pause from (select distinct"
            f" security_id, session from daily_prices where security_id in"
            f" ({listed_ids(sorted(left))})))"
            " group by security_id having max(session) > ? and max(pause) < 30",
            [day - dt.timedelta(days=30)],
        ).fetchall()
    }


def last_sessions(
    con: duckdb.DuckDBPyConnection, securities: Collection[int]
) -> dict[int, dt.date]:
    """The last session that is stored of each security."""
    rows = con.execute(
        "select security_id, max(session) from daily_prices where security_id in"  # noqa: S608 - ids of ours
        f" ({listed_ids(sorted(securities))}) group by 1"
    ).fetchall()
    return dict(rows)


def replace_rows(
    writing: Writing,
    table: Table,
    universe: str,
    securities: Iterable[int],
    rows: Sequence[Mapping[str, object]],
) -> None:
    """Let ``rows`` be all rows of ``table`` for these securities in a universe."""
    kept = {row["security_id"] for row in rows}
    emptied = [security for security in securities if security not in kept]
    if emptied:
        writing.con.execute(
            f"delete from {table.name} where universe = ?"  # noqa: S608 - our table and ids
            f" and security_id in ({listed_ids(emptied)})",
            [universe],
        )
    writing.upsert(table, table.arrow(rows), supersede=("universe", "security_id"))


def write_list(
    writing: Writing,
    universe: str,
    answer: UniverseAnswer,
    day: dt.date,
    *,
    refused: str | None = None,
    trusted: bool = False,
) -> None:
    """Note that a source gave a list, and why it was ``refused`` if it was."""
    row = {
        "universe": universe,
        "source": answer.source,
        "listed_on": day,
        "accepted": refused is None,
        "trusted": trusted,
        "members": len(each_symbol_once(answer.constituents)),
        "reason": refused,
    }
    writing.upsert(MEMBERSHIP_LISTS, MEMBERSHIP_LISTS.arrow([row]))
    # The upsert leaves an unchanged row alone, but it was fetched again.
    writing.con.execute(
        "update membership_lists set fetched_at = ? where (universe, source, listed_on, accepted)"
        " = (?, ?, ?, ?)",
        [writing.now, universe, answer.source, day, refused is None],
    )


def each_symbol_once(lines: Iterable[Constituent]) -> list[Constituent]:
    """The first line of each symbol."""
    found: dict[str, Constituent] = {}
    for line in lines:
        found.setdefault(line.symbol, line)
    return list(found.values())
