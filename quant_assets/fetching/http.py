"""The bytes at a path or an address, and what a failed request means. No content is read here.

An address may hold secrets, so no error quotes it unmasked.
"""

from __future__ import annotations

import datetime as dt
import re
import threading
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING

from quant_assets.contracts.source import BadAnswer, RateLimited, SourceUnavailable
from quant_assets.fetching.bounds import (
    LARGEST_BODY,
    MOST_HOPS,
    TOTAL_SECONDS,
    Body,
    UnwantedAnswerError,
    next_hop,
    pieces_of,
    too_large,
    too_many_hops,
    unpacked,
    within,
)
from quant_assets.fetching.pace import Fault, Paced, T
from quant_assets.reference.secrets import masked

if TYPE_CHECKING:
    import requests
    from requests import HTTPError, RequestException, Session

TIMEOUT_SECONDS = 30.0
BETWEEN_HOPS = 1.0
"""Seconds before a redirect is followed where nothing else paces the requests."""

_SYSTEM_MESSAGE = re.compile(r"\[Errno -?\d+\] ([^'\")]+)")


class Refused(SourceUnavailable):
    """The server answered with a status from 400 to 499; the same request would fail again."""

    def __init__(self, source: str, message: str, status: int) -> None:
        super().__init__(source, message)
        self.status = status


@dataclass(frozen=True)
class Response:
    """The body of a response, its content type, and its address after redirects."""

    body: bytes
    content_type: str
    address: str


def is_address(location: str) -> bool:
    return "://" in location


def read_path(path: str, source: str) -> bytes:
    """The bytes of a file, unpacked where it is gzip. Raises SourceUnavailable and BadAnswer."""
    try:
        with Path(path).open("rb") as file:
            body = file.read(LARGEST_BODY + 1)
    except OSError as error:
        raise SourceUnavailable(source, f"{path} can't be read: {error.strerror}.") from error
    return _unpacked(body, path, source)


def _unpacked(body: bytes, shown: str, source: str) -> bytes:
    try:
        found = unpacked(body)
    except (OSError, EOFError, zlib.error) as error:
        raise BadAnswer(source, f"{shown} can't be unpacked: {error}.") from error
    if len(found) > LARGEST_BODY:
        raise too_large(source, shown)
    return found


def at_once(request: Callable[[], T]) -> T:
    """Makes a request without a pace, for addresses that users name once; only the hops of its
    redirects wait."""
    return request()


def fetch(
    address: str,
    source: str,
    *,
    headers: Mapping[str, str],
    session: Session | None = None,
    timeout_seconds: float = TIMEOUT_SECONDS,
    total_seconds: float = TOTAL_SECONDS,
    paced: Paced = at_once,
    pause: Callable[[float], object] = time.sleep,
) -> Response:
    """A GET, followed within its host, each request made by ``paced``.

    ``timeout_seconds`` is for the next byte, ``total_seconds`` for the whole response. Raises
    SourceUnavailable, Refused (a status below 500), RateLimited, BadAnswer.
    """
    at, shown = address, masked(address)

    def get() -> Response | str:
        try:
            return within(total_seconds, lambda gone: _get(at, source, shown, options, gone))
        except TimeoutError as error:
            raise SourceUnavailable(source, f"{shown} can't be fetched: {error}.") from None

    options = _Options(dict(headers), session, timeout_seconds)
    for _ in range(MOST_HOPS + 1):
        found = paced(get)
        if isinstance(found, Response):
            return found
        at = next_hop(at, found, source, shown).geturl()
        if paced is at_once:
            pause(BETWEEN_HOPS)
    raise too_many_hops(source, shown)


@dataclass(frozen=True)
class _Options:
    headers: dict[str, str]
    session: Session | None
    timeout_seconds: float


def _get(
    address: str, source: str, shown: str, options: _Options, gone: threading.Event
) -> Response | str:
    """One GET: its response, or where it leads; broken off once ``gone`` is set."""
    import requests  # noqa: PLC0415 - it takes 0.3 s, and most commands fetch nothing
    import urllib3  # noqa: PLC0415

    # Errors are not chained: those below quote the address with its secrets.
    try:
        response, body = _received(address, options, gone)
    except requests.HTTPError as error:
        raise _refusal(error, source, shown) from None
    except (requests.Timeout, urllib3.exceptions.ReadTimeoutError):
        message = f"{shown} can't be fetched: no answer within {options.timeout_seconds:g} s."
        raise SourceUnavailable(source, message) from None
    except urllib3.exceptions.HTTPError as error:
        raise BadAnswer(source, f"{shown} was cut off: {masked(str(error))}.") from None
    except requests.RequestException as error:
        raise SourceUnavailable(source, _message(shown, error)) from None
    if response.is_redirect:
        return response.headers["Location"]
    found = _unpacked(body.whole(source, shown), shown, source)
    return Response(found, response.headers.get("Content-Type", ""), response.url)


def _received(
    address: str, options: _Options, gone: threading.Event
) -> tuple[requests.Response, Body]:
    import requests  # noqa: PLC0415

    body = Body()
    response = (options.session or requests).get(
        address,
        headers=options.headers,
        timeout=options.timeout_seconds,
        allow_redirects=False,
        stream=True,
    )
    try:
        response.raise_for_status()
        if not response.is_redirect:
            for piece in pieces_of(response):
                if gone.is_set() or not body.take(piece):
                    break
    finally:
        if response.raw is not None:
            response.close()
    return response, body


def _refusal(error: HTTPError, source: str, shown: str) -> SourceUnavailable | RateLimited:
    response = error.response
    if response.status_code == 429:
        return RateLimited(source, retry_after_seconds(response.headers))
    if response.status_code < 500:
        return Refused(source, _message(shown, error), response.status_code)
    return SourceUnavailable(source, _message(shown, error))


def _message(shown: str, error: RequestException) -> str:
    message = masked(str(error))
    by_system = _SYSTEM_MESSAGE.search(message)  # at the core of several layers of exceptions
    return f"{shown} can't be fetched: {by_system[1] if by_system else message}."


def retry_after_seconds(headers: Mapping[str, str], now: dt.datetime | None = None) -> float | None:
    """The wait in ``Retry-After``, a number of seconds or an HTTP date; None where it is neither.

    A date is compared with ``now`` (aware), else with the server's own clock, its ``Date``.
    """
    value = headers.get("Retry-After", "").strip()
    if value.isdecimal():
        return float(value)
    try:
        until = parsedate_to_datetime(value)
        return max((until - (now or parsedate_to_datetime(headers["Date"]))).total_seconds(), 0.0)
    except (ValueError, TypeError, KeyError):
        return None


def judge(error: Exception) -> Fault | None:
    """What an error means for pacing; None where the same request would bring the same answer."""
    if isinstance(error, RateLimited):
        return Fault("throttled", error.retry_after)
    lasting = isinstance(error, Refused | UnwantedAnswerError)
    if isinstance(error, BadAnswer | SourceUnavailable) and not lasting:
        return Fault("transient")
    return None
