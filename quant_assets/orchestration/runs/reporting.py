"""What a load did, told to Dagster symbol-day by symbol-day.

An asset that simply returns is marked materialized for every key of its run, failed ones included.
So the asset yields nothing, and what happened is reported here: one materialization a good key, one
for a confirmed empty one, and for a failed key a planned event that the failing run never fulfils,
which turns that key and no other red. Nothing is loaded and nothing read from a source here.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

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

from quant_assets.datasets.daily_prices.key_states import KeyStates, SymbolDay
from quant_assets.orchestration.instance.event_storage import PLACEHOLDER, BatchedEventLogStorage
from quant_assets.orchestration.runs.dataset_asset import DatasetAsset
from quant_assets.orchestration.runs.partitions import key_text

ROWS_AT_ONCE = 2_000
"""Events handed to the storage, or keys asked of it, at a time."""


@dataclass(frozen=True)
class RunStep:
    """The run and step on whose behalf events are written."""

    run_id: str
    job_name: str
    step_key: str
    asset_key: dg.AssetKey
    code_version: str
    source: str = ""
    reports_all: bool = False
    """Whether every key has to be told, known or not: Dagster calls a backfill failed where one of
    its runs stays silent on a key."""

    @classmethod
    def of(
        cls,
        context: dg.AssetExecutionContext | dg.OpExecutionContext,
        asset: DatasetAsset,
    ) -> RunStep:
        op = context if isinstance(context, dg.OpExecutionContext) else context.op_execution_context
        step = op.get_step_execution_context().step.key
        in_backfill = "dagster/backfill" in context.run.tags
        return cls(
            context.run.run_id,
            op.job_name,
            step,
            asset.key,
            asset.code_version,
            reports_all=in_backfill,
        )

    def from_source(self, source: str) -> RunStep:
        return replace(self, source=source)


@dataclass
class Reporter:
    """Tells Dagster of symbol-days as they are decided, and counts them; memory stays flat.

    A key whose state Dagster shows already is not told again; on stock storage, which plans every
    key of a run by an event of its own, Dagster shows none as done. ``upstream`` is the asset whose
    version every event names as its input.
    """

    instance: dg.DagsterInstance
    step: RunStep
    upstream: dg.AssetKey
    good: int = 0
    empty: int = 0
    failed: int = 0
    open: int = 0
    written: int = 0
    first_failures: dict[SymbolDay, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._tags = _provenance(self.instance, self.step, self.upstream)
        self._has_history = (
            self.instance.get_latest_materialization_event(self.step.asset_key) is not None
        )

    def report(self, states: KeyStates) -> None:
        """Write the events of these symbol-days, and count them."""
        self._write(states if self.step.reports_all else self._news(states))
        self.good += len(states.good)
        self.empty += len(states.empty)
        self.failed += len(states.failed)
        self.open += len(states.open)
        for day, reason in states.failed.items():
            if len(self.first_failures) < 10:
                self.first_failures[day] = reason

    def _write(self, states: KeyStates) -> None:
        self._materialized([key_text(*day) for day in states.good], "present", rows=1)
        by_reason: dict[str, list[str]] = defaultdict(list)
        for day, reason in states.empty.items():
            by_reason[reason].append(key_text(*day))
        for reason, keys in by_reason.items():
            self._materialized(keys, "empty", rows=0, reason=reason)
        self._store(_planned(self.step), [key_text(*day) for day in states.failed])

    def _news(self, states: KeyStates) -> KeyStates:
        """Those of the states that Dagster does not show already."""
        settled = [*states.good, *states.empty]
        doubtful = [key_text(*day) for day in settled if day not in states.changed]
        green = (
            green_keys(self.instance, self.step.asset_key, doubtful) if self._has_history else set()
        )
        if not green:
            return states
        return replace(
            states,
            good=[day for day in states.good if key_text(*day) not in green],
            empty={
                day: reason for day, reason in states.empty.items() if key_text(*day) not in green
            },
        )

    def _materialized(self, keys: Sequence[str], outcome: str, *, rows: int, **more: str) -> None:
        metadata: dict[str, dg.MetadataValue] = {
            "outcome": dg.MetadataValue.text(outcome),
            "rows": dg.MetadataValue.int(rows),
            **{name: dg.MetadataValue.text(text) for name, text in more.items()},
        }
        if self.step.source:
            metadata["source"] = dg.MetadataValue.text(self.step.source)
        materialization = dg.AssetMaterialization(
            self.step.asset_key, partition=PLACEHOLDER, metadata=metadata, tags=self._tags
        )
        self._store(_materialization(self.step, materialization), keys)

    def _store(self, event: DagsterEvent, keys: Sequence[str]) -> None:
        """Write ``event`` for each of ``keys``."""
        storage = self.instance.event_log_storage
        for at in range(0, len(keys), ROWS_AT_ONCE):
            chunk = keys[at : at + ROWS_AT_ONCE]
            if isinstance(storage, BatchedEventLogStorage):
                storage.store_partition_events(_entry(self.step, event), chunk)
            else:
                storage.store_event_batch([_entry(self.step, _for(event, key)) for key in chunk])
        self.written += len(keys)


def green_keys(
    instance: dg.DagsterInstance, asset_key: dg.AssetKey, keys: Sequence[str]
) -> set[str]:
    """Those of ``keys`` that Dagster shows as materialized and not attempted in vain since."""
    green: set[str] = set()
    for at in range(0, len(keys), ROWS_AT_ONCE):
        done, planned = latest_events(instance, asset_key, keys[at : at + ROWS_AT_ONCE])
        green |= {key for key, number in done.items() if planned.get(key, 0) < number}
    return green


def latest_events(
    instance: dg.DagsterInstance, asset_key: dg.AssetKey, keys: Sequence[str]
) -> tuple[Mapping[str, int], Mapping[str, int]]:
    """Storage ids of the latest materialization, and of the latest planned one, by key."""
    latest = instance.event_log_storage.get_latest_storage_id_by_partition
    asked = set(keys)
    return (
        latest(asset_key, DagsterEventType.ASSET_MATERIALIZATION, asked),
        latest(asset_key, DagsterEventType.ASSET_MATERIALIZATION_PLANNED, asked),
    )


def unfulfilled(instance: dg.DagsterInstance, asset_key: dg.AssetKey) -> set[str]:
    """Keys whose latest planned event came to nothing so far; red, if its run failed."""
    storage = instance.event_log_storage
    attempts = storage.get_latest_asset_partition_materialization_attempts_without_materializations
    return set(attempts(asset_key))


def _materialization(step: RunStep, materialization: dg.AssetMaterialization) -> DagsterEvent:
    return DagsterEvent(
        event_type_value=DagsterEventType.ASSET_MATERIALIZATION.value,
        job_name=step.job_name,
        step_key=step.step_key,
        event_specific_data=StepMaterializationData(materialization),
    )


def _planned(step: RunStep) -> DagsterEvent:
    return DagsterEvent.build_asset_materialization_planned_event(
        step.job_name,
        step.step_key,
        AssetMaterializationPlannedData(step.asset_key, partition=PLACEHOLDER),
    )


def _for(event: DagsterEvent, key: str) -> DagsterEvent:
    """``event`` with ``key`` in the place of the placeholder."""
    data = event.event_specific_data
    if isinstance(data, StepMaterializationData):
        materialization = data.materialization._replace(partition=key)
        return event._replace(event_specific_data=StepMaterializationData(materialization))
    planned = event.asset_materialization_planned_data
    return event._replace(
        event_specific_data=AssetMaterializationPlannedData(planned.asset_key, partition=key)
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
