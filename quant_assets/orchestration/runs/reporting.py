"""What a load did, reported to Dagster symbol-day by symbol-day.

An asset that simply returns is marked materialized for every key of its run, failed ones included.
So the asset yields nothing, and its symbol-days are reported here: one materialization a good key,
one for a confirmed empty one, and for a failed key an observation that holds the reason and a
planned event that the failing run never fulfils, which turns that key and no other red. No source
is read here.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice, zip_longest

import dagster as dg
from dagster._core.definitions.data_version import (
    CODE_VERSION_TAG,
    DATA_VERSION_TAG,
    get_input_data_version_tag,
    get_input_event_pointer_tag,
)
from dagster._core.events import (
    AssetMaterializationPlannedData,
    AssetObservationData,
    DagsterEvent,
    DagsterEventType,
    StepMaterializationData,
)
from dagster._core.events.log import EventLogEntry

from quant_assets.datasets.daily_prices.key_states import KeyStates, SymbolDay
from quant_assets.orchestration.instance.event_storage import (
    PLACEHOLDER,
    TEXT,
    BatchedEventLogStorage,
)
from quant_assets.orchestration.runs.dataset_asset import DatasetAsset

ROWS_AT_ONCE = 2_000
"""Events handed to the storage, or keys looked up in it, at a time."""


@dataclass(frozen=True)
class RunStep:
    """The run and step on whose behalf the events of an asset are written."""

    run_id: str
    job_name: str
    step_key: str
    asset: DatasetAsset
    source: str = ""
    reports_all: bool = False
    """Whether every key is reported, known or not: Dagster calls a backfill failed where one of
    its runs stays silent on a key."""

    @classmethod
    def of(
        cls, context: dg.AssetExecutionContext | dg.OpExecutionContext, asset: DatasetAsset
    ) -> RunStep:
        op = context if isinstance(context, dg.OpExecutionContext) else context.op_execution_context
        step = op.get_step_execution_context().step.key
        in_backfill = "dagster/backfill" in context.run.tags
        return cls(context.run.run_id, op.job_name, step, asset, reports_all=in_backfill)


@dataclass
class Reporter:
    """Reports symbol-days to Dagster as they are decided, and counts them; memory stays flat.

    A key whose state Dagster shows already is not reported again; on stock storage, which plans
    every key of a run by an event of its own, Dagster shows none as done.
    """

    instance: dg.DagsterInstance
    step: RunStep
    good: int = 0
    empty: int = 0
    failed: int = 0
    open: int = 0
    written: int = 0
    first_failures: dict[SymbolDay, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        asset = self.step.asset
        self._tags = _provenance(self.instance, asset)
        self._has_history = self.instance.get_latest_materialization_event(asset.key) is not None

    def report(self, states: KeyStates) -> None:
        """Write the events of these symbol-days, and count them."""
        self._write(states if self.step.reports_all else self._news(states))
        self.good += len(states.good)
        self.empty += len(states.empty)
        self.failed += len(states.failed)
        self.open += len(states.open)
        room = 10 - len(self.first_failures)
        self.first_failures |= dict(islice(states.failed.items(), room))

    def _write(self, states: KeyStates) -> None:
        self._materialized(
            [self.step.asset.partition_key(*day) for day in states.good], outcome="present", rows=1
        )
        by_reason: dict[str, list[str]] = defaultdict(list)
        for day, reason in states.empty.items():
            by_reason[reason].append(self.step.asset.partition_key(*day))
        for reason, keys in by_reason.items():
            self._materialized(keys, outcome="empty", rows=0, reason=reason)
        failed = [self.step.asset.partition_key(*day) for day in states.failed]
        self._store(self._observed, failed, list(states.failed.values()))
        self._store(self._planned, failed)

    def _news(self, states: KeyStates) -> KeyStates:
        """Those of the states that Dagster does not show already."""
        unchanged = [day for day in (*states.good, *states.empty) if day not in states.changed]
        if not (self._has_history and unchanged):
            return states
        keys = [self.step.asset.partition_key(*day) for day in unchanged]
        green = green_keys(self.instance, self.step.asset.key, keys)
        return replace(
            states,
            good=[day for day in states.good if self.step.asset.partition_key(*day) not in green],
            empty={
                day: why
                for day, why in states.empty.items()
                if self.step.asset.partition_key(*day) not in green
            },
        )

    def _materialized(self, keys: Sequence[str], **metadata: str | int) -> None:
        if self.step.source:
            metadata["source"] = self.step.source

        def event(key: str, _: str) -> DagsterEvent:
            materialization = dg.AssetMaterialization(
                self.step.asset.key, partition=key, metadata=metadata, tags=self._tags
            )
            return DagsterEvent(
                DagsterEventType.ASSET_MATERIALIZATION.value,
                self.step.job_name,
                step_key=self.step.step_key,
                event_specific_data=StepMaterializationData(materialization),
            )

        self._store(event, keys)

    def _observed(self, key: str, reason: str) -> DagsterEvent:
        """The reason of a failure, which Dagster has no room for in a planned event."""
        observation = dg.AssetObservation(
            self.step.asset.key,
            partition=key,
            metadata={"outcome": "failed", "reason": reason},
        )
        return DagsterEvent(
            DagsterEventType.ASSET_OBSERVATION.value,
            self.step.job_name,
            step_key=self.step.step_key,
            event_specific_data=AssetObservationData(observation),
        )

    def _planned(self, key: str, _: str = "") -> DagsterEvent:
        planned = AssetMaterializationPlannedData(self.step.asset.key, partition=key)
        return DagsterEvent.build_asset_materialization_planned_event(
            self.step.job_name, self.step.step_key, planned
        )

    def _store(
        self,
        event: Callable[[str, str], DagsterEvent],
        keys: Sequence[str],
        texts: Sequence[str] = (),
    ) -> None:
        """Write the event of each of ``keys``, with its own of ``texts``."""
        storage = self.instance.event_log_storage
        for at in range(0, len(keys), ROWS_AT_ONCE):
            chunk, some = keys[at : at + ROWS_AT_ONCE], texts[at : at + ROWS_AT_ONCE]
            if isinstance(storage, BatchedEventLogStorage):
                entry = _entry(self.step, event(PLACEHOLDER, TEXT))
                storage.store_partition_events(entry, chunk, some)
            else:
                pairs = zip_longest(chunk, some, fillvalue="")
                storage.store_event_batch([_entry(self.step, event(*pair)) for pair in pairs])
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
    return (
        latest(asset_key, DagsterEventType.ASSET_MATERIALIZATION, set(keys)),
        latest(asset_key, DagsterEventType.ASSET_MATERIALIZATION_PLANNED, set(keys)),
    )


def unfulfilled(instance: dg.DagsterInstance, asset_key: dg.AssetKey) -> set[str]:
    """Keys whose latest planned event came to nothing so far; red, if its run failed."""
    storage = instance.event_log_storage
    attempts = storage.get_latest_asset_partition_materialization_attempts_without_materializations
    return set(attempts(asset_key))


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


def _provenance(instance: dg.DagsterInstance, asset: DatasetAsset) -> dict[str, str]:
    """Tags without which the UI calls every symbol-day stale.

    The data version is that of the row contract, not of its content: an equal re-load is equal.
    """
    tags = {DATA_VERSION_TAG: asset.code_version, CODE_VERSION_TAG: asset.code_version}
    if asset.upstream is None:
        return tags
    record = instance.get_latest_materialization_event(asset.upstream)
    if record is None or record.asset_materialization is None:
        return tags
    version = (record.asset_materialization.tags or {}).get(DATA_VERSION_TAG)
    if version is not None:
        tags[get_input_data_version_tag(asset.upstream)] = version
    latest = instance.get_latest_data_version_record(asset.upstream)
    if latest is not None:
        tags[get_input_event_pointer_tag(asset.upstream)] = str(latest.storage_id)
    return tags
