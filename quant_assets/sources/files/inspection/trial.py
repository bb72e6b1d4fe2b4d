"""The files of an archive read by proposed settings, as a load reads them."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quant_assets.contracts.source import SourceError
from quant_assets.price_rules.row_rules import check_prices
from quant_assets.reference.calendars import ALWAYS_OPEN, Calendar, exchange_calendar
from quant_assets.reference.identity import is_pair
from quant_assets.settings.sources import FilesArchive
from quant_assets.sources.files.contents import sorted_rows
from quant_assets.sources.files.conventions import dialect, prices
from quant_assets.sources.files.inspection.findings import Trial
from quant_assets.sources.files.reading import read_typed

MOST_FILES, MOST_BYTES = 300, 400_000_000
"""Files and bytes that are read in full; of more, some from the first to the last."""


def sample(files: Sequence[Path]) -> list[Path]:
    """Files to be read in full: all, or as many as are read in some seconds, evenly spread."""
    total = sum(file.stat().st_size for file in files)
    most = min(len(files), MOST_FILES, max(2, int(len(files) * MOST_BYTES / max(total, 1))))
    places = np.unique(np.linspace(0, len(files) - 1, most).astype(int))
    return [files[place] for place in places]


def rows_of(
    files: Sequence[Path], archive: FilesArchive
) -> tuple[pa.Table, pa.Table, dict[Path, str]]:
    """All rows, sorted; those that can't be read; and the files of which nothing can, with why."""
    terms = dialect(
        "inspected",
        archive,
        archive.columns.model_dump(),
        symbol_from_filename=archive.symbol_from_filename,
    )
    good, bad, unread = [], [], {}
    for file in files:
        try:
            typed, unreadable = read_typed(file, terms)
        except SourceError as error:
            unread[file] = str(error).removeprefix(file.name).strip()
            continue
        good.append(typed)
        bad.append(unreadable)
    if not good:
        return pa.table({}), pa.table({}), unread
    return sorted_rows(pa.concat_tables(good)), pa.concat_tables(bad), unread


def try_out(
    rows: pa.Table,
    unreadable: pa.Table,
    archive: FilesArchive,
    calendar: Calendar,
    now: dt.datetime,
    *,
    files: int,
) -> Trial | str:
    """What a load would store of ``rows``; where it is nothing, the reason."""
    accepted, rejected = [], [unreadable]
    known = pc.greater_equal(rows["session"], pa.scalar(calendar.sessions[0], pa.date32()))
    early = rows.num_rows - (pc.sum(known).as_py() or 0)
    for market, symbols in _markets(rows, calendar):
        some = rows.filter(pc.and_(known, pc.is_in(rows["symbol"], pa.array(symbols))))
        checked = check_prices(prices(some, archive), market, market.last_closed_session(now))
        accepted.append(checked.accepted)
        rejected.append(checked.rejected)
    good = pa.concat_tables(accepted) if accepted else rows.slice(0, 0)
    if not good.num_rows:
        reasons = Counter(pa.concat_tables(rejected)["reason"].to_pylist())
        before = f"all are older than {calendar.sessions[0]}, where the known sessions begin"
        return reasons.most_common(1)[0][0] if reasons else before
    first, last = pc.min(good["session"]).as_py(), pc.max(good["session"]).as_py()
    bad: Counter[str] = Counter()
    for row in pa.concat_tables(rejected).to_pylist():
        # Rows of other days, such as a bar of today, are not requested by the load proposed.
        if not row["session"][:1].isdecimal() or str(first) <= row["session"] <= str(last):
            bad[row["reason"].partition(":")[0]] += 1
    return Trial(
        files,
        good.num_rows,
        tuple(pc.unique(good["symbol"]).sort().to_pylist()),
        first,
        last,
        dict(bad),
        early,
        _holes(good, calendar),
    )


def _markets(rows: pa.Table, calendar: Calendar) -> list[tuple[Calendar, list[str]]]:
    symbols = pc.unique(rows["symbol"]).to_pylist()
    pairs = [symbol for symbol in symbols if is_pair(symbol)]
    others = [symbol for symbol in symbols if not is_pair(symbol)]
    both = [(calendar, others), (exchange_calendar(ALWAYS_OPEN), pairs)]
    return [(market, some) for market, some in both if some]


def _holes(rows: pa.Table, calendar: Calendar) -> Mapping[str, int]:
    """Sessions missing between the first and the last row of a symbol."""
    holes = {}
    for market, symbols in _markets(rows, calendar):
        some = rows.filter(pc.is_in(rows["symbol"], pa.array(symbols)))
        table = some.group_by("symbol").aggregate(
            [("session", "min"), ("session", "max"), ("session", "count_distinct")]
        )
        for row in table.to_pylist():
            days = np.array([row["session_min"], row["session_max"]], dtype="datetime64[D]")
            first, last = np.searchsorted(market.session_array, days)
            missing = int(last - first + 1) - row["session_count_distinct"]
            if missing > 0:
                holes[row["symbol"]] = missing
    return holes
