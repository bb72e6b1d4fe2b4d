"""The bytes at a path or an address, and how getting them fails. What they mean is not known here.

An address may hold secrets, so no error quotes it unmasked.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path

import requests

from quant_assets.contracts.source import BadAnswer, RateLimited, SourceUnavailable
from quant_assets.settings.secrets import masked_addresses

TIMEOUT_SECONDS = 30.0
_GZIP = b"\x1f\x8b"
_OF_SYSTEM = re.compile(r"\[Errno -?\d+\] ([^'\")]+)")


class Refused(SourceUnavailable):
    """The server was reached and says no; asking again at once would change nothing."""

    def __init__(self, source: str, message: str, status: int) -> None:
        super().__init__(source, message)
        self.status = status


@dataclass(frozen=True)
class Fetched:
    """What a server sent, and the address it came from in the end."""

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
    session: requests.Session | None = None,
    timeout_seconds: float = TIMEOUT_SECONDS,
) -> Fetched:
    """One GET. Raises SourceUnavailable, Refused (a status below 500), RateLimited, BadAnswer."""
    shown = masked_addresses(address)
    # Errors are not chained: those below quote the address with its secrets.
    try:
        answer = (session or requests).get(address, headers=dict(headers), timeout=timeout_seconds)
        answer.raise_for_status()
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
        raise SourceUnavailable(source, _complaint(shown, error)) from None
    return Fetched(answer.content, answer.headers.get("Content-Type", ""), answer.url)


def _refusal(error: requests.HTTPError, source: str, shown: str) -> SourceUnavailable | RateLimited:
    answer = error.response
    if answer.status_code == 429:
        return RateLimited(source, _retry_after_seconds(answer.headers))
    if answer.status_code < 500:
        return Refused(source, _complaint(shown, error), answer.status_code)
    return SourceUnavailable(source, _complaint(shown, error))


def _complaint(shown: str, error: requests.RequestException) -> str:
    said = masked_addresses(str(error))
    by_system = _OF_SYSTEM.search(said)  # at the core of several layers of exceptions
    return f"{shown} can't be fetched: {by_system[1] if by_system else said}."


def _retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """From a number of seconds, or from a date by the server's own clock; None for neither."""
    told = headers.get("Retry-After", "").strip()
    if told.isdecimal():
        return float(told)
    try:
        until, now = parsedate_to_datetime(told), parsedate_to_datetime(headers.get("Date", ""))
        return max((until - now).total_seconds(), 0.0)
    except (ValueError, TypeError):
        return None
