"""A vendor's archive on disk, CSV or Parquet: how a user brings history in.

The archive's dialect (column names, date format, price basis, how it books corporate actions) is
declared in ``FilesArchive``; nothing is guessed. A cell that can't be read costs its own row only,
a file that can't be read costs its own rows only. How one file is read is in ``vendor_files.py``;
here is what its rows, and the archive's silence, mean. An archive of deliveries, which say of the
same symbol-day more than once, says what one would have that had loaded them day by day.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quant_assets.contracts.prices import (
    ACTION_COLUMNS,
    EMPTY_COLUMNS,
    PRICE_COLUMNS,
    UNREADABLE_COLUMNS,
    PriceAnswer,
    PriceProfile,
)
from quant_assets.contracts.source import (
    BadAnswer,
    Request,
    SourceError,
    UnknownSymbolAtSource,
)
from quant_assets.price_rules.corporate_actions import (
    Decisions,
    Reported,
    distributions_from_adjusted_close,
    eventful,
    numbers_by_day,
    read_decisions,
    records,
)
from quant_assets.price_rules.deliveries import fold
from quant_assets.price_rules.row_rules import check_prices
from quant_assets.reference.calendars import Calendar
from quant_assets.settings.sources import FilesArchive
from quant_assets.sources.files.reading import Dialect, expand, in_order_of_delivery, read_typed
from quant_assets.sources.files.share_basis import (
    by_symbol,
    in_shares_of_their_day,
    split_record,
    split_table,
)

SYMBOLS_AT_ONCE = 256
"""Symbols an answer holds: half a million rows of eight years, stored in one transaction. Twice as
many transactions cost half as much again."""

_REPORTED = ["symbol", "session", "split", "dividend"]
_CONVENTIONS = {"previous_close": "P / (P0 - D)", "ex_close": "(P + D) * S / P0"}


@dataclass(frozen=True)
class _Read:
    """All rows of the archive, sorted by symbol and session, and what could not be read.

    Deliveries have their numbers of splits and dividends in ``reported``, and in ``splits`` those
    splits that they give away without reporting them, with what tells of each.
    """

    rows: pa.Table
    unreadable: pa.Table
    notices: tuple[str, ...]
    files_unread: int
    reported: pa.Table | None = None
    splits: Mapping[tuple[str, dt.date], tuple[float, str]] = field(default_factory=dict)


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
    def profile(self) -> PriceProfile:
        archive, columns = self.archive, self.archive.columns
        told = archive.actions or columns
        return PriceProfile(
            name=f"files:{self.name}",
            price_basis=archive.price_basis,
            has_splits=bool(told.split) or archive.deliveries,
            has_distributions=bool(told.dividend) or self._derives,
            convention=_CONVENTIONS[archive.adjusted_close_convention],
            names_on=archive.symbols_on or self._span[1],
            restates=archive.deliveries,
        )

    def symbols(self) -> tuple[str, ...]:
        return tuple(self._extents)

    def fetch(self, requests: Sequence[Request]) -> Iterator[PriceAnswer]:
        decisions = read_decisions(self.kinds_path) if self.kinds_path else {}
        reported = self._reported_beside()
        wanted = sorted(requests, key=lambda request: request.symbol)
        for at in range(0, len(wanted), SYMBOLS_AT_ONCE):
            chunk = wanted[at : at + SYMBOLS_AT_ONCE]
            notices = self._read.notices if at == 0 else ()
            yield self._answer(chunk, decisions, reported, notices)

    def _answer(
        self,
        chunk: Sequence[Request],
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
        actions, impossible = self._actions(rows, chunk, decisions, beside)
        return PriceAnswer(
            symbols=tuple(request.symbol for request in chunk),
            rows=self._prices(rows),
            actions=actions,
            empty=self._empty(chunk),
            unreadable=pa.concat_tables([self._unreadable(chunk), impossible]),
            failures=failures,
            notices=notices,
        )

    def _unknown(self, symbol: str) -> UnknownSymbolAtSource:
        unread = self._read.files_unread
        hint = f"{unread} of its files could not be read." if unread else ""
        return UnknownSymbolAtSource(self.profile.name, symbol, hint)

    def _slice(self, request: Request) -> pa.Table:
        """The rows of one request, by binary search in the sorted days of its symbol."""
        start, stop = self._extents[request.symbol]
        days = self._days[start:stop]
        first = start + int(np.searchsorted(days, np.datetime64(request.first)))
        last = start + int(np.searchsorted(days, np.datetime64(request.end), side="right"))
        return self._read.rows.slice(first, last - first)

    def _prices(self, rows: pa.Table) -> pa.Table:
        basis = (
            pa.repeat(pa.scalar(self.archive.basis_on, pa.date32()), rows.num_rows)
            if self.archive.basis_on
            else rows["session"]
        )
        currency = pa.repeat(pa.scalar(self.archive.currency), rows.num_rows)
        same = {"basis_on": basis, "currency": currency}
        columns = {name: rows[name] for name in PRICE_COLUMNS.names if name not in same}
        return pa.table({**columns, **same}, schema=PRICE_COLUMNS)

    def _actions(
        self,
        rows: pa.Table,
        chunk: Sequence[Request],
        decisions: Decisions,
        beside: pa.Table | None,
    ) -> tuple[pa.Table, pa.Table]:
        """Corporate actions, and the numbers that can be none, as ``UNREADABLE_COLUMNS``."""
        if beside is not None:
            numbers = _within(beside, chunk)
        elif self._read.reported is not None:
            numbers = _within(self._read.reported, chunk)
        else:
            numbers = rows.select(_REPORTED)
            if self._derives:
                numbers = pa.concat_tables([eventful(numbers), _within(self._derived, chunk)])
        days, impossible = numbers_by_day(eventful(numbers), add_up=beside is not None)
        # A decision can also tell of an event that the vendor leaves out altogether.
        spans = {request.symbol: request for request in chunk}
        for (symbol, day), decided in decisions.items():
            asked = spans.get(symbol)
            silent = any(decision.made_from == "none" for decision in decided)
            if silent and asked and asked.first <= day <= asked.end:
                days.setdefault((symbol, day), (None, None))
        archive = self.archive
        given_away = []
        for (symbol, day), (ratio, told_by) in self._read.splits.items():
            asked = spans.get(symbol)
            if not (asked and asked.first <= day <= asked.end):
                continue
            if (symbol, day) in decisions:
                days[symbol, day] = (ratio, days.get((symbol, day), (None, None))[1])
            else:
                given_away.append(split_record(symbol, day, ratio, told_by, archive.currency))
        reported = [
            Reported(symbol, day, ratio, amount, archive.basis_on or day, archive.currency)
            for (symbol, day), (ratio, amount) in days.items()
        ]
        return (
            pa.Table.from_pylist([*records(reported, decisions), *given_away], ACTION_COLUMNS),
            pa.Table.from_pylist(impossible, UNREADABLE_COLUMNS),
        )

    @property
    def _derives(self) -> bool:
        """Whether distributions are read off the adjusted close, for want of their own numbers."""
        columns = self.archive.columns
        return self.archive.actions is None and bool(
            columns.adjusted_close and not columns.dividend
        )

    @cached_property
    def _derived(self) -> pa.Table:
        """Distributions read off the adjusted close, over the whole archive.

        A window would lose the one of its first session, whose step begins the session before.
        """
        return self._distributions(self._read.rows)

    def _distributions(self, rows: pa.Table) -> pa.Table:
        if self.archive.price_basis == "split_adjusted":
            rows = rows.drop_columns(["split"])  # its closes are free of splits already
        found = distributions_from_adjusted_close(rows, self.archive.adjusted_close_convention)
        found = found.rename_columns(["symbol", "session", "dividend"])
        return found.append_column("split", pa.nulls(found.num_rows, pa.float64())).select(
            _REPORTED
        )

    @property
    def _gives_splits_away(self) -> bool:
        """Whether an adjusted close is all that tells of splits in a delivery."""
        columns = self.archive.columns
        return bool(columns.adjusted_close and not columns.split)

    def _empty(self, chunk: Sequence[Request]) -> pa.Table:
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
            days = self._days[start:stop]
            days = days[(days >= np.datetime64(first)) & (days <= np.datetime64(last))]
            begin, end = max(request.start, first), min(request.end, last)
            if len(days) == 0:
                continue
            begins, ends = days[0].item(), days[-1].item()
            if begins <= begin and ends >= end:
                continue
            before, after = f"the archive begins with {begins}", f"the archive ends with {ends}"
            for day in self.calendar.between(begin, end):
                if not begins <= day <= ends:
                    parts["symbol"].append(request.symbol)
                    parts["session"].append(day)
                    parts["reason"].append(before if day < begins else after)
        return pa.table(parts, schema=EMPTY_COLUMNS)

    def _unreadable(self, chunk: Sequence[Request]) -> pa.Table:
        symbols = pa.array([request.symbol for request in chunk])
        return self._read.unreadable.filter(pc.is_in(self._read.unreadable["symbol"], symbols))

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
        """First and last session of the archive; days no calendar knows are slips of the pen."""
        sessions = self.calendar.session_array
        days = self._days[(self._days >= sessions[0]) & (self._days <= sessions[-1])]
        if len(days) == 0:
            raise BadAnswer(f"files:{self.name}", f"The archive {self.name} holds no readable row.")
        return days.min().item(), days.max().item()

    @cached_property
    def _read(self) -> _Read:
        """Every file of the archive, typed. Read once; about 100 bytes a row."""
        tables, unreadable, notices = [], {}, []
        archive = self.archive
        dialect = self._dialect(archive.columns.model_dump(), named=archive.symbol_from_filename)
        beside = (self.actions_path, self.kinds_path)
        paths = expand(dialect.source, self.paths)
        for path in in_order_of_delivery(paths) if archive.deliveries else paths:
            if path in beside:
                continue
            try:
                typed, bad = read_typed(path, dialect)
            except SourceError as error:
                notices.append(str(error))
                continue
            tables.append(typed)
            unreadable[path] = bad
        if not tables:
            raise BadAnswer(dialect.source, " ".join(notices))
        rows = _sorted(pa.concat_tables(tables))
        known = pc.unique(rows["symbol"])
        lost = [said for path, bad in unreadable.items() for said in _lost(path, bad, known)]
        bad = pa.concat_tables(unreadable.values())
        read = _Read(rows, bad, (*notices, *lost), len(notices))
        return self._fold(tables, read) if archive.deliveries else read

    def _fold(self, deliveries: Sequence[pa.Table], said: _Read) -> _Read:
        """Deliveries as one archive: one row a symbol-day, and what else they tell of.

        A row that breaks a rule must not correct one that is sound, so the rules come first here.
        """
        told, refused, reported = [], [said.unreadable], []
        splits: dict[tuple[str, dt.date], tuple[float, str]] = {}
        for delivery in deliveries:
            rows = _sorted(delivery)
            reported.append(rows.select(_REPORTED))
            if self._gives_splits_away:
                rows = in_shares_of_their_day(rows)
                splits |= {
                    key: (ratio, "adjusted close") for key, ratio in split_table(rows).items()
                }
            if self._derives:
                reported.append(self._distributions(rows))
            checked = check_prices(self._prices(rows), self.calendar, dt.date.max)
            told.append(checked.accepted)
            refused.append(checked.rejected)
        numbers = _latest(reported)
        known = by_symbol({key: ratio for key, (ratio, _) in splits.items()} | split_table(numbers))
        folded = fold(told, known)
        for symbol, inferred in folded.splits.items():
            splits |= {(symbol, split.ex_date): (split.ratio, "overlap") for split in inferred}
        return replace(
            said,
            rows=folded.rows,
            unreadable=pa.concat_tables(refused),
            reported=numbers,
            splits=splits,
        )

    def _dialect(self, columns: Mapping[str, str], *, named: bool = False) -> Dialect:
        archive = self.archive
        return Dialect(f"files:{self.name}", columns, archive.date_format, archive.delimiter, named)

    def _reported_beside(self) -> pa.Table | None:
        """Splits and dividends of the archive's own actions file, typed; None without one."""
        declared = self.archive.actions
        if declared is None or self.actions_path is None:
            return None
        columns = declared.model_dump(exclude={"path", "ex_date"}) | {"session": declared.ex_date}
        dialect = self._dialect(columns)
        typed, bad = read_typed(self.actions_path, dialect)
        if bad.num_rows:
            first = bad.slice(0, 1).to_pylist()[0]
            raise BadAnswer(
                dialect.source,
                f"{self.actions_path}: {bad.num_rows} rows can't be read; the first: "
                f"{first['raw']} ({first['reason']}).",
            )
        return typed.select(_REPORTED)


def _sorted(rows: pa.Table) -> pa.Table:
    return rows.sort_by([("symbol", "ascending"), ("session", "ascending")])


def _latest(reported: Sequence[pa.Table]) -> pa.Table:
    """The last number told of each symbol-day."""
    by_day = pa.concat_tables(reported).group_by(["symbol", "session"], use_threads=False)
    last = by_day.aggregate([("split", "last"), ("dividend", "last")])
    return last.rename_columns(_REPORTED)


def _lost(path: Path, bad: pa.Table, known: pa.Array) -> list[str]:
    """A sentence on the unreadable rows of a file that belong to no symbol which has others."""
    rows = bad.filter(pc.invert(pc.is_in(bad["symbol"], known))).to_pylist()
    if not rows:
        return []
    first = f"{rows[0]['reason']} ({rows[0]['raw']})"
    return [f"{path.name}: {len(rows)} rows are of no symbol that can be read; the first: {first}."]


def _within(numbers: pa.Table, chunk: Sequence[Request]) -> pa.Table:
    """The rows each request asks for."""
    asked = sorted(chunk, key=lambda request: request.symbol)
    at = pc.index_in(numbers["symbol"], pa.array([request.symbol for request in asked]))
    starts = pa.array([request.first for request in asked], pa.date32()).take(at)
    ends = pa.array([request.end for request in asked], pa.date32()).take(at)
    inside = pc.and_(
        pc.greater_equal(numbers["session"], starts), pc.less_equal(numbers["session"], ends)
    )
    return numbers.filter(pc.fill_null(inside, False))
