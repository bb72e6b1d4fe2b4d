"""Who belongs to an index: lists turned into membership intervals of securities.

A list of today's constituents opens and closes intervals; a list of dated intervals tells the
history. No list can wipe a universe: one of an impossible size is refused. Nothing is fetched here.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from quant_assets.identity import KnownIdentity
from quant_assets.securities import Register, Stay
from quant_assets.sources.contract import UniverseAnswer
from quant_assets.tables import MEMBERSHIP, UNIVERSES
from quant_assets.warehouse import Warehouse, Writing

PLAUSIBLE_SIZE = {"sp500": range(490, 516)}
"""Sizes of a list that can be the index: share classes make the S&P 500 some 503 lines."""


class ImplausibleUniverseError(ValueError):
    """A list that can't be the index it claims to be."""

    def __init__(self, universe: str, size: int) -> None:
        sizes = PLAUSIBLE_SIZE[universe]
        super().__init__(
            f"The list has {size} members; {universe} has {sizes.start} to {sizes.stop - 1}. "
            "Nothing was changed. If the list is right, say --accept."
        )


@dataclass(frozen=True)
class Interval:
    """A security's stay in a universe; ``removed_on`` is exclusive, or None while it lasts."""

    security_id: int
    effective_on: dt.date
    removed_on: dt.date | None
    symbol: str
    source: str

    def touches(self, other: Interval) -> bool:
        """Whether the two overlap or follow each other without a day between."""
        return (other.removed_on is None or self.effective_on <= other.removed_on) and (
            self.removed_on is None or other.effective_on <= self.removed_on
        )


@dataclass(frozen=True)
class UniverseReport:
    """What an import did to a universe; ``intervals`` are all of it, past and present."""

    universe: str
    source: str
    members: int
    added: tuple[str, ...]
    removed: tuple[str, ...]
    intervals: tuple[Interval, ...]
    notices: tuple[str, ...] = ()

    def tickers_since(self, day: dt.date) -> tuple[str, ...]:
        """Tickers of everyone who belonged to the universe on ``day`` or later, sorted."""
        return tuple(
            sorted({i.symbol for i in self.intervals if i.removed_on is None or i.removed_on > day})
        )


def import_universe(
    warehouse: Warehouse,
    answer: UniverseAnswer,
    known: Sequence[KnownIdentity],
    *,
    universe: str = "sp500",
    on: dt.date,
    accept: bool = False,
    run_id: str | None = None,
) -> UniverseReport:
    """Take over what a source says of a universe; importing it twice changes nothing.

    ``on`` is the day of the constituents list: members it lacks leave on that day, members new to
    it join on their own date where the list gives one. History may be imported before or after it;
    who belonged on the day of the latest list is for that list to say.
    Raises ImplausibleUniverseError unless ``accept`` or this is the first list, and WarehouseError.
    """
    with warehouse.writing(run_id or str(uuid.uuid4()), f"import of {universe}") as writing:
        held, listed_on = _held(writing, universe)
        current = {i.security_id for i in held if i.removed_on is None}
        size = len({constituent.symbol for constituent in answer.constituents})
        if (
            current
            and size
            and not accept
            and size not in PLAUSIBLE_SIZE.get(universe, range(size, size + 1))
        ):
            raise ImplausibleUniverseError(universe, size)
        register = Register.read(writing.con, (*known, *answer.names), answer.source)
        for identity in answer.names:
            register.bearers(identity.symbol)
        intervals = _with_history(held, answer, register, listed_on)
        if size:
            latest = max(on, listed_on or on)
            intervals = _with_constituents(intervals, answer, register, on, latest)
            listed_on = latest
        register.write(writing)
        row = {"universe": universe, "source": answer.source, "listed_on": listed_on}
        fields = [f for f in UNIVERSES.arrow_schema if f.name in row]
        writing.upsert(UNIVERSES, pa.Table.from_pylist([row], schema=pa.schema(fields)))
        _write(writing, universe, intervals)
        open_now = {i.security_id: i.symbol for i in intervals if i.removed_on is None}
        before = {i.security_id: i.symbol for i in held if i.removed_on is None}
        return UniverseReport(
            universe=universe,
            source=answer.source,
            members=len(open_now),
            added=tuple(sorted(open_now[s] for s in open_now.keys() - before.keys())),
            removed=tuple(sorted(before[s] for s in before.keys() - open_now.keys())),
            intervals=tuple(intervals),
            notices=answer.notices,
        )


def _held(writing: Writing, universe: str) -> tuple[list[Interval], dt.date | None]:
    """The intervals on record, and the day of the latest list of members."""
    rows = writing.con.execute(
        "select security_id, effective_on, removed_on, symbol, source from universe_membership "
        "where universe = ? order by security_id, effective_on",
        [universe],
    ).fetchall()
    listed = writing.con.execute(
        "select listed_on from universes where universe = ?", [universe]
    ).fetchall()
    return [Interval(*row) for row in rows], listed[0][0] if listed else None


def _with_history(
    held: Sequence[Interval],
    answer: UniverseAnswer,
    register: Register,
    listed_on: dt.date | None,
) -> list[Interval]:
    """``held`` with the dated intervals of a source, which win where the two overlap.

    But who belonged on ``listed_on`` a list of members has said: a stay that a history leaves open
    ends there if that list lacked the member, and one it ended before goes on if the list had it.
    """
    members = {i.security_id for i in held if i.removed_on is None}
    told: dict[int, list[Interval]] = defaultdict(list)
    stays = [Stay(i.symbol, i.effective_on, i.removed_on, i.slug) for i in answer.intervals]
    for stay, security in register.stays(stays):
        told[security].append(Interval(security, stay.start, stay.end, stay.symbol, answer.source))
    result: list[Interval] = []
    for security, intervals in told.items():
        result += [
            replace(i, removed_on=listed_on)
            if listed_on
            and i.removed_on is None
            and i.effective_on < listed_on
            and security not in members
            else i
            for i in merged(intervals)
        ]
    for interval in held:
        overlapping = [i for i in told.get(interval.security_id, ()) if i.touches(interval)]
        if not overlapping:
            result.append(interval)
            continue
        until = max(i.removed_on or dt.date.max for i in told[interval.security_id])
        if listed_on and interval.removed_on is None and until <= listed_on:
            result.append(replace(interval, effective_on=max(interval.effective_on, until)))
    return result


def merged(intervals: Sequence[Interval]) -> list[Interval]:
    """Intervals of one security in order, those that touch joined into one.

    A list that changes a ticker by removing one and adding the other tells of one stay.
    """
    joined: list[Interval] = []
    for interval in sorted(intervals, key=lambda i: i.effective_on):
        if not joined or not joined[-1].touches(interval):
            joined.append(interval)
            continue
        last = joined[-1]
        open_ended = last.removed_on is None or interval.removed_on is None
        until = None if open_ended else max(last.removed_on, interval.removed_on)  # type: ignore[type-var]
        joined[-1] = replace(interval, effective_on=last.effective_on, removed_on=until)
    return joined


def _with_constituents(
    intervals: Sequence[Interval],
    answer: UniverseAnswer,
    register: Register,
    on: dt.date,
    latest: dt.date,
) -> list[Interval]:
    """``intervals`` brought in line with the list of the day ``on``.

    A list older than the ``latest`` one ends no stay, and one it adds is over by then.
    """
    listed = {}
    for constituent in answer.constituents:
        security = register.on(constituent.symbol, on)
        register.describe(security, constituent)
        listed[security] = constituent
    result = [
        i
        if i.removed_on is not None
        or i.security_id in listed
        or i.effective_on >= on
        or on < latest
        else replace(i, removed_on=on)
        for i in intervals
    ]
    # Whoever is known as a member of later days needs no list of an earlier one.
    present = {i.security_id for i in result if i.removed_on is None or i.removed_on > on}
    for security, constituent in listed.items():
        if security in present:
            continue
        earlier = [i.removed_on for i in result if i.security_id == security and i.removed_on]
        # Lists date a successor by its predecessor's joining: nobody belonged before he was there.
        joined = max(constituent.added_on or on, register.known_since(security) or dt.date.min)
        start = min(on, max([joined, *earlier]))
        until = latest if on < latest else None
        result.append(Interval(security, start, until, constituent.symbol, answer.source))
    return result


def _write(writing: Writing, universe: str, intervals: Sequence[Interval]) -> None:
    rows = [{"universe": universe, **vars(interval)} for interval in intervals]
    fields = [f for f in MEMBERSHIP.arrow_schema if rows and f.name in rows[0]]
    writing.upsert(
        MEMBERSHIP,
        pa.Table.from_pylist(rows, schema=pa.schema(fields)),
        supersede=("universe", "security_id"),
    )
