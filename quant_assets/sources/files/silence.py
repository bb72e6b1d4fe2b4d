"""What an archive's silence about a day means: confirmed empty, or a hole.

An archive confirms that a symbol has nothing on a day by having rows of it before or after alone.
A row or a file that can't be read may be the one that is missing, so it never helps to confirm.
"""

from __future__ import annotations

import datetime as dt
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import pyarrow as pa

from quant_assets.contracts.source import Request
from quant_assets.reference.calendars import Calendar
from quant_assets.reference.listings import foreign_listing
from quant_assets.schema.row_rules import rejected_days
from quant_assets.sources.files.cells import CellForms
from quant_assets.sources.files.contents import Contents, symbol_cell
from quant_assets.sources.files.reading import symbol_of

_WORDS = re.compile(r"[A-Z0-9]+")
_ANY = ""
"""Stands for every symbol, where a cell gives no hint of one."""

Confirmed = list[tuple[dt.date, str]]


@dataclass
class _Doubt:
    """Days of which unreadable rows tell; ``undated`` is whether one's day is unreadable too."""

    days: set[dt.date] = field(default_factory=set)
    undated: bool = False

    def covers(self, day: dt.date) -> bool:
        return self.undated or day in self.days


@dataclass(frozen=True)
class Silence:
    """What the silence of ``contents`` confirms between the days of ``span``, both included.

    A file that could not be read may hold any symbol, or with ``symbol_from_filename`` its own.
    """

    contents: Contents
    calendar: Calendar
    span: tuple[dt.date, dt.date]
    symbol_from_filename: bool
    forms: CellForms = CellForms()

    def range_of(self, symbol: str) -> tuple[dt.date, dt.date] | None:
        """The first and last day of which the archive has a row of ``symbol``, readable or not."""
        days = set(self._own[symbol].days) if symbol in self._own else set()
        if symbol in self.contents.extents:
            known = self.contents.days_of(symbol)
            days |= {known[0].item(), known[-1].item()}
        return (min(days), max(days)) if days else None

    def about(self, request: Request) -> tuple[Confirmed, list[dt.date], str]:
        """Sessions confirmed empty, each with the reason; those in doubt, and why they are.

        A session missing between a symbol's rows is not confirmed by an archive's silence, and
        neither is a day that the archive as a whole does not reach.
        """
        reach, (first, last) = self.range_of(request.symbol), self.span
        begin, end = max(request.start, first), min(request.end, last)
        if reach is None:
            reach = (dt.date.max, dt.date.min)  # all of its rows are of illegible days
        if begin > end or (reach[0] <= begin and reach[1] >= end):
            return [], [], ""
        before = f"the archive begins with {reach[0]}"
        after = f"the archive ends with {reach[1]}"
        days = [d for d in self.calendar.between(begin, end) if not reach[0] <= d <= reach[1]]
        unread = self.contents.files_unread
        if self.symbol_from_filename:
            unread = tuple(file for file in unread if symbol_of(file, self.forms) == request.symbol)
        if unread:
            return [], days, f"{len(unread)} of its files could not be read"
        doubts = self._doubts_about(request.symbol)
        doubted = [day for day in days if any(doubt.covers(day) for doubt in doubts)]
        sure = set(days) - set(doubted)
        confirmed = [(day, before if day < reach[0] else after) for day in days if day in sure]
        return confirmed, doubted, "a row that can't be read may be its row"

    def _doubts_about(self, symbol: str) -> Sequence[_Doubt]:
        own, spelt = self._own.get(symbol), "".join(_WORDS.findall(symbol))
        found = (own, self._unnamed.get(spelt), self._unnamed.get(_ANY))
        return [doubt for doubt in found if doubt is not None]

    @cached_property
    def _own(self) -> Mapping[str, _Doubt]:
        """Doubts by the legible symbol of their rows."""
        return self._gathered[0]

    @cached_property
    def _unnamed(self) -> Mapping[str, _Doubt]:
        """Doubts of rows with an illegible symbol, by the letters that it may stand for."""
        return self._gathered[1]

    @cached_property
    def _gathered(self) -> tuple[dict[str, _Doubt], dict[str, _Doubt]]:
        own: dict[str, _Doubt] = defaultdict(_Doubt)
        unnamed: dict[str, _Doubt] = defaultdict(_Doubt)
        rows: pa.Table = self.contents.unreadable
        symbols, raws = rows["symbol"].to_pylist(), rows["raw"].to_pylist()
        for symbol, day, raw in zip(symbols, rejected_days(rows).to_pylist(), raws, strict=True):
            doubts = (
                [own[symbol]] if symbol else [unnamed[name] for name in _may_be(symbol_cell(raw))]
            )
            for doubt in doubts:
                doubt.undated |= day is None
                if day is not None:
                    doubt.days.add(day)
        return dict(own), dict(unnamed)


def _may_be(cell: str | None) -> set[str]:
    """The symbols, without dots, that an illegible cell may stand for: each of its words, and all
    of them together (``JNJ*``, ``BRK B``, ``AAPL US``).
    """
    if cell and foreign_listing(cell):
        return set()  # VOD.L is none of VOD and L
    words = _WORDS.findall((cell or "").upper())
    if not words or "?" in (cell or "") or "\ufffd" in (cell or ""):
        return {_ANY}
    return {*words, "".join(words)}
