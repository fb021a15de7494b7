from __future__ import annotations

from typing import Any

import pytest

from jobworker_operator.model.actions import Action, DeletePod, QuietPod, RetirePod, UnquietPod
from jobworker_operator.model.facts import PodFacts, RedisFacts, WorkerActivity
from jobworker_operator.model.spec import DrainSpec
from jobworker_operator.plan import plan
from jobworker_operator.plan.drain import PodState, state_of
from tests.unit.operator.promises import check
from tests.unit.operator.situations import (
    AWAY,
    NEW,
    NOW,
    UNREGISTERED,
    busy,
    going,
    idle,
    jobworker,
    observe,
    pending,
    pod,
    quiet,
)

DEAD: dict[str, Any] = {"container_running": False, "container_started_at": None, "ready": False, "ready_since": None}
YOUNG: dict[str, Any] = {"ready": False, "ready_since": None, "unready_since": NOW - 1000}
"""Its container runs and was not ready yet since it started."""


@pytest.mark.parametrize(
    ("shown", "activity", "state"),
    [
        pytest.param(pending("p"), UNREGISTERED, "Starting", id="no container yet"),
        pytest.param(pending("p"), None, "Starting", id="no container yet, Redis away"),
        pytest.param(pod("p", **YOUNG), UNREGISTERED, "Starting", id="runs and has not registered"),
        pytest.param(pod("p", **DEAD), UNREGISTERED, "Starting", id="crashed and rescued"),
        pytest.param(pod("p"), idle(), "Idle", id="idle"),
        pytest.param(pod("p", **YOUNG), idle(), "Idle", id="registered before it is ready"),
        pytest.param(pod("p"), busy(), "Busy", id="busy"),
        pytest.param(pod("p"), idle(running=1), "Busy", id="Redis forgot what the worker knows"),
        pytest.param(pod("p"), idle(held=1), "Busy", id="taken since the last beat"),
        pytest.param(pod("p"), quiet(2), "Quiet", id="quiet"),
        pytest.param(pod("p"), idle(quiet="q", running=1), "Quiet", id="quiet, runs what Redis forgot"),
        pytest.param(pod("p"), quiet(), "Drained", id="drained"),
        pytest.param(pending("p"), WorkerActivity(quiet="q"), "Drained", id="quiet before it started"),
        pytest.param(pod("p"), None, "Unknown", id="Redis away"),
        pytest.param(pod("p"), UNREGISTERED, "Unknown", id="ready and not in Redis"),
        pytest.param(pod("p"), WorkerActivity(quiet="q"), "Unknown", id="quiet, ready and not in Redis"),
        pytest.param(
            pod("p", ready=False, ready_since=None, unready_since=NOW - 9),
            UNREGISTERED,
            "Unknown",
            id="was ready in this life",
        ),
        pytest.param(pod("p"), idle(alive=False), "Unknown", id="stale heartbeat"),
        pytest.param(pod("p"), quiet(alive=False), "Unknown", id="quiet with a stale heartbeat"),
        pytest.param(pod("p", **DEAD), idle(), "Unknown", id="beats without a container"),
        pytest.param(pod("p", **DEAD), quiet(), "Unknown", id="quiet and beats without a container"),
        pytest.param(pod("p", **DEAD), WorkerActivity(held=1), "Unknown", id="jobs without a record"),
        pytest.param(pod("p", terminating=True), busy(), "Deleting", id="terminating"),
        pytest.param(pod("p", phase="Failed"), idle(), "Lost", id="failed"),
    ],
)
def test_state(shown: PodFacts, activity: WorkerActivity | None, state: str) -> None:
    assert state_of(shown, activity, DrainSpec()) is PodState(state)


@pytest.mark.parametrize(
    ("activity", "state"),
    [
        pytest.param(quiet(2, checkpoint_age_seconds=59.0), "Drained", id="young checkpoints"),
        pytest.param(quiet(2, checkpoint_age_seconds=61.0), "Quiet", id="an old one"),
        pytest.param(quiet(2, checkpoint_age_seconds=None), "Quiet", id="a job without one"),
        pytest.param(quiet(2, running=3, checkpoint_age_seconds=1.0), "Quiet", id="Redis forgot a job"),
        pytest.param(idle(quiet="q", running=1), "Quiet", id="Redis forgot all jobs"),
        pytest.param(busy(2, checkpoint_age_seconds=1.0), "Busy", id="not quiet"),
    ],
)
def test_a_young_checkpoint_is_enough_where_the_spec_says_so(activity: WorkerActivity, state: str) -> None:
    assert state_of(pod("p"), activity, DrainSpec("Checkpoint", 60)) is PodState(state)
    by_jobs = state_of(pod("p"), activity, DrainSpec("Jobs"))
    assert by_jobs is (PodState.BUSY if activity.quiet is None else PodState.QUIET)


def steps(shown: PodFacts, activity: WorkerActivity, **more: Any) -> tuple[Action, ...]:
    others = [pod(f"new-{number}") for number in range(3)]
    observation = observe(*others, shown, workers={shown.uid: activity}, **more)
    decided = plan(observation)
    check(observation, decided)
    return decided.actions


def test_a_drained_pod_is_deleted_in_the_life_that_was_looked_at() -> None:
    (delete,) = steps(going("old"), quiet(epoch="e7"))
    assert isinstance(delete, DeletePod)
    assert (delete.uid, delete.epoch, delete.resource_version, delete.unconfirmed) == ("old", "e7", "7", False)
    assert delete.event is not None
    assert delete.event.message == "Deleted pod old, which had drained after 35 s (Rollout)"


def test_a_checkpointed_pod_is_deleted_with_the_age_that_is_allowed() -> None:
    spec = jobworker(drain=DrainSpec("Checkpoint", 60))
    (delete,) = steps(going("old"), quiet(2, checkpoint_age_seconds=9.0), of=spec)
    assert isinstance(delete, DeletePod)
    assert delete.checkpoint_max_age_seconds == 60


@pytest.mark.parametrize("activity", [quiet(1), quiet(alive=False), idle(quiet="operator: Rollout", running=1)])
def test_a_pod_that_may_be_busy_is_waited_for(activity: WorkerActivity) -> None:
    assert steps(going("old"), activity) == ()


def test_a_pod_that_redis_forgot_to_be_quiet_is_quieted_again() -> None:
    assert steps(going("old"), busy()) == (QuietPod("old", "old", "Rollout"),)


def test_a_pod_that_was_quieted_and_not_annotated_goes_on_to_drain() -> None:
    assert steps(pod("old", "old"), quiet(1)) == (QuietPod("old", "old", "Rollout"),)
    (delete,) = steps(pod("old", "old"), quiet())
    assert isinstance(delete, DeletePod)


@pytest.mark.parametrize(
    ("activity", "expected"),
    [
        pytest.param(busy(), UnquietPod("p", "p"), id="busy: another is looked for"),
        pytest.param(idle(), RetirePod("p", "p", "ScaleIn"), id="idle: asked again"),
    ],
)
def test_scale_in_does_not_insist_on_a_pod_that_took_a_job(activity: WorkerActivity, expected: Action) -> None:
    assert expected in steps(going("p", "ScaleIn", NEW), activity)


def test_a_pod_that_a_person_made_quiet_is_left_alone() -> None:
    observation = observe(pod("a"), pod("b"), pod("c"), workers={"c": quiet(reason="debugging")})
    assert plan(observation).actions == ()


@pytest.mark.parametrize(
    ("shown", "activity", "words"),
    [
        pytest.param(going("p"), quiet(1), "1 job to end", id="one job"),
        pytest.param(going("p"), quiet(3), "3 jobs to end", id="jobs"),
        pytest.param(going("p"), quiet(), "its deletion", id="drained"),
        pytest.param(going("p", terminating=True), quiet(), "the kubelet to end it", id="terminating"),
        pytest.param(
            going("p"), quiet(alive=False), "a heartbeat of its worker; until then it is taken for busy", id="stale"
        ),
        pytest.param(
            going("p"),
            WorkerActivity(quiet="q"),
            "its worker to register in Redis again; until then it is taken for busy",
            id="unregistered",
        ),
        pytest.param(going("p", **DEAD), quiet(2), "the jobs of its dead container to be given back", id="dead"),
        pytest.param(going("p"), idle(), "its worker to be quieted", id="not quiet"),
        pytest.param(going("p"), None, AWAY.problem, id="Redis away"),
    ],
)
def test_what_a_pod_waits_for_is_told(shown: PodFacts, activity: WorkerActivity | None, words: str) -> None:
    redis = AWAY if activity is None else RedisFacts({"p": activity})
    observation = observe(shown, redis=redis)
    (entry,) = (plan(observation).status or {})["draining"]
    assert entry["waitingFor"] == words
    assert entry["since"] == "1970-01-12T13:46:05Z"


def test_a_checkpoint_is_named_where_one_would_do() -> None:
    spec = jobworker(drain=DrainSpec("Checkpoint", 45))
    observation = observe(going("p"), of=spec, workers={"p": quiet(2)})
    status = plan(observation).status or {}
    assert status["draining"][0]["waitingFor"] == "2 jobs to end, or to save checkpoints (at most 45 s old)"
    assert status["summary"].endswith("(p waits since 13:46:05 UTC for 2 jobs to end, or to save checkpoints)")
