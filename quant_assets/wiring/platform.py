"""Settings turned into the objects they describe: calendar, warehouse, sources.

The one place that knows every source by name. Nothing is opened or fetched by making a Platform.
A source is imported where it is made: several load pandas, and most commands make none.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from quant_assets.reference.calendars import ALWAYS_OPEN, Calendar, exchange_calendar
from quant_assets.reference.errors import UsageError
from quant_assets.reference.identity import KnownIdentity, is_pair, known_identities
from quant_assets.warehouse.warehouse import Clock, Warehouse, utc_now

if TYPE_CHECKING:
    from quant_assets.contracts.membership import UniverseSource
    from quant_assets.contracts.prices import PriceSource
    from quant_assets.fetching.pacer import Pacer
    from quant_assets.loading.work import Asking
    from quant_assets.settings.settings import Settings
    from quant_assets.sources.files.archive import FilesSource
    from quant_assets.sources.simulated import SimulatedMarket
    from quant_assets.sources.yahoo.daily_prices import YahooSource


class NoListsError(UsageError, ValueError):
    """The settings name no source of an index's members."""

    def __init__(self) -> None:
        super().__init__(
            "The settings name no source of the membership. Set universe.sources, "
            "universe.constituents or universe.intervals in quant_assets.toml; or say quant-assets "
            "universe import --from."
        )


SIMULATED = "simulated"
FILES = "files"
YAHOO = "yahoo"
EXCHANGE = "XNYS"


class UnknownSourceNameError(UsageError, ValueError):
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
        return exchange_calendar(EXCHANGE, self.settings.extra_closures)

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

    @property
    def source_names(self) -> tuple[str, ...]:
        return (*(f"{FILES}:{name}" for name in self.settings.files), YAHOO, SIMULATED)

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
            return self._archive(chosen.removeprefix(f"{FILES}:"))
        raise UnknownSourceNameError(name, self.source_names)

    def yahoo(self, calendar: Calendar) -> YahooSource:
        """Yahoo, asked at the pace of the settings by whatever process of this data folder."""
        from quant_assets.fetching.raw_bodies import RawBodies
        from quant_assets.sources.yahoo.daily_prices import YahooSource

        asked = self.settings.yahoo
        keep = RawBodies(self.settings.home_path / "raw" / YAHOO, self.clock).keep
        return YahooSource(
            calendar,
            self.pacer(YAHOO).call,
            clock=self.clock,
            base_url=self.settings.yahoo_url,
            timeout_seconds=asked.timeout_seconds,
            in_flight=asked.in_flight,
            keep=keep if asked.keep_raw else None,
        )

    def pacer(self, source: str) -> Pacer:
        """The pace of a source, counted in the data folder. Raises UnknownSourceNameError."""
        from quant_assets.fetching.pace import Pace
        from quant_assets.fetching.pacer import Pacer
        from quant_assets.sources.index_members import wikipedia
        from quant_assets.sources.yahoo.daily_prices import judge

        path = self.settings.home_path / "pacing.sqlite"
        if source == wikipedia.SOURCE:
            return Pacer(path, source, wikipedia.PACE, judge=wikipedia.judge)
        if source != YAHOO:
            raise UnknownSourceNameError(source, (YAHOO, wikipedia.SOURCE))
        asked = self.settings.yahoo
        pace = Pace(min_delay_seconds=asked.min_delay_seconds, hourly_cap=asked.hourly_cap)
        return Pacer(path, source, pace, judge=judge)

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
            sources = [(name, self._members_from(name)) for name in asked.order]
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

    def _members_from(self, name: str) -> UniverseSource:
        from quant_assets.sources.index_members import wikipedia
        from quant_assets.sources.index_members.bundled import BundledList
        from quant_assets.sources.index_members.lists import MembershipLists

        asked, resolve = self.settings.universe, self.settings.resolve
        if name == wikipedia.SOURCE:
            url = asked.wikipedia_url
            return wikipedia.WikipediaSource(
                resolve(url), self.pacer(name).call, clock=self.clock, contact=asked.contact
            )
        if name == "list":
            return MembershipLists((resolve(asked.constituents),))
        return BundledList()

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

    def simulated_market(self) -> SimulatedMarket:
        """The simulated market up to the last closed session."""
        from quant_assets.sources.simulated import SimulatedMarket

        market = self.settings.simulated
        return SimulatedMarket(
            self.calendar,
            market.start,
            self.calendar.last_closed_session(self.clock()),
            securities_count=market.symbols,
            seed=market.seed,
        )

    def identities(self, source: PriceSource | UniverseSource) -> tuple[KnownIdentity, ...]:
        """Identities that hold in the source's market; real ones mean nothing in a made-up one."""
        from quant_assets.sources.simulated import SimulatedMarket

        if isinstance(source, SimulatedMarket):
            return source.fetch_universe().names
        return known_identities()

    def _loaded_by(self) -> str:
        """The source of everything in the warehouse; empty where there is none or several."""
        if not self.warehouse.exists():
            return ""
        self.warehouse.migrate()
        with self.warehouse.reading() as con:
            rows = con.execute("select source from sources").fetchall()
        return str(rows[0][0]) if len(rows) == 1 else ""

    def _archive(self, name: str) -> FilesSource:
        from quant_assets.sources.files.archive import FilesSource

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
