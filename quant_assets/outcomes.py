"""What became of symbol-days, read back from the warehouse: the data itself, not a run's status.

A symbol-day is good if its row is there, empty if the source confirmed that there is none or nobody
bore the ticker that day, open if its session has not closed, and failed otherwise. Nothing is
written here.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import duckdb
import pyarrow as pa

from quant_assets.identity import Name, UnknownSymbolError, resolve
from quant_assets.securities import read_names
from quant_assets.warehouse import Warehouse

SymbolDay = tuple[str, dt.date]


@dataclass(frozen=True)
class Outcomes:
    """Symbol-days by what became of them; ``changed`` are those the run in question brought."""

    good: Sequence[SymbolDay] = ()
    empty: Mapping[SymbolDay, str] = field(default_factory=dict)
    failed: Mapping[SymbolDay, str] = field(default_factory=dict)
    open: Sequence[SymbolDay] = ()
    changed: frozenset[SymbolDay] = frozenset()


def outcomes_of(
    warehouse: Warehouse,
    source: str,
    names_on: dt.date | None,
    asked: Mapping[str, Sequence[dt.date]],
    last_closed: dt.date,
    *,
    run_id: str = "",
    errors: Mapping[str, str] | None = None,
) -> Outcomes:
    """Sort the sessions asked for of each symbol; ``errors`` are reasons known by symbol."""
    told = errors or {}
    closed = {symbol: [d for d in days if d <= last_closed] for symbol, days in asked.items()}
    still_open = [(s, day) for s, days in asked.items() for day in days if day > last_closed]
    if not warehouse.exists():
        return nothing_found(asked, last_closed, "never loaded", told)
    with warehouse.reading() as con:
        keyed, empty, failed = _identified(con, closed, names_on, told)
        con.register("asked", keyed)
        rows = con.execute(
            "select a.symbol, a.session, p.security_id is not null, l.outcome, l.reason,"
            " coalesce(p.run_id, l.run_id)::varchar"
            " from asked a left join daily_prices p on p.security_id = a.security_id"
            "  and p.session = a.session and p.source = $source"
            " left join symbol_day_ledger l on l.security_id = a.security_id"
            "  and l.session = a.session and l.source = $source and l.dataset = 'daily_prices'"
            " order by 1, 2",
            {"source": source},
        ).fetchall()
    good: list[SymbolDay] = []
    for symbol, session, present, outcome, reason, _ in rows:
        if present:
            good.append((symbol, session))
        elif outcome == "empty":
            empty[symbol, session] = reason
        else:
            failed[symbol, session] = reason or told.get(symbol, "never loaded")
    changed = frozenset((row[0], row[1]) for row in rows if row[5] == run_id)
    return Outcomes(good, empty, failed, still_open, changed)


def nothing_found(
    asked: Mapping[str, Sequence[dt.date]],
    last_closed: dt.date,
    reason: str,
    told: Mapping[str, str] | None = None,
) -> Outcomes:
    """Every closed symbol-day failed, for ``reason`` unless more is ``told`` of its symbol."""
    days = [(symbol, day) for symbol, several in asked.items() for day in several]
    return Outcomes(
        failed={d: (told or {}).get(d[0], reason) for d in days if d[1] <= last_closed},
        open=[d for d in days if d[1] > last_closed],
    )


def _identified(
    con: duckdb.DuckDBPyConnection,
    asked: Mapping[str, Sequence[dt.date]],
    names_on: dt.date | None,
    told: Mapping[str, str],
) -> tuple[pa.Table, dict[SymbolDay, str], dict[SymbolDay, str]]:
    """Symbol-days with their security, those nobody bore the ticker on, those nobody knows."""
    names: dict[str, list[Name]] = {}
    for name in read_names(con, list(asked)):
        names.setdefault(name.symbol, []).append(name)
    keyed: list[tuple[str, int, dt.date]] = []
    nobody: dict[SymbolDay, str] = {}
    unknown: dict[SymbolDay, str] = {}
    for symbol, days in asked.items():
        for day in days:
            try:
                on = names_on or day
                keyed.append((symbol, resolve(names.get(symbol, ()), symbol, on, on), day))
            except UnknownSymbolError as error:
                if symbol in names:
                    nobody[symbol, day] = str(error)
                else:
                    unknown[symbol, day] = told.get(symbol, str(error))
    columns = zip(*keyed, strict=True) if keyed else ((), (), ())
    types = {"symbol": pa.string(), "security_id": pa.int32(), "session": pa.date32()}
    arrays = [pa.array(values, kind) for values, kind in zip(columns, types.values(), strict=True)]
    return pa.table(dict(zip(types, arrays, strict=True))), nobody, unknown
