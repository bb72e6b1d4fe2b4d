"""Spin-offs undone, on charts made the way Yahoo makes them: whole cents times a factor, rounded to
six decimals and then to 32 bits."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from quant_assets.price_rules.corporate_actions import plain_ratio
from quant_assets.price_rules.spin_offs import Grid, Undone, basis_unknown, undo
from quant_assets.price_rules.whole_cents import Days, Floats
from quant_assets.reference.spin_offs import known_spin_offs
from quant_assets.sources.yahoo.shares import ROUNDING_ERROR, as_traded

Events = list[tuple[dt.date, float]]

FACTORS = (0.418235, 0.75019, 0.789266, 0.940203)


def sessions(count: int, first: str = "2015-01-02") -> Days:
    return np.busday_offset(np.datetime64(first), np.arange(count), roll="forward")


def walk(count: int, start: float, seed: int, decimals: int = 2) -> Grid:
    """Opens, highs, lows and closes of a random walk, in whole cents unless told otherwise."""
    random = np.random.default_rng(seed)
    close = start * np.exp(np.cumsum(random.normal(0, 0.015, count)))
    four = close[:, None] * np.exp(random.normal(0, 0.007, (count, 3)))
    four = np.column_stack([four, close])
    ordered = np.stack([four[:, 0], four.max(axis=1), four.min(axis=1), close], axis=1)
    return np.round(ordered, decimals)


def market(days: Days, start: float, events: Events, seed: int, decimals: int = 2) -> Grid:
    """Prices as traded: they fall by the factor on each ex-date."""
    prices = walk(len(days), start, seed, 6)
    for day, factor in events:
        prices = prices * np.where(days < np.datetime64(day), 1.0, factor)[:, None]
    return np.round(prices, decimals)


def source(days: Days, prices: Grid, events: Events) -> Grid:
    """The same as Yahoo serves them, with these events worked in."""
    worked_in = np.ones(len(days))
    for day, factor in events:
        worked_in = worked_in * np.where(days < np.datetime64(day), factor, 1.0)
    multiplied = np.round(prices * worked_in[:, None], 6)
    served = np.where((worked_in != 1.0)[:, None], multiplied, prices)
    return np.float32(served).astype(np.float64)


def answers(undone: Undone) -> list[bool | None]:
    return [event.worked_in for event in undone.spin_offs]


def same_to_the_cent(undone: Undone, expected: Grid) -> bool:
    """Rows that had no factor keep their 32 bits; the others are equal."""
    return np.array_equal(np.round(undone.prices, 2), expected) and bool(
        (np.abs(undone.prices - expected) <= expected * 2**-24).all()
    )


@pytest.mark.parametrize("off", [-0.005, -0.0004, 0.0, 0.005])
@pytest.mark.parametrize("factor", FACTORS)
def test_prices_with_a_spin_off_worked_in_are_as_traded_to_the_cent(
    factor: float, off: float
) -> None:
    days = sessions(620)
    day = days[600].item()
    traded = market(days, 80.0, [(day, factor)], 1)
    undone = undo(days, source(days, traded, [(day, factor)]), [(day, factor * (1 + off))])
    assert np.array_equal(undone.prices[:600], traded[:600])
    assert same_to_the_cent(undone, traded)
    [event] = undone.spin_offs
    assert (event.ex_date, event.worked_in, event.exact) == (day, True, True)
    assert event.factor == pytest.approx(factor, rel=1e-7)


@pytest.mark.parametrize("factor", FACTORS)
def test_prices_without_the_spin_off_stay_as_they_are(factor: float) -> None:
    days = sessions(620)
    day = days[600].item()
    served = source(days, market(days, 80.0, [(day, factor)], 2), [])
    undone = undo(days, served, [(day, factor * 1.003)])
    assert np.array_equal(undone.prices, served)
    assert answers(undone) == [False]


@pytest.mark.parametrize("start", [20.0, 80.0, 200.0])
@pytest.mark.parametrize("worked_in", [True, False])
@pytest.mark.parametrize("factor", FACTORS)
def test_three_rows_of_four_prices_decide(factor: float, worked_in: bool, start: float) -> None:
    days = sessions(5)
    day = days[3].item()
    traded = market(days, start, [(day, factor)], 3)
    served = source(days, traded, [(day, factor)] if worked_in else [])
    undone = undo(days, served, [(day, factor * 1.005)])
    assert answers(undone) == [worked_in]
    assert same_to_the_cent(undone, traded)


@given(
    seed=st.integers(0, 10**6),
    start=st.floats(40, 600),
    factors=st.tuples(st.floats(0.2, 0.97), st.floats(0.2, 0.97)),
    off=st.tuples(st.floats(-0.005, 0.005), st.floats(-0.005, 0.005)),
    gaps=st.tuples(st.integers(30, 300), st.integers(30, 300), st.integers(1, 40)),
    worked_in=st.tuples(st.booleans(), st.booleans()),
)
def test_two_spin_offs_are_told_apart_and_undone(  # noqa: PLR0917 - what hypothesis draws
    seed: int,
    start: float,
    factors: tuple[float, float],
    off: tuple[float, float],
    gaps: tuple[int, int, int],
    worked_in: tuple[bool, bool],
) -> None:
    days = sessions(sum(gaps))
    dates = [days[gaps[0]].item(), days[gaps[0] + gaps[1]].item()]
    events = list(zip(dates, factors, strict=True))
    traded = market(days, start, events, seed)
    inside = [event for event, was in zip(events, worked_in, strict=True) if was]
    known = [(day, factor * (1 + by)) for (day, factor), by in zip(events, off, strict=True)]
    undone = undo(days, source(days, traded, inside), known)
    assert answers(undone) == list(worked_in)
    assert same_to_the_cent(undone, traded)


@given(seed=st.integers(0, 10**6), rows=st.integers(1, 300), factor=st.sampled_from(FACTORS))
def test_whole_cents_are_not_found_where_there_are_none(
    seed: int, rows: int, factor: float
) -> None:
    days = sessions(rows + 5)
    day = days[rows].item()
    served = market(days, 40.0, [], seed, decimals=4)
    [event] = undo(days, served, [(day, factor)]).spin_offs
    assert not event.exact
    assert event.worked_in is not False


@pytest.mark.parametrize("share", [0.3, 0.6])
def test_cents_in_a_part_of_the_prices_are_not_those_of_a_factor(share: float) -> None:
    days = sessions(300)
    fine = market(days, 40.0, [], 5, decimals=4)
    some = np.random.default_rng(5).random(fine.shape) < share
    [event] = undo(
        days, np.where(some, np.round(fine, 2), fine), [(days[200].item(), 0.94)]
    ).spin_offs
    assert (event.worked_in, event.exact) == (None, False)


def test_a_few_half_cents_and_bad_ticks_hide_no_factor() -> None:
    days = sessions(300)
    day = days[250].item()
    traded = market(days, 40.0, [(day, 0.75019)], 6)
    traded[::20, 3] += 0.005
    undone = undo(days, source(days, traded, [(day, 0.75019)]), [(day, 0.75)])
    assert answers(undone) == [True]
    assert np.array_equal(undone.prices[:250].round(3), traded[:250].round(3))


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("ratio", [1.0, 4.0, 20.0, 0.125])
def test_errors_that_grew_as_splits_were_undone_are_allowed_for(ratio: float, again: bool) -> None:
    days = sessions(400)
    day = days[350].item()
    traded = market(days, 120.0, [(day, 0.789266)], 7)
    served = np.float32(np.round(source(days, traded, [(day, 0.789266)]) / ratio, 6))
    prices = served.astype(np.float64) * ratio
    if again:  # as the source's reader does
        rows = [
            as_traded(row, np.full(4, ratio), ROUNDING_ERROR) for row in served.astype(np.float64)
        ]
        prices = np.stack(rows)
    undone = undo(days, prices, [(day, 0.79)])
    assert answers(undone) == [True]
    assert np.array_equal(undone.prices[:350], traded[:350])


@given(
    seed=st.integers(0, 10**6),
    start=st.floats(10, 600),
    known=st.tuples(st.floats(0.3, 0.97), st.floats(-0.005, 0.005)),
    rows=st.sampled_from([6, 40, 250, 620]),
    ratio=st.sampled_from([1.5, 2.0, 4.0, 20.0, 100.0, 0.125, 0.05]),
)
@example(
    seed=32,
    start=232.50997683726732,
    known=(0.40736269635109457, -0.0017706482),
    rows=620,
    ratio=20.0,
)
def test_a_factor_called_exact_is_exact(
    seed: int, start: float, known: tuple[float, float], rows: int, ratio: float
) -> None:
    factor, off = known
    days = sessions(rows + 5)
    day = days[rows].item()
    traded = market(days, start, [(day, factor)], seed)
    served = np.float32(np.round(source(days, traded, [(day, factor)]) / ratio, 6))
    prices = [as_traded(row, np.full(4, ratio), ROUNDING_ERROR) for row in np.float64(served)]
    undone = undo(days, np.stack(prices), [(day, factor * (1 + off))])
    assert answers(undone) == [True]
    if undone.spin_offs[0].exact:
        assert np.array_equal(undone.prices[:rows], traded[:rows])
    else:
        assert undone.prices == pytest.approx(traded, rel=0.006)


def test_prices_of_five_hundred_dollars_come_back_to_the_cent() -> None:
    days = sessions(300)
    day = days[250].item()
    traded = market(days, 500.0, [(day, 0.94021)], 8)
    undone = undo(days, source(days, traded, [(day, 0.94021)]), [(day, 0.94)])
    assert np.array_equal(undone.prices[:250], traded[:250])


def test_prices_below_a_dollar_come_back_to_the_hundredth_of_a_cent() -> None:
    days = sessions(300)
    day = days[250].item()
    traded = np.minimum(market(days, 0.4, [(day, 0.789266)], 9, decimals=4), 0.9)
    undone = undo(days, source(days, traded, [(day, 0.789266)]), [(day, 0.79)])
    assert answers(undone) == [True]
    assert np.array_equal(undone.prices[:250], traded[:250])


def sixteenths(days: Days, events: Events, seed: int) -> Grid:
    return np.round(market(days, 40.0, events, seed, decimals=6) * 16) / 16


@pytest.mark.parametrize("worked_in", [True, False])
def test_before_the_cents_the_step_over_a_large_spin_off_decides(worked_in: bool) -> None:
    days = sessions(200, "1999-01-04")
    day = days[150].item()
    traded = sixteenths(days, [(day, 0.418235)], 10)
    served = source(days, traded, [(day, 0.418235)] if worked_in else [])
    undone = undo(days, served, [(day, 0.4183)])
    assert answers(undone) == [worked_in]
    assert undone.spin_offs[0].exact is False
    assert undone.prices == pytest.approx(traded, rel=5e-4)


def test_a_small_step_before_the_cents_decides_nothing() -> None:
    days = sessions(200, "1999-01-04")
    day = days[150].item()
    served = source(days, sixteenths(days, [(day, 0.97)], 11), [])
    undone = undo(days, served, [(day, 0.97)])
    assert answers(undone) == [None]
    assert np.array_equal(undone.prices, served)


def test_a_factor_found_by_the_cents_holds_for_the_fractions_before_them() -> None:
    days = sessions(400, "2000-06-01")
    day = days[390].item()
    traded = market(days, 40.0, [(day, 0.75019)], 12, decimals=6)
    cents = (days >= np.datetime64("2001-04-09"))[:, None]
    traded = np.where(cents, np.round(traded, 2), np.round(traded * 32) / 32)
    undone = undo(days, source(days, traded, [(day, 0.75019)]), [(day, 0.75)])
    assert np.array_equal(undone.prices[:390], traded[:390])


def test_missing_prices_stay_missing() -> None:
    days = sessions(100)
    day = days[80].item()
    traded = market(days, 40.0, [(day, 0.75019)], 13)
    traded[::7] = np.nan
    undone = undo(days, source(days, traded, [(day, 0.75019)]), [(day, 0.75)])
    assert answers(undone) == [True]
    np.testing.assert_array_equal(undone.prices[:80], traded[:80])


def test_events_outside_the_rows_leave_them_alone() -> None:
    days = sessions(50)
    served = source(days, market(days, 40.0, [], 14), [])
    early, late = dt.date(2014, 5, 1), dt.date(2016, 5, 2)
    undone = undo(days, served, [(late, 0.75), (early, 0.75)])
    assert np.array_equal(undone.prices, served)
    assert [(event.ex_date, event.worked_in) for event in undone.spin_offs] == [
        (early, None),
        (late, False),
    ]
    assert undo(days[:0], served[:0], [(late, 0.75)]).prices.shape == (0, 4)
    assert undo(days, served, []).spin_offs == ()


def test_an_older_event_that_nobody_knows_does_not_hide_a_newer_one() -> None:
    days = sessions(900)
    unknown, day = days[500].item(), days[850].item()
    traded = market(days, 90.0, [(unknown, 0.61), (day, 0.75019)], 15)
    undone = undo(days, source(days, traded, [(unknown, 0.61), (day, 0.75019)]), [(day, 0.75)])
    assert answers(undone) == [True]
    assert np.array_equal(undone.prices[500:850], traded[500:850])
    marked = basis_unknown(days, undone.prices[:, 3])
    assert marked[:500].all()
    assert not marked[500:].any()


# ---------------------------------------------------------------- prices of an unknown basis


def closes(days: Days, events: Events, seed: int) -> Floats:
    return source(days, market(days, 60.0, events, seed), events)[:, 3]


@pytest.mark.parametrize("factor", FACTORS)
def test_the_rows_before_an_event_that_nobody_knows_are_marked(factor: float) -> None:
    days = sessions(400)
    marked = basis_unknown(days, closes(days, [(days[370].item(), factor)], 20))
    assert np.flatnonzero(~marked).tolist() == list(range(370, 400))


def test_three_closes_in_whole_cents_end_a_stretch_and_one_does_not() -> None:
    days = sessions(400)
    served = closes(days, [(days[370].item(), 0.789266)], 21)
    assert basis_unknown(days[:371], served[:371]).sum() == 0
    assert basis_unknown(days[:373], served[:373]).sum() == 370


def test_a_stretch_takes_in_the_fractions_and_pennies_before_it() -> None:
    days = sessions(500, "2000-06-01")
    assert basis_unknown(days, closes(days, [(days[450].item(), 0.789266)], 22)).sum() == 450


def test_a_stretch_between_whole_cents_is_marked_alone() -> None:
    days = sessions(300)
    served = market(days, 60.0, [], 23)[:, 3]
    served[100:160] *= 0.789266
    assert np.flatnonzero(basis_unknown(days, served)).tolist() == list(range(100, 160))


@pytest.mark.parametrize("every", [3, 10, 50])
def test_half_cents_and_bad_ticks_are_no_stretch(every: int) -> None:
    days = sessions(400)
    served = market(days, 60.0, [], 24)[:, 3]
    served[::every] += 0.005
    assert not basis_unknown(days, served).any()


@given(seed=st.integers(0, 10**6), rows=st.integers(0, 400), start=st.floats(0.5, 5000))
def test_prices_whose_tick_is_no_cent_are_not_marked(seed: int, rows: int, start: float) -> None:
    days = sessions(rows)
    served = np.float32(walk(rows, start, seed, decimals=6)[:, 3]).astype(np.float64)
    assert not basis_unknown(days, served).any()


@given(seed=st.integers(0, 10**6), rows=st.integers(0, 400), start=st.floats(0.5, 5000))
def test_whole_cents_are_not_marked(seed: int, rows: int, start: float) -> None:
    days = sessions(rows)
    served = np.float32(walk(rows, start, seed)[:, 3]).astype(np.float64)
    assert not basis_unknown(days, served).any()


# ---------------------------------------------------------------- against the real archives


def archive(path: Path, *columns: str) -> dict[str, tuple[Days, Floats]]:
    """The days and prices of each symbol of an archive."""
    table = pq.read_table(path, columns=["symbol", "date", *columns]).sort_by(
        [("symbol", "ascending"), ("date", "ascending")]
    )
    symbols = table["symbol"].to_numpy()
    prices = np.stack([table[column].to_numpy() for column in columns], axis=1)
    days = table["date"].to_numpy().astype("datetime64[D]")
    edges = np.flatnonzero(np.append(True, symbols[1:] != symbols[:-1])).tolist()
    parts = zip(edges, [*edges[1:], len(symbols)], strict=True)
    return {symbols[a]: (days[a:b], prices[a:b]) for a, b in parts}


@pytest.mark.parametrize(
    "name",
    [
        "alphavantage_sp500_daily_adjusted_20130102_20210421.parquet",
        "yahoo_crypto_daily_20140917_20220214.parquet",
    ],
)
def test_no_row_of_an_archive_as_traded_or_of_coins_is_marked(real: Path, name: str) -> None:
    marked = {
        symbol: int(basis_unknown(days, prices[:, 0]).sum())
        for symbol, (days, prices) in archive(real / "prices" / name, "close").items()
    }
    assert {symbol: rows for symbol, rows in marked.items() if rows} == {}


ANOTHER_SYMBOL = {"DWDP": "DD", "HCP": "PEAK", "IR": "TT"}
"""Symbols on an ex-date, and in the archives."""


def test_the_listed_spin_offs_are_in_yahoo_s_archive_to_the_last_digit(real: Path) -> None:
    name = "yahoo_sp500ever_daily_20100104_20240308.parquet"
    yahoo = archive(real / "prices" / name, "open", "high", "low", "close")
    traded = "alphavantage_sp500_daily_adjusted_20130102_20210421.parquet"
    splits = pq.read_table(real / "prices" / traded, columns=["symbol", "date", "split"])
    splits = splits.filter(pc.not_equal(splits["split"], 1.0)).to_pylist()
    later = [("GE", dt.date(2021, 8, 2), 0.125), ("GOOGL", dt.date(2022, 7, 18), 20.0)]
    known: dict[str, Events] = {}
    for spin_off in known_spin_offs():
        if spin_off.ex_date.year < 2024:
            symbol = ANOTHER_SYMBOL.get(spin_off.symbol, spin_off.symbol)
            known.setdefault(symbol, []).append((spin_off.ex_date, spin_off.price_factor))
    undone = 0
    for symbol, events in known.items():
        days, prices = yahoo[symbol]
        shares = [(row["date"], row["split"]) for row in splits if row["symbol"] == symbol]
        shares += [(day, ratio) for one, day, ratio in later if one == symbol]
        for day, ratio in shares:
            if plain := plain_ratio(ratio):
                prices = prices * np.where(days < np.datetime64(day), plain, 1.0)[:, None]
        about = [(day, factor + (1 - factor) * 0.004) for day, factor in events]
        for event, (_, factor) in zip(
            undo(days, prices, about).spin_offs, sorted(events), strict=True
        ):
            assert event.worked_in, (symbol, event)
            assert event.exact, (symbol, event)
            assert event.factor == pytest.approx(factor, rel=1e-6), (symbol, event)
            undone += 1
    assert undone == 68
