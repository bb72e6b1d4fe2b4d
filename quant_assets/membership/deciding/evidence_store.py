"""The book of what each source says of a universe's members: read, added to, written back.

Nothing is decided here; ``decision`` does that from what is here.
"""

from __future__ import annotations

import datetime as dt
from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import duckdb

from quant_assets.membership.deciding.evidence import (
    INTERVAL,
    LISTED,
    Evidence,
    Listed,
    Lists,
    Said,
)
from quant_assets.schema.membership import MEMBERSHIP_EVIDENCE
from quant_assets.warehouse.writing import Writing, listed_ids

AFFECTED = dt.timedelta(days=60)
"""A list may change what was decided about dates that lie so many days before it."""


def voice_of(source: str) -> str:
    """The voice that a source's lists speak with: files of any name are one list, kept by hand."""
    return source.split(":", 1)[0]


@dataclass(frozen=True)
class Entry:
    """A security on a list: the ticker it goes by, and since when, as the list says."""

    symbol: str
    added_on: dt.date | None = None


@dataclass
class Book:
    """The evidence on one universe; ``touched`` are the securities it was added to."""

    universe: str
    days: dict[str, list[dt.date]] = field(default_factory=lambda: defaultdict(list))
    runs: dict[str, dict[int, list[Listed]]] = field(default_factory=lambda: defaultdict(dict))
    said: dict[int, list[Said]] = field(default_factory=lambda: defaultdict(list))
    trusted: set[tuple[str, dt.date]] = field(default_factory=set)
    touched: set[int] = field(default_factory=set)

    @classmethod
    def read(cls, con: duckdb.DuckDBPyConnection, universe: str) -> Book:
        book = cls(universe)
        for source, day, trusted in con.execute(
            "select source, listed_on, trusted from membership_lists"
            " where universe = ? and accepted order by 2",
            [universe],
        ).fetchall():
            insort(book.days[voice_of(source)], day)
            if trusted:
                book.trusted.add((voice_of(source), day))
        for source, kind, security, start, end, symbol, added, reason, at in con.execute(
            "select source, kind, security_id, from_on, until_on, symbol, said_added_on, reason,"
            " created_at from membership_evidence where universe = ? order by from_on, source",
            [universe],
        ).fetchall():
            if kind == LISTED:
                book.runs[source].setdefault(security, []).append(Listed(start, end, symbol, added))
            else:
                said = Said(source, kind, start, end, symbol, reason, at.date())
                book.said[security].append(said)
        book.days = defaultdict(list, {v: sorted(set(days)) for v, days in book.days.items()})
        return book

    @property
    def securities(self) -> set[int]:
        return {s for runs in self.runs.values() for s in runs} | set(self.said)

    def last_list(self) -> dt.date | None:
        return max((days[-1] for days in self.days.values() if days), default=None)

    def on_list(self, voice: str, day: dt.date) -> dict[int, Listed]:
        """The securities that a voice's list of ``day``, or the last before it, had."""
        found = {}
        for security, runs in self.runs.get(voice, {}).items():
            covering = next((run for run in runs if run.covers(day)), None)
            if covering:
                found[security] = covering
        return found

    def add_list(
        self, voice: str, day: dt.date, members: Mapping[int, Entry], *, trusted: bool = False
    ) -> None:
        """Note the list of a day; one given again on the same day takes the other's place."""
        if trusted:
            self.trusted.add((voice, day))
        days = self.days[voice]
        runs = self.runs[voice]
        for security in {*runs, *members}:
            entry = members.get(security)
            held = runs.get(security, [])
            covering = next((run for run in held if run.covers(day)), None)
            if (covering is None) == (entry is None) and (days or entry is None):
                if covering and entry and _says_more(covering, entry, day):
                    held[held.index(covering)] = replace(
                        covering, symbol=entry.symbol, said_added_on=entry.added_on
                    )
                    self.touched.add(security)
                continue
            runs[security] = _with_day(held, days, day, entry)
            self.touched.add(security)
        if day not in days:
            insort(days, day)

    def say(self, security: int, said: Said) -> None:
        """Note a statement; the same one again changes nothing."""
        same = [
            s
            for s in self.said[security]
            if (s.source, s.kind, s.from_on) == (said.source, said.kind, said.from_on)
        ]
        if same and same[0].until_on == said.until_on and same[0].reason == said.reason:
            return
        self.said[security] = [s for s in self.said[security] if s not in same] + [
            replace(said, said_on=same[0].said_on if same else said.said_on)
        ]
        self.touched.add(security)

    def forget(
        self, source: str, kinds: Sequence[str], except_for: Iterable[tuple[int, Said]]
    ) -> None:
        """Drop what ``source`` said in these kinds and says no more."""
        kept = {(number, s.kind, s.from_on) for number, s in except_for}
        for security, several in self.said.items():
            gone = [
                s
                for s in several
                if s.source == source
                and s.kind in kinds
                and (security, s.kind, s.from_on) not in kept
            ]
            if gone:
                self.said[security] = [s for s in several if s not in gone]
                self.touched.add(security)

    def affected(self, day: dt.date) -> set[int]:
        """The securities about which a list of ``day`` may change what was decided."""
        if any(len(days) == 1 for days in self.days.values()):
            return self.securities
        since = day - AFFECTED
        found = set(self.touched)
        for voice, runs in self.runs.items():
            first = self.days[voice][0]
            found |= {s for s, several in runs.items() if _latest(several, first) >= since}
        listed = {
            s for runs in self.runs.values() for s, held in runs.items() if not held[-1].gone_on
        }
        for security, several in self.said.items():
            if not several:  # what was said was taken back
                continue
            ends = [s.until_on or dt.date.max for s in several]
            starts = [s.from_on for s in several]
            begun = security in listed and max(starts) < since
            if max([*starts, *ends]) >= since and not (begun and dt.date.max in ends):
                found.add(security)
        return found

    def of(self, security: int, known_since: dt.date | None = None) -> Evidence:
        runs = {v: tuple(held[security]) for v, held in self.runs.items() if held.get(security)}
        return Evidence(runs, tuple(self.said.get(security, ())), known_since)

    def lists(self) -> Lists:
        changed: dict[str, set[dt.date]] = defaultdict(set)
        joined: dict[str, dict[dt.date, list[dt.date]]] = defaultdict(lambda: defaultdict(list))
        for voice, runs in self.runs.items():
            first = self.days[voice][0]
            for run in (run for several in runs.values() for run in several):
                changed[voice].add(run.listed_on)
                if run.gone_on:
                    changed[voice].add(run.gone_on)
                if run.said_added_on and run.listed_on > first:
                    joined[voice][run.listed_on].append(run.said_added_on)
        spoken_of: dict[str, tuple[dt.date, dt.date]] = {}
        for said in (s for several in self.said.values() for s in several if s.kind == INTERVAL):
            days = said.from_on, said.until_on or said.from_on
            first, last = spoken_of.get(said.source, days)
            spoken_of[said.source] = min(first, days[0]), max(last, days[1])
        return Lists(
            {voice: tuple(days) for voice, days in self.days.items() if days},
            {voice: tuple(sorted(days)) for voice, days in changed.items()},
            {v: {d: tuple(dates) for d, dates in days.items()} for v, days in joined.items()},
            frozenset(self.trusted),
            spoken_of,
        )

    def write(self, writing: Writing) -> None:
        """Write back what was touched."""
        rows: list[dict[str, object]] = []
        for security in sorted(self.touched):
            rows += self._rows(security)
        written = {row["security_id"] for row in rows}
        silent = [number for number in sorted(self.touched) if number not in written]
        writing.con.execute(
            "delete from membership_evidence where universe = ?"  # noqa: S608 - ids of ours
            f" and security_id in ({listed_ids(silent)})",
            [self.universe],
        )
        evidence = MEMBERSHIP_EVIDENCE.arrow(rows)
        writing.upsert(MEMBERSHIP_EVIDENCE, evidence, supersede=("universe", "security_id"))
        self.touched.clear()

    def _rows(self, security: int) -> list[dict[str, object]]:
        base = {"universe": self.universe, "security_id": security}
        listed = [
            {
                **base,
                "source": voice,
                "kind": LISTED,
                "from_on": run.listed_on,
                "until_on": run.gone_on,
                "symbol": run.symbol,
                "said_added_on": run.said_added_on,
                "reason": None,
            }
            for voice, runs in self.runs.items()
            for run in runs.get(security, ())
        ]
        said = [
            {
                **base,
                "source": s.source,
                "kind": s.kind,
                "from_on": s.from_on,
                "until_on": s.until_on,
                "symbol": s.symbol,
                "said_added_on": None,
                "reason": s.reason,
            }
            for s in self.said.get(security, ())
        ]
        return listed + said


def _says_more(run: Listed, entry: Entry, day: dt.date) -> bool:
    """Whether the latest list of a run gives another ticker or date than the ones before."""
    return run.gone_on is None and (
        entry.symbol != run.symbol or (entry.added_on or run.said_added_on) != run.said_added_on
    )


def _latest(runs: Sequence[Listed], first: dt.date) -> dt.date:
    """The last date that runs tell of, but for the day of the ``first`` list of all."""
    dates = [d for run in runs for d in (run.listed_on, run.gone_on, run.said_added_on)]
    return max((d for d in dates if d and d != first), default=dt.date.min)


def _with_day(
    runs: Sequence[Listed], days: Sequence[dt.date], day: dt.date, entry: Entry | None
) -> list[Listed]:
    """The runs of a security once the list of ``day`` has it (``entry``) or lacks it."""
    at = bisect_left(days, day)
    known = [*days[:at], day, *(d for d in days[at:] if d != day)]
    found: list[Listed] = []
    for each in known:
        run = next((r for r in runs if r.covers(each)), None)
        present = entry is not None if each == day else run is not None
        if not present:
            if found and found[-1].gone_on is None:
                found[-1] = replace(found[-1], gone_on=each)
            continue
        if not found or found[-1].gone_on is not None:
            found.append(Listed(each, None, "", None))
        if each == day and entry:
            told = entry.symbol, entry.added_on
        else:
            told = (run.symbol, run.said_added_on) if run else ("", None)
        last = found[-1]
        found[-1] = replace(
            last, symbol=told[0] or last.symbol, said_added_on=told[1] or last.said_added_on
        )
    return found
