"""Tables as data: columns, types, keys. Every DDL statement and Arrow schema derives from these.

Conventions: a column ending in ``_at`` is a UTC timestamp, ``session`` a trading day of the
security's own market, an interval is half open (``valid_from`` inclusive, ``valid_to`` exclusive,
null while it lasts), and an amount of money stands beside its ``currency``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import pyarrow as pa


SqlType = Literal[
    "VARCHAR", "INTEGER", "BIGINT", "DOUBLE", "DATE", "TIMESTAMP", "BOOLEAN", "UUID", "CURRENCY"
]

CURRENCIES = (
    *("USD", "EUR", "GBP", "GBX", "JPY", "CHF", "CAD", "AUD", "NZD", "SEK", "NOK", "DKK", "HKD"),
    *("SGD", "CNY", "TWD", "KRW", "INR", "BRL", "MXN", "ZAR", "ILS", "PLN", "CZK", "HUF", "TRY"),
    *("THB", "IDR", "MYR", "PHP", "CLP", "COP", "PEN", "ARS", "SAR", "AED", "QAR", "KWD", "EGP"),
)
"""ISO 4217 codes prices may be in, and GBX for pence. An enumeration: a text column of a million
equal values takes DuckDB longer to compress than the prices."""

_ARROW: dict[SqlType, str] = {
    "INTEGER": "int32",
    "BIGINT": "int64",
    "DOUBLE": "float64",
    "DATE": "date32",
    "TIMESTAMP": "timestamp[us]",
    "BOOLEAN": "bool",
}


@dataclass(frozen=True)
class Column:
    """One column: what it means, and which values a good row may hold."""

    name: str
    type: SqlType
    doc: str
    required: bool = True
    positive: bool = False
    non_negative: bool = False
    below: float | None = None
    """The first number that is absurdly large."""
    provenance: bool = False
    """True for facts about a row's arrival; a re-load that differs only there changes nothing."""
    standing: bool = False
    """True for the degree of trust in a row, which changes without leaving a revision."""

    @property
    def arrow(self) -> pa.DataType:
        import pyarrow as pa

        return pa.type_for_alias(_ARROW.get(self.type, "string"))

    @property
    def sql(self) -> str:
        """The type as DuckDB spells it."""
        if self.type != "CURRENCY":
            return self.type
        return f"enum({', '.join(repr(code) for code in CURRENCIES)})"


CREATED = Column("created_at", "TIMESTAMP", "When the row was first written.", provenance=True)
UPDATED = Column("updated_at", "TIMESTAMP", "When the row last changed.", provenance=True)
RUN = Column("run_id", "UUID", "The run that wrote the row.", provenance=True)
FETCHED = Column("fetched_at", "TIMESTAMP", "Time of the source's answer.", provenance=True)


@dataclass(frozen=True)
class Table:
    """One table: its columns, its key, and whether replaced rows are kept as revisions.

    The one write path (``Writing.upsert``, under the writer lock) keeps the key unique. An index
    would cost more on a million rows than loading them, and DuckDB's refuses to delete and insert
    one key in one transaction. Every table ends with the times of each row's writing.
    """

    name: str
    doc: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    revised: bool = False

    def __post_init__(self) -> None:
        if CREATED not in self.columns:
            object.__setattr__(self, "columns", (*self.columns, CREATED, UPDATED))

    def column(self, name: str) -> Column:
        return next(column for column in self.columns if column.name == name)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    @property
    def values(self) -> tuple[str, ...]:
        """The columns that carry facts: neither key, provenance nor standing."""
        return tuple(
            column.name
            for column in self.columns
            if column.name not in self.key and not (column.provenance or column.standing)
        )

    @property
    def standings(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns if column.standing)

    @property
    def arrow_schema(self) -> pa.Schema:
        import pyarrow as pa

        return pa.schema([(column.name, column.arrow) for column in self.columns])

    def arrow(self, rows: Sequence[Mapping[str, object]]) -> pa.Table:
        """Rows as Arrow, with the columns of the table that the first row names."""
        import pyarrow as pa

        fields = [field for field in self.arrow_schema if rows and field.name in rows[0]]
        return pa.Table.from_pylist(list(rows), schema=pa.schema(fields))

    @property
    def ddl(self) -> str:
        lines = [
            f"{column.name} {column.sql}{' not null' if column.required else ''}"
            for column in self.columns
        ]
        return f"create table if not exists {self.name} ({', '.join(lines)})"

    def additions(self, existing: set[str]) -> list[str]:
        """Statements that add the columns an older file of this table lacks."""
        return [
            f"alter table {self.name} add column {column.name} {column.sql}"
            for column in self.columns
            if column.name not in existing
        ]

    @property
    def revisions(self) -> Table:
        """The table that replaced rows move to."""
        extra = (
            Column("revised_at", "TIMESTAMP", "When the row was replaced."),
            Column("revised_by_run", "UUID", "The run that replaced it."),
            Column("difference", "VARCHAR", "Class of the difference, such as restatement."),
        )
        return replace(
            self,
            name=f"{self.name}_revisions",
            doc=f"Replaced rows of {self.name}, for which a source later reported other values.",
            columns=self.columns + extra,
            key=(*self.key, "revised_at"),
            revised=False,
        )
