"""The arguments of a read, checked: choices and days. Whatever is no answer to what was asked for
is refused with what would be one.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence

import numpy as np

from quant_assets.reference.errors import UsageError
from quant_assets.warehouse.writer_lock import Clock

Day = dt.date | str | np.datetime64
"""A date, a text such as 2024-05-21, or a datetime, pandas Timestamp or NumPy datetime64, of which
the time is dropped."""

FARTHEST_AHEAD = dt.timedelta(hours=14)
"""How far ahead of UTC the first zone to begin a day is."""


class ArgumentError(UsageError, ValueError):
    """An argument that a read can't take."""


def require_choice(name: str, value: object, choices: Sequence[str | bool]) -> None:
    """Raises ArgumentError where ``value`` is none of the choices."""
    # An array equals nothing plainly, and 1 equals True.
    if not any(type(value) is type(choice) and value == choice for choice in choices):
        listed = ", ".join(map(repr, choices))
        raise ArgumentError(f"{name} is one of {listed}; got {value!r}.")


def listed_symbols(symbols: object) -> list[str | int]:
    """The tickers and security ids of a read; NumPy's numbers, as in a column of ids, become plain.

    Raises ArgumentError; whether a text is a symbol is not looked at.
    """
    items: Iterable[object] = [symbols]
    if isinstance(symbols, Iterable) and not isinstance(symbols, str | bytes):
        items = symbols
    listed: list[str | int] = []
    for item in items:
        if isinstance(item, str):
            listed.append(item)
        # True is a whole number to Python.
        elif isinstance(item, int | np.integer) and not isinstance(item, bool):
            listed.append(int(item))
        else:
            raise ArgumentError(f"symbols are tickers or security ids, or None; got {item!r}.")
    return listed


def day_of(name: str, day: Day, clock: Clock | None = None) -> dt.date:
    """The day that an argument names; with a ``clock``, one that has begun somewhere on earth.

    Raises ArgumentError.
    """
    found = _day(day)
    if found is None:
        raise ArgumentError(f"{name} is a date, or a text such as '2024-05-31'; got {day!r}.")
    if clock is not None and found > (clock().astimezone(dt.UTC) + FARTHEST_AHEAD).date():
        raise ArgumentError(f"{name}={found} is in the future; today is {clock().date()} in UTC.")
    return found


def days_of(start: Day, end: Day, clock: Clock) -> tuple[dt.date, dt.date]:
    """The first and the last day of a read. Raises ArgumentError."""
    # The end first: a command that is given it alone reckons the start from it.
    last = day_of("end", end, clock)
    first = day_of("start", start, clock)
    if first > last:
        raise ArgumentError(f"start={first} is after end={last}.")
    return first, last


def _day(day: object) -> dt.date | None:
    found = day
    if isinstance(day, np.datetime64):
        # A month or a year names no day.
        exact = np.datetime_data(day.dtype)[0] not in ("Y", "M", "W", "generic")
        found = day.astype("datetime64[D]").item() if exact else None
    elif isinstance(day, str):
        try:
            found = dt.datetime.fromisoformat(day.strip()).date()
        except ValueError:
            found = None
    elif isinstance(day, dt.datetime):
        found = day.date()
    # The day of pandas' NaT is NaT, which is a date and unlike itself.
    return found if isinstance(found, dt.date) and found == found else None  # noqa: PLR0124
