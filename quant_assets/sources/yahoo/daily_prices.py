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
import email.utils
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib import import_module
from typing import Any, Literal, Protocol, TypeVar
from urllib.parse import quote, urlsplit, urlunsplit

import pyarrow as pa

from quant_assets.contracts.source import (
    PRICE_COLUMNS,
    BadAnswer,
    PriceAnswer,
    PriceRequest,
    RateLimited,
    SourceError,
    SourceProfile,
    SourceUnavailable,
    UnknownSymbolAtSource,
)
from quant_assets.fetching.pacer import (
    BudgetSpent,
    CircuitOpen,
    Fault,
    PacingError,
    PacingFileError,
    StillThrottled,
)
from quant_assets.reference.calendars import Calendar
from quant_assets.sources.yahoo.chart import SOURCE, answer_for, read_body, read_chart, yahoo_symbol

T = TypeVar("T")

HOST = "https://query2.finance.yahoo.com"
CHART_PATH = "/v8/finance/chart/"
CRUMB_PATH = "/v1/test/getcrumb"
_YFINANCE = ("yfinance._http", "yfinance.data", "yfinance.exceptions")

SYMBOLS_AT_ONCE = 128
"""Symbols an answer holds at most: 160,000 rows of five years, stored in one transaction."""

CRUMB_AFTER_SECONDS = 900.0
"""How long to go without a crumb that could not be had, since the chart needs none, and without
another cookie after one that did not help."""

LONGEST_CRUMB = 64


class Paced(Protocol):
    """Makes a request when its turn has come; ``pacing.Pacer.call``."""

    def __call__(self, request: Callable[[], T]) -> T: ...


def judge(error: Exception) -> Fault | None:
    """What an error means for pacing; None where Yahoo was reached and answered."""
    if isinstance(error, RateLimited):
        return Fault("throttled", error.retry_after)
    if isinstance(error, BadAnswer | SourceUnavailable):
        return Fault("transient", None)
    return None


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

        Every symbol is asked for up to the present, and all of its rows are told, also those
        outside its request. Once pacing refuses one, those not begun fail without being asked.
        Closing the iterator drops what is waiting.
        """
        transport = self._transport  # made here, once, and not by several threads
        asking = _Asking(lambda request: self._ask(transport, request), requests, self.in_flight)
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
    def _transport(self) -> _Transport:
        return _Transport(self.paced, self.clock, self.base_url, self.timeout_seconds)

    def _ask(self, transport: _Transport, request: PriceRequest) -> _Answered:
        """From a day before its first, which some zones need, to the present."""
        day = dt.timedelta(days=1)
        since = dt.datetime.combine(request.first, dt.time(), dt.UTC) - day
        span = {"period1": int(since.timestamp()), "period2": int((self.clock() + day).timestamp())}
        return transport.chart(yahoo_symbol(request.symbol), span)

    def _answer(self, batch: Sequence[_Told]) -> PriceAnswer:
        now = self.clock()
        answers = [self._read(told, now) for told in batch]
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

    def _read(self, told: _Told, now: dt.datetime) -> PriceAnswer:
        symbol = told.request.symbol
        try:
            answered = told.result(now)
            if self.keep:
                self.keep(symbol, answered.body)
            chart = read_chart(symbol, answered.payload)
            return answer_for(chart, told.request, self.calendar, now)
        except SourceError as error:
            return PriceAnswer((symbol,), PRICE_COLUMNS.empty_table(), failures={symbol: error})


@dataclass(frozen=True)
class _Answered:
    """A chart or a reason against it, in the shape in which yfinance passes it through.

    Its status is always 200: a 404 is an answer too, and yfinance would ask again.
    """

    url: str
    payload: Mapping[str, Any]
    body: bytes
    status_code: int = 200


@dataclass(frozen=True)
class _Told:
    """What came of one request: an answer, or why there is none."""

    place: int
    request: PriceRequest
    answered: _Answered | None = None
    error: SourceError | PacingError | PacingFileError | None = None

    def result(self, now: dt.datetime) -> _Answered:
        """The answer. Raises SourceError."""
        if isinstance(self.error, SourceError):
            raise self.error
        if isinstance(self.error, StillThrottled):
            wait = (self.error.retry_at - now).total_seconds()
            raise RateLimited(SOURCE, max(wait, 0.0)) from self.error
        if self.error:
            raise SourceUnavailable(SOURCE, str(self.error)) from self.error
        if self.answered is None:
            raise RuntimeError(f"Asking for {self.request.symbol} broke off; why is said above.")
        return self.answered


class _Asking:
    """Requests under way on a few threads, and what came of them.

    The threads are daemons and not a pool's: a pool's are waited for when the process ends, and one
    of these may be asleep for minutes until its turn.
    """

    def __init__(
        self,
        ask: Callable[[PriceRequest], _Answered],
        requests: Sequence[PriceRequest],
        threads: int,
    ) -> None:
        self._ask, self._left = ask, len(requests)
        self._waiting: queue.SimpleQueue[_Told] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[_Told] = queue.SimpleQueue()
        self._begun: dict[int, str] = {}
        self._stopped = threading.Event()
        self._refusal: PacingError | PacingFileError | None = None
        self._noticed = False
        for place, request in enumerate(requests):
            self._waiting.put(_Told(place, request))
        for _ in range(min(threads, len(requests))):
            threading.Thread(target=self._work, name=SOURCE, daemon=True).start()

    def batches(self, at_least_every_seconds: float) -> Iterator[list[_Told]]:
        """Whatever is done after each stretch of time, in the order asked for."""
        while self._left:
            batch = [self._done.get()]
            until = time.monotonic() + at_least_every_seconds
            while len(batch) < min(self._left, SYMBOLS_AT_ONCE):
                try:
                    batch.append(self._done.get(timeout=max(until - time.monotonic(), 0)))
                except queue.Empty:
                    break
            self._left -= len(batch)
            yield sorted(batch, key=lambda told: told.place)

    def under_way(self) -> tuple[str, ...]:
        return tuple(symbol for _, symbol in sorted(self._begun.copy().items()))

    def notices(self) -> tuple[str, ...]:
        """Once, that nothing more is asked."""
        if self._refusal is None or self._noticed:
            return ()
        self._noticed = True
        return (f"{self._refusal} No further symbol is asked for in this load.",)

    def stop(self) -> None:
        self._stopped.set()

    def _work(self) -> None:
        while not self._stopped.is_set():
            try:
                told = self._waiting.get_nowait()
            except queue.Empty:
                return
            self._begun[told.place] = told.request.symbol
            try:
                told = self._tell(told)
            finally:  # also of an error nobody expects, or the other side would wait for ever
                del self._begun[told.place]
                self._done.put(told)

    def _tell(self, told: _Told) -> _Told:
        if self._refusal:
            return replace(told, error=self._refusal)
        try:
            return replace(told, answered=self._ask(told.request))
        except SourceError as error:
            return replace(told, error=error)
        except (PacingError, PacingFileError) as error:
            self._refusal = error
            return replace(told, error=error)


class _Transport:
    """yfinance's requests, each paced, with every answer judged before yfinance sees it.

    Three of its habits are undone on its one instance here. It resends at once, with another
    cookie, whatever answer is no success; only 401 and 403 reach it. It stores whatever getcrumb
    answers, "Too Many Requests" included, as the crumb; and asks again before every chart when it
    has none. It keeps cookies in a database of the user's.
    """

    def __init__(
        self,
        paced: Paced,
        clock: Callable[[], dt.datetime],
        base_url: str,
        timeout_seconds: float,
    ) -> None:
        # Importing them takes half a second, which whoever doesn't ask Yahoo need not wait for.
        http, data, exceptions = map(import_module, _YFINANCE)
        logging.getLogger("yfinance").addHandler(logging.NullHandler())
        self._paced, self._clock = paced, clock
        self._base_url, self._timeout_seconds = base_url, timeout_seconds
        self._unreachable = http.requests.exceptions.RequestException
        self._no_crumb = exceptions.YFRateLimitError
        self._crumb_lock, self._renewal_lock = threading.Lock(), threading.Lock()
        self._without_crumb_until = self._no_renewal_until = 0.0
        session = http.new_session()
        self._send, session.request = session.request, self._request
        self._data = object.__new__(data.YfData)  # the class itself hands out its only instance
        data.YfData.__init__(self._data, session)
        self._with_crumb = self._data._get_cookie_and_crumb
        self._data._get_cookie_and_crumb = self._cookie_and_crumb
        # Instead of its database: cookies once had are in the session, and good for as long.
        self._data._load_cookie_curlCffi = lambda: False
        self._data._save_cookie_curlCffi = lambda: setattr(self._data, "_cookie", True)

    def chart(self, symbol: str, span: Mapping[str, int]) -> _Answered:
        """The answer for a symbol in Yahoo's spelling. Raises SourceError and PacingError."""
        asked = {"interval": "1d", "events": "div,splits,capitalGains", "includePrePost": "false"}
        answered = self._data.get(f"{HOST}{CHART_PATH}{quote(symbol, safe='')}", {**span, **asked})
        # Anything else is the page behind a consent form, which yfinance has sent.
        return answered if isinstance(answered, _Answered) else _read(answered)

    def _request(self, method: str, url: str, **options: Any) -> Any:
        """In place of the session's own ``request``."""
        options["timeout"] = self._timeout_seconds
        path, where = urlsplit(url).path, self._rewritten(url)
        if path.startswith(CHART_PATH):
            return self._paced(lambda: self._chart(method, where, options))
        # Nothing of pacing's: without cookie and crumb the chart is answered as well.
        response = self._paced(lambda: self._sent(method, where, options))
        if response is None or (path == CRUMB_PATH and not _is_crumb(response)):
            raise self._no_crumb
        return response

    def _rewritten(self, url: str) -> str:
        if not self._base_url:
            return url
        asked, base = urlsplit(url), urlsplit(self._base_url)
        path = base.path.rstrip("/") + asked.path
        return urlunsplit((base.scheme, base.netloc, path, asked.query, ""))

    def _sent(self, method: str, url: str, options: Mapping[str, Any]) -> Any:
        try:
            return self._send(method, url, **options)
        except self._unreachable:
            return None

    def _chart(self, method: str, url: str, options: Mapping[str, Any]) -> Any:
        try:
            response = self._send(method, url, **options)
        except self._unreachable as error:
            message = f"{SOURCE} could not be reached: {str(error).partition(' See http')[0]}"
            raise SourceUnavailable(SOURCE, message) from error
        status = response.status_code
        if _asks_for_consent(response.url) or (status in (401, 403) and self._may_renew()):
            return response
        if status in (429, 999):
            raise RateLimited(
                SOURCE, _retry_after(response.headers.get("Retry-After"), self._clock())
            )
        if status >= 500 or status in (401, 403):
            raise SourceUnavailable(SOURCE, f"{SOURCE} answered with HTTP {status}.")
        return _read(response)

    def _may_renew(self) -> bool:
        """Whether yfinance may try another cookie; Yahoo's refusals are no reason to hammer it."""
        with self._renewal_lock:
            due = time.monotonic() >= self._no_renewal_until
            if due:
                self._no_renewal_until = time.monotonic() + CRUMB_AFTER_SECONDS
            return due

    def _cookie_and_crumb(self, timeout: float = 30) -> tuple[str | None, str]:
        """In place of yfinance's own: at most one try in ``CRUMB_AFTER_SECONDS`` that fails."""
        with self._crumb_lock:
            if time.monotonic() >= self._without_crumb_until:
                try:
                    crumb, strategy = self._with_crumb(timeout)
                except (self._no_crumb, AttributeError, KeyError, TypeError):
                    crumb = None  # the last three: a consent page without what yfinance expects
                if crumb:
                    return crumb, strategy
                self._without_crumb_until = time.monotonic() + CRUMB_AFTER_SECONDS
            return None, self._data._cookie_strategy


def _read(response: Any) -> _Answered:
    return _Answered(response.url, read_body(response.content), response.content)


def _is_crumb(response: Any) -> bool:
    text = response.text
    plain = text.isascii() and text.isprintable() and not set(text) & set(" <>{}")
    return response.status_code == 200 and 0 < len(text) <= LONGEST_CRUMB and plain


def _asks_for_consent(url: str) -> bool:
    return (urlsplit(url).hostname or "").endswith("consent.yahoo.com")


def _retry_after(told: str | None, now: dt.datetime) -> float | None:
    """Seconds, from a number of them or an HTTP date; None where it is neither."""
    if told is None or told.strip().isdecimal():
        return float(told) if told else None
    try:
        at = email.utils.parsedate_to_datetime(told)
    except ValueError:
        return None
    return max((at.replace(tzinfo=at.tzinfo or dt.UTC) - now).total_seconds(), 0.0)
