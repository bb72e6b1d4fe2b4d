"""Vendor files read into typed columns; bad cells and torn lines set aside.

One CSV or Parquet file at a time: which files a path stands for, what stands in their columns, and
what could not be read. What an archive of such files means is said in ``sources/files.py``.
"""

from __future__ import annotations

import csv
import datetime as dt
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from quant_assets.contracts.prices import UNREADABLE_COLUMNS
from quant_assets.contracts.source import BadAnswer, SourceUnavailable
from quant_assets.reference.identity import InvalidSymbolError, canonical_symbol

Mask = np.ndarray[tuple[int], np.dtype[np.bool_]]

NUMBERS = ("open", "high", "low", "close", "volume", "split", "dividend", "adjusted_close")

_NUMBER = r"^[-+]?(\d+\.?\d*([eE][-+]?\d+)?|\.\d+([eE][-+]?\d+)?|(?i:nan|inf|infinity))$"
_DAY_IN_PATH = re.compile(r"(?<!\d)\d{4}([-_]?)\d{2}\1\d{2}(?!\d)")
_TIME_OF_DAY = re.compile(r"[T\s]+\d{1,2}:?\d{2}.*")


@dataclass(frozen=True)
class Dialect:
    """How a vendor writes: ``columns`` maps our names to theirs, empty where there is none.

    ``source`` is whom errors name. With ``symbol_from_filename`` a file's name is its symbol.
    """

    source: str
    columns: Mapping[str, str]
    date_format: str = "%Y-%m-%d"
    delimiter: str = ","
    symbol_from_filename: bool = False

    @property
    def named(self) -> dict[str, str]:
        return {
            ours: theirs
            for ours, theirs in self.columns.items()
            if theirs and not (ours == "symbol" and self.symbol_from_filename)
        }


def expand(source: str, paths: Sequence[str]) -> list[Path]:
    """The files that paths, folders and globs stand for, each once. Raises SourceUnavailable."""
    found: list[Path] = []
    for text in paths:
        path = Path(text)
        if path.is_dir():
            matches = sorted(p for p in path.iterdir() if _suffix(p) in _READERS)
        elif any(mark in text for mark in "*?["):
            anchor = Path(path.anchor)
            matches = sorted(anchor.glob(str(path.relative_to(anchor))))
        else:
            matches = [path] if path.exists() else []
        if not matches:
            raise SourceUnavailable(source, f"No file matches {text}.")
        found += matches
    return list(dict.fromkeys(found))


def in_order_of_delivery(paths: Sequence[Path]) -> list[Path]:
    """Paths by the last date that stands in each (``20150714/prices.csv``), then by name."""
    return sorted(paths, key=lambda path: (_day_in(path), path))


def _day_in(path: Path) -> dt.date:
    found = [match[0].replace("_", "-") for match in _DAY_IN_PATH.finditer(str(path))]
    for text in reversed(found):
        try:
            return dt.date.fromisoformat(text)
        except ValueError:
            continue
    return dt.date.min


def read_typed(path: Path, dialect: Dialect) -> tuple[pa.Table, pa.Table]:
    """The rows of one file, and those that could not be read.

    Rows have symbol, session and ``NUMBERS``, null where the file has no such column. What could
    not be read has the columns of ``UNREADABLE_COLUMNS``, its symbol empty where illegible. Raises
    BadAnswer for a file that is empty, is not what its name says or lacks a column, and
    SourceUnavailable for one that can't be opened.
    """
    source, reader = dialect.source, _READERS.get(_suffix(path))
    if reader is None:
        raise BadAnswer(source, f"{path.name} is neither CSV nor Parquet by its name.")
    try:
        if path.stat().st_size == 0:
            raise BadAnswer(source, f"{path.name} is empty.")
        raw, torn = reader(path, dialect)
        columns = {ours: raw[theirs] for ours, theirs in dialect.named.items()}
        if dialect.symbol_from_filename:
            columns["symbol"] = pa.chunked_array(
                [pa.repeat(pa.scalar(_bare_name(path)), raw.num_rows)]
            )
        typed, bad = _typed(columns, dialect.date_format)
    except OSError as error:
        raise SourceUnavailable(source, f"{path.name} can't be read: {error}.") from error
    except pa.ArrowException as error:
        kind = "Parquet" if reader is _read_parquet else "CSV"
        raise BadAnswer(
            source, f"{path.name} is not {kind} that can be read: {_first_line(error)}"
        ) from error
    return typed, pa.concat_tables([bad, torn])


def _suffix(path: Path) -> str:
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    return "".join(suffixes if suffixes[-1:] == [".gz"] else suffixes[-1:])


def _bare_name(path: Path) -> str:
    return path.name[: len(path.name) - len(_suffix(path))]


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _read_parquet(path: Path, dialect: Dialect) -> tuple[pa.Table, pa.Table]:
    wanted = list(dict.fromkeys(dialect.named.values()))
    _require(dialect.source, path, wanted, pyarrow.parquet.read_schema(path).names)
    return pyarrow.parquet.read_table(path, columns=wanted), UNREADABLE_COLUMNS.empty_table()


def _read_csv(path: Path, dialect: Dialect) -> tuple[pa.Table, pa.Table]:
    wanted = list(dict.fromkeys(dialect.named.values()))
    held = _header(path, dialect)
    _require(dialect.source, path, wanted, held)
    torn: list[tuple[int, str]] = []

    def set_aside(line: pyarrow.csv.InvalidRow) -> str:
        torn.append((line.expected_columns, line.text))
        return "skip"

    with _opened(path) as stream:
        table = pyarrow.csv.read_csv(
            stream,
            parse_options=pyarrow.csv.ParseOptions(
                delimiter=dialect.delimiter, invalid_row_handler=set_aside
            ),
            # Columns nobody asked for are not even converted: none of their cells can fell a file.
            convert_options=pyarrow.csv.ConvertOptions(
                include_columns=wanted,
                column_types=dict.fromkeys(wanted, pa.string()),
                strings_can_be_null=True,
                null_values=[""],
            ),
        )
    if table.num_rows == 0 and not torn:
        raise BadAnswer(dialect.source, f"{path.name} has a header and no rows.")
    return table, _torn_lines(path, torn, held, dialect)


_READERS = {
    ".csv": _read_csv,
    ".txt": _read_csv,
    ".csv.gz": _read_csv,
    ".parquet": _read_parquet,
    ".pq": _read_parquet,
}


def _opened(path: Path) -> pa.NativeFile:
    return pa.input_stream(str(path), compression="gzip" if _suffix(path) == ".csv.gz" else None)


def _header(path: Path, dialect: Dialect) -> list[str]:
    """The column names of a CSV file. Raises BadAnswer for what is no CSV by its first line."""
    with _opened(path) as stream:
        opening = stream.read(1 << 16).removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n")
    if opening.startswith(b"<"):
        raise BadAnswer(dialect.source, f"{path.name} is HTML or XML, not CSV.")
    if opening.startswith((b"{", b"[")):
        raise BadAnswer(dialect.source, f"{path.name} is JSON, not CSV.")
    line = next(iter(opening.splitlines()), b"")
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        raise BadAnswer(dialect.source, f"{path.name} is not CSV in UTF-8.") from error
    if not text or "\x00" in text:
        raise BadAnswer(dialect.source, f"{path.name} is not CSV: it has no header.")
    return next(csv.reader([text], delimiter=dialect.delimiter))


def _require(source: str, path: Path, wanted: Sequence[str], held: Sequence[str]) -> None:
    missing = [name for name in wanted if name not in held]
    if missing:
        raise BadAnswer(
            source,
            f"{path.name} has no column {', '.join(missing)}; it has {', '.join(held)}. Map the "
            "names in quant_assets.toml under files.<archive>.columns.",
        )
    double = [name for name in wanted if list(held).count(name) > 1]
    if double:
        raise BadAnswer(source, f"{path.name} has more than one column {', '.join(double)}.")


def _torn_lines(
    path: Path, torn: Sequence[tuple[int, str]], held: Sequence[str], dialect: Dialect
) -> pa.Table:
    """Lines with too few or too many fields; the symbol is what stands in its place, if legible."""
    rows = []
    for expected, text in torn:
        fields = text.split(dialect.delimiter)
        if dialect.symbol_from_filename:
            symbol = _bare_name(path)
        else:
            at = held.index(dialect.columns["symbol"])
            symbol = fields[at] if at < len(fields) else ""
        rows.append(
            {
                "symbol": _spelt(symbol) or "",
                "session": "",
                "reason": f"{path.name}: a line of {len(fields)} fields where {expected} belong",
                "raw": json.dumps(text),
            }
        )
    return pa.Table.from_pylist(rows, schema=UNREADABLE_COLUMNS)


def _typed(named: Mapping[str, pa.ChunkedArray], date_format: str) -> tuple[pa.Table, pa.Table]:
    """Our columns with our types, and the rows in which a cell could not be read, as text."""
    count = len(named["symbol"])
    bad = np.zeros(count, dtype=bool)
    reasons = np.full(count, "", dtype=object)

    def note(mask: Mask, name: str) -> None:
        fresh = mask & ~bad
        if fresh.any():
            texts = named[name].filter(pa.array(fresh)).to_pylist()
            reasons[fresh] = [f"{name} can't be read: {text!r}" for text in texts]
            bad[fresh] = True

    symbols = _symbols(named["symbol"])
    note(_nulls(symbols), "symbol")
    sessions = _dates(named["session"], date_format)
    note(_nulls(sessions), "session")
    columns = {"symbol": symbols, "session": sessions}
    for name in NUMBERS:
        if name in named:
            columns[name], unreadable = _numbers(named[name])
            note(unreadable, name)
        else:
            columns[name] = pa.nulls(count, pa.float64())
    typed = pa.table(columns)
    if not bad.any():
        return typed, UNREADABLE_COLUMNS.empty_table()
    rejected = pa.table(dict(named)).filter(pa.array(bad)).to_pylist()
    aside = pa.table(
        {
            "symbol": pc.fill_null(symbols.filter(pa.array(bad)), ""),
            "session": [str(row["session"]) for row in rejected],
            "reason": reasons[bad].tolist(),
            "raw": [json.dumps(row, default=str, sort_keys=True) for row in rejected],
        },
        schema=UNREADABLE_COLUMNS,
    )
    return typed.filter(pa.array(~bad)), aside


def _nulls(array: pa.Array) -> Mask:
    mask: Mask = array.is_null().to_numpy(zero_copy_only=False)
    return mask


def _plain(column: pa.ChunkedArray) -> pa.Array:
    """One array without a dictionary, its texts of the ordinary kind."""
    array = pa.chunked_array(column).combine_chunks()
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    texts = (pa.types.is_large_string, pa.types.is_string_view)
    return array.cast(pa.string()) if any(holds(array.type) for holds in texts) else array


def _symbols(column: pa.ChunkedArray) -> pa.Array:
    """Symbols in our spelling, null where there is none."""
    encoded = _plain(column).cast(pa.string()).dictionary_encode()
    spelt = [_spelt(text) for text in encoded.dictionary.to_pylist()]
    return pa.array(spelt, pa.string()).take(encoded.indices)


def _spelt(text: str) -> str | None:
    try:
        return canonical_symbol(text)
    except InvalidSymbolError:
        return None


def _dates(column: pa.ChunkedArray, date_format: str) -> pa.Array:
    """Dates, null where there is none; a time of day is dropped, as its own clock shows it."""
    array = _plain(column)
    if pa.types.is_temporal(array.type):
        if pa.types.is_timestamp(array.type) and array.type.tz:
            array = pc.local_timestamp(array)
        return array.cast(pa.timestamp("us"), safe=False).cast(pa.date32(), safe=False)
    encoded = array.cast(pa.string()).dictionary_encode()
    days = [_date(text, date_format) for text in encoded.dictionary.to_pylist()]
    return pa.array(days, pa.date32()).take(encoded.indices)


def _date(text: str, date_format: str) -> dt.date | None:
    """Arrow's own parser is no help here: it takes 2024-02-31 for the second of March."""
    whole = text.strip()
    for candidate in (whole, _TIME_OF_DAY.sub("", whole)):
        try:
            return dt.datetime.strptime(candidate, date_format).date()  # noqa: DTZ007 - a day
        except ValueError:
            continue
    return None


def _numbers(column: pa.ChunkedArray) -> tuple[pa.Array, Mask]:
    """Numbers, and a mask of cells that hold something else; an empty cell is null."""
    array = _plain(column)
    if not pa.types.is_string(array.type):
        return array.cast(pa.float64(), safe=False), np.zeros(len(array), dtype=bool)
    text = pc.utf8_trim_whitespace(array)
    legible = pc.fill_null(pc.match_substring_regex(text, _NUMBER), True)
    cleaned = pc.if_else(legible, pc.ascii_ltrim(text, characters="+"), None)
    return cleaned.cast(pa.float64()), pc.invert(legible).to_numpy(zero_copy_only=False)
