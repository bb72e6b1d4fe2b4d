"""Settings turned into the objects they describe: calendar, warehouse, sources.

The one place that knows every source by name. Nothing is opened or fetched by making a Platform.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from quant_assets.calendars import Calendar, exchange_calendar
from quant_assets.identity import KnownIdentity, known_identities
from quant_assets.settings import Settings
from quant_assets.sources.contract import PriceSource, UniverseSource
from quant_assets.sources.files import FilesSource
from quant_assets.sources.membership import MembershipLists
from quant_assets.sources.simulated import SimulatedMarket
from quant_assets.warehouse import Clock, Warehouse, utc_now

SIMULATED = "simulated"
FILES = "files"


class UnknownSourceNameError(ValueError):
    """A source that the settings do not describe."""

    def __init__(self, name: str, known: Sequence[str]) -> None:
        said = f"There is no source {name!r}." if name else "No source was chosen."
        super().__init__(
            f"{said} The settings know {', '.join(known)}. Choose with --source, or set source in "
            "quant_assets.toml; an archive of files is described under [files.<name>]."
        )


@dataclass(frozen=True)
class Platform:
    """What the settings describe, as objects; ``clock`` gives aware UTC times."""

    settings: Settings
    clock: Clock = utc_now

    @cached_property
    def calendar(self) -> Calendar:
        return exchange_calendar("XNYS", self.settings.extra_closures)

    @cached_property
    def warehouse(self) -> Warehouse:
        return Warehouse(
            self.settings.warehouse_path,
            lock_wait_seconds=self.settings.lock_wait_seconds,
            clock=self.clock,
        )

    @property
    def source_names(self) -> tuple[str, ...]:
        return (*(f"{FILES}:{name}" for name in self.settings.files), SIMULATED)

    def price_source(self, name: str = "") -> PriceSource:
        """The source of that name; ``files`` alone means the chosen or only archive.

        Without a name, the one the settings choose. Raises UnknownSourceNameError.
        """
        chosen = name or self.settings.source
        archives = [f"{FILES}:{archive}" for archive in self.settings.files]
        if chosen == FILES:
            preferred = self.settings.source
            chosen = (
                preferred if preferred in archives else archives[0] if len(archives) == 1 else ""
            )
        if chosen == SIMULATED:
            return self.simulated_market()
        if chosen in archives:
            return self._archive(chosen.removeprefix(f"{FILES}:"))
        raise UnknownSourceNameError(name, self.source_names)

    def universe_source(self) -> UniverseSource:
        """The lists the settings name, or the simulated market where that is the source."""
        lists = self.settings.universe
        locations = [
            self.settings.resolve(at) for at in (lists.intervals, lists.constituents) if at
        ]
        if locations:
            return MembershipLists(tuple(locations))
        if self.settings.source == SIMULATED:
            return self.simulated_market()
        raise UnknownSourceNameError("", ("universe.constituents", "universe.intervals"))

    def simulated_market(self) -> SimulatedMarket:
        """The simulated market up to the last closed session."""
        size = self.settings.simulated
        end = self.calendar.last_closed_session(self.clock())
        # The market opens on a fixed day, so that its history stays the same from night to night.
        start = dt.date(end.year - size.years, 1, 1)
        return SimulatedMarket(
            self.calendar, start, end, securities_count=size.symbols, seed=size.seed
        )

    def identities(self, source: PriceSource | UniverseSource) -> tuple[KnownIdentity, ...]:
        """Identities that hold in the source's market; real ones mean nothing in a made-up one."""
        if isinstance(source, SimulatedMarket):
            return source.fetch_universe().names
        return known_identities()

    def _archive(self, name: str) -> FilesSource:
        archive = self.settings.files[name]
        resolve = self.settings.resolve
        return FilesSource(
            name,
            archive,
            tuple(resolve(path) for path in archive.paths),
            self.calendar,
            Path(resolve(archive.actions.path)) if archive.actions else None,
            Path(resolve(archive.action_kinds)) if archive.action_kinds else None,
        )
