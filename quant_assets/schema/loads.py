"""Tables about loads: sources, ledger, quarantine, runs, claims, tasks, log entries."""

from __future__ import annotations

from quant_assets.schema.table import CREATED, RUN, UPDATED, Column, Table

OUTCOMES = ("empty", "quarantined", "failed")
"""What the ledger says of a symbol-day that is not simply present."""

TASK_STATES = ("pending", "in_progress", "completed", "failed", "rate_limited")
PRIORITIES = ("high", "normal", "low")

SOURCES = Table(
    "sources",
    "Each source that has ever loaded a row here, and the convention it speaks in.",
    (
        Column("source", "VARCHAR", "Name, such as files:alphavantage."),
        Column(
            "price_basis",
            "VARCHAR",
            "as_traded or split_adjusted; null where the source has no prices.",
            required=False,
        ),
        Column(
            "has_splits",
            "BOOLEAN",
            "Whether it reports changes of the share count; null where it has no prices.",
            required=False,
        ),
        Column(
            "has_distributions",
            "BOOLEAN",
            "Whether it reports dividends and the like; null where it has no prices.",
            required=False,
        ),
        Column("simulated", "BOOLEAN", "Whether its market is made up."),
        Column("convention", "VARCHAR", "How it computes total returns, in words."),
        CREATED,
        UPDATED,
    ),
    key=("source",),
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
        RUN,
        CREATED,
        UPDATED,
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
        RUN,
        CREATED,
        UPDATED,
    ),
    key=("dataset", "source", "symbol", "session", "reason", "raw"),
)

LOAD_RUNS = Table(
    "load_runs",
    "One row per load, with its totals. A run may load several datasets, from several sources.",
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
        CREATED,
        UPDATED,
    ),
    key=("run_id", "dataset", "source"),
)

LOAD_RUN_SYMBOLS = Table(
    "load_run_symbols",
    "The summary of a load, symbol by symbol.",
    (
        Column("run_id", "UUID", "Id of the run."),
        Column("dataset", "VARCHAR", "The table loaded."),
        Column("source", "VARCHAR", "The source asked."),
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
        CREATED,
        UPDATED,
    ),
    key=("run_id", "dataset", "source", "symbol"),
)

LOAD_CLAIMS = Table(
    "load_claims",
    "Symbols that a load under way is asking a source for, so that no other load asks as well. A "
    "claim counts only while the process of its run is alive.",
    (
        Column("dataset", "VARCHAR", "The table loaded."),
        Column("source", "VARCHAR", "The source asked."),
        Column("symbol", "VARCHAR", "The symbol asked for."),
        RUN,
        CREATED,
        UPDATED,
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
        RUN,
        CREATED,
        UPDATED,
    ),
    key=("dataset", "source", "symbol"),
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
        CREATED,
        UPDATED,
    ),
    key=("entry_id",),
)
