"""Asset checks: what an asset lacks as a whole, each with what to do about it.

Whether symbols lack a session is told by ``latest_session``. None has partitions. They run with
their asset, after a job's load, and at the hours of ``latest_session``: a check that only ran with
its asset would be skipped where that failed in part.
"""

import datetime as dt
from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg
import duckdb
import pandas as pd
from dagster._core.storage.tags import PRIORITY_TAG

from quant_assets.loading.tasks import FAILED, MOST_ATTEMPTS
from quant_assets.orchestration.assets.latest_session import TO_CONFIRM
from quant_assets.orchestration.assets.metadata import preview
from quant_assets.orchestration.assets.prices import PRICES_CHANGED
from quant_assets.orchestration.runs.dataset_asset import PRICES, UNIVERSE
from quant_assets.refreshing.nightly import named
from quant_assets.wiring.platform import Platform

OLDEST_LIST = dt.timedelta(days=7)
"""How old the list of an index may be; it is looked at every hour."""

SHOWN = 20
"""Offenders that a check lists, at most."""

NOT_YET_CHECKED = dg.AutomationCondition.missing() & dg.AutomationCondition.any_deps_match(
    ~dg.AutomationCondition.missing()
)
"""An asset that was loaded by a job, before anything looked for changes, is checked as well."""

WHEN_TO_CHECK: dg.AutomationCondition[Any] = (
    (PRICES_CHANGED | TO_CONFIRM | NOT_YET_CHECKED).since(dg.AutomationCondition.newly_requested())
    & ~dg.AutomationCondition.any_deps_in_progress()
    & ~dg.AutomationCondition.in_progress()
)
"""As ``once_quiet``, but the checks of a load's own run do not count: they come first where it
waits for its turn to load."""

QUARANTINED, BLOCKED, AGE = "rows_in_quarantine", "blocked_symbols", "age_of_the_list"


def _spec(name: str, asset: dg.AssetKey, what_to_do: str) -> dg.AssetCheckSpec:
    return dg.AssetCheckSpec(
        name, asset=asset, description=what_to_do, automation_condition=WHEN_TO_CHECK
    )


_SPECS = {
    QUARANTINED: _spec(
        QUARANTINED,
        PRICES.key,
        "Symbol-days whose row broke a rule and is in the table quarantine, with no good row "
        "since. To mend: correct the file, or wait for the source, and load these days again: "
        "`quant-assets backfill --symbols SYMBOL --start DAY --end DAY`.",
    ),
    BLOCKED: _spec(
        BLOCKED,
        PRICES.key,
        "Symbols that nothing loads by itself any more: their source contradicts stored prices, "
        f"or {MOST_ATTEMPTS} loads in a row failed. To mend: `quant-assets resume --retry-failed`; "
        "where a source contradicts what is stored, look at its prices, then "
        "`quant-assets refresh --symbols SYMBOL --accept`.",
    ),
    AGE: _spec(
        AGE,
        UNIVERSE,
        f"Whether the newest accepted list of the index is at most {OLDEST_LIST.days} days old. To "
        "mend: `quant-assets universe import`, which says why a source fails or a list is refused; "
        "or import a list of your own with --from.",
    ),
}


@dg.op(
    out={name: dg.Out(dg.Nothing, is_required=False) for name in _SPECS},
    # After the load, where a run has both.
    tags={PRIORITY_TAG: "-1"},
)
def checks(
    context: dg.OpExecutionContext, platform: dg.ResourceParam[Platform]
) -> Iterator[dg.AssetCheckResult]:
    selected = {key.name for key in context.selected_asset_check_keys}
    platform.warehouse.migrate()
    yield from (result for result in look_over(platform) if result.check_name in selected)


asset_checks = dg.AssetChecksDefinition.create(
    # With an input Dagster would skip them where a load fails in part, and always for daily_prices,
    # which has no output that says it is done.
    keys_by_input_name={},
    node_def=checks,
    check_specs_by_output_name=_SPECS,
    can_subset=True,
)


def look_over(platform: Platform) -> list[dg.AssetCheckResult]:
    """The result of every check; each passes while there is nothing to look over."""
    if not platform.warehouse.exists():
        return [_result(name, (), ()) for name in _SPECS]
    with platform.warehouse.reading() as con:
        results = [_quarantined(con), _blocked(con)]
    return [*results, _age(platform.last_accepted(), platform.clock().date())]


def _age(accepted: tuple[dt.date, int] | None, today: dt.date) -> dg.AssetCheckResult:
    if accepted is None:
        return _result(AGE, (), ())
    day, members = accepted
    days = (today - day).days
    return dg.AssetCheckResult(
        check_name=AGE,
        asset_key=UNIVERSE,
        passed=days <= OLDEST_LIST.days,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"The list is of {day}, {days} days ago.",
        metadata={"listed_on": str(day), "days": days, "members": members},
    )


def _quarantined(con: duckdb.DuckDBPyConnection) -> dg.AssetCheckResult:
    rows = con.execute(
        "select coalesce(h.symbol, l.security_id::varchar), l.session, l.source, l.reason"
        " from symbol_day_ledger l left join symbol_history h on h.security_id = l.security_id"
        "  and h.valid_from <= l.session and (h.valid_to is null or h.valid_to > l.session)"
        " where l.dataset = ? and l.outcome = 'quarantined' order by l.session desc, 1",
        [PRICES.table.name],
    ).fetchall()
    columns = ["symbol", "session", "source", "reason"]
    return _result(QUARANTINED, columns, rows, severity=dg.AssetCheckSeverity.WARN)


def _blocked(con: duckdb.DuckDBPyConnection) -> dg.AssetCheckResult:
    rows = con.execute(
        "select symbol, source, attempts, error from load_tasks t where dataset = ? and state = ?"
        " and (attempts >= ? or exists (from log_entries e where e.run_id = t.run_id"
        "  and e.dataset = t.dataset and e.source = t.source and e.symbol = t.symbol"
        "  and e.error_class = 'BlockedSymbolError')) order by 1, 2",
        [PRICES.table.name, FAILED, MOST_ATTEMPTS],
    ).fetchall()
    return _result(BLOCKED, ["symbol", "source", "attempts", "why"], rows)


def _result(
    name: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR,
) -> dg.AssetCheckResult:
    """Passed where there are no ``rows``; else they are counted, and the first of them listed."""
    offenders = pd.DataFrame(list(rows), columns=list(columns))
    said = "None."
    if rows:
        symbols = named(list(offenders["symbol"].unique()))
        said = f"{len(rows):,} of {symbols}. First: {', '.join(map(str, rows[0]))}."
    return dg.AssetCheckResult(
        check_name=name,
        asset_key=_SPECS[name].asset_key,
        passed=not rows,
        severity=severity,
        description=said,
        metadata={"count": len(rows), **({"first": preview(offenders, SHOWN)} if rows else {})},
    )
