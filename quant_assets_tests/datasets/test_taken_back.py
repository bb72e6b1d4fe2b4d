"""What a source takes back of its events, and what it doesn't: lists lost, answers cut short."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from quant_assets_tests.standins.changing_vendor import XNYS, Evenings, Telling, Truth

DAYS = XNYS.between(dt.date(2024, 2, 15), dt.date(2024, 5, 31))
EX_DATE = DAYS[30]
PAID = {DAYS[10]: 0.5, DAYS[25]: 0.4, DAYS[45]: 0.45}


class Desk:
    """A warehouse with one symbol, told what Yahoo tells of it."""

    def __init__(self, folder: Path, blank: Path, **events: dict[dt.date, float]) -> None:
        self.truth = Truth.of(3, DAYS, start=95.0, **{"dividends": PAID, **events})
        self.evenings = Evenings(folder / "data", blank, {"AAA": self.truth})
        self.plain = Telling.plain(self.truth)

    def hear(self, telling: Telling, day: dt.date = DAYS[60], *, accept: bool = False) -> list[str]:
        """What is said on the evening of a day."""
        report = self.evenings.load({"AAA": telling}, day, accept=accept)
        return [*report.notices, *(str(each.error) for each in report.failures)]

    def events(self) -> list[tuple[object, ...]]:
        return [row[:2] for row in self.evenings.events()["AAA"]]

    def classes(self) -> list[tuple[object, ...]]:
        return self.evenings.query(
            "select kind, ex_date, difference from corporate_actions_revisions"
            " where difference <> 'restatement' order by all"
        )

    def is_as_traded(self) -> bool:
        rows = self.evenings.rows()["AAA"]
        return [row[1:5] for row in rows] == [tuple(p) for p in self.truth.prices[: len(rows)]]


@pytest.fixture
def desk(tmp_path: Path, blank: Path) -> Desk:
    return Desk(tmp_path, blank, splits={EX_DATE: 2.0})


# Taken back


def test_a_dividend_of_another_day_and_one_of_another_amount(desk: Desk) -> None:
    desk.hear(desk.plain)
    corrected = {DAYS[10]: 0.5, DAYS[27]: 0.4, DAYS[45]: 0.54}
    said = desk.hear(replace(desk.plain, dividends=corrected))
    assert said == [
        f"AAA: the cash dividend of 0.4 on {DAYS[25]} is now listed on {DAYS[27]}.",
        f"AAA: the cash dividend of 0.45 on {DAYS[45]} is now the cash dividend of 0.54 on"
        f" {DAYS[45]}.",
    ]
    assert desk.classes() == [
        ("cash_dividend", DAYS[25], "moved"),
        ("cash_dividend", DAYS[45], "corrected"),
    ]
    assert desk.hear(replace(desk.plain, dividends=corrected)) == []


def test_a_split_of_another_ratio_changes_all_rows_before_it(desk: Desk) -> None:
    wrong = replace(desk.plain, splits={EX_DATE: 4.0}, worked_in={EX_DATE: 2.0})
    desk.hear(wrong)
    assert not desk.is_as_traded()
    said = desk.hear(desk.plain)
    assert said == [
        f"AAA: the split of {EX_DATE} (4 for 1) is now the split of {EX_DATE} (2 for 1)."
    ]
    assert desk.is_as_traded()


# Still there


def test_a_split_that_is_forgotten_and_still_in_the_prices_stays_and_is_said_once(
    desk: Desk,
) -> None:
    desk.hear(desk.plain, DAYS[29])
    desk.hear(desk.plain, DAYS[35])
    forgotten = replace(desk.plain, splits={}, worked_in={EX_DATE: 2.0})
    [said] = desk.hear(forgotten, DAYS[36])
    assert said.startswith(f"AAA: yahoo no longer lists the split of {EX_DATE} (2 for 1), but ")
    assert said.endswith("; it stays.")
    assert desk.is_as_traded()
    assert (EX_DATE, "split") in desk.events()
    assert desk.hear(forgotten, DAYS[37]) == []
    assert desk.is_as_traded()
    assert desk.hear(desk.plain, DAYS[38]) == []
    assert desk.is_as_traded()


def test_a_split_that_is_forgotten_by_list_and_prices_and_seen_in_their_fall_stays(
    desk: Desk,
) -> None:
    desk.hear(desk.plain)
    [said] = desk.hear(replace(desk.plain, splits={}, worked_in={}))
    assert "its prices fall by that ratio on that day; it stays" in said
    assert desk.is_as_traded()
    assert (EX_DATE, "split") in desk.events()


# No word about it


def test_a_list_that_is_lost_takes_nothing_back_unless_it_is_accepted(
    tmp_path: Path, blank: Path
) -> None:
    desk = Desk(tmp_path, blank)
    desk.hear(desk.plain)
    before = desk.events()
    [said] = desk.hear(replace(desk.plain, dividends={}))
    assert f"none of the 3 events since {DAYS[10]} is listed any more; they stay" in said
    assert desk.events() == before
    assert len(desk.hear(replace(desk.plain, dividends={}), accept=True)) == 3
    assert desk.events() == []


def test_prices_after_a_split_whose_list_is_lost_are_held_back(desk: Desk) -> None:
    desk.hear(desk.plain)
    before = desk.events()
    said = desk.hear(Telling({}, {}, worked_in={EX_DATE: 2.0}))
    assert any(f"a split of that ratio is listed on {EX_DATE}" in each for each in said)
    assert desk.events() == before
    assert desk.is_as_traded()


@pytest.mark.parametrize("last", [1, 5])
def test_an_answer_that_is_cut_short_says_nothing_of_what_is_older(desk: Desk, last: int) -> None:
    desk.hear(desk.plain)
    before = desk.events()
    desk.hear(Telling({}, {}, worked_in={EX_DATE: 2.0}, last=last))
    assert desk.events() == before
    assert desk.is_as_traded()


def test_an_answer_without_a_row_takes_nothing_back(desk: Desk) -> None:
    desk.hear(desk.plain)
    before = desk.events()
    desk.hear(Telling({}, {}, since=DAYS[-1] + dt.timedelta(days=1)))
    assert desk.events() == before


def test_a_spin_off_that_only_prices_showed_is_none_of_the_lists(
    tmp_path: Path, blank: Path
) -> None:
    desk = Desk(tmp_path, blank, spin_offs={EX_DATE: 0.8})
    desk.hear(desk.plain, DAYS[29])
    desk.hear(replace(desk.plain, lowered={}), EX_DATE)
    [said] = desk.hear(desk.plain, DAYS[31])
    assert "kept as a spin-off, to be confirmed" in said
    assert desk.hear(desk.plain, DAYS[32]) == []
    assert (EX_DATE, "spin_off") in desk.events()
    [gone] = desk.hear(replace(desk.plain, lowered={}), DAYS[33])
    assert gone.endswith("is no longer listed, and was withdrawn.")
    assert (EX_DATE, "spin_off") not in desk.events()
    assert desk.is_as_traded()


# Listed before it shows


def test_a_split_that_is_listed_before_it_shows_is_loaded_when_it_does(desk: Desk) -> None:
    early = replace(desk.plain, worked_in={})
    desk.hear(early, DAYS[31])
    assert len(desk.evenings.rows()["AAA"]) == 2
    desk.hear(desk.plain, DAYS[32])
    assert len(desk.evenings.rows()["AAA"]) == 33
    assert desk.is_as_traded()


def test_a_split_that_never_shows_is_taken_for_one_of_prices_as_traded(desk: Desk) -> None:
    never = replace(desk.plain, worked_in={})
    assert EX_DATE + dt.timedelta(days=30) < DAYS[60]
    desk.hear(never, DAYS[60])
    assert len(desk.evenings.rows()["AAA"]) == 61
    assert desk.is_as_traded()
    closes = desk.evenings.closes("split")["AAA"]
    traded = desk.truth.prices[:61, 3] / np.where(
        desk.truth.days[:61] < np.datetime64(EX_DATE), 2, 1
    )
    assert closes == pytest.approx(traded)
