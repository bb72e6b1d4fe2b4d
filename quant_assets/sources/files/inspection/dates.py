"""How the dates of a column are written: a format, or the unit of an epoch."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence

import numpy as np

from quant_assets.reference.calendars import Calendar
from quant_assets.sources.files.cells import EPOCHS, read_date

FORMATS = {
    "%Y-%m-%d": "year-month-day",
    "%Y%m%d": "yearmonthday in one",
    "%Y/%m/%d": "year/month/day",
    "%Y.%m.%d": "year.month.day",
    "%m/%d/%Y": "month/day/year",
    "%d/%m/%Y": "day/month/year",
    "%m-%d-%Y": "month-day-year",
    "%d-%m-%Y": "day-month-year",
    "%d.%m.%Y": "day.month.year",
    "%m/%d/%y": "month/day/year of two digits",
    "%d/%m/%y": "day/month/year of two digits",
    "%d.%m.%y": "day.month.year of two digits",
    "%d-%b-%Y": "day, month by name, year",
    "%d-%b-%y": "day, month by name, year of two digits",
    "%d %b %Y": "day, month by name, year",
    "%d %B %Y": "day, month by name, year",
    "%b %d, %Y": "month by name, day, year",
    "%B %d, %Y": "month by name, day, year",
    "%A, %B %d, %Y": "day of the week, month by name, day, year",
    "%a %b %d %Y": "day of the week, month by name, day, year",
}

UNITS = {
    "epoch_s": "seconds since 1970 (UTC)",
    "epoch_ms": "milliseconds since 1970 (UTC)",
    "epoch_us": "microseconds since 1970 (UTC)",
    "epoch_ns": "nanoseconds since 1970 (UTC)",
}

_FIRST, _LAST = dt.date(1850, 1, 1), dt.date(2100, 1, 1)
_COUNTED_FROM = dt.date(1980, 1, 1)
"""Days before this are no epochs: 20240520 seconds are in August 1970."""

FITS = 0.8
"""Share of the cells that a format must read: an archive may have bad ones, and a last line."""

_TIME = re.compile(r"(?:[T\s]|^)(\d{1,2}:\d{2}(?::\d{2})?)")


def is_a_date(text: str) -> bool:
    return bool(text.strip()) and bool(formats_of([text.strip()]))


def formats_of(texts: Sequence[str]) -> list[str]:
    """Every format that reads as many of the texts as any, if these are most; epochs last."""
    distinct = list(dict.fromkeys(texts))[:400]
    read = dict[str, int]()
    for form in (*FORMATS, *EPOCHS):
        days = [read_date(text, form) for text in distinct]
        first = _COUNTED_FROM if form in EPOCHS else _FIRST
        read[form] = sum(day is not None and first <= day < _LAST for day in days)
    most = max(read.values())
    wanted = max(1.0, FITS * len(distinct))
    return [form for form, good in read.items() if good == most >= wanted]


def likeliest(forms: Sequence[str], texts: Sequence[str], calendar: Calendar) -> list[str]:
    """Those formats by which most dates are sessions; several where they are equally good."""
    shares = {form: sessions_share(days_of(texts, form), calendar) for form in forms}
    best = max(shares.values(), default=0.0)
    return [form for form, share in shares.items() if share == best]


def days_of(texts: Sequence[str], form: str) -> list[dt.date]:
    days = (read_date(text, form) for text in dict.fromkeys(texts))
    return [day for day in days if day is not None]


def sessions_share(days: Sequence[dt.date], calendar: Calendar) -> float:
    if not days:
        return 0.0
    found = np.isin(np.array(days, dtype="datetime64[D]"), calendar.session_array)
    return float(found.mean())


def times_of(texts: Sequence[str]) -> set[str]:
    """The times of day in texts."""
    return {match[1] for text in texts if (match := _TIME.search(text))}


def described(form: str, example: str) -> str:
    """A format in words, with a date of the file."""
    return f"{UNITS.get(form) or FORMATS[form]}, such as {example}"


def first_unread(texts: Sequence[str]) -> str:
    """A text that the format which reads most of them does not."""
    unread = ([text for text in texts if read_date(text, form) is None] for form in FORMATS)
    return min(unread, key=len, default=list(texts))[0]
