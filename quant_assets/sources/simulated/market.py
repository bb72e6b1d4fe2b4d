"""An invented market for the demo and for load tests: real sessions, invented companies.

The same seed gives the same market. A security's prices depend only on the seed, its index and the
market's start, so each can be computed without the others, and a later ``end`` adds sessions and
changes none before it. ``_CALENDAR_OF_EVENTS`` has the events of each security. This source always
answers: time-outs and broken rows are the stand-ins' of the tests.
"""

from __future__ import annotations

import datetime as dt
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from quant_assets.contracts.membership import Constituent, MembershipInterval, UniverseAnswer
from quant_assets.contracts.prices import (
    ACTION_COLUMNS,
    EMPTY_COLUMNS,
    PRICE_COLUMNS,
    PriceAnswer,
    PriceProfile,
)
from quant_assets.contracts.source import Request, UnknownSymbolAtSource
from quant_assets.reference.calendars import Calendar
from quant_assets.reference.identity import KnownIdentity

Floats = npt.NDArray[np.float64]
Actions = list[tuple[int, str, float]]
"""Session, kind, and the ratio of a split or the amount of anything else, per share of that day."""
Sessions = npt.NDArray[np.int64]
"""Sessions as numbers: 0 is the first of the market, negative ones lie before it."""

_NAME = "simulated"
_CHUNK = 32
_GROUP = 20
_NEVER = 2**31
"""A session that no market reaches."""


@dataclass(frozen=True)
class _Event:
    """An event of the securities at ``places`` of every group of twenty, a session apart."""

    places: Sequence[int]
    session: int
    every: int | None = None


_CALENDAR_OF_EVENTS = {
    "split": _Event(places=(0, 1, 2, 3), session=40, every=1008),
    "cash_dividend": _Event(places=range(0, _GROUP, 2), session=11, every=63),
    "special_dividend": _Event(places=(4,), session=70, every=504),
    "spin_off": _Event(places=(5,), session=90, every=1260),
    "halt": _Event(places=(13,), session=30, every=126),
    "late_listing": _Event(places=(6,), session=50),
    "delisting": _Event(places=(7,), session=80),
    "reuse_of_the_ticker_before": _Event(places=(8,), session=140),
    "rename": _Event(places=(9,), session=110),
    "joining_the_index": _Event(places=(10,), session=60),
    "leaving_the_index": _Event(places=(11,), session=130),
}
"""Twenty securities and one year show every kind. Sessions are counted from the market's start,
never from its end, or tomorrow's market would contradict today's."""

_GROUP_DELAY = 61
"""Each group comes 61 sessions after the one before, and every twentieth (five years on) starts
again with the first."""

_SPLIT_RATIOS = (2.0, 3.0, 1.5, 0.2)
"""New shares per old one. A security goes through them in turn, from its place in the group on;
their product is near 1, which keeps prices ordinary over decades."""

_PAYOUTS = {"cash_dividend": 0.005, "special_dividend": 0.06, "spin_off": 0.12}
"""The amount a holder receives, as a share of the price before."""

_SYLLABLES = tuple(consonant + vowel for consonant in "DFLMNRSTV" for vowel in "AEIOU")

_INDUSTRIES = (
    ("Energy", "Oil & Gas Exploration & Production"),
    ("Financials", "Regional Banks"),
    ("Health Care", "Biotechnology"),
    ("Information Technology", "Application Software"),
    ("Materials", "Specialty Chemicals"),
    ("Utilities", "Electric Utilities"),
)
"""Some GICS sectors, each with one of its sub-industries."""


def _ticker(index: int) -> str:
    """XDADA, XDADE, … in alphabetical order, three syllables from the 2,026th on.

    No US stock has this shape (X, then consonant and vowel in turn), so none is mistaken for one.
    """
    syllables: list[str] = []
    while index or len(syllables) < 2:
        index, at = divmod(index, len(_SYLLABLES))
        syllables.insert(0, _SYLLABLES[at])
    return "X" + "".join(syllables)


def _first(event: str, index: int, otherwise: int) -> int:
    """The first session of ``event`` for the security ``index``; ``otherwise`` if it has none."""
    plan = _CALENDAR_OF_EVENTS[event]
    group, place = divmod(index, _GROUP)
    if place not in plan.places:
        return otherwise
    session = plan.session + place + group % 20 * _GROUP_DELAY
    return session % plan.every if plan.every else session


@dataclass(frozen=True)
class _Security:
    """One company's life, in sessions since the market's start; ends are exclusive."""

    index: int
    names: tuple[tuple[str, int, int], ...]
    """Tickers in turn, each with its first session and the first no longer under it."""
    listed: int
    delisted: int
    joined: int
    left: int

    def sessions_of(self, event: str, until: int) -> Sessions:
        """Every session before ``until``, and before it is delisted, at which ``event`` happens."""
        first, last = _first(event, self.index, otherwise=_NEVER), min(until, self.delisted)
        sessions = np.arange(first, last, _CALENDAR_OF_EVENTS[event].every, dtype=np.int64)
        # A share has no holders before its first session, so no event can fall there.
        return sessions[sessions > self.listed]

    def halts(self, until: int) -> Sessions:
        """Sessions without trading; a halt lasts two."""
        return np.add.outer(self.sessions_of("halt", until), (0, 1)).ravel()


def _security(index: int) -> _Security:
    reuses = _first("reuse_of_the_ticker_before", index, otherwise=0)
    ticker = _ticker(index - 1 if reuses else index)
    listed = _first("late_listing", index, otherwise=reuses)
    renamed = _first("rename", index, otherwise=_NEVER)
    delisted = _first("delisting", index, otherwise=_NEVER)
    names = (ticker, listed, min(renamed, delisted)), ("Z" + ticker[1:], renamed, delisted)
    joined = _first("joining_the_index", index, otherwise=listed)
    left = _first("leaving_the_index", index, otherwise=delisted)
    return _Security(index, names, listed, delisted, joined, left)


def _history(seed: int, security: _Security, until: int) -> tuple[dict[str, Floats], Actions]:
    """Sessions 0 to ``until`` - 1, by price column, and the actions within them.

    A geometric random walk, as traded: a payout D and a split S leave a price P so that
    (P + D) * S / P0 is the return of a plain day.
    """
    rng = np.random.default_rng([seed, security.index])
    level, unrest, turnover = rng.random(3)
    # A session a row: drawing more of them leaves those before as they are.
    noise = rng.standard_normal((until, 5))

    on = {kind: security.sessions_of(kind, until) for kind in ("split", *_PAYOUTS)}
    turn = security.index % _GROUP + np.arange(len(on["split"]))
    ratio, kept = np.ones(until), np.ones(until)
    ratio[on["split"]] = np.take(_SPLIT_RATIOS, turn % len(_SPLIT_RATIOS))
    for kind, share in _PAYOUTS.items():
        kept[on[kind]] -= share

    # Plain products, no exponentials: they give the same bits whatever their number.
    move = 0.01 + 0.01 * unrest
    overnight = 1 + 0.4 * move * noise[:, 0]
    intraday = 1.0004 + 0.9 * move * noise[:, 1]
    # Companies that shrink their share count are those whose price is low.
    first_close = (20 + 180 * level) * (0.2 if security.index % _GROUP == 3 else 1.0)
    close = first_close * np.cumprod(overnight * intraday * kept / ratio)
    opened = close / intraday
    bars = {
        "open": _cents(opened),
        "high": _cents(np.maximum(opened, close) * (1 + 0.4 * move * np.abs(noise[:, 2]))),
        "low": _cents(np.minimum(opened, close) * (1 - 0.4 * move * np.abs(noise[:, 3]))),
        "close": _cents(close),
    }
    shares = (200_000 + 5_000_000 * turnover) * np.cumprod(ratio)
    bars["volume"] = np.ceil(shares * (0.5 + np.abs(noise[:, 4])))

    before = np.concatenate(([first_close], close))[:-1] / ratio
    sizes = {kind: _cents(before * share) for kind, share in _PAYOUTS.items()} | {"split": ratio}
    actions = [(at, kind, float(sizes[kind][at])) for kind in on for at in on[kind].tolist()]
    return bars, sorted(actions)


def _cents(amounts: Floats) -> Floats:
    """Rounded, never to nothing. The order of any two is kept, so low stays below high."""
    return np.maximum(np.round(amounts, 2), 0.01)


@dataclass(frozen=True)
class Listed:
    """A security on the last session: the close before, in shares of that session, and its own.

    ``shares_for_one`` are shares of today for one of the market's start.
    """

    symbol: str
    company: str
    number: int
    closes: tuple[float, float]
    volume: int
    shares_for_one: float
    sector: str
    industry: str


@dataclass(frozen=True)
class SimulatedMarket:
    """A price and a universe source over invented securities.

    ``start`` and ``end`` bound its sessions, both included; give the last closed session as
    ``end``. Nothing is known of what happens after it, such as a coming rename. Prices are in USD,
    as traded. Raises ValueError for an impossible size, CalendarRangeError for a day outside the
    calendar.
    """

    calendar: Calendar = field(repr=False)
    start: dt.date
    end: dt.date
    securities_count: int = _GROUP
    seed: int = 7

    def __post_init__(self) -> None:
        if self.securities_count < 1 or self.seed < 0:
            given = f"{self.securities_count} securities and seed {self.seed}"
            raise ValueError(f"{given}: give at least one security and a seed of 0 or more.")
        if not self.calendar.between(self.start, self.end):
            raise ValueError(f"{self.calendar.name} has no session in {self.start} to {self.end}.")

    @property
    def profile(self) -> PriceProfile:
        return PriceProfile(
            _NAME,
            price_basis="as_traded",
            has_splits=True,
            has_distributions=True,
            simulated=True,
            # The convention identifies the market: rows of two must not be stored as one source.
            convention=f"(P + D) * S / P0; {self.securities_count} companies from {self.start}, "
            f"seed {self.seed}",
        )

    def symbols(self) -> tuple[str, ...]:
        """Every ticker used by ``end``, sorted; those of delisted companies included."""
        return tuple(sorted(self._by_ticker))

    def fetch(self, requests: Sequence[Request]) -> Iterator[PriceAnswer]:
        """Answer 32 requests at a time; a ticker not used by ``end`` fails alone.

        A renamed company answers to both its tickers with its whole history; a reused ticker gives
        each of its companies within its own listing. Sessions after ``end`` are neither rows nor
        empty.
        """
        for begin in range(0, len(requests), _CHUNK):
            chunk = requests[begin : begin + _CHUNK]
            answers = zip(*map(self._answer, chunk), strict=True)
            rows, actions, empty = map(pa.concat_tables, answers)
            symbols = tuple(dict.fromkeys(request.symbol for request in chunk))
            unknown = [symbol for symbol in symbols if symbol not in self._by_ticker]
            failures = {symbol: UnknownSymbolAtSource(_NAME, symbol) for symbol in unknown}
            yield PriceAnswer(symbols, rows, actions, empty, failures=failures)

    def fetch_universe(self) -> UniverseAnswer:
        """The index as of ``end``, and every name and membership interval up to then.

        An interval has the ticker of its days: a member that is renamed leaves under the old ticker
        and comes back under the new one on the same day, with the same slug.
        """
        names, constituents, intervals = [], [], []
        for security, symbol, since, until in self._names:
            number = f"{security.index + 1:04d}"
            slug, company = f"sim_{number}", f"Simulated Company {number} Inc."
            days = self._day(since), self._day_if_past(until)
            names.append(KnownIdentity(slug, symbol, *days, company, cik=None))
            joined = max(since, security.joined)
            if joined > self._last:
                continue
            removed_on = self._day_if_past(min(until, security.left))
            intervals.append(MembershipInterval(symbol, self._day(joined), removed_on, slug))
            if removed_on is None:
                line = _INDUSTRIES[security.index % len(_INDUSTRIES)]
                added_on = self._day(security.joined)
                constituents.append(Constituent(symbol, company, *line, added_on=added_on))
        return UniverseAnswer(_NAME, tuple(names), tuple(constituents), tuple(intervals))

    def listed(self) -> Iterator[Listed]:
        """What is listed on the last session; where it was halted, its last trade counts."""
        for security, symbol, since, until in self._names:
            if not since <= self._last < until:
                continue
            bars, actions = _history(self.seed, security, self._last + 1)
            splits = {at: ratio for at, kind, ratio in actions if kind == "split"}
            halts = {int(at) for at in security.halts(self._last + 1)}
            at = next(at for at in range(self._last, -1, -1) if at not in halts)
            before = float(bars["close"][max(at - 1, 0)]) / splits.get(at, 1.0)
            yield Listed(
                symbol,
                f"Simulated Company {security.index + 1:04d} Inc.",
                security.index,
                (before, float(bars["close"][at])),
                int(bars["volume"][at]),
                float(np.prod([*splits.values()])),
                *_INDUSTRIES[security.index % len(_INDUSTRIES)],
            )

    @cached_property
    def _names(self) -> tuple[tuple[_Security, str, int, int], ...]:
        """Each name used by ``end``: security, ticker, first session, first session without it."""
        lives = map(_security, range(self.securities_count))
        return tuple(
            (life, *name) for life in lives for name in life.names if name[1] <= self._last
        )

    @cached_property
    def _by_ticker(self) -> dict[str, tuple[_Security, ...]]:
        """The securities of each ticker, the earlier company first."""
        securities: dict[str, tuple[_Security, ...]] = {}
        for security, symbol, _, _ in self._names:
            securities[symbol] = (*securities.get(symbol, ()), security)
        return securities

    @cached_property
    def _days(self) -> npt.NDArray[np.datetime64]:
        return self.calendar.session_array

    @cached_property
    def _first_session(self) -> int:
        """The place of session 0 among all sessions of the calendar."""
        return bisect_left(self.calendar.sessions, self.start)

    @cached_property
    def _last(self) -> int:
        return bisect_right(self.calendar.sessions, self.end) - 1 - self._first_session

    def _day(self, session: int) -> dt.date:
        return self.calendar.sessions[session + self._first_session]

    def _day_if_past(self, session: int) -> dt.date | None:
        return self._day(session) if session <= self._last else None

    def _answer(self, request: Request) -> tuple[pa.Table, ...]:
        """Rows, actions and empty sessions; none of an unused ticker."""
        symbol, securities = request.symbol, self._by_ticker.get(request.symbol)
        if securities is None:
            tables = (PRICE_COLUMNS, ACTION_COLUMNS, EMPTY_COLUMNS)
            return tuple(columns.empty_table() for columns in tables)
        first = bisect_left(self.calendar.sessions, request.start) - self._first_session
        until = bisect_right(self.calendar.sessions, request.end) - self._first_session
        at = np.arange(first, min(until, self._last + 1))
        rows, actions = [], []
        before = f"not listed before {self._day(securities[0].listed)}"
        reason = np.full(len(at), before, dtype=object)
        for security in securities:
            reason[at >= security.listed] = ""
            reason[np.isin(at, security.halts(self._last + 1))] = "halted"
            reason[at >= security.delisted] = f"delisted on {self._day_if_past(security.delisted)}"
            traded = at[(reason == "") & (at >= security.listed)]
            bars, events = _history(self.seed, security, max(at.max(initial=-1) + 1, 0))
            rows.append(self._rows(symbol, bars, traded))
            actions.append(self._actions(symbol, [event for event in events if event[0] >= first]))
        off = reason != ""
        days, reasons = self._dates(at[off]), pa.array(reason[off], pa.string())
        empty = pa.table([pa.repeat(symbol, len(days)), days, reasons], schema=EMPTY_COLUMNS)
        return pa.concat_tables(rows), pa.concat_tables(actions), empty

    def _dates(self, at: Sessions) -> pa.Array:
        return pa.array(self._days[at + self._first_session], pa.date32())

    def _rows(self, symbol: str, bars: dict[str, Floats], at: Sessions) -> pa.Table:
        session = self._dates(at)
        columns = {name: values[at] for name, values in bars.items()}
        columns |= {"session": session, "basis_on": session}
        columns |= {"symbol": pa.repeat(symbol, len(at)), "currency": pa.repeat("USD", len(at))}
        return pa.table(columns, schema=PRICE_COLUMNS)

    def _actions(self, symbol: str, events: Actions) -> pa.Table:
        actions = []
        for session, kind, size in events:
            day, column = self._day(session), "ratio" if kind == "split" else "amount"
            event = {"symbol": symbol, "kind": kind, "currency": "USD", "kind_by": "rule"}
            days = {"ex_date": day, "basis_on": day}
            actions.append(event | days | {column: size, f"reported_{column}": size})
        return pa.Table.from_pylist(actions, schema=ACTION_COLUMNS)
