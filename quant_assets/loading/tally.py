"""What a load has come to so far, counted until it becomes its report."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from quant_assets.contracts.source import Answer
from quant_assets.loading.report import SymbolReport
from quant_assets.loading.work import Plan


@dataclass
class Tally:
    """The reports of symbols so far, and the symbols that no request is made for.

    ``failed`` counts the symbols with a failed day; ``silent`` counts by day the symbols of which
    the source said nothing.
    """

    reports: list[SymbolReport] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    failed: int = 0
    silent: Counter[dt.date] = field(default_factory=Counter)
    up_to_date: int = 0
    left: dict[str, str] = field(default_factory=dict)
    postponed: tuple[str, ...] = ()

    def take_plan(self, plan: Plan) -> None:
        """Count the symbols that are not requested."""
        self.up_to_date += len(plan.up_to_date)
        self.left |= plan.left
        self.postponed += plan.postponed

    def take_answer(self, answer: Answer, reports: Sequence[SymbolReport]) -> None:
        self.notices += answer.notices
        self.reports += reports
        self.failed += sum(bool(report.failed) for report in reports)
        self.silent.update(day for report in reports for day in report.silent)
