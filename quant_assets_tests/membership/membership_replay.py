"""Twelve years of the index as it was reported, replayed list by list and compared with two others.

    python -m quant_assets_tests.membership.membership_replay \
        [versions] [scrapes] [pages] [intervals]

Reads the real lists beside this project; each is taken over as if it had been fetched on its day.
Prints what each list did, how far the result agrees with a history file and with the holdings of an
index fund, and every difference with its cause.
"""

from __future__ import annotations

import datetime as dt
import io
import subprocess
import sys
import tarfile
import tempfile
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from quant_assets.contracts.membership import UniverseAnswer
from quant_assets.contracts.source import SourceError
from quant_assets.membership.refusals import RefusedUniverseError
from quant_assets.membership.report import UniverseReport
from quant_assets.membership.take_over import import_universe
from quant_assets.reference.calendars import exchange_calendar
from quant_assets.reference.identity import (
    InvalidSymbolError,
    Name,
    canonical_symbol,
    known_identities,
)
from quant_assets.securities.names import read_names
from quant_assets.sources.index_members.headers import header_key, read_members
from quant_assets.sources.index_members.lists import MembershipLists
from quant_assets.sources.index_members.wikipedia import SOURCE as WIKIPEDIA
from quant_assets.warehouse.warehouse import Warehouse
from quant_assets_tests.conftest import REAL

SCRAPES = "membership/wikipedia_sp500_daily_20221108_20250630.parquet"
VERSIONS = "constituents/sp500_constituents_190_versions_2012_2026.tar.zst"
INTERVALS = "membership/fja05680_sp500_ticker_start_end.csv"
HOLDINGS = "membership/ishares_ivv_holdings_20061031_20250630.parquet"
PAGES = "wikipedia_html"

HOLDINGS_FROM = dt.date(2014, 12, 1)
"""Before that day the fund's file has codes of its own for many shares."""

TRADED_AROUND = 5
"""Sessions within which a fund trades a change of the index, before or after."""


@dataclass(frozen=True)
class Step:
    """A list and the day on which it was fetched."""

    on: dt.date
    what: str
    fetch: Callable[[], UniverseAnswer]


def scrapes(real: Path, chosen: Callable[[dt.date], bool] = lambda day: True) -> Iterator[Step]:
    """Wikipedia's table as it was scraped, every weekday."""
    table = pd.read_parquet(real / SCRAPES).drop(columns=["date"])
    for day, rows in table.groupby("scrape_date"):
        if chosen(day):
            yield Step(day, "scrape", lambda rows=rows: _scraped(rows))  # type: ignore[misc]


def _scraped(rows: pd.DataFrame) -> UniverseAnswer:
    table = rows.drop(columns=["scrape_date"]).dropna(axis="columns", how="all")
    columns = {column: header_key(column) for column in table}
    lines = [
        {columns[key]: value for key, value in line.items() if isinstance(value, str)}
        for line in table.to_dict("records")
    ]
    members, unread, notices = read_members(lines, "the scrape", WIKIPEDIA)
    return UniverseAnswer(WIKIPEDIA, constituents=members, unread=unread, notices=tuple(notices))


def versions(real: Path, folder: Path) -> Iterator[Step]:
    """Each version of a list that is kept by hand, unpacked into ``folder``."""
    unpacked = subprocess.run(
        ["zstd", "-dc", "--long=27", str(real / VERSIONS)],
        capture_output=True,
        check=True,
    ).stdout
    with tarfile.open(fileobj=io.BytesIO(unpacked)) as archive:
        archive.extractall(folder, filter="data")
    for path in sorted(folder.rglob("*.csv")):
        yield Step(dt.date.fromisoformat(path.name[:10]), "version", _reads(path))


def pages(real: Path) -> Iterator[Step]:
    """Saved pages of Wikipedia, with their tables of changes."""
    for path in sorted((real / PAGES).glob("*.gz")):
        digits = "".join(filter(str.isdecimal, path.name.split("_rev")[0]))[-8:]
        day = dt.datetime.strptime(digits, "%Y%m%d").date()  # noqa: DTZ007 - a date alone
        yield Step(day, "page", _reads(path, WIKIPEDIA))


def intervals(real: Path) -> Iterator[Step]:
    yield Step(dt.date(2026, 8, 9), "intervals", _reads(real / INTERVALS))


def _reads(path: Path, source: str = "") -> Callable[[], UniverseAnswer]:
    def fetch() -> UniverseAnswer:
        answer = MembershipLists((str(path),)).fetch_universe()
        fields = vars(answer) | {"listed_on": None} | ({"source": source} if source else {})
        return UniverseAnswer(**fields)

    return fetch


@dataclass
class Replay:
    """A warehouse that imports lists one after another, with a clock that follows their days."""

    home: Path
    log: list[tuple[Step, UniverseReport | Exception]] = field(default_factory=list)
    now: dt.datetime = dt.datetime(2012, 1, 1, tzinfo=dt.UTC)

    def __post_init__(self) -> None:
        self.warehouse = Warehouse(self.home / "warehouse.duckdb", clock=lambda: self.now)

    def run(self, steps: Iterable[Step]) -> Replay:
        for step in steps:
            self.now = dt.datetime.combine(step.on, dt.time(12), dt.UTC)
            try:
                answer = step.fetch()
                result: UniverseReport | Exception = import_universe(
                    self.warehouse, answer, known_identities(), on=step.on
                )
            except (RefusedUniverseError, SourceError) as error:
                result = error
            self.log.append((step, result))
        return self

    def query(self, sql: str) -> list[tuple[object, ...]]:
        with self.warehouse.reading() as con:
            return con.execute(sql).fetchall()


Days = Mapping[dt.date, frozenset[int]]


def members_by_day(
    stays: Iterable[tuple[int, dt.date, dt.date | None]], start: dt.date, end: dt.date
) -> Days:
    """The members of each session from ``start`` to ``end``."""
    sessions = exchange_calendar("XNYS").between(start, end)
    found: dict[dt.date, set[int]] = {day: set() for day in sessions}
    for security, joined, left in stays:
        at = bisect_left(sessions, joined)
        for day in sessions[at : bisect_left(sessions, left or dt.date.max)]:
            found[day].add(security)
    return {day: frozenset(some) for day, some in found.items()}


@dataclass(frozen=True)
class Difference:
    """A member that one side has and the other lacks, over some sessions."""

    symbol: str
    ours: bool
    sessions: int
    first: dt.date
    last: dt.date
    cause: str


@dataclass(frozen=True)
class Agreement:
    """Two memberships compared, symbol-day by symbol-day."""

    compared: int
    differences: tuple[Difference, ...]

    @property
    def share(self) -> float:
        return 1 - sum(d.sessions for d in self.differences) / self.compared

    def describe(self, other: str) -> str:
        count = sum(d.sessions for d in self.differences)
        lines = [
            f"{other}: {self.compared:,} symbol-days, {count:,} differ, {self.share:.4%} agree"
        ]
        lines += [
            f"  {d.symbol:6} {'here' if d.ours else 'there'} alone, {d.first} to {d.last}, "
            f"{d.sessions} sessions: {d.cause}"
            for d in sorted(self.differences, key=lambda d: -d.sessions)
        ]
        return "\n".join(lines)


def compare(
    ours: Days, theirs: Days, symbols: Mapping[int, str], cause: Callable[..., str]
) -> Agreement:
    compared = 0
    lacking: dict[tuple[int, bool], list[dt.date]] = defaultdict(list)
    for day, members in theirs.items():
        compared += len(members | ours[day])
        for security in members ^ ours[day]:
            lacking[security, security in ours[day]].append(day)
    return Agreement(
        compared,
        tuple(
            Difference(
                symbols.get(security, str(security)),
                here,
                len(days),
                days[0],
                days[-1],
                cause(security, here, days),
            )
            for (security, here), days in lacking.items()
        ),
    )


def with_intervals(replay: Replay, start: dt.date, end: dt.date) -> Agreement:
    """Against the history file, by the securities its tickers were given."""
    stated = replay.query(
        "select security_id, from_on, until_on from membership_evidence where kind = 'interval'"
    )
    causes: dict[int, list[str]] = defaultdict(list)
    for security, cause, source, by in replay.query(
        "select security_id, cause, source, decided_by from membership_conflicts order by from_on"
    ):
        if str(source).endswith(Path(INTERVALS).name):
            causes[security].append(f"the file {cause}; followed: {by}")  # type: ignore[index]

    def cause(security: int, here: bool, days: Sequence[dt.date]) -> str:
        return " / ".join(causes[security]) or "not on record"

    ours = members_by_day(_stays(replay), start, end)
    theirs = members_by_day(stated, start, end)  # type: ignore[arg-type]
    return compare(ours, theirs, _symbols(replay), cause)


def with_holdings(replay: Replay, start: dt.date, end: dt.date) -> Agreement:
    """Against what an index fund held at the previous close."""
    table = pd.read_parquet(REAL / HOLDINGS, columns=["date", "symbol", "asset_class"])
    table = table[(table["asset_class"] == "Equity") & (table["date"] >= start)]
    with replay.warehouse.reading() as con:
        names: dict[str, list[Name]] = defaultdict(list)
        for name in read_names(con):
            names[name.symbol].append(name)
    sessions = exchange_calendar("XNYS").between(start, end)
    theirs: dict[dt.date, frozenset[int]] = {}
    strangers: dict[str, int] = {}
    for day, rows in table.groupby("date"):
        at = bisect_left(sessions, day)
        if 0 < at < len(sessions) and sessions[at] == day:
            close = sessions[at - 1]
            theirs[close] = frozenset(_held(rows["symbol"], names, close, strangers))
    stays = list(_stays(replay))
    edges: dict[int, list[dt.date]] = defaultdict(list)
    for security, joined, left in stays:
        edges[security] += [d for d in (joined, left) if d]

    def cause(security: int, here: bool, days: Sequence[dt.date]) -> str:
        if security < 0:
            return "a share that never was a member, such as a spin-off's first days"
        near = min(
            (abs((d - e).days) for d in (days[0], days[-1]) for e in edges[security]), default=99
        )
        if near <= TRADED_AROUND + 2 and len(days) <= TRADED_AROUND:
            return "the fund trades a change some days early or late"
        if not here and any(0 <= (days[0] - e).days <= TRADED_AROUND + 2 for e in edges[security]):
            return "the fund could not sell yet what had left"
        return "the fund holds it otherwise" if not here else "the fund does not hold it"

    symbols = _symbols(replay) | {number: symbol for symbol, number in strangers.items()}
    return compare(members_by_day(stays, start, end), theirs, symbols, cause)


def _held(
    symbols: Iterable[str],
    names: Mapping[str, Sequence[Name]],
    day: dt.date,
    strangers: dict[str, int],
) -> Iterator[int]:
    spelt = {"BRKB": "BRK.B", "BFB": "BF.B", "BFA": "BF.A", "UAC/C": "UA.C"}
    for text in symbols:
        try:
            symbol = canonical_symbol(spelt.get(text, text))
        except InvalidSymbolError:
            continue  # cash and futures
        held = names.get(symbol, ())
        bearers = [n.security_id for n in held if n.overlaps(day, day)] or [
            n.security_id for n in held
        ]
        yield bearers[-1] if bearers else strangers.setdefault(symbol, -1 - len(strangers))


def _stays(replay: Replay) -> list[tuple[int, dt.date, dt.date | None]]:
    return replay.query(  # type: ignore[return-value]
        "select security_id, effective_on, removed_on from universe_membership"
    )


def _symbols(replay: Replay) -> dict[int, str]:
    return dict(
        replay.query(  # type: ignore[arg-type]
            "select security_id, max_by(symbol, effective_on) from universe_membership group by 1"
        )
    )


def _step_line(step: Step, result: UniverseReport | Exception) -> str | None:
    """What a list did, in a line; None where it brought no news."""
    if isinstance(result, Exception):
        return f"{step.on} {step.what}: refused: {result}"
    news = [
        f"{what} {', '.join(some)}"
        for what, some in (
            ("joined", result.added),
            ("left", result.removed),
            ("renamed", result.renamed),
            ("waited for", result.waiting),
        )
        if some
    ]
    more = f"; {result.notices[0]}" if result.notices else ""
    return (
        f"{step.on} {step.what}: {result.members} members; {'; '.join(news)}{more}"
        if news
        else None
    )


def main(chosen: Sequence[str]) -> None:
    which = set(chosen or ("versions", "scrapes", "pages", "intervals"))
    with tempfile.TemporaryDirectory() as folder:
        steps = [
            *(versions(REAL, Path(folder) / "versions") if "versions" in which else ()),
            *(scrapes(REAL) if "scrapes" in which else ()),
            *(pages(REAL) if "pages" in which else ()),
            *(intervals(REAL) if "intervals" in which else ()),
        ]
        replay = Replay(Path(folder)).run(sorted(steps, key=lambda step: step.on))
        for step, result in replay.log:
            line = _step_line(step, result)
            if line:
                print(line)
        print(f"{len(replay.log)} lists")
        if "intervals" in which:
            print(
                with_intervals(replay, dt.date(1996, 1, 2), dt.date(2025, 7, 8)).describe(INTERVALS)
            )
        last = dt.date(2025, 6, 27)
        print(with_holdings(replay, HOLDINGS_FROM, last).describe(HOLDINGS))


if __name__ == "__main__":
    main(sys.argv[1:])
