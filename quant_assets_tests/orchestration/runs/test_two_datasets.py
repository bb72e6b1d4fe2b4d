"""Two datasets of one vendor in one Dagster backfill: each asks for what it lacks itself."""

from __future__ import annotations

import datetime as dt
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest
from dagster._core.execution.backfill import PartitionBackfill

from quant_assets.contracts.rows import RowAnswer
from quant_assets.contracts.source import Request, Source, SourceProfile
from quant_assets.datasets.daily_prices.due import OnSessions
from quant_assets.datasets.row_dataset import RowDataset
from quant_assets.definitions import build_definitions
from quant_assets.journal.progress import Progress
from quant_assets.loading.dataset import Dataset
from quant_assets.orchestration.instance.instance import open_instance
from quant_assets.orchestration.runs.dataset_asset import PRICES, DatasetAsset
from quant_assets.orchestration.runs.partitions import (
    SYMBOLS,
    key_text,
    range_tags,
    symbol_days,
)
from quant_assets.orchestration.runs.symbol_days import LoadConfig, load_partitions
from quant_assets.reference.calendars import Calendar
from quant_assets.schema.catalog import SCHEMA, SCHEMA_VERSION, Schema
from quant_assets.schema.table import FETCHED, RUN, Column, Table
from quant_assets.settings.settings import load_settings
from quant_assets.sources.simulated.market import SimulatedMarket
from quant_assets.warehouse.warehouse import Warehouse
from quant_assets.wiring.platform import Platform
from quant_assets_tests.conftest import NOW

MON, FRI = dt.date(2024, 5, 28), dt.date(2024, 5, 31)

MARKS = Table(
    "marks",
    "What the vendor thinks of a security on a session.",
    (
        Column("security_id", "INTEGER", "The security."),
        Column("session", "DATE", "The session."),
        Column("source", "VARCHAR", "Who thinks so."),
        Column("mark", "DOUBLE", "The mark.", positive=True),
        FETCHED,
        RUN,
    ),
    key=("security_id", "session", "source"),
)
MARK_ROWS = pa.schema([("symbol", pa.string()), ("session", pa.date32()), ("mark", pa.float64())])
MARKS_ASSET = DatasetAsset(
    dg.AssetKey("marks"), MARKS, upstream=PRICES.upstream, code_version="1", pool="marks"
)


@dataclass
class Marks:
    """The simulated market's vendor, with marks of the same symbols."""

    market: SimulatedMarket
    requests: list[tuple[str, dt.date, dt.date]] = field(default_factory=list)

    @property
    def profile(self) -> SourceProfile:
        return SourceProfile(self.market.profile.name, simulated=True)

    def symbols(self) -> tuple[str, ...]:
        return self.market.symbols()

    def fetch(self, requests: Sequence[Request]) -> Iterator[RowAnswer]:
        for request in requests:
            self.requests.append((request.symbol, request.start, request.end))
            days = self.market.calendar.between(request.first, request.end)
            rows = [{"symbol": request.symbol, "session": day, "mark": 1.0} for day in days]
            yield RowAnswer((request.symbol,), {"marks": pa.Table.from_pylist(rows, MARK_ROWS)})


@dataclass(frozen=True)
class TwoDatasets(Platform):
    """A platform whose vendor gives prices and marks."""

    marks: list[Marks] = field(default_factory=list)

    @property
    def warehouse(self) -> Warehouse:  # type: ignore[override]
        schema = Schema(SCHEMA_VERSION, (*SCHEMA.tables, MARKS))
        return Warehouse(self.settings.warehouse_path, clock=self.clock, schema=schema)

    def feed(
        self, dataset: str, source: str, calendar: Calendar, *, accept: bool = False
    ) -> tuple[Dataset[Any, Any], Source[Any]]:
        if dataset == MARKS.name:
            rule = OnSessions(calendar, MARKS)
            return RowDataset(MARKS.name, ((MARKS, MARK_ROWS),), rule), self.marks[0]
        return super().feed(dataset, source, calendar, accept=accept)


def definitions(platform: TwoDatasets) -> dg.Definitions:
    partitions = symbol_days(platform.calendar, platform.settings.partition_start)

    def marks(
        context: dg.AssetExecutionContext,
        config: LoadConfig,
        platform: dg.ResourceParam[Platform],
        progress: dg.ResourceParam[Progress],
    ) -> Iterator[dg.Output[None]]:
        load_partitions(context, platform, config, partitions, progress, asset=MARKS_ASSET)
        yield from ()

    # Dagster reads the types, and this file keeps them as text.
    marks.__annotations__ = {
        "context": dg.AssetExecutionContext,
        "config": LoadConfig,
        "platform": dg.ResourceParam[Platform],
        "progress": dg.ResourceParam[Progress],
        "return": Iterator[dg.Output[None]],
    }
    asset = dg.asset(
        partitions_def=partitions,
        deps=[MARKS_ASSET.upstream],
        output_required=False,
        pool=MARKS_ASSET.pool,
    )(marks)
    with warnings.catch_warnings():
        # Merging makes the sensors anew, with an argument of Dagster's own that is in beta.
        warnings.simplefilter("ignore", dg.BetaWarning)
        both = dg.Definitions.merge(build_definitions(platform), dg.Definitions(assets=[asset]))
        both.get_repository_def()
    return both


@pytest.fixture
def platform(tmp_path: Path) -> TwoDatasets:
    flags = {
        "home": tmp_path,
        "partition_start": MON,
        "source": "simulated",
        "automation": False,
        "simulated": {"symbols": 3, "start": MON},
    }
    settings = load_settings({}, flags=flags, working_directory=tmp_path)
    made = TwoDatasets(settings, clock=lambda: NOW)
    made.marks.append(Marks(made.simulated_market()))
    return made


# Dagster's own way of making a backfill of several assets.
@pytest.mark.filterwarnings("ignore:Function `AssetSelection.sources` is deprecated")
def test_each_dataset_of_a_vendor_asks_for_what_it_lacks(platform: TwoDatasets) -> None:
    """One backfill over both assets, which arrives as a run a session."""
    symbols = platform.simulated_market().symbols()
    sessions = platform.calendar.between(MON, FRI)
    both = definitions(platform)
    job = both.resolve_implicit_global_asset_job_def()
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    with open_instance(platform.settings.home_path) as instance:
        instance.add_dynamic_partitions(SYMBOLS, list(symbols))
        record = PartitionBackfill.from_asset_partitions(
            backfill_id="both",
            asset_graph=both.resolve_asset_graph(),
            partition_names=[key_text(symbol, day) for symbol in symbols for day in sessions],
            asset_selection=[PRICES.key, MARKS_ASSET.key],
            backfill_timestamp=NOW.timestamp(),
            tags={},
            dynamic_partitions_store=instance,
            all_partitions=False,
            title=None,
            description=None,
            run_config=None,
        )
        instance.add_backfill(record)
        for day in sessions:
            for key in (PRICES.key, MARKS_ASSET.key):
                result = job.execute_in_process(
                    instance=instance,
                    asset_selection=[key],
                    tags={
                        **range_tags(symbols[0], symbols[-1], day, day),
                        "dagster/backfill": "both",
                    },
                    run_config=quiet,
                )
                assert result.success
        wanted = {key_text(symbol, day) for symbol in symbols for day in sessions}
        for key in (PRICES.key, MARKS_ASSET.key):
            assert instance.get_materialized_partitions(key) == wanted
    with platform.warehouse.reading() as con:
        counts = con.execute(
            "select (select count(*) from daily_prices), (select count(*) from marks)"
        ).fetchall()
        noted = con.execute(
            "select dataset, count(*) from source_symbols group by 1 order by 1"
        ).fetchall()
        loads = con.execute(
            "select dataset, sum(inserted)::int from load_runs group by 1 order by 1"
        ).fetchall()
    assert counts == [(12, 12)]
    assert loads == [("daily_prices", 12), ("marks", 12)]
    assert noted == [("marks", 3)]  # a simulated market of prices is not requested over a network
    # Once for the whole backfill, though its runs are a session each.
    assert platform.marks[0].requests == [(symbol, MON, FRI) for symbol in symbols]


def test_both_datasets_in_one_run_keep_their_totals(platform: TwoDatasets) -> None:
    symbols = platform.simulated_market().symbols()
    job = definitions(platform).resolve_implicit_global_asset_job_def()
    with open_instance(platform.settings.home_path) as instance:
        instance.add_dynamic_partitions(SYMBOLS, list(symbols))
        result = job.execute_in_process(
            instance=instance,
            asset_selection=[PRICES.key, MARKS_ASSET.key],
            tags=range_tags(symbols[0], symbols[-1], MON, FRI),
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )
        assert result.success
    with platform.warehouse.reading() as con:
        loads = con.execute(
            "select dataset, symbols, inserted, run_id::varchar from load_runs order by 1"
        ).fetchall()
    assert loads == [
        ("daily_prices", 3, 12, result.run_id),
        ("marks", 3, 12, result.run_id),
    ]
    assert replace(MARKS_ASSET, pool="prices").pool == PRICES.pool
