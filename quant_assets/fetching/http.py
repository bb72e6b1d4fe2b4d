"""The bytes at a path or an address, and what a failed request means. No content is read here.

An address may hold secrets, so no error quotes it unmasked.
"""

from __future__ import annotations

import datetime as dt
import gzip
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING

from quant_assets.contracts.source import BadAnswer, RateLimited, SourceUnavailable
from quant_assets.fetching.pace import Fault
from quant_assets.settings.secrets import masked_addresses

if TYPE_CHECKING:
    from requests import HTTPError, RequestException, Session

TIMEOUT_SECONDS = 30.0
_GZIP = b"\x1f\x8b"
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
        body = Path(path).read_bytes()
    except OSError as error:
        raise SourceUnavailable(source, f"{path} can't be read: {error.strerror}.") from error
    try:
        return gzip.decompress(body) if body.startswith(_GZIP) else body
    except (OSError, EOFError, zlib.error) as error:
        raise BadAnswer(source, f"{path} can't be unpacked: {error}.") from error


def fetch(
    address: str,
    source: str,
    *,
    headers: Mapping[str, str],
    session: Session | None = None,
    timeout_seconds: float = TIMEOUT_SECONDS,
) -> Response:
    """One GET. Raises SourceUnavailable, Refused (a status below 500), RateLimited, BadAnswer."""
    import requests  # noqa: PLC0415 - it takes 0.3 s, and most commands fetch nothing

    shown = masked_addresses(address)
    # Errors are not chained: those below quote the address with its secrets.
    try:
        response = (session or requests).get(
            address, headers=dict(headers), timeout=timeout_seconds
        )
        response.raise_for_status()
    except requests.HTTPError as error:
        raise _refusal(error, source, shown) from None
    except (
        requests.exceptions.ChunkedEncodingError,
        requests.exceptions.ContentDecodingError,
    ) as error:
        raise BadAnswer(source, f"{shown} was cut off: {masked_addresses(str(error))}.") from None
    except requests.Timeout:
        message = f"{shown} can't be fetched: no answer within {timeout_seconds:g} s."
        raise SourceUnavailable(source, message) from None
    except requests.RequestException as error:
        raise SourceUnavailable(source, _message(shown, error)) from None
    return Response(response.content, response.headers.get("Content-Type", ""), response.url)


def _refusal(error: HTTPError, source: str, shown: str) -> SourceUnavailable | RateLimited:
    response = error.response
    if response.status_code == 429:
        return RateLimited(source, retry_after_seconds(response.headers))
    if response.status_code < 500:
        return Refused(source, _message(shown, error), response.status_code)
    return SourceUnavailable(source, _message(shown, error))


def _message(shown: str, error: RequestException) -> str:
    message = masked_addresses(str(error))
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
    if isinstance(error, BadAnswer | SourceUnavailable) and not isinstance(error, Refused):
        return Fault("transient")
    return None
