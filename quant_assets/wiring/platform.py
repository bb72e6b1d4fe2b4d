"""Settings turned into the objects they describe: calendars, warehouse, sources, datasets.

The one place that knows every dataset by name. Nothing is opened or fetched by making a Platform.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quant_assets.reference.calendars import Calendar
from quant_assets.reference.errors import UsageError
from quant_assets.reference.identity import KnownIdentity, is_pair, known_identities
from quant_assets.reference.spin_offs import KnownSpinOff, known_spin_offs
from quant_assets.schema.catalog import DATASETS
from quant_assets.schema.market import MARKET_SNAPSHOT
from quant_assets.schema.prices import DAILY_PRICES
from quant_assets.warehouse.warehouse import Warehouse
from quant_assets.wiring.sources import (
    FILES,
    NASDAQ,
    NASDAQ_TRADER,
    SIMULATED,
    YAHOO,
    Sources,
    UnknownSourceNameError,
)

if TYPE_CHECKING:
    from quant_assets.contracts.membership import UniverseSource
    from quant_assets.contracts.prices import PriceSource
    from quant_assets.contracts.source import Source
    from quant_assets.loading.dataset import Dataset
    from quant_assets.loading.work import Asking


Feed = tuple["Dataset[Any, Any]", "Source[Any]"]

LIVE_SOURCES = {DAILY_PRICES.name: (YAHOO,), MARKET_SNAPSHOT.name: (NASDAQ, NASDAQ_TRADER)}
"""The sources of each dataset where the settings name none."""


HAVE_A_SIMULATED_SOURCE = (DAILY_PRICES.name, MARKET_SNAPSHOT.name)
"""Datasets that a folder of simulated prices keeps up by itself."""


class UnknownDatasetError(UsageError, ValueError):
    """A dataset that there is none of."""

    def __init__(self, name: str) -> None:
        super().__init__(f"There is no dataset {name!r}; known are {', '.join(DATASETS)}.")


class LiveSourceError(UsageError, ValueError):
    """A live source for a data folder whose prices are simulated."""

    def __init__(self, dataset: str, source: str) -> None:
        super().__init__(
            f"The prices of this data folder are simulated, so {source} is not asked for {dataset}."
            f" Leave datasets.{dataset}.source out, or use another data folder (QUANT_ASSETS_HOME)."
        )


class NotEnabledError(UsageError, ValueError):
    """A dataset that is not kept up here."""

    def __init__(self, dataset: str, *, switched_off: bool) -> None:
        setting = f"datasets.{dataset}"
        super().__init__(
            f"{dataset} is switched off here: {setting}.enabled = false. Set it to true, or name a "
            "source with --source to load it once."
            if switched_off
            else f"{dataset} is not kept up here: nothing is requested over a network by itself "
            f"where prices are simulated or come from archives. Set {setting}.source in "
            "quant_assets.toml, or name one with --source."
        )


class NoListsError(UsageError, ValueError):
    """The settings name no source of an index's members."""

    def __init__(self) -> None:
        super().__init__(
            "The settings name no source of the membership. Set universe.sources, "
            "universe.constituents or universe.intervals in quant_assets.toml; or say quant-assets "
            "universe import --from."
        )


@dataclass(frozen=True)
class Platform(Sources):
    """What the settings describe, as objects: warehouse, sources, datasets."""

    def calendar_of(self, symbol: str) -> Calendar:
        """The calendar of a symbol's market; a pair such as BTC-USD is traded day and night."""
        return self.always_open if is_pair(symbol) else self.calendar

    def by_calendar(self, symbols: Sequence[str]) -> list[tuple[Calendar, tuple[str, ...]]]:
        """Symbols that share a calendar, together; each in its order."""
        found: dict[str, tuple[Calendar, list[str]]] = {}
        for symbol in symbols:
            calendar = self.calendar_of(symbol)
            found.setdefault(calendar.name, (calendar, []))[1].append(symbol)
        return [(calendar, tuple(some)) for calendar, some in found.values()]

    @cached_property
    def warehouse(self) -> Warehouse:
        return Warehouse(
            self.settings.warehouse_path,
            lock_wait_seconds=self.settings.lock_wait_seconds,
            clock=self.clock,
        )

    def price_source(self, name: str = "", calendar: Calendar | None = None) -> PriceSource:
        """The source of that name, over the symbols of one calendar: the exchange's unless told.

        ``files`` alone means the chosen or only archive. Without a name, the one the settings
        choose, else the one that loaded what is here. Raises UnknownSourceNameError.
        """
        chosen = name or self.settings.source or self._loaded_by()
        archives = [f"{FILES}:{archive}" for archive in self.settings.files]
        if chosen == FILES:
            preferred = self.settings.source
            chosen = (
                preferred if preferred in archives else archives[0] if len(archives) == 1 else ""
            )
        if chosen == SIMULATED:
            return self.simulated_market()
        if chosen == YAHOO:
            return self.yahoo(calendar or self.calendar)
        if chosen in archives:
            return self.archive(chosen.removeprefix(f"{FILES}:"))
        raise UnknownSourceNameError(name, self.source_names)

    def feed(
        self, dataset: str, source: str, calendar: Calendar, *, accept: bool = False
    ) -> tuple[Dataset[Any, Any], Source[Any]]:
        """A dataset and the source to load it from, over the symbols of one calendar.

        With ``accept`` the source is taken at its word where it contradicts what is stored. Raises
        UnknownDatasetError, UnknownSourceNameError, LiveSourceError.
        """
        feeds = {DAILY_PRICES.name: self._prices, MARKET_SNAPSHOT.name: self._market}
        if dataset not in feeds:
            raise UnknownDatasetError(dataset)
        return feeds[dataset](source, calendar, accept)

    def _prices(self, name: str, calendar: Calendar, accept: bool) -> Feed:
        from quant_assets.datasets.daily_prices.dataset import DailyPrices

        source = self.price_source(name, calendar)
        known = self.spin_offs if source.profile.live else ()
        return DailyPrices(source.profile, calendar, self.identities(source), accept, known), source

    def _market(self, name: str, calendar: Calendar, accept: bool) -> Feed:
        from quant_assets.datasets.market_snapshot.dataset import market_snapshot

        source = self.market(name)
        if source.profile.live and self.is_simulated:
            raise LiveSourceError(MARKET_SNAPSHOT.name, name)
        known = () if source.profile.simulated else known_identities()
        return market_snapshot(calendar, known, accept), source

    def sources_of(self, dataset: str) -> tuple[str, ...]:
        """The sources that a whole dataset is kept up from; none where it is not enabled.

        A folder of simulated prices gets its simulated source, one of archives none unless the
        settings name it: neither asks anybody over a network by itself. Raises UnknownDatasetError.
        """
        if dataset not in DATASETS:
            raise UnknownDatasetError(dataset)
        asked = self.settings.dataset(dataset)
        if not asked.enabled or asked.source:
            return (asked.source,) if asked.enabled else ()
        if dataset == DAILY_PRICES.name and self.settings.source:
            return (self.settings.source,)
        if self.is_simulated:
            return (SIMULATED,) if dataset in HAVE_A_SIMULATED_SOURCE else ()
        archives = (self.settings.source or self._loaded_by()).startswith(FILES)
        if archives and dataset != DAILY_PRICES.name:
            return ()
        return LIVE_SOURCES[dataset]

    def usual_source(self, dataset: str) -> str:
        """The source of a symbol that was not loaded before. Raises NotEnabledError."""
        return self.required_sources(dataset)[0]

    def required_sources(self, dataset: str) -> tuple[str, ...]:
        """As ``sources_of``, where there is any. Raises NotEnabledError, UnknownDatasetError."""
        sources = self.sources_of(dataset)
        if not sources:
            raise NotEnabledError(dataset, switched_off=not self.settings.dataset(dataset).enabled)
        return sources

    @property
    def is_simulated(self) -> bool:
        """Whether the market here is made up, or is to be."""
        if self.settings.source == SIMULATED:
            return True
        if not self.warehouse.exists():
            return False
        self.warehouse.migrate()
        with self.warehouse.reading() as con:
            [(found,)] = con.execute("select count(*) from sources where simulated").fetchall()
        return bool(found)

    @property
    def asking(self) -> Asking:
        """How far the settings have requests look back."""
        from quant_assets.loading.work import Asking

        settings = self.settings
        return Asking(settings.look_back_days, settings.full_look_back_days)

    def universe_source(self) -> UniverseSource:
        """Who tells the members of the index: the sources of the settings, one after another.

        Lists alone, history included, where the settings leave no other source; the simulated
        market where that is the source and no list is named. Raises NoListsError.
        """
        from quant_assets.sources.index_members.chain import LastAccepted, MembershipChain
        from quant_assets.sources.index_members.lists import MembershipLists

        asked = self.settings.universe
        locations = [at for at in (asked.intervals, asked.constituents) if at]
        if not locations and SIMULATED in (self.settings.source, self._loaded_by()):
            return self.simulated_market()
        if asked.order:
            sources = [(name, self.members_from(name)) for name in asked.order]
            return MembershipChain(sources, LastAccepted(self.last_accepted))
        if not locations:
            raise NoListsError
        return MembershipLists(tuple(map(self.settings.resolve, locations)))

    def universe_history(self) -> UniverseSource | None:
        """The list of dated stays, where ``universe_source`` does not tell them already."""
        from quant_assets.sources.index_members.lists import MembershipLists

        asked = self.settings.universe
        if not (asked.intervals and asked.order):
            return None
        return MembershipLists((self.settings.resolve(asked.intervals),))

    def bundled_history(self) -> UniverseSource | None:
        """The history of the installed library, where the library is a source of the settings and
        the market a real one.
        """
        from quant_assets.sources.index_members.bundled_history import BundledHistory

        if SIMULATED in (self.settings.source, self._loaded_by()):
            return None
        return BundledHistory() if "bundled" in self.settings.universe.sources else None

    def last_accepted(self) -> tuple[dt.date, int] | None:
        """The day and the size of the list of the index that was accepted last, if any was."""
        if not self.warehouse.exists():
            return None
        self.warehouse.migrate()
        with self.warehouse.reading() as con:
            row = con.execute(
                "select listed_on, members from membership_lists"
                " where universe = 'sp500' and accepted order by listed_on desc, fetched_at desc"
            ).fetchone()
        return (row[0], row[1]) if row else None

    def identities(self, source: PriceSource | UniverseSource) -> tuple[KnownIdentity, ...]:
        """Identities that hold in the source's market; real ones mean nothing in a made-up one."""
        from quant_assets.sources.simulated.market import SimulatedMarket

        if isinstance(source, SimulatedMarket):
            return source.fetch_universe().names
        return known_identities()

    @cached_property
    def spin_offs(self) -> tuple[KnownSpinOff, ...]:
        """The spin-offs known here, with the user's file over them. Raises SpinOffListError."""
        own = self.settings.spin_offs
        return known_spin_offs(Path(self.settings.resolve(own)) if own else None)

    def _loaded_by(self) -> str:
        """The source of all prices in the warehouse; empty where there is none or several."""
        if not self.warehouse.exists():
            return ""
        self.warehouse.migrate()
        with self.warehouse.reading() as con:
            rows = con.execute(
                "select source from sources where price_basis is not null"
            ).fetchall()
        return str(rows[0][0]) if len(rows) == 1 else ""
