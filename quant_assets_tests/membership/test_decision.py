"""Memberships decided from lists and statements: the rules one by one."""

from __future__ import annotations

import datetime as dt
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quant_assets.membership.deciding.decision import Decision, decide
from quant_assets.membership.deciding.evidence import (
    ADDED,
    INTERVAL,
    REMOVED,
    Evidence,
    ListRun,
    Lists,
    Statement,
)
from quant_assets.membership.evidence_store import EvidenceStore
from quant_assets.membership.list_runs import ListEntry

FIRST = dt.date(2024, 6, 3)
"""The day of the first list; the others follow day by day by default."""


def day(text: str) -> dt.date:
    return dt.date.fromisoformat(text)


def store_of(
    lists: str, *, every: int = 1, date_added: str = "", family: str = "wikipedia"
) -> EvidenceStore:
    """Lists a day or more apart: ``x`` has the security, ``.`` lacks it, ``-`` is no list.

    ``date_added`` is the date of joining that the lists give. Another security is on all of them.
    """
    store = EvidenceStore("ours")
    added = day(date_added) if date_added else None
    for place, mark in enumerate(lists):
        on = FIRST + dt.timedelta(days=place * every)
        members = {2: ListEntry("OTHER")} | ({1: ListEntry("A", added)} if mark == "x" else {})
        if mark != "-":
            store.add_list(family, on, members)
    return store


def decided(store: EvidenceStore, *statements: Statement) -> Decision:
    for each in statements:
        store.add_statement(1, each)
        # The file knows of other days too.
        if each.kind == INTERVAL:
            until = day("2026-01-02")
            store.add_statement(
                2, Statement(each.source, INTERVAL, day("1996-01-02"), until, "OTHER")
            )
    return decide(store.of(1), store.lists())


def stays(decision: Decision) -> list[str]:
    return [f"{s.effective_on} {s.removed_on or ''}".strip() for s in decision.memberships]


def joined(on: str, source: str = "wikipedia") -> Statement:
    return Statement(source, ADDED, day(on), None, "A", "it grew")


def left(on: str, source: str = "wikipedia") -> Statement:
    return Statement(source, REMOVED, day(on), None, "A", "it shrank")


def stayed(start: str, end: str = "", source: str = "list:history.csv") -> Statement:
    return Statement(source, INTERVAL, day(start), day(end) if end else None, "A")


@pytest.mark.parametrize(
    ("lists", "expected"),
    [
        ("xxxx", ["2024-06-03"]),
        ("..xx", ["2024-06-05"]),
        # One list that lacks a member proves nothing; a second one does.
        ("xxx.", ["2024-06-03"]),
        ("xx..", ["2024-06-03 2024-06-05"]),
        # Who comes back within days was not away.
        ("x.xx", ["2024-06-03"]),
        ("x...xx", ["2024-06-03"]),
        # Who is seen for a moment, between lists without it, was not there.
        ("..x..", []),
        ("..x", ["2024-06-05"]),
        ("....", []),
    ],
)
def test_lists_alone_decide(lists: str, expected: list[str]) -> None:
    assert stays(decided(store_of(lists))) == expected


def test_a_member_that_one_list_lacks_is_waited_for() -> None:
    assert decided(store_of("xx.")).waiting == day("2024-06-05")
    assert decided(store_of("xx..")).waiting is None
    assert decided(store_of("xx.x")).waiting is None


def test_a_member_away_for_long_has_two_memberships() -> None:
    assert stays(decided(store_of("xx..xx", every=20))) == ["2024-06-03 2024-07-13", "2024-08-22"]
    # Lists weeks apart: one of them may be a slip.
    assert stays(decided(store_of("xx.xxx", every=20))) == ["2024-06-03"]


def test_a_list_kept_by_hand_that_lacks_a_member_for_months_is_less_than_a_file() -> None:
    file = stayed("2010-01-04")
    assert stays(decided(store_of("xx..xx", every=90, family="list"), file)) == ["2010-01-04"]
    # Not so a list that is looked after.
    assert len(stays(decided(store_of("xx..xx", every=90), file))) == 2


def test_a_dated_removal_needs_no_second_list() -> None:
    assert stays(decided(store_of("xx."), left("2024-06-04"))) == ["2024-06-03 2024-06-04"]
    assert stays(decided(store_of("xx."), stayed("2010-01-04", "2024-06-05"))) == [
        "2010-01-04 2024-06-05"
    ]


def test_a_ticker_that_a_file_changes_is_no_leaving() -> None:
    # The list lacks the old ticker for a day and has the new one on the next.
    renamed = stayed("2010-01-04", "2024-06-04"), stayed("2024-06-05")
    assert stays(decided(store_of("xx."), *renamed)) == ["2010-01-04"]
    assert stays(decided(store_of("xx.x"), *renamed)) == ["2010-01-04"]


def test_a_list_that_a_user_vouches_for_needs_no_second_one() -> None:
    store = store_of("xx")
    store.add_list("wikipedia", day("2024-06-05"), {2: ListEntry("OTHER")}, trusted=True)
    assert stays(decided(store)) == ["2024-06-03 2024-06-05"]


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        # The day before the first list that has it, and a month before.
        (joined("2024-06-04"), "2024-06-04"),
        (joined("2024-05-04"), "2024-06-05"),
        # Announced: listed before it takes effect.
        (joined("2024-06-24"), "2024-06-24"),
        (stayed("2024-06-03"), "2024-06-03"),
        # 61 days early, and 31 days late, as a history file was.
        (stayed("2024-04-05"), "2024-06-05"),
        (stayed("2024-07-16"), "2024-06-05"),
    ],
)
def test_a_statement_dates_a_joining_that_lists_bear_out(
    statement: Statement, expected: str
) -> None:
    assert stays(decided(store_of("..xx"), statement)) == [expected]


def test_the_table_of_changes_comes_before_the_list_s_column_and_that_before_a_file() -> None:
    store = store_of("..xx", date_added="2024-06-07")
    file = stayed("2024-06-14")
    assert stays(decided(store, file)) == ["2024-06-07"]
    assert stays(decided(store, file, joined("2024-06-10"))) == ["2024-06-10"]


def test_the_column_of_a_predecessor_s_joining_is_not_believed() -> None:
    assert stays(decided(store_of("..xx", date_added="1957-03-04"))) == ["2024-06-05"]


def test_a_file_with_nearly_the_same_date_has_the_exact_one() -> None:
    # 2024-06-08 is a Saturday.
    assert stays(decided(store_of("..xxxx", date_added="2024-06-08"), stayed("2024-06-10"))) == [
        "2024-06-10"
    ]


def test_nobody_joins_on_a_day_off_and_a_friday_may_be_the_close_before() -> None:
    # 2024-06-07 is a Friday.
    lists = store_of("..xxxx")
    assert stays(decided(lists, joined("2024-06-08"))) == ["2024-06-10"]
    assert stays(decided(store_of("..xxxx"), joined("2024-06-07"))) == ["2024-06-07"]
    friday = joined("2024-06-07"), stayed("2024-06-10")
    assert stays(decided(store_of("..xxxx"), *friday)) == ["2024-06-10"]


@pytest.mark.parametrize(
    ("column", "file", "expected"),
    [
        ("2018-06-05", "2018-06-05", "2018-06-05"),
        ("1957-03-04", "1996-01-02", "1996-01-02"),
        ("2023-12-18", "2023-10-18", "2023-12-18"),
        # The last weekday and the first day of a month stand for the month.
        ("2012-06-29", "2012-06-05", "2012-06-05"),
        ("2013-08-01", "2013-07-01", "2013-07-01"),
        ("2018-06-05", "", "2018-06-05"),
    ],
)
def test_a_member_of_the_first_list_joined_on_the_stated_day(
    column: str, file: str, expected: str
) -> None:
    statements = [stayed(file)] if file else []
    assert stays(decided(store_of("xx", date_added=column), *statements)) == [expected]


def test_no_company_joins_before_its_own_first_day() -> None:
    store = store_of("xx", date_added="1957-03-04")
    assert stays(decide(store.of(1, known_since=day("2024-04-02")), store.lists())) == [
        "2024-04-02"
    ]


def test_a_member_leaves_when_its_successor_joins() -> None:
    store = EvidenceStore("ours")
    store.add_list("wikipedia", day("2024-06-21"), {1: ListEntry("A"), 2: ListEntry("B")})
    for on in ("2024-06-25", "2024-06-26"):
        store.add_list(
            "wikipedia", day(on), {2: ListEntry("B"), 3: ListEntry("C", day("2024-06-24"))}
        )
    assert stays(decided(store)) == ["2024-06-21 2024-06-24"]


def test_what_is_announced_begins_and_ends_on_its_day() -> None:
    decision = decided(
        store_of("xx"), Statement("wikipedia", REMOVED, day("2024-06-24"), None, "A")
    )
    assert stays(decision) == ["2024-06-03 2024-06-24"]
    coming = Statement(
        "wikipedia", ADDED, day("2024-06-24"), None, "A", reported_on=day("2024-06-04")
    )
    decision = decided(store_of(".."), coming)
    assert stays(decision) == ["2024-06-24"]
    assert decision.memberships[0].announced_on == day("2024-06-04")


def test_before_and_after_all_lists_a_history_file_is_believed() -> None:
    store = store_of("..", every=1)
    assert stays(decided(store, stayed("1996-01-02", "2001-05-07"), stayed("2025-03-24"))) == [
        "1996-01-02 2001-05-07",
        "2025-03-24",
    ]


def test_against_lists_a_history_file_is_not_believed() -> None:
    decision = decided(store_of("...."), stayed("2010-01-04"))
    assert stays(decision) == ["2010-01-04 2024-06-03"]
    (conflict,) = decision.conflicts
    assert (conflict.source, conflict.from_on, conflict.until_on, conflict.says_member) == (
        "list:history.csv",
        day("2024-06-03"),
        None,
        True,
    )
    assert conflict.cause == "has it as a member still"


@pytest.mark.parametrize(
    ("lists", "file", "expected"),
    [
        ("..xx", "2024-04-05", "lets it join 61 days earlier: 2024-04-05 2024-06-05 True"),
        ("..xx", "2024-07-16", "lets it join 41 days later: 2024-06-05 2024-07-16 False"),
        (
            "xx..",
            "2018-06-05 2024-06-25",
            "lets it leave 20 days later: 2024-06-05 2024-06-25 True",
        ),
        (
            "xxxx",
            "2018-06-05 2021-06-07",
            "has it as a member no longer: 2021-06-07 None False",
        ),
    ],
)
def test_each_disagreement_is_on_record(lists: str, file: str, expected: str) -> None:
    column = "2018-06-05" if lists.startswith("x") else ""
    (conflict,) = decided(store_of(lists, date_added=column), stayed(*file.split())).conflicts
    days = conflict.from_on, conflict.until_on, conflict.says_member
    assert f"{conflict.cause}: {' '.join(map(str, days))}" == expected


def test_a_list_that_left_a_member_out_disagrees_for_that_day_alone() -> None:
    (conflict,) = decided(store_of("xx.xx")).conflicts
    assert (conflict.source, conflict.from_on, conflict.until_on, conflict.cause) == (
        "wikipedia",
        day("2024-06-05"),
        day("2024-06-06"),
        "left it out for a time",
    )


# Several lists


def test_a_fallback_shows_what_changed_and_does_not_decide_members() -> None:
    store = store_of("xx------")
    # Its idea of the index is older: it lacks the member, and always has.
    for place in range(2, 6):
        store.add_list("list", FIRST + dt.timedelta(days=place), {2: ListEntry("OTHER")})
    assert stays(decided(store)) == ["2024-06-03"]
    # But this one had it, and has it no more.
    other = store_of("xx------")
    for place, members in enumerate(({1: ListEntry("A")}, {1: ListEntry("A")}, {}, {}), 2):
        on = FIRST + dt.timedelta(days=place)
        other.add_list("list", on, {2: ListEntry("OTHER"), **members})
    assert stays(decided(other)) == ["2024-06-03 2024-06-07"]


def test_a_fallback_speaks_for_itself_after_weeks_without_a_better_one() -> None:
    store = store_of("xx")
    for place in (50, 51):
        store.add_list("list", FIRST + dt.timedelta(days=place), {2: ListEntry("OTHER")})
    assert stays(decided(store)) == ["2024-06-03 2024-07-23"]


def test_beside_a_better_list_another_changes_nothing() -> None:
    store = store_of("xxxx")
    for place, members in enumerate(({1: ListEntry("A")}, {}, {}, {})):
        on = FIRST + dt.timedelta(days=place)
        store.add_list("list", on, {2: ListEntry("OTHER"), **members})
    decision = decided(store)
    assert stays(decision) == ["2024-06-03"]
    assert [c.source for c in decision.conflicts] == ["list"]


def test_a_library_s_list_counts_only_where_there_is_no_other() -> None:
    alone = store_of("xx", family="bundled")
    assert stays(decided(alone)) == ["2024-06-03"]
    beside = store_of("..", family="bundled")
    for place in (100, 101):
        on = FIRST + dt.timedelta(days=place)
        beside.add_list("wikipedia", on, {1: ListEntry("A", day("2018-06-05"))})
    assert stays(decided(beside)) == ["2018-06-05"]


# The evidence store


@given(st.lists(st.booleans(), min_size=1, max_size=7), st.data())
def test_the_order_in_which_lists_arrive_does_not_matter(
    present: list[bool], data: st.DataObject
) -> None:
    order = data.draw(st.permutations(range(len(present))))
    store = [EvidenceStore("ours"), EvidenceStore("ours")]
    for one, places in zip(store, (range(len(present)), order), strict=True):
        for place in places:
            members = {1: ListEntry("A")} if present[place] else {}
            on = FIRST + dt.timedelta(days=place)
            one.add_list("wikipedia", on, {2: ListEntry("OTHER"), **members})
    assert store[0].of(1) == store[1].of(1)
    assert stays(decided(store[0])) == stays(decided(store[1]))


def test_lists_and_histories_in_any_order_give_the_same() -> None:
    parts = [
        lambda b: b.add_list("wikipedia", FIRST, {1: ListEntry("A", day("2018-06-05"))}),
        lambda b: b.add_list("wikipedia", day("2024-06-10"), {2: ListEntry("OTHER")}),
        lambda b: b.add_list("wikipedia", day("2024-06-11"), {2: ListEntry("OTHER")}),
        lambda b: b.add_statement(1, stayed("2018-06-07", "2024-06-10")),
    ]
    found = set()
    for order in permutations(parts):
        store = EvidenceStore("ours")
        for part in order:
            part(store)
        found.add(tuple(stays(decided(store))))
    assert found == {("2018-06-07 2024-06-10",)}


def test_a_list_given_again_on_its_day_takes_the_other_s_place() -> None:
    store = store_of("xx.")
    store.add_list("wikipedia", day("2024-06-05"), {1: ListEntry("A"), 2: ListEntry("OTHER")})
    assert store.of(1).runs == {"wikipedia": (ListRun(FIRST, None, "A"),)}
    store.add_list("wikipedia", day("2024-06-05"), {2: ListEntry("OTHER")})
    assert store.of(1).runs == {"wikipedia": (ListRun(FIRST, day("2024-06-05"), "A"),)}


def test_a_statement_that_a_source_makes_no_more_is_dropped() -> None:
    store = store_of("xx")
    store.add_statement(1, left("2024-06-24"))
    store.add_statement(1, stayed("2018-06-05"))
    store.replace_statements("wikipedia", (ADDED, REMOVED), [])
    assert store.of(1).statements == (stayed("2018-06-05"),)


def test_without_evidence_nothing_is_decided() -> None:
    assert decide(Evidence(), Lists({})) == Decision(())


@pytest.mark.parametrize(("apart", "left"), [(1, "2024-06-05"), (90, "2024-07-15")])
def test_between_lists_far_apart_a_file_knows_better_than_a_successor_without_a_date(
    apart: int, left: str
) -> None:
    store = EvidenceStore("ours")
    old, new = {1: ListEntry("OLD"), 2: ListEntry("OTHER")}, {2: ListEntry("OTHER")}
    for place, members in enumerate((old, old, new | {3: ListEntry("NEW")}, new)):
        store.add_list("list", FIRST + dt.timedelta(days=place * apart), members)
    file = Statement("list:then.csv", INTERVAL, day("2001-01-02"), day("2024-07-15"), "OLD")
    found = decided(store, file).memberships
    assert [(str(m.effective_on), str(m.removed_on)) for m in found] == [("2001-01-02", left)]
