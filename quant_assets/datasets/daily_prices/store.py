"""Prices and actions of one answer written: rows, provisional marks, quarantine.

The transaction and the totals of the load are the engine's.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from quant_assets.contracts.prices import PriceAnswer
from quant_assets.contracts.source import SourceError, SourceProfile
from quant_assets.datasets.daily_prices.compare import Compared
from quant_assets.datasets.daily_prices.identify import Identified
from quant_assets.price_rules.overlap import UNLIKE_ITS_NEIGHBOURS
from quant_assets.schema.loads import QUARANTINE
from quant_assets.schema.prices import CORPORATE_ACTIONS, DAILY_PRICES
from quant_assets.schema.table import Table
from quant_assets.warehouse.writing import Upserted, Writing


class BlockedSymbolError(SourceError):
    """A source's present prices of a symbol contradict those that are stored of it."""


def store_rows(
    writing: Writing, source: SourceProfile, found: Compared, last_closed: dt.date
) -> Upserted:
    """Write rows and actions; symbol-days that have become present leave the ledger."""
    same: dict[str, object] = {"source": source.name}
    prices = found.rows
    if source.live:
        prices = _provisional(writing, source.name, prices, last_closed)
    else:
        same["provisional"] = False
    currencies = prices["currency"].unique()
    if len(currencies) == 1:
        # One constant for all rows: a million equal texts take as long as the prices.
        same["currency"] = currencies[0].as_py()
        prices = prices.drop_columns(["currency"])
    stored = writing.upsert(DAILY_PRICES, prices, constants=same, differences=found.differences)
    writing.clear_outcomes(DAILY_PRICES, source.name, list(stored.by_key))
    stays = pc.equal(found.taken["difference"], "corrected")
    gone, corrected = found.taken.filter(pc.invert(stays)), found.taken.filter(stays)
    writing.withdraw(CORPORATE_ACTIONS, gone, {"source": source.name})
    writing.upsert(
        CORPORATE_ACTIONS,
        found.actions,
        constants={"source": source.name},
        differences=corrected,
        supersede=("security_id", "ex_date", "source"),
    )
    return stored


def _provisional(writing: Writing, source: str, prices: pa.Table, newest: dt.date) -> pa.Table:
    """``prices`` with the newest session marked where it is seen for the first time."""
    seen = writing.con.execute(
        "select security_id from daily_prices where source = ? and session = ?", [source, newest]
    ).fetchall()
    is_newest = pc.equal(prices["session"], pa.scalar(newest, pa.date32()))
    was_seen = pc.is_in(prices["security_id"], pa.array([row[0] for row in seen], pa.int32()))
    return prices.append_column("provisional", pc.and_(is_newest, pc.invert(was_seen)))


def quarantine(writing: Writing, source: str, meant_for: Table, rejected: pa.Table) -> None:
    """Keep rejected rows, each once."""
    writing.upsert(
        QUARANTINE,
        rejected.group_by(rejected.column_names).aggregate([]),
        constants={"source": source, "dataset": meant_for.name},
    )


def without_blocked(
    answer: PriceAnswer, identified: Identified, found: Compared, source: str
) -> tuple[PriceAnswer, Identified]:
    """The answer as if the source had failed on the symbols that are blocked."""
    names = identified.symbols
    blocked = {
        names[security]: BlockedSymbolError(source, f"{names[security]}: {why}")
        for security, why in found.blocked.items()
    }
    if not blocked:
        return answer, identified
    return replace(answer, failures={**answer.failures, **blocked}), identified.without(blocked)


def forget_doubts(writing: Writing, source: str, told: pa.Table, doubted: pa.Table) -> None:
    """Take rows out of quarantine that were unlike their neighbours, where the source has told
    their session again otherwise, or once more: they are disproved, or stored.

    ``told`` has symbol and session of the answer, ``doubted`` its rows that are set aside.
    """
    [(any_doubt,)] = writing.con.execute(
        "select exists (from quarantine where source = ? and reason = ?)",
        [source, UNLIKE_ITS_NEIGHBOURS],
    ).fetchall()
    if not any_doubt:
        return
    days = told["session"].cast(pa.string())
    writing.con.register("told", pa.table({"symbol": told["symbol"], "session": days}))
    writing.con.register("doubted", doubted.select(["symbol", "session", "raw"]))
    try:
        writing.con.execute(
            "delete from quarantine q using told t where q.source = ? and q.reason = ?"
            " and q.symbol = t.symbol and q.session = t.session and not exists"
            " (from doubted d where d.symbol = q.symbol and d.session = q.session"
            " and d.raw = q.raw)",
            [source, UNLIKE_ITS_NEIGHBOURS],
        )
    finally:
        writing.con.unregister("told")
        writing.con.unregister("doubted")
