"""Which sessions of a symbol are due: neither stored nor confirmed empty for its source."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import duckdb
import pyarrow as pa

from quant_assets.contracts.source import SourceProfile
from quant_assets.loading.tasks import FAILED, RATE_LIMITED, Task, read_tasks
from quant_assets.loading.work import PROBES, Asking
from quant_assets.reference.errors import UsageError
from quant_assets.reference.identity import Name, bearer_on
from quant_assets.schema.loads import PRIORITIES
from quant_assets.schema.prices import DAILY_PRICES
from quant_assets.securities.names import read_names
from quant_assets.warehouse.warehouse import Warehouse


class OpenSessionError(UsageError, ValueError):
    """A load asked for sessions that have not closed."""

    def __init__(self, start: dt.date, last_closed: dt.date) -> None:
        super().__init__(
            f"No session from {start} on has closed yet; the last closed one is {last_closed}. "
            "Nothing was asked for and nothing stored."
        )


@dataclass(frozen=True)
class PriceCoverage:
    """How things stand in the warehouse: names on record by symbol, the missing sessions and the
    first stored one of each security that has any row in the window, tasks by symbol, when each was
    last asked for at all, and for all that is stored, and how much loads have recorded.

    A security without a row in the window is absent: all of it is missing.
    """

    names: Mapping[str, Sequence[Name]] = field(default_factory=dict)
    missing: Mapping[int, Sequence[dt.date]] = field(default_factory=dict)
    first_stored: Mapping[int, dt.date] = field(default_factory=dict)
    tasks: Mapping[str, Task] = field(default_factory=dict)
    asked_at: Mapping[str, dt.datetime] = field(default_factory=dict)
    asked_for_all_at: Mapping[str, dt.datetime] = field(default_factory=dict)
    recorded: int = 0

    @classmethod
    def of(
        cls, warehouse: Warehouse, source: SourceProfile, sessions: Sequence[dt.date]
    ) -> PriceCoverage:
        if not warehouse.exists() or not sessions:
            return cls()
        names: dict[str, list[Name]] = {}
        with warehouse.reading() as con:
            [(recorded,)] = con.execute("select count(*) from load_run_symbols").fetchall()
            for name in read_names(con):
                names.setdefault(name.symbol, []).append(name)
            missing = _missing(con, source.name, sessions)
            tasks = read_tasks(con, DAILY_PRICES.name, source.name)
            asked = con.execute(
                "select symbol, asked_at, asked_for_all_at from source_symbols where source = ?",
                [source.name],
            ).fetchall()
            first = con.execute(
                "select security_id, min(session) from daily_prices where source = ? group by 1",
                [source.name],
            ).fetchall()
        by_symbol = {symbol: task for (_, symbol), task in tasks.items()}
        at = {symbol: moment for symbol, moment, _ in asked}
        for_all_at = {symbol: moment for symbol, _, moment in asked}
        return cls(names, missing, dict(first), by_symbol, at, for_all_at, recorded)

    def due(
        self, symbol: str, names_on: dt.date | None, sessions: Sequence[dt.date]
    ) -> list[dt.date]:
        """The sessions of a symbol to ask for; all of them where it is not on record.

        A source that speaks the symbol of the day tells a symbol's companies apart by the day; for
        one that speaks the symbols of one day, that day decides.
        """
        names = self.names.get(symbol, ())
        if not names or not sessions:
            return list(sessions)
        if names_on is not None:
            # Whether a name not borne that day means its bearer all the same is for the register.
            security = bearer_on(names, names_on)
            return list(sessions if security is None else self.missing.get(security, sessions))
        if len({name.security_id for name in names}) == 1:
            return list(self.missing.get(names[0].security_id, sessions))
        return sorted(
            day
            for name in names
            for day in self.missing.get(name.security_id, sessions)
            if name.overlaps(day, day)
        )

    def task(
        self, source: SourceProfile, symbol: str, due: Sequence[dt.date], priority: str | None
    ) -> Task:
        """The task of asking for the due sessions of a symbol."""
        held = self.tasks.get(symbol)
        start, end = min(due), max(due)
        if held is None:
            given = priority or PRIORITIES[1]
            return Task(DAILY_PRICES.name, source.name, symbol, start, end, priority=given)
        return held.planned(start, end, priority or (held.priority if held.open else PRIORITIES[1]))

    def failed_before(self, symbol: str) -> bool:
        return symbol in self.tasks and self.tasks[symbol].state == FAILED

    def probes(self, symbols: Sequence[str]) -> tuple[str, ...]:
        """Of the symbols that were put to wait the few asked longest ago, so that it is others each
        time: what halted itself must not hold up the rest for ever.
        """
        waited = [s for s in symbols if s in self.tasks and self.tasks[s].state == RATE_LIMITED]
        never = [symbol for symbol in waited if symbol not in self.asked_at]
        asked = [symbol for symbol in waited if symbol in self.asked_at]
        return (*never, *sorted(asked, key=self.asked_at.__getitem__))[:PROBES]

    def since(
        self,
        symbol: str,
        source: SourceProfile,
        asking: Asking,
        start: dt.date,
        now: dt.datetime,
    ) -> dt.date | None:
        """The first day to look back to from ``start``; None where there is no need to."""
        if not (source.live or source.restates or asking.look_back_everywhere):
            return None
        since = now.date() - dt.timedelta(days=asking.look_back_days)
        stored = [
            self.first_stored[name.security_id]
            for name in self.names.get(symbol, ())
            if name.security_id in self.first_stored
        ]
        if stored and self._is_long_ago(symbol, asking.full_look_back_days, now):
            since = min(since, *stored)
        return since if since < start else None

    def _is_long_ago(self, symbol: str, days: int, now: dt.datetime) -> bool:
        asked = self.asked_for_all_at.get(symbol)
        if asked is None:
            return True
        return now - asked.replace(tzinfo=dt.UTC) >= dt.timedelta(days=days)


def _missing(
    con: duckdb.DuckDBPyConnection, source: str, sessions: Sequence[dt.date]
) -> dict[int, list[dt.date]]:
    """The sessions that each security with any row or confirmed gap among them lacks."""
    con.register("sessions", pa.table({"session": pa.array(sessions, pa.date32())}))
    rows = con.execute(
        "with seen as ("
        "  select security_id, session from daily_prices"
        "  where source = $source and session between $first and $last"
        "  union all select security_id, session from symbol_day_ledger"
        "  where dataset = 'daily_prices' and source = $source and outcome = 'empty'"
        "  and session between $first and $last"
        "), counted as (select security_id, count(*) as n from seen group by 1),"
        "short as (select security_id from counted where n < (select count(*) from sessions)),"
        "missing as ("
        "  select security_id, session from short cross join sessions"
        "  except select security_id, session from seen)"
        "select security_id, list(m.session order by m.session)"
        " filter (m.session is not null)"
        " from counted left join missing m using (security_id) group by 1",
        {"source": source, "first": sessions[0], "last": sessions[-1]},
    ).fetchall()
    return {row[0]: row[1] or [] for row in rows}
