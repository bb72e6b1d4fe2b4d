"""Yahoo's charts read: bytes to rows, actions, confirmed gaps and failures. No network."""

from __future__ import annotations

import copy
import datetime as dt
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quant_assets.contracts.prices import Instrument, PriceAnswer
from quant_assets.contracts.source import (
    BadAnswer,
    MissingAtSource,
    RateLimited,
    Request,
    SourceError,
    UnknownSymbolAtSource,
)
from quant_assets.price_rules.row_rules import check_actions, check_prices
from quant_assets.reference.calendars import Calendar, exchange_calendar
from quant_assets.sources.yahoo.answer import answer_for
from quant_assets.sources.yahoo.chart import read_body, read_chart, yahoo_symbol
from quant_assets.sources.yahoo.shares import ROUNDING_ERROR, as_traded, factors
from quant_assets_tests.standins.yahoo_listings import recorded

XNYS, DAILY = exchange_calendar("XNYS"), exchange_calendar("24/7")
NEW_YORK = ZoneInfo("America/New_York")
MONDAY, TUESDAY, WEDNESDAY, THURSDAY, FRIDAY = (dt.date(2024, 6, day) for day in range(3, 8))
EVENING = dt.datetime(2024, 6, 7, 22, 0, tzinfo=dt.UTC)
"""Friday after the close."""

Bar = tuple[object, object, object, object, object]
FLAT: Bar = (10.0, 10.5, 9.5, 10.0, 1000)


def seconds(day: dt.date, hour: int = 9, minute: int = 30) -> int:
    return int(dt.datetime(day.year, day.month, day.day, hour, minute, tzinfo=NEW_YORK).timestamp())


def single(number: object) -> object:
    """As Yahoo has it: a 32-bit number, written out as 64 bits."""
    return float(np.float32(number)) if isinstance(number, float) else number


def told(
    *bars: tuple[dt.date | int, Bar],
    splits: Sequence[tuple[dt.date, float, float]] = (),
    dividends: Sequence[tuple[dt.date, float]] = (),
    gains: Sequence[tuple[dt.date, float]] = (),
    **meta: object,
) -> dict[str, Any]:
    """A chart as Yahoo writes it; bars by day (at the open in New York) or by moment."""
    at = [seconds(when) if isinstance(when, dt.date) else when for when, _ in bars]
    columns = list(zip(*(bar for _, bar in bars), strict=True)) or [()] * 5
    names = ("open", "high", "low", "close", "volume")
    return {
        "meta": {
            "currency": "USD",
            "symbol": "AAA",
            "exchangeName": "NYQ",
            "instrumentType": "EQUITY",
            "firstTradeDate": seconds(dt.date(2000, 1, 3)),
            "regularMarketTime": seconds(FRIDAY, 16, 0),
            "gmtoffset": -14400,
            "exchangeTimezoneName": "America/New_York",
            "longName": "Aaa Inc.",
            "dataGranularity": "1d",
        }
        | meta,
        "timestamp": at,
        "events": {
            "splits": {
                str(seconds(day)): {"date": seconds(day), "numerator": n, "denominator": d}
                for day, n, d in splits
            },
            "dividends": {
                str(seconds(day)): {"date": seconds(day), "amount": amount}
                for day, amount in dividends
            },
            "capitalGains": {
                str(seconds(day)): {"date": seconds(day), "amount": amount} for day, amount in gains
            },
        },
        "indicators": {
            "quote": [
                {
                    name: list(map(single, column))
                    for name, column in zip(names, columns, strict=True)
                }
            ]
        },
    }


def wrapped(result: object) -> dict[str, Any]:
    return {"chart": {"result": [result], "error": None}}


def refused(code: str, description: str) -> dict[str, Any]:
    return {"chart": {"result": None, "error": {"code": code, "description": description}}}


def answer(
    result: dict[str, Any],
    start: dt.date = MONDAY,
    end: dt.date = FRIDAY,
    now: dt.datetime = EVENING,
    calendar: Calendar = XNYS,
) -> PriceAnswer:
    return answer_for(read_chart("AAA", wrapped(result)), Request("AAA", start, end), calendar, now)


def rows(given: PriceAnswer) -> list[tuple[object, ...]]:
    """Session, open, high, low, close, volume."""
    columns = ["session", "open", "high", "low", "close", "volume"]
    return [tuple(row.values()) for row in given.rows.select(columns).to_pylist()]


def empties(given: PriceAnswer) -> dict[dt.date, str]:
    return dict(
        zip(given.empty["session"].to_pylist(), given.empty["reason"].to_pylist(), strict=True)
    )


def missing(given: PriceAnswer) -> tuple[dt.date, ...]:
    failure = given.failures["AAA"]
    assert isinstance(failure, MissingAtSource)
    return failure.sessions


# Splits undone.


def test_a_split_is_undone_before_its_ex_date_and_not_from_it_on() -> None:
    given = answer(
        told(
            (MONDAY, (126.0125, 126.4425, 124.5775, 124.8075, 187629916)),
            (TUESDAY, (127.58, 131.0, 126.0, 129.04, 225702700)),
            splits=[(TUESDAY, 4, 1)],
        ),
        end=TUESDAY,
    )
    assert rows(given) == [
        (MONDAY, 504.05, 505.77, 498.31, 499.23, 46907479.0),
        (TUESDAY, 127.58, 131.0, 126.0, 129.04, 225702700.0),
    ]
    assert given.rows["basis_on"].to_pylist() == [MONDAY, TUESDAY]
    assert given.rows["currency"].to_pylist() == ["USD", "USD"]


def test_every_later_split_is_undone_odd_and_reverse_ones_too() -> None:
    given = answer(
        told(
            (MONDAY, (10.0, 10.0, 10.0, 10.0, 1200)),
            (TUESDAY, (10.0, 10.0, 10.0, 10.0, 1200)),
            (WEDNESDAY, (10.0, 10.0, 10.0, 10.0, 1200)),
            splits=[(TUESDAY, 1, 8), (WEDNESDAY, 1281, 1000), (dt.date(2030, 1, 2), 100, 1)],
        ),
        end=WEDNESDAY,
    )
    closes = given.rows.select(["close", "volume"]).to_pydict()
    assert closes == {"close": [1.60125, 12.81, 10.0], "volume": [7494.0, 937.0, 1200.0]}
    kinds = given.actions.select(["ex_date", "kind", "ratio", "value_factor"]).to_pylist()
    assert [tuple(row.values()) for row in kinds] == [
        (TUESDAY, "split", 0.125, None),
        (WEDNESDAY, "spin_off", None, 1.281),
    ]


def test_a_split_told_as_a_text_or_twice_counts_once() -> None:
    result = told((MONDAY, FLAT), (TUESDAY, FLAT))
    result["events"] = {
        "splits": {
            str(seconds(TUESDAY)): {"date": None, "splitRatio": "3:2"},
            str(seconds(TUESDAY, 0, 0)): {"numerator": 3, "denominator": 2},
        }
    }
    given = answer(result, end=TUESDAY)
    assert given.rows["close"].to_pylist() == [15.0, 10.0]
    assert given.actions["ratio"].to_pylist() == [1.5]


RATIOS = st.sampled_from([2, 3, 4, 5, 7, 10, 15, 20, 1.5, 1.25, 1.1, 1.281, 0.5, 0.2, 0.1, 0.05])


@given(
    cents=st.lists(st.integers(1, 2_000_000), min_size=1, max_size=20),
    ratios=st.lists(RATIOS, max_size=5),
)
def test_cents_come_back_exactly_from_any_list_of_splits(
    cents: list[int], ratios: list[float]
) -> None:
    """From one cent to 20,000 dollars; 32 bits hold two decimals up to 83,886."""
    traded = np.array(cents) / 100
    factor = np.full(len(cents), math.prod(ratios))
    assert as_traded((traded / factor).astype(np.float32).astype(float), factor).tolist() == [
        cent / 100 for cent in cents
    ]


@pytest.mark.parametrize(("traded", "ratio"), [(23.89, 15), (17.46, 15), (645.57, 28), (0.07, 3)])
def test_cents_come_back_though_yahoo_rounds_what_it_adjusts_to_six_decimals(
    traded: float, ratio: float
) -> None:
    told = np.array([float(np.float32(round(traded / ratio, 6)))])
    restored = as_traded(told, np.array([float(ratio)]), ROUNDING_ERROR)
    assert restored.tolist() == [traded]


@given(
    cents=st.integers(1, 2_000_000), ratios=st.lists(RATIOS, min_size=1, max_size=3, unique=True)
)
def test_cents_come_back_exactly_though_rounded_at_every_split(
    cents: int, ratios: list[float]
) -> None:
    price = np.float32(cents / 100)
    for ratio in ratios:
        price = np.float32(float(price) / ratio)
    restored = as_traded(np.array([float(price)]), np.array([math.prod(ratios)]))
    assert restored.tolist() == [cents / 100]


@pytest.mark.parametrize(
    ("price", "restored"),
    [
        (0.0034000000450760126, 0.0034),
        (0.00012345000868663192, 0.00012345001),
        (97.00499725341797, 97.005),
        (612345.6875, 612345.69),
        (math.inf, math.inf),
        (-1.0, -1.0),
        (0.0, 0.0),
    ],
)
def test_a_number_that_is_no_short_decimal_keeps_what_32_bits_hold(
    price: float, restored: float
) -> None:
    assert as_traded(np.array([price]), np.array([1.0])).tolist() == [restored]


def test_a_factor_counts_the_splits_after_a_day() -> None:
    days = np.array(["2024-06-03", "2024-06-04", "2024-06-05"], dtype="datetime64[D]")
    assert factors(days, {WEDNESDAY: 3.0, TUESDAY: 2.0}).tolist() == [6.0, 3.0, 1.0]
    assert factors(days, {}).tolist() == [1.0, 1.0, 1.0]


def test_prices_that_do_not_show_a_listed_split_are_set_aside() -> None:
    result = told(
        (MONDAY, (40.0, 40.0, 40.0, 40.0, 100)),
        (TUESDAY, (10.0, 10.0, 10.0, 10.0, 400)),
        splits=[(TUESDAY, 4, 1)],
        dividends=[(MONDAY, 0.4), (TUESDAY, 0.1)],
    )
    given = answer(result, end=TUESDAY)
    assert rows(given) == [(TUESDAY, 10.0, 10.0, 10.0, 10.0, 400.0)]
    aside = given.unreadable.select(["session", "reason"]).to_pylist()
    why = "its share basis is unknown: the split of 2024-06-04 is listed, not seen"
    assert [tuple(row.values()) for row in aside] == [("2024-06-03", why)] * 2
    assert given.actions["kind"].to_pylist() == ["split", "cash_dividend"]
    assert given.failures == {}


def test_a_split_that_takes_effect_today_has_no_bar_yet_and_is_undone() -> None:
    before_the_open = dt.datetime(2024, 6, 4, 12, 0, tzinfo=dt.UTC)
    result = told((MONDAY, FLAT), splits=[(TUESDAY, 2, 1)])
    given = answer(result, end=MONDAY, now=before_the_open)
    assert given.rows["close"].to_pylist() == [20.0]
    assert given.actions["ex_date"].to_pylist() == [TUESDAY]
    assert (
        answer(result, end=MONDAY, now=before_the_open - dt.timedelta(days=1))
        .rows["close"]
        .to_pylist()
        == []
    )


def test_a_split_without_a_ratio_fails_the_symbol() -> None:
    result = told((MONDAY, FLAT), splits=[(TUESDAY, 4, 0)])
    with pytest.raises(BadAnswer, match="lists a split of AAA that can't be read"):
        read_chart("AAA", wrapped(result))


# Dividends.


def test_dividends_are_per_share_of_their_ex_date() -> None:
    result = told(
        (MONDAY, FLAT),
        splits=[(WEDNESDAY, 4, 1), (THURSDAY, 7, 1)],
        dividends=[(MONDAY, 0.094643), (WEDNESDAY, 0.117143), (FRIDAY, 0.25)],
        gains=[(MONDAY, 0.01)],
    )
    given = answer(result, end=MONDAY).actions.to_pylist()
    shown = [
        (row["ex_date"], row["kind"], row["ratio"], row["amount"], row["reported_amount"])
        for row in given
    ]
    assert shown == [
        (WEDNESDAY, "split", 4.0, None, None),
        (THURSDAY, "split", 7.0, None, None),
        (MONDAY, "capital_gain", None, 0.28, 0.01),
        (MONDAY, "cash_dividend", None, 2.65, 0.094643),
        (WEDNESDAY, "cash_dividend", None, 0.82, 0.117143),
        (FRIDAY, "cash_dividend", None, 0.25, 0.25),
    ]
    assert {row["basis_on"] for row in given} == {MONDAY, WEDNESDAY, THURSDAY, FRIDAY}


def test_dividends_of_one_day_add_up_and_one_told_twice_counts_once() -> None:
    result = told((MONDAY, FLAT))
    result["events"] = {
        "dividends": {
            str(seconds(MONDAY, 9, minute)): {"date": seconds(MONDAY, 9, minute), "amount": amount}
            for minute, amount in ((30, 0.5), (31, 1.5), (32, 0.5), (33, 0))
        }
    }
    assert answer(result, end=MONDAY).actions["amount"].to_pylist() == [2.0]


@pytest.mark.parametrize(
    ("named", "kept"),
    [("JPY", "JPY"), ("GBp", "GBX"), ("USD", "USD"), (None, "USD"), ("", "USD")],
)
def test_a_dividend_keeps_a_currency_of_its_own(named: str | None, kept: str) -> None:
    result = told((MONDAY, FLAT), dividends=[(MONDAY, 50.0)])
    result["events"]["dividends"][str(seconds(MONDAY))]["currency"] = named
    given = answer(result, end=MONDAY)
    assert given.actions.select(["amount", "currency"]).to_pylist() == [
        {"amount": 50.0, "currency": kept}
    ]
    assert given.rows["currency"].to_pylist() == ["USD"]


@pytest.mark.parametrize("named", ["XYZ", "usd", 5, ["USD"], {}, True, "\ud800"])
def test_a_dividend_in_an_unknown_currency_is_set_aside_and_the_prices_stay(named: object) -> None:
    result = told((MONDAY, FLAT), dividends=[(MONDAY, 50.0), (TUESDAY, 0.5)])
    result["events"]["dividends"][str(seconds(MONDAY))]["currency"] = named
    given = answer(result, end=TUESDAY)
    checked = check_actions(given.actions)
    assert checked.accepted["amount"].to_pylist() == [0.5]
    assert checked.rejected["session"].to_pylist() == [str(MONDAY)]
    assert checked.rejected["reason"].to_pylist() == ["currency is none of tables.CURRENCIES"]
    shown = json.loads(checked.rejected["raw"][0].as_py())["currency"]
    assert shown == str(named).replace("\ud800", "\\ud800")
    assert given.rows.num_rows == 1


def test_a_dividend_listed_with_and_without_the_currency_of_the_prices_counts_once() -> None:
    result = told((MONDAY, FLAT), dividends=[(MONDAY, 0.5)])
    again = {"date": seconds(MONDAY), "amount": 0.5, "currency": "USD"}
    result["events"]["dividends"]["1"] = again
    assert answer(result, end=MONDAY).actions["amount"].to_pylist() == [0.5]


@pytest.mark.parametrize("amount", [None, -1, math.nan, "much"])
def test_an_impossible_dividend_is_set_aside(amount: object) -> None:
    result = told((MONDAY, FLAT), dividends=[(MONDAY, 0.5)])
    result["events"]["dividends"][str(seconds(MONDAY))]["amount"] = amount
    given = answer(result, end=MONDAY)
    assert given.actions.num_rows == 0
    assert given.unreadable["session"].to_pylist() == ["2024-06-03"]
    assert given.unreadable["reason"].to_pylist() == ["a payment without a day or an amount"]


# Bars that are not simply there.


def test_the_live_bar_is_dropped() -> None:
    noon = dt.datetime(2024, 6, 4, 16, 0, tzinfo=dt.UTC)
    live = seconds(TUESDAY, 12, 0)
    given = answer(told((MONDAY, FLAT), (live, FLAT), regularMarketTime=live), now=noon)
    assert [row[0] for row in rows(given)] == [MONDAY]
    assert given.failures == {}


def test_the_live_twin_of_the_last_bar_replaces_it_once_the_day_is_over() -> None:
    later: Bar = (10.0, 10.5, 9.5, 10.25, 1100)
    given = answer(
        told((MONDAY, FLAT), (TUESDAY, FLAT), (seconds(TUESDAY, 16, 0), later)), end=TUESDAY
    )
    assert rows(given)[1:] == [(TUESDAY, 10.0, 10.5, 9.5, 10.25, 1100.0)]


def test_a_bar_told_twice_counts_once() -> None:
    given = answer(told((TUESDAY, FLAT), (MONDAY, FLAT), (MONDAY, FLAT), (WEDNESDAY, FLAT)))
    assert [row[0] for row in rows(given)] == [MONDAY, TUESDAY, WEDNESDAY]


def test_bars_that_contradict_each_other_are_both_told_and_rejected() -> None:
    other: Bar = (10.0, 10.5, 9.5, 10.25, 1100)
    given = answer(told((MONDAY, FLAT), (MONDAY, other), (TUESDAY, FLAT)), end=TUESDAY)
    checked = check_prices(given.rows, XNYS, FRIDAY)
    assert checked.rejected["session"].to_pylist() == ["2024-06-03", "2024-06-03"]
    assert checked.accepted["session"].to_pylist() == [TUESDAY]


def test_null_prices_beside_a_volume_end_in_quarantine_and_shift_no_other() -> None:
    void: Bar = (None, None, None, None, 5000)
    given = answer(told((MONDAY, FLAT), (TUESDAY, void), (WEDNESDAY, FLAT)), end=WEDNESDAY)
    assert rows(given) == [
        (MONDAY, 10.0, 10.5, 9.5, 10.0, 1000.0),
        (TUESDAY, None, None, None, None, 5000.0),
        (WEDNESDAY, 10.0, 10.5, 9.5, 10.0, 1000.0),
    ]
    checked = check_prices(given.rows, XNYS, FRIDAY)
    assert checked.rejected["reason"].to_pylist() == ["open is missing"]
    assert given.failures == {}


@pytest.mark.parametrize("volume", [None, 0])
def test_a_blank_bar_is_a_missing_session(volume: int | None) -> None:
    void: Bar = (None, None, None, None, volume)
    given = answer(told((MONDAY, FLAT), (TUESDAY, void), (WEDNESDAY, FLAT)), end=WEDNESDAY)
    assert [row[0] for row in rows(given)] == [MONDAY, WEDNESDAY]
    assert missing(given) == (TUESDAY,)


def test_a_bar_of_which_no_number_can_be_read_is_no_blank_bar() -> None:
    later = dt.datetime(2024, 6, 12, 22, 0, tzinfo=dt.UTC)
    text: Bar = ("12x", "12x", "12x", "12x", "12x")
    result = told((MONDAY, FLAT), (TUESDAY, text), regularMarketTime=seconds(MONDAY, 16, 0))
    given = answer(result, end=TUESDAY, now=later)
    assert (empties(given), given.failures) == ({}, {})
    assert check_prices(given.rows, XNYS, FRIDAY).rejected["session"].to_pylist() == [str(TUESDAY)]


def test_a_missing_volume_stays_missing() -> None:
    given = answer(told((MONDAY, (10.0, 10.5, 9.5, 10.0, None))), end=MONDAY)
    assert rows(given) == [(MONDAY, 10.0, 10.5, 9.5, 10.0, None)]


def test_a_bar_on_a_day_without_a_session_is_told_for_quality_to_reject() -> None:
    saturday = dt.date(2024, 6, 1)
    given = answer(told((saturday, FLAT), (MONDAY, FLAT)), saturday, MONDAY)
    checked = check_prices(given.rows, XNYS, FRIDAY)
    assert checked.rejected["reason"].to_pylist() == ["XNYS had no session that day"]


def test_a_bar_without_a_time_is_set_aside() -> None:
    result = told((MONDAY, FLAT), (TUESDAY, FLAT))
    result["timestamp"][1] = None
    given = answer(result, end=TUESDAY)
    assert given.unreadable["reason"].to_pylist() == ["its time can't be read"]
    assert missing(given) == (TUESDAY,)


def test_what_lies_after_the_request_is_told_too_and_its_holes_are_not() -> None:
    given = answer(told((MONDAY, FLAT), (TUESDAY, FLAT), (FRIDAY, FLAT)), TUESDAY, TUESDAY)
    assert [row[0] for row in rows(given)] == [TUESDAY, FRIDAY]
    assert given.failures == {}


# Nothing there: evidence, or silence.


def test_sessions_before_the_first_trade_are_empty() -> None:
    given = answer(told((WEDNESDAY, FLAT), firstTradeDate=seconds(WEDNESDAY)), end=WEDNESDAY)
    assert empties(given) == dict.fromkeys((MONDAY, TUESDAY), "not listed before 2024-06-05")
    assert given.failures == {}


def test_sessions_after_a_last_trade_long_ago_are_empty() -> None:
    later = dt.datetime(2024, 6, 12, 22, 0, tzinfo=dt.UTC)
    result = told((MONDAY, FLAT), (TUESDAY, FLAT), regularMarketTime=seconds(TUESDAY, 16, 0))
    assert empties(answer(result, now=later)) == dict.fromkeys(
        (WEDNESDAY, THURSDAY, FRIDAY), "no trade since 2024-06-04"
    )
    a_day_earlier = answer(result, now=later - dt.timedelta(days=1))
    assert a_day_earlier.empty.num_rows == 0
    assert missing(a_day_earlier) == (WEDNESDAY, THURSDAY, FRIDAY)


def test_a_last_trade_that_later_rows_contradict_is_no_evidence() -> None:
    later = dt.datetime(2024, 7, 12, 22, 0, tzinfo=dt.UTC)
    result = told((MONDAY, FLAT), (FRIDAY, FLAT), regularMarketTime=seconds(MONDAY))
    assert missing(answer(result, now=later)) == (TUESDAY, WEDNESDAY, THURSDAY)


def test_a_bar_of_an_illegible_time_may_be_one_after_the_last_trade() -> None:
    later = dt.datetime(2024, 6, 12, 22, 0, tzinfo=dt.UTC)
    result = told((MONDAY, FLAT), (TUESDAY, FLAT), regularMarketTime=seconds(TUESDAY, 16, 0))
    result["timestamp"][1] = None
    assert missing(answer(result, now=later)) == (TUESDAY, WEDNESDAY, THURSDAY, FRIDAY)


def test_a_hole_and_a_lagging_last_session_fail_and_the_rest_is_told() -> None:
    given = answer(told((MONDAY, FLAT), (WEDNESDAY, FLAT), (THURSDAY, FLAT)))
    assert [row[0] for row in rows(given)] == [MONDAY, WEDNESDAY, THURSDAY]
    assert missing(given) == (TUESDAY, FRIDAY)
    assert given.empty.num_rows == 0


def test_an_empty_chart_is_a_failure_and_no_confirmation() -> None:
    result = told()
    del result["timestamp"]
    result["indicators"] = {"quote": [{}]}
    given = answer(result)
    assert missing(given) == (MONDAY, TUESDAY, WEDNESDAY, THURSDAY, FRIDAY)
    assert given.empty.num_rows == 0


def test_no_data_for_the_days_asked_for_is_confirmed_in_yahoos_words() -> None:
    words = "Data doesn't exist for startDate = 1717300000, endDate = 1717700000"
    chart = read_chart("AAA", refused("Bad Request", words))
    given = answer_for(chart, Request("AAA", MONDAY, TUESDAY), XNYS, EVENING)
    assert empties(given) == dict.fromkeys((MONDAY, TUESDAY), f"Yahoo: {words}")
    assert given.failures == {}


def test_an_unknown_symbol_is_told_with_what_yahoo_leaves_open() -> None:
    with pytest.raises(UnknownSymbolAtSource, match="never had and for one it has dropped"):
        read_chart("AAA", refused("Not Found", "No data found, symbol may be delisted"))


@pytest.mark.parametrize(
    "answered",
    [
        {},
        {"chart": None},
        {"chart": {"result": [], "error": None}},
        {"chart": {"result": None, "error": {"code": "Internal Server Error"}}},
        {"finance": {"error": {"code": "Unauthorized", "description": "Invalid Crumb"}}},
        wrapped(None),
        wrapped(told((MONDAY, FLAT), symbol="BBB")),
        wrapped(told((MONDAY, FLAT), dataGranularity="1wk")),
        wrapped(told((MONDAY, FLAT)) | {"timestamp": []}),
        wrapped(told((MONDAY, FLAT), exchangeTimezoneName="Nowhere/Land", gmtoffset=None)),
    ],
)
def test_what_is_no_daily_chart_of_the_symbol_is_a_bad_answer(answered: dict[str, Any]) -> None:
    with pytest.raises(BadAnswer, match="yahoo"):
        read_chart("AAA", answered)


@pytest.mark.parametrize(
    "body", [b"", b"<html>Will be right back</html>", b'{"chart":{"resu', b"[]", b"\xff\xfe\x00"]
)
def test_a_body_that_is_no_json_object_is_a_bad_answer(body: bytes) -> None:
    with pytest.raises(BadAnswer):
        read_body(body)


def test_too_many_requests_in_words_is_a_limit() -> None:
    with pytest.raises(RateLimited):
        read_body(b"Too Many Requests\r\n")


def test_tokens_that_are_no_numbers_in_json_are_read() -> None:
    body = json.dumps(wrapped(told((MONDAY, (10.0, math.inf, 9.5, math.nan, 1000))))).encode()
    assert b"Infinity" in body
    chart = read_chart("AAA", read_body(body))
    given = answer_for(chart, Request("AAA", MONDAY, MONDAY), XNYS, EVENING)
    assert rows(given) == [(MONDAY, 10.0, math.inf, 9.5, None, 1000.0)]


# What and where it is.


def test_pence_become_gbx() -> None:
    given = answer(told((MONDAY, FLAT), currency="GBp"), end=MONDAY)
    assert given.rows["currency"].to_pylist() == ["GBX"]


@pytest.mark.parametrize(
    ("currency", "message"),
    [
        ("ILA", "yahoo prices AAA in ILA, which is no currency known here."),
        (None, "yahoo names no currency for AAA."),
    ],
)
def test_an_unknown_currency_fails_the_symbol(currency: str | None, message: str) -> None:
    given = answer(told((MONDAY, FLAT), currency=currency), end=MONDAY)
    assert given.rows.num_rows == 0
    assert isinstance(given.failures["AAA"], BadAnswer)
    assert str(given.failures["AAA"]) == message
    assert given.instruments[0].currency is None


def test_a_chart_names_its_instrument() -> None:
    given = answer(told((MONDAY, FLAT), instrumentType="ETF"), end=MONDAY)
    assert given.instruments == (
        Instrument(
            "AAA",
            type="etf",
            exchange="NYQ",
            currency="USD",
            zone="America/New_York",
            name="Aaa Inc.",
            first_trade_on=dt.date(2000, 1, 3),
            last_trade_at=dt.datetime(2024, 6, 7, 20, 0, tzinfo=dt.UTC),
        ),
    )


def test_a_session_is_the_day_at_the_exchange_in_summer_and_in_winter() -> None:
    after_midnight_utc = dt.datetime(2024, 1, 3, 4, 30, tzinfo=dt.UTC)
    bars = [(int(after_midnight_utc.timestamp()), FLAT), (seconds(MONDAY, 0, 30), FLAT)]
    given = answer(told(*bars), start=dt.date(2024, 1, 2), end=dt.date(2024, 1, 2))
    assert [row[0] for row in rows(given)] == [dt.date(2024, 1, 2), MONDAY]


def test_a_volume_is_whole_shares_where_a_split_is_undone_and_else_as_told() -> None:
    bars = (MONDAY, (*FLAT[:4], 100)), (TUESDAY, (*FLAT[:4], 12.75))
    given = answer(told(*bars, splits=[(TUESDAY, 3, 1)]), end=TUESDAY)
    assert given.rows["volume"].to_pylist() == [33.0, 12.75]


def test_without_a_zone_the_offset_serves() -> None:
    given = answer(told((MONDAY, FLAT), exchangeTimezoneName=None), end=MONDAY)
    assert [row[0] for row in rows(given)] == [MONDAY]


def test_crypto_trades_every_day_in_utc() -> None:
    saturday = dt.date(2024, 6, 8)
    midnight = int(dt.datetime(2024, 6, 8, tzinfo=dt.UTC).timestamp())
    result = told((midnight, FLAT), exchangeTimezoneName="UTC", instrumentType="CRYPTOCURRENCY")
    now = dt.datetime(2024, 6, 9, 6, 0, tzinfo=dt.UTC)
    given = answer(result, start=saturday, end=saturday, now=now, calendar=DAILY)
    assert [row[0] for row in rows(given)] == [saturday]
    assert given.instruments[0].type == "crypto"


@pytest.mark.parametrize(
    ("ours", "theirs"), [("BRK.B", "BRK-B"), ("BTC-USD", "BTC-USD"), ("AAPL", "AAPL")]
)
def test_a_share_class_is_spelt_with_a_dash_at_yahoo(ours: str, theirs: str) -> None:
    assert yahoo_symbol(ours) == theirs
    assert read_chart(ours, wrapped(told(symbol=theirs))).instrument.symbol == ours


def places(value: object, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a JSON value."""
    parts: Any = ()
    if isinstance(value, dict):
        parts = value.items()
    elif isinstance(value, list):
        parts = enumerate(value)
    for key, part in parts:
        yield (*path, key)
        yield from places(part, (*path, key))


FULL = wrapped(
    told(
        (MONDAY, FLAT),
        (TUESDAY, FLAT),
        (WEDNESDAY, FLAT),
        splits=[(TUESDAY, 2, 1)],
        dividends=[(TUESDAY, 0.5)],
        gains=[(WEDNESDAY, 0.25)],
    )
)
JUNK: tuple[Any, ...] = (None, "x", -1, 1e300, 10**400, [], {}, [None], True, math.nan)


@given(st.data())
def test_whatever_is_missing_or_strange_ends_in_an_answer_or_a_source_error(
    data: st.DataObject,
) -> None:
    answered = copy.deepcopy(FULL)
    for _ in range(data.draw(st.integers(1, 3))):
        *way, last = data.draw(st.sampled_from(list(places(answered))))
        holder: Any = answered
        for step in way:
            holder = holder[step]
        holder[last] = copy.deepcopy(data.draw(st.sampled_from(JUNK)))
    try:
        chart = read_chart("AAA", answered)
        given_ = answer_for(chart, Request("AAA", MONDAY, FRIDAY), XNYS, EVENING)
    except SourceError:
        return
    check_prices(given_.rows, XNYS, FRIDAY)
    check_actions(given_.actions)
    assert set(empties(given_)).isdisjoint(given_.rows["session"].to_pylist())


# What Yahoo did say, in 2025.


@pytest.fixture
def recordings(real: Path) -> Path:
    return real / "yahoo_http" / "yahoo-finance2_recorded_2025"


def replayed(path: Path, start: dt.date, end: dt.date, calendar: Calendar = XNYS) -> PriceAnswer:
    recording = recorded(path)
    chart = read_chart(recording.symbol, read_body(recording.reply.body))
    return answer_for(chart, Request(recording.symbol, start, end), calendar, recording.at)


def test_apple_around_its_split_of_2020_reads_as_traded(recordings: Path) -> None:
    given = replayed(
        recordings / "chart-AAPL-2020-08-31-to-2020-11-07.json",
        dt.date(2020, 8, 31),
        dt.date(2020, 11, 6),
    )
    assert given.rows.num_rows == 49
    assert rows(given)[0] == (dt.date(2020, 8, 31), 127.58, 131.0, 126.0, 129.04, 225702700.0)
    events = given.actions.select(["ex_date", "kind", "ratio", "amount"]).to_pylist()
    assert [tuple(row.values()) for row in events] == [
        (dt.date(2020, 8, 31), "split", 4.0, None),
        (dt.date(2020, 11, 6), "cash_dividend", None, 0.205),
    ]
    assert given.failures == {}


def test_nvidias_split_of_2021_is_undone_before_it(recordings: Path) -> None:
    given = replayed(
        recordings / "historical-via-chart-NVDA-split-2021-02-01-to-2022-01-31.csv.json",
        dt.date(2021, 2, 1),
        dt.date(2022, 1, 28),
    )
    assert given.actions.select(["ex_date", "ratio"]).to_pylist() == [
        {"ex_date": dt.date(2021, 7, 20), "ratio": 4.0}
    ]
    closes = {row[0]: row[4] for row in rows(given)}
    # The answer ends in 2022: the 10:1 of 2024 is in its prices, and not among its splits.
    assert (closes[dt.date(2021, 7, 19)], closes[dt.date(2021, 7, 20)]) == (75.119, 18.612)
    assert given.rows.num_rows == 252
    assert given.failures == {}


def test_microsoft_paid_four_dividends_in_a_year(recordings: Path) -> None:
    given = replayed(
        recordings / "historical-via-chart-MSFT-dividends-2021-02-01-to-2022-01-31.csv.json",
        dt.date(2021, 2, 1),
        dt.date(2022, 1, 28),
    )
    assert given.actions["amount"].to_pylist() == [0.56, 0.56, 0.56, 0.62]
    assert given.actions["ex_date"].to_pylist() == [
        dt.date(2021, 2, 17),
        dt.date(2021, 5, 19),
        dt.date(2021, 8, 18),
        dt.date(2021, 11, 17),
    ]


def test_tesla_is_empty_before_its_listing_and_has_no_dividends(recordings: Path) -> None:
    given = replayed(
        recordings / "historical-via-chart-dividends-TSLA-no-dividends.json",
        dt.date(2010, 6, 1),
        dt.date(2023, 8, 11),
    )
    assert given.rows.num_rows == 3303
    assert set(empties(given).values()) == {"not listed before 2010-06-29"}
    assert len(empties(given)) == 20
    assert given.actions.num_rows == 0
    assert given.failures == {}


def test_bitcoin_has_a_row_for_every_day(recordings: Path) -> None:
    given = replayed(
        recordings / "chart-BTC-USD-2020-01-01-to-2020-01-03.json",
        dt.date(2020, 1, 1),
        dt.date(2020, 1, 3),
        DAILY,
    )
    assert [row[0] for row in rows(given)] == [dt.date(2020, 1, day) for day in (1, 2, 3)]
    assert given.instruments[0].type == "crypto"


def test_every_recorded_chart_is_answered_or_refused(recordings: Path) -> None:
    days = dt.date(2020, 1, 2), dt.date(2020, 1, 2)
    refusals = {}
    for path in sorted(recordings.glob("*chart*.json")):
        try:
            given = replayed(path, *days)
        except SourceError as error:
            refusals[path.name] = str(error)
        else:
            assert check_prices(given.rows, DAILY, dt.date(2025, 2, 20)).rejected.num_rows == 0
    assert sorted(refusals) == [
        "chart-notimestamp-quotes-length.fake.json",
        "chart-notimestamp-weird-quote.fake.json",
    ]


# What stands in place of a list.


@pytest.mark.parametrize("what", [[1, 2], "x", 7, [{"date": seconds(MONDAY)}]])
def test_splits_that_are_no_list_make_the_answer_unusable_and_are_shown(what: object) -> None:
    result = told((MONDAY, FLAT))
    result["events"] |= {"splits": what, "dividends": "x"}
    with pytest.raises(BadAnswer, match=r"a split of AAA that can't be read: \{'splits': "):
        answer(result)


@pytest.mark.parametrize("kind", ["dividends", "capitalGains"])
@pytest.mark.parametrize("what", ["x", [1, 2], 7])
def test_payments_that_are_no_list_are_set_aside_and_the_prices_stay(
    kind: str, what: object
) -> None:
    result = told((MONDAY, FLAT))
    result["events"][kind] = what
    given = answer(result, end=MONDAY)
    assert given.rows.num_rows == 1
    assert given.unreadable.to_pylist() == [
        {
            "symbol": "AAA",
            "session": "",
            "reason": "a payment without a day or an amount",
            "raw": json.dumps({kind: what}),
        }
    ]


@pytest.mark.parametrize("nothing", [None, [], {}])
def test_no_events_are_no_complaint(nothing: object) -> None:
    result = told((MONDAY, FLAT))
    assert answer(result | {"events": nothing}, end=MONDAY).rows.num_rows == 1
    for kind in ("splits", "dividends", "capitalGains"):
        result["events"][kind] = nothing
    assert answer(result, end=MONDAY).unreadable.num_rows == 0


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"events": "x"}, "list of events of AAA can't be read: 'x'"),
        ({"timestamp": "x"}, "list of days of AAA can't be read: 'x'"),
        ({"timestamp": {"0": 1}}, "list of days of AAA can't be read"),
        ({"indicators": [1]}, r"list of prices of AAA can't be read: \[1\]"),
        ({"indicators": {"quote": "x"}}, "list of prices of AAA can't be read: 'x'"),
        ({"indicators": {"quote": [{"volume": "x"}]}}, "column volume of AAA can't be read: 'x'"),
    ],
)
def test_what_stands_in_place_of_a_list_of_prices_is_said(
    change: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(BadAnswer, match=sentence):
        answer(told((MONDAY, FLAT)) | change)


@pytest.mark.parametrize(
    ("written", "ratio"), [("4:1", 4.0), ("4/1", 4.0), ("4 for 1", 4.0), ("1-for-10", 0.1)]
)
def test_a_split_is_read_from_its_text_where_it_has_no_numbers(written: str, ratio: float) -> None:
    result = told((MONDAY, FLAT))
    split = {"date": seconds(MONDAY), "splitRatio": written}
    result["events"]["splits"] = {str(seconds(MONDAY)): split}
    assert answer(result, end=MONDAY).actions["reported_ratio"].to_pylist() == [ratio]
