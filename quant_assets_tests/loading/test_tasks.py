"""The life of a load task (L4, properties 12 and 13)."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quant_assets.contracts.source import SourceProfile
from quant_assets.loading.pending import Pending
from quant_assets.loading.tasks import (
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


LEADS = {
    "pending": {
        "plan": "pending",
        "begin": "in_progress",
        "complete": "completed",
        "fail": "failed",
        "limit": "rate_limited",
        "put back": "pending",
    },
    "in_progress": {
        "plan": "pending",
        "begin": "in_progress",
        "complete": "completed",
        "fail": "failed",
        "limit": "rate_limited",
        "put back": "pending",
    },
    "completed": {"plan": "pending", "put back": "completed"},
    "failed": {"plan": "pending", "put back": "failed"},
    "rate_limited": {"plan": "pending", "put back": "rate_limited"},
}
"""Where each state leads, written down apart from the code; whatever is missing is refused."""


@given(st.lists(st.sampled_from(sorted(DONE_TO_IT)), max_size=30))
def test_a_task_only_ever_goes_where_its_state_leads(doings: list[str]) -> None:
    """Property 12: task state transitions. Caught: a completed task that fails; a failed one that
    is begun without being planned; a stopped one that stays in progress.
    """
    task, failures = TASK, 0
    for doing in doings:
        leads = LEADS[task.state].get(doing)
        if leads is None:
            with pytest.raises(TaskStateError):
                DONE_TO_IT[doing](task)
            continue
        task = DONE_TO_IT[doing](task)
        failures = 0 if doing == "complete" else failures + (doing == "fail")
        assert (task.state, task.attempts) == (leads, failures)
        assert (task.start_session, task.end_session) == (MONDAY, FRIDAY)
        assert (task.retry_at is not None) >= (task.state == "rate_limited")
        assert (task.error is not None) >= (task.state in ("failed", "rate_limited"))
    assert set(LEADS) == set(TASK_STATES)


PROFILE = SourceProfile("yahoo")


@given(
    st.lists(
        st.sampled_from(["fails", "fails", "fails", "is limited", "succeeds", "has a new session"]),
        max_size=40,
    )
)
def test_a_symbol_is_asked_for_five_failures_in_a_row_and_no_sixth(evenings: list[str]) -> None:
    """Property 13: retry limit. Caught: a sixth attempt; a limit counted as an attempt; failures
    before a success counted with those after it.
    """
    task, failures, end, now = TASK, 0, FRIDAY, NOON
    for happens in evenings:
        now += dt.timedelta(days=1)
        if happens == "has a new session":
            end += dt.timedelta(days=7)
            failures = 0
        planned = task.planned(MONDAY, end, "normal")
        known = Pending("daily_prices", PROFILE, {"AAPL": task})
        left = known.left_alone({"AAPL": planned}, now.replace(tzinfo=dt.UTC))
        assert bool(left) == (failures >= 5), (happens, failures)
        if left:
            assert left["AAPL"].startswith(f"given up after {failures} attempts")
            continue
        if happens == "is limited":
            task = planned.limited("limited", now)
        elif happens == "succeeds":
            task, failures = planned.completed(), 0
        else:
            task, failures = planned.failed("no answer"), failures + 1
        assert task.given_up == (failures >= 5)
        assert task.open == (task.unfinished and failures < 5)


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
