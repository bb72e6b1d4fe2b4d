"""Claims on symbols, so that two loads at once never ask a source for the same one.

A load claims what it is about to ask for; another that meets the claim waits, and then finds the
rows there. A claim counts while the process of its run is alive; nobody tidies up after a kill.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from quant_assets.schema.loads import LOAD_CLAIMS
from quant_assets.warehouse.liveness import is_alive
from quant_assets.warehouse.warehouse import Warehouse
from quant_assets.warehouse.writing import Writing

LOOKS_EVERY_SECONDS = 0.25


@dataclass(frozen=True)
class Claims:
    """The claims of one run on symbols of a source. ``runs`` is where live runs hold their locks.

    Every method works on the claims of ``dataset`` and ``source`` alone.
    """

    runs: Path
    dataset: str
    source: str
    run_id: str

    def take(self, writing: Writing, symbols: Sequence[str]) -> dict[str, str]:
        """Claim ``symbols``; returns those that another live run has, with its id."""
        import pyarrow as pa  # status has no Arrow

        others = self._claimed_elsewhere(writing.con, symbols)
        writing.con.execute(
            f"delete from {LOAD_CLAIMS.name} where dataset = ? and source = ?"
            " and list_contains(?, symbol) and not list_contains(?, symbol)",
            [self.dataset, self.source, list(symbols), list(others)],
        )
        free = [symbol for symbol in symbols if symbol not in others]
        writing.upsert(LOAD_CLAIMS, pa.table({"symbol": free}), constants=self._scope)
        return others

    def release(self, writing: Writing, symbols: Sequence[str]) -> None:
        """Give up this run's claims on ``symbols``."""
        writing.con.execute(
            f"delete from {LOAD_CLAIMS.name} where dataset = ? and source = ? and run_id = ?"
            " and list_contains(?, symbol)",
            [self.dataset, self.source, self.run_id, list(symbols)],
        )

    def wait(self, warehouse: Warehouse, symbols: Sequence[str], seconds: float) -> dict[str, str]:
        """Wait until no other live run has any of ``symbols``; returns those still claimed."""
        deadline = time.monotonic() + seconds
        while True:
            with warehouse.reading() as con:
                claimed = self._claimed_elsewhere(con, symbols)
            if not claimed or time.monotonic() >= deadline:
                return claimed
            time.sleep(LOOKS_EVERY_SECONDS)

    def _claimed_elsewhere(
        self, con: duckdb.DuckDBPyConnection, symbols: Sequence[str]
    ) -> dict[str, str]:
        rows = con.execute(
            f"select symbol, run_id::varchar from {LOAD_CLAIMS.name} where dataset = ?"
            " and source = ? and run_id <> ? and list_contains(?, symbol)",
            [self.dataset, self.source, self.run_id, list(symbols)],
        ).fetchall()
        live = {run for run in {row[1] for row in rows} if is_alive(self.runs, run)}
        return {symbol: run for symbol, run in rows if run in live}

    @property
    def _scope(self) -> Mapping[str, object]:
        return {"dataset": self.dataset, "source": self.source}


def claimed_symbols(con: duckdb.DuckDBPyConnection, runs: Path, dataset: str) -> set[str]:
    """Symbols of a dataset that any live load is asking for."""
    rows = con.execute(
        f"select symbol, run_id::varchar from {LOAD_CLAIMS.name} where dataset = ?", [dataset]
    ).fetchall()
    live = {run for run in {row[1] for row in rows} if is_alive(runs, run)}
    return {symbol for symbol, run in rows if run in live}
