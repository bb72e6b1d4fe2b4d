"""One CSV or Parquet file of a vendor as a table: which files a path names, headers, broken lines.

Cells are typed in ``cells.py``; the meaning of an archive's rows is in ``archive.py``.
"""

from __future__ import annotations

import codecs
import csv
import datetime as dt
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from quant_assets.contracts.prices import UNREADABLE_COLUMNS
from quant_assets.contracts.source import BadAnswer, SourceUnavailable
from quant_assets.reference.texts import LONGEST_NOTE, LONGEST_TEXT, printable, shortened
from quant_assets.sources.files.cells import CellForms, read_date, spelled, typed_columns
from quant_assets.sources.files.header_lines import SYMBOL, UNNAMED, HeaderLines
from quant_assets.sources.files.lines import LONGEST_LINE, PACKED, SHOWN, open_lines

INSPECT = "quant-assets files inspect PATH prints settings that read it."

READ_AGAIN = 20
"""Times that lines behind a quote which is not closed are read, the last time without quotes."""

_DAY_IN_PATH = re.compile(r"(?<!\d)\d{4}([-_]?)\d{2}\1\d{2}(?!\d)")


@dataclass(frozen=True)
class Dialect:
    """How a vendor writes: ``columns`` maps our names to the vendor's, empty where there is none.

    Errors name ``source``. With ``symbol_from_filename`` a file's name is its symbol. ``header``
    says what each line of the header has: the names of fields, symbols, or nothing to be read.
    """

    source: str
    columns: Mapping[str, str]
    cells: CellForms = CellForms()
    delimiter: str = ","
    symbol_from_filename: bool = False
    header: tuple[str, ...] = ("field",)

    @property
    def named(self) -> dict[str, str]:
        columns = {ours: theirs for ours, theirs in self.columns.items() if theirs}
        if self.symbol_from_filename or "symbol" in self.header:
            columns.pop("symbol", None)
        return columns | ({"symbol": SYMBOL} if "symbol" in self.header else {})


def expand(source: str, paths: Sequence[str]) -> list[Path]:
    """The files that paths, folders and globs name, each once; those of a folder whether they can
    be read or not, so that none is passed over without a word. Raises SourceUnavailable.
    """
    found: list[Path] = []
    named = [Path(text) for text in paths]
    for text in paths:
        path = Path(text)
        if path.is_dir():
            matches = [each for each in sorted(path.iterdir()) if _may_be_data(each, named)]
        elif path.exists():
            matches = [path]
        else:
            matches = sorted(p for p in _glob(path) if p.is_file() and not _hidden(p))
        if not matches:
            raise SourceUnavailable(source, f"No file matches {text}.")
        found += matches
    return list(dict.fromkeys(found))


def _glob(path: Path) -> Iterator[Path]:
    """What a glob matches; the folders it begins with are taken as they are called, ``[2025]``
    too."""
    anchor = next((folder for folder in path.parents if folder.is_dir()), None)
    if anchor is None or not any(mark in str(path.relative_to(anchor)) for mark in "*?["):
        return iter(())
    return anchor.glob(str(path.relative_to(anchor)))


def _hidden(path: Path) -> bool:
    """Whether a file is hidden, such as those macOS puts beside others (``._AAPL.csv``)."""
    return path.name.startswith(".")


def _may_be_data(path: Path, named: Sequence[Path]) -> bool:
    """Whether an entry of a folder is neither hidden, nor settings, nor a folder named itself."""
    if _hidden(path) or path.suffix.lower() == ".toml":
        return False
    return not path.is_dir() or all(path not in (other, *other.parents) for other in named)


def in_order_of_delivery(paths: Sequence[Path]) -> list[Path]:
    """Paths by the last date in each (``20150714/prices.csv``), then by name."""
    return sorted(paths, key=lambda path: (day_of_delivery(path), path))


def day_of_delivery(path: Path) -> dt.date:
    """The last date in a path; the first of all days where there is none."""
    found = [match[0].replace("_", "-") for match in _DAY_IN_PATH.finditer(str(path))]
    for text in reversed(found):
        try:
            return dt.date.fromisoformat(text)
        except ValueError:
            continue
    return dt.date.min


def read_typed(path: Path, dialect: Dialect) -> tuple[pa.Table, pa.Table]:
    """The rows of one file, and its unreadable rows.

    Rows have symbol, session and ``cells.NUMBERS``, null where the file has no such column.
    Unreadable rows have ``UNREADABLE_COLUMNS``, their symbol empty where illegible. Raises
    BadAnswer for a file that is empty, lacks a column or is not of the kind its name says, and
    SourceUnavailable for one that can't be opened.
    """
    source, reader = dialect.source, READERS.get(suffix_of(path))
    if path.is_dir():
        message = f"{_shown(path)} is a folder in a folder, and was not read. Name it in paths."
        raise BadAnswer(source, message)
    if reader is None:
        raise BadAnswer(source, f"{_shown(path)} is neither CSV nor Parquet by its name.")
    try:
        if path.stat().st_size == 0:
            raise BadAnswer(source, f"{_shown(path)} is empty.")
        raw, torn = reader(path, dialect)
        columns = {ours: raw[theirs] for ours, theirs in dialect.named.items()}
        if dialect.symbol_from_filename:
            columns["symbol"] = pa.chunked_array(
                [pa.repeat(pa.scalar(bare_name(path)), raw.num_rows)]
            )
        typed, bad = typed_columns(columns, dialect.cells)
    except OSError as error:
        raise SourceUnavailable(source, f"{_shown(path)} can't be read: {error}.") from error
    except pa.ArrowException as error:
        kind = "Parquet" if reader is _read_parquet else "CSV"
        raise BadAnswer(
            source, f"{_shown(path)} is not {kind} that can be read: {_first_line(error)}"
        ) from error
    return typed, pa.concat_tables([bad, torn])


def rows_unread(path: Path, bad: pa.Table, what: str = "rows can't be read") -> str:
    """How many rows of a file are no use, and the first of them."""
    [first] = bad.slice(0, 1).to_pylist()
    raw = shortened(first["raw"], LONGEST_TEXT)
    return f"{_shown(path)}: {bad.num_rows} {what}; the first: {first['reason']} ({raw})."


def suffix_of(path: Path) -> str:
    """The end of a name that tells what a file is: ``.parquet``, ``.csv.gz``."""
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    return "".join(suffixes if suffixes[-1:] and suffixes[-1] in PACKED else suffixes[-1:])


def symbol_of(path: Path, forms: CellForms = CellForms()) -> str | None:
    """The symbol that a file is named after; None where its name is no symbol."""
    return spelled(bare_name(path), forms)


def bare_name(path: Path) -> str:
    return _shown(path)[: len(_shown(path)) - len(suffix_of(path))]


def _shown(path: Path) -> str:
    """A file's name, which may hold bytes that are no text."""
    return printable(path.name)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _read_parquet(path: Path, dialect: Dialect) -> tuple[pa.Table, pa.Table]:
    import pyarrow.parquet  # noqa: PLC0415 - only an archive of files needs Arrow's readers

    wanted = list(dict.fromkeys(dialect.named.values()))
    _require(dialect.source, path, wanted, pyarrow.parquet.read_schema(path).names)
    return pyarrow.parquet.read_table(path, columns=wanted), UNREADABLE_COLUMNS.empty_table()


def _read_csv(path: Path, dialect: Dialect) -> tuple[pa.Table, pa.Table]:
    import pyarrow.csv  # noqa: PLC0415

    named = dialect.named
    wanted = list(dict.fromkeys(named.values()))
    # Arrow knows a column without a name by its place alone.
    several = len(dialect.header) > 1 or UNNAMED in wanted
    top = HeaderLines.read(_first_lines(path, dialect), dialect.header, dialect.delimiter)
    header = list(top.fields)
    # With symbols in the header, several columns are of one field; each file must have all fields.
    by_symbol = "symbol" in dialect.header
    fields = [name for name in wanted if name != SYMBOL]
    _require(dialect.source, path, fields, list(dict.fromkeys(header)) if by_symbol else header)
    read = top.wanted(named) if several else wanted
    torn: list[tuple[int, str]] = []
    swallowed: list[str] = []

    def set_aside(line: pyarrow.csv.InvalidRow) -> str:
        # A quote that is never closed takes the lines behind it into its own.
        first, _, behind = line.text.partition("\n")
        torn.append((line.expected_columns, first[:SHOWN]))
        swallowed.extend(behind.splitlines(keepends=True))
        return "skip"

    def table_of(bytes_of: pa.NativeFile, names: list[str] | None, *, quotes: bool) -> pa.Table:
        return pyarrow.csv.read_csv(
            bytes_of,
            read_options=pyarrow.csv.ReadOptions(
                skip_rows=top.lines if several and bytes_of is stream else 0, column_names=names
            ),
            parse_options=pyarrow.csv.ParseOptions(
                delimiter=dialect.delimiter,
                invalid_row_handler=set_aside,
                quote_char='"' if quotes else False,
            ),
            # Other columns are not even converted, so that none of their cells can fail a file.
            convert_options=pyarrow.csv.ConvertOptions(
                include_columns=read,
                column_types=dict.fromkeys(read, pa.string()),
                strings_can_be_null=True,
                null_values=[""],
            ),
        )

    stream, lines = open_lines(path, suffix_of(path))
    with stream:
        table = table_of(stream, top.columns if several else None, quotes=True)
    names = top.columns if several else header
    for again in range(READ_AGAIN):
        text = "".join(swallowed)
        swallowed.clear()
        if not text.strip():
            break
        more = table_of(pa.BufferReader(text.encode()), names, quotes=again < READ_AGAIN - 1)
        table = pa.concat_tables([table, more])
    if table.num_rows == 0 and not (torn or lines.overlong):
        raise BadAnswer(dialect.source, f"{_shown(path)} has a header and no rows.")
    if several:
        table = top.long(table, named)
    bad = [_torn_line(path, text, expected, header, dialect) for expected, text in torn]
    for size, text in lines.overlong:
        reason = f"{_shown(path)}: a line of {size:,} bytes, where {LONGEST_LINE:,} are read"
        bad.append(_torn_line(path, text, len(header), header, dialect) | {"reason": reason})
    return table, pa.Table.from_pylist(bad, schema=UNREADABLE_COLUMNS)


READERS = {
    **{kind + packed: _read_csv for kind in (".csv", ".txt", ".tsv") for packed in PACKED},
    ".parquet": _read_parquet,
    ".pq": _read_parquet,
}


def _first_lines(path: Path, dialect: Dialect) -> list[str]:
    """The lines of a CSV file's header. Raises BadAnswer where it is no CSV.

    Blank lines before a header of one line are left out.
    """
    stream, _ = open_lines(path, suffix_of(path))
    with stream:
        whole = stream.read(1 << 16).removeprefix(codecs.BOM_UTF8)
    opening = whole.lstrip(b" \t\r\n")
    if opening.startswith(b"<") and not _in_angle_brackets(opening, dialect.delimiter):
        raise BadAnswer(dialect.source, f"{_shown(path)} is HTML or XML, not CSV.")
    if opening.startswith((b"{", b"[")):
        raise BadAnswer(dialect.source, f"{_shown(path)} is JSON, not CSV.")
    whole = whole if len(dialect.header) > 1 else whole.lstrip(b"\r\n")
    lines = whole.splitlines()[: len(dialect.header)]
    texts = [line.decode("utf-8", "replace") for line in lines]
    if not any(texts) or any("\x00" in text for text in texts):
        raise BadAnswer(dialect.source, f"{_shown(path)} is not CSV: it has no header.")
    return texts


def _in_angle_brackets(opening: bytes, delimiter: str) -> bool:
    """Whether a file begins with names such as ``<TICKER>,<PER>``, as Stooq's and MetaStock's."""
    first, _, rest = opening.partition(delimiter.encode())
    return first.endswith(b">") and first.count(b"<") == 1 and rest.startswith(b"<")


def _require(source: str, path: Path, wanted: Sequence[str], header: Sequence[str]) -> None:
    missing = [name for name in wanted if name not in header]
    if missing:
        has = shortened(", ".join(header), LONGEST_NOTE)
        raise BadAnswer(
            source,
            f"{_shown(path)} has no column {', '.join(missing)}; it has {has}. Map the "
            f"names in quant_assets.toml under files.<archive>.columns. {INSPECT}",
        )
    double = [name for name in wanted if list(header).count(name) > 1]
    if double:
        raise BadAnswer(source, f"{_shown(path)} has more than one column {', '.join(double)}.")


def _torn_line(
    path: Path, text: str, expected: int, header: Sequence[str], dialect: Dialect
) -> dict[str, str]:
    """A line with other than the ``expected`` fields, its symbol and day where these are legible.

    The last field of a line that is too short may be torn itself: no symbol is read from it, and a
    day only if it is whole.
    """
    fields = next(csv.reader([text], delimiter=dialect.delimiter), [])
    named = {
        name: fields[at] if (at := header.index(dialect.columns[name])) < len(fields) else ""
        for name in ("symbol", "session")
        if dialect.named.get(name) in header
    }
    form = dialect.cells.date_format
    day = read_date(named["session"], form)
    if len(fields) < expected or len(text) == SHOWN:
        last = fields[-1:]
        named |= {"symbol": ""} if last == [named.get("symbol")] else {}
        if day and last == [named["session"]] and day.strftime(form) != last[0]:
            day = None
    symbol = named.get("symbol", bare_name(path) if dialect.symbol_from_filename else "")
    return {
        "symbol": spelled(symbol, dialect.cells) or "",
        "session": str(day or ""),
        "reason": f"{_shown(path)}: a line of {len(fields)} fields where {expected} belong",
        "raw": json.dumps(shortened(text, LONGEST_NOTE)),
    }
