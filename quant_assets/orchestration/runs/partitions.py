"""The only partition definitions: a symbol-day is a session and a ticker."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import dagster as dg
import sqlalchemy.exc
from dagster._core.definitions.partitions.context import partition_loading_context
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
)

from quant_assets.reference.calendars import Calendar

DATE = "date"
SYMBOL = "symbol"

SYMBOLS = "symbols"

symbols = dg.DynamicPartitionsDefinition(name=SYMBOLS)
"""Tickers, added when a universe or a load brings them, never removed."""


def add_tickers(instance: dg.DagsterInstance, tickers: Sequence[str]) -> None:
    """Make sure that each ticker is a partition.

    Dagster looks which are there and then inserts the others, so two runs that bring the same new
    ticker at once trip over each other. The second look finds it there.
    """
    try:
        instance.add_dynamic_partitions(SYMBOLS, tickers)
    except sqlalchemy.exc.IntegrityError:
        add_tickers(instance, tickers)


def sessions(calendar: Calendar, start: dt.date) -> dg.TimeWindowPartitionsDefinition:
    """One partition a session of ``calendar`` from ``start`` on.

    Weekends and holidays are excluded one by one, which matches the exchange exactly; a cron of
    weekdays does not. The next session's partition exists from the midnight before its day, so that
    it is there when its own evening comes.
    """
    holidays = calendar.holidays(start, calendar.last_day)
    return dg.TimeWindowPartitionsDefinition(
        start=dt.datetime.combine(start, dt.time()),
        fmt="%Y-%m-%d",
        cron_schedule="0 0 * * *",
        timezone="America/New_York",
        end_offset=1,
        exclusions=[
            "0 0 * * 6",
            "0 0 * * 0",
            *(dt.datetime.combine(day, dt.time()) for day in holidays),
        ],
    )


def symbol_days(calendar: Calendar, start: dt.date) -> dg.MultiPartitionsDefinition:
    """A partition per symbol and session: ``2024-05-31|AAPL``."""
    return dg.MultiPartitionsDefinition({DATE: sessions(calendar, start), SYMBOL: symbols})


def key_text(symbol: str, session: dt.date) -> str:
    """The key of one symbol-day as plain text; a MultiPartitionKey takes thirty times as long."""
    return f"{session.isoformat()}|{symbol}"


def symbol_day_of(key: str) -> tuple[str, dt.date]:
    """Symbol and session of a partition key."""
    day, symbol = key.split("|", maxsplit=1)
    return symbol, dt.date.fromisoformat(day)


def range_tags(first: str, last: str, start: dt.date, end: dt.date) -> dict[str, str]:
    """Run tags that request a rectangle in one run: the symbol partitions from ``first`` to
    ``last``, in their order, on the sessions from ``start`` to ``end``.
    """
    return {
        ASSET_PARTITION_RANGE_START_TAG: key_text(first, start),
        ASSET_PARTITION_RANGE_END_TAG: key_text(last, end),
    }


def rectangle(
    partitions: dg.MultiPartitionsDefinition,
    keys: dg.PartitionKeyRange,
    instance: dg.DagsterInstance,
) -> tuple[list[str], list[dt.date]]:
    """Symbols and sessions of a range of partition keys.

    A range of two dimensions is the product of a range in each, so a million keys need not be made
    to know what they are.
    """
    (first, start), (last, end) = symbol_day_of(keys.start), symbol_day_of(keys.end)
    with partition_loading_context(dynamic_partitions_store=instance):
        days = partitions.get_partitions_def_for_dimension(DATE).get_partition_keys_in_range(
            dg.PartitionKeyRange(start.isoformat(), end.isoformat())
        )
        tickers = partitions.get_partitions_def_for_dimension(SYMBOL).get_partition_keys_in_range(
            dg.PartitionKeyRange(first, last)
        )
    return list(tickers), [dt.date.fromisoformat(day) for day in days]
