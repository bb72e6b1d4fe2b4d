"""The wheel holds the whole package, and the demo runs from it where there is no checkout."""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = "quant_assets"
ROOT = Path(__file__).parents[1]
NOT_IN_A_WHEEL = shutil.ignore_patterns("__pycache__")

pytestmark = pytest.mark.slow


def run(*command: object, cwd: Path, home: Path | None = None) -> str:
    """The standard output of a command without our settings, paths or package indexes around it."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "PIP_", "QUANT_ASSETS_", "DAGSTER_"))
    }
    opening = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=30)
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={
            **kept,
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "QUANT_ASSETS_HOME": str(home or cwd),
            "QUANT_ASSETS_SIMULATED__START": f"{opening}",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of a copy of the checkout, so that building leaves nothing in the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / PACKAGE, folder / PACKAGE, ignore=NOT_IN_A_WHEEL)
    offline = ("--no-index", "--no-deps", "--no-build-isolation")
    run(sys.executable, "-m", "pip", "wheel", *offline, "-w", "dist", ".", cwd=folder)
    [built] = (folder / "dist").glob("*.whl")
    return built


@dataclass(frozen=True)
class Installed:
    """An environment with the installed wheel, and a data folder of its own."""

    environment: Path
    cwd: Path

    def python(self, *words: object) -> str:
        return run(self.environment / "bin" / "python", *words, cwd=self.cwd)

    def quant_assets(self, *words: object) -> str:
        return run(
            self.environment / "bin" / "quant-assets", *words, cwd=self.cwd, home=self.cwd / "data"
        )


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The wheel in an environment that borrows the test environment's packages, ours excepted.

    Their folder is named in a ``.pth`` file, and Python reads no ``.pth`` file of such a folder:
    the one that makes the checkout importable has no effect.
    """
    folder = tmp_path_factory.mktemp("installed")
    environment = folder / "environment"
    venv.create(environment, symlinks=True)
    python = environment / "bin" / "python"
    offline = ("--no-index", "--no-deps")
    run(sys.executable, "-m", "pip", "--python", python, "install", *offline, wheel, cwd=folder)
    own = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder)
    borrowed = dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib"))
    Path(own.strip(), "borrowed.pth").write_text("\n".join(borrowed), "utf-8")
    return Installed(environment, folder)


def test_the_wheel_holds_every_file_of_the_package(wheel: Path) -> None:
    expected = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / PACKAGE).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    packed = zipfile.ZipFile(wheel).namelist()
    assert {name for name in packed if name.startswith(f"{PACKAGE}/")} == expected
    assert f"{PACKAGE}/py.typed" in expected


def test_every_folder_of_the_package_is_a_package() -> None:
    folders = {path.parent for path in (ROOT / PACKAGE).rglob("*.py")}
    assert [folder for folder in folders if not (folder / "__init__.py").exists()] == []


def test_the_package_imported_is_the_installed_one(installed: Installed) -> None:
    origin = installed.python(
        "-c",
        "import sys; from quant_assets import prices; print(sys.modules['quant_assets'].__file__)",
    )
    assert Path(origin.strip()).is_relative_to(installed.environment)


def test_the_demo_runs_from_the_wheel_and_its_data_can_be_read(installed: Installed) -> None:
    made = json.loads(installed.quant_assets("demo", "--symbols", 4, "--json"))
    assert made["rows"] > 0
    assert made["data"] == str(installed.cwd / "data")
    [market] = json.loads(installed.quant_assets("status", "--json"))["sources"]
    assert market["rows"] == made["rows"]
