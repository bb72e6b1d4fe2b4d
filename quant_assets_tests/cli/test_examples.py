"""The command reference: made from the commands, its examples typed one after another.

A changed command or example: ``make reference``.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from quant_assets.cli.app import app
from quant_assets.cli.examples import EXAMPLES
from quant_assets.sources.index_members.bundled import BundledList
from quant_assets.warehouse.writer_lock import utc_now
from quant_assets_tests.standins.yahoo_listings import invented_market
from quant_assets_tests.standins.yahoo_standin import StandIn

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "commands.md"
LIST = "universe import", "universe take-back"
LIVE = "quickstart", "sources check"
NEVER_ENDS = ("ui",)
"""Started and ended in the tests of ``serving``."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with a list of members and an archive, as the examples name them."""
    folder = tmp_path_factory.mktemp("examples")
    members = BundledList().fetch_universe().constituents
    lines = [f"{member.symbol},{member.added_on}" for member in members]
    (folder / "constituents.csv").write_text("\n".join(["Symbol,Date added", *lines]))
    (folder / "archive").mkdir()
    rows = ["Date,Open,High,Low,Close,Volume", "2024-05-20,190,192,189,191,1000"]
    (folder / "archive" / "AAPL.csv").write_text("\n".join(rows))
    return folder


@pytest.fixture(scope="module")
def yahoo() -> Iterator[StandIn]:
    with StandIn(invented_market(("AAPL", "MSFT"), 1.2, utc_now().date())) as standin:
        yield standin


def typed(folder: Path, home: str, example: str, yahoo: StandIn | None = None) -> Result:
    environment = {
        "QUANT_ASSETS_CONFIG": "",
        "QUANT_ASSETS_HOME": str(folder / home),
        "QUANT_ASSETS_YAHOO__MIN_DELAY_SECONDS": "0",
        "QUANT_ASSETS_YAHOO_URL": yahoo.url if yahoo else "http://127.0.0.1:9",
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return CliRunner().invoke(app, shlex.split(example), env=environment)


def test_the_reference_is_made_of_the_commands() -> None:
    command = (sys.executable, "-m", "typer", "quant_assets.cli.app", "utils", "docs")
    made = subprocess.run(
        [*command, "--name", "quant-assets"], capture_output=True, check=True, text=True, cwd=ROOT
    )
    assert REFERENCE.read_text("utf-8") == made.stdout, __doc__


def test_each_command_has_an_example_of_itself() -> None:
    wrong = [name for name, line in EXAMPLES.items() if not f"{line} ".startswith(f"{name} ")]
    assert not wrong
    shown = CliRunner().invoke(app, ["universe", "create", "--help"], env={"COLUMNS": "100"})
    assert f"Example: quant-assets {EXAMPLES['universe create']}" in shown.stdout


def test_the_examples_can_be_typed_one_after_another(folder: Path, yahoo: StandIn) -> None:
    ended = {}
    for name, example in EXAMPLES.items():
        home = "list" if name in LIST else "real" if name in LIVE else "demo"
        if name not in NEVER_ENDS:
            result = typed(folder, home, example, yahoo)
            ended[name] = (result.exit_code, result.stderr if result.exit_code else "")
    assert {name: end for name, end in ended.items() if end[0]} == {}
    assert {*ended, *NEVER_ENDS} == {*EXAMPLES}
