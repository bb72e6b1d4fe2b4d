"""Prices told again multiplied, with no event listed: a series is never left in two bases."""

from __future__ import annotations

import datetime as dt
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from quant_assets_tests.conftest import examples
from quant_assets_tests.standins.changing_vendor import XNYS, Evenings, Telling, Truth

DAYS = XNYS.between(dt.date(2024, 2, 20), dt.date(2024, 5, 31))
EVENINGS = (DAYS[62], DAYS[65], DAYS[67], DAYS[69])
SPLIT, PAID = DAYS[50], DAYS[30]

FACTORS = st.one_of(
    st.floats(0.05, 20).map(lambda factor: round(factor, 6)),
    st.sampled_from([0.05, 0.1, 1 / 3, 0.5, 0.75, 0.9, 1.1, 2.0, 5.0, 20.0]),
).filter(lambda factor: abs(factor - 1) > 0.005)


@st.composite
def stories(draw: st.DrawFn) -> tuple[Truth, list[Telling]]:
    """A truth, and what is told of it on four evenings: itself, then with factors."""
    truth = Truth.of(
        draw(st.integers(0, 10**6)),
        DAYS,
        start=draw(st.sampled_from([15.0, 80.0, 400.0])),
        splits=draw(st.sampled_from([{}, {SPLIT: 2.0}])),
        dividends=draw(st.sampled_from([{}, {PAID: 0.5}])),
    )
    places, plain = st.integers(1, 60), Telling.plain(truth)
    lowered = {DAYS[draw(places)]: draw(FACTORS)}
    once = replace(plain, lowered=lowered)
    day = draw(st.sampled_from([*lowered, DAYS[draw(places)]]))
    more = {**lowered, day: round(lowered.get(day, 1.0) * draw(FACTORS), 6)}
    after = draw(st.sampled_from([once, plain, replace(plain, lowered=more)]))
    return truth, [plain, once, after, after]


def joints(truth: Truth, telling: Telling, closes: np.ndarray, today: dt.date) -> float:
    """How far the returns of a series are at most from the truth's and from those told."""
    days = truth.days[: len(closes)]

    def returns(prices: np.ndarray) -> np.ndarray:
        found: np.ndarray = prices[1:] / prices[:-1]
        return found

    traded = truth.prices[: len(closes), 3].copy()
    for day, ratio in truth.splits.items():
        traded[days < np.datetime64(day)] /= ratio
    told = traded.copy()
    for day, factor in telling.lowered.items():
        told[days < np.datetime64(day)] *= factor if day <= today else 1.0
    off = [np.abs(returns(closes) / returns(each) - 1) for each in (traded, told)]
    return float(np.minimum(*off).max())


@examples(4)
@given(
    start=st.sampled_from([None, DAYS[20], DAYS[45], DAYS[58]]),
    accept=st.booleans(),
    told=st.lists(stories(), min_size=10, max_size=10),
)
def test_a_series_stays_in_one_basis_whatever_it_is_multiplied_by(
    blank: Path, start: dt.date | None, accept: bool, told: list[tuple[Truth, list[Telling]]]
) -> None:
    """``start`` is where the look-back begins, which may cover a part of what is stored."""
    named = {f"T{number}": story for number, story in enumerate(told)}
    with tempfile.TemporaryDirectory() as folder:
        here = Evenings(Path(folder) / "data", blank, {s: truth for s, (truth, _) in named.items()})
        here.load({symbol: tells[0] for symbol, (_, tells) in named.items()}, EVENINGS[0])
        for evening, today in enumerate(EVENINGS[1:], start=1):
            before = here.rows(), here.events()
            tellings = {symbol: tells[evening] for symbol, (_, tells) in named.items()}
            report = here.load(tellings, today, start=start, accept=accept)
            after, blocked = (here.rows(), here.events()), {f.symbol for f in report.failures}
            closes = here.closes("split")
            for symbol, (truth, _) in named.items():
                if symbol in blocked:
                    assert all(
                        now[symbol] == then[symbol] for now, then in zip(after, before, strict=True)
                    )
                else:
                    assert joints(truth, tellings[symbol], closes[symbol], today) < 2e-3
