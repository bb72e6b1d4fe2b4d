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

    The one day of each window is its last, or today if that comes first (UTC).
    """

    every: dt.timedelta

    def days(self, window: Window, now: dt.datetime) -> tuple[dt.date, ...]:
        return (min(window.end, now.astimezone(dt.UTC).date()),)

    def newest(self, window: Window, now: dt.datetime) -> dt.date | None:
        return None

    def due(self, look: Look, *, force: bool) -> Mapping[str, Due]:
        moment = look.now.astimezone(dt.UTC).replace(tzinfo=None)
        fresh = {s for s, at in look.asked_at.items() if moment - at < self.every and not force}
        return {s: Due(() if s in fresh else look.days) for s in look.window.symbols}
