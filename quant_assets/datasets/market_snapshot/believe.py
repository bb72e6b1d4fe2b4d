"""What is believed of a snapshot, beside the sessions stored before it.

``price_rules.market_values`` judges; here the past is read, and the verdict turned into rows: a
list that is stale or cut short is set aside whole, a capitalisation that is not believed leaves the
last good one in its place, with its day. Nothing is written.
"""

from __future__ import annotations

import datetime as dt
from bisect import bisect_left
from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quant_assets.contracts.source import SourceProfile
from quant_assets.datasets.row_dataset import Compared
from quant_assets.price_rules.market_values import PAST, Judged, judge
from quant_assets.reference.calendars import Calendar
from quant_assets.schema.row_rules import rejected_as
from quant_assets.schema.table import Table
from quant_assets.warehouse.writing import Writing, as_arrow

PAST_SESSIONS = 20
"""How far back a security's latest row is looked for; one that was away for longer has no past."""


@dataclass(frozen=True)
class Belief:
    """What is believed on sessions of ``calendar``; with ``accept`` all that is reported."""

    calendar: Calendar
    accept: bool = False

    def __call__(
        self, writing: Writing, source: SourceProfile, table: Table, rows: pa.Table
    ) -> Compared:
        """The rows with what is believed of their market capitalisation, those set aside, and the
        lists of which nothing is stored, each with why.
        """
        if self.accept or not rows.num_rows:
            return Compared(_believed(rows, None))
        parts = [
            self._of_session(writing.con, source.name, session, some)
            for session, some in _by_session(rows)
        ]
        return Compared(
            pa.concat_tables([part.accepted for part in parts]),
            pa.concat_tables([part.rejected for part in parts]),
            failures={feed: why for part in parts for feed, why in part.failures.items()},
        )

    def _of_session(
        self, con: duckdb.DuckDBPyConnection, source: str, session: dt.date, rows: pa.Table
    ) -> Compared:
        before = _before(con, source, session, self.calendar)
        splits = _splits(con, before, session)
        judged = judge(rows, before, session=session, calendar=self.calendar, splits=splits)
        failures = {**judged.short_feeds, **judged.stale_feeds}
        whole = [failures.get(feed) for feed in rows["feed"].to_pylist()]
        both = enumerate(zip(whole, judged.reasons, strict=True))
        reasons = {place: why for place, (of_feed, of_cap) in both if (why := of_feed or of_cap)}
        kept = pa.array([why is None for why in whole], pa.bool_())
        believed = _believed(rows, judged).filter(kept)
        return Compared(believed, rejected_as(rows, reasons), failures=failures)


def _by_session(rows: pa.Table) -> list[tuple[dt.date, pa.Table]]:
    sessions = sorted(rows["session"].unique().to_pylist())
    return [(day, rows.filter(pc.equal(rows["session"], day))) for day in sessions]


def _believed(rows: pa.Table, judged: Judged | None) -> pa.Table:
    """``rows`` with the columns of a judged capitalisation; as reported where none was judged."""
    reported = rows["market_cap"]
    positive = pc.fill_null(pc.and_(pc.greater(reported, 0), pc.is_finite(reported)), False)
    cap: pa.Array | pa.ChunkedArray = pc.if_else(positive, reported, None)
    on: pa.Array | pa.ChunkedArray = pc.if_else(positive, rows["session"], None)
    shares: pa.Array | pa.ChunkedArray = pc.divide(cap, rows["last_sale"])
    if judged is not None:
        cap, shares = (
            pa.array(values, pa.float64(), mask=np.isnan(values))
            for values in (judged.market_cap, judged.implied_shares)
        )
        on = pa.array(judged.market_cap_on.astype("datetime64[D]"), pa.date32())
    at = rows.column_names.index("market_cap")
    return (
        rows.set_column(at, "market_cap", cap)
        .append_column("market_cap_on", on)
        .append_column("reported_market_cap", reported)
        .append_column("implied_shares", shares)
        .append_column("currency", pa.repeat("USD", rows.num_rows))
    )


def _before(
    con: duckdb.DuckDBPyConnection, source: str, session: dt.date, calendar: Calendar
) -> pa.Table:
    """The latest row of each security before ``session``."""
    at = max(bisect_left(calendar.sessions, session) - PAST_SESSIONS, 0)
    return as_arrow(
        con.execute(
            f"select {', '.join(PAST.names)}, count(*) filter (market_cap_on = session)"  # noqa: S608 - our own columns
            " over (partition by security_id) as believed from market_snapshot"
            " where source = $source and session >= $since and session < $session"
            " qualify row_number() over (partition by security_id order by session desc) = 1",
            {"source": source, "since": calendar.sessions[at], "session": session},
        )
    )


def _splits(con: duckdb.DuckDBPyConnection, before: pa.Table, session: dt.date) -> pa.Table:
    """New shares for one old since each row of ``before``, where corporate actions tell any."""
    con.register("past_rows", before.select(["security_id", "session"]))
    try:
        return as_arrow(
            con.execute(
                "select security_id, product(ratio) as ratio from ("
                " select a.security_id, a.ex_date, any_value(a.ratio) as ratio"
                " from corporate_actions a join past_rows b using (security_id)"
                " where a.ratio is not null and a.kind <> 'vendor_error'"
                "  and a.ex_date > b.session and a.ex_date <= $session group by 1, 2)"
                " group by 1",
                {"session": session},
            )
        )
    finally:
        con.unregister("past_rows")
