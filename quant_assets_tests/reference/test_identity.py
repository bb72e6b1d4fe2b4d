"""Symbols, the dated names behind them, and the register that keeps one security per company."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from quant_assets.contracts.membership import MembershipInterval
from quant_assets.reference.identity import (
    AmbiguousSymbolError,
    InvalidSymbolError,
    KnownIdentity,
    Name,
    UnknownSymbolError,
    canonical_symbol,
    known_identities,
    resolve,
)
from quant_assets.securities.register import Register

ARCHIVE_BEGINS = dt.date(2013, 1, 2)
TODAY = dt.date(2024, 5, 31)

FB = Name("FB", dt.date(2012, 5, 18), dt.date(2022, 6, 9), 7, "Meta Platforms")
META = Name("META", dt.date(2022, 6, 9), None, 7, "Meta Platforms")
OLD_CEG = Name("CEG", dt.date(1996, 1, 2), dt.date(2012, 3, 13), 1, "Constellation Energy Group")
NEW_CEG = Name("CEG", dt.date(2022, 2, 2), None, 2, "Constellation Energy Corp")
NAMES = [FB, META, OLD_CEG, NEW_CEG]


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("AAPL", "AAPL"),
        (" aapl ", "AAPL"),
        ("BRK.B", "BRK.B"),
        ("BRK-B", "BRK.B"),
        ("BRK/B", "BRK.B"),
        ("brk.b", "BRK.B"),
        ("btc-usd", "BTC-USD"),
        ("C3AI", "C3AI"),
        ("RDS-A", "RDS.A"),
        ("BAC-PL", "BAC.PRL"),
        ("BAC-PL.US", "BAC.PRL"),
        ("BRK-B.US", "BRK.B"),
        ("HWM-PR", "HWM.PR"),
    ],
)
def test_vendor_spellings_of_a_symbol_become_one(written: str, canonical: str) -> None:
    assert canonical_symbol(written) == canonical


@pytest.mark.parametrize(
    "text", ["", " ", "1A", "^GSPC", "BRK B", "BRK.B.C", "A.BCD", "ABCDEFGHIJK", ".A", None]
)
def test_a_text_that_is_no_symbol_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(InvalidSymbolError) as refused:
        canonical_symbol(text)
    assert str(refused.value) == (
        f"{text!r} is not a symbol. A symbol is a letter and up to nine letters or digits, "
        "with a share class after a dot (AAPL, BRK.B), or a pair such as BTC-USD."
    )
    assert refused.value.text == text


def accepted(text: str) -> str | None:
    try:
        return canonical_symbol(text)
    except InvalidSymbolError:
        return None


ROOTS = st.from_regex(r"[A-Z][A-Z0-9]{0,9}", fullmatch=True)
CLASSES = st.from_regex(r"[A-Z]{1,2}", fullmatch=True).filter(
    # P and a letter is preferred stock, US the country.
    lambda letters: len(letters) == 1 or (letters[0] != "P" and letters != "US")
)


@st.composite
def spelt(draw: st.DrawFn) -> tuple[str, str]:
    """A symbol, and one of the ways in which a vendor may write it."""
    root, kind = draw(ROOTS), draw(st.sampled_from(["stock", "class", "preferred", "pair"]))
    if kind == "stock":
        symbol = written = root
    elif kind == "class":
        letters = draw(CLASSES)
        symbol, written = f"{root}.{letters}", f"{root}{draw(st.sampled_from('.-/'))}{letters}"
    elif kind == "preferred":
        series = draw(st.sampled_from("ABCDL"))
        mark = draw(st.sampled_from([".PR", "-PR", "/PR", "-P", "^", "$"]))
        symbol, written = f"{root}.PR{series}", f"{root}{mark}{series}"
    else:
        currency = draw(st.sampled_from(["USD", "EUR", "BTC"]))
        symbol, written = f"{root}-{currency}", f"{root}{draw(st.sampled_from('-/'))}{currency}"
    if kind != "pair":
        written = draw(st.sampled_from(["{}", "{}.US", "NYSE:{}", "{} US", "{} UN Equity"])).format(
            written
        )
    written = draw(st.sampled_from([str, str.lower, str.upper]))(written)
    return symbol, draw(st.sampled_from(["{}", " {}", "{}\n"])).format(written)


@given(spelt())
def test_every_spelling_of_a_symbol_is_accepted_as_that_symbol(case: tuple[str, str]) -> None:
    """Property 1: symbol validation is consistent. Caught: every symbol refused; a share class
    after a dash refused.
    """
    symbol, written = case
    assert canonical_symbol(written) == symbol
    assert canonical_symbol(symbol) == symbol


@given(
    spelt(),
    st.integers(0, 20),
    st.sampled_from(["*", ";", "!", "?", "\0", "é", "ß", "ﬁ", "日", "'", '"']),
)
def test_a_symbol_with_a_character_that_none_has_is_refused(
    case: tuple[str, str], place: int, character: str
) -> None:
    """Property 1. Caught: every text accepted; letters of other alphabets turned into ours."""
    written = case[1].strip()
    assert accepted(written[:place] + character + written[place:]) is None


@given(st.text(alphabet="ABUSDPRabusd19.-/ ^ß", max_size=12))
@example("BTC-USD")
@example("a-usd")
def test_what_is_accepted_stays_accepted_and_what_is_refused_stays_refused(text: str) -> None:
    """Property 1, however often it is asked. Caught: an accepted symbol refused in lower case."""
    symbol = accepted(text)
    if symbol is None:
        assert accepted(f" {text} ") is None
    else:
        assert canonical_symbol(symbol) == symbol
        assert canonical_symbol(symbol.lower()) == symbol
        assert canonical_symbol(f" {symbol}\n") == symbol


@pytest.mark.parametrize(
    "text", ["ß", "\N{LATIN SMALL LIGATURE FI}", "\N{LATIN SMALL LETTER LONG S}"]
)
def test_a_text_outside_ascii_is_never_taken_for_a_ticker(text: str) -> None:
    # In upper case the ligature becomes FI, which is a ticker, and "ß" becomes SS.
    assert accepted(text) is None


@pytest.mark.parametrize("symbol", ["FB", "META"])
@pytest.mark.parametrize("year", [2013, 2015, 2024])
def test_a_renamed_company_answers_to_both_its_names_in_any_year(symbol: str, year: int) -> None:
    assert resolve(NAMES, symbol, dt.date(year, 1, 2), dt.date(year, 12, 31)) == 7


@pytest.mark.parametrize(
    ("day", "security"),
    [
        (dt.date(1996, 1, 2), 1),
        (dt.date(2012, 3, 12), 1),
        (dt.date(2022, 2, 2), 2),
        (TODAY, 2),
    ],
)
def test_the_day_decides_between_two_bearers_of_a_symbol(day: dt.date, security: int) -> None:
    assert resolve(NAMES, "CEG", day, day) == security


def test_a_window_with_two_bearers_names_both_companies() -> None:
    with pytest.raises(AmbiguousSymbolError) as ambiguous:
        resolve(NAMES, "CEG", dt.date(2010, 1, 4), dt.date(2023, 1, 3))
    assert str(ambiguous.value) == (
        "CEG named 2 companies in these days: Constellation Energy Group (security 1, CEG from "
        "1996-01-02 until 2012-03-13); or Constellation Energy Corp (security 2, CEG from "
        "2022-02-02 to this day). Ask for days in which it named one, or give the security id in "
        "place of the symbol."
    )
    assert ambiguous.value.names == (OLD_CEG, NEW_CEG)


@pytest.mark.parametrize("day", [dt.date(2012, 3, 13), dt.date(2018, 1, 2), dt.date(2022, 2, 1)])
def test_a_day_between_two_bearers_is_an_error_that_names_both(day: dt.date) -> None:
    with pytest.raises(UnknownSymbolError) as unknown:
        resolve(NAMES, "CEG", day, day)
    assert str(unknown.value) == (
        "CEG names no security in these days; it was Constellation Energy Group (security 1, CEG "
        "from 1996-01-02 until 2012-03-13); it was Constellation Energy Corp (security 2, CEG from "
        "2022-02-02 to this day)."
    )


def test_the_error_for_a_symbol_without_any_bearer_names_the_next_step() -> None:
    with pytest.raises(UnknownSymbolError, match=r"NVDA is not known here\. Load it with"):
        resolve(NAMES, "NVDA", TODAY, TODAY)


def by(what: Callable[[KnownIdentity], str]) -> dict[str, list[KnownIdentity]]:
    groups: dict[str, list[KnownIdentity]] = defaultdict(list)
    for identity in sorted(known_identities(), key=lambda i: i.valid_from):
        groups[what(identity)].append(identity)
    return groups


@pytest.mark.parametrize("what", ["symbol", "slug"])
def test_no_two_known_names_of_a_symbol_or_of_a_security_overlap(what: str) -> None:
    for several in by(lambda identity: getattr(identity, what)).values():
        for before, after in pairwise(several):
            assert before.valid_to is not None, (before, after)
            assert before.valid_to <= after.valid_from, (before, after)


def test_every_known_identity_is_well_formed() -> None:
    for identity in known_identities():
        assert canonical_symbol(identity.symbol) == identity.symbol
        assert identity.valid_to is None or identity.valid_from < identity.valid_to, identity
        assert identity.cik is None or (len(identity.cik) == 10 and identity.cik.isdigit())
        assert identity.company


@pytest.mark.parametrize(("symbol", "companies"), [("CEG", 2), ("AMP", 2), ("BR", 2), ("AMD", 1)])
def test_reused_tickers_are_two_companies_and_amd_is_one(symbol: str, companies: int) -> None:
    assert len({identity.slug for identity in by(lambda i: i.symbol)[symbol]}) == companies


def test_fb_and_meta_are_one_security() -> None:
    assert [
        (i.symbol, i.valid_from, i.valid_to, i.cik) for i in by(lambda i: i.slug)["meta_platforms"]
    ] == [
        ("FB", dt.date(2012, 5, 18), dt.date(2022, 6, 9), "0001326801"),
        ("META", dt.date(2022, 6, 9), None, "0001326801"),
    ]


def register() -> Register:
    return Register(known_identities(), "a list")


def mapping(kept: Register) -> set[tuple[str, frozenset[tuple[str, dt.date, dt.date | None]]]]:
    """Which names belong together, whatever the number of their security."""
    together: dict[int, set[tuple[str, dt.date, dt.date | None]]] = defaultdict(set)
    for name in kept.names():
        together[name.security_id].add((name.symbol, name.valid_from, name.valid_to))
    return {(min(names)[0], frozenset(names)) for names in together.values()}


def note_archive(kept: Register, symbol: str, first_session: dt.date = ARCHIVE_BEGINS) -> int:
    """What a load does with an archive that speaks today's tickers."""
    security = kept.security_on(symbol, TODAY)
    kept.note_first_session(security, first_session)
    return security


@pytest.mark.parametrize(
    ("symbol", "stays"),
    [
        # Still a member.
        ("QQZ", [(dt.date(2000, 1, 3), None)]),
        # Joined after the archive begins.
        ("QQZ", [(dt.date(2018, 3, 1), None)]),
        # Left the index while the archive goes on.
        ("QQZ", [(dt.date(2000, 1, 3), dt.date(2016, 1, 4))]),
        # Left the index before the archive begins.
        ("QQZ", [(dt.date(2000, 1, 3), dt.date(2010, 1, 4))]),
        # Came back.
        ("QQZ", [(dt.date(1996, 1, 2), dt.date(2000, 1, 3)), (dt.date(2010, 1, 4), None)]),
        # Came back and left again before the archive begins.
        (
            "QQZ",
            [
                (dt.date(1996, 1, 2), dt.date(2000, 1, 3)),
                (dt.date(2010, 1, 4), dt.date(2012, 1, 3)),
            ],
        ),
        # Renamed, reused and left-and-rejoined, all looked up by hand.
        ("META", [(dt.date(2013, 12, 23), None)]),
        ("CEG", [(dt.date(1996, 1, 2), dt.date(2012, 3, 13)), (dt.date(2022, 2, 2), None)]),
        ("AMD", [(dt.date(1996, 1, 2), dt.date(2013, 9, 23)), (dt.date(2017, 3, 20), None)]),
    ],
)
def test_the_order_in_which_archive_and_membership_arrive_does_not_matter(
    symbol: str, stays: list[tuple[dt.date, dt.date | None]]
) -> None:
    members = [MembershipInterval(symbol, *stay) for stay in stays]
    archive_first, members_first = register(), register()
    note_archive(archive_first, symbol)
    archive_first.identify_intervals(members)
    members_first.identify_intervals(members)
    note_archive(members_first, symbol)
    assert mapping(archive_first) == mapping(members_first)


def test_asking_twice_adds_nothing() -> None:
    kept = register()
    stays = [
        MembershipInterval("QQZ", dt.date(2000, 1, 3), None),
        MembershipInterval("FB", dt.date(2013, 12, 23), None),
    ]
    first = kept.identify_intervals(stays)
    names = sorted(map(repr, kept.names()))
    assert kept.identify_intervals(stays) == first
    assert kept.security_on("QQZ", TODAY) == first[0][1]
    assert sorted(map(repr, kept.names())) == names


def test_an_interval_is_cut_where_its_symbol_changed_hands() -> None:
    kept = register()
    found = kept.identify_intervals([MembershipInterval("CEG", dt.date(2000, 1, 3), None)])
    old, new = kept.security_on("CEG", dt.date(2000, 1, 3)), kept.security_on("CEG", TODAY)
    assert old != new
    assert found == [
        (MembershipInterval("CEG", dt.date(2000, 1, 3), dt.date(2022, 2, 2)), old),
        (MembershipInterval("CEG", dt.date(2022, 2, 2), None), new),
    ]


def test_a_back_dated_ticker_is_given_to_the_company_that_took_it() -> None:
    kept = register()
    found = kept.identify_intervals([MembershipInterval("META", dt.date(2013, 12, 23), None)])
    assert found == [
        (
            MembershipInterval("META", dt.date(2013, 12, 23), None),
            kept.security_on("FB", dt.date(2015, 1, 2)),
        )
    ]


def test_an_unknown_ticker_that_comes_back_is_kept_apart() -> None:
    kept = register()
    found = kept.identify_intervals(
        [
            MembershipInterval("QQZ", dt.date(1996, 1, 2), dt.date(2000, 1, 3)),
            MembershipInterval("QQZ", dt.date(2010, 1, 4), None),
        ]
    )
    assert [security for _, security in found] == [1, 2]
    assert kept.names() == [
        Name("QQZ", dt.date(1996, 1, 2), dt.date(2000, 1, 3), 1),
        Name("QQZ", dt.date(2010, 1, 4), None, 2),
    ]


def test_leaving_an_index_does_not_end_a_name() -> None:
    kept = register()
    kept.identify_intervals([MembershipInterval("QQZ", dt.date(2000, 1, 3), dt.date(2016, 1, 4))])
    assert kept.names() == [Name("QQZ", dt.date(2000, 1, 3), None, 1)]


def test_a_ticker_between_its_known_bearers_belongs_to_a_security_of_its_own() -> None:
    kept = register()
    between = (dt.date(2015, 1, 2), dt.date(2016, 1, 4))
    stranger = kept.security_on("CEG", dt.date(2015, 6, 1), between)
    assert stranger not in {
        kept.security_on("CEG", dt.date(2010, 1, 4)),
        kept.security_on("CEG", TODAY),
    }
    assert sorted((n.valid_from, n.valid_to) for n in kept.names() if n.symbol == "CEG") == [
        (dt.date(1999, 5, 3), dt.date(2012, 3, 13)),
        (dt.date(2015, 1, 2), dt.date(2022, 2, 2)),
        (dt.date(2022, 2, 2), None),
    ]
    assert kept.security_on("CEG", dt.date(2015, 6, 1), between) == stranger


def test_a_ticker_that_traded_in_days_of_another_bearer_is_refused() -> None:
    traded = (dt.date(2012, 1, 3), dt.date(2016, 1, 4))
    with pytest.raises(UnknownSymbolError, match=r"Energy Group .* Energy Corp"):
        register().security_on("CEG", dt.date(2015, 1, 2), traded)


def test_rows_before_a_name_begins_extend_the_earliest_name() -> None:
    kept = register()
    security = kept.security_on("META", TODAY)
    kept.note_first_session(security, dt.date(2012, 5, 17))
    assert sorted((n.symbol, n.valid_from, n.valid_to) for n in kept.names()) == [
        ("FB", dt.date(2012, 5, 17), dt.date(2022, 6, 9)),
        ("META", dt.date(2022, 6, 9), None),
    ]


def test_a_name_is_not_extended_over_the_days_of_another_bearer() -> None:
    kept = register()
    kept.bearers("CEG")
    names = sorted(map(repr, kept.names()))
    kept.note_first_session(kept.security_on("CEG", TODAY), dt.date(2011, 1, 3))
    assert sorted(map(repr, kept.names())) == names
    # Between the two, nobody is in the way.
    kept.note_first_session(kept.security_on("CEG", TODAY), dt.date(2022, 1, 19))
    assert sorted((n.valid_from, n.valid_to) for n in kept.names() if n.symbol == "CEG") == [
        (dt.date(1999, 5, 3), dt.date(2012, 3, 13)),
        (dt.date(2022, 1, 19), None),
    ]


BNY_BANK = KnownIdentity("bank", "BNY", dt.date(2026, 5, 22), None, "Bank of New York", None)
HEALTHPEAK = [
    KnownIdentity("hp", "PEAK", dt.date(2019, 11, 5), dt.date(2024, 3, 4), "Healthpeak", None),
    KnownIdentity("hp", "DOC", dt.date(2024, 3, 4), None, "Healthpeak", None),
]


def test_a_fund_whose_ticker_a_bank_took_later_is_a_security_that_ends_there() -> None:
    kept = Register([BNY_BANK], "an archive")
    traded = (dt.date(2010, 1, 4), dt.date(2024, 3, 8))
    fund = kept.security_on("BNY", dt.date(2024, 3, 9), traded)
    bank = kept.security_on("BNY", dt.date(2026, 8, 8))
    assert sorted(kept.names(), key=lambda name: name.valid_from) == [
        Name("BNY", dt.date(2010, 1, 4), dt.date(2026, 5, 22), fund),
        Name("BNY", dt.date(2026, 5, 22), None, bank, "Bank of New York"),
    ]
    assert fund != bank
    assert kept.security_on("BNY", dt.date(2024, 3, 9), traded) == fund


def test_a_ticker_named_after_its_only_bearer_gave_it_up_is_refused_with_the_bearer() -> None:
    kept = Register(HEALTHPEAK, "an archive")
    traded = (dt.date(2010, 1, 4), dt.date(2024, 3, 8))
    with pytest.raises(UnknownSymbolError) as unknown:
        kept.security_on("PEAK", dt.date(2024, 3, 9), traded)
    assert str(unknown.value) == (
        "PEAK names no security in these days; it was Healthpeak (security 1, PEAK from "
        "2019-11-05 until 2024-03-04)."
    )
    assert {name.symbol for name in kept.names()} == {"PEAK", "DOC"}
    # Said to use the tickers of an earlier day, the same archive is understood.
    assert kept.security_on("PEAK", dt.date(2024, 3, 1), traded) == kept.security_on(
        "DOC", dt.date(2024, 3, 9)
    )


def test_a_stranger_s_ticker_stays_open_where_no_known_bearer_follows() -> None:
    kept = Register(HEALTHPEAK, "an archive")
    stranger = kept.security_on(
        "PEAK", dt.date(2026, 1, 5), (dt.date(2025, 1, 2), dt.date(2026, 1, 5))
    )
    assert [n for n in kept.names() if n.security_id == stranger] == [
        Name("PEAK", dt.date(2025, 1, 2), None, stranger)
    ]


def test_a_ticker_traded_only_on_the_day_its_bearer_had_given_it_up_is_a_stranger_s() -> None:
    day = dt.date(2024, 3, 4)
    kept = Register(HEALTHPEAK, "an archive")
    assert kept.security_on("PEAK", day) != kept.security_on("DOC", day)


def test_a_security_looked_up_by_hand_says_since_when_it_exists() -> None:
    kept = Register(HEALTHPEAK, "an archive")
    assert kept.known_since(kept.security_on("DOC", TODAY)) == dt.date(2019, 11, 5)
    assert kept.known_since(kept.security_on("QQZ", TODAY)) is None
