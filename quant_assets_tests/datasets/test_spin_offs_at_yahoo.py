"""Spin-offs that Yahoo works into its prices and does not list: as traded, whatever comes first."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from quant_assets.reference.spin_offs import KnownSpinOff
from quant_assets_tests.standins.changing_vendor import XNYS, Evenings, Telling, Truth

DAYS = XNYS.between(dt.date(2024, 2, 15), dt.date(2024, 5, 31))
EX_DATE = DAYS[40]
BESIDE: Mapping[str, Mapping[dt.date, float]] = {
    "alone": {},
    "a split after it": {DAYS[60]: 2.0},
    "a split before it": {DAYS[20]: 2.0},
    "a reverse split after it": {DAYS[60]: 0.1},
}
cases = pytest.mark.parametrize(
    ("factor", "beside"),
    [
        (0.4183, "alone"),
        (0.75, "a split after it"),
        (0.79, "a split before it"),
        (0.94, "a reverse split after it"),
        (0.94, "alone"),
    ],
)


class Desk:
    """A warehouse with one symbol, told what Yahoo tells of it."""

    def __init__(self, folder: Path, blank: Path, factor: float, beside: str) -> None:
        self.truth = Truth.of(
            7,
            DAYS,
            start=95.0,
            splits=BESIDE[beside],
            spin_offs={EX_DATE: factor},
            dividends={DAYS[10]: 0.5, DAYS[50]: 0.4},
        )
        # Lists are off by some tenths of a percent.
        self.listed = [KnownSpinOff("AAA", EX_DATE, round(factor * 1.003, 6), "Child Inc.")]
        self.evenings = Evenings(folder / "data", blank, {"AAA": self.truth})

    def hear(
        self,
        day: dt.date,
        *,
        listed: bool = False,
        lowered: bool = True,
        start: dt.date | None = None,
    ) -> tuple[int, tuple[str, ...]]:
        """What is revised and said on the evening of a day; prices are lowered from then on."""
        plain = Telling.plain(self.truth)
        telling = plain if lowered else replace(plain, lowered={})
        known = self.listed if listed else []
        report = self.evenings.load({"AAA": telling}, day, start=start, spin_offs=known)
        assert report.failures == ()
        return report.total("revised"), report.notices

    def is_as_traded(self) -> bool:
        """To the cent, and without a mark."""
        rows = self.evenings.rows()["AAA"]
        same = [row[1:5] for row in rows] == [tuple(p) for p in self.truth.prices[: len(rows)]]
        return same and not any(row[-1] for row in rows)

    def steps(self, adjust: str) -> float:
        """How far adjusted returns are from those of the truth at the most."""
        closes = self.evenings.closes(adjust)["AAA"]  # type: ignore[arg-type]
        traded = self.truth.prices[: len(closes), 3]
        true = traded[1:] / traded[:-1]
        for day, ratio in self.truth.splits.items():
            true[self._at(day, true)] *= ratio
        for day, factor in self.truth.spin_offs.items():
            true[self._at(day, true)] /= factor
        if adjust == "total_return":
            for day, amount in self.truth.dividends.items():
                at = self._at(day, true)
                true[at] *= 1 + amount / traded[1:][at]
        return float(np.abs(closes[1:] / closes[:-1] / true - 1).max())

    def _at(self, day: dt.date, steps: np.ndarray) -> np.ndarray:
        return self.truth.days[1 : len(steps) + 1] == np.datetime64(day)

    def is_right(self) -> bool:
        continuous = all(self.steps(adjust) < 2e-5 for adjust in ("split", "total_return"))
        return self.is_as_traded() and continuous

    def spin_offs(self) -> list[tuple[object, ...]]:
        return self.evenings.query(
            "select ex_date, kind_by, note from corporate_actions where kind = 'spin_off'"
        )

    def events_revised(self) -> int:
        """Times that a spin-off was; Yahoo's own numbers of dividends change with each split."""
        [(count,)] = self.evenings.query(
            "select count(*) from corporate_actions_revisions where kind = 'spin_off'"
        )
        return int(count)


@cases
def test_a_first_load_undoes_a_listed_spin_off_and_later_ones_change_nothing(
    tmp_path: Path, blank: Path, factor: float, beside: str
) -> None:
    desk = Desk(tmp_path, blank, factor, beside)
    for day in (DAYS[70], DAYS[71], DAYS[71]):
        assert desk.hear(day, listed=True) == (0, ())
        assert desk.is_right()
    assert desk.spin_offs() == [(EX_DATE, "reference list", "Child Inc.")]
    assert desk.events_revised() == 0


@cases
def test_a_refresh_infers_a_spin_off_and_says_so_once(
    tmp_path: Path, blank: Path, factor: float, beside: str
) -> None:
    desk = Desk(tmp_path, blank, factor, beside)
    desk.hear(DAYS[38])
    assert desk.is_right()
    assert desk.hear(DAYS[40], lowered=False) == (0, ())
    assert desk.is_as_traded()
    revised, [said] = desk.hear(DAYS[40])
    assert (revised, f"multiplied by {factor:g} and lists no event" in said) == (0, True)
    assert desk.is_right()
    for day in (DAYS[41], DAYS[72], DAYS[72]):
        assert desk.hear(day) == (0, ())
        assert desk.is_right()
    assert [row[:2] for row in desk.spin_offs()] == [(EX_DATE, "overlap")]
    assert desk.events_revised() == 0


@cases
def test_a_list_that_comes_later_undoes_it_in_all_that_is_stored(
    tmp_path: Path, blank: Path, factor: float, beside: str
) -> None:
    desk = Desk(tmp_path, blank, factor, beside)
    _, [said] = desk.hear(DAYS[72])
    assert "they are marked basis_unknown" in said
    assert desk.hear(DAYS[72], start=DAYS[30]) == (0, ())
    revised, _ = desk.hear(DAYS[73], listed=True, start=DAYS[30])
    assert revised == 40  # those older than the look-back too
    assert desk.is_right()
    for start in (DAYS[30], None):
        assert desk.hear(DAYS[73], listed=True, start=start) == (0, ())
    assert desk.spin_offs() == [(EX_DATE, "reference list", "Child Inc.")]
