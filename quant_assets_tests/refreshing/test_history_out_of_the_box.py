"""The history of the installed library, taken with the first list of the index."""

from __future__ import annotations

import datetime as dt
import itertools
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from quant_assets import read
from quant_assets.contracts.membership import Constituent, MembershipInterval, UniverseAnswer
from quant_assets.contracts.source import BadAnswer
from quant_assets.membership.take_over import import_universe
from quant_assets.read.membership_frames import BeforeHistoryWarning
from quant_assets.reference.identity import known_identities
from quant_assets.reference.index_removals import LOOKED_UP
from quant_assets.refreshing.membership import refresh_membership
from quant_assets.settings.settings import load_settings
from quant_assets.sources.index_members.bundled_history import BundledHistory
from quant_assets.sources.index_members.lists import MembershipLists
from quant_assets.warehouse.warehouse import Warehouse
from quant_assets.wiring.platform import Platform

NOW = dt.datetime(2026, 8, 10, 12, tzinfo=dt.UTC)
FIRST = dt.date(2004, 12, 30)


@pytest.fixture(scope="module")
def offline(tmp_path_factory: pytest.TempPathFactory) -> Platform:
    """A data folder after its first import, with nothing but the library to be reached."""
    home = tmp_path_factory.mktemp("home")
    flags = {"home": home, "universe": {"sources": ["bundled"]}}
    platform = Platform(load_settings({}, flags=flags), lambda: NOW)
    refresh_membership(platform)
    return platform


def test_the_first_import_has_the_members_of_every_day_since_2005(offline: Platform) -> None:
    frame = read.universe(on="2020-01-02", settings=offline.settings)
    symbols = set(frame["symbol"])
    assert len(frame) == 505
    assert {"FB", "ABC", "TWTR", "AGN", "HCP"} - symbols == {"HCP"}
    assert not {"META", "COR", "TSLA"} & symbols
    assert frame.attrs["known_from"] == "2004-12-30"
    assert frame.attrs["tickers_unknown"] == []
    then = read.universe(on="2012-01-03", settings=offline.settings)
    assert {"ACE", "CB", "TYC", "JCI", "WPI", "AGN"} <= set(then["symbol"])
    assert set(then["source"][then["symbol"].isin(["ACE", "TYC", "WPI"])]) == {LOOKED_UP}


def test_a_folder_of_the_simulated_market_has_no_history_of_real_companies(tmp_path: Path) -> None:
    flags = {"home": tmp_path, "source": "simulated", "simulated": {"symbols": 560}}
    platform = Platform(load_settings({}, flags=flags, working_directory=tmp_path), lambda: NOW)
    report = refresh_membership(platform)
    assert report.members in range(490, 516)
    with platform.warehouse.reading() as con:
        [(ever,)] = con.execute("select count(*) from securities").fetchall()
    assert ever <= 560


def test_before_the_history_begins_a_reader_is_warned(offline: Platform) -> None:
    with pytest.warns(BeforeHistoryWarning, match="known from 2004-12-30 on, not on 1999-01-04"):
        frame = read.universe(on="1999-01-04", settings=offline.settings)
    assert frame.empty


def test_importing_again_changes_nothing(offline: Platform) -> None:
    stored = "select count(*), max(detected_at) from universe_membership"
    with offline.warehouse.reading() as con:
        before = con.execute(stored).fetchall()
    report = refresh_membership(offline)
    assert (report.added, report.removed, report.renamed) == ((), (), ())
    with offline.warehouse.reading() as con:
        assert con.execute(stored).fetchall() == before


def test_a_list_of_another_size_is_no_list_of_the_index(tmp_path: Path) -> None:
    (tmp_path / "now.csv").write_text("Symbol\nAAPL\nMSFT\n", "utf-8")
    flags = {"home": tmp_path, "universe": {"constituents": str(tmp_path / "now.csv")}}
    report = refresh_membership(Platform(load_settings({}, flags=flags), lambda: NOW))
    assert len(report.intervals) == 2


def test_a_history_tells_nothing_of_days_to_come(tmp_path: Path) -> None:
    rows = "AAPL,1996-01-02,2030-01-02\nSOON,2026-08-20,\nZZZ,2030-01-02,\n"
    (tmp_path / "history.csv").write_text(f"ticker,start_date,end_date\n{rows}", "utf-8")
    platform = Platform(load_settings({}, flags={"home": tmp_path}), lambda: NOW)
    source = MembershipLists((str(tmp_path / "history.csv"),))
    report = refresh_membership(platform, source=source)
    found = [(row.symbol, row.removed_on) for row in report.intervals]
    assert sorted(found) == [("AAPL", None), ("SOON", None)]
    assert report.notices == (
        "list:history.csv: 2 rows with a day after 2026-09-19 that nobody can know yet, such as "
        "AAPL from 1996-01-02 to 2030-01-02; the day was left out.",
    )


def library(folder: Path, changes: str) -> BundledHistory:
    """A small library: three members on the first day, and ``changes``."""
    made = {"indices": {"sp500": {"end_date": "2026-07-13"}}}
    (folder / "build_metadata.json").write_text(json.dumps(made), "utf-8")
    (folder / "sp500_current.csv").write_text(
        "ticker,name,cik\nAAPL,Apple,0000320193\nSNDK,Sandisk,0002023554\n", "utf-8"
    )
    seed = "effective_date,ticker\n2004-12-30,AAPL\n2004-12-30,FB\n2004-12-30,SNDK\n"
    (folder / "sp500_seed.csv").write_text(seed, "utf-8")
    (folder / "sp500_changes.csv").write_text(f"date,action,ticker,name\n{changes}", "utf-8")
    return BundledHistory(lambda: folder)


def test_a_library_of_joinings_and_leavings_is_a_history_of_intervals(tmp_path: Path) -> None:
    changes = "2016-05-12,removed,SNDK,SanDisk Corp\n2025-11-28,added,SNDK,Sandisk\n"
    answer = library(tmp_path, changes).fetch_universe()
    found = {(i.symbol, i.effective_on, i.removed_on): i for i in answer.intervals if not i.source}
    old = found["SNDK", FIRST, dt.date(2016, 5, 12)]
    new = found["SNDK", dt.date(2025, 11, 28), None]
    assert old.company == Constituent("SNDK", "SanDisk Corp")
    assert new.company is not None
    assert (new.company.name, new.company.cik) == ("Sandisk", "0002023554")
    assert {key[0] for key in found} == {"AAPL", "FB", "SNDK"}


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ("2016-05-12,removed,IBM,\n", "IBM leaves and never joined"),
        ("soon,removed,SNDK,\n", "has no readable date"),
        ("2016-05-12,added,???,\n", "has no symbol"),
    ],
)
def test_a_history_that_contradicts_itself_is_refused(
    tmp_path: Path, changes: str, complaint: str
) -> None:
    with pytest.raises(BadAnswer, match=complaint):
        library(tmp_path, changes).fetch_universe()


def stay(symbol: str, start: str, end: str = "", cik: str | None = None) -> MembershipInterval:
    company = Constituent(symbol, cik=cik) if cik else None
    until = dt.date.fromisoformat(end) if end else None
    return MembershipInterval(symbol, dt.date.fromisoformat(start), until, company=company)


LIBRARY = UniverseAnswer(
    "bundled:pitindex",
    intervals=(
        stay("QAAA", "2004-12-30"),
        stay("QBBB", "2004-12-30", "2023-12-18"),
        stay("QCCC", "2023-12-18"),
        stay("QDDD", "2004-12-30", "2025-09-22"),
        stay("QEEE", "2025-09-22", cik="0000000005"),
        stay("QFFF", "2006-04-20", "2016-05-12"),
        stay("QFFF", "2025-11-28", cik="0000000006"),
    ),
)
FILE = UniverseAnswer(  # as real files do, it is two months early, and ends in 2025
    "list:then.csv",
    intervals=(
        stay("QAAA", "1996-01-02"),
        stay("QBBB", "1996-01-02", "2023-10-18"),
        stay("QCCC", "2023-10-18"),
        stay("QDDD", "1996-01-02"),
        stay("QFFF", "2006-04-20", "2016-05-12"),
        stay("QGGG", "2000-01-03", "2025-07-09"),
    ),
)
LIST = UniverseAnswer(
    "wikipedia",
    constituents=(
        Constituent("QAAA"),
        Constituent("QCCC"),
        Constituent("QEEE", cik="5"),
        Constituent("QFFF", cik="6", added_on=dt.date(2025, 11, 28)),
    ),
    listed_on=dt.date(2026, 8, 8),
)


@pytest.mark.parametrize("order", list(itertools.permutations((LIBRARY, FILE, LIST))))
def test_a_file_the_library_and_a_list_agree_in_any_order(
    warehouse: Warehouse, order: Sequence[UniverseAnswer]
) -> None:
    for answer in order:
        import_universe(warehouse, answer, known_identities(), universe="ours", on=NOW.date())
    with warehouse.reading() as con:
        found = con.execute(
            "select symbol, effective_on::varchar, removed_on::varchar from universe_membership"
            " order by symbol, effective_on"
        ).fetchall()
    assert found == [
        ("QAAA", "1996-01-02", None),
        ("QBBB", "1996-01-02", "2023-10-18"),
        ("QCCC", "2023-10-18", None),
        ("QDDD", "1996-01-02", "2025-09-22"),
        ("QEEE", "2025-09-22", None),
        ("QFFF", "2006-04-20", "2016-05-12"),
        ("QFFF", "2025-11-28", None),
        ("QGGG", "2000-01-03", "2025-07-09"),
    ]


def test_leavings_long_after_the_last_list_are_believed_as_joinings_are(
    warehouse: Warehouse,
) -> None:
    old = UniverseAnswer(
        "wikipedia",
        constituents=(Constituent("QAAA"), Constituent("QBBB"), Constituent("QDDD")),
        listed_on=dt.date(2021, 8, 9),
    )
    for answer in (old, LIBRARY):
        import_universe(warehouse, answer, known_identities(), universe="ours", on=NOW.date())
    frame = read.universe("ours", on="2026-08-08", home=warehouse.path.parent)
    assert list(frame["symbol"]) == ["QAAA", "QCCC", "QEEE", "QFFF"]
