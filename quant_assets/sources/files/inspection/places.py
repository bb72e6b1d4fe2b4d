"""Which files are inspected, and the paths that name those of one archive and no others."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from quant_assets.contracts.source import SourceError
from quant_assets.reference.errors import UsageError
from quant_assets.sources.files.reading import READERS, expand, suffix_of

LISTED = 40
"""Files that are listed one by one where no glob names them alone."""


class NothingToInspectError(UsageError):
    """A path that names no file."""


def files_at(place: str) -> list[Path]:
    """The files of a path: itself, those anywhere below a folder, or those a glob matches.

    Hidden files and folders are left out. Raises NothingToInspectError.
    """
    try:
        path = Path(os.path.abspath(Path(place).expanduser()))
    except RuntimeError as error:  # ~nobody
        raise NothingToInspectError(f"There is no file or folder {place}: {error}") from None
    if path.is_dir():
        below = sorted(each for each in path.rglob("*") if each.is_file() or _leads_nowhere(each))
        found = [
            each
            for each in below
            if not any(part.startswith(".") for part in each.relative_to(path).parts)
            and "__MACOSX" not in each.parts
        ]
        if not found:
            raise NothingToInspectError(f"The folder {path} has no files.")
        return found
    try:
        return expand("files", [str(path)])
    except SourceError:
        raise NothingToInspectError(
            f"There is no file or folder {path}, and no file that it matches as a glob."
        ) from None


def _leads_nowhere(path: Path) -> bool:
    return path.is_symlink() and not path.exists()


def paths_of(files: Sequence[Path], place: str) -> tuple[str, ...]:
    """Absolute paths that name ``files``, all and no others: a glob below the ``place`` that was
    inspected where one does, so that files to come are loaded too; else each.

    With very many that no glob names alone, the glob that names fewest others.
    """
    given = Path(os.path.abspath(Path(place).expanduser()))
    wanted = set(files)
    if not given.is_dir():
        return (str(given),) if set(expand("files", [str(given)])) == wanted else _each(files)
    nested = any(file.parent != given for file in files)
    below = f"{given}/**" if nested else str(given)
    endings = sorted({file.name[-len(suffix_of(file)) :] for file in files})
    globs = [tuple(f"{below}/*{each}" for each in endings)]
    if len(endings) == 1:
        globs.append((f"{below}/*{_common(files, endings[0])}",))
    for paths in globs:
        if set(expand("files", paths)) == wanted:
            return paths
    return _each(files) if len(files) <= LISTED else globs[-1]


def _each(files: Sequence[Path]) -> tuple[str, ...]:
    return tuple(map(str, files))


def _common(files: Sequence[Path], last: str) -> str:
    """The longest ending that all names share, from a point or a separator on: ``.us.txt``."""
    backward = [file.name[::-1] for file in files]
    shared = os.path.commonprefix(backward)[::-1]  # noqa: RUF071 - of names, letter by letter
    longer = [shared[at:] for at, mark in enumerate(shared) if mark in "._-"]
    return next((each for each in longer if each.endswith(last)), last)


def is_table(path: Path) -> bool:
    """Whether a name is that of a table, so that its refusal is worth telling."""
    name = path.name.lower()
    return name.endswith((*READERS, ".xlsx", ".xls", ".zip", ".tab", ".dat", ".gz"))
