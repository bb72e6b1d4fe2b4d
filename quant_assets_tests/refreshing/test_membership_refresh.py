"""Refreshing the index: which source is next when a list is refused, and what is reported."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from quant_assets.contracts.membership import Constituent, UniverseAnswer
from quant_assets.contracts.source import SourceUnavailable
from quant_assets.membership.refusals import RefusedUniverseError
from quant_assets.refreshing.membership import refresh_membership
from quant_assets.settings.settings import load_settings
from quant_assets.sources.index_members.chain import (
    LAST_ACCEPTED,
    MembershipChain,
    NoMembershipError,
)
from quant_assets.wiring.platform import Platform

MONDAY = dt.datetime(2024, 6, 3, 12, tzinfo=dt.UTC)
MEMBERS = tuple(f"Q{chr(65 + n // 26)}{chr(65 + n % 26)}" for n in range(60))


@dataclass
class ScriptedSource:
    """A source that gives these answers, one a refresh; None where it can't be reached."""

    name: str
    answers: Iterator[tuple[str, ...] | None]
    listed_on: dt.date | None = None

    def fetch_universe(self) -> UniverseAnswer:
        symbols = next(self.answers)
        if symbols is None:
            raise SourceUnavailable(self.name, f"{self.name} can't be reached.")
        listed = tuple(Constituent(symbol) for symbol in symbols)
        return UniverseAnswer(self.name, constituents=listed, listed_on=self.listed_on)


@dataclass
class Follower:
    """A platform whose index is refreshed day after day."""

    home: Path
    sources: list[ScriptedSource] = field(default_factory=list)
    now: dt.datetime = MONDAY

    def __post_init__(self) -> None:
        flags = {"home": self.home, "universe": {"sizes": (50, 60), "sources": ["wikipedia"]}}
        self.platform = Platform(load_settings({}, flags=flags), lambda: self.now)

    def add_source(self, name: str, *sizes: int | None, listed_on: dt.date | None = None) -> None:
        """Add a source that lists so many of the members on each refresh."""
        answers = iter([None if n is None else MEMBERS[:n] for n in sizes])
        self.sources.append(ScriptedSource(name, answers, listed_on))

    def refresh(self, **how: object):  # type: ignore[no-untyped-def]
        self.now += dt.timedelta(days=1)
        named = [(source.name, source) for source in self.sources]
        chain = MembershipChain(named, _LastAccepted(self.platform))
        return refresh_membership(self.platform, source=chain, **how)  # type: ignore[arg-type]


@dataclass
class _LastAccepted:
    platform: Platform

    def fetch_universe(self) -> UniverseAnswer:
        if self.platform.last_accepted() is None:
            raise SourceUnavailable(LAST_ACCEPTED, "No list was ever accepted here.")
        return UniverseAnswer(LAST_ACCEPTED)


@pytest.fixture
def follower(tmp_path: Path) -> Follower:
    return Follower(tmp_path)


def test_the_first_source_that_is_believed_has_the_word(follower: Follower) -> None:
    follower.add_source("wikipedia", 52, 3, None)
    follower.add_source("list", 55, 55)
    assert follower.refresh().source == "wikipedia"
    refused = follower.refresh()
    assert (refused.source, refused.members) == ("list", 52)
    assert refused.passed_over == ("wikipedia: The list has 3 members; sp500 has 50 to 60.",)
    missing = follower.refresh()
    assert missing.passed_over == ("wikipedia: wikipedia can't be reached.",)


def test_a_fallback_older_than_the_list_in_force_is_passed_over(follower: Follower) -> None:
    follower.add_source("wikipedia", 52, None)
    follower.add_source("bundled", 55, listed_on=dt.date(2024, 1, 2))
    follower.refresh()
    report = follower.refresh()
    assert (report.source, report.members) == (LAST_ACCEPTED, 52)
    assert report.passed_over == (
        "wikipedia: wikipedia can't be reached.",
        "bundled: Its list of 2024-01-02 is older than that of 2024-06-04, in force here.",
    )


def test_where_no_source_answers_the_error_names_each(follower: Follower) -> None:
    follower.add_source("wikipedia", None)
    follower.add_source("list", None)
    with pytest.raises(NoMembershipError) as failure:
        follower.refresh()
    assert failure.value.passed_over == (
        "wikipedia: wikipedia can't be reached.",
        "list: list can't be reached.",
        "last accepted: No list was ever accepted here.",
    )


def test_a_list_given_alone_is_refused_by_an_error_unless_it_is_accepted(
    follower: Follower,
) -> None:
    follower.add_source("wikipedia", 52)
    follower.refresh()
    short = ScriptedSource("list:mine.csv", iter([MEMBERS[:3]] * 2))
    with pytest.raises(RefusedUniverseError, match="has 3 members; sp500 has 50 to 60"):
        refresh_membership(follower.platform, source=short)
    follower.now += dt.timedelta(days=1)
    report = refresh_membership(follower.platform, source=short, accept=True)
    assert len(report.removed) == 49


def test_the_given_day_comes_before_the_list_s_own(follower: Follower) -> None:
    source = ScriptedSource("list:mine.csv", iter([MEMBERS[:52]] * 2), dt.date(2024, 1, 2))
    refresh_membership(follower.platform, source=source)
    assert follower.platform.last_accepted() == (dt.date(2024, 1, 2), 52)
    refresh_membership(follower.platform, source=source, on=dt.date(2024, 3, 1))
    assert follower.platform.last_accepted() == (dt.date(2024, 3, 1), 52)


def test_history_that_can_t_be_read_costs_the_members_nothing(tmp_path: Path) -> None:
    (tmp_path / "now.csv").write_text("Symbol\n" + "\n".join(MEMBERS[:52]) + "\n")
    lists = {"constituents": str(tmp_path / "now.csv"), "intervals": str(tmp_path / "then.csv")}
    universe = {**lists, "sizes": (50, 60), "sources": ["list"]}
    flags = {"home": tmp_path / "data", "universe": universe}
    report = refresh_membership(Platform(load_settings({}, flags=flags), lambda: MONDAY))
    assert report.members == 52
    (notice,) = report.notices
    assert "The history of sp500 was not read" in notice
    assert "then.csv can't be read: No such file or directory." in notice
