"""A security's facts, and the history of its name, sector and industry."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from quant_assets.schema.securities import SECURITY_PROFILES
from quant_assets.warehouse.writing import Writing


@dataclass(frozen=True)
class Security:
    """A row of ``securities``; ``slug`` names it in ``reference/identities.csv``."""

    security_id: int
    name: str | None = None
    type: str = "stock"
    exchange: str = "XNYS"
    currency: str = "USD"
    cik: str | None = None
    sector: str | None = None
    industry: str | None = None
    slug: str | None = None
    listed_on: dt.date | None = None
    delisted_on: dt.date | None = None


def write_profiles(writing: Writing, securities: Sequence[Security], source: str) -> None:
    """Write a profile of each security whose name, sector or industry changed, from today on; the
    profile before it ends today.
    """
    today = writing.now.date()
    latest = {
        row[0]: row
        for row in writing.con.execute(
            "select security_id, valid_from, name, sector, industry from security_profiles "
            "where valid_to is null"
        ).fetchall()
    }
    rows: list[dict[str, object]] = []
    for security in securities:
        facts = {
            "name": security.name,
            "sector": security.sector,
            "industry": security.industry,
        }
        before = latest.get(security.security_id)
        if not any(facts.values()) or (before and tuple(facts.values()) == before[2:]):
            continue
        base = {"security_id": security.security_id, "source": source}
        if before and before[1] < today:
            old = dict(zip(facts, before[2:], strict=True))
            rows.append({**base, **old, "valid_from": before[1], "valid_to": today})
        rows.append({**base, **facts, "valid_from": today, "valid_to": None})
    writing.upsert(SECURITY_PROFILES, SECURITY_PROFILES.arrow(rows))
