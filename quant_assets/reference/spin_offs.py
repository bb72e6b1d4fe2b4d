"""Spin-offs that are known, by the security's symbol and the ex-date: the list of this package with
a file of the user's own over it.

Whether a source has one worked into its prices is decided by the prices, in
``price_rules.spin_offs``.
"""

from __future__ import annotations

import csv
import datetime as dt
import io
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from quant_assets.reference.errors import UsageError
from quant_assets.reference.identity import canonical_symbol

REQUIRED = ("symbol", "ex_date", "price_factor")
COLUMNS = (*REQUIRED, "name", "note")


class SpinOffListError(UsageError, ValueError):
    """A row of a list of spin-offs that can't be followed, with the file and the line."""


@dataclass(frozen=True)
class KnownSpinOff:
    """A distribution in kind: ``symbol`` is the security's on ``ex_date``, ``price_factor`` the
    price after over the price before, between 0 and 1, ``name`` what was distributed."""

    symbol: str
    ex_date: dt.date
    price_factor: float
    name: str = ""
    note: str = ""


SpinOffs = Mapping[tuple[str, dt.date], KnownSpinOff | None]
"""Spin-offs by symbol and ex-date; None says that there was none."""


def read_spin_offs(path: Path) -> SpinOffs:
    """Read a list of spin-offs: CSV with the columns ``symbol``, ``ex_date`` and ``price_factor``,
    and ``name`` and ``note`` if wanted. An empty price_factor says that there was no spin-off.

    Raises SpinOffListError for a file that can't be read, and with the line of the first row that
    can't be followed.
    """
    try:
        return _parsed(path.read_text("utf-8-sig"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise SpinOffListError(f"{path} can't be read as CSV in UTF-8: {error}") from error


def known_spin_offs(user_file: Path | None = None) -> tuple[KnownSpinOff, ...]:
    """The spin-offs of this package's list and of the user's file, by symbol and ex-date; of the
    same symbol and day the user's. Raises SpinOffListError.

    Source: the notes in ``reference/spin_offs.csv``, explained in ``docs/data-quality.md``.
    """
    name = "reference/spin_offs.csv"
    shipped = _parsed(resources.files("quant_assets").joinpath(name).read_text("utf-8"), name)
    merged = {**shipped, **(read_spin_offs(user_file) if user_file else {})}
    return tuple(found for _, found in sorted(merged.items()) if found)


def _parsed(text: str, where: str) -> SpinOffs:
    found: dict[tuple[str, dt.date], KnownSpinOff | None] = {}
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] = []
    try:
        for fields in reader:
            if not any(field.strip() for field in fields):
                continue
            line = f"{where}, line {reader.line_num}"
            if not header:
                header = _header(fields, line)
                continue
            if len(fields) != len(header):
                raise SpinOffListError(
                    f"{line} has {len(fields)} fields; the header has {len(header)} columns."
                )
            key, spin_off = _row(dict(zip(header, fields, strict=True)), line)
            if key in found:
                raise SpinOffListError(f"{line}: {key[0]} has {key[1]} on a line before.")
            found[key] = spin_off
    except csv.Error as error:
        raise SpinOffListError(f"{where}, line {reader.line_num}: {error}.") from error
    if not header:
        raise SpinOffListError(f"{where} is empty; its header is {','.join(COLUMNS)}.")
    return found


def _header(fields: list[str], line: str) -> list[str]:
    names = [field.strip() for field in fields]
    for name in names:
        if name not in COLUMNS:
            raise SpinOffListError(
                f"{line}: there is no column {name!r}; the columns are {', '.join(COLUMNS)}."
            )
        if names.count(name) > 1:
            raise SpinOffListError(f"{line}: the column {name} stands there twice.")
    missing = [name for name in REQUIRED if name not in names]
    if missing:
        raise SpinOffListError(f"{line}: there is no column {missing[0]}.")
    return names


def _row(row: Mapping[str, str], line: str) -> tuple[tuple[str, dt.date], KnownSpinOff | None]:
    written = {name: value.strip() for name, value in row.items()}
    try:
        symbol = canonical_symbol(written["symbol"])
        ex_date = dt.date.fromisoformat(written["ex_date"])
    except ValueError as error:
        raise SpinOffListError(f"{line}: {error}") from error
    if not written["price_factor"]:
        return (symbol, ex_date), None
    factor = _factor(written["price_factor"], line)
    return (symbol, ex_date), KnownSpinOff(
        symbol, ex_date, factor, written.get("name", ""), written.get("note", "")
    )


def _factor(text: str, line: str) -> float:
    try:
        factor = float(text)
    except ValueError:
        factor = 0.0
    if not 0 < factor < 1:  # nor is NaN
        raise SpinOffListError(
            f"{line}: price_factor is {text!r}. It is the price after the spin-off over the price "
            "before, between 0 and 1; empty for a spin-off that never was."
        )
    return factor
