"""Every table of the warehouse in one schema version, and the data dictionary."""

from __future__ import annotations

from dataclasses import dataclass, field

from quant_assets.schema import loads, market, membership, prices, securities
from quant_assets.schema.table import Table

SCHEMA_VERSION = 8


@dataclass(frozen=True)
class Schema:
    """All tables of one schema version."""

    version: int
    tables: tuple[Table, ...] = field(repr=False)

    def __getitem__(self, name: str) -> Table:
        return next(table for table in self.tables if table.name == name)

    @property
    def with_revisions(self) -> tuple[Table, ...]:
        return self.tables + tuple(table.revisions for table in self.tables if table.revised)


SUBJECTS = (securities, membership, prices, market, loads)
"""The files of tables; a table that stands in one of them is part of the schema."""

SCHEMA = Schema(
    SCHEMA_VERSION,
    tuple(each for file in SUBJECTS for each in vars(file).values() if isinstance(each, Table)),
)

DATASETS = (prices.DAILY_PRICES.name, market.MARKET_SNAPSHOT.name)
"""What can be loaded, each by the name of its table, as settings and the command line call it."""


def data_dictionary() -> str:
    """The data dictionary as Markdown, the content of ``docs/data-dictionary.md``."""
    parts = [
        "# Data dictionary\n\nMade from `quant_assets/schema/` by `quant-assets config "
        "dictionary`; a test keeps the two the same. Times are UTC; intervals are half open.\n"
    ]
    for table in SCHEMA.with_revisions:
        parts.append(f"\n## {table.name}\n\n{table.doc}\n\nKey: {', '.join(table.key)}.")
        if table.revised:
            parts.append(f" Replaced rows move to `{table.name}_revisions`.")
        parts.append("\n\n| column | type | null | meaning |\n|---|---|---|---|\n")
        parts.extend(
            f"| {c.name} | {c.type} | {'' if c.required else 'yes'} | {c.doc} |\n"
            for c in table.columns
        )
    return "".join(parts)
