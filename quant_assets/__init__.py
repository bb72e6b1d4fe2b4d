"""quant_assets: an S&P 500 research database, kept by a Dagster asset graph in DuckDB.

Notebooks read with ``from quant_assets import prices, universe`` and load with ``from quant_assets
import refresh``; everything else is the command ``quant-assets``. Importing the package, or those
functions, loads neither pandas nor Dagster.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

__all__ = [
    "MissingDataWarning",
    "backfill",
    "connect",
    "delistings",
    "market",
    "prices",
    "refresh",
    "resume",
    "universe",
    "universe_add",
    "universe_changes",
    "universe_conflicts",
    "universe_create",
    "universe_import",
    "universe_remove",
    "universe_take_back",
    "universes",
]

if TYPE_CHECKING:
    from quant_assets.operations.loads import backfill, refresh, resume
    from quant_assets.operations.universes import (
        universe_add,
        universe_create,
        universe_import,
        universe_remove,
        universe_take_back,
    )
    from quant_assets.read import (
        MissingDataWarning,
        connect,
        delistings,
        market,
        prices,
        universe,
        universe_changes,
        universe_conflicts,
        universes,
    )
else:
    _ROOMS = {
        **dict.fromkeys(("backfill", "refresh", "resume"), "operations.loads"),
        **dict.fromkeys(
            (
                *("universe_add", "universe_create", "universe_import"),
                *("universe_remove", "universe_take_back"),
            ),
            "operations.universes",
        ),
    }
    """The room of each name that is not in ``read``."""

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"quant_assets.{_ROOMS.get(name, 'read')}"), name)

    def __dir__() -> list[str]:
        return __all__
