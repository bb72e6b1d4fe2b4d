"""Factors of splits, spin-offs and reinvested distributions, against sums done by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from quant_assets.price_rules.adjustment import (
    Actions,
    Factors,
    Steps,
    split_factors,
    total_return_factors,
)

NONE = float("nan")
AFTER_ALL = 1_000
"""A day later than every action here; days are small numbers."""


@dataclass(frozen=True)
class Event:
    """One corporate action of security 1 unless said; prices and amount in shares of the day."""

    day: int
    ratio: float = NONE
    amount: float = NONE
    value_factor: float = NONE
    in_kind: bool = False
    close: float = NONE
    close_before: float = NONE
    before_basis: int | None = None
    close_basis: int | None = None
    amount_basis: int | None = None
    security: int = 1


def actions(*events: Event) -> Actions:
    def days(name: str, otherwise: int = 0) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        given = [getattr(event, name) for event in events]
        return np.array(
            [
                event.day + otherwise if day is None else day
                for event, day in zip(events, given, strict=True)
            ],
            dtype=np.int64,
        )

    def numbers(name: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        return np.array([getattr(event, name) for event in events], dtype=np.float64)

    return Actions(
        securities=np.array([event.security for event in events], dtype=np.int64),
        days=np.array([event.day for event in events], dtype=np.int64),
        ratio=numbers("ratio"),
        amount=numbers("amount"),
        value_factor=numbers("value_factor"),
        in_kind=np.array([event.in_kind for event in events], dtype=np.bool_),
        amount_basis=days("amount_basis"),
        close=numbers("close"),
        close_basis=days("close_basis"),
        close_before=numbers("close_before"),
        before_basis=days("before_basis", -1),
    )


def split(
    days: Sequence[int],
    *events: Event,
    basis: Sequence[int] | None = None,
    to: int = AFTER_ALL,
    spin_offs: bool = True,
    security: int = 1,
) -> Factors:
    securities = np.full(len(days), security, dtype=np.int64)
    shares_of = np.array(days if basis is None else basis, dtype=np.int64)
    return split_factors(actions(*events), securities, shares_of, to, spin_offs=spin_offs)


def total_return(
    days: Sequence[int], *events: Event, basis: Sequence[int] | None = None, to: int = AFTER_ALL
) -> Factors:
    securities = np.full(len(days), 1, dtype=np.int64)
    at = np.array(days, dtype=np.int64)
    shares_of = at if basis is None else np.array(basis, dtype=np.int64)
    return total_return_factors(actions(*events), securities, at, shares_of, to)


def test_a_two_for_one_split_halves_prices_before_it_and_doubles_their_volume() -> None:
    found = split([9, 10, 11], Event(10, ratio=2))
    assert found.price.tolist() == [0.5, 1, 1]
    assert found.volume.tolist() == [2, 1, 1]


def test_a_one_for_eight_reverse_split_multiplies_prices_before_it_by_eight() -> None:
    found = split([9, 10], Event(10, ratio=0.125))
    assert found.price.tolist() == [8, 1]
    assert found.volume.tolist() == [0.125, 1]


def test_several_splits_multiply_whatever_their_order_in_the_table() -> None:
    # 2:1 on day 10, 3:1 on day 20, 1:4 on day 30: a share of day 9 became 2 * 3 / 4 = 1.5.
    events = (Event(30, ratio=0.25), Event(10, ratio=2), Event(20, ratio=3))
    found = split([9, 10, 20, 30], *events)
    assert found.price == pytest.approx([1 / 1.5, 1 / 0.75, 4, 1])
    assert found.volume == pytest.approx([1.5, 0.75, 0.25, 1])


def test_another_company_s_split_changes_nothing() -> None:
    found = split([9, 11], Event(10, ratio=2, security=2), Event(10, ratio=3, security=0))
    assert found.price.tolist() == [1, 1]


def test_without_any_action_prices_stay_as_they_are() -> None:
    assert split([1, 2]).price.tolist() == [1, 1]
    assert total_return([1, 2]).price.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("to", "price"),
    [
        (5, [1, 2, 6]),  # before both splits: a price of day 20 is worth six of those shares
        (9, [1, 2, 6]),
        (10, [0.5, 1, 3]),  # the ex-date itself counts
        (15, [0.5, 1, 3]),
        (20, [1 / 6, 1 / 3, 1]),
        (99, [1 / 6, 1 / 3, 1]),
    ],
)
def test_adjust_to_is_the_day_whose_shares_prices_are_in(to: int, price: list[float]) -> None:
    events = (Event(10, ratio=2), Event(20, ratio=3))
    found = split([9, 10, 20], *events, to=to)
    assert found.price == pytest.approx(price)
    assert found.volume == pytest.approx([1 / factor for factor in price])


@pytest.mark.parametrize(
    ("to", "price"),
    [
        (15, 1.0),  # nothing between the basis and adjust_to
        (20, 1.0),
        (30, 0.5),  # the split of day 30 is after the basis: taken out
        (10, 2.0),  # the split of day 12 is in the basis already: put back
        (12, 1.0),
    ],
)
def test_of_a_split_adjusted_archive_only_splits_after_its_basis_are_applied(
    to: int, price: float
) -> None:
    events = (Event(12, ratio=2), Event(30, ratio=2))
    found = split([5, 14], *events, basis=[20, 20], to=to)
    assert found.price.tolist() == [price, price]
    assert found.volume.tolist() == [1 / price, 1 / price]


def test_a_spin_off_by_amount_takes_its_worth_out_of_the_prices_before_and_no_volume() -> None:
    # P0 = 50 the day before, 10 distributed: the factor is 50 / (50 - 10) = 1.25.
    spin_off = Event(10, amount=10, in_kind=True, close_before=50, close=41)
    found = split([9, 10], spin_off)
    assert found.price.tolist() == [0.8, 1]
    assert found.volume.tolist() == [1, 1]


def test_a_spin_off_by_value_factor_divides_by_it() -> None:
    found = split([9, 10], Event(10, value_factor=1.25, in_kind=True))
    assert found.price.tolist() == [0.8, 1]
    assert found.volume.tolist() == [1, 1]


@pytest.mark.parametrize(
    "spin_off",
    [
        Event(10, amount=10, in_kind=True, close_before=50),
        Event(10, value_factor=1.25, in_kind=True),
    ],
)
def test_spin_offs_may_be_left_in(spin_off: Event) -> None:
    found = split([9, 11], spin_off, Event(11, ratio=2), spin_offs=False)
    assert found.price.tolist() == [0.5, 1]


@pytest.mark.parametrize("close_before", [10.0, 8.0, NONE])
def test_a_spin_off_worth_all_of_the_price_or_without_a_price_is_no_factor(
    close_before: float,
) -> None:
    found = split([9, 10], Event(10, amount=10, in_kind=True, close_before=close_before))
    assert found.price.tolist() == [1, 1]


def test_a_spin_off_on_the_day_of_a_split_is_counted_in_the_shares_of_that_day() -> None:
    # P0 = 100 before a 2:1 split is 50 after it; 10 distributed per new share: 50 / 40 = 1.25.
    events = (Event(10, ratio=2), Event(10, amount=10, in_kind=True, close_before=100))
    found = split([9, 10], *events)
    assert found.price == pytest.approx([1 / 2.5, 1])
    assert found.volume.tolist() == [2, 1]


def test_cash_dividends_are_no_part_of_split_adjusted_prices() -> None:
    assert split([9, 10], Event(10, amount=5, close=45)).price.tolist() == [1, 1]


def test_a_dividend_is_reinvested_at_the_close_of_its_ex_date() -> None:
    # 100 → 45 with a dividend of 5: growth (45 + 5) / 45, so 100 before is worth 90 now.
    found = total_return([9, 10], Event(10, amount=5, close=45))
    assert found.price == pytest.approx([0.9, 1])
    assert found.volume.tolist() == [1, 1]


def test_a_dividend_and_a_split_on_one_day_return_p_plus_d_times_s_over_p0() -> None:
    # P0 = 100, then 2:1, D = 1 per new share, P = 52: (52 + 1) * 2 / 100 = 1.06.
    events = (Event(10, ratio=2), Event(10, amount=1, close=52))
    found = total_return([9, 10], *events)
    before, after = 100 * found.price[0], 52 * found.price[1]
    assert after / before == pytest.approx(1.06)
    assert found.volume.tolist() == [2, 1]


def test_two_distributions_of_one_day_are_each_reinvested() -> None:
    events = (Event(10, amount=5, close=50), Event(10, value_factor=1.25, in_kind=True))
    assert total_return([9, 10], *events).price == pytest.approx([1 / (1.1 * 1.25), 1])


def test_a_dividend_without_a_close_is_left_out_rather_than_made_nan() -> None:
    assert total_return([9, 10], Event(10, amount=5)).price.tolist() == [1, 1]


def test_an_amount_told_in_later_shares_is_brought_to_those_of_its_ex_date() -> None:
    # A vendor adjusts 4 a share to 2 for the 2:1 split of day 20; on day 10 the close was 36.
    events = (Event(20, ratio=2), Event(10, amount=2, amount_basis=30, close=36))
    assert total_return([9, 10], *events, to=15).price == pytest.approx([0.9, 1])


def test_a_close_in_later_shares_is_brought_to_those_of_the_ex_date() -> None:
    # The archive's close of day 10 is 18 in shares of day 30: 36 as traded; 4 was paid.
    events = (Event(20, ratio=2), Event(10, amount=4, close=18, close_basis=30))
    found = total_return([9, 10], *events, basis=[30, 30], to=30)
    assert found.price == pytest.approx([0.9, 1])


def test_steps_before_the_first_are_one_and_hold_from_their_day_on() -> None:
    steps = Steps.of(
        np.array([2, 1, 1], dtype=np.int64),
        np.array([5, 7, 3], dtype=np.int64),
        np.array([10.0, 3.0, 2.0]),
    )
    asked = np.array([1, 1, 1, 1, 2, 2, 3], dtype=np.int64)
    on = np.array([2, 3, 6, 7, 4, 5, 9], dtype=np.int64)
    assert steps.upto(asked, on).tolist() == [1, 2, 2, 6, 1, 10, 1]


RATIOS = st.sampled_from([2.0, 3.0, 1.5, 0.5, 0.2, 7.0])
CENTS = st.integers(500, 50_000).map(lambda cents: cents / 100)


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[float], list[Event]]:
    """As-traded closes of days 0, 1, 2 … and the actions between them."""
    closes = draw(st.lists(CENTS, min_size=2, max_size=12))
    events = []
    for day in range(1, len(closes)):
        what = draw(st.sampled_from(["", "", "split", "dividend", "both"]))
        if what in ("split", "both"):
            events.append(Event(day, ratio=draw(RATIOS)))
        if what in ("dividend", "both"):
            amount = draw(st.integers(1, 400)) / 100
            events.append(Event(day, amount=amount, close=closes[day]))
    return closes, events


@given(histories())
def test_each_day_s_total_return_is_p_plus_d_times_s_over_p0(
    history: tuple[list[float], list[Event]],
) -> None:
    closes, events = history
    worth = closes * total_return(range(len(closes)), *events).price
    for day in range(1, len(closes)):
        today = [event for event in events if event.day == day]
        ratio = next((e.ratio for e in today if e.ratio == e.ratio), 1.0)
        amount = next((e.amount for e in today if e.amount == e.amount), 0.0)
        expected = (closes[day] + amount) * ratio / closes[day - 1] - 1
        assert worth[day] / worth[day - 1] - 1 == pytest.approx(expected, rel=1e-9, abs=1e-12)


@given(histories(), st.integers(0, 15))
def test_adjust_to_only_rescales_so_returns_do_not_depend_on_it(
    history: tuple[list[float], list[Event]], to: int
) -> None:
    closes, events = history
    days = range(len(closes))
    for factors in (split, total_return):
        latest = closes * factors(days, *events).price  # type: ignore[operator]
        other = closes * factors(days, *events, to=to).price  # type: ignore[operator]
        assert other[1:] / other[:-1] == pytest.approx(latest[1:] / latest[:-1])


@given(histories(), st.integers(0, 11))
def test_adjusting_to_a_session_itself_gives_its_price_as_traded(
    history: tuple[list[float], list[Event]], day: int
) -> None:
    closes, events = history
    assume(day < len(closes))
    for factors in (split, total_return):
        found = factors([day], *events, to=day)  # type: ignore[operator]
        assert closes[day] * found.price[0] == pytest.approx(closes[day])
        assert found.volume.tolist() == [1]


@given(histories(), st.integers(0, 15))
def test_an_archive_s_split_basis_does_not_change_what_is_read(
    history: tuple[list[float], list[Event]], basis: int
) -> None:
    """The same market told as traded, and in the shares of ``basis``, reads the same."""
    closes, events = history
    days = range(len(closes))
    only_splits = [event for event in events if event.ratio == event.ratio]
    told = closes * split(days, *only_splits, to=basis).price
    found = told * split(days, *only_splits, basis=[basis] * len(closes)).price
    assert found == pytest.approx(closes * split(days, *only_splits).price)
