"""What a launchpad opens on: a config without errors, each field with a description."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from quant_assets.definitions import build_definitions
from quant_assets.settings.settings import load_settings
from quant_assets.wiring.platform import Platform

JOBS = ("backfill_prices", "refresh_prices", "tell_prices", "refresh_market", "reconcile_prices")


@pytest.fixture(scope="module")
def definitions(tmp_path_factory: pytest.TempPathFactory) -> dg.Definitions:
    home: Path = tmp_path_factory.mktemp("home")
    settings = load_settings({}, flags={"home": home}, working_directory=home)
    return build_definitions(Platform(settings))


@pytest.mark.parametrize("job", JOBS)
def test_a_launchpad_opens_without_errors(definitions: dg.Definitions, job: str) -> None:
    dg.validate_run_config(definitions.resolve_job_def(job), {})


@pytest.mark.parametrize("job", JOBS)
def test_every_field_of_a_launchpad_is_described(definitions: dg.Definitions, job: str) -> None:
    for node in definitions.resolve_job_def(job).all_node_defs:
        config = node.config_schema.config_type
        for name, field in getattr(config, "fields", {}).items():
            assert field.description, (node.name, name)
            assert not field.is_required, (node.name, name)
