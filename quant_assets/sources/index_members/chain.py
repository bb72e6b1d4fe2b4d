"""Several sources of one membership, tried one after another until one answers.

The caller may refuse an answer and go on to the next source, so that a broken page is no worse than
one that can't be reached. Which lists are refused is decided in ``membership/refusals.py``.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from quant_assets.contracts.membership import UniverseAnswer, UniverseSource
from quant_assets.contracts.one_subject import only_for
from quant_assets.contracts.source import SourceError, SourceUnavailable

LAST_ACCEPTED = "last accepted"


class NoMembershipError(SourceUnavailable):
    """No source answered with a usable list, and none was ever accepted here."""

    def __init__(self, passed_over: Sequence[str]) -> None:
        reasons = "".join(f"\n- {reason}" for reason in passed_over)
        super().__init__(
            "membership",
            "No source lists the members, and no list was ever accepted here. Nothing was changed. "
            f"Give a list with quant-assets universe import --from FILE, or try again.{reasons}",
        )
        self.passed_over = tuple(passed_over)


@dataclass(frozen=True)
class LastAccepted:
    """The list that was accepted last: there is nothing to apply, and the members stay.

    ``stored`` gives the day of that list and its number of members; None where there is none.
    """

    stored: Callable[[], tuple[dt.date, int] | None]

    def fetch_universe(self) -> UniverseAnswer:
        """Raises SourceUnavailable where no list was ever accepted."""
        stored = self.stored()
        if stored is None:
            raise SourceUnavailable(LAST_ACCEPTED, "No list was ever accepted here.")
        listed_on, members = stored
        return UniverseAnswer(
            LAST_ACCEPTED,
            listed_on=listed_on,
            notices=(
                f"No source lists the members; the {members} of {listed_on}, accepted then, stay.",
            ),
        )


class Answers(Iterator[UniverseAnswer]):
    """The answers of a chain, in order, each fetched only when the one before was refused.

    ``passed_over`` of each has the reasons against the sources before it. After the last one
    NoMembershipError is raised.
    """

    def __init__(self, sources: Sequence[tuple[str, UniverseSource]]) -> None:
        self._remaining = iter(sources)
        self._latest = ""
        self._passed_over: list[str] = []

    def __next__(self) -> UniverseAnswer:
        for name, source in self._remaining:
            self._latest = name
            try:
                with only_for(name, "the members"):
                    answer = source.fetch_universe()
            except SourceError as error:
                self.refuse(str(error))
                continue
            return replace(answer, passed_over=tuple(self._passed_over))
        raise NoMembershipError(self._passed_over)

    def refuse(self, reason: str) -> None:
        """Give the reason why the latest answer is not used, for the answers that follow."""
        self._passed_over.append(f"{self._latest}: {reason}")


@dataclass(frozen=True)
class MembershipChain:
    """``sources`` with the names they go by, best first; after them ``last_accepted``."""

    sources: Sequence[tuple[str, UniverseSource]]
    last_accepted: UniverseSource | None = None

    def answers(self) -> Answers:
        """The answers one after another, for a caller that may refuse some."""
        last = [(LAST_ACCEPTED, self.last_accepted)] if self.last_accepted else []
        return Answers([*self.sources, *last])

    def fetch_universe(self) -> UniverseAnswer:
        """The first answer. Raises NoMembershipError."""
        return next(self.answers())
