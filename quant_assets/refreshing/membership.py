"""Ask the sources of an index for its members, and import the first answer that is believed.

A source that can't answer, or whose list is refused, is passed over and named in the report. Which
list is believed is decided in ``membership.take_over``.
"""

from __future__ import annotations

import datetime as dt
import uuid
from dataclasses import dataclass, replace

from quant_assets.contracts.membership import UniverseAnswer, UniverseSource
from quant_assets.contracts.source import SourceError
from quant_assets.loading.tasks import withdraw_of_former_tickers
from quant_assets.membership.deciding.evidence import AHEAD
from quant_assets.membership.refusals import PLAUSIBLE_SIZE, RefusedUniverseError
from quant_assets.membership.report import UniverseReport
from quant_assets.membership.take_over import import_universe
from quant_assets.sources.index_members.chain import MembershipChain
from quant_assets.wiring.platform import Platform
from quant_assets.wiring.sources import SIMULATED

INDEX = "sp500"


def refresh_membership(
    platform: Platform,
    universe: str = INDEX,
    source: UniverseSource | None = None,
    *,
    on: dt.date | None = None,
    accept: bool = False,
    run_id: str | None = None,
) -> UniverseReport:
    """Import the members of ``universe`` from ``source``, by default from the sources of the
    settings and their history file.

    ``on`` is the day of the list, by default the list's own day, else today in UTC. With ``accept``
    no list is refused. Raises NoListsError; SourceError where no source answers; and
    RefusedUniverseError where the only list is refused. One refused list among several is named in
    ``passed_over``.
    """
    refresh = _Refresh(platform, universe, on, accept, run_id)
    notices = [] if source else refresh.import_history()
    source = source or platform.universe_source()
    if isinstance(source, MembershipChain):
        report = refresh.import_first_believed(source)
    else:
        report = refresh.import_answer(source, source.fetch_universe())
    return replace(report, notices=(*notices, *_ahead(platform), *report.notices))


def _ahead(platform: Platform) -> list[str]:
    """A sentence on a list in force from a day to come: later lists change nothing until then."""
    accepted, today = platform.last_accepted(), platform.clock().date()
    if accepted is None or accepted[0] <= today + dt.timedelta(days=1):
        return []
    return [
        f"A list of {accepted[0]} is in force, and today is {today}: until then no list brings a "
        f"change. Take it back with quant-assets universe take-back --on {accepted[0]}."
    ]


def _without_days_to_come(answer: UniverseAnswer, today: dt.date) -> UniverseAnswer:
    """An answer whose history tells of no day farther ahead than a change is announced: members
    that join later are left out, those that leave later are members still.
    """
    last = today + AHEAD
    later = [i for i in answer.intervals if max(i.effective_on, i.removed_on or today) > last]
    if not later:
        return answer
    kept = (
        replace(i, removed_on=None) if i.removed_on and i.removed_on > last else i
        for i in answer.intervals
        if i.effective_on <= last
    )
    until = f" to {later[0].removed_on}" if later[0].removed_on else ""
    which = f"{later[0].symbol} from {later[0].effective_on}{until}"
    notice = (
        f"{answer.source}: {len(later)} row{'s'[: len(later) > 1]} with a day after {last} that "
        f"nobody can know yet, such as {which}; the day was left out."
    )
    return replace(answer, intervals=tuple(kept), notices=(*answer.notices, notice))


@dataclass(frozen=True)
class _Refresh:
    platform: Platform
    universe: str
    on: dt.date | None
    accept: bool
    run_id: str | None

    def import_first_believed(self, chain: MembershipChain) -> UniverseReport:
        """Import the first answer that is not refused; the chain raises after its last answer."""
        answers = chain.answers()
        while True:
            answer = next(answers)
            try:
                self._refuse_older(answer)
                return self.import_answer(chain, answer)
            except RefusedUniverseError as error:
                answers.refuse(error.why)

    def _refuse_older(self, answer: UniverseAnswer) -> None:
        """Raises RefusedUniverseError for a fallback whose list is older than the accepted one."""
        accepted = self.platform.last_accepted()
        fallback = answer.passed_over and answer.constituents
        if fallback and answer.listed_on and accepted and answer.listed_on < accepted[0]:
            listed, in_force = answer.listed_on, accepted[0]
            why = f"Its list of {listed} is older than that of {in_force}, in force here."
            raise RefusedUniverseError(self.universe, answer.source, why)

    def import_history(self) -> list[str]:
        """Import the history file; its notices. An unreadable file is a notice, not an error."""
        history = self.platform.universe_history()
        if history is None:
            return []
        try:
            return list(self.import_answer(history, history.fetch_universe()).notices)
        except SourceError as error:
            return [f"The history of {self.universe} was not read: {error}"]

    def import_answer(self, source: UniverseSource, answer: UniverseAnswer) -> UniverseReport:
        """Import an answer; before the members of the index, the history of the library."""
        answer = _without_days_to_come(answer, self.platform.clock().date())
        notices = self._import_bundled() if self._is_of_index(answer) else []
        report = self._import(source, answer)
        return replace(report, notices=(*notices, *report.notices))

    def _is_of_index(self, answer: UniverseAnswer) -> bool:
        """Whether an answer has so many members that a history of the index goes with them."""
        lasting = [i for i in answer.intervals if i.removed_on is None]
        size = len(answer.constituents or lasting)
        return self.universe == INDEX and size in PLAUSIBLE_SIZE[INDEX]

    def _import_bundled(self) -> list[str]:
        history = self.platform.bundled_history()
        if history is None:
            return []
        try:
            # Its days are its own, whatever the day of the list.
            return list(replace(self, on=None)._import(history, history.fetch_universe()).notices)
        except SourceError as error:
            return [f"The history of {self.universe} in a library was not read: {error}"]

    def _import(self, source: UniverseSource, answer: UniverseAnswer) -> UniverseReport:
        least, most = self.platform.settings.universe.sizes
        run, warehouse = self.run_id or str(uuid.uuid4()), self.platform.warehouse
        report = import_universe(
            warehouse,
            replace(answer, listed_on=self.on or answer.listed_on),
            self.platform.identities(source),
            universe=self.universe,
            on=self.platform.clock().date(),
            # A simulated index may have any size.
            accept=self.accept or answer.source == SIMULATED,
            sizes=range(least, most + 1) if self.universe == INDEX else None,
            run_id=run,
        )
        if report.renamed:
            with warehouse.writing(run, f"import of {self.universe}") as writing:
                withdraw_of_former_tickers(writing)
        return report
