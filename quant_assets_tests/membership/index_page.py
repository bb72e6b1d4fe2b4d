"""A small page of an index, as rows of cells, and what importing such pages leaves behind."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from html import escape

from quant_assets.contracts.membership import UniverseAnswer
from quant_assets.membership.report import UniverseReport
from quant_assets.membership.take_over import import_universe
from quant_assets.sources.index_members.html import read_page
from quant_assets.warehouse.warehouse import Warehouse

Cells = tuple[tuple[str, ...], ...]

HEADERS = ("Symbol", "Security", "GICS Sector", "GICS Sub-Industry", "Date added", "CIK")
MEMBERS: Cells = (
    ("MSFT", "Microsoft", "Technology", "Software", "1994-06-01", "0000789019"),
    ("JNJ", "Johnson & Johnson", "Health Care", "Pharmaceuticals", "1973-06-30", "0000200406"),
    ("BRK.B", "Berkshire Hathaway", "Financials", "Multi-Sector", "2010-02-16", "0001067983"),
    ("APP", "AppLovin", "Technology", "Software", "2024-04-08", "0001751008"),
    ("DISCA", "Discovery (Class A)", "Media", "Broadcasting", "2010-03-01", "0001437107"),
    ("DISCK", "Discovery (Class C)", "Media", "Broadcasting", "2014-08-07", "0001437107"),
    ("NEWS", "News Corp", "Media", "Publishing", "", "0001564708"),
    ("IBKR", "Interactive Brokers", "Financials", "Brokers", "2024-08-28", "0001381197"),
)
CHANGES: Cells = (
    ("September 20, 2024", "SOON", "Soon Inc.", "NEWS", "News Corp", "Announced."),
    ("August 28, 2024", "IBKR", "Interactive Brokers", "WBA", "Walgreens", "Taken private."),
    ("April 8, 2024", "APP", "AppLovin", "OLD", "Old Co", "Market capitalization."),
    ("March 1, 2010", "DISCA", "Discovery", "PAST", "Past Co", "Acquired."),
)


def page(
    members: Sequence[Sequence[str]] = MEMBERS, changes: Sequence[Sequence[str]] = CHANGES
) -> UniverseAnswer:
    table = (
        "<table><tr><th>Date</th><th>Added Ticker</th><th>Added Security</th><th>Removed Ticker"
        f"</th><th>Removed Security</th><th>Reason</th></tr>{_rows(changes)}</table>"
    )
    headers = "".join(f"<th>{name}</th>" for name in HEADERS)
    html = f"<table><tr>{headers}</tr>{_rows(members)}</table>{table if changes else ''}"
    return read_page(html.encode(), "the page", "wikipedia")


def _rows(rows: Sequence[Sequence[str]]) -> str:
    return "".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows
    )


def with_cell(rows: Cells, row: int, column: int, text: str) -> Cells:
    changed = (*rows[row][:column], text, *rows[row][column + 1 :])
    return (*rows[:row], changed, *rows[row + 1 :])


def bring(
    warehouse: Warehouse, answer: UniverseAnswer, on: str, sizes: range = range(1, 40)
) -> UniverseReport:
    """Import a page as that of a day, into a universe of known sizes."""
    day = dt.date.fromisoformat(on)
    return import_universe(warehouse, answer, (), on=day, sizes=sizes)


def left_behind(warehouse: Warehouse) -> list[list[tuple[object, ...]]]:
    """Members with their days, tickers with theirs, and the members' names."""
    with warehouse.reading() as con:
        return [
            con.execute(query).fetchall()
            for query in (
                "select security_id, symbol, effective_on, removed_on, announced_on, source"
                " from universe_membership order by all",
                "select symbol, valid_from, valid_to, security_id from symbol_history h"
                " where exists (from universe_membership m where m.security_id = h.security_id)"
                " order by all",
                "select distinct security_id, name, sector, industry, cik from securities"
                " join universe_membership using (security_id) order by all",
                "select security_id, kind, from_on, until_on from membership_evidence"
                " where kind <> 'listed' order by all",
            )
        ]


def stays(warehouse: Warehouse, symbol: str = "%") -> list[str]:
    with warehouse.reading() as con:
        rows = con.execute(
            "select symbol, effective_on, removed_on from universe_membership"
            " where symbol like ? order by all",
            [symbol],
        ).fetchall()
    return [f"{name} {start} {end or ''}".strip() for name, start, end in rows]
