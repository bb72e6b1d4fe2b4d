"""Known spin-offs, undone in the rows of an answer where the source has worked them in.

Known are those of the reference list, and those that its prices showed before. Nothing is written.
"""

from __future__ import annotations

import datetime as dt
import math
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quant_assets.price_rules.corporate_actions import InferredEvent, inferred_action
from quant_assets.price_rules.pairs import PRICES, Mask, days_of, price_grid, with_numbers
from quant_assets.price_rules.plain_ratios import MANY_ROWS, Grid, in_cents
from quant_assets.price_rules.spin_offs import NEAR, basis_unknown, undo
from quant_assets.price_rules.taken_back import MOVED_DAYS, ON_THE_LIST, Event, TakenBack
from quant_assets.reference.identity import bearer_on
from quant_assets.reference.spin_offs import KnownSpinOff
from quant_assets.schema.row_rules import floats
from quant_assets.securities.names import read_names

SAME_FACTOR = 1e-5
"""Relative difference up to which a factor found again is the one on record."""

Known = tuple[dt.date, float, str]
"""Ex-date and price factor of a spin-off, and a note where it is on the reference list."""


def spin_offs_by_security(
    con: duckdb.DuckDBPyConnection, listed: Sequence[KnownSpinOff]
) -> dict[int, list[KnownSpinOff]]:
    """The listed spin-offs of the securities on record, by who bore their ticker that day."""
    names = defaultdict(list)
    for name in read_names(con, sorted({each.symbol for each in listed})):
        names[name.symbol].append(name)
    found: dict[int, list[KnownSpinOff]] = defaultdict(list)
    for each in listed:
        security = bearer_on(names.get(each.symbol, ()), each.ex_date)
        if security is not None:
            found[security].append(each)
    return found


@dataclass(frozen=True)
class Undone:
    """Rows with known spin-offs undone, the spin-offs to record, and the ex-dates of those that
    only prices ever showed and do not show any more. Of those ``contradicted``, which are listed,
    the prices show nothing.
    """

    rows: pa.Table
    records: Sequence[Mapping[str, Any]] = ()
    unseen: frozenset[dt.date] = frozenset()
    contradicted: tuple[dt.date, ...] = ()


def known_of(
    listed: Sequence[KnownSpinOff], on_record: Sequence[Event], reported: Sequence[Event]
) -> list[Known]:
    """The spin-offs of a security that are known beside those its source lists.

    One that the source itself lists, as an odd split, is none of ours; one that its prices showed
    before gives way to the list.
    """
    theirs = [event.ex_date for event in reported if event.shares]
    ours = [
        each
        for each in listed
        if all(abs((each.ex_date - day).days) > MOVED_DAYS for day in theirs)
    ]
    exact = {e.ex_date: 1 / (e.value_factor or 1.0) for e in on_record if e.in_prices_only}
    known = [
        (
            each.ex_date,
            # What whole cents once told, unless the list has another factor by now.
            exact[each.ex_date]
            if math.isclose(exact.get(each.ex_date, 0.0), each.price_factor, rel_tol=NEAR)
            else each.price_factor,
            each.name or "on the list of spin-offs",
        )
        for each in ours
    ]
    return known + [
        (day, factor, "")
        for day, factor in exact.items()
        if day not in theirs and all(abs((day - other).days) > MOVED_DAYS for other, *_ in known)
    ]


def undo_known(
    rows: pa.Table, stored: pa.Table, known: Sequence[Known], paid: Collection[dt.date]
) -> Undone:
    """Undo known spin-offs in the rows of one security, sorted by session.

    Whole cents decide whether one is worked in; where they say nothing, the stored rows do. One
    that is not, on a day on which something was ``paid``, is what the source calls a dividend.
    """
    days = days_of(rows)
    found = undo(days, price_grid(rows), [(day, factor) for day, factor, _ in known])
    restored, records, unseen, contradicted = found.prices, [], set(), []
    before_it = {day: (factor, note) for day, factor, note in known}
    for each in reversed(found.spin_offs):
        worked_in, factor = each.worked_in, each.factor
        before = days < np.datetime64(each.ex_date)
        if worked_in is None:
            beside = _beside(rows, stored, restored, before, factor)
            if beside is not None:
                worked_in, factor = beside != 1.0, beside
                restored = np.where(before[:, None], in_cents(restored / beside), restored)
        if worked_in is None or before.all() or not before.any():
            continue
        as_known, note = before_it[each.ex_date]
        if not worked_in or math.isclose(factor, as_known, rel_tol=SAME_FACTOR):
            factor = as_known
        if not worked_in and not note:
            unseen.add(each.ex_date)
        elif not worked_in and each.ex_date not in paid and not _fell(rows, before, factor):
            contradicted.append(each.ex_date)
        elif worked_in or each.ex_date not in paid:
            event = InferredEvent(each.ex_date, float(f"{1 / factor:.8g}"), spin_off=True)
            record = inferred_action(event, rows["currency"][0].as_py())
            listed = {"kind_by": ON_THE_LIST, "note": note} if note else {}
            records.append({**record, **listed, "security_id": rows["security_id"][0].as_py()})
    told = with_numbers(rows, dict(zip(PRICES, restored.T, strict=True)))
    return Undone(told, records, frozenset(unseen), tuple(contradicted))


def taken_back_beside(
    known: Sequence[Known], on_record: Sequence[Event], undone: Undone
) -> list[TakenBack]:
    """The spin-offs on record that stand no longer as they did, by the list or by the prices: the
    list names another day, another factor was found, or the prices show none.
    """
    listed = {day: factor for day, factor, note in known if note}
    again = {row["ex_date"]: row["value_factor"] for row in undone.records}
    found = []
    for event in on_record:
        if not event.in_prices_only:
            continue
        day = event.ex_date
        near = [d for d in listed if d != day and abs((d - day).days) <= MOVED_DAYS]
        if day in undone.unseen or day in undone.contradicted:
            found.append(TakenBack(event, "withdrawn"))
        elif day in again and not math.isclose(
            event.value_factor or 1.0, again[day], rel_tol=SAME_FACTOR
        ):
            corrected = replace(event, value_factor=again[day])
            found.append(TakenBack(event, "corrected", corrected))
        elif near and day not in listed:
            other = min(near, key=lambda each: abs(each - day))
            moved = replace(event, ex_date=other, value_factor=1 / listed[other])
            found.append(TakenBack(event, "moved", moved))
    return found


def _fell(rows: pa.Table, before: Mask, factor: float) -> bool:
    """Whether the first price after is nearer to ``factor`` times the last close than to it."""
    prices = price_grid(rows)
    step = math.log(prices[~before][0, 0] / prices[before][-1, -1])
    return abs(step - math.log(factor)) < abs(step)


def _beside(
    rows: pa.Table, stored: pa.Table, prices: Grid, before: Mask, factor: float
) -> float | None:
    """The factor that stored rows before an ex-date show, 1 for none; None where there are none."""
    sessions = rows["session"].to_numpy(), stored["session"].to_numpy()
    _, at, again = np.intersect1d(*sessions, assume_unique=True, return_indices=True)
    at, again = at[before[at]], again[before[at]]
    if len(at) == 0:
        return None
    seen = float(np.median(prices[at, -1] / floats(stored, "close")[again]))
    if abs(math.log(seen)) <= abs(math.log(seen / factor)):
        return 1.0
    return seen if len(at) >= MANY_ROWS else factor


def with_unknown_basis(rows: pa.Table) -> pa.Table:
    """Rows keyed by security and sorted, with those marked whose basis is unknown; dollars only."""
    ids, closes = rows["security_id"].to_numpy(), floats(rows, "close")
    days = days_of(rows)
    marked = np.zeros(len(ids), dtype=bool)
    edges = np.flatnonzero(np.diff(ids, prepend=-1, append=-1)).tolist()
    dollars = pc.equal(rows["currency"], "USD").to_numpy()
    for begin, end in pairwise(edges):
        if dollars[begin]:
            marked[begin:end] = basis_unknown(days[begin:end], closes[begin:end])
    return rows.append_column("basis_unknown", pa.array(marked, mask=~marked))


def newly_unknown(
    con: duckdb.DuckDBPyConnection, source: str, rows: pa.Table, symbols: Mapping[int, str]
) -> list[str]:
    """A sentence on each security with rows of an unknown basis that were not marked before."""
    marked = rows.filter(pc.is_valid(rows["basis_unknown"]))
    if marked.num_rows == 0:
        return []
    before = set(
        con.execute(
            "select distinct security_id from daily_prices where source = ? and basis_unknown",
            [source],
        ).fetchall()
    )
    spans = marked.group_by("security_id").aggregate([("session", "min"), ("session", "max")])
    return [
        f"{symbols[row['security_id']]}: the closes from {row['session_min']} to"
        f" {row['session_max']} are no whole cents. An event that {source} does not list is worked"
        " in, so that they are not as traded; they are marked basis_unknown. Name the event in the"
        " file of spin-offs, and refresh --force undoes it."
        for row in spans.to_pylist()
        if (row["security_id"],) not in before
    ]
