"""What an inspection ends with: proposals of archives, and files that are refused."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

SHORT = 3
"""Values that are written on one line of the settings file."""


@dataclass(frozen=True)
class Finding:
    """One thing that was recognised; ``about`` is a word or two, ``found`` a sentence."""

    about: str
    found: str


@dataclass(frozen=True)
class Trial:
    """What the proposed settings read of the files: rows that can be stored, and others by reason.

    ``files`` is how many were read, of all files of the archive.
    """

    files: int
    rows: int
    symbols: tuple[str, ...]
    first: dt.date
    last: dt.date
    bad: Mapping[str, int] = field(default_factory=dict)
    early: int = 0
    """Rows of days before the first session that is known."""
    holes: Mapping[str, int] = field(default_factory=dict)
    """Sessions that are missing between the rows of a symbol."""


@dataclass(frozen=True)
class Proposal:
    """An archive and the settings that load it, by their names in ``FilesArchive``."""

    name: str
    files: int
    settings: Mapping[str, object]
    findings: tuple[Finding, ...]
    trial: Trial

    @property
    def block(self) -> str:
        """The section of the settings file, as TOML."""
        lines, below = [f"[files.{self.name}]"], []
        for key, value in self.settings.items():
            if isinstance(value, Mapping) and len(value) > SHORT:
                below.append(f"[files.{self.name}.{key}]")
                below += [f"{name} = {_toml(inner)}" for name, inner in value.items()]
            else:
                lines.append(f"{key} = {_toml(value)}")
        return "\n".join([*lines, *below]) + "\n"

    @property
    def command(self) -> str:
        return (
            f"quant-assets backfill --source files:{self.name} --start {self.trial.first} "
            f"--end {self.trial.last}"
        )


@dataclass(frozen=True)
class Refusal:
    """Files that are not loaded for one reason; the reason goes on after a file's name."""

    files: tuple[Path, ...]
    reason: str


@dataclass(frozen=True)
class Inspection:
    proposals: tuple[Proposal, ...]
    refusals: tuple[Refusal, ...]


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dt.date):
        return str(value)
    if isinstance(value, Mapping):
        pairs = ", ".join(f"{key} = {_toml(inner)}" for key, inner in value.items())
        return f"{{ {pairs} }}"
    if isinstance(value, list | tuple):
        if len(value) > SHORT:
            return "[\n" + "".join(f"    {_toml(item)},\n" for item in value) + "]"
        return f"[{', '.join(_toml(item) for item in value)}]"
    # A basic string of TOML is escaped as JSON is, but for surrogates.
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
