"""Row rules: each with a bad row beside a good one, and all against a plain statement."""

from __future__ import annotations

import datetime as dt
import json
import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quant_assets.contracts.prices import ACTION_COLUMNS, PRICE_COLUMNS
from quant_assets.price_rules.row_rules import check_actions, check_prices
from quant_assets.reference.calendars import Calendar, exchange_calendar
from quant_assets.schema.row_rules import REJECTED, Checked
from quant_assets_tests.conftest import examples

XNYS = exchange_calendar("XNYS")
FRIDAY = dt.date(2024, 5, 31)
"""The last session that has closed."""
MAY_AND_JUNE = XNYS.between(dt.date(2024, 5, 1), dt.date(2024, 6, 28))
SHORT = Calendar("XNYS", MAY_AND_JUNE, XNYS.closes_at[: len(MAY_AND_JUNE)])
"""The same market over two months: an answer is checked ten times as fast."""
NAN, INF = math.nan, math.inf

Row = dict[str, object]
GOOD: Row = {
    "symbol": "AAPL",
    "session": FRIDAY,
    "open": 191.44,
    "high": 192.57,
    "low": 189.91,
    "close": 192.25,
    "volume": 75158300.0,
    "basis_on": FRIDAY,
    "currency": "USD",
}


def row(**changes: object) -> Row:
    return {**GOOD, **changes}


def check(*rows: Row, calendar: Calendar = XNYS) -> Checked:
    return check_prices(pa.Table.from_pylist([*rows], schema=PRICE_COLUMNS), calendar, FRIDAY)


def reasons(*rows: Row) -> list[str]:
    return [rejected["reason"] for rejected in check(*rows).rejected.to_pylist()]


BAD = [
    ({"open": None}, "open is missing"),
    ({"high": None}, "high is missing"),
    ({"low": None}, "low is missing"),
    ({"close": None}, "close is missing"),
    ({"volume": None}, "volume is missing"),
    ({"session": None}, "session is missing"),
    ({"symbol": None}, "symbol is missing"),
    ({"currency": None}, "currency is missing"),
    ({"currency": "XXX"}, "currency is none of tables.CURRENCIES"),
    ({"basis_on": None}, "basis_on is missing"),
    ({"close": NAN}, "close is missing"),
    ({"volume": NAN}, "volume is missing"),
    ({"high": INF}, "high is not finite"),
    ({"high": -INF}, "high is not finite"),
    ({"open": INF, "high": INF, "low": INF, "close": INF}, "open is not finite"),
    ({"volume": INF}, "volume is not finite"),
    ({"low": 0.0}, "low is not positive"),
    ({"open": 0.0}, "open is not positive"),
    ({"close": -192.25}, "close is not positive"),
    ({"low": -0.01}, "low is not positive"),
    ({"volume": -1.0}, "volume is negative"),
    ({"low": 193.0, "open": 193.0, "close": 193.0}, "low is above high"),
    ({"open": 189.90}, "open is below low"),
    ({"open": 192.58}, "open is above high"),
    ({"close": 189.90}, "close is below low"),
    ({"close": 192.58}, "close is above high"),
    ({"session": dt.date(2024, 6, 1)}, "the session has not closed (last: 2024-05-31)"),
    ({"session": dt.date(2024, 6, 3)}, "the session has not closed (last: 2024-05-31)"),
    ({"session": dt.date(2199, 1, 2)}, "the session has not closed (last: 2024-05-31)"),
    ({"session": dt.date(2024, 5, 25)}, "XNYS had no session that day"),
    ({"session": dt.date(2024, 5, 27)}, "XNYS had no session that day"),
    ({"session": dt.date(2001, 9, 11)}, "XNYS had no session that day"),
    ({"session": dt.date(1900, 1, 2)}, "XNYS had no session that day"),
]


@pytest.mark.parametrize(("changes", "reason"), BAD)
def test_a_bad_row_is_rejected_with_its_reason_and_its_neighbours_are_kept(
    changes: Row, reason: str
) -> None:
    thursday = row(session=dt.date(2024, 5, 30))
    bad = row(**changes)
    checked = check(thursday, bad, row(symbol="MSFT"))
    assert checked.accepted.to_pylist() == [thursday, row(symbol="MSFT")]
    assert checked.accepted.schema == PRICE_COLUMNS
    [rejected] = checked.rejected.to_pylist()
    assert rejected["reason"] == reason
    assert rejected["symbol"] == (bad["symbol"] or "")
    assert rejected["session"] == str(bad["session"] or "")


def test_a_volume_too_large_for_the_warehouse_is_rejected() -> None:
    # The column is a 64-bit integer; unrejected, the row costs its whole answer.
    assert reasons(row(volume=1e19), row(symbol="MSFT", volume=9e15)) != []


def test_the_rejected_row_is_kept_as_the_source_sent_it() -> None:
    [rejected] = check(row(close=-1.0)).rejected.to_pylist()
    assert json.loads(rejected["raw"]) == {
        "symbol": "AAPL",
        "session": "2024-05-31",
        "open": 191.44,
        "high": 192.57,
        "low": 189.91,
        "close": -1.0,
        "volume": 75158300.0,
        "basis_on": "2024-05-31",
        "currency": "USD",
    }


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"volume": 0.0},
        {"open": 189.91, "close": 192.57},
        {"open": 5.0, "high": 5.0, "low": 5.0, "close": 5.0},
        {"session": dt.date(1996, 1, 2), "basis_on": dt.date(1996, 1, 2)},
        {"basis_on": dt.date(2026, 1, 2)},
        {"open": 1e-4, "high": 2e-4, "low": 1e-4, "close": 2e-4},
        {"open": 6e5, "high": 6e5, "low": 6e5, "close": 6e5},
    ],
)
def test_an_unusual_row_within_the_rules_is_accepted(changes: Row) -> None:
    assert check(row(**changes)).accepted.to_pylist() == [row(**changes)]


def test_the_rounding_noise_of_32_bit_floats_is_accepted() -> None:
    def single(value: float) -> float:
        return float(np.float32(value))

    # The close of a day that ends at its high, in two precisions.
    noisy = row(high=192.57, close=single(192.57), low=189.91, open=single(189.91))
    assert noisy["close"] != noisy["high"]
    assert reasons(noisy) == []
    assert reasons(row(high=192.57, close=192.57 + 0.005)) == ["close is above high"]


def test_of_identical_rows_one_is_kept() -> None:
    checked = check(row(), row(symbol="MSFT"), row(), row())
    assert checked.accepted.to_pylist() == [row(), row(symbol="MSFT")]
    assert checked.rejected.num_rows == 0
    assert checked.repeated == 2


def test_rows_that_contradict_each_other_are_all_rejected() -> None:
    checked = check(row(), row(close=191.0), row(), row(symbol="MSFT"))
    assert checked.accepted.to_pylist() == [row(symbol="MSFT")]
    assert [r["reason"] for r in checked.rejected.to_pylist()] == [
        "another row of the same symbol and session differs"
    ] * 3
    assert checked.repeated == 0


def test_a_bad_twin_does_not_cost_the_good_one_its_place() -> None:
    checked = check(row(close=NAN), row())
    assert checked.accepted.to_pylist() == [row()]
    assert [r["reason"] for r in checked.rejected.to_pylist()] == ["close is missing"]


def test_no_rows_are_no_verdicts() -> None:
    checked = check()
    assert checked.accepted.schema == PRICE_COLUMNS
    assert checked.rejected.schema == REJECTED
    assert (checked.accepted.num_rows, checked.rejected.num_rows, checked.repeated) == (0, 0, 0)


def test_the_columns_of_rejected_rows_are_the_same_with_and_without_any() -> None:
    assert check(row()).rejected.schema == check(row(close=0.0)).rejected.schema == REJECTED


def is_good(candidate: Row) -> bool:
    """Requirement Q1 in plain words, without a look at the code."""
    if not candidate["symbol"] or candidate["basis_on"] is None:
        return False
    if candidate["currency"] not in ("USD", "EUR"):
        return False
    prices = [candidate[name] for name in ("open", "high", "low", "close")]
    numbers = [*prices, candidate["volume"]]
    if any(number is None or not math.isfinite(number) for number in numbers):  # type: ignore[arg-type]
        return False
    opened, high, low, close, volume = numbers
    day = candidate["session"]
    return (
        min(opened, high, low, close) > 0  # type: ignore[type-var,operator]
        and volume >= 0  # type: ignore[operator]
        and low <= min(opened, close)  # type: ignore[operator,type-var]
        and max(opened, close) <= high  # type: ignore[operator,type-var]
        and isinstance(day, dt.date)
        and day <= FRIDAY
        and day in MAY_AND_JUNE
    )


# Steps of a quarter: no two prices differ by as little as rounding noise.
price = st.sampled_from(
    [None, NAN, INF, -INF, 0.0, -0.0, -5.0, 9.75, 10.0, 10.25, 10.5, 10.75, 11.0, 1e12]
) | st.integers(36, 48).map(lambda n: n / 4)
volumes = st.sampled_from([None, NAN, INF, -INF, -1.0, 0.0, -0.0, 1.0, 1e9])
DAYS_TRIED = ("05-30", "05-25", "05-27", "06-03")
FIELDS: dict[str, st.SearchStrategy[object]] = {
    "symbol": st.sampled_from(["MSFT", "", None]),
    "session": st.sampled_from(
        # missing, a session, a Saturday, a holiday, and one that has not closed
        [None, *(dt.date.fromisoformat(f"2024-{day}") for day in DAYS_TRIED)]
    )
    | st.dates(dt.date(2024, 5, 1), dt.date(2024, 6, 10)),
    "open": price,
    "high": price,
    "low": price,
    "close": price,
    "volume": volumes,
    "basis_on": st.none() | st.just(FRIDAY),
    "currency": st.sampled_from(["EUR", "usd", "XXX", None]),
}


@st.composite
def rows(draw: st.DrawFn) -> Row:
    """A row whose prices are in order, with none, one or two fields drawn anew: a rule that another
    broken one stands in for would never be missed.
    """
    low, opened, close, high = sorted(draw(st.lists(st.integers(36, 48), min_size=4, max_size=4)))
    if draw(st.integers(0, 9)) == 0:
        low = opened = 0  # both, else the one that is positive hides the other
    day = draw(st.sampled_from(MAY_AND_JUNE[:22]))
    prices = {"open": opened / 4, "high": high / 4, "low": low / 4, "close": close / 4}
    perhaps = st.sampled_from(["", *sorted(FIELDS)])
    changed = {draw(perhaps), draw(perhaps)} - {""}
    return row(session=day, **prices) | {name: draw(FIELDS[name]) for name in sorted(changed)}


@examples(250)
@given(rows())
def test_a_row_is_accepted_if_and_only_if_it_keeps_the_rules(candidate: Row) -> None:
    """Property 19: price validation. Caught: a price of zero accepted; a close above its high; a
    day without a session; a row without a currency.
    """
    checked = check(candidate, calendar=SHORT)
    assert checked.accepted.num_rows == is_good(candidate)
    assert checked.rejected.num_rows == (not is_good(candidate))


@given(st.lists(rows(), max_size=12))
def test_invalid_rows_are_set_aside_with_a_reason_and_every_valid_one_is_kept(
    candidates: list[Row],
) -> None:
    """Property 20: invalid rows are skipped, with the row kept as it came; each bears a symbol of
    its own, so none is another's twin. Caught: a good row lost beside a bad one; a bad one lost
    without a reason.

    That a load logs them is in ``test_any_answer``.
    """
    named = [{**one, "symbol": f"S{number}"} for number, one in enumerate(candidates)]
    checked = check(*named, calendar=SHORT)
    assert checked.accepted.to_pylist() == [one for one in named if is_good(one)]
    rejected = checked.rejected.to_pylist()
    assert [one["symbol"] for one in rejected] == [o["symbol"] for o in named if not is_good(o)]
    assert all(
        one["reason"] and json.loads(one["raw"])["symbol"] == one["symbol"] for one in rejected
    )


DIVIDEND: Row = {
    **dict.fromkeys(ACTION_COLUMNS.names),
    "symbol": "AAPL",
    "ex_date": FRIDAY,
    "kind": "cash_dividend",
    "amount": 0.25,
    "currency": "USD",
    "basis_on": FRIDAY,
    "reported_amount": 0.25,
    "kind_by": "rule",
}
SPLIT: Row = {**DIVIDEND, "kind": "split", "amount": None, "ratio": 4.0, "reported_amount": None}


def checked_actions(*actions: Row) -> Checked:
    return check_actions(pa.Table.from_pylist([*actions], schema=ACTION_COLUMNS))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        *(({"amount": amount}, "amount is not finite") for amount in (NAN, INF, -INF)),
        *(({"amount": amount}, "amount is not positive") for amount in (0.0, -2.0)),
        ({"ratio": NAN}, "ratio is not finite"),
        ({"ratio": 0.0}, "ratio is not positive"),
        ({"value_factor": INF}, "value_factor is not finite"),
        ({"symbol": None}, "symbol is missing"),
        ({"ex_date": None}, "ex_date is missing"),
        ({"basis_on": None}, "basis_on is missing"),
        ({"currency": None}, "currency is missing"),
        ({"currency": "XXX"}, "currency is none of tables.CURRENCIES"),
        ({"kind": "spinoff"}, "kind is none of tables.ACTION_KINDS"),
        ({"amount": None}, "none of ratio, amount, value_factor is given"),
    ],
)
def test_an_impossible_action_is_rejected_and_its_neighbours_are_kept(
    changes: Row, reason: str
) -> None:
    bad = {**DIVIDEND, **changes}
    checked = checked_actions(SPLIT, bad)
    assert checked.accepted.to_pylist() == [SPLIT]
    assert checked.rejected.schema == REJECTED
    [rejected] = checked.rejected.to_pylist()
    assert rejected["reason"] == reason
    assert (rejected["symbol"], rejected["session"]) == (
        bad["symbol"] or "",
        str(bad["ex_date"] or ""),
    )


def test_a_vendor_error_needs_no_effect() -> None:
    error = {**DIVIDEND, "kind": "vendor_error", "amount": None}
    assert checked_actions(error).accepted.to_pylist() == [error]


def test_records_of_one_symbol_day_and_kind_become_one() -> None:
    special = {**DIVIDEND, "amount": 1.0, "reported_amount": 1.0, "note": "year's end"}
    checked = checked_actions(DIVIDEND, SPLIT, special, {**SPLIT, "ratio": 2.0})
    assert checked.accepted.to_pylist() == [
        {**DIVIDEND, "amount": 1.25, "reported_amount": 1.25, "note": "year's end"},
        {**SPLIT, "ratio": 8.0},
    ]
    assert checked.accepted.schema == ACTION_COLUMNS
    assert (checked.rejected.num_rows, checked.repeated) == (0, 2)


def test_amounts_in_different_currencies_are_not_added() -> None:
    checked = checked_actions(DIVIDEND, {**DIVIDEND, "currency": "EUR"}, SPLIT)
    assert checked.accepted.to_pylist() == [SPLIT]
    assert [row["reason"] for row in checked.rejected.to_pylist()] == [
        "another record of the same symbol, day and kind is in other terms"
    ] * 2
