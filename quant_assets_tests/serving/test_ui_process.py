"""``quant-assets ui`` as a process: who is let in beside it, what it answers, how it ends.

One UI over a folder with an awkward name, begun as a script without job control begins it, with
SIGINT ignored; the tests go on from one another in the order of the file, and the last ends it.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from quant_assets_tests.standins.browser import (
    end_group,
    free_port,
    listening,
    wait_until_ready,
    without_ours,
)

pytestmark = pytest.mark.slow

STOPS_WITHIN_SECONDS = 10
BROKEN = 3


@dataclass(frozen=True)
class Ui:
    """A UI under way on a port, over the data folder in ``folder``."""

    process: subprocess.Popen[bytes]
    folder: Path
    port: int

    def status(self, headers: dict[str, str], query: str = "{version}") -> int:
        """The status of an answer to a query."""
        try:
            self.ask(query, headers)
        except urllib.error.HTTPError as error:
            error.close()
            return error.code
        return 200

    def ask(self, query: str, headers: dict[str, str] | None = None) -> object:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/graphql",
            json.dumps({"query": query}).encode(),
            {"Content-Type": "application/json", **(headers or {})},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["data"]


def command(port: int, *words: str) -> list[str]:
    return [sys.executable, "-m", "quant_assets.cli", "ui", "--port", str(port), *words]


def environment(folder: Path) -> dict[str, str]:
    ours = {"QUANT_ASSETS_HOME": str(folder / "data"), "QUANT_ASSETS_AUTOMATION": "false"}
    return {**without_ours({"PATH": "/usr/bin:/bin"}), **ours}


@contextmanager
def under_way(folder: Path, *words: str) -> Iterator[Ui]:
    port, log = free_port(), folder / f"ui{len(words)}.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            ["sh", "-c", 'trap "" INT; exec "$@"', "sh", *command(port, *words)],
            cwd=folder,
            env=environment(folder),
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            wait_until_ready(process, port, log)
            yield Ui(process, folder, port)
        finally:
            end_group(process)


@pytest.fixture(scope="module")
def ui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ui]:
    folder = tmp_path_factory.mktemp("served") / "100%25 [ab] it's"
    folder.mkdir()
    with under_way(folder) as found:
        yield found


def runs(process: psutil.Process) -> bool:
    """Whether a process does anything still; what has ended may wait for its new parent."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def refused(port: int, folder: Path) -> str:
    """The sentence with which another UI is refused."""
    done = subprocess.run(
        command(port),
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == BROKEN
    return done.stderr


def test_another_daemon_over_the_folder_is_refused_with_who_has_it(ui: Ui) -> None:
    told = refused(free_port(), ui.folder)
    assert f"The data folder {ui.folder / 'data'} is served already by process" in told
    assert f"process {ui.process.pid} on " in told
    assert f"ui --port {ui.port}; http://127.0.0.1:{ui.port}, since 20" in told


def test_a_taken_port_is_refused_with_who_has_it(ui: Ui, tmp_path: Path) -> None:
    told = refused(ui.port, tmp_path)
    assert f"Port {ui.port} of 127.0.0.1 is taken by process" in told
    assert "quant_assets.serving.services" in told
    assert ", since 20" in told


def test_the_guard_stands_in_front_of_the_webserver(ui: Ui) -> None:
    own = f"http://127.0.0.1:{ui.port}"
    assert ui.status({}) == ui.status({"Origin": own}) == 200
    assert ui.status({"Host": "evil.example"}) == 421
    assert ui.status({"Origin": "http://evil.example"}) == 403


def test_viewers_look_at_the_same_folder_and_change_nothing(ui: Ui) -> None:
    with under_way(ui.folder, "--read-only") as viewed:
        assert viewed.ask('mutation {deletePipelineRun(runId: "1") {__typename}}') == {
            "deletePipelineRun": {"__typename": "UnauthorizedError"}
        }
        processes = psutil.Process(viewed.process.pid).children(recursive=True)
        assert not any("quant_assets.serving.daemon" in each.cmdline() for each in processes)
    assert ui.status({}) == 200


def test_sigterm_ends_all_of_it_though_sigint_is_ignored(ui: Ui) -> None:
    processes = psutil.Process(ui.process.pid).children(recursive=True)
    assert any("quant_assets.serving.daemon" in each.cmdline() for each in processes)
    ui.process.send_signal(signal.SIGTERM)
    assert ui.process.wait(STOPS_WITHIN_SECONDS) == 0
    assert not any(runs(each) for each in processes)
    assert not listening(ui.port)
    assert not (ui.folder / "data" / "ui.holder.json").exists()


BLOCK = (
    "import threading; from quant_assets.serving.ending import ended_with_parent\n"
    "with ended_with_parent():\n    print('begun', flush=True)\n    threading.Event().wait()"
)


def test_a_process_ends_with_its_parent_whatever_signals_are_ignored() -> None:
    script = ["sh", "-c", 'trap "" INT TERM; exec "$@"', "sh", sys.executable, "-c", BLOCK]
    with subprocess.Popen(script, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdin
        assert process.stdout.readline() == b"begun\n"
        process.stdin.close()
        assert process.wait(STOPS_WITHIN_SECONDS) == 0
