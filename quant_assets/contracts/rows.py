"""What a source of plain rows answers: the rows of one or several tables."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from quant_assets.contracts.source import SourceError


@dataclass(frozen=True)
class RowAnswer:
    """``tables`` holds rows by the name of their table. Each row has a ``symbol``, the one it was
    requested by; a symbol without a row or a failure is one that the source confirms to have none.
    """

    symbols: tuple[str, ...]
    tables: Mapping[str, pa.Table] = field(default_factory=dict)
    failures: Mapping[str, SourceError] = field(default_factory=dict)
    notices: tuple[str, ...] = ()
    under_way: tuple[str, ...] = ()

    def part(self, symbols: Collection[str], subject: str) -> RowAnswer:
        """The answer for some of its symbols, by the column ``subject``; what is of the answer as a
        whole goes with its first.
        """
        named = pa.array(list(symbols), pa.string())
        whole = self.symbols[0] in symbols
        return RowAnswer(
            tuple(symbol for symbol in self.symbols if symbol in symbols),
            {
                name: rows.filter(pc.is_in(rows[subject], named))
                for name, rows in self.tables.items()
            },
            {symbol: error for symbol, error in self.failures.items() if symbol in symbols},
            self.notices if whole else (),
            self.under_way if whole else (),
        )


def joined(answers: Sequence[RowAnswer]) -> RowAnswer:
    """Several answers as one, which is then stored in one transaction."""
    tables: dict[str, list[pa.Table]] = defaultdict(list)
    for answer in answers:
        for name, rows in answer.tables.items():
            tables[name].append(rows)
    return RowAnswer(
        tuple(symbol for answer in answers for symbol in answer.symbols),
        {name: pa.concat_tables(some) for name, some in tables.items()},
        {symbol: error for answer in answers for symbol, error in answer.failures.items()},
        tuple(notice for answer in answers for notice in answer.notices),
    )
