"""A dataset as Dagster shows it: one value each, in place of constants about prices."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Literal

import dagster as dg

from quant_assets.orchestration.runs.partitions import key_text
from quant_assets.schema.market import MARKET_SNAPSHOT
from quant_assets.schema.prices import DAILY_PRICES
from quant_assets.schema.table import Table

Partitioning = Literal["symbol_day", "symbol", "whole"]
"""A partition for each symbol and session, one for each symbol, or none."""


@dataclass(frozen=True)
class DatasetAsset:
    """The asset of the dataset whose rows are counted in ``table``.

    Every event names the version of ``upstream`` as its input, where there is one. Loads of one
    ``pool`` wait for each other. ``refresh_job`` brings the asset up to date.
    """

    key: dg.AssetKey
    table: Table
    code_version: str
    pool: str
    upstream: dg.AssetKey | None = None
    partitions: Partitioning = "symbol_day"
    refresh_job: str = ""

    def partition_key(self, symbol: str, day: dt.date) -> str:
        """The key of the partition in which a symbol's day is shown."""
        return symbol if self.partitions == "symbol" else key_text(symbol, day)


UNIVERSE = dg.AssetKey("sp500_universe")

PRICES = DatasetAsset(
    dg.AssetKey("daily_prices"),
    DAILY_PRICES,
    code_version="prices-1",
    pool="prices",
    upstream=UNIVERSE,
    refresh_job="refresh_prices",
)

MARKET = DatasetAsset(
    dg.AssetKey("market_snapshot"),
    MARKET_SNAPSHOT,
    code_version="market-1",
    pool="market",
    partitions="whole",
    refresh_job="refresh_market",
)

DATASET_ASSETS = (PRICES, MARKET)
"""Every dataset that Dagster shows."""
