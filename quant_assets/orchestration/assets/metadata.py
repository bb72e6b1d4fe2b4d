"""Tables and previews as Dagster shows them."""

from __future__ import annotations

import dagster as dg
import pandas as pd

from quant_assets.schema.table import Table


def column_schema(table: Table) -> dg.TableSchema:
    """A table's columns, as the UI lists them."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                column.name,
                type=column.type,
                description=column.doc,
                constraints=dg.TableColumnConstraints(nullable=not column.required),
            )
            for column in table.columns
        ]
    )


def preview(frame: pd.DataFrame, rows: int = 8) -> dg.MarkdownMetadataValue:
    """The first rows of a frame as a Markdown table."""
    head = frame.head(rows)
    lines = [
        "| " + " | ".join(str(name) for name in head.columns) + " |",
        "|" + "---|" * len(head.columns),
        *("| " + " | ".join(_cell(value) for value in row) + " |" for row in head.to_numpy()),
    ]
    return dg.MetadataValue.md("\n".join(lines))


def _cell(value: object) -> str:
    if isinstance(value, pd.Timestamp):
        return str(value.date())
    return f"{value:.4f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
