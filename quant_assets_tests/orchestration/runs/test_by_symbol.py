"""A dataset with a partition a symbol: which keys turn green and red, by the same reporter."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from quant_assets.contracts.source import Source, SourceUnavailable
from quant_assets.journal.progress import Progress, unwatched
from quant_assets.loading.dataset import Dataset
from quant_assets.orchestration.automation.jobs import refresh_job
from quant_assets.orchestration.instance.instance import open_instance
from quant_assets.orchestration.runs.dataset_asset import DatasetAsset
from quant_assets.orchestration.runs.partitions import SYMBOLS, symbols
from quant_assets.orchestration.runs.reconcile import compare, reconcile
from quant_assets.orchestration.runs.symbol_days import LoadConfig, load_symbols
from quant_assets.reference.calendars import Calendar
from quant_assets.settings.settings import load_settings
from quant_assets.warehouse.warehouse import Warehouse
from quant_assets.wiring.platform import Platform
from quant_assets_tests.conftest import NOW
from quant_assets_tests.standins.notes import DATASET, NOTES, WITH_NOTES, NoteSource

ASSET = DatasetAsset(
    dg.AssetKey("notes"),
    NOTES,
    code_version="1",
    pool="notes",
    partitions="symbol",
    refresh_job="refresh_notes",
)
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass(frozen=True)
class WithNotes(Platform):
    """A platform whose desk keeps notes."""

    desk: NoteSource = field(default_factory=NoteSource)

    @property
    def warehouse(self) -> Warehouse:  # type: ignore[override]
        return Warehouse(self.settings.warehouse_path, clock=self.clock, schema=WITH_NOTES)

    def feed(
        self, dataset: str, source: str, calendar: Calendar, *, accept: bool = False
    ) -> tuple[Dataset[Any, Any], Source[Any]]:
        return DATASET, self.desk

    def usual_source(self, dataset: str) -> str:
        return self.desk.name


def notes(
    context: dg.AssetExecutionContext,
    config: LoadConfig,
    platform: dg.ResourceParam[Platform],
    progress: dg.ResourceParam[Progress],
) -> Iterator[dg.Output[None]]:
    load_symbols(context, platform, config, progress, asset=ASSET)
    yield from ()


def mend(context: dg.OpExecutionContext, platform: dg.ResourceParam[Platform]) -> None:
    reconcile(context, platform, asset=ASSET)


# Dagster reads the types, and this file keeps them as text.
notes.__annotations__ = {
    "context": dg.AssetExecutionContext,
    "config": LoadConfig,
    "platform": dg.ResourceParam[Platform],
    "progress": dg.ResourceParam[Progress],
    "return": Iterator[dg.Output[None]],
}
mend.__annotations__ = {
    "context": dg.OpExecutionContext,
    "platform": dg.ResourceParam[Platform],
    "return": None,
}


@pytest.fixture
def platform(tmp_path: Path) -> WithNotes:
    settings = load_settings({}, flags={"home": tmp_path}, working_directory=tmp_path)
    desk = NoteSource({"AAA": [(1, "Cheap.", 4.0, ())], "BBB": [(1, "Dear.", 1.0, ())]})
    return WithNotes(settings, lambda: NOW, desk)


@pytest.fixture
def instance(platform: WithNotes) -> Iterator[dg.DagsterInstance]:
    with open_instance(platform.settings.home_path) as opened:
        opened.add_dynamic_partitions(SYMBOLS, ["AAA", "BBB"])
        yield opened


def definitions(platform: WithNotes) -> dg.Definitions:
    asset = dg.asset(partitions_def=symbols, output_required=False, pool=ASSET.pool)(notes)

    @dg.job
    def reconcile_notes() -> None:
        dg.op(mend)()

    return dg.Definitions(
        [asset],
        jobs=[refresh_job(ASSET, "Notes up to date."), reconcile_notes],
        resources={"platform": platform, "progress": unwatched},
    )


def materialize(platform: WithNotes, instance: dg.DagsterInstance, symbol: str) -> bool:
    job = definitions(platform).resolve_implicit_global_asset_job_def()
    ran = job.execute_in_process(
        QUIET, instance, partition_key=symbol, asset_selection=[ASSET.key], raise_on_error=False
    )
    return ran.success


def run(platform: WithNotes, instance: dg.DagsterInstance, job: str, **config: object) -> bool:
    ops = {f"load_{NOTES.name}": {"config": config}} if config else {}
    resolved = definitions(platform).resolve_job_def(job)
    ran = resolved.execute_in_process({**QUIET, "ops": ops}, instance, raise_on_error=False)
    return ran.success


def colours(instance: dg.DagsterInstance) -> tuple[set[str], set[str]]:
    """The keys that are green, and those whose last attempt came to nothing."""
    attempts = instance.event_log_storage
    red = attempts.get_latest_asset_partition_materialization_attempts_without_materializations(
        ASSET.key
    )
    return set(instance.get_materialized_partitions(ASSET.key)), set(red)


def test_each_symbol_has_a_key_of_its_own(
    platform: WithNotes, instance: dg.DagsterInstance
) -> None:
    assert materialize(platform, instance, "AAA")
    assert colours(instance) == ({"AAA"}, set())
    assert platform.desk.requests == ["AAA"]


def test_a_symbol_that_fails_turns_red_and_green_once_it_comes(
    platform: WithNotes, instance: dg.DagsterInstance
) -> None:
    platform.desk.failures = {"BBB": SourceUnavailable("desk", "The desk is away.")}
    assert not materialize(platform, instance, "BBB")
    assert colours(instance) == (set(), {"BBB"})
    platform.desk.failures = {}
    assert materialize(platform, instance, "BBB")
    assert colours(instance) == ({"BBB"}, set())


def test_a_refresh_reports_each_symbol_it_requests(
    platform: WithNotes, instance: dg.DagsterInstance
) -> None:
    platform.desk.failures = {"BBB": SourceUnavailable("desk", "The desk is away.")}
    assert not run(platform, instance, "refresh_notes", symbols=["AAA", "BBB"])
    assert colours(instance) == ({"AAA"}, {"BBB"})


def test_reconcile_turns_green_what_was_loaded_without_dagster(
    platform: WithNotes, instance: dg.DagsterInstance
) -> None:
    assert materialize(platform, instance, "AAA")
    instance.wipe_assets([ASSET.key])
    assert colours(instance) == (set(), set())
    found = compare(platform, instance, asset=ASSET)
    assert (found.to_dict()["unseen"], found.lost) == (["AAA"], [])
    assert run(platform, instance, "reconcile_notes")
    assert colours(instance) == ({"AAA"}, set())
    assert not compare(platform, instance, asset=ASSET).any


def test_a_symbol_that_nobody_asked_for_stays_grey(
    platform: WithNotes, instance: dg.DagsterInstance
) -> None:
    assert not compare(platform, instance, asset=ASSET).any
    assert run(platform, instance, "reconcile_notes")
    assert colours(instance) == (set(), set())
