"""The commands that keep prices up to date, as a user types them, against a stand-in for Yahoo.

They go by the time of day: what is due is counted from the last session that has closed. What a
load leaves in the warehouse is in ``test_live_loads.py``.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from quant_assets.cli.app import app
from quant_assets.cli.exits import ATTENTION, DONE, USAGE
from quant_assets.reference.calendars import exchange_calendar
from quant_assets.warehouse.warehouse import Warehouse
from quant_assets.warehouse.writer_lock import utc_now
from quant_assets_tests.standins.yahoo_listings import CHART, Listing, Reply, invented_market
from quant_assets_tests.standins.yahoo_misbehaviours import (
    empty,
    without_events,
    without_session,
    words,
)
from quant_assets_tests.standins.yahoo_standin import StandIn

ROOT = Path(__file__).parents[2]
XNYS = exchange_calendar("XNYS")
LAST = XNYS.last_closed_session(utc_now())
BEFORE = XNYS.between(LAST - dt.timedelta(days=10), LAST)[-2]
NAMES = ("AAA", "BBB", "CCC")


class Shell:
    """A data folder, and the command line over it with Yahoo at the stand-in."""

    def __init__(self, folder: Path, yahoo: StandIn) -> None:
        self.folder, self.yahoo = folder, yahoo
        self.environment = {
            "QUANT_ASSETS_HOME": str(folder),
            "QUANT_ASSETS_YAHOO_URL": yahoo.url,
            "QUANT_ASSETS_YAHOO__MIN_DELAY_SECONDS": "0",
            "QUANT_ASSETS_YAHOO__IN_FLIGHT": "1",
            "COLUMNS": "200",
        }

    def __call__(self, *words: str, env: Mapping[str, str] | None = None) -> Result:
        return CliRunner().invoke(app, list(words), env={**self.environment, **(env or {})})

    def json(self, *words: str) -> tuple[int, Any]:
        """How a command ended, and the JSON it printed."""
        result = self(*words, "--json")
        return result.exit_code, json.loads(result.stdout)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with Warehouse(self.folder / "warehouse.duckdb").reading() as con:
            return con.execute(sql).fetchall()

    def requested(self) -> list[str | None]:
        return [each.symbol for each in self.yahoo.requests if each.path.startswith(CHART)]


@pytest.fixture
def yahoo() -> Iterator[StandIn]:
    with StandIn(invented_market(NAMES, 1.2, utc_now().date())) as standin:
        yield standin


@pytest.fixture
def shell(tmp_path: Path, yahoo: StandIn) -> Shell:
    return Shell(tmp_path, yahoo)


def test_a_refresh_loads_what_is_named_and_later_whatever_was_loaded(shell: Shell) -> None:
    code, result = shell.json("refresh", "--symbols", "aaa,BBB")
    [report] = result["loads"]
    days = len(XNYS.between(LAST - dt.timedelta(days=365), LAST))
    assert (code, report["source"], report["totals"]["requested"]) == (DONE, "yahoo", 2 * days)
    assert shell.requested() == ["AAA", "BBB"]
    assert shell.query("select symbol, state from load_tasks order by 1") == [
        ("AAA", "completed"),
        ("BBB", "completed"),
    ]
    again = shell("refresh")
    assert again.exit_code == DONE
    assert again.stdout.startswith("Nothing due: 2 symbols have every session")
    assert len(shell.requested()) == 2
    assert shell("refresh", "--force").exit_code == DONE
    assert len(shell.requested()) == 4
    shown = shell("prices", "AAA", "--start", f"{LAST}", "--csv")
    assert (shown.exit_code, len(shown.stdout.splitlines())) == (DONE, 2)


@pytest.mark.parametrize("words", [("--source", "yahoo"), ()])
def test_a_backfill_takes_the_source_of_the_settings_where_none_is_named(
    shell: Shell, words: tuple[str, ...]
) -> None:
    settings = {"QUANT_ASSETS_SOURCE": "yahoo"}
    result = shell("backfill", "--symbols", "AAA", "--days", "10", *words, env=settings)
    assert result.exit_code == DONE, result.output
    assert shell.requested() == ["AAA"]
    dry = shell("backfill", "--symbols", "BBB", "--dry-run", env=settings)
    assert "Would ask yahoo for 1 symbol" in dry.stdout


def test_a_dry_run_asks_nothing_and_says_how_long_it_would_take(shell: Shell) -> None:
    slowly = {"QUANT_ASSETS_YAHOO__MIN_DELAY_SECONDS": "10"}
    result = shell("refresh", "--symbols", "AAA,BBB,CCC", "--dry-run", env=slowly)
    assert result.exit_code == DONE
    assert result.stdout.startswith("Would ask yahoo for 3 symbols, ")
    # Two delays, each a little longer than the limit.
    assert re.search(r"^3 requests to yahoo, about 2\d s\.$", result.stdout, re.MULTILINE)
    assert shell.yahoo.requests == []
    assert not (shell.folder / "warehouse.duckdb").exists()


def test_max_requests_leaves_the_rest_for_later_and_names_it(shell: Shell) -> None:
    result = shell("refresh", "--symbols", "AAA,BBB,CCC", "--max-requests", "2")
    assert result.exit_code == DONE
    assert "Left for the next time: CCC." in result.stderr
    assert shell.requested() == ["AAA", "BBB"]


def test_an_unknown_symbol_is_named_and_the_others_load(shell: Shell) -> None:
    result = shell("refresh", "--symbols", "NOPE,BBB")
    assert result.exit_code == ATTENTION
    assert "yahoo has no symbol NOPE" in result.stdout
    assert shell.query("select distinct symbol from symbol_history where symbol = 'NOPE'") == []
    [run] = shell.json("runs")[1]
    assert (run["source"], run["symbols"]) == ("yahoo", 2)
    of_symbol = {row["symbol"]: row["error"] for row in shell.json("runs", run["run_id"][:8])[1]}
    assert str(of_symbol["NOPE"]).startswith("yahoo has no symbol NOPE")
    assert of_symbol["BBB"] is None
    logged = shell.json("runs", run["run_id"][:8], "--log")[1]
    errors = [(row["symbol"], row["error_class"]) for row in logged if row["level"] == "ERROR"]
    assert errors == [("NOPE", "UnknownSymbolAtSource")]


def test_fail_fast_ends_at_the_first_symbol_that_fails(shell: Shell) -> None:
    ended = threading.Event()

    def after_the_end(reply: Reply) -> Reply:
        ended.wait(60)
        return reply

    shell.yahoo.order(words("{}"), symbol="AAA")
    shell.yahoo.order(after_the_end, symbol="BBB")
    result = shell("refresh", "--symbols", "AAA,BBB,CCC", "--fail-fast")
    ended.set()
    for thread in threading.enumerate():
        if thread.name == "yahoo":
            thread.join(60)
    assert result.exit_code == ATTENTION
    assert "neither data nor a reason" in result.stdout
    assert shell.requested() == ["AAA", "BBB"]


def test_an_outage_is_one_notice_and_no_list_of_symbols(shell: Shell) -> None:
    many = [f"S{number:02}" for number in range(20)]
    shell.yahoo.listings = {each.symbol: each for each in invented_market(many, 0.2, LAST)}
    for symbol in (*many[:6], *many[14:]):
        shell.yahoo.order(without_session(f"{LAST}"), symbol=symbol)
    days = {"QUANT_ASSETS_DEFAULT_DAYS": "10"}
    result = shell("refresh", "--symbols", ",".join(many), env=days)
    assert result.exit_code == ATTENTION
    assert f"Note: yahoo has no row of {LAST} for 12 of 20 symbols." in result.stderr
    assert "Needs attention" not in result.stdout
    later = shell("refresh")
    assert later.exit_code == ATTENTION
    assert re.search(r"Not requested: S00, .* and 7 more; not to be asked before ", later.stderr)
    assert len(shell.requested()) == 20
    assert shell("refresh", "--symbols", ",".join(many)).exit_code == DONE
    assert len(shell.requested()) == 32
    assert shell.query(f"select count(*) from daily_prices where session = '{LAST}'") == [(20,)]


def test_a_held_symbol_says_why_and_accept_takes_yahoo_at_its_word(shell: Shell) -> None:
    days = XNYS.between(LAST - dt.timedelta(days=40), LAST)
    bars = [(day, *[100.0 if day < LAST else 50.0] * 4, 1000) for day in days]
    shell.yahoo.listings["AAA"] = Listing.of("AAA", *bars, splits=((LAST, 2.0, 1.0),))
    env = {"QUANT_ASSETS_DEFAULT_DAYS": "20"}
    shell.yahoo.now = dt.datetime.combine(BEFORE, dt.time(22), dt.UTC)
    assert shell("refresh", "--symbols", "AAA", env=env).exit_code == ATTENTION
    shell.yahoo.now = None
    shell.yahoo.order(without_events("splits"), times=2)
    held = shell("refresh", "--symbols", "AAA")
    assert held.exit_code == ATTENTION
    assert "the ratio of a split, 2:1" in " ".join(held.stdout.split())
    closes = f"select distinct close from daily_prices where session < '{LAST}'"
    assert shell.query(closes) == [(100.0,)]
    assert shell("refresh", "--symbols", "AAA", "--accept").exit_code == DONE
    assert shell.query(closes) == [(50.0,)]


def test_resume_goes_on_and_retries_what_was_given_up_only_where_named(shell: Shell) -> None:
    nothing = shell("resume")
    assert nothing.exit_code == DONE
    assert nothing.stdout.startswith("There is nothing to resume")
    shell.yahoo.order(empty(), symbol="CCC", times=5)
    shell("refresh", "--symbols", "CCC")
    for _ in range(4):
        assert shell("resume").exit_code == ATTENTION
    given_up = shell("resume")
    assert given_up.stdout.startswith("There is nothing to resume")
    assert shell.requested().count("CCC") == 5
    assert shell("resume", "--retry-failed").exit_code == DONE
    assert shell.requested() == ["CCC"] * 6


def test_quickstart_goes_from_an_empty_folder_to_a_chart(shell: Shell) -> None:
    result = shell("quickstart", "AAA", "BBB")
    assert result.exit_code == DONE
    assert [line[:3] for line in result.stdout.splitlines() if "split-adjusted" in line] == [
        "AAA",
        "BBB",
    ]
    assert shell.requested() == ["AAA", "BBB"]


def test_a_check_of_the_sources_shows_what_is_left_of_the_budget(shell: Shell) -> None:
    code, [row] = shell.json("sources", "check")
    assert (code, row["source"], row["state"]) == (DONE, "yahoo", "reachable")
    assert (row["requests_last_hour"], row["hourly_cap"]) == (len(shell.yahoo.requests), 2000)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (("refresh",), "There are no symbols to load yet."),
        (("refresh", "--universe", "nasdaq"), "nasdaq"),
        (("refresh", "--datasets", "news"), "known are daily_prices"),
        (("refresh", "--symbols", "AAA", "--priority", "soon"), "high, normal, low"),
        (("refresh", "--symbols", "AAA", "--source", "bloomberg"), "There is no source"),
        (("runs", "--log"), "--log needs the id of a run."),
    ],
)
def test_what_cannot_be_done_is_refused_in_a_sentence(
    shell: Shell, line: tuple[str, ...], sentence: str
) -> None:
    result = shell(*line)
    assert result.exit_code == USAGE
    assert sentence in result.stderr
    assert shell.yahoo.requests == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["INT", "TERM"]
)
def test_a_stopped_refresh_keeps_what_was_stored_and_resume_asks_for_the_rest(
    shell: Shell, number: signal.Signals, code: int
) -> None:
    many = [f"S{each}" for each in range(8)]
    shell.yahoo.listings = {each.symbol: each for each in invented_market(many, 1.2, LAST)}
    reached = threading.Event()

    def stuck(reply: Reply) -> Reply:
        reached.set()
        return replace(reply, hold_seconds=60)

    shell.yahoo.order(lambda reply: replace(reply, hold_seconds=3), symbol="S4")
    shell.yahoo.order(stuck, symbol="S5")
    with subprocess.Popen(
        [sys.executable, "-m", "quant_assets.cli", "refresh", "--symbols", ",".join(many)],
        env={**os.environ, **shell.environment, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as refresh:
        assert reached.wait(60)
        completed = "select count(*) from load_tasks where state = 'completed'"
        while shell.query(completed) < [(4,)]:  # the fifth answer is held, the sixth never comes
            with suppress(subprocess.TimeoutExpired):
                refresh.wait(0.2)
        refresh.send_signal(number)
        _, result = refresh.communicate(timeout=60)
    assert refresh.returncode == code
    assert "Stopped. What was stored stays" in result
    assert "Traceback" not in result
    states = shell.query("select symbol, state from load_tasks order by 1")
    stored = [symbol for symbol, state in states if state == "completed"]
    assert stored == many[: len(stored)]
    assert 4 <= len(stored) < 6
    assert states[len(stored) :] == [(symbol, "pending") for symbol in many[len(stored) :]]
    have = "select symbol, max(session) from daily_prices join symbol_history using (security_id)"
    assert shell.query(f"{have} group by 1 order by 1") == [(symbol, LAST) for symbol in stored]
    before = len(shell.requested())
    assert shell("resume").exit_code == DONE
    assert sorted(map(str, shell.requested()[before:])) == many[len(stored) :]
    assert shell.query(f"{have} group by 1 order by 1") == [(symbol, LAST) for symbol in many]
    assert shell.query("select distinct state from load_tasks") == [("completed",)]
