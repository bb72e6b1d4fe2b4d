"""The engine with a dataset that has no sessions: the same load(), another declaration."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pytest

from quant_assets.contracts.rows import RowAnswer
from quant_assets.contracts.source import Request, SourceProfile, SourceUnavailable
from quant_assets.datasets.row_dataset import RowDataset
from quant_assets.loading.claims import Claims
from quant_assets.loading.due_by_age import ByAge
from quant_assets.loading.load import load
from quant_assets.loading.report import LoadReport
from quant_assets.loading.tasks import MOST_ATTEMPTS, read_tasks
from quant_assets.loading.work import Asking, Window
from quant_assets.reference.calendars import Calendar
from quant_assets.schema.catalog import SCHEMA, SCHEMA_VERSION, Schema
from quant_assets.schema.prices import DAILY_PRICES
from quant_assets.schema.securities import SECURITIES, SYMBOL_HISTORY
from quant_assets.schema.table import Column, Table
from quant_assets.sources.simulated.market import SimulatedMarket
from quant_assets.warehouse.liveness import alive
from quant_assets.warehouse.warehouse import Warehouse
from quant_assets_tests.conftest import NOW
from quant_assets_tests.standins.loads import load_prices
from quant_assets_tests.standins.notes import (
    DATASET,
    NOTE_ROWS,
    TAG_ROWS,
    WITH_NOTES,
    Note,
    NoteSource,
)

TODAY = NOW.date()
COLUMNS = {"symbol": ["ZZZ"], "note_id": [9], "text": ["Hm."], "stars": [1.0]}
OTHER_RUN = "00000000-0000-0000-0000-000000000007"


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> dt.datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def empty_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = Warehouse(tmp_path_factory.mktemp("notes") / "warehouse.duckdb", schema=WITH_NOTES)
    with made.writing(OTHER_RUN):
        pass
    return made.path


@pytest.fixture
def notes(tmp_path: Path, clock: Clock, empty_file: Path) -> Warehouse:
    """A warehouse with the two tables of the toy."""
    path = tmp_path / "warehouse.duckdb"
    shutil.copyfile(empty_file, path)
    return Warehouse(path, clock=clock, schema=WITH_NOTES)


@pytest.fixture
def desk() -> NoteSource:
    return NoteSource(
        {"AAA": [(1, "Cheap.", 4.0, ("value", "old")), (2, "Slow.", 2.0, ())], "BBB": []}
    )


def bring(warehouse: Warehouse, source: NoteSource, *symbols: str, **how: object) -> LoadReport:
    window = Window(symbols or ("AAA", "BBB"), TODAY, dt.date.max)
    return load(warehouse, DATASET, source, window, **how)  # type: ignore[arg-type]


def rows(warehouse: Warehouse, sql: str) -> list[tuple[object, ...]]:
    with warehouse.reading() as con:
        return con.execute(sql).fetchall()


def test_an_answer_fills_two_tables_and_is_counted_in_the_first(
    notes: Warehouse, desk: NoteSource
) -> None:
    report = bring(notes, desk)
    assert [(r.symbol, r.requested, r.inserted, r.failed) for r in report.symbols] == [
        ("AAA", 1, 2, 0),
        ("BBB", 1, 0, 0),
    ]
    assert rows(notes, "select symbol, note_id, source, text, stars from notes order by all") == [
        ("AAA", 1, "desk", "Cheap.", 4.0),
        ("AAA", 2, "desk", "Slow.", 2.0),
    ]
    assert rows(notes, "select symbol, note_id, tag from note_tags order by all") == [
        ("AAA", 1, "old"),
        ("AAA", 1, "value"),
    ]
    assert rows(notes, "select dataset, source, symbols, inserted from load_runs") == [
        ("notes", "desk", 2, 2)
    ]
    assert rows(notes, "select source, price_basis, has_splits, simulated from sources") == [
        ("desk", None, None, False)
    ]


def test_nothing_is_requested_again_until_it_is_old_enough(
    notes: Warehouse, desk: NoteSource, clock: Clock
) -> None:
    bring(notes, desk)
    clock.now += dt.timedelta(hours=23)
    assert bring(notes, desk).up_to_date == 2
    assert desk.requests == ["AAA", "BBB"]
    clock.now += dt.timedelta(hours=1)
    report = bring(notes, desk)
    assert desk.requests == ["AAA", "BBB"] * 2
    assert (report.total("inserted"), report.total("unchanged")) == (0, 2)
    assert bring(notes, desk, force=True).total("unchanged") == 2


def test_an_edited_row_moves_the_old_one_to_revisions(
    notes: Warehouse, desk: NoteSource, clock: Clock
) -> None:
    bring(notes, desk)
    desk.notes["AAA"][1] = (2, "Faster now.", 3.0, ())
    clock.now += dt.timedelta(days=1)
    [report, _] = bring(notes, desk).symbols
    assert (report.inserted, report.revised, report.unchanged) == (0, 1, 1)
    assert rows(notes, "select note_id, text from notes order by all") == [
        (1, "Cheap."),
        (2, "Faster now."),
    ]
    assert rows(notes, "select note_id, text, difference from notes_revisions") == [
        (2, "Slow.", "restatement")
    ]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ([(3, None, 1.0, ())], "text is missing"),
        ([(3, "Fine.", -1.0, ())], "stars is not positive"),
        ([(3, "BUY NOW", 5.0, ())], "text is shouted"),
        ([(3, "One.", 1.0, ()), (3, "Two.", 1.0, ())], "another row of the same key differs"),
    ],
)
def test_a_bad_row_is_quarantined_and_its_neighbours_are_stored(
    notes: Warehouse,
    desk: NoteSource,
    bad: list[tuple[int, str, float, tuple[str, ...]]],
    reason: str,
) -> None:
    desk.notes["AAA"] += bad
    report = bring(notes, desk)
    assert (report.total("inserted"), report.total("quarantined")) == (2, len(bad))
    assert report.needs_attention
    found = rows(notes, "select distinct dataset, source, symbol, reason from quarantine")
    assert found == [("notes", "desk", "AAA", reason)]


def test_a_symbol_without_a_good_row_is_due_again(notes: Warehouse, desk: NoteSource) -> None:
    desk.notes["BBB"] = [(1, None, 1.0, ())]
    [_, bad] = bring(notes, desk).symbols
    assert (bad.quarantined, bad.set_aside, bad.completeness) == (1, 1, 0.0)
    desk.notes["BBB"] = [(1, "Mended.", 1.0, ())]
    assert bring(notes, desk).total("inserted") == 1
    assert desk.requests == ["AAA", "BBB", "BBB"]


@pytest.mark.parametrize(
    ("tables", "why"),
    [
        ({"notess": NOTE_ROWS.empty_table()}, "no table notess"),
        ({"notes": TAG_ROWS.empty_table()}, "text"),
        ({"notes": pa.table({**COLUMNS, "stars": ["many"]})}, "many"),
    ],
)
def test_an_answer_of_another_shape_fails_its_symbols_alone(
    notes: Warehouse, desk: NoteSource, tables: dict[str, pa.Table], why: str
) -> None:
    class Odd(NoteSource):
        def fetch(self, requests: Sequence[Request]) -> Iterator[RowAnswer]:
            yield RowAnswer(("AAA",), tables)
            yield from super().fetch(requests[1:])

    desk.notes["BBB"] = [(1, "Fine.", 1.0, ())]
    report = bring(notes, Odd(desk.notes))
    assert [(r.symbol, r.failed, r.inserted) for r in report.symbols] == [
        ("AAA", 1, 0),
        ("BBB", 0, 1),
    ]
    assert report.symbols[0].error
    assert "The answer is not one of notes" in report.symbols[0].error
    assert why in report.symbols[0].error


def test_a_row_of_a_symbol_that_the_answer_is_not_about_is_quarantined(
    notes: Warehouse, desk: NoteSource
) -> None:
    class Chatty(NoteSource):
        def fetch(self, requests: Sequence[Request]) -> Iterator[RowAnswer]:
            for answer in super().fetch(requests):
                rows = pa.concat_tables([answer.tables["notes"], pa.table(COLUMNS, NOTE_ROWS)])
                yield replace(answer, tables={**answer.tables, "notes": rows})

    report = bring(notes, Chatty(desk.notes), "BBB")
    assert report.total("inserted") == 0
    assert rows(notes, "select symbol, reason from quarantine") == [
        ("ZZZ", "the answer is not about its symbol")
    ]


def test_one_row_twice_is_one_row(notes: Warehouse, desk: NoteSource) -> None:
    desk.notes["AAA"].append(desk.notes["AAA"][1])
    assert bring(notes, desk).total("inserted") == 2


def test_a_failure_costs_no_other_symbol_and_is_given_up_after_five(
    notes: Warehouse, desk: NoteSource, clock: Clock
) -> None:
    desk.failures = {"BBB": SourceUnavailable("desk", "The desk is shut.")}
    asking = Asking(heed_tasks=True)
    for attempt in range(MOST_ATTEMPTS):
        clock.now += dt.timedelta(hours=20)
        report = bring(notes, desk, "BBB", asking=asking)
        assert [r.symbol for r in report.failures] == ["BBB"], attempt
    left = bring(notes, desk, asking=asking).left
    assert rows(notes, "select count(*) from notes") == [(2,)]
    assert left == {"BBB": "given up after 5 attempts: The desk is shut"}
    assert desk.requests == [*["BBB"] * MOST_ATTEMPTS, "AAA"]
    with notes.reading() as con:
        task = read_tasks(con, "notes")["desk", "BBB"]
    assert (task.state, task.attempts, task.given_up) == ("failed", 5, True)
    desk.failures = {}
    assert bring(notes, desk, "BBB").failures == ()


def test_stopped_half_way_the_next_load_requests_the_rest(
    notes: Warehouse, desk: NoteSource
) -> None:
    class StoppedError(Exception):
        pass

    def stop(done: int, total: int, what: str) -> None:
        if done == 1:
            raise StoppedError

    with pytest.raises(StoppedError):
        bring(notes, desk, on_progress=stop)
    assert bring(notes, desk).up_to_date == 1
    assert desk.requests == ["AAA", "BBB"]


def test_a_market_of_prices_is_no_concern_of_notes_and_their_times_stay_apart(
    notes: Warehouse, desk: NoteSource, calendar: object
) -> None:
    """One vendor, two datasets, one run: neither overwrites the other's times, tasks or totals."""
    start, end = dt.date(2024, 5, 28), dt.date(2024, 5, 31)
    market = SimulatedMarket(calendar, start, end, securities_count=2)  # type: ignore[arg-type]
    symbols = market.symbols()
    vendor = NoteSource(
        {symbol: [(1, "Seen.", 1.0, ())] for symbol in symbols},
        name=market.profile.name,
        simulated=True,
    )
    run = {"run_id": OTHER_RUN, "backfill": "one"}
    prices = load_prices(
        notes,
        market,
        Window(symbols, start, end),
        market.calendar,
        identities=market.fetch_universe().names,
        **run,
    )
    noted = bring(notes, vendor, *symbols, **run)
    assert (prices.total("inserted"), noted.total("inserted")) == (8, 2)
    assert vendor.requests == list(symbols)
    assert rows(notes, "select dataset, symbols, inserted from load_runs order by all") == [
        ("daily_prices", 2, 8),
        ("notes", 2, 2),
    ]
    tasks = rows(
        notes, "select dataset, count(*), min(state) from load_tasks group by 1 order by 1"
    )
    assert tasks == [("daily_prices", 2, "completed"), ("notes", 2, "completed")]
    assert rows(notes, "select price_basis, simulated from sources") == [("as_traded", True)]


def test_what_loads_of_another_dataset_record_makes_no_plan_old(
    notes: Warehouse, desk: NoteSource
) -> None:
    """A busy load of prices: after each plan of the notes it has recorded something more."""
    plans: list[int] = []

    class Busy(Warehouse):
        def writing(self, run_id: str, purpose: str = "a load"):  # type: ignore[no-untyped-def]
            if not plans:
                with notes.writing(OTHER_RUN) as other:
                    plans.append(1)
                    other.con.execute(
                        "insert into load_run_symbols by name select ?::uuid as run_id,"
                        " ? as dataset,"
                        " 'desk' as source, 'AAA' as symbol, 0 as requested, 0 as inserted,"
                        " 0 as revised, 0 as unchanged, 0 as quarantined, 0 as empty, 0 as failed,"
                        " 1.0 as completeness, now()::timestamp as created_at,"
                        " now()::timestamp as updated_at",
                        [OTHER_RUN, DAILY_PRICES.name],
                    )
            return super().writing(run_id, purpose)

    busy = Busy(notes.path, clock=notes.clock, schema=WITH_NOTES)
    told: list[str] = []
    report = bring(busy, desk, on_progress=lambda done, total, what: told.append(what))
    assert report.total("inserted") == 2
    assert not [what for what in told if what.startswith("waiting for another load")]


def test_symbols_that_another_dataset_claims_are_free_here(
    notes: Warehouse, desk: NoteSource
) -> None:
    prices = Claims(notes.runs, DAILY_PRICES.name, "desk", OTHER_RUN)
    with alive(notes.runs, OTHER_RUN):
        with notes.writing(OTHER_RUN) as writing:
            assert prices.take(writing, ["AAA", "BBB"]) == {}
        assert bring(notes, desk, claim_wait_seconds=0).failures == ()
    assert rows(notes, "select dataset, count(*) from load_claims group by 1") == [
        ("daily_prices", 2)
    ]


def test_the_toys_tables_are_in_its_schema_alone() -> None:
    assert {table.name for table in WITH_NOTES.tables} >= {"notes", "note_tags"}
    assert isinstance(WITH_NOTES, Schema)


def test_a_made_up_market_of_notes_does_not_keep_out_its_prices(
    notes: Warehouse, calendar: Calendar
) -> None:
    """A source that states no convention is of whichever market the next one states."""
    start, end = dt.date(2024, 5, 28), dt.date(2024, 5, 31)
    market = SimulatedMarket(calendar, start, end, securities_count=2)
    kept: dict[str, list[Note]] = {symbol: [(1, "Seen.", 1.0, ())] for symbol in market.symbols()}
    bring(notes, NoteSource(kept, name=market.profile.name, simulated=True), *market.symbols())
    window = Window(market.symbols(), start, end)
    names = market.fetch_universe().names
    report = load_prices(notes, market, window, calendar, identities=names)
    assert report.total("inserted") == 8
    assert rows(notes, "select convention from sources") == [(market.profile.convention,)]


FACTS = Table(
    "facts",
    "Facts about securities.",
    (
        Column("security_id", "INTEGER", "The security."),
        Column("fact", "VARCHAR", "The fact."),
        Column("value", "DOUBLE", "Its value."),
    ),
    key=("security_id", "fact"),
)
FACT_ROWS = pa.schema([("symbol", pa.string()), ("fact", pa.string()), ("value", pa.float64())])


REGISTRY = SourceProfile("registry", live=True)


@dataclass
class Registry:
    """Answers all requests in one answer, with the rows it is made with."""

    found: Sequence[tuple[str, str, float]]
    profile: SourceProfile = REGISTRY

    def symbols(self) -> tuple[str, ...]:
        return tuple(sorted({symbol for symbol, _, _ in self.found}))

    def fetch(self, requests: Sequence[Request]) -> Iterator[RowAnswer]:
        named = [dict(zip(FACT_ROWS.names, row, strict=True)) for row in self.found]
        table = pa.Table.from_pylist(named, FACT_ROWS)
        yield RowAnswer(tuple(request.symbol for request in requests), {"facts": table})


def test_rows_get_the_security_of_their_symbol_and_two_symbols_of_one_meet_once(
    tmp_path: Path, clock: Clock
) -> None:
    schema = Schema(SCHEMA_VERSION, (*SCHEMA.tables, FACTS))
    warehouse = Warehouse(tmp_path / "facts.duckdb", clock=clock, schema=schema)
    company = {"type": "stock", "exchange": "XNYS", "currency": "USD"}
    with warehouse.writing(OTHER_RUN) as writing:
        renamed = dt.date(2022, 6, 9)
        borne = (("FB", dt.date(2012, 5, 18), renamed), ("META", renamed, None))
        writing.upsert(SECURITIES, SECURITIES.arrow([{"security_id": 7, **company}]))
        names = [
            {"symbol": s, "valid_from": since, "valid_to": until, "security_id": 7, "source": "x"}
            for s, since, until in borne
        ]
        writing.upsert(SYMBOL_HISTORY, SYMBOL_HISTORY.arrow(names))
    dataset = RowDataset("facts", ((FACTS, FACT_ROWS),), ByAge(dt.timedelta(days=1)))
    source = Registry(
        [
            *(("META", "staff", 70.0), ("FB", "staff", 70.0)),
            *(("META", "year", 2004.0), ("FB", "year", 2003.0)),
        ]
    )
    window = Window(("META", "FB", "NOPE"), TODAY, dt.date.max)
    report = load(warehouse, dataset, source, window)
    found = [(r.symbol, r.security_id, r.inserted, r.quarantined, r.failed) for r in report.symbols]
    assert found == [
        ("FB", 7, 0, 1, 0),
        ("META", 7, 1, 1, 0),
        ("NOPE", None, 0, 0, 1),
    ]
    assert rows(warehouse, "select security_id, fact, value from facts") == [(7, "staff", 70.0)]
    assert "NOPE" in str(report.symbols[2].error)
