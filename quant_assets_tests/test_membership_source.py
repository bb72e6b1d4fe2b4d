"""Lists of members from files and addresses: any spelling of a header, no page taken for a list."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import requests

from quant_assets.sources.contract import (
    BadAnswer,
    Constituent,
    MembershipInterval,
    SourceUnavailable,
    UniverseAnswer,
)
from quant_assets.sources.membership import MembershipLists

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
    headers_sent: list[object] = field(default_factory=list)

    def get(self, url: str | bytes, **options: object) -> requests.Response:  # type: ignore[override]
        self.headers_sent.append(options["headers"])
        if self.error:
            raise self.error
        answer = requests.Response()
        answer.status_code, answer._content, answer.url = self.status, self.body, str(url)
        answer.headers["Content-Type"] = "text/csv"
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
    assert [n.split("list.csv: ")[1].split(" is")[0] for n in answer.notices] == ["'^GSPC'", "''"]


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
    assert "list.csv: AABA from" in answer.notices[0]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("<!DOCTYPE html><html>Sign in</html>", "is HTML, not CSV"),
        ("\ufeff\n <html></html>", "is HTML, not CSV"),
        ("", "holds no rows"),
        ("Symbol,Name\n", "holds no rows"),
        ("Name,Price\nApple,3\n", "has no column symbol or ticker; it has name, price"),
        ("Symbol,Name\n^GSPC,Index\n", "holds no row that can be used: .*GSPC"),
        ("Symbol,Name\nAAPL,Caf\u00e9\n".encode("latin-1"), "is not UTF-8"),
        (b'Symbol,Name\nAAPL,"' + b"x" * 200_000 + b'"\n', "is not CSV: field larger"),
    ],
)
def test_what_is_no_list_is_refused_in_a_sentence(read, text: str, complaint: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(BadAnswer, match=rf"list\.csv {complaint}"):
        read(text)


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


def test_a_page_at_an_address_is_no_list_and_its_error_tells_no_secret() -> None:
    with pytest.raises(BadAnswer, match="is HTML") as refused:
        MembershipLists((ADDRESS,), FakeSession(b"<html>Sign in</html>")).fetch_universe()
    assert "hush" not in str(refused.value)
