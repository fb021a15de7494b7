from __future__ import annotations

from typing import Any

import pytest

from jobworker_operator.model.actions import (
    AddFinalizer,
    DeletePod,
    QuietPod,
    RemoveFinalizer,
    RescueWorker,
    RetirePod,
)
from jobworker_operator.model.facts import PodFacts, Removal, WorkerActivity
from jobworker_operator.model.names import DRAIN_FINALIZER
from tests.unit.operator.situations import (
    AWAY,
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
from tests.unit.operator.test_rollout import decide, moves

DELETING = jobworker(deleting=True)
DEAD: dict[str, Any] = {"container_running": False, "container_started_at": None, "ready": False, "ready_since": None}


def test_all_pods_become_quiet_at_once_and_the_drained_go() -> None:
    shown = [pod("idle"), pod("busy"), pending("starting"), pending("new", scheduled=False), going("done", "Deleted")]
    workers = {"busy": busy(), "done": quiet(0, "operator: Deleted")}
    assert sorted(moves(observe(*shown, of=DELETING, workers=workers))) == [
        "delete done",
        "delete new",
        "quiet busy",
        "retire idle",
        "retire starting",
    ]


def test_a_pod_that_is_going_for_another_reason_is_never_taken_back() -> None:
    observation = observe(going("p", "ScaleIn", "new"), of=DELETING, workers={"p": busy()})
    assert decide(observation).actions == (QuietPod("p", "p", "Deleted"),)


def test_nobody_is_told_to_go_twice_while_the_first_time_is_not_shown_yet() -> None:
    shown = [pod("marked in Redis only"), pod("in neither yet"), pod("idle")]
    workers = {"marked in Redis only": quiet(0, "operator: Deleted"), "in neither yet": busy(4)}
    assert moves(observe(*shown, of=DELETING, workers=workers, settled=False)) == []


def test_without_redis_only_pods_that_never_ran_are_deleted() -> None:
    stuck = pending("stuck", waiting_reason="CreateContainerConfigError")
    shown = [pod("a"), going("b", "Deleted"), pending("new", scheduled=False), pending("creating"), stuck]
    observation = observe(*shown, of=DELETING, redis=AWAY)
    assert moves(observation) == ["delete new", "delete stuck"] or moves(observation) == ["delete stuck", "delete new"]
    status = decide(observation).status or {}
    degraded = next(one for one in status["conditions"] if one["type"] == "Degraded")
    assert (degraded["status"], degraded["reason"]) == ("True", "RedisUnreachable")
    assert AWAY.problem in degraded["message"]


BACK_OFF: dict[str, Any] = {**DEAD, "restarts": 3, "waiting_reason": "CrashLoopBackOff"}


@pytest.mark.parametrize(
    ("shown", "goes"),
    [
        pytest.param(pod("p", **BACK_OFF), True, id="in back-off"),
        pytest.param(going("p", "Deleted", **BACK_OFF), True, id="in back-off, told to go before"),
        pytest.param(pod("p"), False, id="runs"),
        pytest.param(pod("p", **DEAD), False, id="between its end and the kubelet's words about it"),
        pytest.param(pod("p", **BACK_OFF, others_running=True), False, id="in back-off beside a container that runs"),
        pytest.param(pending("p", waiting_reason="ErrImagePull", others_running=True), True, id="never ran"),
        pytest.param(pod("p", **BACK_OFF, terminating=True), False, id="is going already"),
        pytest.param(pod("p", **DEAD, phase="Failed", disrupted=True), True, id="evicted"),
    ],
)
def test_a_deletion_without_redis_takes_pods_in_which_nothing_runs(shown: PodFacts, *, goes: bool) -> None:
    (*deletes,) = decide(observe(shown, of=DELETING, redis=AWAY)).actions
    assert len(deletes) == goes
    for delete in deletes:
        assert isinstance(delete, DeletePod)
        assert (delete.uid, delete.resource_version) == ("p", "7"), "its start, if it starts now, is a conflict"


def test_a_pod_in_back_off_goes_by_way_of_redis_where_redis_answers() -> None:
    told = {"p": UNREGISTERED}
    assert moves(observe(pod("p", **BACK_OFF), of=DELETING, workers=told)) == ["retire p"]


def test_a_deletion_that_is_held_says_by_what_and_how_to_give_it_up() -> None:
    others = (pod("c", **BACK_OFF), pending("d", scheduled=False))
    observation = observe(pod("a"), pod("b"), *others, of=DELETING, redis=AWAY)
    decided = decide(observation)
    status = decided.status or {}
    give_up = "kubectl delete pod -n shop -l jobworker.dev/jobworker=mailers"
    assert status["summary"] == f"Deleting, held by 2 pods, to give up: {give_up}"
    told = {one["type"]: one for one in status["conditions"]}
    assert told["Progressing"]["reason"] == "DeletionHeld"
    for message in (told["Progressing"]["message"], told["Degraded"]["message"]):
        assert "pod a (and 1 more)" in message
        assert give_up in message
    assert AWAY.problem in told["Degraded"]["message"]
    assert "DeletionHeld" in [event.reason for event in decided.events]


def test_a_deletion_is_not_held_by_pods_that_drain_nor_by_those_that_go() -> None:
    observation = observe(pod("a"), going("b", "Deleted"), of=DELETING, workers={"b": quiet(1)})
    assert (decide(observation).status or {})["summary"].startswith("Deleting, 1 draining")
    ending = observe(pod("a", terminating=True), of=DELETING, redis=AWAY)
    assert (decide(ending).status or {})["summary"] == "Deleting, 1 draining"


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        pytest.param({}, (RemoveFinalizer(),), id="no pod is left"),
        pytest.param({"redis": AWAY}, (RemoveFinalizer(),), id="no pod is left, Redis away"),
        pytest.param({"settled": False}, (), id="a pod may not be shown yet"),
        pytest.param({"of": jobworker(deleting=True, finalizers=())}, (), id="somebody removed it"),
    ],
)
def test_the_jobworker_goes_when_its_pods_are_gone(more: dict[str, Any], expected: tuple[object, ...]) -> None:
    assert decide(observe(**{"of": DELETING, **more})).actions == expected


def test_the_jobworker_waits_for_terminating_pods_and_for_orphans() -> None:
    assert decide(observe(pod("a", terminating=True), of=DELETING)).actions == ()
    observation = observe(of=DELETING, orphans=("gone",), workers={"gone": busy(alive=False, beat_age_seconds=9.0)})
    (rescue,) = decide(observation).actions
    assert isinstance(rescue, RescueWorker)
    assert (rescue.uid, rescue.epoch, rescue.planned, rescue.forget) == ("gone", None, True, True)


def test_an_invalid_spec_is_drained_like_any_other_when_it_is_deleted() -> None:
    invalid = jobworker(spec=None, problem="mend it", deleting=True)
    (retire,) = decide(observe(pod("a"), of=invalid)).actions
    assert isinstance(retire, RetirePod)


def test_an_invalid_spec_changes_no_pod_and_says_why() -> None:
    invalid = jobworker(
        spec=None, problem="spec.redis needs exactly one of url and urlFrom", status={"desiredReplicas": 3}
    )
    decided = decide(observe(pod("a"), going("b"), of=invalid, workers={"b": quiet()}))
    assert decided.actions == ()
    status = decided.status or {}
    assert status["desiredReplicas"] == 3
    assert {one["type"]: one["reason"] for one in status["conditions"]}["Ready"] == "InvalidSpec"
    assert status["summary"].startswith("Invalid: spec.redis needs exactly one of url and urlFrom")


def test_no_pod_is_made_before_the_finalizer_stands() -> None:
    assert decide(observe(of=jobworker(finalizers=()))).actions == (AddFinalizer(),)


@pytest.mark.parametrize(
    ("shown", "activity", "epoch", "planned"),
    [
        pytest.param(pod("p", **DEAD), busy(alive=False, beat_age_seconds=6.0), "e1", False, id="container ended"),
        pytest.param(pod("p", terminating=True, **DEAD), busy(alive=False), "e1", True, id="terminating"),
        pytest.param(
            pod("p", removal=Removal("Rollout", NOW), **DEAD), quiet(1, alive=False), "e1", True, id="with a removal"
        ),
        pytest.param(
            pod("p", container_started_at=NOW - 10), busy(alive=False, beat_age_seconds=30.0), "e1", False,
            id="the container began anew after the last beat",
        ),
        pytest.param(
            pod("p", phase="Failed", **DEAD), busy(alive=False, beat_age_seconds=3.0), None, False, id="pod failed"
        ),
        pytest.param(
            pod("p", phase="Failed", disrupted=True, **DEAD), busy(alive=False), None, True, id="evicted"
        ),
        pytest.param(pod("p", phase="Failed", **DEAD), busy(beat_age_seconds=2.0), None, False, id="failed and silent"),
    ],
)  # fmt: skip
def test_jobs_of_the_dead_are_given_back(
    shown: PodFacts, activity: WorkerActivity, epoch: str | None, *, planned: bool
) -> None:
    rescues = [
        action
        for action in decide(observe(shown, of=jobworker(1), workers={"p": activity})).actions
        if isinstance(action, RescueWorker)
    ]
    assert [(one.uid, one.epoch, one.planned) for one in rescues] == [("p", epoch, planned)]


@pytest.mark.parametrize(
    ("shown", "activity"),
    [
        pytest.param(pod("p"), busy(), id="at work"),
        pytest.param(pod("p"), busy(alive=False), id="silent, and its container runs"),
        pytest.param(pod("p", **DEAD), busy(beat_age_seconds=4.0), id="its heartbeat has not expired"),
        pytest.param(pod("p", **DEAD), UNREGISTERED, id="nothing is left"),
        pytest.param(pod("p", phase="Failed", **DEAD), busy(beat_age_seconds=0.5), id="failed, and it beats"),
        pytest.param(
            pod("p", container_started_at=NOW - 10), busy(alive=False, beat_age_seconds=12.0), id="clocks may differ"
        ),
    ],
)
def test_nobody_is_rescued_from_who_may_live(shown: PodFacts, activity: WorkerActivity) -> None:
    decided = decide(observe(shown, of=jobworker(1), workers={"p": activity}))
    assert not [action for action in decided.actions if isinstance(action, RescueWorker)]


def test_an_orphan_that_beats_may_be_a_pod_that_is_not_shown_yet() -> None:
    observation = observe(pod("a"), of=jobworker(1), orphans=("gone",), workers={"gone": idle(beat_age_seconds=1.0)})
    assert decide(observation).actions == ()
    assert decide(observation).look_again_seconds == 1


def test_a_failed_pod_is_deleted_after_its_jobs_were_given_back() -> None:
    shown = pod("p", phase="Failed", status_reason="OOMKilled", **DEAD)
    observation = observe(pod("a"), shown, of=jobworker(1), workers={"p": busy(alive=False)})
    rescue, delete = decide(observation).actions
    assert isinstance(rescue, RescueWorker)
    assert "OOMKilled" in rescue.cause
    assert isinstance(delete, DeletePod)
    assert delete.unconfirmed
    assert moves(observe(pod("a"), shown, of=jobworker(1), redis=AWAY)) == [], "it tells how it ended until then"


def test_the_quiet_fact_of_a_worker_that_left_cleanly_is_forgotten() -> None:
    shown = going("p", terminating=True, **DEAD)
    observation = observe(pod("a"), shown, of=jobworker(1), workers={"p": WorkerActivity(quiet="operator: Rollout")})
    (rescue,) = decide(observation).actions
    assert isinstance(rescue, RescueWorker)
    assert rescue.forget


def test_a_rescue_says_how_the_container_ended() -> None:
    shown = pod("p", **DEAD, container_ended="OOMKilled, exit code 137", waiting_reason="CrashLoopBackOff")
    dead = busy(2, alive=False, beat_age_seconds=5.1)
    (rescue,) = [
        action
        for action in decide(observe(shown, of=jobworker(1), workers={"p": dead})).actions
        if isinstance(action, RescueWorker)
    ]
    assert rescue.cause == "the container of pod p ended (OOMKilled, exit code 137)"
    assert (rescue.planned, rescue.epoch) == (False, "e1")


def test_a_deletion_that_leaves_the_pods_behind_touches_none_of_them_and_does_not_wait() -> None:
    """`kubectl delete --cascade=orphan`"""
    keeping = jobworker(deleting=True, finalizers=(DRAIN_FINALIZER, "orphan"))
    observation = observe(pod("idle"), pod("busy"), of=keeping, workers={"busy": busy()}, settled=False)
    assert decide(observation).actions == (RemoveFinalizer(),)
