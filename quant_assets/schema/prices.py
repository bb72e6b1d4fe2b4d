"""Tables of daily prices and corporate actions."""

from __future__ import annotations

from quant_assets.schema.table import FETCHED, RUN, Column, Table

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

DAILY_PRICES = Table(
    "daily_prices",
    "One row per security, session and source; expressed in the shares of basis_on.",
    (
        Column("security_id", "INTEGER", "The security."),
        Column("session", "DATE", "Trading day of its market."),
        Column("source", "VARCHAR", "The source."),
        Column("open", "DOUBLE", "First price, in currency per share of basis_on.", positive=True),
        Column("high", "DOUBLE", "Highest price.", positive=True),
        Column("low", "DOUBLE", "Lowest price.", positive=True),
        Column("close", "DOUBLE", "Last price.", positive=True),
        Column(
            "volume",
            "DOUBLE",
            "Shares of basis_on traded, or coins; as reported, whole where a split is undone.",
            non_negative=True,
            below=2.0**63,
        ),
        Column("currency", "CURRENCY", "Currency of the prices."),
        Column("basis_on", "DATE", "The day in whose shares the row is expressed."),
        Column(
            "provisional",
            "BOOLEAN",
            "True for the newest session of a live source until a second request confirms it.",
            standing=True,
        ),
        Column(
            "basis_unknown",
            "BOOLEAN",
            "True where the close is one of a stretch of no whole cents: an event that the source "
            "does not list is worked in, and basis_on is not to be trusted.",
            required=False,
            standing=True,
        ),
        FETCHED,
        RUN,
    ),
    key=("security_id", "session", "source"),
    revised=True,
)

CORPORATE_ACTIONS = Table(
    "corporate_actions",
    "Events that change what a share is or pays. The effect is in ratio, amount or value_factor, "
    "the nature in kind, the source's own numbers in the reported_ columns.",
    (
        Column("security_id", "INTEGER", "The security."),
        Column("ex_date", "DATE", "First session without the entitlement."),
        Column("kind", "VARCHAR", f"One of {', '.join(ACTION_KINDS)}."),
        Column("source", "VARCHAR", "The source."),
        Column("ratio", "DOUBLE", "New shares per old share.", required=False, positive=True),
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
        Column("note", "VARCHAR", "What happened, where it was looked up.", required=False),
        FETCHED,
        RUN,
    ),
    key=("security_id", "ex_date", "kind", "source"),
    revised=True,
)
