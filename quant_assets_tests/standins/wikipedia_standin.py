"""A stand-in for Wikipedia's page on loopback: truthful as of a clock's day, or misbehaving.

``Membership`` is a list of members and what becomes of it; ``page`` is how Wikipedia would show it,
today or after a redesign. ``WikipediaStandIn`` serves it, counts every request, keeps each
User-Agent, and carries out orders, which are functions from ``Reply`` to ``Reply``. What a client
should make of an answer is not known here.

By hand: ``python -m quant_assets_tests.standins.wikipedia_standin --port 8932``.
"""

from __future__ import annotations

import argparse
import datetime as dt
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

from quant_assets.warehouse.writer_lock import utc_now

PATH = "/wiki/List_of_S%26P_500_companies"
_HTML = "text/html; charset=UTF-8"
PORTAL = b"<html><head><title>Sign in</title></head><body><form>Room number?</form></body></html>"


@dataclass(frozen=True)
class Member:
    symbol: str
    name: str = ""
    sector: str = "Industrials"
    industry: str = "Building Products"
    cik: str = "0000000000"
    added_on: str = "1957-03-04"

    @property
    def row(self) -> tuple[str, ...]:
        name, where = self.name or f"{self.symbol} Corp.", "Saint Paul, Minnesota"
        return self.symbol, name, self.sector, self.industry, where, self.added_on, self.cik


@dataclass(frozen=True)
class Change:
    """Before the open of ``on``: one joins, one leaves, or one goes by another ticker.

    The table of changes tells of it from ``announced_on`` on, where that is earlier.
    """

    on: dt.date
    added: str = ""
    removed: str = ""
    reason: str = "Market capitalization change."
    renamed: bool = False
    cik: str = "0000000000"
    announced_on: dt.date | None = None

    @property
    def row(self) -> tuple[str, ...]:
        names = (f"{symbol} Corp." if symbol else "" for symbol in (self.added, self.removed))
        sides = zip((self.added, self.removed), names, strict=True)
        spoken = f"{self.on:%B} {self.on.day}, {self.on.year}"
        return spoken, *(text for side in sides for text in side), f"{self.reason}[4]"


@dataclass(frozen=True)
class Membership:
    """Members at the beginning, and what changes; a rename is no row in the table of changes."""

    members: Sequence[Member]
    changes: Sequence[Change] = ()

    def members_on(self, day: dt.date) -> list[Member]:
        held = {member.symbol: member for member in self.members}
        for change in sorted(self.changes, key=lambda change: change.on):
            if change.on > day:
                break
            gone = held.pop(change.removed, None)
            if change.renamed and gone:
                held[change.added] = replace(gone, symbol=change.added)
            elif change.added:
                held[change.added] = Member(change.added, cik=change.cik, added_on=str(change.on))
        return sorted(held.values(), key=lambda member: member.symbol)

    def changes_on(self, day: dt.date) -> list[Change]:
        """As the page tells them: newest first."""
        told = [c for c in self.changes if (c.announced_on or c.on) <= day and not c.renamed]
        return sorted(told, key=lambda change: change.on, reverse=True)


def invented(size: int = 503, changes: Sequence[Change] = ()) -> Membership:
    """``size`` members with tickers of letters alone: AAA, AAB, …"""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    tickers = (f"{letters[n // 676]}{letters[n // 26 % 26]}{letters[n % 26]}" for n in range(size))
    return Membership([Member(each, cik=f"{n:010}") for n, each in enumerate(tickers)], changes)


def _row(cells: Sequence[str], tag: str = "td") -> str:
    return "<tr>" + "".join(f"<{tag}>{escape(text)}\n</{tag}>" for text in cells) + "</tr>\n"


HEADERS = "Symbol|Security|GICS Sector|GICS Sub-Industry|Headquarters Location|Date added|CIK"
_CHANGE_HEADERS = (
    '<tr><th rowspan="2">Date</th><th colspan="2">Added</th><th colspan="2">Removed</th>'
    '<th rowspan="2">Reason</th></tr>\n' + _row(("Ticker", "Security") * 2, "th")
)
_NEW_HEADERS = "CIK|Company|Ticker|Date first added|GICS® Sector|GICS Sub Industry"
_NEW_CHANGE_HEADERS = "Effective date|Reason|Removed ticker|Removed company|Added ticker|Added name"


def page(
    members: Sequence[Member], changes: Sequence[Change] = (), *, redesigned: bool = False
) -> str:
    """The page of today, or one with columns renamed and moved, and the members in two tables."""
    head, rows, told = HEADERS, [member.row for member in members], [c.row for c in changes]
    above = _CHANGE_HEADERS
    if redesigned:
        head, above = _NEW_HEADERS, _row(_NEW_CHANGE_HEADERS.split("|"), "th")
        rows = [tuple(row[at] for at in (6, 1, 0, 5, 2, 3)) for row in rows]
        told = [tuple(row[at] for at in (0, 5, 3, 4, 1, 2)) for row in told]
    parts = [rows[: len(rows) // 2], rows[len(rows) // 2 :]] if redesigned else [rows]
    tables = [[_row(head.split("|"), "th"), *map(_row, part)] for part in parts]
    tables.append([above, *map(_row, told)])
    body = "".join(f"<table>{''.join(table)}</table>" for table in tables)
    return (
        "<!DOCTYPE html>\n<html><head><title>List of S&amp;P 500 companies - Wikipedia</title>"
        f"</head><body>{body}</body></html>"
    )


@dataclass(frozen=True)
class Reply:
    """An answer on its way; ``cut`` breaks the connection half-way through the body."""

    status: int
    body: bytes
    content_type: str = _HTML
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: bool = False
    hold_seconds: float = 0.0


Misbehaviour = Callable[[Reply], Reply]


def status(code: int, retry_after: str = "") -> Misbehaviour:
    headers = {"Retry-After": retry_after} if retry_after else {}
    return lambda _: Reply(code, b"<html><body>Wikimedia Error</body></html>", headers=headers)


def says(body: bytes, content_type: str = _HTML) -> Misbehaviour:
    """Something else altogether, such as ``PORTAL``."""
    return lambda _: Reply(200, body, content_type)


def leads_to(address: str) -> Misbehaviour:
    return lambda _: Reply(302, b"", headers={"Location": address})


def without(text: bytes) -> Misbehaviour:
    """Such as without ``</html>``, or without a header."""
    return lambda reply: replace(reply, body=reply.body.replace(text, b""))


def cut_short(reply: Reply) -> Reply:
    return replace(reply, cut=True)


def half_a_page(reply: Reply) -> Reply:
    """Complete by its own length: a cache that kept half of it."""
    return replace(reply, body=reply.body[: len(reply.body) // 2])


def slow(seconds: float) -> Misbehaviour:
    return lambda reply: replace(reply, hold_seconds=seconds)


@dataclass(frozen=True)
class Asked:
    user_agent: str
    status: int


class WikipediaStandIn:
    """Serves ``membership`` as of ``clock`` on 127.0.0.1 while it is entered.

    ``redesigned`` and ``membership`` may be changed meanwhile.
    """

    def __init__(
        self, membership: Membership, clock: Callable[[], dt.datetime], *, port: int = 0
    ) -> None:
        self.membership, self.clock, self.redesigned = membership, clock, False
        self.requests: list[Asked] = []
        self._orders: list[tuple[Misbehaviour, float]] = []
        self._released = threading.Event()
        handler = type("Handler", (_Handler,), {"standin": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", port), handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}{PATH}"

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._released.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def order(self, misbehave: Misbehaviour, *, times: float = 1) -> None:
        """For the next so many requests; ``math.inf``: for ever."""
        self._orders.append((misbehave, times))

    def relent(self) -> None:
        self._orders.clear()

    def answer(self, path: str, user_agent: str) -> Reply:
        reply = self._truth(user_agent) if path == PATH else status(404)(Reply(404, b""))
        if self._orders:
            misbehave, times = self._orders.pop(0)
            reply = misbehave(reply)
            if times > 1:
                self._orders.insert(0, (misbehave, times - 1))
        self.requests.append(Asked(user_agent, reply.status))
        return reply

    def hold(self, seconds: float) -> None:
        self._released.wait(seconds)

    def _truth(self, user_agent: str) -> Reply:
        if not ("/" in user_agent and "(" in user_agent) or user_agent.startswith("Mozilla"):
            return Reply(403, b"Please set a user-agent and respect our robot policy", "text/plain")
        day = self.clock().date()
        members, changes = self.membership.members_on(day), self.membership.changes_on(day)
        return Reply(200, page(members, changes, redesigned=self.redesigned).encode())


class _Handler(BaseHTTPRequestHandler):
    standin: WikipediaStandIn

    def do_GET(self) -> None:
        reply = self.standin.answer(self.path, self.headers.get("User-Agent", ""))
        self.standin.hold(reply.hold_seconds)
        self.send_response(reply.status)
        about = {"Content-Type": reply.content_type, "Content-Length": str(len(reply.body))}
        for name, value in (about | dict(reply.headers)).items():
            self.send_header(name, value)
        with suppress(OSError):  # the client gave up
            self.end_headers()
            self.wfile.write(reply.body[: len(reply.body) // 2 if reply.cut else None])

    def log_message(self, *_: object) -> None:
        """Nothing: ``WikipediaStandIn.requests`` is the log."""


def main() -> None:
    parser = argparse.ArgumentParser(description="A stand-in for Wikipedia's page of the S&P 500.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--members", type=int, default=503)
    parser.add_argument("--redesigned", action="store_true")
    asked = parser.parse_args()
    stopped = threading.Event()
    for ending in (signal.SIGTERM, signal.SIGINT):
        signal.signal(ending, lambda *_: stopped.set())
    with WikipediaStandIn(invented(asked.members), utc_now, port=asked.port) as standin:
        standin.redesigned = asked.redesigned
        print(standin.url, flush=True)
        stopped.wait()


if __name__ == "__main__":
    main()
