"""A stand-in for Nasdaq on loopback: the screener and the symbol directory.

``NasdaqStandIn`` serves rows and files as given, in Nasdaq's own envelope, counts every request,
and carries out orders, which are functions from ``Reply`` to ``Reply``. What a client should make
of an answer is not known here.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self
from urllib.parse import parse_qs, urlsplit

SCREENER_PATH = "/api/screener/stocks"
DIRECTORY_PATH = "/dynamic/SymDir/"
JSON, TEXT, HTML = "application/json; charset=utf-8", "text/plain", "text/html"
PAGE = b"<!DOCTYPE html><html><head><title>Nasdaq</title></head><body>Try again</body></html>"

HEADERS = {
    "symbol": "Symbol",
    "name": "Name",
    "lastsale": "Last Sale",
    "netchange": "Net Change",
    "pctchange": "% Change",
    "marketCap": "Market Cap",
    "country": "Country",
    "ipoyear": "IPO Year",
    "volume": "Volume",
    "sector": "Sector",
    "industry": "Industry",
    "url": "Url",
}
NASDAQLISTED = (
    "Symbol|Security Name|Market Category|Test Issue|Financial Status|Round Lot Size|ETF|NextShares"
)
OTHERLISTED = (
    "ACT Symbol|Security Name|Exchange|CQS Symbol|ETF|Round Lot Size|Test Issue|NASDAQ Symbol"
)


def stock(symbol: str, name: str = "", **columns: str) -> dict[str, str]:
    """A row of the screener; columns that are not given are as of a quiet stock."""
    return {
        "symbol": symbol,
        "name": name or f"{symbol} Inc. Common Stock",
        "lastsale": "$10.00",
        "netchange": "0.10",
        "pctchange": "1.01%",
        "volume": "1000",
        "marketCap": "50000000.00",
        "country": "United States",
        "ipoyear": "",
        "industry": "Semiconductors",
        "sector": "Technology",
        "url": f"/market-activity/stocks/{symbol.lower()}",
    } | columns


def screener_body(rows: Sequence[Mapping[str, object]]) -> bytes:
    data = {"asof": None, "headers": HEADERS, "rows": list(rows)}
    state = {"rCode": 200, "bCodeMessage": None, "developerMessage": None}
    return json.dumps({"data": data, "message": None, "status": state}).encode()


def directory_file(header: str, lines: Iterable[str], created: str = "0129202121:31") -> bytes:
    """A file of the directory; ``created`` is MMDDYYYYHH:MM in New York."""
    last = f"File Creation Time: {created}" + "|" * (header.count("|"))
    return "\r\n".join([header, *lines, last, ""]).encode()


@dataclass(frozen=True)
class Reply:
    status: int
    body: bytes
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)


Misbehaviour = Callable[[Reply], Reply]


def status(code: int, retry_after: str = "") -> Misbehaviour:
    headers = {"Retry-After": retry_after} if retry_after else {}
    return lambda _: Reply(code, PAGE, HTML, headers)


def says(body: bytes, content_type: str = HTML) -> Misbehaviour:
    """Something else altogether, such as ``PAGE`` or nothing."""
    return lambda _: Reply(200, body, content_type)


def renamed(column: str, to: str) -> Misbehaviour:
    """A column of rows or of a header line under another name."""
    return lambda reply: replace(reply, body=reply.body.replace(column.encode(), to.encode()))


def half_the_rows(reply: Reply) -> Reply:
    """The first half of the screener's rows in a whole envelope; the first half of a file."""
    if not reply.content_type.startswith("application/json"):
        lines = reply.body.splitlines(keepends=True)
        return replace(reply, body=b"".join(lines[: len(lines) // 2]))
    rows = json.loads(reply.body)["data"]["rows"]
    return replace(reply, body=screener_body(rows[: len(rows) // 2]))


@dataclass(frozen=True)
class Asked:
    feed: str
    query: Mapping[str, str]
    user_agent: str
    status: int


class NasdaqStandIn:
    """Serves on 127.0.0.1 while it is entered.

    ``stocks`` are rows of the screener by exchange, ``files`` bodies of the directory by name; both
    may be changed meanwhile. A client that names itself Python gets a 403, as at Nasdaq.
    """

    def __init__(
        self,
        stocks: Mapping[str, Sequence[Mapping[str, object]]] | None = None,
        files: Mapping[str, bytes] | None = None,
        *,
        port: int = 0,
    ) -> None:
        self.stocks, self.files = dict(stocks or {}), dict(files or {})
        self.requests: list[Asked] = []
        self._orders: list[tuple[Misbehaviour, str | None, float]] = []
        self._lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"standin": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", port), handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def order(self, misbehave: Misbehaviour, *, feed: str | None = None, times: float = 1) -> None:
        """For the next so many requests of a feed or of all; ``math.inf``: for ever."""
        with self._lock:
            self._orders.append((misbehave, feed, times))

    def relent(self) -> None:
        with self._lock:
            self._orders.clear()

    def requested(self, feed: str) -> int:
        """How many requests there were of an exchange or a file."""
        return sum(asked.feed == feed for asked in self.requests)

    def answer(self, address: str, user_agent: str) -> Reply:
        parts = urlsplit(address)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        feed = query.get("exchange", parts.path.rpartition("/")[2].removesuffix(".txt"))
        with self._lock:
            reply = self._misbehaved(self._truth(parts.path, feed, user_agent), feed)
            self.requests.append(Asked(feed, query, user_agent, reply.status))
        return reply

    def _truth(self, path: str, feed: str, user_agent: str) -> Reply:
        if "python" in user_agent.lower() or not user_agent:
            return Reply(403, b"Access denied", TEXT)
        if path == SCREENER_PATH and feed in self.stocks:
            return Reply(200, screener_body(self.stocks[feed]))
        if path.startswith(DIRECTORY_PATH) and feed in self.files:
            return Reply(200, self.files[feed], TEXT)
        return Reply(404, PAGE, HTML)

    def _misbehaved(self, reply: Reply, feed: str) -> Reply:
        for at, (misbehave, of, times) in enumerate(self._orders):
            if of in (None, feed):
                self._orders[at : at + 1] = [(misbehave, of, times - 1)] if times > 1 else []
                return misbehave(reply)
        return reply


class _Handler(BaseHTTPRequestHandler):
    standin: NasdaqStandIn

    def do_GET(self) -> None:
        reply = self.standin.answer(self.path, self.headers.get("User-Agent", ""))
        self.send_response(reply.status)
        about = {"Content-Type": reply.content_type, "Content-Length": str(len(reply.body))}
        for name, value in (about | dict(reply.headers)).items():
            self.send_header(name, value)
        with suppress(OSError):  # the client gave up
            self.end_headers()
            self.wfile.write(reply.body)

    def log_message(self, *_: object) -> None:
        """Nothing: ``NasdaqStandIn.requests`` is the log."""
