"""The rule of data that has no sessions: a symbol is due once its last request is long ago."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

from quant_assets.loading.dataset import Due, Look
from quant_assets.loading.work import Window


@dataclass(frozen=True)
class ByAge:
    """A symbol is due where its source has not answered for it within ``every``.

    The one day of each window is its last, or today if that comes first (UTC). Another day is no
    new work: five failures in a row are five, a day apart or not.
    """

    every: dt.timedelta

    def days(self, window: Window, now: dt.datetime) -> tuple[dt.date, ...]:
        day = min(window.end, now.astimezone(dt.UTC).date())
        return (day,) if day >= window.start else ()

    def newest(self, window: Window, now: dt.datetime) -> dt.date | None:
        return None

    def due(self, look: Look, *, force: bool) -> Mapping[str, Due]:
        moment = look.now.astimezone(dt.UTC).replace(tzinfo=None)
        fresh = {s for s, at in look.asked_at.items() if moment - at < self.every and not force}
        return {
            symbol: Due(() if symbol in fresh else look.days, new_days_count=False)
            for symbol in look.window.symbols
        }
