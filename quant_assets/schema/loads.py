"""Tables about loads: sources, ledger, quarantine, runs, claims, tasks, log entries."""

from __future__ import annotations

from quant_assets.schema.table import RUN, Column, Table

OUTCOMES = ("empty", "quarantined", "failed")
"""Outcomes of a requested symbol-day that has no row."""

TASK_STATES = ("pending", "in_progress", "completed", "failed", "rate_limited")
PRIORITIES = ("high", "normal", "low")

SOURCES = Table(
    "sources",
    "Each source that has loaded a row here, and the convention of its numbers. The columns about "
    "prices are null where a source has none.",
    (
        Column("source", "VARCHAR", "Name, such as files:alphavantage."),
        Column("price_basis", "VARCHAR", "as_traded or split_adjusted.", required=False),
        Column("has_splits", "BOOLEAN", "Whether it reports splits.", required=False),
        Column("has_distributions", "BOOLEAN", "Whether it reports dividends.", required=False),
        Column("simulated", "BOOLEAN", "Whether its market is made up."),
        Column("convention", "VARCHAR", "How it computes total returns, in words."),
    ),
    key=("source",),
)

LEDGER = Table(
    "symbol_day_ledger",
    "One row per requested symbol-day that has no row, with the reason.",
    (
        Column("dataset", "VARCHAR", "The table requested."),
        Column("security_id", "INTEGER", "The security."),
        Column("session", "DATE", "The session."),
        Column("source", "VARCHAR", "The source requested."),
        Column("outcome", "VARCHAR", f"One of {', '.join(OUTCOMES)}."),
        Column("reason", "VARCHAR", "Reason in words."),
        Column("asked_at", "TIMESTAMP", "Time of the request.", provenance=True),
        RUN,
    ),
    key=("dataset", "security_id", "session", "source"),
)

QUARANTINE = Table(
    "quarantine",
    "Rows that broke a rule, as the source sent them, each with the reason.",
    (
        Column("dataset", "VARCHAR", "The table the row was meant for."),
        Column("source", "VARCHAR", "The source of the row."),
        Column("symbol", "VARCHAR", "Symbol of the row, as sent."),
        Column("session", "VARCHAR", "Day of the row, as sent."),
        Column("reason", "VARCHAR", "The broken rule, with the value."),
        Column("raw", "VARCHAR", "The row as JSON."),
        RUN,
    ),
    key=("dataset", "source", "symbol", "session", "reason", "raw"),
)

LOAD_RUNS = Table(
    "load_runs",
    "One row per load, with its totals. A run may load several datasets, from several sources.",
    (
        Column("run_id", "UUID", "Id of the run."),
        Column("dataset", "VARCHAR", "The table loaded."),
        Column("source", "VARCHAR", "The source requested."),
        Column("start_session", "DATE", "First session requested."),
        Column("end_session", "DATE", "Last session requested."),
        Column("started_at", "TIMESTAMP", "Start of the load."),
        Column("finished_at", "TIMESTAMP", "End of the load; null while it runs.", required=False),
        Column("backfill", "VARCHAR", "The Dagster backfill of the load.", required=False),
        Column("symbols", "INTEGER", "Symbols requested."),
        Column("requested", "BIGINT", "Symbol-days requested."),
        Column("inserted", "BIGINT", "Rows new to the warehouse."),
        Column("revised", "BIGINT", "Rows replaced; the old rows are in the revisions."),
        Column("unchanged", "BIGINT", "Rows the warehouse had already."),
        Column("quarantined", "BIGINT", "Rows put into quarantine."),
        Column("empty", "BIGINT", "Symbol-days that the source confirmed to be empty."),
        Column("failed", "BIGINT", "Symbol-days whose request failed."),
    ),
    key=("run_id", "dataset", "source"),
)

LOAD_RUN_SYMBOLS = Table(
    "load_run_symbols",
    "The summary of a load, symbol by symbol.",
    (
        Column("run_id", "UUID", "Id of the run."),
        Column("dataset", "VARCHAR", "The table loaded."),
        Column("source", "VARCHAR", "The source requested."),
        Column("symbol", "VARCHAR", "The symbol requested."),
        Column("security_id", "INTEGER", "The security of the symbol.", required=False),
        Column("requested", "BIGINT", "Symbol-days requested."),
        Column("inserted", "BIGINT", "Rows new to the warehouse."),
        Column("revised", "BIGINT", "Rows replaced."),
        Column("unchanged", "BIGINT", "Rows the warehouse had already."),
        Column("quarantined", "BIGINT", "Rows put into quarantine."),
        Column("empty", "BIGINT", "Symbol-days that the source confirmed to be empty."),
        Column("failed", "BIGINT", "Symbol-days whose request failed."),
        Column("completeness", "DOUBLE", "Stored or confirmed empty, over requested."),
        Column("first_session", "DATE", "First session the source has.", required=False),
        Column("last_session", "DATE", "Last session the source has.", required=False),
        Column("error", "VARCHAR", "Cause of the failure, in words.", required=False),
    ),
    key=("run_id", "dataset", "source", "symbol"),
)

LOAD_CLAIMS = Table(
    "load_claims",
    "Symbols that a running load is requesting from a source, so that no other load requests them. "
    "A claim counts only while the process of its run is alive.",
    (
        Column("dataset", "VARCHAR", "The table loaded."),
        Column("source", "VARCHAR", "The source requested."),
        Column("symbol", "VARCHAR", "The symbol requested."),
        RUN,
    ),
    key=("dataset", "source", "symbol"),
)

LOAD_TASKS = Table(
    "load_tasks",
    "Requests to a source, one row per symbol, and their state.",
    (
        Column("dataset", "VARCHAR", "The table to load."),
        Column("source", "VARCHAR", "The source to request from."),
        Column("symbol", "VARCHAR", "The symbol to request."),
        Column("state", "VARCHAR", f"One of {', '.join(TASK_STATES)}."),
        Column("attempts", "INTEGER", "Failed loads since the last success."),
        Column("priority", "VARCHAR", f"One of {', '.join(PRIORITIES)}."),
        Column("start_session", "DATE", "First session wanted."),
        Column("end_session", "DATE", "Last session wanted."),
        Column("retry_at", "TIMESTAMP", "No request before this time.", required=False),
        Column("error", "VARCHAR", "Cause of the last failure.", required=False),
        RUN,
    ),
    key=("dataset", "source", "symbol"),
)

LOG_ENTRIES = Table(
    "log_entries",
    "Log entries of loads, as in the dated log files.",
    (
        Column("entry_id", "UUID", "Id of the entry."),
        Column("said_at", "TIMESTAMP", "Time of the entry."),
        Column("level", "VARCHAR", "INFO, WARNING or ERROR."),
        Column("message", "VARCHAR", "Text of the entry."),
        Column("run_id", "UUID", "The load that logged the entry."),
        Column("dataset", "VARCHAR", "The table loaded."),
        Column("source", "VARCHAR", "The source requested."),
        Column("symbol", "VARCHAR", "The symbol concerned.", required=False),
        Column("task", "VARCHAR", "The task concerned.", required=False),
        Column("error_class", "VARCHAR", "Class of the error.", required=False),
        Column("stack", "VARCHAR", "Stack trace of the error.", required=False),
    ),
    key=("entry_id",),
)
