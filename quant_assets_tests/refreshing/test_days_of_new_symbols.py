"""The days that a load asks for, where its range is given in part or not at all (P13)."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st

from quant_assets.datasets.daily_prices.dataset import DailyPrices
from quant_assets.loading.plan import plan
from quant_assets.reference.calendars import stored_closes
from quant_assets.refreshing.steps import refresh_steps
from quant_assets.settings.settings import load_settings
from quant_assets.wiring.platform import Platform
from quant_assets_tests.conftest import examples

NOWHERE = Path("/no/such/folder")
CLOSES = stored_closes()
NOW = dt.datetime(2024, 6, 3, 12, tzinfo=dt.UTC)
DAYS = st.dates(dt.date(2000, 1, 1), dt.date(2025, 12, 31))


@examples(40)
@given(
    st.datetimes(dt.datetime(2000, 6, 1), dt.datetime(2025, 12, 31), timezones=st.just(dt.UTC)),  # noqa: DTZ001
    st.none() | st.integers(1, 3000),
    st.none() | DAYS,
    st.none() | DAYS,
)
@example(NOW, None, None, None)
def test_a_new_symbol_is_wanted_from_its_start_or_a_year_back_to_the_last_closed_session(
    now: dt.datetime, default_days: int | None, start: dt.date | None, end: dt.date | None
) -> None:
    """Property 3: date ranges. Caught: 364 days in place of 365; a session that has not closed; an
    end that is not heeded; a first or last session left out.
    """
    flags = {"home": NOWHERE, "source": "yahoo", "default_days": default_days}
    given = {name: value for name, value in flags.items() if value is not None}
    platform = Platform(load_settings({}, flags=given, working_directory=NOWHERE), lambda: now)
    [step] = refresh_steps(platform, symbols=("AAPL",), start=start, end=end)
    closed = [day for day, close in CLOSES.items() if close <= now.replace(tzinfo=None)]
    last = closed[-1] if end is None else min(closed[-1], end)
    first = start or last - dt.timedelta(days=365 if default_days is None else default_days)
    assert (step.window.start, step.window.end) == (first, last)
    if first <= last:
        profile = platform.yahoo(step.calendar).profile
        planned = plan(
            platform.warehouse, DailyPrices(profile, step.calendar), profile, step.window
        )
        assert list(planned.days) == [day for day in closed if first <= day <= last]
