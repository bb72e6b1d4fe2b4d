"""Settings of each source: archives of files, lists of members, the simulated market, Yahoo."""

from __future__ import annotations

import datetime as dt
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from quant_assets.schema.table import CURRENCIES

WIKIPEDIA_URL = "https://en.wikipedia.org/wiki/List_of_S%26P_500_companies"


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FilesColumns(Frozen):
    """The names of a vendor's columns; empty where the file has no such column."""

    symbol: str = "symbol"
    session: str = "date"
    open: str = "open"
    high: str = "high"
    low: str = "low"
    close: str = "close"
    volume: str = "volume"
    split: str = ""
    dividend: str = ""
    adjusted_close: str = ""


class ActionsFile(Frozen):
    """A file of splits and dividends beside the prices, and its column names."""

    path: str
    symbol: str = "symbol"
    ex_date: str = "date"
    split: str = "split"
    dividend: str = "dividend"


class FilesArchive(Frozen):
    """A vendor's archive of CSV or Parquet files.

    ``paths`` are files, folders or globs, relative to the settings file. Prices and volumes are in
    the shares of their session with ``price_basis`` ``as_traded``, and in those of ``basis_on``
    with ``split_adjusted``. ``symbols_on`` is the day whose tickers the archive uses, its last
    session unless given; ``session`` where each row has the ticker of its own session.

    With ``deliveries`` each file was sent by the vendor on one day, ordered by the date in its path
    (else by path): a later one corrects an earlier one, and may repeat old rows in new shares. Its
    tickers are those of its own day unless ``symbols_on`` is given.

    ``date_format`` is one of ``strptime``, or the unit of an epoch: ``epoch_s`` to ``epoch_ns``.
    ``symbol_pattern`` has ``*`` where the symbol stands in a cell or a file's name: ``*.us``;
    ``symbol_spelling`` is that of preferred stock: ``BACpL`` on the ``tape``, ``bac_l`` at
    ``stooq``. ``header`` says what each line of a header has, if it has several.
    ``ignore_in_numbers`` are characters such as a mark between thousands.
    """

    paths: tuple[str, ...]
    price_basis: Literal["as_traded", "split_adjusted"]
    basis_on: dt.date | None = None
    symbols_on: dt.date | Literal["session"] | None = None
    columns: FilesColumns = FilesColumns()
    symbol_from_filename: bool = False
    date_format: str = "%Y-%m-%d"
    delimiter: str = ","
    header: tuple[Literal["field", "symbol", "skip"], ...] = ("field",)
    symbol_pattern: str = "*"
    symbol_spelling: Literal["usual", "tape", "stooq"] = "usual"
    decimal_mark: Literal[".", ","] = "."
    ignore_in_numbers: str = ""
    currency: str = "USD"
    actions: ActionsFile | None = None
    action_kinds: str = ""
    adjusted_close_convention: Literal["previous_close", "ex_close"] = "previous_close"
    deliveries: bool = False

    @field_validator("currency")
    @classmethod
    def _currency_is_known(cls, currency: str) -> str:
        if currency not in CURRENCIES:
            raise ValueError(f"{currency} is none of the currencies {', '.join(CURRENCIES)}")
        return currency

    @field_validator("symbol_pattern")
    @classmethod
    def _pattern_has_one_place(cls, pattern: str) -> str:
        if pattern.count("*") != 1:
            raise ValueError("a pattern has * once, where the symbol stands: *.us")
        return pattern

    @field_validator("header")
    @classmethod
    def _header_names_fields(cls, header: tuple[str, ...]) -> tuple[str, ...]:
        if header.count("field") != 1 or header.count("symbol") > 1:
            raise ValueError('a header has one line "field" and at most one "symbol"')
        return header

    @model_validator(mode="after")
    def _numbers_keep_what_they_need(self) -> FilesArchive:
        needed = sorted(set(self.ignore_in_numbers) & set(f"0123456789+-eE{self.decimal_mark}"))
        if needed:
            raise ValueError(f"ignore_in_numbers has {needed[0]!r}, which numbers need")
        return self

    @model_validator(mode="after")
    def _basis_is_given(self) -> FilesArchive:
        if self.price_basis == "split_adjusted" and self.basis_on is None:
            raise ValueError("split_adjusted prices need basis_on, the day of their split basis")
        if self.price_basis == "as_traded" and self.basis_on is not None:
            raise ValueError("as_traded prices have the basis of their own session; drop basis_on")
        return self

    @model_validator(mode="after")
    def _deliveries_are_as_traded(self) -> FilesArchive:
        if self.deliveries and (self.price_basis != "as_traded" or self.actions):
            raise ValueError(
                "deliveries become as_traded prices with splits and dividends of their own; set "
                "price_basis = as_traded and drop actions"
            )
        return self


class UniverseFiles(Frozen):
    """The sources of the index membership: paths or URLs, empty where there is none.

    ``sources`` are tried one after another for the members of today, with ``contact`` for
    Wikipedia; ``intervals`` are history. A list with fewer or more members than ``sizes`` is
    refused. See ``docs/sources.md``.
    """

    constituents: str = ""
    intervals: str = ""
    sources: tuple[Literal["wikipedia", "list", "bundled"], ...] = ("wikipedia", "list", "bundled")
    wikipedia_url: str = WIKIPEDIA_URL
    contact: str = ""
    sizes: tuple[int, int] = (490, 515)

    @field_validator("contact")
    @classmethod
    def _contact_fits_a_header(cls, contact: str) -> str:
        if not (contact.isascii() and (contact.isprintable() or not contact)):
            raise ValueError("a contact is an address or a URL on one line")
        return contact

    @property
    def order(self) -> tuple[str, ...]:
        """The sources of today's members, best first; none where history alone gives them.

        Unless ``sources`` or ``wikipedia_url`` is set, a list in a local file comes first, and
        history in a local file needs no other list beside it.
        """
        needs = {"wikipedia": self.wikipedia_url, "list": self.constituents, "bundled": "nothing"}
        order = tuple(name for name in self.sources if needs[name])
        if self.model_fields_set & {"sources", "wikipedia_url"}:
            return order
        if self.constituents and "://" not in self.constituents:
            return ("list", *(name for name in order if name != "list"))
        history_alone = not self.constituents and self.intervals and "://" not in self.intervals
        return () if history_alone else order


class SimulatedSettings(Frozen):
    """The simulated market. It opens on a fixed day, so that its history is the same each night;
    another size, day or seed is another market."""

    symbols: int = Field(default=20, ge=2, le=20_000)
    start: dt.date = dt.date(2024, 1, 2)
    seed: int = Field(default=7, ge=0)


class YahooSettings(Frozen):
    """The limits of requests to Yahoo. The defaults are cautious; see ``docs/sources.md``."""

    min_delay_seconds: float = Field(default=0.5, ge=0)
    hourly_cap: int = Field(default=2_000, ge=1)
    in_flight: int = Field(default=4, ge=1, le=32)
    timeout_seconds: float = Field(default=20.0, gt=0)
    keep_raw: bool = False


class NasdaqSettings(Frozen):
    """Where Nasdaq's screener and Nasdaq Trader's symbol directory are requested; another base URL
    stands for a proxy, a mirror, a stand-in.
    """

    screener_url: str = "https://api.nasdaq.com"
    directory_url: str = "https://www.nasdaqtrader.com"
    timeout_seconds: float = Field(default=60.0, gt=0)
    keep_raw: bool = False


class DatasetSettings(Frozen):
    """Whether a dataset is kept up, and from which source; its own default where none is named."""

    enabled: bool = True
    source: str = ""
