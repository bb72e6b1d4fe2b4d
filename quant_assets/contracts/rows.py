"""What a source of plain rows answers: the rows of one or several tables."""

from __future__ import annotations

from collections.abc import Mapping
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
