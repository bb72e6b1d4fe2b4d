"""What a source's answer says of securities: its symbols identified, its symbol-days accounted for.

Between validation and storing: every row is given its security, and every symbol-day asked for ends
as a row, as confirmed empty, as quarantined or as failed. Nothing is written here.
"""

from __future__ import annotations

import datetime as dt

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quant_assets.contracts.prices import PriceAnswer
from quant_assets.contracts.source import MissingAtSource
from quant_assets.datasets.daily_prices.identify import Identified, security_ids
from quant_assets.loading.report import SymbolReport
from quant_assets.loading.work import Plan
from quant_assets.warehouse.writing import Upserted


def ledger_rows(
    answer: PriceAnswer, identified: Identified, rejected: pa.Table, plan: Plan
) -> pa.Table:
    """One row for each due symbol-day without a good row: what it is instead, and why.

    In order of weight: the source confirmed it empty, its row was quarantined, the source failed,
    or it answered without a word on that day. The last is no confirmation and counts as failed.
    """
    asked = {request.symbol: plan.requested_days(request) for request in plan.requests}
    short = [
        symbol
        for symbol in answer.symbols
        if asked[symbol]
        and identified.spans.get(symbol)
        != (asked[symbol][0], asked[symbol][-1], len(asked[symbol]))
    ]
    due = pa.table(
        {
            "symbol": pa.array([s for s in short for _ in asked[s]], pa.string()),
            "session": pa.array([day for s in short for day in asked[s]], pa.date32()),
        }
    )
    places = pa.array(short, pa.string())
    keys = _keys(due, places)
    held = _keys(identified.accepted, places)
    absent = ~np.isin(keys, held[held >= 0])
    due, keys = due.filter(pa.array(absent)), keys[absent]
    failures = {symbol: str(error) for symbol, error in answer.failures.items()}
    outcome = np.full(len(keys), "failed", dtype=object)
    reason = np.array([failures.get(s, SILENCE) for s in due["symbol"].to_pylist()], dtype=object)
    for rows_of, what in ((_dated(rejected), "quarantined"), (answer.empty, "empty")):
        found, at = _look_up(keys, _keys(rows_of, places))
        outcome[found] = what
        reason[found] = np.array(rows_of["reason"].to_pylist(), dtype=object)[at]
    rows = pa.table(
        {**{n: due[n] for n in due.column_names}, "outcome": outcome, "reason": reason},
    )
    ids = security_ids(rows, "session", identified.securities, identified.names)
    return rows.append_column("security_id", ids).filter(pc.is_valid(ids))


def silent_days(answer: PriceAnswer, absent: pa.Table) -> dict[str, frozenset[dt.date]]:
    """The sessions on which nothing was said of a symbol that was answered, by symbol."""
    lost = {s for s, e in answer.failures.items() if not isinstance(e, MissingAtSource)}
    failed = absent.filter(pc.equal(absent["outcome"], "failed"))
    days: dict[str, set[dt.date]] = {}
    for symbol, day in zip(*(failed[n].to_pylist() for n in ("symbol", "session")), strict=True):
        if symbol not in lost:
            days.setdefault(symbol, set()).add(day)
    return {symbol: frozenset(some) for symbol, some in days.items()}


SILENCE = "the source answered without a row for this session"


def _keys(rows: pa.Table, symbols: pa.Array) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """A number for each symbol-day; rows of other symbols or without a day get one of their own."""
    codes = pc.fill_null(pc.index_in(rows["symbol"], symbols), -1).to_numpy()
    days = pc.fill_null(rows["session"].cast(pa.int32()), -1).to_numpy()
    keys: np.ndarray[tuple[int], np.dtype[np.int64]] = (codes.astype(np.int64) << 32) + days
    return keys


def _look_up(
    keys: np.ndarray[tuple[int], np.dtype[np.int64]],
    among: np.ndarray[tuple[int], np.dtype[np.int64]],
) -> tuple[np.ndarray[tuple[int], np.dtype[np.intp]], np.ndarray[tuple[int], np.dtype[np.intp]]]:
    """Where ``keys`` occur in ``among``: their own places, and the places they are found at."""
    if len(among) == 0:
        return np.array([], dtype=np.intp), np.array([], dtype=np.intp)
    order = np.argsort(among, kind="stable")
    at = order[np.minimum(np.searchsorted(among, keys, sorter=order), len(among) - 1)]
    found = np.flatnonzero(among[at] == keys)
    return found, at[found]


def _dated(rejected: pa.Table) -> pa.Table:
    """Rejected rows with the day they name as a date, null where it can't be read."""
    text = pc.utf8_slice_codeunits(rejected["session"], 0, 10)
    days = pc.strptime(text, "%Y-%m-%d", "s", error_is_null=True).cast(pa.date32(), safe=False)
    return rejected.set_column(rejected.column_names.index("session"), "session", days)


def symbol_reports(
    answer: PriceAnswer,
    identified: Identified,
    stored: Upserted,
    *,
    rejected: pa.Table,
    absent: pa.Table,
    plan: Plan,
) -> list[SymbolReport]:
    """The summary of each symbol of an answer, from what was stored and what absent of the rest."""
    requests = {request.symbol: request for request in plan.requests}
    silent = silent_days(answer, absent)
    bad = _tally(rejected, "symbol")
    ended = _tally(absent, "symbol", "outcome")
    reports = []
    counted: set[int] = set()
    for symbol in answer.symbols:
        ids = identified.all_of(symbol)
        # A security asked for under two symbols counts once, for the first.
        counts = [stored.by_key.get(number, (0, 0, 0)) for number in sorted(ids - counted)]
        counted |= ids
        due = plan.requested_days(requests[symbol])
        failed = ended.get((symbol, "failed"), 0) if ids else len(due)
        first, last, _ = identified.spans.get(symbol, (None, None, 0))
        error = answer.failures.get(symbol) or identified.reasons.get(symbol)
        reports.append(
            SymbolReport(
                symbol,
                min(ids) if len(ids) == 1 else None,
                len(due),
                inserted=sum(count[0] for count in counts),
                revised=sum(count[1] for count in counts),
                unchanged=sum(count[2] for count in counts),
                quarantined=bad.get((symbol,), 0),
                empty=ended.get((symbol, "empty"), 0),
                set_aside=ended.get((symbol, "quarantined"), 0),
                failed=failed,
                first_session=first,
                last_session=last,
                error=str(error) if error else _first_reason(absent, symbol) if failed else None,
                silent=silent.get(symbol, frozenset()),
            )
        )
    return reports


def _tally(rows: pa.Table, *by: str) -> dict[tuple[str, ...], int]:
    if rows.num_rows == 0:
        return {}
    counted = rows.group_by(list(by)).aggregate([([], "count_all")]).to_pylist()
    return {tuple(row[name] for name in by): row["count_all"] for row in counted}


def _first_reason(absent: pa.Table, symbol: str) -> str | None:
    for row in absent.to_pylist():
        if row["symbol"] == symbol and row["outcome"] == "failed":
            return f"{row['session']}: {row['reason']}"
    return None
