"""Damage to Dagster's history: said, and mended by the command that the message names."""

from __future__ import annotations

import datetime as dt
import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import dagster as dg
import pytest
from typer.testing import CliRunner, Result

from quant_assets.cli.app import app
from quant_assets.orchestration.instance.history_files import HistoryDamagedError, ahead_of
from quant_assets.orchestration.instance.instance import open_instance

DAYS = ("--start", "2024-05-28", "--end", "2024-05-31")
LOAD = ("backfill", "--source", "simulated", "--dagster", *DAYS)
FILES = ("history/runs.db", "history/events/event_log.db", "schedules/schedules.db")


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {
        "QUANT_ASSETS_CONFIG": "",
        "QUANT_ASSETS_HOME": str(tmp_path / "it's mine"),
        "QUANT_ASSETS_SIMULATED__SYMBOLS": "2",
    }


def run(environment: dict[str, str], *words: str) -> Result:
    return CliRunner().invoke(app, list(words), env=environment)


@pytest.mark.parametrize("file", FILES)
def test_a_file_that_is_no_database_is_named_on_opening(tmp_path: Path, file: str) -> None:
    with open_instance(tmp_path) as instance:
        assert instance.get_runs() == []
    (tmp_path / "dagster" / file).write_bytes(os.urandom(5000))
    with pytest.raises(HistoryDamagedError, match=re.escape(file)):
        open_instance(tmp_path)


def test_a_history_of_days_to_come_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "dagster"
    now = dt.datetime.now(dt.UTC)
    assert ahead_of(folder, now) == ""
    with open_instance(tmp_path) as instance:
        instance.create_run_for_job(dg.job(name="any")(lambda: None))
    assert ahead_of(folder, now) == ""
    told = ahead_of(folder, now - dt.timedelta(days=700))
    assert f"goes up to {now:%Y-%m-%d}" in told
    assert told.endswith(f"mv {folder} {folder}.aside && quant-assets reconcile")
    with closing(sqlite3.connect(folder / "schedules" / "schedules.db")) as file:
        later = now.replace(tzinfo=None) + dt.timedelta(days=700)
        file.execute("insert into job_ticks (timestamp) values (?)", [str(later)])
        file.commit()
    assert f"goes up to {later:%Y-%m-%d %H:%M} UTC" in ahead_of(folder, now)


def test_a_damaged_history_begins_anew_with_what_the_warehouse_has(
    environment: dict[str, str],
) -> None:
    assert run(environment, *LOAD).exit_code == 0
    home = Path(environment["QUANT_ASSETS_HOME"])
    events = home / "dagster" / "history" / "events" / "event_log.db"
    with events.open("r+b") as file:  # its pages, not its head: it opens, and fails when used
        file.seek(32_768)
        file.write(os.urandom(events.stat().st_size - 32_768))
    damaged = run(environment, *LOAD, "--force")
    assert damaged.exit_code == 3
    assert "What was loaded is in the warehouse and not concerned" in damaged.stderr
    command = re.search(r"mv .* && quant-assets reconcile$", damaged.stderr.strip())
    assert command
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    typed = subprocess.run(
        ["bash", "-c", command[0]],
        check=False,
        env={**os.environ, **environment, "PATH": path},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert typed.returncode == 0, typed.stderr
    assert "symbol-days compared: 8 in the warehouse and not green" in typed.stdout
    with open_instance(home) as instance:
        made = instance.get_materialized_partitions(dg.AssetKey("daily_prices"))
    assert len(made) == 8
    assert run(environment, *LOAD, "--force").exit_code == 0
    assert list(home.glob("dagster.aside/history/events/event_log.db"))
