"""The securities that the symbols of a read mean, and their labels in the frame."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

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
    """The requested securities, each with the symbol that is its label in the frame.

    The label is the requested symbol, the first of several for one security; for a security
    requested by id, or by None, its latest symbol up to ``last``.
    """
    if symbols is None:
        return _distinct_labels(_latest_names(read_names(con), last))
    requested = [symbols] if isinstance(symbols, str | int | np.integer) else list(symbols)
    # A column of ids of a frame has numpy's integers, which are no int.
    ids = [int(item) for item in requested if isinstance(item, int | np.integer)]
    tickers = [
        canonical_symbol(item) for item in requested if not isinstance(item, int | np.integer)
    ]
    named: dict[int, Name] = {}
    if ids:
        latest = _latest_names(read_names(con), last)
        for number in ids:
            if number not in latest:
                raise UnknownSymbolError(f"Security {number}")
            named.setdefault(number, latest[number])
    by_symbol: dict[str, list[Name]] = {symbol: [] for symbol in tickers}
    for name in read_names(con, tickers) if tickers else ():
        by_symbol[name.symbol].append(name)
    reused = {s: names for s, names in by_symbol.items() if len(_bearers(names)) > 1}
    evidence = _evidence(con, reused, first, last)
    for symbol, names in by_symbol.items():
        if symbol in reused:
            security = _security_of(symbol, names, evidence, alone=len(requested) == 1)
        else:
            security = resolve(names[:1], symbol, first, last)
        names_of_it = [name for name in names if name.security_id == security]
        named.setdefault(security, max(names_of_it, key=lambda name: name.valid_from))
    return _distinct_labels(named)


def _bearers(names: Iterable[Name]) -> set[int]:
    return {name.security_id for name in names}


@dataclass(frozen=True)
class _Evidence:
    """What is stored, in the days of a read, of the securities that reused tickers may mean."""

    first: dt.date
    last: dt.date
    loaded: Mapping[str, Collection[int]]
    """By ticker, the securities with prices that loads of the ticker were stored under."""
    priced: Collection[_Span]

    def has_prices(self, security: int, names: Iterable[Name]) -> bool:
        """Whether a security has prices in the days of these names."""
        return any(_span(security, name, self.first, self.last) in self.priced for name in names)


_Span = tuple[int, dt.date, dt.date]
"""A security, the first and the last of some days."""


def _span(security: int, name: Name, first: dt.date, last: dt.date) -> _Span:
    """The days of a name between ``first`` and ``last``."""
    end = min(last, name.valid_to - dt.timedelta(days=1)) if name.valid_to else last
    return security, max(first, name.valid_from), end


def _evidence(
    con: duckdb.DuckDBPyConnection,
    reused: Mapping[str, Sequence[Name]],
    first: dt.date,
    last: dt.date,
) -> _Evidence:
    loaded: dict[str, set[int]] = {symbol: set() for symbol in reused}
    spans: set[_Span] = set()
    if reused:
        rows = con.execute(
            "select distinct symbol, security_id from load_run_symbols"
            " where list_contains($symbols, symbol) and security_id is not null",
            {"symbols": list(reused)},
        ).fetchall()
        for symbol, security in rows:
            loaded[symbol].add(security)
    for symbol, names in reused.items():
        within = _bearers(name for name in names if name.overlaps(first, last))
        if len(within) == 1 and loaded[symbol] <= within:
            continue  # days and loads agree
        for security in loaded[symbol] | _bearers(names):
            spans |= {(security, first, last), *(_span(security, n, first, last) for n in names)}
    priced = _priced(con, spans) if spans else set()
    loaded = {
        symbol: {security for security in ids if (security, first, last) in priced}
        for symbol, ids in loaded.items()
    }
    return _Evidence(first, last, loaded, priced)


def _priced(con: duckdb.DuckDBPyConnection, spans: Collection[_Span]) -> set[_Span]:
    """Those of the spans in which the security has a price."""
    securities, starts, ends = map(list, zip(*spans, strict=True))
    return set(
        con.execute(
            "select distinct s.* from (select unnest($securities) as security_id,"
            "  unnest($starts) as start_on, unnest($ends) as end_on) s"
            " join daily_prices p on p.security_id = s.security_id"
            "  and p.session between s.start_on and s.end_on"
            " where p.session between $first and $last",
            {
                "securities": securities,
                "starts": starts,
                "ends": ends,
                "first": min(starts),
                "last": max(ends),
            },
        ).fetchall()
    )


def _security_of(symbol: str, names: Sequence[Name], evidence: _Evidence, *, alone: bool) -> int:
    """The security a reused ticker means here, in these days.

    Archives give a company's whole history under its latest ticker: JCI of 2014 is then the later
    JCI, and the company that bore the ticker has no prices. So where the days leave it open, or
    point at a bearer without prices, the one security loaded under the symbol is meant; for a
    symbol requested alone only if no other bearer has prices of its own days. Raises
    UnknownSymbolError, AmbiguousSymbolError.
    """
    loaded = next(iter(evidence.loaded[symbol])) if len(evidence.loaded[symbol]) == 1 else None
    try:
        security = resolve(names, symbol, evidence.first, evidence.last)
    except AmbiguousSymbolError:
        if loaded is None:
            raise
        others = [name for name in names if name.security_id != loaded]
        if alone and (
            not evidence.has_prices(loaded, others)
            or any(evidence.has_prices(name.security_id, [name]) for name in others)
        ):
            raise
        return loaded
    if loaded is None or evidence.has_prices(security, names):
        return security
    return loaded


def _latest_names(names: Sequence[Name], last: dt.date) -> dict[int, Name]:
    """Every security's latest name up to ``last``; its first where it had none until then."""
    latest: dict[int, Name] = {}
    for name in sorted(names, key=lambda n: n.valid_from):
        if name.valid_from <= last or name.security_id not in latest:
            latest[name.security_id] = name
    return latest


def _distinct_labels(named: Mapping[int, Name]) -> dict[int, str]:
    """A label for each security, no two the same.

    Where two have one ticker, the label of the one that bore it first ends in its id: ``DOC#17``.
    """
    in_turn = sorted(named.items(), key=lambda item: item[1].valid_from)
    owner = {name.symbol: security for security, name in in_turn}
    return {
        security: name.symbol if owner[name.symbol] == security else f"{name.symbol}#{security}"
        for security, name in named.items()
    }
