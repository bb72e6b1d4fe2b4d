"""How symbol-days get into the warehouse: plan → fetch → validate → store → record.

One function a stage, top to bottom, for any source that keeps the contract. A chunk of symbols is
fetched with no connection open, then stored in one short transaction together with the record that
it arrived: a kill at any moment loses nothing committed and leaves nothing half.
"""

from __future__ import annotations

import datetime as dt
import json
import uuid
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quant_assets.calendars import Calendar
from quant_assets.identity import (
    AmbiguousSymbolError,
    KnownIdentity,
    Name,
    UnknownSymbolError,
    known_identities,
    resolve,
)
from quant_assets.quality import REJECTED, Checked, check_prices
from quant_assets.securities import Register, read_names
from quant_assets.sources.contract import (
    PriceAnswer,
    PriceRequest,
    PriceSource,
    SourceProfile,
)
from quant_assets.tables import (
    CORPORATE_ACTIONS,
    DAILY_PRICES,
    LOAD_RUN_SYMBOLS,
    LOAD_RUNS,
    QUARANTINE,
    SOURCES,
)
from quant_assets.warehouse import Upserted, Warehouse, Writing


class MixedMarketsError(Exception):
    """Simulated rows on their way into real data, or the other way round."""

    def __init__(self, incoming: str, held: str) -> None:
        super().__init__(
            f"The warehouse holds rows of {held}; loading {incoming} would mix a simulated market "
            "with a real one. Use another data folder (QUANT_ASSETS_HOME), or say "
            "--allow-mixing if that is what you want."
        )


class OpenSessionError(ValueError):
    """A load asked for sessions that have not closed."""

    def __init__(self, start: dt.date, last_closed: dt.date) -> None:
        super().__init__(
            f"No session from {start} on has closed yet; the last closed one is {last_closed}. "
            "Nothing was asked for and nothing stored."
        )


@dataclass(frozen=True)
class Window:
    """Symbols over ``start`` to ``end``, both included; what a user or a partition asks for."""

    symbols: tuple[str, ...]
    start: dt.date
    end: dt.date


@dataclass(frozen=True)
class Plan:
    """What a load will ask a source for.

    ``requests`` are due, ``settled`` symbols have everything already. ``sessions`` are those of the
    window that have closed; ``refused`` symbols can't be asked for, each with the reason.
    """

    window: Window
    sessions: tuple[dt.date, ...]
    requests: tuple[PriceRequest, ...]
    settled: tuple[str, ...]
    refused: Mapping[str, str] = field(default_factory=dict)
    due: int = 0

    def asked(self, request: PriceRequest) -> tuple[dt.date, ...]:
        """The sessions a request covers."""
        first = bisect_left(self.sessions, request.start)
        return self.sessions[first : bisect_right(self.sessions, request.end)]


@dataclass(frozen=True)
class SymbolReport:
    """What became of one symbol, in symbol-days and rows."""

    symbol: str
    security_id: int | None
    requested: int
    inserted: int = 0
    revised: int = 0
    unchanged: int = 0
    quarantined: int = 0
    empty: int = 0
    failed: int = 0
    first_session: dt.date | None = None
    last_session: dt.date | None = None
    error: str | None = None

    @property
    def completeness(self) -> float:
        """Symbol-days present or confirmed empty, over those requested; 1.0 of none."""
        return 1 - (self.failed / self.requested) if self.requested else 1.0


@dataclass(frozen=True)
class LoadReport:
    """What a load did, in total and symbol by symbol; kept in ``load_runs``.

    ``settled`` counts the symbols that had everything already; they were not asked for.
    """

    run_id: str
    source: str
    window: Window
    started_at: dt.datetime
    finished_at: dt.datetime
    symbols: tuple[SymbolReport, ...]
    settled: int
    notices: tuple[str, ...] = ()
    dry_run: bool = False

    def total(self, name: str) -> int:
        """The sum of a count over all symbols, such as ``inserted``."""
        return sum(getattr(report, name) for report in self.symbols)

    @property
    def needs_attention(self) -> bool:
        """Whether something failed, was quarantined or is worth a notice."""
        return bool(self.notices) or self.total("failed") > 0 or self.total("quarantined") > 0

    def to_json(self) -> str:
        totals = {n: self.total(n) for n in _COUNTS} | {"settled": self.settled}
        values = {**asdict(self), "totals": totals, "needs_attention": self.needs_attention}
        values["seconds"] = round((self.finished_at - self.started_at).total_seconds(), 3)
        return json.dumps(values, default=str)


_COUNTS = ("requested", "inserted", "revised", "unchanged", "quarantined", "empty", "failed")

Progress = Callable[[int, int, str], None]
"""Called with symbols done, symbols in all, and what is happening."""


def plan(
    warehouse: Warehouse,
    source: SourceProfile,
    window: Window,
    calendar: Calendar,
    *,
    force: bool = False,
) -> Plan:
    """Find out what is due: sessions neither present nor confirmed empty for this source.

    A symbol is asked for over the span of its due sessions, one request a symbol. With ``force``
    everything is due. Raises OpenSessionError where no session of the window has closed.
    """
    last_closed = calendar.last_closed_session(warehouse.clock())
    if window.start > last_closed:
        raise OpenSessionError(window.start, last_closed)
    sessions = calendar.between(window.start, min(window.end, last_closed))
    names, missing = _stand(warehouse, source, sessions)
    requests, settled, refused, due = [], [], {}, 0
    for symbol in window.symbols:
        try:
            days = _due(names.get(symbol, ()), symbol, source.names_on, sessions, missing)
        except (AmbiguousSymbolError, UnknownSymbolError) as error:
            refused[symbol] = str(error)
            continue
        days = list(sessions) if force else days
        due += len(days)
        if days:
            requests.append(PriceRequest(symbol, min(days), max(days)))
        else:
            settled.append(symbol)
    return Plan(window, sessions, tuple(requests), tuple(settled), refused, due)


def _stand(
    warehouse: Warehouse, source: SourceProfile, sessions: Sequence[dt.date]
) -> tuple[dict[str, list[Name]], dict[int, list[dt.date]]]:
    """Names on record by symbol, and the missing sessions of each security that has any row.

    A security without a row in the window is absent from the answer: all of it is missing.
    """
    names: dict[str, list[Name]] = {}
    if not warehouse.exists() or not sessions:
        return names, {}
    with warehouse.reading() as con:
        for name in read_names(con):
            names.setdefault(name.symbol, []).append(name)
        con.register("sessions", pa.table({"session": pa.array(sessions, pa.date32())}))
        rows = con.execute(
            "with seen as ("
            "  select security_id, session from daily_prices"
            "  where source = $source and session between $first and $last"
            "  union all select security_id, session from symbol_day_ledger"
            "  where dataset = 'daily_prices' and source = $source and outcome = 'empty'"
            "  and session between $first and $last"
            "), counted as (select security_id, count(*) as n from seen group by 1),"
            "short as (select security_id from counted where n < (select count(*) from sessions)),"
            "missing as ("
            "  select security_id, session from short cross join sessions"
            "  except select security_id, session from seen)"
            "select security_id, list(m.session) filter (m.session is not null)"
            " from counted left join missing m using (security_id) group by 1",
            {"source": source.name, "first": sessions[0], "last": sessions[-1]},
        ).fetchall()
    return names, {row[0]: row[1] or [] for row in rows}


def _due(
    names: Sequence[Name],
    symbol: str,
    names_on: dt.date | None,
    sessions: Sequence[dt.date],
    missing: Mapping[int, Sequence[dt.date]],
) -> list[dt.date]:
    """The sessions of a symbol to ask for; all of them where it is not on record.

    A source that speaks the symbol of the day tells a symbol's companies apart by the day; for one
    that speaks the symbols of one day, that day decides.
    """
    if not names or not sessions:
        return list(sessions)
    if names_on is not None or len({name.security_id for name in names}) == 1:
        on = names_on or sessions[0]
        return list(missing.get(resolve(names, symbol, on, on), sessions))
    return [
        day
        for name in names
        for day in missing.get(name.security_id, sessions)
        if name.overlaps(day, day)
    ]


def load(
    warehouse: Warehouse,
    source: PriceSource,
    window: Window,
    calendar: Calendar,
    *,
    force: bool = False,
    dry_run: bool = False,
    fail_fast: bool = False,
    allow_mixing: bool = False,
    identities: Sequence[KnownIdentity] | None = None,
    run_id: str | None = None,
    on_progress: Progress = lambda done, total, what: None,
) -> LoadReport:
    """Bring the warehouse up to date with ``source`` for ``window``.

    Returns a LoadReport; a second call finds nothing due and writes nothing. One bad symbol never
    costs another its data; with ``fail_fast`` the first one ends the load instead. Raises
    MixedMarketsError, OpenSessionError, SourceError where the source as a whole can't answer, and
    WarehouseError; what was stored before stays.
    """
    run = _Run(
        warehouse,
        source.profile,
        window,
        calendar,
        tuple(identities if identities is not None else known_identities()),
        run_id or str(uuid.uuid4()),
        warehouse.clock(),
    )
    run.check_market(allow_mixing)
    planned = plan(warehouse, source.profile, window, calendar, force=force)
    if dry_run or not (planned.requests or planned.refused):
        return run.report(planned, dry_run=dry_run)
    run.begin(planned)
    done, total = len(planned.settled), len(window.symbols)
    on_progress(done, total, "asking the source")
    for answer in _answers(source, planned.requests):
        run.store(answer, planned)
        done += len(answer.symbols)
        on_progress(done, total, answer.symbols[-1] if answer.symbols else "")
        if fail_fast and run.failures:
            break
    return run.finish(planned)


def _answers(source: PriceSource, requests: Sequence[PriceRequest]) -> Iterator[PriceAnswer]:
    if requests:
        yield from source.fetch(requests)


@dataclass
class _Run:
    """One load under way: stores answers, collects what became of each symbol."""

    warehouse: Warehouse
    profile: SourceProfile
    window: Window
    calendar: Calendar
    identities: tuple[KnownIdentity, ...]
    run_id: str
    started_at: dt.datetime
    reports: list[SymbolReport] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    failures: int = 0

    def check_market(self, allow_mixing: bool) -> None:
        if allow_mixing or not self.warehouse.exists():
            return
        with self.warehouse.reading() as con:
            other = con.execute(
                "select source from sources where simulated <> ? limit 1", [self.profile.simulated]
            ).fetchone()
        if other:
            raise MixedMarketsError(self.profile.name, other[0])

    def begin(self, planned: Plan) -> None:
        with self.warehouse.writing(self.run_id, f"load from {self.profile.name}") as writing:
            writing.upsert(SOURCES, _source_row(self.profile))
            writing.upsert(LOAD_RUNS, self._totals(planned, None))
        for symbol, reason in planned.refused.items():
            self._note(
                SymbolReport(
                    symbol, None, len(planned.sessions), failed=len(planned.sessions), error=reason
                )
            )

    def store(self, answer: PriceAnswer, planned: Plan) -> None:
        """Validate one answer and commit it whole: rows, actions, ledger, quarantine, summary."""
        last_closed = self.calendar.last_closed_session(self.warehouse.clock())
        checked = check_prices(answer.rows, self.calendar, last_closed)
        with self.warehouse.writing(self.run_id, f"load from {self.profile.name}") as writing:
            register = Register.read(writing.con, self.identities, self.profile.name)
            identified = _identify(answer, checked, register, self.profile.names_on)
            register.write(writing)
            reports = self._store(writing, answer, checked, identified, planned)
            writing.upsert(LOAD_RUN_SYMBOLS, _symbol_rows(self.run_id, reports))
        self.notices += answer.notices
        for report in reports:
            self._note(report)

    def _store(
        self,
        writing: Writing,
        answer: PriceAnswer,
        checked: Checked,
        identified: _Identified,
        planned: Plan,
    ) -> list[SymbolReport]:
        source = {"source": self.profile.name}
        prices = identified.keyed(checked.accepted, "session")
        stored = writing.upsert(DAILY_PRICES, prices, constants=source | {"provisional": False})
        writing.clear_outcomes(DAILY_PRICES, self.profile.name, list(stored.by_security))
        writing.upsert(
            CORPORATE_ACTIONS,
            identified.keyed(answer.actions, "ex_date"),
            constants=source,
            supersede=("security_id", "ex_date", "source"),
        )
        rejected = pa.concat_tables([checked.rejected, identified.rejected, answer.unreadable])
        writing.upsert(
            QUARANTINE,
            rejected.group_by(rejected.column_names).aggregate([]),
            constants=source | {"dataset": DAILY_PRICES.name},
        )
        outcomes = _outcomes(answer, rejected, checked.accepted, identified, planned)
        writing.record_outcomes(
            DAILY_PRICES, self.profile.name, outcomes.drop_columns(["symbol"])
        )
        return _reports(answer, identified, stored, rejected, outcomes, planned)

    def finish(self, planned: Plan) -> LoadReport:
        finished = self.warehouse.clock()
        with self.warehouse.writing(self.run_id, f"load from {self.profile.name}") as writing:
            writing.upsert(LOAD_RUNS, self._totals(planned, finished))
        return self.report(planned)

    def report(self, planned: Plan, *, dry_run: bool = False) -> LoadReport:
        reports = self.reports
        if dry_run:
            reports = [
                SymbolReport(
                    request.symbol,
                    None,
                    len(self.calendar.between(request.start, request.end)),
                    first_session=request.start,
                    last_session=request.end,
                )
                for request in planned.requests
            ] + [
                SymbolReport(symbol, None, len(planned.sessions), error=reason)
                for symbol, reason in planned.refused.items()
            ]
        return LoadReport(
            self.run_id,
            self.profile.name,
            self.window,
            self.started_at,
            self.warehouse.clock(),
            tuple(sorted(reports, key=lambda report: report.symbol)),
            len(planned.settled),
            tuple(self.notices),
            dry_run,
        )

    def _note(self, report: SymbolReport) -> None:
        self.reports.append(report)
        self.failures += bool(report.failed)

    def _totals(self, planned: Plan, finished: dt.datetime | None) -> pa.Table:
        totals = {name: sum(getattr(report, name) for report in self.reports) for name in _COUNTS}
        row = {
            "run_id": self.run_id,
            "dataset": DAILY_PRICES.name,
            "source": self.profile.name,
            "start_session": self.window.start,
            "end_session": self.window.end,
            "started_at": _naive(self.started_at),
            "finished_at": _naive(finished) if finished else None,
            "symbols": len(self.window.symbols),
            **totals,
        }
        fields = [f for f in LOAD_RUNS.arrow_schema if f.name in row]
        return pa.Table.from_pylist([row], schema=pa.schema(fields))


@dataclass(frozen=True)
class _Identified:
    """Symbols of an answer turned into securities; ``names`` where a symbol has several.

    ``spans`` gives first session, last session and number of the accepted rows of each symbol.
    """

    spans: Mapping[str, tuple[dt.date, dt.date, int]]
    securities: Mapping[str, int]
    names: Mapping[str, Sequence[Name]]
    rejected: pa.Table

    def all_of(self, symbol: str) -> set[int]:
        """The securities a symbol means in this answer."""
        if symbol in self.securities:
            return {self.securities[symbol]}
        return {name.security_id for name in self.names.get(symbol, ())}

    def of(self, symbol: str, day: dt.date) -> int | None:
        if symbol in self.securities:
            return self.securities[symbol]
        return next(
            (n.security_id for n in self.names.get(symbol, ()) if n.overlaps(day, day)), None
        )

    def keyed(self, rows: pa.Table, day: str) -> pa.Table:
        """``rows`` by security_id; rows whose symbol named nobody that ``day`` are left out."""
        ids = self.ids(rows, day)
        keyed = rows.drop_columns(["symbol"]).append_column("security_id", ids)
        return keyed.filter(pc.is_valid(ids)) if ids.null_count else keyed

    def ids(self, rows: pa.Table, day: str) -> pa.Array:
        """The security of each row, null where its symbol named nobody that ``day``."""
        encoded = rows["symbol"].combine_chunks().dictionary_encode()
        by_symbol = pa.array(
            [self.securities.get(symbol) for symbol in encoded.dictionary.to_pylist()], pa.int32()
        )
        ids = by_symbol.take(encoded.indices)
        if not self.names:
            return ids
        looked_up = [
            number if number is not None else self.of(symbol, on)
            for number, symbol, on in zip(
                ids.to_pylist(), rows["symbol"].to_pylist(), rows[day].to_pylist(), strict=True
            )
        ]
        return pa.array(looked_up, pa.int32())


def _identify(
    answer: PriceAnswer, checked: Checked, register: Register, names_on: dt.date | None
) -> _Identified:
    """Decide which security each symbol of an answer means, adding those not on record."""
    spans = _spans(checked.accepted)
    securities: dict[str, int] = {}
    several: dict[str, Sequence[Name]] = {}
    reasons: dict[str, str] = {}
    for symbol in answer.symbols:
        first = spans[symbol][0] if symbol in spans else None
        bearers = register.bearers(symbol)
        try:
            if first is None and not bearers:
                continue  # nothing came of a symbol nobody knows: no security is made up for it
            if names_on is None and len({name.security_id for name in bearers}) > 1:
                several[symbol] = bearers
                continue
            securities[symbol] = register.on(symbol, names_on or first or bearers[0].valid_from)
        except (UnknownSymbolError, AmbiguousSymbolError) as error:
            reasons[symbol] = str(error)
            continue
        if first is not None:
            register.seen(securities[symbol], first)
    nameless = checked.accepted.filter(
        pc.is_in(checked.accepted["symbol"], pa.array(list(reasons), pa.string()))
    ).to_pylist()
    rejected = [
        {
            "symbol": row["symbol"],
            "session": str(row["session"]),
            "reason": reasons[row["symbol"]],
            "raw": json.dumps(row, default=str, sort_keys=True),
        }
        for row in nameless
    ]
    return _Identified(spans, securities, several, pa.Table.from_pylist(rejected, schema=REJECTED))


def _outcomes(
    answer: PriceAnswer,
    rejected: pa.Table,
    accepted: pa.Table,
    identified: _Identified,
    planned: Plan,
) -> pa.Table:
    """One row for each due symbol-day without a good row: what it is instead, and why.

    In order of weight: the source confirmed it empty, its row was quarantined, the source failed,
    or it answered without a word on that day. The last is no confirmation and counts as failed.
    """
    asked = {request.symbol: planned.asked(request) for request in planned.requests}
    short = [
        symbol
        for symbol in answer.symbols
        if asked[symbol]
        and identified.spans.get(symbol)
        != (asked[symbol][0], asked[symbol][-1], len(asked[symbol]))
    ]
    due = pa.table(
        {
            "symbol": pa.array([s for s in short for _ in asked[s]], pa.string()),
            "session": pa.array([day for s in short for day in asked[s]], pa.date32()),
        }
    )
    places = pa.array(short, pa.string())
    keys = _keys(due, places)
    absent = ~np.isin(keys, _keys(accepted, places))
    due, keys = due.filter(pa.array(absent)), keys[absent]
    failures = {symbol: str(error) for symbol, error in answer.failures.items()}
    outcome = np.full(len(keys), "failed", dtype=object)
    reason = np.array([failures.get(s, SILENCE) for s in due["symbol"].to_pylist()], dtype=object)
    for told, what in ((_dated(rejected), "quarantined"), (answer.empty, "empty")):
        found, at = _look_up(keys, _keys(told, places))
        outcome[found] = what
        reason[found] = np.array(told["reason"].to_pylist(), dtype=object)[at]
    rows = pa.table(
        {**{n: due[n] for n in due.column_names}, "outcome": outcome, "reason": reason},
    )
    return rows.append_column("security_id", identified.ids(rows, "session")).filter(
        pc.field("security_id").is_valid()
    )


SILENCE = "the source answered without a row for this session"


def _keys(rows: pa.Table, symbols: pa.Array) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """A number for each symbol-day; rows of other symbols or without a day get one of their own."""
    codes = pc.fill_null(pc.index_in(rows["symbol"], symbols), -1).to_numpy()
    days = pc.fill_null(rows["session"].cast(pa.int32()), -1).to_numpy()
    keys: np.ndarray[tuple[int], np.dtype[np.int64]] = (codes.astype(np.int64) << 32) + days
    return keys


def _look_up(
    keys: np.ndarray[tuple[int], np.dtype[np.int64]],
    among: np.ndarray[tuple[int], np.dtype[np.int64]],
) -> tuple[np.ndarray[tuple[int], np.dtype[np.intp]], np.ndarray[tuple[int], np.dtype[np.intp]]]:
    """Where ``keys`` occur in ``among``: their own places, and the places they are found at."""
    if len(among) == 0:
        return np.array([], dtype=np.intp), np.array([], dtype=np.intp)
    order = np.argsort(among, kind="stable")
    at = order[np.minimum(np.searchsorted(among, keys, sorter=order), len(among) - 1)]
    found = np.flatnonzero(among[at] == keys)
    return found, at[found]


def _dated(rejected: pa.Table) -> pa.Table:
    """Rejected rows with the day they name as a date, null where it can't be read."""
    text = pc.utf8_slice_codeunits(rejected["session"], 0, 10)
    days = pc.strptime(text, "%Y-%m-%d", "s", error_is_null=True).cast(pa.date32(), safe=False)
    return rejected.set_column(rejected.column_names.index("session"), "session", days)


def _spans(rows: pa.Table) -> dict[str, tuple[dt.date, dt.date, int]]:
    """First session, last session and number of rows, by symbol."""
    counted = rows.group_by("symbol").aggregate(
        [("session", "min"), ("session", "max"), ("session", "count")]
    )
    return {
        row["symbol"]: (row["session_min"], row["session_max"], row["session_count"])
        for row in counted.to_pylist()
    }


def _reports(
    answer: PriceAnswer,
    identified: _Identified,
    stored: Upserted,
    rejected: pa.Table,
    outcomes: pa.Table,
    planned: Plan,
) -> list[SymbolReport]:
    requests = {request.symbol: request for request in planned.requests}
    bad = _tally(rejected, "symbol")
    ended = _tally(outcomes, "symbol", "outcome")
    reports = []
    for symbol in answer.symbols:
        ids = identified.all_of(symbol)
        counts = [stored.by_security.get(number, (0, 0, 0)) for number in sorted(ids)]
        due = planned.asked(requests[symbol])
        failed = ended.get((symbol, "failed"), 0) if ids else len(due)
        first, last, _ = identified.spans.get(symbol, (None, None, 0))
        error = answer.failures.get(symbol)
        reports.append(
            SymbolReport(
                symbol,
                min(ids) if len(ids) == 1 else None,
                len(due),
                inserted=sum(count[0] for count in counts),
                revised=sum(count[1] for count in counts),
                unchanged=sum(count[2] for count in counts),
                quarantined=bad.get((symbol,), 0),
                empty=ended.get((symbol, "empty"), 0),
                failed=failed,
                first_session=first,
                last_session=last,
                error=str(error) if error else _first_reason(outcomes, symbol) if failed else None,
            )
        )
    return reports


def _tally(rows: pa.Table, *by: str) -> dict[tuple[str, ...], int]:
    if rows.num_rows == 0:
        return {}
    counted = rows.group_by(list(by)).aggregate([([], "count_all")]).to_pylist()
    return {tuple(row[name] for name in by): row["count_all"] for row in counted}


def _first_reason(outcomes: pa.Table, symbol: str) -> str | None:
    for row in outcomes.to_pylist():
        if row["symbol"] == symbol and row["outcome"] == "failed":
            return f"{row['session']}: {row['reason']}"
    return None


def _source_row(profile: SourceProfile) -> pa.Table:
    return pa.Table.from_pylist(
        [
            {
                "source": profile.name,
                "price_basis": profile.price_basis,
                "has_splits": profile.has_splits,
                "has_distributions": profile.has_distributions,
                "simulated": profile.simulated,
                "convention": profile.convention,
            }
        ]
    )


def _symbol_rows(run_id: str, reports: Sequence[SymbolReport]) -> pa.Table:
    names = [f for f in LOAD_RUN_SYMBOLS.arrow_schema if not f.name.endswith("_at")]
    rows = [
        {"run_id": run_id, **vars(report), "completeness": report.completeness}
        for report in reports
    ]
    return pa.Table.from_pylist(rows, schema=pa.schema(names))


def _naive(moment: dt.datetime) -> dt.datetime:
    return moment.astimezone(dt.UTC).replace(tzinfo=None)
