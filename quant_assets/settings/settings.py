"""One frozen ``Settings``, from a file, the environment and flags, in that order of precedence.

Nothing is read at import; ``load_settings`` is given the environment it should look at. Unknown
keys are refused, wherever they come from: a misspelt setting must not be a setting ignored.
"""

from __future__ import annotations

import datetime as dt
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from quant_assets.schema.table import CURRENCIES

ENVIRONMENT_PREFIX = "QUANT_ASSETS_"
CONFIG_FILE = "quant_assets.toml"
SECRET_WORDS = ("token", "secret", "password", "api_key", "webhook")
MASK = "********"
WIKIPEDIA_URL = "https://en.wikipedia.org/wiki/List_of_S%26P_500_companies"

_BEFORE_HOST = re.compile(r"(://)[^/?#\s]+@")
_IN_QUERY = re.compile(r"([?&][^=&#\s]+=)[^&#\s]+")


class SettingsError(ValueError):
    """Settings that can't be used; the message names each key and what is wrong with it."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FilesColumns(_Frozen):
    """Which column of a vendor's file holds what; empty where the file has none."""

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


class ActionsFile(_Frozen):
    """A file of splits and dividends beside the prices, and its column names."""

    path: str
    symbol: str = "symbol"
    ex_date: str = "date"
    split: str = "split"
    dividend: str = "dividend"


class FilesArchive(_Frozen):
    """A vendor's archive of CSV or Parquet files.

    ``paths`` are files, folders or globs, relative to the settings file. ``price_basis`` says in
    which shares prices and volumes are expressed: ``as_traded`` those of the session, or
    ``split_adjusted`` those of ``basis_on``. ``symbols_on`` is the day whose tickers the archive
    uses; its last session unless said.

    With ``deliveries`` each file is what a vendor sent on one day, ordered by the date in its path
    (else by path): a later one corrects an earlier one, and may tell old rows in new shares.
    """

    paths: tuple[str, ...]
    price_basis: Literal["as_traded", "split_adjusted"]
    basis_on: dt.date | None = None
    symbols_on: dt.date | None = None
    columns: FilesColumns = FilesColumns()
    symbol_from_filename: bool = False
    date_format: str = "%Y-%m-%d"
    delimiter: str = ","
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

    @model_validator(mode="after")
    def _basis_is_said(self) -> FilesArchive:
        if self.price_basis == "split_adjusted" and self.basis_on is None:
            raise ValueError("split_adjusted prices need basis_on, the day of their split basis")
        if self.price_basis == "as_traded" and self.basis_on is not None:
            raise ValueError("as_traded prices have the basis of their own session; drop basis_on")
        return self

    @model_validator(mode="after")
    def _deliveries_are_as_traded(self) -> FilesArchive:
        if self.deliveries and (self.price_basis != "as_traded" or self.actions):
            raise ValueError(
                "deliveries become as_traded prices, and tell splits and dividends themselves; say "
                "price_basis = as_traded and drop actions"
            )
        return self


class UniverseFiles(_Frozen):
    """Where the index membership comes from: paths or URLs, empty where there is none.

    ``sources`` are asked one after another for the members of today, ``contact`` tells Wikipedia
    who asks; ``intervals`` are history. A list with fewer or more members than ``sizes`` is not
    believed. See ``docs/sources.md``.
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
        """The sources asked for the members, best first; none where lists alone tell them.

        Unless ``sources`` or ``wikipedia_url`` is said, a list in a local file comes first: whoever
        put it there meant it. History in a local file then needs no other list beside it.
        """
        needs = {"wikipedia": self.wikipedia_url, "list": self.constituents, "bundled": "nothing"}
        order = tuple(name for name in self.sources if needs[name])
        if self.model_fields_set & {"sources", "wikipedia_url"}:
            return order
        if self.constituents and "://" not in self.constituents:
            return ("list", *(name for name in order if name != "list"))
        history_alone = not self.constituents and self.intervals and "://" not in self.intervals
        return () if history_alone else order


class SimulatedSettings(_Frozen):
    """The simulated market. It opens on a fixed day, so that its history stays the same from night
    to night; another size, day or seed is another market."""

    symbols: int = Field(default=20, ge=2, le=20_000)
    start: dt.date = dt.date(2024, 1, 2)
    seed: int = Field(default=7, ge=0)


class YahooSettings(_Frozen):
    """How Yahoo is asked. The defaults are those of a polite guest; see ``docs/sources.md``."""

    min_delay_seconds: float = Field(default=0.5, ge=0)
    hourly_cap: int = Field(default=2_000, ge=1)
    in_flight: int = Field(default=4, ge=1, le=32)
    timeout_seconds: float = Field(default=20.0, gt=0)
    keep_raw: bool = False


class Settings(_Frozen):
    """Everything a user can set. ``root`` is the folder relative paths start from."""

    root: Path = Field(default=Path(), description="Folder that relative paths start from.")
    home: Path = Field(default=Path("data"), description="Data folder.")
    source: str = Field(default="", description="Source of a backfill that names none.")
    source_order: tuple[str, ...] = Field(
        default=(), description="Sources readers prefer, best first; others follow by name."
    )
    partition_start: dt.date = Field(
        default=dt.date(2024, 1, 2), description="First session with Dagster partitions."
    )
    extra_closures: tuple[dt.date, ...] = Field(
        default=(), description="Days the exchange stayed closed that no library knows yet."
    )
    lock_wait_seconds: float = Field(
        default=30.0, ge=0, description="How long to wait for another process's lock."
    )
    default_days: int = Field(
        default=365, ge=1, description="Days before the last closed session, if no start is given."
    )
    history_days: int = Field(
        default=30, ge=1, le=36_500, description="Days that the logs of Dagster's runs are kept."
    )
    look_back_days: int = Field(
        default=365, ge=0, description="Days that a refresh looks back at what is stored."
    )
    full_look_back_days: int = Field(
        default=30, ge=1, description="Days after which it looks back at all that is stored."
    )
    automation: bool = Field(
        default=True,
        description="Whether the Dagster daemon refreshes by itself; false for a sandbox.",
    )
    log_level: Literal["debug", "info", "warning", "error", "off"] = Field(
        default="off", description="From which level on the terminal shows what a load says."
    )
    yahoo_url: str = Field(
        default="", description="Base URL in place of Yahoo's: a proxy, a mirror, a stand-in."
    )
    yahoo: YahooSettings = YahooSettings()
    universe: UniverseFiles = UniverseFiles()
    simulated: SimulatedSettings = SimulatedSettings()
    files: Mapping[str, FilesArchive] = Field(default_factory=dict)

    @field_validator("yahoo_url")
    @classmethod
    def _url_is_one(cls, url: str) -> str:
        if url and not re.match(r"https?://[^/]", url):
            raise ValueError("a base URL begins with http:// or https://")
        return url.rstrip("/")

    @property
    def warehouse_path(self) -> Path:
        return self.home_path / "warehouse.duckdb"

    @property
    def home_path(self) -> Path:
        return Path(os.path.abspath(self.root / self.home))

    def resolve(self, location: str) -> str:
        """A path of the settings file made absolute; a URL stays as it is."""
        return location if "://" in location else os.path.abspath(self.root / location)


def load_settings(
    environment: Mapping[str, str],
    *,
    config: Path | None = None,
    flags: Mapping[str, object] | None = None,
    working_directory: Path | None = None,
) -> Settings:
    """Settings from file, environment and flags; later ones win, key by key.

    The file is ``config``, else ``QUANT_ASSETS_CONFIG``, else ``quant_assets.toml`` in the working
    directory where there is one. Nested keys are joined with ``__`` in the environment
    (``QUANT_ASSETS_SIMULATED__SYMBOLS=40``). Raises SettingsError.
    """
    here = working_directory or Path.cwd()
    path = _config_file(environment, config, here)
    values: dict[str, object] = {"root": here}
    if path is not None:
        _merge(values, {"root": path.parent.absolute(), **_read(path)})
    _merge(values, _from_environment(environment, here))
    _merge(values, dict(flags or {}))
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        lines = [_explain(problem, path) for problem in error.errors()]
        raise SettingsError("\n".join(lines)) from error


def _config_file(environment: Mapping[str, str], config: Path | None, here: Path) -> Path | None:
    named = config or environment.get(f"{ENVIRONMENT_PREFIX}CONFIG")
    if not named:
        return here / CONFIG_FILE if (here / CONFIG_FILE).exists() else None
    path = here / named
    if not path.exists():
        raise SettingsError(f"There is no settings file {path}.")
    return path


def _read(path: Path) -> dict[str, object]:
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not valid TOML: {error}") from error
    except OSError as error:
        raise SettingsError(f"{path} can't be read: {error.strerror}.") from error
    if "root" in values:
        raise SettingsError(f"{path}: root is the file's own folder and can't be set.")
    return values


def _from_environment(environment: Mapping[str, str], here: Path) -> dict[str, object]:
    values: dict[str, object] = {}
    for name, text in environment.items():
        if not name.startswith(ENVIRONMENT_PREFIX) or name == f"{ENVIRONMENT_PREFIX}CONFIG":
            continue
        *parents, key = name.removeprefix(ENVIRONMENT_PREFIX).lower().split("__")
        # A folder named in the environment is relative to where its user stands.
        value = here / text if (key, parents) == ("home", []) else _listed(key, text)
        level = values
        for parent in parents:
            below = level.setdefault(parent, {})
            if not isinstance(below, dict):
                raise SettingsError(
                    f"{name}: {parent} is set to a value, and has no keys below it."
                )
            level = below
        if isinstance(level.get(key), dict):
            raise SettingsError(f"{name}: {key} is set key by key, and can't be a value as well.")
        level[key] = value
    return values


def _listed(key: str, text: str) -> object:
    """Settings that hold several values are separated by commas in the environment."""
    several = key in ("extra_closures", "source_order", "sources", "paths")
    return [part.strip() for part in text.split(",") if part.strip()] if several else text


def _merge(base: dict[str, object], more: Mapping[str, object]) -> None:
    for key, value in more.items():
        under = base.get(key)
        if isinstance(under, dict) and isinstance(value, Mapping):
            _merge(under, value)
        else:
            base[key] = value


def _explain(problem: Mapping[str, object], path: Path | None) -> str:
    where = ".".join(str(part) for part in problem["loc"])  # type: ignore[attr-defined]
    if problem["type"] == "extra_forbidden":
        source = f"{path} or the environment" if path else "the environment"
        return f"Unknown setting {where} in {source}. quant-assets config show lists all settings."
    given = "" if isinstance(problem["input"], Mapping) else f", given {problem['input']!r}"
    if any(word in where.lower() for word in SECRET_WORDS):
        given = ""
    return f"Setting {where}{given}: {problem['msg']}."


def shown(settings: Settings) -> dict[str, object]:
    """The settings as plain values for people and JSON, secrets masked."""
    return {key: _masked(key, value) for key, value in settings.model_dump(mode="json").items()} | {
        "home": str(settings.home_path)
    }


def _masked(key: str, value: object) -> object:
    if isinstance(value, dict):
        return {name: _masked(name, inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_masked(key, item) for item in value]
    secret = value and any(word in key.lower() for word in SECRET_WORDS)
    if secret:
        return MASK
    return masked_addresses(value) if isinstance(value, str) else value


def masked_addresses(text: str) -> str:
    """``text`` without what addresses in it may give away: user names, passwords, query values."""
    return _IN_QUERY.sub(rf"\1{MASK}", _BEFORE_HOST.sub(rf"\1{MASK}@", text))
