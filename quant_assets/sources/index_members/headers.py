"""Rows of text read as members of an index: the meaning of headers, symbols and dates.

The rows come from CSV and JSON (``rows.py``) and HTML (``html.py``). Which lists are refused is
decided in ``membership/refusals.py``.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from itertools import chain

from quant_assets.contracts.membership import Constituent
from quant_assets.contracts.source import BadAnswer
from quant_assets.reference.identity import InvalidSymbolError, canonical_symbol
from quant_assets.reference.texts import LONGEST_NOTE, plain_text

SYMBOL = ("symbol", "ticker", "ticker symbol", "stock symbol")
NAME = ("security", "name", "company", "company name")
SECTOR = ("gics sector", "sector")
INDUSTRY = ("gics sub industry", "sub industry", "industry")
ADDED = ("date added", "date first added", "added on")
CIK = ("cik",)

NO_SYMBOL = "left out, without a usable symbol"
NO_DATE = "read without the day added, which can't be read"
TWICE = "left out, listed twice"

_FOOTNOTE = re.compile(r"\[[^\[\]]{1,12}\]")
_BETWEEN_WORDS = re.compile(r"[\s_\-\u2010-\u2013\u200b®™]+")
_AFTER_EXCHANGE = re.compile(r"(?:NYSE|NASDAQ|CBOE|BATS)[\w ]{0,10}:\s*(.+)", re.IGNORECASE)
_WITH_FORMER = re.compile(r"(\S+)\s*\((?:previously|formerly|was)\b:?\s*([^()]+)\)", re.IGNORECASE)
_ISO_DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)(?!\d)")
_MONTH_FIRST = re.compile(r"([A-Za-z]{3})[a-z]*\.?\s+(\d{1,2}),?\s+(\d{4})(?!\d)")
_DAY_FIRST = re.compile(r"(\d{1,2})\s+([A-Za-z]{3})[a-z]*\.?,?\s+(\d{4})(?!\d)")
_LIKE_A_DAY = re.compile(r"\d\D+\d")
"""Two numbers or more; a year alone names no day, and hides none."""
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")

Row = Mapping[str, str]
"""Texts by header, each header as ``header_key`` gives it."""


class RowProblems:
    """The unusable rows of one list: a sentence for each kind, with a count and an example."""

    def __init__(self) -> None:
        self._examples: dict[str, list[str]] = {}

    def add(self, kind: str, example: str) -> None:
        self._examples.setdefault(kind, []).append(example)

    def count(self, kind: str) -> int:
        return len(self._examples.get(kind, ()))

    def sentences(self, where: str) -> list[str]:
        return [
            f"{where}: {len(examples)} row{'s'[: len(examples) > 1]} {kind}, such as {examples[0]}."
            for kind, examples in self._examples.items()
        ]


def plain(text: str) -> str:
    """A text fit to store, without footnote marks, its white space single."""
    return plain_text(_FOOTNOTE.sub("", text), LONGEST_NOTE)


def header_key(text: str) -> str:
    """The form in which headers are compared: ``GICS_Sub-Industry[a]`` is ``gics sub industry``."""
    return _BETWEEN_WORDS.sub(" ", _FOOTNOTE.sub("", text)).strip().casefold()


def column(row: Row, names: Sequence[str]) -> str | None:
    """The first of ``names`` that the row has."""
    return next((name for name in names if name in row), None)


def value(row: Row, names: Sequence[str]) -> str | None:
    """The text under the first of ``names`` that the row has; None where it is blank."""
    name = column(row, names)
    return (row[name] or None) if name else None


def name_in(row: Row, names: Sequence[str]) -> str | None:
    """The name of a company, a sector or an industry under the first of ``names``."""
    return plain_text(value(row, names) or "") or None


def read_date(text: str | None) -> dt.date | None:
    """The date a text begins with, as ``2024-10-01``, ``July 21, 2021`` or ``21 July 2021``.

    A second date in brackets is of an earlier membership, and is left out.
    """
    date = plain(text or "")
    if found := _ISO_DATE.match(date):
        year, month, day = found.groups()
    elif found := _MONTH_FIRST.match(date):
        month, day, year = found.groups()
    elif found := _DAY_FIRST.match(date):
        day, month, year = found.groups()
    else:
        return None
    try:
        number = int(month) if month.isdecimal() else _MONTHS.index(month.lower()) + 1
        return dt.date(int(year), number, int(day))
    except ValueError:
        return None


def read_symbol(text: str) -> tuple[str, str | None]:
    """A ticker, and the previous one where the text has it: ``RVTY (Previously PKI)``.

    Raises InvalidSymbolError.
    """
    symbol = plain(text)
    if former := _WITH_FORMER.fullmatch(symbol):
        return canonical_symbol(former[1]), canonical_symbol(former[2])
    listed = _AFTER_EXCHANGE.fullmatch(symbol)
    return canonical_symbol(listed[1] if listed else symbol), None


def read_members(
    rows: Sequence[Row], where: str, source: str
) -> tuple[tuple[Constituent, ...], list[str]]:
    """The members among ``rows``, each once, and sentences on the rows left out.

    Raises BadAnswer where most rows have no symbol: that column then has another meaning.
    """
    found: dict[str, Constituent] = {}
    problems = RowProblems()
    for row in rows:
        text = value(row, SYMBOL) or ""
        try:
            symbol, previous = read_symbol(text)
        except InvalidSymbolError:
            texts = chain([text], row.values())
            problems.add(NO_SYMBOL, repr(next(filter(None, texts), "")))
            continue
        if symbol in found:
            problems.add(TWICE, symbol)
            continue
        added = value(row, ADDED)
        added_on = read_date(added)
        if added and added_on is None and _LIKE_A_DAY.search(added):
            problems.add(NO_DATE, repr(added))
        cik = "".join(filter(str.isdecimal, value(row, CIK) or ""))
        found[symbol] = Constituent(
            symbol=symbol,
            name=name_in(row, NAME),
            sector=name_in(row, SECTOR),
            industry=name_in(row, INDUSTRY),
            cik=cik or None,
            added_on=added_on,
            previous_symbol=previous,
        )
    notices = problems.sentences(where)
    if 2 * problems.count(NO_SYMBOL) > len(rows):
        raise BadAnswer(source, f"Most rows hold no symbol. {notices[0]}")
    return tuple(found.values()), notices
