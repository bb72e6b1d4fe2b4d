"""The simulated market: same seed, same rows; every kind of event; nothing told too early."""

from __future__ import annotations

import datetime as dt
import warnings
from functools import lru_cache

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quant_assets.contracts.membership import MembershipInterval
from quant_assets.contracts.prices import ACTION_COLUMNS, EMPTY_COLUMNS, PRICE_COLUMNS, PriceAnswer
from quant_assets.contracts.source import Request, UnknownSymbolAtSource
from quant_assets.reference.calendars import exchange_calendar
from quant_assets.reference.identity import canonical_symbol
from quant_assets.sources.simulated.market import SimulatedMarket
from quant_assets_tests.conftest import examples

with warnings.catch_warnings():
    # exchange_calendars 4.13 reads Series.values, which pandas 3.1 announces to change.
    warnings.simplefilter("ignore", pd.errors.Pandas4Warning)
    XNYS = exchange_calendar("XNYS")
START = dt.date(2023, 1, 3)
END = dt.date(2024, 12, 31)
TWO_YEARS = SimulatedMarket(XNYS, START, END)

DELISTED, RENAMED, NEW_NAME, LATE, HALTED = "XDAFI", "XDAFU", "ZDAFU", "XDAFE", "XDALO"


def ask(
    market: SimulatedMarket,
    *symbols: str,
    start: dt.date = START,
    end: dt.date = END,
) -> PriceAnswer:
    """All chunks of an answer as one."""
    chunks = list(market.fetch([Request(symbol, start, end) for symbol in symbols]))
    return PriceAnswer(
        symbols=tuple(symbol for chunk in chunks for symbol in chunk.symbols),
        rows=pa.concat_tables(chunk.rows for chunk in chunks),
        actions=pa.concat_tables(chunk.actions for chunk in chunks),
        empty=pa.concat_tables(chunk.empty for chunk in chunks),
        failures={symbol: why for chunk in chunks for symbol, why in chunk.failures.items()},
    )


@lru_cache(maxsize=1)
def two_years() -> PriceAnswer:
    return ask(TWO_YEARS, *TWO_YEARS.symbols())


def empty_sessions(answer: PriceAnswer) -> dict[str, tuple[dt.date, dt.date, int]]:
    """First and last session and count by reason."""
    days = answer.empty.to_pandas().groupby("reason").session
    return {str(reason): (min(d), max(d), len(d)) for reason, d in days}


def test_the_same_seed_gives_the_same_rows_and_another_seed_gives_others() -> None:
    again = ask(SimulatedMarket(XNYS, START, END), *TWO_YEARS.symbols())
    assert again == two_years()
    other = ask(SimulatedMarket(XNYS, START, END, seed=8), *TWO_YEARS.symbols())
    assert other.rows["close"] != again.rows["close"]


def test_a_security_is_the_same_alone_and_in_a_larger_market() -> None:
    large = SimulatedMarket(XNYS, START, END, securities_count=2000)
    alone, among_others = ask(TWO_YEARS, RENAMED), ask(large, RENAMED, "XDADA")
    assert alone.rows.num_rows == 502
    assert alone.rows.equals(among_others.rows.slice(0, 502))


@pytest.mark.parametrize("end", [dt.date(2023, 1, 3), dt.date(2023, 6, 14), dt.date(2024, 12, 30)])
def test_a_later_end_changes_nothing_before_it(end: dt.date) -> None:
    earlier = SimulatedMarket(XNYS, START, end)
    assert set(earlier.symbols()) <= set(TWO_YEARS.symbols())
    # This request reaches beyond what the market knows: that must be left out of the answer.
    then = ask(earlier, *earlier.symbols())
    now = ask(TWO_YEARS, *earlier.symbols())
    assert then.rows.equals(now.rows.filter(pc.field("session") <= end))
    assert then.actions.equals(now.actions.filter(pc.field("ex_date") <= end))
    assert then.empty.equals(now.empty.filter(pc.field("session") <= end))


def test_a_window_is_a_cut_out_of_the_whole() -> None:
    first, last = dt.date(2023, 5, 6), dt.date(2023, 7, 20)
    part, whole = ask(TWO_YEARS, *TWO_YEARS.symbols(), start=first, end=last), two_years()
    session, ex_date = pc.field("session"), pc.field("ex_date")
    assert part.rows.equals(whole.rows.filter((session >= first) & (session <= last)))
    assert part.actions.equals(whole.actions.filter((ex_date >= first) & (ex_date <= last)))
    assert part.empty.equals(whole.empty.filter((session >= first) & (session <= last)))


def test_answers_have_the_columns_of_the_contract_in_as_traded_dollars() -> None:
    answer = two_years()
    assert answer.rows.schema == PRICE_COLUMNS
    assert answer.actions.schema == ACTION_COLUMNS
    assert answer.empty.schema == EMPTY_COLUMNS
    assert answer.rows["basis_on"] == answer.rows["session"]
    assert answer.actions["basis_on"] == answer.actions["ex_date"]
    assert answer.actions["reported_ratio"] == answer.actions["ratio"]
    assert answer.actions["reported_amount"] == answer.actions["amount"]
    assert set(answer.rows["currency"].to_pylist()) == {"USD"}
    assert TWO_YEARS.profile.simulated
    assert TWO_YEARS.profile.price_basis == "as_traded"


def test_each_session_of_a_symbol_is_either_a_row_or_confirmed_empty() -> None:
    answer = ask(TWO_YEARS, *TWO_YEARS.symbols(), start=dt.date(2022, 12, 23))
    tables = (answer.rows, answer.empty)
    told = pd.concat([table.select(["symbol", "session"]).to_pandas() for table in tables])
    assert not told.duplicated().any()
    sessions = XNYS.between(dt.date(2022, 12, 23), END)
    by_symbol = told.groupby("symbol").session.agg(lambda days: tuple(sorted(days)))
    assert dict(by_symbol) == dict.fromkeys(TWO_YEARS.symbols(), sessions)


@examples(25)
@given(
    seed=st.integers(0, 2**32),
    index=st.integers(0, 59),
    start=st.dates(dt.date(1996, 1, 2), dt.date(2015, 1, 2)),
)
def test_open_and_close_lie_between_low_and_high_in_whole_cents(
    seed: int, index: int, start: dt.date
) -> None:
    market = SimulatedMarket(XNYS, start, END, securities_count=60, seed=seed)
    rows = ask(market, market.symbols()[index], start=start).rows.to_pandas()
    assert len(rows) > 0
    assert (rows["low"] >= 0.01).all()
    assert (rows["low"] <= rows[["open", "close"]].min(axis=1)).all()
    assert (rows["high"] >= rows[["open", "close"]].max(axis=1)).all()
    prices = rows[["open", "high", "low", "close"]]
    assert prices.round(2).equals(prices)
    assert (rows["volume"] >= 1).all()
    assert (rows["volume"] % 1 == 0).all()


def test_a_small_market_has_every_kind_of_event_within_a_year() -> None:
    market = SimulatedMarket(XNYS, START, dt.date(2023, 12, 29))
    answer = ask(market, *market.symbols())
    actions = answer.actions.to_pandas()
    assert set(actions["kind"]) == {"split", "cash_dividend", "special_dividend", "spin_off"}
    assert set(actions["ratio"].dropna()) == {2.0, 3.0, 1.5, 0.2}
    payers = actions[actions["kind"] == "cash_dividend"]["symbol"]
    assert payers.nunique() == 10
    assert payers.value_counts().max() == 4
    assert set(empty_sessions(answer)) == {
        "halted",
        "delisted on 2023-05-09",
        "not listed before 2023-03-24",
    }
    stays = market.fetch_universe().intervals
    assert any(stay.effective_on > START for stay in stays)
    assert any(stay.removed_on is not None for stay in stays)


def test_an_action_shows_in_as_traded_prices() -> None:
    rows = two_years().rows.to_pandas().set_index(["symbol", "session"])
    actions = two_years().actions.to_pandas().fillna({"ratio": 1.0, "amount": 0.0})
    closes = rows["close"]
    before = closes.groupby("symbol").shift()
    seen: dict[str, list[float]] = {}
    for action in actions.itertuples():
        at = (action.symbol, action.ex_date)
        kept = (closes[at] + action.amount) * action.ratio / before[at]
        assert kept == pytest.approx(1, abs=0.1), action
        seen.setdefault(action.kind, []).append(action.amount / before[at])
    assert {kind: len(shares) for kind, shares in seen.items()} == {
        "cash_dividend": 76,
        "special_dividend": 1,
        "spin_off": 1,
        "split": 4,
    }
    assert seen["cash_dividend"] == pytest.approx([0.005] * 76, abs=0.0005)
    assert [*seen["special_dividend"], *seen["spin_off"]] == pytest.approx([0.06, 0.12], abs=0.0005)
    leaps = closes[(closes / before - 1).abs() > 0.1].reset_index()
    # Four splits, the spin-off, and the ticker that passes to another company: nothing else.
    assert [*leaps["symbol"]] == ["XDADA", "XDADE", "XDADI", "XDADO", "XDAFA", DELISTED]


def test_a_renamed_security_answers_to_both_names_with_all_its_history() -> None:
    old, new = ask(TWO_YEARS, RENAMED), ask(TWO_YEARS, NEW_NAME)
    assert old.rows.num_rows == 502
    assert old.rows.drop_columns("symbol") == new.rows.drop_columns("symbol")
    assert set(new.rows["symbol"].to_pylist()) == {NEW_NAME}
    names = [name for name in TWO_YEARS.fetch_universe().names if name.slug == "sim_0010"]
    assert [(name.symbol, name.valid_from, name.valid_to) for name in names] == [
        (RENAMED, START, dt.date(2023, 6, 26)),
        (NEW_NAME, dt.date(2023, 6, 26), None),
    ]


def test_nothing_is_told_before_it_happens() -> None:
    day_before_rename = SimulatedMarket(XNYS, START, dt.date(2023, 6, 23))
    assert NEW_NAME not in day_before_rename.symbols()
    assert NEW_NAME in ask(day_before_rename, NEW_NAME).failures
    universe = SimulatedMarket(XNYS, START, dt.date(2023, 3, 23)).fetch_universe()
    assert {(name.valid_from, name.valid_to) for name in universe.names} == {(START, None)}
    assert {(s.effective_on, s.removed_on) for s in universe.intervals} == {(START, None)}
    # Of twenty, two are listed later and one joins later.
    assert len(universe.names) == 18
    assert len(universe.constituents) == 17


def test_a_reused_ticker_never_mixes_its_two_companies() -> None:
    names = [name for name in TWO_YEARS.fetch_universe().names if name.symbol == DELISTED]
    assert [(name.slug, name.valid_from, name.valid_to) for name in names] == [
        ("sim_0008", START, dt.date(2023, 5, 9)),
        ("sim_0009", dt.date(2023, 8, 7), None),
    ]
    answer = ask(TWO_YEARS, DELISTED)
    sessions = answer.rows["session"].to_pylist()
    gap = XNYS.between(dt.date(2023, 5, 9), dt.date(2023, 8, 4))
    assert not set(sessions) & set(gap)
    assert len(sessions) + len(gap) == 502
    assert empty_sessions(answer) == {"delisted on 2023-05-09": (gap[0], gap[-1], len(gap))}


def test_sessions_before_listing_are_confirmed_empty() -> None:
    assert empty_sessions(ask(TWO_YEARS, LATE)) == {
        "not listed before 2023-03-24": (START, dt.date(2023, 3, 23), 56)
    }


def test_halts_are_confirmed_empty() -> None:
    answer = ask(TWO_YEARS, HALTED)
    halted = answer.empty["session"].to_pylist()
    assert answer.rows.num_rows + len(halted) == 502
    assert set(answer.empty["reason"].to_pylist()) == {"halted"}
    assert halted[:3] == [dt.date(2023, 3, 7), dt.date(2023, 3, 8), dt.date(2023, 9, 6)]


def test_an_unknown_symbol_fails_alone() -> None:
    answer = ask(TWO_YEARS, "XDADA", "AAPL")
    assert answer.symbols == ("XDADA", "AAPL")
    assert set(answer.rows["symbol"].to_pylist()) == {"XDADA"}
    assert isinstance(answer.failures["AAPL"], UnknownSymbolAtSource)
    assert list(answer.failures) == ["AAPL"]


def test_members_are_listed_and_stays_follow_listing_renames_and_removal() -> None:
    universe = TWO_YEARS.fetch_universe()
    changes = [s for s in universe.intervals if s.effective_on > START or s.removed_on]
    assert changes == [
        MembershipInterval(LATE, dt.date(2023, 3, 24), None, "sim_0007"),
        MembershipInterval(DELISTED, START, dt.date(2023, 5, 9), "sim_0008"),
        MembershipInterval(DELISTED, dt.date(2023, 8, 7), None, "sim_0009"),
        MembershipInterval(RENAMED, START, dt.date(2023, 6, 26), "sim_0010"),
        MembershipInterval(NEW_NAME, dt.date(2023, 6, 26), None, "sim_0010"),
        MembershipInterval("XDALA", dt.date(2023, 4, 14), None, "sim_0011"),
        MembershipInterval("XDALE", START, dt.date(2023, 7, 27), "sim_0012"),
    ]
    still_in = {stay.symbol for stay in universe.intervals if stay.removed_on is None}
    assert {member.symbol for member in universe.constituents} == still_in
    assert len(universe.constituents) == 18
    renamed = next(member for member in universe.constituents if member.symbol == NEW_NAME)
    assert renamed.added_on == START


def test_two_thousand_tickers_are_distinct_and_well_spelt() -> None:
    market = SimulatedMarket(XNYS, dt.date(2015, 1, 2), END, securities_count=3000)
    symbols = market.symbols()
    # Each rename brings a ticker, each reuse spares one.
    assert len(symbols) == len(set(symbols)) == 3000
    assert list(symbols) == sorted(map(canonical_symbol, symbols))


def test_an_impossible_market_is_refused() -> None:
    with pytest.raises(ValueError, match="0 securities and seed 7: give at least one"):
        SimulatedMarket(XNYS, START, END, securities_count=0)
    with pytest.raises(ValueError, match="XNYS has no session in 2024-12-31 to 2023-01-03"):
        SimulatedMarket(XNYS, END, START)
