"""Orders to the stand-in for Yahoo: functions from one ``Reply`` to another."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from typing import Any, Concatenate, ParamSpec
from zoneinfo import ZoneInfo

import numpy as np

from quant_assets_tests.standins.yahoo_listings import HTML, PLAIN, PRICES, Reply, as_float32

P = ParamSpec("P")
Misbehaviour = Callable[[Reply], Reply]
_SAYINGS = {429: "Too Many Requests\r\n", 503: "Will be right back"}


def status(code: int, retry_after: int | str | None = None) -> Misbehaviour:
    """A refusal in plain text, with Retry-After if given."""
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    return lambda _: Reply(code, _SAYINGS.get(code, "Error").encode(), PLAIN, headers)


def words(text: str, code: int = 200, content_type: str = PLAIN) -> Misbehaviour:
    """Something else than was asked for, such as ``Too Many Requests`` with status 200."""
    return lambda _: Reply(code, text.encode(), content_type)


def html(code: int = 200) -> Misbehaviour:
    return words("<!DOCTYPE html><html><body>Will be right back</body></html>", code, HTML)


def silence(seconds: float = 60.0) -> Misbehaviour:
    """No answer for so long, or until ``StandIn.release`` or its end; then the line goes dead."""
    return lambda reply: replace(reply, hold_seconds=seconds, ending="dropped")


def reset() -> Misbehaviour:
    return lambda reply: replace(reply, ending="reset")


def cut() -> Misbehaviour:
    """The connection ends half-way through the body."""
    return lambda reply: replace(reply, ending="cut")


def truncated() -> Misbehaviour:
    """Half the body, declared as all of it."""
    return lambda reply: replace(reply, body=reply.body[: len(reply.body) // 2])


def _edit(change: Callable[Concatenate[dict[str, Any], P], None]) -> Callable[P, Misbehaviour]:
    """A misbehaviour from a change made in place to a chart's result; refusals stay as they are."""

    @wraps(change)
    def make(*args: P.args, **kwargs: P.kwargs) -> Misbehaviour:
        def misbehave(reply: Reply) -> Reply:
            answer = json.loads(reply.body)
            for result in answer["chart"]["result"] or ():
                change(result, *args, **kwargs)
            return replace(reply, body=json.dumps(answer).encode())

        return misbehave

    return make


def _day(result: dict[str, Any], at: int) -> str:
    zone = ZoneInfo(result["meta"]["exchangeTimezoneName"])
    return str(dt.datetime.fromtimestamp(at, zone).date())


def _rows_on(result: dict[str, Any], session: str) -> list[int]:
    times = result.get("timestamp", ())
    return [row for row, at in enumerate(times) if _day(result, at) == session]


def _columns(result: dict[str, Any]) -> dict[str, list[Any]]:
    indicators = result["indicators"]
    places = dict.fromkeys((*PRICES, "volume"), indicators["quote"][0])
    places |= {"adjclose": indicators["adjclose"][0], "timestamp": result}
    return {name: place.setdefault(name, []) for name, place in places.items()}


@_edit
def edited(result: dict[str, Any], edit: Callable[[dict[str, Any]], None]) -> None:
    """Whatever ``edit`` does to the chart's result."""
    edit(result)


@_edit
def empty(result: dict[str, Any]) -> None:
    """The meta data and nothing else."""
    for name in ("timestamp", "events"):
        result.pop(name, None)
    result["indicators"] = {"quote": [{}], "adjclose": [{}]}


@_edit
def without_session(result: dict[str, Any], session: str) -> None:
    for row in reversed(_rows_on(result, session)):
        for column in _columns(result).values():
            del column[row]


@_edit
def restated(result: dict[str, Any], session: str, column: str, value: float | None) -> None:
    """Another number than before, such as a volume revised on the next day."""
    for row in _rows_on(result, session):
        _columns(result)[column][row] = value


@_edit
def without_prices(result: dict[str, Any], session: str, volume: int | None = 0) -> None:
    """Every price null, beside a volume."""
    for row in _rows_on(result, session):
        for name in (*PRICES, "adjclose"):
            _columns(result)[name][row] = None
        _columns(result)["volume"][row] = volume


@_edit
def doubled(
    result: dict[str, Any], session: str, seconds_later: int = 0, close: float | None = None
) -> None:
    """A bar twice. The live quote comes as such a twin: later, with another close and volume."""
    for row in reversed(_rows_on(result, session)):
        columns = _columns(result)
        for column in columns.values():
            column.insert(row + 1, column[row])
        columns["timestamp"][row + 1] += seconds_later
        if close is not None:
            columns["close"][row + 1] = columns["adjclose"][row + 1] = close
            columns["volume"][row + 1] += 1


@_edit
def with_live_bar(result: dict[str, Any], at: int, price: float, volume: int = 1000) -> None:
    """One more row, stamped ``at``: Yahoo may add the quote of today, whatever end was asked."""
    bar = dict.fromkeys((*PRICES, "adjclose"), price) | {"timestamp": at, "volume": volume}
    for name, column in _columns(result).items():
        column.append(bar[name])


@_edit
def without_events(result: dict[str, Any], kind: str = "splits") -> None:
    """They are left out, though the prices are adjusted for them."""
    result.get("events", {}).pop(kind, None)


@_edit
def split_not_applied(result: dict[str, Any], ex_date: str) -> None:
    """The split is listed, but the rows before it are still in the old shares."""
    for split in result.get("events", {}).get("splits", {}).values():
        if _day(result, split["date"]) == ex_date:
            ratio = split["numerator"] / split["denominator"]
            columns = _columns(result)
            before = slice(sum(at < split["date"] for at in columns["timestamp"]))
            for name in (*PRICES, "adjclose"):
                columns[name][before] = as_float32(np.array(columns[name][before]) * ratio).tolist()
            columns["volume"][before] = [round(each / ratio) for each in columns["volume"][before]]


_PLAIN_FAULTS = (status, words, html, silence, reset, cut, truncated, empty)
_EDITS = (without_session, restated, without_prices, doubled, with_live_bar, without_events)
MISBEHAVIOURS: dict[str, Callable[..., Misbehaviour]] = {
    make.__name__: make for make in (*_PLAIN_FAULTS, *_EDITS, split_not_applied)
}
"""By name, for ``POST /_order``."""
