"""Delistings: recorded where a live source confirms them, withdrawn where trading goes on.

Evidence is the source's statement in the ledger that there was no trade, on sessions on which other
securities traded. An error is no evidence. Neither is "no such symbol": a source says that of a
symbol it dropped and of one it never had. Nothing is fetched here.
"""

from __future__ import annotations

import datetime as dt
from bisect import bisect_right
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import duckdb

from quant_assets.reference.calendars import QUIET_SESSIONS, Calendar
from quant_assets.schema.securities import DELISTINGS
from quant_assets.warehouse.writing import Writing

NO_TRADE = "no trade since"
"""How the reason of an empty symbol-day begins where a source reports the end of trading."""

REASON_DAYS = 60
"""How many days from the last session a removal from an index may give the reason."""

UNKNOWN = "unknown"


@dataclass(frozen=True)
class _Stopped:
    """A security that, as a source confirms, has not traded since its last row.

    ``left`` is whether it was removed from a universe, ``member`` whether it belongs to one.
    """

    security_id: int
    symbol: str
    currency: str
    last_session: dt.date
    left: bool
    member: bool


def note_delistings(
    writing: Writing, calendar: Calendar, source: str, requested: Collection[int | None]
) -> tuple[str, ...]:
    """Record the delistings that ``source`` has confirmed so far.

    A member of a universe that was removed from none is not recorded; if it is among the
    ``requested`` securities, a notice gives its last session. A recorded security with newer rows
    is taken off the record, which moves to the revisions.
    """
    _withdraw(writing)
    notices = []
    for stopped in _stopped(writing, source):
        if stopped.left or not stopped.member:
            _record(writing, calendar, source, stopped)
        elif stopped.security_id in requested:
            notices.append(
                f"{stopped.symbol} is a member of a universe and has not traded since "
                f"{stopped.last_session}, {source} says."
            )
    return tuple(notices)


def _stopped(writing: Writing, source: str) -> list[_Stopped]:
    rows = writing.con.execute(
        "with confirmed as ("
        "  select security_id, session from symbol_day_ledger"
        "  where dataset = 'daily_prices' and source = $source and outcome = 'empty'"
        "  and starts_with(reason, $words)"
        "), latest as ("
        "  select security_id, max(session) as last_session from daily_prices"
        "  semi join confirmed using (security_id) group by 1"
        "), traded as (select distinct session from daily_prices where source = $source),"
        "stopped as ("
        "  select security_id, last_session from latest join confirmed c using (security_id)"
        "  semi join traded using (session) where c.session > last_session"
        "  group by all having count(*) >= $enough"
        "), by_universe as ("
        "  select security_id, bool_and(coalesce(removed_on <= $today, false)) as gone,"
        "  bool_or(effective_on <= $today and (removed_on is null or removed_on > $today)) as here"
        "  from universe_membership group by security_id, universe"
        "), membership as ("
        "  select security_id, bool_or(gone) as gone, bool_or(here) as here from by_universe"
        "  group by 1)"
        "select q.security_id, max_by(h.symbol, h.valid_from), any_value(s.currency),"
        " any_value(q.last_session), coalesce(any_value(t.gone), false),"
        " coalesce(any_value(t.here), false)"
        " from stopped q join securities s using (security_id)"
        " join symbol_history h using (security_id) left join membership t using (security_id)"
        " anti join delistings d using (security_id) group by 1 order by 1",
        {
            "source": source,
            "words": NO_TRADE,
            "enough": QUIET_SESSIONS,
            "today": writing.now.date(),
        },
    ).fetchall()
    return [_Stopped(*row) for row in rows]


def _record(writing: Writing, calendar: Calendar, source: str, stopped: _Stopped) -> None:
    """Record a delisting; the ticker is free from the session after the last one."""
    value, currency = _terminal_value(writing.con, stopped)
    off_market = calendar.sessions[bisect_right(calendar.sessions, stopped.last_session)]
    row = {
        "security_id": stopped.security_id,
        "symbol": stopped.symbol,
        "last_session": stopped.last_session,
        "reason": _reason(writing.con, stopped),
        "terminal_value": value,
        "currency": currency,
        "source": source,
    }
    writing.upsert(DELISTINGS, DELISTINGS.arrow([row]))
    writing.con.execute(
        "update securities set delisted_on = ?, updated_at = ? where security_id = ?",
        [off_market, writing.now, stopped.security_id],
    )
    writing.con.execute(
        "update symbol_history set valid_to = ?, updated_at = ?"
        " where security_id = ? and valid_to is null and valid_from < ?",
        [off_market, writing.now, stopped.security_id, off_market],
    )


def _reason(con: duckdb.DuckDBPyConnection, stopped: _Stopped) -> str:
    """The reason of its removal from an index nearest to its last session."""
    rows = con.execute(
        "with removals as ("
        "  select security_id, kind, effective_on as left_on, reason from membership_changes"
        "  union all"
        "  select security_id, kind, from_on, reason from membership_evidence)"
        "select reason, abs(date_diff('day', left_on, $last)) as days from removals"
        " where security_id = $security and kind = 'removed' and reason is not null"
        " and days <= $most order by days, reason limit 1",
        {"security": stopped.security_id, "last": stopped.last_session, "most": REASON_DAYS},
    ).fetchall()
    return str(rows[0][0]) if rows else UNKNOWN


def _terminal_value(con: duckdb.DuckDBPyConnection, stopped: _Stopped) -> tuple[float | None, str]:
    """The cash paid for a share, and the currency; None where that is unknown or were shares."""
    rows: Sequence[tuple[float, str]] = con.execute(
        "select amount, currency from corporate_actions where security_id = ?"
        " and kind = 'merger_terms' and amount is not null and ratio is null and ex_date >= ?"
        " order by ex_date, fetched_at desc limit 1",
        [stopped.security_id, stopped.last_session],
    ).fetchall()
    return rows[0] if rows else (None, stopped.currency)


def _withdraw(writing: Writing) -> None:
    """Withdraw the delistings of securities that traded since, and give back tickers still free."""
    relisted = writing.con.execute(
        "select d.security_id, any_value(s.delisted_on) from delistings d"
        " join securities s using (security_id) join daily_prices p using (security_id)"
        " where p.session > d.last_session group by 1 order by 1"
    ).fetchall()
    for security, off_market in relisted:
        writing.con.execute(
            "insert into delistings_revisions by name select *, cast(? as timestamp) as revised_at,"
            " cast(? as uuid) as revised_by_run, 'relisted' as difference from delistings"
            " where security_id = ?",
            [writing.now, writing.run_id, security],
        )
        writing.con.execute("delete from delistings where security_id = ?", [security])
        writing.con.execute(
            "update securities set delisted_on = null, updated_at = ? where security_id = ?",
            [writing.now, security],
        )
        writing.con.execute(
            "update symbol_history t set valid_to = null, updated_at = $now"
            " where security_id = $security and valid_to = $off_market and not exists ("
            "  from symbol_history o where o.symbol = t.symbol and o.valid_from >= $off_market)",
            {"now": writing.now, "security": security, "off_market": off_market},
        )
