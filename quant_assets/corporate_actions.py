"""What a vendor's split, dividend and adjusted-close numbers say happened. Pure rules.

A vendor reports numbers, not events: spin-offs appear as dividends or as odd split factors, and a
stock split may be echoed in the dividend column. Here numbers become records with a kind, by rule
or by a decision someone wrote down, and keep what was reported beside what is applied.
"""

from __future__ import annotations

import csv
import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import pyarrow as pa

from quant_assets.tables import ACTION_KINDS

SNAP = 5e-6
"""Relative error up to which a vendor's 7.000007 is taken for 7."""

LARGEST_DENOMINATOR = 20
"""Plain ratios go down to the 21:20 of a five per cent stock dividend."""

SPLIT_FROM = 1.25
"""From a quarter of the shares on, a distribution of shares counts as a split, below it as a stock
dividend: New York Stock Exchange, Listed Company Manual, section 703.02."""

SMALLEST_YIELD = 3e-5
"""A step in adjusted over unadjusted close below this is rounding, not a distribution."""


class DecisionError(ValueError):
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
    """What someone found out about a vendor's numbers for one symbol and day.

    ``made_from`` names the number the record is made of, ``repeats`` the one that tells the same
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

    Raises DecisionError with the line of the first row that can't be followed.
    """
    found: dict[tuple[str, dt.date], list[Decision]] = {}
    with path.open(encoding="utf-8", newline="") as lines:
        for number, row in enumerate(csv.DictReader(lines), start=2):
            try:
                key = (row["symbol"], dt.date.fromisoformat(row["ex_date"]))
                decision = Decision(
                    kind=row["kind"],
                    made_from=row["made_from"],
                    repeats=row["repeats"],
                    ratio=float(row["ratio"]) if row["ratio"] else None,
                    amount=float(row["amount"]) if row["amount"] else None,
                    note=row["note"],
                    decided_by=path.name,
                )
            except (KeyError, TypeError, ValueError) as error:
                raise DecisionError(f"{path}, line {number}: {error}") from error
            _check(decision, f"{path}, line {number}")
            if any(other.kind == decision.kind for other in found.get(key, ())):
                raise DecisionError(
                    f"{path}, line {number}: {key[0]} has a second {decision.kind} on {key[1]}; "
                    "an event of one kind is one record."
                )
            found.setdefault(key, []).append(decision)
    return {key: tuple(decisions) for key, decisions in found.items()}


def _check(decision: Decision, where: str) -> None:
    if decision.kind not in ACTION_KINDS:
        raise DecisionError(
            f"{where}: {decision.kind!r} is no kind; the kinds are {', '.join(ACTION_KINDS)}."
        )
    if decision.made_from not in ("split", "dividend", "none"):
        raise DecisionError(f"{where}: made_from is split, dividend or none.")
    if decision.repeats not in ("split", "dividend", ""):
        raise DecisionError(f"{where}: repeats is split, dividend or empty.")
    if decision.made_from == "none" and decision.ratio is None and decision.amount is None:
        raise DecisionError(f"{where}: a record made from none needs a ratio or an amount.")


def plain_ratio(value: float) -> float | None:
    """``value`` as the plain fraction it stands for (7.000007 → 7), or None for an odd factor."""
    fraction = Fraction(value).limit_denominator(LARGEST_DENOMINATOR)
    plain = fraction.numerator / fraction.denominator
    return plain if plain > 0 and abs(plain / value - 1) <= SNAP else None


def records(reported: Iterable[Reported], decisions: Decisions) -> list[dict[str, object]]:
    """Corporate actions, as rows of ``sources.contract.ACTION_COLUMNS``.

    Without a decision the rule holds: a plain ratio is a split or a stock dividend, an odd one a
    spin-off reported as a factor, an amount a cash dividend.
    """
    rows: list[dict[str, object]] = []
    for numbers in reported:
        decided = decisions.get((numbers.symbol, numbers.ex_date), ())
        rows += [_decided(numbers, decision) for decision in decided]
        explained = {d.made_from for d in decided} | {d.repeats for d in decided}
        if numbers.ratio is not None and "split" not in explained:
            rows.append(_ruled_split(numbers, numbers.ratio))
        if numbers.amount is not None and "dividend" not in explained:
            rows.append(_record(numbers, "cash_dividend", amount=numbers.amount))
    return rows


def _decided(numbers: Reported, decision: Decision) -> dict[str, object]:
    effect: dict[str, float | None] = {}
    if decision.kind == "vendor_error":
        pass
    elif decision.amount is not None:
        effect["amount"] = decision.amount
    elif decision.made_from == "dividend":
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
    kind = "stock_dividend" if 1 < ratio < SPLIT_FROM else "split"
    return _record(numbers, kind, ratio=ratio, reports=("split",))


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


def distributions_from_adjusted_close(rows: pa.Table, convention: str) -> pa.Table:
    """Distributions that explain the steps of an adjusted close, one row a step.

    ``rows`` has symbol, session, close and adjusted_close, sorted by symbol and session, the closes
    free of splits. With f = adjusted / close and k = f₀ / f over consecutive rows, ``convention``
    ``previous_close`` (Yahoo, CRSP: k = 1 - D / P₀) gives D = P₀ (1 - k), and ``ex_close`` (here:
    k = P / (P + D)) gives D = P (1 / k - 1). Returns symbol, ex_date and amount.
    """
    symbol = rows["symbol"].to_numpy()
    close = rows["close"].to_numpy()
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = rows["adjusted_close"].to_numpy() / close
        step = factor[:-1] / factor[1:]
    same = (symbol[1:] == symbol[:-1]) & np.isfinite(step) & (step > 0)
    found = np.flatnonzero(same & (1 - step > SMALLEST_YIELD))
    if convention == "previous_close":
        amount = close[found] * (1 - step[found])
    else:
        amount = close[found + 1] * (1 / step[found] - 1)
    return pa.table(
        {
            "symbol": rows["symbol"].take(pa.array(found + 1)),
            "ex_date": rows["session"].take(pa.array(found + 1)),
            "amount": pa.array(amount),
        }
    )
