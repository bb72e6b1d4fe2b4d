"""One bad answer costs one subject: whatever is raised over it, the others' rows are stored."""

from __future__ import annotations

import datetime as dt
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quant_assets.contracts.membership import UniverseAnswer
from quant_assets.contracts.prices import PriceAnswer
from quant_assets.contracts.rows import RowAnswer
from quant_assets.contracts.source import Request
from quant_assets.datasets.daily_prices.dataset import CheckedPrices, DailyPrices
from quant_assets.loading.dataset import Stored
from quant_assets.loading.load import load
from quant_assets.loading.report import LoadReport
from quant_assets.loading.tasks import read_tasks
from quant_assets.loading.work import Plan, Window
from quant_assets.reference.calendars import exchange_calendar
from quant_assets.reference.errors import UsageError
from quant_assets.sources.index_members.chain import MembershipChain
from quant_assets.sources.yahoo.chart import read_body
from quant_assets.sources.yahoo.daily_prices import YahooSource
from quant_assets.sources.yahoo.transport import ChartResponse
from quant_assets.warehouse.warehouse import Warehouse
from quant_assets.warehouse.writer_lock import WarehouseError
from quant_assets.warehouse.writing import Writing
from quant_assets_tests.conftest import NOW, examples
from quant_assets_tests.standins.yahoo_listings import Listing

XNYS = exchange_calendar("XNYS")
THURSDAY, FRIDAY = dt.date(2024, 5, 30), dt.date(2024, 5, 31)
SYMBOLS = ("AAA", "BBB", "CCC")
PLACES = ("reading", "checking", "storing")

Change = Mapping[str, bytes | Exception]
"""What takes the place of a symbol's answer: a body, or an error raised while it is read."""


def body_of(symbol: str) -> bytes:
    rows = [(day, 100.0, 101.0, 99.0, 100.5, 1000) for day in (THURSDAY, FRIDAY)]
    return Listing.of(symbol, *rows).chart(0, 2**40, NOW).body


@dataclass
class Answers:
    """In place of the requests: the bodies as Yahoo sends them, but for those changed."""

    changed: Change
    asked: list[str] = field(default_factory=list)

    def chart(self, symbol: str, span: Mapping[str, int]) -> ChartResponse:
        self.asked.append(symbol)
        body = self.changed.get(symbol, body_of(symbol))
        if isinstance(body, Exception):
            raise body
        return ChartResponse("", read_body(body), body)


@dataclass(frozen=True)
class Yahoo(YahooSource):
    changed: Change = field(default_factory=dict)

    @cached_property
    def _transport(self) -> Answers:  # type: ignore[override]
        return Answers(self.changed)


def yahoo(**changed: bytes | Exception) -> Yahoo:
    return Yahoo(
        XNYS, lambda request: request(), lambda: NOW, in_flight=1, changed=changed,
        at_least_every_seconds=60.0,
    )  # fmt: skip


@dataclass(frozen=True)
class Stumbling(DailyPrices):
    """Prices over one symbol of which our own code stumbles."""

    place: str = ""
    error: Exception | None = None

    def _stumble(self, place: str, answer: PriceAnswer) -> None:
        bad = "BBB" in answer.symbols and "BBB" not in answer.failures
        if self.error and place == self.place and bad:
            raise self.error

    def check(self, answer: PriceAnswer, now: dt.datetime) -> CheckedPrices:
        self._stumble("checking", answer)
        return super().check(answer, now)

    def store(self, writing: Writing, checked: CheckedPrices, plan: Plan) -> Stored[PriceAnswer]:
        stored = super().store(writing, checked, plan)
        self._stumble("storing", checked.answer)
        return stored


def load_from(
    warehouse: Warehouse,
    source: YahooSource,
    symbols: Sequence[str] = SYMBOLS,
    place: str = "",
    error: Exception | None = None,
) -> LoadReport:
    dataset = Stumbling(source.profile, XNYS, place=place, error=error)
    return load(warehouse, dataset, source, Window(tuple(symbols), THURSDAY, FRIDAY))


def rows_of(warehouse: Warehouse) -> dict[str, int]:
    with warehouse.reading() as con:
        return dict(
            con.execute(
                "select h.symbol, count(*) from daily_prices"
                " join symbol_history h using (security_id) group by 1 order by 1"
            ).fetchall()
        )


def attempts(warehouse: Warehouse) -> dict[str, tuple[str, int]]:
    with warehouse.reading() as con:
        tasks = read_tasks(con, "daily_prices").values()
    return {task.symbol: (task.state, task.attempts) for task in tasks}


ERRORS: list[Exception] = [
    ValueError("no number"),
    KeyError("close"),
    TypeError("a list"),
    IndexError("3"),
    AttributeError("get"),
    ZeroDivisionError("division"),
    OverflowError("too large"),
    RuntimeError("\ud800 \x1b[31m"),
    RecursionError("too deep"),
    UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates"),
    UsageError("of one symbol"),
    pa.ArrowInvalid("of one column"),
    duckdb.ConversionException("of one value"),
    duckdb.ConstraintException("of one row"),
]


@examples(8)
@given(error=st.sampled_from(ERRORS), place=st.sampled_from(PLACES))
def test_any_exception_over_one_answer_costs_that_symbol_alone(
    blank: Path, error: Exception, place: str
) -> None:
    changed = {"BBB": error} if place == "reading" else {}
    with tempfile.TemporaryDirectory() as folder:
        warehouse = Warehouse(Path(folder) / "warehouse.duckdb", clock=lambda: NOW)
        shutil.copyfile(blank, warehouse.path)
        report = load_from(warehouse, yahoo(**changed), place=place, error=error)
        assert rows_of(warehouse) == {"AAA": 2, "CCC": 2}
        assert [failure.symbol for failure in report.failures] == ["BBB"]
        assert f"yahoo's answer for BBB can't be used: {type(error).__name__}" in str(
            report.failures[0].error
        )
        assert attempts(warehouse) == {
            "AAA": ("completed", 0),
            "BBB": ("failed", 1),
            "CCC": ("completed", 0),
        }
        again = yahoo(**changed)
        load_from(warehouse, again, (*SYMBOLS, "DDD"), place, error)
        assert again._transport.asked == ["DDD", "BBB"]
        assert rows_of(warehouse) == {"AAA": 2, "CCC": 2, "DDD": 2}
        assert attempts(warehouse)["BBB"] == ("failed", 2)


@pytest.mark.parametrize(
    ("place", "error"),
    [
        *((place, OSError(28, "No space left on device")) for place in PLACES[1:]),
        *((place, WarehouseError("gone")) for place in PLACES[1:]),
        *((place, AssertionError("a test's own word")) for place in PLACES[1:]),
        ("storing", duckdb.IOException("the disk")),
        ("storing", duckdb.OutOfMemoryException("no memory")),
    ],
)
def test_an_error_that_concerns_all_ends_the_load(
    warehouse: Warehouse, place: str, error: Exception
) -> None:
    with pytest.raises(type(error)):
        load_from(warehouse, yahoo(), place=place, error=error)
    assert {state for state, _ in attempts(warehouse).values()} == {"pending"}


def test_a_lone_surrogate_in_a_name_costs_nobody_a_row(warehouse: Warehouse) -> None:
    chart = json.loads(body_of("BBB"))
    chart["chart"]["result"][0]["meta"]["longName"] = "\ud800bad \x1b[31m" + "x" * 100_000
    report = load_from(warehouse, yahoo(BBB=json.dumps(chart).encode()))
    assert report.failures == ()
    assert rows_of(warehouse) == {"AAA": 2, "BBB": 2, "CCC": 2}
    with warehouse.reading() as con:
        [(name,)] = con.execute(
            "select s.name from securities s join symbol_history h using (security_id)"
            " where h.symbol = 'BBB'"
        ).fetchall()
    assert (name[:12], len(name)) == ("bad [31mxxxx", 200)


def test_events_that_can_not_be_read_are_said_in_the_report(warehouse: Warehouse) -> None:
    changed: dict[str, bytes | Exception] = {}
    for symbol, events in (("AAA", {"dividends": "x"}), ("BBB", {"splits": [1, 2]})):
        chart = json.loads(body_of(symbol))
        chart["chart"]["result"][0]["events"] = events
        changed[symbol] = json.dumps(chart).encode()
    report = load_from(warehouse, yahoo(**changed))
    assert report.needs_attention
    assert {each.symbol: each.quarantined for each in report.symbols} == {
        "AAA": 1,
        "BBB": 0,
        "CCC": 0,
    }
    assert [(each.symbol, each.error) for each in report.failures] == [
        ("BBB", "yahoo lists a split of BBB that can't be read: {'splits': [1, 2]}.")
    ]
    assert rows_of(warehouse) == {"AAA": 2, "CCC": 2}


@pytest.mark.parametrize(
    "body",
    [
        b'{"chart":' + b"[" * 300_000,
        b'{"chart":' + b"9" * 6_000 + b"}",
        b"\xff\xfe\x00",
        b'{"chart": {"result": [{"meta": {"symbol": "\\ud800"}}]}}',
        b'{"chart": {"error": {"code": "\\ud800", "description": "\\u001b[31m"}}}',
    ],
    ids=["300,000 brackets", "6,000 digits", "no UTF-8", "surrogate", "surrogate in a reason"],
)
def test_a_body_that_can_not_be_read_costs_its_symbol_alone(
    warehouse: Warehouse, body: bytes
) -> None:
    report = load_from(warehouse, yahoo(BBB=body))
    assert rows_of(warehouse) == {"AAA": 2, "CCC": 2}
    [failure] = report.failures
    assert failure.symbol == "BBB"
    assert str(failure.error).startswith("yahoo ")
    assert "\x1b" not in str(failure.error)
    assert attempts(warehouse)["BBB"] == ("failed", 1)


def test_a_part_of_an_answer_has_what_is_of_its_symbols() -> None:
    requests = [Request(symbol, THURSDAY, FRIDAY) for symbol in SYMBOLS]
    [answer] = yahoo().fetch(requests)
    assert answer.part(SYMBOLS).symbols == SYMBOLS
    part: Any = answer.part(["CCC"])
    assert (part.symbols, part.rows["symbol"].to_pylist()) == (("CCC",), ["CCC", "CCC"])
    assert [each.symbol for each in part.instruments] == ["CCC"]


def test_a_part_of_plain_rows_goes_by_their_subject() -> None:
    rows = pa.table({"feed": ["nyse", "amex"], "symbol": ["AAA", "BBB"]})
    answer = RowAnswer(("amex", "nyse"), {"market": rows}, notices=("one",))
    first, second = answer.part(["amex"], "feed"), answer.part(["nyse"], "feed")
    assert (first.symbols, first.notices) == (("amex",), ("one",))
    assert first.tables["market"]["symbol"].to_pylist() == ["BBB"]
    assert (second.symbols, second.notices) == (("nyse",), ())
    assert second.tables["market"]["symbol"].to_pylist() == ["AAA"]


def test_a_source_of_members_over_which_our_code_stumbles_is_passed_over() -> None:
    class Stumbles:
        def fetch_universe(self) -> UniverseAnswer:
            raise RecursionError("a name")

    class Answers:
        def fetch_universe(self) -> UniverseAnswer:
            return UniverseAnswer("list:ours")

    answer = MembershipChain([("wikipedia", Stumbles()), ("list", Answers())]).fetch_universe()
    assert answer.source == "list:ours"
    [why] = answer.passed_over
    assert "answer for the members can't be used: RecursionError: a name" in why
