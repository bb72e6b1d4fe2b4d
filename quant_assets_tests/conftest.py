"""What every test may ask for: a calendar, a clock that stands still, a warehouse of its own."""

from __future__ import annotations

import datetime as dt
import shutil
import socket
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import hypothesis
import pytest
from alembic.script import ScriptDirectory

from quant_assets.reference.calendars import Calendar, exchange_calendar
from quant_assets.warehouse.in_memory import in_memory_duckdb
from quant_assets.warehouse.warehouse import Warehouse

REAL = Path(__file__).parents[2] / "shared" / "real"
# How long a test takes says nothing on a machine with other work to do. The suite tries the same
# examples each time, so that it speaks of the code and not of luck; `make properties` looks for
# others, many of them.
USUAL_EXAMPLES = 100
hypothesis.settings.register_profile(
    "same", deadline=None, derandomize=True, max_examples=USUAL_EXAMPLES
)
hypothesis.settings.register_profile("search", deadline=None, max_examples=5000, print_blob=True)
hypothesis.settings.load_profile("same")


def examples(few: int) -> hypothesis.settings:
    """So few examples in the suite, for a test whose examples are dear; a search tries as many
    times more of them as it tries of all others.
    """
    times = hypothesis.settings().max_examples / USUAL_EXAMPLES
    return hypothesis.settings(max_examples=max(1, round(few * times)))


NOW = dt.datetime(2024, 6, 3, 12, 0, tzinfo=dt.UTC)
"""A Monday before the open: the last closed session is Friday, 2024-05-31."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow files first: they wait a lot, and the quick ones run meanwhile, beside them."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session")
def calendar() -> Calendar:
    return exchange_calendar("XNYS")


@pytest.fixture
def no_warehouse(tmp_path: Path) -> Warehouse:
    """One whose file has not been made yet."""
    return Warehouse(tmp_path / "warehouse.duckdb", lock_wait_seconds=5, clock=lambda: NOW)


@pytest.fixture(scope="session")
def blank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a warehouse without a row; making all its tables takes a fifth of a second."""
    made = Warehouse(tmp_path_factory.mktemp("blank") / "warehouse.duckdb", clock=lambda: NOW)
    with made.writing("blank"):
        pass
    return made.path


@pytest.fixture
def warehouse(no_warehouse: Warehouse, blank: Path) -> Warehouse:
    """One without a row."""
    shutil.copyfile(blank, no_warehouse.path)
    return no_warehouse


@pytest.fixture(scope="session")
def real() -> Path:
    """The folder of real data, for tests that compare with the world."""
    if not REAL.exists():
        pytest.skip(f"the real data is not at {REAL}")
    return REAL


@pytest.fixture(scope="module", autouse=True)
def threads_of_duckdb(request: pytest.FixtureRequest) -> Iterator[None]:
    """One thread for each DuckDB, here and in processes that tests start, unless rows are many.

    Below the 122,880 rows that DuckDB hands to a thread at once there is work for one only, and
    starting and waking a second takes a quarter of the time of a small load. DuckDB has no
    variable of its own for this, but heeds what a batch system grants it.
    """
    with pytest.MonkeyPatch.context() as environment:
        if request.node.get_closest_marker("many_rows") is None:
            environment.setenv("SLURM_CPUS_ON_NODE", "1")
        in_memory_duckdb.cache_clear()  # it is kept for the life of a process
        yield


@pytest.fixture(scope="session", autouse=True)
def revisions_read_once() -> Iterator[None]:
    """Dagster has alembic read its 88 revisions twice whenever a history is opened, eleven times
    when one is made. That is half of what either takes or more, and they are always the same.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ScriptDirectory, "from_config", cache(ScriptDirectory.from_config))
        yield


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing but loopback can be reached: a test that needs the network is wrong."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: object) -> None:
        host = address[0] if isinstance(address, tuple) else None
        if (
            host is not None
            and not str(host).startswith("127.")
            and host not in ("::1", "localhost")
        ):
            raise AssertionError(f"a test tried to reach {host}")
        connect(self, address)  # type: ignore[arg-type]

    monkeypatch.setattr(socket.socket, "connect", guarded)
