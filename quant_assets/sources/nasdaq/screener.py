"""Nasdaq's stock screener: every stock of an exchange with last sale, volume and size.

One request an exchange. The body has no date and shows live figures while a session is under way,
so it is dated by the clock and asked for only between sessions. ETFs are not in it; see
``symbol_directory.py``.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa

from quant_assets.contracts.market import MARKET_COLUMNS
from quant_assets.contracts.one_subject import only_for
from quant_assets.contracts.rows import RowAnswer, joined
from quant_assets.contracts.source import (
    BadAnswer,
    Request,
    SourceError,
    SourceProfile,
    SourceUnavailable,
    UnknownSymbolAtSource,
)
from quant_assets.fetching.http import TIMEOUT_SECONDS, fetch
from quant_assets.fetching.json_body import read_json
from quant_assets.fetching.pace import Pace, Paced, PacingError, PacingFileError, as_source_error
from quant_assets.reference.calendars import Calendar
from quant_assets.reference.identity import InvalidSymbolError, canonical_symbol
from quant_assets.reference.texts import LONGEST_TEXT, plain_text, shortened
from quant_assets.sources.nasdaq.security_types import type_of

if TYPE_CHECKING:
    from requests import Session

T = TypeVar("T")
SOURCE = "nasdaq"
HOST = "https://api.nasdaq.com"
PATH = "/api/screener/stocks"
EXCHANGES = ("amex", "nasdaq", "nyse")
REQUIRED = ("symbol", "name", "lastsale", "marketCap")
OPTIONAL = ("netchange", "volume", "country", "ipoyear", "sector", "industry")

PACE = Pace(min_delay_seconds=2.0, hourly_cap=60, throttle_waits_seconds=(30.0, 120.0))
"""Ours, for either host: no limit is published, and a session takes three requests or two."""

BROWSER = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/131.0.0.0 Safari/537.36",
    "Accept": "application/json, text/plain, */*",
    "Accept-Language": "en-US,en;q=0.9",
}
"""Nasdaq leaves a request without an answer, or refuses it, where these name no browser."""

_MISSING = ("", "NA", "N/A")
_NUMBER = re.compile(r"([+-]?)\$?(\d[\d,]*(?:\.\d*)?|\.\d+)%?", re.ASCII)
_TEST_SYMBOL = re.compile(r"Z[A-Z]ZZT|[A-Z]TEST(?:\.[A-Z])?")
_TEST_NAME = re.compile(
    r"\btest (?:stock|issue|symbol|security)\b|\b(?:nasdaq|nyse|pilot)\b.*\btest\b"
)


@dataclass(frozen=True)
class Screener:
    """The stocks of amex, nasdaq and nyse as of the last closed session.

    ``paced`` makes every request, ``clock`` gives the time (aware). ``base_url`` replaces Nasdaq's
    host where given. ``keep`` is called with the exchange and body of each response.
    """

    calendar: Calendar = field(repr=False)
    paced: Paced = field(repr=False)
    clock: Callable[[], dt.datetime] = field(repr=False)
    base_url: str = ""
    session: Session | None = field(default=None, repr=False)
    timeout_seconds: float = TIMEOUT_SECONDS
    keep: Callable[[str, bytes], None] | None = field(default=None, repr=False)

    @property
    def profile(self) -> SourceProfile:
        return SourceProfile(SOURCE, live=True)

    def symbols(self) -> tuple[str, ...]:
        return EXCHANGES

    def fetch(self, requests: Sequence[Request]) -> Iterator[RowAnswer]:
        """One answer for all exchanges, of one session. An error concerns its exchange alone."""
        session = self.calendar.last_closed_session(self.clock())
        if requests:
            yield joined([self._answer(request.symbol, session) for request in requests])

    def _answer(self, exchange: str, session: dt.date) -> RowAnswer:
        try:
            if exchange not in EXCHANGES:
                raise UnknownSymbolAtSource(SOURCE, exchange, f"It has {', '.join(EXCHANGES)}.")
            self._check_closed(session)
            address = f"{self.base_url.rstrip('/') or HOST}{PATH}"
            address += f"?tableonly=true&download=true&exchange={exchange}"
            body = fetch_body(
                address,
                SOURCE,
                self.paced,
                self.clock,
                session=self.session,
                timeout_seconds=self.timeout_seconds,
            )
            if self.keep:
                self.keep(exchange, body)
            self._check_closed(session)
            with only_for(SOURCE, exchange):
                rows, notices = read_screener(body, exchange, session)
        except SourceError as error:
            return RowAnswer((exchange,), failures={exchange: error})
        return RowAnswer((exchange,), {"market_snapshot": rows}, notices=notices)

    def _check_closed(self, session: dt.date) -> None:
        """Raise SourceUnavailable where figures of now would not be those of ``session``."""
        now = self.clock()
        closed = self.calendar.last_closed_session(now)
        if closed != session:
            message = f"The session of {closed} closed during this load, so {SOURCE}'s figures may "
            message += "be of either side of the close. Load them again."
            raise SourceUnavailable(SOURCE, message)
        under_way = self.calendar.session_under_way(now)
        if under_way:
            message = f"The session of {under_way} is under way, and {SOURCE} shows live figures "
            message += "until its close. Load them after the close."
            raise SourceUnavailable(SOURCE, message)


def fetch_body(
    address: str,
    source: str,
    paced: Paced,
    clock: Callable[[], dt.datetime],
    *,
    session: Session | None,
    timeout_seconds: float,
) -> bytes:
    """One GET as a browser makes it. Raises SourceUnavailable, RateLimited and BadAnswer."""
    try:
        response = fetch(
            address,
            source,
            headers=BROWSER,
            session=session,
            timeout_seconds=timeout_seconds,
            paced=paced,
        )
    except (PacingError, PacingFileError) as error:
        raise as_source_error(error, source, clock()) from error
    return response.body


def read_screener(body: bytes, exchange: str, session: dt.date) -> tuple[pa.Table, tuple[str, ...]]:
    """The rows of a body, by ``MARKET_COLUMNS``, and notices. Raises BadAnswer."""
    listed = _listed(body, exchange)
    symbols, rows, unspelt = [], [], []
    for row in listed:
        try:
            symbol = canonical_symbol(row["symbol"])
        except InvalidSymbolError:
            unspelt.append(row["symbol"])
            continue
        if not _is_test(symbol, row["name"]):
            symbols.append(symbol)
            rows.append(row)
    notices = unspelt_notices(SOURCE, exchange, unspelt, len(listed))
    absent = [column for column in OPTIONAL if column not in listed[0]]
    if absent:
        notices.append(f"{exchange}: no column {', '.join(absent)}, so those values are missing.")

    def numbers(column: str, read: Callable[[Any], T | None]) -> list[T | None]:
        values: list[T | None] = []
        unread = []
        for row, symbol in zip(rows, symbols, strict=True):
            try:
                values.append(read(row.get(column)))
            except ValueError:
                values.append(None)
                unread.append(f"{shortened(str(row[column]), LONGEST_TEXT)!r} of {symbol}")
        if unread:
            values_of = f"{len(unread)} value{'s' if len(unread) > 1 else ''} of {column}"
            notices.append(f"{exchange}: {values_of} can't be read, the first {unread[0]}.")
        return values

    if not rows:
        message = f"{SOURCE}'s list {exchange} has {len(listed)} rows and none of a security."
        raise BadAnswer(SOURCE, message)
    names = [_text(row["name"]) for row in rows]
    columns = {
        "feed": [exchange] * len(rows),
        "session": [session] * len(rows),
        "symbol": symbols,
        "name": names,
        "exchange": [exchange] * len(rows),
        "type": [type_of(name or "", symbol) for name, symbol in zip(names, symbols, strict=True)],
        "last_sale": [price or None for price in numbers("lastsale", _amount)],
        "net_change": numbers("netchange", _amount),
        "volume": numbers("volume", _count),
        "market_cap": numbers("marketCap", _amount),
        "country": [_text(row.get("country")) for row in rows],
        "ipo_year": numbers("ipoyear", _year),
        "sector": [_text(row.get("sector")) for row in rows],
        "industry": [_text(row.get("industry")) for row in rows],
    }
    return pa.table(columns, schema=MARKET_COLUMNS), tuple(notices)


def unspelt_notices(source: str, feed: str, unspelt: Sequence[object], listed: int) -> list[str]:
    """A notice of the symbols left out. Raises BadAnswer where most of ``listed`` are."""
    shown = ", ".join(f"{shortened(str(text), LONGEST_TEXT)!r}" for text in unspelt[:3])
    if len(unspelt) * 2 > listed:
        message = f"{source}'s list {feed} has {len(unspelt)} symbols of {listed} that can't be "
        raise BadAnswer(source, f"{message}spelt, such as {shown}.")
    if not unspelt:
        return []
    left_out = f"{len(unspelt)} row{'s' if len(unspelt) > 1 else ''} left out"
    return [f"{feed}: {left_out}, whose symbol can't be spelt, such as {shown}."]


def opening(body: bytes) -> str:
    """The first characters of a body in quotes, for a message."""
    text = " ".join(body[:400].decode("utf-8", "replace").split())
    return repr(f"{text[:80]}…" if len(text) > 80 else text)


def _listed(body: bytes, exchange: str) -> Sequence[Mapping[str, Any]]:
    """The rows of a body, each with the required columns. Raises BadAnswer."""

    def bad(problem: str) -> BadAnswer:
        message = f"{SOURCE}'s list of {exchange} {problem}. Expected is JSON with data.rows, each "
        return BadAnswer(
            SOURCE, f"{message}with {', '.join(REQUIRED)}; the answer begins {opening(body)}."
        )

    if not body.strip():
        raise bad("is empty")
    try:
        payload = read_json(body)
    except ValueError as error:
        raise bad(f"is no JSON ({error})") from error
    data = payload.get("data") if isinstance(payload, dict) else None
    rows = data.get("rows") if isinstance(data, dict) else None
    if not isinstance(rows, list) or not rows:
        raise bad("has no rows")
    if not all(isinstance(row, dict) for row in rows):
        raise bad("has rows that are no objects")
    for column in REQUIRED:
        without = sum(column not in row for row in rows)
        if without:
            raise bad(f"lacks the column {column} in {without} of {len(rows)} rows")
    return rows


def _is_test(symbol: str, name: object) -> bool:
    """Whether a listing tests systems. Not by the word alone: Aehr Test Systems is a company."""
    return bool(_TEST_SYMBOL.fullmatch(symbol) or _TEST_NAME.search(str(name).lower()))


def _text(value: object) -> str | None:
    text = plain_text(value) if isinstance(value, str) else ""
    return None if text in _MISSING else text


def _amount(value: object) -> float | None:
    """The number in a text such as $0.97, 1,234.5 or -3.96%. Raises ValueError."""
    text = "" if value is None else str(value).strip()
    found = _NUMBER.fullmatch(text)
    if found:
        return float(found[1] + found[2].replace(",", ""))
    if text.upper() in _MISSING:
        return None
    raise ValueError(text)


def _count(value: object, limit: int = 2**53) -> int | None:
    amount = _amount(value)
    if amount is None:
        return None
    if not amount.is_integer() or abs(amount) > limit:
        raise ValueError(amount)
    return int(amount)


def _year(value: object) -> int | None:
    return _count(value, limit=9999) or None
