"""Which sessions are neither stored nor confirmed empty, by security, read from the warehouse.

No value is bound in here: DuckDB loads pandas for the first one, which takes longer than all of the
queries. What stands in the SQL are numbers and days of ours.
"""

from __future__ import annotations

import datetime as dt
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import duckdb

from quant_assets.reference.calendars import Calendar
from quant_assets.refreshing.steps import Wanted
from quant_assets.schema.prices import DAILY_PRICES
from quant_assets.warehouse.writing import listed_ids

_EPOCH = dt.date(1970, 1, 1)

_TABLE = DAILY_PRICES.name


@dataclass(frozen=True)
class Gap:
    """Sessions that a security lacks, and what the ledger says of the newest one it has."""

    sessions: int
    first: dt.date
    last: dt.date
    outcome: str | None = None
    reason: str | None = None
    source: str | None = None


@dataclass(frozen=True)
class Gaps:
    """The gaps of each security that has any. ``rows`` and ``empty`` are the securities whose last
    wanted session is stored, or confirmed empty; ``loaded`` are those with any row in the sessions
    wanted. ``tickers`` are the latest ones of securities that are not wanted.
    """

    found: Mapping[int, Gap] = field(default_factory=dict)
    rows: frozenset[int] = frozenset()
    empty: frozenset[int] = frozenset()
    loaded: frozenset[int] = frozenset()
    tickers: Mapping[int, str] = field(default_factory=dict)


def read_gaps(
    con: duckdb.DuckDBPyConnection,
    wanted: Sequence[Wanted],
    calendar_of: Callable[[str], Calendar],
) -> Gaps:
    """The gaps in the sessions wanted, and the days that a load failed on or set aside, whoever is
    concerned. Days are counted first; only securities whose count differs are looked at day by day.
    """
    spans = {each.security: each for each in wanted if each.security is not None}
    counts = _counts(con, spans)
    in_doubt = {
        security: _after_what_is_complete(each, counts.days.get(security, ()))
        for security, each in spans.items()
        if _number(each, each.last) not in (number for number, _ in counts.days.get(security, ()))
    }
    troubled = con.execute(
        "select security_id, min(session) from symbol_day_ledger"  # noqa: S608 - constants
        f" where dataset = '{_TABLE}' and outcome <> 'empty' group by 1"
    ).fetchall()
    tickers = _tickers(con, [security for security, _ in troubled if security not in spans])
    concerned = {security: spans.get(security) for security, _ in troubled} | in_doubt
    if not concerned:
        return Gaps({}, counts.rows, counts.empty, counts.loaded, tickers)
    since = min([*(day for _, day in troubled), *(each.first for each in in_doubt.values())])
    calendars = {
        security: calendar_of(each.symbol if each else tickers[security])
        for security, each in concerned.items()
    }
    found = _day_by_day(con, concerned, calendars, since)
    return Gaps(found, counts.rows, counts.empty, counts.loaded, tickers)


def _number(each: Wanted, last: dt.date) -> int:
    """How many sessions are wanted up to ``last``."""
    sessions = each.calendar.sessions
    return bisect_right(sessions, last) - bisect_left(sessions, each.first)


def _after_what_is_complete(each: Wanted, counts: Sequence[tuple[int, dt.date]]) -> Wanted:
    """What is left to look at of a symbol that one source has without a hole up to some day: on an
    evening when the source lags that is a session each, and not a million.
    """
    complete = [newest for number, newest in counts if number == _number(each, newest)]
    sessions = each.calendar.sessions
    return (
        replace(each, first=sessions[bisect_right(sessions, max(complete))]) if complete else each
    )


@dataclass(frozen=True)
class _Counts:
    """How many of the sessions wanted each source has, and the newest of them, by security; the
    rest as in ``Gaps``.
    """

    days: Mapping[int, Sequence[tuple[int, dt.date]]]
    rows: frozenset[int]
    empty: frozenset[int]
    loaded: frozenset[int]


def _counts(con: duckdb.DuckDBPyConnection, spans: Mapping[int, Wanted]) -> _Counts:
    """Rows are counted in one scan for each last session, without a join; the few confirmations are
    joined. A source with rows before the first session wanted is left to ``_day_by_day``.
    """
    days: dict[int, dict[str, tuple[int, dt.date]]] = defaultdict(dict)
    rows, empty, loaded = set(), set(), set()
    for last in {each.last for each in spans.values()}:
        for security, source, number, first, newest in con.execute(
            "select security_id, source, count(*), min(session), max(session)"  # noqa: S608 - a day
            f" from {_TABLE} where session <= date '{last}' group by 1, 2"
        ).fetchall():
            each = spans.get(security)
            if each is None or each.last != last:
                continue
            loaded.add(security)
            if newest == last:
                rows.add(security)
            if first >= each.first:
                days[security][source] = number, newest
    values = [f"({i}, date '{w.first}', date '{w.last}')" for i, w in spans.items()]
    for security, source, number, newest in con.execute(
        "select security_id, source, count(*), max(session) from symbol_day_ledger"  # noqa: S608 - our own
        f" join (values {', '.join(values) or '(null, null, null)'}) wanted"
        f"(security_id, first, last) using (security_id) where dataset = '{_TABLE}'"
        " and outcome = 'empty' and session between first and last group by 1, 2"
    ).fetchall():
        counted, day = days[security].get(source, (0, newest))
        days[security][source] = counted + number, max(day, newest)
        if newest == spans[security].last:
            empty.add(security)
    by_security = {security: list(counts.values()) for security, counts in days.items()}
    return _Counts(by_security, frozenset(rows), frozenset(empty - rows), frozenset(loaded))


def _tickers(con: duckdb.DuckDBPyConnection, securities: Sequence[int]) -> dict[int, str]:
    return dict(
        con.execute(
            "select security_id, max_by(symbol, valid_from) from symbol_history"  # noqa: S608 - our own ids
            f" where security_id in ({listed_ids(securities)}) group by 1"
        ).fetchall()
    )


def _day_by_day(
    con: duckdb.DuckDBPyConnection,
    concerned: Mapping[int, Wanted | None],
    calendars: Mapping[int, Calendar],
    since: dt.date,
) -> dict[int, Gap]:
    """The gaps of each security concerned, from ``since`` on.

    A failed day counts only while it is a session, so that a closure named later ends it; and of a
    security only while it was listed, and a member if it ever was one.
    """
    values = []
    for security, each in concerned.items():
        span = f"date '{each.first}', date '{each.last}'" if each else "null::date, null::date"
        values.append(f"({security}, '{calendars[security].name}', {span})")
    sessions = " union all ".join(
        f"select '{calendar.name}', date '{_EPOCH}' + unnest([{_days(calendar, since)}]::int[])"
        for calendar in {calendar.name: calendar for calendar in calendars.values()}.values()
    )
    rows = con.execute(
        f"with wanted(security_id, market, first, last) as (values {', '.join(values)}),"  # noqa: S608 - our own
        f" sessions(market, session) as ({sessions}),"
        " ended as (select security_id, case when last is null"
        "  then max(coalesce(removed_on, date '9999-12-31')) end as left_on from wanted"
        "  join universe_membership using (security_id) group by security_id, last),"
        " recorded as (select security_id, session, min(outcome) as outcome,"
        "  min_by(reason, outcome) as reason, min_by(source, outcome) as source"
        f"  from symbol_day_ledger where dataset = '{_TABLE}' and outcome <> 'empty'"
        "  group by all),"
        " days as (select security_id, session from wanted join sessions using (market)"
        "  where session between first and last union"
        "  select security_id, session from recorded join wanted using (security_id)"
        "  join sessions using (market, session)),"
        f" known as (select security_id, session from {_TABLE}"
        f"  semi join days using (security_id, session) where session >= date '{since}'"
        "  union all select security_id, session from symbol_day_ledger"
        f"  where dataset = '{_TABLE}' and outcome = 'empty' and session >= date '{since}')"
        " select security_id, count(*), min(session), max(session),"
        " max_by(outcome, session), max_by(reason, session), max_by(source, session)"
        " from days anti join known using (security_id, session)"
        " left join recorded using (security_id, session)"
        " left join securities using (security_id) left join ended using (security_id)"
        " where coalesce(session < delisted_on, true) and coalesce(session >= listed_on, true)"
        " and coalesce(session < left_on, true) group by 1"
    ).fetchall()
    return {security: Gap(*what) for security, *what in rows}


def _days(calendar: Calendar, since: dt.date) -> str:
    """The sessions of a calendar as SQL, in days since 1970."""
    later = calendar.sessions[bisect_left(calendar.sessions, since) :]
    return ", ".join(str((day - _EPOCH).days) for day in later) or "null"
