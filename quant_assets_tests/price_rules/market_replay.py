"""Real days of a market screener, played through the rules day by day, with every catch listed.

    python -m quant_assets_tests.price_rules.market_replay [FILE …]

Reads the daily file beside this project, unless told others; one of month-ends will do too, though
it has no net change, so that splits are guessed from prices. By hindsight a catch is ``wrong``
where implied shares later come nearer to the level believed than to the one reported, ``real``
where they never do, ``open`` where the data end within a quarter, ``missing`` where nothing was
reported.
"""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from quant_assets.price_rules.market_values import PAST, PATIENCE, Judged, judge, plain_multiple
from quant_assets.reference.calendars import exchange_calendar
from quant_assets_tests.conftest import REAL

DAILY = "screener/nasdaq_screener_sp500_daily_20210129_20231130.parquet"
NAMES = {
    "snapshot_date": "trade_date",
    "exchange": "feed",
    "lastsale": "last_sale",
    "netchange": "net_change",
}
OTHER_TYPES = r"\bUnits?\b|Warrant|Right|Preferred|Pfd|Notes|Series|%"
"""In a name, a mark of a security that is no share; the rules get the types from the source."""

Floats = np.ndarray[tuple[int], np.dtype[np.float64]]


@dataclass(frozen=True)
class Episode:
    """A capitalisation not believed for some sessions; ``ratio`` is of its implied shares."""

    symbol: str
    first: str
    last: str
    sessions: int
    reported: float
    believed: float
    ratio: float
    label: str
    reason: str

    def __str__(self) -> str:
        return (
            f"{self.label:8}{self.symbol:6} {self.first} to {self.last} {self.sessions:3} sessions"
            f", reported {self.reported:.4g}, believed {self.believed:.4g}, ratio "
            f"{self.ratio:.6g}: {self.reason}"
        )


@dataclass
class Replay:
    """What the rules said of each day; ``rows`` has the days with what is believed of them."""

    rows: pd.DataFrame
    stale: dict[tuple[str, str], str] = field(default_factory=dict)
    short: dict[tuple[str, str], str] = field(default_factory=dict)
    episodes: list[Episode] = field(default_factory=list)

    def real_share(self) -> tuple[float, float]:
        """Share of real changes in the decided catches, by rows and by episodes."""
        decided = [e for e in self.episodes if e.label in ("wrong", "real")]
        real = [e for e in decided if e.label == "real"]
        rows = sum(e.sessions for e in real) / max(1, sum(e.sessions for e in decided))
        return rows, len(real) / max(1, len(decided))


def read_days(path: Path) -> pd.DataFrame:
    """The rows of a file with their session by the clock, and a number a symbol."""
    days = pd.read_parquet(path).rename(columns=NAMES)
    days["trade_date"] = days["trade_date"].astype(str)
    if "fetched_at" not in days:
        days["fetched_at"] = pd.to_datetime(days["trade_date"] + "T23:59:00Z")
    calendar = exchange_calendar("XNYS")
    fetched = days.groupby("trade_date")["fetched_at"].max()
    days["session"] = days["trade_date"].map(
        fetched.map(lambda at: calendar.last_closed_session(at.to_pydatetime()))
    )
    if "net_change" not in days:
        days["net_change"] = np.nan
    other = days["name"].astype(str).str.contains(OTHER_TYPES) if "name" in days else False
    days["type"] = np.where(other, "other_type", "common_stock")
    days["security_id"] = days["symbol"].astype("category").cat.codes.astype("int32")
    return days.sort_values(["trade_date", "symbol"])


def replay(days: pd.DataFrame) -> Replay:
    """Judge the days in order; the rows of a session that comes again replace the earlier ones."""
    calendar = exchange_calendar("XNYS")
    before = stored = pd.DataFrame(columns=PAST.names).set_index("security_id")
    session, found, parts = dt.date.min, Replay(days), []
    for label, rows in days.groupby("trade_date", sort=True):
        if rows["session"].iloc[0] != session:
            before, session = stored, rows["session"].iloc[0]
        judged = judge(
            pa.Table.from_pandas(rows[["security_id", "feed", "type", *_NUMBERS]]),
            pa.Table.from_pandas(before.reset_index(), schema=PAST, preserve_index=False),
            session=session,
            calendar=calendar,
        )
        found.stale.update({(str(label), feed): why for feed, why in judged.stale_feeds.items()})
        found.short.update({(str(label), feed): why for feed, why in judged.short_feeds.items()})
        kept = _believed(rows, judged)
        kept = kept[~kept["feed"].isin(judged.stale_feeds)]
        parts.append(kept)
        now = kept.set_index("security_id")[PAST.names[1:]]
        stored = now if stored.empty else pd.concat([stored[~stored.index.isin(now.index)], now])
    rows = pd.concat(parts).drop_duplicates(["symbol", "session"], keep="last")
    found.rows = rows.sort_values(["symbol", "session"])
    found.episodes = [e for _, some in found.rows.groupby("symbol") for e in _episodes(some)]
    return found


_NUMBERS = ["last_sale", "net_change", "volume", "market_cap"]


def _believed(rows: pd.DataFrame, judged: Judged) -> pd.DataFrame:
    on = pd.Series(judged.market_cap_on.astype("datetime64[s]"), index=rows.index)
    return rows.assign(
        reported_market_cap=rows["market_cap"],
        market_cap=judged.market_cap,
        market_cap_on=on.dt.date,
        implied_shares=judged.implied_shares,
        reason=pd.Series(judged.reasons, index=rows.index, dtype=object),
    )


def _episodes(rows: pd.DataFrame) -> Iterator[Episode]:
    """The runs of doubted sessions of one security."""
    doubted = rows["reason"].notna().to_numpy()
    if not doubted.any():
        return
    cap, last = rows["reported_market_cap"].to_numpy(), rows["last_sale"].to_numpy()
    with np.errstate(divide="ignore", invalid="ignore"):
        grown = _splits_so_far(rows)
        reported = np.where(cap > 0, cap, np.nan) / last / grown
        believed = rows["implied_shares"].to_numpy() / grown
    edges = np.flatnonzero(np.diff(np.r_[False, doubted, False]))
    for first, end in zip(edges[::2], edges[1::2], strict=True):
        row = rows.iloc[first]
        yield Episode(
            row["symbol"],
            row["trade_date"],
            rows["trade_date"].iloc[end - 1],
            int(end - first),
            float(cap[first]),
            float(row["market_cap"]),
            float(reported[first] / believed[first]),
            _label(reported[first:], float(believed[first]), rows["session"].iloc[first:]),
            row["reason"],
        )


def _splits_so_far(rows: pd.DataFrame) -> Floats:
    """New shares for one of the first session, as the net changes show."""
    ratio = (rows["last_sale"].shift() / (rows["last_sale"] - rows["net_change"])).to_numpy()
    plain = plain_multiple(ratio)
    shown = np.where(np.abs(ratio / plain - 1) < 2e-3, plain, 1.0)
    return np.cumprod(shown, dtype=np.float64)


def _label(reported: Floats, believed: float, sessions: pd.Series) -> str:
    if np.isnan(reported[0]):
        return "missing"
    way = np.log(reported[0] / believed)
    if (np.log(reported / believed) / way < 0.5).any():
        return "wrong"
    # Sessions are a weekday each, holidays apart.
    seen = np.busday_count(sessions.iloc[0], sessions.iloc[-1])
    return "open" if seen < PATIENCE else "real"


def summary(found: Replay) -> str:
    lines = [f"{day} {why}" for (day, _), why in sorted((found.stale | found.short).items())]
    lines += [str(episode) for episode in found.episodes]
    for label in ("wrong", "real", "open", "missing"):
        some = [e for e in found.episodes if e.label == label]
        lines.append(f"{label}: {sum(e.sessions for e in some)} rows in {len(some)} episodes")
    rows, episodes = found.real_share()
    lines.append(f"{len(found.rows):,} rows; real: {rows:.2%} by rows, {episodes:.2%} by episodes")
    return "\n".join(lines)


def main(paths: Sequence[str]) -> None:
    wanted = paths or (str(REAL / DAILY),)
    for path in wanted:
        if not Path(path).exists():
            raise SystemExit(f"There is no file {path}; name a Parquet file of recorded days.")
    for path in wanted:
        print(Path(path).name)
        print(summary(replay(read_days(Path(path)))))


if __name__ == "__main__":
    main(sys.argv[1:])
