"""A command of ours run as a user runs it, with what it took."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Ran:
    """A command that has ended well: its time, its processor time (both seconds), the most memory
    it had, and what it printed.

    On Linux a command's memory counts from what its parent had, so what fills this process comes
    last in ``make bench``.
    """

    seconds: float
    processor: float
    gigabytes: float
    printed: str


def quant_assets(words: Sequence[str], home: Path, **settings: object) -> Ran:
    """Run the command line in ``home``, its data folder, with ``settings`` in its environment."""
    home.mkdir(parents=True, exist_ok=True)
    environment: Mapping[str, str] = {
        **os.environ,
        "QUANT_ASSETS_HOME": str(home),
        **{f"QUANT_ASSETS_{name.upper()}": str(value) for name, value in settings.items()},
    }
    command = [sys.executable, "-m", "quant_assets.cli", *words]
    with tempfile.TemporaryFile() as printed, tempfile.TemporaryFile() as complained:
        began = time.perf_counter()
        process = subprocess.Popen(
            command, env=environment, cwd=home, stdout=printed, stderr=complained
        )
        _, status, usage = os.wait4(process.pid, 0)  # tells the memory of this child alone
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        complained.seek(0)
        assert process.returncode == 0, complained.read().decode()
        printed.seek(0)
        processor = usage.ru_utime + usage.ru_stime
        return Ran(seconds, processor, usage.ru_maxrss / 1e6, printed.read().decode())
