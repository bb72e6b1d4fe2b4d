"""The pace of a source: its limits, the faults of its requests, and the errors of waiting.

PacingError           no request was made, or no more will be, before ``retry_at``
├── StillThrottled    the source wants fewer requests, and all waits are used up
├── BudgetSpent       the next turn is later than the longest wait allowed
└── CircuitOpen       the source is down
PacingFileError       the counters can't be read or written
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, TypeVar

from quant_assets.contracts.source import RateLimited, SourceError, SourceUnavailable
from quant_assets.reference.errors import BrokenError

T = TypeVar("T")
HOUR_SECONDS = 3600.0


@dataclass(frozen=True)
class Pace:
    """The limits of requests to a source. The defaults are ours, cautious for a free web source."""

    min_delay_seconds: float = 0.5
    """Between the starts of two requests, over all processes."""
    hourly_cap: int = 2_000
    """Requests in any sliding hour."""
    attempts: int = 3
    """Requests made for one call while the source fails."""
    first_wait_seconds: float = 1.0
    """After the first fault; then twice as long each time."""
    longest_wait_seconds: float = 30.0
    """The limit of those waits, jitter included."""
    throttle_waits_seconds: tuple[float, ...] = (5.0, 10.0, 20.0, 40.0, 80.0)
    """After the first, second … 429 in a row that came without Retry-After."""
    breaker_after: int = 5
    """Calls in a row that fail for good, after which the circuit opens: no request is made."""
    breaker_seconds: float = 60.0
    """How long it stays open; twice as long after each trial that fails, up to 900 s."""
    patience_seconds: float = 900.0
    """The longest that a request waits for its turn."""

    def __post_init__(self) -> None:
        counts = (
            self.hourly_cap,
            self.attempts,
            self.breaker_after,
            len(self.throttle_waits_seconds),
        )
        if min(counts) < 1:
            raise ValueError(f"A cap, a number of attempts and waits must be at least 1: {self}.")


@dataclass(frozen=True)
class Fault:
    """The meaning of an exception for pacing."""

    kind: Literal["throttled", "transient"]
    retry_after_seconds: float | None = None


Judge = Callable[[Exception], Fault | None]
"""The fault behind an exception; None where the source answered, whatever its answer."""


@dataclass(frozen=True)
class Budget:
    """Requests made of a source, the failed ones among them, and the earliest start of the next.

    Days are UTC days, times aware UTC.
    """

    requests_last_hour: int
    hourly_cap: int
    requests_today: int
    throttled_today: int
    failed_today: int
    requests_in_all: int
    next_at: dt.datetime
    breaker_until: dt.datetime | None
    """The end of the circuit breaker's break; None while it is closed or due for a trial."""


class PacingError(BrokenError):
    """No request is made of ``source`` before ``retry_at`` (aware UTC)."""

    reason = "it has to wait"

    def __init__(self, source: str, retry_at: float) -> None:
        self.source = source
        self.retry_at = utc(retry_at)
        super().__init__(
            f"{source} is not asked again before {self.retry_at:%Y-%m-%d %H:%M:%S} UTC: "
            f"{self.reason}."
        )


class StillThrottled(PacingError):  # noqa: N818 - names the fact, as the tree above draws it
    reason = "it wants fewer requests"


class BudgetSpent(PacingError):  # noqa: N818
    reason = "the requests allowed until then are made or spoken for"


class CircuitOpen(PacingError):  # noqa: N818
    reason = "it has failed too often in a row"


class PacingFileError(BrokenError):
    """The counters can't be used.

    A new file would lose the requests of the last hour and a source's order to stop, and the source
    might shut us out; so a person decides.
    """

    def __init__(self, path: Path, cause: Exception) -> None:
        super().__init__(
            f"The request counters in {path} can't be used ({cause}). Nothing was asked. If the "
            "file is damaged, delete it: counting then starts anew."
        )
        self.path = path


def as_source_error(
    error: PacingError | PacingFileError, source: str, now: dt.datetime
) -> SourceError:
    """RateLimited where the source wants fewer requests, SourceUnavailable for any other error."""
    if isinstance(error, StillThrottled):
        return RateLimited(source, max((error.retry_at - now).total_seconds(), 0.0))
    return SourceUnavailable(source, str(error))


def earliest_start(newest: float, oldest_of_cap: float, pace: Pace) -> float:
    """The earliest start after the newest request and the one as many back as the cap allows."""
    return max(newest + pace.min_delay_seconds, oldest_of_cap + HOUR_SECONDS)


def utc(timestamp: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(timestamp, dt.UTC)


class Paced(Protocol):
    """Makes a request when its turn has come, as ``pacer.Pacer.call`` does."""

    def __call__(self, request: Callable[[], T]) -> T: ...
