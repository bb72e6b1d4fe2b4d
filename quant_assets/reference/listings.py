"""Symbols with the suffix of an exchange: which are listed outside the United States.

Sessions are known here of New York and of markets that never close. A listing elsewhere has other
holidays, another close and another currency, so it is refused rather than stored as if it were
American. A suffix that is a class of shares in New York as well (MKC.V) counts as that. Bloomberg
writes the exchange behind a blank (``VOD LN Equity``), TradingView and Google before a colon.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

from quant_assets.reference.errors import UsageError

_BEHIND = re.compile(r"(\S+) ([A-Z]{2})(?: EQUITY)?")
_BEFORE = re.compile(r"([A-Z]+):(\S+)")


@dataclass(frozen=True)
class ForeignListing:
    """A symbol as written, and the exchange that its suffix stands for."""

    symbol: str
    exchange: str
    country: str

    def __str__(self) -> str:
        # Singapore and Hong Kong are exchange and country in one.
        place = f", {self.country}" if self.country != self.exchange else ""
        return f"{self.symbol} is a listing of {self.exchange}{place}"


WHY_NOT = (
    "Listings outside the United States are not loaded: only the sessions of New York, and of "
    "pairs such as BTC-USD, are known here"
)


class ForeignListingError(UsageError, ValueError):
    """A symbol of an exchange whose sessions are not known here."""

    def __init__(self, listing: ForeignListing) -> None:
        super().__init__(
            f"{listing}. {WHY_NOT}. Nothing was requested and nothing stored. Ask for a listing in "
            f"the United States, such as its American depositary receipt."
        )
        self.listing = listing


def foreign_listing(text: str) -> ForeignListing | None:
    """The exchange outside the United States that a symbol names, if any."""
    written = text.strip().upper()
    name, _, suffix = written.rpartition(".")
    found = _exchanges().get(suffix) if name else None
    if behind := _BEHIND.fullmatch(written):
        found = _codes().get(("behind", behind[2]))
    elif before := _BEFORE.fullmatch(written):
        found = _codes().get(("before", before[1]), found)
    return ForeignListing(written, *found) if found else None


def refuse_foreign(symbols: Iterable[str]) -> None:
    """Raises ForeignListingError for the first that is listed outside the United States."""
    for symbol in symbols:
        listing = foreign_listing(symbol)
        if listing:
            raise ForeignListingError(listing)


@lru_cache(maxsize=1)
def _exchanges() -> dict[str, tuple[str, str]]:
    """Exchange and country by suffix, as Yahoo, EODHD, Stooq and Bloomberg write them."""
    text = resources.files("quant_assets").joinpath("reference/exchange_suffixes.csv")
    rows = csv.DictReader(text.read_text("utf-8").splitlines())
    return {row["suffix"]: (row["exchange"], row["country"]) for row in rows}


@lru_cache(maxsize=1)
def _codes() -> dict[tuple[str, str], tuple[str, str]]:
    """Exchange and country by the place of a code, ``before`` or ``behind``, and the code."""
    text = resources.files("quant_assets").joinpath("reference/exchange_codes.csv")
    rows = csv.DictReader(text.read_text("utf-8").splitlines())
    return {(row["written"], row["code"]): (row["exchange"], row["country"]) for row in rows}
