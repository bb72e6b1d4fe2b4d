"""Which security each row of a snapshot is, by dated names; unknown ones enter the register.

A list of the market has neither CIK nor history, only today's ticker and the company's name. So a
ticker on record is that security as long as its bearer is about, or the name is the same; else
another company has taken it. An unknown ticker is a new security, unless its company is known under
a ticker that has left the market: then it is that company, renamed. In doubt a row is set aside:
two histories kept apart can be joined later.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from quant_assets.contracts.prices import Instrument
from quant_assets.contracts.source import SourceProfile
from quant_assets.datasets.market_snapshot.about import (
    RECENT,
    STOCKS,
    About,
    alike,
    company_of,
)
from quant_assets.reference.identity import KnownIdentity, Name
from quant_assets.schema.row_rules import Checked, rejected_as
from quant_assets.securities.register import Register
from quant_assets.warehouse.writing import Writing

Row = Mapping[str, Any]


def identify(
    known: Sequence[KnownIdentity], writing: Writing, source: SourceProfile, checked: Checked
) -> Checked:
    """Give each accepted row its ``security_id``, adding securities to the register.

    Rejected are rows whose company is known under another ticker, and a second row of a security
    that stands on two lists: the list that is new to it is believed.
    """
    rows, unusable = checked.accepted, checked.rejected["symbol"].to_pylist()
    found = rows.select(["feed", "symbol", "name", "type", "session"]).to_pylist()
    # Whole: a renaming also ends a ticker that no row has.
    register = Register.read(writing.con, known, source.name)
    about = About(writing.con, source.name, found, frozenset(unusable))
    ids: list[int | None] = []
    reasons: dict[int, str] = {}
    for place, row in enumerate(found):
        security = _unchanged(register, row, about) or _security(register, row, about)
        if isinstance(security, str):
            reasons[place] = security
        ids.append(None if isinstance(security, str) else security)
    register.write(writing)
    for place, why in _on_two_lists(found, ids, about).items():
        reasons[place], ids[place] = why, None
    securities = pa.array(ids, pa.int32())
    accepted = rows.append_column("security_id", securities).filter(securities.is_valid())
    return Checked(accepted, rejected_as(rows, reasons))


def _unchanged(register: Register, row: Row, about: About) -> int | None:
    """The security of a row whose ticker and name are as before, as nearly all are."""
    seen = about.by_symbol.get(row["symbol"])
    if seen is None or seen.name != row["name"]:
        return None
    bears = register.bears(seen.security_id, seen.symbol, row["session"])
    return seen.security_id if bears else None


def _security(register: Register, row: Row, about: About) -> int | str:
    """The security of a row, or why it can't be said."""
    symbol, day = row["symbol"], row["session"]
    bearers = register.bearers(symbol)
    borne = next((n.security_id for n in bearers if n.covers(day)), None)
    if borne is not None:
        return _borne(register, borne, row, about)
    later = _borne_later(register, bearers, row)
    if later is not None:
        register.note_first_session(later, day)
        return later
    ended = _just_ended(register, bearers, row, about)
    if ended is not None:
        return ended
    company = company_of(row["name"], symbol) if row["type"] in STOCKS else ""
    former = about.of_company(company)
    taken_over = former and register.ticker_of(former.security_id, day) is None
    if former and (taken_over or about.has_left(former)):
        register.rename(former.security_id, symbol, day)
        return former.security_id
    other = former.symbol if former else _known_as(register, company, about)
    if other and other not in about.listed:
        return (
            f"{row['name']} is known here as {other}, which is on none of these lists. It is taken "
            "for a renaming on the second evening that its own list comes without it."
        )
    return _new(register, row)


def _borne(register: Register, borne: int, row: Row, about: About) -> int | str:
    """The security of a row whose ticker is on record: its bearer, unless another took it over."""
    seen, name = about.seen.get(borne), row["name"]
    if register.is_looked_up(row["symbol"]):
        return borne
    stored, company = register.name_of(borne), company_of(name, row["symbol"])
    if seen and seen.symbol == row["symbol"]:
        other = about.of_company(company) if row["type"] in STOCKS else None
        if other and other.security_id != borne and other.symbol != row["symbol"]:
            register.rename(other.security_id, row["symbol"], row["session"])
            return other.security_id
        crosses = (seen.type == "etf") != (row["type"] == "etf")
        if crosses and company != company_of(seen.name, seen.symbol):
            return _new(register, row)
    elif borne not in about.alive and not alike(company, company_of(stored, row["symbol"])):
        return _new(register, row)
    if name and stored is None:
        register.describe_instrument(borne, Instrument(row["symbol"], name=name))
    return borne


def _new(register: Register, row: Row) -> int:
    security = register.add_successor(row["symbol"], row["session"])
    kind = "stock" if row["type"] in STOCKS else row["type"]
    register.describe_instrument(security, Instrument(row["symbol"], type=kind, name=row["name"]))
    return security


def _borne_later(register: Register, bearers: Sequence[Name], row: Row) -> int | None:
    """The security that is on record under the ticker of a row from a later day only."""
    if bearers and bearers[0].valid_from > row["session"] and _is_same(register, bearers[0], row):
        return bearers[0].security_id
    newcomer = register.newcomer(row["symbol"], row["session"])
    return newcomer if newcomer is not None and _may_be(register, newcomer, row) else None


def _is_same(register: Register, later: Name, row: Row) -> bool:
    """Whether a ticker recorded for a later day only names the company of a row already.

    The first day of a name that somebody looked up is its first; any other is the first that was
    heard of here.
    """
    if register.is_looked_up(row["symbol"]):
        return False
    return _may_be(register, later.security_id, row)


def _may_be(register: Register, security: int, row: Row) -> bool:
    """Whether the name on record, if any, is that of a row."""
    stored = company_of(register.name_of(security), row["symbol"])
    return stored in ("", company_of(row["name"], row["symbol"]))


def _just_ended(register: Register, bearers: Sequence[Name], row: Row, about: About) -> int | None:
    """The company of a row, where its ticker was ended lately and a list still has it."""
    last = max(bearers, key=lambda name: name.valid_from, default=None)
    if last is None or last.valid_to is None or row["session"] - last.valid_to > RECENT:
        return None
    company = company_of(row["name"], row["symbol"])
    if not company or company != company_of(register.name_of(last.security_id), row["symbol"]):
        return None
    present = register.ticker_of(last.security_id, row["session"])
    return None if present in about.listed else last.security_id


def _known_as(register: Register, company: str, about: About) -> str | None:
    """The ticker of a member, or of a security that trades, that no list has had so far."""
    if not company:
        return None
    for security in about.alive - about.seen.keys():
        if company_of(register.name_of(security)) == company:
            return register.ticker_of(security, about.session)
    return None


def _on_two_lists(rows: Sequence[Row], ids: Sequence[int | None], about: About) -> dict[int, str]:
    """The rows of a security on more than one list, but for the list that is new to it."""
    places: dict[int, list[int]] = defaultdict(list)
    for place, security in enumerate(ids):
        if security is not None:
            places[security].append(place)
    reasons = {}
    for security, several in places.items():
        feeds = {rows[place]["feed"] for place in several}
        if len(feeds) < 2:
            continue
        before = about.seen.get(security)
        kept = next((p for p in several if not before or rows[p]["feed"] != before.feed), None)
        for place in several:
            if rows[place]["feed"] != rows[kept if kept is not None else several[0]]["feed"]:
                reasons[place] = f"{rows[place]['symbol']} stands on another list as well"
    return reasons
