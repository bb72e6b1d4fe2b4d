"""The column of the sessions: which it is, how it is written, and whether its rows are daily."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from quant_assets.reference.calendars import Calendar
from quant_assets.sources.files.inspection.dates import (
    FORMATS,
    days_of,
    described,
    first_unread,
    formats_of,
    likeliest,
    times_of,
)
from quant_assets.sources.files.inspection.names import others, plain
from quant_assets.sources.files.inspection.opening import NotReadable, Opening

_OTHER_DATE = re.compile(
    "upd|ex|pay|record|decl|ipo|list|report|fil|load|fetch|settle|birth|exp|split|first|last|start"
    "|end"
)
"""Parts of the names of dates that are not the day of a row."""

MOST_CLOSED = 0.02
"""Share of days on which New York was closed, from which on prices are of another market."""

_PERIODS = {"w": "weekly", "m": "monthly", "y": "yearly"}


@dataclass(frozen=True)
class Sessions:
    """``form`` is the date_format; ``words`` say how dates are written."""

    column: str
    form: str
    words: str


def find_sessions(openings: Sequence[Opening], column: str, calendar: Calendar) -> Sessions:
    """Raises NotReadable for dates that can't be read one way only, and for bars of other lengths.

    ``column`` is the one that is called like a date.
    """
    _check_period(openings)
    texts = _texts(openings, column)
    form = _form(texts, column, calendar)
    _check_other_dates(openings, column, form, calendar)
    if openings[0].parquet and not all(isinstance(v, str) for v in openings[0].columns[column]):
        dated = next((v for v in openings[0].columns[column] if v is not None), None)
        if isinstance(dated, dt.date):
            return Sessions(column, "%Y-%m-%d", f"stored as dates, in the column {column}")
    words = f"{described(form, texts[0])}, in the column {column}"
    return Sessions(column, form, words)


def _texts(openings: Sequence[Opening], column: str) -> list[str]:
    texts = [text for opening in openings for text in opening.texts(column)]
    if not texts:
        raise NotReadable(f"has no date in its column {column}.")
    return texts


def _form(texts: Sequence[str], column: str, calendar: Calendar) -> str:
    forms = formats_of(texts)
    if not forms:
        if all(re.fullmatch(r"\d{5}(\.\d+)?", text) for text in texts):
            raise NotReadable(
                f"has dates as a spreadsheet counts them ({texts[0]}). Format the column {column} "
                "as dates before you save it as CSV."
            )
        raise NotReadable(
            f"has dates that can't be read, such as {column} {first_unread(texts)!r}."
        )
    best = likeliest(forms, texts, calendar)
    if len({tuple(days_of(texts, form)) for form in best}) > 1:
        raise NotReadable(
            f"has dates such as {texts[0]}, which may be {FORMATS[best[0]]} or "
            f"{FORMATS[best[1]]}: by either, all are sessions. Inspect more of the archive, or set "
            f'date_format by hand: "{best[0]}" or "{best[1]}".'
        )
    return best[0]


def _check_other_dates(
    openings: Sequence[Opening], column: str, form: str, calendar: Calendar
) -> None:
    names = {
        *others(openings[0].columns, "session"),
        *(name for name in openings[0].columns if _is_dated(name)),
    }
    for other in names - {column}:
        for opening in openings:
            forms = formats_of(opening.texts(other))
            if not forms:
                continue
            own = opening.texts(column)
            best = likeliest(forms, opening.texts(other), calendar)[0]
            pairs = zip(own, opening.texts(other), strict=False)
            for mine, theirs in pairs:
                if days_of([mine], form) != days_of([theirs], best):
                    raise NotReadable(
                        f"has two columns of dates that disagree: {column} has {mine} where "
                        f"{other} has {theirs}. Which is the session can't be told; leave one out."
                    )


def _is_dated(name: str) -> bool:
    short = plain(name)
    return ("date" in short or short.endswith("day")) and not _OTHER_DATE.search(short)


def _check_period(openings: Sequence[Opening]) -> None:
    """Stooq and MetaStock say in a column PER how long a bar is: D, or minutes."""
    for opening in openings:
        for name in opening.columns:
            if plain(name) not in ("per", "period", "timeframe", "interval"):
                continue
            for text in opening.texts(name):
                if text.lower() in ("d", "1d", "day", "daily", "1day"):
                    continue
                long = _PERIODS.get(text.lower().strip("1")[:1])
                what = f"{long} bars" if long else f"bars of {text} minutes"
                raise NotReadable(
                    f"has {what} (its column {name} has {text}). Only daily are read."
                )


def check_daily(openings: Sequence[Opening], column: str, rows: pa.Table) -> None:
    """Raises NotReadable where rows are not one a symbol and day."""
    times = times_of([text for opening in openings for text in opening.texts(column)])
    for opening in openings:
        for name in opening.columns:
            if plain(name) in ("time", "timeutc", "hour", "minute"):
                times |= set(opening.texts(name))
    keys = rows.group_by(["symbol", "session"]).aggregate([]).num_rows
    several = rows.num_rows - keys
    if several > 0.5 * rows.num_rows or (several and len(times) > 1):
        first = ", ".join(sorted(times)[:2])
        when = f" (at {first}, …)" if len(times) > 1 else ""
        raise NotReadable(
            f"has several bars a day{when}, {rows.num_rows:,} rows for {keys:,} symbol-days. Only "
            "daily bars are read."
        )
    first_symbol = rows.filter(pc.equal(rows["symbol"], rows["symbol"][0]))
    days = first_symbol["session"].to_numpy().astype("datetime64[D]").astype(int)
    gaps = days[1:] - days[:-1]
    if len(gaps) >= 4 and min(gaps) >= 5:
        raise NotReadable(
            f"has a row every {int(gaps.min())} days or more: weekly or monthly bars. Only daily "
            "bars are read; longer ones are made from them."
        )


def check_market(rows: pa.Table, calendar: Calendar) -> None:
    """Raises NotReadable where too many days are no sessions of New York."""
    days = [day for day in pc.unique(rows["session"]).to_pylist() if day >= calendar.sessions[0]]
    days.sort()
    closed = [day for day in days if not calendar.is_session(day)]
    if len(closed) > max(2, MOST_CLOSED * len(days)):
        some = ", ".join(map(str, closed[:3]))
        raise NotReadable(
            f"has rows on {len(closed):,} of {len(days):,} days when New York was closed ({some}, "
            "…): it is of another exchange, or fills holidays. Only sessions of New York, and of "
            "pairs such as BTC-USD, are known here."
        )
