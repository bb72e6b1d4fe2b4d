"""The assets of prices: ``daily_prices``, a partition per symbol-day, and ``corporate_actions``."""

import datetime as dt
import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import dagster as dg
import pandas as pd

from quant_assets.assets.metadata import column_schema, preview
from quant_assets.load_report import LoadReport
from quant_assets.loading import load
from quant_assets.outcomes import Outcomes, nothing_found, outcomes_of
from quant_assets.planning import OpenSessionError, Window
from quant_assets.platform import Platform
from quant_assets.reporting import RunStep, asked_for, report
from quant_assets.sources.contract import PriceSource, SourceError
from quant_assets.tables import CORPORATE_ACTIONS, DAILY_PRICES

CODE_VERSION = "prices-1"
UPSTREAM = dg.AssetKey("sp500_universe")


class PricesConfig(dg.Config):
    """What a run may be told: the source (the settings' own if empty), and whether to ask again."""

    source: str = ""
    force: bool = False


def daily_prices_asset(partitions: dg.MultiPartitionsDefinition) -> dg.AssetsDefinition:
    """The asset on the partitions of the settings' window."""
    with warnings.catch_warnings():
        # Backfill policies are in beta; without one Dagster launches a run for every symbol-day.
        warnings.simplefilter("ignore", dg.BetaWarning)
        return _daily_prices(partitions)


def _daily_prices(partitions: dg.MultiPartitionsDefinition) -> dg.AssetsDefinition:
    @dg.asset(
        name="daily_prices",
        partitions_def=partitions,
        deps=[UPSTREAM],
        output_required=False,
        backfill_policy=dg.BackfillPolicy.single_run(),
        group_name="prices",
        kinds={"duckdb"},
        owners=["team:data"],
        code_version=CODE_VERSION,
        pool="prices",
        metadata={"dagster/column_schema": column_schema(DAILY_PRICES)},
        description="Open, high, low, close and volume of one security on one exchange session, in "
        "the shares of basis_on. Green: the row is in the warehouse, or its absence was confirmed "
        "by the source (outcome = empty). Red: neither.",
    )
    def daily_prices(
        context: dg.AssetExecutionContext,
        config: PricesConfig,
        platform: dg.ResourceParam[Platform],
    ) -> Iterator[dg.Output[None]]:
        keys = (key for key in context.partition_keys if isinstance(key, dg.MultiPartitionKey))
        load_and_report(context, platform, config, asked_for(keys))
        # An output would mark every key of the run, so none is yielded.
        yield from ()

    return daily_prices


Context = dg.AssetExecutionContext | dg.OpExecutionContext


def load_and_report(
    context: Context,
    platform: Platform,
    config: PricesConfig,
    asked: Mapping[str, Sequence[dt.date]],
) -> None:
    """Load the sessions asked for of each symbol and tell Dagster what became of them.

    Raises dagster.Failure where any failed, after the good ones are reported.
    """
    outcomes, source = _load(context, platform, config, asked)
    step = RunStep.of(context, dg.AssetKey("daily_prices"), CODE_VERSION, source)
    written = report(context.instance, step, outcomes, upstream=UPSTREAM)
    context.log.info(_summary(outcomes, written))
    if outcomes.failed:
        raise dg.Failure(
            description=_failures(outcomes),
            metadata={"failed": len(outcomes.failed), "good": len(outcomes.good)},
            allow_retries=False,
        )


def _load(
    context: Context,
    platform: Platform,
    config: PricesConfig,
    asked: Mapping[str, Sequence[dt.date]],
) -> tuple[Outcomes, str]:
    """Load every symbol over the span asked for of it; symbols of one span together."""
    source = platform.price_source(config.source)
    last_closed = platform.calendar.last_closed_session(platform.clock())
    try:
        profile = source.profile
    except SourceError as error:
        # The source as a whole can't be read: every closed symbol-day could not be found out.
        context.log.error(str(error))  # noqa: TRY400 - the sentence is the message
        return nothing_found(asked, last_closed, str(error)), error.source
    spans: dict[tuple[dt.date, dt.date], list[str]] = defaultdict(list)
    for symbol, days in asked.items():
        spans[days[0], days[-1]].append(symbol)
    errors: dict[str, str] = {}
    for (start, end), symbols in sorted(spans.items()):
        window = Window(tuple(symbols), start, end)
        errors |= _load_window(context, platform, source, window, force=config.force)
    outcomes = outcomes_of(
        platform.warehouse,
        profile.name,
        profile.names_on,
        asked,
        last_closed,
        run_id=context.run.run_id,
        errors=errors,
    )
    return outcomes, profile.name


def _load_window(
    context: Context, platform: Platform, source: PriceSource, window: Window, *, force: bool
) -> dict[str, str]:
    """Load one window; returns what went wrong, by symbol."""
    try:
        loaded = load(
            platform.warehouse,
            source,
            window,
            platform.calendar,
            force=force,
            identities=platform.identities(source),
            run_id=context.run.run_id,
            on_progress=lambda done, total, what: context.log.debug(f"{done}/{total} {what}"),
        )
    except OpenSessionError as error:
        context.log.warning(str(error))
        return {}
    except SourceError as error:
        context.log.error(str(error))  # noqa: TRY400 - the sentence is the message
        return dict.fromkeys(window.symbols, str(error))
    _log(context, loaded)
    return {r.symbol: r.error for r in loaded.symbols if r.error}


def _log(context: Context, loaded: LoadReport) -> None:
    context.log.info(
        f"{loaded.source}: {loaded.total('inserted')} rows new, {loaded.total('revised')} revised, "
        f"{loaded.total('unchanged')} unchanged, {loaded.total('quarantined')} quarantined, "
        f"{loaded.settled} symbols had everything already."
    )
    for notice in loaded.notices:
        context.log.warning(notice)
    for symbol in loaded.symbols:
        if symbol.error:
            context.log.error(f"{symbol.symbol}: {symbol.error}")


def _summary(outcomes: Outcomes, written: int) -> str:
    return (
        f"{len(outcomes.good)} symbol-days present, {len(outcomes.empty)} confirmed empty, "
        f"{len(outcomes.failed)} failed, {len(outcomes.open)} not closed yet; "
        f"{written} events written."
    )


def _failures(outcomes: Outcomes) -> str:
    shown = [f"{s} {day}: {why}" for (s, day), why in list(outcomes.failed.items())[:10]]
    more = len(outcomes.failed) - len(shown)
    rest = [f"and {more} more; see the load's summary."] if more else []
    return "\n".join([f"{len(outcomes.failed)} symbol-days failed.", *shown, *rest])


@dg.asset(
    deps=["daily_prices"],
    group_name="prices",
    kinds={"duckdb"},
    owners=["team:data"],
    code_version=CODE_VERSION,
    pool="prices",
    description="Splits, dividends, spin-offs and other events, stored by kind as they arrive with "
    "the prices. Stored prices are never adjusted by them; readers do that.",
)
def corporate_actions(platform: dg.ResourceParam[Platform]) -> dg.MaterializeResult[None]:
    with platform.warehouse.reading() as con:
        kinds = con.execute(
            "select kind, count(*), min(ex_date), max(ex_date) from corporate_actions "
            "group by 1 order by 1"
        ).fetchall()
        latest: pd.DataFrame = con.execute(
            "select s.name, a.ex_date, a.kind, a.ratio, a.amount, a.source "
            "from corporate_actions a join securities s using (security_id) "
            "order by a.ex_date desc, a.security_id limit 8"
        ).df()
    return dg.MaterializeResult(
        metadata={
            **{kind: count for kind, count, _, _ in kinds},
            "dagster/row_count": sum(row[1] for row in kinds),
            "first_ex_date": str(min((row[2] for row in kinds), default="")),
            "last_ex_date": str(max((row[3] for row in kinds), default="")),
            "dagster/column_schema": column_schema(CORPORATE_ACTIONS),
            "preview": preview(latest),
        }
    )
