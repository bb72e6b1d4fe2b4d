"""Headers of several lines, as pandas and yfinance write them, and files with lines before one.

    Price,Close,Close,Volume,Volume        field
    Ticker,AAPL,MSFT,AAPL,MSFT             symbol
    Date,,,,                               skip

A header of one line needs none of this. With a line of symbols each column is of one symbol, and a
row of the file becomes a row a symbol.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

SYMBOL = "symbol in the header"
"""The column that ``HeaderLines.long`` adds where a line of the header has the symbols."""


UNNAMED = "Unnamed: 0"
"""The first column where it has no name, as an index that pandas writes."""


@dataclass(frozen=True)
class HeaderLines:
    """The field and the symbol of each column, by place; no symbol where no line has them."""

    lines: int
    fields: tuple[str, ...]
    symbols: tuple[str, ...]

    @classmethod
    def read(cls, lines: Sequence[str], kinds: Sequence[str], delimiter: str) -> HeaderLines:
        """``kinds`` says of each line whether it has fields, symbols, or is skipped.

        A column without a name in the line of fields has the first that another line gives it; a
        first one that none gives a name is called as pandas calls it.
        """
        cells = [next(csv.reader([line], delimiter=delimiter), []) for line in lines]
        cells += [[] for _ in kinds[len(cells) :]]
        width = max(map(len, cells), default=0)
        cells = [[*row, *[""] * (width - len(row))] for row in cells]
        named = cells[kinds.index("field")]
        others = [row for row, kind in zip(cells, kinds, strict=True) if kind == "skip"]
        fields = [
            name or next((row[at] for row in others if row[at]), "")
            for at, name in enumerate(named)
        ]
        if fields and not fields[0].strip():
            fields[0] = UNNAMED
        symbols = cells[kinds.index("symbol")] if "symbol" in kinds else [""] * width
        return cls(len(kinds), tuple(fields), tuple(symbols))

    @property
    def columns(self) -> list[str]:
        """A name of its own for each column."""
        return [str(at) for at in range(len(self.fields))]

    def wanted(self, named: Mapping[str, str]) -> list[str]:
        """The columns of the fields ``named``."""
        fields = set(named.values())
        return [str(at) for at, name in enumerate(self.fields) if name in fields]

    def long(self, table: pa.Table, named: Mapping[str, str]) -> pa.Table:
        """The columns ``named``, with a row for each row and symbol of ``table``."""
        alike = {
            theirs: str(self.fields.index(theirs))
            for ours, theirs in named.items()
            if theirs in self.fields and (ours == "session" or SYMBOL not in named.values())
        }
        if SYMBOL not in named.values():
            return pa.table({theirs: table[at] for theirs, at in alike.items()})
        places: dict[str, dict[str, str]] = {}
        for at, (name, symbol) in enumerate(zip(self.fields, self.symbols, strict=True)):
            if name in named.values() and name not in alike:
                places.setdefault(symbol, {})[name] = str(at)
        parts = []
        for symbol, own in places.items():
            columns = {theirs: table[at] for theirs, at in (alike | own).items()}
            lacking = set(named.values()) - columns.keys() - {SYMBOL}
            columns |= {
                name: pa.chunked_array([pa.nulls(len(table), "string")]) for name in lacking
            }
            columns[SYMBOL] = pa.chunked_array([pa.repeat(pa.scalar(symbol), len(table))])
            parts.append(pa.table({name: columns[name] for name in named.values()}))
        return pa.concat_tables(parts)
