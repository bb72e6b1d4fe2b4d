"""The report of a load, per symbol and in total: as JSON, in a sentence and as stored rows."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from quant_assets.loading.work import Window
from quant_assets.schema.loads import LOAD_RUN_SYMBOLS

if TYPE_CHECKING:
    import pyarrow as pa


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
    """The sessions without a word from the source, which answered for others."""

    @property
    def completeness(self) -> float:
        """Symbol-days present or confirmed empty, over those requested; 1.0 of none."""
        lacking = self.failed + self.set_aside
        return 1 - lacking / self.requested if self.requested else 1.0


@dataclass(frozen=True)
class Outage:
    """A day that a source lacks for many of the symbols requested.

    ``waiting`` symbols wait for it until ``waiting_until``, UTC; not all of them were requested.
    """

    session: dt.date
    symbols: int
    asked: int
    waiting: int = 0
    waiting_until: dt.datetime | None = None

    def describe(self, source: str) -> str:
        again = (
            f"{self.waiting:,} symbols wait and are asked for again from"
            f" {self.waiting_until:%H:%M} UTC"
            if self.waiting_until
            else "Ask again later"
        )
        return (
            f"{source} has no row of {self.session} for {self.symbols} of {self.asked} symbols. "
            f"The exchange was open: the source lags, or had an outage. {again}; nothing "
            "was made up, and no symbol is to blame."
        )


OUTAGE_FROM = 0.5
OUTAGE_SYMBOLS = 10
"""A day is missing at the source, and not at single symbols, where at least so many of the symbols
requested lack it, and this share of them."""


def outages(
    lacking: Mapping[dt.date, int], asked: int, lagging_since: dt.date | None = None
) -> tuple[Outage, ...]:
    """The days that so many symbols lack that the source is to blame (L11), and those from
    ``lagging_since`` on, where it was found to lag.
    """
    return tuple(
        Outage(day, symbols, asked)
        for day, symbols in sorted(lacking.items())
        if symbols >= max(OUTAGE_SYMBOLS, OUTAGE_FROM * asked)
        or (lagging_since and day >= lagging_since)
    )


@dataclass(frozen=True)
class LoadReport:
    """What a load did, in total and symbol by symbol; kept in ``load_runs``.

    ``up_to_date`` counts the symbols that had everything already; they were not requested. ``left``
    are symbols with something due that were not to be requested, each with why not, ``postponed``
    those that no request was left for, ``waiting`` those that wait because the source lags.
    """

    run_id: str
    dataset: str
    source: str
    window: Window
    started_at: dt.datetime
    finished_at: dt.datetime
    symbols: tuple[SymbolReport, ...]
    up_to_date: int
    notices: tuple[str, ...] = ()
    dry_run: bool = False
    left: Mapping[str, str] = field(default_factory=dict)
    outages: tuple[Outage, ...] = ()
    postponed: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()

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
            f"{self.dataset} from {self.source}: {len(self.symbols):,} symbols requested, "
            f"{self.up_to_date:,} up to date; {counts}; {len(self.failures):,} symbols failed."
        )

    def to_json(self) -> str:
        totals = {n: self.total(n) for n in COUNTS} | {"settled": self.up_to_date}
        values: dict[str, Any] = asdict(self, dict_factory=_json_keys)
        values |= {"totals": totals, "needs_attention": self.needs_attention}
        for symbol in values["symbols"]:
            symbol["silent"] = sorted(symbol["silent"])
        values["seconds"] = round((self.finished_at - self.started_at).total_seconds(), 3)
        return json.dumps(values, default=str)


_JSON_NAMES = {"up_to_date": "settled", "waiting": "held", "waiting_until": "held_until"}


def _json_keys(fields: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Fields under the keys that scripts rely on."""
    return {_JSON_NAMES.get(name, name): value for name, value in fields}


COUNTS = ("requested", "inserted", "revised", "unchanged", "quarantined", "empty", "failed")


def symbol_rows(run_id: str, reports: Sequence[SymbolReport]) -> pa.Table:
    """Reports as rows of ``load_run_symbols``, but for dataset and source."""
    import pyarrow as pa

    rows = [
        {"run_id": run_id, **vars(report), "completeness": report.completeness}
        for report in reports
    ]
    given = {"run_id", "completeness", *SymbolReport.__dataclass_fields__}
    fields = [f for f in LOAD_RUN_SYMBOLS.arrow_schema if f.name in given]
    return pa.Table.from_pylist(rows, schema=pa.schema(fields))
