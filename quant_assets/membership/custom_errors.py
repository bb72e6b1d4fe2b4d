"""The errors of changes that users make to their own universes; each of them changed nothing."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from quant_assets.reference.errors import UsageError


class CustomUniverseError(UsageError, ValueError):
    """A change of a universe that can't be made."""


class UniverseNameError(CustomUniverseError):
    """A text that can't name a universe."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{name!r} can't name a universe. A name is up to 40 lower-case letters, digits, _ and "
            "-, and begins with a letter or a digit."
        )


class IndexUniverseError(CustomUniverseError):
    """An attempt to change an index by hand."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{name} is an index: its members come from lists and can't be changed by hand. If a "
            f"list is wrong, import a better one (quant-assets universe import --name {name} "
            "--from FILE); for members of your own choice, make a universe of your own "
            "(quant-assets universe create NAME SYMBOLS)."
        )


class UniverseExistsError(CustomUniverseError):
    """A universe to be created that exists already."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"There is a universe {name} already. quant-assets universe add {name} adds to it."
        )


class InvalidSymbolsError(CustomUniverseError):
    """Texts that can't be symbols, among those given."""

    def __init__(self, texts: Sequence[str], given: int) -> None:
        super().__init__(
            f"Of {given}, these can't be symbols: {', '.join(map(repr, texts))}. A symbol is "
            "a letter and up to nine letters or digits, with a share class after a dot (AAPL, "
            "BRK.B), or a pair such as BTC-USD. Nothing was changed; --skip-invalid leaves them "
            "out."
        )
        self.texts = tuple(texts)


class MemberSinceError(CustomUniverseError):
    """A day that memberships can't begin on."""

    def __init__(self, since: dt.date, why: str) -> None:
        super().__init__(f"Members can't be so since {since}: {why}. Nothing was changed.")


class SymbolListError(CustomUniverseError):
    """A list from which no symbols can be read."""

    def __init__(self, trouble: str) -> None:
        super().__init__(
            f"{trouble} A list of symbols is CSV with a column symbol or ticker, JSON (an array of "
            "symbols, or of objects that have one), or just symbols. Nothing was changed."
        )
