"""The rules of the evening: the session expected, the symbols that lack it, the next request."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pytest

from quant_assets.loading.tasks import Task, write_tasks
from quant_assets.reference.calendars import Calendar
from quant_assets.refreshing.nightly import (
    SessionCoverage,
    evening_of,
    expected_session,
    retries,
    session_after,
    session_coverage,
)
from quant_assets.schema.loads import LEDGER
from quant_assets.schema.prices import DAILY_PRICES
from quant_assets_tests.standins.evening import (
    FRI,
    MON,
    RUN,
    THU,
    World,
    copied,
    new_york,
    thursday_night,
)

EVENING = new_york(FRI, "19:00")
TASK = Task("daily_prices", "yahoo", "AAA", FRI, FRI)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return thursday_night(tmp_path_factory.mktemp("thursday"))


@pytest.fixture
def world(prepared: Path, tmp_path: Path) -> Iterator[World]:
    yield from copied(prepared, tmp_path)


@pytest.mark.parametrize(
    ("now", "session"),
    [
        pytest.param("2024-05-31T15:59-04:00", "2024-05-30", id="while it trades"),
        pytest.param("2024-05-31T16:30-04:00", "2024-05-30", id="closed, its evening to come"),
        pytest.param("2024-05-31T18:29-04:00", "2024-05-30", id="a minute before"),
        pytest.param("2024-05-31T18:30-04:00", "2024-05-31", id="its evening"),
        pytest.param("2024-06-01T12:00-04:00", "2024-05-31", id="the Saturday after"),
        pytest.param("2024-06-03T18:29-04:00", "2024-05-31", id="until Monday evening"),
        pytest.param("2024-05-28T12:00-04:00", "2024-05-24", id="after a long weekend"),
        pytest.param("2024-07-03T14:00-04:00", "2024-07-02", id="an early close, too early"),
        pytest.param("2024-07-03T18:30-04:00", "2024-07-03", id="an early close"),
        pytest.param("2024-07-04T18:30-04:00", "2024-07-03", id="a holiday"),
        pytest.param("2024-03-08T23:29+00:00", "2024-03-07", id="winter time"),
        pytest.param("2024-03-08T23:30+00:00", "2024-03-08", id="the last evening of winter time"),
        pytest.param("2024-03-11T22:30+00:00", "2024-03-11", id="the first of summer time"),
        pytest.param("2024-11-04T22:30+00:00", "2024-11-01", id="winter time again, too early"),
        pytest.param("2024-11-04T23:30+00:00", "2024-11-04", id="winter time again"),
    ],
)
def test_a_session_is_expected_from_half_past_six_in_new_york(
    calendar: Calendar, now: str, session: str
) -> None:
    found = expected_session(calendar, dt.datetime.fromisoformat(now))
    assert found == dt.date.fromisoformat(session)


def test_an_evening_is_a_moment_and_the_next_session_a_day(calendar: Calendar) -> None:
    assert evening_of(FRI) == dt.datetime(2024, 5, 31, 22, 30, tzinfo=dt.UTC)
    assert session_after(calendar, FRI) == session_after(calendar, dt.date(2024, 6, 1)) == MON


def test_which_symbols_lack_a_session_is_read_off_the_data(world: World) -> None:
    assert session_coverage(world.platform, DAILY_PRICES, THU) == SessionCoverage(THU, present=3)
    found = session_coverage(world.platform, DAILY_PRICES, FRI)
    assert found.lacking == {symbol: _completed(symbol) for symbol in ("AAA", "BBB", "CCC")}
    assert found.to_request(EVENING) == ("AAA", "BBB", "CCC")
    world.load("AAA", "CCC", end=FRI)
    assert (
        session_coverage(world.platform, DAILY_PRICES, FRI).describe()
        == "1 of 3 symbols lack 2024-05-31: BBB."
    )


def _completed(symbol: str) -> Task:
    first = dt.date(2024, 5, 28)
    return Task("daily_prices", "yahoo", symbol, first, THU, "completed")


def test_what_the_source_confirms_to_be_empty_lacks_nothing(world: World) -> None:
    row = {"dataset": DAILY_PRICES.name, "security_id": 1, "session": FRI, "source": "yahoo"}
    row |= {"outcome": "empty", "reason": "no trade that day", "run_id": RUN}
    world.load("BBB", "CCC", end=FRI)
    world.write(LEDGER, row | {"asked_at": EVENING.replace(tzinfo=None)})
    found = session_coverage(world.platform, DAILY_PRICES, FRI)
    assert (found.present, found.empty, found.complete) == (2, 1, True)


def test_a_task_decides_which_symbols_are_to_be_requested() -> None:
    later = EVENING.replace(tzinfo=None) + dt.timedelta(minutes=5)
    lacking = {
        "NEVER": None,
        "YESTERDAY": Task("daily_prices", "yahoo", "YESTERDAY", THU, THU, "failed", 5),
        "FAILED": Task("daily_prices", "yahoo", "FAILED", FRI, FRI, "failed", 1),
        "GIVEN": Task("daily_prices", "yahoo", "GIVEN", FRI, FRI, "failed", 5),
        "LEFT": Task("daily_prices", "yahoo", "LEFT", FRI, FRI, "pending"),
        "ARCHIVE": None,
        "HELD": TASK.begun().limited("lags", later),
    }
    found = SessionCoverage(FRI, 3, 1, lacking, frozenset({"ARCHIVE"}))
    assert found.to_request(EVENING) == ("NEVER", "YESTERDAY", "LEFT")
    assert found.waiting_until(EVENING) == later
    then = EVENING + dt.timedelta(minutes=5)
    assert found.to_request(then) == ("NEVER", "YESTERDAY", "LEFT", "HELD")
    assert found.waiting_until(then) is None
    assert (found.symbols, found.complete) == (11, False)


def test_a_time_that_a_clock_stored_which_ran_ahead_holds_nobody() -> None:
    """A source is left alone for an hour at most."""
    within = EVENING.replace(tzinfo=None) + dt.timedelta(hours=1)
    ahead = within + dt.timedelta(days=700)
    lacking = {
        "SOON": TASK.begun().limited("lags", within),
        "AHEAD": TASK.begun().limited("lags", ahead),
    }
    found = SessionCoverage(FRI, 3, 1, lacking)
    assert found.to_request(EVENING) == ("AHEAD",)
    assert found.waiting_until(EVENING) == within


def test_a_failure_of_a_day_to_come_is_tried_again_at_once(world: World) -> None:
    with world.platform.warehouse.writing(RUN) as writing:
        write_tasks(writing, [TASK.begun().failed("no answer")])
        writing.con.execute("update load_tasks set updated_at = updated_at + interval 2 years")
    found = retries(world.platform, DAILY_PRICES, EVENING)
    assert ([task.symbol for task in found.due], found.waiting) == ([TASK.symbol], 0)


def test_a_sentence_names_twenty_and_counts_the_rest() -> None:
    many = {f"S{number:02}": None for number in range(25)}
    assert SessionCoverage(FRI, lacking=many).describe() == (
        "25 of 25 symbols lack 2024-05-31: S00, S01, S02, S03, S04, S05, S06, S07, S08, S09, S10, "
        "S11, S12, S13, S14, S15, S16, S17, S18, S19 and 5 more."
    )
    assert not SessionCoverage(FRI).complete


def test_an_archive_that_is_not_kept_up_is_not_requested_at_night(world: World) -> None:
    with world.platform.warehouse.writing(RUN) as writing:
        writing.con.execute("update daily_prices set source = 'files:old'")
    coverage = session_coverage(world.platform, DAILY_PRICES, FRI)
    assert coverage.to_request(EVENING) == ("AAA", "BBB", "CCC")
    months_later = dt.date(2024, 8, 30)
    world.now = new_york(months_later, "19:00")
    assert session_coverage(world.platform, DAILY_PRICES, months_later).to_request(world.now) == ()


def test_retries_are_kept_apart_from_what_waits_and_what_was_given_up(world: World) -> None:
    world.task("AAA", "failed", attempts=1)
    world.task("BBB", "failed", attempts=2)
    world.task("CCC", "failed", attempts=5)
    found = retries(world.platform, DAILY_PRICES, world.now + dt.timedelta(minutes=20))
    assert [task.symbol for task in found.due] == ["AAA"]
    assert (found.waiting, found.given_up) == (1, ("CCC",))
