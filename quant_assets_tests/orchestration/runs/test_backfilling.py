"""Runs over symbol-days: what is requested of the source, and what Dagster shows for it.

A backfill is recorded with Dagster's own record of one; its runs happen here one after the other,
as the UI would launch them: a run a session.
"""

from __future__ import annotations

import datetime as dt
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest
from dagster._core.definitions.partitions.context import partition_loading_context
from dagster._core.execution.backfill import PartitionBackfill
from dagster._core.storage.partition_status_cache import AssetPartitionStatus

from quant_assets.contracts.prices import PRICE_COLUMNS, PriceAnswer, PriceProfile, PriceSource
from quant_assets.contracts.source import BadAnswer, Request, SourceUnavailable
from quant_assets.definitions import build_definitions
from quant_assets.journal.progress import unwatched
from quant_assets.loading.work import Window
from quant_assets.orchestration.instance.instance import open_instance
from quant_assets.orchestration.runs.dataset_asset import PRICES
from quant_assets.orchestration.runs.partitions import SYMBOLS, key_text, range_tags, symbol_days
from quant_assets.orchestration.runs.requested import (
    SPANS_AT_MOST,
    SYMBOL_DAYS_AT_ONCE,
    portions,
    windows,
)
from quant_assets.orchestration.runs.symbol_days import MANY_EVENTS, refresh_and_report
from quant_assets.reference.calendars import exchange_calendar
from quant_assets.refreshing.load_steps import How
from quant_assets.refreshing.steps import Step
from quant_assets.settings.settings import Settings, load_settings
from quant_assets.wiring.platform import Platform

# Dagster's own record of a backfill uses what Dagster has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:Function `AssetSelection.sources`")

XNYS = exchange_calendar("XNYS")
MON, TUE, WED, THU, FRI = WEEK = XNYS.between(dt.date(2024, 5, 20), dt.date(2024, 5, 24))
NOW = dt.datetime(2024, 5, 24, 12, 0, tzinfo=dt.UTC)
"""A Friday before the open: Thursday is the last closed session."""
SYMBOL_LIST = ("AAPL", "AMZN", "INTC", "KO", "MSFT", "NVDA", "ORCL", "PEP", "XOM")
AAPL, AMZN, INTC = SYMBOL_LIST[:3]
BACKFILL = "aaaaaaaa"

RequestLog = list[tuple[str, dt.date, dt.date]]


@dataclass
class Source:
    """Every symbol has a row on every session; remembers its requests, a symbol at a time."""

    failing: dict[str, str] = field(default_factory=dict)
    before: Callable[[str], None] = lambda symbol: None
    """Called with each symbol before it is answered."""
    requested: RequestLog = field(default_factory=list)

    @property
    def profile(self) -> PriceProfile:
        return PriceProfile(
            "fake", price_basis="as_traded", has_splits=True, has_distributions=True
        )

    def symbols(self) -> tuple[str, ...]:
        return ()

    def fetch(self, requests: Sequence[Request]) -> Iterator[PriceAnswer]:
        for request in requests:
            symbol = request.symbol
            self.requested.append((symbol, request.start, request.end))
            self.before(symbol)
            if symbol in self.failing:
                failure = {symbol: BadAnswer("fake", self.failing[symbol])}
                yield PriceAnswer((symbol,), PRICE_COLUMNS.empty_table(), failures=failure)
                continue
            days = pa.array(XNYS.between(request.start, request.end), pa.date32())
            fixed = dict.fromkeys(("open", "high", "low", "close", "volume"), 10.0)
            fixed_columns = {name: pa.array([value] * len(days)) for name, value in fixed.items()}
            columns = {
                "symbol": pa.array([symbol] * len(days)),
                "session": days,
                **fixed_columns,
                "basis_on": days,
                "currency": pa.array(["USD"] * len(days)),
            }
            yield PriceAnswer((symbol,), pa.table(columns, schema=PRICE_COLUMNS))


@dataclass
class Unreadable(Source):
    """A source that can't even say what it is, as an archive whose file is not there."""

    @property
    def profile(self) -> PriceProfile:
        raise SourceUnavailable("fake", "the file is gone")


@dataclass(frozen=True)
class Fed(Platform):
    """A platform with one source, given."""

    source: PriceSource = field(default_factory=Source)

    def price_source(self, name: str = "", calendar: object = None) -> PriceSource:
        return self.source


@dataclass
class Folder:
    """A data folder, its instance, and a source in which a test changes what it likes."""

    path: Path
    instance: dg.DagsterInstance
    source: Source = field(default_factory=Source)
    start: dt.date = MON

    @cached_property
    def settings(self) -> Settings:
        flags = {"home": self.path, "partition_start": self.start}
        return load_settings({}, flags=flags, working_directory=self.path)

    @cached_property
    def definitions(self) -> dg.Definitions:
        return build_definitions(Fed(self.settings, clock=lambda: NOW, source=self.source))

    @cached_property
    def job(self) -> dg.JobDefinition:
        return self.definitions.resolve_implicit_global_asset_job_def()

    def backfill(self, keys: Mapping[str, Sequence[dt.date]], name: str = BACKFILL) -> None:
        """Record a backfill as the UI does, of the days of each symbol."""
        record = PartitionBackfill.from_asset_partitions(
            backfill_id=name,
            asset_graph=self.definitions.resolve_asset_graph(),
            partition_names=[
                key_text(symbol, day) for symbol, days in keys.items() for day in days
            ],
            asset_selection=[PRICES.key],
            backfill_timestamp=time.time(),
            tags={},
            dynamic_partitions_store=self.instance,
            all_partitions=False,
            title=None,
            description=None,
            run_config=None,
        )
        self.instance.add_backfill(record)

    def run(
        self, first: str, last: str, day: dt.date, end: dt.date | None = None, **tags: str
    ) -> str:
        """One run of the symbols from ``first`` to ``last``; why it failed, if it did."""
        result = self.job.execute_in_process(
            instance=self.instance,
            asset_selection=[PRICES.key],
            tags={
                **range_tags(first, last, day, end or day),
                **{f"dagster/{name}": value for name, value in tags.items()},
            },
            raise_on_error=False,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )
        failures = [e.step_failure_data for e in result.all_events if e.is_step_failure]
        assert result.success is not bool(failures)
        return "\n".join(
            (f.user_failure_data.description or "") if f.user_failure_data else str(f.error)
            for f in failures
        )

    def rectangle(self, *days: dt.date) -> None:
        """A run a session, of the first three symbols."""
        for day in days:
            assert self.run(AAPL, INTC, day, backfill=BACKFILL) == ""

    def colours(self) -> dict[str, set[str]]:
        partitions = symbol_days(XNYS, self.start)
        keys = [key_text(symbol, day) for symbol in SYMBOL_LIST for day in WEEK]
        with partition_loading_context(dynamic_partitions_store=self.instance):
            status = self.instance.get_status_by_partition(PRICES.key, keys, partitions) or {}
        named = {"green": AssetPartitionStatus.MATERIALIZED, "red": AssetPartitionStatus.FAILED}
        return {name: {k for k, is_ in status.items() if is_ is it} for name, it in named.items()}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder that knows the symbols; making one takes a second."""
    path = tmp_path_factory.mktemp("prepared")
    with open_instance(path) as instance:
        instance.add_dynamic_partitions(SYMBOLS, list(SYMBOL_LIST))
    return path


@pytest.fixture
def folder(prepared: Path, tmp_path: Path) -> Iterator[Folder]:
    path = Path(shutil.copytree(prepared, tmp_path / "data"))
    with open_instance(path) as instance:
        yield Folder(path, instance)


def keys(*symbols: str, days: Sequence[dt.date]) -> set[str]:
    return {key_text(symbol, day) for symbol in symbols for day in days}


# --- the runs of a backfill ask once between them ------------------------------------------------


def test_twenty_symbols_over_thirty_sessions_are_requested_twenty_times(folder: Folder) -> None:
    many = [f"S{number:02}" for number in range(20)]
    days = XNYS.between(dt.date(2024, 4, 1), THU)[-30:]
    folder.instance.add_dynamic_partitions(SYMBOLS, many)
    folder.start = days[0]
    folder.backfill(dict.fromkeys(many, days))
    run = days[::4]  # one run is like the other, and these will do
    for day in run:
        assert folder.run(many[0], many[-1], day, backfill=BACKFILL) == ""
    assert sorted(folder.source.requested) == [(symbol, days[0], THU) for symbol in many]
    assert folder.instance.get_materialized_partitions(PRICES.key) == keys(*many, days=run)


def test_a_rectangle_in_a_run_a_session_asks_for_each_symbol_once(folder: Folder) -> None:
    folder.backfill({symbol: [MON, TUE, WED] for symbol in (AAPL, AMZN, INTC)})
    folder.rectangle(WED, MON, TUE)
    assert folder.source.requested == [(symbol, MON, WED) for symbol in (AAPL, AMZN, INTC)]
    three = keys(AAPL, AMZN, INTC, days=[MON, TUE, WED])
    assert folder.colours() == {"green": three, "red": set()}


def test_stripes_ask_for_the_days_of_each_symbol_once(folder: Folder) -> None:
    folder.backfill({AAPL: [MON, TUE], AMZN: [TUE, WED, THU]})
    assert folder.run(AAPL, AMZN, TUE, backfill=BACKFILL) == ""
    assert folder.run(AAPL, AAPL, MON, backfill=BACKFILL) == ""
    assert folder.run(AMZN, AMZN, WED, THU, backfill=BACKFILL) == ""
    assert sorted(folder.source.requested) == [(AAPL, MON, TUE), (AMZN, TUE, THU)]
    requested = keys(AAPL, days=[MON, TUE]) | keys(AMZN, days=[TUE, WED, THU])
    assert folder.colours() == {"green": requested, "red": set()}


def test_holes_are_stored_and_not_reported(folder: Folder) -> None:
    folder.backfill({AAPL: [MON, THU], INTC: [TUE]})
    assert folder.run(AAPL, AAPL, THU, backfill=BACKFILL) == ""
    assert folder.run(INTC, INTC, TUE, backfill=BACKFILL) == ""
    assert folder.run(AAPL, AAPL, MON, backfill=BACKFILL) == ""
    assert folder.source.requested == [(AAPL, MON, THU), (INTC, TUE, TUE)]
    assert folder.colours()["green"] == keys(AAPL, days=[MON, THU]) | keys(INTC, days=[TUE])


def test_another_backfill_asks_for_what_the_first_did_not_bring(folder: Folder) -> None:
    folder.backfill({AAPL: [MON], AMZN: [MON]})
    folder.source.failing = {AMZN: "no answer"}
    assert "AMZN 2024-05-20: no answer" in folder.run(AAPL, AMZN, MON, backfill=BACKFILL)
    folder.backfill({AAPL: [MON], AMZN: [MON]}, "bbbbbbbb")
    folder.source.failing = {}
    assert folder.run(AAPL, AMZN, MON, backfill="bbbbbbbb") == ""
    assert folder.source.requested == [(AAPL, MON, MON), (AMZN, MON, MON), (AMZN, MON, MON)]
    assert folder.colours() == {"green": keys(AAPL, AMZN, days=[MON]), "red": set()}


def test_a_run_of_a_backfill_that_is_not_recorded_asks_for_its_own_keys(folder: Folder) -> None:
    assert folder.run(AAPL, AAPL, TUE, backfill="unknown") == ""
    assert folder.source.requested == [(AAPL, TUE, TUE)]


def test_a_run_of_no_backfill_asks_for_its_own_keys(folder: Folder) -> None:
    folder.backfill({AAPL: [MON, TUE]})
    assert folder.run(AAPL, AAPL, TUE) == ""
    assert folder.source.requested == [(AAPL, TUE, TUE)]


# --- what failed, and what was interrupted -------------------------------------------------------


def test_a_failing_symbol_is_requested_once_and_red_with_the_first_runs_reason(
    folder: Folder,
) -> None:
    folder.backfill({symbol: [MON, TUE] for symbol in (AAPL, AMZN, INTC)})
    folder.source.failing = {AMZN: "the answer is a web page"}
    first = folder.run(AAPL, INTC, MON, backfill=BACKFILL)
    assert "AMZN 2024-05-20: the answer is a web page" in first
    folder.source.failing = {AMZN: "this is not asked for again"}
    second = folder.run(AAPL, INTC, TUE, backfill=BACKFILL)
    assert "AMZN 2024-05-21: the answer is a web page" in second
    assert folder.source.requested == [(symbol, MON, TUE) for symbol in (AAPL, AMZN, INTC)]
    assert folder.colours() == {
        "green": keys(AAPL, INTC, days=[MON, TUE]),
        "red": keys(AMZN, days=[MON, TUE]),
    }


def test_a_run_that_is_tried_again_asks_again(folder: Folder) -> None:
    folder.backfill({symbol: [MON, TUE] for symbol in (AAPL, AMZN)})
    folder.source.failing = {AMZN: "no answer"}
    assert folder.run(AAPL, AMZN, MON, backfill=BACKFILL) != ""
    parent = folder.instance.get_runs(limit=1)[0].run_id
    folder.source.failing = {}
    again = folder.run(AAPL, AMZN, MON, backfill=BACKFILL, parent_run_id=parent)
    assert again == ""
    assert folder.source.requested[2:] == [(AMZN, MON, MON)]
    assert folder.colours() == {"green": keys(AAPL, AMZN, days=[MON]), "red": set()}


def test_an_interrupted_run_leaves_the_rest_to_the_next(folder: Folder) -> None:
    folder.backfill({symbol: [MON, TUE] for symbol in (AAPL, AMZN, INTC)})

    def break_off(symbol: str) -> None:
        if symbol == AMZN:
            raise RuntimeError("out of the blue")

    folder.source.before = break_off
    assert "out of the blue" in folder.run(AAPL, INTC, MON, backfill=BACKFILL)
    assert folder.colours()["green"] == keys(AAPL, days=[MON])
    folder.source.before = lambda symbol: None
    folder.rectangle(TUE, MON)
    assert folder.source.requested == [
        (AAPL, MON, TUE),
        (AMZN, MON, TUE),
        (AMZN, MON, TUE),
        (INTC, MON, TUE),
    ]
    assert folder.colours() == {"green": keys(AAPL, AMZN, INTC, days=[MON, TUE]), "red": set()}


def test_a_source_that_breaks_down_turns_closed_keys_red_and_keeps_what_it_gave(
    folder: Folder,
) -> None:
    def break_down(symbol: str) -> None:
        if symbol == AMZN:
            raise SourceUnavailable("fake", "the line is dead")

    folder.source.before = break_down
    failure = folder.run(AAPL, INTC, WED, FRI)
    assert "4 symbol-days failed." in failure
    assert "AMZN 2024-05-22: the line is dead" in failure
    assert folder.source.requested == [(AAPL, WED, THU), (AMZN, WED, THU)]
    assert folder.colours() == {
        "green": keys(AAPL, days=[WED, THU]),
        "red": keys(AMZN, INTC, days=[WED, THU]),
    }


def test_a_source_that_can_not_be_opened_turns_closed_keys_red(folder: Folder) -> None:
    folder.source = Unreadable()
    failure = folder.run(AAPL, AMZN, THU, FRI)
    assert "AAPL 2024-05-23: the file is gone" in failure
    assert folder.colours() == {"green": set(), "red": keys(AAPL, AMZN, days=[THU])}


def test_a_source_that_is_gone_is_not_made_good_by_the_rows_of_the_one_before(
    folder: Folder,
) -> None:
    """A refresh of two sources: AAPL is stored of the first, and its second source is gone."""
    gone = Fed(folder.settings, clock=lambda: NOW, source=Unreadable())

    @dataclass(frozen=True)
    class Two(Fed):
        def price_source(self, name: str = "", calendar: object = None) -> PriceSource:
            return gone.source if name == "gone" else self.source

    platform = Two(folder.settings, clock=lambda: NOW, source=folder.source)

    @dg.op
    def refresh(context):  # type: ignore[no-untyped-def]  # Dagster reads the types
        steps = [
            Step(source, XNYS, Window((symbol,), MON, THU))
            for source, symbol in (("fake", AMZN), ("gone", AAPL))
        ]
        how = How(platform.asking)
        refresh_and_report(context, platform, steps, how, unwatched, asset=PRICES)

    assert folder.run(AAPL, AAPL, MON, THU) == ""  # of the first source

    @dg.job
    def refresh_both() -> None:
        refresh()

    result = refresh_both.execute_in_process(instance=folder.instance, raise_on_error=False)
    assert not result.success
    assert folder.colours()["red"] == keys(AAPL, days=[MON, TUE, WED, THU])
    assert folder.colours()["green"] == keys(AMZN, days=[MON, TUE, WED, THU])


def test_an_open_session_alone_loads_nothing_and_tells_nothing(folder: Folder) -> None:
    folder.backfill({AAPL: [FRI]})
    assert folder.run(AAPL, AAPL, FRI, backfill=BACKFILL) == ""
    assert folder.source.requested == []
    assert folder.instance.get_materialized_partitions(PRICES.key) == set()
    assert folder.colours() == {"green": set(), "red": set()}


# --- many spans, many symbol-days ----------------------------------------------------------------


SPANS = [(first, last) for first in (MON, TUE, WED) for last in (WED, THU, FRI)]
"""Nine, each with the Wednesday in it."""


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (1, [((MON, WED), 1)]),
        (SPANS_AT_MOST, [((first, last), 1) for first, last in SPANS[:SPANS_AT_MOST]]),
        (SPANS_AT_MOST + 1, [((MON, FRI), SPANS_AT_MOST + 1)]),
    ],
)
def test_more_spans_than_some_are_loaded_as_one(
    count: int, expected: list[tuple[tuple[dt.date, dt.date], int]]
) -> None:
    wanted = dict(zip(SYMBOL_LIST, SPANS[:count], strict=False))
    found = list(windows(wanted))
    assert [((w.start, w.end), len(w.symbols)) for w in found] == sorted(expected)
    assert sorted(symbol for w in found for symbol in w.symbols) == sorted(wanted)


def test_symbols_of_one_span_are_loaded_together() -> None:
    wanted = {AAPL: (MON, TUE), AMZN: (TUE, WED), INTC: (MON, TUE)}
    assert list(windows(wanted)) == [Window((AAPL, INTC), MON, TUE), Window((AMZN,), TUE, WED)]


def test_a_ragged_backfill_asks_for_the_widest_span_once(folder: Folder) -> None:
    ragged = {symbol: XNYS.between(*span) for symbol, span in zip(SYMBOL_LIST, SPANS, strict=True)}
    folder.backfill(ragged)
    assert folder.run(SYMBOL_LIST[0], SYMBOL_LIST[-1], WED, backfill=BACKFILL) == ""
    assert folder.run(SYMBOL_LIST[0], SYMBOL_LIST[2], MON, backfill=BACKFILL) == ""
    assert folder.source.requested == [(symbol, MON, THU) for symbol in SYMBOL_LIST]
    assert folder.colours()["green"] == keys(*SYMBOL_LIST, days=[WED]) | keys(
        AAPL, AMZN, INTC, days=[MON]
    )


def test_portions_hold_some_symbol_days_and_no_more_than_one_symbol_above() -> None:
    half = [MON] * (SYMBOL_DAYS_AT_ONCE // 2)
    whole = [MON] * SYMBOL_DAYS_AT_ONCE
    requested = {"A": half, "B": half, "C": half, "D": whole, "E": whole, "F": half}
    assert [list(part) for part in portions(requested)] == [["A", "B"], ["C", "D"], ["E"], ["F"]]
    assert list(portions({})) == []
    assert all(part[symbol] is requested[symbol] for part in portions(requested) for symbol in part)


def test_symbol_days_are_reported_while_the_rest_is_still_being_fetched(folder: Folder) -> None:
    seen = {}

    def look(symbol: str) -> None:
        seen[symbol] = set(folder.instance.get_materialized_partitions(PRICES.key))

    folder.source.before = look
    assert folder.run(AAPL, INTC, MON, TUE) == ""
    assert seen == {
        AAPL: set(),
        AMZN: keys(AAPL, days=[MON, TUE]),
        INTC: keys(AAPL, AMZN, days=[MON, TUE]),
    }


def cached_up_to(instance: dg.DagsterInstance) -> int:
    """The event up to which Dagster has worked the colours out; 0 where it has not begun."""
    (record,) = instance.get_asset_records([PRICES.key])
    cached = record.asset_entry.cached_status
    return cached.latest_storage_id if cached else 0


def test_a_run_of_many_events_works_the_colours_out_itself(folder: Folder) -> None:
    folder.start = dt.date(2019, 12, 18)
    assert folder.run(AAPL, AAPL, MON, TUE) == ""
    assert cached_up_to(folder.instance) == 0
    days = XNYS.between(folder.start, THU)
    assert len(days) * len(SYMBOL_LIST) > MANY_EVENTS
    assert folder.run(SYMBOL_LIST[0], SYMBOL_LIST[-1], days[0], THU) == ""
    (record,) = folder.instance.get_asset_records([PRICES.key])
    latest = record.asset_entry.last_materialization_storage_id
    assert latest is not None
    assert cached_up_to(folder.instance) == latest > MANY_EVENTS
