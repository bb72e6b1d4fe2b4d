"""The symbol-days of an answer accounted for.

Every symbol-day requested ends as a row, as confirmed empty, as quarantined or as failed. Nothing
is written here.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter, defaultdict

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quant_assets.contracts.prices import PriceAnswer
from quant_assets.contracts.source import MissingAtSource
from quant_assets.datasets.daily_prices.identify import Identified, security_ids
from quant_assets.loading.report import SymbolReport
from quant_assets.loading.work import Plan
from quant_assets.schema.row_rules import rejected_days
from quant_assets.warehouse.writing import Upserted


def ledger_rows(
    answer: PriceAnswer, identified: Identified, rejected: pa.Table, plan: Plan
) -> pa.Table:
    """One row for each due symbol-day without a good row: its outcome, and why.

    In order of weight: its row was quarantined, the source confirmed it empty, the source failed,
    or it answered without a row for that day. A row that can't be used is no absence, and silence
    is no confirmation and counts as failed.
    """
    requested = {request.symbol: plan.requested_days(request) for request in plan.requests}
    short = [
        (symbol, days)
        for symbol, days in ((symbol, requested[symbol]) for symbol in answer.symbols)
        if days and identified.spans.get(symbol) != (days[0], days[-1], len(days))
    ]
    due = pa.table(
        {
            "symbol": pa.array([symbol for symbol, days in short for _ in days], pa.string()),
            "session": pa.array([day for _, days in short for day in days], pa.date32()),
        }
    )
    places = pa.array([symbol for symbol, _ in short], pa.string())
    keys = _keys(due, places)
    present = _keys(identified.accepted, places)
    absent = ~np.isin(keys, present[present >= 0])
    due, keys = due.filter(pa.array(absent)), keys[absent]
    failures = {symbol: str(error) for symbol, error in answer.failures.items()}
    outcome = np.full(len(keys), "failed", dtype=object)
    reason = np.array([failures.get(s, SILENCE) for s in due["symbol"].to_pylist()], dtype=object)
    for rows_of, what in ((answer.empty, "empty"), (_dated(rejected), "quarantined")):
        found, at = _look_up(keys, _keys(rows_of, places))
        outcome[found] = what
        reason[found] = np.array(rows_of["reason"].to_pylist(), dtype=object)[at]
    rows = pa.table({**{n: due[n] for n in due.column_names}, "outcome": outcome, "reason": reason})
    ids = security_ids(rows, "session", identified.securities, identified.names)
    return _without(rows.append_column("security_id", ids).filter(pc.is_valid(ids)), identified)


def _without(absent: pa.Table, identified: Identified) -> pa.Table:
    """Without the days on which the security has a row under another of its symbols."""
    if len(set(absent["security_id"].to_pylist())) == len(set(absent["symbol"].to_pylist())):
        return absent
    keys = ["security_id", "session"]
    stored = identified.keyed(identified.accepted, "session").select(keys)
    return absent.join(stored, keys, join_type="left anti")


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
    at = rejected.column_names.index("session")
    return rejected.set_column(at, "session", rejected_days(rejected))


def symbol_reports(
    answer: PriceAnswer,
    identified: Identified,
    stored: Upserted,
    *,
    rejected: pa.Table,
    absent: pa.Table,
    plan: Plan,
) -> list[SymbolReport]:
    """The summary of each symbol of an answer. ``silent`` are sessions without a row of a symbol
    that was answered.
    """
    requests = {request.symbol: request for request in plan.requests}
    bad = Counter(rejected["symbol"].to_pylist())
    outcomes = Counter(zip(*(absent[n].to_pylist() for n in ("symbol", "outcome")), strict=True))
    days_failed: dict[str, list[tuple[dt.date, str]]] = defaultdict(list)
    for row in absent.filter(pc.equal(absent["outcome"], "failed")).to_pylist():
        days_failed[row["symbol"]].append((row["session"], row["reason"]))
    reports = []
    counted: set[int] = set()
    for symbol in answer.symbols:
        ids = identified.all_of(symbol)
        # A security requested under two symbols counts once, for the first.
        counts = [stored.by_key.get(number, (0, 0, 0)) for number in sorted(ids - counted)]
        inserted, revised, unchanged = map(sum, zip((0, 0, 0), *counts, strict=True))
        counted |= ids
        due, absent_days = plan.requested_days(requests[symbol]), days_failed[symbol]
        failure = answer.failures.get(symbol)
        error = failure or identified.reasons.get(symbol)
        if not error and absent_days:
            error = "{}: {}".format(*absent_days[0])
        silent = failure is None or isinstance(failure, MissingAtSource)
        first, last, _ = identified.spans.get(symbol, (None, None, 0))
        reports.append(
            SymbolReport(
                symbol,
                min(ids) if len(ids) == 1 else None,
                len(due),
                inserted,
                revised,
                unchanged,
                quarantined=bad[symbol],
                empty=outcomes[symbol, "empty"],
                set_aside=outcomes[symbol, "quarantined"],
                failed=len(absent_days) if ids else len(due),
                first_session=first,
                last_session=last,
                error=str(error) if error else None,
                silent=frozenset(day for day, _ in absent_days if silent),
            )
        )
    return reports
