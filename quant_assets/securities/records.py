"""Securities and their names as stored, with what is to be written back.

What a symbol means on a day is not decided here but in ``register``.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import duckdb

from quant_assets.contracts.membership import Constituent
from quant_assets.contracts.prices import Instrument
from quant_assets.reference.calendars import ALWAYS_OPEN
from quant_assets.reference.identity import KnownIdentity, Name
from quant_assets.schema.securities import SECURITIES, SYMBOL_HISTORY
from quant_assets.schema.table import CURRENCIES
from quant_assets.securities.names import names_about, read_names
from quant_assets.securities.profiles import Security, write_profiles
from quant_assets.warehouse.writing import Writing

MANY_SYMBOLS = 1_000
"""Symbols from which the whole register is read as fast as what bears on them."""


@dataclass
class SecurityRecords:
    """All securities and their names, with what is to be written back.

    ``known`` are identities that were looked up by hand or given by a source; they come before any
    guess. ``source`` is written with each name.
    """

    known: Sequence[KnownIdentity]
    source: str
    _securities: dict[int, Security] = field(default_factory=dict)
    _names: dict[str, list[Name]] = field(default_factory=lambda: defaultdict(list))
    _changed_names: set[str] = field(default_factory=set)
    _changed_securities: set[int] = field(default_factory=set)
    _known: dict[str, list[KnownIdentity]] = field(default_factory=lambda: defaultdict(list))
    _symbols: dict[int, set[str]] = field(default_factory=lambda: defaultdict(set))
    _last_id: int = 0

    def __post_init__(self) -> None:
        for identity in sorted(self.known, key=lambda i: i.valid_from):
            self._known[identity.symbol].append(identity)

    @classmethod
    def read(
        cls,
        con: duckdb.DuckDBPyConnection,
        known: Sequence[KnownIdentity],
        source: str,
        symbols: Collection[str] | None = None,
    ) -> Self:
        """The register as stored; with ``symbols`` only what bears on them, which is enough to say
        what they mean and to add them.
        """
        register = cls(known, source)
        columns = ", ".join(Security.__dataclass_fields__)
        which, bound = "", {}
        if symbols is None or len(symbols) > MANY_SYMBOLS:
            names = read_names(con)
        else:
            names = names_about(con, symbols, known)
            which = " where slug is not null or security_id in (select unnest($ids))"
            bound = {"ids": list({name.security_id for name in names})}
        for row in con.execute(
            f"select {columns} from securities{which}",  # noqa: S608 - our own field names
            bound,
        ).fetchall():
            security = Security(*row)
            register._securities[security.security_id] = security
        for name in names:
            register._note(name)
        [(last,)] = con.execute("select coalesce(max(security_id), 0) from securities").fetchall()
        register._last_id = last
        return register

    def names(self) -> list[Name]:
        return [name for names in self._names.values() for name in names]

    def _names_of(self, security_id: int) -> list[Name]:
        names = (name for symbol in self._symbols[security_id] for name in self._names[symbol])
        return [name for name in names if name.security_id == security_id]

    def _note(self, name: Name) -> None:
        self._names[name.symbol].append(name)
        self._symbols[name.security_id].add(name.symbol)

    def is_looked_up(self, symbol: str) -> bool:
        return bool(self._known[symbol])

    def cik_of(self, security_id: int) -> str | None:
        return self._securities[security_id].cik

    def name_of(self, security_id: int) -> str | None:
        return self._securities[security_id].name

    def bears(self, security_id: int, symbol: str, day: dt.date) -> bool:
        names = self._names.get(symbol, ())
        return any(name.security_id == security_id and name.covers(day) for name in names)

    def ticker_of(self, security_id: int, day: dt.date) -> str | None:
        """The ticker of a security on ``day``."""
        return next((n.symbol for n in self._names_of(security_id) if n.covers(day)), None)

    def _give(
        self, symbol: str, on: dt.date, security_id: int, last_known: dt.date | None = None
    ) -> None:
        names = self._names[symbol]
        for name in [n for n in names if n.covers(on)]:
            known_until = last_known + dt.timedelta(days=1) if last_known else on
            self._end(name, min(known_until, on) if known_until > name.valid_from else on)
        later = [name.valid_from for name in names if name.valid_from > on]
        self._note(Name(symbol, on, min(later, default=None), security_id))
        self._changed_names.add(symbol)

    def _end(self, name: Name, on: dt.date) -> None:
        """End a name on ``on``; a name that would have no day is dropped."""
        if name.valid_from < on:
            self._replace(name, replace(name, valid_to=on))
        else:
            self._names[name.symbol].remove(name)
            self._changed_names.add(name.symbol)

    def known_since(self, security_id: int) -> dt.date | None:
        """The first day of a security, where it was looked up by hand."""
        slug = self._securities[security_id].slug
        if slug is None:
            return None
        return min((i.valid_from for i in self.known if i.slug == slug), default=None)

    def describe(self, security_id: int, constituent: Constituent) -> None:
        """Take over the name, sector, industry and CIK of a list; a missing one keeps the old."""
        old = self._securities[security_id]
        self._keep(
            replace(
                old,
                name=constituent.name or old.name,
                sector=constituent.sector or old.sector,
                industry=constituent.industry or old.industry,
                cik=constituent.cik.zfill(10) if constituent.cik else old.cik,
            )
        )

    def describe_instrument(self, security_id: int, instrument: Instrument) -> None:
        """Take over what a source knows of the security. Its type, exchange and currency come from
        the source alone; a name is taken only where there is none.
        """
        old = self._securities[security_id]
        self._keep(
            replace(
                old,
                type=instrument.type or old.type,
                exchange=ALWAYS_OPEN if instrument.type == "crypto" else old.exchange,
                currency=instrument.currency if instrument.currency in CURRENCIES else old.currency,
                name=old.name or instrument.name,
                listed_on=old.listed_on or instrument.first_trade_on,
            )
        )

    def write(self, writing: Writing) -> None:
        """Write back what changed."""
        changed = [self._securities[number] for number in sorted(self._changed_securities)]
        writing.upsert(SECURITIES, SECURITIES.arrow([vars(s) for s in changed]))
        names = [name for symbol in sorted(self._changed_names) for name in self._names[symbol]]
        rows: list[dict[str, object]] = [
            {
                "symbol": name.symbol,
                "valid_from": name.valid_from,
                "valid_to": name.valid_to,
                "security_id": name.security_id,
                "source": self.source,
            }
            for name in names
        ]
        writing.upsert(SYMBOL_HISTORY, SYMBOL_HISTORY.arrow(rows), supersede=("symbol",))
        # A symbol without a name left has no row that could supersede its old ones.
        if gone := [symbol for symbol in self._changed_names if not self._names[symbol]]:
            writing.con.execute(
                "delete from symbol_history where symbol in (select unnest($gone))", {"gone": gone}
            )
        write_profiles(writing, changed, self.source)
        self._changed_names.clear()
        self._changed_securities.clear()

    def _from_slug(self, identity: KnownIdentity) -> int:
        """The security of a known identity, once all its names are on record."""
        rows = [i for i in self.known if i.slug == identity.slug]
        security_id = next(
            (s.security_id for s in self._securities.values() if s.slug == identity.slug), None
        )
        if security_id is None:
            security_id = self._new_security(rows[-1].company, rows[-1].cik, identity.slug)
        for row in rows:
            own = [n for n in self._names[row.symbol] if n.security_id == security_id]
            held = [n for n in own if n.covers(row.valid_from)]
            if not held:
                name = Name(row.symbol, row.valid_from, row.valid_to, security_id, row.company)
                self._note(name)
                self._changed_names.add(row.symbol)
            elif held[0].valid_to != row.valid_to and (
                row.valid_to or not self._gave_up(security_id, held[0])
            ):
                # The name was in use when it was recorded, and has been given up since.
                self._replace(held[0], replace(held[0], valid_to=row.valid_to))
        return security_id

    def _gave_up(self, security_id: int, name: Name) -> bool:
        """Whether a security was delisted, or got another ticker when ``name`` ended, since
        somebody looked it up.
        """
        delisted = self._securities[security_id].delisted_on is not None
        return delisted or any(n.valid_from == name.valid_to for n in self._names_of(security_id))

    def _add(self, symbol: str, start: dt.date, end: dt.date | None) -> int:
        security_id = self._new_security()
        self._note(Name(symbol, start, end, security_id))
        self._changed_names.add(symbol)
        return security_id

    def _new_security(
        self, name: str | None = None, cik: str | None = None, slug: str | None = None
    ) -> int:
        self._last_id += 1
        security_id = self._last_id
        self._keep(Security(security_id, name=name, cik=cik, slug=slug))
        return security_id

    def _replace(self, old: Name, new: Name) -> None:
        names = self._names[old.symbol]
        names[names.index(old)] = new
        self._changed_names.add(old.symbol)

    def _keep(self, security: Security) -> None:
        if self._securities.get(security.security_id) != security:
            self._securities[security.security_id] = security
            self._changed_securities.add(security.security_id)
