"""Rows stored and rows reported of one security, paired by session, as numbers."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quant_assets.price_rules.plain_ratios import (
    FOLLOWING,
    HALF_A_CENT,
    NOISE,
    SEVERAL_ROWS,
    Floats,
    Grid,
)
from quant_assets.schema.row_rules import floats

Days = np.ndarray[tuple[int], np.dtype[np.datetime64]]
Mask = np.ndarray[tuple[int], np.dtype[np.bool_]]
Marks = np.ndarray[tuple[int, int], np.dtype[np.bool_]]
Places = np.ndarray[tuple[int], np.dtype[np.intp]]
Dated = Sequence[tuple[dt.date, float]]
"""Events of one security: ex-dates, each with the ratio of a split or the amount of a dividend."""

MUCH_NEARER = 0.5
"""Distance of a value from its neighbours, beside another's, that makes it the right one."""

FAR = 0.25
"""How far a bar is from its neighbours, as a logarithm, that is no day's move."""

PRICES = ("open", "high", "low", "close")


@dataclass(frozen=True)
class Pairs:
    """The numbers of one comparison; ``days`` are the sessions in both tables.

    ``at`` are the places of ``days`` among the rows reported. The stored numbers have a row per
    entry of ``days``, the reported ones a row per row reported.

    ``rounded_to`` is, per row reported, how many of its shares one of the newest is, at least one:
    a source that keeps volumes in whole shares of the present has them no more precise than that
    after a reverse split.

    ``shares`` of a method are, per row reported, the factor by which its prices are multiplied (and
    its volume divided) to express them in the shares of the stored row.
    """

    reported: pa.Table
    reported_days: Days
    reported_basis: Days
    reported_prices: Grid
    reported_volume: Floats
    days: Days
    at: Places
    stored_basis: Days
    stored_prices: Grid
    stored_volume: Floats
    rounded_to: Floats

    @classmethod
    def of(cls, stored: pa.Table, reported: pa.Table, splits: Dated) -> Pairs:
        reported_days = days_of(reported)
        days, in_stored, at = np.intersect1d(
            days_of(stored), reported_days, assume_unique=True, return_indices=True
        )
        both = stored.take(pa.array(in_stored))
        newer = np.ones(len(reported_days))
        for ex_date, ratio in splits:
            newer *= np.where(reported_days < np.datetime64(ex_date), ratio, 1.0)
        return cls(
            reported,
            reported_days,
            days_of(reported, "basis_on"),
            price_grid(reported),
            floats(reported, "volume"),
            days,
            at,
            days_of(both, "basis_on"),
            price_grid(both),
            floats(both, "volume"),
            np.maximum(1 / newer, 1.0),
        )

    @property
    def as_traded(self) -> Mask:
        """The rows reported whose basis is their own session."""
        same: Mask = self.reported_basis == self.reported_days
        return same

    def expressed(self, shares: Floats) -> Grid:
        """The reported prices of ``days``, in the shares of the stored ones."""
        prices: Grid = (self.reported_prices * shares[:, None])[self.at]
        return prices

    def known_shares(self, splits: Dated, *, everywhere: bool) -> Floats:
        """The shares of the rows reported, by the known splits.

        ``everywhere`` also tries whether all rows are in the shares of the newest.
        """
        basis = self.reported_basis[self.at]
        shares, newest = np.ones(len(self.reported_days)), np.ones(len(self.reported_days))
        for ex_date, ratio in splits:
            day = np.datetime64(ex_date)
            shares[self.at] *= np.where((self.stored_basis < day) & (day <= basis), ratio, 1.0)
            shares[self.at] /= np.where((basis < day) & (day <= self.stored_basis), ratio, 1.0)
            newest *= np.where(self.as_traded & (self.reported_days < day), ratio, 1.0)
        nearer = everywhere and self._distance(shares * newest) < self._distance(shares)
        return shares * newest if nearer else shares

    def _distance(self, shares: Floats) -> float:
        """How far the closes are from the stored ones, over all rows."""
        ratio = self.expressed(shares)[:, -1] / self.stored_prices[:, -1]
        return float(np.abs(np.log(ratio)).sum())

    def same_prices(self, prices: Grid, shares: Floats) -> Marks:
        """Where ``prices`` of ``days`` equal the stored ones, which a source rounds to cents."""
        cents = np.where(shares == 1.0, 0.0, HALF_A_CENT * np.maximum(shares, 1.0))[self.at]
        slack = NOISE * self.stored_prices + cents[:, None]
        same: Marks = np.abs(prices - self.stored_prices) <= slack
        return same

    def volume_in(self, shares: Floats) -> Floats:
        """The reported volumes, in whole shares of the stored ones where a split lies between."""
        volume = self.reported_volume / shares
        expressed: Floats = np.where(shares == 1.0, volume, np.rint(volume))
        return expressed

    def same_volume(self, volume: Floats, shares: Floats) -> Mask:
        """Where ``volume`` of ``days`` equals the stored one."""
        symbols = self.reported["symbol"].take(pa.array(self.at))
        slack = volume_slack(self.stored_volume, volume, coins(symbols))
        of_split = np.where(shares == 1.0, 0.0, 0.5 / shares)[self.at]
        rounded = np.where(self.rounded_to == 1.0, 0.0, self.rounded_to)[self.at]
        slack = np.maximum(slack, np.maximum(of_split, rounded))
        same: Mask = np.abs(volume - self.stored_volume) <= slack
        return same

    def volume_stays(self, shares: Floats, count: int) -> bool:
        """Whether the first ``count`` sessions came again with the volumes they are stored with.

        A split multiplies them, a spin-off does not.
        """
        traded = (self.stored_volume > 0)[:count]
        same = self.same_volume(self.volume_in(shares)[self.at], shares)[:count]
        return bool(traded.any() and same[traded].mean() >= FOLLOWING)

    def first_after(self, count: int) -> dt.date | None:
        """The first session reported after the first ``count`` of ``days``, if there is any."""
        later = self.reported_days[self.reported_days > self.days[count - 1]]
        return later[0].item() if len(later) else None

    def are_single_bars(self, stored: pa.Table, prices: Grid, count: int, *, whole: bool) -> bool:
        """Whether the first ``count`` sessions are bars of their own, and no past told otherwise.

        ``prices`` are those told, ``stored`` has the session before where there is one. Bars that
        are much nearer now to the sessions around them were bad before; one or two that are much
        further off are bad now.
        """
        before = stored.filter(pc.less(stored["session"], self.days[0].item()))
        older = floats(before, "close")[-1:]
        if len(self.days) == count or (len(older) == 0 and not whole):
            return False
        around = np.append(older, self.stored_prices[count, -1])
        told, ours = (
            np.abs(np.log(some[:count, -1:] / around)).max()
            for some in (prices, self.stored_prices)
        )
        return bool(
            told < MUCH_NEARER * ours
            or (ours < MUCH_NEARER * told and count < SEVERAL_ROWS and told > FAR)
        )

    def rougher(self, prices: Grid, far: Mask) -> Mask:
        """Those of the rows ``far`` off whose reported ``prices`` are further than the stored ones
        from the closes of the sessions around them. A bar with trades is never rougher than one
        without, which is a price carried on.
        """
        worse: Mask = np.zeros(len(self.days), dtype=bool)
        sound = np.ones(len(self.reported_days), dtype=bool)
        sound[self.at[far]] = False
        places = np.flatnonzero(sound)
        for row in np.flatnonzero(far):
            beside = np.searchsorted(places, self.at[row])
            around = prices[places[max(beside - 1, 0) : beside + 1], -1]
            told, stored = (
                np.abs(np.log(some[:, None] / around)).max(initial=0.0)
                for some in (prices[self.at[row]], self.stored_prices[row])
            )
            traded = self.reported_volume[self.at[row]] > 0 and not self.stored_volume[row] > 0
            worse[row] = told >= stored and not traded
        return worse


def with_numbers(rows: pa.Table, numbers: Mapping[str, object]) -> pa.Table:
    """Rows with the values of some columns replaced, in the types they have."""
    for name, values in numbers.items():
        place = rows.schema.get_field_index(name)
        kind = rows.schema.field(name).type
        rows = rows.set_column(place, name, pa.array(values, from_pandas=True).cast(kind))
    return rows


def days_of(rows: pa.Table, name: str = "session") -> Days:
    """A column of days."""
    days: Days = rows[name].to_numpy().astype("datetime64[D]")
    return days


def price_grid(rows: pa.Table) -> Grid:
    """The prices of rows, a row each, in the order of ``PRICES``."""
    return np.column_stack([floats(rows, name) for name in PRICES])


def marked_rows(marks: Marks) -> Mask:
    """The rows in which anything is marked."""
    marked: Mask = np.logical_or.reduce(marks, axis=1)
    return marked


def coins(symbols: pa.ChunkedArray) -> Mask:
    """Which rows are of a pair such as BTC-USD, which trades in fractions."""
    mask: Mask = pc.match_substring(symbols, "-").to_numpy().astype(bool)
    return mask


def volume_slack(volume: Floats, reported: Floats, of_coins: Mask) -> Floats:
    """How far ``reported`` may be off from ``volume`` and still be the same.

    Noise, and of shares one, or half of one where only ``volume`` is whole: somebody rounded.
    """
    whole, both = volume == np.rint(volume), reported == np.rint(reported)
    share = np.where(whole & both, 1.0, np.where(whole & (volume > 0), 0.5, 0.0))
    return np.maximum(np.where(of_coins, 0.0, share), NOISE * volume)
