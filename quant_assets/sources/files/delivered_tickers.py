"""Tickers of a delivery put in terms of each session.

A delivery has the tickers of its own day, also for the sessions before. Where a ticker has changed
hands, its rows of earlier sessions are those of the new bearer, not of the company that had the
ticker then.
"""

from __future__ import annotations

import datetime as dt
import json
from collections import defaultdict
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from quant_assets.contracts.prices import UNREADABLE_COLUMNS
from quant_assets.reference.identity import KnownIdentity


def in_tickers_of_each_session(
    rows: pa.Table, delivered_on: dt.date, identities: Sequence[KnownIdentity]
) -> tuple[pa.Table, pa.Table]:
    """The rows of a delivery under the ticker that their company had on each session, and those of
    sessions on which it had none and another company had this one.
    """
    names = defaultdict(list)
    of_company = defaultdict(list)
    for identity in identities:
        names[identity.symbol].append(identity)
        of_company[identity.slug].append(identity)
    reused = {s for s, several in names.items() if len({name.slug for name in several}) > 1}
    changed: dict[int, str | None] = {}
    places = pc.indices_nonzero(pc.is_in(rows["symbol"], pa.array(sorted(reused), pa.string())))
    some = rows.take(places).select(["symbol", "session"]).to_pylist()
    for place, row in zip(places.to_pylist(), some, strict=True):
        bearer = next((n for n in names[row["symbol"]] if n.covers(delivered_on)), None)
        then = next((n for n in names[row["symbol"]] if n.covers(row["session"])), None)
        if bearer is None or bearer.covers(row["session"]):
            continue
        own = next((n.symbol for n in of_company[bearer.slug] if n.covers(row["session"])), None)
        if own or then:
            changed[place] = own
    if not changed:
        return rows, UNREADABLE_COLUMNS.empty_table()
    symbols = rows["symbol"].to_pylist()
    rejected = [
        {
            "symbol": symbols[place],
            "session": str(row["session"]),
            "reason": f"{symbols[place]} was another company's then than on {delivered_on}",
            "raw": json.dumps(row, default=str, sort_keys=True),
        }
        for place, symbol in changed.items()
        if symbol is None
        for row in rows.slice(place, 1).to_pylist()
    ]
    for place, symbol in changed.items():
        symbols[place] = symbol
    at = rows.column_names.index("symbol")
    renamed = rows.set_column(at, "symbol", pa.array(symbols, pa.string()))
    return (
        renamed.filter(pc.is_valid(renamed["symbol"])),
        pa.Table.from_pylist(rejected, schema=UNREADABLE_COLUMNS),
    )
