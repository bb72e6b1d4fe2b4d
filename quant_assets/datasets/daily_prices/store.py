"""One answer of a source into the warehouse: validate → compare → store.

What a row must be is said in ``quality``, whose it is in ``answers``, what a difference means in
``overlap``; here they follow one another, and the result is written. The transaction, and what is
known of the load as a whole, are ``loading``'s.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc

from quant_assets.contracts.prices import PriceAnswer
from quant_assets.contracts.source import SourceError, SourceProfile
from quant_assets.datasets.daily_prices.account import outcomes, symbol_reports
from quant_assets.datasets.daily_prices.compare import Compared, compared
from quant_assets.datasets.daily_prices.identify import Identified, first_of_each, identify
from quant_assets.loading.report import SymbolReport
from quant_assets.loading.work import Plan
from quant_assets.price_rules.row_rules import check_actions, check_prices
from quant_assets.reference.calendars import Calendar
from quant_assets.reference.identity import KnownIdentity
from quant_assets.schema.loads import QUARANTINE
from quant_assets.schema.prices import CORPORATE_ACTIONS, DAILY_PRICES
from quant_assets.schema.row_rules import Checked
from quant_assets.schema.table import Table
from quant_assets.securities.instruments import describe_securities
from quant_assets.securities.register import Register
from quant_assets.warehouse.writing import Upserted, Writing


class HeldLoadError(SourceError):
    """What a source says of a symbol now can't be squared with what it said before."""


@dataclass(frozen=True)
class Valid:
    """An answer with its rows and actions checked, and the newest session closed by then."""

    answer: PriceAnswer
    prices: Checked
    actions: Checked
    last_closed: dt.date


Stored = tuple[PriceAnswer, Mapping[str, int], list[SymbolReport]]
"""The answer, with the symbols that are held among its failures; the securities it named, by
symbol; and what became of each symbol."""


@dataclass(frozen=True)
class Storing:
    """How the answers of one source are stored; with ``accept`` no symbol is held."""

    profile: SourceProfile
    calendar: Calendar
    identities: Sequence[KnownIdentity]
    accept: bool = False

    def validated(self, answer: PriceAnswer, now: dt.datetime) -> Valid:
        """The answer checked row by row; no connection is needed."""
        last_closed = self.calendar.last_closed_session(now)
        prices = check_prices(answer.rows, self.calendar, last_closed)
        return Valid(answer, prices, check_actions(answer.actions), last_closed)

    def store(self, writing: Writing, valid: Valid, planned: Plan) -> Stored:
        """Write rows, actions, ledger and quarantine of one answer."""
        answer, source = valid.answer, self.profile.name
        register = Register.read(writing.con, self.identities, source)
        identified = identify(answer, valid.prices.accepted, register, self.profile.names_on)
        describe_securities(register, answer.instruments, identified.securities)
        register.write(writing)
        found = self._compared(writing, identified, valid.actions)
        answer, identified = _without_held(answer, identified, found, source)
        stored = self._write(writing, found, valid.last_closed)
        rejected = pa.concat_tables([valid.prices.rejected, identified.rejected, answer.unreadable])
        self._quarantine(writing, DAILY_PRICES, rejected)
        self._quarantine(writing, CORPORATE_ACTIONS, valid.actions.rejected)
        became = outcomes(answer, identified, rejected, planned)
        writing.record_outcomes(DAILY_PRICES, source, became.drop_columns(["symbol"]))
        reports = symbol_reports(
            answer,
            identified,
            stored,
            rejected=pa.concat_tables([rejected, valid.actions.rejected]),
            became=became,
            planned=planned,
        )
        return answer, identified.securities, reports

    def _compared(self, writing: Writing, identified: Identified, actions: Checked) -> Compared:
        events = identified.keyed(actions.accepted, "ex_date")
        return compared(
            writing.con,
            self.profile,
            identified.keyed(identified.accepted, "session"),
            first_of_each(events, ("security_id", "ex_date", "kind")),
            identified.symbols,
            accept=self.accept,
        )

    def _write(self, writing: Writing, found: Compared, last_closed: dt.date) -> Upserted:
        source: dict[str, object] = {"source": self.profile.name}
        prices, same = found.rows, dict(source)
        if self.profile.live:
            prices = self._provisional(writing, prices, last_closed)
        else:
            same["provisional"] = False
        currencies = prices["currency"].unique()
        if len(currencies) == 1:
            # Said once for all rows: a million equal texts take as long as the prices.
            same["currency"] = currencies[0].as_py()
            prices = prices.drop_columns(["currency"])
        stored = writing.upsert(DAILY_PRICES, prices, constants=same, differences=found.differences)
        writing.clear_outcomes(DAILY_PRICES, self.profile.name, list(stored.by_security))
        writing.upsert(
            CORPORATE_ACTIONS,
            found.actions,
            constants=source,
            supersede=("security_id", "ex_date", "source"),
        )
        return stored

    def _provisional(self, writing: Writing, prices: pa.Table, newest: dt.date) -> pa.Table:
        """``prices`` with the newest session marked where it is seen for the first time."""
        seen = writing.con.execute(
            "select security_id from daily_prices where source = ? and session = ?",
            [self.profile.name, newest],
        ).fetchall()
        is_newest = pc.equal(prices["session"], pa.scalar(newest, pa.date32()))
        was_seen = pc.is_in(prices["security_id"], pa.array([row[0] for row in seen], pa.int32()))
        return prices.append_column("provisional", pc.and_(is_newest, pc.invert(was_seen)))

    def _quarantine(self, writing: Writing, meant_for: Table, rejected: pa.Table) -> None:
        writing.upsert(
            QUARANTINE,
            rejected.group_by(rejected.column_names).aggregate([]),
            constants={"source": self.profile.name, "dataset": meant_for.name},
        )


def _without_held(
    answer: PriceAnswer, identified: Identified, found: Compared, source: str
) -> tuple[PriceAnswer, Identified]:
    """The answer as if the source had failed on the symbols that are held."""
    names = identified.symbols
    held = {
        names[security]: HeldLoadError(source, f"{names[security]}: {why}")
        for security, why in found.holds.items()
    }
    if not held:
        return answer, identified
    return replace(answer, failures={**answer.failures, **held}), identified.without(held)
