"""The securities that the lines of a list of members mean, renamings and reused tickers included.

A ticker that was on the last list means the same security still. A new ticker may be that of a
member under a new name, which shows by its SEC number (CIK), by the list's own words, or by the
company's name; otherwise it is another company, even where that ticker was in use before.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

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
class IdentifiedList:
    """The lines of a list by security, and the renamings that it shows."""

    constituents: Mapping[int, Constituent]
    renamed: tuple[Renaming, ...]


def identify_members(
    constituents: Sequence[Constituent],
    register: Register,
    on: dt.date,
    members: Mapping[int, str],
    left: Mapping[int, dt.date],
    *,
    latest: bool,
    last_sessions: Mapping[int, dt.date] | None = None,
) -> IdentifiedList:
    """The securities that a list of the day ``on`` means.

    ``members`` are the tickers of the members of the last list, ``left`` the days on which former
    members left last, ``last_sessions`` their last stored sessions, all by security. Only the
    ``latest`` list changes names in the register; an older list is read with the names that are
    known.
    """
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
    # A company may take the ticker of the one it buys.
    buyers = {register.cik_of(s): s for s in members if s not in found} if latest else {}
    for bought, line in list(found.items()):
        cik = _cik(line)
        if cik and cik in buyers and register.cik_of(bought) not in (None, cik):
            del found[bought]
            strangers.append(line)
    renamed: list[Renaming] = []
    for line in strangers:
        missing = {s: symbol for s, symbol in members.items() if s not in found}
        former = _former_member(line, missing, register, on) if latest else None
        if former is None:
            found[
                _bearer(line, register, on, found, left=left, last_sessions=last_sessions or {})
            ] = line
            continue
        register.rename(former, line.symbol, on)
        renamed.append(Renaming(former, members[former], line.symbol, on))
        found[former] = line
    return IdentifiedList(found, tuple(renamed))


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
    another = not _may_be(held, cik)
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
