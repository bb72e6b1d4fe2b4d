"""The securities that are about when a snapshot comes: listed lately, traded, or members.

Read from the warehouse for ``identify``; nothing is decided here.
"""

from __future__ import annotations

import datetime as dt
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import duckdb

from quant_assets.price_rules.market_values import SHORT

STOCKS = ("common_stock", "adr")
"""Types of which a company's name tells the security: it has many notes and warrants."""

RECENT = dt.timedelta(days=30)
"""A security that was listed or traded, or was a member, so lately is still about."""

_KINDS = re.compile(
    r"\b(common stock|ordinary shares?|common shares?|class [a-c]|american depositary.*"
    r"|depositary shares.*|shares of beneficial interest|\(the\))"
)
_FORMS = frozenset(
    (
        *("the", "inc", "incorporated", "corp", "corporation", "co", "company", "companies"),
        *("ltd", "limited", "plc", "nv", "sa", "ag", "lp", "llc"),
    )
)


def company_of(name: str | None, symbol: str = "") -> str:
    """The company in a security's name: lower case, without kind of share or legal form; empty
    where nothing is left. A class stays, of the name or else of the ticker: two classes of a
    company are two securities.
    """
    text = (name or "").lower()
    classes = re.findall(r"\bclass ([a-c])\b", text) or re.findall(r"\.([A-Z])$", symbol)
    words = [w for w in re.findall(r"[a-z0-9]+", _KINDS.sub(" ", text)) if w not in _FORMS]
    return " ".join([*words, *classes[:1]]).lower() if words else ""


def alike(one: str, other: str) -> bool:
    """Whether two companies, as by ``company_of``, may be one that is written differently: they
    begin alike, or share half of their words.
    """
    ours, theirs = one.split(), other.split()
    if not ours or not theirs:
        return False
    shared = set(ours) & set(theirs)
    return ours[0] == theirs[0] or 2 * len(shared) >= len(set(ours) | set(theirs))


@dataclass(frozen=True)
class Seen:
    """The latest row of a security on an earlier session."""

    security_id: int
    symbol: str
    name: str | None
    feed: str
    type: str
    session: dt.date


@dataclass
class About:
    """What is about beside ``rows``, those of one source at hand; ``unusable`` are symbols of
    rejected rows, which are listed too.
    """

    con: duckdb.DuckDBPyConnection
    source: str
    rows: Sequence[Mapping[str, Any]]
    unusable: frozenset[str] = frozenset()

    @cached_property
    def session(self) -> dt.date:
        found: dt.date = min(row["session"] for row in self.rows)
        return found

    @cached_property
    def listed(self) -> frozenset[str]:
        return self.unusable | {row["symbol"] for row in self.rows}

    @cached_property
    def seen(self) -> Mapping[int, Seen]:
        """The securities on lists of earlier sessions, by id."""
        rows = self.con.execute(
            "select security_id, arg_max(symbol, session), arg_max(name, session),"
            " arg_max(feed, session), arg_max(type, session), max(session) from market_snapshot"
            " where source = ? and session >= ? and session < ? group by 1",
            [self.source, self.session - RECENT, self.session],
        ).fetchall()
        return {row[0]: Seen(*row) for row in rows}

    @cached_property
    def by_symbol(self) -> Mapping[str, Seen]:
        return {each.symbol: each for each in self.seen.values()}

    @cached_property
    def alive(self) -> frozenset[int]:
        """The members of any universe, and the securities that traded lately."""
        rows = self.con.execute(
            "select security_id from universe_membership"
            " where removed_on is null or removed_on > $session"
            " union select security_id from daily_prices where session >= $since",
            {"since": self.session - RECENT, "session": self.session},
        ).fetchall()
        return frozenset(row[0] for row in rows)

    def of_company(self, company: str) -> Seen | None:
        """The one stock of a company on earlier lists; None where there are none or several."""
        found = self._seen_of.get(company, ()) if company else ()
        return found[0] if len(found) == 1 else None

    def has_left(self, seen: Seen) -> bool:
        """Whether a security is missing for the second evening on the list that it stood on last,
        which is at hand and not cut short.
        """
        before = max(each.session for each in self.seen.values())
        return seen.symbol not in self.listed and seen.feed in self._whole and seen.session < before

    @cached_property
    def _seen_of(self) -> Mapping[str, Sequence[Seen]]:
        found: dict[str, list[Seen]] = defaultdict(list)
        for each in self.seen.values():
            if each.type in STOCKS:
                found[company_of(each.name, each.symbol)].append(each)
        return found

    @cached_property
    def _whole(self) -> frozenset[str]:
        """The lists at hand that are not cut short."""
        last = max((each.session for each in self.seen.values()), default=None)
        before = Counter(each.feed for each in self.seen.values() if each.session == last)
        now = Counter(row["feed"] for row in self.rows)
        return frozenset(feed for feed in now if now[feed] >= SHORT * before[feed])
