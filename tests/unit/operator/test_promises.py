"""Promises on random observations, far from those that a real cluster would show."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from jobworker_operator.model.actions import DeletePod, QuietPod
from jobworker_operator.model.facts import (
    Crash,
    Observation,
    PodFacts,
    QueueFacts,
    Recommendation,
    RedisFacts,
    Removal,
    RemovalReason,
    WorkerActivity,
)
from jobworker_operator.model.names import DRAIN_FINALIZER
from jobworker_operator.model.spec import Amount, DrainSpec, RolloutSpec, ScalingSpec
from jobworker_operator.plan import plan
from tests.unit.operator.promises import check
from tests.unit.operator.situations import AWAY, NEW, NOW, OLD, jobworker

ages = st.sampled_from([0.0, 0.5, 1.9, 2.0, 4.0, 9.0, 11.0, 59.0, 61.0, 700.0])
reasons: st.SearchStrategy[RemovalReason] = st.sampled_from(["Rollout", "ScaleIn", "Deleted", "Surplus", "Failed"])
mostly = st.sampled_from([True, True, True, True, False])
rarely = st.sampled_from([False, False, False, False, False, True])


@st.composite
def pods(draw: st.DrawFn, uid: str) -> PodFacts:
    started = draw(mostly)
    running = started and draw(mostly)
    ready = running and draw(mostly)
    created = draw(ages)
    fields: dict[str, Any] = {
        "phase": draw(st.sampled_from(["Running", "Running", "Running", "Failed"])) if started else "Pending",
        "scheduled": started or draw(st.booleans()),
        "ready": ready,
        "ready_since": NOW - draw(ages) if ready else None,
        "unready_since": None if ready else draw(st.one_of(st.none(), ages.map(lambda age: NOW - age))),
        "container_running": running,
        "container_started_at": NOW - draw(ages) if running else None,
        "container_ever_started": started,
        "terminating": draw(rarely),
        "disrupted": draw(rarely),
        "waiting_reason": "" if running else draw(st.sampled_from(["", "ImagePullBackOff", "CrashLoopBackOff"])),
        "crash": Crash("worker", "Error, exit code 1", "no Redis") if started and draw(rarely) else None,
        "others_running": draw(rarely),
        "removal": Removal(draw(reasons), NOW - draw(ages)) if draw(rarely) else None,
    }
    revision = draw(st.sampled_from([NEW, OLD, OLD, "older"]))
    return PodFacts(
        uid=uid, name=uid, revision=revision, resource_version=f"v-{uid}", created_at=NOW - created, **fields
    )


@st.composite
def activities(draw: st.DrawFn) -> WorkerActivity:
    if draw(rarely):
        return WorkerActivity(
            held=draw(st.sampled_from([0, 0, 1])), quiet=draw(st.sampled_from([None, "operator: Rollout"]))
        )
    held = draw(st.sampled_from([0, 0, 1, 3]))
    return WorkerActivity(
        epoch=draw(st.sampled_from(["e1", "e2"])),
        alive=draw(mostly),
        held=held,
        running=draw(st.sampled_from([held, held, held, 0, 1])),
        quiet=draw(st.sampled_from([None, None, "operator: Rollout", "operator: ScaleIn", "by a person"])),
        beat_age_seconds=draw(ages),
        checkpoint_age_seconds=draw(st.one_of(st.none(), ages)) if held else 0.0,
    )


@st.composite
def observations(draw: st.DrawFn) -> Observation:
    uids = [f"p{number}" for number in range(draw(st.integers(0, 7)))]
    shown = tuple(draw(pods(uid)) for uid in uids)
    orphans = ("gone",) if draw(rarely) else ()
    told = {uid: draw(activities()) for uid in [*uids, *orphans] if not draw(rarely)}
    depth = draw(st.sampled_from([0, 1, 25, 400]))
    auto = draw(st.booleans())
    broken: dict[str, Any] = {"spec": None, "problem": "mend it"} if draw(rarely) else {}
    owner = jobworker(
        draw(st.integers(0, 6)),
        rollout=RolloutSpec(
            max_surge=draw(st.sampled_from([Amount(1), Amount(2), Amount(25, percent=True), Amount(0, percent=True)])),
            max_unavailable=draw(st.sampled_from([Amount(0), Amount(1), Amount(50, percent=True)])),
            max_draining=draw(st.sampled_from([1, 2, 10])),
            min_ready_seconds=draw(st.sampled_from([0, 0, 10])),
            paused=draw(rarely),
        ),
        drain=DrainSpec(draw(st.sampled_from(["Jobs", "Checkpoint"])), 10),
        scaling=ScalingSpec(mode="Auto", max_replicas=5) if auto else ScalingSpec(),
        deleting=draw(rarely),
        finalizers=(DRAIN_FINALIZER,) if draw(mostly) else (),
        status=draw(st.sampled_from([{}, {"desiredReplicas": 3, "replicas": 3, "updateRevision": OLD}])),
        **broken,
    )
    return Observation(
        now=NOW,
        jobworker=owner,
        revision=NEW,
        pods=shown,
        redis=AWAY if draw(rarely) else RedisFacts(told, (QueueFacts("default", depth, 3.0),), orphans),
        settled=draw(mostly),
        history=tuple(
            Recommendation(NOW - age, replicas)
            for age, replicas in draw(st.lists(st.tuples(ages, st.integers(0, 5)), max_size=2))
        ),
        watching_since=NOW - draw(ages),
    )


@settings(max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(observations())
def test_every_plan_keeps_every_promise(observation: Observation) -> None:
    decided = plan(observation)
    for kind in {type(action).__name__ for action in decided.actions}:
        event(kind)
    check(observation, decided)
    assert plan(observation) == decided, "the same observation gave another plan"


def test_random_observations_reach_the_decisions_that_matter() -> None:
    """A property that never sees a deletion would hold of a planner that does nothing."""
    seen: set[str] = set()

    @settings(max_examples=400, deadline=None, database=None, derandomize=True)
    @given(observations())
    def collect(observation: Observation) -> None:
        for action in plan(observation).actions:
            seen.add(type(action).__name__)
            if isinstance(action, DeletePod):
                seen.add(f"DeletePod unconfirmed={action.unconfirmed}")
            if isinstance(action, QuietPod):
                seen.add(f"QuietPod {action.reason}")

    collect()
    assert seen >= {
        "AddFinalizer",
        "CreatePod",
        "DeletePod unconfirmed=False",
        "DeletePod unconfirmed=True",
        "QuietPod Deleted",
        "QuietPod Rollout",
        "RescueWorker",
        "RetirePod",
        "SetReplicas",
        "UnquietPod",
    }
