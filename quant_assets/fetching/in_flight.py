"""Several requests in flight under one pace, with their results in batches."""

from __future__ import annotations

import datetime as dt
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Generic

from quant_assets.contracts.one_subject import only_for
from quant_assets.contracts.source import Request, SourceError
from quant_assets.fetching.pace import PacingError, PacingFileError, T, as_source_error

LARGEST_BATCH = 128
"""Most requests in a batch: 160,000 rows of five years, stored in one transaction."""


@dataclass(frozen=True)
class Fetched(Generic[T]):
    """One request with its answer or its error; ``place`` is its place among all requests."""

    place: int
    source: str
    request: Request
    answer: T | None = None
    error: SourceError | PacingError | PacingFileError | None = None

    def result(self, now: dt.datetime) -> T:
        """The answer. Raises SourceError."""
        if isinstance(self.error, SourceError):
            raise self.error
        if self.error:
            raise as_source_error(self.error, self.source, now) from self.error
        if self.answer is None:
            raise RuntimeError(
                f"The request for {self.request.symbol} broke off; its error is logged above."
            )
        return self.answer


class InFlight(Generic[T]):
    """Requests under way on a few threads, and their results.

    The threads are daemons and not a pool's: the end of the process waits for a pool's threads, and
    one of these may sleep for minutes until its turn.
    """

    def __init__(
        self,
        source: str,
        send: Callable[[Request], T],
        requests: Sequence[Request],
        threads: int,
    ) -> None:
        self._send, self._remaining = send, len(requests)
        self._waiting: queue.SimpleQueue[Fetched[T]] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[Fetched[T]] = queue.SimpleQueue()
        self._begun: dict[int, str] = {}
        self._stopped = threading.Event()
        self._refusal: PacingError | PacingFileError | None = None
        self._reported = False
        for place, request in enumerate(requests):
            self._waiting.put(Fetched(place, source, request))
        for _ in range(min(threads, len(requests))):
            threading.Thread(target=self._work, name=source, daemon=True).start()

    def batches(self, at_least_every_seconds: float) -> Iterator[list[Fetched[T]]]:
        """The results of each stretch of time, in the order of the requests."""
        while self._remaining:
            batch = [self._done.get()]
            until = time.monotonic() + at_least_every_seconds
            while len(batch) < min(self._remaining, LARGEST_BATCH):
                try:
                    batch.append(self._done.get(timeout=max(until - time.monotonic(), 0)))
                except queue.Empty:
                    break
            self._remaining -= len(batch)
            yield sorted(batch, key=lambda fetched: fetched.place)

    def under_way(self) -> tuple[str, ...]:
        """The symbols whose requests have begun and have no result yet."""
        return tuple(symbol for _, symbol in sorted(self._begun.copy().items()))

    def notices(self) -> tuple[str, ...]:
        """After a refusal by pacing a sentence on it, once."""
        if self._refusal is None or self._reported:
            return ()
        self._reported = True
        return (f"{self._refusal} No further symbol is asked for in this load.",)

    def stop(self) -> None:
        self._stopped.set()

    def _work(self) -> None:
        while not self._stopped.is_set():
            try:
                fetched = self._waiting.get_nowait()
            except queue.Empty:
                return
            self._begun[fetched.place] = fetched.request.symbol
            try:
                fetched = self._fetch(fetched)
            finally:  # also after an unexpected error, or ``batches`` would wait for ever
                del self._begun[fetched.place]
                self._done.put(fetched)

    def _fetch(self, fetched: Fetched[T]) -> Fetched[T]:
        if self._refusal:
            return replace(fetched, error=self._refusal)
        try:
            with only_for(fetched.source, fetched.request.symbol):
                return replace(fetched, answer=self._send(fetched.request))
        except SourceError as error:
            return replace(fetched, error=error)
        except (PacingError, PacingFileError) as error:
            self._refusal = error
            return replace(fetched, error=error)
