"""A file, a folder or a glob inspected: files of one layout together, each group an archive."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from quant_assets.reference.calendars import Calendar
from quant_assets.sources.files.inspection.findings import Inspection, Proposal, Refusal
from quant_assets.sources.files.inspection.opening import NotReadable, Opening, look_at
from quant_assets.sources.files.inspection.places import files_at, is_table
from quant_assets.sources.files.inspection.propose import propose


def inspect(
    place: str, calendar: Calendar, now: dt.datetime, *, name: str = "", taken: Sequence[str] = ()
) -> Inspection:
    """What ``place`` holds, and the archives that load it; nothing is stored.

    ``calendar`` is the exchange's. ``name`` is that of the first archive; those ``taken`` are not
    used again. Raises NothingToInspectError.
    """
    openings: dict[tuple[object, ...], list[Opening]] = {}
    refused: dict[str, list[Path]] = {}
    files = files_at(place)
    for file in files:
        if len(files) > 1 and not is_table(file):  # a README beside the prices
            refused.setdefault("is neither CSV nor Parquet by its name.", []).append(file)
            continue
        try:
            opening = look_at(file)
        except NotReadable as reason:
            refused.setdefault(str(reason), []).append(file)
        else:
            openings.setdefault(opening.layout, []).append(opening)
    proposals: list[Proposal] = []
    for group in sorted(openings.values(), key=len, reverse=True):
        try:
            proposal, left_out = propose(group, place, calendar, now)
        except NotReadable as reason:
            refused.setdefault(str(reason), []).extend(opening.path for opening in group)
            continue
        for each in left_out:
            refused.setdefault(each.reason, []).extend(each.files)
        known = [*taken, *(each.name for each in proposals)]
        wanted = name or proposal.name or _named_after(group, Path(place))
        proposals.append(replace(proposal, name=_free(wanted, known)))
    refusals = [Refusal(tuple(paths), reason) for reason, paths in refused.items()]
    return Inspection(tuple(proposals), tuple(refusals))


def _named_after(group: Sequence[Opening], place: Path) -> str:
    """A name for an archive: that of its folder, or of its file if the file is no symbol's."""
    path = place.absolute() if place.is_dir() else group[0].path.parent
    return re.sub(r"[^a-z0-9]+", "_", path.name.lower()).strip("_") or "archive"


def _free(name: str, taken: Sequence[str]) -> str:
    number = 2
    free = name
    while free in taken:
        free, number = f"{name}_{number}", number + 1
    return free
