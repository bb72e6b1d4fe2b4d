"""The events of an answer beside those on record. Nothing is written here."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import duckdb
import pyarrow as pa

from quant_assets.contracts.prices import PriceAnswer, PriceProfile
from quant_assets.datasets.daily_prices.identify import Identified
from quant_assets.loading.work import Plan
from quant_assets.price_rules.taken_back import MOVED_DAYS, Event, TakenBack, taken_back
from quant_assets.warehouse.writing import listed_ids

Events = Mapping[int, Sequence[Event]]
"""Events by security."""

TAKEN = pa.schema(
    [
        ("security_id", pa.int32()),
        ("ex_date", pa.date32()),
        ("kind", pa.string()),
        ("difference", pa.string()),
    ]
)
"""Keys of events that stand no longer as they did, each with the class of the change."""

MANY_AT_ONCE = 3
"""An answer that lists no event at all, where so many are on record, has lost its list."""

NO_LONGER_LISTED = "no longer listed by its source, and still in its prices"
"""Said in the note of an event that its source forgot."""


@dataclass(frozen=True)
class Reach:
    """The days from ``first`` to ``last``, of which an answer lists all events."""

    first: dt.date
    last: dt.date


@dataclass(frozen=True)
class ChangedEvents:
    """What an answer changes of the events on record, by security.

    ``taken`` stand no longer, ``added`` change the number of shares and were not on record.
    ``reasons`` are sentences on securities whose events stay although none is listed.
    """

    on_record: Events
    taken: Mapping[int, Sequence[TakenBack]] = field(default_factory=dict)
    added: Events = field(default_factory=dict)
    reasons: Mapping[int, str] = field(default_factory=dict)

    @property
    def in_other_shares(self) -> set[int]:
        """Securities whose earlier rows may come out otherwise."""
        taken = {
            security
            for security, some in self.taken.items()
            for each in some
            if each.event.shares or (each.successor and each.successor.shares)
        }
        return taken | {*self.added}


def reaches(answer: PriceAnswer, identified: Identified, plan: Plan) -> dict[int, Reach]:
    """How far an answer lists the events of each security that it is certain to mean.

    It begins with the first row it has, since a source may have less than was requested, and ends
    with the present where the source is live and has all that was requested.
    """
    requests = {request.symbol: request for request in plan.requests}
    found: dict[int, Reach] = {}
    for symbol, (first, last, _) in identified.spans.items():
        security = identified.securities.get(symbol)
        if security is None or security in found:
            # Of a symbol with several bearers, or a security with several symbols, each row is
            # right by its own day, but no span is that of one company's list.
            found.pop(security or -1, None)
            continue
        if symbol in answer.failures or symbol not in requests:
            end = last
        else:
            end = dt.date.max if plan.source.live else requests[symbol].end
        found[security] = Reach(first, end)
    return found


def events_of(actions: pa.Table) -> dict[int, list[Event]]:
    """Actions keyed by security_id, as events."""
    found: dict[int, list[Event]] = defaultdict(list)
    for row in actions.to_pylist():
        found[row["security_id"]].append(event_of(row))
    return found


def read_events(
    con: duckdb.DuckDBPyConnection, source: str, securities: Collection[int]
) -> dict[int, list[Event]]:
    """The events of a source that are on record, by security and ex-date."""
    found: dict[int, list[Event]] = defaultdict(list)
    if not securities:
        return found
    cursor = con.execute(
        "select * from corporate_actions where source = ? and security_id in"  # noqa: S608 - no user text
        f" ({listed_ids(sorted(securities))}) order by security_id, ex_date, kind",
        [source],
    )
    names = [column[0] for column in cursor.description or ()]
    for values in cursor.fetchall():
        row = dict(zip(names, values, strict=True))
        found[row["security_id"]].append(event_of(row, row["fetched_at"]))
    return found


def event_of(row: Mapping[str, Any], recorded_at: dt.datetime | None = None) -> Event:
    """An action, as a row of the table or of an answer, as an event."""
    effect = {name: row.get(name) for name in ("ratio", "amount", "value_factor", "note")}
    return Event(
        row["ex_date"],
        row["kind"],
        **effect,
        kind_by=row["kind_by"],
        recorded_at=recorded_at,
        record=row,
    )


def changed_events(
    source: PriceProfile,
    on_record: Events,
    reported: Events,
    within: Mapping[int, Reach],
    firsts: Mapping[int, dt.date],
    *,
    accept: bool,
) -> ChangedEvents:
    """Compare the events on record with those of an answer, which reaches so far.

    Where older rows are stored, of which ``firsts`` are the first, a split that it lacks of the
    first days it reaches may have moved out of its sight. An answer that lists nothing at
    all where several events were is believed with ``accept`` only.
    """
    taken: dict[int, list[TakenBack]] = {}
    added: dict[int, list[Event]] = {}
    reasons: dict[int, str] = {}
    for security, stored in on_record.items():
        reach = within.get(security)
        if reach is None:
            continue
        listed = reported.get(security, ())
        found = [
            each
            for each in taken_back(stored, listed, reach.first, reach.last)
            if _can_be_listed(source, each.event) or each.successor
        ]
        if firsts.get(security, reach.first) < reach.first:
            sure_from = reach.first + dt.timedelta(days=MOVED_DAYS)
            found = [
                t for t in found if t.successor or not t.event.shares or t.event.ex_date > sure_from
            ]
        lost = [each.event for each in found if each.difference == "withdrawn"]
        if len(lost) >= MANY_AT_ONCE and not listed and not accept:
            reasons[security] = (
                f"none of the {len(lost)} events since {min(e.ex_date for e in lost)} is listed "
                "any more; they stay, and --accept takes the source at its word"
            )
            continue
        if found:
            taken[security] = found
    for security, listed in reported.items():
        known = {(event.ex_date, event.kind) for event in on_record.get(security, ())}
        known |= {
            (each.successor.ex_date, each.successor.kind)
            for each in taken.get(security, ())
            if each.successor
        }
        new = [e for e in listed if e.shares and (e.ex_date, e.kind) not in known]
        if new:
            added[security] = new
    return ChangedEvents(on_record, taken, added, reasons)


def _can_be_listed(source: PriceProfile, event: Event) -> bool:
    return source.has_distributions if event.shares is None else source.has_splits


def keys_of(taken: Mapping[int, Sequence[TakenBack]]) -> pa.Table:
    """The keys of events that stand no longer as they did, each with the class of the change."""
    rows = [
        {
            "security_id": security,
            "ex_date": each.event.ex_date,
            "kind": each.event.kind,
            "difference": each.difference,
        }
        for security, some in taken.items()
        for each in some
    ]
    return pa.Table.from_pylist(rows, TAKEN)


def beside_those_listed(
    actions: pa.Table, on_record: Events, taken: Mapping[int, Sequence[TakenBack]]
) -> pa.Table:
    """``actions`` with the events that no list names and that stand on the day of one it names.

    Without them, storing the day's events would take them for what they have become.
    """
    keys = [actions[name].to_pylist() for name in ("security_id", "ex_date", "kind")]
    here = set(zip(*keys, strict=True))
    days = {key[:2] for key in here}
    here |= {(s, each.event.ex_date, each.event.kind) for s, some in taken.items() for each in some}
    kept = [
        event.record
        for security, events in on_record.items()
        for event in events
        if not event.is_listed
        and (security, event.ex_date) in days
        and (security, event.ex_date, event.kind) not in here
    ]
    return with_records(actions, kept)


def with_records(actions: pa.Table, records: Sequence[Mapping[str, object]]) -> pa.Table:
    """``actions`` and further ones, which take the place of those of their key; other fields than
    those of ``actions`` are left out.
    """
    if not records:
        return actions
    key = ("security_id", "ex_date", "kind")
    rows = {
        tuple(row[name] for name in key): {name: row.get(name) for name in actions.column_names}
        for row in (*actions.to_pylist(), *records)
    }
    return pa.Table.from_pylist([*rows.values()], actions.schema)


def no_longer_listed(event: Event) -> dict[str, object] | None:
    """The record of an event its source forgot, with a note; None where it has that already."""
    if event.note and NO_LONGER_LISTED in event.note:
        return None
    note = "; ".join(filter(None, (event.note, NO_LONGER_LISTED)))
    return {**event.record, "note": note}
