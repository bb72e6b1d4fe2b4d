"""Which security each symbol of an answer means. Nothing is written here."""

from __future__ import annotations

import datetime as dt
import json
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quant_assets.contracts.prices import PriceAnswer
from quant_assets.reference.identity import Name, UnknownSymbolError, bearer_on
from quant_assets.schema.row_rules import REJECTED, rejected_days
from quant_assets.securities.register import JOINED_ANEW, Register


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
        spans = {symbol: span for symbol, span in self.spans.items() if symbol not in symbols}
        return replace(self, accepted=self.accepted.filter(pc.invert(left_out)), spans=spans)

    def keyed(self, rows: pa.Table, day: str) -> pa.Table:
        """``rows`` by security_id, without those whose symbol named no security that ``day``."""
        ids = security_ids(rows, day, self.securities, self.names)
        keyed = rows.drop_columns(["symbol"]).append_column("security_id", ids)
        return keyed.filter(pc.is_valid(ids)) if ids.null_count else keyed


def identify(
    answer: PriceAnswer, accepted: pa.Table, register: Register, names_on: dt.date | None
) -> Identified:
    """Decide which security each symbol of an answer means, adding those not on record.

    Rows of a symbol that can't be identified are rejected, and so are those of days on which it had
    no bearer, and a row that contradicts one of the same security and session under another of its
    symbols; the first symbol is believed.

    A symbol is put on record once its source says anything of one of its days: a row, a row that
    can't be used, or that there is none. The days asked for must not decide what it means.
    """
    spans = _spans(accepted)
    spoken = _spoken_of(answer)
    securities: dict[str, int] = {}
    several: dict[str, Sequence[Name]] = {}
    reasons: dict[str, str] = {}
    for symbol in answer.symbols:
        traded = answer.ranges.get(symbol) if symbol in spoken else None
        if traded is None and symbol in spans:
            traded = spans[symbol][:2]
        days = traded if traded or register.bearers(symbol) else spoken.get(symbol)
        try:
            meant = _meant(register, symbol, accepted, days, names_on)
        except UnknownSymbolError as error:
            reasons[symbol] = str(error)
            continue
        if isinstance(meant, int):
            securities[symbol] = meant
            if symbol in spans:
                register.note_first_session(meant, spans[symbol][0])
        elif meant:
            several[symbol] = meant
        # Otherwise nothing was said of a symbol that is not on record: no security is made up.
    ids = security_ids(accepted, "session", securities, several)
    rejected = [
        (row, reasons.get(symbol) or str(UnknownSymbolError(symbol, several.get(symbol, ()))))
        for row in accepted.filter(ids.is_null()).to_pylist()
        for symbol in [row["symbol"]]
    ]
    if rejected:
        accepted, ids = accepted.filter(ids.is_valid()), ids.drop_null()
    meant_by_each = [
        *([number] for number in securities.values()),
        *map(_bearers, several.values()),
    ]
    if len(set().union(*meant_by_each)) < sum(map(len, meant_by_each)):
        accepted, contradicting = _one_row_a_day(
            accepted, ids, register if names_on is None else None
        )
        rejected += contradicting
    return Identified(accepted, _rejected(rejected), spans, securities, several, reasons)


def _spoken_of(answer: PriceAnswer) -> dict[str, tuple[dt.date, dt.date]]:
    """First and last day that the answer says anything of, by symbol: that a row can't be used, or
    that there is none.
    """
    names, days = answer.unreadable["symbol"].to_pylist(), rejected_days(answer.unreadable)
    found: dict[str, list[dt.date]] = defaultdict(list)
    for symbol, day in zip(names, days.to_pylist(), strict=True):
        found[symbol] += filter(None, (day,))
    for rows in (answer.rows, answer.empty):
        for row in _extents(rows):
            found[row["symbol"]] += filter(None, (row["session_min"], row["session_max"]))
    return {symbol: (min(days), max(days)) for symbol, days in found.items() if days}


def _meant(
    register: Register,
    symbol: str,
    rows: pa.Table,
    days: tuple[dt.date, dt.date] | None,
    names_on: dt.date | None,
) -> int | Sequence[Name]:
    """The security of a symbol, or its dated names where the day of each row decides.

    Some sources go on under a ticker that was given up, so only rows of long after are another
    company's. Raises UnknownSymbolError.
    """
    bearers = register.bearers(symbol)
    if days is not None:
        first, last = days
        if names_on is not None:
            return register.security_on(symbol, names_on, days)
        ends = [name.valid_to for name in bearers if name.valid_to and name.valid_to <= first]
        soon = ends and first <= max(ends) + JOINED_ANEW
        if not soon and not any(name.overlaps(first, last) for name in bearers):
            return register.security_on(symbol, first, days)
        if any(name.valid_to and name.valid_to <= last for name in bearers):
            sessions = rows.filter(pc.equal(rows["symbol"], symbol))["session"].to_pylist()
            register.note_heirs(symbol, sessions)
            bearers = register.bearers(symbol)
    return bearers[0].security_id if len(_bearers(bearers)) == 1 else bearers


def _bearers(names: Sequence[Name]) -> set[int]:
    return {name.security_id for name in names}


def security_ids(
    rows: pa.Table, day: str, securities: Mapping[str, int], names: Mapping[str, Sequence[Name]]
) -> pa.Array:
    """The security of each row, null where its symbol named none that ``day``."""
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


def _one_row_a_day(
    accepted: pa.Table, ids: pa.Array, of_their_day: Register | None
) -> tuple[pa.Table, list[tuple[dict[str, object], str]]]:
    """Keep one row of each security and session; the others, if they differ, with why.

    Of two tickers the first is kept. With ``of_their_day`` tickers are those of the day they were
    delivered on, so the later ticker comes from a later delivery, which corrects the earlier one.
    """
    days = accepted["session"].cast(pa.int32()).to_numpy()
    keys = (ids.to_numpy().astype(np.int64) << 32) + days
    order = np.arange(len(keys))
    if of_their_day is not None:
        order = np.argsort(-_first_days(accepted["symbol"], ids, of_their_day), kind="stable")
    _, kept, back = np.unique(keys[order], return_index=True, return_inverse=True)
    mask = np.zeros(len(keys), dtype=bool)
    mask[order[kept]] = True
    others = np.flatnonzero(~mask)
    place = np.empty(len(keys), dtype=np.int64)
    place[order] = order[kept][back]
    rows = accepted.take(pa.array(others)).to_pylist()
    firsts = accepted.take(pa.array(place[others])).to_pylist()
    contradicting = [
        (row, f"{row['symbol']} and {first['symbol']} are one security, and differ on this session")
        for row, first in zip(rows, firsts, strict=True)
        if of_their_day is None and {**row, "symbol": None} != {**first, "symbol": None}
    ]
    return accepted.filter(pa.array(mask)), contradicting


def _first_days(
    symbols: pa.ChunkedArray, ids: pa.Array, register: Register
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """The ordinal of the day since when each row's security has the row's symbol."""
    pairs = list(zip(symbols.to_pylist(), ids.to_pylist(), strict=True))
    since = {
        (name.symbol, name.security_id): name.valid_from.toordinal()
        for symbol in {symbol for symbol, _ in pairs}
        for name in register.bearers(symbol)
    }
    return np.array([since.get(pair, 0) for pair in pairs], dtype=np.int64)


def first_of_each(rows: pa.Table, key: tuple[str, ...]) -> pa.Table:
    """The first row of each key; a security requested by two symbols has each event twice."""
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


def _spans(rows: pa.Table) -> dict[str, tuple[dt.date, dt.date, int]]:
    """First session, last session and number of rows, by symbol."""
    return {
        row["symbol"]: (row["session_min"], row["session_max"], row["session_count"])
        for row in _extents(rows)
    }


def _extents(rows: pa.Table) -> list[dict[str, Any]]:
    of_session = [("session", name) for name in ("min", "max", "count")]
    counted: list[dict[str, Any]] = rows.group_by("symbol").aggregate(of_session).to_pylist()
    return counted
