"""Stored rows beside an answer whose list of events differs from the one they were stored under.

A source that adjusts its prices is told apart from them: to store them as traded, its listed splits
are undone. Where the list changes and the prices do not, rows as traded come out otherwise, by the
events that came or went; where both change, they stay. Which it is, the rows that come again say,
and it holds for the older rows as well, which do not come again. Pure.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from quant_assets.price_rules.pairs import (
    PRICES,
    Days,
    Mask,
    Places,
    days_of,
    marked_rows,
    price_grid,
    with_numbers,
)
from quant_assets.price_rules.plain_ratios import (
    FOLLOWING,
    HALF_A_CENT,
    NOISE,
    Floats,
    Grid,
    in_cents,
)
from quant_assets.price_rules.taken_back import Event, TakenBack
from quant_assets.price_rules.whole_cents import whole
from quant_assets.schema.row_rules import floats

VISIBLE = 1.4
"""From this ratio on, the step of prices over an ex-date tells whether they are adjusted for it."""

NEAR_RATIO = 0.2
"""How far a step may be from a ratio, as a logarithm, to be its own and not another's."""


@dataclass(frozen=True)
class Explained:
    """``stored`` as the source would tell those rows now, and ``reported`` likewise.

    ``restated`` are stored rows, changed, that the answer does not tell again; ``days`` those that
    it does, whose values differ for no other reason than the events. ``kept`` are events that the
    source no longer lists while its prices show them, each with why.
    """

    stored: pa.Table
    reported: pa.Table
    restated: pa.Table
    days: frozenset[dt.date] = frozenset()
    kept: Sequence[tuple[Event, str]] = field(default_factory=tuple)


def explain(
    stored: pa.Table, reported: pa.Table, gone: Sequence[TakenBack], added: Sequence[Event]
) -> Explained:
    """Explain differences by events that an answer takes back or lists for the first time.

    ``stored`` are all rows of one security from the source, with ``fetched_at``; ``reported`` those
    of the answer, as traded by its own list. Both are sorted by session, which each has once.
    """
    kept = []
    for taken in gone:
        seen = _still_seen(stored, reported, taken)
        if seen:
            kept.append((taken.event, seen.why))
            reported = _times(reported, seen.undo, seen.undo)
    left = [taken for taken in gone if taken.event not in [event for event, _ in kept]]
    days, at, again = _paired(stored, reported)
    expected, in_shares = _expected(stored, left, added)
    ours, theirs = price_grid(stored)[at], price_grid(reported)[again]
    changed = np.abs(np.log(expected[at])) > NOISE
    follows = changed & _same(theirs, ours, expected[at])
    stays = changed & _same(theirs, ours, np.ones(len(at)))
    none = reported.slice(0, 0)
    enough = FOLLOWING * changed.sum()
    if stays.sum() >= enough or follows.sum() < enough:
        # Prices that follow neither list are for the comparison of the rows.
        return Explained(stored, reported, none, kept=kept)
    older = np.abs(expected - 1) > NOISE
    older[at] = False
    told = _times(stored, expected, in_shares)
    return Explained(
        told,
        reported,
        told.filter(pa.array(older)),
        frozenset(day.item() for day in days[follows]),
        kept,
    )


def _paired(stored: pa.Table, reported: pa.Table) -> tuple[Days, Places, Places]:
    """The sessions in both tables, and their places in each."""
    days, at, again = np.intersect1d(
        days_of(stored), days_of(reported), assume_unique=True, return_indices=True
    )
    return days, at, again


def _fetched(rows: pa.Table) -> Floats:
    """When each row was stored, in microseconds; long ago where that is not known."""
    if "fetched_at" not in rows.column_names:
        return np.full(rows.num_rows, -math.inf)
    moments: Floats = rows["fetched_at"].to_numpy().astype("datetime64[us]").astype(np.float64)
    return moments


def _expected(
    stored: pa.Table, gone: Sequence[TakenBack], added: Sequence[Event]
) -> tuple[Floats, Floats]:
    """The factor by which each stored price would differ if only the list had changed, and the one
    that divides its volume.

    A row stored before an event was on record, or before it came about, is as traded for certain.
    """
    factor, in_shares = np.ones(stored.num_rows), np.ones(stored.num_rows)
    days, fetched = days_of(stored), _fetched(stored)

    def times(event: Event | None, power: int, since: float) -> None:
        if event and event.shares:
            undone = (days < np.datetime64(event.ex_date)) & (fetched >= since)
            factor[undone] *= event.shares**power
            if not event.in_prices_only:
                in_shares[undone] *= event.shares**power

    for taken in gone:
        times(taken.event, -1, _recorded(taken.event))
        times(taken.successor, 1, _recorded(taken.event))
    for event in added:
        times(event, 1, _micros(dt.datetime.combine(event.ex_date, dt.time())))
    return factor, in_shares


def _recorded(event: Event) -> float:
    return _micros(event.recorded_at) if event.recorded_at else -math.inf


def _micros(moment: dt.datetime) -> float:
    return float(np.datetime64(moment, "us").astype(np.int64))


@dataclass(frozen=True)
class _Seen:
    """Why a withdrawn event did happen, and the factor that puts the rows reported right."""

    why: str
    undo: Floats


def _still_seen(stored: pa.Table, reported: pa.Table, taken: TakenBack) -> _Seen | None:
    """What in the prices of the answer says that a withdrawn event did happen."""
    event, ratio = taken.event, taken.event.shares
    before = days_of(reported) < np.datetime64(event.ex_date)
    if taken.difference != "withdrawn" or ratio is None or before.all() or not before.any():
        return None
    prices = price_grid(reported)
    step = math.log(prices[before][-1, -1] / prices[~before][0, 0])
    visible = not 1 / VISIBLE < ratio < VISIBLE
    if visible and abs(step - math.log(ratio)) < min(abs(step), NEAR_RATIO):
        return _Seen("its prices fall by that ratio on that day", np.ones(len(before)))
    undo = np.where(before, ratio, 1.0)
    _, at, again = _paired(stored, reported)
    early = before[again] & (_fetched(stored)[at] < _recorded(event))
    ours, theirs = price_grid(stored)[at][early], prices[again][early]
    as_before, since = (_same(theirs, ours, np.full(len(ours), by)) for by in (1.0, 1 / ratio))
    if (since & ~as_before).sum() >= max(1, FOLLOWING * len(ours)):
        return _Seen("its prices before that day are still those after it", undo)
    plain, odd = (whole(prices[before] * by).mean() for by in (ratio, 1.0))
    if odd < FOLLOWING / 2 and plain > FOLLOWING:
        return _Seen("its prices before that day are whole cents only with it", undo)
    return None


def _same(theirs: Grid, ours: Grid, factor: Floats) -> Mask:
    """The rows of which all prices are ``ours``, rounded to cents, times ``factor``."""
    expected = ours * factor[:, None]
    slack = NOISE * expected + np.where(factor == 1, 0.0, HALF_A_CENT * np.maximum(factor, 1.0))[
        :, None
    ] * (1 + NOISE)
    return ~marked_rows(np.abs(theirs - expected) > slack)


def _times(rows: pa.Table, factor: Floats, in_shares: Floats) -> pa.Table:
    """Rows with prices multiplied, which stay whole cents where they are, and volumes divided."""
    changed = np.abs(factor - 1) > NOISE
    if not changed.any():
        return rows
    prices = price_grid(rows)
    grid = np.where(changed[:, None], in_cents(prices * factor[:, None]), prices)
    volume = floats(rows, "volume")
    volume = np.where(in_shares == 1, volume, np.rint(volume / in_shares))
    return with_numbers(rows, {**dict(zip(PRICES, grid.T, strict=True)), "volume": volume})
