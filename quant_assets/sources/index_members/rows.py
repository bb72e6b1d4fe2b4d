"""The bytes of a CSV or JSON list as rows of text under headers."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence

from quant_assets.contracts.source import BadAnswer
from quant_assets.sources.index_members.headers import SYMBOL, Row, column, header_key


def read_rows(body: bytes, where: str, source: str) -> list[Row]:
    """The rows of a list, at least one; ``where`` names it in errors. Raises BadAnswer."""
    try:
        # A list served without a charset is UTF-8, although HTTP's default is Latin-1.
        text = body.decode("utf-8-sig")
        is_json = text.lstrip()[:1] in ("[", "{")
        rows = _json_rows(text) if is_json else _csv_rows(text)
    except UnicodeDecodeError as error:
        raise BadAnswer(source, f"{where} is not UTF-8: {error}.") from error
    except (json.JSONDecodeError, RecursionError) as error:
        raise BadAnswer(source, f"{where} is not JSON: {error}.") from error
    except csv.Error as error:
        raise BadAnswer(source, f"{where} is not CSV: {error}.") from error
    if rows is None:
        message = f"{where} is JSON, but no array of symbols or of objects with a symbol."
        raise BadAnswer(source, message)
    if not rows:
        raise BadAnswer(source, f"{where} holds no rows.")
    return rows


def check_symbols(rows: Sequence[Row], where: str, source: str) -> None:
    """Raise BadAnswer where no column holds symbols."""
    if not column(rows[0], SYMBOL):
        message = f"{where} has no column symbol or ticker; it has {', '.join(rows[0])}."
        raise BadAnswer(source, message)


def _csv_rows(text: str) -> list[Row]:
    return [
        {
            header_key(name or ""): (value or "").strip()
            for name, value in row.items()
            if isinstance(value, str | None)
        }
        for row in csv.DictReader(io.StringIO(text, newline=""))
    ]


def _json_rows(text: str) -> list[Row] | None:
    """None where the JSON is no array of texts and objects."""
    items = json.loads(text)
    if not isinstance(items, list) or not all(isinstance(each, str | dict) for each in items):
        return None
    return [
        {"symbol": each}
        if isinstance(each, str)
        else {
            header_key(name): "" if value is None else str(value).strip()
            for name, value in each.items()
        }
        for each in items
    ]
