"""Membership rows as stored: read into intervals, and replaced."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence

import duckdb

from quant_assets.contracts.membership import Constituent, UniverseAnswer
from quant_assets.membership.changes import Interval
from quant_assets.membership.deciding.conflicts import Conflict
from quant_assets.membership.deciding.dates import Stay
from quant_assets.schema.membership import MEMBERSHIP_LISTS
from quant_assets.schema.table import Table
from quant_assets.warehouse.writing import Writing, listed_ids


def stored_intervals(
    con: duckdb.DuckDBPyConnection, universe: str
) -> dict[int, tuple[Interval, ...]]:
    """The intervals on record, by security and in order."""
    rows = con.execute(
        "select security_id, effective_on, removed_on, symbol, source, announced_on"
        " from universe_membership where universe = ? order by security_id, effective_on",
        [universe],
    ).fetchall()
    held: dict[int, tuple[Interval, ...]] = {}
    for row in rows:
        held[row[0]] = (*held.get(row[0], ()), Interval(*row))
    return held


def traded_since(
    con: duckdb.DuckDBPyConnection, left: Mapping[int, dt.date | None], day: dt.date
) -> set[int]:
    """Of those who left, who has prices from before that until now without a long pause."""
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


def present_tickers(held: Mapping[int, Sequence[Interval]], day: dt.date) -> dict[int, str]:
    """The tickers of those who belong on ``day`` or are to join later."""
    return {
        security: several[-1].symbol
        for security, several in held.items()
        if several and (several[-1].removed_on is None or several[-1].removed_on > day)
    }


def interval_row(security: int, stay: Stay) -> Interval:
    return Interval(
        security,
        stay.effective_on,
        stay.removed_on,
        stay.symbol,
        stay.source,
        stay.announced_on,
    )


def conflict_row(universe: str, security: int, conflict: Conflict) -> dict[str, object]:
    return {"universe": universe, "security_id": security, **vars(conflict)}


def replace_rows(
    writing: Writing,
    table: Table,
    universe: str,
    securities: Iterable[int],
    rows: Sequence[Mapping[str, object]],
) -> None:
    """Let ``rows`` be all that a table has of these securities in a universe."""
    told = {row["security_id"] for row in rows}
    silent = [security for security in securities if security not in told]
    if silent:
        writing.con.execute(
            f"delete from {table.name} where universe = ?"  # noqa: S608 - our table and ids
            f" and security_id in ({listed_ids(silent)})",
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
    # The same list seen again is no change, but a look all the same.
    writing.con.execute(
        "update membership_lists set fetched_at = ? where (universe, source, listed_on, accepted)"
        " = (?, ?, ?, ?)",
        [writing.now, universe, answer.source, day, refused is None],
    )


def each_symbol_once(lines: Iterable[Constituent]) -> list[Constituent]:
    """Each symbol once, as the first line has it."""
    found: dict[str, Constituent] = {}
    for line in lines:
        found.setdefault(line.symbol, line)
    return list(found.values())
