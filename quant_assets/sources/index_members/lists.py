"""Index membership from lists, local or at a URL: constituents, dated intervals, or changes.

A list is CSV, JSON (an array of objects or of symbols), or a page such as Wikipedia's, recognised
by its headers (``headers.py``). Which lists are refused is decided in ``membership/refusals.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from quant_assets.contracts.membership import MembershipChange, MembershipInterval, UniverseAnswer
from quant_assets.contracts.one_subject import only_for
from quant_assets.contracts.source import BadAnswer
from quant_assets.fetching.http import fetch, is_address, read_path
from quant_assets.reference.identity import InvalidSymbolError
from quant_assets.reference.secrets import masked
from quant_assets.sources.index_members.headers import (
    NO_SYMBOL,
    SYMBOL,
    Row,
    RowProblems,
    column,
    date_reader,
    read_members,
    read_symbol,
    spelling,
    value,
)
from quant_assets.sources.index_members.html import as_of_last_edit, read_page
from quant_assets.sources.index_members.rows import check_symbols, read_rows

if TYPE_CHECKING:
    from requests import Session

SOURCE = "list"
USER_AGENT = "quant_assets/0.1 (research database; python-requests)"

_START = ("start date", "effective on", "from")
_END = ("end date", "removed on", "to")
_ON = ("date", "effective date")
_ADDED = ("add", "added", "additions")
_REMOVED = ("remove", "removed", "removals")


@dataclass(frozen=True)
class MembershipLists:
    """Lists at ``locations``: paths or URLs of constituents, of intervals, or of both."""

    locations: tuple[str, ...]
    session: Session | None = None

    def fetch_universe(self) -> UniverseAnswer:
        """Read every list. Raises SourceUnavailable, RateLimited and BadAnswer."""
        answers = []
        for location in self.locations:
            with only_for(SOURCE, masked(location)):
                answers.append(self._read(location))
        days = [answer.listed_on for answer in answers if answer.listed_on]
        return UniverseAnswer(
            source=f"{SOURCE}:{', '.join(_file_name(location) for location in self.locations)}",
            constituents=tuple(each for answer in answers for each in answer.constituents),
            unread=tuple(each for answer in answers for each in answer.unread),
            intervals=tuple(each for answer in answers for each in answer.intervals),
            changes=tuple(each for answer in answers for each in answer.changes),
            listed_on=min(days, default=None),
            notices=tuple(each for answer in answers for each in answer.notices),
        )

    def _read(self, location: str) -> UniverseAnswer:
        body, shown = self._bytes(location), masked(location)
        if body.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"<"):
            page = read_page(body, shown, SOURCE)
            return page if is_address(location) else as_of_last_edit(page, body)
        rows = read_rows(body, shown, SOURCE)
        if not _has_changes(rows[0]):
            check_symbols(rows, shown, SOURCE)
        if column(rows[0], _START):
            return _intervals(rows, shown)
        if _has_changes(rows[0]):
            return _changes(rows, shown)
        constituents, unread, notices = read_members(rows, shown, SOURCE)
        return UniverseAnswer(
            SOURCE, constituents=constituents, unread=unread, notices=tuple(notices)
        )

    def _bytes(self, location: str) -> bytes:
        if not is_address(location):
            return read_path(location, SOURCE)
        return fetch(
            location, SOURCE, headers={"User-Agent": USER_AGENT}, session=self.session
        ).body


def _file_name(location: str) -> str:
    return (urlsplit(location).path if is_address(location) else location).rsplit("/", 1)[-1]


def _has_changes(row: Row) -> bool:
    return all(column(row, names) for names in (_ON, _ADDED, _REMOVED))


def _changes(rows: Sequence[Row], where: str) -> UniverseAnswer:
    """Rows of a day with the symbols added and removed on it, several separated by commas."""
    found: list[MembershipChange] = []
    problems = RowProblems()
    date = date_reader(value(row, _ON) for row in rows)
    cells = (value(row, names) or "" for row in rows for names in (_ADDED, _REMOVED))
    spelt = spelling(text for cell in cells for text in cell.split(","))
    for row in rows:
        on = date(value(row, _ON))
        if on is None:
            problems.add("left out, without a date", repr(value(row, _ON)))
            continue
        for kind, names in (("added", _ADDED), ("removed", _REMOVED)):
            for text in (value(row, names) or "").split(","):
                try:
                    if text.strip():
                        symbol, _ = read_symbol(spelt(text))
                        found.append(MembershipChange(on, **{kind: symbol}))
                except InvalidSymbolError:
                    problems.add(NO_SYMBOL, repr(text))
    notices = problems.sentences(where)
    if not found:
        raise BadAnswer(SOURCE, f"{where} holds no change that can be used.")
    return UniverseAnswer(SOURCE, changes=tuple(found), notices=tuple(notices))


def _intervals(rows: Sequence[Row], where: str) -> UniverseAnswer:
    found: list[MembershipInterval] = []
    problems = RowProblems()
    date = date_reader(value(row, names) for row in rows for names in (_START, _END))
    spelt = spelling(value(row, SYMBOL) or "" for row in rows)
    for row in rows:
        removed_on = value(row, _END)
        start, end = date(value(row, _START)), date(removed_on)
        try:
            symbol, _ = read_symbol(spelt(value(row, SYMBOL) or ""))
        except InvalidSymbolError as error:
            problems.add(NO_SYMBOL, repr(error.text))
            continue
        # An interval whose end can't be read must not pass for a present membership.
        if start is None or (removed_on and end is None) or (end is not None and end <= start):
            interval = f"{symbol} from {value(row, _START)} to {removed_on}"
            problems.add("left out, no interval", interval)
            continue
        found.append(MembershipInterval(symbol, start, end))
    notices = problems.sentences(where)
    if not found:
        raise BadAnswer(SOURCE, f"{where} holds no row that can be used. {notices[0]}")
    return UniverseAnswer(SOURCE, intervals=tuple(found), notices=tuple(notices))
