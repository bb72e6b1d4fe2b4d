"""The summary of a load: per symbol and in total, as printed, as JSON and as kept rows."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import pyarrow as pa

from quant_assets.planning import Window
from quant_assets.tables import LOAD_RUN_SYMBOLS


@dataclass(frozen=True)
class SymbolReport:
    """What became of one symbol, in symbol-days and rows."""

    symbol: str
    security_id: int | None
    requested: int
    inserted: int = 0
    revised: int = 0
    unchanged: int = 0
    quarantined: int = 0
    empty: int = 0
    failed: int = 0
    set_aside: int = 0
    """Symbol-days whose only row is in quarantine."""
    first_session: dt.date | None = None
    last_session: dt.date | None = None
    error: str | None = None

    @property
    def completeness(self) -> float:
        """Symbol-days present or confirmed empty, over those requested; 1.0 of none."""
        lacking = self.failed + self.set_aside
        return 1 - lacking / self.requested if self.requested else 1.0


@dataclass(frozen=True)
class LoadReport:
    """What a load did, in total and symbol by symbol; kept in ``load_runs``.

    ``settled`` counts the symbols that had everything already; they were not asked for.
    """

    run_id: str
    source: str
    window: Window
    started_at: dt.datetime
    finished_at: dt.datetime
    symbols: tuple[SymbolReport, ...]
    settled: int
    notices: tuple[str, ...] = ()
    dry_run: bool = False

    def total(self, name: str) -> int:
        """The sum of a count over all symbols, such as ``inserted``."""
        return sum(getattr(report, name) for report in self.symbols)

    @property
    def needs_attention(self) -> bool:
        """Whether something failed, was quarantined or is worth a notice."""
        return bool(self.notices) or self.total("failed") > 0 or self.total("quarantined") > 0

    def to_json(self) -> str:
        totals = {n: self.total(n) for n in COUNTS} | {"settled": self.settled}
        values = {**asdict(self), "totals": totals, "needs_attention": self.needs_attention}
        values["seconds"] = round((self.finished_at - self.started_at).total_seconds(), 3)
        return json.dumps(values, default=str)


COUNTS = ("requested", "inserted", "revised", "unchanged", "quarantined", "empty", "failed")


def symbol_rows(run_id: str, reports: Sequence[SymbolReport]) -> pa.Table:
    """Reports as rows of ``load_run_symbols``."""
    fields = [f for f in LOAD_RUN_SYMBOLS.arrow_schema if not f.name.endswith("_at")]
    rows = [
        {"run_id": run_id, **vars(report), "completeness": report.completeness}
        for report in reports
    ]
    return pa.Table.from_pylist(rows, schema=pa.schema(fields))
