"""What a frame of prices lacks, and why: the sessions requested less those stored, and less those
that a source confirmed to be empty.

A frame that lacks nothing costs one count of its rows; only securities that are short of sessions
are looked up.
"""

from __future__ import annotations

import datetime as dt
import warnings
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa

from quant_assets.price_rules.adjustment import Ints
from quant_assets.read.adjusted_rows import Choice, best, days
from quant_assets.reference.calendars import Calendar
from quant_assets.reference.identity import is_pair
from quant_assets.schema.prices import DAILY_PRICES
from quant_assets.warehouse.writing import as_arrow, listed_ids

Flags = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]

SHOWN = 3
"""Symbols a warning names before it says how many more there are."""


class MissingDataWarning(UserWarning):
    """A read whose frame lacks something that was requested; ``attrs["missing"]`` says what.

    ``warnings.simplefilter("error", MissingDataWarning)`` makes an error of it.
    """


@dataclass(frozen=True)
class Span:
    """The days of a read: ``exchange`` and ``pairs`` tell of each day from ``first`` to ``last``
    whether a session of it has closed.
    """

    first: dt.date
    last: dt.date
    exchange: Flags
    pairs: Flags

    @classmethod
    def of(cls, first: dt.date, last: dt.date, calendar: Calendar, now: dt.datetime) -> Span:
        moment = now.astimezone(dt.UTC).replace(tzinfo=None)
        # The first session not closed yet, also where the calendar ends before today.
        closed = bisect_right(calendar.closes_at, moment)
        upto = min(bisect_right(calendar.sessions, last), closed)
        sessions = calendar.session_array[bisect_left(calendar.sessions, first) : upto]
        exchange = np.zeros((last - first).days + 1, dtype=bool)
        exchange[(sessions - np.datetime64(first)).astype(int)] = True
        # A pair's day ends at midnight in UTC.
        pairs = np.arange(len(exchange)) < (moment.date() - first).days
        return cls(first, last, exchange, pairs)

    @property
    def in_words(self) -> str:
        one = self.first == self.last
        return f"on {self.first}" if one else f"from {self.first} to {self.last}"


def missing_of(
    con: duckdb.DuckDBPyConnection,
    choice: Choice,
    labels: Mapping[int, str],
    ids: Ints,
    sessions: Ints,
    *,
    span: Span,
    only: str | None,
    named: bool,
) -> dict[str, str]:
    """What each symbol lacks, by symbol and sorted; ``ids`` and ``sessions`` (days since
    1970-01-01) are those of the rows of the read.

    With ``only``, of that source alone. A security that is confirmed to have nothing in these days
    lacks something only if it was ``named``, or where no session has closed in them.
    """
    counts = np.bincount(ids, minlength=max(labels, default=0) + 1).tolist()
    complete = np.count_nonzero(span.exchange)
    named = named or not complete
    short = [
        security
        for security, label in labels.items()
        if counts[security] != complete or not complete or is_pair(label)
    ]
    if not short:
        return {}
    pairs = np.array([is_pair(labels[security]) for security in short])
    wanted = np.where(pairs[:, None], span.pairs, span.exchange)
    places = np.full(len(counts), -1)
    places[short] = np.arange(len(short))
    stored = np.zeros_like(wanted)
    picked = np.flatnonzero((places >= 0)[ids])
    at = sessions[picked] - (span.first - dt.date(1970, 1, 1)).days
    stored[places[ids[picked]], at] = True
    lacking = wanted & ~stored
    if not (lacking.any() or (named and not stored.any(axis=1).all())):
        return {}
    found = _Found(con, choice, only, span, short, places, wanted, stored, lacking)
    found.leave_out_confirmed()
    why = found.reasons(named=named)
    return dict(sorted((labels[security], text) for security, text in why.items()))


def warn_of_missing(missing: Mapping[str, str], requested: int, span: Span) -> None:
    """One warning of all that is missing, at the line that called the reading function."""
    if not missing:
        return
    if set(missing.values()) == {_no_session(span)}:
        text = f"{_no_session(span).capitalize()}: the frame has no row of {_few(list(missing))}."
    else:
        shown = "; ".join(f"{symbol}: {why}" for symbol, why in list(missing.items())[:SHOWN])
        more = f"; and {len(missing) - SHOWN:,} more" if len(missing) > SHOWN else ""
        text = (
            f"Data is missing of {len(missing):,} of {requested:,} symbols: {shown}{more}. "
            'attrs["missing"] of the frame has the reason of each.'
        )
    warnings.warn(text, MissingDataWarning, stacklevel=3)


def _few(symbols: Sequence[str]) -> str:
    more = f" and {len(symbols) - SHOWN:,} more" if len(symbols) > SHOWN else ""
    return ", ".join(symbols[:SHOWN]) + more


def _no_session(span: Span) -> str:
    return f"no session has closed {span.in_words}"


@dataclass
class _Found:
    """The securities that may lack something, a line each, over the days of ``span``; ``places``
    has the line of each security, or -1.
    """

    con: duckdb.DuckDBPyConnection
    choice: Choice
    only: str | None
    span: Span
    securities: Sequence[int]
    places: Ints
    wanted: Flags
    stored: Flags
    lacking: Flags

    def leave_out_confirmed(self) -> None:
        """Days that a source confirmed to be empty are not lacking."""
        found = self._ledger("outcome = 'empty' as confirmed")
        confirmed = found["confirmed"].to_numpy()
        at = self._at(found)
        self.lacking[at[0][confirmed], at[1][confirmed]] = False

    def _ledger(self, what: str) -> pa.Table:
        """What was requested and has no row. Of several sources the preferred one decides.

        Days are literals, and sources left out where any will do: DuckDB binds and compares them
        for longer than it reads.
        """
        bound = {"only": self.only} if self.only else {}
        ranked = best(self.choice)
        return as_arrow(
            self.con.execute(
                f"select security_id, session, {what} from symbol_day_ledger p"  # noqa: S608 - our own
                f" where dataset = '{DAILY_PRICES.name}'"
                f" and security_id in ({listed_ids(self.securities)})"
                f" and session between date '{self.span.first}' and date '{self.span.last}'"
                + (" and source = $only" if self.only else "")
                + ranked,
                bound | ({"sources": list(self.choice.sources)} if ranked else {}),
            )
        )

    def _at(self, found: pa.Table) -> tuple[Ints, Ints]:
        """The lines of rows of the ledger, and their places among the days."""
        offset = (self.span.first - dt.date(1970, 1, 1)).days
        return self.places[found["security_id"].to_numpy()], days(found, "session") - offset

    def _read_reasons(self) -> None:
        """The reasons in the ledger, sorted by line."""
        why = "if(outcome = 'quarantined', 'in quarantine: ', '') || reason as why"
        found = self._ledger(why)
        lines, at = self._at(found)
        order = np.argsort(lines, kind="stable")
        encoded = found["why"].combine_chunks().dictionary_encode()
        self.lines, self.days = lines[order], at[order]
        self.codes = encoded.indices.to_numpy()[order]
        self.texts = encoded.dictionary.to_pylist()

    def reasons(self, *, named: bool) -> dict[int, str]:
        """What each security lacks, and why, by security."""
        doubtful = self.lacking.any(axis=1) | (~self.stored.any(axis=1) & named)
        lines = np.flatnonzero(doubtful).tolist()
        if not lines:
            return {}
        self._read_reasons()
        about = _about(self.con, self.only, [self.securities[line] for line in lines])
        why = {}
        for line in lines:
            known = about[self.securities[line]]
            on_market = known.on_market(self.span)
            gaps = np.flatnonzero(self.lacking[line] & on_market)
            if not self.stored[line].any() and (named or gaps.size):
                why[self.securities[line]] = self._nothing(line, known)
            elif gaps.size:
                wanted = np.count_nonzero(self.wanted[line] & on_market)
                first, last = (self.span.first + dt.timedelta(int(gap)) for gap in gaps[[0, -1]])
                when = f"{first}" if first == last else f"{first} to {last}"
                told = self._told(line, gaps) or known.failed or ": never requested"
                why[self.securities[line]] = (
                    f"{gaps.size:,} of {wanted:,} sessions lacking, {when}{told}"
                )
        return why

    def _nothing(self, line: int, known: _About) -> str:
        """Why there is no row at all."""
        told = self._told(line, np.flatnonzero(self.lacking[line])) or known.failed
        if known.first is None:
            return f"never loaded{told}"
        if not self.wanted[line].any():
            return _no_session(self.span)
        stored = f"; stored are {known.first} to {known.last}"
        return f"nothing in this range{known.off_market(self.span) or told or stored}"

    def _told(self, line: int, gaps: Ints) -> str:
        """The commonest reason in the ledger of days without a row; of ``gaps``, if there are any.
        Empty where most of them are not in it.
        """
        here = slice(*np.searchsorted(self.lines, [line, line + 1]))
        codes = self.codes[here]
        if gaps.size:
            codes = codes[np.isin(self.days[here], gaps)]
        if not codes.size or 2 * codes.size < gaps.size:
            return ""
        return f": {self.texts[np.bincount(codes).argmax()].rstrip('.')}"


@dataclass(frozen=True)
class _About:
    """What is known of a security: when it was listed, the first and last session stored of it, and
    why its last request failed.
    """

    listed_on: dt.date | None
    delisted_on: dt.date | None
    first: dt.date | None
    last: dt.date | None
    error: str | None

    @property
    def failed(self) -> str:
        return f": {self.error.rstrip('.')}" if self.error else ""

    def on_market(self, span: Span) -> Flags:
        """Of each day of ``span``, whether the security was listed."""
        day = np.arange(len(span.exchange))
        since = (self.listed_on - span.first).days if self.listed_on else 0
        until = (self.delisted_on - span.first).days if self.delisted_on else len(day)
        return (day >= since) & (day < until)

    def off_market(self, span: Span) -> str:
        if self.listed_on and self.listed_on > span.last:
            return f": listed on {self.listed_on}"
        if self.delisted_on and self.delisted_on <= span.first:
            return f": off the market since {self.delisted_on}"
        return ""


def _about(
    con: duckdb.DuckDBPyConnection, only: str | None, securities: Sequence[int]
) -> dict[int, _About]:
    listed = listed_ids(securities)
    rows = con.execute(
        "select s.security_id, s.listed_on, s.delisted_on, p.first_on, p.last_on, t.error"  # noqa: S608 - our own ids
        " from securities s left join (select security_id, min(session) as first_on,"
        f"  max(session) as last_on from daily_prices where security_id in ({listed})"
        "  and ($only is null or source = $only) group by 1) p"
        " using (security_id) left join (select h.security_id, any_value(t.error) as error"
        "  from load_tasks t join symbol_history h using (symbol)"
        f"  where t.dataset = '{DAILY_PRICES.name}' and t.state in ('failed', 'rate_limited')"
        f"   and h.valid_to is null and h.security_id in ({listed}) group by 1) t"
        f" using (security_id) where s.security_id in ({listed})",
        {"only": only},
    ).fetchall()
    return {security: _About(*what) for security, *what in rows}
