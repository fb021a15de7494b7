"""Who goes when there are too many: whoever is missed least, and nobody who works.

Not scheduled, then starting (the newest first), then idle by `retire`. A busy pod is never chosen: with no idle one,
scale-in waits. Pods that do not work yet are not capacity, so they are never the reason to close one that does.
"""

from __future__ import annotations

from collections.abc import Iterator

from jobworker_operator.model.actions import Action
from jobworker_operator.model.facts import Observation, RemovalReason
from jobworker_operator.model.spec import JobWorkerSpec
from jobworker_operator.plan.drain import Census, Member, PodState, delete, delete_unconfirmed, retire
from jobworker_operator.plan.replicas import surge_of


def excess(census: Census, spec: JobWorkerSpec, desired: int) -> int:
    """How many replicas there are too many. A rollout keeps its surge, also while it is paused."""
    room = surge_of(spec.rollout, desired) if census.old else 0
    return max(0, len(census.replicas) - desired - room)


def choose(census: Census, spec: JobWorkerSpec, desired: int) -> tuple[Member, ...]:
    """Pods that shall go, in this order."""
    count, spare = excess(census, spec, desired), _spare(census, desired)
    if not census.old or spec.rollout.paused:
        return _pick(census.replicas, count, spare)
    # New ones up to the size are what the rollout works for: it is the old ones that are too many.
    chosen = _pick(census.old, count, spare)
    spare -= sum(member.available for member in chosen)
    return chosen + _pick(census.updated, len(census.updated) - desired, spare)


def scale_in(observation: Observation, spec: JobWorkerSpec, chosen: tuple[Member, ...]) -> Iterator[Action]:
    """Let the chosen ones go."""
    reason = _reason(observation)
    for member in chosen:
        match member.state:
            case PodState.STARTING if not member.pod.scheduled and member.pod.never_ran:
                yield delete_unconfirmed(member, reason, "was never scheduled")
            case PodState.DRAINED:
                yield delete(member, spec.drain, reason, observation.now)
            case _:
                yield retire(member, reason)


def _spare(census: Census, desired: int) -> int:
    return sum(member.available for member in census.replicas) - desired


def _pick(members: tuple[Member, ...], count: int, spare: int) -> tuple[Member, ...]:
    ranked = sorted(
        ((rank, member) for member in members if (rank := _rank(member)) is not None),
        key=lambda pair: (pair[0], pair[1].updated, -pair[1].pod.created_at, pair[1].pod.name),
    )
    chosen: list[Member] = []
    for _, member in ranked:
        if len(chosen) >= count:
            break
        if member.available:
            if spare <= 0:
                continue
            spare -= 1
        chosen.append(member)
    return tuple(chosen)


def _rank(member: Member) -> int | None:
    """How little a pod is missed, 0 the least; None for one that may not be chosen."""
    match member.state:
        case PodState.STARTING:
            return 1 if member.pod.scheduled or not member.pod.never_ran else 0
        case PodState.DRAINED:
            return 2  # a person made it quiet
        case PodState.IDLE:
            return 3
        case _:
            return None


def _reason(observation: Observation) -> RemovalReason:
    """Surplus if nobody asked for fewer: there are more than were counted and wanted before."""
    spec, status = observation.jobworker.spec, observation.jobworker.status
    desired = None if spec is None else spec.replicas
    before = status.get("replicas")
    same = desired is not None and status.get("desiredReplicas") == desired
    return "Surplus" if same and isinstance(before, int) and before <= (desired or 0) else "ScaleIn"
