"""Universes, their members, changes and conflicts, and delistings, as frames."""

from __future__ import annotations

import datetime as dt
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from quant_assets.membership.unknown import UnknownUniverseError
from quant_assets.read.arguments import Day, day_of, require_choice
from quant_assets.read.opening import settings_of, warehouse_of
from quant_assets.reference.identity import canonical_symbol
from quant_assets.settings.settings import Settings
from quant_assets.warehouse.writer_lock import Clock, utc_now

if TYPE_CHECKING:
    import pandas as pd


class BeforeHistoryWarning(UserWarning):
    """An index was read on a day before its members are known."""


def universe(
    name: str = "sp500",
    *,
    on: Day | None = None,
    home: Path | str | None = None,
    settings: Settings | None = None,
    clock: Clock = utc_now,
) -> pd.DataFrame:
    """The members of a universe on a day; today by default.

    Returns one row a member, sorted by symbol: symbol (the ticker of that day where it is on
    record, else the one the list used), security_id, name, sector, industry (the latest known),
    effective_on, removed_on, source (of the interval), has_prices (whether any price of that
    member is stored for that day or, if it was no session, for the session before) and disputed
    (whether a source contradicts that membership; see ``universe_conflicts``).

    ``frame.attrs`` has the columns of ``universes`` (kind, source, passed_over, known_from,
    listed_on, looked_at, updated_at: texts, times in UTC, None where not known) and the number of
    ``members``, of those ``with_prices``, and of other securities that some source reports as
    members (``claimed``), and the list ``tickers_unknown`` of symbols that are not known to have
    been the ticker of that day. For days before ``known_from`` the frame has only the members that
    later lists date back so far, not all there were; of an index, BeforeHistoryWarning says so.

    Raises ArgumentError (``on`` is no day, or in the future), UnknownUniverseError where the
    universe is not stored, WarehouseError.
    """
    day = clock().date() if on is None else day_of("on", on, clock)
    with warehouse_of(settings or settings_of(home)).reading() as con:
        _require_universe(con, name)
        frame = _typed(con.execute(_MEMBERS, {"name": name, "on": day}).df())
        of_the_day = frame.pop("of_the_day")
        [(claimed,)] = con.execute(
            "select count(distinct security_id) from membership_conflicts where universe = $name"
            " and says_member and from_on <= $on and (until_on is null or until_on > $on)"
            " and security_id not in (select security_id from universe_membership"
            "  where universe = $name and effective_on <= $on"
            "   and (removed_on is null or removed_on > $on))",
            {"name": name, "on": day},
        ).fetchall()
        facts = _typed(con.execute(_UNIVERSES, {"on": day}).df()).set_index("universe").loc[name]
    frame.attrs |= dict.fromkeys(facts.index) | {
        **{key: _text(value) for key, value in facts.dropna().items()},
        "universe": name,
        "on": day.isoformat(),
        "members": len(frame),
        "with_prices": int(frame["has_prices"].sum()),
        "claimed": int(claimed),
        "tickers_unknown": list(frame["symbol"][~of_the_day]),
    }
    since = frame.attrs["known_from"]
    if frame.attrs["kind"] == "index" and since and day.isoformat() < since:
        message = (
            f"The members of {name} are known from {since} on, not on {day}; the frame has "
            f"{'those that later lists date back so far' if len(frame) else 'none'}."
        )
        warnings.warn(message, BeforeHistoryWarning, stacklevel=2)
    return frame


def universes(*, home: Path | str | None = None, settings: Settings | None = None) -> pd.DataFrame:
    """Every universe that is stored, sorted by name.

    Columns: universe, kind (index, or custom where users decide), members (int64, those of today),
    known_from (the first day of which all members are known), source (where the latest members
    came from), passed_over (better sources that could not answer, and why; else missing), listed_on
    (the day of the latest list), looked_at (when a source last gave one) and updated_at (when the
    membership last changed). Days are datetime64 without a zone, times datetime64 in UTC.

    Raises WarehouseError.
    """
    with warehouse_of(settings or settings_of(home)).reading() as con:
        return _typed(con.execute(_UNIVERSES, {"on": dt.datetime.now(dt.UTC).date()}).df())


def universe_changes(
    name: str | None = None,
    *,
    since: Day | None = None,
    symbol: str | None = None,
    home: Path | str | None = None,
    settings: Settings | None = None,
) -> pd.DataFrame:
    """The changes of a universe, or of all, in the order in which they were detected.

    ``since`` leaves out changes that took effect earlier; ``symbol`` selects the securities that
    ever bore it, under all of their names. Columns: change_id, universe, kind (added, removed,
    renamed, announced, withdrawn), symbol, former_symbol (before a renaming), security_id,
    effective_on (the first session on which it holds), announced_on, detected_at (UTC), source and
    reason. Days are datetime64 without a zone.

    Raises ArgumentError (``since`` is no day), UnknownUniverseError, InvalidSymbolError,
    WarehouseError.
    """
    return _of_universe(
        "select change_id, universe, kind, symbol, former_symbol, security_id, effective_on,"
        " announced_on, detected_at, source, reason from membership_changes t"
        " where ($since is null or effective_on >= $since) and $whose order by change_id",
        name,
        symbol,
        {"since": None if since is None else day_of("since", since)},
        settings or settings_of(home),
    )


def universe_conflicts(
    name: str | None = None,
    *,
    symbol: str | None = None,
    open_only: bool = False,
    home: Path | str | None = None,
    settings: Settings | None = None,
) -> pd.DataFrame:
    """Where a source contradicts the decided membership, sorted by symbol and day.

    ``open_only`` leaves out conflicts that are over; ``symbol`` as for ``universe_changes``.
    Columns: universe, symbol, security_id, source (the one that contradicts), says_member (whether
    it has the security as a member in these days), from_on, until_on (exclusive; NaT while it
    lasts), cause, decided_by (the source that was followed) and detected_at (UTC). Days are
    datetime64 without a zone.

    Raises ArgumentError, UnknownUniverseError, InvalidSymbolError, WarehouseError.
    """
    require_choice("open_only", open_only, (True, False))
    return _of_universe(
        "select universe, symbol, security_id, source, says_member, from_on, until_on, cause,"
        " decided_by, detected_at from membership_conflicts t"
        " where (until_on is null or not $open) and $whose"
        " order by universe, symbol, from_on, source",
        name,
        symbol,
        {"open": open_only},
        settings or settings_of(home),
    )


def delistings(*, home: Path | str | None = None, settings: Settings | None = None) -> pd.DataFrame:
    """Securities that are no longer traded, the latest delisting last.

    Columns: symbol (its last ticker), security_id, name, last_session (datetime64, no zone), reason
    (unknown where no source gave one), terminal_value (float64, the worth of a share at the end, in
    currency; NaN where unknown), currency, source and detected_at (UTC).

    Raises WarehouseError.
    """
    with warehouse_of(settings or settings_of(home)).reading() as con:
        return _typed(
            con.execute(
                "select d.symbol, d.security_id, s.name, d.last_session, d.reason,"
                " d.terminal_value, d.currency::varchar as currency, d.source, d.detected_at"
                " from delistings d join securities s using (security_id)"
                " order by d.last_session, d.symbol"
            ).df()
        )


_MEMBERS = """
select coalesce(h.symbol, m.symbol) as symbol, m.security_id, s.name, s.sector, s.industry,
    m.effective_on, m.removed_on, m.source, p.security_id is not null as has_prices,
    exists (from membership_conflicts c where c.universe = m.universe
        and c.security_id = m.security_id and c.from_on <= $on
        and (c.until_on is null or c.until_on > $on)) as disputed,
    -- A fifth letter Q marks a company in bankruptcy, which no index keeps: a later ticker.
    h.symbol is not null and not regexp_full_match(h.symbol, '[A-Z]{4}Q') as of_the_day
from universe_membership m join securities s using (security_id)
left join symbol_history h on h.security_id = m.security_id and h.valid_from <= $on
    and (h.valid_to is null or h.valid_to > $on)
left join (select distinct security_id from daily_prices where session =
        (select max(session) from daily_prices
            where session <= $on and session > $on - interval 7 day)) p
    on p.security_id = m.security_id
where m.universe = $name and m.effective_on <= $on and (m.removed_on is null or m.removed_on > $on)
qualify row_number() over (partition by m.security_id order by h.valid_from desc) = 1
order by 1
"""


# A list has all the members of its day, a file of intervals those of all its days. A universe with
# neither, such as one that a user makes, is known from its first member on.
_UNIVERSES = """
select u.universe, coalesce(u.kind, 'index') as kind, coalesce(m.members, 0) as members,
    coalesce(e.known_from, m.first_on) as known_from, u.source, u.passed_over, u.listed_on,
    l.looked_at, greatest(u.updated_at, m.updated_at) as updated_at
from universes u
left join (select universe, min(effective_on) as first_on, max(updated_at) as updated_at,
        count(*) filter (effective_on <= $on and (removed_on is null or removed_on > $on))
        as members from universe_membership group by 1) m using (universe)
left join (select universe, min(from_on) as known_from from membership_evidence
        where kind in ('listed', 'interval') group by 1) e using (universe)
left join (select universe, max(fetched_at) as looked_at from membership_lists
        group by 1) l using (universe)
order by 1
"""

_WHOSE = """($name is null or t.universe = $name) and ($symbol is null or t.symbol = $symbol
or t.security_id in (select security_id from symbol_history where symbol = $symbol))"""


def _of_universe(
    sql: str,
    name: str | None,
    symbol: str | None,
    parameters: Mapping[str, object],
    settings: Settings,
) -> pd.DataFrame:
    """The rows of a query on one universe or on all, of one symbol or of all."""
    bound = {**parameters, "name": name, "symbol": symbol and canonical_symbol(symbol)}
    with warehouse_of(settings).reading() as con:
        if name is not None:
            _require_universe(con, name)
        return _typed(con.execute(sql.replace("$whose", f"({_WHOSE})"), bound).df())


def _require_universe(con: duckdb.DuckDBPyConnection, name: str) -> None:
    known = con.execute("select universe from universes order by 1").fetchall()
    if (name,) not in known:
        raise UnknownUniverseError(name, [row[0] for row in known])


def _typed(frame: pd.DataFrame) -> pd.DataFrame:
    """Texts as ``str``, where DuckDB gives objects if all are missing, and times in UTC."""
    for column in frame.columns:
        if frame[column].dtype == object:
            frame[column] = frame[column].astype("str")
        elif str(column).endswith("_at"):
            frame[column] = frame[column].dt.tz_localize("UTC")
    return frame


def _text(value: object) -> str:
    """A day or a time in ISO form, anything else as it is: what ``attrs`` holds can be saved."""
    if isinstance(value, dt.datetime):
        return value.isoformat() if value.tzinfo else value.date().isoformat()
    return str(value)
