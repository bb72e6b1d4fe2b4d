"""A toy dataset: the notes that somebody keeps about a symbol, each with its tags.

It is due by age, an answer has rows of two tables, and a note may be edited later.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from quant_assets.contracts.rows import RowAnswer
from quant_assets.contracts.source import (
    Request,
    SourceError,
    SourceProfile,
    UnknownSymbolAtSource,
)
from quant_assets.datasets.row_dataset import RowDataset
from quant_assets.loading.due_by_age import ByAge
from quant_assets.schema.catalog import SCHEMA, SCHEMA_VERSION, Schema
from quant_assets.schema.row_rules import Mask
from quant_assets.schema.table import FETCHED, RUN, Column, Table

NOTES = Table(
    "notes",
    "What somebody notes about a symbol.",
    (
        Column("symbol", "VARCHAR", "The symbol."),
        Column("note_id", "INTEGER", "Number of the note."),
        Column("source", "VARCHAR", "Who keeps it."),
        Column("text", "VARCHAR", "The note."),
        Column("stars", "DOUBLE", "How it rates the symbol.", positive=True),
        FETCHED,
        RUN,
    ),
    key=("symbol", "note_id", "source"),
    revised=True,
)
TAGS = Table(
    "note_tags",
    "The tags of notes.",
    (
        Column("symbol", "VARCHAR", "The symbol."),
        Column("note_id", "INTEGER", "Number of the note."),
        Column("tag", "VARCHAR", "The tag."),
    ),
    key=("symbol", "note_id", "tag"),
)
NOTE_ROWS = pa.schema(
    [("symbol", pa.string()), ("note_id", pa.int32()), ("text", pa.string()), ("stars", "float64")]
)
TAG_ROWS = pa.schema([("symbol", pa.string()), ("note_id", pa.int32()), ("tag", pa.string())])

WITH_NOTES = Schema(SCHEMA_VERSION, (*SCHEMA.tables, NOTES, TAGS))
"""The tables of the warehouse and the two of the toy."""


def shouted(rows: pa.Table) -> Mask:
    mask: Mask = pc.fill_null(pc.utf8_is_upper(rows["text"]), False).to_numpy()
    return mask


DATASET = RowDataset(
    "notes",
    rows=((NOTES, NOTE_ROWS), (TAGS, TAG_ROWS)),
    rule=ByAge(dt.timedelta(days=1)),
    checks={"notes": (("text is shouted", shouted),)},
    security="none",
)


Note = tuple[int, str | None, float, tuple[str, ...]]
"""Number, text, stars and tags."""


@dataclass
class NoteSource:
    """Keeps ``notes`` by symbol, fails as ``failures`` say, and remembers what it was asked."""

    notes: dict[str, list[Note]] = field(default_factory=dict)
    failures: Mapping[str, SourceError] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    name: str = "desk"
    simulated: bool = False

    @property
    def profile(self) -> SourceProfile:
        return SourceProfile(self.name, simulated=self.simulated, live=True)

    def symbols(self) -> tuple[str, ...]:
        return tuple(sorted(self.notes))

    def fetch(self, requests: Sequence[Request]) -> Iterator[RowAnswer]:
        for request in requests:
            symbol = request.symbol
            self.requests.append(symbol)
            unknown = UnknownSymbolAtSource(self.name, symbol)
            failure = self.failures.get(symbol, None if symbol in self.notes else unknown)
            if failure:
                yield RowAnswer((symbol,), failures={symbol: failure})
                continue
            kept = self.notes[symbol]
            notes = [(symbol, number, text, stars) for number, text, stars, _ in kept]
            tags = [(symbol, number, tag) for number, _, _, some in kept for tag in some]
            yield RowAnswer(
                (symbol,),
                {"notes": _table(notes, NOTE_ROWS), "note_tags": _table(tags, TAG_ROWS)},
            )


def _table(rows: Sequence[tuple[object, ...]], schema: pa.Schema) -> pa.Table:
    named = [dict(zip(schema.names, row, strict=True)) for row in rows]
    return pa.Table.from_pylist(named, schema=schema)
