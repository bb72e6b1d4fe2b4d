"""The reason of a run, kept in its tags, and whether a job has a run under way."""

from functools import partial

import dagster as dg

from quant_assets.wiring.platform import Platform

WHY = "quant_assets/why"
"""Run tag: a sentence with the reason of a run."""

TRIGGER = ".dagster/quant_assets.trigger"
"""Run tag: the schedule or sensor that started a run. Dagster's pages leave out tags that begin
like this; they show the same under "Launched by".
"""


def reason(trigger: str, why: str) -> dict[str, str]:
    """The tags of a run that name its schedule or sensor, and its reason."""
    return {TRIGGER: trigger, WHY: why}


PlatformParam = dg.ResourceParam[Platform]

Request = dg.RunRequest | dg.SkipReason
"""What a schedule or sensor gives: one run, or why there is none."""

running_sensor = partial(dg.sensor, default_status=dg.DefaultSensorStatus.RUNNING)
"""A sensor that is switched on from the start; one that a user switches off stays off."""

UNDER_WAY = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def is_under_way(instance: dg.DagsterInstance, job: str) -> bool:
    return bool(instance.get_runs(dg.RunsFilter(job_name=job, statuses=UNDER_WAY), limit=1))
