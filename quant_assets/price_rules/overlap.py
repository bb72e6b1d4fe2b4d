"""Rows that a source reports again, compared with those that are stored. Pure.

Each request looks back, and the rows that come again show what has happened since: a split, a
dividend worked into the prices, a correction, or something nobody can explain. What becomes of the
differences (revisions, a hold, a corporate action) is decided by the load.

Prices are stored as traded. Where a source reports no splits, its rows show them: they come again
in other shares.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction

import numpy as np
import pyarrow as pa

from quant_assets.price_rules.corporate_actions import LARGEST_DENOMINATOR, InferredEvent
from quant_assets.price_rules.pairs import (
    PRICES,
    Dated,
    Mask,
    Pairs,
    Places,
    marked_rows,
    with_numbers,
)
from quant_assets.price_rules.plain_ratios import (
    FOLLOWING,
    HALF_A_CENT,
    MANY_ROWS,
    NOISE,
    SEVERAL_ROWS,
    Floats,
    Grid,
    common_factor,
    in_cents,
    multiplied,
    plain_split,
)

LARGEST_RESTATEMENT = 0.2
"""A price corrected by more than this is another price."""

UNLIKE_ITS_NEIGHBOURS = (
    "told again unlike the sessions around it, which the stored row is not; it stays out until it "
    "is told once more"
)
"""Why a row that is ``disputed`` is set aside."""


@dataclass(frozen=True)
class Overlap:
    """The rows to store, and how they differ from those that are stored.

    ``rows`` have the columns of the rows reported. With ``hold``, a sentence for the user, nothing
    of the symbol may be stored, unless the user accepts ``rows`` as they are. ``differences``
    classes the sessions whose stored values ``rows`` change: ``split``, ``dividend``,
    ``restatement`` or ``unexplained``; without a hold there is no ``split``, since a row that is
    only expressed in other shares is stored as before. Those of ``disputed`` are unlike the
    sessions around them, which the stored ones are not.
    """

    rows: pa.Table
    events: tuple[InferredEvent, ...] = ()
    hold: str | None = None
    differences: Mapping[dt.date, str] = field(default_factory=dict)
    disputed: frozenset[dt.date] = frozenset()
    moved: frozenset[dt.date] = frozenset()


def compare(
    stored: pa.Table,
    reported: pa.Table,
    *,
    reports_splits: bool,
    splits: Dated = (),
    dividends: Dated = (),
    inferred: Dated = (),
    whole: bool = True,
) -> Overlap:
    """Compare the stored rows of one security with those its source reports now.

    Both have session, open, high, low, close, volume and basis_on, ``reported`` also symbol and
    currency; a session is in each once. ``splits`` and ``dividends`` are those reported now and
    those on record, dividends per share of their ex-date. Without ``reports_splits`` all rows may
    be in the shares of the newest one whatever their basis is, and splits are inferred; those of
    ``splits`` that were ``inferred`` before may turn out to be of a later day. ``whole`` says that
    no older row is stored than those given.
    """
    stored, reported = stored.sort_by("session"), reported.sort_by("session")
    pairs = Pairs.of(stored, reported, splits)
    if len(pairs.days) == 0:
        return Overlap(reported)
    shares = pairs.known_shares(splits, everywhere=not reports_splits)
    for day, ratio in inferred:
        later = _of_a_later_day(pairs, shares, day, ratio)
        if later:
            return later
    prices = pairs.expressed(shares)
    split = plain_split(pairs.stored_prices, prices, shares[pairs.at])
    if split and not (reports_splits and pairs.volume_stays(shares, split[0])):
        return _split(pairs, shares, *split, reports_splits=reports_splits, splits=splits)
    worked_in = _dividends_worked_in(pairs, prices, dividends) if split is None else ()
    if worked_in:
        return _hold(pairs, shares, "dividend", _dividend_sentence(pairs, worked_in))
    scaled = (split[0], 1 / split[1]) if split else common_factor(pairs.stored_prices, prices)
    few = scaled is not None and scaled[0] < MANY_ROWS
    if few and scaled and pairs.are_single_bars(stored, prices, scaled[0], whole=whole):
        scaled = None
    if scaled and not (few and whole and pairs.first_after(scaled[0]) is None):
        return _scaled(pairs, shares, *scaled, reports_splits=reports_splits)
    rows = np.flatnonzero(multiplied(pairs.stored_prices, prices))
    another_basis = scaled is None and _is_a_stretch(rows)
    return (
        _hold(pairs, shares, "unexplained", _several_sentence(pairs, rows))
        if another_basis
        else _in_stored_shares(pairs, shares)
    )


def _split(
    pairs: Pairs, shares: Floats, count: int, ratio: float, *, reports_splits: bool, splits: Dated
) -> Overlap:
    """The first ``count`` rows came again in other shares."""
    ex_date = pairs.first_after(count)
    if reports_splits:
        sentence = _split_sentence(pairs, count, ratio, ex_date, splits)
        return _hold(pairs, shares, "split", sentence)
    # The day is known once a session after them comes.
    events = (InferredEvent(ex_date, ratio),) if ex_date else ()
    before = pairs.reported_days <= pairs.days[count - 1]
    before &= pairs.as_traded | np.isin(pairs.reported_days, pairs.days)
    return _in_stored_shares(pairs, shares * np.where(before, ratio, 1.0), events)


def _of_a_later_day(pairs: Pairs, shares: Floats, day: dt.date, ratio: float) -> Overlap | None:
    """The answer where the rows from the ``day`` of an inferred split on were told in new shares
    only now: some vendors restate the days before a split an evening early.
    """
    since = pairs.days >= np.datetime64(day)
    stored, prices = pairs.stored_prices[since], pairs.expressed(shares)
    slack = HALF_A_CENT * max(ratio, 1.0) + NOISE * stored
    off = ~marked_rows(np.abs(prices[since] * ratio - stored) > slack)
    off &= marked_rows(np.abs(prices[since] - stored) > slack)
    count = len(off) if off.all() else int(np.argmin(off))
    if count == 0 or off[count:].any():
        return None
    ex_date = pairs.first_after(int((~since).sum()) + count)
    if ex_date is None:
        return None
    old = (pairs.reported_days >= np.datetime64(day)) & (
        pairs.reported_days < np.datetime64(ex_date)
    )
    found = _in_stored_shares(
        pairs, shares * np.where(old, ratio, 1.0), (InferredEvent(ex_date, ratio),)
    )
    return replace(found, moved=frozenset([day]))


def _scaled(
    pairs: Pairs, shares: Floats, count: int, factor: float, *, reports_splits: bool
) -> Overlap:
    """The first ``count`` rows came again multiplied by ``factor``: a spin-off, if it can be one.

    What is stored is as traded and stays, and so do the rows of the answer, with the event undone.
    """
    ex_date = pairs.first_after(count)
    lowered = factor < 1 and count >= MANY_ROWS and pairs.volume_stays(shares, count)
    if ex_date is None or (reports_splits and not lowered):
        return _hold(pairs, shares, "unexplained", _scaled_sentence(pairs, count, factor))
    before = pairs.reported_days <= pairs.days[count - 1]
    inferred = InferredEvent(ex_date, float(f"{1 / factor:.8g}"), spin_off=True)
    return _in_stored_shares(pairs, shares, (inferred,), np.where(before, 1 / factor, 1.0))


def _is_a_stretch(rows: Places) -> bool:
    """Whether so many rows are multiplied, by whatever factors, that no row alone was corrected:
    a whole past is, from the first row on, or a long stretch of it.
    """
    from_the_first = len(rows) >= SEVERAL_ROWS and len(rows) >= FOLLOWING * (rows[-1] + 1)
    return bool(from_the_first or len(rows) >= MANY_ROWS)


def _in_stored_shares(
    pairs: Pairs,
    shares: Floats,
    events: tuple[InferredEvent, ...] = (),
    value: Floats | float = 1.0,
) -> Overlap:
    """The rows reported, in the shares of the stored ones, which stay where only noise differs.

    ``value`` multiplies prices alone.
    """
    by = shares * value
    prices, volume = pairs.reported_prices * by[:, None], pairs.volume_in(shares)
    prices = np.where((by == shares)[:, None], prices, in_cents(prices))
    same_prices = pairs.same_prices(prices[pairs.at], by)
    same_volume = pairs.same_volume(volume[pairs.at], shares)
    far = _far(prices[pairs.at], pairs.stored_prices)
    rougher = pairs.rougher(prices, far)
    prices[pairs.at] = np.where(same_prices, pairs.stored_prices, prices[pairs.at])
    volume[pairs.at] = np.where(same_volume, pairs.stored_volume, volume[pairs.at])
    basis = np.where(shares == 1.0, pairs.reported_basis, pairs.reported_days)
    basis[pairs.at] = pairs.stored_basis
    classes = {
        pairs.days[row].item(): "unexplained" if far[row] else "restatement"
        for row in np.flatnonzero(~(same_prices.all(axis=1) & same_volume))
    }
    numbers = {**dict(zip(PRICES, prices.T, strict=True)), "volume": volume, "basis_on": basis}
    rows = with_numbers(pairs.reported, numbers)
    disputed = frozenset(pairs.days[row].item() for row in np.flatnonzero(rougher))
    return Overlap(rows, events, None, classes, disputed)


def _far(prices: Grid, stored: Grid) -> Mask:
    """The rows with a price that is another price, and no correction of the stored one."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return marked_rows(np.abs(prices / stored - 1) > LARGEST_RESTATEMENT)


def _scaled_sentence(pairs: Pairs, count: int, factor: float) -> str:
    return (
        f"The {count} sessions up to {pairs.days[count - 1]} came again multiplied by {factor:.6g} "
        f"({_example(pairs, count - 1)}); no event that is listed explains it, and it does not "
        "look like a spin-off."
    )


def _several_sentence(pairs: Pairs, rows: Places) -> str:
    return (
        f"{len(rows)} sessions up to {pairs.days[rows[-1]]} came again multiplied by several "
        f"factors ({_example(pairs, int(rows[-1]))}); no event that is listed explains them."
    )


def _dividends_worked_in(pairs: Pairs, prices: Grid, dividends: Dated) -> Dated:
    """The newest dividends, for which the reported prices are adjusted; none if for none."""
    adjusted = {"previous_close": np.ones(len(prices)), "ex_close": np.ones(len(prices))}
    slack = HALF_A_CENT + NOISE * pairs.stored_prices
    off = marked_rows(np.abs(prices - pairs.stored_prices) > slack)
    worked_in: list[tuple[dt.date, float]] = []
    if not off.any():
        return ()
    for ex_date, amount in sorted(dividends, reverse=True):
        before = pairs.days < np.datetime64(ex_date)
        if not before.any():
            continue
        worked_in.append((ex_date, amount))
        last = pairs.stored_prices[before][-1, -1]
        after = pairs.reported_prices[pairs.reported_days >= np.datetime64(ex_date), -1]
        adjusted["previous_close"][before] *= 1 - amount / last
        adjusted["ex_close"][before] *= after[0] / (after[0] + amount) if len(after) else 1.0
        for factor in adjusted.values():
            expected = pairs.stored_prices * factor[:, None]
            follow = ~marked_rows(np.abs(prices - expected) > HALF_A_CENT + 10 * NOISE * expected)
            if follow[off].mean() >= FOLLOWING and follow.mean() >= FOLLOWING:
                return worked_in
    return ()


def _hold(pairs: Pairs, shares: Floats, kind: str, why: str) -> Overlap:
    accepted = _in_stored_shares(pairs, shares)
    return Overlap(accepted.rows, (), why, dict.fromkeys(accepted.differences, kind))


def _split_sentence(
    pairs: Pairs, count: int, ratio: float, ex_date: dt.date | None, splits: Dated
) -> str:
    listed = [day for day, known in splits if math.isclose(known, ratio, rel_tol=0.01)]
    why = (
        f"a split of that ratio is listed on {listed[-1]}, but these prices do not follow it"
        if listed
        else "no such split is listed"
    )
    since = f" before {ex_date}" if ex_date else ""
    return (
        f"The {count} sessions{since} that came again are off from the stored ones by the ratio of "
        f"a split, {_ratio_in_words(ratio)} ({_example(pairs, count - 1)}); {why}."
    )


def _dividend_sentence(pairs: Pairs, dividends: Dated) -> str:
    ex_date, amount = dividends[0]
    last = int((pairs.days < np.datetime64(ex_date)).sum()) - 1
    return (
        f"The prices before {ex_date} came again lowered by the dividend of {amount:g} of that day "
        f"({_example(pairs, last)}). Prices are stored as traded, not adjusted for dividends."
    )


def _example(pairs: Pairs, row: int) -> str:
    stored, now = pairs.stored_prices[row, -1], pairs.reported_prices[pairs.at[row], -1]
    return f"close of {pairs.days[row]}: stored {stored:.6g}, now {now:.6g}"


def _ratio_in_words(ratio: float) -> str:
    plain = Fraction(ratio if ratio > 1 else 1 / ratio).limit_denominator(LARGEST_DENOMINATOR)
    new, old = (plain.numerator, plain.denominator)[:: 1 if ratio > 1 else -1]
    return f"{new}:{old}"
