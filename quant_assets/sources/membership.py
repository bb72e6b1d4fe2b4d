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

import requests

from quant_assets.identity import InvalidSymbolError, canonical_symbol
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
            header = rows[0]
            if _column(header, _START):
                found, bad = _intervals(rows, location)
                intervals += found
            else:
                listed, bad = _constituents(rows, location)
                constituents += listed
            notices += bad
        name = ", ".join(location.rsplit("/", 1)[-1] for location in self.locations)
        return UniverseAnswer(
            source=f"list:{name}",
            constituents=tuple(constituents),
            intervals=tuple(intervals),
            notices=tuple(notices),
        )

    def _rows(self, location: str) -> list[dict[str, str]]:
        text = self._text(location)
        if text.lstrip().startswith("<"):
            raise BadAnswer("list", f"{location} is HTML, not CSV.")
        reader = csv.DictReader(io.StringIO(text))
        rows = [
            {
                (name or "").strip().lower(): (value or "").strip()
                for name, value in row.items()
                if isinstance(value, str | None)
            }
            for row in reader
        ]
        if not rows:
            raise BadAnswer("list", f"{location} holds no rows.")
        if not _column(rows[0], _SYMBOL):
            raise BadAnswer(
                "list",
                f"{location} has no column {' or '.join(_SYMBOL)}; it has {', '.join(rows[0])}.",
            )
        return rows

    def _text(self, location: str) -> str:
        if "://" not in location:
            try:
                return Path(location).read_text("utf-8-sig")
            except (OSError, UnicodeDecodeError) as error:
                raise SourceUnavailable("list", f"{location} can't be read: {error}.") from error
        try:
            answer = (self.session or requests).get(
                location, headers={"User-Agent": USER_AGENT}, timeout=TIMEOUT_SECONDS
            )
            answer.raise_for_status()
        except requests.RequestException as error:
            raise SourceUnavailable("list", f"{location} can't be fetched: {error}.") from error
        return answer.text


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
        start, end = _date(_value(row, _START)), _date(_value(row, _END))
        try:
            symbol = canonical_symbol(_value(row, _SYMBOL) or "")
        except InvalidSymbolError as error:
            notices.append(f"{location}: {error}")
            continue
        if start is None or (end is not None and end <= start):
            notices.append(f"{location}: {symbol} from {start} to {end} is no interval.")
            continue
        found.append(MembershipInterval(symbol, start, end))
    return found, notices
