"""The contents and the gaps of a warehouse, and its past loads. Reads only."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from quant_assets.loading.tasks import FAILED, MOST_ATTEMPTS
from quant_assets.reference.errors import UsageError
from quant_assets.warehouse.warehouse import Warehouse

if TYPE_CHECKING:
    import duckdb
    import pandas as pd


MARKET_DAYS = 10
"""How much older than the newest list of the market another one may be and still be shown."""


UNEXPLAINED_DAYS = 30
"""How long a change of prices that nothing explains is shown."""

_SYMBOL = (
    "(select any_value(h.symbol) from symbol_history h where h.security_id = {row}.security_id"
    " and h.valid_from <= {row}.{day} and coalesce(h.valid_to > {row}.{day}, true))"
)
"""The ticker of a row's security on its day, as SQL."""


class UnknownRunError(UsageError, LookupError):
    """No load of that id."""

    def __init__(self, run: str) -> None:
        super().__init__(f"There is no load {run}; quant-assets runs lists them.")


def warehouse_status(warehouse: Warehouse) -> dict[str, Any]:
    """Rows, ranges and trouble of a warehouse as plain values.

    Keys: warehouse (path), bytes, sources, market, universes, actions, to_confirm, ledger,
    quarantine, unexplained, basis_unknown, tasks, delistings, possibly_delisted, runs; each but the
    first two a list of rows. Raises WarehouseError.
    """
    since = warehouse.clock().date() - dt.timedelta(days=UNEXPLAINED_DAYS)
    with warehouse.reading() as con:
        # No value is bound here: DuckDB loads pandas for the first one, which takes longer than all
        # of the queries.
        def rows(sql: str) -> Sequence[dict[str, Any]]:
            cursor = con.execute(sql)
            names = [column[0] for column in cursor.description or ()]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

        return {
            "warehouse": str(warehouse.path),
            "bytes": warehouse.path.stat().st_size,
            "sources": rows(
                "select source, count(distinct security_id) as symbols, count(*) as rows,"
                " min(session) as first_session, max(session) as last_session,"
                " max(fetched_at) as last_fetched_at from daily_prices group by 1 order by 1"
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
                "select source, reason, count(*) as rows, any_value(symbol || ' ' || session)"
                " as for_example from quarantine group by 1, 2 order by rows desc limit 20"
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
            "runs": rows(
                "select run_id::varchar as run_id, dataset, source, started_at, finished_at,"
                " inserted, revised, quarantined, failed from load_runs"
                " order by started_at desc, dataset, source limit 5"
            ),
        }


def load_history(warehouse: Warehouse, last: int) -> pd.DataFrame:
    """The last loads with their totals, newest first; times are UTC. Raises WarehouseError."""
    with warehouse.reading() as con:
        return con.execute(
            "select run_id::varchar as run_id, dataset, source, start_session, end_session,"
            " started_at, finished_at, date_diff('millisecond', started_at, finished_at) / 1000"
            " as seconds, symbols, requested, inserted, revised, unchanged, quarantined, empty,"
            " failed from load_runs order by started_at desc, run_id, dataset, source limit ?",
            [last],
        ).df()


def run_symbols(warehouse: Warehouse, run: str) -> pd.DataFrame:
    """The outcome of each symbol of a load. Raises WarehouseError, UnknownRunError."""
    with warehouse.reading() as con:
        return con.execute(
            "select dataset, source, symbol, requested, inserted, revised, unchanged, quarantined,"
            " empty, failed, completeness, first_session, last_session, error from load_run_symbols"
            " where run_id = ? order by dataset, source, symbol",
            [_run_id(con, run)],
        ).df()


def run_log(warehouse: Warehouse, run: str) -> pd.DataFrame:
    """The log of a load, in order of time (UTC). Raises WarehouseError, UnknownRunError."""
    with warehouse.reading() as con:
        return con.execute(
            "select said_at, level, symbol, message, error_class, stack from log_entries"
            " where run_id = ? order by said_at, entry_id",
            [_run_id(con, run)],
        ).df()


def _run_id(con: duckdb.DuckDBPyConnection, prefix: str) -> str:
    rows = con.execute(
        "select run_id::varchar from load_runs where starts_with(run_id::varchar, lower(?))"
        " order by started_at desc limit 1",
        [prefix],
    ).fetchall()
    if not rows:
        raise UnknownRunError(prefix)
    return str(rows[0][0])
