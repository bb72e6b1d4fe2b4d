"""An archive proposed for files of one layout: their settings, and what they were found by.

Guessing happens here and nowhere else: a load follows the settings as they are written.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from quant_assets.reference.calendars import Calendar
from quant_assets.reference.identity import is_pair
from quant_assets.reference.listings import WHY_NOT, foreign_listing
from quant_assets.schema.table import CURRENCIES
from quant_assets.settings.sources import FilesArchive
from quant_assets.sources.files.contents import symbol_cell
from quant_assets.sources.files.inspection.basis import price_basis
from quant_assets.sources.files.inspection.findings import Proposal, Refusal
from quant_assets.sources.files.inspection.layout import Layout
from quant_assets.sources.files.inspection.marks import marks_of
from quant_assets.sources.files.inspection.names import NUMBERS, plain
from quant_assets.sources.files.inspection.opening import NotReadable, Opening, checked_fields
from quant_assets.sources.files.inspection.places import paths_of
from quant_assets.sources.files.inspection.sessions import (
    check_daily,
    check_market,
    find_sessions,
)
from quant_assets.sources.files.inspection.symbols import (
    Symbols,
    any_with_us,
    find_symbols,
    first_abroad,
    first_other,
    has_symbol,
)
from quant_assets.sources.files.inspection.telling import findings
from quant_assets.sources.files.inspection.trial import rows_of, sample, try_out
from quant_assets.sources.files.inspection.vendors import vendor_of
from quant_assets.sources.files.reading import expand

LOOKED_AT = 60
"""Openings that dates, numbers and symbols are judged by."""


def propose(
    openings: Sequence[Opening], place: str, calendar: Calendar, now: dt.datetime
) -> tuple[Proposal, list[Refusal]]:
    """The archive of files of one layout, found at ``place``, and those of them that are left out.
    Its name is the vendor's, if known. Raises NotReadable where nothing of them can be loaded.
    """
    layout, refusals = _recognised(openings, place, calendar)
    draft = FilesArchive.model_validate(layout.settings(None, None))
    read = sample([opening.path for opening in layout.openings])
    rows, unreadable, unread = rows_of(read, draft)
    refusals += [Refusal((file,), why) for file, why in unread.items()]
    _check_symbols(unreadable)
    if not rows.num_rows:
        raise NotReadable(_first(unreadable, unread))
    check_daily(layout.openings[:LOOKED_AT], layout.sessions.column, rows)
    check_market(_of_the_exchange(rows), calendar)
    available = frozenset(layout.columns)
    basis = price_basis(rows, layout.vendor, available)
    settings = layout.settings(basis, pc.max(rows["session"]).as_py())
    settings |= _quoted_in(rows)
    if unread:
        kept = [opening.path for opening in layout.openings if opening.path not in unread]
        settings["paths"] = paths_of(kept, place)
    archive = FilesArchive.model_validate(settings)
    trial = try_out(rows, unreadable, archive, calendar, now, files=len(read) - len(unread))
    if isinstance(trial, str):
        raise NotReadable(f"has no row that can be stored: {trial}.")
    count = len(layout.openings) - len(unread)
    loaded = {opening.path for opening in layout.openings if opening.path not in unread}
    others = len(set(expand("files", archive.paths)) - loaded)
    told = findings(layout, basis, trial, count, others)
    return Proposal(layout.vendor.name, count, settings, told, trial), refusals


def _recognised(
    openings: Sequence[Opening], place: str, calendar: Calendar
) -> tuple[Layout, list[Refusal]]:
    some = _spread(openings)
    first = openings[0]
    columns = checked_fields(first)
    vendor = vendor_of(first.columns, several_header_lines="symbol" in first.header)
    _check_exchange(some)
    symbols = find_symbols(some, vendor.spelling)
    kept, refusals = _of_this_market(openings, symbols)
    some = _spread(kept)
    sessions = find_sessions(some, columns["session"], calendar)
    texts = [
        text
        for opening in some
        for name in NUMBERS
        if name in columns
        for text in opening.texts(columns[name])
        if not opening.parquet or isinstance(opening.columns[columns[name]][0], str)
    ]
    marks = marks_of(texts)
    currency = _currency(some)
    return Layout(tuple(kept), columns, vendor, symbols, sessions, marks, currency, place), refusals


def _spread(openings: Sequence[Opening]) -> list[Opening]:
    step = max(1, len(openings) // LOOKED_AT)
    return list(openings[::step])


def _of_this_market(
    openings: Sequence[Opening], symbols: Symbols
) -> tuple[list[Opening], list[Refusal]]:
    """Files without listings abroad, the others refused. Raises NotReadable where none is left."""
    kept: list[Opening] = []
    refused: dict[str, list[Path]] = {}
    with_us = any_with_us(openings, symbols)
    for opening in openings:
        abroad = first_abroad(opening, symbols)
        other = first_other(opening, symbols, with_us=with_us)
        if not abroad and other:
            reason = f"holds {other}: a currency, an index, a future or a coin, and no stock."
        elif abroad:
            reason = f"holds a listing of {abroad.exchange} ({abroad.symbol}). {WHY_NOT}."
        elif not has_symbol(opening, symbols):
            which = "is named after" if symbols.from_filename else "holds"
            reason = f"{which} no symbol that is known here."
        else:
            kept.append(opening)
            continue
        refused.setdefault(reason, []).append(opening.path)
    refusals = [Refusal(tuple(paths), reason) for reason, paths in refused.items()]
    if not kept:
        raise NotReadable(refusals[0].reason)
    return kept, refusals


def _check_exchange(openings: Sequence[Opening]) -> None:
    """Raises NotReadable where a column names an exchange abroad (EODHD's Ex is LSE)."""
    for opening in openings:
        for name in opening.columns:
            if plain(name) in ("ex", "exchange", "exchangeshortname", "mic", "market"):
                abroad = next(filter(None, map(_abroad, opening.texts(name))), None)
                if abroad:
                    raise NotReadable(f"holds listings of {abroad} (its column {name}). {WHY_NOT}.")


def _abroad(exchange: str) -> str:
    found = foreign_listing(f"X.{exchange}")
    return found.exchange if found else ""


def _currency(openings: Sequence[Opening]) -> str:
    """The currency that a column names, else the dollar. Raises NotReadable for several."""
    for name in openings[0].columns:
        if plain(name) not in ("currency", "curr", "ccy", "currencycode"):
            continue
        found = {text.upper() for opening in openings for text in opening.texts(name)}
        if len(found) > 1:
            several = ", ".join(sorted(found)[:4])
            raise NotReadable(f"has prices in several currencies ({several}); divide it by them.")
        if found and found <= set(CURRENCIES):
            return found.pop()
    return "USD"


def _check_symbols(unreadable: pa.Table) -> None:
    """Raises NotReadable for a listing abroad anywhere in a column of symbols."""
    cells = filter(None, map(symbol_cell, unreadable["raw"].to_pylist() if unreadable else ()))
    abroad = next(filter(None, map(foreign_listing, cells)), None)
    if abroad:
        raise NotReadable(f"holds a listing of {abroad.exchange} ({abroad.symbol}). {WHY_NOT}.")


def _quoted_in(rows: pa.Table) -> dict[str, object]:
    """The currency of pairs, where it is not the dollar (BTC-EUR). Raises NotReadable for one that
    is not known, and for several."""
    symbols = pc.unique(rows["symbol"]).to_pylist()
    found = {each.rpartition("-")[2] if is_pair(each) else "USD" for each in symbols}
    if found == {"USD"} or not any(map(is_pair, symbols)):
        return {}
    if len(found) > 1 or not found <= set(CURRENCIES):
        raise NotReadable(
            f"has prices in {' and '.join(sorted(found))}. An archive is in one currency, of those "
            "known here; divide it."
        )
    return {"currency": found.pop()}


def _of_the_exchange(rows: pa.Table) -> pa.Table:
    symbols = pc.unique(rows["symbol"]).to_pylist()
    pairs = [symbol for symbol in symbols if is_pair(symbol)]
    return rows.filter(pc.invert(pc.is_in(rows["symbol"], pa.array(pairs, pa.string()))))


def _first(unreadable: pa.Table, unread: dict[Path, str]) -> str:
    if unread:
        return next(iter(unread.values()))
    reasons = unreadable["reason"].to_pylist() if unreadable.num_rows else ["no row is left"]
    return f"has no row that can be read: {reasons[0]}."
