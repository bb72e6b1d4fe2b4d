"""Every table of the warehouse, described once as data.

DDL, Arrow schemas, row rules and the data dictionary derive from what is written here. Nothing of
ours is imported, and nothing is opened or written.

Conventions: a column ending in ``_at`` is a UTC timestamp, ``session`` a trading day of the
security's own market, an interval is half open (``valid_from`` inclusive, ``valid_to`` exclusive,
null while it lasts), and an amount of money stands beside its ``currency``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import pyarrow as pa

SCHEMA_VERSION = 4

SqlType = Literal[
    "VARCHAR", "INTEGER", "BIGINT", "DOUBLE", "DATE", "TIMESTAMP", "BOOLEAN", "UUID", "CURRENCY"
]

CURRENCIES = (
    *("USD", "EUR", "GBP", "GBX", "JPY", "CHF", "CAD", "AUD", "NZD", "SEK", "NOK", "DKK", "HKD"),
    *("SGD", "CNY", "TWD", "KRW", "INR", "BRL", "MXN", "ZAR", "ILS", "PLN", "CZK", "HUF", "TRY"),
    *("THB", "IDR", "MYR", "PHP", "CLP", "COP", "PEN", "ARS", "SAR", "AED", "QAR", "KWD", "EGP"),
)
"""ISO 4217 codes prices may be in, and GBX for pence. An enumeration: a text column of a million
equal values takes DuckDB longer to compress than the prices."""

_ARROW: dict[SqlType, pa.DataType] = {
    "UUID": pa.string(),
    "CURRENCY": pa.string(),
    "VARCHAR": pa.string(),
    "INTEGER": pa.int32(),
    "BIGINT": pa.int64(),
    "DOUBLE": pa.float64(),
    "DATE": pa.date32(),
    "TIMESTAMP": pa.timestamp("us"),
    "BOOLEAN": pa.bool_(),
}

ACTION_KINDS = (
    "split",
    "stock_dividend",
    "cash_dividend",
    "special_dividend",
    "spin_off",
    "merger_terms",
    "capital_gain",
    "vendor_error",
)
"""Kinds of corporate action; ``vendor_error`` keeps a reported event that did not happen."""

OUTCOMES = ("empty", "quarantined", "failed")
"""What the ledger says of a symbol-day that is not simply present."""

EVIDENCE_KINDS = ("listed", "interval", "added", "removed")
"""What a source can say of a membership: that its lists had the security from one day to another,
that it was a member from one day to another, or that it joined or left on a day."""

CHANGE_KINDS = ("added", "removed", "renamed", "withdrawn")
"""Kinds of membership event; ``withdrawn`` takes back one whose day had not come."""

TASK_STATES = ("pending", "in_progress", "completed", "failed", "rate_limited")
PRIORITIES = ("high", "normal", "low")


@dataclass(frozen=True)
class Column:
    """One column: what it means, and which values a good row may hold."""

    name: str
    type: SqlType
    doc: str
    required: bool = True
    positive: bool = False
    non_negative: bool = False
    provenance: bool = False
    """True for what says how a row arrived; a re-load that differs only here changes nothing."""
    standing: bool = False
    """True for what says how far a row is to be trusted: it changes without leaving a revision."""

    @property
    def arrow(self) -> pa.DataType:
        return _ARROW[self.type]

    @property
    def sql(self) -> str:
        """The type as DuckDB spells it."""
        if self.type != "CURRENCY":
            return self.type
        return f"enum({', '.join(repr(code) for code in CURRENCIES)})"


@dataclass(frozen=True)
class Table:
    """One table: its columns, its key, and whether replaced rows are kept as revisions.

    The key is kept by the one write path (``Writing.upsert``, under the writer lock) and not by an
    index: an index on a million rows costs more than loading them, and DuckDB's refuses to delete
    and insert one key in one transaction.
    """

    name: str
    doc: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    revised: bool = False

    def column(self, name: str) -> Column:
        return next(column for column in self.columns if column.name == name)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    @property
    def values(self) -> tuple[str, ...]:
        """The columns that carry facts: neither key, provenance nor standing."""
        return tuple(
            column.name
            for column in self.columns
            if column.name not in self.key and not (column.provenance or column.standing)
        )

    @property
    def standings(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns if column.standing)

    @property
    def arrow_schema(self) -> pa.Schema:
        return pa.schema([(column.name, column.arrow) for column in self.columns])

    def arrow(self, rows: Sequence[Mapping[str, object]]) -> pa.Table:
        """Rows as Arrow, with those columns of the table that the first one names."""
        fields = [field for field in self.arrow_schema if rows and field.name in rows[0]]
        return pa.Table.from_pylist(list(rows), schema=pa.schema(fields))

    @property
    def ddl(self) -> str:
        lines = [
            f"{column.name} {column.sql}{' not null' if column.required else ''}"
            for column in self.columns
        ]
        return f"create table if not exists {self.name} ({', '.join(lines)})"

    def additions(self, held: set[str]) -> list[str]:
        """Statements that add the columns an older file of this table lacks."""
        return [
            f"alter table {self.name} add column {column.name} {column.sql}"
            for column in self.columns
            if column.name not in held
        ]

    @property
    def revisions(self) -> Table:
        """The table that replaced rows of this one move to."""
        extra = (
            Column("revised_at", "TIMESTAMP", "When the row was replaced."),
            Column("revised_by_run", "UUID", "The run that replaced it."),
            Column("difference", "VARCHAR", "Class of the difference, such as restatement."),
        )
        return replace(
            self,
            name=f"{self.name}_revisions",
            doc=f"Rows of {self.name} that a source later said something else about.",
            columns=self.columns + extra,
            key=(*self.key, "revised_at"),
            revised=False,
        )


_CREATED = Column("created_at", "TIMESTAMP", "When the row was first written.", provenance=True)
_UPDATED = Column("updated_at", "TIMESTAMP", "When the row last changed.", provenance=True)
_RUN = Column("run_id", "UUID", "The run that brought the row.", provenance=True)
_FETCHED = Column("fetched_at", "TIMESTAMP", "When the source answered.", provenance=True)

SECURITIES = Table(
    "securities",
    "One row per security, for ever. Everything else hangs on its id; symbols are only names.",
    (
        Column("security_id", "INTEGER", "Permanent id."),
        Column("name", "VARCHAR", "Latest name of the company or fund.", required=False),
        Column("type", "VARCHAR", "stock, etf or crypto."),
        Column("exchange", "VARCHAR", "Market whose calendar applies, such as XNYS."),
        Column("currency", "CURRENCY", "Currency it trades in."),
        Column("cik", "VARCHAR", "SEC central index key, ten digits.", required=False),
        Column("sector", "VARCHAR", "Latest GICS sector.", required=False),
        Column("industry", "VARCHAR", "Latest GICS sub-industry.", required=False),
        Column("slug", "VARCHAR", "Key in reference/identities.csv, if listed.", required=False),
        Column("listed_on", "DATE", "First session, where known.", required=False),
        Column("delisted_on", "DATE", "First day off the market, where known.", required=False),
        _CREATED,
        _UPDATED,
    ),
    key=("security_id",),
)

SYMBOL_HISTORY = Table(
    "symbol_history",
    "Which security a symbol named, and when. Half-open intervals; no two of one symbol overlap.",
    (
        Column("symbol", "VARCHAR", "Ticker, with a dot before a share class (BRK.B)."),
        Column("valid_from", "DATE", "First day of the name, or the earliest day known here."),
        Column("valid_to", "DATE", "First day the name no longer held.", required=False),
        Column("security_id", "INTEGER", "The security named."),
        Column("source", "VARCHAR", "Who said so."),
        _CREATED,
        _UPDATED,
    ),
    key=("symbol", "valid_from"),
)

SECURITY_PROFILES = Table(
    "security_profiles",
    "Name, sector and industry as dated history; the open interval is the latest.",
    (
        Column("security_id", "INTEGER", "The security described."),
        Column("valid_from", "DATE", "First day this was known."),
        Column("valid_to", "DATE", "First day it no longer held.", required=False),
        Column("name", "VARCHAR", "Name.", required=False),
        Column("sector", "VARCHAR", "GICS sector.", required=False),
        Column("industry", "VARCHAR", "GICS sub-industry.", required=False),
        Column("source", "VARCHAR", "Who said so."),
        _CREATED,
        _UPDATED,
    ),
    key=("security_id", "valid_from"),
)

UNIVERSES = Table(
    "universes",
    "Named sets of securities.",
    (
        Column("universe", "VARCHAR", "Name, such as sp500."),
        Column("kind", "VARCHAR", "index, or custom where users decide.", required=False),
        Column("source", "VARCHAR", "Where its members come from."),
        Column(
            "passed_over",
            "VARCHAR",
            "Better sources that could not answer, and why; null where the first one answered.",
            required=False,
        ),
        Column("listed_on", "DATE", "Day of the latest list of its members.", required=False),
        _CREATED,
        _UPDATED,
    ),
    key=("universe",),
)

MEMBERSHIP = Table(
    "universe_membership",
    "Who belonged to a universe, and when, each interval with its source.",
    (
        Column("universe", "VARCHAR", "Name of the universe."),
        Column("security_id", "INTEGER", "The member."),
        Column("effective_on", "DATE", "First session as a member (before the open)."),
        Column("removed_on", "DATE", "First session no longer a member.", required=False),
        Column("symbol", "VARCHAR", "The ticker under which the source listed it."),
        Column("announced_on", "DATE", "When the change was announced.", required=False),
        Column("detected_at", "TIMESTAMP", "When this database learnt of it.", provenance=True),
        Column("source", "VARCHAR", "Who said so."),
        _CREATED,
        _UPDATED,
    ),
    key=("universe", "security_id", "effective_on"),
    revised=True,
)

MEMBERSHIP_LISTS = Table(
    "membership_lists",
    "Each day on which a source gave a list of members, and whether it was believed.",
    (
        Column("universe", "VARCHAR", "Name of the universe."),
        Column("source", "VARCHAR", "Who gave it."),
        Column("listed_on", "DATE", "The day of the list."),
        Column("accepted", "BOOLEAN", "Whether it was believed."),
        Column("trusted", "BOOLEAN", "Whether a user vouched for it, so that it needs no second."),
        Column("members", "INTEGER", "Members it has."),
        Column(
            "reason", "VARCHAR", "Why it was refused, or accepted all the same.", required=False
        ),
        _FETCHED,
        _RUN,
        _CREATED,
        _UPDATED,
    ),
    key=("universe", "source", "listed_on", "accepted"),
)

MEMBERSHIP_EVIDENCE = Table(
    "membership_evidence",
    "What each source says of each membership. The intervals of universe_membership are decided "
    "from these rows and the days of membership_lists, and from nothing else.",
    (
        Column("universe", "VARCHAR", "Name of the universe."),
        Column("source", "VARCHAR", "Who says so."),
        Column("kind", "VARCHAR", f"One of {', '.join(EVIDENCE_KINDS)}."),
        Column("security_id", "INTEGER", "The security."),
        Column("from_on", "DATE", "First day listed, first day a member, or day of the change."),
        Column(
            "until_on",
            "DATE",
            "First day no longer listed, or no longer a member.",
            required=False,
        ),
        Column("symbol", "VARCHAR", "The ticker it goes by there."),
        Column("said_added_on", "DATE", "When it joined, as a list says.", required=False),
        Column("reason", "VARCHAR", "Why it changed, as the source says.", required=False),
        _RUN,
        _CREATED,
        _UPDATED,
    ),
    key=("universe", "source", "kind", "security_id", "from_on"),
)

MEMBERSHIP_CHANGES = Table(
    "membership_changes",
    "Every change of a universe, in the order in which it was noticed here.",
    (
        Column("change_id", "BIGINT", "Number of the event, rising."),
        Column("universe", "VARCHAR", "Name of the universe."),
        Column("kind", "VARCHAR", f"One of {', '.join(CHANGE_KINDS)}."),
        Column("security_id", "INTEGER", "The security."),
        Column("symbol", "VARCHAR", "Its ticker, the new one where it was renamed."),
        Column("former_symbol", "VARCHAR", "The ticker before a renaming.", required=False),
        Column("effective_on", "DATE", "First session on which it holds (before the open)."),
        Column("announced_on", "DATE", "When it was announced, where known.", required=False),
        Column("detected_at", "TIMESTAMP", "When this database learnt of it."),
        Column("source", "VARCHAR", "Who said so."),
        Column("reason", "VARCHAR", "Why, as the source says.", required=False),
        _RUN,
        _CREATED,
        _UPDATED,
    ),
    key=("change_id",),
)

MEMBERSHIP_CONFLICTS = Table(
    "membership_conflicts",
    "Days on which a source says other than what was decided of a membership.",
    (
        Column("universe", "VARCHAR", "Name of the universe."),
        Column("security_id", "INTEGER", "The security."),
        Column("source", "VARCHAR", "Who says otherwise."),
        Column("from_on", "DATE", "First day of the disagreement."),
        Column("until_on", "DATE", "First day after it; null while it lasts.", required=False),
        Column("symbol", "VARCHAR", "The ticker in question."),
        Column("says_member", "BOOLEAN", "Whether that source has it as a member in these days."),
        Column("cause", "VARCHAR", "What kind of disagreement it is, in words."),
        Column("decided_by", "VARCHAR", "The source that was followed."),
        Column("detected_at", "TIMESTAMP", "When it was noticed.", provenance=True),
        _CREATED,
        _UPDATED,
    ),
    key=("universe", "security_id", "source", "from_on"),
)

DELISTINGS = Table(
    "delistings",
    "Securities that are traded no more, and what became of their last share.",
    (
        Column("security_id", "INTEGER", "The security."),
        Column("symbol", "VARCHAR", "Its last ticker."),
        Column("last_session", "DATE", "The last session it traded."),
        Column("reason", "VARCHAR", "Why, in words; unknown where nobody said."),
        Column(
            "terminal_value",
            "DOUBLE",
            "What a share was worth at the end, in currency; null where unknown.",
            required=False,
            non_negative=True,
        ),
        Column("currency", "CURRENCY", "Currency of the terminal value."),
        Column("source", "VARCHAR", "Who said so."),
        Column("detected_at", "TIMESTAMP", "When this database learnt of it.", provenance=True),
        _CREATED,
        _UPDATED,
    ),
    key=("security_id",),
    revised=True,
)

SOURCES = Table(
    "sources",
    "Each source that has ever loaded a row here, and the convention it speaks in.",
    (
        Column("source", "VARCHAR", "Name, such as files:alphavantage."),
        Column("price_basis", "VARCHAR", "as_traded or split_adjusted."),
        Column("has_splits", "BOOLEAN", "Whether it reports changes of the share count."),
        Column("has_distributions", "BOOLEAN", "Whether it reports dividends and the like."),
        Column("simulated", "BOOLEAN", "Whether its market is made up."),
        Column("convention", "VARCHAR", "How it computes total returns, in words."),
        _CREATED,
        _UPDATED,
    ),
    key=("source",),
)

DAILY_PRICES = Table(
    "daily_prices",
    "One row per security, session and source; expressed in the shares of basis_on.",
    (
        Column("security_id", "INTEGER", "The security."),
        Column("session", "DATE", "Trading day of its market."),
        Column("source", "VARCHAR", "Who said so."),
        Column("open", "DOUBLE", "First price, in currency per share of basis_on.", positive=True),
        Column("high", "DOUBLE", "Highest price.", positive=True),
        Column("low", "DOUBLE", "Lowest price.", positive=True),
        Column("close", "DOUBLE", "Last price.", positive=True),
        Column("volume", "BIGINT", "Shares of basis_on traded.", non_negative=True),
        Column("currency", "CURRENCY", "Currency of the prices."),
        Column("basis_on", "DATE", "The day in whose shares the row is expressed."),
        Column(
            "provisional",
            "BOOLEAN",
            "True for the newest session of a live source until it was seen a second time.",
            standing=True,
        ),
        _FETCHED,
        _RUN,
        _CREATED,
        _UPDATED,
    ),
    key=("security_id", "session", "source"),
    revised=True,
)

CORPORATE_ACTIONS = Table(
    "corporate_actions",
    "Events that change what a share is or pays. What an event does is said by ratio, amount or "
    "value_factor; what it was, by kind; what the source reported, by the reported_ columns.",
    (
        Column("security_id", "INTEGER", "The security."),
        Column("ex_date", "DATE", "First session without the entitlement."),
        Column("kind", "VARCHAR", f"One of {', '.join(ACTION_KINDS)}."),
        Column("source", "VARCHAR", "Who said so."),
        Column(
            "ratio",
            "DOUBLE",
            "New shares per old share, where the share count changes.",
            required=False,
            positive=True,
        ),
        Column(
            "amount",
            "DOUBLE",
            "Cash, or value in kind, per share of basis_on.",
            required=False,
            positive=True,
        ),
        Column(
            "value_factor",
            "DOUBLE",
            "Value before over value after, where a distribution was reported as a factor.",
            required=False,
            positive=True,
        ),
        Column("currency", "CURRENCY", "Currency of the amount."),
        Column("basis_on", "DATE", "The day in whose shares the amount is expressed."),
        Column("reported_ratio", "DOUBLE", "The source's split number, if any.", required=False),
        Column("reported_amount", "DOUBLE", "The source's dividend number.", required=False),
        Column(
            "kind_by",
            "VARCHAR",
            "rule, the file that decided the kind, or the prices that show it: overlap where they "
            "came again in other shares, adjusted close where that was given beside them.",
        ),
        Column("note", "VARCHAR", "What happened, where someone looked.", required=False),
        _FETCHED,
        _RUN,
        _CREATED,
        _UPDATED,
    ),
    key=("security_id", "ex_date", "kind", "source"),
    revised=True,
)

LEDGER = Table(
    "symbol_day_ledger",
    "One row per symbol-day that was asked for and is not simply present.",
    (
        Column("dataset", "VARCHAR", "The table asked about."),
        Column("security_id", "INTEGER", "The security."),
        Column("session", "DATE", "The session."),
        Column("source", "VARCHAR", "Who was asked."),
        Column("outcome", "VARCHAR", f"One of {', '.join(OUTCOMES)}."),
        Column("reason", "VARCHAR", "Why, in words."),
        Column("asked_at", "TIMESTAMP", "When the source was asked.", provenance=True),
        _RUN,
        _CREATED,
        _UPDATED,
    ),
    key=("dataset", "security_id", "session", "source"),
)

QUARANTINE = Table(
    "quarantine",
    "Rows that broke a rule, as the source sent them, each with its reason.",
    (
        Column("dataset", "VARCHAR", "The table it was meant for."),
        Column("source", "VARCHAR", "Who sent it."),
        Column("symbol", "VARCHAR", "The symbol it names, as sent."),
        Column("session", "VARCHAR", "The day it names, as sent."),
        Column("reason", "VARCHAR", "The rule it broke, with the value."),
        Column("raw", "VARCHAR", "The row as JSON."),
        _RUN,
        _CREATED,
        _UPDATED,
    ),
    key=("dataset", "source", "symbol", "session", "reason", "raw"),
)

LOAD_RUNS = Table(
    "load_runs",
    "One row per load, with its totals.",
    (
        Column("run_id", "UUID", "Id of the run."),
        Column("dataset", "VARCHAR", "The table loaded."),
        Column("source", "VARCHAR", "The source asked."),
        Column("start_session", "DATE", "First session asked for."),
        Column("end_session", "DATE", "Last session asked for."),
        Column("started_at", "TIMESTAMP", "When it began."),
        Column("finished_at", "TIMESTAMP", "When it ended; null while it runs.", required=False),
        Column("backfill", "VARCHAR", "The Dagster backfill it was part of.", required=False),
        Column("symbols", "INTEGER", "Symbols asked for."),
        Column("requested", "BIGINT", "Symbol-days asked for."),
        Column("inserted", "BIGINT", "Rows new to the warehouse."),
        Column("revised", "BIGINT", "Rows replaced; the old ones are in revisions."),
        Column("unchanged", "BIGINT", "Rows the warehouse had already."),
        Column("quarantined", "BIGINT", "Rows set aside."),
        Column("empty", "BIGINT", "Symbol-days the source confirmed to have nothing for."),
        Column("failed", "BIGINT", "Symbol-days that could not be found out."),
        _CREATED,
        _UPDATED,
    ),
    key=("run_id",),
)

LOAD_RUN_SYMBOLS = Table(
    "load_run_symbols",
    "The summary of a load, symbol by symbol.",
    (
        Column("run_id", "UUID", "Id of the run."),
        Column("symbol", "VARCHAR", "The symbol asked for."),
        Column("security_id", "INTEGER", "The security it named.", required=False),
        Column("requested", "BIGINT", "Symbol-days asked for."),
        Column("inserted", "BIGINT", "Rows new to the warehouse."),
        Column("revised", "BIGINT", "Rows replaced."),
        Column("unchanged", "BIGINT", "Rows the warehouse had already."),
        Column("quarantined", "BIGINT", "Rows set aside."),
        Column("empty", "BIGINT", "Symbol-days confirmed empty."),
        Column("failed", "BIGINT", "Symbol-days that could not be found out."),
        Column("completeness", "DOUBLE", "Present or confirmed empty, over requested."),
        Column("first_session", "DATE", "First session the source had.", required=False),
        Column("last_session", "DATE", "Last session the source had.", required=False),
        Column("error", "VARCHAR", "Why it failed, in words.", required=False),
        _CREATED,
        _UPDATED,
    ),
    key=("run_id", "symbol"),
)

LOAD_CLAIMS = Table(
    "load_claims",
    "Symbols that a load under way is asking a source for, so that no other load asks as well. A "
    "claim counts only while the process of its run is alive.",
    (
        Column("dataset", "VARCHAR", "The table loaded."),
        Column("source", "VARCHAR", "The source asked."),
        Column("symbol", "VARCHAR", "The symbol asked for."),
        _RUN,
        _CREATED,
        _UPDATED,
    ),
    key=("dataset", "source", "symbol"),
)

LOAD_TASKS = Table(
    "load_tasks",
    "What is to be asked of a source, symbol by symbol, and how far it has got.",
    (
        Column("dataset", "VARCHAR", "The table to load."),
        Column("source", "VARCHAR", "The source to ask."),
        Column("symbol", "VARCHAR", "The symbol to ask for."),
        Column("state", "VARCHAR", f"One of {', '.join(TASK_STATES)}."),
        Column("attempts", "INTEGER", "Loads that have failed on it since it last succeeded."),
        Column("priority", "VARCHAR", f"One of {', '.join(PRIORITIES)}."),
        Column("start_session", "DATE", "First session wanted."),
        Column("end_session", "DATE", "Last session wanted."),
        Column("retry_at", "TIMESTAMP", "Not to be asked before this.", required=False),
        Column("error", "VARCHAR", "Why the last attempt failed.", required=False),
        _RUN,
        _CREATED,
        _UPDATED,
    ),
    key=("dataset", "source", "symbol"),
)

SOURCE_SYMBOLS = Table(
    "source_symbols",
    "What a source says a symbol is, and how far back it was last asked.",
    (
        Column("source", "VARCHAR", "Who says so."),
        Column("symbol", "VARCHAR", "The symbol, as spelt here."),
        Column("security_id", "INTEGER", "The security it names.", required=False),
        Column("type", "VARCHAR", "stock, etf, crypto or its own word.", required=False),
        Column("exchange", "VARCHAR", "The exchange, in its own words.", required=False),
        Column("currency", "CURRENCY", "Currency of its prices.", required=False),
        Column("zone", "VARCHAR", "IANA time zone of the exchange.", required=False),
        Column("name", "VARCHAR", "Name of the company or fund.", required=False),
        Column("first_trade_on", "DATE", "First day it traded.", required=False),
        Column("last_trade_at", "TIMESTAMP", "Latest trade known to it.", required=False),
        Column("asked_at", "TIMESTAMP", "When it was last asked.", provenance=True),
        Column("asked_since", "DATE", "The first day it was last asked for."),
        Column(
            "asked_for_all_at",
            "TIMESTAMP",
            "When it was last asked for all that is stored.",
            required=False,
        ),
        _CREATED,
        _UPDATED,
    ),
    key=("source", "symbol"),
)

LOG_ENTRIES = Table(
    "log_entries",
    "What loads said, as in the dated log files.",
    (
        Column("entry_id", "UUID", "Id of the entry."),
        Column("said_at", "TIMESTAMP", "When it was said."),
        Column("level", "VARCHAR", "INFO, WARNING or ERROR."),
        Column("message", "VARCHAR", "What was said."),
        Column("run_id", "UUID", "The load that said it."),
        Column("dataset", "VARCHAR", "The table loaded."),
        Column("source", "VARCHAR", "The source asked."),
        Column("symbol", "VARCHAR", "The symbol it is about.", required=False),
        Column("task", "VARCHAR", "The task it is about.", required=False),
        Column("error_class", "VARCHAR", "Class of the error.", required=False),
        Column("stack", "VARCHAR", "Its stack trace.", required=False),
        _CREATED,
        _UPDATED,
    ),
    key=("entry_id",),
)


@dataclass(frozen=True)
class Schema:
    """All tables of one schema version."""

    version: int
    tables: tuple[Table, ...] = field(repr=False)

    def __getitem__(self, name: str) -> Table:
        return next(table for table in self.tables if table.name == name)

    @property
    def with_revisions(self) -> tuple[Table, ...]:
        return self.tables + tuple(table.revisions for table in self.tables if table.revised)


SCHEMA = Schema(
    SCHEMA_VERSION,
    (
        SECURITIES,
        SYMBOL_HISTORY,
        SECURITY_PROFILES,
        UNIVERSES,
        MEMBERSHIP,
        MEMBERSHIP_LISTS,
        MEMBERSHIP_EVIDENCE,
        MEMBERSHIP_CHANGES,
        MEMBERSHIP_CONFLICTS,
        DELISTINGS,
        SOURCES,
        DAILY_PRICES,
        CORPORATE_ACTIONS,
        LEDGER,
        QUARANTINE,
        LOAD_RUNS,
        LOAD_RUN_SYMBOLS,
        LOAD_CLAIMS,
        LOAD_TASKS,
        SOURCE_SYMBOLS,
        LOG_ENTRIES,
    ),
)


def data_dictionary() -> str:
    """The data dictionary as Markdown, the content of ``docs/data-dictionary.md``."""
    parts = [
        "# Data dictionary\n\nMade from `quant_assets/schema/table.py` by `quant-assets config "
        "dictionary`; a test keeps the two the same. Times are UTC; intervals are half open.\n"
    ]
    for table in SCHEMA.with_revisions:
        parts.append(f"\n## {table.name}\n\n{table.doc}\n\nKey: {', '.join(table.key)}.")
        if table.revised:
            parts.append(f" Replaced rows move to `{table.name}_revisions`.")
        parts.append("\n\n| column | type | null | meaning |\n|---|---|---|---|\n")
        parts.extend(
            f"| {c.name} | {c.type} | {'' if c.required else 'yes'} | {c.doc} |\n"
            for c in table.columns
        )
    return "".join(parts)
