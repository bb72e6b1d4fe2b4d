"""An answer beside what is stored: which values it repeats, changes, or brings for the first time.

Between identifying an answer's rows and storing them. ``overlap`` classifies the differences, one
security at a time; here the securities with differences are found, and its verdicts put together.
Nothing is written.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quant_assets.contracts.prices import PriceProfile
from quant_assets.datasets.daily_prices.identify import Identified, first_of_each
from quant_assets.price_rules.corporate_actions import split_kind
from quant_assets.price_rules.overlap import compare
from quant_assets.warehouse.writing import as_arrow, listed_ids

BARS = ("open", "high", "low", "close", "volume")

DIFFERENCES = pa.schema(
    [("security_id", pa.int32()), ("session", pa.date32()), ("difference", pa.string())]
)


@dataclass(frozen=True)
class Compared:
    """``rows`` and ``actions`` as they are to be stored, keyed by security_id.

    ``blocked`` are securities of which nothing is to be stored, each with why; their rows and
    actions are left out. ``differences`` name the class of each row whose values will change.
    """

    rows: pa.Table
    actions: pa.Table
    blocked: Mapping[int, str] = field(default_factory=dict)
    differences: pa.Table = field(default_factory=DIFFERENCES.empty_table)


def compare_events_and_rows(
    con: duckdb.DuckDBPyConnection,
    source: PriceProfile,
    identified: Identified,
    actions: pa.Table,
    *,
    accept: bool = False,
) -> Compared:
    """Compare the rows and ``actions`` of an answer with what is stored of the same source.

    With ``accept`` nothing is blocked: the source's present values are believed.
    """
    rows = identified.keyed(identified.accepted, "session")
    actions = first_of_each(
        identified.keyed(actions, "ex_date"), ("security_id", "ex_date", "kind")
    )
    off = _securities_that_differ(con, source.name, rows)
    if not off:
        return Compared(rows, actions)
    differs = pc.is_in(rows["security_id"], pa.array(off, pa.int32()))
    incoming, rest = rows.filter(differs), rows.filter(pc.invert(differs))
    stored = _stored(con, source.name, incoming)
    events = _events(con, source.name, off, actions)
    symbols = identified.symbols
    kept, inferred, blocked, differences = [rest], [], {}, []
    for security, some in _by_security(incoming).items():
        named = some.append_column("symbol", pa.repeat(symbols[security], some.num_rows))
        found = compare(
            stored[security],
            named,
            reports_splits=source.has_splits,
            splits=events.get((security, True), ()),
            dividends=events.get((security, False), ()),
        )
        if found.hold and not accept:
            blocked[security] = found.hold
            continue
        kept.append(found.rows.select(rows.column_names))
        differences += [(security, *difference) for difference in found.differences.items()]
        inferred += [
            _split(security, split.ex_date, split.ratio, some["currency"][0].as_py())
            for split in found.splits
        ]
    is_blocked = pc.is_in(actions["security_id"], pa.array(list(blocked), pa.int32()))
    kept_actions = actions.filter(pc.invert(is_blocked))
    if inferred:
        schema = kept_actions.schema
        kept_actions = pa.concat_tables([kept_actions, pa.Table.from_pylist(inferred, schema)])
    return Compared(
        pa.concat_tables(kept).sort_by([("security_id", "ascending"), ("session", "ascending")]),
        kept_actions,
        blocked,
        pa.table([*zip(*differences, strict=True)] or [(), (), ()], DIFFERENCES),
    )


def _securities_that_differ(
    con: duckdb.DuckDBPyConnection, source: str, rows: pa.Table
) -> list[int]:
    """The securities with a row whose values differ from the stored one."""
    [(any_stored,)] = con.execute(
        "select exists (from daily_prices where source = ? and security_id in"
        f" ({listed_ids(rows['security_id'].unique().to_pylist())}))",
        [source],
    ).fetchall()
    if not any_stored:
        return []
    con.register("incoming", rows.select(["security_id", "session", *BARS]))
    try:
        found = con.execute(
            "select distinct security_id from incoming t join daily_prices p using"  # noqa: S608 - our own columns
            " (security_id, session) where p.source = ? and ("
            + " or ".join(f"p.{name} is distinct from t.{name}" for name in BARS)
            + ") order by 1",
            [source],
        ).fetchall()
    finally:
        con.unregister("incoming")
    return [row[0] for row in found]


def _stored(con: duckdb.DuckDBPyConnection, source: str, incoming: pa.Table) -> dict[int, pa.Table]:
    """The stored rows of the securities in ``incoming``, from the first incoming session on."""
    first = pc.min(incoming["session"]).as_py()
    rows = as_arrow(
        con.execute(
            f"select security_id, session, {', '.join(BARS)}, basis_on from daily_prices"  # noqa: S608 - no user text
            f" where source = ? and session >= ? and security_id in"
            f" ({listed_ids(incoming['security_id'].unique().to_pylist())})"
            " order by security_id, session",
            [source, first],
        )
    )
    return _by_security(rows)


def _by_security(rows: pa.Table) -> dict[int, pa.Table]:
    """Rows sorted by session, a table for each security."""
    ordered = rows.sort_by([("security_id", "ascending"), ("session", "ascending")])
    ids = ordered["security_id"].to_numpy()
    numbers, begins = np.unique(ids, return_index=True)
    ends = [*begins[1:], len(ids)]
    return {
        int(number): ordered.slice(begin, end - begin)
        for number, begin, end in zip(numbers, begins, ends, strict=True)
    }


def _events(
    con: duckdb.DuckDBPyConnection, source: str, securities: list[int], actions: pa.Table
) -> dict[tuple[int, bool], list[tuple[dt.date, float]]]:
    """Splits (True) and dividends (False) reported now or on record, by security."""
    found: dict[tuple[int, bool], set[tuple[dt.date, float]]] = defaultdict(set)
    stored = con.execute(
        "select security_id, ex_date, ratio, amount from corporate_actions where source = ?"  # noqa: S608 - no user text
        f" and security_id in ({listed_ids(securities)})",
        [source],
    ).fetchall()
    names = ("security_id", "ex_date", "ratio", "amount")
    incoming = zip(*(actions[name].to_pylist() for name in names), strict=True)
    for security, day, ratio, amount in (*stored, *incoming):
        for number, of_shares in ((ratio, True), (amount, False)):
            if number is not None:
                found[security, of_shares].add((day, number))
    return {key: sorted(events) for key, events in found.items()}


def _split(security: int, ex_date: dt.date, ratio: float, currency: str) -> dict[str, object]:
    """The record of a split that a source's prices show and its list does not."""
    return {
        "security_id": security,
        "ex_date": ex_date,
        "kind": split_kind(ratio),
        "ratio": ratio,
        "currency": currency,
        "basis_on": ex_date,
        "kind_by": "overlap",
        "note": "seen in prices told again in other shares",
    }
