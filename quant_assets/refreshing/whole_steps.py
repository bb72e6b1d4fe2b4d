"""What a refresh requests of a dataset that comes whole: every list of its sources, for the last
closed session. No source is requested and nothing written here.
"""

from __future__ import annotations

from quant_assets.loading.tasks import read_tasks
from quant_assets.loading.work import Window
from quant_assets.reference.calendars import SessionUnderWayError
from quant_assets.refreshing.steps import Step
from quant_assets.schema.market import MARKET_SNAPSHOT
from quant_assets.wiring.platform import Platform

WHOLE = (MARKET_SNAPSHOT.name,)
"""Datasets that come whole, and not symbol by symbol."""


def whole_steps(platform: Platform, dataset: str, source: str = "") -> list[Step]:
    """A step for each source of ``dataset``, or for ``source`` alone.

    Raises NotEnabledError, SessionUnderWayError, UnknownSourceNameError, LiveSourceError.
    """
    calendar, now = platform.calendar, platform.clock()
    names = (source,) if source else platform.required_sources(dataset)
    under_way = calendar.session_under_way(now)
    day = calendar.last_closed_session(now)
    steps = []
    for name in names:
        _, feed = platform.feed(dataset, name, calendar)
        if under_way and feed.profile.live:
            raise SessionUnderWayError(dataset, under_way, calendar.closes_at_of(under_way))
        steps.append(Step(name, calendar, Window(feed.symbols(), day, day), dataset=dataset))
    return steps


def open_datasets(platform: Platform, *, given_up: bool = False) -> list[str]:
    """Whole datasets of which a load was stopped or failed; with ``given_up`` also too often."""
    if not platform.warehouse.exists():
        return []
    platform.warehouse.migrate()
    with platform.warehouse.reading() as con:
        return [
            name
            for name in WHOLE
            if any(t.open or (given_up and t.given_up) for t in read_tasks(con, name).values())
        ]
