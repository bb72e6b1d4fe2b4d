"""Files of one layout: what was found out about them, and the settings that follow from it."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from quant_assets.settings.sources import FilesArchive
from quant_assets.sources.files.inspection.basis import PriceBasis
from quant_assets.sources.files.inspection.opening import Opening
from quant_assets.sources.files.inspection.places import paths_of
from quant_assets.sources.files.inspection.sessions import Sessions
from quant_assets.sources.files.inspection.symbols import Symbols, written_symbols
from quant_assets.sources.files.inspection.vendors import Vendor


@dataclass(frozen=True)
class Layout:
    """What the files of one layout were found to be, before their rows are read."""

    openings: tuple[Opening, ...]
    columns: dict[str, str]
    vendor: Vendor
    symbols: Symbols
    sessions: Sessions
    marks: tuple[str, str]
    currency: str
    place: str

    @property
    def first(self) -> Opening:
        return self.openings[0]

    @property
    def _spelling(self) -> str:
        """Stooq's only where it makes a difference, in the name of preferred stock."""
        if self.symbols.spelling != "stooq":
            return self.symbols.spelling
        written = (each for o in self.openings for each in written_symbols(o, self.symbols))
        return "stooq" if any("_" in each for each in written) else "usual"

    def settings(self, basis: PriceBasis | None, last: dt.date | None) -> dict[str, object]:
        """The settings of the archive, without what is as it would be unless set. Without a basis
        all that the files have is mapped, so that the rows can show the basis."""
        optional = (
            ("split", "dividend", "adjusted_close")
            if basis is None
            else tuple(
                name for name in ("split", "dividend", "adjusted_close") if name in basis.uses
            )
        )
        wanted = ("session", "open", "high", "low", "close", "volume", *optional)
        columns = {name: self.columns[name] for name in wanted if name in self.columns}
        if self.symbols.column:
            columns = {"symbol": self.symbols.column, **columns}
        adjusted = basis is not None and basis.basis == "split_adjusted"
        decimal, ignored = self.marks
        given = {
            "paths": paths_of([opening.path for opening in self.openings], self.place),
            "price_basis": "split_adjusted" if adjusted else "as_traded",
            "basis_on": last if adjusted else None,
            "symbols_on": "session" if self.vendor.symbols_of_their_day else None,
            "symbol_from_filename": self.symbols.from_filename,
            "symbol_pattern": self.symbols.pattern,
            "symbol_spelling": self._spelling,
            "header": self.first.header,
            "delimiter": self.first.delimiter,
            "date_format": self.sessions.form,
            "decimal_mark": decimal,
            "ignore_in_numbers": ignored,
            "currency": self.currency,
            "columns": columns,
        }
        usual = {name: each.default for name, each in FilesArchive.model_fields.items()}
        named = FilesArchive.model_fields["columns"].default.model_dump()
        given["columns"] = {ours: name for ours, name in columns.items() if named[ours] != name}
        return {
            name: value
            for name, value in given.items()
            if value not in (None, {}) and (value != usual[name] or name == "price_basis")
        }
