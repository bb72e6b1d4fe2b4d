"""Each source of the settings as an object. Nothing is opened or fetched by making one.

A source is imported where it is made, so that nobody waits for the libraries of another one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from quant_assets.reference.calendars import ALWAYS_OPEN, Calendar, exchange_calendar
from quant_assets.reference.errors import UsageError
from quant_assets.warehouse.writer_lock import Clock, utc_now

if TYPE_CHECKING:
    from quant_assets.contracts.membership import UniverseSource
    from quant_assets.contracts.rows import RowAnswer
    from quant_assets.contracts.source import Source
    from quant_assets.fetching.pacer import Pacer
    from quant_assets.settings.settings import Settings
    from quant_assets.sources.files.archive import FilesSource
    from quant_assets.sources.simulated.market import SimulatedMarket
    from quant_assets.sources.yahoo.daily_prices import YahooSource

SIMULATED = "simulated"
FILES = "files"
YAHOO = "yahoo"
WIKIPEDIA = "wikipedia"
NASDAQ = "nasdaq"
NASDAQ_TRADER = "nasdaqtrader"
EXCHANGE = "XNYS"

PACED = (YAHOO, WIKIPEDIA, NASDAQ, NASDAQ_TRADER)
"""Sources whose requests are counted and limited."""


class UnknownSourceNameError(UsageError, ValueError):
    """A source that the settings do not describe."""

    def __init__(self, name: str, known: Sequence[str]) -> None:
        said = f"There is no source {name!r}." if name else "No source was chosen."
        super().__init__(
            f"{said} The settings know {', '.join(known)}. Choose with --source, or set source in "
            "quant_assets.toml; an archive of files is described under [files.<name>]."
        )


@dataclass(frozen=True)
class Sources:
    """The sources that the settings describe; ``clock`` gives aware UTC times."""

    settings: Settings
    clock: Clock = utc_now

    @property
    def calendar(self) -> Calendar:
        """The exchange's, which always reaches beyond the clock."""
        return exchange_calendar(EXCHANGE, self.settings.extra_closures, self.clock().date())

    @property
    def always_open(self) -> Calendar:
        """That of pairs, which are traded day and night."""
        return exchange_calendar(ALWAYS_OPEN, today=self.clock().date())

    @property
    def source_names(self) -> tuple[str, ...]:
        return (*(f"{FILES}:{name}" for name in self.settings.files), YAHOO, SIMULATED)

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
        from quant_assets.fetching.http import judge
        from quant_assets.fetching.pace import Pace
        from quant_assets.fetching.pacer import Pacer

        if source not in PACED:
            raise UnknownSourceNameError(source, PACED)
        if source == YAHOO:
            asked = self.settings.yahoo
            pace = Pace(min_delay_seconds=asked.min_delay_seconds, hourly_cap=asked.hourly_cap)
        elif source == WIKIPEDIA:
            from quant_assets.sources.index_members import wikipedia

            pace = wikipedia.PACE
        else:
            from quant_assets.sources.nasdaq import screener

            pace = screener.PACE
        return Pacer(self.settings.home_path / "pacing.sqlite", source, pace, judge=judge)

    def is_paced(self, source: str) -> bool:
        """Whether the requests to a source are counted and limited."""
        return source in PACED

    def market(self, name: str) -> Source[RowAnswer]:
        """A source of the whole market. Raises UnknownSourceNameError."""
        from quant_assets.fetching.raw_bodies import RawBodies

        if name == SIMULATED:
            from quant_assets.sources.simulated.snapshot import SimulatedSnapshot

            return SimulatedSnapshot(self.simulated_market())
        if name not in (NASDAQ, NASDAQ_TRADER):
            raise UnknownSourceNameError(name, (NASDAQ, NASDAQ_TRADER, SIMULATED))
        from quant_assets.sources.nasdaq.screener import Screener
        from quant_assets.sources.nasdaq.symbol_directory import SymbolDirectory

        asked = self.settings.nasdaq
        keep = RawBodies(self.settings.home_path / "raw" / name, self.clock).keep
        source, url = (
            (Screener, asked.screener_url)
            if name == NASDAQ
            else (SymbolDirectory, asked.directory_url)
        )
        return source(
            self.calendar,
            self.pacer(name).call,
            clock=self.clock,
            base_url=url,
            timeout_seconds=asked.timeout_seconds,
            keep=keep if asked.keep_raw else None,
        )

    def simulated_market(self) -> SimulatedMarket:
        """The simulated market up to the last closed session."""
        from quant_assets.sources.simulated.market import SimulatedMarket

        market = self.settings.simulated
        return SimulatedMarket(
            self.calendar,
            market.start,
            self.calendar.last_closed_session(self.clock()),
            securities_count=market.symbols,
            seed=market.seed,
        )

    def archive(self, name: str) -> FilesSource:
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
            clock=self.clock,
        )

    def members_from(self, name: str) -> UniverseSource:
        from quant_assets.sources.index_members import wikipedia
        from quant_assets.sources.index_members.bundled import BundledList
        from quant_assets.sources.index_members.lists import MembershipLists

        asked, resolve = self.settings.universe, self.settings.resolve
        if name == WIKIPEDIA:
            url = asked.wikipedia_url
            return wikipedia.WikipediaSource(
                resolve(url), self.pacer(name).call, clock=self.clock, contact=asked.contact
            )
        if name == "list":
            return MembershipLists((resolve(asked.constituents),))
        return BundledList()
