"""A dataset as Dagster shows it: one value each, in place of constants about prices."""

from __future__ import annotations

from dataclasses import dataclass

import dagster as dg

from quant_assets.schema.prices import DAILY_PRICES
from quant_assets.schema.table import Table


@dataclass(frozen=True)
class DatasetAsset:
    """The asset whose partitions are the symbol-days of ``table``.

    Every event names the version of ``upstream`` as its input. Loads of one ``pool`` wait for each
    other.
    """

    key: dg.AssetKey
    table: Table
    upstream: dg.AssetKey
    code_version: str
    pool: str


PRICES = DatasetAsset(
    dg.AssetKey("daily_prices"),
    DAILY_PRICES,
    upstream=dg.AssetKey("sp500_universe"),
    code_version="prices-1",
    pool="prices",
)
