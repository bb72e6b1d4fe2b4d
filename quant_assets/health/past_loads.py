"""Past loads: their totals, how they ended, the outcome of each symbol, the log. Reads only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from quant_assets.loading.report import COUNTS
from quant_assets.reference.errors import UsageError
from quant_assets.warehouse.liveness import is_alive
from quant_assets.warehouse.warehouse import Warehouse

if TYPE_CHECKING:
    import duckdb
    import pandas as pd

FINISHED, AT_WORK, STOPPED, KILLED = "done", "at work", "stopped", "killed"
"""How a load stands: ``STOPPED`` ended early and put back what it was requesting, ``KILLED`` had no
time for that. What either stored stays."""

_SO_FAR = ", ".join(f"sum({name})::bigint as {name}" for name in COUNTS)
_COUNTS = ", ".join(f"if(r.finished_at is null, coalesce(s.{n}, 0), r.{n}) as {n}" for n in COUNTS)

TOTALS = (
    f"select r.* replace ({_COUNTS}), coalesce(s.answered, 0) as answered,"  # noqa: S608 - constants
    f" case when r.finished_at is not null then '{FINISHED}'"
    " when exists (from log_entries e where e.run_id = r.run_id and e.dataset = r.dataset"
    "  and e.source = r.source and starts_with(e.message, 'stopped by '))"
    f" then '{STOPPED}' else '{KILLED}' end as state from load_runs r left join"
    f" (select run_id, dataset, source, count(*) as answered, {_SO_FAR} from load_run_symbols"
    "  semi join (from load_runs where finished_at is null) using (run_id, dataset, source)"
    "  group by all) s using (run_id, dataset, source)"
)
"""SQL for loads with their totals: of one without an end, what its symbols add up to. Whether it is
still at work is not known to the warehouse; see ``state_of``."""


class UnknownRunError(UsageError, LookupError):
    """No load of that id."""

    def __init__(self, run: str) -> None:
        super().__init__(f"There is no load {run}; quant-assets runs lists them.")


@dataclass(frozen=True)
class PastLoad:
    """How one load stands; ``answered`` of its ``symbols`` are recorded."""

    run_id: str
    dataset: str
    source: str
    state: str
    symbols: int
    answered: int
    inserted: int


def state_of(warehouse: Warehouse, run_id: str, state: str) -> str:
    """The state by ``TOTALS``, but for a load whose process is alive."""
    try:
        alive = state in (STOPPED, KILLED) and is_alive(warehouse.runs, run_id)
    except OSError:  # who may not write in the folder can't try its locks
        return f"{AT_WORK}, or {state}"
    return AT_WORK if alive else state


def load_history(warehouse: Warehouse, last: int) -> pd.DataFrame:
    """The last loads with their totals, newest first; times are UTC. Raises WarehouseError."""
    with warehouse.reading() as con:
        frame = con.execute(
            "select run_id::varchar as run_id, dataset, source, state, start_session, end_session,"  # noqa: S608 - constants
            " started_at, finished_at, date_diff('millisecond', started_at, finished_at) / 1000"
            " as seconds, symbols, requested, inserted, revised, unchanged, quarantined, empty,"
            f" failed from ({TOTALS}) order by started_at desc, run_id, dataset, source limit ?",
            [last],
        ).df()
    pairs = zip(frame["run_id"], frame["state"], strict=True)
    return frame.assign(state=[state_of(warehouse, run, state) for run, state in pairs])


def past_loads(warehouse: Warehouse, run: str) -> list[PastLoad]:
    """How each load of a run stands. Raises WarehouseError, UnknownRunError."""
    with warehouse.reading() as con:
        rows = con.execute(
            "select run_id::varchar, dataset, source, state, symbols, answered, inserted"  # noqa: S608 - constants
            f" from ({TOTALS}) where run_id = ? order by dataset, source",
            [_run_id(con, run)],
        ).fetchall()
    return [
        PastLoad(run_id, dataset, source, state_of(warehouse, run_id, state), *counts)
        for run_id, dataset, source, state, *counts in rows
    ]


def run_symbols(warehouse: Warehouse, run: str) -> pd.DataFrame:
    """The outcome of each symbol of a load, those that failed first. Raises WarehouseError,
    UnknownRunError.
    """
    with warehouse.reading() as con:
        return con.execute(
            "select dataset, source, symbol, requested, inserted, revised, unchanged, quarantined,"
            " empty, failed, completeness, first_session, last_session, error from load_run_symbols"
            " where run_id = ? order by error is null and failed = 0, quarantined = 0, dataset,"
            " source, symbol",
            [_run_id(con, run)],
        ).df()


def run_log(warehouse: Warehouse, run: str) -> pd.DataFrame:
    """The log of a load, in order of time (UTC). Raises WarehouseError, UnknownRunError."""
    with warehouse.reading() as con:
        return con.execute(
            "select said_at, level, symbol, message, error_class, stack from log_entries"
            " where run_id = ? order by said_at, entry_id",
            [_run_id(con, run)],
        ).df()


def _run_id(con: duckdb.DuckDBPyConnection, prefix: str) -> str:
    rows = con.execute(
        "select run_id::varchar from load_runs where starts_with(run_id::varchar, lower(?))"
        " order by started_at desc limit 1",
        [prefix],
    ).fetchall()
    if not rows:
        raise UnknownRunError(prefix)
    return str(rows[0][0])
