"""Two real archives, loaded and read back, compared with each other and with an index fund.

Here the outside world is the judge: real files, real corporate actions, another vendor's numbers.
What the vendors disagree on, and why, is in ``docs/data-quality.md``; the section is named where a
test rests on it. Small made-up cases of the same rules live beside the code they test.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from quant_assets.contracts.prices import PriceSource
from quant_assets.loading.load import LoadReport, Window
from quant_assets.read.price_frames import prices
from quant_assets.reference.calendars import Calendar
from quant_assets.settings.settings import load_settings
from quant_assets.warehouse.warehouse import Warehouse
from quant_assets.wiring.platform import Platform
from quant_assets_tests.standins.loads import load_prices

pytestmark = [pytest.mark.slow, pytest.mark.many_rows]

SETTINGS = Path(__file__).parents[2] / "examples" / "real.toml"
KINDS = SETTINGS.parent / "alphavantage_action_kinds.csv"
AS_TRADED = "files:alphavantage"
YAHOO = "files:yahoo"
FIRST, LAST = dt.date(2013, 1, 2), dt.date(2021, 4, 21)
"""First and last session of the as-traded archive."""

YAHOO_LAST = dt.date(2024, 3, 8)
"""Last session of the Yahoo archive."""

AGREES = 1e-3
"""Two closes agree if they are within 0.1 % of each other."""

OTHER_COMPANIES = {
    "BNY": "BlackRock New York Municipal Income Trust; since 2026 the ticker of Bank of New York",
    "LIFE": "aTyr Pharma; until 2014 the ticker of Life Technologies",
}
"""Tickers under which the Yahoo archive has another company than the index has had."""


@dataclass(frozen=True)
class World:
    """A data folder with both archives and SPY, and what loading them reported."""

    home: Path
    as_traded: LoadReport
    again: LoadReport
    yahoo: LoadReport
    changed_by_again: bool

    def close(self, symbol: str, day: str, **how: object) -> float:
        """One close of the as-traded archive, to four digits."""
        return self._one("close", symbol, day, how)

    def volume(self, symbol: str, day: str, **how: object) -> float:
        return self._one("volume", symbol, day, how)

    def _one(self, field: str, symbol: str, day: str, how: dict[str, object]) -> float:
        asked = {"source": AS_TRADED, "home": self.home, **how}
        (value,) = prices(symbol, day, day, fields=[field], **asked)[field]
        return round(float(value), 4)

    def rows(self, query: str) -> list[tuple[object, ...]]:
        with Warehouse(self.home / "warehouse.duckdb", lock_wait_seconds=5).reading() as con:
            return con.execute(query).fetchall()

    def frame(self, query: str) -> pd.DataFrame:
        with Warehouse(self.home / "warehouse.duckdb", lock_wait_seconds=5).reading() as con:
            return con.execute(query).df()


def platform(home: Path) -> Platform:
    return Platform(load_settings({}, config=SETTINGS, flags={"home": home}))


@pytest.fixture(scope="module")
def yahoo_source(real: Path, tmp_path_factory: pytest.TempPathFactory) -> PriceSource:
    """The Yahoo archive; made once, since it reads two million rows."""
    return platform(tmp_path_factory.mktemp("unused")).price_source(YAHOO)


@pytest.fixture(scope="module")
def world(real: Path, yahoo_source: PriceSource, tmp_path_factory: pytest.TempPathFactory) -> World:
    """Everything in one warehouse, as a user would have it.

    So the tests also see that each source's prices are read with that source's own actions, and
    that FB of one archive and META of the other become one security.
    """
    home = tmp_path_factory.mktemp("world")
    here = platform(home)
    path = here.settings.warehouse_path

    def loaded(
        source: PriceSource, symbols: Iterable[str], start: dt.date, end: dt.date
    ) -> LoadReport:
        return load_prices(
            here.warehouse, source, Window(tuple(symbols), start, end), here.calendar
        )

    alphavantage = here.price_source(AS_TRADED)
    as_traded = loaded(alphavantage, alphavantage.symbols(), FIRST, LAST)
    before = path.stat()
    again = loaded(alphavantage, alphavantage.symbols(), FIRST, LAST)
    after = path.stat()
    symbols = [symbol for symbol in yahoo_source.symbols() if symbol not in OTHER_COMPANIES]
    yahoo = loaded(yahoo_source, symbols, FIRST, YAHOO_LAST)
    loaded(here.price_source("files:alpaca_etfs"), ["SPY"], dt.date(2022, 11, 7), YAHOO_LAST)
    changed = (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, after.st_size)
    return World(home, as_traded, again, yahoo, changed)


@pytest.fixture(scope="module")
def vendor(real: Path) -> pd.DataFrame:
    """The as-traded archive as the file has it, sorted by symbol and session."""
    path = real / "prices" / "alphavantage_sp500_daily_adjusted_20130102_20210421.parquet"
    frame = pd.read_parquet(path).rename(columns={"date": "session"})
    frame["session"] = frame["session"].astype("datetime64[s]")
    return frame.sort_values(["symbol", "session"], ignore_index=True)


def read_all(world: World, source: str, adjust: str) -> pd.DataFrame:
    """Closes of everything a source has in the as-traded archive's years."""
    return prices(
        None,
        FIRST,
        LAST,
        adjust=adjust,
        fields=["close"],
        source=source,
        home=world.home,
    )


def test_the_archive_arrives_whole_and_a_second_load_writes_nothing(world: World) -> None:
    assert world.as_traded.total("inserted") == 1_022_032
    assert world.as_traded.total("quarantined") == 0
    assert world.as_traded.total("failed") == 0
    stored = world.rows(f"select count(*) from daily_prices where source = '{AS_TRADED}'")
    assert stored == [(1_022_032,)]
    assert world.again.up_to_date == 504
    assert world.again.symbols == ()
    assert not world.changed_by_again


def test_yahoos_three_impossible_rows_are_set_aside(world: World) -> None:
    assert world.yahoo.total("failed") == 0
    assert world.rows("select source, symbol, session, reason from quarantine order by 2") == [
        (YAHOO, "HUBB", "2021-05-05", "open is below low"),
        (YAHOO, "PEAK", "2021-05-05", "open is above high"),
        (YAHOO, "UA", "2021-05-05", "open is below low"),
    ]


def test_a_ticker_that_named_another_company_then_is_not_stored_as_the_one_it_names_now(
    yahoo_source: PriceSource, calendar: Calendar, tmp_path: Path
) -> None:
    # The Yahoo archive ends in 2024, when BNY was a fund. In 2026 Bank of New York took the ticker.
    warehouse = Warehouse(tmp_path / "warehouse.duckdb", lock_wait_seconds=5)
    days = Window(("BK", "BNY"), dt.date(2024, 3, 7), dt.date(2024, 3, 8))
    load_prices(warehouse, yahoo_source, days, calendar)
    bank = prices("BK", "2024-03-07", "2024-03-08", fields=["close"], home=tmp_path)
    assert bank["close"].round(2).tolist() == [55.73, 55.47]


@pytest.mark.parametrize(
    ("symbol", "days", "closes", "split_adjusted"),
    [
        ("AAPL", ["2014-06-06", "2014-06-09"], [645.57, 93.70], [92.2243, 93.70]),
        ("AAPL", ["2020-08-28", "2020-08-31"], [499.23, 129.04], [124.8075, 129.04]),
        ("TSLA", ["2020-08-28", "2020-08-31"], [2213.40, 498.32], [442.68, 498.32]),
    ],
)
def test_a_split_is_seen_as_traded_and_taken_out_when_asked(
    world: World,
    symbol: str,
    days: list[str],
    closes: list[float],
    split_adjusted: list[float],
) -> None:
    to = {"adjust": "split", "adjust_to": days[1]}
    assert [world.close(symbol, day) for day in days] == closes
    assert [world.close(symbol, day, **to) for day in days] == split_adjusted


@pytest.mark.parametrize(
    ("symbol", "day", "adjust_to", "close"),
    [
        # Apple split 7:1 on 2014-06-09 and 4:1 on 2020-08-31; as traded 645.57, 93.70, 129.41.
        ("AAPL", "2014-06-06", "2014-06-06", 645.57),
        ("AAPL", "2014-06-06", "2018-01-02", 92.2243),
        ("AAPL", "2014-06-06", "2021-04-21", 23.0561),
        ("AAPL", "2014-06-06", None, 23.0561),
        ("AAPL", "2014-06-09", "2014-06-06", 655.90),
        ("AAPL", "2014-06-09", "2018-01-02", 93.70),
        ("AAPL", "2021-01-04", "2018-01-02", 517.64),
        ("AAPL", "2021-01-04", "2013-01-02", 3623.48),
        # Tesla split 5:1 on 2020-08-31; as traded 729.77.
        ("TSLA", "2021-01-04", "2020-08-28", 3648.85),
        ("TSLA", "2021-01-04", "2020-08-31", 729.77),
        ("TSLA", "2020-08-28", "2020-08-28", 2213.40),
    ],
)
def test_prices_come_in_the_shares_of_any_day(
    world: World, symbol: str, day: str, adjust_to: str | None, close: float
) -> None:
    assert world.close(symbol, day, adjust="split", adjust_to=adjust_to) == close
    if adjust_to is not None:
        assert world.close(symbol, day, adjust="none", adjust_to=adjust_to) == close


@pytest.mark.parametrize(
    ("symbol", "day", "adjust_to", "volume"),
    [
        ("AAPL", "2014-06-06", "2014-06-06", 12_497_800),
        ("AAPL", "2014-06-06", "2014-06-09", 87_484_600),
        ("AAPL", "2014-06-06", "2021-04-21", 349_938_400),
        ("TSLA", "2021-01-04", "2020-08-28", 9_727_637.8),
        # eBay's separation from PayPal on 2015-07-20 left the number of shares as it was.
        ("EBAY", "2015-07-17", "2015-07-20", 26_169_406),
    ],
)
def test_volumes_go_the_other_way(
    world: World, symbol: str, day: str, adjust_to: str, volume: float
) -> None:
    assert world.volume(symbol, day, adjust="split", adjust_to=adjust_to) == volume


def test_a_spin_off_is_taken_out_unless_it_is_to_be_seen(world: World) -> None:
    # eBay closed at 66.29; a PayPal share worth 38.39 was distributed; eBay closed at 28.57.
    to = {"adjust": "split", "adjust_to": "2015-07-20"}
    assert world.close("EBAY", "2015-07-17") == 66.29
    assert world.close("EBAY", "2015-07-17", **to) == 27.90  # 66.29 - 38.39
    assert world.close("EBAY", "2015-07-17", spin_offs=False, **to) == 66.29
    assert world.close("EBAY", "2015-07-20", **to) == 28.57


def test_the_dividends_of_a_year_are_stored_as_paid(world: World) -> None:
    paid = world.rows(
        "select ex_date, kind, amount, a.currency, a.basis_on from corporate_actions a"
        " join symbol_history using (security_id) where symbol = 'MSFT'"
        f" and a.source = '{AS_TRADED}' and year(ex_date) = 2019 order by 1"
    )
    assert paid == [
        (day, "cash_dividend", amount, "USD", day)
        for day, amount in [
            (dt.date(2019, 2, 20), 0.46),
            (dt.date(2019, 5, 15), 0.46),
            (dt.date(2019, 8, 14), 0.46),
            (dt.date(2019, 11, 20), 0.51),
        ]
    ]


@pytest.mark.parametrize(
    ("symbol", "before", "ex_date", "value_of_one"),
    [
        ("MSFT", "2019-02-19", "2019-02-20", (107.15 + 0.46) / 108.17),
        ("KLAC", "2014-11-25", "2014-11-26", (67.335 + 16.50) / 84.18),
        ("AAPL", "2020-08-28", "2020-08-31", 129.04 * 4 / 499.23),
        # A 1:3 reverse split and two spin-offs worth 24.48 per new share on one day.
        ("HLT", "2017-01-03", "2017-01-04", (58.00 + 24.48) / 3 / 27.39),
    ],
)
def test_a_total_return_reinvests_at_the_close_of_the_ex_date(
    world: World, symbol: str, before: str, ex_date: str, value_of_one: float
) -> None:
    total = prices(
        symbol,
        before,
        ex_date,
        adjust="total_return",
        adjust_to=ex_date,
        fields=["close"],
        source=AS_TRADED,
        home=world.home,
    )["close"]
    assert total.iloc[1] / total.iloc[0] == pytest.approx(value_of_one, rel=1e-9)
    assert total.iloc[1] == world.close(symbol, ex_date)


SAME_DAY = {
    ("HBI", dt.date(2015, 3, 4)): [("split", 4.0, None, None, 4.0, 3.0)],
    ("HLT", dt.date(2017, 1, 4)): [
        ("spin_off", None, 24.48, None, None, 24.48),
        ("split", 1 / 3, None, None, 0.333333333333, None),
    ],
    ("LDOS", dt.date(2013, 9, 30)): [
        ("spin_off", None, 21.3549, None, None, 21.3549),
        ("split", 0.25, None, None, 0.25, None),
    ],
    ("MET", dt.date(2017, 8, 7)): [("spin_off", None, 5.87, None, 1.122, 5.87)],
    ("ROST", dt.date(2015, 6, 12)): [("split", 2.0, None, None, 2.0, 2.0)],
    ("RTX", dt.date(2020, 4, 3)): [("spin_off", None, None, 1.589, 1.589, 13.28)],
}
"""Kind, ratio, amount, value factor, reported split and reported dividend (section 5)."""


@pytest.mark.parametrize(("symbol", "ex_date"), list(SAME_DAY))
def test_a_day_with_both_numbers_is_stored_as_what_happened(
    world: World, symbol: str, ex_date: dt.date
) -> None:
    stored = world.rows(
        "select kind, ratio, amount, value_factor, reported_ratio, reported_amount"
        " from corporate_actions join symbol_history using (security_id)"
        f" where symbol = '{symbol}' and ex_date = date '{ex_date}'"
        f" and corporate_actions.source = '{AS_TRADED}' order by kind"
    )
    assert stored == SAME_DAY[symbol, ex_date]


def test_sixteen_of_the_vendors_86_splits_are_something_else(
    world: World, vendor: pd.DataFrame
) -> None:
    assert int((vendor["split"] != 1).sum()) == 86
    others = world.rows(
        "select l.symbol, ex_date::varchar, kind from corporate_actions a"
        " join load_run_symbols l using (security_id)"
        f" where a.source = '{AS_TRADED}' and l.source = '{AS_TRADED}'"
        " and reported_ratio is not null and kind <> 'split' order by 1, 2"
    )
    assert others == [
        ("DD", "2019-04-02", "spin_off"),
        ("DOV", "2018-05-09", "spin_off"),
        ("FMC", "2019-03-04", "spin_off"),
        ("FTV", "2020-10-09", "spin_off"),
        ("HON", "2018-10-01", "spin_off"),
        ("HON", "2018-10-29", "spin_off"),
        ("HSIC", "2019-02-08", "spin_off"),
        ("JCI", "2016-09-06", "merger_terms"),
        ("LEN", "2017-11-09", "spin_off"),
        ("MET", "2017-08-07", "spin_off"),
        ("PFE", "2020-11-17", "spin_off"),
        ("PNR", "2018-05-01", "spin_off"),
        ("RTX", "2020-04-03", "spin_off"),
        ("UAA", "2016-04-08", "stock_dividend"),
        ("VFC", "2019-05-23", "spin_off"),
        ("VNO", "2017-07-18", "spin_off"),
    ]


STILL_DIFFERENT = {
    "ADP": "both vendors value CDK Global, 0.4 % of the price apart",
    "APTV": "both vendors value Delphi Technologies, 1.7 % of the price apart",
    "CBOE": "Yahoo lowers its close by ordinary dividends",
    "DD": "before 2017-09 du Pont in one archive and Dow in the other",
    "HLT": "both vendors value Park Hotels and Hilton Grand Vacations, 2.6 % of the price apart",
    "HPE": "both vendors value Everett, 0.7 % of the price apart",
    "IRM": "a distribution paid in cash and stock, stored as one amount",
    "LDOS": "both vendors value the new SAIC, 8 % of the price apart",
    "OXY": "both vendors value California Resources, 0.14 % of the price apart",
    "PPL": "both vendors value Talen, 0.4 % of the price apart",
    "SPG": "both vendors value Washington Prime, 0.25 % of the price apart",
    "VTR": "Yahoo's factor of Care Capital Properties is upside down",
}
"""Symbols more than 2 % of whose days disagree (section 6), each because of one event."""


@pytest.fixture(scope="module")
def compared(world: World, vendor: pd.DataFrame, real: Path) -> pd.DataFrame:
    """Symbol-days of both archives without an action after the as-traded archive (section 1).

    Columns: symbol, session, ``ratio`` of our split-adjusted close to Yahoo's, ``vendors`` the same
    with every number of the vendor's split column applied, as the vendor's own user would.
    """
    path = real / "prices" / "yahoo_sp500ever_daily_20100104_20240308.parquet"
    yahoo = pd.read_parquet(path, columns=["symbol", "date", "close"])
    yahoo["session"] = yahoo.pop("date").astype("datetime64[s]")
    product = vendor.groupby("symbol")["split"].cumprod()
    later = product.groupby(vendor["symbol"]).transform("last") / product
    raw = vendor[["symbol", "session"]].assign(raw=vendor["close"] / later)
    both = raw.merge(yahoo, on=["symbol", "session"])
    assert len(both) == 949_258
    both["vendors"] = both["raw"] / both["close"]
    end = both.groupby("symbol")["vendors"].transform("last")
    both = both[(end - 1).abs() <= AGREES]
    ours = read_all(world, AS_TRADED, "split")
    theirs = read_all(world, YAHOO, "none").rename(columns={"close": "yahoo"})
    read = ours.merge(theirs, on=["symbol", "session"])
    read["ratio"] = read["close"] / read["yahoo"]
    keys = ["symbol", "session"]
    joined = both[[*keys, "vendors"]].merge(read[[*keys, "ratio"]], on=keys, validate="1:1")
    assert len(joined) == len(both) == 878_867
    return joined


def disagreeing(ratio: pd.Series) -> pd.Series:
    return (ratio - 1).abs() > AGREES


def test_split_adjusted_closes_agree_with_yahoo_where_the_vendors_agree(
    compared: pd.DataFrame,
) -> None:
    per_symbol = disagreeing(compared["vendors"]).groupby(compared["symbol"]).mean()
    clean = per_symbol.index[per_symbol <= 0.02]
    assert len(clean) == 399
    among = compared[compared["symbol"].isin(clean)]
    off = disagreeing(among["ratio"])
    assert (len(off), int(off.sum())) == (807_042, 189)
    assert 1 - off.mean() > 0.9997


def test_split_adjusted_closes_agree_with_yahoo_but_for_twelve_symbols(
    compared: pd.DataFrame,
) -> None:
    off = disagreeing(compared["ratio"])
    per_symbol = off.groupby(compared["symbol"]).mean()
    assert len(per_symbol) == 435
    assert set(per_symbol.index[per_symbol > 0.02]) == set(STILL_DIFFERENT)
    others = ~compared["symbol"].isin(list(STILL_DIFFERENT))
    assert 1 - off[others].mean() > 0.9997
    assert 1 - off.mean() > 0.99
    # With the vendor's own numbers it is 36 symbols and more than twice as many days.
    assert 1 - disagreeing(compared["vendors"]).mean() < 0.974


@pytest.fixture(scope="module")
def returns(world: World, vendor: pd.DataFrame) -> pd.DataFrame:
    """Growth over each day, three ways: the reported numbers, the vendor's adjusted close, ours.

    Rows are those with a session before in the same symbol.
    """
    stored = world.frame(
        "with told as (select security_id, ex_date, max(reported_ratio) as ratio,"
        f" max(reported_amount) as amount from corporate_actions where source = '{AS_TRADED}'"
        " group by all) select l.symbol, p.session, p.close, coalesce(told.ratio, 1) as ratio,"
        " coalesce(told.amount, 0) as amount from daily_prices p"
        " join load_run_symbols l using (security_id)"
        " left join told on told.security_id = p.security_id and told.ex_date = p.session"
        f" where p.source = '{AS_TRADED}' and l.source = '{AS_TRADED}'"
    )
    stored["session"] = stored["session"].astype("datetime64[s]")
    ours = read_all(world, AS_TRADED, "total_return").rename(columns={"close": "total"})
    keys = ["symbol", "session"]
    rows = (
        stored.merge(ours, on=keys, validate="1:1")
        .merge(vendor[[*keys, "adjusted_close"]], on=keys, validate="1:1")
        .sort_values(keys, ignore_index=True)
    )
    assert len(rows) == 1_022_032
    before = rows.shift()
    growth = rows[keys].assign(
        reported=(rows["close"] + rows["amount"]) * rows["ratio"] / before["close"],
        vendors=rows["adjusted_close"] / before["adjusted_close"],
        ours=rows["total"] / before["total"],
    )
    growth = growth[rows["symbol"] == before["symbol"]]
    assert len(growth) == 1_021_528
    return growth


def days(growth: pd.DataFrame) -> set[tuple[str, str]]:
    return set(zip(growth["symbol"], growth["session"].dt.strftime("%Y-%m-%d"), strict=True))


def test_the_vendors_adjusted_close_follows_from_what_it_reports(returns: pd.DataFrame) -> None:
    off = returns[(returns["reported"] - returns["vendors"]).abs() > 1e-4]
    assert days(off) == {
        ("TMUS", "2013-05-01"),  # a reverse split missing from its split column
        ("WDC", "2020-07-17"),  # a close rounded to 43.40 from 43.405
        ("WDC", "2020-07-20"),
    }


def test_total_returns_are_the_vendors_but_for_the_records_set_right(
    returns: pd.DataFrame,
) -> None:
    kinds = pd.read_csv(KINDS, keep_default_na=False)
    set_right = (kinds["made_from"] == "none") | (kinds["repeats"] != "")
    corrected = kinds[set_right | (kinds["kind"] == "vendor_error")]
    decided = set(zip(corrected["symbol"], corrected["ex_date"], strict=True))
    off = days(returns[(returns["ours"] - returns["vendors"]).abs() > 1e-4])
    assert off - decided == {("WDC", "2020-07-17"), ("WDC", "2020-07-20")}
    # Decided, yet the same in the end: a reverse split the vendor's close knew all along, and a
    # stock dividend booked at the close of that day.
    assert decided - off == {("TMUS", "2013-05-01"), ("DISCK", "2014-08-07")}
    assert len(decided) == 64


def test_fb_of_one_archive_and_meta_of_the_other_are_one_security(world: World) -> None:
    old = prices("FB", FIRST, LAST, fields=["close"], source=AS_TRADED, home=world.home)
    new = prices("META", FIRST, LAST, fields=["close"], source=YAHOO, home=world.home)
    assert len(old) == len(new) == 2090
    apart = np.abs(old["close"].to_numpy() / new["close"].to_numpy() - 1)
    assert np.median(apart) < 1e-6
    assert (apart > AGREES).sum() <= 2
    one = prices(["FB", "META"], "2021-04-20", "2021-04-23", fields=["close"], home=world.home)
    assert one["symbol"].unique().tolist() == ["FB"]
    # As traded as long as that archive goes, then Yahoo's.
    assert one["close"].round(2).tolist() == [302.65, 301.47, 296.52, 301.13]


RENAMED = {
    "ABC": "COR",
    "BFB": "BF.B",
    "BRKB": "BRK.B",
    "CDAY": "DAY",
    "DOC": "PEAK",
    "FBHS": "FBIN",
    "FISV": "FI",
    "NLOK": "GEN",
    "PKI": "RVTY",
    "RE": "EG",
}
"""The fund's tickers as the Yahoo archive, made in 2024-03, has them."""


def test_the_index_is_the_sum_of_its_members(
    world: World, yahoo_source: PriceSource, real: Path
) -> None:
    """An index fund's weights times our total returns give the return of another index fund."""
    first, last = dt.date(2022, 11, 8), YAHOO_LAST
    held = pd.read_parquet(
        real / "membership" / "ishares_ivv_holdings_20061031_20250630.parquet",
        columns=["date", "symbol", "weight_pct"],
        filters=[("date", ">=", first), ("date", "<=", last), ("asset_class", "==", "Equity")],
    )
    held["symbol"] = held["symbol"].replace(RENAMED)
    # A file of day t is made before the open with the closes of t - 1: the weights of day t's
    # return, known when it begins.
    weights = held.pivot_table(index="date", columns="symbol", values="weight_pct", aggfunc="sum")
    weights.index = weights.index.astype("datetime64[s]")
    members = sorted(set(weights.columns) & set(yahoo_source.symbols()))
    close = prices(
        members,
        dt.date(2022, 11, 7),
        last,
        adjust="total_return",
        fields=["close"],
        shape="wide",
        source=YAHOO,
        home=world.home,
    )
    growth = close.pct_change(fill_method=None)
    weights = weights.reindex(index=growth.index, columns=growth.columns)
    weights = weights.where(growth.notna()).dropna(how="all")
    assert weights.sum(axis=1).min() > 97.5
    index = (weights * growth.loc[weights.index]).sum(axis=1) / weights.sum(axis=1)
    fund = prices(
        "SPY",
        dt.date(2022, 11, 7),
        last,
        fields=["close"],
        source="files:alpaca_etfs",
        home=world.home,
    ).set_index("session")["close"]
    apart = (index - fund.pct_change()).loc[weights.index].abs() * 1e4
    assert len(apart) == 333
    assert apart.median() <= 3
    assert apart.max() <= 20
