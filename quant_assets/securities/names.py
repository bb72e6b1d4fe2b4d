"""Dated names of securities, as stored."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Sequence

import duckdb

from quant_assets.reference.identity import KnownIdentity, Name
from quant_assets.schema.table import Table
from quant_assets.warehouse.writing import listed_ids


def read_names(
    con: duckdb.DuckDBPyConnection,
    symbols: Sequence[str] | None = None,
    securities: Collection[int] | None = None,
) -> list[Name]:
    """Dated names with their company, by symbol and first day: those that are one of ``symbols`` or
    name one of ``securities``, or all.

    The register may know thousands of securities that nobody loads, so most readers name theirs.
    """
    which = []
    if symbols is not None:
        which.append("h.symbol in (select unnest($symbols))" if symbols else "false")
    if securities is not None:
        which.append(f"h.security_id in ({listed_ids(securities)})")
    query = (
        "select h.symbol, h.valid_from, h.valid_to, h.security_id, s.name "  # noqa: S608 - our own ids
        "from symbol_history h join securities s using (security_id)"
        f"{' where ' if which else ''}{' or '.join(which)} order by 1, 2"
    )
    # Nothing is bound where no symbols are given: for the first value DuckDB loads pandas.
    rows = con.execute(query, {"symbols": list(symbols)} if symbols else None).fetchall()
    return [Name(*row) for row in rows]


def names_about(
    con: duckdb.DuckDBPyConnection, symbols: Collection[str], known: Sequence[KnownIdentity]
) -> list[Name]:
    """The names of ``symbols``, every other name of their bearers, and whoever shared one."""
    slugs = {identity.slug for identity in known if identity.symbol in set(symbols)}
    wanted = {*symbols, *(identity.symbol for identity in known if identity.slug in slugs)}
    bearers = {name.security_id for name in read_names(con, list(wanted))}
    shared = {name.symbol for name in read_names(con, securities=bearers)}
    return read_names(con, list(wanted | shared))


def tickers_with_data(con: duckdb.DuckDBPyConnection, table: Table, since: dt.date) -> list[str]:
    """The latest ticker of each security that has a row in ``table``, or a symbol-day of it in the
    ledger, if borne on or after ``since``.
    """
    rows = con.execute(
        "select distinct symbol from ("  # noqa: S608 - our own table
        "  select max_by(symbol, valid_from) as symbol, max_by(valid_to, valid_from) as valid_to"
        "  from symbol_history semi join (select security_id"
        f"   from {table.name} union select security_id from symbol_day_ledger"
        "   where dataset = $dataset) d using (security_id)"
        "  group by security_id) where valid_to is null or valid_to > $since order by 1",
        {"dataset": table.name, "since": since},
    ).fetchall()
    return [row[0] for row in rows]


def answered_symbols(con: duckdb.DuckDBPyConnection, dataset: str) -> list[str]:
    """The symbols that a source of ``dataset`` has answered for."""
    rows = con.execute(
        "select distinct symbol from source_symbols where dataset = ? order by 1", [dataset]
    ).fetchall()
    return [row[0] for row in rows]
