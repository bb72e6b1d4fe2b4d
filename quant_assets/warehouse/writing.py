"""One open write transaction: bulk upserts, revisions and the ledger.

Everything that is ever written passes through ``Writing.upsert``. Opening the warehouse and taking
its lock is ``warehouse.py``'s.
"""

from __future__ import annotations

import datetime as dt
import warnings
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import duckdb

from quant_assets.schema.loads import LEDGER
from quant_assets.schema.table import Table

if TYPE_CHECKING:
    import pyarrow as pa

ROW_GROUP = 122_880
"""Rows DuckDB stores and compresses together."""


class DuplicateKeyError(ValueError):
    """Two rows with one key in an upsert."""

    def __init__(self, table: Table, key: Mapping[str, object]) -> None:
        super().__init__(f"Two rows for one key of {table.name}: {dict(key)}.")


@dataclass(frozen=True)
class Upserted:
    """Counts of rows in an upsert; ``by_key`` has those of each value of the first key column."""

    inserted: int = 0
    revised: int = 0
    unchanged: int = 0
    by_key: Mapping[Any, tuple[int, int, int]] = field(default_factory=dict)


@dataclass
class Writing:
    """One open write transaction; made by ``Warehouse.writing`` only."""

    con: duckdb.DuckDBPyConnection
    run_id: str
    now: dt.datetime

    def upsert(
        self,
        table: Table,
        rows: pa.Table,
        *,
        constants: Mapping[str, object] | None = None,
        differences: pa.Table | None = None,
        supersede: Sequence[str] = (),
    ) -> Upserted:
        """Insert new rows, replace those whose values differ, leave the rest alone.

        ``rows`` holds the key and value columns of ``table``, ``constants`` those that are the same
        in every row; a column in neither is null, and run and times are filled in here. No two rows
        have one key. A replaced row of a ``revised`` table moves to its revisions with
        the class of the difference: as ``differences`` (columns of the key, difference) names it,
        else restatement. A row that differs only in its standing is replaced without a
        revision, and counts as unchanged. With ``supersede``, rows that agree with an incoming one
        on these columns but have another key are replaced too. Raises DuplicateKeyError.
        """
        if rows.num_rows == 0:
            return Upserted()
        self.con.register("arrow_rows", _in_row_groups(rows))
        try:
            self._stage(table, set(rows.column_names), dict(constants or {}))
            self._check_keys(
                table, rows, [key for key in table.key if key not in (constants or {})]
            )
            if not self._meets(table, supersede or table.key):
                self.con.execute(f"insert into {table.name} by name select * from incoming")
                return self._count(table, "incoming", "'inserted'")
            self._compare(table)
        finally:
            with suppress(duckdb.Error):  # in a broken transaction, its cause is what matters
                self.con.execute("drop view if exists incoming")
            self.con.unregister("arrow_rows")
        if supersede:
            self._retire(
                table,
                f"semi join staged s on {_equal('t', 's', supersede)} "
                f"where not exists (from staged k where {_equal('t', 'k', table.key)})",
                "reclassified",
            )
        self._retire(
            table,
            f"semi join staged s on {_equal('t', 's', table.key)} and s.status = 'revised'",
            "restatement",
            differences,
        )
        if table.standings:
            self.con.execute(
                f"delete from {table.name} t using staged s"
                f" where s.status = 'restated' and {_equal('t', 's', table.key)}"
            )
        self.con.execute(
            f"insert into {table.name} by name "
            "select * exclude (status) from staged where status <> 'unchanged'"
        )
        return self._count(table, "staged", "status")

    def withdraw(self, table: Table, keys: pa.Table, constants: Mapping[str, object]) -> None:
        """Move rows to the revisions of ``table``; ``keys`` has columns of its key, ``constants``
        the others, and each row the class of its difference.
        """
        if keys.num_rows == 0:
            return
        self.con.register("withdrawn", keys)
        try:
            columns = [name for name in keys.column_names if name != "difference"]
            same = " and ".join(
                f"t.{name} = {_literal(value)}" for name, value in constants.items()
            )
            self._retire(
                table,
                f"semi join withdrawn w on {_equal('t', 'w', columns)} where {same}",
                "withdrawn",
                keys,
            )
        finally:
            self.con.unregister("withdrawn")

    def _stage(self, table: Table, given: set[str], constants: dict[str, object]) -> None:
        """Make the view ``incoming``: the rows with every column of the table, typed."""
        times = ("created_at", "updated_at", "fetched_at", "asked_at", "detected_at")
        fills: dict[str, object] = dict.fromkeys(times, self.now) | {"run_id": self.run_id}
        fills |= constants
        parts = []
        for column in table.columns:
            value = f"i.{column.name}" if column.name in given else _literal(fills.get(column.name))
            parts.append(f"cast({value} as {column.sql}) as {column.name}")
        self.con.execute(
            f"create or replace temp view incoming as select {', '.join(parts)} from arrow_rows i"
        )

    def _check_keys(self, table: Table, rows: pa.Table, varying: Sequence[str]) -> None:
        if _rising(rows, varying):
            return
        keys = ", ".join(varying)
        twice = self.con.execute(
            f"select {keys} from incoming group by all having count(*) > 1 limit 1"
        ).fetchall()
        if twice:
            raise DuplicateKeyError(table, dict(zip(varying, twice[0], strict=True)))

    def _meets(self, table: Table, columns: Sequence[str]) -> bool:
        """Whether the table holds any row that agrees with an incoming one on ``columns``."""
        tries = [columns]
        if "security_id" in columns:
            # The ids alone show that securities are new, in a hundredth of the time.
            tries.insert(0, ["security_id"])
        for which in tries:
            [(meets,)] = self.con.execute(
                f"select exists (from {table.name} t semi join"
                f" (select distinct {', '.join(which)} from incoming) i"
                f" on {_equal('i', 't', which)})"
            ).fetchall()
            if not meets:
                return False
        return True

    def _compare(self, table: Table) -> None:
        """Make the temporary table ``staged``: incoming rows, each with its status.

        A row is inserted, revised, restated (it differs only in its standing) or unchanged.
        """
        changed, restated = (
            " or ".join(f"i.{name} is distinct from t.{name}" for name in names) or "false"
            for names in (table.values, table.standings)
        )
        self.con.execute(
            "create or replace temp table staged as "
            "select i.* replace (coalesce(t.created_at, i.created_at) as created_at), "
            f"case when t.{table.key[0]} is null then 'inserted' "
            f"when {changed} then 'revised' when {restated} then 'restated'"
            " else 'unchanged' end as status "
            f"from incoming i left join {table.name} t on {_equal('i', 't', table.key)}"
        )

    def _retire(
        self, table: Table, which: str, difference: str, differences: pa.Table | None = None
    ) -> None:
        """Delete the rows ``t`` of ``table`` that ``which`` selects, keeping them as revisions."""
        self.con.execute(
            f"create or replace temp table retired as select t.* from {table.name} t {which}"
        )
        [(any_retired,)] = self.con.execute("select exists (from retired)").fetchall()
        if not any_retired:
            return
        if table.revised:
            named, join = "?", ""
            if differences is not None and differences.num_rows:
                self.con.register("differences", differences)
                named = "coalesce(d.difference, ?)"
                keys = [name for name in differences.column_names if name != "difference"]
                join = f" left join differences d using ({', '.join(keys)})"
            self.con.execute(
                f"insert into {table.revisions.name} by name select r.*, cast(? as timestamp) as "
                f"revised_at, cast(? as uuid) as revised_by_run, {named} as difference"
                f" from retired r{join}",
                [self.now, self.run_id, difference],
            )
        self.con.execute(
            f"delete from {table.name} t using retired r where {_equal('t', 'r', table.key)}"
        )

    def _count(self, table: Table, rows: str, status: str) -> Upserted:
        counts = self.con.execute(
            f"select {table.key[0]}, count(*) filter ({status} = 'inserted'), "
            f"count(*) filter ({status} = 'revised'),"
            f" count(*) filter ({status} in ('unchanged', 'restated')) "
            f"from {rows} group by 1"
        ).fetchall()
        inserted, revised, unchanged = (sum(row[column] for row in counts) for column in (1, 2, 3))
        by_key = {row[0]: row[1:] for row in counts if row[0] is not None}
        return Upserted(inserted, revised, unchanged, by_key)

    def record_outcomes(self, dataset: Table, source: str, outcomes: pa.Table) -> Upserted:
        """Record in the ledger the outcomes of symbol-days that have no row of ``source``.

        ``outcomes`` has security_id, session, outcome and reason; those of symbol-days that have a
        row are left out.
        """
        if outcomes.num_rows == 0:
            return Upserted()
        concerned = listed_ids(outcomes["security_id"].unique().to_pylist())
        self.con.register("outcomes", outcomes)
        try:
            absent = as_arrow(
                self.con.execute(
                    "select o.* from outcomes o anti join (select security_id, session"
                    f" from {dataset.name} where source = ? and security_id in ({concerned})) p"
                    " using (security_id, session)",
                    [source],
                )
            )
        finally:
            self.con.unregister("outcomes")
        constants = {"dataset": dataset.name, "source": source}
        return self.upsert(LEDGER, absent, constants=constants)

    def clear_outcomes(self, dataset: Table, source: str, securities: Sequence[int]) -> None:
        """Delete from the ledger the symbol-days that have a row of ``source`` by now."""
        noted = self.con.execute(
            f"select distinct security_id from {LEDGER.name} where dataset = ? and source = ?",
            [dataset.name, source],
        ).fetchall()
        concerned = {row[0] for row in noted} & set(securities)
        if not concerned:
            return
        self.con.execute(
            f"delete from {LEDGER.name} l using (select security_id, session from {dataset.name}"
            f" where source = $source and security_id in ({listed_ids(sorted(concerned))})) p"
            " where l.dataset = $dataset and l.source = $source"
            f" and {_equal('l', 'p', ('security_id', 'session'))}",
            {"dataset": dataset.name, "source": source},
        )


def listed_ids(securities: Iterable[int]) -> str:
    """Security ids as SQL. Literals, and not bound, so that DuckDB can skip blocks of rows."""
    return ", ".join(str(int(number)) for number in securities) or "null"


def _in_row_groups(rows: pa.Table) -> pa.Table:
    """The rows in batches of a DuckDB row group, which it then compresses on all cores.

    Quarters of a batch are sorted by session, where rows have one. A read of a year then skips most
    blocks, where a block of one security's whole history has something of every year; a read of one
    security still finds its rows close together.
    """
    make = type(rows).from_batches
    if "session" in rows.column_names:
        quarters = rows.combine_chunks().to_batches(max_chunksize=ROW_GROUP // 3)
        rows = make([quarter.sort_by("session") for quarter in quarters], schema=rows.schema)
    batches = rows.combine_chunks().to_batches(max_chunksize=ROW_GROUP)
    return make(batches, schema=rows.schema)


def as_arrow(result: duckdb.DuckDBPyConnection) -> pa.Table:
    """An executed query's result as an Arrow table.

    DuckDB 2 warns that its relations would save a copy; with 1.5 they take 12 ms longer a query.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Arrow output on a DB-API result")
        return result.to_arrow_table()


def _rising(rows: pa.Table, keys: Sequence[str]) -> bool:
    """Whether rows are keyed by two whole numbers or dates that only rise, so that no key repeats.

    Prices arrive so, and this costs a tenth of grouping a million rows.
    """
    import numpy as np
    import pyarrow as pa

    if len(keys) != 2 or any(not _countable(rows[key].type) for key in keys):
        return False
    first, second = (
        rows[key].cast(pa.int32()).fill_null(0).to_numpy().astype(np.int64) for key in keys
    )
    return bool((np.diff((first << 32) + second) > 0).all())


def _countable(kind: pa.DataType) -> bool:
    return str(kind) in ("int32", "date32[day]")


def _literal(value: object) -> str:
    """A value from the code, not from a user, as SQL: a view can't bind parameters."""
    if value is None:
        return "null"
    if isinstance(value, bool | int | float):
        return str(value)
    return "'" + str(value).replace("'", "''") + "'"


def _equal(left: str, right: str, columns: Sequence[str]) -> str:
    return " and ".join(f"{left}.{name} = {right}.{name}" for name in columns)
