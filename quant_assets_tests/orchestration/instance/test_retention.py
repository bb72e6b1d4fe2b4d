"""What pruning deletes of Dagster's history, and everything that it must not.

Runs are written as of the time they are meant to be from, or the moment before which history goes
is put between two of them. Colours are those that Dagster's own pages draw.
"""

from __future__ import annotations

import datetime as dt
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.events import (
    PIPELINE_RUN_STATUS_TO_EVENT_TYPE,
    AssetMaterializationPlannedData,
    DagsterEvent,
    DagsterEventType,
    StepMaterializationData,
)
from dagster._core.events.log import EventLogEntry
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster._core.remote_origin import (
    RegisteredCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import InstigatorType, TickStatus
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager
from dagster._core.storage.partition_status_cache import AssetPartitionStatus
from typer.testing import CliRunner

from quant_assets.cli.app import app
from quant_assets.definitions import build_definitions
from quant_assets.orchestration.instance import run_logs
from quant_assets.orchestration.instance.instance import open_instance
from quant_assets.orchestration.instance.retention import Pruned, prune
from quant_assets.settings.settings import load_settings
from quant_assets.wiring.platform import Platform
from quant_assets_tests.conftest import NOW
from quant_assets_tests.orchestration.test_dagster import (
    ALL,
    BROKEN,
    GOOD,
    MEMBERS,
    PRICES,
    RED_ONES,
    Folder,
)

OLD, RECENT = NOW - dt.timedelta(days=40), NOW - dt.timedelta(days=5)
BEFORE = NOW - dt.timedelta(days=30)

DAYS = dg.StaticPartitionsDefinition(["mon", "tue", "wed", "thu"])
ASSET = dg.AssetKey("daily")
GREEN, RED = AssetPartitionStatus.MATERIALIZED, AssetPartitionStatus.FAILED

ORIGIN = RemoteJobOrigin(
    RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("quant_assets"), "__repository__"), "job"
)
"""Where a run comes from; Dagster queues none without."""

SUCCESS, FAILURE = dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE
"""Ends of a run; only the second makes what it planned red."""


class History:
    """A history in a folder of its own, written run by run."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance = instance

    def run(
        self,
        run_id: str,
        at: dt.datetime,
        status: dg.DagsterRunStatus = SUCCESS,
        *,
        good: tuple[str, ...] = (),
        failed: tuple[str, ...] = (),
        lines: int = 3,
        tags: dict[str, str] | None = None,
    ) -> None:
        """A run with its log lines, its captured output, and what it told of partitions."""
        self.instance.run_storage.add_historical_run(
            dg.DagsterRun("job", run_id, tags=tags or {}, remote_job_origin=ORIGIN), at
        )
        reached = DagsterEvent(PIPELINE_RUN_STATUS_TO_EVENT_TYPE[status].value, "job")
        self.instance.run_storage.handle_run_event(run_id, reached, at)
        for key in (*good, *failed):
            planned = AssetMaterializationPlannedData(ASSET, partition=key)
            self.event(
                run_id,
                at,
                DagsterEvent.build_asset_materialization_planned_event("job", "daily", planned),
            )
        for number in range(lines):
            self.instance.store_event(
                EventLogEntry(None, "INFO", f"line {number}", run_id, at.timestamp())
            )
        for key in good:
            told = dg.AssetMaterialization(ASSET, partition=key, metadata={"rows": 7})
            kind = DagsterEventType.ASSET_MATERIALIZATION.value
            data = StepMaterializationData(told)
            self.event(
                run_id, at, DagsterEvent(kind, "job", step_key="daily", event_specific_data=data)
            )
        self.event(run_id, at, reached)
        if isinstance(self.instance.compute_log_manager, LocalComputeLogManager):
            output = self.top() / run_id / "compute_logs" / "daily.out"
            output.parent.mkdir(parents=True)
            output.write_text("printed\n")

    def event(self, run_id: str, at: dt.datetime, event: DagsterEvent) -> None:
        self.instance.store_event(
            EventLogEntry(None, "INFO", "", run_id, at.timestamp(), None, "job", event)
        )

    def backfill(
        self, name: str, at: dt.datetime, status: BulkActionStatus, ended: dt.datetime | None = None
    ) -> None:
        self.instance.add_backfill(
            PartitionBackfill(
                name,
                status,
                from_failure=False,
                tags={"by": "a test"},
                backfill_timestamp=at.timestamp(),
                asset_selection=[ASSET],
                backfill_end_timestamp=ended.timestamp() if ended else None,
            )
        )

    def log(self, run_id: str) -> list[str]:
        """What is stored of a run, in words."""
        return [
            event.dagster_event.event_type_value if event.dagster_event else event.user_message
            for event in self.instance.all_logs(run_id)
        ]

    def runs(self) -> set[str]:
        return set(self.instance.get_run_ids())

    def backfills(self) -> set[str]:
        return {each.backfill_id for each in self.instance.get_backfills()}

    def top(self) -> Path:
        """Where captured output is, in a folder a run."""
        manager = self.instance.compute_log_manager
        assert isinstance(manager, LocalComputeLogManager)
        return Path(manager.get_captured_local_path(["any"], "out")).parent

    def output(self) -> set[str]:
        return {path.name for path in self.top().iterdir()}

    def colours(self, *, cached: bool = True) -> dict[str, set[str]]:
        """The green and the red partitions; without the cache, worked out from the events."""
        if not cached:
            self.instance.wipe_asset_cached_status([ASSET])
        keys = DAYS.get_partition_keys()
        status = self.instance.get_status_by_partition(ASSET, keys, DAYS) or {}
        found = {"green": GREEN, "red": RED}
        return {name: {k for k, is_ in status.items() if is_ is it} for name, it in found.items()}

    def everything(self) -> tuple[object, ...]:
        logs = {run_id: self.log(run_id) for run_id in self.runs()}
        return logs, self.backfills(), self.output()


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data folders to copy, each with a history; making the two takes seconds."""
    path = tmp_path_factory.mktemp("prepared")
    open_instance(path / "new").dispose()
    shutil.copytree(path / "new", path / "full")
    with open_instance(path / "full") as instance:
        fill(History(instance))
    return path


def fill(history: History) -> None:
    """Old and recent runs of every kind; the last is recent."""
    history.run("old-green", OLD, good=("mon", "tue"), lines=5)
    history.run("old-red", OLD, FAILURE, good=("wed",), failed=("tue",))
    history.run("old-op", OLD)
    history.run("old-failed-op", OLD, FAILURE)
    history.run("old-cancelled-op", OLD, dg.DagsterRunStatus.CANCELED)
    history.run("recent", RECENT, FAILURE, failed=("thu",))
    history.run("recent-op", RECENT)
    history.backfill("old-done", OLD, BulkActionStatus.COMPLETED_SUCCESS, OLD)
    history.backfill("recent-done", RECENT, BulkActionStatus.COMPLETED_FAILED, RECENT)


@pytest.fixture
def history(prepared: Path, tmp_path: Path) -> Iterator[History]:
    """A history in which nothing has happened yet."""
    with open_instance(Path(shutil.copytree(prepared / "new", tmp_path / "data"))) as instance:
        yield History(instance)


@pytest.fixture
def full(prepared: Path, tmp_path: Path) -> Iterator[History]:
    """The history that ``fill`` makes."""
    with open_instance(Path(shutil.copytree(prepared / "full", tmp_path / "data"))) as instance:
        yield History(instance)


COLOURS = {"green": {"mon", "wed"}, "red": {"tue", "thu"}}
OLD_OPS = {"old-op", "old-failed-op", "old-cancelled-op"}


def test_what_is_old_goes_and_what_happened_to_assets_stays(full: History) -> None:
    recent = full.log("recent"), full.log("recent-op")
    pruned = prune(full.instance, BEFORE)
    assert (pruned.log_lines, pruned.runs, pruned.output_folders, pruned.backfills) == (
        (5 + 1) + 4 * (3 + 1),
        3,
        5,
        1,
    )
    assert full.log("old-green") == [
        *["ASSET_MATERIALIZATION_PLANNED"] * 2,
        *["ASSET_MATERIALIZATION"] * 2,
    ]
    assert full.log("old-red") == [
        *["ASSET_MATERIALIZATION_PLANNED"] * 2,
        "ASSET_MATERIALIZATION",
    ]
    assert full.runs() == {"old-green", "old-red", "recent", "recent-op"}
    assert (full.log("recent"), full.log("recent-op")) == recent
    assert full.output() == {"recent", "recent-op"}
    assert full.backfills() == {"recent-done"}


def test_the_metadata_of_an_old_materialization_can_still_be_read(full: History) -> None:
    prune(full.instance, BEFORE)
    found = full.instance.fetch_materializations(
        dg.AssetRecordsFilter(ASSET, asset_partitions=["mon"]), limit=5
    ).records
    assert [each.asset_materialization.metadata["rows"].value for each in found] == [7]  # type: ignore[union-attr]
    run = full.instance.get_run_record_by_id("old-green")
    assert run is not None
    assert run.end_time == OLD.timestamp()


@pytest.mark.parametrize("seen_before", [True, False])
@pytest.mark.parametrize("cached", [True, False])
def test_green_stays_green_and_red_stays_red(
    full: History, seen_before: bool, cached: bool
) -> None:
    if seen_before:
        assert full.colours() == COLOURS
    prune(full.instance, BEFORE)
    assert full.colours(cached=cached) == COLOURS


def test_a_red_partition_of_an_old_run_still_turns_green_when_it_is_mended(full: History) -> None:
    prune(full.instance, BEFORE)
    full.run("mended", NOW, good=("tue", "thu"))
    assert full.colours() == {"green": {"mon", "tue", "wed", "thu"}, "red": set()}
    assert full.colours(cached=False) == {"green": {"mon", "tue", "wed", "thu"}, "red": set()}


def test_the_symbol_days_of_a_real_run_keep_their_colours(tmp_path: Path) -> None:
    (tmp_path / "members.csv").write_text(MEMBERS, "utf-8")
    folder = Folder(tmp_path)
    folder.archive(GOOD, BROKEN)
    folder.load_universe()
    run_id = folder.materialize().run_id
    told = folder.events()
    with folder.instance() as instance:
        lines = len(instance.all_logs(run_id))
        assert prune(instance, dt.datetime.now(dt.UTC) + dt.timedelta(days=1))
        assert len(instance.all_logs(run_id)) < lines
        instance.wipe_asset_cached_status([PRICES])
    assert folder.colours() == {"green": ALL - RED_ONES, "red": RED_ONES}
    assert folder.events() == told


def test_a_dry_run_counts_the_same_and_deletes_nothing(full: History) -> None:
    before = full.everything()
    counted = prune(full.instance, BEFORE, dry_run=True)
    assert full.everything() == before
    assert prune(full.instance, BEFORE) == counted
    assert counted.log_bytes > 1_000
    assert counted.output_bytes == 5 * len("printed\n")
    assert counted.backfill_bytes > 100


def test_a_second_prune_finds_nothing(full: History) -> None:
    assert prune(full.instance, BEFORE)
    left = full.everything()
    again = prune(full.instance, BEFORE)
    assert again == Pruned()
    assert not again
    assert full.everything() == left


@pytest.mark.parametrize("status", PIPELINE_RUN_STATUS_TO_EVENT_TYPE)
def test_an_old_run_that_has_not_finished_is_not_touched(
    history: History, status: dg.DagsterRunStatus
) -> None:
    history.run("old", OLD, status)
    history.run("recent", RECENT)
    prune(history.instance, BEFORE)
    finished = status in (SUCCESS, FAILURE, dg.DagsterRunStatus.CANCELED)
    assert history.runs() == ({"recent"} if finished else {"old", "recent"})
    assert bool(history.log("old")) is not finished
    assert history.output() == history.runs()


def test_the_moment_may_be_told_in_any_time_zone(history: History) -> None:
    history.run("one", OLD)
    history.run("other", OLD + dt.timedelta(hours=2))
    history.run("recent", RECENT)
    between = OLD + dt.timedelta(hours=1)
    prune(history.instance, between.astimezone(dt.timezone(dt.timedelta(hours=-5))))
    assert history.runs() == {"other", "recent"}


def test_runs_a_backfill_at_work_counts_on_are_not_touched(history: History) -> None:
    history.backfill("at-work", OLD, BulkActionStatus.REQUESTED)
    history.backfill("done", OLD, BulkActionStatus.COMPLETED_SUCCESS, OLD)
    history.run("counted-on", OLD, tags={"dagster/backfill": "at-work"})
    history.run("of-no-use", OLD, tags={"dagster/backfill": "done"})
    history.run("recent", RECENT)
    prune(history.instance, BEFORE)
    assert history.runs() == {"counted-on", "recent"}
    assert len(history.log("counted-on")) == 4
    assert history.backfills() == {"at-work"}


def test_a_backfill_that_took_long_is_as_old_as_its_end(history: History) -> None:
    history.backfill("took-long", OLD, BulkActionStatus.COMPLETED_SUCCESS, RECENT)
    history.backfill("no-end-told", OLD, BulkActionStatus.CANCELED)
    assert prune(history.instance, BEFORE).backfills == 1
    assert history.backfills() == {"took-long"}


def test_events_of_no_run_stay(history: History) -> None:
    history.instance.report_runless_asset_event(dg.AssetMaterialization(ASSET, partition="mon"))
    history.instance.store_event(EventLogEntry(None, "INFO", "a line", "", OLD.timestamp()))
    history.run("recent", RECENT)
    assert not prune(history.instance, BEFORE)
    assert history.log("") == ["ASSET_MATERIALIZATION", "a line"]


def test_no_event_gets_the_number_of_one_that_was_deleted(history: History) -> None:
    # SQLite would give it, and whoever remembers how far he read would miss the new event.
    history.run("old", OLD)
    last = history.instance.event_log_storage.get_maximum_record_id()
    prune(history.instance, BEFORE)
    history.run("recent", RECENT)
    ids = [record.storage_id for record in history.instance.get_records_for_run("recent").records]
    assert last is not None
    assert min(ids) > last
    prune(history.instance, BEFORE)
    assert history.runs() == {"recent"}


class Killed(BaseException):
    """Stands for a kill: nothing catches it."""


@pytest.mark.parametrize("steps", range(8))
def test_stopped_anywhere_it_hurts_no_colour_and_the_next_call_goes_on(
    full: History, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    left = steps

    def one_step(*_: object) -> None:
        nonlocal left
        if left == 0:
            raise Killed
        left -= 1

    delete_run = full.instance.run_storage.delete_run

    def delete_one(run_id: str) -> None:
        one_step()
        delete_run(run_id)

    with monkeypatch.context() as patch:
        patch.setattr(run_logs, "ROWS_AT_ONCE", 6)
        patch.setattr("quant_assets.orchestration.instance.run_logs.time.sleep", one_step)
        patch.setattr(full.instance.run_storage, "delete_run", delete_one)
        if steps < 7:
            with pytest.raises(Killed):
                prune(full.instance, BEFORE)
        else:
            prune(full.instance, BEFORE)
    assert full.colours(cached=False) == COLOURS
    prune(full.instance, BEFORE)
    assert full.runs() == {"old-green", "old-red", "recent", "recent-op"}
    assert full.backfills() == {"recent-done"}
    assert len(full.log("old-green")) == 4
    assert full.log("old-op") == []
    assert full.colours(cached=False) == COLOURS


# --- with other storage --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_stock_storage_keeps_the_logs_of_assets_and_says_so(tmp_path: Path, kind: str) -> None:
    stock = (
        dg.DagsterInstance.ephemeral()
        if kind == "memory"
        else dg.DagsterInstance.local_temp(str(tmp_path))
    )
    with stock as instance:
        history = History(instance)
        history.run("old-red", OLD, FAILURE, good=("mon",), failed=("tue",))
        history.run("old-op", OLD)
        history.run("recent", RECENT)
        counted = prune(instance, BEFORE, dry_run=True)
        assert len(history.runs()) == 3
        pruned = prune(instance, BEFORE)
        assert pruned == counted
        assert (pruned.log_lines, pruned.runs) == (4, 1)
        assert "the logs of runs that concern assets stay" in "".join(pruned.left_alone)
        assert history.runs() == {"old-red", "recent"}
        assert len(history.log("old-red")) == 7
        assert history.log("old-op") == []
        assert history.colours(cached=False) == {"green": {"mon"}, "red": {"tue"}}


# --- the command, the job, the schedule ----------------------------------------------------------


def shell(home: Path, *words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["prune", *words], env={"QUANT_ASSETS_HOME": str(home)})
    return done.exit_code, done.stdout


def test_the_command_says_what_it_deletes_and_then_that_nothing_is_left(
    full: History, tmp_path: Path
) -> None:
    home = tmp_path / "data"
    # By the clock of the machine all of this history is old.
    code, told = shell(home, "--dry-run")
    assert (code, told.startswith("Would delete of the time before 20")) == (0, True)
    assert len(full.runs()) == 7
    code, told = shell(home, "--days", "30")
    assert code == 0
    assert "Deleted of the time before" in told
    assert "the output of 7 runs" in told
    assert "3 records of runs that concern no asset" in told
    assert "2 records of backfills" in told
    assert full.colours(cached=False) == COLOURS
    code, told = shell(home)
    assert (code, told.startswith("Nothing to delete")) == (0, True)


def test_the_command_as_json(full: History, tmp_path: Path) -> None:
    code, told = shell(tmp_path / "data", "--json", "--dry-run")
    facts = json.loads(told)
    assert code == 0
    assert (facts["dry_run"], facts["runs"], facts["backfills"]) == (True, 3, 2)
    assert facts["log_lines"] > 0
    assert facts["left_alone"] == []
    assert len(full.runs()) == 7


def test_the_command_makes_no_history_where_there_is_none(tmp_path: Path) -> None:
    code, told = shell(tmp_path / "data")
    assert (code, told.startswith("Nothing to delete")) == (0, True)
    assert not (tmp_path / "data").exists()


def test_less_than_a_day_can_not_be_kept(tmp_path: Path) -> None:
    assert shell(tmp_path / "data", "--days", "0")[0] == 2


def test_the_job_keeps_the_days_of_the_settings_and_its_own_log(
    full: History, tmp_path: Path
) -> None:
    settings = load_settings({}, flags={"home": tmp_path / "data", "history_days": 50})
    definitions = build_definitions(Platform(settings, clock=lambda: NOW))
    job = definitions.resolve_job_def("prune_history")
    assert job.execute_in_process(instance=full.instance).success
    assert full.runs() > OLD_OPS
    settings = settings.model_copy(update={"history_days": 30})
    definitions = build_definitions(Platform(settings, clock=lambda: NOW))
    run = definitions.resolve_job_def("prune_history").execute_in_process(instance=full.instance)
    assert not full.runs() & OLD_OPS
    told = [line for line in full.log(run.run_id) if line.startswith("Deleted")]
    assert len(told) == 1
    assert "before 2024-05-04 12:00 UTC: 22 log lines" in told[0]


def test_the_schedule_runs_by_itself_at_half_past_three_in_new_york(tmp_path: Path) -> None:
    settings = load_settings({}, flags={"home": tmp_path / "data"})
    repository = build_definitions(Platform(settings, clock=lambda: NOW)).get_repository_def()
    schedule = repository.get_schedule_def("prune_history_daily")
    assert schedule.job_name == "prune_history"
    assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING
    assert schedule.cron_schedule == "30 3 * * *"
    assert schedule.execution_timezone == "America/New_York"


@pytest.mark.parametrize("kind", [InstigatorType.SCHEDULE, InstigatorType.SENSOR])
def test_looks_of_schedules_and_sensors_are_not_kept_for_ever(
    history: History, kind: InstigatorType
) -> None:
    days = history.instance.get_tick_retention_settings(kind)
    assert days[TickStatus.SKIPPED] == 3
    assert days[TickStatus.SUCCESS] == days[TickStatus.FAILURE] == 30
