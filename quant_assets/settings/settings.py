"""One frozen ``Settings``, from a file, the environment and flags; later ones win.

Nothing is read at import: ``load_settings`` is given the environment. Unknown keys are refused, so
that a misspelt setting is not ignored.
"""

from __future__ import annotations

import datetime as dt
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator

from quant_assets.reference.errors import UsageError
from quant_assets.reference.secrets import MASK, SECRET_WORDS, masked
from quant_assets.schema.catalog import DATASETS
from quant_assets.schema.prices import DAILY_PRICES
from quant_assets.settings.sources import (
    DatasetSettings,
    FilesArchive,
    Frozen,
    NasdaqSettings,
    SimulatedSettings,
    UniverseFiles,
    YahooSettings,
)

ENVIRONMENT_PREFIX = "QUANT_ASSETS_"
CONFIG_FILE = "quant_assets.toml"


class SettingsError(UsageError, ValueError):
    """Settings that can't be used; the message has each key and its error."""


class Settings(Frozen):
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
    spin_offs: str = Field(
        default="", description="File of spin-offs, over those that are known here: CSV."
    )
    automation: bool = Field(
        default=True,
        description="Whether the Dagster daemon refreshes by itself; false for a sandbox.",
    )
    follow_index: bool | None = Field(
        default=None,
        description="Whether the daemon looks at the index by itself. Unless set: where the index "
        "was imported, or nothing is stored yet.",
    )
    allowed_hosts: tuple[str, ...] = Field(
        default=(), description="Further names by which browsers reach the UI, as of a proxy."
    )
    log_level: Literal["debug", "info", "warning", "error", "off"] = Field(
        default="off", description="Lowest level of log entries that the terminal shows."
    )
    yahoo_url: str = Field(
        default="", description="Base URL in place of Yahoo's: a proxy, a mirror, a stand-in."
    )
    yahoo: YahooSettings = YahooSettings()
    nasdaq: NasdaqSettings = NasdaqSettings()
    universe: UniverseFiles = UniverseFiles()
    simulated: SimulatedSettings = SimulatedSettings()
    files: Mapping[str, FilesArchive] = Field(default_factory=dict)
    datasets: Mapping[str, DatasetSettings] = Field(default_factory=dict)

    @field_validator("home")
    @classmethod
    def _duckdb_opens_files_there(cls, home: Path, given: ValidationInfo) -> Path:
        path = os.path.abspath(given.data.get("root", Path()) / home)
        if "?" in path or any("\ud800" <= letter <= "\udfff" for letter in path):
            raise ValueError(
                "DuckDB opens no file whose path has a question mark or is not UTF-8; choose "
                "another folder"
            )
        return home

    @field_validator("yahoo_url")
    @classmethod
    def _url_is_valid(cls, url: str) -> str:
        if url and not re.match(r"https?://[^/]", url):
            raise ValueError("a base URL begins with http:// or https://")
        return url.rstrip("/")

    @field_validator("datasets")
    @classmethod
    def _datasets_are_known(
        cls, datasets: Mapping[str, DatasetSettings]
    ) -> Mapping[str, DatasetSettings]:
        for name in datasets:
            if name not in DATASETS:
                raise ValueError(f"there is no dataset {name}; known are {', '.join(DATASETS)}")
        return datasets

    @model_validator(mode="before")
    @classmethod
    def _source_of_prices(cls, values: dict[str, object]) -> dict[str, object]:
        """``datasets.daily_prices.source`` is another name of ``source``."""
        datasets = values.get("datasets")
        prices = datasets.get(DAILY_PRICES.name) if isinstance(datasets, Mapping) else None
        named = prices.get("source") if isinstance(prices, Mapping) else None
        if named and values.get("source", named) != named:
            raise ValueError("source and datasets.daily_prices.source name two sources of prices")
        return values | {"source": named} if named else values

    def dataset(self, name: str) -> DatasetSettings:
        return self.datasets.get(name, DatasetSettings())

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
        # A folder in the environment is relative to the working directory.
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
    several = key in ("allowed_hosts", "extra_closures", "source_order", "sources", "paths")
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
    value = problem["input"]
    shown = masked(repr(str(value) if isinstance(value, Path) else value))
    given = "" if isinstance(value, Mapping) else f", given {shown}"
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
    return masked(value) if isinstance(value, str) else value
