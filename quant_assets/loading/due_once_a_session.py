"""The rule of data that is told once a session, for that session alone: after its close."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

from quant_assets.loading.dataset import Due, Look
from quant_assets.loading.work import Window
from quant_assets.reference.calendars import Calendar


@dataclass(frozen=True)
class OnceASession:
    """A symbol is due once a session has closed since its source last answered for it.

    The one day of each window is the last closed session. A source of this kind has no past: a
    window that ends before that day has none. Each session is new work, for which failures are
    counted anew.
    """

    calendar: Calendar

    def days(self, window: Window, now: dt.datetime) -> tuple[dt.date, ...]:
        day = self.calendar.last_closed_session(now)
        return (day,) if window.start <= day <= window.end else ()

    def newest(self, window: Window, now: dt.datetime) -> dt.date | None:
        return None

    def due(self, look: Look, *, force: bool) -> Mapping[str, Due]:
        answered = {
            symbol
            for symbol, at in look.asked_at.items()
            if look.days
            and self.calendar.last_closed_session(at.replace(tzinfo=dt.UTC)) >= look.days[0]
        }
        return {
            symbol: Due(() if symbol in answered and not force else look.days)
            for symbol in look.window.symbols
        }
