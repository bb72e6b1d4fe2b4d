"""The list of members inside an installed library, for when no other source can be reached.

The library is pitindex; the reason is in ``docs/sources.md``. Its files are read without importing
it, since its own functions prefer a cache in the user's home to the installed files.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from quant_assets.contracts.membership import Constituent, UniverseAnswer
from quant_assets.contracts.source import BadAnswer, SourceUnavailable
from quant_assets.fetching.http import read_path
from quant_assets.fetching.json_body import read_json
from quant_assets.sources.index_members.headers import read_members
from quant_assets.sources.index_members.rows import check_symbols, read_rows

SOURCE = "bundled"
LIBRARY = "pitindex"
_LIST, _MADE = "sp500_current.csv", "build_metadata.json"


def installed_data() -> Path:
    """The folder of the library's lists. Raises SourceUnavailable."""
    try:
        return Path(str(distribution(LIBRARY).locate_file(f"{LIBRARY}/data")))
    except PackageNotFoundError:
        message = f"The library {LIBRARY} is not installed: pip install {LIBRARY}."
        raise SourceUnavailable(SOURCE, message) from None


@dataclass(frozen=True)
class BundledList:
    """The members as of the day the library's list was made, always some time ago."""

    data: Callable[[], Path] = installed_data

    def fetch_universe(self) -> UniverseAnswer:
        """No request. Raises SourceUnavailable and BadAnswer."""
        folder = self.data()
        # Without its day an old list would pass for today's, so the day is read first.
        made_on = _made_on(read_path(str(folder / _MADE), SOURCE))
        constituents, unread, notices = self.read_list()
        return UniverseAnswer(
            f"{SOURCE}:{LIBRARY}",
            constituents=constituents,
            unread=unread,
            listed_on=made_on,
            notices=(f"{LIBRARY} has the members of {made_on}.", *notices),
        )

    def read_list(self) -> tuple[tuple[Constituent, ...], tuple[Constituent, ...], list[str]]:
        """The lines of the list, those without a readable ticker, and notices.

        Raises SourceUnavailable and BadAnswer.
        """
        name = f"{_LIST} of {LIBRARY}"
        rows = read_rows(read_path(str(self.data() / _LIST), SOURCE), name, SOURCE)
        check_symbols(rows, name, SOURCE)
        return read_members(rows, LIBRARY, SOURCE)


def _made_on(body: bytes) -> dt.date:
    try:
        return dt.date.fromisoformat(read_json(body)["indices"]["sp500"]["end_date"])
    except (ValueError, KeyError, TypeError) as error:
        message = f"{LIBRARY} has no readable day of its list in {_MADE}."
        raise BadAnswer(SOURCE, message) from error
