"""How many pods there shall be: creation, healing, and pods whose removal is no longer wanted.

A pod whose reason to go is withdrawn is better than a new one: it runs already.
"""

from __future__ import annotations

from collections.abc import Iterator

from jobworker_operator.model.actions import Action, CreatePod, Event, UnquietPod
from jobworker_operator.model.facts import Observation
from jobworker_operator.model.spec import RolloutSpec
from jobworker_operator.plan.drain import Census, Member, PodState, delete_unconfirmed
from jobworker_operator.plan.rescue import is_silent, rescue_of_lost

REJECTED_SECONDS = 10.0
"""A pod that ended this soon after its creation was refused by its node. It keeps its place until then, so that a
node which refuses every pod is not asked a hundred times a second."""


def surge_of(rollout: RolloutSpec, desired: int) -> int:
    """How many pods there may be beyond the desired number."""
    return rollout.max_surge.of(desired, round_up=True)


def floor_of(rollout: RolloutSpec, desired: int) -> int:
    """How many pods have to stay available."""
    unavailable = rollout.max_unavailable.of(desired, round_up=False)
    if unavailable == 0 and surge_of(rollout, desired) == 0:
        unavailable = 1  # small percentages of few replicas: one of both has to move, as in a Deployment
    return max(0, desired - unavailable)


def withdrawn(census: Census, rollout: RolloutSpec, desired: int) -> tuple[Member, ...]:
    """Draining pods of the wanted revision that are wanted again, the busiest first, for they lose most by waiting."""
    if not census.readable:
        return ()
    # While a rollout is paused old replicas are as good as new ones: who returned would be one too many.
    missing = desired - len(census.replicas if rollout.paused else census.updated)
    candidates = [
        member
        for member in census.draining
        if member.updated
        and not member.pod.terminating
        and member.pod.container_running
        and member.removal is not None
        and member.removal.reason in {"Rollout", "ScaleIn", "Surplus"}
    ]
    candidates.sort(key=lambda member: (not member.pod.ready, -member.jobs, member.pod.name))
    return tuple(candidates[: max(0, missing)])


def unquiet(members: tuple[Member, ...]) -> Iterator[UnquietPod]:
    """Let them take jobs again."""
    for member in members:
        event = Event("PodUnquieted", f"Pod {member.pod.name} takes jobs again: it is wanted after all")
        yield UnquietPod(member.pod.uid, member.pod.name, event)


def creates(observation: Observation, census: Census, desired: int, returning: int) -> Iterator[CreatePod]:
    """Pods to create, when ``returning`` others take jobs again."""
    spec = observation.jobworker.spec
    if spec is None:
        return
    refused = sum(_just_refused(member, observation.now) for member in census.lost)
    total = len(census.replicas) + returning + refused
    missing = desired - total
    if census.old and not spec.rollout.paused:
        updated = len(census.updated) + returning + refused
        missing = min(desired - updated, missing + surge_of(spec.rollout, desired))
    for _ in range(max(0, missing)):
        yield CreatePod(observation.revision)


def clear_lost(observation: Observation, census: Census) -> Iterator[Action]:
    """Give back the jobs of pods that ended, then delete what is left of these pods.

    In this order, for the pod's object tells how it ended, and so whether a job may be to blame.
    """
    for member in census.lost:
        if member.activity is None or _just_refused(member, observation.now):
            continue
        rescue = rescue_of_lost(member.pod, member.activity)
        if rescue is not None and not is_silent(member.activity):
            continue
        if rescue is not None:
            yield rescue
        if observation.settled and not member.pod.terminating:
            words = member.pod.status_reason or member.pod.phase
            yield delete_unconfirmed(member, "Failed", f"had ended: {words}")


def refused_for(observation: Observation, census: Census) -> float | None:
    """Seconds until the first refused pod gives up its place."""
    ages = [observation.now - member.pod.created_at for member in census.lost if _just_refused(member, observation.now)]
    return REJECTED_SECONDS - max(ages) if ages else None


def _just_refused(member: Member, now: float) -> bool:
    return member.state is PodState.LOST and now - member.pod.created_at < REJECTED_SECONDS
