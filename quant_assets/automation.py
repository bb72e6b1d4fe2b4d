"""Jobs, schedules and sensors."""

import datetime as dt

import dagster as dg

from quant_assets.assets.prices import PricesConfig, load_and_report
from quant_assets.identity import canonical_symbol
from quant_assets.partitions import SYMBOLS
from quant_assets.platform import Platform


class BackfillConfig(PricesConfig):
    """A rectangle of symbols × sessions; dates as YYYY-MM-DD, both included."""

    symbols: list[str]
    start: str
    end: str


@dg.op(pool="prices", description="Load any rectangle of daily_prices in one run.")
def load_rectangle(
    context: dg.OpExecutionContext,
    config: BackfillConfig,
    platform: dg.ResourceParam[Platform],
) -> None:
    tickers = [canonical_symbol(symbol) for symbol in config.symbols]
    window = dt.date.fromisoformat(config.start), dt.date.fromisoformat(config.end)
    sessions = platform.calendar.between(*window)
    # A ticker the source does not know gets its partition too, to be red in: who asked should see.
    context.instance.add_dynamic_partitions(SYMBOLS, tickers)
    load_and_report(context, platform, config, dict.fromkeys(tickers, sessions))


@dg.job(description="Symbols × sessions of daily_prices in one run, said in the launchpad.")
def backfill_prices() -> None:
    load_rectangle()
