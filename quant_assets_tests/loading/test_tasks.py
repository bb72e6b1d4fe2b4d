"""The life of a load task (L4, properties 12 and 13)."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quant_assets.loading.tasks import (
    FOLLOWS,
    MOST_ATTEMPTS,
    Task,
    TaskStateError,
    read_tasks,
    withdraw_of_former_tickers,
    write_tasks,
)
from quant_assets.schema.loads import TASK_STATES
from quant_assets.securities.register import Register
from quant_assets.warehouse.warehouse import Warehouse

RUN = "00000000-0000-0000-0000-000000000001"
MONDAY, FRIDAY = dt.date(2024, 6, 3), dt.date(2024, 6, 7)
NOON = dt.datetime.fromisoformat("2024-06-08T12:00")
TASK = Task("daily_prices", "yahoo", "AAPL", MONDAY, FRIDAY)

DONE_TO_IT = {
    "plan": lambda task: task.planned(MONDAY, FRIDAY, "normal"),
    "begin": lambda task: task.begun(),
    "complete": lambda task: task.completed(),
    "fail": lambda task: task.failed("down"),
    "limit": lambda task: task.limited("limited", NOON),
    "put back": lambda task: task.put_back(),
}


@given(st.lists(st.sampled_from(sorted(DONE_TO_IT)), max_size=30))
def test_a_task_only_ever_goes_where_its_state_leads(doings: list[str]) -> None:
    """Property 12."""
    task = TASK
    for doing in doings:
        before = task
        try:
            task = DONE_TO_IT[doing](task)
        except TaskStateError:
            assert task is before
            continue
        passed = (
            {before.state, "in_progress"}
            if doing in ("complete", "fail", "limit")
            else {before.state}
        )
        assert task.state == before.state or any(task.state in FOLLOWS[state] for state in passed)
    assert task.state in TASK_STATES


@given(st.integers(min_value=1, max_value=12))
def test_five_failures_in_a_row_are_the_last(failures: int) -> None:
    """Property 13."""
    task = TASK
    for _ in range(failures):
        task = task.planned(MONDAY, FRIDAY, "normal").failed("no answer")
    assert task.attempts == failures
    assert task.given_up == (failures >= MOST_ATTEMPTS)
    assert task.open != task.given_up


def test_a_success_forgets_the_failures_before_it() -> None:
    task = TASK.failed("down").planned(MONDAY, FRIDAY, "normal").completed()
    assert (task.state, task.attempts, task.error, task.open) == ("completed", 0, None, False)


def test_a_new_session_starts_the_attempts_anew() -> None:
    task = TASK
    for _ in range(5):
        task = task.planned(MONDAY, FRIDAY, "normal").failed("no row of Tuesday")
    assert task.given_up
    assert task.planned(MONDAY, FRIDAY, "normal").attempts == 5
    again = task.planned(MONDAY, dt.date(2024, 6, 10), "normal")
    assert (again.state, again.attempts) == ("pending", 0)


def test_what_another_load_has_brought_is_completed() -> None:
    for task in (TASK, TASK.begun(), TASK.failed("down"), TASK.limited("limited", NOON)):
        assert task.fulfilled() == TASK.completed()


def test_being_turned_away_is_no_failure_of_the_symbol() -> None:
    task = TASK.limited("yahoo limits our requests", NOON)
    assert (task.state, task.attempts, task.open) == ("rate_limited", 0, True)
    assert task.waits(NOON - dt.timedelta(seconds=1))
    assert not task.waits(NOON)


def test_what_was_being_asked_for_is_put_back() -> None:
    assert TASK.begun().put_back() == TASK
    assert TASK.completed().put_back().state == "completed"


def test_a_completed_task_cannot_fail_without_being_planned_again() -> None:
    with pytest.raises(
        TaskStateError, match="AAPL at yahoo is completed, and from there goes to pe"
    ):
        TASK.completed().failed("late")


def test_tasks_are_kept_as_they_are(warehouse: Warehouse) -> None:
    tasks = [
        TASK.limited("limited", NOON),
        Task("daily_prices", "yahoo", "MSFT", MONDAY, FRIDAY, priority="high").failed("down"),
        Task("daily_prices", "simulated", "AAPL", MONDAY, FRIDAY).completed(),
    ]
    with warehouse.writing(RUN) as writing:
        write_tasks(writing, tasks)
        write_tasks(writing, [TASK.completed()])
    with warehouse.reading() as con:
        assert read_tasks(con, "daily_prices") == {
            ("yahoo", "AAPL"): TASK.completed(),
            ("yahoo", "MSFT"): tasks[1],
            ("simulated", "AAPL"): tasks[2],
        }
        assert set(read_tasks(con, "daily_prices", "simulated")) == {("simulated", "AAPL")}
        assert read_tasks(con, "fundamentals") == {}


def test_days_since_a_company_has_another_ticker_are_not_asked_for_under_the_former(
    warehouse: Warehouse,
) -> None:
    with warehouse.writing(RUN) as writing:
        register = Register.read(writing.con, (), "a list")
        for symbol in ("FB", "GONE", "MSFT"):
            register.security_on(symbol, MONDAY)
        register.rename(register.security_on("FB", MONDAY), "META", FRIDAY)
        # Another company took this ticker.
        register.add_successor("GONE", FRIDAY)
        register.write(writing)
        wanted = (("FB", FRIDAY), ("FB", MONDAY), ("GONE", FRIDAY), ("MSFT", FRIDAY))
        tasks = [
            Task("daily_prices", f"source of {start}", symbol, start, FRIDAY).failed("late")
            for symbol, start in wanted
        ]
        write_tasks(writing, tasks)
        withdraw_of_former_tickers(writing)
        left = read_tasks(writing.con, "daily_prices")
    assert sorted((symbol, task.start_session) for (_, symbol), task in left.items()) == [
        ("FB", MONDAY),
        ("GONE", FRIDAY),
        ("MSFT", FRIDAY),
    ]
