"""Which security each row of a snapshot is, by dated names; unknown ones enter the register.

A list of the market has neither CIK nor history, only today's ticker and the company's name. So a
ticker that bears a name on record is that security, and a new one is a new security, unless its
company is known under a ticker that has just left the market: then it is that company, renamed.
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
import pyarrow as pa

from quant_assets.contracts.prices import Instrument
from quant_assets.contracts.source import SourceProfile
from quant_assets.price_rules.market_values import SHORT
from quant_assets.reference.identity import KnownIdentity, Name
from quant_assets.schema.row_rules import Checked, rejected_as
from quant_assets.securities.register import Register
from quant_assets.warehouse.writing import Writing

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
        *("ltd", "limited", "plc", "nv", "sa", "ag", "lp", "llc", "holdings", "holding"),
        *("group", "trust"),
    )
)


def company_of(name: str | None) -> str:
    """The company in a security's name: lower case, without kind of share or legal form.

    A class stays: two classes of a company are two securities.
    """
    text = (name or "").lower()
    classes = re.findall(r"\bclass ([a-c])\b", text)
    words = re.findall(r"[a-z0-9]+", _KINDS.sub(" ", text))
    return " ".join([*(word for word in words if word not in _FORMS), *classes[:1]])


def identify(
    known: Sequence[KnownIdentity], writing: Writing, source: SourceProfile, rows: pa.Table
) -> Checked:
    """Give each row its ``security_id``, adding securities to the register.

    Rejected are rows whose company is known under another ticker, which may be on a list yet to
    come.
    """
    found = rows.select(["feed", "symbol", "name", "type", "session"]).to_pylist()
    # Whole: a renaming also ends a ticker that no row has.
    register = Register.read(writing.con, known, source.name)
    missed = _Missed(writing.con, source.name, found)
    ids: list[int | None] = []
    reasons: dict[int, str] = {}
    for place, row in enumerate(found):
        security = _security(register, row, missed)
        if isinstance(security, str):
            reasons[place] = security
        ids.append(None if isinstance(security, str) else security)
    register.write(writing)
    securities = pa.array(ids, pa.int32())
    accepted = rows.append_column("security_id", securities).filter(securities.is_valid())
    return Checked(accepted, rejected_as(rows, reasons))


@dataclass(frozen=True)
class _Former:
    """A stock that is about and not among the rows: its ticker, and whether that would have been
    seen on some list by now.
    """

    security_id: int
    symbol: str
    has_left: bool


@dataclass
class _Missed:
    """The stocks that are about and not among ``rows``, looked up once any ticker is unknown."""

    con: duckdb.DuckDBPyConnection
    source: str
    rows: Sequence[Mapping[str, Any]]

    def of_company(self, name: str | None) -> _Former | None:
        return self._by_company.get(company_of(name))

    @cached_property
    def _by_company(self) -> dict[str, _Former]:
        return _missed(self.con, self.source, self.rows)


def _security(register: Register, row: Mapping[str, Any], missed: _Missed) -> int | str:
    """The security of a row, or why it can't be said."""
    symbol, day, name = row["symbol"], row["session"], row["name"]
    bearers = register.bearers(symbol)
    borne = next((n.security_id for n in bearers if n.covers(day)), None)
    if borne is not None:
        if name and register.name_of(borne) is None:
            register.describe_instrument(borne, Instrument(symbol, name=name))
        return borne
    if bearers and bearers[0].valid_from > day and _is_same(register, bearers[0], row):
        register.note_first_session(bearers[0].security_id, day)
        return bearers[0].security_id
    former = missed.of_company(name) if row["type"] in STOCKS else None
    if former and former.has_left:
        register.rename(former.security_id, symbol, day)
        return former.security_id
    if former:
        return (
            f"{name} is known here as {former.symbol}, which this list does not have. It is taken "
            "for a renaming once no list has it."
        )
    security = register.add_successor(symbol, day)
    kind = "stock" if row["type"] in STOCKS else row["type"]
    register.describe_instrument(security, Instrument(symbol, type=kind, name=name))
    return security


def _is_same(register: Register, later: Name, row: Mapping[str, Any]) -> bool:
    """Whether a ticker recorded for a later day only names the company of a row already.

    The first day of a name that somebody looked up is its first; any other is the first that was
    heard of here.
    """
    if register.is_looked_up(row["symbol"]):
        return False
    return company_of(register.name_of(later.security_id)) in ("", company_of(row["name"]))


def _missed(
    con: duckdb.DuckDBPyConnection, source: str, rows: Sequence[Mapping[str, Any]]
) -> dict[str, _Former]:
    """By company, the stocks still about whose ticker is not among the rows; none where two are.

    One that has stood on a list lately, and is on no list of this session, has left the market, if
    the list that it stood on last is at hand and not cut short; so has one that was on none of an
    earlier session.
    """
    session = min(row["session"] for row in rows)
    about = con.execute(
        "with lately as (select security_id, max(session) as last, any_value(type) as type,"
        "  max_by(feed, session) as feed"
        "  from market_snapshot where source = $source and session >= $since"
        "  group by security_id),"
        " alive as (select security_id from universe_membership"
        "  where removed_on is null or removed_on > $session"
        "  union select security_id from daily_prices where session >= $since"
        "  union select security_id from lately where type in ('common_stock', 'adr'))"
        " select s.security_id, h.symbol, s.name, l.last is null or l.last < $session, l.feed"
        " from securities s join alive using (security_id) join symbol_history h"
        "  on h.security_id = s.security_id and h.valid_to is null"
        " left join lately l on l.security_id = s.security_id"
        " where s.delisted_on is null and s.name is not null",
        {"source": source, "since": session - RECENT, "session": session},
    ).fetchall()
    before = dict(
        con.execute(
            "select feed, max_by(securities, session) from (select feed, session,"
            "  count(*) as securities from market_snapshot"
            "  where source = ? and session >= ? and session < ? group by all) group by 1",
            [source, session - RECENT, session],
        ).fetchall()
    )
    count = Counter(row["feed"] for row in rows)
    whole = {feed for feed in count if count[feed] >= SHORT * before.get(feed, 0)}
    listed = {row["symbol"] for row in rows}
    by_company: dict[str, list[_Former]] = defaultdict(list)
    for security, symbol, name, unseen, feed in about:
        if symbol not in listed and unseen:
            has_left = bool(before) and (feed is None or feed in whole)
            by_company[company_of(name)].append(_Former(security, symbol, has_left))
    return {company: some[0] for company, some in by_company.items() if len(some) == 1}
