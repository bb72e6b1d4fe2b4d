"""Cells of a vendor's file as symbols, dates and numbers; rows with an unreadable cell apart."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quant_assets.contracts.prices import UNREADABLE_COLUMNS
from quant_assets.reference.identity import InvalidSymbolError, canonical_symbol

Mask = np.ndarray[tuple[int], np.dtype[np.bool_]]

NUMBERS = ("open", "high", "low", "close", "volume", "split", "dividend", "adjusted_close")

_NUMBER = r"^[-+]?(\d+\.?\d*([eE][-+]?\d+)?|\.\d+([eE][-+]?\d+)?|(?i:nan|inf|infinity))$"
_TIME_OF_DAY = re.compile(r"[T\s]+\d{1,2}:?\d{2}.*")


def typed_columns(
    named: Mapping[str, pa.ChunkedArray], date_format: str
) -> tuple[pa.Table, pa.Table]:
    """Our columns with our types, and the rows with an unreadable cell, as UNREADABLE_COLUMNS."""
    count = len(named["symbol"])
    bad = np.zeros(count, dtype=bool)
    reasons = np.full(count, "", dtype=object)

    def reject(mask: Mask, name: str) -> None:
        fresh = mask & ~bad
        if fresh.any():
            texts = named[name].filter(pa.array(fresh)).to_pylist()
            reasons[fresh] = [f"{name} can't be read: {text!r}" for text in texts]
            bad[fresh] = True

    symbols = _symbols(named["symbol"])
    reject(_nulls(symbols), "symbol")
    sessions = _dates(named["session"], date_format)
    reject(_nulls(sessions), "session")
    columns = {"symbol": symbols, "session": sessions}
    for name in NUMBERS:
        if name in named:
            columns[name], unreadable = _numbers(named[name])
            reject(unreadable, name)
        else:
            columns[name] = pa.nulls(count, pa.float64())
    typed = pa.table(columns)
    if not bad.any():
        return typed, UNREADABLE_COLUMNS.empty_table()
    rejected = pa.table(dict(named)).filter(pa.array(bad)).to_pylist()
    unreadable_rows = pa.table(
        {
            "symbol": pc.fill_null(symbols.filter(pa.array(bad)), ""),
            # A legible day in our spelling, whatever the vendor's.
            "session": [
                str(day or row["session"])
                for day, row in zip(
                    sessions.filter(pa.array(bad)).to_pylist(), rejected, strict=True
                )
            ],
            "reason": reasons[bad].tolist(),
            "raw": [json.dumps(row, default=str, sort_keys=True) for row in rejected],
        },
        schema=UNREADABLE_COLUMNS,
    )
    return typed.filter(pa.array(~bad)), unreadable_rows


def _nulls(array: pa.Array) -> Mask:
    mask: Mask = array.is_null().to_numpy(zero_copy_only=False)
    return mask


def _plain(column: pa.ChunkedArray) -> pa.Array:
    """One array without a dictionary; large strings and string views become strings."""
    array = pa.chunked_array(column).combine_chunks()
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    texts = (pa.types.is_large_string, pa.types.is_string_view)
    return array.cast(pa.string()) if any(is_one(array.type) for is_one in texts) else array


def _symbols(column: pa.ChunkedArray) -> pa.Array:
    """Symbols in our spelling, null where a text is no symbol."""
    encoded = _plain(column).cast(pa.string()).dictionary_encode()
    canonical = [spelled(text) for text in encoded.dictionary.to_pylist()]
    return pa.array(canonical, pa.string()).take(encoded.indices)


def spelled(text: str) -> str | None:
    """A symbol in our spelling; None for a text that is none."""
    try:
        return canonical_symbol(text)
    except InvalidSymbolError:
        return None


def _dates(column: pa.ChunkedArray, date_format: str) -> pa.Array:
    """Dates, null where a cell holds none; a local time of day is dropped."""
    array = _plain(column)
    if pa.types.is_temporal(array.type):
        if pa.types.is_timestamp(array.type) and array.type.tz:
            array = pc.local_timestamp(array)
        return array.cast(pa.timestamp("us"), safe=False).cast(pa.date32(), safe=False)
    encoded = array.cast(pa.string()).dictionary_encode()
    days = [read_date(text, date_format) for text in encoded.dictionary.to_pylist()]
    return pa.array(days, pa.date32()).take(encoded.indices)


def read_date(text: str, date_format: str) -> dt.date | None:
    """A date in a text. Arrow's own parser takes 2024-02-31 for the second of March."""
    whole = text.strip()
    for candidate in (whole, _TIME_OF_DAY.sub("", whole)):
        try:
            return dt.datetime.strptime(candidate, date_format).date()  # noqa: DTZ007 - a day
        except ValueError:
            continue
    return None


def _numbers(column: pa.ChunkedArray) -> tuple[pa.Array, Mask]:
    """Numbers, and a mask of the cells that hold another text; an empty cell is null."""
    array = _plain(column)
    if not pa.types.is_string(array.type):
        return array.cast(pa.float64(), safe=False), np.zeros(len(array), dtype=bool)
    text = pc.utf8_trim_whitespace(array)
    legible = pc.fill_null(pc.match_substring_regex(text, _NUMBER), True)
    cleaned = pc.if_else(legible, pc.ascii_ltrim(text, characters="+"), None)
    return cleaned.cast(pa.float64()), pc.invert(legible).to_numpy(zero_copy_only=False)
