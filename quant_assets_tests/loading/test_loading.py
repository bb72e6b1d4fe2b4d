"""Plan, fetch, validate, store, record: what a load leaves behind, and what it never does."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import pyarrow as pa
import pytest

from quant_assets.contracts.prices import (
    ACTION_COLUMNS,
    EMPTY_COLUMNS,
    PRICE_COLUMNS,
    UNREADABLE_COLUMNS,
    PriceAnswer,
    PriceProfile,
)
from quant_assets.contracts.source import (
    BadAnswer,
    Request,
    SourceUnavailable,
    UnknownSymbolAtSource,
)
from quant_assets.datasets.daily_prices.dataset import DailyPrices
from quant_assets.loading.market import MixedMarketsError
from quant_assets.loading.plan import plan
from quant_assets.loading.recording import Recording
from quant_assets.loading.report import LoadReport
from quant_assets.loading.work import Plan, Window
from quant_assets.reference.calendars import Calendar, OpenSessionError, exchange_calendar
from quant_assets.reference.identity import KnownIdentity
from quant_assets.sources.simulated.market import SimulatedMarket
from quant_assets.warehouse.warehouse import Warehouse
from quant_assets.warehouse.writing import Writing
from quant_assets_tests.standins.loads import load_prices

NOW = dt.datetime(2024, 6, 3, 12, 0, tzinfo=dt.UTC)
XNYS = exchange_calendar("XNYS")
MAY = XNYS.between(dt.date(2024, 5, 1), dt.date(2024, 6, 28))
CALENDAR = Calendar("XNYS", MAY, XNYS.closes_at[XNYS.sessions.index(MAY[0]) :][: len(MAY)])
"""The real market over two months."""
MONDAY, TUESDAY, WEDNESDAY, THURSDAY, FRIDAY = CALENDAR.between(
    dt.date(2024, 5, 20), dt.date(2024, 5, 24)
)
WEEK = (MONDAY, TUESDAY, WEDNESDAY, THURSDAY, FRIDAY)

Row = dict[str, object]


def bar(symbol: str, day: dt.date, close: float = 10.0, **changes: object) -> Row:
    prices = {"open": close, "high": close, "low": close, "close": close}
    row = {"symbol": symbol, "session": day, **prices, "volume": 100.0}
    return {**row, "basis_on": day, "currency": "USD", **changes}


def week(symbol: str, close: float = 10.0) -> list[Row]:
    return [bar(symbol, day, close) for day in WEEK]


def dividend(symbol: str, day: dt.date, amount: float, kind: str = "cash_dividend") -> Row:
    return {
        "symbol": symbol,
        "ex_date": day,
        "kind": kind,
        "amount": amount,
        "currency": "USD",
        "basis_on": day,
        "kind_by": "rule",
    }


@dataclass
class FakeSource:
    """A source in a few literals; it remembers what it was asked."""

    rows: Sequence[Row] = ()
    empty: Mapping[str, Sequence[dt.date]] = field(default_factory=dict)
    failing: Mapping[str, str] = field(default_factory=dict)
    actions: Sequence[Row] = ()
    unreadable: Sequence[Row] = ()
    notices: tuple[str, ...] = ()
    name: str = "fake"
    simulated: bool = False
    names_on: dt.date | None = dt.date(2024, 5, 31)
    at_once: int = 100
    """Symbols an answer holds."""
    breaks_at: str = ""
    asked: list[Request] = field(default_factory=list)

    @property
    def profile(self) -> PriceProfile:
        return PriceProfile(
            self.name,
            price_basis="as_traded",
            has_splits=True,
            has_distributions=True,
            simulated=self.simulated,
            names_on=self.names_on,
        )

    def symbols(self) -> tuple[str, ...]:
        return ()

    def fetch(self, requests: Sequence[Request]) -> Iterator[PriceAnswer]:
        for at in range(0, len(requests), self.at_once):
            chunk = requests[at : at + self.at_once]
            self.asked += chunk
            if any(request.symbol == self.breaks_at for request in chunk):
                raise SourceUnavailable(self.name, "the line is dead")
            yield self._answer(chunk)

    def _answer(self, chunk: Sequence[Request]) -> PriceAnswer:
        wanted = {request.symbol: request for request in chunk}

        def asked_for(symbol: object, day: object) -> bool:
            request = wanted.get(str(symbol))
            return request is not None and request.start <= day <= request.end  # type: ignore[operator]

        rows = [row for row in self.rows if asked_for(row["symbol"], row["session"])]
        actions = [row for row in self.actions if asked_for(row["symbol"], row["ex_date"])]
        empty = [
            {"symbol": symbol, "session": day, "reason": "halted"}
            for symbol, days in self.empty.items()
            for day in days
            if asked_for(symbol, day)
        ]
        return PriceAnswer(
            tuple(wanted),
            table(rows, PRICE_COLUMNS),
            table(actions, ACTION_COLUMNS),
            table(empty, EMPTY_COLUMNS),
            table([row for row in self.unreadable if row["symbol"] in wanted], UNREADABLE_COLUMNS),
            {s: BadAnswer(self.name, why) for s, why in self.failing.items() if s in wanted},
            self.notices,
        )


def table(rows: Sequence[Row], schema: pa.Schema) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=schema)


def window(*symbols: str, start: dt.date = MONDAY, end: dt.date = FRIDAY) -> Window:
    return Window(symbols, start, end)


def bring(
    warehouse: Warehouse, source: FakeSource | SimulatedMarket, wanted: Window, **how: object
) -> LoadReport:
    calendar = XNYS if isinstance(source, SimulatedMarket) else CALENDAR
    # No identities unless a test brings some: AAPL is AAPL here, and nobody was ever renamed.
    return load_prices(warehouse, source, wanted, calendar, **{"identities": (), **how})  # type: ignore[arg-type]


def planned(warehouse: Warehouse, source: FakeSource, wanted: Window, **how: bool) -> Plan:
    dataset = DailyPrices(source.profile, CALENDAR)
    return plan(warehouse, dataset, source.profile, wanted, **how)


def query(warehouse: Warehouse, sql: str) -> list[tuple[object, ...]]:
    with warehouse.reading() as con:
        return con.execute(sql).fetchall()


def stored(warehouse: Warehouse) -> list[tuple[object, ...]]:
    return query(
        warehouse,
        "select h.symbol, p.session, p.close from daily_prices p "
        "join symbol_history h using (security_id) order by all",
    )


def ledger(warehouse: Warehouse) -> list[tuple[object, ...]]:
    return query(
        warehouse,
        "select h.symbol, l.session, l.outcome, l.reason from symbol_day_ledger l "
        "join symbol_history h using (security_id) order by all",
    )


def contents(warehouse: Warehouse) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every table."""
    names = [str(row[0]) for row in query(warehouse, "select table_name from duckdb_tables()")]
    return {name: query(warehouse, f"select * from {name} order by all") for name in names}


# What is due


def test_a_second_load_finds_nothing_due_asks_for_nothing_and_writes_nothing(
    warehouse: Warehouse,
) -> None:
    first = FakeSource(week("AAPL") + week("MSFT"), actions=[dividend("AAPL", TUESDAY, 0.25)])
    bring(warehouse, first, window("AAPL", "MSFT"))
    before = contents(warehouse)
    assert len(before["daily_prices"]) == 10
    again = FakeSource(first.rows)
    report = bring(warehouse, again, window("AAPL", "MSFT"))
    assert again.asked == []
    assert (report.symbols, report.up_to_date, report.needs_attention) == ((), 2, False)
    assert contents(warehouse) == before


def test_force_asks_again_and_counts_what_it_finds_unchanged(warehouse: Warehouse) -> None:
    source = FakeSource(week("AAPL"))
    bring(warehouse, source, window("AAPL"))
    rows = query(warehouse, "from daily_prices order by all")
    report = bring(warehouse, source, window("AAPL"), force=True)
    assert source.asked == [Request("AAPL", MONDAY, FRIDAY)] * 2
    assert [(report.total(n)) for n in ("inserted", "revised", "unchanged")] == [0, 0, 5]
    assert query(warehouse, "from daily_prices order by all") == rows
    assert query(warehouse, "select count(*) from load_runs") == [(2,)]


def test_a_restated_row_is_replaced_and_the_old_one_kept(warehouse: Warehouse) -> None:
    bring(warehouse, FakeSource(week("AAPL")), window("AAPL"))
    restated = FakeSource([*week("AAPL")[:4], bar("AAPL", FRIDAY, 11.0)])
    report = bring(warehouse, restated, window("AAPL"), force=True)
    assert [(report.total(n)) for n in ("inserted", "revised", "unchanged")] == [0, 1, 4]
    assert stored(warehouse)[-1] == ("AAPL", FRIDAY, 11.0)
    assert query(warehouse, "select session, close, difference from daily_prices_revisions") == [
        (FRIDAY, 10.0, "restatement")
    ]


def test_a_dry_run_says_what_is_due_and_neither_asks_nor_writes(no_warehouse: Warehouse) -> None:
    source = FakeSource(week("AAPL"))
    report = bring(no_warehouse, source, window("AAPL", "MSFT"), dry_run=True)
    assert report.dry_run
    assert [(r.symbol, r.requested, r.inserted) for r in report.symbols] == [
        ("AAPL", 5, 0),
        ("MSFT", 5, 0),
    ]
    assert source.asked == []
    assert not no_warehouse.exists()
    bring(no_warehouse, source, window("AAPL"))
    before = contents(no_warehouse)
    report = bring(no_warehouse, source, window("AAPL"), dry_run=True, force=True)
    assert report.total("requested") == 5
    assert contents(no_warehouse) == before


def test_a_wider_window_asks_only_for_what_is_missing(warehouse: Warehouse) -> None:
    source = FakeSource(week("AAPL") + week("MSFT"))
    bring(warehouse, source, window("AAPL", start=MONDAY, end=WEDNESDAY))
    source.asked.clear()
    report = bring(warehouse, source, window("AAPL", "MSFT"))
    assert source.asked == [
        Request("AAPL", THURSDAY, FRIDAY),
        Request("MSFT", MONDAY, FRIDAY),
    ]
    assert (report.total("requested"), report.total("inserted")) == (7, 7)


def test_a_window_wider_on_both_sides_is_one_request(warehouse: Warehouse) -> None:
    source = FakeSource(week("AAPL"))
    bring(warehouse, source, window("AAPL", start=TUESDAY, end=WEDNESDAY))
    assert planned(warehouse, source, window("AAPL")).requests == (Request("AAPL", MONDAY, FRIDAY),)
    assert planned(warehouse, source, window("AAPL")).due == 3
    report = bring(warehouse, source, window("AAPL"))
    assert (report.total("inserted"), report.total("unchanged")) == (3, 2)


def test_what_one_source_has_is_still_due_from_another(warehouse: Warehouse) -> None:
    bring(warehouse, FakeSource(week("AAPL")), window("AAPL"))
    other = FakeSource(week("AAPL", 11.0), name="other")
    assert bring(warehouse, other, window("AAPL")).total("inserted") == 5
    assert query(warehouse, "select source, count(*) from daily_prices group by 1 order by 1") == [
        ("fake", 5),
        ("other", 5),
    ]
    assert query(warehouse, "select count(distinct security_id) from daily_prices") == [(1,)]


def test_a_session_confirmed_empty_is_not_due_again(warehouse: Warehouse) -> None:
    source = FakeSource([r for r in week("AAPL") if r["session"] != TUESDAY], {"AAPL": [TUESDAY]})
    report = bring(warehouse, source, window("AAPL"))
    assert ledger(warehouse) == [("AAPL", TUESDAY, "empty", "halted")]
    assert (report.total("empty"), report.total("failed")) == (1, 0)
    assert report.symbols[0].completeness == 1.0
    assert planned(warehouse, source, window("AAPL")).requests == ()


def test_a_session_the_source_was_silent_about_is_failed_and_due_again(
    warehouse: Warehouse,
) -> None:
    source = FakeSource([r for r in week("AAPL") if r["session"] != TUESDAY])
    report = bring(warehouse, source, window("AAPL"))
    silent = ("AAPL", TUESDAY, "failed", "the source answered without a row for this session")
    assert ledger(warehouse) == [silent]
    assert report.symbols[0].error == f"2024-05-21: {silent[3]}"
    assert report.symbols[0].completeness == 0.8
    assert report.needs_attention
    # The row comes at last, and the ledger no longer speaks of the day.
    source.rows = week("AAPL")
    report = bring(warehouse, source, window("AAPL"))
    assert source.asked[-1] == Request("AAPL", TUESDAY, TUESDAY)
    assert (report.total("inserted"), report.total("failed")) == (1, 0)
    assert ledger(warehouse) == []


def test_a_symbol_the_source_does_not_know_leaves_no_security_behind(warehouse: Warehouse) -> None:
    source = FakeSource(week("AAPL"), failing={"NVDA": "no such page"})
    report = bring(warehouse, source, window("AAPL", "NVDA"))
    [aapl, nvda] = report.symbols
    assert (aapl.inserted, aapl.failed, aapl.error) == (5, 0, None)
    assert (nvda.inserted, nvda.failed, nvda.error) == (0, 5, "no such page")
    assert nvda.security_id is None
    assert query(warehouse, "select symbol from symbol_history") == [("AAPL",)]
    assert planned(warehouse, source, window("NVDA")).due == 5


def test_a_known_symbol_that_fails_keeps_what_it_has_and_notes_the_reason(
    warehouse: Warehouse,
) -> None:
    source = FakeSource(week("AAPL"))
    bring(warehouse, source, window("AAPL", end=WEDNESDAY))
    source.failing, source.rows = {"AAPL": "timed out"}, ()
    bring(warehouse, source, window("AAPL"))
    assert len(stored(warehouse)) == 3
    assert ledger(warehouse) == [
        ("AAPL", THURSDAY, "failed", "timed out"),
        ("AAPL", FRIDAY, "failed", "timed out"),
    ]
    # A forced second look that fails takes nothing away either.
    bring(warehouse, source, window("AAPL"), force=True)
    assert len(stored(warehouse)) == 3
    assert len(ledger(warehouse)) == 2


def test_a_symbol_named_twice_is_loaded_once(warehouse: Warehouse) -> None:
    source = FakeSource(week("AAPL"))
    report = bring(warehouse, source, window("AAPL", "AAPL"))
    assert source.asked == [Request("AAPL", MONDAY, FRIDAY)]
    assert report.total("inserted") == 5


# What is stored


def test_bad_rows_are_quarantined_and_the_good_ones_of_the_same_answer_stored(
    warehouse: Warehouse,
) -> None:
    rows = [bar("AAPL", MONDAY, 0.0), *week("AAPL")[1:4], bar("AAPL", FRIDAY, 10.0, volume=-1.0)]
    torn = {"symbol": "AAPL", "session": "", "reason": "a torn line", "raw": '"AAPL,1"'}
    report = bring(warehouse, FakeSource(rows, unreadable=[torn]), window("AAPL"))
    assert [day for _, day, _ in stored(warehouse)] == [TUESDAY, WEDNESDAY, THURSDAY]
    assert query(warehouse, "select symbol, session, reason from quarantine order by all") == [
        ("AAPL", "", "a torn line"),
        ("AAPL", "2024-05-20", "open is not positive"),
        ("AAPL", "2024-05-24", "volume is negative"),
    ]
    assert ledger(warehouse) == [
        ("AAPL", MONDAY, "quarantined", "open is not positive"),
        ("AAPL", FRIDAY, "quarantined", "volume is negative"),
    ]
    assert (report.total("inserted"), report.total("quarantined"), report.total("failed")) == (
        3,
        3,
        0,
    )
    assert report.needs_attention
    # Three of five are present: that is what completeness means.
    assert report.symbols[0].completeness == pytest.approx(0.6)
    raws = query(warehouse, "select raw from quarantine where session = '2024-05-24'")
    assert json.loads(str(raws[0][0]))["volume"] == -1.0


def test_quarantining_the_same_row_twice_keeps_one(warehouse: Warehouse) -> None:
    source = FakeSource([bar("AAPL", MONDAY), bar("AAPL", TUESDAY, 0.0)])
    for _ in range(2):
        bring(warehouse, source, window("AAPL", end=TUESDAY))
    assert query(warehouse, "select session from quarantine") == [("2024-05-21",)]


@pytest.mark.parametrize(
    "change",
    [{"volume": 1e30}, {"currency": "usd"}, {"currency": None}, {"basis_on": None}],
    ids=["volume beyond 64 bits", "currency not in capitals", "no currency", "no basis"],
)
def test_a_row_the_warehouse_can_not_hold_costs_only_itself(
    warehouse: Warehouse, change: Row
) -> None:
    rows = [bar("AAPL", MONDAY, **change), *week("AAPL")[1:], *week("MSFT")]
    report = bring(warehouse, FakeSource(rows), window("AAPL", "MSFT"))
    assert (report.total("inserted"), report.total("quarantined")) == (9, 1)


def test_a_row_that_comes_twice_is_stored_once_and_contradicting_ones_not_at_all(
    warehouse: Warehouse,
) -> None:
    rows = [*week("AAPL"), bar("AAPL", MONDAY), bar("AAPL", TUESDAY, 11.0)]
    bring(warehouse, FakeSource(rows), window("AAPL"))
    assert [day for _, day, _ in stored(warehouse)] == [MONDAY, WEDNESDAY, THURSDAY, FRIDAY]
    assert query(warehouse, "select count(*) from quarantine") == [(2,)]


def test_two_dividends_of_one_day_are_both_kept(warehouse: Warehouse) -> None:
    paid = [dividend("AAPL", TUESDAY, 0.25), dividend("AAPL", TUESDAY, 1.0)]
    bring(warehouse, FakeSource(week("AAPL"), actions=paid), window("AAPL"))
    assert query(warehouse, "select sum(amount) from corporate_actions") == [(1.25,)]


@pytest.mark.parametrize("amount", [float("nan"), float("inf"), -0.25, 0.0])
def test_an_impossible_dividend_is_not_stored(warehouse: Warehouse, amount: float) -> None:
    source = FakeSource(week("AAPL"), actions=[dividend("AAPL", TUESDAY, amount)])
    report = bring(warehouse, source, window("AAPL"))
    assert report.total("inserted") == 5
    assert query(warehouse, "from corporate_actions") == []


def test_a_reclassified_action_replaces_the_old_one(warehouse: Warehouse) -> None:
    source = FakeSource(week("AAPL"), actions=[dividend("AAPL", TUESDAY, 0.25)])
    bring(warehouse, source, window("AAPL"))
    source.actions = [dividend("AAPL", TUESDAY, 0.25, "special_dividend")]
    bring(warehouse, source, window("AAPL"), force=True)
    assert query(warehouse, "select kind from corporate_actions") == [("special_dividend",)]
    assert query(warehouse, "select kind, difference from corporate_actions_revisions") == [
        ("cash_dividend", "reclassified")
    ]


def test_a_row_of_a_session_that_has_not_closed_is_never_stored(warehouse: Warehouse) -> None:
    # At NOW, Monday the third of June has not opened yet.
    today = dt.date(2024, 6, 3)
    rows = [bar("AAPL", day) for day in CALENDAR.between(dt.date(2024, 5, 30), dt.date(2024, 6, 5))]
    report = bring(
        warehouse, FakeSource(rows), window("AAPL", start=dt.date(2024, 5, 30), end=today)
    )
    assert [day for _, day, _ in stored(warehouse)] == [dt.date(2024, 5, 30), dt.date(2024, 5, 31)]
    assert (report.total("requested"), report.total("failed")) == (2, 0)
    assert ledger(warehouse) == []


def test_a_window_of_open_sessions_only_is_refused(no_warehouse: Warehouse) -> None:
    source = FakeSource(week("AAPL"))
    with pytest.raises(OpenSessionError) as refused:
        bring(
            no_warehouse, source, window("AAPL", start=dt.date(2024, 6, 3), end=dt.date(2024, 6, 5))
        )
    assert str(refused.value) == (
        "No session from 2024-06-03 on has closed yet; the last closed one is 2024-05-31. "
        "Nothing was fetched and nothing stored."
    )
    assert source.asked == []
    assert not no_warehouse.exists()


def test_a_bar_the_source_sends_unasked_for_a_live_session_is_not_stored(
    warehouse: Warehouse,
) -> None:
    class Eager(FakeSource):
        def fetch(self, requests: Sequence[Request]) -> Iterator[PriceAnswer]:
            wider = [dataclasses.replace(r, end=dt.date(2024, 6, 5)) for r in requests]
            yield from super().fetch(wider)

    rows = [bar("AAPL", day) for day in (dt.date(2024, 5, 31), dt.date(2024, 6, 3))]
    bring(
        warehouse, Eager(rows), window("AAPL", start=dt.date(2024, 5, 31), end=dt.date(2024, 5, 31))
    )
    assert [day for _, day, _ in stored(warehouse)] == [dt.date(2024, 5, 31)]


# One bad symbol


def test_with_fail_fast_the_first_failure_ends_the_load(warehouse: Warehouse) -> None:
    source = FakeSource(week("AAPL") + week("MSFT"), failing={"IBM": "timed out"}, at_once=1)
    report = bring(warehouse, source, window("AAPL", "IBM", "MSFT"), fail_fast=True)
    assert [request.symbol for request in source.asked] == ["AAPL", "IBM"]
    assert {symbol for symbol, _, _ in stored(warehouse)} == {"AAPL"}
    assert {told.symbol: told.error for told in report.symbols} == {
        "AAPL": None,
        "IBM": "timed out",
    }
    assert query(warehouse, "select finished_at is not null from load_runs") == [(True,)]


def test_a_source_that_breaks_down_leaves_what_was_stored_before(warehouse: Warehouse) -> None:
    source = FakeSource(week("AAPL") + week("MSFT"), breaks_at="MSFT", at_once=1)
    with pytest.raises(SourceUnavailable, match="the line is dead"):
        bring(warehouse, source, window("AAPL", "MSFT"))
    assert len(stored(warehouse)) == 5
    assert query(warehouse, "select finished_at from load_runs") == [(None,)]
    # The next load takes up where this one stopped.
    source.breaks_at = ""
    source.asked.clear()
    bring(warehouse, source, window("AAPL", "MSFT"))
    assert [request.symbol for request in source.asked] == ["MSFT"]
    assert len(stored(warehouse)) == 10


def test_what_was_committed_in_the_moment_of_a_stop_is_not_put_back(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal may come between a commit and the next statement."""
    write, commits = Recording.writing, []

    @contextmanager
    def stopped_after_the_first_answer(recording: Recording) -> Iterator[Writing]:
        with write(recording) as writing:
            yield writing
        commits.append(recording.run_id)
        if len(commits) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(Recording, "writing", stopped_after_the_first_answer)
    source = FakeSource(week("AAPL") + week("MSFT"), at_once=1)
    with pytest.raises(KeyboardInterrupt):
        bring(warehouse, source, window("AAPL", "MSFT"))
    states = query(warehouse, "select symbol, state from load_tasks order by 1")
    assert states == [("AAPL", "completed"), ("MSFT", "pending")]
    assert {symbol for symbol, _, _ in stored(warehouse)} == {"AAPL"}


# Markets that must not meet


def test_simulated_rows_are_kept_out_of_real_data_and_the_other_way_round(
    warehouse: Warehouse,
) -> None:
    real, invented = FakeSource(week("AAPL")), FakeSource(week("XDADA"), name="sim", simulated=True)
    bring(warehouse, real, window("AAPL"))
    with pytest.raises(MixedMarketsError) as refused:
        bring(warehouse, invented, window("XDADA"))
    assert str(refused.value) == (
        "The warehouse holds rows of fake; loading sim would mix a simulated market with a real "
        "one. Use another data folder (QUANT_ASSETS_HOME), or say backfill --allow-mixing if "
        "that is what you want."
    )
    assert invented.asked == []
    assert {symbol for symbol, _, _ in stored(warehouse)} == {"AAPL"}
    bring(warehouse, invented, window("XDADA"), allow_mixing=True)
    assert {symbol for symbol, _, _ in stored(warehouse)} == {"AAPL", "XDADA"}


def test_real_rows_are_kept_out_of_a_simulated_market(warehouse: Warehouse) -> None:
    bring(warehouse, FakeSource(week("XDADA"), name="sim", simulated=True), window("XDADA"))
    with pytest.raises(MixedMarketsError, match="holds rows of sim; loading fake"):
        bring(warehouse, FakeSource(week("AAPL")), window("AAPL"))


# The summary


def test_the_report_adds_up_with_what_is_stored(warehouse: Warehouse) -> None:
    bring(warehouse, FakeSource(week("AAPL")[:2]), window("AAPL", end=TUESDAY))
    source = FakeSource(
        [
            bar("AAPL", TUESDAY, 11.0),
            *week("AAPL")[2:4],
            *week("MSFT")[:3],
            bar("MSFT", THURSDAY, 0.0),
        ],
        {"MSFT": [FRIDAY]},
        {"NVDA": "timed out"},
        notices=("one of its files could not be read",),
    )
    report = bring(warehouse, source, window("AAPL", "MSFT", "NVDA"), force=True)
    told = {
        s.symbol: (
            s.requested,
            s.inserted,
            s.revised,
            s.unchanged,
            s.quarantined,
            s.empty,
            s.failed,
        )
        for s in report.symbols
    }
    assert told == {
        "AAPL": (5, 2, 1, 0, 0, 0, 2),
        "MSFT": (5, 3, 0, 0, 1, 1, 0),
        "NVDA": (5, 0, 0, 0, 0, 0, 5),
    }
    counts = "requested, inserted, revised, unchanged, quarantined, empty, failed"
    run = f"run_id = '{report.run_id}'"
    by_symbol = query(
        warehouse, f"select symbol, {counts} from load_run_symbols where {run} order by 1"
    )
    assert {row[0]: row[1:] for row in by_symbol} == told
    [totals] = query(warehouse, f"select symbols, {counts} from load_runs where {run}")
    assert totals == (3, *(sum(column) for column in zip(*told.values(), strict=True)))
    assert totals[1:] == tuple(report.total(name) for name in counts.split(", "))
    assert [(s.first_session, s.last_session) for s in report.symbols] == [
        (TUESDAY, THURSDAY),
        (MONDAY, WEDNESDAY),
        (None, None),
    ]
    written = query(warehouse, f"select session, close from daily_prices where {run} order by all")
    assert len(written) == report.total("inserted") + report.total("revised") == 6
    assert report.notices == ("one of its files could not be read",)
    as_json = json.loads(report.to_json())
    assert as_json["totals"]["inserted"] == 5
    assert as_json["needs_attention"] is True


def test_progress_goes_from_what_is_settled_to_all(warehouse: Warehouse) -> None:
    source = FakeSource(week("AAPL") + week("MSFT"))
    bring(warehouse, source, window("AAPL"))
    seen: list[tuple[int, int]] = []
    bring(
        warehouse,
        source,
        window("AAPL", "MSFT"),
        on_progress=lambda done, total, what: seen.append((done, total)),
    )
    assert seen == [(1, 2), (2, 2)]


# Which company a symbol means

CEG = (
    KnownIdentity(
        "old", "CEG", dt.date(1996, 1, 2), dt.date(2012, 3, 13), "Constellation Group", None
    ),
    KnownIdentity("new", "CEG", dt.date(2022, 2, 2), None, "Constellation Corp", None),
)
SPLIT_WEEK = (
    KnownIdentity("first", "TKR", dt.date(2020, 1, 2), TUESDAY, "First Bearer", None),
    KnownIdentity("second", "TKR", THURSDAY, None, "Second Bearer", None),
)


def test_a_reused_ticker_of_a_source_that_speaks_todays_names_means_todays_company(
    warehouse: Warehouse,
) -> None:
    bring(warehouse, FakeSource(week("CEG")), window("CEG"), identities=CEG)
    assert query(
        warehouse,
        "select distinct s.name from daily_prices join securities s using (security_id)",
    ) == [("Constellation Corp",)]


def test_rows_of_a_symbol_that_names_nobody_are_quarantined_and_the_report_says_why(
    warehouse: Warehouse,
) -> None:
    # The first load of all: the plan can't know yet what the identities say.
    source = FakeSource([*week("CEG"), *week("AAPL")], names_on=dt.date(2015, 1, 2))
    report = bring(warehouse, source, window("AAPL", "CEG"), identities=CEG)
    assert {symbol for symbol, _, _ in stored(warehouse)} == {"AAPL"}
    assert query(warehouse, "select symbol, count(*) from quarantine group by 1") == [("CEG", 5)]
    refused = report.symbols[1]
    assert (refused.symbol, refused.inserted, refused.completeness) == ("CEG", 0, 0.0)
    assert "Constellation Group" in str(refused.error)
    assert "Constellation Corp" in str(refused.error)
    in_table = query(warehouse, "select error from load_run_symbols where symbol = 'CEG'")
    assert in_table == [(refused.error,)]


def test_no_security_is_made_up_for_a_symbol_that_brought_no_row(warehouse: Warehouse) -> None:
    # On the day whose names the source uses, neither of the two companies was called CEG.
    source = FakeSource(week("AAPL"), names_on=dt.date(2015, 1, 2))
    bring(warehouse, source, window("AAPL", "CEG"), identities=CEG)
    unnamed = query(warehouse, "select count(*) from securities where slug is null")
    assert unnamed == [(1,)]


@pytest.mark.parametrize("names_on", [None, FRIDAY])
def test_a_day_confirmed_empty_is_recorded_though_its_symbol_has_no_row_yet(
    warehouse: Warehouse, names_on: dt.date | None
) -> None:
    source = FakeSource(week("AAPL")[2:], empty={"AAPL": (MONDAY, TUESDAY)}, names_on=names_on)
    alone = bring(warehouse, source, window("AAPL", end=TUESDAY))
    assert [(each.empty, each.failed) for each in alone.symbols] == [(2, 0)]
    bring(warehouse, source, window("AAPL"))
    ledger = query(warehouse, "select session, outcome from symbol_day_ledger order by all")
    assert ledger == [(MONDAY, "empty"), (TUESDAY, "empty")]
    assert query(warehouse, "select count(*) from symbol_history") == [(1,)]


def test_fractions_of_a_coin_are_stored_and_a_restated_one_is_a_revision(
    warehouse: Warehouse,
) -> None:
    volumes = "select volume from daily_prices order by session"
    for volume in (0.35, 0.9):
        rows = [bar("BTC-USD", MONDAY, 10.0, volume=volume), bar("BTC-USD", TUESDAY, volume=12.75)]
        bring(warehouse, FakeSource(rows), window("BTC-USD", end=TUESDAY), force=True)
        assert query(warehouse, volumes) == [(volume,), (12.75,)]
    revised = query(warehouse, "select volume, difference from daily_prices_revisions")
    assert revised == [(0.35, "restatement")]


def test_an_amount_without_a_rate_into_the_prices_is_stored_and_noticed_once(
    warehouse: Warehouse,
) -> None:
    yen = [dividend("AAPL", day, 50.0) | {"currency": "JPY"} for day in (TUESDAY, FRIDAY)]
    source = FakeSource(week("AAPL"), actions=[*yen, dividend("AAPL", MONDAY, 0.5)])
    assert bring(warehouse, source, window("AAPL")).notices == (
        "AAPL paid 50 JPY a share on 2024-05-21 and 1 more time and is priced in USD: no rate "
        "is known, so total returns leave that out.",
    )
    paid = query(warehouse, "select amount, currency::varchar from corporate_actions order by all")
    assert paid == [(0.5, "USD"), (50.0, "JPY"), (50.0, "JPY")]
    assert bring(warehouse, source, window("AAPL"), force=True).notices == ()


def test_pence_and_pounds_are_no_notice(warehouse: Warehouse) -> None:
    rows = [row | {"currency": "GBX"} for row in week("AAPL")]
    paid = dividend("AAPL", TUESDAY, 0.05) | {"currency": "GBP"}
    assert bring(warehouse, FakeSource(rows, actions=[paid]), window("AAPL")).notices == ()


def test_a_dividend_in_an_unknown_currency_is_quarantined_and_the_prices_are_stored(
    warehouse: Warehouse,
) -> None:
    paid = dividend("AAPL", TUESDAY, 50.0) | {"currency": "XYZ"}
    report = bring(warehouse, FakeSource(week("AAPL"), actions=[paid]), window("AAPL"))
    assert [(each.inserted, each.quarantined, each.failed) for each in report.symbols] == [
        (5, 1, 0)
    ]
    assert query(warehouse, "select dataset, session, reason from quarantine") == [
        ("corporate_actions", "2024-05-21", "currency is none of tables.CURRENCIES")
    ]


def test_a_row_that_can_not_be_used_outweighs_a_confirmation_that_there_is_none(
    warehouse: Warehouse,
) -> None:
    bad = {"symbol": "AAPL", "session": str(MONDAY), "reason": "close can't be read", "raw": "{}"}
    source = FakeSource(week("AAPL")[1:], empty={"AAPL": (MONDAY,)}, unreadable=[bad])
    bring(warehouse, source, window("AAPL"))
    assert query(warehouse, "select outcome from symbol_day_ledger") == [("quarantined",)]


def test_a_ticker_that_changes_hands_within_the_window_is_told_apart_by_the_day(
    warehouse: Warehouse,
) -> None:
    source = FakeSource(week("TKR"), names_on=None)
    bring(warehouse, source, window("TKR"), identities=SPLIT_WEEK)
    by_company = query(
        warehouse,
        "select s.slug, p.session from daily_prices p "
        "join securities s using (security_id) order by 2",
    )
    assert by_company == [("first", MONDAY), ("second", THURSDAY), ("second", FRIDAY)]


def test_rows_of_days_between_two_bearers_are_quarantined_and_not_lost(
    warehouse: Warehouse,
) -> None:
    source = FakeSource(week("TKR"), names_on=None)
    report = bring(warehouse, source, window("TKR"), identities=SPLIT_WEEK)
    assert query(warehouse, "select session from quarantine order by 1") == [
        ("2024-05-21",),
        ("2024-05-22",),
    ]
    assert (report.total("inserted"), report.total("quarantined")) == (3, 2)


def simulated() -> SimulatedMarket:
    return SimulatedMarket(XNYS, dt.date(2023, 1, 3), dt.date(2023, 12, 29))


def by_slug(warehouse: Warehouse, *slugs: str) -> list[tuple[object, ...]]:
    return query(
        warehouse,
        "select s.slug, min(p.session), max(p.session), count(*) from daily_prices p "
        f"join securities s using (security_id) where s.slug in {slugs} group by 1 order by 1",
    )


def test_a_reused_tickers_rows_land_on_the_right_securities(warehouse: Warehouse) -> None:
    market = simulated()
    wanted = Window(("XDAFI",), market.start, market.end)
    report = bring(warehouse, market, wanted, identities=market.fetch_universe().names)
    assert by_slug(warehouse, "sim_0008", "sim_0009") == [
        ("sim_0008", dt.date(2023, 1, 3), dt.date(2023, 5, 8), 87),
        ("sim_0009", dt.date(2023, 8, 7), dt.date(2023, 12, 29), 102),
    ]
    assert (report.total("inserted"), report.total("failed")) == (189, 0)
    again = bring(warehouse, market, wanted, identities=market.fetch_universe().names)
    assert (again.symbols, again.up_to_date) == ((), 1)


@pytest.mark.parametrize("symbol", ["XDAFU", "ZDAFU"])
def test_a_renamed_companys_rows_land_on_one_security_by_either_name(
    warehouse: Warehouse, symbol: str
) -> None:
    market = simulated()
    names = market.fetch_universe().names
    report = bring(warehouse, market, Window((symbol,), market.start, market.end), identities=names)
    assert by_slug(warehouse, "sim_0010", "none") == [
        ("sim_0010", dt.date(2023, 1, 3), dt.date(2023, 12, 29), 250)
    ]
    assert report.total("inserted") == 250
    # By its other name the same company is there already.
    other = Window(("XDAFU", "ZDAFU"), market.start, market.end)
    assert bring(warehouse, market, other, identities=names).up_to_date == 2


def test_both_names_of_a_company_can_be_asked_for_in_one_load(warehouse: Warehouse) -> None:
    market = simulated()
    wanted = Window(market.symbols(), market.start, market.end)
    names = market.fetch_universe().names
    report = bring(warehouse, market, wanted, identities=names)
    assert by_slug(warehouse, "sim_0010", "none") == [
        ("sim_0010", dt.date(2023, 1, 3), dt.date(2023, 12, 29), 250)
    ]
    [(rows,)] = query(warehouse, "select count(*) from daily_prices")
    assert report.total("inserted") == rows
    assert report.total("failed") == 0
    assert bring(warehouse, market, wanted, identities=names).up_to_date == len(wanted.symbols)


def test_an_unknown_symbol_of_the_market_fails_alone(warehouse: Warehouse) -> None:
    market = simulated()
    report = bring(warehouse, market, Window(("NVDA", "XDADA"), market.start, market.end))
    [nvda, other] = report.symbols
    assert nvda.error == str(UnknownSymbolAtSource("simulated", "NVDA"))
    assert (other.inserted, other.failed) == (250, 0)
