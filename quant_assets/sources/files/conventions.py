"""The declaration of an archive applied to its rows: dialect, price basis, distributions."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from quant_assets.contracts.prices import PRICE_COLUMNS
from quant_assets.price_rules.vendor_numbers import distributions_from_adjusted_close
from quant_assets.settings.sources import FilesArchive
from quant_assets.sources.files.cells import CellForms
from quant_assets.sources.files.reading import Dialect

REPORTED = ["symbol", "session", "split", "dividend"]
"""Columns of a vendor's numbers of splits and dividends."""


def source_name(archive_name: str) -> str:
    return f"files:{archive_name}"


def dialect(
    name: str, archive: FilesArchive, columns: Mapping[str, str], *, symbol_from_filename: bool
) -> Dialect:
    return Dialect(
        source_name(name),
        columns,
        cell_forms(archive),
        archive.delimiter,
        symbol_from_filename,
        archive.header,
    )


def cell_forms(archive: FilesArchive) -> CellForms:
    return CellForms(
        archive.date_format,
        archive.symbol_pattern,
        archive.symbol_spelling,
        archive.decimal_mark,
        archive.ignore_in_numbers,
    )


def prices(rows: pa.Table, archive: FilesArchive) -> pa.Table:
    """Rows with ``PRICE_COLUMNS``, in the shares and the currency that the archive declares."""
    basis = (
        pa.repeat(pa.scalar(archive.basis_on, pa.date32()), rows.num_rows)
        if archive.basis_on
        else rows["session"]
    )
    currency = pa.repeat(pa.scalar(archive.currency), rows.num_rows)
    declared = {"basis_on": basis, "currency": currency}
    columns = {name: rows[name] for name in PRICE_COLUMNS.names if name not in declared}
    return pa.table({**columns, **declared}, schema=PRICE_COLUMNS)


def derives_distributions(archive: FilesArchive) -> bool:
    """Whether distributions come from the adjusted close, since no column reports them."""
    columns = archive.columns
    return archive.actions is None and bool(columns.adjusted_close and not columns.dividend)


def derives_splits(archive: FilesArchive) -> bool:
    """Whether the adjusted close alone shows the splits of prices as traded."""
    columns = archive.columns
    return bool(
        archive.price_basis == "as_traded"
        and archive.actions is None
        and columns.adjusted_close
        and not columns.split
    )


def derived_distributions(rows: pa.Table, archive: FilesArchive) -> pa.Table:
    """The distributions that the adjusted close of ``rows`` shows, with the columns REPORTED."""
    if archive.price_basis == "split_adjusted":
        rows = rows.drop_columns(["split"])  # its closes are free of splits already
    found = distributions_from_adjusted_close(rows, archive.adjusted_close_convention)
    found = found.rename_columns(["symbol", "session", "dividend"])
    return found.append_column("split", pa.nulls(found.num_rows, pa.float64())).select(REPORTED)
