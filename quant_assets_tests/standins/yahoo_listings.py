"""Instruments as Yahoo's chart service shows them: traded, invented, or recorded."""

from __future__ import annotations

import datetime as dt
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from fractions import Fraction
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
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
JSON, HTML, PLAIN = "application/json;charset=utf-8", "text/html", "text/plain;charset=utf-8"
RANGES = {"1d": 1, "5d": 5, "1mo": 21, "3mo": 63, "6mo": 126, "1y": 252, "2y": 504, "5y": 1260}
RANGES |= {"10y": 2520, "ytd": 252, "max": 10**6}
"""How many sessions each stands for, roughly."""


@dataclass(frozen=True)
class Reply:
    """An answer on its way: what is sent, after how long, and what becomes of the connection."""

    status: int
    body: bytes
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    hold_seconds: float = 0.0
    ending: str = "kept"
    """``kept``, or ``dropped`` or ``reset`` before a word is said, or ``cut`` half-way."""


def error_reply(status: int, code: str, description: str) -> Reply:
    error = {"code": code, "description": description}
    return Reply(status, json.dumps({"chart": {"result": None, "error": error}}).encode())


UNKNOWN = error_reply(404, "Not Found", "No data found, symbol may be delisted")


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
            period1 = int(opens[-RANGES[range_] :][0])
        start, end = int(opens.searchsorted(period1)), int(opens.searchsorted(period2, "right"))
        if not end or start == len(opens):
            bounds = f"startDate = {period1}, endDate = {period2}"
            return error_reply(400, "Bad Request", f"Data doesn't exist for {bounds}")
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
            numbers: dict[str, npt.NDArray[Any]] = {n: as_float32(p) for n, p in prices.items()}
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
            last = float(as_float32(round(price, 2)))
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
            "validRanges": list(RANGES),
        }


def as_float32(numbers: npt.ArrayLike) -> Floats:
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
