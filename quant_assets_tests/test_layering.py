"""Who may import whom: only from the rows above one's own. And importing does no work."""

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

ORDER = (
    "schema.table",
    "reference.identity",
    "reference.calendars",
    "settings.settings",
    "journal.entries",
    "fetching.pacer",
    "fetching.raw_bodies",
    "warehouse.liveness",
    "warehouse.writer_lock",
    "warehouse.writing",
    "warehouse.warehouse",
    "loading.claims",
    "loading.tasks",
    "price_rules.corporate_actions",
    "price_rules.row_rules",
    "contracts.source",
    "sources.files.reading",
    "securities.register",
    "price_rules.overlap",
    "sources.yahoo.chart",
    "fetching.http",
    "sources.index_members.headers",
    "sources.index_members.html",
    "sources.simulated",
    "sources.files.archive",
    "sources.index_members.wikipedia",
    "sources.index_members.lists",
    "sources.index_members.bundled",
    "sources.yahoo.daily_prices",
    "sources.index_members.chain",
    "loading.plan",
    "wiring.platform",
    "loading.report",
    "loading.lag",
    "datasets.daily_prices.account",
    "datasets.daily_prices.compare",
    "securities.instruments",
    "securities.delistings",
    "datasets.daily_prices.store",
    "loading.load",
    "datasets.daily_prices.key_states",
    "membership.deciding.*",
    "membership.constituents",
    "membership.changes",
    "membership.take_over",
    "refreshing.index_look",
    "staleness",
    "price_rules.adjustment",
    "read.adjusted_rows",
    "warehouse.published_copy",
    "read.price_frames",
    "membership.custom",
    "health.status",
    "refreshing.steps",
    "refreshing.nightly",
    "refreshing.index_changes",
    "orchestration.runs.partitions",
    "orchestration.instance.event_storage",
    "orchestration.instance.run_logs",
    "orchestration.instance.instance",
    "orchestration.instance.run_launcher",
    "orchestration.instance.retention",
    "orchestration.runs.reporting",
    "orchestration.runs.symbol_days",
    "orchestration.runs.reconcile",
    "orchestration.runs.resources",
    "orchestration.assets.*",
    "checks",
    "orchestration.automation.jobs",
    "orchestration.automation.schedules",
    "orchestration.automation.sense_prices_due",
    "definitions",
    "cli.in_process",
    "cli.terminal.tables",
    "cli.terminal.universes",
    "cli.exits",
    "cli.options",
    "cli.loads",
    "cli.universes",
    "cli.app",
)
"""Rows of the design, top to bottom. A row may be missing as long as it is not written yet."""

WITH_SIBLINGS = ("membership.deciding.*", "orchestration.assets.*")
"""Rows whose modules may build on each other, never in a circle; sources may not."""

OPENS_DUCKDB = ("warehouse.warehouse", "warehouse.published_copy")


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


def row(name: str) -> int | None:
    for pattern in (name, f"{name.rpartition('.')[0]}.*" if "." in name else None):
        if pattern in ORDER:
            return ORDER.index(pattern)
    return None


def family(name: str) -> str:
    number = row(name)
    return ORDER[number] if number is not None else ""


@pytest.mark.parametrize("name", FILES)
def test_every_module_has_its_row_in_the_design(name: str) -> None:
    assert row(name) is not None, f"{FILES[name]} is in no row of the design: {ORDER}"


@pytest.mark.parametrize("name", FILES)
def test_a_module_imports_only_from_the_rows_above_its_own(name: str) -> None:
    own = row(name)
    assert own is not None
    wrong = []
    for wanted in imports(name):
        target = of_ours(wanted.target)
        if target is None or (target and target not in FILES):
            continue
        above = row(target)
        sibling = family(target) == family(name) and family(name) in WITH_SIBLINGS
        if above is None or not (above < own or sibling):
            wrong.append(f"line {wanted.line} imports {wanted.target}")
    assert not wrong, f"{FILES[name]}: {'; '.join(wrong)}"


@pytest.mark.parametrize("pattern", WITH_SIBLINGS)
def test_siblings_that_build_on_each_other_never_go_in_a_circle(pattern: str) -> None:
    left = {
        name: {of_ours(wanted.target) for wanted in imports(name)} - {name}
        for name in FILES
        if family(name) == pattern
    }
    while left:
        free = [name for name, needs in left.items() if not needs & left.keys()]
        assert free, f"a circle among {sorted(left)}"
        for name in free:
            del left[name]


@pytest.mark.parametrize("name", sorted(MODULES.keys() - FILES.keys()))
def test_a_package_itself_imports_nothing_of_ours(name: str) -> None:
    assert [w.target for w in imports(name) if of_ours(w.target) is not None] == []


@pytest.mark.parametrize("name", FILES)
def test_dagster_is_imported_from_partitions_downwards_only(name: str) -> None:
    asked = [w for w in imports(name) if w.target.split(".")[0].startswith("dagster")]
    if name == "cli.app":
        asked = [wanted for wanted in asked if not wanted.lazy]
    own = row(name)
    if name == "cli.app" or own is None or own < ORDER.index("orchestration.runs.partitions"):
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
    """The modules from partitions downwards, or those above them and the command line."""
    first = ORDER.index("orchestration.runs.partitions")
    rows = ((name, row(name)) for name in FILES)
    upper_too = () if lower else ("cli.app",)
    return [n for n, r in rows if r is not None and ((r >= first) == lower or n in upper_too)]


def test_importing_does_no_work_and_the_upper_half_does_without_dagster(tmp_path: Path) -> None:
    loaded = imported(half(lower=False), tmp_path)
    assert "quant_assets" in loaded
    assert "dagster" not in loaded
    assert list(tmp_path.iterdir()) == []


def test_importing_the_dagster_half_does_no_work_either(tmp_path: Path) -> None:
    if not half(lower=True):
        pytest.skip("nothing of the Dagster half is written yet")
    imported(half(lower=True), tmp_path)
    assert list(tmp_path.iterdir()) == []
