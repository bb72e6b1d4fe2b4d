"""What a source promises, and how it fails. No concrete source lives here.

A source turns its own dialect into our columns and answers in chunks. Of each symbol-day asked for
it says one of: here is the row; there is nothing, and this is why (``empty``); this row can't be
read (``unreadable``); or, for a whole symbol, it could not be found out (``failures``). "Nothing
for that day" is an answer, "could not find out" an error; a source never turns one into the other.

    SourceError
    ├── UnknownSymbolAtSource    the source was reached and has never heard of the symbol
    ├── MissingAtSource          it knows the symbol and has a hole where a row should be
    ├── BadAnswer                it answered with something that is not data
    ├── RateLimited              it asks us to slow down
    └── SourceUnavailable        it could not be reached, or a file could not be read
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from quant_assets.reference.errors import BrokenError
from quant_assets.reference.secrets import masked
from quant_assets.reference.texts import LONGEST_MESSAGE, printable, shortened


class SourceError(BrokenError):
    """Something kept a source from answering. Its message may quote the answer."""

    def __init__(self, source: str, message: str) -> None:
        super().__init__(shortened(printable(masked(message)), LONGEST_MESSAGE))
        self.source = source


class UnknownSymbolAtSource(SourceError):  # noqa: N818 - names the fact, as the tree above draws it
    """The source was reached and does not have the symbol."""

    def __init__(self, source: str, symbol: str, hint: str = "") -> None:
        super().__init__(source, f"{source} has no symbol {symbol}.{' ' + hint if hint else ''}")
        self.symbol = symbol


class MissingAtSource(SourceError):  # noqa: N818
    """The source knows the symbol, and says nothing of sessions on which it was to have traded.

    ``because`` says why its silence confirms nothing, where more than that is known.
    """

    def __init__(
        self,
        source: str,
        symbol: str,
        sessions: Sequence[dt.date],
        because: str = "does not say why",
    ) -> None:
        shown = ", ".join(str(day) for day in sessions[:5])
        more = f" and {len(sessions) - 5} more" if len(sessions) > 5 else ""
        super().__init__(
            source,
            f"{source} has no row of {symbol} for {shown}{more}, and {because}.",
        )
        self.symbol = symbol
        self.sessions = tuple(sessions)


class BadAnswer(SourceError):  # noqa: N818
    """The source answered with something that is not data, such as an HTML page."""


class RateLimited(SourceError):  # noqa: N818
    """The source asks for fewer requests."""

    def __init__(self, source: str, retry_after: float | None = None) -> None:
        when = f"; it says to wait {retry_after:.0f} s" if retry_after is not None else ""
        super().__init__(source, f"{source} limits our requests{when}.")
        self.retry_after = retry_after


class SourceUnavailable(SourceError):  # noqa: N818
    """The source could not be reached or read at all."""


@dataclass(frozen=True)
class SourceProfile:
    """What holds for all answers of a source; kept in the table ``sources``."""

    name: str
    simulated: bool = False
    """Whether its market is made up; ``convention`` then says which made-up market it is."""
    convention: str = ""
    """How its numbers are to be understood, in words."""
    names_on: dt.date | None = None
    """The day whose tickers the source uses for all of its history; None for the ticker of the
    day itself."""
    live: bool = False
    """Whether it is asked over a network about markets under way: a request costs the same for a
    day and for ten years, so it looks back, and the newest session may change once more."""
    restates: bool = False
    """Whether it is known to change what it reported before, as deliveries do."""


@dataclass(frozen=True)
class Request:
    """One symbol over ``start`` to ``end``, both included.

    A symbol names what one request is about: a ticker, a contract, a forum, or the whole of a
    dataset that comes in one piece.

    With ``since``, an earlier day, what the source says of the days from then on is wanted as
    well, to be compared with what is stored.
    """

    symbol: str
    start: dt.date
    end: dt.date
    since: dt.date | None = None

    @property
    def first(self) -> dt.date:
        """The first day to ask for."""
        return min(self.start, self.since) if self.since else self.start


class Answer(Protocol):
    """What a load reads of any answer, whatever its rows are.

    ``symbols`` are those the answer is complete for; ``failures`` are the errors among them.
    ``notices`` are sentences about the answer as a whole, such as one unreadable file among many.
    ``under_way`` are symbols that the source is being asked for meanwhile.
    """

    @property
    def symbols(self) -> tuple[str, ...]: ...
    @property
    def failures(self) -> Mapping[str, SourceError]: ...
    @property
    def notices(self) -> tuple[str, ...]: ...
    @property
    def under_way(self) -> tuple[str, ...]: ...


A_co = TypeVar("A_co", bound=Answer, covariant=True)


class Source(Protocol[A_co]):
    """Where the rows of a dataset come from."""

    @property
    def profile(self) -> SourceProfile: ...

    def symbols(self) -> tuple[str, ...]:
        """Every symbol the source holds, sorted; empty where it can't tell."""
        ...

    def fetch(self, requests: Sequence[Request]) -> Iterator[A_co]:
        """Answer every request, a chunk of symbols at a time.

        Raises SourceUnavailable or BadAnswer where nothing at all can be read; anything that
        concerns one symbol comes back in ``failures``.
        """
        ...
