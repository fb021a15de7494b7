"""Old pods make way for new ones, without a break in the work and without waiting for one long job.

Replacements come first (`replicas.creates`, up to maxSurge); then as many old pods are told to go as availability and
maxDraining allow, all at once: those that never worked, then idle ones, then busy ones. A pod that drains counts no
more as a replica, so the rollout goes on beside it. The deadline counts pods that fail to become
ready, never busy ones.
"""

from __future__ import annotations

from collections.abc import Iterator

from jobworker_operator.model.actions import Action
from jobworker_operator.model.facts import Observation
from jobworker_operator.model.spec import JobWorkerSpec
from jobworker_operator.plan.drain import (
    Census,
    Member,
    PodState,
    delete,
    delete_unconfirmed,
    quiet,
    retire,
)
from jobworker_operator.plan.replicas import floor_of

_ORDER = {PodState.STARTING: 0, PodState.DRAINED: 1, PodState.IDLE: 2, PodState.UNKNOWN: 3, PodState.BUSY: 4}


def replace_old(
    observation: Observation, census: Census, spec: JobWorkerSpec, desired: int, going: tuple[Member, ...]
) -> Iterator[Action]:
    """Tell old pods to go, as many as may. ``going`` leave already for another reason."""
    if spec.rollout.paused:
        return
    staying = [member for member in census.old if member not in going and member.state in _ORDER]
    available = sum(member.available for member in census.replicas if member not in going)
    floor = floor_of(spec.rollout, desired)
    room = spec.rollout.max_draining - census.finishing
    halted = is_halted(census)
    for member in sorted(staying, key=lambda member: (_ORDER[member.state], member.jobs, member.pod.created_at)):
        if member.state is PodState.STARTING:
            # It never was capacity and holds nothing. Of an abandoned revision it goes before any that works.
            yield _dismiss(member)
            continue
        # An Unknown pod costs no availability, but while there is less than there shall be, it may be what is missing.
        cost = int(member.available)
        if halted or available - cost < floor:
            continue
        match member.state:
            case PodState.DRAINED:  # a person made it quiet, and that reason is left as it is
                yield delete(member, spec.drain, "Rollout", observation.now)
            case PodState.IDLE:
                yield retire(member, "Rollout")
            case _ if room > 0:
                room -= 1
                yield quiet(member, "Rollout")
            case _:
                continue
        available -= cost


def _dismiss(member: Member) -> Action:
    if not member.pod.scheduled and member.pod.never_ran:
        return delete_unconfirmed(member, "Rollout", "was never scheduled")
    return retire(member, "Rollout")


def is_halted(census: Census) -> bool:
    """The new revision cannot start anywhere: old pods go on working until somebody mends it.

    Between two crashes a container runs for a moment: that is no start.
    """
    updated = census.updated
    return any(member.cannot_start or member.crashed for member in updated) and not any(
        member.available for member in updated
    )


def is_late(member: Member, spec: JobWorkerSpec, now: float) -> bool:
    """It failed to become ready for longer than progressDeadlineSeconds."""
    return _unready_for(member, now) > spec.rollout.progress_deadline_seconds


def next_deadline(census: Census, spec: JobWorkerSpec, now: float) -> float | None:
    """Seconds until the next pod is late, or the next one has been ready for minReadySeconds."""
    waits = [spec.rollout.progress_deadline_seconds - _unready_for(member, now) for member in census.updated]
    waits += [
        spec.rollout.min_ready_seconds - (now - (member.pod.ready_since or now))
        for member in census.replicas
        if member.pod.ready
    ]
    return min((wait for wait in waits if wait > 0), default=None)


def _unready_for(member: Member, now: float) -> float:
    if member.pod.ready or member.state in {PodState.BUSY, PodState.UNKNOWN}:
        return 0.0
    return now - max(member.pod.created_at, member.pod.unready_since or 0.0)
