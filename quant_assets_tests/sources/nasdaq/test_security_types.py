"""Types told from names, as recorded from Nasdaq."""

from __future__ import annotations

import pytest

from quant_assets.contracts.market import SECURITY_TYPES
from quant_assets.sources.nasdaq.security_types import type_of


@pytest.mark.parametrize(
    ("symbol", "name", "expected"),
    [
        ("AAPL", "Apple Inc. Common Stock", "common_stock"),
        ("T", "AT&T Inc.", "common_stock"),
        ("GOOG", "Alphabet Inc. Class C Capital Stock", "common_stock"),
        ("UNT", "Unit Corporation Common Stock", "common_stock"),
        ("PFBC", "Preferred Bank Common Stock", "common_stock"),
        ("APTS", "Preferred Apartment Communities Inc. Common Stock", "common_stock"),
        ("BNS", "Bank Nova Scotia Halifax Pfd 3 Ordinary Shares", "common_stock"),
        ("ADSE", "ADS-TEC ENERGY PLC Ordinary Shares", "common_stock"),
        ("ET", "Energy Transfer LP Common Units ", "common_stock"),
        ("AB", "AllianceBernstein Holding L.P.  Units", "common_stock"),
        ("VOC", "VOC Energy Trust Units of Beneficial Interest", "common_stock"),
        ("UHT", "Universal Health Realty Income Trust Common Stock", "common_stock"),
        ("DOC", "Physicians Realty Trust Common Shares of Beneficial Interest", "common_stock"),
        ("PBT", "Permian Basin Royalty Trust Common Stock", "common_stock"),
        ("NTRS", "Northern Trust Corporation Common Stock", "common_stock"),
        ("LMFA", "LM Funding America Inc. Common Stock", "common_stock"),
        (
            "MX",
            "MagnaChip Depositary Shares each representing one share of common stock",
            "common_stock",
        ),
        ("BABA", "Alibaba Group Holding Limited American Depositary Shares", "adr"),
        ("ITUB", "Itau ADS each representing one Preferred Share American Depositary", "adr"),
        (
            "EBR.B",
            "Eletrobras American Depositary Shares (Each representing one Preferred Share)",
            "adr",
        ),
        ("BTI", "British American Tobacco  Industries p.l.c. Common Stock ADR", "adr"),
        ("SNY", "Sanofi ADS", "adr"),
        ("BAC.PRL", "Bank of America Corporation", "preferred"),
        ("HWM.PR", "Howmet Aerospace Inc. $3.75 Preferred Stock", "preferred"),
        ("NEE.PRO", "NextEra Energy Inc. 4.872% Corporate Units", "preferred"),
        ("FITBI", "Fifth Third Bancorp Depositary Shares", "preferred"),
        ("ZIONO", "Zions Bancorporation N.A. Dep Shs Repstg 1/40th Perp Pfd Ser G", "preferred"),
        (
            "OCCIN",
            "OFS Credit Company Inc. 5.25% Series E Term Preferred Stock Due 2026",
            "preferred",
        ),
        ("BANFP", "BFC Capital Trust II Cumulative Trust Preferred Securities", "preferred"),
        ("BKEPP", "Blueknight Energy Partners L.P. Series A Preferred Units", "preferred"),
        (
            "TDW.WS.A",
            "Tidewater Inc. Series A Warrants to purchase shares of common stock",
            "warrant",
        ),
        (
            "SQFTW",
            "Presidio Property Trust Inc. Series A Common Stock Purchase Warrants",
            "warrant",
        ),
        ("AACQW", "Artius Acquisition Inc. Warrant", "warrant"),
        ("BCACW", "Brookline Capital Acquisition Corp.", "warrant"),
        ("CELG.RT", "Celgene Corporation", "right"),
        ("AGBAR", "AGBA Acquisition Limited Right", "right"),
        (
            "CHAQ.U",
            "Chardan Units each consisting of one share of Common Stock and one Warrant",
            "unit",
        ),
        ("GMBTU", "Queen's Gambit Growth Capital Unit", "unit"),
        ("SWT", "Stanley Black & Decker Inc. Corporate Unit", "unit"),
        ("WTRU", "Essential Utilities Inc. 6.00% TEU", "unit"),
        ("GAB", "Gabelli Equity Trust Inc. (The) Common Stock", "fund"),
        ("BDJ", "Blackrock Enhanced Equity Dividend Trust", "fund"),
        ("RFI", "Cohen & Steers Total Return Realty Fund Inc. Common Stock", "fund"),
        ("HPF", "John Hancock Pfd Income Fund II Pfd Income Fund II", "fund"),
        (
            "PTA",
            "Preferred Securities and Income Fund Common Shares of Beneficial Interest",
            "fund",
        ),
        ("OPP.RT", "RiverNorth/DoubleLine Strategic Opportunity Fund, Inc. Rights", "right"),
        (
            "AADR",
            "AdvisorShares Dorsey Wright ADR ETF",
            "adr",
        ),  # the directory says that it is an ETF
        ("IVV", "iShares Core S&P 500 ETF", "etf"),
        ("AFGB", "American Financial Group Inc. 5.875% Subordinated Debentures due 2059", "note"),
        ("ELC", "Collateral Trust Mortgage Bonds 4.875 % Series due September 1 2066", "note"),
        ("VXX", "iPath Series B S&P 500 VIX Short-Term Futures ETN", "note"),
        ("TDI", "Telephone and Data Systems Inc. Sr Nt", "note"),
        (
            "KTH",
            "Structures Products Cp 8% CorTS Issued by Peco Energy Cap Tr II Preferred Stock",
            "other",
        ),
        ("PYT", "PPlus Tr GSC-2 Tr Ctf Fltg Rate", "other"),
        ("X", "", "common_stock"),
    ],
)
def test_a_type_is_told_from_a_name(symbol: str, name: str, expected: str) -> None:
    assert type_of(name, symbol) == expected
    assert expected in SECURITY_TYPES


@pytest.mark.parametrize(
    ("symbol", "name"),
    [
        ("TSM", "Taiwan Semiconductor Manufacturing Company Ltd."),  # an ADR
        ("OXLC", "Oxford Lane Capital Corp. Common Stock"),  # a closed-end fund
    ],
)
def test_a_name_may_not_tell(symbol: str, name: str) -> None:
    assert type_of(name, symbol) == "common_stock"
