"""The register of securities: each security exists once, under all of its names.

Membership lists and price archives give symbols; the register turns symbols into securities and
keeps ``securities`` and ``symbol_history`` in step. Doing so twice changes nothing, and the order
in which lists and archives arrive does not matter. What a symbol means on a day is decided by
``reference.identity``.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from quant_assets.contracts.membership import MembershipInterval
from quant_assets.reference.identity import KnownIdentity, Name, UnknownSymbolError, resolve
from quant_assets.securities.records import SecurityRecords

JOINED_ANEW = dt.timedelta(days=100)
"""A member that joins an index this long after the last bearer of its ticker left the index is
another company, unless somebody looked it up."""

EDITED_EARLY = dt.timedelta(days=10)
"""How long before a ticker changes a list may have the new ticker."""

PAUSE = dt.timedelta(days=30)
"""A company that trades is not without prices for so long."""


class Register(SecurityRecords):
    """The securities that symbols mean, by what is on record and what was looked up."""

    def security_on(
        self, symbol: str, day: dt.date, traded: tuple[dt.date, dt.date] | None = None
    ) -> int:
        """The security that ``symbol`` names on ``day``; a new one is added.

        ``traded`` are the first and last session that it is known to have traded. A ticker whose
        bearers were all looked up, and that none of them bore that day, is that of another company:
        of a newcomer that is on record under it from a later day, else of a new security. Raises
        UnknownSymbolError if it traded on days of another bearer.
        """
        known = [i for i in self._known[symbol] if i.covers(day)]
        if known:
            return self._from_slug(known[0])
        bearers = self.bearers(symbol)
        on_record = [n for n in bearers if n.covers(day)]
        if on_record:
            return on_record[0].security_id
        newcomer = self.newcomer(symbol, day, traded)
        if newcomer is not None:
            return newcomer
        if self._is_free(bearers, traded):
            return self.add_successor(symbol, traded[0] if traded else day)
        if not self._known[symbol]:
            return self._by_trading(bearers, symbol, day, traded)
        first, last = traded or (day, day)
        if any(name.overlaps(first, last) for name in bearers):
            raise UnknownSymbolError(symbol, bearers)
        later = [name.valid_from for name in bearers if name.valid_from > last]
        return self._add(symbol, first, min(later, default=None))

    def newcomer(
        self, symbol: str, day: dt.date, traded: tuple[dt.date, dt.date] | None = None
    ) -> int | None:
        """The company on record under a used ticker from a later day than ``day``, where it may
        well have had the ticker before.

        A list dates a newcomer by its own day, and a company trades long before an index takes it
        in. One that had another ticker on ``day`` is a renamed company, and was not called so yet.
        """
        bearers = self.bearers(symbol)
        later = next((n for n in bearers if n.valid_from > day), None)
        if later is None or later is bearers[0]:
            return None
        number = later.security_id
        if self._securities[number].slug or self.ticker_of(number, day) is not None:
            return None
        first, last = traded or (day, day)
        others = [n for n in bearers if n.security_id != number]
        if later.valid_from <= day + EDITED_EARLY:
            first = last
        return None if any(n.overlaps(first, last) for n in others) else number

    def _by_trading(
        self,
        bearers: Sequence[Name],
        symbol: str,
        day: dt.date,
        traded: tuple[dt.date, dt.date] | None,
    ) -> int:
        """The only one of ``bearers`` on whose days a ticker traded that nobody looked up; another
        company where it traded only long after they all gave it up.
        """
        if not bearers:
            return self._add(symbol, day, None)
        within = {n.security_id for n in bearers if traded and n.overlaps(*traded)}
        ends = [n.valid_to or dt.date.max - JOINED_ANEW for n in bearers]
        if traded and traded[0] > max(ends) + JOINED_ANEW:
            return self.add_successor(symbol, traded[0])
        return within.pop() if len(within) == 1 else resolve(bearers, symbol, day, day)

    def _is_free(self, bearers: Sequence[Name], traded: tuple[dt.date, dt.date] | None) -> bool:
        """Whether the last of ``bearers`` was delisted before the days ``traded``."""
        last = max(bearers, key=lambda name: name.valid_from, default=None)
        if last is None or last.valid_to is None or traded is None:
            return False
        delisted = self._securities[last.security_id].delisted_on is not None
        return delisted and traded[0] >= last.valid_to

    def bearers(self, symbol: str) -> list[Name]:
        """Every dated name of ``symbol``, in order, those looked up by hand included."""
        for identity in self._known[symbol]:
            self._from_slug(identity)
        return sorted(self._names[symbol], key=lambda name: name.valid_from)

    def bearer(self, symbol: str, day: dt.date) -> Name | None:
        """The name ``symbol`` on ``day``, else the last one before, else the first one after."""
        names = self.bearers(symbol)
        held = [name for name in names if name.covers(day)]
        before = [name for name in names if name.valid_from <= day]
        return next(iter(held), None) or next(iter(before[-1:] or names[:1]), None)

    def looked_up(self, symbol: str, day: dt.date) -> int | None:
        """The security that ``symbol`` means on ``day``, or will mean soon, where somebody looked
        that up; lists are edited early.
        """
        known = self._known[symbol]
        exact = [i for i in known if i.covers(day)]
        soon = [i for i in known if day < i.valid_from <= day + EDITED_EARLY]
        return self._from_slug((exact or soon)[0]) if exact or soon else None

    def rename(self, security_id: int, symbol: str, on: dt.date) -> None:
        """Give the security the ticker ``symbol`` from ``on``, in place of its former ticker."""
        own = [name for name in self._names_of(security_id) if name.covers(on)]
        for name in own:
            if name.symbol != symbol:
                self._end(name, on)
        if all(name.symbol != symbol for name in own):
            self._give(symbol, on, security_id)

    def forget_names(self, security_id: int, on: dt.date, proven: Collection[str]) -> None:
        """Forget the tickers that a security was given on ``on``, except those ``proven``, and give
        those that ended on that day back to their bearers; what was looked up stays.
        """
        slug = self._securities[security_id].slug
        kept = {*proven, *(i.symbol for i in self.known if slug and i.slug == slug)}
        own = [n for n in self._names_of(security_id) if n.valid_from == on]
        for given in [n for n in own if n.symbol not in kept]:
            self._end(given, on)
            ended = [n for n in self._names[given.symbol] if n.valid_to == on]
            for name in [*ended, *(n for n in self._names_of(security_id) if n.valid_to == on)]:
                self._replace(name, replace(name, valid_to=given.valid_to))

    def add_successor(self, symbol: str, on: dt.date, last_known: dt.date | None = None) -> int:
        """Add a security that bears ``symbol`` from ``on``, in place of the bearer before, whose
        name ends after the day it was ``last_known`` under it.
        """
        security_id = self._new_security()
        self._give(symbol, on, security_id, last_known)
        return security_id

    def identify_intervals(
        self,
        intervals: Iterable[MembershipInterval],
        joined: Mapping[int, dt.date] | None = None,
    ) -> list[tuple[MembershipInterval, int]]:
        """The security of each interval; an interval is cut where its symbol changed hands.

        ``joined`` are the days on which present members joined, by security.
        """
        by_symbol: dict[str, list[MembershipInterval]] = defaultdict(list)
        for interval in intervals:
            by_symbol[interval.symbol].append(interval)
        own: dict[str, list[MembershipInterval]] = defaultdict(list)
        for symbol, several in by_symbol.items():
            if len(slugs := {identity.slug for identity in self._known[symbol]}) == 1:
                own[slugs.pop()] += several
        found: list[tuple[MembershipInterval, int]] = []
        for symbol, several in by_symbol.items():
            known = self._known[symbol]
            ordered = sorted(several, key=lambda interval: interval.effective_on)
            for interval in ordered:
                if interval.slug or (known and not _joined_anew(interval, known)):
                    found += self._split(
                        interval, known, own if len({i.slug for i in known}) > 1 else {}
                    )
                else:
                    # Without better knowledge a ticker that comes back is another company: two
                    # histories kept apart can be joined later, joined ones can't be told apart.
                    security = self._guess(interval, joined or {}, last=interval is ordered[-1])
                    found.append((interval, security))
        return found

    def note_first_session(self, security_id: int, first_session: dt.date) -> None:
        """Let the earliest name of a security begin on ``first_session``, unless another had it.

        A name that nobody looked up begins at the earliest when the bearer before gave it up.
        """
        earliest = min(self._names_of(security_id), key=lambda name: name.valid_from)
        if first_session >= earliest.valid_from:
            return
        others = [n for n in self._names[earliest.symbol] if n.security_id != security_id]
        if self._securities[security_id].slug is None:
            ends = [n.valid_to for n in others if n.valid_to and n.valid_to <= earliest.valid_from]
            first_session = max([first_session, *ends])
        if not any(n.overlaps(first_session, earliest.valid_from) for n in others):
            self._replace(earliest, replace(earliest, valid_from=first_session))

    def note_heirs(self, symbol: str, days: Iterable[dt.date]) -> None:
        """Give ``days``, on which a symbol traded after a bearer gave it up and before another had
        it, to the newcomer on record; those long after, following a pause, to another company.
        """
        bearers = self.bearers(symbol)
        unborne: dict[dt.date, list[dt.date]] = defaultdict(list)
        for day in sorted(days):
            ends = [name.valid_to for name in bearers if name.valid_to and name.valid_to <= day]
            if ends and not any(name.covers(day) for name in bearers):
                unborne[max(ends)].append(day)
        for given_up, traded in unborne.items():
            security = self.newcomer(symbol, traded[0], (traded[0], traded[-1]))
            if security is not None:
                self.note_first_session(security, traded[0])
                continue
            last, *late = [given_up, *traded]
            while late and late[0] <= given_up + JOINED_ANEW:
                last, *late = late
            if late and late[0] > last + PAUSE and self._known[symbol]:
                self.security_on(symbol, late[0], (late[0], late[-1]))

    def _split(
        self,
        interval: MembershipInterval,
        known: Sequence[KnownIdentity],
        own: Mapping[str, Sequence[MembershipInterval]],
    ) -> list[tuple[MembershipInterval, int]]:
        """Share an interval out among the known bearers of its symbol.

        Lists back-date tickers: days before the first bearer in the interval are given to it (or to
        the next one to come), days after a bearer to the one before, unless the next one existed by
        then. A bearer with intervals of its ``own``, by slug, is no member a second time.
        """
        if interval.slug:
            bearers = [i for i in self.known if i.slug == interval.slug]
            return [(interval, self._from_slug(bearers[0]))] if bearers else []
        end = interval.removed_on or dt.date.max
        within = [
            i
            for i in known
            if i.valid_from < end and (i.valid_to or dt.date.max) > interval.effective_on
        ]
        others = [i for i in within if not any(_both(i, interval, o) for o in own.get(i.slug, ()))]
        if within and not others:
            others = [i for i in known if i.valid_from >= end][:1] or within
        within = others
        if not within:
            later = [i for i in known if i.valid_from >= end]
            within = later[:1] or list(known[-1:])
        starts = [interval.effective_on]
        for before, identity in pairwise(within):
            since = min(i.valid_from for i in self.known if i.slug == identity.slug)
            starts.append(max(before.valid_to or identity.valid_from, since))
        ends = [*starts[1:], interval.removed_on]
        return [
            (
                replace(
                    interval,
                    effective_on=start,
                    removed_on=end,
                    company=interval.company if identity is within[-1] else None,
                ),
                self._from_slug(identity),
            )
            for identity, start, end in zip(within, starts, ends, strict=True)
        ]

    def _guess(
        self, interval: MembershipInterval, joined: Mapping[int, dt.date], *, last: bool
    ) -> int:
        """The security of a symbol that nobody looked up, added where there is none; ``last`` is
        whether the interval is the symbol's last.
        """
        symbol, start = interval.symbol, interval.effective_on
        until = (interval.removed_on or dt.date.max) - dt.timedelta(days=1)
        for name in self._names[symbol]:
            present = joined.get(name.security_id)
            if present and start - JOINED_ANEW <= present <= until and start < name.valid_from:
                # A list dated the ticker of the present member by its own day.
                for other in [n for n in self._names[symbol] if n.covers(start)]:
                    self._replace(other, replace(other, valid_to=start))
                self._replace(name, replace(name, valid_from=start))
                return name.security_id
        for name in self._names[symbol]:
            if name.overlaps(start, until):
                if start < name.valid_from:
                    self._replace(name, replace(name, valid_from=start))
                return name.security_id
        if not last:
            return self._add(symbol, start, interval.removed_on)
        # Leaving an index is not leaving the exchange: only a successor ends a name. So the last
        # interval belongs to the later bearer of the ticker, where an archive was read before.
        later = [name for name in self._names[symbol] if name.valid_from > until]
        if not later:
            return self._add(symbol, start, None)
        bearer = min(later, key=lambda name: name.valid_from)
        if joined.get(bearer.security_id, dt.date.min) > until + JOINED_ANEW:
            return self._add(symbol, start, bearer.valid_from)
        self._replace(bearer, replace(bearer, valid_from=start))
        return bearer.security_id


def _both(identity: KnownIdentity, interval: MembershipInterval, other: MembershipInterval) -> bool:
    """Whether two intervals overlap in days on which ``identity`` was borne."""
    ends = (identity.valid_to, interval.removed_on, other.removed_on)
    start = max(identity.valid_from, interval.effective_on, other.effective_on)
    return start < min(end or dt.date.max for end in ends)


def _joined_anew(interval: MembershipInterval, known: Sequence[KnownIdentity]) -> bool:
    """Whether an interval begins so long after the last known bearer of its symbol that it is of
    another company.
    """
    ends = [identity.valid_to for identity in known]
    return (
        interval.effective_on > max(end or dt.date.max - JOINED_ANEW for end in ends) + JOINED_ANEW
    )
