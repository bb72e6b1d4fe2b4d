"""Prices in the shares of another day: the arithmetic behind ``adjust=`` when prices are read.

Stored prices are never adjusted. What is computed here follows three rules:

- Share basis. With C(d) the product of all share ratios with ex-date ≤ d, a price of basis day b is
  worth, in shares of day T, price * C(b) / C(T). Volumes go the other way.
- ``split`` also takes out spin-offs, as CRSP's factor to adjust price and Yahoo's splits do: the
  factor of a distribution in kind worth D per share is P0 / (P0 - D), P0 the close before the
  ex-date in the same shares. Volumes know share ratios only.
- ``total_return`` reinvests each distribution D at the close P of its ex-date: the return of a day
  is (P + D) * S / P0. Yahoo's adjusted close uses P / (P0 - D) instead: close, not equal.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

Floats = np.ndarray[tuple[int], np.dtype[np.float64]]
Ints = np.ndarray[tuple[int], np.dtype[np.int64]]


@dataclass(frozen=True)
class Steps:
    """Factors with the day from which each holds, sorted by security, then day.

    ``days`` count from 1970-01-01. ``cumulative`` is the running product within a security.
    """

    securities: Ints
    days: Ints
    cumulative: Floats

    @classmethod
    def of(cls, securities: Ints, days: Ints, factors: Floats) -> Steps:
        """Sort single factors and multiply them up, security by security."""
        order = np.lexsort((days, securities))
        securities, days, factors = securities[order], days[order], factors[order]
        cumulative = np.empty_like(factors)
        edges = np.flatnonzero(np.diff(securities)) + 1
        for start, stop in zip(
            np.concatenate([[0], edges]), np.append(edges, len(factors)), strict=True
        ):
            cumulative[start:stop] = np.cumprod(factors[start:stop])
        return cls(securities, days, cumulative)

    def upto(self, securities: Ints, days: Ints) -> Floats:
        """The product of all factors of each security that hold on the given day."""
        result = np.ones(len(securities))
        if len(self.days) == 0:
            return result
        keys = sort_key(self.securities, self.days)
        at = np.searchsorted(keys, sort_key(securities, days), side="right")
        before = np.maximum(at - 1, 0)
        found = (at > 0) & (self.securities[before] == securities)
        result[found] = self.cumulative[before[found]]
        return result

    def upto_day(self, securities: Ints, day: int) -> Floats:
        """``upto`` of one day, looked up once a security."""
        each = np.arange(securities.max(initial=0) + 1)
        return self.upto(each, np.full_like(each, day))[securities]


def sort_key(securities: Ints, days: Ints) -> Ints:
    """One sortable number for a security and a day; days stay below 2^23."""
    return securities * (1 << 23) + days


@dataclass(frozen=True)
class Actions:
    """Corporate actions as parallel arrays; NaN where an action has no such number.

    ``close`` and ``close_before`` are the closes on and before the ex-date, ``close_basis`` and
    ``before_basis`` the days in whose shares they are expressed, ``amount_basis`` that of the
    amount. ``in_kind`` marks spin-offs.
    """

    securities: Ints
    days: Ints
    ratio: Floats
    amount: Floats
    value_factor: Floats
    in_kind: np.ndarray[tuple[int], np.dtype[np.bool_]]
    amount_basis: Ints
    close: Floats
    close_basis: Ints
    close_before: Floats
    before_basis: Ints

    @cached_property
    def shares(self) -> Steps:
        """Share ratios: new shares per old."""
        return self._steps(~np.isnan(self.ratio), self.ratio)

    def capital(self) -> Steps:
        """Share ratios and spin-offs together."""
        if not self.in_kind.any():
            return self.shares
        has_ratio = ~np.isnan(self.ratio)
        factors = np.where(has_ratio, self.ratio, self.value_factor)
        by_amount = self.in_kind & ~np.isnan(self.amount)
        amount = self._in_day(self.amount, self.amount_basis)
        before = self._in_day(self.close_before, self.before_basis)
        with np.errstate(divide="ignore", invalid="ignore"):
            from_amount = before / (before - amount)
        factors = np.where(by_amount, from_amount, factors)
        return self._steps(
            (has_ratio | self.in_kind) & np.isfinite(factors) & (factors > 0), factors
        )

    def growth(self) -> Steps:
        """Growth of a holding by reinvested distributions: (P + D) / P, or a value factor."""
        amount = self._in_day(self.amount, self.amount_basis)
        close = self._in_day(self.close, self.close_basis)
        growth = np.where(np.isnan(self.value_factor), (close + amount) / close, self.value_factor)
        return self._steps(np.isfinite(growth) & np.isnan(self.ratio), growth)

    def _in_day(self, values: Floats, basis: Ints) -> Floats:
        """``values`` expressed in the shares of the ex-date."""
        now = self.shares.upto(self.securities, self.days)
        return values * self.shares.upto(self.securities, basis) / now

    def _steps(self, which: np.ndarray[tuple[int], np.dtype[np.bool_]], factors: Floats) -> Steps:
        return Steps.of(self.securities[which], self.days[which], factors[which])


@dataclass(frozen=True)
class Factors:
    """What to multiply each row's prices and volume by."""

    price: Floats
    volume: Floats


def split_factors(
    actions: Actions, securities: Ints, basis: Ints, adjust_to: int, *, spin_offs: bool = True
) -> Factors:
    """Factors for ``adjust="split"``, for rows expressed in the shares of ``basis``."""
    shares = actions.shares
    capital = actions.capital() if spin_offs else shares
    then, now = shares.upto(securities, basis), shares.upto_day(securities, adjust_to)
    price = then / now
    if capital is not shares:
        price = capital.upto(securities, basis) / capital.upto_day(securities, adjust_to)
    return Factors(price, now / then)


def total_return_factors(
    actions: Actions, securities: Ints, days: Ints, basis: Ints, adjust_to: int
) -> Factors:
    """Factors for ``adjust="total_return"``: share basis first, then reinvested distributions."""
    split = split_factors(actions, securities, basis, adjust_to, spin_offs=False)
    growth = actions.growth()
    reinvested = growth.upto(securities, days) / growth.upto_day(securities, adjust_to)
    return Factors(split.price * reinvested, split.volume)
