"""Table of the whole market: every listed security, once a session."""

from __future__ import annotations

from quant_assets.schema.table import FETCHED, RUN, Column, Table

MARKET_SNAPSHOT = Table(
    "market_snapshot",
    "One row per listed security, session and source: last sale, size and description, as the "
    "source had them after the close.",
    (
        Column("security_id", "INTEGER", "The security."),
        Column("session", "DATE", "The session the source had closed with, by the clock."),
        Column("source", "VARCHAR", "The source."),
        Column("feed", "VARCHAR", "The list of the source that has the row."),
        Column("symbol", "VARCHAR", "Its ticker that day."),
        Column("name", "VARCHAR", "Name, as the source writes it.", required=False),
        Column("exchange", "VARCHAR", "Where it is listed, such as nasdaq, nyse, amex, arca."),
        Column("type", "VARCHAR", "common_stock, adr, preferred, warrant, unit, fund, etf, …"),
        Column("last_sale", "DOUBLE", "Last price, as traded.", required=False, positive=True),
        Column("net_change", "DOUBLE", "Change since the close before.", required=False),
        Column("volume", "BIGINT", "Shares traded.", required=False, non_negative=True),
        Column("currency", "CURRENCY", "Currency of the amounts."),
        Column(
            "market_cap",
            "DOUBLE",
            "Market capitalisation of market_cap_on: the last one that was believed.",
            required=False,
        ),
        Column("market_cap_on", "DATE", "The session of market_cap.", required=False),
        Column(
            "reported_market_cap",
            "DOUBLE",
            "What the source reported that session, also where it is not believed.",
            required=False,
        ),
        Column(
            "implied_shares",
            "DOUBLE",
            "Shares by which the market capitalisation is judged: market_cap over its last sale, "
            "in shares of the session.",
            required=False,
        ),
        Column("country", "VARCHAR", "Country of the company.", required=False),
        Column("ipo_year", "INTEGER", "Year it went public.", required=False),
        Column("sector", "VARCHAR", "Sector, in the source's scheme.", required=False),
        Column("industry", "VARCHAR", "Industry, in the source's scheme.", required=False),
        FETCHED,
        RUN,
    ),
    key=("security_id", "session", "source"),
    revised=True,
)
