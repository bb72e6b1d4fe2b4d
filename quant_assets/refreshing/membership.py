"""A look at the index: the sources of the settings asked, what they say taken over.

The first source whose list is believed has the word; one that can't answer, or is refused, is
passed over and said so. What is believed is for ``universe`` to say.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace

from quant_assets.contracts.membership import UniverseAnswer, UniverseSource
from quant_assets.contracts.source import SourceError
from quant_assets.membership.refusals import RefusedUniverseError
from quant_assets.membership.report import UniverseReport
from quant_assets.membership.take_over import import_universe
from quant_assets.sources.index_members.chain import MembershipChain
from quant_assets.wiring.platform import SIMULATED, Platform

INDEX = "sp500"


@dataclass(frozen=True)
class Look:
    """How to look at a universe: ``on`` is the day of the list, by default its own, else today;
    with ``accept`` a list is believed whatever it says.
    """

    platform: Platform
    universe: str = INDEX
    on: dt.date | None = None
    accept: bool = False
    run_id: str | None = None

    def at(self, source: UniverseSource | None = None) -> UniverseReport:
        """Ask who belongs and take it over: from ``source``, else from the sources of the settings
        and their list of dated stays.

        Raises NoListsError, SourceError where none answers, and RefusedUniverseError where the only
        list there is is not believed; refusals of one of several are among ``passed_over``.
        """
        notices = [] if source else self._take_over_history()
        asked = source or self.platform.universe_source()
        if isinstance(asked, MembershipChain):
            report = self._take_over_first(asked)
        else:
            report = self._take_over(asked, asked.fetch_universe())
        return replace(report, notices=(*notices, *report.notices))

    def _take_over_first(self, chain: MembershipChain) -> UniverseReport:
        """Take over the first answer that is believed; the chain raises after the last."""
        answers = chain.answers()
        while True:
            answer = next(answers)
            try:
                self._refuse_older(answer)
                return self._take_over(chain, answer)
            except RefusedUniverseError as error:
                answers.refuse(error.why)

    def _refuse_older(self, answer: UniverseAnswer) -> None:
        """Raises RefusedUniverseError for a fallback that knows less than what is here."""
        held = self.platform.last_accepted()
        fallback = answer.passed_over and answer.constituents
        if fallback and answer.listed_on and held and answer.listed_on < held[0]:
            why = f"Its list of {answer.listed_on} is older than that of {held[0]}, in force here."
            raise RefusedUniverseError(self.universe, answer.source, why)

    def _take_over_history(self) -> list[str]:
        """Take over the list of dated stays; what goes wrong costs the members nothing."""
        history = self.platform.universe_history()
        if history is None:
            return []
        try:
            return list(self._take_over(history, history.fetch_universe()).notices)
        except SourceError as error:
            return [f"The history of {self.universe} was not read: {error}"]

    def _take_over(self, source: UniverseSource, answer: UniverseAnswer) -> UniverseReport:
        least, most = self.platform.settings.universe.sizes
        return import_universe(
            self.platform.warehouse,
            replace(answer, listed_on=self.on or answer.listed_on),
            self.platform.identities(source),
            universe=self.universe,
            on=self.platform.clock().date(),
            # A made-up index may have any size.
            accept=self.accept or answer.source == SIMULATED,
            sizes=range(least, most + 1) if self.universe == INDEX else None,
            run_id=self.run_id,
        )
