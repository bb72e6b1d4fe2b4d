"""Two recorded days of the whole market, through the loopback stand-in into a warehouse."""

from __future__ import annotations

import datetime as dt
import gzip
import json
from collections import Counter
from pathlib import Path

from quant_assets.reference.calendars import Calendar
from quant_assets.reference.identity import known_identities
from quant_assets.sources.nasdaq.screener import Screener
from quant_assets.warehouse.warehouse import Warehouse
from quant_assets_tests.standins.market import Evenings
from quant_assets_tests.standins.nasdaq import NasdaqStandIn

SATURDAY = dt.datetime(2021, 1, 30, 21, 35, tzinfo=dt.UTC)
TUESDAY = dt.datetime(2022, 6, 7, 23, 35, tzinfo=dt.UTC)


def loaded(real: Path, warehouse: Warehouse, calendar: Calendar, now: dt.datetime) -> Evenings:
    """The warehouse with the lists recorded on the day of ``now`` loaded at that moment."""
    recorded = sorted((real / "screener").glob(f"raw_{now:%Y-%m-%d}_*.json.gz"))
    lists = {
        path.name.split("_")[2]: json.loads(gzip.decompress(path.read_bytes())) for path in recorded
    }
    with NasdaqStandIn(lists) as nasdaq:
        source = Screener(calendar, lambda request: request(), lambda: now, nasdaq.url)
        evenings = Evenings(warehouse, calendar, source, known_identities())
        report = evenings.at(now)
    assert [row.error for row in report.symbols] == [None] * 3
    return evenings


def test_both_days_are_stored_whole_and_each_ticker_is_one_security(
    real: Path, warehouse: Warehouse, calendar: Calendar
) -> None:
    loaded(real, warehouse, calendar, SATURDAY)
    market = loaded(real, warehouse, calendar, TUESDAY)
    stored = market.rows("select session, feed, count(*) from market_snapshot group by all")
    assert {(str(day), feed): count for day, feed, count in stored} == {
        ("2021-01-29", "amex"): 298,
        ("2021-01-29", "nasdaq"): 3_689,
        ("2021-01-29", "nyse"): 3_310,
        ("2022-06-07", "amex"): 282,
        ("2022-06-07", "nasdaq"): 5_094,
        ("2022-06-07", "nyse"): 3_165,
    }
    assert market.rows("select symbol, reason from quarantine") == [
        (
            "AMZN",
            "A market capitalisation of 2.539e+13 is beyond that of any company (1e+13).",
        )
    ]
    bearers = market.rows(
        "select symbol, list(distinct security_id) from market_snapshot group by 1"
    )
    # CoreSite's COR and Contura's CTRA of 2021 are not Cencora's and Coterra's.
    several = {symbol for symbol, ids in bearers if len(ids) > 1}
    assert "CTRA" in several
    assert len(several) < 60
    names = dict(
        market.rows(
            "select m.symbol, any_value(s.slug) from market_snapshot m join securities s using"
            " (security_id) where m.symbol in ('FB', 'ABC', 'COG') group by 1"
        )
    )
    assert set(names) == {"FB", "ABC", "COG"}
    assert None not in names.values()
    types = Counter(dict(market.rows("select type, count(*) from market_snapshot group by 1")))
    assert types.most_common(1)[0][0] == "common_stock"
