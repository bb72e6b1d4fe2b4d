"""The summary of a load: per symbol and in total, as printed, as JSON and as kept rows."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

import pyarrow as pa

from quant_assets.loading.work import Window
from quant_assets.schema.loads import LOAD_RUN_SYMBOLS


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
    silent: frozenset[dt.date] = frozenset()
    """The sessions of which the source said nothing, though it did of others."""

    @property
    def completeness(self) -> float:
        """Symbol-days present or confirmed empty, over those requested; 1.0 of none."""
        lacking = self.failed + self.set_aside
        return 1 - lacking / self.requested if self.requested else 1.0


@dataclass(frozen=True)
class Outage:
    """A session that a source lacks for much of what it was asked for.

    ``held`` symbols wait for it until ``held_until``, UTC; not all of them were asked for.
    """

    session: dt.date
    symbols: int
    asked: int
    held: int = 0
    held_until: dt.datetime | None = None

    def describe(self, source: str) -> str:
        again = (
            f"{self.held:,} symbols wait and are asked for again from {self.held_until:%H:%M} UTC"
            if self.held_until
            else "Ask again later"
        )
        return (
            f"{source} has no row of {self.session} for {self.symbols} of {self.asked} symbols. "
            f"The exchange was open: the source lags, or had an outage. {again}; nothing "
            "was made up, and no symbol is to blame."
        )


OUTAGE_FROM = 0.5
OUTAGE_SYMBOLS = 10
"""A session is missing at the source, and not at single symbols, where at least so many of those
asked for lack it, and this share of them."""


def outages(
    lacking: Mapping[dt.date, int], asked: int, lags_from: dt.date | None = None
) -> tuple[Outage, ...]:
    """The sessions that so many symbols lack that the source is to blame (L11), and those from
    ``lags_from`` on, where it was found to lag.
    """
    return tuple(
        Outage(day, symbols, asked)
        for day, symbols in sorted(lacking.items())
        if symbols >= max(OUTAGE_SYMBOLS, OUTAGE_FROM * asked) or (lags_from and day >= lags_from)
    )


@dataclass(frozen=True)
class LoadReport:
    """What a load did, in total and symbol by symbol; kept in ``load_runs``.

    ``settled`` counts the symbols that had everything already; they were not asked for. ``left``
    are symbols with something due that were not to be asked for, each with why not, ``postponed``
    those that no request was left for, ``held`` those that wait because the source lags.
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
    left: Mapping[str, str] = field(default_factory=dict)
    outages: tuple[Outage, ...] = ()
    postponed: tuple[str, ...] = ()
    held: tuple[str, ...] = ()

    def total(self, name: str) -> int:
        """The sum of a count over all symbols, such as ``inserted``."""
        return sum(getattr(report, name) for report in self.symbols)

    @property
    def needs_attention(self) -> bool:
        """Whether something failed, was quarantined, given up or is worth a notice."""
        return bool(self.notices or self.left) or any(
            self.total(name) > 0 for name in ("failed", "quarantined")
        )

    @property
    def failures(self) -> tuple[SymbolReport, ...]:
        """The symbols that failed on their own, and not only on what the source lacks for all."""
        out = {outage.session for outage in self.outages}
        return tuple(r for r in self.symbols if r.error and not (r.silent and r.silent <= out))

    def sentence(self) -> str:
        """The totals in a line, for a log."""
        counts = ", ".join(f"{self.total(name):,} {name}" for name in COUNTS)
        return (
            f"{self.source}: {len(self.symbols):,} symbols asked for, {self.settled:,} settled; "
            f"{counts}; {len(self.failures):,} symbols failed."
        )

    def to_json(self) -> str:
        totals = {n: self.total(n) for n in COUNTS} | {"settled": self.settled}
        values = {**asdict(self), "totals": totals, "needs_attention": self.needs_attention}
        for symbol in values["symbols"]:
            symbol["silent"] = sorted(symbol["silent"])
        values["seconds"] = round((self.finished_at - self.started_at).total_seconds(), 3)
        return json.dumps(values, default=str)


COUNTS = ("requested", "inserted", "revised", "unchanged", "quarantined", "empty", "failed")


def symbol_rows(
    run_id: str, dataset: str, source: str, reports: Sequence[SymbolReport]
) -> pa.Table:
    """Reports as rows of ``load_run_symbols``."""
    fields = [f for f in LOAD_RUN_SYMBOLS.arrow_schema if not f.name.endswith("_at")]
    run = {"run_id": run_id, "dataset": dataset, "source": source}
    rows = [{**run, **vars(report), "completeness": report.completeness} for report in reports]
    return pa.Table.from_pylist(rows, schema=pa.schema(fields))
