"""A vendor like Yahoo whose answers change: events listed, events in its prices, single bars.

A ``Truth`` is what was traded and what happened. A ``Telling`` is one answer about it: prices in
the shares of the present, adjusted for its own list or for another one, as a chart that the code of
the real source reads. An ``Evenings`` loads one answer after the other, of many symbols at a time.
"""

from __future__ import annotations

import datetime as dt
import shutil
import zoneinfo
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from quant_assets import read
from quant_assets.contracts.prices import Instrument, PriceAnswer, PriceProfile
from quant_assets.contracts.source import Request
from quant_assets.datasets.daily_prices.dataset import DailyPrices
from quant_assets.loading.load import load
from quant_assets.loading.report import LoadReport
from quant_assets.loading.work import Asking, Window
from quant_assets.reference.calendars import exchange_calendar
from quant_assets.reference.spin_offs import KnownSpinOff
from quant_assets.sources.yahoo.answer import answer_for
from quant_assets.sources.yahoo.chart import Chart
from quant_assets.sources.yahoo.shares import factors
from quant_assets.warehouse.warehouse import Warehouse

XNYS = exchange_calendar("XNYS")
ZONE = zoneinfo.ZoneInfo("America/New_York")
YAHOO = PriceProfile(
    "yahoo", price_basis="as_traded", has_splits=True, has_distributions=True, live=True
)

Days = np.ndarray[tuple[int], np.dtype[np.datetime64]]
Grid = np.ndarray[tuple[int, int], np.dtype[np.float64]]
Dated = Mapping[dt.date, float]


@dataclass(frozen=True)
class Truth:
    """What was traded: ``prices`` (n × 4, dollars as traded, whole cents) and ``volume``, and the
    ratio of each split, amount of each dividend and price factor of each spin-off, by ex-date.
    """

    days: Days = field(repr=False)
    prices: Grid = field(repr=False)
    volume: np.ndarray[tuple[int], np.dtype[np.float64]] = field(repr=False)
    splits: Dated = field(default_factory=dict)
    dividends: Dated = field(default_factory=dict)
    spin_offs: Dated = field(default_factory=dict)

    @classmethod
    def of(
        cls, seed: int, days: Sequence[dt.date], *, start: float = 100.0, **events: Any
    ) -> Truth:
        """A random walk over ``days`` that steps by each split and spin-off of ``events``."""
        random = np.random.default_rng(seed)
        at = np.array(days, dtype="datetime64[D]")
        value = start * np.exp(np.cumsum(random.normal(0, 0.015, len(at))))
        for day, ratio in events.get("splits", {}).items():
            value[at >= np.datetime64(day)] /= ratio
        for day, factor in events.get("spin_offs", {}).items():
            value[at >= np.datetime64(day)] *= factor
        opened = value * np.exp(random.normal(0, 0.005, len(at)))
        low, high = np.minimum(opened, value) * 0.99, np.maximum(opened, value) * 1.01
        prices = np.round(np.column_stack([opened, high, low, value]), 2)
        # Multiples of any ratio's numerator, so that a source can tell them in whole shares.
        volume = 6e4 * random.integers(100, 900, len(at))
        return cls(at, prices, volume, **events)

    def day(self, place: int) -> dt.date:
        """The session at a place."""
        found: dt.date = self.days[place].item()
        return found


@dataclass(frozen=True)
class Telling:
    """One answer: the events it lists, and what its prices are adjusted for, which is its list of
    splits unless ``worked_in`` differs. ``lowered`` are factors on all prices before a day, volumes
    unchanged. ``bars`` are factors on the four prices of single rows, by place. It has the rows
    ``since`` a day, and the ``last`` ones only where that is given.
    """

    splits: Dated
    dividends: Dated
    worked_in: Dated | None = None
    lowered: Dated = field(default_factory=dict)
    bars: Mapping[int, Sequence[float]] = field(default_factory=dict)
    since: dt.date = dt.date.min
    last: int | None = None

    @classmethod
    def plain(cls, truth: Truth, **changes: Any) -> Telling:
        """The truth, with spin-offs worked in and not listed."""
        return cls(truth.splits, truth.dividends, **{"lowered": truth.spin_offs, **changes})

    def chart(self, symbol: str, truth: Truth, today: dt.date) -> Chart:
        """The chart on the evening of a day."""
        kept = (truth.days <= np.datetime64(today)) & (truth.days >= np.datetime64(self.since))
        listed = {day: ratio for day, ratio in self.splits.items() if day <= today}
        worked_in = self.splits if self.worked_in is None else self.worked_in
        known = {day: ratio for day, ratio in worked_in.items() if day <= today}
        shares, value = factors(truth.days, known), np.ones(len(truth.days))
        for day, factor in self.lowered.items():
            if day <= today:
                value[truth.days < np.datetime64(day)] *= factor
        traded = truth.prices.copy()
        for place, by in self.bars.items():
            traded[place] = np.round(traded[place] * by, 2)
        prices = np.round(traded * (value / shares)[:, None], 6)
        bars = np.column_stack([np.float64(np.float32(prices)), np.rint(truth.volume * shares)])
        payments = {
            (day, "cash_dividend", "USD"): round(amount / _later(listed, day), 6)
            for day, amount in self.dividends.items()
        }
        rows = np.flatnonzero(kept)[-(self.last or 0) :]
        return Chart(
            Instrument(symbol, "stock", "NASDAQ", "USD", "America/New_York", symbol),
            ZONE,
            truth.days[rows],
            bars[rows],
            listed,
            {key: float(np.float32(amount)) for key, amount in payments.items()},
        )


def _later(splits: Dated, day: dt.date) -> float:
    """The shares that one share of a day has become."""
    return float(np.prod([ratio for ex_date, ratio in splits.items() if ex_date > day]))


@dataclass
class Vendor:
    """The source: each symbol's truth and what is told of it, on the evening of ``today``."""

    truths: Mapping[str, Truth]
    tellings: Mapping[str, Telling]
    today: dt.date
    profile: PriceProfile = YAHOO

    def symbols(self) -> tuple[str, ...]:
        return ()

    def fetch(self, requests: Sequence[Request]) -> Iterator[PriceAnswer]:
        now = dt.datetime.combine(self.today, dt.time(22), dt.UTC)
        answers = [
            answer_for(
                self.tellings[r.symbol].chart(r.symbol, self.truths[r.symbol], self.today),
                r,
                XNYS,
                now,
            )
            for r in requests
        ]
        if not answers:
            return
        tables = {
            name: pa.concat_tables([getattr(answer, name) for answer in answers])
            for name in ("rows", "actions", "empty", "unreadable")
        }
        yield PriceAnswer(
            tuple(r.symbol for r in requests),
            **tables,
            failures={symbol: e for answer in answers for symbol, e in answer.failures.items()},
            instruments=tuple(each for answer in answers for each in answer.instruments),
        )


class Evenings:
    """A warehouse that is told something every evening."""

    def __init__(self, folder: Path, blank: Path, truths: Mapping[str, Truth]) -> None:
        folder.mkdir(parents=True)
        self.folder, self.truths = folder, truths
        self.today = dt.date.min
        shutil.copyfile(blank, folder / "warehouse.duckdb")
        self.warehouse = Warehouse(
            folder / "warehouse.duckdb",
            clock=lambda: dt.datetime.combine(self.today, dt.time(22), dt.UTC),
        )

    def load(
        self,
        tellings: Mapping[str, Telling],
        today: dt.date,
        *,
        start: dt.date | None = None,
        spin_offs: Sequence[KnownSpinOff] = (),
        accept: bool = False,
        profile: PriceProfile = YAHOO,
    ) -> LoadReport:
        """What is told on the evening of a day, of all sessions from ``start`` on, or of all."""
        self.today = today
        source = Vendor(self.truths, tellings, today, replace(profile, names_on=today))
        first = min(self.truths[symbol].day(0) for symbol in tellings)
        return load(
            self.warehouse,
            DailyPrices(source.profile, XNYS, (), accept, spin_offs),
            source,
            Window(tuple(tellings), start or first, today),
            force=True,
            asking=Asking(look_back_days=0, full_look_back_days=10**4),
        )

    def query(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        with self.warehouse.reading() as con:
            return con.execute(sql, list(values)).fetchall()

    def rows(self) -> dict[str, list[tuple[Any, ...]]]:
        """The stored bars of each symbol, to a hundredth of a cent."""
        prices = ", ".join(f"round({name}, 4)" for name in ("open", "high", "low", "close"))
        return self._by_symbol(
            f"select symbol, session, {prices}, volume, basis_on, basis_unknown from daily_prices"
        )

    def events(self) -> dict[str, list[tuple[Any, ...]]]:
        """The events on record of each symbol, without how they came to be known."""
        numbers = ", ".join(f"round({name}, 5)" for name in ("ratio", "amount", "value_factor"))
        return self._by_symbol(f"select symbol, ex_date, kind, {numbers} from corporate_actions")

    def _by_symbol(self, sql: str) -> dict[str, list[tuple[Any, ...]]]:
        found: dict[str, list[tuple[Any, ...]]] = {symbol: [] for symbol in self.truths}
        names = "(select distinct security_id, symbol from symbol_history)"
        for symbol, *rest in self.query(f"{sql} join {names} using (security_id) order by 1, 2, 3"):
            found[symbol].append(tuple(rest))
        return found

    def closes(
        self, adjust: Literal["none", "split", "total_return"] = "none"
    ) -> dict[str, np.ndarray[tuple[int], np.dtype[np.float64]]]:
        """The closes of each symbol, oldest first, as a user reads them."""
        first = min(truth.day(0) for truth in self.truths.values())
        frame = read.prices(None, first, self.today, adjust=adjust, home=self.folder)
        return {str(s): some["close"].to_numpy() for s, some in frame.groupby("symbol")}
