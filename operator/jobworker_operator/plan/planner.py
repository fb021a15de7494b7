"""From an Observation to a Plan: the order of the decisions.

Whatever adds or keeps work comes before whatever takes it away, so a plan that is carried out only in part leaves too
many pods behind and never too few.
"""

from __future__ import annotations

from collections.abc import Iterator

from jobworker_operator.model.actions import Action, AddFinalizer, Plan
from jobworker_operator.model.facts import Observation, RedisFacts
from jobworker_operator.model.names import DRAIN_FINALIZER
from jobworker_operator.model.spec import JobWorkerSpec
from jobworker_operator.plan import deletion, replicas, rollout, scaling, victims
from jobworker_operator.plan.drain import Census, PodState, continue_drain, take_census
from jobworker_operator.plan.events import status_events
from jobworker_operator.plan.rescue import rescues
from jobworker_operator.plan.situation import Situation
from jobworker_operator.plan.status import SAMPLE_SECONDS, sample_due_in, status_of

_SOON = 1.0
"""Seconds until the next look while something is under way that no watch event announces."""


def plan(observation: Observation) -> Plan:
    """What to do now, what to say, when to look again. The same observation gives the same plan."""
    jobworker, census = observation.jobworker, take_census(observation)
    spec = jobworker.spec
    decision = None
    actions: tuple[Action, ...]
    if jobworker.deleting:
        actions = tuple(deletion.let_go(observation, census))
    elif spec is None:
        actions = tuple(rescues(observation, census))
    else:
        decision = scaling.decide(observation, census, spec)
        if DRAIN_FINALIZER not in jobworker.finalizers:
            # No pod without it: a JobWorker that is deleted the next moment would take busy pods along.
            return Plan(actions=(AddFinalizer(),), look_again_seconds=_SOON)
        actions = tuple(_work(observation, census, spec, decision))
    situation = Situation(observation, census, decision)
    status = status_of(situation)
    return Plan(
        actions=actions,
        status=status,
        events=tuple(status_events(situation, status)),
        look_again_seconds=_look_again(situation),
        recommendation=None if decision is None else decision.recommendation,
    )


def _work(
    observation: Observation, census: Census, spec: JobWorkerSpec, decision: scaling.Decision
) -> Iterator[Action]:
    desired = decision.desired
    if decision.set_replicas is not None:
        yield decision.set_replicas
    yield from rescues(observation, census)
    returning = replicas.withdrawn(census, spec.rollout, desired) if observation.settled else ()
    yield from replicas.unquiet(returning)
    if observation.settled:
        yield from replicas.creates(observation, census, desired, len(returning))
    yield from replicas.clear_lost(observation, census)
    if not (census.readable and observation.settled):
        return
    for member in census.members:
        if member not in returning:
            yield from continue_drain(member, spec.drain, observation.now)
    going = victims.choose(census, spec, desired)
    yield from victims.scale_in(observation, spec, going)
    yield from rollout.replace_old(observation, census, spec, desired, going)


def _look_again(situation: Situation) -> float | None:
    """The next moment at which the same facts would give another plan, or facts may change without an event."""
    observation, spec, census = situation.observation, situation.spec, situation.census
    if not observation.pods and (spec is None or observation.jobworker.deleting) and census.readable:
        return None
    waits: list[float | None] = [SAMPLE_SECONDS, sample_due_in(situation) or None]
    redis = observation.redis
    if (
        census.draining
        or census.lost
        or situation.excess
        or situation.rolling
        or not situation.complete
        or any(member.state is PodState.UNKNOWN for member in census.members)
        or (isinstance(redis, RedisFacts) and redis.orphans)
        or (spec is not None and spec.scaling.mode == "Auto")
    ):
        waits.append(_SOON)
    if spec is not None:
        waits.append(rollout.next_deadline(census, spec, observation.now))
    waits.append(replicas.refused_for(observation, census))
    return min((wait for wait in waits if wait is not None and wait > 0), default=None)
