"""Securities of a list: members under new tickers, and other companies under used ones."""

from __future__ import annotations

import datetime as dt

import pytest

from quant_assets.contracts.membership import Constituent
from quant_assets.membership.constituents import Claim, Renaming, identify_members
from quant_assets.reference.identity import KnownIdentity, Name
from quant_assets.securities.register import Register

BEFORE, ON = dt.date(2024, 3, 25), dt.date(2024, 3, 27)


def register(*members: Constituent) -> tuple[Register, dict[int, str]]:
    """A register after a first list, and the members of that list."""
    kept = Register((), "wikipedia")
    identified = identify_members(members, kept, BEFORE, {}, {}, latest=True)
    for security, line in identified.constituents.items():
        kept.describe(security, line)
    return kept, {security: line.symbol for security, line in identified.constituents.items()}


FLT = Constituent("FLT", "Fleetcor", cik="1175454", added_on=dt.date(2018, 6, 20))
OTHER = Constituent("A", "Agilent Technologies", cik="1090872")


@pytest.mark.parametrize(
    "line",
    [
        Constituent("CPAY", "Corpay", cik="0001175454"),
        Constituent("CPAY", "Corpay", previous_symbol="FLT"),
        Constituent("CPAY", "FLEETCOR, Inc."),
    ],
)
def test_a_member_under_a_new_ticker_is_renamed(line: Constituent) -> None:
    kept, members = register(FLT, OTHER)
    identified = identify_members([OTHER, line], kept, ON, members, {}, latest=True)
    assert identified.renamed == (Renaming(1, "FLT", "CPAY", ON),)
    assert sorted(identified.constituents) == [1, 2]
    assert [n for n in kept.names() if n.security_id == 1] == [
        Name("FLT", BEFORE, ON, 1),
        Name("CPAY", ON, None, 1),
    ]
    # The next list brings no news.
    again = identify_members([OTHER, line], kept, ON, {1: "CPAY", 2: "A"}, {}, latest=True)
    assert again.renamed == ()


def test_another_company_in_its_place_is_no_renaming() -> None:
    kept, members = register(FLT, OTHER)
    stranger = Constituent("SW", "Smurfit Westrock", cik="2005951")
    identified = identify_members([OTHER, stranger], kept, ON, members, {}, latest=True)
    assert identified.renamed == ()
    assert identified.constituents == {2: OTHER, 3: stranger}


def test_the_share_classes_of_a_company_are_renamed_each() -> None:
    old = [
        Constituent("DISCA", "Discovery (Series A)", cik="1437107"),
        Constituent("DISCK", "Discovery (Series C)", cik="1437107"),
    ]
    new = [
        Constituent("WBDC", "Warner Bros (Series C)", cik="1437107"),
        Constituent("WBDA", "Warner Bros (Series A)", cik="1437107"),
    ]
    kept, members = register(*old)
    identified = identify_members(new, kept, ON, members, {}, latest=True)
    assert {security: line.symbol for security, line in identified.constituents.items()} == {
        1: "WBDA",
        2: "WBDC",
    }


def test_a_member_keeps_its_ticker_through_a_change_of_its_number() -> None:
    kept, members = register(FLT, OTHER)
    anew = Constituent("A", "Agilent Technologies", cik="7777777")
    identified = identify_members([FLT, anew], kept, ON, members, {}, latest=True)
    assert identified.constituents == {1: FLT, 2: anew}


def test_a_company_may_take_the_ticker_of_the_one_it_buys() -> None:
    ace = Constituent("ACE", "ACE Limited", cik="896159")
    kept, members = register(Constituent("CB", "Chubb Corp", cik="20171"), ace)
    bought = Constituent("CB", "Chubb Limited", cik="896159")
    listed = {"CB": Claim(1, BEFORE), "ACE": Claim(2, BEFORE)}
    identified = identify_members(
        [bought], kept, ON, members, {}, latest=True, claims=listed, proven=lambda *_: True
    )
    assert identified.renamed == (Renaming(2, "ACE", "CB", ON),)
    assert identified.constituents == {2: bought}
    assert Name("CB", BEFORE, ON, 1) in kept.names()


@pytest.mark.parametrize(
    ("line", "same"),
    [
        (Constituent("Q", "Qnity Electronics", cik="2058873", added_on=ON), False),
        (Constituent("Q", "Quintiles", cik="1478242", added_on=ON), True),
        (Constituent("Q", "Quintiles", added_on=ON), False),
        # A list that has it since before it left does not mean another.
        (Constituent("Q", "Quintiles", added_on=dt.date(2017, 8, 29)), True),
    ],
)
def test_a_ticker_that_comes_back_after_years_is_another_company_unless_something_shows_it_is_not(
    line: Constituent, same: bool
) -> None:
    kept, members = register(Constituent("Q", "Quintiles", cik="1478242"), OTHER)
    left = {1: dt.date(2018, 2, 15)}
    identified = identify_members([OTHER, line], kept, ON, {2: members[2]}, left, latest=True)
    assert identified.constituents == {2: OTHER, 1 if same else 3: line}
    assert len([n for n in kept.names() if n.symbol == "Q"]) == (1 if same else 2)


def test_what_was_looked_up_comes_first() -> None:
    known = (
        KnownIdentity("facebook", "FB", dt.date(2012, 5, 18), dt.date(2022, 6, 9), "Meta", None),
        KnownIdentity("facebook", "META", dt.date(2022, 6, 9), None, "Meta", None),
    )
    kept = Register(known, "a list")
    fb = Constituent("FB", "Facebook")
    identified = identify_members([fb], kept, dt.date(2022, 6, 1), {}, {}, latest=True)
    # A list may have the new ticker some days early.
    meta = Constituent("META", "Meta Platforms")
    identified = identify_members([meta], kept, dt.date(2022, 6, 6), {1: "FB"}, {}, latest=True)
    assert identified.constituents == {1: meta}


def test_the_ticker_of_a_looked_up_successor_is_not_that_of_the_last_list() -> None:
    spun_off = dt.date(2019, 3, 19)
    known = (
        KnownIdentity("century_fox", "FOXA", dt.date(2013, 7, 1), spun_off, "21st Century", None),
        KnownIdentity("fox_corp", "FOXA", spun_off, None, "Fox Corp", None),
    )
    kept = Register(known, "a list")
    before, after = dt.date(2018, 4, 2), dt.date(2020, 5, 10)
    fox = Constituent("FOXA", "Fox Class A")
    old = identify_members([fox], kept, before, {}, {}, latest=True)
    [security] = old.constituents
    members, listed = {security: "FOXA"}, {"FOXA": Claim(security, before)}
    new = identify_members([fox], kept, after, members, {}, latest=True, claims=listed)
    assert new.renamed == ()
    assert security not in new.constituents


def test_a_new_ticker_counts_from_the_first_list_that_has_it() -> None:
    kept, members = register(FLT, OTHER)
    line = Constituent("CPAY", "Corpay", cik="0001175454")
    first = identify_members(
        [OTHER, line], kept, ON, members, {}, latest=True, proven=lambda *_: False
    )
    assert (first.renamed, first.claimed) == ((), (Renaming(1, "FLT", "CPAY", ON),))
    second = identify_members(
        [OTHER, line],
        kept,
        ON + dt.timedelta(days=1),
        members,
        {},
        latest=True,
        claims={"CPAY": Claim(1, ON)},
    )
    assert second.renamed == (Renaming(1, "FLT", "CPAY", ON),)
    assert [n for n in kept.names() if n.security_id == 1] == [
        Name("FLT", BEFORE, ON, 1),
        Name("CPAY", ON, None, 1),
    ]


def test_an_older_list_renames_no_member() -> None:
    kept, members = register(FLT, OTHER)
    line = Constituent("CPAY", "Corpay", cik="1175454")
    identified = identify_members([OTHER, line], kept, BEFORE, members, {}, latest=False)
    assert identified.renamed == ()
    assert 1 not in identified.constituents
