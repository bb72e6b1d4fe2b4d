"""What a source says of a universe, taken over: judged → identified → noted → decided → stored.

No list can wipe a universe: one of an impossible size, or with more changes than the time since the
last one explains, is refused. Whom a list means is found in ``constituents``, who belonged when is
decided in ``membership``, what changed by it is told in ``membership_changes``. Nothing is fetched
here.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import duckdb

from quant_assets.contracts.source import Constituent, UniverseAnswer
from quant_assets.membership.changes import Event, Interval, events_of, unheard, write_events
from quant_assets.membership.constituents import Meant, Renamed, meant_by
from quant_assets.membership.deciding.book import Book, Entry, voice_of
from quant_assets.membership.deciding.conflicts import Conflict
from quant_assets.membership.deciding.dates import Stay
from quant_assets.membership.deciding.decision import Decision, decide
from quant_assets.membership.deciding.evidence import (
    ADDED,
    BRIEF,
    INTERVAL,
    REMOVED,
    SAME_EVENT,
    Said,
)
from quant_assets.reference.identity import KnownIdentity
from quant_assets.schema.table import (
    MEMBERSHIP,
    MEMBERSHIP_CONFLICTS,
    MEMBERSHIP_LISTS,
    UNIVERSES,
    Table,
)
from quant_assets.securities.register import Register
from quant_assets.securities.register import Stay as Listing
from quant_assets.warehouse.warehouse import Warehouse, Writing
from quant_assets.warehouse.writing import listed_ids

PLAUSIBLE_SIZE = {"sp500": range(490, 516)}
"""Sizes of a list that can be the index: share classes make the S&P 500 some 503 lines."""

CHANGES_AT_ONCE = 10
CHANGES_A_MONTH = 6
"""Changes that a list may bring: the index has about 1.5 a month, four at a quarter's end, and the
lists of others are sometimes half a year behind."""

TOLD_BEFORE = dt.timedelta(days=400)
"""A table of changes counts from so long before the first list on: of earlier days its tickers may
mean other companies, and a history file says more."""


class RefusedUniverseError(ValueError):
    """A list that is not believed; nothing was changed."""

    def __init__(self, universe: str, source: str, why: str) -> None:
        super().__init__(
            f"{why} The list of {source} was refused and nothing of {universe} was changed. If it "
            "is right, say quant-assets universe import --accept."
        )
        self.universe = universe
        self.source = source
        self.why = why


class ImplausibleUniverseError(RefusedUniverseError):
    """A list that can't be the index it claims to be."""

    def __init__(self, universe: str, source: str, size: int, sizes: range) -> None:
        super().__init__(
            universe,
            source,
            f"The list has {size} members; {universe} has {sizes.start} to {sizes.stop - 1}.",
        )


class TooManyChangesError(RefusedUniverseError):
    """A list that differs too much from the last one that was believed."""

    def __init__(
        self,
        universe: str,
        source: str,
        changes: tuple[Sequence[str], Sequence[str]],
        since: dt.date,
        allowed: int,
    ) -> None:
        new, gone = changes
        super().__init__(
            universe,
            source,
            f"The list brings {len(new)} new members ({_some(new)}) and lacks {len(gone)} "
            f"({_some(gone)}); the time since {since} explains {allowed} at most.",
        )


@dataclass(frozen=True)
class UniverseReport:
    """What an import did to a universe; ``intervals`` are all of it, past and present.

    ``waiting`` are members that the latest list lacks, and that leave when the next one lacks them
    too; ``conflicts`` counts the disagreements on record.
    """

    universe: str
    source: str
    members: int
    added: tuple[str, ...]
    removed: tuple[str, ...]
    intervals: tuple[Interval, ...]
    notices: tuple[str, ...] = ()
    renamed: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()
    conflicts: int = 0
    passed_over: tuple[str, ...] = ()

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
    sizes: range | None = None,
    run_id: str | None = None,
) -> UniverseReport:
    """Take over what a source says of a universe; importing it twice changes nothing.

    ``on`` is the day of the constituents list, where the answer has no day of its own. Lists and
    histories may come in any order. ``sizes`` are those a list of the index can have; by default
    those of PLAUSIBLE_SIZE. Raises RefusedUniverseError unless ``accept`` or this is the
    first list, and WarehouseError.
    """
    run = run_id or str(uuid.uuid4())
    day = answer.listed_on or on
    try:
        with warehouse.writing(run, f"import of {universe}") as writing:
            taking = _Import(writing, answer, known, universe, day)
            taking.accept, taking.sizes = accept, sizes or taking.sizes
            return taking.run()
    except RefusedUniverseError as error:
        with warehouse.writing(run, f"import of {universe}") as writing:
            _write_list(writing, universe, answer, day, refused=error.why)
        raise


class _Import:
    """One answer on its way into a universe."""

    def __init__(
        self,
        writing: Writing,
        answer: UniverseAnswer,
        known: Sequence[KnownIdentity],
        universe: str,
        day: dt.date,
    ) -> None:
        self.writing, self.answer, self.universe, self.day = writing, answer, universe, day
        self.accept, self.sizes = False, PLAUSIBLE_SIZE.get(universe)
        self.voice = voice_of(answer.source)
        self.book = Book.read(writing.con, universe)
        self.held = _held(writing.con, universe)
        self.register = Register.read(writing.con, (*known, *answer.names), answer.source)
        if not self.book.securities:
            self._take_over_held()

    def run(self) -> UniverseReport:
        first = not self.held
        self._refuse_custom()
        for identity in self.answer.names:
            self.register.bearers(identity.symbol)
        self._note_intervals()
        meant = self._note_list() if self.answer.constituents else Meant({}, ())
        self._note_changes(meant)
        everybody = bool(self.answer.intervals)
        concerned = self.book.securities if everybody else self.book.affected(self.day)
        lists = self.book.lists()
        decided = {
            security: decide(self.book.of(security, self.register.known_since(security)), lists)
            for security in sorted(concerned)
        }
        # An older list changes history; what is new is told of the latest one's day.
        self.day = max(self.day, self.book.last_list() or self.day)
        self.register.write(self.writing)
        self.book.write(self.writing)
        return self._store(decided, meant.renamed, first=first)

    def _refuse_custom(self) -> None:
        """Raises RefusedUniverseError for a universe that users decide."""
        custom = self.writing.con.execute(
            "select 1 from universes where universe = ? and kind = 'custom'", [self.universe]
        ).fetchall()
        if custom:
            why = f"{self.universe} is a universe that users decide, and follows no list."
            raise RefusedUniverseError(self.universe, self.answer.source, why)

    def _take_over_held(self) -> None:
        """Make evidence of intervals that were stored before evidence was kept."""
        for security, several in self.held.items():
            for i in several:
                said = Said(i.source, INTERVAL, i.effective_on, i.removed_on, i.symbol)
                self.book.say(security, said)

    # What is said

    def _note_intervals(self) -> None:
        if not self.answer.intervals:
            return
        joined = {
            security: several[-1].effective_on
            for security, several in self.held.items()
            if several[-1].removed_on is None
        }
        listings = [
            Listing(i.symbol, i.effective_on, i.removed_on, i.slug) for i in self.answer.intervals
        ]
        told = [
            (
                security,
                Said(
                    self.answer.source,
                    INTERVAL,
                    listing.start,
                    listing.end,
                    listing.symbol,
                    said_on=self.day,
                ),
            )
            for listing, security in self.register.stays(listings, joined)
        ]
        self.book.forget(self.answer.source, (INTERVAL,), told)
        for security, said in told:
            self.book.say(security, said)

    def _note_list(self) -> Meant:
        lines = _once(self.answer.constituents)
        before, sizes = self.book.last_list(), self.sizes
        judged = before is not None and not self.accept
        if sizes and judged and len(lines) not in sizes:
            raise ImplausibleUniverseError(self.universe, self.answer.source, len(lines), sizes)
        latest = before is None or self.day >= before
        meant = meant_by(
            lines, self.register, self.day, self._members(), self._left(), latest=latest
        )
        if sizes and judged:
            self._refuse_upheaval(meant)
        entries = {
            security: Entry(line.symbol, line.added_on)
            for security, line in meant.constituents.items()
        }
        # Outside an index, a list is what a user wants and not what somebody reports.
        trusted = self.accept or not sizes
        self.book.add_list(self.voice, self.day, entries, trusted=trusted)
        if latest:
            for security, line in meant.constituents.items():
                self.register.describe(security, line)
        _write_list(self.writing, self.universe, self.answer, self.day, trusted=trusted)
        return meant

    def _members(self) -> dict[int, str]:
        """Who belonged about the day of the list, by the ticker the same voice knew it under."""
        members = {
            security: stay.symbol
            for security, several in self.held.items()
            for stay in several
            if stay.effective_on <= self.day + BRIEF
            and (stay.removed_on is None or self.day < stay.removed_on + BRIEF)
        }
        listed = self.book.on_list(self.voice, self.day)
        return members | {security: run.symbol for security, run in listed.items() if run.symbol}

    def _left(self) -> dict[int, dt.date]:
        """When those left who belong no more, except who has traded on and on since."""
        left = {
            security: several[-1].removed_on
            for security, several in self.held.items()
            if several[-1].removed_on is not None and several[-1].removed_on <= self.day
        }
        went_on = _traded_since(self.writing.con, left, self.day)
        return {security: day for security, day in left.items() if security not in went_on}

    def _refuse_upheaval(self, meant: Meant) -> None:
        """Raises TooManyChangesError."""
        days = self.book.days.get(self.voice, [])
        if not days:
            return
        since = max((d for d in days if d <= self.day), default=days[0])
        before = self.book.on_list(self.voice, since)
        allowed = CHANGES_AT_ONCE + round(CHANGES_A_MONTH * abs((self.day - since).days) / 30.4)
        new = [c.symbol for s, c in meant.constituents.items() if s not in before]
        gone = [run.symbol for s, run in before.items() if s not in meant.constituents]
        if max(len(new), len(gone)) > allowed:
            raise TooManyChangesError(
                self.universe, self.answer.source, (sorted(new), sorted(gone)), since, allowed
            )

    def _note_changes(self, meant: Meant) -> None:
        """Note the dated additions and removals, of securities that can be told."""
        if not self.answer.changes:
            return
        first = min((days[0] for days in self.book.days.values() if days), default=self.day)
        tickers = {symbol: security for security, symbol in self._members().items()}
        tickers |= {run.former_symbol: run.security_id for run in meant.renamed}
        listed = {line.symbol: security for security, line in meant.constituents.items()}
        # Who left some time ago is on no list any more; the row about it was understood before.
        before = {
            (s.kind, s.from_on, s.symbol): security
            for security, several in self.book.said.items()
            for s in several
            if s.source == self.answer.source
        }
        told: list[tuple[int, Said]] = []
        for change in self.answer.changes:
            for kind, symbol in ((ADDED, change.added), (REMOVED, change.removed)):
                if symbol is None:
                    continue
                security = before.get((kind, change.on, symbol))
                security = listed.get(symbol, tickers.get(symbol, security))
                if change.on < first - TOLD_BEFORE and not (
                    kind == ADDED and self._dates_joining(security, change.on, meant)
                ):
                    continue
                if security is None and kind == ADDED and change.on > self.day:
                    line = Constituent(symbol, change.added_name, added_on=change.on)
                    found = meant_by([line], self.register, self.day, {}, {}, latest=False)
                    security = next(iter(found.constituents))
                if security is not None:
                    said = Said(
                        self.answer.source, kind, change.on, None, symbol, change.reason, self.day
                    )
                    told.append((security, said))
        old = [
            (security, s)
            for security, several in self.book.said.items()
            for s in several
            if s.from_on < self.day - TOLD_BEFORE
        ]
        self.book.forget(self.answer.source, (ADDED, REMOVED), [*told, *old])
        for security, said in told:
            self.book.say(security, said)

    def _dates_joining(self, security: int | None, day: dt.date, meant: Meant) -> bool:
        """Whether a row about a ticker of long ago tells of the joining of its present bearer."""
        line = meant.constituents.get(security) if security is not None else None
        return bool(line and line.added_on and abs(line.added_on - day) <= SAME_EVENT)

    # What follows

    def _store(
        self, decided: Mapping[int, Decision], renamed: Sequence[Renamed], *, first: bool
    ) -> UniverseReport:
        after = {
            **self.held,
            **{
                security: tuple(_interval(security, stay) for stay in decision.stays)
                for security, decision in decided.items()
            },
        }
        _replace_rows(
            self.writing,
            MEMBERSHIP,
            self.universe,
            decided,
            [{"universe": self.universe, **vars(i)} for s in decided for i in after[s]],
        )
        _replace_rows(
            self.writing,
            MEMBERSHIP_CONFLICTS,
            self.universe,
            decided,
            [
                _conflict_row(self.universe, security, conflict)
                for security, decision in decided.items()
                for conflict in decision.conflicts
            ],
        )
        if not first:
            events = [
                Event("renamed", r.security_id, r.symbol, r.on, self.answer.source, r.former_symbol)
                for r in unheard(self.writing.con, renamed)
            ]
            events += events_of(self.held, after, decided, self.day, self.answer.source)
            write_events(self.writing, self.universe, events)
        self._write_universe()
        return self._report(after, decided, renamed)

    def _write_universe(self) -> None:
        """Note who told of the members; a history beside their list does not."""
        history = bool(self.answer.intervals or self.answer.changes)
        if history and not self.answer.constituents and self.book.last_list():
            return
        row = {
            "universe": self.universe,
            "kind": "index",
            "source": self.answer.source,
            "passed_over": " ".join(self.answer.passed_over) or None,
            "listed_on": self.book.last_list(),
        }
        self.writing.upsert(UNIVERSES, UNIVERSES.arrow([row]))

    def _report(
        self,
        after: Mapping[int, Sequence[Interval]],
        decided: Mapping[int, Decision],
        renamed: Sequence[Renamed],
    ) -> UniverseReport:
        before_now, now = _present(self.held, self.day), _present(after, self.day)
        [(conflicts,)] = self.writing.con.execute(
            "select count(*) from membership_conflicts where universe = ?", [self.universe]
        ).fetchall()
        return UniverseReport(
            universe=self.universe,
            source=self.answer.source,
            members=len(now),
            added=tuple(sorted(now[s] for s in now.keys() - before_now.keys())),
            removed=tuple(sorted(before_now[s] for s in before_now.keys() - now.keys())),
            intervals=tuple(i for several in after.values() for i in several),
            notices=self.answer.notices,
            renamed=tuple(f"{each.former_symbol} → {each.symbol}" for each in renamed),
            waiting=tuple(
                sorted(now[s] for s, decision in decided.items() if decision.waiting and s in now)
            ),
            conflicts=conflicts,
            passed_over=self.answer.passed_over,
        )


def _once(lines: Iterable[Constituent]) -> list[Constituent]:
    """Each symbol once, as the first line has it."""
    found: dict[str, Constituent] = {}
    for line in lines:
        found.setdefault(line.symbol, line)
    return list(found.values())


def _held(con: duckdb.DuckDBPyConnection, universe: str) -> dict[int, tuple[Interval, ...]]:
    """The intervals on record, by security and in order."""
    rows = con.execute(
        "select security_id, effective_on, removed_on, symbol, source, announced_on"
        " from universe_membership where universe = ? order by security_id, effective_on",
        [universe],
    ).fetchall()
    held: dict[int, tuple[Interval, ...]] = {}
    for row in rows:
        held[row[0]] = (*held.get(row[0], ()), Interval(*row))
    return held


def _traded_since(
    con: duckdb.DuckDBPyConnection, left: Mapping[int, dt.date | None], day: dt.date
) -> set[int]:
    """Of those who left, who has prices from before that until now without a long pause."""
    return {
        row[0]
        for row in con.execute(
            "select security_id from (select security_id, session, session - lag(session) over"  # noqa: S608 - ids of ours
            " (partition by security_id order by session) as pause from (select distinct"
            f" security_id, session from daily_prices where security_id in"
            f" ({listed_ids(sorted(left))})))"
            " group by security_id having max(session) > ? and max(pause) < 30",
            [day - dt.timedelta(days=30)],
        ).fetchall()
    }


def _present(held: Mapping[int, Sequence[Interval]], day: dt.date) -> dict[int, str]:
    """The tickers of those who belong on ``day`` or are to join later."""
    return {
        security: several[-1].symbol
        for security, several in held.items()
        if several and (several[-1].removed_on is None or several[-1].removed_on > day)
    }


def _interval(security: int, stay: Stay) -> Interval:
    return Interval(
        security,
        stay.effective_on,
        stay.removed_on,
        stay.symbol,
        stay.source,
        stay.announced_on,
    )


def _conflict_row(universe: str, security: int, conflict: Conflict) -> dict[str, object]:
    return {"universe": universe, "security_id": security, **vars(conflict)}


def _replace_rows(
    writing: Writing,
    table: Table,
    universe: str,
    securities: Iterable[int],
    rows: Sequence[Mapping[str, object]],
) -> None:
    """Let ``rows`` be all that a table has of these securities in a universe."""
    told = {row["security_id"] for row in rows}
    silent = [security for security in securities if security not in told]
    if silent:
        writing.con.execute(
            f"delete from {table.name} where universe = ?"  # noqa: S608 - our table and ids
            f" and security_id in ({listed_ids(silent)})",
            [universe],
        )
    writing.upsert(table, table.arrow(rows), supersede=("universe", "security_id"))


def _write_list(
    writing: Writing,
    universe: str,
    answer: UniverseAnswer,
    day: dt.date,
    *,
    refused: str | None = None,
    trusted: bool = False,
) -> None:
    row = {
        "universe": universe,
        "source": answer.source,
        "listed_on": day,
        "accepted": refused is None,
        "trusted": trusted,
        "members": len(_once(answer.constituents)),
        "reason": refused,
    }
    writing.upsert(MEMBERSHIP_LISTS, MEMBERSHIP_LISTS.arrow([row]))
    # The same list seen again is no change, but a look all the same.
    writing.con.execute(
        "update membership_lists set fetched_at = ? where (universe, source, listed_on, accepted)"
        " = (?, ?, ?, ?)",
        [writing.now, universe, answer.source, day, refused is None],
    )


def _some(symbols: Sequence[str]) -> str:
    more = f", … {len(symbols) - 5} more" if len(symbols) > 5 else ""
    return f"{', '.join(symbols[:5])}{more}" if symbols else "none"
