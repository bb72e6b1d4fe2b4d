"""The index as it was reported from 2022-11 to 2025-06: what the lists did, day by day."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pandas as pd
import pytest

from quant_assets.contracts.source import BadAnswer
from quant_assets.membership.report import UniverseReport
from quant_assets_tests.membership.membership_replay import (
    SCRAPES,
    Replay,
    intervals,
    scrapes,
    with_holdings,
    with_intervals,
)

RENAMED = [
    *("NLOK → GEN", "PKI → RVTY", "FISV → FI", "RE → EG", "ABC → COR", "CDAY → DAY"),
    *("PEAK → DOC", "FLT → CPAY"),
]
JOINED = [
    *("FSLR", "STLD", "GEHC", "BG", "PODD", "FICO", "AXON", "PANW", "KVUE", "ABNB", "BX"),
    *("VLTO", "HUBB", "LULU", "BLDR", "JBL", "UBER", "DECK", "SMCI", "SOLV", "GEV", "VST"),
    *("CRWD", "GDDY", "KKR", "SW", "DELL", "ERIE", "PLTR", "AMTM", "TPL", "LII", "APO"),
    *("WDAY", "DASH", "EXE", "TKO", "WSM", "COIN"),
]
LEFT = [
    *("FBHS", "ABMD", "VNO", "SBNY", "SIVB", "LUMN", "FRC", "DISH", "AAP", "LNC", "NWL"),
    *("DXC", "ATVI", "OGN", "ALK", "SEDG", "SEE", "WHR", "ZION", "VFC", "XRAY", "PXD", "CMA"),
    *("ILMN", "RHI", "WRK", "AAL", "BIO", "ETSY", "BBWI", "MRO", "CTLT", "AMTM", "QRVO"),
    *("BWA", "CE", "FMC", "TFX", "DFS"),
]


@pytest.fixture(scope="module")
def replay(real: Path, tmp_path_factory: pytest.TempPathFactory) -> Replay:
    """The scrapes on which the table changed, and the next ones: the others bring no news."""
    days = sorted(pd.read_parquet(real / SCRAPES, columns=["scrape_date"])["scrape_date"].unique())
    diffs = pd.read_csv(real / "membership/wikipedia_sp500_daily_diffs_20221108_20250630.csv")
    changed = {days.index(dt.date.fromisoformat(day)) for day in diffs["d"]}
    near = {days[at + offset] for at in changed for offset in (0, 1)}
    chosen = {days[0], days[1], days[-1], *near}
    replay = Replay(tmp_path_factory.mktemp("replay"))
    return replay.run(scrapes(real, lambda day: day in chosen))


def test_every_change_of_two_and_a_half_years_is_seen_once(replay: Replay) -> None:
    changes = replay.query("select kind, symbol, former_symbol from membership_changes order by 1")
    by_kind = {kind: [c[1] for c in changes if c[0] == kind] for kind in ("added", "removed")}
    assert sorted(map(str, by_kind["added"])) == sorted(JOINED)
    assert sorted(map(str, by_kind["removed"])) == sorted(LEFT)
    renamed = [f"{former} → {symbol}" for kind, symbol, former in changes if kind == "renamed"]
    assert sorted(renamed) == sorted(RENAMED)
    assert len(changes) == len(JOINED) + len(LEFT) + len(RENAMED)


def test_a_page_without_a_header_changes_nothing_and_says_so(replay: Replay) -> None:
    (bad,) = [result for step, result in replay.log if str(step.on) == "2024-02-05"]
    assert isinstance(bad, BadAnswer)
    assert "symbol" in str(bad)
    assert [result for _, result in replay.log if isinstance(result, Exception)] == [bad]


def test_a_member_that_was_left_out_by_mistake_never_leaves(replay: Replay) -> None:
    (found,) = replay.query(
        "select effective_on, removed_on from universe_membership where symbol = 'DXCM'"
    )
    assert found[1] is None
    (conflict,) = replay.query(
        "select from_on, until_on, cause from membership_conflicts where symbol = 'DXCM'"
    )
    assert conflict == (dt.date(2023, 10, 5), dt.date(2023, 10, 6), "left it out for a time")


def test_a_change_is_dated_by_the_day_it_took_effect(replay: Replay) -> None:
    dates = {
        (symbol, kind): str(on)
        for symbol, kind, on in replay.query(
            "select symbol, kind, effective_on from membership_changes"
        )
    }
    assert dates["UBER", "added"] == dates["ALK", "removed"] == "2023-12-18"
    # Seen a day late, dated by the list's own column, and so is who made room.
    assert dates["DASH", "added"] == dates["FMC", "removed"] == "2025-03-24"
    assert dates["LII", "added"] == "2024-12-23"


def test_at_no_time_is_the_index_far_from_its_size(replay: Replay) -> None:
    sizes = [result.members for _, result in replay.log if isinstance(result, UniverseReport)]
    assert (min(sizes), max(sizes)) == (502, 507)


def test_the_result_agrees_with_a_history_file_and_with_a_fund(replay: Replay, real: Path) -> None:
    replay.run(intervals(real))
    start, end = dt.date(2022, 11, 9), dt.date(2025, 6, 27)
    file = with_intervals(replay, start, end)
    assert file.share > 0.998, file.describe("file")
    assert all(d.cause != "not on record" for d in file.differences)
    # What the file is known to have wrong, and nothing else of weight.
    assert {d.symbol for d in file.differences if d.sessions > 3} == {
        *("BLDR", "JBL", "UBER", "ALK", "SEDG", "SEE"),
        *("DASH", "EXE", "TKO", "WSM", "BWA", "CE", "FMC", "TFX"),
    }
    fund = with_holdings(replay, start, end)
    assert fund.share > 0.9985, fund.describe("fund")
