"""The error for a universe that does not exist; read and changed universes share it."""

from __future__ import annotations

from collections.abc import Sequence

from quant_assets.reference.errors import UsageError


class UnknownUniverseError(UsageError, LookupError):
    """A universe that is not stored."""

    def __init__(self, name: str, stored: Sequence[str]) -> None:
        super().__init__(
            f"There is no universe {name}; stored: {', '.join(stored) or 'none'}. Import one with "
            "quant-assets universe import --from FILE, or make one of your own with quant-assets "
            "universe create NAME."
        )
