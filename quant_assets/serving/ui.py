"""The Dagster UI over a data folder: its instance, its environment and its command line."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn


def serve_ui(
    home: Path, host: str, port: int, config: Path | None, environment: Mapping[str, str]
) -> NoReturn:
    """Become ``dagster dev`` on ``host`` and ``port``, over the data folder ``home``.

    This process ends: its processes read the settings again, from ``config`` if that is given and
    from ``environment``. Raises OSError where the folder can't be written.
    """
    from quant_assets.orchestration.instance.instance import prepare

    folder = prepare(home)
    variables = {
        **environment,
        "DAGSTER_HOME": str(folder),
        "QUANT_ASSETS_HOME": str(home),
        **({"QUANT_ASSETS_CONFIG": str(config.absolute())} if config else {}),
    }
    command = (
        *(sys.executable, "-W", "ignore", "-m", "dagster", "dev"),
        *("--workspace", str(folder / "workspace.yaml")),
        *("--host", host, "--port", str(port)),
    )
    os.execve(sys.executable, command, variables)  # noqa: S606 - our own interpreter
