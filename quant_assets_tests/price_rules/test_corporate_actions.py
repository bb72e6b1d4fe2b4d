"""From a vendor's numbers to records with a kind: by rule, by decision, from an adjusted close."""

from __future__ import annotations

import datetime as dt
import math
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quant_assets.contracts.prices import ACTION_COLUMNS
from quant_assets.price_rules.corporate_actions import Reported, plain_ratio, records
from quant_assets.price_rules.decisions import DecisionError, Decisions, read_decisions
from quant_assets.price_rules.vendor_numbers import distributions_from_adjusted_close

DAY = dt.date(2017, 1, 4)
HEADER = "symbol,ex_date,kind,made_from,repeats,ratio,amount,note\n"
NOTHING = {"ratio": None, "amount": None, "value_factor": None}


def reported(
    ratio: float | None = None, amount: float | None = None, symbol: str = "HLT"
) -> Reported:
    return Reported(symbol, DAY, ratio, amount, basis_on=DAY)


def decisions(folder: Path, *lines: str) -> Decisions:
    path = folder / "kinds.csv"
    path.write_text(HEADER + "\n".join(lines), "utf-8")
    return read_decisions(path)


def told(numbers: Reported, decided: Decisions | None = None) -> list[dict[str, object]]:
    """What each record says happened: its kind, its effect, and what was reported."""
    wanted = ("kind", *NOTHING, "reported_ratio", "reported_amount", "kind_by")
    return [
        {name: record[name] for name in wanted if record[name] is not None}
        for record in records([numbers], decided or {})
    ]


@pytest.mark.parametrize(
    ("number", "plain"),
    [
        (7.000007, 7.0),
        (2.0, 2.0),
        (1.499999, 1.5),
        (0.333333, 1 / 3),
        (0.05, 0.05),
        (1.05, 1.05),
        (50.0, 50.0),
        (1.487, None),
        (0.955, None),
        (1.00275, None),
        (1.2301, None),
        (0.0, None),
        (-2.0, None),
        (math.nan, None),
        (math.inf, None),
        (-math.inf, None),
    ],
)
def test_a_ratio_is_plain_if_it_is_a_small_fraction(number: float, plain: float | None) -> None:
    found = plain_ratio(number)
    assert found == (plain if plain is None else pytest.approx(plain, rel=1e-12))


@given(st.integers(1, 100), st.integers(1, 20), st.floats(-4e-6, 4e-6))
def test_a_vendors_rounding_does_not_hide_a_plain_ratio(new: int, old: int, noise: float) -> None:
    assert plain_ratio(new / old * (1 + noise)) == pytest.approx(new / old, rel=1e-12)


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        (reported(ratio=7.000007), [{"kind": "split", "ratio": 7.0, "reported_ratio": 7.000007}]),
        (reported(ratio=0.125), [{"kind": "split", "ratio": 0.125, "reported_ratio": 0.125}]),
        (reported(ratio=1.25), [{"kind": "split", "ratio": 1.25, "reported_ratio": 1.25}]),
        (reported(ratio=1.2), [{"kind": "stock_dividend", "ratio": 1.2, "reported_ratio": 1.2}]),
        (reported(ratio=1.05), [{"kind": "stock_dividend", "ratio": 1.05, "reported_ratio": 1.05}]),
        (
            reported(ratio=1.487),
            [{"kind": "spin_off", "value_factor": 1.487, "reported_ratio": 1.487}],
        ),
        (
            reported(amount=0.24),
            [{"kind": "cash_dividend", "amount": 0.24, "reported_amount": 0.24}],
        ),
        (
            reported(ratio=4.0, amount=0.82),
            [
                {"kind": "split", "ratio": 4.0, "reported_ratio": 4.0},
                {"kind": "cash_dividend", "amount": 0.82, "reported_amount": 0.82},
            ],
        ),
        (reported(), []),
    ],
)
def test_without_a_decision_the_rule_names_the_kind(
    numbers: Reported, expected: list[dict[str, object]]
) -> None:
    assert told(numbers) == [{**record, "kind_by": "rule"} for record in expected]


BOTH = {"reported_ratio": 4.0, "reported_amount": 3.0}


@pytest.mark.parametrize(
    ("lines", "numbers", "expected"),
    [
        pytest.param(
            ["HLT,2017-01-04,vendor_error,dividend,,,,duplicate"],
            reported(amount=0.5),
            [{"kind": "vendor_error", "reported_amount": 0.5}],
            id="an event that did not happen keeps the number and has no effect",
        ),
        pytest.param(
            ["HLT,2017-01-04,vendor_error,split,,,,no split"],
            reported(ratio=2.0, amount=0.5),
            [
                {"kind": "vendor_error", "reported_ratio": 2.0},
                {"kind": "cash_dividend", "amount": 0.5, "reported_amount": 0.5, "kind_by": "rule"},
            ],
            id="the other number of the day is left to the rule",
        ),
        pytest.param(
            ["HLT,2017-01-04,special_dividend,dividend,,,,special"],
            reported(amount=16.5),
            [{"kind": "special_dividend", "amount": 16.5, "reported_amount": 16.5}],
            id="a special dividend",
        ),
        pytest.param(
            ["HLT,2017-01-04,split,split,dividend,,,the dividend is the new shares"],
            reported(ratio=4.0, amount=3.0),
            [{"kind": "split", "ratio": 4.0, **BOTH}],
            id="a dividend that repeats the split",
        ),
        pytest.param(
            ["HLT,2017-01-04,spin_off,dividend,split,,,the factor is the same event"],
            reported(ratio=4.0, amount=3.0),
            [{"kind": "spin_off", "amount": 3.0, **BOTH}],
            id="a factor that repeats the spin-off",
        ),
        pytest.param(
            [
                "HLT,2017-01-04,split,split,,,,reverse split",
                "HLT,2017-01-04,spin_off,dividend,,,,two",
            ],
            reported(ratio=0.333333, amount=24.48),
            [
                {"kind": "split", "ratio": 1 / 3, "reported_ratio": 0.333333},
                {"kind": "spin_off", "amount": 24.48, "reported_amount": 24.48},
            ],
            id="two events of one day",
        ),
        pytest.param(
            ["HLT,2017-01-04,spin_off,split,,,,value factor"],
            reported(ratio=1.5),
            [{"kind": "spin_off", "value_factor": 1.5, "reported_ratio": 1.5}],
            id="a plain factor that is a spin-off all the same",
        ),
        pytest.param(
            ["HLT,2017-01-04,spin_off,split,,1.695,,the vendor's factor is wrong"],
            reported(ratio=1.589),
            [{"kind": "spin_off", "value_factor": 1.695, "reported_ratio": 1.589}],
            id="a ratio that corrects the vendor's",
        ),
        pytest.param(
            ["HLT,2017-01-04,spin_off,none,,1.4175,,missing from the vendor"],
            reported(),
            [{"kind": "spin_off", "value_factor": 1.4175}],
            id="a spin-off the vendor leaves out",
        ),
        pytest.param(
            ["HLT,2017-01-04,merger_terms,none,,0.5,,missing from the vendor"],
            reported(),
            [{"kind": "merger_terms", "ratio": 0.5}],
            id="a merger ratio the vendor leaves out",
        ),
        pytest.param(
            ["HLT,2017-01-04,special_dividend,dividend,,,14.1,the vendor left a digit out"],
            reported(amount=1.41),
            [{"kind": "special_dividend", "amount": 14.1, "reported_amount": 1.41}],
            id="an amount that corrects the vendor's",
        ),
        pytest.param(
            ["HLT,2017-01-04,cash_dividend,none,,,0.4,missing from the vendor"],
            reported(),
            [{"kind": "cash_dividend", "amount": 0.4}],
            id="a dividend the vendor leaves out",
        ),
        pytest.param(
            ["HLT,2017-01-04,merger_terms,split,,,,share consolidation"],
            reported(ratio=0.955),
            [{"kind": "merger_terms", "ratio": 0.955, "reported_ratio": 0.955}],
            id="an odd factor that is a share ratio",
        ),
        pytest.param(
            ["HLT,2017-01-04,stock_dividend,none,dividend,2,,a doubling booked as cash"],
            reported(amount=39.78),
            [{"kind": "stock_dividend", "ratio": 2.0, "reported_amount": 39.78}],
            id="a doubling that the vendor books as a dividend",
        ),
    ],
)
def test_a_decision_says_what_the_numbers_stand_for(
    tmp_path: Path, lines: list[str], numbers: Reported, expected: list[dict[str, object]]
) -> None:
    assert told(numbers, decisions(tmp_path, *lines)) == [
        {"kind_by": "kinds.csv", **record} for record in expected
    ]


def test_a_decision_concerns_its_own_symbol_and_day_only(tmp_path: Path) -> None:
    decided = decisions(tmp_path, "HLT,2017-01-04,vendor_error,dividend,,,,duplicate")
    assert [record["kind"] for record in told(reported(amount=0.5, symbol="MAR"), decided)] == [
        "cash_dividend"
    ]


def test_a_record_has_the_columns_of_the_contract(tmp_path: Path) -> None:
    decided = decisions(tmp_path, "HLT,2017-01-04,spin_off,dividend,,,,Park Hotels")
    numbers = Reported("HLT", DAY, 0.333333, 24.48, dt.date(2024, 3, 9), "EUR")
    rows = records([numbers], decided)
    assert pa.Table.from_pylist(rows, schema=ACTION_COLUMNS).to_pylist() == rows
    assert [row["note"] for row in rows] == ["Park Hotels", None]
    for row in rows:
        assert (row["symbol"], row["ex_date"], row["currency"], row["basis_on"]) == (
            "HLT",
            DAY,
            "EUR",
            dt.date(2024, 3, 9),
        )


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (
            "HLT,2017-01-04,spinoff,dividend,,,,x",
            "'spinoff' is no kind; the kinds are split, stock_",
        ),
        ("HLT,2017-01-04,spin_off,cash,,,,x", "made_from is split, dividend or none."),
        ("HLT,2017-01-04,spin_off,,,,,x", "made_from is split, dividend or none."),
        ("HLT,2017-01-04,spin_off,dividend,both,,,x", "repeats is split, dividend or empty."),
        (
            "HLT,2017-01-04,spin_off,none,,,,x",
            "a record made from none needs a ratio or an amount.",
        ),
        ("HLT,04.01.2017,spin_off,dividend,,,,x", "Invalid isoformat string: '04.01.2017'"),
        ("HLT,2017-01-04,spin_off,split,,a lot,,x", "could not convert string to float: 'a lot'"),
        ("HLT,2017-01-04", "None is no kind"),
        ("HLT,2017-01-04,split,none,,0,,x", "ratio"),
        ("HLT,2017-01-04,split,none,,-2,,x", "ratio"),
        ("HLT,2017-01-04,split,none,,nan,,x", "ratio"),
        ("HLT,2017-01-04,split,none,,inf,,x", "ratio"),
        ("HLT,2017-01-04,cash_dividend,none,,,0,x", "amount"),
        ("HLT,2017-01-04,cash_dividend,none,,,-2,x", "amount"),
        ("HLT,2017-01-04,cash_dividend,none,,,nan,x", "amount"),
        ("ADP,2014-10-01,spin_off,split,,,,x", "ADP has a second spin_off on 2014-10-01"),
    ],
)
def test_a_decision_that_can_not_be_followed_names_file_and_line(
    tmp_path: Path, line: str, complaint: str
) -> None:
    good = "ADP,2014-10-01,spin_off,dividend,,,,CDK Global spun off"
    with pytest.raises(DecisionError) as refused:
        decisions(tmp_path, good, line)
    assert str(refused.value).startswith(f"{tmp_path / 'kinds.csv'}, line 3: ")
    assert complaint in str(refused.value)


def test_a_file_without_a_column_names_it(tmp_path: Path) -> None:
    path = tmp_path / "kinds.csv"
    path.write_text("symbol,day\nHLT,2017-01-04\n", "utf-8")
    with pytest.raises(DecisionError, match=r"kinds.csv, line 2: .*ex_date"):
        read_decisions(path)


def test_a_file_saved_by_a_spreadsheet_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    path = tmp_path / "kinds.csv"
    path.write_text(HEADER + "HLT,2017-01-04,vendor_error,dividend,,,,x\n", "utf-8-sig")
    assert list(read_decisions(path)) == [("HLT", DAY)]


def test_only_symbol_day_kind_and_origin_are_required(tmp_path: Path) -> None:
    path = tmp_path / "kinds.csv"
    path.write_text("symbol,ex_date,kind,made_from\nbrk-b,2017-01-04,spin_off,dividend\n", "utf-8")
    [(key, [decision])] = read_decisions(path).items()
    assert key == ("BRK.B", DAY)
    assert (decision.repeats, decision.ratio, decision.amount, decision.note) == (
        "",
        None,
        None,
        "",
    )


def test_a_decision_on_a_number_that_is_not_reported_makes_no_record(tmp_path: Path) -> None:
    decided = decisions(tmp_path, "HLT,2017-01-04,spin_off,dividend,,,,Park Hotels")
    assert told(reported(ratio=1 / 3), decided) == [
        {"kind": "split", "ratio": 1 / 3, "reported_ratio": 1 / 3, "kind_by": "rule"}
    ]


def test_an_illegible_decision_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "kinds.csv").write_bytes(
        (HEADER + "HLT,2017-01-04,split,split,,,,é").encode("latin-1")
    )
    with pytest.raises(DecisionError, match=r"kinds\.csv"):
        read_decisions(tmp_path / "kinds.csv")


def test_the_kinds_file_of_the_examples_can_be_followed() -> None:
    path = Path(__file__).parents[2] / "examples" / "alphavantage_action_kinds.csv"
    assert sum(len(decided) for decided in read_decisions(path).values()) == 197


def adjusted(closes: list[float], paid: dict[int, float], convention: str) -> list[float]:
    """The adjusted close a vendor would publish: each payout lowers everything before it."""
    factors = [1.0] * len(closes)
    for at, amount in paid.items():
        if convention == "previous_close":
            step = 1 - amount / closes[at - 1]
        else:
            step = closes[at] / (closes[at] + amount)
        for before in range(at):
            factors[before] *= step
    return [close * factor for close, factor in zip(closes, factors, strict=True)]


def found(
    closes: list[float], published: list[float], convention: str
) -> list[tuple[str, int, float]]:
    first = dt.date(2024, 5, 1)
    table = distributions_from_adjusted_close(
        pa.table(
            {
                "symbol": ["KLAC"] * len(closes),
                "session": [first + dt.timedelta(days=n) for n in range(len(closes))],
                "close": closes,
                "adjusted_close": published,
            }
        ),
        convention,
    )
    return [(r["symbol"], (r["ex_date"] - first).days, r["amount"]) for r in table.to_pylist()]


@pytest.mark.parametrize("convention", ["previous_close", "ex_close"])
@given(
    closes=st.lists(st.floats(1, 1000), min_size=2, max_size=8),
    data=st.data(),
)
def test_distributions_come_back_out_of_an_adjusted_close(
    convention: str, closes: list[float], data: st.DataObject
) -> None:
    days = data.draw(st.sets(st.integers(1, len(closes) - 1)))
    base = {"previous_close": -1, "ex_close": 0}[convention]
    paid = {day: closes[day + base] * data.draw(st.floats(0.001, 0.5)) for day in sorted(days)}
    back = found(closes, adjusted(closes, paid, convention), convention)
    assert [(symbol, day) for symbol, day, _ in back] == [("KLAC", day) for day in paid]
    assert [amount for _, _, amount in back] == pytest.approx(list(paid.values()), rel=1e-6)


def test_the_special_dividend_of_klac_is_read_in_each_convention() -> None:
    # docs/data-quality.md, section 2: both archives around 2014-11-26, the amount is 16.50.
    assert found([84.18, 67.335], [57.599168, 57.363106], "ex_close") == [
        ("KLAC", 1, pytest.approx(16.5, abs=0.001))
    ]
    assert found([84.18, 67.33], [55.607319, 55.319748], "previous_close") == [
        ("KLAC", 1, pytest.approx(16.5, abs=0.02))
    ]


def test_rounding_noise_is_no_distribution() -> None:
    assert found([100.0, 101.0, 102.0], [99.999, 100.999, 102.0], "previous_close") == []


def test_the_step_from_one_symbol_to_the_next_is_no_distribution() -> None:
    table = pa.table(
        {
            "symbol": ["A", "B"],
            "session": [dt.date(2024, 5, 1), dt.date(2024, 5, 2)],
            "close": [100.0, 100.0],
            "adjusted_close": [50.0, 100.0],
        }
    )
    assert distributions_from_adjusted_close(table, "previous_close").num_rows == 0


@pytest.mark.parametrize("hole", [0.0, math.nan, math.inf, None])
def test_a_close_that_can_not_be_used_makes_no_distribution(hole: float | None) -> None:
    table = pa.table(
        {
            "symbol": ["A"] * 3,
            "session": [dt.date(2024, 5, n) for n in (1, 2, 3)],
            "close": pa.array([100.0, hole, 100.0], pa.float64()),
            "adjusted_close": [99.0, 99.0, 100.0],
        }
    )
    assert distributions_from_adjusted_close(table, "ex_close").num_rows == 0
