"""A stand-in for Yahoo's chart service on loopback: truthful, and misbehaving on order.

``StandIn`` serves the instruments of ``yahoo_listings``, counts every request, and carries out
orders, which are functions from ``Reply`` to ``Reply`` such as ``yahoo_misbehaviours.status(429)``.
How a client should read an answer is not known here.

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
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qsl, unquote, urlsplit

from quant_assets_tests.standins.yahoo_listings import (
    CHART,
    CRUMB,
    HTML,
    PLAIN,
    RANGES,
    UNKNOWN,
    Listing,
    Recording,
    Reply,
    error_reply,
    invented_market,
)
from quant_assets_tests.standins.yahoo_misbehaviours import MISBEHAVIOURS, Misbehaviour, status


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
        if params.get("interval", "1d") != "1d" or range_ not in ("", *RANGES):
            return error_reply(422, "Unprocessable Entity", "Only days are served here.")
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
        f"GET {CRUMB}": Reply(200, b"haT3oykhHqZ", PLAIN),
        "GET /": Reply(404, b"<html><body>Not Found</body></html>", HTML, _COOKIE),
        "GET /consent": Reply(302, b"", HTML, {"Location": collect}),
        "GET /v2/collectConsent": Reply(200, _CONSENT_FORM.encode(), HTML),
        "POST /v2/collectConsent": Reply(302, b"", HTML, {"Location": copy}),
        "GET /copyConsent": Reply(302, b"", HTML, {"Location": "/", **_COOKIE}),
        "GET /v1/finance/search": Reply(200, b'{"count":0,"quotes":[],"news":[]}'),
    }
    return replies.get(f"{method} {path}", Reply(404, b"Not Found", PLAIN))


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
