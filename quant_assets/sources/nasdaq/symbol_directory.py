"""Nasdaq's symbol directory: every security listed in the US, ETFs too, without figures.

Two files, made anew each trading day. The last line of each says when, so that an old copy is dated
by itself. https://www.nasdaqtrader.com/trader.aspx?id=symboldirdefs describes the columns.
"""

from __future__ import annotations

import datetime as dt
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

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
from quant_assets.fetching.http import TIMEOUT_SECONDS
from quant_assets.fetching.pace import Paced
from quant_assets.reference.calendars import NEW_YORK, Calendar, CalendarRangeError
from quant_assets.reference.identity import (
    InvalidSymbolError,
    canonical_symbol,
    symbol_of_tape,
)
from quant_assets.reference.texts import LONGEST_TEXT, plain_text, shortened
from quant_assets.sources.nasdaq.screener import fetch_body, opening, unspelt_notices
from quant_assets.sources.nasdaq.security_types import type_of

if TYPE_CHECKING:
    from requests import Session

SOURCE = "nasdaqtrader"
HOST = "https://www.nasdaqtrader.com"
PATH = "/dynamic/SymDir/"

_COMMON = ("Security Name", "Test Issue", "ETF")
REQUIRED = {
    "nasdaqlisted": ("Symbol", *_COMMON, "Market Category", "NextShares"),
    "otherlisted": ("ACT Symbol", "CQS Symbol", *_COMMON, "Exchange"),
}
EXCHANGES = {"N": "nyse", "A": "amex", "P": "arca", "Z": "bats", "V": "iex"}
_CREATED = re.compile(rb"File Creation Time: ?(\d{10}:\d\d)[|\s]*")


@dataclass(frozen=True)
class SymbolDirectory:
    """The files nasdaqlisted and otherlisted, as of the last session closed when each was made.

    ``paced`` makes every request, ``clock`` gives the time (aware). ``base_url`` replaces the host
    where given. ``keep`` is called with the name of the file and its body.
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
        return tuple(sorted(REQUIRED))

    def fetch(self, requests: Sequence[Request]) -> Iterator[RowAnswer]:
        """One answer for all files. An error concerns its file alone."""
        if requests:
            yield joined([self._answer(request.symbol, request.end) for request in requests])

    def _answer(self, feed: str, wanted: dt.date) -> RowAnswer:
        try:
            if feed not in REQUIRED:
                raise UnknownSymbolAtSource(SOURCE, feed, f"It has {', '.join(REQUIRED)}.")
            address = f"{self.base_url.rstrip('/') or HOST}{PATH}{feed}.txt"
            body = fetch_body(
                address,
                SOURCE,
                self.paced,
                self.clock,
                session=self.session,
                timeout_seconds=self.timeout_seconds,
            )
            if self.keep:
                self.keep(feed, body)
            with only_for(SOURCE, feed):
                session = self._session(body, feed)
            if session < wanted:
                message = f"{feed} was made after the close of {session}; that of {wanted} is not "
                raise SourceUnavailable(SOURCE, f"{message}there yet. Load it again later.")
            with only_for(SOURCE, feed):
                rows, notices = read_directory(body, feed, session)
        except SourceError as error:
            return RowAnswer((feed,), failures={feed: error})
        return RowAnswer((feed,), {"market_snapshot": rows}, notices=notices)

    def _session(self, body: bytes, feed: str) -> dt.date:
        created = created_at(body, feed)
        now = self.clock()
        try:
            session = self.calendar.last_closed_session(created)
        except CalendarRangeError as error:
            raise BadAnswer(SOURCE, f"{feed} was made at {created}: {error}") from error
        if session > self.calendar.last_closed_session(now):
            message = f"{feed} says that it was made at {created:%Y-%m-%d %H:%M} in New York, "
            raise BadAnswer(SOURCE, f"{message}after a close that is still to come.")
        return session


def created_at(body: bytes, feed: str) -> dt.datetime:
    """The time in the last line of a file, in New York. Raises BadAnswer where it has none."""
    lines = body.rstrip().rsplit(b"\n", 1)
    found = _CREATED.fullmatch(lines[-1].strip())
    try:
        if found:
            written = dt.datetime.strptime(found[1].decode(), "%m%d%Y%H:%M")  # noqa: DTZ007
            return written.replace(tzinfo=NEW_YORK)
    except ValueError:
        pass
    message = f"{feed} does not end with the time it was made, as in File Creation Time: "
    message += f"1010202421:31, so it is cut short or another file. It begins {opening(body)} "
    raise BadAnswer(SOURCE, f"{message}and ends {opening(lines[-1])}.")


def read_directory(body: bytes, feed: str, session: dt.date) -> tuple[pa.Table, tuple[str, ...]]:
    """The rows of a file, by ``MARKET_COLUMNS``, and notices. Raises BadAnswer."""
    listed, notices = _listed(body, feed)
    symbols, rows, unspelt = [], [], []
    for row in listed:
        if row["Test Issue"] == "Y":
            continue
        try:
            symbols.append(_symbol(row))
            rows.append(row)
        except InvalidSymbolError as error:
            unspelt.append(error.text)
    notices += unspelt_notices(SOURCE, feed, unspelt, len(listed))
    exchanges = ["nasdaq" if feed == "nasdaqlisted" else _exchange(row) for row in rows]
    unknown = Counter(each for each in exchanges if each not in ("nasdaq", *EXCHANGES.values()))
    for exchange, count in sorted(unknown.items()):
        code = "" if exchange == "unknown" else exchange.upper()
        rows_of = f"{count} row{'s' if count > 1 else ''}"
        notices.append(f"{feed}: {rows_of} of an exchange not known here, {code!r}.")
    if not rows:
        message = f"{SOURCE}'s list {feed} has {len(listed)} rows and none of a security."
        raise BadAnswer(SOURCE, message)
    columns = {
        "feed": [feed] * len(rows),
        "session": [session] * len(rows),
        "symbol": symbols,
        "name": [plain_text(row["Security Name"]) or None for row in rows],
        "exchange": exchanges,
        "type": [_type(row, symbol) for row, symbol in zip(rows, symbols, strict=True)],
    }
    nothing = [None] * len(rows)
    return (
        pa.table(
            {name: columns.get(name, nothing) for name in MARKET_COLUMNS.names},
            schema=MARKET_COLUMNS,
        ),
        tuple(notices),
    )


def _listed(body: bytes, feed: str) -> tuple[list[dict[str, str]], list[str]]:
    """The rows between header and last line, and a notice of those that can't be read."""
    text = body.decode("utf-8", "replace").rstrip()
    header, *lines = (line.rstrip("\r") for line in text.split("\n"))
    names = [name.strip() for name in header.split("|")]
    absent = [name for name in REQUIRED[feed] if name not in names]
    if absent:
        message = f"{feed} has no column {', '.join(absent)}; its first line is {opening(body)}."
        raise BadAnswer(SOURCE, message)
    cells = [[cell.strip() for cell in line.split("|")] for line in lines[:-1]]
    rows = [dict(zip(names, row, strict=True)) for row in cells if len(row) == len(names)]
    if not rows:
        raise BadAnswer(SOURCE, f"{feed} lists no security; it is {opening(body)}.")
    odd = ["|".join(row) for row in cells if len(row) != len(names)]
    if not odd:
        return rows, []
    first = shortened(odd[0], LONGEST_TEXT)
    left_out = f"{len(odd)} row{'s' if len(odd) > 1 else ''} left out"
    return rows, [f"{feed}: {left_out}, not of {len(names)} cells, such as {first!r}."]


def _symbol(row: Mapping[str, str]) -> str:
    """By the tape's symbol where there is one.

    The ACT symbol does not tell a series of warrants (MIMO.A) from a class of shares (AGM.A).
    """
    if "Symbol" in row:
        return canonical_symbol(row["Symbol"])
    tape = row["CQS Symbol"]
    return symbol_of_tape(tape) if tape else canonical_symbol(row["ACT Symbol"])


def _exchange(row: Mapping[str, str]) -> str:
    code = row["Exchange"]
    return EXCHANGES.get(code, plain_text(code.lower()) or "unknown")


def _type(row: Mapping[str, str], symbol: str) -> str:
    if row["ETF"] == "Y":
        return "etf"
    return "fund" if row.get("NextShares") == "Y" else type_of(row["Security Name"], symbol)
