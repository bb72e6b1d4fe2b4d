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
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
import pyarrow as pa

from quant_assets.price_rules.corporate_actions import LARGEST_DENOMINATOR
from quant_assets.price_rules.pairs import PRICES, Dated, Pairs, marked_rows
from quant_assets.price_rules.plain_ratios import (
    FOLLOWING,
    HALF_A_CENT,
    NOISE,
    Floats,
    Grid,
    common_factor,
    plain_split,
)

LARGEST_RESTATEMENT = 0.2
"""A price corrected by more than this is another price."""


@dataclass(frozen=True)
class InferredSplit:
    """A split that only prices show; ``ratio`` new shares for one old from ``ex_date`` on."""

    ex_date: dt.date
    ratio: float


@dataclass(frozen=True)
class Overlap:
    """The rows to store, and how they differ from those that are stored.

    ``rows`` have the columns of the rows reported. With ``hold``, a sentence for the user, nothing
    of the symbol may be stored, unless the user accepts ``rows`` as they are. ``differences``
    classes the sessions whose stored values ``rows`` change: ``split``, ``dividend``,
    ``restatement`` or ``unexplained``; without a hold there is no ``split``, since a row that is
    only expressed in other shares is stored as before.
    """

    rows: pa.Table
    splits: tuple[InferredSplit, ...] = ()
    hold: str | None = None
    differences: Mapping[dt.date, str] = field(default_factory=dict)


def compare(
    stored: pa.Table,
    reported: pa.Table,
    *,
    reports_splits: bool,
    splits: Dated = (),
    dividends: Dated = (),
) -> Overlap:
    """Compare the stored rows of one security with those its source reports now.

    Both have session, open, high, low, close, volume and basis_on, ``reported`` also symbol and
    currency; a session is in each once. ``splits`` and ``dividends`` are those reported now and
    those on record, dividends per share of their ex-date. Without ``reports_splits`` all rows may
    be in the shares of the newest one whatever their basis is, and splits are inferred.
    """
    stored, reported = stored.sort_by("session"), reported.sort_by("session")
    pairs = Pairs.of(stored, reported, splits)
    if len(pairs.days) == 0:
        return Overlap(reported)
    shares = pairs.known_shares(splits, everywhere=not reports_splits)
    prices = pairs.expressed(shares)
    found = plain_split(pairs.stored_prices, prices, shares[pairs.at])
    if found is None:
        worked_in = _dividends_worked_in(pairs, prices, dividends)
        if worked_in:
            return _hold(pairs, shares, "dividend", _dividend_sentence(pairs, worked_in))
        scaled = common_factor(pairs.stored_prices, prices) if reports_splits else None
        if scaled:
            return _hold(pairs, shares, "unexplained", _scaled_sentence(pairs, *scaled))
        return _in_stored_shares(pairs, shares)
    count, ratio = found
    later = pairs.reported_days[pairs.reported_days > pairs.days[count - 1]]
    ex_date: dt.date | None = later[0].item() if len(later) else None
    if reports_splits:
        sentence = _split_sentence(pairs, count, ratio, ex_date, splits)
        return _hold(pairs, shares, "split", sentence)
    # The day is known once a session after them comes.
    inferred = (InferredSplit(ex_date, ratio),) if ex_date else ()
    before = pairs.reported_days <= pairs.days[count - 1]
    before &= pairs.as_traded | np.isin(pairs.reported_days, pairs.days)
    return _in_stored_shares(pairs, shares * np.where(before, ratio, 1.0), inferred)


def _in_stored_shares(
    pairs: Pairs, shares: Floats, splits: tuple[InferredSplit, ...] = ()
) -> Overlap:
    """The rows reported, in the shares of the stored ones, which stay where only noise differs."""
    prices, volume = pairs.reported_prices * shares[:, None], pairs.reported_volume / shares
    same_prices = pairs.same_prices(prices[pairs.at], shares)
    same_volume = pairs.same_volume(volume[pairs.at], shares)
    with np.errstate(divide="ignore", invalid="ignore"):
        far = np.abs(prices[pairs.at] / pairs.stored_prices - 1) > LARGEST_RESTATEMENT
    prices[pairs.at] = np.where(same_prices, pairs.stored_prices, prices[pairs.at])
    volume[pairs.at] = np.where(same_volume, pairs.stored_volume, volume[pairs.at])
    basis = np.where(shares == 1.0, pairs.reported_basis, pairs.reported_days)
    basis[pairs.at] = pairs.stored_basis
    classes = {
        pairs.days[row].item(): "unexplained" if far[row].any() else "restatement"
        for row in np.flatnonzero(~(same_prices.all(axis=1) & same_volume))
    }
    numbers = {**dict(zip(PRICES, prices.T, strict=True)), "volume": volume, "basis_on": basis}
    rows = pairs.reported
    for name, values in numbers.items():
        place = rows.schema.get_field_index(name)
        rows = rows.set_column(place, name, pa.array(values).cast(rows.schema.field(name).type))
    return Overlap(rows, splits, None, classes)


def _scaled_sentence(pairs: Pairs, count: int, factor: float) -> str:
    return (
        f"The {count} sessions up to {pairs.days[count - 1]} came again multiplied by {factor:.6g} "
        f"({_example(pairs, count - 1)}); no event that is listed explains it."
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
    symbol = pairs.reported["symbol"][0].as_py()
    sentence = (
        f"{why} Nothing of {symbol} was stored; the next load looks again, and --accept takes the "
        "source at its word."
    )
    differences = dict.fromkeys(accepted.differences, kind)
    return Overlap(accepted.rows, (), sentence, differences)


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
