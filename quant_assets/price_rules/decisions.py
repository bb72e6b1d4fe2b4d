"""Decisions of people about a vendor's numbers, read from a file."""

from __future__ import annotations

import csv
import datetime as dt
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from quant_assets.reference.errors import UsageError
from quant_assets.reference.identity import canonical_symbol
from quant_assets.schema.prices import ACTION_KINDS


class DecisionError(UsageError, ValueError):
    """A row of an action-kinds file that can't be followed."""


@dataclass(frozen=True)
class Decision:
    """A person's finding about a vendor's numbers for one symbol and day.

    ``made_from`` names the number the record is made of, ``repeats`` the one that reports the same
    event again. ``ratio`` (of a spin-off, a value factor) and ``amount`` are numbers that the
    vendor leaves out or gets wrong.
    """

    kind: str
    made_from: str
    repeats: str
    ratio: float | None
    amount: float | None
    note: str
    decided_by: str


Decisions = Mapping[tuple[str, dt.date], tuple[Decision, ...]]


def read_decisions(path: Path) -> Decisions:
    """Read an action-kinds file; its columns are explained in ``docs/data-quality.md``.

    Raises DecisionError for a file that can't be read, and with the line of the first row that
    can't be followed.
    """
    found: dict[tuple[str, dt.date], list[Decision]] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines)
            for row in reader:
                key, decision = _read_decision(row, path, reader.line_num)
                if any(other.kind == decision.kind for other in found.get(key, ())):
                    raise DecisionError(
                        f"{path}, line {reader.line_num}: {key[0]} has a second {decision.kind} "
                        f"on {key[1]}; an event of one kind is one record."
                    )
                found.setdefault(key, []).append(decision)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DecisionError(f"{path} can't be read as CSV in UTF-8: {error}") from error
    return {key: tuple(decisions) for key, decisions in found.items()}


def _read_decision(
    row: Mapping[str, str], path: Path, line: int
) -> tuple[tuple[str, dt.date], Decision]:
    where = f"{path}, line {line}"
    try:
        key = (
            canonical_symbol(row["symbol"]),
            dt.date.fromisoformat((row["ex_date"] or "").strip()),
        )
        decision = Decision(
            kind=row["kind"],
            made_from=row["made_from"],
            repeats=row.get("repeats") or "",
            ratio=float(row["ratio"]) if row.get("ratio") else None,
            amount=float(row["amount"]) if row.get("amount") else None,
            note=row.get("note") or "",
            decided_by=path.name,
        )
    except KeyError as error:
        raise DecisionError(f"{where}: there is no column {error.args[0]}.") from error
    except ValueError as error:
        raise DecisionError(f"{where}: {error}") from error
    _check(decision, where)
    return key, decision


def _check(decision: Decision, where: str) -> None:
    if decision.kind not in ACTION_KINDS:
        raise DecisionError(
            f"{where}: {decision.kind!r} is no kind; the kinds are {', '.join(ACTION_KINDS)}."
        )
    if decision.made_from not in ("split", "dividend", "none"):
        raise DecisionError(f"{where}: made_from is split, dividend or none.")
    if decision.repeats not in ("split", "dividend", ""):
        raise DecisionError(f"{where}: repeats is split, dividend or empty.")
    for name, number in (("ratio", decision.ratio), ("amount", decision.amount)):
        if number is not None and not (math.isfinite(number) and number > 0):
            raise DecisionError(f"{where}: {name} is a positive number, not {number}.")
    if decision.made_from == "none" and decision.ratio is None and decision.amount is None:
        raise DecisionError(f"{where}: a record made from none needs a ratio or an amount.")
