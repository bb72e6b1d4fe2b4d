"""quant_assets: an S&P 500 research database, kept by a Dagster asset graph in DuckDB.

Notebooks read with ``from quant_assets import prices, universe`` and load with ``from quant_assets
import refresh``; everything else is the command ``quant-assets``. Importing the package, or those
functions, loads neither pandas nor Dagster.
"""

from __future__ import annotations

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

    def __getattr__(name: str) -> object:
        # PLC0415: reading needs DuckDB and Arrow, and acting all that loads.
        if name in ("backfill", "refresh", "resume"):
            from quant_assets.operations import loads as room  # noqa: PLC0415
        elif name in ("universe", "universe_changes", "universe_conflicts"):
            from quant_assets import read as room  # noqa: PLC0415
        elif name.startswith("universe_") and name in __all__:
            from quant_assets.operations import universes as room  # noqa: PLC0415
        elif name in __all__:
            from quant_assets import read as room  # noqa: PLC0415
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(room, name)

    def __dir__() -> list[str]:
        return __all__
