"""Splits and payments of a chart, by ex-date."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator, Mapping
from typing import Any

from quant_assets.contracts.source import BadAnswer
from quant_assets.price_rules.split_text import ratio_in
from quant_assets.reference.texts import LONGEST_TEXT, shortened
from quant_assets.sources.yahoo.fields import SOURCE, moment, number, text

UnreadEvent = tuple[dt.date | None, Mapping[str, Any]]
"""The day of an event, None where it is unreadable, and the event in Yahoo's JSON."""


def _listed(
    events: Mapping[str, Any], kind: str, zone: dt.tzinfo
) -> Iterator[tuple[dt.date | None, Mapping[str, Any]]]:
    """Each event of a kind with its local day, None where that can't be read.

    Whatever stands in place of all events of a kind is one event that can't be read.
    """
    listed = events.get(kind) or {}
    if not isinstance(listed, dict):
        yield None, {kind: listed}
        return
    for key, event in listed.items():
        fields = event if isinstance(event, dict) else {kind: event}
        spare = int(key) if key.removeprefix("-").isdecimal() and key.isascii() else None
        at = moment(fields.get("date")) or moment(spare)
        yield (at.astimezone(zone).date() if at else None), fields


def read_splits(symbol: str, events: Mapping[str, Any], zone: dt.tzinfo) -> dict[dt.date, float]:
    """Ratios by ex-date; of equal splits of a day one counts.

    Raises BadAnswer for a split that can't be read: no earlier price could be trusted.
    """
    found: dict[dt.date, dict[float, None]] = {}
    for day, split in _listed(events, "splits", zone):
        ratio = _ratio(split)
        if day is None or not 0 < ratio < math.inf:
            what = shortened(str(dict(split)), LONGEST_TEXT)
            message = f"{SOURCE} lists a split of {symbol} that can't be read: {what}."
            raise BadAnswer(SOURCE, message)
        found.setdefault(day, {})[ratio] = None
    ratios = {day: math.prod(once) for day, once in sorted(found.items())}
    return {day: ratio for day, ratio in ratios.items() if ratio != 1}


def _ratio(split: Mapping[str, Any]) -> float:
    above, below = number(split.get("numerator")), number(split.get("denominator"))
    if math.isnan(above) or math.isnan(below):
        return ratio_in(text(split.get("splitRatio")) or "") or math.nan
    return above / below if below else math.nan


_PAYMENTS = {"dividends": "cash_dividend", "capitalGains": "capital_gain"}


Payment = tuple[dt.date, str, str]
"""Ex-date, kind and currency of a payment."""

_CURRENCIES = {"GBp": "GBX"}

LONGEST_CURRENCY = 20
"""Characters kept of what stands in place of a currency."""


def currency_of(fields: Mapping[str, Any]) -> str | None:
    """The currency that some fields name, in our spelling, known here or not."""
    named = fields.get("currency")
    # Arrow refuses half a surrogate pair, which JSON can hold.
    word = str(named)[:LONGEST_CURRENCY].encode("ascii", "backslashreplace").decode()
    return None if named in (None, "") else _CURRENCIES.get(word, word)


def read_payments(
    events: Mapping[str, Any], zone: dt.tzinfo, currency: str
) -> tuple[dict[Payment, float], tuple[UnreadEvent, ...]]:
    """Amounts by ex-date, kind and currency, and unreadable payments.

    Unequal amounts of a day add up. A payment that names no currency is in ``currency``.
    """
    found: dict[Payment, dict[float, None]] = {}
    unreadable = []
    for name, kind in _PAYMENTS.items():
        for day, payment in _listed(events, name, zone):
            amount = number(payment.get("amount"))
            if day is None or not 0 <= amount < math.inf:
                unreadable.append((day, payment))
            elif amount:
                paid_in = currency_of(payment) or currency
                found.setdefault((day, kind, paid_in), {})[amount] = None
    return {key: math.fsum(once) for key, once in sorted(found.items())}, tuple(unreadable)
