"""Runs from a launchpad that can load nothing: each fails with the sentence that says why."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import dagster as dg
import pytest

from quant_assets.cli.in_process import QUIET
from quant_assets.definitions import build_definitions
from quant_assets.journal.progress import unwatched
from quant_assets.orchestration.instance.instance import open_instance
from quant_assets.settings.settings import load_settings
from quant_assets.wiring.platform import Platform
from quant_assets_tests.conftest import NOW

Launch = Callable[[str, str, Mapping[str, object]], str]


@pytest.fixture(scope="module")
def launch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launch]:
    """Run a job of one op with a config; why the op failed. Nothing here stores anything."""
    home = tmp_path_factory.mktemp("home")
    settings = load_settings({}, flags={"home": home}, working_directory=home)
    definitions = build_definitions(Platform(settings, clock=lambda: NOW), unwatched)
    with open_instance(home) as instance:

        def run(job: str, op: str, config: Mapping[str, object]) -> str:
            result = definitions.resolve_job_def(job).execute_in_process(
                {**QUIET, "ops": {op: {"config": dict(config)}}}, instance, raise_on_error=False
            )
            return _why(result)

        yield run
        assert not (Path(home) / "warehouse.duckdb").exists()


def _why(result: dg.ExecuteInProcessResult) -> str:
    [failed] = [event for event in result.all_events if event.is_step_failure]
    told = failed.step_failure_data.user_failure_data
    return (told.description if told else None) or ""


@pytest.mark.parametrize(
    ("symbols", "start", "end", "sentence"),
    [
        ([], "2024-05-28", "2024-05-31", "No symbol is named, so there is nothing to load."),
        (["AAPL"], "2024-05-31", "2024-05-28", "start 2024-05-31 is after end 2024-05-28, so"),
        (["AAPL"], "2024-05-25", "2024-05-27", "None of 2024-05-25 to 2024-05-27 is a session"),
        (["AAPL"], "2024-06-03", "2024-06-03", "No session from 2024-06-03 on has closed yet;"),
        (["A B"], "2024-05-28", "2024-05-31", "'A B' is not a symbol"),
        (["AAPL"], "28/05/2024", "2024-05-31", "start '28/05/2024' is not a day; write one like"),
        (["AAPL"], "2024-05-28", "2150-05-31", "2150-05-31 is outside the calendar, which knows"),
    ],
)
def test_a_backfill_with_nothing_to_load_fails_in_a_sentence(
    launch: Launch, symbols: list[str], start: str, end: str, sentence: str
) -> None:
    config = {"symbols": symbols, "start": start, "end": end}
    assert sentence in launch("backfill_prices", "load_rectangle", config)


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({}, "There are no symbols to load yet. Name them"),
        (
            {"symbols": ["AAPL"], "start": "2024-05-31", "end": "2024-05-28"},
            "start 2024-05-31 is after end 2024-05-28",
        ),
        ({"symbols": ["AAPL"], "start": "May"}, "start 'May' is not a day; write one like"),
        ({"universe": "nasdaq"}, "There is no universe nasdaq"),
    ],
)
def test_a_refresh_with_nothing_to_load_fails_in_a_sentence(
    launch: Launch, config: Mapping[str, object], sentence: str
) -> None:
    assert sentence in launch("refresh_prices", "load_what_is_due", config)


def test_a_report_of_no_tickers_fails_in_a_sentence(launch: Launch) -> None:
    assert "No symbol is named" in launch("tell_prices", "tell_of_tickers", {"symbols": []})
