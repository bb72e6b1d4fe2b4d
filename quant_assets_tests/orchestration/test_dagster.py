"""What Dagster is told: the definitions, and the colour of every symbol-day after a run.

Runs happen in this process, in a data folder of their own, and Dagster's own status is asked, the
one its pages draw. The pages themselves are opened in ``test_ui.py``.
"""

from __future__ import annotations

import datetime as dt
import multiprocessing
import shutil
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy
import yaml
from dagster._core.definitions.data_version import (
    DATA_VERSION_TAG,
    CachingStaleStatusResolver,
    StaleStatus,
)
from dagster._core.definitions.partitions.context import partition_loading_context
from dagster._core.events import DagsterEvent, DagsterEventType, StepMaterializationData
from dagster._core.events.log import EventLogEntry
from dagster._core.loader import LoadingContextForTest
from dagster._core.storage.partition_status_cache import AssetPartitionStatus

from quant_assets.cli.in_process import (
    Materialized,
    backfill_prices,
    materialize_all_prices,
    materialize_asset,
)
from quant_assets.definitions import build_definitions
from quant_assets.loading.load import Window
from quant_assets.orchestration.instance.instance import (
    LOCATION,
    MODULE,
    instance_config,
    open_instance,
)
from quant_assets.orchestration.runs.partitions import (
    SYMBOLS,
    add_tickers,
    key_text,
    sessions,
    symbol_days,
)
from quant_assets.reference.calendars import Calendar, exchange_calendar
from quant_assets.settings.settings import load_settings
from quant_assets.wiring.platform import Platform
from quant_assets_tests.conftest import NOW
from quant_assets_tests.standins.loads import load_prices

PROJECT = Path(__file__).parents[2]
PRICES = dg.AssetKey("daily_prices")
UNIVERSE = dg.AssetKey("sp500_universe")
ACTIONS = dg.AssetKey("corporate_actions")
MARKER = dg.AssetKey("latest_session")
MARKET = dg.AssetKey("market_snapshot")
GREEN, RED = AssetPartitionStatus.MATERIALIZED, AssetPartitionStatus.FAILED

TUE, WED, THU, FRI, MON = (
    dt.date(2024, 5, 28),
    dt.date(2024, 5, 29),
    dt.date(2024, 5, 30),
    dt.date(2024, 5, 31),
    dt.date(2024, 6, 3),
)
"""The sessions before ``NOW``; the Monday has not closed, and has not even opened."""

HEADER = "symbol,date,open,high,low,close,volume\n"
GOOD = """\
AAPL,2024-05-28,10,11,9,10.5,100
AAPL,2024-05-29,10,11,9,10.5,100
AAPL,2024-05-30,10,11,9,10.5,100
AAPL,2024-05-31,10,11,9,10.5,100
PLTR,2024-05-30,20,22,19,21,100
PLTR,2024-05-31,20,22,19,21,100
"""
BROKEN = """\
MSFT,2024-05-28,20,22,19,21,100
MSFT,2024-05-29,20,18,19,21,100
MSFT,2024-05-31,20,22,19,21,100
"""
"""Its high is below its low on Wednesday, and Thursday is missing."""
MENDED = """\
MSFT,2024-05-28,20,22,19,21,100
MSFT,2024-05-29,20,22,19,21,100
MSFT,2024-05-30,20,22,19,21,100
MSFT,2024-05-31,20,22,19,21,100
"""
MEMBERS = """\
ticker,start_date,end_date
AAPL,1996-01-02,
MSFT,1996-01-02,
PLTR,2024-05-30,
"""

RED_ONES = {"2024-05-29|MSFT", "2024-05-30|MSFT"}
EMPTY_ONES = {"2024-05-28|PLTR", "2024-05-29|PLTR"}
ALL = {f"{day}|{symbol}" for day in (TUE, WED, THU, FRI) for symbol in ("AAPL", "MSFT", "PLTR")}


@dataclass(frozen=True)
class Folder:
    """A data folder with an archive of three companies, and what Dagster says of it."""

    path: Path

    def archive(self, *rows: str) -> None:
        (self.path / "prices.csv").write_text(HEADER + "".join(rows), "utf-8")

    def platform(self, now: dt.datetime = NOW) -> Platform:
        """A platform as a new process would see it: an archive is read once in its life."""
        settings = load_settings(
            {},
            flags={
                "home": self.path / "data",
                "source": "files:ours",
                "partition_start": TUE,
                "universe": {"intervals": "members.csv"},
                "files": {"ours": {"paths": ["prices.csv"], "price_basis": "as_traded"}},
            },
            working_directory=self.path,
        )
        return Platform(settings, clock=lambda: now)

    def instance(self) -> dg.DagsterInstance:
        return open_instance(self.path / "data")

    def load_universe(self) -> None:
        assert materialize_asset(self.platform(), "sp500_universe").success

    def materialize(self, end: dt.date = FRI, start: dt.date = TUE) -> Materialized:
        """Every symbol from ``start`` to ``end``, in one run of the asset."""
        return materialize_all_prices(self.platform(), start, end)

    def backfill(self, *symbols: str, start: dt.date = TUE, end: dt.date = FRI) -> Materialized:
        return backfill_prices(self.platform(), symbols, start, end)

    def load_without_dagster(self, *symbols: str) -> None:
        platform = self.platform()
        source = platform.price_source()
        load_prices(platform.warehouse, source, Window(symbols, TUE, FRI), platform.calendar)

    def colours(self) -> dict[str, set[str]]:
        with self.instance() as instance:
            return colours(instance, self.platform())

    def events(self) -> Counter[str]:
        """How many events of each type tell of symbol-days."""
        with self.instance() as instance:
            return Counter(event.dagster_event_type.value for event in price_events(instance))

    def materialization(self, key: str) -> dg.AssetMaterialization:
        with self.instance() as instance:
            found = [
                event.asset_materialization
                for event in price_events(instance)
                if event.asset_materialization and event.asset_materialization.partition == key
            ]
        assert found[0] is not None
        return found[0]


@pytest.fixture
def bare(tmp_path: Path) -> Folder:
    """Files, and no data yet; the archive has two days of Microsoft that can't be had."""
    (tmp_path / "members.csv").write_text(MEMBERS, "utf-8")
    folder = Folder(tmp_path)
    folder.archive(GOOD, BROKEN)
    return folder


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data folders to copy: one with the universe alone, and one in which all is green."""
    path = tmp_path_factory.mktemp("prepared")
    (path / "members.csv").write_text(MEMBERS, "utf-8")
    folder = Folder(path)
    folder.archive(GOOD, MENDED)
    folder.load_universe()
    shutil.copytree(path / "data", path / "universe")
    assert folder.materialize().success
    (path / "data").rename(path / "green")
    return path


@pytest.fixture
def folder(bare: Folder, prepared: Path) -> Folder:
    """As ``bare``, the universe loaded."""
    shutil.copytree(prepared / "universe", bare.path / "data")
    return bare


@pytest.fixture
def green(bare: Folder, prepared: Path) -> Folder:
    """The universe and every symbol-day of a good archive materialized."""
    shutil.copytree(prepared / "green", bare.path / "data")
    bare.archive(GOOD, MENDED)
    return bare


def colours(instance: dg.DagsterInstance, platform: Platform) -> dict[str, set[str]]:
    """The green and the red keys, as the partitions page shows them."""
    partitions = symbol_days(platform.calendar, platform.settings.partition_start)
    with partition_loading_context(dynamic_partitions_store=instance):
        keys = list(partitions.get_partition_keys())
        status = instance.get_status_by_partition(PRICES, keys, partitions) or {}
    found = {"green": GREEN, "red": RED}
    return {name: {k for k, is_ in status.items() if is_ is it} for name, it in found.items()}


def price_events(instance: dg.DagsterInstance) -> list[EventLogEntry]:
    """Events that tell of a symbol-day, newest first."""
    records = [
        *instance.fetch_materializations(PRICES, limit=10_000).records,
        *instance.event_log_storage.get_event_records(
            dg.EventRecordsFilter(DagsterEventType.ASSET_MATERIALIZATION_PLANNED, PRICES)
        ),
    ]
    records.sort(key=lambda record: record.storage_id, reverse=True)
    return [r.event_log_entry for r in records if r.event_log_entry.dagster_event.partition]  # type: ignore[union-attr]


# --- the definitions -----------------------------------------------------------------------------


def test_assets_jobs_and_partitions_keep_their_names(folder: Folder) -> None:
    repository = build_definitions(folder.platform()).get_repository_def()
    graph = repository.asset_graph
    assert {key.to_user_string() for key in graph.get_all_asset_keys()} == {
        "corporate_actions",
        "daily_prices",
        "latest_session",
        "market_snapshot",
        "sp500_universe",
    }
    assert set(repository.job_names) - {"__ASSET_JOB"} == {
        "backfill_prices",
        "prune_history",
        "reconcile_prices",
        "refresh_market",
        "refresh_membership",
        "refresh_prices",
        "tell_prices",
    }
    assert {schedule.name for schedule in repository.schedule_defs} == {
        "crypto_hourly",
        "market_nightly",
        "membership_hourly",
        "nightly",
        "prune_history_daily",
    }
    assert {sensor.name for sensor in repository.sensor_defs} == {
        "after_prices",
        "dead_runs",
        "failed_partitions",
        "index_membership_sensor",
        "prices_due",
    }
    assert all(each.default_status.value == "RUNNING" for each in repository.schedule_defs)
    assert all(each.default_status.value == "RUNNING" for each in repository.sensor_defs)
    assert graph.get(PRICES).parent_keys == {UNIVERSE}
    assert graph.get(ACTIONS).parent_keys == graph.get(MARKER).parent_keys == {PRICES}
    partitions = graph.get(PRICES).partitions_def
    assert isinstance(partitions, dg.MultiPartitionsDefinition)
    assert partitions.partition_dimension_names == ["date", "symbol"]
    by_symbol = partitions.get_partitions_def_for_dimension("symbol")
    assert isinstance(by_symbol, dg.DynamicPartitionsDefinition)
    assert by_symbol.name == SYMBOLS == "symbols"
    assert key_text("AAPL", FRI) == "2024-05-31|AAPL"


def test_every_asset_says_what_it_is_and_who_owns_it(folder: Folder) -> None:
    graph = build_definitions(folder.platform()).resolve_asset_graph()
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        assert node.description, key
        assert node.kinds == {"duckdb"}, key
        assert list(node.owners) == ["team:data"], key
        assert node.freshness_policy_or_from_metadata is not None, key
        # With several groups the graph opens on closed boxes.
        assert node.group_name == "market_data", key


def test_every_asset_of_a_table_lists_its_columns(green: Folder) -> None:
    assert materialize_asset(green.platform(), "corporate_actions").success
    graph = build_definitions(green.platform()).resolve_asset_graph()
    first_columns = {}
    with green.instance() as instance:
        for key in graph.get_all_asset_keys() - {MARKER, MARKET}:
            event = instance.get_latest_materialization_event(key)
            assert event is not None
            assert event.asset_materialization is not None
            metadata = {**graph.get(key).metadata, **event.asset_materialization.metadata}
            schema = metadata["dagster/column_schema"]
            found = schema.value if isinstance(schema, dg.MetadataValue) else schema
            assert all(column.description for column in found.columns)
            first_columns[key.to_user_string()] = found.columns[0].name
    assert first_columns == {
        "corporate_actions": "security_id",
        "daily_prices": "security_id",
        "sp500_universe": "universe",
    }


def test_the_project_file_is_the_configuration_of_the_folder_data() -> None:
    assert yaml.safe_load((PROJECT / "dagster.yaml").read_text("utf-8")) == instance_config("data")


def test_the_project_names_its_code_location_as_the_command_line_does(tmp_path: Path) -> None:
    ours = yaml.safe_load((PROJECT / "workspace.yaml").read_text("utf-8"))["load_from"]
    with open_instance(tmp_path):
        made = yaml.safe_load((tmp_path / "dagster" / "workspace.yaml").read_text("utf-8"))
    for location in (ours, made["load_from"]):
        assert [
            (at["python_module"]["module_name"], at["python_module"]["location_name"])
            for at in location
        ] == [(MODULE, LOCATION)]


# --- partitions ----------------------------------------------------------------------------------


def keys_at(now: dt.datetime, calendar: Calendar, start: dt.date) -> list[dt.date]:
    with partition_loading_context(effective_dt=now):
        keys = sessions(calendar, start).get_partition_keys()
    return [dt.date.fromisoformat(key) for key in keys]


def test_partitions_are_the_sessions_of_the_exchange(calendar: Calendar) -> None:
    start = dt.date(2000, 1, 3)
    assert keys_at(NOW, calendar, start) == list(calendar.between(start, MON))


@pytest.mark.parametrize(
    ("now", "newest"),
    [
        ("2024-05-24T23:59:00-04:00", dt.date(2024, 5, 24)),
        ("2024-05-25T00:00:00-04:00", TUE),
        ("2024-05-30T23:59:00-04:00", THU),
        ("2024-05-31T00:00:00-04:00", FRI),
        ("2024-06-01T00:00:00-04:00", MON),
    ],
)
def test_a_partition_is_there_from_the_midnight_after_the_session_before_it(
    calendar: Calendar, now: str, newest: dt.date
) -> None:
    moment = dt.datetime.fromisoformat(now)
    start = dt.date(2024, 5, 1)
    assert keys_at(moment, calendar, start) == list(calendar.between(start, newest))


def test_a_closure_that_was_set_has_no_partition() -> None:
    closed = dt.date(2024, 5, 29)
    calendar = exchange_calendar("XNYS", (closed,))
    assert keys_at(NOW, calendar, dt.date(2024, 5, 24)) == [
        dt.date(2024, 5, 24),
        TUE,
        THU,
        FRI,
        MON,
    ]


@pytest.mark.parametrize(
    ("start", "first"), [("2024-05-25", TUE), ("2024-05-27", TUE), ("2024-05-30", THU)]
)
def test_the_window_begins_where_the_settings_say(
    folder: Folder, start: str, first: dt.date
) -> None:
    settings = folder.platform().settings.model_copy(
        update={"partition_start": dt.date.fromisoformat(start)}
    )
    node = build_definitions(Platform(settings)).resolve_asset_graph().get(PRICES)
    assert isinstance(node.partitions_def, dg.MultiPartitionsDefinition)
    by_date = node.partitions_def.get_partitions_def_for_dimension("date")
    assert by_date.get_first_partition_key() == first.isoformat()


# --- the colours of symbol-days ------------------------------------------------------------------


def test_the_universe_brings_the_symbols_to_choose_from(bare: Folder) -> None:
    with bare.instance() as instance:
        assert instance.get_dynamic_partitions(SYMBOLS) == []
    bare.load_universe()
    assert bare.colours() == {"green": set(), "red": set()}
    with bare.instance() as instance:
        assert instance.get_dynamic_partitions(SYMBOLS) == ["AAPL", "MSFT", "PLTR"]


def test_the_demo_can_be_repeated(tmp_path: Path) -> None:
    flags = {"home": tmp_path, "source": "simulated", "simulated": {"symbols": 3}}
    platform = Platform(load_settings({}, flags=flags, working_directory=tmp_path), lambda: NOW)
    for _ in range(2):
        result = materialize_asset(platform, "sp500_universe")
        assert result.success, result.failure


def test_the_failed_symbol_days_turn_red_and_no_others(folder: Folder) -> None:
    result = folder.materialize()
    assert not result.success
    assert "MSFT 2024-05-29: low is above high" in result.failure
    assert "MSFT 2024-05-30: the source answered without a row" in result.failure
    assert folder.colours() == {"green": ALL - RED_ONES, "red": RED_ONES}
    with folder.instance() as instance:
        assert instance.get_materialized_partitions(PRICES) == ALL - RED_ONES


def test_a_run_of_the_job_colours_the_same_keys(folder: Folder) -> None:
    assert not folder.backfill("AAPL", "MSFT", "PLTR").success
    assert folder.colours() == {"green": ALL - RED_ONES, "red": RED_ONES}


def test_a_mended_file_turns_the_red_ones_green(folder: Folder) -> None:
    folder.materialize()
    assert folder.colours()["red"] == RED_ONES
    folder.archive(GOOD, MENDED)
    assert folder.materialize().success
    assert folder.colours() == {"green": ALL, "red": set()}


def test_a_symbol_the_source_has_never_heard_of_is_red_and_costs_no_other(folder: Folder) -> None:
    result = folder.backfill("AAPL", "TSLA")
    assert not result.success
    assert "TSLA 2024-05-28: files:ours has no symbol TSLA." in result.failure
    days = (TUE, WED, THU, FRI)
    assert folder.colours() == {
        "green": {key_text("AAPL", day) for day in days},
        "red": {key_text("TSLA", day) for day in days},
    }


def test_a_confirmed_empty_symbol_day_is_green_and_says_why(folder: Folder) -> None:
    folder.materialize()
    for key in EMPTY_ONES:
        metadata = folder.materialization(key).metadata
        assert metadata["outcome"].value == "empty"
        assert metadata["rows"].value == 0
        assert metadata["reason"].value == "the archive begins with 2024-05-30"
    present = folder.materialization("2024-05-30|PLTR").metadata
    assert {name: value.value for name, value in present.items()} == {
        "outcome": "present",
        "rows": 1,
        "source": "files:ours",
    }


def test_a_reload_that_changed_nothing_tells_nothing(green: Folder) -> None:
    before = green.events()
    assert before == {"ASSET_MATERIALIZATION": len(ALL)}
    assert green.materialize().success
    assert green.backfill("AAPL", "MSFT", "PLTR").success
    assert green.events() == before
    assert green.colours() == {"green": ALL, "red": set()}


def test_a_revised_symbol_day_is_told_again_and_its_neighbours_are_not(green: Folder) -> None:
    green.archive(
        GOOD, MENDED.replace("MSFT,2024-05-30,20,22,19,21,", "MSFT,2024-05-30,20,22,19,20,")
    )
    assert backfill_prices(green.platform(), ["MSFT"], TUE, FRI, force=True).success
    assert green.events() == {"ASSET_MATERIALIZATION": len(ALL) + 1}


def test_what_was_loaded_without_dagster_is_told_by_the_next_run(folder: Folder) -> None:
    folder.archive(GOOD, MENDED)
    folder.load_without_dagster("AAPL", "PLTR")
    assert folder.colours()["green"] == set()
    assert folder.materialize().success
    assert folder.colours() == {"green": ALL, "red": set()}


def test_a_red_symbol_day_mended_without_dagster_turns_green_with_the_next_run(
    folder: Folder,
) -> None:
    folder.materialize()
    assert folder.colours()["red"] == RED_ONES
    folder.archive(GOOD, MENDED)
    folder.load_without_dagster("MSFT")
    assert folder.backfill("MSFT").success
    assert folder.colours() == {"green": ALL, "red": set()}


def test_a_symbol_day_that_was_green_then_red_turns_green_again(green: Folder) -> None:
    green.platform().settings.warehouse_path.unlink()
    green.archive(GOOD, BROKEN)
    green.materialize()
    assert green.colours() == {"green": ALL - RED_ONES, "red": RED_ONES}
    green.archive(GOOD, MENDED)
    green.load_without_dagster("MSFT")
    assert green.materialize().success
    assert green.colours() == {"green": ALL, "red": set()}


def test_an_open_session_is_neither_stored_nor_told(folder: Folder) -> None:
    monday = "AAPL,2024-06-03,10,11,9,10.5,100\n"
    folder.archive(GOOD, MENDED, monday)
    assert folder.materialize(end=MON).success
    assert folder.colours() == {"green": ALL, "red": set()}
    with folder.platform().warehouse.reading() as con:
        assert con.execute("select max(session) from daily_prices").fetchone() == (FRI,)
        assert con.execute(
            "select count(*) from symbol_day_ledger where session > ?", [FRI]
        ).fetchone() == (0,)


def test_a_run_of_an_open_session_alone_succeeds_and_tells_nothing(green: Folder) -> None:
    before = green.events()
    assert green.materialize(start=MON, end=MON).success
    assert green.events() == before


def test_an_open_session_stays_without_colour_where_its_run_fails(folder: Folder) -> None:
    assert not folder.materialize(end=MON).success
    assert folder.colours() == {"green": ALL - RED_ONES, "red": RED_ONES}


def test_sessions_before_the_window_are_stored_and_colour_nothing(folder: Folder) -> None:
    early = "AAPL,2024-05-24,10,11,9,10.5,100\nMSFT,2024-05-24,10,9,11,10.5,100\n"
    folder.archive(early, GOOD, BROKEN)
    result = folder.backfill("AAPL", "MSFT", start=dt.date(2024, 5, 24))
    assert "MSFT 2024-05-24: low is above high" in result.failure
    assert folder.colours()["red"] == RED_ONES
    with folder.platform().warehouse.reading() as con:
        assert con.execute("select min(session) from daily_prices").fetchone() == (
            dt.date(2024, 5, 24),
        )


def test_nothing_is_called_stale(green: Folder) -> None:
    assert materialize_asset(green.platform(), "corporate_actions").success
    # A second look at the members must not make symbol-days stale.
    green.load_universe()
    graph = build_definitions(green.platform()).resolve_asset_graph()
    with green.instance() as instance:
        stale = CachingStaleStatusResolver(instance, graph, LoadingContextForTest(instance))
        of_days = {stale.get_status(PRICES, key) for key in sorted(ALL)}
        assert of_days == {StaleStatus.FRESH}
        assert stale.get_status(ACTIONS) is StaleStatus.FRESH
        assert stale.get_status(UNIVERSE) is StaleStatus.FRESH


def run_of_backfill(folder: Folder, backfill_id: str) -> str:
    """One run as the UI's backfill launches it; its id."""
    tags = {
        "dagster/backfill": backfill_id,
        "dagster/asset_partition_range_start": key_text("AAPL", TUE),
        "dagster/asset_partition_range_end": key_text("PLTR", FRI),
    }
    job = build_definitions(folder.platform()).resolve_implicit_global_asset_job_def()
    with folder.instance() as instance:
        run = job.execute_in_process(instance=instance, asset_selection=[PRICES], tags=tags)
    assert run.success
    return run.run_id


def test_a_backfill_is_told_of_every_key_it_asked_for(green: Folder) -> None:
    # Dagster calls a backfill failed where a run of it stays silent on a key, known or not.
    run_id = run_of_backfill(green, "aaaaaaaa")
    with green.instance() as instance:
        told = {e.dagster_event.partition for e in price_events(instance) if e.run_id == run_id}  # type: ignore[union-attr]
    assert told == ALL


# --- storage -------------------------------------------------------------------------------------


def stock_instance(path: Path, kind: str) -> dg.DagsterInstance:
    if kind == "memory":
        return dg.DagsterInstance.ephemeral()
    path.mkdir()
    return dg.DagsterInstance.local_temp(str(path))


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_stock_storage_shows_the_same_colours(bare: Folder, kind: str) -> None:
    tags = {
        "dagster/asset_partition_range_start": key_text("AAPL", TUE),
        "dagster/asset_partition_range_end": key_text("PLTR", FRI),
    }
    seen = []
    with stock_instance(bare.path / "stock", kind) as instance:
        for rows, asset in ((BROKEN, UNIVERSE), (BROKEN, PRICES), (MENDED, PRICES)):
            bare.archive(GOOD, rows)
            definitions = build_definitions(bare.platform())
            definitions.resolve_implicit_global_asset_job_def().execute_in_process(
                instance=instance,
                asset_selection=[asset],
                tags=tags if asset == PRICES else {},
                raise_on_error=False,
            )
            seen.append(colours(instance, bare.platform()))
    assert seen == [
        {"green": set(), "red": set()},
        {"green": ALL - RED_ONES, "red": RED_ONES},
        {"green": ALL, "red": set()},
    ]


def materializations(run_id: str, days: Sequence[dt.date], symbol: str) -> list[EventLogEntry]:
    return [
        EventLogEntry(
            error_info=None,
            level="INFO",
            user_message="",
            run_id=run_id,
            timestamp=time.time(),
            step_key="daily_prices",
            job_name="backfill_prices",
            dagster_event=DagsterEvent(
                event_type_value=DagsterEventType.ASSET_MATERIALIZATION.value,
                job_name="backfill_prices",
                step_key="daily_prices",
                event_specific_data=StepMaterializationData(
                    dg.AssetMaterialization(
                        PRICES, partition=key_text(symbol, day), tags={DATA_VERSION_TAG: str(day)}
                    )
                ),
            ),
        )
        for day in days
    ]


def test_a_batch_of_2500_events_is_stored_whole_and_in_order(
    tmp_path: Path, calendar: Calendar
) -> None:
    days = calendar.sessions[:2_500]
    run_id = "00000000-0000-0000-0000-00000000000a"
    with open_instance(tmp_path) as instance:
        instance.event_log_storage.store_event_batch(materializations(run_id, days, "AAPL"))
        records = instance.fetch_materializations(PRICES, limit=5_000, ascending=True).records
        assert [record.partition_key for record in records] == [key_text("AAPL", d) for d in days]
        ids = [record.storage_id for record in records]
        assert ids == sorted(set(ids))
        tags = instance.get_event_tags_for_asset(PRICES)
        assert len(tags) == 2_500
        tag = {DATA_VERSION_TAG: str(days[2_400])}
        assert instance.get_event_tags_for_asset(PRICES, filter_event_id=ids[2_400]) == [tag]
        (entry,) = instance.get_asset_records([PRICES])
        assert entry.asset_entry.last_materialization_storage_id == ids[-1]
        assert entry.asset_entry.last_run_id == run_id
        assert instance.get_latest_storage_id_by_partition(
            PRICES, DagsterEventType.ASSET_MATERIALIZATION, {key_text("AAPL", days[7])}
        ) == {key_text("AAPL", days[7]): ids[7]}


def test_a_batch_that_holds_a_log_line_is_stored_too(tmp_path: Path, calendar: Calendar) -> None:
    run_id = "00000000-0000-0000-0000-00000000000b"
    line = EventLogEntry(None, "INFO", "a line", run_id, time.time())
    first, second = materializations(run_id, calendar.sessions[:2], "AAPL")
    with open_instance(tmp_path) as instance:
        instance.event_log_storage.store_event_batch([first, line, second])
        stored = instance.all_logs(run_id)
    assert [bool(event.dagster_event) for event in stored] == [True, False, True]


PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(
    [
        "quant_assets.orchestration.instance.event_storage",
        "quant_assets.orchestration.instance.instance",
        __name__,
    ]
)


def write_history(pipe: Connection, home: Path, symbol: str, days: Sequence[dt.date]) -> None:
    """Open the history when told to, and write some events."""
    pipe.send("ready")
    pipe.recv()
    with open_instance(home) as instance:
        instance.add_dynamic_partitions(SYMBOLS, [symbol])
        batch = materializations("00000000-0000-0000-0000-00000000000c", days, symbol)
        instance.event_log_storage.store_event_batch(batch)
    pipe.send("written")


def test_two_runs_can_bring_the_same_new_tickers_at_once(tmp_path: Path) -> None:
    with open_instance(tmp_path) as instance, open_instance(tmp_path) as other:
        meanwhile = [["B"], ["C", "D"]]

        def between(_: object, __: object, statement: str, *___: object) -> None:
            if statement.startswith("INSERT INTO dynamic_partitions") and meanwhile:
                other.add_dynamic_partitions(SYMBOLS, meanwhile.pop())

        hook = sqlalchemy.Engine, "before_cursor_execute", between
        sqlalchemy.event.listen(*hook)
        try:
            add_tickers(instance, ["A", "B", "C"])
        finally:
            sqlalchemy.event.remove(*hook)
        assert meanwhile == []
        assert sorted(instance.get_dynamic_partitions(SYMBOLS)) == ["A", "B", "C", "D"]


@pytest.mark.parametrize("attempt", range(4))
def test_two_processes_can_begin_one_history_together(
    tmp_path: Path, calendar: Calendar, attempt: int
) -> None:
    days = calendar.sessions[:100]
    processes, pipes = [], []
    for symbol in ("AAPL", "MSFT"):
        here, there = PROCESSES.Pipe()
        process = PROCESSES.Process(
            target=write_history, args=(there, tmp_path, symbol, days), daemon=True
        )
        process.start()
        there.close()
        processes.append(process)
        pipes.append(here)
    assert [pipe.recv() for pipe in pipes] == ["ready", "ready"]
    for pipe in pipes:
        pipe.send("go")
    for process in processes:
        process.join(timeout=60)
    assert [process.exitcode for process in processes] == [0, 0], attempt
    with open_instance(tmp_path) as instance:
        assert set(instance.get_dynamic_partitions(SYMBOLS)) == {"AAPL", "MSFT"}
        told = Counter(key.split("|")[1] for key in instance.get_materialized_partitions(PRICES))
    assert told == {"AAPL": 100, "MSFT": 100}
