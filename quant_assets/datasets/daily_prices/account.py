"""What a source's answer says of securities: its symbols identified, its symbol-days accounted for.

Between validation and storing: every row is given its security, and every symbol-day asked for ends
as a row, as confirmed empty, as quarantined or as failed. Nothing is written here.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quant_assets.contracts.source import MissingAtSource, PriceAnswer
from quant_assets.loading.plan import Plan
from quant_assets.loading.report import SymbolReport
from quant_assets.price_rules.row_rules import REJECTED
from quant_assets.reference.identity import Name, UnknownSymbolError, bearer_on
from quant_assets.securities.register import Register
from quant_assets.warehouse.warehouse import Upserted


@dataclass(frozen=True)
class Identified:
    """The accepted rows of an answer, and the securities its symbols mean.

    ``names`` stand for symbols that several securities bore in turn, ``reasons`` for symbols that
    could not be identified; their rows are in ``rejected``. ``spans`` gives first session, last
    session and number of the accepted rows of each symbol.
    """

    accepted: pa.Table
    rejected: pa.Table
    spans: Mapping[str, tuple[dt.date, dt.date, int]]
    securities: Mapping[str, int]
    names: Mapping[str, Sequence[Name]]
    reasons: Mapping[str, str]

    def all_of(self, symbol: str) -> set[int]:
        """The securities a symbol means in this answer."""
        if symbol in self.securities:
            return {self.securities[symbol]}
        return {name.security_id for name in self.names.get(symbol, ())}

    def of(self, symbol: str, day: dt.date) -> int | None:
        if symbol in self.securities:
            return self.securities[symbol]
        return bearer_on(self.names.get(symbol, ()), day)

    @property
    def symbols(self) -> dict[int, str]:
        """What each security is called in this answer."""
        bearers = {n.security_id: symbol for symbol, names in self.names.items() for n in names}
        return bearers | {number: symbol for symbol, number in self.securities.items()}

    def without(self, symbols: Collection[str]) -> Identified:
        """As if no row of these symbols had been accepted."""
        left_out = pc.is_in(self.accepted["symbol"], pa.array(list(symbols), pa.string()))
        return replace(
            self,
            accepted=self.accepted.filter(pc.invert(left_out)),
            spans={symbol: span for symbol, span in self.spans.items() if symbol not in symbols},
        )

    def keyed(self, rows: pa.Table, day: str) -> pa.Table:
        """``rows`` by security_id; rows whose symbol named nobody that ``day`` are left out."""
        ids = _ids(rows, day, self.securities, self.names)
        keyed = rows.drop_columns(["symbol"]).append_column("security_id", ids)
        return keyed.filter(pc.is_valid(ids)) if ids.null_count else keyed


def identify(
    answer: PriceAnswer, accepted: pa.Table, register: Register, names_on: dt.date | None
) -> Identified:
    """Decide which security each symbol of an answer means, adding those not on record.

    Rows of a symbol that can't be identified are rejected, and so are those of days on which nobody
    bore it, and a row that contradicts one of the same security and session under another of its
    symbols; the first symbol is believed.
    """
    spans = _spans(accepted)
    securities: dict[str, int] = {}
    several: dict[str, Sequence[Name]] = {}
    reasons: dict[str, str] = {}
    for symbol in answer.symbols:
        bearers = register.bearers(symbol)
        one = len({name.security_id for name in bearers}) == 1
        if symbol in spans and (names_on is not None or not bearers):
            first, last, _ = spans[symbol]
            try:
                securities[symbol] = register.on(symbol, names_on or first, (first, last))
            except UnknownSymbolError as error:
                reasons[symbol] = str(error)
        elif one:
            securities[symbol] = bearers[0].security_id
        elif bearers:
            several[symbol] = bearers
        # Otherwise nothing came of a symbol nobody knows: no security is made up for it.
        if symbol in securities and symbol in spans:
            register.seen(securities[symbol], spans[symbol][0])
    accepted, rejected = _nameable(accepted, securities, several, reasons)
    if len(set(securities.values())) < len(securities):
        accepted, contradicting = _one_row_a_day(accepted, securities, several)
        rejected += contradicting
    return Identified(accepted, _rejected(rejected), spans, securities, several, reasons)


def _ids(
    rows: pa.Table, day: str, securities: Mapping[str, int], names: Mapping[str, Sequence[Name]]
) -> pa.Array:
    """The security of each row, null where its symbol named nobody that ``day``."""
    encoded = rows["symbol"].combine_chunks().dictionary_encode()
    by_symbol = [securities.get(symbol) for symbol in encoded.dictionary.to_pylist()]
    ids = pa.array(by_symbol, pa.int32()).take(encoded.indices)
    if not names or ids.null_count == 0:
        return ids
    looked_up = [
        number if number is not None else bearer_on(names.get(symbol, ()), on)
        for number, symbol, on in zip(
            ids.to_pylist(), rows["symbol"].to_pylist(), rows[day].to_pylist(), strict=True
        )
    ]
    return pa.array(looked_up, pa.int32())


def _nameable(
    accepted: pa.Table,
    securities: Mapping[str, int],
    names: Mapping[str, Sequence[Name]],
    reasons: Mapping[str, str],
) -> tuple[pa.Table, list[tuple[dict[str, object], str]]]:
    """Keep rows of days on which somebody bore the symbol; the others, with the reason."""
    ids = _ids(accepted, "session", securities, names)
    if ids.null_count == 0:
        return accepted, []
    strays = [
        (row, reasons.get(symbol) or str(UnknownSymbolError(symbol, names.get(symbol, ()))))
        for row in accepted.filter(ids.is_null()).to_pylist()
        for symbol in [row["symbol"]]
    ]
    return accepted.filter(ids.is_valid()), strays


def _one_row_a_day(
    accepted: pa.Table, securities: Mapping[str, int], names: Mapping[str, Sequence[Name]]
) -> tuple[pa.Table, list[tuple[dict[str, object], str]]]:
    """Keep the first row of each security and session; the others, if they differ, with why."""
    ids = _ids(accepted, "session", securities, names).fill_null(-1).to_numpy()
    keys = (ids.astype(np.int64) << 32) + accepted["session"].cast(pa.int32()).to_numpy()
    _, kept, back = np.unique(keys, return_index=True, return_inverse=True)
    mask = np.zeros(len(keys), dtype=bool)
    mask[kept] = True
    mask |= ids < 0
    others = np.flatnonzero(~mask)
    rows = accepted.take(pa.array(others)).to_pylist()
    firsts = accepted.take(pa.array(kept[back[others]])).to_pylist()
    contradicting = [
        (row, f"{row['symbol']} and {first['symbol']} are one security, and differ on this session")
        for row, first in zip(rows, firsts, strict=True)
        if {**row, "symbol": None} != {**first, "symbol": None}
    ]
    return accepted.filter(pa.array(mask)), contradicting


def first_of_each(rows: pa.Table, key: tuple[str, ...]) -> pa.Table:
    """The first row of each key; a security asked for by two symbols tells its events twice."""
    numbered = rows.append_column("row", pa.array(np.arange(rows.num_rows)))
    firsts = numbered.group_by(list(key)).aggregate([("row", "min")])["row_min"]
    return rows if len(firsts) == rows.num_rows else rows.take(firsts.sort())


def _rejected(rows: Sequence[tuple[dict[str, object], str]]) -> pa.Table:
    return pa.Table.from_pylist(
        [
            {
                "symbol": row["symbol"],
                "session": str(row["session"]),
                "reason": reason,
                "raw": json.dumps(row, default=str, sort_keys=True),
            }
            for row, reason in rows
        ],
        schema=REJECTED,
    )


def outcomes(
    answer: PriceAnswer, identified: Identified, rejected: pa.Table, planned: Plan
) -> pa.Table:
    """One row for each due symbol-day without a good row: what it is instead, and why.

    In order of weight: the source confirmed it empty, its row was quarantined, the source failed,
    or it answered without a word on that day. The last is no confirmation and counts as failed.
    """
    asked = {request.symbol: planned.asked(request) for request in planned.requests}
    short = [
        symbol
        for symbol in answer.symbols
        if asked[symbol]
        and identified.spans.get(symbol)
        != (asked[symbol][0], asked[symbol][-1], len(asked[symbol]))
    ]
    due = pa.table(
        {
            "symbol": pa.array([s for s in short for _ in asked[s]], pa.string()),
            "session": pa.array([day for s in short for day in asked[s]], pa.date32()),
        }
    )
    places = pa.array(short, pa.string())
    keys = _keys(due, places)
    held = _keys(identified.accepted, places)
    absent = ~np.isin(keys, held[held >= 0])
    due, keys = due.filter(pa.array(absent)), keys[absent]
    failures = {symbol: str(error) for symbol, error in answer.failures.items()}
    outcome = np.full(len(keys), "failed", dtype=object)
    reason = np.array([failures.get(s, SILENCE) for s in due["symbol"].to_pylist()], dtype=object)
    for told, what in ((_dated(rejected), "quarantined"), (answer.empty, "empty")):
        found, at = _look_up(keys, _keys(told, places))
        outcome[found] = what
        reason[found] = np.array(told["reason"].to_pylist(), dtype=object)[at]
    rows = pa.table(
        {**{n: due[n] for n in due.column_names}, "outcome": outcome, "reason": reason},
    )
    ids = _ids(rows, "session", identified.securities, identified.names)
    return rows.append_column("security_id", ids).filter(pc.is_valid(ids))


def silent_days(answer: PriceAnswer, became: pa.Table) -> dict[str, frozenset[dt.date]]:
    """The sessions on which nothing was said of a symbol that was answered, by symbol."""
    lost = {s for s, e in answer.failures.items() if not isinstance(e, MissingAtSource)}
    failed = became.filter(pc.equal(became["outcome"], "failed"))
    days: dict[str, set[dt.date]] = {}
    for symbol, day in zip(*(failed[n].to_pylist() for n in ("symbol", "session")), strict=True):
        if symbol not in lost:
            days.setdefault(symbol, set()).add(day)
    return {symbol: frozenset(some) for symbol, some in days.items()}


SILENCE = "the source answered without a row for this session"


def _keys(rows: pa.Table, symbols: pa.Array) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """A number for each symbol-day; rows of other symbols or without a day get one of their own."""
    codes = pc.fill_null(pc.index_in(rows["symbol"], symbols), -1).to_numpy()
    days = pc.fill_null(rows["session"].cast(pa.int32()), -1).to_numpy()
    keys: np.ndarray[tuple[int], np.dtype[np.int64]] = (codes.astype(np.int64) << 32) + days
    return keys


def _look_up(
    keys: np.ndarray[tuple[int], np.dtype[np.int64]],
    among: np.ndarray[tuple[int], np.dtype[np.int64]],
) -> tuple[np.ndarray[tuple[int], np.dtype[np.intp]], np.ndarray[tuple[int], np.dtype[np.intp]]]:
    """Where ``keys`` occur in ``among``: their own places, and the places they are found at."""
    if len(among) == 0:
        return np.array([], dtype=np.intp), np.array([], dtype=np.intp)
    order = np.argsort(among, kind="stable")
    at = order[np.minimum(np.searchsorted(among, keys, sorter=order), len(among) - 1)]
    found = np.flatnonzero(among[at] == keys)
    return found, at[found]


def _dated(rejected: pa.Table) -> pa.Table:
    """Rejected rows with the day they name as a date, null where it can't be read."""
    text = pc.utf8_slice_codeunits(rejected["session"], 0, 10)
    days = pc.strptime(text, "%Y-%m-%d", "s", error_is_null=True).cast(pa.date32(), safe=False)
    return rejected.set_column(rejected.column_names.index("session"), "session", days)


def _spans(rows: pa.Table) -> dict[str, tuple[dt.date, dt.date, int]]:
    """First session, last session and number of rows, by symbol."""
    counted = rows.group_by("symbol").aggregate(
        [("session", "min"), ("session", "max"), ("session", "count")]
    )
    return {
        row["symbol"]: (row["session_min"], row["session_max"], row["session_count"])
        for row in counted.to_pylist()
    }


def symbol_reports(
    answer: PriceAnswer,
    identified: Identified,
    stored: Upserted,
    *,
    rejected: pa.Table,
    became: pa.Table,
    planned: Plan,
) -> list[SymbolReport]:
    """The summary of each symbol of an answer, from what was stored and what became of the rest."""
    requests = {request.symbol: request for request in planned.requests}
    silent = silent_days(answer, became)
    bad = _tally(rejected, "symbol")
    ended = _tally(became, "symbol", "outcome")
    reports = []
    counted: set[int] = set()
    for symbol in answer.symbols:
        ids = identified.all_of(symbol)
        # A security asked for under two symbols counts once, for the first.
        counts = [stored.by_security.get(number, (0, 0, 0)) for number in sorted(ids - counted)]
        counted |= ids
        due = planned.asked(requests[symbol])
        failed = ended.get((symbol, "failed"), 0) if ids else len(due)
        first, last, _ = identified.spans.get(symbol, (None, None, 0))
        error = answer.failures.get(symbol) or identified.reasons.get(symbol)
        reports.append(
            SymbolReport(
                symbol,
                min(ids) if len(ids) == 1 else None,
                len(due),
                inserted=sum(count[0] for count in counts),
                revised=sum(count[1] for count in counts),
                unchanged=sum(count[2] for count in counts),
                quarantined=bad.get((symbol,), 0),
                empty=ended.get((symbol, "empty"), 0),
                set_aside=ended.get((symbol, "quarantined"), 0),
                failed=failed,
                first_session=first,
                last_session=last,
                error=str(error) if error else _first_reason(became, symbol) if failed else None,
                silent=silent.get(symbol, frozenset()),
            )
        )
    return reports


def _tally(rows: pa.Table, *by: str) -> dict[tuple[str, ...], int]:
    if rows.num_rows == 0:
        return {}
    counted = rows.group_by(list(by)).aggregate([([], "count_all")]).to_pylist()
    return {tuple(row[name] for name in by): row["count_all"] for row in counted}


def _first_reason(outcomes: pa.Table, symbol: str) -> str | None:
    for row in outcomes.to_pylist():
        if row["symbol"] == symbol and row["outcome"] == "failed":
            return f"{row['session']}: {row['reason']}"
    return None
