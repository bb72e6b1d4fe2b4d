"""Takes back one accepted list or one history: what it alone brought is undone, and everybody is
decided anew.

A list stays on record as refused. The history of the library and what was looked up stay.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence
from dataclasses import replace

import duckdb

from quant_assets.contracts.membership import UniverseAnswer
from quant_assets.membership.deciding.decision import decide
from quant_assets.membership.deciding.evidence import INTERVAL, LIBRARY
from quant_assets.membership.evidence_store import EvidenceStore, source_family
from quant_assets.membership.import_result import ImportResult
from quant_assets.membership.report import UniverseReport
from quant_assets.membership.stored import stored_memberships
from quant_assets.reference.errors import UsageError
from quant_assets.reference.identity import KnownIdentity
from quant_assets.reference.index_removals import LOOKED_UP
from quant_assets.securities.register import Register
from quant_assets.warehouse.warehouse import Warehouse
from quant_assets.warehouse.writing import Writing

TAKEN_BACK = "Taken back by a user."


class NoSuchListError(UsageError, LookupError):
    """No list, or more than one, that could be meant; ``lists`` are the latest accepted ones."""

    def __init__(self, universe: str, on: dt.date, several: bool, lists: list[str]) -> None:
        super().__init__(
            f"{'Several lists' if several else 'No list'} of {universe} of {on}"
            f"{'; name one with --source' if several else ' was accepted'}. The latest lists and "
            f"histories: {', '.join(lists) or 'none'}. Nothing was changed."
        )


def take_back(
    warehouse: Warehouse,
    universe: str,
    on: dt.date,
    known: Sequence[KnownIdentity],
    source: str | None = None,
) -> UniverseReport:
    """Take back the list of the day ``on``, or the history imported on it; with ``source``, that
    of this source.

    Raises NoSuchListError.
    """
    run = str(uuid.uuid4())
    with warehouse.writing(run, f"taking back a list of {universe}") as writing:
        lists = writing.con.execute(
            "select source, listed_on from membership_lists where universe = ? and accepted"
            " order by listed_on desc, source",
            [universe],
        ).fetchall()
        histories = _histories(writing.con, universe)
        meant = {name for name, day in (*lists, *histories) if day == on and source in (None, name)}
        if len(meant) != 1:
            shown = [f"{name} of {day}" for name, day in (*lists[:5], *histories[:5])]
            raise NoSuchListError(universe, on, len(meant) > 1, shown)
        [name] = meant
        return _without(writing, universe, name, on, known)


def _histories(con: duckdb.DuckDBPyConnection, universe: str) -> list[tuple[str, dt.date]]:
    """The imported histories with the days on which they first stated something, latest first."""
    return con.execute(
        "select distinct source, reported_on from membership_evidence where universe = $universe"
        " and kind = $kind and reported_on is not null and source <> $looked_up"
        " and not starts_with(source, $library) order by 2 desc, 1",
        {"universe": universe, "kind": INTERVAL, "looked_up": LOOKED_UP, "library": LIBRARY},
    ).fetchall()


def _without(
    writing: Writing, universe: str, source: str, on: dt.date, known: Sequence[KnownIdentity]
) -> UniverseReport:
    con = writing.con
    evidence = EvidenceStore.read(con, universe)
    before = stored_memberships(con, universe)
    register = Register.read(con, known, source)
    _note_taken_back(writing, universe, source, on)
    family = source_family(source)
    others = con.execute(
        "select source from membership_lists where universe = ? and accepted and listed_on = ?",
        [universe, on],
    ).fetchall()
    if on in evidence.days.get(family, ()) and all(source_family(n) != family for (n,) in others):
        evidence.remove_list(family, on)
    _forget_statements(con, evidence, source, on)
    concerned = evidence.securities | set(before) | evidence.touched
    for security in concerned:
        register.forget_names(security, on, evidence.tickers(security))
    decided = evidence.lists(register.known_since)
    decisions = {
        security: decide(
            evidence.of(security, register.known_since(security), register.ticker_of(security, on)),
            decided,
        )
        for security in sorted(concerned)
    }
    register.write(writing)
    evidence.write(writing)
    last = evidence.last_list()
    answer = UniverseAnswer(_source_of_last(con, universe) or source)
    result = ImportResult(universe, answer, before, decisions, (), last, last or on)
    return result.write(writing)


def _forget_statements(
    con: duckdb.DuckDBPyConnection, evidence: EvidenceStore, source: str, on: dt.date
) -> None:
    """Forget what a source stated first on a day, and what it lacked first on it.

    What the source's next page has as well stays, first reported by that page.
    """
    [(following,)] = con.execute(
        "select min(listed_on) from membership_lists"
        " where universe = ? and source = ? and accepted and listed_on > ?",
        [evidence.universe, source, on],
    ).fetchall()
    for security, several in list(evidence.statements.items()):
        rows = [s for s in several if s.source == source]
        first = [row for row in rows if row.reported_on == on]
        missed = [row for row in rows if row.until_on == on and row not in first]
        missed = [row for row in missed if row.kind != INTERVAL]
        if first or missed:
            kept = [s for s in several if s not in (*first, *missed)]
            kept += [replace(row, until_on=None) for row in missed]
            if following:
                kept += [replace(r, reported_on=following) for r in first if r.kind != INTERVAL]
            evidence.statements[security] = kept
            evidence.touched.add(security)


def _note_taken_back(writing: Writing, universe: str, source: str, on: dt.date) -> None:
    row = [universe, source, on]
    writing.con.execute(
        "delete from membership_lists where (universe, source, listed_on) = (?, ?, ?)"
        " and not accepted",
        row,
    )
    writing.con.execute(
        "update membership_lists set accepted = false, trusted = false, reason = ?"
        " where (universe, source, listed_on) = (?, ?, ?)",
        [TAKEN_BACK, *row],
    )


def _source_of_last(con: duckdb.DuckDBPyConnection, universe: str) -> str | None:
    rows = con.execute(
        "select source from membership_lists where universe = ? and accepted"
        " order by listed_on desc, fetched_at desc limit 1",
        [universe],
    ).fetchall()
    return rows[0][0] if rows else None
