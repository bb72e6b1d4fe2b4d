"""Which data folders follow the index by themselves, and which keep to their symbols."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from quant_assets.cli.data_folder import what_is_kept_up
from quant_assets.membership.custom import create_universe
from quant_assets.refreshing.following import following, keep_answer
from quant_assets.wiring.platform import Platform
from quant_assets_tests.standins.evening import FRI, THU, World, new_york

EVENING = new_york(FRI, "18:40")


@pytest.fixture(scope="module")
def chosen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with two symbols loaded by name, until Thursday."""
    world = World(tmp_path_factory.mktemp("chosen"), new_york(THU, "20:00"))
    world.load("AAA", "BBB")
    return world.path


@pytest.fixture
def world(chosen: Path, tmp_path: Path) -> Iterator[World]:
    world = World(Path(shutil.copytree(chosen, tmp_path / "data")), EVENING)
    yield world
    world.close()


def with_setting(platform: Platform, *, follow_index: bool) -> Platform:
    return Platform(platform.settings.model_copy(update={"follow_index": follow_index}))


def test_an_empty_folder_fills_itself_and_says_how_to_prevent_it(tmp_path: Path) -> None:
    found = following(World(tmp_path, EVENING).platform)
    assert (found.follows, found.chosen) == (True, ())
    assert found.why == (
        "This folder is empty, and fills itself with the members of sp500. follow_index = false in "
        "quant_assets.toml prevents that."
    )


def test_a_folder_with_chosen_symbols_keeps_to_them_and_says_how_to_change_that(
    world: World,
) -> None:
    found = following(world.platform)
    assert (found.follows, found.chosen) == (False, ("AAA", "BBB"))
    assert found.why == (
        "This folder keeps to the 2 symbols chosen in it (AAA, BBB); follow_index = true in "
        "quant_assets.toml, or quant-assets universe import, has it follow the index sp500 as well."
    )


def test_a_universe_of_ones_own_is_a_choice(world: World) -> None:
    create_universe(world.platform.warehouse, "mine", ["AAA"])
    assert following(world.platform).chosen == ("AAA", "BBB")


def test_a_folder_that_imported_the_index_follows_it(world: World) -> None:
    world.import_members()
    assert following(world.platform).follows
    assert following(world.platform).why == (
        "This folder follows the index sp500, which was imported."
    )


@pytest.mark.parametrize("asked", [True, False])
def test_the_setting_decides_whatever_is_stored_or_was_answered(world: World, asked: bool) -> None:
    world.import_members()
    keep_answer(world.platform, follows=not asked)
    assert following(with_setting(world.platform, follow_index=asked)).follows is asked


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (True, "This folder follows the index sp500, as you answered."),
        (False, "This folder keeps to the 2 symbols chosen in it (AAA, BBB); follow_index = true"),
    ],
)
def test_the_user_is_asked_once(world: World, answer: bool, said: str) -> None:
    questions: list[str] = []

    def ask(question: str) -> bool:
        questions.append(question)
        return answer

    for _ in range(2):
        assert what_is_kept_up(world.platform, ask).startswith(said)
    assert questions == [
        "This folder has 2 symbols of your choice. Add the some 500 of the S&P 500?"
    ]
    assert following(world.platform).follows is answer


def test_without_a_terminal_nothing_is_asked_and_nothing_is_decided(world: World) -> None:
    assert what_is_kept_up(world.platform, None).startswith("This folder keeps to the 2 symbols")
    assert following(world.platform).chosen == ("AAA", "BBB")


def test_a_folder_without_automation_says_so_and_asks_nothing(world: World) -> None:
    off = Platform(world.platform.settings.model_copy(update={"automation": False}))
    assert what_is_kept_up(off, None) == (
        "Nothing is refreshed by itself, as automation = false is set."
    )


def test_the_evenings_of_chosen_symbols_ask_for_them_alone(world: World) -> None:
    world.market.until = FRI
    for schedule in ("nightly", "membership_hourly"):
        seen = world.scheduled(schedule, EVENING)
        assert seen.requests == ()
        assert seen.skipped.startswith("This folder keeps to the 2 symbols chosen in it (AAA, BBB)")
    request = world.look("prices_due").request
    assert request.job_name == "refresh_prices"
    assert world.run(request) == ""
    assert world.market.requested[-2:] == ["AAA", "BBB"]
    assert world.look("prices_due").skipped.startswith("All 2 symbols have 2024-05-31.")
