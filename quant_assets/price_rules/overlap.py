"""What a source says again, compared with what it said before. Pure.

Each request looks back, and the rows that come again tell what has happened since: a split, a
dividend worked into the prices, a correction, or something nobody can explain. What becomes of the
differences (revisions, a hold, a corporate action) is the loader's.

Prices are kept as traded. A source that tells of no splits gives itself away: it says again what
it said before, in other shares.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
import pyarrow as pa

from quant_assets.price_rules.corporate_actions import LARGEST_DENOMINATOR
from quant_assets.price_rules.plain_ratios import (
    FOLLOWING,
    HALF_A_CENT,
    NOISE,
    Floats,
    Grid,
    common_factor,
    plain_split,
)

Days = np.ndarray[tuple[int], np.dtype[np.datetime64]]
Mask = np.ndarray[tuple[int], np.dtype[np.bool_]]
Keys = np.ndarray[tuple[int], np.dtype[np.int64]]
Places = np.ndarray[tuple[int], np.dtype[np.intp]]
Dated = Sequence[tuple[dt.date, float]]
PRICES = ("open", "high", "low", "close")

LARGEST_RESTATEMENT = 0.2
"""A price corrected by more than this is another price."""


@dataclass(frozen=True)
class InferredSplit:
    """A split that no one reported; ``ratio`` new shares for one old from ``ex_date`` on."""

    ex_date: dt.date
    ratio: float


@dataclass(frozen=True)
class Overlap:
    """What is to become of the rows told.

    ``rows`` are those to be stored, with the columns told. With ``hold``, a sentence for the user,
    nothing of the symbol may be stored; ``rows`` are then what the source says at its word, should
    the user take it. ``differences`` classes the sessions whose stored values ``rows`` change:
    ``split``, ``dividend``, ``restatement`` or ``unexplained``; without a hold there is no
    ``split``, since a row that is only expressed in other shares is stored as before.
    """

    rows: pa.Table
    splits: tuple[InferredSplit, ...] = ()
    hold: str | None = None
    differences: Mapping[dt.date, str] = field(default_factory=dict)


def compare(
    held: pa.Table,
    told: pa.Table,
    *,
    reports_splits: bool,
    splits: Dated = (),
    dividends: Dated = (),
) -> Overlap:
    """Compare rows of one security that are stored with what their source tells now.

    Both have session, open, high, low, close, volume and basis_on, told also symbol and currency;
    a session stands in each once. ``splits`` and ``dividends`` are those told and those on record,
    dividends per share of their ex-date. A source that does not ``reports_splits`` may tell its
    rows in the shares of its newest one whatever their basis says; its splits are inferred.
    """
    held, told = held.sort_by("session"), told.sort_by("session")
    pairs = _Pairs.of(held, told, splits)
    if len(pairs.days) == 0:
        return Overlap(told)
    shares = pairs.known_shares(splits, everywhere=not reports_splits)
    found = plain_split(pairs.held_prices, pairs.expressed(shares), shares[pairs.at])
    if found is None:
        explained = _follows_dividends(pairs, pairs.expressed(shares), dividends)
        if explained:
            return _held_back(pairs, shares, "dividend", _dividend_sentence(pairs, explained))
        scaled = (
            common_factor(pairs.held_prices, pairs.expressed(shares)) if reports_splits else None
        )
        if scaled:
            return _held_back(pairs, shares, "unexplained", _scaled_sentence(pairs, *scaled))
        return pairs.settled(shares)
    count, ratio = found
    later = pairs.told_days[pairs.told_days > pairs.days[count - 1]]
    ex_date: dt.date | None = later[0].item() if len(later) else None
    if reports_splits:
        sentence = _split_sentence(pairs, count, ratio, ex_date, splits)
        return _held_back(pairs, shares, "split", sentence)
    # With no session after them the day can't be told yet; it will when one comes.
    inferred = (InferredSplit(ex_date, ratio),) if ex_date else ()
    before = pairs.told_days <= pairs.days[count - 1]
    before &= pairs.as_traded | np.isin(pairs.told_days, pairs.days)
    return pairs.settled(shares * np.where(before, ratio, 1.0), inferred)


@dataclass(frozen=True)
class _Pairs:
    """The numbers of one comparison; ``days`` are the sessions that stand in both tables.

    ``rounded_to`` is, per row told, how many of its shares the newest one is, at least one: a
    source that keeps volumes in whole shares of the present knows them no better after a reverse
    split.

    ``shares`` of a method are, per row told, by what its prices are multiplied (and its volume
    divided) to express them in the shares of the stored row.
    """

    told: pa.Table
    told_days: Days
    told_basis: Days
    told_prices: Grid
    told_volume: Floats
    days: Days
    at: Places
    held_basis: Days
    held_prices: Grid
    held_volume: Floats
    rounded_to: Floats

    @classmethod
    def of(cls, held: pa.Table, told: pa.Table, splits: Dated) -> _Pairs:
        told_days = _days(told, "session")
        days, in_held, at = np.intersect1d(
            _days(held, "session"), told_days, assume_unique=True, return_indices=True
        )
        again = held.take(pa.array(in_held))
        newer = np.ones(len(told_days))
        for ex_date, ratio in splits:
            newer *= np.where(told_days < np.datetime64(ex_date), ratio, 1.0)
        return cls(
            told,
            told_days,
            _days(told, "basis_on"),
            price_grid(told),
            floats(told, "volume"),
            days,
            at,
            _days(again, "basis_on"),
            price_grid(again),
            floats(again, "volume"),
            np.maximum(1 / newer, 1.0),
        )

    @property
    def as_traded(self) -> Mask:
        """The rows told that say they are in the shares of their own session."""
        same: Mask = self.told_basis == self.told_days
        return same

    def expressed(self, shares: Floats) -> Grid:
        """The prices that come again, in the shares of the stored ones."""
        prices: Grid = (self.told_prices * shares[:, None])[self.at]
        return prices

    def known_shares(self, splits: Dated, *, everywhere: bool) -> Floats:
        """What the known splits make of the rows told.

        ``everywhere`` tries as well whether all rows are in the shares of the newest.
        """
        basis = self.told_basis[self.at]
        shares, newest = np.ones(len(self.told_days)), np.ones(len(self.told_days))
        for ex_date, ratio in splits:
            day = np.datetime64(ex_date)
            shares[self.at] *= np.where((self.held_basis < day) & (day <= basis), ratio, 1.0)
            shares[self.at] /= np.where((basis < day) & (day <= self.held_basis), ratio, 1.0)
            newest *= np.where(self.as_traded & (self.told_days < day), ratio, 1.0)
        nearer = everywhere and self._distance(shares * newest) < self._distance(shares)
        return shares * newest if nearer else shares

    def _distance(self, shares: Floats) -> float:
        """How far the closes are from the stored ones, over all rows."""
        return float(np.abs(np.log(self.expressed(shares)[:, -1] / self.held_prices[:, -1])).sum())

    def settled(self, shares: Floats, splits: tuple[InferredSplit, ...] = ()) -> Overlap:
        """The rows told in the shares of the stored ones, which stay where only noise differs."""
        prices, volume = self.told_prices * shares[:, None], self.told_volume / shares
        same_prices = np.abs(prices[self.at] - self.held_prices) <= _price_slack(
            self.held_prices, shares[self.at]
        )
        slack = np.maximum(volume_slack(self.held_volume), 0.5 / shares[self.at])
        slack = np.maximum(slack, self.rounded_to[self.at])
        same_volume = np.abs(volume[self.at] - self.held_volume) <= slack
        with np.errstate(divide="ignore", invalid="ignore"):
            far = np.abs(prices[self.at] / self.held_prices - 1).max(axis=1) > LARGEST_RESTATEMENT
        prices[self.at] = np.where(same_prices, self.held_prices, prices[self.at])
        volume[self.at] = np.where(same_volume, self.held_volume, volume[self.at])
        basis = np.where(shares == 1.0, self.told_basis, self.told_days)
        basis[self.at] = self.held_basis
        changed = np.flatnonzero(~(same_prices.all(axis=1) & same_volume))
        classes = {
            self.days[row].item(): "unexplained" if far[row] else "restatement" for row in changed
        }
        numbers = {**dict(zip(PRICES, prices.T, strict=True)), "volume": volume, "basis_on": basis}
        rows = self.told
        for name, values in numbers.items():
            place = rows.schema.get_field_index(name)
            rows = rows.set_column(place, name, pa.array(values).cast(rows.schema.field(name).type))
        return Overlap(rows, splits, None, classes)


def _days(rows: pa.Table, name: str) -> Days:
    days: Days = rows[name].to_numpy().astype("datetime64[D]")
    return days


def floats(rows: pa.Table, name: str) -> Floats:
    values: Floats = rows[name].cast(pa.float64()).to_numpy().copy()
    return values


def price_grid(rows: pa.Table) -> Grid:
    return np.column_stack([floats(rows, name) for name in PRICES])


def marked_rows(marks: np.ndarray[tuple[int, int], np.dtype[np.bool_]]) -> Mask:
    """The rows in which anything is marked."""
    marked: Mask = np.logical_or.reduce(marks, axis=1)
    return marked


def _price_slack(held: Grid, shares: Floats) -> Grid:
    """How far a price may be off and still say the same; rounded to cents before it was split."""
    cents = np.where(shares == 1.0, 0.0, HALF_A_CENT * np.maximum(shares, 1.0))
    slack: Grid = NOISE * held + cents[:, None]
    return slack


def volume_slack(held: Floats) -> Floats:
    """How far a volume may be off and still say the same: a share, or noise."""
    return np.maximum(1.0, NOISE * held)


def _scaled_sentence(pairs: _Pairs, count: int, factor: float) -> str:
    return (
        f"The {count} sessions up to {pairs.days[count - 1]} came again multiplied by {factor:.6g} "
        f"({_example(pairs, count - 1)}); no event that is listed explains it."
    )


def _follows_dividends(pairs: _Pairs, told: Grid, dividends: Dated) -> Dated:
    """The newest dividends that have been worked into the prices told; none if none have."""
    adjusted = {"previous_close": np.ones(len(told)), "ex_close": np.ones(len(told))}
    slack = HALF_A_CENT + NOISE * pairs.held_prices
    off = marked_rows(np.abs(told - pairs.held_prices) > slack)
    worked_in: list[tuple[dt.date, float]] = []
    if not off.any():
        return ()
    for ex_date, amount in sorted(dividends, reverse=True):
        before = pairs.days < np.datetime64(ex_date)
        if not before.any():
            continue
        worked_in.append((ex_date, amount))
        last = pairs.held_prices[before][-1, -1]
        after = pairs.told_prices[pairs.told_days >= np.datetime64(ex_date), -1]
        adjusted["previous_close"][before] *= 1 - amount / last
        adjusted["ex_close"][before] *= after[0] / (after[0] + amount) if len(after) else 1.0
        for factor in adjusted.values():
            expected = pairs.held_prices * factor[:, None]
            follow = ~marked_rows(np.abs(told - expected) > HALF_A_CENT + 10 * NOISE * expected)
            if follow[off].mean() >= FOLLOWING and follow.mean() >= FOLLOWING:
                return worked_in
    return ()


def _held_back(pairs: _Pairs, shares: Floats, kind: str, why: str) -> Overlap:
    at_its_word = pairs.settled(shares)
    symbol = pairs.told["symbol"][0].as_py()
    sentence = (
        f"{why} Nothing of {symbol} was stored; the next load looks again, and --accept takes the "
        "source at its word."
    )
    differences = dict.fromkeys(at_its_word.differences, kind)
    return Overlap(at_its_word.rows, (), sentence, differences)


def _split_sentence(
    pairs: _Pairs, count: int, ratio: float, ex_date: dt.date | None, splits: Dated
) -> str:
    listed = [day for day, told in splits if math.isclose(told, ratio, rel_tol=0.01)]
    said = (
        f"a split of that ratio is listed on {listed[-1]}, but these prices do not follow it"
        if listed
        else "no such split is listed"
    )
    since = f" before {ex_date}" if ex_date else ""
    return (
        f"The {count} sessions{since} that came again are off from the stored ones by the ratio of "
        f"a split, {_ratio_in_words(ratio)} ({_example(pairs, count - 1)}); {said}."
    )


def _dividend_sentence(pairs: _Pairs, dividends: Dated) -> str:
    ex_date, amount = dividends[0]
    last = int((pairs.days < np.datetime64(ex_date)).sum()) - 1
    return (
        f"The prices before {ex_date} came again lowered by the dividend of {amount:g} of that day "
        f"({_example(pairs, last)}). Prices are stored as traded, not adjusted for dividends."
    )


def _example(pairs: _Pairs, row: int) -> str:
    stored, told = pairs.held_prices[row, -1], pairs.told_prices[pairs.at[row], -1]
    return f"close of {pairs.days[row]}: stored {stored:.6g}, now {told:.6g}"


def _ratio_in_words(ratio: float) -> str:
    plain = Fraction(ratio if ratio > 1 else 1 / ratio).limit_denominator(LARGEST_DENOMINATOR)
    new, old = (plain.numerator, plain.denominator)[:: 1 if ratio > 1 else -1]
    return f"{new}:{old}"
