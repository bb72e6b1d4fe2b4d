"""A vendor's archive on disk, CSV or Parquet: how a user brings history in.

The archive's dialect (column names, date format, price basis, how it books corporate actions) is
declared in ``FilesArchive``; nothing is guessed. A cell that can't be read costs its own row only,
a file that can't be read costs its own rows only.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from quant_assets.calendars import Calendar
from quant_assets.corporate_actions import (
    Decisions,
    Reported,
    distributions_from_adjusted_close,
    read_decisions,
    records,
)
from quant_assets.identity import InvalidSymbolError, canonical_symbol
from quant_assets.settings import FilesArchive
from quant_assets.sources.contract import (
    ACTION_COLUMNS,
    EMPTY_COLUMNS,
    PRICE_COLUMNS,
    UNREADABLE_COLUMNS,
    BadAnswer,
    PriceAnswer,
    PriceRequest,
    SourceError,
    SourceProfile,
    SourceUnavailable,
    UnknownSymbolAtSource,
)

SYMBOLS_AT_ONCE = 256
"""Symbols an answer holds: half a million rows of eight years, stored in one transaction. Twice as
many transactions cost half as much again."""

_NUMBERS = ("open", "high", "low", "close", "volume", "split", "dividend", "adjusted_close")
_CONVENTIONS = {"previous_close": "P / (P0 - D)", "ex_close": "(P + D) * S / P0"}


@dataclass(frozen=True)
class _Read:
    """All rows of the archive, sorted by symbol and session, and what could not be read."""

    rows: pa.Table
    unreadable: pa.Table
    notices: tuple[str, ...]


@dataclass(frozen=True)
class FilesSource:
    """The archive ``name``; ``paths`` are absolute files, folders or globs."""

    name: str
    archive: FilesArchive
    paths: tuple[str, ...]
    calendar: Calendar = field(repr=False)
    actions_path: Path | None = None
    kinds_path: Path | None = None

    @cached_property
    def profile(self) -> SourceProfile:
        archive, columns = self.archive, self.archive.columns
        beside = archive.actions is not None
        return SourceProfile(
            name=f"files:{self.name}",
            price_basis=archive.price_basis,
            has_splits=bool(columns.split) or beside,
            has_distributions=bool(columns.dividend or columns.adjusted_close) or beside,
            convention=_CONVENTIONS[archive.adjusted_close_convention],
            names_on=archive.symbols_on or self._span[1],
        )

    def symbols(self) -> tuple[str, ...]:
        return tuple(self._extents)

    def fetch(self, requests: Sequence[PriceRequest]) -> Iterator[PriceAnswer]:
        decisions = read_decisions(self.kinds_path) if self.kinds_path else {}
        reported = self._reported_beside()
        wanted = sorted(requests, key=lambda request: request.symbol)
        for at in range(0, len(wanted), SYMBOLS_AT_ONCE):
            chunk = wanted[at : at + SYMBOLS_AT_ONCE]
            notices = self._read.notices if at == 0 else ()
            yield self._answer(chunk, decisions, reported, notices)

    def _answer(
        self,
        chunk: Sequence[PriceRequest],
        decisions: Decisions,
        beside: pa.Table | None,
        notices: tuple[str, ...],
    ) -> PriceAnswer:
        failures: dict[str, SourceError] = {}
        pieces = []
        for request in chunk:
            if request.symbol in self._extents:
                pieces.append(self._slice(request))
            else:
                failures[request.symbol] = self._unknown(request.symbol)
        rows = pa.concat_tables(pieces) if pieces else self._read.rows.slice(0, 0)
        return PriceAnswer(
            symbols=tuple(request.symbol for request in chunk),
            rows=self._prices(rows),
            actions=self._actions(rows, chunk, decisions, beside),
            empty=self._empty(chunk),
            unreadable=self._unreadable(chunk),
            failures=failures,
            notices=notices,
        )

    def _unknown(self, symbol: str) -> UnknownSymbolAtSource:
        unread = len(self._read.notices)
        hint = f"{unread} of its files could not be read." if unread else ""
        return UnknownSymbolAtSource(self.profile.name, symbol, hint)

    def _slice(self, request: PriceRequest) -> pa.Table:
        """The rows of one request, by binary search in the sorted days of its symbol."""
        start, stop = self._extents[request.symbol]
        days = self._days[start:stop]
        first = start + int(np.searchsorted(days, np.datetime64(request.start)))
        last = start + int(np.searchsorted(days, np.datetime64(request.end), side="right"))
        return self._read.rows.slice(first, last - first)

    def _prices(self, rows: pa.Table) -> pa.Table:
        basis = (
            pa.repeat(pa.scalar(self.archive.basis_on, pa.date32()), rows.num_rows)
            if self.archive.basis_on
            else rows["session"]
        )
        currency = pa.repeat(pa.scalar(self.archive.currency), rows.num_rows)
        columns = {name: rows[name] for name in PRICE_COLUMNS.names if name in rows.column_names}
        return pa.table({**columns, "basis_on": basis, "currency": currency}, schema=PRICE_COLUMNS)

    def _actions(
        self,
        rows: pa.Table,
        chunk: Sequence[PriceRequest],
        decisions: Decisions,
        beside: pa.Table | None,
    ) -> pa.Table:
        numbers = rows.select(["symbol", "session", "split", "dividend"])
        if beside is not None:
            numbers = _within(beside, chunk)
        elif self.archive.columns.adjusted_close and not self.archive.columns.dividend:
            numbers = _within(self._derived, chunk)
        eventful = numbers.filter(
            pc.or_(
                pc.fill_null(pc.not_equal(numbers["split"], 1.0), False),
                pc.fill_null(pc.not_equal(numbers["dividend"], 0.0), False),
            )
        )
        reported = [
            Reported(
                symbol=row["symbol"],
                ex_date=row["session"],
                ratio=row["split"] if row["split"] not in (None, 1.0, 0.0) else None,
                amount=row["dividend"] or None,
                basis_on=self.archive.basis_on or row["session"],
                currency=self.archive.currency,
            )
            for row in eventful.to_pylist()
        ]
        # A decision can also tell of an event that the vendor leaves out altogether.
        told = {(numbers.symbol, numbers.ex_date) for numbers in reported}
        spans = {request.symbol: request for request in chunk}
        for (symbol, day), decided in decisions.items():
            asked = spans.get(symbol)
            silent = (symbol, day) not in told and any(d.made_from == "none" for d in decided)
            if silent and asked and asked.start <= day <= asked.end:
                reported.append(Reported(symbol, day, None, None, self.archive.basis_on or day))
        return pa.Table.from_pylist(records(reported, decisions), schema=ACTION_COLUMNS)

    @cached_property
    def _derived(self) -> pa.Table:
        """Distributions read off the adjusted close, over the whole archive.

        A window would lose the one of its first session, whose step begins the session before.
        """
        found = distributions_from_adjusted_close(
            self._read.rows, self.archive.adjusted_close_convention
        )
        return pa.table(
            {
                "symbol": found["symbol"],
                "session": found["ex_date"],
                "split": pa.nulls(found.num_rows, pa.float64()),
                "dividend": found["amount"],
            }
        )

    def _empty(self, chunk: Sequence[PriceRequest]) -> pa.Table:
        """Sessions inside the archive's span and outside the symbol's own.

        A hole in the middle is not confirmed by an archive's silence, and neither is a day that the
        archive as a whole does not reach.
        """
        first, last = self._span
        parts: dict[str, list[object]] = {name: [] for name in EMPTY_COLUMNS.names}
        for request in chunk:
            if request.symbol not in self._extents:
                continue
            start, stop = self._extents[request.symbol]
            begins, ends = self._days[start].item(), self._days[stop - 1].item()
            if begins <= max(request.start, first) and ends >= min(request.end, last):
                continue
            for day in self.calendar.between(max(request.start, first), min(request.end, last)):
                if not begins <= day <= ends:
                    parts["symbol"].append(request.symbol)
                    parts["session"].append(day)
                    parts["reason"].append(
                        f"the archive begins with {begins}"
                        if day < begins
                        else f"the archive ends with {ends}"
                    )
        return pa.table(parts, schema=EMPTY_COLUMNS)

    def _unreadable(self, chunk: Sequence[PriceRequest]) -> pa.Table:
        rows = self._read.unreadable
        if rows.num_rows == 0:
            return rows
        return rows.filter(
            pc.is_in(rows["symbol"], pa.array([request.symbol for request in chunk]))
        )

    @cached_property
    def _days(self) -> np.ndarray[tuple[int], np.dtype[np.datetime64]]:
        days: np.ndarray[tuple[int], np.dtype[np.datetime64]] = (
            self._read.rows["session"].to_numpy().astype("datetime64[D]")
        )
        return days

    @cached_property
    def _extents(self) -> dict[str, tuple[int, int]]:
        """Where each symbol's rows begin and end, symbols ascending."""
        symbols = self._read.rows["symbol"].combine_chunks().dictionary_encode()
        codes = symbols.indices.to_numpy()
        edges = np.flatnonzero(np.diff(codes)) + 1
        starts = np.concatenate([[0], edges]) if len(codes) else np.array([], dtype=int)
        stops = np.append(edges, len(codes))
        names = symbols.dictionary.to_pylist()
        return {
            names[codes[start]]: (int(start), int(stop))
            for start, stop in zip(starts, stops, strict=False)
        }

    @cached_property
    def _span(self) -> tuple[dt.date, dt.date]:
        if len(self._days) == 0:
            raise BadAnswer(f"files:{self.name}", f"The archive {self.name} holds no readable row.")
        return self._days.min().item(), self._days.max().item()

    @cached_property
    def _read(self) -> _Read:
        """Every file of the archive, typed. Read once; about 100 bytes a row."""
        tables, unreadable, notices = [], [], []
        for path in _expand(f"files:{self.name}", self.paths):
            try:
                typed, bad = self._read_file(path)
            except SourceError as error:
                notices.append(str(error))
                continue
            tables.append(typed)
            unreadable.append(bad)
        if not tables:
            raise BadAnswer(f"files:{self.name}", " ".join(notices))
        rows = pa.concat_tables(tables).sort_by([("symbol", "ascending"), ("session", "ascending")])
        return _Read(rows, pa.concat_tables(unreadable), tuple(notices))

    def _read_file(self, path: Path) -> tuple[pa.Table, pa.Table]:
        columns = self.archive.columns.model_dump()
        if self.archive.symbol_from_filename:
            columns["symbol"] = ""
        raw, torn = _read_raw(
            f"files:{self.name}",
            path,
            [name for name in columns.values() if name],
            self.archive.delimiter,
        )
        named = {ours: raw[theirs] for ours, theirs in columns.items() if theirs}
        if self.archive.symbol_from_filename:
            named["symbol"] = pa.repeat(pa.scalar(path.stem), raw.num_rows)
        typed, bad = _typed(named, self.archive.date_format)
        return typed, pa.concat_tables([bad, torn])

    def _reported_beside(self) -> pa.Table | None:
        """Splits and dividends of the archive's own actions file, typed; None without one."""
        declared = self.archive.actions
        if declared is None or self.actions_path is None:
            return None
        wanted = [declared.symbol, declared.ex_date, declared.split, declared.dividend]
        raw, _ = _read_raw(
            f"files:{self.name}",
            self.actions_path,
            [name for name in wanted if name],
            self.archive.delimiter,
        )
        named = {"symbol": raw[declared.symbol], "session": raw[declared.ex_date]}
        if declared.split:
            named["split"] = raw[declared.split]
        if declared.dividend:
            named["dividend"] = raw[declared.dividend]
        typed, bad = _typed(named, self.archive.date_format)
        if bad.num_rows:
            first = bad.slice(0, 1).to_pylist()[0]
            raise BadAnswer(
                f"files:{self.name}",
                f"{self.actions_path}: {bad.num_rows} rows can't be read; the first: "
                f"{first['raw']} ({first['reason']}).",
            )
        return typed


def _within(numbers: pa.Table, chunk: Sequence[PriceRequest]) -> pa.Table:
    start = min(request.start for request in chunk)
    end = max(request.end for request in chunk)
    return numbers.filter(
        pc.and_(
            pc.is_in(numbers["symbol"], pa.array([request.symbol for request in chunk])),
            pc.and_(
                pc.greater_equal(numbers["session"], pa.scalar(start)),
                pc.less_equal(numbers["session"], pa.scalar(end)),
            ),
        )
    )


def _expand(source: str, paths: Sequence[str]) -> list[Path]:
    """The files that paths, folders and globs stand for, sorted. Raises SourceUnavailable."""
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
    return found


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _suffix(path: Path) -> str:
    return "".join(path.suffixes[-2:]) if path.suffix == ".gz" else path.suffix.lower()


def _read_raw(
    source: str, path: Path, columns: Sequence[str], delimiter: str
) -> tuple[pa.Table, pa.Table]:
    """The named columns of one file as they stand, and the lines that were torn.

    Raises BadAnswer for a file that is empty, is not what its name says or lacks a column, and
    SourceUnavailable for one that can't be opened.
    """
    reader = _READERS.get(_suffix(path))
    if reader is None:
        raise BadAnswer(source, f"{path.name} is neither CSV nor Parquet by its name.")
    try:
        if path.stat().st_size == 0:
            raise BadAnswer(source, f"{path.name} is empty.")
        return reader(source, path, columns, delimiter)
    except OSError as error:
        raise SourceUnavailable(source, f"{path.name} can't be read: {error}.") from error


def _read_parquet(
    source: str, path: Path, columns: Sequence[str], _: str
) -> tuple[pa.Table, pa.Table]:
    try:
        held = pyarrow.parquet.read_schema(path).names
        _require(source, path, columns, held)
        table = pyarrow.parquet.read_table(path, columns=list(dict.fromkeys(columns)))
    except pa.ArrowInvalid as error:
        raise BadAnswer(
            source, f"{path.name} is not a Parquet file: {_first_line(error)}"
        ) from error
    return table, UNREADABLE_COLUMNS.empty_table()


def _read_csv(
    source: str, path: Path, columns: Sequence[str], delimiter: str
) -> tuple[pa.Table, pa.Table]:
    with pa.input_stream(str(path), compression="detect") as stream:
        opening = stream.read(256).lstrip(b"\xef\xbb\xbf \t\r\n")
    if opening.startswith(b"<"):
        raise BadAnswer(source, f"{path.name} is HTML or XML, not CSV.")
    if opening.startswith((b"{", b"[")):
        raise BadAnswer(source, f"{path.name} is JSON, not CSV.")
    torn: list[tuple[int, str]] = []

    def set_aside(line: pyarrow.csv.InvalidRow) -> str:
        torn.append((line.expected_columns, line.text))
        return "skip"

    try:
        table = pyarrow.csv.read_csv(
            path,
            parse_options=pyarrow.csv.ParseOptions(
                delimiter=delimiter, invalid_row_handler=set_aside
            ),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(columns, pa.string()),
                strings_can_be_null=True,
                null_values=[""],
            ),
        )
    except pa.ArrowInvalid as error:
        raise BadAnswer(source, f"{path.name} is not CSV: {_first_line(error)}") from error
    _require(source, path, columns, table.column_names)
    if table.num_rows == 0 and not torn:
        raise BadAnswer(source, f"{path.name} has a header and no rows.")
    return table.select(list(dict.fromkeys(columns))), _torn_lines(
        path, torn, table, columns, delimiter
    )


def _torn_lines(
    path: Path,
    torn: Sequence[tuple[int, str]],
    table: pa.Table,
    columns: Sequence[str],
    delimiter: str,
) -> pa.Table:
    """Lines with too few or too many fields; the symbol is what stands in its place, if legible."""
    at = table.column_names.index(columns[0])
    rows = []
    for expected, text in torn:
        fields = text.split(delimiter)
        symbol = fields[at] if at < len(fields) else ""
        try:
            symbol = canonical_symbol(symbol)
        except InvalidSymbolError:
            symbol = path.stem
        rows.append(
            {
                "symbol": symbol,
                "session": "",
                "reason": f"{path.name}: a line of {len(fields)} fields where {expected} belong",
                "raw": json.dumps(text),
            }
        )
    return pa.Table.from_pylist(rows, schema=UNREADABLE_COLUMNS)


_READERS = {
    ".csv": _read_csv,
    ".txt": _read_csv,
    ".csv.gz": _read_csv,
    ".parquet": _read_parquet,
    ".pq": _read_parquet,
}


def _require(source: str, path: Path, wanted: Sequence[str], held: Sequence[str]) -> None:
    missing = [name for name in wanted if name not in held]
    if missing:
        raise BadAnswer(
            source,
            f"{path.name} has no column {', '.join(missing)}; it has {', '.join(held)}. Map the "
            "names in quant_assets.toml under files.<archive>.columns.",
        )


def _typed(named: dict[str, pa.ChunkedArray], date_format: str) -> tuple[pa.Table, pa.Table]:
    """Our columns with our types, and the rows in which a cell could not be read, as text."""
    count = len(named["symbol"])
    bad = np.zeros(count, dtype=bool)
    reasons = np.full(count, "", dtype=object)

    def note(mask: np.ndarray[tuple[int], np.dtype[np.bool_]], name: str) -> None:
        fresh = mask & ~bad
        if fresh.any():
            texts = named[name].filter(pa.array(fresh)).to_pylist()
            reasons[fresh] = [f"{name} can't be read: {text!r}" for text in texts]
            bad[fresh] = True

    symbols, unreadable = _symbols(named["symbol"])
    note(unreadable, "symbol")
    sessions, unreadable = _dates(named["session"], date_format)
    note(unreadable, "session")
    columns = {"symbol": symbols, "session": sessions}
    for name in _NUMBERS:
        if name in named:
            columns[name], unreadable = _numbers(named[name])
            note(unreadable, name)
        else:
            columns[name] = pa.nulls(count, pa.float64())
    typed = pa.table(columns)
    if not bad.any():
        return typed, UNREADABLE_COLUMNS.empty_table()
    rejected = pa.table(named).filter(pa.array(bad)).to_pylist()
    known = symbols.filter(pa.array(bad)).to_pylist()
    aside = pa.table(
        {
            "symbol": [
                symbol or str(row["symbol"]) for symbol, row in zip(known, rejected, strict=True)
            ],
            "session": [str(row["session"]) for row in rejected],
            "reason": reasons[bad].tolist(),
            "raw": [json.dumps(row, default=str, sort_keys=True) for row in rejected],
        },
        schema=UNREADABLE_COLUMNS,
    )
    return typed.filter(pa.array(~bad)), aside


def _symbols(
    column: pa.ChunkedArray,
) -> tuple[pa.Array, np.ndarray[tuple[int], np.dtype[np.bool_]]]:
    """Symbols in our spelling, and a mask of those that are none."""
    encoded = pa.chunked_array(column).combine_chunks().cast(pa.string()).dictionary_encode()
    spelt: list[str | None] = []
    for text in encoded.dictionary.to_pylist():
        try:
            spelt.append(canonical_symbol(text))
        except InvalidSymbolError:
            spelt.append(None)
    symbols = pa.array(spelt, pa.string()).take(encoded.indices)
    return symbols, symbols.is_null().to_numpy(zero_copy_only=False)


def _dates(
    column: pa.ChunkedArray, date_format: str
) -> tuple[pa.Array, np.ndarray[tuple[int], np.dtype[np.bool_]]]:
    """Dates, and a mask of those that can't be read; a time of day is dropped."""
    array = pa.chunked_array(column).combine_chunks()
    if pa.types.is_temporal(array.type):
        days = array.cast(pa.timestamp("us"), safe=False).cast(pa.date32(), safe=False)
    else:
        length = len(dt.date(2000, 12, 31).strftime(date_format))
        text = pc.utf8_slice_codeunits(pc.utf8_trim_whitespace(array.cast(pa.string())), 0, length)
        days = pc.strptime(text, date_format, "s", error_is_null=True).cast(pa.date32(), safe=False)
    return days, days.is_null().to_numpy(zero_copy_only=False)


def _numbers(
    column: pa.ChunkedArray,
) -> tuple[pa.Array, np.ndarray[tuple[int], np.dtype[np.bool_]]]:
    """Numbers, and a mask of cells that hold something else; an empty cell is null."""
    array = pa.chunked_array(column).combine_chunks()
    if not pa.types.is_string(array.type):
        return array.cast(pa.float64()), np.zeros(len(array), dtype=bool)
    text = pc.utf8_trim_whitespace(array)
    number = r"^[-+]?(\d+\.?\d*([eE][-+]?\d+)?|\.\d+([eE][-+]?\d+)?|(?i:nan|inf|infinity))$"
    legible = pc.fill_null(pc.match_substring_regex(text, number), True)
    cleaned = pc.if_else(legible, pc.ascii_ltrim(text, characters="+"), None)
    return cleaned.cast(pa.float64()), pc.invert(legible).to_numpy(zero_copy_only=False)
