"""Cells of a vendor's file as symbols, dates and numbers; rows with an unreadable cell apart."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quant_assets.contracts.prices import UNREADABLE_COLUMNS
from quant_assets.price_rules.split_text import ratio_in
from quant_assets.reference.identity import InvalidSymbolError, canonical_symbol, symbol_of_tape
from quant_assets.reference.listings import foreign_listing
from quant_assets.reference.texts import LONGEST_TEXT, shortened

Mask = np.ndarray[tuple[int], np.dtype[np.bool_]]

NUMBERS = ("open", "high", "low", "close", "volume", "split", "dividend", "adjusted_close")

_NUMBER = r"^[-+]?(\d+\.?\d*([eE][-+]?\d+)?|\.\d+([eE][-+]?\d+)?|(?i:nan|inf|infinity))$"
_BLANK = r"^(?i:nan|null|none|n/?a|<na>|-+)?$"
"""What vendors write where they have no number. In a row that has another, it is unreadable."""

LONGEST_NUMBER = 400
"""Characters of a number; the largest of 64 bits has 309 digits."""

_TIME_OF_DAY = re.compile(r"[T\s]+\d{1,2}:?\d{2}.*")


EPOCHS = {"epoch_s": 1, "epoch_ms": 10**3, "epoch_us": 10**6, "epoch_ns": 10**9}
"""Date formats that count from 1970-01-01 UTC, and how many of their units a second has."""


@dataclass(frozen=True)
class CellForms:
    """How a vendor writes symbols, dates and numbers.

    ``symbol_pattern`` has ``*`` where the symbol stands (``*.us``), in any case; ``spelling`` is
    ``usual``, ``tape`` or ``stooq``. ``ignored`` are characters of numbers
    that say nothing, such as a thousands mark.
    """

    date_format: str = "%Y-%m-%d"
    symbol_pattern: str = "*"
    spelling: str = "usual"
    decimal_mark: str = "."
    ignored: str = ""


def typed_columns(
    named: Mapping[str, pa.ChunkedArray], forms: CellForms
) -> tuple[pa.Table, pa.Table]:
    """Our columns with our types, and the rows with an unreadable cell, as UNREADABLE_COLUMNS.

    Blank rows, which have no price, no volume and no event, are left out: an archive that has a
    row for every symbol and day says no more with them than without.
    """
    blank = _blank_rows({name: _plainly(cells, forms) for name, cells in named.items()})
    if blank.any():
        kept = pa.array(~blank)
        named = {name: pa.chunked_array(cells).filter(kept) for name, cells in named.items()}
    count = len(named["symbol"])
    bad = np.zeros(count, dtype=bool)
    reasons = np.full(count, "", dtype=object)

    def reject(mask: Mask, name: str) -> None:
        fresh = mask & ~bad
        if fresh.any():
            texts = named[name].filter(pa.array(fresh)).to_pylist()
            reasons[fresh] = [_why(name, text) for text in texts]
            bad[fresh] = True

    symbols = _symbols(named["symbol"], forms)
    reject(_nulls(symbols), "symbol")
    sessions = _dates(named["session"], forms.date_format)
    reject(_nulls(sessions), "session")
    columns = {"symbol": symbols, "session": sessions}
    for name in NUMBERS:
        if name in named:
            plain = _plainly(named[name], forms)
            columns[name], unreadable = _numbers(plain, ratios=name == "split")
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
                str(day or _cut(row["session"]))
                for day, row in zip(
                    sessions.filter(pa.array(bad)).to_pylist(), rejected, strict=True
                )
            ],
            "reason": reasons[bad].tolist(),
            "raw": [json.dumps(_cut_cells(row), default=str, sort_keys=True) for row in rejected],
        },
        schema=UNREADABLE_COLUMNS,
    )
    return typed.filter(pa.array(~bad)), unreadable_rows


def _why(name: str, cell: object) -> str:
    abroad = foreign_listing(str(cell)) if name == "symbol" else None
    if abroad:
        return f"{abroad}, and those outside the United States are not loaded"
    return f"{name} can't be read: {_cut(cell)!r}"


def _cut(cell: object) -> object:
    return shortened(cell, LONGEST_TEXT) if isinstance(cell, str) else cell


def _cut_cells(row: Mapping[str, object]) -> dict[str, object]:
    return {name: _cut(cell) for name, cell in row.items()}


_NOTHING = {"volume": (0.0,), "split": (0.0, 1.0), "dividend": (0.0,)}
"""Numbers that say nothing in a row without a price."""


def _blank_rows(named: Mapping[str, pa.ChunkedArray]) -> Mask:
    """Rows in which every number that the file has is blank, or says nothing beside blanks."""
    blank: Mask = np.zeros(len(named["symbol"]), dtype=bool)
    if "close" not in named:  # a file of actions, not of prices
        return blank
    places = np.flatnonzero(_has_no_number(_plain(named["close"])))
    for name in NUMBERS:
        if len(places) and name in named:
            cells = _plain(named[name].take(pa.array(places)))
            numbers, unreadable = _numbers(_without_blanks(cells))
            values = numbers.to_numpy(zero_copy_only=False)
            says_nothing = np.isnan(values) | np.isin(values, _NOTHING.get(name, ()))
            places = places[says_nothing & ~unreadable]
    blank[places] = True
    return blank


def _has_no_number(cells: pa.Array) -> Mask:
    """Cells that may be blank; of texts only their first character is looked at."""
    if pa.types.is_string(cells.type):
        begins = pc.and_(pc.greater_equal(cells, "0"), pc.less(cells, ":"))
        return _mask(pc.invert(pc.fill_null(begins, False)))
    return _mask(pc.is_null(cells.cast(pa.float64(), safe=False), nan_is_null=True))


def _without_blanks(cells: pa.Array) -> pa.Array:
    if not pa.types.is_string(cells.type):
        return cells
    text = pc.utf8_trim_whitespace(cells)
    return pc.if_else(pc.match_substring_regex(text, _BLANK), None, text)


def _mask(values: pa.Array) -> Mask:
    mask: Mask = values.to_numpy(zero_copy_only=False)
    return mask


def _nulls(array: pa.Array) -> Mask:
    return _mask(array.is_null())


def _plain(column: pa.ChunkedArray) -> pa.Array:
    """One array without a dictionary; texts of any kind become strings, bytes too."""
    array = pa.chunked_array(column).combine_chunks()
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_binary(array.type) or pa.types.is_large_binary(array.type):
        cells = array.to_pylist()
        return pa.array([c if c is None else c.decode("utf-8", "replace") for c in cells])
    texts = (pa.types.is_large_string, pa.types.is_string_view)
    return array.cast(pa.string()) if any(is_one(array.type) for is_one in texts) else array


def _symbols(column: pa.ChunkedArray, forms: CellForms) -> pa.Array:
    """Symbols in our spelling, null where a text is no symbol."""
    encoded = _plain(column).cast(pa.string()).dictionary_encode()
    canonical = [spelled(text, forms) for text in encoded.dictionary.to_pylist()]
    return pa.array(canonical, pa.string()).take(encoded.indices)


def spelled(text: str, forms: CellForms = CellForms()) -> str | None:
    """A symbol in our spelling; None for a text that is none, or not of the vendor's pattern, and
    for a listing outside the United States."""
    before, _, after = forms.symbol_pattern.partition("*")
    whole = text.strip()
    end = len(whole) - len(after)
    if whole[: len(before)].lower() != before.lower() or whole[end:].lower() != after.lower():
        return None
    try:
        inner = whole[len(before) : end]
        if foreign_listing(inner):
            return None
        if forms.spelling == "stooq":
            inner = inner.replace("_", "^")  # preferred stock: abr_d.us is ABR.PRD
        return symbol_of_tape(inner) if forms.spelling == "tape" else canonical_symbol(inner)
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
    if date_format in EPOCHS:
        return _epoch_day(whole, EPOCHS[date_format])
    for candidate in (whole, _TIME_OF_DAY.sub("", whole)):
        try:
            return dt.datetime.strptime(candidate, date_format).date()  # noqa: DTZ007 - a day
        except ValueError:
            continue
    return None


def _epoch_day(text: str, units: int) -> dt.date | None:
    """The UTC day of a number of units since 1970. Both midnight in New York, as Massive's bars
    have, and midnight UTC are on the day of the session."""
    try:
        seconds = (int(text) if text.isdecimal() else int(float(text))) // units
        return dt.datetime.fromtimestamp(seconds, dt.UTC).date()
    except (ValueError, OverflowError, OSError):
        return None


def _plainly(column: pa.ChunkedArray, forms: CellForms) -> pa.ChunkedArray:
    """Cells of numbers without the characters that say nothing, a point at the decimals."""
    if not forms.ignored and forms.decimal_mark == ".":
        return column
    array = _plain(column)
    if not pa.types.is_string(array.type):
        return column
    for mark in forms.ignored:
        array = pc.replace_substring(array, mark, "")
    if forms.decimal_mark != ".":
        # A point would pass for a decimal mark: 1.234,5 is no number unless points are ignored.
        array = pc.replace_substring(array, ".", "?")
        array = pc.replace_substring(array, forms.decimal_mark, ".")
    return pa.chunked_array([array])


def _numbers(column: pa.ChunkedArray, *, ratios: bool = False) -> tuple[pa.Array, Mask]:
    """Numbers, and a mask of the cells that hold another text; an empty cell is null.

    With ``ratios`` a text such as 4:1 is the number it stands for.
    """
    array = _plain(column)
    if pa.types.is_floating(array.type) and array.type.bit_width < 64:
        # 101.9 of 32 bits is 101.9000015258789 of 64: the shortest decimal is what was meant.
        array = array.cast(pa.string()).cast(pa.float64())
    if pa.types.is_decimal(array.type):
        array = array.cast(pa.string()).cast(pa.float64())  # Arrow's own cast is off by a last bit
    if not pa.types.is_string(array.type):
        return array.cast(pa.float64(), safe=False), np.zeros(len(array), dtype=bool)
    text = pc.utf8_trim_whitespace(array)
    legible = pc.fill_null(pc.match_substring_regex(text, _NUMBER), True)
    short = pc.less_equal(pc.fill_null(pc.binary_length(text), 0), LONGEST_NUMBER)
    legible = pc.and_(legible, short)
    cleaned = pc.if_else(legible, pc.ascii_ltrim(text, characters="+"), None)
    numbers, unreadable = cleaned.cast(pa.float64()), _mask(pc.invert(legible))
    if ratios and unreadable.any():
        written = text.filter(pa.array(unreadable)).dictionary_encode()
        found = pa.array([ratio_in(each) for each in written.dictionary.to_pylist()], pa.float64())
        numbers = pc.replace_with_mask(numbers, pa.array(unreadable), found.take(written.indices))
        unreadable &= _nulls(numbers)
    return numbers, unreadable
