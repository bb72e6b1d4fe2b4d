"""What Dagster's bookkeeping costs at the scale of an index; part of ``make bench``.

Every figure is of the real thing: the command line, a daemon's tick, ``quant-assets ui`` and a
browser. Stock Dagster is measured beside ours, on fewer keys, since it takes 20 ms for each.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import yaml
from dagster._core.test_utils import create_test_daemon_workspace_context
from dagster._core.workspace.load_target import ModuleTarget
from dagster._daemon.sensor import execute_sensor_iteration

from quant_assets.cli.in_process import materialize_all_prices, materialize_asset
from quant_assets.definitions import build_definitions
from quant_assets.loading.work import Window
from quant_assets.orchestration.instance.instance import instance_config, open_instance
from quant_assets.orchestration.runs.dataset_asset import PRICES
from quant_assets.orchestration.runs.partitions import SYMBOLS, key_text, range_tags
from quant_assets.settings.settings import load_settings
from quant_assets.wiring.platform import Platform
from quant_assets_tests.bench.command import quant_assets
from quant_assets_tests.bench.definitions import RECTANGLE, definitions
from quant_assets_tests.standins.browser import (
    CHROMIUM,
    browsing,
    seconds_until_partitions_show,
    serving,
)
from quant_assets_tests.standins.loads import load_prices

Row = tuple[str, str, str, str]

ROOT = Path(__file__).parents[2]
ARCHIVE = (
    ROOT.parent / "shared/real/prices/alphavantage_sp500_daily_adjusted_20130102_20210421.parquet"
)
SYMBOL_DAYS = 131_000
STOCK_SYMBOL_DAYS = 600


def dagster_rows(folder: Path) -> Iterator[Row]:
    home = folder / "dagster"
    year = Year.made(home / "year", symbols=560)
    yield year.bookkeeping()
    yield year.tick()
    yield year.automation()
    if CHROMIUM:
        yield from year.pages()
    yield from real_archive(home / "real")
    yield clicked(home / "clicked")


def folder_size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


class Year:
    """A simulated index over a year, loaded, and unknown to Dagster until it is told."""

    def __init__(self, home: Path, environment: Mapping[str, str], sessions: int) -> None:
        self.home = home
        self.environment = environment
        self.platform = Platform(load_settings(environment, working_directory=home))
        with open_instance(self.platform.settings.home_path) as instance:
            self.symbols = instance.get_dynamic_partitions(SYMBOLS)
        last = self.platform.calendar.last_closed_session(self.platform.clock())
        known = self.platform.calendar.sessions
        self.sessions = known[known.index(last) - sessions + 1 : known.index(last) + 1]

    @classmethod
    def made(cls, home: Path, symbols: int, sessions: int = 0) -> Year:
        """With ``sessions`` of its own, or as many as make up ``SYMBOL_DAYS``."""
        home.mkdir(parents=True)
        environment = {
            "QUANT_ASSETS_HOME": str(home / "data"),
            "QUANT_ASSETS_SOURCE": "simulated",
            "QUANT_ASSETS_SIMULATED__SYMBOLS": str(symbols),
        }
        platform = Platform(load_settings(environment, working_directory=home))
        run = materialize_asset(platform, "sp500_universe")
        assert run.success, run.failure
        with open_instance(platform.settings.home_path) as instance:
            found = len(instance.get_dynamic_partitions(SYMBOLS))
        year = cls(home, environment, sessions or -(-SYMBOL_DAYS // found))
        environment["QUANT_ASSETS_PARTITION_START"] = str(year.sessions[0])
        return cls(home, environment, len(year.sessions))

    @property
    def keys(self) -> int:
        return len(self.symbols) * len(self.sessions)

    def bookkeeping(self) -> Row:
        """One run over all keys, the data being there: planned events and told ones."""
        source = self.platform.price_source()
        window = Window(tuple(self.symbols), self.sessions[0], self.sessions[-1])
        names = self.platform.identities(source)
        load_prices(
            self.platform.warehouse, source, window, self.platform.calendar, identities=names
        )
        history = self.platform.settings.home_path / "dagster"
        before, began = folder_size(history), time.perf_counter()
        run = materialize_all_prices(self.platform, self.sessions[0], self.sessions[-1])
        seconds = time.perf_counter() - began
        assert run.success, run.failure
        size = folder_size(history) - before
        stock_ms, stock_bytes = self._stock()
        return (
            f"bookkeeping of {self.keys:,} symbol-days in one run, all of the run included",
            f"{seconds / self.keys * 1e3:.2f} ms, {size / self.keys / 1e3:.2f} KB each",
            "≤ 0.3 ms, ≤ 1.8 KB",
            f"stock storage, {STOCK_SYMBOL_DAYS} symbol-days: {stock_ms:.0f} ms, "
            f"{stock_bytes / 1e3:.1f} KB each",
        )

    def _stock(self) -> tuple[float, float]:
        """Milliseconds and bytes a symbol-day of Dagster's own SQLite storage."""
        folder = self.home / "stock"
        folder.mkdir()
        config = instance_config(str(folder)) | {"storage": {"sqlite": {"base_dir": str(folder)}}}
        (folder / "dagster.yaml").write_text(yaml.safe_dump(config), "utf-8")
        per_symbol = len(self.sessions)
        symbols = self.symbols[: -(-STOCK_SYMBOL_DAYS // per_symbol)]
        keys = len(symbols) * per_symbol
        with dg.DagsterInstance.from_config(str(folder)) as instance:
            instance.add_dynamic_partitions(SYMBOLS, list(symbols))
            before = folder_size(folder)
            job = build_definitions(self.platform).resolve_implicit_global_asset_job_def()
            began = time.perf_counter()
            result = job.execute_in_process(
                instance=instance,
                asset_selection=[PRICES.key],
                tags=range_tags(symbols[0], symbols[-1], self.sessions[0], self.sessions[-1]),
                run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            )
            assert result.success
            seconds = time.perf_counter() - began
        return seconds / keys * 1e3, (folder_size(folder) - before) / keys

    def tick(self) -> Row:
        """A tick of the daemon that launches a rectangle in one run."""
        module = ModuleTarget("quant_assets_tests.bench.definitions", None, None, "bench")
        with (
            _environment(self.environment),
            open_instance(self.platform.settings.home_path) as instance,
            create_test_daemon_workspace_context(module, instance) as workspace,
        ):
            workspace.create_request_context()  # loads the definitions, as a daemon has them
            began = time.perf_counter()
            list(execute_sensor_iteration(workspace, logging.getLogger("tick"), None, None))
            seconds = time.perf_counter() - began
            runs = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.QUEUED]))
            assert len(runs) == 1, runs
            instance.report_run_canceled(runs[0])
        return (
            f"a tick that launches {RECTANGLE[0]} × {RECTANGLE[1]} symbol-days in one run",
            f"{seconds:.1f} s",
            "≤ 5 s",
            "",
        )

    def automation(self) -> Row:
        """What an automation sensor computes of the assets below, each tick."""
        with (
            _environment(self.environment),
            open_instance(self.platform.settings.home_path) as instance,
        ):
            below = definitions()
            selection = dg.AssetSelection.assets("by_symbol", "of_all")
            first = dg.evaluate_automation_conditions(below, instance, selection)
            began = time.perf_counter()
            dg.evaluate_automation_conditions(below, instance, selection, cursor=first.cursor)
            seconds = time.perf_counter() - began
        return (
            f"a tick over two assets downstream of {self.keys:,} keys, by symbol and unpartitioned",
            f"{seconds:.1f} s",
            "≤ 5 s",
            "",
        )

    def pages(self) -> Iterator[Row]:
        """Pages in a browser, from the address to the counts."""
        counted = re.compile(rf"Materialized \({self.keys}\)")
        served = serving(self.home, self.environment, module="quant_assets_tests.bench.definitions")
        with served as server, browsing(server) as page:
            for which in ("first opening after a start", "again"):
                seconds = seconds_until_partitions_show(page, counted, timeout_seconds=120)
                yield (
                    f"Partitions page of {self.keys:,} symbol-days, {which}",
                    f"{seconds:.1f} s",
                    "≤ 6 s",
                    "",
                )
            for asset, what, text in (
                ("by_symbol?view=partitions", "with partitions by symbol", "Missing ("),
                ("of_all", "without partitions", "Never materialized"),
            ):
                began = time.perf_counter()
                page.goto(f"/assets/{asset}")
                page.get_by_text(text).first.wait_for(timeout=120_000)
                seconds = time.perf_counter() - began
                name = f"page of an asset {what} downstream of them"
                yield name, f"{seconds:.1f} s", "≤ 5 s", ""


def real_archive(home: Path) -> Iterator[Row]:
    """Eight years of the index through Dagster: 504 symbols, 1,053,360 keys."""
    if not ARCHIVE.exists():
        return
    words = (
        *("--config", str(ROOT / "examples/real.toml")),
        *("backfill", "--dagster", "--source", "files:alphavantage"),
        *("--start", "2013-01-02", "--end", "2021-04-21"),
    )
    ran = quant_assets(words, home)
    with open_instance(home) as instance:
        told = len(instance.get_materialized_partitions(PRICES.key))
    assert told == 504 * 2090, told
    history = folder_size(home / "dagster") / 1e9
    yield (
        f"quant-assets backfill --dagster, the whole as-traded archive: {told:,} symbol-days",
        f"{ran.seconds / 60:.1f} min, {ran.gigabytes:.2f} GB, history {history:.2f} GB",
        "≤ 8 min, ≤ 2 GB, ≤ 2 GB",
        "",
    )


def clicked(home: Path) -> Row:
    """A rectangle as the dialog of the Partitions page launches it: a run for each session."""
    symbols, sessions = RECTANGLE
    year = Year.made(home, symbols=570, sessions=sessions)
    tickers = year.symbols[:symbols]
    keys = [key_text(ticker, day) for day in year.sessions for ticker in tickers]
    with serving(year.home, year.environment) as server:
        began = time.perf_counter()
        backfill = server.launch_backfill("daily_prices", keys)
        while server.backfills()[backfill] == "REQUESTED":
            time.sleep(2)
        seconds = time.perf_counter() - began
        status = server.backfills()[backfill]
    with year.platform.warehouse.reading() as con:
        [(asked,)] = con.execute("select count(*) from load_run_symbols").fetchall()
    with open_instance(year.platform.settings.home_path) as instance:
        grey = len(set(keys) - instance.get_materialized_partitions(PRICES.key))
    assert (status, grey) == ("COMPLETED_SUCCESS", 0), (status, grey)
    return (
        f"a UI backfill of {len(tickers)} × {sessions} symbol-days, {asked} requests to the source",
        f"{seconds / 60:.1f} min",
        "≤ 15 min, ≤ 503 requests",
        "",
    )


@contextmanager
def _environment(settings: Mapping[str, str]) -> Iterator[None]:
    """Settings for code that is loaded the way Dagster loads it, from the environment."""
    before = dict(os.environ)
    os.environ.update(settings)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
