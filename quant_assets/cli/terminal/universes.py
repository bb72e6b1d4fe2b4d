"""What commands about universes print: members, changes, disagreements."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from quant_assets.cli.terminal.console import complain, counted, say
from quant_assets.cli.terminal.tables import Form, print_frame, print_rows
from quant_assets.membership.custom import CUSTOM, ChangeResult, CustomChange
from quant_assets.membership.report import UniverseReport

SHOWN = 50
"""Rows of changes and of disagreements that a table shows; CSV and JSON have them all."""


def print_members(frame: pd.DataFrame) -> None:
    """The frame of ``read.universe``: the members, then their number, their source and its age."""
    rows = [
        {
            "symbol": f"{row.symbol} *" if row.disputed else row.symbol,
            "name": _text(row.name),
            "sector": _text(row.sector),
            "member since": f"{row.effective_on:%Y-%m-%d}",
            "prices": "yes" if row.has_prices else "no",
        }
        for row in frame.itertuples(index=False)
    ]
    print_rows("", rows)
    facts = frame.attrs
    say(
        f"{facts['universe']} on {facts['on']}: {counted(facts['members'], 'member')}, "
        f"{facts['with_prices']:,} of them with prices here."
    )
    say(_origin(facts))
    if facts["passed_over"]:
        say(f"A fallback; better sources did not answer: {facts['passed_over']}")
    _say_disputed(int(frame["disputed"].sum()), facts["claimed"], facts["universe"])
    if facts["tickers_unknown"]:
        say(
            f"What ticker these had on {facts['on']} is not known here; shown is the one of the "
            f"list: {', '.join(facts['tickers_unknown'])}."
        )


def _origin(facts: Mapping[Any, Any]) -> str:
    """The source of the membership, and its age."""
    if facts["kind"] == CUSTOM:
        return f"A universe of your own, last changed on {_moment(facts['updated_at'])}."
    listed = f", its list of {facts['listed_on']}" if facts["listed_on"] else ""
    looked = facts["looked_at"] or facts["updated_at"]
    return f"From {facts['source']}{listed}; last checked on {_moment(looked)}."


def _moment(text: str) -> str:
    return f"{dt.datetime.fromisoformat(text):%Y-%m-%d %H:%M} UTC"


def _say_disputed(disputed: int, claimed: int, universe: str) -> None:
    sentences = [f"* Of {counted(disputed, 'member')} a source says otherwise."] if disputed else []
    if claimed:
        more = "more security is a member" if claimed == 1 else "more securities are members"
        sentences.append(f"{claimed:,} {more} by the word of a source that was not followed.")
    if sentences:
        say(f"{' '.join(sentences)} quant-assets universe conflicts {universe} shows more.")


def complain_of_unknown_days(facts: Mapping[Any, Any]) -> None:
    """Complain of a day before the universe's history; takes the attrs of ``read.universe``."""
    universe, since = facts["universe"], facts["known_from"]
    if since is None:
        wanted = f"universe add {universe} AAPL MSFT" if facts["kind"] == CUSTOM else _IMPORT
        complain(f"{universe} has no members yet: quant-assets {wanted}.")
    elif facts["on"] < since:
        some = "; shown are those of later lists that had joined by then"
        earlier = (
            "A history imported with quant-assets universe import --history FILE may tell of "
            "earlier days."
        )
        complain(
            f"Members of {universe} are known from {since} on{some if facts['members'] else ''}. "
            f"{'It began then.' if facts['kind'] == CUSTOM else earlier}"
        )
    elif not facts["members"]:
        complain(f"{universe} had no members on {facts['on']}.")


_IMPORT = "universe import --from FILE"


def print_universes(frame: pd.DataFrame, form: Form) -> None:
    """The frame of ``read.universes``."""
    if form != "table":
        print_frame(frame, form)
        return
    if frame.empty:
        say(
            f"There are no universes yet. quant-assets {_IMPORT} imports an index, quant-assets "
            "universe create NAME makes one of your own."
        )
    rows = [
        {
            "universe": row.universe,
            "kind": row.kind,
            "members": row.members,
            "known from": _day(row.known_from),
            "updated": _day(row.updated_at),
            "source": f"{row.source} (a fallback)" if _text(row.passed_over) else row.source,
        }
        for row in frame.itertuples(index=False)
    ]
    print_rows("", rows)


def print_changes(frame: pd.DataFrame, form: Form) -> None:
    """The frame of ``read.universe_changes``, the newest last."""
    if form != "table":
        print_frame(frame, form)
        return
    rows = [
        {
            "detected": _day(row.detected_at),
            "effective": _day(row.effective_on),
            "announced": _day(row.announced_on),
            "universe": row.universe,
            "kind": row.kind,
            "symbol": f"{row.former_symbol} → {row.symbol}"
            if _text(row.former_symbol)
            else row.symbol,
            "source": row.source,
            "reason": _text(row.reason),
        }
        for row in frame.tail(SHOWN).itertuples(index=False)
    ]
    _print_distinct(rows)
    _say_left_out(len(rows), len(frame), "change")
    if not rows:
        say(
            "No such change is on record; an index has none before its second list. quant-assets "
            "universe import asks for one, quant-assets universe list shows when it was last done."
        )


def print_conflicts(frame: pd.DataFrame, form: Form) -> None:
    """The frame of ``read.universe_conflicts``."""
    if form != "table":
        print_frame(frame, form)
        return
    newest = frame.tail(SHOWN)
    for source, some in newest.groupby("source", sort=False):
        say(f"\n{source} says otherwise:")
        _print_distinct([_disagreement(row) for row in some.itertuples(index=False)])
    _say_left_out(len(newest), len(frame), "disagreement")
    if newest.empty:
        say(
            "No such disagreement is on record. Each further source, imported with quant-assets "
            f"{_IMPORT}, is compared with those before."
        )


def _disagreement(row: Any) -> dict[str, Any]:
    return {
        "universe": row.universe,
        "symbol": row.symbol,
        "it says": "member" if row.says_member else "no member",
        "from": _day(row.from_on),
        "until": _day(row.until_on),
        "why": row.cause,
        "we followed": row.decided_by,
    }


def _print_distinct(rows: Sequence[Mapping[str, Any]]) -> None:
    """Rows without the columns that are empty, and without the universe where all have the same."""
    empty = {key for key in (rows[0] if rows else ()) if all(row[key] == "" for row in rows)}
    if len({row["universe"] for row in rows}) == 1:
        empty.add("universe")
    print_rows("", [{k: v for k, v in row.items() if k not in empty} for row in rows])


def _say_left_out(shown: int, number: int, noun: str) -> None:
    if number > shown:
        say(f"The last {shown} of {counted(number, noun)}; --csv and --json have all.")


def print_changed(changed: CustomChange, form: Form) -> None:
    """What a command did to a universe of the user's own."""
    if form != "table":
        print_frame(pd.DataFrame([vars(each) for each in changed.changes], columns=_OUTCOME), form)
        return
    done: list[ChangeResult] = ["added", "removed"]
    told = [
        f"{len(those):,} {what} ({_some(those)})"
        for what in done
        if (those := changed.symbols(what))
    ]
    say(
        f"{changed.universe}: {'; '.join(told) or 'nothing to change'}. "
        f"It has {counted(changed.members, 'member')} now."
    )
    idle: list[ChangeResult] = ["already a member", "not a member", "invalid"]
    for what in idle:
        if those := changed.symbols(what):
            say(f"{what.capitalize()}: {_some(those)}.")
    for change in changed.changes:
        if change.note:
            say(f"{change.note}.")
    if changed.without_prices:
        say(
            f"Not loaded yet: {_some(changed.without_prices)}. quant-assets refresh --universe "
            f"{changed.universe} loads what is missing."
        )


_OUTCOME = ["symbol", "what", "note"]


def _some(symbols: Sequence[str]) -> str:
    more = f" and {len(symbols) - 10:,} more" if len(symbols) > 10 else ""
    return ", ".join(symbols[:10]) + more


def print_import(report: UniverseReport) -> None:
    """What an import made of a list of members."""
    say(
        f"{report.universe}: {counted(report.members, 'member')}, "
        f"{counted(len(report.intervals), 'interval')} in all; {len(report.added):,} added, "
        f"{len(report.removed):,} removed. Source: {report.source}."
    )
    for what, symbols in (
        ("Joined", report.added),
        ("Left", report.removed),
        ("Renamed", report.renamed),
        ("Not on the latest list; gone when the next one lacks them too", report.waiting),
    ):
        if symbols:
            say(f"{what}: {_some(symbols)}.")
    if report.conflicts:
        shown = f"quant-assets universe conflicts {report.universe} shows them"
        say(f"{counted(report.conflicts, 'disagreement')} of sources on record; {shown}.")
    for sentence in report.passed_over:
        complain(f"Note: a better source did not answer: {sentence}")
    for notice in report.notices:
        complain(f"Note: {notice}")


def print_import_rows(report: UniverseReport) -> None:
    """What an import changed, as CSV with a row a symbol."""
    changes = {"added": report.added, "removed": report.removed, "renamed": report.renamed}
    rows = [{"symbol": symbol, "what": what} for what, some in changes.items() for symbol in some]
    print_frame(pd.DataFrame(rows, columns=["symbol", "what"]), "csv")


def _day(value: object) -> str:
    return f"{value:%Y-%m-%d}" if isinstance(value, dt.date) and not pd.isna(value) else ""


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
