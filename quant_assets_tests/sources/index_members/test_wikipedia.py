"""Wikipedia's page: every oddity it has shown, and everything that is no page of members."""

from __future__ import annotations

import csv
import datetime as dt
import gzip
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.parquet
import pytest

from quant_assets.contracts.membership import Constituent, MembershipChange, UniverseAnswer
from quant_assets.contracts.source import BadAnswer, RateLimited, SourceError, SourceUnavailable
from quant_assets.fetching.http import Refused, judge
from quant_assets.fetching.pacer import Pacer
from quant_assets.sources.index_members.html import WHAT_TO_DO, edited_on, read_page
from quant_assets.sources.index_members.wikipedia import PACE, WikipediaSource, user_agent
from quant_assets_tests.conftest import NOW
from quant_assets_tests.standins.wikipedia_standin import (
    PORTAL,
    Change,
    Member,
    Membership,
    Misbehaviour,
    WikipediaStandIn,
    cut_short,
    half_a_page,
    invented,
    leads_to,
    page,
    says,
    slow,
    status,
    without,
)

DAY = dt.date(2024, 6, 3)
MEMBERS = (
    "<table><tr><th>Symbol</th><th>Security</th><th>GICS Sector</th></tr>"
    "<tr><td>MMM</td><td>3M</td><td>Industrials</td></tr></table>"
)
ROW = "<tr><td>AOS</td><td>A. O. Smith</td><td>Industrials</td></tr>"


def read(html: str) -> UniverseAnswer:
    return read_page(html.encode(), "the page", "wikipedia")


def members(*rows: str) -> UniverseAnswer:
    """What is read from a table with a row for each argument, cells divided by ``|``."""
    cells = ("".join(f"<td>{cell}</td>" for cell in row.split("|")) for row in rows)
    return read(
        MEMBERS.replace("</table>", "".join(f"<tr>{row}</tr>" for row in cells)) + "</table>"
    )


def changes(*rows: str, headers: str = "") -> UniverseAnswer:
    above = headers or (
        '<tr><th rowspan="2">Date</th><th colspan="2">Added</th><th colspan="2">Removed</th>'
        '<th rowspan="2">Reason</th></tr>'
        "<tr><th>Ticker</th><th>Security</th><th>Ticker</th><th>Security</th></tr>"
    )
    return read(f"{MEMBERS}<table>{above}{''.join(f'<tr>{row}</tr>' for row in rows)}</table>")


def test_a_page_of_2024_tells_every_column_of_a_member() -> None:
    html = page([Member("AOS", "A. O. Smith", cik="0000091142", added_on="2017-07-26")])
    assert read(html).constituents == (
        Constituent(
            symbol="AOS",
            name="A. O. Smith",
            sector="Industrials",
            industry="Building Products",
            cik="0000091142",
            added_on=dt.date(2017, 7, 26),
        ),
    )


def test_a_page_of_2018_has_other_headers_and_no_heading_cells_in_its_changes() -> None:
    answer = read(
        "<table><tr><th>Ticker symbol</th><th>Security</th><th>SEC filings</th><th>GICS Sector</th>"
        "<th>GICS Sub Industry</th><th>Address of Headquarters</th>"
        '<th>Date first added<sup class="reference">[3][4]</sup></th><th>CIK</th></tr>'
        '<tr><td><a href="x">ABT</a></td><td>Abbott Laboratories</td><td>reports</td>'
        "<td>Health Care</td><td>Health Care Equipment</td><td>North Chicago</td>"
        "<td>1964-03-31</td><td>0000001800</td></tr></table>"
        '<table><tr><td></td><th colspan="2">Added</th><th colspan="2">Removed</th></tr>'
        "<tr><td>Date</td><td>Ticker</td><td>Security</td><td>Ticker</td><td>Security</td>"
        "<td>Reason</td></tr><tr><td>January 3, 2018</td><td>HII</td><td>Huntington Ingalls</td>"
        "<td>BCR</td><td>CR Bard</td><td>Becton Dickinson acquired BCR.[6]</td></tr></table>"
    )
    assert answer.constituents == (
        Constituent(
            "ABT",
            "Abbott Laboratories",
            "Health Care",
            "Health Care Equipment",
            "0000001800",
            dt.date(1964, 3, 31),
        ),
    )
    assert answer.changes == (
        MembershipChange(
            on=dt.date(2018, 1, 3),
            added="HII",
            removed="BCR",
            added_name="Huntington Ingalls",
            removed_name="CR Bard",
            reason="Becton Dickinson acquired BCR.",
        ),
    )
    assert answer.notices == ()


@pytest.mark.parametrize(
    ("cell", "symbol", "previous"),
    [
        ("BRK.B", "BRK.B", None),
        ("BRK-B\n", "BRK.B", None),
        ('<a href="x" rel="nofollow">AAPL</a>', "AAPL", None),
        ("\xa0AAPL&nbsp;", "AAPL", None),
        ('AAPL<sup class="reference" id="x"><a>[a]</a></sup>', "AAPL", None),
        ("AAPL[12]", "AAPL", None),
        ('<span style="display:none">AAPL1</span>AAPL', "AAPL", None),
        ('<span class="sortkey">zz</span>AAPL<!-- watch this --><style>.x{}</style>', "AAPL", None),
        ("NYSE: AAPL", "AAPL", None),
        ("RVTY (Previously PKI)", "RVTY", "PKI"),
        ("RVTY<br>(formerly PKI)[2]", "RVTY", "PKI"),
    ],
)
def test_a_symbol_is_found_in_its_cell(cell: str, symbol: str, previous: str | None) -> None:
    member = members(f"{cell}|Some Company|Industrials").constituents[1]
    assert (member.symbol, member.previous_symbol, member.name) == (
        symbol,
        previous,
        "Some Company",
    )


def test_a_row_without_a_symbol_is_no_member_and_is_told() -> None:
    answer = members("American Airlines Group|AAL|Industrials", "AAPL|Apple|Technology")
    assert [member.symbol for member in answer.constituents] == ["MMM", "AAPL"]
    assert answer.notices[0] == (
        "the page: 1 row left out, without a usable symbol, such as 'American Airlines Group'."
    )


def test_a_member_listed_twice_is_one_member() -> None:
    answer = members("AAPL|Apple|Technology", "AAPL|Apple|Technology")
    assert [member.symbol for member in answer.constituents] == ["MMM", "AAPL"]
    assert answer.notices[0] == "the page: 1 row left out, listed twice, such as AAPL."


@pytest.mark.parametrize(
    ("said", "day"),
    [
        ("2024-10-01", dt.date(2024, 10, 1)),
        ("July 21, 2021", dt.date(2021, 7, 21)),
        ("Sept. 5 2021[4]", dt.date(2021, 9, 5)),
        ("21 July 2021", dt.date(2021, 7, 21)),
        ("1983-11-30 (1957-03-04)", dt.date(1983, 11, 30)),
        ("", None),
        ("1957", None),
        ("2021-02-30", None),
        ("Smarch 3, 2021", None),
    ],
)
def test_a_date_is_read_in_every_form_it_is_written_in(said: str, day: dt.date | None) -> None:
    html = page([Member("MMM", added_on=said)])
    assert read(html).constituents[0].added_on == day


def test_cells_of_the_changes_that_span_rows_count_in_each() -> None:
    answer = changes(
        '<td rowspan="3">July 26, 2017</td><td>DRE</td><td>Duke</td><td>RIG</td><td>Transocean</td>'
        '<td rowspan="2">Market capitalization.</td>',
        "<td>AOS</td><td>A. O. Smith</td><td>BBBY</td><td>Bed Bath</td>",
        "<td>MGM</td><td>MGM Resorts</td><td>RAI</td><td>Reynolds</td><td>RAI was acquired.</td>",
        '<td>June 2, 2017</td><td></td><td></td><td>R</td><td>Ryder</td><td colspan="9">No</td>',
    )
    on, market = dt.date(2017, 7, 26), "Market capitalization."
    assert answer.changes == (
        MembershipChange(on, "DRE", "RIG", "Duke", "Transocean", market),
        MembershipChange(on, "AOS", "BBBY", "A. O. Smith", "Bed Bath", market),
        MembershipChange(on, "MGM", "RAI", "MGM Resorts", "Reynolds", "RAI was acquired."),
        MembershipChange(dt.date(2017, 6, 2), None, "R", None, "Ryder", "No"),
    )


def test_changes_that_cannot_be_read_are_told_and_cost_no_other() -> None:
    answer = changes(
        "<td>soon</td><td>DRE</td><td>Duke</td><td>RIG</td><td>Transocean</td><td></td>",
        "<td>May 1, 2017</td><td>—</td><td></td><td></td><td></td><td>Nothing</td>",
        "<td>May 2, 2017</td><td>The New One</td><td></td><td>RIG</td><td></td><td></td>",
    )
    assert answer.changes == (MembershipChange(dt.date(2017, 5, 2), removed="RIG"),)
    assert [notice.split(", such")[0] for notice in answer.notices] == [
        "the page: 1 row of the changes left out, without a date",
        "the page: 1 row of the changes left out, without a ticker",
        "the page: 1 row of the changes read without one of its tickers",
    ]


def test_a_page_without_the_table_of_changes_still_tells_its_members() -> None:
    answer = read(MEMBERS)
    assert [member.symbol for member in answer.constituents] == ["MMM"]
    assert answer.notices == (
        "the page has no table of changes, with columns Date, Added and Removed.",
    )


def test_tables_renamed_moved_and_split_are_read_as_before() -> None:
    change = Change(dt.date(2024, 3, 18), "SMCI", "WHR")
    held = [Member("MMM"), Member("AOS", cik="0000091142"), Member("ABT")]
    new = read(page(held, [change], redesigned=True))
    assert new.constituents == read(page(held, [change])).constituents
    assert new.changes == read(page(held, [change])).changes
    assert new.notices == ("the page: the members are in 2 tables, read as one.",)


def test_another_table_of_securities_adds_no_members() -> None:
    other = "<table><tr><th>Ticker</th><th>Company</th></tr><tr><td>NEW</td><td>N</td></tr></table>"
    answer = read(other + MEMBERS.replace("</table>", "<tr><td>A</td><td>B</td></tr></table>"))
    assert [member.symbol for member in answer.constituents] == ["MMM", "A"]
    assert "the page: 1 more table" in answer.notices[0]


@pytest.mark.parametrize(
    ("html", "complaint"),
    [
        ("", "the page is empty"),
        (" \n", "the page is empty"),
        ("Service temporarily gone", "the page is no HTML"),
        ("<html><title>Sign in</title></html>", r"no table of members.*'Sign in'.*has no table\."),
        ("<html><body><table><tr><td>MMM</td></tr></body></html>", "is cut off before its end"),
        (f"<html><body>{MEMBERS}", "is cut off before its end"),
        (MEMBERS.replace("Symbol", "Emblem"), "headers of its tables are: Emblem, Security, GICS"),
        (MEMBERS.replace("<td>MMM", "<td>Three M Company"), "Most rows hold no symbol.*Three M"),
        (
            MEMBERS.replace("</tr><tr>", "", 1).replace("</table>", ROW + "</table>"),
            "a member among the headers of its members: symbol, security, gics sector, mmm, 3m",
        ),
        (MEMBERS.split("<tr><td>", maxsplit=1)[0] + "</table>", "a table of members without a row"),
    ],
)
def test_what_is_no_page_of_members_is_refused_in_a_sentence(html: str, complaint: str) -> None:
    with pytest.raises(BadAnswer, match=complaint):
        read(html)


def test_a_page_cut_anywhere_is_refused() -> None:
    body = page(invented(10).members).encode()
    for size in range(0, len(body) - len("</html>"), 40):
        with pytest.raises(BadAnswer):
            read_page(body[:size], "the page", "wikipedia")


def test_a_page_without_its_table_says_what_was_looked_for_and_what_to_do() -> None:
    with pytest.raises(BadAnswer) as refused:
        read(
            "<html><head><title>Index funds</title></head><table><tr><th>A</th></tr></table></html>"
        )
    assert str(refused.value) == (
        "the page has no table of members, which has a column Symbol (or Ticker) and a column "
        "Security or GICS Sector. Its title is 'Index funds'; the headers of its tables are: A. "
        f"{WHAT_TO_DO}"
    )


@pytest.mark.parametrize(
    "told",
    [
        b'<script>{"datePublished":"2004","dateModified":"2024-10-09T23:17:18Z"}</script>',
        b'<meta property="dc:modified" content="2024-10-09T13:46:05.000Z"/>',
        b"<li> This page was last edited on 9 October 2024, at 23:17<span></li>",
    ],
)
def test_the_day_of_a_saved_page_is_that_of_its_last_edit(told: bytes) -> None:
    assert edited_on(told) == dt.date(2024, 10, 9)
    assert edited_on(b"<html></html>") is None


@pytest.fixture
def standin() -> Iterator[WikipediaStandIn]:
    with WikipediaStandIn(invented(30), lambda: NOW) as serving:
        yield serving


Ask = Callable[..., UniverseAnswer]


@pytest.fixture
def ask(standin: WikipediaStandIn, tmp_path: Path) -> Ask:
    """Asks the stand-in through pacing whose waits take no time, and are kept in ``slept``."""
    now = [1_000_000.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    def asked(contact: str = "me@example.org", timeout_seconds: float = 5.0) -> UniverseAnswer:
        path = tmp_path / "pacing.sqlite"
        pacer = Pacer(path, "wikipedia", PACE, judge=judge, clock=lambda: now[0], sleep=sleep)
        clock = lambda: dt.datetime.fromtimestamp(now[0], dt.UTC)  # noqa: E731
        return WikipediaSource(
            standin.url, pacer.call, clock, contact, timeout_seconds=timeout_seconds
        ).fetch_universe()

    return asked


def test_the_page_is_asked_for_once_by_somebody_who_says_who(
    standin: WikipediaStandIn, ask: Ask
) -> None:
    answer = ask()
    assert (answer.source, len(answer.constituents), answer.listed_on) == ("wikipedia", 30, None)
    assert [asked.user_agent for asked in standin.requests] == [
        "quant_assets/0.1.0 (S&P 500 research database; me@example.org)"
    ]
    assert user_agent("").endswith("(S&P 500 research database; no contact given)")


def test_the_page_follows_the_membership_of_the_day(standin: WikipediaStandIn, ask: Ask) -> None:
    standin.membership = Membership(
        [Member("AAA"), Member("FB"), Member("OLD")],
        [
            Change(dt.date(2024, 6, 1), "META", "FB", renamed=True),
            Change(DAY, "NEW", "OLD"),
            Change(dt.date(2024, 6, 4), "LATER", "AAA"),
        ],
    )
    answer = ask()
    assert [member.symbol for member in answer.constituents] == ["AAA", "META", "NEW"]
    assert [(change.on, change.added, change.removed) for change in answer.changes] == [
        (DAY, "NEW", "OLD")
    ]


@pytest.mark.parametrize(
    ("misbehave", "expected", "requests"),
    [
        (status(403), (Refused, "403 Client Error"), 1),
        (status(404), (Refused, "404 Client Error"), 1),
        (status(500), (SourceUnavailable, "500 Server Error"), 2),
        (status(503), (SourceUnavailable, "503 Server Error"), 2),
        (status(429, "7200"), (RateLimited, "limits our requests; it says to wait 3600 s"), 1),
        (status(429), (RateLimited, "wikipedia limits our requests"), 2),
        (cut_short, (BadAnswer, "was cut off"), 2),
        (half_a_page, (BadAnswer, "is cut off before its end"), 1),
        (without(b"</html>"), (BadAnswer, "is cut off before its end"), 1),
        (without(b"<th>Symbol\n</th>"), (BadAnswer, "are: Security, GICS Sector"), 1),
        (says(b""), (BadAnswer, "is empty"), 1),
        (says(PORTAL), (BadAnswer, "'Sign in'; it has no table"), 1),
        (says(b"{}", "application/json"), (BadAnswer, "is application/json, not HTML"), 1),
    ],
)
def test_what_goes_wrong_is_an_error_of_its_kind_and_costs_few_requests(
    standin: WikipediaStandIn,
    ask: Ask,
    misbehave: Misbehaviour,
    expected: tuple[type[SourceError], str],
    requests: int,
) -> None:
    standin.order(misbehave, times=10)
    error, complaint = expected
    with pytest.raises(error, match=complaint):
        ask()
    assert len(standin.requests) == requests


def test_a_page_that_does_not_come_is_given_up(standin: WikipediaStandIn, ask: Ask) -> None:
    standin.order(slow(30), times=10)
    with pytest.raises(SourceUnavailable, match=r"can't be fetched: no answer within 0\.2 s\."):
        ask(timeout_seconds=0.2)
    assert len(standin.requests) == 2


def test_an_address_without_a_server_is_told_in_plain_words() -> None:
    nobody = WikipediaSource("http://127.0.0.1:9/wiki", lambda request: request(), lambda: NOW)
    with pytest.raises(SourceUnavailable) as refused:
        nobody.fetch_universe()
    assert str(refused.value) == "http://127.0.0.1:9/wiki can't be fetched: Connection refused."


def test_an_error_that_passes_is_not_noticed(standin: WikipediaStandIn, ask: Ask) -> None:
    standin.order(status(502))
    assert len(ask().constituents) == 30
    standin.order(status(429, "5"))
    assert len(ask().constituents) == 30
    assert [asked.status for asked in standin.requests] == [502, 200, 429, 200]


def test_a_page_from_another_host_is_not_believed(standin: WikipediaStandIn, ask: Ask) -> None:
    standin.order(leads_to(standin.url.replace("127.0.0.1", "localhost")))
    with pytest.raises(BadAnswer, match="led to another host, localhost"):
        ask()


def test_a_refusal_without_a_contact_says_what_to_set(standin: WikipediaStandIn, ask: Ask) -> None:
    standin.order(status(403))
    with pytest.raises(Refused, match=r"set universe\.contact"):
        ask(contact="")


def test_a_page_saved_in_a_file_is_read_as_of_its_last_edit(tmp_path: Path) -> None:
    path = tmp_path / "page.html.gz"
    html = f"<html><body>{MEMBERS}<p>last edited on 9 October 2024, at 23:17</p></body></html>"
    path.write_bytes(gzip.compress(html.encode()))
    answer = WikipediaSource(str(path), lambda request: request(), lambda: NOW).fetch_universe()
    assert [member.symbol for member in answer.constituents] == ["MMM"]
    assert answer.listed_on == dt.date(2024, 10, 9)


REAL_PAGES = [
    ("desktop_List_of_SP500_companies_20180119", 505, 180, dt.date(2018, 1, 19)),
    ("desktop_List_of_SP500_companies_20241009", 503, 353, dt.date(2024, 10, 9)),
    ("parsoid_2021-05-31_rev1025307873", 505, 271, dt.date(2021, 5, 26)),
    ("parsoid_2021-08-09_rev1037924912", 505, 274, dt.date(2021, 8, 9)),
    ("parsoid_2021-08-09_rev1037938452", 505, 274, dt.date(2021, 8, 9)),
    ("parsoid_2021-08-09_rev1037999425", 505, 274, dt.date(2021, 8, 9)),
]


@pytest.mark.parametrize(("name", "size", "told", "day"), REAL_PAGES)
def test_every_saved_page_is_read_without_a_complaint(
    real: Path, name: str, size: int, told: int, day: dt.date
) -> None:
    body = gzip.decompress((real / f"wikipedia_html/{name}.html.gz").read_bytes())
    answer = read_page(body, name, "wikipedia")
    assert (len(answer.constituents), len(answer.changes), answer.notices) == (size, told, ())
    assert edited_on(body) == day
    assert all(each.name and each.sector and each.industry for each in answer.constituents)
    assert all(each.cik and len(each.cik) == 10 for each in answer.constituents)
    assert {each.added_on is None for each in answer.constituents} <= {False, day.year < 2024}


def test_the_page_of_october_2024_says_what_another_reader_of_it_took_down(real: Path) -> None:
    path = real / "membership/wikipedia_sp500_daily_20221108_20250630.parquet"
    rows = pyarrow.parquet.read_table(path, filters=[("date", "=", "2024-10-09")]).to_pylist()
    body = (real / "wikipedia_html/desktop_List_of_SP500_companies_20241009.html.gz").read_bytes()
    answer = read_page(gzip.decompress(body), "page", "wikipedia")
    assert {
        (each.symbol, each.name, each.sector, each.industry, str(each.added_on), int(each.cik or 0))
        for each in answer.constituents
    } == {
        (
            row["Symbol"],
            row["Security"],
            row["GICS Sector"],
            row["GICS Sub-Industry"],
            row["Date added"],
            int(row["CIK"]),
        )
        for row in rows
    }


def test_the_pages_list_whom_the_recorded_intervals_have(real: Path) -> None:
    path = real / "membership/fja05680_sp500_ticker_start_end.csv"
    with path.open(encoding="utf-8") as file:
        stays = list(csv.DictReader(file))
    for name, _, _, day in REAL_PAGES[1:4]:
        body = gzip.decompress((real / f"wikipedia_html/{name}.html.gz").read_bytes())
        listed = {each.symbol for each in read_page(body, name, "wikipedia").constituents}
        assert listed == {
            stay["ticker"]
            for stay in stays
            if stay["start_date"] <= str(day) and not "" < stay["end_date"] <= str(day)
        }
