"""What a source says of the whole market on one session: a row for each listed security."""

from __future__ import annotations

import pyarrow as pa

SECURITY_TYPES = (
    "common_stock",
    "adr",
    "preferred",
    "warrant",
    "right",
    "unit",
    "fund",
    "etf",
    "note",
    "other",
)
"""Types of listed security; a fund is closed-end, a note is a debt security traded like a stock."""

MARKET_COLUMNS = pa.schema(
    [
        ("feed", pa.string()),
        ("session", pa.date32()),
        ("symbol", pa.string()),
        ("name", pa.string()),
        ("exchange", pa.string()),
        ("type", pa.string()),
        ("last_sale", pa.float64()),
        ("net_change", pa.float64()),
        ("volume", pa.int64()),
        ("market_cap", pa.float64()),
        ("country", pa.string()),
        ("ipo_year", pa.int32()),
        ("sector", pa.string()),
        ("industry", pa.string()),
    ]
)
"""Rows of an answer. ``feed`` is the list they were requested by, such as an exchange of the
screener or a file of the symbol directory; ``symbol`` is in our spelling. ``last_sale`` and
``net_change`` are USD a share, ``market_cap`` is USD, 0 or null where the source has none;
``sector`` and ``industry`` are in the source's own scheme.
"""
