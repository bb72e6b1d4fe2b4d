"""The whole market once a session, as a declaration: its rows, when it is due, what is believed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from quant_assets.contracts.market import MARKET_COLUMNS
from quant_assets.datasets.market_snapshot.believe import Belief
from quant_assets.datasets.market_snapshot.identify import identify
from quant_assets.datasets.row_dataset import RowDataset
from quant_assets.loading.due_once_a_session import OnceASession
from quant_assets.reference.calendars import Calendar
from quant_assets.reference.identity import KnownIdentity
from quant_assets.schema.market import MARKET_SNAPSHOT


def market_snapshot(
    calendar: Calendar, known: Sequence[KnownIdentity] = (), accept: bool = False
) -> RowDataset:
    """Rows of every listed security. A request is for one list, the ``feed`` of its rows.

    ``known`` are dated names looked up beforehand. With ``accept`` the source is believed whatever
    it reports.
    """
    return RowDataset(
        MARKET_SNAPSHOT.name,
        rows=((MARKET_SNAPSHOT, MARKET_COLUMNS),),
        rule=OnceASession(calendar),
        compare=Belief(calendar, accept),
        security=partial(identify, known),
        subject="feed",
    )
