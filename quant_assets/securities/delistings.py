"""Securities that are traded no more: noted where a live source confirms it, taken back where it
turns out otherwise.

What counts is the source's word that there was no trade, in the ledger, on sessions that others
traded on. An error is no such word, and "no such symbol" is none either: a source says so of what
it dropped and of what it never had. Nothing is asked here.
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
"""How the reason of an empty symbol-day begins where a source says that trading had ended."""

REASON_DAYS = 60
"""How far from the last session a removal from an index may be to tell why trading ended."""

UNKNOWN = "unknown"


@dataclass(frozen=True)
class _Quiet:
    """A security that a source confirms not to have traded since its last row.

    ``left`` is true where it was removed from a universe, ``member`` where it belongs to one.
    """

    security_id: int
    symbol: str
    currency: str
    last_session: dt.date
    left: bool
    member: bool


def note_delistings(
    writing: Writing, calendar: Calendar, source: str, asked: Collection[int | None]
) -> tuple[str, ...]:
    """Note who is traded no more, by what ``source`` has confirmed so far.

    A member of a universe that was not removed from any is not called delisted; where it is among
    those ``asked``, a sentence says how long it has not traded. A security on record as delisted
    that has newer rows is taken off it; the record moves to the revisions.
    """
    _take_back(writing)
    notices = []
    for quiet in _quiet(writing, source):
        if quiet.left or not quiet.member:
            _declare(writing, calendar, source, quiet)
        elif quiet.security_id in asked:
            notices.append(
                f"{quiet.symbol} is a member of a universe and has not traded since "
                f"{quiet.last_session}, {source} says."
            )
    return tuple(notices)


def _quiet(writing: Writing, source: str) -> list[_Quiet]:
    rows = writing.con.execute(
        "with confirmed as ("
        "  select security_id, session from symbol_day_ledger"
        "  where dataset = 'daily_prices' and source = $source and outcome = 'empty'"
        "  and starts_with(reason, $words)"
        "), latest as ("
        "  select security_id, max(session) as last_session from daily_prices"
        "  semi join confirmed using (security_id) group by 1"
        "), traded as (select distinct session from daily_prices where source = $source),"
        "quiet as ("
        "  select security_id, last_session from latest join confirmed c using (security_id)"
        "  semi join traded using (session) where c.session > last_session"
        "  group by all having count(*) >= $enough"
        "), stays as ("
        "  select security_id, bool_and(coalesce(removed_on <= $today, false)) as gone,"
        "  bool_or(effective_on <= $today and (removed_on is null or removed_on > $today)) as here"
        "  from universe_membership group by security_id, universe"
        "), standing as ("
        "  select security_id, bool_or(gone) as gone, bool_or(here) as here from stays group by 1)"
        "select q.security_id, max_by(h.symbol, h.valid_from), any_value(s.currency),"
        " any_value(q.last_session), coalesce(any_value(t.gone), false),"
        " coalesce(any_value(t.here), false)"
        " from quiet q join securities s using (security_id)"
        " join symbol_history h using (security_id) left join standing t using (security_id)"
        " anti join delistings d using (security_id) group by 1 order by 1",
        {
            "source": source,
            "words": NO_TRADE,
            "enough": QUIET_SESSIONS,
            "today": writing.now.date(),
        },
    ).fetchall()
    return [_Quiet(*row) for row in rows]


def _declare(writing: Writing, calendar: Calendar, source: str, quiet: _Quiet) -> None:
    """Put a delisting on record; the security's ticker is free from the session after its last."""
    value, currency = _terminal_value(writing.con, quiet)
    off_market = calendar.sessions[bisect_right(calendar.sessions, quiet.last_session)]
    row = {
        "security_id": quiet.security_id,
        "symbol": quiet.symbol,
        "last_session": quiet.last_session,
        "reason": _reason(writing.con, quiet),
        "terminal_value": value,
        "currency": currency,
        "source": source,
    }
    writing.upsert(DELISTINGS, DELISTINGS.arrow([row]))
    writing.con.execute(
        "update securities set delisted_on = ?, updated_at = ? where security_id = ?",
        [off_market, writing.now, quiet.security_id],
    )
    writing.con.execute(
        "update symbol_history set valid_to = ?, updated_at = ?"
        " where security_id = ? and valid_to is null and valid_from < ?",
        [off_market, writing.now, quiet.security_id, off_market],
    )


def _reason(con: duckdb.DuckDBPyConnection, quiet: _Quiet) -> str:
    """What was said of its removal from an index nearest to its last session."""
    rows = con.execute(
        "with removals as ("
        "  select security_id, kind, effective_on as left_on, reason from membership_changes"
        "  union all"
        "  select security_id, kind, from_on, reason from membership_evidence)"
        "select reason, abs(date_diff('day', left_on, $last)) as days from removals"
        " where security_id = $security and kind = 'removed' and reason is not null"
        " and days <= $most order by days, reason limit 1",
        {"security": quiet.security_id, "last": quiet.last_session, "most": REASON_DAYS},
    ).fetchall()
    return str(rows[0][0]) if rows else UNKNOWN


def _terminal_value(con: duckdb.DuckDBPyConnection, quiet: _Quiet) -> tuple[float | None, str]:
    """What a share became in cash, and the currency; None where it became shares, or who knows."""
    rows: Sequence[tuple[float, str]] = con.execute(
        "select amount, currency from corporate_actions where security_id = ?"
        " and kind = 'merger_terms' and amount is not null and ratio is null and ex_date >= ?"
        " order by ex_date, fetched_at desc limit 1",
        [quiet.security_id, quiet.last_session],
    ).fetchall()
    return rows[0] if rows else (None, quiet.currency)


def _take_back(writing: Writing) -> None:
    """Take off the record who has traded since, and give back the ticker unless it is taken."""
    back = writing.con.execute(
        "select d.security_id, any_value(s.delisted_on) from delistings d"
        " join securities s using (security_id) join daily_prices p using (security_id)"
        " where p.session > d.last_session group by 1 order by 1"
    ).fetchall()
    for security, off_market in back:
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
