"""The list of known spin-offs, and a file of the user's own over it."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from quant_assets.reference.calendars import exchange_calendar
from quant_assets.reference.errors import UsageError
from quant_assets.reference.identity import canonical_symbol, known_identities
from quant_assets.reference.spin_offs import (
    KnownSpinOff,
    SpinOffListError,
    known_spin_offs,
    read_spin_offs,
)
from quant_assets.settings.settings import Settings, load_settings
from quant_assets.wiring.platform import Platform

HEADER = "symbol,ex_date,price_factor,name,note\n"
QNITY = dt.date(2025, 11, 3)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "mine.csv"


def test_the_shipped_list_is_well_formed() -> None:
    shipped = known_spin_offs()
    assert len(shipped) == 73
    assert len({(one.symbol, one.ex_date) for one in shipped}) == 73
    for one in shipped:
        assert canonical_symbol(one.symbol) == one.symbol
        assert exchange_calendar("XNYS").is_session(one.ex_date), one
        assert 0 < one.price_factor < 1
        assert one.name
        assert one.note.startswith(("Yahoo: split factor ", "approximate, "))


@pytest.mark.parametrize(
    ("symbol", "on"),
    [("DWDP", "2019-04-02"), ("DD", "2019-06-03"), ("HCP", "2016-11-01"), ("IR", "2013-12-02")],
)
def test_symbols_are_those_of_the_ex_date(symbol: str, on: str) -> None:
    day = dt.date.fromisoformat(on)
    assert [one.symbol for one in known_spin_offs() if (one.symbol, one.ex_date) == (symbol, day)]


def test_spin_offs_are_listed_under_a_symbol_that_somebody_had_on_the_day() -> None:
    for one in known_spin_offs():
        names = [name for name in known_identities() if name.symbol == one.symbol]
        if names:
            assert [name for name in names if name.valid_from <= one.ex_date], one
            assert not all(name.valid_to and name.valid_to <= one.ex_date for name in names), one


def test_a_row_of_the_user_s_file_goes_over_that_of_the_same_symbol_and_day(path: Path) -> None:
    path.write_text(
        HEADER
        + 'dd,2025-11-03,0.4182,Qnity,"mine, measured"\n\nBRK-B,2026-03-02,0.9,,\n'
        + "A,2014-11-03,,,never was\n",
        "utf-8-sig",
    )
    shipped = {(one.symbol, one.ex_date): one for one in known_spin_offs()}
    merged = {(one.symbol, one.ex_date): one for one in known_spin_offs(path)}
    mine = KnownSpinOff("DD", QNITY, 0.4182, "Qnity", "mine, measured")
    other = KnownSpinOff("BRK.B", dt.date(2026, 3, 2), 0.9)
    assert merged.pop(("DD", QNITY)) == mine
    assert merged.pop(("BRK.B", dt.date(2026, 3, 2))) == other
    assert shipped.keys() - merged.keys() == {("DD", QNITY), ("A", dt.date(2014, 11, 3))}
    assert merged.items() <= shipped.items()


def test_an_empty_factor_says_that_there_was_none(path: Path) -> None:
    path.write_text("symbol,ex_date,price_factor\nDD,2025-11-03, \n", "utf-8")
    assert read_spin_offs(path) == {("DD", QNITY): None}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", " is empty; its header is symbol,ex_date,price_factor,name,note."),
        (
            "symbol,ex_date,factor\n",
            ", line 1: there is no column 'factor'; the columns are "
            "symbol, ex_date, price_factor, name, note.",
        ),
        ("symbol,ex_date,name\n", ", line 1: there is no column price_factor."),
        ("symbol,ex_date,ex_date\n", ", line 1: the column ex_date stands there twice."),
        (HEADER + "DD,2025-11-03,0.4183\n", ", line 2 has 3 fields; the header has 5 columns."),
        (
            HEADER + "A,2014-11-03,0.7,,\nDD,3.11.2025,0.4183,,\n",
            ", line 3: Invalid isoformat string: '3.11.2025'",
        ),
        (HEADER + "DD,2025-02-30,0.4183,,\n", ", line 2: day is out of range for month"),
        (HEADER + "?,2025-11-03,0.4183,,\n", ", line 2: '?' is not a symbol."),
        *(
            (
                HEADER + f"DD,2025-11-03,{factor},,\n",
                f", line 2: price_factor is {factor!r}. It is the price after the spin-off over "
                "the price before, between 0 and 1; empty for a spin-off that never was.",
            )
            for factor in ("2.391", "1", "0", "-0.4", "nan", "inf", "1000:2391")
        ),
        (
            HEADER + "DD,2025-11-03,0.4183,,\nA,2014-11-03,0.7,,\ndd,2025-11-03,0.42,,\n",
            ", line 4: DD has 2025-11-03 on a line before.",
        ),
        (HEADER + 'DD,2025-11-03,0.4183,"Qnity,\n', ", line 2: unexpected end of data."),
    ],
)
def test_a_bad_row_is_refused_with_its_file_and_line(path: Path, text: str, message: str) -> None:
    path.write_text(text, "utf-8")
    with pytest.raises(SpinOffListError) as refused:
        read_spin_offs(path)
    assert str(refused.value).startswith(f"{path}{message}")
    assert isinstance(refused.value, UsageError)


@pytest.mark.parametrize("content", [None, b"symbol,\xff\n"])
def test_a_file_that_is_missing_or_no_text_is_refused(path: Path, content: bytes | None) -> None:
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SpinOffListError, match=r"mine\.csv can't be read as CSV in UTF-8: "):
        known_spin_offs(path)


def test_the_setting_names_the_file_from_the_settings_file_on(tmp_path: Path, path: Path) -> None:
    path.write_text(HEADER + "DD,2025-11-03,,,\n", "utf-8")
    (tmp_path / "quant_assets.toml").write_text('spin_offs = "mine.csv"', "utf-8")
    settings = load_settings(
        {}, config=tmp_path / "quant_assets.toml", working_directory=tmp_path.parent
    )
    assert set(known_spin_offs()) - set(Platform(settings).spin_offs) == {
        one for one in known_spin_offs() if (one.symbol, one.ex_date) == ("DD", QNITY)
    }
    assert Platform(Settings()).spin_offs == known_spin_offs()
