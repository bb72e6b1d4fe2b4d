"""The verdict on the data: which symbols have the session expected of them, what the others lack,
why, and the command that mends it. Plain values and their words; ``judging`` reaches it.
"""

from __future__ import annotations

import datetime as dt
import shlex
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from quant_assets.loading.recording import naive_utc
from quant_assets.reference.calendars import ALWAYS_OPEN

REASONS, SYMBOLS = 3, 5
"""How many reasons the sentence gives, and how many symbols it names for each."""


@dataclass(frozen=True)
class Lack:
    """What one symbol lacks of a dataset: ``sessions`` of them from ``first`` to ``last``, the one
    expected last among them if ``newest``.

    ``next_at`` is when it is requested again by itself, in UTC and naive; ``attempts`` the loads in
    a row that failed. ``mend`` is the command that mends it, with ``{}`` for the symbol;
    ``loaded`` is whether any of its sessions is stored.
    """

    dataset: str
    symbol: str
    source: str
    reason: str
    mend: str
    sessions: int = 0
    first: dt.date | None = None
    last: dt.date | None = None
    newest: bool = False
    loaded: bool = True
    attempts: int = 0
    next_at: dt.datetime | None = None

    @property
    def command(self) -> str:
        return self.mend.format(shlex.quote(self.symbol))

    def why(self, at: dt.datetime) -> str:
        """The reason, the attempts and when the next one comes, in words."""
        parts = [self.reason.rstrip(".")]
        if self.attempts:
            parts.append(f"attempt {self.attempts}")
        if self.next_at and self.next_at > naive_utc(at):
            parts.append(f"next {when(self.next_at, naive_utc(at))}")
        return ", ".join(parts)

    @property
    def only_newest(self) -> bool:
        return self.newest and self.sessions == 1

    def span(self) -> str:
        """The sessions it lacks, in words."""
        if self.first == self.last:
            return str(self.first)
        return f"{self.sessions:,} sessions, {self.first} to {self.last}"


@dataclass(frozen=True)
class Stand:
    """How many symbols of a calendar have the session expected of them, and how many of those by a
    confirmation that it is empty.
    """

    calendar: str
    session: dt.date
    symbols: int = 0
    rows: int = 0
    empty: int = 0

    @property
    def have(self) -> int:
        return self.rows + self.empty

    def in_words(self) -> str:
        """Such as "502 of 503 have 2026-11-27"."""
        noun = "pair" if self.calendar == ALWAYS_OPEN else "symbol"
        if self.have == self.symbols > 1:
            return f"all {self.symbols:,} {noun}s have {self.session}"
        which = f" {noun}s" if noun == "pair" and self.symbols > 1 else ""
        verb = "has" if self.have == 1 else "have"
        return f"{self.have:,} of {self.symbols:,}{which} {verb} {self.session}"


@dataclass(frozen=True)
class Verdict:
    """The stands, newest first, and all that is lacking, by symbol.

    ``unknown`` are symbols with the reason that no source has, nobody's index names, and that were
    given up: most likely typing errors.
    """

    at: dt.datetime
    stands: Sequence[Stand] = ()
    lacking: Sequence[Lack] = ()
    unknown: Mapping[str, str] = field(default_factory=dict)

    @property
    def has_newest(self) -> bool:
        """Whether any symbol is expected to have the exchange's newest session, and all have it."""
        stands = [stand for stand in self.stands if stand.calendar != ALWAYS_OPEN]
        return bool(stands) and all(stand.have == stand.symbols for stand in stands)

    def sentence(self) -> str:
        """The verdict in a line."""
        if not self.stands:
            text = "No symbols are known here yet, so none are expected."
            return " ".join([text, *(f"Lacking: {x}." for x in [self._lacking_in_words()] if x)])
        text = ", ".join(stand.in_words() for stand in self.stands)
        text = text[0].upper() + text[1:]
        return f"{text}; lacking: {self._lacking_in_words()}" if self.lacking else f"{text}."

    def _lacking_in_words(self) -> str:
        by_reason: dict[str, list[str]] = defaultdict(list)
        for lack in self.lacking:
            by_reason[_in_short(lack, self.at)].append(lack.symbol)
        groups = sorted(by_reason.items(), key=lambda group: -len(group[1]))
        texts = [f"{few(symbols)} ({why})" for why, symbols in groups[:REASONS]]
        more = sum(len(symbols) for _, symbols in groups[REASONS:])
        return ", ".join(texts) + (f", and {more:,} more" if more else "")

    def commands(self) -> list[str]:
        """The commands that mend all of it, one for all symbols that need the same."""
        by_command: dict[str, list[str]] = defaultdict(list)
        for lack in self.lacking:
            by_command[lack.mend].append(lack.symbol)
        return [mend.format(shlex.quote(",".join(some))) for mend, some in by_command.items()]

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        return {
            "sentence": self.sentence(),
            "expected": [asdict(stand) | {"have": stand.have} for stand in self.stands],
            "lacking": [_plain(lack) for lack in self.lacking],
            "unknown": dict(self.unknown),
        }


def _plain(lack: Lack) -> dict[str, Any]:
    values = asdict(lack) | {"command": lack.command}
    return {name: value for name, value in values.items() if name != "mend"}


def few(symbols: Sequence[str]) -> str:
    more = len(symbols) - SYMBOLS
    return ", ".join(symbols[:SYMBOLS]) + (f" and {more:,} more" if more > 0 else "")


def when(moment: dt.datetime, now: dt.datetime) -> str:
    """A moment to come in UTC, with its day unless that is today."""
    day = "" if moment.date() == now.date() else f"{moment:%Y-%m-%d} "
    return f"{day}{moment:%H:%M} UTC"


def _in_short(lack: Lack, at: dt.datetime) -> str:
    """What lacks and why in a few words, the same for symbols that share it."""
    reason = lack.reason.partition(". ")[0].replace(
        f"has no symbol {lack.symbol}", "has no such symbol"
    )
    text = replace(lack, reason=reason).why(at)
    return f"{lack.span()}: {text}" if lack.loaded and not lack.only_newest else text
