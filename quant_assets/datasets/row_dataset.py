"""A dataset that is a declaration: its tables, when it is due, and the rules of its rows.

A dataset whose answers need more than that (a calendar, corporate actions, a ledger of symbol-days)
has a folder of its own.
"""

from __future__ import annotations

import datetime as dt
import json
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quant_assets.contracts.rows import RowAnswer
from quant_assets.contracts.source import BadAnswer, SourceError, SourceProfile
from quant_assets.loading.dataset import DueRule, Stored
from quant_assets.loading.report import SymbolReport
from quant_assets.loading.work import Plan
from quant_assets.reference.identity import AmbiguousSymbolError, UnknownSymbolError, resolve
from quant_assets.schema.loads import QUARANTINE
from quant_assets.schema.row_rules import (
    REJECTED,
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
from quant_assets.warehouse.writing import Upserted, Writing

RowRule = tuple[str, Callable[[pa.Table], Mask]]
"""The reason for which a row is rejected, and the mask of the rows it holds for."""


@dataclass(frozen=True)
class Compared(Checked):
    """Good rows sorted by what is stored; ``failures`` tell of subjects why none of theirs are."""

    failures: Mapping[str, str] = field(default_factory=dict)


Compare = Callable[[Writing, SourceProfile, Table, pa.Table], Compared]
"""Sorts the good rows of a table by what is stored, in the transaction that writes them."""

Identify = Callable[[Writing, SourceProfile, Checked], Checked]
"""Gives each accepted row a ``security_id``; rows that mean no security are rejected. It sees what
was rejected before, since a row that can't be used is no sign that its symbol is gone."""


@dataclass(frozen=True)
class CheckedRows:
    """An answer, and the rows of each of its tables sorted into good and rejected ones."""

    answer: RowAnswer
    tables: Mapping[str, Checked]


@dataclass(frozen=True)
class RowDataset:
    """``rows`` holds each table with the columns of its rows in an answer, ``symbol`` among them.

    Rows are counted in the first table, whose key begins with security_id or symbol. ``subject`` is
    the column that says which request a row answers: its symbol, or the list that it stands in.
    With ``security`` by_symbol each row gets the security that its symbol means on the last day
    requested, and a symbol that means none fails; rows that are no requests of their own are
    identified one by one. ``checks`` are rules by table name.
    """

    name: str
    rows: Sequence[tuple[Table, pa.Schema]]
    rule: DueRule
    checks: Mapping[str, Sequence[RowRule]] = field(default_factory=dict)
    compare: Compare | None = None
    security: Literal["by_symbol", "none"] | Identify = "by_symbol"
    subject: str = "symbol"

    @property
    def tables(self) -> tuple[Table, ...]:
        return tuple(table for table, _ in self.rows)

    def no_answer(self, symbols: Sequence[str], failures: Mapping[str, SourceError]) -> RowAnswer:
        return RowAnswer(tuple(symbols), failures=failures)

    def part(self, answer: RowAnswer, symbols: Sequence[str]) -> RowAnswer:
        return answer.part(symbols, self.subject)

    def check(self, answer: RowAnswer, now: dt.datetime) -> CheckedRows:
        """Sort the rows of each table; where tables or columns are not those declared, each symbol
        of the answer fails.
        """
        declared = {table.name for table in self.tables}
        try:
            checked = {
                table.name: self._checked(table, schema, answer) for table, schema in self.rows
            }
            why = ", ".join(f"no table {name}" for name in answer.tables.keys() - declared)
        except (KeyError, pa.ArrowException) as error:
            why = str(error)
        if not why:
            return CheckedRows(answer, checked)
        bad = BadAnswer(self.name, f"The answer is not one of {self.name}: {why}.")
        failures = {**dict.fromkeys(answer.symbols, bad), **answer.failures}
        return self.check(replace(answer, tables={}, failures=failures), now)

    def store(self, writing: Writing, checked: CheckedRows, plan: Plan) -> Stored[RowAnswer]:
        """Identify → compare → write rows and quarantine, and note what was requested."""
        securities, failed = self._securities(writing, checked.answer, plan)
        unknown = tuple(failed)
        source: dict[str, object] = {"source": plan.source.name}
        counts: dict[str, tuple[int, int, int]] = {}
        quarantined: Counter[str] = Counter()
        rejected = [REJECTED.empty_table()]
        stored: set[str] = set()
        for table in self.tables:
            found = checked.tables[table.name]
            if callable(self.security):
                found = _both(found, self.security(writing, plan.source, found))
            found = _one_row_a_key(found, table, securities, unknown)
            if self.compare:
                compared = self.compare(writing, plan.source, table, found.accepted)
                found = _both(found, compared)
                for subject, why in compared.failures.items():
                    failed[subject] = SourceError(plan.source.name, why)
            stored.update(found.accepted[self.subject].to_pylist())
            quarantined.update(self._subjects(found.rejected))
            rejected.append(found.rejected)
            rows = _columns_of(table, found.accepted, securities)
            constants = source if "source" in table.names else {}
            upserted = writing.upsert(table, rows, constants=constants)
            writing.upsert(QUARANTINE, found.rejected, constants={**source, "dataset": table.name})
            if table is self.tables[0]:
                counts = _counts(rows[table.key[0]], found.accepted[self.subject], upserted)
        answer = replace(checked.answer, failures={**checked.answer.failures, **failed})
        requests = {request.symbol: request for request in plan.requests}
        reports = []
        for symbol in (symbol for symbol in answer.symbols if symbol in requests):
            days, error = plan.requested_days(requests[symbol]), answer.failures.get(symbol)
            report = SymbolReport(
                symbol,
                securities.get(symbol),
                len(days),
                *counts.get(symbol, (0, 0, 0)),
                quarantined=quarantined[symbol],
                failed=len(days) if error else 0,
                set_aside=len(days) if quarantined[symbol] and symbol not in stored else 0,
                error=str(error) if error else None,
            )
            reports.append(report)
        self._note_requested(writing, reports, plan)
        return Stored(answer, reports, pa.concat_tables(rejected))

    def _checked(self, table: Table, schema: pa.Schema, answer: RowAnswer) -> Checked:
        rows = answer.tables.get(table.name, schema.empty_table()).select(schema.names).cast(schema)
        verdict = Verdict(rows.num_rows)
        check_fields(rows, table, verdict)
        check_bounds(rows, table, verdict)
        others = pc.invert(pc.is_in(rows[self.subject], pa.array(answer.symbols, pa.string())))
        verdict.reject(others.to_numpy(), f"the answer is not about its {self.subject}")
        for reason, holds in self.checks.get(table.name, ()):
            verdict.reject(holds(rows), reason)
        return Checked(rows.filter(pa.array(~verdict.bad)), rejected_rows(rows, verdict))

    def _subjects(self, rejected: pa.Table) -> list[str]:
        """The request that each rejected row answers."""
        if self.subject == "symbol":
            subjects: list[str] = rejected["symbol"].to_pylist()
            return subjects
        return [str(json.loads(raw)[self.subject]) for raw in rejected["raw"].to_pylist()]

    def finished(
        self, writing: Writing, source: SourceProfile, reports: Sequence[SymbolReport]
    ) -> Sequence[str]:
        return ()

    def _securities(
        self, writing: Writing, answer: RowAnswer, plan: Plan
    ) -> tuple[dict[str, int], dict[str, SourceError]]:
        """The security of each symbol, and the error of those that mean none."""
        if self.security != "by_symbol":
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
        self, writing: Writing, reports: Sequence[SymbolReport], plan: Plan
    ) -> None:
        """Keep when each symbol was answered, which decides when it is due again."""
        since = {request.symbol: request.first for request in plan.requests}
        answered = [
            {
                "symbol": report.symbol,
                "security_id": report.security_id,
                "asked_since": since[report.symbol],
                "asked_for_all_at": writing.now,
            }
            for report in reports
            if not (report.error or report.set_aside)
        ]
        constants = {"dataset": self.name, "source": plan.source.name}
        writing.upsert(SOURCE_SYMBOLS, SOURCE_SYMBOLS.arrow(answered), constants=constants)


def _both(before: Checked, after: Checked) -> Checked:
    """What is left after a further step, and all that was rejected so far."""
    return Checked(after.accepted, pa.concat_tables([before.rejected, after.rejected]))


def _counts(
    keys: pa.ChunkedArray, subjects: pa.ChunkedArray, upserted: Upserted
) -> dict[str, tuple[int, int, int]]:
    """Rows inserted, revised and unchanged of each subject. A security of two subjects counts
    once, for the first.
    """
    found: dict[str, tuple[int, int, int]] = {}
    left = dict(upserted.by_key)
    for key, subject in zip(keys.to_pylist(), subjects.to_pylist(), strict=True):
        inserted, revised, unchanged = left.pop(key, (0, 0, 0))
        so_far = found.get(subject, (0, 0, 0))
        found[subject] = so_far[0] + inserted, so_far[1] + revised, so_far[2] + unchanged
    return found


def _one_row_a_key(
    checked: Checked, table: Table, securities: Mapping[str, int], unknown: Collection[str]
) -> Checked:
    """The good rows of known symbols, equal ones once; rows that contradict each other rejected."""
    is_unknown = pc.is_in(checked.accepted["symbol"], pa.array(list(unknown), pa.string()))
    good = checked.accepted.filter(pc.invert(is_unknown))
    rows = _columns_of(table, good, securities)
    first = _places(rows, rows.column_names, "min").sort()
    good, rows = good.take(first), rows.take(first)
    verdict = Verdict(rows.num_rows)
    shared: Mask = np.zeros(rows.num_rows, dtype=bool)
    for places in _places(
        rows, [n for n in table.key if n in rows.column_names], "list"
    ).to_pylist():
        shared[places] = len(places) > 1
    verdict.reject(shared, "another row of the same key differs")
    rejected = pa.concat_tables([checked.rejected, rejected_rows(good, verdict)])
    return Checked(good.filter(pa.array(~verdict.bad)), rejected)


def _places(rows: pa.Table, key: Sequence[str], what: str) -> pa.ChunkedArray:
    """Of the rows that agree on ``key``, the first place (min) or all (list)."""
    numbered = rows.select(key).append_column("row", pa.array(range(rows.num_rows), pa.int64()))
    return numbered.group_by(key, use_threads=False).aggregate([("row", what)])[f"row_{what}"]


def _columns_of(table: Table, rows: pa.Table, securities: Mapping[str, int]) -> pa.Table:
    """The columns of ``rows`` that the table has, with the security of each row."""
    if "security_id" in table.names and "security_id" not in rows.column_names:
        ids = [securities.get(symbol) for symbol in rows["symbol"].to_pylist()]
        rows = rows.append_column("security_id", pa.array(ids, pa.int32()))
    return rows.select([name for name in rows.column_names if name in table.names])
