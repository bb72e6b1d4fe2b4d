"""The contents of a warehouse and what is odd about them. Reads only."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

from quant_assets.health.past_loads import TOTALS, state_of
from quant_assets.loading.tasks import FAILED, MOST_ATTEMPTS
from quant_assets.warehouse.warehouse import Warehouse

MARKET_DAYS = 10
"""How much older than the newest list of the market another one may be and still be shown."""


UNEXPLAINED_DAYS = 30
"""How long a change of prices that nothing explains is shown."""

_SYMBOL = (
    "(select any_value(h.symbol) from symbol_history h where h.security_id = {row}.security_id"
    " and h.valid_from <= {row}.{day} and coalesce(h.valid_to > {row}.{day}, true))"
)
"""The ticker of a row's security on its day, as SQL."""


_MENDED = " union all ".join(
    f"select 1 from symbol_history h join {table} t using (security_id) where h.symbol = q.symbol"  # noqa: S608 - constants
    f" and t.source = q.source and t.{day}::varchar = q.session"
    " and (t.updated_at > q.created_at or t.run_id = q.run_id)"
    f" and q.dataset = '{table}'"
    for table, day in (("daily_prices", "session"), ("corporate_actions", "ex_date"))
)
"""SQL for a good row of a symbol-day in quarantine, stored with the bad one or since. One that
was there before proves nothing: the bad row may be its correction."""


def warehouse_status(warehouse: Warehouse) -> dict[str, Any]:
    """Rows, ranges and trouble of a warehouse as plain values.

    Keys: warehouse (path), bytes, sources, market, universes, actions, to_confirm, ledger,
    quarantine, unexplained, basis_unknown, tasks, delistings, possibly_delisted, notices, runs;
    each but the first two a list of rows. Raises WarehouseError.
    """
    since = warehouse.clock().date() - dt.timedelta(days=UNEXPLAINED_DAYS)
    with warehouse.reading() as con:
        # No value is bound here: DuckDB loads pandas for the first one, which takes longer than all
        # of the queries.
        def rows(sql: str) -> Sequence[dict[str, Any]]:
            cursor = con.execute(sql)
            names = [column[0] for column in cursor.description or ()]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

        found: dict[str, Any] = {
            "warehouse": str(warehouse.path),
            "bytes": warehouse.path.stat().st_size,
            "sources": rows(
                "select source, count(*) as symbols, sum(number)::bigint as rows,"
                " min(first) as first_session, max(last) as last_session,"
                " max(fetched) as last_fetched_at from (select source, count(*) as number,"
                "  min(session) as first, max(session) as last, max(fetched_at) as fetched"
                "  from daily_prices group by source, security_id) group by 1 order by 1"
            ),
            "market": rows(
                "select source, feed, session, count(*) as securities,"  # noqa: S608 - a constant
                " count(market_cap) as with_market_cap,"
                " count(*) filter (market_cap_on < session) as not_believed"
                " from market_snapshot"
                f" where session >= (select max(session) - {MARKET_DAYS} from market_snapshot)"
                " group by source, feed, session"
                " qualify session = max(session) over (partition by source, feed)"
                " order by source, feed"
            ),
            "universes": rows(
                "select u.universe, count(*) filter (m.removed_on is null) as members,"
                " count(*) as intervals, u.updated_at from universes u"
                " left join universe_membership m using (universe) group by all order by 1"
            ),
            "actions": rows(
                "select kind, count(*) as events, min(ex_date) as first_ex_date,"
                " max(ex_date) as last_ex_date from corporate_actions group by 1 order by 1"
            ),
            "to_confirm": rows(
                f"select {_SYMBOL.format(row='a', day='ex_date')} as symbol, a.source, a.ex_date,"  # noqa: S608 - constants
                " a.value_factor"
                " from corporate_actions a where a.kind = 'spin_off' and a.kind_by = 'overlap'"
                " order by a.ex_date desc, 1 limit 20"
            ),
            "ledger": rows(
                "select source, outcome, count(*) as symbol_days,"
                " any_value(reason) as for_example"
                " from symbol_day_ledger group by 1, 2 order by 1, 2"
            ),
            "quarantine": rows(
                "select source, reason, count(*) as rows, any_value(symbol || ' ' || session)"  # noqa: S608 - constants
                f" as for_example from quarantine q where not exists ({_MENDED})"
                " group by 1, 2 order by rows desc limit 20"
            ),
            "unexplained": rows(
                f"select {_SYMBOL.format(row='r', day='session')} as symbol, r.source, r.session,"  # noqa: S608 - constants and a day
                " r.close as close_before, p.close, r.revised_at from daily_prices_revisions r"
                " left join daily_prices p using (security_id, session, source)"
                f" where r.difference = 'unexplained' and r.revised_at >= date '{since}'"
                " order by r.revised_at desc, r.session desc, 1 limit 20"
            ),
            "basis_unknown": rows(
                f"select {_SYMBOL.format(row='p', day='session')} as symbol, p.source,"  # noqa: S608 - constants
                " min(p.session) as first_session, max(p.session) as last_session,"
                " count(*) as rows from daily_prices p where p.basis_unknown group by all"
                " order by last_session desc, 1 limit 20"
            ),
            "tasks": rows(
                "select dataset, source, state, count(*) as symbols, max(attempts) as attempts,"
                " min(retry_at) as retry_at, any_value(symbol) as for_example,"
                " any_value(error) as reason from load_tasks group by all order by 1, 2, 3"
            ),
            "delistings": rows(
                "select symbol, last_session, reason, terminal_value, currency, source, detected_at"
                " from delistings order by last_session desc, symbol"
            ),
            "possibly_delisted": rows(
                "select t.symbol, t.source, max(p.session) as last_session, t.attempts,"  # noqa: S608 - constants and a day
                " 'possibly delisted: the source no longer knows it' as why"
                " from load_tasks t join symbol_history h on h.symbol = t.symbol"
                "  and h.valid_to is null join daily_prices p on p.security_id = h.security_id"
                f" where t.state = '{FAILED}' and t.attempts >= {MOST_ATTEMPTS}"
                " and starts_with(t.error, t.source || ' has no symbol ' || t.symbol || '.')"
                " and not exists (from universe_membership m where m.security_id = h.security_id"
                f"  and (m.removed_on is null or m.removed_on > date '{warehouse.clock().date()}'))"
                " group by all order by t.symbol"
            ),
            "notices": rows(
                "select dataset, source, message as notice, said_at from log_entries"
                " semi join (select dataset, source, max_by(run_id, started_at) as run_id"
                "  from load_runs group by 1, 2) using (dataset, source, run_id)"
                " where level = 'WARNING' and symbol is null order by said_at desc limit 20"
            ),
            "runs": rows(
                "select run_id::varchar as run_id, dataset, source, state, started_at,"  # noqa: S608 - constants
                f" finished_at, inserted, revised, quarantined, failed from ({TOTALS})"
                " order by started_at desc, dataset, source limit 5"
            ),
        }
    for run in found["runs"]:
        run["state"] = state_of(warehouse, run["run_id"], run["state"])
    return found
