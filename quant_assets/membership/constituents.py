"""The securities that the lines of a list of members mean, renamings and reused tickers included.

A ticker that was on the last list means the same security still. A new ticker may be that of a
member under a new name, which shows by its SEC number (CIK), by the list's own words, or by the
company's name; otherwise it is another company, even where that ticker was in use before. A row
without a ticker that can be read is the member that its name, its number or its letters say.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from quant_assets.contracts.membership import Constituent
from quant_assets.securities.register import JOINED_ANEW, Register

RECENT = dt.timedelta(days=60)
"""An older date of joining on a list is that of a predecessor."""


@dataclass(frozen=True)
class Renaming:
    """A security that goes by another ticker from ``on``."""

    security_id: int
    former_symbol: str
    symbol: str
    on: dt.date


@dataclass(frozen=True)
class Claim:
    """A security that the lists have had under one ticker ``since`` a day, proven or not."""

    security_id: int
    since: dt.date


@dataclass(frozen=True)
class IdentifiedList:
    """The lines of a list by security, the renamings that it proves, and those that it is the first
    to claim; ``unknown`` counts the rows of companies that can't be told.
    """

    constituents: Mapping[int, Constituent]
    renamed: tuple[Renaming, ...]
    claimed: tuple[Renaming, ...] = ()
    unknown: int = 0


def identify_members(
    constituents: Sequence[Constituent],
    register: Register,
    on: dt.date,
    members: Mapping[int, str],
    left: Mapping[int, dt.date],
    *,
    latest: bool,
    last_sessions: Mapping[int, dt.date] | None = None,
    unread: Sequence[Constituent] = (),
    claims: Mapping[str, Claim] | None = None,
    proven: Callable[[int, str], bool] = lambda security, symbol: True,
) -> IdentifiedList:
    """The securities that a list of the day ``on`` means.

    ``members`` are the tickers of the members of the last list, ``left`` the days on which former
    members left last, ``last_sessions`` their last stored sessions, all by security. ``unread`` are
    the rows without a ticker of their own, ``claims`` the securities of the last list by ticker,
    ``proven`` whether a second witness has a new ticker. Only the ``latest`` list changes names in
    the register, from the day of the first list with the new one; an older list is read with the
    names that are known.
    """
    found, strangers = _by_ticker(constituents, register, on, members)
    unread = _settle_twins(found, unread, members, register)
    if latest:
        strangers += _takers(found, members, register)
    unknown = 0
    for row in unread:
        several = list(_named_in(row, _missing(members, found), register, on))
        for security in several:
            found[security] = replace(row, symbol=members[security], previous_symbol=None)
        unknown += not several and bool(row.name or row.cik)
    changed: list[Renaming] = []
    for line in strangers:
        former, since = None, on
        if latest:
            missing = _missing(members, found)
            claim = _claim_of(line.symbol, claims or {}, members, register, on)
            if claim and claim.security_id in missing:
                former, since = claim.security_id, claim.since
            else:
                former = _former_member(line, missing, register, on)
        if former is None:
            former = _bearer(
                line, register, on, found, left=left, last_sessions=last_sessions or {}
            )
        elif _letters(line.symbol) == _letters(members[former]):
            line = replace(line, symbol=members[former])  # noqa: PLW2901 - another spelling
        else:
            changed.append(Renaming(former, members[former], line.symbol, since))
        found[former] = line
    sure = [r for r in changed if proven(r.security_id, r.symbol)]
    for renaming in sure:
        register.rename(renaming.security_id, renaming.symbol, renaming.on)
    unsure = tuple(r for r in changed if r not in sure)
    return IdentifiedList(found, tuple(sure), unsure, unknown)


def _claim_of(
    symbol: str,
    claims: Mapping[str, Claim],
    members: Mapping[int, str],
    register: Register,
    on: dt.date,
) -> Claim | None:
    """The member that the last list had under a ticker that is new to it.

    A member's own ticker may go to the company that bought it, or to its successor, and a look-up
    knows better than a list.
    """
    claim = claims.get(symbol)
    if claim is None or members.get(claim.security_id) == symbol:
        return None
    return claim if register.looked_up(symbol, on) in (None, claim.security_id) else None


def _missing(members: Mapping[int, str], found: Collection[int]) -> dict[int, str]:
    return {security: symbol for security, symbol in members.items() if security not in found}


def _by_ticker(
    constituents: Sequence[Constituent],
    register: Register,
    on: dt.date,
    members: Mapping[int, str],
) -> tuple[dict[int, Constituent], list[Constituent]]:
    """The lines that have a member's ticker, by security, and all others."""
    by_symbol = {symbol: security for security, symbol in members.items()}
    found: dict[int, Constituent] = {}
    strangers: list[Constituent] = []
    for line in constituents:
        security = by_symbol.get(line.symbol)
        known = register.looked_up(line.symbol, on)
        if security is None or known not in (None, security):
            strangers.append(line)
        else:
            found[security] = line
    return found, strangers


def _settle_twins(
    found: dict[int, Constituent],
    unread: Sequence[Constituent],
    members: Mapping[int, str],
    register: Register,
) -> Sequence[Constituent]:
    """Give a ticker that two rows have to the company whose name or number is its own; returns
    the rows without a ticker of their own.
    """
    by_symbol = {symbol: security for security, symbol in members.items()}
    for row in unread:
        security = by_symbol.get(row.previous_symbol or "")
        if security is None or security not in found:
            continue
        line = found[security]
        if _is_of(row, security, register) and not _is_of(line, security, register):
            found[security] = replace(row, symbol=line.symbol, previous_symbol=None)
            unread = [replace(line, symbol=""), *(other for other in unread if other is not row)]
    return unread


def _takers(
    found: dict[int, Constituent], members: Mapping[int, str], register: Register
) -> list[Constituent]:
    """Take out the lines of companies that took the ticker of the one they bought."""
    buyers = {register.cik_of(security) for security in _missing(members, found)}
    takers = {
        bought: line
        for bought, line in found.items()
        if (cik := _cik(line)) in buyers and cik and register.cik_of(bought) not in (None, cik)
    }
    for bought in takers:
        del found[bought]
    return list(takers.values())


def _is_of(line: Constituent, security: int, register: Register) -> bool:
    """Whether a line has the name or the SEC number of a security."""
    cik, name = _cik(line), _plain(line.name)
    same_name = bool(name) and name == _plain(register.name_of(security))
    return same_name or bool(cik and cik == register.cik_of(security))


def _named_in(
    row: Constituent, missing: Mapping[int, str], register: Register, on: dt.date
) -> Iterator[int]:
    """The members, among those ``missing`` from the list, of a row without a ticker of its own."""
    written = set(re.split(r"[/.]", row.previous_symbol or "")) | {row.previous_symbol}
    named = [security for security, symbol in missing.items() if symbol in written]
    if len(named) > 1:
        yield from named
        return
    former = _former_member(row, missing, register, on)
    if former is not None:
        yield former


def _former_member(
    line: Constituent, missing: Mapping[int, str], register: Register, on: dt.date
) -> int | None:
    """The member, among those ``missing`` from the list, that this line is under a new ticker."""
    known = register.looked_up(line.symbol, on)
    if known is not None:
        return known if known in missing else None
    for number, symbol in missing.items():
        if line.previous_symbol and line.previous_symbol == symbol:
            return number
    cik = _cik(line)
    for number, symbol in missing.items():
        if _letters(symbol) == _letters(line.symbol) and _may_be(register.cik_of(number), cik):
            return number
    same = [number for number in missing if cik and register.cik_of(number) == cik]
    if len(same) > 1:
        # Share classes of one company differ by the class in their names.
        same = [n for n in same if _class_of(register.name_of(n)) == _class_of(line.name)] or same
    if same:
        return min(same, key=lambda number: missing[number])
    alike = [
        number
        for number in missing
        if line.name
        and _plain(register.name_of(number)) == _plain(line.name)
        and not (cik and register.cik_of(number))
    ]
    return alike[0] if len(alike) == 1 else None


def _bearer(
    line: Constituent,
    register: Register,
    on: dt.date,
    taken: Collection[int],
    *,
    left: Mapping[int, dt.date],
    last_sessions: Mapping[int, dt.date],
) -> int:
    """The security that a ticker new to the list means: its bearer, or another company.

    A member keeps its ticker through changes of its SEC number. A newcomer is not the member that
    left long ago, unless its number says so: two histories kept apart can be joined later, joined
    ones can't be told apart.
    """
    known = register.looked_up(line.symbol, on)
    name = register.bearer(line.symbol, on)
    if known is not None or name is None:
        return known or register.security_on(line.symbol, on)
    security = name.security_id
    cik, held = _cik(line), register.cik_of(security)
    same = cik and cik == held
    # A number that is mistyped on one list is no other company, if the name is the same.
    another = not _may_be(held, cik) and _plain(register.name_of(security)) != _plain(line.name)
    ended = name.valid_to is not None and name.valid_to <= on
    gone = security in left and line.added_on and line.added_on > left[security] + JOINED_ANEW
    if security not in taken and (same or not (another or ended or gone)):
        return security
    newcomer = register.newcomer(line.symbol, on)
    if newcomer is not None and newcomer not in taken and _may_be(register.cik_of(newcomer), cik):
        register.note_first_session(newcomer, on)
        return newcomer
    began = line.added_on if line.added_on and on - RECENT <= line.added_on <= on else on
    # The newcomer has traded for a while: its prices are not to land on a company that is gone.
    gone_on = left.get(security)
    last_known = max(gone_on, last_sessions.get(security, gone_on)) if gone_on else None
    return register.add_successor(line.symbol, began, last_known)


def _may_be(held: str | None, cik: str | None) -> bool:
    return not (held and cik and held != cik)


def _letters(symbol: str) -> str:
    return symbol.replace(".", "")


def _cik(line: Constituent) -> str | None:
    return line.cik.zfill(10) if line.cik else None


_FORMS = re.compile(
    r"\b(inc|incorporated|corp|corporation|co|company|companies|plc|ltd|limited|the|group|holdings?"
    r"|nv|sa|ag|se|lp|llc|trust)\b"
)
_CLASS = re.compile(r"\(?\b(?:class|series) ([a-z])\b\)?", re.IGNORECASE)


def _plain(name: str | None) -> str:
    """A company's name without its legal form, punctuation and case."""
    text = re.sub(r"[^a-z0-9 ]", "", (name or "").lower().replace("&", " and "))
    return " ".join(_FORMS.sub(" ", text).split())


def _class_of(name: str | None) -> str:
    found = _CLASS.search(name or "")
    return found.group(1).lower() if found else ""
