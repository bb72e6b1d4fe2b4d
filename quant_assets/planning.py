"""What is due: the sessions of a window that a source has neither delivered nor confirmed empty.

The plan is made from the warehouse alone; no source is asked, and nothing is written.
"""

from __future__ import annotations

import datetime as dt
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from quant_assets.calendars import Calendar
from quant_assets.identity import Name
from quant_assets.securities import read_names
from quant_assets.sources.contract import PriceRequest, SourceProfile
from quant_assets.warehouse import Warehouse


class OpenSessionError(ValueError):
    """A load asked for sessions that have not closed."""

    def __init__(self, start: dt.date, last_closed: dt.date) -> None:
        super().__init__(
            f"No session from {start} on has closed yet; the last closed one is {last_closed}. "
            "Nothing was asked for and nothing stored."
        )


@dataclass(frozen=True)
class Window:
    """Symbols over ``start`` to ``end``, both included; what a user or a partition asks for."""

    symbols: tuple[str, ...]
    start: dt.date
    end: dt.date


@dataclass(frozen=True)
class Plan:
    """What a load will ask a source for.

    ``requests`` are due, ``settled`` symbols have everything already. ``sessions`` are those of the
    window that have closed, ``due`` the number of symbol-days missing. ``asked_before``
    are symbols that another run of the same backfill was sent for, each with its error if any;
    ``recorded`` counts what loads had recorded of symbols when the plan was made.
    """

    window: Window
    sessions: tuple[dt.date, ...]
    requests: tuple[PriceRequest, ...]
    settled: tuple[str, ...]
    due: int
    asked_before: Mapping[str, str | None] = field(default_factory=dict)
    recorded: int = 0

    def asked(self, request: PriceRequest) -> tuple[dt.date, ...]:
        """The sessions a request covers."""
        first = bisect_left(self.sessions, request.start)
        return self.sessions[first : bisect_right(self.sessions, request.end)]


def plan(
    warehouse: Warehouse,
    source: SourceProfile,
    window: Window,
    calendar: Calendar,
    *,
    force: bool = False,
    backfill: str | None = None,
) -> Plan:
    """Find out what is due: sessions neither present nor confirmed empty for this source.

    A symbol is asked for over the span of its due sessions, one request a symbol. With ``force``
    everything is due. A Dagster ``backfill`` arrives as many runs; each symbol is asked for in the
    first of them alone. Raises OpenSessionError where no session of the window has closed.
    """
    last_closed = calendar.last_closed_session(warehouse.clock())
    if window.start > last_closed:
        raise OpenSessionError(window.start, last_closed)
    sessions = calendar.between(window.start, min(window.end, last_closed))
    names, missing, recorded = _stand(warehouse, source, sessions)
    before = _asked_before(warehouse, source, backfill) if backfill else {}
    requests, settled, due = [], [], 0
    for symbol in dict.fromkeys(window.symbols):
        if symbol in before:
            settled.append(symbol)
            continue
        days = list(sessions)
        if not force:
            days = _due(names.get(symbol, ()), source.names_on, sessions, missing)
        due += len(days)
        if days:
            requests.append(PriceRequest(symbol, min(days), max(days)))
        else:
            settled.append(symbol)
    told = {symbol: before[symbol] for symbol in settled if symbol in before}
    return Plan(window, sessions, tuple(requests), tuple(settled), due, told, recorded)


def _asked_before(
    warehouse: Warehouse, source: SourceProfile, backfill: str
) -> dict[str, str | None]:
    """Symbols that earlier runs of a backfill were sent for, each with its error if any."""
    if not warehouse.exists():
        return {}
    with warehouse.reading() as con:
        rows = con.execute(
            "select s.symbol, max(s.error) from load_run_symbols s join load_runs r using (run_id)"
            " where r.backfill = ? and r.source = ? group by 1",
            [backfill, source.name],
        ).fetchall()
    return dict(rows)


def _stand(
    warehouse: Warehouse, source: SourceProfile, sessions: Sequence[dt.date]
) -> tuple[dict[str, list[Name]], dict[int, list[dt.date]], int]:
    """Names on record by symbol, the missing sessions of each security that has any row, and how
    much loads have recorded.

    A security without a row in the window is absent from the answer: all of it is missing.
    """
    names: dict[str, list[Name]] = {}
    if not warehouse.exists() or not sessions:
        return names, {}, 0
    with warehouse.reading() as con:
        [(recorded,)] = con.execute("select count(*) from load_run_symbols").fetchall()
        for name in read_names(con):
            names.setdefault(name.symbol, []).append(name)
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
            "select security_id, list(m.session) filter (m.session is not null)"
            " from counted left join missing m using (security_id) group by 1",
            {"source": source.name, "first": sessions[0], "last": sessions[-1]},
        ).fetchall()
    return names, {row[0]: row[1] or [] for row in rows}, recorded


def _due(
    names: Sequence[Name],
    names_on: dt.date | None,
    sessions: Sequence[dt.date],
    missing: Mapping[int, Sequence[dt.date]],
) -> list[dt.date]:
    """The sessions of a symbol to ask for; all of them where it is not on record.

    A source that speaks the symbol of the day tells a symbol's companies apart by the day; for one
    that speaks the symbols of one day, that day decides.
    """
    if not names or not sessions:
        return list(sessions)
    if names_on is not None:
        # Whether a name not borne that day means its bearer all the same is for the register.
        security = next((n.security_id for n in names if n.overlaps(names_on, names_on)), None)
        return list(sessions if security is None else missing.get(security, sessions))
    if len({name.security_id for name in names}) == 1:
        return list(missing.get(names[0].security_id, sessions))
    return [
        day
        for name in names
        for day in missing.get(name.security_id, sessions)
        if name.overlaps(day, day)
    ]
