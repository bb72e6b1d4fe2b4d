"""Sources load their heavy libraries when they are used, not when they are configured."""

import subprocess
import sys

LATE = {"pandas", "requests", "lxml", "yfinance", "exchange_calendars", "pyarrow.parquet"}


def test_describing_the_sources_loads_no_library_that_only_using_one_needs() -> None:
    load = "import sys, quant_assets.wiring.platform, quant_assets.sources.yahoo.daily_prices;"
    load += "print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", load], capture_output=True, text=True, check=True, timeout=120
    )
    loaded = set(done.stdout.split())
    assert "quant_assets.sources.yahoo.daily_prices" in loaded
    assert loaded & LATE == set()
