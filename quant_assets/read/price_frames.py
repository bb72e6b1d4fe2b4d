"""The read API for notebooks: prices and universes as pandas frames.

Read-only: each function opens the warehouse, reads and closes it, so a notebook never stands in a
load's way. ``connect`` is for free SQL; it opens a published copy. Nothing is written here.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa

from quant_assets.price_rules.adjustment import (
    Actions,
    Factors,
    Ints,
    split_factors,
    total_return_factors,
)
from quant_assets.read.adjusted_rows import actions, choose, ints, price_rows
from quant_assets.reference.identity import (
    AmbiguousSymbolError,
    Name,
    UnknownSymbolError,
    canonical_symbol,
    resolve,
)
from quant_assets.securities.register import read_names
from quant_assets.settings.settings import Settings, load_settings
from quant_assets.warehouse.published_copy import open_published
from quant_assets.warehouse.warehouse import Warehouse

Adjust = Literal["none", "split", "total_return"]
Field = Literal["open", "high", "low", "close", "volume"]
Day = dt.date | str | pd.Timestamp

FIELDS: tuple[Field, ...] = ("open", "high", "low", "close", "volume")
LATEST = (1 << 23) - 1
"""A day after every corporate action."""


class UnknownUniverseError(LookupError):
    """A universe that is not stored."""

    def __init__(self, name: str, stored: Sequence[str]) -> None:
        super().__init__(
            f"There is no universe {name}; stored: {', '.join(stored) or 'none'}. Import one with "
            "quant-assets universe import --from FILE, or make one of your own with quant-assets "
            "universe create NAME."
        )


def prices(
    symbols: str | int | Sequence[str | int] | None,
    start: Day,
    end: Day,
    *,
    adjust: Adjust = "none",
    adjust_to: Day | None = None,
    fields: Sequence[Field] = FIELDS,
    shape: Literal["tidy", "wide"] = "tidy",
    spin_offs: bool = True,
    source: str | None = None,
    home: Path | str | None = None,
    settings: Settings | None = None,
) -> pd.DataFrame:
    """Daily prices from ``start`` to ``end``, both included.

    ``symbols`` are tickers, security ids, or None for everything loaded. A ticker stands for the
    company that bears it in these days, under all of its names. One that several companies bore in
    these days is refused, with their names; in a list of tickers, or where no other of them has
    prices of its own days, it stands for the one that an archive gave under that ticker.

    ``adjust="none"`` gives prices as traded where the source has them so. ``"split"`` takes out
    splits, stock dividends and (unless ``spin_offs=False``) spin-offs. ``"total_return"``
    reinvests every distribution at the close of its ex-date: a day's return is (P + D) * S / P0,
    where Yahoo's adjusted close gives P / (P0 - D). ``adjust_to`` is the day whose shares prices
    are expressed in; by default that of the latest corporate action known. A price a source gives
    only split-adjusted is brought to the shares of ``adjust_to`` from the day of its basis, also
    with ``adjust="none"`` and an ``adjust_to``. Rules: ``derive/adjusted_prices.py``.

    Where several sources have a row, the preferred one (``source_order``) is taken, or only rows of
    ``source``. ``settings`` are used as they are, in place of those found for ``home``.

    Returns a frame sorted by symbol and session. Tidy: columns symbol (str), session
    (datetime64, the trading day, no zone) and the fields (float64; currency per share, volume in
    shares). Wide: index session, columns (field, symbol), or symbol alone for a single field.

    Raises UnknownSymbolError, AmbiguousSymbolError (a ticker that named several companies in these
    days), WarehouseError.
    """
    first, last = _day(start), _day(end)
    chosen = _fields(fields)
    settings = settings or _settings(home)
    with _warehouse(settings).reading() as con:
        labels = _labels(con, symbols, first, last)
        choice = choose(con, labels, settings.source_order, source)
        rows = price_rows(con, choice, first, last)
        to = None if adjust_to is None else _day(adjust_to)
        untouched = adjust == "none" and to is None
        after = min(first, to) if to else first
        events = None if untouched else actions(con, choice, after)
    securities, sessions = ints(rows, "security_id"), ints(rows, "day")
    factors = None if events is None else _factors(rows, events, adjust, to, spin_offs)
    symbols_sorted, codes = _codes(labels, securities)
    order = np.lexsort((sessions, codes))
    columns: dict[str, object] = {
        "symbol": symbols_sorted.take(codes[order]),
        "session": sessions[order].astype("datetime64[D]").astype("datetime64[s]"),
    }
    for field in chosen:
        values = rows[field].to_numpy()
        if factors is not None:
            values = values * (factors.volume if field == "volume" else factors.price)
        columns[field] = values[order]
    frame = pd.DataFrame(columns, copy=False)
    return frame if shape == "tidy" else _wide(frame, chosen)


def universe(
    name: str = "sp500",
    *,
    on: Day | None = None,
    home: Path | str | None = None,
    settings: Settings | None = None,
) -> pd.DataFrame:
    """The members of a universe on a day; today by default.

    Returns one row a member, sorted by symbol: symbol (the ticker of that day where it is on
    record, else the one the list used), security_id, name, sector, industry (the latest known),
    effective_on, removed_on, source (of the interval), has_prices (whether any price of that
    member is stored for that day or, if it was no session, for the session before) and disputed
    (whether a source says otherwise of that day; see ``universe_conflicts``).

    ``frame.attrs`` has what ``universes`` says of it (kind, source, passed_over, known_from,
    listed_on, looked_at, updated_at: texts, times in UTC, None where not known), and says how many
    ``members`` there were, how many ``with_prices``, and how many securities that are not among
    them a source has as members (``claimed``). Of days before ``known_from`` the members, if any,
    are those that later lists date back so far: not all there were.

    Raises UnknownUniverseError where it is not stored, WarehouseError.
    """
    day = _day(on) if on is not None else dt.datetime.now(dt.UTC).date()
    with _warehouse(settings or _settings(home)).reading() as con:
        _require_universe(con, name)
        frame = _typed(con.execute(_MEMBERS, {"name": name, "on": day}).df())
        [(claimed,)] = con.execute(
            "select count(distinct security_id) from membership_conflicts where universe = $name"
            " and says_member and from_on <= $on and (until_on is null or until_on > $on)"
            " and security_id not in (select security_id from universe_membership"
            "  where universe = $name and effective_on <= $on"
            "   and (removed_on is null or removed_on > $on))",
            {"name": name, "on": day},
        ).fetchall()
        facts = _typed(con.execute(_UNIVERSES, {"on": day}).df()).set_index("universe").loc[name]
    told = {key: None if pd.isna(value) else _text(value) for key, value in facts.items()}
    frame.attrs |= told | {
        "universe": name,
        "on": day.isoformat(),
        "members": len(frame),
        "with_prices": int(frame["has_prices"].sum()),
        "claimed": int(claimed),
    }
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
    with _warehouse(settings or _settings(home)).reading() as con:
        return _typed(con.execute(_UNIVERSES, {"on": dt.datetime.now(dt.UTC).date()}).df())


def universe_changes(
    name: str | None = None,
    *,
    since: Day | None = None,
    symbol: str | None = None,
    home: Path | str | None = None,
    settings: Settings | None = None,
) -> pd.DataFrame:
    """What changed in a universe, or in all, in the order in which it was noticed.

    ``since`` leaves changes that took effect earlier out; ``symbol`` asks for the securities that
    ever went by it, under all of their names. Columns: change_id, universe, kind (added, removed,
    renamed, announced, withdrawn), symbol, former_symbol (before a renaming), security_id,
    effective_on (the first session on which it holds), announced_on, detected_at (UTC), source and
    reason. Days are datetime64 without a zone.

    Raises UnknownUniverseError, InvalidSymbolError, WarehouseError.
    """
    return _of_universe(
        "select change_id, universe, kind, symbol, former_symbol, security_id, effective_on,"
        " announced_on, detected_at, source, reason from membership_changes t"
        " where ($since is null or effective_on >= $since) and $whose order by change_id",
        name,
        symbol,
        {"since": None if since is None else _day(since)},
        settings or _settings(home),
    )


def universe_conflicts(
    name: str | None = None,
    *,
    symbol: str | None = None,
    open_only: bool = False,
    home: Path | str | None = None,
    settings: Settings | None = None,
) -> pd.DataFrame:
    """Where a source says other than what was decided of a membership, by symbol and day.

    ``open_only`` leaves out what is over; ``symbol`` as for ``universe_changes``. Columns:
    universe, symbol, security_id, source (who says otherwise), says_member (whether it has it as a
    member in these days), from_on, until_on (exclusive; NaT while it lasts), cause, decided_by (the
    source that was followed) and detected_at (UTC). Days are datetime64 without a zone.

    Raises UnknownUniverseError, InvalidSymbolError, WarehouseError.
    """
    return _of_universe(
        "select universe, symbol, security_id, source, says_member, from_on, until_on, cause,"
        " decided_by, detected_at from membership_conflicts t"
        " where (until_on is null or not $open) and $whose"
        " order by universe, symbol, from_on, source",
        name,
        symbol,
        {"open": open_only},
        settings or _settings(home),
    )


def delistings(*, home: Path | str | None = None, settings: Settings | None = None) -> pd.DataFrame:
    """Securities that are traded no more, the latest last.

    Columns: symbol (its last ticker), security_id, name, last_session (datetime64, no zone), reason
    (unknown where nobody said), terminal_value (float64, what a share was worth at the end, in
    currency; NaN where unknown), currency, source and detected_at (UTC).

    Raises WarehouseError.
    """
    with _warehouse(settings or _settings(home)).reading() as con:
        return _typed(
            con.execute(
                "select d.symbol, d.security_id, s.name, d.last_session, d.reason,"
                " d.terminal_value, d.currency::varchar as currency, d.source, d.detected_at"
                " from delistings d join securities s using (security_id)"
                " order by d.last_session, d.symbol"
            ).df()
        )


def connect(*, home: Path | str | None = None) -> duckdb.DuckDBPyConnection:
    """A read-only DuckDB connection of your own, to the copy published after the last load.

    It may stay open as long as you like: loads work on the warehouse itself and publish the next
    copy beside yours. Raises WarehouseMissingError where nothing has been published.
    """
    return open_published(_settings(home).home_path)


_MEMBERS = """
select coalesce(h.symbol, m.symbol) as symbol, m.security_id, s.name, s.sector, s.industry,
    m.effective_on, m.removed_on, m.source, p.security_id is not null as has_prices,
    exists (from membership_conflicts c where c.universe = m.universe
        and c.security_id = m.security_id and c.from_on <= $on
        and (c.until_on is null or c.until_on > $on)) as disputed
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

# A list says who all the members of its day are, a file of intervals those of all its days. Without
# either, as in universes that users make, what is known begins with the first member.
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
    with _warehouse(settings).reading() as con:
        if name is not None:
            _require_universe(con, name)
        return _typed(con.execute(sql.replace("$whose", f"({_WHOSE})"), bound).df())


def _require_universe(con: duckdb.DuckDBPyConnection, name: str) -> None:
    known = con.execute("select universe from universes order by 1").fetchall()
    if (name,) not in known:
        raise UnknownUniverseError(name, [row[0] for row in known])


def _typed(frame: pd.DataFrame) -> pd.DataFrame:
    """Texts as ``str``, which DuckDB makes objects where all are missing, and times in UTC."""
    for column in frame.columns:
        if frame[column].dtype == object:
            frame[column] = frame[column].astype("str")
        elif str(column).endswith("_at"):
            frame[column] = frame[column].dt.tz_localize("UTC")
    return frame


def _text(value: object) -> str:
    """A day or a time in ISO form, anything else as it is: what ``attrs`` holds can be saved."""
    if isinstance(value, pd.Timestamp):
        return value.isoformat() if value.tz else value.date().isoformat()
    return str(value)


def _settings(home: Path | str | None) -> Settings:
    flags = {} if home is None else {"home": Path(home).absolute()}
    return load_settings(os.environ, flags=flags)


def _warehouse(settings: Settings) -> Warehouse:
    return Warehouse(settings.warehouse_path, lock_wait_seconds=settings.lock_wait_seconds)


def _day(day: Day) -> dt.date:
    return pd.Timestamp(day).date()


def _fields(fields: Sequence[Field]) -> tuple[Field, ...]:
    unknown = [field for field in fields if field not in FIELDS]
    if unknown or isinstance(fields, str):
        raise ValueError(f"fields is a list of {', '.join(FIELDS)}; got {fields!r}.")
    return tuple(fields)


def _labels(
    con: duckdb.DuckDBPyConnection,
    symbols: str | int | Sequence[str | int] | None,
    first: dt.date,
    last: dt.date,
) -> dict[int, str]:
    """The securities asked for, each with the symbol it is shown under.

    That is the symbol it was asked for by, the first of several; else its latest up to ``last``.
    """
    if symbols is None:
        return _apart(_latest_names(read_names(con), last))
    asked = [symbols] if isinstance(symbols, str | int | np.integer) else list(symbols)
    # A column of ids of a frame has numpy's integers, which are no int.
    ids = [int(item) for item in asked if isinstance(item, int | np.integer)]
    spelt = [canonical_symbol(item) for item in asked if not isinstance(item, int | np.integer)]
    shown: dict[int, Name] = {}
    if ids:
        latest = _latest_names(read_names(con), last)
        for number in ids:
            if number not in latest:
                raise UnknownSymbolError(f"Security {number}")
            shown.setdefault(number, latest[number])
    by_symbol: dict[str, list[Name]] = {}
    for name in read_names(con, spelt) if spelt else ():
        by_symbol.setdefault(name.symbol, []).append(name)
    for symbol in spelt:
        names = by_symbol.get(symbol, ())
        security = _meant(con, symbol, names, first, last, alone=len(asked) == 1)
        borne = [name for name in names if name.security_id == security]
        shown.setdefault(security, max(borne, key=lambda name: name.valid_from))
    return _apart(shown)


def _meant(
    con: duckdb.DuckDBPyConnection,
    symbol: str,
    names: Sequence[Name],
    first: dt.date,
    last: dt.date,
    *,
    alone: bool,
) -> int:
    """The security a symbol means here, in these days.

    Archives give a company's whole history under its latest ticker: JCI of 2014 is then the later
    JCI, and the company that bore the ticker has no prices. So where the days leave it open, or
    point at a bearer without prices, the one security loaded under the symbol is meant; for a
    symbol asked for alone only if no other bearer has prices of its own days. Raises
    UnknownSymbolError, AmbiguousSymbolError.
    """
    if len({name.security_id for name in names}) < 2:
        return resolve(names, symbol, first, last)
    loaded = con.execute(
        "select distinct security_id from load_run_symbols s where symbol = ? and exists (from"
        " daily_prices p where p.security_id = s.security_id and p.session between ? and ?)",
        [symbol, first, last],
    ).fetchall()
    try:
        security = resolve(names, symbol, first, last)
    except AmbiguousSymbolError:
        others = [name for name in names if (name.security_id,) not in loaded]
        if len(loaded) == 1 and (
            not alone
            or (
                _priced(con, loaded[0][0], others, first, last)
                and not any(_priced(con, n.security_id, [n], first, last) for n in others)
            )
        ):
            return int(loaded[0][0])
        raise
    if len(loaded) == 1 and not _priced(con, security, names, first, last):
        return int(loaded[0][0])
    return security


def _priced(
    con: duckdb.DuckDBPyConnection,
    security: int,
    names: Sequence[Name],
    first: dt.date,
    last: dt.date,
) -> bool:
    """Whether a security has prices between ``first`` and ``last`` in the days of these names."""
    for name in names:
        end = min(last, name.valid_to - dt.timedelta(days=1)) if name.valid_to else last
        [(found,)] = con.execute(
            "select exists (from daily_prices where security_id = ? and session between ? and ?)",
            [security, max(first, name.valid_from), end],
        ).fetchall()
        if found:
            return True
    return False


def _latest_names(names: Sequence[Name], last: dt.date) -> dict[int, Name]:
    """Every security's latest name up to ``last``; its first where it got none until then."""
    latest: dict[int, Name] = {}
    for name in sorted(names, key=lambda n: n.valid_from):
        if name.valid_from <= last or name.security_id not in latest:
            latest[name.security_id] = name
    return latest


def _apart(shown: Mapping[int, Name]) -> dict[int, str]:
    """Symbols that tell securities apart.

    Where two go by one ticker, the one that bore it first carries its id too, as in ``DOC#17``.
    """
    in_turn = sorted(shown.items(), key=lambda item: item[1].valid_from)
    owner = {name.symbol: security for security, name in in_turn}
    return {
        security: name.symbol if owner[name.symbol] == security else f"{name.symbol}#{security}"
        for security, name in shown.items()
    }


def _factors(
    rows: pa.Table, events: Actions, adjust: Adjust, to: dt.date | None, spin_offs: bool
) -> Factors:
    day = LATEST if to is None else (to - dt.date(1970, 1, 1)).days
    securities, basis = ints(rows, "security_id"), ints(rows, "basis_day")
    if adjust == "total_return":
        return total_return_factors(events, securities, ints(rows, "day"), basis, day)
    return split_factors(events, securities, basis, day, spin_offs=spin_offs and adjust == "split")


def _codes(
    labels: Mapping[int, str], securities: Ints
) -> tuple[pd.api.extensions.ExtensionArray, Ints]:
    """The symbols sorted, and for each row the place of its symbol among them."""
    symbols = sorted(labels.values())
    place = {symbol: at for at, symbol in enumerate(symbols)}
    by_security = np.zeros(max(labels, default=0) + 1, dtype=np.int64)
    for security, symbol in labels.items():
        by_security[security] = place[symbol]
    return pd.array(symbols, dtype="str"), by_security[securities]


def _wide(frame: pd.DataFrame, fields: Sequence[Field]) -> pd.DataFrame:
    values: object = fields[0] if len(fields) == 1 else list(fields)
    return frame.pivot(index="session", columns="symbol", values=values)
