"""A vendor's archive on disk, CSV or Parquet, as a source of daily prices.

``FilesArchive`` in the settings declares its column names, date format, price basis and how it
reports corporate actions; nothing is guessed. A cell that can't be read costs its own row only, a
file that can't be read its own rows only. What the archive's silence about other days means is in
``silence.py``. Deliveries, which hold a symbol-day more than once, give the rows that loading them
day by day would have stored.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quant_assets.contracts.one_subject import UnforeseenAnswerError, each_apart, only_for
from quant_assets.contracts.prices import (
    EMPTY_COLUMNS,
    PRICE_COLUMNS,
    UNREADABLE_COLUMNS,
    PriceAnswer,
    PriceProfile,
)
from quant_assets.contracts.source import (
    BadAnswer,
    MissingAtSource,
    Request,
    SourceError,
    UnknownSymbolAtSource,
)
from quant_assets.price_rules.decisions import read_decisions
from quant_assets.price_rules.row_rules import check_prices
from quant_assets.price_rules.vendor_numbers import splits_from_adjusted_close
from quant_assets.reference.calendars import Calendar
from quant_assets.reference.identity import KnownIdentity, known_identities
from quant_assets.settings.sources import FilesArchive
from quant_assets.sources.files.actions import ArchiveActions, read_actions_file
from quant_assets.sources.files.contents import Contents, sorted_rows, without_repeats
from quant_assets.sources.files.conventions import (
    cell_forms,
    derives_distributions,
    derives_splits,
    dialect,
    prices,
    source_name,
)
from quant_assets.sources.files.delivered_tickers import in_tickers_of_each_session
from quant_assets.sources.files.deliveries import fold_deliveries
from quant_assets.sources.files.reading import (
    INSPECT,
    day_of_delivery,
    expand,
    in_order_of_delivery,
    read_typed,
    rows_unread,
)
from quant_assets.sources.files.silence import Silence

SYMBOLS_AT_ONCE = 256
"""Symbols an answer holds: half a million rows of eight years, stored in one transaction. Twice as
many transactions cost half as much again."""

_CONVENTIONS = {"previous_close": "P / (P0 - D)", "ex_close": "(P + D) * S / P0"}


@dataclass(frozen=True)
class FilesSource:
    """The archive ``name``; ``paths`` are absolute files, folders or globs, ``clock`` gives aware
    times."""

    name: str
    archive: FilesArchive
    paths: tuple[str, ...]
    calendar: Calendar = field(repr=False)
    actions_path: Path | None = None
    kinds_path: Path | None = None
    clock: Callable[[], dt.datetime] = field(default=lambda: dt.datetime.now(dt.UTC), repr=False)
    identities: Sequence[KnownIdentity] = field(default_factory=known_identities, repr=False)

    @cached_property
    def profile(self) -> PriceProfile:
        archive = self.archive
        reports = archive.actions or archive.columns
        return PriceProfile(
            name=source_name(self.name),
            price_basis=archive.price_basis,
            has_splits=bool(reports.split) or archive.deliveries or derives_splits(archive),
            has_distributions=bool(reports.dividend) or derives_distributions(archive),
            convention=_CONVENTIONS[archive.adjusted_close_convention],
            names_on=self._names_on,
            restates=archive.deliveries,
        )

    @property
    def _names_on(self) -> dt.date | None:
        """The day whose tickers the archive uses; a delivery uses those of its own day."""
        archive = self.archive
        if archive.symbols_on == "session" or (archive.deliveries and not archive.symbols_on):
            return None
        return archive.symbols_on or self._span[1]

    def symbols(self) -> tuple[str, ...]:
        return self._contents.symbols

    def fetch(self, requests: Sequence[Request]) -> Iterator[PriceAnswer]:
        """Answer ``SYMBOLS_AT_ONCE`` requests at a time, by symbol.

        Raises BadAnswer, SourceUnavailable, and DecisionError for the file of decisions.
        """
        decisions = read_decisions(self.kinds_path) if self.kinds_path else {}
        contents = self._contents
        beside, unread = self._read_actions_file()
        actions = ArchiveActions(self.archive, contents, beside, unread, decisions)
        notices = contents.notices
        if self.actions_path:
            known = pa.array(contents.symbols, pa.string())
            notices = (*notices, *_lost(self.actions_path, unread, known))
        in_order = sorted(requests, key=lambda request: request.symbol)
        for at in range(0, len(in_order), SYMBOLS_AT_ONCE):
            chunk = in_order[at : at + SYMBOLS_AT_ONCE]
            answers = self._answers(chunk, actions)
            if at == 0:
                answers[0] = replace(answers[0], notices=notices)
            yield from answers

    def _answers(self, chunk: Sequence[Request], actions: ArchiveActions) -> list[PriceAnswer]:
        """One answer, or several where a symbol's rows can't be made one of."""
        requests = {request.symbol: request for request in chunk}

        def work(symbols: Sequence[str]) -> PriceAnswer:
            return self._answer([requests[symbol] for symbol in symbols], actions)

        def failed(symbol: str, error: Exception) -> PriceAnswer:
            why = UnforeseenAnswerError(self.profile.name, symbol, error)
            return PriceAnswer((symbol,), PRICE_COLUMNS.empty_table(), failures={symbol: why})

        return list(each_apart(tuple(requests), work, failed))

    def _answer(self, chunk: Sequence[Request], actions: ArchiveActions) -> PriceAnswer:
        contents = self._contents
        rows = pa.concat_tables(
            [contents.rows.slice(0, 0), *(contents.rows_for(request) for request in chunk)]
        )
        events, impossible = actions.among(rows, chunk)
        empty, failures = self._absent(chunk)
        traded = {request.symbol: self._traded(request.symbol) for request in chunk}
        return PriceAnswer(
            symbols=tuple(request.symbol for request in chunk),
            rows=prices(rows, self.archive),
            actions=events,
            empty=empty,
            unreadable=pa.concat_tables([contents.unreadable_for(chunk), impossible]),
            failures=failures,
            ranges={symbol: days for symbol, days in traded.items() if days},
        )

    def _absent(self, requests: Sequence[Request]) -> tuple[pa.Table, dict[str, SourceError]]:
        """Sessions confirmed empty, and why others without a row are not; unknown symbols."""
        parts: dict[str, list[object]] = {name: [] for name in EMPTY_COLUMNS.names}
        failures: dict[str, SourceError] = {}
        known, name = frozenset(self._contents.symbols), self.profile.name
        for request in requests:
            symbol = request.symbol
            if symbol not in known:
                failures[symbol] = self._unknown(symbol)
                continue
            confirmed, doubted, why = self._silence.about(request)
            if doubted:
                failures[symbol] = MissingAtSource(name, symbol, doubted, why)
            for session, reason in confirmed:
                for column, value in zip(parts, (symbol, session, reason), strict=True):
                    parts[column].append(value)
        return pa.table(parts, schema=EMPTY_COLUMNS), failures

    def _traded(self, symbol: str) -> tuple[dt.date, dt.date] | None:
        """First and last day of a symbol's rows, without absurd ones."""
        first, last = self._reach
        days = self._silence.range_of(symbol)
        return (
            (max(days[0], first), min(days[1], last))
            if days and days[0] <= last and days[1] >= first
            else None
        )

    def _unknown(self, symbol: str) -> UnknownSymbolAtSource:
        unread = len(self._contents.files_unread)
        hint = f"{unread} of its files could not be read." if unread else ""
        return UnknownSymbolAtSource(self.profile.name, symbol, hint)

    @cached_property
    def _silence(self) -> Silence:
        return Silence(
            self._contents,
            self.calendar,
            self._reach,
            symbol_from_filename=self.archive.symbol_from_filename,
            forms=cell_forms(self.archive),
        )

    @cached_property
    def _reach(self) -> tuple[dt.date, dt.date]:
        """First and last session of which the archive has a row that can be stored.

        Rows of a mistyped or an unfinished day alone don't show that the archive had that day.
        """
        last_closed = self.calendar.last_closed_session(self.clock())
        rows, days = self._contents.rows, np.unique(self._contents.days).tolist()

        def has_row(day: dt.date) -> bool:
            of_day = rows.filter(pc.equal(rows["session"], pa.scalar(day, pa.date32())))
            checked = check_prices(prices(of_day, self.archive), self.calendar, last_closed)
            return bool(checked.accepted.num_rows)

        first = next((day for day in days if has_row(day)), None)
        last = next((day for day in reversed(days) if has_row(day)), None)
        return (first, last) if first and last else self._span

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
        archive, tables, unreadable = self.archive, [], {}
        unread: dict[Path, str] = {}
        columns, from_filename = archive.columns.model_dump(), archive.symbol_from_filename
        terms = dialect(self.name, archive, columns, symbol_from_filename=from_filename)
        paths = expand(terms.source, self.paths)
        for path in in_order_of_delivery(paths) if archive.deliveries else paths:
            if path in (self.actions_path, self.kinds_path):
                continue
            try:
                with only_for(terms.source, path.name):
                    typed, bad = read_typed(path, terms)
            except SourceError as error:
                unread[path] = str(error)
                continue
            if archive.deliveries and not archive.symbols_on:
                typed, bad = self._of_their_session(path, typed, bad)
            tables.append(without_repeats(typed))
            unreadable[path] = bad
        if not tables:
            raise BadAnswer(terms.source, " ".join(unread.values()))
        if not any(table.num_rows for table in tables):
            whys = [rows_unread(path, bad) for path, bad in unreadable.items() if bad.num_rows]
            message = " ".join([f"The archive {self.name} holds no readable row.", *whys, INSPECT])
            raise BadAnswer(terms.source, " ".join([message, *unread.values()]))
        rows = sorted_rows(pa.concat_tables(tables))
        if derives_splits(archive) and not archive.deliveries:
            rows = splits_from_adjusted_close(rows)
        known = pc.unique(rows["symbol"])
        lost = [notice for path, bad in unreadable.items() for notice in _lost(path, bad, known)]
        bad = pa.concat_tables(unreadable.values())
        contents = Contents(rows, bad, (*unread.values(), *lost), tuple(unread))
        if not archive.deliveries:
            return contents
        return fold_deliveries(tables, contents, archive, self.calendar)

    def _of_their_session(
        self, path: Path, rows: pa.Table, bad: pa.Table
    ) -> tuple[pa.Table, pa.Table]:
        """The rows of a delivery by the tickers of each session, and its rows that are no use."""
        sent, newest = day_of_delivery(path), pc.max(rows["session"]).as_py()
        day = min(sent, newest or sent) if sent > dt.date.min else newest or sent
        named, others = in_tickers_of_each_session(rows, day, self.identities)
        return named, pa.concat_tables([bad, others])

    def _read_actions_file(self) -> tuple[pa.Table | None, pa.Table]:
        declared = self.archive.actions
        if declared is None or self.actions_path is None:
            return None, UNREADABLE_COLUMNS.empty_table()
        columns = declared.model_dump(exclude={"path", "ex_date"}) | {"session": declared.ex_date}
        terms = dialect(self.name, self.archive, columns, symbol_from_filename=False)
        return read_actions_file(self.actions_path, terms)


def _lost(path: Path, bad: pa.Table, known: pa.Array) -> list[str]:
    """A sentence on the unreadable rows of a file that belong to no symbol which has others."""
    rows = bad.filter(pc.invert(pc.is_in(bad["symbol"], known)))
    what = "rows are of no symbol that can be read"
    return [rows_unread(path, rows, what)] if rows.num_rows else []
