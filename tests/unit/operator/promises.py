"""What must hold of every plan for every observation, written from the promises and not from the code."""

from __future__ import annotations

import json

from jobworker_operator.model.actions import (
    CreatePod,
    DeletePod,
    Plan,
    QuietPod,
    RemoveFinalizer,
    RescueWorker,
    RetirePod,
    SetReplicas,
    UnquietPod,
)
from jobworker_operator.model.facts import Observation, PodFacts, RedisFacts, WorkerActivity
from jobworker_operator.model.spec import JobWorkerSpec


def check(observation: Observation, plan: Plan) -> None:
    """Raise AssertionError for the first promise that ``plan`` breaks."""
    pods = {pod.uid: pod for pod in observation.pods}
    for action in plan.actions:
        if isinstance(action, DeletePod):
            _deletes_only_who_holds_nothing(observation, pods[action.uid], action)
    _one_step_for_each_pod(plan)
    _blind_hands_are_still(observation, plan)
    _rescues_only_the_silent(observation, plan)
    if not observation.settled:
        assert not [one for one in plan.actions if isinstance(one, CreatePod | DeletePod)]
        kept = "orphan" in observation.jobworker.finalizers
        assert kept or not [one for one in plan.actions if isinstance(one, RemoveFinalizer)]
        quieting = [one for one in plan.actions if isinstance(one, QuietPod | RetirePod | UnquietPod)]
        assert not quieting, "told a pod to go, or to stay, on facts that are old"
    if observation.jobworker.deleting:
        assert not [one for one in plan.actions if isinstance(one, CreatePod | SetReplicas)]
        if any(isinstance(one, RemoveFinalizer) for one in plan.actions):
            assert not pods or "orphan" in observation.jobworker.finalizers
    elif observation.jobworker.spec is None:
        assert all(isinstance(one, RescueWorker) for one in plan.actions)
    else:
        spec = observation.jobworker.spec
        desired = _desired(plan, spec)
        _busy_pods_are_not_scaled_in(observation, plan)
        _few_drain_at_a_time(observation, plan, spec)
        _enough_stay_available(observation, plan, spec, desired)
        _no_more_than_the_surge(observation, plan, spec, desired)
    json.dumps(plan.status)


def activity_of(observation: Observation, uid: str) -> WorkerActivity | None:
    return observation.redis.activities.get(uid) if isinstance(observation.redis, RedisFacts) else None


def removal_begun(observation: Observation, pod: PodFacts) -> bool:
    activity = activity_of(observation, pod.uid)
    by_quiet = activity is not None and (activity.quiet or "").startswith("operator: ")
    return pod.removal is not None or by_quiet


def is_replica(observation: Observation, pod: PodFacts) -> bool:
    return not (pod.ended or pod.terminating or removal_begun(observation, pod))


def is_available(observation: Observation, pod: PodFacts) -> bool:
    activity, spec = activity_of(observation, pod.uid), observation.jobworker.spec
    return (
        is_replica(observation, pod)
        and spec is not None
        and activity is not None
        and activity.epoch is not None
        and activity.alive
        and activity.quiet is None
        and pod.container_running
        and pod.ready
        and (
            spec.rollout.min_ready_seconds == 0  # then the clock of the pod's node has no say
            or observation.now - (pod.ready_since or pod.created_at) >= spec.rollout.min_ready_seconds
        )
    )


def _desired(plan: Plan, spec: JobWorkerSpec) -> int:
    return max([spec.replicas, *(one.replicas for one in plan.actions if isinstance(one, SetReplicas))])


def _deletes_only_who_holds_nothing(observation: Observation, pod: PodFacts, delete: DeletePod) -> None:
    activity, spec = activity_of(observation, pod.uid), observation.jobworker.spec
    assert delete.resource_version == pod.resource_version
    assert not pod.terminating
    if delete.unconfirmed:
        # Nothing that could be cut runs. While somebody can be asked about jobs that it holds, he is asked.
        blind = observation.jobworker.deleting and activity is None
        still = bool(pod.waiting_reason) and not pod.container_running and (pod.never_ran or not pod.others_running)
        assert pod.ended or (pod.never_ran and not pod.scheduled) or (blind and still)
        return
    assert activity is not None
    assert activity.quiet is not None, "deleted without being quiet"
    assert delete.epoch == activity.epoch
    if activity.epoch is not None:
        assert activity.alive, "the witnesses disagree, or there is none"
        assert pod.container_running
    else:
        assert not (pod.ready and pod.container_running), "ready and not in Redis"
    if spec is not None and spec.drain.wait_for == "Checkpoint":
        age, limit = activity.checkpoint_age_seconds, spec.drain.checkpoint_max_age_seconds
        covered = activity.held > 0 and age is not None and age <= limit and activity.running <= activity.held
        assert covered or not (activity.held or activity.running)
        assert delete.checkpoint_max_age_seconds == limit
    else:
        assert activity.held == activity.running == 0, "deleted while busy"
        assert delete.checkpoint_max_age_seconds is None


def _one_step_for_each_pod(plan: Plan) -> None:
    uids = [one.uid for one in plan.actions if isinstance(one, RetirePod | QuietPod | UnquietPod | DeletePod)]
    assert len(uids) == len(set(uids)), "two steps for one pod"


def _blind_hands_are_still(observation: Observation, plan: Plan) -> None:
    if isinstance(observation.redis, RedisFacts):
        return
    spec = observation.jobworker.spec
    for one in plan.actions:
        assert not isinstance(one, QuietPod | RetirePod | UnquietPod | RescueWorker)
        assert not isinstance(one, DeletePod) or one.unconfirmed
        assert not isinstance(one, SetReplicas) or spec is None or one.replicas > spec.replicas


def _rescues_only_the_silent(observation: Observation, plan: Plan) -> None:
    pods = {pod.uid: pod for pod in observation.pods}
    for one in plan.actions:
        if isinstance(one, RescueWorker):
            activity = activity_of(observation, one.uid) or WorkerActivity()
            fresh = activity.beat_age_seconds is not None and activity.beat_age_seconds < 2
            assert not (activity.alive and fresh), "rescued from a worker that beats"
            if one.uid in pods:
                assert one.epoch == activity.epoch or (one.epoch is None and pods[one.uid].ended)
                if pods[one.uid].removal or pods[one.uid].terminating:
                    assert one.planned


def _busy_pods_are_not_scaled_in(observation: Observation, plan: Plan) -> None:
    for one in plan.actions:
        if isinstance(one, QuietPod | RetirePod) and one.reason in {"ScaleIn", "Surplus"}:
            activity = activity_of(observation, one.uid) or WorkerActivity()
            assert activity.quiet is not None or (isinstance(one, RetirePod) and not activity.held)


def _few_drain_at_a_time(observation: Observation, plan: Plan, spec: JobWorkerSpec) -> None:
    told = {one.uid for one in plan.actions if isinstance(one, QuietPod)}
    begun = {pod.uid for pod in observation.pods if removal_begun(observation, pod)}
    more = told - begun
    working = {
        pod.uid
        for pod in observation.pods
        if pod.uid in begun
        and not pod.terminating
        and not pod.ended
        and (activity_of(observation, pod.uid) or _BUSY).busy
    }
    assert not more or len(working | more) <= spec.rollout.max_draining


_BUSY = WorkerActivity(running=1)


def _enough_stay_available(observation: Observation, plan: Plan, spec: JobWorkerSpec, desired: int) -> None:
    available = {pod.uid for pod in observation.pods if is_available(observation, pod)}
    taken = available & {one.uid for one in plan.actions if isinstance(one, QuietPod | RetirePod | DeletePod)}
    surge = spec.rollout.max_surge.of(desired, round_up=True)
    unavailable = spec.rollout.max_unavailable.of(desired, round_up=False) or int(surge == 0)
    assert not taken or len(available - taken) >= desired - unavailable, "less than what has to stay available"
    if spec.rollout.paused:
        assert not [one for one in plan.actions if isinstance(one, QuietPod | RetirePod) and _new(observation, one)]


def _new(observation: Observation, action: QuietPod | RetirePod) -> bool:
    pod = next(pod for pod in observation.pods if pod.uid == action.uid)
    return action.reason == "Rollout" and not removal_begun(observation, pod)


def _no_more_than_the_surge(observation: Observation, plan: Plan, spec: JobWorkerSpec, desired: int) -> None:
    created = sum(isinstance(one, CreatePod) for one in plan.actions)
    replicas = sum(is_replica(observation, pod) for pod in observation.pods)
    old = any(is_replica(observation, pod) and pod.revision != observation.revision for pod in observation.pods)
    surge = spec.rollout.max_surge.of(desired, round_up=True) if old and not spec.rollout.paused else 0
    assert not created or replicas + created <= desired + surge
