"""What a load did, told to Dagster symbol-day by symbol-day.

An asset that simply returns is marked materialized for every key of its run, failed ones included.
So the asset yields nothing, and what happened is reported here: one materialization a good key, one
for a confirmed empty one, and for a failed key a planned event that the failing run never fulfils,
which turns that key and no other red. Nothing is loaded and nothing read from a source here.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import dagster as dg
from dagster._core.definitions.data_version import (
    CODE_VERSION_TAG,
    DATA_VERSION_TAG,
    get_input_data_version_tag,
    get_input_event_pointer_tag,
)
from dagster._core.events import (
    AssetMaterializationPlannedData,
    DagsterEvent,
    DagsterEventType,
    StepMaterializationData,
)
from dagster._core.events.log import EventLogEntry

from quant_assets.outcomes import Outcomes, SymbolDay
from quant_assets.partitions import key_of

ROWS_AT_ONCE = 2_000


@dataclass(frozen=True)
class RunStep:
    """The run and step on whose behalf events are written."""

    run_id: str
    job_name: str
    step_key: str
    asset_key: dg.AssetKey
    code_version: str
    source: str
    tells_all: bool = False
    """Whether every key has to be told, known or not: Dagster calls a backfill failed where one of
    its runs stays silent on a key."""

    @classmethod
    def of(
        cls,
        context: dg.AssetExecutionContext | dg.OpExecutionContext,
        asset_key: dg.AssetKey,
        code_version: str,
        source: str,
    ) -> RunStep:
        op = context if isinstance(context, dg.OpExecutionContext) else context.op_execution_context
        step = op.get_step_execution_context().step.key
        in_backfill = "dagster/backfill" in context.run.tags
        return cls(
            context.run.run_id, op.job_name, step, asset_key, code_version, source, in_backfill
        )


def report(
    instance: dg.DagsterInstance, step: RunStep, outcomes: Outcomes, *, upstream: dg.AssetKey
) -> int:
    """Write the events of a load; returns how many.

    A key whose state Dagster knows already is not told again, except in a run that fails: there a
    key that stayed silent would count as failed.
    """
    tell_all = step.tells_all or bool(outcomes.failed)
    known = set() if tell_all else _green(instance, step.asset_key)
    tags = _provenance(instance, step, upstream)
    events = _events(step, outcomes, known, tags)
    written = 0
    chunk: list[EventLogEntry] = []
    for event in events:
        chunk.append(event)
        if len(chunk) == ROWS_AT_ONCE:
            instance.event_log_storage.store_event_batch(chunk)
            written, chunk = written + len(chunk), []
    if chunk:
        instance.event_log_storage.store_event_batch(chunk)
    return written + len(chunk)


def _events(
    step: RunStep, outcomes: Outcomes, known: set[str], tags: Mapping[str, str]
) -> Iterator[EventLogEntry]:
    for day in outcomes.good:
        if day in outcomes.changed or key_of(*day) not in known:
            metadata = {
                "outcome": dg.MetadataValue.text("present"),
                "rows": dg.MetadataValue.int(1),
            }
            yield _materialized_event(step, day, metadata, tags)
    for day, reason in outcomes.empty.items():
        if day in outcomes.changed or key_of(*day) not in known:
            metadata = {
                "outcome": dg.MetadataValue.text("empty"),
                "rows": dg.MetadataValue.int(0),
                "reason": dg.MetadataValue.text(reason),
            }
            yield _materialized_event(step, day, metadata, tags)
    for day in outcomes.failed:
        yield _planned_event(step, day)


def _materialized_event(
    step: RunStep,
    day: SymbolDay,
    metadata: Mapping[str, dg.MetadataValue],
    tags: Mapping[str, str],
) -> EventLogEntry:
    symbol, session = day
    materialization = dg.AssetMaterialization(
        asset_key=step.asset_key,
        partition=key_of(symbol, session),
        metadata={**metadata, "source": dg.MetadataValue.text(step.source)},
        tags=dict(tags),
    )
    return _entry(
        step,
        DagsterEvent(
            event_type_value=DagsterEventType.ASSET_MATERIALIZATION.value,
            job_name=step.job_name,
            step_key=step.step_key,
            event_specific_data=StepMaterializationData(materialization),
        ),
    )


def _planned_event(step: RunStep, day: SymbolDay) -> EventLogEntry:
    return _entry(
        step,
        DagsterEvent.build_asset_materialization_planned_event(
            step.job_name,
            step.step_key,
            AssetMaterializationPlannedData(step.asset_key, partition=key_of(*day)),
        ),
    )


def _entry(step: RunStep, event: DagsterEvent) -> EventLogEntry:
    return EventLogEntry(  # type: ignore[no-untyped-call]  # Dagster's own
        error_info=None,
        level="INFO",
        user_message="",
        run_id=step.run_id,
        timestamp=time.time(),
        step_key=step.step_key,
        job_name=step.job_name,
        dagster_event=event,
    )


def _green(instance: dg.DagsterInstance, asset_key: dg.AssetKey) -> set[str]:
    """Keys that Dagster shows as materialized: those not attempted in vain since."""
    storage = instance.event_log_storage
    in_vain = storage.get_latest_asset_partition_materialization_attempts_without_materializations(
        asset_key
    )
    return set(instance.get_materialized_partitions(asset_key)) - set(in_vain)


def _provenance(
    instance: dg.DagsterInstance, step: RunStep, upstream: dg.AssetKey
) -> dict[str, str]:
    """Tags without which the UI calls every symbol-day stale.

    The data version is that of the row contract, not of its content: an equal re-load is equal.
    """
    record = instance.get_latest_materialization_event(upstream)
    tags = {DATA_VERSION_TAG: step.code_version, CODE_VERSION_TAG: step.code_version}
    if record is None or record.asset_materialization is None:
        return tags
    version = (record.asset_materialization.tags or {}).get(DATA_VERSION_TAG)
    if version is not None:
        tags[get_input_data_version_tag(upstream)] = version
    latest = instance.get_latest_data_version_record(upstream)
    if latest is not None:
        tags[get_input_event_pointer_tag(upstream)] = str(latest.storage_id)
    return tags


def asked_for(keys: Iterable[dg.MultiPartitionKey]) -> dict[str, list[dt.date]]:
    """The sessions asked for of each symbol, in order."""
    asked: dict[str, list[dt.date]] = {}
    for key in keys:
        by_dimension = key.keys_by_dimension
        asked.setdefault(by_dimension["symbol"], []).append(
            dt.date.fromisoformat(by_dimension["date"])
        )
    return {symbol: sorted(days) for symbol, days in asked.items()}
