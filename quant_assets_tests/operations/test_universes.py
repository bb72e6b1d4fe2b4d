"""Universes changed from Python, as a notebook calls it."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest

from quant_assets.journal.progress import unwatched
from quant_assets.membership.custom import CustomChange
from quant_assets.membership.custom_errors import InvalidSymbolsError, UniverseExistsError
from quant_assets.membership.report import UniverseReport
from quant_assets.membership.unknown import UnknownUniverseError
from quant_assets.operations.loads import backfill, refresh
from quant_assets.operations.universes import (
    NotForCustomError,
    NothingNamedError,
    NotInSimulationError,
    universe_add,
    universe_create,
    universe_import,
    universe_remove,
    universe_take_back,
)
from quant_assets.operations.workplace import Workplace
from quant_assets.read.arguments import ArgumentError
from quant_assets.read.membership_frames import universe
from quant_assets.read.opening import connect
from quant_assets.reference.listings import ForeignListingError
from quant_assets.settings.settings import load_settings
from quant_assets.wiring.platform import Platform
from quant_assets_tests.conftest import NOW

LIST = """\
Symbol,Security,GICS Sector,GICS Sub-Industry,Date added,CIK
AAPL,Apple Inc.,Information Technology,Hardware,1982-11-30,320193
MSFT,Microsoft,Information Technology,Software,1994-06-01,789019
"""


@pytest.fixture
def work(tmp_path: Path) -> Workplace:
    settings = load_settings({}, flags={"home": tmp_path / "data"}, working_directory=tmp_path)
    return Workplace(Platform(settings, lambda: NOW), lambda step, source: nullcontext(unwatched))


def members(work: Workplace, name: str) -> list[str]:
    frame = universe(name, settings=work.platform.settings, clock=lambda: NOW)
    return frame["symbol"].tolist()


def what(change: CustomChange) -> list[tuple[str, str]]:
    return [(each.symbol, each.what) for each in change.changes]


def test_a_universe_of_ones_own_is_made_and_changed(work: Workplace) -> None:
    made = universe_create("mine", ["aapl", "MSFT"], within=work)
    assert (made.members, what(made)) == (2, [("AAPL", "added"), ("MSFT", "added")])
    added = universe_add("mine", "brk-b", within=work)
    assert (added.members, what(added)) == (3, [("BRK.B", "added")])
    removed = universe_remove("mine", ("MSFT", "XOM"), within=work)
    assert what(removed) == [("MSFT", "removed"), ("XOM", "not a member")]
    assert members(work, "mine") == ["AAPL", "BRK.B"]
    with connect(home=work.platform.settings.home_path) as db:  # published at once
        stored = db.execute("select count(*) from universe_membership").fetchone()
    assert stored == (3,)


def test_a_frame_of_members_can_be_added_by_symbol_or_id(work: Workplace) -> None:
    universe_create("mine", ["AAPL", "MSFT"], within=work)
    frame = universe("mine", settings=work.platform.settings, clock=lambda: NOW)
    for name, some in (("by_symbol", frame["symbol"]), ("by_id", frame["security_id"])):
        universe_create(name, some, within=work)
        assert members(work, name) == ["AAPL", "MSFT"]


def test_symbols_come_from_files_too(work: Workplace, tmp_path: Path) -> None:
    (tmp_path / "some.csv").write_text(LIST, "utf-8")
    made = universe_create("mine", "JPM", lists=tmp_path / "some.csv", within=work)
    assert [each.symbol for each in made.changes] == ["JPM", "AAPL", "MSFT"]


def test_an_index_is_imported_from_a_list_and_a_universe_of_ones_own_takes_its_symbols(
    work: Workplace, tmp_path: Path
) -> None:
    at = tmp_path / "list.csv"
    at.write_text(LIST, "utf-8")
    report = universe_import("tiny", at, on="2024-05-31", within=work)
    assert isinstance(report, UniverseReport)
    assert (report.members, report.added) == (2, ("AAPL", "MSFT"))
    universe_create("mine", within=work)
    changed = universe_import("mine", [at], within=work)
    assert isinstance(changed, CustomChange)
    assert changed.members == 2
    with pytest.raises(NotForCustomError, match="mine is a universe of your own"):
        universe_import("mine", at, accept=True, within=work)


def test_what_changes_nothing_is_refused_in_a_sentence(work: Workplace, tmp_path: Path) -> None:
    universe_create("mine", within=work)
    with pytest.raises(UniverseExistsError):
        universe_create("mine", within=work)
    with pytest.raises(NothingNamedError, match="No symbol was named"):
        universe_add("mine", [], within=work)
    with pytest.raises(UnknownUniverseError):
        universe_remove("yours", "AAPL", within=work)
    with pytest.raises(InvalidSymbolsError):
        universe_add("mine", ["AAPL", "A B"], within=work)
    assert universe_add("mine", ["AAPL", "A B"], skip_invalid=True, within=work).members == 1
    (tmp_path / "list.csv").write_text(LIST, "utf-8")
    with pytest.raises(ValueError, match="The list is of 2962-11-27, and today is"):
        universe_import("tiny", tmp_path / "list.csv", on="2962-11-27", within=work)
    with pytest.raises(ArgumentError, match="on is a date"):
        universe_take_back("tiny", 20240531, within=work)  # type: ignore[arg-type]


def test_a_listing_abroad_is_refused_or_left_out_with_a_note(work: Workplace) -> None:
    with pytest.raises(ForeignListingError, match=r"VOD\.L is a listing of London"):
        universe_create("mine", ["AAPL", "VOD.L"], within=work)
    with pytest.warns(UserWarning, match=r"Left out: VOD\.L is a listing"):
        made = universe_create("mine", ["AAPL", "VOD.L"], skip_invalid=True, within=work)
    assert what(made) == [("AAPL", "added"), ("VOD.L", "invalid")]


def test_an_accepted_list_is_taken_back(work: Workplace, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text(LIST, "utf-8")
    universe_import("tiny", tmp_path / "list.csv", on="2024-05-31", within=work)
    assert universe_take_back("tiny", "2024-05-31", within=work).members == 0
    assert members(work, "tiny") == []


def test_a_folder_of_the_simulated_market_takes_no_real_symbol(tmp_path: Path) -> None:
    """A later refresh could load neither, and ended with an error every time."""
    flags = {"home": tmp_path / "data", "source": "simulated", "simulated": {"symbols": 2}}
    settings = load_settings({}, flags=flags, working_directory=tmp_path)
    work = Workplace(Platform(settings, lambda: NOW), lambda step, source: nullcontext(unwatched))
    backfill(["XDADA"], start="2024-05-30", end="2024-05-31", within=work)
    with pytest.raises(NotInSimulationError, match=r"^AAPL: not in the simulated market.*HOME"):
        universe_create("mine", ["XDADA", "AAPL"], within=work)
    with pytest.warns(UserWarning, match="Left out: It is not in the simulated market"):
        made = universe_create("mine", ["XDADA", "AAPL"], skip_invalid=True, within=work)
    assert what(made) == [("XDADA", "added"), ("AAPL", "invalid")]
    with pytest.raises(NotInSimulationError):
        universe_add("mine", "MSFT", within=work)
    assert refresh(universe="mine", source="simulated", within=work)
