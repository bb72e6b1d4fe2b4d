"""The securities that the symbols of a read mean, and their labels in the frame."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import duckdb

from quant_assets.read.arguments import listed_symbols
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
        stored = con.execute("select distinct security_id from daily_prices").fetchall()
        names = read_names(con, securities=[row[0] for row in stored])
        return _distinct_labels(_latest_names(names, last))
    requested = listed_symbols(symbols)
    ids = [item for item in requested if isinstance(item, int)]
    tickers = [canonical_symbol(item) for item in requested if isinstance(item, str)]
    named: dict[int, Name] = {}
    if ids:
        latest = _latest_names(read_names(con, securities=ids), last)
        for number in ids:
            if number not in latest:
                raise UnknownSymbolError(f"Security {number}")
            named.setdefault(number, latest[number])
    by_symbol: dict[str, list[Name]] = {symbol: [] for symbol in tickers}
    for name in read_names(con, tickers) if tickers else ():
        by_symbol[name.symbol].append(name)
    reused = {
        symbol for symbol, names in by_symbol.items() if len({n.security_id for n in names}) > 1
    }
    names_reused = [name for symbol in reused for name in by_symbol[symbol]]
    evidence = _evidence(con, names_reused, first, last)
    for symbol, names in by_symbol.items():
        if symbol in reused:
            security = _security_of(symbol, names, evidence, alone=len(requested) == 1)
        elif names:
            security = names[0].security_id
        else:
            raise UnknownSymbolError(symbol)
        names_of_it = [name for name in names if name.security_id == security]
        named.setdefault(security, max(names_of_it, key=lambda name: name.valid_from))
    return _distinct_labels(named)


_Span = tuple[int, dt.date, dt.date]
"""A security, the first and the last of some days."""


@dataclass(frozen=True)
class _Evidence:
    """What is stored, in the days of a read, of the securities that reused tickers may mean."""

    first: dt.date
    last: dt.date
    loaded: Collection[tuple[str, int]]
    """Tickers that were loaded, with the securities they were stored under."""
    priced: Collection[_Span]

    def has_prices(self, security: int, names: Iterable[Name]) -> bool:
        """Whether a security has prices in the days of these names."""
        return any(_span(security, name, self.first, self.last) in self.priced for name in names)


def _span(security: int, name: Name, first: dt.date, last: dt.date) -> _Span:
    """The days of a name between ``first`` and ``last``."""
    end = min(last, name.valid_to - dt.timedelta(days=1)) if name.valid_to else last
    return security, max(first, name.valid_from), end


def _evidence(
    con: duckdb.DuckDBPyConnection, reused: Iterable[Name], first: dt.date, last: dt.date
) -> _Evidence:
    names = list(reused)
    if not names:
        return _Evidence(first, last, (), ())
    loaded = con.execute(
        "select distinct symbol, security_id from load_run_symbols"
        " where dataset = 'daily_prices' and list_contains($symbols, symbol)"
        " and security_id is not null",
        {"symbols": [name.symbol for name in names]},
    ).fetchall()
    bearers = {*loaded, *((name.symbol, name.security_id) for name in names)}
    spans = {(security, first, last) for _, security in bearers} | {
        _span(security, name, first, last)
        for symbol, security in bearers
        for name in names
        if name.symbol == symbol and name.overlaps(first, last)
    }
    priced = con.execute(
        "select distinct s.* from (select unnest(?) as security_id, unnest(?) as start_on,"
        " unnest(?) as end_on) s join daily_prices p on p.security_id = s.security_id"
        " and p.session between s.start_on and s.end_on where p.session between ? and ?",
        [*map(list, zip(*spans, strict=True)), first, last],
    ).fetchall()
    return _Evidence(first, last, loaded, set(priced))


def _security_of(symbol: str, names: Sequence[Name], evidence: _Evidence, *, alone: bool) -> int:
    """The security a reused ticker means here, in these days.

    Archives give a company's whole history under its latest ticker: JCI of 2014 is then the later
    JCI, and the company that bore the ticker has no prices. So where the days leave it open, or
    point at a bearer without prices, the one security loaded under the symbol is meant; for a
    symbol requested alone only if no other bearer has prices of its own days. Raises
    UnknownSymbolError, AmbiguousSymbolError.
    """
    days = evidence.first, evidence.last
    loaded = [n for s, n in evidence.loaded if s == symbol and (n, *days) in evidence.priced]
    try:
        security = resolve(names, symbol, *days)
    except AmbiguousSymbolError:
        others = [name for name in names if name.security_id not in loaded]
        if len(loaded) == 1 and (
            not alone
            or (
                evidence.has_prices(loaded[0], others)
                and not any(evidence.has_prices(n.security_id, [n]) for n in others)
            )
        ):
            return loaded[0]
        raise
    if len(loaded) == 1 and not evidence.has_prices(security, names):
        return loaded[0]
    return security


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
