"""What the engine needs to know of a dataset: what is due, what an answer must be, where it goes.

The engine plans, claims, fetches, commits and reports; everything that is particular to prices, or
to any other dataset, stands behind ``Dataset`` and ``DueRule``.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

import duckdb
import pyarrow as pa

from quant_assets.contracts.source import Answer, SourceError, SourceProfile
from quant_assets.loading.report import SymbolReport
from quant_assets.loading.work import Plan, Window
from quant_assets.schema.row_rules import REJECTED
from quant_assets.schema.table import Table
from quant_assets.warehouse.writing import Writing

A = TypeVar("A", bound=Answer)
C = TypeVar("C")


@dataclass(frozen=True)
class Due:
    """What is due of one symbol: ``days``, ascending, and the first day that is stored, if any.

    ``new_days_count`` tells whether days beyond those of an earlier load are new work, for which
    attempts are counted anew.
    """

    days: Sequence[dt.date]
    first_stored: dt.date | None = None
    new_days_count: bool = True


@dataclass(frozen=True)
class Look:
    """The warehouse as a load finds it, open for reading; None where there is no file yet.

    ``days`` are those of the window, ``asked_at`` is the time of the last request for each symbol
    (UTC, naive), ``now`` is aware.
    """

    con: duckdb.DuckDBPyConnection | None
    source: SourceProfile
    window: Window
    days: Sequence[dt.date]
    now: dt.datetime
    asked_at: Mapping[str, dt.datetime] = field(default_factory=dict)


class DueRule(Protocol):
    """When something is due: session by session, by age, when it is published."""

    def days(self, window: Window, now: dt.datetime) -> tuple[dt.date, ...]:
        """The days of a window that can be requested by now, ascending.

        Raises an error that says why where there is none.
        """
        ...

    def newest(self, window: Window, now: dt.datetime) -> dt.date | None:
        """The day that a live source may deliver late, so that the rest of a load waits for it;
        None where nothing is waited for.
        """
        ...

    def due(self, look: Look, *, force: bool) -> Mapping[str, Due]:
        """What is due of each symbol of the window, in their order; of all days with ``force``."""
        ...


@dataclass(frozen=True)
class Stored(Generic[A]):
    """What became of an answer; the symbols that could not be stored are among its failures.

    ``rejected`` are the rows it put into quarantine, as REJECTED.
    """

    answer: A
    reports: Sequence[SymbolReport]
    rejected: pa.Table = field(default_factory=REJECTED.empty_table)


class Dataset(Protocol[A, C]):
    """One kind of data: ``A`` is what its sources answer, ``C`` a checked answer."""

    @property
    def name(self) -> str:
        """The name in load runs, tasks, claims, ledger and log."""
        ...

    @property
    def tables(self) -> tuple[Table, ...]:
        """Where its rows go; they are counted in the first."""
        ...

    @property
    def rule(self) -> DueRule: ...

    def no_answer(self, symbols: Sequence[str], failures: Mapping[str, SourceError]) -> A:
        """An answer without a row, for symbols that are not requested any more."""
        ...

    def part(self, answer: A, symbols: Sequence[str]) -> A:
        """The answer for some of its symbols."""
        ...

    def check(self, answer: A, now: dt.datetime) -> C:
        """The rows of an answer sorted into good and rejected ones; nothing is read or written."""
        ...

    def store(self, writing: Writing, checked: C, plan: Plan) -> Stored[A]:
        """Write an answer, inside the transaction that records its arrival."""
        ...

    def finished(
        self, writing: Writing, source: SourceProfile, reports: Sequence[SymbolReport]
    ) -> Sequence[str]:
        """What follows from a whole load; returns what is worth a notice."""
        ...
