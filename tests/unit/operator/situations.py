"""Short words for observations: what a table of cases is written in."""

from __future__ import annotations

from typing import Any

from jobworker_operator.model.facts import (
    Observation,
    PodFacts,
    QueueFacts,
    Recommendation,
    RedisFacts,
    Removal,
    RemovalReason,
    Unreadable,
    WorkerActivity,
)
from jobworker_operator.model.names import DRAIN_FINALIZER
from jobworker_operator.model.spec import (
    Amount,
    DrainSpec,
    JobWorker,
    JobWorkerSpec,
    Key,
    QueueSpec,
    RedisSpec,
    RolloutSpec,
    ScalingSpec,
    WorkerSpec,
)

NOW = 1_000_000.0
NEW, OLD = "new", "old"
AWAY = Unreadable("RedisUnreachable", "Redis at redis:6379 refuses connections")


def rollout(surge: int = 1, unavailable: int = 0, **more: Any) -> RolloutSpec:
    return RolloutSpec(max_surge=Amount(surge), max_unavailable=Amount(unavailable), **more)


def jobworker(
    replicas: int = 3,
    *,
    rollout: RolloutSpec | None = None,
    drain: DrainSpec | None = None,
    scaling: ScalingSpec | None = None,
    template: dict[str, Any] | None = None,
    **more: Any,
) -> JobWorker:
    spec = JobWorkerSpec(
        replicas=replicas,
        worker=WorkerSpec(queues=(QueueSpec("default"),)),
        redis=RedisSpec(url="redis://redis:6379"),
        template=template or {"spec": {"containers": [{"name": "worker", "image": "shop:1"}]}},
        rollout=rollout or RolloutSpec(max_surge=Amount(1)),
        drain=drain or DrainSpec(),
        scaling=scaling or ScalingSpec(),
    )
    fields: dict[str, Any] = {"finalizers": (DRAIN_FINALIZER,), "generation": 1, "resource_version": "1", **more}
    return JobWorker(key=Key("shop", "mailers"), uid="jw", spec=fields.pop("spec", spec), **fields)


def pod(name: str, revision: str = NEW, **more: Any) -> PodFacts:
    """A pod that has been at work for a while."""
    fields: dict[str, Any] = {
        "resource_version": "7",
        "created_at": NOW - 1000,
        "phase": "Running",
        "scheduled": True,
        "node": "node-a",
        "ready": True,
        "ready_since": NOW - 900,
        "container_running": True,
        "container_started_at": NOW - 950,
        "container_ever_started": True,
        **more,
    }
    return PodFacts(uid=name, name=name, revision=revision, **fields)


def pending(name: str, revision: str = NEW, *, scheduled: bool = True, **more: Any) -> PodFacts:
    """A pod of which no container was started yet."""
    fields: dict[str, Any] = {"created_at": NOW - 3, "scheduled": scheduled, "resource_version": "7", **more}
    return PodFacts(uid=name, name=name, revision=revision, **fields)


def going(name: str, reason: RemovalReason = "Rollout", revision: str = OLD, **more: Any) -> PodFacts:
    """A pod whose removal began 35 seconds ago."""
    return pod(name, revision, removal=Removal(reason, NOW - 35), **more)


def idle(**more: Any) -> WorkerActivity:
    fields: dict[str, Any] = {"epoch": "e1", "alive": True, "beat_age_seconds": 0.5, **more}
    return WorkerActivity(**fields)


def busy(jobs: int = 1, **more: Any) -> WorkerActivity:
    return idle(**{"held": jobs, "running": jobs, "checkpoint_age_seconds": None, **more})


def quiet(jobs: int = 0, reason: str = "operator: Rollout", **more: Any) -> WorkerActivity:
    return busy(jobs, quiet=reason, **more) if jobs else idle(quiet=reason, **more)


UNREGISTERED = WorkerActivity()


def observe(
    *pods: PodFacts,
    of: JobWorker | None = None,
    workers: dict[str, WorkerActivity] | None = None,
    redis: RedisFacts | Unreadable | None = None,
    depth: int = 0,
    orphans: tuple[str, ...] = (),
    history: tuple[Recommendation, ...] = (),
    **more: Any,
) -> Observation:
    """Workers that are not named are idle if their container runs, else not registered."""
    told = workers or {}
    if redis is None:
        activities = {pod.uid: told.get(pod.uid, idle() if pod.container_running else UNREGISTERED) for pod in pods}
        activities |= {uid: activity for uid, activity in told.items() if uid not in activities}
        redis = RedisFacts(activities, (QueueFacts("default", depth, 0.0),), orphans)
    fields: dict[str, Any] = {"now": NOW, "revision": NEW, **more}
    return Observation(jobworker=of or jobworker(), pods=pods, redis=redis, history=history, **fields)
