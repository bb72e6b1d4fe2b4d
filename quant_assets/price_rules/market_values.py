"""Nonsense in a snapshot of the whole market, recognised by comparison with the past. Pure.

Market capitalisation over last sale, the implied shares, hardly changes from day to day. Mergers
and issues change it by arbitrary ratios; wrong ones are nearly always plain multiples: of a split
applied before its day, twice, or not at all. What becomes of a row or a feed is decided by the
load. Bounds of a column, and rows that come twice, are not checked here.

Each number was measured on 713 sessions of 580 large companies, February 2021 to November 2023;
``quant_assets_tests.price_rules.market_replay`` measures it again.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quant_assets.reference.calendars import Calendar
from quant_assets.schema.row_rules import floats

HALF_MULTIPLES = (1.5, 2.25)
"""Multiples that are not whole: a split of 3:2, applied once or twice."""

EXACT = 2e-3
"""How far a multiple may be off. All but three wrong ones are off by less than 1e-4; those three
came with a renewed count of shares. Of real ratios between 1.5 and 5, 1 in 50 passes for one."""

EXTREME = 25.0
"""A ratio, up or down, that is believed of no security at once, plain multiple or not. Below it,
a ratio that is no multiple is as often real, in the whole market."""

LARGEST_SPLIT = 100.0
"""A ratio, up or down, that no split unseen in the net change is taken for."""

NEAR = 1.25
"""A capitalisation in doubt is believed again once it is back within this ratio."""

PATIENCE = 63
"""Sessions, a quarter, after which what stands is believed; 2 of 50 wrong ones lasted longer."""

FEW_BELIEVED = 3
"""Capitalisations of a security that were believed so far, up to which the first may be the wrong
one."""

PATIENCE_AT_FIRST = 5
"""Sessions after which what stands is believed of such a security."""

SAME_LEVEL = 0.01
"""Relative difference within which implied shares stand unchanged."""

ABSURD_CAP = 1e13
"""USD; the largest right one was 3.1e12, the wrong ones reached 2.5e13."""

HALF_A_CENT = 0.005

COARSE = 0.02
"""A price, of which the cent is more than this, shows no split by its net change."""

ANOTHER_CLOSE = 1.2
"""A close before, as the net change has it, off from the stored one by this ratio is another."""

LIQUID_USD = 1e6
"""Turnover from which a last sale normally changes: on at most 6 % of such rows it does not."""

FEW = 20
"""Rows of such a turnover below which nothing is said about a feed."""

STALE = 0.5
"""Share of them with an unchanged last sale, from which the feed is that of a session before."""

SHORT = 0.8
"""Share of the rows of the session before below which a feed is cut short; 0.99 was the least."""

JUDGED_TYPES = ("common_stock", "adr", "fund", "etf", "other")
"""Types whose implied shares are judged. Of a warrant, a preferred or a note the source changes
between its own number and that of the common stock, and stays there: of 46 such catches in the
whole market, at month-ends, 43 were real."""

PAST = pa.schema(
    [
        ("security_id", pa.int32()),
        ("feed", pa.string()),
        ("session", pa.date32()),
        ("last_sale", pa.float64()),
        ("market_cap", pa.float64()),
        ("market_cap_on", pa.date32()),
        ("reported_market_cap", pa.float64()),
        ("implied_shares", pa.float64()),
    ]
)
"""Columns of ``before``, as in ``schema.market.MARKET_SNAPSHOT``: a row a security."""

SPLITS = pa.schema([("security_id", pa.int32()), ("ratio", pa.float64())])
"""Splits on record: new shares for one old, all those since the row in ``before`` multiplied."""

Floats = np.ndarray[tuple[int], np.dtype[np.float64]]
Days = np.ndarray[tuple[int], np.dtype[np.datetime64]]
Marks = np.ndarray[tuple[int], np.dtype[np.bool_]]


@dataclass(frozen=True)
class Judged:
    """What to store, in parallel to the rows; the feeds' sentences have figures.

    ``market_cap`` (USD) is the last one believed, ``market_cap_on`` its session, ``implied_shares``
    the shares by which the next one is judged; NaN and NaT where there is none. ``reasons`` say why
    a reported capitalisation is not believed, None where it is.
    """

    market_cap: Floats
    market_cap_on: Days
    implied_shares: Floats
    reasons: tuple[str | None, ...]
    stale_feeds: Mapping[str, str]
    short_feeds: Mapping[str, str]


def judge(
    rows: pa.Table,
    before: pa.Table,
    *,
    session: dt.date,
    calendar: Calendar,
    splits: pa.Table | None = None,
) -> Judged:
    """Judge the rows of one session and source by the latest row of each security before it.

    ``rows`` has the columns of ``contracts.market.MARKET_COLUMNS`` and security_id, ``before``
    those of PAST, all of sessions before ``session``. ``splits`` (SPLITS) are those on record with
    an ex-date after the row in ``before``; others are seen in the net change. Not believed is

    - a capitalisation beyond ABSURD_CAP;
    - none, or 0, where the security had one;
    - implied shares up by a plain multiple, or up or down by EXTREME, which no split explains. A
      smaller fall is believed: it is nearly always the return to the right level;
    - implied shares that do not follow a split;
    - after one of these, implied shares that are not back within NEAR.

    Apart from the absurd, what is reported is believed when PATIENCE sessions have passed since the
    last one that was (PATIENCE_AT_FIRST where ``believed`` is FEW_BELIEVED or less), and it stands
    unchanged. A return to the earlier level is a change like any other: a fall is believed at once.
    A security without a past is believed, and so are the implied
    shares of other types than JUDGED_TYPES.
    """
    now = _Now.of(rows, session, calendar, _Past.of(rows, before), splits)
    with np.errstate(divide="ignore", invalid="ignore"):
        doubts = _doubts(now)
    doubted = np.any(list(doubts.values()), axis=0)
    cap = np.where(doubted, now.past.cap, now.cap)
    on = np.where(doubted, now.past.on, np.datetime64(session))
    on[np.isnan(cap)] = np.datetime64("NaT")
    return Judged(
        cap,
        on,
        np.where(doubted, now.expected, now.shares),
        _reasons(now, doubts),
        _stale_feeds(rows, now),
        _short_feeds(rows, before),
    )


@dataclass(frozen=True)
class _Past:
    """The stored row of each security, in parallel to the rows; NaN and NaT where there is none."""

    session: Days
    last: Floats
    cap: Floats
    on: Days
    reported: Floats
    shares: Floats
    believed: Floats

    @classmethod
    def of(cls, rows: pa.Table, before: pa.Table) -> Self:
        at = pc.index_in(rows["security_id"], before["security_id"].combine_chunks())
        past = before.select(PAST.names).cast(PAST).take(at)
        return cls(
            past["session"].to_numpy().astype("datetime64[D]"),
            _positive(past, "last_sale"),
            _positive(past, "market_cap"),
            past["market_cap_on"].to_numpy().astype("datetime64[D]"),
            _positive(past, "reported_market_cap"),
            _positive(past, "implied_shares"),
            floats(before.take(at), "believed")
            if "believed" in before.column_names
            else np.full(rows.num_rows, np.inf),
        )


@dataclass(frozen=True)
class _Now:
    """The rows, and what their past lets expect.

    ``judged`` marks JUDGED_TYPES, ``split`` is new shares for one old since the past row.
    ``steady`` marks rows whose net change starts from the stored last sale, so that no split can
    hide between them; ``waited`` is sessions since the last capitalisation that was believed.
    """

    past: _Past
    last: Floats
    cap: Floats
    shares: Floats
    judged: Marks
    split: Floats
    steady: Marks
    waited: np.ndarray[tuple[int], np.dtype[np.int64]]

    @classmethod
    def of(
        cls,
        rows: pa.Table,
        session: dt.date,
        calendar: Calendar,
        past: _Past,
        splits: pa.Table | None,
    ) -> Self:
        last, cap = _positive(rows, "last_sale"), _positive(rows, "market_cap")
        at = int(np.searchsorted(calendar.session_array, np.datetime64(session)))
        with np.errstate(divide="ignore", invalid="ignore"):
            close = last - floats(rows, "net_change")
            close[~(close > 0) | (past.session != calendar.session_array[at - 1])] = np.nan
            split = np.full(len(last), np.nan)
            if splits is not None and splits.num_rows:
                listed = pc.index_in(rows["security_id"], splits["security_id"].combine_chunks())
                split = floats(splits.take(listed), "ratio")
            split = np.where(np.isnan(split), _shown_split(past.last, close), split)
            steady = _apart(past.last / close) < np.log(ANOTHER_CLOSE)
            waited = at - np.searchsorted(calendar.session_array, past.on)
            judged = pc.is_in(rows["type"], pa.array(JUDGED_TYPES)).to_numpy()
            return cls(past, last, cap, cap / last, judged, split, steady, waited)

    @property
    def expected(self) -> Floats:
        return self.past.shares * self.split

    @property
    def ratio(self) -> Floats:
        """Implied shares over those expected."""
        return self.shares / self.expected


def _shown_split(stored: Floats, close: Floats) -> Floats:
    """The split between the stored last sale and the close net change starts from; 1 if none."""
    ratio = plain_multiple(stored / close)
    slack = HALF_A_CENT * (1 + ratio)
    shown = (np.abs(stored - ratio * close) <= slack) & (COARSE * stored >= HALF_A_CENT * 2)
    return np.where(shown, ratio, 1.0)


def plain_multiple(ratio: Floats) -> Floats:
    """The nearest plain multiple or inverse: whole from 2 on, 1.5 or 2.25. NaN below 1.25."""
    up = np.maximum(ratio, 1 / ratio)
    nearest = np.where(np.round(up) >= 2, np.round(up), np.nan)
    for half in HALF_MULTIPLES:
        nearer = np.abs(up - half) < np.minimum(0.25, np.nan_to_num(np.abs(up - nearest), nan=9.0))
        nearest = np.where(nearer, half, nearest)
    return np.where(ratio > 1, nearest, 1 / nearest)


def _doubts(now: _Now) -> dict[str, Marks]:
    """Which rows each rule does not believe, the rules by name."""
    past, ratio, apart = now.past, now.ratio, _apart(now.ratio)
    # Where no net change tells, a price that fell as the shares rose is a split.
    unseen = ~now.steady & (now.split == 1.0)
    followed = unseen & (_apart(ratio * now.last / past.last) < apart / 2)
    followed &= apart < np.log(LARGEST_SPLIT)
    before = past.reported / past.last * now.split
    patience = np.where(past.believed <= FEW_BELIEVED, PATIENCE_AT_FIRST, PATIENCE)
    long = now.waited >= patience
    believed = ~now.judged | followed | (long & (np.abs(now.shares / before - 1) < SAME_LEVEL))
    in_doubt = (past.on < past.session) & (past.reported > 0)
    multiple = (ratio > 1) & (np.abs(ratio / plain_multiple(ratio) - 1) < EXACT)
    unfollowed = (now.split != 1.0) & (np.abs(now.shares / past.shares - 1) < SAME_LEVEL)
    return {
        "absurd": now.cap > ABSURD_CAP,
        "missing": np.isnan(now.shares)
        & ~np.isnan(past.cap)
        & ~(long & np.isnan(past.reported) & np.isnan(now.cap)),
        "unfollowed": unfollowed & ~believed,
        "multiple": multiple & ~believed,
        "extreme": (apart >= np.log(EXTREME)) & ~believed,
        "in doubt": in_doubt & (apart >= np.log(NEAR)) & ~believed,
    }


def _reasons(now: _Now, doubts: Mapping[str, Marks]) -> tuple[str | None, ...]:
    reasons: list[str | None] = [None] * len(now.cap)
    for rule, marks in reversed(list(doubts.items())):  # the first rule has the last word
        for row in np.flatnonzero(marks):
            reasons[row] = _sentence(rule, now, row)
    return tuple(reasons)


def _sentence(rule: str, now: _Now, row: np.intp) -> str:
    cap, on = f"A market capitalisation of {now.cap[row]:.4g}", now.past.on[row]
    match rule:
        case "absurd":
            return f"{cap} is beyond that of any company ({ABSURD_CAP:.0e})."
        case "missing" if np.isnan(now.cap[row]):
            return f"No market capitalisation; that of {on} was {now.past.cap[row]:.4g}."
        case "missing":
            return f"{cap} without a last sale can't be compared with that of {on}."
        case "unfollowed":
            return (
                f"{cap} does not follow the split of {now.split[row]:.4g} new shares for one old."
            )
        case _:
            return (
                f"{cap} implies {now.ratio[row]:.6g} times the shares of {on}, and no split "
                "explains it."
            )


def _stale_feeds(rows: pa.Table, now: _Now) -> dict[str, str]:
    liquid = now.last * floats(rows, "volume") >= LIQUID_USD
    liquid &= ~np.isnan(now.past.last)
    found = {}
    for feed, of_feed in _by_feed(rows).items():
        count = int((liquid & of_feed).sum())
        same = int((liquid & of_feed & (now.last == now.past.last)).sum())
        if count >= FEW and same >= STALE * count:
            found[feed] = (
                f"The feed {feed} is that of a session before: {same} of {count} securities with a "
                f"turnover above {LIQUID_USD:.0e} have the last sale stored before."
            )
    return found


def _short_feeds(rows: pa.Table, before: pa.Table) -> dict[str, str]:
    """Feeds of ``rows`` with far fewer of them than on the feed's last session."""
    days = before["session"].to_numpy().astype("datetime64[D]")
    past = _by_feed(before)
    found = {}
    for feed, of_feed in _by_feed(rows).items():
        if feed not in past:
            continue
        day = days[past[feed]].max()
        count, earlier = int(of_feed.sum()), int((past[feed] & (days == day)).sum())
        if count < SHORT * earlier:
            found[feed] = f"The feed {feed} is cut short: {count} rows, where {day} had {earlier}."
    return found


def _by_feed(rows: pa.Table) -> dict[str, Marks]:
    encoded = rows["feed"].combine_chunks().dictionary_encode()
    codes = encoded.indices.to_numpy()
    return {feed: codes == code for code, feed in enumerate(encoded.dictionary.to_pylist())}


def _positive(rows: pa.Table, name: str) -> Floats:
    values = floats(rows, name)
    return np.where(values > 0, values, np.nan)


def _apart(ratio: Floats) -> Floats:
    """How far a ratio is from 1, up and down alike."""
    return np.abs(np.log(ratio))
