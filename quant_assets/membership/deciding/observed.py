"""From lists to spans: since when, and until when, lists taken together have a security.

One list alone that lacks a member proves nothing; the second one, or a dated removal, does. The
best source heard of late says who is a member; another only tells what changed between two of its
own.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from quant_assets.membership.deciding.evidence import (
    ADDED,
    BRIEF,
    DAY,
    INTERVAL,
    RANKS,
    Edge,
    Evidence,
    Listed,
    Lists,
    intervals,
    leavings,
)


@dataclass(frozen=True)
class Span:
    joined: Edge
    left: Edge | None


def smoothed(
    voice: str, evidence: Evidence, lists: Lists
) -> tuple[tuple[Listed, ...], dt.date | None]:
    """A voice's runs without the gaps and appearances that are slips; and since when it waits for a
    second list to confirm that it is gone.
    """
    result: list[Listed] = []
    for run in evidence.runs[voice]:
        before = result[-1] if result else None
        if before and before.gone_on and _slip(voice, before.gone_on, run, evidence, lists):
            result[-1] = replace(run, listed_on=before.listed_on)
        else:
            result.append(run)
    kept = [run for run in result if not _stray(voice, run, evidence, lists)]
    last = kept[-1] if kept else None
    if (
        last
        and last.gone_on
        and lists.count(voice, last.gone_on, None) == 1
        and (voice, last.gone_on) not in lists.trusted
        and not _left_by_word(evidence, lists.before(voice, last.gone_on), last.gone_on)
    ):
        kept[-1] = replace(last, gone_on=None)
        return tuple(kept), last.gone_on
    return tuple(kept), None


def _slip(voice: str, gone: dt.date, back: Listed, evidence: Evidence, lists: Lists) -> bool:
    """Whether a gap between two runs means nothing: it is one list, or brief, or one of a list kept
    by hand over which a history file knows the member.
    """
    if (voice, gone) in lists.trusted:
        return False
    once = lists.count(voice, gone, back.listed_on) == 1
    brief = back.listed_on - gone <= BRIEF
    if (once or brief) and not _left_by_word(
        evidence, lists.before(voice, gone), back.listed_on - DAY
    ):
        return True
    return RANKS.get(voice, 1) > 0 and any(
        s.from_on <= gone and (s.until_on is None or back.listed_on <= s.until_on)
        for s in intervals(evidence)
    )


def _stray(voice: str, run: Listed, evidence: Evidence, lists: Lists) -> bool:
    """Whether a short appearance on lists, with none before and after, counts for nothing."""
    return bool(
        run.gone_on
        and (voice, run.gone_on) not in lists.trusted
        and run.gone_on - run.listed_on <= BRIEF
        and lists.before(voice, run.listed_on)
        and not any(
            s.kind in (ADDED, INTERVAL) and abs(s.from_on - run.listed_on) <= BRIEF
            for s in evidence.said
        )
    )


def _left_by_word(evidence: Evidence, listed: dt.date | None, gone: dt.date) -> bool:
    """Whether a statement dates the leaving about when lists stop having the security."""
    since = (listed or gone) - BRIEF
    removed, ended = leavings(evidence)
    return any(since <= day <= gone + BRIEF for day, _ in (*removed, *ended))


def observed(runs: Mapping[str, Sequence[Listed]], lists: Lists) -> list[Span]:
    """Spans between which lists, taken together, change their mind."""
    spans: list[Span] = []
    joined: Edge | None = None
    state: bool | None = None
    last: dt.date | None = None
    own: dict[str, tuple[bool, dt.date]] = {}
    for day, voice, asserts in lists.voices:
        present = any(run.covers(day) for run in runs.get(voice, ()))
        before, own[voice] = own.get(voice), (present, day)
        news = before is not None and before[0] != present and not lists.hushed(voice, day)
        if not (asserts or news):
            continue
        if present != state and not (state is None and not present):
            edge = Edge(last if asserts or not before else before[1], day, voice)
            if present:
                joined = edge
            elif joined:
                spans.append(Span(joined, edge))
                joined = None
        state, last = present, day
    return [*spans, Span(joined, None)] if joined else spans
