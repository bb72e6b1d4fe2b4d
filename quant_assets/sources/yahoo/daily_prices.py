"""Yahoo as a source of daily prices, splits and dividends: one request a symbol.

Requests are sent in ``transport.py``, responses are read in ``chart.py`` and ``answer.py``, and
turns are given in ``fetching/pacer.py``.

yfinance carries the request (cookie, crumb, consent page, a browser's TLS): an instance of its
``YfData`` for this source alone, since the usual one is shared by the whole process. Nothing is
cached, in memory or on disk. ``Ticker.history`` is not used: it sends a second request for the
time zone, resends at once on any error, a 429 included, reports a time-out as "possibly delisted",
and takes four times the processor time.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import pyarrow as pa

from quant_assets.contracts.one_subject import only_for
from quant_assets.contracts.prices import PRICE_COLUMNS, PriceAnswer, PriceProfile
from quant_assets.contracts.source import RateLimited, Request, SourceError, UnknownSymbolAtSource
from quant_assets.fetching.in_flight import Fetched, InFlight
from quant_assets.fetching.pace import (
    BudgetSpent,
    CircuitOpen,
    Paced,
    PacingFileError,
    StillThrottled,
)
from quant_assets.reference.calendars import Calendar
from quant_assets.reference.listings import WHY_NOT, foreign_listing
from quant_assets.sources.yahoo.answer import answer_for
from quant_assets.sources.yahoo.chart import read_chart, yahoo_symbol
from quant_assets.sources.yahoo.fields import SOURCE
from quant_assets.sources.yahoo.transport import ChartResponse, Transport


@dataclass(frozen=True)
class Reachability:
    """The state of the source as one request found it; ``seconds`` include the wait for a turn."""

    state: Literal["reachable", "limited", "down"]
    seconds: float
    detail: str


@dataclass(frozen=True)
class YahooSource:
    """Daily prices as traded, with splits, dividends and capital gains.

    ``paced`` makes every request, those for cookie and crumb included. ``clock`` gives the time
    (aware). ``base_url`` replaces all of Yahoo's hosts where given. Up to ``in_flight`` requests
    wait for a response at a time. ``keep`` is called with the symbol and body of each chart.
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
    def profile(self) -> PriceProfile:
        return PriceProfile(
            SOURCE,
            price_basis="as_traded",
            has_splits=True,
            has_distributions=True,
            convention="P / (P0 - D) at Yahoo; as traded here, splits of the response undone",
            names_on=self.calendar.last_closed_session(self.clock()),
            live=True,
        )

    def symbols(self) -> tuple[str, ...]:
        """Nothing: Yahoo has no list of its symbols."""
        return ()

    def fetch(self, requests: Sequence[Request]) -> Iterator[PriceAnswer]:
        """Answer the responses that have come, every ``at_least_every_seconds`` or sooner.

        Every request reaches up to the present, and the answer has all rows of the response. Once
        pacing refuses a request, those not begun fail without being sent. Closing the iterator
        drops the requests that wait. A listing outside the United States fails without a request.
        """
        foreign = {r.symbol: found for r in requests if (found := foreign_listing(r.symbol))}
        if foreign:
            yield PriceAnswer(
                tuple(foreign),
                PRICE_COLUMNS.empty_table(),
                failures={
                    s: SourceError(SOURCE, f"{each}. {WHY_NOT}.") for s, each in foreign.items()
                },
            )
            requests = [request for request in requests if request.symbol not in foreign]
        transport = self._transport  # made here, once, and not by several threads
        in_flight = InFlight(
            SOURCE, lambda request: self._request(transport, request), requests, self.in_flight
        )
        try:
            for batch in in_flight.batches(self.at_least_every_seconds):
                answer = self._answer(batch)
                yield replace(answer, notices=in_flight.notices(), under_way=in_flight.under_way())
        finally:
            in_flight.stop()

    def check(self, symbol: str = "SPY") -> Reachability:
        """Request a week of one symbol; no error of the source is raised."""
        began, today = time.monotonic(), self.clock().date()
        state: Literal["reachable", "limited", "down"]
        try:
            request = Request(symbol, today - dt.timedelta(days=7), today)
            days = read_chart(symbol, self._request(self._transport, request).payload).days
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

    def _request(self, transport: Transport, request: Request) -> ChartResponse:
        """Request from a day before the first, which some time zones need, to the present."""
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
            failures={
                symbol: each for answer in answers for symbol, each in answer.failures.items()
            },
            instruments=tuple(each for answer in answers for each in answer.instruments),
        )

    def _read(self, fetched: Fetched[ChartResponse], now: dt.datetime) -> PriceAnswer:
        symbol = fetched.request.symbol
        try:
            response = fetched.result(now)
            if self.keep:
                self.keep(symbol, response.body)
            with only_for(SOURCE, symbol):
                chart = read_chart(symbol, response.payload)
                return answer_for(chart, fetched.request, self.calendar, now)
        except SourceError as error:
            return PriceAnswer((symbol,), PRICE_COLUMNS.empty_table(), failures={symbol: error})
