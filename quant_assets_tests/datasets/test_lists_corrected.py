"""Lists of spin-offs corrected, the edge of a look-back, bars that were bad: one basis remains."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from quant_assets.reference.spin_offs import KnownSpinOff
from quant_assets_tests.standins.changing_vendor import XNYS, Evenings, Telling, Truth

DAYS = XNYS.between(dt.date(2024, 2, 15), dt.date(2024, 5, 31))
EX_DATE = DAYS[30]


class Desk:
    """A warehouse with one symbol, told what Yahoo tells of it."""

    def __init__(self, folder: Path, blank: Path, **events: dict[dt.date, float]) -> None:
        self.truth = Truth.of(3, DAYS, start=95.0, **events)
        self.evenings = Evenings(folder / "data", blank, {"AAA": self.truth})
        self.plain = Telling.plain(self.truth)

    def hear(
        self,
        telling: Telling,
        *listed: tuple[dt.date, float],
        day: dt.date = DAYS[60],
        start: dt.date | None = None,
    ) -> list[str]:
        """What is said on the evening of a day."""
        known = [KnownSpinOff("AAA", ex_date, factor, "Child Inc.") for ex_date, factor in listed]
        report = self.evenings.load({"AAA": telling}, day, start=start, spin_offs=known)
        return [*report.notices, *(str(each.error) for each in report.failures)]

    def events(self) -> list[tuple[object, ...]]:
        return [row[:2] for row in self.evenings.events()["AAA"]]

    def is_as_traded(self) -> bool:
        rows = self.evenings.rows()["AAA"]
        return [row[1:5] for row in rows] == [tuple(p) for p in self.truth.prices[: len(rows)]]

    def largest_step(self) -> float:
        closes = self.evenings.closes("split")["AAA"]
        return float(np.abs(np.log(closes[1:] / closes[:-1])).max())


@pytest.mark.parametrize("days_off", [-1, 1, 4])
def test_a_spin_off_listed_on_a_wrong_day_and_corrected_is_one(
    tmp_path: Path, blank: Path, days_off: int
) -> None:
    desk = Desk(tmp_path, blank, spin_offs={EX_DATE: 0.79})
    desk.hear(desk.plain, (DAYS[30 + days_off], 0.79))
    desk.hear(desk.plain, (EX_DATE, 0.79))
    desk.hear(desk.plain, (EX_DATE, 0.79))
    assert desk.events() == [(EX_DATE, "spin_off")]
    assert desk.is_as_traded()
    assert desk.largest_step() < 0.06


@pytest.mark.parametrize("wrong", [0.70, 0.81, 0.85])
def test_a_spin_off_listed_with_a_wrong_factor_and_corrected_is_applied(
    tmp_path: Path, blank: Path, wrong: float
) -> None:
    desk = Desk(tmp_path, blank, spin_offs={EX_DATE: 0.79})
    desk.hear(desk.plain, (EX_DATE, wrong))
    desk.hear(desk.plain, (EX_DATE, 0.79))
    assert desk.events() == [(EX_DATE, "spin_off")]
    assert desk.is_as_traded()
    assert desk.largest_step() < 0.06


def test_a_spin_off_inferred_and_then_listed_on_another_day_is_one(
    tmp_path: Path, blank: Path
) -> None:
    desk = Desk(tmp_path, blank, spin_offs={EX_DATE: 0.79})
    desk.hear(desk.plain, day=DAYS[29])
    desk.hear(desk.plain, day=DAYS[33])
    desk.hear(desk.plain, (EX_DATE, 0.79), day=DAYS[34])
    assert desk.events() == [(EX_DATE, "spin_off")]
    assert desk.is_as_traded()


def test_a_listed_spin_off_that_the_prices_contradict_is_said_and_left_out(
    tmp_path: Path, blank: Path
) -> None:
    desk = Desk(tmp_path, blank)
    assert desk.hear(desk.plain, (EX_DATE, 0.79)) == [
        f"AAA: the list of spin-offs has one on {EX_DATE}, and the prices of yahoo show none; it is"
        " left out."
    ]
    assert desk.events() == []
    assert desk.is_as_traded()


@pytest.mark.parametrize("since", [29, 30, 31])
def test_a_split_corrected_across_the_edge_of_the_look_back_leaves_no_second_basis(
    tmp_path: Path, blank: Path, since: int
) -> None:
    desk = Desk(tmp_path, blank, splits={EX_DATE: 2.0})
    early = replace(desk.plain, splits={DAYS[28]: 2.0}, worked_in={EX_DATE: 2.0})
    desk.hear(early)
    desk.hear(replace(desk.plain, since=DAYS[since]), start=DAYS[since])
    assert len(desk.events()) == 1
    assert desk.evenings.rows()["AAA"][0][1:5] == tuple(desk.truth.prices[0])
    desk.hear(desk.plain)
    desk.hear(desk.plain)  # of a row out of sight, the first full look was another telling
    assert desk.events() == [(EX_DATE, "split")]
    assert desk.is_as_traded()


def test_a_reverse_split_that_moves_out_of_sight_is_not_lost(tmp_path: Path, blank: Path) -> None:
    desk = Desk(tmp_path, blank, splits={EX_DATE: 0.125})
    late = replace(desk.plain, splits={DAYS[32]: 0.125}, worked_in={EX_DATE: 0.125})
    desk.hear(late)
    desk.hear(replace(desk.plain, since=DAYS[31]), start=DAYS[31])
    assert [kind for _, kind in desk.events()] == ["split"]
    assert desk.evenings.rows()["AAA"][0][1:5] == tuple(desk.truth.prices[0])
    desk.hear(desk.plain)
    assert desk.is_as_traded()


def test_a_right_answer_in_between_makes_a_wrong_bar_wait_again(
    tmp_path: Path, blank: Path
) -> None:
    desk = Desk(tmp_path, blank)
    wrong = replace(desk.plain, bars={40: (100.0,) * 4})
    desk.hear(desk.plain)
    for telling in (wrong, desk.plain, wrong):
        desk.hear(telling)
        assert desk.is_as_traded()
    desk.hear(desk.plain)
    assert desk.evenings.query("select count(*) from quarantine") == [(0,)]


@pytest.mark.parametrize("bars", [1, 2])
def test_bad_first_bars_of_a_symbol_are_mended_and_never_hold_it(
    tmp_path: Path, blank: Path, bars: int
) -> None:
    desk = Desk(tmp_path, blank)
    wrong = replace(desk.plain, bars=dict.fromkeys(range(bars), (1.6,) * 4))
    desk.hear(wrong)
    desk.hear(desk.plain)
    assert desk.is_as_traded()
    spoilt = replace(desk.plain, bars=dict.fromkeys(range(bars), (100.0,) * 4))
    assert desk.hear(spoilt) == []
    assert desk.is_as_traded()
