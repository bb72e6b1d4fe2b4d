"""A dataset that is a declaration: its tables, when it is due, and the rules of its rows.

A dataset whose answers need more than that (a calendar, corporate actions, a ledger of symbol-days)
has a folder of its own.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quant_assets.contracts.rows import RowAnswer
from quant_assets.contracts.source import SourceError, SourceProfile
from quant_assets.loading.dataset import DueRule, Stored
from quant_assets.loading.report import SymbolReport
from quant_assets.loading.work import Plan
from quant_assets.reference.identity import AmbiguousSymbolError, UnknownSymbolError, resolve
from quant_assets.schema.loads import QUARANTINE
from quant_assets.schema.row_rules import (
    Checked,
    Mask,
    Verdict,
    check_bounds,
    check_fields,
    rejected_rows,
)
from quant_assets.schema.securities import SOURCE_SYMBOLS
from quant_assets.schema.table import Table
from quant_assets.securities.names import read_names
from quant_assets.warehouse.writing import Writing

RowRule = tuple[str, Callable[[pa.Table], Mask]]
"""The reason for which a row is rejected, and the mask of the rows it holds for."""

Compare = Callable[[Writing, Table, pa.Table], Checked]
"""Sorts the good rows of a table by what is stored, in the transaction that writes them."""


@dataclass(frozen=True)
class CheckedRows:
    """An answer, and the rows of each of its tables sorted into good and rejected ones."""

    answer: RowAnswer
    tables: Mapping[str, Checked]


@dataclass(frozen=True)
class RowDataset:
    """``rows`` holds each table with the columns of its rows in an answer, ``symbol`` among them.

    Rows are counted in the first table, whose key begins with security_id or symbol. With
    ``security`` by_symbol each row gets the security that its symbol means on the last day
    requested, and a symbol that means none fails. ``checks`` are rules by table name.
    """

    name: str
    rows: Sequence[tuple[Table, pa.Schema]]
    rule: DueRule
    checks: Mapping[str, Sequence[RowRule]] = field(default_factory=dict)
    compare: Compare | None = None
    security: Literal["by_symbol", "none"] = "by_symbol"

    @property
    def tables(self) -> tuple[Table, ...]:
        return tuple(table for table, _ in self.rows)

    def no_answer(self, symbols: Sequence[str], failures: Mapping[str, SourceError]) -> RowAnswer:
        return RowAnswer(tuple(symbols), failures=failures)

    def check(self, answer: RowAnswer, now: dt.datetime) -> CheckedRows:
        answered = answer.tables
        checked = {
            table.name: self._check(table, answered.get(table.name, schema.empty_table()), schema)
            for table, schema in self.rows
        }
        return CheckedRows(answer, checked)

    def _check(self, table: Table, answered: pa.Table, schema: pa.Schema) -> Checked:
        rows = answered.select(schema.names).cast(schema)
        rows = rows.group_by(schema.names, use_threads=False).aggregate([])
        verdict = Verdict(rows.num_rows)
        check_fields(rows, table, verdict)
        check_bounds(rows, table, verdict)
        for reason, holds in self.checks.get(table.name, ()):
            verdict.reject(holds(rows), reason)
        key = [name for name in ("symbol", *table.key) if name in schema.names]
        twice = _of_one_key(rows, list(dict.fromkeys(key))) & ~verdict.bad
        verdict.reject(twice, "another row of the same key differs")
        return Checked(rows.filter(pa.array(~verdict.bad)), rejected_rows(rows, verdict))

    def store(self, writing: Writing, checked: CheckedRows, plan: Plan) -> Stored[RowAnswer]:
        """Identify → compare → write rows and quarantine, and note what was requested."""
        securities, unknown = self._securities(writing, checked.answer, plan)
        answer = replace(checked.answer, failures={**checked.answer.failures, **unknown})
        source: dict[str, object] = {"source": plan.source.name}
        counts: dict[object, tuple[int, int, int]] = {}
        quarantined: Counter[str] = Counter()
        for table in self.tables:
            found = checked.tables[table.name]
            is_unknown = pc.is_in(found.accepted["symbol"], pa.array(list(unknown), pa.string()))
            good = found.accepted.filter(pc.invert(is_unknown))
            compared = self.compare(writing, table, good) if self.compare else Checked(good)
            rejected = pa.concat_tables([found.rejected, compared.rejected])
            quarantined.update(rejected["symbol"].to_pylist())
            rows = _columns_of(table, compared.accepted, securities)
            constants = source if "source" in table.names else {}
            upserted = writing.upsert(table, rows, constants=constants)
            writing.upsert(QUARANTINE, rejected, constants={**source, "dataset": table.name})
            if table is self.tables[0]:
                counts = dict(upserted.by_key)
        self._note_requested(writing, answer, plan, securities)
        requests = {request.symbol: request for request in plan.requests}
        reports = []
        for symbol in answer.symbols:
            days, error = plan.requested_days(requests[symbol]), answer.failures.get(symbol)
            security = securities.get(symbol)
            report = SymbolReport(
                symbol,
                security,
                len(days),
                *counts.get(security or symbol, (0, 0, 0)),
                quarantined=quarantined[symbol],
                failed=len(days) if error else 0,
                error=str(error) if error else None,
            )
            reports.append(report)
        return Stored(answer, reports)

    def finished(
        self, writing: Writing, source: SourceProfile, reports: Sequence[SymbolReport]
    ) -> Sequence[str]:
        return ()

    def _securities(
        self, writing: Writing, answer: RowAnswer, plan: Plan
    ) -> tuple[dict[str, int], dict[str, SourceError]]:
        """The security of each symbol, and the error of those that mean none."""
        if self.security == "none":
            return {}, {}
        names = read_names(writing.con, answer.symbols)
        day = plan.source.names_on or plan.days[-1]
        found, unknown = {}, {}
        for symbol in answer.symbols:
            try:
                found[symbol] = resolve(names, symbol, day, day)
            except (UnknownSymbolError, AmbiguousSymbolError) as error:
                unknown[symbol] = SourceError(plan.source.name, str(error))
        return found, unknown

    def _note_requested(
        self, writing: Writing, answer: RowAnswer, plan: Plan, securities: Mapping[str, int]
    ) -> None:
        """Keep when each symbol was answered, which decides when it is due again."""
        answered = [
            {
                "symbol": request.symbol,
                "security_id": securities.get(request.symbol),
                "asked_since": request.first,
                "asked_for_all_at": writing.now,
            }
            for request in plan.requests
            if request.symbol in answer.symbols and request.symbol not in answer.failures
        ]
        constants = {"dataset": self.name, "source": plan.source.name}
        writing.upsert(SOURCE_SYMBOLS, SOURCE_SYMBOLS.arrow(answered), constants=constants)


def _of_one_key(rows: pa.Table, key: Sequence[str]) -> Mask:
    """The mask of rows that share their key with another."""
    shared: Mask = np.zeros(rows.num_rows, dtype=bool)
    numbered = rows.select(key).append_column("row", pa.array(range(rows.num_rows), pa.int64()))
    for places in numbered.group_by(key).aggregate([("row", "list")])["row_list"].to_pylist():
        shared[places] = len(places) > 1
    return shared


def _columns_of(table: Table, rows: pa.Table, securities: Mapping[str, int]) -> pa.Table:
    """The columns of ``rows`` that the table has, with the security of each row."""
    if "security_id" in table.names:
        ids = [securities.get(symbol) for symbol in rows["symbol"].to_pylist()]
        rows = rows.append_column("security_id", pa.array(ids, pa.int32()))
    return rows.select([name for name in rows.column_names if name in table.names])
