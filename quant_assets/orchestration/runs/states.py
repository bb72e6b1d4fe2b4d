"""What became of the keys of an asset, read back from the warehouse and not from a run's status.

A symbol-day has its row, or the ledger, to show for it. A symbol of a dataset that is due by age is
good if its source has answered for it and nothing is left to be tried again.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from quant_assets.datasets.daily_prices.key_states import NEVER_LOADED, KeyStates, key_states
from quant_assets.loading.tasks import read_tasks
from quant_assets.orchestration.runs.dataset_asset import DatasetAsset
from quant_assets.warehouse.warehouse import Warehouse


def states(
    asset: DatasetAsset,
    warehouse: Warehouse,
    requested: Mapping[str, Sequence[dt.date]],
    last_closed: dt.date,
    *,
    source: str | None = None,
    names_on: dt.date | None = None,
    run_id: str = "",
    errors: Mapping[str, str] | None = None,
) -> KeyStates:
    """Sort the days requested of each symbol by what the asset's dataset has of them: of any source
    where ``source`` is None. ``errors`` are reasons known by symbol. An asset with a partition a
    symbol has one key a symbol, under the last of its days.
    """
    if asset.partitions == "symbol_day":
        return key_states(
            warehouse,
            asset.table,
            requested,
            last_closed,
            source=source,
            names_on=names_on,
            run_id=run_id,
            errors=errors,
        )
    known = errors or {}
    keys = {symbol: (symbol, days[-1]) for symbol, days in requested.items() if days}
    if not warehouse.exists():
        return KeyStates(failed={k: known.get(s, NEVER_LOADED) for s, k in keys.items()})
    stored = _Symbols.read(warehouse, asset.table.name, source, run_id)
    failed = {
        key: known.get(symbol) or stored.left.get(symbol) or NEVER_LOADED
        for symbol, key in keys.items()
        if symbol in known or symbol in stored.left or symbol not in stored.answered
    }
    return KeyStates(
        good=[key for key in keys.values() if key not in failed],
        failed=failed,
        changed=frozenset(key for symbol, key in keys.items() if symbol in stored.changed),
        in_ledger=frozenset(key for symbol, key in keys.items() if symbol in stored.left),
    )


@dataclass(frozen=True)
class _Symbols:
    """The symbols of a dataset that its source has answered for, those a run brought rows of, and
    those left to be tried again, each with why.
    """

    answered: frozenset[str]
    changed: frozenset[str]
    left: Mapping[str, str]

    @classmethod
    def read(cls, warehouse: Warehouse, dataset: str, source: str | None, run_id: str) -> _Symbols:
        with warehouse.reading() as con:
            answered = con.execute(
                "select symbol from source_symbols"
                " where dataset = $dataset and ($source is null or source = $source)",
                {"dataset": dataset, "source": source},
            ).fetchall()
            changed = con.execute(
                "select symbol from load_run_symbols where dataset = ?"
                " and run_id::varchar = ? and inserted + revised > 0",
                [dataset, run_id],
            ).fetchall()
            tasks = read_tasks(con, dataset, source).values()
        return cls(
            frozenset(row[0] for row in answered),
            frozenset(row[0] for row in changed),
            {task.symbol: task.error or task.state for task in tasks if task.unfinished},
        )
