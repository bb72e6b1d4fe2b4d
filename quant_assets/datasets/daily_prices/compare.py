"""An answer beside what is stored: which values it repeats, changes, or brings for the first time.

Between identifying an answer's rows and storing them. ``one_security`` decides about one of them;
here those with differences are found, and the verdicts put together. Nothing is written.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quant_assets.contracts.prices import PriceProfile
from quant_assets.datasets.daily_prices.events import (
    Reach,
    beside_those_listed,
    changed_events,
    events_of,
    keys_of,
    read_events,
    with_records,
)
from quant_assets.datasets.daily_prices.identify import Identified, first_of_each
from quant_assets.datasets.daily_prices.one_security import BARS, Comparing
from quant_assets.datasets.daily_prices.spin_offs import (
    known_of,
    newly_unknown,
    with_unknown_basis,
)
from quant_assets.reference.spin_offs import KnownSpinOff
from quant_assets.schema.row_rules import REJECTED
from quant_assets.warehouse.writing import listed_ids

DIFFERENCES = pa.schema(
    [("security_id", pa.int32()), ("session", pa.date32()), ("difference", pa.string())]
)


@dataclass(frozen=True)
class Compared:
    """``rows`` and ``actions`` as they are to be stored, keyed by security_id.

    ``blocked`` are securities of which nothing is to be stored, each with why; their rows and
    actions are left out. ``differences`` name the class of each row whose values will change,
    ``taken`` the events on record that stand no longer as they did. ``doubted`` are rows that are
    unlike those around them. ``notices`` say what was taken back, and what nobody explains.
    """

    rows: pa.Table
    actions: pa.Table
    blocked: Mapping[int, str] = field(default_factory=dict)
    differences: pa.Table = field(default_factory=DIFFERENCES.empty_table)
    taken: pa.Table = field(default_factory=lambda: keys_of({}))
    doubted: pa.Table = field(default_factory=REJECTED.empty_table)
    notices: tuple[str, ...] = ()


def compare_events_and_rows(
    con: duckdb.DuckDBPyConnection,
    source: PriceProfile,
    identified: Identified,
    actions: pa.Table,
    within: Mapping[int, Reach],
    *,
    spin_offs: Mapping[int, Sequence[KnownSpinOff]],
    accept: bool = False,
) -> Compared:
    """Compare the rows and ``actions`` of an answer with what is stored of the same source.

    The answer lists all events ``within`` its reach; ``spin_offs`` are known whatever it lists.
    With ``accept`` the source's present values are believed where they are those of a whole series.
    """
    rows = identified.keyed(identified.accepted, "session")
    actions = first_of_each(
        identified.keyed(actions, "ex_date"), ("security_id", "ex_date", "kind")
    )
    present = {*rows["security_id"].unique().to_pylist()}
    reported = events_of(actions)
    on_record = read_events(con, source.name, present | {*reported})
    firsts = _first_stored(con, source.name, present)
    changed = changed_events(source, on_record, reported, within, firsts, accept=accept)
    known = {
        security: known_of(
            spin_offs.get(security, ()), on_record.get(security, ()), reported.get(security, ())
        )
        for security in present & ({*spin_offs} | {*on_record})
    }
    known = {security: some for security, some in known.items() if some}
    whole = present & ({*changed.in_other_shares} | {*known})
    off = whole | (_securities_that_differ(con, source.name, rows) if firsts else set())
    comparing = Comparing(
        con,
        source,
        identified.symbols,
        reported,
        changed,
        known,
        firsts,
        whole,
        accept,
    )
    differs = pc.is_in(rows["security_id"], pa.array(sorted(off), pa.int32()))
    incoming, rest = rows.filter(differs), rows.filter(pc.invert(differs))
    verdicts = {
        security: comparing.verdict(security, some)
        for security, some in _by_security(incoming).items()
    }
    blocked = {security: each.hold for security, each in verdicts.items() if each.hold}
    verdicts = {security: each for security, each in verdicts.items() if not each.hold}
    taken = {**changed.taken, **{security: each.taken for security, each in verdicts.items()}}
    taken = {security: some for security, some in taken.items() if security not in blocked}
    is_blocked = pc.is_in(actions["security_id"], pa.array(list(blocked), pa.int32()))
    ours = [record for each in verdicts.values() for record in each.records]
    differences = [
        (security, *difference)
        for security, each in verdicts.items()
        for difference in each.differences.items()
    ]
    stored = pa.concat_tables([rest, *(each.rows for each in verdicts.values())])
    stored = stored.sort_by([("security_id", "ascending"), ("session", "ascending")])
    symbols, unknown = identified.symbols, []
    if source.live and not source.simulated:
        stored = with_unknown_basis(stored)
        unknown = newly_unknown(con, source.name, stored, symbols)
    return Compared(
        stored,
        beside_those_listed(
            with_records(actions.filter(pc.invert(is_blocked)), ours), on_record, taken
        ),
        blocked,
        pa.table([*zip(*differences, strict=True)] or [(), (), ()], DIFFERENCES),
        keys_of(taken),
        pa.concat_tables([REJECTED.empty_table(), *(each.doubted for each in verdicts.values())]),
        (
            *(f"{symbols[security]}: {why}." for security, why in changed.reasons.items()),
            *(
                f"{symbols[security]}: {each.sentence}."
                for security, some in taken.items()
                for each in some
                if each.difference != "reclassified"
            ),
            *(notice for each in verdicts.values() for notice in each.notices),
            *unknown,
        ),
    )


def _securities_that_differ(
    con: duckdb.DuckDBPyConnection, source: str, rows: pa.Table
) -> set[int]:
    """The securities with a row whose values differ from the stored one."""
    con.register("incoming", rows.select(["security_id", "session", *BARS]))
    try:
        found = con.execute(
            "select distinct security_id from incoming t join daily_prices p using"  # noqa: S608 - our own columns
            " (security_id, session) where p.source = ? and ("
            + " or ".join(f"p.{name} is distinct from t.{name}" for name in BARS)
            + ")",
            [source],
        ).fetchall()
    finally:
        con.unregister("incoming")
    return {row[0] for row in found}


def _first_stored(
    con: duckdb.DuckDBPyConnection, source: str, securities: Collection[int]
) -> dict[int, dt.date]:
    """The first session that a source has stored of each security."""
    if not securities:
        return {}
    return dict(
        con.execute(
            "select security_id, min(session) from daily_prices where source = ?"  # noqa: S608 - no user text
            f" and security_id in ({listed_ids(sorted(securities))}) group by 1",
            [source],
        ).fetchall()
    )


def _by_security(rows: pa.Table) -> dict[int, pa.Table]:
    """Rows sorted by session, a table for each security."""
    ordered = rows.sort_by([("security_id", "ascending"), ("session", "ascending")])
    ids = ordered["security_id"].to_numpy()
    numbers, begins = np.unique(ids, return_index=True)
    ends = [*begins, len(ids)][1:]
    return {
        int(number): ordered.slice(begin, end - begin)
        for number, begin, end in zip(numbers, begins, ends, strict=True)
    }
