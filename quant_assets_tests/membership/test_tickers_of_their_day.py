"""A history that calls its members by later tickers names them by those of the day."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from quant_assets import read
from quant_assets.contracts.membership import MembershipInterval, UniverseAnswer
from quant_assets.membership.take_over import import_universe
from quant_assets.reference.identity import known_identities
from quant_assets.sources.index_members.lists import MembershipLists
from quant_assets.warehouse.warehouse import Warehouse

ON = dt.date(2024, 5, 31)


def history(warehouse: Warehouse, *stays: str) -> None:
    """Import a history of stays, each written ``SYMBOL start end``."""
    intervals = []
    for stay in stays:
        symbol, start, *end = stay.split(" ")
        removed_on = dt.date.fromisoformat(end[0]) if end else None
        intervals.append(MembershipInterval(symbol, dt.date.fromisoformat(start), removed_on))
    answer = UniverseAnswer("list:then.csv", intervals=tuple(intervals))
    import_universe(warehouse, answer, known_identities(), universe="ours", on=ON)


def symbols(warehouse: Warehouse, on: str) -> list[str]:
    return list(read.universe("ours", on=on, home=warehouse.path.parent)["symbol"])


@pytest.mark.parametrize(
    ("stay", "on", "ticker"),
    [
        ("LEHMQ 1998-01-12 2008-09-17", "2000-06-30", "LEH"),
        ("ENRNQ 1996-01-02 2001-11-30", "2000-06-30", "ENE"),
        ("RSHCQ 1996-01-02 2011-07-01", "2000-06-30", "RSH"),
        ("RSHCQ 1996-01-02 2011-07-01", "1999-06-30", "TAN"),
        ("MTLQQ 1996-01-02 2009-06-03", "2000-06-30", "GM"),
        ("GAPTQ 1996-01-02 2000-08-30", "2000-06-30", "GAP"),
        ("M 1996-01-02 2020-04-06", "2000-06-30", "FD"),
        ("COP 1996-01-02", "2000-06-30", "P"),
        ("EHC 1997-01-02 2003-03-20", "2000-06-30", "HRC"),
        ("TMUS 2009-06-30 2013-04-30", "2010-06-30", "PCS"),
        ("MS 1996-01-02", "2000-06-30", "MWD"),
        # Mercury Interactive really was MERQ.
        ("MERQ 2000-06-29 2006-01-04", "2000-06-30", "MERQ"),
    ],
)
def test_a_member_has_the_ticker_of_the_day_not_that_of_the_file(
    warehouse: Warehouse, stay: str, on: str, ticker: str
) -> None:
    history(warehouse, stay)
    assert symbols(warehouse, on) == [ticker]


def test_a_row_of_a_ticker_is_not_of_a_bearer_that_has_a_row_of_its_own(
    warehouse: Warehouse,
) -> None:
    # Washington Mutual was WM until 2008; the file has it as WAMUQ, and Waste Management as WM.
    history(warehouse, "WAMUQ 1997-07-02 2008-09-30", "WM 1998-07-17")
    assert symbols(warehouse, "2000-06-30") == ["WM", "WMI"]
    assert symbols(warehouse, "2010-06-30") == ["WM"]
    frame = read.universe("ours", on="2000-06-30", home=warehouse.path.parent)
    assert list(frame["name"]) == ["Washington Mutual", "Waste Management"]


def test_a_dead_bearer_is_no_member_where_the_next_one_existed(warehouse: Warehouse) -> None:
    # Actavis bought Allergan on 2015-03-17, and took its name and ticker on 2015-06-15.
    history(warehouse, "AGN 1999-04-12 2020-05-11")
    frame = read.universe("ours", on="2015-04-30", home=warehouse.path.parent)
    assert list(frame["symbol"]) == ["ACT"]
    assert list(frame["name"]) == ["Allergan plc"]


def test_a_ticker_of_a_later_day_that_nobody_looked_up_is_said_to_be_one(
    warehouse: Warehouse,
) -> None:
    history(warehouse, "QQZZQ 1996-01-02 2003-03-14", "QQZ 1996-01-02")
    frame = read.universe("ours", on="2000-06-30", home=warehouse.path.parent)
    assert list(frame["symbol"]) == ["QQZ", "QQZZQ"]
    assert frame.attrs["tickers_unknown"] == ["QQZZQ"]


def test_no_member_of_the_real_history_goes_by_the_ticker_of_a_bankruptcy(
    real: Path, warehouse: Warehouse
) -> None:
    file = real / "membership" / "fja05680_sp500_ticker_start_end.csv"
    answer = MembershipLists((str(file),)).fetch_universe()
    import_universe(warehouse, answer, known_identities(), on=ON)
    days = {f"{year}-06-30": "sp500" for year in range(1996, 2025)}
    found = {
        day: read.universe(name, on=day, home=warehouse.path.parent) for day, name in days.items()
    }
    assert len(found["2000-06-30"]) == 492
    assert {"LEH", "ENE", "RSH", "GM", "WM", "WMI", "U", "EK"} <= set(found["2000-06-30"]["symbol"])
    unknown = {s for frame in found.values() for s in frame.attrs["tickers_unknown"]}
    assert unknown == set()
