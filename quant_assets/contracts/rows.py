"""What a source of plain rows answers: the rows of one or several tables."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

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
