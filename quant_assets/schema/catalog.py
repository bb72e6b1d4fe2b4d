"""Every table of the warehouse in one schema version, and the data dictionary."""

from __future__ import annotations

from dataclasses import dataclass, field

from quant_assets.schema.loads import (
    LEDGER,
    LOAD_CLAIMS,
    LOAD_RUN_SYMBOLS,
    LOAD_RUNS,
    LOAD_TASKS,
    LOG_ENTRIES,
    QUARANTINE,
    SOURCES,
)
from quant_assets.schema.membership import (
    MEMBERSHIP,
    MEMBERSHIP_CHANGES,
    MEMBERSHIP_CONFLICTS,
    MEMBERSHIP_EVIDENCE,
    MEMBERSHIP_LISTS,
    UNIVERSES,
)
from quant_assets.schema.prices import CORPORATE_ACTIONS, DAILY_PRICES
from quant_assets.schema.securities import (
    DELISTINGS,
    SECURITIES,
    SECURITY_PROFILES,
    SOURCE_SYMBOLS,
    SYMBOL_HISTORY,
)
from quant_assets.schema.table import Table

SCHEMA_VERSION = 5


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


SCHEMA = Schema(
    SCHEMA_VERSION,
    (
        SECURITIES,
        SYMBOL_HISTORY,
        SECURITY_PROFILES,
        UNIVERSES,
        MEMBERSHIP,
        MEMBERSHIP_LISTS,
        MEMBERSHIP_EVIDENCE,
        MEMBERSHIP_CHANGES,
        MEMBERSHIP_CONFLICTS,
        DELISTINGS,
        SOURCES,
        DAILY_PRICES,
        CORPORATE_ACTIONS,
        LEDGER,
        QUARANTINE,
        LOAD_RUNS,
        LOAD_RUN_SYMBOLS,
        LOAD_CLAIMS,
        LOAD_TASKS,
        SOURCE_SYMBOLS,
        LOG_ENTRIES,
    ),
)


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
