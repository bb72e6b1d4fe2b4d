"""Which securities the symbols of a reader mean, and what they are called in the frame."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence

import duckdb
import numpy as np

from quant_assets.reference.identity import (
    AmbiguousSymbolError,
    Name,
    UnknownSymbolError,
    canonical_symbol,
    resolve,
)
from quant_assets.securities.names import read_names


def labels_of(
    con: duckdb.DuckDBPyConnection,
    symbols: str | int | Sequence[str | int] | None,
    first: dt.date,
    last: dt.date,
) -> dict[int, str]:
    """The securities asked for, each with the symbol it is shown under.

    That is the symbol it was asked for by, the first of several; else its latest up to ``last``.
    """
    if symbols is None:
        return _apart(_latest_names(read_names(con), last))
    asked = [symbols] if isinstance(symbols, str | int | np.integer) else list(symbols)
    # A column of ids of a frame has numpy's integers, which are no int.
    ids = [int(item) for item in asked if isinstance(item, int | np.integer)]
    spelt = [canonical_symbol(item) for item in asked if not isinstance(item, int | np.integer)]
    shown: dict[int, Name] = {}
    if ids:
        latest = _latest_names(read_names(con), last)
        for number in ids:
            if number not in latest:
                raise UnknownSymbolError(f"Security {number}")
            shown.setdefault(number, latest[number])
    by_symbol: dict[str, list[Name]] = {}
    for name in read_names(con, spelt) if spelt else ():
        by_symbol.setdefault(name.symbol, []).append(name)
    for symbol in spelt:
        names = by_symbol.get(symbol, ())
        security = _meant(con, symbol, names, first, last, alone=len(asked) == 1)
        borne = [name for name in names if name.security_id == security]
        shown.setdefault(security, max(borne, key=lambda name: name.valid_from))
    return _apart(shown)


def _meant(
    con: duckdb.DuckDBPyConnection,
    symbol: str,
    names: Sequence[Name],
    first: dt.date,
    last: dt.date,
    *,
    alone: bool,
) -> int:
    """The security a symbol means here, in these days.

    Archives give a company's whole history under its latest ticker: JCI of 2014 is then the later
    JCI, and the company that bore the ticker has no prices. So where the days leave it open, or
    point at a bearer without prices, the one security loaded under the symbol is meant; for a
    symbol asked for alone only if no other bearer has prices of its own days. Raises
    UnknownSymbolError, AmbiguousSymbolError.
    """
    if len({name.security_id for name in names}) < 2:
        return resolve(names, symbol, first, last)
    loaded = con.execute(
        "select distinct security_id from load_run_symbols s"
        " where dataset = 'daily_prices' and symbol = ? and exists (from"
        " daily_prices p where p.security_id = s.security_id and p.session between ? and ?)",
        [symbol, first, last],
    ).fetchall()
    try:
        security = resolve(names, symbol, first, last)
    except AmbiguousSymbolError:
        others = [name for name in names if (name.security_id,) not in loaded]
        if len(loaded) == 1 and (
            not alone
            or (
                _priced(con, loaded[0][0], others, first, last)
                and not any(_priced(con, n.security_id, [n], first, last) for n in others)
            )
        ):
            return int(loaded[0][0])
        raise
    if len(loaded) == 1 and not _priced(con, security, names, first, last):
        return int(loaded[0][0])
    return security


def _priced(
    con: duckdb.DuckDBPyConnection,
    security: int,
    names: Sequence[Name],
    first: dt.date,
    last: dt.date,
) -> bool:
    """Whether a security has prices between ``first`` and ``last`` in the days of these names."""
    for name in names:
        end = min(last, name.valid_to - dt.timedelta(days=1)) if name.valid_to else last
        [(found,)] = con.execute(
            "select exists (from daily_prices where security_id = ? and session between ? and ?)",
            [security, max(first, name.valid_from), end],
        ).fetchall()
        if found:
            return True
    return False


def _latest_names(names: Sequence[Name], last: dt.date) -> dict[int, Name]:
    """Every security's latest name up to ``last``; its first where it got none until then."""
    latest: dict[int, Name] = {}
    for name in sorted(names, key=lambda n: n.valid_from):
        if name.valid_from <= last or name.security_id not in latest:
            latest[name.security_id] = name
    return latest


def _apart(shown: Mapping[int, Name]) -> dict[int, str]:
    """Symbols that tell securities apart.

    Where two go by one ticker, the one that bore it first carries its id too, as in ``DOC#17``.
    """
    in_turn = sorted(shown.items(), key=lambda item: item[1].valid_from)
    owner = {name.symbol: security for security, name in in_turn}
    return {
        security: name.symbol if owner[name.symbol] == security else f"{name.symbol}#{security}"
        for security, name in shown.items()
    }
