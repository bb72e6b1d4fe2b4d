"""The record of one load: every transaction takes along its log entries, totals and claims."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import pyarrow as pa

from quant_assets.contracts.source import SourceProfile
from quant_assets.journal.entries import Journal, entry_columns
from quant_assets.journal.progress import Every, Progress, unwatched
from quant_assets.loading.claims import Claims
from quant_assets.loading.report import COUNTS, SymbolReport, symbol_rows
from quant_assets.loading.work import Window
from quant_assets.schema.loads import LOAD_RUN_SYMBOLS, LOAD_RUNS, LOG_ENTRIES, SOURCES
from quant_assets.warehouse.warehouse import Warehouse
from quant_assets.warehouse.writing import Writing


@dataclass
class Recording:
    """What is kept of one load. ``backfill`` is the Dagster backfill it belongs to, ``earlier`` are
    the spans, beginnings and symbols of the run's earlier steps.
    """

    warehouse: Warehouse
    journal: Journal
    claims: Claims
    started_at: dt.datetime
    backfill: str | None
    earlier: list[tuple[dt.date, dt.date, dt.datetime, int]] | None = None

    @classmethod
    def of(
        cls, warehouse: Warehouse, dataset: str, source: str, run_id: str, backfill: str | None
    ) -> Recording:
        return cls(
            warehouse,
            Journal(run_id, dataset, source, clock=warehouse.clock),
            Claims(warehouse.runs, dataset, source, run_id),
            warehouse.clock(),
            backfill,
        )

    @property
    def run_id(self) -> str:
        return self.journal.run_id

    @contextmanager
    def writing(self) -> Iterator[Writing]:
        """A transaction, which takes along what was logged up to its end."""
        entries = entry_columns().empty_table()
        try:
            with self.warehouse.writing(self.run_id, f"load from {self.journal.source}") as writing:
                yield writing
                entries = self.journal.take()
                writing.upsert(LOG_ENTRIES, entries)
        except BaseException:
            self.journal.give_back(entries)
            raise

    def source(self, writing: Writing, profile: SourceProfile) -> None:
        """Keep what is known of the source; what another dataset's profile added stays."""
        cursor = writing.con.execute("select * from sources where source = ?", [profile.name])
        names = [column[0] for column in cursor.description or ()]
        known = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        facts = {name: value for name, value in vars(profile).items() if value != ""}
        row = {"convention": "", **(known[0] if known else {}), **facts, "source": profile.name}
        row = {name: row.get(name) for name in (*SOURCES.key, *SOURCES.values)}
        writing.upsert(SOURCES, SOURCES.arrow([row]))

    def totals(self, writing: Writing, window: Window, finished: dt.datetime | None = None) -> None:
        """Keep the totals of a run in one row, also where it loads a dataset in several steps, such
        as stocks and pairs.
        """
        run = {
            "run_id": self.run_id,
            "dataset": self.journal.dataset,
            "source": self.journal.source,
        }
        of_run = " where run_id = $run_id and dataset = $dataset and source = $source"
        sums = ", ".join(f"coalesce(sum({name}), 0)::bigint" for name in COUNTS)
        [counts] = writing.con.execute(
            f"select {sums} from {LOAD_RUN_SYMBOLS.name}{of_run}", run
        ).fetchall()
        if self.earlier is None:
            self.earlier = writing.con.execute(
                "select start_session, end_session, started_at, symbols"
                f" from {LOAD_RUNS.name}{of_run}",
                run,
            ).fetchall()
        ours = (window.start, window.end, naive_utc(self.started_at), len(window.symbols))
        starts, ends, began, symbols = zip(ours, *self.earlier, strict=True)
        row = {
            **run,
            "start_session": min(starts),
            "end_session": max(ends),
            "started_at": min(began),
            "finished_at": naive_utc(finished) if finished else None,
            "backfill": self.backfill,
            "symbols": sum(symbols),
            **dict(zip(COUNTS, counts, strict=True)),
        }
        writing.upsert(LOAD_RUNS, LOAD_RUNS.arrow([row]))

    def symbols(self, writing: Writing, reports: Sequence[SymbolReport]) -> None:
        constants = {"dataset": self.journal.dataset, "source": self.journal.source}
        rows = symbol_rows(self.run_id, reports)
        writing.upsert(LOAD_RUN_SYMBOLS, rows, constants=constants)

    def set_aside(self, rejected: pa.Table) -> None:
        """Log the rows put into quarantine: in one entry those of one symbol and reason, which may
        be a row of every day.
        """
        of_one = rejected.group_by(["symbol", "reason"], use_threads=False)
        days = of_one.aggregate([("session", each) for each in ("count", "min", "max")])
        for told in days.to_pylist():
            count, first, last = (told[f"session_{each}"] for each in ("count", "min", "max"))
            span = first if first == last else f"{first or 'no day'} to {last}"
            rows = f"{count:,} rows are" if count > 1 else "a row is"
            message = f"{rows} in quarantine{f' ({span})' if span else ''}: {told['reason']}"
            self.journal.warning(message, symbol=told["symbol"] or None)

    def logged(self, on_progress: Progress) -> Progress:
        """A progress that the log hears of too, at each tenth symbol."""

        def note(done: int, total: int, what: str) -> None:
            self.journal.info(f"{done} of {total} symbols done; {what}")

        tenth = Every(note, unwatched)

        def both(done: int, total: int, what: str) -> None:
            tenth(done, total, what)
            on_progress(done, total, what)

        return both


def naive_utc(moment: dt.datetime) -> dt.datetime:
    """An aware moment as the warehouse keeps it."""
    return moment.astimezone(dt.UTC).replace(tzinfo=None)
