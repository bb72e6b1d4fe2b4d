"""A full disk, a damaged or missing file, an older copy: said, nothing more lost, and mended by the
command that the message names, typed as it stands.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import resource
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from quant_assets.read.opening import connect
from quant_assets.schema.membership import UNIVERSES
from quant_assets.warehouse.damage import (
    PublishedCopyDamagedError,
    WarehouseDamagedError,
    WarehouseFullError,
    WarehouseGoneError,
    WarehouseLogError,
    copies_of,
)
from quant_assets.warehouse.published_copy import publish
from quant_assets.warehouse.warehouse import Warehouse
from quant_assets.warehouse.writer_lock import WarehouseError
from quant_assets_tests.conftest import NOW

RUN = "00000000-0000-0000-0000-000000000001"
NOBODY = 65534


@pytest.fixture
def warehouse(tmp_path: Path, blank: Path) -> Warehouse:
    """A folder whose name a shell must quote."""
    path = tmp_path / "it's a folder" / "warehouse.duckdb"
    path.parent.mkdir()
    shutil.copyfile(blank, path)
    return Warehouse(path, lock_wait_seconds=5, clock=lambda: NOW)


def add(warehouse: Warehouse, *names: str) -> None:
    with warehouse.writing(RUN) as writing:
        rows = pa.table({"universe": list(names), "source": ["test"] * len(names)})
        writing.upsert(UNIVERSES, rows)


def named(con: duckdb.DuckDBPyConnection) -> list[str]:
    return [name for (name,) in con.execute("select universe from universes order by 1").fetchall()]


def held(warehouse: Warehouse) -> list[str]:
    with warehouse.reading() as con:
        return named(con)


def spoil(path: Path) -> None:
    """Overwrite the pages of a file, as a failing disk does; its first headers stay."""
    times = path.stat()
    with path.open("r+b") as file:
        file.seek(3 * 4096)
        file.write(b"\x5a" * (times.st_size - 3 * 4096))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def typed(error: WarehouseError, which: int = 0) -> None:
    """Type a command of a message into a shell."""
    commands = re.findall(r"(?<=: )(?:mv|cp) .*?(?=; or, |$)", str(error))
    subprocess.run(["bash", "-c", commands[which]], check=True, timeout=30)


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """No file grows beyond ``size`` bytes, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_said_and_the_same_work_goes_on_with_room(warehouse: Warehouse) -> None:
    add(warehouse, "first")
    many = [f"{number:06d} {os.urandom(40).hex()}" for number in range(20_000)]
    with room_for(warehouse.path.stat().st_size + 4096), pytest.raises(WarehouseFullError) as full:
        add(warehouse, *many)
    assert "Make room on that disk, then run this again" in str(full.value)
    assert set(held(warehouse)) - set(many) == {"first"}
    add(warehouse, *many)
    assert held(warehouse) == sorted([*many, "first"])


def test_a_damaged_warehouse_goes_on_from_its_published_copy(warehouse: Warehouse) -> None:
    add(warehouse, "first")
    publish(warehouse)
    spoil(warehouse.path)
    damaged = warehouse.path.read_bytes()
    for work in (lambda: held(warehouse), lambda: add(warehouse, "second")):
        with pytest.raises(WarehouseDamagedError, match=r"warehouse\.duckdb is damaged") as said:
            work()
    assert warehouse.path.read_bytes() == damaged
    typed(said.value)
    assert held(warehouse) == ["first"]
    add(warehouse, "second")
    assert held(warehouse) == ["first", "second"]
    aside = warehouse.path.with_name("warehouse.duckdb.aside")
    assert aside.read_bytes() == damaged


def test_without_a_whole_copy_the_message_says_so(warehouse: Warehouse) -> None:
    add(warehouse, "first")
    publish(warehouse)
    spoil(warehouse.path)
    spoil(copies_of(warehouse.path)[0])
    with pytest.raises(WarehouseDamagedError, match="No published copy of it can be read either"):
        held(warehouse)


def test_a_damaged_warehouse_is_not_published_over_a_good_copy(warehouse: Warehouse) -> None:
    add(warehouse, "first")
    publish(warehouse)
    good = copies_of(warehouse.path)
    add(warehouse, "second")
    with closing(duckdb.connect(str(warehouse.path))) as con:
        con.execute("create table vast as select random() as number from range(200000)")
        con.execute("checkpoint")
    with warehouse.path.open("r+b") as file:
        file.seek(warehouse.path.stat().st_size - 200_000)
        file.write(b"\x5a" * 1000)
    for _ in range(3):
        with pytest.raises(WarehouseDamagedError):
            publish(warehouse)
    assert copies_of(warehouse.path) == good
    with connect(home=warehouse.path.parent) as con:
        assert named(con) == ["first"]


@pytest.mark.parametrize("harm", [spoil, lambda path: os.truncate(path, 20_000)])
def test_a_damaged_copy_is_told_and_published_again_though_nothing_is_new(
    warehouse: Warehouse, harm: Callable[[Path], None]
) -> None:
    add(warehouse, "first")
    publish(warehouse)
    [copy] = copies_of(warehouse.path)
    harm(copy)
    with pytest.raises(PublishedCopyDamagedError, match=rf"{copy.name} is damaged.*refresh"):
        connect(home=warehouse.path.parent)
    assert publish(warehouse) is not None
    with connect(home=warehouse.path.parent) as con:
        assert named(con) == ["first"]


def test_beside_a_damaged_copy_the_one_before_is_read_with_a_warning(warehouse: Warehouse) -> None:
    for name in ("first", "second"):
        add(warehouse, name)
        publish(warehouse)
    spoil(copies_of(warehouse.path)[-1])
    with (
        pytest.warns(UserWarning, match=r"00000002\.duckdb can't be read.*the copy before it"),
        connect(home=warehouse.path.parent) as con,
    ):
        assert named(con) == ["first"]


def test_a_missing_warehouse_beside_its_copies_stops_a_load(warehouse: Warehouse) -> None:
    add(warehouse, "first")
    publish(warehouse)
    copies = copies_of(warehouse.path)
    warehouse.path.unlink()
    for work in (
        lambda: add(warehouse, "second"),
        lambda: held(warehouse),
        lambda: publish(warehouse),
    ):
        with pytest.raises(WarehouseGoneError, match="it was moved or deleted") as said:
            work()
    assert not warehouse.exists()
    assert copies_of(warehouse.path) == copies
    typed(said.value, 0)
    assert held(warehouse) == ["first"]


def test_a_missing_warehouse_can_be_begun_anew(warehouse: Warehouse) -> None:
    add(warehouse, "first")
    publish(warehouse)
    warehouse.path.unlink()
    with pytest.raises(WarehouseGoneError) as said:
        add(warehouse, "second")
    typed(said.value, 1)
    add(warehouse, "second")
    assert held(warehouse) == ["second"]
    assert list(warehouse.path.parent.glob("published.aside/*.duckdb"))


def test_an_older_copy_beside_a_newer_log_is_told(warehouse: Warehouse) -> None:
    add(warehouse, "first")
    older = warehouse.path.read_bytes()
    add(warehouse, "second")
    child = multiprocessing.get_context("forkserver").Process(
        target=leave_a_log, args=(warehouse.path,)
    )
    child.start()
    child.join()
    log = warehouse.path.with_name("warehouse.duckdb.wal")
    assert log.exists()
    warehouse.path.write_bytes(older)
    with pytest.raises(WarehouseLogError, match="Put the newer file back") as said:
        held(warehouse)
    with pytest.raises(WarehouseLogError):
        add(warehouse, "third")
    assert warehouse.path.read_bytes() == older
    typed(said.value)
    assert held(warehouse) == ["first"]
    assert log.with_name("warehouse.duckdb.wal.aside").exists()


def leave_a_log(path: Path) -> None:
    con = duckdb.connect(str(path))
    con.execute("pragma disable_checkpoint_on_shutdown")
    con.execute("create table mine as select 1")
    os._exit(9)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_reader_needs_no_right_to_write(blank: Path) -> None:
    """Also after a writer was killed, whose note and log are still there."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "warehouse.duckdb")
        shutil.copyfile(blank, path)
        add(Warehouse(path, clock=lambda: NOW), "first")
        path.with_suffix(".holder.json").write_text("{}")
        for each in (path.parent, *path.parent.iterdir()):
            each.chmod(stat.S_IMODE(each.stat().st_mode) & 0o555 | 0o444)
        path.parent.chmod(0o555)
        ours, theirs = multiprocessing.Pipe()
        child = multiprocessing.get_context("forkserver").Process(
            target=read_as_nobody, args=(path, theirs)
        )
        child.start()
        assert ours.poll(30)
        assert ours.recv() == ["first"]
        child.join()
        path.parent.chmod(0o755)


def read_as_nobody(path: Path, pipe: multiprocessing.connection.Connection) -> None:
    os.setuid(NOBODY)
    try:
        pipe.send(held(Warehouse(path, lock_wait_seconds=1, clock=lambda: NOW)))
    except Exception as error:  # noqa: BLE001 - told to the test
        pipe.send(repr(error))
