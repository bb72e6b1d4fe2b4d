"""Symbols with the suffix of an exchange."""

from __future__ import annotations

import pytest

from quant_assets.reference.identity import InvalidSymbolError, canonical_symbol
from quant_assets.reference.listings import ForeignListingError, foreign_listing, refuse_foreign


@pytest.mark.parametrize(
    ("symbol", "exchange"),
    [
        *(("VOD.L", "London"), ("sap.de", "Xetra"), ("7203.T", "Tokyo"), ("BMW.XETRA", "Xetra")),
        *(("VOD LN Equity", "London"), ("7203 JP", "Tokyo"), ("BP/ ln equity", "London")),
        *(("LON:VOD", "London"), ("HKEX:700", "Hong Kong"), ("TSE:7203", "Tokyo or Toronto")),
    ],
)
def test_the_suffix_of_an_exchange_abroad_is_known(symbol: str, exchange: str) -> None:
    found = foreign_listing(symbol)
    assert found is not None
    assert found.exchange == exchange


@pytest.mark.parametrize(
    "symbol",
    [
        *("AAPL", "AAPL.US", "BRK.B", "MKC.V", "BAC.PRL", "X.WS", "X.U", "BTC-USD", "T", ".L"),
        *("AAPL US Equity", "AAPL UW", "NASDAQ:AAPL", "US:AAPL", "AAPL:US"),
    ],
)
def test_an_american_listing_is_not_taken_for_one_abroad(symbol: str) -> None:
    assert foreign_listing(symbol) is None


def test_a_listing_abroad_is_refused_with_its_exchange() -> None:
    with pytest.raises(ForeignListingError, match=r"^VOD.L is a listing of London, the United Kin"):
        refuse_foreign(["AAPL", "VOD.L"])


def test_a_symbol_of_digits_is_refused_as_the_listing_it_is() -> None:
    with pytest.raises(InvalidSymbolError, match=r"^0700.HK is a listing of Hong Kong. Listings"):
        canonical_symbol("0700.HK")


@pytest.mark.parametrize(
    ("written", "ours"),
    [
        *(("aapl.us", "AAPL"), ("BRK-B.US", "BRK.B"), ("A.US.US", "A"), ("A/US", "A")),
        *(("AAPL US Equity", "AAPL"), ("BRK/B US Equity", "BRK.B"), ("AAPL UW", "AAPL")),
        *(("NASDAQ:AAPL", "AAPL"), ("NYSE:BRK.B", "BRK.B"), ("us:aapl", "AAPL")),
        ("AAPL:US", "AAPL"),
    ],
)
def test_the_exchange_in_the_united_states_is_left_out(written: str, ours: str) -> None:
    assert canonical_symbol(written) == ours
