"""Weeks of the platform's life, tick by tick: what is stored at their end, and what it cost.

The suite lives two weeks that hold everything that ``quarter`` can do; ``make quarter`` a quarter,
with as many members as ``MEMBERS`` says, and prints the table of requests.
"""

from __future__ import annotations

import datetime as dt
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest
from dagster._core.definitions.freshness import FreshnessState

from quant_assets import read
from quant_assets.loading.lag import OUTAGE_SYMBOLS
from quant_assets.loading.work import PROBES
from quant_assets.refreshing.nightly import session_coverage
from quant_assets.schema.prices import DAILY_PRICES
from quant_assets_tests.standins.quarter import (
    ACQUIRED,
    JOIN,
    LEFT,
    NEW,
    NEXT,
    OLD,
    QUARTER,
    SOLD,
    SPLIT,
    TWO_WEEKS,
    XNYS,
    Life,
    last_look,
    life,
)

pytestmark = pytest.mark.slow

WHOLE = "MEMBERS" in os.environ
SCRIPT = replace(QUARTER, members=int(os.environ["MEMBERS"])) if WHOLE else TWO_WEEKS

Row = tuple[object, ...]


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Life]:
    with life(tmp_path_factory.mktemp("life") / "data", SCRIPT) as lived:
        yield lived


def query(lived: Life, sql: str) -> list[Row]:
    with lived.world.platform.warehouse.reading() as con:
        return con.execute(sql).fetchall()


def cents(number: object) -> str:
    return f"{number:.2f}"


def before(day: dt.date) -> dt.date:
    """The session before a day."""
    return next(session for session in reversed(XNYS.sessions) if session < day)


def test_everybody_has_the_rows_of_the_world_as_traded_and_no_others(lived: Life) -> None:
    stored = query(
        lived,
        "with tickers as (select security_id, max_by(symbol, valid_from) as ticker"
        " from symbol_history group by 1)"
        " select ticker, session, open, high, low, close, volume from daily_prices"
        " join tickers using (security_id) order by 1, 2",
    )
    rows = {(symbol, day): tuple(map(cents, numbers)) for symbol, day, *numbers in stored}
    world = lived.world.rows()
    assert rows == {key: tuple(map(cents, numbers)) for key, numbers in world.items()}
    assert len(stored) == len(world)


def test_every_session_has_a_price_of_every_member_and_the_members_of_the_world(
    lived: Life,
) -> None:
    for session in SCRIPT.sessions:
        members = lived.world.members_on(session)
        told = read.universe("sp500", on=session, settings=lived.world.platform.settings)
        assert set(told["symbol"]) - {OLD, NEW} == members - {OLD, NEW}, session
    [(without,)] = query(
        lived,
        "select count(*) from universe_membership m"
        " join (select distinct session from daily_prices) s on s.session >= m.effective_on"
        f" and (m.removed_on is null or s.session < m.removed_on) and s.session >= '{SCRIPT.first}'"
        " anti join daily_prices p on p.security_id = m.security_id and p.session = s.session",
    )
    assert without == 0


def test_nothing_is_left_to_do(lived: Life) -> None:
    stand = session_coverage(lived.world.platform, DAILY_PRICES, SCRIPT.sessions[-1])
    assert stand.describe() == f"All {SCRIPT.members} symbols have {SCRIPT.sessions[-1]}."
    assert query(lived, "select symbol, error from load_tasks where state <> 'completed'") == []
    held = "select symbol, session, outcome from symbol_day_ledger join symbol_history"
    quiet = XNYS.between(SCRIPT.sold_on, last_look(SCRIPT.sold_on))
    since = f"using (security_id) where session >= '{SCRIPT.first}' order by 1, 2"
    assert query(lived, f"{held} {since}") == [(SOLD, day, "empty") for day in quiet]


def test_the_marker_was_fresh_each_morning_but_that_of_the_outage(lived: Life) -> None:
    state = {day: found["latest_session"] for day, found in lived.mornings.items()}
    late = {day for day, found in state.items() if found is not FreshnessState.PASS}
    assert late == {dt.date.fromisoformat(SCRIPT.outage.end[:10])}
    assert set(lived.mornings) == set(SCRIPT.days[1:])
    for found in lived.mornings.values():
        assert found["daily_prices"] is found["corporate_actions"] is FreshnessState.PASS


def test_nothing_failed_but_in_trouble(lived: Life) -> None:
    """On holidays and weekends nothing turns red, and a missed day makes nothing fail."""
    spells = {
        "refresh_prices": (SCRIPT.lag, SCRIPT.outage, SCRIPT.throttled),
        "refresh_membership": (SCRIPT.redesign,),
    }
    for run in lived.daemon.runs:
        expected = any(run.at in spell for spell in spells.get(run.job, ()))
        assert bool(run.failure) is expected, run


def test_a_newcomer_is_loaded_once_and_who_left_is_looked_at_once_more(lived: Life) -> None:
    runs = [run for run in lived.daemon.runs if run.trigger == "index_membership_sensor"]
    told = {run.why: [symbol for symbol, _ in run.asked] for run in runs}
    assert len(runs) == 5
    assert told == {
        f"{JOIN} joined sp500 on {SCRIPT.joins_on}": [JOIN],
        f"{LEFT} left sp500 on {SCRIPT.joins_on}: a last full look": [LEFT],
        f"{NEXT} joined sp500 on {SCRIPT.sold_on}": [NEXT],
        f"{SOLD} left sp500 on {SCRIPT.sold_on}: a last full look": [SOLD],
        f"{OLD} became {NEW} on {SCRIPT.renamed_on}": [],
    }


def test_the_change_was_known_ahead(lived: Life) -> None:
    ahead = "select symbol, effective_on, announced_on from universe_membership"
    assert query(lived, f"{ahead} where announced_on is not null") == [
        (JOIN, SCRIPT.joins_on, SCRIPT.announced_on)
    ]


def test_the_delisting_is_on_record_with_its_reason(lived: Life) -> None:
    assert query(lived, "select symbol, last_session, reason, terminal_value from delistings") == [
        (SOLD, before(SCRIPT.sold_on), ACQUIRED, None)
    ]


def test_who_was_renamed_is_one_security_and_the_split_one_record(lived: Life) -> None:
    names = query(
        lived,
        "select symbol, valid_to from symbol_history where security_id ="
        f" (select security_id from symbol_history where symbol = '{NEW}') order by valid_from",
    )
    assert names == [(OLD, SCRIPT.renamed_on), (NEW, None)]
    actions = "select symbol, ex_date, kind, ratio from corporate_actions join symbol_history"
    assert query(lived, f"{actions} using (security_id)") == [
        (SPLIT, SCRIPT.splits_on, "split", 4.0)
    ]


def test_requests_are_the_fewest_there_can_be(lived: Life) -> None:
    """A request a session of every member, one for who joins or leaves, and one to learn whether
    who left is traded still. Nothing is asked twice but where Yahoo is in trouble.
    """
    requests = lived.requests()
    print("", lived.table(), sep="\n")
    changes = (SCRIPT.joins_on, SCRIPT.sold_on)
    for session in SCRIPT.sessions:
        left = Counter(before(day) for day in changes)[session]
        least = {
            "members": SCRIPT.members,
            "joined": left,
            "left": left,
            "last look": Counter(last_look(day) for day in changes)[session],
        }
        asked = {kind: requests[session][kind] for kind in least}
        if session == dt.date.fromisoformat(SCRIPT.outage.start[:10]):
            # Who was given up by its end is asked the next evening, for both sessions at once.
            assert asked.pop("members") <= least.pop("members")
        assert asked == least, session
    first = before(SCRIPT.first)
    assert set(requests) - {first} == set(SCRIPT.sessions)
    assert requests[first] in (Counter(), Counter(members=SCRIPT.members)), "the first load of all"


def test_in_trouble_a_few_are_asked(lived: Life) -> None:
    """A lag costs ten requests and three more each time; an outage fifteen, five symbols tried
    three times, and a limit six, one symbol tried after longer and longer waits.
    """

    def asked(spell: object) -> list[int]:
        runs = [run for run in lived.daemon.runs if run.asked]
        return [len(run.asked) for run in runs if run.at in spell]  # type: ignore[operator]

    first, *more = asked(SCRIPT.lag)
    assert (first, set(more)) == (OUTAGE_SYMBOLS, {PROBES})
    assert max(asked(SCRIPT.outage)) == 15
    assert set(asked(SCRIPT.throttled)) == {6}


def test_a_look_at_the_index_is_one_request(lived: Life) -> None:
    looks = [run for run in lived.daemon.runs if run.job == "refresh_membership"]
    assert len(lived.world.wikipedia.requests) == len(looks)
