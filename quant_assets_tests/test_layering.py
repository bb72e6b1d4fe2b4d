"""Who may import whom: the table of rooms. And importing does no work."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = "quant_assets"
ROOT = Path(__file__).parents[1]

ALL_BELOW = ("*",)

TABLE: dict[str, tuple[str, ...]] = {
    "definitions": ALL_BELOW,
    "cli": ALL_BELOW,  # and the definitions, which it runs
    "serving": ALL_BELOW,
    "cli.terminal": ALL_BELOW,
    "orchestration.automation": ALL_BELOW,
    "orchestration.assets": ALL_BELOW,
    "orchestration.runs": ALL_BELOW,
    "orchestration.instance": ("warehouse.liveness",),
    "operations": ALL_BELOW,
    "health": ALL_BELOW,
    "refreshing": ALL_BELOW,
    "wiring": ALL_BELOW,
    "datasets": ("loading", "securities", "warehouse", "price_rules", "contracts"),
    "read": (
        *("derived", "membership.unknown", "securities", "price_rules", "warehouse", "settings"),
    ),
    "loading": ("contracts", "warehouse", "journal", "fetching"),
    "membership": ("securities", "warehouse", "contracts"),
    "sources": ("contracts", "fetching", "price_rules", "settings"),
    "derived": ("securities", "warehouse", "price_rules", "settings", "fetching"),
    "securities": ("warehouse", "contracts"),
    "fetching": ("contracts", "settings"),
    "journal": ("settings",),
    "warehouse": (),
    "price_rules": (),
    "settings": (),
    "contracts": (),
    "schema": (),
    "reference": (),
}
"""Each room, top to bottom, and what it may import besides itself; every room may import what
EVERYWHERE names. A room may be missing as long as nothing of it is written yet."""

EVERYWHERE = ("schema", "reference")

APART = ("datasets", "sources")
"""Rooms whose folders and files never import each other, but for what they share."""

SHARED = ("datasets.row_dataset",)

WITH_DAGSTER = ("definitions", "orchestration")
"""Rooms that import Dagster; the command line does so inside functions."""

FACES = ("", "read")
"""Packages whose ``__init__`` hands names on."""

OPENS_DUCKDB = (
    *("warehouse.warehouse", "warehouse.migrations", "warehouse.published_copy"),
    "warehouse.in_memory",
)


@dataclass(frozen=True)
class Import:
    """One import statement: what it asks for, and whether it waits inside a function."""

    target: str
    line: int
    lazy: bool


def modules() -> dict[str, Path]:
    """Every module by its dotted name within the package; a package stands for its __init__."""
    found = {}
    for path in sorted((ROOT / PACKAGE).rglob("*.py")):
        parts = path.relative_to(ROOT / PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()
FILES = {name: path for name, path in MODULES.items() if path.name != "__init__.py"}


def imports(name: str) -> list[Import]:
    path = MODULES[name]
    package = (
        f"{PACKAGE}.{name}"
        if path.name == "__init__.py"
        else f"{PACKAGE}.{name}".rpartition(".")[0]
    )
    return list(_imports(ast.parse(path.read_text("utf-8")), package.rstrip("."), lazy=False))


def _imports(node: ast.AST, package: str, *, lazy: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield Import(alias.name, child.lineno, lazy)
        elif isinstance(child, ast.ImportFrom):
            base = child.module or ""
            if child.level:
                above = package.split(".")[: len(package.split(".")) - child.level + 1]
                base = ".".join([*above, *([base] if base else [])])
            for alias in child.names:
                yield Import(f"{base}.{alias.name}", child.lineno, lazy)
        else:
            inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from _imports(child, package, lazy=lazy or inside)


def of_ours(target: str) -> str | None:
    """The module of ours that an import reaches; None for anything else."""
    if target != PACKAGE and not target.startswith(f"{PACKAGE}."):
        return None
    inner = target.removeprefix(PACKAGE).removeprefix(".")
    while inner and inner not in MODULES:
        inner = inner.rpartition(".")[0]
    return inner


def room(name: str) -> str | None:
    """The room of a module, its folder or a part of that."""
    while name and name not in TABLE:
        name = name.rpartition(".")[0]
    return name or None


def may_import(name: str, target: str) -> bool:
    own, other = room(name), room(target)
    if own is None or other is None:
        return False
    if own == other:
        return own not in APART or target in SHARED or name.split(".")[:2] == target.split(".")[:2]
    if other in EVERYWHERE:
        return own not in EVERYWHERE or own == "schema"
    rooms = list(TABLE)
    if TABLE[own] == ALL_BELOW:
        return own == "cli" or rooms.index(other) > rooms.index(own)
    return any(f"{target}.".startswith(f"{allowed}.") for allowed in TABLE[own])


def ours(name: str) -> set[str]:
    """The modules of ours that a module imports, inside functions too."""
    reached = (of_ours(wanted.target) for wanted in imports(name))
    return {target for target in reached if target in FILES and target != name}


@pytest.mark.parametrize("name", FILES)
def test_every_module_stands_in_a_room(name: str) -> None:
    assert room(name) is not None, f"{FILES[name]} is in no room of the table: {list(TABLE)}"


@pytest.mark.parametrize("name", FILES)
def test_a_module_imports_only_what_its_room_may_import(name: str) -> None:
    wrong = sorted(target for target in ours(name) if not may_import(name, target))
    assert not wrong, f"{FILES[name]} is in {room(name)} and imports {', '.join(wrong)}"


def test_no_modules_import_each_other_in_a_circle() -> None:
    left = {name: ours(name) for name in FILES}
    while left:
        free = [name for name, needs in left.items() if not needs & left.keys()]
        assert free, f"a circle among {sorted(left)}"
        for name in free:
            del left[name]


@pytest.mark.parametrize("name", sorted(MODULES.keys() - FILES.keys() - set(FACES)))
def test_a_package_itself_imports_nothing_of_ours(name: str) -> None:
    assert [w.target for w in imports(name) if of_ours(w.target) is not None] == []


def knows_dagster(name: str) -> bool:
    return name.split(".", maxsplit=1)[0] in WITH_DAGSTER


@pytest.mark.parametrize("name", FILES)
def test_only_what_runs_in_dagster_imports_it(name: str) -> None:
    asked = [w for w in imports(name) if w.target.split(".")[0].startswith("dagster")]
    if name.split(".", maxsplit=1)[0] in ("cli", "serving"):
        asked = [wanted for wanted in asked if not wanted.lazy]
    if not knows_dagster(name) and name != "cli.in_process":
        assert asked == []


@pytest.mark.parametrize("name", FILES)
def test_only_the_warehouse_and_backups_open_duckdb(name: str) -> None:
    tree = ast.parse(FILES[name].read_text("utf-8"))
    opened = [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and node.attr == "connect"
        and isinstance(node.value, ast.Name)
        and node.value.id == "duckdb"
    ]
    opened += [wanted.line for wanted in imports(name) if wanted.target == "duckdb.connect"]
    assert not opened or name in OPENS_DUCKDB, f"{FILES[name]}, lines {opened}"


@pytest.mark.parametrize("name", FILES)
def test_the_environment_is_not_read_while_importing(name: str) -> None:
    def reads(node: ast.AST) -> Iterator[int]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                continue
            if isinstance(child, ast.Attribute) and child.attr in ("environ", "getenv"):
                yield child.lineno
            yield from reads(child)

    assert list(reads(ast.parse(FILES[name].read_text("utf-8")))) == []


IMPORT_UNDER_GUARD = """
import importlib, os, sys

sys.dont_write_bytecode = True
caught = []

def guard(event, args):
    if event in ("socket.connect", "socket.bind", "socket.getaddrinfo", "subprocess.Popen"):
        caught.append((event, str(args[1:])))
    elif event in ("os.mkdir", "os.remove", "os.rename", "sqlite3.connect"):
        caught.append((event, str(args[:2])))
    elif event == "open" and args[0] != os.devnull:
        mode, flags = args[1] or "", args[2] or 0
        writing = os.O_WRONLY | os.O_RDWR | os.O_CREAT
        if any(letter in mode for letter in "wax+") or flags & writing:
            caught.append((event, str(args[0])))

before, ours = sys.argv[1].split(), sys.argv[2:]
for name in before:
    importlib.import_module(name)
sys.addaudithook(guard)
for name in ours:
    importlib.import_module(name)
    if caught:
        sys.exit(f"importing {name}: {caught}")
print(*(name for name in sys.modules if "." not in name))
"""


def imported(names: list[str], folder: Path) -> set[str]:
    """Import our modules in a fresh Python that may not write or call; what it had to load.

    The packages they build on may do on import what they like, and some do: requests binds a socket
    to see whether there is IPv6, dagster starts `file` to see on what it runs.
    """
    reached = {*names, *half(lower=False)}
    eager = (wanted for name in reached for wanted in imports(name) if not wanted.lazy)
    before = {w.target.split(".")[0] for w in eager if of_ours(w.target) is None}
    ours = (f"{PACKAGE}.{name}" for name in names)
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_UNDER_GUARD, " ".join(sorted(before)), *ours],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "HOME": str(folder), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def half(*, lower: bool) -> list[str]:
    """The modules that know Dagster, or those that do without."""
    late = ("cli.in_process",)
    return [name for name in FILES if (knows_dagster(name) or name in late) == lower]


def test_importing_does_no_work_and_what_is_below_does_without_dagster(tmp_path: Path) -> None:
    loaded = imported(half(lower=False), tmp_path)
    assert "quant_assets" in loaded
    assert "dagster" not in loaded
    assert list(tmp_path.iterdir()) == []


def test_importing_what_knows_dagster_does_no_work_either(tmp_path: Path) -> None:
    imported(half(lower=True), tmp_path)
    assert list(tmp_path.iterdir()) == []
