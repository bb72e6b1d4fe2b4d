"""Requests for members and former members, and records of delistings (U4, P17).

Against the stand-in for Yahoo where its answers matter, else against rows written like a load's.
"""

from __future__ import annotations

import datetime as dt
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from quant_assets.health.status import warehouse_status
from quant_assets.loading.report import LoadReport
from quant_assets.loading.work import Asking
from quant_assets.reference.calendars import Calendar
from quant_assets.refreshing.steps import open_steps, refresh_steps
from quant_assets.securities.delistings import note_delistings
from quant_assets.warehouse.warehouse import Warehouse
from quant_assets_tests.loading.test_live_loads import FRI, MON, THU, TUE, WED, XNYS, Desk, Row
from quant_assets_tests.standins.yahoo_listings import Listing
from quant_assets_tests.standins.yahoo_standin import StandIn

NAMES = ("AAA", "BBB")
BAR = (9.0, 9.5, 8.5, 9.0, 100)
SPRING = XNYS.between(dt.date(2024, 5, 1), dt.date(2024, 7, 31))
SIXTH = dt.date(2024, 6, 6)
"""The sixth session after Wednesday, the last on which AAA trades."""


def traded(symbol: str, until: dt.date) -> Listing:
    return Listing.of(symbol, *((day, *BAR) for day in SPRING if day <= until))


@pytest.fixture
def yahoo() -> Iterator[StandIn]:
    with StandIn([traded("AAA", WED), traded("BBB", SPRING[-1])]) as standin:
        yield standin


@pytest.fixture(scope="module")
def wednesday(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder on Wednesday night: of two members AAA leaves before the next open."""
    home = tmp_path_factory.mktemp("wednesday")
    with StandIn([traded(symbol, SPRING[-1]) for symbol in NAMES]) as yahoo:
        desk = Desk(home, yahoo)
        desk.evening(WED, *NAMES, start=dt.date(2024, 5, 24))
        member(desk.platform.warehouse, 1, removed_on=THU)
        member(desk.platform.warehouse, 2)
    return home


@pytest.fixture
def desk(wednesday: Path, tmp_path: Path, yahoo: StandIn) -> Desk:
    return Desk(Path(shutil.copytree(wednesday, tmp_path / "data")), yahoo)


def write(warehouse: Warehouse, table: str, **values: object) -> None:
    """One row, its times filled in."""
    with warehouse.writing(str(uuid.uuid4())) as writing:
        values = {"created_at": writing.now, "updated_at": writing.now, **values}
        writing.con.execute(
            f"insert into {table} by name select "
            + ", ".join(f"${name} as {name}" for name in values),
            values,
        )


def member(
    warehouse: Warehouse,
    security: int,
    universe: str = "sp500",
    removed_on: dt.date | None = None,
    since: dt.date = dt.date(2020, 1, 2),
) -> None:
    with warehouse.reading() as con:
        known = con.execute("select 1 from universes where universe = ?", [universe]).fetchall()
    if not known:
        write(warehouse, "universes", universe=universe, source="a list")
    write(
        warehouse,
        "universe_membership",
        universe=universe,
        security_id=security,
        effective_on=since,
        removed_on=removed_on,
        symbol="X",
        source="a list",
        detected_at=dt.datetime(2024, 5, 1),  # noqa: DTZ001 - as stored
    )


def night(desk: Desk, day: dt.date) -> list[LoadReport]:
    desk.clock.set(day)
    return desk.run(refresh_steps(desk.platform), asking=Asking(heed_tasks=True))


def wanted(desk: Desk, day: dt.date) -> list[str]:
    """Whom a night would ask for."""
    desk.clock.set(day)
    return [symbol for step in refresh_steps(desk.platform) for symbol in step.window.symbols]


RECORD = "select symbol, last_session, reason, terminal_value, currency, source from delistings"
NAMED = "select symbol, valid_to, delisted_on from symbol_history join securities"
NAMED += " using (security_id) where symbol = 'AAA'"


# Requests


def test_a_former_member_is_requested_once_more_after_six_sessions_and_then_never(
    desk: Desk,
) -> None:
    night(desk, THU)
    assert desk.asked() == ["BBB"]
    assert wanted(desk, dt.date(2024, 6, 5)) == ["BBB"]
    [_, last_look] = night(desk, SIXTH)
    assert desk.asked() == ["BBB", "AAA"]
    assert last_look.total("empty") == 6
    assert desk.query(RECORD) == [("AAA", WED, "unknown", None, "USD", "yahoo")]
    assert desk.query(NAMED) == [("AAA", THU, THU)]
    assert wanted(desk, dt.date(2024, 6, 7)) == ["BBB"]
    assert open_steps(desk.platform, given_up=True) == []
    [row] = warehouse_status(desk.platform.warehouse)["delistings"]
    assert (row["symbol"], row["last_session"], row["reason"]) == ("AAA", WED, "unknown")


def test_a_delisted_security_that_trades_again_is_taken_off_the_record(
    desk: Desk, yahoo: StandIn
) -> None:
    night(desk, SIXTH)
    desk.asked()
    friday = dt.date(2024, 6, 7)
    days = [*(day for day in SPRING if day <= WED), friday]
    yahoo.listings["AAA"] = Listing.of("AAA", *((day, *BAR) for day in days))
    desk.evening(friday, "AAA")
    assert desk.asked() == ["AAA"]
    assert max(desk.rows("AAA")) == friday
    assert desk.query(RECORD) == []
    moved = "select symbol, last_session, difference from delistings_revisions"
    assert desk.query(moved) == [("AAA", WED, "relisted")]
    assert desk.query(NAMED) == [("AAA", None, None)]


def test_a_symbol_the_source_no_longer_knows_is_given_up_and_no_record_made(
    desk: Desk, yahoo: StandIn
) -> None:
    del yahoo.listings["AAA"]
    night(desk, SIXTH)
    assert desk.asked() == ["BBB", "AAA"]
    assert desk.tasks()["AAA"] == ("failed", 1)
    assert wanted(desk, dt.date(2024, 6, 7)) == ["BBB", "AAA"]
    with desk.platform.warehouse.writing(str(uuid.uuid4())) as writing:
        writing.con.execute("update load_tasks set attempts = 4 where symbol = 'AAA'")
    desk.clock.set(dt.date(2024, 6, 10))
    desk.run(open_steps(desk.platform), asking=Asking(heed_tasks=True))
    assert desk.asked() == ["AAA"]
    assert wanted(desk, dt.date(2024, 6, 11)) == ["BBB"]
    assert desk.query(RECORD) == []
    [row] = warehouse_status(desk.platform.warehouse)["possibly_delisted"]
    assert (row["symbol"], row["last_session"], row["attempts"]) == ("AAA", WED, 5)


def test_the_nightly_refresh_requests_members_and_whatever_has_prices(desk: Desk) -> None:
    def asked() -> list[tuple[str, dt.date, dt.date]]:
        return [
            (symbol, step.window.starts[symbol], step.window.end)
            for step in refresh_steps(desk.platform)
            for symbol in step.window.symbols
        ]

    desk.clock.set(FRI)
    opening = SPRING[0]
    assert asked() == [("BBB", opening, FRI)]
    warehouse = desk.platform.warehouse
    for security, symbol in ((3, "NEW"), (4, "SOON"), (5, "OWN"), (6, "GONE")):
        write(warehouse, "securities", security_id=security, type="stock", exchange="XNYS",
              currency="USD", delisted_on=THU if symbol == "GONE" else None)  # fmt: skip
        write(warehouse, "symbol_history", symbol=symbol, valid_from=opening, security_id=security,
              source="a list")  # fmt: skip
    member(warehouse, 3)
    member(warehouse, 4, since=MON)
    member(warehouse, 5, "mine")
    member(warehouse, 6)
    year = FRI - dt.timedelta(days=365)
    # A new member as far back as its fellows; one of a universe without any prices a year.
    expected = [("OWN", year, FRI), ("BBB", opening, FRI), ("NEW", opening, FRI)]
    assert sorted(asked()) == sorted(expected)
    desk.clock.set(MON)
    assert ("SOON", opening, MON) in asked()
    [named] = refresh_steps(desk.platform, symbols=("AAA", "GONE"), full=True)
    assert (named.window.symbols, named.window.starts["AAA"]) == (("AAA", "GONE"), opening)
    assert named.force is True
    [universe] = refresh_steps(desk.platform, universe="mine")
    assert universe.window.symbols == ("OWN",)


def test_a_member_is_requested_until_its_announced_removal(desk: Desk) -> None:
    with desk.platform.warehouse.writing(str(uuid.uuid4())) as writing:
        writing.con.execute("update universe_membership set removed_on = ?"
                            " where security_id = 1", [TUE])  # fmt: skip
    desk.clock.set(MON)
    assert refresh_steps(desk.platform)[0].window.symbols == ("AAA", "BBB")
    desk.clock.set(TUE)
    assert refresh_steps(desk.platform)[0].window.symbols == ("BBB",)


# What is on record

QUIET = XNYS.between(THU, dt.date(2024, 6, 5))
"""The five sessions after Wednesday."""


@pytest.fixture
def quiet(warehouse: Warehouse) -> Warehouse:
    """Two securities until Wednesday; the second traded on, the first one is not reported again."""
    warehouse.migrate()
    for number, symbol, days in ((1, "AAA", [WED]), (2, "BBB", [WED, *QUIET])):
        write(warehouse, "securities", security_id=number, type="stock", exchange="XNYS",
              currency="USD")  # fmt: skip
        write(warehouse, "symbol_history", symbol=symbol, valid_from=dt.date(2020, 1, 2),
              security_id=number, source="yahoo")  # fmt: skip
        for day in days:
            row = {"open": 9.0, "high": 9.0, "low": 9.0, "close": 9.0, "volume": 1, "basis_on": day}
            write(warehouse, "daily_prices", security_id=number, session=day, source="yahoo",
                  currency="USD", provisional=False, fetched_at=MIDNIGHT, run_id=uuid.uuid4(),
                  **row)  # fmt: skip
    return warehouse


MIDNIGHT = dt.datetime(2024, 6, 6)  # noqa: DTZ001 - as stored


def report_no_trade(
    warehouse: Warehouse, *days: dt.date, reason: str = f"no trade since {WED}"
) -> None:
    for day in days:
        write(warehouse, "symbol_day_ledger", dataset="daily_prices", security_id=1, session=day,
              source="yahoo", outcome="empty", reason=reason, asked_at=MIDNIGHT,
              run_id=uuid.uuid4())  # fmt: skip


def noted(warehouse: Warehouse, calendar: Calendar) -> tuple[str, ...]:
    with warehouse.writing(str(uuid.uuid4())) as writing:
        return note_delistings(writing, calendar, "yahoo", {1, 2})


def records(warehouse: Warehouse) -> list[Row]:
    with warehouse.reading() as con:
        found: list[Row] = con.execute(RECORD).fetchall()
    return found


def test_five_sessions_without_a_trade_are_a_delisting_and_four_are_not(
    quiet: Warehouse, calendar: Calendar
) -> None:
    report_no_trade(quiet, *QUIET[:4])
    assert noted(quiet, calendar) == ()
    assert records(quiet) == []
    report_no_trade(quiet, QUIET[4])
    noted(quiet, calendar)
    assert records(quiet) == [("AAA", WED, "unknown", None, "USD", "yahoo")]
    noted(quiet, calendar)
    assert len(records(quiet)) == 1


def test_other_reasons_and_sessions_without_any_trade_prove_nothing(
    quiet: Warehouse, calendar: Calendar
) -> None:
    report_no_trade(quiet, *QUIET, reason="Yahoo: Data doesn't exist for startDate")
    noted(quiet, calendar)
    assert records(quiet) == []
    with quiet.writing(str(uuid.uuid4())) as writing:
        writing.con.execute("delete from symbol_day_ledger")
        writing.con.execute("delete from daily_prices where session > ?", [MON])
    report_no_trade(quiet, *QUIET)
    noted(quiet, calendar)
    assert records(quiet) == []


def test_a_member_that_stopped_trading_is_reported_and_not_called_delisted(
    quiet: Warehouse, calendar: Calendar
) -> None:
    report_no_trade(quiet, *QUIET)
    member(quiet, 1, since=dt.date(2024, 1, 2))
    assert noted(quiet, calendar) == (
        "AAA is a member of a universe and has not traded since 2024-05-29, yahoo says.",
    )
    assert records(quiet) == []


def change(reason: str | None, on: dt.date, number: int) -> dict[str, Any]:
    return {
        "change_id": number,
        "universe": "sp500",
        "kind": "removed",
        "security_id": 1,
        "symbol": "AAA",
        "effective_on": on,
        "detected_at": MIDNIGHT,
        "source": "a list",
        "reason": reason,
        "run_id": uuid.uuid4(),
    }


def test_reason_and_terminal_value_are_those_nearest_to_the_end(
    quiet: Warehouse, calendar: Calendar
) -> None:
    report_no_trade(quiet, *QUIET)
    member(quiet, 1, removed_on=THU)
    member(quiet, 1, "mine")  # which knows nothing of it
    for number, (reason, day) in enumerate(
        [("Too small.", dt.date(2024, 5, 1)), ("Bought by BBB.", THU), (None, WED)]
    ):
        write(quiet, "membership_changes", **change(reason, day, number))
    write(quiet, "corporate_actions", security_id=1, ex_date=THU, kind="merger_terms",
          source="sec", amount=12.5, currency="USD", basis_on=THU, kind_by="filing",
          fetched_at=MIDNIGHT, run_id=uuid.uuid4())  # fmt: skip
    noted(quiet, calendar)
    assert records(quiet) == [("AAA", WED, "Bought by BBB.", 12.5, "USD", "yahoo")]


def test_a_ticker_that_was_taken_meanwhile_is_not_given_back(
    quiet: Warehouse, calendar: Calendar
) -> None:
    report_no_trade(quiet, *QUIET)
    noted(quiet, calendar)
    write(quiet, "symbol_history", symbol="AAA", valid_from=MON, security_id=2, source="a list")
    with quiet.writing(str(uuid.uuid4())) as writing:
        # It trades again after all.
        writing.con.execute("update daily_prices set security_id = 1 where session = ?", [TUE])
    noted(quiet, calendar)
    assert records(quiet) == []
    with quiet.reading() as con:
        assert con.execute(f"{NAMED} order by valid_from").fetchall() == [
            ("AAA", THU, None),
            ("AAA", None, None),
        ]
