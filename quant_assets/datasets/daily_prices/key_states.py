"""What became of symbol-days, read back from the warehouse: the data itself, not a run's status.

A symbol-day is good if its row is there, empty if the source confirmed that there is none or the
ticker had no bearer that day, open if its session has not closed, and failed otherwise. Nothing is
written here.
"""

from __future__ import annotations

import datetime as dt
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from quant_assets.reference.identity import Name, UnknownSymbolError, resolve
from quant_assets.schema.table import Table
from quant_assets.securities.names import read_names
from quant_assets.warehouse.warehouse import Warehouse
from quant_assets.warehouse.writing import listed_ids

SymbolDay = tuple[str, dt.date]

NEVER_LOADED = "never loaded"


@dataclass(frozen=True)
class KeyStates:
    """Symbol-days by what became of them; ``changed`` are those the run in question brought.

    ``unborne`` are the empty ones on which the ticker had no bearer, ``in_ledger`` the failed ones
    that a load has recorded as such.
    """

    good: Sequence[SymbolDay] = ()
    empty: Mapping[SymbolDay, str] = field(default_factory=dict)
    failed: Mapping[SymbolDay, str] = field(default_factory=dict)
    open: Sequence[SymbolDay] = ()
    changed: frozenset[SymbolDay] = frozenset()
    unborne: frozenset[SymbolDay] = frozenset()
    in_ledger: frozenset[SymbolDay] = frozenset()


def key_states(
    warehouse: Warehouse,
    table: Table,
    requested: Mapping[str, Sequence[dt.date]],
    last_closed: dt.date,
    *,
    source: str | None = None,
    names_on: dt.date | None = None,
    run_id: str = "",
    errors: Mapping[str, str] | None = None,
) -> KeyStates:
    """Sort the sessions requested of each symbol, ascending, by what ``table`` has: of any source
    where ``source`` is None. ``errors`` are reasons known by symbol.
    """
    known = errors or {}
    if not warehouse.exists():
        return all_failed(requested, last_closed, NEVER_LOADED, known)
    closed = {symbol: days[: bisect_right(days, last_closed)] for symbol, days in requested.items()}
    still_open = [
        (symbol, day) for symbol, days in requested.items() for day in days[len(closed[symbol]) :]
    ]
    with warehouse.reading() as con:
        by_symbol = groupby(read_names(con, list(requested)), attrgetter("symbol"))
        names = {symbol: list(some) for symbol, some in by_symbol}
        keyed, empty, failed = _identified(closed, names, names_on, known)
        rows = _look_up(con, table, keyed, source, run_id) if keyed.num_rows else []
    symbols = list(closed)
    unborne = frozenset(empty)
    good: list[SymbolDay] = []
    changed: set[SymbolDay] = set()
    in_ledger: set[SymbolDay] = set()
    for place, session, present, outcome, reason, ours in rows:
        day = symbols[place], session
        if present:
            good.append(day)
        elif outcome == "empty":
            empty[day] = reason or ""
        else:
            failed[day] = reason or known.get(day[0], NEVER_LOADED)
            if outcome:
                in_ledger.add(day)
        if ours:
            changed.add(day)
    return KeyStates(
        good, empty, failed, still_open, frozenset(changed), unborne, frozenset(in_ledger)
    )


def all_failed(
    requested: Mapping[str, Sequence[dt.date]],
    last_closed: dt.date,
    reason: str,
    known: Mapping[str, str],
) -> KeyStates:
    """Every closed symbol-day failed, for ``reason`` unless more is ``known`` of its symbol."""
    days = [(symbol, day) for symbol, several in requested.items() for day in several]
    return KeyStates(
        failed={d: known.get(d[0], reason) for d in days if d[1] <= last_closed},
        open=[d for d in days if d[1] > last_closed],
    )


def _look_up(
    con: duckdb.DuckDBPyConnection, table: Table, keyed: pa.Table, source: str | None, run_id: str
) -> list[tuple[int, dt.date, bool, str | None, str | None, bool]]:
    """Place, session, whether present, the ledger's outcome and reason, whether of this run."""
    concerned = listed_ids(keyed["security_id"].unique().to_pylist())
    con.register("requested", keyed)
    scope = (
        f"security_id in ({concerned}) and ($source is null or source = $source)"
        " and session between (select min(session) from requested)"
        " and (select max(session) from requested)"
    )
    # Several sources may know of one symbol-day; "empty" comes before "failed" in the alphabet.
    return con.execute(
        "with present as (select security_id, session, bool_or(run_id::varchar = $run_id) as ours"
        f" from {table.name} where {scope} group by all),"
        " recorded as (select security_id, session, min(outcome) as outcome,"
        " min_by(reason, outcome) as reason, bool_or(run_id::varchar = $run_id) as ours"
        f" from symbol_day_ledger where {scope} and dataset = $dataset group by all)"
        " select a.place, a.session, p.security_id is not null, l.outcome, l.reason,"
        " coalesce(p.ours, l.ours, false) from requested a"
        " left join present p using (security_id, session)"
        " left join recorded l using (security_id, session) order by 1, 2",
        {"source": source, "run_id": run_id, "dataset": table.name},
    ).fetchall()


def _identified(
    closed: Mapping[str, Sequence[dt.date]],
    names: Mapping[str, Sequence[Name]],
    names_on: dt.date | None,
    known: Mapping[str, str],
) -> tuple[pa.Table, dict[SymbolDay, str], dict[SymbolDay, str]]:
    """Symbol-days with their security, those on which the ticker had no bearer, those of tickers
    that are not on record. A symbol is given by its place in ``closed``.
    """
    places: list[int] = []
    securities: list[int] = []
    sessions: list[Sequence[dt.date]] = []
    unborne: dict[SymbolDay, str] = {}
    unknown: dict[SymbolDay, str] = {}
    for place, (symbol, days) in enumerate(closed.items()):
        bearers = names.get(symbol, ())
        one_bearer = len({name.security_id for name in bearers}) <= 1
        # Only where several companies bore the symbol does it depend on the day.
        for stretch in [days] if names_on or one_bearer else [[day] for day in days]:
            if not stretch:
                continue
            on = names_on or stretch[0]
            try:
                securities.append(resolve(bearers, symbol, on, on))
            except UnknownSymbolError as error:
                if bearers:
                    unborne |= dict.fromkeys([(symbol, day) for day in stretch], str(error))
                else:
                    why = known.get(symbol, str(error))
                    unknown |= dict.fromkeys([(symbol, day) for day in stretch], why)
                continue
            places.append(place)
            sessions.append(stretch)
    nested = pa.array(sessions, pa.list_(pa.date32()))
    parents = pc.list_parent_indices(nested)
    columns = {
        "place": pa.array(places, pa.int32()).take(parents),
        "security_id": pa.array(securities, pa.int32()).take(parents),
        "session": nested.flatten(),
    }
    return pa.table(columns), unborne, unknown


def stretches(
    days: Sequence[SymbolDay], sessions: Sequence[dt.date]
) -> list[tuple[str, dt.date, dt.date, int]]:
    """Symbol-days as stretches of consecutive sessions: symbol, first, last, and how many."""
    place = {session: number for number, session in enumerate(sessions)}
    found = []
    # Along a stretch, the session's place and the day's rank rise together.
    ranked = enumerate(sorted(days))
    for _, group in groupby(ranked, key=lambda at: (at[1][0], place[at[1][1]] - at[0])):
        some = [day for _, day in group]
        found.append((some[0][0], some[0][1], some[-1][1], len(some)))
    return found
