"""Daily prices as pandas frames.

``prices`` opens the warehouse read-only and closes it before it returns, so that a notebook never
keeps a load waiting. ``connect`` is for free SQL; it opens a published copy.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import pyarrow as pa

from quant_assets.price_rules.adjustment import (
    Actions,
    Factors,
    Ints,
    sort_key,
    split_factors,
    total_return_factors,
)
from quant_assets.read.adjusted_rows import Events, actions, choose, days, ints, price_rows
from quant_assets.read.arguments import ArgumentError, Day, day_of, days_of, require_choice
from quant_assets.read.identity import labels_of
from quant_assets.read.missing import Span, missing_of, warn_of_missing
from quant_assets.read.opening import settings_of, warehouse_of
from quant_assets.reference.calendars import exchange_calendar
from quant_assets.settings.settings import Settings
from quant_assets.warehouse.writer_lock import Clock, utc_now

if TYPE_CHECKING:
    import pandas as pd

Adjust = Literal["none", "split", "total_return"]
Field = Literal["open", "high", "low", "close", "volume"]
Shape = Literal["tidy", "wide"]

FIELDS: tuple[Field, ...] = ("open", "high", "low", "close", "volume")

LATEST = (1 << 23) - 1
"""A day after every corporate action."""


def prices(
    symbols: str | int | Sequence[str | int] | None,
    start: Day,
    end: Day,
    *,
    adjust: Adjust = "none",
    adjust_to: Day | None = None,
    fields: Sequence[Field] = FIELDS,
    shape: Shape = "tidy",
    spin_offs: bool = True,
    source: str | None = None,
    home: Path | str | None = None,
    settings: Settings | None = None,
    clock: Clock = utc_now,
) -> pd.DataFrame:
    """Daily prices from ``start`` to ``end``, both included; neither is in the future.

    ``symbols`` are tickers, security ids, or None for everything loaded. A ticker stands for the
    company that bears it in these days, under all of its names. A ticker that several companies
    bore in these days is refused, with their names; in a list of tickers, or where no other of
    those companies has prices of its own days, it stands for the company that an archive gave under
    that ticker.

    ``adjust="none"`` gives prices as traded where the source has them so. ``"split"`` takes out
    splits, stock dividends and (unless ``spin_offs=False``) spin-offs. ``"total_return"``
    reinvests every distribution at the close of its ex-date: a day's return is (P + D) * S / P0,
    where Yahoo's adjusted close gives P / (P0 - D). ``adjust_to`` is the day whose shares prices
    are expressed in; by default that of the latest corporate action known. A price a source gives
    only split-adjusted is brought to the shares of ``adjust_to`` from the day of its basis, also
    with ``adjust="none"`` and an ``adjust_to``. Rules: ``price_rules/adjustment.py``.

    Where several sources have a row, the preferred one (``source_order``) is taken, or only rows of
    ``source``. ``settings`` are used as they are, in place of those found for ``home``; ``clock``
    gives the present, an aware time.

    Returns a frame sorted by symbol and session. Tidy: columns symbol (str), session
    (datetime64, the trading day, no zone) and the fields (float64; currency per share, volume in
    shares or coins). Wide: index session, columns (field, symbol), or symbol alone for a single
    field.

    An amount in another currency than the prices is left out where no rate is known (pence and
    pounds are): ``frame.attrs["left_out"]`` then lists such events.

    A frame that lacks something comes with a ``MissingDataWarning``, and
    ``frame.attrs["missing"]`` then gives the reason for each symbol: never loaded, nothing in this
    range, or how many sessions are lacking, and what the source said. Sessions that have not
    closed, days before a listing or after a delisting and days that the source confirmed to be
    empty are not lacking.

    Raises ArgumentError (a ValueError: a choice, a field or a day that is none),
    UnknownSymbolError, AmbiguousSymbolError (a ticker that named several companies in these days),
    UnknownSourceError, WarehouseError.
    """
    import pandas as pd  # noqa: PLC0415 - importing this function loads no pandas

    first, last = days_of(start, end, clock)
    to = None if adjust_to is None else day_of("adjust_to", adjust_to, clock)
    require_choice("adjust", adjust, get_args(Adjust))
    require_choice("shape", shape, get_args(Shape))
    require_choice("spin_offs", spin_offs, (True, False))
    chosen = _fields(fields)
    settings = settings or settings_of(home)
    with warehouse_of(settings).reading() as con:
        labels = labels_of(con, symbols, first, last)
        choice = choose(con, labels, settings.source_order, source)
        as_stored = adjust == "none" and to is None
        columns = {*chosen} if as_stored else {*chosen, "basis_on"}
        rows = price_rows(con, choice, first, last, columns)
        after = min(first, to) if to else first
        events = None if as_stored else actions(con, choice, after)
        calendar = exchange_calendar("XNYS", settings.extra_closures)
        span = Span.of(first, last, calendar, clock())
        ids, sessions = ints(rows, "security_id"), days(rows, "session")
        named = symbols is not None
        missing = missing_of(
            con, choice, labels, ids, sessions, span=span, only=source, named=named
        )
    factors = None if events is None else _factors(rows, events.actions, adjust, to, spin_offs)
    symbols_sorted, codes = _codes(labels, ids)
    order = np.argsort(sort_key(codes, sessions), kind="stable")[np.count_nonzero(codes < 0) :]
    frame: dict[str, object] = {
        "symbol": symbols_sorted.take(codes[order]),
        "session": (sessions[order] * 86_400).view("datetime64[s]"),
    }
    for field in chosen:
        values = rows[field].to_numpy()
        if factors is not None:
            values = values * (factors.volume if field == "volume" else factors.price)
        frame[field] = values[order]
    tidy = pd.DataFrame(frame, copy=False)
    shown = tidy if shape == "tidy" else _wide(tidy, chosen)
    if left_out := _left_out(events, labels, adjust, spin_offs=spin_offs):
        shown.attrs["left_out"] = left_out
    if missing:
        shown.attrs["missing"] = missing
        warn_of_missing(missing, len(labels), span)
    return shown


def _fields(fields: Sequence[Field]) -> tuple[Field, ...]:
    given = () if isinstance(fields, str) or fields is None else tuple(fields)
    if not given or any(field not in FIELDS for field in given):
        raise ArgumentError(f"fields is a list of {', '.join(FIELDS)}; got {fields!r}.")
    return given


def _factors(
    rows: pa.Table, events: Actions, adjust: Adjust, to: dt.date | None, spin_offs: bool
) -> Factors:
    day = LATEST if to is None else (to - dt.date(1970, 1, 1)).days
    securities, basis = ints(rows, "security_id"), days(rows, "basis_on")
    if adjust == "total_return":
        return total_return_factors(events, securities, days(rows, "session"), basis, day)
    return split_factors(events, securities, basis, day, spin_offs=spin_offs and adjust == "split")


def _left_out(
    events: Events | None, labels: Mapping[int, str], adjust: Adjust, *, spin_offs: bool
) -> list[dict[str, object]]:
    """The events that ``adjust`` would take account of, were their currency that of the prices."""
    if events is None or adjust == "none":
        return []
    return [
        {
            "symbol": labels[event["security_id"]],
            "ex_date": event["ex_date"].isoformat(),
            "kind": event["kind"],
            "amount": event["amount"],
            "currency": event["paid_in"],
            "prices_in": event["priced_in"],
        }
        for event in events.without_rate
        if adjust == "total_return" or (spin_offs and event["kind"] == "spin_off")
    ]


def _codes(
    labels: Mapping[int, str], securities: Ints
) -> tuple[pd.api.extensions.ExtensionArray, Ints]:
    """The symbols sorted, and for each row the place of its symbol among them, or -1."""
    import pandas as pd  # noqa: PLC0415 - as above

    symbols = sorted(labels.values())
    place = {symbol: at for at, symbol in enumerate(symbols)}
    by_security = np.full(max(labels, default=0) + 1, -1)
    for security, symbol in labels.items():
        by_security[security] = place[symbol]
    return pd.array(symbols, dtype="str"), by_security[securities]


def _wide(frame: pd.DataFrame, fields: Sequence[Field]) -> pd.DataFrame:
    values: object = fields[0] if len(fields) == 1 else list(fields)
    return frame.pivot(index="session", columns="symbol", values=values)
