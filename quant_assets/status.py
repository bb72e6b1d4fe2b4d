"""What the warehouse holds and what it lacks, for the command line. Reads only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from quant_assets.warehouse import Warehouse


def warehouse_status(warehouse: Warehouse) -> dict[str, Any]:
    """Rows, ranges and trouble of a warehouse as plain values.

    Keys: warehouse (path), bytes, sources, universes, actions, ledger, quarantine, runs; each but
    the first two a list of rows. Raises WarehouseError.
    """
    with warehouse.reading() as con:

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
            "universes": rows(
                "select u.universe, count(*) filter (m.removed_on is null) as members,"
                " count(*) as intervals, u.updated_at from universes u"
                " left join universe_membership m using (universe) group by all order by 1"
            ),
            "actions": rows(
                "select kind, count(*) as events, min(ex_date) as first_ex_date,"
                " max(ex_date) as last_ex_date from corporate_actions group by 1 order by 1"
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
            "runs": rows(
                "select run_id::varchar as run_id, source, started_at, finished_at, inserted,"
                " revised, quarantined, failed from load_runs order by started_at desc limit 5"
            ),
        }
