"""One security of an answer beside what is stored of it: what is to become of its rows and events.

Spin-offs undone → events that came and went → rows beside the stored ones → those nobody explains.
Nothing is written.
"""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from quant_assets.contracts.prices import PriceProfile
from quant_assets.datasets.daily_prices.events import ChangedEvents, event_of, no_longer_listed
from quant_assets.datasets.daily_prices.spin_offs import Known, taken_back_beside, undo_known
from quant_assets.price_rules.changed_shares import Explained, explain
from quant_assets.price_rules.corporate_actions import InferredEvent, inferred_action
from quant_assets.price_rules.currencies import rate
from quant_assets.price_rules.overlap import UNLIKE_ITS_NEIGHBOURS, Overlap, compare
from quant_assets.price_rules.pairs import PRICES, Dated
from quant_assets.price_rules.plain_ratios import NOISE
from quant_assets.price_rules.taken_back import Event, TakenBack
from quant_assets.schema.row_rules import REJECTED, rejected_for
from quant_assets.warehouse.writing import as_arrow

BARS = (*PRICES, "volume")

NEXT_LOAD_LOOKS_AGAIN = (
    "Nothing of {} was stored; the next load looks again, and --accept takes the source at its "
    "word."
)

ONLY_WHOLE = (
    "--accept leaves a series in one basis or as it is: the source no longer tells all of the "
    "sessions that are stored."
)

DAYS_SHOWN = 5
"""Days that a sentence names."""


@dataclass(frozen=True)
class Verdict:
    """What is to be stored of one security, keyed by its id, and what is to be said of it.

    With ``hold``, a sentence for the user, nothing is. ``doubted`` are rows to be set aside.
    """

    rows: pa.Table
    records: Sequence[Mapping[str, object]] = ()
    taken: Sequence[TakenBack] = ()
    notices: Sequence[str] = ()
    differences: Mapping[dt.date, str] = field(default_factory=dict)
    doubted: pa.Table = field(default_factory=REJECTED.empty_table)
    hold: str | None = None


@dataclass(frozen=True)
class Comparing:
    """What the comparison of any security of an answer needs.

    ``firsts`` are the first sessions stored; of the securities in ``whole`` all that is stored is
    looked at, of others as much as the answer tells again.
    """

    con: duckdb.DuckDBPyConnection
    source: PriceProfile
    symbols: Mapping[int, str]
    reported: Mapping[int, Sequence[Event]]
    changed: ChangedEvents
    known: Mapping[int, Sequence[Known]]
    firsts: Mapping[int, dt.date]
    whole: Collection[int]
    accept: bool

    def verdict(self, security: int, some: pa.Table) -> Verdict:
        """Compare ``some``, the rows of a security in the answer, sorted by session."""
        first = some["session"][0].as_py()
        all_of_it = self.accept or security in self.whole
        stored = self._stored(security, dt.date.min if all_of_it else first)
        on_record = self.changed.on_record.get(security, ())
        added = [*self.changed.added.get(security, ())]
        taken = [*self.changed.taken.get(security, ())]
        records: Sequence[Mapping[str, object]] = ()
        said: list[str] = []
        if security in self.known:
            paid = {e.ex_date for e in self.reported.get(security, ()) if e.amount}
            undone = undo_known(some, stored, self.known[security], paid)
            some, records = undone.rows, undone.records
            of_ours = taken_back_beside(self.known[security], on_record, undone)
            taken += of_ours
            before = {(e.ex_date, e.kind) for e in on_record}
            before |= {(t.successor.ex_date, t.successor.kind) for t in of_ours if t.successor}
            added += [e for e in map(event_of, records) if (e.ex_date, e.kind) not in before]
            said = [
                f"{self.symbols[security]}: the list of spin-offs has one on {day}, and the prices"
                f" of {self.source.name} show none; it is left out."
                for day in undone.contradicted
            ]
        if stored.num_rows == 0:
            return Verdict(some, records, taken, said)
        explained = explain(stored, some, taken, added)
        stays = [event for event, _ in explained.kept]
        taken = [each for each in taken if each.event not in stays]
        found = self._overlap(security, explained, taken)
        beyond = self._beyond_what_is_listed(security, found)
        if beyond:
            found = replace(found, hold=beyond)
        if found.hold and not self.accept:
            way_out = NEXT_LOAD_LOOKS_AGAIN.format(self.symbols[security])
            return Verdict(some, hold=f"{found.hold} {way_out}")
        if found.hold and not pc.all(pc.is_in(stored["session"], some["session"])).as_py():
            return Verdict(some, hold=f"{found.hold} {ONLY_WHOLE}")
        moved = [
            TakenBack(event, "moved", replace(event, ex_date=found.events[0].ex_date))
            for event in on_record
            if event.ex_date in found.moved and event.kind_by == "overlap"
        ]
        forgotten, notices = self._forgotten(security, explained)
        return self._with_rows(
            security,
            found,
            explained,
            Verdict(some, [*records, *forgotten], [*taken, *moved], [*said, *notices]),
        )

    def _overlap(self, security: int, explained: Explained, taken: Sequence[TakenBack]) -> Overlap:
        """The rows beside the stored ones, by the events that stand."""
        gone = [each.event for each in taken]
        on_record = [e for e in self.changed.on_record.get(security, ()) if e not in gone]
        events = [*on_record, *self.reported.get(security, ())]
        some = explained.reported
        currency = some["currency"][0].as_py()
        return compare(
            explained.stored,
            some.append_column("symbol", pa.repeat(self.symbols[security], some.num_rows)),
            reports_splits=self.source.has_splits,
            splits=_dated((e.ex_date, e.ratio) for e in events),
            dividends=_dated((e.ex_date, _paid(e, currency)) for e in events),
            inferred=_dated((e.ex_date, e.ratio) for e in on_record if e.kind_by == "overlap"),
            whole=self.firsts.get(security, dt.date.max) >= some["session"][0].as_py(),
        )

    def _beyond_what_is_listed(self, security: int, found: Overlap) -> str:
        """Why an inferred event can't be kept: the source lists another one of its kind that day,
        and would list it again the next evening.
        """
        listed = {(e.ex_date, e.kind): e for e in self.reported.get(security, ())}
        for event in found.events:
            other = listed.get((event.ex_date, str(inferred_action(event, "")["kind"])))
            if other:
                return (
                    f"The prices before {event.ex_date} came again multiplied by"
                    f" {1 / event.factor:.6g} beyond {other}, which is listed."
                )
        return ""

    def _forgotten(
        self, security: int, explained: Explained
    ) -> tuple[list[Mapping[str, object]], list[str]]:
        """Events that the source no longer lists and that stay: their records, and what is said."""
        records: list[Mapping[str, object]] = []
        notices = []
        for event, why in explained.kept:
            record = no_longer_listed(event)
            if record:
                records.append(record)
                source, symbol = self.source.name, self.symbols[security]
                notices.append(f"{symbol}: {source} no longer lists {event}, but {why}; it stays.")
        return records, notices

    def _with_rows(
        self, security: int, found: Overlap, explained: Explained, so_far: Verdict
    ) -> Verdict:
        """The rows as the comparison has them; those that events explain, as they were told."""
        symbol, told = self.symbols[security], explained.reported
        names = told.column_names
        days = pa.array(sorted(explained.days), pa.date32())
        rows = pa.concat_tables(
            [
                found.rows.select(names).filter(pc.invert(pc.is_in(found.rows["session"], days))),
                told.filter(pc.is_in(told["session"], days)),
                explained.restated.select(names).cast(told.schema),
            ]
        )
        by_events = {*explained.days, *explained.restated["session"].to_pylist()}
        differences = {**found.differences, **dict.fromkeys(by_events, "split")}
        disputed = set() if self.accept else found.disputed - by_events
        aside = self._not_told_before(symbol, rows, disputed)
        out = {dt.date.fromisoformat(text) for text in aside["session"].to_pylist()}
        left_out = pc.is_in(rows["session"], pa.array(sorted(out), pa.date32()))
        differences = {day: what for day, what in differences.items() if day not in out}
        currency = told["currency"][0].as_py()
        inferred = [self._record(security, event, currency, so_far) for event in found.events]
        return replace(
            so_far,
            rows=rows.filter(pc.invert(left_out)),
            records=[*so_far.records, *inferred],
            notices=[*so_far.notices, *self._sentences(symbol, found, differences)],
            differences=differences,
            doubted=aside,
        )

    def _record(
        self, security: int, event: InferredEvent, currency: str, so_far: Verdict
    ) -> Mapping[str, object]:
        """An inferred event, with the one that stands on its day, and is undone, multiplied in."""
        record = {**inferred_action(event, currency), "security_id": security}
        on_record = self.changed.on_record.get(security, ())
        gone = [taken.event for taken in so_far.taken]
        standing = [e.record for e in on_record if e not in gone] + [*so_far.records]
        for other in reversed(standing):
            if (other["ex_date"], other["kind"]) == (event.ex_date, record["kind"]):
                both = replace(event, factor=event.factor * (event_of(other).shares or 1.0))
                named = {name: other[name] for name in ("kind_by", "note")}
                return {**record, **inferred_action(both, currency), **named}
        return record

    def _sentences(
        self, symbol: str, found: Overlap, differences: Mapping[dt.date, str]
    ) -> list[str]:
        said = [
            f"{symbol}: {self.source.name} tells the prices before {event.ex_date} again multiplied"
            f" by {1 / event.factor:.6g} and lists no event. That is kept as a spin-off, to be"
            " confirmed; the stored prices stay as traded."
            for event in found.events
            if event.spin_off
        ]
        days = sorted(day for day, what in differences.items() if what == "unexplained")
        if days:
            more = f" and {len(days) - DAYS_SHOWN} more" if len(days) > DAYS_SHOWN else ""
            said.append(
                f"{symbol}: {self.source.name} now tells other prices of"
                f" {', '.join(map(str, days[:DAYS_SHOWN]))}{more}. They are stored, the earlier"
                " ones are kept as revisions, and nothing that is listed explains them."
            )
        return said

    def _not_told_before(
        self, symbol: str, rows: pa.Table, disputed: Collection[dt.date]
    ) -> pa.Table:
        """The disputed rows, as they are set aside, but those that an earlier answer had too."""
        if not disputed:
            return REJECTED.empty_table()
        some = rows.filter(pc.is_in(rows["session"], pa.array(sorted(disputed), pa.date32())))
        some = some.drop_columns(["security_id"])
        some = some.append_column("symbol", pa.repeat(symbol, some.num_rows))
        aside = rejected_for(some, UNLIKE_ITS_NEIGHBOURS)
        before = self.con.execute(
            "select session, raw from quarantine where source = ? and symbol = ? and reason = ?",
            [self.source.name, symbol, UNLIKE_ITS_NEIGHBOURS],
        ).fetchall()
        new = [
            not any(day == row["session"] and _same(raw, row["raw"]) for day, raw in before)
            for row in aside.to_pylist()
        ]
        return aside.filter(pa.array(new))

    def _stored(self, security: int, since: dt.date) -> pa.Table:
        """The stored rows of a security, from the last session before a day on."""
        return as_arrow(
            self.con.execute(
                f"select security_id, session, {', '.join(BARS)}, currency::varchar as currency,"  # noqa: S608 - no user text
                " basis_on, fetched_at from daily_prices"
                " where source = $source and security_id = $security and session >= coalesce("
                "(select max(session) from daily_prices where source = $source"
                " and security_id = $security and session < $since), $since) order by session",
                {"source": self.source.name, "security": security, "since": since},
            )
        )


def _dated(events: Iterable[tuple[dt.date, float | None]]) -> Dated:
    """Those with a number, each once, by day."""
    return sorted({(day, number) for day, number in events if number is not None})


def _paid(event: Event, currency: str) -> float | None:
    """What an event pays, in the currency of the prices; None where no rate is known."""
    factor = rate(str(event.record.get("currency", currency)), currency)
    return None if event.amount is None or factor is None else event.amount * factor


def _same(raw: str, other: str) -> bool:
    """Whether two rows, as JSON, have the same prices."""
    ours, theirs = json.loads(raw), json.loads(other)
    return all(
        math.isclose(float(ours[name]), float(theirs[name]), rel_tol=NOISE) for name in PRICES
    )
