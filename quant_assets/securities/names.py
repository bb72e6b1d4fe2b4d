"""Dated names of securities, as stored."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import duckdb

from quant_assets.reference.identity import Name


def read_names(con: duckdb.DuckDBPyConnection, symbols: Sequence[str] | None = None) -> list[Name]:
    """Dated names with the company they belong to, of the given symbols or of all."""
    which = "" if symbols is None else " where list_contains($symbols, h.symbol)"
    rows = con.execute(
        "select h.symbol, h.valid_from, h.valid_to, h.security_id, s.name "  # noqa: S608 - constants
        f"from symbol_history h join securities s using (security_id){which} order by 1, 2",
        {} if symbols is None else {"symbols": list(symbols)},
    ).fetchall()
    return [Name(*row) for row in rows]


def tickers_with_data(con: duckdb.DuckDBPyConnection, since: dt.date) -> list[str]:
    """The latest ticker of each security with a price, or a noted lack of one, if borne on or after
    ``since``.
    """
    rows = con.execute(
        "select distinct symbol from ("
        "  select max_by(symbol, valid_from) as symbol, max_by(valid_to, valid_from) as valid_to"
        "  from symbol_history semi join (select security_id from daily_prices"
        "   union select security_id from symbol_day_ledger) d using (security_id)"
        "  group by security_id) where valid_to is null or valid_to > ? order by 1",
        [since],
    ).fetchall()
    return [row[0] for row in rows]
