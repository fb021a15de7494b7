"""A JobWorker that is being deleted: its pods finish what they hold, then it may go.

All pods become quiet at once, and each is deleted as soon as it has drained; what dead ones held is given back. While
Redis cannot be read nobody is deleted but pods in which nothing runs, and the status says what is missing.
"""

from __future__ import annotations

from collections.abc import Iterator

from jobworker_operator.model.actions import Action, RemoveFinalizer
from jobworker_operator.model.facts import Observation, RedisFacts
from jobworker_operator.model.names import DRAIN_FINALIZER, ORPHAN_FINALIZER
from jobworker_operator.model.spec import DrainSpec
from jobworker_operator.plan.drain import (
    Census,
    Member,
    PodState,
    continue_drain,
    delete,
    delete_unconfirmed,
    quiet,
    retire,
    runs_nothing,
)
from jobworker_operator.plan.replicas import clear_lost
from jobworker_operator.plan.rescue import rescues


def let_go(observation: Observation, census: Census) -> Iterator[Action]:
    """The next steps of a deletion."""
    spec = observation.jobworker.spec
    drain = DrainSpec() if spec is None else spec.drain
    if ORPHAN_FINALIZER in observation.jobworker.finalizers:
        yield from _let_go_at_once(observation)
        return
    yield from rescues(observation, census)
    yield from clear_lost(observation, census)
    if observation.settled:  # else who was told to go a moment ago would be told again
        for member in census.members:
            yield from _release(member, drain, observation.now, readable=census.readable)
    orphans = isinstance(observation.redis, RedisFacts) and observation.redis.orphans
    # Without pods there is nobody to protect. Orphans that Redis does not show now are rescued by any worker.
    gone = not observation.pods and observation.settled and not orphans
    if gone and DRAIN_FINALIZER in observation.jobworker.finalizers:
        yield RemoveFinalizer()


def _let_go_at_once(observation: Observation) -> Iterator[Action]:
    """Whoever deletes with --cascade=orphan keeps the pods, and their work."""
    if DRAIN_FINALIZER in observation.jobworker.finalizers:
        yield RemoveFinalizer()


def _release(member: Member, drain: DrainSpec, now: float, *, readable: bool) -> Iterator[Action]:
    if member.pod.terminating:
        return
    if member.pod.ended:
        # `clear_lost` asks Redis first, so as to blame the right job. Where it cannot, nobody is blamed.
        if member.activity is None:
            yield delete_unconfirmed(member, "Deleted", f"had ended: {member.pod.status_reason or member.pod.phase}")
    elif member.pod.never_ran and not member.pod.scheduled:
        yield delete_unconfirmed(member, "Deleted", "was never scheduled")
    elif member.activity is None and runs_nothing(member.pod):
        # Its deletion cuts nothing. What it held when it crashed stays in Redis and is rescued.
        yield delete_unconfirmed(member, "Deleted", f"does not run: {member.pod.waiting_reason}")
    elif not readable:
        return
    elif member.removal is not None:
        yield from continue_drain(member, drain, now, deleting=True)
    else:
        yield from _begin(member, drain, now)


def _begin(member: Member, drain: DrainSpec, now: float) -> Iterator[Action]:
    match member.state:
        case PodState.STARTING | PodState.IDLE:
            yield retire(member, "Deleted")
        case PodState.BUSY | PodState.UNKNOWN:
            yield quiet(member, "Deleted")
        case PodState.DRAINED:
            yield delete(member, drain, "Deleted", now)
        case PodState.QUIET | PodState.DELETING | PodState.LOST:
            return  # quiet by a person: it takes nothing more and only has to end
