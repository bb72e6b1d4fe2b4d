"""Corporate actions from a vendor's split, dividend and adjusted-close numbers. Pure rules.

A vendor reports numbers, not events: spin-offs appear as dividends or as odd split factors, and a
stock split may be repeated in the dividend column. Here numbers become records with a kind, by rule
or by a decision written in a file, and keep the reported number beside the applied one.
"""

from __future__ import annotations

import csv
import datetime as dt
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quant_assets.reference.errors import UsageError
from quant_assets.reference.identity import canonical_symbol
from quant_assets.schema.prices import ACTION_KINDS

SNAP = 5e-6
"""Relative error up to which a vendor's 7.000007 is taken for 7."""

LARGEST_DENOMINATOR = 20
"""The plainest ratio of a five per cent stock dividend is 21:20."""

SPLIT_FROM = 1.25
"""From a quarter of the shares on, a distribution of shares counts as a split, below it as a stock
dividend: New York Stock Exchange, Listed Company Manual, section 703.02."""

SMALLEST_YIELD = 3e-5
"""A step in adjusted over unadjusted close below this is rounding, not a distribution."""


class DecisionError(UsageError, ValueError):
    """A row of an action-kinds file that can't be followed."""


@dataclass(frozen=True)
class Reported:
    """A vendor's numbers for one symbol and day; the amount per share of ``basis_on``."""

    symbol: str
    ex_date: dt.date
    ratio: float | None
    amount: float | None
    basis_on: dt.date
    currency: str = "USD"


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


def plain_ratio(value: float) -> float | None:
    """``value`` as the plain fraction it stands for (7.000007 → 7, 0.04 → 1/25), or None for an odd
    factor."""
    if not math.isfinite(value) or value <= 0:
        return None
    if value < 1:
        # Reverse splits have large denominators, but take a plain number of old shares for one new.
        inverse = plain_ratio(1 / value)
        return 1 / inverse if inverse else None
    fraction = Fraction(value).limit_denominator(LARGEST_DENOMINATOR)
    plain = fraction.numerator / fraction.denominator
    return plain if abs(plain / value - 1) <= SNAP else None


def records(reported: Iterable[Reported], decisions: Decisions) -> list[dict[str, object]]:
    """Corporate actions, as rows of ``contracts.prices.ACTION_COLUMNS``.

    Without a decision the rule holds: a plain ratio is a split or a stock dividend, an odd one a
    spin-off reported as a factor, an amount a cash dividend.
    """
    rows: list[dict[str, object]] = []
    for numbers in reported:
        decided = decisions.get((numbers.symbol, numbers.ex_date), ())
        rows += [
            _decided(numbers, decision) for decision in decided if _concerns(decision, numbers)
        ]
        explained = {d.made_from for d in decided} | {d.repeats for d in decided}
        if numbers.ratio is not None and "split" not in explained:
            rows.append(_ruled_split(numbers, numbers.ratio))
        if numbers.amount is not None and "dividend" not in explained:
            rows.append(_record(numbers, "cash_dividend", amount=numbers.amount))
    return rows


def _concerns(decision: Decision, numbers: Reported) -> bool:
    """Whether there is a number to record: the one it is made of, or one of its own."""
    if decision.ratio is not None or decision.amount is not None:
        return True
    return (numbers.ratio if decision.made_from == "split" else numbers.amount) is not None


def _decided(numbers: Reported, decision: Decision) -> dict[str, object]:
    effect: dict[str, float | None] = {}
    if decision.kind == "vendor_error":
        pass
    elif decision.amount is not None:
        effect["amount"] = decision.amount
    elif decision.made_from == "dividend" and decision.ratio is None:
        effect["amount"] = numbers.amount
    else:
        factor = decision.ratio if decision.ratio is not None else numbers.ratio
        if decision.kind == "spin_off":
            effect["value_factor"] = factor
        elif factor is not None:
            effect["ratio"] = plain_ratio(factor) or factor
    return _record(
        numbers,
        decision.kind,
        reports=(decision.made_from, decision.repeats),
        kind_by=decision.decided_by,
        note=decision.note,
        **effect,
    )


def _ruled_split(numbers: Reported, factor: float) -> dict[str, object]:
    ratio = plain_ratio(factor)
    if ratio is None:
        return _record(numbers, "spin_off", value_factor=factor, reports=("split",))
    return _record(numbers, split_kind(ratio), ratio=ratio, reports=("split",))


def split_kind(ratio: float) -> str:
    """The kind of a distribution of shares: ``ratio`` new shares for each old one."""
    return "stock_dividend" if 1 < ratio < SPLIT_FROM else "split"


def _record(
    numbers: Reported,
    kind: str,
    *,
    ratio: float | None = None,
    amount: float | None = None,
    value_factor: float | None = None,
    reports: tuple[str, ...] = ("dividend",),
    kind_by: str = "rule",
    note: str | None = None,
) -> dict[str, object]:
    return {
        "symbol": numbers.symbol,
        "ex_date": numbers.ex_date,
        "kind": kind,
        "ratio": ratio,
        "amount": amount,
        "value_factor": value_factor,
        "currency": numbers.currency,
        "basis_on": numbers.basis_on,
        "reported_ratio": numbers.ratio if "split" in reports else None,
        "reported_amount": numbers.amount if "dividend" in reports else None,
        "kind_by": kind_by,
        "note": note,
    }


def eventful(numbers: pa.Table) -> pa.Table:
    """Rows that report something: a ``split`` other than 0 and 1, or a ``dividend`` other than 0.

    A number that is missing, null or NaN, reports nothing.
    """
    split, dividend = numbers["split"], numbers["dividend"]
    reports = (
        pc.and_(
            pc.not_equal(split, 1.0), pc.and_(pc.not_equal(split, 0.0), pc.equal(split, split))
        ),
        pc.and_(pc.not_equal(dividend, 0.0), pc.equal(dividend, dividend)),  # NaN is not itself
    )
    return numbers.filter(pc.or_(*(pc.fill_null(mask, False) for mask in reports)))


Numbers = dict[tuple[str, dt.date], tuple[float | None, float | None]]


def numbers_by_day(events: pa.Table, *, add_up: bool) -> tuple[Numbers, list[dict[str, str]]]:
    """Ratio and amount of each symbol and day, and the unusable numbers, each with a reason.

    ``events`` has symbol, session, split and dividend. Of equal lines one counts. Lines
    of one day that differ are several events in a file of actions (``add_up``: amounts add up,
    ratios multiply), and a contradiction in a file of prices.
    """
    lines: dict[tuple[str, dt.date], dict[tuple[float | None, float | None], None]] = {}
    for row in events.to_pylist():
        key, line = (row["symbol"], row["session"]), (row["split"], row["dividend"])
        lines.setdefault(key, {})[line] = None
    found: Numbers = {}
    unusable: list[dict[str, str]] = []
    for (symbol, day), pairs in lines.items():
        splits = [split for split, _ in pairs if split not in (None, 0.0, 1.0)]
        dividends = [dividend for _, dividend in pairs if dividend not in (None, 0.0)]
        numbers: list[float | None] = []
        for name, given in (("split", splits), ("dividend", dividends)):
            number, reason = _one_number(name, [n for n in given if n is not None], add_up=add_up)
            numbers.append(number)
            if reason:
                raw = json.dumps({"symbol": symbol, "session": str(day), name: given})
                row = {"symbol": symbol, "session": str(day), "reason": reason, "raw": raw}
                unusable.append(row)
        if numbers != [None, None]:
            found[symbol, day] = (numbers[0], numbers[1])
    return found, unusable


def _one_number(name: str, reported: list[float], *, add_up: bool) -> tuple[float | None, str]:
    """The number of a day, and the reason why some of those reported don't count."""
    if len(reported) == 1 and 0 < reported[0] < math.inf:  # nearly always
        return reported[0], ""
    given = [number for number in reported if not math.isnan(number)]
    possible = [number for number in given if 0 < number < math.inf]
    reason = f"{name} is not positive and finite" if len(possible) < len(given) else ""
    if not add_up and len(set(possible)) > 1:
        return None, f"another row of the same symbol and session has another {name}"
    usable = possible if add_up else possible[:1]
    combine = math.prod if name == "split" else math.fsum
    return (combine(usable) if usable else None), reason


def distributions_from_adjusted_close(rows: pa.Table, convention: str) -> pa.Table:
    """Distributions that explain the steps of an adjusted close, one row a step.

    ``rows`` has symbol, session, close and adjusted_close, sorted by symbol and session, the closes
    free of splits; or as traded, with a column split, and amounts are per share of the ex-date.
    With f = adjusted / close and k = f₀ / f over consecutive rows, ``convention``
    ``previous_close`` (Yahoo, CRSP: k = 1 - D / P₀) gives D = P₀ (1 - k), and ``ex_close`` (here:
    k = P / (P + D)) gives D = P (1 / k - 1). Returns symbol, ex_date and amount.
    """
    symbol = rows["symbol"].to_numpy()
    close = rows["close"].to_numpy()
    with np.errstate(divide="ignore", invalid="ignore"):
        before = close[:-1]
        if "split" in rows.column_names:
            split = rows["split"].to_numpy()[1:]
            before = before / np.where(np.isfinite(split) & (split > 0), split, 1.0)
        adjusted = rows["adjusted_close"].to_numpy()
        step = (adjusted[:-1] / before) / (adjusted[1:] / close[1:])
    same = (symbol[1:] == symbol[:-1]) & np.isfinite(step) & (step > 0)
    found = np.flatnonzero(same & (1 - step > SMALLEST_YIELD))
    if convention == "previous_close":
        amount = before[found] * (1 - step[found])
    else:
        amount = close[found + 1] * (1 / step[found] - 1)
    return pa.table(
        {
            "symbol": rows["symbol"].take(pa.array(found + 1)),
            "ex_date": rows["session"].take(pa.array(found + 1)),
            "amount": pa.array(amount),
        }
    )
