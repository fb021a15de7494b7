"""How many replicas the queues ask for: ceil((queued + held) / backlogPerReplica), between minReplicas and maxReplicas.

Up at once. Down to the highest recommendation of the stabilization window, and only by a process that has watched
for a whole window. Without a signal the size is held, and the status says so. Jobs of paused queues do not count,
for no replica could run them; nor do those that draining pods finish by themselves.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from jobworker_operator.model.actions import Event, SetReplicas
from jobworker_operator.model.facts import Observation, Recommendation, RedisFacts, Unreadable, WorkerActivity
from jobworker_operator.model.spec import JobWorkerSpec, ScalingSpec
from jobworker_operator.model.words import counted
from jobworker_operator.plan.drain import Census, PodState


@dataclass(frozen=True, slots=True)
class Signal:
    """What the law is fed with."""

    queued: int
    held: int
    due_soon: int


@dataclass(frozen=True, slots=True)
class Decision:
    """The size that this plan works for, and why. ``active`` is the state of the condition ScalingActive."""

    desired: int
    why: str
    active: bool
    condition_reason: str
    condition_message: str
    set_replicas: SetReplicas | None = None
    recommendation: Recommendation | None = None


def decide(observation: Observation, census: Census, spec: JobWorkerSpec) -> Decision:
    """The size to work for. A larger one counts at once, a smaller one when it stands in the spec."""
    scaling, current = spec.scaling, spec.replicas
    if scaling.mode == "Off":
        message = "spec.scaling.mode is Off: the size is spec.replicas"
        return Decision(current, "", active=False, condition_reason="ScalingOff", condition_message=message)
    if isinstance(observation.redis, Unreadable):
        return _without_signal(observation.redis, scaling, current)
    recommended, why = recommend(read_signal(observation.redis, census), scaling)
    target, why = _stabilize(observation, census, scaling, current, (recommended, why))
    share = counted(scaling.backlog_per_replica, "job")
    return Decision(
        desired=max(current, target),
        why=why,
        active=True,
        condition_reason="ScalingByBacklog",
        condition_message=f"The size follows the queues, {share} for each replica",
        set_replicas=_change(current, target, why),
        recommendation=Recommendation(observation.now, recommended),
    )


def read_signal(redis: RedisFacts, census: Census) -> Signal:
    """Work that there is for replicas."""
    own = [member.jobs for member in census.replicas]
    orphans = [redis.activities.get(uid, WorkerActivity()) for uid in redis.orphans]
    return Signal(
        queued=sum(queue.depth for queue in redis.queues if not queue.paused),
        held=sum(own) + sum(max(orphan.held, orphan.running) for orphan in orphans),
        due_soon=redis.due_soon,
    )


def recommend(signal: Signal, scaling: ScalingSpec) -> tuple[int, str]:
    """The law, and the sentence that explains its answer."""
    raw = math.ceil((signal.queued + signal.held) / scaling.backlog_per_replica)
    why = f"{signal.queued} queued and {signal.held} held, {scaling.backlog_per_replica} for each replica"
    if raw == 0 and signal.due_soon > 0:
        raw, why = 1, f"{why}; {signal.due_soon} due within a minute"
    if raw < scaling.min_replicas:
        return scaling.min_replicas, f"{why}; minReplicas is {scaling.min_replicas}"
    if raw > scaling.max_replicas:
        return scaling.max_replicas, f"{why}; maxReplicas is {scaling.max_replicas}, {raw} would be needed"
    return raw, why


def _stabilize(
    observation: Observation, census: Census, scaling: ScalingSpec, current: int, law: tuple[int, str]
) -> tuple[int, str]:
    recommended, why = law
    if recommended >= current:
        return recommended, why
    window, now = scaling.scale_down_stabilization_seconds, observation.now
    recent = [past.replicas for past in observation.history if now - past.at <= window]
    highest = min(max([recommended, *recent]), scaling.max_replicas)
    if highest >= current:
        return current, f"{why}; held by the highest of the last {window} s"
    if now - observation.watching_since < window:
        # The upper limit is the user's word, as the lower one is, and needs no history.
        held = min(current, scaling.max_replicas)
        return held, f"{why}; held until this operator has watched for {window} s"
    if any(member.state is PodState.UNKNOWN for member in census.replicas):
        return current, f"{why}; held, for it is not known of every pod what it does"
    if highest > recommended:
        why = f"{why}; {highest} is the highest of the last {window} s"
    return highest, why


def _without_signal(redis: Unreadable, scaling: ScalingSpec, current: int) -> Decision:
    # The lower limit is the user's word and needs no signal. Whatever else is held.
    target = max(current, scaling.min_replicas)
    why = "held: there is no signal" if target == current else f"minReplicas is {target}; there is no signal"
    return Decision(
        desired=target,
        why=why,
        active=False,
        condition_reason=redis.reason,
        condition_message=f"The size is held: {redis.problem}",
        set_replicas=_change(current, target, why),
    )


def _change(current: int, target: int, why: str) -> SetReplicas | None:
    if target == current:
        return None
    name = "ScaledOut" if target > current else "ScaledIn"
    return SetReplicas(target, why, Event(name, f"From {current} to {counted(target, 'replica')}: {why}"))
