"""Corporate actions from a vendor's ratios and amounts. Pure rules.

A vendor reports numbers, not events: spin-offs appear as dividends or as odd split factors, and a
stock split may be repeated in the dividend column. Here numbers become records with a kind, by rule
or by a decision written in a file, and keep the reported number beside the applied one.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

from quant_assets.price_rules.decisions import Decision, Decisions

SNAP = 5e-6
"""Relative error up to which a vendor's 7.000007 is taken for 7."""

LARGEST_DENOMINATOR = 20
"""The plainest ratio of a five per cent stock dividend is 21:20."""

SPLIT_FROM = 1.25
"""From a quarter of the shares on, a distribution of shares counts as a split, below it as a stock
dividend: New York Stock Exchange, Listed Company Manual, section 703.02."""


SPLIT_SEEN = "seen in prices told again in other shares"
SPIN_OFF_SEEN = "seen in prices told again lowered by one factor; to be confirmed"
"""Notes of events that no list names."""


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
class InferredEvent:
    """An event that only prices show, from ``ex_date`` on: a split into ``factor`` new shares for
    one old, or a spin-off, whose ``factor`` is the value before over that after.
    """

    ex_date: dt.date
    factor: float
    spin_off: bool = False


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


def inferred_action(event: InferredEvent, currency: str) -> dict[str, object]:
    """An event that no list names, as a row of ``ACTION_COLUMNS`` without a symbol."""
    effect = (
        {"kind": "spin_off", "value_factor": event.factor, "note": SPIN_OFF_SEEN}
        if event.spin_off
        else {"kind": split_kind(event.factor), "ratio": event.factor, "note": SPLIT_SEEN}
    )
    same = {"ex_date": event.ex_date, "basis_on": event.ex_date, "currency": currency}
    return {**same, **effect, "kind_by": "overlap"}
