"""Loads as the tests make them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from quant_assets.contracts.prices import PriceSource
from quant_assets.datasets.daily_prices.dataset import DailyPrices
from quant_assets.loading.load import load
from quant_assets.loading.report import LoadReport
from quant_assets.loading.work import Window
from quant_assets.reference.calendars import Calendar
from quant_assets.reference.identity import KnownIdentity, known_identities
from quant_assets.warehouse.warehouse import Warehouse


def load_prices(
    warehouse: Warehouse,
    source: PriceSource,
    window: Window,
    calendar: Calendar,
    *,
    identities: Sequence[KnownIdentity] | None = None,
    accept: bool = False,
    **how: Any,
) -> LoadReport:
    """Load daily prices of a source; the known identities of the real market unless told."""
    known = known_identities() if identities is None else tuple(identities)
    dataset = DailyPrices(source.profile, calendar, known, accept)
    return load(warehouse, dataset, source, window, **how)
