"""Wikipedia's list of S&P 500 companies as HTML: its members and its table of changes.

Tables are found by their headers alone: editors rename, move and split them, and the two renderers
of the site give them different markup. The page is fetched in ``wikipedia.py``; the meaning of
headers and texts is in ``headers.py``.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import TYPE_CHECKING

from quant_assets.contracts.membership import MembershipChange, Remark, UniverseAnswer
from quant_assets.contracts.source import BadAnswer
from quant_assets.reference.identity import InvalidSymbolError
from quant_assets.sources.index_members.headers import (
    NAME,
    SECTOR,
    SYMBOL,
    Row,
    RowProblems,
    date_reader,
    header_key,
    name_in,
    plain,
    read_date,
    read_members,
    read_symbols_of_cell,
)

if TYPE_CHECKING:
    from lxml.html import HtmlElement

Grid = list[list[str]]

WHAT_TO_DO = (
    "Nothing was changed. Wait for the page to be mended, or give a list: quant-assets universe "
    "import --from FILE."
)

_HEADER_ROWS = 3
"""The headers are among the first rows of a table: a caption, a group such as "Added", a name."""

LONGEST_SPAN = 1000
"""Rows or columns that a cell may span."""

_ADDED, _REMOVED = {"added", "addition", "additions"}, {"removed", "removal", "removals"}
_TICKER, _COMPANY = {"ticker", "symbol"}, {"security", "company", "name"}

_EDITED = re.compile(
    rb'dateModified":"([^"T]+)|dc:modified"\s+content="([^"T]+)|last edited on ([^,<]+)'
)
_HIDDEN = re.compile(r"display\s*:\s*none")


@dataclass(frozen=True)
class _Table:
    """A table's rows below its headers; ``headers`` has a key for each column."""

    headers: tuple[str, ...]
    rows: Grid

    @property
    def has_surplus_headers(self) -> bool:
        """Whether headers have no column below: they include a broken row, which would be lost."""
        width = max(map(len, self.rows), default=len(self.headers))
        return any(self.headers[width:])

    def named(self) -> list[Row]:
        """Rows by header, without headers that are repeated further down."""
        named = (dict(zip(self.headers, row, strict=False)) for row in self.rows)
        return [row for row in named if any(header_key(row[name]) != name for name in row)]


def read_page(body: bytes, where: str, source: str) -> UniverseAnswer:
    """Members and changes; ``where`` names the page in errors. Raises BadAnswer."""
    page = _parsed(body, where, source)
    grids = [_grid(table) for table in page.iter("table")]
    tables = [table for grid in grids if (table := _members_table(grid))]
    if not tables:
        raise BadAnswer(source, _complaint(page, grids, where))
    largest = max(tables, key=lambda table: len(table.rows))
    if largest.has_surplus_headers:
        cells = ", ".join(largest.headers)
        message = f"{where} has a member among the headers of its members: {cells}. {WHAT_TO_DO}"
        raise BadAnswer(source, message)
    alike = [table for table in tables if table.headers == largest.headers]
    constituents, unread, notices = read_members(
        [row for table in alike for row in table.named()], where, source
    )
    if not constituents:
        raise BadAnswer(source, f"{where} has a table of members without a row. {WHAT_TO_DO}")
    if len(alike) > 1:
        notices.append(f"{where}: the members are in {len(alike)} tables, read as one.")
    if len(alike) < len(tables):
        notices.append(f"{where}: {len(tables) - len(alike)} more tables of securities unread.")
    changes, more = _changes(grids, where)
    return UniverseAnswer(
        source,
        constituents=constituents,
        unread=unread,
        changes=changes,
        notices=(*notices, *more),
    )


def as_of_last_edit(answer: UniverseAnswer, body: bytes) -> UniverseAnswer:
    """The answer of a saved page, dated by its last edit where the page has it."""
    return replace(answer, listed_on=edited_on(body))


def edited_on(body: bytes) -> dt.date | None:
    """The day of the last edit, from the markup of either renderer."""
    found = _EDITED.search(body)
    return (
        read_date(next(filter(None, found.groups())).decode("ascii", "replace")) if found else None
    )


def _parsed(body: bytes, where: str, source: str) -> HtmlElement:
    import lxml.etree  # noqa: PLC0415 - most commands read no page
    import lxml.html  # noqa: PLC0415

    lowered = body.lower()
    if b"<" not in body:
        what = "is empty" if not body.strip() else "is no HTML"
        raise BadAnswer(source, f"{where} {what}. {WHAT_TO_DO}")
    ended = b"<html" not in lowered or b"</html" in lowered
    if not ended or lowered.count(b"<table") > lowered.count(b"</table"):
        raise BadAnswer(source, f"{where} is cut off before its end. {WHAT_TO_DO}")
    parser = lxml.html.HTMLParser(encoding="utf-8")
    try:
        return lxml.html.document_fromstring(body, parser=parser)
    except (lxml.etree.ParserError, lxml.etree.XMLSyntaxError) as error:
        raise BadAnswer(source, f"{where} is no HTML: {error}. {WHAT_TO_DO}") from error


def _complaint(page: HtmlElement, grids: Sequence[Grid], where: str) -> str:
    title = plain(page.findtext(".//title") or "")
    found = "; ".join(", ".join(grid[0][:12]) for grid in grids[:5] if grid)
    return (
        f"{where} has no table of members, which has a column Symbol (or Ticker) and a column "
        f"Security or GICS Sector. Its title is {title!r}; "
        f"{f'the headers of its tables are: {found}' if found else 'it has no table'}. {WHAT_TO_DO}"
    )


def _members_table(grid: Grid) -> _Table | None:
    for number, row in enumerate(grid[:_HEADER_ROWS], 1):
        headers = tuple(map(header_key, row))
        # The table of changes has two columns of tickers.
        if sum(name in SYMBOL for name in headers) == 1 and {*NAME, *SECTOR} & {*headers}:
            return _Table(headers, grid[number:])
    return None


def _changes(grids: Sequence[Grid], where: str) -> tuple[tuple[MembershipChange, ...], list[str]]:
    problems = RowProblems()
    for table in filter(None, map(_changes_table, grids)):
        rows = table.named()
        date = date_reader(row["on"] for row in rows)
        read = [change for row in rows for change in _changes_of(row, date(row["on"]), problems)]
        return tuple(read), problems.sentences(where)
    return (), [Remark(f"{where} has no table of changes, with columns Date, Added and Removed.")]


def _changes_table(grid: Grid) -> _Table | None:
    """The table under date, added ticker and removed ticker, its columns renamed to our fields."""
    for number in range(1, min(_HEADER_ROWS, len(grid)) + 1):
        width = max(map(len, grid[:number]))
        above = [[row[at] for row in grid[:number] if at < len(row)] for at in range(width)]
        headers = tuple(_change_field(header_key(" ".join(texts)).split()) for texts in above)
        if {"on", "added", "removed"} <= {*headers}:
            return _Table(headers, grid[number:])
    return None


def _change_field(words: Collection[str]) -> str:
    """The field of MembershipChange that a header of these words means, else empty."""
    present = {*words}
    for field, group in (("added", _ADDED), ("removed", _REMOVED)):
        if present & group:
            return field if present & _TICKER else f"{field}_name" if present & _COMPANY else ""
    return "on" if "date" in present else "reason" if "reason" in present else ""


def _changes_of(row: Row, on: dt.date | None, problems: RowProblems) -> Iterator[MembershipChange]:
    if on is None:
        problems.add("of the changes left out, without a date", repr(" ".join(row.values())))
        return
    added, removed = (_tickers(row.get(side, ""), problems) for side in ("added", "removed"))
    if not (added or removed):
        problems.add("of the changes left out, without a ticker", repr(" ".join(row.values())))
        return
    for joined, left in zip_longest(added, removed):
        yield MembershipChange(
            on,
            joined,
            left,
            name_in(row, ("added_name",)) if joined else None,
            name_in(row, ("removed_name",)) if left else None,
            plain(row.get("reason", "")) or None,
        )


def _tickers(text: str, problems: RowProblems) -> tuple[str, ...]:
    if not any(map(str.isalnum, text)):
        return ()  # blank, or a dash
    try:
        return read_symbols_of_cell(text)
    except InvalidSymbolError:
        problems.add("of the changes read without one of its tickers", repr(text))
        return ()


def _grid(table: HtmlElement) -> Grid:
    """The texts of a table, a cell that spans rows or columns repeated in each."""
    grid: Grid = []
    below: dict[int, tuple[int, str]] = {}  # by column: how many more rows, and their text
    for tr in table.xpath("./tr | ./thead/tr | ./tbody/tr | ./tfoot/tr"):
        row: list[str] = []
        for cell in tr.xpath("./td | ./th"):
            row += _from_above(below, len(row))
            text, rows = plain("".join(_texts(cell))), _span(cell, "rowspan")
            for at in range(len(row), len(row) + _span(cell, "colspan")):
                row.append(text)
                if rows > 1:
                    below[at] = rows - 1, text
        row += _from_above(below, len(row))
        if row:
            grid.append(row)
    return grid


def _from_above(below: dict[int, tuple[int, str]], at: int) -> Iterator[str]:
    """The texts of cells further up that span the columns from ``at`` on."""
    while at in below:
        left, text = below.pop(at)
        if left > 1:
            below[at] = left - 1, text
        yield text
        at += 1


def _span(cell: HtmlElement, name: str) -> int:
    span = cell.get(name, "").strip()
    return min(max(int(span[:4]), 1), LONGEST_SPAN) if span.isdecimal() else 1


def _texts(node: HtmlElement) -> Iterator[str]:
    """The visible texts of a cell: no footnotes, no sort keys."""
    yield node.text or ""
    for child in node:
        yield "" if _is_unseen(child) else " " if child.tag == "br" else "".join(_texts(child))
        yield child.tail or ""


def _is_unseen(node: HtmlElement) -> bool:
    if not isinstance(node.tag, str) or node.tag in ("style", "script"):
        return True
    classes = node.get("class", "").split()
    footnote = node.tag == "sup" and "reference" in classes
    return footnote or "sortkey" in classes or bool(_HIDDEN.search(node.get("style", "")))
