"""What became of symbol-days, read back from the warehouse: the data itself, not a run's status.

A symbol-day is good if its row is there, empty if the source confirmed that there is none or nobody
bore the ticker that day, open if its session has not closed, and failed otherwise. Nothing is
written here.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from quant_assets.identity import AmbiguousSymbolError, Name, UnknownSymbolError, resolve
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
    good: list[SymbolDay] = []
    empty: dict[SymbolDay, str] = {}
    failed: dict[SymbolDay, str] = {}
    changed: set[SymbolDay] = set()
    told = errors or {}
    closed = {symbol: [d for d in days if d <= last_closed] for symbol, days in asked.items()}
    with warehouse.reading() as con:
        names: dict[str, list[Name]] = {}
        for name in read_names(con, list(asked)):
            names.setdefault(name.symbol, []).append(name)
        keyed: list[tuple[str, int | None, dt.date]] = []
        for symbol, days in closed.items():
            for day in days:
                try:
                    security = resolve(
                        names.get(symbol, ()), symbol, names_on or day, names_on or day
                    )
                except UnknownSymbolError as error:
                    if symbol in names:
                        empty[symbol, day] = str(error)
                    else:
                        failed[symbol, day] = told.get(symbol, str(error))
                except AmbiguousSymbolError as error:
                    failed[symbol, day] = str(error)
                else:
                    keyed.append((symbol, security, day))
        con.register(
            "asked",
            pa.table(
                {
                    "symbol": pa.array([row[0] for row in keyed], pa.string()),
                    "security_id": pa.array([row[1] for row in keyed], pa.int32()),
                    "session": pa.array([row[2] for row in keyed], pa.date32()),
                }
            ),
        )
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
    for symbol, session, present, outcome, reason, run in rows:
        key = (symbol, session)
        if present:
            good.append(key)
        elif outcome == "empty":
            empty[key] = reason
        else:
            failed[key] = reason or told.get(symbol, "never loaded")
        if run == run_id:
            changed.add(key)
    still_open = [(s, day) for s, days in asked.items() for day in days if day > last_closed]
    return Outcomes(good, empty, failed, still_open, frozenset(changed))
