"""Settings turned into the objects they describe: calendars, warehouse, sources, datasets.

The one place that knows every dataset by name. Nothing is opened or fetched by making a Platform.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from quant_assets.reference.calendars import ALWAYS_OPEN, Calendar, exchange_calendar
from quant_assets.reference.errors import UsageError
from quant_assets.reference.identity import KnownIdentity, is_pair, known_identities
from quant_assets.schema.prices import DAILY_PRICES
from quant_assets.warehouse.warehouse import Warehouse
from quant_assets.wiring.sources import FILES, SIMULATED, YAHOO, Sources, UnknownSourceNameError

if TYPE_CHECKING:
    from quant_assets.contracts.membership import UniverseSource
    from quant_assets.contracts.prices import PriceSource
    from quant_assets.contracts.source import Source
    from quant_assets.loading.dataset import Dataset
    from quant_assets.loading.work import Asking


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
        return exchange_calendar(ALWAYS_OPEN) if is_pair(symbol) else self.calendar

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
        UnknownSourceNameError.
        """
        from quant_assets.datasets.daily_prices.dataset import DailyPrices

        if dataset != DAILY_PRICES.name:
            raise ValueError(f"There is no dataset {dataset!r}.")
        prices = self.price_source(source, calendar)
        return DailyPrices(prices.profile, calendar, self.identities(prices), accept), prices

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
