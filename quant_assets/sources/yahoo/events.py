"""Splits and payments of a chart, by ex-date."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator, Mapping
from typing import Any

from quant_assets.contracts.source import BadAnswer
from quant_assets.sources.yahoo.fields import SOURCE, mapping, moment, number

UnreadEvent = tuple[dt.date | None, Mapping[str, Any]]
"""An event as Yahoo tells it, and its day where that is legible."""


def _listed(
    events: Mapping[str, Any], kind: str, zone: dt.tzinfo
) -> Iterator[tuple[dt.date | None, Mapping[str, Any]]]:
    """Each event of a kind with its local day, None where that can't be read."""
    for key, event in mapping(events.get(kind)).items():
        told = mapping(event)
        spare = int(key) if key.removeprefix("-").isdecimal() and key.isascii() else None
        at = moment(told.get("date")) or moment(spare)
        yield (at.astimezone(zone).date() if at else None), told


def read_splits(symbol: str, events: Mapping[str, Any], zone: dt.tzinfo) -> dict[dt.date, float]:
    """Ratios by ex-date; one told twice counts once.

    Raises BadAnswer for one that can't be read: no earlier price could be trusted.
    """
    found: dict[dt.date, dict[float, None]] = {}
    for day, told in _listed(events, "splits", zone):
        ratio = _ratio(told)
        if day is None or not 0 < ratio < math.inf:
            message = f"{SOURCE} lists a split of {symbol} that can't be read: {dict(told)}."
            raise BadAnswer(SOURCE, message)
        found.setdefault(day, {})[ratio] = None
    ratios = {day: math.prod(told) for day, told in sorted(found.items())}
    return {day: ratio for day, ratio in ratios.items() if ratio != 1}


def _ratio(split: Mapping[str, Any]) -> float:
    above, below = number(split.get("numerator")), number(split.get("denominator"))
    if math.isnan(above) or math.isnan(below):
        sides = str(split.get("splitRatio") or "").replace("/", ":").split(":")
        try:
            above, below = map(float, sides)
        except ValueError:
            return math.nan
    return above / below if below else math.nan


_PAYMENTS = {"dividends": "cash_dividend", "capitalGains": "capital_gain"}


def read_payments(
    events: Mapping[str, Any], zone: dt.tzinfo
) -> tuple[dict[tuple[dt.date, str], float], tuple[UnreadEvent, ...]]:
    """Amounts by ex-date and kind; different ones of a day add up, one told twice counts once."""
    found: dict[tuple[dt.date, str], dict[float, None]] = {}
    impossible = []
    for name, kind in _PAYMENTS.items():
        for day, told in _listed(events, name, zone):
            amount = number(told.get("amount"))
            if day is None or not 0 <= amount < math.inf:
                impossible.append((day, told))
            elif amount:
                found.setdefault((day, kind), {})[amount] = None
    return {key: math.fsum(told) for key, told in sorted(found.items())}, tuple(impossible)
