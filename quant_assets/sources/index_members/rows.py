"""The bytes of a list as rows of text under headers, or as bare symbols."""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice

from quant_assets.contracts.source import BadAnswer
from quant_assets.fetching.json_body import read_json
from quant_assets.reference.texts import LONGEST_NOTE, plain_text
from quant_assets.sources.index_members.headers import SYMBOL, Row, column, header_key, value

MOST_ROWS = 100_000
"""Of a list; every change of every member of an index since 1957 has some two thousand."""


def read_rows(body: bytes, where: str, source: str) -> list[Row]:
    """The rows of a CSV or JSON list, at least one; ``where`` names the list. Raises BadAnswer."""
    with _explained(where, source):
        text = _text(body)
        rows = _json_rows(text) if text.lstrip()[:1] in ("[", "{") else _csv_rows(text)
    if rows and len(rows) > MOST_ROWS:
        raise BadAnswer(source, f"{where} has more than {MOST_ROWS:,} rows, and was not read.")
    if rows is None:
        message = f"{where} is JSON, but no array of symbols or of objects with a symbol."
        raise BadAnswer(source, message)
    if not rows:
        raise BadAnswer(source, f"{where} holds no rows.")
    return rows


def read_symbols(body: bytes, where: str, source: str) -> tuple[str, ...]:
    """The symbols of a list as they are written there, valid or not; ``where`` names the list.

    The list is CSV with a column of symbols, JSON, or symbols between white space, commas and
    semicolons. Raises BadAnswer.
    """
    with _explained(where, source):
        text = _text(body).strip()
        is_json = text[:1] in ("[", "{")
        first = [] if is_json else _cells(text.partition("\n")[0])
        header = dict.fromkeys(map(header_key, first), "")
        if is_json:
            found = _json_symbols(read_json(text))
        elif column(header, SYMBOL):
            found = [value(row, SYMBOL) or "" for row in _csv_rows(text)]
        else:
            found = re.split(r"[\s,;]+", text)
            if text.startswith("<"):
                raise BadAnswer(source, f"{where} is HTML.")
            if len(header) > 1 and "\n" in text:
                # The words of a table without such a column would pass for symbols.
                raise BadAnswer(source, f"{where} has no column symbol or ticker.")
    if found is None:
        raise BadAnswer(source, f"{where} holds no array of symbols.")
    symbols = tuple(kept for each in found if (kept := plain_text(each)))
    if not symbols:
        raise BadAnswer(source, f"{where} holds no symbols.")
    return symbols


@contextmanager
def _explained(where: str, source: str) -> Iterator[None]:
    try:
        yield
    except UnicodeDecodeError as error:
        raise BadAnswer(source, f"{where} is not UTF-8: {error}.") from error
    except csv.Error as error:
        raise BadAnswer(source, f"{where} is not CSV: {error}.") from error
    except (ValueError, RecursionError) as error:
        raise BadAnswer(source, f"{where} is not JSON: {error}.") from error


def _text(body: bytes) -> str:
    # A list served without a charset is UTF-8, although HTTP's default is Latin-1. Spreadsheets
    # save UTF-16, and put its mark before it.
    if body.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return body.decode("utf-16")
    return body.decode("utf-8-sig")


def check_symbols(rows: Sequence[Row], where: str, source: str) -> None:
    """Raise BadAnswer where no column holds symbols."""
    if not column(rows[0], SYMBOL):
        message = f"{where} has no column symbol or ticker; it has {', '.join(rows[0])}."
        raise BadAnswer(source, message)


def _csv_rows(text: str) -> list[Row]:
    return [
        {
            header_key(name or ""): plain_text(value or "", LONGEST_NOTE)
            for name, value in row.items()
            if isinstance(value, str | None)
        }
        for row in islice(csv.DictReader(io.StringIO(text, newline="")), MOST_ROWS + 1)
    ]


def _cells(line: str) -> list[str]:
    return next(csv.reader([line]), [])


def _json_rows(text: str) -> list[Row] | None:
    """None where the JSON is no array of texts and objects."""
    items = read_json(text)
    if not isinstance(items, list) or not all(isinstance(each, str | dict) for each in items):
        return None
    items = items[: MOST_ROWS + 1]
    rows = [each if isinstance(each, dict) else {"symbol": each} for each in items]
    return [{header_key(name): _json_text(each) for name, each in row.items()} for row in rows]


def _json_text(value: object) -> str:
    """A text or a number as it stands, nothing of null; of true and NaN what is no ticker."""
    if isinstance(value, str):
        return plain_text(value, LONGEST_NOTE)
    if value is None:
        return ""
    written = json.dumps(value)
    return plain_text(f"JSON {written}" if written[:1].isalpha() else written, LONGEST_NOTE)


def _json_symbols(items: object) -> list[str] | None:
    """None where the JSON holds no array."""
    if isinstance(items, dict):
        items = items.get("symbols", items.get("members", []))
    if not isinstance(items, list):
        return None
    symbols = []
    for item in items:
        pairs = item.items() if isinstance(item, dict) else ()
        row = {header_key(name): each for name, each in pairs}
        symbol = row.get(column(row, SYMBOL) or "", item)
        symbols.append("JSON null" if symbol is None else _json_text(symbol))
    return symbols
