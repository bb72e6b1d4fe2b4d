"""quant_assets: an S&P 500 research database, kept by a Dagster asset graph in DuckDB.

Notebooks read with ``from quant_assets import prices, universe``; everything else is the command
``quant-assets``. Importing the package, or those functions, loads neither pandas nor Dagster.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
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
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from quant_assets import read  # noqa: PLC0415 - reading needs DuckDB and Arrow

        return getattr(read, name)

    def __dir__() -> list[str]:
        return __all__
