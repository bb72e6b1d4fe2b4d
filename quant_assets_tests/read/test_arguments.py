"""What a read takes as an argument, and the sentence that refuses the rest."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from quant_assets.read.arguments import ArgumentError, day_of, days_of, listed_symbols
from quant_assets.read.market_frames import market
from quant_assets.read.membership_frames import universe, universe_changes, universe_conflicts
from quant_assets.read.price_frames import prices
from quant_assets_tests.conftest import NOW

MAY = dt.date(2024, 5, 31)


def now() -> dt.datetime:
    return NOW


@pytest.mark.parametrize("wrong", ["total-return", "Split", "", None, False, 0, ["split"]])
def test_adjust_is_one_of_its_choices_and_the_error_lists_them(wrong: object) -> None:
    with pytest.raises(ValueError, match="adjust is one of 'none', 'split', 'total_return'; got"):
        prices("AAPL", MAY, MAY, adjust=wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "wrong", "choices"),
    [
        ("shape", "pivot", "'tidy', 'wide'"),
        ("shape", None, "'tidy', 'wide'"),
        ("spin_offs", "no", "True, False"),
        ("spin_offs", 1, "True, False"),
        ("fields", None, "a list of open, high"),
        ("fields", [], "a list of open, high"),
    ],
)
def test_every_other_choice_is_one_too(name: str, wrong: object, choices: str) -> None:
    with pytest.raises(ArgumentError, match=f"{name} is .*{choices}"):
        prices("AAPL", MAY, MAY, **{name: wrong})  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="open_only is one of True, False; got 'yes'"):
        universe_conflicts(open_only="yes")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "day",
    [
        MAY,
        dt.datetime(2024, 5, 31, 15, 30),  # noqa: DTZ001 - a reader's own
        "2024-05-31",
        " 2024-05-31 ",
        "20240531",
        "2024-05-31T15:30:00+02:00",
        pd.Timestamp("2024-05-31 15:00", tz="America/New_York"),
        np.datetime64("2024-05-31"),
        np.datetime64("2024-05-31T23:59:59.999999999"),
    ],
)
def test_a_day_is_a_date_or_names_one(day: object) -> None:
    assert day_of("on", day, now) == MAY  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong",
    [
        *(20240531, 2024.0, None, True, "", "11/02/2026", "31.05.2024", "2024-05", "May 31, 2024"),
        *(pd.NaT, np.datetime64("NaT"), np.datetime64("NaT", "ns"), np.datetime64("2024-05")),
        *(pd.Period("2024-05-31"), [MAY]),
    ],
)
def test_anything_else_is_no_day(wrong: object) -> None:
    with pytest.raises(ValueError, match="start is a date, or a text such as '2024-05-31'; got"):
        days_of(wrong, MAY, now)  # type: ignore[arg-type]


def test_days_are_in_order_and_not_in_the_future() -> None:
    with pytest.raises(ArgumentError, match=r"^start=2024-05-31 is after end=2024-05-30\.$"):
        days_of("2024-05-31", "2024-05-30", now)
    with pytest.raises(
        ArgumentError, match=r"^end=2024-06-05 is in the future; today is 2024-06-03 in UTC\.$"
    ):
        days_of(MAY, "2024-06-05", now)


def test_a_day_that_has_begun_anywhere_is_not_in_the_future() -> None:
    assert day_of("on", "2024-06-04", now) == dt.date(2024, 6, 4)
    with pytest.raises(ArgumentError, match="future"):
        day_of("on", "2024-06-04", lambda: dt.datetime(2024, 6, 3, 9, 59, tzinfo=dt.UTC))


@pytest.mark.parametrize(
    ("read", "name"),
    [
        (lambda day: prices("AAPL", MAY, day, clock=now), "end"),
        (lambda day: prices("AAPL", MAY, MAY, adjust_to=day, clock=now), "adjust_to"),
        (lambda day: universe(on=day, clock=now), "on"),
        (lambda day: market(on=day, clock=now), "on"),
    ],
)
def test_every_read_refuses_a_day_to_come(read: Callable[[str], object], name: str) -> None:
    with pytest.raises(ArgumentError, match=f"^{name}=2024-12-31 is in the future"):
        read("2024-12-31")


@pytest.mark.parametrize("wrong", [True, 3.5, [None], [float("nan")], ["AAPL", False], b"AAPL"])
def test_a_symbol_is_a_ticker_or_an_id(wrong: object) -> None:
    with pytest.raises(ArgumentError, match="symbols are tickers or security ids, or None; got"):
        listed_symbols(wrong)
    assert listed_symbols({"AAPL": 1, 7: 2}) == ["AAPL", 7]
    assert listed_symbols(np.int64(7)) == [7]


def test_changes_may_be_asked_for_since_any_day_and_no_number(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="since is a date"):
        universe_changes(since=20240531, home=tmp_path)  # type: ignore[arg-type]
