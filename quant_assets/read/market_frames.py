"""The whole market as a pandas frame."""

from __future__ import annotations

import datetime as dt
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import numpy as np
import pyarrow as pa

from quant_assets.read.adjusted_rows import UnknownSourceError
from quant_assets.read.arguments import Day, day_of
from quant_assets.read.missing import MissingDataWarning
from quant_assets.read.opening import settings_of, warehouse_of
from quant_assets.schema.market import MARKET_SNAPSHOT
from quant_assets.settings.settings import Settings
from quant_assets.warehouse.writer_lock import Clock, utc_now
from quant_assets.warehouse.writing import as_arrow

if TYPE_CHECKING:
    import pandas as pd

LISTS_WITHIN = dt.timedelta(days=10)
"""How much older than the newest list another one may be and still be shown."""


def market(
    *,
    on: Day | None = None,
    source: str | None = None,
    home: Path | str | None = None,
    settings: Settings | None = None,
    clock: Clock = utc_now,
) -> pd.DataFrame:
    """Every listed security of the US market, by the last snapshot up to a day; today by default.

    Returns one row a security, sorted by symbol: symbol, security_id, name, type (see
    ``contracts.market``), exchange, session (of the row: where a list of that evening was stale or
    failed, the one before is shown), last_sale and net_change (USD a share), volume (shares),
    market_cap (USD, the last one believed), market_cap_on (its session), reported_market_cap (as
    the source had it on session), implied_shares, country, ipo_year, sector, industry (in the
    source's scheme) and source. Where several sources have a security, one with a last sale is
    taken, then the newest; or only rows of ``source``. Days are datetime64 without a zone.

    ``frame.attrs`` has ``on``, ``lists`` (each source and list with the session shown) and
    ``not_believed`` (how many rows show an earlier market capitalisation than that of session).
    Where no snapshot up to the day is stored, the frame is empty, ``frame.attrs["missing"]`` says
    so, and a ``MissingDataWarning`` is given. Raises ArgumentError (``on`` is no day, or in the
    future), UnknownSourceError, WarehouseError.
    """
    import pandas as pd  # noqa: PLC0415 - importing this function loads no pandas

    day = clock().date() if on is None else day_of("on", on, clock)
    with warehouse_of(settings or settings_of(home)).reading() as con:
        bound = {"on": day, "source": source}
        [(newest,)] = con.execute(
            "select max(session) from market_snapshot"
            " where session <= $on and ($source is null or source = $source)",
            bound,
        ).fetchall()
        if newest is None and source is not None:
            _require_source(con, source)
        bound["since"] = (newest or day) - LISTS_WITHIN
        lists = con.execute(_LISTS, bound).fetchall()
        rows = as_arrow(con.execute(_ROWS, bound))
    # Arrow's texts are taken as they are; DuckDB's own way into pandas copies each one.
    text, whole = pd.StringDtype("pyarrow", na_value=np.nan), pd.Int64Dtype()
    types = {pa.string(): text, pa.int64(): whole}
    frame: pd.DataFrame = _best(rows).to_pandas(types_mapper=types.get, date_as_object=False)
    frame = frame.astype(dict.fromkeys(("session", "market_cap_on"), "datetime64[s]"))
    stale = frame["market_cap"].notna() & (frame["market_cap_on"] < frame["session"])
    frame.attrs |= {
        "on": day.isoformat(),
        "lists": {f"{name} {feed}": str(session) for name, feed, session in lists},
        "not_believed": int(stale.sum()),
    }
    if frame.empty:
        why = f"no snapshot up to {day} is stored"
        frame.attrs["missing"] = {MARKET_SNAPSHOT.name: why}
        load_it = f"quant-assets refresh --datasets {MARKET_SNAPSHOT.name} loads one"
        warnings.warn(f"The frame is empty: {why}; {load_it}.", MissingDataWarning, stacklevel=2)
    return frame


def _require_source(con: duckdb.DuckDBPyConnection, source: str) -> None:
    rows = con.execute("select distinct source from market_snapshot order by 1").fetchall()
    stored = [row[0] for row in rows]
    if source not in stored:
        raise UnknownSourceError(source, stored)


_LISTS = (
    "select source, feed, max(session) as session from market_snapshot"
    " where session between $since and $on and ($source is null or source = $source)"
    " group by all order by all"
)

_ROWS = (
    "select symbol, security_id, name, type, exchange, session, last_sale, net_change, volume,"  # noqa: S608 - our own columns
    " market_cap, market_cap_on, reported_market_cap, implied_shares, country,"
    " ipo_year::bigint as ipo_year, sector, industry, source from market_snapshot"
    f" semi join ({_LISTS}) using (source, feed, session)"
    " where session between $since and $on"
)


def _best(rows: pa.Table) -> pa.Table:
    """One row a security, by symbol: one with a last sale, then the newest, then by source."""
    unpriced = rows["last_sale"].is_null()
    keyed = rows.append_column("unpriced", unpriced).sort_by(
        [("unpriced", "ascending"), ("session", "descending"), ("source", "ascending")]
    )
    first = np.unique(keyed["security_id"].to_numpy(), return_index=True)[1]
    return keyed.take(pa.array(first)).sort_by("symbol").drop_columns(["unpriced"])
