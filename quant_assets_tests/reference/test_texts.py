"""Texts of strangers: what is kept of them, and what a spreadsheet gets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quant_assets.contracts.source import BadAnswer
from quant_assets.reference.texts import plain_text, spreadsheet_text


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Apple Inc.", "Apple Inc."),
        ("  Est\u00e9e \t Lauder\n", "Est\u00e9e Lauder"),
        ("\x1b[31mred\x1b]0;title\x07", "[31mred]0;title"),
        ("\ud800bad", "bad"),
        ("\u202etxt.exe\ufeff", "txt.exe"),
        ("x" * 100_000, "x" * 199 + "…"),
        (" " * 100_000, ""),
    ],
)
def test_a_name_is_one_short_line_that_steers_nothing(text: str, kept: str) -> None:
    assert plain_text(text) == kept


@given(st.text(st.characters(exclude_categories=()), max_size=400))
def test_any_text_can_be_stored_once_it_is_plain(text: str) -> None:
    kept = plain_text(text)
    assert kept.encode().decode() == kept
    assert len(kept) <= 200
    assert not set(map(chr, range(32))) & set(kept)
    assert plain_text(kept) == kept


@pytest.mark.parametrize(
    ("text", "exported"),
    [
        ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
        ("+1-2", "'+1-2"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1+1", "'\t=1+1"),
        ("-5.3", "-5.3"),
        ("+1e3", "+1e3"),
        ("AAPL", "AAPL"),
        ("", ""),
    ],
)
def test_no_exported_text_is_a_formula_and_numbers_stay(text: str, exported: str) -> None:
    assert spreadsheet_text(text) == exported


def test_an_error_about_an_answer_can_be_stored_and_is_of_bounded_length() -> None:
    message = str(BadAnswer("yahoo", "\ud800\x1b[31m first line\n- second" + "x" * 9_000))
    assert message.startswith("[31m first line\n- second")
    assert len(message) == 4_000
