"""Tables of the security master: securities, their symbols and profiles."""

from __future__ import annotations

from quant_assets.schema.table import Column, Table

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
        Column("source", "VARCHAR", "The source."),
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
        Column("source", "VARCHAR", "The source."),
    ),
    key=("security_id", "valid_from"),
)

DELISTINGS = Table(
    "delistings",
    "Securities no longer traded, and the terminal value of a share.",
    (
        Column("security_id", "INTEGER", "The security."),
        Column("symbol", "VARCHAR", "Its last ticker."),
        Column("last_session", "DATE", "The last session it traded."),
        Column("reason", "VARCHAR", "Reason in words; unknown where no source has one."),
        Column(
            "terminal_value",
            "DOUBLE",
            "What a share was worth at the end, in currency; null where unknown.",
            required=False,
            non_negative=True,
        ),
        Column("currency", "CURRENCY", "Currency of the terminal value."),
        Column("source", "VARCHAR", "The source."),
        Column("detected_at", "TIMESTAMP", "When it was detected here.", provenance=True),
    ),
    key=("security_id",),
    revised=True,
)

SOURCE_SYMBOLS = Table(
    "source_symbols",
    "A source's description of a symbol, and how far back a dataset last requested it.",
    (
        Column("dataset", "VARCHAR", "The table requested."),
        Column("source", "VARCHAR", "The source."),
        Column("symbol", "VARCHAR", "The symbol, in the spelling used here."),
        Column("security_id", "INTEGER", "The security of the symbol.", required=False),
        Column("type", "VARCHAR", "stock, etf, crypto or the source's word.", required=False),
        Column("exchange", "VARCHAR", "The exchange, in the source's words.", required=False),
        Column("currency", "CURRENCY", "Currency of its prices.", required=False),
        Column("zone", "VARCHAR", "IANA time zone of the exchange.", required=False),
        Column("name", "VARCHAR", "Name of the company or fund.", required=False),
        Column("first_trade_on", "DATE", "First day it traded.", required=False),
        Column("last_trade_at", "TIMESTAMP", "Latest trade known to the source.", required=False),
        Column("asked_at", "TIMESTAMP", "Time of the last request.", provenance=True),
        Column("asked_since", "DATE", "First day of the last request."),
        Column(
            "asked_for_all_at", "TIMESTAMP", "Last request for all that is stored.", required=False
        ),
    ),
    key=("dataset", "source", "symbol"),
)
