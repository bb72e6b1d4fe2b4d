"""Daily prices and corporate actions: what is due, what an answer must be, where it goes."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from quant_assets.contracts.prices import PRICE_COLUMNS, PriceAnswer, PriceProfile
from quant_assets.contracts.source import SourceError, SourceProfile
from quant_assets.datasets.daily_prices.account import ledger_rows, symbol_reports
from quant_assets.datasets.daily_prices.compare import compare_events_and_rows
from quant_assets.datasets.daily_prices.due import OnSessions
from quant_assets.datasets.daily_prices.events import reaches
from quant_assets.datasets.daily_prices.foreign_amounts import without_rate
from quant_assets.datasets.daily_prices.identify import identify
from quant_assets.datasets.daily_prices.spin_offs import spin_offs_by_security
from quant_assets.datasets.daily_prices.store import (
    forget_doubts,
    quarantine,
    store_rows,
    without_blocked,
)
from quant_assets.loading.dataset import Stored
from quant_assets.loading.report import SymbolReport
from quant_assets.loading.work import Plan
from quant_assets.price_rules.row_rules import check_actions, check_prices
from quant_assets.reference.calendars import Calendar
from quant_assets.reference.identity import KnownIdentity
from quant_assets.reference.spin_offs import KnownSpinOff
from quant_assets.schema.prices import CORPORATE_ACTIONS, DAILY_PRICES
from quant_assets.schema.row_rules import Checked
from quant_assets.securities.delistings import note_delistings
from quant_assets.securities.instruments import describe_securities, note_asked
from quant_assets.securities.register import Register
from quant_assets.warehouse.writing import Writing


@dataclass(frozen=True)
class CheckedPrices:
    """An answer with its rows and actions checked, and the newest session closed by then."""

    answer: PriceAnswer
    prices: Checked
    actions: Checked
    last_closed: dt.date


@dataclass(frozen=True)
class DailyPrices:
    """The prices of one source on one calendar.

    ``identities`` are dated names known beforehand. Where prices differ from the stored ones as if
    by a split that the source does not list, the symbol is blocked; with ``accept`` the source is
    believed. ``spin_offs`` are known whatever a live source lists.
    """

    profile: PriceProfile
    calendar: Calendar
    identities: Sequence[KnownIdentity] = ()
    accept: bool = False
    spin_offs: Sequence[KnownSpinOff] = ()

    name = DAILY_PRICES.name
    tables = (DAILY_PRICES, CORPORATE_ACTIONS)

    @property
    def rule(self) -> OnSessions:
        return OnSessions(self.calendar)

    def no_answer(self, symbols: Sequence[str], failures: Mapping[str, SourceError]) -> PriceAnswer:
        return PriceAnswer(tuple(symbols), PRICE_COLUMNS.empty_table(), failures=failures)

    def part(self, answer: PriceAnswer, symbols: Sequence[str]) -> PriceAnswer:
        return answer.part(symbols)

    def check(self, answer: PriceAnswer, now: dt.datetime) -> CheckedPrices:
        last_closed = self.calendar.last_closed_session(now)
        prices = check_prices(answer.rows, self.calendar, last_closed)
        return CheckedPrices(answer, prices, check_actions(answer.actions), last_closed)

    def store(self, writing: Writing, checked: CheckedPrices, plan: Plan) -> Stored[PriceAnswer]:
        """Identify → compare → write rows, actions, quarantine and ledger of one answer."""
        answer, source = checked.answer, self.profile.name
        register = Register.read(writing.con, self.identities, source, answer.symbols)
        identified = identify(answer, checked.prices.accepted, register, self.profile.names_on)
        describe_securities(register, answer.instruments, identified.securities)
        register.write(writing)
        found = compare_events_and_rows(
            writing.con,
            self.profile,
            identified,
            checked.actions.accepted,
            reaches(answer, identified, plan),
            spin_offs=spin_offs_by_security(writing.con, self.spin_offs)
            if self.profile.live
            else {},
            accept=self.accept,
        )
        answer, identified = without_blocked(answer, identified, found, source)
        answer = replace(answer, notices=(*answer.notices, *found.notices))
        stored = store_rows(writing, self.profile, found, checked.last_closed)
        unusable = [
            checked.prices.rejected,
            identified.rejected,
            answer.unreadable,
            found.doubted,
        ]
        rejected = pa.concat_tables(unusable)
        forget_doubts(writing, source, identified.accepted, rejected)
        quarantine(writing, source, DAILY_PRICES, rejected)
        quarantine(writing, source, CORPORATE_ACTIONS, checked.actions.rejected)
        absent = ledger_rows(answer, identified, rejected, plan)
        writing.record_outcomes(DAILY_PRICES, source, absent.drop_columns(["symbol"]))
        if self.profile.live:
            known = {instrument.symbol for instrument in answer.instruments}
            answered = [request for request in plan.requests if request.symbol in known]
            note_asked(
                writing,
                self.name,
                source,
                answered,
                instruments=answer.instruments,
                securities=identified.securities,
            )
        rejected = pa.concat_tables([rejected, checked.actions.rejected])
        reports = symbol_reports(
            answer, identified, stored, rejected=rejected, absent=absent, plan=plan
        )
        return Stored(answer, reports, rejected)

    def finished(
        self, writing: Writing, source: SourceProfile, reports: Sequence[SymbolReport]
    ) -> Sequence[str]:
        """Securities that a live source confirms to be no longer traded are noted as delisted;
        amounts paid in another currency than the prices are worth a notice.
        """
        notices = without_rate(writing, source.name)
        if source.live:
            requested = {report.security_id for report in reports}
            notices += note_delistings(writing, self.calendar, source.name, requested)
        return notices
