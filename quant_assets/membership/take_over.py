"""What a source says of a universe, taken over: judged → identified → noted → decided → stored.

No list can wipe a universe: one of an impossible size, or with more changes than the time since the
last one explains, is refused. Whom a list means is found in ``constituents``, who belonged when is
decided in ``membership``, what changed by it is told in ``membership_changes``. Nothing is fetched
here.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Mapping, Sequence

from quant_assets.contracts.membership import Constituent, UniverseAnswer
from quant_assets.membership.changes import Event, Interval, events_of, unheard, write_events
from quant_assets.membership.constituents import Meant, Renamed, meant_by
from quant_assets.membership.deciding.decision import Decision, decide
from quant_assets.membership.deciding.evidence import (
    ADDED,
    BRIEF,
    INTERVAL,
    REMOVED,
    SAME_EVENT,
    Said,
)
from quant_assets.membership.deciding.evidence_store import Book, Entry, voice_of
from quant_assets.membership.refusals import (
    CHANGES_A_MONTH,
    CHANGES_AT_ONCE,
    PLAUSIBLE_SIZE,
    ImplausibleUniverseError,
    RefusedUniverseError,
    TooManyChangesError,
)
from quant_assets.membership.report import UniverseReport
from quant_assets.membership.stored import (
    conflict_row,
    each_symbol_once,
    interval_row,
    present_tickers,
    replace_rows,
    stored_intervals,
    traded_since,
    write_list,
)
from quant_assets.reference.identity import KnownIdentity
from quant_assets.schema.membership import MEMBERSHIP, MEMBERSHIP_CONFLICTS, UNIVERSES
from quant_assets.securities.register import Register
from quant_assets.securities.register import Stay as Listing
from quant_assets.warehouse.warehouse import Warehouse, Writing

TOLD_BEFORE = dt.timedelta(days=400)
"""A table of changes counts from so long before the first list on: of earlier days its tickers may
mean other companies, and a history file says more."""


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
            write_list(writing, universe, answer, day, refused=error.why)
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
        self.held = stored_intervals(writing.con, universe)
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
        lines = each_symbol_once(self.answer.constituents)
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
        write_list(self.writing, self.universe, self.answer, self.day, trusted=trusted)
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
        went_on = traded_since(self.writing.con, left, self.day)
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
                security: tuple(interval_row(security, stay) for stay in decision.stays)
                for security, decision in decided.items()
            },
        }
        replace_rows(
            self.writing,
            MEMBERSHIP,
            self.universe,
            decided,
            [{"universe": self.universe, **vars(i)} for s in decided for i in after[s]],
        )
        replace_rows(
            self.writing,
            MEMBERSHIP_CONFLICTS,
            self.universe,
            decided,
            [
                conflict_row(self.universe, security, conflict)
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
        before_now, now = present_tickers(self.held, self.day), present_tickers(after, self.day)
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
