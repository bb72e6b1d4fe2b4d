"""Which sessions of a symbol are due: closed, and neither stored nor confirmed empty."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter

import duckdb
import pyarrow as pa

from quant_assets.contracts.source import SourceProfile
from quant_assets.loading.dataset import Due, Look
from quant_assets.loading.work import Window
from quant_assets.reference.calendars import Calendar, OpenSessionError
from quant_assets.reference.identity import Name, bearer_on
from quant_assets.schema.prices import DAILY_PRICES
from quant_assets.schema.table import Table
from quant_assets.securities.names import read_names


@dataclass(frozen=True)
class OnSessions:
    """Every closed session of a calendar is due until ``table`` or the ledger has it."""

    calendar: Calendar
    table: Table = DAILY_PRICES

    def days(self, window: Window, now: dt.datetime) -> tuple[dt.date, ...]:
        """The closed sessions of a window. Raises OpenSessionError where none has closed."""
        last_closed = self.calendar.last_closed_session(now)
        if window.start > last_closed:
            raise OpenSessionError(window.start, last_closed)
        return self.calendar.between(window.start, min(window.end, last_closed))

    def newest(self, window: Window, now: dt.datetime) -> dt.date | None:
        """The last closed session. A source does not deliver old sessions late, so a window that
        ends before it waits for nothing.
        """
        last_closed = self.calendar.last_closed_session(now)
        return last_closed if window.end >= last_closed else None

    def due(self, look: Look, *, force: bool) -> Mapping[str, Due]:
        """The sessions to request; all of them where a symbol is not on record."""
        stored = PriceCoverage.read(look, self.table)
        return {
            symbol: Due(
                look.days if force else stored.missing_of(symbol, look.source, look.days),
                stored.first_of(symbol),
            )
            for symbol in look.window.symbols
        }


@dataclass(frozen=True)
class PriceCoverage:
    """What is stored of a source's prices: names on record by symbol, the missing sessions and the
    first stored one of each security that has any row in the window.

    A security without a row in the window is absent: all of it is missing.
    """

    names: Mapping[str, Sequence[Name]] = field(default_factory=dict)
    missing: Mapping[int, Sequence[dt.date]] = field(default_factory=dict)
    first_stored: Mapping[int, dt.date] = field(default_factory=dict)

    @classmethod
    def read(cls, look: Look, table: Table) -> PriceCoverage:
        if look.con is None:
            return cls()
        by_symbol = groupby(read_names(look.con, look.window.symbols), attrgetter("symbol"))
        names = {symbol: list(some) for symbol, some in by_symbol}
        first = look.con.execute(
            f"select security_id, min(session) from {table.name} where source = ? group by 1",
            [look.source.name],
        ).fetchall()
        return cls(names, _missing(look.con, table.name, look.source.name, look.days), dict(first))

    def first_of(self, symbol: str) -> dt.date | None:
        """The first session stored of any security that bore the symbol."""
        ids = {name.security_id for name in self.names.get(symbol, ())}
        return min((self.first_stored[i] for i in ids if i in self.first_stored), default=None)

    def missing_of(
        self, symbol: str, source: SourceProfile, sessions: Sequence[dt.date]
    ) -> Sequence[dt.date]:
        """The sessions of a symbol to request; all of them where it is not on record.

        With a source that uses the symbol of the day, the day decides among a symbol's companies;
        with one that uses the symbols of one day, that day decides.
        """
        names = self.names.get(symbol, ())
        if not names or not sessions:
            return sessions
        if source.names_on is not None:
            # Whether a name not borne that day means its bearer all the same is for the register.
            security = bearer_on(names, source.names_on)
            return sessions if security is None else self.missing.get(security, sessions)
        if len({name.security_id for name in names}) == 1:
            return self.missing.get(names[0].security_id, sessions)
        return sorted(
            day
            for name in names
            for day in self.missing.get(name.security_id, sessions)
            if name.overlaps(day, day)
        )


def _missing(
    con: duckdb.DuckDBPyConnection, table: str, source: str, sessions: Sequence[dt.date]
) -> dict[int, list[dt.date]]:
    """The sessions that each security with any row or confirmed gap among them lacks."""
    con.register("sessions", pa.table({"session": pa.array(sessions, pa.date32())}))
    rows = con.execute(
        "with seen as ("
        f"  select security_id, session from {table}"
        "  where source = $source and session between $first and $last"
        "  union all select security_id, session from symbol_day_ledger"
        "  where dataset = $dataset and source = $source and outcome = 'empty'"
        "  and session between $first and $last"
        "), counted as (select security_id, count(*) as n from seen group by 1),"
        "short as (select security_id from counted where n < (select count(*) from sessions)),"
        "missing as ("
        "  select security_id, session from short cross join sessions"
        "  except select security_id, session from seen)"
        "select security_id, list(m.session order by m.session)"
        " filter (m.session is not null)"
        " from counted left join missing m using (security_id) group by 1",
        {"dataset": table, "source": source, "first": sessions[0], "last": sessions[-1]},
    ).fetchall()
    return {row[0]: row[1] or [] for row in rows}
