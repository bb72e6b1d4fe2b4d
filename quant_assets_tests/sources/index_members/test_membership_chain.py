"""Sources of the membership asked in turn, and which of them the settings ask."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pytest

from quant_assets.contracts.membership import Constituent, UniverseAnswer
from quant_assets.contracts.source import BadAnswer, SourceError, SourceUnavailable
from quant_assets.schema.membership import MEMBERSHIP_LISTS
from quant_assets.settings.settings import Settings, SettingsError, load_settings
from quant_assets.settings.sources import UniverseFiles
from quant_assets.sources.index_members.bundled import BundledList, installed_data
from quant_assets.sources.index_members.chain import (
    LastAccepted,
    MembershipChain,
    NoMembershipError,
)
from quant_assets.sources.index_members.lists import MembershipLists
from quant_assets.sources.simulated.market import SimulatedMarket
from quant_assets.wiring.platform import NoListsError, Platform
from quant_assets_tests.conftest import NOW
from quant_assets_tests.standins.wikipedia_standin import WikipediaStandIn, invented, says, status


@dataclass
class Told:
    """A source with one answer, or one error; ``asked`` counts."""

    answer: UniverseAnswer | SourceError
    asked: list[int] = field(default_factory=list)

    def fetch_universe(self) -> UniverseAnswer:
        self.asked.append(1)
        if isinstance(self.answer, SourceError):
            raise self.answer
        return self.answer


PAGE = UniverseAnswer("wikipedia", constituents=(Constituent("AAPL"),))
LIST = UniverseAnswer("list:now.csv", constituents=(Constituent("MSFT"),))
DOWN = SourceUnavailable("wikipedia", "The page can't be fetched: 503.")
NEVER = LastAccepted(lambda: None)


def test_the_first_source_that_answers_is_the_only_one_asked() -> None:
    first, second = Told(PAGE), Told(LIST)
    answer = MembershipChain([("wikipedia", first), ("list", second)]).fetch_universe()
    assert answer == PAGE
    assert (len(first.asked), len(second.asked)) == (1, 0)


def test_an_answer_that_is_a_fallback_says_why_the_better_ones_did_not_answer() -> None:
    broken = BadAnswer("list", "now.csv holds no rows.")
    sources = [("wikipedia", Told(DOWN)), ("list", Told(broken)), ("bundled", Told(LIST))]
    answer = MembershipChain(sources).fetch_universe()
    assert (answer.source, answer.constituents) == (LIST.source, LIST.constituents)
    assert answer.passed_over == (
        "wikipedia: The page can't be fetched: 503.",
        "list: now.csv holds no rows.",
    )


def test_an_answer_may_be_refused_and_the_next_source_is_asked() -> None:
    last = Told(LIST)
    answers = MembershipChain([("wikipedia", Told(PAGE)), ("list", last)]).answers()
    assert next(answers).source == "wikipedia"
    assert last.asked == []
    answers.refuse("The list has 1 member.")
    answer = next(answers)
    assert answer.source == "list:now.csv"
    assert answer.passed_over == ("wikipedia: The list has 1 member.",)


def test_where_no_source_answers_the_members_accepted_last_stay() -> None:
    held = LastAccepted(lambda: (dt.date(2024, 5, 31), 503))
    answer = MembershipChain([("wikipedia", Told(DOWN))], held).fetch_universe()
    assert answer == UniverseAnswer(
        "last accepted",
        listed_on=dt.date(2024, 5, 31),
        passed_over=("wikipedia: The page can't be fetched: 503.",),
        notices=("No source lists the members; the 503 of 2024-05-31, accepted then, stay.",),
    )


def test_where_nothing_was_ever_accepted_one_error_names_every_source() -> None:
    chain = MembershipChain([("wikipedia", Told(DOWN)), ("list", Told(LIST))], NEVER)
    answers = chain.answers()
    assert next(answers).source == "list:now.csv"
    answers.refuse("It has 1 member.")
    with pytest.raises(NoMembershipError) as refused:
        next(answers)
    assert str(refused.value) == (
        "No source lists the members, and no list was ever accepted here. Nothing was changed. "
        "Give a list with quant-assets universe import --from FILE, or try again.\n"
        "- wikipedia: The page can't be fetched: 503.\n"
        "- list: It has 1 member.\n"
        "- last accepted: No list was ever accepted here."
    )


@pytest.mark.parametrize(
    ("said", "order"),
    [
        ({}, ("wikipedia", "bundled")),
        ({"constituents": "https://example.org/now.csv"}, ("wikipedia", "list", "bundled")),
        ({"intervals": "https://example.org/then.csv"}, ("wikipedia", "bundled")),
        # Files named and nothing else said: nobody else is asked before them.
        ({"constituents": "now.csv"}, ("list", "wikipedia", "bundled")),
        ({"constituents": "now.csv", "intervals": "then.csv"}, ("list", "wikipedia", "bundled")),
        ({"intervals": "then.csv"}, ()),
        (
            {"constituents": "now.csv", "wikipedia_url": "http://x"},
            ("wikipedia", "list", "bundled"),
        ),
        ({"intervals": "then.csv", "sources": ["wikipedia"]}, ("wikipedia",)),
        ({"constituents": "now.csv", "sources": ["bundled", "list"]}, ("bundled", "list")),
        ({"constituents": "now.csv", "sources": []}, ()),
        ({"sources": ["list", "bundled"]}, ("bundled",)),
        ({"wikipedia_url": ""}, ("bundled",)),
    ],
)
def test_the_order_of_sources_follows_from_the_settings(
    said: dict[str, object], order: tuple[str, ...]
) -> None:
    assert UniverseFiles.model_validate(said).order == order


def test_settings_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    for name, value in (("SOURCES", "wikipedia,yahoo"), ("CONTACT", "me\r\nCookie: x")):
        with pytest.raises(SettingsError, match=f"universe.{name.lower()}"):
            load_settings({f"QUANT_ASSETS_UNIVERSE__{name}": value}, working_directory=tmp_path)
    named = {"QUANT_ASSETS_UNIVERSE__SOURCES": "bundled, wikipedia"}
    settings = load_settings(named, working_directory=tmp_path)
    assert settings.universe.sources == ("bundled", "wikipedia")


@pytest.fixture
def standin() -> Iterator[WikipediaStandIn]:
    with WikipediaStandIn(invented(30), lambda: NOW) as serving:
        yield serving


def platform(folder: Path, source: str = "", **universe: object) -> Platform:
    values = {"root": folder, "home": folder, "source": source, "universe": universe}
    return Platform(Settings.model_validate(values), lambda: NOW)


def test_the_platform_asks_wikipedia_then_the_list_then_the_library(
    tmp_path: Path, standin: WikipediaStandIn
) -> None:
    list_ = tmp_path / "now.csv"
    list_.write_text("Symbol,Name\nAAPL,Apple\n", "utf-8")

    def asked(home: str) -> UniverseAnswer:  # each asks from a home of its own: none has to wait
        given = {"constituents": str(list_), "wikipedia_url": standin.url}
        return platform(tmp_path / home, **given).universe_source().fetch_universe()

    answer = asked("first")
    assert (answer.source, len(answer.constituents), answer.passed_over) == ("wikipedia", 30, ())
    standin.order(status(404))
    answer = asked("second")
    assert (answer.source, len(answer.passed_over)) == ("list:now.csv", 1)
    assert answer.passed_over[0].startswith(f"wikipedia: {standin.url} can't be fetched: 404")
    standin.order(says(b"<html><title>Sign in</title></html>"))
    list_.unlink()
    answer = asked("third")
    assert (answer.source, len(answer.constituents)) == ("bundled:pitindex", 503)
    assert len(answer.passed_over) == 2
    assert platform(tmp_path / "third").pacer("wikipedia").budget().requests_today == 1


def test_the_platform_falls_back_on_what_the_warehouse_accepted_last(tmp_path: Path) -> None:
    missing = tmp_path / "missing.html"
    named = platform(tmp_path, wikipedia_url=str(missing), sources=["wikipedia"])
    with pytest.raises(NoMembershipError, match="last accepted: No list was ever accepted here"):
        named.universe_source().fetch_universe()
    given = [
        {"listed_on": dt.date(2024, 5, 30), "accepted": True, "members": 503},
        {"listed_on": dt.date(2024, 5, 31), "accepted": False, "members": 12},
    ]
    same = {"universe": "sp500", "source": "wikipedia", "trusted": True, "fetched_at": NOW}
    fields = [f for f in MEMBERSHIP_LISTS.arrow_schema if f.name in {*same, *given[0]}]
    rows = pa.Table.from_pylist([same | each for each in given], schema=pa.schema(fields))
    with named.warehouse.writing(str(uuid.uuid4()), "test") as writing:
        writing.upsert(MEMBERSHIP_LISTS, rows)
    answer = named.universe_source().fetch_universe()
    assert (answer.source, answer.listed_on) == ("last accepted", dt.date(2024, 5, 30))
    assert answer.notices[0].startswith("No source lists the members; the 503 of 2024-05-30")


def test_lists_in_files_need_nobody_else(tmp_path: Path) -> None:
    (tmp_path / "now.csv").write_text("Symbol\nAAPL\n", "utf-8")
    (tmp_path / "then.csv").write_text("ticker,start_date,end_date\nA,2000-06-05,\n", "utf-8")
    both = platform(tmp_path, constituents="now.csv", intervals="then.csv")
    answer = both.universe_source().fetch_universe()
    assert (answer.source, len(answer.constituents)) == ("list:now.csv", 1)
    history = both.universe_history()
    assert history is not None
    assert [stay.symbol for stay in history.fetch_universe().intervals] == ["A"]
    alone = platform(tmp_path, constituents="now.csv", intervals="then.csv", sources=[])
    answer = alone.universe_source().fetch_universe()
    assert (answer.source, len(answer.intervals)) == ("list:then.csv, now.csv", 1)
    assert alone.universe_history() is None


def test_without_any_source_that_is_said_and_a_made_up_market_has_its_own(tmp_path: Path) -> None:
    with pytest.raises(NoListsError, match=r"Set universe\.sources"):
        platform(tmp_path, sources=[]).universe_source()
    assert isinstance(platform(tmp_path, "simulated").universe_source(), SimulatedMarket)
    stays = platform(tmp_path, intervals="then.csv").universe_source()
    assert isinstance(stays, MembershipLists)


def test_the_librarys_list_is_that_of_the_day_it_was_made() -> None:
    answer = BundledList().fetch_universe()
    assert answer.source == "bundled:pitindex"
    assert answer.listed_on is not None
    assert answer.listed_on >= dt.date(2026, 7, 13)
    assert 490 <= len(answer.constituents) <= 515
    assert answer.notices == (f"pitindex has the members of {answer.listed_on}.",)
    assert all(each.name and each.sector and each.cik for each in answer.constituents)
    assert all(each.industry and each.added_on for each in answer.constituents)


MADE = json.dumps({"indices": {"sp500": {"end_date": "2026-07-13"}}})


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ({}, "build_metadata.json can't be read: No such file"),
        ({"build_metadata.json": "{}"}, "has no readable day of its list in build_metadata.json"),
        ({"build_metadata.json": MADE}, "sp500_current.csv can't be read: No such file"),
        ({"build_metadata.json": MADE, "sp500_current.csv": "a,b\n1,2\n"}, "has no column symbol"),
        ({"build_metadata.json": MADE, "sp500_current.csv": ""}, "holds no rows"),
    ],
)
def test_a_library_whose_data_changed_is_no_source(
    tmp_path: Path, files: dict[str, str], complaint: str
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text, "utf-8")
    with pytest.raises(SourceError, match=complaint):
        BundledList(lambda: tmp_path).fetch_universe()
    assert installed_data().name == "data"
