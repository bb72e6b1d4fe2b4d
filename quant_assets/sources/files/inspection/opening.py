"""The opening of one file: its kind, its delimiter, its header, and the first rows as they stand.

Nothing is concluded here about what the columns mean. What can be no archive of daily prices by its
looks is refused: a workbook, a page, a table with a column a symbol, a file without a header.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from quant_assets.sources.files.cells import spelled
from quant_assets.sources.files.header_lines import HeaderLines
from quant_assets.sources.files.inspection.dates import is_a_date
from quant_assets.sources.files.inspection.names import FIELDS, NEEDED, fields, plain
from quant_assets.sources.files.lines import open_lines
from quant_assets.sources.files.reading import READERS, suffix_of

READ = 1 << 16
"""Bytes of a file that are looked at."""

ROWS = 200

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}

_DIGITS = re.compile(r"\d\d")
_NUMBER = re.compile(r"[-+$]?[\d.,]+$")

_KINDS = {
    b"PK\x03\x04": "a workbook or a ZIP archive",
    b"\xd0\xcf\x11\xe0": "a workbook of old Excel",
    b"SQLite f": "an SQLite database",
    b"%PDF": "a PDF",
    b"\x89HDF": "an HDF5 file",
    b"7z\xbc\xaf": "a 7z archive",
}


_PACKED = {".gz": b"\x1f\x8b", ".bz2": b"BZh", ".zst": b"\x28\xb5\x2f\xfd"}


class NotReadable(Exception):  # noqa: N818 - a finding, not an error
    """A file that can't be loaded, and why; the message goes on after its name."""


@dataclass(frozen=True)
class Opening:
    """``columns`` are names with the cells of the first rows, texts or, of Parquet, values.

    ``header`` has the kinds of the header's lines, ``symbols`` those that a line of it names.
    """

    path: Path
    columns: dict[str, list[object]]
    delimiter: str = ","
    header: tuple[str, ...] = ("field",)
    symbols: tuple[str, ...] = ()
    parquet: bool = False

    @property
    def layout(self) -> tuple[object, ...]:
        """What files of one archive have in common."""
        return (self.parquet, self.delimiter, self.header, tuple(sorted(self.columns)))

    def texts(self, column: str) -> list[str]:
        return [str(cell).strip() for cell in self.columns[column] if cell not in (None, "")]


def look_at(path: Path) -> Opening:
    """Raises NotReadable."""
    try:
        if path.is_fifo() or path.is_socket():
            raise NotReadable("is no file, but a pipe of the system.")
        with path.open("rb") as stream:
            start = stream.read(8)
        if not start:
            raise NotReadable("is empty.")
        if start.startswith(b"PAR1"):
            return _parquet(path)
        for magic, kind in _KINDS.items():
            if start.startswith(magic):
                raise NotReadable(_of_another_kind(path, kind))
        packed = next((end for end, mark in _PACKED.items() if start.startswith(mark)), "")
        if suffix_of(path) not in READERS or not suffix_of(path).endswith(packed):
            raise NotReadable(
                "has a name that does not tell its kind; it must end in .csv, .txt, .tsv, "
                ".parquet or .pq, with .gz, .bz2 or .zst after that if it is packed."
            )
        stream, _ = open_lines(path, suffix_of(path))
        with stream:
            whole = stream.read(READ)
    except OSError as error:
        raise NotReadable(f"can't be read: {error}.") from error
    if b"\x00" in whole:
        raise NotReadable("is no text: it has bytes of zero.")
    return _csv(path, whole)


def _of_another_kind(path: Path, kind: str) -> str:
    if path.suffix.lower() in (".xlsx", ".xlsm", ".xls", ".ods"):
        return "is a workbook. Save each of its sheets as CSV; workbooks are not read."
    if path.suffix.lower() == ".zip":
        return "is a ZIP archive. Unpack it and inspect the folder."
    return f"is {kind}. CSV and Parquet are read."


def _parquet(path: Path) -> Opening:
    import pyarrow as pa  # noqa: PLC0415 - only an archive of files needs Arrow's readers
    import pyarrow.parquet  # noqa: PLC0415

    if suffix_of(path) not in (".parquet", ".pq"):
        raise NotReadable("is Parquet, and its name must end in .parquet or .pq.")
    try:
        file = pyarrow.parquet.ParquetFile(path)
        batch = next(file.iter_batches(batch_size=ROWS), None)
    except (OSError, pa.ArrowException) as error:
        raise NotReadable("is not Parquet that can be read.") from error
    if batch is None or not batch.num_rows:
        raise NotReadable("has no rows.")
    columns = {name: batch.column(name).to_pylist() for name in batch.schema.names}
    _check_fields(list(columns), {})
    return Opening(path, columns, parquet=True)


def _csv(path: Path, whole: bytes) -> Opening:
    text = whole.removeprefix(codecs.BOM_UTF8).decode("utf-8", "replace")
    opening = text.lstrip()
    if opening.startswith(("{", "[")):
        raise NotReadable("is JSON. CSV and Parquet are read.")
    if opening.lower().startswith(("<!", "<html", "<?xml")):
        raise NotReadable("is a page (HTML or XML), not a table. It may be an error message.")
    lines = text.splitlines()
    if len(whole) == READ and len(lines) > 1:
        lines = lines[:-1]  # cut off in its middle
    lines = lines[: ROWS + 10]
    if not any(line.strip() for line in lines):
        raise NotReadable("is empty.")
    delimiter = _delimiter(lines)
    rows = [next(csv.reader([line], delimiter=delimiter), []) for line in lines]
    kinds = _header(rows)
    header = HeaderLines.read(lines[: len(kinds)], kinds, delimiter)
    data = [row for row in rows[len(kinds) :] if len(row) == len(header.fields)]
    if not data:
        lengths = [len(row) for row in rows[len(kinds) :] if any(row)]
        raise NotReadable(
            f"has rows of {lengths[0]} fields under a header of {len(header.fields)}. Give both as "
            "many."
            if lengths
            else "has a header and no rows."
        )
    columns: dict[str, list[object]] = {}
    by_symbol = "symbol" in kinds
    for at, name in enumerate(header.fields):
        if not by_symbol or name not in columns:
            columns.setdefault(name, []).extend(row[at] for row in data)
    doubles = Counter(header.fields)
    double = [name for name in fields(header.fields).values() if doubles[name] > 1]
    if double and not by_symbol:
        raise NotReadable(
            f"has more than one column {double[0]}, and no line that tells them apart."
        )
    symbols = dict.fromkeys(
        symbol
        for name, symbol in zip(header.fields, header.symbols, strict=True)
        if name == fields(header.fields).get("close")
    )
    own = tuple(symbols) if by_symbol else ()
    return Opening(path, columns, delimiter, tuple(kinds), own)


def _delimiter(lines: Sequence[str]) -> str:
    """The mark that splits a header and the rows below it into the most fields."""

    def width(mark: str) -> int:
        widths = [len(next(csv.reader([line], delimiter=mark), [])) for line in lines[:50]]
        usual = Counter(widths[1:] or widths).most_common(1)[0][0]
        named = [
            at for line, at in zip(lines[:10], widths, strict=False) if not _DIGITS.search(line)
        ]
        # 191,04;191,92 has as many fields by commas as by semicolons; its header has not.
        return usual if usual in named or not named else 1

    return max(DELIMITERS, key=width)


def _header(rows: Sequence[Sequence[str]]) -> list[str]:
    """The kind of each line of the header. Raises NotReadable where there is none."""
    at = next((n for n, row in enumerate(rows[:10]) if _names_fields(row)), None)
    if at is None:
        raise NotReadable(_why_no_header(rows))
    kinds = ["skip"] * at
    over = [n for n in range(at) if _names_symbols(rows[n], rows[at])]
    if over:
        kinds[over[-1]] = "symbol"
    kinds.append("field")
    for row in rows[at + 1 : at + 4]:
        if any(is_a_date(cell) for cell in row) or len(row) != len(rows[at]):
            break
        named = "symbol" not in kinds and _names_symbols(row, rows[at])
        if not named and any(_NUMBER.match(cell) for cell in row):
            break  # a row whose date can't be read
        kinds.append("symbol" if named else "skip")
    if all(not any(row) for row in rows[:at]):
        return kinds[at:] if len(kinds) == at + 1 else kinds  # blank lines before one header line
    return kinds


def _names_fields(row: Sequence[str]) -> bool:
    return len(fields(row).keys() & {*NEEDED, "adjusted_close"}) >= 3


def _names_symbols(row: Sequence[str], named: Sequence[str]) -> bool:
    """Whether a line has a symbol over or under each column of prices."""
    of_prices = [
        cell.strip()
        for cell, name in zip(row, named, strict=False)
        if plain(name) in (*FIELDS["open"], *FIELDS["close"], *FIELDS["volume"])
        and plain(name) != "price"
    ]
    return bool(of_prices) and all(
        cell and not is_a_date(cell) and not _NUMBER.match(cell) for cell in of_prices
    )


def _why_no_header(rows: Sequence[Sequence[str]]) -> str:
    first = next((row for row in rows if any(row)), [])
    if any(is_a_date(cell) for cell in first):
        return (
            f"has no header: its first line is a row ({','.join(first)[:60]}). Columns are found "
            "by their names; put a line of names above."
        )
    named = fields(first)
    if named.keys() & {"split", "dividend"} and not named.keys() & {"open", "close"}:
        return (
            "has splits or dividends and no prices. It goes with an archive of prices, as its "
            "actions: see docs/sources.md."
        )
    below = next((row for row in rows[1:] if any(is_a_date(cell) for cell in row)), [])
    if len(first) == 1 and len(fields(first[0].split())) >= 3:
        raise NotReadable(
            "has blanks between its fields. Write commas, semicolons, tabs or bars in their place."
        )
    symbols = [cell for cell in first[1:] if spelled(cell) and not fields([cell])]
    if below and len(symbols) >= max(1, len(first) - 2) and len(first) > 1:
        return (
            f"has a column a symbol ({', '.join(symbols[:3])}{', …' if len(symbols) > 3 else ''}) "
            "and one number a day. A row needs open, high, low, close and volume."
        )
    _check_fields(first, {})
    return f"has columns that say too little: {', '.join(first)[:120]}."


def _check_fields(columns: Sequence[str], found: dict[str, str]) -> None:
    """Raises NotReadable where a column is missing without which no row can be stored."""
    found = found or fields(columns)
    missing = [name for name in NEEDED if name not in found]
    if missing:
        what = ", ".join("date" if name == "session" else name for name in missing)
        hint = (
            " An adjusted close alone is no price that was paid."
            if "close" in missing and "adjusted_close" in found
            else ""
        )
        if any(re.fullmatch(r"\('\w.*', '.*'\)", name) for name in columns):
            raise NotReadable(
                "has a column for each field and symbol, as pandas stores columns of two levels. "
                "Write one row a symbol and day: frame.stack(level=1).reset_index()."
            )
        raise NotReadable(f"has no {what}; it has {', '.join(columns)[:160]}.{hint}")


def checked_fields(opening: Opening) -> dict[str, str]:
    """The column of each of our fields. Raises NotReadable where a needed one is missing."""
    found = fields(opening.columns)
    if opening.header != ("field",) and "session" not in found:
        # yfinance writes Price above the dates, where the line of fields has the name of the line.
        found["session"] = next(iter(opening.columns))
    _check_fields(list(opening.columns), found)
    return found
