"""A stand-in for Yahoo's chart service on loopback: truthful, and misbehaving on order.

``Listing`` is an instrument as traded, and says what Yahoo would say of it at a given moment;
``Recording`` repeats what Yahoo did say. ``StandIn`` serves both, counts every request, and carries
out orders, which are functions from ``Reply`` to ``Reply`` such as ``status(429)``.
What a client should make of an answer is not known here.

By hand: ``python -m quant_assets_tests.standins.yahoo_standin --symbols 503 --years 5``.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import signal
import socket
import struct
import sys
import threading
import time
import zlib
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from email.message import Message
from email.utils import parsedate_to_datetime
from fractions import Fraction
from functools import wraps
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Self
from urllib.parse import parse_qsl, unquote, urlsplit
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pandas as pd

from quant_assets.reference.calendars import exchange_calendar

Floats = npt.NDArray[np.float64]
Split = tuple[dt.date, float, float]
"""Ex-date, numerator, denominator: ``(date(2020, 8, 31), 4, 1)`` makes four shares of one."""
Amounts = Sequence[tuple[dt.date, float]]
"""Ex-dates, and what was paid per share of that day."""

CHART, CRUMB = "/v8/finance/chart/", "/v1/test/getcrumb"
PRICES = ("open", "high", "low", "close")
ALL_EVENTS = "div,splits,capitalGains"
_JSON, _HTML, _PLAIN = "application/json;charset=utf-8", "text/html", "text/plain;charset=utf-8"
_RANGES = {"1d": 1, "5d": 5, "1mo": 21, "3mo": 63, "6mo": 126, "1y": 252, "2y": 504, "5y": 1260}
_RANGES |= {"10y": 2520, "ytd": 252, "max": 10**6}
"""How many sessions each stands for, roughly."""


@dataclass(frozen=True)
class Reply:
    """An answer on its way: what is sent, after how long, and what becomes of the connection."""

    status: int
    body: bytes
    content_type: str = _JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    hold_seconds: float = 0.0
    ending: str = "kept"
    """``kept``, or ``dropped`` or ``reset`` before a word is said, or ``cut`` half-way."""


def _error(status: int, code: str, description: str) -> Reply:
    error = {"code": code, "description": description}
    return Reply(status, json.dumps({"chart": {"result": None, "error": error}}).encode())


UNKNOWN = _error(404, "Not Found", "No data found, symbol may be delisted")


@dataclass(frozen=True)
class Market:
    """Where something is traded. Hours are local minutes after midnight: early trade, open, close,
    end of late trade. Every session has the same: half days end at the usual hour here."""

    code: str
    name: str
    zone: str = "America/New_York"
    hours: tuple[int, int, int, int] = (240, 570, 960, 1200)

    def at(self, day: dt.date, minutes: int) -> int:
        """That minute of the day, in seconds since 1970."""
        midnight = dt.datetime.combine(day, dt.time(), ZoneInfo(self.zone))
        return int((midnight + dt.timedelta(minutes=minutes)).timestamp())

    def opens_at(self, day: dt.date) -> int:
        return self.at(day, self.hours[1])


NASDAQ, NYSE, ARCA = Market("NMS", "NasdaqGS"), Market("NYQ", "NYSE"), Market("PCX", "NYSEArca")
CRYPTO = Market("CCC", "CCC", "UTC", (0, 0, 1439, 1439))


@dataclass(frozen=True)
class _Column:
    """Numbers written as JSON once and cut where asked: the writing is what takes the time."""

    numbers: npt.NDArray[Any]
    text: str
    starts: npt.NDArray[np.int64]

    @classmethod
    def of(cls, numbers: npt.NDArray[Any]) -> _Column:
        words = list(map(repr, numbers.tolist()))
        starts = np.cumsum([0, *map(len, words)]) + np.arange(len(words) + 1)
        return cls(numbers, ",".join([*words, ""]), starts)

    def part(self, start: int, end: int) -> str:
        return self.text[self.starts[start] : max(self.starts[end] - 1, 0)]


Columns = dict[str, _Column]


@dataclass(frozen=True)
class Listing:
    """One instrument as traded. ``rows`` has session, open, high, low, close and volume."""

    symbol: str
    rows: pd.DataFrame = field(repr=False)
    splits: Sequence[Split] = ()
    dividends: Amounts = ()
    capital_gains: Amounts = ()
    kind: str = "EQUITY"
    market: Market = NASDAQ
    currency: str = "USD"
    name: str = ""
    first_trade_on: dt.date | None = None
    _days: npt.NDArray[np.datetime64] = field(init=False, repr=False)
    _opens: npt.NDArray[np.int64] = field(init=False, repr=False)
    _rendered: dict[tuple[int, int], Columns] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        sessions = pd.DatetimeIndex(self.rows["session"])
        opens = sessions + pd.Timedelta(minutes=self.market.hours[1])
        at = opens.tz_localize(self.market.zone).as_unit("s").asi8
        object.__setattr__(self, "_days", sessions.to_numpy().astype("datetime64[D]"))
        object.__setattr__(self, "_opens", at)
        object.__setattr__(self, "_rendered", {})

    @classmethod
    def of(cls, symbol: str, *rows: tuple[Any, ...], **facts: Any) -> Listing:
        """From literal rows: ``(date, open, high, low, close, volume)``."""
        return cls(symbol, pd.DataFrame(rows, columns=["session", *PRICES, "volume"]), **facts)

    @classmethod
    def from_adjusted(
        cls, symbol: str, rows: pd.DataFrame, splits: Sequence[Split], **facts: Any
    ) -> Listing:
        """From rows in the shares after all of ``splits``; later or other ones stay unknown.

        A price is taken for whole cents where Yahoo's 32 bits can't tell the two apart.
        """
        factor = _factor(rows["session"], splits)
        traded = rows.assign(volume=np.round(rows["volume"] / factor).astype("int64"))
        for column in PRICES:
            price = rows[column].to_numpy(float) * factor
            cents = np.round(price, 2)
            alike = np.abs(cents - price) <= price * 2.0**-23 + factor * 1e-6
            traded[column] = np.where(alike, cents, price)
        return cls(symbol, traded, splits, **facts)

    @classmethod
    def invented(cls, symbol: str, sessions: npt.ArrayLike, seed: int = 0) -> Listing:
        """A random walk with four dividends a year and, in every third one, a split 2:1."""
        rng = np.random.default_rng([seed, zlib.crc32(symbol.encode())])
        days = np.asarray(sessions, dtype="datetime64[D]")
        noise = 1 + 0.01 * rng.standard_normal((2, len(days)))
        close = rng.uniform(20, 200) * np.cumprod(noise[0])
        opened = close * noise[1]
        high, low = np.maximum(opened, close) * 1.005, np.minimum(opened, close) * 0.995
        splits = [(days[len(days) // 2].item(), 2, 1)] if rng.integers(3) == 0 else []
        factor = _factor(days, splits)
        prices = zip(PRICES, (opened, high, low, close), strict=True)
        rows = pd.DataFrame({name: np.round(numbers * factor, 2) for name, numbers in prices})
        rows["volume"] = rng.integers(100_000, 10_000_000, len(days))
        paid = [(day, 0.25) for day in days[20::63].tolist()]
        return cls(symbol, rows.assign(session=days), splits, paid)

    def chart(
        self,
        period1: int,
        period2: int,
        now: dt.datetime,
        *,
        events: str = ALL_EVENTS,
        range_: str = "",
    ) -> Reply:
        """What Yahoo would say at ``now``, when nothing later is known.

        Both ends are included, as Yahoo's answers for BTC-USD show. A range beyond the first or
        the last trade is refused; one within that holds no session has meta data only.
        """
        today = now.astimezone(ZoneInfo(self.market.zone)).date()
        opens = self._opens[: np.searchsorted(self._opens, now.timestamp(), "right")]
        if not len(opens):
            return UNKNOWN
        if range_:
            period1 = int(opens[-_RANGES[range_] :][0])
        start, end = int(opens.searchsorted(period1)), int(opens.searchsorted(period2, "right"))
        if not end or start == len(opens):
            bounds = f"startDate = {period1}, endDate = {period2}"
            return _error(400, "Bad Request", f"Data doesn't exist for {bounds}")
        columns = self._in_shares_of(today)
        last = self._last_bar(columns, len(opens) - 1, now)
        texts = {name: column.part(start, end) for name, column in columns.items()}
        if end == len(opens) > start:
            for name, text in texts.items():
                before, comma, _ = text.rpartition(",")
                texts[name] = before + comma + repr(last[name])
        meta = self._meta(columns, last, len(opens), start, now) | {"range": range_}
        told = self._events(today, period1, period2, events)
        return Reply(200, _chart_text(meta, texts, told).encode())

    def _in_shares_of(self, today: dt.date) -> Columns:
        """All rows as columns, written anew only when a split or dividend has come since."""
        splits = [split for split in self.splits if split[0] <= today]
        dividends = [paid for paid in self.dividends if paid[0] <= today]
        key = len(splits), len(dividends)
        if key not in self._rendered:
            factor = _factor(self._days, splits)
            # Recorded prices show it: divided by a split they are rounded to six decimals first.
            prices = {n: np.round(self.rows[n].to_numpy(float) / factor, 6) for n in PRICES}
            prices["adjclose"] = prices["close"] * self._kept(dividends)
            numbers: dict[str, npt.NDArray[Any]] = {n: _single(p) for n, p in prices.items()}
            numbers["volume"] = np.round(self.rows["volume"].to_numpy(float) * factor).astype(int)
            numbers["timestamp"] = self._opens
            self._rendered[key] = {name: _Column.of(each) for name, each in numbers.items()}
        return self._rendered[key]

    def _kept(self, dividends: Amounts) -> Floats:
        """By Yahoo's convention a dividend takes its share off the close before and all earlier."""
        kept, close = np.ones(len(self.rows)), self.rows["close"].to_numpy(float)
        for ex_date, amount in dividends:
            before = int(np.searchsorted(self._opens, self.market.opens_at(ex_date)))
            if before:
                kept[:before] *= 1 - amount / close[before - 1]
        return kept

    def _last_bar(self, columns: Columns, row: int, now: dt.datetime) -> dict[str, Any]:
        """The last row; of a session under way, as far as it has come, stamped with the time."""
        bar = {name: column.numbers[row].item() for name, column in columns.items()}
        opened, closed = self.market.hours[1:3]
        done = (now.timestamp() - bar["timestamp"]) / (60 * (closed - opened))
        if done < 1:
            opening, price = bar["open"], bar["open"] + (bar["close"] - bar["open"]) * done
            last = float(_single(round(price, 2)))
            bar |= {"high": max(opening, last), "low": min(opening, last)}
            bar |= {"close": last, "adjclose": last}
            bar |= {"volume": int(bar["volume"] * done), "timestamp": int(now.timestamp())}
        return bar

    def _events(self, today: dt.date, start: int, end: int, asked: str) -> dict[str, Any]:
        """Those asked for by kind and time; amounts are in the shares of ``today``, like prices."""
        splits = [split for split in self.splits if split[0] <= today]

        def paid(amounts: Amounts) -> list[tuple[dt.date, dict[str, Any]]]:
            days = np.array([day for day, _ in amounts], dtype="datetime64[D]")
            shares = _factor(days, splits)
            each = zip(amounts, shares, strict=True)
            return [(day, {"amount": round(amount / ratio, 6)}) for (day, amount), ratio in each]

        ratios = [
            (day, {"numerator": float(n), "denominator": float(d), "splitRatio": f"{n:g}:{d:g}"})
            for day, n, d in splits
        ]
        told = {}
        for kind, word, facts in (
            ("dividends", "div", paid(self.dividends)),
            ("capitalGains", "capital", paid(self.capital_gains)),
            ("splits", "split", ratios),
        ):
            dated = ((self.market.opens_at(day), fact) for day, fact in facts if day <= today)
            listed = {str(at): {"date": at} | fact for at, fact in dated if start <= at <= end}
            if listed and word in asked:
                told[kind] = listed
        return told

    def _meta(
        self, columns: Columns, last: Mapping[str, Any], seen: int, start: int, now: dt.datetime
    ) -> dict[str, Any]:
        """``seen`` rows have begun by now, and the chart begins at ``start``."""
        market, local = self.market, now.astimezone(ZoneInfo(self.market.zone))
        session = dt.datetime.fromtimestamp(int(self._opens[seen - 1]), ZoneInfo(market.zone))
        weekend = local.weekday() > 4 and market is not CRYPTO
        hours = [market.at((session if weekend else local).date(), each) for each in market.hours]
        where = {"gmtoffset": int(local.utcoffset().total_seconds()), "timezone": local.tzname()}  # type: ignore[union-attr]
        live = last["timestamp"] > self._opens[seen - 1]
        closed_at = market.at(session.date(), market.hours[2])
        first = market.opens_at(self.first_trade_on) if self.first_trade_on else None
        year = slice(max(seen - 252, 0), seen - 1)
        high, low = ([*columns[k].numbers[year].tolist(), last[k]] for k in ("high", "low"))
        return {
            "currency": self.currency,
            "symbol": self.symbol,
            "exchangeName": market.code,
            "fullExchangeName": market.name,
            "instrumentType": self.kind,
            "firstTradeDate": first or int(self._opens[0]),
            "regularMarketTime": last["timestamp"] if live else closed_at + 1,
            "hasPrePostMarketData": market is not CRYPTO,
            **where,
            "exchangeTimezoneName": market.zone,
            "regularMarketPrice": round(last["close"], 3),
            "fiftyTwoWeekHigh": round(max(high), 3),
            "fiftyTwoWeekLow": round(min(low), 3),
            "regularMarketDayHigh": round(last["high"], 3),
            "regularMarketDayLow": round(last["low"], 3),
            "regularMarketVolume": last["volume"],
            "longName": self.name or self.symbol,
            "shortName": self.name or self.symbol,
            "chartPreviousClose": round(float(columns["close"].numbers[max(start - 1, 0)]), 3),
            "priceHint": 2,
            "currentTradingPeriod": {
                name: {"start": hours[at], "end": hours[at + 1], **where}
                for at, name in enumerate(("pre", "regular", "post"))
            },
            "dataGranularity": "1d",
            "range": "",
            "validRanges": list(_RANGES),
        }


def _single(numbers: npt.ArrayLike) -> Floats:
    """As Yahoo has them: 32-bit floats, written out as doubles."""
    return np.asarray(numbers, dtype=np.float32).astype(float)


def _factor(sessions: npt.ArrayLike, splits: Iterable[Split]) -> Floats:
    """How many shares, after all of ``splits``, one of each session has become."""
    days = np.asarray(sessions, dtype="datetime64[D]")
    factor = np.ones(len(days))
    for ex_date, new, old in splits:
        factor[days < np.datetime64(ex_date)] *= new / old
    return factor


def _chart_text(meta: dict[str, Any], columns: dict[str, str], events: dict[str, Any]) -> str:
    """Without a row there is no ``timestamp``, and an empty object for the columns."""
    lists = {name: f'"{name}":[{text}]' for name, text in columns.items() if text}
    quote = ",".join(lists[name] for name in (*PRICES, "volume") if name in lists)
    indicators = f'{{"quote":[{{{quote}}}],"adjclose":[{{{lists.get("adjclose", "")}}}]}}'
    told = f'"events":{json.dumps(events)}' if events else None
    parts = (f'"meta":{json.dumps(meta)}', lists.get("timestamp"), told)
    result = ",".join([*filter(None, parts), f'"indicators":{indicators}'])
    return f'{{"chart":{{"result":[{{{result}}}],"error":null}}}}'


@dataclass(frozen=True)
class Recording:
    """What Yahoo said of a symbol at ``at``, said again whatever is asked."""

    symbol: str
    at: dt.datetime
    reply: Reply

    def chart(self, *_: object, **__: object) -> Reply:
        return self.reply


def recorded(path: Path) -> Recording:
    """A chart as yahoo-finance2 records it: request and response in one JSON file."""
    pair = json.loads(path.read_text())
    response = pair["response"]
    symbol = unquote(urlsplit(pair["request"]["url"]).path.rsplit("/", 1)[1])
    reply = Reply(response["status"], json.dumps(response["bodyJson"]).encode())
    return Recording(symbol, parsedate_to_datetime(response["headers"]["date"]), reply)


# Misbehaviour: what ``StandIn.order`` takes.

P = ParamSpec("P")
Misbehaviour = Callable[[Reply], Reply]
_SAYINGS = {429: "Too Many Requests\r\n", 503: "Will be right back"}


def status(code: int, retry_after: int | str | None = None) -> Misbehaviour:
    """A refusal in plain text, with Retry-After if given."""
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    return lambda _: Reply(code, _SAYINGS.get(code, "Error").encode(), _PLAIN, headers)


def words(text: str, code: int = 200, content_type: str = _PLAIN) -> Misbehaviour:
    """Something else than was asked for, such as ``Too Many Requests`` with status 200."""
    return lambda _: Reply(code, text.encode(), content_type)


def html(code: int = 200) -> Misbehaviour:
    return words("<!DOCTYPE html><html><body>Will be right back</body></html>", code, _HTML)


def silence(seconds: float = 60.0) -> Misbehaviour:
    """No answer for so long, or until ``StandIn.release`` or its end; then the line goes dead."""
    return lambda reply: replace(reply, hold_seconds=seconds, ending="dropped")


def reset() -> Misbehaviour:
    return lambda reply: replace(reply, ending="reset")


def cut() -> Misbehaviour:
    """The connection ends half-way through the body."""
    return lambda reply: replace(reply, ending="cut")


def truncated() -> Misbehaviour:
    """Half the body, declared as all of it."""
    return lambda reply: replace(reply, body=reply.body[: len(reply.body) // 2])


def _edit(change: Callable[Concatenate[dict[str, Any], P], None]) -> Callable[P, Misbehaviour]:
    """A misbehaviour from a change made in place to a chart's result; refusals stay as they are."""

    @wraps(change)
    def make(*args: P.args, **kwargs: P.kwargs) -> Misbehaviour:
        def misbehave(reply: Reply) -> Reply:
            answer = json.loads(reply.body)
            for result in answer["chart"]["result"] or ():
                change(result, *args, **kwargs)
            return replace(reply, body=json.dumps(answer).encode())

        return misbehave

    return make


def _day(result: dict[str, Any], at: int) -> str:
    zone = ZoneInfo(result["meta"]["exchangeTimezoneName"])
    return str(dt.datetime.fromtimestamp(at, zone).date())


def _rows_on(result: dict[str, Any], session: str) -> list[int]:
    times = result.get("timestamp", ())
    return [row for row, at in enumerate(times) if _day(result, at) == session]


def _columns(result: dict[str, Any]) -> dict[str, list[Any]]:
    indicators = result["indicators"]
    places = dict.fromkeys((*PRICES, "volume"), indicators["quote"][0])
    places |= {"adjclose": indicators["adjclose"][0], "timestamp": result}
    return {name: place.setdefault(name, []) for name, place in places.items()}


@_edit
def edited(result: dict[str, Any], edit: Callable[[dict[str, Any]], None]) -> None:
    """Whatever ``edit`` does to the chart's result."""
    edit(result)


@_edit
def empty(result: dict[str, Any]) -> None:
    """The meta data and nothing else."""
    for name in ("timestamp", "events"):
        result.pop(name, None)
    result["indicators"] = {"quote": [{}], "adjclose": [{}]}


@_edit
def without_session(result: dict[str, Any], session: str) -> None:
    for row in reversed(_rows_on(result, session)):
        for column in _columns(result).values():
            del column[row]


@_edit
def restated(result: dict[str, Any], session: str, column: str, value: float | None) -> None:
    """Another number than before, such as a volume revised on the next day."""
    for row in _rows_on(result, session):
        _columns(result)[column][row] = value


@_edit
def without_prices(result: dict[str, Any], session: str, volume: int | None = 0) -> None:
    """Every price null, beside a volume."""
    for row in _rows_on(result, session):
        for name in (*PRICES, "adjclose"):
            _columns(result)[name][row] = None
        _columns(result)["volume"][row] = volume


@_edit
def doubled(
    result: dict[str, Any], session: str, seconds_later: int = 0, close: float | None = None
) -> None:
    """A bar twice. The live quote comes as such a twin: later, with another close and volume."""
    for row in reversed(_rows_on(result, session)):
        columns = _columns(result)
        for column in columns.values():
            column.insert(row + 1, column[row])
        columns["timestamp"][row + 1] += seconds_later
        if close is not None:
            columns["close"][row + 1] = columns["adjclose"][row + 1] = close
            columns["volume"][row + 1] += 1


@_edit
def with_live_bar(result: dict[str, Any], at: int, price: float, volume: int = 1000) -> None:
    """One more row, stamped ``at``: Yahoo may add the quote of today, whatever end was asked."""
    bar = dict.fromkeys((*PRICES, "adjclose"), price) | {"timestamp": at, "volume": volume}
    for name, column in _columns(result).items():
        column.append(bar[name])


@_edit
def without_events(result: dict[str, Any], kind: str = "splits") -> None:
    """They are left out, though the prices are adjusted for them."""
    result.get("events", {}).pop(kind, None)


@_edit
def split_not_applied(result: dict[str, Any], ex_date: str) -> None:
    """The split is listed, but the rows before it are still in the old shares."""
    for split in result.get("events", {}).get("splits", {}).values():
        if _day(result, split["date"]) == ex_date:
            ratio = split["numerator"] / split["denominator"]
            columns = _columns(result)
            before = slice(sum(at < split["date"] for at in columns["timestamp"]))
            for name in (*PRICES, "adjclose"):
                columns[name][before] = _single(np.array(columns[name][before]) * ratio).tolist()
            columns["volume"][before] = [round(each / ratio) for each in columns["volume"][before]]


_PLAIN_FAULTS = (status, words, html, silence, reset, cut, truncated, empty)
_EDITS = (without_session, restated, without_prices, doubled, with_live_bar, without_events)
MISBEHAVIOURS: dict[str, Callable[..., Misbehaviour]] = {
    make.__name__: make for make in (*_PLAIN_FAULTS, *_EDITS, split_not_applied)
}
"""By name, for ``POST /_order``."""


@dataclass(frozen=True)
class Asked:
    """One request. ``at`` is monotonic; ``host`` is Yahoo's where the client names it in
    X-Forwarded-Host; ``status`` is None where no answer was given."""

    at: float
    method: str
    host: str
    path: str
    symbol: str | None
    params: Mapping[str, str]
    status: int | None


@dataclass
class _Order:
    misbehave: Misbehaviour
    symbol: str | None
    path: str
    times: float


class StandIn:
    """Serves ``listings`` on 127.0.0.1 while it is entered. Threads may use it at will.

    ``now`` is its clock (None: the time of day). Beyond ``requests_per_second`` charts in any
    second, it answers 429.
    """

    def __init__(
        self,
        listings: Iterable[Listing | Recording] = (),
        *,
        now: dt.datetime | None = None,
        requests_per_second: float | None = None,
        latency_seconds: float = 0.0,
        port: int = 0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.listings = {listing.symbol: listing for listing in listings}
        self.now = now
        self.requests_per_second = requests_per_second
        self.latency_seconds = latency_seconds
        self._monotonic = monotonic
        self._requests: list[Asked] = []
        self._orders: list[_Order] = []
        self._served_at: deque[float] = deque()
        self._lock = threading.Lock()
        self._released = threading.Event()
        self._server = _Server(port, self)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._released.set()
        self._server.hang_up()
        self._server.server_close()

    def order(
        self,
        misbehave: Misbehaviour,
        *,
        symbol: str | None = None,
        times: float = 1,
        path: str = CHART,
    ) -> None:
        """For the next so many requests (``math.inf``: for ever) whose path begins with ``path``.

        Orders that fit the same request are carried out one after another, first come first.
        """
        with self._lock:
            self._orders.append(_Order(misbehave, symbol, path, times))

    def relent(self) -> None:
        """No order stands any longer."""
        with self._lock:
            self._orders.clear()

    def release(self) -> None:
        """Let go of every connection held in silence."""
        released, self._released = self._released, threading.Event()
        released.set()

    def rename(self, old: str, new: str) -> None:
        """From now on ``old`` is unknown, and all its history is that of ``new``."""
        self.listings[new] = replace(self.listings.pop(old), symbol=new)

    @property
    def requests(self) -> list[Asked]:
        with self._lock:
            return list(self._requests)

    def price_requests(self, symbol: str | None = None) -> int:
        """How many charts were asked for, answered or not."""
        charts = [asked.symbol for asked in self.requests if asked.path.startswith(CHART)]
        return len(charts) if symbol is None else charts.count(symbol)

    def answer(self, method: str, target: str, headers: Message, body: bytes) -> Reply:
        """The reply to a request, which is counted before anything is sent."""
        at, url = self._monotonic(), urlsplit(target)
        if url.path.startswith("/_"):
            return self._control(url.path, body)
        params = dict(parse_qsl(url.query, keep_blank_values=True))
        symbol = unquote(url.path.removeprefix(CHART)) if url.path.startswith(CHART) else None
        reply = self._chart(symbol, params) if symbol else _other(method, url.path, headers)
        with self._lock:
            misbehave = self._misbehaviour(url.path, symbol, at)
        reply = misbehave(reply) if misbehave else reply
        said = reply.status if reply.ending in ("kept", "cut") else None
        host = headers.get("X-Forwarded-Host", headers.get("Host", ""))
        with self._lock:
            self._requests.append(Asked(at, method, host, url.path, symbol, params, said))
        return replace(reply, hold_seconds=reply.hold_seconds + self.latency_seconds)

    def hold(self, seconds: float) -> None:
        self._released.wait(seconds)

    def _chart(self, symbol: str, params: Mapping[str, str]) -> Reply:
        listing = self.listings.get(symbol.upper())
        if listing is None:
            return UNKNOWN
        range_ = "" if "period1" in params or "period2" in params else params.get("range", "1d")
        if params.get("interval", "1d") != "1d" or range_ not in ("", *_RANGES):
            return _error(422, "Unprocessable Entity", "Only days are served here.")
        bounds = int(params.get("period1", 0)), int(params.get("period2", 2**40))
        now = self.now or dt.datetime.now(dt.UTC)
        return listing.chart(*bounds, now, events=params.get("events", ""), range_=range_)

    def _misbehaviour(self, path: str, symbol: str | None, at: float) -> Misbehaviour | None:
        if symbol and self.requests_per_second is not None:
            while self._served_at and self._served_at[0] <= at - 1:
                self._served_at.popleft()
            if len(self._served_at) >= self.requests_per_second:
                return status(429)
            self._served_at.append(at)
        for order in self._orders:
            fits = path.startswith(order.path) and order.symbol in (None, symbol)
            if fits and order.times > 0:
                order.times -= 1
                return order.misbehave
        return None

    def _control(self, path: str, body: bytes) -> Reply:
        """``GET /_stats``; ``POST /_order`` takes the words of ``order`` and the fault's name."""
        if path == "/_order":
            said = json.loads(body)
            misbehave = MISBEHAVIOURS[said.pop("kind")](**said.pop("arguments", {}))
            self.order(misbehave, **said)
        asked = self.requests
        counts = {
            "requests": len(asked),
            "price_requests": self.price_requests(),
            "by_status": Counter(str(each.status) for each in asked),
        }
        return Reply(200, json.dumps(counts).encode())


_SESSION = "3_cc-session_00000000-0000-4000-8000-000000000000"
_CONSENT_FORM = f"""<html><body><form method="post" class="consent-form" action="">
<input type="hidden" name="csrfToken" value="haT3oyk">
<input type="hidden" name="sessionId" value="{_SESSION}">
<input type="hidden" name="originalDoneUrl" value="https://finance.yahoo.com/">
<input type="hidden" name="namespace" value="yahoo">
<button type="submit" name="agree" value="agree">Accept all</button></form></body></html>"""
_COOKIE = {"Set-Cookie": "A3=d=standin; Max-Age=31536000; Path=/; HttpOnly"}
_NO_COOKIE = {"code": "Unauthorized", "description": "Invalid Cookie"}


def _other(method: str, path: str, headers: Message) -> Reply:
    """Cookie, consent, crumb and search, whichever of Yahoo's hosts they belong to."""
    if path == CRUMB and "A3=" not in headers.get("Cookie", ""):
        return Reply(401, json.dumps({"finance": {"result": None, "error": _NO_COOKIE}}).encode())
    collect, copy = f"/v2/collectConsent?sessionId={_SESSION}", f"/copyConsent?sessionId={_SESSION}"
    replies = {
        f"GET {CRUMB}": Reply(200, b"haT3oykhHqZ", _PLAIN),
        "GET /": Reply(404, b"<html><body>Not Found</body></html>", _HTML, _COOKIE),
        "GET /consent": Reply(302, b"", _HTML, {"Location": collect}),
        "GET /v2/collectConsent": Reply(200, _CONSENT_FORM.encode(), _HTML),
        "POST /v2/collectConsent": Reply(302, b"", _HTML, {"Location": copy}),
        "GET /copyConsent": Reply(302, b"", _HTML, {"Location": "/", **_COOKIE}),
        "GET /v1/finance/search": Reply(200, b'{"count":0,"quotes":[],"news":[]}'),
    }
    return replies.get(f"{method} {path}", Reply(404, b"Not Found", _PLAIN))


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # each ends with its connection, and is waited for
    request_queue_size = 128

    def __init__(self, port: int, standin: StandIn) -> None:
        self.standin = standin
        self._connections: set[socket.socket] = set()
        super().__init__(("127.0.0.1", port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Without the farewell of the base class, which would make a reset look like an end."""
        self._connections.discard(request)
        self.close_request(request)

    def hang_up(self) -> None:
        """On idle clients too: their threads wait for a next request that will not come."""
        for connection in tuple(self._connections):
            with suppress(OSError):  # the client was quicker
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), OSError):  # clients may go away in the middle
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 1 << 20
    server: _Server

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        reply = self.server.standin.answer(self.command, self.path, self.headers, body)
        if reply.hold_seconds:
            self.server.standin.hold(reply.hold_seconds)
        self.close_connection = reply.ending != "kept"
        if reply.ending in ("kept", "cut"):
            self._send(reply)
        if reply.ending == "reset":
            at_once = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)

    do_POST = do_GET  # noqa: N815 - the base class looks for this name

    def _send(self, reply: Reply) -> None:
        self.send_response(reply.status)
        size = len(reply.body)
        about = {"Content-Type": reply.content_type, "Content-Length": str(size)}
        for name, value in (about | dict(reply.headers)).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(reply.body[: size // 2 if reply.ending == "cut" else size])

    def log_message(self, *_: object) -> None:
        """Nothing: ``StandIn.requests`` is the log."""


def yahoo_price_set(real: Path, symbols: Sequence[str]) -> list[Listing]:
    """Real sessions of 2010 to 2024-03-08, with the dividends and splits up to 2021-04-21.

    A later split is unknown here, so that its prices pass for as traded: choose symbols without.
    """
    path = real / "prices/yahoo_sp500ever_daily_20100104_20240308.parquet"
    prices = pd.read_parquet(path, filters=[("symbol", "in", list(symbols))])
    prices = prices.rename(columns={"date": "session"})
    actions = pd.read_csv(real / "prices/alphavantage_corporate_actions_1999_20210421.csv")
    actions["symbol"] = actions["symbol"].str.replace(".", "-")
    actions["date"] = pd.to_datetime(actions["date"]).dt.date
    listings = []
    for symbol, rows in prices.groupby("symbol"):
        own = actions[(actions["symbol"] == symbol) & (actions["date"] >= rows["session"].iloc[0])]
        parts = [
            (day, Fraction(ratio).limit_denominator(1000))
            for day, ratio in zip(own["date"], own["split"], strict=True)
        ]
        splits = [(day, part.numerator, part.denominator) for day, part in parts if part != 1]
        paid = [each for each in zip(own["date"], own["dividend"], strict=True) if each[1]]
        own_rows = rows.reset_index(drop=True)
        listings.append(Listing.from_adjusted(str(symbol), own_rows, splits, dividends=paid))
    return listings


def invented_market(symbols: Sequence[str], years: float, until: dt.date) -> list[Listing]:
    start = until - dt.timedelta(days=round(365.25 * years))
    sessions = np.array(exchange_calendar("XNYS").between(start, until), dtype="datetime64[D]")
    return [Listing.invented(symbol, sessions) for symbol in symbols]


def main() -> None:
    parser = argparse.ArgumentParser(description="A stand-in for Yahoo's chart service.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--symbols", default="503", help="how many, or which: AAPL,MSFT")
    parser.add_argument("--years", type=float, default=5)
    parser.add_argument("--now", type=dt.datetime.fromisoformat, help="its clock, with a zone")
    parser.add_argument("--requests-per-second", type=float)
    parser.add_argument("--latency-seconds", type=float, default=0.0)
    asked = vars(parser.parse_args())
    symbols, years = asked.pop("symbols"), asked.pop("years")
    named = [f"Y{n:03d}" for n in range(int(symbols))] if symbols.isdigit() else symbols.split(",")
    now = asked["now"] or dt.datetime.now(dt.UTC)
    # Sessions to come too: each begins when the clock gets there.
    listings = invented_market(named, years, now.date() + dt.timedelta(days=30))
    for listing in listings:
        listing.chart(0, 2**40, now)  # so that the first request is as quick as the next
    stopped = threading.Event()
    for ending in (signal.SIGTERM, signal.SIGINT):
        signal.signal(ending, lambda *_: stopped.set())
    with StandIn(listings, **asked) as standin:
        print(standin.url, flush=True)
        stopped.wait()


if __name__ == "__main__":
    main()
