"""Lists of members from files and addresses: any spelling of a header, no page taken for a list."""

from __future__ import annotations

import datetime as dt
import gzip
import json
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
import requests

from quant_assets.contracts.membership import (
    Constituent,
    MembershipChange,
    MembershipInterval,
    UniverseAnswer,
)
from quant_assets.contracts.source import BadAnswer, RateLimited, SourceUnavailable
from quant_assets.sources.index_members.lists import MembershipLists
from quant_assets.sources.index_members.rows import read_symbols
from quant_assets_tests.standins.wikipedia_standin import Change, Member, page

ADDRESS = "https://me:hush@example.org/lists/sp500.csv?token=hush"


@pytest.fixture
def read(tmp_path: Path):  # type: ignore[no-untyped-def]
    """A function that writes a list to a file and reads it."""

    def written(text: str | bytes) -> UniverseAnswer:
        path = tmp_path / "list.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return MembershipLists((str(path),)).fetch_universe()

    return written


@dataclass
class FakeSession(requests.Session):
    """A web that has one answer, or one error."""

    body: bytes = b""
    status: int = 200
    error: Exception | None = None
    headers_told: dict[str, str] = field(default_factory=dict)
    headers_sent: list[object] = field(default_factory=list)

    def get(self, url: str | bytes, **options: object) -> requests.Response:  # type: ignore[override]
        self.headers_sent.append(options["headers"])
        if self.error:
            raise self.error
        answer = requests.Response()
        answer.status_code, answer._content, answer.url = self.status, self.body, str(url)
        answer.headers.update({"Content-Type": "text/csv", **self.headers_told})
        return answer


APPLE = Constituent("AAPL", "Apple", "Technology")


@pytest.mark.parametrize(
    ("text", "member"),
    [
        (
            "Symbol,Security,GICS Sector,GICS Sub-Industry,Headquarters Location,Date added,CIK\n"
            'AAPL,Apple,Technology,Hardware,"Cupertino, CA",1982-11-30,320193\n',
            Constituent("AAPL", "Apple", "Technology", "Hardware", "320193", dt.date(1982, 11, 30)),
        ),
        ("Symbol,Name,Sector\nAAPL,Apple,Technology\n", APPLE),
        ("\ufeffSymbol,Name,Sector\r\nAAPL,Apple,Technology\r\n", APPLE),
        (" ticker , COMPANY,sector\n aapl , Apple ,Technology\n", APPLE),
        ("Sector,Company,Symbol,Weight\nTechnology,Apple,AAPL,0.07\n", APPLE),
        ("Symbol,Name,Sector\nAAPL,Apple,Technology,one,too many\n", APPLE),
        ("Symbol\nAAPL\n", Constituent("AAPL")),
        ("Symbol,Name,Sector\nAAPL\n", Constituent("AAPL")),
        ("Symbol,Name,Date added\nBRK-B,,(soon)\n", Constituent("BRK.B")),
        (
            "Symbol,Date first added\nAAPL,1982-11-30 (3)\n",
            Constituent("AAPL", added_on=dt.date(1982, 11, 30)),
        ),
    ],
)
def test_a_list_of_members_is_known_by_its_headers(read, text: str, member: Constituent) -> None:  # type: ignore[no-untyped-def]
    answer = read(text)
    assert answer == UniverseAnswer("list:list.csv", constituents=(member,))


@pytest.mark.parametrize(
    "header", ["ticker,start_date,end_date", "Symbol,effective_on,removed_on", "symbol,From,To"]
)
def test_a_list_of_stays_is_known_by_its_headers(read, header: str) -> None:  # type: ignore[no-untyped-def]
    answer = read(f"{header}\nAABA,1999-12-08,2017-06-19\nA,2000-06-05,\n")
    assert answer == UniverseAnswer(
        "list:list.csv",
        intervals=(
            MembershipInterval("AABA", dt.date(1999, 12, 8), dt.date(2017, 6, 19)),
            MembershipInterval("A", dt.date(2000, 6, 5), None),
        ),
    )


def test_bad_rows_of_members_are_noticed_and_cost_no_other(read) -> None:  # type: ignore[no-untyped-def]
    answer = read("Symbol,Name\nAAPL,Apple\n^GSPC,Index\n,Nobody\nMSFT,Microsoft\n")
    assert [c.symbol for c in answer.constituents] == ["AAPL", "MSFT"]
    assert [notice.split("/")[-1] for notice in answer.notices] == [
        "list.csv: 2 rows left out, without a usable symbol, such as '^GSPC'."
    ]


def test_days_added_that_can_not_be_read_are_noticed(read) -> None:  # type: ignore[no-untyped-def]
    days = ["3/4/1957", "13/12/1999", "2009", "", "1982-11-30"]
    rows = [f"{symbol},{day}" for symbol, day in zip("ABCDE", days, strict=True)]
    answer = read("\n".join(["Symbol,Date added", *rows]))
    assert [member.added_on for member in answer.constituents[3:]] == [None, dt.date(1982, 11, 30)]
    assert [notice.split("/", 1)[1].split("/")[-2:] for notice in answer.notices] == [
        ["4", "1957'."]
    ]
    assert "2 rows whose date added can't be read, such as" in answer.notices[0]


@pytest.mark.parametrize(
    "stay",
    [
        "1999-12-08,1999-12-08",
        "1999-12-08,1998-01-02",
        ",2017-06-19",
        "soon,",
        "2001-01-02,06/19/2017",
    ],
)
def test_a_stay_that_is_none_is_noticed_and_never_taken_for_a_lasting_one(read, stay: str) -> None:  # type: ignore[no-untyped-def]
    answer = read(f"ticker,start_date,end_date\nAABA,{stay}\nA,2000-06-05,\n")
    assert [i.symbol for i in answer.intervals] == ["A"]
    assert len(answer.notices) == 1
    assert "list.csv: 1 row left out, no interval, such as AABA from" in answer.notices[0]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("<!DOCTYPE html><html>Sign in</html>", "has no table of members"),
        ("\ufeff\n <html><p></html>", "has no table of members"),
        ("", "holds no rows"),
        ("Symbol,Name\n", "holds no rows"),
        ("Symbol\n" + "A\n" * 100_001, "has more than 100,000 rows, and was not read"),
        ("Name,Price\nApple,3\n", "has no column symbol or ticker; it has name, price"),
        ("ticker,start_date,end_date\nA,soon,\n", "holds no row that can be used.*A from soon"),
        ("Symbol,Name\nAAPL,Caf\u00e9\n".encode("latin-1"), "is not UTF-8"),
        (b'Symbol,Name\nAAPL,"' + b"x" * 200_000 + b'"\n', "is not CSV: field larger"),
    ],
)
def test_what_is_no_list_is_refused_in_a_sentence(read, text: str, complaint: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(BadAnswer, match=rf"list\.csv {complaint}"):
        read(text)


@pytest.mark.parametrize(
    "text",
    [
        "Symbol,Name\n^GSPC,Index\n",
        "Name,Symbol\nAAPL,Apple Inc.\nMSFT,Microsoft Corporation\nKO,KO\n",
        '[{"ticker": "Apple Inc."}, {"ticker": "Microsoft Corporation"}, {"ticker": "KO"}]',
    ],
)
def test_a_list_whose_symbols_are_mostly_none_is_no_list(read, text: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(BadAnswer, match=r"Most rows hold no symbol.*list\.csv"):
        read(text)


@pytest.mark.parametrize(
    ("text", "members"),
    [
        ('["aapl", "BRK-B"]', (Constituent("AAPL"), Constituent("BRK.B"))),
        (
            '\ufeff [{"Symbol": "AAPL", "Name": "Apple", "Sector": "Technology", "CIK": 320193},'
            ' {"Symbol": "KO", "Name": null}]',
            (Constituent("AAPL", "Apple", "Technology", cik="320193"), Constituent("KO")),
        ),
    ],
)
def test_a_list_may_be_json(read, text: str, members: tuple[Constituent, ...]) -> None:  # type: ignore[no-untyped-def]
    assert read(text) == UniverseAnswer("list:list.csv", constituents=members)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('["AAPL", "MSFT"', "is not JSON: "),
        ('{"symbols": ["AAPL"]}', "is JSON, but no array of symbols or of objects"),
        ('["AAPL", 7]', "is JSON, but no array of symbols or of objects"),
        ("[]", "holds no rows"),
        ('[{"name": "Apple"}]', "has no column symbol or ticker; it has name"),
        ("[null, true, NaN]", "is JSON, but no array of symbols or of objects"),
        ("[" * 300_000, "is not JSON: it is nested too deeply"),
        ("[" + "9" * 6_000 + "]", "is not JSON: Exceeds the limit"),
    ],
)
def test_json_that_is_no_list_is_refused_in_a_sentence(read, text: str, complaint: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(BadAnswer, match=rf"list\.csv {complaint}"):
        read(text)


def test_null_true_and_nan_are_no_tickers(read) -> None:  # type: ignore[no-untyped-def]
    members = [*({"ticker": "A" + "BCDEF"[n]} for n in range(5)), {"ticker": None}]
    text = json.dumps([*members, {"ticker": True}, {"ticker": float("nan")}])
    answer = read(text)
    assert [member.symbol for member in answer.constituents] == ["AB", "AC", "AD", "AE", "AF"]
    assert [notice.split("/")[-1] for notice in answer.notices] == [
        "list.csv: 3 rows left out, without a usable symbol, such as ''."
    ]
    found = read_symbols(b'["AAPL", null, true, NaN]', "x", "list")
    assert found == ("AAPL", "JSON null", "JSON true", "JSON NaN")


@pytest.mark.parametrize(
    "text",
    [
        r'[{"symbol": "AAPL", "name": "\ud800bad \u001b[31m' + "x" * 100_000 + '"}]',
        "Symbol,Security\nAAPL,bad \x1b[31m" + "x" * 100_000 + "\n",
        "<html><table><tr><th>Symbol<th>Security<tr><td>AAPL<td>bad \u202e[31m"
        + "x" * 100_000
        + "</table></html>",
    ],
    ids=["json", "csv", "html"],
)
def test_a_name_is_kept_without_what_can_not_be_stored(read, text: str) -> None:  # type: ignore[no-untyped-def]
    [member] = read(text).constituents
    assert member.symbol == "AAPL"
    assert member.name is not None
    assert (member.name.encode()[:7], len(member.name)) == (b"bad [31", 200)


def test_a_saved_page_is_a_list_of_the_day_of_its_last_edit(tmp_path: Path) -> None:
    path = tmp_path / "page.html.gz"
    said = "<p>last edited on 9 October 2024, at 23:17</p></html>"
    html = page([Member("AAPL")], [Change(dt.date(2024, 10, 1), "AMTM", "BBWI")])
    path.write_bytes(gzip.compress(html.replace("</html>", said).encode()))
    answer = MembershipLists((str(path),)).fetch_universe()
    assert (answer.source, answer.listed_on) == ("list:page.html.gz", dt.date(2024, 10, 9))
    assert [member.symbol for member in answer.constituents] == ["AAPL"]
    assert [change.removed for change in answer.changes] == ["BBWI"]
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(BadAnswer, match="can't be unpacked"):
        MembershipLists((str(path),)).fetch_universe()


def test_a_missing_file_could_not_be_read(tmp_path: Path) -> None:
    path = tmp_path / "missing.csv"
    with pytest.raises(SourceUnavailable) as refused:
        MembershipLists((str(path),)).fetch_universe()
    assert str(refused.value) == f"{path} can't be read: No such file or directory."


def test_several_lists_make_one_answer(tmp_path: Path) -> None:
    (tmp_path / "now.csv").write_text("Symbol,Name\nAAPL,Apple\n", "utf-8")
    (tmp_path / "then.csv").write_text("ticker,start_date,end_date\nA,2000-06-05,\n", "utf-8")
    lists = MembershipLists((str(tmp_path / "then.csv"), str(tmp_path / "now.csv")))
    answer = lists.fetch_universe()
    assert answer.source == "list:then.csv, now.csv"
    assert (len(answer.constituents), len(answer.intervals)) == (1, 1)


def test_a_list_that_a_spreadsheet_saved_in_utf_16_is_read(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_bytes("Symbol,Name\nAAPL,Caf\u00e9\n".encode("utf-16"))
    [member] = MembershipLists((str(path),)).fetch_universe().constituents
    assert (member.symbol, member.name) == ("AAPL", "Caf\u00e9")


def test_a_list_at_an_address_is_read_as_utf_8_whatever_the_server_says() -> None:
    web = FakeSession("\ufeffSymbol,Name\nEL,Est\u00e9e Lauder\n".encode())
    answer = MembershipLists((ADDRESS,), web).fetch_universe()
    assert answer == UniverseAnswer(
        "list:sp500.csv", constituents=(Constituent("EL", "Est\u00e9e Lauder"),)
    )
    assert "quant_assets" in str(web.headers_sent)


@pytest.mark.parametrize(
    "web",
    [
        FakeSession(status=404),
        FakeSession(status=503),
        FakeSession(error=requests.ConnectionError(f"no route to {ADDRESS}")),
        FakeSession(error=requests.Timeout("timed out")),
    ],
)
def test_an_address_out_of_reach_is_an_error_that_tells_no_secret(web: FakeSession) -> None:
    with pytest.raises(
        SourceUnavailable, match=r"example\.org/lists/sp500\.csv.* can't be f"
    ) as no:
        MembershipLists((ADDRESS,), web).fetch_universe()
    assert "hush" not in str(no.value)


def test_an_address_that_wants_fewer_requests_says_until_when() -> None:
    told = {"Retry-After": "Mon, 03 Jun 2024 12:01:30 GMT", "Date": "Mon, 03 Jun 2024 12:00:00 GMT"}
    with pytest.raises(RateLimited) as limited:
        MembershipLists((ADDRESS,), FakeSession(status=429, headers_told=told)).fetch_universe()
    assert limited.value.retry_after == 90.0


def test_a_page_at_an_address_is_no_list_and_its_error_tells_no_secret() -> None:
    with pytest.raises(BadAnswer, match="no table of members") as refused:
        MembershipLists((ADDRESS,), FakeSession(b"<html>Sign in</html>")).fetch_universe()
    assert "hush" not in str(refused.value)


def test_every_version_of_a_list_kept_for_fourteen_years_is_read(
    real: Path, tmp_path: Path
) -> None:
    packed = real / "constituents/sp500_constituents_190_versions_2012_2026.tar.zst"
    with pa.input_stream(packed, "zstd") as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
        tar.extractall(tmp_path, filter="data")
    paths = sorted(tmp_path.rglob("*.csv"))
    assert len(paths) == 190
    some = {*paths[::8], *tmp_path.rglob("2021-03-11T0137*"), *tmp_path.rglob("2023-12-31*")}
    answers = [MembershipLists((str(path),)).fetch_universe() for path in sorted(some)]
    assert {len(answer.constituents) for answer in answers} <= {*range(490, 516)}
    assert all(each.name for answer in answers for each in answer.constituents)
    told = [notice.rpartition("/")[-1] for answer in answers for notice in answer.notices]
    assert told == [
        "2021-03-11T0137_9217bee8.csv: 1 row left out, without a usable symbol, such as "
        "'American Airlines Group'."
    ]
    renamed = {
        (each.symbol, each.previous_symbol)
        for answer in answers
        for each in answer.constituents
        if each.previous_symbol
    }
    assert renamed == {("RVTY", "PKI")}


@pytest.mark.parametrize(
    ("day", "size"), [("2022-11-08", 503), ("2024-12-09", 503), ("2025-06-30", 503)]
)
def test_a_table_scraped_on_any_day_is_read(
    real: Path, tmp_path: Path, day: str, size: int
) -> None:
    path = tmp_path / "scraped.csv"
    scraped(real, day).to_csv(path, index=False)
    answer = MembershipLists((str(path),)).fetch_universe()
    assert len(answer.constituents) == size
    assert all(each.name and each.sector and each.industry for each in answer.constituents)


def test_a_table_scraped_without_its_headers_is_refused(real: Path, tmp_path: Path) -> None:
    path = tmp_path / "scraped.csv"
    scraped(real, "2024-02-05").to_csv(path, index=False)
    with pytest.raises(BadAnswer, match="has no column symbol or ticker; it has scrape date, date"):
        MembershipLists((str(path),)).fetch_universe()


def scraped(real: Path, day: str) -> pd.DataFrame:
    """Wikipedia's table of a day, with the columns it had that day."""
    path = real / "membership/wikipedia_sp500_daily_20221108_20250630.parquet"
    return pd.read_parquet(path, filters=[("date", "=", day)]).dropna(axis=1, how="all")


def test_a_list_of_changes_has_a_day_a_row(tmp_path: Path) -> None:
    told = tmp_path / "changes.csv"
    told.write_text(
        'date,add,remove\n2024-06-24,"GDDY,CRWD","ILMN"\n2024-10-01,"","BBWI"\nsoon,A,B\n'
    )
    answer = MembershipLists((str(told),)).fetch_universe()
    assert answer.changes == (
        MembershipChange(dt.date(2024, 6, 24), added="GDDY"),
        MembershipChange(dt.date(2024, 6, 24), added="CRWD"),
        MembershipChange(dt.date(2024, 6, 24), removed="ILMN"),
        MembershipChange(dt.date(2024, 10, 1), removed="BBWI"),
    )
    (notice,) = answer.notices
    assert "left out, without a date" in notice


# Lists of symbols for a universe of one's own


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Symbol,Name\nAAPL,Apple\n brk-b ,\n,nobody\n", ("AAPL", "brk-b")),
        ("\ufeffname,TICKER\nApple,AAPL\n", ("AAPL",)),
        ('["AAPL", "MSFT"]', ("AAPL", "MSFT")),
        ('[{"Symbol": "AAPL", "name": "Apple"}, {"name": "?"}]', ("AAPL", '{"name": "?"}')),
        ('{"symbols": ["AAPL", 7]}', ("AAPL", "7")),
        ("AAPL\nMSFT\n\n", ("AAPL", "MSFT")),
        ("AAPL, MSFT;NVDA", ("AAPL", "MSFT", "NVDA")),
    ],
)
def test_a_list_of_symbols_is_csv_json_or_just_symbols(text: str, found: tuple[str, ...]) -> None:
    assert read_symbols(text.encode(), "x", "list") == found


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "x holds no symbols"),
        ("symbol\n", "x holds no symbols"),
        ("name,sector\nApple,IT\n", "x has no column symbol or ticker"),
        ("[1, ", "x is not JSON"),
        ('{"a": 1}', "x holds no symbols"),
        ('{"symbols": 1}', "x holds no array"),
        ("<html><body>Sign in</body></html>", "x is HTML"),
    ],
)
def test_a_list_without_symbols_is_refused(text: str, why: str) -> None:
    with pytest.raises(BadAnswer, match=f"^{why}"):
        read_symbols(text.encode(), "x", "list")
