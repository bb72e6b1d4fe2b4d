"""The corporate actions of an archive: from its own columns, from a file beside it, or inferred."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from quant_assets.contracts.prices import ACTION_COLUMNS, UNREADABLE_COLUMNS
from quant_assets.contracts.source import BadAnswer, Request
from quant_assets.price_rules.corporate_actions import Reported, inferred_action, records
from quant_assets.price_rules.decisions import Decisions
from quant_assets.price_rules.vendor_numbers import eventful, numbers_by_day
from quant_assets.settings.sources import FilesArchive
from quant_assets.sources.files.contents import Contents
from quant_assets.sources.files.conventions import (
    REPORTED,
    derived_distributions,
    derives_distributions,
)
from quant_assets.sources.files.reading import Dialect, read_typed, rows_unread

V = TypeVar("V")


@dataclass(frozen=True)
class ArchiveActions:
    """The corporate actions of an archive; ``beside`` are the rows of its own file of actions,
    ``unreadable`` those of them that can't be read.
    """

    archive: FilesArchive
    contents: Contents
    beside: pa.Table | None
    unreadable: pa.Table
    decisions: Decisions

    def among(self, rows: pa.Table, requests: Sequence[Request]) -> tuple[pa.Table, pa.Table]:
        """Actions within the requests, whose rows are ``rows``, and numbers that can be none.

        These have ``ACTION_COLUMNS`` and ``UNREADABLE_COLUMNS``.
        """
        numbers = eventful(self._numbers(rows, requests))
        days, impossible = numbers_by_day(numbers, add_up=self.beside is not None)
        spans = {request.symbol: request for request in requests}
        # A decision can also add an event that the vendor leaves out altogether.
        for key, decided in _inside(self.decisions, spans):
            if any(decision.made_from == "none" for decision in decided):
                days.setdefault(key, (None, None))
        inferred = []
        for (symbol, day), (event, by) in _inside(self.contents.inferred, spans):
            if (symbol, day) in self.decisions:
                days[symbol, day] = (event.factor, days.get((symbol, day), (None, None))[1])
            else:
                row = inferred_action(event, self.archive.currency)
                inferred.append({**row, "symbol": symbol, "kind_by": by})
        reported = [
            Reported(symbol, day, *numbers, self.archive.basis_on or day, self.archive.currency)
            for (symbol, day), numbers in days.items()
        ]
        symbols = pa.array(list(spans), pa.string())
        unread = self.unreadable.filter(pc.is_in(self.unreadable["symbol"], symbols))
        return (
            pa.Table.from_pylist([*records(reported, self.decisions), *inferred], ACTION_COLUMNS),
            pa.concat_tables([pa.Table.from_pylist(impossible, UNREADABLE_COLUMNS), unread]),
        )

    def _numbers(self, rows: pa.Table, requests: Sequence[Request]) -> pa.Table:
        """The vendor's numbers of splits and dividends within the requests."""
        for table in (self.beside, self.contents.reported):
            if table is not None:
                return _within(table, requests)
        numbers = rows.select(REPORTED)
        if not derives_distributions(self.archive):
            return numbers
        return pa.concat_tables([eventful(numbers), _within(self._derived, requests)])

    @cached_property
    def _derived(self) -> pa.Table:
        """Distributions that the adjusted close shows, over the whole archive.

        A window would lose the one of its first session, whose step begins the session before.
        """
        return derived_distributions(self.contents.rows, self.archive)


def read_actions_file(path: Path, dialect: Dialect) -> tuple[pa.Table, pa.Table]:
    """Splits and dividends of an archive's file of actions, and its rows that can't be read.

    Raises BadAnswer where none can: a history without a split would pass for one.
    """
    typed, bad = read_typed(path, dialect)
    if bad.num_rows and not typed.num_rows:
        raise BadAnswer(dialect.source, rows_unread(path, bad))
    return typed.select(REPORTED), bad


def _inside(
    values: Mapping[tuple[str, dt.date], V], spans: Mapping[str, Request]
) -> Iterator[tuple[tuple[str, dt.date], V]]:
    """The items whose symbol was requested, and for that day."""
    for (symbol, day), value in values.items():
        span = spans.get(symbol)
        if span and span.first <= day <= span.end:
            yield (symbol, day), value


def _within(numbers: pa.Table, requests: Sequence[Request]) -> pa.Table:
    """The rows inside the days of their symbol's request."""
    at = pc.index_in(numbers["symbol"], pa.array([request.symbol for request in requests]))
    starts = pa.array([request.first for request in requests], pa.date32()).take(at)
    ends = pa.array([request.end for request in requests], pa.date32()).take(at)
    inside = pc.and_(
        pc.greater_equal(numbers["session"], starts), pc.less_equal(numbers["session"], ends)
    )
    return numbers.filter(pc.fill_null(inside, False))
