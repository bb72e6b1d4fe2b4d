"""One list, one cell or one row proves nothing: what a second witness has to confirm."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest

from quant_assets import read
from quant_assets.contracts.membership import (
    Constituent,
    MembershipInterval,
    UniverseAnswer,
)
from quant_assets.membership.refusals import FutureListError, TooManyChangesError
from quant_assets.membership.take_back import NoSuchListError, take_back
from quant_assets.membership.take_over import import_universe
from quant_assets.reference.identity import KnownIdentity
from quant_assets.sources.index_members.headers import read_members
from quant_assets.warehouse.warehouse import Warehouse
from quant_assets_tests.membership.index_page import (
    CHANGES,
    MEMBERS,
    Cells,
    bring,
    page,
    stays,
    with_cell,
)

MANY: Cells = tuple(
    (f"Q{chr(65 + n // 26)}{chr(65 + n % 26)}", f"Company {n}", "", "", "2001-01-02", f"{7000 + n}")
    for n in range(30)
)


def names(warehouse: Warehouse) -> list[str]:
    with warehouse.reading() as con:
        rows = con.execute("select symbol, valid_from, valid_to from symbol_history order by all")
        return [f"{symbol} {start} {end or ''}".strip() for symbol, start, end in rows.fetchall()]


def causes(warehouse: Warehouse) -> list[tuple[str, str]]:
    frame = read.universe_conflicts("sp500", home=warehouse.path.parent)
    return list(zip(frame["symbol"], frame["cause"], strict=True))


def test_a_mistyped_number_is_no_other_company(warehouse: Warehouse) -> None:
    wrong = with_cell(MEMBERS, 3, 5, "1801205")
    without = tuple(row for row in MEMBERS if row[0] != "APP")
    for on, rows in (
        ("2024-09-02", wrong),
        ("2024-09-03", without),
        ("2024-09-04", without),
        ("2024-09-17", MEMBERS),
    ):
        bring(warehouse, page(rows, ()), on)
    assert [name for name in names(warehouse) if name.startswith("APP ")] == ["APP 2024-09-02"]


def test_a_list_is_corrected_on_its_own_day(warehouse: Warehouse) -> None:
    bring(warehouse, page(MANY, ()), "2024-09-02")
    extra = ("DDD", "Three D", "", "", "", "5")
    for rows in ((*MANY, extra), MANY, MANY):
        report = bring(warehouse, page(rows, ()), "2024-09-03")
    assert (report.members, report.waiting) == (30, ())
    assert stays(warehouse, "DDD") == []


@pytest.mark.parametrize("spelt", ["{}.US", "{} US", "NYSE:{}", "${}", "{}*", "{} UN Equity"])
def test_one_spelling_for_all_symbols_renames_nobody(warehouse: Warehouse, spelt: str) -> None:
    bring(warehouse, page(changes=()), "2024-09-02")
    rows = tuple((spelt.format(row[0]), *row[1:]) for row in MEMBERS)
    report = bring(warehouse, page(rows, ()), "2024-09-03")
    assert (report.members, report.renamed, report.waiting) == (8, (), ())


def test_new_tickers_count_among_the_changes(warehouse: Warehouse) -> None:
    bring(warehouse, page(MANY, ()), "2024-09-02")
    rows = (*((f"X{row[0]}", *row[1:]) for row in MANY[:11]), *MANY[11:])
    with pytest.raises(TooManyChangesError, match="new tickers of 11"):
        bring(warehouse, page(rows, ()), "2024-09-03")


def test_a_new_ticker_needs_a_second_list(warehouse: Warehouse) -> None:
    renamed = with_cell(MEMBERS, 0, 0, "MSFX")
    before = ["MSFT 2024-09-02"]
    for on, rows, expected in (
        ("2024-09-02", MEMBERS, before),
        ("2024-09-03", renamed, before),
        ("2024-09-03", renamed, before),  # another look that day is no second list
        ("2024-09-04", MEMBERS, before),
        ("2024-09-05", renamed, before),
        ("2024-09-06", renamed, ["MSFT 2024-09-02 2024-09-05", "MSFX 2024-09-05"]),
    ):
        report = bring(warehouse, page(rows, ()), on)
        assert [name for name in names(warehouse) if name.startswith("MSF")] == expected, on
        assert report.waiting == ()
    assert stays(warehouse, "MSF%") == ["MSFX 1994-06-01"]


def test_a_new_ticker_with_a_dated_row_needs_no_second_list(warehouse: Warehouse) -> None:
    bring(warehouse, page(changes=()), "2024-09-02")
    row = ("September 3, 2024", "MSFX", "Microsoft", "MSFT", "Microsoft", "Renamed.")
    report = bring(warehouse, page(with_cell(MEMBERS, 0, 0, "MSFX"), (row,)), "2024-09-03")
    assert report.renamed == ("MSFT → MSFX",)


FACEBOOK = (
    KnownIdentity("meta", "FB", dt.date(2012, 5, 18), dt.date(2022, 6, 9), "Meta", "1326801"),
    KnownIdentity("meta", "META", dt.date(2022, 6, 9), None, "Meta", "1326801"),
)
META = ("META", "Meta", "", "", "2013-12-23", "1326801")


def bring_known(warehouse: Warehouse, symbol: str, on: str, *, accept: bool = False) -> None:
    answer = page((*MEMBERS, (symbol, *META[1:])), ())
    day = dt.date.fromisoformat(on)
    import_universe(warehouse, answer, FACEBOOK, on=day, accept=accept, sizes=range(1, 40))


def test_a_former_ticker_in_one_cell_is_no_new_ticker(warehouse: Warehouse) -> None:
    known = (
        MembershipInterval("FB", dt.date(2013, 12, 23), dt.date(2022, 6, 9)),
        MembershipInterval("META", dt.date(2022, 6, 9), None),
    )
    history = UniverseAnswer("list:history.csv", intervals=known)
    import_universe(warehouse, history, FACEBOOK, on=dt.date(2024, 9, 2))
    for symbol, on in (("META", "02"), ("META", "03"), ("FB", "04"), ("META", "05")):
        bring_known(warehouse, symbol, f"2024-09-{on}")
        found = [name for name in names(warehouse) if name.split()[0] in ("FB", "META")]
        assert found == ["FB 2012-05-18 2022-06-09", "META 2022-06-09"], on


def test_a_company_that_was_looked_up_goes_back_to_its_ticker(warehouse: Warehouse) -> None:
    for symbol, on in (("META", "02"), ("METX", "03"), ("METX", "04"), ("META", "05")):
        bring_known(warehouse, symbol, f"2024-09-{on}")
    found = [name for name in names(warehouse) if name.startswith("MET")]
    assert found == [
        *("META 2022-06-09 2024-09-03", "META 2024-09-05"),
        "METX 2024-09-03 2024-09-05",
    ]


def test_a_ticker_that_was_given_up_stays_so_when_a_history_comes(warehouse: Warehouse) -> None:
    for symbol, on in (("META", "02"), ("METX", "03"), ("METX", "04")):
        bring_known(warehouse, symbol, f"2024-09-{on}")
    stay = MembershipInterval("META", dt.date(2022, 6, 9), None)
    history = UniverseAnswer("list:history.csv", intervals=(stay,))
    import_universe(warehouse, history, FACEBOOK, on=dt.date(2024, 9, 4))
    found = [name for name in names(warehouse) if name.startswith("MET")]
    assert found == ["META 2022-06-09 2024-09-03", "METX 2024-09-03"]


def test_a_list_that_renamed_a_looked_up_company_is_taken_back(warehouse: Warehouse) -> None:
    bring_known(warehouse, "META", "2024-09-02")
    bring_known(warehouse, "METX", "2024-09-03", accept=True)
    take_back(warehouse, "sp500", dt.date(2024, 9, 3), FACEBOOK)
    found = [name for name in names(warehouse) if name.startswith("MET")]
    assert found == ["META 2022-06-09"]


@pytest.mark.parametrize("cell", ["JNJ†", "JNJ*", "J NJ", "", "MSFT"])
def test_a_row_without_a_symbol_of_its_own_is_no_absence(warehouse: Warehouse, cell: str) -> None:
    bring(warehouse, page(changes=()), "2024-09-02")
    for on in ("2024-09-03", "2024-09-04"):
        report = bring(warehouse, page(with_cell(MEMBERS, 1, 0, cell), ()), on)
    assert (report.members, report.waiting, report.renamed) == (8, (), ())
    assert stays(warehouse, "JNJ") == ["JNJ 1973-06-30"]


def test_two_rows_of_one_ticker_are_told_apart_by_name_and_number(warehouse: Warehouse) -> None:
    bring(warehouse, page(changes=()), "2024-09-02")
    rows = with_cell(MEMBERS, 0, 0, "APP")  # above AppLovin's own row
    for on in ("2024-09-03", "2024-09-04"):
        report = bring(warehouse, page(rows, ()), on)
    assert (report.members, report.waiting, report.renamed) == (8, (), ())
    with warehouse.reading() as con:
        found = con.execute(
            "select h.symbol, s.name from securities s join symbol_history h using (security_id)"
            " where h.symbol in ('MSFT', 'APP') order by 1"
        ).fetchall()
    assert found == [("APP", "AppLovin"), ("MSFT", "Microsoft")]


def test_a_false_row_of_changes_waits_for_a_second_page(warehouse: Warehouse) -> None:
    false = ("September 3, 2024", "", "", "MSFT", "Microsoft", "Nonsense.")
    bring(warehouse, page(), "2024-09-02")
    report = bring(warehouse, page(changes=(false, *CHANGES)), "2024-09-03")
    assert report.removed == ()
    assert stays(warehouse, "MSFT") == ["MSFT 1994-06-01"]
    assert ("MSFT", "has a row of its changes that lets it leave, on one page so far") in causes(
        warehouse
    )
    bring(warehouse, page(), "2024-09-04")
    assert "MSFT" not in dict(causes(warehouse))
    for on in ("2024-09-05", "2024-09-06"):
        bring(warehouse, page(changes=(("September 5, 2024", *false[1:]), *CHANGES)), on)
    assert stays(warehouse, "MSFT") == ["MSFT 1994-06-01 2024-09-05"]


def test_going_back_to_the_list_before_is_no_upheaval(warehouse: Warehouse) -> None:
    invented = tuple((f"Z{row[0]}", f"Z {row[1]}", *row[2:5], f"9{row[5]}") for row in MANY[:9])
    bring(warehouse, page(MANY, ()), "2024-09-02")
    bring(warehouse, page((*MANY, *invented), ()), "2024-09-03")
    report = bring(warehouse, page(MANY[2:], ()), "2024-09-05")
    assert report.members == 30
    assert sorted(report.waiting) == ["QAA", "QAB"]


OTHERS: Cells = tuple((f"Z{row[0]}", f"Z {row[1]}", *row[2:5], f"9{row[5]}") for row in MANY)


def test_the_first_list_of_a_source_is_judged_by_the_members_known(warehouse: Warehouse) -> None:
    known = tuple(MembershipInterval(row[0], dt.date(2005, 1, 3), None) for row in MANY)
    history = UniverseAnswer("list:history.csv", intervals=known)
    import_universe(warehouse, history, (), on=dt.date(2024, 9, 2))
    with pytest.raises(TooManyChangesError, match=r"brings 30 new members .* and lacks 30 "):
        bring(warehouse, page(OTHERS, ()), "2005-02-03", sizes=range(30, 40))
    assert bring(warehouse, page(MANY, ()), "2005-02-03", sizes=range(30, 40)).members == 30


def test_a_list_after_one_of_an_impossible_size_is_no_upheaval(warehouse: Warehouse) -> None:
    bring(warehouse, page(OTHERS[:20], ()), "2024-09-02", sizes=range(30, 40))
    for day in ("2024-09-03", "2024-09-04"):
        report = bring(warehouse, page(MANY, ()), day, sizes=range(30, 40))
    assert (report.members, len(report.removed)) == (30, 20)


def test_announced_changes_count_among_the_changes(warehouse: Warehouse) -> None:
    bring(warehouse, page(MANY, CHANGES), "2024-09-02")
    rows = tuple(("September 9, 2024", "", "", row[0], row[1], "Nonsense.") for row in MANY[:11])
    with pytest.raises(TooManyChangesError, match=r"brings 1 new members .* and lacks 11 \(QAA"):
        bring(warehouse, page(MANY, (*rows, *CHANGES)), "2024-09-03")
    assert bring(warehouse, page(MANY, (*rows[:4], *CHANGES)), "2024-09-03").members == 31


@pytest.mark.parametrize(("listed", "gone"), [("08-25", "08-31"), ("09-02", "08-30")])
def test_a_leaver_goes_when_its_successor_comes(
    warehouse: Warehouse, listed: str, gone: str
) -> None:
    walgreens = ("WBA", "Walgreens", "", "", "1979-12-31", "0001618921")
    day = dt.date(2024, 8, 22)
    while day <= dt.date(2024, 9, 5):
        on = f"{day:%m-%d}"
        rows = (*MEMBERS[:-1], *MEMBERS[-1:] * (on >= listed), *((walgreens,) * (on < gone)))
        bring(warehouse, page(rows, ()), str(day))
        day += dt.timedelta(days=1)
    assert stays(warehouse, "IBKR") == ["IBKR 2024-08-28"]
    assert stays(warehouse, "WBA") == ["WBA 1979-12-31 2024-08-28"]


def test_a_successor_without_a_date_leaves_no_day_between(warehouse: Warehouse) -> None:
    new = ("PSKY", "Paramount Skydance", "", "", "1994-09-30", "2041610")
    old = ("PARA", "Paramount Global", "", "", "1994-09-30", "813828")
    for on, rows in (
        ("2024-08-08", (*MEMBERS, old)),
        ("2024-08-10", MEMBERS),
        ("2024-08-12", (*MEMBERS, new)),
        ("2024-08-13", (*MEMBERS, new)),
    ):
        bring(warehouse, page(rows, ()), on)
    assert stays(warehouse, "P%") == ["PARA 1994-09-30 2024-08-12", "PSKY 2024-08-12"]


def test_wrong_dates_on_one_page_date_nothing_anew(warehouse: Warehouse) -> None:
    wrong = tuple((*row[:4], "2024-08-20", row[5]) for row in MEMBERS)
    for on, rows in (("08-26", MEMBERS), ("08-27", MEMBERS), ("08-28", wrong), ("08-29", MEMBERS)):
        bring(warehouse, page(rows, ()), f"2024-{on}")
        found = [*stays(warehouse, "MSFT"), *stays(warehouse, "NEWS")]
        assert found == ["MSFT 1994-06-01", "NEWS 2024-08-26"], on


def test_a_cell_of_two_tickers_keeps_both(warehouse: Warehouse) -> None:
    bring(warehouse, page(changes=()), "2024-09-02")
    rows = (*MEMBERS[:4], ("DISCA/DISCK", *MEMBERS[4][1:]), *MEMBERS[6:])
    change = ("April 8, 2016", "UA/UAA", "Under Armour", "OLD", "Old", "Second class.")
    answer = page(rows, (change,))
    assert [(c.added, c.removed) for c in answer.changes] == [("UA", "OLD"), ("UAA", None)]
    report = bring(warehouse, answer, "2024-09-03")
    assert (report.members, report.waiting) == (8, ())


def listed(*rows: tuple[str, str]) -> UniverseAnswer:
    members, unread, notices = read_members(
        [{"symbol": symbol, "date added": added} for symbol, added in rows], "a list", "list"
    )
    return UniverseAnswer(
        "list:now.csv", constituents=members, unread=unread, notices=tuple(notices)
    )


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (("3/4/1957", "11/30/1983", "6/28/1999"), dt.date(1957, 3, 4)),
        (("4/3/1957", "30/11/1983", "28/6/1999"), dt.date(1957, 3, 4)),
        (("04.03.1957", "30.11.1983", "28.06.1999"), dt.date(1957, 3, 4)),
        (("3/4/57", "11/30/83", "6/28/99"), dt.date(1957, 3, 4)),
        (("4-Mar-1957", "30-Nov-1983", "28-Jun-1999"), dt.date(1957, 3, 4)),
        (("1957/03/04", "1983/11/30", "1999/06/28"), dt.date(1957, 3, 4)),
        # One cell does not tell which of two numbers is the day.
        (("3/4/1957", "11/30/1983", "6/7/1999"), None),
    ],
)
def test_dates_of_a_spreadsheet_are_read_or_noticed(
    cells: tuple[str, ...], expected: dt.date | None
) -> None:
    answer = listed(*zip("ABC", cells, strict=True))
    assert answer.constituents[0].added_on == expected
    unread = f"a list: 3 rows whose date added can't be read, such as {cells[0]!r}."
    assert answer.notices == (() if expected else (unread,))


def test_who_left_a_file_too_early_leaves_when_its_successors_join(warehouse: Warehouse) -> None:
    early, late = dt.date(2023, 10, 18), dt.date(2023, 12, 18)
    stated = [MembershipInterval(new, early, None) for new in ("NEWA", "NEWB")]
    stated += [MembershipInterval(old, dt.date(2016, 5, 13), early) for old in ("OLDA", "OLDB")]
    stated.append(MembershipInterval("LAST", dt.date(1996, 1, 2), dt.date(2024, 1, 5)))
    now = [Constituent(new, added_on=late) for new in ("NEWA", "NEWB")]
    answer = UniverseAnswer("list:both", constituents=tuple(now), intervals=tuple(stated))
    import_universe(warehouse, answer, (), on=dt.date(2024, 6, 3))
    assert stays(warehouse) == [
        "LAST 1996-01-02 2024-01-05",
        *("NEWA 2023-12-18", "NEWB 2023-12-18"),
        *("OLDA 2016-05-13 2023-12-18", "OLDB 2016-05-13 2023-12-18"),
    ]
    assert {symbol for symbol, _ in causes(warehouse)} == {"NEWA", "NEWB", "OLDA", "OLDB"}


def test_a_list_of_a_day_to_come_is_refused_also_where_it_is_accepted(warehouse: Warehouse) -> None:
    answer = replace(page(changes=()), listed_on=dt.date(2062, 11, 27))
    for accept in (False, True):
        with pytest.raises(FutureListError, match="is of 2062-11-27, and today is 2024-09-02"):
            import_universe(warehouse, answer, (), on=dt.date(2024, 9, 2), accept=accept)


def test_one_accepted_list_is_taken_back(warehouse: Warehouse) -> None:
    bring(warehouse, page(MANY, ()), "2024-09-02")
    expected = stays(warehouse), names(warehouse)
    wrong = (("ZZZ", "Other", *MANY[0][2:5], "1"), *MANY[1:])
    import_universe(
        warehouse, page(wrong, ()), (), on=dt.date(2062, 11, 27), sizes=range(1, 40), accept=True
    )
    assert "ZZZ" in {name.split()[0] for name in names(warehouse)}
    report = take_back(warehouse, "sp500", dt.date(2062, 11, 27), ())
    assert (stays(warehouse), names(warehouse)) == expected
    assert (report.removed, report.members) == (("ZZZ",), 30)
    with pytest.raises(NoSuchListError, match="No list of sp500 of 2062-11-27 was accepted"):
        take_back(warehouse, "sp500", dt.date(2062, 11, 27), ())
    later = bring(warehouse, page((*MANY, wrong[0]), ()), "2024-09-03")
    assert later.added == ("ZZZ",)


def test_a_history_is_taken_back(warehouse: Warehouse) -> None:
    bring(warehouse, page(MANY, ()), "2024-09-02")
    rows = [MembershipInterval("QAA", dt.date(1998, 1, 2), dt.date(2000, 1, 3))]
    expected = stays(warehouse)
    for source in ("list:good.csv", "list:bad.csv"):
        history = UniverseAnswer(source, intervals=tuple(rows))
        import_universe(warehouse, history, (), on=dt.date(2024, 9, 3))
        rows += [MembershipInterval("ZZZ", dt.date(1999, 1, 4), None)]
    with pytest.raises(NoSuchListError, match=r"Several lists .*--source.* list:bad.csv of 2024-"):
        take_back(warehouse, "sp500", dt.date(2024, 9, 3), ())
    take_back(warehouse, "sp500", dt.date(2024, 9, 3), (), "list:bad.csv")
    assert [row for row in stays(warehouse) if row not in expected] == ["QAA 1998-01-02 2000-01-03"]
    take_back(warehouse, "sp500", dt.date(2024, 9, 3), ())
    assert stays(warehouse) == expected


def test_rows_that_the_next_page_has_too_outlast_the_first_page(warehouse: Warehouse) -> None:
    for on in ("2024-09-02", "2024-09-03", "2024-09-04"):
        bring(warehouse, page(), on)
    with warehouse.reading() as con:
        stated = "select security_id, kind, from_on from membership_evidence where kind = 'added'"
        before = con.execute(f"{stated} order by all").fetchall()
    take_back(warehouse, "sp500", dt.date(2024, 9, 2), ())
    with warehouse.reading() as con:
        assert con.execute(f"{stated} order by all").fetchall() == before
