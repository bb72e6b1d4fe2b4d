"""The type of a listed security, told from its name and the ending of its symbol.

Where a source states the type itself, as the symbol directory does of ETFs, that statement counts
and nothing is told from the name.
"""

from __future__ import annotations

import re

_BY_ENDING = {"WS": "warrant", "U": "unit", "RT": "right"}
_BY_FIFTH_LETTER = {"W": "warrant", "U": "unit", "R": "right", "P": "preferred"}
"""https://www.nasdaqtrader.com/trader.aspx?id=CQSsymbolconvention has the endings of the tape."""

_KIND = re.compile(
    r"\b(?:"
    r"(?P<common>(?:(?:comm+[eo][nm]|ordinary|odinary|voting|registry|class [a-c]) ?"
    r"(?:stock|shares?|units?)|capital stock)\b(?! (?:purchase )?(?:warrants?|rights?|adrs?)\b)"
    r"|(?:trust|depositary|beneficial|partnership|partner|lp|l\.p\.) +units?"
    r"|units? (?:representing|of beneficial))"
    r"|(?P<warrant>warrants?\b)"
    r"|(?P<unit>(?:sub)?units?\b(?! corp)|teus?\b)"
    r"|(?P<right>rights?\b(?! on\b))"
    r"|(?P<preferred>(?:preferred|preference)(?: \w+)? (?:stock|shares?|units?|securities|class)\b"
    r"(?! (?:and )?(?:income|index))"
    r"|(?:trust|cumulative|perpetual|redeemable|convertible) preferred\b|pfd\b(?! income)|perp\b"
    r"|preferred$)"
    r"|(?P<other>corts\b|strats\b|pplus\b|structured products?\b|synthetic fixed|certificates?\b"
    r"|tr ce?rt?f?s?\b)"
    r"|(?P<note>(?:notes?|nts?|debentures?|bonds|\w*etns?|elements linked)\b"
    r"|due (?:\w+ ){0,2}(?:19|20)\d\d)"
    r"|(?P<adr>american dep\w+|adss?\b(?!-)|\w*adrs?\b)"
    r"|(?P<depositary>(?:depositary|depository|dep) (?:sh\w*|receipts?)\b)"
    r"|(?P<etf>etfs?\b|exchange[- ]traded fund|ishares\b|proshares\b|spdr\b)"
    r")"
)
_OF_ORDINARY = re.compile(r"common (?:stock|share)|ordinary|limited partner")
_FUND = re.compile(r"\bfund\b")
_ENDS_AS_COMMON = re.compile(
    r"(?:common (?:stock|shares)|ordinary shares)(?: of beneficial interest)?\s*$"
)
_FUND_TRUST = re.compile(
    r"\b(?:blackrock|nuveen|eaton vance|invesco|mfs|putnam|pimco|royce|gabelli|gamco|dws|sprott"
    r"|bny mellon|western asset|john hancock|templeton|franklin universal|franklin limited)\b"
    r".*\b(?:trust|portfolio|municipals?|beneficial)\b"
    r"|\b(?:term|municipal|municipals|income|opportunit\w+|dividend|debt|bond|advantage) trust\b"
    r"|\btax-free income\b"
)
_PROPERTY = re.compile(r"\b(?:real|realty|reit|propert\w+|royalty|mortgage|hospitality)\b")


def type_of(name: str, symbol: str) -> str:
    """One of ``contracts.market.SECURITY_TYPES``, by a name and a symbol in our spelling.

    The ending of the symbol decides first: .PR and .PRA are preferred, corporate units among them,
    .WS warrants, .U units, .RT rights. Then the first kind of security in the name: "Units, each
    of one share of Common Stock and one Warrant" are units. Depositary shares that are not American
    are preferred, save where they are of common stock or of a partnership. Common units of a
    partnership are common_stock, a REIT's shares of beneficial interest too. Certificates of a
    trust that holds bonds are other.

    Names leave open: a closed-end fund that has neither Fund nor Trust in its name (Oxford Lane
    Capital) reads as common_stock, and so does an ADR listed by the name of its company (Taiwan
    Semiconductor). Which trust is a fund goes by sponsors and words. A name without a kind of
    security is common_stock, unless a fifth letter W, U, R or P says otherwise.
    """
    root, _, ending = symbol.partition(".")
    by_ending = _by_ending(ending) if ending else None
    if by_ending:
        return by_ending
    lowered = name.lower()
    found = _KIND.search(lowered)
    kind = found.lastgroup if found else None
    if kind == "depositary":
        return "common_stock" if _OF_ORDINARY.search(lowered) else "preferred"
    if kind == "preferred" and _ENDS_AS_COMMON.search(lowered):
        kind = "common"  # Bank Nova Scotia Halifax Pfd 3 Ordinary Shares; Preferred … Fund
    if kind and kind != "common":
        return kind
    if _is_fund(lowered):
        return "fund"
    by_letter = _BY_FIFTH_LETTER.get(root[4]) if kind is None and len(root) == 5 else None
    return by_letter or "common_stock"


def _by_ending(ending: str) -> str | None:
    ending = ending.partition(".")[0]
    return "preferred" if ending.startswith("PR") else _BY_ENDING.get(ending)


def _is_fund(lowered: str) -> bool:
    """Whether a name says fund, or is a trust of a sponsor of funds; a REIT is none."""
    if _FUND.search(lowered):
        return True
    return bool(_FUND_TRUST.search(lowered)) and not _PROPERTY.search(lowered)
