"""Whether a data folder follows the index by itself, or keeps to the symbols chosen in it.

Some symbols loaded by name, or a universe of one's own, are a choice: five hundred others are not
added to it unless its user says so. Symbols of an index that was imported are followed, and an
empty folder fills itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from quant_assets.refreshing.membership import INDEX
from quant_assets.refreshing.nightly import named
from quant_assets.refreshing.steps import NothingToRefreshError, known_symbols
from quant_assets.wiring.platform import Platform

HOW = "follow_index = true in quant_assets.toml, or quant-assets universe import, has it follow the"


@dataclass(frozen=True)
class Following:
    """Whether the index is followed, the sentence that says so, and the symbols ``chosen`` where
    nobody has decided yet.
    """

    follows: bool
    why: str
    chosen: tuple[str, ...] = ()


def following(platform: Platform) -> Following:
    """Whether the data folder follows the index: by the settings, else by what is stored, else by
    the answer that its user gave once. Raises WarehouseError.
    """
    asked = platform.settings.follow_index
    if asked is not None:
        does = "follows" if asked else "does not follow"
        return Following(asked, f"This folder {does} the index {INDEX}, as follow_index is set.")
    if _is_imported(platform):
        return Following(True, f"This folder follows the index {INDEX}, which was imported.")
    try:
        chosen = known_symbols(platform)
    except NothingToRefreshError:
        why = f"This folder is empty, and fills itself with the members of {INDEX}."
        return Following(True, f"{why} follow_index = false in quant_assets.toml prevents that.")
    answered = _answer_file(platform)
    if answered.exists():
        follows = answered.read_text("utf-8").strip() == "yes"
        if follows:
            return Following(True, f"This folder follows the index {INDEX}, as you answered.")
        return Following(False, _kept_to(chosen))
    return Following(False, _kept_to(chosen), chosen)


def keep_answer(platform: Platform, *, follows: bool) -> None:
    """Keep the answer to the question whether the index is to be followed."""
    _answer_file(platform).write_text("yes\n" if follows else "no\n", "utf-8")


def _kept_to(chosen: tuple[str, ...]) -> str:
    return (
        f"This folder keeps to the {len(chosen):,} symbols chosen in it ({named(chosen)}); "
        f"{HOW} index {INDEX} as well."
    )


def _answer_file(platform: Platform) -> Path:
    return platform.settings.home_path / "follow_index"


def _is_imported(platform: Platform) -> bool:
    """Whether a list of the index was taken over here."""
    if not platform.warehouse.exists():
        return False
    platform.warehouse.migrate()
    with platform.warehouse.reading() as con:
        found = con.execute("select 1 from universes where universe = ?", [INDEX]).fetchone()
    return found is not None
