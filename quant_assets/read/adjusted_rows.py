"""The stored prices and corporate actions of a read, from the preferred of several sources.

Each symbol-day has one row, from the source that comes first in the reader's order. Each corporate
action is taken from the source of the price on its ex-date. SQL on an open connection; nothing is
adjusted here.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quant_assets.price_rules.adjustment import Actions, Floats, Ints
from quant_assets.price_rules.currencies import rates
from quant_assets.reference.errors import UsageError
from quant_assets.warehouse.writing import as_arrow, listed_ids


class UnknownSourceError(UsageError, LookupError):
    """A read of a source that has no stored rows."""

    def __init__(self, source: str, stored: Sequence[str]) -> None:
        super().__init__(
            f"No rows of source {source} are stored; stored: {', '.join(stored) or 'none'}."
        )


@dataclass(frozen=True)
class Choice:
    """The securities of a read, and its sources, the preferred one first."""

    securities: tuple[int, ...]
    sources: tuple[str, ...]

    @property
    def ranked(self) -> str:
        """The rank of the source of ``p``, for SQL; ``sources`` is bound as $sources."""
        return "list_position($sources, p.source)"


@dataclass(frozen=True)
class Events:
    """The corporate actions of a read; amounts in the currency of the prices.

    ``without_rate`` are those paid in another currency, for which no rate is known (security_id,
    ex_date, kind, amount, paid_in, priced_in): they have no effect.
    """

    actions: Actions
    without_rate: Sequence[Mapping[str, Any]]


def choose(
    con: duckdb.DuckDBPyConnection,
    securities: Iterable[int],
    preferred: Sequence[str],
    only: str | None = None,
) -> Choice:
    """The securities with all sources in order; those not in ``preferred`` follow by name.

    With ``only``, that source alone. Raises UnknownSourceError.
    """
    names = [
        row[0]
        for row in con.execute(
            "select source from sources where price_basis is not null"
        ).fetchall()
    ]
    if only is not None and only not in names:
        raise UnknownSourceError(only, sorted(names))
    order = {name: at for at, name in enumerate(preferred)}
    names.sort(key=lambda name: (order.get(name, len(order)), name))
    return Choice(tuple(securities), (only,) if only is not None else tuple(names))


def price_rows(
    con: duckdb.DuckDBPyConnection,
    choice: Choice,
    first: dt.date,
    last: dt.date,
    columns: Iterable[str],
) -> pa.Table:
    """The best row of each wanted symbol-day from ``first`` to ``last``, and maybe unwanted ones.

    Columns: security_id, session and the given ones of daily_prices. Looking most securities up in
    a list takes DuckDB longer than reading the few others between them.
    """
    ids = choice.securities
    dense = len(ids) > 1 and max(ids) - min(ids) < 2 * len(ids)
    which = f"between {min(ids)} and {max(ids)}" if dense else f"in ({listed_ids(ids)})"
    return as_arrow(
        con.execute(
            f"select {', '.join(['security_id', 'session', *columns])}"  # noqa: S608 - our columns
            f" from daily_prices p where security_id {which}"
            " and session between $first and $last and list_contains($sources, source)"
            + best(choice),
            {"first": first, "last": last, "sources": list(choice.sources)},
        )
    )


def actions(con: duckdb.DuckDBPyConnection, choice: Choice, after: dt.date) -> Events:
    """The corporate actions of the wanted securities with an ex-date later than ``after``.

    Where several sources report an event, the source of the price on the ex-date is followed, if it
    reports that class of event at all: its prices and its actions belong together.
    """
    bound = {"sources": list(choice.sources), "after": after}
    rows = as_arrow(
        con.execute(
            "with reported as ("  # noqa: S608 - no user text
            " select *, ratio is not null as of_shares,"
            "  coalesce(list_position($sources, source), 1000) as rank"
            f" from corporate_actions where security_id in ({listed_ids(choice.securities)})"
            "  and ex_date > $after and kind <> 'vendor_error'"
            "  and (ratio is not null or amount is not null or value_factor is not null)),"
            "priced as ("
            " select p.security_id, p.session, p.source, p.close, p.basis_on, p.currency"
            " from daily_prices p where session > $after and list_contains($sources, source)"
            "  and (security_id, session) in (select security_id, ex_date from reported)"
            + best(choice)
            + ") select t.security_id, t.ex_date, t.ratio, t.amount, t.value_factor, t.basis_on,"
            " t.kind, t.kind = 'spin_off' as in_kind, t.currency::varchar as paid_in,"
            " p.close, p.basis_on as close_basis, p.currency::varchar as priced_in"
            " from reported t left join priced p"
            "  on p.security_id = t.security_id and p.session = t.ex_date"
            " left join sources s on s.source = p.source"
            " where p.source is null or p.source = t.source"
            "  or not (case when t.of_shares then s.has_splits else s.has_distributions end)"
            " qualify t.source = first(t.source) over ("
            "  partition by t.security_id, t.ex_date, t.of_shares"
            "  order by coalesce(t.source = p.source, false) desc, t.rank, t.source)",
            bound,
        )
    )
    rows = _with_closes_around(con, choice, rows)
    rate = rates(rows["paid_in"].to_pylist(), rows["priced_in"].to_pylist())
    without_rate = np.isnan(rate) & rows["amount"].is_valid().to_numpy()
    known = Actions(
        securities=ints(rows, "security_id"),
        days=days(rows, "ex_date"),
        ratio=floats(rows, "ratio"),
        amount=floats(rows, "amount") * rate,
        value_factor=floats(rows, "value_factor"),
        in_kind=rows["in_kind"].to_numpy(),
        amount_basis=days(rows, "basis_on"),
        close=floats(rows, "close"),
        close_basis=days(rows, "close_basis"),
        close_before=floats(rows, "close_before"),
        before_basis=days(rows, "before_basis"),
    )
    columns = ["security_id", "ex_date", "kind", "amount", "paid_in", "priced_in"]
    return Events(known, rows.select(columns).filter(pa.array(without_rate)).to_pylist())


def _with_closes_around(con: duckdb.DuckDBPyConnection, choice: Choice, rows: pa.Table) -> pa.Table:
    """``rows`` with the close before each spin-off, and the next close where the ex-date has none.

    Few actions need either, so only the prices of their securities are read. An action after the
    last price has no next close.
    """
    unpriced = rows["close"].is_null()
    incomplete = rows.filter(pc.and_(rows["amount"].is_valid(), pc.or_(rows["in_kind"], unpriced)))
    if incomplete["close"].null_count:
        [(last,)] = con.execute(
            "select max(session) from daily_prices where list_contains($sources, source)"  # noqa: S608 - no user text
            f" and security_id in ({listed_ids(incomplete['security_id'].unique().to_pylist())})",
            {"sources": list(choice.sources)},
        ).fetchall()
        end = pa.scalar(last, pa.date32())
        incomplete = incomplete.filter(pc.less_equal(incomplete["ex_date"], end))
    if incomplete.num_rows == 0:
        count = rows.num_rows
        return rows.append_column("close_before", pa.nulls(count, pa.float64())).append_column(
            "before_basis", pa.nulls(count, pa.date32())
        )
    con.register("incomplete", incomplete)
    con.register("events", rows)
    return as_arrow(
        con.execute(
            "with around as ("  # noqa: S608 - no user text
            " select security_id, session, close, basis_on, currency::varchar as priced_in"
            " from daily_prices p"
            f" where security_id in ({listed_ids(incomplete['security_id'].unique().to_pylist())})"
            "  and list_contains($sources, source)"
            + best(choice)
            + "), closes as (select n.security_id, n.ex_date, x.close, x.basis_on as close_basis,"
            "  coalesce(x.priced_in, b.priced_in) as priced_in,"
            "  b.close as close_before, b.basis_on as before_basis"
            " from (select distinct security_id, ex_date from incomplete) n"
            " asof left join around x on x.security_id = n.security_id and x.session >= n.ex_date"
            " asof left join around b on b.security_id = n.security_id and b.session < n.ex_date)"
            "select e.* replace (coalesce(e.close, c.close) as close,"
            " coalesce(e.close_basis, c.close_basis) as close_basis,"
            " coalesce(e.priced_in, c.priced_in) as priced_in),"
            " c.close_before, c.before_basis"
            " from events e left join closes c using (security_id, ex_date)",
            {"sources": list(choice.sources)},
        )
    )


def best(choice: Choice) -> str:
    """SQL that keeps the row of the preferred source; none where there is only one source."""
    if len(choice.sources) < 2:
        return ""
    return (
        f" qualify row_number() over (partition by security_id, session order by {choice.ranked})"
        " = 1"
    )


def ints(rows: pa.Table, name: str) -> Ints:
    """A whole-number column as int64; null becomes 0."""
    values: Ints = rows[name].fill_null(0).cast(pa.int64()).to_numpy()
    return values


def floats(rows: pa.Table, name: str) -> Floats:
    """A number column as float64; null becomes NaN."""
    values: Floats = rows[name].cast(pa.float64()).to_numpy()
    return values


def days(rows: pa.Table, name: str) -> Ints:
    """A date column as days since 1970-01-01; null becomes 0."""
    numbers = rows[name].cast(pa.date32()).cast(pa.int32()).cast(pa.int64())
    values: Ints = numbers.fill_null(0).to_numpy()
    return values
