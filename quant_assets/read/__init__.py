"""The read API: prices, the market, universes and what happened to them, as frames."""

from quant_assets.read.market_frames import market
from quant_assets.read.membership_frames import (
    delistings,
    universe,
    universe_changes,
    universe_conflicts,
    universes,
)
from quant_assets.read.missing import MissingDataWarning
from quant_assets.read.opening import connect
from quant_assets.read.price_frames import prices

__all__ = [
    "MissingDataWarning",
    "connect",
    "delistings",
    "market",
    "prices",
    "universe",
    "universe_changes",
    "universe_conflicts",
    "universes",
]
