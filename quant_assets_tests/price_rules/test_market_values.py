"""Which capitalisations and feeds are not believed, and what is stored instead."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from quant_assets.contracts.market import MARKET_COLUMNS
from quant_assets.price_rules.market_values import PAST, PATIENCE, SPLITS, Judged, judge
from quant_assets.reference.calendars import Calendar, exchange_calendar
from quant_assets_tests.conftest import REAL
from quant_assets_tests.price_rules.market_replay import DAILY, read_days, replay

THURSDAY, FRIDAY, MONDAY = dt.date(2022, 6, 2), dt.date(2022, 6, 3), dt.date(2022, 6, 6)
Row = dict[str, Any]
ROWS = MARKET_COLUMNS.append(pa.field("security_id", pa.int32()))


def row(last: float | None, cap: float | None, change: float | None = 0.0, **more: Any) -> Row:
    values = {"security_id": 1, "feed": "nyse", "type": "common_stock", "session": MONDAY}
    return values | {
        "last_sale": last, "market_cap": cap, "net_change": change, "volume": 1000000,
    } | more  # fmt: skip


def past(last: float, cap: float | None, shares: float | None, **more: Any) -> Row:
    values = {"security_id": 1, "feed": "nyse", "session": FRIDAY, "market_cap_on": FRIDAY}
    return values | {
        "last_sale": last, "market_cap": cap, "reported_market_cap": cap, "implied_shares": shares,
    } | more  # fmt: skip


def judged(rows: Row | list[Row], before: Row | list[Row] | None = None, **more: Any) -> Judged:
    rows = rows if isinstance(rows, list) else [rows]
    before = before if isinstance(before, list) else [before] if before else []
    return judge(
        pa.Table.from_pylist(rows, schema=ROWS),
        pa.Table.from_pylist(before, schema=PAST),
        session=MONDAY,
        calendar=exchange_calendar("XNYS"),
        **more,
    )


def stored(result: Judged) -> tuple[float, dt.date | None, float]:
    on, shares = result.market_cap_on[0].item(), round(float(result.implied_shares[0]), 6)
    return float(result.market_cap[0]), on, shares


def test_a_change_of_any_ratio_is_believed() -> None:
    result = judged(row(100.0, 14_600.0), past(100.0, 10_000.0, 100.0))
    assert stored(result) == (14_600.0, MONDAY, 146.0)
    assert result.reasons == (None,)


@pytest.mark.parametrize("multiple", [1.5, 2.25, 4, 48, 1000, 1 / 32])
def test_a_plain_multiple_is_not_believed(multiple: float) -> None:
    result = judged(row(101.0, multiple * 10_100.0, 1.0), past(100.0, 10_000.0, 100.0))
    assert stored(result) == (10_000.0, FRIDAY, 100.0)
    assert f"{multiple:.6g} times the shares of 2022-06-03" in str(result.reasons[0])


def test_a_split_that_shares_follow_is_right() -> None:
    result = judged(row(5.1, 10_200.0, 0.1), past(100.0, 10_000.0, 100.0))
    assert stored(result) == (10_200.0, MONDAY, 2000.0)


def test_a_split_applied_twice_is_wrong() -> None:
    result = judged(row(5.1, 204_000.0, 0.1), past(100.0, 10_000.0, 100.0))
    assert stored(result) == (10_000.0, FRIDAY, 2000.0)


def test_a_split_that_shares_do_not_follow_is_wrong_until_they_do() -> None:
    first = judged(row(5.1, 510.0, 0.1), past(100.0, 10_000.0, 100.0))
    assert stored(first) == (10_000.0, FRIDAY, 2000.0)
    assert "does not follow the split of 20 new shares for one old" in str(first.reasons[0])
    since = past(5.1, 10_000.0, 2000.0, market_cap_on=THURSDAY, reported_market_cap=510.0)
    assert stored(judged(row(5.2, 520.0, 0.1), since)) == (10_000.0, THURSDAY, 2000.0)
    assert stored(judged(row(5.2, 10_400.0, 0.1), since)) == (10_400.0, MONDAY, 2000.0)


def test_a_split_on_record_counts_where_the_net_change_shows_none() -> None:
    splits = pa.Table.from_pylist([{"security_id": 1, "ratio": 1.25}], schema=SPLITS)
    result = judged(row(80.0, 8000.0, None), past(100.0, 10_000.0, 100.0), splits=splits)
    assert stored(result) == (10_000.0, FRIDAY, 125.0)


def test_a_reverse_split_is_seen_in_the_net_change() -> None:
    result = judged(row(51.0, 510.0, 1.0), past(5.0, 500.0, 100.0))
    assert stored(result) == (510.0, MONDAY, 10.0)


def test_after_a_gap_a_price_that_fell_with_it_explains_a_multiple() -> None:
    earlier = past(100.0, 10_000.0, 100.0, session=THURSDAY, market_cap_on=THURSDAY)
    assert judged(row(23.0, 9200.0, 0.1), earlier).reasons == (None,)
    assert judged(row(99.0, 39_600.0, 0.1), earlier).reasons != (None,)


@pytest.mark.parametrize("nothing", [0.0, None])
def test_a_missing_capitalisation_keeps_the_last_one_with_its_date(nothing: float | None) -> None:
    result = judged(row(100.0, nothing), past(100.0, 10_000.0, 100.0))
    assert stored(result) == (10_000.0, FRIDAY, 100.0)
    assert result.reasons == ("No market capitalisation; that of 2022-06-03 was 1e+04.",)


def test_a_security_that_never_had_a_capitalisation_has_none_without_a_reason() -> None:
    for before in (None, past(100.0, None, None, market_cap_on=None)):
        result = judged(row(100.0, 0.0), before)
        assert np.isnan(result.market_cap[0])
        assert np.isnat(result.market_cap_on[0])
        assert result.reasons == (None,)


def test_a_security_without_a_past_is_believed_unless_absurd() -> None:
    assert stored(judged(row(100.0, 4e12))) == (4e12, MONDAY, 4e10)
    absurd = judged(row(100.0, 4e13))
    assert np.isnan(absurd.market_cap[0])
    assert "beyond that of any company" in str(absurd.reasons[0])


def test_a_warrant_is_not_judged_by_its_shares() -> None:
    result = judged(row(1.0, 400.0, type="warrant"), past(1.0, 100.0, 100.0))
    assert result.reasons == (None,)


def test_a_new_level_is_believed_when_it_has_stood_for_a_quarter(calendar: Calendar) -> None:
    at = calendar.sessions.index(MONDAY)
    for waited, reasons in ((PATIENCE - 1, 1), (PATIENCE, 0)):
        on = calendar.sessions[at - waited]
        before = past(100.0, 10_000.0, 100.0, market_cap_on=on, reported_market_cap=40_000.0)
        result = judged(row(101.0, 40_400.0, 1.0), before)
        assert sum(reason is not None for reason in result.reasons) == reasons
    before = past(100.0, 10_000.0, 100.0, market_cap_on=on, reported_market_cap=80_000.0)
    assert judged(row(101.0, 40_400.0, 1.0), before).reasons != (None,)


def test_a_return_to_the_level_before_is_believed_at_once() -> None:
    doubted = past(100.0, 10_000.0, 100.0, market_cap_on=THURSDAY, reported_market_cap=40_000.0)
    assert stored(judged(row(101.0, 9898.0, 1.0), doubted)) == (9898.0, MONDAY, 98.0)
    accepted = past(100.0, 40_000.0, 400.0)
    assert stored(judged(row(101.0, 10_100.0, 1.0), accepted)) == (10_100.0, MONDAY, 100.0)


def feed(count: int, moved: float, name: str = "nasdaq", volume: int = 90_000) -> list[Row]:
    return [
        row(100.0 + moved, None, moved, security_id=number, feed=name, volume=volume)
        for number in range(count)
    ]


def feed_before(count: int, name: str = "nasdaq") -> list[Row]:
    return [past(100.0, None, None, security_id=n, feed=name) for n in range(count)]


def test_a_feed_whose_last_sales_repeat_is_stale() -> None:
    result = judged(feed(40, 0.0), feed_before(40))
    assert result.stale_feeds == {
        "nasdaq": "The feed nasdaq is that of a session before: 40 of 40 securities with a "
        "turnover above 1e+06 have the last sale stored before."
    }
    assert judged(feed(40, 0.5), feed_before(40)).stale_feeds == {}


def test_a_body_fetched_again_on_a_holiday_is_no_catch() -> None:
    labels = (("2022-05-26", 100.0, 0.0), ("2022-05-27", 101.0, 1.0), ("2022-05-30", 101.0, 1.0))
    days = pd.concat(
        pd.DataFrame(
            {
                "trade_date": label,
                "session": min(dt.date.fromisoformat(label), dt.date(2022, 5, 27)),
                "security_id": np.arange(40, dtype="int32"),
                "symbol": [f"S{number}" for number in range(40)],
                "feed": "nasdaq",
                "type": "common_stock",
                "last_sale": last,
                "net_change": change,
                "volume": 90_000,
                "market_cap": 100 * last,
            }
        )
        for label, last, change in labels
    )
    found = replay(days)
    assert (found.stale, found.episodes) == ({}, [])
    assert len(found.rows) == 80


def test_a_feed_of_securities_that_hardly_trade_is_not_stale() -> None:
    assert judged(feed(400, 0.0, volume=10), feed_before(400)).stale_feeds == {}


def test_a_feed_with_less_than_four_fifths_of_its_rows_is_short() -> None:
    assert judged(feed(63, 0.5), feed_before(80)).short_feeds == {
        "nasdaq": "The feed nasdaq is cut short: 63 rows, where 2022-06-03 had 80."
    }
    assert judged(feed(64, 0.5), feed_before(80)).short_feeds == {}
    delisted = [past(9.0, None, None, security_id=n, session=THURSDAY) for n in range(80, 180)]
    assert judged(feed(70, 0.5), feed_before(80) + delisted).short_feeds == {}


@pytest.mark.skipif(not (REAL / DAILY).exists(), reason="needs the real days")
def test_real_days_are_caught_where_they_are_wrong() -> None:
    found = replay(read_days(REAL / DAILY))
    assert list(found.stale) == [("2021-10-29", "nasdaq")]
    assert found.short == {}
    doubted = found.rows[found.rows["reason"].notna()]
    for symbol, day in (
        ("AMZN", "2022-06-06"),
        ("PKG", "2023-07-20"),
        ("IBM", "2022-12-19"),
        ("AMGN", "2021-09-10"),
    ):
        assert day in doubted.loc[doubted["symbol"] == symbol, "trade_date"].tolist()
    assert max(found.real_share()) <= 0.05
    wrong = [episode for episode in found.episodes if episode.label == "wrong"]
    assert len(wrong) >= 45
    no_sessions = {"2021-02-15", "2021-10-30", "2022-05-30", "2023-11-04"}
    assert not no_sessions & {episode.first for episode in found.episodes}
