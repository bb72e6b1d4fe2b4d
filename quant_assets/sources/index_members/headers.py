"""Rows of text read as members of an index: the meaning of headers, symbols and dates.

The rows come from CSV and JSON (``rows.py``) and HTML (``html.py``). Which lists are refused is
decided in ``membership/refusals.py``.
"""

from __future__ import annotations

import datetime as dt
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
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
TWICE = "left out, listed twice"
NO_DATE = "whose date added can't be read"

_FOOTNOTE = re.compile(r"\[[^\[\]]{1,12}\]")
_BETWEEN_WORDS = re.compile(r"[\s_\-\u2010-\u2013\u200b®™]+")
_AFTER_EXCHANGE = re.compile(r"(?:NYSE|NASDAQ|CBOE|BATS)[\w ]{0,10}:\s*(.+)", re.IGNORECASE)
_WITH_FORMER = re.compile(r"(\S+)\s*\((?:previously|formerly|was)\b:?\s*([^()]+)\)", re.IGNORECASE)
_SEVERAL = re.compile(r"\s*[/,;&]\s*")
_ENDING = re.compile(r"[^A-Za-z0-9^$()]+[A-Za-z]{0,6}$")
_BEGINNING = re.compile(r"^(?:[A-Za-z]{2,8}\s*:\s*|[^A-Za-z0-9(]+)")
_ISO_DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)(?!\d)")
_YEAR_FIRST = re.compile(r"(\d{4})[/.](\d{1,2})[/.](\d{1,2})(?!\d)")
_NUMBERS = re.compile(r"(\d{1,2})([/.-])(\d{1,2})\2(\d{4}|\d\d)(?!\d)")
_MONTH_FIRST = re.compile(r"([A-Za-z]{3})[a-z]*\.?\s+(\d{1,2}),?\s+(\d{4})(?!\d)")
_DAY_FIRST = re.compile(r"(\d{1,2})[\s-]+([A-Za-z]{3})[a-z]*\.?,?[\s-]+(\d{4})(?!\d)")
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


def read_date(text: str | None, *, day_first: bool | None = None) -> dt.date | None:
    """The date a text begins with, as ``2024-10-01``, ``July 21, 2021`` or ``21 July 2021``; where
    it is known whether the day comes first, as ``7/21/2021`` too.

    A second date in brackets is of an earlier membership, and is left out. Two-digit years are
    read as spreadsheets do: 30 to 99 are of the last century.
    """
    date = plain(text or "")
    if found := _ISO_DATE.match(date) or _YEAR_FIRST.match(date):
        year, month, day = found.groups()
    elif day_first is not None and (found := _NUMBERS.match(date)):
        one, _, other, year = found.groups()
        day, month = (one, other) if day_first else (other, one)
        year = year if len(year) == 4 else f"{19 + (int(year) < 30)}{year}"
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


def date_reader(texts: Iterable[str | None]) -> Callable[[str | None], dt.date | None]:
    """How the dates of one column are read: a spreadsheet turns 1957-03-04 into 3/4/1957 or
    4/3/1957, and only several cells of the column tell which.
    """
    found = [m for text in texts if (m := _NUMBERS.match(plain(text or "")))]
    days_first = sum(int(m[1]) > 12 for m in found)
    months_first = sum(int(m[3]) > 12 for m in found)
    unclear = abs(days_first - months_first) < 2
    day_first = None if unclear else days_first > months_first
    return lambda text: read_date(text, day_first=day_first)


def spelling(texts: Iterable[str]) -> Callable[[str], str]:
    """What a list adds to all its symbols, such as ``.US`` or ``NYSE:``, taken off a text: one
    spelling for all is the list's dialect, and renames nobody.
    """
    symbols = [plain(text) for text in texts if text.strip()]
    affixes: list[tuple[re.Pattern[str], frozenset[str]]] = []
    for pattern in (_ENDING, _ENDING, _ENDING, _BEGINNING):
        ends = Counter(m[0] for symbol in symbols if (m := pattern.search(symbol)))
        common = frozenset(
            end
            for end, count in ends.items()
            if count >= max(3, len(symbols) / 20) and end.upper() not in _CURRENCIES
        )
        if 2 * sum(ends[end] for end in common) > len(symbols):
            affixes.append((pattern, common))
            symbols = [_without(symbol, pattern, common) for symbol in symbols]

    def spelt(text: str) -> str:
        symbol = plain(text)
        for pattern, common in affixes:
            symbol = _without(symbol, pattern, common)
        return symbol

    return spelt


_CURRENCIES = ("-USD", "-EUR", "-GBP", "-USDT", "-BTC")


def _without(symbol: str, pattern: re.Pattern[str], affixes: frozenset[str]) -> str:
    found = pattern.search(symbol)
    return pattern.sub("", symbol) if found and found[0] in affixes else symbol


def read_symbol(text: str) -> tuple[str, str | None]:
    """A ticker, and the previous one where the text has it: ``RVTY (Previously PKI)``.

    Raises InvalidSymbolError.
    """
    symbol = plain(text)
    if former := _WITH_FORMER.fullmatch(symbol):
        return canonical_symbol(former[1]), canonical_symbol(former[2])
    listed = _AFTER_EXCHANGE.fullmatch(symbol)
    return canonical_symbol(listed[1] if listed else symbol), None


def read_symbols_of_cell(text: str) -> tuple[str, ...]:
    """The tickers of a cell that may name several share classes: ``UA/UAA``.

    Raises InvalidSymbolError.
    """
    try:
        return (read_symbol(text)[0],)
    except InvalidSymbolError:
        parts = _SEVERAL.split(plain(text))
        if len(parts) == 1:
            raise
        return tuple(read_symbol(part)[0] for part in parts)


def read_members(
    rows: Sequence[Row], where: str, source: str
) -> tuple[tuple[Constituent, ...], tuple[Constituent, ...], list[str]]:
    """The members among ``rows``, each once; the rows without a symbol of their own, which name and
    SEC number may tell; and sentences on what can't be read.

    A row without a symbol has the letters of its cell as ``previous_symbol``. Raises BadAnswer
    where most rows have no symbol: that column then has another meaning.
    """
    found: dict[str, Constituent] = {}
    unread: list[Constituent] = []
    problems = RowProblems()
    spelt = spelling(value(row, SYMBOL) or "" for row in rows)
    date = date_reader(value(row, ADDED) for row in rows)
    for row in rows:
        text = value(row, SYMBOL) or ""
        previous: str | None
        try:
            symbol, previous = read_symbol(spelt(text))
        except InvalidSymbolError:
            texts = chain([text], row.values())
            problems.add(NO_SYMBOL, repr(next(filter(None, texts), "")))
            symbol, previous = "", re.sub(r"[^A-Z0-9./]", "", text.upper())
        if symbol in found:
            problems.add(TWICE, symbol)
            symbol, previous = "", symbol
        cik = "".join(filter(str.isdecimal, value(row, CIK) or ""))
        written = value(row, ADDED) or ""
        added_on = date(written)
        if added_on is None and len(re.findall(r"\d+", written)) > 1:
            problems.add(NO_DATE, repr(written))
        line = Constituent(
            symbol=symbol,
            name=name_in(row, NAME),
            sector=name_in(row, SECTOR),
            industry=name_in(row, INDUSTRY),
            cik=cik or None,
            added_on=added_on,
            previous_symbol=previous or None,
        )
        if symbol:
            found[symbol] = line
        else:
            unread.append(line)
    notices = problems.sentences(where)
    if 2 * problems.count(NO_SYMBOL) > len(rows):
        raise BadAnswer(source, f"Most rows hold no symbol. {notices[0]}")
    return tuple(found.values()), tuple(unread), notices
