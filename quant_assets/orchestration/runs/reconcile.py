"""Dagster's partitions made to agree with the warehouse, in both directions, without fetching.

They come apart where a run is killed between its commit and its event, where an older file is
restored, where a ticker is renamed, or where Dagster's history is lost. The warehouse is right:
what is there becomes green, and what is green without being there becomes red. What was never
requested stays as it is.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import dagster as dg

from quant_assets.datasets.daily_prices.key_states import KeyStates, SymbolDay
from quant_assets.journal.progress import Progress, unwatched
from quant_assets.loading.claims import claimed_symbols
from quant_assets.orchestration.runs.dataset_asset import DatasetAsset
from quant_assets.orchestration.runs.partitions import SYMBOLS, add_tickers, key_text
from quant_assets.orchestration.runs.reporting import Reporter, RunStep, unfulfilled
from quant_assets.orchestration.runs.requested import partition_days, portions
from quant_assets.orchestration.runs.states import states
from quant_assets.securities.names import answered_symbols, tickers_with_data
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
    key: Callable[[str, dt.date], str] = key_text

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
            "unseen": [self.key(*day) for day in self.unseen],
            "lost": [self.key(*day) for day in self.lost],
            "unseen_failures": [self.key(*day) for day in self.unseen_failures],
        }

    def describe(self) -> str:
        """What is amiss, in words, for a user who looks at the red partitions."""
        parts = []
        if self.lost:
            parts.append(
                f"{len(self.lost)} symbol-days were green and the warehouse does not have them"
            )
        if self.unseen_failures:
            parts.append(f"{len(self.unseen_failures)} had failed to load unnoticed")
        return f"{'; '.join(parts)}. They are red now: load them again."


def compare(
    platform: Platform,
    instance: dg.DagsterInstance,
    progress: Progress = unwatched,
    *,
    asset: DatasetAsset,
) -> Differences:
    """Find the differences, and change nothing."""
    return _Comparison.begun(platform, instance, asset).differences(progress)


def reconcile(
    context: dg.OpExecutionContext,
    platform: Platform,
    progress: Progress = unwatched,
    *,
    asset: DatasetAsset,
) -> Differences:
    """Make Dagster agree with the warehouse; returns what differed.

    Keys turn red by the failing of the run that plans them, so the caller has to raise
    dagster.Failure where any were lost or failed.
    """
    comparison = _Comparison.begun(platform, context.instance, asset)
    add_tickers(context.instance, comparison.tickers)
    step = replace(RunStep.of(context, asset), reports_all=True)
    return comparison.differences(progress, Reporter(context.instance, step).report)


@dataclass(frozen=True)
class _Comparison:
    """Dagster's side as it was at the start, and the symbol-days to compare.

    ``attempted`` are the keys that are red, or in the hands of a run under way.
    """

    platform: Platform
    asset: DatasetAsset
    green: set[str]
    attempted: set[str]
    sessions: Mapping[str, Sequence[dt.date]]
    tickers: tuple[str, ...]
    busy: tuple[str, ...]
    last_closed: dt.date

    @classmethod
    def begun(
        cls, platform: Platform, instance: dg.DagsterInstance, asset: DatasetAsset
    ) -> _Comparison:
        start = platform.settings.partition_start
        last_closed = platform.calendar.last_closed_session(platform.clock())
        by_day = asset.partitions == "symbol_day"
        days = partition_days(platform, start, last_closed) if by_day else (last_closed,)
        known = instance.get_dynamic_partitions(SYMBOLS)
        warehouse = platform.warehouse
        tickers: tuple[str, ...] = ()
        busy: set[str] = set()
        if warehouse.exists():
            warehouse.migrate()
            with warehouse.reading() as con:
                stored = (
                    tickers_with_data(con, asset.table, start)
                    if by_day
                    else answered_symbols(con, asset.table.name)
                )
                busy = claimed_symbols(con, warehouse.runs, asset.table.name)
            tickers = tuple(ticker for ticker in stored if ticker not in set(known))
        attempted = unfulfilled(instance, asset.key)
        return cls(
            platform,
            asset,
            set(instance.get_materialized_partitions(asset.key)) - attempted,
            attempted,
            {ticker: days for ticker in (*known, *tickers) if ticker not in busy},
            tickers,
            tuple(sorted(busy)),
            last_closed,
        )

    def differences(
        self, progress: Progress, report: Callable[[KeyStates], None] = lambda states: None
    ) -> Differences:
        """Compare portion by portion, and hand what differs to ``report``."""
        key = self.asset.partition_key
        found = Differences(tickers=self.tickers, busy=self.busy, key=key)
        seen = self.green | self.attempted
        done = 0
        for some in portions(self.sessions):
            stored = states(self.asset, self.platform.warehouse, some, self.last_closed)
            unseen = self._unseen(stored)
            lost = [day for day in stored.failed if key(*day) in self.green]
            recorded = [day for day in stored.failed if day in stored.in_ledger]
            failures = [day for day in recorded if key(*day) not in seen]
            report(replace(unseen, failed=dict.fromkeys((*lost, *failures), LOST)))
            found.compared += len(stored.good) + len(stored.empty) + len(stored.failed)
            found.unseen += [*unseen.good, *unseen.empty]
            found.lost += lost
            found.unseen_failures += failures
            done += len(some)
            progress(done, len(self.sessions), "comparing")
        return found

    def _unseen(self, stored: KeyStates) -> KeyStates:
        """What is stored or confirmed empty, and not green."""
        key = self.asset.partition_key
        good = [day for day in stored.good if key(*day) not in self.green]
        empty = {
            day: reason
            for day, reason in stored.empty.items()
            # Where the ticker had no bearer and was never requested, the key may stay grey.
            if key(*day) not in self.green
            and (day not in stored.unborne or key(*day) in self.attempted)
        }
        return KeyStates(good, empty)
