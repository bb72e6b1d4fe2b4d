"""Members of the index by day: lists imported in any order, and none that empties it."""

from __future__ import annotations

import csv
import datetime as dt
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from quant_assets import read
from quant_assets.contracts.membership import (
    Constituent,
    MembershipChange,
    MembershipInterval,
    UniverseAnswer,
)
from quant_assets.membership.refusals import ImplausibleUniverseError, TooManyChangesError
from quant_assets.membership.report import UniverseReport
from quant_assets.membership.take_over import import_universe
from quant_assets.read.membership_frames import BeforeHistoryWarning
from quant_assets.reference.identity import known_identities
from quant_assets.schema.prices import DAILY_PRICES
from quant_assets.sources.index_members.lists import MembershipLists
from quant_assets.warehouse.warehouse import Warehouse

ON = dt.date(2024, 5, 31)
LATER = dt.date(2024, 9, 23)
KNOWN = known_identities()


def day(text: str) -> dt.date | None:
    return dt.date.fromisoformat(text) if text else None


def members(*symbols: str, added_on: str = "") -> UniverseAnswer:
    """A list of today's members."""
    listed = tuple(Constituent(symbol, added_on=day(added_on)) for symbol in symbols)
    return UniverseAnswer("list:now.csv", constituents=listed)


def history(*stays: str) -> UniverseAnswer:
    """A list of stays, each written ``SYMBOL start end``."""
    intervals = []
    for stay in stays:
        symbol, start, end = f"{stay} ".split(" ")[:3]
        intervals.append(MembershipInterval(symbol, dt.date.fromisoformat(start), day(end)))
    return UniverseAnswer("list:then.csv", intervals=tuple(intervals))


def bring(
    warehouse: Warehouse, answer: UniverseAnswer, on: dt.date = ON, name: str = "ours"
) -> UniverseReport:
    return import_universe(warehouse, answer, KNOWN, universe=name, on=on)


def stays(warehouse: Warehouse, name: str = "%") -> list[str]:
    """Every stay with the ticker its source used, as ``SYMBOL start end``."""
    with warehouse.reading() as con:
        rows = con.execute(
            "select symbol, effective_on, removed_on from universe_membership "
            "where universe like ? order by all",
            [name],
        ).fetchall()
    return [f"{symbol} {start} {end or ''}".strip() for symbol, start, end in rows]


def symbols(warehouse: Warehouse, on: str, name: str = "ours") -> list[str]:
    return list(read.universe(name, on=on, home=warehouse.path.parent)["symbol"])


def everything(warehouse: Warehouse) -> dict[str, list[tuple[object, ...]]]:
    with warehouse.reading() as con:
        tables = con.execute("select table_name from duckdb_tables() order by 1").fetchall()
        return {
            name: sorted(con.execute(f"from {name}").fetchall(), key=repr) for (name,) in tables
        }


def test_the_first_list_makes_members_from_their_own_date_or_that_of_the_list(
    warehouse: Warehouse,
) -> None:
    answer = UniverseAnswer(
        "list:now.csv",
        constituents=(Constituent("A", added_on=day("2000-06-05")), Constituent("B")),
    )
    report = bring(warehouse, answer)
    assert (report.members, report.added, report.removed) == (2, ("A", "B"), ())
    assert stays(warehouse) == ["A 2000-06-05", "B 2024-05-31"]


@pytest.mark.parametrize(
    "answer",
    [
        members("AAPL", "CEG", "QQZ"),
        history("FB 2013-12-23", "CEG 1996-01-02 2012-03-13", "CEG 2022-02-02", "QQZ 2001-01-02"),
    ],
)
def test_importing_twice_changes_nothing(warehouse: Warehouse, answer: UniverseAnswer) -> None:
    bring(warehouse, answer)
    before = everything(warehouse)
    report = bring(warehouse, answer)
    assert (report.added, report.removed) == ((), ())
    assert everything(warehouse) == before


def test_one_leaves_and_one_joins(warehouse: Warehouse) -> None:
    bring(warehouse, members("A", "B", added_on="2000-06-05"))
    answer = UniverseAnswer(
        "list:now.csv",
        constituents=(Constituent("A"), Constituent("C", added_on=day("2024-09-20"))),
    )
    report = bring(warehouse, answer, LATER)
    assert (report.members, report.added, report.removed) == (2, ("C",), ("B",))
    assert stays(warehouse) == ["A 2000-06-05", "B 2000-06-05 2024-09-20", "C 2024-09-20"]
    assert report.tickers_since(dt.date(2024, 9, 19)) == ("A", "B", "C")
    assert report.tickers_since(LATER) == ("A", "C")


def test_a_row_about_a_former_member_is_understood_once_no_list_has_it(
    warehouse: Warehouse,
) -> None:
    row = MembershipChange(LATER, "C", "B", reason="Sold.")
    bring(warehouse, members("A", "B"), dt.date(2024, 9, 16))
    for days in (0, 20, 40):
        answer = replace(members("A", "C"), changes=(row,))
        bring(warehouse, answer, LATER + dt.timedelta(days=days))
    with warehouse.reading() as con:
        stated = con.execute(
            "select symbol, kind, from_on, reason from membership_evidence"
            " where kind <> 'listed' order by 1"
        ).fetchall()
    assert stated == [("B", "removed", LATER, "Sold."), ("C", "added", LATER, "Sold.")]


def test_a_table_of_changes_may_withdraw_all_its_statements_on_a_security(
    warehouse: Warehouse,
) -> None:
    bring(warehouse, members("A", "B"), dt.date(2024, 9, 16))
    row = MembershipChange(LATER, "C", "B")
    bring(warehouse, replace(members("A", "C"), changes=(row,)), LATER)
    other = MembershipChange(LATER, "C", None)
    for days in (1, 2):
        answer = replace(members("A", "C"), changes=(other,))
        bring(warehouse, answer, LATER + dt.timedelta(days=days))
    assert stays(warehouse) == ["A 2024-09-16", "B 2024-09-16 2024-09-23", "C 2024-09-23"]


def test_a_list_not_yet_edited_on_the_day_of_an_announced_change_takes_nothing_back(
    warehouse: Warehouse,
) -> None:
    row = MembershipChange(LATER, "C", "B")

    def reported(*symbols: str) -> UniverseAnswer:
        return replace(members(*symbols), changes=(row,))

    bring(warehouse, members("A", "B"), dt.date(2024, 9, 16))
    bring(warehouse, reported("A", "B"), dt.date(2024, 9, 19))
    announced = ["A 2024-09-16", "B 2024-09-16 2024-09-23", "C 2024-09-23"]
    assert stays(warehouse) == announced
    for days in (0, 3):  # edited days later
        report = bring(warehouse, reported("A", "B"), LATER + dt.timedelta(days=days))
        assert (report.added, report.removed) == ((), ())
        assert stays(warehouse) == announced
    bring(warehouse, reported("A", "C"), LATER + dt.timedelta(days=4))
    assert stays(warehouse) == announced
    with warehouse.reading() as con:
        events = con.execute("select kind, symbol from membership_changes order by change_id")
        assert events.fetchall() == [("removed", "B"), ("added", "C")]


def test_a_member_that_comes_back_has_two_memberships(warehouse: Warehouse) -> None:
    for on, answer in (
        ("2024-05-31", members("A", "B")),
        ("2024-06-03", members("A")),
        ("2024-06-05", members("A", "B")),
    ):
        bring(warehouse, answer, dt.date.fromisoformat(on))
    assert stays(warehouse) == ["A 2024-05-31", "B 2024-05-31 2024-06-03", "B 2024-06-05"]


def test_a_membership_includes_its_first_day_and_excludes_the_day_of_removal(
    warehouse: Warehouse,
) -> None:
    bring(warehouse, history("A 2000-06-05 2010-03-01", "MMM 1996-01-02"))
    expected = {
        "2000-06-04": ["MMM"],
        "2000-06-05": ["A", "MMM"],
        "2010-02-28": ["A", "MMM"],
        "2010-03-01": ["MMM"],
    }
    assert {on: symbols(warehouse, on) for on in expected} == expected
    with pytest.warns(BeforeHistoryWarning, match="from 1996-01-02 on, not on 1996-01-01"):
        assert symbols(warehouse, "1996-01-01") == []


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ("A 2000-06-05", "A 2000-06-05"),
        # The list of members has the later word on who belongs: it went on without a break.
        ("A 2000-06-05 2020-03-02", "A 2000-06-05"),
        ("A 2000-06-05 2015-03-02", "A 2000-06-05 2015-03-02|A 2018-06-05"),
        ("GONE 2000-06-05", "A 2018-06-05|GONE 2000-06-05 2024-05-31"),
        ("GONE 2000-06-05 2015-03-02", "A 2018-06-05|GONE 2000-06-05 2015-03-02"),
        # Of what came after the list, the history knows more.
        ("NEW 2024-06-24", "A 2018-06-05|NEW 2024-06-24"),
        ("A 2000-06-05 2024-06-24", "A 2000-06-05 2024-06-24"),
    ],
)
def test_history_before_or_after_the_members_gives_the_same(
    warehouse: Warehouse, stated: str, expected: str
) -> None:
    now, then = members("A", added_on="2018-06-05"), history(stated)
    for name, order in (("one", (then, now)), ("two", (now, then)), ("three", (then, now, then))):
        for answer in order:
            bring(warehouse, answer, name=name)
        assert "|".join(stays(warehouse, name)) == expected, name


def test_an_older_list_ends_no_membership_that_a_newer_list_has(warehouse: Warehouse) -> None:
    bring(warehouse, members("A", "NEW", added_on="2018-06-05"), LATER)
    report = bring(warehouse, members("A", "OLD", added_on="2001-01-02"), ON)
    assert (report.added, report.removed) == ((), ())
    assert stays(warehouse) == ["A 2018-06-05", "NEW 2024-09-23", "OLD 2001-01-02 2024-09-23"]


def test_a_renamed_company_has_one_membership(warehouse: Warehouse) -> None:
    report = bring(warehouse, history("FB 2013-12-23 2022-06-09", "META 2022-06-09"))
    assert (report.members, len(report.intervals)) == (1, 1)
    assert stays(warehouse) == ["META 2013-12-23"]
    assert symbols(warehouse, "2015-01-02") == ["FB"]
    assert symbols(warehouse, "2024-01-02") == ["META"]


def test_a_ticker_used_again_is_two_securities(warehouse: Warehouse) -> None:
    report = bring(warehouse, history("CEG 1996-01-02 2012-03-13", "CEG 2022-02-02"))
    assert len({interval.security_id for interval in report.intervals}) == 2
    bring(warehouse, members("CEG"))
    assert stays(warehouse) == ["CEG 1996-01-02 2012-03-13", "CEG 2022-02-02"]


def test_a_successor_dated_by_its_predecessor_s_joining_begins_with_itself(
    warehouse: Warehouse,
) -> None:
    # The S&P 500 list dates Paramount Skydance, a company of 2025, to 1994.
    bring(warehouse, members("PSKY", added_on="1994-09-30"), dt.date(2026, 8, 8))
    assert stays(warehouse) == ["PSKY 2025-08-07"]


def test_a_list_of_impossible_size_changes_nothing_unless_accepted(warehouse: Warehouse) -> None:
    many = [f"Q{chr(65 + n // 26)}{chr(65 + n % 26)}" for n in range(520)]
    first = import_universe(warehouse, members(*many), (), on=ON)
    assert first.members == 520  # the very first is believed
    before = everything(warehouse)
    for wrong in (2, 489, 516):
        with pytest.raises(ImplausibleUniverseError) as refused:
            import_universe(warehouse, members(*many[:wrong]), (), on=LATER)
        assert str(refused.value) == (
            f"The list has {wrong} members; sp500 has 490 to 515. The list of list:now.csv was "
            "refused and nothing of sp500 was changed. If it is right, say quant-assets universe "
            "import --accept."
        )
    # A line written twice makes no member.
    with pytest.raises(ImplausibleUniverseError, match="has 489 members"):
        import_universe(warehouse, members(*many[:489], many[0], many[1]), (), on=LATER)
    after = everything(warehouse)
    assert [row[3] for row in after.pop("membership_lists")] == [True, False]
    assert after == {name: rows for name, rows in before.items() if name in after}
    for right, on in ((515, LATER), (490, REAL_ON)):
        # Who is gone is so on the second list.
        for again in (0, 1):
            listed = members(*many[:right])
            import_universe(warehouse, listed, (), on=on + dt.timedelta(days=again))
        assert len(symbols(warehouse, str(on), "sp500")) == right
    accepted = import_universe(
        warehouse, members(*many[:2]), (), on=dt.date(2027, 1, 4), accept=True
    )
    assert accepted.members == 2
    assert bring(warehouse, members("A", "B"), name="mine").members == 2


def test_a_list_with_more_changes_than_the_time_explains_changes_nothing(
    warehouse: Warehouse,
) -> None:
    many = [f"Q{chr(65 + n // 26)}{chr(65 + n % 26)}" for n in range(540)]
    import_universe(warehouse, members(*many[:500]), (), on=ON)
    before = everything(warehouse)
    for days, shift in ((0, 11), (1, 11), (30, 17), (61, 23)):
        on = ON + dt.timedelta(days=days)
        with pytest.raises(TooManyChangesError) as refused:
            import_universe(warehouse, members(*many[shift : 500 + shift]), (), on=on)
    assert str(refused.value) == (
        "The list brings 23 new members (QTG, QTH, QTI, QTJ, QTK, … 18 more) and lacks 23 (QAA, "
        "QAB, QAC, QAD, QAE, … 18 more); the time since 2024-05-31 explains 22 at most. The list "
        "of list:now.csv was refused and nothing of sp500 was changed. If it is of another day, "
        "give that day with --on; if the list before it was wrong, undo that one with quant-assets "
        "universe take-back; if it is right, say quant-assets universe import --accept."
    )
    after = everything(warehouse)
    assert sorted(row[3] for row in after.pop("membership_lists")) == [False] * 4 + [True]
    assert after == {name: rows for name, rows in before.items() if name in after}
    report = import_universe(warehouse, members(*many[10:510]), (), on=ON + dt.timedelta(days=1))
    assert (len(report.added), report.waiting) == (10, tuple(many[:10]))
    assert report.members == 510


def described(name: str, sector: str | None) -> UniverseAnswer:
    return UniverseAnswer("list:now.csv", constituents=(Constituent("A", name, sector),))


def test_readers_see_the_latest_name_and_the_warehouse_keeps_them_all(tmp_path: Path) -> None:
    path = tmp_path / "warehouse.duckdb"
    for date, answer in (
        ("2024-05-31", described("Agilent", "Health Care")),
        ("2024-06-03", described("Agilent", "Health Care")),
        ("2024-06-04", described("Agilent Inc", None)),
    ):
        now = dt.datetime.fromisoformat(f"{date}T12:00:00+00:00")
        warehouse = Warehouse(path, clock=lambda now=now: now)  # type: ignore[misc]
        bring(warehouse, answer, now.date())
    frame = read.universe("ours", on="2024-06-01", home=tmp_path)
    assert frame[["symbol", "name", "sector"]].to_numpy().tolist() == [
        ["A", "Agilent Inc", "Health Care"]
    ]
    with warehouse.reading() as con:
        rows = con.execute(
            "select name, sector, valid_from, valid_to from security_profiles order by valid_from"
        ).fetchall()
    assert rows == [
        ("Agilent", "Health Care", dt.date(2024, 5, 31), dt.date(2024, 6, 4)),
        ("Agilent Inc", "Health Care", dt.date(2024, 6, 4), None),
    ]


def test_a_universe_says_how_many_of_its_members_have_prices(warehouse: Warehouse) -> None:
    bring(warehouse, history("A 2000-06-05", "B 2000-06-05"))
    session = dt.date(2024, 5, 31)
    price = {"symbol": "A", "session": session, "close": 10.0, "currency": "USD"}
    price |= {"open": 10.0, "high": 10.0, "low": 10.0, "volume": 5.0}
    with warehouse.writing("00000000-0000-0000-0000-000000000001") as writing:
        number = writing.con.execute(
            "select security_id from symbol_history where symbol = 'A'"
        ).fetchone()
        assert number
        row = {**price, "security_id": number[0], "source": "ours"}
        row |= {"basis_on": session, "provisional": False}
        fields = [f for f in DAILY_PRICES.arrow_schema if f.name in row]
        writing.upsert(DAILY_PRICES, pa.Table.from_pylist([row], schema=pa.schema(fields)))
    found = {
        on: read.universe("ours", on=on, home=warehouse.path.parent)
        for on in ("2024-05-30", "2024-05-31", "2024-06-01")
    }
    assert {on: frame.attrs["with_prices"] for on, frame in found.items()} == {
        "2024-05-30": 0,
        "2024-05-31": 1,
        "2024-06-01": 1,  # a Saturday
    }
    attrs = found["2024-05-31"].attrs
    assert (attrs["universe"], attrs["on"], attrs["members"]) == ("ours", "2024-05-31", 2)
    assert list(found["2024-05-31"]["has_prices"]) == [True, False]


def test_an_unknown_universe_is_named_with_the_ones_there_are(warehouse: Warehouse) -> None:
    bring(warehouse, members("A"))
    with pytest.raises(LookupError, match="There is no universe sp400; stored: ours"):
        read.universe("sp400", home=warehouse.path.parent)


REAL_ON = dt.date(2026, 8, 8)
HISTORY = "membership/fja05680_sp500_ticker_start_end.csv"
TODAY = "constituents/sp500_constituents_20260808.csv"


@pytest.fixture(scope="module")
def sp500(real: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Warehouse, UniverseReport]:
    warehouse = Warehouse(tmp_path_factory.mktemp("sp500") / "warehouse.duckdb")
    lists = MembershipLists((str(real / HISTORY), str(real / TODAY)))
    return warehouse, import_universe(warehouse, lists.fetch_universe(), KNOWN, on=REAL_ON)


def test_the_real_index_has_503_members(sp500: tuple[Warehouse, UniverseReport]) -> None:
    warehouse, report = sp500
    assert (report.members, report.notices) == (503, ())
    frame = read.universe(on=REAL_ON, home=warehouse.path.parent)
    assert len(frame) == frame.attrs["members"] == 503
    assert frame["name"].notna().all()
    assert frame["sector"].nunique() == 11


def test_on_any_day_the_real_index_has_the_members_the_history_tells(
    real: Path, sp500: tuple[Warehouse, UniverseReport]
) -> None:
    """Every day from 1996-01-02 to 2025-07-01, by the report; a sample by what readers get."""
    warehouse, report = sp500
    with (real / HISTORY).open() as lines:
        raw = [(row["start_date"], row["end_date"] or "9999") for row in csv.DictReader(lines)]
    ours = [(str(i.effective_on), str(i.removed_on or "9999")) for i in report.intervals]
    # Numbers change only where a stay begins or ends.
    days = sorted(d for d in {d for s in raw + ours for d in s} if FIRST <= d <= LAST)
    differences: list[tuple[str, int]] = [("", 0)]
    for on in days:
        missing = sum(a <= on < b for a, b in raw) - sum(a <= on < b for a, b in ours)
        if missing != differences[-1][1]:
            differences.append((on, missing))
    assert differences[1:] == EXPLAINED
    for on in [FIRST, *days[::15], LAST, "2016-04-08", "2018-09-18", "2018-09-19"]:
        frame = read.universe(on=on, home=warehouse.path.parent)
        assert len(frame) == sum(a <= on < b for a, b in ours), on
        assert frame["symbol"].is_unique, on


FIRST, LAST = "1996-01-02", "2025-07-01"
EXPLAINED = [
    # Where a list of members dates a joining otherwise, and no rounding explains it.
    ("1997-08-06", 1),  # HBAN
    ("1997-08-28", 0),
    ("2000-12-05", -1),  # INTU
    ("2000-12-11", 0),
    ("2003-03-25", -1),  # SYMC, now GEN
    ("2003-03-31", 0),
    ("2005-06-22", -1),  # DHI
    ("2005-07-05", 0),
    # Two are listed twice: Capri as KORS and CPRI, Coca-Cola Enterprises as CCE and CCEP.
    ("2016-01-04", 2),
    ("2016-05-31", 1),
    ("2018-09-19", 0),
    ("2020-03-02", -1),  # between its old ticker, IR, and TT the file leaves out a day
    ("2020-03-03", 0),
]
"""From which day on how many lines of the history are no member of their own, and why.

In 2023-12 and 2025-03 it has three and four changes on another day, joinings and leavings alike."""


def test_the_real_history_before_or_after_the_members_gives_the_same(
    real: Path, tmp_path: Path
) -> None:
    found = []
    for name, order in (("one", (HISTORY, TODAY)), ("two", (TODAY, HISTORY))):
        warehouse = Warehouse(tmp_path / name / "warehouse.duckdb")
        for path in order:
            answer = MembershipLists((str(real / path),)).fetch_universe()
            report = import_universe(warehouse, answer, KNOWN, on=REAL_ON)
        assert report.members == 503
        found.append(stays(warehouse))
    assert found[0] == found[1]
