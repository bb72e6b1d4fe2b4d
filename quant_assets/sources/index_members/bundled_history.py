"""The members of the index since 2004-12-30, from the data of the installed library pitindex.

The library has the members of a first day and the tickers that joined and left since. Where a
ticker changed, it has one leaving and another joining: whether that is one company is decided by
``reference/identities.csv``, as for any history. Today's list of the library: ``bundled``.
"""

from __future__ import annotations

import csv
import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from quant_assets.contracts.membership import Constituent, MembershipInterval, UniverseAnswer
from quant_assets.contracts.source import BadAnswer
from quant_assets.fetching.http import read_path
from quant_assets.reference.identity import InvalidSymbolError
from quant_assets.reference.index_removals import LOOKED_UP
from quant_assets.sources.index_members.bundled import LIBRARY, SOURCE, BundledList, installed_data
from quant_assets.sources.index_members.headers import Row, read_date, read_symbol
from quant_assets.sources.index_members.rows import read_rows

_FIRST, _CHANGES = "sp500_seed.csv", "sp500_changes.csv"


@dataclass(frozen=True)
class BundledHistory:
    """The library's memberships, and those it lacks that somebody looked up."""

    data: Callable[[], Path] = installed_data

    def fetch_universe(self) -> UniverseAnswer:
        """No request. Raises SourceUnavailable and BadAnswer."""
        today = {line.symbol: line for line in BundledList(self.data).read_list()[0]}
        intervals = _intervals(self._rows(_FIRST), self._rows(_CHANGES), today)
        return UniverseAnswer(f"{SOURCE}:{LIBRARY}", intervals=(*intervals, *_looked_up()))

    def _rows(self, name: str) -> list[Row]:
        return read_rows(read_path(str(self.data() / name), SOURCE), f"{name} of {LIBRARY}", SOURCE)


def _intervals(
    first: Sequence[Row], changes: Sequence[Row], today: Mapping[str, Constituent]
) -> Iterator[MembershipInterval]:
    """Each ticker from the day it joined until the day it left. Raises BadAnswer for a leaving of
    what was no member, since such a history is broken.
    """
    since = {_symbol(row): _day(row, _FIRST, "effective date") for row in first}
    # One ticker may leave and come back on a day.
    for row in sorted(changes, key=lambda row: (row.get("date", ""), row.get("action") == "added")):
        symbol, day = _symbol(row), _day(row, _CHANGES, "date")
        if row.get("action") == "added":
            since.setdefault(symbol, day)
            continue
        joined = since.pop(symbol, None)
        if joined is None:
            raise BadAnswer(SOURCE, f"{_CHANGES} of {LIBRARY}: {symbol} leaves and never joined.")
        if joined < day:
            company = Constituent(symbol, name) if (name := row.get("name")) else None
            yield MembershipInterval(symbol, joined, day, company=company)
    for symbol, joined in since.items():
        yield MembershipInterval(symbol, joined, None, company=today.get(symbol))


def _symbol(row: Row) -> str:
    try:
        return read_symbol(row.get("ticker", ""))[0]
    except InvalidSymbolError as error:
        raise BadAnswer(SOURCE, f"The history of {LIBRARY} has no symbol: {error}") from error


def _day(row: Row, name: str, column: str) -> dt.date:
    day = read_date(row.get(column))
    if day is None:
        raise BadAnswer(SOURCE, f"{name} of {LIBRARY} has no readable {column}: {row}.")
    return day


def _looked_up() -> Iterator[MembershipInterval]:
    text = resources.files("quant_assets").joinpath("reference/memberships.csv").read_text("utf-8")
    for row in csv.DictReader(text.splitlines()):
        yield MembershipInterval(
            row["symbol"],
            dt.date.fromisoformat(row["effective_on"]),
            dt.date.fromisoformat(row["removed_on"]),
            slug=row["security"],
            source=LOOKED_UP,
        )
