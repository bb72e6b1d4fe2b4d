"""The bounds of every answer: its time in all, its bytes, its redirects. No answer is endless."""

from __future__ import annotations

import gzip
import io
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import SplitResult, urljoin, urlsplit

from quant_assets.contracts.source import BadAnswer

if TYPE_CHECKING:
    import requests

LARGEST_BODY = 32 << 20
"""Bytes of a body, unpacked. The largest that is wanted, a market or a page, has five million."""

TOTAL_SECONDS = 120.0
"""Until a response has come whole, however steadily it trickles."""

MOST_HOPS = 5
"""Redirects followed for one address."""

PIECE = 1 << 16
GZIP = b"\x1f\x8b"

T = TypeVar("T")


class UnwantedAnswerError(BadAnswer):
    """An answer that is too large or leads elsewhere; the same request would bring it again."""


class Body:
    """The bytes of an answer as they come; ``take`` returns whether more are wanted."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0

    @property
    def is_too_large(self) -> bool:
        return self._size > LARGEST_BODY

    def take(self, piece: bytes) -> bool:
        self._size += len(piece)
        if self.is_too_large:
            self._pieces.clear()
        else:
            self._pieces.append(piece)
        return not self.is_too_large

    def whole(self, source: str, shown: str) -> bytes:
        """All bytes. Raises UnwantedAnswerError."""
        if self.is_too_large:
            raise too_large(source, shown)
        return b"".join(self._pieces)


def too_large(source: str, shown: str) -> UnwantedAnswerError:
    limit = f"{LARGEST_BODY >> 20} MB"
    return UnwantedAnswerError(source, f"{shown} is larger than {limit}, and was not read.")


def unpacked(body: bytes) -> bytes:
    """A body without its gzip, and at most a byte more than is wanted of it."""
    if not body.startswith(GZIP):
        return body
    with gzip.GzipFile(fileobj=io.BytesIO(body)) as file:
        return file.read(LARGEST_BODY + 1)


def pieces_of(response: requests.Response) -> Iterator[bytes]:
    """The body as it arrives, its content coding undone a piece at a time."""
    if response.raw is None:  # a session of one's own that has the body already
        yield response.content
        return
    while piece := response.raw.read1(PIECE, decode_content=True):
        yield piece


def within(seconds: float, work: Callable[[threading.Event], T]) -> T:
    """What ``work`` returns or raises, if that takes no longer than ``seconds``.

    Raises TimeoutError; ``work`` then goes on alone until it looks at the event it was given. A
    time-out of a socket is none of the whole: it begins anew with each byte, headers included.
    """
    gone = threading.Event()
    found: list[T] = []
    raised: list[BaseException] = []

    def run() -> None:
        try:
            found.append(work(gone))
        except BaseException as error:  # noqa: BLE001 - it is raised again below
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        thread.join(seconds)
    finally:
        gone.set()
    if raised:
        raise raised[0]
    if not found:
        raise TimeoutError(f"no whole answer within {seconds:g} s")
    return found[0]


def next_hop(
    at: str, location: str, source: str, shown: str, allowed: Callable[[str], bool] | None = None
) -> SplitResult:
    """Where a redirect leads. Raises UnwantedAnswerError for a host other than that of ``at``,
    unless it is ``allowed``, and where TLS would be left.
    """
    target, began = urlsplit(urljoin(at, location)), urlsplit(at)
    host = target.hostname or "none"
    known = host == began.hostname or (allowed is not None and allowed(host))
    if not known or target.scheme not in (began.scheme, "https"):
        where = f"another host, {host}" if not known else f"{target.scheme}://{host}"
        message = f"{shown} led to {where}, and was not followed. Give the address that is meant."
        raise UnwantedAnswerError(source, message)
    return target


def too_many_hops(source: str, shown: str) -> UnwantedAnswerError:
    message = f"{shown} leads from address to address, more than {MOST_HOPS} times."
    return UnwantedAnswerError(source, message)
