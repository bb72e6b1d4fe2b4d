"""A made-up market and the real one never meet in one warehouse unless a user wants it."""

from __future__ import annotations

from quant_assets.contracts.source import SourceProfile
from quant_assets.reference.errors import UsageError
from quant_assets.warehouse.warehouse import Warehouse


class AnotherMarketError(UsageError):
    """A simulated market on its way into a warehouse that holds another one."""

    def __init__(self, incoming: str, held: str) -> None:
        super().__init__(
            f"The warehouse holds the simulated market [{held}]; this is [{incoming}]. Set "
            "simulated.symbols, simulated.start and simulated.seed as they were, or use another "
            "data folder (QUANT_ASSETS_HOME)."
        )


class MixedMarketsError(UsageError):
    """Simulated rows on their way into real data, or the other way round."""

    def __init__(self, incoming: str, held: str) -> None:
        super().__init__(
            f"The warehouse holds rows of {held}; loading {incoming} would mix a simulated market "
            "with a real one. Use another data folder (QUANT_ASSETS_HOME), or say backfill "
            "--allow-mixing if that is what you want."
        )


def is_simulated(warehouse: Warehouse) -> bool:
    """Whether everything that was loaded into a warehouse is of a simulated market."""
    if not warehouse.exists():
        return False
    with warehouse.reading() as con:
        [(simulated,)] = con.execute("select bool_and(simulated) from sources").fetchall()
    return bool(simulated)


def refuse_mixing(
    warehouse: Warehouse, source: SourceProfile, *, allow_mixing: bool = False
) -> None:
    """Raises MixedMarketsError, AnotherMarketError. A source without a convention, as one that has
    no prices, does not say which made-up market it is of.
    """
    if not warehouse.exists():
        return
    with warehouse.reading() as con:
        stored = con.execute("select source, simulated, convention from sources").fetchall()
    for name, simulated, convention in stored:
        if simulated != source.simulated and not allow_mixing:
            raise MixedMarketsError(source.name, name)
        if simulated and name == source.name and len({source.convention, convention} - {""}) > 1:
            raise AnotherMarketError(source.convention, convention)
