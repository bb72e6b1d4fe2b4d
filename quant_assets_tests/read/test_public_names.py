"""What a notebook imports from ``quant_assets``: functions, and nothing heavy before a call."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import quant_assets
from quant_assets import read
from quant_assets.operations import loads, universes

ROOT = Path(__file__).parents[2]

FUNCTION_NAMES = {
    *("prices", "universe", "universes", "universe_changes", "universe_conflicts", "delistings"),
    *("connect", "market", "fundamentals", "ratios", "news", "posts", "sentiment", "cache_entry"),
    *("panel", "gaps", "staleness", "changes", "why", "refresh", "backfill", "resume"),
    *("universe_add", "universe_create", "universe_import", "universe_remove"),
    "universe_take_back",
    *("backup", "restore"),
}
"""Functions that read or act, written or planned."""

READ = [name for name in read.__all__ if inspect.isfunction(getattr(read, name))]


@pytest.mark.parametrize("name", read.__all__)
def test_a_reading_function_or_warning_is_handed_on_by_the_package(name: str) -> None:
    found = getattr(quant_assets, name)
    assert found is getattr(read, name)
    assert name in READ or issubclass(found, Warning)


ACT = {
    **dict.fromkeys(("backfill", "refresh", "resume"), loads),
    **dict.fromkeys(("universe_add", "universe_create", "universe_remove"), universes),
    **dict.fromkeys(("universe_import", "universe_take_back"), universes),
}
"""Each function that acts, and its module."""


@pytest.mark.parametrize("name", ACT)
def test_a_function_that_acts_is_handed_on_by_the_package(name: str) -> None:
    found = getattr(quant_assets, name)
    assert found is getattr(ACT[name], name)
    assert inspect.isfunction(found)


def test_the_package_hands_on_what_reads_and_what_acts_and_nothing_else() -> None:
    assert quant_assets.__all__ == sorted([*read.__all__, *ACT])
    assert dir(quant_assets) == quant_assets.__all__
    with pytest.raises(AttributeError, match="'quant_assets' has no attribute 'price'"):
        quant_assets.price  # noqa: B018


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import quant_assets", {"duckdb", "numpy", "pyarrow", "pandas", "dagster"}),
        (f"from quant_assets import {', '.join(read.__all__)}", {"pandas", "dagster"}),
        (f"from quant_assets import {', '.join(ACT)}", {"pandas", "dagster", "requests"}),
        ("from quant_assets import read", {"pandas", "dagster"}),
    ],
)
def test_an_import_loads_nothing_heavy(statement: str, absent: set[str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{statement}\nprint(*sys.modules)"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    loaded = set(done.stdout.split())
    assert "quant_assets" in loaded
    assert loaded.isdisjoint(absent)


@pytest.mark.parametrize("folder", [quant_assets, read])
def test_no_module_beside_a_function_has_a_function_s_name(folder: object) -> None:
    """Once such a module is imported, the package has it in the function's place."""
    at = Path(inspect.getfile(folder)).parent  # type: ignore[arg-type]
    assert FUNCTION_NAMES.isdisjoint(path.stem for path in at.iterdir())
    assert {*READ, *ACT} <= FUNCTION_NAMES
