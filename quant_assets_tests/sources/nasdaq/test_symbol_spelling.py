"""Symbols of preferreds, warrants, units and rights: as vendors write them, and as we do."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from quant_assets.reference.identity import (
    InvalidSymbolError,
    canonical_symbol,
    symbol_of_tape,
)
from quant_assets.sources.yahoo.chart import yahoo_symbol


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("BAC^L", "BAC.PRL"),
        ("BAC$L", "BAC.PRL"),
        ("BAC.PRL", "BAC.PRL"),
        ("bac/prl", "BAC.PRL"),
        ("HWM^", "HWM.PR"),
        ("HWM$", "HWM.PR"),
        ("HWM.PR", "HWM.PR"),
        ("BRK/B", "BRK.B"),
        ("AP/WS", "AP.WS"),
        ("AP.WS", "AP.WS"),
        ("TDW/WS/A", "TDW.WS.A"),
        ("TDW.WS.A", "TDW.WS.A"),
        ("CHAQ/U", "CHAQ.U"),
        ("GIX.RT", "GIX.RT"),
        ("IFF.WI", "IFF.WI"),
        ("LEN.B.WI", "LEN.B.WI"),
        ("BAC.PRL.WI", "BAC.PRL.WI"),
        ("ETX           ", "ETX"),
        ("X.W", "X.W"),
        ("BRK_B", "BRK.B"),
        ("BTC/USD", "BTC-USD"),
    ],
)
def test_classes_of_security_have_one_spelling(written: str, canonical: str) -> None:
    assert canonical_symbol(written) == canonical
    assert canonical_symbol(canonical) == canonical


@pytest.mark.parametrize(
    "text", ["^GSPC", "$L", "A^BC", "A^L.B", "A..PR", "BRK.B.C", "A.WS.AB", "AAPL_D"]
)
def test_other_endings_are_refused(text: str) -> None:
    with pytest.raises(InvalidSymbolError):
        canonical_symbol(text)


@given(st.text(alphabet="ABPRWSUI.^$/- :_", max_size=10))
@example("A^.WI")
@example("A.WI.WI")
def test_a_spelling_stays_as_it_is(text: str) -> None:
    try:
        symbol = canonical_symbol(text)
    except InvalidSymbolError:
        return
    assert canonical_symbol(symbol) == canonical_symbol(symbol.lower()) == symbol


@pytest.mark.parametrize(
    ("on_tape", "canonical"),
    [
        ("AA", "AA"),
        ("AGM.A", "AGM.A"),
        ("BACpL", "BAC.PRL"),
        ("HWMp", "HWM.PR"),
        ("AAC.WS", "AAC.WS"),
        ("TDW.WS.A", "TDW.WS.A"),
        ("AAC.U", "AAC.U"),
        ("OPPr", "OPP.RT"),
        ("IPw", "IP.WI"),
        ("FINSrw", "FINS.RT.WI"),
        ("BACpLw", "BAC.PRL.WI"),
    ],
)
def test_lower_case_has_a_meaning_on_the_tape(on_tape: str, canonical: str) -> None:
    assert symbol_of_tape(on_tape) == canonical


@pytest.mark.parametrize("text", ["", "aapl", "BACpl", "BACpLL", "A_D"])
def test_what_is_no_symbol_of_the_tape_is_refused(text: str) -> None:
    with pytest.raises(InvalidSymbolError):
        symbol_of_tape(text)


@pytest.mark.parametrize(
    ("ours", "theirs"), [("BAC.PRL", "BAC-PL"), ("HWM.PR", "HWM-P"), ("BRK.B", "BRK-B")]
)
def test_preferred_stock_is_spelt_with_a_p_at_yahoo(ours: str, theirs: str) -> None:
    assert yahoo_symbol(ours) == theirs
