"""A vendor's archive on disk, CSV or Parquet, as a source of daily prices.

``FilesArchive`` in the settings declares its column names, date format, price basis and how it
reports corporate actions; nothing is guessed. A cell that can't be read costs its own row only, a
file that can't be read its own rows only. What the archive does not hold is answered here: empty
sessions and unknown symbols. Deliveries, which hold a symbol-day more than once, give the rows that
loading them day by day would have stored.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quant_assets.contracts.prices import EMPTY_COLUMNS, PriceAnswer, PriceProfile
from quant_assets.contracts.source import (
    BadAnswer,
    Request,
    SourceError,
    UnknownSymbolAtSource,
)
from quant_assets.price_rules.decisions import read_decisions
from quant_assets.reference.calendars import Calendar
from quant_assets.settings.sources import FilesArchive
from quant_assets.sources.files.actions import ArchiveActions, read_actions_file
from quant_assets.sources.files.contents import Contents, sorted_rows
from quant_assets.sources.files.conventions import (
    derives_distributions,
    dialect,
    prices,
    source_name,
)
from quant_assets.sources.files.deliveries import fold_deliveries
from quant_assets.sources.files.reading import expand, in_order_of_delivery, read_typed

SYMBOLS_AT_ONCE = 256
"""Symbols an answer holds: half a million rows of eight years, stored in one transaction. Twice as
many transactions cost half as much again."""

_CONVENTIONS = {"previous_close": "P / (P0 - D)", "ex_close": "(P + D) * S / P0"}


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
        archive = self.archive
        reports = archive.actions or archive.columns
        return PriceProfile(
            name=source_name(self.name),
            price_basis=archive.price_basis,
            has_splits=bool(reports.split) or archive.deliveries,
            has_distributions=bool(reports.dividend) or derives_distributions(archive),
            convention=_CONVENTIONS[archive.adjusted_close_convention],
            names_on=archive.symbols_on or self._span[1],
            restates=archive.deliveries,
        )

    def symbols(self) -> tuple[str, ...]:
        return tuple(self._contents.extents)

    def fetch(self, requests: Sequence[Request]) -> Iterator[PriceAnswer]:
        """Answer ``SYMBOLS_AT_ONCE`` requests at a time, by symbol.

        Raises BadAnswer, SourceUnavailable, and DecisionError for the file of decisions.
        """
        decisions = read_decisions(self.kinds_path) if self.kinds_path else {}
        beside = self._read_actions_file()
        actions = ArchiveActions(self.archive, self._contents, beside, decisions)
        in_order = sorted(requests, key=lambda request: request.symbol)
        for at in range(0, len(in_order), SYMBOLS_AT_ONCE):
            notices = self._contents.notices if at == 0 else ()
            yield self._answer(in_order[at : at + SYMBOLS_AT_ONCE], actions, notices)

    def _answer(
        self, chunk: Sequence[Request], actions: ArchiveActions, notices: tuple[str, ...]
    ) -> PriceAnswer:
        contents = self._contents
        known = [request for request in chunk if request.symbol in contents.extents]
        rows = pa.concat_tables(
            [contents.rows.slice(0, 0), *(contents.rows_for(request) for request in known)]
        )
        events, impossible = actions.among(rows, chunk)
        return PriceAnswer(
            symbols=tuple(request.symbol for request in chunk),
            rows=prices(rows, self.archive),
            actions=events,
            empty=self._empty(known),
            unreadable=pa.concat_tables([contents.unreadable_for(chunk), impossible]),
            failures={
                request.symbol: self._unknown(request.symbol)
                for request in chunk
                if request.symbol not in contents.extents
            },
            notices=notices,
        )

    def _unknown(self, symbol: str) -> UnknownSymbolAtSource:
        unread = self._contents.files_unread
        hint = f"{unread} of its files could not be read." if unread else ""
        return UnknownSymbolAtSource(self.profile.name, symbol, hint)

    def _empty(self, requests: Sequence[Request]) -> pa.Table:
        """Sessions inside the archive's span and outside the symbol's own.

        A session missing between a symbol's rows is not confirmed by an archive's silence, and
        neither is a day that the archive as a whole does not reach.
        """
        first, last = self._span
        parts: dict[str, list[object]] = {name: [] for name in EMPTY_COLUMNS.names}
        for request in requests:
            days = self._contents.days_of(request.symbol)
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

    @cached_property
    def _span(self) -> tuple[dt.date, dt.date]:
        """First and last session of the archive; a day outside the calendar is a typing error."""
        sessions, days = self.calendar.session_array, self._contents.days
        days = days[(days >= sessions[0]) & (days <= sessions[-1])]
        if len(days) == 0:
            message = f"The archive {self.name} holds no readable row."
            raise BadAnswer(source_name(self.name), message)
        return days.min().item(), days.max().item()

    @cached_property
    def _contents(self) -> Contents:
        """Every file of the archive, typed. Read once; about 100 bytes a row."""
        archive, tables, unreadable, notices = self.archive, [], {}, []
        columns, from_filename = archive.columns.model_dump(), archive.symbol_from_filename
        terms = dialect(self.name, archive, columns, symbol_from_filename=from_filename)
        paths = expand(terms.source, self.paths)
        for path in in_order_of_delivery(paths) if archive.deliveries else paths:
            if path in (self.actions_path, self.kinds_path):
                continue
            try:
                typed, bad = read_typed(path, terms)
            except SourceError as error:
                notices.append(str(error))
                continue
            tables.append(typed)
            unreadable[path] = bad
        if not tables:
            raise BadAnswer(terms.source, " ".join(notices))
        rows = sorted_rows(pa.concat_tables(tables))
        known = pc.unique(rows["symbol"])
        lost = [notice for path, bad in unreadable.items() for notice in _lost(path, bad, known)]
        bad = pa.concat_tables(unreadable.values())
        contents = Contents(rows, bad, (*notices, *lost), len(notices))
        if not archive.deliveries:
            return contents
        return fold_deliveries(tables, contents, archive, self.calendar)

    def _read_actions_file(self) -> pa.Table | None:
        declared = self.archive.actions
        if declared is None or self.actions_path is None:
            return None
        columns = declared.model_dump(exclude={"path", "ex_date"}) | {"session": declared.ex_date}
        terms = dialect(self.name, self.archive, columns, symbol_from_filename=False)
        return read_actions_file(self.actions_path, terms)


def _lost(path: Path, bad: pa.Table, known: pa.Array) -> list[str]:
    """A sentence on the unreadable rows of a file that belong to no symbol which has others."""
    rows = bad.filter(pc.invert(pc.is_in(bad["symbol"], known))).to_pylist()
    if not rows:
        return []
    first = f"{rows[0]['reason']} ({rows[0]['raw']})"
    return [f"{path.name}: {len(rows)} rows are of no symbol that can be read; the first: {first}."]
