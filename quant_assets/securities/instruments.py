"""What a source says its symbols are, kept beside how far back it was asked for them.

A stock, a fund or a coin; its exchange, zone and currency; and when everything stored of it was
last asked for, which ``loading.plan`` goes by.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence

import pyarrow as pa

from quant_assets.contracts.prices import Instrument
from quant_assets.contracts.source import Request
from quant_assets.schema.securities import SOURCE_SYMBOLS
from quant_assets.schema.table import CURRENCIES
from quant_assets.securities.register import Register
from quant_assets.warehouse.writing import Writing, listed_ids


def describe_securities(
    register: Register, instruments: Sequence[Instrument], securities: Mapping[str, int]
) -> None:
    """Tell the register what the securities of an answer are."""
    for instrument in instruments:
        if instrument.symbol in securities:
            register.describe_instrument(securities[instrument.symbol], instrument)


def note_asked(
    writing: Writing,
    dataset: str,
    source: str,
    requests: Sequence[Request],
    *,
    instruments: Sequence[Instrument],
    securities: Mapping[str, int],
) -> None:
    """Note of each request that was answered what its symbol is, and how far back it went."""
    told = {instrument.symbol: instrument for instrument in instruments}
    asked_for_all_at = dict(
        writing.con.execute(
            "select symbol, asked_for_all_at from source_symbols where dataset = ? and source = ?",
            [dataset, source],
        ).fetchall()
    )
    first_stored = dict(
        writing.con.execute(
            "select security_id, min(session) from daily_prices where source = ?"  # noqa: S608 - no user text
            f" and security_id in ({listed_ids(list(securities.values()))}) group by 1",
            [source],
        ).fetchall()
    )
    rows = []
    for request in requests:
        first = first_stored.get(securities.get(request.symbol, 0))
        everything = first is None or request.first <= first
        instrument = told.get(request.symbol, Instrument(request.symbol))
        rows.append(
            {
                **vars(instrument),
                "security_id": securities.get(request.symbol),
                "currency": instrument.currency if instrument.currency in CURRENCIES else None,
                "last_trade_at": _naive(instrument.last_trade_at),
                "asked_since": request.first,
                "asked_for_all_at": writing.now
                if everything
                else asked_for_all_at.get(request.symbol),
            }
        )
    provenance = {column.name for column in SOURCE_SYMBOLS.columns if column.provenance}
    fields = [
        f for f in SOURCE_SYMBOLS.arrow_schema if f.name not in {*provenance, "dataset", "source"}
    ]
    table = pa.Table.from_pylist(rows, schema=pa.schema(fields))
    writing.upsert(SOURCE_SYMBOLS, table, constants={"dataset": dataset, "source": source})


def _naive(moment: dt.datetime | None) -> dt.datetime | None:
    return moment.astimezone(dt.UTC).replace(tzinfo=None) if moment else None
