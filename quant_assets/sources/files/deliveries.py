"""Deliveries of one archive folded into one row a symbol-day, as if loaded day by day."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from quant_assets.price_rules.corporate_actions import InferredEvent
from quant_assets.price_rules.deliveries import fold
from quant_assets.price_rules.row_rules import check_prices
from quant_assets.reference.calendars import Calendar
from quant_assets.settings.sources import FilesArchive
from quant_assets.sources.files.contents import Contents, sorted_rows
from quant_assets.sources.files.conventions import (
    REPORTED,
    derived_distributions,
    derives_distributions,
    derives_splits,
    prices,
)
from quant_assets.sources.files.share_basis import in_shares_of_their_day

Splits = dict[tuple[str, dt.date], float]


def fold_deliveries(
    deliveries: Sequence[pa.Table], contents: Contents, archive: FilesArchive, calendar: Calendar
) -> Contents:
    """``contents`` with the rows of ``deliveries``, oldest first, as one row a symbol-day.

    A row that breaks a rule must not correct one that is sound, so the rules come first here.
    """
    accepted, rejected, reported = [], [contents.unreadable], []
    derived: Splits = {}
    for delivery in deliveries:
        rows = sorted_rows(delivery)
        reported.append(rows.select(REPORTED))
        if derives_splits(archive):
            rows = in_shares_of_their_day(rows)
            derived |= _splits(rows)
        if derives_distributions(archive):
            reported.append(derived_distributions(rows, archive))
        checked = check_prices(prices(rows, archive), calendar, dt.date.max)
        accepted.append(checked.accepted)
        rejected.append(checked.rejected)
    numbers = _latest(reported)
    known: dict[str, list[tuple[dt.date, float]]] = {}
    for (symbol, day), ratio in (derived | _splits(numbers)).items():
        known.setdefault(symbol, []).append((day, ratio))
    folded = fold(accepted, known)
    inferred = {
        key: (InferredEvent(key[1], ratio), "adjusted close") for key, ratio in derived.items()
    } | {
        (symbol, event.ex_date): (event, "overlap")
        for symbol, events in folded.events.items()
        for event in events
    }
    rejected.append(folded.rejected)
    return replace(
        contents,
        rows=folded.rows,
        unreadable=pa.concat_tables(rejected),
        reported=numbers,
        inferred=inferred,
    )


def _splits(rows: pa.Table) -> Splits:
    splits = rows.filter(pc.fill_null(pc.greater(rows["split"], 0.0), False))
    return {(row["symbol"], row["session"]): row["split"] for row in splits.to_pylist()}


def _latest(reported: Sequence[pa.Table]) -> pa.Table:
    """The last number reported of each symbol-day."""
    by_day = pa.concat_tables(reported).group_by(["symbol", "session"], use_threads=False)
    last = by_day.aggregate([("split", "last"), ("dividend", "last")])
    return last.rename_columns(REPORTED)
