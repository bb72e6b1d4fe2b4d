"""Index membership from CSV lists, local or at a URL: today's constituents, or dated intervals.

The lists go by many column names; tables are recognised by their headers. Whether to believe a list
is decided in ``universe.py``.
"""

from __future__ import annotations

import csv
import datetime as dt
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import requests

from quant_assets.identity import InvalidSymbolError, canonical_symbol
from quant_assets.settings import masked_addresses
from quant_assets.sources.contract import (
    BadAnswer,
    Constituent,
    MembershipInterval,
    SourceUnavailable,
    UniverseAnswer,
)

USER_AGENT = "quant_assets/0.1 (research database; python-requests)"
TIMEOUT_SECONDS = 30.0

_SYMBOL = ("symbol", "ticker")
_NAME = ("security", "name", "company")
_SECTOR = ("gics sector", "sector")
_INDUSTRY = ("gics sub-industry", "gics sub industry", "industry")
_ADDED = ("date added", "date first added")
_START = ("start_date", "effective_on", "from")
_END = ("end_date", "removed_on", "to")


@dataclass(frozen=True)
class MembershipLists:
    """Lists at ``locations``: paths or URLs of constituents, of intervals, or of both."""

    locations: tuple[str, ...]
    session: requests.Session | None = None

    def fetch_universe(self) -> UniverseAnswer:
        """Read every list. Raises SourceUnavailable and BadAnswer."""
        constituents: list[Constituent] = []
        intervals: list[MembershipInterval] = []
        notices: list[str] = []
        for location in self.locations:
            rows = self._rows(location)
            shown = masked_addresses(location)
            if _column(rows[0], _START):
                stays, bad = _intervals(rows, shown)
                intervals += stays
            else:
                listed, bad = _constituents(rows, shown)
                constituents += listed
            if len(bad) == len(rows):
                raise BadAnswer("list", f"{shown} holds no row that can be used: {bad[0]}")
            notices += bad
        return UniverseAnswer(
            source=f"list:{', '.join(_file_name(location) for location in self.locations)}",
            constituents=tuple(constituents),
            intervals=tuple(intervals),
            notices=tuple(notices),
        )

    def _rows(self, location: str) -> list[dict[str, str]]:
        shown = masked_addresses(location)
        try:
            # A list served without a charset is UTF-8 all the same, where HTTP would say Latin-1.
            text = self._bytes(location).decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise BadAnswer("list", f"{shown} is not UTF-8: {error}.") from error
        if text.lstrip().startswith("<"):
            raise BadAnswer("list", f"{shown} is HTML, not CSV.")
        try:
            rows = [
                {
                    (name or "").strip().lower(): (value or "").strip()
                    for name, value in row.items()
                    if isinstance(value, str | None)
                }
                for row in csv.DictReader(io.StringIO(text, newline=""))
            ]
        except csv.Error as error:
            raise BadAnswer("list", f"{shown} is not CSV: {error}.") from error
        if not rows:
            raise BadAnswer("list", f"{shown} holds no rows.")
        if not _column(rows[0], _SYMBOL):
            raise BadAnswer(
                "list",
                f"{shown} has no column {' or '.join(_SYMBOL)}; it has {', '.join(rows[0])}.",
            )
        return rows

    def _bytes(self, location: str) -> bytes:
        if "://" not in location:
            try:
                return Path(location).read_bytes()
            except OSError as error:
                raise SourceUnavailable(
                    "list", f"{location} can't be read: {error.strerror}."
                ) from error
        try:
            answer = (self.session or requests).get(
                location, headers={"User-Agent": USER_AGENT}, timeout=TIMEOUT_SECONDS
            )
            answer.raise_for_status()
        except requests.RequestException as error:
            # Not chained: the error below this one quotes the address with its secrets.
            shown, reason = masked_addresses(location), masked_addresses(str(error))
            raise SourceUnavailable("list", f"{shown} can't be fetched: {reason}.") from None
        return answer.content


def _file_name(location: str) -> str:
    return (urlsplit(location).path if "://" in location else location).rsplit("/", 1)[-1]


def _column(row: Mapping[str, str], names: Sequence[str]) -> str | None:
    return next((name for name in names if name in row), None)


def _value(row: Mapping[str, str], names: Sequence[str]) -> str | None:
    name = _column(row, names)
    return (row[name] or None) if name else None


def _date(text: str | None) -> dt.date | None:
    try:
        return dt.date.fromisoformat(text[:10]) if text else None
    except ValueError:
        return None


def _constituents(
    rows: Sequence[Mapping[str, str]], location: str
) -> tuple[list[Constituent], list[str]]:
    found: list[Constituent] = []
    notices: list[str] = []
    for row in rows:
        try:
            symbol = canonical_symbol(_value(row, _SYMBOL) or "")
        except InvalidSymbolError as error:
            notices.append(f"{location}: {error}")
            continue
        found.append(
            Constituent(
                symbol=symbol,
                name=_value(row, _NAME),
                sector=_value(row, _SECTOR),
                industry=_value(row, _INDUSTRY),
                cik=_value(row, ("cik",)),
                added_on=_date(_value(row, _ADDED)),
            )
        )
    return found, notices


def _intervals(
    rows: Sequence[Mapping[str, str]], location: str
) -> tuple[list[MembershipInterval], list[str]]:
    found: list[MembershipInterval] = []
    notices: list[str] = []
    for row in rows:
        said = _value(row, _END)
        start, end = _date(_value(row, _START)), _date(said)
        try:
            symbol = canonical_symbol(_value(row, _SYMBOL) or "")
        except InvalidSymbolError as error:
            notices.append(f"{location}: {error}")
            continue
        # An end that can't be read must not pass for a stay that lasts.
        if start is None or (said and end is None) or (end is not None and end <= start):
            notices.append(f"{location}: {symbol} from {_value(row, _START)} to {said} is no stay.")
            continue
        found.append(MembershipInterval(symbol, start, end))
    return found, notices
