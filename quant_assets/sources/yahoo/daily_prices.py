"""Yahoo: daily prices, splits and dividends, one request a symbol.

Here is how it is asked; what its answers mean is in ``yahoo_chart.py``, and how often it may be
asked, in ``pacing.py``.

yfinance carries the request (cookie, crumb, consent page, a browser's TLS): an instance of its
``YfData`` for this source alone, since the usual one is shared by the whole process. Nothing is
cached, in memory or on disk. The chart is asked for and read here: ``Ticker.history`` would ask
twice for the time zone's sake, resend at once on any error, a 429 included, hide a time-out behind
"possibly delisted", and take four times the processor's time.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import pyarrow as pa

from quant_assets.contracts.prices import PRICE_COLUMNS, PriceAnswer, PriceRequest
from quant_assets.contracts.source import (
    RateLimited,
    SourceError,
    SourceProfile,
    UnknownSymbolAtSource,
)
from quant_assets.fetching.in_flight import Fetched, InFlight
from quant_assets.fetching.pace import (
    BudgetSpent,
    CircuitOpen,
    Paced,
    PacingFileError,
    StillThrottled,
)
from quant_assets.reference.calendars import Calendar
from quant_assets.sources.yahoo.answer import answer_for
from quant_assets.sources.yahoo.chart import read_chart, yahoo_symbol
from quant_assets.sources.yahoo.fields import SOURCE
from quant_assets.sources.yahoo.transport import ChartResponse, Transport


@dataclass(frozen=True)
class Reachability:
    """What one request told of the source, and how long it took, its turn included."""

    state: Literal["reachable", "limited", "down"]
    seconds: float
    detail: str


@dataclass(frozen=True)
class YahooSource:
    """Daily prices as traded, with splits, dividends and capital gains.

    ``paced`` makes every request, those for cookie and crumb included. ``clock`` gives the time
    (aware). ``base_url`` stands for Yahoo, all of its hosts, where given. Up to ``in_flight``
    requests wait for an answer at a time. ``keep`` is given the symbol and the body of each chart.
    """

    calendar: Calendar = field(repr=False)
    paced: Paced = field(repr=False)
    clock: Callable[[], dt.datetime] = field(repr=False)
    base_url: str = ""
    timeout_seconds: float = 20.0
    in_flight: int = 4
    at_least_every_seconds: float = 1.0
    keep: Callable[[str, bytes], None] | None = field(default=None, repr=False)

    @property
    def profile(self) -> SourceProfile:
        return SourceProfile(
            SOURCE,
            "as_traded",
            has_splits=True,
            has_distributions=True,
            convention="P / (P0 - D) at Yahoo; as traded here, splits of the response undone",
            names_on=self.calendar.last_closed_session(self.clock()),
            live=True,
        )

    def symbols(self) -> tuple[str, ...]:
        """Nothing: Yahoo does not tell which symbols it has."""
        return ()

    def fetch(self, requests: Sequence[PriceRequest]) -> Iterator[PriceAnswer]:
        """Answer what is ready, at least every ``at_least_every_seconds`` once something is.

        Every symbol is asked for up to the present, and all of its rows are fetched, also those
        outside its request. Once pacing refuses one, those not begun fail without being asked.
        Closing the iterator drops what is waiting.
        """
        transport = self._transport  # made here, once, and not by several threads
        asking = InFlight(
            SOURCE, lambda request: self._ask(transport, request), requests, self.in_flight
        )
        try:
            for batch in asking.batches(self.at_least_every_seconds):
                answer = self._answer(batch)
                yield replace(answer, notices=asking.notices(), under_way=asking.under_way())
        finally:
            asking.stop()

    def check(self, symbol: str = "SPY") -> Reachability:
        """Ask for a week of one symbol."""
        began, today = time.monotonic(), self.clock().date()
        state: Literal["reachable", "limited", "down"]
        try:
            request = PriceRequest(symbol, today - dt.timedelta(days=7), today)
            days = read_chart(symbol, self._ask(self._transport, request).payload).days
            state, detail = "reachable", f"{len(days)} sessions of {symbol}"
        except UnknownSymbolAtSource as error:
            state, detail = "reachable", str(error)
        except (RateLimited, StillThrottled, BudgetSpent) as error:
            state, detail = "limited", str(error)
        except (SourceError, CircuitOpen, PacingFileError) as error:
            state, detail = "down", str(error)
        return Reachability(state, time.monotonic() - began, detail)

    @cached_property
    def _transport(self) -> Transport:
        return Transport(self.paced, self.clock, self.base_url, self.timeout_seconds)

    def _ask(self, transport: Transport, request: PriceRequest) -> ChartResponse:
        """From a day before its first, which some zones need, to the present."""
        day = dt.timedelta(days=1)
        since = dt.datetime.combine(request.first, dt.time(), dt.UTC) - day
        span = {"period1": int(since.timestamp()), "period2": int((self.clock() + day).timestamp())}
        return transport.chart(yahoo_symbol(request.symbol), span)

    def _answer(self, batch: Sequence[Fetched[ChartResponse]]) -> PriceAnswer:
        now = self.clock()
        answers = [self._read(fetched, now) for fetched in batch]
        tables = {
            name: pa.concat_tables([getattr(answer, name) for answer in answers])
            for name in ("rows", "actions", "empty", "unreadable")
        }
        return PriceAnswer(
            tuple(symbol for answer in answers for symbol in answer.symbols),
            **tables,
            failures={symbol: why for answer in answers for symbol, why in answer.failures.items()},
            instruments=tuple(what for answer in answers for what in answer.instruments),
        )

    def _read(self, fetched: Fetched[ChartResponse], now: dt.datetime) -> PriceAnswer:
        symbol = fetched.request.symbol
        try:
            answered = fetched.result(now)
            if self.keep:
                self.keep(symbol, answered.body)
            chart = read_chart(symbol, answered.payload)
            return answer_for(chart, fetched.request, self.calendar, now)
        except SourceError as error:
            return PriceAnswer((symbol,), PRICE_COLUMNS.empty_table(), failures={symbol: error})
