"""Progress of a load: the callback, and one that limits how often two others are called."""

from __future__ import annotations

import time
from collections.abc import Callable

Progress = Callable[[int, int, str], None]
"""Called with symbols done, symbols in all, and the present step."""


def unwatched(done: int, total: int, what: str) -> None:
    """The progress of a load that nobody watches."""


class Every:
    """A Progress that calls ``log`` at each tenth item and ``screen`` at most once a second, and
    both at the first call and at the end.

    Items may come several at once: a call that passes a tenth item counts as reaching it.
    """

    def __init__(
        self, log: Progress, screen: Progress, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._log = log
        self._screen = screen
        self._monotonic = monotonic
        self._last: tuple[int, int] | None = None
        self._shown_at: float | None = None

    def __call__(self, done: int, total: int, what: str) -> None:
        last, self._last = self._last, (done, total)
        ended = done >= total and last != (done, total)
        if last is None or ended or done // 10 != last[0] // 10:
            self._log(done, total, what)
        now = self._monotonic()
        if self._shown_at is None or ended or now - self._shown_at >= 1:
            self._shown_at = now
            self._screen(done, total, what)
