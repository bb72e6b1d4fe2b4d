"""Where an operation works, and who watches it.

In a notebook that is a data folder and ``on_progress``; the command line brings its own.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from quant_assets.journal.progress import Progress
from quant_assets.loading.report import LoadReport
from quant_assets.refreshing.load_steps import Watch
from quant_assets.refreshing.windows import Note
from quant_assets.settings.settings import Settings, load_settings
from quant_assets.warehouse.published_copy import publish
from quant_assets.wiring.platform import Platform


def warn(text: str) -> None:
    """A note as a warning, at the line that called the operation."""
    warnings.warn(text, UserWarning, stacklevel=3)


@dataclass(frozen=True)
class Workplace:
    """A data folder with its sources, and who is told of steps, reports and notes."""

    platform: Platform
    watch: Watch
    on_report: Callable[[LoadReport], None] = lambda report: None
    on_note: Note = warn

    def publish(self) -> None:
        """Hand what is stored to readers of the published copy."""
        if self.platform.warehouse.exists():
            publish(self.platform.warehouse)


def workplace_of(
    home: Path | str | None, settings: Settings | None, on_progress: Progress
) -> Workplace:
    """The data folder of ``settings``, or of those found for ``home``. Raises SettingsError."""
    if settings is None:
        flags = {} if home is None else {"home": Path(home).absolute()}
        settings = load_settings(os.environ, flags=flags)
    return Workplace(Platform(settings), lambda step, source: nullcontext(on_progress))
