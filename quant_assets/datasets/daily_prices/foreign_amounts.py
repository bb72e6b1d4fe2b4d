"""What a load brought of amounts paid in another currency than the prices."""

from __future__ import annotations

from itertools import groupby

from quant_assets.price_rules.currencies import rate
from quant_assets.warehouse.writing import Writing


def without_rate(writing: Writing, source: str) -> tuple[str, ...]:
    """A sentence on each symbol of whose new amounts no rate into its prices is known."""
    rows = writing.con.execute(
        "with paid as (select security_id, ex_date, amount, currency::varchar as currency"
        "  from corporate_actions where source = $source and run_id::varchar = $run"
        "  and amount is not null and kind <> 'vendor_error'),"
        "priced as (select security_id, max_by(currency, session)::varchar as currency"
        "  from daily_prices where source = $source"
        "  and security_id in (select security_id from paid) group by 1),"
        "names as (select security_id, max_by(symbol, valid_from) as symbol from symbol_history"
        "  group by 1)"
        "select symbol, p.currency, d.currency, amount, ex_date from paid d"
        " join priced p using (security_id) join names using (security_id)"
        " where p.currency <> d.currency order by all",
        {"source": source, "run": writing.run_id},
    ).fetchall()
    foreign = [row for row in rows if rate(row[2], row[1]) is None]
    notices = []
    for (symbol, prices_in), events in groupby(foreign, key=lambda row: row[:2]):
        (*_, currency, amount, day), *more = events
        others = f" and {len(more)} more time{'s' * (len(more) > 1)}" if more else ""
        notices.append(
            f"{symbol} paid {amount:g} {currency} a share on {day}{others} and is priced in "
            f"{prices_in}: no rate is known, so total returns leave that out."
        )
    return tuple(notices)
