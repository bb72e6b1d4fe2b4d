"""Dagster's partitions made to agree with the warehouse, in both directions, without fetching.

They come apart where a run is killed between its commit and its event, where an older file is
restored, where a ticker is renamed, or where Dagster's history is lost. The warehouse is right:
what is there becomes green, and what is green without being there becomes red. What nobody ever
asked for stays as it is.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import dagster as dg

from quant_assets.datasets.daily_prices.key_states import KeyStates, SymbolDay, key_states
from quant_assets.journal.progress import Progress, unwatched
from quant_assets.loading.claims import claimed_symbols
from quant_assets.orchestration.runs.dataset_asset import PRICES
from quant_assets.orchestration.runs.partitions import SYMBOLS, add_tickers, key_text
from quant_assets.orchestration.runs.reporting import Reporter, RunStep, unfulfilled
from quant_assets.orchestration.runs.requested import portions
from quant_assets.securities.names import tickers_with_data
from quant_assets.wiring.platform import Platform

LOST = "green without data"


@dataclass
class Differences:
    """Symbol-days on which Dagster and the warehouse differ.

    ``unseen`` have data, or are confirmed empty, and are not green; ``lost`` are green and have
    none; ``unseen_failures`` are recorded as failed and not red. ``tickers`` have data and no
    partitions; ``busy`` are symbols of a load under way, which were left out.
    """

    compared: int = 0
    tickers: tuple[str, ...] = ()
    busy: tuple[str, ...] = ()
    unseen: list[SymbolDay] = field(default_factory=list)
    lost: list[SymbolDay] = field(default_factory=list)
    unseen_failures: list[SymbolDay] = field(default_factory=list)

    @property
    def any(self) -> bool:
        return bool(self.tickers or self.unseen or self.lost or self.unseen_failures)

    @property
    def counts(self) -> dict[str, int]:
        return {
            "compared": self.compared,
            "turned_green": len(self.unseen),
            "lost": len(self.lost),
            "failed": len(self.unseen_failures),
            "tickers": len(self.tickers),
            "busy": len(self.busy),
        }

    def to_dict(self) -> dict[str, object]:
        """Everything, symbol-days as partition keys."""
        return {
            "compared": self.compared,
            "tickers": self.tickers,
            "busy": self.busy,
            "unseen": [key_text(*day) for day in self.unseen],
            "lost": [key_text(*day) for day in self.lost],
            "unseen_failures": [key_text(*day) for day in self.unseen_failures],
        }

    def describe(self) -> str:
        """What is amiss, in words, for whoever looks at the red partitions."""
        parts = []
        if self.lost:
            parts.append(
                f"{len(self.lost)} symbol-days were green and the warehouse does not have them"
            )
        if self.unseen_failures:
            parts.append(f"{len(self.unseen_failures)} had failed to load unnoticed")
        return f"{'; '.join(parts)}. They are red now: load them again."

    def add(self, found: _Found) -> None:
        self.compared += found.compared
        self.unseen += [*found.unseen.good, *found.unseen.empty]
        self.lost += found.lost
        self.unseen_failures += found.unseen_failures


def compare(
    platform: Platform, instance: dg.DagsterInstance, progress: Progress = unwatched
) -> Differences:
    """Find the differences, and change nothing."""
    look = _Look.at(platform, instance)
    differences = Differences(tickers=look.tickers, busy=look.busy)
    for found in look.portions(progress):
        differences.add(found)
    return differences


def reconcile(
    context: dg.OpExecutionContext, platform: Platform, progress: Progress = unwatched
) -> Differences:
    """Make Dagster agree with the warehouse; returns what differed.

    Keys turn red by the failing of the run that plans them, so the caller has to raise
    dagster.Failure where any were lost or failed.
    """
    instance = context.instance
    look = _Look.at(platform, instance)
    add_tickers(instance, list(look.tickers))
    step = replace(RunStep.of(context, PRICES), reports_all=True)
    reporter = Reporter(instance, step, PRICES.upstream)
    differences = Differences(tickers=look.tickers, busy=look.busy)
    for found in look.portions(progress):
        reds = dict.fromkeys((*found.lost, *found.unseen_failures), LOST)
        reporter.report(replace(found.unseen, failed=reds))
        differences.add(found)
    return differences


@dataclass(frozen=True)
class _Found:
    """The differences among some symbols."""

    compared: int
    unseen: KeyStates
    lost: list[SymbolDay]
    unseen_failures: list[SymbolDay]


@dataclass(frozen=True)
class _Look:
    """Dagster's side as it was at the start, and the symbol-days to compare."""

    platform: Platform
    green: set[str]
    attempted: set[str]
    asked: Mapping[str, Sequence[dt.date]]
    tickers: tuple[str, ...]
    busy: tuple[str, ...]
    last_closed: dt.date

    @classmethod
    def at(cls, platform: Platform, instance: dg.DagsterInstance) -> _Look:
        start = platform.settings.partition_start
        last_closed = platform.calendar.last_closed_session(platform.clock())
        sessions = platform.calendar.between(start, last_closed) if start <= last_closed else ()
        known = instance.get_dynamic_partitions(SYMBOLS)
        warehouse = platform.warehouse
        tickers: list[str] = []
        busy: set[str] = set()
        if warehouse.exists():
            warehouse.migrate()
            with warehouse.reading() as con:
                stored = tickers_with_data(con, PRICES.table, start)
                tickers = [ticker for ticker in stored if ticker not in set(known)]
                busy = claimed_symbols(con, warehouse.runs, PRICES.table.name)
        attempts = unfulfilled(instance, PRICES.key)
        return cls(
            platform,
            set(instance.get_materialized_partitions(PRICES.key)) - attempts,
            attempts,
            {s: sessions for s in (*known, *tickers) if s not in busy},
            tuple(tickers),
            tuple(sorted(busy)),
            last_closed,
        )

    def portions(self, progress: Progress) -> Iterator[_Found]:
        done = 0
        for some in portions(self.asked):
            states = key_states(self.platform.warehouse, PRICES.table, some, self.last_closed)
            yield self._differences(states)
            done += len(some)
            progress(done, len(self.asked), "comparing")

    def _differences(self, found: KeyStates) -> _Found:
        return _Found(
            len(found.good) + len(found.empty) + len(found.failed),
            KeyStates(
                good=[day for day in found.good if not self._is_green(day)],
                empty={
                    day: reason
                    for day, reason in found.empty.items()
                    # Nobody bore the ticker and nobody asked: that may stay untold.
                    if not self._is_green(day)
                    and (day not in found.unborne or self._was_attempted(day))
                },
            ),
            [day for day in found.failed if self._is_green(day)],
            [
                day
                for day in found.failed
                if day in found.in_ledger
                and not self._is_green(day)
                and not self._was_attempted(day)
            ],
        )

    def _is_green(self, day: SymbolDay) -> bool:
        return key_text(*day) in self.green

    def _was_attempted(self, day: SymbolDay) -> bool:
        """Whether it is red, or in the hands of a run under way."""
        return key_text(*day) in self.attempted
