"""A vendor that lists events, corrects them and takes them back: the last answer alone decides."""

from __future__ import annotations

import datetime as dt
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from quant_assets_tests.conftest import examples
from quant_assets_tests.standins.changing_vendor import XNYS, Evenings, Telling, Truth

END = dt.date(2024, 5, 31)
SESSIONS = XNYS.between(dt.date(2024, 2, 1), END)
RATIOS = st.sampled_from([2.0, 3.0, 4.0, 7.0, 20.0, 1.5, 1.1, 0.2, 0.1])
AMOUNTS = st.sampled_from([0.25, 0.5, 0.82, 1.11])
APART = dt.timedelta(days=14)
"""Two splits are further from each other than one of them may move."""

Dated = dict[dt.date, float]


class Story:
    """A truth, the answers before the last one, the last one, and the evening of each.

    No dataclass: hypothesis prints those at length, and refuses to print twenty of them.
    """

    def __init__(
        self, truth: Truth, before: list[Telling], last: Telling, evenings: list[dt.date]
    ) -> None:
        self.truth, self.before, self.last, self.evenings = truth, before, last, evenings

    def __repr__(self) -> str:
        return f"a story of {len(self.truth.days)} sessions"


@st.composite
def stories(draw: st.DrawFn) -> Story:
    days = SESSIONS[-draw(st.integers(60, 80)) :]
    some = st.integers(5, len(days) - 6).map(days.__getitem__)
    splits: Dated = {}
    for day, ratio in draw(st.dictionaries(some, RATIOS, max_size=2)).items():
        if all(abs(day - other) > APART for other in splits):
            splits[day] = ratio
    dividends = draw(st.dictionaries(some, AMOUNTS, max_size=4))
    truth = Truth.of(
        draw(st.integers(0, 10**6)),
        days,
        start=draw(st.sampled_from([60.0, 150.0, 400.0])),
        splits=splits,
        dividends=dividends,
    )
    before = draw(st.lists(tellings(truth), min_size=1, max_size=3))
    gap = draw(st.sampled_from([0, 1, 3]))  # sessions between two answers
    evenings = [days[len(days) - 1 - gap * n] for n in range(len(before), -1, -1)]
    return Story(truth, before, Telling.plain(truth, bars=draw(bars(truth))), evenings)


@st.composite
def tellings(draw: st.DrawFn, truth: Truth) -> Telling:
    """An answer with up to two mistakes in its list, which its prices follow or not."""
    splits, dividends = dict(truth.splits), dict(truth.dividends)
    for _ in range(draw(st.integers(0, 2))):
        mistaken = draw(st.sampled_from([splits, dividends]))
        draw(st.sampled_from([_moved, _left_out, _of_another_size, _invented]))(
            draw, truth, mistaken, RATIOS if mistaken is splits else AMOUNTS
        )
    follows = draw(st.booleans())
    worked_in = None if follows else truth.splits
    return Telling(splits, dividends, worked_in=worked_in, bars=draw(bars(truth)))


def _moved(draw: st.DrawFn, truth: Truth, events: Dated, _: Any) -> None:
    """By a session, to either side."""
    if events:
        day = draw(st.sampled_from(sorted(events)))
        place = truth.days.tolist().index(day) + draw(st.sampled_from([-1, 1]))
        events.setdefault(truth.day(place), events.pop(day))


def _left_out(draw: st.DrawFn, truth: Truth, events: Dated, _: Any) -> None:
    if events:
        del events[draw(st.sampled_from(sorted(events)))]


def _of_another_size(
    draw: st.DrawFn, truth: Truth, events: Dated, sizes: st.SearchStrategy[float]
) -> None:
    if events:
        events[draw(st.sampled_from(sorted(events)))] = draw(sizes)


def _invented(
    draw: st.DrawFn, truth: Truth, events: Dated, sizes: st.SearchStrategy[float]
) -> None:
    day = truth.day(draw(st.integers(5, len(truth.days) - 6)))
    if all(abs(day - other) > APART for other in events):
        events[day] = draw(sizes)


@st.composite
def bars(draw: st.DrawFn, truth: Truth) -> Mapping[int, tuple[float, ...]]:
    """A bar restated by less than a fifth, or none."""
    if draw(st.booleans()):
        return {}
    by = draw(st.sampled_from([0.85, 0.95, 0.99, 1.04, 1.15]))
    place = draw(st.integers(0, len(truth.days) - 8))
    return {place: (by * 0.995, by * 1.01, by * 0.985, by)}


def told(stories: Mapping[str, Story], place: int) -> dict[dt.date, dict[str, Telling]]:
    """By evening, the answers so many before the last ones."""
    found: dict[dt.date, dict[str, Telling]] = {}
    for symbol, story in stories.items():
        answers = (*story.before, story.last)
        if place < len(answers):
            evening = found.setdefault(story.evenings[-1 - place], {})
            evening[symbol] = answers[-1 - place]
    return found


def without_rounding(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Rows with volumes in sixtieths of a million: twenty of some shares are one of others."""
    return [(*row[:5], round(row[5] / 6e4), *row[6:]) for row in rows]


@examples(2)
@given(drawn=st.lists(stories(), min_size=20, max_size=20))
def test_the_last_answer_alone_decides_what_is_stored(blank: Path, drawn: list[Story]) -> None:
    named = {f"T{number}": story for number, story in enumerate(drawn)}
    truths = {symbol: story.truth for symbol, story in named.items()}
    last = {symbol: story.last for symbol, story in named.items()}
    with tempfile.TemporaryDirectory() as folder:
        here, fresh = (Evenings(Path(folder) / name, blank, truths) for name in ("here", "fresh"))
        for place in (3, 2, 1, 0):
            for evening, answers in sorted(told(named, place).items()):
                here.load(answers, evening)
        here.load(last, END)  # a bar that was disputed is told once more
        fresh.load(last, END)
        stored, expected = here.rows(), fresh.rows()
        events, expected_events = here.events(), fresh.events()
        for symbol, story in named.items():
            ours, theirs = without_rounding(stored[symbol]), without_rounding(expected[symbol])
            assert [row for row in ours if row not in theirs] == [], vars(story)
            assert len(ours) == len(theirs), vars(story)
            assert events[symbol] == expected_events[symbol], vars(story)
        again = here.load(last, END)
        assert (again.total("revised"), again.notices) == (0, ())


@examples(2)
@given(
    drawn=st.lists(stories(), min_size=20, max_size=20),
    since=st.sampled_from([SESSIONS[-20], SESSIONS[-40], SESSIONS[-55]]),
)
def test_a_look_back_over_a_part_leaves_no_two_bases(
    blank: Path, drawn: list[Story], since: dt.date
) -> None:
    """Older rows follow the events: what is stored of them was told by a list since corrected."""
    named = {f"T{number}": story for number, story in enumerate(drawn)}
    truths = {symbol: story.truth for symbol, story in named.items()}
    last = {symbol: replace(story.last, bars={}) for symbol, story in named.items()}
    first = {symbol: replace(story.before[0], bars={}) for symbol, story in named.items()}
    reached = {
        symbol
        for symbol, story in named.items()
        if all(
            first[symbol].splits.get(day) == story.truth.splits.get(day)
            for day in {*first[symbol].splits, *story.truth.splits}
            if day <= since + APART
        )
    }
    with tempfile.TemporaryDirectory() as folder:
        here, fresh = (Evenings(Path(folder) / name, blank, truths) for name in ("here", "fresh"))
        here.load(first, SESSIONS[-4])
        failed = here.load(last, END, start=since).failures
        fresh.load(last, END)
        closes, expected = here.closes("split"), fresh.closes("split")
        for symbol in reached - {failure.symbol for failure in failed}:
            assert abs(closes[symbol] / expected[symbol] - 1).max() < 1e-3
