"""What is reported to Dagster of symbol-days, and what it shows then, over every storage.

KeyStates are literals here: no warehouse, no source. Colours are read from Dagster itself.
"""

import datetime as dt
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._core.events import DagsterEventType
from dagster._core.events.log import EventLogEntry

from quant_assets.datasets.daily_prices.key_states import KeyStates
from quant_assets.orchestration.instance.event_storage import (
    BatchedEventLogStorage,
    BatchedSqliteStorage,
)
from quant_assets.orchestration.instance.instance import instance_config, open_instance
from quant_assets.orchestration.runs.dataset_asset import PRICES as PRICES_ASSET
from quant_assets.orchestration.runs.partitions import SYMBOLS, key_text, range_tags, symbol_days
from quant_assets.orchestration.runs.reporting import (
    ROWS_AT_ONCE,
    Reporter,
    RunStep,
    green_keys,
    latest_events,
    unfulfilled,
)
from quant_assets.reference.calendars import exchange_calendar

PRICES, UNIVERSE = dg.AssetKey("daily_prices"), dg.AssetKey("sp500_universe")
TUE, WED, THU, FRI = (dt.date(2024, 5, day) for day in (28, 29, 30, 31))
PARTITIONS = symbol_days(exchange_calendar("XNYS"), TUE)
AAPL, MSFT, BRK = "AAPL", "MSFT", "BRK.B"
GONE = 'it was "delisted" on 2024-05-29 — 😀'

Make = Callable[[Path], dg.DagsterInstance]


def stock_sqlite(home: Path) -> dg.DagsterInstance:
    """Dagster's own storage, in the words of dagster.yaml."""
    config = {
        **instance_config(str(home)),
        "storage": {"sqlite": {"base_dir": str(home / "dagster")}},
    }
    home.mkdir(exist_ok=True)
    (home / "dagster.yaml").write_text(yaml.safe_dump(config), "utf-8")
    return dg.DagsterInstance.from_config(str(home))


STORAGES: tuple[Make, ...] = (open_instance, stock_sqlite)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder of each kind in which nothing has happened yet; making one takes a second."""
    path = tmp_path_factory.mktemp("prepared")
    for make in STORAGES:
        with make(path / make.__name__) as instance:
            instance.add_dynamic_partitions(SYMBOLS, [AAPL, BRK, MSFT])
    return path


def in_copy(prepared: Path, tmp_path: Path, make: Make) -> dg.DagsterInstance:
    return make(Path(shutil.copytree(prepared / make.__name__, tmp_path / "home")))


@pytest.fixture(params=STORAGES)
def instance(
    request: pytest.FixtureRequest, prepared: Path, tmp_path: Path
) -> Iterator[dg.DagsterInstance]:
    """An instance over the platform's storage, and one over Dagster's own."""
    with in_copy(prepared, tmp_path, request.param) as instance:
        yield instance


@pytest.fixture
def batched(prepared: Path, tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with in_copy(prepared, tmp_path, open_instance) as instance:
        yield instance


@pytest.fixture
def stock(prepared: Path, tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with in_copy(prepared, tmp_path, stock_sqlite) as instance:
        yield instance


@dg.asset(
    name="daily_prices",
    partitions_def=PARTITIONS,
    deps=[UNIVERSE],
    output_required=False,
)
def prices() -> None: ...


def begin(instance: dg.DagsterInstance, *, start: dt.date = TUE, end: dt.date = FRI) -> RunStep:
    """A run of every symbol from ``start`` to ``end``, planned as Dagster plans it."""
    job = dg.Definitions(assets=[prices]).resolve_implicit_global_asset_job_def()
    tickers = instance.get_dynamic_partitions(SYMBOLS)
    run = instance.create_run_for_job(job, tags=range_tags(tickers[0], tickers[-1], start, end))
    return RunStep(run.run_id, run.job_name, "daily_prices", PRICES_ASSET, "ours")


def report(
    instance: dg.DagsterInstance, *several: KeyStates, step: RunStep | None = None
) -> Reporter:
    """Tell of states in a run over everything, which fails where any of them did."""
    step = step or begin(instance)
    reporter = Reporter(instance, step)
    for states in several:
        reporter.report(states)
    run = instance.get_run_by_id(step.run_id)
    assert run is not None
    if reporter.failed:
        instance.report_run_failed(run)
    else:
        ended = dg.DagsterEvent(DagsterEventType.RUN_SUCCESS.value, run.job_name)
        instance.report_dagster_event(ended, run.run_id)
    return reporter


def colours(instance: dg.DagsterInstance) -> dict[str, set[str]]:
    """Green and red keys, as the partitions page shows them."""
    keys = [key_text(symbol, day) for symbol in (AAPL, BRK, MSFT) for day in (TUE, WED, THU, FRI)]
    status = instance.get_status_by_partition(PRICES, keys, PARTITIONS) or {}
    named: dict[str, set[str]] = {"MATERIALIZED": set(), "FAILED": set()}
    for key, is_ in status.items():
        if is_ is not None:
            named.setdefault(is_.name, set()).add(key)
    return {"green": named["MATERIALIZED"], "red": named["FAILED"]}


def reported(instance: dg.DagsterInstance, run_id: str = "") -> list[EventLogEntry]:
    """Events that name a partition, in their order, of one run or of all."""
    storage = instance.event_log_storage
    records = [
        record
        for kind in (
            DagsterEventType.ASSET_MATERIALIZATION,
            DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
        )
        for record in storage.get_event_records(dg.EventRecordsFilter(kind, PRICES))
        if record.partition_key and (not run_id or record.run_id == run_id)
    ]
    return [r.event_log_entry for r in sorted(records, key=lambda record: record.storage_id)]


def keys_reported(instance: dg.DagsterInstance, run_id: str = "") -> list[tuple[str, str | None]]:
    return [
        (event.get_dagster_event().event_type_value, event.get_dagster_event().partition)
        for event in reported(instance, run_id)
    ]


def materialization(instance: dg.DagsterInstance, key: str) -> dg.AssetMaterialization:
    """The latest of a key."""
    found = [
        event.asset_materialization
        for event in reported(instance)
        if event.asset_materialization and event.asset_materialization.partition == key
    ]
    return found[-1]


MADE, PLANNED = "ASSET_MATERIALIZATION", "ASSET_MATERIALIZATION_PLANNED"


# --- colours, over every storage -----------------------------------------------------------------


def test_good_and_empty_keys_are_green_and_failed_ones_red(instance: dg.DagsterInstance) -> None:
    states = KeyStates(
        good=[(AAPL, TUE), (AAPL, WED)],
        empty={(MSFT, TUE): GONE},
        failed={(BRK, TUE): "no row", (BRK, WED): "no row"},
        open=[(AAPL, FRI)],
        changed=frozenset({(AAPL, TUE), (AAPL, WED)}),
    )
    step = begin(instance, end=WED)
    reporter = report(instance, states, KeyStates(good=[(MSFT, WED)]), step=step)
    assert colours(instance) == {
        "green": {"2024-05-28|AAPL", "2024-05-29|AAPL", "2024-05-28|MSFT", "2024-05-29|MSFT"},
        "red": {"2024-05-28|BRK.B", "2024-05-29|BRK.B"},
    }
    counts = reporter.good, reporter.empty, reporter.failed, reporter.open, reporter.written
    assert counts == (3, 1, 2, 1, 8)
    assert reporter.first_failures == {(BRK, TUE): "no row", (BRK, WED): "no row"}


def test_green_keys_that_a_failing_run_has_no_news_of_stay_green(
    instance: dg.DagsterInstance,
) -> None:
    both = KeyStates(good=[(AAPL, TUE), (BRK, TUE)], empty={(MSFT, TUE): GONE})
    report(instance, both, step=begin(instance, end=TUE))
    green = {"2024-05-28|AAPL", "2024-05-28|BRK.B", "2024-05-28|MSFT"}
    assert colours(instance) == {"green": green, "red": set()}
    # The failure comes in another portion than the symbols there is nothing new of.
    again = [
        KeyStates(good=[(AAPL, TUE)]),
        KeyStates(failed={(BRK, TUE): "lost"}),
        KeyStates(empty={(MSFT, TUE): GONE}),
    ]
    report(instance, *again, step=begin(instance, end=TUE))
    assert colours(instance) == {
        "green": {"2024-05-28|AAPL", "2024-05-28|MSFT"},
        "red": {"2024-05-28|BRK.B"},
    }


def test_a_red_key_turns_green_once_it_is_reported_good(instance: dg.DagsterInstance) -> None:
    report(instance, KeyStates(failed={(AAPL, TUE): "no row", (MSFT, TUE): "no row"}))
    assert colours(instance)["red"] >= {"2024-05-28|AAPL", "2024-05-28|MSFT"}
    # Stored by another load in between: nothing of it was changed by this run.
    report(instance, KeyStates(good=[(AAPL, TUE)], empty={(MSFT, TUE): GONE}))
    assert colours(instance)["green"] >= {"2024-05-28|AAPL", "2024-05-28|MSFT"}


def test_the_latest_events_of_keys_are_distinguished(instance: dg.DagsterInstance) -> None:
    keys = ["2024-05-28|AAPL", "2024-05-28|BRK.B", "2024-05-28|MSFT"]
    step = begin(instance, start=FRI)
    report(instance, KeyStates(good=[(AAPL, TUE), (BRK, TUE)]), step=step)
    report(instance, KeyStates(failed={(BRK, TUE): "lost"}), step=begin(instance, start=FRI))
    done, planned = latest_events(instance, PRICES, keys)
    assert (set(done), set(planned)) == ({keys[0], keys[1]}, {keys[1]})
    assert planned[keys[1]] > done[keys[1]]
    assert green_keys(instance, PRICES, keys) == {keys[0]}
    assert unfulfilled(instance, PRICES) >= {keys[1]}
    assert keys[0] not in unfulfilled(instance, PRICES)


# --- nothing twice, and nothing left out ---------------------------------------------------------


def test_what_is_known_is_not_reported_again_and_what_changed_is(
    batched: dg.DagsterInstance,
) -> None:
    good, empty = [(AAPL, TUE), (AAPL, WED)], {(MSFT, TUE): GONE, (MSFT, WED): GONE}
    assert report(batched, KeyStates(good=good, empty=empty)).written == 4
    assert report(batched, KeyStates(good=good, empty=empty)).written == 0
    step = begin(batched)
    changed = frozenset({(AAPL, WED), (MSFT, TUE)})
    reporter = report(batched, KeyStates(good=good, empty=empty, changed=changed), step=step)
    assert keys_reported(batched, step.run_id) == [
        (MADE, "2024-05-29|AAPL"),
        (MADE, "2024-05-28|MSFT"),
    ]
    assert (reporter.good, reporter.empty, reporter.written) == (2, 2, 2)


def test_a_failing_run_tells_a_storage_that_plans_ranges_of_nothing_old(
    batched: dg.DagsterInstance,
) -> None:
    report(batched, KeyStates(good=[(AAPL, TUE)]))
    step = begin(batched)
    report(batched, KeyStates(good=[(AAPL, TUE)], failed={(MSFT, TUE): "no row"}), step=step)
    assert keys_reported(batched, step.run_id) == [(PLANNED, "2024-05-28|MSFT")]


def test_a_failing_run_tells_stock_storage_of_every_key_it_planned(
    stock: dg.DagsterInstance,
) -> None:
    report(
        stock, KeyStates(good=[(AAPL, TUE), (BRK, TUE), (MSFT, TUE)]), step=begin(stock, end=TUE)
    )
    step = begin(stock, end=TUE)
    failing = KeyStates(good=[(AAPL, TUE), (BRK, TUE)], failed={(MSFT, TUE): "lost"})
    assert report(stock, failing, step=step).written == 4
    assert Counter(kind for kind, _ in keys_reported(stock, step.run_id)) == {
        # Three planned as the run was made, and the one that failed.
        PLANNED: 4,
        MADE: 2,
    }


def test_a_temporary_instance_shows_the_same_colours(tmp_path: Path) -> None:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        instance.add_dynamic_partitions(SYMBOLS, [AAPL, MSFT])
        states = KeyStates(good=[(AAPL, TUE)], failed={(MSFT, TUE): "no row"})
        report(instance, states, step=begin(instance, end=TUE))
        assert colours(instance) == {"green": {"2024-05-28|AAPL"}, "red": {"2024-05-28|MSFT"}}


def test_a_run_of_a_backfill_tells_of_every_key(batched: dg.DagsterInstance) -> None:
    states = KeyStates(good=[(AAPL, TUE)], empty={(MSFT, TUE): GONE})
    report(batched, states)
    step = begin(batched)
    again = RunStep(**{**vars(step), "reports_all": True})
    assert report(batched, states, step=again).written == 2
    assert keys_reported(batched, step.run_id) == [
        (MADE, "2024-05-28|AAPL"),
        (MADE, "2024-05-28|MSFT"),
    ]


def test_a_step_knows_whether_it_is_of_a_backfill(batched: dg.DagsterInstance) -> None:
    seen: dict[str, RunStep] = {}

    @dg.op
    def an_op(context: dg.OpExecutionContext) -> None:
        seen["op"] = RunStep.of(context, PRICES_ASSET)

    @dg.job(name="a_job")
    def a_job() -> None:
        an_op()

    @dg.asset(name="daily_prices")
    def an_asset(context: dg.AssetExecutionContext) -> None:
        seen["asset"] = replace(RunStep.of(context, PRICES_ASSET), source="ours")

    in_op = a_job.execute_in_process(instance=batched)
    job = dg.Definitions(assets=[an_asset]).resolve_implicit_global_asset_job_def()
    tags = {"dagster/backfill": "aaaaaaaa"}
    in_asset = job.execute_in_process(instance=batched, tags=tags)
    assert seen == {
        "op": RunStep(in_op.run_id, "a_job", "an_op", PRICES_ASSET),
        "asset": RunStep(
            in_asset.run_id, job.name, "daily_prices", PRICES_ASSET, "ours", reports_all=True
        ),
    }


# --- what an event holds --------------------------------------------------------------------------


def universe(instance: dg.DagsterInstance, version: str) -> None:
    """The upstream asset, materialized."""

    @dg.asset(name="sp500_universe")
    def sp500_universe() -> dg.MaterializeResult[None]:
        return dg.MaterializeResult(data_version=dg.DataVersion(version))

    assert dg.materialize([sp500_universe], instance=instance).success


def test_an_event_carries_what_dagster_compares_to_call_a_key_fresh(
    instance: dg.DagsterInstance,
) -> None:
    universe(instance, "universe-1")
    latest = instance.get_latest_materialization_event(UNIVERSE)
    assert latest is not None
    record = instance.get_latest_data_version_record(UNIVERSE)
    assert record is not None
    report(instance, KeyStates(good=[(AAPL, TUE)], empty={(BRK, TUE): GONE}))
    expected = {
        "dagster/data_version": "prices-1",
        "dagster/code_version": "prices-1",
        "dagster/input_data_version/sp500_universe": "universe-1",
        "dagster/input_event_pointer/sp500_universe": str(record.storage_id),
    }
    for key in ("2024-05-28|AAPL", "2024-05-28|BRK.B"):
        assert materialization(instance, key).tags == expected
    filtered = instance.get_event_tags_for_asset(PRICES, {"dagster/data_version": "prices-1"})
    assert len(filtered) == 2


def test_without_a_universe_an_event_says_nothing_of_its_input(
    batched: dg.DagsterInstance,
) -> None:
    report(batched, KeyStates(good=[(AAPL, TUE)]))
    assert materialization(batched, "2024-05-28|AAPL").tags == {
        "dagster/data_version": "prices-1",
        "dagster/code_version": "prices-1",
    }


def test_an_event_says_what_became_of_its_symbol_day(instance: dg.DagsterInstance) -> None:
    reasons = {(BRK, TUE): GONE, (BRK, WED): "halted", (MSFT, TUE): GONE}
    step = begin(instance, start=FRI)
    report(instance, KeyStates(good=[(AAPL, TUE)], empty=reasons), step=step)
    shown = {
        event.asset_materialization.partition: {
            name: value.value for name, value in event.asset_materialization.metadata.items()
        }
        for event in reported(instance)
        if event.asset_materialization
    }
    source = {"source": "ours"}
    assert shown == {
        "2024-05-28|AAPL": {"outcome": "present", "rows": 1, **source},
        "2024-05-28|BRK.B": {"outcome": "empty", "rows": 0, "reason": GONE, **source},
        "2024-05-29|BRK.B": {"outcome": "empty", "rows": 0, "reason": "halted", **source},
        "2024-05-28|MSFT": {"outcome": "empty", "rows": 0, "reason": GONE, **source},
    }
    assert {(e.run_id, e.step_key, e.job_name) for e in reported(instance, step.run_id)} >= {
        (step.run_id, "daily_prices", step.job_name)
    }


class Calls(BatchedEventLogStorage):
    """Remembers how many events were written in each call."""

    def __init__(self, base_dir: str) -> None:
        super().__init__(base_dir)
        self.sizes: list[int] = []

    def store_partition_events(
        self, event: EventLogEntry, partitions: Sequence[str], texts: Sequence[str] = ()
    ) -> None:
        self.sizes.append(len(partitions))
        super().store_partition_events(event, partitions, texts)


class CallsStorage(BatchedSqliteStorage):
    def __init__(self, base_dir: str, inst_data: Any = None) -> None:
        super().__init__(base_dir, inst_data)
        self._event_log_storage = Calls(str(Path(base_dir) / "history" / "events"))  # type: ignore[assignment]


def test_empty_keys_of_one_reason_are_written_together(prepared: Path, tmp_path: Path) -> None:
    home = Path(shutil.copytree(prepared / open_instance.__name__, tmp_path / "home"))
    where = {"module": __name__, "class": CallsStorage.__name__}
    custom = {"custom": {**where, "config": {"base_dir": str(home / "dagster")}}}
    config = {**instance_config(str(home)), "storage": custom}
    (home / "dagster.yaml").write_text(yaml.safe_dump(config), "utf-8")
    days = exchange_calendar("XNYS").sessions
    step = RunStep("a-run", "a-job", "a-step", PRICES_ASSET)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        calls = instance.event_log_storage
        assert isinstance(calls, Calls)
        reporter = Reporter(instance, step)
        empty = {(AAPL, day): GONE if at % 2 else "halted" for at, day in enumerate(days[:3])}
        reporter.report(KeyStates(empty=empty))
        assert calls.sizes == [2, 1]
        reporter.report(KeyStates(good=[(MSFT, day) for day in days[: ROWS_AT_ONCE + 1]]))
        assert calls.sizes[2:] == [ROWS_AT_ONCE, 1]


def test_an_event_without_a_source_names_none(batched: dg.DagsterInstance) -> None:
    step = begin(batched)
    report(batched, KeyStates(good=[(AAPL, TUE)]), step=RunStep(**{**vars(step), "source": ""}))
    assert set(materialization(batched, "2024-05-28|AAPL").metadata) == {"outcome", "rows"}


def test_ten_failures_are_kept_to_be_shown(batched: dg.DagsterInstance) -> None:
    days = exchange_calendar("XNYS").between(TUE, dt.date(2024, 6, 28))[:12]
    step = begin(batched)
    reporter = Reporter(batched, step)
    reporter.report(KeyStates(failed={(AAPL, day): "no row" for day in days[:7]}))
    reporter.report(KeyStates(failed={(MSFT, day): "no row" for day in days[:5]}))
    assert reporter.failed == 12
    assert list(reporter.first_failures) == [
        *((AAPL, day) for day in days[:7]),
        *((MSFT, day) for day in days[:3]),
    ]


def test_each_failed_key_has_its_own_reason(instance: dg.DagsterInstance) -> None:
    failed = {(AAPL, TUE): GONE, (MSFT, TUE): 'low "9" is above high', (BRK, WED): "no row"}
    report(instance, KeyStates(failed=failed))
    events = [
        record.event_log_entry.asset_observation
        for record in instance.fetch_observations(PRICES, limit=9).records
    ]
    reasons = {e.partition: e.metadata["reason"].value for e in events if e}
    assert reasons == {key_text(*day): reason for day, reason in failed.items()}
    assert {e.metadata["outcome"].value for e in events if e} == {"failed"}
