"""What a source says again: noise, splits, dividends worked in, restatements."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quant_assets.contracts.prices import PRICE_COLUMNS
from quant_assets.price_rules.corporate_actions import InferredEvent
from quant_assets.price_rules.deliveries import fold
from quant_assets.price_rules.overlap import Overlap, compare
from quant_assets.price_rules.pairs import PRICES

JULY = [dt.date(2015, 7, day) for day in (9, 10, 13, 14, 15, 16, 17)]
NFLX = [
    (JULY[1], 682.66, 689.52, 678.30, 680.60, 3078800.0),
    (JULY[2], 686.69, 716.16, 686.55, 707.61, 4711700.0),
    (JULY[3], 708.90, 711.45, 697.57, 702.60, 2811200.0),
]
NFLX_SPLIT = [
    (JULY[1], 97.52, 98.50, 96.90, 97.23, 21551600.0),
    (JULY[2], 98.10, 102.31, 98.08, 101.09, 32981900.0),
    (JULY[3], 101.27, 101.64, 99.65, 100.37, 19678400.0),
    (JULY[4], 99.97, 100.75, 97.05, 98.13, 28070500.0),
]
"""The same bars in the shares of 2015-07-15, as a vendor without memory tells them."""

Bar = tuple[dt.date, float, float, float, float, float]


def bars(rows: Sequence[Bar], symbol: str = "NFLX", basis_on: dt.date | None = None) -> pa.Table:
    """Rows as a source tells them, as traded unless a basis is given."""
    numbers = dict(zip(("session", *PRICES, "volume"), zip(*rows, strict=True), strict=True))
    basis = [basis_on or row[0] for row in rows]
    same = {"symbol": [symbol] * len(rows), "currency": ["USD"] * len(rows)}
    return pa.table({**numbers, **same, "basis_on": basis}, schema=PRICE_COLUMNS)


def numbers(rows: pa.Table) -> list[Bar]:
    return [tuple(row[name] for name in ("session", *PRICES, "volume")) for row in rows.to_pylist()]  # type: ignore[misc]


def off(rows: Sequence[Bar], price: float = 1.0, volume: float = 1.0) -> list[Bar]:
    return [
        (day, o * price, h * price, low * price, c * price, v * volume)
        for day, o, h, low, c, v in rows
    ]


def nothing_happened(overlap: Overlap) -> bool:
    return (overlap.events, overlap.hold, dict(overlap.differences)) == ((), None, {})


# Noise


def test_rows_that_come_again_as_they_were_change_nothing() -> None:
    overlap = compare(bars(NFLX), bars(NFLX), reports_splits=True)
    assert nothing_happened(overlap)
    assert overlap.rows == bars(NFLX)


def test_noise_keeps_the_stored_values() -> None:
    told = off(NFLX, 1 + 9e-7, 1 + 2e-7)
    overlap = compare(bars(NFLX), bars(told), reports_splits=False)
    assert nothing_happened(overlap)
    assert overlap.rows == bars(NFLX)


def test_rows_of_other_sessions_only_are_told_as_they_stand() -> None:
    overlap = compare(bars(NFLX[:1]), bars(NFLX[1:]), reports_splits=True)
    assert nothing_happened(overlap)
    assert overlap.rows == bars(NFLX[1:])


# Splits


def test_a_split_that_no_one_reports_is_inferred_and_its_rows_stay_as_traded() -> None:
    overlap = compare(bars(NFLX), bars(NFLX_SPLIT), reports_splits=False)
    assert overlap.events == (InferredEvent(dt.date(2015, 7, 15), 7.0),)
    assert (overlap.hold, dict(overlap.differences)) == (None, {})
    assert numbers(overlap.rows) == [*NFLX, NFLX_SPLIT[3]]
    assert overlap.rows["basis_on"] == overlap.rows["session"]


def test_one_row_is_enough_where_all_its_prices_agree() -> None:
    overlap = compare(bars(NFLX[2:]), bars(NFLX_SPLIT[2:]), reports_splits=False)
    assert overlap.events == (InferredEvent(dt.date(2015, 7, 15), 7.0),)


def test_older_rows_that_come_along_are_brought_to_the_shares_of_their_day() -> None:
    overlap = compare(bars(NFLX[1:]), bars(NFLX_SPLIT), reports_splits=False)
    first = overlap.rows.to_pylist()[0]
    assert (first["close"], first["volume"]) == (pytest.approx(97.23 * 7), 21551600 / 7)
    assert first["basis_on"] == first["session"]


def test_a_split_that_a_source_should_have_reported_holds_the_symbol() -> None:
    overlap = compare(bars(NFLX), bars(NFLX_SPLIT), reports_splits=True)
    assert overlap.hold == (
        "The 3 sessions before 2015-07-15 that came again are off from the stored ones by "
        "the ratio of a split, 7:1 (close of 2015-07-14: stored 702.6, now 100.37); no such split "
        "is listed."
    )
    assert overlap.events == ()
    assert dict(overlap.differences) == dict.fromkeys(JULY[1:4], "split")
    assert numbers(overlap.rows) == NFLX_SPLIT


def test_a_split_that_is_listed_and_not_followed_holds_too() -> None:
    listed = [(dt.date(2015, 7, 15), 7.0)]
    overlap = compare(bars(NFLX), bars(NFLX_SPLIT), reports_splits=True, splits=listed)
    assert "a split of that ratio is listed on 2015-07-15, but these prices do not" in str(
        overlap.hold
    )


def test_a_reverse_split_is_inferred() -> None:
    # LEI, 2015-07-15: a price of 0.11 in the shares of before is 2.75 in those of after.
    held = [(JULY[2], 0.12, 0.14, 0.11, 0.13, 100000.0), (JULY[3], 0.11, 0.12, 0.10, 0.11, 10500.0)]
    told = [*off(held, 25, 0.04), (JULY[4], 2.70, 2.90, 2.60, 2.80, 6000.0)]
    overlap = compare(bars(held), bars(told), reports_splits=False)
    assert overlap.events == (InferredEvent(dt.date(2015, 7, 15), 0.04),)
    assert numbers(overlap.rows)[:2] == held


def test_a_split_on_record_is_not_inferred_again() -> None:
    known = [(dt.date(2015, 7, 15), 7.0)]
    stored = [*NFLX, NFLX_SPLIT[3]]
    overlap = compare(bars(stored), bars(NFLX_SPLIT), reports_splits=False, splits=known)
    assert nothing_happened(overlap)
    assert overlap.rows == bars(stored)


def test_a_second_split_is_told_from_the_first() -> None:
    known = [(dt.date(2015, 7, 15), 7.0)]
    stored = [*NFLX, NFLX_SPLIT[3]]
    told = [*off(NFLX_SPLIT, 0.5, 2.0), (JULY[5], 49.0, 50.0, 48.0, 49.5, 1e6)]
    overlap = compare(bars(stored), bars(told), reports_splits=False, splits=known)
    assert overlap.events == (InferredEvent(dt.date(2015, 7, 16), 2.0),)
    assert numbers(overlap.rows) == [*stored, told[-1]]


def test_a_split_whose_day_can_not_be_told_yet_waits_for_the_next_session() -> None:
    overlap = compare(bars(NFLX), bars(NFLX_SPLIT[:3]), reports_splits=False)
    assert nothing_happened(overlap)
    assert overlap.rows == bars(NFLX)


def test_a_volume_restated_at_the_same_time_as_a_split_is_a_restatement() -> None:
    told = [*NFLX_SPLIT[:2], (*NFLX_SPLIT[2][:5], 19736500.0), NFLX_SPLIT[3]]
    overlap = compare(bars(NFLX), bars(told), reports_splits=False)
    assert overlap.events == (InferredEvent(dt.date(2015, 7, 15), 7.0),)
    assert dict(overlap.differences) == {dt.date(2015, 7, 14): "restatement"}
    assert numbers(overlap.rows)[2] == (*NFLX[2][:5], 19736500 / 7)


def test_a_price_corrected_at_the_same_time_hides_no_split() -> None:
    first = dt.date(2015, 1, 1)
    held = [(first + dt.timedelta(n), 50.0 + n, 52.0 + n, 49.0, 51.0 + n, 1e6) for n in range(20)]
    told = [*off(held[:-1], 0.5, 2.0), held[-1]]
    told[7] = (*told[7][:4], 29.5, told[7][5])
    overlap = compare(bars(held), bars(told), reports_splits=False)
    assert overlap.events == (InferredEvent(held[-1][0], 2.0),)
    assert dict(overlap.differences) == {held[7][0]: "restatement"}
    assert numbers(overlap.rows) == [*held[:7], (*held[7][:4], 59.0, 1e6), *held[8:]]


def test_a_later_edition_of_an_archive_in_other_shares_is_compared_by_the_splits_between() -> None:
    first, later = dt.date(2015, 7, 14), dt.date(2015, 7, 16)
    known = [(dt.date(2015, 7, 15), 7.0)]
    held, told = bars(NFLX, basis_on=first), bars(NFLX_SPLIT, basis_on=later)
    overlap = compare(held, told, reports_splits=True, splits=known)
    assert nothing_happened(overlap)
    assert numbers(overlap.rows) == [*NFLX, NFLX_SPLIT[3]]
    assert overlap.rows["basis_on"].to_pylist() == [first] * 3 + [later]


# Dividends


@pytest.mark.parametrize("factor", [1 - 4.80 / 707.61, 702.60 / (702.60 + 4.80)])
def test_prices_into_which_a_dividend_was_worked_are_held_back(factor: float) -> None:
    told = [*off(NFLX[:2], factor), NFLX[2]]
    dividends = [(dt.date(2015, 7, 14), 4.80), (dt.date(2015, 4, 14), 4.80)]
    overlap = compare(bars(NFLX), bars(told), reports_splits=True, dividends=dividends)
    assert str(overlap.hold).startswith(
        "The prices before 2015-07-14 came again lowered by the dividend of 4.8 of that day "
        "(close of 2015-07-13: stored 707.61, now 702.8"
    )
    assert dict(overlap.differences) == dict.fromkeys(JULY[1:3], "dividend")


def test_prices_that_ignore_a_dividend_are_as_traded() -> None:
    dividends = [(dt.date(2015, 7, 14), 4.80)]
    overlap = compare(bars(NFLX), bars(NFLX), reports_splits=True, dividends=dividends)
    assert nothing_happened(overlap)


# Restatements


def test_a_volume_of_the_next_morning_is_a_restatement() -> None:
    told = [NFLX[0], (*NFLX[1][:5], 4711900.0), NFLX[2]]
    overlap = compare(bars(NFLX), bars(told), reports_splits=True)
    assert dict(overlap.differences) == {dt.date(2015, 7, 13): "restatement"}
    assert numbers(overlap.rows) == told


@pytest.mark.parametrize(
    ("symbol", "stored", "told", "same"),
    [
        ("AAA", 1000.0, 1001.0, True),  # a share, more or less
        ("AAA", 1000.0, 1000.4, True),  # a whole number was kept of it
        ("AAA", 1000.0, 1000.6, False),
        ("AAA", 0.35, 0.9, False),
        ("AAA", 0.0, 0.35, False),
        ("AAA", 6321508.0, 6321507.562155, True),
        ("BTC-USD", 0.35, 0.9, False),
        ("BTC-USD", 13.0, 12.75, False),
        ("BTC-USD", 1.0, 2.0, False),
        ("BTC-USD", 12.75, 12.750001, True),
    ],
)
def test_a_share_is_noise_and_a_coin_is_not(
    symbol: str, stored: float, told: float, *, same: bool
) -> None:
    day = (JULY[3], 10.0, 10.0, 10.0, 10.0)
    for reports_splits in (True, False):
        overlap = compare(
            bars([(*day, stored)], symbol),
            bars([(*day, told)], symbol),
            reports_splits=reports_splits,
        )
        assert nothing_happened(overlap) is same
        assert numbers(overlap.rows)[0][-1] == (stored if same else told)
    folded = fold([bars([(*day, stored)], symbol), bars([(*day, told)], symbol)], {})
    assert folded.rows["volume"].to_pylist() == [stored if same else told]


def test_a_price_that_is_another_is_unexplained() -> None:
    # CSB, 2015-07-14: a bar without volume was replaced the next day.
    held = [(JULY[3], 10.10, 10.10, 10.10, 10.10, 0.0)]
    told = [(JULY[3], 310.01, 327.23, 310.01, 318.80, 44000.0)]
    overlap = compare(bars(held, "CSB"), bars(told, "CSB"), reports_splits=True)
    assert (overlap.events, overlap.hold) == ((), None)
    assert dict(overlap.differences) == {dt.date(2015, 7, 14): "unexplained"}
    assert numbers(overlap.rows) == told


def test_a_price_of_cents_says_nothing_about_a_ratio() -> None:
    # CUI, 2015-07-15: 4.71 / 0.015 is 314, and so is anything between 236 and 471.
    held = [(JULY[4], 0.015, 0.015, 0.015, 0.015, 0.0)]
    told = [(JULY[4], 4.77, 4.82, 4.70, 4.71, 60700.0), (JULY[5], 4.7, 4.9, 4.6, 4.8, 60000.0)]
    overlap = compare(bars(held, "CUI"), bars(told, "CUI"), reports_splits=False)
    assert overlap.events == ()
    assert dict(overlap.differences) == {dt.date(2015, 7, 15): "unexplained"}


def test_a_row_or_two_corrected_by_a_tenth_are_no_stock_dividend() -> None:
    held = [(JULY[0], 10, 10, 10, 10, 500.0), (JULY[1], 10, 10, 10, 10, 500.0)]
    told = [(day, 11, 11, 11, 11, 500.0) for day in JULY[:2]]
    for reports in (True, False):
        overlap = compare(bars(held), bars(told), reports_splits=reports)
        assert (overlap.hold, overlap.events) == (None, ())
        assert set(overlap.differences.values()) == {"restatement"}


def rising(count: int = 20) -> list[Bar]:
    return [
        (dt.date(2015, 7, 1) + dt.timedelta(day), p, p + 1, p - 1, p + 0.25, 1000.0)
        for day, p in enumerate(np.linspace(40, 55, count).round(2).tolist())
    ]


def lowered(rows: Sequence[Bar], factor: float) -> list[Bar]:
    """Rows as a vendor tells them once their past was multiplied by a factor."""
    return [(row[0], *(round(p * factor, 6) for p in row[1:5]), row[5]) for row in rows]


@pytest.mark.parametrize("factor", [0.4183, 0.75, 0.79, 0.84034, 0.94])
def test_a_past_lowered_by_one_factor_is_a_spin_off_and_stays_as_traded(factor: float) -> None:
    held = rising()
    told = [*lowered(held[:15], factor), *held[15:]]
    overlap = compare(bars(held), bars(told), reports_splits=True)
    [event] = overlap.events
    assert (event.ex_date, event.spin_off) == (held[15][0], True)
    assert event.factor == pytest.approx(1 / factor, rel=1e-7)
    assert (overlap.hold, dict(overlap.differences)) == (None, {})
    assert numbers(overlap.rows) == held


def test_older_rows_of_such_an_answer_are_told_as_traded_too() -> None:
    held = rising()
    told = [*lowered(held[:15], 0.4183), *held[15:]]
    overlap = compare(bars(held[3:]), bars(told), reports_splits=True)
    assert numbers(overlap.rows) == held


def test_a_past_divided_as_a_split_with_its_volumes_is_held_back() -> None:
    held = rising()
    told = [*off(held[:15], 0.75, 4 / 3), *held[15:]]
    overlap = compare(bars(held), bars(told), reports_splits=True)
    assert "by the ratio of a split, 4:3" in str(overlap.hold)


@pytest.mark.parametrize("factor", [1.0323, 1.19])
def test_a_past_raised_by_one_factor_holds_the_symbol(factor: float) -> None:
    """119:100 is no split's ratio, and no spin-off raises what was before it."""
    held = rising()
    for count in (15, 5, 1):
        told = [*lowered(held[:count], factor), *held[count:]]
        overlap = compare(bars(held), bars(told), reports_splits=True)
        assert overlap.hold is not None
        many = (
            f"The {count} sessions up to {held[count - 1][0]} came again multiplied by {factor:.6g}"
        )
        assert many in overlap.hold
        assert "no event that is listed explains it" in overlap.hold
        assert len(overlap.differences) == count


def test_a_few_rows_lowered_by_one_factor_hold_the_symbol() -> None:
    held = rising()
    overlap = compare(bars(held), bars([*lowered(held[:4], 0.94), *held[4:]]), reports_splits=True)
    assert "came again multiplied by 0.94" in str(overlap.hold)
    assert overlap.events == ()


def test_rows_that_all_came_again_by_one_factor_hold_the_symbol_where_older_ones_do_not() -> None:
    held = rising(3)
    told = bars(lowered(held, 0.94))
    assert compare(bars(held), told, reports_splits=True).hold is None
    assert compare(bars(held), told, reports_splits=True, whole=False).hold is not None


def test_a_delivery_that_lowers_the_day_before_shows_a_spin_off() -> None:
    held = rising(4)
    told = [*lowered(held[2:3], 0.4183), held[3]]
    overlap = compare(bars(held[:3]), bars(told), reports_splits=False)
    [event] = overlap.events
    assert (event.ex_date, event.spin_off) == (held[3][0], True)
    assert event.factor == pytest.approx(1 / 0.4183, rel=1e-6)
    assert numbers(overlap.rows) == held[2:]


@pytest.mark.parametrize("counts", [(2, 5), (2, 3), (10, 15)])
def test_a_past_multiplied_by_several_factors_holds_the_symbol(counts: tuple[int, int]) -> None:
    """Each of the rows was disputed, and stored when it came once more, in a basis of its own."""
    held, (some, more) = rising(), counts
    told = [*lowered(held[:some], 19.1), *lowered(held[some:more], 19.23), *held[more:]]
    overlap = compare(bars(held), bars(told), reports_splits=True, whole=False)
    assert "came again multiplied by" in str(overlap.hold)
    assert (overlap.events, len(overlap.differences)) == ((), more)


# One row among others


def test_a_bar_a_hundred_times_as_large_is_disputed_and_its_correction_is_not() -> None:
    held = rising(6)
    wrong = [*held[:3], *off(held[3:4], 100.0), *held[4:]]
    overlap = compare(bars(held), bars(wrong), reports_splits=True)
    assert overlap.disputed == {held[3][0]}
    assert dict(overlap.differences) == {held[3][0]: "unexplained"}
    back = compare(bars(wrong), bars(held), reports_splits=True)
    assert back.disputed == frozenset()
    assert numbers(back.rows) == held


# Deliveries in a basis that nothing explains


def test_a_delivery_that_tells_the_past_by_several_factors_is_left_out() -> None:
    held = rising(14)
    told = [*lowered(held[:6], 1.3193), *lowered(held[6:12], 1.1071), *held[12:]]
    folded = fold([bars(held[:13]), bars(told)], {})
    assert numbers(folded.rows) == held[:13]
    assert folded.events == {"NFLX": ()}
    assert set(folded.rejected["symbol"].to_pylist()) == {"NFLX"}
    assert folded.rejected.num_rows == 14
    assert "multiplied by several factors" in folded.rejected["reason"][0].as_py()


# A split of a later day


def test_a_delivery_that_restates_an_evening_early_shows_one_split() -> None:
    """1:5 on JULY[4]; the file of JULY[3] has the day before in new shares, and its own in old."""
    days = [
        [(JULY[1], 0.50, 0.52, 0.49, 0.50, 5000.0), (JULY[2], 0.51, 0.52, 0.50, 0.51, 5000.0)],
        [(JULY[2], 2.55, 2.60, 2.50, 2.55, 1000.0), (JULY[3], 0.55, 0.56, 0.54, 0.55, 5000.0)],
        [(JULY[3], 2.75, 2.80, 2.70, 2.75, 1000.0), (JULY[4], 2.80, 2.85, 2.75, 2.80, 1000.0)],
    ]
    folded = fold([bars(rows) for rows in days], {})
    assert folded.events == {"NFLX": (InferredEvent(JULY[4], 0.2),)}
    assert [row[4] for row in numbers(folded.rows)] == [0.50, 0.51, 0.55, 2.80]


# Properties

RATIOS = [2, 3, 4, 5, 7, 10, 20, 50, 1.5, 4 / 3, 1.25, 1.2, 1.1, 1.05]


@st.composite
def series(draw: st.DrawFn) -> list[Bar]:
    """Bars of 30 to 60 sessions in cents, at prices whose cents still tell a ratio of 50.

    Half a cent of 2.50 is 0.2 %, which of a ratio of 50 is what ``CLEAR`` allows.
    """
    count = draw(st.integers(30, 60))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    walk = np.exp(np.cumsum(random.normal(0, 0.02, count)))
    close = draw(st.floats(130, 1000)) * walk / walk.min()
    opened = close * np.exp(random.normal(0, 0.01, count))
    low, high = np.minimum(opened, close) * 0.99, np.maximum(opened, close) * 1.01
    prices = np.round(np.column_stack([opened, high, low, close]), 2)
    first = dt.date(2015, 1, 1)
    return [
        (first + dt.timedelta(row), *(float(p) for p in prices[row]), float(1000 * (row + 100)))  # type: ignore[misc]
        for row in range(count)
    ]


@given(series(), st.integers(0, 2**32 - 1), st.booleans())
def test_noise_within_rounding_changes_nothing(rows: list[Bar], seed: int, reports: bool) -> None:
    random = np.random.default_rng(seed)
    told = [off([row], 1 + random.uniform(-9e-7, 9e-7), 1)[0] for row in rows]
    overlap = compare(bars(rows), bars(told), reports_splits=reports)
    assert nothing_happened(overlap)
    assert overlap.rows == bars(rows)


@given(series(), st.data(), st.sampled_from(RATIOS), st.booleans(), st.booleans())
def test_a_split_of_any_plain_ratio_at_any_day_is_found(
    rows: list[Bar], data: st.DataObject, ratio: float, reverse: bool, reports: bool
) -> None:
    # A stock dividend takes several rows to be told from a correction.
    count = data.draw(st.integers(1 if ratio >= 1.25 else 3, len(rows) - 1))
    factor = ratio if reverse else 1 / ratio
    before = [tuple(np.round(row[1:5], 2)) for row in off(rows[:count], factor)]
    told = [
        (row[0], *(float(p) for p in prices), row[5] / factor)
        for row, prices in zip(rows, before, strict=False)
    ] + rows[count:]
    overlap = compare(bars(rows), bars(told), reports_splits=reports)
    if reports:
        assert overlap.hold is not None
        assert set(overlap.differences) == {row[0] for row in rows[:count]}
    else:
        assert [(s.ex_date, s.factor) for s in overlap.events] == [
            (rows[count][0], pytest.approx(1 / factor))
        ]
        assert overlap.rows == bars(rows)
        assert dict(overlap.differences) == {}


@given(series(), st.data(), st.booleans())
def test_restating_some_rows_gives_as_many_differences_and_nothing_else(
    rows: list[Bar], data: st.DataObject, reports: bool
) -> None:
    chosen = data.draw(st.sets(st.integers(0, len(rows) - 1), max_size=6))
    random = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    told = list(rows)
    for row in chosen:
        moved = random.choice([-1, 1], 4) * random.uniform(0.01, 0.19, 4)
        prices = (p * (1 + by) for p, by in zip(rows[row][1:5], moved, strict=True))
        told[row] = (rows[row][0], *prices, rows[row][5])  # type: ignore[assignment]
    overlap = compare(bars(rows), bars(told), reports_splits=reports)
    assert (overlap.events, overlap.hold) == ((), None)
    assert dict(overlap.differences) == {rows[row][0]: "restatement" for row in chosen}
    assert overlap.rows == bars(told)


@given(series(), st.randoms(use_true_random=False), st.sampled_from(RATIOS))
def test_the_order_of_rows_does_not_matter(rows: list[Bar], random: object, ratio: float) -> None:
    told = [*off(rows[:-1], 1 / ratio, ratio), rows[-1]]
    mixed = told.copy()
    random.shuffle(mixed)  # type: ignore[attr-defined]
    straight = compare(bars(rows), bars(told), reports_splits=False)
    assert compare(bars(rows[::-1]), bars(mixed), reports_splits=False) == straight


# Deliveries


def test_deliveries_are_folded_as_if_loaded_day_by_day() -> None:
    steady = [(day, 10.0, 11.0, 9.0, 10.5, 1000.0) for day in JULY[1:5]]
    first = pa.concat_tables([bars(steady[:3], "AAA"), bars(NFLX)])
    second = pa.concat_tables(
        [bars([(*steady[2][:5], 1200.0), steady[3]], "AAA"), bars(NFLX_SPLIT[2:])]
    )
    third = bars([(*NFLX_SPLIT[3][:5], 30898600.0)])
    folded = fold([first, second, third], {})
    assert folded.events == {"NFLX": (InferredEvent(dt.date(2015, 7, 15), 7.0),)}
    expected = [
        *steady[:2],
        (*steady[2][:5], 1200.0),
        steady[3],
        *NFLX,
        (*NFLX_SPLIT[3][:5], 30898600.0),
    ]
    assert numbers(folded.rows) == expected
    assert folded.rows["symbol"].to_pylist() == ["AAA"] * 4 + ["NFLX"] * 4


def test_one_delivery_is_itself() -> None:
    assert fold([bars(NFLX)], {}).rows == bars(NFLX)
